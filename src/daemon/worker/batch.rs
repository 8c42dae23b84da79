//! The open batch of a worker: how it fills, and how it is committed or dropped.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::{IDLE_POLL_TIMEOUT, Worker};
pub use crate::config::settings::BatchBounds;
use crate::daemon::abort_counter::{self, AbortCounter};
use crate::daemon::loss_guard::{self, LossFinding};
use crate::daemon::metrics::CommitTimes;
use crate::engine::meter::Meter;
use crate::engine::pipeline::{BatchTime, Pipeline};
use crate::engine::tally::{BatchWarning, ReasonCounts, WarningKind};
use crate::message::{Fault, Outbox, SourceId};
use crate::transport::{PollFlow, PollOutcome, ReadOutcome, Transport};

/// How many times longer a batch may stay open behind a backlog.
const BACKLOG_WAIT_FACTOR: u32 = 20;
/// A record that waited this long is part of a backlog.
const BACKLOG_MIN_AGE: Duration = Duration::from_secs(1);
/// Minimum wait for the next record of a backlog, so that a slightly late fetch closes no batch.
const BACKLOG_MIN_RECORD_TIMEOUT: Duration = Duration::from_millis(10);
/// Check the clock every this many records.
pub(in crate::daemon) const CLOCK_CHECK_RECORDS: u64 = 64;
/// Publish after this many records: large requests save client and broker more than a cache
/// with few outputs does.
pub(super) const PUBLISH_CHUNK_RECORDS: u64 = 2_000;
/// Recheck once this many records wait for it.
const MAX_PENDING_RECHECKS: usize = 10_000;

impl BatchBounds {
    /// Returns how long a batch may stay open.
    ///
    /// A first record older than [`BACKLOG_MIN_AGE`] is part of a backlog, where large
    /// batches catch up sooner. At a steady pace no record gets that old, even behind a
    /// large batch, so batches become small again.
    pub(in crate::daemon) fn max_open_duration(
        &self,
        first_record_ms: Option<i64>,
        now_ms: i64,
    ) -> Duration {
        let age_ms = first_record_ms.map_or(0, |written| now_ms.saturating_sub(written));
        if u128::try_from(age_ms).is_ok_and(|age| age > BACKLOG_MIN_AGE.as_millis()) {
            self.max_wait * BACKLOG_WAIT_FACTOR
        } else {
            self.max_wait
        }
    }

    /// Returns how long to wait for the next record of a batch that has been open for
    /// `open_duration`. In a backlog it is there or on its way.
    pub(in crate::daemon) fn next_record_timeout(
        &self,
        open_duration: Duration,
        max_open: Duration,
    ) -> Duration {
        let left = max_open.saturating_sub(open_duration);
        let next_wait = self.max_wait.saturating_sub(open_duration).max(BACKLOG_MIN_RECORD_TIMEOUT);
        left.min(next_wait)
    }
}

#[derive(Default)]
pub(super) struct OpenBatch {
    pub(super) outbox: Outbox,
    /// When its first record was decided.
    pub(super) opened_at: Option<Instant>,
    pub(super) records: u64,
    max_open: Duration,
    published_bytes: u64,
    /// Partitions whose patrons are in the table.
    pub(super) built_partitions: HashSet<i32>,
    pub(super) aborts: AbortCounter,
    /// A rebalance or a stop interrupted the last batch.
    pub(super) was_interrupted: bool,
    pub(super) last_report_at: Option<Instant>,
    pub(super) last_continuity_check_at: Option<Instant>,
    pub(super) last_sweep_ms: Option<i64>,
    /// Records are re-evaluated under a new policy.
    pub(super) is_policy_change: bool,
    /// Outputs of each recipient; kept to reuse its memory.
    outputs_per_recipient: Vec<u64>,
    pub(super) last_late_gate_warning: Option<(SourceId, i32, Instant)>,
    /// The month in which the table was built, in a lane with a period.
    pub(super) table_month: Option<String>,
    /// Retractions wait since the policy changed.
    pub(super) has_waiting_policy_retractions: bool,
}

