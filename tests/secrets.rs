//! Keys, passwords and all that is written: who else may read or write it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as expected"
)]

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::shipped_config;

/// Runs zeef with a umask that leaves everything open.
fn zeef(words: &[&str]) -> Output {
    Command::new("sh")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("RUST_LOG")
        .env_remove("ZEEF_BROKERS")
        .args(["-c", "umask 000; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_zeef"))
        .args(words)
        .output()
        .unwrap()
}

#[track_caller]
fn check(output: &Output, code: i32, want: &[&str]) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for want in want {
        assert!(said.contains(want), "no {want:?} in {said}");
    }
}

fn set(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// All files and folders below a folder, and the folder itself.
fn all_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(all_below(&path)),
            false => found.push(path),
        }
    }
    found
}

#[track_caller]
fn check_modes(folder: &Path, file: u32, folder_mode: u32) {
    for path in all_below(folder) {
        let want = if path.is_dir() { folder_mode } else { file };
        assert_eq!(mode(&path), want, "{}: {:o}", path.display(), mode(&path));
    }
}

#[test]
fn all_that_is_written_is_for_its_user_alone_or_for_the_group() {
    let config = shipped_config();
    let with = config.path().to_str().unwrap();
    check(&zeef(&["keys", "new", "--all", "--config", with]), 0, &[]);
    check_modes(&config.path().join("keys"), 0o600, 0o700);
    let root = tempfile::tempdir().unwrap();
    let work = root.path().join("a/work");
    let directory = work.to_str().unwrap();
    let generate = ["generate", "--patrons", "30", "--directory", directory];
    check(&zeef(&generate), 0, &[]);
    let run = ["run", "--config", with, "--directory", directory];
    check(&zeef(&run), 0, &[]);
    check(&zeef(&[&generate[..], &["--append"]].concat()), 0, &[]);
    check(&zeef(&run), 0, &[]);
    let refill = ["refill", "statistics", "--reason", "a test"];
    let at = ["--config", with, "--directory", directory];
    check(&zeef(&[&refill[..], &at].concat()), 0, &[]);
    check(&zeef(&[&["compact"][..], &at].concat()), 0, &[]);
    check_modes(&root.path().join("a"), 0o600, 0o700);
    // Only what recipients read is for the group, where that is asked for.
    let settings = config.path().join("zeef.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let group = "[directory]\ngroup_read = true";
    fs::write(&settings, text.replacen("[directory]", group, 1)).unwrap();
    check(&zeef(&[&generate[..], &["--append"]].concat()), 0, &[]);
    check(&zeef(&run), 0, &[]);
    check_modes(&work.join("in"), 0o600, 0o700);
    check_modes(&work.join(".zeef"), 0o600, 0o700);
    assert_eq!(mode(&work.join("out")), 0o750);
    assert_eq!(mode(&work.join("out/statistics")), 0o750);
}

#[test]
fn the_demo_is_for_its_user_alone() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("a/demo");
    let words = [
        "demo",
        "--patrons",
        "20",
        "--directory",
        folder.to_str().unwrap(),
    ];
    check(&zeef(&words), 0, &[]);
    check_modes(&root.path().join("a"), 0o600, 0o700);
}

#[test]
fn samples_are_not_written_through_a_link() {
    let root = tempfile::tempdir().unwrap();
    let (work, other) = (root.path().join("work"), root.path().join("other"));
    fs::create_dir_all(&work).unwrap();
    fs::create_dir_all(&other).unwrap();
    symlink(&other, work.join("in")).unwrap();
    let generate = |more: &[&str]| {
        let words = [
            "generate",
            "--patrons",
            "1",
            "--directory",
            work.to_str().unwrap(),
        ];
        zeef(&[&words[..], more].concat())
    };
    check(&generate(&[]), 1, &["work/in", "it is a link"]);
    fs::remove_file(work.join("in")).unwrap();
    fs::create_dir(work.join("in")).unwrap();
    symlink(other.join("loan"), work.join("in/loan.ndjson")).unwrap();
    check(
        &generate(&["--force"]),
        1,
        &["in/loan.ndjson", "it is a link"],
    );
    assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
}

