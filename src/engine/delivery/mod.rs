//! What recipients have: sent is what is decided minus that.
//!
//! A record that arrives, and one that is read again because something else changed,
//! go the same way: each recipient's verdict is compared with its entry
//! (`transition`), and the difference is an effect that is applied to outbox and
//! tally (`apply`). The row with the next entries is written in the same batch.
//! Tables are never compared with each other: a rebuild has already seen the change.

pub(super) mod apply;
mod fingerprint;
mod former_recipients;
mod partition_marks;
mod period_run;
mod policy_change;
mod recheck;
pub(super) mod transition;

use std::collections::HashSet;

use partition_marks::PartitionMarks;
pub use partition_marks::{ContinuityContext, STATE_FINGERPRINT_NAME, key_fingerprint};
use period_run::PendingDelivery;
pub use period_run::PeriodRun;
use policy_change::Reevaluation;

use apply::RowUpdate;
use recheck::PatronRef;
use transition::{Effect, Terms};

use super::batch::{Batch, PatronFacts, PatronView, Trigger};
use super::decide::{
    Decided, MessageRef, RecipientVerdict, RecordHistory, RecordPresence, Verdict,
};
use super::lane::gates::Refusal;
use super::lane::{Lane, LaneSource, Program};
use super::memory::deliveries::row_json::StoredRow;
use super::memory::deliveries::{
    DeliveryEntry, DeliveryOutcome, DeliveryRow, DeliveryState, FOREIGN_SOURCE, PatronHash, RowKey,
    StateKeys, row_json,
};
use super::memory::erasures::{Erasure, ErasureTable, GateStop, LastErasure};
use super::memory::patrons::{PatronStatus, PatronTable};
use super::memory::transactional::Transactional;
use super::tally::ReasonCounts;
pub use crate::config::settings::HoldBounds;
use crate::message::continuity::{Fingerprinter, MARK_ROW_KEY};
use crate::message::{Cause, Coordinates, Fault, Input, Outbox};
use crate::policy::catalogue::Role;
use crate::policy::pseudonym::PseudonymDomain;
use crate::policy::reason::Reason;

/// How many records are decided again at a time.
const RECHECK_CHUNK_MAX: usize = 20_000;

/// The record at hand.
#[derive(Clone, Copy, Debug)]
struct CurrentRecord {
    partition: i32,
    /// Of the version that has the record's fields.
    offset: i64,
    /// Of the version that says that the record is gone.
    gone_offset: Option<i64>,
    /// The record is to be decided again by the version at `offset`.
    must_reread: bool,
    row_key: RowKey,
    /// There is a row, of an earlier version of the record or of this one.
    has_row: bool,
    patron_hash: PatronHash,
    trigger: Trigger,
}

/// A record that is to be decided again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RecheckRequest {
    /// Of the version that has its fields.
    coordinates: Coordinates,
    key: RowKey,
    /// The offset of the version that says that the record is gone.
    gone_offset: Option<i64>,
}

/// A row that is to be retracted without its record.
#[derive(Clone, Copy, Debug)]
struct Retraction {
    partition: i32,
    key: RowKey,
    refusal: Refusal,
}

/// Tracks what recipients have, and what of it has to be decided again.
#[derive(Debug)]
pub struct DeliveryTracker {
    state_keys: StateKeys,
    state: DeliveryState,
    erasures: ErasureTable,
    /// The patrons of the batch that are, or were, erased: `state` must not keep their ids.
    erased_in_batch: Vec<(i32, PatronHash)>,
    hold_bounds: HoldBounds,
    /// The pseudonym domain of a record's own id, by source.
    record_id_domains: Vec<PseudonymDomain>,
    /// The index of the patron source; [`FOREIGN_SOURCE`] in a lane without one.
    patron_source: u16,
    /// Hash of the policy version.
    policy_hash: u64,
    /// Makes the MACs of rows and marks.
    fingerprinter: Fingerprinter,
    marks: PartitionMarks,
    /// What marks depend on beside the rows.
    pub continuity: ContinuityContext,
    current_record: CurrentRecord,
    retraction_queue: Vec<Retraction>,
    /// Rows whose record is to be decided again.
    recheck_queue: Vec<(i32, RowKey)>,
    /// The rows of `recheck_queue` that a change of their patron queued.
    queued_rechecks: HashSet<(i32, RowKey), foldhash::fast::RandomState>,
    /// Buffer: the fingerprints of the patron at hand, by recipient.
    patron_fingerprints: Vec<Option<(u64, i64)>>,
    /// What the last reconciliation is known to retract, by recipient.
    expected_retractions: Vec<ReasonCounts>,
    reevaluation: Reevaluation,
    requested_rechecks: Vec<RecheckRequest>,
    /// Whether each recipient has a period.
    is_periodic_recipient: Vec<bool>,
    /// What the current run may publish, and of which partitions.
    period_run: PeriodRun,
    due_partitions: Vec<i32>,
    /// What the current run has still to publish, in descending order.
    pending_deliveries: Vec<PendingDelivery>,
    /// Buffer.
    row_key_buffer: Vec<RowKey>,
}

