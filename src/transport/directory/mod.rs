//! The world as a directory of NDJSON files, for a library without Kafka.
//!
//! ```text
//! DIR/in/TOPIC.ndjson         a source: lines {"key":...,"value":...}
//! DIR/out/TOPIC.ndjson        an output, in the same form
//! DIR/.zeef/committed.json    lengths of the outputs, positions in the sources
//! DIR/.zeef/journal           a commit that is being made
//! DIR/.zeef/lock              held while a process works here
//! ```
//!
//! **A commit** is one batch of one lane: what it appends to any number of
//! outputs, and its positions.
//!
//! 1. The journal (all of that, with a checksum) is written as `journal.new`
//!    and synced. Until here nothing happened; what is left of it is removed.
//! 2. It is renamed to `journal`: from here on the batch is committed.
//! 3. Each output is written from its length before, and synced.
//! 4. `committed.json` is replaced.
//! 5. The journal is removed.
//!
//! Whoever opens the directory, or commits next, first does what is left of
//! steps 3 to 5. Writing the same bytes to the same place twice changes
//! nothing, so that it does not matter where a process died, or how often.
//!
//! **What a reader sees in between.** Outputs only grow, and a byte once seen
//! is never another: a `tail -f` is right at any time, but may see one output
//! before another, and half a line. Who needs whole batches, over all files
//! alike, reads `committed.json` first and then each output up to the length
//! in its `outputs`. `committed.json` itself is always a whole one.
//!
//! **Moving outputs away.** An output may be moved away when its length is the
//! committed one; it starts anew with the next batch. Inputs may only grow: a
//! position is a number of bytes, and one that does not fit stops the lane.
//!
//! One process works in a directory at a time, with any number of lanes. They
//! may share outputs: their commits are made one after the other. Headers and
//! timestamps have no place in the files. Nothing here looks into a value.

mod committed;
mod disk;
mod journal;
mod line;
mod reader;
mod store;

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use committed::{Committed, Position};
use disk::{Disk, Failure, RealDisk};
use line::Line;
use reader::{Found, Reader};
use store::{Layout, Store, length_of};

use super::{
    Assigned, Fault, Flow, Input, Lag, LanePlan, Outbox, Output, Polled, Rebuilt, SourceId,
    SourcePlan, Stop, Transport,
};
use crate::policy::reason::Reason;

/// How long a wait goes on before it looks again.
const NAP: Duration = Duration::from_millis(20);

/// A directory has one partition of each source, with this number.
const PARTITION: i32 = 0;

/// Where and how a directory is read.
#[derive(Clone, Debug)]
pub struct DirectorySettings {
    pub root: PathBuf,
    /// Goes on when the input ends, and picks up what is appended.
    pub follow: bool,
    /// A longer line is refused as [`Reason::TooLarge`]: the limit of a record
    /// and some room for its key.
    pub line_bytes_max: usize,
}

/// A directory that belongs to this process until the last clone is dropped.
///
/// The lanes of a process share one.
#[derive(Clone)]
pub struct Directory(Arc<Shared>);

struct Shared {
    settings: DirectorySettings,
    layout: Layout,
    store: Mutex<Store>,
    /// Locked for as long as it is open.
    _lock: File,
}

impl Directory {
    /// Takes the directory, and finishes a commit that was broken off.
    ///
    /// # Errors
    ///
    /// [`Fault::Twin`] where another process (or another [`Directory`]) has
    /// it, [`Fault::Stop`] where it is no input directory, cannot be written,
    /// or something in it is damaged.
    pub fn open(settings: DirectorySettings) -> Result<Self, Fault> {
        Self::open_on(settings, Box::new(RealDisk))
    }

    fn open_on(settings: DirectorySettings, disk: Box<dyn Disk>) -> Result<Self, Fault> {
        let layout = Layout::new(&settings.root);
        if !layout.input.is_dir() {
            let input = layout.input.display();
            return Err(Fault::Stop(format!(
                "{input} is no folder: expected it to hold one SOURCE.ndjson for each source"
            )));
        }
        for folder in [&layout.output, &layout.own] {
            let made = fs::create_dir_all(folder);
            made.map_err(|error| stop(Failure::to("create", folder)(error)))?;
        }
        let lock = lock(&layout.lock(), &settings.root)?;
        let store = Mutex::new(Store::open(layout.clone(), disk)?);
        Ok(Self(Arc::new(Shared {
            settings,
            layout,
            store,
            _lock: lock,
        })))
    }

