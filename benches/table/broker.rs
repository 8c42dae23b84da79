//! A real Kafka, started for the bench by the script that tests use too.

use std::path::Path;
use std::process::Command;

/// A broker and the folder that it lives in.
pub(crate) struct Broker {
    pub(crate) address: String,
    folder: Option<tempfile::TempDir>,
}

const SCRIPT: &str = "deploy/dev/kafka";

impl Broker {
    /// Uses the one at `address`, or starts one that ends with this process.
    pub(crate) fn at(address: Option<&str>) -> Broker {
        if let Some(address) = address {
            return Broker {
                address: address.to_owned(),
                folder: None,
            };
        }
        let folder = tempfile::tempdir().unwrap();
        let parent = std::process::id().to_string();
        let started = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(SCRIPT))
            .arg("start")
            .arg(folder.path())
            .args(["--with-parent", &parent])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&started.stderr);
        assert!(started.status.success(), "no broker: {said}");
        Broker {
            address: String::from_utf8(started.stdout).unwrap().trim().to_owned(),
            folder: Some(folder),
        }
    }

    /// The bytes of a topic's log, where the broker is our own.
    pub(crate) fn topic_bytes(&self, topic: &str) -> Option<f64> {
        let data = self.folder.as_ref()?.path().join("data");
        let mut sum = 0;
        for partition in std::fs::read_dir(data).unwrap().flatten() {
            let name = partition.file_name().to_string_lossy().into_owned();
            if name.rsplit_once('-').is_none_or(|(of, _)| of != topic) {
                continue;
            }
            for file in std::fs::read_dir(partition.path()).unwrap().flatten() {
                if file
                    .path()
                    .extension()
                    .is_some_and(|ending| ending == "log")
                {
                    sum += file.metadata().unwrap().len();
                }
            }
        }
        Some(sum as f64)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(SCRIPT))
                .arg("stop")
                .arg(folder.path())
                .output();
        }
    }
}
