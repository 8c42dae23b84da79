//! The world: where records come from and where outputs go.
//!
//! A transport hands records to its worker in the right order (gate sources
//! first), takes what was decided, and makes a batch happen whole or not at
//! all. It knows nothing of policies, patrons or fields, and looks into no
//! value.

pub mod commands;
pub mod continuity;
pub mod directory;
pub(crate) mod file;
pub mod kafka;
pub mod memory;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::json::page::Page;
use crate::policy::reason::Reason;

use continuity::{Finding, Fingerprinter, Kept, Mark, Position};

/// The place of a source in [`LanePlan::sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub u16);

/// The place of an output topic in [`LanePlan::outputs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutputId(pub u16);

/// What a lane reads and writes: all that a transport knows of a policy.
#[derive(Clone, Debug)]
pub struct LanePlan {
    pub name: String,
    pub sources: Vec<SourcePlan>,
    pub outputs: Vec<OutputPlan>,
    /// The policy version, as it stands in the headers of outputs.
    pub policy_version: String,
    /// Makes hashes of records, by which a source is known again. Without it no
    /// marks are kept.
    pub prints: Option<Fingerprinter>,
    /// With how many offsets in its outputs the lane was told to begin anew.
    pub forgotten: Vec<i64>,
}

/// One source of a lane.
#[derive(Clone, Debug)]
pub struct SourcePlan {
    /// The topic's name without any prefix, and the file's in a directory.
    pub topic: String,
    /// A gate source is read to its known end before other sources go on.
    pub gate: bool,
    /// The source is read whole into the table when a partition is assigned.
    pub rebuilt: bool,
    /// The source's key is the patron id: it is joined, so it must have as
    /// many partitions as the other joined sources, by the same partitioner.
    pub joined: bool,
    /// How its records are kept.
    pub kept: Kept,
}

/// One output topic of a lane.
#[derive(Clone, Debug)]
pub struct OutputPlan {
    pub topic: String,
    /// The recipient's name, or [`OWN`].
    pub owner: String,
    /// Timestamps are cut to the UTC day (a pseudonymised recipient).
    pub day_only: bool,
    /// Stands in the header of its outputs in place of the policy's version, which
    /// changes with every recipient's file.
    pub version: Option<String>,
    pub role: OutputRole,
}

/// The owner of outputs that are for no recipient.
pub const OWN: &str = "zeef";

/// Whom an output topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputRole {
    /// A recipient: it is compacted, and read by keys.
    Recipient,
    /// Those who can mend what could not be read.
    DeadLetters,
    /// The lane alone: what was committed to it can be read back with
    /// [`Transport::restore`].
    State,
    /// All lanes alike: what is known of patrons that their source may lose. It
    /// is read back as a state is.
    Patrons,
}

impl OutputPlan {
    #[must_use]
    pub fn is_state(&self) -> bool {
        self.role == OutputRole::State
    }

    /// Whether what was committed to it can be read back.
    #[must_use]
    pub fn is_restored(&self) -> bool {
        matches!(self.role, OutputRole::State | OutputRole::Patrons)
    }
}

/// Where one record lies in its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Coordinates {
    pub source: SourceId,
    pub partition: i32,
    pub offset: i64,
}

/// When a message came to its source, as far as that tells what came after what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// In milliseconds since 1970.
    pub ms: i64,
    /// It is the broker's time, or that of a run, and no producer's.
    pub exact: bool,
}

impl Appended {
    /// By how much the clock of a producer may be wrong.
    pub const MARGIN_MS: i64 = 3_600_000;

    /// Whether this came after `other` without a doubt.
    #[must_use]
    pub fn is_after(self, other: Appended) -> bool {
        let margin_ms = match self.exact && other.exact {
            true => 0,
            false => Appended::MARGIN_MS,
        };
        self.ms > other.ms.saturating_add(margin_ms)
    }
}

/// A record of a gate source in another partition than its key belongs in. It
/// was handed out as [`Reason::Misplaced`], and nobody has repaired it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misplaced {
    pub at: Coordinates,
    /// The topic as it is called outside.
    pub topic: String,
    pub key: Vec<u8>,
    /// The partition that the key belongs in.
    pub home: i32,
}

/// One input message, borrowed from its transport.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub source: SourceId,
    pub partition: i32,
    pub offset: i64,
    /// When it was written, in milliseconds since 1970, where that is known.
    pub timestamp_ms: Option<i64>,
    /// When it came to its source, where anything tells.
    pub appended: Option<Appended>,
    pub key: Option<&'a [u8]>,
    pub payload: Payload<'a>,
}

