//! A row as it stands on zeef's own topic: one line of JSON, without a value.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{Entries, Entry, More, Outcome, PatronRef, Row, RowKey};
use crate::engine::lane::Lane;
use crate::json::write;
use crate::policy::pseudonym::{PSEUDONYM_LENGTH, Pseudonym};
use crate::policy::reason::Reason;

/// The format version that every row carries.
pub const FORMAT: u32 = 2;

/// Why a row cannot be read. A lane without its state would send and keep the
/// wrong things, so it stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error("a row of the state has a newer format than {FORMAT}: run a newer zeef")]
    Newer,
    #[error("a row of the state is damaged")]
    Damaged,
}

/// The words of [`Outcome`].
const OUTCOMES: [(Outcome, &str); 5] = [
    (Outcome::Released, "released"),
    (Outcome::Withheld, "withheld"),
    (Outcome::Held, "held"),
    (Outcome::Retracted, "retracted"),
    (Outcome::Forgotten, "forgotten"),
];

impl Outcome {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let found = OUTCOMES.iter().find(|(outcome, _)| *outcome == self);
        found.map_or("", |(_, word)| word)
    }

    #[must_use]
    pub fn named(word: &str) -> Option<Outcome> {
        let found = OUTCOMES.iter().find(|(_, known)| *known == word);
        found.map(|(outcome, _)| *outcome)
    }
}

/// The characters of a name.
#[must_use]
pub fn name(bits: u128) -> [u8; PSEUDONYM_LENGTH] {
    Pseudonym::of_bits(bits).text()
}

/// The name that characters are.
#[must_use]
pub fn bits(text: &[u8]) -> Option<u128> {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut bytes = [0; 16];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (length == bytes.len()).then(|| u128::from_be_bytes(bytes))
}

/// Appends a row; `partition` is that of its source and of the row.
pub fn write(out: &mut Vec<u8>, lane: &Lane, partition: i32, row: &Row) {
    out.extend_from_slice(b"{\"format\":");
    integer(out, FORMAT.into());
    text(out, "patron", &name(row.patron.0));
    let source = lane.sources.get(usize::from(row.source));
    let source = source.map_or("", |source| source.kind.name.as_str());
    out.extend_from_slice(b",\"source\":");
    write::string(out, source);
    number(out, "partition", partition.into());
    number(out, "offset", row.offset);
    number(out, "first_ms", row.first_ms);
    if row.due_ms != i64::MAX {
        number(out, "due_ms", row.due_ms);
    }
    // Mostly the same facts decide for all.
    let facts = row.entries.first().map_or(0, |first| first.facts);
    hex(out, "facts", facts);
    out.extend_from_slice(b",\"to\":{");
    for (place, one) in row.entries.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        entry(out, lane, row, one, facts);
    }
    if let Some(others) = row.others() {
        if !row.entries.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(others.as_bytes());
    }
    out.extend_from_slice(b"}}");
}

/// Appends the row that says under which policy records were decided, and for
/// whom: a recipient may also come from another lane.
pub fn write_mark(out: &mut Vec<u8>, lane: &Lane) {
    out.extend_from_slice(b"{\"format\":");
    integer(out, FORMAT.into());
    out.extend_from_slice(b",\"policy\":");
    write::string(out, &lane.policy_version);
    out.extend_from_slice(b",\"recipients\":[");
    for (place, recipient) in lane.recipients.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write::string(out, &recipient.name);
    }
    out.extend_from_slice(b"]}");
}

/// Whether such a row is the one that the lane would write.
///
/// # Errors
///
/// See [`TextError`].
pub fn is_mark_of(lane: &Lane, value: &[u8]) -> Result<bool, TextError> {
    read_head(value)?;
    let mut own = Vec::new();
    write_mark(&mut own, lane);
    Ok(own == value)
}

fn entry(out: &mut Vec<u8>, lane: &Lane, row: &Row, one: &Entry, facts: u64) {
    let recipient = lane.recipients.get(usize::from(one.recipient));
    write::string(
        out,
        recipient.map_or("", |recipient| recipient.name.as_str()),
    );
    out.extend_from_slice(b":{\"outcome\":\"");
    out.extend_from_slice(one.outcome.as_str().as_bytes());
    out.push(b'"');
    if let Some(reason) = one.reason {
        text(out, "reason", reason.as_str().as_bytes());
    }
    if one.outcome == Outcome::Released || one.outcome == Outcome::Forgotten {
        let topic = lane.outputs.get(usize::from(one.output));
        out.extend_from_slice(b",\"topic\":");
        write::string(out, topic.map_or("", |topic| topic.topic.as_str()));
        text(out, "key", &name(one.key));
    }
    if one.outcome == Outcome::Released {
        hex(out, "hash", one.hash);
    }
    let first_ms = row.first_ms(one.recipient).unwrap_or(row.first_ms);
    if first_ms != row.first_ms {
        number(out, "first_ms", first_ms);
    }
    if let Some(held_ms) = one.held_ms().filter(|held_ms| *held_ms != first_ms) {
        number(out, "held_ms", held_ms);
    }
    if one.until_ms() != i64::MAX {
        number(out, "until_ms", one.until_ms());
    }
    if one.facts != facts {
        hex(out, "facts", one.facts);
    }
    if !one.owed {
        out.extend_from_slice(b",\"final\":true");
    }
    out.push(b'}');
}

fn integer(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn number(out: &mut Vec<u8>, name: &str, value: i64) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    integer(out, value);
}

fn hex(out: &mut Vec<u8>, name: &str, value: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 16];
    for (place, digit) in digits.iter_mut().enumerate() {
        *digit = DIGITS[(value >> (60 - 4 * place)) as usize & 0xf];
    }
    text(out, name, &digits);
}

