//! When lines arrived: the run in which they first lay in their file.
//!
//! Files carry no timestamps. What lies in a file when a run begins arrived between that
//! run and the one before, and must have the same time whenever it is read again. So each
//! run records how far its sources extend before it hands out a line. With `follow`, which
//! may go on for years, each minute counts as a run.
//!
//! The mark has the hash of the file, as a changed time would let what was granted before an
//! erasure count again. A run knows what it wrote and the file's stamp after each write, so that it
//! reads the file again only if somebody else changed it: the file grows for ever.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::committed::CommittedStateFile;
use super::read_files::FileStamp;
use crate::message::AppendTime;
use crate::message::continuity::Fingerprinter;
use crate::transport::file::{FileError, FileMode, open_file};

/// How long a run lasts for a process that follows its sources.
const FOLLOW_RUN_MS: i64 = 60_000;

/// How far a source extended in a run, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RunEnd {
    end_byte: u64,
    run_ms: i64,
}

/// One line of the file.
#[derive(Debug, Deserialize, Serialize)]
struct RunEndText {
    topic: String,
    end: u64,
    ms: i64,
}

/// The known arrival times of one source's lines.
#[derive(Clone, Debug, Default)]
pub(super) struct ArrivalTimes {
    run_ends: Arc<[RunEnd]>,
    /// The time of the current run.
    current_run_ms: i64,
}

impl ArrivalTimes {
    /// Returns when the line that starts at `offset` arrived.
    pub(super) fn append_time(&self, offset: u64) -> AppendTime {
        let place = self.run_ends.partition_point(|run_end| run_end.end_byte <= offset);
        AppendTime {
            ms: self.run_ends.get(place).map_or(self.current_run_ms, |run_end| run_end.run_ms),
            is_exact: true,
        }
    }
}

/// How far the sources of a directory extended, run by run.
#[derive(Debug)]
pub(super) struct RunLog {
    path: PathBuf,
    /// By topic, ascending.
    ends_by_topic: BTreeMap<String, Arc<[RunEnd]>>,
    current_run_ms: i64,
    follow: bool,
    fingerprinter: Fingerprinter,
    /// What the file has, as this run read and wrote it.
    written: CommittedStateFile,
    /// The stamp of the file with exactly that; `None` if the file has to be read to know it.
    stamp: Option<FileStamp>,
}

