//! The directory transport under kill -9, as a process: what is in `out/` at
//! the end is what an undisturbed run writes, to the byte.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where something is not as expected"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use zeef_test_kit::config::copy_dir;
use zeef_test_kit::process;

fn zeef_command(arguments: &[&str]) -> Command {
    let mut command = process::zeef_command(env!("CARGO_BIN_EXE_zeef"), arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn run_command(config: &str, root: &Path) -> Command {
    zeef_command(&["run", "--config", config, "--directory", root.to_str().unwrap()])
}

/// Every output but the dead letters, which carry the time of their batch.
fn output_files(root: &Path) -> BTreeMap<String, String> {
    let list = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let owners = list(&root.join("out")).filter(|owner| !owner.ends_with("zeef"));
    owners
        .flat_map(|owner| list(&owner))
        .map(|path| (path.display().to_string(), path))
        .map(|(name, path)| (name.rsplit('/').next().unwrap().to_owned(), path))
        .map(|(name, path)| (name, fs::read_to_string(path).unwrap()))
        .collect()
}

fn count_dead_letters(root: &Path) -> usize {
    let path = root.join("out/zeef/zeef.dead-letters.ndjson");
    fs::read_to_string(path).unwrap().lines().count()
}

#[test]
fn directory_run_resumes_after_kill_with_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    copy_dir(Path::new("config"), &config);
    let text = fs::read_to_string(config.join("zeef.toml")).unwrap();
    let text = {
        let small = text.replace("# records = 50000", "records = 40");
        assert_ne!(small, text, "the batches of this test are not small");
        small
    };
    fs::write(config.join("zeef.toml"), text).unwrap();
    let config = config.to_str().unwrap();
    assert!(
        zeef_command(&["keys", "new", "--all", "--config", config]).status().unwrap().success()
    );
    let (calm, killed) = (folder.path().join("calm"), folder.path().join("killed"));
    for root in [&calm, &killed] {
        let root = root.to_str().unwrap();
        let made =
            zeef_command(&["generate", "--patrons", "400", "--poison", "--today", "2026-01-15"])
                .args(["--directory", root])
                .status()
                .unwrap();
        assert!(made.success());
    }
    assert!(run_command(config, &calm).status().unwrap().success());

    let mut kills = 0;
    for round in 0_u64.. {
        let mut child = run_command(config, &killed).spawn().unwrap();
        let until = Instant::now() + Duration::from_millis(20 + round * 7 % 90);
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if round < 60 && Instant::now() > until {
                break None;
            }
            std::thread::yield_now();
        };
        if let Some(status) = ended {
            assert!(status.success());
            break;
        }
        kills += 1;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(kills > 3, "killed {kills} times");
    assert_eq!(output_files(&killed), output_files(&calm), "after {kills} kills");
    assert_eq!(count_dead_letters(&killed), count_dead_letters(&calm));
    assert!(output_files(&calm).len() >= 7);
}
