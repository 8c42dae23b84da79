//! Retractions that a recipient acknowledges, in a directory.

use std::fs;
use std::sync::Arc;

use zeef::config::keyring::{KeyRing, LEDGER_KEY_NAME};
use zeef::daemon::metrics::Metrics;
use zeef::daemon::partner_watch::PartnerWatch;
use zeef::daemon::retraction_follower::{FollowedData, RetractionFollower};
use zeef::ledger::keys::LedgerKeys;
use zeef::ledger::retractions::RetractionTracker;

use crate::command_line::{Deployment, reservation};

/// A library whose recipient of slips acknowledges, and has one to acknowledge. Returns the id of
/// the patron, too.
fn with_retraction() -> (Deployment, String) {
    let (deployment, id) = Deployment::with_ready_reservation();
    ask_to_acknowledge(&deployment);
    deployment.append("reservation", &id, &reservation(&id, "collected"));
    deployment.run();
    (deployment, id)
}

fn ask_to_acknowledge(deployment: &Deployment) {
    let file = deployment.path("config/recipients/reservation-slip.toml");
    let text = fs::read_to_string(&file).unwrap();
    let ack = "\nack = { topic = \"ack.slip\", within = \"P7D\", since = \"2020-01-01\" }\ntopic ";
    assert!(text.contains("\ntopic "));
    fs::write(&file, text.replacen("\ntopic ", ack, 1)).unwrap();
}

/// The key under which the slip was taken back.
fn retracted_key(deployment: &Deployment) -> String {
    let path = deployment.path("data/out/reservation-slip/out.reservation-slip.ndjson");
    let text = fs::read_to_string(path).unwrap();
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert!(last["value"].is_null(), "{text}");
    last["key"].as_str().unwrap().to_owned()
}

fn acknowledge(deployment: &Deployment, lines: &[String]) {
    let folder = deployment.path("data/ack");
    fs::create_dir_all(&folder).unwrap();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(folder.join("reservation-slip.ndjson"), text).unwrap();
}

fn line(key: &str, time: &str) -> String {
    format!("{{\"key\":\"{key}\",\"value\":\"{time}\"}}")
}

fn retractions(deployment: &Deployment, words: &[&str]) -> serde_json::Value {
    let data = deployment.path("data");
    let place = ["--json", "--directory", data.to_str().unwrap()];
    let text = deployment.zeef(&[&["retractions"], words, &place[..]].concat());
    serde_json::from_str(&text).unwrap()
}

#[test]
fn retraction_is_open_until_its_recipient_acknowledges_it() {
    let (deployment, id) = with_retraction();
    let open = retractions(&deployment, &["--open"]);
    assert_eq!(open.as_array().unwrap().len(), 1, "{open}");
    assert_eq!(open[0]["recipient"], "reservation-slip");
    assert_eq!((&open[0]["reason"], &open[0]["overdue"]), (&"ended".into(), &false.into()));
    let letter = ["rights", "access", &id, "--identity", "paspoort", "--lang", "nl"];
    let data = deployment.path("data");
    let place = ["--directory", data.to_str().unwrap()];
    let answers = || {
        let patron = deployment.ledger(&["patron", &id, "--json"]);
        let patron: serde_json::Value = serde_json::from_str(&patron).unwrap();
        let told = deployment.ledger(&["patron", &id]);
        let letter = deployment.zeef(&[&letter[..], &place[..]].concat());
        (patron["unacknowledged"].clone(), told, letter)
    };
    let (patron, told, written) = answers();
    assert_eq!(patron[0]["retractions"], 1, "{patron}");
    assert!(
        told.contains("Reserveringsbon in de afhaalkast") && told.contains("confirm"),
        "{told}"
    );
    assert!(written.contains("bevestigen"), "{written}");
    // Nobody else is told of it.
    let other = deployment.ledger(&["patron", "other", "--json"]);
    let other: serde_json::Value = serde_json::from_str(&other).unwrap();
    assert_eq!(other["unacknowledged"], serde_json::json!([]));

    let key = retracted_key(&deployment);
    let now = jiff::Timestamp::now().to_string();
    // Before the retraction, of another key, in the future, damaged.
    acknowledge(
        &deployment,
        &[
            line(&key, "2020-01-01T00:00:00Z"),
            line("AAAAAAAAAAAAAAAAAAAAAA", &now),
            line(&key, "2999-01-01T00:00:00Z"),
            "{\"key\":\"x\"}".to_owned(),
        ],
    );
    let summary = retractions(&deployment, &["reservation-slip"]);
    let count = |name: &str| summary[0][name].as_u64().unwrap();
    assert_eq!(["open", "accepted", "unmatched", "damaged"].map(count), [1, 0, 2, 2], "{summary}");
    acknowledge(&deployment, &[line(&key, &now), line(&key, &now)]);
    let summary = retractions(&deployment, &[]);
    let count = |name: &str| summary[0][name].as_u64().unwrap();
    let names = ["retracted", "open", "overdue", "accepted", "unmatched", "damaged"];
    assert_eq!(names.map(count), [1, 0, 0, 1, 1, 0], "{summary}");
    assert_eq!(retractions(&deployment, &["--open"]), serde_json::json!([]));
    let (patron, told, written) = answers();
    assert_eq!(patron, serde_json::json!([]));
    assert!(!told.contains("confirm") && !written.contains("bevestigen"), "{told}{written}");
}

