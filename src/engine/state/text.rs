//! A row as it stands on zeef's own topic: one line of JSON, without a value.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{Entries, Entry, FOREIGN, More, Outcome, PatronRef, Row, RowKey};
use crate::engine::lane::Lane;
use crate::json::write;
use crate::policy::pseudonym::{PSEUDONYM_LENGTH, Pseudonym};
use crate::policy::reason::Reason;
use crate::transport::continuity::{self, Fingerprinter};

/// The format version that every row carries.
pub const FORMAT: u32 = 2;

/// Why a row cannot be read. A lane without its state would send and keep the
/// wrong things, so it stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error("a row of the state has a newer format than {FORMAT}: run a newer zeef")]
    Newer,
    #[error("a row of the state is damaged, or was changed by somebody else than zeef")]
    Damaged,
    #[error(
        "a row of the state was written by a version before this one: run its lane once, with the \
         recipients that it had"
    )]
    Older,
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

/// What a row of the state is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A row that counts, and its MAC.
    Row(Row, u64),
    /// The last word on a record that nobody has or is owed any more.
    Over,
    /// A row of the format before: its outputs have other keys.
    Before(Row),
    /// What such a format had beside its rows.
    BeforeMark,
}

/// Appends a row; `partition` is that of its source and of the row. Returns its
/// MAC under `prints`, which is also of its `key`.
pub fn write(
    out: &mut Vec<u8>,
    prints: &Fingerprinter,
    lane: &Lane,
    (partition, key): (i32, RowKey),
    row: &Row,
) -> u64 {
    let start = out.len();
    body(out, lane, partition, row);
    let mac = mac(prints, key, &out[start..]);
    continuity::append_mac(out, mac);
    mac
}

fn mac(prints: &Fingerprinter, key: RowKey, body: &[u8]) -> u64 {
    prints.record(Some(&name(key.0)), Some(body))
}

/// Appends a row up to its MAC.
fn body(out: &mut Vec<u8>, lane: &Lane, partition: i32, row: &Row) {
    out.extend_from_slice(b"{\"format\":");
    integer(out, FORMAT.into());
    text(out, "patron", &name(row.patron.0));
    let source = lane.sources.get(usize::from(row.source));
    let source = source.map(|source| source.kind.name.as_str());
    let source = source.or_else(|| row.foreign_kind()).unwrap_or_default();
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
    out.push(b'}');
    if !row.lives() {
        out.extend_from_slice(b",\"over\":true");
    }
}

