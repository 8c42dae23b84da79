//! What operators accept and ask for: one finding at a time, a refill, a lane
//! that begins anew.

use super::ContinuityFixture;
use super::fixture::{PATRON_COUNT, RECIPIENTS, SERVICE_MESSAGE, STATISTICS, finding_codes};
use crate::operations::test_site::{loan_with_status, objection_record};

#[test]
fn accept_covers_one_finding_and_not_the_next() {
    let Some(fixture) = ContinuityFixture::with_records_read("accept") else {
        return;
    };
    fixture.write("objection", &[objection_record("P3")]);
    fixture.run_until_end();
    let before = fixture.read_all_outputs();
    fixture.0.topics.delete_records_before("objection", 0, 1);
    let first = fixture.expect_start_stops(&before, &["gate log cut"]);
    // Something else is lost meanwhile.
    fixture.0.topics.delete_records_before("objection", 0, 2);
    fixture.accept_findings(&first);
    let second = fixture.expect_start_stops(&before, &["gate log cut"]);
    assert_ne!(finding_codes(&first), finding_codes(&second));
    fixture.run_command(&["accept", "nothing", "--reason", "a test"], 2);
    fixture.accept_findings(&second);
    let zeef = fixture.run_until_end();
    assert!(zeef.stderr().contains("accepted by an operator"));
    // It is as it is from now on.
    fixture.write_loans("N", 0..1);
    fixture.run_until_end();
    assert!(fixture.delivered_loans().contains(&"N0".to_owned()));
}

#[test]
fn accept_of_a_recreated_source_reads_it_from_its_beginning() {
    let Some(fixture) = ContinuityFixture::with_records_read("accept-anew") else {
        return;
    };
    let before = fixture.read_all_outputs();
    fixture.recreate_topic("loan");
    // A later version of the last loan comes where the first one lay.
    fixture.write("loan", &[loan_with_status("returned", "L5", "P5")]);
    fixture.write_loans("L", 0..PATRON_COUNT - 1);
    fixture.write_loans("N", 0..PATRON_COUNT);
    let said = fixture.expect_start_stops(&before, &["replaced"]);
    fixture.accept_findings(&said);
    fixture.run_until_end();
    let rows = fixture.0.read_outputs(SERVICE_MESSAGE);
    let nulls = rows.iter().filter(|row| row.value.is_none());
    assert_eq!(nulls.count(), 1, "the loan that was returned");
    // What they have already is not sent again.
    assert_eq!(rows.len(), 2 * PATRON_COUNT + 1);
}

#[test]
fn refill_of_a_recreated_output_restores_it_once() {
    let Some(fixture) = ContinuityFixture::with_records_read("refill") else {
        return;
    };
    let values = |recipient: &str| {
        let mut rows: Vec<_> = fixture.0.read_outputs(recipient);
        rows.sort_by(|one, other| one.key.cmp(&other.key));
        let rows = rows.into_iter().map(|row| (row.key, row.value));
        rows.collect::<Vec<_>>()
    };
    let before = RECIPIENTS.map(values);
    let topic = format!("out.{STATISTICS}");
    fixture.recreate_topic(&topic);
    let said = fixture.0.expect_run_exit(&["--until-end"], 70);
    assert!(said.contains("output shorter"), "{said}");
    assert!(fixture.0.read_outputs(STATISTICS).is_empty());
    fixture.run_command(&["refill", "nobody", "--reason", "a test"], 2);
    fixture.run_command(&["refill", SERVICE_MESSAGE, "--reason", "the wrong one"], 0);
    fixture.0.expect_run_exit(&["--until-end"], 70);
    fixture.run_command(&["refill", STATISTICS, "--reason", "a test"], 0);
    fixture.run_until_end();
    assert_eq!(values(STATISTICS), before[2]);
    // Once, and not at each start.
    let sent = fixture.read_all_outputs();
    fixture.run_until_end();
    assert_eq!(fixture.read_all_outputs(), sent);
}

/// The marks count commands of a topic that is gone.
#[test]
fn refill_is_carried_out_after_the_topic_of_commands_was_recreated() {
    let Some(fixture) = ContinuityFixture::with_records_read("commands") else {
        return;
    };
    let refill = || {
        let before = fixture.read_all_outputs().len();
        fixture.run_command(&["refill", SERVICE_MESSAGE, "--reason", "a test"], 0);
        fixture.run_until_end();
        fixture.read_all_outputs().len() - before
    };
    let sent = refill();
    assert!(sent > 0);
    fixture.recreate_topic("zeef.commands");
    fixture.run_until_end();
    assert_eq!(refill(), sent);
}

#[test]
fn recreated_output_stops_a_running_process() {
    let Some(fixture) = ContinuityFixture::with_records_read("output-live") else {
        return;
    };
    let mut zeef = fixture.0.spawn_ready_run(&[]);
    fixture.recreate_topic(&format!("out.{SERVICE_MESSAGE}"));
    let wait = crate::operations::test_site::WAIT_TIMEOUT;
    assert_eq!(zeef.wait_exit(wait), 70, "{}", zeef.stderr());
}

#[test]
fn forget_of_a_lane_sends_everything_again_once() {
    let Some(fixture) = ContinuityFixture::with_records_read("forget") else {
        return;
    };
    let zeef = fixture.0.spawn_ready_run(&[]);
    let forget = ["forget", "main", "--reason", "a test"];
    let said = fixture.run_command(&forget, 75);
    assert!(said.contains("members"), "{said}");
    fixture.stop_process(zeef);
    let would = fixture.run_command(&["forget", "main", "--dry-run"], 0);
    assert!(would.contains(&format!("{SERVICE_MESSAGE}: {PATRON_COUNT} outputs")), "{would}");
    let before = fixture.read_all_outputs();
    fixture.run_until_end();
    assert_eq!(fixture.read_all_outputs(), before, "a dry run changes nothing");

    let said = fixture.run_command(&forget, 0);
    assert!(said.contains(&format!("{STATISTICS}: {} outputs", PATRON_COUNT - 1)), "{said}");
    fixture.run_until_end();
    // All is sent again.
    assert_eq!(fixture.read_all_outputs().len(), 2 * before.len());
    let again = fixture.read_all_outputs();
    fixture.run_until_end();
    assert_eq!(fixture.read_all_outputs(), again);
}

/// What was said of one loss is no word about the next.
#[test]
fn forget_of_a_lane_does_not_cover_a_later_state_loss() {
    let Some(fixture) = ContinuityFixture::with_records_read("forget-once") else {
        return;
    };
    fixture.run_command(&["forget", "main", "--reason", "a test"], 0);
    fixture.run_until_end();
    fixture.recreate_topic("zeef.state.main");
    fixture.run_consumer_groups_tool(&["--delete"]);
    fixture.expect_next_start_stops(&["state missing"]);
}