impl DeliveryTracker {
    #[must_use]
    pub fn new(lane: &Lane, state_keys: StateKeys, hold_bounds: HoldBounds) -> DeliveryTracker {
        let domain =
            |source: &LaneSource| PseudonymDomain::new(&source.kind.name, &source.kind.id_path);
        DeliveryTracker {
            patron_source: lane
                .patron_source_index()
                .and_then(|index| u16::try_from(index).ok())
                .unwrap_or(FOREIGN_SOURCE),
            policy_hash: state_keys.hash_bytes(lane.policy_version.as_bytes()),
            fingerprinter: state_keys.fingerprinter(),
            marks: PartitionMarks::default(),
            continuity: ContinuityContext::default(),
            record_id_domains: lane.sources.iter().map(domain).collect(),
            state_keys,
            state: DeliveryState::default(),
            erasures: ErasureTable::default(),
            erased_in_batch: Vec::new(),
            hold_bounds,
            current_record: CurrentRecord {
                partition: 0,
                offset: 0,
                gone_offset: None,
                must_reread: false,
                row_key: RowKey(0),
                has_row: false,
                patron_hash: PatronHash(0),
                trigger: Trigger::Arrival,
            },
            retraction_queue: Vec::new(),
            recheck_queue: Vec::new(),
            queued_rechecks: HashSet::default(),
            patron_fingerprints: Vec::new(),
            expected_retractions: vec![ReasonCounts::default(); lane.recipients.len()],
            reevaluation: Reevaluation::default(),
            requested_rechecks: Vec::new(),
            is_periodic_recipient: DeliveryTracker::periodic_recipients(lane),
            period_run: PeriodRun::default(),
            due_partitions: Vec::new(),
            pending_deliveries: Vec::new(),
            row_key_buffer: Vec::new(),
        }
    }

    #[must_use]
    pub fn state(&self) -> &DeliveryState {
        &self.state
    }

    /// Restores a row or a mark from the state topic.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`]: the lane cannot go on without its state.
    pub fn restore_state_message(
        &mut self,
        lane: &Lane,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), Fault> {
        if key == Some(MARK_ROW_KEY) {
            return self.restore_mark(lane, partition, value);
        }
        if key.is_some_and(row_json::is_transport_row) {
            return Ok(());
        }
        self.restore_row(lane, partition, key, value)
            .map_err(|error| Fault::stop(Cause::from_error(error)))
    }

    fn restore_row(
        &mut self,
        lane: &Lane,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), row_json::RowError> {
        let key = row_json::parse_row_key(key)?;
        self.marks.forget_old_format_row(partition, key);
        let stored = match value {
            Some(value) => row_json::read(lane, &self.fingerprinter, key, value)?,
            None => StoredRow::Ended,
        };
        match stored {
            StoredRow::Row(row, mac) => {
                self.marks.note_row(partition);
                self.state.restore(partition, key, Some((row, mac)));
            }
            StoredRow::Ended => self.state.restore(partition, key, None),
            StoredRow::OldFormat(row) => {
                self.marks.restore_old_format_row(partition, key);
                let row = row.is_live().then_some((row, 0));
                self.state.restore(partition, key, row);
            }
            StoredRow::OldFormatMark => self.marks.restore_old_format_mark(partition, key),
        }
        Ok(())
    }

    /// What the last reconciliation is known to retract, by recipient and reason, before any of it
    /// was done; without what only the record decides.
    #[must_use]
    pub fn expected_retractions(&self) -> &[ReasonCounts] {
        &self.expected_retractions
    }

