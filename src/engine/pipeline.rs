//! One record, decided for every recipient of a lane. Read this file first.
//!
//! A record is read into slots of the wanted paths ([`record`](super::record)), its
//! patron is looked up ([`patrons`](super::memory::patrons)), and it is decided
//! ([`decide`](super::decide)): it is admitted ([`admit`](super::decide::admit)) and
//! projected ([`project`](super::decide::project)) for each recipient of its source. The
//! verdicts are compared with what recipients have ([`delivery`](super::delivery)). The
//! results are in the outbox, the tally and the undo logs of the memory until the batch
//! is committed.
//!
//! No clock, no I/O: the batch's time is passed in.

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::sync::Arc;

pub use super::batch::BatchTime;
use super::batch::{Batch, BatchState, DeadLetterScope, PatronView, Trigger};
use super::decide::admit::{check_condition, check_without_patron};
use super::decide::explain::{ExplainedRecord, Explanation, explain_record};
use super::decide::{
    Decider, MessageRef, RecordContext, RecordHistory, RecordPatron, RecordPresence,
};
use super::delivery::transition::Effect;
use super::delivery::{DeliveryTracker, HoldBounds, PeriodRun};
use super::lane::{BELGIUM_ISIL_PREFIX, Facts, Lane, LaneSource, ROW_LIBRARY_SLOT};
use super::memory::consents::{
    ConsentTable, GateEvent, GateStatement, GateTopic, NamedPatron, PatronConsents, StatementTiming,
};
use super::memory::deliveries::StateKeys;
use super::memory::erasures::LastErasure;
use super::memory::patron_records::{KeptRecord, PatronRecords, RecordChange};
use super::memory::patrons::{
    PatronRow, PatronRowWriter, PatronStatus, PatronTable, SensitiveValues,
};
use super::memory::statement::ParsedStatement;
use super::memory::transactional::Transactional;
use super::memory::unreadable_record::{UnreadableRecord, named_patron_ids};
use super::patron_reads::{PatronReads, WaitingRecord};
use super::record::national_number::PatronNationalNumbers;
use super::record::value::{FieldValue, SlotState, ValueSlot};
use super::record::{Record, RecordView};
use super::tally::{IgnoredReason, ReasonCounts, Tally, WarningKind};
use crate::message::continuity::MarkPositions;
use crate::message::{Coordinates, Input, Outbox, Payload, SourceId, TraceParent};
use crate::policy::catalogue::{NationalNumberKind, Role};
use crate::policy::consent::{ConsentDecision, UnreadableScope};
use crate::policy::detect::DetectorBuffers;
use crate::policy::form::is_national_number_card;
use crate::policy::form::simd::bytes_equal;
use crate::policy::reason::Reason;
use crate::policy::text;

/// Decides the records of one worker.
#[derive(Debug)]
pub struct Pipeline {
    lane: Arc<Lane>,
    state: PipelineState,
}

#[derive(Debug)]
struct PipelineState {
    /// By source: each has its own key cache and template.
    records: Vec<Record>,
    row_writer: PatronRowWriter,
    decider: Decider,
    observations: RecordObservations,
    /// Unused in a lane where no record demands anything of its patron's.
    patron_reads: PatronReads,
    /// Hashes the ids of consents; its hashes are never written.
    record_id_hasher: foldhash::fast::RandomState,
    /// `None` if nothing is remembered of what was sent.
    deliveries: Option<DeliveryTracker>,
    batch: BatchState,
    /// Of the record at hand.
    corrections: ValueCorrections,
    detector_buffers: DetectorBuffers,
    /// Of the batch.
    unreadable_records: Vec<UnreadableRecord>,
    /// Patrons of whom the batch changed a record that summaries are made of: what recipients
    /// have of them is compared once, at the batch's end.
    changed_patrons: BTreeSet<(i32, Box<str>)>,
    /// Why the lane must stop.
    stop_message: Option<String>,
}

impl Pipeline {
    /// Creates a pipeline that decides each record by itself.
    #[must_use]
    pub fn new(lane: Arc<Lane>) -> Self {
        let tally = Tally::new(lane.sources.len(), lane.recipients.len());
        let shapes = lane.sources.iter().map(|source| &source.shape);
        let state = PipelineState {
            records: shapes.map(Record::new).collect(),
            row_writer: PatronRowWriter::default(),
            decider: Decider::default(),
            observations: RecordObservations::default(),
            patron_reads: PatronReads::default(),
            record_id_hasher: foldhash::fast::RandomState::default(),
            deliveries: None,
            batch: BatchState { tally, ..BatchState::default() },
            corrections: ValueCorrections::default(),
            detector_buffers: DetectorBuffers::default(),
            unreadable_records: Vec::new(),
            changed_patrons: BTreeSet::new(),
            stop_message: None,
        };
        Pipeline { lane, state }
    }

    /// Creates a pipeline that tracks what recipients have: it sends only what changes that, and
    /// retracts what they may no longer have.
    #[must_use]
    pub fn with_state(lane: Arc<Lane>, state_keys: StateKeys, hold_bounds: HoldBounds) -> Self {
        let mut pipeline = Pipeline::new(lane);
        let BatchState { table, consent_table, .. } = &mut pipeline.state.batch;
        *table = PatronTable::with_state_keys(state_keys.clone());
        *consent_table = ConsentTable::with_state_keys(state_keys.clone());
        pipeline.state.deliveries =
            Some(DeliveryTracker::new(&pipeline.lane, state_keys, hold_bounds));
        pipeline
    }

    /// Starts a batch that is decided at `now`, or at the latest time of a mark if that is later.
    pub fn begin_batch(&mut self, now: BatchTime) {
        let deliveries = self.state.deliveries.as_ref();
        let latest_ms = deliveries.map_or(i64::MIN, DeliveryTracker::latest_mark_ms);
        self.state.batch.now = match latest_ms > now.ms() {
            true => BatchTime::from_ms(latest_ms),
            false => now,
        };
    }

    #[must_use]
    pub fn batch_time(&self) -> &BatchTime {
        &self.state.batch.now
    }

    #[must_use]
    pub fn lane(&self) -> &Lane {
        &self.lane
    }

    #[must_use]
    pub fn shared_lane(&self) -> Arc<Lane> {
        Arc::clone(&self.lane)
    }

    /// Whether the records of a gate source are kept in memory.
    #[must_use]
    pub fn keeps_in_memory(&self, source: SourceId) -> bool {
        !self.lane.is_patron_source(source.0) || self.state.keeps_patron_rows(&self.lane)
    }

    /// The records that are kept for summaries, and the bytes of their rows.
    #[must_use]
    pub fn kept_records(&self) -> (usize, usize) {
        self.state.batch.record_table.size()
    }

    #[must_use]
    pub fn table(&self) -> &PatronTable {
        &self.state.batch.table
    }

    #[must_use]
    pub fn consent_table(&self) -> &ConsentTable {
        &self.state.batch.consent_table
    }

    pub fn table_mut(&mut self) -> &mut PatronTable {
        &mut self.state.batch.table
    }

    /// `None` if nothing is remembered of what was sent.
    #[must_use]
    pub fn deliveries(&self) -> Option<&DeliveryTracker> {
        self.state.deliveries.as_ref()
    }

    pub fn deliveries_mut(&mut self) -> Option<&mut DeliveryTracker> {
        self.state.deliveries.as_mut()
    }

