//! F27: marketing to adult members, until they object.

use std::sync::Arc;

use zeef::engine::lane::Lane;
use zeef::engine::pipeline::{BatchTime, Pipeline};
use zeef::message::{Input, Outbox, Payload};
use zeef::policy::reason::Reason;
use zeef_test_kit::engine::source_id;
use zeef_test_kit::golden::NOW_MS;
use zeef_test_kit::worker::{WorkerSetup, state_keys};

use crate::driver::{SHIPPED, check_records, p1_record};

/// What marketing is told of a member with these members of the record, after some records.
#[track_caller]
fn check_marketing(records: &[(&str, &str)], patron: &str, want: &str) {
    let all = [records, &[("patron", patron)]].concat();
    check_records(&SHIPPED, "marketing", &all, want);
}

fn member(birth_date: &str, status: &str, email: &str) -> String {
    let interests = r#""interests":["koken","geschiedenis"],"surname":"Berg""#;
    let membership = format!(r#""membership":{{"status":"{status}"}}"#);
    format!(
        r#""kind":"person","birth_date":{birth_date},{membership},"email":"{email}",{interests}"#
    )
}

#[test]
fn f27_marketing_reaches_adult_members_with_an_address() {
    const EMAIL: &str = "lid@example.org";
    let whole = r#"{"email":"lid@example.org","interests":["koken","geschiedenis"]}"#;
    for (birth_date, status, email, want) in [
        (r#""2008-01-14""#, "active", EMAIL, whole),
        (r#""2008-01-16""#, "active", EMAIL, "condition"),
        ("null", "active", EMAIL, "condition"),
        (r#""1985-02-30""#, "active", EMAIL, "condition"),
        ("1985", "active", EMAIL, "malformed"),
        (r#""1985-07-30""#, "ended", EMAIL, "condition"),
        (r#""1985-07-30""#, "active", "", "condition"),
        (r#""1985-07-30""#, "active", "lid@example", "condition"),
    ] {
        check_marketing(&[], &member(birth_date, status, email), want);
    }
}

#[test]
fn f27_objection_stops_marketing_for_ever() {
    let patron = member(r#""1985-07-30""#, "active", "lid@example.org");
    let objection = r#""objection_id":"o","at":"2025-08-01T00:00:00Z","kind":"#;
    let consent = r#""consent_id":"c","manner":"written","at":"2025-09-01T00:00:00Z","purpose":"marketing","decision":"#;
    let to_marketing = format!(r#"{objection}"direct_marketing","status":"dismissed""#);
    let special = format!(r#"{objection}"special_circumstances","status":"#);
    let (lodged, dismissed) = (format!(r#"{special}"lodged""#), format!(r#"{special}"dismissed""#));
    let refusal = format!(r#"{consent}"refused""#);
    let grant = format!(r#"{consent}"granted""#);
    let by_name = format!(r#"{grant},"recipient":"marketing""#);
    for (records, want) in [
        (&[("objection", &to_marketing)][..], "objection_marketing"),
        (&[("objection", &to_marketing), ("consent", &grant)], "objection_marketing"),
        (&[("objection", &to_marketing), ("consent", &by_name)], "released"),
        (&[("objection", &lodged)], "objection"),
        (&[("objection", &dismissed)], "released"),
        (&[("consent", &refusal)], "objection"),
    ] {
        let records: Vec<(&str, &str)> =
            records.iter().map(|(kind, record)| (*kind, record.as_str())).collect();
        check_marketing(&records, &patron, want);
    }
}

/// A message about the patron p1.
fn input<'a>(lane: &Lane, kind: &str, (offset, value): (i64, &'a str)) -> Input<'a> {
    Input {
        source: source_id(lane, kind).unwrap(),
        partition: 0,
        offset,
        timestamp_ms: None,
        append_time: None,
        trace_parent: None,
        key: Some(b"p1"),
        payload: Payload::Bytes(value.as_bytes()),
    }
}

/// The times of the objections that take outputs from marketing after a member was released.
fn stops_after(objection: &str) -> (u64, Vec<i64>) {
    let lane = SHIPPED.lane();
    let mut pipeline =
        Pipeline::with_state(Arc::clone(lane), state_keys(), WorkerSetup::DEFAULT.holds);
    let mut outbox = Outbox::default();
    let patron = member(r#""1985-07-30""#, "active", "lid@example.org");
    let values = [
        ("patron", p1_record("patron", &patron)),
        ("objection", p1_record("objection", objection)),
    ];
    pipeline.begin_batch(BatchTime::from_ms(NOW_MS));
    for (offset, (kind, value)) in (0..).zip(&values) {
        let message = input(lane, kind, (offset, value));
        pipeline.decide(&message, &mut outbox);
    }
    while pipeline.pending_rechecks() > 0 {
        for wanted in pipeline.next_rechecks(&mut outbox) {
            let message = input(lane, "patron", (0, &values[0].1));
            pipeline.decide_recheck(wanted, Some(message), &mut outbox);
        }
    }
    let marketing = lane.recipients.iter().position(|one| one.name == "marketing").unwrap();
    let tally = &pipeline.tally().recipients[marketing];
    let retracted = tally.rechecked.retracted[Reason::ObjectionMarketing as usize];
    (retracted, tally.marketing_objections_ms.clone())
}

#[test]
fn f27_stop_is_measured_from_the_time_of_the_objection() {
    let objection = |rest: &str| format!(r#""objection_id":"o","kind":"direct_marketing"{rest}"#);
    let stopped = stops_after(&objection(r#","at":"1970-01-01T00:00:01.5Z""#));
    assert_eq!(stopped, (1, vec![1_500]));
    // One without a time stops all the same, and is not measured.
    assert_eq!(stops_after(&objection("")), (1, vec![]));
    let special = r#""objection_id":"o","kind":"special_circumstances","status":"dismissed","at":"1970-01-01T00:00:01.5Z""#;
    assert_eq!(stops_after(special), (0, vec![]));
}