/// A member whose text needs no escapes.
fn text(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    out.extend_from_slice(value);
    out.push(b'"');
}

/// What any row begins with.
#[derive(Debug, Deserialize)]
pub(super) struct Head {
    format: u32,
    /// Of the row that is about no record.
    pub(super) policy: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct RowText<'a> {
    patron: &'a str,
    source: String,
    offset: i64,
    first_ms: i64,
    due_ms: Option<i64>,
    facts: String,
    #[serde(borrow)]
    to: BTreeMap<String, &'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct EntryText {
    outcome: String,
    reason: Option<String>,
    topic: Option<String>,
    key: Option<String>,
    hash: Option<String>,
    first_ms: Option<i64>,
    held_ms: Option<i64>,
    until_ms: Option<i64>,
    facts: Option<String>,
    #[serde(default, rename = "final")]
    is_final: bool,
}

/// Reads a row. None where it is of a source that the lane no longer has.
///
/// # Errors
///
/// See [`TextError`].
pub fn read(lane: &Lane, value: &[u8]) -> Result<Option<Row>, TextError> {
    read_head(value)?;
    let row: RowText<'_> = serde_json::from_slice(value).map_err(|_| TextError::Damaged)?;
    let source = lane.sources.iter();
    let mut source = source.map(|source| &source.kind.name);
    let Some(source) = source.position(|name| *name == row.source) else {
        return Ok(None);
    };
    let patron = bits(row.patron.as_bytes()).ok_or(TextError::Damaged)?;
    let mut read = Vec::with_capacity(row.to.len());
    let mut others = Vec::new();
    let facts = number_of(&row.facts)?;
    for (recipient, text) in row.to {
        match read_entry(lane, &recipient, text, (facts, row.first_ms))? {
            Some(found) => read.push(found),
            None => {
                if !others.is_empty() {
                    others.push(b',');
                }
                write::string(&mut others, &recipient);
                others.push(b':');
                others.extend_from_slice(text.get().as_bytes());
            }
        }
    }
    read.sort_unstable_by_key(|(entry, _): &(Entry, i64)| entry.recipient);
    let mut entries = Entries::with_capacity(read.len());
    for (entry, first_ms) in read {
        entries.push(entry, first_ms);
    }
    let others = String::from_utf8(others).map_err(|_| TextError::Damaged)?;
    let more = More {
        firsts: Vec::new(),
        others: (!others.is_empty()).then(|| others.into()),
    };
    Ok(Some(entries.row(Row {
        patron: PatronRef(patron),
        source: u16::try_from(source).unwrap_or(u16::MAX),
        offset: row.offset,
        first_ms: row.first_ms,
        due_ms: row.due_ms.unwrap_or(i64::MAX),
        entries: Box::default(),
        more: Some(Box::new(more)),
    })))
}

/// Reads what any row begins with.
pub(super) fn read_head(value: &[u8]) -> Result<Head, TextError> {
    let head: Head = serde_json::from_slice(value).map_err(|_| TextError::Damaged)?;
    if head.format > FORMAT {
        return Err(TextError::Newer);
    }
    Ok(head)
}

/// Reads the name of a row.
///
/// # Errors
///
/// [`TextError::Damaged`].
pub fn read_key(key: Option<&[u8]>) -> Result<RowKey, TextError> {
    let bits = key.and_then(bits).ok_or(TextError::Damaged)?;
    Ok(RowKey(bits))
}

/// An entry, and when the record was first decided for it; of its row are given
/// the facts and the same time. None for a recipient or a topic that the lane no
/// longer has.
fn read_entry(
    lane: &Lane,
    recipient: &str,
    text: &RawValue,
    (facts, first_ms): (u64, i64),
) -> Result<Option<(Entry, i64)>, TextError> {
    let mut names = lane.recipients.iter().map(|program| &program.name);
    let Some(recipient) = names.position(|name| name == recipient) else {
        return Ok(None);
    };
    let read: EntryText = serde_json::from_str(text.get()).map_err(|_| TextError::Damaged)?;
    let outcome = Outcome::named(&read.outcome).ok_or(TextError::Damaged)?;
    let sent = matches!(outcome, Outcome::Released | Outcome::Forgotten);
    let mut entry = Entry::without(
        u16::try_from(recipient).unwrap_or(u16::MAX),
        outcome,
        read.reason.as_deref().and_then(Reason::named),
    );
    let first_ms = read.first_ms.unwrap_or(first_ms);
    entry.owed = !read.is_final;
    entry.facts = match &read.facts {
        Some(own) => number_of(own)?,
        None => facts,
    };
    if sent {
        let topic = read.topic.ok_or(TextError::Damaged)?;
        let mut topics = lane.outputs.iter().map(|output| &output.topic);
        let Some(output) = topics.position(|known| *known == topic) else {
            return Ok(None);
        };
        entry.output = u16::try_from(output).unwrap_or(u16::MAX);
        let key = read.key.ok_or(TextError::Damaged)?;
        entry.key = bits(key.as_bytes()).ok_or(TextError::Damaged)?;
    }
    if outcome == Outcome::Released {
        entry.hash = number_of(&read.hash.ok_or(TextError::Damaged)?)?;
        entry.time_ms = read.until_ms.unwrap_or(i64::MAX);
    }
    if outcome == Outcome::Held {
        entry.time_ms = read.held_ms.unwrap_or(first_ms);
    }
    Ok(Some((entry, first_ms)))
}

fn number_of(hex: &str) -> Result<u64, TextError> {
    u64::from_str_radix(hex, 16).map_err(|_| TextError::Damaged)
}
