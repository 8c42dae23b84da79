//! Records that are refused whole, fields that are missing or malformed, and records without their patron.

use crate::driver::{Message, SHIPPED, check, check_field, check_records};
use crate::patron::*;

const PERSON: &str = r#""kind":"person""#;
const READY_RESERVATION: &str = r#""status":"ready_for_pickup","item":{"title":"T"}"#;

#[test]
fn record_is_refused_whole_for_each_reason() {
    let deep = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"patron_id":"p1","library":"NL-A","loan_id":"l","x":{open}{close}}}"#)
    };
    let wide = |keys: usize| {
        let many = vec![r#""k":0"#; keys - 3].join(",");
        format!(r#"{{"patron_id":"p1","library":"NL-A","loan_id":"l",{many}}}"#)
    };
    for (value, want) in [
        (deep(63), "fit"),
        (deep(64), "too_deep"),
        (wide(4_096), "fit"),
        (wide(4_097), "too_many_keys"),
        (deep(1) + &" ".repeat(1_048_576 - deep(1).len()), "fit"),
        (deep(1) + &" ".repeat(1_048_577 - deep(1).len()), "too_large"),
        (String::new(), "not_json"),
        ("{} {}".to_owned(), "not_json"),
        ("\u{feff}{}".to_owned(), "not_json"),
        (r#"{"a":01}"#.to_owned(), "not_json"),
        ("null".to_owned(), "null_value"),
        ("[]".to_owned(), "not_an_object"),
        ("{}".to_owned(), "identifier"),
        (r#"{"patron_id":"p1","library":"NL-A"}"#.to_owned(), "identifier"),
        (r#"{"patron_id":"p1","library":"NL","loan_id":"l"}"#.to_owned(), "identifier"),
        (r#"{"patron_id":"p1","library":"NL-A","loan_id":1}"#.to_owned(), "identifier"),
        (
            r#"{"patron_id":"p1","patron_id":"p1","library":"NL-A","loan_id":"l"}"#.to_owned(),
            "identifier",
        ),
        (r#"{"patron_id":"p2","library":"NL-A","loan_id":"l"}"#.to_owned(), "miskeyed"),
    ] {
        let want = if want == "fit" { "held" } else { want };
        let message: Message<'_> = ("loan", Some(b"p1"), Some(value.as_bytes()));
        check(&SHIPPED, &[message], &[("statistics", want)]);
    }
}

#[test]
fn records_join_the_patron_as_last_read() {
    let patron = br#"{"patron_id":"p1","library":"NL-A"}"#.as_slice();
    let loan = br#"{"patron_id":"p1","library":"NL-A","loan_id":"l","status":"open"}"#.as_slice();
    let other = br#"{"patron_id":"p1","library":"NL-B","loan_id":"l","status":"open"}"#.as_slice();
    let consent = br#"{"patron_id":"p9","library":"NL-B","consent_id":"c"}"#.as_slice();
    let mut messages: Vec<Message<'_>> = Vec::new();
    let key = Some(b"p1".as_slice());
    for (source, key, value, want) in [
        ("loan", key, Some(loan), "held"),
        ("patron", key, None, "patron_erased"),
        ("loan", key, Some(loan), "patron_erased"),
        ("patron", key, Some(patron), "condition"),
        ("loan", key, Some(other), "library_conflict"),
        ("loan", key, None, "null_value"),
        ("patron", None, Some(patron), "miskeyed"),
        ("loan", key, Some(other), "library_conflict"),
        ("patron", key, Some(b"{"), "not_json"),
        ("loan", key, Some(loan), "held"),
        ("patron", key, Some(b" null "), "patron_erased"),
        ("consent", Some(b"p9"), Some(consent), "unclear"),
        ("objection", Some(b"p9"), Some(consent), "identifier"),
    ] {
        messages.push((source, key, value));
        let recipient = if source == "patron" { "kb-recognition" } else { "statistics" };
        check(&SHIPPED, &messages, &[(recipient, want)]);
    }
}

#[test]
fn field_is_missing_malformed_or_a_value() {
    let plain = r#"{"shelf_mark":"Be","title":"T","slip":["Be","Be","T"]}"#;
    let none = r#"{"title":"T","slip":["","T"]}"#;
    for (patron, want) in [
        (r#""surname":"Berg""#, plain),
        (r#""surn\u0061me":"\u0042erg""#, plain),
        (r#""surname":null"#, none),
        (r#""surname":"""#, none),
        (r#""surname":{}"#, none),
        (r#""surname":[null,""]"#, none),
        (r#""surname":{"x":1}"#, "malformed"),
        (r#""surname":["Berg"]"#, "malformed"),
        (r#""surname":1"#, "malformed"),
        (r#""surname":"Berg","surname":"Berg""#, "malformed"),
        (r#""surname":"Berg","surn\u0061me":null"#, "malformed"),
        (r#""surname":"Berg\ud800""#, "malformed"),
        (r#""surname":"Berg","surname\ud800":1"#, plain),
        (r#""surname":"Berg","birth_date":1,"note":1e999"#, plain),
        (r#""surname":"Berg","x":{"surname":1,"surname":2}"#, plain),
        (r#""surname":"Berg","rijksregisternummer":85073003328"#, "malformed"),
        (r#""surname":"Berg","card_kind":false"#, "malformed"),
    ] {
        check_output("reservation-slip", patron, "reservation", READY_RESERVATION, want);
    }
    for (record, want) in [
        (r#""status":"ready_for_pickup","item":"""#, r#"{"slip":[""]}"#),
        (r#""status":"ready_for_pickup","item":{"x":1}"#, r#"{"slip":[""]}"#),
        (r#""status":"ready_for_pickup","item":[]"#, r#"{"slip":[""]}"#),
        (r#""status":"ready_for_pickup","item":[{"title":"T"}]"#, "malformed"),
        (r#""status":"ready_for_pickup","item":{},"item":{}"#, "malformed"),
        (r#""status":"ready_for_pickup","expires_on":"2023-02-29""#, r#"{"slip":[""]}"#),
        (r#""status":"collected","item":1"#, "condition"),
        (r#""status":1,"item":1"#, "malformed"),
        (r#""item":{"title":"T"}"#, "condition"),
        (r#""status":"ready_for_pickup","item":{"title":" "}"#, r#"{"title":" ","slip":[""]}"#),
    ] {
        check_output("reservation-slip", r#""kind":"person""#, "reservation", record, want);
    }
}

#[test]
fn numbers_are_copied_as_written() {
    for (record, want) in [
        (r#""renewals":-0"#, "-0"),
        (r#""renewals":12345678901234567890123"#, "12345678901234567890123"),
        (r#""renewals":"""#, ""),
        (r#""renewals":1.0"#, "malformed"),
        (r#""renewals":1e2"#, "malformed"),
        (r#""renewals":"1""#, "malformed"),
    ] {
        let record = &format!(r#"{LOAN_OF_CLOSED_MONTH},{record}"#);
        let number = Some(want).filter(|want| !want.is_empty());
        match want {
            "malformed" => check_output("statistics", PERSON, "loan", record, want),
            _ => check_field("statistics", PERSON, ("loan", record), ("renewals", number)),
        }
    }
    let head = r#"{"request_id":"r1","#;
    for (item, want) in [
        (r#"{"volume":12.50,"pages":"1-2"}"#, format!(r#"{head}"volume":12.50,"pages":"1-2"}}"#)),
        (r#"{"volume":1E+2,"pages":-0.0}"#, format!(r#"{head}"volume":1E+2,"pages":-0.0}}"#)),
        (r#"{"volume":1e-999}"#, format!(r#"{head}"volume":1e-999}}"#)),
        (r#"{"volume":1e999}"#, "malformed".to_owned()),
        (r#"{"volume":true}"#, "malformed".to_owned()),
    ] {
        let record = format!(r#""status":"sent","item":{item}"#);
        check_output("ill-library", PERSON, "ill_request", &record, &want);
    }
}

#[test]
fn record_without_its_patron_is_held() {
    let slip = r#""reservation_id":"r","status":"ready_for_pickup","item":1"#;
    check_records(&SHIPPED, "reservation-slip", &[("reservation", slip)], "held");
    let slip = r#""reservation_id":"r","status":"placed""#;
    check_records(&SHIPPED, "reservation-slip", &[("reservation", slip)], "condition");
    let slip = r#""reservation_id":"r","status":1"#;
    check_records(&SHIPPED, "reservation-slip", &[("reservation", slip)], "malformed");
    check_records(&SHIPPED, "statistics", &[("loan", r#""loan_id":"l","renewals":"x""#)], "held");
}