    /// The numbers since the last [`commit`](Self::commit) or [`rollback`](Self::rollback).
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.state.batch.tally
    }

    /// Takes why the lane must stop: an unreadable consent or objection that names no patron may be
    /// of any.
    pub fn take_stop_message(&mut self) -> Option<String> {
        self.state.stop_message.take()
    }

    /// Takes the unreadable consents and objections of the batch, each with the patrons that it
    /// names, whichever partitions they are of.
    pub fn take_unreadable_records(&mut self) -> Vec<UnreadableRecord> {
        std::mem::take(&mut self.state.unreadable_records)
    }

    /// Ends a batch that was committed: keeps what it changed in memory.
    pub fn commit(&mut self) {
        self.state.drop_ids_of_erased_patrons(None);
        self.state.stores().for_each(Transactional::commit);
        self.state.drop_erased_ids_of_rows();
        self.state.end_batch();
    }

    /// Ends a batch that was aborted: undoes what it changed in memory.
    pub fn rollback(&mut self) {
        self.state.stores().for_each(Transactional::rollback);
        self.state.drop_erased_ids_of_rows();
        self.state.patron_reads.clear();
        self.state.changed_patrons.clear();
        self.state.stop_message = None;
        self.state.end_batch();
    }

    /// Drops all that is known of a partition.
    pub fn drop_partition(&mut self, partition: i32) {
        self.state.stores().for_each(|store| store.drop_partition(partition));
    }

    /// Drops all that is known of partitions that are not kept.
    pub fn retain_partitions(&mut self, is_kept: impl Fn(i32) -> bool) {
        self.state.stores().for_each(|store| store.retain_partitions(&is_kept));
    }

    /// Restores a record of a gate source, outside of any batch.
    pub fn restore_gate_record(&mut self, input: &Input<'_>) {
        let Pipeline { lane, state } = self;
        let Some(source) = lane.source(input.source) else {
            return;
        };
        if source.kind.role == Role::Patron && !state.keeps_patron_rows(lane) {
            return;
        }
        let outcome = state.read_message(lane, input, source);
        // It does not concern the patrons of this partition.
        if let Err(Reason::Misplaced) = outcome {
            return;
        }
        match source.kind.role {
            Role::Record => {
                if let (Ok(ReadMessage::Record(record)), Some(_)) = (outcome, &source.kept_layout) {
                    let message = MessageRef { lane, source, input: &record.input };
                    if let Some(change) = state.make_record_change(message, &record) {
                        state.batch.record_table.restore(change);
                    }
                }
            }
            Role::Patron => {
                let Some(id) = message_key_text(input) else {
                    return;
                };
                let row = match outcome {
                    Ok(ReadMessage::Erasure) => {
                        let row = state.make_erased_row(input, id);
                        if let Some(deliveries) = &mut state.deliveries {
                            deliveries.restore_erasure(input, id);
                        }
                        row
                    }
                    Ok(ReadMessage::Record(record)) => {
                        let message = MessageRef { lane, source, input };
                        state.build_patron_row(message, record.text, id)
                    }
                    Err(Reason::ForeignKey) => return,
                    Err(_) => PatronRow::unreadable(id, input.offset),
                };
                state.batch.table.restore(input.partition, row);
            }
            Role::Gate => state.restore_statement(MessageRef { lane, source, input }, outcome),
        }
    }

    /// Decides one record, and writes the results to `outbox`.
    pub fn decide(&mut self, input: &Input<'_>, outbox: &mut Outbox) {
        let Pipeline { lane, state } = self;
        let source_index = usize::from(input.source.0);
        let Some(source) = lane.sources.get(source_index) else {
            return;
        };
        state.count_input(source_index, input);
        state.records[source_index].reset_format_errors();
        let outcome = state.read_message(lane, input, source);
        let counts = &mut state.batch.tally.sources[source_index];
        counts.format_errors += u64::from(state.records[source_index].format_errors());
        counts.unlisted_values += state.corrections.unlisted_values;
        counts.country_mismatches += state.corrections.country_mismatches;
        let message = MessageRef { lane, source, input };
        match outcome {
            Err(reason) => state.refuse_record(message, reason, outbox),
            Ok(ReadMessage::Erasure) => state.erase_patron(message, outbox),
            Ok(ReadMessage::Record(record)) => match source.kind.role {
                Role::Gate => state.apply_statement(message, record, outbox),
                Role::Record if source.kept_layout.is_some() => {
                    state.keep_record((lane, source), &record);
                    match source.recipient_indices.is_empty() {
                        true => state.count_gate_record(message),
                        false => {
                            state.decide_record((lane, source), record, Trigger::Arrival, outbox)
                        }
                    }
                }
                _ => state.decide_record((lane, source), record, Trigger::Arrival, outbox),
            },
        }
    }

    /// Retracts what needs no record for that, and returns where the records lie that are to be
    /// decided again: read them, and pass them to [`decide_recheck`](Self::decide_recheck) in this
    /// order. Call again while there are [`pending_rechecks`](Self::pending_rechecks).
    pub fn next_rechecks(&mut self, outbox: &mut Outbox) -> Vec<Coordinates> {
        let Pipeline { lane, state } = self;
        if state.patron_reads.pending_count() > 0 {
            return state.request_patron_records(lane, outbox);
        }
        let Some(deliveries) = &mut state.deliveries else {
            return Vec::new();
        };
        let mut batch = state.batch.open(lane, outbox);
        for (partition, patron_id) in std::mem::take(&mut state.changed_patrons) {
            let patron = deliveries.patron_ref(partition, &patron_id);
            deliveries.recheck_patron(&mut batch, patron);
        }
        deliveries.next_rechecks(&mut batch)
    }

    /// How many records wait to be decided, or to be decided again.
    #[must_use]
    pub fn pending_rechecks(&self) -> usize {
        let queued = self.state.deliveries.as_ref().map_or(0, DeliveryTracker::pending_rechecks);
        self.state.changed_patrons.len() + queued + self.state.patron_reads.pending_count()
    }

    /// Decides a record again. `input` is `None` if its source no longer has it.
    pub fn decide_recheck(
        &mut self,
        coordinates: Coordinates,
        input: Option<Input<'_>>,
        outbox: &mut Outbox,
    ) {
        let Pipeline { lane, state } = self;
        if state.patron_reads.has_requests() {
            return state.decide_waiting_records(lane, (coordinates, input.as_ref()), outbox);
        }
        let Some(source) = lane.source(coordinates.source) else {
            return;
        };
        if let Some(input) = &input
            && let Ok(ReadMessage::Record(record)) = state.read_message(lane, input, source)
            && state.is_requested_recheck(source, coordinates, record)
        {
            return state.decide_record((lane, source), record, Trigger::Recheck, outbox);
        }
        if let Some(deliveries) = &mut state.deliveries {
            deliveries.handle_missing_record(&mut state.batch.open(lane, outbox), coordinates);
        }
    }

    /// Whether the records of a partition were decided under another policy, and are to be
    /// re-evaluated.
    #[must_use]
    pub fn needs_reevaluation(&self, partition: i32) -> bool {
        let deliveries = self.state.deliveries.as_ref();
        deliveries.is_some_and(|deliveries| deliveries.needs_reevaluation(partition))
    }

    /// The sources whose records are decided for recipients.
    #[must_use]
    pub fn decided_sources(&self) -> Vec<SourceId> {
        let sources = self.lane.sources.iter();
        let decided = sources.filter(|source| !source.recipient_indices.is_empty());
        decided.map(|source| SourceId(source.index)).collect()
    }

    /// Notes a version of a record for re-evaluation; those of a partition come in order.
    pub fn collect_for_reevaluation(&mut self, input: &Input<'_>) {
        let Pipeline { lane, state } = self;
        if let Some(source) = lane.source(input.source)
            && let Ok(ReadMessage::Record(ReadRecord { text, input, .. })) =
                state.read_message(lane, input, source)
            && state.parse_statement(MessageRef { lane, source, input: &input }, text).is_ok()
        {
            let record = state.records[usize::from(source.index)].view(text);
            let deliveries = state.deliveries.as_mut();
            if let Some((deliveries, key)) = deliveries.zip(source.record_identity(record, &input))
            {
                let is_gone = RecordPresence::of_record(source, record) == RecordPresence::Gone;
                deliveries.collect_for_reevaluation(source, key, (input.offset, is_gone));
            }
        }
    }

    /// Queues the noted records of a source, and the known patrons if it is the patron source, to
    /// be decided for every recipient. Returns how many.
    pub fn start_reevaluation(&mut self, source: SourceId, partition: i32) -> usize {
        let source = self.lane.source(source);
        let deliveries = self.state.deliveries.as_mut().zip(source);
        deliveries.map_or(0, |(deliveries, source)| {
            deliveries.start_reevaluation(source, partition, &self.state.batch.table)
        })
    }

    /// All records of a partition were decided under this policy.
    pub fn finish_reevaluation(&mut self, partition: i32) {
        if let Some(deliveries) = &mut self.state.deliveries {
            deliveries.finish_reevaluation(partition);
        }
    }

    /// Queues the retraction of outputs under keys of the previous format. Returns of how many
    /// records.
    pub fn queue_old_format_retractions(&mut self, partition: i32) -> usize {
        let deliveries = self.state.deliveries.as_mut();
        deliveries.map_or(0, |deliveries| deliveries.queue_old_format_retractions(partition))
    }

    /// Queues what is to be retracted from former recipients. Returns of how many records.
    pub fn queue_former_retractions(&mut self, partition: i32) -> usize {
        let deliveries = self.state.deliveries.as_mut();
        deliveries
            .map_or(0, |deliveries| deliveries.queue_former_retractions(&self.lane, partition))
    }

    /// Returns the run of recipients with a period that is due for at least one of the partitions.
    #[must_use]
    pub fn due_period_run(&self, partitions: &[i32]) -> PeriodRun {
        let deliveries = self.state.deliveries.as_ref();
        deliveries.map_or(PeriodRun::Idle, |deliveries| {
            deliveries.due_period_run(partitions, self.state.batch.now.ms())
        })
    }

    /// Begins a run of those of the partitions where it is due.
    pub fn begin_period_run(&mut self, run: PeriodRun, partitions: &[i32]) {
        let now_ms = self.state.batch.now.ms();
        if let Some(deliveries) = &mut self.state.deliveries {
            deliveries.begin_period_run(run, partitions, now_ms);
        }
    }

    /// Ends a run, successful or not.
    pub fn end_period_run(&mut self) {
        if let Some(deliveries) = &mut self.state.deliveries {
            deliveries.end_period_run();
        }
    }

    /// Collects what the run may publish. Returns of how many records.
    pub fn collect_pending(&mut self) -> usize {
        let deliveries = self.state.deliveries.as_mut();
        deliveries.map_or(0, DeliveryTracker::collect_pending)
    }

    /// Takes the next pending changes, in the order of their output keys: retractions go into the
    /// batch, outputs are queued for [`next_rechecks`](Self::next_rechecks). Returns how many are
    /// left.
    pub fn take_pending(&mut self, count_max: usize, outbox: &mut Outbox) -> usize {
        let Pipeline { lane, state } = self;
        let deliveries = state.deliveries.as_mut();
        deliveries.map_or(0, |deliveries| {
            deliveries.take_pending(&mut state.batch.open(lane, outbox), count_max)
        })
    }

    /// All pending changes were published: the next marks say so.
    pub fn finish_period_run(&mut self) {
        let now_ms = self.state.batch.now.ms();
        if let Some(deliveries) = &mut self.state.deliveries {
            deliveries.finish_period_run(now_ms);
        }
    }

    /// The partitions of which the batch changed what recipients have.
    #[must_use]
    pub fn changed_partitions(&self) -> BTreeSet<i32> {
        let deliveries = self.state.deliveries.iter();
        let of_ledger = self.state.batch.ledger_lines.partitions();
        deliveries.flat_map(DeliveryTracker::changed_partitions).chain(of_ledger).collect()
    }

    /// About how many bytes the batch will add to the ledger.
    #[must_use]
    pub fn ledger_bytes(&self) -> usize {
        self.state.batch.ledger_lines.byte_len()
    }

    /// Writes the mark of a partition into the batch, and its lines into the ledger.
    pub fn write_mark(&mut self, partition: i32, positions: MarkPositions, outbox: &mut Outbox) {
        let Pipeline { lane, state } = self;
        if let Some(deliveries) = &mut state.deliveries {
            deliveries.write_mark(&mut state.batch.open(lane, outbox), partition, positions);
        }
    }

    /// Compares each row of a partition with what is known of its patron, once all gate sources
    /// have been read.
    pub fn reconcile(&mut self, partition: i32) {
        let Pipeline { lane, state } = self;
        if let Some(deliveries) = &mut state.deliveries {
            deliveries.reconcile(state.batch.view(lane), partition);
        }
        state.drop_ids_of_erased_patrons(Some(partition));
        state.drop_erased_ids_of_rows();
        state.clear_record_buffers();
    }

    /// Ends the refills of a partition. Returns `false` if there were none.
    pub fn finish_refill(&mut self, partition: i32) -> bool {
        let deliveries = self.state.deliveries.as_mut();
        deliveries.is_some_and(|deliveries| deliveries.finish_refill(partition))
    }

    /// What the last [`reconcile`](Self::reconcile) is known to retract, by recipient and reason,
    /// until the batch ends.
    #[must_use]
    pub fn expected_retractions(&self) -> &[ReasonCounts] {
        let deliveries = self.state.deliveries.as_ref();
        deliveries.map_or(&[], DeliveryTracker::expected_retractions)
    }

    /// Queues what time alone changed, and drops what was held for too long.
    pub fn sweep_due_rows(&mut self, outbox: &mut Outbox) {
        let Pipeline { lane, state } = self;
        if let Some(deliveries) = &mut state.deliveries {
            deliveries.sweep_due_rows(&mut state.batch.open(lane, outbox));
        }
    }

    /// Whether a national number of a record's patron is known, so that its outputs are inspected
    /// for it.
    pub fn knows_national_number(&mut self, input: &Input<'_>) -> bool {
        let Pipeline { lane, state } = self;
        let Some(source) = lane.source(input.source) else {
            return false;
        };
        let Ok(ReadMessage::Record(read)) = state.read_message(lane, input, source) else {
            return false;
        };
        let ReadRecord { text, input, .. } = &read;
        let message = MessageRef { lane, source, input };
        let patron = find_record_patron(&state.batch.table, message);
        let record = state.records[usize::from(input.source.0)].view(text);
        state.observations.collect_national_numbers(source, record, patron.row());
        !state.observations.national_numbers.is_empty()
    }

    /// Explains how one record is decided for one recipient of its source, without any effect.
    /// `patron_record` is the last record of its patron, which a recipient needs that shows what
    /// the record demands of it.
    pub fn explain(
        &mut self,
        input: &Input<'_>,
        patron_record: Option<&Input<'_>>,
        recipient: usize,
    ) -> Option<Explanation> {
        let explained = ExplainedVersion { recipient, is_gone_since: false, named_patron: None };
        self.explain_with_patron(input, patron_record, explained)
    }

    /// The ids of the patrons that grants of a record's patron name for a recipient, in force or
    /// not: [`explain_for_named_patron`](Self::explain_for_named_patron) says which are.
    #[must_use]
    pub fn named_patrons(&self, input: &Input<'_>, recipient: usize) -> Vec<String> {
        let consents = message_key_text(input)
            .and_then(|id| self.state.batch.consent_table.find(input.partition, id));
        let program = self.lane.recipients.get(recipient);
        let purpose = program.and_then(|program| program.gates.named_patron_purpose());
        let named =
            consents.zip(purpose).map(|(consents, purpose)| consents.named_patrons(purpose));
        named.into_iter().flatten().map(|patron| patron.id.to_owned()).collect()
    }

    /// As [`explain`](Self::explain), for one of those patrons.
    pub fn explain_for_named_patron(
        &mut self,
        input: &Input<'_>,
        recipient: usize,
        named_patron: &str,
    ) -> Option<Explanation> {
        let named_patron = Some(named_patron);
        let explained = ExplainedVersion { recipient, is_gone_since: false, named_patron };
        self.explain_with_patron(input, None, explained)
    }

    /// Explains a record that is gone, by its last version before.
    pub fn explain_gone(
        &mut self,
        input: &Input<'_>,
        patron_record: Option<&Input<'_>>,
        recipient: usize,
    ) -> Option<Explanation> {
        let explained = ExplainedVersion { recipient, is_gone_since: true, named_patron: None };
        self.explain_with_patron(input, patron_record, explained)
    }

    fn explain_with_patron(
        &mut self,
        input: &Input<'_>,
        patron_record: Option<&Input<'_>>,
        explained: ExplainedVersion<'_>,
    ) -> Option<Explanation> {
        let lane = Arc::clone(&self.lane);
        self.state.read_patron_record(&lane, patron_record);
        let explanation = self.explain_version(input, explained);
        self.state.patron_reads.end();
        explanation
    }

    fn explain_version(
        &mut self,
        input: &Input<'_>,
        explained: ExplainedVersion<'_>,
    ) -> Option<Explanation> {
        let ExplainedVersion { recipient, is_gone_since, named_patron } = explained;
        let Pipeline { lane, state } = self;
        let source = lane.source(input.source)?;
        let program = lane.recipients.get(recipient)?;
        let read = match state.read_message(lane, input, source) {
            Err(reason) | Ok(ReadMessage::Record(ReadRecord { forbidden: Some(reason), .. })) => {
                return Some(Explanation::without_gates(reason));
            }
            Ok(ReadMessage::Erasure) => {
                return Some(Explanation::without_gates(Reason::PatronErased));
            }
            Ok(ReadMessage::Record(read)) => read,
        };
        let ReadRecord { text, input, .. } = &read;
        if let Err(reason) = state.parse_statement(MessageRef { lane, source, input }, text) {
            return Some(Explanation::without_gates(reason));
        }
        let message = MessageRef { lane, source, input };
        let patron = match program.ignores_patron {
            true => RecordPatron::NotJoined,
            false if state.is_before_erasure(source, input) => RecordPatron::BeforeErasure,
            false => find_record_patron(&state.batch.table, message),
        };
        if matches!(patron, RecordPatron::Erased | RecordPatron::BeforeErasure) {
            return Some(Explanation::without_gates(Reason::PatronErased));
        }
        let record = state.records[usize::from(input.source.0)].view(text);
        state.observations.collect_national_numbers(source, record, patron.row());
        state.observations.shared_test_results.clear();
        let presence = RecordPresence::of_record(source, record);
        let presence = match (presence, is_gone_since) {
            (RecordPresence::Present, true) => RecordPresence::GoneReread,
            (presence, _) => presence,
        };
        if let Some(refusal) = presence.refusal(program) {
            return Some(Explanation::without_gates(refusal.reason));
        }
        let context = RecordContext {
            message,
            trigger: Trigger::Arrival,
            patron,
            presence,
            history: None,
            recipients: &source.recipient_indices,
        };
        let facts = state.observations.facts(state.batch.view(lane), &context, record);
        let patron_record = state.patron_reads.view();
        let purpose = program.gates.named_patron_purpose();
        let named = facts.patron_consents.zip(purpose);
        let named =
            named.into_iter().flat_map(|(consents, purpose)| consents.named_patrons(purpose));
        let named_patron =
            named_patron.and_then(|id| named.into_iter().find(|patron| patron.id == id));
        let facts = Facts { has_suspect_copies: true, patron_record, named_patron, ..facts };
        let facts = facts.restrict_to_program(program).unwrap_or(facts);
        if matches!(patron, RecordPatron::Unknown) {
            let refused = check_without_patron(&facts, source, program, &mut { i64::MAX });
            let reason = refused.err().map_or(Reason::PatronUnknown, |refusal| refusal.reason);
            return Some(Explanation::without_gates(reason));
        }
        let explained = ExplainedRecord { source, program, is_gone: is_gone_since };
        Some(explain_record(&facts, explained, state.decider.projector_mut()))
    }
}

