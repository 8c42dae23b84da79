//! Keys, passwords and all that is written: who else may read or write it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as expected"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use zeef_test_kit::config::copy_shipped_config;
use zeef_test_kit::process::{CommandOutput, zeef_command};

/// Runs zeef with a umask that leaves everything open.
fn run_zeef(words: &[&str]) -> CommandOutput {
    let open = ["-c", "umask 000; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_zeef")];
    CommandOutput::of(zeef_command("sh", &open).args(words))
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// All files and folders below a folder, and the folder itself.
fn paths_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(paths_below(&path)),
            false => found.push(path),
        }
    }
    found
}

#[track_caller]
fn check_modes(folder: &Path, file: u32, folder_mode: u32) {
    for path in paths_below(folder) {
        let want = if path.is_dir() { folder_mode } else { file };
        assert_eq!(mode_of(&path), want, "{}: {:o}", path.display(), mode_of(&path));
    }
}

#[test]
fn written_files_are_private_or_group_readable() {
    let config = copy_shipped_config();
    let with = config.path().to_str().unwrap();
    run_zeef(&["keys", "new", "--all", "--config", with]).check(0, &[]);
    check_modes(&config.path().join("keys"), 0o600, 0o700);
    let root = tempfile::tempdir().unwrap();
    let work = root.path().join("a/work");
    let directory = work.to_str().unwrap();
    let generate = ["generate", "--patrons", "30", "--directory", directory];
    run_zeef(&generate).check(0, &[]);
    let run = ["run", "--config", with, "--directory", directory];
    run_zeef(&run).check(0, &[]);
    run_zeef(&[&generate[..], &["--append"]].concat()).check(0, &[]);
    run_zeef(&run).check(0, &[]);
    let refill = ["refill", "statistics", "--reason", "a test"];
    let at = ["--config", with, "--directory", directory];
    run_zeef(&[&refill[..], &at].concat()).check(0, &[]);
    run_zeef(&[&["compact"][..], &at].concat()).check(0, &[]);
    check_modes(&root.path().join("a"), 0o600, 0o700);
    // Only what recipients read is for the group, where that is asked for.
    let settings = config.path().join("zeef.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let group = "[directory]\ngroup_read = true";
    fs::write(&settings, text.replacen("[directory]", group, 1)).unwrap();
    run_zeef(&[&generate[..], &["--append"]].concat()).check(0, &[]);
    run_zeef(&run).check(0, &[]);
    check_modes(&work.join("in"), 0o600, 0o700);
    check_modes(&work.join(".zeef"), 0o600, 0o700);
    assert_eq!(mode_of(&work.join("out")), 0o750);
    assert_eq!(mode_of(&work.join("out/statistics")), 0o750);
}

#[test]
fn demo_files_are_private() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("a/demo");
    let words = ["demo", "--patrons", "20", "--directory", folder.to_str().unwrap()];
    run_zeef(&words).check(0, &[]);
    check_modes(&root.path().join("a"), 0o600, 0o700);
}

#[test]
fn generate_refuses_to_write_through_symlinks() {
    let root = tempfile::tempdir().unwrap();
    let (work, other) = (root.path().join("work"), root.path().join("other"));
    fs::create_dir_all(&work).unwrap();
    fs::create_dir_all(&other).unwrap();
    symlink(&other, work.join("in")).unwrap();
    let generate = |more: &[&str]| {
        let words = ["generate", "--patrons", "1", "--directory", work.to_str().unwrap()];
        run_zeef(&[&words[..], more].concat())
    };
    generate(&[]).check(1, &["work/in", "it is a link"]);
    fs::remove_file(work.join("in")).unwrap();
    fs::create_dir(work.join("in")).unwrap();
    symlink(other.join("loan"), work.join("in/loan.ndjson")).unwrap();
    generate(&["--force"]).check(1, &["in/loan.ndjson", "it is a link"]);
    assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
}

/// Commands that read keys, each with its own words before the config's.
const KEY_READING_COMMANDS: [&[&str]; 5] = [
    &["check"],
    &["run", "--admin", "none", "--directory"],
    &["compact", "--directory"],
    &["project"],
    &["keys", "list"],
];