/// Locks the log of the current run. It has no state between two writes.
pub(super) fn lock_run_log(run_log: &Mutex<RunLog>) -> MutexGuard<'_, RunLog> {
    run_log.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RunLog {
    /// Begins a run, later than every one before.
    pub(super) fn open(
        path: &Path,
        fingerprinter: Fingerprinter,
        (now_ms, follow): (i64, bool),
    ) -> Result<RunLog, FileError> {
        let found = RunFile::read(path, Some(&fingerprinter))?;
        if let Some(length) = found.torn_at {
            // The next write begins a line.
            let opened = open_file(path, FileMode::for_file(false), false)?;
            let cut = opened.file.set_len(length);
            cut.map_err(FileError::wrap("shorten", path))?;
        }
        let run_log = found.into_run_log(path, now_ms, follow);
        Ok(RunLog { fingerprinter, ..run_log })
    }

    /// As [`open`](Self::open), for readers: writes nothing.
    pub(super) fn open_read_only(path: &Path, now_ms: i64) -> Result<RunLog, FileError> {
        Ok(RunFile::read(path, None)?.into_run_log(path, now_ms, false))
    }

    /// Returns how far the file says that each source extended.
    pub(super) fn read_ends(path: &Path) -> Result<BTreeMap<String, u64>, FileError> {
        let found = RunFile::read(path, None)?.ends_by_topic.into_iter();
        let last = |run_ends: Vec<RunEnd>| run_ends.last().map_or(0, |run_end| run_end.end_byte);
        Ok(found.map(|(topic, run_ends)| (topic, last(run_ends))).collect())
    }

    /// What the file has, as this run read and wrote it.
    pub(super) fn written(&self) -> CommittedStateFile {
        self.written
    }

    /// How far each source extended, as this run knows.
    pub(super) fn ends(&self) -> BTreeMap<String, u64> {
        let last = |ends: &[RunEnd]| ends.last().map_or(0, |run_end| run_end.end_byte);
        self.ends_by_topic.iter().map(|(topic, ends)| (topic.clone(), last(ends))).collect()
    }

    /// Returns whether nobody but this run has changed the file since it was compared, as far as
    /// its stamp tells.
    pub(super) fn is_as_written(&self) -> Result<bool, FileError> {
        Ok(self.stamp.is_some() && FileStamp::read(&self.path)? == self.stamp)
    }

    /// Keeps a stamp from before a comparison that found what this run wrote.
    pub(super) fn set_compared(&mut self, stamp: Option<FileStamp>) {
        self.stamp = stamp;
    }

    /// Records that a source extends to `end`. Returns when its lines arrived.
    pub(super) fn record_end(
        &mut self,
        topic: &str,
        end: u64,
        now_ms: i64,
    ) -> Result<ArrivalTimes, FileError> {
        let known = self.ends_by_topic.get(topic).cloned().unwrap_or_default();
        let last = known.last().map_or(0, |run_end| run_end.end_byte);
        if end > last {
            if self.follow && now_ms.saturating_sub(self.current_run_ms) >= FOLLOW_RUN_MS {
                self.current_run_ms = now_ms;
            }
            let ms = self.current_run_ms;
            self.append_line(topic, RunEnd { end_byte: end, run_ms: ms })?;
            let mut run_ends = known.to_vec();
            push_run_end(&mut run_ends, RunEnd { end_byte: end, run_ms: ms });
            self.ends_by_topic.insert(topic.to_owned(), run_ends.into());
        }
        Ok(self.arrival_times(topic))
    }

    pub(super) fn arrival_times(&self, topic: &str) -> ArrivalTimes {
        ArrivalTimes {
            run_ends: self.ends_by_topic.get(topic).cloned().unwrap_or_default(),
            current_run_ms: self.current_run_ms,
        }
    }

    fn append_line(&mut self, topic: &str, run_end: RunEnd) -> Result<(), FileError> {
        let line = serde_json::to_string(&RunEndText {
            topic: topic.to_owned(),
            end: run_end.end_byte,
            ms: run_end.run_ms,
        });
        let wrap = FileError::wrap("write", &self.path);
        let line = match line {
            Ok(line) => format!("{line}\n"),
            Err(error) => return Err(wrap(std::io::Error::other(error))),
        };
        // What somebody else changed before this write is not taken for a part of it.
        let was_as_written = self.is_as_written()?;
        self.stamp = None;
        let mut file = open_file(&self.path, FileMode::for_file(false), false)?.file;
        let mut write = || {
            file.seek(SeekFrom::End(0))?;
            file.write_all(line.as_bytes())?;
            file.sync_data()
        };
        write().map_err(wrap)?;
        self.written.add_lines(&self.fingerprinter, line.as_bytes());
        if was_as_written {
            self.stamp = FileStamp::read(&self.path)?;
        }
        Ok(())
    }
}

/// The content of the file.
struct RunFile {
    ends_by_topic: BTreeMap<String, Vec<RunEnd>>,
    last_run_ms: i64,
    /// Where a torn last line begins.
    torn_at: Option<u64>,
    /// All whole lines; nothing if they were not to be hashed.
    written: CommittedStateFile,
}