    /// Restores a row from the patrons topic, whichever lane wrote it.
    ///
    /// # Errors
    ///
    /// [`row_json::RowError`]: the lane cannot go on without it.
    pub fn restore_patrons_message(
        &mut self,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), row_json::RowError> {
        self.erasures.restore_row(partition, key, value)
    }

    /// What is kept of patrons after their erasure.
    #[must_use]
    pub fn erasures(&self) -> &ErasureTable {
        &self.erasures
    }

    /// Stops all that an unreadable or misplaced gate record could stop. `partition` is the
    /// patron's own.
    pub fn add_stop(&mut self, lane: &Lane, partition: i32, stop: GateStop, outbox: &mut Outbox) {
        self.erasures.add_stop((lane, &self.state_keys), partition, stop, outbox);
    }

    /// Lifts the stops of a patron for which `is_ended` holds.
    pub fn lift_stops(
        &mut self,
        lane: &Lane,
        (partition, patron_id): (i32, &str),
        is_ended: impl Fn(&GateStop) -> bool,
        outbox: &mut Outbox,
    ) {
        let patron = self.state_keys.patron_hash(patron_id);
        self.erasures.lift_stops(lane, (partition, patron), is_ended, outbox);
    }

    /// Restores an erasure from the patron source, outside of any batch.
    pub(super) fn restore_erasure(&mut self, input: &Input<'_>, patron_id: &str) {
        let erasure = make_erasure(input, self.state_keys.patron_hash(patron_id));
        self.erasures.restore_erasure(&self.state_keys, erasure);
    }

    /// Returns when a patron was erased last.
    pub(super) fn last_erasure(&self, partition: i32, patron_id: &str) -> Option<LastErasure> {
        let any = self.erasures.has_erasures(partition);
        let patron = any.then(|| self.state_keys.patron_hash(patron_id))?;
        self.erasures.last_erasure(partition, patron)
    }

    /// Keeps the id of a patron with rows, which rows do not tell.
    fn keep_patron_id(&mut self, patron: PatronRef<'_>) {
        let PatronRef { partition, id, hash } = patron;
        let Some(id) = id else {
            return;
        };
        self.state.set_patron_id(partition, hash, id);
        if self.erasures.last_erasure(partition, hash).is_some() {
            self.erased_in_batch.push((partition, hash));
        }
    }

    /// After a batch, committed or aborted: drops the ids of its patrons that are erased.
    pub(super) fn drop_erased_ids(&mut self, table: &PatronTable) {
        for (partition, patron) in std::mem::take(&mut self.erased_in_batch) {
            let id = self.state.patron_id(partition, patron);
            let status = id.and_then(|id| table.find(partition, id));
            // Of one that is not in the table, nobody but its erasure knows.
            let is_erased = matches!(status, None | Some(PatronStatus::Erased))
                && self.erasures.last_erasure(partition, patron).is_some();
            if is_erased {
                self.state.drop_patron_id(partition, patron);
            }
        }
    }

    /// Returns when the patron of the record at hand was erased last.
    pub(super) fn last_erasure_of_current(&self) -> Option<LastErasure> {
        self.erasures.last_erasure(self.current_record.partition, self.current_record.patron_hash)
    }

    /// Whether a patron has rows.
    pub(super) fn has_patron_rows(&mut self, partition: i32, patron_id: &str) -> bool {
        let patron = self.state_keys.patron_hash(patron_id);
        self.row_key_buffer.clear();
        self.state.collect_rows_of_patron(partition, patron, &mut self.row_key_buffer);
        !self.row_key_buffer.is_empty()
    }

    fn stores(&mut self) -> [&mut dyn Transactional; 3] {
        [&mut self.state, &mut self.erasures, &mut self.marks]
    }

    fn row_key(&self, source: &LaneSource, patron_id: &str, id: &str) -> RowKey {
        if source.kind.role == Role::Patron {
            // The patron id alone identifies a patron record.
            return RowKey(self.state_keys.patron_hash(id).0);
        }
        match self.record_id_domains.get(usize::from(source.index)) {
            Some(domain) => self.state_keys.row_key(domain, patron_id, id),
            None => RowKey(0),
        }
    }

