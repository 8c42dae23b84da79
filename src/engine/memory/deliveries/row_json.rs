//! Rows on the state topic: one JSON object each, without any value of a record.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    DeliveryEntry, DeliveryOutcome, DeliveryRow, FOREIGN_SOURCE, OtherPersons, PatronHash,
    RowBuilder, RowExtras, RowKey,
};
use crate::engine::lane::Lane;
use crate::json::members::{MemberName, MemberNames, UniqueMembers};
use crate::json::write;
use crate::message::continuity::{self, Fingerprinter};
use crate::policy::pseudonym::{PSEUDONYM_LENGTH, Pseudonym};
use crate::policy::reason::Reason;

/// The newest format version of a row.
pub const FORMAT: u32 = 3;

/// The format of rows without the members that format 3 added: of a record that is gone, or of a
/// thinned output. An older zeef reads those.
const FORMAT_OF_WHOLE_RECORDS: u32 = 2;

/// The first format whose rows have a MAC.
const FIRST_FORMAT_WITH_MAC: u32 = 2;

/// Why a row cannot be read. The lane stops then: without its state it would send and keep the
/// wrong outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    #[error("a row of the state has a newer format than {FORMAT}: run a newer zeef")]
    NewerFormat,
    #[error("a row of the state is damaged, or was changed by somebody else than zeef")]
    Damaged,
    #[error(
        "a row of the state was written by a version before this one: run its lane once, with the \
         recipients that it had"
    )]
    OlderFormat,
}

const OUTCOME_WORDS: [(DeliveryOutcome, &str); 5] = [
    (DeliveryOutcome::Released, "released"),
    (DeliveryOutcome::Withheld, "withheld"),
    (DeliveryOutcome::Held, "held"),
    (DeliveryOutcome::Retracted, "retracted"),
    (DeliveryOutcome::Forgotten, "forgotten"),
];

impl DeliveryOutcome {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let found = OUTCOME_WORDS.iter().find(|(outcome, _)| *outcome == self);
        found.map_or("", |(_, word)| word)
    }

    #[must_use]
    pub fn from_word(word: &str) -> Option<DeliveryOutcome> {
        let found = OUTCOME_WORDS.iter().find(|(_, known)| *known == word);
        found.map(|(outcome, _)| *outcome)
    }
}

/// Encodes a key or a hash as text.
#[must_use]
pub fn encode_bits(bits: u128) -> [u8; PSEUDONYM_LENGTH] {
    Pseudonym::from_bits(bits).to_ascii()
}

