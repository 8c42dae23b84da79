//! One worker: a thread that moves batches from its transport to its transport.
//!
//! It owns its transport, pipeline and outbox. It knows when a batch is full,
//! when to wait, and what to do about a fault; what a record means it does not
//! know.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::health::{Phase, Pulse};
use super::letters::LetterLog;
use super::losses::{self, Finding as Loss, Losses, Share};
use super::metrics::WorkerMetrics;
use crate::engine::holding::Pace;
use crate::engine::lane::{PATRONS_TOPIC, STATE_TOPIC};
use crate::engine::meter::Meter;
use crate::engine::pipeline::{BatchTime, Pipeline};
use crate::engine::tally::{About, ByReason, RecipientTally, Tally, Warning};
use crate::policy::settings;
use crate::policy::term::month_of;
use crate::transport::continuity::{CLOCK_TOLERANCE_MS, Finding, FindingKind};
use crate::transport::{
    Assigned, Fault, Flow, LateGate, Misplaced, Outbox, Polled, Rebuilt, SourceId, Stop, Transport,
};

/// When a batch is closed: at whichever bound is reached first.
#[derive(Clone, Copy, Debug)]
pub struct BatchBounds {
    pub records: u64,
    /// Of outputs, keys and values together.
    pub bytes: u64,
    /// For a worker that keeps up; behind a backlog it is twenty
    /// times as long.
    pub wait: Duration,
}

impl BatchBounds {
    /// How long a batch may be open whose first record was written then.
    ///
    /// A record that waited for longer than [`BACKLOG_AGE`] lies in a backlog: it
    /// is late in any case, and large batches catch up sooner. At a steady pace
    /// no record waits for as long as that, not even behind a large batch: so
    /// batches become small again.
    fn open_for(&self, written_ms: Option<i64>, now_ms: i64) -> Duration {
        let age_ms = written_ms.map_or(0, |written| now_ms.saturating_sub(written));
        if u128::try_from(age_ms).is_ok_and(|age| age > BACKLOG_AGE.as_millis()) {
            self.wait * BACKLOG_WAITS
        } else {
            self.wait
        }
    }

    /// How long the next record of a batch may take to come, which has been open
    /// for that long and may be open for `open_for`. In a backlog the next one is
    /// there or on its way.
    fn next_within(&self, open: Duration, open_for: Duration) -> Duration {
        let left = open_for.saturating_sub(open);
        let patience = self.wait.saturating_sub(open).max(BACKLOG_PATIENCE);
        left.min(patience)
    }
}

impl From<&settings::Batch> for BatchBounds {
    fn from(batch: &settings::Batch) -> Self {
        BatchBounds {
            records: batch.records as u64,
            bytes: batch.bytes as u64,
            wait: Duration::from_millis(batch.wait_ms),
        }
    }
}

impl Default for BatchBounds {
    fn default() -> Self {
        (&settings::Batch::default()).into()
    }
}

/// A batch that was aborted this often for one cause stops the lane.
const ABORTS_MAX: u32 = 5;
/// How many times as long a batch may be open behind a backlog.
const BACKLOG_WAITS: u32 = 20;
/// How long a record has waited that lies in a backlog.
const BACKLOG_AGE: Duration = Duration::from_secs(1);
/// How long the next record of a backlog may take to come, at least: no batch is
/// closed early because a fetch was late by a moment.
const BACKLOG_PATIENCE: Duration = Duration::from_millis(10);
/// After how many records it is looked at the time.
const CLOCK_RECORDS: u64 = 64;
/// How many records are decided before their outputs are handed on: many, so
/// that these travel in large requests, which cost client and broker less than
/// a cache that holds few outputs saves.
const CHUNK_RECORDS: u64 = 2_000;
/// How many records may wait to be decided again before that is done.
const AGAIN_RECORDS: usize = 10_000;
/// How long a poll waits when no batch is open.
const IDLE_WAIT: Duration = Duration::from_millis(100);
/// How often a gate that holds back the lane is told of.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How often lag and table size are reported.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// How a worker ended in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to stop.
    Stopped,
    /// All input is committed up to its end.
    AtEnd,
    /// A month has begun, and recipients with a period are published to by a worker
    /// that begins in it: anything may have been compacted away since this one did.
    NewMonth,
}

/// One worker.
pub struct Worker<T> {
    pub pipeline: Pipeline,
    pub transport: T,
    pub meter: Meter,
    pub bounds: BatchBounds,
    pub metrics: WorkerMetrics,
    pub pulse: Pulse,
    pub stop: Stop,
    /// The time of day in milliseconds since 1970.
    pub clock: Box<dyn FnMut() -> i64 + Send>,
    /// How often it is looked for what time alone changed.
    pub sweep_every: Duration,
    /// How often it is looked whether all is as it was left.
    pub check_every: Duration,
    /// Partitions of each joined source, to share rates by; 0 where unknown.
    pub partitions: usize,
    /// The numbers of all batches that were committed.
    pub totals: Tally,
    /// No batch is decided at an earlier time: that of the last one committed.
    pub floor_ms: i64,
    /// Its share in the count of what the lane takes back.
    pub losses: Share,
    /// Whether an operator accepted the finding of this code.
    pub accepted: Accepted,
    /// How long a gate source may hold back the others before that is told.
    pub gate_wait: Duration,
    letters: LetterLog,
    batch: Batch,
}

/// Says whether an operator accepted the finding of a code.
pub type Accepted = Arc<dyn Fn(&str) -> bool + Send + Sync>;
/// Reads who was erased in a partition, whatever the source of patrons has lost;
/// false when that was broken off.
fn restore_patrons<T: Transport>(
    pipeline: &mut Pipeline,
    transport: &mut T,
    partition: i32,
) -> Result<bool, Fault> {
    let lane = pipeline.shared_lane();
    let Some((holding, output)) = pipeline.holding_mut().zip(lane.patrons) else {
        return Ok(true);
    };
    let mut damaged = None;
    let restored = transport.restore(output, partition, &mut |row| {
        let taken = holding.restore_patrons(partition, row.key, row.value);
        damaged = damaged.or(taken.err());
    })?;
    match damaged {
        Some(error) => Err(Fault::Stop(format!(
            "{PATRONS_TOPIC} partition {partition}: {error}"
        ))),
        None => Ok(restored == Rebuilt::Done),
    }
}

