//! One output as the values of its profile's fields.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::profile::{ExportProfile, FieldShape, LeafField, ValueType};

/// Why something cannot be exported. Never holds a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    #[error("output {number}: it is no JSON object: somebody else than zeef wrote to the topic")]
    NotAnObject { number: usize },
    #[error(
        "output {number}: it has a field that the recipient's file does not name, or names with \
         another form: let a run rewrite the outputs by the present policy first"
    )]
    OtherPolicy { number: usize },
    #[error("{0}")]
    NotPossible(String),
}

/// The value of one field, each single value as text: strings without their JSON escapes,
/// numbers and booleans as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FieldValue {
    #[default]
    Missing,
    Single(String),
    Object(Vec<Option<String>>),
    Objects(Vec<Vec<Option<String>>>),
    List(Vec<String>),
}

/// The values of a profile's fields, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportRecord {
    pub values: Vec<FieldValue>,
}

impl ExportRecord {
    /// Returns the single value of the field at `index`; `None` if it is missing.
    #[must_use]
    pub fn single(&self, index: usize) -> Option<&str> {
        match self.values.get(index)? {
            FieldValue::Single(text) => Some(text),
            _ => None,
        }
    }
}

/// Reads one output; `number` counts outputs from 1.
///
/// # Errors
///
/// The output does not have the form of the profile.
pub fn read_record(
    profile: &ExportProfile,
    number: usize,
    output: &[u8],
) -> Result<ExportRecord, ExportError> {
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_slice(output).map_err(|_| ExportError::NotAnObject { number })?;
    let known = |name: &String| profile.position(name).is_some();
    if !members.keys().all(known) {
        return Err(ExportError::OtherPolicy { number });
    }
    let values = profile.fields.iter().map(|field| match members.get(&field.name) {
        None => Some(FieldValue::Missing),
        Some(raw) => read_value(&field.shape, raw.get()),
    });
    let values: Option<Vec<FieldValue>> = values.collect();
    let values = values.ok_or(ExportError::OtherPolicy { number })?;
    Ok(ExportRecord { values })
}

/// Returns `None` if the value has another shape.
fn read_value(shape: &FieldShape, raw: &str) -> Option<FieldValue> {
    Some(match shape {
        FieldShape::Leaf(_) => FieldValue::Single(read_single(raw)?),
        FieldShape::Object(leaves) => FieldValue::Object(read_object(leaves, raw)?),
        FieldShape::ObjectList(leaves) => {
            let elements: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
            let objects = elements.iter().map(|element| read_object(leaves, element.get()));
            FieldValue::Objects(objects.collect::<Option<_>>()?)
        }
        FieldShape::LeafList(ValueType::NestedText) => {
            let mut lines = Vec::new();
            read_nested("", raw, &mut lines)?;
            FieldValue::List(lines)
        }
        FieldShape::LeafList(_) => {
            let elements: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
            let singles = elements.iter().map(|element| read_single(element.get()));
            FieldValue::List(singles.collect::<Option<_>>()?)
        }
    })
}

fn read_object(leaves: &[LeafField], raw: &str) -> Option<Vec<Option<String>>> {
    let mut members: BTreeMap<String, &RawValue> = serde_json::from_str(raw).ok()?;
    let mut values = Vec::with_capacity(leaves.len());
    for leaf in leaves {
        let raw = members.remove(&leaf.name);
        values.push(match raw {
            Some(raw) => Some(read_single(raw.get())?),
            None => None,
        });
    }
    members.is_empty().then_some(values)
}

/// Adds each value of a nested object as `path: value`, in the order of the paths.
fn read_nested(path: &str, raw: &str, lines: &mut Vec<String>) -> Option<()> {
    match raw.as_bytes().first()? {
        b'{' => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(raw).ok()?;
            members.iter().try_for_each(|(name, value)| {
                let dot = if path.is_empty() { "" } else { "." };
                read_nested(&format!("{path}{dot}{name}"), value.get(), lines)
            })
        }
        b'[' => {
            let elements: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
            elements.iter().try_for_each(|element| read_nested(path, element.get(), lines))
        }
        _ => {
            lines.push(format!("{path}: {}", read_single(raw)?));
            Some(())
        }
    }
}

/// Returns `None` for an object, a list or a null.
fn read_single(raw: &str) -> Option<String> {
    match raw.as_bytes().first()? {
        b'"' => serde_json::from_str(raw).ok(),
        b'{' | b'[' | b'n' => None,
        _ => Some(raw.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_object_is_read_as_paths_and_values() {
        let shape = FieldShape::LeafList(ValueType::NestedText);
        let raw = r#"{"surname":"Berg","address":{"house_number":12},"interests":["a","b"]}"#;
        let want = ["address.house_number: 12", "interests: a", "interests: b", "surname: Berg"];
        let want = want.map(str::to_owned).to_vec();
        assert_eq!(read_value(&shape, raw), Some(FieldValue::List(want)));
        assert_eq!(read_value(&shape, r#"{"surname":null}"#), None);
    }
}
