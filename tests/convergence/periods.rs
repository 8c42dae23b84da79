//! Recipients with a period: outputs go out in the first run of a month, what is
//! taken back in the first run of a day, both sorted by key and in large chunks,
//! whatever breaks a run off.

use std::collections::BTreeSet;

use zeef::message::commands::{CommandRecord, OperatorCommand};
use zeef::transport::memory::PublishedOutput;

use zeef_test_kit::deployment::{DeploymentSetup, InMemoryDeployment, LaneLayout};
use zeef_test_kit::scenario::START_MS;

const TOPIC: &str = "out.statistics";
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

const LANE_EACH: DeploymentSetup = DeploymentSetup {
    layout: LaneLayout::LanePerRecipient,
    batch_records: 7,
    ..DeploymentSetup::DEFAULT
};

/// A run of this time has a loan of a month that is over, and one that is not.
const LOANED_AT: [&str; 2] = ["2025-12-20T10:00:00Z", "2026-01-10T10:00:00Z"];

fn push_record(deployment: &mut InMemoryDeployment, source: &str, number: usize, fields: &str) {
    let id = format!("p{number}");
    let value = format!(r#"{{"patron_id":"{id}","library":"NL-AmrBKW",{fields}}}"#);
    deployment.push_message(source, 0, Some(id.as_bytes()), Some(value.as_bytes()));
}

fn push_patron(deployment: &mut InMemoryDeployment, number: usize) {
    let member = r#""membership":{"id":"M","status":"active"}"#;
    let fields = format!(r#""kind":"person","surname":"Berg",{member}"#);
    push_record(deployment, "patron", number, &fields);
}

fn push_loan(deployment: &mut InMemoryDeployment, number: usize, status: &str, loaned_at: &str) {
    let fields = format!(r#""loan_id":"l{number}","status":"{status}","loaned_at":"{loaned_at}""#);
    push_record(deployment, "loan", number, &fields);
}

fn push_erasure(deployment: &mut InMemoryDeployment, number: usize) {
    let id = format!("p{number}");
    deployment.push_message("patron", 0, Some(id.as_bytes()), None);
}

/// Patrons with a loan each.
fn deployment_with_loans(
    setup: DeploymentSetup,
    patrons: usize,
    loaned_at: &str,
) -> InMemoryDeployment {
    let mut deployment = InMemoryDeployment::new(setup, START_MS);
    for number in 0..patrons {
        push_patron(&mut deployment, number);
        push_loan(&mut deployment, number, "open", loaned_at);
    }
    deployment
}

#[track_caller]
fn run_at(deployment: &mut InMemoryDeployment, now_ms: i64) -> Vec<PublishedOutput> {
    let before = deployment.published_to(TOPIC).len();
    deployment.set_clock(now_ms);
    deployment.run_to_end().expect("a run to the end");
    deployment.published_to(TOPIC).split_off(before)
}

/// What was sent in one transaction each, checked for its order.
#[track_caller]
fn transaction_sizes(sent: &[PublishedOutput]) -> Vec<usize> {
    let chunks = sent.chunk_by(|one, next| one.batch_number == next.batch_number);
    let chunks: Vec<&[PublishedOutput]> = chunks.collect();
    for chunk in &chunks {
        assert!(chunk.is_sorted_by_key(|one| &one.key));
    }
    chunks.iter().map(|chunk| chunk.len()).collect()
}

#[test]
fn period_first_start_publishes_sorted_large_chunks() {
    let mut deployment = deployment_with_loans(LANE_EACH, 2_600, LOANED_AT[0]);
    let sent = run_at(&mut deployment, START_MS);
    assert_eq!(transaction_sizes(&sent), [1_000, 1_600]);
    assert!(sent.is_sorted_by_key(|one| &one.key));
    let keys: BTreeSet<_> = sent.iter().map(|one| &one.key).collect();
    assert_eq!(keys.len(), 2_600);
}

#[test]
fn period_run_resumes_after_interruption() {
    for (fail_every, interrupt_at) in [(Some(2), None), (None, Some(1)), (None, Some(2))] {
        let setup =
            DeploymentSetup { fail_every, interrupt_at, batch_records: 20_000, ..LANE_EACH };
        let mut deployment = deployment_with_loans(setup, 2_600, LOANED_AT[0]);
        deployment.set_batch_records(1_000);
        let sent = run_at(&mut deployment, START_MS);
        let sizes = transaction_sizes(&sent);
        assert!(sizes.iter().all(|size| *size >= 600), "{sizes:?}");
        let keys: BTreeSet<_> = sent.iter().map(|one| &one.key).collect();
        assert_eq!((keys.len(), sent.len()), (2_600, 2_600), "{setup:?}");
        assert!(sent.is_sorted_by_key(|one| &one.key), "{setup:?}");
    }
}

#[test]
fn period_changes_are_published_in_next_month() {
    let mut deployment = deployment_with_loans(LANE_EACH, 20, LOANED_AT[0]);
    for number in 20..40 {
        push_patron(&mut deployment, number);
        push_loan(&mut deployment, number, "open", LOANED_AT[1]);
    }
    assert_eq!(run_at(&mut deployment, START_MS).len(), 20);
    for number in 0..10 {
        push_loan(&mut deployment, number, "returned", LOANED_AT[0]);
    }
    // Late, of a month that was published.
    push_patron(&mut deployment, 40);
    push_loan(&mut deployment, 40, "open", LOANED_AT[0]);
    for day in 0..16 {
        assert!(run_at(&mut deployment, START_MS + day * DAY_MS).is_empty());
        deployment.restart();
    }
    let sent = run_at(&mut deployment, START_MS + 17 * DAY_MS);
    assert_eq!(transaction_sizes(&sent), [10 + 20 + 1]);
    deployment.restart();
    assert!(run_at(&mut deployment, START_MS + 18 * DAY_MS).is_empty());
}

#[test]
fn period_retractions_go_out_once_a_day() {
    let mut deployment = deployment_with_loans(LANE_EACH, 40, LOANED_AT[0]);
    assert_eq!(run_at(&mut deployment, START_MS).len(), 40);
    (0..5).for_each(|number| push_erasure(&mut deployment, number));
    let objection = r#""objection_id":"o","kind":"special_circumstances","status":"lodged""#;
    (5..10).for_each(|number| push_record(&mut deployment, "objection", number, objection));
    // It was that day's run already.
    assert!(run_at(&mut deployment, START_MS + HOUR_MS).is_empty());
    deployment.restart();
    assert!(run_at(&mut deployment, START_MS + 2 * HOUR_MS).is_empty());
    // One thinks better of it before it goes.
    push_record(&mut deployment, "objection", 9, &objection.replace("lodged", "dismissed"));
    let sent = run_at(&mut deployment, START_MS + DAY_MS);
    assert!(sent.iter().all(|one| one.value.is_none()));
    assert_eq!(transaction_sizes(&sent), [9]);
    (10..12).for_each(|number| push_erasure(&mut deployment, number));
    assert!(run_at(&mut deployment, START_MS + DAY_MS + HOUR_MS).is_empty());
    assert_eq!(run_at(&mut deployment, START_MS + 2 * DAY_MS).len(), 2);
    // An objection that is dismissed later is published in time.
    push_record(&mut deployment, "objection", 5, &objection.replace("lodged", "dismissed"));
    assert!(run_at(&mut deployment, START_MS + 3 * DAY_MS).is_empty());
    let sent = run_at(&mut deployment, START_MS + 17 * DAY_MS);
    assert!(sent.len() == 1 && sent[0].value.is_some());
}

#[test]
fn period_refill_publishes_at_once() {
    let mut deployment = deployment_with_loans(LANE_EACH, 20, LOANED_AT[0]);
    assert_eq!(run_at(&mut deployment, START_MS).len(), 20);
    let recipient = "statistics".to_owned();
    let text =
        CommandRecord::new(OperatorCommand::Refill { recipient }, String::new(), String::new());
    let end = deployment.commands.end_offset;
    deployment.commands.add_message(end, &text.encode()).expect("a command");
    deployment.restart();
    let sent = run_at(&mut deployment, START_MS + DAY_MS);
    assert_eq!(transaction_sizes(&sent), [20]);
    deployment.restart();
    assert!(run_at(&mut deployment, START_MS + 2 * DAY_MS).is_empty());
}
