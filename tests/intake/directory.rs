//! `zeef run --directory` with an enabled intake: raw files in, recipients' outputs out, as one
//! command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use zeef_test_kit::config::{copy_shipped_config, enable_intake};
use zeef_test_kit::process::{self, CommandOutput, KillOnDrop};

use super::commands::{LOAN_ROW, PATRON_ROW, write_export};
use super::repository;

/// Far longer than files are looked at in turn.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) struct Site {
    config: TempDir,
}

impl Site {
    /// A config with keys, and one enabled intake with an empty folder for its raw files.
    pub(super) fn new(intake: &str) -> Site {
        let site = Site { config: copy_shipped_config() };
        enable_intake(site.config.path(), intake);
        let own = site.config.path().join(format!("intake/{intake}.toml"));
        fs::copy(super::mapping_path(intake), own).unwrap();
        site.zeef(&["keys", "new", "--all"]).check(0, &[]);
        site.create_folders(intake);
        site
    }

    fn create_folders(&self, intake: &str) {
        fs::create_dir_all(self.root().join("in")).unwrap();
        fs::create_dir_all(self.raw(intake)).unwrap();
    }

    /// Begins anew, with the same config and keys.
    pub(super) fn clear(&self, intake: &str) {
        fs::remove_dir_all(self.root()).unwrap();
        self.create_folders(intake);
    }

    fn zeef(&self, words: &[&str]) -> CommandOutput {
        let config = self.config.path().to_str().unwrap();
        let mut command = process::zeef_command(env!("CARGO_BIN_EXE_zeef"), &[]);
        CommandOutput::of(command.args(words).args(["--config", config]))
    }

    pub(super) fn root(&self) -> PathBuf {
        self.config.path().join("library")
    }

    pub(super) fn raw(&self, intake: &str) -> PathBuf {
        self.root().join("raw").join(intake)
    }

    pub(super) fn run(&self, words: &[&str]) -> CommandOutput {
        let root = self.root();
        let run = ["run", "--directory", root.to_str().unwrap()];
        self.zeef(&[&run[..], words].concat())
    }

    /// The lines of a file of the directory; none if it is not there.
    pub(super) fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.root().join(name)).unwrap_or_default();
        // Of a line that is being written nothing is known.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Starts a run that follows the directory.
    fn follow(&self) -> FollowingRun {
        let (root, config) = (self.root(), self.config.path());
        let words = ["run", "--follow", "--admin", "none", "--directory", root.to_str().unwrap()];
        let mut command = process::zeef_command(env!("CARGO_BIN_EXE_zeef"), &words);
        command.args(["--config", config.to_str().unwrap()]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        FollowingRun(KillOnDrop(command.spawn().unwrap()))
    }

    /// Waits until a file of the directory has these lines.
    #[track_caller]
    fn wait_for_lines(&self, name: &str, want: &[Value]) {
        wait_until(|| self.lines(name).len() >= want.len());
        assert_eq!(self.lines(name), want);
    }
}

#[track_caller]
fn wait_until(mut is_there: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_there() {
        assert!(started.elapsed() < FOLLOW_TIMEOUT, "it does not come");
        thread::sleep(Duration::from_millis(50));
    }
}

struct FollowingRun(KillOnDrop);

impl FollowingRun {
    fn stop(&self) {
        kill_process(Pid::from_child(&self.0.0), Signal::TERM).unwrap();
    }

