//! Commits to `DIR/out` and `DIR/.zeef`, one batch at a time.
//!
//! The steps of a commit are in [`Store::commit`]; the head of the directory module says
//! what holds between any two of them. The store knows no records.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::committed::{CommittedFile, CommittedStateFile, DirectoryCommit, FORMAT, damaged_fault};
use super::disk::Disk;
use super::journal::{FileAppend, FileReplacement, Journal, JournalError};
use super::layout::{Layout, file_length};
use super::ledger_files::blocks_file_year;
use super::line_reader::LineReader;
use super::output_files::OutputLines;
use super::read_files::ReadFiles;
use super::run_log::{RunLog, lock_run_log};
use super::state_rows::StateRows;
use super::{DirectorySettings, abort_fault, to_fault};
use crate::message::continuity::{Fingerprinter, SourceProgress, merge_earliest};
use crate::message::{Cause, Fault};
use crate::transport::file::{FileError, NamedFile, is_folder};

/// The outputs and positions of all lanes of a directory.
pub(super) struct Store {
    pub(super) settings: Arc<DirectorySettings>,
    pub(super) layout: Layout,
    pub(super) disk: Box<dyn Disk>,
    pub(super) committed: DirectoryCommit,
    /// Nothing was ever committed here.
    pub(super) is_new: bool,
    /// When the last comparison began that found everything as zeef left it, or accepted;
    /// `None` before the first.
    pub(super) verified_at: Option<Instant>,
    /// A comparison since then failed.
    pub(super) must_verify: bool,
    /// What a comparison since then found.
    pub(super) stopped_by: Option<Fault>,
    pub(super) read_files: ReadFiles,
    /// The log of the current run; `None` for commands that begin none.
    pub(super) run_log: Option<Arc<Mutex<RunLog>>>,
    /// A commit may have passed its point of no return without being finished.
    has_unfinished_commit: bool,
}

impl Store {
    /// Opens the store, and finishes an interrupted commit.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`], as [`recover`](Self::recover).
    pub(super) fn open(
        settings: Arc<DirectorySettings>,
        layout: Layout,
        disk: Box<dyn Disk>,
    ) -> Result<Self, Fault> {
        let mut store = Self {
            settings,
            layout,
            disk,
            committed: DirectoryCommit::default(),
            is_new: true,
            verified_at: None,
            must_verify: false,
            stopped_by: None,
            read_files: ReadFiles::new(),
            run_log: None,
            has_unfinished_commit: true,
        };
        store.recover()?;
        Ok(store)
    }

    pub(super) fn fingerprinter(&self) -> Fingerprinter {
        self.settings.fingerprinter
    }

    /// Finishes an interrupted commit, if there is one.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if the disk refuses or a file is damaged; the call may be repeated.
    pub(super) fn recover(&mut self) -> Result<(), Fault> {
        if !self.has_unfinished_commit {
            return Ok(());
        }
        let sealed = Some(self.settings.seal_check());
        let found = CommittedFile::read(&self.layout.committed_path(), sealed)?;
        self.is_new = matches!(found, CommittedFile::Missing);
        let mut older = None;
        self.committed = match found {
            CommittedFile::Missing => DirectoryCommit::default(),
            CommittedFile::Current(committed) => committed,
            CommittedFile::PreviousFormat(found) => {
                let commit = found.commit;
                older = Some(found);
                DirectoryCommit { commit, ..DirectoryCommit::default() }
            }
        };
        if self.finish_journal()? {
            older = None;
        }
        if let Some(older) = older {
            self.upgrade_from_v2(&older)?;
        }
        self.remove_leftovers().map_err(unfinished_fault)?;
        self.has_unfinished_commit = false;
        Ok(())
    }

    /// Does what is left of a journal. Returns whether that committed something.
    fn finish_journal(&mut self) -> Result<bool, Fault> {
        let Some(bytes) = self.read_journal()? else {
            return Ok(false);
        };
        let path = self.layout.journal_path();
        match Journal::decode(&bytes) {
            Ok(journal) => {
                let ahead = self.committed.commit < journal.committed.commit;
                self.apply_journal(&journal).map_err(unfinished_fault)?;
                self.is_new &= !ahead;
                Ok(ahead)
            }
            Err(JournalError::OtherVersion { commit, .. }) if commit <= self.committed.commit => {
                self.disk.remove(&path).map_err(unfinished_fault)?;
                Ok(false)
            }
            Err(error) => Err(journal_fault(&path, error)),
        }
    }

