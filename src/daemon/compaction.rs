//! Compacts a directory while a run follows it.
//!
//! A bounded run compacts at its end. A following run may go on for years, and retracted
//! values must not stay above their nulls that long.

use std::io;
use std::thread::{Builder, JoinHandle, sleep};
use std::time::{Duration, Instant};

use crate::message::Fault;
use crate::transport::StopSignal;
use crate::transport::directory::Directory;

/// How often to compact if something was retracted: such a value stays for less than an
/// hour.
pub const COMPACTION_INTERVAL: Duration = Duration::from_secs(1_800);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Compacts `directory` beside its lanes: at once, then at every interval, until
/// `finished`.
///
/// # Errors
///
/// The thread cannot be spawned.
pub fn spawn_compaction(
    directory: Directory,
    interval: Duration,
    stop: StopSignal,
) -> io::Result<JoinHandle<()>> {
    let builder = Builder::new().name("compaction".to_owned());
    builder.spawn(move || {
        while !stop.is_requested() {
            log_compaction(directory.compact_if_due().map(|files| files.len()));
            let next = Instant::now() + interval;
            while Instant::now() < next && !stop.is_requested() {
                sleep(POLL_INTERVAL.min(interval));
            }
        }
    })
}

/// Logs the outcome. A disk fault also stops the lanes at their next commit; here it is
/// retried.
fn log_compaction(done: Result<usize, Fault>) {
    match done {
        Ok(0) => {}
        Ok(files) => tracing::info!(files, "compacted"),
        Err(fault) => tracing::warn!(
            %fault,
            "failed to compact: what was taken back stays in an output until the next attempt"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::message::continuity::Fingerprinter;
    use crate::message::{LanePlan, Outbox, OutputId, OutputPlan, OutputRole};
    use crate::transport::Transport;
    use crate::transport::directory::{DirectorySettings, DirectoryTransport};

    const TICK: Duration = Duration::from_millis(5);

    fn open_following(root: &Path) -> Directory {
        fs::create_dir(root.join("in")).unwrap();
        let prints = Fingerprinter::new([1, 2, 3, 4]);
        let settings = DirectorySettings { follow: true, ..DirectorySettings::new(root, prints) };
        Directory::open(settings).unwrap()
    }

    fn open_lane(directory: &Directory) -> DirectoryTransport {
        let plan = LanePlan {
            name: "main".to_owned(),
            sources: Vec::new(),
            outputs: vec![OutputPlan {
                topic: "out.a".to_owned(),
                owner: "a".to_owned(),
                has_day_timestamps: false,
                version_override: None,
                contract_version: None,
                encoding: None,
                role: OutputRole::Recipient,
            }],
            policy_version: "1".to_owned(),
            fingerprinter: None,
            forget_offset_totals: Vec::new(),
            known_former_topics: BTreeSet::new(),
            configured_topics: None,
            intake: None,
        };
        directory.lane_transport(&plan, StopSignal::default()).unwrap()
    }

    /// Commits a value of a key, or a null.
    fn commit_value(lane: &mut DirectoryTransport, key: &str, value: Option<&str>) {
        let mut outbox = Outbox::default();
        match value {
            Some(value) => outbox.push(OutputId(0), None, Some(key.as_bytes()), |out| {
                out.extend_from_slice(value.as_bytes());
            }),
            None => outbox.push_tombstone(OutputId(0), None, key.as_bytes()),
        }
        lane.publish(&outbox, 0).unwrap();
        lane.commit().unwrap();
    }

    /// Beside a lane that keeps writing, every retracted value is gone soon, and all others
    /// stay.
    #[test]
    fn compaction_removes_retracted_values_during_followed_run() {
        let folder = tempfile::tempdir().unwrap();
        let directory = open_following(folder.path());
        let output = folder.path().join("out/a/out.a.ndjson");
        let text = || fs::read_to_string(&output).unwrap_or_default();
        let over = StopSignal::default();
        let mut lane = open_lane(&directory);
        let thread = spawn_compaction(directory.clone(), TICK, over.clone()).unwrap();
        for round in 0..60 {
            let (kept, gone) = (format!("kept-{round}"), format!("gone-{round}"));
            commit_value(&mut lane, &kept, Some(&format!("\"stays {round}\"")));
            commit_value(&mut lane, &gone, Some(&format!("\"erased {round}\"")));
            commit_value(&mut lane, &gone, None);
            if round % 20 == 19 {
                let waited = Instant::now();
                while text().contains("erased") {
                    assert!(waited.elapsed() < Duration::from_secs(60), "{}", text());
                    sleep(TICK);
                }
            }
        }
        over.request();
        thread.join().unwrap();
        for round in 0..60 {
            let kept = format!("{{\"key\":\"kept-{round}\",\"value\":\"stays {round}\"}}\n");
            assert_eq!(text().matches(&kept).count(), 1, "{kept}");
        }
        assert_eq!(text().matches("null").count(), 60);
    }

    #[test]
    fn compaction_interval_is_below_one_hour() {
        assert!(COMPACTION_INTERVAL < Duration::from_secs(3_600));
    }
}
