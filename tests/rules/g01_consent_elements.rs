//! G01: the elements of a consent.

use crate::driver::{SHIPPED, check_records};
use crate::patron::*;

#[test]
fn g01_grant_counts_only_for_patrons_of_its_library() {
    for (library, decided, want) in [
        ("NL-AmrBKW", r#""decision":"granted""#, "released"),
        ("NL-Other", r#""decision":"granted""#, "no_consent"),
        ("NL-Other", r#""decision":"refused""#, "no_consent"),
    ] {
        let head = r#""consent_id":"c","purpose":"online-library","manner":"written""#;
        let consent =
            format!(r#""library":"{library}",{head},"at":"2025-07-01T00:00:00Z",{decided}"#);
        let records = [("consent", &*consent), ("patron", ACTIVE_MEMBER)];
        check_records(&SHIPPED, "kb-membership", &records, want);
        // Another library's refusal counts.
        let grant = format!(r#""consent_id":"a","purpose":"online-library",{GRANT}"#);
        let records = [("consent", &*grant), ("consent", &*consent), ("patron", ACTIVE_MEMBER)];
        let want = if decided.contains("refused") { "no_consent" } else { "released" };
        check_records(&SHIPPED, "kb-membership", &records, want);
    }
}

/// Whether, for what, how and when it was given.
#[test]
fn g01_grant_without_one_of_its_elements_grants_nothing() {
    for (members, want) in [
        (
            r#""purpose":"online-library","manner":"written","at":"2025-07-01T00:00:00Z""#,
            "consent_unreadable",
        ),
        (
            r#""decision":"granted","manner":"written","at":"2025-07-01T00:00:00Z""#,
            "consent_unreadable",
        ),
        (
            r#""decision":"granted","purpose":"online-library","at":"2025-07-01T00:00:00Z""#,
            "consent_unreadable",
        ),
        (r#""decision":"granted","purpose":"online-library","manner":"written""#, "no_consent"),
    ] {
        let records = [("consent", members), ("patron", ACTIVE_MEMBER)];
        check_records(&SHIPPED, "kb-membership", &records, want);
    }
}
