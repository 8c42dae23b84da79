//! F18, F09: agreements and authorisations are in force on the day, or nothing is sent.

use zeef_test_kit::config::{patron_kind_file, recipient_file};

use crate::driver::{RulePolicy, check_records};

const PATRON: &str = r#""rijksregisternummer":"85073003328""#;

/// The policy of one recipient with a paper of these days; today is 15 January 2026.
fn policy_with_paper(paper: &str, field: &str) -> RulePolicy {
    let patron = patron_kind_file(
        r#"rijksregisternummer = { type = "rijksregisternummer", class = "national_id", meaning = "m" }"#,
    );
    let settings = format!(
        "source = \"patron\"\nkey = {{ pseudonym = \"patron_id\" }}\n\
         retention = {{ term = \"P1Y\", from = \"born_on\", after = \"retract\" }}\n{paper}"
    );
    let recipient = recipient_file("r", &settings, &format!("a = {{ from = \"{field}\" }}"));
    RulePolicy::from_files(&[patron, recipient])
}

#[test]
fn f18_agreement_holds_from_its_first_day_to_its_last() {
    for (from, until, want) in [
        ("2026-01-15", "2026-01-15", r#"{"a":"NL-AmrBKW"}"#),
        ("2026-01-16", "2026-12-31", "agreement_lapsed"),
        ("2025-01-01", "2026-01-14", "agreement_lapsed"),
    ] {
        let clauses = r#"clauses = ["use", "security", "confidentiality"]"#;
        let paper = format!(
            "role = \"processor\"\nagreement = {{ reference = \"A\", {clauses}, from = \"{from}\", until = \"{until}\" }}"
        );
        let policy = policy_with_paper(&paper, "library");
        check_records(&policy, "r", &[("patron", PATRON)], want);
    }
}

#[test]
fn f09_national_number_needs_an_authorisation_in_force() {
    for (from, until, want) in [
        ("2026-01-15", "2026-01-15", r#"{"a":"85073003328"}"#),
        ("2026-01-16", "2026-12-31", "authorisation_lapsed"),
        ("2025-01-01", "2026-01-14", "authorisation_lapsed"),
    ] {
        let paper = format!(
            "authorisation = {{ reference = \"A\", approved_by = \"B\", approved_on = \"2025-01-01\", from = \"{from}\", until = \"{until}\" }}"
        );
        let policy = policy_with_paper(&paper, "rijksregisternummer");
        check_records(&policy, "r", &[("patron", PATRON)], want);
    }
}
