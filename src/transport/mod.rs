//! Where records come from and where outputs go.
//!
//! A transport hands records to its worker in the right order (gate sources first), takes
//! the outputs, and commits a batch whole or not at all. It knows nothing of policies,
//! patrons or fields, and looks into no value.

pub mod directory;
pub(crate) mod file;
pub mod kafka;
pub mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::message::continuity::{ContinuityFinding, ContinuityMark, MarkPositions};
use crate::message::{
    Coordinates, Fault, Input, MisplacedRecord, Outbox, Output, OutputId, SourceId,
};

/// The last value of each key of an output.
pub type OutputsByKey = BTreeMap<Vec<u8>, Vec<u8>>;

/// Whether a transport may hand out another record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollFlow {
    Continue,
    /// The next record belongs to the next batch.
    BatchFull,
}

/// A partition number of every joined source that was assigned to this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssignedPartition {
    pub partition: i32,
    /// It returns exactly as this worker last committed it: its memory is still valid and
    /// needs no rebuild.
    pub is_unchanged: bool,
}

/// The outcome of [`Transport::poll`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollOutcome {
    /// This many records were handed out.
    Records(usize),
    /// Nothing came within the wait.
    Idle,
    /// All partitions that the worker owns from now on. The worker calls
    /// [`Transport::rebuild`] for those that are not unchanged, then [`Transport::resume`];
    /// no record is handed out before that.
    Assigned(Vec<AssignedPartition>),
    /// All partitions are being revoked. The worker commits what it has, and calls
    /// [`Transport::release`].
    Revoked,
    /// All partitions are lost. The worker drops its batch ([`Transport::rewind`]), and
    /// calls [`Transport::release`].
    Lost,
    /// All input is committed up to the end it had at the start (`until_end`).
    End,
}

/// How a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    Done,
    /// A rebalance or a stop came in between: drop what was read.
    Interrupted,
}

/// How far the worker is behind in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionLag {
    pub source: SourceId,
    pub partition: i32,
    /// Records in Kafka, bytes in a directory.
    pub behind: i64,
}

/// A gate source that is not read to its end, as a reader of uncommitted records sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateGate {
    pub source: SourceId,
    pub partition: i32,
    /// The position.
    pub offset: i64,
    /// How long the position has not moved, or other records were held back.
    pub late_for: Duration,
}

/// Makes the next message of a chain from the last one; `None` if there is none to append.
pub type MakeNext<'a> = dyn FnMut(Option<&[u8]>) -> Option<Vec<u8>> + 'a;

/// Asks every worker of the process to finish its batch and end.
#[derive(Clone, Debug, Default)]
pub struct StopSignal(Arc<OnceLock<Instant>>);

impl StopSignal {
    pub fn request(&self) {
        // Only the first request counts.
        let _ = self.0.set(Instant::now());
    }

    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.time_since_request().is_some()
    }

    /// Returns how long ago the stop was requested, or `None` if it was not.
    #[must_use]
    pub fn time_since_request(&self) -> Option<Duration> {
        self.0.get().map(Instant::elapsed)
    }
}

/// Where one worker's records come from and its outputs go.
///
/// Records handed out and outputs published since the last [`commit`](Transport::commit) or
/// [`rewind`](Transport::rewind) are the batch. The transport remembers the positions of
/// what it handed out. Methods fail with any [`Fault`].
pub trait Transport {
    /// Hands records to `take` until it returns [`PollFlow::BatchFull`], nothing more is
    /// ready, or there is another outcome to report. Waits at most `wait` for the first
    /// one. The record for which `take` returned `BatchFull` counts as taken.
    ///
    /// Gate sources come first: see ARCHITECTURE.md.
    fn poll(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Input<'_>) -> PollFlow,
    ) -> Result<PollOutcome, Fault>;

