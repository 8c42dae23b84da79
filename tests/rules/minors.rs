//! Consent of minors (GDPR art. 8): of a child only a guardian's grant counts, of an adult only the
//! patron's own. Now is noon of 15 January 2026, in UTC.

use crate::driver::{SHIPPED, check_records};
use crate::patron::*;

const BY_GUARDIAN: &str = r#""decision":"granted","manner":"written","at":"2025-07-01T00:00:00Z","given_by":"guardian","employee":"E1""#;
const BY_PATRON: &str =
    r#""decision":"granted","manner":"written","at":"2025-07-01T00:00:00Z","given_by":"patron""#;
const LATER_REFUSAL_BY_GUARDIAN: &str =
    r#""decision":"refused","at":"2025-08-01T00:00:00Z","given_by":"guardian""#;

/// What kb-membership is told of a patron with an account or these consents.
#[track_caller]
fn check_minor(library: &str, birth_date: &str, consents: &[&str], want: &str) {
    let account = match consents {
        [] => r#","online_account":{"created_at":"2025-06-01T00:00:00Z"}"#,
        _ => "",
    };
    let patron = format!(
        r#""library":"{library}","kind":"person","birth_date":{birth_date},"membership":{{"id":"M","status":"active"}}{account}"#
    );
    let consents: Vec<String> = (0..)
        .zip(consents)
        .map(|(number, rest)| {
            let (_, fields) = consent_record(&format!("c{number}"), rest);
            format!(r#""library":"{library}",{fields}"#)
        })
        .collect();
    let mut records: Vec<(&str, &str)> = consents.iter().map(|one| ("consent", &**one)).collect();
    records.push(("patron", &patron));
    check_records(&SHIPPED, "kb-membership", &records, want);
}

#[test]
fn minors_grants_count_by_age_and_country() {
    // The library, the birth date, and what the patron's own grant, a guardian's and an account
    // lead to.
    for (library, birth_date, own, guardians, account) in [
        ("NL-AmrBKW", r#""2010-01-16""#, "no_consent", "released", "no_consent"),
        ("NL-AmrBKW", r#""2010-01-15""#, "released", "released", "released"),
        ("NL-AmrBKW", r#""2008-01-16""#, "released", "released", "released"),
        ("NL-AmrBKW", r#""2008-01-15""#, "released", "no_consent", "released"),
        ("BE-GntB", r#""2013-01-16""#, "no_consent", "released", "no_consent"),
        ("BE-GntB", r#""2013-01-15""#, "released", "released", "released"),
        ("BE-GntB", r#""2008-01-15""#, "released", "no_consent", "released"),
        ("FR-751131015", r#""2010-01-16""#, "no_consent", "released", "no_consent"),
        ("FR-751131015", r#""2010-01-15""#, "released", "released", "released"),
        // Nobody knows the age: a minor.
        ("NL-AmrBKW", "null", "no_consent", "released", "no_consent"),
        ("NL-AmrBKW", r#""1985-02-30""#, "no_consent", "released", "no_consent"),
        ("NL-AmrBKW", r#""1985-07-30T00:00:00Z""#, "no_consent", "released", "no_consent"),
        ("NL-AmrBKW", r#""2030-01-01""#, "no_consent", "released", "no_consent"),
        ("NL-AmrBKW", "19850730", "malformed", "malformed", "malformed"),
    ] {
        check_minor(library, birth_date, &[BY_PATRON], own);
        check_minor(library, birth_date, &[BY_GUARDIAN], guardians);
        check_minor(library, birth_date, &[], account);
    }
}

#[test]
fn minors_guardian_counts_only_with_a_witness() {
    let grant = r#""decision":"granted","manner":"digital","at":"2025-07-01T00:00:00Z","given_by":"guardian""#;
    for (witness, want) in [
        ("", "no_consent"),
        (r#","employee":"""#, "no_consent"),
        (r#","signature_ref":null"#, "no_consent"),
        (r#","employee":1"#, "no_consent"),
        (r#","employee":"E1""#, "released"),
        (r#","signature_ref":"S1""#, "released"),
    ] {
        let consent = format!("{grant}{witness}");
        check_minor("NL-AmrBKW", r#""2015-01-01""#, &[&consent], want);
    }
    let unknown = r#""decision":"granted","manner":"written","at":"2025-07-01T00:00:00Z","given_by":"Guardian","employee":"E1""#;
    check_minor("NL-AmrBKW", r#""2015-01-01""#, &[unknown], "consent_unreadable");
}

#[test]
fn minors_refusal_counts_whoever_gave_it() {
    for (birth_date, grant) in [
        (r#""2015-01-01""#, BY_GUARDIAN),
        (r#""2009-01-01""#, BY_GUARDIAN),
        (r#""2009-01-01""#, BY_PATRON),
        (r#""1985-07-30""#, BY_PATRON),
    ] {
        check_minor("NL-AmrBKW", birth_date, &[grant], "released");
        check_minor("NL-AmrBKW", birth_date, &[grant, LATER_REFUSAL], "no_consent");
        check_minor("NL-AmrBKW", birth_date, &[grant, LATER_REFUSAL_BY_GUARDIAN], "no_consent");
    }
}
