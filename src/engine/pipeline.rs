//! One record, decided for every recipient of a lane. Read this file first.
//!
//! The way of a record: its bytes become slots of the wanted paths
//! ([`record`](super::record)), its patron is looked up
//! ([`table`](super::table)), and it is decided (`decide`): for each recipient
//! of its source it is admitted ([`admit`](super::admit)) and projected
//! ([`project`](super::project)). What comes of it lies in the outbox, the
//! table's overlay and the tally until the batch has been committed.
//!
//! No clock, no I/O: the batch's time is passed in.

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::sync::Arc;

use super::admit::{condition, without_patron};
use super::decide::{Case, Decider, Hand, Patron};
use super::explain::{Explanation, explain};
use super::holding::{Holding, Holds, Met, Pace};
use super::inspect::Numbers;
use super::lane::{BELGIUM, Facts, Lane, ROW_LIBRARY, Source};
use super::patrons::Epoch;
use super::record::{Reading, Record};
use super::said::{Came, Message, Said, Sayings, Topic};
use super::speech::Understood;
use super::state::Namer;
use super::table::{Draft, Known, Row, Sensitive, Table};
use super::tally::{About, ByReason, Ignored, Tally};
use super::unreadable::{UnreadableRecord, named_patrons};
use super::value::{Slot, State, Value};
use crate::policy::bytes::same;
use crate::policy::catalogue::Role;
use crate::policy::form::is_national_card;
use crate::policy::gate::{Decision, Scope};
use crate::policy::reason::Reason;
use crate::policy::text;
use crate::transport::continuity::Position;
use crate::transport::{Coordinates, Input, Outbox, Payload, SourceId};

/// Decides the records of one worker. Owns all it touches.
#[derive(Debug)]
pub struct Pipeline {
    lane: Arc<Lane>,
    desk: Desk,
}

/// All that changes while records are decided.
#[derive(Debug)]
struct Desk {
    /// One for each source of the lane, as each has keys of its own.
    records: Vec<Record>,
    table: Table,
    sayings: Sayings,
    draft: Draft,
    decider: Decider,
    /// The national numbers of the record's patron.
    numbers: Numbers,
    /// What the source's tests say of the record at hand.
    verdicts: Vec<Result<(), Reason>>,
    /// Tells consents of one patron apart; never written down.
    seed: foldhash::fast::RandomState,
    /// What recipients have; none where records are only decided.
    holding: Option<Holding>,
    tally: Tally,
    now: BatchTime,
    /// What the record at hand says otherwise than it counts.
    corrected: Corrected,
    /// The consents and objections of the batch that were not understood.
    unreadable: Vec<UnreadableRecord>,
    /// Those that somebody looked at: they stop nothing.
    /// Why the lane must not go on.
    stop: Option<String>,
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

    /// As dead letters have it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl Pipeline {
    /// Decides each record by itself, and remembers nothing of what was sent.
    #[must_use]
    pub fn new(lane: Arc<Lane>) -> Self {
        let tally = Tally::new(lane.sources.len(), lane.recipients.len());
        let shapes = lane.sources.iter().map(|source| &source.shape);
        let desk = Desk {
            records: shapes.map(Record::new).collect(),
            table: Table::default(),
            sayings: Sayings::default(),
            draft: Draft::default(),
            decider: Decider::default(),
            numbers: Numbers::default(),
            verdicts: Vec::new(),
            seed: foldhash::fast::RandomState::default(),
            holding: None,
            tally,
            now: BatchTime::default(),
            corrected: Corrected::default(),
            unreadable: Vec::new(),
            stop: None,
        };
        Pipeline { lane, desk }
    }

    /// Knows what each recipient has: sends only what changes it, and takes
    /// back what it may no longer have.
    #[must_use]
    pub fn with_state(lane: Arc<Lane>, namer: Namer, holds: Holds) -> Self {
        let mut pipeline = Pipeline::new(lane);
        pipeline.desk.holding = Some(Holding::new(&pipeline.lane, namer, holds));
        pipeline
    }

    /// Starts a batch that is decided at `now`.
    ///
    /// No batch is decided at an earlier time than one before it was.
    pub fn begin(&mut self, now: BatchTime) {
        let holding = self.desk.holding.as_ref();
        let latest_ms = holding.map_or(i64::MIN, Holding::latest_ms);
        self.desk.now = match latest_ms > now.ms {
            true => BatchTime::from_ms(latest_ms),
            false => now,
        };
    }

    #[must_use]
    pub fn now(&self) -> &BatchTime {
        &self.desk.now
    }

    #[must_use]
    pub fn lane(&self) -> &Lane {
        &self.lane
    }

    #[must_use]
    pub fn shared_lane(&self) -> Arc<Lane> {
        Arc::clone(&self.lane)
    }

    /// Whether what a gate source says is kept in memory.
    #[must_use]
    pub fn keeps(&self, source: SourceId) -> bool {
        !self.lane.is_patron(source.0) || self.desk.keeps_patrons(&self.lane)
    }

    #[must_use]
    pub fn table(&self) -> &Table {
        &self.desk.table
    }

    pub fn table_mut(&mut self) -> &mut Table {
        &mut self.desk.table
    }

    /// What recipients have, where that is known.
    #[must_use]
    pub fn holding(&self) -> Option<&Holding> {
        self.desk.holding.as_ref()
    }

    pub fn holding_mut(&mut self) -> Option<&mut Holding> {
        self.desk.holding.as_mut()
    }

