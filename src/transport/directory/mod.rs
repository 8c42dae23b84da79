//! The world as a directory of NDJSON files, for a library without Kafka.
//!
//! ```text
//! DIR/in/TOPIC.ndjson         a source: lines {"key":...,"value":...}
//! DIR/out/OWNER/TOPIC.ndjson  an output, in the same form; OWNER is a recipient,
//!                             or `zeef` for the dead letters
//! DIR/.zeef/TOPIC.ndjson      a lane's state, in the same form
//! DIR/.zeef/committed.json    the mark: lengths of all these, positions in the
//!                             sources, keys in use, and a seal
//! DIR/.zeef/accepted/CODE     a finding that an operator accepted
//! DIR/.zeef/runs              how far the sources went in each run
//! DIR/.zeef/commands.ndjson   what operators ask of lanes, a line for each
//! DIR/.zeef/journal           a commit that is being made
//! DIR/.zeef/lock              held while a process works here
//! ```
//!
//! **Inputs may only grow.** The offset of a line is that of its first byte. A
//! last line without its end waits with `follow`, and stops a run that ends.
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
//! **Continuity.** A start compares everything with the mark before anything is
//! decided, over all lanes: outputs and states, inputs up to where they were read,
//! keys. What is not as it was left stops the start, and says what is lost and what
//! would follow; an operator accepts one such finding by its code (`compare`).
//!
//! **Compaction** leaves the last line of each key: what is left of a file is
//! written and synced beside it (`.TOPIC.ndjson.new`), and a commit, whose journal
//! has names in place of lines, puts it in the file's place. Who has the old file
//! open goes on seeing that one, whole; who reads by bytes begins anew with a file
//! that is another one. Until `committed.json` is replaced, an output may be
//! shorter than its length there.
//!
//! **Files** are for the user of the process alone, outputs also for its group
//! where that is asked for. Nothing is written through a link.
//!
//! One process works in a directory at a time, with any number of lanes. They
//! may share outputs: their commits are made one after the other. Headers and
//! timestamps have no place in the files. Nothing here looks into a value.

mod beside;
mod committed;
mod compact;
mod compare;
mod disk;
mod forget;
mod journal;
mod lane;
mod layout;
mod line;
mod output;
mod reader;
mod runs;
mod source;
mod store;
mod upgrade;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use committed::{Committed, damaged};
use disk::{Disk, RealDisk};
use layout::Layout;
use line::Line;
use reader::{Found, Reader};
use runs::{Runs, Times};
use store::Store;

pub use beside::Beside;
pub use compact::Compacted;
pub use compare::Finding;
pub use forget::{Forgotten, forget};
pub use lane::DirectoryTransport;

use super::commands::{CommandText, Commands};
use super::continuity::{Fingerprinter, KeyPrint, MARK_KEY};
use super::file::{Failure, Mode, make_folder, open_file};
use super::{Fault, LanePlan, Output, OutputId, Payload, Rebuilt, Stop};

/// The key and the value of a row of a state.
pub type StateRow = (Vec<u8>, Vec<u8>);

/// A directory has one partition of each source, with this number.
const PARTITION: i32 = 0;

/// The name of the state's own key in [`DirectorySettings::keys`].
pub const STATE_KEY: &str = committed::STATE;

/// Where and how a directory is read.
#[derive(Clone, Debug)]
pub struct DirectorySettings {
    pub root: PathBuf,
    /// Made with the state's key.
    pub prints: Fingerprinter,
    /// The keys in use, by recipient, and the state's by [`STATE_KEY`].
    pub keys: BTreeMap<String, KeyPrint>,
    /// The sources that are gates.
    pub gates: BTreeSet<String>,
    /// Whose an output is, by topic: for a directory of the version before.
    pub owners: BTreeMap<String, String>,
    /// The group of the process may read outputs.
    pub group_read: bool,
    /// Goes on when the input ends, and picks up what is appended.
    pub follow: bool,
    /// A longer line is refused as [`TooLarge`](crate::policy::reason::Reason::TooLarge): the
    /// limit of a record and some room for its key.
    pub line_bytes_max: usize,
}

impl DirectorySettings {
    /// Makes the settings of a run that ends, without keys, gates or owners.
    #[must_use]
    pub fn new(root: &Path, prints: Fingerprinter) -> Self {
        DirectorySettings {
            root: root.to_owned(),
            prints,
            keys: BTreeMap::new(),
            gates: BTreeSet::new(),
            owners: BTreeMap::new(),
            group_read: false,
            follow: false,
            line_bytes_max: usize::MAX,
        }
    }
}

/// A directory that belongs to this process until the last clone is dropped.
///
/// The lanes of a process share one.
#[derive(Clone)]
pub struct Directory(Arc<Shared>);

