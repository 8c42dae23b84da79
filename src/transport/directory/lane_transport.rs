//! The transport of one lane: the order of its records, and its batch.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use super::layout::file_length;
use super::output_files::OutputFiles;
use super::source::consumed_bytes;
use super::source::{DirectorySource, SourceRereader};
use super::{Directory, DirectorySettings, ONLY_PARTITION, to_fault};
use crate::message::continuity::{
    ContinuityFinding, ContinuityMark, MarkPositions, SourceProgress,
};
use crate::message::{
    Coordinates, Fault, Input, LanePlan, MisplacedRecord, Outbox, Output, OutputId, SourceId,
};
use crate::transport::{
    AssignedPartition, LateGate, PartitionLag, PollFlow, PollOutcome, ReadOutcome, StopSignal,
    Transport,
};

/// How long to wait between two looks at the files.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// One lane's records and outputs in a [`Directory`].
///
/// Without `follow` the run ends at the ends that the sources have at the first
/// [`poll`](Transport::poll) that hands out records; a growing gate source is followed as
/// long as other sources are not at their ends. Once nothing is left to read, `poll` does
/// not wait: it returns [`PollOutcome::Idle`] while something is uncommitted, then
/// [`PollOutcome::End`].
pub struct DirectoryTransport {
    directory: Directory,
    lane: String,
    sources: Vec<DirectorySource>,
    outputs: OutputFiles,
    stop: StopSignal,
    stage: LaneStage,
    has_source_ends: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LaneStage {
    New,
    Assigned,
    Running,
}

impl DirectoryTransport {
    /// Opens a directory for one lane alone; see [`Directory::open`] and
    /// [`Directory::lane_transport`].
    ///
    /// # Errors
    ///
    /// As those.
    pub fn open(
        settings: DirectorySettings,
        plan: &LanePlan,
        stop: StopSignal,
    ) -> Result<Self, Fault> {
        Directory::open(settings)?.lane_transport(plan, stop)
    }

    /// Creates the transport of a lane at `positions`, by topic.
    pub(super) fn new(
        directory: Directory,
        plan: &LanePlan,
        positions: &BTreeMap<String, SourceProgress>,
        stop: StopSignal,
    ) -> Result<Self, Fault> {
        let sources = (0_u16..).map(SourceId).zip(&plan.sources).map(|(id, source)| {
            let mut committed = positions.get(&source.topic).cloned().unwrap_or_default();
            committed.gate = directory.0.settings.gate_of(&source.topic);
            let offset = consumed_bytes(&committed);
            let reader = directory.source_reader(&source.topic, offset);
            let prints = directory.0.settings.fingerprinter;
            DirectorySource::new(id, (source, plan.has_ledger()), (reader, prints), committed)
        });
        let mut lane = Self {
            lane: plan.name.clone(),
            sources: sources.collect(),
            outputs: OutputFiles::new(plan),
            directory,
            stop,
            stage: LaneStage::New,
            has_source_ends: false,
        };
        lane.update_ends(|_| true)?;
        lane.commit_first_mark(positions)?;
        Ok(lane)
    }

    /// Commits the lane's sources and keys before anything is decided, so that even a run
    /// that read nothing is known.
    fn commit_first_mark(
        &mut self,
        positions: &BTreeMap<String, SourceProgress>,
    ) -> Result<(), Fault> {
        let sources = self.sources.iter();
        let new: BTreeMap<String, SourceProgress> = sources
            .filter(|source| !positions.contains_key(&source.topic))
            .map(|source| (source.topic.clone(), source.current_progress()))
            .collect();
        let mut store = self.directory.lock_store();
        if new.is_empty() && !store.has_new_keys() {
            return Ok(());
        }
        store.commit(&self.lane, new, std::iter::empty())
    }

    /// Rejects a torn last line in a bounded run.
    fn check_last_lines(&self) -> Result<(), Fault> {
        if self.is_following() {
            return Ok(());
        }
        self.sources.iter().try_for_each(DirectorySource::check_last_line)
    }

    fn is_following(&self) -> bool {
        self.directory.is_following()
    }

    /// Updates the known ends of the included sources.
    fn update_ends(&mut self, is_included: impl Fn(&DirectorySource) -> bool) -> Result<(), Fault> {
        let sources = self.sources.iter_mut().filter(|source| is_included(source));
        for source in sources {
            source.update_end().map_err(|fault| match fault {
                Fault::Stop(_) => self.directory.lock_store().finding_or(fault),
                fault => fault,
            })?;
            source.arrival_times =
                self.directory.record_source_end(&source.topic, source.known_end)?;
        }
        Ok(())
    }

    /// Updates known ends that are due: of gates when a batch starts, of all sources once
    /// everything up to the known ends is handed out.
    ///
    /// Gates come last: what lay in a gate before a line of another source was written is
    /// then read before that line.
    fn update_due_ends(&mut self) -> Result<(), Fault> {
        let left = self.sources.iter().any(|source| !source.is_exhausted);
        let left_others = self.sources.iter().any(|source| !source.is_exhausted && !source.is_gate);
        if !self.has_source_ends || (self.is_following() && !left) {
            self.update_ends(|source| !source.is_gate)?;
            self.update_ends(|source| source.is_gate)?;
            if !self.has_source_ends {
                self.check_last_lines()?;
            }
            self.has_source_ends = true;
        } else if !self.has_uncommitted() && (self.is_following() || left_others) {
            self.update_ends(|source| source.is_gate)?;
        }
        Ok(())
    }

