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

use super::admit::{admit, route};
use super::dead_letter::DeadLetter;
use super::explain::{Explanation, explain};
use super::lane::{Facts, Lane, Program, Source};
use super::project::{Projector, output_key};
use super::record::Record;
use super::table::{Known, Row, Table};
use super::tally::{RecipientTally, Tally};
use super::value::{Slot, State, Value};
use crate::policy::catalogue::Role;
use crate::policy::pseudonym::PSEUDONYM_LENGTH;
use crate::policy::reason::Reason;
use crate::policy::text;
use crate::transport::{Input, Outbox, Payload};

/// Decides the records of one worker. Owns all it touches.
#[derive(Debug)]
pub struct Pipeline {
    lane: Arc<Lane>,
    record: Record,
    table: Table,
    projector: Projector,
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
        Pipeline {
            lane,
            record: Record::default(),
            table: Table::default(),
            projector: Projector::default(),
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
        let known = match self.read(input, source) {
            Ok(Read::Erasure) => Known::Erased,
            Ok(Read::Record) => self.row(source),
            Err(_) => Known::Unreadable,
        };
        if let Some(id) = key_text(input) {
            self.table.restore(input.partition, id, known, input.offset);
        }
    }

    /// Decides one record, and adds what comes of it to `outbox`.
    pub fn decide(&mut self, input: &Input<'_>, outbox: &mut Outbox) {
        let lane = Arc::clone(&self.lane);
        let at = usize::from(input.source.0);
        let Some(source) = lane.sources.get(at) else {
            return;
        };
        self.count_input(at, input);
        let outcome = self.read(input, source);
        self.tally.sources[at].unfit += u64::from(self.record.unfit());
        match outcome {
            Err(reason) => self.refuse(&lane, source, input, reason, outbox),
            Ok(Read::Erasure) => self.erase(source, input),
            Ok(Read::Record) => self.decide_record(&lane, source, input, outbox),
        }
    }

