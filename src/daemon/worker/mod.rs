//! A worker: a thread that polls a transport, decides, and commits batches to it.
//!
//! It knows when a batch is full, when to wait, and what to do about a fault. It does not
//! know what a record means.

mod batch;
mod rebuild;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use batch::BatchBounds;
pub(super) use batch::CLOCK_CHECK_RECORDS;
use batch::{OpenBatch, PUBLISH_CHUNK_RECORDS};

use super::clock;
use super::dead_letter_log::DeadLetterLog;
use super::health::{WorkerPhase, WorkerStatus};
use super::loss_guard::{LossGuard, WorkerLosses};
use super::metrics::WorkerMetrics;
use crate::config::settings::LimitSettings;
use crate::engine::delivery::PeriodRun;
use crate::engine::meter::Meter;
use crate::engine::pipeline::{BatchTime, Pipeline};
use crate::engine::tally::{RecipientTally, Tally};
use crate::message::{Fault, MisplacedRecord};
use crate::policy::term::utc_month;
use crate::transport::{LateGate, PollOutcome, StopSignal, Transport};

/// How long a poll waits when no batch is open.
const IDLE_POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// How often to warn about a gate that holds back the lane.
const LATE_GATE_WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// How often to report lag and table size.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// How a worker ended in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerExit {
    Stopped,
    /// All input is committed up to its end.
    EndOfInput,
    /// A month began. Recipients with a period need a worker that starts in it: records may
    /// have been compacted away since this one started.
    NewMonth,
}

pub struct Worker<T> {
    pub pipeline: Pipeline,
    pub transport: T,
    pub meter: Meter,
    pub bounds: BatchBounds,
    pub metrics: WorkerMetrics,
    pub status: WorkerStatus,
    pub stop: StopSignal,
    /// Milliseconds since the Unix epoch.
    pub clock: Box<dyn FnMut() -> i64 + Send>,
    /// How often to look for rows that are due.
    pub sweep_interval: Duration,
    /// How often to compare sources and outputs with the marks.
    pub continuity_check_interval: Duration,
    /// Partitions of each joined source, to share rates by; 0 where unknown.
    pub source_partitions: usize,
    /// Counts of all committed batches.
    pub totals: Tally,
    /// The time of the last committed batch; no batch is decided at an earlier one.
    pub min_batch_time_ms: i64,
    pub losses: WorkerLosses,
    pub is_accepted: AcceptanceCheck,
    /// How long a gate source may hold back the others without a warning.
    pub gate_wait_limit: Duration,
    dead_letter_log: DeadLetterLog,
    batch: OpenBatch,
}

/// Returns whether an operator accepted the finding with a code.
pub type AcceptanceCheck = Arc<dyn Fn(&str) -> bool + Send + Sync>;

impl<T: Transport> Worker<T> {
    #[must_use]
    pub fn new(pipeline: Pipeline, transport: T, metrics: WorkerMetrics) -> Self {
        let recipients = pipeline.lane().recipients.len();
        let totals = Tally::new(pipeline.lane().sources.len(), recipients);
        let losses = LossGuard::new(pipeline.lane(), 0).register_worker();
        let dead_letter_log = DeadLetterLog::new(pipeline.lane());
        Worker {
            pipeline,
            transport,
            meter: Meter::new(vec![None; recipients]),
            bounds: BatchBounds::default(),
            metrics,
            status: WorkerStatus::new(),
            stop: StopSignal::default(),
            clock: Box::new(clock::now_ms),
            sweep_interval: Duration::from_secs(60),
            continuity_check_interval: Duration::from_secs(60),
            source_partitions: 0,
            totals,
            min_batch_time_ms: i64::MIN,
            losses,
            is_accepted: Arc::new(|_| false),
            gate_wait_limit: LimitSettings::default().gate_wait,
            dead_letter_log,
            batch: OpenBatch::default(),
        }
    }

    /// Works until a stop is requested, its input ends, or it cannot continue.
    ///
    /// # Errors
    ///
    /// A [`Fault`] that the worker cannot handle: the transport is lost, another instance
    /// took over, or the lane has to stop.
    pub fn run(&mut self) -> Result<WorkerExit, Fault> {
        loop {
            match self.step() {
                Ok(None) => {}
                Ok(Some(ended)) => {
                    self.dead_letter_log.log_remaining();
                    self.log_totals();
                    return Ok(ended);
                }
                Err(fault) => self.handle_abort(fault)?,
            }
        }
    }

