//! Compaction: files keep only the last line of each key.
//!
//! What is kept is written beside the file under another name, and a commit puts it in the
//! file's place. Memory grows with the keys of one file, never with values.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;

use super::committed::CommittedStateFile;
use super::disk::Disk;
use super::journal::{FileReplacement, Journal};
use super::ledger_files::is_ledger_file;
use super::line_reader::{LineReader, NextLine};
use super::source_line::SourceLine;
use super::store::Store;
use super::{abort_fault, to_fault};
use crate::message::{Fault, Payload};
use crate::transport::file::{FileError, is_there};

const WRITE_CHUNK_BYTES: usize = 1 << 20;

/// A file that was compacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactedFile {
    /// `OWNER/TOPIC` of an output, `TOPIC` of a state.
    pub name: String,
    /// Whether it is the state of a lane.
    pub is_state: bool,
    pub lines_before: u64,
    pub lines_after: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// The lines of a file to keep: the last one of each key, and all without a key.
///
/// An output keeps the null of a key for ever: a reader with an older value learns from it
/// that the value was retracted. A state has no such readers, so its nulls go too.
struct KeptLines {
    /// Position and length of the last line of each key.
    last_by_key: HashMap<Box<str>, LastLine>,
    is_state: bool,
    line_count: u64,
    dropped_line_count: u64,
    dropped_bytes: u64,
}

#[derive(Clone, Copy)]
struct LastLine {
    offset: u64,
    length: u64,
    is_tombstone: bool,
}

impl KeptLines {
    fn new(state: bool) -> Self {
        Self {
            last_by_key: HashMap::new(),
            is_state: state,
            line_count: 0,
            dropped_line_count: 0,
            dropped_bytes: 0,
        }
    }

    fn add_line(&mut self, offset: u64, line: &[u8]) {
        self.line_count += 1;
        let read = SourceLine::parse(line, false);
        let (Some(key), Some(null)) = (read.key, is_tombstone(read.payload)) else {
            return;
        };
        let last = LastLine { offset, length: line.len() as u64 + 1, is_tombstone: null };
        let before = match self.last_by_key.get_mut(key.as_ref()) {
            Some(place) => Some(std::mem::replace(place, last)),
            None => self.last_by_key.insert(key.into(), last),
        };
        let goes = |one: &LastLine| one.is_tombstone && self.is_state;
        let dropped = before.filter(|one| !goes(one));
        for one in dropped.into_iter().chain(Some(last).filter(goes)) {
            self.dropped_line_count += 1;
            self.dropped_bytes += one.length;
        }
    }

    fn is_kept(&self, offset: u64, line: &[u8]) -> bool {
        let read = SourceLine::parse(line, false);
        let (Some(key), Some(null)) = (read.key, is_tombstone(read.payload)) else {
            return true;
        };
        let last = self.last_by_key.get(key.as_ref());
        last.is_none_or(|last| last.offset == offset) && !(null && self.is_state)
    }
}

/// Returns whether a value is a null, or `None` if it is no message.
fn is_tombstone(payload: Payload<'_>) -> Option<bool> {
    match payload {
        Payload::Null => Some(true),
        Payload::Bytes(_) => Some(false),
        Payload::Refused(_) | Payload::RefusedBytes(..) => None,
    }
}

/// A file that zeef writes: an output, or the state of a lane.
struct WrittenFile {
    name: String,
    is_state: bool,
}

enum RewriteOutcome {
    /// Everything is kept, or enough.
    Unchanged,
    /// The kept lines are written beside the file; for a state, with its new checksum.
    Rewritten(CompactedFile, CommittedStateFile),
}

