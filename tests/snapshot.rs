//! `zeef run --directory DIR --snapshot`: whole exports, night after night.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests are tests too")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use zeef_test_kit::config::copy_shipped_config;
use zeef_test_kit::directory_outputs::live_outputs;
use zeef_test_kit::process::{self, CommandOutput};
use zeef_test_kit::rng::TestRng;

/// A config with keys, and a directory.
struct Site {
    folder: TempDir,
}

/// The records of an export by source: key and value.
type Export = BTreeMap<&'static str, Vec<(String, Value)>>;

const SOURCES: &[&str] = &["patron", "consent", "objection", "loan"];

impl Site {
    fn new() -> Site {
        let folder = copy_shipped_config();
        let site = Site { folder };
        site.zeef(&["keys", "new", "--all"]).check(0, &[]);
        site
    }

    fn zeef(&self, words: &[&str]) -> CommandOutput {
        let config = self.folder.path().to_str().unwrap();
        let mut command = process::zeef_command(env!("CARGO_BIN_EXE_zeef"), &[]);
        CommandOutput::of(command.args(words).args(["--config", config]))
    }

    fn directory(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.join("in")).unwrap();
        fs::create_dir_all(path.join("snapshot")).unwrap();
        path
    }

    /// Runs a night on a directory whose snapshot is there.
    fn run(&self, directory: &Path, words: &[&str]) -> CommandOutput {
        let directory = directory.to_str().unwrap();
        let run = ["run", "--directory", directory, "--snapshot"];
        self.zeef(&[&run[..], words].concat())
    }
}

fn write_export(directory: &Path, export: &Export) {
    for source in SOURCES {
        let records = export.get(source).map_or(&[][..], Vec::as_slice);
        let lines: String = records
            .iter()
            .map(|(key, value)| format!("{}\n", json!({ "key": key, "value": value })))
            .collect();
        fs::write(directory.join(format!("snapshot/{source}.ndjson")), lines).unwrap();
    }
}

fn patron(id: &str, surname: &str) -> (String, Value) {
    let value = json!({
        "patron_id": id, "library": "NL-AmrBKW", "country": "NL", "kind": "person",
        "card_number": format!("2001300456{id:0>4}").replace('p', "0"), "initials": "R.",
        "surname": surname, "birth_date": "1985-07-30", "email": "lid@example.org",
        "membership": { "id": format!("M-{id}"), "status": "active" },
    });
    (id.to_owned(), value)
}

fn loan(id: &str, patron: &str, title: &str) -> (String, Value) {
    let value = json!({
        "loan_id": id, "patron_id": patron, "library": "NL-AmrBKW", "status": "open",
        "due_on": "2099-01-01", "item": { "title": title },
    });
    (patron.to_owned(), value)
}

fn consent(id: &str, patron: &str, at: &str) -> (String, Value) {
    let value = json!({
        "consent_id": id, "patron_id": patron, "library": "NL-AmrBKW", "purpose": "newsletter",
        "decision": "granted", "manner": "digital", "at": at,
    });
    (patron.to_owned(), value)
}

fn objection(id: &str, patron: &str) -> (String, Value) {
    let value = json!({
        "objection_id": id, "patron_id": patron, "library": "NL-AmrBKW",
        "kind": "direct_marketing", "status": "lodged",
    });
    (patron.to_owned(), value)
}

/// A library on some night. `registered` has when each patron came, who may have left before:
/// what was consented to until then is of somebody else.
fn draw_export(
    rng: &mut TestRng,
    registered: &mut BTreeMap<String, String>,
    objections: &[(String, Value)],
) -> Export {
    let mut export = Export::new();
    export.insert("objection", objections.to_vec());
    for number in 0..8 {
        let id = format!("p{number}");
        if rng.below(10) < 3 {
            registered.remove(&id);
            continue;
        }
        let since = registered.entry(id.clone());
        let since = since.or_insert_with(|| jiff::Timestamp::now().to_string()).clone();
        let surname = ["Berg", "Zwaluw", "Visser"][rng.below(3)];
        export.entry("patron").or_default().push(patron(&id, surname));
        if rng.below(10) < 6 {
            export.entry("consent").or_default().push(consent(&format!("c-{id}"), &id, &since));
        }
    }
    let patrons: Vec<String> =
        export.get("patron").into_iter().flatten().map(|(id, _)| id.clone()).collect();
    for number in 0..12 {
        if let Some(patron) = patrons.get(rng.below(10)) {
            let title = ["Hoogwater", "Het huis", "Zee"][rng.below(3)];
            let loan = loan(&format!("l{number}"), patron, title);
            export.entry("loan").or_default().push(loan);
        }
    }
    export
}

