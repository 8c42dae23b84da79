//! What recipients have of a patron, with the values: that patron's alone, and in the audit first.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use zeef_test_kit::marked_patrons::{MarkedPatron, assert_no_traces};

use crate::command_line::{CANARY, Deployment};

const PATRONS: usize = 5;

fn today() -> jiff::civil::Date {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// A library whose patrons' values can all be told apart, and what its recipients have.
fn library() -> Deployment {
    let deployment = Deployment::new();
    let mut sources = BTreeMap::<&str, String>::new();
    for patron in (0..PATRONS).map(MarkedPatron) {
        let lines = [patron.patron_line()].into_iter().chain(patron.record_lines(today()));
        for line in lines {
            sources.entry(line.source).or_default().push_str(&line.to_ndjson());
        }
    }
    for (source, text) in sources {
        fs::write(deployment.path("data/in").join(format!("{source}.ndjson")), text).unwrap();
    }
    deployment.run();
    deployment
}

/// The values that recipients have now, by recipient.
fn current_outputs(deployment: &Deployment) -> Vec<(String, String)> {
    let mut outputs = Vec::new();
    for folder in fs::read_dir(deployment.path("data/out")).unwrap() {
        let folder = folder.unwrap();
        let recipient = folder.file_name().into_string().unwrap();
        if recipient == "zeef" {
            continue;
        }
        for file in fs::read_dir(folder.path()).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            let mut last = BTreeMap::new();
            for line in text.lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                last.insert(line["key"].to_string(), line["value"].clone());
            }
            let values = last.into_values().filter(|value| !value.is_null());
            outputs.extend(values.map(|value| (recipient.clone(), value.to_string())));
        }
    }
    outputs
}

fn shown_values(deployment: &Deployment, patron: &str) -> (String, Vec<(String, String)>) {
    let words = ["patron", patron, "--values", "--identity-checked", "paspoort", "--json"];
    let text = deployment.ledger(&words);
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["identity_checked"], "paspoort");
    assert_eq!(answer["values_missing"], 0, "{text}");
    let values = answer["values"].as_array().unwrap().iter();
    let one =
        |one: &Value| (one["recipient"].as_str().unwrap().to_owned(), one["value"].to_string());
    let mut values: Vec<_> = values.map(one).collect();
    values.sort();
    (text, values)
}

/// For each patron: every output that has something of the patron, and none of another's.
#[test]
fn values_of_a_patron_are_all_of_its_own_and_none_of_others() {
    let deployment = library();
    let outputs = current_outputs(&deployment);
    let mut total = 0;
    for number in 0..PATRONS {
        let patron = MarkedPatron(number);
        let (text, shown) = shown_values(&deployment, &patron.patron_id());
        let marks = patron.distinctive_values();
        let has_mark = |value: &str| marks.iter().any(|mark| value.contains(mark.as_str()));
        let mut own: Vec<_> =
            outputs.iter().filter(|(_, value)| has_mark(value)).cloned().collect();
        own.sort();
        let without = |list: &[(String, String)]| -> Vec<(String, String)> {
            list.iter().filter(|(_, value)| has_mark(value)).cloned().collect()
        };
        assert_eq!(without(&shown), own);
        assert!(own.len() > 4, "{own:?}");
        for other in (0..PATRONS).filter(|other| *other != number) {
            assert_no_traces("the answer", &text, MarkedPatron(other));
        }
        total += shown.len();
    }
    assert!(total <= outputs.len(), "{total} of {}", outputs.len());
    let (_, of_nobody) = shown_values(&deployment, "nobody");
    assert_eq!(of_nobody, []);
    // As text, too; without the flag no value is shown.
    let patron = MarkedPatron(0);
    let words = ["patron", &patron.patron_id(), "--values", "--identity-checked", "DigiD"];
    let text = deployment.ledger(&[&words[..], &["--lang", "nl"]].concat());
    assert!(text.contains("identiteit gecontroleerd met: DigiD"), "{text}");
    assert!(text.contains(&format!("{} titel", patron.marker())), "{text}");
    let plain = deployment.ledger(&["patron", &patron.patron_id()]);
    assert_no_traces("an answer without values", &plain, patron);
}

#[test]
fn values_need_a_check_of_the_identity_an_operator_and_the_audit() {
    let (deployment, id) = Deployment::with_ready_reservation();
    let data = deployment.path("data");
    let place = ["--directory", data.to_str().unwrap()];
    let refuse = |words: &[&str], code: i32| {
        let ran = deployment.command(&[&["ledger", "patron", &id][..], words, &place].concat());
        let ran = { ran }.output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(code), "{words:?}: {said}");
        assert!(!String::from_utf8_lossy(&ran.stdout).contains(CANARY), "{words:?}");
        said
    };
    refuse(&["--values"], 2);
    refuse(&["--identity-checked", "paspoort"], 2);
    let said = refuse(&["--values", "--identity-checked", " "], 2);
    assert!(said.contains("must not be empty"), "{said}");
    let before = deployment.ledger(&["audit", "--json"]);
    let asked = ["patron", &id, "--values", "--identity-checked", "kanarie-paspoort"];
    let shown = deployment.ledger(&asked);
    assert!(shown.contains(CANARY), "{shown}");
    let lines = deployment.ledger(&["audit", "--json"]);
    let last = lines.lines().last().unwrap();
    assert_eq!(lines.lines().count(), before.lines().count() + 1, "{lines}");
    assert!(last.contains("\"ledger patron --values\"") && last.contains("\"privacy-desk\""));
    assert!(!lines.contains("kanarie-paspoort") && !lines.contains(CANARY), "{lines}");

    let settings = deployment.path("config/zeef.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replace("operator = \"privacy-desk\"\n", "")).unwrap();
    let said = refuse(&asked[2..], 2);
    assert!(said.contains("--operator"), "{said}");
    // Nobody is shown anything that is not in the audit.
    let off = text.replace("enabled = true\noperator", "enabled = false\noperator");
    assert_ne!(off, text);
    fs::write(&settings, off).unwrap();
    let said = refuse(&asked[2..], 78);
    assert!(said.contains("[ledger] of zeef.toml"), "{said}");
    fs::write(&settings, &text).unwrap();
    let audit = deployment.path("data/.zeef/audit/audit.ndjson");
    fs::remove_file(&audit).unwrap();
    fs::create_dir(&audit).unwrap();
    let ran = deployment.command(&[&["ledger"], &asked[..], &place].concat());
    let ran = { ran }.output().unwrap();
    assert!(!ran.status.success() && ran.stdout.is_empty());
}
