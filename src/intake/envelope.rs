//! The envelope of a raw message: what was done to a row, and the row before and
//! after.
//!
//! An unknown operation is a refusal, never a write.

use std::fmt;

use super::refusal::Refusal;
use super::value::JsonValue;

/// What stands around a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Envelope {
    /// `before`, `after`, `op`, `source`.
    Debezium,
    /// `type`, `tenant`, `data.old`, `data.new`: users and circulation.
    Folio,
    /// `type`, `tenant`, `old`, `new`: inventory.
    FolioInventory,
    /// Nothing: the row itself, with `__deleted` or `__op` where somebody added them.
    Row,
}

/// What stands before a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Nothing.
    Bare,
    /// The id of a schema, as Confluent's JSON Schema serialiser writes it. The schema itself is not
    /// asked for: the mapping says what is read.
    JsonSchema,
    /// The same before Avro, which nobody can read without the schema.
    Avro,
}

/// Each framing by its word.
pub(super) const FRAMINGS: &[(&str, Framing)] =
    &[("none", Framing::Bare), ("json_schema", Framing::JsonSchema), ("avro", Framing::Avro)];

/// Which schema of its registry a frame names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SchemaId {
    Number(u32),
    /// What newer serialisers write in a header.
    Guid([u8; 16]),
}

impl From<u32> for SchemaId {
    fn from(number: u32) -> SchemaId {
        SchemaId::Number(number)
    }
}

impl fmt::Display for SchemaId {
    /// The number, or the GUID in its usual groups.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaId::Number(number) => write!(f, "{number}"),
            SchemaId::Guid(bytes) => {
                for (at, byte) in bytes.iter().enumerate() {
                    let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
                    write!(f, "{dash}{byte:02x}")?;
                }
                Ok(())
            }
        }
    }
}

/// Splits a value in the schema's id, of its frame, and what is behind the frame; `None` if there
/// is no frame.
///
/// A zero byte stands before a number of four bytes, a one before a GUID. A header with an id holds
/// the same bytes, so a transport puts it in front of the value.
#[must_use]
pub fn split_frame(bytes: &[u8]) -> Option<(SchemaId, &[u8])> {
    match bytes.split_first()? {
        (0, rest) => {
            let (number, value) = rest.split_first_chunk()?;
            Some((SchemaId::Number(u32::from_be_bytes(*number)), value))
        }
        (1, rest) => {
            let (guid, value) = rest.split_first_chunk()?;
            Some((SchemaId::Guid(*guid), value))
        }
        _ => None,
    }
}

/// Each envelope by its word.
pub(super) const ENVELOPES: &[(&str, Envelope)] = &[
    ("debezium", Envelope::Debezium),
    ("folio", Envelope::Folio),
    ("folio-inventory", Envelope::FolioInventory),
    ("row", Envelope::Row),
];

impl Envelope {
    /// Whether each column of a row is in each message, be it as null.
    pub(super) fn has_all_columns(self) -> bool {
        matches!(self, Envelope::Debezium | Envelope::Row)
    }
}

/// What was done to a row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'m, 'a> {
    Written {
        old: Option<&'m JsonValue<'a>>,
        new: &'m JsonValue<'a>,
        /// The row was there before, whether or not it is here.
        is_update: bool,
    },
    Deleted {
        old: &'m JsonValue<'a>,
    },
    /// No row is concerned.
    Nothing,
}

/// An opened message.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenedMessage<'m, 'a> {
    /// What `envelope.` in a path means.
    pub(super) envelope: &'m JsonValue<'a>,
    pub(super) change: Change<'m, 'a>,
}

/// Opens `message`, which is no null.
///
/// Kafka Connect's `{"schema":...,"payload":...}` is taken off first.
///
/// # Errors
///
/// [`Refusal::NotEnveloped`], [`Refusal::Enveloped`], [`Refusal::UnknownOperation`],
/// [`Refusal::AllGone`] or [`Refusal::BeforeMissing`].
pub(super) fn open<'m, 'a>(
    kind: Envelope,
    message: &'m JsonValue<'a>,
) -> Result<OpenedMessage<'m, 'a>, Refusal> {
    let envelope = payload_of(message).unwrap_or(message);
    if !envelope.is_object() {
        return Err(Refusal::NotEnveloped);
    }
    let change = match kind {
        Envelope::Debezium => open_debezium(envelope)?,
        Envelope::Folio => open_folio(envelope)?,
        Envelope::FolioInventory => open_inventory(envelope)?,
        Envelope::Row => open_row(envelope)?,
    };
    Ok(OpenedMessage { envelope, change })
}

