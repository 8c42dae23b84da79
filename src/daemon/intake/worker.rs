//! A worker of an intake: a thread that polls raw messages, converts them, and commits batches.
//!
//! A batch is collected first; then the lookups are read to their ends, and only then is it
//! converted and written. So a record has every row that was there when it was polled, and no
//! transaction is open while rows are waited for. Of kinds with `newer_by` older versions are
//! taken out then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::raw_batch::{RawBatch, RawValue};
use super::setup::IntakeSetup;
use super::version_state::{VersionState, VersionTime};
use crate::config::settings::LimitSettings;
use crate::daemon::abort_counter::{self, AbortCounter};
use crate::daemon::clock;
use crate::daemon::dead_letter_log::MinuteCounts;
use crate::daemon::health::{WorkerPhase, WorkerStatus};
use crate::daemon::metrics::{CommitTimes, IntakeMetrics};
use crate::daemon::worker::{BatchBounds, CLOCK_CHECK_RECORDS, WorkerExit};
use crate::engine::decide::dead_letter::DeadLetter;
use crate::engine::pipeline::BatchTime;
use crate::intake::{
    CanonicalRecord, Conversion, LookupTables, RawMessage, RecordOutcome, Refusal, RefusedRecord,
};
use crate::message::{Cause, Coordinates, Fault, Input, LanePlan, Outbox};
use crate::policy::catalogue::Role;
use crate::schemas::RegistryError;
use crate::transport::{
    AssignedPartition, PollFlow, PollOutcome, ReadOutcome, StopSignal, Transport,
};

/// How long a poll waits when no batch is open.
const IDLE_POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// How often to report lag and lookups.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// How often to serve the transport while schemas are asked for.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// What a record is that decides over others and could not be made: the engine refuses it
/// whole, so that what it decides over is closed.
const UNREADABLE_RECORD: &[u8] = b"{}";

pub struct IntakeWorker<T> {
    pub transport: T,
    pub bounds: BatchBounds,
    pub status: WorkerStatus,
    pub stop: StopSignal,
    /// Milliseconds since the Unix epoch.
    pub clock: Box<dyn FnMut() -> i64 + Send>,
    /// How often to look for topics that are new or changed.
    pub topic_check_interval: Duration,
    /// How long rows of lookups may be waited for before the worker is not ready.
    pub lookup_wait_limit: Duration,
    setup: Arc<IntakeSetup>,
    plan: LanePlan,
    lookups: LookupTables,
    versions: VersionState,
    metrics: IntakeMetrics,
    batch: OpenBatch,
    aborts: AbortCounter,
    /// A rebalance or a stop interrupted the last batch.
    was_interrupted: bool,
    refusal_log: MinuteCounts<(String, Refusal)>,
    totals: Totals,
    last_report_at: Option<Instant>,
    last_topic_check_at: Instant,
}

#[derive(Debug, Default)]
struct OpenBatch {
    messages: RawBatch,
    outbox: Outbox,
    tally: Tally,
    /// When its first message was polled.
    opened_at: Option<Instant>,
    max_open: Duration,
}

/// What became of the messages of a batch.
#[derive(Debug, Default)]
struct Tally {
    records: BTreeMap<(Arc<str>, RecordOutcome), u64>,
    /// Records of a kind that were not made.
    refused_records: BTreeMap<String, u64>,
    /// By topic.
    refused: BTreeMap<(String, Refusal), u64>,
    /// Records that were older than what was written, by topic and kind.
    older: BTreeMap<(String, Arc<str>), u64>,
}

/// What was committed since the start.
#[derive(Debug, Default)]
struct Totals {
    messages: u64,
    records: u64,
    refused: u64,
    older: u64,
}

impl OpenBatch {
    fn is_full(&self, bounds: &BatchBounds) -> bool {
        self.messages.len() as u64 >= bounds.records
            || self.messages.byte_len() as u64 >= bounds.bytes
    }

    fn is_overdue(&self) -> bool {
        self.opened_at.is_some_and(|since| since.elapsed() >= self.max_open)
    }

    fn reset(&mut self) {
        self.messages.clear();
        self.reset_output();
        self.opened_at = None;
    }

    fn reset_output(&mut self) {
        self.outbox.clear();
        self.tally = Tally::default();
    }
}

