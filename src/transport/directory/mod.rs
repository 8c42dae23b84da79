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
//! would follow; an operator accepts one such finding by its code (`compare`). A run does the
//! same once a minute; a file that has not changed since it was read is not read again.
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

mod acknowledgement_file;
mod chain_file;
mod committed;
mod compaction;
mod continuity_check;
mod current_outputs;
mod disk;
mod forget;
mod input_files;
mod journal;
mod lane_transport;
mod layout;
mod ledger_files;
mod line_reader;
mod output_files;
mod read_files;
mod run_log;
mod source;
mod source_line;
mod state_rows;
mod store;
mod upgrade;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, UNIX_EPOCH};

use committed::DirectoryCommit;
use disk::{Disk, RealDisk};
use layout::Layout;
use line_reader::LineReader;
use run_log::{ArrivalTimes, RunLog, lock_run_log};
use state_rows::read_last_mark;
use store::Store;

pub use acknowledgement_file::{AcknowledgementLine, read_acknowledgement_lines};
pub use chain_file::{ChainFile, append_to_chain_file, read_chain_file};
pub use compaction::CompactedFile;
pub use continuity_check::DirectoryFinding;
pub use current_outputs::read_current_outputs;
pub use forget::{ForgetOutcome, forget_lane};
pub use input_files::{InputFiles, SOURCE_FILE_SUFFIX, unknown_file_text};
pub use lane_transport::DirectoryTransport;
pub use ledger_files::{
    LedgerFileDifference, LedgerPart, LedgerPosition, TakeLedgerLine, read_ledger, read_ledger_from,
};
pub use state_rows::{list_states, read_state};
pub use view::DirectoryView;

use ledger_files::is_ledger_file;

use super::StopSignal;
use super::file::{self, FileError, FileMode, ensure_folder, find_metadata, open_file};
use crate::message::commands::{CommandLog, CommandRecord};
use crate::message::continuity::{ConfiguredTopics, Fingerprinter, KeyFingerprint, MARK_ROW_KEY};
use crate::message::{AbortReason, Cause, Fault, LanePlan, Output, OutputId, OutputPlan};

/// Key and value of a state row.
pub type StateRow = (Vec<u8>, Vec<u8>);

/// A directory has one partition per source.
const ONLY_PARTITION: i32 = 0;

/// The name of the state's own key in [`DirectorySettings::key_fingerprints`].
pub const STATE_KEY_NAME: &str = committed::STATE_KEY_NAME;

/// Where and how to read a directory.
#[derive(Clone, Debug)]
pub struct DirectorySettings {
    pub root: PathBuf,
    pub fingerprinter: Fingerprinter,
    /// The keys in use, by recipient, and the state's by [`STATE_KEY_NAME`].
    pub key_fingerprints: BTreeMap<String, KeyFingerprint>,
    /// The topics of all kinds of records; `None` if nobody knows them, for tests.
    pub configured_topics: Option<ConfiguredTopics>,
    /// Owner of each output by topic, for a directory in the previous format.
    pub output_owners: BTreeMap<String, String>,
    /// Whether the process's group may read outputs.
    pub group_read: bool,
    /// Do not end with the input, but read what is appended.
    pub follow: bool,
    /// A longer line is refused as [`TooLarge`](crate::policy::reason::Reason::TooLarge).
    pub max_line_bytes: usize,
    /// How often to compare the directory with what zeef left, while a run goes on.
    pub check_interval: Duration,
}

impl DirectorySettings {
    /// Returns the settings of a bounded run without keys, gates or owners.
    #[must_use]
    pub fn new(root: &Path, prints: Fingerprinter) -> Self {
        DirectorySettings {
            root: root.to_owned(),
            fingerprinter: prints,
            key_fingerprints: BTreeMap::new(),
            configured_topics: None,
            output_owners: BTreeMap::new(),
            group_read: false,
            follow: false,
            max_line_bytes: usize::MAX,
            check_interval: Duration::from_secs(60),
        }
    }

    /// Returns what the source of a topic decides over, if it is a gate.
    fn gate_of(&self, topic: &str) -> Option<String> {
        self.configured_topics.as_ref()?.gates.get(topic).cloned()
    }
}

/// A directory that belongs to this process until the last clone is dropped.
///
/// The lanes of a process share one.
#[derive(Clone)]
pub struct Directory(Arc<DirectoryInner>);

struct DirectoryInner {
    settings: Arc<DirectorySettings>,
    layout: Layout,
    store: Mutex<Store>,
    run_log: Arc<Mutex<RunLog>>,
    /// Locked while it is open.
    _lock: File,
}