impl PipelineState {
    /// All that is changed within batches.
    fn stores(&mut self) -> impl Iterator<Item = &mut dyn Transactional> {
        let BatchState { table, consent_table, record_table, .. } = &mut self.batch;
        let tables: [&mut dyn Transactional; 3] = [table, consent_table, record_table];
        let deliveries = self.deliveries.as_mut().map(|store| store as &mut dyn Transactional);
        tables.into_iter().chain(deliveries)
    }

    /// Whether a record is from before the last erasure of its patron, or nothing is known of the
    /// patron since.
    fn is_before_erasure(&self, source: &LaneSource, input: &Input<'_>) -> bool {
        let last_erasure = |id| {
            let last_erasure = self.deliveries.as_ref()?.last_erasure(input.partition, id)?;
            Some((last_erasure, self.batch.table.find(input.partition, id).is_none()))
        };
        let last_erasure = message_key_text(input).and_then(last_erasure);
        last_erasure.is_some_and(|(last_erasure, is_unknown)| match source.kind.role {
            Role::Patron => input.offset < last_erasure.offset,
            _ => is_unknown || !last_erasure.precedes(input.append_time),
        })
    }

    /// Forgets what is of the batch and its records alone.
    fn end_batch(&mut self) {
        self.unreadable_records.clear();
        self.batch.tally.clear();
        self.batch.ledger_lines.clear();
        self.clear_record_buffers();
    }