/// Whatever came before, partners have what the last export alone gives.
#[test]
fn snapshot_partners_have_what_the_last_export_alone_gives() {
    let site = Site::new();
    for seed in 0..3_u64 {
        let mut rng = TestRng::new(seed);
        let long = site.directory(&format!("long-{seed}"));
        let objections = [objection("o1", "p1")];
        let mut registered = BTreeMap::new();
        for night in 0..5 {
            let export = draw_export(&mut rng, &mut registered, &objections);
            write_export(&long, &export);
            site.run(&long, &["--max-removed", "100"]).check(0, &[]);
            let fresh = site.directory(&format!("fresh-{seed}-{night}"));
            write_export(&fresh, &export);
            site.run(&fresh, &[]).check(0, &[]);
            let (found, want) = (live_outputs(&long), live_outputs(&fresh));
            assert!(!want.is_empty());
            assert_eq!(found, want, "seed {seed}, night {night}");
            // The same export once more changes nothing.
            let before = fs::read(long.join("in/loan.ndjson")).unwrap();
            site.run(&long, &[]).check(0, &[]);
            assert_eq!(fs::read(long.join("in/loan.ndjson")).unwrap(), before);
        }
    }
}

/// A site whose first night had this many patrons, each with a loan.
fn site_after_first_night(count: usize) -> (Site, PathBuf, Export) {
    let site = Site::new();
    let directory = site.directory("work");
    let mut export = Export::new();
    for number in 0..count {
        let id = format!("p{number}");
        export.entry("patron").or_default().push(patron(&id, "Berg"));
        export.entry("loan").or_default().push(loan(&format!("l{number}"), &id, "Zee"));
    }
    export.entry("objection").or_default().push(objection("o0", "p0"));
    write_export(&directory, &export);
    site.run(&directory, &[]).check(0, &[]);
    (site, directory, export)
}

#[test]
fn snapshot_of_half_an_export_stops_with_the_numbers() {
    let (site, directory, mut export) = site_after_first_night(200);
    let before = live_outputs(&directory);
    let input = fs::read(directory.join("in/patron.ndjson")).unwrap();
    export.get_mut("patron").unwrap().truncate(100);
    write_export(&directory, &export);
    let refused = site.run(&directory, &[]);
    refused.check(70, &["patron: 100 of 200 are not in it (50 %)", "--max-removed 50"]);
    assert!(!refused.stderr.contains("loan:"), "{}", refused.stderr);
    assert_eq!(live_outputs(&directory), before);
    assert_eq!(fs::read(directory.join("in/patron.ndjson")).unwrap(), input);
    // A tenth is taken back, as that happens.
    let all = export.get_mut("loan").unwrap();
    all.truncate(185);
    let mut patrons: Vec<_> = (0..200).map(|n| patron(&format!("p{n}"), "Berg")).collect();
    std::mem::swap(export.get_mut("patron").unwrap(), &mut patrons);
    write_export(&directory, &export);
    site.run(&directory, &[]).check(0, &["loan: 0 new, 0 changed, 15 no longer there"]);
}