    /// What happened since the last [`merge`](Self::merge) or
    /// [`abandon`](Self::abandon).
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.desk.tally
    }

    /// Returns why the lane must stop, if a record said so since it was asked
    /// last: a consent or an objection that cannot be read and names no patron
    /// may be anybody's.
    pub fn take_stop(&mut self) -> Option<String> {
        self.desk.stop.take()
    }

    /// Returns the consents and objections of the batch that were not understood,
    /// each with the patrons that it names, wherever these lie.
    pub fn take_unreadable(&mut self) -> Vec<UnreadableRecord> {
        std::mem::take(&mut self.desk.unreadable)
    }

    /// The batch was committed: what it changed in memory stays.
    pub fn merge(&mut self) {
        self.desk.unreadable.clear();
        self.desk.table.merge();
        self.desk.sayings.merge();
        if let Some(holding) = &mut self.desk.holding {
            holding.merge();
        }
        self.desk.tally.clear();
    }

    /// The batch was aborted: it never happened.
    pub fn abandon(&mut self) {
        self.desk.unreadable.clear();
        self.desk.stop = None;
        self.desk.table.abandon();
        self.desk.sayings.abandon();
        if let Some(holding) = &mut self.desk.holding {
            holding.abandon();
        }
        self.desk.tally.clear();
    }

    /// Forgets a partition whole.
    pub fn drop_partition(&mut self, partition: i32) {
        self.desk.table.drop_partition(partition);
        self.desk.sayings.drop_partition(partition);
        if let Some(holding) = &mut self.desk.holding {
            holding.drop_partition(partition);
        }
    }

    /// Forgets every partition that is not in `kept`.
    pub fn retain(&mut self, kept: impl Fn(i32) -> bool) {
        self.desk.table.retain(&kept);
        self.desk.sayings.retain(&kept);
        if let Some(holding) = &mut self.desk.holding {
            holding.retain(&kept);
        }
    }

    /// Puts a record of a gate source into memory, outside of any batch.
    pub fn restore(&mut self, input: &Input<'_>) {
        let Pipeline { lane, desk } = self;
        let Some(source) = lane.source(input.source) else {
            return;
        };
        if source.kind.role == Role::Patron && !desk.keeps_patrons(lane) {
            return;
        }
        let outcome = desk.read(lane, input, source);
        // It says nothing of the patrons of this partition.
        if let Err(Reason::Misplaced) = outcome {
            return;
        }
        match source.kind.role {
            Role::Record => {}
            Role::Patron => {
                let Some(id) = key_text(input) else {
                    return;
                };
                let row = match outcome {
                    Ok(Read::Erasure) => {
                        let row = desk.erased(input, id);
                        if let Some(holding) = &mut desk.holding {
                            holding.note_erasure(input, id);
                        }
                        row
                    }
                    Ok(Read::Record(text)) => desk.row(lane, source, text, input, id),
                    Err(Reason::ForeignKey) => return,
                    Err(_) => Row::unreadable(id, input.offset),
                };
                desk.table.restore(input.partition, row);
            }
            Role::Gate => desk.restore_statement(
                Case {
                    lane,
                    source,
                    input,
                },
                outcome,
            ),
        }
    }

    /// Decides one record, and adds what comes of it to `outbox`.
    pub fn decide(&mut self, input: &Input<'_>, outbox: &mut Outbox) {
        let Pipeline { lane, desk } = self;
        let at = usize::from(input.source.0);
        let Some(source) = lane.sources.get(at) else {
            return;
        };
        desk.count_input(at, input);
        desk.records[at].forget();
        let outcome = desk.read(lane, input, source);
        let counts = &mut desk.tally.sources[at];
        counts.unfit += u64::from(desk.records[at].unfit());
        counts.unlisted += desk.corrected.unlisted;
        counts.other_country += desk.corrected.other_country;
        let case = Case {
            lane,
            source,
            input,
        };
        match outcome {
            Err(reason) => desk.refuse(case, reason, outbox),
            Ok(Read::Erasure) => desk.erase(case, outbox),
            Ok(Read::Record(text)) => match source.kind.role {
                Role::Gate => desk.hear(case, text, outbox),
                _ => desk.decide_record(case, text, Met::First, outbox),
            },
        }
    }

    /// Takes back what no longer stands, and says which records have to be
    /// decided again, since something else than they changed: to be read from
    /// their sources, and given to [`decide_again`](Self::decide_again) in this
    /// order. Some of them at a time; see [`again_len`](Self::again_len).
    pub fn again(&mut self, outbox: &mut Outbox) -> Vec<Coordinates> {
        let Some(holding) = &mut self.desk.holding else {
            return Vec::new();
        };
        let around = (&self.desk.table, &self.desk.now);
        holding.again(&self.lane, around, &mut self.desk.tally, outbox)
    }

    /// How many records wait to be decided again.
    #[must_use]
    pub fn again_len(&self) -> usize {
        self.desk.holding.as_ref().map_or(0, Holding::again_len)
    }

    /// Decides a record again; none where its source no longer has it.
    pub fn decide_again(
        &mut self,
        place: Coordinates,
        input: Option<Input<'_>>,
        outbox: &mut Outbox,
    ) {
        let Pipeline { lane, desk } = self;
        let Some(source) = lane.source(place.source) else {
            return;
        };
        if let Some(input) = &input
            && let Ok(Read::Record(text)) = desk.read(lane, input, source)
            && desk.is_wanted(source, place, (input, text))
        {
            let case = Case {
                lane,
                source,
                input,
            };
            return desk.decide_record(case, text, Met::Again, outbox);
        }
        if let Some(holding) = &mut desk.holding {
            let around = (&desk.table, &desk.sayings, &desk.now);
            holding.gone(lane, place, around, &mut desk.tally, outbox);
        }
    }

    /// Whether the records of a partition were decided under another policy, so
    /// that each of them has to be decided anew.
    #[must_use]
    pub fn is_outdated(&self, partition: i32) -> bool {
        let holding = self.desk.holding.as_ref();
        holding.is_some_and(|holding| holding.is_outdated(partition))
    }

    /// The sources of which recipients have records.
    #[must_use]
    pub fn decided(&self) -> Vec<SourceId> {
        let sources = self.lane.sources.iter();
        let decided = sources.filter(|source| source.kind.keyed && !source.recipients.is_empty());
        decided.map(|source| SourceId(source.place)).collect()
    }

    /// Notes where a record lies that is to be decided anew; those of a partition
    /// come in their order.
    pub fn note(&mut self, input: &Input<'_>) {
        let Pipeline { lane, desk } = self;
        if let Some(source) = lane.source(input.source)
            && let Ok(Read::Record(text)) = desk.read(lane, input, source)
            && desk.understand(lane, source, input, text).is_ok()
        {
            let record = desk.records[usize::from(source.place)].reading(text);
            let holding = desk.holding.as_mut();
            if let Some((holding, key)) = holding.zip(source.state_key(record, input)) {
                holding.note(source, key, input.offset);
            }
        }
    }

    /// The records of a source that were noted, and patrons that are known, wait
    /// to be decided [`again`](Self::again), for every recipient. Says how many.
    pub fn anew(&mut self, source: SourceId, partition: i32) -> usize {
        let source = self.lane.source(source);
        let holding = self.desk.holding.as_mut().zip(source);
        holding.map_or(0, |(holding, source)| {
            holding.decide_anew(source, partition, &self.desk.table)
        })
    }

    /// All records of a partition are decided under this policy.
    pub fn finish_policy(&mut self, partition: i32) {
        if let Some(holding) = &mut self.desk.holding {
            holding.finish_policy(partition);
        }
    }

    /// What was sent under keys of the format before waits to be taken back.
    /// Returns how many records that concerns.
    pub fn take_back_before(&mut self, partition: i32) -> usize {
        let holding = self.desk.holding.as_mut();
        holding.map_or(0, |holding| holding.take_back_before(partition))
    }

    /// What former recipients have, and are to have no longer, waits to be taken
    /// back. Returns of how many records.
    pub fn take_back_former(&mut self, partition: i32) -> usize {
        let holding = self.desk.holding.as_mut();
        holding.map_or(0, |holding| holding.take_back_former(&self.lane, partition))
    }

    /// Which run of recipients with a period is due at the batch's time, of some of
    /// these partitions.
    #[must_use]
    pub fn due_pace(&self, partitions: &[i32]) -> Pace {
        let holding = self.desk.holding.as_ref();
        holding.map_or(Pace::Wait, |holding| {
            holding.due_pace(partitions, self.desk.now.ms)
        })
    }

    /// Begins such a run, of those of the partitions of which it is due.
    pub fn begin_run(&mut self, pace: Pace, partitions: &[i32]) {
        let now_ms = self.desk.now.ms;
        if let Some(holding) = &mut self.desk.holding {
            holding.begin_run(pace, partitions, now_ms);
        }
    }

    /// Ends a run, whatever became of it: nothing leaves until the next one.
    pub fn end_run(&mut self) {
        if let Some(holding) = &mut self.desk.holding {
            holding.end_run();
        }
    }

    /// Finds what waits for the run that goes on. Returns of how many records.
    pub fn find_waiting(&mut self) -> usize {
        let holding = self.desk.holding.as_mut();
        holding.map_or(0, Holding::find_waiting)
    }

    /// Takes the next of them, by the keys of their outputs: what is taken back goes
    /// into the batch, the others wait to be decided [`again`](Self::again). Returns
    /// how many are left.
    pub fn take_waiting(&mut self, count_max: usize, outbox: &mut Outbox) -> usize {
        let Pipeline { lane, desk } = self;
        let to = (&mut desk.tally, outbox);
        let holding = desk.holding.as_mut();
        holding.map_or(0, |holding| {
            holding.take_waiting(lane, count_max, &desk.now, to)
        })
    }

    /// All that waited for the run left: the next marks say so.
    pub fn finish_run(&mut self) {
        let now_ms = self.desk.now.ms;
        if let Some(holding) = &mut self.desk.holding {
            holding.finish_run(now_ms);
        }
    }

    /// The partitions of which the batch changed what recipients have.
    #[must_use]
    pub fn changed(&self) -> BTreeSet<i32> {
        let holding = self.desk.holding.iter();
        holding.flat_map(Holding::changed).collect()
    }

    /// Writes the mark of a partition into the batch.
    pub fn write_mark(&mut self, partition: i32, position: Position, outbox: &mut Outbox) {
        let Pipeline { lane, desk } = self;
        let now_ms = desk.now.ms();
        if let Some(holding) = &mut desk.holding {
            holding.write_mark(lane, (partition, now_ms), position, outbox);
        }
    }

    /// Decides each record of a partition against what recipients have of it,
    /// once everything about patrons is known.
    pub fn reconcile(&mut self, partition: i32) {
        let Pipeline { lane, desk } = self;
        if let Some(holding) = &mut desk.holding {
            let around = (&desk.table, &desk.sayings, &desk.now);
            holding.reconcile(lane, partition, around);
        }
    }

    /// All that was asked to be sent again of a partition was sent: the next mark
    /// says so. False where nothing was asked for.
    pub fn finish_refill(&mut self, partition: i32) -> bool {
        let holding = self.desk.holding.as_mut();
        holding.is_some_and(|holding| holding.finish_refill(partition))
    }

    /// What the last [`reconcile`](Self::reconcile) is known to take back, by
    /// recipient and reason, until the batch is merged or abandoned.
    #[must_use]
    pub fn foreseen(&self) -> &[ByReason] {
        let holding = self.desk.holding.as_ref();
        holding.map_or(&[], Holding::foreseen)
    }

    /// Finds what time alone changed.
    pub fn sweep(&mut self, outbox: &mut Outbox) {
        let Pipeline { lane, desk } = self;
        if let Some(holding) = &mut desk.holding {
            holding.sweep(lane, &desk.now, &mut desk.tally, outbox);
        }
    }

    /// Whether a national number of a record's patron is known, so that its outputs
    /// are inspected.
    pub fn knows_national_number(&mut self, input: &Input<'_>) -> bool {
        let Pipeline { lane, desk } = self;
        let Some(source) = lane.source(input.source) else {
            return false;
        };
        let Ok(Read::Record(text)) = desk.read(lane, input, source) else {
            return false;
        };
        let row = match patron_of(&desk.table, source, input) {
            Patron::Known(row) => Some(row),
            Patron::Nobody | Patron::Unknown | Patron::Erased | Patron::Former => None,
        };
        let record = desk.records[usize::from(input.source.0)].reading(text);
        desk.numbers.collect(&source.national, record, row);
        !desk.numbers.is_empty()
    }

    /// Tells how one record is decided for one recipient of its source. Nothing
    /// is counted, published or kept of it.
    pub fn explain(&mut self, input: &Input<'_>, recipient: usize) -> Option<Explanation> {
        let Pipeline { lane, desk } = self;
        let source = lane.source(input.source)?;
        let program = lane.recipients.get(recipient)?;
        let text = match desk.read(lane, input, source) {
            Err(reason) => return Some(Explanation::refused(reason)),
            Ok(Read::Erasure) => return Some(Explanation::refused(Reason::PatronErased)),
            Ok(Read::Record(text)) => text,
        };
        if let Err(reason) = desk.understand(lane, source, input, text) {
            return Some(Explanation::refused(reason));
        }
        let patron = match desk.is_former(source, input) {
            true => Patron::Former,
            false => patron_of(&desk.table, source, input),
        };
        let row = match patron {
            Patron::Known(row) => Some(row),
            Patron::Nobody | Patron::Unknown => None,
            Patron::Erased | Patron::Former => {
                return Some(Explanation::refused(Reason::PatronErased));
            }
        };
        let record = desk.records[usize::from(input.source.0)].reading(text);
        desk.numbers.collect(&source.national, record, row);
        let facts = Facts {
            lane,
            record,
            row,
            said: said_of(&desk.sayings, source, input),
            now_ms: desk.now.ms,
            verdicts: &[],
            active: false,
            numbers: Some(&desk.numbers).filter(|numbers| !numbers.is_empty()),
            suspect: true,
            dropped: None,
        }
        .with_membership(source);
        let facts = facts.narrowed(program).unwrap_or(facts);
        if matches!(patron, Patron::Unknown) {
            let refused = without_patron(&facts, source, program);
            let reason = refused.err().unwrap_or(Reason::PatronUnknown);
            return Some(Explanation::refused(reason));
        }
        Some(explain(&facts, source, program, desk.decider.projector()))
    }
}