    /// Empties the buffers of the record at hand: they hold values of it.
    fn clear_record_buffers(&mut self) {
        self.records.iter_mut().for_each(Record::clear_values);
        self.row_writer.clear();
        self.decider.projector_mut().clear_buffers();
        self.observations.national_numbers.clear();
        self.detector_buffers.clear();
    }

    /// Drops the ids of erased patrons beside their statements: of those that the batch changed,
    /// or of all of a partition.
    fn drop_ids_of_erased_patrons(&mut self, partition: Option<i32>) {
        let PipelineState { batch, deliveries, .. } = self;
        let BatchState { table, consent_table, .. } = batch;
        let is_unwanted = |partition: i32, id: &str, consents: &PatronConsents| {
            let last_erasure = || deliveries.as_ref()?.last_erasure(partition, id);
            match table.find(partition, id) {
                Some(status) => status == PatronStatus::Erased,
                // Its source has lost the null, and knows no patron since; or an unreadable record
                // names a patron of another partition, which may be erased there.
                None => consents.has_only_unreadable() || last_erasure().is_some(),
            }
        };
        match partition {
            Some(partition) => consent_table.drop_ids_of_partition(partition, is_unwanted),
            None => consent_table.drop_ids_in_batch(is_unwanted),
        }
    }

    /// The same beside what recipients have, after a batch.
    fn drop_erased_ids_of_rows(&mut self) {
        if let Some(deliveries) = &mut self.deliveries {
            deliveries.drop_erased_ids(&self.batch.table);
        }
    }

    /// Whether patron records are kept in memory.
    fn keeps_patron_rows(&self, lane: &Lane) -> bool {
        lane.has_joins || self.deliveries.is_some()
    }

    fn count_input(&mut self, source_index: usize, input: &Input<'_>) {
        let tally = &mut self.batch.tally.sources[source_index];
        tally.consumed += 1;
        tally.bytes += input.key.map_or(0, |key| key.len() as u64);
        if let Payload::Bytes(bytes) = input.payload {
            tally.bytes += bytes.len() as u64;
        }
        let is_unusable = input.trace_parent == Some(TraceParent::Unusable);
        tally.unusable_trace_parents += u64::from(is_unusable);
        self.batch.tally.written_ms.extend(input.timestamp_ms);
    }