impl<T: Transport> IntakeWorker<T> {
    /// `plan` is one of `setup`, with which `transport` was opened.
    ///
    /// # Errors
    ///
    /// The intake compares versions, and there is no key of the state.
    pub fn new(
        setup: Arc<IntakeSetup>,
        plan: LanePlan,
        transport: T,
        metrics: IntakeMetrics,
    ) -> Result<Self, Fault> {
        Ok(IntakeWorker {
            transport,
            bounds: BatchBounds::default(),
            status: WorkerStatus::new(),
            stop: StopSignal::default(),
            clock: Box::new(clock::now_ms),
            topic_check_interval: Duration::from_secs(60),
            lookup_wait_limit: LimitSettings::default().gate_wait,
            lookups: setup.intake.empty_lookups(),
            versions: VersionState::new(&setup)?,
            setup,
            plan,
            metrics,
            batch: OpenBatch::default(),
            aborts: AbortCounter::default(),
            was_interrupted: false,
            refusal_log: MinuteCounts::default(),
            totals: Totals::default(),
            last_report_at: None,
            last_topic_check_at: Instant::now(),
        })
    }

    /// Works until a stop is requested, its input ends, or it cannot continue.
    ///
    /// # Errors
    ///
    /// A [`Fault`] that the worker cannot handle: the transport is lost, another instance took
    /// over, or the intake has to stop.
    pub fn run(&mut self) -> Result<WorkerExit, Fault> {
        loop {
            match self.step() {
                Ok(None) => {}
                Ok(Some(ended)) => {
                    let counts = self.refusal_log.take();
                    self.log_refusals(counts);
                    tracing::info!(
                        intake = self.setup.intake.name(),
                        messages = self.totals.messages,
                        records = self.totals.records,
                        refused = self.totals.refused,
                        older = self.totals.older,
                        "done"
                    );
                    return Ok(ended);
                }
                Err(fault) => self.handle_abort(fault)?,
            }
        }
    }

