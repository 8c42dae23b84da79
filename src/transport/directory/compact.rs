//! Files that keep only the last line of each key.
//!
//! What is left of a file is written beside it, under a name of its own; a
//! commit puts it in the file's place. Memory grows with the keys of one file,
//! never with values.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;

use super::committed::StateFile;
use super::disk::Disk;
use super::journal::{Journal, Replace};
use super::layout::length_of;
use super::line::Line;
use super::reader::{Found, Reader};
use super::store::Store;
use crate::transport::file::Failure;
use crate::transport::{Fault, Payload};

/// How much is written at a time, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// What compaction made of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// `OWNER/TOPIC` of an output, `TOPIC` of a state.
    pub name: String,
    /// It is the state of a lane, and no output.
    pub state: bool,
    pub lines_before: u64,
    pub lines_after: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// Which lines of a file stay: of each key the last one, all without a key.
///
/// The null of a key stays in an output, as long as the output does: nobody
/// says who has read it, and a reader who has an older value learns from it that
/// the value was taken back. In a state nobody has an older value, so a null
/// goes too.
struct Kept {
    /// Where the line of each key stands that stays, and how long it is.
    last: HashMap<Box<str>, Last>,
    state: bool,
    lines: u64,
    dropped_lines: u64,
    dropped_bytes: u64,
}

#[derive(Clone, Copy)]
struct Last {
    offset: u64,
    length: u64,
    null: bool,
}

impl Kept {
    fn new(state: bool) -> Self {
        Self {
            last: HashMap::new(),
            state,
            lines: 0,
            dropped_lines: 0,
            dropped_bytes: 0,
        }
    }

    fn note(&mut self, offset: u64, line: &[u8]) {
        self.lines += 1;
        let read = Line::read(line, false);
        let (Some(key), Some(null)) = (read.key, null(read.payload)) else {
            return;
        };
        let last = Last {
            offset,
            length: line.len() as u64 + 1,
            null,
        };
        let before = match self.last.get_mut(key.as_ref()) {
            Some(place) => Some(std::mem::replace(place, last)),
            None => self.last.insert(key.into(), last),
        };
        let goes = |one: &Last| one.null && self.state;
        let dropped = before.filter(|one| !goes(one));
        for one in dropped.into_iter().chain(Some(last).filter(goes)) {
            self.dropped_lines += 1;
            self.dropped_bytes += one.length;
        }
    }

    fn stays(&self, offset: u64, line: &[u8]) -> bool {
        let read = Line::read(line, false);
        let (Some(key), Some(null)) = (read.key, null(read.payload)) else {
            return true;
        };
        let last = self.last.get(key.as_ref());
        last.is_none_or(|last| last.offset == offset) && !(null && self.state)
    }
}

/// Whether a value is a null; `None` where it is no message at all.
fn null(payload: Payload<'_>) -> Option<bool> {
    match payload {
        Payload::Null => Some(true),
        Payload::Bytes(_) => Some(false),
        Payload::Refused(_) | Payload::Unread(..) => None,
    }
}

/// A file that zeef writes: an output, or the state of a lane.
struct Written {
    name: String,
    state: bool,
}

/// What [`Store::rewrite`] came to.
enum Rewritten {
    /// All of the file stays, or enough.
    Whole,
    /// What stays is written beside it; of a state, what it is then.
    Beside(Compacted, StateFile),
}

impl Store {
    /// Leaves of each file only what stays; where not of `all`, of each state
    /// that would be less than half as long.
    ///
    /// # Errors
    ///
    /// As [`commit`](Store::commit).
    pub(super) fn compact(&mut self, all: bool) -> Result<Vec<Compacted>, Fault> {
        self.recover()?;
        let mut done = Vec::new();
        let mut committed = self.next();
        for file in self.files(all) {
            let rewritten = self.rewrite(&file, all);
            let rewritten = rewritten.map_err(|failure| Fault::Abort(failure.to_string()))?;
            if let Rewritten::Beside(compacted, after) = rewritten {
                let name = compacted.name.clone();
                match compacted.state {
                    true => drop(committed.state.insert(name, after)),
                    false => drop(committed.outputs.insert(name, compacted.bytes_after)),
                }
                done.push(compacted);
            }
        }
        committed.taken_back &= !all;
        if done.is_empty() && committed.taken_back == self.committed.taken_back {
            return Ok(done);
        }
        let replaces = done.iter().map(|file| Replace {
            name: Cow::Borrowed(&file.name),
            state: file.state,
        });
        self.carry_out(&Journal {
            replaces: replaces.collect(),
            committed,
            ..Journal::default()
        })?;
        Ok(done)
    }