/// Decodes a key or a hash.
#[must_use]
pub fn decode_bits(text: &[u8]) -> Option<u128> {
    Pseudonym::parse_bits(text)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredRow {
    /// A live row, and its MAC.
    Row(DeliveryRow, u64),
    /// The last row of a record that no recipient has or is owed any more.
    Ended,
    /// A row of the previous format, whose output keys differ from today's.
    OldFormat(DeliveryRow),
    /// A row of the previous format that is about no record.
    OldFormatMark,
}

/// Appends a row. Returns its MAC, which covers its key, too.
pub fn write(
    out: &mut Vec<u8>,
    fingerprinter: &Fingerprinter,
    lane: &Lane,
    (partition, key): (i32, RowKey),
    row: &DeliveryRow,
) -> u64 {
    let start = out.len();
    write_body(out, lane, partition, row);
    let mac = row_mac(fingerprinter, key, &out[start..]);
    continuity::append_mac_member(out, mac);
    mac
}

fn row_mac(fingerprinter: &Fingerprinter, key: RowKey, body: &[u8]) -> u64 {
    fingerprinter.hash_record(Some(&encode_bits(key.0)), Some(body))
}

/// The oldest format that has all members of a row.
fn format_of(row: &DeliveryRow) -> u32 {
    let may_be_thinned =
        |entry: &DeliveryEntry| entry.is_thinned || row.thins_at_ms(entry.recipient) != i64::MAX;
    let is_foreign_thinned = row.foreign_entries().is_some_and(|text| {
        text.contains(THINNED_TEXT) || text.contains(&format!("\"{THINS_AT_MEMBER}\":"))
    });
    let is_thinned = row.entries.iter().any(may_be_thinned) || is_foreign_thinned;
    match is_thinned || row.gone_offset().is_some() {
        true => FORMAT,
        false => FORMAT_OF_WHOLE_RECORDS,
    }
}

/// The member of an entry whose output is thinned.
const THINNED_TEXT: &str = ",\"thinned\":true";

/// When time alone thins the output of an entry.
const THINS_AT_MEMBER: &str = "thins_ms";

/// When the source must have deleted its own copy. An older zeef ignores it.
const SOURCE_DELETION_DUE_MEMBER: &str = "source_deletion_ms";

/// The member of a row whose patron may be told of it. An older zeef ignores it, and tells nobody.
const TOLD_TEXT: &[u8] = b",\"told\":true";

/// Appends a row without its MAC.
fn write_body(out: &mut Vec<u8>, lane: &Lane, partition: i32, row: &DeliveryRow) {
    out.extend_from_slice(b"{\"format\":");
    write_integer(out, format_of(row).into());
    write_text_member(out, "patron", &encode_bits(row.patron.0));
    let source = lane.sources.get(usize::from(row.source));
    let source = source.map(|source| source.kind.name.as_str());
    let source = source.or_else(|| row.foreign_kind()).unwrap_or_default();
    out.extend_from_slice(b",\"source\":");
    write::string(out, source);
    write_integer_member(out, "partition", partition.into());
    write_integer_member(out, "offset", row.offset);
    if let Some(gone_offset) = row.gone_offset() {
        write_integer_member(out, "gone_offset", gone_offset);
    }
    write_integer_member(out, "first_ms", row.first_decided_ms);
    if row.recheck_due_ms != i64::MAX {
        write_integer_member(out, "due_ms", row.recheck_due_ms);
    }
    if let Some(due_ms) = row.source_deletion_due_ms() {
        write_integer_member(out, SOURCE_DELETION_DUE_MEMBER, due_ms);
    }
    if row.is_told() {
        out.extend_from_slice(TOLD_TEXT);
    }
    // The row's fingerprint is the default of its entries: mostly they are all equal.
    let facts = row.entries.first().map_or(0, |first| first.fingerprint);
    write_hex_member(out, "facts", facts);
    out.extend_from_slice(b",\"to\":{");
    for (place, one) in row.entries.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_entry(out, lane, row, one, facts);
    }
    if let Some(others) = row.foreign_entries() {
        if !row.entries.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(others.as_bytes());
    }
    out.push(b'}');
    if !row.is_live() {
        out.extend_from_slice(b",\"over\":true");
    }
}

fn write_entry(out: &mut Vec<u8>, lane: &Lane, row: &DeliveryRow, one: &DeliveryEntry, facts: u64) {
    write::string(out, lane.recipient_name(one.recipient).unwrap_or_default());
    out.extend_from_slice(b":{\"outcome\":\"");
    out.extend_from_slice(one.outcome.as_str().as_bytes());
    out.push(b'"');
    if let Some(reason) = one.reason {
        write_text_member(out, "reason", reason.as_str().as_bytes());
    }
    if one.outcome == DeliveryOutcome::Released || one.outcome == DeliveryOutcome::Forgotten {
        let topic = lane.outputs.get(usize::from(one.output));
        out.extend_from_slice(b",\"topic\":");
        write::string(out, topic.map_or("", |topic| topic.topic.as_str()));
        write_text_member(out, "key", &encode_bits(one.output_key));
    }
    if one.outcome == DeliveryOutcome::Released {
        write_hex_member(out, "hash", one.output_hash);
    }
    if one.is_thinned {
        out.extend_from_slice(THINNED_TEXT.as_bytes());
    }
    let thins_at_ms = row.thins_at_ms(one.recipient);
    if thins_at_ms != i64::MAX {
        write_integer_member(out, THINS_AT_MEMBER, thins_at_ms);
    }
    write_other_persons(out, row.other_persons(one.recipient));
    if one.outcome == DeliveryOutcome::Withheld && one.output_key != 0 {
        write_text_member(out, "pending_key", &encode_bits(one.output_key));
    }
    let first_ms = row.first_decided_ms(one.recipient).unwrap_or(row.first_decided_ms);
    if first_ms != row.first_decided_ms {
        write_integer_member(out, "first_ms", first_ms);
    }
    if let Some(held_ms) = one.held_since_ms().filter(|held_ms| *held_ms != first_ms) {
        write_integer_member(out, "held_ms", held_ms);
    }
    if one.term_end_ms() != i64::MAX {
        write_integer_member(out, "until_ms", one.term_end_ms());
    }
    if one.fingerprint != facts {
        write_hex_member(out, "facts", one.fingerprint);
    }
    if !one.may_change {
        out.extend_from_slice(b",\"final\":true");
    }
    out.push(b'}');
}