impl Directory {
    /// Takes the directory, and finishes an interrupted commit.
    ///
    /// # Errors
    ///
    /// [`Fault::Fenced`] if another process (or another [`Directory`]) has it,
    /// [`Fault::Stop`] if it is no input directory, cannot be written, or something in it
    /// is damaged.
    pub fn open(settings: DirectorySettings) -> Result<Self, Fault> {
        Self::open_at(settings, now_ms())
    }

    /// As [`open`](Self::open), for a run at a given time in Unix milliseconds.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_at(settings: DirectorySettings, now_ms: i64) -> Result<Self, Fault> {
        Self::open_inner(settings, Box::new(RealDisk), now_ms)
    }

    #[cfg(test)]
    fn open_with_disk(settings: DirectorySettings, disk: Box<dyn Disk>) -> Result<Self, Fault> {
        Self::open_inner(settings, disk, now_ms())
    }

    fn open_inner(
        settings: DirectorySettings,
        disk: Box<dyn Disk>,
        now_ms: i64,
    ) -> Result<Self, Fault> {
        let layout = Layout::new(&settings.root, settings.group_read);
        layout.require_input_folder()?;
        let settings = Arc::new(settings);
        for state in [false, true] {
            ensure_folder(layout.folder(state), layout.folder_mode(state)).map_err(to_fault)?;
        }
        let lock = lock_directory(&layout.lock_path(), &settings.root)?;
        let mut store = Store::open(Arc::clone(&settings), layout.clone(), disk)?;
        let run = (now_ms, settings.follow);
        let run_log = RunLog::open(&layout.run_log_path(), settings.fingerprinter, run);
        let run_log = Arc::new(Mutex::new(run_log.map_err(to_fault)?));
        store.run_log = Some(Arc::clone(&run_log));
        let store = Mutex::new(store);
        Ok(Self(Arc::new(DirectoryInner { settings, layout, store, run_log, _lock: lock })))
    }

    /// Creates the transport of one lane at its committed positions.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] for a name that no file may have, or with every finding that is not
    /// accepted.
    pub fn lane_transport(
        &self,
        plan: &LanePlan,
        stop: StopSignal,
    ) -> Result<DirectoryTransport, Fault> {
        let sources = plan.sources.iter().map(|source| source.topic.as_str());
        let outputs = plan.outputs.iter();
        let outputs = outputs.flat_map(|output| [output.topic.as_str(), output.owner.as_str()]);
        for name in sources.chain(outputs) {
            check_file_name(name)?;
        }
        self.ensure_owner_folders(plan)?;
        self.check_continuity()?;
        let positions = self.lock_store().lane_progress(&plan.name);
        DirectoryTransport::new(self.clone(), plan, &positions, stop)
    }

    /// Keeps only the last line of each key in each output and state, so that no value
    /// remains above the null that retracted it. Lines without a key stay. Returns the
    /// files that changed.
    ///
    /// # Errors
    ///
    /// [`Fault::Abort`] if the disk refuses and nothing happened, [`Fault::TransportLost`]
    /// if it may have happened: the next call or start finds out and finishes it.
    /// [`Fault::Stop`] if that fails.
    pub fn compact(&self) -> Result<Vec<CompactedFile>, Fault> {
        self.check_continuity()?;
        self.lock_store().compact(true)
    }

    /// Compacts everything if something was retracted since the last compaction, otherwise
    /// only states of which less than half counts.
    ///
    /// # Errors
    ///
    /// As [`compact`](Self::compact).
    pub fn compact_if_due(&self) -> Result<Vec<CompactedFile>, Fault> {
        self.lock_store().compact_if_due()
    }

    /// The folder with in/, out/ and .zeef/.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0.settings.root
    }

    #[must_use]
    pub fn is_following(&self) -> bool {
        self.0.settings.follow
    }

    /// Compares the directory with what zeef left, once.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] with every finding that is not accepted.
    pub fn check_continuity(&self) -> Result<(), Fault> {
        self.lock_store().check_continuity()
    }

    /// Compares the directory with what zeef left, while a run goes on: everything that a start
    /// compares. To be called at every [`check_interval`](DirectorySettings::check_interval) by
    /// each lane; does nothing if another one just did it.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] with every finding, and then also at each commit; [`Fault::Io`] if the
    /// system refuses to read something.
    fn verify_while_running(&self) -> Result<(), Fault> {
        let max_age = self.0.settings.check_interval / 2;
        if self.lock_store().verify_if_due(max_age)? {
            let layout = &self.0.layout;
            read_commands(layout)?;
        }
        Ok(())
    }

    /// Returns all findings, accepted or not.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if something cannot be read.
    pub fn findings(&self) -> Result<Vec<DirectoryFinding>, Fault> {
        self.lock_store().findings()
    }

    /// Accepts the finding with this code, and no other, for the next start. Returns `None`
    /// if there is no such finding now.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if something cannot be read or written.
    pub fn accept_finding(
        &self,
        code: &str,
        reason: &str,
    ) -> Result<Option<DirectoryFinding>, Fault> {
        let findings = self.findings()?.into_iter();
        let mut findings = findings.filter(|finding| finding.code.as_deref() == Some(code));
        let Some(finding) = findings.next() else {
            return Ok(None);
        };
        let folder = self.0.layout.accepted_folder();
        let write = || {
            ensure_folder(&folder, FileMode::for_folder(false))?;
            let path = folder.join(code);
            let file = open_file(&path, FileMode::for_file(false), true)?;
            let text = format!("{}\n{reason}\n", finding.text);
            let done = (&file.file).write_all(text.as_bytes());
            let done = done.and_then(|()| file.file.sync_all());
            done.map_err(FileError::wrap("write", &path))
        };
        write().map_err(to_fault)?;
        Ok(Some(finding))
    }

    /// Appends commands; they take effect at the next start.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if the disk refuses.
    pub fn append_commands(&self, texts: &[CommandRecord]) -> Result<(), Fault> {
        let path = self.0.layout.commands_path();
        let write = || {
            let file = open_file(&path, FileMode::for_file(false), false)?;
            let lines: Vec<u8> =
                texts.iter().flat_map(|text| [text.encode(), b"\n".to_vec()].concat()).collect();
            let end = (&file.file).seek(SeekFrom::End(0));
            let done = end.and_then(|_| (&file.file).write_all(&lines));
            let done = done.and_then(|()| file.file.sync_all());
            done.map_err(FileError::wrap("write", &path))
        };
        write().map_err(to_fault)
    }

    /// Reads all commands and accepted findings.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if they cannot be read.
    pub fn read_commands(&self) -> Result<CommandLog, Fault> {
        read_commands(&self.0.layout)
    }

    /// Returns the topics of the sources that some lane has read.
    #[must_use]
    pub fn sources_read(&self) -> BTreeSet<String> {
        let store = self.lock_store();
        let lanes = store.committed.lanes.values();
        lanes.flat_map(|progress| progress.keys().cloned()).collect()
    }

    /// Returns the newest mark of each lane's state by topic, including lanes that nobody
    /// runs any more.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if a state cannot be read.
    pub fn latest_marks(&self) -> Result<BTreeMap<String, Vec<u8>>, Fault> {
        let store = self.lock_store();
        let mut marks = BTreeMap::new();
        let states = store.committed.state.iter();
        for (topic, file) in states.filter(|(name, _)| !is_ledger_file(name)) {
            let path = self.0.layout.written_path(topic, true);
            let mut mark = read_last_mark(&path, file.length).map_err(self::to_fault)?;
            if mark.is_none() {
                store.open_state(topic)?.for_each_row(OutputId(0), &|| true, &mut |row| {
                    if row.key == Some(MARK_ROW_KEY) {
                        mark = row.value.map(<[u8]>::to_vec);
                    }
                })?;
            }
            marks.extend(mark.map(|mark| (topic.clone(), mark)));
        }
        Ok(marks)
    }

    /// Hands out each row of each lane's state by topic, in order.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if a state cannot be read.
    pub fn for_each_state_row(&self, take: &mut dyn FnMut(&str, Output<'_>)) -> Result<(), Fault> {
        let store = self.lock_store();
        for topic in store.committed.state.keys().filter(|name| !is_ledger_file(name)) {
            store.open_state(topic)?.for_each_row(OutputId(0), &|| true, &mut |row| {
                take(topic, row);
            })?;
        }
        Ok(())
    }

    /// Writes rows to states by topic, and moves lanes back to the positions of those they
    /// take over from, all or nothing. `takeovers` contains (to, from).
    ///
    /// # Errors
    ///
    /// As [`compact`](Self::compact).
    pub fn rearrange_lanes(
        &self,
        rows: &BTreeMap<String, Vec<StateRow>>,
        takeovers: &BTreeSet<(String, String)>,
    ) -> Result<(), Fault> {
        let lines = state_lines(rows)?;
        self.lock_store().rearrange_lanes(lines_of_states(&lines), takeovers)
    }

    /// Writes rows to states by topic, and empties the ledger's files of a year and those before
    /// it, all or nothing.
    ///
    /// # Errors
    ///
    /// As [`compact`](Self::compact).
    pub fn forget_ledger_years(
        &self,
        year: i16,
        rows: &BTreeMap<String, Vec<StateRow>>,
    ) -> Result<(), Fault> {
        let lines = state_lines(rows)?;
        self.lock_store().forget_ledger_years(year, lines_of_states(&lines))
    }

    /// Returns whether any lane has written something here.
    #[must_use]
    pub fn has_committed_files(&self) -> bool {
        let store = self.lock_store();
        !store.committed.outputs.is_empty() || !store.committed.state.is_empty()
    }

    /// Lists the input files by name, without hidden ones.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if the folder cannot be read.
    pub fn list_inputs(&self) -> Result<Vec<String>, Fault> {
        input_files::list_input_files(&self.0.layout)
    }

    /// Creates an empty file for a source that was never read.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if the disk refuses.
    pub fn create_input(&self, topic: &str) -> Result<(), Fault> {
        check_file_name(topic)?;
        let made = open_file(&self.0.layout.source_path(topic), FileMode::for_file(false), false);
        made.map(drop).map_err(to_fault)
    }

    fn ensure_owner_folders(&self, plan: &LanePlan) -> Result<(), Fault> {
        let layout = &self.0.layout;
        let is_internal = |output: &OutputPlan| output.is_restorable() || output.is_of_ledger();
        for output in plan.outputs.iter().filter(|output| !is_internal(output)) {
            let folder = layout.output_folder.join(&output.owner);
            ensure_folder(&folder, layout.folder_mode(false)).map_err(self::to_fault)?;
        }
        Ok(())
    }

    /// Returns when the file of each source was last modified, in Unix milliseconds, or
    /// `None` if it is missing or empty. Lines have no timestamps.
    ///
    /// # Errors
    ///
    /// [`Fault::Io`] if one cannot be looked at.
    pub fn modified_times_ms(&self, topics: &[String]) -> Result<Vec<Option<i64>>, Fault> {
        let changed = |topic: &String| {
            let found = find_metadata(&self.0.layout.source_path(topic)).map_err(to_fault)?;
            let changed = found.filter(|found| found.len() > 0).and_then(|found| {
                let since = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
                i64::try_from(since.as_millis()).ok()
            });
            Ok(changed)
        };
        topics.iter().map(changed).collect()
    }

    fn source_reader(&self, topic: &str, offset: u64) -> LineReader {
        let path = self.0.layout.source_path(topic);
        LineReader::new(path, self.0.settings.max_line_bytes, offset)
    }

    /// Records that a source extends to `end`, before a line of it is handed out. Returns
    /// when its lines arrived.
    fn record_source_end(&self, topic: &str, end: u64) -> Result<ArrivalTimes, Fault> {
        let now_ms = now_ms();
        lock_run_log(&self.0.run_log).record_end(topic, end, now_ms).map_err(to_fault)
    }

    fn arrival_times(&self, topic: &str) -> ArrivalTimes {
        lock_run_log(&self.0.run_log).arrival_times(topic)
    }

    /// Locks the store. A lane that panicked with it may have left a commit half done, so
    /// the next one checks the disk first.
    fn lock_store(&self) -> MutexGuard<'_, Store> {
        self.0.store.lock().unwrap_or_else(|poisoned| {
            let mut store = poisoned.into_inner();
            store.require_recovery();
            self.0.store.clear_poison();
            store
        })
    }
}