/// The value of a message.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// Kafka's null, or a directory line whose value is `null`.
    Null,
    Bytes(&'a [u8]),
    /// The transport itself could not read it (a torn line, an over-long one).
    Refused(Reason),
    /// The same of what is at hand: the bytes of the whole line.
    Unread(Reason, &'a [u8]),
}

impl<'a> Payload<'a> {
    /// Returns the bytes; `None` for a null, or what could not be read.
    #[must_use]
    pub fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Payload::Bytes(bytes) | Payload::Unread(_, bytes) => Some(bytes),
            Payload::Null | Payload::Refused(_) => None,
        }
    }
}

/// What is to be published, in the order in which it was decided.
///
/// Keys and values lie on one page that is reused from batch to batch.
#[derive(Debug, Default)]
pub struct Outbox {
    page: Page,
    /// Where the last message ends.
    used: usize,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    output: OutputId,
    partition: Option<i32>,
    start: usize,
    key_end: usize,
    end: usize,
    key: bool,
    value: bool,
}

/// One message of an [`Outbox`].
#[derive(Clone, Copy, Debug)]
pub struct Output<'a> {
    pub output: OutputId,
    /// The partition, where it is not left to the key.
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

impl Outbox {
    /// Adds one message; `write` appends its value to a buffer.
    pub fn push(
        &mut self,
        output: OutputId,
        partition: Option<i32>,
        key: Option<&[u8]>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let added: Result<usize, std::convert::Infallible> =
            self.write(output, partition, |page, at| {
                let key_end = page.bytes(at, key.unwrap_or_default());
                let end = page.append(key_end, write);
                Ok((key.map(|_| key_end), end))
            });
        match added {
            Ok(_) => {}
            Err(never) => match never {},
        }
    }

    /// Adds one message, unless `write` fails: then the outbox is as it was.
    /// `write` is told where on the page the message starts, and says where its
    /// key ends, if it has one, and where its value does. Returns the length of
    /// both together.
    ///
    /// # Errors
    ///
    /// What `write` failed with.
    #[inline]
    pub fn write<E>(
        &mut self,
        output: OutputId,
        partition: Option<i32>,
        write: impl FnOnce(&mut Page, usize) -> Result<(Option<usize>, usize), E>,
    ) -> Result<usize, E> {
        let start = self.used;
        let (key_end, end) = write(&mut self.page, start)?;
        self.used = end;
        self.entries.push(Entry {
            output,
            partition,
            start,
            key_end: key_end.unwrap_or(start),
            end,
            key: key_end.is_some(),
            value: true,
        });
        Ok(end - start)
    }

    /// Adds a tombstone.
    pub fn push_null(&mut self, output: OutputId, partition: Option<i32>, key: &[u8]) {
        let start = self.used;
        let end = self.page.bytes(start, key);
        self.used = end;
        self.entries.push(Entry {
            output,
            partition,
            start,
            key_end: end,
            end,
            key: true,
            value: false,
        });
    }

    /// The message that was added last.
    #[must_use]
    pub fn last(&self) -> Option<Output<'_>> {
        self.entries.last().map(|entry| self.output(entry))
    }

    /// Takes back the message that was added last.
    pub fn drop_last(&mut self) {
        if let Some(entry) = self.entries.pop() {
            self.used = entry.start;
        }
    }

    fn output(&self, entry: &Entry) -> Output<'_> {
        let key = entry.key.then_some((entry.start, entry.key_end));
        let value = entry.value.then_some((entry.key_end, entry.end));
        Output {
            output: entry.output,
            partition: entry.partition,
            key: key.map(|(start, end)| self.page.written(start, end)),
            value: value.map(|(start, end)| self.page.written(start, end)),
        }
    }

    /// The messages, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Output<'_>> {
        self.entries.iter().map(|entry| self.output(entry))
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keys and values together, in bytes.
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.used
    }

    /// Puts the messages of each output into the order of their keys; those of one
    /// key stay in theirs.
    pub fn sort_by_key(&mut self) {
        let Outbox { page, entries, .. } = self;
        let key = |entry: &Entry| page.written(entry.start, entry.key_end);
        entries.sort_by(|one, other| {
            let outputs = one.output.cmp(&other.output);
            outputs.then_with(|| key(one).cmp(key(other)))
        });
    }

    pub fn clear(&mut self) {
        self.used = 0;
        self.entries.clear();
    }
}

/// Whether a transport may hand out another record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    More,
    /// The batch is full: the next record belongs to the next one.
    Full,
}

/// One partition number that became this worker's, of every joined source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    pub partition: i32,
    /// It returns exactly as this worker last committed it: what is kept of it
    /// in memory still holds, and needs no rebuild.
    pub returned: bool,
}