/// What Kafka Connect wraps with its schema.
fn payload_of<'m, 'a>(message: &'m JsonValue<'a>) -> Option<&'m JsonValue<'a>> {
    match message {
        JsonValue::Object(members) if members.len() == 2 => {
            message.member("schema")?;
            message.member("payload")
        }
        _ => None,
    }
}

/// The member, where it is an object.
fn row<'m, 'a>(envelope: &'m JsonValue<'a>, name: &str) -> Option<&'m JsonValue<'a>> {
    envelope.member(name).filter(|value| value.is_object())
}

fn open_debezium<'m, 'a>(envelope: &'m JsonValue<'a>) -> Result<Change<'m, 'a>, Refusal> {
    let operation = envelope.member("op").and_then(JsonValue::as_text);
    let old = row(envelope, "before");
    let new = row(envelope, "after");
    match operation.ok_or(Refusal::NotEnveloped)? {
        word @ ("c" | "r" | "u") => {
            let new = new.ok_or(Refusal::NotEnveloped)?;
            Ok(Change::Written { old, new, is_update: word == "u" })
        }
        "d" => Ok(Change::Deleted { old: old.ok_or(Refusal::BeforeMissing)? }),
        "t" => Err(Refusal::AllGone),
        "m" => Ok(Change::Nothing),
        _ => Err(Refusal::UnknownOperation),
    }
}

fn open_folio<'m, 'a>(envelope: &'m JsonValue<'a>) -> Result<Change<'m, 'a>, Refusal> {
    let operation = envelope.member("type").and_then(JsonValue::as_text);
    let data = row(envelope, "data").ok_or(Refusal::NotEnveloped)?;
    let old = row(data, "old");
    let new = row(data, "new");
    match operation.ok_or(Refusal::NotEnveloped)? {
        word @ ("CREATED" | "UPDATED") => {
            let new = new.ok_or(Refusal::NotEnveloped)?;
            Ok(Change::Written { old, new, is_update: word == "UPDATED" })
        }
        "DELETED" => Ok(Change::Deleted { old: old.ok_or(Refusal::BeforeMissing)? }),
        "ALL_DELETED" => Err(Refusal::AllGone),
        _ => Err(Refusal::UnknownOperation),
    }
}

fn open_inventory<'m, 'a>(envelope: &'m JsonValue<'a>) -> Result<Change<'m, 'a>, Refusal> {
    let operation = envelope.member("type").and_then(JsonValue::as_text);
    let old = row(envelope, "old");
    let new = row(envelope, "new");
    match operation.ok_or(Refusal::NotEnveloped)? {
        word @ ("CREATE" | "UPDATE") => {
            let new = new.ok_or(Refusal::NotEnveloped)?;
            Ok(Change::Written { old, new, is_update: word == "UPDATE" })
        }
        // Some of these say an id only.
        "REINDEX" | "ITERATE" | "MIGRATION" => Ok(match new {
            Some(new) => Change::Written { old, new, is_update: false },
            None => Change::Nothing,
        }),
        "DELETE" => Ok(Change::Deleted { old: old.ok_or(Refusal::BeforeMissing)? }),
        "DELETE_ALL" => Err(Refusal::AllGone),
        _ => Err(Refusal::UnknownOperation),
    }
}

fn open_row<'m, 'a>(envelope: &'m JsonValue<'a>) -> Result<Change<'m, 'a>, Refusal> {
    let has = |name: &str| envelope.member(name).is_some();
    let is_debezium = has("before") && has("after") && has("op");
    let is_folio = has("type") && has("tenant") && (has("data") || has("new") || has("old"));
    if is_debezium || is_folio {
        return Err(Refusal::Enveloped);
    }
    let is_deleted = match envelope.member("__deleted") {
        None | Some(JsonValue::Null | JsonValue::Boolean(false)) => false,
        Some(JsonValue::Boolean(true)) => true,
        Some(word) => match word.as_text() {
            Some("false") => false,
            Some("true") => true,
            _ => return Err(Refusal::UnknownOperation),
        },
    };
    let is_deleted = match envelope.member("__op") {
        None | Some(JsonValue::Null) => is_deleted,
        Some(word) => match word.as_text() {
            Some("c" | "r" | "u") => is_deleted,
            Some("d") => true,
            Some("t") => return Err(Refusal::AllGone),
            _ => return Err(Refusal::UnknownOperation),
        },
    };
    Ok(match is_deleted {
        true => Change::Deleted { old: envelope },
        false => Change::Written { old: None, new: envelope, is_update: false },
    })
}