impl Desk {
    /// Whether a patron whose record this is was erased after it. Where nothing
    /// is remembered of what was sent, each record speaks for itself.
    fn is_erased(&self, input: &Input<'_>) -> bool {
        let known = |id| self.table.find(input.partition, id);
        self.holding.is_some() && key_text(input).and_then(known) == Some(Known::Erased)
    }

    /// Whether a record is of whoever had its patron's id before an erasure, or its
    /// source knows nobody since, as far as erasures are remembered.
    fn is_former(&self, source: &Source, input: &Input<'_>) -> bool {
        let epoch = |id| {
            let epoch = self.holding.as_ref()?.epoch(input.partition, id)?;
            Some((epoch, self.table.find(input.partition, id).is_none()))
        };
        let epoch = key_text(input)
            .filter(|_| source.kind.keyed)
            .and_then(epoch);
        epoch.is_some_and(|(epoch, nobody)| match source.kind.role {
            Role::Patron => input.offset < epoch.offset,
            _ => nobody || !epoch.counts(input.appended),
        })
    }

    /// Whether what patrons' records say is kept.
    fn keeps_patrons(&self, lane: &Lane) -> bool {
        lane.joins || self.holding.is_some()
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
    fn read<'a>(
        &mut self,
        lane: &Lane,
        input: &Input<'a>,
        source: &Source,
    ) -> Result<Read<'a>, Reason> {
        let bytes = match input.payload {
            Payload::Refused(reason) | Payload::Unread(reason, _) => return Err(reason),
            Payload::Bytes(bytes) if !is_null(bytes) => bytes,
            Payload::Null | Payload::Bytes(_) => {
                return match (source.kind.role, key_text(input)) {
                    (Role::Patron, _) if is_foreign(input) => Err(Reason::ForeignKey),
                    (Role::Patron, Some(_)) => Ok(Read::Erasure),
                    (Role::Patron, None) => Err(Reason::Miskeyed),
                    _ => Err(Reason::NullValue),
                };
            }
        };
        if source.kind.role == Role::Patron && is_foreign(input) {
            return Err(Reason::ForeignKey);
        }
        self.corrected = Corrected::default();
        let record = &mut self.records[usize::from(input.source.0)];
        let text = record.read(bytes, &lane.limits)?;
        if source.kind.closed && record.unlisted() {
            return Err(Reason::UnlistedField);
        }
        let reading = record.reading(text);
        let identifiers = [source.library, source.own_id];
        for slot in identifiers.into_iter().flatten() {
            if !reading.slot(slot).is_text() {
                return Err(Reason::Identifier);
            }
        }
        if let Some(slot) = source.patron_id {
            let patron_id = reading.text(slot).ok_or(Reason::Identifier)?;
            if !input.key.is_some_and(|key| same(key, patron_id.as_bytes())) {
                return Err(Reason::Miskeyed);
            }
        }
        self.corrected = derive(record, text, source);
        Ok(Read::Record(text))
    }

    /// What the table keeps of the patron record that was just read.
    fn row(
        &mut self,
        lane: &Lane,
        source: &Source,
        text: &str,
        input: &Input<'_>,
        id: &str,
    ) -> Row {
        let record = self.records[usize::from(input.source.0)].reading(text);
        let national = source
            .card
            .filter(|card| record.slot(card.slot).state() == State::True)
            .filter(|_| !lane.may_hold_national());
        let dropped = national.map(|card| card.card_number);
        self.numbers.collect(&source.national, record, None);
        let sensitive = Sensitive {
            dropped: dropped.as_slice(),
            national: &source.national_slots,
            numbers: Some(&self.numbers),
        };
        self.draft
            .row(&lane.layout, record, &sensitive, id, input.offset)
    }

    /// What a consent or an objection says; `None` of a kind by which no patron
    /// decides.
    fn understand(
        &self,
        lane: &Lane,
        source: &Source,
        input: &Input<'_>,
        text: &str,
    ) -> Result<Option<Understood>, Reason> {
        let Some(speech) = &source.speech else {
            return Ok(None);
        };
        let record = self.records[usize::from(input.source.0)].reading(text);
        let library = source.library.and_then(|slot| record.text(slot));
        let id = self.own_id(source, record).unwrap_or_default();
        let of = (id, library.unwrap_or_default());
        speech.understand(lane, record, of).map(Some)
    }

    /// A hash of the record's own id, where that can be read.
    fn own_id(&self, source: &Source, record: Reading<'_>) -> Option<u64> {
        let id = source.own_id.and_then(|slot| record.text(slot));
        id.map(|id| self.seed.hash_one(id))
    }

    /// What is to be heard of a consent or an objection that cannot be read, and
    /// for which patrons; `None` where it could stop nothing.
    fn misunderstand(&self, case: Case<'_>, reason: Reason) -> Option<(Message, Vec<String>)> {
        let Case {
            lane,
            source,
            input,
        } = case;
        let speech = source.speech.as_ref()?;
        if self.is_accepted(case) {
            return None;
        }
        let bytes = match input.payload {
            Payload::Bytes(bytes) | Payload::Unread(_, bytes) => bytes,
            Payload::Null | Payload::Refused(_) => &[],
        };
        let mut patrons = named_patrons(input.key, bytes);
        if reason == Reason::NullValue {
            // An objection is not withdrawn by a null.
            let ends = speech.topic() == Topic::Consent;
            return ends.then_some((Message::EndGrants, patrons));
        }
        let mut id = None;
        let mut scope = Some(Scope::ALL);
        if was_read(reason)
            && let Ok(text) = std::str::from_utf8(bytes)
        {
            let record = self.records[usize::from(source.place)].reading(text);
            id = self.own_id(source, record);
            scope = speech.scope(lane, record);
            let named = source.patron_id.and_then(|slot| record.text(slot));
            if let Some(named) = named.filter(|named| !patrons.iter().any(|one| one == named)) {
                patrons.push(named.to_owned());
            }
        }
        Some((Message::Unreadable(speech.topic(), id, scope?), patrons))
    }

    /// Whether an operator accepted that a record cannot be read: it stops nothing.
    fn is_accepted(&self, case: Case<'_>) -> bool {
        let finding = Holding::unreadable(&case.source.topic, case.input);
        let holding = self.holding.as_ref();
        holding.is_some_and(|holding| holding.accepts(case.lane, &finding))
    }

    /// Why the lane stops for a record that cannot be read.
    fn stop_text(&self, case: Case<'_>, why: &str) -> String {
        let Case {
            lane,
            source,
            input,
        } = case;
        let (topic, partition, offset) = (&source.topic, input.partition, input.offset);
        let finding = Holding::unreadable(topic, input);
        let code = self
            .holding
            .as_ref()
            .map(|holding| holding.code(lane, &finding));
        let accept = code.map_or_else(String::new, |code| {
            format!("; to accept that it counts for nothing: zeef accept {code} --reason ...")
        });
        format!(
            "{topic} partition {partition} offset {offset}: a record that cannot be read {why}, and may stop what is released of any{accept}"
        )
    }

    /// The lane stops where a record that cannot be read names nobody.
    fn stop_for(&mut self, case: Case<'_>, reason: Reason) {
        let text = self.stop_text(case, &format!("({reason}) names no patron"));
        self.stop.get_or_insert(text);
    }

    /// Notes a record that cannot be read, with whom it names.
    fn note_unreadable(&mut self, case: Case<'_>, patrons: Vec<String>) {
        let stop = self.stop_text(case, "names a patron of another partition");
        self.unreadable.push(UnreadableRecord {
            place: coordinates(case.input),
            patrons,
            stop,
        });
    }

    /// Hears a consent or an objection outside of any batch.
    fn restore_statement(&mut self, case: Case<'_>, outcome: Result<Read<'_>, Reason>) {
        let Case {
            lane,
            source,
            input,
        } = case;
        let place = (input.partition, input.offset);
        let read = outcome.and_then(|read| match read {
            Read::Record(text) => self.understand(lane, source, input, text),
            Read::Erasure => Ok(None),
        });
        match read {
            Ok(understood) => {
                if let Some((understood, id)) = understood.zip(key_text(input)) {
                    let came = self.came(input, id);
                    self.sayings.restore(place, id, understood.message, came);
                }
            }
            Err(reason) => {
                let Some((message, patrons)) = self.misunderstand(case, reason) else {
                    return;
                };
                if patrons.is_empty() {
                    self.stop_for(case, reason);
                }
                for patron in &patrons {
                    let came = self.came(input, patron);
                    self.sayings.restore(place, patron, message.clone(), came);
                }
                self.note_unreadable(case, patrons);
            }
        }
    }

    /// A consent or an objection that cannot be read: what it may be about stops.
    fn mishear(&mut self, case: Case<'_>, reason: Reason, outbox: &mut Outbox) {
        let Case { input, .. } = case;
        let Some((message, patrons)) = self.misunderstand(case, reason) else {
            return;
        };
        if patrons.is_empty() {
            return self.stop_for(case, reason);
        }
        let place = (input.partition, input.offset);
        for patron in &patrons {
            let came = self.came(input, patron);
            if self.sayings.put(place, patron, message.clone(), came) {
                self.recheck(case, patron, outbox);
            }
        }
        self.note_unreadable(case, patrons);
    }

    /// A consent or an objection.
    fn hear(&mut self, case: Case<'_>, text: &str, outbox: &mut Outbox) {
        let Case { source, input, .. } = case;
        let understood = match self.understand(case.lane, source, input, text) {
            Ok(understood) => understood,
            Err(reason) => return self.refuse(case, reason, outbox),
        };
        if let (Some(understood), Some(id)) = (understood, key_text(input)) {
            self.count_ignored(case, &understood, id);
            let came = self.came(input, id);
            let former = came
                .epoch
                .is_some_and(|epoch| !epoch.counts(input.appended));
            let at = usize::from(input.source.0);
            let grants = understood.message.grants();
            self.tally.sources[at].outlived += u64::from(former && grants);
            let place = (input.partition, input.offset);
            if self.sayings.put(place, id, understood.message, came) {
                self.recheck(case, id, outbox);
            }
        }
        if source.recipients.is_empty() {
            self.tally.sources[usize::from(input.source.0)].applied += 1;
        } else {
            self.decide_record(case, text, Met::First, outbox);
        }
    }

    /// Counts what is understood, and counts for nothing or not for all.
    fn count_ignored(&mut self, case: Case<'_>, understood: &Understood, id: &str) {
        let ignored = understood.ignored.or_else(|| {
            let Message::Consent(_, Some(consent)) = &understood.message else {
                return None;
            };
            let known = self.table.find(case.input.partition, id);
            let own = known.and_then(Known::row)?.value(ROW_LIBRARY).as_text()?;
            let grants = consent.decision != Decision::Refusal;
            let counts = case.lane.libraries.count(own, &consent.library);
            (grants && !counts).then_some(Ignored::OtherLibrary)
        });
        if let Some(ignored) = ignored {
            let source = usize::from(case.input.source.0);
            self.tally.sources[source].ignored[ignored as usize] += 1;
        }
    }

    /// Something else than its records changed for a patron.
    fn recheck(&mut self, case: Case<'_>, id: &str, outbox: &mut Outbox) {
        if let Some(holding) = &mut self.holding {
            let around = (&self.table, &self.sayings, &self.now);
            let of = (case.input.partition, id);
            holding.recheck(case.lane, of, around, &mut self.tally, outbox);
        }
    }

    /// A record refused whole: a dead letter; no recipient sees anything of it.
    fn refuse(&mut self, case: Case<'_>, reason: Reason, outbox: &mut Outbox) {
        let Case { source, input, .. } = case;
        self.tally.sources[usize::from(input.source.0)].refused[reason as usize] += 1;
        for &recipient in &source.recipients {
            self.tally.recipients[recipient].refused += 1;
        }
        case.letter(&self.now, (reason, None), &mut self.tally, outbox);
        if reason == Reason::ForeignKey {
            let at = coordinates(input);
            return self.tally.warn(About::ForeignKey, at);
        }
        // The patron that a misplaced record names lies in another partition:
        // the worker sees to it there.
        if reason == Reason::Misplaced {
            return;
        }
        // Fail closed: what was known before must not decide either.
        match (source.kind.role, key_text(input)) {
            (Role::Patron, Some(id)) if self.keeps_patrons(case.lane) => {
                let row = Row::unreadable(id, input.offset);
                self.table.put(input.partition, row);
                self.recheck(case, id, outbox);
            }
            (Role::Gate, _) => self.mishear(case, reason, outbox),
            _ => {}
        }
    }

    /// A null on the patron source: the patron is erased.
    fn erase(&mut self, case: Case<'_>, outbox: &mut Outbox) {
        let Case { source, input, .. } = case;
        let Some(id) = key_text(input) else {
            return;
        };
        if self.keeps_patrons(case.lane) {
            self.match_erasure(input, id);
            let row = self.erased(input, id);
            self.table.put(input.partition, row);
        }
        let newest = self.table.offset(input.partition, id);
        let mut taken = false;
        if self.holding.is_none() {
            // What was said so far was said before.
            self.sayings.end_epoch(input.partition, id, Epoch::NEVER);
        }
        if let Some(holding) = &mut self.holding {
            let epoch = holding.end_epoch(case.lane, input, id, outbox);
            if let Some(epoch) = epoch {
                self.sayings.end_epoch(input.partition, id, epoch);
            }
            let around = (&self.table, &self.sayings, &self.now);
            let of = (input.partition, id);
            taken = newest == Some(input.offset);
            if taken {
                holding.erase(case.lane, of, source, around, &mut self.tally, outbox);
            } else {
                // A rebuild has read already who has the id now.
                holding.recheck(case.lane, of, around, &mut self.tally, outbox);
                holding.recheck_all(case.lane, input.partition, id);
            }
        }
        if !taken {
            for &recipient in &source.recipients {
                self.tally.recipients[recipient].withheld[Reason::PatronErased as usize] += 1;
            }
        }
        if source.recipients.is_empty() {
            self.tally.sources[usize::from(input.source.0)].applied += 1;
        }
    }

    /// The row of a patron that a null erases, by what is known before that.
    fn erased(&self, input: &Input<'_>, id: &str) -> Row {
        match self.table.knows(input.partition, id) {
            true => Row::erased(id, input.offset),
            false => Row::erased_unmatched(id, input.offset),
        }
    }

    /// Counts a null for a patron of whom nothing is known, and was not when it
    /// was read first.
    fn match_erasure(&mut self, input: &Input<'_>, id: &str) {
        let partition = input.partition;
        let newer = self.table.offset(partition, id) > Some(input.offset);
        let said = || self.sayings.find(partition, id).is_some();
        if newer || self.table.knows(partition, id) || said() {
            return;
        }
        if let Some(holding) = &mut self.holding {
            let epoch = holding.epoch(partition, id);
            let earlier = epoch.is_some_and(|epoch| epoch.offset != input.offset);
            if earlier || holding.knows(partition, id) {
                return;
            }
        }
        self.tally.sources[usize::from(input.source.0)].unmatched += 1;
        self.tally.warn(About::ErasureUnmatched, coordinates(input));
    }

    /// When a statement came, and when its patron was erased last.
    fn came(&self, input: &Input<'_>, id: &str) -> Came {
        let holding = self.holding.as_ref();
        Came {
            appended: input.appended,
            epoch: holding.and_then(|holding| holding.epoch(input.partition, id)),
        }
    }

    /// Whether a record that was read again is the one that was meant.
    fn is_wanted(&self, source: &Source, at: Coordinates, read: (&Input<'_>, &str)) -> bool {
        let record = self.records[usize::from(source.place)].reading(read.1);
        let holding = self.holding.as_ref();
        let holding = holding.zip(source.state_key(record, read.0));
        holding.is_some_and(|(holding, key)| holding.is_asked(source, at, key))
    }

    fn decide_record(&mut self, case: Case<'_>, text: &str, met: Met, outbox: &mut Outbox) {
        let Case {
            lane,
            source,
            input,
        } = case;
        let is_patron = source.kind.role == Role::Patron;
        let mut is_newest = false;
        if is_patron
            && met == Met::First
            && self.keeps_patrons(case.lane)
            && let Some(id) = key_text(input)
            // A rebuild may have read further than this already.
            && self.table.offset(input.partition, id) < Some(input.offset)
        {
            let row = self.row(lane, source, text, input, id);
            self.table.put(input.partition, row);
            is_newest = true;
        }
        let at = usize::from(input.source.0);
        if source.recipients.is_empty() {
            self.tally.sources[at].applied += 1;
        }
        let record = self.records[at].reading(text);
        let mut patron = match patron_of(&self.table, source, input) {
            // An older record of a patron that is known to be erased since.
            Patron::Nobody if is_patron && !is_newest && self.is_erased(input) => Patron::Erased,
            patron => patron,
        };
        let mut holding = self.holding.as_mut().filter(|_| source.kind.keyed);
        if let Some(holding) = &mut holding {
            let key = source.state_key(record, input);
            let of = (input.partition, input.offset);
            let is_old = !holding.begin(source, key, of, key_text(input), met, self.now.ms);
            if is_old {
                for &index in &source.recipients {
                    self.tally.recipients[index].unchanged += 1;
                }
                return;
            }
            if holding.lost_patron(&self.table, key_text(input)) {
                patron = Patron::Erased;
            }
            if let Some(epoch) = holding.current_epoch() {
                let found = key_text(input).and_then(|id| self.table.find(input.partition, id));
                let former = match is_patron {
                    true => input.offset < epoch.offset,
                    false => !epoch.counts(input.appended),
                };
                if former {
                    let again = matches!(found, Some(Known::Patron(_))) && met == Met::First;
                    self.tally.sources[at].outlived += u64::from(again);
                    patron = Patron::Former;
                } else if found.is_none() && !is_patron {
                    // Its source has lost the null, and knows nobody since.
                    patron = Patron::Erased;
                }
            }
        }
        let row = match patron {
            Patron::Known(row) => Some(row),
            Patron::Nobody | Patron::Erased | Patron::Former | Patron::Unknown => None,
        };
        self.numbers.collect(&source.national, record, row);
        self.verdicts.clear();
        let tests = source.tests.iter();
        self.verdicts
            .extend(tests.map(|(slot, test)| condition(record.value(*slot), test)));
        let facts = Facts {
            lane,
            record,
            row,
            said: said_of(&self.sayings, source, input),
            now_ms: self.now.ms,
            verdicts: &self.verdicts,
            active: false,
            numbers: Some(&self.numbers).filter(|numbers| !numbers.is_empty()),
            suspect: false,
            dropped: None,
        }
        .with_membership(source);
        let mut hand = Hand {
            case,
            now: &self.now,
            holding: holding.as_deref_mut(),
            tally: &mut self.tally,
            outbox,
        };
        let due_ms = self.decider.decide(&mut hand, &facts, patron);
        if let Some(holding) = holding {
            let around = (&self.table, &self.sayings, &self.now);
            let of = (input, source);
            holding.settle(lane, of, around, due_ms, &mut self.tally, outbox);
            if is_patron
                && met == Met::First
                && let Some(id) = key_text(input)
            {
                let of = (input.partition, id);
                holding.recheck_records(lane, of, around);
            }
        }
    }
}