/// Appends whom an output is about beside the patron, if anybody. An older zeef ignores it.
fn write_other_persons(out: &mut Vec<u8>, persons: OtherPersons) {
    if persons.is_empty() {
        return;
    }
    out.extend_from_slice(b",\"about\":[");
    for (place, (_, person)) in persons.iter().enumerate() {
        out.extend_from_slice(if place > 0 { b",\"" } else { b"\"" });
        out.extend_from_slice(&encode_bits(person.0));
        out.push(b'"');
    }
    out.push(b']');
}

fn write_integer(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn write_integer_member(out: &mut Vec<u8>, name: &str, value: i64) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    write_integer(out, value);
}

fn write_hex_member(out: &mut Vec<u8>, name: &str, value: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 16];
    for (place, digit) in digits.iter_mut().enumerate() {
        *digit = DIGITS[(value >> (60 - 4 * place)) as usize & 0xf];
    }
    write_text_member(out, name, &digits);
}

/// Appends a member whose text needs no escapes.
fn write_text_member(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    out.extend_from_slice(value);
    out.push(b'"');
}

/// The members that tell rows apart. A row is none if one of its objects has two members of one
/// name: readers would not agree on which of them counts.
#[derive(Debug)]
pub(crate) struct RowHead {
    pub(crate) format: u32,
    /// Only in marks of the previous format.
    pub(crate) policy: Option<UniqueMembers>,
    over: bool,
}

impl<'de> Deserialize<'de> for RowHead {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RowHeadVisitor)
    }
}

struct RowHeadVisitor;

impl<'de> Visitor<'de> for RowHeadVisitor {
    type Value = RowHead;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RowHead, A::Error> {
        let mut names = MemberNames::default();
        let (mut format, mut policy, mut over) = (None, None, false);
        while let Some(name) = map.next_key::<MemberName<'de>>()? {
            match &*name.0 {
                "format" => format = Some(map.next_value()?),
                "policy" => policy = map.next_value()?,
                "over" => over = map.next_value()?,
                _ => drop(map.next_value::<UniqueMembers>()?),
            }
            names.add(name);
        }
        names.check_unique()?;
        let format = format.ok_or_else(|| A::Error::missing_field("format"))?;
        Ok(RowHead { format, policy, over })
    }
}

#[derive(Debug, Deserialize)]
struct RowJson<'a> {
    patron: &'a str,
    source: String,
    offset: i64,
    gone_offset: Option<i64>,
    first_ms: i64,
    due_ms: Option<i64>,
    source_deletion_ms: Option<i64>,
    #[serde(default)]
    told: bool,
    facts: String,
    #[serde(borrow)]
    to: BTreeMap<String, &'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct EntryJson {
    outcome: String,
    reason: Option<String>,
    topic: Option<String>,
    key: Option<String>,
    /// The key of an output that waits for the next run.
    pending_key: Option<String>,
    hash: Option<String>,
    first_ms: Option<i64>,
    held_ms: Option<i64>,
    until_ms: Option<i64>,
    facts: Option<String>,
    #[serde(default)]
    thinned: bool,
    thins_ms: Option<i64>,
    #[serde(default)]
    about: Vec<String>,
    #[serde(default, rename = "final")]
    is_final: bool,
}

/// Parses a row, and checks its MAC.
///
/// # Errors
///
/// See [`RowError`].
pub fn read(
    lane: &Lane,
    fingerprinter: &Fingerprinter,
    key: RowKey,
    value: &[u8],
) -> Result<StoredRow, RowError> {
    let head = parse_head(value)?;
    if head.format < FIRST_FORMAT_WITH_MAC {
        return Ok(match head.policy {
            Some(_) => StoredRow::OldFormatMark,
            None => match parse_row(lane, value)? {
                row if row.source == FOREIGN_SOURCE => StoredRow::OldFormatMark,
                row => StoredRow::OldFormat(row),
            },
        });
    }
    let (body, written) = continuity::split_mac(value).ok_or(RowError::Damaged)?;
    if row_mac(fingerprinter, key, body) != written {
        return Err(RowError::Damaged);
    }
    if head.over {
        return Ok(StoredRow::Ended);
    }
    Ok(StoredRow::Row(parse_row(lane, value)?, written))
}

