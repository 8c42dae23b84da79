//! Where commits are made: `DIR/out` and `DIR/.zeef`, one batch at a time.
//!
//! The steps of a commit are in [`Store::commit`]; the head of the directory
//! module says what holds between any two of them. The store knows no records.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::committed::{Committed, Position, damaged};
use super::disk::{Disk, Failure, OpenFile};
use super::journal::{Append, Journal};
use super::output::Written;
use super::reader::Reader;
use super::stop;
use crate::transport::Fault;

/// How the name of a file ends that is to take the place of another.
const REWRITTEN: &str = ".ndjson.new";

/// The names of the files.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) input: PathBuf,
    pub(super) output: PathBuf,
    pub(super) own: PathBuf,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            input: root.join("in"),
            output: root.join("out"),
            own: root.join(".zeef"),
        }
    }

    pub(super) fn source(&self, topic: &str) -> PathBuf {
        self.input.join(format!("{topic}.ndjson"))
    }

    /// The file of an output, or of a lane's state: that may not be moved away
    /// as an output may, so it lies with what is zeef's own.
    pub(super) fn written(&self, topic: &str, state: bool) -> PathBuf {
        let folder = self.folder(state);
        folder.join(format!("{topic}.ndjson"))
    }

    /// What is to take the place of such a file, in the same folder.
    pub(super) fn rewritten(&self, topic: &str, state: bool) -> PathBuf {
        self.folder(state).join(format!(".{topic}{REWRITTEN}"))
    }

    pub(super) fn folder(&self, state: bool) -> &Path {
        if state { &self.own } else { &self.output }
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.own.join("lock")
    }

    pub(super) fn committed(&self) -> PathBuf {
        self.own.join("committed.json")
    }

    pub(super) fn runs(&self) -> PathBuf {
        self.own.join("runs")
    }

    fn committed_new(&self) -> PathBuf {
        self.own.join("committed.json.new")
    }

    fn journal(&self) -> PathBuf {
        self.own.join("journal")
    }

    fn journal_new(&self) -> PathBuf {
        self.own.join("journal.new")
    }
}

/// The outputs and positions of all lanes of a directory.
pub(super) struct Store {
    pub(super) layout: Layout,
    pub(super) disk: Box<dyn Disk>,
    pub(super) committed: Committed,
    /// A commit may have passed its point of no return and is not done yet.
    unfinished: bool,
}

impl Store {
    /// Opens the store, and finishes a commit that was broken off.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`], as [`recover`](Self::recover).
    pub(super) fn open(layout: Layout, disk: Box<dyn Disk>) -> Result<Self, Fault> {
        let mut store = Self {
            layout,
            disk,
            committed: Committed::default(),
            unfinished: true,
        };
        store.recover()?;
        Ok(store)
    }

    /// Finishes a commit that was broken off, where there is one.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where the disk refuses or a file is damaged; the same
    /// call can be made again.
    pub(super) fn recover(&mut self) -> Result<(), Fault> {
        if !self.unfinished {
            return Ok(());
        }
        self.committed = Committed::read(&self.layout.committed())?;
        if let Some(bytes) = self.read_journal()? {
            let journal = Journal::decode(&bytes).ok_or_else(|| damaged(&self.layout.journal()))?;
            self.finish(journal).map_err(unfinished)?;
        }
        self.sweep().map_err(unfinished)?;
        self.unfinished = false;
        Ok(())
    }

    /// Says that the store may not be as it was left, so that the next call
    /// looks at the disk again.
    pub(super) fn distrust(&mut self) {
        self.unfinished = true;
    }

    /// Where `lane` goes on in each of its sources.
    pub(super) fn positions(&self, lane: &str) -> BTreeMap<String, Position> {
        self.committed.lanes.get(lane).cloned().unwrap_or_default()
    }

