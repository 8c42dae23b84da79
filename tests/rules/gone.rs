//! Section 5 of docs/rules.md: records that their source no longer has.

use crate::driver::{Message, SHIPPED, check, check_records, p1_record};

/// A record of each kind that its recipient gets, and the recipient.
const RECORDS: [(&str, &str, &str); 4] = [
    ("reservation", r#""status":"ready_for_pickup","expires_on":"2026-01-20""#, "reservation-slip"),
    ("ill_request", r#""status":"requested","needed_by":"2026-02-01""#, "ill-library"),
    (
        "debt",
        r#""stage":"collection","status":"open","reminded_at":"2025-11-01T09:00:00Z","invoiced_at":"2025-12-01T09:00:00Z","referred_at":"2026-01-02T09:00:00Z""#,
        "deurwaarder",
    ),
    ("loan", r#""status":"open","due_on":"2026-02-01""#, "service-message"),
];

#[test]
fn gone_record_is_taken_back_and_comes_back() {
    for (kind, members, recipient) in RECORDS {
        let patron = ("patron", r#""kind":"person""#);
        let (whole, gone) = ((kind, members), (kind, r#""gone":true"#));
        check_records(&SHIPPED, recipient, &[patron, whole], "released");
        check_records(&SHIPPED, recipient, &[patron, whole, gone], "record_gone");
        check_records(&SHIPPED, recipient, &[patron, whole, gone, gone], "record_gone");
        check_records(&SHIPPED, recipient, &[patron, whole, gone, whole], "released");
        check_records(&SHIPPED, recipient, &[patron, gone], "record_gone");
    }
}

#[test]
fn gone_counts_only_as_true() {
    let (kind, members, recipient) = RECORDS[0];
    for (gone, want) in [
        ("true", "record_gone"),
        ("false", "released"),
        ("null", "released"),
        (r#""""#, "released"),
        (r#""true""#, "malformed"),
        ("1", "malformed"),
        (r#"{"at":"2026-01-01"}"#, "malformed"),
        ("false,\"gone\":false", "malformed"),
    ] {
        let record = format!(r#"{members},"gone":{gone}"#);
        let patron = ("patron", r#""kind":"person""#);
        check_records(&SHIPPED, recipient, &[patron, (kind, members), (kind, &record)], want);
    }
}

#[test]
fn gone_of_another_type_is_malformed_for_every_recipient() {
    // Also where a condition fails, and where the patron is not known.
    let loan = ("loan", r#""status":"lost","gone":"ja""#);
    for recipient in ["service-message", "statistics"] {
        check_records(&SHIPPED, recipient, &[loan], "malformed");
    }
}

#[test]
fn gone_record_waits_for_no_patron() {
    let (kind, members, recipient) = RECORDS[0];
    check_records(&SHIPPED, recipient, &[(kind, members)], "held");
    check_records(&SHIPPED, recipient, &[(kind, members), (kind, r#""gone":true"#)], "record_gone");
}

#[test]
fn gone_is_unknown_where_a_kind_has_none() {
    let values = [p1_record("patron", r#""kind":"person","gone":true"#)];
    let key = Some(b"p1".as_slice());
    check(&SHIPPED, &[("patron", key, Some(values[0].as_bytes()))], &[]);
    let granted = r#""purpose":"online-library","decision":"granted","manner":"digital","at":"2026-01-01T00:00:00Z","gone":true"#;
    let member =
        r#""birth_date":"1985-07-30","kind":"person","membership":{"id":"M1","status":"active"}"#;
    let records = [("consent", granted), ("patron", member)];
    check_records(&SHIPPED, "kb-membership", &records, "released");
}

#[test]
fn record_of_another_patron_counts_for_each_until_it_is_gone() {
    let (kind, members, recipient) = RECORDS[0];
    let record_of = |patron: &str, members: &str| {
        format!(
            r#"{{"patron_id":"{patron}","library":"NL-AmrBKW","reservation_id":"r1",{members}}}"#
        )
    };
    let patron = |id: &str| {
        format!(r#"{{"patron_id":"{id}","library":"NL-AmrBKW","kind":"person","surname":"Berg"}}"#)
    };
    let patrons = [patron("p1"), patron("p2")];
    let versions = [record_of("p1", members), record_of("p2", members)];
    let gone_value = record_of("p1", r#""gone":true"#);
    let patron = |at: usize| message("patron", ["p1", "p2"][at], &patrons[at]);
    let whole = |at: usize| message(kind, ["p1", "p2"][at], &versions[at]);
    let gone = message(kind, "p1", &gone_value);
    // The driver compares what is left in the end: of both, of one, of the other.
    for (moved, want) in [
        (&[whole(0), whole(1)][..], "released"),
        (&[whole(0), gone, whole(1)], "released"),
        (&[whole(0), whole(1), gone], "record_gone"),
    ] {
        let messages = [&[patron(0), patron(1)], moved].concat();
        check(&SHIPPED, &messages, &[(recipient, want)]);
    }
}

fn message<'a>(kind: &'a str, key: &'a str, value: &'a str) -> Message<'a> {
    (kind, Some(key.as_bytes()), Some(value.as_bytes()))
}