    /// Reads `partition` of a source from its beginning to the end that it has when called,
    /// for the table. Moves no position.
    fn rebuild(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<ReadOutcome, Fault>;

    /// Reads `partition` of a source from its beginning to the committed position: what was
    /// handed out before and still exists. Moves no position. If interrupted, the worker
    /// drops what was read. Of a source without keys, which has one partition, the other
    /// numbers have no records.
    fn replay(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<ReadOutcome, Fault>;

    /// Reads records again by their coordinates. Moves no position.
    ///
    /// `wanted` is sorted and unique. `take` gets each in that order: its index in `wanted`
    /// and the record, or `None` if the source no longer has it. A source that does not
    /// answer is a fault, never a `None`. If interrupted, the worker drops the batch.
    fn reread_records(
        &mut self,
        wanted: &[Coordinates],
        take: &mut dyn FnMut(usize, Option<Input<'_>>),
    ) -> Result<ReadOutcome, Fault>;

    /// Reads the committed rows of one partition of a state output, in order. Moves no
    /// position.
    fn restore(
        &mut self,
        output: OutputId,
        partition: i32,
        take: &mut dyn FnMut(Output<'_>),
    ) -> Result<ReadOutcome, Fault>;

    /// Receives the mark of a partition number, before anything of it is rebuilt.
    fn load_mark(&mut self, partition: i32, mark: Option<&ContinuityMark>) -> Result<(), Fault>;

    /// Compares a partition number with its loaded mark, after its gate sources were
    /// rebuilt. `predates_marks`: its state was written by a version without marks.
    fn compare_with_mark(
        &mut self,
        partition: i32,
        predates_marks: bool,
    ) -> Result<Vec<ContinuityFinding>, Fault>;

    /// Continues from what is there now, despite these findings.
    fn apply_accepted(&mut self, findings: &[ContinuityFinding]) -> Result<(), Fault>;

    /// Compares what is there with what was read of it, for all owned partitions. To be
    /// called once a minute while no batch is open.
    fn find_changes(&mut self) -> Result<Vec<ContinuityFinding>, Fault>;

    /// Returns the partition numbers of the records in the batch.
    fn batch_partitions(&self) -> BTreeSet<i32>;

    /// Returns what the mark with this number says of a partition, and commits that number
    /// with the batch's offsets.
    fn mark_positions(&mut self, partition: i32, mark_number: u64) -> MarkPositions;

    /// Returns how far the local clock is ahead of another witness, as of the last
    /// committed mark, or `None` without a witness.
    fn clock_ahead_ms(
        &mut self,
        output: OutputId,
        partition: i32,
        written_ms: i64,
    ) -> Result<Option<i64>, Fault>;

    /// Returns whether a mark has to be committed before anything is decided.
    fn needs_initial_mark(&self) -> bool;

    /// Returns the unrepaired misplaced records of gate sources that were read since the
    /// last call. To be called before their batch is committed.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if a source has too many misplaced records.
    fn take_misplaced(&mut self) -> Result<Vec<MisplacedRecord>, Fault>;

    /// Returns whether a key of that source belongs in another partition than that of
    /// `coordinates`.
    fn is_misplaced(&self, coordinates: Coordinates, key: &[u8]) -> bool;

    /// For an intake: hands out the rows of its lookups, each once, up to the ends that their
    /// topics have now. The source of a row is the index of its topic in the plan's lookups.
    /// A new transport begins with the first row. If interrupted, what was handed out counts,
    /// and the next call goes on behind it. Calls `waiting` while rows are hidden, with how long
    /// none has come. Has none unless it says otherwise.
    fn read_lookups(
        &mut self,
        _take: &mut dyn FnMut(Input<'_>),
        _waiting: &mut dyn FnMut(Duration),
    ) -> Result<ReadOutcome, Fault> {
        Ok(ReadOutcome::Done)
    }

    /// For an intake that compares versions: returns, by topic, how far the sources of a partition
    /// number were committed in batches for which [`mark_positions`](Self::mark_positions) was
    /// called. To be called once the partition of the state was restored.
    fn marked_positions(&mut self, _partition: i32) -> Result<BTreeMap<String, i64>, Fault> {
        Ok(BTreeMap::new())
    }

    /// For an intake: fails if its topics are others than when this was opened, or if there is
    /// a topic more for which `is_read` returns true; also if its state lost rows. To be called
    /// once a minute.
    fn check_topics(&mut self, _is_read: &dyn Fn(&str) -> bool) -> Result<(), Fault> {
        Ok(())
    }

    /// Starts handing out records of what was assigned.
    fn resume(&mut self) -> Result<(), Fault>;

    /// Gives up what was revoked or lost.
    fn release(&mut self) -> Result<(), Fault>;

    /// Publishes `outbox` as part of the batch. `now_ms` is the batch's time.
    fn publish(&mut self, outbox: &Outbox, now_ms: i64) -> Result<(), Fault>;

    /// Adds to the batch what the outputs themselves need from time to time. To be called
    /// often while no batch is open. Returns whether there is something to commit.
    fn maintain(&mut self, _now_ms: i64) -> Result<bool, Fault> {
        Ok(false)
    }

    /// Commits the batch, outputs and positions together. Nothing has happened unless this
    /// returns `Ok`.
    fn commit(&mut self) -> Result<(), Fault>;

    /// Returns whether positions moved since the last commit, with or without records.
    fn has_uncommitted(&self) -> bool;

    /// Drops the batch; its records will be handed out again.
    fn rewind(&mut self) -> Result<(), Fault>;

    /// Waits without handing out records, but keeps the membership alive. May return early.
    fn pause(&mut self, wait: Duration) -> Result<(), Fault>;

    /// Returns how far the worker is behind in what it owns, including what an open
    /// transaction hides.
    fn lag(&mut self) -> Vec<PartitionLag>;

    /// Returns whether everything was handed out that lay in the worker's partitions when
    /// this was first called after their assignment. To be called while no batch is open.
    fn is_caught_up(&mut self) -> Result<bool, Fault>;

    /// Returns the gate source that has been late for longest, if any.
    fn late_gate(&self) -> Option<LateGate>;

    /// Shuts down. With `leave` the group is left for good (a bounded run); without, a
    /// static member keeps its place.
    fn close(&mut self, leave: bool) -> Result<(), Fault>;
}
