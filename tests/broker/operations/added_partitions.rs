//! Partitions that are added to sources: nothing goes on, as one patron's records
//! would lie in two of them.

use rustix::process::Signal;

use crate::harness::eventually;

use super::test_site::WAIT_TIMEOUT;
use super::{SiteOptions, TestSite, open_loan, patron_record};

/// Two lanes, of which only one reads loans.
fn two_lanes_options() -> SiteOptions<'static> {
    SiteOptions {
        recipients: &["service-message", "kb-recognition"],
        extra_tables: "[lanes.members]\nrecipients = [\"kb-recognition\"]",
        ..SiteOptions::default()
    }
}

/// Writes patrons with a loan each; yields the ids of the loans.
fn write_patrons_with_loans(site: &TestSite<'_>, patrons: std::ops::Range<usize>) -> Vec<String> {
    let ids: Vec<String> = patrons.map(|number| format!("P{number}")).collect();
    let people: Vec<_> = ids.iter().map(|id| patron_record(id, "Berg")).collect();
    site.topics.write_records("patron", &people);
    let loans: Vec<String> = ids.iter().map(|id| format!("L-{id}")).collect();
    let records: Vec<_> =
        loans.iter().zip(&ids).map(|(loan_id, id)| open_loan(loan_id, id)).collect();
    site.topics.write_records("loan", &records);
    loans
}

/// Gives all sources, and zeef's own topics of them, so many partitions.
fn widen_all(site: &TestSite<'_>, partitions: usize) {
    for topic in site.source_topics() {
        site.topics.add_partitions(&topic, partitions);
    }
    for topic in ["zeef.state.main", "zeef.patrons"] {
        site.topics.add_partitions(topic, partitions);
    }
}

/// Expects that a start is refused since `loan` was widened.
#[track_caller]
fn check_start_refused(site: &TestSite<'_>, partitions: usize) {
    let said = site.expect_run_exit(&["--until-end"], 78);
    let name = site.topics.full_name("loan");
    let text = format!("topic `{name}` has {partitions} partitions, had 2");
    assert!(said.contains(&text), "{said}");
    assert!(said.contains("zeef lanes apply --repartition"), "{said}");
}

/// Expects that no state is carried to the widened topics.
#[track_caller]
fn check_carry_refused(site: &TestSite<'_>, why: &str) {
    let mut zeef = site.spawn_command(&["lanes", "apply", "--repartition"]);
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 78, "{}", zeef.stdout());
    assert!(zeef.stderr().contains(why), "{}", zeef.stderr());
}

#[test]
fn added_partitions_stop_the_lane_and_every_later_start() {
    let Some(site) = TestSite::new("added", two_lanes_options()) else {
        return;
    };
    let want = write_patrons_with_loans(&site, 0..40);
    let mut zeef = site.spawn_ready_run(&[]);
    site.wait_consumed(&zeef, "main", "loan", 40);

    // Only the lane that reads the topic stops, and that is no good health.
    site.topics.add_partitions("loan", 3);
    eventually("the lane of the loans stops", WAIT_TIMEOUT, || {
        let (status, report) = zeef.get_admin_path("/health/ready").ok()?;
        (status == 503 && report.contains("main/0 stopped")).then_some(report)
    });
    let (_, report) = zeef.get_admin_path("/health/ready").unwrap();
    assert!(report.contains("members/0 ready"), "{report}");
    check_carry_refused(&site, "stop all processes first");
    assert_eq!(zeef.get_admin_path("/health/live").unwrap().0, 200);

    for source in site.source_topics().iter().filter(|source| *source != "loan") {
        site.topics.add_partitions(source, 3);
    }
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 70, "{}", zeef.stderr());
    let said = zeef.stderr();
    let name = site.topics.full_name("loan");
    let text = format!("topic `{name}` has 3 partitions, had 2");
    assert!(said.contains(&text), "{said}");
    assert!(said.contains("zeef lanes apply --repartition"), "{said}");

    check_start_refused(&site, 3);
    // A repair would only move them into the new partitions.
    let mut repair = site.spawn_command(&["gates", "repair", "--apply"]);
    assert_eq!(repair.wait_exit(WAIT_TIMEOUT), 78, "{}", repair.stdout());
    let patrons = site.topics.read_committed("patron").len();
    assert_eq!(patrons, 40);
    for state in ["zeef.state.main", "zeef.state.members", "zeef.patrons"] {
        site.topics.add_partitions(state, 3);
    }
    // Nothing was written anew: what lies there is in former partitions.
    check_carry_refused(&site, "do not lie where `murmur2` puts them");
    check_start_refused(&site, 3);
    write_patrons_with_loans(&site, 40..80);
    check_start_refused(&site, 3);
    site.check_loans_delivered(want);
}

/// A static member that is back within its session is given what it had.
#[test]
fn added_partitions_while_stopped_are_refused_at_start() {
    let options =
        SiteOptions { kafka_lines: "session_timeout_ms = 60000", ..SiteOptions::default() };
    let Some(site) = TestSite::new("added-between", options) else {
        return;
    };
    let want = write_patrons_with_loans(&site, 0..20);
    let mut zeef = site.spawn_ready_run(&[]);
    site.wait_consumed(&zeef, "main", "loan", 20);
    zeef.send_signal(Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0, "{}", zeef.stderr());

    widen_all(&site, 4);
    check_start_refused(&site, 4);
    site.check_loans_delivered(want);
}

#[test]
fn new_deployment_may_have_any_number_of_partitions() {
    let Some(site) = TestSite::new("added-before", SiteOptions::default()) else {
        return;
    };
    widen_all(&site, 5);
    let want = write_patrons_with_loans(&site, 0..40);
    site.run_until_end(&[]);
    site.check_loans_delivered(want);
    let sources = ["patron", "consent", "objection", "loan"];
    site.check_sources_committed(&site.group_id("main"), &sources);
}
