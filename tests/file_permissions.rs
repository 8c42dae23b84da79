//! Keys, passwords and all that is written: who else may read or write it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as expected"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use zeef_test_kit::config::{copy_dir, copy_shipped_config};
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

/// What is only noted, or only checked, is told by `check` as by `run`.
#[test]
fn open_folders_and_secrets_are_noted_by_check_and_run() {
    let config = copy_shipped_config();
    let with = config.path().to_str().unwrap();
    run_zeef(&["keys", "new", "--all", "--config", with]).check(0, &[]);
    let work = config.path().join("work");
    let directory = work.to_str().unwrap();
    run_zeef(&["generate", "--patrons", "3", "--directory", directory]).check(0, &[]);
    let password = config.path().join("password");
    fs::write(&password, "s3cret").unwrap();
    set_mode(&password, 0o644);
    let zeef = config.path().join("zeef.toml");
    let text = fs::read_to_string(&zeef).unwrap();
    let property = "[kafka.properties]\n\"ssl.key.password\" = { file = \"password\" }\n";
    assert!(text.contains("\n[kafka.properties]\n"));
    fs::write(&zeef, text.replacen("[kafka.properties]\n", property, 1)).unwrap();
    let keys = config.path().join("keys");
    let recipient = config.path().join("recipients/statistics.toml");
    let records = config.path().join("records");
    let told = |want: &str, is_told: bool| {
        let run = ["run", "--directory", directory, "--config", with];
        for words in [&["check", "--config", with][..], &run] {
            let output = run_zeef(words);
            output.check(0, &[]);
            // The width of a terminal may break the lines of a table.
            let all = format!("{}{}", output.stdout, output.stderr);
            let all: String = all.split_whitespace().collect();
            let want: String = want.split_whitespace().collect();
            assert_eq!(all.contains(&want), is_told, "{words:?} {want}: {all}");
        }
    };
    told(&format!("chmod 600 {}", password.display()), true);
    set_mode(&password, 0o600);
    told("chmod", false);
    for mode in [0o755, 0o750, 0o1777] {
        set_mode(&keys, mode);
        told(&format!("chmod 700 {}", keys.display()), true);
    }
    set_mode(&keys, 0o700);
    for (path, open, closed) in
        [(&recipient, 0o777, 0o644), (&zeef, 0o666, 0o644), (&records, 0o777, 0o755)]
    {
        set_mode(path, open);
        told(&format!("chmod o-w {}", path.display()), true);
        set_mode(path, closed);
    }
    told("chmod", false);
}

/// Mistakes of one part of the config hide none of another.
#[test]
fn check_tells_mistakes_of_policy_and_of_kafka_at_once() {
    let config = copy_shipped_config();
    let with = config.path().to_str().unwrap();
    let zeef = config.path().join("zeef.toml");
    let text = fs::read_to_string(&zeef).unwrap();
    let property = "[kafka.properties]\n\"sasl.mechanismm\" = \"PLAIN\"\n";
    assert!(text.contains("\n[kafka.properties]\n"));
    fs::write(&zeef, text.replacen("[kafka.properties]\n", property, 1)).unwrap();
    run_zeef(&["check", "--config", with]).check(78, &["sasl.mechanismm"]);
    let recipient = config.path().join("recipients/statistics.toml");
    let text = fs::read_to_string(&recipient).unwrap();
    fs::write(&recipient, text.replacen("public_task", "public_taks", 1)).unwrap();
    let both = ["public_taks", "1 mistake in the config", "sasl.mechanismm"];
    run_zeef(&["check", "--config", with]).check(78, &both);
    fs::create_dir_all(config.path().join("intake")).unwrap();
    fs::write(&recipient, text).unwrap();
    fs::write(config.path().join("intake/koha.toml"), "nonsense").unwrap();
    run_zeef(&["check", "--config", with]).check(78, &["intake/koha.toml", "sasl.mechanismm"]);
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
}

/// Runs zeef as a user who has no rights beyond those of the files' modes.
fn run_without_privileges(words: &[&str]) -> CommandOutput {
    match rustix::process::geteuid().is_root() {
        true => {
            let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
            let zeef = [&nobody[..], &[env!("CARGO_BIN_EXE_zeef")]].concat();
            CommandOutput::of(zeef_command("setpriv", &zeef).args(words))
        }
        false => run_zeef(words),
    }
}

/// A config, and the directory of a run with it.
struct DirectoryAfterRun {
    config: tempfile::TempDir,
    root: tempfile::TempDir,
    /// The directory, below `root`.
    work: PathBuf,
}

