//! G09: what is not listed is not sent.

use crate::driver::{RulePolicy, SHIPPED, check_records};
use crate::patron::*;
use zeef_test_kit::config::{kind_file, recipient_file};

#[test]
fn g09_unlisted_field_changes_nothing() {
    let want = r#"{"member_ref":"M","library":"NL-AmrBKW","birth_year":"1985"}"#;
    for more in [
        r#""unknown":"x""#,
        r#""note":"x","reading_level":{"library":"NL-X","membership":{"id":"N"}}"#,
        r#""bsn":"x","Library":"NL-X""#,
    ] {
        let patron = format!("{ACTIVE_MEMBER},{more}");
        check_records(&SHIPPED, "kb-recognition", &[("patron", &patron)], want);
    }
}

#[test]
fn g09_unlisted_field_of_closed_kind_refuses_the_record() {
    let patron = kind_file(
        "patron",
        "role = \"patron\"\nid = \"patron_id\"\nkey = \"patron\"\nclosed = true",
        r#"
        patron_id = { type = "text", class = "identifier", meaning = "m" }
        library = { type = "isil", class = "plain", meaning = "m" }
        born_on = { type = "date", class = "plain", meaning = "m" }
        "a.b" = { type = "text", class = "plain", meaning = "m" }
        "#,
    );
    let settings = "source = \"patron\"\nkey = { pseudonym = \"patron_id\" }\n\
         retention = { term = \"P1Y\", from = \"born_on\", after = \"retract\" }";
    let recipient = recipient_file("r", settings, "b = { from = \"a.b\" }");
    let policy = RulePolicy::from_files(&[patron, recipient]);
    for (members, want) in [
        (r#""a":{"b":"x"}"#, r#"{"b":"x"}"#),
        (r#""a":{"b":"x","c":1}"#, "unlisted_field"),
        (r#""a":{"b":"x"},"c":null"#, "unlisted_field"),
    ] {
        check_records(&policy, "r", &[("patron", members)], want);
    }
}
