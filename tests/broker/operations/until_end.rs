//! The nightly run: it ends when everything is committed, whatever lies on the
//! topics, and whoever owned them before.

use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{TestProducer, eventually};

use super::test_site::WAIT_TIMEOUT;
use super::{SiteOptions, TestSite, open_loan, patron_record};

const SOURCES: [&str; 5] = ["patron", "consent", "objection", "settlement", "loan"];
/// Longer than any test, so that no transaction ends by itself.
const NEVER_EXPIRES: Duration = Duration::from_secs(300);

fn numbered_ids(what: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{what}{number}")).collect()
}

/// Nobody is left in the group, also as Kafka's own tool sees it.
#[track_caller]
fn check_committed_and_left(site: &TestSite<'_>) {
    let group = site.group_id("main");
    assert_eq!(site.broker.count_group_members(&group), 0);
    site.check_sources_committed(&group, &SOURCES);
}

#[test]
fn until_end_on_empty_topics_ends_at_once() {
    let Some(site) = TestSite::new("empty", SiteOptions::default()) else {
        return;
    };
    site.run_until_end(&[]);
    check_committed_and_left(&site);
    // The start was settled: what comes later is no guess.
    site.topics.write_records("patron", &[patron_record("P1", "Berg")]);
    site.topics.write_records("loan", &[open_loan("L1", "P1")]);
    site.run_until_end(&[]);
    site.check_loans_delivered(["L1".to_owned()]);
    check_committed_and_left(&site);
}

#[test]
fn until_end_finishes_idle_sources_beside_a_busy_one() {
    let Some(site) = TestSite::new("nightly", SiteOptions::default()) else {
        return;
    };
    site.topics.write_records("patron", &[patron_record("P1", "Berg")]);
    let loans = numbered_ids("L", 3_000);
    let records: Vec<_> = loans.iter().map(|id| open_loan(id, "P1")).collect();
    site.topics.write_records("loan", &records);

    site.run_until_end(&[]);
    site.check_loans_delivered(loans);
    check_committed_and_left(&site);
    let group = site.group_id("main");
    let shown = site.broker.run_tool("consumer-groups", &["--describe", "--group", &group]);
    let lags: Vec<&str> = shown
        .lines()
        .filter(|line| line.starts_with(&group))
        .filter_map(|line| line.split_whitespace().nth(5))
        .collect();
    assert_eq!(lags, ["0"; 2 * SOURCES.len()], "{shown}");
    let members =
        site.broker.run_tool("consumer-groups", &["--describe", "--members", "--group", &group]);
    assert!(!members.contains("main-one-0"), "{members}");
}

#[test]
fn busy_source_is_not_delayed_by_idle_ones() {
    let Some(site) = TestSite::new("busy", SiteOptions::default()) else {
        return;
    };
    site.topics.write_records("patron", &[patron_record("P1", "Berg")]);
    let zeef = site.spawn_ready_run(&[]);
    let loans = numbered_ids("L", 40);
    for (number, id) in loans.iter().enumerate() {
        site.topics.write_records("loan", &[open_loan(id, "P1")]);
        site.wait_consumed(&zeef, "main", "loan", number + 1);
    }
    site.check_loans_delivered(loans);
}

#[test]
fn until_end_does_not_wait_for_control_records() {
    let Some(site) = TestSite::new("control", SiteOptions::default()) else {
        return;
    };
    let upstream =
        TestProducer::transactional(site.broker, &site.topics.full_name("upstream"), NEVER_EXPIRES);
    let patrons: Vec<_> =
        numbered_ids("P", 20).iter().map(|id| patron_record(id, "Berg")).collect();
    let kept: Vec<_> =
        numbered_ids("P", 20).iter().map(|id| open_loan(&format!("kept-{id}"), id)).collect();
    let dropped: Vec<_> =
        numbered_ids("P", 20).iter().map(|id| open_loan(&format!("dropped-{id}"), id)).collect();
    upstream.begin_transaction();
    upstream.write_records(&site.topics.full_name("patron"), &patrons);
    upstream.write_records(&site.topics.full_name("loan"), &kept);
    upstream.commit_transaction();
    upstream.begin_transaction();
    upstream.write_records(&site.topics.full_name("patron"), &[patron_record("P1", "Aborted")]);
    upstream.write_records(&site.topics.full_name("loan"), &dropped);
    for gate in ["consent", "objection"] {
        let record = crate::harness::ProducerRecord::new("P1", "never read").in_partition(0);
        upstream.write_records(&site.topics.full_name(gate), &[record]);
    }
    upstream.abort_transaction();

    site.run_until_end(&[]);
    site.check_loans_delivered(numbered_ids("kept-P", 20));
    assert_eq!(site.read_output_fields("service-message", "name"), vec!["Berg"; 20]);
    assert!(site.read_dead_letters().is_empty());
    check_committed_and_left(&site);
}

