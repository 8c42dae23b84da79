//! G10: consents and objections carry the recipient's purpose.

use crate::driver::{SHIPPED, check_records};
use crate::patron::*;

#[test]
fn g10_consent_counts_for_its_purpose_alone() {
    let other = r#""consent_id":"a","purpose":"other","decision":"granted","manner":"written","at":"2025-07-01T00:00:00Z""#;
    check_records(
        &SHIPPED,
        "kb-membership",
        &[("consent", other), ("patron", ACTIVE_MEMBER)],
        "no_consent",
    );
}

#[test]
fn g10_purpose_nearly_right_is_not_understood() {
    let grant = format!(r#""consent_id":"a","purpose":"online-library",{GRANT}"#);
    for (purpose, want) in [
        (r#""purpose":"Online-Library","#, "consent_unreadable"),
        (r#""purpose":"online-libary","#, "consent_unreadable"),
        ("", "consent_unreadable"),
        (r#""purpose":"knitting","#, "released"),
        (r#""purpose":"statistics","#, "released"),
    ] {
        let refusal = format!(r#""consent_id":"b",{purpose}"decision":"refused""#);
        let statements = [("consent", &*grant), ("consent", &*refusal), ("patron", ACTIVE_MEMBER)];
        check_records(&SHIPPED, "kb-membership", &statements, want);
    }
}
