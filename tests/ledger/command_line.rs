//! What `zeef ledger` says of a real run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use zeef_test_kit::config::copy_dir;
use zeef_test_kit::process;

/// A word that stands in every value of the records.
pub(crate) const CANARY: &str = "kanarie7Q";

pub(crate) struct Deployment {
    pub(crate) folder: tempfile::TempDir,
}

impl Deployment {
    /// A library with one patron, a hold that is ready and a consent that is missing.
    pub(crate) fn new() -> Deployment {
        let deployment = Deployment { folder: tempfile::tempdir().unwrap() };
        let config = deployment.path("config");
        copy_dir(Path::new("config"), &config);
        let settings = config.join("zeef.toml");
        let text = fs::read_to_string(&settings).unwrap();
        let on = "\n[ledger]\nenabled = true\noperator = \"privacy-desk\"\nregister = \"https://example.org/register\"\n";
        let text = text.replace("\n[ledger]\n", on);
        assert!(text.contains("enabled = true"), "zeef.toml has no [ledger]");
        fs::write(&settings, text).unwrap();
        fs::create_dir_all(deployment.path("data/in")).unwrap();
        deployment.zeef(&["keys", "new", "--all"]);
        deployment
    }

    /// One that has run, of two patrons. Returns the id of the one whose reservation is ready, too.
    pub(crate) fn with_ready_reservation() -> (Deployment, String) {
        let deployment = Deployment::new();
        let id = format!("{CANARY}-p");
        deployment.append("patron", &id, &patron(&id));
        deployment.append("patron", "other", &patron("other"));
        deployment.append("reservation", &id, &reservation(&id, "ready_for_pickup"));
        deployment.run();
        (deployment, id)
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = process::zeef_command(env!("CARGO_BIN_EXE_zeef"), arguments);
        command.env("ZEEF_CONFIG", self.path("config"));
        command
    }