    /// Appends `outputs` (topic, bytes) and sets the positions of `lane`, both
    /// or neither.
    ///
    /// # Errors
    ///
    /// [`Fault::Abort`]: nothing happened. [`Fault::Rebuild`]: the batch may be
    /// committed; [`recover`](Self::recover) finds out and finishes it.
    pub(super) fn commit<'a>(
        &mut self,
        lane: &str,
        positions: BTreeMap<String, Position>,
        outputs: impl Iterator<Item = Written<'a>>,
    ) -> Result<(), Fault> {
        self.recover()?;
        let outputs: Vec<Written<'a>> = outputs.collect();
        let mut committed = self.committed.clone();
        committed.commit += 1;
        let known = committed.lanes.entry(lane.to_owned()).or_default();
        known.extend(positions);
        committed.taken_back |= outputs.iter().any(|output| output.nulls && !output.state);
        let appends = self.plan(&outputs)?;
        self.carry_out(Journal::new(appends, committed))
    }

    /// Makes one batch happen whole, or not at all.
    pub(super) fn carry_out(&mut self, journal: Journal<'_>) -> Result<(), Fault> {
        let written = self.write_journal(&journal);
        written.map_err(|failure| Fault::Abort(failure.to_string()))?;
        self.unfinished = true;
        let done = self.turn().and_then(|()| self.finish(journal));
        done.map_err(|failure| Fault::Rebuild(failure.to_string()))?;
        self.unfinished = false;
        Ok(())
    }

    fn plan<'a>(&self, outputs: &[Written<'a>]) -> Result<Vec<Append<'a>>, Fault> {
        let append = |output: &Written<'a>| {
            let path = self.layout.written(output.topic, output.state);
            let length = length_of(&path).map_err(|failure| Fault::Abort(failure.to_string()))?;
            let before = if output.state {
                self.state_length(output.topic)?
            } else {
                length
            };
            Ok(Append {
                topic: Cow::Borrowed(output.topic),
                state: output.state,
                before,
                bytes: output.lines,
            })
        };
        outputs.iter().map(append).collect()
    }

    /// The committed length of a lane's state, all of which is there.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where the file is shorter: without its state a lane
    /// would take nothing back.
    fn state_length(&self, topic: &str) -> Result<u64, Fault> {
        let committed = self.committed.state.get(topic).copied().unwrap_or(0);
        let path = self.layout.written(topic, true);
        let length = length_of(&path).map_err(|failure| Fault::Abort(failure.to_string()))?;
        if length < committed {
            return Err(damaged(&path));
        }
        Ok(committed)
    }

    /// Opens a lane's state to be read, and says up to which byte.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where it is shorter than what is committed of it.
    pub(super) fn open_state(&self, topic: &str) -> Result<(Reader, u64), Fault> {
        let end = self.state_length(topic)?;
        let mut reader = Reader::new(self.layout.written(topic, true), usize::MAX, 0);
        reader.open().map_err(stop)?;
        Ok((reader, end))
    }

    /// Writes the journal under its new name, where nobody reads it.
    fn write_journal(&mut self, journal: &Journal<'_>) -> Result<(), Failure> {
        let mut file = self.disk.create(&self.layout.journal_new())?;
        let mut offset = 0;
        journal.encode(|piece| {
            self.disk.write(&mut file, offset, piece)?;
            offset += piece.len() as u64;
            Ok(())
        })?;
        self.disk.sync(&file)
    }

    /// Gives the journal its name: from here on the batch is committed.
    fn turn(&mut self) -> Result<(), Failure> {
        let (new, journal) = (self.layout.journal_new(), self.layout.journal());
        self.disk.rename(&new, &journal)?;
        self.disk.sync_folder(&self.layout.own)
    }

    fn read_journal(&self) -> Result<Option<Vec<u8>>, Fault> {
        let path = self.layout.journal();
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unfinished(Failure::to("read", &path)(error))),
        }
    }

    /// Does what the journal says, unless it is done, and removes it. Done
    /// twice it comes to the same.
    fn finish(&mut self, journal: Journal<'_>) -> Result<(), Failure> {
        if self.committed.commit < journal.committed.commit {
            let (mut journal, mut files) = self.open_outputs(journal)?;
            for (append, file) in journal.appends.iter().zip(&mut files) {
                self.disk.write(file, append.before, append.bytes)?;
                self.disk.set_length(file, append.after())?;
                self.disk.sync(file)?;
            }
            for replace in std::mem::take(&mut journal.replaces) {
                let length = self.replace(&replace)?;
                let lengths = journal.committed.lengths_mut(replace.state);
                lengths.insert(replace.topic.into_owned(), length);
            }
            self.replace_committed(&journal.committed)?;
            self.committed = journal.committed;
        }
        self.disk.remove(&self.layout.journal())
    }

    /// Opens the output files. One that is shorter than the journal knows it
    /// was moved away meanwhile: it starts anew, and the journal learns that
    /// before a byte is written, or a second try would take the new file's
    /// bytes for the old one's.
    fn open_outputs<'a>(
        &mut self,
        journal: Journal<'a>,
    ) -> Result<(Journal<'a>, Vec<OpenFile>), Failure> {
        let Journal {
            mut appends,
            replaces,
            committed,
        } = journal;
        let mut files = Vec::with_capacity(appends.len());
        let (mut moved, mut created) = (false, [false; 2]);
        for append in &mut appends {
            let path = self.layout.written(&append.topic, append.state);
            let file = self.disk.open(&path)?;
            let length = file.length()?;
            if append.state && length < append.before {
                let short = io::Error::other("it is shorter than what is committed of it");
                return Err(Failure::to("extend", &path)(short));
            }
            moved |= length < append.before;
            append.before = append.before.min(length);
            created[usize::from(append.state)] |= length == 0;
            files.push(file);
        }
        for state in [false, true] {
            if created[usize::from(state)] {
                self.disk.sync_folder(self.layout.folder(state))?;
            }
        }
        let journal = Journal {
            replaces,
            ..Journal::new(appends, committed)
        };
        if moved {
            self.write_journal(&journal)?;
            self.turn()?;
        }
        Ok((journal, files))
    }

    fn replace_committed(&mut self, committed: &Committed) -> Result<(), Failure> {
        let (new, path) = (self.layout.committed_new(), self.layout.committed());
        let mut file = self.disk.create(&new)?;
        self.disk.write(&mut file, 0, &committed.encode())?;
        self.disk.sync(&file)?;
        self.disk.rename(&new, &path)?;
        self.disk.sync_folder(&self.layout.own)
    }

    /// Removes what a commit left that never came to its point of no return.
    fn sweep(&mut self) -> Result<(), Failure> {
        self.disk.remove(&self.layout.journal_new())?;
        self.disk.remove(&self.layout.committed_new())?;
        for state in [false, true] {
            for path in rewritten_in(self.layout.folder(state))? {
                self.disk.remove(&path)?;
            }
        }
        Ok(())
    }
}

/// What a compaction that broke off left in a folder.
fn rewritten_in(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Failure::to("list", folder))? {
        let entry = entry.map_err(Failure::to("list", folder))?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(b".") && name.ends_with(REWRITTEN.as_bytes()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn unfinished(failure: Failure) -> Fault {
    Fault::Stop(format!(
        "{failure}: the last commit is not finished; free the disk or mend the permissions, and start again"
    ))
}

/// The length of a file in bytes; one that is not there has none.
pub(super) fn length_of(path: &Path) -> Result<u64, Failure> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Failure::to("look at", path)(error)),
    }
}