/// What a call of [`Transport::poll`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Polled {
    /// This many records were handed out.
    Records(usize),
    /// Nothing came within the wait.
    Idle,
    /// These partitions are the worker's from now on (all it has, not only
    /// the new ones). It calls [`Transport::rebuild`] for those that did not
    /// return, then [`Transport::resume`]; before that no record is handed out.
    Assigned(Vec<Assigned>),
    /// All partitions are to be given up. The worker commits what it has, and
    /// calls [`Transport::release`].
    Revoked,
    /// All partitions are gone already. The worker drops what it has
    /// ([`Transport::rewind`]), and calls [`Transport::release`].
    Lost,
    /// All input is committed up to the end it had at the start (`until_end`).
    End,
}

/// How a rebuild ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebuilt {
    Done,
    /// A rebalance or a stop came in between; what was read is to be dropped.
    Interrupted,
}

/// How far the worker is behind, per partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    pub source: SourceId,
    pub partition: i32,
    /// Records in Kafka, bytes in a directory.
    pub behind: i64,
}

/// A gate source that is not read to its end, as a reader of uncommitted records
/// sees that end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateGate {
    pub source: SourceId,
    pub partition: i32,
    /// So far it was read.
    pub offset: i64,
    /// For how long it was not read further, or held back other records.
    pub since: Duration,
}

/// A fault of a transport: what the worker is to do about it.
///
/// The text is for an operator and never carries a record's value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The batch cannot be committed; [`Transport::rewind`], then again.
    #[error("batch aborted: {0}")]
    Abort(String),
    /// A rebalance or a stop came in between; [`Transport::rewind`], then poll.
    #[error("interrupted while records were read again")]
    Interrupted,
    /// Kafka did not answer in time; [`Transport::rewind`], then again.
    #[error("no answer: {0}")]
    Unanswered(String),
    /// The transport is of no more use; build it again.
    #[error("transport lost: {0}")]
    Rebuild(String),
    /// Another process runs under the same name; exit 75.
    #[error("another instance took over: {0}")]
    Twin(String),
    /// Going on would be wrong until an operator acts; the lane stops.
    #[error("stopped: {0}")]
    Stop(String),
    /// The system refuses a file: no permission, no room, a disk that fails. A lane
    /// that runs stops; a command has failed.
    #[error("{0}")]
    Io(String),
}

/// Asks every worker of the process to finish its batch and end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<OnceLock<Instant>>);

impl Stop {
    pub fn ask(&self) {
        // Only the first time counts.
        let _ = self.0.set(Instant::now());
    }

    #[must_use]
    pub fn asked(&self) -> bool {
        self.asked_for().is_some()
    }

    /// Returns how long ago the stop was asked; `None` where it was not.
    #[must_use]
    pub fn asked_for(&self) -> Option<Duration> {
        self.0.get().map(Instant::elapsed)
    }
}

/// Where one worker's records come from and its outputs go.
///
/// Records handed out since the last [`commit`](Transport::commit) or
/// [`rewind`](Transport::rewind), and outputs published since then, are the
/// batch. The transport remembers the positions of what it handed out.
pub trait Transport {
    /// Hands records to `take` until it says [`Flow::Full`], nothing more lies
    /// ready, or something else has to be said. Waits at most `wait` for the
    /// first one. The record for which `take` answered `Full` was taken.
    ///
    /// Gate sources come first: see ARCHITECTURE.md.
    ///
    /// # Errors
    ///
    /// Any [`Fault`].
    fn poll(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Input<'_>) -> Flow,
    ) -> Result<Polled, Fault>;