    /// Runs a command that has to succeed. Returns what it prints.
    pub(crate) fn zeef(&self, arguments: &[&str]) -> String {
        let ran = self.command(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(ran.stdout).unwrap()
    }

    pub(crate) fn ledger(&self, arguments: &[&str]) -> String {
        let data = self.path("data");
        let place = ["--directory", data.to_str().unwrap()];
        self.zeef(&[&["ledger"], arguments, &place].concat())
    }

    pub(crate) fn append(&self, source: &str, key: &str, value: &str) {
        self.append_line(source, &format!("{{\"key\":\"{key}\",\"value\":{value}}}"));
    }

    pub(crate) fn append_line(&self, source: &str, line: &str) {
        let path = self.path("data/in").join(format!("{source}.ndjson"));
        let mut text = fs::read_to_string(&path).unwrap_or_default();
        text.push_str(line);
        text.push('\n');
        fs::write(path, text).unwrap();
    }

    pub(crate) fn run(&self) {
        let data = self.path("data");
        for source in ["patron", "reservation"] {
            let path = data.join("in").join(format!("{source}.ndjson"));
            assert!(path.exists());
        }
        self.zeef(&["run", "--directory", data.to_str().unwrap()]);
    }
}

pub(crate) fn patron(id: &str) -> String {
    format!(
        r#"{{"patron_id":"{id}","library":"NL-AmrBKW","kind":"person","card_number":"2001{CANARY}300456789","surname":"{CANARY}berg","initials":"{CANARY}","email":"{CANARY}@example.org","birth_date":"1980-01-02","membership":{{"id":"{CANARY}-m","status":"active"}}}}"#
    )
}

pub(crate) fn reservation(id: &str, status: &str) -> String {
    format!(
        r#"{{"reservation_id":"{CANARY}-r","patron_id":"{id}","library":"NL-AmrBKW","status":"{status}","expires_on":"2099-01-01","item":{{"title":"{CANARY} titel"}}}}"#
    )
}

#[test]
fn ledger_commands_answer_for_a_directory() {
    let (deployment, id) = Deployment::with_ready_reservation();
    let now = deployment.ledger(&["patron", &id]);
    assert!(now.contains("reservation-slip") && now.contains("pickup"), "{now}");
    assert!(now.contains("given") && now.contains("shelf_mark"), "{now}");
    deployment.append("reservation", &id, &reservation(&id, "collected"));
    deployment.run();

    let verified = deployment.ledger(&["verify"]);
    assert!(verified.starts_with("ok "), "{verified}");
    let later = deployment.ledger(&["patron", &id, "--lang", "nl"]);
    assert!(later.contains("teruggenomen") && later.contains("voorwaarde"), "{later}");
    let json: serde_json::Value =
        serde_json::from_str(&deployment.ledger(&["patron", &id, "--json"])).unwrap();
    let has_slip = |list: &serde_json::Value| {
        list.as_array().unwrap().iter().any(|one| one["recipient"] == "reservation-slip")
    };
    assert!(!has_slip(&json["now"]) && has_slip(&json["history"]), "{json}");
    let uri = json["history"][0]["activity"].as_str().unwrap();
    assert!(uri.starts_with("https://example.org/register/"), "{uri}");
    let nobody = deployment.ledger(&["patron", "nobody"]);
    assert!(nobody.contains("No recipient has anything"), "{nobody}");

    let question =
        ["recipient", "reservation-slip", "--from", "2020-01-01", "--until", "2090-01-01"];
    let received = deployment.ledger(&question);
    assert!(received.starts_with("1 patrons"), "{received}");
    let of_field =
        deployment.ledger(&[&question[..], &["--field", "shelf_mark", "--json"]].concat());
    let of_field: serde_json::Value = serde_json::from_str(&of_field).unwrap();
    assert_eq!(of_field["patrons"], 1, "{of_field}");
    let of_none = deployment.ledger(&[&question[..], &["--field", "iban", "--json"]].concat());
    assert_eq!(serde_json::from_str::<serde_json::Value>(&of_none).unwrap()["patrons"], 0);
    let stats = deployment.ledger(&["stats"]);
    assert!(stats.contains("reservation-slip") && stats.contains(" a line)"), "{stats}");

    check_script(&deployment);
    check_no_value(&deployment, &[now, later, verified, received, stats]);
    check_changed_line(&deployment);
}

/// The script finds it whole, with the heads that zeef wrote down.
pub(crate) fn check_script(deployment: &Deployment) {
    let heads = deployment.path("heads.json");
    deployment.ledger(&["verify", "--heads", heads.to_str().unwrap()]);
    let ran = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/verify_ledger.py"))
        .arg(deployment.path("data/.zeef/ledger"))
        .arg("--heads")
        .arg(heads)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && !said.contains("without"), "{said}");
}

fn check_no_value(deployment: &Deployment, answers: &[String]) {
    for entry in fs::read_dir(deployment.path("data/.zeef/ledger")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains(CANARY) && !text.is_empty());
    }
    assert!(answers.iter().all(|answer| !answer.contains(CANARY)));
}

