//! Tables: aligned columns, wrapped to the width there is.
//!
//! By hand, as comfy-table styles cells only through crossterm, and wraps before a line is full.

use std::io::{self, Write};

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use super::screen::HEADING;

/// Minimum width of a shrunk column.
const COLUMN_MIN: usize = 12;
const COLUMN_GAP: usize = 2;

/// A table under construction.
pub(super) struct TextTable {
    headings: Vec<&'static str>,
    rows: Vec<Vec<TableCell>>,
    indent: usize,
}

/// One cell: its text and style.
#[derive(Clone, Debug)]
pub(super) struct TableCell {
    text: String,
    style: Style,
    is_right_aligned: bool,
}

impl<T: Into<String>> From<T> for TableCell {
    fn from(text: T) -> TableCell {
        TableCell { text: text.into(), style: Style::new(), is_right_aligned: false }
    }
}

impl TableCell {
    pub(super) fn styled(style: Style, text: impl Into<String>) -> TableCell {
        TableCell { style, ..TableCell::from(text) }
    }

    /// A right-aligned number.
    pub(super) fn number(number: u64) -> TableCell {
        TableCell::right_aligned(format_thousands(number))
    }

    /// A right-aligned text, such as a number with its unit.
    pub(super) fn right_aligned(text: impl Into<String>) -> TableCell {
        TableCell { is_right_aligned: true, ..TableCell::from(text) }
    }
}

/// Formats a number with commas between thousands.
pub(super) fn format_thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl TextTable {
    pub(super) fn new(headings: &[&'static str]) -> TextTable {
        TextTable { headings: headings.to_vec(), rows: Vec::new(), indent: 0 }
    }

    /// Indents every line.
    pub(super) fn indented(mut self, indent: usize) -> TextTable {
        self.indent = indent;
        self
    }

    pub(super) fn add_row(&mut self, cells: impl IntoIterator<Item = TableCell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Writes the table; lines have at most `width` columns, if that is known.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub(super) fn write(&self, out: &mut impl Write, width: Option<usize>) -> io::Result<()> {
        let widths = self.widths(width);
        let headings: Vec<TableCell> =
            self.headings.iter().map(|heading| TableCell::styled(HEADING, *heading)).collect();
        if !headings.is_empty() {
            self.write_row(out, &headings, &widths)?;
        }
        self.rows.iter().try_for_each(|row| self.write_row(out, row, &widths))
    }

    fn write_row(
        &self,
        out: &mut impl Write,
        row: &[TableCell],
        widths: &[usize],
    ) -> io::Result<()> {
        let wrapped: Vec<Vec<String>> =
            row.iter().zip(widths).map(|(cell, width)| wrap_text(&cell.text, *width)).collect();
        let lines = wrapped.iter().map(Vec::len).max().unwrap_or(0);
        for line in 0..lines {
            let mut pending = self.indent;
            for ((cell, texts), width) in row.iter().zip(&wrapped).zip(widths) {
                let text = texts.get(line).map_or("", String::as_str);
                let spare = width.saturating_sub(text.width());
                if text.is_empty() {
                    pending += width + COLUMN_GAP;
                    continue;
                }
                let before = if cell.is_right_aligned { pending + spare } else { pending };
                let style = cell.style;
                write!(out, "{:before$}{style}{text}{style:#}", "")?;
                pending = COLUMN_GAP + if cell.is_right_aligned { 0 } else { spare };
            }
            writeln!(out)?;
        }
        Ok(())
    }

    /// Returns the width of each column: that of its widest cell, or less if lines would
    /// exceed `width`.
    fn widths(&self, width: Option<usize>) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let columns = columns.max(self.headings.len());
        let mut widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                let widest =
                    cells.flat_map(|cell| cell.text.lines().map(UnicodeWidthStr::width)).max();
                let heading = self.headings.get(column).map_or(0, |text| text.width());
                widest.unwrap_or(0).max(heading)
            })
            .collect();
        let Some(width) = width else {
            return widths;
        };
        let gaps = self.indent + COLUMN_GAP * columns.saturating_sub(1);
        let room = width.saturating_sub(gaps);
        while widths.iter().sum::<usize>() > room {
            let Some(widest) = widths.iter_mut().max() else {
                break;
            };
            if *widest <= COLUMN_MIN {
                break;
            }
            *widest -= 1;
        }
        widths
    }
}

/// Breaks a text into lines of at most `width` columns, between words if possible.
pub(super) fn wrap_text(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split_inclusive([' ', ',']) {
            if !line.is_empty() && line.width() + word.trim_end().width() > width {
                lines.push(std::mem::take(&mut line).trim_end().to_owned());
            }
            let mut word = word;
            while word.trim_end().width() > width {
                let (head, tail) = split_at_width(word, width);
                lines.push(head.to_owned());
                word = tail;
            }
            line.push_str(word);
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// Splits off the first `width` columns, one character at least.
fn split_at_width(text: &str, width: usize) -> (&str, &str) {
    let mut columns = 0;
    let cut = text.char_indices().find(|&(at, character)| {
        let wide = unicode_width::UnicodeWidthChar::width(character).unwrap_or(0);
        columns += wide;
        at > 0 && columns > width
    });
    text.split_at(cut.map_or(text.len(), |(at, _)| at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_table(width: Option<usize>, want: &[&str]) {
        let mut table = TextTable::new(&["NAME", "COUNT", "WHAT"]);
        table.add_row(["first".into(), TableCell::number(12_345), "short".into()]);
        table.add_row([
            "二".into(),
            TableCell::number(7),
            "a text that is longer than the line".into(),
        ]);
        let mut out = anstream::StripStream::new(Vec::new());
        table.write(&mut out, width).unwrap();
        let text = String::from_utf8(out.into_inner()).unwrap();
        assert_eq!(text.lines().collect::<Vec<_>>(), want);
    }

    #[test]
    fn table_columns_are_aligned() {
        check_table(
            None,
            &[
                "NAME   COUNT   WHAT",
                "first  12,345  short",
                "二          7  a text that is longer than the line",
            ],
        );
        check_table(
            Some(40),
            &[
                "NAME   COUNT   WHAT",
                "first  12,345  short",
                "二          7  a text that is longer",
                "               than the line",
            ],
        );
    }

    #[test]
    fn table_with_many_columns_fits_its_width() {
        let mut table = TextTable::new(&["A", "B", "C", "D", "E", "F"]);
        let long = "some words of which there are many";
        table.add_row(["a name that is long", "1", "2", "3", "4", long].map(TableCell::from));
        let mut out = anstream::StripStream::new(Vec::new());
        table.write(&mut out, Some(50)).unwrap();
        let text = String::from_utf8(out.into_inner()).unwrap();
        assert!(text.lines().all(|line| line.width() <= 50), "{text}");
    }

    #[test]
    fn wrap_text_cuts_words_longer_than_the_width() {
        assert_eq!(wrap_text("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap_text("", 3), [""]);
        assert_eq!(wrap_text("a\nb", 3), ["a", "b"]);
        assert_eq!(wrap_text("ab cd", 5), ["ab cd"]);
        assert_eq!(wrap_text("二二", 3), ["二", "二"]);
    }
}
