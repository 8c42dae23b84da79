//! Recipients with a period: outputs and retractions wait in rows until a run publishes
//! them, in the order of output keys.
//!
//! Nothing is published between runs, so that neither the order nor the time of events
//! shows. A run that was interrupted is due again, and continues with what is left.

use super::DeliveryTracker;
use super::apply::RowUpdate;
use super::recheck::{patron_of_row, row_position};
use super::transition::Terms;
use crate::engine::batch::{Batch, Trigger};
use crate::engine::decide::Verdict;
use crate::engine::lane::Lane;
use crate::engine::lane::gates::{GateId, Refusal};
use crate::engine::memory::deliveries::row_json::encode_bits;
use crate::engine::memory::deliveries::{DeliveryEntry, DeliveryOutcome, PendingChange, RowKey};
use crate::engine::tally::ReasonCounts;
use crate::policy::pseudonym::PSEUDONYM_LENGTH;
use crate::policy::reason::Reason;
use crate::policy::term::{utc_day, utc_month};

/// A transaction of a run handles at least this many records, if there are as many.
const PERIOD_CHUNK_MIN: usize = 1_000;

/// What may be published to recipients with a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeriodRun {
    /// Nothing.
    #[default]
    Idle,
    /// Retractions: once a day.
    Retract,
    /// Outputs, too: once a month.
    Publish,
}

impl PeriodRun {
    /// Whether a pending change may be published.
    fn allows(self, pending: PendingChange) -> bool {
        match (self, pending) {
            (PeriodRun::Publish, _) => true,
            (PeriodRun::Retract, PendingChange::Retraction(reason)) => !is_caused_by_record(reason),
            (PeriodRun::Retract, PendingChange::NewOutput) | (PeriodRun::Idle, _) => false,
        }
    }
}

/// Whether the record itself is why an output is retracted. Other recipients see such a change on
/// the same day, so it waits like an output.
fn is_caused_by_record(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Condition
            | Reason::Stages
            | Reason::LoanHistoryOff
            | Reason::PeriodOpen
            | Reason::Settled
            | Reason::RecordGone
    )
}

/// A pending change of one recipient, ordered by its output key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PendingDelivery {
    output_key: [u8; PSEUDONYM_LENGTH],
    partition: i32,
    row_key: RowKey,
}

impl DeliveryTracker {
    /// Begins a run of those of the partitions where it is due.
    pub(in crate::engine) fn begin_period_run(
        &mut self,
        run: PeriodRun,
        partitions: &[i32],
        now_ms: i64,
    ) {
        let is_due = |one: &i32| self.due_period_run(&[*one], now_ms) >= run;
        self.due_partitions = partitions.iter().copied().filter(is_due).collect();
        self.period_run = run;
        self.pending_deliveries.clear();
    }

    /// Ends a run: nothing is published until the next one.
    pub(in crate::engine) fn end_period_run(&mut self) {
        self.period_run = PeriodRun::Idle;
        self.due_partitions.clear();
        self.pending_deliveries.clear();
    }

    /// Whether outputs wait for the next run, by recipient.
    pub(crate) fn deferred_recipients(&self) -> &[bool] {
        match self.period_run {
            PeriodRun::Publish => &[],
            PeriodRun::Idle | PeriodRun::Retract => &self.is_periodic_recipient,
        }
    }

    /// Whether retractions from a recipient wait for the next run.
    pub(crate) fn defers_tombstones(&self, recipient: u16) -> bool {
        self.period_run == PeriodRun::Idle
            && self.is_periodic_recipient.get(usize::from(recipient)) == Some(&true)
    }

    /// Returns the run that is due for at least one of the partitions. Outputs are published in the
    /// first run of a month, or to refill a recipient; retractions in the first run of a day.
    pub(in crate::engine) fn due_period_run(&self, partitions: &[i32], now_ms: i64) -> PeriodRun {
        if !self.is_periodic_recipient.contains(&true) {
            return PeriodRun::Idle;
        }
        let (month, day) = (utc_month(now_ms), utc_day(now_ms));
        let due = partitions.iter().map(|&partition| {
            let (published, taken_back) = self.marks.last_period_runs(partition);
            if *published < *month || self.is_refill_deferred(partition) {
                PeriodRun::Publish
            } else if *taken_back < *day {
                PeriodRun::Retract
            } else {
                PeriodRun::Idle
            }
        });
        due.max().unwrap_or_default()
    }

    /// Whether a refill of a partition waits for the next run.
    pub(crate) fn is_refill_deferred(&self, partition: i32) -> bool {
        let deferred = self.deferred_recipients();
        let mut refills = self.marks.refill_recipients(partition).iter();
        refills.any(|recipient| deferred.get(usize::from(*recipient)) == Some(&true))
    }

