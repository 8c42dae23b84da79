//! Tables: aligned columns, wrapped to the width there is.

use std::io::{self, Write};

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use super::screen::HEADING;

/// The least that a column is made narrower to.
const COLUMN_MIN: usize = 12;
const GAP: usize = 2;

/// A table under construction.
pub(super) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    indent: usize,
}

/// One cell: its text, and how it looks.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    style: Style,
    right: bool,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell {
            text: text.into(),
            style: Style::new(),
            right: false,
        }
    }
}

impl Cell {
    pub(super) fn styled(style: Style, text: impl Into<String>) -> Cell {
        Cell {
            style,
            ..Cell::from(text)
        }
    }

    /// A number, at the right of its column.
    pub(super) fn number(number: u64) -> Cell {
        Cell::right(grouped(number))
    }

    /// A text at the right of its column, as a number with its unit.
    pub(super) fn right(text: impl Into<String>) -> Cell {
        Cell {
            right: true,
            ..Cell::from(text)
        }
    }
}

/// A number with commas between thousands.
pub(super) fn grouped(number: u64) -> String {
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

impl Table {
    pub(super) fn new(headings: &[&'static str]) -> Table {
        Table {
            headings: headings.to_vec(),
            rows: Vec::new(),
            indent: 0,
        }
    }

    /// Sets every line so many columns in.
    pub(super) fn indented(mut self, indent: usize) -> Table {
        self.indent = indent;
        self
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Writes the table; lines are at most `width` columns, where that is known.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub(super) fn write(&self, out: &mut impl Write, width: Option<usize>) -> io::Result<()> {
        let widths = self.widths(width);
        let headings: Vec<Cell> = self
            .headings
            .iter()
            .map(|heading| Cell::styled(HEADING, *heading))
            .collect();
        if !headings.is_empty() {
            self.write_row(out, &headings, &widths)?;
        }
        self.rows
            .iter()
            .try_for_each(|row| self.write_row(out, row, &widths))
    }

    fn write_row(&self, out: &mut impl Write, row: &[Cell], widths: &[usize]) -> io::Result<()> {
        let wrapped: Vec<Vec<String>> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| wrap(&cell.text, *width))
            .collect();
        let lines = wrapped.iter().map(Vec::len).max().unwrap_or(0);
        for line in 0..lines {
            let mut pending = self.indent;
            for ((cell, texts), width) in row.iter().zip(&wrapped).zip(widths) {
                let text = texts.get(line).map_or("", String::as_str);
                let spare = width.saturating_sub(text.width());
                if text.is_empty() {
                    pending += width + GAP;
                    continue;
                }
                let before = if cell.right { pending + spare } else { pending };
                let style = cell.style;
                write!(out, "{:before$}{style}{text}{style:#}", "")?;
                pending = GAP + if cell.right { 0 } else { spare };
            }
            writeln!(out)?;
        }
        Ok(())
    }

    /// How wide each column is: as its widest cell, or less where the lines
    /// would be longer than `width`.
    fn widths(&self, width: Option<usize>) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let columns = columns.max(self.headings.len());
        let mut widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                let widest = cells
                    .flat_map(|cell| cell.text.lines().map(UnicodeWidthStr::width))
                    .max();
                let heading = self.headings.get(column).map_or(0, |text| text.width());
                widest.unwrap_or(0).max(heading)
            })
            .collect();
        let Some(width) = width else {
            return widths;
        };
        let gaps = self.indent + GAP * columns.saturating_sub(1);
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

/// Breaks a text into lines of at most `width` columns, between words where
/// that can be.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
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

/// Cuts the first `width` columns off, one character at least.
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
    fn check(width: Option<usize>, want: &[&str]) {
        let mut table = Table::new(&["NAME", "COUNT", "WHAT"]);
        table.row(["first".into(), Cell::number(12_345), "short".into()]);
        table.row([
            "二".into(),
            Cell::number(7),
            "a text that is longer than the line".into(),
        ]);
        let mut out = anstream::StripStream::new(Vec::new());
        table.write(&mut out, width).unwrap();
        let text = String::from_utf8(out.into_inner()).unwrap();
        assert_eq!(text.lines().collect::<Vec<_>>(), want);
    }

    #[test]
    fn columns_stand_below_each_other() {
        check(
            None,
            &[
                "NAME   COUNT   WHAT",
                "first  12,345  short",
                "二          7  a text that is longer than the line",
            ],
        );
        check(
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
    fn many_columns_fit_too() {
        let mut table = Table::new(&["A", "B", "C", "D", "E", "F"]);
        let long = "some words of which there are many";
        table.row(["a name that is long", "1", "2", "3", "4", long].map(Cell::from));
        let mut out = anstream::StripStream::new(Vec::new());
        table.write(&mut out, Some(50)).unwrap();
        let text = String::from_utf8(out.into_inner()).unwrap();
        assert!(text.lines().all(|line| line.width() <= 50), "{text}");
    }

    #[test]
    fn long_words_are_cut() {
        assert_eq!(wrap("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap("", 3), [""]);
        assert_eq!(wrap("a\nb", 3), ["a", "b"]);
        assert_eq!(wrap("ab cd", 5), ["ab cd"]);
        assert_eq!(wrap("二二", 3), ["二", "二"]);
    }
}