impl<T: Transport> Worker<T> {
    pub(super) fn poll_and_decide(&mut self) -> Result<PollOutcome, Fault> {
        let wait = match self.batch.opened_at {
            Some(since) => self.bounds.next_record_timeout(since.elapsed(), self.batch.max_open),
            None => IDLE_POLL_TIMEOUT,
        };
        let Worker { pipeline, transport, meter, bounds, batch, clock, min_batch_time_ms, .. } =
            self;
        let has_rates = meter.has_rates();
        let mut chunk = 0_u64;
        let mut stop = None;
        let polled = transport.poll(wait, &mut |input| {
            if batch.opened_at.is_none() {
                let now_ms = clock();
                batch.opened_at = Some(Instant::now());
                batch.max_open = bounds.max_open_duration(input.timestamp_ms, now_ms);
                pipeline.begin_batch(BatchTime::from_ms(now_ms.max(*min_batch_time_ms)));
            }
            pipeline.decide(&input, &mut batch.outbox);
            batch.records += 1;
            chunk += 1;
            stop = pipeline.take_stop_message();
            let full = stop.is_some()
                || batch.is_full(bounds, pipeline.ledger_bytes())
                || pipeline.pending_rechecks() >= MAX_PENDING_RECHECKS
                || (!has_rates && chunk >= PUBLISH_CHUNK_RECORDS)
                || (has_rates && is_full_for_rates(meter, pipeline))
                || (chunk.is_multiple_of(CLOCK_CHECK_RECORDS) && batch.is_overdue());
            if full { PollFlow::BatchFull } else { PollFlow::Continue }
        })?;
        match stop {
            Some(stop) => Err(Fault::stop(stop)),
            None => {
                self.stop_on_foreign_unreadable_gates()?;
                Ok(polled)
            }
        }
    }

    pub(super) fn is_commit_due(&self) -> bool {
        let batch = &self.batch;
        batch.is_full(&self.bounds, self.pipeline.ledger_bytes())
            || batch.is_overdue()
            || (self.meter.has_rates() && is_full_for_rates(&self.meter, &self.pipeline))
    }

    /// Decides again all records that something else than a new version changed.
    pub(super) fn recheck_all(&mut self) -> Result<(), Fault> {
        while self.pipeline.pending_rechecks() > 0 {
            self.recheck_chunk()?;
        }
        Ok(())
    }

    fn recheck_chunk(&mut self) -> Result<(), Fault> {
        let Worker { pipeline, transport, batch, .. } = self;
        let wanted = pipeline.next_rechecks(&mut batch.outbox);
        let read = transport.reread_records(&wanted, &mut |index, input| {
            if let Some(place) = wanted.get(index) {
                pipeline.decide_recheck(*place, input, &mut batch.outbox);
            }
        })?;
        match read {
            ReadOutcome::Done => {
                self.status.note_answer();
                Ok(())
            }
            ReadOutcome::Interrupted => Err(Fault::Interrupted),
        }
    }

    /// Decides and commits all pending rechecks, in batches of the usual size. After an
    /// abort the caller finds again what is left.
    pub(super) fn drain_rechecks(&mut self, has_uncommitted: bool) -> Result<(), Fault> {
        self.drain_rechecks_and_refills(&[], has_uncommitted)
    }

    /// As [`drain_rechecks`](Self::drain_rechecks); the last batch also records that the
    /// refill of `partitions` is complete.
    pub(super) fn drain_rechecks_and_refills(
        &mut self,
        partitions: &[i32],
        has_uncommitted: bool,
    ) -> Result<(), Fault> {
        let mut open = has_uncommitted;
        loop {
            open |= self.pipeline.pending_rechecks() > 0 || !self.batch.outbox.is_empty();
            if self.pipeline.pending_rechecks() > 0 {
                self.recheck_chunk()?;
            }
            if self.pipeline.pending_rechecks() == 0 {
                for &partition in partitions {
                    open |= self.pipeline.finish_refill(partition);
                }
            }
            if !open || !self.commit_batch()? {
                return Ok(());
            }
            open = false;
        }
    }

    pub(super) fn recheck_and_publish(&mut self) -> Result<(), Fault> {
        self.recheck_all()?;
        self.publish_outbox()
    }

    pub(super) fn publish_outbox(&mut self) -> Result<(), Fault> {
        let now_ms = self.pipeline.batch_time().ms();
        self.transport.publish(&self.batch.outbox, now_ms)?;
        self.batch.published_bytes += self.batch.outbox.byte_len() as u64;
        self.batch.outbox.clear();
        Ok(())
    }

    pub(super) fn commit_if_open(&mut self) -> Result<(), Fault> {
        if self.batch.opened_at.is_some() || self.transport.has_uncommitted() {
            self.recheck_and_commit()?;
        }
        Ok(())
    }

    pub(super) fn recheck_and_commit(&mut self) -> Result<(), Fault> {
        if self.batch.opened_at.is_none() {
            let now_ms = self.batch_time_ms();
            self.pipeline.begin_batch(BatchTime::from_ms(now_ms));
        }
        // Rechecks count towards the rates too.
        self.recheck_all()?;
        self.commit_batch()?;
        Ok(())
    }