    /// Reads a message into its source's record, and checks what holds for all recipients.
    fn read_message<'a>(
        &mut self,
        lane: &Lane,
        input: &Input<'a>,
        source: &LaneSource,
    ) -> Result<ReadMessage<'a>, Reason> {
        let bytes = match input.payload {
            Payload::Refused(reason) | Payload::RefusedBytes(reason, _) => return Err(reason),
            Payload::Bytes(bytes) if !is_json_null(bytes) => bytes,
            Payload::Null | Payload::Bytes(_) => {
                return match (source.kind.role, message_key_text(input)) {
                    (Role::Patron, _) if is_foreign_key(input) => Err(Reason::ForeignKey),
                    (Role::Patron, Some(_)) => Ok(ReadMessage::Erasure),
                    (Role::Patron, None) => Err(Reason::Miskeyed),
                    _ => Err(Reason::NullValue),
                };
            }
        };
        if source.kind.role == Role::Patron && is_foreign_key(input) {
            return Err(Reason::ForeignKey);
        }
        self.corrections = ValueCorrections::default();
        let record = &mut self.records[usize::from(input.source.0)];
        let text = record.read(bytes, &lane.limits)?;
        let has_unlisted_field = source.kind.is_closed && record.has_unlisted_field();
        let is_keyed_by_patron = match check_identifiers(source, record.view(text), input.key) {
            Err(reason) if !has_unlisted_field => return Err(reason),
            Ok(is_keyed_by_patron) if !has_unlisted_field || source.prohibitions.is_some() => {
                is_keyed_by_patron
            }
            _ => return Err(Reason::UnlistedField),
        };
        let buffers = &mut self.detector_buffers;
        let forbidden = source.prohibitions.as_ref().and_then(|prohibitions| {
            prohibitions.find(record.view(text), (input.key, has_unlisted_field), buffers)
        });
        self.corrections = derive_slots(record, text, source);
        for fact in &source.word_facts {
            let found = record.view(text).text(fact.text_slot);
            let has_words = found.is_some_and(|found| fact.words.occurs_in(buffers, found));
            record.set_derived(fact.fact_slot, ValueSlot::boolean(has_words));
        }
        let key = input.key.filter(|_| is_keyed_by_patron);
        let input = Input { key, ..*input };
        Ok(ReadMessage::Record(ReadRecord { text, input, forbidden }))
    }

    /// Makes the row of the patron record that was just read.
    fn build_patron_row(&mut self, message: MessageRef<'_>, text: &str, id: &str) -> PatronRow {
        let MessageRef { lane, source, input } = message;
        let record = self.records[usize::from(input.source.0)].view(text);
        let national = source
            .card_fact
            .filter(|card| record.slot(card.fact_slot).state() == SlotState::True)
            .filter(|_| !lane.may_keep_national_cards());
        let dropped = national.map(|card| card.card_number);
        self.observations.collect_national_numbers(source, record, None);
        let sensitive = SensitiveValues {
            dropped_slots: dropped.as_slice(),
            national_slots: &source.all_national_slots,
            national_numbers: Some(&self.observations.national_numbers),
        };
        self.row_writer.build_row(&lane.row_layout, record, &sensitive, id, input.offset)
    }

    /// Parses a consent or an objection; `None` if the source has neither.
    fn parse_statement(
        &self,
        message: MessageRef<'_>,
        text: &str,
    ) -> Result<Option<ParsedStatement>, Reason> {
        let MessageRef { lane, source, input } = message;
        let Some(fields) = &source.statement_fields else {
            return Ok(None);
        };
        let record = self.records[usize::from(input.source.0)].view(text);
        let library = source.library_slot.and_then(|slot| record.text(slot));
        let id = self.record_id_hash(source, record).unwrap_or_default();
        let id_and_library = (id, library.unwrap_or_default());
        fields.parse(&lane.statement_names, record, id_and_library).map(Some)
    }

    /// Hashes the record's own id; `None` if it cannot be read.
    fn record_id_hash(&self, source: &LaneSource, record: RecordView<'_>) -> Option<u64> {
        let id = source.record_id_slot.and_then(|slot| record.text(slot));
        id.map(|id| self.record_id_hasher.hash_one(id))
    }

    /// Returns what an unreadable consent or objection is taken for, and the patrons that it names;
    /// `None` if it can stop nothing.
    fn interpret_unreadable(
        &self,
        message: MessageRef<'_>,
        reason: Reason,
    ) -> Option<(GateEvent, Vec<String>)> {
        let MessageRef { lane, source, input } = message;
        let fields = source.statement_fields.as_ref()?;
        // The last version of a settlement that can be read stays in force.
        if fields.topic() == GateTopic::Settlement || self.is_unreadable_accepted(message) {
            return None;
        }
        let bytes = match input.payload {
            Payload::Bytes(bytes) | Payload::RefusedBytes(_, bytes) => bytes,
            Payload::Null | Payload::Refused(_) => &[],
        };
        let mut patrons = named_patron_ids(input.key, bytes);
        if reason == Reason::NullValue {
            // An objection is not withdrawn by a null.
            let ends_grants = fields.topic() == GateTopic::Consent;
            return ends_grants.then_some((GateEvent::EndGrants, patrons));
        }
        let mut id = None;
        let mut scope = Some(UnreadableScope::WILDCARD);
        if has_readable_fields(reason)
            && let Ok(text) = std::str::from_utf8(bytes)
        {
            let record = self.records[usize::from(source.index)].view(text);
            id = self.record_id_hash(source, record);
            scope = fields.unreadable_scope(&lane.statement_names, record);
            let named = source.patron_id_slot.and_then(|slot| record.text(slot));
            if let Some(named) = named.filter(|named| !patrons.iter().any(|one| one == named)) {
                patrons.push(named.to_owned());
            }
        }
        Some((GateEvent::Unreadable(fields.topic(), id, scope?), patrons))
    }

    /// Whether an operator accepted that a record cannot be read: it has no effect then.
    fn is_unreadable_accepted(&self, message: MessageRef<'_>) -> bool {
        let finding =
            DeliveryTracker::unreadable_record_finding(&message.source.topic, message.input);
        let deliveries = self.deliveries.as_ref();
        deliveries.is_some_and(|deliveries| deliveries.is_accepted(message.lane, &finding))
    }

    /// Why the lane stops for a record that cannot be read.
    fn format_stop_message(&self, message: MessageRef<'_>, problem: &str) -> String {
        let MessageRef { lane, source, input } = message;
        let (topic, partition, offset) = (&source.topic, input.partition, input.offset);
        let finding = DeliveryTracker::unreadable_record_finding(topic, input);
        let code =
            self.deliveries.as_ref().map(|deliveries| deliveries.acceptance_code(lane, &finding));
        let accept = code.map_or_else(String::new, |code| {
            format!("; to accept that it counts for nothing: zeef accept {code} --reason ...")
        });
        format!(
            "{topic} partition {partition} offset {offset}: a record that cannot be read {problem}, and may stop what is released of any{accept}"
        )
    }

    /// Stops the lane because of an unreadable record that names no patron.
    fn request_stop(&mut self, message: MessageRef<'_>, reason: Reason) {
        let text = self.format_stop_message(message, &format!("({reason}) names no patron"));
        self.stop_message.get_or_insert(text);
    }

    /// Adds an unreadable record, with the patrons that it names.
    fn add_unreadable_record(&mut self, message: MessageRef<'_>, patrons: Vec<String>) {
        let stop = self.format_stop_message(message, "names a patron of another partition");
        self.unreadable_records.push(UnreadableRecord {
            coordinates: input_coordinates(message.input),
            patron_ids: patrons,
            stop_message: stop,
        });
    }

    /// Applies a consent or an objection outside of any batch.
    fn restore_statement(
        &mut self,
        message: MessageRef<'_>,
        outcome: Result<ReadMessage<'_>, Reason>,
    ) {
        let read = outcome.and_then(|read| match read {
            ReadMessage::Record(record) => self.parse_statement(message, record.text),
            ReadMessage::Erasure => Ok(None),
        });
        match read {
            Ok(parsed) => {
                if let Some((parsed, id)) = parsed.zip(message.patron_id()) {
                    let statement = self.make_statement(message.input, id, parsed.event);
                    self.batch.consent_table.restore(statement);
                }
            }
            Err(reason) => {
                let Some((event, patrons)) = self.interpret_unreadable(message, reason) else {
                    return;
                };
                if patrons.is_empty() {
                    self.request_stop(message, reason);
                }
                for patron in &patrons {
                    let statement = self.make_statement(message.input, patron, event.clone());
                    self.batch.consent_table.restore(statement);
                }
                self.add_unreadable_record(message, patrons);
            }
        }
    }

    /// A consent or an objection that cannot be read: stops what it may be about.
    fn apply_unreadable_statement(
        &mut self,
        message: MessageRef<'_>,
        reason: Reason,
        outbox: &mut Outbox,
    ) {
        let Some((event, patrons)) = self.interpret_unreadable(message, reason) else {
            return;
        };
        if patrons.is_empty() {
            return self.request_stop(message, reason);
        }
        for patron in &patrons {
            let statement = self.make_statement(message.input, patron, event.clone());
            if self.batch.consent_table.apply_in_batch(statement) {
                self.recheck_patron(message, patron, outbox);
            }
        }
        self.add_unreadable_record(message, patrons);
    }

    /// Applies a consent or an objection, and decides it if it has recipients.
    fn apply_statement(
        &mut self,
        message: MessageRef<'_>,
        record: ReadRecord<'_>,
        outbox: &mut Outbox,
    ) {
        let parsed = match self.parse_statement(message, record.text) {
            Ok(parsed) => parsed,
            Err(reason) => return self.refuse_record(message, reason, outbox),
        };
        if let (Some(parsed), Some(id)) = (parsed, message.patron_id()) {
            self.count_ignored_statement(message, &parsed, id);
            let is_grant = parsed.event.is_grant();
            let statement = self.make_statement(message.input, id, parsed.event);
            let StatementTiming { appended, last_erasure } = statement.timing;
            let is_before_erasure =
                last_erasure.is_some_and(|last_erasure| !last_erasure.precedes(appended));
            let counts = &mut self.batch.tally.sources[usize::from(message.source.index)];
            counts.from_before_erasure += u64::from(is_before_erasure && is_grant);
            if self.batch.consent_table.apply_in_batch(statement) {
                self.recheck_patron(message, id, outbox);
            }
        }
        if message.source.recipient_indices.is_empty() {
            self.count_gate_record(message);
        } else {
            let MessageRef { lane, source, .. } = message;
            self.decide_record((lane, source), record, Trigger::Arrival, outbox);
        }
    }

    /// Counts a statement that has no effect, or not all of it.
    fn count_ignored_statement(
        &mut self,
        message: MessageRef<'_>,
        statement: &ParsedStatement,
        id: &str,
    ) {
        let ignored = statement.ignored.or_else(|| {
            let GateEvent::Consent(_, Some(consent)) = &statement.event else {
                return None;
            };
            let known = self.batch.table.find(message.input.partition, id);
            let patron_library =
                known.and_then(PatronStatus::row)?.value(ROW_LIBRARY_SLOT).as_text()?;
            let grants = consent.decision != ConsentDecision::Refusal;
            let counts =
                message.lane.library_successors.accepts_grant(patron_library, &consent.library);
            (grants && !counts).then_some(IgnoredReason::OtherLibrary)
        });
        if let Some(ignored) = ignored {
            let source = usize::from(message.input.source.0);
            self.batch.tally.sources[source].ignored_statements[ignored as usize] += 1;
        }
    }

    /// A statement or an erasure changed something for a patron.
    fn recheck_patron(&mut self, message: MessageRef<'_>, id: &str, outbox: &mut Outbox) {
        if let Some(deliveries) = &mut self.deliveries {
            let patron = deliveries.patron_ref(message.input.partition, id);
            deliveries.recheck_patron(&mut self.batch.open(message.lane, outbox), patron);
        }
    }

    /// Refuses a record whole: it becomes a dead letter that no recipient sees.
    fn refuse_record(&mut self, message: MessageRef<'_>, reason: Reason, outbox: &mut Outbox) {
        let MessageRef { source, input, .. } = message;
        self.batch.tally.sources[usize::from(input.source.0)].refused[reason as usize] += 1;
        for &recipient in &source.recipient_indices {
            self.batch.tally.recipients[recipient].refused += 1;
        }
        let mut batch = self.batch.open(message.lane, outbox);
        let position = message.position(Trigger::Arrival);
        batch.write_dead_letter(position, reason, DeadLetterScope::default());
        if reason == Reason::ForeignKey {
            let coordinates = input_coordinates(input);
            return self.batch.tally.warn(WarningKind::ForeignKey, coordinates);
        }
        // The worker handles it in the partition of the patron that it names.
        if reason == Reason::Misplaced {
            return;
        }
        // Fail closed: nothing may be decided by the version before it.
        match (source.kind.role, message_key_text(input)) {
            (Role::Patron, Some(id)) if self.keeps_patron_rows(message.lane) => {
                let row = PatronRow::unreadable(id, input.offset);
                self.batch.table.put(input.partition, row);
                self.recheck_patron(message, id, outbox);
            }
            (Role::Gate, _) => self.apply_unreadable_statement(message, reason, outbox),
            _ => {}
        }
    }

    /// Erases a patron: a null on the patron source.
    fn erase_patron(&mut self, message: MessageRef<'_>, outbox: &mut Outbox) {
        let input = message.input;
        let Some(id) = message.patron_id() else {
            return;
        };
        if self.keeps_patron_rows(message.lane) {
            self.count_unmatched_erasure(input, id);
            let row = self.make_erased_row(input, id);
            self.batch.table.put(input.partition, row);
        }
        let newest = self.batch.table.patron_offset(input.partition, id);
        let is_newest = newest == Some(input.offset);
        let Some(deliveries) = &mut self.deliveries else {
            // Whatever was granted so far was granted before.
            let erasure = LastErasure::AFTER_EVERYTHING;
            self.batch.consent_table.drop_grants_before(input.partition, id, erasure);
            self.batch.record_table.drop_before(input.partition, id, erasure);
            return self.finish_erasure(message, outbox);
        };
        let patron = deliveries.patron_ref(input.partition, id);
        if let Some(last_erasure) = deliveries.record_erasure(message, patron, outbox) {
            self.batch.consent_table.drop_grants_before(input.partition, id, last_erasure);
            self.batch.record_table.drop_before(input.partition, id, last_erasure);
        }
        let mut batch = self.batch.open(message.lane, outbox);
        if is_newest {
            deliveries.erase_patron(&mut batch, message, patron);
            self.count_gate_record(message);
        } else {
            // A rebuild has already read who has the id now.
            deliveries.recheck_patron(&mut batch, patron);
            deliveries.recheck_all_records(message.lane, patron);
            self.finish_erasure(message, outbox);
        }
    }

    /// Counts an erasure that takes nothing from recipients.
    fn finish_erasure(&mut self, message: MessageRef<'_>, outbox: &mut Outbox) {
        let mut batch = self.batch.open(message.lane, outbox);
        batch.apply_to_all(message, Effect::Withhold(Reason::PatronErased));
        self.count_gate_record(message);
    }

    /// Counts a record whose source has no recipients.
    fn count_gate_record(&mut self, message: MessageRef<'_>) {
        if message.source.recipient_indices.is_empty() {
            self.batch.tally.sources[usize::from(message.source.index)].gate_records += 1;
        }
    }

    /// Keeps a record that arrived for the summaries of its patron.
    fn keep_record(&mut self, (lane, source): (&Lane, &LaneSource), record: &ReadRecord<'_>) {
        let message = MessageRef { lane, source, input: &record.input };
        let Some(change) = self.make_record_change(message, record) else {
            return;
        };
        let patron = (change.partition, change.patron_id);
        let is_changed = self.batch.record_table.apply_in_batch(change);
        if is_changed && self.deliveries.is_some() {
            self.changed_patrons.insert((patron.0, patron.1.into()));
        }
    }

    /// What a version of a record changes for the summaries of its patron. One from before an
    /// erasure, one that is gone or must not exist, and one that no summary may count, is not kept.
    fn make_record_change<'a>(
        &mut self,
        message: MessageRef<'a>,
        ReadRecord { text, forbidden, .. }: &ReadRecord<'_>,
    ) -> Option<RecordChange<'a>> {
        let MessageRef { lane, source, input } = message;
        let (layout, patron_id) = source.kept_layout.as_ref().zip(message.patron_id())?;
        let Input { partition, offset, append_time: appended, .. } = *input;
        let deliveries = self.deliveries.as_ref();
        let last_erasure =
            deliveries.and_then(|deliveries| deliveries.last_erasure(partition, patron_id));
        let record = self.records[usize::from(source.index)].view(text);
        let (_, record_id) = source.record_identity(record, input)?;
        let record_id: Box<str> = record_id.into();
        let sensitive = SensitiveValues::default();
        let row = self.row_writer.build_row(layout, record, &sensitive, &record_id, offset);
        let counts = last_erasure.is_none_or(|last| last.precedes(appended))
            && forbidden.is_none()
            && RecordPresence::of_record(source, record) != RecordPresence::Gone
            && lane.may_summarise(source, &row);
        let kept = counts.then_some(KeptRecord { source: source.index, appended, row });
        Some(RecordChange {
            partition,
            offset,
            source: source.index,
            patron_id,
            record_id,
            record: kept,
        })
    }

    /// Makes the row of an erased patron, which says whether it was ever known.
    fn make_erased_row(&self, input: &Input<'_>, id: &str) -> PatronRow {
        match self.batch.table.was_ever_known(input.partition, id) {
            true => PatronRow::erased(id, input.offset),
            false => PatronRow::erased_never_known(id, input.offset),
        }
    }

    /// Counts a null for a patron of whom nothing is known, now and when it was read first.
    fn count_unmatched_erasure(&mut self, input: &Input<'_>, id: &str) {
        let partition = input.partition;
        let has_newer_record = self.batch.table.patron_offset(partition, id) > Some(input.offset);
        let has_statements = || self.batch.consent_table.find(partition, id).is_some();
        if has_newer_record || self.batch.table.was_ever_known(partition, id) || has_statements() {
            return;
        }
        if let Some(deliveries) = &mut self.deliveries {
            let last_erasure = deliveries.last_erasure(partition, id);
            let has_earlier_erasure =
                last_erasure.is_some_and(|last_erasure| last_erasure.offset != input.offset);
            if has_earlier_erasure || deliveries.has_patron_rows(partition, id) {
                return;
            }
        }
        self.batch.tally.sources[usize::from(input.source.0)].unmatched_erasures += 1;
        self.batch.tally.warn(WarningKind::ErasureUnmatched, input_coordinates(input));
    }

    /// What a gate record says of a patron that it names.
    fn make_statement<'a>(
        &self,
        input: &Input<'_>,
        patron_id: &'a str,
        event: GateEvent,
    ) -> GateStatement<'a> {
        let Input { partition, offset, append_time, .. } = *input;
        let deliveries = self.deliveries.as_ref();
        let last_erasure =
            deliveries.and_then(|deliveries| deliveries.last_erasure(partition, patron_id));
        let timing = StatementTiming { appended: append_time, last_erasure };
        GateStatement { partition, offset, patron_id, event, timing }
    }

    /// Whether a record that was read again is the requested one.
    fn is_requested_recheck(
        &self,
        source: &LaneSource,
        coordinates: Coordinates,
        ReadRecord { text, input, .. }: ReadRecord<'_>,
    ) -> bool {
        let record = self.records[usize::from(source.index)].view(text);
        let deliveries = self.deliveries.as_ref();
        let deliveries = deliveries.zip(source.record_identity(record, &input));
        deliveries.is_some_and(|(deliveries, key)| {
            deliveries.is_requested_recheck(source, coordinates, key)
        })
    }

    /// Decides a record for every recipient of its source.
    fn decide_record(
        &mut self,
        (lane, source): (&Lane, &LaneSource),
        ReadRecord { text, input, forbidden }: ReadRecord<'_>,
        trigger: Trigger,
        outbox: &mut Outbox,
    ) {
        let message = MessageRef { lane, source, input: &input };
        if source.reads_patron_records
            && forbidden.is_none()
            && self.waits_for_patron_record(message, trigger)
        {
            return;
        }
        if let Some(reason) = forbidden.filter(|_| trigger == Trigger::Arrival) {
            self.report_forbidden(message, reason, outbox);
        }
        let is_newest = trigger == Trigger::Arrival && self.put_patron_row(message, text);
        self.count_gate_record(message);
        let Some(presence) = self.begin_record(message, text, trigger) else {
            let mut batch = self.batch.open(lane, outbox);
            return batch.apply_to_all(message, Effect::Unchanged);
        };
        let lost_patron = self.find_lost_patron(message, trigger, is_newest);
        let PipelineState {
            records, decider, observations, deliveries, batch, patron_reads, ..
        } = self;
        let mut batch = batch.open(lane, outbox);
        let mut deliveries = deliveries.as_mut();
        let record = records[usize::from(input.source.0)].view(text);
        let record_alone = RecordContext {
            message,
            trigger,
            patron: match forbidden {
                Some(reason) => RecordPatron::Forbidden(reason),
                None => {
                    lost_patron.unwrap_or_else(|| find_record_patron(batch.view.table, message))
                }
            },
            presence,
            history: None,
            recipients: &source.recipient_indices,
        };
        observations.observe(source, record, record_alone.patron.row());
        let mut facts = observations.facts(batch.view, &record_alone, record);
        facts.patron_record = patron_reads.view();
        let history = deliveries.as_deref().map(|deliveries| {
            let history = deliveries.history(batch.now.ms());
            RecordHistory { asks_all: history.asks_all || patron_reads.asks_all(), ..history }
        });
        decider.decide(&mut batch, &RecordContext { history, ..record_alone }, &facts);
        if let Some(deliveries) = deliveries.as_deref_mut() {
            deliveries.finish_record(&mut batch, message, &mut decider.decided);
            if source.kind.role == Role::Patron
                && trigger == Trigger::Arrival
                && let Some(id) = message.patron_id()
            {
                deliveries.recheck_other_records(batch.view, id);
            }
        }
        let has_named = deliveries.as_deref().is_some_and(|one| one.has_named_patrons(source));
        if !source.named_patron_recipients.is_empty() || has_named {
            let deciders = NamedPatronDeciders { decider, deliveries };
            deciders.decide(&mut batch, &record_alone, &facts);
        }
    }

    /// Counts a record that must not exist, and writes its dead letter.
    #[cold]
    fn report_forbidden(&mut self, message: MessageRef<'_>, reason: Reason, outbox: &mut Outbox) {
        let source = usize::from(message.input.source.0);
        self.batch.tally.sources[source].refused[reason as usize] += 1;
        let position = message.position(Trigger::Arrival);
        let mut batch = self.batch.open(message.lane, outbox);
        batch.write_dead_letter(position, reason, DeadLetterScope::default());
    }

    /// Lets a record wait for its patron's record, if its patron is known. Returns whether it
    /// does.
    #[cold]
    fn waits_for_patron_record(&mut self, message: MessageRef<'_>, trigger: Trigger) -> bool {
        let patron = find_record_patron(&self.batch.table, message);
        if self.patron_reads.is_deciding() || !matches!(patron, RecordPatron::Known(_)) {
            return false;
        }
        let deliveries = self.deliveries.as_ref();
        let asks_all = deliveries.is_some_and(DeliveryTracker::is_reevaluating);
        self.patron_reads.push(message.input, trigger, asks_all)
    }

    /// Returns where the patrons' records lie that records wait for. Decides those whose patron is
    /// no longer known.
    fn request_patron_records(&mut self, lane: &Lane, outbox: &mut Outbox) -> Vec<Coordinates> {
        let patron_source = lane.patron_source_index().and_then(|index| u16::try_from(index).ok());
        let table = &self.batch.table;
        let wanted = self.patron_reads.request(
            SourceId(patron_source.unwrap_or(u16::MAX)),
            |partition, id| {
                let row = table.find(partition, id).and_then(PatronStatus::row);
                row.map(PatronRow::offset)
            },
        );
        let without_patron = self.patron_reads.take(None);
        self.decide_waited(lane, without_patron, outbox);
        wanted
    }

    /// Decides the records that waited for the patron's record at these coordinates. `input` is
    /// `None` if its source no longer has it.
    fn decide_waiting_records(
        &mut self,
        lane: &Lane,
        (at, input): (Coordinates, Option<&Input<'_>>),
        outbox: &mut Outbox,
    ) {
        let waited = self.patron_reads.take(Some(at));
        let is_of_patron = |input: &&Input<'_>| {
            waited.first().is_some_and(|first| {
                input.key.is_some_and(|key| bytes_equal(key, first.patron_id().as_bytes()))
            })
        };
        self.read_patron_record(lane, input.filter(is_of_patron));
        self.decide_waited(lane, waited, outbox);
    }

    fn decide_waited(&mut self, lane: &Lane, waited: Vec<WaitingRecord>, outbox: &mut Outbox) {
        for record in waited {
            let input = record.to_input();
            if let Some(source) = lane.source(input.source)
                && let Ok(ReadMessage::Record(read)) = self.read_message(lane, &input, source)
            {
                self.patron_reads.begin(&record);
                self.decide_record((lane, source), read, record.trigger, outbox);
            }
        }
        self.patron_reads.end();
    }

    fn read_patron_record(&mut self, lane: &Lane, input: Option<&Input<'_>>) {
        self.patron_reads.read(lane, input, |record, text, reader| {
            derive_slots(record, text, &reader.source);
        });
    }

    /// Puts what is kept of a patron record into the table, unless it has a later one.
    /// Returns whether it did.
    fn put_patron_row(&mut self, message: MessageRef<'_>, text: &str) -> bool {
        let MessageRef { lane, source, input } = message;
        let Some(id) = message.patron_id().filter(|_| source.kind.role == Role::Patron) else {
            return false;
        };
        // A rebuild may have read further already.
        let is_newest = self.keeps_patron_rows(lane)
            && self.batch.table.patron_offset(input.partition, id) < Some(input.offset);
        if is_newest {
            let row = self.build_patron_row(message, text, id);
            self.batch.table.put(input.partition, row);
        }
        is_newest
    }

    /// Begins to decide a record. Returns whether it is there; `None` if a later version of it
    /// was decided.
    fn begin_record(
        &mut self,
        message: MessageRef<'_>,
        text: &str,
        trigger: Trigger,
    ) -> Option<RecordPresence> {
        let MessageRef { source, input, .. } = message;
        let record = self.records[usize::from(input.source.0)].view(text);
        let presence = RecordPresence::of_record(source, record);
        match self.deliveries.as_mut() {
            Some(deliveries) => {
                let (_, record_id) = source.record_identity(record, input).unwrap_or_default();
                deliveries.begin_record(message, record_id, (trigger, presence))
            }
            None => Some(presence),
        }
    }

    /// Returns how the patron of the record at hand was lost if an erasure is between
    /// them; `None` if not.
    fn find_lost_patron(
        &mut self,
        message: MessageRef<'_>,
        trigger: Trigger,
        is_newest: bool,
    ) -> Option<RecordPatron<'static>> {
        let MessageRef { source, input, .. } = message;
        let is_patron = source.kind.role == Role::Patron;
        let (deliveries, id) = self.deliveries.as_ref().zip(message.patron_id())?;
        let find_patron = || self.batch.table.find(input.partition, id);
        if let Some(last_erasure) = deliveries.last_erasure_of_current() {
            let is_before_erasure = match is_patron {
                true => input.offset < last_erasure.offset,
                false => !last_erasure.precedes(input.append_time),
            };
            if is_before_erasure {
                let is_known_again = matches!(find_patron(), Some(PatronStatus::Known(_)))
                    && trigger == Trigger::Arrival;
                self.batch.tally.sources[usize::from(input.source.0)].from_before_erasure +=
                    u64::from(is_known_again);
                return Some(RecordPatron::BeforeErasure);
            }
            if !is_patron && find_patron().is_none() {
                // Its source has lost the null, and knows no patron since.
                return Some(RecordPatron::Erased);
            }
        }
        // An older record of a patron that was erased since.
        let is_erased_since =
            is_patron && !is_newest && find_patron() == Some(PatronStatus::Erased);
        let is_lost =
            is_erased_since || deliveries.is_patron_lost((message.lane, &self.batch.table), id);
        is_lost.then_some(RecordPatron::Erased)
    }
}