impl Store {
    /// Compacts all files, or without `all` each state that would shrink to less than half.
    ///
    /// # Errors
    ///
    /// As [`commit`](Store::commit).
    pub(super) fn compact(&mut self, all: bool) -> Result<Vec<CompactedFile>, Fault> {
        self.begin_commit()?;
        let mut done = Vec::new();
        let mut committed = self.next_commit();
        for file in self.written_files(all) {
            let length = self.checked_length(&file.name, file.is_state)?;
            let rewritten = self.rewrite_file(&file, length, all);
            let rewritten = rewritten.map_err(|failure| match failure.cause.raw_os_error() {
                Some(_) => abort_fault(failure),
                None => to_fault(failure),
            })?;
            if let RewriteOutcome::Rewritten(compacted, after) = rewritten {
                let name = compacted.name.clone();
                match compacted.is_state {
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
        let replaces = done
            .iter()
            .map(|file| FileReplacement { name: Cow::Borrowed(&file.name), state: file.is_state });
        self.commit_journal(&Journal {
            replacements: replaces.collect(),
            committed,
            ..Journal::default()
        })?;
        Ok(done)
    }

    /// Compacts all files if something was retracted since the last time, otherwise only
    /// states of which less than half counts.
    ///
    /// # Errors
    ///
    /// As [`commit`](Store::commit).
    pub(super) fn compact_if_due(&mut self) -> Result<Vec<CompactedFile>, Fault> {
        self.recover()?;
        self.compact(self.committed.taken_back)
    }

    /// Returns every output and state ever written, or only the states.
    fn written_files(&self, all: bool) -> Vec<WrittenFile> {
        let outputs = self.committed.outputs.keys().filter(|_| all);
        let states = self.committed.state.keys().filter(|name| !is_ledger_file(name));
        let outputs = outputs.map(|name| (name, false));
        outputs
            .chain(states.map(|topic| (topic, true)))
            .map(|(name, state)| WrittenFile { name: name.clone(), is_state: state })
            .collect()
    }

    /// Writes the kept lines of a file beside it.
    fn rewrite_file(
        &mut self,
        file: &WrittenFile,
        length: u64,
        all: bool,
    ) -> Result<RewriteOutcome, FileError> {
        let mut kept = KeptLines::new(file.is_state);
        self.for_each_line(file, length, |_, offset, line| {
            kept.add_line(offset, line);
            Ok(())
        })?;
        let least = if all { 1 } else { length / 2 };
        if kept.dropped_bytes < least.max(1) {
            return Ok(RewriteOutcome::Unchanged);
        }
        let after = self.write_kept_lines(file, length, &kept)?;
        let compacted = CompactedFile {
            name: file.name.clone(),
            is_state: file.is_state,
            lines_before: kept.line_count,
            lines_after: kept.line_count - kept.dropped_line_count,
            bytes_before: length,
            bytes_after: after.length,
        };
        Ok(RewriteOutcome::Rewritten(compacted, after))
    }

    /// Writes the kept lines. Returns their length and, for a state, its checksum.
    fn write_kept_lines(
        &mut self,
        file: &WrittenFile,
        length: u64,
        kept: &KeptLines,
    ) -> Result<CommittedStateFile, FileError> {
        let path = self.layout.rewritten_path(&file.name, file.is_state);
        let mode = self.layout.file_mode(file.is_state);
        let mut new = self.disk.create(&path, mode)?;
        let (mut piece, mut written) = (Vec::new(), 0);
        let (mut after, fingerprinter) = (CommittedStateFile::default(), self.fingerprinter());
        self.for_each_line(file, length, |disk, offset, line| {
            if kept.is_kept(offset, line) {
                after.add_row(&fingerprinter, line);
                piece.extend_from_slice(line);
                piece.push(b'\n');
            }
            if piece.len() >= WRITE_CHUNK_BYTES {
                disk.write_at(&mut new, written, &piece)?;
                written += piece.len() as u64;
                piece.clear();
            }
            Ok(())
        })?;
        self.disk.write_at(&mut new, written, &piece)?;
        self.disk.sync(&new)?;
        Ok(after)
    }

    /// Hands out every line of a file with its offset.
    ///
    /// # Errors
    ///
    /// A [`FileError`], also if the file does not end with a line, or if the rows of a state are
    /// not those of the mark: compacted, they would be.
    fn for_each_line(
        &mut self,
        file: &WrittenFile,
        end: u64,
        mut take: impl FnMut(&mut dyn Disk, u64, &[u8]) -> Result<(), FileError>,
    ) -> Result<(), FileError> {
        let path = self.layout.written_path(&file.name, file.is_state);
        let mut reader = LineReader::new(path.clone(), usize::MAX, 0);
        reader.open()?;
        let (mut rows, fingerprinter) = (CommittedStateFile::default(), self.fingerprinter());
        while let NextLine::Line { offset, bytes } = reader.next_line(end)? {
            let line = reader.line_bytes(&bytes);
            if file.is_state {
                rows.add_row(&fingerprinter, line);
            }
            take(&mut *self.disk, offset, line)?;
        }
        let found = match file.is_state {
            true if self.committed.state.get(&file.name) != Some(&rows) => {
                "its rows are not those that zeef wrote"
            }
            _ if reader.position() != end => "it does not end with a line",
            _ => return Ok(()),
        };
        Err(FileError::wrap("compact", &path)(io::Error::other(found)))
    }

    /// Puts the rewritten file in the file's place, unless that is done.
    pub(super) fn replace_file(&mut self, replace: &FileReplacement<'_>) -> Result<(), FileError> {
        let path = self.layout.written_path(&replace.name, replace.state);
        let new = self.layout.rewritten_path(&replace.name, replace.state);
        if is_there(&new)? {
            self.disk.rename(&new, &path)?;
            self.disk.sync_folder(path.parent().unwrap_or(&path))?;
        }
        Ok(())
    }
}