#[test]
fn key_files_writable_by_others_are_refused_readable_ones_noted() {
    let config = copy_shipped_config();
    let with = config.path().to_str().unwrap();
    run_zeef(&["keys", "new", "--all", "--config", with]).check(0, &[]);
    let work = config.path().join("work");
    let directory = work.to_str().unwrap();
    let generate = ["generate", "--patrons", "3", "--directory", directory];
    run_zeef(&generate).check(0, &[]);
    let keys = config.path().join("keys");
    // That of the state is read by all of them, but by `project`.
    let files = [keys.join("zeef.state.key"), keys.join("statistics.key")];
    let all = |code: i32, want: &[&str]| {
        for words in KEY_READING_COMMANDS {
            let mut words = words.to_vec();
            if words.last() == Some(&"--directory") {
                words.push(directory);
            }
            // `keys list` shows what is wrong, and fails.
            let code = if words[0] == "keys" && code != 0 { 1 } else { code };
            run_zeef(&[&words[..], &["--config", with]].concat()).check(code, want);
        }
    };
    all(0, &[]);
    for file in &files {
        set_mode(file, 0o644);
    }
    all(0, &["others than its owner may read this secret", "chmod 600"]);
    for file in &files {
        set_mode(file, 0o620);
    }
    all(78, &["others than its owner may write to", "chmod go-w"]);
    for file in &files {
        set_mode(file, 0o600);
    }
    set_mode(&keys, 0o770);
    all(78, &["others than its owner may write to", "chmod go-w"]);
    // Nor is a new one put there.
    let old = files[1].with_extension("old");
    fs::rename(&files[1], &old).unwrap();
    let new = ["keys", "new", "statistics", "--config", with];
    run_zeef(&new).check(1, &["others than its owner may write to"]);
    assert!(!files[1].exists());
    set_mode(&keys, 0o700);
    run_zeef(&new).check(0, &[]);
    fs::rename(&old, &files[1]).unwrap();
    all(0, &[]);
}

#[test]
fn weak_key_is_refused() {
    let config = copy_shipped_config();
    let with = config.path().to_str().unwrap();
    run_zeef(&["keys", "new", "--all", "--config", with]).check(0, &[]);
    let file = config.path().join("keys/zeef.state.key");
    for (secret, want) in [
        ("A".repeat(43), "one byte again and again"),
        ("_".repeat(43), "not base64url"),
        ("A".repeat(42), "fewer than 32 bytes"),
    ] {
        fs::write(&file, format!("k1:{secret}\n")).unwrap();
        run_zeef(&["check", "--config", with]).check(78, &[want]);
    }
}

#[test]
fn full_disk_error_names_the_file() {
    let full = "exec \"$0\" generate --stdout --patrons 300 >/dev/full";
    let output =
        CommandOutput::of(&mut zeef_command("sh", &["-c", full, env!("CARGO_BIN_EXE_zeef")]));
    output.check(1, &["failed to write to stdout: No space left on device"]);
}

#[test]
fn missing_or_forbidden_directory_is_no_stopped_lane() {
    let config = copy_shipped_config();
    let with = config.path().to_str().unwrap();
    run_zeef(&["keys", "new", "--all", "--config", with]).check(0, &[]);
    let root = tempfile::tempdir().unwrap();
    let absent = root.path().join("absent");
    let run = |directory: &Path| {
        let words = ["run", "--config", with, "--directory"];
        run_zeef(&[&words[..], &[directory.to_str().unwrap()]].concat())
    };
    run(&absent).check(78, &["there is no folder", "absent"]);
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    run(&file).check(78, &["is no folder"]);
    // As far as something is forbidden to whoever runs this.
    let work = root.path().join("work");
    fs::create_dir_all(work.join("in")).unwrap();
    set_mode(&work, 0o500);
    if fs::write(work.join("probe"), "").is_err() {
        run(&work).check(1, &["failed to create", "work/out"]);
    }
    set_mode(&work, 0o700);
}