/// What is explained of a version of a record.
#[derive(Clone, Copy)]
struct ExplainedVersion<'a> {
    recipient: usize,
    /// A later version says that the record is gone.
    is_gone_since: bool,
    /// The patron that a grant names, for whom it is explained.
    named_patron: Option<&'a str>,
}

/// Decides the patron's record at hand once more for each patron that a grant of it names.
struct NamedPatronDeciders<'a> {
    decider: &'a mut Decider,
    /// `None` if nothing is remembered of what was sent.
    deliveries: Option<&'a mut DeliveryTracker>,
}

impl NamedPatronDeciders<'_> {
    fn decide(mut self, batch: &mut Batch<'_>, own: &RecordContext<'_>, facts: &Facts<'_>) {
        let source = own.message.source;
        let named = find_named_patrons(own.message, facts);
        let mut gone = match &mut self.deliveries {
            Some(deliveries) => deliveries.named_patron_rows().collect(),
            None => Vec::new(),
        };
        let trigger = match own.trigger {
            Trigger::Arrival => Trigger::NamedPatron,
            other => other,
        };
        let mut due_ms = i64::MAX;
        for patron in named {
            let message = own.message;
            if let Some(deliveries) = &mut self.deliveries {
                let key = deliveries.begin_named_patron(patron.id, trigger);
                gone.retain(|one| *one != key);
            }
            let history = self.deliveries.as_deref().map(|deliveries| RecordHistory {
                asks_all: true,
                ..deliveries.history(batch.now.ms())
            });
            let recipients = &source.named_patron_recipients;
            let context = RecordContext { message, trigger, history, recipients, ..*own };
            let facts = Facts { named_patron: Some(patron), ..*facts };
            self.decider.decide(batch, &context, &facts);
            due_ms = due_ms.min(self.decider.decided.refusal_due_ms());
            if let Some(deliveries) = &mut self.deliveries {
                deliveries.finish_named_patron(batch, message, &mut self.decider.decided);
            }
        }
        if let Some(deliveries) = self.deliveries {
            deliveries.retract_unnamed_patrons(batch, &gone);
            deliveries.lower_recheck_due_of_patron(batch, due_ms);
        }
    }
}

