//! When lines came: in which run they lay in their file first.
//!
//! A file tells no time. What lies in it when a run begins came before that run,
//! and after the runs before; whoever reads a line again, in whatever run, has to
//! find the same. So each run writes down how far the sources went that it saw,
//! before it hands out a line. With `follow`, which may go on for years, what
//! came in one minute counts as one run.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::transport::Appended;
use crate::transport::file::{Failure, Mode, open_file};

/// As long as this a run of a process that follows its sources lasts.
const RUN_MS: i64 = 60_000;

/// So far a source went in a run, and when that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reach {
    end: u64,
    ms: i64,
}

/// One line of the file.
#[derive(Debug, Deserialize, Serialize)]
struct ReachText {
    topic: String,
    end: u64,
    ms: i64,
}

/// When the lines of one source came, as far as it is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    reaches: Arc<[Reach]>,
    /// The time of the run that goes on.
    now_ms: i64,
}

impl Times {
    /// When the line came that starts at `offset`.
    pub(super) fn of(&self, offset: u64) -> Appended {
        let place = self.reaches.partition_point(|reach| reach.end <= offset);
        Appended {
            ms: self
                .reaches
                .get(place)
                .map_or(self.now_ms, |reach| reach.ms),
            exact: true,
        }
    }
}

/// How far the sources of a directory went, run by run.
#[derive(Debug)]
pub(super) struct Runs {
    path: PathBuf,
    /// By topic, rising.
    known: BTreeMap<String, Arc<[Reach]>>,
    now_ms: i64,
    follow: bool,
}

impl Runs {
    /// Begins a run at `now_ms`, which is later than every one before.
    pub(super) fn open(path: &Path, now_ms: i64, follow: bool) -> Result<Runs, Failure> {
        let found = Found::read(path)?;
        if let Some(length) = found.torn_at {
            // What comes next begins a line.
            let opened = open_file(path, Mode::file(false), false)?;
            let cut = opened.file.set_len(length);
            cut.map_err(Failure::to("shorten", path))?;
        }
        Ok(found.runs(path, now_ms, follow))
    }

    /// The same for who only looks, beside whatever runs: nothing is written.
    pub(super) fn look(path: &Path, now_ms: i64) -> Result<Runs, Failure> {
        Ok(Found::read(path)?.runs(path, now_ms, false))
    }

    /// Notes that a source goes as far as `end`; says when its lines came.
    pub(super) fn note(&mut self, topic: &str, end: u64, now_ms: i64) -> Result<Times, Failure> {
        let known = self.known.get(topic).cloned().unwrap_or_default();
        let last = known.last().map_or(0, |reach| reach.end);
        if end > last {
            if self.follow && now_ms.saturating_sub(self.now_ms) >= RUN_MS {
                self.now_ms = now_ms;
            }
            let ms = self.now_ms;
            self.append(topic, Reach { end, ms })?;
            let mut reaches = known.to_vec();
            put(&mut reaches, Reach { end, ms });
            self.known.insert(topic.to_owned(), reaches.into());
        }
        Ok(self.times(topic))
    }

    /// When the lines of a source came.
    pub(super) fn times(&self, topic: &str) -> Times {
        Times {
            reaches: self.known.get(topic).cloned().unwrap_or_default(),
            now_ms: self.now_ms,
        }
    }

    fn append(&self, topic: &str, reach: Reach) -> Result<(), Failure> {
        let line = serde_json::to_string(&ReachText {
            topic: topic.to_owned(),
            end: reach.end,
            ms: reach.ms,
        });
        let mut file = open_file(&self.path, Mode::file(false), false)?.file;
        let written = line.map_err(std::io::Error::other).and_then(|line| {
            file.seek(SeekFrom::End(0))?;
            file.write_all(format!("{line}\n").as_bytes())?;
            file.sync_data()
        });
        written.map_err(Failure::to("write", &self.path))
    }
}

/// What the file of the runs says.
struct Found {
    known: BTreeMap<String, Vec<Reach>>,
    /// The time of the latest run.
    last_ms: i64,
    /// Where a last line begins that was broken off.
    torn_at: Option<u64>,
}

impl Found {
    fn read(path: &Path) -> Result<Found, Failure> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Failure::to("read", path)(error)),
        };
        // A line that was broken off was written for nothing that was read.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut found = Found {
            known: BTreeMap::new(),
            last_ms: i64::MIN,
            torn_at: (whole.len() < text.len()).then_some(whole.len() as u64),
        };
        for line in whole.lines() {
            let read: ReachText = serde_json::from_str(line)
                .map_err(|_| Failure::to("read", path)(std::io::Error::other("it is damaged")))?;
            let ReachText { topic, end, ms } = read;
            found.last_ms = found.last_ms.max(ms);
            put(found.known.entry(topic).or_default(), Reach { end, ms });
        }
        Ok(found)
    }

    fn runs(self, path: &Path, now_ms: i64, follow: bool) -> Runs {
        let known = self.known.into_iter();
        Runs {
            path: path.to_owned(),
            known: known
                .map(|(topic, reaches)| (topic, reaches.into()))
                .collect(),
            now_ms: now_ms.max(self.last_ms.saturating_add(1)),
            follow,
        }
    }
}

/// Adds how far a source went; in one run only the farthest counts.
fn put(reaches: &mut Vec<Reach>, reach: Reach) {
    match reaches.last_mut() {
        Some(last) if last.ms == reach.ms => last.end = last.end.max(reach.end),
        Some(last) if last.end >= reach.end => {}
        _ => reaches.push(reach),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(runs: &Runs, offset: u64) -> i64 {
        runs.times("loan").of(offset).ms
    }

    #[test]
    fn a_line_came_in_the_first_run_that_saw_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs");
        let mut runs = Runs::open(&path, 1_000, false).unwrap();
        assert_eq!(ms(&runs, 0), 1_000, "of the run that goes on");
        runs.note("loan", 10, 1_000).unwrap();
        runs.note("loan", 20, 90_000).unwrap();
        let mut runs = Runs::open(&path, 2_000, false).unwrap();
        assert_eq!(
            [0, 19, 20].map(|offset| ms(&runs, offset)),
            [1_000, 1_000, 2_000]
        );
        runs.note("loan", 30, 2_000).unwrap();
        // A clock that goes back makes no later run an earlier one.
        let runs = Runs::open(&path, 5, false).unwrap();
        assert_eq!(
            [0, 20, 30].map(|offset| ms(&runs, offset)),
            [1_000, 2_000, 2_001]
        );
    }

    #[test]
    fn a_run_that_follows_is_a_minute_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs");
        let mut runs = Runs::open(&path, 1_000, true).unwrap();
        for (end, now_ms) in [(10, 2_000), (20, 60_999), (30, 61_000), (40, 61_001)] {
            runs.note("loan", end, now_ms).unwrap();
        }
        let want = [1_000, 1_000, 61_000, 61_000];
        assert_eq!([0, 10, 20, 30].map(|offset| ms(&runs, offset)), want);
    }

    #[test]
    fn a_line_that_was_broken_off_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs");
        let mut runs = Runs::open(&path, 1_000, false).unwrap();
        runs.note("loan", 10, 1_000).unwrap();
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("{\"topic\":\"lo");
        fs::write(&path, &text).unwrap();
        let mut runs = Runs::open(&path, 2_000, false).unwrap();
        runs.note("loan", 20, 2_000).unwrap();
        let runs = Runs::open(&path, 3_000, false).unwrap();
        assert_eq!(
            [0, 10, 20].map(|offset| ms(&runs, offset)),
            [1_000, 2_000, 3_000]
        );
    }
}