/// What is open.
#[derive(Default)]
struct Batch {
    outbox: Outbox,
    /// When its first record was taken.
    since: Option<Instant>,
    records: u64,
    /// How long it may be open.
    open_for: Duration,
    /// Of outputs that were published already.
    published_bytes: u64,
    /// Partitions whose patrons are in the table.
    built: HashSet<i32>,
    aborts: u32,
    last_abort: Option<Fault>,
    /// The last one was broken off by a rebalance or a stop.
    interrupted: bool,
    reported: Option<Instant>,
    checked: Option<Instant>,
    /// At which time of day it was swept last.
    swept_ms: Option<i64>,
    /// It is decided again because the policy is another one.
    policy_changed: bool,
    /// How many outputs each recipient has; kept for its memory.
    has: Vec<u64>,
    /// Of which gate it was told last that it holds back the others, and when.
    told: Option<(SourceId, i32, Instant)>,
    /// In which month the table was built, in a lane with a period.
    built_in: Option<String>,
    /// What waits to be taken back does so since the policy changed.
    waits_for_policy: bool,
}

impl<T: Transport> Worker<T> {
    /// Puts a worker together; nothing runs yet.
    #[must_use]
    pub fn new(pipeline: Pipeline, transport: T, metrics: WorkerMetrics) -> Self {
        let recipients = pipeline.lane().recipients.len();
        let totals = Tally::new(pipeline.lane().sources.len(), recipients);
        let losses = Losses::new(pipeline.lane(), 0).share();
        let letters = LetterLog::new(pipeline.lane());
        Worker {
            pipeline,
            transport,
            meter: Meter::new(vec![None; recipients]),
            bounds: BatchBounds::default(),
            metrics,
            pulse: Pulse::new(),
            stop: Stop::default(),
            clock: Box::new(super::clock::now_ms),
            sweep_every: Duration::from_secs(60),
            check_every: Duration::from_secs(60),
            partitions: 0,
            totals,
            floor_ms: i64::MIN,
            losses,
            accepted: Arc::new(|_| false),
            gate_wait: Duration::from_secs(settings::Limits::default().gate_wait_seconds),
            letters,
            batch: Batch::default(),
        }
    }

    /// Works until it is asked to stop, its input ends, or it cannot go on.
    ///
    /// # Errors
    ///
    /// A [`Fault`] that is not for the worker to mend: the transport is to be
    /// built again, a twin runs, or the lane has to stop.
    pub fn run(&mut self) -> Result<Ended, Fault> {
        loop {
            match self.turn() {
                Ok(None) => {}
                Ok(Some(ended)) => {
                    self.letters.flush();
                    self.sum_up();
                    return Ok(ended);
                }
                Err(fault) => self.aborted(fault)?,
            }
        }
    }

    /// The time of day, and never earlier than the last batch that was committed.
    fn now_ms(&mut self) -> i64 {
        (self.clock)().max(self.floor_ms)
    }

    /// Says what was done since the worker started.
    fn sum_up(&self) {
        let sum =
            |of: fn(&RecipientTally) -> u64| -> u64 { self.totals.recipients.iter().map(of).sum() };
        tracing::info!(
            lane = %self.pipeline.lane().name,
            consumed = self.totals.consumed(),
            released = sum(|recipient| recipient.released),
            unchanged = sum(|recipient| recipient.unchanged),
            held = sum(|recipient| recipient.held),
            corrected = sum(|recipient| recipient.later.corrected),
            later = sum(|recipient| recipient.later.released),
            taken_back = sum(|recipient| recipient.retractions().sum()),
            withheld = sum(|recipient| recipient.withheld.iter().sum()),
            dead_letters = self.totals.dead_letters.iter().sum::<u64>(),
            before_erasure = self.totals.sources.iter().map(|source| source.outlived).sum::<u64>(),
            "done"
        );
    }

    /// Polls once, and does what has to be done then.
    fn turn(&mut self) -> Result<Option<Ended>, Fault> {
        if self.stop.asked() {
            self.finish()?;
            self.transport.close(false)?;
            return Ok(Some(Ended::Stopped));
        }
        self.pulse.answered();
        if self.is_new_month() {
            self.finish()?;
            self.transport.close(false)?;
            return Ok(Some(Ended::NewMonth));
        }
        self.report();
        // What interrupted a batch waits in the queue of events: nothing is read
        // from Kafka again before that is polled, or it is interrupted again.
        if !std::mem::take(&mut self.batch.interrupted) {
            self.check_continuity()?;
            self.sweep(false)?;
            self.publish_period(false)?;
        }
        let polled = self.poll()?;
        self.check_placement()?;
        match polled {
            // Nothing more came in time: what is there need not wait.
            Polled::Idle => self.finish()?,
            Polled::Records(_) => {
                if self.due() {
                    self.commit()?;
                } else if !self.meter.paces() && self.batch.outbox.len() as u64 >= CHUNK_RECORDS {
                    self.publish()?;
                }
            }
            Polled::Assigned(partitions) => self.assigned(&partitions)?,
            Polled::Revoked => {
                self.metrics.rebalanced();
                self.finish()?;
                self.release()?;
            }
            Polled::Lost => {
                self.metrics.rebalanced();
                self.drop_batch()?;
                self.release()?;
            }
            Polled::End => {
                self.finish()?;
                self.sweep(true)?;
                self.publish_period(true)?;
                self.transport.close(true)?;
                return Ok(Some(Ended::AtEnd));
            }
        }
        Ok(None)
    }

