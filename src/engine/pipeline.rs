//! One record, decided for every recipient of a lane. Read this file first.
//!
//! The way of a record: its bytes become slots of the wanted paths
//! ([`record`](super::record)), its patron is looked up
//! ([`table`](super::table)), and for each recipient of its source it is
//! admitted ([`admit`](super::admit)) and projected
//! ([`project`](super::project)). What comes of it lies in the outbox, the
//! table's overlay and the tally until the batch has been committed.
//!
//! No clock, no I/O: the batch's time is passed in.

use std::sync::Arc;

use super::admit::{admit, condition, route};
use super::dead_letter::DeadLetter;
use super::explain::{Explanation, explain};
use super::lane::{Facts, Lane, Program, Source};
use super::project::Projector;
use super::record::Record;
use super::table::{Draft, Known, Row, Table};
use super::tally::{Seen, Tally};
use super::value::{Slot, State, Value};
use crate::policy::catalogue::Role;
use crate::policy::pseudonym::{PSEUDONYM_LENGTH, Pseudonym};
use crate::policy::reason::Reason;
use crate::policy::text;
use crate::transport::{Input, Outbox, OutputId, Payload};

/// Decides the records of one worker. Owns all it touches.
#[derive(Debug)]
pub struct Pipeline {
    lane: Arc<Lane>,
    /// One for each source of the lane, as each has keys of its own.
    records: Vec<Record>,
    table: Table,
    draft: Draft,
    projector: Projector,
    /// What the source's tests say of the record at hand.
    verdicts: Vec<Result<(), Reason>>,
    /// The recipients that may have the record at hand, and where it goes.
    admitted: Vec<(usize, OutputId)>,
    /// What projecting one output met with.
    seen: Seen,
    tally: Tally,
    now: BatchTime,
}

/// The one time that a whole batch is decided at.
#[derive(Clone, Debug, Default)]
pub struct BatchTime {
    ms: i64,
    /// RFC 3339 in UTC, for dead letters.
    text: String,
}

impl BatchTime {
    /// Takes the time in milliseconds since 1970.
    #[must_use]
    pub fn from_ms(ms: i64) -> Self {
        let text = jiff::Timestamp::from_millisecond(ms)
            .map(|time| format!("{time:.3}"))
            .unwrap_or_default();
        BatchTime { ms, text }
    }

    #[must_use]
    pub fn ms(&self) -> i64 {
        self.ms
    }
}

impl Pipeline {
    #[must_use]
    pub fn new(lane: Arc<Lane>) -> Self {
        let tally = Tally::new(lane.sources.len(), lane.recipients.len());
        let shapes = lane.sources.iter().map(|source| &source.shape);
        Pipeline {
            records: shapes.map(Record::new).collect(),
            lane,
            table: Table::default(),
            draft: Draft::default(),
            projector: Projector::default(),
            verdicts: Vec::new(),
            admitted: Vec::new(),
            seen: Seen::default(),
            tally,
            now: BatchTime::default(),
        }
    }

    /// Starts a batch that is decided at `now`.
    pub fn begin(&mut self, now: BatchTime) {
        self.now = now;
    }

    #[must_use]
    pub fn now(&self) -> &BatchTime {
        &self.now
    }

    #[must_use]
    pub fn lane(&self) -> &Lane {
        &self.lane
    }

    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    pub fn table_mut(&mut self) -> &mut Table {
        &mut self.table
    }

    /// What happened since the last [`merge`](Self::merge) or
    /// [`abandon`](Self::abandon).
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The batch was committed: what it changed in memory stays.
    pub fn merge(&mut self) {
        self.table.merge();
        self.tally.clear();
    }

    /// The batch was aborted: it never happened.
    pub fn abandon(&mut self) {
        self.table.abandon();
        self.tally.clear();
    }

    /// Puts a record of the patron source into the table, outside of any batch.
    pub fn restore(&mut self, input: &Input<'_>) {
        let lane = Arc::clone(&self.lane);
        let Some(source) = lane.source(input.source) else {
            return;
        };
        if !lane.joins {
            return;
        }
        let outcome = self.read(input, source);
        let Some(id) = key_text(input) else {
            return;
        };
        let row = match outcome {
            Ok(Read::Erasure) => Row::erased(id, input.offset),
            Ok(Read::Record(text)) => self.row(source, text, input, id),
            Err(_) => Row::unreadable(id, input.offset),
        };
        self.table.restore(input.partition, row);
    }