    /// Fails if there is a journal that the next start would not drop, while none of this
    /// process is unfinished.
    pub(super) fn require_no_other_journal(&self) -> Result<(), Fault> {
        let Some(bytes) = self.read_journal()? else {
            return Ok(());
        };
        let path = self.layout.journal_path();
        match Journal::decode(&bytes) {
            Ok(journal) if journal.committed.commit <= self.committed.commit => Ok(()),
            Ok(_) => Err(Fault::stop(format!(
                "{} is a commit of another process: restore the directory as a whole (in, out and \
                 .zeef) from a copy",
                path.display()
            ))),
            Err(JournalError::OtherVersion { commit, .. }) if commit <= self.committed.commit => {
                Ok(())
            }
            Err(error) => Err(journal_fault(&path, error)),
        }
    }

    /// Makes the next call check the disk first.
    pub(super) fn require_recovery(&mut self) {
        self.has_unfinished_commit = true;
    }

    /// Returns the position of `lane` in each of its sources.
    pub(super) fn lane_progress(&self, lane: &str) -> BTreeMap<String, SourceProgress> {
        self.committed.lanes.get(lane).cloned().unwrap_or_default()
    }

    /// Returns whether a key is in use that the mark does not have.
    pub(super) fn has_new_keys(&self) -> bool {
        let known = |name| self.committed.keys.contains_key(name);
        self.settings.key_fingerprints.keys().any(|name| !known(name))
    }

