//! What a recipient has is sent again where that was asked for, once, whatever
//! breaks it off.

use zeef::message::commands::{CommandRecord, OperatorCommand};

use zeef_test_kit::deployment::{DeploymentSetup, InMemoryDeployment, LaneLayout};
use zeef_test_kit::scenario::START_MS;

const PATRONS: usize = 60;
const TOPIC: &str = "out.service-message";

fn request_refill(deployment: &mut InMemoryDeployment, recipient: &str) {
    let recipient = recipient.to_owned();
    let text =
        CommandRecord::new(OperatorCommand::Refill { recipient }, String::new(), String::new());
    let end = deployment.commands.end_offset;
    deployment.commands.add_message(end, &text.encode()).expect("a command");
}

/// Patrons with an open loan each, and one that came back.
fn deployment_with_loans(setup: DeploymentSetup) -> InMemoryDeployment {
    let mut deployment = InMemoryDeployment::new(setup, START_MS);
    for number in 0..PATRONS {
        let partition = i32::try_from(number).unwrap() % setup.partitions;
        let id = format!("p{number}");
        let mut push = |source: &str, fields: &str| {
            let value = format!(r#"{{"patron_id":"{id}","library":"NL-AmrBKW",{fields}}}"#);
            deployment.push_message(source, partition, Some(id.as_bytes()), Some(value.as_bytes()));
        };
        let member = r#""membership":{"id":"M","status":"active"}"#;
        push("patron", &format!(r#""kind":"person","surname":"Berg",{member}"#));
        let status = if number == 0 { "returned" } else { "open" };
        let due = r#""due_on":"2026-06-01""#;
        push("loan", &format!(r#""loan_id":"l{number}","status":"{status}",{due}"#));
    }
    deployment.run_to_end().expect("a run to the end");
    deployment
}

#[track_caller]
fn check_refill(setup: DeploymentSetup, once: bool) {
    let mut deployment = deployment_with_loans(setup);
    let (values, sent) = (deployment.outputs_by_recipient(), deployment.count_sent_to(TOPIC));
    let others = deployment.count_sent_to("out.kb-recognition");
    request_refill(&mut deployment, "service-message");
    deployment.restart();
    deployment.run_to_end().expect("a run to the end");
    assert_eq!(deployment.outputs_by_recipient(), values, "{setup:?}");
    let (again, nulls) = deployment.count_sent_to(TOPIC);
    assert_eq!(nulls, sent.1, "{setup:?}");
    let more = again - sent.0;
    assert!(more >= PATRONS - 1, "{more}: {setup:?}");
    assert!(!once || more == PATRONS - 1, "{more}: {setup:?}");
    assert_eq!(deployment.count_sent_to("out.kb-recognition"), others, "{setup:?}");
    // It is done: no later start does it again.
    deployment.restart();
    deployment.run_to_end().expect("a run to the end");
    assert_eq!(deployment.count_sent_to(TOPIC), (again, nulls), "{setup:?}");
    request_refill(&mut deployment, "service-message");
    deployment.restart();
    deployment.run_to_end().expect("a run to the end");
    assert!(deployment.count_sent_to(TOPIC).0 >= again + PATRONS - 1, "{setup:?}");
}

#[test]
fn refill_sends_every_output_once() {
    check_refill(DeploymentSetup::DEFAULT, true);
    for layout in [LaneLayout::TwoLanes, LaneLayout::LanePerRecipient] {
        check_refill(DeploymentSetup { layout, partitions: 3, ..DeploymentSetup::DEFAULT }, true);
    }
}

#[test]
fn refill_completes_after_interruption() {
    for (fail_every, interrupt_at) in [(Some(2), None), (Some(3), None), (None, Some(1))] {
        check_refill(
            DeploymentSetup {
                batch_records: 7,
                partitions: 2,
                fail_every,
                interrupt_at,
                ..DeploymentSetup::DEFAULT
            },
            false,
        );
    }
}