    /// Decides one record, and adds what comes of it to `outbox`.
    pub fn decide(&mut self, input: &Input<'_>, outbox: &mut Outbox) {
        let lane = Arc::clone(&self.lane);
        let at = usize::from(input.source.0);
        let Some(source) = lane.sources.get(at) else {
            return;
        };
        self.count_input(at, input);
        self.records[at].forget();
        let outcome = self.read(input, source);
        self.tally.sources[at].unfit += u64::from(self.records[at].unfit());
        match outcome {
            Err(reason) => self.refuse(&lane, source, input, reason, outbox),
            Ok(Read::Erasure) => self.erase(source, input),
            Ok(Read::Record(text)) => self.decide_record(&lane, source, input, text, outbox),
        }
    }

    /// Tells how one record is decided for one recipient of its source. Nothing
    /// is counted, published or kept of it.
    pub fn explain(&mut self, input: &Input<'_>, recipient: usize) -> Option<Explanation> {
        let lane = Arc::clone(&self.lane);
        let source = lane.source(input.source)?;
        let program = lane.recipients.get(recipient)?;
        let text = match self.read(input, source) {
            Err(reason) => return Some(Explanation::refused(reason)),
            Ok(Read::Erasure) => return Some(Explanation::refused(Reason::PatronErased)),
            Ok(Read::Record(text)) => text,
        };
        let row = match patron_of(&self.table, source, input) {
            Ok(row) => row,
            Err(reason) => return Some(Explanation::refused(reason)),
        };
        let facts = Facts {
            lane: &lane,
            record: self.records[usize::from(input.source.0)].reading(text),
            row,
            now_ms: self.now.ms,
            verdicts: &[],
            dropped: None,
        }
        .seen_by(program);
        Some(explain(&facts, source, program, &mut self.projector))
    }

    fn count_input(&mut self, at: usize, input: &Input<'_>) {
        let tally = &mut self.tally.sources[at];
        tally.consumed += 1;
        tally.bytes += input.key.map_or(0, |key| key.len() as u64);
        if let Payload::Bytes(bytes) = input.payload {
            tally.bytes += bytes.len() as u64;
        }
        self.tally.written_ms.extend(input.timestamp_ms);
    }

