//! `zeef run --directory DIR --follow`: raw files that come or grow meanwhile.
//!
//! Looks at names, lengths and times of all raw files every few seconds. When some are others than
//! at the last conversion, appends to `DIR/in` what is new, as a start does. A file of rows may be
//! half written: it is waited for until two looks in a row find all of them the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, anyhow};

use super::raw_folder::RawFolders;
use crate::daemon::clock::now_ms;
use crate::daemon::intake::IntakeSetup;
use crate::policy::catalogue::RecordKind;
use crate::transport::StopSignal;
use crate::transport::file::find_metadata;

/// How often to look at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How often to look whether the run has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// What tells that a file was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    length: u64,
    modified: Option<SystemTime>,
}

/// All raw files at some time.
type RawFilesSeen = BTreeMap<PathBuf, FileStamp>;

/// Brings into a directory what comes into its raw files while it is run.
#[derive(Debug)]
pub(in crate::cli) struct RawFollower {
    pub(in crate::cli) root: PathBuf,
    pub(in crate::cli) kinds: Vec<RecordKind>,
    pub(in crate::cli) intakes: Vec<IntakeSetup>,
}

/// A follower at work. Its end says whether a raw message was refused.
pub(in crate::cli) type RawFollowerThread = JoinHandle<anyhow::Result<bool>>;

impl RawFollower {
    /// Follows until `run` is requested to stop, or `finished`. Requests a stop of the run if it
    /// cannot go on.
    ///
    /// # Errors
    ///
    /// There is no thread to be had.
    pub(in crate::cli) fn spawn(
        self,
        run: StopSignal,
        finished: StopSignal,
    ) -> anyhow::Result<RawFollowerThread> {
        let is_over = move |run: &StopSignal| run.is_requested() || finished.is_requested();
        thread::Builder::new()
            .name("raw-files".to_owned())
            .spawn(move || {
                let followed = self.follow(&|| is_over(&run));
                if followed.is_err() {
                    run.request();
                }
                followed
            })
            .context("failed to start following raw files")
    }

    fn follow(&self, is_over: &dyn Fn() -> bool) -> anyhow::Result<bool> {
        let mut has_refusals = false;
        let mut converted = None;
        let mut before = None;
        let mut looked_at = Instant::now();
        while !is_over() {
            thread::sleep(POLL_INTERVAL);
            if looked_at.elapsed() < LOOK_INTERVAL {
                continue;
            }
            let raw = RawFolders::list(&self.root, &self.intakes, &self.kinds)?.followed();
            let seen = see_files(&raw)?;
            let is_due = is_due(&seen, before.as_ref(), converted.as_ref());
            if is_due && !raw.is_empty()? {
                match raw.append_changes(now_ms()) {
                    Ok(has_more) => {
                        has_refusals |= has_more;
                        converted = Some(seen.clone());
                    }
                    Err(error) if !raw.files().any(|path| is_gone(path)) => return Err(error),
                    // Somebody removed a file meanwhile.
                    Err(_) => {}
                }
            }
            before = Some(seen);
            looked_at = Instant::now();
        }
        Ok(has_refusals)
    }
}

/// # Errors
///
/// The follower could not go on.
pub(in crate::cli) fn join(thread: RawFollowerThread) -> anyhow::Result<bool> {
    thread.join().unwrap_or_else(|_| Err(anyhow!("following raw files broke off")))
}

/// Whether somebody removed a file; not where it cannot be looked at.
fn is_gone(path: &Path) -> bool {
    matches!(find_metadata(path), Ok(None))
}

/// A file that was removed meanwhile is left out.
fn see_files(raw: &RawFolders<'_>) -> anyhow::Result<RawFilesSeen> {
    let mut seen = RawFilesSeen::new();
    for path in raw.files() {
        let Some(metadata) = find_metadata(path)? else {
            continue;
        };
        let stamp = FileStamp { length: metadata.len(), modified: metadata.modified().ok() };
        seen.insert(path.clone(), stamp);
    }
    Ok(seen)
}

/// Whether there is something to convert, and no file of rows that may be half written.
fn is_due(
    seen: &RawFilesSeen,
    before: Option<&RawFilesSeen>,
    converted: Option<&RawFilesSeen>,
) -> bool {
    let rows_of = |files: &RawFilesSeen| -> RawFilesSeen {
        let is_rows = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "csv");
        files.iter().filter(|(path, _)| is_rows(path)).map(|(p, s)| (p.clone(), *s)).collect()
    };
    converted != Some(seen) && before.is_some_and(|before| rows_of(before) == rows_of(seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(all: &[(&str, u64)]) -> RawFilesSeen {
        let stamp = |length| FileStamp { length, modified: None };
        all.iter().map(|(name, length)| (PathBuf::from(name), stamp(*length))).collect()
    }

    #[test]
    fn raw_files_are_due_once_and_rows_once_they_are_whole() {
        let first = files(&[("a.csv", 10), ("b.ndjson", 10)]);
        let grown = files(&[("a.csv", 10), ("b.ndjson", 20)]);
        let half = files(&[("a.csv", 15), ("b.ndjson", 20)]);
        assert!(!is_due(&first, None, None));
        assert!(is_due(&first, Some(&first), None));
        assert!(!is_due(&first, Some(&first), Some(&first)));
        assert!(is_due(&grown, Some(&first), Some(&first)), "lines are whole or left");
        assert!(!is_due(&half, Some(&grown), Some(&grown)), "the rows are being written");
        assert!(is_due(&half, Some(&half), Some(&grown)));
    }
}