/// Parses a row of any format.
fn parse_row(lane: &Lane, value: &[u8]) -> Result<DeliveryRow, RowError> {
    let row: RowJson<'_> = serde_json::from_slice(value).map_err(|_| RowError::Damaged)?;
    let source = lane.sources.iter();
    let mut source = source.map(|source| &source.kind.name);
    let source = source.position(|name| *name == row.source);
    let source = source.and_then(|source| u16::try_from(source).ok());
    let patron = decode_bits(row.patron.as_bytes()).ok_or(RowError::Damaged)?;
    let mut read = Vec::with_capacity(row.to.len());
    let mut others = Vec::new();
    let facts = parse_hex(&row.facts)?;
    for (recipient, text) in row.to {
        let name = (recipient.as_str(), row.source.as_str());
        match parse_entry(lane, name, text, (facts, row.first_ms))? {
            ParsedEntry::Known(entry, times) => read.push((entry, times)),
            ParsedEntry::Ended => {}
            ParsedEntry::Foreign => {
                if !others.is_empty() {
                    others.push(b',');
                }
                write::string(&mut others, &recipient);
                others.push(b':');
                others.extend_from_slice(text.get().as_bytes());
            }
        }
    }
    read.sort_unstable_by_key(|(entry, _): &(DeliveryEntry, EntryExtras)| entry.recipient);
    if read.windows(2).any(|two| two[0].0.recipient == two[1].0.recipient) {
        return Err(RowError::Damaged);
    }
    let mut entries = RowBuilder::with_capacity(read.len());
    for (entry, EntryExtras { first_ms, thins_ms, other_persons }) in read {
        entries.push(entry, first_ms);
        entries.note_thinning(entry.recipient, thins_ms);
        entries.note_other_persons(entry.recipient, other_persons);
    }
    let others = String::from_utf8(others).map_err(|_| RowError::Damaged)?;
    let more = RowExtras {
        first_decided_ms: Vec::new(),
        foreign_entries: (!others.is_empty()).then(|| others.into()),
        foreign_kind: source.is_none().then(|| row.source.into()),
        gone_offset: row.gone_offset,
        thins_at_ms: Vec::new(),
        other_persons: Vec::new(),
        // Whichever lane reads the source watches it.
        source_deletion_due_ms: row.source_deletion_ms.filter(|_| source.is_some()),
        is_told: row.told,
    };
    // A row of a foreign source is never due.
    let due_ms = row.due_ms.filter(|_| source.is_some());
    Ok(entries.build_row(DeliveryRow {
        patron: PatronHash(patron),
        source: source.unwrap_or(FOREIGN_SOURCE),
        offset: row.offset,
        first_decided_ms: row.first_ms,
        recheck_due_ms: due_ms.unwrap_or(i64::MAX),
        entries: Box::default(),
        extras: Some(Box::new(more)),
    }))
}

/// Returns which recipients have a record on which topics, as its row says.
pub(crate) fn outputs_in_row(value: &[u8]) -> Vec<(String, String)> {
    #[derive(Deserialize)]
    struct RowOutputs {
        to: BTreeMap<String, EntryJson>,
    }
    let read: Option<RowOutputs> = serde_json::from_slice(value).ok();
    let entries = read.into_iter().flat_map(|sent| sent.to);
    entries.filter_map(|(recipient, entry)| Some((recipient, topic_of_output(entry)?))).collect()
}

/// The same for the entries of a row, without the braces around them.
pub(crate) fn outputs_in_entries(members: &str) -> Vec<(String, String)> {
    outputs_in_row(format!("{{\"to\":{{{members}}}}}").as_bytes())
}

/// The topic of the output, if the recipient has one.
fn topic_of_output(entry: EntryJson) -> Option<String> {
    let outcome = DeliveryOutcome::from_word(&entry.outcome)?;
    let sent = matches!(outcome, DeliveryOutcome::Released | DeliveryOutcome::Forgotten);
    entry.topic.filter(|_| sent)
}

/// Whether a row is the last one of a record.
pub(crate) fn is_ended(value: &[u8]) -> bool {
    parse_head(value).is_ok_and(|head| head.over)
}

/// Checks the MAC of a row under its key.
///
/// # Errors
///
/// [`RowError`]; rows of the previous format have no MAC.
pub(crate) fn check_mac(
    fingerprinter: &Fingerprinter,
    key: &[u8],
    value: &[u8],
) -> Result<(), RowError> {
    if parse_head(value)?.format < FIRST_FORMAT_WITH_MAC {
        return Err(RowError::OlderFormat);
    }
    let (body, written) = continuity::split_mac(value).ok_or(RowError::Damaged)?;
    match fingerprinter.hash_record(Some(key), Some(body)) == written {
        true => Ok(()),
        false => Err(RowError::Damaged),
    }
}

