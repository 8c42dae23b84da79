//! F24: the newsletter, for who asked for it, until a day after the membership.

use crate::driver::{SHIPPED, check_records};
use crate::patron::*;

const READER: &str = r#""kind":"person","birth_date":"1985-07-30","email":"lezer@example.org","language":"nl","phone":"06-00000000""#;
const SUBSCRIPTION: &str = r#""consent_id":"c","purpose":"newsletter","decision":"granted","manner":"digital","at":"2025-07-01T00:00:00Z""#;

/// What the newsletter is told of a reader after some records.
#[track_caller]
fn check_newsletter(records: &[(&str, &str)], patron: &str, want: &str) {
    let all = [records, &[("patron", patron)]].concat();
    check_records(&SHIPPED, "newsletter", &all, want);
}

#[test]
fn f24_newsletter_needs_a_subscription_that_stands() {
    let address = r#"{"email":"lezer@example.org","language":"nl"}"#;
    let leave = r#""consent_id":"d","purpose":"newsletter","decision":"withdrawn","at":"2025-08-01T00:00:00Z""#;
    let objection = r#""objection_id":"o","kind":"direct_marketing","status":"dismissed","at":"2025-08-01T00:00:00Z""#;
    let again = SUBSCRIPTION.replace("2025-07", "2025-09");
    let by_name = again.replace(r#""decision""#, r#""recipient":"newsletter","decision""#);
    let asked = ("consent", SUBSCRIPTION);
    check_newsletter(&[], READER, "no_consent");
    check_newsletter(&[asked], READER, address);
    check_newsletter(&[asked, ("consent", leave)], READER, "no_consent");
    check_newsletter(&[asked, ("consent", leave), ("consent", &again)], READER, address);
    let objected = [asked, ("objection", objection)];
    check_newsletter(&objected, READER, "objection_marketing");
    check_newsletter(
        &[&objected[..], &[("consent", &again)]].concat(),
        READER,
        "objection_marketing",
    );
    check_newsletter(&[&objected[..], &[("consent", &by_name)]].concat(), READER, address);
    check_newsletter(&[asked], ACTIVE_MEMBER, "condition");
}

#[test]
fn f24_newsletter_ends_a_day_after_the_membership() {
    for (status, ends_on, want) in [
        ("ended", "2026-01-15", "released"),
        ("ended", "2026-01-14", "lapsed"),
        ("active", "2026-01-14", "released"),
        ("ended", "", "released"),
    ] {
        let membership = format!(r#"{{"status":"{status}","ends_on":"{ends_on}"}}"#);
        let patron = format!(r#"{READER},"membership":{membership}"#);
        check_newsletter(&[("consent", SUBSCRIPTION)], &patron, want);
    }
}