    /// Makes the transport of one lane, at its committed positions.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where a name cannot be a file's, or a source is shorter
    /// than its position or another file than it was.
    pub fn transport(&self, plan: &LanePlan, stop: Stop) -> Result<DirectoryTransport, Fault> {
        let sources = plan.sources.iter().map(|source| source.topic.as_str());
        let outputs = plan.outputs.iter().map(|output| output.topic.as_str());
        for name in sources.chain(outputs) {
            check_name(name)?;
        }
        let positions = {
            let mut store = self.store();
            store.recover()?;
            store.positions(&plan.name)
        };
        let (outputs, output_places) = output_files(plan);
        let mut transport = DirectoryTransport {
            directory: self.clone(),
            lane: plan.name.clone(),
            sources: self.sources(plan, &positions),
            outputs,
            output_places,
            stop,
            stage: Stage::New,
            ends_known: false,
        };
        transport.look(|_| true)?;
        Ok(transport)
    }

    fn sources(&self, plan: &LanePlan, positions: &BTreeMap<String, Position>) -> Vec<Source> {
        let number = |index: usize| SourceId(u16::try_from(index).unwrap_or(u16::MAX));
        let sources = plan.sources.iter().enumerate();
        let sources = sources.map(|(index, source)| {
            let position = positions.get(&source.topic).copied();
            self.source(number(index), source, position.unwrap_or_default())
        });
        sources.collect()
    }

    fn source(&self, id: SourceId, plan: &SourcePlan, committed: Position) -> Source {
        let path = self.0.layout.source(&plan.topic);
        Source {
            id,
            topic: plan.topic.clone(),
            gate: plan.gate,
            reader: Reader::new(path, self.0.settings.line_bytes_max, committed.offset),
            committed,
            end: 0,
            done: false,
        }
    }

    /// The store. A lane that panicked while it had it may have left a commit
    /// half done: the next one looks at the disk first.
    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.store.lock().unwrap_or_else(|poisoned| {
            let mut store = poisoned.into_inner();
            store.distrust();
            self.0.store.clear_poison();
            store
        })
    }
}

/// The committed length in bytes of each output below `root`, by topic: what
/// lies before it is whole batches, in all outputs alike.
///
/// # Errors
///
/// [`Fault::Stop`] where it cannot be read.
pub fn committed_lengths(root: &Path) -> Result<BTreeMap<String, u64>, Fault> {
    Ok(Committed::read(&Layout::new(root).committed())?.outputs)
}

fn lock(path: &Path, root: &Path) -> Result<File, Fault> {
    let file = File::create(path).map_err(|error| stop(Failure::to("create", path)(error)))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let root = root.display();
            Err(Fault::Twin(format!("{root} is in use by another process")))
        }
        Err(TryLockError::Error(error)) => Err(stop(Failure::to("lock", path)(error))),
    }
}

fn check_name(name: &str) -> Result<(), Fault> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Fault::Stop(format!(
        "topic {name:?} cannot be a file: expected letters, digits, dots, underscores and hyphens, and no dot first"
    )))
}

fn stop(failure: Failure) -> Fault {
    Fault::Stop(failure.to_string())
}

/// One lane's records and outputs in a [`Directory`].
///
/// Without `follow` the run ends at the ends the sources have at the first
/// [`poll`](Transport::poll) that hands out records; a gate source that grows
/// is followed as long as other sources are not at their ends. Once nothing is
/// left to be read `poll` does not wait: it says [`Polled::Idle`] at once while
/// something is to be committed, then [`Polled::End`].
pub struct DirectoryTransport {
    directory: Directory,
    lane: String,
    sources: Vec<Source>,
    outputs: Vec<OutputFile>,
    /// The place in `outputs` for each output of the plan.
    output_places: Vec<usize>,
    stop: Stop,
    stage: Stage,
    ends_known: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    Assigned,
    Running,
}

