//! F10: a settled debt is taken back.

use crate::driver::{Message, SHIPPED, check, check_records, p1_record};
use crate::patron::*;

#[test]
fn f10_settled_debt_is_taken_back() {
    let debt = |status: &str| {
        format!(
            r#""debt_id":"d","stage":"collection","status":"{status}","reminded_at":"2025-01-01T00:00:00Z","invoiced_at":"2025-02-01T00:00:00Z""#
        )
    };
    let (open, settled) = (debt("open"), debt("settled"));
    let records = [("patron", ACTIVE_MEMBER), ("debt", &*open), ("debt", &*settled)];
    check_records(
        &SHIPPED,
        "deurwaarder",
        &records[..2],
        r#"{"birth_date":"1985-07-30","debt_id":"d"}"#,
    );
    check_records(&SHIPPED, "deurwaarder", &records, "condition");
}

const OPEN_DEBT: &str = r#""debt_id":"d","stage":"collection","status":"open","reminded_at":"2025-01-01T00:00:00Z","invoiced_at":"2025-02-01T00:00:00Z""#;

/// Checks what deurwaarder is told of a debt after these settlements.
#[track_caller]
fn check_settlements(settlements: &[&str], want: &str) {
    let mut records: Vec<(&str, &str)> =
        settlements.iter().map(|settlement| ("settlement", *settlement)).collect();
    records.extend([("patron", ACTIVE_MEMBER), ("debt", OPEN_DEBT)]);
    check_records(&SHIPPED, "deurwaarder", &records, want);
    // Whichever comes first.
    records.rotate_right(2);
    records.push(("patron", ACTIVE_MEMBER));
    check_records(&SHIPPED, "kb-recognition", &records, "released");
}

#[test]
fn f10_settlement_settles_the_debt_that_it_names() {
    for (settlement, want) in [
        (r#""debt_id":"d""#, "settled"),
        (r#""debt_id":"d","library":"NL-Elsewhere""#, "settled"),
        (r#""debt_id":"e""#, "released"),
        (r#""debt_id":"D""#, "released"),
        (r#""debt_id":"d","gone":false"#, "settled"),
        (r#""debt_id":"d","gone":null"#, "settled"),
        (r#""debt_id":"d","gone":true"#, "released"),
        (r#""gone":true"#, "released"),
    ] {
        check_settlements(&[settlement], want);
    }
}

#[test]
fn f10_settlement_is_replaced_by_its_own_id_alone() {
    let one = r#""settlement_id":"s","debt_id":"d""#;
    for (settlements, want) in [
        (&[one, r#""settlement_id":"s","debt_id":"e""#][..], "released"),
        (&[one, r#""settlement_id":"t","debt_id":"e""#], "settled"),
        (&[one, r#""settlement_id":"s","gone":true"#], "released"),
        (&[one, r#""settlement_id":"t","debt_id":"d","gone":true"#], "settled"),
        // Two settlements of one debt: both have to go.
        (
            &[one, r#""settlement_id":"t","debt_id":"d""#, r#""settlement_id":"s","gone":true"#],
            "settled",
        ),
        (&[r#""settlement_id":"s","gone":true"#, one], "settled"),
    ] {
        check_settlements(settlements, want);
    }
}

#[test]
fn f10_settlement_that_names_no_readable_debt_leaves_the_last_one_in_force() {
    let one = r#""settlement_id":"s","debt_id":"d""#;
    for unreadable in [
        r#""settlement_id":"s""#,
        r#""settlement_id":"s","debt_id":"""#,
        r#""settlement_id":"s","debt_id":7"#,
        r#""settlement_id":"s","debt_id":["e"]"#,
        r#""settlement_id":"s","debt_id":"e","gone":"true""#,
        r#""settlement_id":"s","debt_id":"e","gone":1"#,
        r#""settlement_id":"s","debt_id":"e","debt_id":"f""#,
    ] {
        check_settlements(&[unreadable], "released");
        check_settlements(&[one, unreadable], "settled");
    }
}

#[test]
fn f10_settlement_that_cannot_be_read_at_all_stops_nothing() {
    let settlement = p1_record("settlement", r#""settlement_id":"s","debt_id":"d""#);
    let (patron, debt) = (p1_record("patron", ACTIVE_MEMBER), p1_record("debt", OPEN_DEBT));
    let key = Some(b"p1".as_slice());
    for (key, value) in [
        (key, None),
        (key, Some(&b"{"[..])),
        (key, Some(b"\xff")),
        (key, Some(b"[]")),
        (None, Some(settlement.as_bytes())),
        (None, Some(b"{}")),
        (Some(b"p2".as_slice()), Some(settlement.as_bytes())),
    ] {
        let mut messages = vec![
            message_of("patron", Some(&patron)),
            ("settlement", key, value),
            message_of("debt", Some(&debt)),
        ];
        check(&SHIPPED, &messages, &[("deurwaarder", "released")]);
        messages.insert(1, message_of("settlement", Some(&settlement)));
        check(&SHIPPED, &messages, &[("deurwaarder", "settled")]);
    }
}

#[test]
fn f10_settlement_takes_back_what_was_released_and_opens_it_again() {
    let settlement = p1_record("settlement", r#""settlement_id":"s","debt_id":"d""#);
    let gone = p1_record("settlement", r#""settlement_id":"s","gone":true"#);
    let (patron, debt) = (p1_record("patron", ACTIVE_MEMBER), p1_record("debt", OPEN_DEBT));
    let message = |kind, value| message_of(kind, Some(value));
    let mut messages = vec![message("patron", &patron), message("debt", &debt)];
    messages.push(message("settlement", &settlement));
    check(&SHIPPED, &messages, &[]);
    messages.push(message("debt", &debt));
    check(&SHIPPED, &messages, &[("deurwaarder", "settled")]);
    messages.push(message("settlement", &gone));
    check(&SHIPPED, &messages, &[]);
    messages.push(message("debt", &debt));
    check(&SHIPPED, &messages, &[("deurwaarder", "released")]);
}

#[test]
fn f10_settlement_does_not_count_for_the_next_holder_of_the_id() {
    let settlement = p1_record("settlement", r#""settlement_id":"s","debt_id":"d""#);
    let (patron, debt) = (p1_record("patron", ACTIVE_MEMBER), p1_record("debt", OPEN_DEBT));
    let message = |kind, value| message_of(kind, value);
    let mut messages = vec![
        message("settlement", Some(&settlement)),
        message("patron", Some(&patron)),
        message("patron", None),
        message("patron", Some(&patron)),
        message("debt", Some(&debt)),
    ];
    check(&SHIPPED, &messages, &[("deurwaarder", "released")]);
    messages.extend([message("settlement", Some(&settlement)), message("debt", Some(&debt))]);
    check(&SHIPPED, &messages, &[("deurwaarder", "settled")]);
}

fn message_of<'a>(kind: &'a str, value: Option<&'a String>) -> Message<'a> {
    (kind, Some(b"p1".as_slice()), value.map(|value| value.as_bytes()))
}