    /// Commits the batch. Returns false if a stop dropped it instead.
    pub(super) fn commit_batch(&mut self) -> Result<bool, Fault> {
        self.check_losses()?;
        if !self.wait_for_rates()? {
            return Ok(false);
        }
        let started = Instant::now();
        self.write_marks();
        self.publish_outbox()?;
        self.transport.commit()?;
        self.status.note_answer();
        let times = CommitTimes {
            batch: self.batch.opened_at.map(|since| since.elapsed()),
            transaction: started.elapsed(),
            committed_ms: (self.clock)(),
        };
        self.metrics.record_commit(self.pipeline.tally(), times);
        self.totals.add(self.pipeline.tally());
        self.dead_letter_log.log_batch(self.pipeline.tally());
        self.log_warnings();
        self.pipeline.commit();
        self.min_batch_time_ms = self.min_batch_time_ms.max(self.pipeline.batch_time().ms());
        self.losses.commit_batch(self.min_batch_time_ms);
        self.update_output_counts();
        self.batch.reset();
        self.batch.aborts.reset();
        Ok(true)
    }

    pub(super) fn update_output_counts(&mut self) {
        let Some(deliveries) = self.pipeline.deliveries() else {
            return;
        };
        let outputs = &mut self.batch.outputs_per_recipient;
        outputs.clear();
        outputs.resize(self.pipeline.lane().recipients.len(), 0);
        deliveries.state().add_sent_per_recipient(outputs);
        self.losses.set_output_counts(outputs, self.pipeline.batch_time().ms());
    }

    /// Stops before the batch takes back too much.
    fn check_losses(&mut self) -> Result<(), Fault> {
        let taken =
            loss_guard::batch_retractions(self.pipeline.tally(), self.batch.is_policy_change);
        if taken.is_empty() {
            return Ok(());
        }
        let now_ms = self.pipeline.batch_time().ms();
        let findings = self.losses.check_batch(taken, now_ms);
        self.stop_on_unaccepted_losses(&findings)
    }

    /// Stops before a reconcile that is known to take back too much.
    pub(super) fn check_foreseen_losses(&mut self) -> Result<(), Fault> {
        let foreseen = self.pipeline.expected_retractions().to_vec();
        self.check_foreseen_counts(&foreseen, self.batch.is_policy_change)
    }

    pub(super) fn check_foreseen_counts(
        &mut self,
        counts: &[ReasonCounts],
        is_policy_change: bool,
    ) -> Result<(), Fault> {
        let taken = loss_guard::foreseen_retractions(counts, is_policy_change);
        let now_ms = self.pipeline.batch_time().ms();
        let findings = self.losses.check_foreseen(&taken, now_ms);
        self.stop_on_unaccepted_losses(&findings)?;
        self.losses.grant_accepted(&taken, &findings);
        Ok(())
    }

    /// Drops the batch and stops, unless an operator accepted all findings.
    fn stop_on_unaccepted_losses(&mut self, findings: &[LossFinding]) -> Result<(), Fault> {
        let is_open = |finding: &&LossFinding| !(self.is_accepted)(&finding.code());
        let open: Vec<String> =
            findings.iter().filter(is_open).map(LossFinding::to_string).collect();
        if open.is_empty() {
            return Ok(());
        }
        self.drop_batch()?;
        Err(Fault::stop(format!(
            "too much would be taken back within an hour, and nothing of the batch was committed: \
             look for what is missing or was sent by mistake. {}",
            open.join("; ")
        )))
    }

    /// Warns an operator by coordinates only.
    fn log_warnings(&self) {
        let lane = self.pipeline.lane();
        for BatchWarning { kind, coordinates: at } in &self.pipeline.tally().warnings {
            let topic = lane.source(at.source).map_or("", |source| &source.topic);
            let (partition, offset) = (at.partition, at.offset);
            let lane = lane.name.as_str();
            match kind {
                WarningKind::ErasureUnmatched => tracing::warn!(
                    lane,
                    topic,
                    partition,
                    offset,
                    "a null erased nobody: no patron is known by its key, which other records may spell differently"
                ),
                WarningKind::ForeignKey => tracing::warn!(
                    lane,
                    topic,
                    partition,
                    offset,
                    "the key of a patron's message is JSON, quoted or binary, and no patron's id: the message was refused, and nobody was erased"
                ),
            }
        }
    }

    /// Waits until every recipient's rate allows the batch. Returns false if a stop came
    /// first and the batch was dropped.
    fn wait_for_rates(&mut self) -> Result<bool, Fault> {
        for recipient in 0..self.pipeline.tally().recipients.len() {
            let outputs = self.pipeline.tally().recipients[recipient].published_messages();
            while let Err(wait) = self.meter.check_rate(recipient, outputs) {
                if self.stop.is_requested() {
                    self.drop_batch()?;
                    return Ok(false);
                }
                let started = Instant::now();
                self.transport.pause(wait.min(IDLE_POLL_TIMEOUT))?;
                self.status.note_answer();
                self.metrics.record_rate_limit_wait(started.elapsed());
            }
        }
        Ok(true)
    }