struct Source {
    id: SourceId,
    topic: String,
    gate: bool,
    reader: Reader,
    committed: Position,
    /// So far it is read, as it was found; what is appended later waits.
    end: u64,
    /// No whole line is left before `end`.
    done: bool,
}

/// The lines of the batch for one output.
struct OutputFile {
    topic: String,
    lines: Vec<u8>,
}

/// The files of a plan's outputs, each once, and the place of each output's.
fn output_files(plan: &LanePlan) -> (Vec<OutputFile>, Vec<usize>) {
    let mut files: Vec<OutputFile> = Vec::new();
    let mut place = |topic: &str| {
        let known = files.iter().position(|file| file.topic == topic);
        known.unwrap_or_else(|| {
            files.push(OutputFile {
                topic: topic.to_owned(),
                lines: Vec::new(),
            });
            files.len() - 1
        })
    };
    let places = plan
        .outputs
        .iter()
        .map(|output| place(&output.topic))
        .collect();
    (files, places)
}

impl DirectoryTransport {
    /// Takes a directory for one lane alone; see [`Directory::open`] and
    /// [`Directory::transport`].
    ///
    /// # Errors
    ///
    /// As those.
    pub fn open(settings: DirectorySettings, plan: &LanePlan, stop: Stop) -> Result<Self, Fault> {
        Directory::open(settings)?.transport(plan, stop)
    }

    fn follows(&self) -> bool {
        self.directory.0.settings.follow
    }

    /// Notes how far the sources go that `which` names.
    fn look(&mut self, which: impl Fn(&Source) -> bool) -> Result<(), Fault> {
        let sources = self.sources.iter_mut().filter(|source| which(source));
        for source in sources {
            source.look()?;
        }
        Ok(())
    }

    /// Notes ends where it is time to: of the gates when a batch starts, of
    /// all when everything up to the ends known is handed out.
    ///
    /// Gates come last: whatever lay in a gate before a line of another source
    /// was written is then read before that line.
    fn note_ends(&mut self) -> Result<(), Fault> {
        let left = self.sources.iter().any(|source| !source.done);
        let left_others = self
            .sources
            .iter()
            .any(|source| !source.done && !source.gate);
        if !self.ends_known || (self.follows() && !left) {
            self.look(|source| !source.gate)?;
            self.look(|source| source.gate)?;
            self.ends_known = true;
        } else if !self.uncommitted() && (self.follows() || left_others) {
            self.look(|source| source.gate)?;
        }
        Ok(())
    }

    /// Hands out what is known to be there, gates first.
    fn hand_out(&mut self, take: &mut dyn FnMut(Input<'_>) -> Flow) -> Result<usize, Fault> {
        let mut count = 0;
        for gate in [true, false] {
            let sources = self.sources.iter_mut();
            for source in sources.filter(|source| source.gate == gate && !source.done) {
                while source.read_one(&mut |input| {
                    count += 1;
                    match take(input) {
                        Flow::More if !self.stop.asked() => Flow::More,
                        _ => Flow::Full,
                    }
                })? == Flow::More
                {}
                if !source.done {
                    return Ok(count);
                }
            }
        }
        Ok(count)
    }
}

impl Source {
    /// Notes how far the file goes now, and that it still is the same file.
    fn look(&mut self) -> Result<(), Fault> {
        let length = length_of(self.reader.path()).map_err(stop)?;
        if length < self.reader.position().max(self.committed.offset) {
            return Err(self.replaced(&format!("{length} bytes long")));
        }
        if length == self.end && (self.reader.is_open() || length == 0) {
            return Ok(());
        }
        self.reader.open().map_err(stop)?;
        let tail = self.reader.tail(self.committed.offset).map_err(stop)?;
        if tail != Some(self.committed.tail) && self.committed.offset > 0 {
            return Err(self.replaced("another file"));
        }
        self.end = length;
        self.done = false;
        Ok(())
    }

