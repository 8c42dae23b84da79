//! Sources that are written anew with other partitions, to which states are carried.

use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{ProducerRecord, eventually};

use super::test_site::{WAIT_TIMEOUT, consent_record, objection_record};
use super::{SiteOptions, TestSite, open_loan, patron_record};

const SOURCES: [&str; 4] = ["patron", "consent", "objection", "loan"];

fn options(partitions: usize) -> SiteOptions<'static> {
    SiteOptions {
        recipients: &["service-message", "statistics", "kb-membership"],
        partitions,
        extra_tables: "[lanes.members]\nrecipients = [\"kb-membership\"]\n",
        ..SiteOptions::default()
    }
}

fn patron_ids(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("P{number}")).collect()
}

/// Makes the sources anew, empty and as these options say.
#[track_caller]
pub(super) fn recreate_sources(site: &TestSite<'_>, options: SiteOptions<'_>) {
    let sources = site.source_topics();
    for source in &sources {
        site.topics.delete(source);
    }
    eventually("the sources are gone", WAIT_TIMEOUT, || {
        site.source_topics().is_empty().then_some(())
    });
    site.write_config(options);
    // Its own topics may still be too small.
    let mut zeef = site.spawn_command(&["topics", "--apply"]);
    zeef.wait_exit(WAIT_TIMEOUT);
    assert_eq!(site.source_topics(), sources);
}

#[track_caller]
fn run_lanes_apply(site: &TestSite<'_>, arguments: &[&str], code: i32) -> String {
    let mut zeef = site.spawn_command(&[&["lanes", "apply"], arguments].concat());
    let found = zeef.wait_exit(WAIT_TIMEOUT);
    let said = format!("{}{}", zeef.stdout(), zeef.stderr());
    assert_eq!(found, code, "{said}");
    said
}

/// How many outputs a recipient was sent, and how many nulls.
fn count_outputs_and_nulls(site: &TestSite<'_>, recipient: &str) -> (usize, usize) {
    let rows = site.read_outputs(recipient);
    let nulls = rows.iter().filter(|row| row.value_text().is_none()).count();
    (rows.len() - nulls, nulls)
}

#[track_caller]
fn check_counts(site: &TestSite<'_>, want: [(usize, usize); 3]) {
    let recipients = ["service-message", "statistics", "kb-membership"];
    let found = recipients.map(|recipient| count_outputs_and_nulls(site, recipient));
    assert_eq!(found, want);
}

/// Writes patrons with a loan each; the first ten consent, two object, one withdraws.
fn write_all(site: &TestSite<'_>, ids: &[String], loans: &[ProducerRecord]) {
    let patrons: Vec<_> = ids.iter().map(|id| patron_record(id, "Berg")).collect();
    site.topics.write_records("patron", &patrons);
    let mut consents: Vec<_> =
        patron_ids(0..10).iter().map(|id| consent_record(id, "granted")).collect();
    consents.push(consent_record("P2", "withdrawn"));
    site.topics.write_records("consent", &consents);
    site.topics.write_records("objection", &[objection_record("P0"), objection_record("P1")]);
    site.topics.write_records("loan", loans);
}

fn loans_of(ids: &[String]) -> Vec<ProducerRecord> {
    ids.iter().map(|id| open_loan(&format!("L-{id}"), id)).collect()
}