    /// Polls once and acts on the outcome.
    fn step(&mut self) -> Result<Option<WorkerExit>, Fault> {
        if self.stop.is_requested() {
            // What is collected was committed by nobody: the next start polls it again.
            self.drop_batch()?;
            self.transport.close(false)?;
            return Ok(Some(WorkerExit::Stopped));
        }
        self.status.note_answer();
        self.report_if_due();
        if !std::mem::take(&mut self.was_interrupted) {
            self.check_topics_if_due()?;
        }
        match self.poll_messages()? {
            PollOutcome::Idle => self.commit_if_open()?,
            PollOutcome::Records(_) => {
                if self.batch.is_full(&self.bounds) || self.batch.is_overdue() {
                    self.commit_if_open()?;
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
                self.transport.close(true)?;
                return Ok(Some(WorkerExit::EndOfInput));
            }
        }
        Ok(None)
    }

    fn poll_messages(&mut self) -> Result<PollOutcome, Fault> {
        let IntakeWorker { transport, batch, bounds, clock, .. } = self;
        let wait = match batch.opened_at {
            Some(since) => bounds.next_record_timeout(since.elapsed(), batch.max_open),
            None => IDLE_POLL_TIMEOUT,
        };
        transport.poll(wait, &mut |input| {
            if batch.opened_at.is_none() {
                batch.opened_at = Some(Instant::now());
                batch.max_open = bounds.max_open_duration(input.timestamp_ms, clock());
            }
            batch.messages.push(&input);
            let count = batch.messages.len() as u64;
            let is_overdue = count.is_multiple_of(CLOCK_CHECK_RECORDS) && batch.is_overdue();
            match is_overdue || batch.is_full(bounds) {
                true => PollFlow::BatchFull,
                false => PollFlow::Continue,
            }
        })
    }

    /// Reads the state, and the lookups to their ends, before the first message.
    fn handle_assignment(&mut self, partitions: &[AssignedPartition]) -> Result<(), Fault> {
        self.metrics.count_rebalance();
        self.status.set_phase(WorkerPhase::Building);
        let started = Instant::now();
        let restored = self.versions.restore(&mut self.transport, partitions);
        match restored.and_then(|()| self.read_lookups()) {
            Ok(()) => {}
            // What interrupted it waits to be polled.
            Err(Fault::Interrupted) => return Ok(()),
            Err(fault) => return Err(fault),
        }
        self.transport.resume()?;
        tracing::info!(
            intake = self.setup.intake.name(),
            topics = self.plan.sources.len(),
            lookup_rows = self.lookups.row_counts().iter().sum::<usize>(),
            versions = self.versions.size().map_or(0, |(rows, _)| rows),
            seconds = started.elapsed().as_secs_f64(),
            "ready"
        );
        self.status.set_phase(WorkerPhase::Ready);
        Ok(())
    }

    fn release_partitions(&mut self) -> Result<(), Fault> {
        self.status.set_phase(WorkerPhase::Joining);
        self.transport.release()
    }

    /// # Errors
    ///
    /// [`Fault::Interrupted`] if a rebalance or a stop came in between; [`Fault::Stop`] if the
    /// rows need more memory than they may have; [`Fault::TransportLost`] if a row's schema cannot
    /// be found out, as the row was handed out and has to be read again.
    fn read_lookups(&mut self) -> Result<(), Fault> {
        let wait_limit = self.lookup_wait_limit;
        let IntakeWorker { transport, setup, plan, lookups, metrics, refusal_log, status, .. } =
            self;
        let topics = plan.intake.as_ref().map_or(&[][..], |intake| &intake.lookups);
        let mut failed = None;
        let mut take = |input: Input<'_>| {
            let Some(topic) = topics.get(usize::from(input.source.0)) else {
                return;
            };
            if failed.is_some() {
                return;
            }
            let value = input.payload.bytes();
            let refused = setup.schemas.schema_of(&setup.intake, value);
            let refused = refused.map_err(lost_registry).and_then(|schema| {
                let message = RawMessage { topic, value, schema: schema.as_deref() };
                let applied = setup.intake.apply_to_lookups(&message, lookups);
                applied.map_err(|full| Fault::stop(full.to_string()))
            });
            match refused {
                Ok(refused) => {
                    for RefusedRecord { refusal, .. } in refused {
                        metrics.count_refused(topic, refusal, 1);
                        refusal_log.add((topic.clone(), refusal), 1);
                    }
                }
                Err(fault) => failed = Some(fault),
            }
        };
        let mut waiting = |waited: Duration| {
            status.note_answer();
            status.set_problem((waited >= wait_limit).then(|| {
                let seconds = waited.as_secs();
                format!("rows of a lookup are hidden by an open transaction for {seconds} s")
            }));
        };
        let read = transport.read_lookups(&mut take, &mut waiting);
        status.set_problem(None);
        let read = read?;
        if let Some(fault) = failed {
            return Err(fault);
        }
        match read {
            ReadOutcome::Done => Ok(()),
            ReadOutcome::Interrupted => Err(Fault::Interrupted),
        }
    }

    /// Converts and commits what was collected.
    fn commit_if_open(&mut self) -> Result<(), Fault> {
        if self.batch.messages.is_empty() && !self.transport.has_uncommitted() {
            return Ok(());
        }
        let now_ms = (self.clock)();
        if !self.batch.messages.is_empty() {
            self.read_lookups()?;
            let converted = self.convert_batch(now_ms);
            self.status.set_problem(converted.as_ref().err().map(ToString::to_string));
            converted?;
        }
        let started = Instant::now();
        self.versions.publish(&mut self.transport, &mut self.batch.outbox);
        self.transport.publish(&self.batch.outbox, now_ms)?;
        self.transport.commit()?;
        self.versions.commit();
        self.status.note_answer();
        self.aborts.reset();
        let times = CommitTimes {
            batch: self.batch.opened_at.map(|since| since.elapsed()),
            transaction: started.elapsed(),
            committed_ms: (self.clock)(),
        };
        self.count_committed(times);
        self.batch.reset();
        let counts = self.refusal_log.take_due(Instant::now());
        self.log_refusals(counts);
        Ok(())
    }

