//! F05: an online account implies the consent.

use std::fs;
use std::path::Path;

use zeef_test_kit::config::{patron_kind_file, recipient_file};

use crate::driver::{RulePolicy, check_records};
use crate::patron::*;

#[test]
fn f05_consent_is_implied_by_an_existing_account() {
    let patron = ACTIVE_MEMBER;
    let released = r#"{"member_ref":"M","library":"NL-AmrBKW","birth_date":"1985-07-30"}"#;
    let recognised = r#"{"member_ref":"M","library":"NL-AmrBKW","birth_year":"1985"}"#;
    for (account, want) in [
        (r#"{"created_at":"2026-01-15T12:00:00Z"}"#, released),
        (r#"{"created_at":"2026-01-15T13:00:00.000+01:00"}"#, released),
        (r#"{"created_at":"2026-01-15T12:00:00.0000001Z"}"#, "no_consent"),
        (r#"{"created_at":"2026-01-15T12:00:01Z"}"#, "no_consent"),
        (r#"{"created_at":"2025-01-01"}"#, "no_consent"),
        ("{}", "no_consent"),
        ("1", "malformed"),
        (r#"{"created_at":1}"#, "malformed"),
    ] {
        let patron = format!(r#"{patron},"online_account":{account}"#);
        check_output("kb-membership", &patron, "patron", "", want);
        check_output("kb-recognition", &patron, "patron", "", recognised);
    }
}

#[test]
fn f05_consent_implied_by_event_is_a_grant_without_recipient() {
    for (statements, want) in [
        (&[][..], "released"),
        (&[("a", REFUSAL)], "no_consent"),
        (&[("a", REFUSAL), ("b", LATER_GRANT)], "released"),
        (&[("a", r#""decision":"refused","at":"2025-05-31T23:59:59Z""#)], "released"),
        (&[("a", r#""decision":"refused","at":"2025-06-01T00:00:00Z""#)], "no_consent"),
        (&[("a", REFUSAL_BY_NAME)], "no_consent"),
        (
            &[(
                "a",
                r#""recipient":"kb-membership","decision":"refused","at":"2020-01-01T00:00:00Z""#,
            )],
            "no_consent",
        ),
    ] {
        check_kb_membership(MEMBER_WITH_ACCOUNT, statements, want);
    }
}

#[test]
fn f13_consent_is_implied_by_a_date_from_midnight() {
    let patron =
        patron_kind_file(r#"signed_on = { type = "date", class = "event", meaning = "m" }"#);
    let settings = "source = \"patron\"\nkey = { pseudonym = \"patron_id\" }\n\
                    retention = { term = \"P1Y\", from = \"born_on\", after = \"retract\" }\n\
                    consent = { purpose = \"p\", implied_by = \"signed_on\" }";
    let (path, text) = recipient_file("r", settings, "library = { from = \"library\" }");
    let recipient = (path, text.replace("\"contract\"", "\"consent\""));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/records/consent.toml");
    let consent = ("records/consent.toml".to_owned(), fs::read_to_string(folder).unwrap());
    let policy = RulePolicy::from_files(&[patron, consent, recipient]);
    let refusal = |at: &str| format!(r#""purpose":"p","decision":"refused","at":"{at}""#);
    for (signed_on, refused_at, want) in [
        ("2026-01-15", "", "released"),
        ("2026-01-16", "", "no_consent"),
        ("2026-02-30", "", "no_consent"),
        ("", "", "no_consent"),
        ("2026-01-10", "2026-01-09T23:59:59Z", "released"),
        ("2026-01-10", "2026-01-10T00:00:00Z", "no_consent"),
        ("2026-01-10", "2026-01-11T08:00:00Z", "no_consent"),
    ] {
        let (refusal, patron) = (refusal(refused_at), format!(r#""signed_on":"{signed_on}""#));
        let records = [("consent", &*refusal), ("patron", &*patron)];
        let from = usize::from(refused_at.is_empty());
        check_records(&policy, "r", &records[from..], want);
    }
}
