//! Where commits are made: `DIR/out` and `DIR/.zeef`, one batch at a time.
//!
//! The steps of a commit are in [`Store::commit`]; the head of the directory
//! module says what holds between any two of them. The store knows no records.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::committed::{Committed, Found, STATE, Sealed, StateFile, damaged};
use super::disk::Disk;
use super::journal::{Append, DecodeError, Journal};
use super::layout::{Layout, length_of};
use super::output::Written;
use super::reader::Reader;
use super::{DirectorySettings, stop};
use crate::transport::Fault;
use crate::transport::continuity::{Fingerprinter, Trail, behind};
use crate::transport::file::{Failure, OpenFile};

/// The outputs and positions of all lanes of a directory.
pub(super) struct Store {
    pub(super) settings: Arc<DirectorySettings>,
    pub(super) layout: Layout,
    pub(super) disk: Box<dyn Disk>,
    pub(super) committed: Committed,
    /// Nothing was ever committed here.
    pub(super) new: bool,
    /// All is known to be as it was left, or accepted as it is.
    pub(super) compared: bool,
    /// A commit may have passed its point of no return and is not done yet.
    unfinished: bool,
}

impl Store {
    /// Opens the store, and finishes a commit that was broken off.
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
            committed: Committed::default(),
            new: true,
            compared: false,
            unfinished: true,
        };
        store.recover()?;
        Ok(store)
    }

    pub(super) fn prints(&self) -> Fingerprinter {
        self.settings.prints
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
        let settings = Arc::clone(&self.settings);
        let sealed = Sealed {
            prints: &settings.prints,
            key: settings.keys.get(STATE),
        };
        let found = Found::read(&self.layout.committed(), Some(sealed))?;
        self.new = matches!(found, Found::Nothing);
        let mut older = None;
        self.committed = match found {
            Found::Nothing => Committed::default(),
            Found::Committed(committed) => committed,
            Found::Older(found) => {
                let commit = found.commit;
                older = Some(found);
                Committed {
                    commit,
                    ..Committed::default()
                }
            }
        };
        if self.finish_journal()? {
            older = None;
        }
        if let Some(older) = older {
            self.upgrade(&older)?;
        }
        self.sweep().map_err(unfinished)?;
        self.unfinished = false;
        Ok(())
    }

    /// Does what is left of a journal; says whether that committed something.
    fn finish_journal(&mut self) -> Result<bool, Fault> {
        let Some(bytes) = self.read_journal()? else {
            return Ok(false);
        };
        let path = self.layout.journal();
        match Journal::decode(&bytes) {
            Ok(journal) => {
                let ahead = self.committed.commit < journal.committed.commit;
                self.finish(&journal).map_err(unfinished)?;
                self.new &= !ahead;
                Ok(ahead)
            }
            Err(DecodeError::Other { commit, .. }) if commit <= self.committed.commit => {
                self.disk.remove(&path).map_err(unfinished)?;
                Ok(false)
            }
            Err(DecodeError::Other { format, .. }) => Err(Fault::Stop(format!(
                "{} has format {format}: a commit of another version is not finished; run that \
                 version once more, then this one",
                path.display()
            ))),
            Err(DecodeError::Damaged) => Err(damaged(&path)),
        }
    }

    /// Says that the store may not be as it was left, so that the next call
    /// looks at the disk again.
    pub(super) fn distrust(&mut self) {
        self.unfinished = true;
    }

    /// Where `lane` goes on in each of its sources.
    pub(super) fn positions(&self, lane: &str) -> BTreeMap<String, Trail> {
        self.committed.lanes.get(lane).cloned().unwrap_or_default()
    }

    /// Whether a key is used for which the mark has no fingerprint.
    pub(super) fn has_new_keys(&self) -> bool {
        let known = |name| self.committed.keys.contains_key(name);
        self.settings.keys.keys().any(|name| !known(name))
    }

    /// Appends `outputs` (name, bytes) and sets the positions of `lane`, both
    /// or neither.
    ///
    /// # Errors
    ///
    /// [`Fault::Abort`]: nothing happened. [`Fault::Rebuild`]: the batch may be
    /// committed; [`recover`](Self::recover) finds out and finishes it.
    /// [`Fault::Stop`]: a file is not as zeef left it.
    pub(super) fn commit<'a>(
        &mut self,
        lane: &str,
        positions: BTreeMap<String, Trail>,
        outputs: impl Iterator<Item = Written<'a>>,
    ) -> Result<(), Fault> {
        self.recover()?;
        let outputs: Vec<Written<'a>> = outputs.collect();
        let mut committed = self.next();
        let known = committed.lanes.entry(lane.to_owned()).or_default();
        known.extend(positions);
        committed.taken_back |= outputs.iter().any(|output| output.nulls && !output.state);
        let appends = self.plan(&outputs, &mut committed)?;
        self.carry_out(&Journal {
            appends,
            committed,
            ..Journal::default()
        })
    }

    /// Appends to states, and has a lane go on where another is that is further
    /// behind, for each of `follows` (who takes over, from whom).
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    pub(super) fn rearrange<'a>(
        &mut self,
        states: impl Iterator<Item = Written<'a>>,
        follows: &BTreeSet<(String, String)>,
    ) -> Result<(), Fault> {
        self.recover()?;
        let states: Vec<Written<'a>> = states.collect();
        let mut committed = self.next();
        for (to, from) in follows {
            let (known, other) = (self.positions(to), self.positions(from));
            committed.lanes.insert(to.clone(), behind(&known, &other));
        }
        let appends = self.plan(&states, &mut committed)?;
        self.carry_out(&Journal {
            appends,
            committed,
            ..Journal::default()
        })
    }

    /// What is committed, as the next commit starts from it.
    pub(super) fn next(&self) -> Committed {
        let mut committed = self.committed.clone();
        committed.commit += 1;
        for (name, print) in &self.settings.keys {
            committed
                .keys
                .entry(name.clone())
                .or_insert_with(|| print.clone());
        }
        committed
    }

    /// Makes one batch happen whole, or not at all.
    pub(super) fn carry_out(&mut self, journal: &Journal<'_>) -> Result<(), Fault> {
        let written = self.write_journal(journal);
        written.map_err(|failure| Fault::Abort(failure.to_string()))?;
        self.unfinished = true;
        let done = self.turn().and_then(|()| self.finish(journal));
        done.map_err(|failure| Fault::Rebuild(failure.to_string()))?;
        self.unfinished = false;
        self.new = false;
        Ok(())
    }

    /// Makes of `outputs` what is appended to which file, and writes into
    /// `committed` how the files are then.
    fn plan<'a>(
        &self,
        outputs: &[Written<'a>],
        committed: &mut Committed,
    ) -> Result<Vec<Append<'a>>, Fault> {
        let mut appends = Vec::with_capacity(outputs.len());
        for output in outputs {
            let name = output.name.to_owned();
            let before = self.length_left(output.name, output.state)?;
            if output.state {
                let file = committed.state.entry(name).or_default();
                file.add_lines(&self.settings.prints, output.lines);
            } else {
                let length = before + output.lines.len() as u64;
                committed.outputs.insert(name, length);
            }
            appends.push(Append {
                name: Cow::Borrowed(output.name),
                state: output.state,
                before,
                bytes: output.lines,
            });
        }
        Ok(appends)
    }

    /// The committed length of a file, which is also how long it is.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where it has another length: without its state a lane
    /// would take nothing back, and what an output lost would never come again.
    fn length_left(&self, name: &str, state: bool) -> Result<u64, Fault> {
        let committed = match state {
            true => self.committed.state.get(name).map(|file| file.length),
            false => self.committed.outputs.get(name).copied(),
        };
        let committed = committed.unwrap_or(0);
        let path = self.layout.written(name, state);
        let length = length_of(&path).map_err(|failure| Fault::Abort(failure.to_string()))?;
        if length == committed {
            return Ok(committed);
        }
        let shown = self.layout.shown(&path);
        Err(Fault::Stop(format!(
            "{shown} is {length} bytes long, and zeef left it at {committed}: somebody changed it \
             meanwhile; the next start says what may be done about it"
        )))
    }

    /// Opens a lane's state to be read, and says up to which byte.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where it is not as long as what is committed of it.
    pub(super) fn open_state(&self, topic: &str) -> Result<(Reader, u64), Fault> {
        let end = self.length_left(topic, true)?;
        let mut reader = Reader::new(self.layout.written(topic, true), usize::MAX, 0);
        reader.open().map_err(stop)?;
        Ok((reader, end))
    }

    /// Writes the journal under its new name, where nobody reads it.
    fn write_journal(&mut self, journal: &Journal<'_>) -> Result<(), Failure> {
        let mode = self.layout.file_mode(true);
        let mut file = self.disk.create(&self.layout.journal_new(), mode)?;
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
    fn finish(&mut self, journal: &Journal<'_>) -> Result<(), Failure> {
        if self.committed.commit < journal.committed.commit {
            for one in &journal.moves {
                self.move_output(&one.topic, &one.name)?;
            }
            let mut files = self.open_outputs(journal)?;
            for (append, file) in journal.appends.iter().zip(&mut files) {
                self.disk.write(file, append.before, append.bytes)?;
                self.disk.set_length(file, append.after())?;
                self.disk.sync(file)?;
            }
            for replace in &journal.replaces {
                self.replace(replace)?;
            }
            self.replace_committed(&journal.committed)?;
            self.committed = journal.committed.clone();
        }
        self.disk.remove(&self.layout.journal())
    }

    /// Opens the files that are appended to.
    ///
    /// # Errors
    ///
    /// A [`Failure`] where one is not between its lengths before and after.
    fn open_outputs(&mut self, journal: &Journal<'_>) -> Result<Vec<OpenFile>, Failure> {
        let mut files = Vec::with_capacity(journal.appends.len());
        for append in &journal.appends {
            let path = self.layout.written(&append.name, append.state);
            let folder = path.parent().unwrap_or(&path);
            if !folder.is_dir() {
                let mode = self.layout.folder_mode(append.state);
                self.disk.make_folder(folder, mode)?;
                self.disk.sync_folder(&self.layout.output)?;
            }
            let mode = self.layout.file_mode(append.state);
            let file = self.disk.open(&path, mode)?;
            let length = file.length()?;
            let longer = length > append.after() && !append.bytes.is_empty();
            if length < append.before || longer {
                let error = io::Error::other("somebody changed it meanwhile");
                return Err(Failure::to("extend", &path)(error));
            }
            if length == 0 {
                self.disk.sync_folder(folder)?;
            }
            files.push(file);
        }
        Ok(files)
    }

    fn replace_committed(&mut self, committed: &Committed) -> Result<(), Failure> {
        let (new, path) = (self.layout.committed_new(), self.layout.committed());
        let mut file = self.disk.create(&new, self.layout.file_mode(true))?;
        let text = committed.encode(&self.settings.prints);
        self.disk.write(&mut file, 0, &text)?;
        self.disk.sync(&file)?;
        self.disk.rename(&new, &path)?;
        self.disk.sync_folder(&self.layout.own)
    }

    /// Removes what a commit left that never came to its point of no return.
    fn sweep(&mut self) -> Result<(), Failure> {
        self.disk.remove(&self.layout.journal_new())?;
        self.disk.remove(&self.layout.committed_new())?;
        for path in self.layout.leftovers()? {
            self.disk.remove(&path)?;
        }
        Ok(())
    }

    /// What a state's file is, of which `length` bytes count.
    ///
    /// # Errors
    ///
    /// A [`Failure`] where it is shorter, or does not end with a line there.
    pub(super) fn state_file(&self, topic: &str, length: u64) -> Result<StateFile, Failure> {
        let path = self.layout.written(topic, true);
        state_file(&path, length, &self.settings.prints)
    }
}

/// See [`Store::state_file`].
fn state_file(path: &Path, length: u64, prints: &Fingerprinter) -> Result<StateFile, Failure> {
    let mut file = StateFile::default();
    let mut reader = Reader::new(path.to_owned(), usize::MAX, 0);
    reader.open()?;
    while let super::reader::Found::Line { bytes, .. } = reader.next(length)? {
        file.add(prints, reader.bytes(&bytes));
    }
    if reader.position() == length && file.length == length {
        return Ok(file);
    }
    let error = io::Error::other("it does not end with a whole row");
    Err(Failure::to("read", path)(error))
}

fn unfinished(failure: Failure) -> Fault {
    Fault::Stop(format!(
        "{failure}: the last commit is not finished; free the disk or mend the permissions, and start again"
    ))
}
