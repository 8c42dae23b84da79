//! Outputs as CSV (RFC 4180): a header row, then a row per output.
//!
//! An object's fields are columns of their own (`address.street`). A list stays in its cell,
//! its elements separated by ` | `, so that rows can be counted and amounts added up; a list
//! of objects has such a cell per field, and an element without it leaves its place empty.

use std::io::{self, Write};

use super::characters::without_control;
use super::profile::{ExportProfile, FieldShape, LeafField, ValueType};
use super::record::{ExportRecord, FieldValue};
use crate::policy::text::is_format_char;

/// Between the elements of a list.
const ELEMENT_SEPARATOR: &str = " | ";
/// What Excel needs to read a file as UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The two forms of CSV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CsvDialect {
    /// Commas, UTF-8.
    Standard,
    /// As Excel opens it where the decimal sign is a comma: semicolons, and a byte order mark.
    DutchExcel,
}

/// Writes all records.
///
/// # Errors
///
/// Those of `out`.
pub fn write_csv<'a>(
    profile: &ExportProfile,
    records: impl Iterator<Item = &'a ExportRecord>,
    dialect: CsvDialect,
    out: &mut impl Write,
) -> io::Result<()> {
    let delimiter = match dialect {
        CsvDialect::Standard => b',',
        CsvDialect::DutchExcel => {
            out.write_all(BYTE_ORDER_MARK)?;
            b';'
        }
    };
    let mut writer = csv::WriterBuilder::new()
        .delimiter(delimiter)
        .terminator(csv::Terminator::CRLF)
        .from_writer(out);
    writer.write_record(column_names(profile))?;
    let mut cells = Vec::new();
    for record in records {
        cells.clear();
        for (field, value) in profile.fields.iter().zip(&record.values) {
            push_cells(&field.shape, value, &mut cells);
        }
        writer.write_record(&cells)?;
    }
    writer.flush()
}

fn column_names(profile: &ExportProfile) -> Vec<String> {
    let mut names = Vec::new();
    for field in &profile.fields {
        match &field.shape {
            FieldShape::Leaf(_) | FieldShape::LeafList(_) => names.push(field.name.clone()),
            FieldShape::Object(leaves) | FieldShape::ObjectList(leaves) => {
                names.extend(leaves.iter().map(|leaf| format!("{}.{}", field.name, leaf.name)));
            }
        }
    }
    names
}

/// Appends the cells of one field: as many as it has columns.
fn push_cells(shape: &FieldShape, value: &FieldValue, cells: &mut Vec<String>) {
    match (shape, value) {
        (FieldShape::Leaf(value_type), FieldValue::Single(text)) => {
            cells.push(guard(*value_type, text.clone()));
        }
        (FieldShape::LeafList(value_type), FieldValue::List(list)) => {
            let elements = list.iter().map(|text| Some(text.as_str()));
            cells.push(guard(*value_type, join_elements(elements)));
        }
        (FieldShape::Object(leaves), FieldValue::Object(values)) => {
            for (leaf, value) in leaves.iter().zip(values) {
                cells.push(guard(leaf.value_type, value.clone().unwrap_or_default()));
            }
        }
        (FieldShape::ObjectList(leaves), FieldValue::Objects(objects)) => {
            cells.extend(leaves.iter().enumerate().map(|(index, leaf): (usize, &LeafField)| {
                let elements =
                    objects.iter().map(|object| object.get(index).and_then(Option::as_deref));
                guard(leaf.value_type, join_elements(elements))
            }));
        }
        (FieldShape::Leaf(_) | FieldShape::LeafList(_), _) => cells.push(String::new()),
        (FieldShape::Object(leaves) | FieldShape::ObjectList(leaves), _) => {
            cells.resize(cells.len() + leaves.len(), String::new());
        }
    }
}

/// Joins elements; a separator within one becomes a broken bar, so that the count stays.
fn join_elements<'a>(elements: impl Iterator<Item = Option<&'a str>>) -> String {
    let mut cell = String::new();
    for (index, element) in elements.enumerate() {
        if index > 0 {
            cell.push_str(ELEMENT_SEPARATOR);
        }
        cell.extend(element.unwrap_or_default().chars().map(|c| if c == '|' { '¦' } else { c }));
    }
    cell
}

/// Puts an apostrophe before text that a spreadsheet may run as a formula, and replaces controls.
fn guard(value_type: ValueType, cell: String) -> String {
    match value_type {
        ValueType::Text if begins_as_formula(&cell) => {
            std::iter::once('\'').chain(cell.chars().map(without_control)).collect()
        }
        _ if cell.chars().any(char::is_control) => cell.chars().map(without_control).collect(),
        _ => cell,
    }
}

