//! What a patron, a consent, an objection or time changed: which rows are to be decided
//! again, and what is retracted without reading their records.

use std::collections::HashSet;

use super::apply::{Change, RowUpdate};
use super::policy_change::is_only_held;
use super::transition::{Effect, Terms};
use super::{
    CurrentRecord, DeliveryTracker, RECHECK_CHUNK_MAX, RecheckRequest, Retraction, depends_on_time,
    make_erasure,
};
use crate::engine::batch::{
    Batch, DeadLetterScope, PatronFacts, PatronView, RecordPosition, Trigger,
};
use crate::engine::decide::{MessageRef, Verdict, recipient_index};
use crate::engine::lane::gates::{GateInput, GatePatron, Refusal};
use crate::engine::lane::{Lane, LaneSource};
use crate::engine::memory::deliveries::{
    DeliveryEntry, DeliveryOutcome, DeliveryRow, PatronHash, RowKey,
};
use crate::engine::memory::erasures::LastErasure;
use crate::engine::memory::patrons::{PatronRow, PatronStatus};
use crate::engine::tally::ReasonCounts;
use crate::message::{AppendTime, Coordinates, Outbox, SourceId};
use crate::policy::reason::Reason;

/// A patron by its partition and id.
#[derive(Clone, Copy)]
pub(in crate::engine) struct PatronRef<'a> {
    pub(super) partition: i32,
    /// `None` of a patron that is erased, if nothing has its id any more.
    pub(super) id: Option<&'a str>,
    pub(super) hash: PatronHash,
}

/// One patron that the rows of its records are compared with.
struct PatronCheck<'a> {
    view: PatronView<'a>,
    patron: PatronFacts<'a>,
    /// By recipient, each made when first needed: they are the same for all rows.
    fingerprints: Vec<Option<(u64, i64)>>,
}

