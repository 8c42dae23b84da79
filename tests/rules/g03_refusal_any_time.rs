//! G03: a patron may refuse, and withdraw at any time.

use crate::driver::{SHIPPED, check_records};
use crate::patron::*;

#[test]
fn g03_latest_consent_for_the_recipient_decides() {
    for (statements, want) in [
        (&[][..], "no_consent"),
        (&[("a", GRANT)], "released"),
        (&[("a", REFUSAL)], "no_consent"),
        (&[("a", GRANT), ("b", LATER_REFUSAL)], "no_consent"),
        (&[("a", LATER_REFUSAL), ("b", GRANT)], "no_consent"),
        (&[("a", REFUSAL), ("b", LATER_GRANT)], "released"),
        // Two at one moment: the refusal wins, in any order.
        (&[("a", GRANT), ("b", REFUSAL)], "no_consent"),
        (&[("a", REFUSAL), ("b", GRANT)], "no_consent"),
        // What arrives with the same id replaces, whatever its moment.
        (&[("a", LATER_REFUSAL), ("a", GRANT)], "released"),
        (&[("a", GRANT), ("a", ORAL_GRANT)], "no_consent"),
        (&[("a", GRANT), ("b", ORAL_GRANT)], "released"),
        (&[("a", REFUSAL), ("b", ORAL_GRANT)], "no_consent"),
        (&[("a", GRANT), ("a", FUTURE_GRANT)], "no_consent"),
        (&[("a", GRANT), ("b", FUTURE_GRANT)], "released"),
        (&[("a", FUTURE_GRANT)], "no_consent"),
        (&[("a", GRANT), ("b", FUTURE_REFUSAL)], "no_consent"),
        (&[("a", REFUSAL_WITHOUT_TIME), ("b", LATER_GRANT)], "no_consent"),
        // By name: lifted only by name.
        (&[("a", REFUSAL_BY_NAME), ("b", LATER_GRANT)], "no_consent"),
        (&[("a", REFUSAL_BY_NAME), ("b", GRANT_BY_NAME)], "released"),
        (&[("a", GRANT_BY_NAME)], "released"),
        (&[("a", GRANT_BY_NAME), ("b", LATER_REFUSAL)], "released"),
        (&[("a", GRANT_BY_NAME), ("b", FUTURE_REFUSAL)], "no_consent"),
        (&[("a", GRANT), ("b", REFUSAL_FOR_ANOTHER_RECIPIENT)], "released"),
    ] {
        check_kb_membership(ACTIVE_MEMBER, statements, want);
    }
}

#[test]
fn g03_refusal_of_unasked_purpose_is_an_objection() {
    let refusal = |rest: &str| format!(r#""consent_id":"c","decision":"refused",{rest}"#);
    for (rest, want) in [
        (r#""purpose":"statistics""#, "objection"),
        (r#""purpose":"statistics","recipient":"statistics""#, "objection"),
        (r#""purpose":"statistics","recipient":"kb-membership""#, "released"),
        (r#""purpose":"statistics","at":"2030-01-01T00:00:00Z""#, "objection"),
        (r#""purpose":"pickup""#, "released"),
        (r#""purpose":"online-library""#, "released"),
        (r#""purpose":"statistics","manner":"?""#, "consent_unreadable"),
    ] {
        let line = refusal(rest);
        check_statistics(&[("consent", &line)], want);
    }
}

#[test]
fn g03_withdrawal_takes_back_what_was_sent() {
    let grant = format!(r#""consent_id":"a","purpose":"online-library",{GRANT}"#);
    let withdrawal = format!(r#""consent_id":"b","purpose":"online-library",{LATER_REFUSAL}"#);
    let records = [("consent", &*grant), ("patron", ACTIVE_MEMBER), ("consent", &*withdrawal)];
    check_records(&SHIPPED, "kb-membership", &records[..2], "released");
    check_records(&SHIPPED, "kb-membership", &records, "applied");
}
