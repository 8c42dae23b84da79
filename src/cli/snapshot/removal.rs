//! The line that says that a record is no longer there.

use serde_json::{Map, Value, json};

use super::known_records::{KnownRecords, RecordLine, text_at, value_at};
use super::without_byte_order_mark;
use crate::json::members;
use crate::policy::catalogue::{RecordKind, Role};

const DECISION: &str = "decision";
const WITHDRAWN: &str = "withdrawn";
/// What a withdrawn consent still says.
const CONSENT_PATHS: &[&str] =
    &["patron_id", "library", "purpose", "recipient", "manner", "given_by", "at"];

/// Returns the line, its end included, for a record whose last line is `line`; `None` for a record
/// that stays: an objection, a refusal, one of a kind that cannot be gone, and one that may be in the
/// snapshot under an id that cannot be read.
pub(in crate::cli) fn removal_line(
    kind: &RecordKind,
    known: &KnownRecords,
    line: &[u8],
) -> Option<Vec<u8>> {
    let line = without_byte_order_mark(line, 0).trim_ascii();
    let read = RecordLine::parse(kind, line)?;
    if known.may_be_in_snapshot(&read) {
        return None;
    }
    let members = members::read(std::str::from_utf8(line).ok()?, ["key", "value"])?;
    let [key, value] = members.found;
    let key: Value = key.map_or(Some(Value::Null), |key| serde_json::from_str(key.get()).ok())?;
    let record: Value = serde_json::from_str(value?.get()).ok()?;
    let value = match kind.role {
        Role::Patron => Value::Null,
        Role::Gate if kind.gone_path.is_none() => withdrawn_consent(kind, &record)?,
        Role::Gate | Role::Record => gone_record(kind, &record)?,
    };
    let mut line = serde_json::to_vec(&json!({ "key": key, "value": value })).ok()?;
    line.push(b'\n');
    Some(line)
}

/// Returns the consent as withdrawn; `None` for what is no grant.
fn withdrawn_consent(kind: &RecordKind, record: &Value) -> Option<Value> {
    kind.field(DECISION)?;
    if text_at(record, DECISION) != Some("granted") {
        return None;
    }
    let mut consent = copied_paths(record, &[&[kind.id_path.as_str()], CONSENT_PATHS].concat());
    set_value(&mut consent, DECISION, Value::from(WITHDRAWN));
    Some(consent)
}

fn gone_record(kind: &RecordKind, record: &Value) -> Option<Value> {
    let mut gone = copied_paths(record, &[&kind.id_path, "patron_id", "library"]);
    set_value(&mut gone, kind.gone_path.as_deref()?, Value::Bool(true));
    Some(gone)
}

fn copied_paths(record: &Value, paths: &[&str]) -> Value {
    let mut copy = Value::Object(Map::new());
    for path in paths {
        if let Some(value) = value_at(record, path) {
            set_value(&mut copy, path, value.clone());
        }
    }
    copy
}

/// Sets the value at a path of object members.
fn set_value(record: &mut Value, path: &str, value: Value) {
    let mut at = record;
    for name in path.split('.') {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[name];
    }
    *at = value;
}