    fn find_source(&self, source: SourceId, partition: i32) -> Result<&DirectorySource, Fault> {
        let known = self.sources.get(usize::from(source.0));
        known.filter(|_| partition == ONLY_PARTITION).ok_or_else(|| {
            let number = source.0;
            Fault::stop(format!("source {number} has no partition {partition} in a directory"))
        })
    }

    /// Reads a source from its beginning to the byte `end`.
    fn read_until(
        &self,
        source: &DirectorySource,
        end: u64,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<ReadOutcome, Fault> {
        let mut reader = self.directory.source_reader(&source.topic, 0);
        reader.open().map_err(to_fault)?;
        let times = self.directory.arrival_times(&source.topic);
        loop {
            if self.stop.is_requested() {
                return Ok(ReadOutcome::Interrupted);
            }
            let found = reader.next_line(end).map_err(to_fault)?;
            let mut more = |input: Input<'_>| {
                take(input);
                PollFlow::Continue
            };
            let handed = source.line_mapping().deliver_line((&reader, &times), &found, &mut more);
            if handed.is_none() {
                return Ok(ReadOutcome::Done);
            }
        }
    }

    /// Opens the source that contains all of `wanted`.
    fn open_for_reread(&self, wanted: &[Coordinates]) -> Result<SourceRereader, Fault> {
        let source = wanted.first().map(|at| at.source);
        let known = source.and_then(|source| self.sources.get(usize::from(source.0)));
        let Some(known) = known.filter(|_| wanted.iter().all(|at| at.partition == ONLY_PARTITION))
        else {
            let text = "records are read again of sources, in the one partition of a directory";
            return Err(Fault::stop(text));
        };
        let times = self.directory.arrival_times(&known.topic);
        known.open_for_reread(self.directory.source_reader(&known.topic, 0), times)
    }

    /// Hands out lines below the known ends, gates first.
    fn deliver_lines(
        &mut self,
        take: &mut dyn FnMut(Input<'_>) -> PollFlow,
    ) -> Result<usize, Fault> {
        let mut count = 0;
        for gate in [true, false] {
            let sources = self.sources.iter_mut();
            for source in sources.filter(|source| source.is_gate == gate && !source.is_exhausted) {
                while source.deliver_next_line(&mut |input| {
                    count += 1;
                    match take(input) {
                        PollFlow::Continue if !self.stop.is_requested() => PollFlow::Continue,
                        _ => PollFlow::BatchFull,
                    }
                })? == PollFlow::Continue
                {}
                if !source.is_exhausted {
                    return Ok(count);
                }
            }
        }
        Ok(count)
    }
}

impl Transport for DirectoryTransport {
    fn poll(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Input<'_>) -> PollFlow,
    ) -> Result<PollOutcome, Fault> {
        match self.stage {
            LaneStage::New => {
                self.stage = LaneStage::Assigned;
                return Ok(PollOutcome::Assigned(vec![AssignedPartition {
                    partition: ONLY_PARTITION,
                    is_unchanged: false,
                }]));
            }
            LaneStage::Assigned => {
                self.pause(wait)?;
                return Ok(PollOutcome::Idle);
            }
            LaneStage::Running => {}
        }
        let since = Instant::now();
        loop {
            if self.stop.is_requested() {
                return Ok(PollOutcome::Idle);
            }
            self.update_due_ends()?;
            match self.deliver_lines(take)? {
                0 if self.is_following() => {}
                0 if self.has_uncommitted() => return Ok(PollOutcome::Idle),
                0 => {
                    self.check_last_lines()?;
                    return Ok(PollOutcome::End);
                }
                count => return Ok(PollOutcome::Records(count)),
            }
            let left = wait.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Ok(PollOutcome::Idle);
            }
            thread::sleep(left.min(POLL_INTERVAL));
        }
    }