    /// Returns the current time, and never one before the last committed batch.
    fn batch_time_ms(&mut self) -> i64 {
        (self.clock)().max(self.min_batch_time_ms)
    }

    fn log_totals(&self) {
        let recipients = || self.totals.recipients.iter().chain(&self.totals.former_recipients);
        let sum = |of: fn(&RecipientTally) -> u64| -> u64 { recipients().map(of).sum() };
        tracing::info!(
            lane = %self.pipeline.lane().name,
            consumed = self.totals.consumed(),
            released = sum(|recipient| recipient.released),
            unchanged = sum(|recipient| recipient.unchanged),
            held = sum(|recipient| recipient.held),
            corrected = sum(|recipient| recipient.rechecked.corrected),
            later = sum(|recipient| recipient.rechecked.released),
            taken_back = sum(|recipient| recipient.retraction_counts().sum()),
            withheld = sum(|recipient| recipient.withheld.iter().sum()),
            dead_letters = self.totals.dead_letters.iter().sum::<u64>(),
            before_erasure = self.totals.sources.iter().map(|source| source.from_before_erasure).sum::<u64>(),
            "done"
        );
    }

    /// Polls once and acts on the outcome.
    fn step(&mut self) -> Result<Option<WorkerExit>, Fault> {
        if self.stop.is_requested() {
            self.commit_if_open()?;
            self.transport.close(false)?;
            return Ok(Some(WorkerExit::Stopped));
        }
        self.status.note_answer();
        if self.is_new_month() {
            self.commit_if_open()?;
            self.transport.close(false)?;
            return Ok(Some(WorkerExit::NewMonth));
        }
        self.report_if_due();
        // What interrupted a batch waits in the event queue: poll it first, or the next
        // read is interrupted again.
        if !std::mem::take(&mut self.batch.was_interrupted) {
            self.check_continuity()?;
            self.sweep_if_due(false)?;
            self.publish_period_if_due(false)?;
        }
        let polled = self.poll_and_decide()?;
        self.stop_on_misplaced_gates()?;
        match polled {
            PollOutcome::Idle => self.commit_if_open()?,
            PollOutcome::Records(_) => {
                if self.is_commit_due() {
                    self.recheck_and_commit()?;
                } else if !self.meter.has_rates()
                    && self.batch.outbox.len() as u64 >= PUBLISH_CHUNK_RECORDS
                {
                    self.recheck_and_publish()?;
                }
            }
            PollOutcome::Assigned(partitions) => self.handle_assignment(&partitions)?,
            PollOutcome::Revoked => {
                self.metrics.count_rebalance();
                self.commit_if_open()?;
                self.release_partitions()?;
            }
            PollOutcome::Lost => {
                self.metrics.count_rebalance();
                self.drop_batch()?;
                self.release_partitions()?;
            }
            PollOutcome::End => {
                self.commit_if_open()?;
                self.sweep_if_due(true)?;
                self.publish_period_if_due(true)?;
                self.transport.close(true)?;
                return Ok(Some(WorkerExit::EndOfInput));
            }
        }
        Ok(None)
    }

    fn release_partitions(&mut self) -> Result<(), Fault> {
        self.status.set_phase(WorkerPhase::Joining);
        self.transport.release()
    }

    /// Stops if an unreadable consent or objection names a patron of another partition,
    /// which this worker cannot see.
    fn stop_on_foreign_unreadable_gates(&mut self) -> Result<(), Fault> {
        for record in self.pipeline.take_unreadable_records() {
            let mut patrons = record.patron_ids.iter();
            let elsewhere = |patron: &String| {
                let key = patron.as_bytes();
                self.transport.is_misplaced(record.coordinates, key)
            };
            if patrons.any(elsewhere) {
                return Err(Fault::stop(record.stop_message));
            }
        }
        Ok(())
    }

