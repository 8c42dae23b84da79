//! F13: direct debits, of who signed a mandate, in the 30 days before the fee is due.

use zeef_test_kit::config::{patron_kind_file, recipient_file};

use crate::driver::{RulePolicy, SHIPPED, check_records};

const REFUSAL: &str =
    r#""consent_id":"c","purpose":"direct-debit","decision":"refused","at":"2025-07-01T00:00:00Z""#;

/// A member with a mandate, whose fee is due on a day.
fn member(mandate: &str, due_on: &str) -> String {
    let membership =
        r#""membership":{"id":"M-1","status":"active","fee_cents":4950,"currency":"EUR""#;
    format!(
        r#""kind":"person","birth_date":"1985-07-30","initials":"J.","surname":"Berg","iban":"NL91ABNA0417164300","mandate":{{"id":"MND-1",{mandate}}},{membership},"fee_due_on":"{due_on}"}}"#
    )
}

#[test]
fn f13_debit_is_ordered_before_its_day_and_while_the_mandate_stands() {
    let signed = r#""signed_on":"2024-02-29""#;
    for (records, mandate, due_on, want) in [
        (&[][..], signed, "2026-01-14", "condition"),
        (&[], signed, "2026-01-15", "released"),
        (&[], signed, "2026-02-14", "released"),
        (&[], signed, "2026-02-15", "condition"),
        (&[], r#""signed_on":"2026-01-16""#, "2026-02-01", "no_consent"),
        (&[], r#""signed_on":null"#, "2026-02-01", "condition"),
        (&[("consent", REFUSAL)], signed, "2026-02-01", "no_consent"),
        // Signed anew after the refusal.
        (&[("consent", REFUSAL)], r#""signed_on":"2025-07-02""#, "2026-02-01", "released"),
    ] {
        let patron = member(mandate, due_on);
        let all = [records, &[("patron", patron.as_str())]].concat();
        check_records(&SHIPPED, "direct-debit", &all, want);
    }
}

/// A policy of one recipient with these fields of patrons.
fn policy_of(fields: &str) -> RulePolicy {
    let settings = "source = \"patron\"\nkey = { pseudonym = \"patron_id\" }\n\
                    retention = { term = \"P1Y\", from = \"born_on\", after = \"retract\" }";
    let kind = ["one", "two.three", "initials", "surname_prefix", "surname"].map(|path| {
        format!("\"{path}\" = {{ type = \"text\", class = \"personal\", meaning = \"m\" }}\n")
    });
    let number = "bsn = { type = \"bsn\", class = \"national_id\", meaning = \"m\" }\n\
                  card_id = { type = \"text\", class = \"identifier\", meaning = \"m\" }\n";
    let kind = patron_kind_file(&(kind.concat() + number));
    RulePolicy::from_files(&[kind, recipient_file("r", settings, fields)])
}

#[test]
fn f13_first_value_that_is_there_is_shown() {
    let policy = policy_of(
        r#"x = { first = [{ from = "two.three" }, { from = "one", mask = "lowercase" }, { from = "surname", mask = "full_name" }] }"#,
    );
    for (members, want) in [
        (r#""one":"A","two":{"three":"B"},"surname":"C""#, r#"{"x":"B"}"#),
        (r#""one":"A","two":{"three":""},"surname":"C""#, r#"{"x":"a"}"#),
        (r#""one":"A","two":{},"surname":"C""#, r#"{"x":"a"}"#),
        (r#""one":null,"initials":"D.","surname":"C""#, r#"{"x":"D. C"}"#),
        // A mask makes nothing of white space.
        (r#""one":" ","surname_prefix":"van""#, r#"{"x":"van"}"#),
        (r#""two":null"#, "{}"),
        // A value that may not be shown is there: no other takes its place.
        (r#""two":{"three":"n 111222333"},"one":"A","bsn":"111222333""#, "{}"),
        (r#""one":"n 111222333","surname":"C","bsn":"111222333""#, "{}"),
        (r#""one":"A","surname":"111222333","bsn":"111222333""#, r#"{"x":"a"}"#),
        // Also a value that another one would hide.
        (r#""one":"A","two":{"three":"B"},"surname":1"#, "malformed"),
    ] {
        check_records(&policy, "r", &[("patron", members)], want);
    }
}

#[test]
fn f13_pseudonym_in_hexadecimal_has_digits_of_sepa() {
    let encoded = |encoding: &str| {
        policy_of(&format!(
            r#"x = {{ from = "card_id", mask = "pseudonym", encoding = "{encoding}" }}"#
        ))
    };
    let record = [("patron", r#""card_id":"M-1""#)];
    // Computed with Python's hmac.
    check_records(&encoded("base64url"), "r", &record, r#"{"x":"_-yggpQxP4ABdUn89Di8HA"}"#);
    check_records(
        &encoded("hexadecimal"),
        "r",
        &record,
        r#"{"x":"ffeca08294313f80017549fcf438bc1c"}"#,
    );
    check_records(&encoded("hexadecimal"), "r", &[("patron", "")], "{}");
}
