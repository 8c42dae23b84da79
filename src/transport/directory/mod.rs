//! The world as a directory of NDJSON files, for a library without Kafka.
//!
//! ```text
//! DIR/in/TOPIC.ndjson         a source: lines {"key":...,"value":...}
//! DIR/out/TOPIC.ndjson        an output, in the same form
//! DIR/.zeef/TOPIC.ndjson      a lane's state, in the same form
//! DIR/.zeef/committed.json    lengths of all these, positions in the sources
//! DIR/.zeef/journal           a commit that is being made
//! DIR/.zeef/lock              held while a process works here
//! ```
//!
//! **A commit** is one batch of one lane: what it appends to any number of
//! outputs and to its state, and its positions.
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
//! **What a reader sees in between.** Outputs only grow between compactions, and
//! a byte once seen is never another: a `tail -f` is right at any time, but may see one output
//! before another, and half a line. Who needs whole batches, over all files
//! alike, reads `committed.json` first and then each output up to the length
//! in its `outputs`. `committed.json` itself is always a whole one.
//!
//! **Moving outputs away.** An output may be moved away when its length is the
//! committed one; it starts anew with the next batch. Inputs may only grow: a
//! position is a number of bytes, and one that does not fit stops the lane.
//! **State** is as long as `committed.json` says: a file that is shorter stops
//! the lane, and what lies behind is written over.
//!
//! **Compaction** leaves the last line of each key: what is left of a file is
//! written and synced beside it (`.TOPIC.ndjson.new`), and a commit, whose journal
//! has names in place of lines, puts it in the file's place. Who has the old file
//! open goes on seeing that one, whole; who reads by bytes begins anew with a file
//! that is another one. Until `committed.json` is replaced, an output may be
//! shorter than its length there.
//!
//! One process works in a directory at a time, with any number of lanes. They
//! may share outputs: their commits are made one after the other. Headers and
//! timestamps have no place in the files. Nothing here looks into a value.

mod committed;
mod compact;
mod disk;
mod journal;
mod lane;
mod line;
mod output;
mod reader;
mod source;
mod store;

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use committed::{Committed, damaged};
use disk::{Disk, Failure, RealDisk};
use line::Line;
use reader::{Found, Reader};
use store::{Layout, Store};

pub use compact::Compacted;
pub use lane::DirectoryTransport;

use super::{Fault, LanePlan, Output, OutputId, Payload, Rebuilt, Stop};

/// A directory has one partition of each source, with this number.
const PARTITION: i32 = 0;

/// Where and how a directory is read.
#[derive(Clone, Debug)]
pub struct DirectorySettings {
    pub root: PathBuf,
    /// Goes on when the input ends, and picks up what is appended.
    pub follow: bool,
    /// A longer line is refused as [`TooLarge`](crate::policy::reason::Reason::TooLarge): the
    /// limit of a record and some room for its key.
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
        DirectoryTransport::new(self.clone(), plan, &positions, stop)
    }

    /// Leaves in each output, and in each state, the last line of each key, so
    /// that no value stands above the null that took it back. Lines without a key
    /// stay. Says what became of the files that had more.
    ///
    /// # Errors
    ///
    /// [`Fault::Abort`] where the disk refuses and nothing happened,
    /// [`Fault::Rebuild`] where it may have happened: the next call, or the next
    /// start, finds out and finishes it. [`Fault::Stop`] where that fails.
    pub fn compact(&self) -> Result<Vec<Compacted>, Fault> {
        self.store().compact(true)
    }

    /// Compacts all where something was taken back since that was done last; else
    /// only a state of which less than half still counts.
    ///
    /// # Errors
    ///
    /// As [`compact`](Self::compact).
    pub fn compact_if_due(&self) -> Result<Vec<Compacted>, Fault> {
        self.store().compact_if_due()
    }

    /// Makes a reader of a source, not opened yet.
    fn reader(&self, topic: &str, offset: u64) -> Reader {
        let path = self.0.layout.source(topic);
        Reader::new(path, self.0.settings.line_bytes_max, offset)
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

/// Hands each row of a lane's state below `root` to `take`, in
/// their order, some of them twice: what is committed. The directory may be in
/// use meanwhile.
///
/// # Errors
///
/// [`Fault::Stop`] where it cannot be read, or is shorter than what is committed.
pub fn read_state(root: &Path, topic: &str, take: &mut dyn FnMut(Output<'_>)) -> Result<(), Fault> {
    /// A compaction replaces the file a moment before its length.
    const LOOKS: usize = 5;
    const MOMENT: Duration = Duration::from_millis(200);
    check_name(topic)?;
    let layout = Layout::new(root);
    let mut read = Ok(());
    for look in 0..LOOKS {
        if look > 0 {
            thread::sleep(MOMENT);
        }
        read = read_state_once(&layout, topic, take);
        if read.is_ok() {
            break;
        }
    }
    read
}

fn read_state_once(
    layout: &Layout,
    topic: &str,
    take: &mut dyn FnMut(Output<'_>),
) -> Result<(), Fault> {
    let committed = Committed::read(&layout.committed())?;
    let end = committed.state.get(topic).copied().unwrap_or(0);
    let mut reader = Reader::new(layout.written(topic, true), usize::MAX, 0);
    reader.open().map_err(stop)?;
    each_row(&mut reader, end, OutputId(0), &|| true, take)?;
    Ok(())
}

/// Hands each row of a state to `take`, up to the byte `end`; `go_on` is asked
/// before each.
fn each_row(
    reader: &mut Reader,
    end: u64,
    output: OutputId,
    go_on: &dyn Fn() -> bool,
    take: &mut dyn FnMut(Output<'_>),
) -> Result<Rebuilt, Fault> {
    while go_on() {
        let Found::Line { bytes, .. } = reader.next(end).map_err(stop)? else {
            return match reader.position() {
                position if position == end => Ok(Rebuilt::Done),
                _ => Err(damaged(reader.path())),
            };
        };
        let row = Line::read(reader.bytes(&bytes));
        let value = match row.payload {
            Payload::Null => None,
            Payload::Bytes(value) => Some(value),
            Payload::Refused(_) | Payload::Unread(..) => return Err(damaged(reader.path())),
        };
        let key = row.key.ok_or_else(|| damaged(reader.path()))?;
        take(Output {
            output,
            partition: Some(PARTITION),
            key: Some(key.as_bytes()),
            value,
        });
    }
    Ok(Rebuilt::Interrupted)
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

#[cfg(test)]
mod tests;