    /// Compacts all where something was taken back since it was done last; else
    /// only a state that has grown to more than twice of what counts in it.
    ///
    /// # Errors
    ///
    /// As [`commit`](Store::commit).
    pub(super) fn compact_if_due(&mut self) -> Result<Vec<Compacted>, Fault> {
        self.recover()?;
        self.compact(self.committed.taken_back)
    }

    /// Every output and state that was ever written, or only the states.
    fn files(&self, all: bool) -> Vec<Written> {
        let outputs = self.committed.outputs.keys().filter(|_| all);
        let states = self.committed.state.keys();
        let outputs = outputs.map(|name| (name, false));
        outputs
            .chain(states.map(|topic| (topic, true)))
            .map(|(name, state)| Written {
                name: name.clone(),
                state,
            })
            .collect()
    }

    /// Writes what stays of a file beside it.
    fn rewrite(&mut self, file: &Written, all: bool) -> Result<Rewritten, Failure> {
        let length = length_of(&self.layout.written(&file.name, file.state))?;
        let mut kept = Kept::new(file.state);
        self.each_line(file, length, |_, offset, line| {
            kept.note(offset, line);
            Ok(())
        })?;
        let least = if all { 1 } else { length / 2 };
        if kept.dropped_bytes < least.max(1) {
            return Ok(Rewritten::Whole);
        }
        let after = self.write_kept(file, length, &kept)?;
        let compacted = Compacted {
            name: file.name.clone(),
            state: file.state,
            lines_before: kept.lines,
            lines_after: kept.lines - kept.dropped_lines,
            bytes_before: length,
            bytes_after: after.length,
        };
        Ok(Rewritten::Beside(compacted, after))
    }

    /// Writes what stays; says how long it is, and of a state what its rows are.
    fn write_kept(
        &mut self,
        file: &Written,
        length: u64,
        kept: &Kept,
    ) -> Result<StateFile, Failure> {
        let path = self.layout.rewritten(&file.name, file.state);
        let mode = self.layout.file_mode(file.state);
        let mut new = self.disk.create(&path, mode)?;
        let (mut piece, mut written) = (Vec::new(), 0);
        let (mut after, prints) = (StateFile::default(), self.prints());
        self.each_line(file, length, |disk, offset, line| {
            if kept.stays(offset, line) {
                after.add(&prints, line);
                piece.extend_from_slice(line);
                piece.push(b'\n');
            }
            if piece.len() >= PIECE_BYTES {
                disk.write(&mut new, written, &piece)?;
                written += piece.len() as u64;
                piece.clear();
            }
            Ok(())
        })?;
        self.disk.write(&mut new, written, &piece)?;
        self.disk.sync(&new)?;
        Ok(after)
    }

    /// Hands out every line of a file with its offset.
    ///
    /// # Errors
    ///
    /// A [`Failure`], also where the file does not end with a line.
    fn each_line(
        &mut self,
        file: &Written,
        end: u64,
        mut take: impl FnMut(&mut dyn Disk, u64, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let path = self.layout.written(&file.name, file.state);
        let mut reader = Reader::new(path.clone(), usize::MAX, 0);
        reader.open()?;
        while let Found::Line { offset, bytes } = reader.next(end)? {
            take(&mut *self.disk, offset, reader.bytes(&bytes))?;
        }
        if reader.position() == end {
            return Ok(());
        }
        let error = io::Error::other("it does not end with a line");
        Err(Failure::to("compact", &path)(error))
    }

    /// Puts what was written beside its file in the file's place, unless that is
    /// done.
    pub(super) fn replace(&mut self, replace: &Replace<'_>) -> Result<(), Failure> {
        let path = self.layout.written(&replace.name, replace.state);
        let new = self.layout.rewritten(&replace.name, replace.state);
        if new.exists() {
            self.disk.rename(&new, &path)?;
            self.disk.sync_folder(path.parent().unwrap_or(&path))?;
        }
        Ok(())
    }
}