#[test]
fn proof_of_an_erasure_tells_what_is_not_acknowledged() {
    let (deployment, id) = Deployment::with_ready_reservation();
    ask_to_acknowledge(&deployment);
    deployment.append("patron", &id, "null");
    deployment.run();
    let data = deployment.path("data");
    let proof = |words: &[&str]| {
        let base = ["rights", "erase", &id, "--proof", "--directory", data.to_str().unwrap()];
        deployment.zeef(&[&base[..], words].concat())
    };
    let told: serde_json::Value = serde_json::from_str(&proof(&["--json"])).unwrap();
    assert_eq!(told["erased"], true, "{told}");
    assert_eq!(told["unacknowledged"][0]["recipient"], "reservation-slip", "{told}");
    assert!(proof(&[]).contains("has to confirm by"), "{}", proof(&[]));
    let key = retracted_key(&deployment);
    acknowledge(&deployment, &[line(&key, &jiff::Timestamp::now().to_string())]);
    let told: serde_json::Value = serde_json::from_str(&proof(&["--json"])).unwrap();
    assert_eq!(told["unacknowledged"], serde_json::json!([]), "{told}");
}

/// It decides nothing, and no word of it is in the log.
#[test]
fn damaged_acknowledgement_is_a_warning_of_a_run() {
    let (deployment, _) = with_retraction();
    let data = deployment.path("data");
    let run = || {
        let mut command = deployment.command(&["run", "--directory", data.to_str().unwrap()]);
        let ran = command.output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.success(), "{said}");
        said
    };
    const WARNING: &str = "acknowledgements without a key";
    let said = run();
    assert!(!said.contains(WARNING), "{said}");
    acknowledge(&deployment, &["not json".to_owned()]);
    let said = run();
    assert!(
        said.contains(WARNING) && said.contains("ack/reservation-slip.ndjson byte 0"),
        "{said}"
    );
    assert!(!said.contains("not json"), "{said}");
}

#[test]
fn retraction_is_overdue_once_its_term_is_over() {
    let (deployment, _) = with_retraction();
    let loaded = zeef::cli::load(&deployment.path("config")).unwrap();
    let ring = KeyRing::load(&loaded.daemon.keys, [LEDGER_KEY_NAME]).unwrap();
    let keys = LedgerKeys::new(ring.ledger_key().unwrap()).unwrap();
    let tracker = RetractionTracker::of_policy(&loaded.policy, keys).unwrap();
    let data = FollowedData::Directory(deployment.path("data"));
    let metrics = Arc::new(Metrics::new("test").unwrap());
    let follower = RetractionFollower::new(data, tracker);
    let mut watch = PartnerWatch::of_retractions(follower, Arc::clone(&metrics));
    let mut check = |day: i64, overdue: u64| {
        watch.check_acknowledgements(jiff::Timestamp::now().as_millisecond() + day * 86_400_000);
        let text = metrics.render();
        let gauge = |name: &str, value: u64| {
            let line = format!("zeef_retractions_{name}{{recipient=\"reservation-slip\"}} {value}");
            assert!(text.contains(&line), "{line} in {text}");
        };
        gauge("unacknowledged", 1);
        gauge("overdue", overdue);
    };
    check(0, 0);
    check(6, 0);
    check(8, 1);
    // While the ledger cannot be read nobody knows.
    fs::remove_file(deployment.path("data/.zeef/committed.json")).unwrap();
    fs::create_dir(deployment.path("data/.zeef/committed.json")).unwrap();
    watch.check_acknowledgements(0);
    assert!(!metrics.render().contains("zeef_retractions_"), "{}", metrics.render());
}

#[test]
fn retractions_of_a_recipient_that_does_not_acknowledge_are_refused() {
    let (deployment, _) = with_retraction();
    let data = deployment.path("data");
    let place = ["--directory", data.to_str().unwrap()];
    let ran = deployment
        .command(&[&["retractions", "--open", "reservation-slp"][..], &place].concat())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert!(said.contains("did you mean `reservation-slip`?"), "{said}");
    let without = Deployment::new();
    let data = without.path("data");
    let ran =
        without.command(&["retractions", "--directory", data.to_str().unwrap()]).output().unwrap();
    assert_eq!(ran.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("has `ack` in its file"));
}