impl DeliveryTracker {
    pub(in crate::engine) fn patron_ref<'a>(&self, partition: i32, id: &'a str) -> PatronRef<'a> {
        PatronRef { partition, id: Some(id), hash: self.state_keys.patron_hash(id) }
    }

    /// Returns what is known of a patron. Of one that is erased, and without an id, only that.
    fn patron_facts<'a>(&self, view: PatronView<'a>, patron: PatronRef<'_>) -> PatronFacts<'a> {
        let PatronRef { partition, id, hash } = patron;
        let is_erased = || self.erasures.last_erasure(partition, hash).is_some();
        match id {
            None if is_erased() => {
                PatronFacts { status: Some(PatronStatus::Erased), ..PatronFacts::default() }
            }
            id => view.find(partition, id),
        }
    }

    /// Something changed for a patron: retracts its rows, or queues them to be decided
    /// again.
    pub(in crate::engine) fn recheck_patron(
        &mut self,
        batch: &mut Batch<'_>,
        patron: PatronRef<'_>,
    ) {
        self.recheck_patron_of(batch, patron, None);
    }

    /// The same where the change is a record that arrived: what is retracted of its row
    /// is due to that record.
    fn recheck_patron_of(
        &mut self,
        batch: &mut Batch<'_>,
        patron: PatronRef<'_>,
        arrived: Option<RowKey>,
    ) {
        let first = self.recheck_queue.len();
        self.queue_patron_rows(batch.view, patron, None);
        self.dedup_rechecks(first);
        // At once: what comes next in the batch may say something else.
        let mut retractions = std::mem::take(&mut self.retraction_queue);
        for retraction in retractions.drain(..) {
            let trigger = match arrived == Some(retraction.key) {
                true => Trigger::Arrival,
                false => Trigger::RowOnly,
            };
            self.retract_row(batch, retraction, trigger);
        }
        self.retraction_queue = retractions;
    }

    /// The patron's own record was just decided: queues its other rows.
    pub(in crate::engine) fn recheck_other_records(
        &mut self,
        view: PatronView<'_>,
        patron_id: &str,
    ) {
        let CurrentRecord { partition, patron_hash, row_key, .. } = self.current_record;
        let patron = PatronRef { partition, id: Some(patron_id), hash: patron_hash };
        let first = self.recheck_queue.len();
        self.queue_patron_rows(view, patron, Some(row_key));
        self.dedup_rechecks(first);
    }

    /// Drops from the rows that were queued from `first` on those that wait already:
    /// a patron with many records who says much queues each of them once.
    fn dedup_rechecks(&mut self, first: usize) {
        let mut kept = first;
        for index in first..self.recheck_queue.len() {
            let row = self.recheck_queue[index];
            if self.queued_rechecks.insert(row) {
                self.recheck_queue[kept] = row;
                kept += 1;
            }
        }
        self.recheck_queue.truncate(kept);
    }

    /// Queues the rows of a patron that have to be retracted or decided again, but for
    /// the row `except`.
    fn queue_patron_rows(
        &mut self,
        view: PatronView<'_>,
        patron: PatronRef<'_>,
        except: Option<RowKey>,
    ) {
        let PatronRef { partition, hash, .. } = patron;
        let mut row_keys = std::mem::take(&mut self.row_key_buffer);
        row_keys.clear();
        self.state.collect_rows_of_patron(partition, hash, &mut row_keys);
        if except.is_some() {
            // Its own row, and those of the patrons that it names, are decided together.
            let is_other = |key: &RowKey| {
                let row = self.state.find(partition, *key);
                row.is_none_or(|row| !view.lane.is_patron_source(row.source))
            };
            row_keys.retain(|key| Some(*key) != except && is_other(key));
        }
        if !row_keys.is_empty() {
            self.keep_patron_id(patron);
            let last_erasure = self.erasures.last_erasure(partition, hash);
            let mut fingerprints = std::mem::take(&mut self.patron_fingerprints);
            fingerprints.clear();
            fingerprints.resize(view.lane.recipients.len(), None);
            let patron = self.patron_facts(view, patron);
            let mut check = PatronCheck { view, patron, fingerprints };
            for &key in &row_keys {
                self.queue_row((partition, key), &mut check, last_erasure);
            }
            self.patron_fingerprints = check.fingerprints;
        }
        self.row_key_buffer = row_keys;
    }

    /// Queues a row of the patron of `check` if it has to be retracted or decided again.
    fn queue_row(
        &mut self,
        (partition, key): (i32, RowKey),
        check: &mut PatronCheck<'_>,
        last_erasure: Option<LastErasure>,
    ) {
        let Some(row) = self.state.find(partition, key) else {
            return;
        };
        let is_patron_record = check.view.lane.is_patron_source(row.source);
        let reason = match check.patron.status {
            Some(PatronStatus::Known(_)) => {
                if self.is_row_stale(check, row)
                    || (!is_patron_record && may_predate_erasure(row, last_erasure))
                {
                    self.recheck_queue.push((partition, key));
                }
                return;
            }
            Some(PatronStatus::Erased) => Reason::PatronErased,
            Some(PatronStatus::Unreadable) => Reason::PatronUnknown,
            None => return,
        };
        let refusal = Refusal::changeable_if(!is_patron_record, reason);
        self.retraction_queue.push(Retraction { partition, key, refusal });
    }

    /// Whether a row's record may get another verdict than it has.
    fn is_row_stale(&self, check: &mut PatronCheck<'_>, row: &DeliveryRow) -> bool {
        let PatronCheck { view, patron, fingerprints } = check;
        let is_other_version =
            |offset: i64| view.lane.is_patron_source(row.source) && row.offset != offset;
        if row.recheck_due_ms <= view.now_ms
            || patron.row().is_some_and(|row| is_other_version(row.offset()))
        {
            return true;
        }
        let mut live_entries = row.entries.iter().filter(|entry| entry.is_live());
        live_entries.any(|entry| {
            let index = usize::from(entry.recipient);
            match (entry.outcome, view.lane.recipients.get(index)) {
                (DeliveryOutcome::Held, _) => true,
                (DeliveryOutcome::Forgotten, _) | (_, None) => false,
                (_, Some(program)) => {
                    let (fingerprint, recheck_due_ms) =
                        *fingerprints[index].get_or_insert_with(|| {
                            self.fingerprint((view.lane, program), *patron, view.now_ms)
                        });
                    // What time will change may be nearer than the row says.
                    fingerprint != entry.fingerprint
                        || (depends_on_time(entry) && recheck_due_ms < row.recheck_due_ms)
                }
            }
        })
    }

    /// Retracts all of a row, without its record.
    fn retract_row(&mut self, batch: &mut Batch<'_>, retraction: Retraction, trigger: Trigger) {
        let Retraction { partition, key, refusal } = retraction;
        let Some(row) = self.state.find(partition, key) else {
            return;
        };
        let now_ms = batch.now.ms();
        let record = row_position(batch, partition, row, trigger);
        let patron = patron_of_row(batch.lane, key, row);
        let mut update = RowUpdate::new(record, Some(row), (patron, now_ms));
        let is_recipient_removed = refusal.reason == Reason::RecipientRemoved;
        let mut keeps_live = false;
        for had in &row.entries {
            let is_served = batch.lane.serves_recipient(had.recipient);
            let ignores_patron = !is_recipient_removed && batch.lane.ignores_patron(had.recipient);
            if !had.is_live() || (is_served && is_recipient_removed) || ignores_patron {
                keeps_live |= had.is_live();
                update.keep(*had);
            } else if !is_served {
                update.end_former_entry(batch, (had, refusal.reason));
            } else {
                let terms = Terms {
                    defers_retraction: self.defers_tombstones(had.recipient),
                    ..Terms::unconditional(had.recipient, now_ms)
                };
                update.decide(batch, Verdict::Refused(refusal), &terms);
            }
        }
        let mut row = row.with_entries(update.entries);
        if !is_recipient_removed && !keeps_live {
            row.recheck_due_ms = i64::MAX;
        }
        if refusal.reason == Reason::PatronErased {
            row.set_source_deletion_due(None);
        }
        self.store_row(batch, (partition, key), row);
    }

    /// A null on the patron source, whatever is known of its patron now: ends what its id
    /// meant before. Returns when the patron was erased last.
    pub(in crate::engine) fn record_erasure(
        &mut self,
        message: MessageRef<'_>,
        patron: PatronRef<'_>,
        outbox: &mut Outbox,
    ) -> Option<LastErasure> {
        let erasure = make_erasure(message.input, patron.hash);
        self.erased_in_batch.push((patron.partition, patron.hash));
        let lane_and_keys = (message.lane, &self.state_keys);
        self.erasures.record_erasure(lane_and_keys, erasure, outbox);
        self.erasures.last_erasure(patron.partition, erasure.patron)
    }

    /// Queues every record of a patron that was erased and is known again: only their
    /// sources tell whether they came before.
    pub(in crate::engine) fn recheck_all_records(&mut self, lane: &Lane, patron: PatronRef<'_>) {
        self.row_key_buffer.clear();
        self.state.collect_rows_of_patron(patron.partition, patron.hash, &mut self.row_key_buffer);
        for &key in &self.row_key_buffer {
            let row = self.state.find(patron.partition, key);
            if row.is_some_and(|row| !lane.is_patron_source(row.source)) {
                self.recheck_queue.push((patron.partition, key));
            }
        }
    }

    /// A null on the patron source, and nothing later is known of the patron.
    pub(in crate::engine) fn erase_patron(
        &mut self,
        batch: &mut Batch<'_>,
        message: MessageRef<'_>,
        patron: PatronRef<'_>,
    ) {
        let key = RowKey(patron.hash.0);
        let row = self.state.find(patron.partition, key).cloned();
        self.recheck_patron_of(batch, patron, Some(key));
        for &recipient in &message.source.recipient_indices {
            let recipient = recipient_index(recipient);
            let had = row.as_ref().and_then(|row| row.entry(recipient));
            if !had.is_some_and(DeliveryEntry::is_live) {
                let effect = Effect::Withhold(Reason::PatronErased);
                let change = Change {
                    had,
                    entry: had,
                    patron: Some(patron.hash),
                    ..Change::without_entry(recipient, effect)
                };
                batch.apply(message.position(Trigger::Arrival), change);
            }
        }
    }

    /// Retracts what needs no record for that, and returns which records are to be
    /// decided again: at most [`RECHECK_CHUNK_MAX`] of each.
    pub(in crate::engine) fn next_rechecks(&mut self, batch: &mut Batch<'_>) -> Vec<Coordinates> {
        let from = self.retraction_queue.len().saturating_sub(RECHECK_CHUNK_MAX);
        for retraction in self.retraction_queue.split_off(from) {
            self.retract_row(batch, retraction, Trigger::RowOnly);
        }
        self.requested_rechecks.clear();
        self.reevaluation.is_active = self.reevaluation.remaining_count() > 0;
        if self.reevaluation.is_active {
            self.requested_rechecks.extend(self.reevaluation.take_next(RECHECK_CHUNK_MAX));
        } else {
            self.take_queued_rechecks(batch.view);
        }
        self.requested_rechecks.iter().map(|one| one.coordinates).collect()
    }

    /// Moves the last queued rows to the requested ones, by where their records lie.
    fn take_queued_rechecks(&mut self, view: PatronView<'_>) {
        let from = self.recheck_queue.len().saturating_sub(RECHECK_CHUNK_MAX);
        for (partition, key) in self.recheck_queue.drain(from..) {
            self.queued_rechecks.remove(&(partition, key));
            let Some(row) = self.state.find(partition, key) else {
                continue;
            };
            let is_patron_record = view.lane.is_patron_source(row.source);
            let newest = match self.state.patron_id(partition, row.patron) {
                _ if !is_patron_record => None,
                Some(id) => view.table.patron_offset(partition, id),
                None => self.erasures.last_erasure(partition, row.patron).map(|last| last.offset),
            };
            // The patron's record decides for all that its grants name, too.
            let key = if is_patron_record { RowKey(row.patron.0) } else { key };
            let coordinates = Coordinates {
                source: SourceId(row.source),
                partition,
                offset: newest.unwrap_or(row.offset),
            };
            let gone_offset = row.gone_offset();
            self.requested_rechecks.push(RecheckRequest { coordinates, key, gone_offset });
        }
        self.requested_rechecks.sort_unstable();
        self.requested_rechecks.dedup();
    }

    pub(in crate::engine) fn pending_rechecks(&self) -> usize {
        self.retraction_queue.len() + self.recheck_queue.len() + self.reevaluation.remaining_count()
    }

    /// Decides a row again whose record its source no longer has.
    pub(in crate::engine) fn handle_missing_record(
        &mut self,
        batch: &mut Batch<'_>,
        coordinates: Coordinates,
    ) {
        let partition = coordinates.partition;
        let Some(RecheckRequest { key, .. }) = self.find_requested_recheck(coordinates) else {
            return;
        };
        let mut keys = vec![key];
        if batch.lane.is_patron_source(coordinates.source.0) {
            keys.extend(self.rows_of_named_patrons(partition, PatronHash(key.0)));
        }
        for key in keys {
            self.decide_without_record(batch, (partition, key));
        }
    }

    fn decide_without_record(&mut self, batch: &mut Batch<'_>, (partition, key): (i32, RowKey)) {
        let Some(row) = self.state.find(partition, key) else {
            return;
        };
        let now_ms = batch.now.ms();
        let id = self.state.patron_id(partition, row.patron);
        let patron = PatronRef { partition, id, hash: row.patron };
        let patron = self.patron_facts(batch.view, patron);
        let is_patron_record = batch.lane.is_patron_source(row.source);
        let is_patron_lost = has_patron(batch.lane, key, row) && patron.row().is_none();
        let last_erasure = self.erasures.last_erasure(partition, row.patron);
        let is_before_erasure = !is_patron_record && may_predate_erasure(row, last_erasure);
        let mut recheck_due_ms = i64::MAX;
        let record = row_position(batch, partition, row, Trigger::SourceGone);
        let row_patron = patron_of_row(batch.lane, key, row);
        let mut update =
            RowUpdate::new(record, Some(row), (row_patron, now_ms)).with_patron_facts(patron);
        for had in &row.entries {
            let program = batch.lane.recipients.get(usize::from(had.recipient));
            let Some(program) = program.filter(|_| had.is_live()) else {
                update.keep(*had);
                continue;
            };
            let (terms, change_ms) = self.terms(batch.view, program, (had.recipient, patron));
            recheck_due_ms = recheck_due_ms.min(change_ms);
            let is_patron_lost = is_patron_lost && !program.ignores_patron;
            let is_stale =
                is_patron_record || is_patron_lost || terms.fingerprint != had.fingerprint;
            let gate_input = GateInput::of_statements(patron.gate_patron(), now_ms);
            let gates_check = program.gates.judge(&gate_input, &mut recheck_due_ms);
            let thins_at_ms = row.thins_at_ms(had.recipient);
            let reason = if is_before_erasure && !program.ignores_patron {
                Some(Reason::PatronErased)
            } else if row.gone_offset().is_some() {
                // What would be left of it can no longer be made.
                Some(Reason::RecordGone)
            } else if thins_at_ms <= now_ms {
                // The thinned output can no longer be made.
                Some(Reason::SourceGone)
            } else if self.is_output_due(had) {
                // It can no longer be made.
                Some(Reason::SourceGone)
            } else {
                reason_without_record(had, gates_check.err(), is_stale, now_ms)
            };
            if let Some(reason) = reason {
                update.decide(batch, Verdict::Refused(Refusal::permanent(reason)), &terms);
            } else {
                recheck_due_ms = recheck_due_ms.min(had.term_end_ms()).min(thins_at_ms);
                update.keep(*had);
            }
        }
        let mut row = row.with_entries(update.entries);
        row.recheck_due_ms = recheck_due_ms;
        row.set_source_deletion_due(None);
        self.store_row(batch, (partition, key), row);
    }

    /// The keys of the rows that a patron has with those that its grants name.
    fn rows_of_named_patrons(
        &self,
        partition: i32,
        patron: PatronHash,
    ) -> impl Iterator<Item = RowKey> {
        let rows = self.state.rows_of_patron(partition, patron);
        let named =
            rows.filter(move |(key, row)| row.source == self.patron_source && key.0 != patron.0);
        named.map(|(key, _)| key)
    }

    /// The same of the patron whose record is at hand.
    pub(in crate::engine) fn named_patron_rows(&self) -> impl Iterator<Item = RowKey> {
        let CurrentRecord { partition, patron_hash, .. } = self.current_record;
        self.rows_of_named_patrons(partition, patron_hash)
    }

    /// Whether the patron whose record is decided again has such rows: under an earlier policy
    /// some recipient may have got an output for each patron that a grant names.
    pub(in crate::engine) fn has_named_patrons(&self, source: &LaneSource) -> bool {
        let is_rechecked = self.current_record.trigger == Trigger::Recheck;
        source.index == self.patron_source
            && is_rechecked
            && self.named_patron_rows().next().is_some()
    }

    /// Retracts what there is for patrons that no grant of the one at hand names any more.
    pub(in crate::engine) fn retract_unnamed_patrons(
        &mut self,
        batch: &mut Batch<'_>,
        rows: &[RowKey],
    ) {
        let partition = self.current_record.partition;
        let refusal = Refusal::permanent(Reason::NoConsent);
        for &key in rows {
            self.retract_row(batch, Retraction { partition, key, refusal }, Trigger::RowOnly);
        }
    }

    /// Has the patron's own row decided again no later than at `due_ms`.
    pub(in crate::engine) fn lower_recheck_due_of_patron(
        &mut self,
        batch: &mut Batch<'_>,
        due_ms: i64,
    ) {
        let CurrentRecord { partition, patron_hash, .. } = self.current_record;
        let key = RowKey(patron_hash.0);
        let row = self.state.find(partition, key).filter(|row| row.recheck_due_ms > due_ms);
        if let Some(row) = row.cloned() {
            let row = DeliveryRow { recheck_due_ms: due_ms, ..row };
            self.store_row(batch, (partition, key), row);
        }
    }

    /// Queues each row of a partition that differs from what is known of its patron.
    pub(in crate::engine) fn reconcile(&mut self, view: PatronView<'_>, partition: i32) {
        if self.state.rows(partition).next().is_none() {
            return;
        }
        self.start_refill(view.lane, partition);
        for patron in view.table.rows(partition) {
            let patron = match patron.hashed_id() {
                Some(hash) => PatronRef { partition, id: None, hash },
                None => self.patron_ref(partition, patron.patron_id()),
            };
            let (first_retraction, first_recheck) =
                (self.retraction_queue.len(), self.recheck_queue.len());
            self.queue_patron_rows(view, patron, None);
            self.count_expected_retractions(view.lane, first_retraction);
            let gate_patron = self.patron_facts(view, patron).gate_patron();
            self.count_expected_refusals(view, first_recheck, gate_patron);
        }
        let first_retraction = self.retraction_queue.len();
        self.queue_rows_of_lost_patrons(view, partition);
        self.count_expected_retractions(view.lane, first_retraction);
        self.queue_stale_rows_without_patron(view, partition);
    }

    /// Queues the rows of records that have no patron, if they may get another verdict.
    fn queue_stale_rows_without_patron(&mut self, view: PatronView<'_>, partition: i32) {
        let mut check = PatronCheck {
            view,
            patron: PatronFacts::default(),
            fingerprints: vec![None; view.lane.recipients.len()],
        };
        let rows = self.state.rows(partition);
        let rows = rows.filter(|(key, row)| !has_patron(view.lane, *key, row));
        let stale = rows.filter(|(_, row)| self.is_row_stale(&mut check, row));
        let stale: Vec<(i32, RowKey)> = stale.map(|(key, _)| (partition, key)).collect();
        self.recheck_queue.extend(stale);
    }

    /// Queues the rows whose patron the source no longer has at all: it was erased, and
    /// that was compacted away; or it never came.
    fn queue_rows_of_lost_patrons(&mut self, view: PatronView<'_>, partition: i32) {
        // Those of whom the source still has the null were just queued.
        let erased: HashSet<PatronHash, foldhash::fast::RandomState> =
            view.table.rows(partition).filter_map(PatronRow::hashed_id).collect();
        let rows = self.state.rows(partition).filter(|(key, row)| {
            has_patron(view.lane, *key, row)
                && !erased.contains(&row.patron)
                && self.state.patron_id(partition, row.patron).is_none()
                && !is_only_held(view.lane, row)
                && row.entries.iter().any(|entry| !view.lane.ignores_patron(entry.recipient))
        });
        self.retraction_queue.extend(rows.map(|(key, row)| {
            let is_patron_record = view.lane.is_patron_source(row.source);
            let refusal = Refusal::changeable_if(!is_patron_record, Reason::PatronErased);
            Retraction { partition, key, refusal }
        }));
    }

    /// Counts what the retractions from `first` on take from recipients.
    fn count_expected_retractions(&mut self, lane: &Lane, first: usize) {
        for Retraction { partition, key, refusal } in &self.retraction_queue[first..] {
            let row = self.state.find(*partition, *key);
            for entry in row.map_or(&[][..], |row| &row.entries) {
                if entry.is_sent() && !lane.ignores_patron(entry.recipient) {
                    count_expected(&mut self.expected_retractions, entry, refusal.reason);
                }
            }
        }
    }

    /// Counts what the patron's statements take from recipients, of the rows from `first`
    /// on that are to be decided again.
    fn count_expected_refusals(
        &mut self,
        view: PatronView<'_>,
        first: usize,
        gate_patron: GatePatron<'_>,
    ) {
        for (partition, key) in &self.recheck_queue[first..] {
            let row = self.state.find(*partition, *key);
            let entries = row.map_or(&[][..], |row| &row.entries);
            for entry in entries.iter().filter(|one| one.outcome == DeliveryOutcome::Released) {
                let Some(program) = view.lane.recipients.get(usize::from(entry.recipient)) else {
                    continue;
                };
                let mut recheck_due_ms = i64::MAX;
                let gate_input = GateInput::of_statements(gate_patron, view.now_ms);
                if let Err(refusal) = program.gates.judge(&gate_input, &mut recheck_due_ms)
                    && !refusal.keep_output
                {
                    let reason = refusal.override_reason.unwrap_or(refusal.reason);
                    count_expected(&mut self.expected_retractions, entry, reason);
                }
            }
        }
    }

    /// Queues the rows that time alone changed, and drops what was held for too long.
    pub(in crate::engine) fn sweep_due_rows(&mut self, batch: &mut Batch<'_>) {
        let now_ms = batch.now.ms();
        let expired_ms = now_ms.saturating_sub(self.hold_bounds.wait_max_ms);
        let is_expired = |entry: &DeliveryEntry| {
            entry.held_since_ms().is_some_and(|held_ms| held_ms <= expired_ms)
        };
        let mut expired = Vec::new();
        for (partition, key, row) in self.state.all_rows() {
            if row.recheck_due_ms <= now_ms {
                self.recheck_queue.push((partition, key));
            }
            if row.entries.iter().any(is_expired) {
                expired.push((partition, key));
            }
        }
        for (partition, key) in expired {
            let Some(row) = self.state.find(partition, key) else {
                continue;
            };
            let record = row_position(batch, partition, row, Trigger::RowOnly);
            batch.write_dead_letter(record, Reason::HoldExpired, DeadLetterScope::default());
            let refusal = Refusal::permanent(Reason::HoldExpired);
            let patron = patron_of_row(batch.lane, key, row);
            let mut update = RowUpdate::new(record, Some(row), (patron, now_ms));
            for had in &row.entries {
                if is_expired(had) {
                    let terms = Terms::unconditional(had.recipient, now_ms);
                    update.decide(batch, Verdict::Refused(refusal), &terms);
                } else {
                    update.keep(*had);
                }
            }
            let row = row.with_entries(update.entries);
            self.store_row(batch, (partition, key), row);
        }
    }
}

