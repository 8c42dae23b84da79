//! Slips as text for a printer: 42 columns, every line from the left, a form feed between
//! two slips.

use std::io::{self, Write};

use unicode_width::UnicodeWidthChar as _;

use super::characters::turns_direction;
use super::profile::{ExportProfile, FieldShape};
use super::record::{ExportError, ExportRecord, FieldValue};

/// The output field with a slip's lines.
const SLIP_FIELD: &str = "slip";
/// The columns of a slip.
pub const SLIP_COLUMNS: usize = 42;
/// Alone on its line between two slips.
const FORM_SEPARATOR: &str = "\u{c}\n";

/// Returns the index of the field with the slip's lines.
///
/// # Errors
///
/// The recipient has no slips.
pub fn slip_field(profile: &ExportProfile) -> Result<usize, ExportError> {
    let index = profile.position(SLIP_FIELD);
    let is_list = |index: &usize| matches!(profile.fields[*index].shape, FieldShape::LeafList(_));
    index.filter(is_list).ok_or_else(|| {
        let name = &profile.recipient;
        ExportError::NotPossible(format!(
            "{name} has no slips: its outputs have no list `{SLIP_FIELD}`"
        ))
    })
}

/// Writes the slip of each record that has one.
///
/// # Errors
///
/// Those of `out`.
pub fn write_slips<'a>(
    slip_field: usize,
    records: impl Iterator<Item = &'a ExportRecord>,
    out: &mut impl Write,
) -> io::Result<()> {
    let slips = records.filter_map(|record| match record.values.get(slip_field) {
        Some(FieldValue::List(lines)) => Some(lines),
        _ => None,
    });
    for (index, lines) in slips.enumerate() {
        if index > 0 {
            out.write_all(FORM_SEPARATOR.as_bytes())?;
        }
        for line in lines.iter().flat_map(|line| wrap_line(line)) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// Returns a printable line in pieces of at most [`SLIP_COLUMNS`], broken at spaces where
/// possible. Nothing printable gives one empty line.
fn wrap_line(line: &str) -> Vec<String> {
    let printable: String = line.chars().map(printable_char).collect();
    let mut pieces = Vec::new();
    let mut piece = String::new();
    let mut columns = 0;
    for word in printable.split_whitespace() {
        let width: usize = word.chars().map(char_columns).sum();
        if columns > 0 && columns + 1 + width <= SLIP_COLUMNS {
            piece.push(' ');
            columns += 1;
        } else if columns > 0 {
            pieces.push(std::mem::take(&mut piece));
            columns = 0;
        }
        for c in word.chars() {
            if columns + char_columns(c) > SLIP_COLUMNS {
                pieces.push(std::mem::take(&mut piece));
                columns = 0;
            }
            piece.push(c);
            columns += char_columns(c);
        }
    }
    pieces.push(piece);
    pieces
}

fn char_columns(c: char) -> usize {
    c.width().unwrap_or_default()
}

/// Controls, line ends, and marks that turn the direction of text become spaces.
fn printable_char(c: char) -> char {
    let ends_line = matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
    if c.is_control() || ends_line || turns_direction(c) { ' ' } else { c }
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    fn slips_of(slips: &[&[&str]]) -> String {
        let records: Vec<ExportRecord> = slips
            .iter()
            .map(|lines| ExportRecord {
                values: vec![FieldValue::List(lines.iter().map(|&l| l.to_owned()).collect())],
            })
            .collect();
        let mut out = Vec::new();
        write_slips(0, records.iter(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn slips_are_separated_by_a_form_feed() {
        let text = slips_of(&[&["Be", "Be IJ", "67890"], &["Vo"]]);
        assert_eq!(text, "Be\nBe IJ\n67890\n\u{c}\nVo\n");
        assert_eq!(slips_of(&[]), "");
    }

    #[test]
    fn slip_lines_have_at_most_42_columns_and_begin_at_the_left() {
        let long = "De geschiedenis van de stad en haar bewoners, deel 2";
        let text = slips_of(&[&[&format!("  {long}"), &"x".repeat(90), &"字".repeat(30), ""]]);
        for line in text.lines() {
            assert!(line.width() <= SLIP_COLUMNS && !line.starts_with(' '), "{line:?}");
        }
        let words = "De geschiedenis van de stad en haar\nbewoners, deel 2\n";
        assert!(text.starts_with(words), "{text}");
        assert_eq!(text.matches('x').count(), 90);
        assert_eq!(text.matches('字').count(), 30);
        assert!(text.ends_with("字\n\n"));
    }

    #[test]
    fn slip_has_no_control_characters_but_its_own() {
        let text = slips_of(&[&["a\u{1b}@b\u{c}c\r\nd\u{202e}e\u{0}"], &["\u{9b}2J"]]);
        assert_eq!(text, "a @b c d e\n\u{c}\n2J\n");
    }
}
