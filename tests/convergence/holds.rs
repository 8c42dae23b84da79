//! Records that wait for their patrons: how many, and for how long.

use crate::site::{Setup, Site, dead_letters};
use crate::story::START_MS;

const DAY_MS: i64 = 86_400_000;

fn loan(site: &mut Site, patron_id: &str, id: &str) {
    let value = format!(
        r#"{{"loan_id":"{id}","patron_id":"{patron_id}","library":"NL-A","status":"open","due_on":"2026-06-01"}}"#
    );
    site.push(
        "loan",
        0,
        Some(patron_id.as_bytes()),
        Some(value.as_bytes()),
    );
}

fn patron(site: &mut Site, patron_id: &str) {
    let value = format!(r#"{{"patron_id":"{patron_id}","library":"NL-A"}}"#);
    site.push(
        "patron",
        0,
        Some(patron_id.as_bytes()),
        Some(value.as_bytes()),
    );
}

/// Runs to the end; what service-message has then, and all dead letters.
#[track_caller]
fn check(site: &mut Site, has: usize, letters: &[&str]) {
    site.run().expect("a run to the end");
    let values = site.values().remove("service-message");
    assert_eq!(values.unwrap_or_default().len(), has);
    let found: Vec<String> = dead_letters(site).into_iter().collect();
    assert_eq!(found, letters);
    site.check_state().expect("the state as the topics");
    site.check_numbers().expect("numbers that add up");
}

#[test]
fn more_than_may_wait_are_let_go() {
    let mut site = Site::new(
        Setup {
            holds: (2, 30 * DAY_MS),
            ..Setup::PLAIN
        },
        START_MS,
    );
    for id in ["l1", "l2", "l3"] {
        loan(&mut site, "p1", id);
    }
    check(&mut site, 0, &["loan 2 hold_full"]);
    site.restart();
    check(&mut site, 0, &["loan 2 hold_full"]);
    patron(&mut site, "p1");
    check(&mut site, 2, &["loan 2 hold_full"]);
    loan(&mut site, "p2", "l4");
    check(&mut site, 2, &["loan 2 hold_full"]);
    patron(&mut site, "p2");
    check(&mut site, 3, &["loan 2 hold_full"]);
}

#[test]
fn what_waited_for_too_long_is_let_go() {
    let mut site = Site::new(
        Setup {
            holds: (100, 30 * DAY_MS),
            ..Setup::PLAIN
        },
        START_MS,
    );
    loan(&mut site, "p1", "l1");
    check(&mut site, 0, &[]);
    site.set_clock(START_MS + 30 * DAY_MS - 1);
    loan(&mut site, "p1", "l2");
    check(&mut site, 0, &[]);
    site.set_clock(START_MS + 30 * DAY_MS);
    check(&mut site, 0, &["loan 0 hold_expired"]);
    patron(&mut site, "p1");
    check(&mut site, 1, &["loan 0 hold_expired"]);
    // A new version waits anew.
    loan(&mut site, "p1", "l1");
    check(&mut site, 2, &["loan 0 hold_expired"]);
}

#[test]
fn what_was_released_long_ago_waits_from_when_it_was_taken_back() {
    let mut site = Site::new(
        Setup {
            holds: (100, 30 * DAY_MS),
            ..Setup::PLAIN
        },
        START_MS,
    );
    patron(&mut site, "p1");
    loan(&mut site, "p1", "l1");
    check(&mut site, 1, &[]);
    site.set_clock(START_MS + 60 * DAY_MS);
    site.push("patron", 0, Some(b"p1"), Some(b"[]"));
    check(&mut site, 0, &["patron 1 not_an_object"]);
    site.set_clock(START_MS + 90 * DAY_MS - 1);
    check(&mut site, 0, &["patron 1 not_an_object"]);
    patron(&mut site, "p1");
    check(&mut site, 1, &["patron 1 not_an_object"]);
}