fn entry(out: &mut Vec<u8>, lane: &Lane, row: &Row, one: &Entry, facts: u64) {
    write::string(out, lane.name_of(one.recipient).unwrap_or_default());
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
    if one.outcome == Outcome::Withheld && one.key != 0 {
        text(out, "pending_key", &name(one.key));
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
    pub(super) format: u32,
    /// Of the row that is about no record.
    pub(super) policy: Option<IgnoredAny>,
    #[serde(default)]
    over: bool,
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
    /// Of an output that waits for a period.
    pending_key: Option<String>,
    hash: Option<String>,
    first_ms: Option<i64>,
    held_ms: Option<i64>,
    until_ms: Option<i64>,
    facts: Option<String>,
    #[serde(default, rename = "final")]
    is_final: bool,
}

/// Reads a row, and checks its MAC.
///
/// # Errors
///
/// See [`TextError`].
pub fn read(
    lane: &Lane,
    prints: &Fingerprinter,
    key: RowKey,
    value: &[u8],
) -> Result<Stored, TextError> {
    let head = read_head(value)?;
    if head.format < FORMAT {
        return Ok(match head.policy {
            Some(_) => Stored::BeforeMark,
            None => match read_row(lane, value)? {
                row if row.source == FOREIGN => Stored::BeforeMark,
                row => Stored::Before(row),
            },
        });
    }
    let (body, written) = continuity::split_mac(value).ok_or(TextError::Damaged)?;
    if mac(prints, key, body) != written {
        return Err(TextError::Damaged);
    }
    if head.over {
        return Ok(Stored::Over);
    }
    Ok(Stored::Row(read_row(lane, value)?, written))
}

/// Reads a row, whatever its format.
fn read_row(lane: &Lane, value: &[u8]) -> Result<Row, TextError> {
    let row: RowText<'_> = serde_json::from_slice(value).map_err(|_| TextError::Damaged)?;
    let source = lane.sources.iter();
    let mut source = source.map(|source| &source.kind.name);
    let source = source.position(|name| *name == row.source);
    let source = source.and_then(|source| u16::try_from(source).ok());
    let patron = bits(row.patron.as_bytes()).ok_or(TextError::Damaged)?;
    let mut read = Vec::with_capacity(row.to.len());
    let mut others = Vec::new();
    let facts = number_of(&row.facts)?;
    for (recipient, text) in row.to {
        let name = (recipient.as_str(), row.source.as_str());
        match read_entry(lane, name, text, (facts, row.first_ms))? {
            Read::Known(entry, first_ms) => read.push((entry, first_ms)),
            Read::Ended => {}
            Read::Other => {
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
    if read
        .windows(2)
        .any(|two| two[0].0.recipient == two[1].0.recipient)
    {
        return Err(TextError::Damaged);
    }
    let mut entries = Entries::with_capacity(read.len());
    for (entry, first_ms) in read {
        entries.push(entry, first_ms);
    }
    let others = String::from_utf8(others).map_err(|_| TextError::Damaged)?;
    let more = More {
        firsts: Vec::new(),
        others: (!others.is_empty()).then(|| others.into()),
        kind: source.is_none().then(|| row.source.into()),
    };
    // Time changes nothing of what the lane does not decide.
    let due_ms = row.due_ms.filter(|_| source.is_some());
    Ok(entries.row(Row {
        patron: PatronRef(patron),
        source: source.unwrap_or(FOREIGN),
        offset: row.offset,
        first_ms: row.first_ms,
        due_ms: due_ms.unwrap_or(i64::MAX),
        entries: Box::default(),
        more: Some(Box::new(more)),
    }))
}

/// The recipients that have a record, and on which topics, as its row says.
pub(super) fn sent_to(value: &[u8]) -> Vec<(String, String)> {
    #[derive(Deserialize)]
    struct Sent {
        to: BTreeMap<String, EntryText>,
    }
    let read: Option<Sent> = serde_json::from_slice(value).ok();
    let entries = read.into_iter().flat_map(|sent| sent.to);
    entries
        .filter_map(|(recipient, entry)| Some((recipient, sent_on(entry)?)))
        .collect()
}

/// The same of some entries of a row, without the braces around them.
pub(super) fn others_sent_to(members: &str) -> Vec<(String, String)> {
    sent_to(format!("{{\"to\":{{{members}}}}}").as_bytes())
}

/// The topic of an output that the recipient has.
fn sent_on(entry: EntryText) -> Option<String> {
    let outcome = Outcome::named(&entry.outcome)?;
    let sent = matches!(outcome, Outcome::Released | Outcome::Forgotten);
    entry.topic.filter(|_| sent)
}

/// Whether a row is the last word on a record.
pub(super) fn is_over(value: &[u8]) -> bool {
    read_head(value).is_ok_and(|head| head.over)
}

/// Checks that a row is as it was written under `key`.
///
/// # Errors
///
/// [`TextError`], as for a row of a format before, which has no MAC.
pub(super) fn check_mac(prints: &Fingerprinter, key: &[u8], value: &[u8]) -> Result<(), TextError> {
    if read_head(value)?.format < FORMAT {
        return Err(TextError::Older);
    }
    let (body, written) = continuity::split_mac(value).ok_or(TextError::Damaged)?;
    match prints.record(Some(key), Some(body)) == written {
        true => Ok(()),
        false => Err(TextError::Damaged),
    }
}

/// Reads what any row begins with.
pub(super) fn read_head(value: &[u8]) -> Result<Head, TextError> {
    let head: Head = serde_json::from_slice(value).map_err(|_| TextError::Damaged)?;
    if head.format > FORMAT {
        return Err(TextError::Newer);
    }
    Ok(head)
}

/// Whether a row is of the transport itself, as versions without marks wrote them.
#[must_use]
pub fn is_of_transport(key: &[u8]) -> bool {
    key.starts_with(b"next:")
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

/// What is read of a recipient in a row.
enum Read {
    /// Its entry, and when the record was first decided for it.
    Known(Entry, i64),
    /// The lane does not know it, and nothing follows from it any more.
    Ended,
    /// The lane does not know it.
    Other,
}

/// Reads an entry of a recipient, and of the kind of its record; of its row are
/// given the facts, and when it was first decided.
fn read_entry(
    lane: &Lane,
    (name, kind): (&str, &str),
    text: &RawValue,
    (facts, first_ms): (u64, i64),
) -> Result<Read, TextError> {
    let read: EntryText = serde_json::from_str(text.get()).map_err(|_| TextError::Damaged)?;
    let outcome = Outcome::named(&read.outcome).ok_or(TextError::Damaged)?;
    let sent = matches!(outcome, Outcome::Released | Outcome::Forgotten);
    let holder = if sent {
        let topic = read.topic.as_deref().ok_or(TextError::Damaged)?;
        lane.holder((name, topic), kind)
    } else {
        lane.served(name, kind).map(|recipient| (recipient, 0))
    };
    let Some((recipient, output)) = holder else {
        let ended = matches!(outcome, Outcome::Withheld | Outcome::Retracted) && read.is_final;
        return Ok(if ended { Read::Ended } else { Read::Other });
    };
    let reason = read.reason.as_deref().and_then(Reason::named);
    let mut entry = Entry::without(recipient, outcome, reason);
    let first_ms = read.first_ms.unwrap_or(first_ms);
    entry.owed = !read.is_final;
    entry.facts = match &read.facts {
        Some(own) => number_of(own)?,
        None => facts,
    };
    if sent {
        entry.output = output;
        let key = read.key.ok_or(TextError::Damaged)?;
        entry.key = bits(key.as_bytes()).ok_or(TextError::Damaged)?;
    }
    if outcome == Outcome::Released {
        entry.hash = number_of(&read.hash.ok_or(TextError::Damaged)?)?;
        entry.time_ms = read.until_ms.unwrap_or(i64::MAX);
    }
    if let Some(key) = read.pending_key {
        entry.key = bits(key.as_bytes()).ok_or(TextError::Damaged)?;
    }
    if outcome == Outcome::Held {
        entry.time_ms = read.held_ms.unwrap_or(first_ms);
    }
    Ok(Read::Known(entry, first_ms))
}

fn number_of(hex: &str) -> Result<u64, TextError> {
    u64::from_str_radix(hex, 16).map_err(|_| TextError::Damaged)
}