    pub(super) fn drop_batch(&mut self) -> Result<(), Fault> {
        self.pipeline.rollback();
        self.losses.drop_batch();
        self.batch.reset();
        self.transport.rewind()
    }

    /// Drops the batch so that it is decided again. Interruptions are not counted.
    ///
    /// # Errors
    ///
    /// The fault, if it does not allow a retry or occurred too often.
    pub(super) fn handle_abort(&mut self, fault: Fault) -> Result<(), Fault> {
        if !abort_counter::allows_retry(&fault) {
            return Err(fault);
        }
        tracing::warn!(lane = %self.pipeline.lane().name, cause = %fault, "batch aborted, trying again");
        self.metrics.count_abort();
        self.drop_batch()?;
        self.batch.was_interrupted = matches!(fault, Fault::Interrupted);
        if self.batch.was_interrupted {
            return self.transport.pause(IDLE_POLL_TIMEOUT);
        }
        self.batch.aborts.count(fault)?;
        self.transport.pause(IDLE_POLL_TIMEOUT)
    }

    fn write_marks(&mut self) {
        let mut acting = self.transport.batch_partitions();
        acting.extend(self.pipeline.changed_partitions());
        for partition in acting {
            self.write_mark(partition);
        }
    }

    pub(super) fn write_mark(&mut self, partition: i32) {
        let Some(deliveries) = self.pipeline.deliveries() else {
            return;
        };
        let number = deliveries.next_mark_number(partition);
        let mut position = self.transport.mark_positions(partition, number);
        position.retractions =
            self.losses.recent_retractions(partition, self.pipeline.batch_time().ms());
        let outbox = &mut self.batch.outbox;
        self.pipeline.write_mark(partition, position, outbox);
    }
}

/// Returns whether some recipient's outputs reached what its rate allows per batch.
fn is_full_for_rates(meter: &Meter, pipeline: &Pipeline) -> bool {
    pipeline.tally().recipients.iter().enumerate().any(|(at, tally)| {
        meter.batch_outputs_max(at).is_some_and(|max| tally.published_messages() >= max)
    })
}

impl OpenBatch {
    /// `ledger_bytes` come with the marks, at the batch's end.
    fn is_full(&self, bounds: &BatchBounds, ledger_bytes: usize) -> bool {
        let waiting = (self.outbox.byte_len() + ledger_bytes) as u64;
        self.records >= bounds.records || self.published_bytes + waiting >= bounds.bytes
    }

    fn is_overdue(&self) -> bool {
        self.opened_at.is_some_and(|since| since.elapsed() >= self.max_open)
    }

    fn reset(&mut self) {
        self.outbox.clear();
        self.opened_at = None;
        self.records = 0;
        self.published_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_max_open(written_ms: Option<i64>, want_ms: u64) {
        let open_for = BatchBounds::default().max_open_duration(written_ms, 1_000_000);
        assert_eq!(open_for, Duration::from_millis(want_ms), "{written_ms:?}");
    }

    #[test]
    fn batch_stays_open_longer_behind_a_backlog() {
        check_max_open(None, 50);
        check_max_open(Some(1_000_000), 50);
        check_max_open(Some(2_000_000), 50);
        check_max_open(Some(i64::MAX), 50);
        check_max_open(Some(999_000), 50);
        check_max_open(Some(998_999), 1_000);
        check_max_open(Some(i64::MIN), 1_000);
    }

    #[track_caller]
    fn check_next_record_timeout(open_ms: u64, open_for_ms: u64, want_ms: u64) {
        let [open, open_for, want] = [open_ms, open_for_ms, want_ms].map(Duration::from_millis);
        let next_within = BatchBounds::default().next_record_timeout(open, open_for);
        assert_eq!(next_within, want, "{open_ms} of {open_for_ms}");
    }

    #[test]
    fn batch_waits_for_next_record_within_its_bounds() {
        check_next_record_timeout(0, 50, 50);
        check_next_record_timeout(30, 50, 20);
        check_next_record_timeout(45, 50, 5);
        check_next_record_timeout(50, 50, 0);
        check_next_record_timeout(0, 1_000, 50);
        check_next_record_timeout(45, 1_000, 10);
        check_next_record_timeout(900, 1_000, 10);
        check_next_record_timeout(995, 1_000, 5);
        check_next_record_timeout(2_000, 1_000, 0);
    }
}
