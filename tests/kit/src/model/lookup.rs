//! Looking a listed field up in a record: missing, malformed, or a value.

use zeef::policy::catalogue::FieldType;

use super::form;
use super::json::JsonNode;

/// The value at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldLookup {
    Missing,
    Malformed,
    Text(String),
    /// As written.
    Number(String),
    Bool(bool),
}

impl FieldLookup {
    /// The characters of a string, or of a number as written.
    pub fn into_text(self) -> Option<String> {
        match self {
            FieldLookup::Text(text) | FieldLookup::Number(text) => Some(text),
            FieldLookup::Missing | FieldLookup::Malformed | FieldLookup::Bool(_) => None,
        }
    }

    /// As [`FieldLookup::into_text`], and a boolean as a word.
    pub fn into_shown_text(self) -> Option<String> {
        match self {
            FieldLookup::Bool(truth) => Some(truth.to_string()),
            other => other.into_text(),
        }
    }
}

/// Looks up a `path` without a list in it.
pub fn look_up(node: &JsonNode, path: &str, kind: FieldType) -> FieldLookup {
    let (name, below) = match path.split_once('.') {
        Some((name, below)) => (name, Some(below)),
        None => (path, None),
    };
    let value = match unique_member(node, name) {
        Ok(Some(value)) => value,
        Ok(None) => return FieldLookup::Missing,
        Err(DuplicateMember) => return FieldLookup::Malformed,
    };
    match (below, value) {
        (None, value) => read_scalar(value, kind),
        (Some(below), JsonNode::Object(_)) => look_up(value, below, kind),
        (Some(_), other) => missing_or_malformed(other),
    }
}

/// Whether the value at `path` is malformed; of a list, any element.
pub fn is_malformed(node: &JsonNode, path: &str, kind: FieldType) -> bool {
    let Some((list, below)) = path.split_once("[]") else {
        return look_up(node, path, kind) == FieldLookup::Malformed;
    };
    let found = match below.strip_prefix('.') {
        None => list_values(node, list, kind),
        Some(below) => list_objects(node, list).map(|objects| {
            let found = objects.iter().map(|object| look_up(object, below, kind));
            found.collect()
        }),
    };
    found.is_none_or(|found| found.contains(&FieldLookup::Malformed))
}

/// The values of a list of scalars; `None` if it is malformed.
pub fn list_values(node: &JsonNode, list: &str, kind: FieldType) -> Option<Vec<FieldLookup>> {
    let found = list_elements(node, list)?.iter().map(|element| read_scalar(element, kind));
    Some(found.filter(|found| *found != FieldLookup::Missing).collect())
}

/// The objects of a list of objects; `None` if it is malformed.
pub fn list_objects<'a>(node: &'a JsonNode, list: &str) -> Option<Vec<&'a JsonNode>> {
    let mut objects = Vec::new();
    for element in list_elements(node, list)? {
        match element {
            JsonNode::Object(_) => objects.push(element),
            other if is_blank(other) => {}
            _ => return None,
        }
    }
    Some(objects)
}

fn list_elements<'a>(node: &'a JsonNode, list: &str) -> Option<&'a [JsonNode]> {
    let (name, below) = match list.split_once('.') {
        Some((name, below)) => (name, Some(below)),
        None => (list, None),
    };
    match (below, unique_member(node, name)) {
        (_, Ok(None)) => Some(&[]),
        (_, Err(DuplicateMember)) => None,
        (None, Ok(Some(JsonNode::List(elements)))) => Some(elements),
        (Some(below), Ok(Some(inner @ JsonNode::Object(_)))) => list_elements(inner, below),
        (_, Ok(Some(other))) => is_blank(other).then_some(&[]),
    }
}