    /// Whether the record at these coordinates is the requested one.
    pub(super) fn is_requested_recheck(
        &self,
        source: &LaneSource,
        coordinates: Coordinates,
        key: (&str, &str),
    ) -> bool {
        let requested = self.find_requested_recheck(coordinates);
        requested.is_some_and(|one| one.key == self.row_key(source, key.0, key.1))
    }

    /// Returns what was requested at these coordinates.
    fn find_requested_recheck(&self, wanted: Coordinates) -> Option<RecheckRequest> {
        let found = self.requested_rechecks.binary_search_by_key(&wanted, |one| one.coordinates);
        self.requested_rechecks.get(found.ok()?).copied()
    }

    /// Begins to decide a record, of which the version at hand says whether it is there. Returns
    /// whether it is, by all that is known; `None` if a later version was decided.
    pub(super) fn begin_record(
        &mut self,
        message: MessageRef<'_>,
        record_id: &str,
        (trigger, presence): (Trigger, RecordPresence),
    ) -> Option<RecordPresence> {
        let MessageRef { source, input, .. } = message;
        let Input { partition, offset, .. } = *input;
        let patron_id = message.patron_id();
        let patron_hash = patron_id.map(|id| self.state_keys.patron_hash(id));
        let is_patron_source = source.kind.role == Role::Patron;
        let row_key = match (is_patron_source, patron_hash) {
            (true, Some(patron_hash)) => RowKey(patron_hash.0),
            _ => self.row_key(source, patron_id.unwrap_or_default(), record_id),
        };
        let patron_hash = patron_hash.unwrap_or(PatronHash::of_no_patron(row_key));
        let row = self.state.find(partition, row_key);
        // Of patrons alone a later version may be known already. Of other records
        // a row with a later offset is of a source that was created again since.
        if is_patron_source
            && trigger == Trigger::Arrival
            && row.is_some_and(|row| row.offset > offset)
        {
            return None;
        }
        let has_row = row.is_some();
        let fields_offset = row.and_then(DeliveryRow::fields_offset);
        let (mut gone_offset, mut known) = (None, presence);
        match (presence, trigger) {
            (RecordPresence::Gone, Trigger::Arrival) => {
                gone_offset = Some(offset);
                if fields_offset.is_some() && source.thins_when_gone {
                    known = RecordPresence::GoneBeforeReread;
                }
            }
            (_, Trigger::Arrival) => {}
            (_, _) => {
                let coordinates = Coordinates { source: input.source, partition, offset };
                let requested = self.find_requested_recheck(coordinates);
                gone_offset = requested.and_then(|one| one.gone_offset);
                if gone_offset.is_some() && presence == RecordPresence::Present {
                    known = RecordPresence::GoneReread;
                }
            }
        }
        self.current_record = CurrentRecord {
            partition,
            offset: fields_offset.filter(|_| presence == RecordPresence::Gone).unwrap_or(offset),
            gone_offset,
            must_reread: known == RecordPresence::GoneBeforeReread,
            row_key,
            has_row,
            patron_hash,
            trigger,
        };
        Some(known)
    }

    /// Whether rechecked records are decided for recipients that have nothing of them, too.
    pub(super) fn is_reevaluating(&self) -> bool {
        self.reevaluation.is_active
    }