/// One hidden change of the last block is found, and named.
fn check_changed_line(deployment: &Deployment) {
    let folder = deployment.path("data/.zeef/ledger");
    let of_year = |path: &std::path::PathBuf| !path.ends_with("policy.ndjson");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let path = files.filter(of_year).max().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let at = text.rfind("\"retract\"").unwrap();
    let changed = format!("{}\"correct\"{}", &text[..at], &text[at + 9..]);
    fs::write(&path, changed).unwrap();
    let data = deployment.path("data");
    let arguments = ["ledger", "verify", "--directory", data.to_str().unwrap()];
    let ran = deployment.command(&arguments).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(said.contains("last block"), "{said}");
    let ran = deployment.command(&["run", "--directory", data.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success() && said.contains("ledger"), "{said}");
    fs::write(&path, text).unwrap();
}

#[test]
fn rights_access_tells_a_patron_who_has_what_and_no_value() {
    let (deployment, id) = Deployment::with_ready_reservation();
    let data = deployment.path("data");
    let place = ["--directory", data.to_str().unwrap()];
    let access = |words: &[&str]| {
        let base = ["rights", "access", id.as_str(), "--identity", "paspoort aan de balie"];
        deployment.zeef(&[&base[..], words, &place[..]].concat())
    };
    let letter = access(&["--lang", "nl"]);
    for want in [
        "paspoort aan de balie",
        "### Reserveringsbon",
        "Op grond van: overeenkomst",
        "Tot: 14 dagen na deze dag: laatste dag waarop",
        "  - `initial`: voorletters, met of zonder punten (toont de eerste voorletter",
        "  - `slip`: de regels van een bon",
        "| wanneer | ontvanger | wat | waarom | gegevens |",
        "Autoriteit Persoonsgegevens",
    ] {
        assert!(letter.contains(want), "{want} in {letter}");
    }
    // What a privacy officer has to know of a field is no part of the answer.
    assert!(!letter.contains("standaardinlog"), "{letter}");
    let english = access(&[]);
    assert!(english.contains("What others have of you now"), "{english}");
    assert!(english.contains("On the basis of: contract"), "{english}");
    // A value of nobody, and nobody else.
    let asked = [letter, english, access(&["--json"])].join("\n");
    assert!(!asked.contains(CANARY) && !asked.contains("other\""), "{asked}");
    deployment.append("reservation", &id, &reservation(&id, "collected"));
    deployment.append("patron", &id, "null");
    deployment.run();
    let after = access(&["--lang", "nl"]);
    assert!(after.contains("Geen ontvanger heeft iets van deze lener."), "{after}");
    assert!(after.contains("teruggenomen | lener gewist"), "{after}");
    // The library's own text is used where it has one.
    let own = deployment.path("config/templates/access.nl.md");
    fs::write(&own, "Op {date}: {now}").unwrap();
    assert!(access(&["--lang", "nl"]).ends_with(": Geen ontvanger heeft iets van deze lener."));
    fs::write(&own, "{dat}").unwrap();
    let words = ["rights", "access", "x", "--identity", "y", "--lang", "nl", place[0], place[1]];
    let ran = deployment.command(&words).output().unwrap();
    assert_eq!(ran.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("unknown placeholder `{dat}`"));
    let words = ["rights", "access", "x", "--identity", " ", place[0], place[1]];
    assert_eq!(deployment.command(&words).output().unwrap().status.code(), Some(2));
}

/// On record with what zeef knows, and nobody's id; people fill in the rest.
#[test]
fn breach_is_put_on_record_and_its_clock_is_told() {
    let (deployment, id) = Deployment::with_ready_reservation();
    let (data, record) = (deployment.path("data"), deployment.path("incidents"));
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let (from, until) = (today.to_string(), today.tomorrow().unwrap().to_string());
    let hours_ago = |hours: i64| {
        let at = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours);
        jiff::Timestamp::from_second(at.as_second()).unwrap().to_string()
    };
    let folder = record.to_str().unwrap();
    let breach = |discovered: &str| {
        let words = ["breach", "reservation-slip", "--from", &from, "--until", &until];
        let place = ["--directory", data.to_str().unwrap(), "--record", folder, "--lang", "nl"];
        let found = ["--discovered", discovered];
        deployment.zeef(&[&words[..], &place, &found].concat())
    };
    for hours in [1, 1, 100] {
        assert!(breach(&hours_ago(hours)).contains("concept van de meldingen"));
    }
    let list = |words: &[&str]| deployment.zeef(&[&["incidents", folder], words].concat());
    let told: serde_json::Value = serde_json::from_str(&list(&["--json"])).unwrap();
    let told = told.as_array().unwrap();
    assert_eq!(told.len(), 3, "{told:?}");
    let clocks: Vec<&str> = told.iter().map(|one| one["clock"].as_str().unwrap()).collect();
    assert_eq!(clocks, ["overdue", "running", "running"]);
    assert_eq!((&told[1]["patrons"], &told[1]["records"]), (&1.into(), &1.into()));
    let text = list(&["--lang", "nl"]);
    assert!(text.contains("te laat sinds") && text.contains("nog 70 uur"), "{text}");
    let mut files: Vec<_> =
        fs::read_dir(&record).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for path in &files {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains("operator   = \"privacy-desk\""), "{text}");
        assert!(!text.contains(CANARY) && !text.contains(&id), "{text}");
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
    // Somebody fills one in.
    let text = fs::read_to_string(&files[0]).unwrap();
    let sent = format!("decision = \"notify\"\nsent = \"{}\"\n\n[persons]\n", hours_ago(2));
    fs::write(&files[0], text.replacen("[persons]\n", &sent, 1)).unwrap();
    let text = list(&[]);
    assert!(text.contains("sent late, after 98 h") && text.contains("authority.reason"), "{text}");
    fs::write(&files[1], "recipient = 1\n").unwrap();
    let ran = deployment.command(&["incidents", folder]).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(78), "{said}");
    assert!(said.contains(".toml:1:") && said.contains("notify_by"), "{said}");
    // Without a time of discovery there are no 72 hours.
    let words = ["breach", "reservation-slip", "--from", &from, "--until", &until];
    let more = ["--record", folder, "--directory", data.to_str().unwrap()];
    let ran = deployment.command(&[&words[..], &more].concat()).output().unwrap();
    assert_eq!(ran.status.code(), Some(2));
}