/// Returns the rows of states as lines of their files, by topic.
fn state_lines(rows: &BTreeMap<String, Vec<StateRow>>) -> Result<BTreeMap<&str, Vec<u8>>, Fault> {
    let mut lines = BTreeMap::new();
    for (topic, rows) in rows {
        let lines: &mut Vec<u8> = lines.entry(topic.as_str()).or_default();
        for (key, value) in rows {
            let row = Output {
                output: OutputId(0),
                partition: Some(ONLY_PARTITION),
                key: Some(key),
                value: Some(value),
                retraction: None,
            };
            output_files::write_line(lines, &row).map_err(Fault::stop)?;
        }
    }
    Ok(lines)
}

fn lines_of_states<'a>(
    lines: &'a BTreeMap<&str, Vec<u8>>,
) -> impl Iterator<Item = output_files::OutputLines<'a>> {
    lines.iter().map(|(topic, lines)| output_files::OutputLines {
        name: topic,
        is_state: true,
        lines,
        has_tombstones: false,
    })
}

/// Returns the committed length of each output below `root` by `OWNER/TOPIC`: before it lie
/// whole batches, in all outputs alike.
///
/// # Errors
///
/// [`Fault::Stop`] if it cannot be read.
pub fn committed_lengths(root: &Path) -> Result<BTreeMap<String, u64>, Fault> {
    Ok(read_committed(&Layout::new(root, false))?.outputs)
}

