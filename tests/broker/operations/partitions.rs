//! Partitions that are added to sources while zeef runs.

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

#[test]
fn added_partitions_stop_the_lane_until_they_are_accepted() {
    let Some(site) = Site::new("added", options()) else {
        return;
    };
    let mut want = write(&site, 0..40);
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
    let name = format!(
        "topic `{}` has 3 partitions, had 2",
        site.topics.name("loan")
    );
    assert!(said.contains(&name), "{said}");
    assert!(said.contains("--accept-partitions"), "{said}");

    // The state goes by the partitions of the sources.
    let said = site.refused(&["--until-end"], 78);
    assert!(
        said.contains("zeef.state.main` (state) has 2 partitions"),
        "{said}"
    );
    for state in ["zeef.state.main", "zeef.state.members", "zeef.patrons"] {
        site.topics.add_partitions(state, 3);
    }

    // Newcomers lie in all three; who moved has to be written anew.
    want.extend(write(&site, 40..80));
    let said = site.refused(&["--until-end"], 70);
    assert!(said.contains("--accept-partitions"), "{said}");

    let mut accepted = site.until_end(&["--accept-partitions"]);
    assert_eq!(accepted.exited(), Some(0));
    site.check_loans(want.clone());
    assert_eq!(site.fields("kb-recognition", "member_ref").len(), 80);

    // From then on they are like any other.
    want.extend(write(&site, 80..90));
    site.until_end(&[]);
    site.check_loans(want);
    for lane in ["main", "members"] {
        let sources = if lane == "main" {
            &SOURCES[..]
        } else {
            &SOURCES[..3]
        };
        site.check_committed(&site.group(lane), sources);
    }
}

/// A static member that is back within its session is given what it had.
#[test]
fn partitions_added_while_nothing_ran_are_not_overlooked() {
    let options = Options {
        kafka: "session_timeout_ms = 60000",
        ..Options::default()
    };
    let Some(site) = Site::new("added-between", options) else {
        return;
    };
    let mut want = write(&site, 0..20);
    let mut zeef = site.ready(&[]);
    site.consumed(&zeef, "main", "loan", 20);
    zeef.signal(Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT), 0, "{}", zeef.stderr());

    for topic in [&SOURCES[..], &["zeef.state.main", "zeef.patrons"]].concat() {
        site.topics.add_partitions(topic, 4);
    }
    want.extend(write(&site, 20..60));
    let said = site.refused(&[], 70);
    assert!(said.contains("--accept-partitions"), "{said}");
    site.until_end(&["--accept-partitions"]);
    site.check_loans(want);
    site.check_committed(&site.group("main"), &SOURCES);
}
