//! The compaction of a directory while a run follows it.
//!
//! A run that ends compacts at its end. One that follows may go on for years, and what
//! was taken back must not stand above its null for as long as that.

use std::io;
use std::thread::{Builder, JoinHandle, sleep};
use std::time::{Duration, Instant};

use crate::transport::directory::Directory;
use crate::transport::{Fault, Stop};

/// How often it is done, where something was taken back: a value that was stays for
/// less than an hour.
pub const EVERY: Duration = Duration::from_secs(1_800);
const NAP: Duration = Duration::from_millis(100);

/// Compacts `directory` beside its lanes: at once, and then once in `every`, until `over`.
///
/// # Errors
///
/// There is no thread for it.
pub fn start(directory: Directory, every: Duration, over: Stop) -> io::Result<JoinHandle<()>> {
    let builder = Builder::new().name("compaction".to_owned());
    builder.spawn(move || {
        while !over.asked() {
            tell(directory.compact_if_due().map(|files| files.len()));
            let next = Instant::now() + every;
            while Instant::now() < next && !over.asked() {
                sleep(NAP.min(every));
            }
        }
    })
}

/// What became of it. A fault of the disk is the lanes' as well: they stop at their next
/// commit, and here it is tried again.
fn tell(done: Result<usize, Fault>) {
    match done {
        Ok(0) => {}
        Ok(files) => tracing::info!(files, "compacted"),
        Err(fault) => tracing::warn!(
            %fault,
            "failed to compact: what was taken back still stands in an output; it is tried again"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::transport::continuity::Fingerprinter;
    use crate::transport::directory::{DirectorySettings, DirectoryTransport};
    use crate::transport::{LanePlan, Outbox, OutputId, OutputPlan, OutputRole, Transport};

    const TICK: Duration = Duration::from_millis(5);

    fn following(root: &Path) -> Directory {
        fs::create_dir(root.join("in")).unwrap();
        let prints = Fingerprinter::new([1, 2, 3, 4]);
        let settings = DirectorySettings {
            follow: true,
            ..DirectorySettings::new(root, prints)
        };
        Directory::open(settings).unwrap()
    }

    fn lane(directory: &Directory) -> DirectoryTransport {
        let plan = LanePlan {
            name: "main".to_owned(),
            sources: Vec::new(),
            outputs: vec![OutputPlan {
                topic: "out.a".to_owned(),
                owner: "a".to_owned(),
                day_only: false,
                version: None,
                role: OutputRole::Recipient,
            }],
            policy_version: "1".to_owned(),
            prints: None,
            forgotten: Vec::new(),
        };
        directory.transport(&plan, Stop::default()).unwrap()
    }

    /// Commits a value of a key, or a null.
    fn put(lane: &mut DirectoryTransport, key: &str, value: Option<&str>) {
        let mut outbox = Outbox::default();
        match value {
            Some(value) => outbox.push(OutputId(0), None, Some(key.as_bytes()), |out| {
                out.extend_from_slice(value.as_bytes());
            }),
            None => outbox.push_null(OutputId(0), None, key.as_bytes()),
        }
        lane.publish(&outbox, 0).unwrap();
        lane.commit().unwrap();
    }

    /// Beside a lane that goes on writing, every value that was taken back is gone soon
    /// after, and all that was not stays.
    #[test]
    fn what_was_taken_back_goes_while_a_run_follows() {
        let folder = tempfile::tempdir().unwrap();
        let directory = following(folder.path());
        let output = folder.path().join("out/a/out.a.ndjson");
        let text = || fs::read_to_string(&output).unwrap_or_default();
        let over = Stop::default();
        let mut lane = lane(&directory);
        let thread = start(directory.clone(), TICK, over.clone()).unwrap();
        for round in 0..60 {
            let (kept, gone) = (format!("kept-{round}"), format!("gone-{round}"));
            put(&mut lane, &kept, Some(&format!("\"stays {round}\"")));
            put(&mut lane, &gone, Some(&format!("\"erased {round}\"")));
            put(&mut lane, &gone, None);
            if round % 20 == 19 {
                let waited = Instant::now();
                while text().contains("erased") {
                    assert!(waited.elapsed() < Duration::from_secs(60), "{}", text());
                    sleep(TICK);
                }
            }
        }
        over.ask();
        thread.join().unwrap();
        for round in 0..60 {
            let kept = format!("{{\"key\":\"kept-{round}\",\"value\":\"stays {round}\"}}\n");
            assert_eq!(text().matches(&kept).count(), 1, "{kept}");
        }
        assert_eq!(text().matches("null").count(), 60);
    }

    #[test]
    fn it_is_done_often_enough() {
        assert!(EVERY < Duration::from_secs(3_600));
    }
}