/// Whether the record has a field that is not in `paths`.
pub fn has_unlisted(node: &JsonNode, paths: &[&str]) -> bool {
    let JsonNode::Object(members) = node else {
        return false;
    };
    let mut seen: Vec<&str> = Vec::new();
    members.iter().any(|(key, value)| {
        let Some(name) = key.as_deref() else {
            return true;
        };
        let of_name = |path: &&str| {
            let rest = path.strip_prefix(name)?;
            let whole = rest.is_empty() || rest.starts_with(['.', '[']);
            // A key with a separator in it is no path.
            (whole && !name.contains(['.', '['])).then(|| rest.to_owned())
        };
        let rests: Vec<String> = paths.iter().filter_map(of_name).collect();
        if rests.is_empty() {
            return true;
        }
        // A repeated member is malformed anyway.
        let repeated = seen.contains(&name);
        seen.push(name);
        !repeated && has_unlisted_below(value, &rests)
    })
}

fn has_unlisted_below(value: &JsonNode, rests: &[String]) -> bool {
    let below = |start: &str| -> Vec<&str> {
        let rests = rests.iter();
        rests.filter_map(|rest| rest.strip_prefix(start)).collect()
    };
    match value {
        JsonNode::Object(_) => {
            let inner = below(".");
            !inner.is_empty() && has_unlisted(value, &inner)
        }
        JsonNode::List(elements) => {
            let inner = below("[].");
            let unlisted = |element: &JsonNode| has_unlisted(element, &inner);
            !inner.is_empty() && elements.iter().any(unlisted)
        }
        _ => false,
    }
}

struct DuplicateMember;

/// The one value under `name`.
fn unique_member<'a>(
    node: &'a JsonNode,
    name: &str,
) -> Result<Option<&'a JsonNode>, DuplicateMember> {
    let JsonNode::Object(members) = node else {
        return Ok(None);
    };
    let mut found = None;
    for (key, value) in members {
        if key.as_deref() == Some(name) && found.replace(value).is_some() {
            return Err(DuplicateMember);
        }
    }
    Ok(found)
}

/// Whether a value is null, empty, or holds only such values.
fn is_blank(node: &JsonNode) -> bool {
    match node {
        JsonNode::Null => true,
        JsonNode::String(text) => text.as_deref() == Some(""),
        JsonNode::List(elements) => elements.iter().all(is_blank),
        JsonNode::Object(members) => members.iter().all(|(_, value)| is_blank(value)),
        JsonNode::Bool(_) | JsonNode::Number(_) => false,
    }
}

fn missing_or_malformed(node: &JsonNode) -> FieldLookup {
    if is_blank(node) { FieldLookup::Missing } else { FieldLookup::Malformed }
}

fn read_scalar(node: &JsonNode, kind: FieldType) -> FieldLookup {
    match (kind, node) {
        (FieldType::Boolean, JsonNode::Bool(truth)) => FieldLookup::Bool(*truth),
        (FieldType::Integer, JsonNode::Number(written)) if !written.contains(['.', 'e', 'E']) => {
            read_number(written)
        }
        (FieldType::TextOrNumber, JsonNode::Number(written)) => read_number(written),
        (
            FieldType::Text(_) | FieldType::CardNumber | FieldType::TextOrNumber,
            JsonNode::String(text),
        ) => read_string(text.as_deref(), kind),
        (_, other) => missing_or_malformed(other),
    }
}

fn read_number(written: &str) -> FieldLookup {
    match written.parse::<f64>() {
        Ok(value) if value.is_finite() => FieldLookup::Number(written.to_owned()),
        _ => FieldLookup::Malformed,
    }
}

fn read_string(text: Option<&str>, kind: FieldType) -> FieldLookup {
    match (text, kind) {
        (None, _) => FieldLookup::Malformed,
        (Some(""), _) => FieldLookup::Missing,
        (Some(text), FieldType::Text(Some(form))) if !form::matches(form, text) => {
            FieldLookup::Missing
        }
        (Some(text), _) => FieldLookup::Text(text.to_owned()),
    }
}