    /// Stops if gate records lie in other partitions than their patrons, before anything of
    /// the batch is committed.
    fn stop_on_misplaced_gates(&mut self) -> Result<(), Fault> {
        let found = self.transport.take_misplaced()?;
        match found.is_empty() {
            true => Ok(()),
            false => Err(self.leave_for_misplaced(&found)),
        }
    }

    /// Leaves the group: whoever gets the partition next meets the same records at once.
    fn leave_for_misplaced(&mut self, found: &[MisplacedRecord]) -> Fault {
        const NAMED: usize = 10;
        let mut named: Vec<String> = Vec::new();
        for one in found.iter().take(NAMED) {
            named.push(format!(
                "`{}` partition {} offset {} belongs in partition {}",
                one.topic, one.coordinates.partition, one.coordinates.offset, one.home_partition
            ));
        }
        if found.len() > NAMED {
            named.push(format!("and {} more", found.len() - NAMED));
        }
        if let Err(fault) = self.transport.close(true) {
            tracing::debug!(%fault, "while leaving the group");
        }
        Fault::stop(format!(
            "a record of a gate (a patron, consent, objection, settlement) lies in another partition \
             than its patron, where it would not count: {}; nothing of this batch was committed. Have its producer use the partitioner \
             of `[kafka] partitioner`, and run `zeef gates repair --dry-run`, then `zeef gates \
             repair --apply`",
            named.join("; ")
        ))
    }

    /// Rechecks the rows that are due, if the sweep interval has passed or `is_forced`.
    fn sweep_if_due(&mut self, is_forced: bool) -> Result<(), Fault> {
        if self.batch.opened_at.is_some()
            || self.status.phase() != WorkerPhase::Ready
            || self.pipeline.deliveries().is_none()
        {
            return Ok(());
        }
        let now_ms = self.batch_time_ms();
        let since_ms = self.batch.last_sweep_ms.map(|swept| now_ms.saturating_sub(swept));
        let every_ms = i64::try_from(self.sweep_interval.as_millis()).unwrap_or(i64::MAX);
        if !is_forced && since_ms.is_some_and(|since| (0..every_ms).contains(&since)) {
            return Ok(());
        }
        self.pipeline.begin_batch(BatchTime::from_ms(now_ms));
        self.pipeline.sweep_due_rows(&mut self.batch.outbox);
        let maintained = self.transport.maintain(now_ms)?;
        self.drain_rechecks(maintained)?;
        self.batch.last_sweep_ms = Some(now_ms);
        Ok(())
    }

    /// Returns whether a month began since the table was built.
    fn is_new_month(&mut self) -> bool {
        if self.batch.table_month.is_none() || self.status.phase() != WorkerPhase::Ready {
            return false;
        }
        let month = utc_month(self.batch_time_ms());
        self.batch.table_month.as_ref().is_some_and(|built| *built < month)
    }

    /// Publishes and retracts what waits for recipients with a period, if a run is due and
    /// the worker has caught up; `is_at_end` says that it has.
    fn publish_period_if_due(&mut self, is_at_end: bool) -> Result<(), Fault> {
        if self.batch.table_month.is_none()
            || self.batch.opened_at.is_some()
            || self.status.phase() != WorkerPhase::Ready
        {
            return Ok(());
        }
        let now_ms = self.batch_time_ms();
        self.pipeline.begin_batch(BatchTime::from_ms(now_ms));
        let partitions: Vec<i32> = self.batch.built_partitions.iter().copied().collect();
        let period_run = self.pipeline.due_period_run(&partitions);
        if period_run == PeriodRun::Idle || !(is_at_end || self.transport.is_caught_up()?) {
            return Ok(());
        }
        let started = Instant::now();
        self.pipeline.begin_period_run(period_run, &partitions);
        let published = self.publish_waiting_outputs();
        self.pipeline.end_period_run();
        self.losses.end_grant();
        let Some(records) = published? else {
            return Ok(());
        };
        self.batch.has_waiting_policy_retractions = false;
        if records > 0 || period_run == PeriodRun::Publish {
            tracing::info!(
                lane = %self.pipeline.lane().name,
                records,
                outputs = period_run == PeriodRun::Publish,
                seconds = started.elapsed().as_secs_f64(),
                "published by period"
            );
        }
        Ok(())
    }

