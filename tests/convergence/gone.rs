//! Records that are gone, and thinned outputs: as stories of one loan, in one lane and in
//! several, with a restart between any two steps.

use zeef_test_kit::deployment::{DeploymentSetup, InMemoryDeployment, LaneLayout};
use zeef_test_kit::scenario::START_MS;

const DAY_MS: i64 = 86_400_000;
/// Returned a day before the story begins.
const RETURNED: &str = r#""status":"returned","branch":"noord","loaned_at":"2025-12-01T10:00:00Z","returned_at":"2026-01-14T12:00:00Z","item":{"title":"Boek"}"#;
const OPEN: &str = r#""status":"open","branch":"zuid","loaned_at":"2025-12-01T10:00:00Z","due_on":"2026-03-01","item":{"title":"Boek"}"#;
const GONE: &str = r#""gone":true"#;
const WHOLE: &str =
    r#"{"title":"Boek","email":"berg@example.org","branch":"noord","status":"returned"}"#;
const THINNED: &str = r#"{"branch":"noord","status":"returned"}"#;

#[derive(Clone, Copy)]
enum Step {
    /// Patron `p1` as ever.
    Patron,
    Erasure,
    /// A version of loan `l1`.
    Loan(&'static str),
    Objection(&'static str),
    Days(i64),
    /// The source of loans loses what was read.
    CutLoans,
    Policy(bool),
}
use Step::{CutLoans, Days, Erasure, Loan, Objection, Patron, Policy};

/// Plays the steps, each with a run, and checks what `recipient` has in the end.
#[track_caller]
fn check(recipient: &str, steps: &[Step], want: Option<&str>) {
    for layout in [LaneLayout::OneLane, LaneLayout::TwoLanes, LaneLayout::LanePerRecipient] {
        for restarts in [false, true] {
            let setup = DeploymentSetup { layout, ..DeploymentSetup::DEFAULT };
            let found = play(setup, (recipient, restarts), steps);
            assert_eq!(found.as_deref(), want, "{layout:?}, restarts: {restarts}");
        }
    }
}

fn play(
    setup: DeploymentSetup,
    (recipient, restarts): (&str, bool),
    steps: &[Step],
) -> Option<String> {
    let mut deployment = InMemoryDeployment::new(setup, START_MS);
    let mut now_ms = START_MS;
    for step in steps {
        now_ms += 1_000;
        deployment.set_arrival_time(now_ms);
        let mut push = |source: &str, fields: Option<&str>| {
            let value = fields
                .map(|fields| format!(r#"{{"patron_id":"p1","library":"NL-AmrBKW",{fields}}}"#));
            deployment.push_message(source, 0, Some(b"p1"), value.as_deref().map(str::as_bytes));
        };
        match step {
            Patron => push(
                "patron",
                Some(
                    r#""kind":"person","surname":"Berg","email":"berg@example.org","membership":{"id":"M","status":"active"}"#,
                ),
            ),
            Erasure => push("patron", None),
            Loan(fields) => push("loan", Some(&format!(r#""loan_id":"l1",{fields}"#))),
            Objection(status) => push(
                "objection",
                Some(&format!(
                    r#""objection_id":"o1","kind":"special_circumstances","status":"{status}""#
                )),
            ),
            Days(days) => now_ms += days * DAY_MS,
            CutLoans => deployment.for_each_source("loan", |transport, source| {
                transport.delete_below(source, 0, i64::MAX);
            }),
            Policy(changed) => {
                deployment.uses_changed_policy = *changed;
                deployment.restart();
            }
        }
        deployment.set_clock(now_ms);
        deployment.run_to_end().expect("a run to the end");
        deployment.check_state().expect("a state that is right");
        deployment.check_counters().expect("numbers that add up");
        if restarts {
            deployment.restart();
        }
    }
    let mut outputs = deployment.outputs_by_recipient();
    let mut values = outputs.remove(recipient).unwrap_or_default().into_values();
    let value = values.next().map(|value| String::from_utf8(value).expect("text"));
    assert!(values.next().is_none(), "one loan");
    value
}

#[test]
fn gone_is_taken_back_and_comes_back() {
    let open = r#"{"name":"Berg","email":"berg@example.org","title":"Boek","due_on":"2026-03-01","branch":"zuid"}"#;
    for (steps, want) in [
        (&[Patron, Loan(OPEN)][..], Some(open)),
        (&[Patron, Loan(OPEN), Loan(GONE)], None),
        (&[Patron, Loan(OPEN), Loan(GONE), Patron, Days(1)], None),
        (&[Patron, Loan(OPEN), Loan(GONE), Loan(OPEN)], Some(open)),
        // It waits for its patron no longer.
        (&[Loan(OPEN), Loan(GONE), Patron], None),
        (&[Loan(OPEN), Patron, Erasure, Loan(GONE), Patron], None),
        (&[Patron, Loan(OPEN), CutLoans, Loan(GONE)], None),
        (&[Patron, Loan(OPEN), Loan(GONE), Policy(true), Policy(false)], None),
    ] {
        check("service-message", steps, want);
    }
}

#[test]
fn thinned_is_a_function_of_the_last_state() {
    let open = r#"{"title":"Boek","email":"berg@example.org","branch":"zuid","status":"open"}"#;
    let thinned_open = r#"{"branch":"zuid","status":"open"}"#;
    for (steps, want) in [
        (&[Patron, Loan(RETURNED)][..], Some(WHOLE)),
        (&[Patron, Loan(RETURNED), Loan(GONE)], Some(THINNED)),
        (&[Patron, Loan(RETURNED), Loan(GONE), Loan(GONE), Patron], Some(THINNED)),
        (&[Patron, Loan(RETURNED), Loan(GONE), Loan(OPEN)], Some(open)),
        (&[Patron, Loan(RETURNED), Loan(OPEN), Loan(GONE)], Some(thinned_open)),
        // It was never had whole.
        (&[Loan(RETURNED), Loan(GONE), Patron], Some(THINNED)),
        (&[Patron, Loan(GONE)], None),
        // The sweep finds what is due.
        (&[Patron, Loan(RETURNED), Days(88)], Some(WHOLE)),
        (&[Patron, Loan(RETURNED), Days(90)], Some(THINNED)),
        (&[Patron, Loan(RETURNED), Days(90), Loan(OPEN)], Some(open)),
        (&[Patron, Loan(RETURNED), Days(90), Loan(GONE)], Some(THINNED)),
        (&[Patron, Loan(RETURNED), Loan(GONE), Days(800)], None),
    ] {
        check("own-thinned", steps, want);
    }
}

#[test]
fn thinned_is_still_acted_upon() {
    for (steps, want) in [
        (&[Patron, Loan(RETURNED), Loan(GONE), Erasure][..], None),
        (&[Patron, Loan(RETURNED), Loan(GONE), Erasure, Patron], None),
        (&[Patron, Loan(RETURNED), Days(90), Erasure], None),
        (&[Patron, Loan(RETURNED), Loan(GONE), Policy(true)], None),
        (&[Patron, Loan(RETURNED), Loan(GONE), Policy(true), Policy(false)], Some(THINNED)),
        (&[Patron, Loan(RETURNED), Policy(true), Days(31)], Some(THINNED)),
    ] {
        check("own-thinned", steps, want);
    }
    let statistics =
        r#"{"library":"NL-AmrBKW","branch":"noord","loaned_month":"2025-12","status":"returned"}"#;
    let thinned = [Patron, Loan(RETURNED), Loan(GONE), Days(40)];
    check("statistics", &thinned, Some(statistics));
    for (objections, want) in [
        (&[Objection("lodged"), Days(1)][..], None),
        (&[Objection("lodged"), Days(1), Objection("dismissed"), Days(40)], Some(statistics)),
    ] {
        check("statistics", &[&thinned, objections].concat(), want);
    }
}

/// The version before is removed by its source's retention: nothing can be made of it.
#[test]
fn thinned_is_taken_back_where_the_version_before_is_lost() {
    for (steps, want) in [
        (&[Patron, Loan(RETURNED), CutLoans, Loan(GONE)][..], None),
        (&[Patron, Loan(RETURNED), Days(90), CutLoans, Loan(GONE)], None),
        (&[Patron, Loan(RETURNED), CutLoans, Days(88)], Some(WHOLE)),
        (&[Patron, Loan(RETURNED), CutLoans, Days(90)], None),
        (&[Patron, Loan(RETURNED), CutLoans, Patron, Days(90)], None),
        (&[Patron, Loan(RETURNED), Loan(GONE), CutLoans, Days(1)], Some(THINNED)),
        (&[Patron, Loan(RETURNED), Loan(GONE), CutLoans, Loan(GONE)], None),
        (&[Patron, Loan(RETURNED), Loan(GONE), CutLoans, Erasure], None),
        (
            &[Patron, Loan(RETURNED), CutLoans, Loan(GONE), Loan(RETURNED), Loan(GONE)],
            Some(THINNED),
        ),
    ] {
        check("own-thinned", steps, want);
    }
}