/// Returns the patrons that grants of the record's patron name for some recipient of it.
fn find_named_patrons<'a>(message: MessageRef<'_>, facts: &Facts<'a>) -> Vec<NamedPatron<'a>> {
    let Some(consents) = facts.patron_consents else {
        return Vec::new();
    };
    let recipients = message.source.named_patron_recipients.iter();
    let programs = recipients.filter_map(|one| message.lane.recipients.get(*one));
    let purposes: BTreeSet<u16> =
        programs.filter_map(|program| program.gates.named_patron_purpose()).collect();
    let mut named: Vec<NamedPatron<'a>> =
        purposes.into_iter().flat_map(|purpose| consents.named_patrons(purpose)).collect();
    named.sort_unstable_by_key(|patron| patron.id);
    named.dedup();
    named
}

/// What is found out once about the record at hand, for all recipients.
#[derive(Debug, Default)]
struct RecordObservations {
    /// National numbers of its patron.
    national_numbers: PatronNationalNumbers,
    /// In the order of [`LaneSource::shared_tests`].
    shared_test_results: Vec<Result<(), Reason>>,
}

impl RecordObservations {
    fn observe(&mut self, source: &LaneSource, record: RecordView<'_>, row: Option<&PatronRow>) {
        self.collect_national_numbers(source, record, row);
        self.shared_test_results.clear();
        let tests = source.shared_tests.iter();
        self.shared_test_results
            .extend(tests.map(|(slot, test)| check_condition(record.value(*slot), test)));
    }