    /// What recipients have of the record at hand.
    pub(super) fn history(&self, now_ms: i64) -> RecordHistory<'_> {
        let CurrentRecord { partition, trigger, .. } = self.current_record;
        RecordHistory {
            row: self.previous_row(),
            asks_all: trigger == Trigger::Arrival || self.reevaluation.is_active,
            now_ms,
            state_keys: &self.state_keys,
            refilled: self.marks.refill_recipients(partition),
            defers_outputs: self.deferred_recipients(),
        }
    }

    /// The row of the record at hand, as it was before.
    fn previous_row(&self) -> Option<&DeliveryRow> {
        let CurrentRecord { partition, row_key, .. } = self.current_record;
        let known = self.current_record.has_row.then_some(row_key);
        known.and_then(|key| self.state.find(partition, key))
    }

    /// Ends the record at hand: applies what was decided to what recipients have of it.
    pub(super) fn finish_record(
        &mut self,
        batch: &mut Batch<'_>,
        message: MessageRef<'_>,
        decided: &mut Decided,
    ) {
        let CurrentRecord { partition, row_key, patron_hash, trigger, .. } = self.current_record;
        let now_ms = batch.now.ms();
        let patron = batch.view.find(partition, message.patron_id());
        self.enforce_hold_bounds(decided);
        decided.verdicts.sort_unstable_by_key(|one| one.recipient);
        let row_before = self.previous_row();
        let mut update = RowUpdate::new(
            message.position(trigger),
            row_before,
            (message.patron_id().map(|_| patron_hash), now_ms),
        )
        .with_patron_facts(patron)
        .with_told(decided.is_told);
        for one in &decided.verdicts {
            let Some(program) = batch.lane.recipients.get(usize::from(one.recipient)) else {
                continue;
            };
            let (terms, _) = self.terms(batch.view, program, (one.recipient, patron));
            let effect = update.decide(batch, one.verdict, &terms);
            let had = row_before.and_then(|row| row.entry(one.recipient));
            if let (Effect::Keep(_), Some(had)) = (effect, had) {
                decided.recheck_due_ms = decided.recheck_due_ms.min(had.term_end_ms());
            }
        }
        if let Some(row_before) = row_before {
            update.carry_former_entries(batch, row_before, patron_hash);
        }
        let must_reread = self.current_record.must_reread;
        let mut row = update.entries.build_row(DeliveryRow {
            patron: patron_hash,
            source: message.source.index,
            offset: self.current_record.offset,
            first_decided_ms: row_before.map_or(now_ms, |row| row.first_decided_ms),
            // Should the process end before it is read again, it is due at the next start.
            recheck_due_ms: if must_reread { now_ms } else { decided.recheck_due_ms },
            entries: Box::default(),
            extras: row_before.and_then(|row| row.extras.clone()),
        });
        row.set_gone_offset(self.current_record.gone_offset);
        row.set_source_deletion_due(decided.source_deletion_due_ms);
        row.set_told(decided.is_told);
        let is_live = row.is_live();
        let is_stored = self.store_row(batch, (partition, row_key), row);
        // An unknown patron may have been erased, so do not keep its id.
        let patron_id = message.patron_id().filter(|_| is_stored && patron.status.is_some());
        if let Some(id) = patron_id {
            let patron = PatronRef { partition, id: Some(id), hash: patron_hash };
            self.keep_patron_id(patron);
        }
        if must_reread && is_live && self.queued_rechecks.insert((partition, row_key)) {
            self.recheck_queue.push((partition, row_key));
        }
    }

    /// Begins to decide the record at hand for a patron that a grant names. Returns the key of the
    /// row that the two have.
    pub(super) fn begin_named_patron(&mut self, named_id: &str, trigger: Trigger) -> RowKey {
        let CurrentRecord { partition, patron_hash, .. } = self.current_record;
        let row_key = self.state_keys.named_patron_row_key(patron_hash, named_id);
        let has_row = self.state.find(partition, row_key).is_some();
        self.current_record = CurrentRecord { row_key, has_row, trigger, ..self.current_record };
        row_key
    }

    /// Ends it: as [`finish_record`](Self::finish_record). What the named patron never had needs no
    /// row: the patron's own row has it decided again.
    pub(super) fn finish_named_patron(
        &mut self,
        batch: &mut Batch<'_>,
        message: MessageRef<'_>,
        decided: &mut Decided,
    ) {
        let row = self.previous_row();
        let had =
            |recipient| row.and_then(|row| row.entry(recipient)).is_some_and(|one| one.is_live());
        decided.verdicts.retain(|one| match one.verdict {
            Verdict::Refused(refusal) => had(one.recipient) || refusal.reason == Reason::TooLarge,
            Verdict::Released(_) | Verdict::NotAsked => true,
        });
        for one in &mut decided.verdicts {
            if let Verdict::Refused(refusal) = &mut one.verdict {
                refusal.may_change &= refusal.keep_output;
            }
        }
        // Of recipients that no longer get an output for each.
        for entry in row.map_or(&[][..], |row| &row.entries) {
            let is_decided = decided.verdicts.iter().any(|one| one.recipient == entry.recipient);
            if !is_decided && entry.is_live() && batch.lane.serves_recipient(entry.recipient) {
                let verdict = Verdict::Refused(Refusal::permanent(Reason::NoConsent));
                decided.verdicts.push(RecipientVerdict { recipient: entry.recipient, verdict });
            }
        }
        self.finish_record(batch, message, decided);
    }

    /// Returns what a recipient's transition depends on now, and when time alone may change
    /// that.
    fn terms(
        &self,
        view: PatronView<'_>,
        program: &Program,
        (recipient, patron): (u16, PatronFacts<'_>),
    ) -> (Terms, i64) {
        let (lane, now_ms) = (view.lane, view.now_ms);
        let (fingerprint, change_ms) = self.fingerprint((lane, program), patron, now_ms);
        let after = program.gates.retention.after;
        let defers_retraction = self.defers_tombstones(recipient);
        (Terms { recipient, fingerprint, after, now_ms, defers_retraction }, change_ms)
    }

    /// Refuses to hold the record at hand if too many are held already.
    fn enforce_hold_bounds(&self, decided: &mut Decided) {
        let was_held = self.previous_row().is_some_and(DeliveryRow::is_held);
        let held = self.state.held_count(self.current_record.partition);
        if was_held || held < self.hold_bounds.records_max {
            return;
        }
        for one in &mut decided.verdicts {
            if let Verdict::Refused(refusal) = &mut one.verdict
                && refusal.reason == Reason::PatronUnknown
            {
                *refusal = Refusal::permanent(Reason::HoldFull);
            }
        }
    }

    /// Writes a row to memory and to the outbox if it differs from the one that is there.
    /// Returns whether memory has another row now.
    fn store_row(
        &mut self,
        batch: &mut Batch<'_>,
        (partition, key): (i32, RowKey),
        row: DeliveryRow,
    ) -> bool {
        let known = self.state.find(partition, key);
        let is_live = row.is_live();
        if known == Some(&row) || (known.is_none() && !is_live && row.entries.is_empty()) {
            return false;
        }
        let mut mac = 0;
        let (lane, fingerprinter) = (batch.lane, &self.fingerprinter);
        let name = row_json::encode_bits(key.0);
        batch.outbox.push(lane.state_output, Some(partition), Some(&name), |out| {
            mac = row_json::write(out, fingerprinter, lane, (partition, key), &row);
        });
        if is_live {
            self.state.put(partition, key, (row, mac));
        } else {
            self.state.remove(partition, key);
        }
        is_live
    }
}

