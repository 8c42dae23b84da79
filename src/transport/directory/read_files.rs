//! What was found in files, so that a file that has not changed since need not be read again.
//!
//! A file counts as unchanged while device, inode, length and both of its times are the same.
//! The time of modification alone can be set back (`touch -r`); that of the last change of the
//! inode cannot, but for a clock that is set back. A second change within one tick of the clock
//! leaves it as it is, so a file is known only once its last change is [`SETTLED_AFTER_NS`] old.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::committed::CommittedStateFile;
use crate::transport::file::{FileError, find_metadata};

/// More than the coarsest clock of a file system.
const SETTLED_AFTER_NS: i128 = 2_000_000_000;
/// How often files are read whatever their times say: a clock may have been set back, and a write
/// through a memory map may come without a time of its own.
pub(super) const FULL_READ_INTERVAL: Duration = Duration::from_secs(3_600);

/// What tells one content of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileStamp {
    device: u64,
    inode: u64,
    length: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl FileStamp {
    /// Returns the stamp of a file, or `None` if it does not exist.
    pub(super) fn read(path: &Path) -> Result<Option<FileStamp>, FileError> {
        let Some(found) = find_metadata(path)? else {
            return Ok(None);
        };
        let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        Ok(Some(FileStamp {
            device: found.dev(),
            inode: found.ino(),
            length: found.len(),
            modified_ns: ns(found.mtime(), found.mtime_nsec()),
            changed_ns: ns(found.ctime(), found.ctime_nsec()),
        }))
    }

    /// Whether a change after `now_ns` has another time than the last one.
    fn is_settled(&self, now_ns: i128) -> bool {
        self.changed_ns <= now_ns - SETTLED_AFTER_NS
    }
}

/// What was found in files up to a byte of each.
#[derive(Debug)]
struct FoundInFiles<T>(BTreeMap<PathBuf, (FileStamp, BTreeMap<u64, T>)>);

impl<T> Default for FoundInFiles<T> {
    fn default() -> Self {
        FoundInFiles(BTreeMap::new())
    }
}

impl<T: Clone> FoundInFiles<T> {
    /// Returns what `read` finds in a file before the byte `end`, and whether it was read.
    fn find(
        &mut self,
        (path, end): (&Path, u64),
        now_ns: i128,
        read: impl FnOnce() -> Result<T, FileError>,
    ) -> Result<(T, bool), FileError> {
        let stamp = FileStamp::read(path)?;
        let known = self.0.get(path).filter(|(known, _)| Some(*known) == stamp);
        if let Some(found) = known.and_then(|(_, by_end)| by_end.get(&end)) {
            return Ok((found.clone(), false));
        }
        if known.is_none() {
            self.0.remove(path);
        }
        // Of the stamp from before the read: a change meanwhile makes another one.
        let found = read()?;
        if let Some(stamp) = stamp.filter(|stamp| stamp.is_settled(now_ns)) {
            let known = self.0.entry(path.to_owned());
            let (_, by_end) = known.or_insert_with(|| (stamp, BTreeMap::new()));
            by_end.insert(end, found.clone());
        }
        Ok((found, true))
    }
}

/// What the last comparisons of a directory with its mark found in its files.
#[derive(Debug)]
pub(super) struct ReadFiles {
    states: FoundInFiles<Option<CommittedStateFile>>,
    gate_logs: FoundInFiles<Option<u64>>,
    /// The time of the current comparison.
    now_ns: i128,
    last_full_read: Option<Instant>,
    /// The current comparison takes nothing as known.
    pub(super) is_full: bool,
    /// How many files the current comparison has read.
    pub(super) read_count: usize,
}

impl ReadFiles {
    pub(super) fn new() -> ReadFiles {
        ReadFiles {
            states: FoundInFiles::default(),
            gate_logs: FoundInFiles::default(),
            now_ns: 0,
            last_full_read: None,
            is_full: true,
            read_count: 0,
        }
    }

    /// Returns the stamp of a file that is about to be read, if a later change will have another.
    pub(super) fn settled_stamp(&self, path: &Path) -> Result<Option<FileStamp>, FileError> {
        Ok(FileStamp::read(path)?.filter(|stamp| stamp.is_settled(self.now_ns)))
    }