    fn rebuild(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<ReadOutcome, Fault> {
        let known = self.find_source(source, partition)?;
        let end = file_length(known.path()).map_err(to_fault)?;
        self.read_until(known, end, take)
    }

    fn replay(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<ReadOutcome, Fault> {
        let known = self.find_source(source, partition)?;
        self.read_until(known, known.committed_bytes(), take)
    }

    fn reread_records(
        &mut self,
        wanted: &[Coordinates],
        take: &mut dyn FnMut(usize, Option<Input<'_>>),
    ) -> Result<ReadOutcome, Fault> {
        let mut place = 0;
        for of_source in wanted.chunk_by(|one, next| one.source == next.source) {
            let mut lines = self.open_for_reread(of_source)?;
            for at in of_source {
                if self.stop.is_requested() {
                    return Ok(ReadOutcome::Interrupted);
                }
                lines.read_at(*at, &mut |input| take(place, input))?;
                place += 1;
            }
        }
        Ok(ReadOutcome::Done)
    }

    fn restore(
        &mut self,
        output: OutputId,
        partition: i32,
        take: &mut dyn FnMut(Output<'_>),
    ) -> Result<ReadOutcome, Fault> {
        let topic = self.outputs.state_topic(output);
        let Some(topic) = topic.filter(|_| partition == ONLY_PARTITION) else {
            let number = output.0;
            return Err(Fault::stop(format!(
                "output {number} has no state in a partition {partition} of a directory"
            )));
        };
        let mut rows = self.directory.lock_store().open_state(topic)?;
        rows.for_each_row(output, &|| !self.stop.is_requested(), take)
    }

    /// With one partition per source nothing can be misplaced.
    fn take_misplaced(&mut self) -> Result<Vec<MisplacedRecord>, Fault> {
        Ok(Vec::new())
    }

    fn is_misplaced(&self, _at: Coordinates, _key: &[u8]) -> bool {
        false
    }

    fn resume(&mut self) -> Result<(), Fault> {
        self.stage = LaneStage::Running;
        Ok(())
    }

    /// Stops handing out. A directory is never taken away, so this only happens when the
    /// worker ends.
    fn release(&mut self) -> Result<(), Fault> {
        self.stage = LaneStage::Assigned;
        Ok(())
    }

    /// Adds lines to the batch, without time and partition.
    fn publish(&mut self, outbox: &Outbox, now_ms: i64) -> Result<(), Fault> {
        self.outputs.append_outbox(outbox, now_ms)
    }

    fn commit(&mut self) -> Result<(), Fault> {
        let mut positions = BTreeMap::new();
        for source in &self.sources {
            if source.has_moved() {
                positions.insert(source.topic.clone(), source.current_progress());
            }
        }
        let mut written = self.outputs.changed_files().peekable();
        if positions.is_empty() && written.peek().is_none() {
            return Ok(());
        }
        self.directory.lock_store().commit(&self.lane, positions.clone(), written)?;
        for source in &mut self.sources {
            if let Some(position) = positions.remove(&source.topic) {
                source.set_committed(position);
            }
        }
        self.outputs.clear();
        Ok(())
    }

    /// The directory compares itself, for all lanes.
    fn load_mark(&mut self, _partition: i32, _mark: Option<&ContinuityMark>) -> Result<(), Fault> {
        Ok(())
    }

    fn compare_with_mark(
        &mut self,
        _partition: i32,
        _predates_marks: bool,
    ) -> Result<Vec<ContinuityFinding>, Fault> {
        Ok(Vec::new())
    }

    fn apply_accepted(&mut self, _findings: &[ContinuityFinding]) -> Result<(), Fault> {
        Ok(())
    }

    /// A fault for each finding: while a process has the directory nobody can accept one.
    fn find_changes(&mut self) -> Result<Vec<ContinuityFinding>, Fault> {
        self.directory.verify_while_running()?;
        Ok(Vec::new())
    }

    fn mark_positions(&mut self, _partition: i32, _number: u64) -> MarkPositions {
        MarkPositions::default()
    }

    fn clock_ahead_ms(
        &mut self,
        _output: OutputId,
        _partition: i32,
        _written_ms: i64,
    ) -> Result<Option<i64>, Fault> {
        Ok(None)
    }

    fn needs_initial_mark(&self) -> bool {
        false
    }

    fn batch_partitions(&self) -> BTreeSet<i32> {
        let moved = self.has_uncommitted().then_some(ONLY_PARTITION);
        moved.into_iter().collect()
    }

    fn has_uncommitted(&self) -> bool {
        self.sources.iter().any(DirectorySource::has_moved)
    }

    fn rewind(&mut self) -> Result<(), Fault> {
        self.outputs.clear();
        self.sources.iter_mut().try_for_each(DirectorySource::rewind)
    }

    fn pause(&mut self, wait: Duration) -> Result<(), Fault> {
        let since = Instant::now();
        while !self.stop.is_requested() {
            let left = wait.saturating_sub(since.elapsed());
            if left.is_zero() {
                break;
            }
            thread::sleep(left.min(POLL_INTERVAL));
        }
        Ok(())
    }

    /// Returns how many bytes of each source are not committed.
    fn lag(&mut self) -> Vec<PartitionLag> {
        let sources = self.sources.iter().map(|source| PartitionLag {
            source: source.id,
            partition: ONLY_PARTITION,
            behind: i64::try_from(source.lag_bytes()).unwrap_or(i64::MAX),
        });
        sources.collect()
    }

    fn is_caught_up(&mut self) -> Result<bool, Fault> {
        Ok(self.lag().iter().all(|lag| lag.behind == 0))
    }

    fn late_gate(&self) -> Option<LateGate> {
        None
    }

    /// Drops what is not committed. The directory is free for another process once its last
    /// transport is dropped.
    fn close(&mut self, _leave: bool) -> Result<(), Fault> {
        self.stage = LaneStage::Assigned;
        self.rewind()
    }
}