#[test]
fn until_end_waits_for_records_of_an_open_transaction() {
    let Some(site) = TestSite::new("open", SiteOptions::default()) else {
        return;
    };
    site.topics.write_records("patron", &[patron_record("P1", "Berg")]);
    let upstream =
        TestProducer::transactional(site.broker, &site.topics.full_name("upstream"), NEVER_EXPIRES);
    upstream.begin_transaction();
    upstream.write_records(&site.topics.full_name("loan"), &[open_loan("in-doubt", "P1")]);
    // Committed, but behind the other.
    site.topics.write_records("loan", &[open_loan("behind", "P1")]);

    let mut zeef = site.spawn_run(&["--until-end"]);
    site.wait_consumed(&zeef, "main", "patron", 1);
    assert_eq!(zeef.exit_code(), None, "{}", zeef.stderr());
    upstream.commit_transaction();
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0, "{}", zeef.stderr());
    site.check_loans_delivered(["in-doubt".to_owned(), "behind".to_owned()]);
    check_committed_and_left(&site);
}

#[test]
fn static_member_stays_after_a_run_and_leaves_after_until_end() {
    let Some(site) = TestSite::new("seat", options_with_kafka_lines("session_timeout_ms = 60000"))
    else {
        return;
    };
    site.topics.write_records("patron", &[patron_record("P1", "Berg")]);
    let mut zeef = site.spawn_ready_run(&[]);
    site.wait_consumed(&zeef, "main", "patron", 1);
    zeef.send_signal(Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0, "{}", zeef.stderr());
    let group = site.group_id("main");
    assert_eq!(site.broker.count_group_members(&group), 1);
    let members =
        site.broker.run_tool("consumer-groups", &["--describe", "--members", "--group", &group]);
    assert!(members.contains("main-one-0"), "{members}");

    // The same instance is back at once, and a nightly run gives the seat up.
    site.run_until_end(&[]);
    check_committed_and_left(&site);
}

/// A site with this line in `[kafka]`.
fn options_with_kafka_lines(kafka: &str) -> SiteOptions<'_> {
    SiteOptions { kafka_lines: kafka, ..SiteOptions::default() }
}

#[test]
fn until_end_finishes_the_partitions_of_a_dead_member() {
    let Some(site) = TestSite::new("dead", options_with_kafka_lines("session_timeout_ms = 6000"))
    else {
        return;
    };
    let people: Vec<_> = numbered_ids("P", 20).iter().map(|id| patron_record(id, "Berg")).collect();
    site.topics.write_records("patron", &people);
    let write = |what: &str| {
        let records: Vec<_> =
            numbered_ids("P", 20).iter().map(|id| open_loan(&format!("{what}-{id}"), id)).collect();
        site.topics.write_records("loan", &records);
    };
    write("first");
    let mut other = site.spawn_ready_run(&["--instance", "other"]);
    site.wait_consumed(&other, "main", "loan", 20);
    other.send_signal(Signal::KILL);
    assert_eq!(other.wait_exit(WAIT_TIMEOUT), 137);
    write("second");

    // It has nothing until Kafka takes the partitions from the dead one.
    let mut zeef = site.spawn_run(&["--until-end"]);
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0, "{}", zeef.stderr());
    site.check_loans_delivered(
        [numbered_ids("first-P", 20), numbered_ids("second-P", 20)].concat(),
    );
    check_committed_and_left(&site);
}

#[test]
fn until_end_of_two_concurrent_runs_ends_both() {
    let Some(site) = TestSite::new("pair", SiteOptions::default()) else {
        return;
    };
    let people: Vec<_> = numbered_ids("P", 50).iter().map(|id| patron_record(id, "Berg")).collect();
    site.topics.write_records("patron", &people);
    let loans: Vec<_> =
        numbered_ids("P", 50).iter().map(|id| open_loan(&format!("L-{id}"), id)).collect();
    site.topics.write_records("loan", &loans);
    let mut pair =
        [site.spawn_run(&["--until-end"]), site.spawn_run(&["--until-end", "--instance", "two"])];
    for zeef in &mut pair {
        assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0, "{}", zeef.stderr());
    }
    site.check_loans_delivered(numbered_ids("L-P", 50));
    eventually("the group is empty", WAIT_TIMEOUT, || {
        (site.broker.count_group_members(&site.group_id("main")) == 0).then_some(())
    });
    check_committed_and_left(&site);
}