impl Transactional for DeliveryTracker {
    fn commit(&mut self) {
        self.stores().into_iter().for_each(Transactional::commit);
        self.reevaluation.commit();
        self.expected_retractions.fill(ReasonCounts::default());
    }

    fn rollback(&mut self) {
        self.stores().into_iter().for_each(Transactional::rollback);
        self.reevaluation.rollback();
        self.expected_retractions.fill(ReasonCounts::default());
        self.retraction_queue.clear();
        self.recheck_queue.clear();
        self.queued_rechecks.clear();
        self.requested_rechecks.clear();
        self.pending_deliveries.clear();
    }

    fn retain_partitions(&mut self, is_kept: &dyn Fn(i32) -> bool) {
        self.stores().into_iter().for_each(|store| store.retain_partitions(is_kept));
    }

    fn drop_partition(&mut self, partition: i32) {
        self.retain_partitions(&|kept| kept != partition);
        self.reevaluation.clear();
    }
}

fn make_erasure(input: &Input<'_>, patron: PatronHash) -> Erasure {
    Erasure {
        patron,
        partition: input.partition,
        offset: input.offset,
        // Nobody can say what came after a null without a time.
        appended: input.append_time.unwrap_or(LastErasure::AFTER_EVERYTHING.appended),
    }
}

/// Whether an entry depends on gates that open or close with time.
fn depends_on_time(entry: &DeliveryEntry) -> bool {
    entry.outcome == DeliveryOutcome::Released
        || matches!(
            entry.reason,
            Some(
                Reason::AgreementLapsed
                    | Reason::AuthorisationLapsed
                    | Reason::ObjectionUnreadable
                    | Reason::ObjectionMarketing
                    | Reason::Objection
                    | Reason::ConsentUnreadable
                    | Reason::NoConsent
                    | Reason::NamedPatrons
                    | Reason::SpecialWords
                    | Reason::Lapsed
                    | Reason::Unpublished
                    | Reason::RecordsUnreadable
            )
        )
}