    /// Gives up all partitions; the group says which ones come next.
    fn release(&mut self) -> Result<(), Fault> {
        self.pulse.set(Phase::Joining);
        self.transport.release()
    }

    fn poll(&mut self) -> Result<Polled, Fault> {
        let wait = match self.batch.since {
            Some(since) => self
                .bounds
                .next_within(since.elapsed(), self.batch.open_for),
            None => IDLE_WAIT,
        };
        let Worker {
            pipeline,
            transport,
            meter,
            bounds,
            batch,
            clock,
            floor_ms,
            ..
        } = self;
        let paced = meter.paces();
        let mut chunk = 0_u64;
        let mut stop = None;
        let polled = transport.poll(wait, &mut |input| {
            if batch.since.is_none() {
                let now_ms = clock();
                batch.since = Some(Instant::now());
                batch.open_for = bounds.open_for(input.timestamp_ms, now_ms);
                pipeline.begin(BatchTime::from_ms(now_ms.max(*floor_ms)));
            }
            pipeline.decide(&input, &mut batch.outbox);
            batch.records += 1;
            chunk += 1;
            stop = pipeline.take_stop();
            let full = stop.is_some()
                || batch.is_full(bounds)
                || pipeline.again_len() >= AGAIN_RECORDS
                || (!paced && chunk >= CHUNK_RECORDS)
                || (paced && full_for_meter(meter, pipeline))
                || (chunk.is_multiple_of(CLOCK_RECORDS) && batch.is_old());
            if full { Flow::Full } else { Flow::More }
        })?;
        match stop {
            Some(stop) => Err(Fault::Stop(stop)),
            None => {
                self.check_unreadable()?;
                Ok(polled)
            }
        }
    }

    /// Stops where a consent or an objection that cannot be read names a patron of
    /// another partition: what it stops there only its worker could see.
    fn check_unreadable(&mut self) -> Result<(), Fault> {
        for record in self.pipeline.take_unreadable() {
            let mut patrons = record.patrons.iter();
            let elsewhere = |patron: &String| {
                let key = patron.as_bytes();
                self.transport.lies_elsewhere(record.place, key)
            };
            if patrons.any(elsewhere) {
                return Err(Fault::Stop(record.stop));
            }
        }
        Ok(())
    }

    /// Sees to gate records that lie where their patrons are not, before anything
    /// of the batch is committed.
    fn check_placement(&mut self) -> Result<(), Fault> {
        let found = self.transport.misplaced()?;
        if found.is_empty() {
            return Ok(());
        }
        self.relay_misplaced(&found)
    }

    /// Passes misplaced gate records on to the partitions that their patrons are
    /// in. As there is no way yet to do that, the lane stops, and leaves its
    /// group: whoever else gets the partition meets the same record at once.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] with the coordinates.
    fn relay_misplaced(&mut self, found: &[Misplaced]) -> Result<(), Fault> {
        const NAMED: usize = 10;
        let mut named: Vec<String> = Vec::new();
        for one in found.iter().take(NAMED) {
            named.push(format!(
                "`{}` partition {} offset {} belongs in partition {}",
                one.topic, one.at.partition, one.at.offset, one.home
            ));
        }
        if found.len() > NAMED {
            named.push(format!("and {} more", found.len() - NAMED));
        }
        if let Err(fault) = self.transport.close(true) {
            tracing::debug!(%fault, "while leaving the group");
        }
        Err(Fault::Stop(format!(
            "a consent, an objection or a patron lies in another partition than its patron, where \
             it would not count: {}; nothing of this batch was committed. Have its producer use the partitioner \
             of `[kafka] partitioner`, and run `zeef gates repair --dry-run`, then `zeef gates \
             repair --apply`",
            named.join("; ")
        )))
    }

    /// Whether the batch is to be committed now.
    fn due(&self) -> bool {
        let batch = &self.batch;
        batch.is_full(&self.bounds)
            || batch.is_old()
            || (self.meter.paces() && full_for_meter(&self.meter, &self.pipeline))
    }

    /// Decides again what something else than a new version changed.
    fn again(&mut self) -> Result<(), Fault> {
        while self.pipeline.again_len() > 0 {
            self.some_again()?;
        }
        Ok(())
    }

    fn some_again(&mut self) -> Result<(), Fault> {
        let Worker {
            pipeline,
            transport,
            batch,
            ..
        } = self;
        let wanted = pipeline.again(&mut batch.outbox);
        let read = transport.read_again(&wanted, &mut |index, input| {
            if let Some(place) = wanted.get(index) {
                pipeline.decide_again(*place, input, &mut batch.outbox);
            }
        })?;
        match read {
            Rebuilt::Done => {
                self.pulse.answered();
                Ok(())
            }
            Rebuilt::Interrupted => Err(Fault::Interrupted),
        }
    }

    /// Does what was found to be done without a record, in batches as large as
    /// others. Where one is aborted, what is left is found again.
    fn work_off(&mut self, tidied: bool) -> Result<(), Fault> {
        self.work_off_of(&[], tidied)
    }

    /// The same; the last batch says that all was sent again that was to be, of
    /// these partitions.
    fn work_off_of(&mut self, partitions: &[i32], tidied: bool) -> Result<(), Fault> {
        let mut open = tidied;
        loop {
            open |= self.pipeline.again_len() > 0 || !self.batch.outbox.is_empty();
            if self.pipeline.again_len() > 0 {
                self.some_again()?;
            }
            if self.pipeline.again_len() == 0 {
                for &partition in partitions {
                    open |= self.pipeline.finish_refill(partition);
                }
            }
            if !open || !self.settle()? {
                return Ok(());
            }
            open = false;
        }
    }