#[test]
fn repartition_carries_what_recipients_have_to_more_partitions() {
    let Some(site) = TestSite::new("wider", options(2)) else {
        return;
    };
    let ids = patron_ids(0..20);
    write_all(&site, &ids, &loans_of(&ids));
    site.run_until_end(&[]);
    check_counts(&site, [(20, 0), (18, 0), (9, 0)]);
    site.topics.write_records("patron", &[ProducerRecord::tombstone("P19")]);
    site.run_until_end(&[]);
    check_counts(&site, [(20, 1), (18, 1), (9, 0)]);
    let ends = |recipient: &str| site.read_outputs(recipient).len();
    let before = ["service-message", "statistics", "kb-membership"].map(ends);

    // Written anew in another order: a loan is gone, one is of the erased patron.
    recreate_sources(&site, options(4));
    let mut kept = patron_ids(0..19);
    kept.reverse();
    let written: Vec<String> = ids.iter().rev().filter(|id| *id != "P5").cloned().collect();
    write_all(&site, &kept, &loans_of(&written));

    let said = site.expect_run_exit(&["--until-end"], 78);
    assert!(said.contains("zeef lanes apply --repartition"), "{said}");
    let said = run_lanes_apply(&site, &[], 78);
    assert!(said.contains("zeef lanes apply --repartition"), "{said}");
    let said = run_lanes_apply(&site, &["--repartition", "--dry-run"], 0);
    assert!(said.contains("lane main: would carry"), "{said}");
    assert!(said.contains("lane members: would carry"), "{said}");
    assert!(said.contains("from 2 to 4 partitions"), "{said}");
    assert!(said.contains("would carry 1 erased patron"), "{said}");
    site.expect_run_exit(&["--until-end"], 78);
    // Killed at any time it has done nothing, or all of it.
    for milliseconds in [150, 400, 800, 1_200, 1_800] {
        let zeef = site.spawn_command(&["lanes", "apply", "--repartition"]);
        std::thread::sleep(Duration::from_millis(milliseconds));
        zeef.send_signal(Signal::KILL);
    }
    run_lanes_apply(&site, &["--repartition"], 0);
    let said = run_lanes_apply(&site, &["--repartition"], 0);
    assert!(said.contains("nothing to carry"), "{said}");
    assert_eq!(["service-message", "statistics", "kb-membership"].map(ends), before);

    for _ in 0..2 {
        site.run_until_end(&[]);
        check_counts(&site, [(20, 2), (18, 2), (9, 0)]);
    }
    site.check_sources_committed(&site.group_id("main"), &SOURCES);

    // What is said from here on counts for what was carried.
    site.topics.write_records("objection", &[objection_record("P3")]);
    site.topics.write_records("consent", &[consent_record("P4", "withdrawn")]);
    site.topics.write_records("patron", &[ProducerRecord::tombstone("P6")]);
    site.topics.write_records("loan", &[open_loan("new", "P7"), open_loan("N-P0", "P0")]);
    site.run_until_end(&[]);
    check_counts(&site, [(22, 3), (19, 4), (9, 2)]);
}

#[test]
fn repartition_to_fewer_partitions_keeps_erasures() {
    let Some(site) = TestSite::new("narrower", options(3)) else {
        return;
    };
    let ids = patron_ids(0..10);
    write_all(&site, &ids, &loans_of(&ids));
    site.run_until_end(&[]);
    // Somebody else gets the id of an erased patron.
    let erased = [ProducerRecord::tombstone("P3"), ProducerRecord::tombstone("P4")];
    site.topics.write_records("patron", &erased);
    site.run_until_end(&[]);
    site.topics.write_records("patron", &[patron_record("P3", "Meer")]);
    site.topics.write_records("loan", &[open_loan("N-P3", "P3")]);
    site.run_until_end(&[]);
    check_counts(&site, [(11, 2), (9, 2), (9, 2)]);

    recreate_sources(&site, options(2));
    let kept: Vec<String> =
        ids.iter().filter(|id| !["P3", "P4"].contains(&&***id)).cloned().collect();
    let mut loans = loans_of(&ids);
    loans.push(open_loan("N-P3", "P3"));
    write_all(&site, &kept, &loans);
    site.topics.write_records("patron", &[patron_record("P3", "Meer")]);
    let said = site.expect_run_exit(&["--until-end"], 78);
    assert!(said.contains("2 partitions, had 3"), "{said}");
    let said = run_lanes_apply(&site, &["--repartition"], 0);
    assert!(said.contains("carried 2 erased patrons"), "{said}");
    // Nobody can tell which loans are of the patron before: none of them counts.
    for _ in 0..2 {
        site.run_until_end(&[]);
        check_counts(&site, [(11, 3), (9, 3), (9, 2)]);
    }
    site.topics.write_records("loan", &[open_loan("N-P3", "P3")]);
    site.run_until_end(&[]);
    check_counts(&site, [(12, 3), (10, 3), (9, 2)]);
}