/// An empty file is a broken export more often than a library that closed, however small it is.
#[test]
fn snapshot_without_any_record_of_a_small_source_stops() {
    let (site, directory, mut export) = site_after_first_night(5);
    let before = live_outputs(&directory);
    assert!(!before.is_empty());
    export.remove("loan");
    export.remove("patron");
    write_export(&directory, &export);
    let refused = site.run(&directory, &[]);
    refused.check(70, &["patron: 5 of 5 are not in it (100 %)", "loan: 5 of 5"]);
    refused.check(70, &["--max-removed 100"]);
    assert_eq!(live_outputs(&directory), before);
    site.run(&directory, &["--max-removed", "100"]).check(0, &["loan: 0 new, 0 changed, 5 no"]);
    assert!(live_outputs(&directory).is_empty());
    // A handful that ends by itself is an ordinary day.
    let (site, directory, mut export) = site_after_first_night(4);
    export.remove("loan");
    write_export(&directory, &export);
    site.run(&directory, &[]).check(0, &["loan: 0 new, 0 changed, 4 no longer there"]);
}

#[test]
fn snapshot_that_cannot_be_read_whole_changes_nothing() {
    let (site, directory, export) = site_after_first_night(3);
    let before = (live_outputs(&directory), fs::read(directory.join("in/loan.ndjson")).unwrap());
    let loans = directory.join("snapshot/loan.ndjson");
    let whole = fs::read_to_string(&loans).unwrap();
    for (text, code, want) in [
        (whole.trim_end().to_owned(), 70, "snapshot/loan.ndjson line 3 does not end"),
        (format!("{whole}no message\n"), 70, "snapshot/loan.ndjson line 4 is no message"),
        (format!("{whole}{{\"key\":7,\"value\":{{}}}}\n"), 70, "line 4 is no message with a key"),
    ] {
        fs::write(&loans, text).unwrap();
        site.run(&directory, &[]).check(code, &[want]);
    }
    fs::remove_file(&loans).unwrap();
    site.run(&directory, &[]).check(78, &["snapshot/loan.ndjson is missing"]);
    write_export(&directory, &export);
    fs::write(directory.join("snapshot/lean.ndjson"), "").unwrap();
    site.run(&directory, &[]).check(78, &["did you mean snapshot/loan.ndjson?"]);
    fs::remove_file(directory.join("snapshot/lean.ndjson")).unwrap();
    let after = (live_outputs(&directory), fs::read(directory.join("in/loan.ndjson")).unwrap());
    assert_eq!(after, before);
    site.run(&directory, &[]).check(0, &[]);
}

/// A record that may be there under an id that cannot be read stays; an objection does, too.
#[test]
fn snapshot_takes_back_nothing_that_may_still_be_there() {
    let (site, directory, mut export) = site_after_first_night(3);
    let before = live_outputs(&directory);
    let loans = export.get_mut("loan").unwrap();
    loans[1].1["loan_id"] = json!(7);
    export.remove("objection");
    write_export(&directory, &export);
    let result = site.run(&directory, &[]);
    result.check(0, &["loan: 1 new, 0 changed, 0 no longer there, 1 not in it that stay"]);
    result.check(0, &["objection: 0 new, 0 changed, 0 no longer there, 1 not in it that stay"]);
    assert_eq!(live_outputs(&directory), before);
}

/// What an interrupted append left is cut, and done again.
#[test]
fn snapshot_goes_on_after_an_append_that_broke_off() {
    let (site, directory, mut export) = site_after_first_night(3);
    export.get_mut("loan").unwrap().push(loan("l9", "p1", "Nieuw"));
    write_export(&directory, &export);
    let input = directory.join("in/loan.ndjson");
    let mut torn = fs::read(&input).unwrap();
    torn.extend_from_slice(b"{\"key\":\"p1\",\"value\":{\"loan_id\":\"l9\",\"patr");
    fs::write(&input, torn).unwrap();
    site.run(&directory, &[]).check(0, &["loan: 1 new, 0 changed, 0 no longer there"]);
    let titles: Vec<Value> =
        live_outputs(&directory).into_values().map(|mut value| value["title"].take()).collect();
    assert!(titles.contains(&json!("Nieuw")));
}

#[test]
fn snapshot_needs_its_folder_and_a_run_that_ends() {
    let site = Site::new();
    let directory = site.directory("work");
    fs::remove_dir(directory.join("snapshot")).unwrap();
    site.run(&directory, &[]).check(78, &["there is no folder"]);
    site.run(&directory, &["--follow"]).check(2, &["--follow"]);
    site.zeef(&["run", "--snapshot"]).check(2, &["--directory"]);
}