    /// Tells how one record is decided for one recipient of its source. Nothing
    /// is counted, published or kept of it.
    pub fn explain(&mut self, input: &Input<'_>, recipient: usize) -> Option<Explanation> {
        let lane = Arc::clone(&self.lane);
        let source = lane.source(input.source)?;
        let program = lane.recipients.get(recipient)?;
        let reason = match self.read(input, source) {
            Err(reason) => Some(reason),
            Ok(Read::Erasure) => Some(Reason::PatronErased),
            Ok(Read::Record) => None,
        };
        if let Some(reason) = reason {
            return Some(Explanation::refused(reason));
        }
        let row = match patron_of(&self.table, source, input) {
            Ok(row) => row,
            Err(reason) => return Some(Explanation::refused(reason)),
        };
        let facts = Facts {
            lane: &lane,
            record: &self.record,
            row,
            now_ms: self.now.ms,
        };
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

    /// Reads a message into `self.record`, and checks what holds for every
    /// recipient alike.
    fn read(&mut self, input: &Input<'_>, source: &Source) -> Result<Read, Reason> {
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
        self.record.read(bytes, &source.shape, &self.lane.limits)?;
        if source.kind.closed && self.record.unlisted() {
            return Err(Reason::UnlistedField);
        }
        let identifiers = [source.patron_id, source.library, source.own_id];
        for slot in identifiers.into_iter().flatten() {
            if self.record.value(slot).as_text().is_none() {
                return Err(Reason::Identifier);
            }
        }
        if let Some(slot) = source.patron_id {
            let patron_id = self.record.value(slot).as_text().unwrap_or_default();
            if input.key != Some(patron_id.as_bytes()) {
                return Err(Reason::Miskeyed);
            }
        }
        self.derive(source);
        Ok(Read::Record)
    }

    /// Fills the slots that no path of the record fills.
    fn derive(&mut self, source: &Source) {
        for checked in &source.checked {
            let raw = self.record.slot(checked.raw);
            let fits = match self.record.value(checked.raw) {
                Value::Text { text, .. } => checked.form.fits(text),
                _ => true,
            };
            let slot = if fits { raw } else { Slot::MISSING };
            self.record.derive(checked.slot, slot);
        }
        if let Some(card) = source.card {
            let number = self.record.value(card.card_number);
            let kind = self.record.value(card.card_kind);
            let national = self.record.value(card.national_number);
            let fact = if [number, kind, national]
                .iter()
                .any(|value| value.is_malformed())
            {
                Slot::MALFORMED
            } else {
                Slot::boolean(
                    kind.as_text() == Some("eid")
                        || same_digits(number.as_text(), national.as_text()),
                )
            };
            self.record.derive(card.slot, fact);
        }
    }

    /// What the table keeps of the patron record that was just read.
    fn row(&self, source: &Source) -> Known {
        let national = source
            .card
            .filter(|card| self.record.slot(card.slot).state == State::True)
            .filter(|_| !self.lane.may_hold_national());
        let dropped = national.map(|card| card.card_number);
        Known::Patron(self.lane.layout.row(&self.record, dropped.as_slice()))
    }

    /// Puts what is known of a patron into the table's overlay, where anybody
    /// looks for it there.
    fn put(&mut self, input: &Input<'_>, known: impl FnOnce(&Self) -> Known) {
        if let Some(id) = key_text(input).filter(|_| self.lane.joins()) {
            let known = known(self);
            self.table.put(input.partition, id, known, input.offset);
        }
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
        if source.kind.role == Role::Patron {
            self.put(input, |_| Known::Unreadable);
        }
        self.tally.sources[usize::from(input.source.0)].refused[reason as usize] += 1;
        for &recipient in &source.recipients {
            self.tally.recipients[recipient].refused += 1;
        }
        self.dead_letter(lane, source, input, reason, None, outbox);
    }

    fn dead_letter(
        &mut self,
        lane: &Lane,
        source: &Source,
        input: &Input<'_>,
        reason: Reason,
        recipient: Option<&str>,
        outbox: &mut Outbox,
    ) {
        self.tally.dead_letters[reason as usize] += 1;
        let letter = DeadLetter {
            lane: &lane.name,
            topic: &source.topic,
            partition: input.partition,
            offset: input.offset,
            reason,
            recipient,
            policy_version: &lane.policy_version,
            time: &self.now.text,
        };
        outbox.push(lane.dead_letters, None, None, |out| letter.write(out));
    }

    /// A null on the patron source: the patron is erased.
    fn erase(&mut self, source: &Source, input: &Input<'_>) {
        self.put(input, |_| Known::Erased);
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
        outbox: &mut Outbox,
    ) {
        match source.kind.role {
            Role::Patron => self.put(input, |pipeline| pipeline.row(source)),
            Role::Record if source.kind.keyed => match patron_of(&self.table, source, input) {
                Ok(_) => {}
                Err(reason @ Reason::PatronErased) => {
                    return self.withhold_all(source, input, reason);
                }
                Err(reason) => return self.refuse(lane, source, input, reason, outbox),
            },
            Role::Gate | Role::Record => {}
        }
        if source.recipients.is_empty() {
            self.tally.sources[usize::from(input.source.0)].applied += 1;
        }
        for &index in &source.recipients {
            let Some(program) = lane.recipients.get(index) else {
                continue;
            };
            if let Err(reason) = self.offer(lane, source, program, index, input, outbox) {
                self.tally.recipients[index].withheld[reason as usize] += 1;
                if matches!(reason, Reason::Malformed | Reason::TooLarge) {
                    self.dead_letter(lane, source, input, reason, Some(&program.name), outbox);
                }
            }
        }
    }

    /// Decides the record for one recipient.
    fn offer(
        &mut self,
        lane: &Lane,
        source: &Source,
        program: &Program,
        index: usize,
        input: &Input<'_>,
        outbox: &mut Outbox,
    ) -> Result<(), Reason> {
        let facts = Facts {
            lane,
            record: &self.record,
            row: patron_of(&self.table, source, input).unwrap_or(None),
            now_ms: self.now.ms,
        };
        admit(&facts, source, program)?;
        let output = route(&facts, &program.route)?;
        let mut key = [0; PSEUDONYM_LENGTH];
        if !output_key(&facts, program, &mut key) {
            return Err(Reason::KeyMissing);
        }
        let tally = &mut self.tally.recipients[index];
        let mut draft = RecipientTally::default();
        let projector = &mut self.projector;
        let bytes = outbox.try_push(output, None, Some(&key), |out| {
            let start = out.len();
            projector.project(&facts, program, out, &mut draft);
            if out.len() - start > lane.output_bytes_max {
                return Err(Reason::TooLarge);
            }
            Ok(out.len() - start)
        })?;
        tally.released += 1;
        tally.bytes += (bytes + key.len()) as u64;
        tally.absorb(&draft);
        Ok(())
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
enum Read {
    Record,
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
