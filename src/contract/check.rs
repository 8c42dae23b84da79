//! One record beside the catalogue of its kind: what is wrong, and where; never a value.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::policy::catalogue::{CatalogueField, FieldType, RecordKind, Role};
use crate::policy::form::TextFormat;
use crate::policy::reason::Reason;

/// What is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFinding {
    /// A JSON pointer of names of the catalogue; empty for the whole record.
    pub pointer: String,
    pub problem: RecordProblem,
    pub expected: String,
}

/// What is wrong, by what a run does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum RecordProblem {
    /// The record is refused whole.
    #[strum(serialize = "refused")]
    Refused(Reason),
    /// Recipients that need the field do not get the record.
    WrongType,
    /// As a wrong type.
    DuplicateField,
    /// The field counts as missing.
    WrongFormat,
    /// No condition names the word.
    UnknownWord,
}

impl RecordProblem {
    /// Returns its word: of a refusal that of its reason.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RecordProblem::Refused(reason) => reason.as_str(),
            other => other.into_str(),
        }
    }
}

/// Returns what is wrong with a record of a kind; `None` is a null.
#[must_use]
pub fn check_record(
    kind: &RecordKind,
    key: Option<&str>,
    value: Option<&[u8]>,
) -> Vec<RecordFinding> {
    let refused = |reason: Reason, expected: &str| {
        vec![finding("", RecordProblem::Refused(reason), expected)]
    };
    let Some(value) = value else {
        return match kind.role == Role::Patron {
            true => Vec::new(),
            false => refused(Reason::NullValue, "a record: only a patron is erased by a null"),
        };
    };
    let Ok(text) = std::str::from_utf8(value) else {
        return refused(Reason::NotUtf8, "UTF-8");
    };
    let Ok(node) = serde_json::from_str::<JsonNode>(text) else {
        return refused(Reason::NotJson, "one JSON value");
    };
    let JsonNode::Object(members) = node else {
        return refused(Reason::NotAnObject, "an object");
    };
    let mut walk = RecordWalk { kind, findings: Vec::new() };
    walk.check_identifiers(&members, key);
    walk.check_members(&members, "", "");
    walk.findings
}

fn finding(pointer: &str, problem: RecordProblem, expected: &str) -> RecordFinding {
    RecordFinding { pointer: pointer.to_owned(), problem, expected: expected.to_owned() }
}

struct RecordWalk<'a> {
    kind: &'a RecordKind,
    findings: Vec<RecordFinding>,
}

impl RecordWalk<'_> {
    fn push(&mut self, pointer: &str, problem: RecordProblem, expected: &str) {
        self.findings.push(finding(pointer, problem, expected));
    }

    fn check_identifiers(&mut self, members: &[(String, JsonNode)], key: Option<&str>) {
        let kind = self.kind;
        for path in kind.required_paths() {
            let mut found = members.iter().filter(|(name, _)| name == path);
            let is_text =
                |node: &JsonNode| matches!(node, JsonNode::Text(text) if !text.is_empty());
            match (found.next(), found.next()) {
                (Some((_, node)), None) if is_text(node) => {}
                _ => {
                    let pointer = format!("/{path}");
                    let refused = RecordProblem::Refused(Reason::Identifier);
                    self.push(&pointer, refused, "one text that is not empty");
                }
            }
        }
        let patron = members.iter().find(|(name, _)| name == "patron_id");
        let is_own = |id: &str| patron.is_some_and(|(_, node)| node.is_text(id));
        let must_match = kind.is_keyed_by_patron && !kind.may_lack_patron;
        if must_match && !key.is_some_and(is_own) {
            let refused = RecordProblem::Refused(Reason::Miskeyed);
            self.push("", refused, "the patron id as the message's key");
        }
    }

    /// Checks an object whose members lie below `prefix`, the catalogue's path.
    fn check_members(&mut self, members: &[(String, JsonNode)], prefix: &str, pointer: &str) {
        for (at, (name, node)) in members.iter().enumerate() {
            let path = format!("{prefix}{name}");
            let Some(member) = self.find_member(&path) else {
                if self.kind.is_closed {
                    let refused = RecordProblem::Refused(Reason::UnlistedField);
                    self.push(pointer, refused, "no field that the kind does not list");
                }
                continue;
            };
            let pointer = format!("{pointer}/{name}");
            if members[..at].iter().any(|(other, _)| other == name) {
                self.push(&pointer, RecordProblem::DuplicateField, "the field once");
            }
            self.check_member(member, node, (&path, &pointer));
        }
    }

    fn find_member(&self, path: &str) -> Option<MemberForm> {
        let fields = &self.kind.fields;
        let (list, object) = (format!("{path}[]"), format!("{path}."));
        let below_list = format!("{path}[].");
        if let Some(at) = fields.iter().position(|field| field.path == path) {
            return Some(MemberForm::Value(at));
        }
        if let Some(at) = fields.iter().position(|field| field.path == list) {
            return Some(MemberForm::List(at));
        }
        let has_below = |prefix: &str| fields.iter().any(|field| field.path.starts_with(prefix));
        if has_below(&object) {
            return Some(MemberForm::Object);
        }
        has_below(&below_list).then_some(MemberForm::ObjectList)
    }

    fn check_member(&mut self, member: MemberForm, node: &JsonNode, (path, pointer): (&str, &str)) {
        if node.is_missing() {
            return;
        }
        match (member, node) {
            (MemberForm::Value(at), node) => self.check_value(at, node, pointer),
            (MemberForm::List(at), JsonNode::List(elements)) => {
                for (index, element) in elements.iter().enumerate() {
                    if !element.is_missing() {
                        self.check_value(at, element, &format!("{pointer}/{index}"));
                    }
                }
            }
            (MemberForm::Object, JsonNode::Object(members)) => {
                self.check_members(members, &format!("{path}."), pointer);
            }
            (MemberForm::ObjectList, JsonNode::List(elements)) => {
                for (index, element) in elements.iter().enumerate() {
                    let pointer = format!("{pointer}/{index}");
                    match element {
                        JsonNode::Object(members) => {
                            self.check_members(members, &format!("{path}[]."), &pointer);
                        }
                        other if other.is_missing() => {}
                        _ => self.push(&pointer, RecordProblem::WrongType, "an object"),
                    }
                }
            }
            (MemberForm::Object, _) => self.push(pointer, RecordProblem::WrongType, "an object"),
            (MemberForm::List(_) | MemberForm::ObjectList, _) => {
                self.push(pointer, RecordProblem::WrongType, "a list");
            }
        }
    }

    fn check_value(&mut self, at: usize, node: &JsonNode, pointer: &str) {
        let Some(field) = self.kind.fields.get(at) else {
            return;
        };
        match (field.field_type, node) {
            (FieldType::Text(Some(form)), JsonNode::Text(text)) if !form.matches(text) => {
                self.push(pointer, RecordProblem::WrongFormat, describe_format(form));
            }
            (FieldType::Text(_) | FieldType::CardNumber, JsonNode::Text(text))
            | (FieldType::TextOrNumber, JsonNode::Text(text)) => {
                if is_unknown_word(field, text) {
                    let words = field.allowed_values.join(", ");
                    self.push(pointer, RecordProblem::UnknownWord, &format!("one of {words}"));
                }
            }
            (FieldType::Integer, JsonNode::Integer)
            | (FieldType::Boolean, JsonNode::Boolean)
            | (FieldType::TextOrNumber, JsonNode::Integer | JsonNode::Number) => {}
            (field_type, _) => {
                self.push(pointer, RecordProblem::WrongType, describe_type(field_type));
            }
        }
    }
}