/// Reads the mark without verifying its seal, even while a run is going on.
fn read_committed(layout: &Layout) -> Result<DirectoryCommit, Fault> {
    match committed::CommittedFile::read(&layout.committed_path(), None)? {
        committed::CommittedFile::Missing => Ok(DirectoryCommit::default()),
        committed::CommittedFile::Current(committed) => Ok(committed),
        committed::CommittedFile::PreviousFormat(_) => Err(Fault::stop(format!(
            "{} is of an earlier version: the next `zeef run` brings it to this one",
            layout.committed_path().display()
        ))),
    }
}

/// Finishes a commit that was cut short, for commands that only read. Does nothing where there is
/// none, or where a process has the directory: that one finishes it.
///
/// # Errors
///
/// [`Fault::Stop`] or [`Fault::Io`] if the disk refuses, or the commit cannot be finished.
pub fn finish_interrupted_commit(settings: DirectorySettings) -> Result<(), Fault> {
    let layout = Layout::new(&settings.root, settings.group_read);
    if !file::is_there(&layout.journal_path()).map_err(to_fault)? {
        return Ok(());
    }
    let lock = match lock_directory(&layout.lock_path(), &settings.root) {
        Err(Fault::Fenced(_)) => return Ok(()),
        lock => lock?,
    };
    Store::open(Arc::new(settings), layout, Box::new(RealDisk))?;
    drop(lock);
    Ok(())
}

