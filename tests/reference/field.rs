//! Reading one listed field of a tree: missing, malformed, or a value.
//!
//! Types follow from a field's name as section 1 of docs/rules.md spells them. Nothing
//! here knows a recipient.

use super::form;
use super::json::{Node, Text};

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Missing,
    Malformed,
    Text(String),
    /// As written.
    Number(String),
    Bool(bool),
}

/// What a field must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Text,
    Date,
    Instant,
    Email,
    Phone,
    Currency,
    Isil,
    Integer,
    Boolean,
    TextOrNumber,
}

fn type_of(name: &str) -> Type {
    match name {
        "birth_date" | "needed_by" => Type::Date,
        "email" => Type::Email,
        "phone" | "mobile" => Type::Phone,
        "currency" => Type::Currency,
        "library" | "supplying_library" => Type::Isil,
        "renewals" => Type::Integer,
        "loan_history" => Type::Boolean,
        "house_number" | "volume" | "pages" => Type::TextOrNumber,
        _ if name.ends_with("_on") => Type::Date,
        _ if name.ends_with("_at") => Type::Instant,
        _ if name.ends_with("_cents") => Type::Integer,
        _ => Type::Text,
    }
}

/// Looks up `path`, whose segments are joined by dots.
pub fn look(node: &Node, path: &str) -> Found {
    let (name, below) = match path.split_once('.') {
        Some((name, below)) => (name, Some(below)),
        None => (path, None),
    };
    let value = match only(node, name) {
        Ok(Some(value)) => value,
        Ok(None) => return Found::Missing,
        Err(Twice) => return Found::Malformed,
    };
    match (below, value) {
        (Some(below), Node::Object(_)) => look(value, below),
        (Some(_), other) => nothing_or_malformed(other),
        (None, value) => scalar(value, type_of(name)),
    }
}

/// What stands under a name of a record itself, be it a string or a number; `Err`
/// where it is neither.
pub fn look_as_written(node: &Node, name: &str) -> Result<Option<String>, ()> {
    let value = match only(node, name) {
        Ok(Some(value)) => value,
        Ok(None) => return Ok(None),
        Err(Twice) => return Err(()),
    };
    match scalar(value, Type::TextOrNumber) {
        Found::Text(text) | Found::Number(text) => Ok(Some(text)),
        Found::Missing => Ok(None),
        Found::Malformed | Found::Bool(_) => Err(()),
    }
}

/// Looks up a list of objects: per object the fields named, in their order.
///
/// Objects in which none of these fields has a value are left out; `Err` is a
/// malformed list, object or field.
pub fn look_list(node: &Node, name: &str, fields: &[&str]) -> Result<Vec<Vec<Found>>, Found> {
    let elements = match only(node, name) {
        Ok(Some(Node::List(elements))) => elements,
        Ok(Some(other)) if !is_blank(other) => return Err(Found::Malformed),
        Ok(_) => return Ok(Vec::new()),
        Err(Twice) => return Err(Found::Malformed),
    };
    let mut rows = Vec::new();
    for element in elements {
        if !matches!(element, Node::Object(_)) {
            if is_blank(element) {
                continue;
            }
            return Err(Found::Malformed);
        }
        let row: Vec<Found> = fields.iter().map(|field| look(element, field)).collect();
        if row.contains(&Found::Malformed) {
            return Err(Found::Malformed);
        }
        if row.iter().any(|found| *found != Found::Missing) {
            rows.push(row);
        }
    }
    Ok(rows)
}

struct Twice;

/// Gives the one value under `name`.
fn only<'a>(node: &'a Node, name: &str) -> Result<Option<&'a Node>, Twice> {
    let Node::Object(members) = node else {
        return Ok(None);
    };
    let mut found = members.iter().filter(|(key, _)| key.is(name));
    let first = found.next().map(|(_, value)| value);
    if found.next().is_some() {
        return Err(Twice);
    }
    Ok(first)
}

/// Tells whether nothing at all stands here: null, empty, or only such.
fn is_blank(node: &Node) -> bool {
    match node {
        Node::Null => true,
        Node::Text(text) => text.is(""),
        Node::List(elements) => elements.iter().all(is_blank),
        Node::Object(members) => members.iter().all(|(_, value)| is_blank(value)),
        Node::Bool(_) | Node::Number(_) => false,
    }
}

fn nothing_or_malformed(node: &Node) -> Found {
    if is_blank(node) {
        Found::Missing
    } else {
        Found::Malformed
    }
}

fn scalar(node: &Node, wanted: Type) -> Found {
    match (wanted, node) {
        (Type::Boolean, Node::Bool(value)) => Found::Bool(*value),
        (Type::Integer, Node::Number(written)) if form::is_integer(written) => number(written),
        (Type::TextOrNumber, Node::Number(written)) => number(written),
        (Type::Boolean | Type::Integer, other) => nothing_or_malformed(other),
        (_, Node::Text(text)) => string(text, wanted),
        (_, other) => nothing_or_malformed(other),
    }
}

fn number(written: &str) -> Found {
    match written.parse::<f64>() {
        Ok(value) if value.is_finite() => Found::Number(written.to_owned()),
        _ => Found::Malformed,
    }
}

fn string(text: &Text, wanted: Type) -> Found {
    if text.lone {
        return Found::Malformed;
    }
    let chars = text.chars.as_str();
    let fits = match wanted {
        Type::Date => form::date(chars).is_some(),
        Type::Instant => form::instant(chars).is_some(),
        Type::Email => form::is_email(chars),
        Type::Phone => form::is_phone(chars),
        Type::Currency => form::is_currency(chars),
        Type::Isil => form::is_isil(chars),
        Type::Text | Type::TextOrNumber | Type::Integer | Type::Boolean => true,
    };
    if fits && !chars.is_empty() {
        Found::Text(chars.to_owned())
    } else {
        Found::Missing
    }
}
