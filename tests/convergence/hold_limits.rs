//! Records that wait for their patrons: how many, and for how long.

use zeef_test_kit::deployment::{DeploymentSetup, InMemoryDeployment, dead_letter_summaries};
use zeef_test_kit::scenario::START_MS;

const DAY_MS: i64 = 86_400_000;

fn push_loan(deployment: &mut InMemoryDeployment, patron_id: &str, id: &str) {
    let value = format!(
        r#"{{"loan_id":"{id}","patron_id":"{patron_id}","library":"NL-A","status":"open","due_on":"2026-06-01"}}"#
    );
    deployment.push_message("loan", 0, Some(patron_id.as_bytes()), Some(value.as_bytes()));
}

fn push_patron(deployment: &mut InMemoryDeployment, patron_id: &str) {
    let value = format!(r#"{{"patron_id":"{patron_id}","library":"NL-A"}}"#);
    deployment.push_message("patron", 0, Some(patron_id.as_bytes()), Some(value.as_bytes()));
}

/// Runs to the end; what service-message has then, and all dead letters.
#[track_caller]
fn run_and_check(deployment: &mut InMemoryDeployment, has: usize, dead_letters: &[&str]) {
    deployment.run_to_end().expect("a run to the end");
    let values = deployment.outputs_by_recipient().remove("service-message");
    assert_eq!(values.unwrap_or_default().len(), has);
    let found: Vec<String> = dead_letter_summaries(deployment).into_iter().collect();
    assert_eq!(found, dead_letters);
    deployment.check_state().expect("the state as the topics");
    deployment.check_counters().expect("numbers that add up");
}

#[test]
fn hold_limit_drops_records_over_the_bound() {
    let mut deployment = InMemoryDeployment::new(
        DeploymentSetup { hold_limits: (2, 30 * DAY_MS), ..DeploymentSetup::DEFAULT },
        START_MS,
    );
    for id in ["l1", "l2", "l3"] {
        push_loan(&mut deployment, "p1", id);
    }
    run_and_check(&mut deployment, 0, &["loan 2 hold_full"]);
    deployment.restart();
    run_and_check(&mut deployment, 0, &["loan 2 hold_full"]);
    push_patron(&mut deployment, "p1");
    run_and_check(&mut deployment, 2, &["loan 2 hold_full"]);
    push_loan(&mut deployment, "p2", "l4");
    run_and_check(&mut deployment, 2, &["loan 2 hold_full"]);
    push_patron(&mut deployment, "p2");
    run_and_check(&mut deployment, 3, &["loan 2 hold_full"]);
}

#[test]
fn hold_expires_after_its_term() {
    let mut deployment = InMemoryDeployment::new(
        DeploymentSetup { hold_limits: (100, 30 * DAY_MS), ..DeploymentSetup::DEFAULT },
        START_MS,
    );
    push_loan(&mut deployment, "p1", "l1");
    run_and_check(&mut deployment, 0, &[]);
    deployment.set_clock(START_MS + 30 * DAY_MS - 1);
    push_loan(&mut deployment, "p1", "l2");
    run_and_check(&mut deployment, 0, &[]);
    deployment.set_clock(START_MS + 30 * DAY_MS);
    run_and_check(&mut deployment, 0, &["loan 0 hold_expired"]);
    push_patron(&mut deployment, "p1");
    run_and_check(&mut deployment, 1, &["loan 0 hold_expired"]);
    // A new version waits anew.
    push_loan(&mut deployment, "p1", "l1");
    run_and_check(&mut deployment, 2, &["loan 0 hold_expired"]);
}

#[test]
fn hold_term_runs_from_retraction() {
    let mut deployment = InMemoryDeployment::new(
        DeploymentSetup { hold_limits: (100, 30 * DAY_MS), ..DeploymentSetup::DEFAULT },
        START_MS,
    );
    push_patron(&mut deployment, "p1");
    push_loan(&mut deployment, "p1", "l1");
    run_and_check(&mut deployment, 1, &[]);
    deployment.set_clock(START_MS + 60 * DAY_MS);
    deployment.push_message("patron", 0, Some(b"p1"), Some(b"[]"));
    run_and_check(&mut deployment, 0, &["patron 1 not_an_object"]);
    deployment.set_clock(START_MS + 90 * DAY_MS - 1);
    run_and_check(&mut deployment, 0, &["patron 1 not_an_object"]);
    push_patron(&mut deployment, "p1");
    run_and_check(&mut deployment, 1, &["patron 1 not_an_object"]);
}
