//! A lane stops before it takes back too much, and goes on on ordinary days.

use zeef_test_kit::deployment::{DeploymentSetup, InMemoryDeployment, LaneLayout};
use zeef_test_kit::scenario::START_MS;

const DAY_MS: i64 = 86_400_000;
/// How many patrons there are, each with a loan.
const PATRONS: usize = 250;

/// All patrons and their loans, released.
fn deployment_with_loans(setup: DeploymentSetup) -> InMemoryDeployment {
    let mut deployment = InMemoryDeployment::new(setup, START_MS);
    for number in 0..PATRONS {
        let membership = r#""membership":{"id":"M","status":"active"}"#;
        let fields = format!(r#""kind":"person","surname":"Berg",{membership}"#);
        push_patron(&mut deployment, number, Some(&fields));
        push_consent(&mut deployment, number, "granted", 1);
        push_loan(&mut deployment, number, "open", "2026-06-01");
    }
    deployment.run_to_end().expect("a run to the end");
    assert_eq!(count_outputs(&deployment), PATRONS);
    deployment
}

fn patron_id(number: usize) -> String {
    format!("p{number}")
}

fn push_record(
    deployment: &mut InMemoryDeployment,
    source: &str,
    number: usize,
    fields: Option<&str>,
) {
    let id = patron_id(number);
    let value =
        fields.map(|fields| format!(r#"{{"patron_id":"{id}","library":"NL-AmrBKW",{fields}}}"#));
    let value = value.as_deref().map(str::as_bytes);
    deployment.push_message(source, 0, Some(id.as_bytes()), value);
}

fn push_patron(deployment: &mut InMemoryDeployment, number: usize, fields: Option<&str>) {
    push_record(deployment, "patron", number, fields);
}

fn push_loan(deployment: &mut InMemoryDeployment, number: usize, status: &str, due_on: &str) {
    let fields = format!(r#""loan_id":"l{number}","status":"{status}","due_on":"{due_on}""#);
    push_record(deployment, "loan", number, Some(&fields));
}

fn push_consent(deployment: &mut InMemoryDeployment, number: usize, decision: &str, day: u8) {
    let statement_members =
        format!(r#""decision":"{decision}","manner":"written","at":"2026-01-0{day}T00:00:00Z""#);
    let fields = format!(r#""consent_id":"c{number}","purpose":"own-written",{statement_members}"#);
    push_record(deployment, "consent", number, Some(&fields));
}

/// How many outputs service-message has.
fn count_outputs(deployment: &InMemoryDeployment) -> usize {
    deployment.outputs_by_recipient().get("service-message").map_or(0, |values| values.len())
}

/// What a start that may not go on says; it commits nothing.
#[track_caller]
fn expect_stop_at_start(deployment: &mut InMemoryDeployment) -> String {
    let before = deployment.count_committed();
    deployment.restart();
    let error_text = deployment.run_to_end().expect_err("too much is taken back");
    assert_eq!(deployment.count_committed(), before, "{error_text}");
    assert!(error_text.contains("would be taken back"), "{error_text}");
    error_text
}

fn finding_codes(error_text: &str) -> Vec<String> {
    let parts = error_text.split("code ").skip(1);
    parts.map(|part| part.chars().take(10).collect()).collect()
}

/// What happened while nobody ran stops the start, and is done once it is accepted.
#[track_caller]
fn check_start_stops(change: impl Fn(&mut InMemoryDeployment), reason: &str, left: usize) {
    let mut deployment = deployment_with_loans(DeploymentSetup::DEFAULT);
    change(&mut deployment);
    let error_text = expect_stop_at_start(&mut deployment);
    assert!(error_text.contains(reason), "{error_text}");
    let codes = finding_codes(&error_text);
    // Another finding's code is none.
    deployment.accept_codes(&["0123456789".to_owned()]);
    assert_eq!(expect_stop_at_start(&mut deployment), error_text);
    deployment.accept_codes(&codes);
    deployment.restart();
    deployment.run_to_end().expect("it was accepted");
    assert_eq!(count_outputs(&deployment), left);
    deployment.check_state().expect("the state as the topics");
}

fn erase_all(deployment: &mut InMemoryDeployment) {
    (0..PATRONS).for_each(|number| push_patron(deployment, number, None));
}

#[test]
fn loss_guard_stops_start_before_any_retraction() {
    check_start_stops(erase_all, "patron_erased 250", 0);
    // Erased, and compacted away; or the topic is made anew.
    check_start_stops(
        |deployment| {
            erase_all(deployment);
            deployment.for_each_source("patron", |memory, source| {
                memory.compact(source).drop_tombstones(source);
            });
        },
        "patron_erased 250",
        0,
    );
    let cut = |deployment: &mut InMemoryDeployment| {
        deployment.for_each_source("patron", |memory, source| {
            memory.delete_below(source, 0, i64::MAX);
        });
    };
    check_start_stops(cut, "patron_erased 250", 0);
    // A connector that sends what nobody can read.
    let broken = |deployment: &mut InMemoryDeployment| {
        for number in 0..PATRONS {
            deployment.push_message("patron", 0, Some(patron_id(number).as_bytes()), Some(b"[]"));
        }
    };
    check_start_stops(broken, "patron_unknown 250", 0);
    let withdraw = |deployment: &mut InMemoryDeployment| {
        (0..PATRONS).for_each(|number| push_consent(deployment, number, "withdrawn", 2));
    };
    check_start_stops(withdraw, "no_consent 250", PATRONS);
}

#[test]
fn loss_guard_stops_running_lane_at_half_in_small_batches() {
    for (layout, fail_every) in
        [(LaneLayout::OneLane, None), (LaneLayout::LanePerRecipient, Some(3))]
    {
        let setup = DeploymentSetup {
            batch_records: 20,
            poll_records: 20,
            layout,
            fail_every,
            ..DeploymentSetup::DEFAULT
        };
        let mut deployment = deployment_with_loans(setup);
        erase_all(&mut deployment);
        let error_text = deployment.run_to_end().expect_err("too much is taken back");
        assert!(error_text.contains("patron_erased"), "{error_text}");
        assert!(
            count_outputs(&deployment) >= PATRONS / 2,
            "{} are left",
            count_outputs(&deployment)
        );
        if matches!(layout, LaneLayout::OneLane) {
            let error_text = expect_stop_at_start(&mut deployment);
            deployment.accept_codes(&finding_codes(&error_text));
            deployment.restart();
            deployment.run_to_end().expect("it was accepted");
            assert_eq!(count_outputs(&deployment), 0);
        }
    }
}

#[test]
fn loss_guard_counts_retractions_before_a_restart() {
    for minutes in [0, 30, 59, 71] {
        let mut deployment = deployment_with_loans(DeploymentSetup::DEFAULT);
        (0..100).for_each(|number| push_patron(&mut deployment, number, None));
        deployment.run_to_end().expect("no more than a hundred");
        deployment.restart();
        deployment.set_clock(START_MS + minutes * 60_000);
        (100..125).for_each(|number| push_patron(&mut deployment, number, None));
        deployment.run_to_end().expect("no more than half");
        push_patron(&mut deployment, 125, None);
        if minutes > 60 {
            deployment.restart();
            deployment.run_to_end().expect("the hour is over");
            assert_eq!(count_outputs(&deployment), PATRONS - 126);
        } else {
            let error_text = expect_stop_at_start(&mut deployment);
            assert!(error_text.contains("126 of the 250 outputs"), "{error_text}");
        }
    }
}

#[test]
fn loss_guard_forgets_retractions_after_an_hour() {
    let mut deployment = deployment_with_loans(DeploymentSetup::DEFAULT);
    for number in 0..PATRONS {
        if number % 100 == 0 {
            let hours = i64::try_from(number / 100).expect("few") + 1;
            deployment.set_clock(START_MS + hours * 61 * 60_000);
        }
        push_patron(&mut deployment, number, None);
        if number % 100 == 99 {
            deployment.run_to_end().expect("no more than a hundred");
        }
    }
    deployment.run_to_end().expect("no more than a hundred");
    assert_eq!(count_outputs(&deployment), 0);
}

/// A day on which nobody is to be asked.
#[track_caller]
fn check_run_continues(change: impl Fn(&mut InMemoryDeployment), left: usize) {
    for restarts in [false, true] {
        let mut deployment = deployment_with_loans(DeploymentSetup::DEFAULT);
        change(&mut deployment);
        if restarts {
            deployment.restart();
        }
        deployment.run_to_end().expect("an ordinary day");
        assert_eq!(count_outputs(&deployment), left);
        deployment.check_state().expect("the state as the topics");
    }
}

#[test]
fn loss_guard_lets_ordinary_days_pass() {
    // Everything is brought back.
    let returned = |deployment: &mut InMemoryDeployment| {
        (0..PATRONS).for_each(|number| push_loan(deployment, number, "returned", "2026-06-01"));
    };
    check_run_continues(returned, 0);
    // All terms are over.
    check_run_continues(|deployment| deployment.set_clock(START_MS + 800 * DAY_MS), 0);
    // Memberships end long ago.
    let ended = |deployment: &mut InMemoryDeployment| {
        for number in 0..PATRONS {
            let membership = r#""membership":{"status":"ended","ends_on":"2023-07-31"}"#;
            push_patron(deployment, number, Some(membership));
        }
    };
    check_run_continues(ended, 0);
    // Few, though they are all that there is of them in a quarter.
    let some = |count: usize| {
        move |deployment: &mut InMemoryDeployment| {
            (0..count).for_each(|number| push_patron(deployment, number, None))
        }
    };
    check_run_continues(some(1), PATRONS - 1);
    check_run_continues(some(100), PATRONS - 100);
    check_run_continues(some(125), PATRONS - 125);
    // Retention takes what was read.
    let cut = |deployment: &mut InMemoryDeployment| {
        deployment.for_each_source("loan", |memory, source| {
            memory.delete_below(source, 0, i64::MAX);
        });
    };
    check_run_continues(cut, PATRONS);
}

#[test]
fn loss_guard_stops_at_one_more_than_half() {
    let mut deployment = deployment_with_loans(DeploymentSetup::DEFAULT);
    (0..126).for_each(|number| push_patron(&mut deployment, number, None));
    let error_text = deployment.run_to_end().expect_err("too much is taken back");
    assert!(
        error_text.contains("126 of the 250 outputs that `service-message` has"),
        "{error_text}"
    );
    assert_eq!(count_outputs(&deployment), PATRONS);
}

#[test]
fn loss_guard_lets_policy_change_retract() {
    let mut deployment = deployment_with_loans(DeploymentSetup::DEFAULT);
    deployment.uses_changed_policy = true;
    deployment.restart();
    deployment.run_to_end().expect("the config says so");
    deployment.check_state().expect("the state as the topics");
}

#[test]
fn batch_time_never_runs_backwards() {
    let mut deployment = deployment_with_loans(DeploymentSetup::DEFAULT);
    deployment.set_clock(START_MS + 800 * DAY_MS);
    push_loan(&mut deployment, 0, "open", "2026-06-01");
    deployment.run_to_end().expect("a run to the end");
    assert_eq!(count_outputs(&deployment), 0);
    // What lapsed does not come again because a clock was set back.
    deployment.set_clock(START_MS);
    (0..PATRONS).for_each(|number| push_loan(&mut deployment, number, "open", "2026-06-02"));
    deployment.run_to_end().expect("a run to the end");
    assert_eq!(count_outputs(&deployment), 0);
}
