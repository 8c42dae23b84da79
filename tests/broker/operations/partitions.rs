//! Partitions that are added to sources: nothing goes on, as one patron's records
//! would lie in two of them.

use rustix::process::Signal;

use crate::harness::eventually;

use super::site::WAIT;
use super::{Options, Site, loan, patron};

const SOURCES: [&str; 4] = ["patron", "consent", "objection", "loan"];

/// Two lanes, of which only one reads loans.
fn options() -> Options<'static> {
    Options {
        recipients: &["service-message", "kb-recognition"],
        tables: "[lanes.members]\nrecipients = [\"kb-recognition\"]",
        ..Options::default()
    }
}

/// Writes patrons with a loan each; yields the ids of the loans.
fn write(site: &Site<'_>, patrons: std::ops::Range<usize>) -> Vec<String> {
    let ids: Vec<String> = patrons.map(|number| format!("P{number}")).collect();
    let people: Vec<_> = ids.iter().map(|id| patron(id, "Berg")).collect();
    site.topics.write("patron", &people);
    let loans: Vec<String> = ids.iter().map(|id| format!("L-{id}")).collect();
    let records: Vec<_> = loans
        .iter()
        .zip(&ids)
        .map(|(loan_id, id)| loan(loan_id, id))
        .collect();
    site.topics.write("loan", &records);
    loans
}

/// Expects that a start is refused since `loan` was widened.
#[track_caller]
fn check_refused(site: &Site<'_>, partitions: usize) {
    let said = site.refused(&["--until-end"], 78);
    let name = site.topics.name("loan");
    let text = format!("topic `{name}` has {partitions} partitions, had 2");
    assert!(said.contains(&text), "{said}");
    assert!(said.contains("a deployment of its own"), "{said}");
}

#[test]
fn added_partitions_stop_the_lane_and_every_later_start() {
    let Some(site) = Site::new("added", options()) else {
        return;
    };
    let want = write(&site, 0..40);
    let mut zeef = site.ready(&[]);
    site.consumed(&zeef, "main", "loan", 40);

    // Only the lane that reads the topic stops, and that is no good health.
    site.topics.add_partitions("loan", 3);
    eventually("the lane of the loans stops", WAIT, || {
        let (status, report) = zeef.fetch("/health/ready").ok()?;
        (status == 503 && report.contains("main/0 stopped")).then_some(report)
    });
    let (_, report) = zeef.fetch("/health/ready").unwrap();
    assert!(report.contains("members/0 ready"), "{report}");
    assert_eq!(zeef.fetch("/health/live").unwrap().0, 200);

    for source in &SOURCES[..3] {
        site.topics.add_partitions(source, 3);
    }
    assert_eq!(zeef.wait_exit(WAIT), 70, "{}", zeef.stderr());
    let said = zeef.stderr();
    let name = site.topics.name("loan");
    let text = format!("topic `{name}` has 3 partitions, had 2");
    assert!(said.contains(&text), "{said}");
    assert!(said.contains("a deployment of its own"), "{said}");

    check_refused(&site, 3);
    // A repair would only move them into the new partitions.
    let mut repair = site.zeef(&["gates", "repair", "--apply"]);
    assert_eq!(repair.wait_exit(WAIT), 78, "{}", repair.stdout());
    let patrons = site.topics.committed("patron").len();
    assert_eq!(patrons, 40);
    for state in ["zeef.state.main", "zeef.state.members", "zeef.patrons"] {
        site.topics.add_partitions(state, 3);
    }
    check_refused(&site, 3);
    write(&site, 40..80);
    check_refused(&site, 3);
    site.check_loans(want);
}

/// A static member that is back within its session is given what it had.
#[test]
fn partitions_added_while_nothing_ran_are_refused() {
    let options = Options {
        kafka: "session_timeout_ms = 60000",
        ..Options::default()
    };
    let Some(site) = Site::new("added-between", options) else {
        return;
    };
    let want = write(&site, 0..20);
    let mut zeef = site.ready(&[]);
    site.consumed(&zeef, "main", "loan", 20);
    zeef.signal(Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT), 0, "{}", zeef.stderr());

    for topic in [&SOURCES[..], &["zeef.state.main", "zeef.patrons"]].concat() {
        site.topics.add_partitions(topic, 4);
    }
    check_refused(&site, 4);
    site.check_loans(want);
}

#[test]
fn a_new_deployment_may_have_any_number_of_partitions() {
    let Some(site) = Site::new("added-before", Options::default()) else {
        return;
    };
    for topic in [&SOURCES[..], &["zeef.state.main", "zeef.patrons"]].concat() {
        site.topics.add_partitions(topic, 5);
    }
    let want = write(&site, 0..40);
    site.until_end(&[]);
    site.check_loans(want);
    site.check_committed(&site.group("main"), &SOURCES);
}
