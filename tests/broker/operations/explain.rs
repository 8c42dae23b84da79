//! `zeef explain --brokers`: it says of what lies on Kafka what a run decides.

use std::collections::BTreeMap;

use super::site::{WAIT, loan_that_is, member, objection};
use super::{Options, Site, loan, patron};
use crate::harness::Record;

/// What is said of a recipient's record.
#[track_caller]
fn explained(site: &Site<'_>, words: &[&str], code: i32) -> String {
    let mut zeef = site.zeef(&[&["explain"], words].concat());
    let said = zeef.wait_exit(WAIT);
    let text = format!("{}{}", zeef.stdout(), zeef.stderr());
    assert_eq!(said, code, "{text}");
    text
}

#[test]
fn what_lies_on_kafka_is_explained_as_a_run_decides_it() {
    let options = Options {
        partitions: 3,
        ..Options::default()
    };
    let Some(site) = Site::new("explain", options) else {
        return;
    };
    let ids = ["first", "second", "third", "fourth"];
    let patrons: Vec<Record> = ids.iter().map(|id| patron(id, "Voorbeeld")).collect();
    site.topics.write("patron", &patrons);
    let mut loans: Vec<Record> = ids.iter().map(|id| loan(&format!("L-{id}"), id)).collect();
    loans.push(loan_that_is("returned", "L-second", "second"));
    loans.push(loan("L-nobody", "nobody"));
    site.topics.write("loan", &loans);
    site.topics.write("objection", &[objection("third")]);
    site.topics.write("patron", &[Record::tombstone("fourth")]);
    let before: Vec<String> = ids
        .iter()
        .map(|id| verdict(&site, "statistics", id))
        .collect();
    site.until_end(&[]);
    for (id, before) in ids.iter().zip(before) {
        assert_eq!(verdict(&site, "statistics", id), before, "{id}");
    }
    assert_eq!(verdict(&site, "statistics", "first"), "RELEASED");
    assert_eq!(
        verdict(&site, "service-message", "second"),
        "WITHHELD  condition"
    );
    assert_eq!(verdict(&site, "statistics", "third"), "WITHHELD  objection");
    assert_eq!(verdict(&site, "service-message", "third"), "RELEASED");
    assert_eq!(
        verdict(&site, "service-message", "fourth"),
        "WITHHELD  patron_erased"
    );
    assert_eq!(
        verdict(&site, "service-message", "nobody"),
        "HELD  patron_unknown"
    );
    // The last value of each key is what the partner has.
    let rows = site.outputs("service-message");
    let last: BTreeMap<_, _> = rows.iter().map(|row| (row.key.clone(), row)).collect();
    let has = last.values().filter(|row| row.text().is_some());
    let mut has: Vec<String> = has.map(|row| member(row, "title")).collect();
    has.sort();
    assert_eq!(has, ["L-first", "L-third"]);

    // By where it lies, under the topic's own name or as the config calls the kind.
    let text = explained(&site, &["service-message", "--id", "L-first"], 0);
    let topic = site.topics.name("loan");
    let place = text
        .split_whitespace()
        .find(|word| word.starts_with(&topic));
    let place = place.expect("where it lies").trim_end_matches(',');
    let own = place.replacen(&topic, "loan", 1);
    for place in [place, &own] {
        let there = explained(&site, &["service-message", "--at", place], 0);
        assert!(
            there.contains("\nRELEASED") && there.contains("Voorbeeld"),
            "{there}"
        );
    }
    explained(&site, &["service-message", "--at", "loan-2@99999"], 1);
    explained(&site, &["service-message", "--at", "loan-77@0"], 1);
    explained(&site, &["service-message", "--id", "L-none"], 1);

    // Who has an id after an erasure has nothing of what came before it.
    site.topics.write("patron", &[patron("fourth", "Anders")]);
    assert_eq!(
        verdict(&site, "service-message", "fourth"),
        "WITHHELD  patron_erased"
    );
    site.topics.write("loan", &[loan("L-fourth", "fourth")]);
    assert_eq!(verdict(&site, "service-message", "fourth"), "RELEASED");
}

/// What is said of the last version of a patron's loan.
#[track_caller]
fn verdict(site: &Site<'_>, recipient: &str, patron: &str) -> String {
    let text = explained(site, &[recipient, "--id", &format!("L-{patron}")], 0);
    let is_verdict = |line: &&str| {
        let words = ["RELEASED", "WITHHELD", "HELD"];
        words.iter().any(|word| line.starts_with(word))
    };
    let line = text.lines().rfind(is_verdict);
    let line = line.expect("a verdict");
    line.split(':').next().unwrap_or(line).to_owned()
}