    #[track_caller]
    fn check_end(mut self, code: i32) {
        let mut status = None;
        wait_until(|| {
            status = self.0.0.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(code));
    }
}

pub(super) fn case(name: &str) -> String {
    let path = format!("tests/intake/cases/koha-debezium/{name}");
    fs::read_to_string(repository().join(path)).unwrap()
}

/// The records of a case of one kind, as lines of a source.
fn wanted_lines(name: &str, kind: &str) -> Vec<Value> {
    let lines = case(name);
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter(|line| line["source"] == kind)
        .map(|line| serde_json::json!({ "key": line["key"], "value": line["value"] }))
        .collect()
}

pub(super) fn append(path: &Path, text: &str) {
    let before = fs::read_to_string(path).unwrap_or_default();
    fs::write(path, before + text).unwrap();
}

#[test]
fn directory_run_appends_what_is_new_in_raw_files_once() {
    let site = Site::new("koha-debezium");
    let dump = site.raw("koha-debezium").join("dump.ndjson");
    append(&dump, &case("loan-check-in.in.ndjson"));
    site.run(&[]).check(0, &["4 written"]);
    let first = wanted_lines("loan-check-in.out.ndjson", "loan");
    assert_eq!(site.lines("in/loan.ndjson"), first);
    site.run(&[]).check(0, &["0 messages"]);
    assert_eq!(site.lines("in/loan.ndjson"), first, "nothing is converted twice");

    append(&dump, &case("loan-anonymised.in.ndjson"));
    site.run(&[]).check(0, &["2 gone"]);
    let all = [first, wanted_lines("loan-anonymised.out.ndjson", "loan")].concat();
    assert_eq!(site.lines("in/loan.ndjson"), all);

    // A line that was read is another one now.
    let text = fs::read_to_string(&dump).unwrap();
    fs::write(&dump, text.replacen("Duinbibliotheek", "Duinbibliothees", 1)).unwrap();
    site.run(&[]).check(70, &["was changed after it was read"]);
    fs::write(&dump, &text).unwrap();
    append(&dump, "{\"topic\":\"koha.issues\"");
    site.run(&[]).check(70, &["the last line does not end"]);
    assert_eq!(site.lines("in/loan.ndjson"), all);
}

#[test]
fn directory_run_tells_of_refused_raw_messages_and_goes_on() {
    let site = Site::new("koha-debezium");
    let dump = site.raw("koha-debezium").join("dump.ndjson");
    append(&dump, &case("reservation.in.ndjson"));
    let output = site.run(&[]);
    output.check(1, &["refused as"]);
    let want = wanted_lines("reservation.out.ndjson", "reservation");
    assert_eq!(site.lines("in/reservation.ndjson"), want);
    for text in [&output.stdout, &output.stderr] {
        assert!(!text.contains("CANARY"), "{text}");
    }
    // They are told of once.
    site.run(&[]).check(0, &[]);
}

/// Nothing of the run is appended until somebody has decided.
#[test]
fn directory_run_stops_at_an_emptied_table_where_its_mapping_says_so() {
    let site = Site::new("koha-debezium");
    let mapping = site.config.path().join("intake/koha-debezium.toml");
    let shipped = fs::read_to_string(&mapping).unwrap();
    let loan = "kind   = \"loan\"\n";
    assert!(shipped.contains(loan));
    let decided = |word: &str| {
        let text = shipped.replacen(loan, &format!("{loan}all_gone = \"{word}\"\n"), 1);
        fs::write(&mapping, text).unwrap();
    };
    decided("stop");
    let dump = site.raw("koha-debezium").join("dump.ndjson");
    append(&dump, &case("loan-check-in.in.ndjson"));
    append(&dump, "{\"topic\":\"koha.issues\",\"value\":{\"op\":\"t\",\"source\":{}}}\n");
    for _ in 0..2 {
        site.run(&[]).check(70, &["all rows of `koha.issues` were deleted at once"]);
        assert_eq!(site.lines("in/loan.ndjson"), Vec::<Value>::new());
    }
    decided("refuse");
    site.run(&[]).check(1, &["refused as all_gone"]);
    let want = wanted_lines("loan-check-in.out.ndjson", "loan");
    assert_eq!(site.lines("in/loan.ndjson"), want);
}

#[test]
fn directory_follow_reads_raw_files_that_come_and_grow() {
    let site = Site::new("koha-debezium");
    let run = site.follow();
    let dump = site.raw("koha-debezium").join("dump.ndjson");
    let text = case("loan-check-in.in.ndjson");
    let wanted = wanted_lines("loan-check-in.out.ndjson", "loan");
    // The last line but one is half written: it is that of the last record.
    let (last_line_start, _) = text.trim_end().rmatch_indices('\n').nth(1).unwrap();
    let (first, rest) = text.split_at(last_line_start + 100);
    append(&dump, first);
    site.wait_for_lines("in/loan.ndjson", &wanted[..wanted.len() - 1]);
    append(&dump, rest);
    site.wait_for_lines("in/loan.ndjson", &wanted);

    let other = site.raw("koha-debezium").join("other.ndjson");
    append(&other, &case("reservation.in.ndjson"));
    let wanted_reservations = wanted_lines("reservation.out.ndjson", "reservation");
    site.wait_for_lines("in/reservation.ndjson", &wanted_reservations);
    run.stop();
    run.check_end(1);
    assert_eq!(site.lines("in/loan.ndjson"), wanted, "nothing is converted twice");

    // What was read is another text now.
    let run = site.follow();
    append(&dump, &case("loan-anonymised.in.ndjson"));
    let all = [wanted, wanted_lines("loan-anonymised.out.ndjson", "loan")].concat();
    site.wait_for_lines("in/loan.ndjson", &all);
    fs::write(&dump, text.replacen("Duinbibliotheek", "Duinbibliothees", 1)).unwrap();
    run.check_end(70);
    assert_eq!(site.lines("in/loan.ndjson"), all);
}

/// Recipients get what came while the directory is followed.
#[test]
fn directory_follow_converts_rows_again_when_their_file_changed() {
    let site = Site::new("nightly-csv");
    let raw = site.raw("nightly-csv");
    let run = site.follow();
    for title in ["Hoogwater", "Laagwater"] {
        write_export(&raw, PATRON_ROW, &LOAN_ROW.replacen("Hoogwater", title, 1));
        wait_until(|| {
            let lines = site.lines("out/service-message/out.service-message.ndjson");
            let last = lines.last().and_then(|line| line["value"]["title"].as_str());
            last.is_some_and(|last| last.starts_with(title))
        });
    }
    run.stop();
    run.check_end(0);
}

/// A nightly run of a whole export is one command.
#[test]
fn directory_snapshot_of_raw_files_takes_back_what_is_gone() {
    let site = Site::new("nightly-csv");
    let raw = site.raw("nightly-csv");
    let title = || {
        let lines = site.lines("out/service-message/out.service-message.ndjson");
        lines.last().unwrap()["value"]["title"].as_str().map(str::to_owned)
    };
    write_export(&raw, PATRON_ROW, LOAN_ROW);
    site.run(&["--snapshot"]).check(0, &["snapshot: loan: 1 new"]);
    assert_eq!(title().as_deref(), Some("Hoogwater; deel \"1\""));
    let left = fs::read_dir(site.root().join("snapshot")).unwrap().count();
    assert_eq!(left, 0, "what was converted is removed");

    // A refused row would look as if it were gone.
    let before = site.lines("in/loan.ndjson");
    write_export(&raw, PATRON_ROW, &LOAN_ROW.replace(";uit;", ";zoek;"));
    site.run(&["--snapshot"]).check(70, &["nightly-csv something was refused"]);
    assert_eq!(site.lines("in/loan.ndjson"), before);
    assert_eq!(fs::read_dir(site.root().join("snapshot")).unwrap().count(), 0);

    write_export(&raw, PATRON_ROW, "");
    site.run(&["--snapshot"]).check(0, &["1 no longer there"]);
    assert_eq!(title(), None);
}

#[test]
fn directory_run_refuses_a_file_that_is_no_raw_one() {
    let site = Site::new("nightly-csv");
    fs::write(site.raw("nightly-csv").join("leners.txt"), "").unwrap();
    site.run(&[]).check(78, &["expected a raw file, *.ndjson or *.csv"]);
}

/// `check` names the line, and what may have been meant.
#[test]
fn unknown_enabled_intake_is_a_mistake_with_its_line() {
    let site = Site::new("koha-debezium");
    let settings = site.config.path().join("zeef.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let line = text.lines().position(|line| line.starts_with("enabled = ")).unwrap() + 1;
    let wrong = text.replacen("\"koha-debezium\"]", "\"koha-debezum\"]", 1);
    fs::write(&settings, wrong).unwrap();
    let output = site.zeef(&["check"]);
    output.check(78, &["unknown intake `koha-debezum`", "did you mean `koha-debezium`?"]);
    assert!(output.stderr.contains(&format!("zeef.toml:{line}")), "{}", output.stderr);
    fs::write(&settings, text).unwrap();
    site.zeef(&["check"]).check(0, &[]);
}

fn version_line(version: i64, at_ms: i64) -> String {
    let row = serde_json::json!({
        "id": "record-1", "borrower": "borrower-1", "version": version, "state": "open",
    });
    let value = serde_json::json!({
        "before": null, "after": row, "op": "c", "source": { "ts_ms": at_ms, "pos": 1 },
    });
    format!("{}\n", serde_json::json!({ "topic": "loans", "value": value }))
}

fn renewals(site: &Site) -> Vec<Value> {
    site.lines("in/loan.ndjson").iter().map(|line| line["value"]["renewals"].clone()).collect()
}

/// What was written in one run is compared in the next one, also when the files that it came from
/// are gone.
#[test]
fn directory_drops_older_versions_of_later_runs() {
    let site = Site::new("versions");
    let raw = site.raw("versions");
    fs::write(raw.join("a.ndjson"), version_line(2, 2_000)).unwrap();
    site.run(&[]).check(0, &[]);
    fs::remove_file(raw.join("a.ndjson")).unwrap();
    site.run(&[]).check(0, &[]);
    let later = [version_line(1, 1_000), version_line(2, 2_000), version_line(3, 3_000)].concat();
    fs::write(raw.join("b.ndjson"), later).unwrap();
    let output = site.run(&[]);
    output.check(0, &[]);
    assert!(output.stderr.contains("loan: 2 written, 1 dropped as older"), "{}", output.stderr);
    assert_eq!(renewals(&site), [2, 2, 3]);
    let state = fs::read_to_string(site.root().join(".zeef/raw-versions.versions")).unwrap();
    assert_eq!(state.lines().count(), 1);
    for value in ["record-1", "borrower-1", "NL-DuiBIB", "open"] {
        assert!(!state.contains(value), "{value} in {state}");
    }
}

/// Without the versions that were written an older one would count as a new one.
#[test]
fn directory_without_its_versions_stops() {
    let site = Site::new("versions");
    let raw = site.raw("versions");
    fs::write(raw.join("a.ndjson"), version_line(2, 2_000)).unwrap();
    site.run(&[]).check(0, &[]);
    let state = site.root().join(".zeef/raw-versions.versions");
    let kept = fs::read(&state).unwrap();
    fs::write(raw.join("b.ndjson"), version_line(1, 1_000)).unwrap();
    fs::write(&state, b"").unwrap();
    site.run(&[]).check(70, &["raw-versions.versions is missing or was changed"]);
    fs::remove_file(&state).unwrap();
    site.run(&[]).check(70, &["raw-versions.versions is missing or was changed"]);
    assert_eq!(renewals(&site), [2]);
    fs::write(&state, kept).unwrap();
    site.run(&[]).check(0, &[]);
    assert_eq!(renewals(&site), [2]);
}
