//! A person beside the patron whom an output is about has a line of its own.

use std::fs;

use serde_json::Value;

use super::command_line::{CANARY, Deployment, check_script, patron};

const CHILD: &str = "child";
const PARENT: &str = "parent-1";
const OTHER_PARENT: &str = "parent-2";

const RECIPIENT: &str = r#"
name         = "guarantor-letter"
title        = "Brief aan wie instaat"
flows        = ["F01"]
topic        = "out.guarantor-letter"
purpose      = "guarantor"
purpose_text = "Wie voor een minderjarige instaat een brief sturen"
legal_basis  = "contract"
controller   = "Bibliotheek Voorbeeld"
contact      = "privacy@library.example.org"
persons      = "minderjarige leners en wie voor hen instaat"
transfers    = "geen"
security     = "TLS"
notice       = { on = "2018-05-25", where = "website" }
source       = "patron"
libraries    = "all"
when         = [{ field = "kind", is = ["person"] }]
retention    = { term = "P2Y", from = "membership.ends_on", after = "retract" }
key          = { pseudonym = "patron_id" }
fields_source = "proposed"

[fields]
membership      = { from = "membership.id" }
guarantor       = { from = "guarantor", fields = ["name"] }
guarantor_email = { from = "guarantor.email" }
"#;

/// A minor for whom somebody answers, whose e-mail address is not known.
fn child(guarantor: &str) -> String {
    let who = format!(
        r#""guarantor":{{"patron_id":"{guarantor}","name":"{CANARY} {guarantor}"}},"membership""#
    );
    patron(CHILD).replace("\"membership\"", &who)
}

/// A library with these patrons, before its first run.
fn library() -> Deployment {
    let deployment = Deployment::new();
    let path = deployment.path("config/recipients/guarantor-letter.toml");
    fs::write(path, RECIPIENT).unwrap();
    deployment.zeef(&["keys", "new", "guarantor-letter"]);
    for id in [PARENT, OTHER_PARENT] {
        deployment.append("patron", id, &patron(id));
    }
    // A run needs the file.
    fs::write(deployment.path("data/in/reservation.ndjson"), "").unwrap();
    deployment
}

fn answer(deployment: &Deployment, patron: &str) -> Value {
    serde_json::from_str(&deployment.ledger(&["patron", patron, "--json"])).unwrap()
}

fn of_recipient<'a>(list: &'a Value, recipient: &str) -> Vec<&'a Value> {
    list.as_array().unwrap().iter().filter(|one| one["recipient"] == recipient).collect()
}

/// What an answer says of `recipient` about another patron's outputs: operation, reason, fields.
fn events(answer: &Value, recipient: &str) -> Vec<String> {
    let events = of_recipient(&answer["history"], recipient).into_iter();
    events
        .filter(|event| event["of_other_patron"] == true)
        .map(|event| format!("{} {} {}", event["operation"], event["reason"], event["fields"]))
        .collect()
}

const GIVEN: &str = r#""release" null ["guarantor.name"]"#;