    /// Collects the pending changes that the run may publish. Returns how many.
    pub(in crate::engine) fn collect_pending(&mut self) -> usize {
        let rows = self.state.all_rows();
        let rows = rows.filter(|(partition, ..)| self.due_partitions.contains(partition));
        let all = rows.flat_map(|(partition, row, found)| {
            let entries = found.entries.iter();
            entries.filter_map(move |entry| Some((entry, entry.pending()?, partition, row)))
        });
        let run = self.period_run;
        let found = all.filter(|(_, pending, ..)| run.allows(*pending));
        let waiting = found.map(|(entry, _, partition, row)| PendingDelivery {
            output_key: encode_bits(entry.output_key),
            partition,
            row_key: row,
        });
        self.pending_deliveries = waiting.collect();
        // In descending order: they are taken from the end.
        self.pending_deliveries.sort_unstable_by(|one, other| other.cmp(one));
        self.pending_deliveries.len()
    }

    /// Counts the retractions that the run is going to make, by recipient and reason.
    #[must_use]
    pub fn count_pending_retractions(&self, lane: &Lane) -> Vec<ReasonCounts> {
        let mut counts = vec![ReasonCounts::default(); lane.recipients.len()];
        let rows = self.state.all_rows();
        for (_, _, row) in rows.filter(|(partition, ..)| self.due_partitions.contains(partition)) {
            for entry in &row.entries {
                let pending = entry.pending().filter(|pending| self.period_run.allows(*pending));
                if let Some(PendingChange::Retraction(reason)) = pending
                    && let Some(counts) = counts.get_mut(usize::from(entry.recipient))
                {
                    counts[reason as usize] += 1;
                }
            }
        }
        counts
    }

    /// Takes the next records that wait, in the order of their output keys: about
    /// `count_max` of them. Retractions go into the batch, the others are queued to be
    /// decided again. Returns how many are left.
    pub(in crate::engine) fn take_pending(
        &mut self,
        batch: &mut Batch<'_>,
        count_max: usize,
    ) -> usize {
        let all = self.pending_deliveries.len();
        let mut count = count_max.max(PERIOD_CHUNK_MIN).min(all);
        if all - count < PERIOD_CHUNK_MIN {
            count = all;
        }
        let chunk = self.pending_deliveries.split_off(all - count);
        for PendingDelivery { partition, row_key, .. } in chunk.into_iter().rev() {
            if !self.retract_pending(batch, (partition, row_key)) {
                self.recheck_queue.push((partition, row_key));
            }
        }
        self.pending_deliveries.len()
    }

    /// Retracts the pending retractions of a row. Returns `false` if an output is pending, too.
    fn retract_pending(&mut self, batch: &mut Batch<'_>, (partition, key): (i32, RowKey)) -> bool {
        let Some(row) = self.state.find(partition, key) else {
            return true;
        };
        let mut is_all_retracted = true;
        let record = row_position(batch, partition, row, Trigger::RowOnly);
        let patron = patron_of_row(batch.lane, key, row);
        let mut update = RowUpdate::new(record, Some(row), (patron, batch.now.ms()));
        for had in &row.entries {
            let pending = had.pending().filter(|pending| self.period_run.allows(*pending));
            if let Some(PendingChange::Retraction(reason)) = pending {
                let refusal = Refusal::changeable_if(had.may_change, reason);
                let terms = Terms {
                    fingerprint: had.fingerprint,
                    ..Terms::unconditional(had.recipient, batch.now.ms())
                };
                update.decide(batch, Verdict::Refused(refusal), &terms);
            } else {
                is_all_retracted &= pending.is_none();
                update.keep(*had);
            }
        }
        let row = row.with_entries(update.entries);
        self.store_row(batch, (partition, key), row);
        is_all_retracted
    }

    /// All pending changes were published: the next marks say so.
    pub(in crate::engine) fn finish_period_run(&mut self, now_ms: i64) {
        let (month, day) = (utc_month(now_ms), utc_day(now_ms));
        for partition in self.due_partitions.clone() {
            if self.period_run == PeriodRun::Publish {
                self.finish_refill(partition);
                self.marks.set_published_month(partition, &month);
            }
            self.marks.set_retraction_day(partition, &day);
        }
    }

    /// Whether the run is going to publish an output for an entry.
    pub(crate) fn is_output_due(&self, entry: &DeliveryEntry) -> bool {
        self.period_run == PeriodRun::Publish
            && entry.outcome != DeliveryOutcome::Forgotten
            && entry.pending() == Some(PendingChange::NewOutput)
    }

    /// Whether each recipient of a lane has a period.
    pub(crate) fn periodic_recipients(lane: &Lane) -> Vec<bool> {
        let programs = lane.recipients.iter();
        programs.map(|one| one.gates.has(GateId::Period)).collect()
    }
}