    /// Appends `outputs` and sets the positions of `lane`, both or neither.
    ///
    /// # Errors
    ///
    /// [`Fault::Abort`]: nothing happened. [`Fault::TransportLost`]: the batch may be
    /// committed; [`recover`](Self::recover) finds out and finishes it. [`Fault::Stop`]: a
    /// file is not as zeef left it.
    pub(super) fn commit<'a>(
        &mut self,
        lane: &str,
        positions: BTreeMap<String, SourceProgress>,
        outputs: impl Iterator<Item = OutputLines<'a>>,
    ) -> Result<(), Fault> {
        self.begin_commit()?;
        let outputs: Vec<OutputLines<'a>> = outputs.collect();
        let mut committed = self.next_commit();
        let known = committed.lanes.entry(lane.to_owned()).or_default();
        known.extend(positions);
        committed.taken_back |=
            outputs.iter().any(|output| output.has_tombstones && !output.is_state);
        let appends = match self.plan_appends(&outputs, &mut committed) {
            Err(fault) => return Err(self.finding_or(fault)),
            appends => appends?,
        };
        self.commit_journal(&Journal { appends, committed, ..Journal::default() })
    }

    /// Appends to states, and moves lanes back to the positions of those they take over
    /// from.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    pub(super) fn rearrange_lanes<'a>(
        &mut self,
        states: impl Iterator<Item = OutputLines<'a>>,
        takeovers: &BTreeSet<(String, String)>,
    ) -> Result<(), Fault> {
        self.begin_commit()?;
        let states: Vec<OutputLines<'a>> = states.collect();
        let mut committed = self.next_commit();
        for (to, from) in takeovers {
            let (known, other) = (self.lane_progress(to), self.lane_progress(from));
            committed.lanes.insert(to.clone(), merge_earliest(&known, &other));
        }
        let appends = self.plan_appends(&states, &mut committed)?;
        self.commit_journal(&Journal { appends, committed, ..Journal::default() })
    }

    /// Appends to states, and empties the ledger's files of a year and those before it.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    pub(super) fn forget_ledger_years<'a>(
        &mut self,
        year: i16,
        states: impl Iterator<Item = OutputLines<'a>>,
    ) -> Result<(), Fault> {
        self.begin_commit()?;
        let states: Vec<OutputLines<'a>> = states.collect();
        let mut committed = self.next_commit();
        let appends = self.plan_appends(&states, &mut committed)?;
        let is_gone = |(name, file): &(&String, &CommittedStateFile)| {
            file.length > 0 && blocks_file_year(name).is_some_and(|of_file| of_file <= year)
        };
        let gone = self.committed.state.iter().filter(is_gone).map(|(name, _)| name.clone());
        let gone: Vec<String> = gone.collect();
        for name in &gone {
            let path = self.layout.rewritten_path(name, true);
            let mode = self.layout.file_mode(true);
            let empty = self.disk.create(&path, mode).map_err(abort_fault)?;
            self.disk.sync(&empty).map_err(abort_fault)?;
            committed.state.insert(name.clone(), CommittedStateFile::default());
        }
        let replacements = gone
            .iter()
            .map(|name| FileReplacement { name: Cow::Borrowed(name.as_str()), state: true });
        self.commit_journal(&Journal {
            appends,
            replacements: replacements.collect(),
            committed,
            ..Journal::default()
        })
    }

    /// Finishes an interrupted commit, and compares the directory with the mark if that is due:
    /// nothing is committed on a comparison that is older than its interval.
    ///
    /// # Errors
    ///
    /// As [`recover`](Self::recover), and [`Fault::Stop`] with every finding.
    pub(super) fn begin_commit(&mut self) -> Result<(), Fault> {
        self.recover()?;
        self.verify_if_due(self.settings.check_interval).map(drop)
    }

    /// Returns the commit that the next one starts from.
    pub(super) fn next_commit(&self) -> DirectoryCommit {
        let mut committed = self.committed.clone();
        committed.commit += 1;
        committed.format = FORMAT;
        for (name, print) in &self.settings.key_fingerprints {
            committed.keys.entry(name.clone()).or_insert_with(|| print.clone());
        }
        if let Some(run_log) = &self.run_log {
            committed.runs = Some(lock_run_log(run_log).written());
        }
        committed
    }

    /// Commits one batch whole, or not at all.
    pub(super) fn commit_journal(&mut self, journal: &Journal<'_>) -> Result<(), Fault> {
        let written = self.write_journal(journal);
        written.map_err(abort_fault)?;
        self.has_unfinished_commit = true;
        let done = self.rename_journal().and_then(|()| self.apply_journal(journal));
        done.map_err(|failure| Fault::transport_lost(Cause::from_error(failure)))?;
        self.has_unfinished_commit = false;
        self.is_new = false;
        Ok(())
    }

    /// Plans what is appended to which file, and updates `committed` accordingly.
    fn plan_appends<'a>(
        &self,
        outputs: &[OutputLines<'a>],
        committed: &mut DirectoryCommit,
    ) -> Result<Vec<FileAppend<'a>>, Fault> {
        let mut appends = Vec::with_capacity(outputs.len());
        for output in outputs {
            let name = output.name.to_owned();
            let before = self.checked_length(output.name, output.is_state)?;
            if output.is_state {
                let file = committed.state.entry(name).or_default();
                file.add_lines(&self.settings.fingerprinter, output.lines);
            } else {
                let length = before + output.lines.len() as u64;
                committed.outputs.insert(name, length);
            }
            appends.push(FileAppend {
                name: Cow::Borrowed(output.name),
                is_state: output.is_state,
                length_before: before,
                bytes: output.lines,
            });
        }
        Ok(appends)
    }

    /// Returns the committed length of a file, which is also its length.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if it has another length: without its state a lane would retract
    /// nothing, and what an output lost would never come again.
    pub(super) fn checked_length(&self, name: &str, state: bool) -> Result<u64, Fault> {
        let committed = match state {
            true => self.committed.state.get(name).map(|file| file.length),
            false => self.committed.outputs.get(name).copied(),
        };
        let committed = committed.unwrap_or(0);
        let path = self.layout.written_path(name, state);
        let length = file_length(&path).map_err(abort_fault)?;
        if length == committed {
            return Ok(committed);
        }
        let shown = self.layout.display_path(&path);
        Err(Fault::stop(format!(
            "{shown} is {length} bytes long, and zeef left it at {committed}: it was changed \
             meanwhile; the next start says what may be done about it"
        )))
    }

    /// Opens a lane's state for reading.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if its length is not the committed one.
    pub(super) fn open_state(&self, topic: &str) -> Result<StateRows, Fault> {
        let end = self.checked_length(topic, true)?;
        let mut reader = LineReader::new(self.layout.written_path(topic, true), usize::MAX, 0);
        reader.open().map_err(to_fault)?;
        Ok(StateRows { reader, end })
    }

    /// Writes the journal under its new name, which nobody reads.
    fn write_journal(&mut self, journal: &Journal<'_>) -> Result<(), FileError> {
        let mode = self.layout.file_mode(true);
        let mut file = self.disk.create(&self.layout.journal_new_path(), mode)?;
        let mut offset = 0;
        journal.encode(|piece| {
            self.disk.write_at(&mut file, offset, piece)?;
            offset += piece.len() as u64;
            Ok(())
        })?;
        self.disk.sync(&file)
    }

    /// Renames the journal: from here on the batch is committed.
    fn rename_journal(&mut self) -> Result<(), FileError> {
        let (new, journal) = (self.layout.journal_new_path(), self.layout.journal_path());
        self.disk.rename(&new, &journal)?;
        self.disk.sync_folder(&self.layout.internal_folder)
    }

    fn read_journal(&self) -> Result<Option<Vec<u8>>, Fault> {
        let path = self.layout.journal_path();
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unfinished_fault(FileError::wrap("read", &path)(error))),
        }
    }

    /// Does what the journal says, unless it is done, and removes it. Idempotent.
    fn apply_journal(&mut self, journal: &Journal<'_>) -> Result<(), FileError> {
        if self.committed.commit < journal.committed.commit {
            for one in &journal.moves {
                self.move_output(&one.topic, &one.name)?;
            }
            let mut files = self.open_appended_files(journal)?;
            for (append, file) in journal.appends.iter().zip(&mut files) {
                self.disk.write_at(file, append.length_before, append.bytes)?;
                self.disk.set_length(file, append.length_after())?;
                self.disk.sync(file)?;
            }
            for replace in &journal.replacements {
                self.replace_file(replace)?;
            }
            self.write_committed(&journal.committed)?;
            self.committed = journal.committed.clone();
        }
        self.disk.remove(&self.layout.journal_path())
    }

    /// Opens the files to append to.
    ///
    /// # Errors
    ///
    /// A [`FileError`] if the length of one is not between those before and after.
    fn open_appended_files(&mut self, journal: &Journal<'_>) -> Result<Vec<NamedFile>, FileError> {
        let mut files = Vec::with_capacity(journal.appends.len());
        for append in &journal.appends {
            let path = self.layout.written_path(&append.name, append.is_state);
            let folder = path.parent().unwrap_or(&path);
            if !is_folder(folder)? {
                let mode = self.layout.folder_mode(append.is_state);
                self.disk.ensure_folder(folder, mode)?;
                self.disk.sync_folder(folder.parent().unwrap_or(folder))?;
            }
            let mode = self.layout.file_mode(append.is_state);
            let file = self.disk.open(&path, mode)?;
            let length = file.length()?;
            let longer = length > append.length_after() && !append.bytes.is_empty();
            if length < append.length_before || longer {
                let error = io::Error::other("somebody changed it meanwhile");
                return Err(FileError::wrap("extend", &path)(error));
            }
            if length == 0 {
                self.disk.sync_folder(folder)?;
            }
            files.push(file);
        }
        Ok(files)
    }

    fn write_committed(&mut self, committed: &DirectoryCommit) -> Result<(), FileError> {
        let (new, path) = (self.layout.committed_new_path(), self.layout.committed_path());
        let mut file = self.disk.create(&new, self.layout.file_mode(true))?;
        let text = committed.encode(&self.settings.fingerprinter);
        self.disk.write_at(&mut file, 0, &text)?;
        self.disk.sync(&file)?;
        self.disk.rename(&new, &path)?;
        self.disk.sync_folder(&self.layout.internal_folder)
    }

    /// Removes what a commit left that never reached its point of no return.
    fn remove_leftovers(&mut self) -> Result<(), FileError> {
        self.disk.remove(&self.layout.journal_new_path())?;
        self.disk.remove(&self.layout.committed_new_path())?;
        for path in self.layout.list_leftovers()? {
            self.disk.remove(&path)?;
        }
        Ok(())
    }

    /// Reads the checksum of a state file up to `length`; `None` if it is shorter, or no line ends
    /// there.
    ///
    /// # Errors
    ///
    /// A [`FileError`] if it cannot be read.
    pub(super) fn read_state_file(
        &self,
        topic: &str,
        length: u64,
    ) -> Result<Option<CommittedStateFile>, FileError> {
        let path = self.layout.written_path(topic, true);
        read_state_file(&path, length, &self.settings.fingerprinter)
    }
}