    /// # Errors
    ///
    /// [`Fault::Unanswered`] if the schema of a message cannot be found out; [`Fault::Stop`] if a
    /// table was emptied that the mapping has the intake stop for, or versions need more memory
    /// than they may have.
    fn convert_batch(&mut self, now_ms: i64) -> Result<(), Fault> {
        let IntakeWorker { transport, setup, plan, lookups, versions, batch, .. } = self;
        batch.reset_output();
        let OpenBatch { messages, outbox, tally, .. } = batch;
        let version_time = VersionTime { now_ms, newest_ms: messages.newest_ms() };
        versions.begin(version_time);
        let time = BatchTime::from_ms(now_ms);
        let mut writer = RecordWriter { setup, plan, time: &time, outbox, tally };
        let mut kept_alive_at = Instant::now();
        for (coordinates, value) in messages.iter() {
            let Some(source) = plan.sources.get(usize::from(coordinates.source.0)) else {
                continue;
            };
            let value = match value {
                RawValue::Null => None,
                RawValue::Bytes(bytes) => Some(bytes),
                RawValue::Refused => {
                    let refused = RefusedRecord::of_message(Refusal::NotAMessage);
                    writer.write_dead_letter(coordinates, &refused);
                    continue;
                }
            };
            let schema = setup.schemas.schema_of(&setup.intake, value);
            let schema = schema.map_err(|error| Fault::unanswered(Cause::from_error(error)))?;
            // Many schemas may have to be asked for.
            if schema.is_some() && kept_alive_at.elapsed() >= KEEP_ALIVE_INTERVAL {
                transport.pause(Duration::ZERO)?;
                kept_alive_at = Instant::now();
            }
            let message = RawMessage { topic: &source.topic, value, schema: schema.as_deref() };
            let mut conversion = setup.intake.convert(&message, lookups);
            setup.intake.require_rows(&source.topic, &conversion).map_err(|stop| {
                let Coordinates { partition, offset, .. } = coordinates;
                Fault::stop(format!("partition {partition} offset {offset}: {stop}"))
            })?;
            versions.take_out_older(setup, coordinates.partition, &mut conversion)?;
            writer.write_conversion(coordinates, &conversion);
        }
        versions.forget_removed(version_time);
        Ok(())
    }

    fn count_committed(&mut self, times: CommitTimes) {
        let messages = self.batch.messages.len() as u64;
        self.metrics.record_commit(messages, times);
        self.totals.messages += messages;
        for ((kind, outcome), count) in &self.batch.tally.records {
            self.metrics.count_records(kind, outcome.word(), *count);
            self.totals.records += count;
        }
        for (kind, count) in &self.batch.tally.refused_records {
            self.metrics.count_records(kind, "refused", *count);
        }
        for ((topic, refusal), count) in &self.batch.tally.refused {
            self.metrics.count_refused(topic, *refusal, *count);
            self.refusal_log.add((topic.clone(), *refusal), *count);
            self.totals.refused += count;
        }
        for ((topic, kind), count) in &self.batch.tally.older {
            self.metrics.count_older(topic, kind, *count);
            self.totals.older += count;
        }
    }

    fn log_refusals(&self, counts: Option<BTreeMap<(String, Refusal), u64>>) {
        let Some(counts) = counts else {
            return;
        };
        let counts = counts.iter();
        let counts = counts.map(|((topic, refusal), count)| format!("{topic} {refusal} {count}"));
        let counts = counts.collect::<Vec<_>>().join(", ");
        tracing::warn!(intake = self.setup.intake.name(), counts, "refused");
    }

    fn drop_batch(&mut self) -> Result<(), Fault> {
        self.batch.reset();
        self.versions.roll_back();
        self.transport.rewind()
    }

    /// Drops the batch so that it is converted again. Interruptions are not counted.
    ///
    /// # Errors
    ///
    /// The fault, if it does not allow a retry or occurred too often.
    fn handle_abort(&mut self, fault: Fault) -> Result<(), Fault> {
        if !abort_counter::allows_retry(&fault) {
            return Err(fault);
        }
        tracing::warn!(intake = self.setup.intake.name(), cause = %fault, "batch aborted, trying again");
        self.metrics.count_abort();
        self.drop_batch()?;
        self.was_interrupted = matches!(fault, Fault::Interrupted);
        if !self.was_interrupted {
            self.aborts.count(fault)?;
        }
        self.transport.pause(IDLE_POLL_TIMEOUT)
    }

