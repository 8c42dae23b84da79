//! `zeef explain --brokers`: it says of what lies on Kafka what a run decides.

use std::collections::BTreeMap;

use super::test_site::{WAIT_TIMEOUT, loan_with_status, objection_record, text_field};
use super::{SiteOptions, TestSite, open_loan, patron_record};
use crate::harness::ProducerRecord;

/// What is said of a recipient's record.
#[track_caller]
fn run_explain(site: &TestSite<'_>, arguments: &[&str], code: i32) -> String {
    let mut zeef = site.spawn_command(&[&["explain"], arguments].concat());
    let said = zeef.wait_exit(WAIT_TIMEOUT);
    let text = format!("{}{}", zeef.stdout(), zeef.stderr());
    assert_eq!(said, code, "{text}");
    text
}

#[test]
fn explain_of_kafka_records_agrees_with_what_a_run_decides() {
    let options = SiteOptions { partitions: 3, ..SiteOptions::default() };
    let Some(site) = TestSite::new("explain", options) else {
        return;
    };
    let ids = ["first", "second", "third", "fourth"];
    let patrons: Vec<ProducerRecord> =
        ids.iter().map(|id| patron_record(id, "Voorbeeld")).collect();
    site.topics.write_records("patron", &patrons);
    let mut loans: Vec<ProducerRecord> =
        ids.iter().map(|id| open_loan(&format!("L-{id}"), id)).collect();
    loans.push(loan_with_status("returned", "L-second", "second"));
    loans.push(open_loan("L-nobody", "nobody"));
    site.topics.write_records("loan", &loans);
    site.topics.write_records("objection", &[objection_record("third")]);
    site.topics.write_records("patron", &[ProducerRecord::tombstone("fourth")]);
    let before: Vec<String> =
        ids.iter().map(|id| explain_verdict(&site, "statistics", id)).collect();
    site.run_until_end(&[]);
    for (id, before) in ids.iter().zip(before) {
        assert_eq!(explain_verdict(&site, "statistics", id), before, "{id}");
    }
    assert_eq!(explain_verdict(&site, "statistics", "first"), "RELEASED");
    assert_eq!(explain_verdict(&site, "service-message", "second"), "WITHHELD  condition");
    assert_eq!(explain_verdict(&site, "statistics", "third"), "WITHHELD  objection");
    assert_eq!(explain_verdict(&site, "service-message", "third"), "RELEASED");
    assert_eq!(explain_verdict(&site, "service-message", "fourth"), "WITHHELD  patron_erased");
    assert_eq!(explain_verdict(&site, "service-message", "nobody"), "HELD  patron_unknown");
    // The last value of each key is what the partner has.
    let rows = site.read_outputs("service-message");
    let last: BTreeMap<_, _> = rows.iter().map(|row| (row.key.clone(), row)).collect();
    let has = last.values().filter(|row| row.value_text().is_some());
    let mut has: Vec<String> = has.map(|row| text_field(row, "title")).collect();
    has.sort();
    assert_eq!(has, ["L-first", "L-third"]);

    // By where it lies, under the topic's own name or as the config calls the kind.
    let text = run_explain(&site, &["service-message", "--id", "L-first"], 0);
    let topic = site.topics.full_name("loan");
    let place = text.split_whitespace().find(|word| word.starts_with(&topic));
    let place = place.expect("where it lies").trim_end_matches(',');
    let own = place.replacen(&topic, "loan", 1);
    for place in [place, &own] {
        let there = run_explain(&site, &["service-message", "--at", place], 0);
        assert!(there.contains("\nRELEASED") && there.contains("Voorbeeld"), "{there}");
    }
    run_explain(&site, &["service-message", "--at", "loan-2@99999"], 1);
    run_explain(&site, &["service-message", "--at", "loan-77@0"], 1);
    run_explain(&site, &["service-message", "--id", "L-none"], 1);

    // Who has an id after an erasure has nothing of what came before it.
    site.topics.write_records("patron", &[patron_record("fourth", "Anders")]);
    assert_eq!(explain_verdict(&site, "service-message", "fourth"), "WITHHELD  patron_erased");
    site.topics.write_records("loan", &[open_loan("L-fourth", "fourth")]);
    assert_eq!(explain_verdict(&site, "service-message", "fourth"), "RELEASED");
}

/// What is said of the last version of a patron's loan.
#[track_caller]
fn explain_verdict(site: &TestSite<'_>, recipient: &str, patron: &str) -> String {
    let text = run_explain(site, &[recipient, "--id", &format!("L-{patron}")], 0);
    let is_verdict = |line: &&str| {
        let words = ["RELEASED", "WITHHELD", "HELD"];
        words.iter().any(|word| line.starts_with(word))
    };
    let line = text.lines().rfind(is_verdict);
    let line = line.expect("a verdict");
    line.split(':').next().unwrap_or(line).to_owned()
}