    /// Looks for what time alone changed, when it is time to, or at once.
    fn sweep(&mut self, at_once: bool) -> Result<(), Fault> {
        if self.batch.since.is_some()
            || self.pulse.phase() != Phase::Ready
            || self.pipeline.holding().is_none()
        {
            return Ok(());
        }
        let now_ms = self.now_ms();
        let since_ms = self
            .batch
            .swept_ms
            .map(|swept| now_ms.saturating_sub(swept));
        let every_ms = i64::try_from(self.sweep_every.as_millis()).unwrap_or(i64::MAX);
        if !at_once && since_ms.is_some_and(|since| (0..every_ms).contains(&since)) {
            return Ok(());
        }
        self.pipeline.begin(BatchTime::from_ms(now_ms));
        self.pipeline.sweep(&mut self.batch.outbox);
        let tidied = self.transport.tidy(now_ms)?;
        self.work_off(tidied)?;
        self.batch.swept_ms = Some(now_ms);
        Ok(())
    }

    /// Whether the month is another one than that in which the table was built.
    fn is_new_month(&mut self) -> bool {
        if self.batch.built_in.is_none() || self.pulse.phase() != Phase::Ready {
            return false;
        }
        let month = month_of(self.now_ms());
        self.batch
            .built_in
            .as_ref()
            .is_some_and(|built| *built < month)
    }

    /// Publishes what waits for recipients with a period, and takes back what waits
    /// for that, where a run is due and all is read that was there: `at_end` says that
    /// it is.
    fn publish_period(&mut self, at_end: bool) -> Result<(), Fault> {
        if self.batch.built_in.is_none()
            || self.batch.since.is_some()
            || self.pulse.phase() != Phase::Ready
        {
            return Ok(());
        }
        let now_ms = self.now_ms();
        self.pipeline.begin(BatchTime::from_ms(now_ms));
        let partitions: Vec<i32> = self.batch.built.iter().copied().collect();
        let pace = self.pipeline.due_pace(&partitions);
        if pace == Pace::Wait || !(at_end || self.transport.caught_up()?) {
            return Ok(());
        }
        let started = Instant::now();
        self.pipeline.begin_run(pace, &partitions);
        let published = self.publish_waiting();
        self.pipeline.end_run();
        self.losses.end_grant();
        let Some(records) = published? else {
            return Ok(());
        };
        self.batch.waits_for_policy = false;
        if records > 0 || pace == Pace::Publish {
            tracing::info!(
                lane = %self.pipeline.lane().name,
                records,
                outputs = pace == Pace::Publish,
                seconds = started.elapsed().as_secs_f64(),
                "published by period"
            );
        }
        Ok(())
    }

    /// Publishes what may leave now, in the order of output keys. Returns for how many
    /// records; `None` where that was broken off on the way to a stop.
    fn publish_waiting(&mut self) -> Result<Option<usize>, Fault> {
        let lane = self.pipeline.shared_lane();
        let counts = self.pipeline.holding();
        let counts = counts.map(|holding| holding.waiting_retractions(&lane));
        self.check_taken(&counts.unwrap_or_default(), self.batch.waits_for_policy)?;
        let records = self.pipeline.find_waiting();
        let chunk = usize::try_from(self.bounds.records).unwrap_or(usize::MAX);
        loop {
            let left = self.pipeline.take_waiting(chunk, &mut self.batch.outbox);
            self.again()?;
            if left == 0 {
                self.pipeline.finish_run();
            }
            self.batch.outbox.sort_by_key();
            if !self.settle()? {
                return Ok(None);
            }
            if left == 0 {
                return Ok(Some(records));
            }
            if self.stop.asked() {
                // The next start goes on with what is left.
                return Ok(None);
            }
            let now_ms = self.now_ms();
            self.pipeline.begin(BatchTime::from_ms(now_ms));
        }
    }

    fn publish(&mut self) -> Result<(), Fault> {
        self.again()?;
        self.hand_on()
    }

    fn hand_on(&mut self) -> Result<(), Fault> {
        let now_ms = self.pipeline.now().ms();
        self.transport.publish(&self.batch.outbox, now_ms)?;
        self.batch.published_bytes += self.batch.outbox.bytes_len() as u64;
        self.batch.outbox.clear();
        Ok(())
    }

