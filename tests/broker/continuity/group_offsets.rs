//! The group's offsets, as an operator or time moves them.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use super::ContinuityFixture;
use super::fixture::{PATRON_COUNT, SERVICE_MESSAGE};
use crate::harness::eventually;
use crate::operations::test_site::WAIT_TIMEOUT;

#[test]
fn deleted_group_continues_from_the_state() {
    let Some(fixture) = ContinuityFixture::with_records_read("group-gone") else {
        return;
    };
    fixture.run_consumer_groups_tool(&["--delete"]);
    let before = fixture.read_all_outputs();
    fixture.run_until_end();
    assert_eq!(fixture.read_all_outputs(), before);
    fixture.write_loans("N", 0..1);
    fixture.run_until_end();
    assert_eq!(fixture.read_all_outputs().len(), before.len() + 2);
}

#[test]
fn group_offset_reset_to_earliest_sends_nothing_twice() {
    let Some(fixture) = ContinuityFixture::with_records_read("group-back") else {
        return;
    };
    let loans = fixture.0.topics.full_name("loan");
    fixture.run_consumer_groups_tool(&[
        "--reset-offsets",
        "--to-earliest",
        "--execute",
        "--topic",
        &loans,
    ]);
    let before = fixture.read_all_outputs();
    let zeef = fixture.run_until_end();
    assert_eq!(fixture.read_all_outputs(), before);
    assert!(zeef.stderr().contains("set back by hand"), "{}", zeef.stderr());
    fixture.write_loans("N", 0..1);
    fixture.run_until_end();
    assert_eq!(fixture.read_all_outputs().len(), before.len() + 2);
}

#[test]
fn group_offset_reset_to_latest_stops_until_accepted() {
    let Some(fixture) = ContinuityFixture::with_records_read("group-forward") else {
        return;
    };
    let before = fixture.read_all_outputs();
    fixture.write_loans("N", 0..PATRON_COUNT);
    let loans = fixture.0.topics.full_name("loan");
    fixture.run_consumer_groups_tool(&[
        "--reset-offsets",
        "--to-latest",
        "--execute",
        "--topic",
        &loans,
    ]);
    let said = fixture.expect_start_stops(&before, &["offset moved ahead", "loan"]);
    fixture.accept_findings(&said);
    fixture.run_until_end();
    assert_eq!(fixture.read_all_outputs(), before, "the records in between are never decided");
}

#[test]
fn group_offset_missing_for_one_source_stops_a_start() {
    let Some(fixture) = ContinuityFixture::with_records_read("offset-gone") else {
        return;
    };
    let loans = fixture.0.topics.full_name("loan");
    fixture.run_consumer_groups_tool(&["--delete-offsets", "--topic", &loans]);
    fixture.expect_next_start_stops(&["offset missing", "loan"]);
}

/// An older policy never decides what a newer one has decided.
#[test]
fn process_with_an_older_policy_ends_and_decides_nothing() {
    let Some(fixture) = ContinuityFixture::with_records_read("two-configs") else {
        return;
    };
    let mut old = fixture.0.spawn_ready_run(&[]);
    let path = Path::new(fixture.0.config_path()).join("recipients/service-message.toml");
    let text = fs::read_to_string(&path).unwrap();
    let narrower = text.replace("\"open\", \"overdue\"", "\"overdue\"");
    assert_ne!(text, narrower);
    fs::write(&path, narrower).unwrap();
    // Its name comes first: it is given the partition.
    let mut new = fixture.0.spawn_ready_run(&["--instance", "a"]);
    let count_retractions = || {
        let rows = fixture.0.read_outputs(SERVICE_MESSAGE);
        rows.iter().filter(|row| row.value.is_none()).count()
    };
    eventually("the new one decides", WAIT_TIMEOUT, || {
        assert_eq!(old.exit_code(), None, "{}", old.stderr());
        (count_retractions() == PATRON_COUNT).then_some(())
    });
    new.send_signal(Signal::TERM);
    assert_eq!(new.wait_exit(WAIT_TIMEOUT), 0, "{}", new.stderr());
    // The old one is given it back, and does not decide anew.
    let before = fixture.read_all_outputs();
    assert_eq!(old.wait_exit(WAIT_TIMEOUT), 75, "{}", old.stderr());
    assert_eq!(fixture.read_all_outputs(), before);
}