/// Whether the record of a row is a patron's, or of one.
fn has_patron(lane: &Lane, key: RowKey, row: &DeliveryRow) -> bool {
    row.patron != PatronHash::of_no_patron(key) || lane.is_patron_source(row.source)
}

/// The patron of a row's record; `None` if it has none.
pub(super) fn patron_of_row(lane: &Lane, key: RowKey, row: &DeliveryRow) -> Option<PatronHash> {
    has_patron(lane, key, row).then_some(row.patron)
}

/// The position of a row's record.
pub(super) fn row_position<'a>(
    batch: &Batch<'a>,
    partition: i32,
    row: &DeliveryRow,
    trigger: Trigger,
) -> RecordPosition<'a> {
    let source = batch.lane.sources.get(usize::from(row.source));
    RecordPosition { trigger, source, partition, offset: row.offset, foreign: None }
}

/// Returns why a recipient loses what it has of a record that nobody can read again;
/// `None` if it keeps it. `refusal` is what gates say without the record.
fn reason_without_record(
    had: &DeliveryEntry,
    refusal: Option<Refusal>,
    is_stale: bool,
    now_ms: i64,
) -> Option<Reason> {
    match (had.outcome, refusal) {
        (DeliveryOutcome::Forgotten, _) => None,
        (DeliveryOutcome::Held, _) => Some(Reason::SourceGone),
        (DeliveryOutcome::Released, _) if had.term_end_ms() <= now_ms => Some(Reason::Lapsed),
        (DeliveryOutcome::Released, Some(refusal)) if refusal.keep_output => None,
        (DeliveryOutcome::Released, Some(refusal)) if is_stale => {
            Some(refusal.override_reason.unwrap_or(refusal.reason))
        }
        _ => is_stale.then_some(Reason::SourceGone),
    }
}

fn count_expected(counts: &mut [ReasonCounts], entry: &DeliveryEntry, reason: Reason) {
    if let Some(counts) = counts.get_mut(usize::from(entry.recipient)) {
        counts[reason as usize] += 1;
    }
}

/// Whether a row may be of a record from before its patron was erased, whose id is now
/// somebody else's. Only the record itself, on its source, tells for certain.
fn may_predate_erasure(row: &DeliveryRow, last_erasure: Option<LastErasure>) -> bool {
    last_erasure.is_some_and(|last_erasure| {
        let until_ms = last_erasure.appended.ms.saturating_add(AppendTime::PRODUCER_SKEW_MS);
        row.first_decided_ms <= until_ms
    })
}