/// White space and invisible characters before a formula are skipped, and signs of full width
/// count, as some spreadsheets have it.
fn begins_as_formula(cell: &str) -> bool {
    let is_skipped = |c: char| c.is_whitespace() || c.is_control() || is_format_char(c);
    let signs = ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];
    cell.starts_with(['\t', '\r']) || cell.trim_start_matches(is_skipped).starts_with(signs)
}

#[cfg(test)]
mod tests {
    use super::super::profile::ExportField;
    use super::*;

    fn profile() -> ExportProfile {
        let leaf = |name: &str, value_type| LeafField { name: name.to_owned(), value_type };
        let field = |name: &str, shape| ExportField { name: name.to_owned(), shape };
        ExportProfile {
            recipient: "test".to_owned(),
            fields: vec![
                field("name", FieldShape::Leaf(ValueType::Text)),
                field(
                    "address",
                    FieldShape::Object(vec![
                        leaf("street", ValueType::Text),
                        leaf("house_number", ValueType::Text),
                    ]),
                ),
                field(
                    "items",
                    FieldShape::ObjectList(vec![
                        leaf("title", ValueType::Text),
                        leaf("amount_cents", ValueType::Amount),
                    ]),
                ),
                field("interests", FieldShape::LeafList(ValueType::Text)),
                field("amount_cents", FieldShape::Leaf(ValueType::Amount)),
            ],
        }
    }

    #[track_caller]
    fn check_row(json: &str, want: &str) {
        let profile = profile();
        let record = super::super::read_record(&profile, 1, json.as_bytes()).unwrap();
        let mut out = Vec::new();
        write_csv(&profile, [record].iter(), CsvDialect::Standard, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let header = "name,address.street,address.house_number,items.title,items.amount_cents,\
                      interests,amount_cents\r\n";
        assert_eq!(text, format!("{header}{want}\r\n"));
    }

    #[test]
    fn csv_row_flattens_objects_and_joins_lists() {
        check_row(
            r#"{"name":"J. Berg","address":{"street":"Dorpsstraat","house_number":12.50},
                "items":[{"title":"A | B","amount_cents":250},{"amount_cents":1000}],
                "interests":["tuinen","zee"],"amount_cents":1250}"#,
            "J. Berg,Dorpsstraat,12.50,A ¦ B | ,250 | 1000,tuinen | zee,1250",
        );
        check_row("{}", ",,,,,,");
        check_row(r#"{"items":[],"interests":[],"address":{}}"#, ",,,,,,");
    }

    #[test]
    fn csv_cell_is_quoted_as_rfc_4180_says() {
        check_row(
            r#"{"name":"Berg, \"IJ\"\nJan","interests":["x;y"]}"#,
            "\"Berg, \"\"IJ\"\"\nJan\",,,,,x;y,",
        );
    }

    #[test]
    fn csv_cell_holds_no_control_but_tabs_and_line_ends() {
        check_row(
            r#"{"name":"a\u0000b\u001b[2Jc","address":{"street":"x\u009by","house_number":"\u0007"},
                "interests":["p\u0085q","r\ns\tt"]}"#,
            "a\u{fffd}b\u{fffd}[2Jc,x\u{fffd}y,\u{fffd},,,\"p\u{fffd}q | r\ns\tt\",",
        );
    }

    #[test]
    fn csv_cell_is_never_a_formula() {
        for begin in [
            "=",
            "+",
            "-",
            "@",
            "\\t",
            "\\r",
            "\\n=",
            " =",
            "\u{a0}+",
            "\u{200b}-",
            "\u{feff}@",
            "\u{ff1d}",
            "\u{ff0b}",
            "\u{ff0d}",
            "\u{ff20}",
            " \u{202e}\u{3000}=",
            "\\u0000=",
        ] {
            let json = format!(r#"{{"name":"{begin}A1","interests":["{begin}A1","=b"]}}"#);
            let profile = profile();
            let record = super::super::read_record(&profile, 1, json.as_bytes()).unwrap();
            let mut out = Vec::new();
            write_csv(&profile, [record].iter(), CsvDialect::Standard, &mut out).unwrap();
            let mut reader = csv::Reader::from_reader(out.as_slice());
            let row = reader.records().next().unwrap().unwrap();
            assert!(row.get(0).unwrap().starts_with('\''), "{begin}");
            assert!(row.get(5).unwrap().starts_with('\''), "{begin}");
        }
        // An amount stays a number.
        check_row(r#"{"amount_cents":-250}"#, ",,,,,,-250");
    }

    #[test]
    fn dutch_excel_has_byte_order_mark_and_semicolons() {
        let profile = profile();
        let record = super::super::read_record(&profile, 1, br#"{"name":"a;b"}"#).unwrap();
        let mut out = Vec::new();
        write_csv(&profile, [record].iter(), CsvDialect::DutchExcel, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("\u{feff}name;address.street;"), "{text}");
        assert!(text.ends_with("\r\n\"a;b\";;;;;;\r\n"), "{text}");
    }
}
