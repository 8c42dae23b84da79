//! The directory transport as a process. Under kill -9: what is in `out/` at the end is what an
//! undisturbed run writes, to the byte. And when somebody edits a file below a running one.

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

/// Writes the shipped config with another line in its settings, and keys. Returns its path.
fn write_config(folder: &Path, line: &str, other: &str) -> String {
    let config = folder.join("config");
    copy_dir(Path::new("config"), &config);
    let text = fs::read_to_string(config.join("zeef.toml")).unwrap();
    assert!(text.contains(line), "no {line} in zeef.toml");
    fs::write(config.join("zeef.toml"), text.replacen(line, other, 1)).unwrap();
    let config = config.to_str().unwrap().to_owned();
    assert!(
        zeef_command(&["keys", "new", "--all", "--config", &config]).status().unwrap().success()
    );
    config
}

/// A gate that is edited in place, with its length and its time of modification as they were, ends
/// a run that follows it, as it ends the next one.
#[test]
fn directory_followed_run_stops_when_a_gate_is_edited_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path(), "[state]", "[state]\ncheck_seconds = 1");
    let data = folder.path().join("data");
    let root = data.to_str().unwrap();
    let made = zeef_command(&["generate", "--patrons", "30", "--directory", root]).status();
    assert!(made.unwrap().success());
    let log = folder.path().join("log");
    let mut follow = run_command(&config, &data);
    follow.args(["--follow", "--admin", "none"]).stderr(fs::File::create(&log).unwrap());
    let mut child = process::KillOnDrop(follow.spawn().unwrap());
    let until = Instant::now() + Duration::from_secs(120);
    let has_outputs = || {
        data.join("out/zeef/zeef.dead-letters.ndjson").exists() || {
            let slips = data.join("out/reservation-slip/out.reservation-slip.ndjson");
            fs::metadata(slips).is_ok_and(|found| found.len() > 0)
        }
    };
    while !has_outputs() {
        assert!(Instant::now() < until && child.0.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(50));
    }
    // Some comparisons find nothing.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(child.0.try_wait().unwrap(), None, "{}", fs::read_to_string(&log).unwrap());
    let gate = data.join("in/patron.ndjson");
    let modified = fs::metadata(&gate).unwrap().modified().unwrap();
    let text = fs::read_to_string(&gate).unwrap();
    let at = text.find("\"surname\":\"").unwrap() + 11;
    let other = if text[at..].starts_with('X') { "Y" } else { "X" };
    let edited = format!("{}{other}{}", &text[..at], &text[at + 1..]);
    assert_eq!(edited.len(), text.len());
    fs::write(&gate, edited).unwrap();
    fs::File::options().write(true).open(&gate).unwrap().set_modified(modified).unwrap();
    let status = loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < until, "nothing was found");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(status.code(), Some(70));
    let codes = |text: &str| -> Vec<String> {
        let parts = text.split("`zeef accept ").skip(1);
        parts.map(|part| part.split(' ').next().unwrap().to_owned()).collect()
    };
    let found = codes(&fs::read_to_string(&log).unwrap());
    assert!(!found.is_empty());
    let next = run_command(&config, &data).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(next.status.code(), Some(70));
    let next = codes(&String::from_utf8(next.stderr).unwrap());
    assert!(found.iter().all(|code| next.contains(code)), "{found:?} {next:?}");
}

#[test]
fn directory_run_resumes_after_kill_with_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path(), "# records = 50000", "records = 40");
    let config = config.as_str();
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