struct Shared {
    settings: Arc<DirectorySettings>,
    layout: Layout,
    store: Mutex<Store>,
    runs: Mutex<Runs>,
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
        Self::open_at(settings, now_ms())
    }

    /// The same at a time of day, in milliseconds since 1970: that of the run.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_at(settings: DirectorySettings, now_ms: i64) -> Result<Self, Fault> {
        Self::open_with(settings, Box::new(RealDisk), now_ms)
    }

    #[cfg(test)]
    fn open_on(settings: DirectorySettings, disk: Box<dyn Disk>) -> Result<Self, Fault> {
        Self::open_with(settings, disk, now_ms())
    }

    fn open_with(
        settings: DirectorySettings,
        disk: Box<dyn Disk>,
        now_ms: i64,
    ) -> Result<Self, Fault> {
        let layout = Layout::new(&settings.root, settings.group_read);
        if !layout.input.is_dir() {
            let input = layout.input.display();
            return Err(Fault::Stop(format!(
                "{input} is no folder: expected it to hold one SOURCE.ndjson for each source"
            )));
        }
        let settings = Arc::new(settings);
        for state in [false, true] {
            make_folder(layout.folder(state), layout.folder_mode(state)).map_err(stop)?;
        }
        let lock = lock(&layout.lock(), &settings.root)?;
        let store = Store::open(Arc::clone(&settings), layout.clone(), disk)?;
        let store = Mutex::new(store);
        let runs = Runs::open(&layout.runs(), now_ms, settings.follow).map_err(stop)?;
        Ok(Self(Arc::new(Shared {
            settings,
            layout,
            store,
            runs: Mutex::new(runs),
            _lock: lock,
        })))
    }

    /// Makes the transport of one lane, at its committed positions.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where a name cannot be a file's, or the directory is not as
    /// zeef left it: with every [`Finding`] that is not accepted.
    pub fn transport(&self, plan: &LanePlan, stop: Stop) -> Result<DirectoryTransport, Fault> {
        let sources = plan.sources.iter().map(|source| source.topic.as_str());
        let outputs = plan.outputs.iter();
        let outputs = outputs.flat_map(|output| [output.topic.as_str(), output.owner.as_str()]);
        for name in sources.chain(outputs) {
            check_name(name)?;
        }
        self.make_folders(plan)?;
        self.compare()?;
        let positions = self.store().positions(&plan.name);
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
        self.compare()?;
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

    /// Whether a run goes on when its input ends.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.0.settings.follow
    }

    /// Compares the directory with what zeef left, once.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] with every [`Finding`] that is not accepted.
    pub fn compare(&self) -> Result<(), Fault> {
        let root = self.0.settings.root.display().to_string();
        self.store().compare(&root)
    }

    /// Returns what is not as zeef left it, accepted or not.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where something cannot be read.
    pub fn findings(&self) -> Result<Vec<Finding>, Fault> {
        self.store().findings()
    }

    /// Accepts the finding with this code, and no other: the next start goes on in
    /// spite of it. `None` where there is no such finding now.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where something cannot be read or written.
    pub fn accept(&self, code: &str, reason: &str) -> Result<Option<Finding>, Fault> {
        let findings = self.findings()?.into_iter();
        let mut findings = findings.filter(|finding| finding.code.as_deref() == Some(code));
        let Some(finding) = findings.next() else {
            return Ok(None);
        };
        let folder = self.0.layout.accepted();
        let write = || {
            make_folder(&folder, Mode::folder(false))?;
            let path = folder.join(code);
            let file = open_file(&path, Mode::file(false), true)?;
            let text = format!("{}\n{reason}\n", finding.text);
            let done = (&file.file).write_all(text.as_bytes());
            let done = done.and_then(|()| file.file.sync_all());
            done.map_err(Failure::to("write", &path))
        };
        write().map_err(stop)?;
        Ok(Some(finding))
    }

    /// Gives commands: they count from the next start on.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where the disk refuses.
    pub fn give(&self, texts: &[CommandText]) -> Result<(), Fault> {
        let path = self.0.layout.commands();
        let write = || {
            let file = open_file(&path, Mode::file(false), false)?;
            let lines: Vec<u8> = texts
                .iter()
                .flat_map(|text| [text.write(), b"\n".to_vec()].concat())
                .collect();
            let end = (&file.file).seek(SeekFrom::End(0));
            let done = end.and_then(|_| (&file.file).write_all(&lines));
            let done = done.and_then(|()| file.file.sync_all());
            done.map_err(Failure::to("write", &path))
        };
        write().map_err(stop)
    }

    /// Reads all commands that were given, and the findings that were accepted.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where they cannot be read.
    pub fn commands(&self) -> Result<Commands, Fault> {
        commands_of(&self.0.layout)
    }

    /// Returns the sources that some lane has read, by topic.
    #[must_use]
    pub fn sources_read(&self) -> BTreeSet<String> {
        let store = self.store();
        let lanes = store.committed.lanes.values();
        lanes.flat_map(|trails| trails.keys().cloned()).collect()
    }

    /// Returns the newest mark of each lane's state, by topic: also of lanes that
    /// nobody runs any more.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where a state cannot be read.
    pub fn marks(&self) -> Result<BTreeMap<String, Vec<u8>>, Fault> {
        let store = self.store();
        let mut marks = BTreeMap::new();
        for (topic, file) in &store.committed.state {
            let path = self.0.layout.written(topic, true);
            let mut mark = last_mark(&path, file.length).map_err(self::stop)?;
            if mark.is_none() {
                let (mut reader, end) = store.open_state(topic)?;
                each_row(&mut reader, end, OutputId(0), &|| true, &mut |row| {
                    if row.key == Some(MARK_KEY) {
                        mark = row.value.map(<[u8]>::to_vec);
                    }
                })?;
            }
            marks.extend(mark.map(|mark| (topic.clone(), mark)));
        }
        Ok(marks)
    }

    /// Hands each row of each lane's state to `take`, by topic, in their order.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where a state cannot be read.
    pub fn rows(&self, take: &mut dyn FnMut(&str, Output<'_>)) -> Result<(), Fault> {
        let store = self.store();
        for topic in store.committed.state.keys() {
            let (mut reader, end) = store.open_state(topic)?;
            each_row(&mut reader, end, OutputId(0), &|| true, &mut |row| {
                take(topic, row);
            })?;
        }
        Ok(())
    }

    /// Writes rows to states, by topic, and has lanes go on where others are that
    /// are further behind, all or nothing: `follows` has who takes over from whom.
    ///
    /// # Errors
    ///
    /// As [`compact`](Self::compact).
    pub fn rearrange(
        &self,
        rows: &BTreeMap<String, Vec<StateRow>>,
        follows: &BTreeSet<(String, String)>,
    ) -> Result<(), Fault> {
        let mut lines = BTreeMap::new();
        for (topic, rows) in rows {
            let lines: &mut Vec<u8> = lines.entry(topic.as_str()).or_default();
            for (key, value) in rows {
                let row = Output {
                    output: OutputId(0),
                    partition: Some(PARTITION),
                    key: Some(key),
                    value: Some(value),
                };
                output::write_line(lines, &row).map_err(|why| Fault::Stop(why.to_owned()))?;
            }
        }
        let written = lines.iter().map(|(topic, lines)| output::Written {
            name: topic,
            state: true,
            lines,
            nulls: false,
        });
        self.store().rearrange(written, follows)
    }

    /// Whether something was written here, by whatever lane.
    #[must_use]
    pub fn has_written(&self) -> bool {
        let store = self.store();
        !store.committed.outputs.is_empty() || !store.committed.state.is_empty()
    }

    /// Lists the files in the folder of inputs, by name, without hidden ones.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where it cannot be read.
    pub fn inputs(&self) -> Result<Vec<String>, Fault> {
        let found = layout::entries(&self.0.layout.input).map_err(stop)?;
        let names = found.into_iter().filter(|(_, path)| !path.is_dir());
        let names = names.map(|(name, _)| name);
        Ok(names.filter(|name| !name.starts_with('.')).collect())
    }

    /// Makes an empty file for a source that was never read.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where the disk refuses.
    pub fn make_input(&self, topic: &str) -> Result<(), Fault> {
        check_name(topic)?;
        let made = open_file(&self.0.layout.source(topic), Mode::file(false), false);
        made.map(drop).map_err(stop)
    }

    /// Makes the folder of each owner.
    fn make_folders(&self, plan: &LanePlan) -> Result<(), Fault> {
        let layout = &self.0.layout;
        for output in plan.outputs.iter().filter(|output| !output.is_restored()) {
            let folder = layout.output.join(&output.owner);
            make_folder(&folder, layout.folder_mode(false)).map_err(self::stop)?;
        }
        Ok(())
    }

    /// When the file of each source was last changed, in milliseconds since 1970;
    /// `None` where there is none, or it is empty. Lines say nothing of when they
    /// were written.
    #[must_use]
    pub fn changed_ms(&self, topics: &[String]) -> Vec<Option<i64>> {
        let changed = |topic: &String| {
            let metadata = std::fs::metadata(self.0.layout.source(topic)).ok()?;
            let changed = metadata.modified().ok().filter(|_| metadata.len() > 0)?;
            let since = changed.duration_since(UNIX_EPOCH).ok()?;
            i64::try_from(since.as_millis()).ok()
        };
        topics.iter().map(changed).collect()
    }

    /// Makes a reader of a source, not opened yet.
    fn reader(&self, topic: &str, offset: u64) -> Reader {
        let path = self.0.layout.source(topic);
        Reader::new(path, self.0.settings.line_bytes_max, offset)
    }

    /// Notes that a source goes as far as `end`, before a line of it is handed out;
    /// says when its lines came.
    fn note_end(&self, topic: &str, end: u64) -> Result<Times, Fault> {
        let now_ms = now_ms();
        let mut runs = self.0.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.note(topic, end, now_ms).map_err(stop)
    }

    /// When the lines of a source came.
    fn times(&self, topic: &str) -> Times {
        let runs = self.0.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.times(topic)
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

/// The committed length in bytes of each output below `root`, by `OWNER/TOPIC`: what
/// lies before it is whole batches, in all outputs alike.
///
/// # Errors
///
/// [`Fault::Stop`] where it cannot be read.
pub fn committed_lengths(root: &Path) -> Result<BTreeMap<String, u64>, Fault> {
    Ok(read_committed(&Layout::new(root, false))?.outputs)
}

/// Reads the mark beside whatever runs; who only looks needs no key.
fn read_committed(layout: &Layout) -> Result<Committed, Fault> {
    match committed::Found::read(&layout.committed(), None)? {
        committed::Found::Nothing => Ok(Committed::default()),
        committed::Found::Committed(committed) => Ok(committed),
        committed::Found::Older(_) => Err(Fault::Stop(format!(
            "{} is of an earlier version: the next `zeef run` brings it to this one",
            layout.committed().display()
        ))),
    }
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
    let layout = Layout::new(root, false);
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
    let committed = read_committed(layout)?;
    let end = committed.state.get(topic).map_or(0, |file| file.length);
    let mut reader = Reader::new(layout.written(topic, true), usize::MAX, 0);
    reader.open().map_err(stop)?;
    each_row(&mut reader, end, OutputId(0), &|| true, take)?;
    Ok(())
}

/// Returns the last mark among the last rows of a state of `length` bytes.
fn last_mark(path: &Path, length: u64) -> Result<Option<Vec<u8>>, Failure> {
    /// More than a mark has.
    const TAIL: u64 = 256 << 10;
    if length == 0 {
        return Ok(None);
    }
    let start = length.saturating_sub(TAIL);
    let mut tail = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(start))?;
        file.take(length - start).read_to_end(&mut tail)
    });
    read.map_err(Failure::to("read", path))?;
    let mut lines = tail
        .split(|byte| *byte == b'\n')
        .skip(usize::from(start > 0));
    let mark = |line: &[u8]| {
        let row = Line::read(line, false);
        let is_mark = row
            .key
            .as_ref()
            .is_some_and(|key| key.as_bytes() == MARK_KEY);
        row.payload.bytes().filter(|_| is_mark).map(<[u8]>::to_vec)
    };
    Ok(lines.by_ref().filter_map(mark).last())
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
        let row = Line::read(reader.bytes(&bytes), false);
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