    /// Reads a message into its source's record, and checks what holds for every
    /// recipient alike.
    fn read<'a>(&mut self, input: &Input<'a>, source: &Source) -> Result<Read<'a>, Reason> {
        let bytes = match input.payload {
            Payload::Refused(reason) => return Err(reason),
            Payload::Bytes(bytes) if !is_null(bytes) => bytes,
            Payload::Null | Payload::Bytes(_) => {
                return match (source.kind.role, key_text(input)) {
                    (Role::Patron, Some(_)) => Ok(Read::Erasure),
                    (Role::Patron, None) => Err(Reason::Miskeyed),
                    _ => Err(Reason::NullValue),
                };
            }
        };
        let record = &mut self.records[usize::from(input.source.0)];
        let text = record.read(bytes, &self.lane.limits)?;
        if source.kind.closed && record.unlisted() {
            return Err(Reason::UnlistedField);
        }
        let reading = record.reading(text);
        let identifiers = [source.library, source.own_id];
        for slot in identifiers.into_iter().flatten() {
            if reading.text(slot).is_none() {
                return Err(Reason::Identifier);
            }
        }
        if let Some(slot) = source.patron_id {
            let patron_id = reading.text(slot).ok_or(Reason::Identifier)?;
            if input.key != Some(patron_id.as_bytes()) {
                return Err(Reason::Miskeyed);
            }
        }
        derive(record, text, source);
        Ok(Read::Record(text))
    }

    /// What the table keeps of the patron record that was just read.
    fn row(&mut self, source: &Source, text: &str, input: &Input<'_>, id: &str) -> Row {
        let record = self.records[usize::from(input.source.0)].reading(text);
        let national = source
            .card
            .filter(|card| record.slot(card.slot).state() == State::True)
            .filter(|_| !self.lane.may_hold_national());
        let dropped = national.map(|card| card.card_number);
        let layout = &self.lane.layout;
        let dropped = dropped.as_slice();
        self.draft.row(layout, record, dropped, id, input.offset)
    }

    /// A record refused whole: a dead letter; no recipient sees anything of it.
    fn refuse(
        &mut self,
        lane: &Lane,
        source: &Source,
        input: &Input<'_>,
        reason: Reason,
        outbox: &mut Outbox,
    ) {
        // Fail closed: an older record of the patron must not decide either.
        if source.kind.role == Role::Patron
            && lane.joins
            && let Some(id) = key_text(input)
        {
            self.table
                .put(input.partition, Row::unreadable(id, input.offset));
        }
        self.tally.sources[usize::from(input.source.0)].refused[reason as usize] += 1;
        for &recipient in &source.recipients {
            self.tally.recipients[recipient].refused += 1;
        }
        let case = Case {
            lane,
            source,
            input,
            now: &self.now,
        };
        case.letter((reason, None), &mut self.tally, outbox);
    }

    /// A null on the patron source: the patron is erased.
    fn erase(&mut self, source: &Source, input: &Input<'_>) {
        if self.lane.joins
            && let Some(id) = key_text(input)
        {
            let row = Row::erased(id, input.offset);
            self.table.put(input.partition, row);
        }
        self.withhold_all(source, input, Reason::PatronErased);
    }

    fn withhold_all(&mut self, source: &Source, input: &Input<'_>, reason: Reason) {
        for &recipient in &source.recipients {
            self.tally.recipients[recipient].withheld[reason as usize] += 1;
        }
        if source.recipients.is_empty() {
            self.tally.sources[usize::from(input.source.0)].applied += 1;
        }
    }

    fn decide_record(
        &mut self,
        lane: &Lane,
        source: &Source,
        input: &Input<'_>,
        text: &str,
        outbox: &mut Outbox,
    ) {
        if source.kind.role == Role::Patron
            && lane.joins
            && let Some(id) = key_text(input)
        {
            let row = self.row(source, text, input, id);
            self.table.put(input.partition, row);
        }
        let row = match patron_of(&self.table, source, input) {
            Ok(row) => row,
            Err(reason @ Reason::PatronErased) => {
                return self.withhold_all(source, input, reason);
            }
            Err(reason) => return self.refuse(lane, source, input, reason, outbox),
        };
        let at = usize::from(input.source.0);
        if source.recipients.is_empty() {
            self.tally.sources[at].applied += 1;
        }
        let record = self.records[at].reading(text);
        self.verdicts.clear();
        let tests = source.tests.iter();
        self.verdicts
            .extend(tests.map(|(slot, test)| condition(record.value(*slot), test)));
        let facts = Facts {
            lane,
            record,
            row,
            now_ms: self.now.ms,
            verdicts: &self.verdicts,
            dropped: None,
        };
        let seen_by = |program: &Program| program.joined_card.map(|_| facts.seen_by(program));
        let case = Case {
            lane,
            source,
            input,
            now: &self.now,
        };
        self.admitted.clear();
        for &index in &source.recipients {
            let Some(program) = lane.recipients.get(index) else {
                continue;
            };
            let narrowed = seen_by(program);
            let facts = narrowed.as_ref().unwrap_or(&facts);
            let admitted =
                admit(facts, source, program).and_then(|()| route(facts, &program.route));
            match admitted {
                Ok(output) => self.admitted.push((index, output)),
                Err(reason) => case.withhold((index, reason), &mut self.tally, outbox),
            }
        }
        self.projector.next_record(lane);
        let begin = |projector: &mut Projector, place: usize| {
            let program = lane.recipients.get(self.admitted.get(place)?.0)?;
            let narrowed = seen_by(program);
            projector.begin_key(narrowed.as_ref().unwrap_or(&facts), program)
        };
        let mut next = begin(&mut self.projector, 0);
        for (place, &(index, output)) in self.admitted.iter().enumerate() {
            let Some(program) = lane.recipients.get(index) else {
                continue;
            };
            let narrowed = seen_by(program);
            let facts = narrowed.as_ref().unwrap_or(&facts);
            let key = next.map(|key| key.end(program));
            // The next key is made while this output is written.
            next = begin(&mut self.projector, place + 1);
            let released = match key {
                Some(key) => release(
                    facts,
                    program,
                    output,
                    &key,
                    &mut self.projector,
                    &mut self.seen,
                    outbox,
                ),
                None => Err(Reason::KeyMissing),
            };
            match released {
                Ok(bytes) => {
                    let tally = &mut self.tally.recipients[index];
                    tally.released += 1;
                    tally.bytes += bytes as u64;
                    if program.notices {
                        tally.seen.absorb(&self.seen);
                    }
                }
                Err(reason) => case.withhold((index, reason), &mut self.tally, outbox),
            }
        }
    }
}

/// A message that is decided, and for whom.
#[derive(Clone, Copy)]
struct Case<'a> {
    lane: &'a Lane,
    source: &'a Source,
    input: &'a Input<'a>,
    now: &'a BatchTime,
}