fn is_unknown_word(field: &CatalogueField, text: &str) -> bool {
    !field.allowed_values.is_empty() && !field.allowed_values.iter().any(|word| word == text)
}

/// What a member of an object is; a value by the index of its field.
#[derive(Clone, Copy)]
enum MemberForm {
    Value(usize),
    List(usize),
    Object,
    ObjectList,
}

fn describe_type(field_type: FieldType) -> &'static str {
    match field_type {
        FieldType::Text(_) | FieldType::CardNumber => "a text",
        FieldType::Integer => "an integer",
        FieldType::Boolean => "true or false",
        FieldType::TextOrNumber => "a text or a number",
    }
}

fn describe_format(form: TextFormat) -> &'static str {
    match form {
        TextFormat::Date => "a date, as 2026-01-31",
        TextFormat::Instant => "an instant, as 2026-01-31T10:00:00Z",
        TextFormat::Email => "an e-mail address",
        TextFormat::Phone => "a phone number",
        TextFormat::Iban => "an IBAN with valid check digits",
        TextFormat::Bsn => "a BSN with a valid check digit",
        TextFormat::Rijksregisternummer => "a rijksregisternummer with valid check digits",
        TextFormat::Isil => "an ISIL, as NL-AmrBKW",
        TextFormat::Currency => "three capitals, as EUR",
    }
}

/// A JSON value that keeps names that stand twice.
enum JsonNode {
    Null,
    Boolean,
    Integer,
    Number,
    Text(String),
    List(Vec<JsonNode>),
    Object(Vec<(String, JsonNode)>),
}

impl JsonNode {
    fn is_text(&self, text: &str) -> bool {
        matches!(self, JsonNode::Text(own) if own == text)
    }

    fn is_missing(&self) -> bool {
        matches!(self, JsonNode::Null) || self.is_text("")
    }
}

impl<'de> Deserialize<'de> for JsonNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

/// A double keeps no more digits than this apart.
const INTEGERS_FROM: f64 = 9_007_199_254_740_992.0;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = JsonNode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<JsonNode, E> {
        Ok(JsonNode::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<JsonNode, E> {
        Ok(JsonNode::Boolean)
    }

    fn visit_i64<E>(self, _: i64) -> Result<JsonNode, E> {
        Ok(JsonNode::Integer)
    }

    fn visit_u64<E>(self, _: u64) -> Result<JsonNode, E> {
        Ok(JsonNode::Integer)
    }

    fn visit_f64<E>(self, number: f64) -> Result<JsonNode, E> {
        // Longer integers arrive as doubles, too.
        Ok(if number.abs() >= INTEGERS_FROM { JsonNode::Integer } else { JsonNode::Number })
    }

    fn visit_str<E>(self, text: &str) -> Result<JsonNode, E> {
        Ok(JsonNode::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<JsonNode, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            elements.push(element);
        }
        Ok(JsonNode::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<JsonNode, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = object.next_entry()? {
            members.push(member);
        }
        Ok(JsonNode::Object(members))
    }
}
