//! The nightly run: it ends when everything is committed, whatever lies on the
//! topics, and whoever owned them before.

use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Writer, eventually};

use super::site::WAIT;
use super::{Options, Site, loan, patron};

const SOURCES: [&str; 4] = ["patron", "consent", "objection", "loan"];
/// Longer than any test, so that no transaction ends by itself.
const LONG: Duration = Duration::from_secs(300);

fn ids(what: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{what}{number}")).collect()
}

/// Nobody is left in the group, also as Kafka's own tool sees it.
#[track_caller]
fn check_left(site: &Site<'_>) {
    let group = site.group("main");
    assert_eq!(site.broker.group_members(&group), 0);
    site.check_committed(&group, &SOURCES);
}

#[test]
fn empty_topics_end_at_once() {
    let Some(site) = Site::new("empty", Options::default()) else {
        return;
    };
    site.until_end(&[]);
    check_left(&site);
    // The start was settled: what comes later is no guess.
    site.topics.write("patron", &[patron("P1", "Berg")]);
    site.topics.write("loan", &[loan("L1", "P1")]);
    site.until_end(&[]);
    site.check_loans(["L1".to_owned()]);
    check_left(&site);
}

#[test]
fn idle_sources_beside_a_busy_one_end_too() {
    let Some(site) = Site::new("nightly", Options::default()) else {
        return;
    };
    site.topics.write("patron", &[patron("P1", "Berg")]);
    let loans = ids("L", 3_000);
    let records: Vec<_> = loans.iter().map(|id| loan(id, "P1")).collect();
    site.topics.write("loan", &records);

    site.until_end(&[]);
    site.check_loans(loans);
    check_left(&site);
    let group = site.group("main");
    let shown = site
        .broker
        .tool("consumer-groups", &["--describe", "--group", &group]);
    let lags: Vec<&str> = shown
        .lines()
        .filter(|line| line.starts_with(&group))
        .filter_map(|line| line.split_whitespace().nth(5))
        .collect();
    assert_eq!(lags, ["0"; 8], "{shown}");
    let members = site.broker.tool(
        "consumer-groups",
        &["--describe", "--members", "--group", &group],
    );
    assert!(!members.contains("main-one-0"), "{members}");
}

#[test]
fn a_busy_source_is_not_held_up_by_idle_ones() {
    let Some(site) = Site::new("busy", Options::default()) else {
        return;
    };
    site.topics.write("patron", &[patron("P1", "Berg")]);
    let zeef = site.ready(&[]);
    let loans = ids("L", 40);
    for (number, id) in loans.iter().enumerate() {
        site.topics.write("loan", &[loan(id, "P1")]);
        site.consumed(&zeef, "main", "loan", number + 1);
    }
    site.check_loans(loans);
}

#[test]
fn control_records_at_the_ends_are_no_input_to_wait_for() {
    let Some(site) = Site::new("control", Options::default()) else {
        return;
    };
    let upstream = Writer::transactional(site.broker, &site.topics.name("upstream"), LONG);
    let patrons: Vec<_> = ids("P", 20).iter().map(|id| patron(id, "Berg")).collect();
    let kept: Vec<_> = ids("P", 20)
        .iter()
        .map(|id| loan(&format!("kept-{id}"), id))
        .collect();
    let dropped: Vec<_> = ids("P", 20)
        .iter()
        .map(|id| loan(&format!("dropped-{id}"), id))
        .collect();
    upstream.begin();
    upstream.write(&site.topics.name("patron"), &patrons);
    upstream.write(&site.topics.name("loan"), &kept);
    upstream.commit();
    upstream.begin();
    upstream.write(&site.topics.name("patron"), &[patron("P1", "Aborted")]);
    upstream.write(&site.topics.name("loan"), &dropped);
    for gate in ["consent", "objection"] {
        let record = crate::harness::Record::new("P1", "never read").to(0);
        upstream.write(&site.topics.name(gate), &[record]);
    }
    upstream.abort();

    site.until_end(&[]);
    site.check_loans(ids("kept-P", 20));
    assert_eq!(site.fields("service-message", "name"), vec!["Berg"; 20]);
    assert!(site.dead_letters().is_empty());
    check_left(&site);
}

