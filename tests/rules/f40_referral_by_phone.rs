//! F40: what is passed on by phone must not be stored. A referral in any other manner than
//! written or digital is refused whole, and takes an earlier version back.

use crate::driver::{Message, SHIPPED, check, check_records};
use crate::patron::ACTIVE_MEMBER;

const RECIPIENT: &str = "ido-referral";

fn referral(members: &str) -> String {
    let fields = r#""organisation":"Taalhuis","at":"2026-01-05T10:00:00Z""#;
    format!(r#"{{"referral_id":"v1","library":"NL-AmrBKW",{fields}{members}}}"#)
}

/// Checks a referral of a visitor who is no member, alone and after a good version of it.
#[track_caller]
fn check_visitor(members: &str, want: &str) {
    let (good, value) = (referral(r#","manner":"digital""#), referral(members));
    let key = Some(b"v1".as_slice());
    let good: Message<'_> = ("referral", key, Some(good.as_bytes()));
    let message: Message<'_> = ("referral", key, Some(value.as_bytes()));
    check(&SHIPPED, &[message], &[(RECIPIENT, want)]);
    check(&SHIPPED, &[good, message], &[(RECIPIENT, want)]);
    check(&SHIPPED, &[good, message, good], &[(RECIPIENT, "released")]);
}

#[test]
fn f40_referral_by_phone_is_refused_whole() {
    for manner in ["phone", "Phone", "telefoon", "balie", " written", "DIGITAL"] {
        check_visitor(&format!(r#","manner":"{manner}""#), "must_not_exist");
    }
    check_visitor(r#","manner":"ph\u006fne""#, "must_not_exist");
    check_visitor(r#","manner":"written""#, "released");
}

#[test]
fn f40_referral_without_a_manner_is_withheld() {
    check_visitor("", "condition");
    check_visitor(r#","manner":null"#, "condition");
    check_visitor(r#","manner":1"#, "malformed");
    check_visitor(r#","manner":"phone","manner":"phone""#, "malformed");
}

#[test]
fn f40_referral_of_a_member_by_phone_is_refused_whole() {
    let digital = r#""referral_id":"v1","at":"2026-01-05T10:00:00Z","manner":"digital""#;
    let phone = r#""referral_id":"v1","at":"2026-01-05T10:00:00Z","manner":"phone""#;
    let patron = ("patron", ACTIVE_MEMBER);
    check_records(&SHIPPED, RECIPIENT, &[("referral", phone)], "must_not_exist");
    check_records(&SHIPPED, RECIPIENT, &[("referral", digital)], "held");
    check_records(&SHIPPED, RECIPIENT, &[patron, ("referral", digital)], "{}");
    let records = [patron, ("referral", digital), ("referral", phone)];
    check_records(&SHIPPED, RECIPIENT, &records, "must_not_exist");
}
