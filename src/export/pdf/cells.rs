//! From a record's values to the cells of a row, and their sums.

use std::collections::BTreeMap;

use super::super::characters::turns_direction;
use super::super::dutch;
use super::super::profile::{ExportProfile, FieldShape, LeafField, ValueType};
use super::super::record::{ExportError, ExportRecord, FieldValue};
use super::fonts::{LEFT_TO_RIGHT_MARK, is_right_to_left};
use super::layout::Cell;
use unicode_normalization::UnicodeNormalization as _;

/// The field whose code goes with the amounts of its record.
const CURRENCY_FIELD: &str = "currency";
const DEFAULT_CURRENCY: &str = "EUR";
/// These begin a new line of an object, as on an envelope.
const LINE_STARTS: [&str; 2] = ["postcode", "country"];

/// A column of the table: one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    field_index: usize,
    name: String,
    is_right_aligned: bool,
    is_amount: bool,
}

/// Returns the columns of a profile. The currency stands with the amounts.
pub(super) fn columns(profile: &ExportProfile) -> Vec<Column> {
    let has_amounts = profile.fields.iter().any(|field| has_amount(&field.shape));
    let shown = profile.fields.iter().enumerate();
    let shown = shown.filter(|(_, field)| !(has_amounts && field.name == CURRENCY_FIELD));
    let column = |(field_index, field): (usize, &super::super::ExportField)| Column {
        field_index,
        name: field.name.clone(),
        is_right_aligned: matches!(
            field.shape,
            FieldShape::Leaf(ValueType::Amount | ValueType::Integer)
        ),
        is_amount: matches!(field.shape, FieldShape::Leaf(ValueType::Amount)),
    };
    shown.map(column).collect()
}

fn has_amount(shape: &FieldShape) -> bool {
    let is_amount = |leaf: &LeafField| leaf.value_type == ValueType::Amount;
    match shape {
        FieldShape::Leaf(value_type) | FieldShape::LeafList(value_type) => {
            *value_type == ValueType::Amount
        }
        FieldShape::Object(leaves) | FieldShape::ObjectList(leaves) => leaves.iter().any(is_amount),
    }
}

impl Column {
    pub(super) fn heading(&self) -> Cell {
        self.aligned(vec![dutch::heading(&self.name)])
    }

    fn aligned(&self, paragraphs: Vec<String>) -> Cell {
        Cell { paragraphs, is_right_aligned: self.is_right_aligned }
    }

    /// Returns the cell of a record.
    pub(super) fn cell(&self, profile: &ExportProfile, record: &ExportRecord) -> Cell {
        let currency = currency_of(profile, record);
        let shape = &profile.fields[self.field_index].shape;
        let value = record.values.get(self.field_index).unwrap_or(&FieldValue::Missing);
        let single = |value_type: ValueType, text: &str| display(value_type, text, currency);
        let paragraphs = match (shape, value) {
            (FieldShape::Leaf(value_type), FieldValue::Single(text)) => {
                vec![single(*value_type, text)]
            }
            (FieldShape::LeafList(value_type), FieldValue::List(list)) => {
                let texts: Vec<String> =
                    list.iter().map(|text| single(*value_type, text)).collect();
                vec![texts.join(", ")]
            }
            (FieldShape::Object(leaves), FieldValue::Object(values)) => {
                object_lines(leaves, values, currency)
            }
            (FieldShape::ObjectList(leaves), FieldValue::Objects(objects)) => {
                let element = |values: &Vec<Option<String>>| {
                    let parts = present(leaves, values);
                    let parts: Vec<String> =
                        parts.map(|(leaf, text)| single(leaf.value_type, text)).collect();
                    parts.join(", ")
                };
                objects.iter().map(element).collect()
            }
            _ => Vec::new(),
        };
        self.aligned(paragraphs)
    }
}

fn currency_of<'a>(profile: &ExportProfile, record: &'a ExportRecord) -> &'a str {
    let index = profile.position(CURRENCY_FIELD);
    index.and_then(|index| record.single(index)).unwrap_or(DEFAULT_CURRENCY)
}

fn present<'a>(
    leaves: &'a [LeafField],
    values: &'a [Option<String>],
) -> impl Iterator<Item = (&'a LeafField, &'a str)> {
    let pairs = leaves.iter().zip(values);
    pairs.filter_map(|(leaf, value)| Some((leaf, value.as_deref()?)))
}

fn object_lines(leaves: &[LeafField], values: &[Option<String>], currency: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (leaf, text) in present(leaves, values) {
        let text = display(leaf.value_type, text, currency);
        match lines.last_mut() {
            Some(line) if !LINE_STARTS.contains(&leaf.name.as_str()) => {
                line.push(' ');
                line.push_str(&text);
            }
            _ => lines.push(text),
        }
    }
    lines
}

/// Returns a value as a Dutch reader expects it, without controls. What is beside a value that is
/// read from right to left keeps its own direction.
fn display(value_type: ValueType, text: &str, currency: &str) -> String {
    let shown = match value_type {
        ValueType::Date | ValueType::Instant => dutch::format_date(text),
        ValueType::Amount => match text.parse() {
            Ok(cents) => dutch::format_amount(cents, currency),
            Err(_) => text.to_owned(),
        },
        ValueType::Boolean if text == "true" => "ja".to_owned(),
        ValueType::Boolean => "nee".to_owned(),
        ValueType::Text | ValueType::NestedText | ValueType::Integer => text.to_owned(),
    };
    // Composed letters: a font has those rather than letters with marks.
    let composed = shown.nfc().filter(|c| !turns_direction(*c));
    let mut shown: String = composed.map(|c| if c.is_control() { ' ' } else { c }).collect();
    if shown.chars().any(is_right_to_left) {
        shown.push(LEFT_TO_RIGHT_MARK);
    }
    shown
}

/// Returns the last row: the sum of each column of amounts, one per currency; `None` if there
/// is no such column.
///
/// # Errors
///
/// An amount is beyond all measure.
pub(super) fn sums(
    profile: &ExportProfile,
    columns: &[Column],
    records: &[&ExportRecord],
) -> Result<Option<Vec<Cell>>, ExportError> {
    if records.is_empty() || !columns.iter().any(|column| column.is_amount) {
        return Ok(None);
    }
    let mut row = Vec::new();
    for column in columns {
        if !column.is_amount {
            row.push(Cell::default());
            continue;
        }
        let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
        for record in records {
            let Some(text) = record.single(column.field_index) else {
                continue;
            };
            let sum = sums.entry(currency_of(profile, record)).or_default();
            let added = text.parse().ok().and_then(|cents| sum.checked_add(cents));
            *sum = added.ok_or_else(|| {
                let name = &column.name;
                ExportError::NotPossible(format!("`{name}` cannot be added up: it is too large"))
            })?;
        }
        let lines = sums.iter().map(|(currency, sum)| dutch::format_amount(*sum, currency));
        row.push(column.aligned(lines.collect()));
    }
    if let Some(first) = row.first_mut().filter(|cell| cell.paragraphs.is_empty()) {
        first.paragraphs.push("Totaal".to_owned());
    }
    Ok(Some(row))
}
