//! G07: an objection to direct marketing stands for ever; a later grant by name lifts it.

use crate::driver::{EXTENDED, check_records};
use crate::patron::*;

const OBJECTION: &str =
    r#""objection_id":"o","kind":"direct_marketing","at":"2025-08-01T00:00:00Z""#;
const GRANT_AT: &str =
    r#""consent_id":"c","purpose":"own-marketing","decision":"granted","manner":"written""#;

/// What a recipient of marketing is told of a patron after some records.
#[track_caller]
fn check_marketing(records: &[(&str, &str)], want: &str) {
    let all = [records, &[("patron", ACTIVE_MEMBER)]].concat();
    check_records(&EXTENDED, "own-marketing", &all, want);
}

#[test]
fn g07_objection_to_marketing_is_never_replaced() {
    check_marketing(&[], "released");
    let status = |status: &str| format!(r#"{OBJECTION},"status":"{status}""#);
    for rest in ["lodged", "upheld", "dismissed", "?"] {
        check_marketing(&[("objection", &status(rest))], "objection_marketing");
    }
    let special = r#""objection_id":"o","kind":"special_circumstances","status":"dismissed""#;
    check_marketing(&[("objection", OBJECTION), ("objection", special)], "objection_marketing");
    check_records(
        &EXTENDED,
        "kb-recognition",
        &[("objection", OBJECTION), ("patron", ACTIVE_MEMBER)],
        "released",
    );
}

#[test]
fn g07_only_later_grant_by_name_lifts_objection() {
    for (rest, want) in [
        (r#""recipient":"own-marketing","at":"2025-08-02T00:00:00Z""#, "released"),
        (r#""recipient":"own-marketing","at":"2025-08-01T00:00:00Z""#, "objection_marketing"),
        (r#""recipient":"own-marketing","at":"2026-08-02T00:00:00Z""#, "objection_marketing"),
        (r#""recipient":"own-written","at":"2025-08-02T00:00:00Z""#, "objection_marketing"),
        (r#""at":"2025-08-02T00:00:00Z""#, "objection_marketing"),
    ] {
        let grant = format!("{GRANT_AT},{rest}");
        check_marketing(&[("objection", OBJECTION), ("consent", &grant)], want);
        check_marketing(&[("consent", &grant), ("objection", OBJECTION)], want);
    }
    let grant = format!(r#"{GRANT_AT},"recipient":"own-marketing","at":"2025-08-02T00:00:00Z""#);
    let timeless = r#""objection_id":"p","kind":"direct_marketing""#;
    let all = [("objection", OBJECTION), ("consent", &*grant), ("objection", timeless)];
    check_marketing(&all, "objection_marketing");
}