    fn collect_national_numbers(
        &mut self,
        source: &LaneSource,
        record: RecordView<'_>,
        row: Option<&PatronRow>,
    ) {
        self.national_numbers.collect_for_record(
            &source.national_number_slots,
            record,
            row.into_iter().flat_map(PatronRow::national_numbers),
        );
        // A card number is a national number, unless it is known to be none.
        if let Some(card) = source.card_fact
            && record.value(card.fact_slot) != FieldValue::Boolean(false)
        {
            let number = record.value(card.card_number);
            self.national_numbers.add(number, NationalNumberKind::Other);
        }
    }

    fn facts<'a>(
        &'a self,
        view: PatronView<'a>,
        context: &RecordContext<'a>,
        record: RecordView<'a>,
    ) -> Facts<'a> {
        let MessageRef { lane, source, .. } = context.message;
        let facts = Facts {
            lane,
            record,
            patron_row: context.patron.row(),
            patron_consents: find_patron_consents(view.consent_table, context.message),
            patron_records: find_patron_records(view, context.message),
            now_ms: view.now_ms,
            shared_test_results: &self.shared_test_results,
            is_active_member: false,
            national_numbers: Some(&self.national_numbers).filter(|numbers| !numbers.is_empty()),
            has_suspect_copies: false,
            hidden_slot: None,
            patron_record: None,
            named_patron: None,
        };
        facts.with_membership(source)
    }
}

/// How many values of a record were corrected.
#[derive(Clone, Copy, Debug, Default)]
struct ValueCorrections {
    /// Not on their list: they count as missing.
    unlisted_values: u64,
    /// Another country than the library's.
    country_mismatches: u64,
}

/// Removes values that are not on their list, and sets the country to the library's.
fn correct_values(record: &mut Record, text: &str, source: &LaneSource) -> ValueCorrections {
    let mut corrected = ValueCorrections::default();
    for (slot, values) in &source.allowed_values {
        let found = record.view(text).text(*slot);
        let listed = |found: &str| {
            let mut values = values.iter();
            values.any(|value| bytes_equal(value.as_bytes(), found.as_bytes()))
        };
        if found.is_some_and(|found| !listed(found)) {
            record.set_derived(*slot, ValueSlot::MISSING);
            corrected.unlisted_values += 1;
        }
    }
    if let Some((slot, library)) = source.country_and_library_slots {
        let reading = record.view(text);
        let library_country = reading.text(library).and_then(|isil| isil.get(..2));
        if let Some(own) = library_country.filter(|own| reading.text(slot) != Some(own)) {
            corrected.country_mismatches = u64::from(!reading.slot(slot).is_missing());
            // Copied: the library is in the record that is written to.
            let mut letters = [0; 2];
            letters.copy_from_slice(own.as_bytes());
            let country = std::str::from_utf8(&letters).unwrap_or_default();
            record.set_derived_text(slot, country);
        }
    }
    corrected
}

/// Fills the slots that are derived from others.
fn derive_slots(record: &mut Record, text: &str, source: &LaneSource) -> ValueCorrections {
    let corrected = correct_values(record, text, source);
    for validated in &source.validated_slots {
        let reading = record.view(text);
        let slot = match reading.value(validated.raw_slot) {
            FieldValue::Text { text, .. }
                if validated.form.is_some_and(|form| !form.matches(text)) =>
            {
                ValueSlot::MISSING
            }
            // It is searched for in outputs as it stands, but shown as a string only.
            FieldValue::Number(_) => ValueSlot::MALFORMED,
            _ => reading.slot(validated.raw_slot),
        };
        record.set_derived(validated.slot, slot);
    }
    if let Some(card) = source.card_fact {
        let reading = record.view(text);
        let number = reading.slot(card.card_number);
        let kind = reading.slot(card.card_kind);
        let national = reading.slot(card.national_number);
        let malformed = |slot: ValueSlot| slot.is_malformed() || slot.state() == SlotState::Number;
        let text = |slot| reading.text(slot);
        let is_belgian = source.library_slot.and_then(text);
        let is_belgian = is_belgian.is_some_and(|isil| isil.starts_with(BELGIUM_ISIL_PREFIX));
        let fact = if [number, kind, national].into_iter().any(malformed) {
            ValueSlot::MALFORMED
        } else if kind.is_missing() && national.is_missing() && !is_belgian {
            ValueSlot::boolean(false)
        } else {
            let (number, national) = (text(card.card_number), text(card.national_number));
            let is_national = text(card.card_kind) == Some("eid")
                || has_same_digits(number, national)
                || (is_belgian && number.is_some_and(is_national_number_card));
            ValueSlot::boolean(is_national)
        };
        record.set_derived(card.fact_slot, fact);
    }
    corrected
}

fn find_record_patron<'a>(table: &'a PatronTable, message: MessageRef<'_>) -> RecordPatron<'a> {
    let Some(id) = message.patron_id().filter(|_| message.source.kind.role != Role::Patron) else {
        return RecordPatron::NotJoined;
    };
    match table.find(message.input.partition, id) {
        Some(PatronStatus::Known(row)) => RecordPatron::Known(row),
        Some(PatronStatus::Erased) => RecordPatron::Erased,
        Some(PatronStatus::Unreadable) | None => RecordPatron::Unknown,
    }
}

/// Returns the consents and objections of the record's patron.
fn find_patron_consents<'a>(
    consent_table: &'a ConsentTable,
    message: MessageRef<'_>,
) -> Option<&'a PatronConsents> {
    if consent_table.is_empty() {
        return None;
    }
    consent_table.find(message.input.partition, message.patron_id()?)
}

/// Returns the kept records of the patron that the record is of.
#[inline]
fn find_patron_records<'a>(
    view: PatronView<'a>,
    message: MessageRef<'_>,
) -> Option<&'a PatronRecords> {
    if message.source.kind.role != Role::Patron || !view.lane.has_summaries {
        return None;
    }
    view.record_table.find(message.input.partition, message.patron_id()?)
}

enum ReadMessage<'a> {
    Record(ReadRecord<'a>),
    Erasure,
}

/// A record that was read.
#[derive(Clone, Copy)]
struct ReadRecord<'a> {
    text: &'a str,
    /// Its message, without a key unless that is its patron's id.
    input: Input<'a>,
    /// Why there must be no such record.
    forbidden: Option<Reason>,
}

/// Checks the identifiers of a record, and its message's key. Returns whether that is the id
/// of its patron.
fn check_identifiers(
    source: &LaneSource,
    record: RecordView<'_>,
    key: Option<&[u8]>,
) -> Result<bool, Reason> {
    let identifiers = [source.library_slot, source.record_id_slot];
    for slot in identifiers.into_iter().flatten() {
        if !record.slot(slot).has_text() {
            return Err(Reason::Identifier);
        }
    }
    let Some(slot) = source.patron_id_slot else {
        return Ok(false);
    };
    let has_patron = !(source.kind.may_lack_patron && record.slot(slot).is_missing());
    let own_id = source.record_id_slot.and_then(|slot| record.text(slot));
    let id = if has_patron { record.text(slot) } else { own_id };
    let id = id.ok_or(Reason::Identifier)?;
    match key.is_some_and(|key| bytes_equal(key, id.as_bytes())) {
        true => Ok(has_patron),
        false => Err(Reason::Miskeyed),
    }
}

/// Whether a value is the text `null`, which counts as Kafka's null.
fn is_json_null(bytes: &[u8]) -> bool {
    const JSON_WHITESPACE: [u8; 4] = *b" \t\n\r";
    if bytes.first() == Some(&b'{') {
        return false;
    }
    let Some(first) = bytes.iter().position(|byte| !JSON_WHITESPACE.contains(byte)) else {
        return false;
    };
    let rest = &bytes[first..];
    rest.strip_prefix(b"null")
        .is_some_and(|rest| rest.iter().all(|byte| JSON_WHITESPACE.contains(byte)))
}

/// Whether a key was written by a connector that does not write ids: JSON or binary. It names no
/// patron.
fn is_foreign_key(input: &Input<'_>) -> bool {
    let key = input.key.unwrap_or_default();
    matches!(key.trim_ascii_start().first(), Some(b'{' | b'[' | b'"' | 0))
}

/// Whether a record that is refused for this reason was parsed, so that its fields can be read.
fn has_readable_fields(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Identifier
            | Reason::Miskeyed
            | Reason::UnlistedField
            | Reason::Malformed
            | Reason::Unclear
    )
}

fn input_coordinates(input: &Input<'_>) -> Coordinates {
    Coordinates { source: input.source, partition: input.partition, offset: input.offset }
}

fn message_key_text<'a>(input: &Input<'a>) -> Option<&'a str> {
    input.key.and_then(|key| std::str::from_utf8(key).ok()).filter(|key| !key.is_empty())
}

/// Whether two numbers have the same digits, in any script, and at least one.
fn has_same_digits(one: Option<&str>, other: Option<&str>) -> bool {
    let (Some(one), Some(other)) = (one, other) else {
        return false;
    };
    let mut digits = text::ascii_digits(one).peekable();
    digits.peek().is_some() && digits.eq(text::ascii_digits(other))
}