impl RunFile {
    fn read(path: &Path, fingerprinter: Option<&Fingerprinter>) -> Result<RunFile, FileError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(FileError::wrap("read", path)(error)),
        };
        // A torn line was written for lines that were never handed out.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut found = RunFile {
            ends_by_topic: BTreeMap::new(),
            last_run_ms: i64::MIN,
            torn_at: (whole.len() < text.len()).then_some(whole.len() as u64),
            written: CommittedStateFile::default(),
        };
        if let Some(fingerprinter) = fingerprinter {
            found.written.add_lines(fingerprinter, whole.as_bytes());
        }
        for line in whole.lines() {
            let read: RunEndText = serde_json::from_str(line).map_err(|_| {
                FileError::wrap("read", path)(std::io::Error::other("it is damaged"))
            })?;
            let RunEndText { topic, end, ms } = read;
            found.last_run_ms = found.last_run_ms.max(ms);
            push_run_end(
                found.ends_by_topic.entry(topic).or_default(),
                RunEnd { end_byte: end, run_ms: ms },
            );
        }
        Ok(found)
    }

    fn into_run_log(self, path: &Path, now_ms: i64, follow: bool) -> RunLog {
        let known = self.ends_by_topic.into_iter();
        RunLog {
            path: path.to_owned(),
            ends_by_topic: known.map(|(topic, run_ends)| (topic, run_ends.into())).collect(),
            current_run_ms: now_ms.max(self.last_run_ms.saturating_add(1)),
            follow,
            fingerprinter: Fingerprinter::new([0; 4]),
            written: self.written,
            stamp: None,
        }
    }
}

/// Adds how far a source extended; in one run only the farthest counts.
fn push_run_end(run_ends: &mut Vec<RunEnd>, run_end: RunEnd) {
    match run_ends.last_mut() {
        Some(last) if last.run_ms == run_end.run_ms => {
            last.end_byte = last.end_byte.max(run_end.end_byte)
        }
        Some(last) if last.end_byte >= run_end.end_byte => {}
        _ => run_ends.push(run_end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append_ms(runs: &RunLog, offset: u64) -> i64 {
        runs.arrival_times("loan").append_time(offset).ms
    }

    #[test]
    fn run_log_line_has_time_of_first_run_that_saw_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs");
        let mut runs = RunLog::open(&path, Fingerprinter::new([0; 4]), (1_000, false)).unwrap();
        assert_eq!(append_ms(&runs, 0), 1_000, "of the run that goes on");
        runs.record_end("loan", 10, 1_000).unwrap();
        runs.record_end("loan", 20, 90_000).unwrap();
        let mut runs = RunLog::open(&path, Fingerprinter::new([0; 4]), (2_000, false)).unwrap();
        assert_eq!([0, 19, 20].map(|offset| append_ms(&runs, offset)), [1_000, 1_000, 2_000]);
        runs.record_end("loan", 30, 2_000).unwrap();
        // A clock that goes back makes no later run an earlier one.
        let runs = RunLog::open(&path, Fingerprinter::new([0; 4]), (5, false)).unwrap();
        assert_eq!([0, 20, 30].map(|offset| append_ms(&runs, offset)), [1_000, 2_000, 2_001]);
    }

    #[test]
    fn run_log_follow_begins_a_new_run_each_minute() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs");
        let mut runs = RunLog::open(&path, Fingerprinter::new([0; 4]), (1_000, true)).unwrap();
        for (end, now_ms) in [(10, 2_000), (20, 60_999), (30, 61_000), (40, 61_001)] {
            runs.record_end("loan", end, now_ms).unwrap();
        }
        let want = [1_000, 1_000, 61_000, 61_000];
        assert_eq!([0, 10, 20, 30].map(|offset| append_ms(&runs, offset)), want);
    }

    #[test]
    fn run_log_torn_last_line_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs");
        let mut runs = RunLog::open(&path, Fingerprinter::new([0; 4]), (1_000, false)).unwrap();
        runs.record_end("loan", 10, 1_000).unwrap();
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("{\"topic\":\"lo");
        fs::write(&path, &text).unwrap();
        let mut runs = RunLog::open(&path, Fingerprinter::new([0; 4]), (2_000, false)).unwrap();
        runs.record_end("loan", 20, 2_000).unwrap();
        let runs = RunLog::open(&path, Fingerprinter::new([0; 4]), (3_000, false)).unwrap();
        assert_eq!([0, 10, 20].map(|offset| append_ms(&runs, offset)), [1_000, 2_000, 3_000]);
    }
}