    /// Commits what is open, if anything is.
    fn finish(&mut self) -> Result<(), Fault> {
        if self.batch.since.is_some() || self.transport.uncommitted() {
            self.commit()?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Fault> {
        if self.batch.since.is_none() {
            let now_ms = self.now_ms();
            self.pipeline.begin(BatchTime::from_ms(now_ms));
        }
        // What is decided again counts for the rates, too.
        self.again()?;
        self.settle()?;
        Ok(())
    }

    /// Commits what was decided. False when it was dropped instead, on the way to
    /// a stop.
    fn settle(&mut self) -> Result<bool, Fault> {
        self.check_losses()?;
        if !self.pace()? {
            return Ok(false);
        }
        let started = Instant::now();
        self.write_marks();
        self.hand_on()?;
        self.transport.commit()?;
        self.pulse.answered();
        let committed_ms = (self.clock)();
        self.metrics.committed(
            self.pipeline.tally(),
            self.batch.since.map(|since| since.elapsed()),
            started.elapsed(),
            committed_ms,
        );
        self.totals.add(self.pipeline.tally());
        self.letters.count(self.pipeline.tally());
        self.warn();
        self.pipeline.merge();
        self.floor_ms = self.floor_ms.max(self.pipeline.now().ms());
        self.losses.committed(self.floor_ms);
        self.count_outputs();
        self.batch.reset();
        self.batch.aborts = 0;
        Ok(true)
    }

    /// Takes note of how many outputs each recipient has.
    fn count_outputs(&mut self) {
        let Some(holding) = self.pipeline.holding() else {
            return;
        };
        let has = &mut self.batch.has;
        has.clear();
        has.resize(self.pipeline.lane().recipients.len(), 0);
        holding.state().add_sent_in_all(has);
        self.losses.has(has, self.pipeline.now().ms());
    }

    /// Stops before more is taken back than ordinary days take back.
    fn check_losses(&mut self) -> Result<(), Fault> {
        let taken = losses::taken(self.pipeline.tally(), self.batch.policy_changed);
        if taken.is_empty() {
            return Ok(());
        }
        let now_ms = self.pipeline.now().ms();
        let findings = self.losses.ask(taken, now_ms);
        self.accept(&findings)
    }

    /// Stops before anything is done of a reconcile that is known to take back
    /// more than that.
    fn check_foreseen(&mut self) -> Result<(), Fault> {
        let foreseen = self.pipeline.foreseen().to_vec();
        self.check_taken(&foreseen, self.batch.policy_changed)
    }

    /// Stops before anything is taken back of what is known to be too much.
    fn check_taken(&mut self, counts: &[ByReason], policy_changed: bool) -> Result<(), Fault> {
        let taken = losses::foreseen(counts, policy_changed);
        let now_ms = self.pipeline.now().ms();
        let findings = self.losses.foresee(&taken, now_ms);
        self.accept(&findings)?;
        self.losses.grant(&taken, &findings);
        Ok(())
    }

    /// Drops the batch and stops, unless an operator accepted all that was found.
    fn accept(&mut self, findings: &[Loss]) -> Result<(), Fault> {
        let is_open = |finding: &&Loss| !(self.accepted)(&finding.code());
        let open: Vec<String> = findings
            .iter()
            .filter(is_open)
            .map(Loss::to_string)
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        self.drop_batch()?;
        Err(Fault::Stop(format!(
            "too much would be taken back within an hour, and nothing of the batch was committed: \
             look for what is missing or was sent by mistake. {}",
            open.join("; ")
        )))
    }

    /// Tells what an operator has to hear of at once: where it lies, and no more.
    fn warn(&self) {
        let lane = self.pipeline.lane();
        for Warning { about, at } in &self.pipeline.tally().warnings {
            let topic = lane.source(at.source).map_or("", |source| &source.topic);
            let (partition, offset) = (at.partition, at.offset);
            let lane = lane.name.as_str();
            match about {
                About::ErasureUnmatched => tracing::warn!(
                    lane,
                    topic,
                    partition,
                    offset,
                    "a null erased nobody: nothing is known of a patron with its key, which may be written in another way than in other records"
                ),
                About::ForeignKey => tracing::warn!(
                    lane,
                    topic,
                    partition,
                    offset,
                    "the key of a patron's message is JSON, quoted or binary, and no patron's id: the message was refused, and nobody erased"
                ),
            }
        }
    }

    /// Waits until every recipient's rate allows the batch. False when the wait
    /// was broken off: the batch was dropped, and nothing is lost.
    fn pace(&mut self) -> Result<bool, Fault> {
        for recipient in 0..self.pipeline.tally().recipients.len() {
            let outputs = self.pipeline.tally().recipients[recipient].published();
            while let Err(wait) = self.meter.ask(recipient, outputs) {
                if self.stop.asked() {
                    self.drop_batch()?;
                    return Ok(false);
                }
                let started = Instant::now();
                self.transport.pause(wait.min(IDLE_WAIT))?;
                self.pulse.answered();
                self.metrics.waited(started.elapsed());
            }
        }
        Ok(true)
    }

    /// Drops the batch, in memory and outside.
    fn drop_batch(&mut self) -> Result<(), Fault> {
        self.pipeline.abandon();
        self.losses.dropped();
        self.batch.reset();
        self.transport.rewind()
    }

    /// Drops the batch, so that it is done again. An interruption says nothing
    /// about the batch and is not counted.
    ///
    /// # Errors
    ///
    /// The fault, where it is none that a batch is done again for, or the batch
    /// was dropped [`ABORTS_MAX`] times for it.
    fn aborted(&mut self, fault: Fault) -> Result<(), Fault> {
        if !matches!(
            fault,
            Fault::Interrupted | Fault::Abort(_) | Fault::Unanswered(_)
        ) {
            return Err(fault);
        }
        tracing::warn!(lane = %self.pipeline.lane().name, cause = %fault, "batch aborted, will be done again");
        self.metrics.aborted();
        self.drop_batch()?;
        self.batch.interrupted = fault == Fault::Interrupted;
        if self.batch.interrupted {
            return self.transport.pause(IDLE_WAIT);
        }
        if self.batch.last_abort.as_ref() != Some(&fault) {
            self.batch.aborts = 0;
        }
        self.batch.aborts += 1;
        if self.batch.aborts >= ABORTS_MAX {
            return Err(match fault {
                // An outage is waited for, however long it is.
                Fault::Unanswered(text) => Fault::Rebuild(text),
                fault => Fault::Stop(format!(
                    "the same batch was aborted {ABORTS_MAX} times: {fault}"
                )),
            });
        }
        self.batch.last_abort = Some(fault);
        self.transport.pause(IDLE_WAIT)
    }

    /// Builds the table of what was assigned, then lets records come.
    fn assigned(&mut self, partitions: &[Assigned]) -> Result<(), Fault> {
        self.metrics.rebalanced();
        self.pulse.set(Phase::Building);
        let owned: HashSet<i32> = partitions.iter().map(|one| one.partition).collect();
        self.pipeline.retain(|partition| owned.contains(&partition));
        self.batch
            .built
            .retain(|partition| owned.contains(partition));
        if self.partitions > 0 {
            self.meter.share(owned.len(), self.partitions);
        }
        let started = Instant::now();
        let built = |one: &&Assigned| one.returned && self.batch.built.contains(&one.partition);
        let new = partitions.iter().filter(|one| !built(one));
        let new: Vec<i32> = new.map(|one| one.partition).collect();
        if !self.rebuild(&new)? {
            return Ok(());
        }
        if !self.reconcile(&new)? {
            return Ok(());
        }
        if self.pipeline.lane().has_period() {
            let month = month_of(self.now_ms());
            self.batch.built_in.get_or_insert(month);
        }
        self.transport.resume()?;
        let patrons = self.pipeline.table().len();
        self.metrics.built(patrons, started.elapsed());
        tracing::info!(
            lane = %self.pipeline.lane().name,
            partitions = owned.len(),
            patrons,
            seconds = started.elapsed().as_secs_f64(),
            "ready"
        );
        self.pulse.set(Phase::Ready);
        Ok(())
    }

    /// Reads all about the patrons of partitions, and what recipients have, and
    /// goes on only where all is as it was left; false when that was broken off.
    fn rebuild(&mut self, partitions: &[i32]) -> Result<bool, Fault> {
        let mut found = Vec::new();
        for &partition in partitions {
            self.batch.built.remove(&partition);
            self.pipeline.drop_partition(partition);
            let restored = self.restore(partition)?;
            match self.verify_if(restored, partition) {
                Ok(Some(findings)) => found.extend(findings),
                Ok(None) | Err(Fault::Interrupted) => {
                    self.pipeline.drop_partition(partition);
                    return Ok(false);
                }
                Err(fault) => return Err(fault),
            }
        }
        // Of all partitions at once: each finding has a code of its own.
        self.judge(&found)?;
        self.transport.accept(&found)?;
        let now_ms = (self.clock)();
        if let Some(holding) = self.pipeline.holding_mut() {
            holding.accept(&found, now_ms);
        }
        for &partition in partitions {
            // As any batch: it is done again, and stops the lane in the end.
            while let Err(fault) = self.begin_with_mark(partition) {
                match fault {
                    Fault::Interrupted => return Err(fault),
                    fault => self.aborted(fault)?,
                }
            }
        }
        self.batch.aborts = 0;
        Ok(true)
    }

    fn verify_if(&mut self, restored: bool, partition: i32) -> Result<Option<Vec<Finding>>, Fault> {
        restored.then(|| self.verify(partition)).transpose()
    }

    fn restore(&mut self, partition: i32) -> Result<bool, Fault> {
        if !self.restore_state(partition)? {
            return Ok(false);
        }
        let Worker {
            pipeline,
            transport,
            ..
        } = self;
        if let Some(holding) = pipeline.holding() {
            transport.recall(partition, holding.mark(partition))?;
        }
        let lane = pipeline.shared_lane();
        // Who was erased decides what of all else counts.
        if !restore_patrons(pipeline, transport, partition)? {
            return Ok(false);
        }
        for (source, plan) in (0..).map(SourceId).zip(lane.plan().sources) {
            let wanted = plan.rebuilt && pipeline.keeps(source);
            if wanted
                && transport.rebuild(source, partition, &mut |input| pipeline.restore(&input))?
                    == Rebuilt::Interrupted
            {
                return Ok(false);
            }
            if let Some(stop) = pipeline.take_stop() {
                return Err(Fault::Stop(stop));
            }
        }
        self.check_unreadable()?;
        self.check_placement()?;
        Ok(true)
    }

    /// Reads what recipients have; false when that was broken off.
    fn restore_state(&mut self, partition: i32) -> Result<bool, Fault> {
        let Worker {
            pipeline,
            transport,
            ..
        } = self;
        let lane = pipeline.shared_lane();
        let Some(holding) = pipeline.holding_mut() else {
            return Ok(true);
        };
        let mut damaged = None;
        let restored = transport.restore(lane.state, partition, &mut |row| {
            let taken = holding.restore(&lane, partition, row.key, row.value);
            if damaged.is_none() {
                damaged = taken.err();
            }
        })?;
        match damaged {
            Some(Fault::Stop(why)) => Err(Fault::Stop(format!(
                "{STATE_TOPIC}{} partition {partition}: {why}",
                lane.name
            ))),
            Some(fault) => Err(fault),
            None => Ok(restored == Rebuilt::Done),
        }
    }

    /// Compares what a partition depends on with what is there, before anything
    /// of it is decided.
    fn verify(&mut self, partition: i32) -> Result<Vec<Finding>, Fault> {
        let lane = self.pipeline.shared_lane();
        let Some(holding) = self.pipeline.holding_mut() else {
            return Ok(Vec::new());
        };
        let before = holding.is_of_before(partition);
        let now_ms = (self.clock)();
        let mut findings = holding.verify(&lane, partition, now_ms)?;
        findings.extend(self.transport.verify(partition, before)?);
        Ok(findings)
    }

    /// Stops for findings that no operator accepted.
    fn judge(&self, findings: &[Finding]) -> Result<(), Fault> {
        let lane = self.pipeline.lane();
        let Some(holding) = self.pipeline.holding() else {
            return Ok(());
        };
        let mut open = Vec::new();
        for finding in findings {
            let code = holding.code(lane, finding);
            if holding.accepts(lane, finding) {
                tracing::warn!(lane = %lane.name, %finding, %code, "accepted by an operator");
            } else {
                tracing::error!(lane = %lane.name, %finding, %code, "not as it was left");
                open.push(format!(
                    "{finding}; to accept it: zeef accept {code} --reason ..."
                ));
            }
        }
        match open.is_empty() {
            true => Ok(()),
            false => Err(Fault::Stop(open.join("\n"))),
        }
    }

    /// Commits a mark before anything is decided: it fences whoever had the
    /// partition before, and shows the broker's time.
    fn begin_with_mark(&mut self, partition: i32) -> Result<(), Fault> {
        if !self.transport.begins_with_mark() || self.pipeline.holding().is_none() {
            return Ok(());
        }
        // The time of a clock that was not compared yet would be that of every
        // later batch: it is in no mark.
        let now_ms = (self.clock)();
        self.pipeline.begin(BatchTime::from_ms(0));
        self.write_mark(partition);
        self.hand_on()?;
        self.transport.commit()?;
        self.pipeline.merge();
        let state = self.pipeline.lane().state;
        let Some(ahead_ms) = self.transport.clock_ahead_ms(state, partition, now_ms)? else {
            return Ok(());
        };
        self.metrics.clock(ahead_ms);
        if ahead_ms.abs() <= CLOCK_TOLERANCE_MS {
            return Ok(());
        }
        // In whole hours, as the code has to be the same at the next start.
        let (hours, which) = (
            ahead_ms.abs() / 3_600_000,
            if ahead_ms > 0 { "ahead of" } else { "behind" },
        );
        self.judge(&[Finding {
            subject: "clock".to_owned(),
            partition: 0,
            kind: FindingKind::OtherClock,
            detail: format!(
                "this machine's clock is {hours} to {} hours {which} the broker's",
                hours + 1
            ),
        }])
    }

    /// Writes the marks of all partitions that the batch acts on.
    fn write_marks(&mut self) {
        let mut acting = self.transport.acting();
        acting.extend(self.pipeline.changed());
        for partition in acting {
            self.write_mark(partition);
        }
    }

    fn write_mark(&mut self, partition: i32) {
        let Some(holding) = self.pipeline.holding() else {
            return;
        };
        let number = holding.next_number(partition);
        let position = self.transport.position(partition, number);
        let outbox = &mut self.batch.outbox;
        self.pipeline.write_mark(partition, position, outbox);
    }

    /// Looks once a minute whether all is still as it was left.
    fn check_continuity(&mut self) -> Result<(), Fault> {
        let due = self
            .batch
            .checked
            .is_none_or(|last| last.elapsed() >= self.check_every);
        if !due || self.batch.since.is_some() || self.pulse.phase() != Phase::Ready {
            return Ok(());
        }
        self.batch.checked = Some(Instant::now());
        let findings = self.transport.check()?;
        self.judge(&findings)
    }

    /// Decides what recipients have of partitions against what is known now, so
    /// that nothing that happened meanwhile is missed; false when that was
    /// broken off.
    fn reconcile(&mut self, partitions: &[i32]) -> Result<bool, Fault> {
        self.batch.policy_changed = false;
        loop {
            match self.reconcile_once(partitions) {
                Ok(()) => break,
                Err(Fault::Interrupted) => {
                    self.drop_batch()?;
                    for &partition in partitions {
                        self.pipeline.drop_partition(partition);
                    }
                    self.end_reconcile();
                    return Ok(false);
                }
                // As any batch: it is done again, and stops the lane in the end.
                Err(fault) => self.aborted(fault)?,
            }
        }
        self.batch.built.extend(partitions);
        self.end_reconcile();
        Ok(true)
    }

    fn end_reconcile(&mut self) {
        self.batch.policy_changed = false;
        self.losses.end_grant();
    }

    fn reconcile_once(&mut self, partitions: &[i32]) -> Result<(), Fault> {
        if self.pipeline.holding().is_none() || partitions.is_empty() {
            return Ok(());
        }
        let outdated = partitions.iter().copied();
        let outdated: Vec<i32> = outdated
            .filter(|one| self.pipeline.is_outdated(*one))
            .collect();
        self.batch.policy_changed |= !outdated.is_empty();
        self.batch.waits_for_policy |= !outdated.is_empty();
        // Of all partitions, before the first of them is changed.
        self.find_changed(partitions);
        self.count_outputs();
        self.check_foreseen()?;
        let former = !self.pipeline.lane().former.is_empty();
        if former || !outdated.is_empty() {
            self.pipeline.abandon();
            // Before anything is sent: another recipient may have the topic now.
            for &partition in partitions {
                self.take_back_former(partition)?;
            }
            for partition in outdated {
                self.decide_anew(partition)?;
            }
            self.find_changed(partitions);
        }
        self.work_off_of(partitions, false)
    }

    /// Takes back what former recipients are to have no longer.
    fn take_back_former(&mut self, partition: i32) -> Result<(), Fault> {
        let now_ms = self.now_ms();
        self.pipeline.begin(BatchTime::from_ms(now_ms));
        let mut records = 0;
        loop {
            let left = self.pipeline.take_back_former(partition);
            if left == 0 {
                break;
            }
            records = records.max(left);
            while !self.work_off_anew()? {}
        }
        if records > 0 {
            let lane = &self.pipeline.lane().name;
            tracing::info!(lane = %lane, partition, records, "former recipients: taken back");
        }
        Ok(())
    }

    /// Finds what is to be decided again of partitions.
    fn find_changed(&mut self, partitions: &[i32]) {
        let now_ms = self.now_ms();
        self.pipeline.begin(BatchTime::from_ms(now_ms));
        for &partition in partitions {
            self.pipeline.reconcile(partition);
        }
    }

    /// Decides each record that was handed out before, as another policy did
    /// then: of what that made of most of them there are no rows.
    fn decide_anew(&mut self, partition: i32) -> Result<(), Fault> {
        let started = Instant::now();
        let lane = self.pipeline.shared_lane();
        self.pipeline.begin(BatchTime::from_ms((self.clock)()));
        while self.pipeline.take_back_before(partition) > 0 {
            while !self.work_off_anew()? {}
        }
        let mut records = 0;
        for source in self.pipeline.decided() {
            let now_ms = self.now_ms();
            self.pipeline.begin(BatchTime::from_ms(now_ms));
            let (pipeline, transport) = (&mut self.pipeline, &mut self.transport);
            // What is known of patrons was read already.
            let read = match lane.is_patron(source.0) {
                true => Rebuilt::Done,
                false => transport.replay(source, partition, &mut |input| pipeline.note(&input))?,
            };
            if read == Rebuilt::Interrupted {
                return Err(Fault::Interrupted);
            }
            records += pipeline.anew(source, partition);
            while !self.work_off_anew()? {}
        }
        // What is left to be done shows in the rows.
        loop {
            self.pipeline.finish_policy(partition);
            if self.work_off_policy()? {
                break;
            }
        }
        tracing::info!(
            lane = %lane.name,
            partition,
            records,
            seconds = started.elapsed().as_secs_f64(),
            "decided anew: the policy is another one"
        );
        Ok(())
    }

    /// Commits that all of a partition is decided under this policy; false where
    /// that was aborted.
    fn work_off_policy(&mut self) -> Result<bool, Fault> {
        let settled = self.settle();
        self.done_unless_aborted(settled)
    }

    /// Does what was found to be done; false where a batch was aborted, so that
    /// some of it is left. Not all is begun again then: it may be very much.
    fn work_off_anew(&mut self) -> Result<bool, Fault> {
        let worked = self.work_off(false).map(|()| true);
        self.done_unless_aborted(worked)
    }

    /// Returns whether a step is done; false where its batch was aborted.
    ///
    /// # Errors
    ///
    /// [`Fault::Interrupted`] also where a stop is asked, as a batch may have been
    /// dropped for it; else as [`aborted`](Self::aborted).
    fn done_unless_aborted(&mut self, step: Result<bool, Fault>) -> Result<bool, Fault> {
        let done = match step {
            Ok(done) => done,
            Err(Fault::Interrupted) => return Err(Fault::Interrupted),
            Err(fault) => {
                self.aborted(fault)?;
                false
            }
        };
        match self.stop.asked() {
            true => Err(Fault::Interrupted),
            false => Ok(done),
        }
    }

    /// Tells of a gate that holds back the lane for too long: what lies behind an
    /// open transaction there may forbid what waits.
    fn look_at_gates(&mut self) {
        let late = self.transport.late_gate();
        let Some(late) = late.filter(|late| late.since >= self.gate_wait) else {
            if self.batch.told.take().is_some() {
                tracing::info!(lane = %self.pipeline.lane().name, "gate sources are read to their ends again");
            }
            self.pulse.set_trouble(None);
            return;
        };
        let source = self.pipeline.lane().source(late.source);
        let topic = source.map_or("", |source| source.topic.as_str());
        let LateGate {
            partition, offset, ..
        } = late;
        self.pulse.set_trouble(Some(format!(
            "topic {topic} partition {partition} offset {offset}: not read further for {} s, an \
             open transaction of its producer may hide what lies behind",
            late.since.as_secs()
        )));
        let place = (late.source, partition);
        let told = self.batch.told.filter(|(source, partition, at)| {
            (*source, *partition) == place && at.elapsed() < TELL_EVERY
        });
        if told.is_none() {
            self.batch.told = Some((late.source, partition, Instant::now()));
            tracing::warn!(
                lane = %self.pipeline.lane().name,
                topic,
                partition,
                offset,
                seconds = late.since.as_secs(),
                "a gate source is not read to its end: an open transaction may hide what lies \
                 behind; what waits for it is not released"
            );
        }
    }

    fn report(&mut self) {
        let due = self
            .batch
            .reported
            .is_none_or(|last| last.elapsed() >= REPORT_EVERY);
        if due {
            self.batch.reported = Some(Instant::now());
            self.letters.look();
            self.look_at_gates();
            self.metrics.lag(&self.transport.lag());
            self.metrics.table(self.pipeline.table().len());
            if let Some(holding) = self.pipeline.holding() {
                let state = holding.state();
                self.metrics.state(state.len(), state.held_in_all());
            }
        }
    }
}

/// Whether some recipient's share of the batch is as large as its rate allows.
fn full_for_meter(meter: &Meter, pipeline: &Pipeline) -> bool {
    pipeline
        .tally()
        .recipients
        .iter()
        .enumerate()
        .any(|(at, tally)| {
            meter
                .batch_max(at)
                .is_some_and(|max| tally.published() >= max)
        })
}

impl Batch {
    fn is_full(&self, bounds: &BatchBounds) -> bool {
        self.records >= bounds.records
            || self.published_bytes + self.outbox.bytes_len() as u64 >= bounds.bytes
    }

    /// Whether it has been open for as long as it may.
    fn is_old(&self) -> bool {
        self.since
            .is_some_and(|since| since.elapsed() >= self.open_for)
    }

    fn reset(&mut self) {
        self.outbox.clear();
        self.since = None;
        self.records = 0;
        self.published_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(written_ms: Option<i64>, want_ms: u64) {
        let open_for = BatchBounds::default().open_for(written_ms, 1_000_000);
        assert_eq!(open_for, Duration::from_millis(want_ms), "{written_ms:?}");
    }

    #[test]
    fn a_backlog_makes_long_batches() {
        check(None, 50);
        check(Some(1_000_000), 50);
        check(Some(2_000_000), 50);
        check(Some(i64::MAX), 50);
        check(Some(999_000), 50);
        check(Some(998_999), 1_000);
        check(Some(i64::MIN), 1_000);
    }

    #[track_caller]
    fn check_next(open_ms: u64, open_for_ms: u64, want_ms: u64) {
        let [open, open_for, want] = [open_ms, open_for_ms, want_ms].map(Duration::from_millis);
        let next_within = BatchBounds::default().next_within(open, open_for);
        assert_eq!(next_within, want, "{open_ms} of {open_for_ms}");
    }

    #[test]
    fn a_batch_waits_for_its_next_record_for_as_long_as_it_may() {
        check_next(0, 50, 50);
        check_next(30, 50, 20);
        check_next(45, 50, 5);
        check_next(50, 50, 0);
        check_next(0, 1_000, 50);
        check_next(45, 1_000, 10);
        check_next(900, 1_000, 10);
        check_next(995, 1_000, 5);
        check_next(2_000, 1_000, 0);
    }
}