impl DirectoryAfterRun {
    fn new() -> DirectoryAfterRun {
        let (config, root) = (copy_shipped_config(), tempfile::tempdir().unwrap());
        let work = root.path().join("work");
        let (with, directory) = (config.path().to_str().unwrap(), work.to_str().unwrap());
        run_zeef(&["keys", "new", "--all", "--config", with]).check(0, &[]);
        run_zeef(&["generate", "--patrons", "3", "--directory", directory]).check(0, &[]);
        run_zeef(&["run", "--config", with, "--directory", directory]).check(0, &[]);
        DirectoryAfterRun { config, root, work }
    }
}

/// Gives all that lies in these folders to the user of
/// [`run_without_privileges`].
fn give_to_nobody(folders: &[&Path]) {
    if rustix::process::geteuid().is_root() {
        for path in folders.iter().flat_map(|folder| paths_below(folder)) {
            chown(&path, Some(65_534), Some(65_534)).unwrap();
        }
    }
}

/// A missing right is a failure or a wrong config in every command, never a lane that stopped, and
/// never looks like something that is not there.
#[test]
fn forbidden_directory_is_told_alike_by_all_commands() {
    let DirectoryAfterRun { config, root, work } = DirectoryAfterRun::new();
    let (with, directory) = (config.path().to_str().unwrap(), work.to_str().unwrap());
    give_to_nobody(&[config.path(), root.path()]);
    let commands: [&[&str]; 4] =
        [&["run"], &["explain", "statistics", "--id", "loan-1"], &["holds"], &["compact"]];
    let all = |wants: &str| {
        for words in commands {
            let place = ["--config", with, "--directory", directory];
            let output = run_without_privileges(&[words, &place[..]].concat());
            output.check(1, &["Permission denied", wants]);
            assert!(!output.stderr.contains("no folder"), "{words:?}: {}", output.stderr);
            assert!(!output.stderr.contains("stopped"), "{words:?}: {}", output.stderr);
        }
    };
    set_mode(root.path(), 0o600);
    all("work");
    set_mode(root.path(), 0o700);
    let committed = work.join(".zeef/committed.json");
    set_mode(&committed, 0o000);
    all("committed.json");
    set_mode(&committed, 0o600);
    // A first run has to make its folders.
    fs::remove_dir_all(work.join("out")).unwrap();
    set_mode(&work, 0o500);
    let run = ["run", "--config", with, "--directory", directory];
    run_without_privileges(&run).check(1, &["failed to create", "work/out", "Permission denied"]);
    set_mode(&work, 0o700);
    set_mode(config.path(), 0o000);
    for words in [&["check"][..], &["run", "--directory", directory]] {
        let output = run_without_privileges(&[words, &["--config", with]].concat());
        output.check(78, &["Permission denied"]);
    }
    set_mode(config.path(), 0o700);
}

/// A folder whose names may be read, and nothing of what lies there: each file in it is one that
/// cannot be looked at, and none is absent.
#[test]
fn file_that_cannot_be_looked_at_is_never_an_absent_one() {
    let DirectoryAfterRun { config, root, work } = DirectoryAfterRun::new();
    let (with, directory) = (config.path().to_str().unwrap(), work.to_str().unwrap());
    copy_dir(&work.join("in"), &work.join("snapshot"));
    for name in ["register", "templates"] {
        fs::create_dir_all(config.path().join(name)).unwrap();
    }
    give_to_nobody(&[config.path(), root.path()]);
    let snapshot: &[&str] = &["run", "--snapshot", "--config", with, "--directory", directory];
    let generate: &[&str] = &["generate", "--patrons", "3", "--directory", directory];
    let run: &[&str] = &["run", "--config", with, "--directory", directory];
    let register: &[&str] = &["register", "--config", with];
    let cases = [
        (work.join("snapshot"), 0o600, snapshot, 1, "snapshot/"),
        (work.join("in"), 0o600, generate, 1, "in/"),
        (work.join("in"), 0o600, run, 1, "in/"),
        (config.path().join("register"), 0o000, register, 78, "register"),
    ];
    for (path, mode, words, code, named) in cases {
        let before = fs::metadata(&path).unwrap().permissions();
        set_mode(&path, mode);
        let output = run_without_privileges(words);
        fs::set_permissions(&path, before).unwrap();
        output.check(code, &["Permission denied", named]);
        for absent in ["missing", "there is no", "exists already"] {
            assert!(!output.stderr.contains(absent), "{words:?}: {}", output.stderr);
        }
    }
}