/// Returns the fault for a journal that cannot be finished.
fn journal_fault(path: &Path, error: JournalError) -> Fault {
    match error {
        JournalError::OtherVersion { format, .. } => Fault::stop(format!(
            "{} has format {format}: a commit of another version is not finished; run that \
             version once more, then this one",
            path.display()
        )),
        JournalError::Damaged => damaged_fault(path),
    }
}

/// See [`Store::read_state_file`].
pub(super) fn read_state_file(
    path: &Path,
    length: u64,
    fingerprinter: &Fingerprinter,
) -> Result<Option<CommittedStateFile>, FileError> {
    let mut file = CommittedStateFile::default();
    let mut reader = LineReader::new(path.to_owned(), usize::MAX, 0);
    reader.open()?;
    while let super::line_reader::NextLine::Line { bytes, .. } = reader.next_line(length)? {
        file.add_row(fingerprinter, reader.line_bytes(&bytes));
    }
    let is_whole = reader.position() == length && file.length == length;
    Ok(is_whole.then_some(file))
}

/// As [`to_fault`], for a step that finishes an interrupted commit.
fn unfinished_fault(failure: FileError) -> Fault {
    let text = format!(
        "{failure}: the last commit is not finished; free disk space or fix the permissions, and start again"
    );
    match failure.cause.raw_os_error() {
        Some(_) => Fault::Io(text.into()),
        None => Fault::stop(text),
    }
}