/// How many values of a record count as something else than they say.
#[derive(Clone, Copy, Debug, Default)]
struct Corrected {
    /// They are none of their lists.
    unlisted: u64,
    /// Its country is not its library's.
    other_country: u64,
}

/// Sets aside what is none of its list, and takes the country from the library.
fn correct(record: &mut Record, text: &str, source: &Source) -> Corrected {
    let mut corrected = Corrected::default();
    for (slot, values) in &source.listed {
        let found = record.reading(text).text(*slot);
        let listed = |found: &str| {
            let mut values = values.iter();
            values.any(|value| same(value.as_bytes(), found.as_bytes()))
        };
        if found.is_some_and(|found| !listed(found)) {
            record.derive(*slot, Slot::MISSING);
            corrected.unlisted += 1;
        }
    }
    if let Some((slot, library)) = source.country {
        let reading = record.reading(text);
        let own = reading.text(library).and_then(|isil| isil.get(..2));
        if let Some(own) = own.filter(|own| reading.text(slot) != Some(own)) {
            corrected.other_country = u64::from(!reading.slot(slot).is_missing());
            // Its two letters stand in the record that is written to.
            let mut letters = [0; 2];
            letters.copy_from_slice(own.as_bytes());
            let own = std::str::from_utf8(&letters).unwrap_or_default();
            record.derive_text(slot, own);
        }
    }
    corrected
}