    /// Begins a comparison. Forgets everything if that was not done for
    /// [`FULL_READ_INTERVAL`].
    pub(super) fn begin_comparison(&mut self, now_ns: i128) {
        self.is_full = self.last_full_read.is_none_or(|last| last.elapsed() >= FULL_READ_INTERVAL);
        if self.is_full {
            *self = ReadFiles::new();
            self.last_full_read = Some(Instant::now());
        }
        self.now_ns = now_ns;
        self.read_count = 0;
    }

    /// Returns what `read` finds in a state or a file of the ledger before the byte `end`.
    pub(super) fn find_state(
        &mut self,
        file: (&Path, u64),
        read: impl FnOnce() -> Result<Option<CommittedStateFile>, FileError>,
    ) -> Result<Option<CommittedStateFile>, FileError> {
        let (found, is_read) = self.states.find(file, self.now_ns, read)?;
        self.read_count += usize::from(is_read);
        Ok(found)
    }

    /// Returns the hash that `read` finds of a gate's lines before the byte `end`.
    pub(super) fn find_gate_log(
        &mut self,
        file: (&Path, u64),
        read: impl FnOnce() -> Result<Option<u64>, FileError>,
    ) -> Result<Option<u64>, FileError> {
        let (found, is_read) = self.gate_logs.find(file, self.now_ns, read)?;
        self.read_count += usize::from(is_read);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    fn now_ns() -> i128 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i128::try_from(since.as_nanos()).unwrap()
    }

    /// Reads the whole file unless it is known; returns its text and whether it was read.
    fn find(known: &mut FoundInFiles<String>, path: &Path, now_ns: i128) -> (String, bool) {
        let read = || Ok(fs::read_to_string(path).unwrap_or_default());
        known.find((path, 1), now_ns, read).unwrap()
    }

    #[test]
    fn file_is_read_again_unless_nothing_changed_since_a_settled_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut known = FoundInFiles::default();
        assert_eq!(find(&mut known, &path, now_ns()), (String::new(), true), "none is there");
        fs::write(&path, "one").unwrap();
        let times = fs::metadata(&path).unwrap();
        let later = now_ns() + 2 * SETTLED_AFTER_NS;
        // Within a tick of its last change nothing is known.
        for _ in 0..2 {
            assert_eq!(find(&mut known, &path, now_ns()), ("one".to_owned(), true));
        }
        assert_eq!(find(&mut known, &path, later), ("one".to_owned(), true));
        assert_eq!(find(&mut known, &path, later), ("one".to_owned(), false));
        // Another end of the same content, and the first one is still known.
        known.find((&path, 2), later, || Ok("on".to_owned())).unwrap();
        assert_eq!(find(&mut known, &path, later), ("one".to_owned(), false));
        // In place, of the same length, and with the time of modification set back.
        fs::write(&path, "two").unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(times.modified().unwrap()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), times.modified().unwrap());
        assert_eq!(find(&mut known, &path, later), ("two".to_owned(), true));
        assert_eq!(find(&mut known, &path, later), ("two".to_owned(), false));
        // Another file of the same name.
        let other = folder.path().join("other");
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(find(&mut known, &path, later), ("two".to_owned(), true));
        fs::remove_file(&path).unwrap();
        assert_eq!(find(&mut known, &path, later), (String::new(), true));
    }

    #[test]
    fn every_file_is_read_once_within_the_full_read_interval() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "one").unwrap();
        let later = now_ns() + 2 * SETTLED_AFTER_NS;
        let mut files = ReadFiles::new();
        let count = |files: &mut ReadFiles| {
            files.begin_comparison(later);
            files.find_gate_log((&path, 3), || Ok(Some(7))).unwrap();
            files.read_count
        };
        assert_eq!([count(&mut files), count(&mut files)], [1, 0]);
        files.last_full_read =
            files.last_full_read.and_then(|at| at.checked_sub(FULL_READ_INTERVAL));
        assert_eq!([count(&mut files), count(&mut files)], [1, 0]);
    }
}