    fn replaced(&self, found: &str) -> Fault {
        let path = self.reader.path().display();
        let read = self.reader.position().max(self.committed.offset);
        Fault::Stop(format!(
            "{path} was read up to byte {read}, and now it is {found}: an input may only grow. \
             Put the file back as it was and append to it; or, to read all input again from its \
             beginning, stop zeef, move the out folder away and remove the .zeef folder beside it"
        ))
    }

    /// Hands out the next line; [`Flow::Full`] also where there is none.
    fn read_one(&mut self, take: &mut dyn FnMut(Input<'_>) -> Flow) -> Result<Flow, Fault> {
        let found = self.reader.next(self.end);
        let found = found.map_err(|failure| self.fault(failure))?;
        let flow = hand_over(self.id, &self.reader, &found, take);
        self.done = flow.is_none();
        Ok(flow.unwrap_or(Flow::Full))
    }

    fn fault(&self, failure: Failure) -> Fault {
        match failure.source.kind() {
            ErrorKind::UnexpectedEof => self.replaced("shorter"),
            _ => stop(failure),
        }
    }

    fn moved(&self) -> bool {
        self.reader.position() != self.committed.offset
    }

    fn rewind(&mut self) -> Result<(), Fault> {
        if !self.moved() {
            return Ok(());
        }
        self.done = false;
        self.reader.seek(self.committed.offset).map_err(stop)
    }
}

/// Hands `take` what a reader found; `None` where that is nothing.
fn hand_over(
    source: SourceId,
    reader: &Reader,
    found: &Found,
    take: &mut dyn FnMut(Input<'_>) -> Flow,
) -> Option<Flow> {
    let (offset, line) = match found {
        Found::End => return None,
        Found::Line { offset, bytes } => (*offset, Line::read(reader.bytes(bytes))),
        Found::TooLong { offset, key } => {
            let key = key.as_deref().map(Into::into);
            (*offset, Line::refused(Reason::TooLarge, key))
        }
    };
    Some(take(Input {
        source,
        partition: PARTITION,
        offset: i64::try_from(offset).unwrap_or(i64::MAX),
        timestamp_ms: None,
        key: line.key.as_deref().map(str::as_bytes),
        payload: line.payload,
    }))
}

impl Transport for DirectoryTransport {
    fn poll(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Input<'_>) -> Flow,
    ) -> Result<Polled, Fault> {
        match self.stage {
            Stage::New => {
                self.stage = Stage::Assigned;
                return Ok(Polled::Assigned(vec![Assigned {
                    partition: PARTITION,
                    returned: false,
                }]));
            }
            Stage::Assigned => {
                self.pause(wait)?;
                return Ok(Polled::Idle);
            }
            Stage::Running => {}
        }
        let since = Instant::now();
        loop {
            if self.stop.asked() {
                return Ok(Polled::Idle);
            }
            self.note_ends()?;
            match self.hand_out(take)? {
                0 if self.follows() => {}
                0 if self.uncommitted() => return Ok(Polled::Idle),
                0 => return Ok(Polled::End),
                count => return Ok(Polled::Records(count)),
            }
            let left = wait.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Ok(Polled::Idle);
            }
            thread::sleep(left.min(NAP));
        }
    }

    fn rebuild(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<Rebuilt, Fault> {
        let known = self.sources.get(usize::from(source.0));
        let Some(known) = known.filter(|_| partition == PARTITION) else {
            let number = source.0;
            return Err(Fault::Stop(format!(
                "source {number} has no partition {partition} in a directory"
            )));
        };
        let path = known.reader.path().to_owned();
        let end = length_of(&path).map_err(stop)?;
        let mut reader = Reader::new(path, self.directory.0.settings.line_bytes_max, 0);
        reader.open().map_err(stop)?;
        loop {
            if self.stop.asked() {
                return Ok(Rebuilt::Interrupted);
            }
            let found = reader.next(end).map_err(stop)?;
            let mut more = |input: Input<'_>| {
                take(input);
                Flow::More
            };
            if hand_over(source, &reader, &found, &mut more).is_none() {
                return Ok(Rebuilt::Done);
            }
        }
    }

    fn resume(&mut self) -> Result<(), Fault> {
        self.stage = Stage::Running;
        Ok(())
    }

    /// Stops handing out; a directory is never taken away, so this only
    /// happens when the worker itself ends.
    fn release(&mut self) -> Result<(), Fault> {
        self.stage = Stage::Assigned;
        Ok(())
    }

    /// Adds lines to the batch; the time and the partition have no place here.
    fn publish(&mut self, outbox: &Outbox, _now_ms: i64) -> Result<(), Fault> {
        for output in outbox.iter() {
            let number = output.output.0;
            let place = self.output_places.get(usize::from(number));
            let file = place.and_then(|place| self.outputs.get_mut(*place));
            let file = file.ok_or_else(|| Fault::Stop(format!("there is no output {number}")))?;
            write_line(&mut file.lines, &output).map_err(|problem| {
                let topic = &file.topic;
                Fault::Stop(format!("an output for {topic} cannot be a line: {problem}"))
            })?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Fault> {
        let mut positions = BTreeMap::new();
        for source in &mut self.sources {
            if source.moved() {
                let position = source.reader.mark();
                let position = position.map_err(|failure| source.fault(failure))?;
                positions.insert(source.topic.clone(), position);
            }
        }
        let written = self
            .outputs
            .iter()
            .filter(|output| !output.lines.is_empty());
        let mut written = written
            .map(|output| (output.topic.as_str(), output.lines.as_slice()))
            .peekable();
        if positions.is_empty() && written.peek().is_none() {
            return Ok(());
        }
        self.directory
            .store()
            .commit(&self.lane, positions.clone(), written)?;
        for source in &mut self.sources {
            if let Some(position) = positions.get(&source.topic) {
                source.committed = *position;
            }
        }
        self.outputs
            .iter_mut()
            .for_each(|output| output.lines.clear());
        Ok(())
    }

    fn uncommitted(&self) -> bool {
        self.sources.iter().any(Source::moved)
    }

    fn rewind(&mut self) -> Result<(), Fault> {
        self.outputs
            .iter_mut()
            .for_each(|output| output.lines.clear());
        self.sources.iter_mut().try_for_each(Source::rewind)
    }

    fn pause(&mut self, wait: Duration) -> Result<(), Fault> {
        let since = Instant::now();
        while !self.stop.asked() {
            let left = wait.saturating_sub(since.elapsed());
            if left.is_zero() {
                break;
            }
            thread::sleep(left.min(NAP));
        }
        Ok(())
    }

    /// Says how many bytes of each source are not committed.
    fn lag(&mut self) -> Vec<Lag> {
        let sources = self.sources.iter().map(|source| {
            let length = length_of(source.reader.path()).unwrap_or(source.end);
            let behind = length.saturating_sub(source.committed.offset);
            Lag {
                source: source.id,
                partition: PARTITION,
                behind: i64::try_from(behind).unwrap_or(i64::MAX),
            }
        });
        sources.collect()
    }

    /// Drops what is not committed. The directory is free for another process
    /// when its last transport is dropped.
    fn close(&mut self, _leave: bool) -> Result<(), Fault> {
        self.stage = Stage::Assigned;
        self.rewind()
    }
}

/// Appends `{"key":...,"value":...}` and a line end.
fn write_line(line: &mut Vec<u8>, output: &Output<'_>) -> Result<(), &'static str> {
    let key = output.key.map(std::str::from_utf8).transpose();
    let key = key.map_err(|_| "its key is not UTF-8")?;
    let value = output.value.unwrap_or(b"null");
    if memchr::memchr(b'\n', value).is_some() {
        return Err("its value holds a line end");
    }
    line.extend_from_slice(b"{\"key\":");
    serde_json::to_writer(&mut *line, &key).map_err(|_| "its key is no text")?;
    line.extend_from_slice(b",\"value\":");
    line.extend_from_slice(value);
    line.extend_from_slice(b"}\n");
    Ok(())
}

#[cfg(test)]
mod tests;