    /// Publishes what may leave now in the order of output keys. Returns for how many
    /// records, or `None` if a stop came in between.
    fn publish_waiting_outputs(&mut self) -> Result<Option<usize>, Fault> {
        let lane = self.pipeline.shared_lane();
        let counts = self.pipeline.deliveries();
        let counts = counts.map(|deliveries| deliveries.count_pending_retractions(&lane));
        self.check_foreseen_counts(
            &counts.unwrap_or_default(),
            self.batch.has_waiting_policy_retractions,
        )?;
        let records = self.pipeline.collect_pending();
        let chunk = usize::try_from(self.bounds.records).unwrap_or(usize::MAX);
        loop {
            let left = self.pipeline.take_pending(chunk, &mut self.batch.outbox);
            self.recheck_all()?;
            if left == 0 {
                self.pipeline.finish_period_run();
            }
            self.batch.outbox.sort_by_key();
            if !self.commit_batch()? {
                return Ok(None);
            }
            if left == 0 {
                return Ok(Some(records));
            }
            if self.stop.is_requested() {
                // The next start continues with what is left.
                return Ok(None);
            }
            let now_ms = self.batch_time_ms();
            self.pipeline.begin_batch(BatchTime::from_ms(now_ms));
        }
    }

    /// Compares sources and outputs with the marks, if the interval has passed.
    fn check_continuity(&mut self) -> Result<(), Fault> {
        let due = self
            .batch
            .last_continuity_check_at
            .is_none_or(|last| last.elapsed() >= self.continuity_check_interval);
        if !due || self.batch.opened_at.is_some() || self.status.phase() != WorkerPhase::Ready {
            return Ok(());
        }
        self.batch.last_continuity_check_at = Some(Instant::now());
        let findings = self.transport.find_changes()?;
        self.stop_on_unaccepted_findings(&findings)
    }

    /// Warns about a gate that holds back the lane for too long: what an open transaction
    /// hides there may forbid what waits.
    fn report_late_gate(&mut self) {
        let late = self.transport.late_gate();
        let Some(late) = late.filter(|late| late.late_for >= self.gate_wait_limit) else {
            if self.batch.last_late_gate_warning.take().is_some() {
                tracing::info!(lane = %self.pipeline.lane().name, "gate sources are read to their ends again");
            }
            self.status.set_problem(None);
            return;
        };
        let source = self.pipeline.lane().source(late.source);
        let topic = source.map_or("", |source| source.topic.as_str());
        let LateGate { partition, offset, .. } = late;
        self.status.set_problem(Some(format!(
            "topic {topic} partition {partition} offset {offset}: not read further for {} s, an \
             open transaction of its producer may hide what lies behind",
            late.late_for.as_secs()
        )));
        let place = (late.source, partition);
        let warned = self.batch.last_late_gate_warning.filter(|(source, partition, at)| {
            (*source, *partition) == place && at.elapsed() < LATE_GATE_WARNING_INTERVAL
        });
        if warned.is_none() {
            self.batch.last_late_gate_warning = Some((late.source, partition, Instant::now()));
            tracing::warn!(
                lane = %self.pipeline.lane().name,
                topic,
                partition,
                offset,
                seconds = late.late_for.as_secs(),
                "a gate source is not read to its end: an open transaction may hide what lies \
                 behind; what waits for it is not released"
            );
        }
    }

    fn report_if_due(&mut self) {
        let due = self.batch.last_report_at.is_none_or(|last| last.elapsed() >= REPORT_INTERVAL);
        if due {
            self.batch.last_report_at = Some(Instant::now());
            self.dead_letter_log.log_due_summary();
            self.report_late_gate();
            self.metrics.replace_lags(&self.transport.lag());
            self.metrics.set_table_patrons(self.pipeline.table().len());
            let now_ms = self.batch_time_ms();
            if let Some(deliveries) = self.pipeline.deliveries() {
                let state = deliveries.state();
                self.metrics.set_state_rows(state.len(), state.held_total());
                let overdue = state.overdue_source_deletions(now_ms);
                self.metrics.set_overdue_source_deletions(overdue);
            }
        }
    }
}