/// Fills the slots that no path of the record fills.
fn derive(record: &mut Record, text: &str, source: &Source) -> Corrected {
    let corrected = correct(record, text, source);
    for checked in &source.checked {
        let reading = record.reading(text);
        let slot = match reading.value(checked.raw) {
            Value::Text { text, .. } if checked.form.is_some_and(|form| !form.fits(text)) => {
                Slot::MISSING
            }
            // It is looked for in outputs as it stands, and shown as a string only.
            Value::Number(_) => Slot::MALFORMED,
            _ => reading.slot(checked.raw),
        };
        record.derive(checked.slot, slot);
    }
    if let Some(card) = source.card {
        let reading = record.reading(text);
        let number = reading.slot(card.card_number);
        let kind = reading.slot(card.card_kind);
        let national = reading.slot(card.national_number);
        let malformed = |slot: Slot| slot.is_malformed() || slot.state() == State::Number;
        let text = |slot| reading.text(slot);
        let belgian = source.library.and_then(text);
        let belgian = belgian.is_some_and(|isil| isil.starts_with(BELGIUM));
        let fact = if [number, kind, national].into_iter().any(malformed) {
            Slot::MALFORMED
        } else if kind.is_missing() && national.is_missing() && !belgian {
            Slot::boolean(false)
        } else {
            let (number, national) = (text(card.card_number), text(card.national_number));
            let is_national = text(card.card_kind) == Some("eid")
                || same_digits(number, national)
                || (belgian && number.is_some_and(is_national_card));
            Slot::boolean(is_national)
        };
        record.derive(card.slot, fact);
    }
    corrected
}