#[test]
fn what_lies_in_an_open_transaction_is_waited_for() {
    let Some(site) = Site::new("open", Options::default()) else {
        return;
    };
    site.topics.write("patron", &[patron("P1", "Berg")]);
    let upstream = Writer::transactional(site.broker, &site.topics.name("upstream"), LONG);
    upstream.begin();
    upstream.write(&site.topics.name("loan"), &[loan("in-doubt", "P1")]);
    // Committed, but behind the other.
    site.topics.write("loan", &[loan("behind", "P1")]);

    let mut zeef = site.run(&["--until-end"]);
    site.consumed(&zeef, "main", "patron", 1);
    assert_eq!(zeef.exited(), None, "{}", zeef.stderr());
    upstream.commit();
    assert_eq!(zeef.wait_exit(WAIT), 0, "{}", zeef.stderr());
    site.check_loans(["in-doubt".to_owned(), "behind".to_owned()]);
    check_left(&site);
}

#[test]
fn a_plain_run_keeps_its_seat_in_the_group() {
    let Some(site) = Site::new("seat", with("session_timeout_ms = 60000")) else {
        return;
    };
    site.topics.write("patron", &[patron("P1", "Berg")]);
    let mut zeef = site.ready(&[]);
    site.consumed(&zeef, "main", "patron", 1);
    zeef.signal(Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT), 0, "{}", zeef.stderr());
    let group = site.group("main");
    assert_eq!(site.broker.group_members(&group), 1);
    let members = site.broker.tool(
        "consumer-groups",
        &["--describe", "--members", "--group", &group],
    );
    assert!(members.contains("main-one-0"), "{members}");

    // The same instance is back at once, and a nightly run gives the seat up.
    site.until_end(&[]);
    check_left(&site);
}

/// A site with this line in `[kafka]`.
fn with(kafka: &str) -> Options<'_> {
    Options {
        kafka,
        ..Options::default()
    }
}

#[test]
fn partitions_of_a_dead_member_are_done_too() {
    let Some(site) = Site::new("dead", with("session_timeout_ms = 6000")) else {
        return;
    };
    let people: Vec<_> = ids("P", 20).iter().map(|id| patron(id, "Berg")).collect();
    site.topics.write("patron", &people);
    let write = |what: &str| {
        let records: Vec<_> = ids("P", 20)
            .iter()
            .map(|id| loan(&format!("{what}-{id}"), id))
            .collect();
        site.topics.write("loan", &records);
    };
    write("first");
    let mut other = site.ready(&["--instance", "other"]);
    site.consumed(&other, "main", "loan", 20);
    other.signal(Signal::KILL);
    assert_eq!(other.wait_exit(WAIT), 137);
    write("second");

    // It has nothing until Kafka takes the partitions from the dead one.
    let mut zeef = site.run(&["--until-end"]);
    assert_eq!(zeef.wait_exit(WAIT), 0, "{}", zeef.stderr());
    site.check_loans([ids("first-P", 20), ids("second-P", 20)].concat());
    check_left(&site);
}

#[test]
fn two_nightly_runs_beside_each_other_both_end() {
    let Some(site) = Site::new("pair", Options::default()) else {
        return;
    };
    let people: Vec<_> = ids("P", 50).iter().map(|id| patron(id, "Berg")).collect();
    site.topics.write("patron", &people);
    let loans: Vec<_> = ids("P", 50)
        .iter()
        .map(|id| loan(&format!("L-{id}"), id))
        .collect();
    site.topics.write("loan", &loans);
    let mut pair = [
        site.run(&["--until-end"]),
        site.run(&["--until-end", "--instance", "two"]),
    ];
    for zeef in &mut pair {
        assert_eq!(zeef.wait_exit(WAIT), 0, "{}", zeef.stderr());
    }
    site.check_loans(ids("L-P", 50));
    eventually("the group is empty", WAIT, || {
        (site.broker.group_members(&site.group("main")) == 0).then_some(())
    });
    check_left(&site);
}
