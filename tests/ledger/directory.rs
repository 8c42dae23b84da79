//! The ledger of a directory: by year, committed with the batch, and missed when it is gone.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use zeef::daemon::worker::WorkerExit;
use zeef::ledger::chain::ChainVerifier;
use zeef::ledger::register::Register;
use zeef::message::Fault;
use zeef::message::continuity::Fingerprinter;
use zeef::transport::StopSignal;
use zeef::transport::directory::{Directory, DirectorySettings, LedgerPart, read_ledger};
use zeef_test_kit::deployment::{DeploymentSetup, LaneLayout, cached_ledger_lanes, new_worker};

/// 2026-12-31T12:00:00Z in milliseconds.
pub(crate) const LAST_DAY_MS: i64 = 1_798_718_400_000;
pub(crate) const DAY_MS: i64 = 86_400_000;

pub(crate) fn append_line(root: &Path, source: &str, value: &str) {
    let path = root.join("in").join(format!("{source}.ndjson"));
    let mut text = fs::read_to_string(&path).unwrap_or_default();
    text.push_str(&format!("{{\"key\":\"p1\",\"value\":{value}}}\n"));
    fs::write(path, text).unwrap();
}

pub(crate) fn open(root: &Path, now_ms: i64) -> Result<Directory, Fault> {
    open_with(root, (now_ms, Fingerprinter::new([1, 2, 3, 4])))
}

fn open_with(
    root: &Path,
    (now_ms, fingerprinter): (i64, Fingerprinter),
) -> Result<Directory, Fault> {
    let settings = DirectorySettings {
        max_line_bytes: 1 << 20,
        ..DirectorySettings::new(root, fingerprinter)
    };
    Directory::open_at(settings, now_ms)
}

pub(crate) fn run(root: &Path, now_ms: i64) -> Result<(), Fault> {
    run_with(root, (now_ms, Fingerprinter::new([1, 2, 3, 4])))
}

/// Runs at a time, with what makes the checksums of the directory.
pub(crate) fn run_with(
    root: &Path,
    (now_ms, fingerprinter): (i64, Fingerprinter),
) -> Result<(), Fault> {
    let clock = Arc::new(AtomicI64::new(now_ms));
    let directory = open_with(root, (now_ms, fingerprinter))?;
    directory.check_continuity()?;
    for lane in cached_ledger_lanes(LaneLayout::TwoLanes, false) {
        let transport = directory.lane_transport(&lane.transport_plan(), StopSignal::default())?;
        let setup = DeploymentSetup { has_ledger: true, ..DeploymentSetup::DEFAULT };
        let ended = new_worker(lane, transport, setup, &clock).run()?;
        assert_eq!(ended, WorkerExit::EndOfInput);
    }
    directory.compact_if_due()?;
    Ok(())
}

/// Two runs, one in each of two years.
pub(crate) fn run_over_new_year(root: &Path) {
    fs::create_dir(root.join("in")).unwrap();
    append_line(
        root,
        "patron",
        r#"{"patron_id":"p1","library":"NL-AmrBKW","kind":"person","surname":"Berg","card_number":"20013004567890","membership":{"id":"M","status":"active"}}"#,
    );
    for number in 0..2 {
        append_line(
            root,
            "loan",
            &format!(
                r#"{{"patron_id":"p1","library":"NL-AmrBKW","loan_id":"l{number}","status":"open","loaned_at":"2026-12-30T10:00:00Z","due_on":"2027-02-01"}}"#
            ),
        );
        run(root, LAST_DAY_MS + number * DAY_MS).unwrap();
    }
}

fn verifier_of(root: &Path) -> ChainVerifier {
    let mut register = Register::default();
    let mut verifier = ChainVerifier::default();
    let found = read_ledger(root, LedgerPart::Register, &mut |_, line| {
        register.add_message(line).unwrap();
    });
    assert_eq!(found.unwrap(), []);
    let found = read_ledger(root, LedgerPart::Blocks, &mut |(file, number), line| {
        verifier.add_block(&|| format!("{file} {number}"), line, &register);
    });
    assert_eq!(found.unwrap(), []);
    verifier
}

#[test]
fn directory_ledger_has_a_file_a_year_and_one_chain_a_lane() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    run_over_new_year(root);
    let mut names: Vec<String> = fs::read_dir(root.join(".zeef/ledger"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["2026.ndjson", "2027.ndjson", "policy.ndjson"]);
    let verifier = verifier_of(root);
    assert_eq!(verifier.problems, []);
    assert_eq!(verifier.chains.len(), 2);
    // A night in which nothing came adds nothing.
    let before = verifier_of(root).chains;
    run(root, LAST_DAY_MS + 2 * DAY_MS).unwrap();
    assert_eq!(verifier_of(root).chains, before);
    let ran = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/verify_ledger.py"))
        .arg(root.join(".zeef/ledger"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("2 chains"), "{said}");
}

#[test]
fn directory_ledger_that_was_changed_stops_the_start() {
    type Change = fn(&Path);
    let changes: [Change; 4] = [
        |path| fs::remove_file(path).unwrap(),
        |path| fs::write(path, "").unwrap(),
        |path| {
            let text = fs::read_to_string(path).unwrap();
            let cut = text.trim_end().rfind('\n').map_or(0, |at| at + 1);
            fs::write(path, &text[..cut]).unwrap();
        },
        |path| {
            let text = fs::read_to_string(path).unwrap();
            fs::write(path, text.replacen("\"release\"", "\"correct\"", 1)).unwrap();
        },
    ];
    for change in changes {
        for name in ["2026", "2027", "policy"] {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path();
            run_over_new_year(root);
            let path = root.join(format!(".zeef/ledger/{name}.ndjson"));
            let before = fs::read(&path).unwrap();
            change(&path);
            if fs::read(&path).ok().is_some_and(|after| after == before) {
                continue;
            }
            let fault = run(root, LAST_DAY_MS + 2 * DAY_MS).unwrap_err();
            let text = fault.to_string();
            assert!(matches!(fault, Fault::Stop(_)) && text.contains("ledger"), "{text}");
            fs::write(&path, before).unwrap();
            run(root, LAST_DAY_MS + 2 * DAY_MS).unwrap();
        }
    }
}