    /// Reads `partition` of a source from its beginning to the end that it has
    /// when called, for the table. Has no influence on positions.
    ///
    /// # Errors
    ///
    /// Any [`Fault`].
    fn rebuild(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<Rebuilt, Fault>;

    /// Reads `partition` of a source from its beginning to the position that is
    /// committed: what was handed out before, as far as it is still there. Moves
    /// no position. Where this was interrupted the worker drops what was read.
    ///
    /// # Errors
    ///
    /// Any [`Fault`].
    fn replay(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<Rebuilt, Fault>;

    /// Reads records again by their coordinates; moves no position.
    ///
    /// `wanted` is sorted, without doubles. `take` gets each in that order: its
    /// index in `wanted` and the record, or `None` where the source no longer
    /// has it. Where this was interrupted the worker drops the batch.
    ///
    /// # Errors
    ///
    /// Any [`Fault`]; a source that gave no answer is one, and never `None`.
    fn read_again(
        &mut self,
        wanted: &[Coordinates],
        take: &mut dyn FnMut(usize, Option<Input<'_>>),
    ) -> Result<Rebuilt, Fault>;

    /// Reads one partition of a state output from its beginning to the end that
    /// it has: what is committed, in order. Moves no position.
    ///
    /// # Errors
    ///
    /// Any [`Fault`].
    fn restore(
        &mut self,
        output: OutputId,
        partition: i32,
        take: &mut dyn FnMut(Output<'_>),
    ) -> Result<Rebuilt, Fault>;

    /// Takes the mark of a partition number, before anything of it is rebuilt.
    ///
    /// # Errors
    ///
    /// Any [`Fault`].
    fn recall(&mut self, partition: i32, mark: Option<&Mark>) -> Result<(), Fault>;

    /// Compares what is there of a partition number with the mark that was
    /// recalled, once its gate sources were rebuilt. `before` says that it was
    /// written by a version without marks.
    ///
    /// # Errors
    ///
    /// Any [`Fault`].
    fn verify(&mut self, partition: i32, before: bool) -> Result<Vec<Finding>, Fault>;

    /// Goes on from what is there now, in place of what these findings lost.
    ///
    /// # Errors
    ///
    /// Any [`Fault`].
    fn accept(&mut self, findings: &[Finding]) -> Result<(), Fault>;

    /// Compares what is there with what was read of it, for all partitions of the
    /// worker. To be called once a minute while no batch is open.
    ///
    /// # Errors
    ///
    /// Any [`Fault`].
    fn check(&mut self) -> Result<Vec<Finding>, Fault>;

    /// The partition numbers that the batch acts on, by what was handed out.
    fn acting(&self) -> BTreeSet<i32>;

    /// What the mark with this number says of a partition; the batch's offsets are
    /// committed with it.
    fn position(&mut self, partition: i32, number: u64) -> Position;

    /// By how much the local clock is ahead of that of a second witness, as of the
    /// mark that was committed last; `None` without a witness.
    ///
    /// # Errors
    ///
    /// Any [`Fault`].
    fn clock_ahead_ms(
        &mut self,
        output: OutputId,
        partition: i32,
        written_ms: i64,
    ) -> Result<Option<i64>, Fault>;

    /// Whether a mark is to be committed before anything is decided.
    fn begins_with_mark(&self) -> bool;

    /// Returns the misplaced records of gate sources that were handed out or read
    /// since the last call, without those that were repaired. To be called
    /// before what was handed out is committed.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where a source has too many misplaced records; any other
    /// [`Fault`].
    fn misplaced(&mut self) -> Result<Vec<Misplaced>, Fault>;

    /// Whether the partition of a key, in the source of `at`, is another one than
    /// that of `at`.
    fn lies_elsewhere(&self, at: Coordinates, key: &[u8]) -> bool;

    /// Starts to hand out records of what was assigned.
    ///
    /// # Errors
    ///
    /// Any [`Fault`].
    fn resume(&mut self) -> Result<(), Fault>;

    /// Gives up what was revoked or lost.
    ///
    /// # Errors
    ///
    /// Any [`Fault`].
    fn release(&mut self) -> Result<(), Fault>;

    /// Publishes `outbox` as part of the batch. `now_ms` is the batch's time.
    ///
    /// # Errors
    ///
    /// Any [`Fault`].
    fn publish(&mut self, outbox: &Outbox, now_ms: i64) -> Result<(), Fault>;

    /// Adds to the batch what the outputs themselves need from time to time,
    /// though nothing was decided. To be called often while no batch is open; says
    /// whether there is something to commit now.
    ///
    /// # Errors
    ///
    /// Any [`Fault`].
    fn tidy(&mut self, _now_ms: i64) -> Result<bool, Fault> {
        Ok(false)
    }

    /// Commits the batch: outputs and positions together. Only when this
    /// returns `Ok` did anything happen.
    ///
    /// # Errors
    ///
    /// Any [`Fault`].
    fn commit(&mut self) -> Result<(), Fault>;

    /// Whether positions moved since the last commit, with or without records.
    fn uncommitted(&self) -> bool;

    /// Drops the batch; its records will be handed out again.
    ///
    /// # Errors
    ///
    /// Any [`Fault`].
    fn rewind(&mut self) -> Result<(), Fault>;

    /// Waits without handing out records, and stays alive to the outside (a
    /// paused consumer must still poll). May return early.
    ///
    /// # Errors
    ///
    /// Any [`Fault`].
    fn pause(&mut self, wait: Duration) -> Result<(), Fault>;

    /// How far the worker is behind, of what it owns: what lies behind an open
    /// transaction counts.
    fn lag(&mut self) -> Vec<Lag>;

    /// Whether all was handed out that lay on the worker's partitions when this was
    /// first asked since they were assigned. To be called while no batch is open.
    ///
    /// # Errors
    ///
    /// Any [`Fault`].
    fn caught_up(&mut self) -> Result<bool, Fault> {
        Ok(self.lag().iter().all(|lag| lag.behind == 0))
    }

    /// The gate source that is late for the longest time, if one is.
    fn late_gate(&self) -> Option<LateGate> {
        None
    }

    /// Ends in an orderly way. With `leave` a group is left for good (the
    /// nightly run); without, a static member keeps its place.
    ///
    /// # Errors
    ///
    /// Any [`Fault`].
    fn close(&mut self, leave: bool) -> Result<(), Fault>;
}