pub(crate) fn parse_head(value: &[u8]) -> Result<RowHead, RowError> {
    let head: RowHead = serde_json::from_slice(value).map_err(|_| RowError::Damaged)?;
    if head.format > FORMAT {
        return Err(RowError::NewerFormat);
    }
    Ok(head)
}

/// Whether a row was written by the transport, as versions without marks did.
#[must_use]
pub fn is_transport_row(key: &[u8]) -> bool {
    key.starts_with(b"next:")
}

/// Parses the key of a row.
///
/// # Errors
///
/// [`RowError::Damaged`].
pub fn parse_row_key(key: Option<&[u8]>) -> Result<RowKey, RowError> {
    let bits = key.and_then(decode_bits).ok_or(RowError::Damaged)?;
    Ok(RowKey(bits))
}

/// What a row keeps of an entry beside the entries.
#[derive(Clone, Copy)]
struct EntryExtras {
    /// When the record was first decided for it.
    first_ms: i64,
    /// When time alone thins its output; [`i64::MAX`] if never.
    thins_ms: i64,
    /// Whom its output is about beside the patron.
    other_persons: OtherPersons,
}

enum ParsedEntry {
    Known(DeliveryEntry, EntryExtras),
    /// Of an unknown recipient, and not live.
    Ended,
    /// Of an unknown recipient.
    Foreign,
}

/// Reads an entry of a recipient, and of the kind of its record; of its row are
/// given the facts, and when it was first decided.
fn parse_entry(
    lane: &Lane,
    (name, kind): (&str, &str),
    text: &RawValue,
    (facts, first_ms): (u64, i64),
) -> Result<ParsedEntry, RowError> {
    let read: EntryJson = serde_json::from_str(text.get()).map_err(|_| RowError::Damaged)?;
    let outcome = DeliveryOutcome::from_word(&read.outcome).ok_or(RowError::Damaged)?;
    let sent = matches!(outcome, DeliveryOutcome::Released | DeliveryOutcome::Forgotten);
    let holder = if sent {
        let topic = read.topic.as_deref().ok_or(RowError::Damaged)?;
        lane.find_output_holder((name, topic), kind)
    } else {
        lane.find_served_recipient(name, kind).map(|recipient| (recipient, 0))
    };
    let Some((recipient, output)) = holder else {
        let ended = matches!(outcome, DeliveryOutcome::Withheld | DeliveryOutcome::Retracted)
            && read.is_final;
        return Ok(if ended { ParsedEntry::Ended } else { ParsedEntry::Foreign });
    };
    let reason = read.reason.as_deref().and_then(Reason::from_name);
    let mut entry = DeliveryEntry::without_output(recipient, outcome, reason);
    let first_ms = read.first_ms.unwrap_or(first_ms);
    entry.may_change = !read.is_final;
    entry.is_thinned = read.thinned;
    entry.fingerprint = match &read.facts {
        Some(own) => parse_hex(own)?,
        None => facts,
    };
    if sent {
        entry.output = output;
        let key = read.key.ok_or(RowError::Damaged)?;
        entry.output_key = decode_bits(key.as_bytes()).ok_or(RowError::Damaged)?;
    }
    if outcome == DeliveryOutcome::Released {
        entry.output_hash = parse_hex(&read.hash.ok_or(RowError::Damaged)?)?;
        entry.term_end_or_held_since_ms = read.until_ms.unwrap_or(i64::MAX);
    }
    if let Some(key) = read.pending_key {
        entry.output_key = decode_bits(key.as_bytes()).ok_or(RowError::Damaged)?;
    }
    if outcome == DeliveryOutcome::Held {
        entry.term_end_or_held_since_ms = read.held_ms.unwrap_or(first_ms);
    }
    let thins_ms = read.thins_ms.unwrap_or(i64::MAX);
    let mut other_persons = OtherPersons::default();
    for person in &read.about {
        other_persons.add(PatronHash(decode_bits(person.as_bytes()).ok_or(RowError::Damaged)?));
    }
    Ok(ParsedEntry::Known(entry, EntryExtras { first_ms, thins_ms, other_persons }))
}

fn parse_hex(hex: &str) -> Result<u64, RowError> {
    u64::from_str_radix(hex, 16).map_err(|_| RowError::Damaged)
}