    fn report_if_due(&mut self) {
        let due = self.last_report_at.is_none_or(|last| last.elapsed() >= REPORT_INTERVAL);
        if due {
            self.last_report_at = Some(Instant::now());
            let counts = self.refusal_log.take_due(Instant::now());
            self.log_refusals(counts);
            self.metrics.replace_lags(&self.transport.lag());
            self.metrics.set_lookups(&self.lookups.row_counts(), self.lookups.bytes());
            if let Some((rows, bytes)) = self.versions.size() {
                self.metrics.set_versions(rows, bytes);
            }
        }
    }

    fn check_topics_if_due(&mut self) -> Result<(), Fault> {
        if self.batch.opened_at.is_some()
            || self.last_topic_check_at.elapsed() < self.topic_check_interval
        {
            return Ok(());
        }
        self.last_topic_check_at = Instant::now();
        let setup = &self.setup;
        self.transport.check_topics(&|topic| setup.reads_topic(topic))
    }
}

fn lost_registry(error: RegistryError) -> Fault {
    Fault::transport_lost(Cause::from_error(error))
}

/// Writes what became of messages into the outbox of their batch, and counts it.
struct RecordWriter<'a> {
    setup: &'a IntakeSetup,
    plan: &'a LanePlan,
    time: &'a BatchTime,
    outbox: &'a mut Outbox,
    tally: &'a mut Tally,
}

impl RecordWriter<'_> {
    fn write_conversion(&mut self, coordinates: Coordinates, conversion: &Conversion) {
        for record in &conversion.records {
            self.write_record(coordinates, record);
        }
        for refused in &conversion.refused {
            self.write_dead_letter(coordinates, refused);
        }
        for kind in &conversion.older {
            let place = (self.topic_of(coordinates).to_owned(), Arc::clone(kind));
            *self.tally.older.entry(place).or_default() += 1;
        }
    }

    fn topic_of(&self, coordinates: Coordinates) -> &str {
        let source = self.plan.sources.get(usize::from(coordinates.source.0));
        source.map_or("", |source| source.topic.as_str())
    }

    /// Writes a record, or refuses it where it is too large for its topic. Leaves out a kind
    /// that nobody reads.
    fn write_record(&mut self, coordinates: Coordinates, record: &CanonicalRecord) {
        let Some((output, kind)) = self.setup.find_kind(&record.kind) else {
            return;
        };
        let key = record.key.as_bytes();
        let mut value = record.value.as_deref();
        let mut outcome = record.outcome;
        let size = key.len() + value.map_or(0, <[u8]>::len);
        if size > self.setup.output_bytes_max {
            self.write_dead_letter(coordinates, &RefusedRecord::too_large(&record.kind));
            if kind.role == Role::Record || key.len() > self.setup.output_bytes_max / 2 {
                return;
            }
            value = Some(UNREADABLE_RECORD);
            outcome = RecordOutcome::Unreadable;
        }
        match value {
            Some(value) => {
                self.outbox.push(output, None, Some(key), |out| out.extend_from_slice(value));
            }
            None => self.outbox.push_tombstone(output, None, key),
        }
        *self.tally.records.entry((Arc::clone(&record.kind), outcome)).or_default() += 1;
    }

    /// Points at a message, or a record of it; not for a kind that nobody reads.
    fn write_dead_letter(&mut self, coordinates: Coordinates, refused: &RefusedRecord) {
        let kind = refused.kind.as_deref();
        if kind.is_some_and(|kind| self.setup.find_kind(kind).is_none()) {
            return;
        }
        let topic = self.topic_of(coordinates).to_owned();
        let dead_letter = DeadLetter {
            lane: &self.plan.name,
            topic: &topic,
            partition: coordinates.partition,
            offset: coordinates.offset,
            reason: refused.refusal.as_str(),
            kind,
            recipient: None,
            field: Some(refused.field.as_str()).filter(|field| !field.is_empty()),
            policy_version: &self.plan.policy_version,
            time: self.time.rfc3339(),
        };
        let output = self.setup.dead_letter_output();
        self.outbox.push(output, None, None, |out| dead_letter.write_json(out));
        *self.tally.refused.entry((topic, refused.refusal)).or_default() += 1;
        if let Some(kind) = kind {
            *self.tally.refused_records.entry(kind.to_owned()).or_default() += 1;
        }
    }
}
