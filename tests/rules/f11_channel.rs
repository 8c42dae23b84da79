//! F11, F12: a reminder goes by e-mail, by post where there is no e-mail address, and nowhere where
//! there is neither; an output has what belongs to the chosen channel alone.

use zeef_test_kit::config::{patron_kind_file, recipient_file};

use crate::driver::{RulePolicy, SHIPPED, check_records};

/// A debt of which the patron is reminded.
const DEBT: (&str, &str) = (
    "debt",
    r#""debt_id":"d","stage":"reminder","status":"open","reminded_at":"2026-01-02T00:00:00Z""#,
);

#[track_caller]
fn check(patron: &str, want: &str) {
    check_records(&SHIPPED, "reminder", &[("patron", patron), DEBT], want);
}

#[test]
fn f11_reminder_goes_by_the_first_channel_that_is_there() {
    let rest = r#""debt_id":"d","reminded_at":"2026-01-02T00:00:00Z"}"#;
    let both = r#""email":"a@example.org","address":{"street":"Kade","postcode":"1811 AB"}"#;
    check(both, &format!(r#"{{"channel":"email","email":"a@example.org",{rest}"#));
    for no_email in ["", r#""email":null,"#, r#""email":"a at example.org","#] {
        let patron = format!(r#"{no_email}"address":{{"street":"Kade","city":"Alkmaar"}}"#);
        let address = r#""address":{"street":"Kade","city":"Alkmaar"}"#;
        check(&patron, &format!(r#"{{"channel":"post",{address},{rest}"#));
    }
    let address = r#""address":{"postcode":"1811 AB"}"#;
    check(address, &format!(r#"{{"channel":"post",{address},{rest}"#));
}

#[test]
fn f11_reminder_without_a_channel_is_withheld() {
    for patron in ["", r#""address":{}"#, r#""address":{"city":"Alkmaar","house_number":1}"#] {
        check(patron, "no_channel");
    }
    // What is needed is looked at first.
    check(r#""email":"a@example.org","address":{"street":7}"#, "malformed");
}

#[test]
fn f11_output_follows_the_channel_and_is_taken_back_without_one() {
    let with = r#""email":"a@example.org","address":{"street":"Kade"}"#;
    let records = [("patron", with), DEBT, ("patron", r#""address":{"street":"Kade"}"#), DEBT];
    let post = r#"{"channel":"post","address":{"street":"Kade"},"debt_id":"d","reminded_at":"2026-01-02T00:00:00Z"}"#;
    check_records(&SHIPPED, "reminder", &records, post);
    // The patron's new row alone takes it back: the driver compares what the recipient has.
    check_records(&SHIPPED, "reminder", &[("patron", with), DEBT, ("patron", "")], "nothing");
}

#[test]
fn f11_channels_are_for_any_recipient_in_any_order() {
    let patron = patron_kind_file(
        r#"email = { type = "email", class = "contact", meaning = "m" }
        phone = { type = "phone", class = "contact", meaning = "m" }
        "home.street" = { type = "text", class = "contact", meaning = "m" }"#,
    );
    let settings = "source = \"patron\"\nkey = { pseudonym = \"patron_id\" }\n\
        retention = { term = \"P5Y\", from = \"born_on\", after = \"retract\" }\n\
        channel = { first = [\"phone\", \"home\", \"email\"] }";
    let fields = "street = { from = \"home.street\" }\nby = { word_of = \"channel\" }\n\
        email = { from = \"email\", mask = \"lowercase\" }\nphone = { from = \"phone\" }\n\
        library = { from = \"library\" }";
    let policy = RulePolicy::from_files(&[patron, recipient_file("r", settings, fields)]);
    for (patron, want) in [
        (
            r#""phone":"020-0000000","email":"A@example.org","home":{"street":"Kade"}"#,
            r#"{"by":"phone","phone":"020-0000000","library":"NL-AmrBKW"}"#,
        ),
        (
            r#""email":"A@example.org","home":{"street":"Kade"}"#,
            r#"{"street":"Kade","by":"post","library":"NL-AmrBKW"}"#,
        ),
        (
            r#""email":"A@example.org","phone":"none""#,
            r#"{"by":"email","email":"a@example.org","library":"NL-AmrBKW"}"#,
        ),
        ("", "no_channel"),
    ] {
        check_records(&policy, "r", &[("patron", patron)], want);
    }
}