/// Reads all commands and accepted findings.
fn read_commands(layout: &Layout) -> Result<CommandLog, Fault> {
    let mut commands = CommandLog::default();
    let path = layout.commands_path();
    let lines = match std::fs::read(&path) {
        Ok(lines) => lines,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(to_fault(FileError::wrap("read", &path)(error))),
    };
    let lines = lines.split(|byte| *byte == b'\n');
    for (number, line) in (0..).zip(lines).filter(|(_, line)| !line.is_empty()) {
        commands.add_message(number, line).map_err(|error| {
            let shown = layout.display_path(&path);
            Fault::stop(format!("{shown} line {}: {error}", number + 1))
        })?;
    }
    let accepted = layout::list_folder(&layout.accepted_folder()).map_err(to_fault)?;
    for (code, _) in accepted {
        commands.accept_code(code);
    }
    Ok(commands)
}

fn lock_directory(path: &Path, root: &Path) -> Result<File, Fault> {
    let file = open_file(path, FileMode::for_file(false), false).map_err(to_fault)?.file;
    let give_up_at = Instant::now() + LOCK_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < give_up_at => {
                std::thread::sleep(LOCK_POLL_INTERVAL);
            }
            Err(TryLockError::WouldBlock) => {
                let root = root.display();
                return Err(Fault::fenced(format!("{root} is in use by another process")));
            }
            Err(TryLockError::Error(error)) => {
                return Err(to_fault(FileError::wrap("lock", path)(error)));
            }
        }
    }
}

/// How long a lock may still be held by who no longer uses it: a process that is being killed,
/// or one that was started while the lock was held and has yet to close what it inherited.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(10);

fn check_file_name(name: &str) -> Result<(), Fault> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Fault::stop(format!(
        "topic {name:?} cannot be a file: expected letters, digits, dots, underscores and hyphens, and no dot first"
    )))
}

/// Returns Unix milliseconds.
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Maps an error of the system, as a missing right, which may pass, to [`Fault::Io`], and what was found in a
/// file, which needs an operator, to [`Fault::Stop`].
fn to_fault(failure: FileError) -> Fault {
    match failure.cause.raw_os_error() {
        Some(_) => Fault::Io(Cause::from_error(failure)),
        None => Fault::stop(Cause::from_error(failure)),
    }
}

/// Maps an error before anything was committed.
fn abort_fault(failure: FileError) -> Fault {
    let code = failure.cause.raw_os_error();
    let reason = AbortReason::CallFailed { step: failure.action, code };
    Fault::abort(reason, Cause::from_error(failure))
}

#[cfg(test)]
mod tests;