/// Commands that read keys, each with its own words before the config's.
const READERS: [&[&str]; 5] = [
    &["check"],
    &["run", "--admin", "none", "--directory"],
    &["compact", "--directory"],
    &["project"],
    &["keys", "list"],
];

#[test]
fn whoever_reads_keys_refuses_those_that_others_may_write_and_notes_those_they_may_read() {
    let config = shipped_config();
    let with = config.path().to_str().unwrap();
    check(&zeef(&["keys", "new", "--all", "--config", with]), 0, &[]);
    let work = config.path().join("work");
    let directory = work.to_str().unwrap();
    let generate = ["generate", "--patrons", "3", "--directory", directory];
    check(&zeef(&generate), 0, &[]);
    let keys = config.path().join("keys");
    // That of the state is read by all of them, but by `project`.
    let files = [keys.join("zeef.state.key"), keys.join("statistics.key")];
    let all = |code: i32, want: &[&str]| {
        for words in READERS {
            let mut words = words.to_vec();
            if words.last() == Some(&"--directory") {
                words.push(directory);
            }
            // `keys list` shows what is wrong, and fails.
            let code = if words[0] == "keys" && code != 0 {
                1
            } else {
                code
            };
            check(
                &zeef(&[&words[..], &["--config", with]].concat()),
                code,
                want,
            );
        }
    };
    all(0, &[]);
    for file in &files {
        set(file, 0o644);
    }
    all(
        0,
        &["others than its owner may read this secret", "chmod 600"],
    );
    for file in &files {
        set(file, 0o620);
    }
    all(78, &["others than its owner may write to", "chmod go-w"]);
    for file in &files {
        set(file, 0o600);
    }
    set(&keys, 0o770);
    all(78, &["others than its owner may write to", "chmod go-w"]);
    // Nor is a new one put there.
    let old = files[1].with_extension("old");
    fs::rename(&files[1], &old).unwrap();
    let new = ["keys", "new", "statistics", "--config", with];
    check(&zeef(&new), 1, &["others than its owner may write to"]);
    assert!(!files[1].exists());
    set(&keys, 0o700);
    check(&zeef(&new), 0, &[]);
    fs::rename(&old, &files[1]).unwrap();
    all(0, &[]);
}

#[test]
fn a_key_that_is_no_secret_is_refused() {
    let config = shipped_config();
    let with = config.path().to_str().unwrap();
    check(&zeef(&["keys", "new", "--all", "--config", with]), 0, &[]);
    let file = config.path().join("keys/zeef.state.key");
    for (secret, want) in [
        ("A".repeat(43), "one byte again and again"),
        ("_".repeat(43), "not base64url"),
        ("A".repeat(42), "fewer than 32 bytes"),
    ] {
        fs::write(&file, format!("k1:{secret}\n")).unwrap();
        check(&zeef(&["check", "--config", with]), 78, &[want]);
    }
}

#[test]
fn a_full_disk_is_told_of_with_the_file() {
    let output = Command::new("sh")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "-c",
            "exec \"$0\" generate --stdout --patrons 300 >/dev/full",
        ])
        .arg(env!("CARGO_BIN_EXE_zeef"))
        .output()
        .unwrap();
    check(
        &output,
        1,
        &["failed to write to stdout: No space left on device"],
    );
}

#[test]
fn a_folder_that_is_not_there_and_one_without_permission_are_no_stopped_lanes() {
    let config = shipped_config();
    let with = config.path().to_str().unwrap();
    check(&zeef(&["keys", "new", "--all", "--config", with]), 0, &[]);
    let root = tempfile::tempdir().unwrap();
    let absent = root.path().join("absent");
    let run = |directory: &Path| {
        let words = ["run", "--config", with, "--directory"];
        zeef(&[&words[..], &[directory.to_str().unwrap()]].concat())
    };
    check(&run(&absent), 78, &["there is no folder", "absent"]);
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    check(&run(&file), 78, &["is no folder"]);
    // As far as something is forbidden to whoever runs this.
    let work = root.path().join("work");
    fs::create_dir_all(work.join("in")).unwrap();
    set(&work, 0o500);
    if fs::write(work.join("probe"), "").is_err() {
        check(&run(&work), 1, &["failed to create", "work/out"]);
    }
    set(&work, 0o700);
}