#[test]
fn breach_drafts_the_notices_with_numbers_and_deadline() {
    let (deployment, _) = Deployment::with_ready_reservation();
    let data = deployment.path("data");
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let (from, until) = (today.to_string(), today.tomorrow().unwrap().to_string());
    let breach = |recipient: &str, words: &[&str]| {
        let place = ["--directory", data.to_str().unwrap(), "--from", &from, "--until", &until];
        deployment.zeef(&[&["breach", recipient], &place[..], words].concat())
    };
    let found = ["--discovered", "2026-11-30T09:00:00Z"];
    let draft = breach("kb-recognition", &[&found[..], &["--lang", "nl"]].concat());
    for want in [
        "Ontdekt: 2026-11-30 09:00 UTC",
        "vóór 2026-12-03 09:00 UTC",
        "| leners (elk jaar één keer geteld) | 2 |",
        "| `card_number` |",
        "nummers en kenmerken",
        "[vul in: wat is er gebeurd]",
    ] {
        assert!(draft.contains(want), "{want} in {draft}");
    }
    let slip = breach("reservation-slip", &["--field", "title"]);
    assert!(slip.contains("| patrons (counted once in each year) | 1 |"), "{slip}");
    assert!(slip.contains("Discovered: […]"), "{slip}");
    // Of a recipient that is not served nothing is known but what the ledger says.
    let none = breach("nobody", &[]);
    assert!(none.contains("Recipient: nobody") && none.contains("| records | 0 |"), "{none}");
    assert!(![draft, slip, none].concat().contains(CANARY));
}

#[test]
fn ledger_export_has_each_line_in_each_form() {
    let deployment = Deployment::new();
    let id = format!("{CANARY}-p");
    deployment.append("patron", &id, &patron(&id));
    deployment.append("reservation", &id, &reservation(&id, "ready_for_pickup"));
    deployment.run();
    let json_lines = |text: &str| -> Vec<serde_json::Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let stats: serde_json::Value =
        serde_json::from_str(&deployment.ledger(&["stats", "--json"])).unwrap();
    let count = usize::try_from(stats["lines"].as_u64().unwrap()).unwrap();
    let text = deployment.ledger(&["export", "--as", "ldv"]);
    let ldv = json_lines(&text);
    assert_eq!(ldv.len(), count);
    let slip = ldv
        .iter()
        .find(|line| {
            let activity = line["attributes"]["dpl.core.processing_activity_id"].as_str().unwrap();
            activity.starts_with("https://example.org/register/reservation-slip/")
        })
        .unwrap();
    assert_eq!(slip["traceId"].as_str().unwrap().len(), 36);
    assert_eq!(slip["spanId"].as_str().unwrap().len(), 16);
    assert_eq!((&slip["status"], &slip["name"]), (&"Unset".into(), &"release".into()));
    assert_eq!(slip["attributes"]["dpl.core.data_subject_id"].as_str().unwrap().len(), 22);
    assert!(slip["attributes"]["zeef.fields"].as_array().unwrap().contains(&"shelf_mark".into()));
    let otlp = json_lines(&deployment.ledger(&["export", "--as", "otlp"]));
    let spans = otlp.iter().flat_map(|one| {
        one["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone()
    });
    assert_eq!(spans.count(), count);
    let csv = deployment.ledger(&["export", "--as", "csv"]);
    assert_eq!(csv.lines().count(), count + 1);
    assert!(csv.starts_with("time,trace_id,operation_id,recipient,"), "{csv}");
    let later = deployment.ledger(&["export", "--as", "csv", "--from", "2099-01-01"]);
    assert_eq!(later.lines().count(), 1);
    assert!(!format!("{text}{csv}").contains(CANARY));
}