fn patron_of<'a>(table: &'a Table, source: &Source, input: &Input<'_>) -> Patron<'a> {
    if source.kind.role == Role::Patron || !source.kind.keyed {
        return Patron::Nobody;
    }
    match key_text(input).and_then(|id| table.find(input.partition, id)) {
        Some(Known::Patron(row)) => Patron::Known(row),
        Some(Known::Erased) => Patron::Erased,
        Some(Known::Unreadable) | None => Patron::Unknown,
    }
}

/// What the patron of a record said.
fn said_of<'a>(sayings: &'a Sayings, source: &Source, input: &Input<'_>) -> Option<&'a Said> {
    if !source.kind.keyed || sayings.is_empty() {
        return None;
    }
    sayings.find(input.partition, key_text(input)?)
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
    if bytes.first() == Some(&b'{') {
        return false;
    }
    let Some(first) = bytes.iter().position(|byte| !SPACE.contains(byte)) else {
        return false;
    };
    let rest = &bytes[first..];
    rest.strip_prefix(b"null")
        .is_some_and(|rest| rest.iter().all(|byte| SPACE.contains(byte)))
}

/// Whether a key is JSON of some other kind than an id, quoted or binary: of a
/// connector that writes its keys in another way. It names no patron.
fn is_foreign(input: &Input<'_>) -> bool {
    let key = input.key.unwrap_or_default();
    matches!(key.trim_ascii_start().first(), Some(b'{' | b'[' | b'"' | 0))
}

/// Whether a record was read that is refused for this, so that its fields say
/// something.
fn was_read(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Identifier
            | Reason::Miskeyed
            | Reason::UnlistedField
            | Reason::Malformed
            | Reason::Unclear
    )
}

fn coordinates(input: &Input<'_>) -> Coordinates {
    Coordinates {
        source: input.source,
        partition: input.partition,
        offset: input.offset,
    }
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