#[test]
fn guarantor_is_told_what_recipients_have_of_it_and_nothing_of_the_minor() {
    let deployment = library();
    deployment.append("patron", CHILD, &child(PARENT));
    deployment.run();
    let told = answer(&deployment, PARENT);
    assert_eq!(events(&told, "guarantor-letter"), [GIVEN]);
    // The parent's own output is no output of the minor.
    let now = of_recipient(&told["now"], "guarantor-letter");
    assert_eq!((&now[0]["records"], &now[0]["of_other_patrons"]), (&2.into(), &1.into()));
    let of_other = answer(&deployment, OTHER_PARENT);
    assert_eq!(of_recipient(&of_other["now"], "guarantor-letter")[0]["of_other_patrons"], 0);
    let values = ["patron", PARENT, "--values", "--identity-checked", "paspoort"];
    let values = deployment.ledger(&values);
    assert!(!values.contains(&format!("{CANARY} {PARENT}")), "{values}");
    // The minor's own answer has both fields, once.
    let minor = answer(&deployment, CHILD);
    let own = of_recipient(&minor["history"], "guarantor-letter");
    assert_eq!(own.len(), 1, "{minor}");
    assert_eq!(own[0]["fields"], serde_json::json!(["guarantor.name", "membership"]));

    // Somebody else answers for the minor: nothing was taken back, but it is about another one.
    deployment.append("patron", CHILD, &child(OTHER_PARENT));
    deployment.run();
    let told = answer(&deployment, PARENT);
    assert_eq!(events(&told, "guarantor-letter"), [GIVEN, r#""retract" null []"#]);
    assert_eq!(of_recipient(&told["now"], "guarantor-letter")[0]["of_other_patrons"], 0);
    let told = answer(&deployment, OTHER_PARENT);
    assert_eq!(events(&told, "guarantor-letter"), [GIVEN]);
    assert!(of_recipient(&told["now"], "guarantor-letter")[0]["of_other_patrons"] == 1);
    // What an erasure of the parent takes back is its own.
    let data = deployment.path("data");
    let words = ["rights", "erase", OTHER_PARENT, "--dry-run", "--json", "--directory"];
    let loses = deployment.zeef(&[&words[..], &[data.to_str().unwrap()]].concat());
    let loses: Value = serde_json::from_str(&loses).unwrap();
    assert_eq!(of_recipient(&loses["loses"], "guarantor-letter")[0]["records"], 1);

    deployment.append("patron", CHILD, "null");
    deployment.run();
    let told = answer(&deployment, OTHER_PARENT);
    let taken = r#""retract" "patron_erased" []"#;
    assert_eq!(events(&told, "guarantor-letter"), [GIVEN, taken]);
    let text = deployment.ledger(&["patron", OTHER_PARENT, "--lang", "nl"]);
    assert!(text.contains("in wat van een andere lener is verstrekt"), "{text}");
    check_counts(&deployment);
    check_export(&deployment);
    assert!(deployment.ledger(&["verify"]).starts_with("ok "));
    check_script(&deployment);
}

/// A breach concerns all whom outputs are about, and each output once.
fn check_counts(deployment: &Deployment) {
    let question =
        ["recipient", "guarantor-letter", "--from", "2020-01-01", "--until", "2090-01-01"];
    let summary = deployment.ledger(&[&question[..], &["--json"]].concat());
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["patrons"], 3, "{summary}");
    assert_eq!(summary["fields"]["guarantor.name"], 2, "{summary}");
    let named = ["--field", "guarantor", "--patrons", "--json"];
    let named = deployment.ledger(&[&question[..], &named].concat());
    for id in [PARENT, OTHER_PARENT] {
        assert!(named.contains(id), "{named}");
    }
}

/// Each line about another person names the one of its operation.
fn check_export(deployment: &Deployment) {
    let text = deployment.ledger(&["export", "--as", "ldv"]);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let children = lines.iter().filter(|line| line.get("parentSpanId").is_some());
    let children: Vec<&Value> = children.collect();
    assert_eq!(children.len(), 4, "{text}");
    for child in children {
        let parent = lines.iter().find(|line| line["spanId"] == child["parentSpanId"]).unwrap();
        assert_eq!(parent["traceId"], child["traceId"]);
        assert!(parent.get("parentSpanId").is_none());
        let subject = |line: &Value| line["attributes"]["dpl.core.data_subject_id"].clone();
        assert_ne!(subject(parent), subject(child));
    }
}

#[test]
fn family_member_is_told_of_the_access_until_it_ends() {
    let deployment = library();
    let consent = |decision: &str, at: &str| {
        format!(
            r#"{{"consent_id":"c-1","patron_id":"{CHILD}","library":"NL-AmrBKW","purpose":"family-access","recipient":"{PARENT}","decision":"{decision}","manner":"written","at":"{at}"}}"#
        )
    };
    let now = jiff::Timestamp::now();
    let ago = |hours: i64| (now - jiff::SignedDuration::from_hours(hours)).to_string();
    deployment.append("consent", CHILD, &consent("granted", &ago(48)));
    deployment.append("patron", CHILD, &patron(CHILD));
    deployment.run();
    let told = answer(&deployment, PARENT);
    assert_eq!(events(&told, "family-access"), [r#""release" null ["for"]"#]);
    assert_eq!(of_recipient(&told["now"], "family-access")[0]["of_other_patrons"], 1);
    deployment.append("consent", CHILD, &consent("refused", &ago(1)));
    deployment.run();
    let told = answer(&deployment, PARENT);
    let taken = r#""retract" "no_consent" []"#;
    assert_eq!(events(&told, "family-access"), [r#""release" null ["for"]"#, taken]);
    assert!(of_recipient(&told["now"], "family-access").is_empty());
    check_script(&deployment);
}

#[test]
fn other_person_that_is_no_id_of_the_kind_is_a_mistake() {
    let deployment = library();
    let path = deployment.path("config/records/patron.toml");
    let text = fs::read_to_string(&path).unwrap();
    for (value, want) in [
        ("guarantor.patron", "no field `guarantor.patron`"),
        ("guarantor.name", "`guarantor.name` is no such id"),
        ("patron_id", "`patron_id` is no such id"),
    ] {
        let changed = text.replace("\"guarantor.patron_id\"\n", &format!("\"{value}\"\n"));
        assert_ne!(changed, text);
        fs::write(&path, changed).unwrap();
        let ran = deployment.command(&["check"]).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(78), "{said}");
        assert!(said.contains(want) && said.contains("records/patron.toml:14"), "{said}");
    }
}

/// What a demand shows of the guarantor is in the ledger, and kept from it like the rest.
#[test]
fn guarantor_in_a_demanded_answer_has_a_line_and_is_not_told_of_it() {
    let deployment = library();
    let path = deployment.path("config/recipients/legal-demand.toml");
    let text = fs::read_to_string(&path).unwrap();
    let (off, topics) = ("enabled      = false\n", "of = {} }");
    assert!(text.contains(off) && text.contains(topics));
    let text = text.replacen(off, "", 1);
    let of = "of = { \"politie\" = \"out.legal-demand.politie\" } }";
    fs::write(&path, text.replacen(topics, of, 1)).unwrap();
    deployment.zeef(&["keys", "new", "--all"]);
    let now = jiff::Timestamp::now();
    let [received, advised, decided] =
        [72, 48, 24].map(|hours| (now - jiff::SignedDuration::from_hours(hours)).to_string());
    let demand = format!(
        r#"{{"demand_id":"v-1","patron_id":"{CHILD}","library":"NL-AmrBKW","authority":"politie","law_article":"126nd Sv","manner":"written","fields":["surname","guarantor.name"],"received_at":"{received}","team_leader":"T. Leider","advice":{{"by":"J. Urist","at":"{advised}","advice":"grant"}},"decision":{{"by":"D. Irecteur","role":"directeur","at":"{decided}","decision":"granted","legal_duty":true}}}}"#
    );
    deployment.append("patron", CHILD, &child(PARENT));
    deployment.append("demand", CHILD, &demand);
    deployment.run();
    assert!(events(&answer(&deployment, PARENT), "legal-demand").is_empty());
    let all = ["patron", PARENT, "--json", "--include-confidential"];
    let all: Value = serde_json::from_str(&deployment.ledger(&all)).unwrap();
    assert_eq!(events(&all, "legal-demand"), [r#""release" null ["patron.guarantor.name"]"#]);
    let minor = ["patron", CHILD, "--json", "--include-confidential"];
    let minor: Value = serde_json::from_str(&deployment.ledger(&minor)).unwrap();
    let own = of_recipient(&minor["history"], "legal-demand");
    let fields: Vec<String> = own.iter().map(|event| event["fields"].to_string()).collect();
    assert!(fields[0].contains("\"patron.guarantor.name\""), "{fields:?}");
    assert!(fields[0].contains("\"patron.surname\""), "{fields:?}");
}