/// Reads all commands that were given, and the findings that were accepted.
fn commands_of(layout: &Layout) -> Result<Commands, Fault> {
    let mut commands = Commands::default();
    let path = layout.commands();
    let lines = match std::fs::read(&path) {
        Ok(lines) => lines,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(stop(Failure::to("read", &path)(error))),
    };
    let lines = lines.split(|byte| *byte == b'\n');
    for (number, line) in (0..).zip(lines).filter(|(_, line)| !line.is_empty()) {
        commands.add(number, line).map_err(|error| {
            let shown = layout.shown(&path);
            Fault::Stop(format!("{shown} line {}: {error}", number + 1))
        })?;
    }
    let accepted = layout::entries(&layout.accepted()).map_err(stop)?;
    for (code, _) in accepted {
        commands.accept(code);
    }
    Ok(commands)
}

fn lock(path: &Path, root: &Path) -> Result<File, Fault> {
    let file = open_file(path, Mode::file(false), false)
        .map_err(stop)?
        .file;
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

/// The time of day in milliseconds since 1970.
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// What a failure means: one that the system reports may pass, one that was found in
/// a file needs an operator.
fn stop(failure: Failure) -> Fault {
    let text = failure.to_string();
    match failure.source.raw_os_error() {
        Some(_) => Fault::Io(text),
        None => Fault::Stop(text),
    }
}

#[cfg(test)]
mod tests;