impl Case<'_> {
    /// Counts that a recipient does not get a record, and tells upstream where
    /// that is the record's fault.
    #[inline(never)]
    fn withhold(self, (index, reason): (usize, Reason), tally: &mut Tally, outbox: &mut Outbox) {
        tally.recipients[index].withheld[reason as usize] += 1;
        if matches!(reason, Reason::Malformed | Reason::TooLarge) {
            let name = self.lane.recipients[index].name.as_str();
            self.letter((reason, Some(name)), tally, outbox);
        }
    }

    /// Writes a dead letter, for a recipient or for all, and counts it.
    fn letter(
        self,
        (reason, recipient): (Reason, Option<&str>),
        tally: &mut Tally,
        outbox: &mut Outbox,
    ) {
        tally.dead_letters[reason as usize] += 1;
        let letter = DeadLetter {
            lane: &self.lane.name,
            topic: &self.source.topic,
            partition: self.input.partition,
            offset: self.input.offset,
            reason,
            recipient,
            policy_version: &self.lane.policy_version,
            time: &self.now.text,
        };
        outbox.push(self.lane.dead_letters, None, None, |out| letter.write(out));
    }
}

/// Writes the output of a record for one recipient; returns its bytes.
fn release(
    facts: &Facts<'_>,
    program: &Program,
    output: OutputId,
    key: &Pseudonym,
    projector: &mut Projector,
    seen: &mut Seen,
    outbox: &mut Outbox,
) -> Result<usize, Reason> {
    if program.notices {
        *seen = Seen::default();
    }
    outbox.write(output, None, |page, start| {
        let start = page.words(start, key.words(), PSEUDONYM_LENGTH);
        let end = projector.project(facts, program, key, (page, start), seen);
        if end - start > facts.lane.output_bytes_max {
            return Err(Reason::TooLarge);
        }
        Ok((Some(start), end))
    })
}

/// Fills the slots that no path of the record fills.
fn derive(record: &mut Record, text: &str, source: &Source) {
    for checked in &source.checked {
        let reading = record.reading(text);
        let fits = match reading.value(checked.raw) {
            Value::Text { text, .. } => checked.form.fits(text),
            _ => true,
        };
        let slot = if fits {
            reading.slot(checked.raw)
        } else {
            Slot::MISSING
        };
        record.derive(checked.slot, slot);
    }
    if let Some(card) = source.card {
        let reading = record.reading(text);
        let number = reading.value(card.card_number);
        let kind = reading.value(card.card_kind);
        let national = reading.value(card.national_number);
        let malformed = [number, kind, national]
            .iter()
            .any(|value| value.is_malformed());
        let fact = if malformed {
            Slot::MALFORMED
        } else {
            Slot::boolean(
                kind.as_text() == Some("eid") || same_digits(number.as_text(), national.as_text()),
            )
        };
        record.derive(card.slot, fact);
    }
}

/// The row of a record's patron; none where a kind is not joined.
fn patron_of<'a>(
    table: &'a Table,
    source: &Source,
    input: &Input<'_>,
) -> Result<Option<&'a Row>, Reason> {
    if source.kind.role != Role::Record || !source.kind.keyed {
        return Ok(None);
    }
    match key_text(input).and_then(|id| table.find(input.partition, id)) {
        Some(Known::Patron(row)) => Ok(Some(row)),
        Some(Known::Erased) => Err(Reason::PatronErased),
        Some(Known::Unreadable) | None => Err(Reason::PatronUnknown),
    }
}

/// What a message turned out to be.
enum Read<'a> {
    /// A record, and its text.
    Record(&'a str),
    Erasure,
}

/// The text `null` counts as Kafka's null.
fn is_null(bytes: &[u8]) -> bool {
    const SPACE: [u8; 4] = *b" \t\n\r";
    let Some(first) = bytes.iter().position(|byte| !SPACE.contains(byte)) else {
        return false;
    };
    let rest = &bytes[first..];
    rest.strip_prefix(b"null")
        .is_some_and(|rest| rest.iter().all(|byte| SPACE.contains(byte)))
}

fn key_text<'a>(input: &Input<'a>) -> Option<&'a str> {
    input
        .key
        .and_then(|key| std::str::from_utf8(key).ok())
        .filter(|key| !key.is_empty())
}

/// Whether two numbers have the same digits, of any script, and at least one.
fn same_digits(one: Option<&str>, other: Option<&str>) -> bool {
    let (Some(one), Some(other)) = (one, other) else {
        return false;
    };
    let mut digits = text::ascii_digits(one).peekable();
    digits.peek().is_some() && digits.eq(text::ascii_digits(other))
}
