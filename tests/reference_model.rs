//! The independent model of the rules, held against the rules' own examples.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as expected"
)]
#![allow(unreachable_pub, reason = "modules of one test binary")]

mod reference;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use reference::golden;
use reference::recipient::{RECIPIENTS, pseudonym};
use reference::{Model, Outcome, form, json, mask, nasty};

/// Merges `fields` over a plain patron and decides `record` for `recipient`.
fn decide(recipient: &str, patron: &str, source: &str, record: &str) -> Outcome {
    let mut model = Model::with_key(golden::KEY, golden::NOW_MS);
    let patron = format!(r#"{{"patron_id":"p1","library":"NL-AmrBKW",{patron}}}"#);
    let mut verdicts = model.offer("patron", Some(b"p1"), Some(patron.as_bytes()));
    if source != "patron" {
        let id = reference::own_id(source);
        let record = format!(r#"{{"patron_id":"p1","library":"NL-AmrBKW","{id}":"r1",{record}}}"#);
        verdicts = model.offer(source, Some(b"p1"), Some(record.as_bytes()));
    }
    let verdict = verdicts
        .into_iter()
        .find(|verdict| verdict.recipient == Some(recipient) || verdict.recipient.is_none());
    verdict.expect("a verdict").outcome
}

#[track_caller]
fn check(recipient: &str, patron: &str, source: &str, record: &str, want: &str) {
    let got = match decide(recipient, patron, source, record) {
        Outcome::Released { value, .. } => String::from_utf8(value).expect("utf-8"),
        Outcome::Withheld(reason) | Outcome::Refused(reason) => reason.to_owned(),
        Outcome::Applied => "applied".to_owned(),
        Outcome::Held => "held".to_owned(),
    };
    assert_eq!(got, want, "{recipient}: {patron} / {record}");
}

#[track_caller]
fn check_mark(surname: &str, prefix: &str, country: &str, want: &str) {
    let got = mask::shelf_mark(Some(surname), Some(prefix), country).unwrap_or_default();
    assert_eq!(got, want, "{surname:?} ({prefix:?}), {country}");
}

#[test]
fn shelf_marks_are_those_of_the_rules() {
    for (surname, prefix, country, want) in [
        ("Berg", "van der", "NL", "Be"),
        ("van der Berg", "", "NL", "Be"),
        ("Van den Broeck", "", "BE", "Va"),
        ("Berg", "van der", "BE", "va"),
        ("Berg", "van der", "DE", "va"),
        ("IJzerman", "", "NL", "IJ"),
        ("\u{132}zerman", "", "NL", "IJ"),
        ("O'Brien", "", "NL", "OB"),
        ("d'Hondt", "", "BE", "dH"),
        ("d'Hondt", "", "NL", "dH"),
        ("Jansen-de Vries", "", "NL", "Ja"),
        ("'t Hooft", "", "NL", "Ho"),
        ("\u{2019}t Hooft", "", "NL", "Ho"),
        ("\u{b4}t Hooft", "", "NL", "Ho"),
        ("'s-Gravesande", "", "NL", "sG"),
        ("O\u{308}zdemir", "", "NL", "Öz"),
        ("Иванов", "", "NL", "Ив"),
        ("王", "", "NL", "王"),
        (".", "", "NL", ""),
        (" \u{200b}", "van", "BE", ""),
        (".", "van", "BE", "va"),
        ("Li", "", "NL", "L"),
        ("O", "", "NL", "O"),
        ("IJ", "", "NL", "I"),
        ("ij", "", "NL", "i"),
        ("van\u{a0}der\u{a0}Berg", "", "NL", "Be"),
        ("VAN DER Berg", "", "NL", "Be"),
        ("de la Cruz", "", "NL", "Cr"),
        ("De La", "", "NL", "L"),
        ("van van Dam", "", "NL", "va"),
        ("vander Berg", "", "NL", "va"),
        ("van der", "", "NL", "de"),
        ("van O", "", "NL", "O"),
        ("O", "van", "BE", "va"),
    ] {
        check_mark(surname, prefix, country, want);
    }
}

#[test]
fn initials_are_those_of_the_rules() {
    for (initials, given_name, want) in [
        ("", "IJsbrand", "IJ"),
        ("J.P.", "", "J"),
        ("Th.O.", "", "T"),
        ("", "Ijeoma", "I"),
        ("I.J.", "", "I"),
        (".", "Jan-Willem", "J"),
        ("", "S\u{327}eyma", "Ş"),
        (".", "伟", "伟"),
        (".", ".", ""),
        ("", "(IJsbrand)", "IJ"),
        ("\u{133}.", "", "ij"),
        ("I\u{ad}J.", "", "IJ"),
        ("1e", "", "e"),
    ] {
        let got = mask::initial(Some(initials), Some(given_name)).unwrap_or_default();
        assert_eq!(got, want, "{initials:?} / {given_name:?}");
    }
}

#[test]
fn card_suffixes_are_those_of_the_rules() {
    for (card, want) in [
        ("20013004567890", Some("67890")),
        ("123456789X", Some("56789")),
        ("0470012", None),
        ("A20013004567B", Some("04567")),
        ("12345", None),
        ("1234", None),
        ("12345678", Some("45678")),
        ("٢٠٠١٣٠٠٤٥٦٧", Some("04567")),
        ("𝟠𝟝𝟘𝟟𝟛𝟘𝟘𝟛𝟛𝟚𝟠", Some("03328")),
        ("²³¹²³¹²³¹", None),
    ] {
        assert_eq!(mask::card_suffix(card).as_deref(), want, "{card}");
    }
    assert!(mask::is_national("1", Some("eid"), None));
    assert!(mask::is_national(
        "85073003328",
        None,
        Some("85.07.30-033.28")
    ));
    assert!(mask::is_national(
        "8507300332٨",
        None,
        Some("85.07.30-033.28")
    ));
    assert!(!mask::is_national("ABC", Some("library"), Some("-")));
}

#[test]
fn forms_are_exact() {
    for (date, fits) in [
        ("2024-02-29", true),
        ("2023-02-29", false),
        ("1900-02-29", false),
        ("0001-01-01", true),
        ("0000-12-31", false),
        ("2026-1-01", false),
        ("2026-01-01 ", false),
    ] {
        assert_eq!(form::date(date).is_some(), fits, "{date}");
    }
    for (instant, want) in [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("1970-01-01T01:00:00+01:00", Some(0)),
        ("1969-12-31T23:59:59.5Z", Some(-1)),
        ("2026-01-15T12:00:00Z", Some(golden::NOW_MS / 1000)),
        ("2026-01-15t12:00:00Z", None),
        ("2026-01-15T12:00:60Z", None),
        ("2026-01-15T12:00:00", None),
        ("2026-01-15T12:00:00.Z", None),
        ("2026-01-15T12:00:00+24:00", None),
    ] {
        let got = form::instant(instant).map(|(_, moment)| moment.seconds);
        assert_eq!(got, want, "{instant}");
    }
    for (email, fits) in [
        ("jan@example.org", true),
        ("jan@example", false),
        ("jan@@example.org", false),
        ("jan@example.org.", false),
        (".o'jan+x@a-b.c", true),
        ("jän@example.org", false),
    ] {
        assert_eq!(form::is_email(email), fits, "{email}");
    }
    for (phone, fits) in [
        ("06-00000000", true),
        ("(0) 0.0/0+0-0", true),
        ("00000", false),
        ("06-0000000a", false),
        ("06\u{a0}000000", false),
    ] {
        assert_eq!(form::is_phone(phone), fits, "{phone}");
    }
    for (isil, fits) in [
        ("NL-AmrBKW", true),
        ("NL-", false),
        ("NLDXX-1", false),
        ("NL-1/2:3-4", true),
        ("NL-123456789012", false),
    ] {
        assert_eq!(form::is_isil(isil), fits, "{isil}");
    }
    for (integer, fits) in [
        ("0", true),
        ("-0", true),
        ("01", false),
        ("12.0", false),
        ("1e2", false),
    ] {
        assert_eq!(form::is_integer(integer), fits, "{integer}");
    }
}

#[test]
fn postcode_areas_follow_the_country() {
    for (postcode, country, want) in [
        ("1811 AB", "NL", Some("1811")),
        (" 1811ab ", "NL", Some("1811")),
        ("1811 sS", "NL", None),
        ("1811  AB", "NL", None),
        ("0811 AB", "NL", None),
        ("1811", "NL", None),
        ("9000", "BE", Some("9000")),
        ("9000 AB", "BE", None),
        ("1811 AB", "DE", None),
    ] {
        assert_eq!(
            form::postcode_area(postcode, country).as_deref(),
            want,
            "{postcode}, {country}"
        );
    }
}

#[test]
fn age_bands_turn_on_birthdays() {
    for (birth, at, want) in [
        ("2014-01-16", "2026-01-15", Some("0-11")),
        ("2014-01-15", "2026-01-15", Some("12-17")),
        ("2008-02-29", "2026-02-28", Some("12-17")),
        ("2008-02-29", "2026-03-01", Some("18-29")),
        ("1996-01-15", "2026-01-15", Some("30-49")),
        ("1976-01-15", "2026-01-15", Some("50-64")),
        ("1961-01-15", "2026-01-15", Some("65+")),
        ("2026-01-15", "2026-01-15", Some("0-11")),
        ("2026-01-16", "2026-01-15", None),
    ] {
        let day = |text| form::date(text).expect("a date");
        assert_eq!(mask::age_band(day(birth), day(at)), want, "{birth} at {at}");
    }
}

#[test]
fn names_are_joined_clean() {
    let name = |parts: &[&str]| {
        let parts: Vec<Option<String>> =
            parts.iter().map(|part| Some((*part).to_owned())).collect();
        mask::full_name(&parts)
    };
    assert_eq!(
        name(&["J.P.", "van  der", " Berg\u{200b} "]).as_deref(),
        Some("J.P. van der Berg")
    );
    assert_eq!(
        name(&["", "\u{a0}", "O\u{308}"]).as_deref(),
        Some("O\u{308}")
    );
    assert_eq!(name(&[" ", "\u{feff}", "\t"]), None);
    assert_eq!(
        name(&["\u{132}.", "\u{2019}t", "H"]).as_deref(),
        Some("\u{132}. \u{2019}t H")
    );
}

const SLIP: &str = r#""status":"ready_for_pickup","item":{"title":"T"}"#;

#[test]
fn a_field_is_missing_malformed_or_a_value() {
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
        (
            r#""surname":"Berg","rijksregisternummer":85073003328"#,
            "malformed",
        ),
        (r#""surname":"Berg","card_kind":false"#, "malformed"),
    ] {
        check("reservation-slip", patron, "reservation", SLIP, want);
    }
    for (record, want) in [
        (
            r#""status":"ready_for_pickup","item":"""#,
            r#"{"slip":[""]}"#,
        ),
        (
            r#""status":"ready_for_pickup","item":{"x":1}"#,
            r#"{"slip":[""]}"#,
        ),
        (
            r#""status":"ready_for_pickup","item":[]"#,
            r#"{"slip":[""]}"#,
        ),
        (
            r#""status":"ready_for_pickup","item":[{"title":"T"}]"#,
            "malformed",
        ),
        (
            r#""status":"ready_for_pickup","item":{},"item":{}"#,
            "malformed",
        ),
        (
            r#""status":"ready_for_pickup","expires_on":"2023-02-29""#,
            r#"{"slip":[""]}"#,
        ),
        (r#""status":"collected","item":1"#, "condition"),
        (r#""status":1,"item":1"#, "malformed"),
        (r#""item":{"title":"T"}"#, "condition"),
        (
            r#""status":"ready_for_pickup","item":{"title":" "}"#,
            r#"{"title":" ","slip":[""]}"#,
        ),
    ] {
        check(
            "reservation-slip",
            r#""kind":"person""#,
            "reservation",
            record,
            want,
        );
    }
}

/// A loan of a month that is over.
const LOANED: &str = r#""loaned_at":"2025-11-01T10:00:00Z""#;

#[test]
fn statistics_has_loans_of_months_that_are_over() {
    // It is decided on 2026-01-15.
    for (loaned_at, want) in [
        ("2025-12-31T23:59:59.999Z", None),
        ("2026-01-01T00:00:00Z", Some("period_open")),
        ("2026-01-14T00:00:00Z", Some("period_open")),
        ("2026-02-01T00:00:00Z", Some("period_open")),
        // A month is one of UTC.
        ("2026-01-01T00:30:00+01:00", None),
        ("2025-12-31T23:30:00-01:00", Some("period_open")),
        ("yesterday", Some("condition")),
        ("", Some("condition")),
    ] {
        let record = format!(r#""loaned_at":"{loaned_at}""#);
        let got = match decide("statistics", r#""kind":"person""#, "loan", &record) {
            Outcome::Withheld(reason) => Some(reason),
            _ => None,
        };
        assert_eq!(got, want, "{loaned_at}");
    }
}

#[test]
fn numbers_are_copied_as_written() {
    for (record, want) in [
        (r#""renewals":-0"#, r#","renewals":-0}"#),
        (
            r#""renewals":12345678901234567890123"#,
            r#","renewals":12345678901234567890123}"#,
        ),
        (r#""renewals":"""#, "}"),
        (r#""renewals":1.0"#, "malformed"),
        (r#""renewals":1e2"#, "malformed"),
        (r#""renewals":"1""#, "malformed"),
    ] {
        let record = &format!(r#"{LOANED},{record}"#);
        let got = decide("statistics", r#""kind":"person""#, "loan", record);
        match got {
            Outcome::Released { key, value } => {
                let value = String::from_utf8(value).expect("utf-8");
                // The output's key has the patron in it, what is shown has not.
                assert!(
                    value.contains("\"loan_ref\":\"") && !value.contains(&key),
                    "{value}"
                );
                assert!(value.ends_with(want), "{value}");
            }
            other => assert_eq!(other, Outcome::Withheld("malformed"), "{record}"),
        }
    }
    let head = r#"{"request_id":"r1","#;
    for (item, want) in [
        (
            r#"{"volume":12.50,"pages":"1-2"}"#,
            format!(r#"{head}"volume":12.50,"pages":"1-2"}}"#),
        ),
        (
            r#"{"volume":1E+2,"pages":-0.0}"#,
            format!(r#"{head}"volume":1E+2,"pages":-0.0}}"#),
        ),
        (
            r#"{"volume":1e-999}"#,
            format!(r#"{head}"volume":1e-999}}"#),
        ),
        (r#"{"volume":1e999}"#, "malformed".to_owned()),
        (r#"{"volume":true}"#, "malformed".to_owned()),
    ] {
        let record = format!(r#""status":"sent","item":{item}"#);
        check(
            "ill-library",
            r#""kind":"person""#,
            "ill_request",
            &record,
            &want,
        );
    }
}

#[test]
fn debt_items_keep_only_what_is_listed() {
    let head = r#""stage":"collection","status":"open","reminded_at":"2025-01-01T00:00:00Z","invoiced_at":"2025-02-01T00:00:00Z""#;
    for (items, want) in [
        ("[]", r#"{"debt_id":"r1"}"#),
        (r#"[{"barcode":"1"},{},null,"",[]]"#, r#"{"debt_id":"r1"}"#),
        (
            r#"[{"amount_cents":5,"barcode":1,"title":"A"},{"due_on":"2023-02-29"}]"#,
            r#"{"debt_id":"r1","items":[{"title":"A","amount_cents":5}]}"#,
        ),
        ("[1]", "malformed"),
        (r#"{"title":"A"}"#, "malformed"),
        ("{}", r#"{"debt_id":"r1"}"#),
        (r#"[{"title":"A","title":"A"}]"#, "malformed"),
        (r#"[{"title":"A","amount_cents":1.5}]"#, "malformed"),
        (r#"[{"title":"A"},[[{"title":"B"}]]]"#, "malformed"),
    ] {
        let record = format!(r#"{head},"items":{items}"#);
        check("deurwaarder", r#""kind":"person""#, "debt", &record, want);
    }
}

#[test]
fn consent_is_implied_by_an_account_that_exists() {
    let patron = r#""kind":"person","membership":{"id":"M","status":"active"}"#;
    let released = r#"{"member_ref":"M","library":"NL-AmrBKW"}"#;
    for (account, want) in [
        (r#"{"created_at":"2026-01-15T12:00:00Z"}"#, released),
        (
            r#"{"created_at":"2026-01-15T13:00:00.000+01:00"}"#,
            released,
        ),
        (
            r#"{"created_at":"2026-01-15T12:00:00.0000001Z"}"#,
            "no_consent",
        ),
        (r#"{"created_at":"2026-01-15T12:00:01Z"}"#, "no_consent"),
        (r#"{"created_at":"2025-01-01"}"#, "no_consent"),
        ("{}", "no_consent"),
        ("1", "malformed"),
        (r#"{"created_at":1}"#, "malformed"),
    ] {
        let patron = format!(r#"{patron},"online_account":{account}"#);
        check("kb-membership", &patron, "patron", "", want);
        check("kb-recognition", &patron, "patron", "", released);
    }
}

#[test]
fn loan_history_off_keeps_returned_loans_back() {
    for (patron, status, withheld) in [
        (
            r#""kind":"person","loan_history":false"#,
            "returned",
            Some("loan_history_off"),
        ),
        (r#""kind":"person","loan_history":false"#, "open", None),
        (r#""kind":"person","loan_history":true"#, "returned", None),
        (r#""kind":"person""#, "returned", None),
        (
            r#""kind":"person","loan_history":"no""#,
            "open",
            Some("malformed"),
        ),
        (
            r#""kind":"institution","loan_history":false"#,
            "returned",
            Some("condition"),
        ),
    ] {
        let record = format!(r#"{LOANED},"status":"{status}""#);
        let got = match decide("statistics", patron, "loan", &record) {
            Outcome::Withheld(reason) => Some(reason),
            _ => None,
        };
        assert_eq!(got, withheld, "{patron} {status}");
    }
}

#[test]
fn a_record_is_refused_whole_for_its_own_reasons() {
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
        (
            deep(1) + &" ".repeat(1_048_577 - deep(1).len()),
            "too_large",
        ),
        (String::new(), "not_json"),
        ("{} {}".to_owned(), "not_json"),
        ("\u{feff}{}".to_owned(), "not_json"),
        (r#"{"a":01}"#.to_owned(), "not_json"),
        ("null".to_owned(), "null_value"),
        ("[]".to_owned(), "not_an_object"),
        ("{}".to_owned(), "identifier"),
        (
            r#"{"patron_id":"p1","library":"NL-A"}"#.to_owned(),
            "identifier",
        ),
        (
            r#"{"patron_id":"p1","library":"NL","loan_id":"l"}"#.to_owned(),
            "identifier",
        ),
        (
            r#"{"patron_id":"p1","library":"NL-A","loan_id":1}"#.to_owned(),
            "identifier",
        ),
        (
            r#"{"patron_id":"p1","patron_id":"p1","library":"NL-A","loan_id":"l"}"#.to_owned(),
            "identifier",
        ),
        (
            r#"{"patron_id":"p2","library":"NL-A","loan_id":"l"}"#.to_owned(),
            "miskeyed",
        ),
    ] {
        let mut model = Model::with_key(golden::KEY, golden::NOW_MS);
        let got = model.offer("loan", Some(b"p1"), Some(value.as_bytes()));
        let want = match want {
            "fit" => Outcome::Withheld("condition"),
            reason => Outcome::Refused(reason),
        };
        assert_eq!(got[0].outcome, want, "{value:.80}");
    }
}

#[test]
fn the_patrons_are_as_last_read() {
    let patron = br#"{"patron_id":"p1","library":"NL-A"}"#.as_slice();
    let loan = br#"{"patron_id":"p1","library":"NL-A","loan_id":"l","status":"open"}"#.as_slice();
    let other = br#"{"patron_id":"p1","library":"NL-B","loan_id":"l","status":"open"}"#.as_slice();
    let consent = br#"{"patron_id":"p9","library":"NL-B","consent_id":"c"}"#.as_slice();
    let mut model = Model::with_key(golden::KEY, golden::NOW_MS);
    let key = Some(b"p1".as_slice());
    for (source, key, value, want) in [
        ("loan", key, Some(loan), Outcome::Held),
        ("patron", key, None, Outcome::Withheld("patron_erased")),
        ("loan", key, Some(loan), Outcome::Withheld("patron_erased")),
        ("patron", key, Some(patron), Outcome::Withheld("condition")),
        (
            "loan",
            key,
            Some(other),
            Outcome::Withheld("library_conflict"),
        ),
        ("loan", key, None, Outcome::Refused("null_value")),
        ("patron", None, Some(patron), Outcome::Refused("miskeyed")),
        (
            "loan",
            key,
            Some(other),
            Outcome::Withheld("library_conflict"),
        ),
        ("patron", key, Some(b"{"), Outcome::Refused("not_json")),
        ("loan", key, Some(loan), Outcome::Held),
        (
            "patron",
            key,
            Some(b" null "),
            Outcome::Withheld("patron_erased"),
        ),
        (
            "consent",
            Some(b"p9"),
            Some(consent),
            Outcome::Refused("unclear"),
        ),
        (
            "objection",
            Some(b"p9"),
            Some(consent),
            Outcome::Refused("identifier"),
        ),
    ] {
        let got = model.offer(source, key, value);
        assert_eq!(got[0].outcome, want, "{source} {value:?}");
    }
}

#[test]
fn pseudonyms_are_keyed_hashes() {
    let name = pseudonym(golden::KEY, "loan", "loan_id", "NL-A", "l1");
    assert_eq!(name, "pDzRmcPUrrEtJo-AdWtWkg", "computed by another tool");
    assert_ne!(
        name,
        pseudonym(golden::KEY, "loan", "loan_id", "NL-Al", "1")
    );
    assert_ne!(name, pseudonym(&[0; 32], "loan", "loan_id", "NL-A", "l1"));
}

#[test]
fn strings_are_written_with_as_few_escapes_as_may_be() {
    let text = "\u{0}\u{8}\t\n\u{b}\u{c}\r\u{1f}\"\\/\u{7f}\u{2028}é😀";
    let want = "\"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f\\\"\\\\/\u{7f}\u{2028}é😀\"";
    assert_eq!(json::quoted(text), want);
    assert_eq!(
        json::quoted(text),
        serde_json::to_string(text).expect("json")
    );
}

#[test]
fn golden_cases_hold() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for case in golden::cases() {
        let want = golden::expected(&case);
        if update {
            std::fs::write(&case.output_path, &want).expect("write a case");
        } else {
            assert!(
                case.output_path.exists(),
                "{}/{}",
                case.recipient,
                case.name
            );
            assert_eq!(case.output, want, "{}/{}", case.recipient, case.name);
        }
        *counts.entry(case.recipient).or_default() += 1;
    }
    for recipient in RECIPIENTS {
        let count = counts.remove(recipient.name).unwrap_or(0);
        assert!(count >= 8, "{}: {count} cases", recipient.name);
    }
    assert_eq!(counts, BTreeMap::new(), "cases of nobody");
}

/// The makers must reach every recipient and every reason, or they prove little.
#[test]
fn nasty_streams_reach_everything() {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let (mut messages, mut released) = (0, 0);
    for seed in 0..24 {
        let mut model = Model::with_key(golden::KEY, golden::NOW_MS);
        for message in nasty::stream(seed, 200) {
            messages += 1;
            for verdict in model.offer(
                message.source,
                message.key.as_deref(),
                message.value.as_deref(),
            ) {
                let name = verdict.recipient.unwrap_or("whole");
                match verdict.outcome {
                    Outcome::Released { .. } => {
                        released += 1;
                        seen.insert(format!("{name} released"));
                    }
                    Outcome::Withheld(reason) | Outcome::Refused(reason) => {
                        seen.insert(format!("{name} {reason}"));
                    }
                    Outcome::Held => {
                        seen.insert(format!("{name} held"));
                    }
                    Outcome::Applied => {
                        seen.insert(format!("{name} applied"));
                    }
                }
            }
        }
    }
    for recipient in RECIPIENTS {
        for outcome in ["released", "condition", "malformed", "patron_erased"] {
            let wanted = format!("{} {outcome}", recipient.name);
            assert!(seen.contains(&wanted), "{wanted} never happened");
        }
    }
    for wanted in [
        "kb-membership no_consent",
        "statistics loan_history_off",
        "statistics library_conflict",
        "whole too_large",
        "whole not_utf8",
        "whole not_json",
        "whole too_deep",
        "whole too_many_keys",
        "whole null_value",
        "whole not_an_object",
        "whole identifier",
        "whole miskeyed",
        "service-message held",
        "statistics held",
        "kb-membership consent_unreadable",
        "statistics objection_unreadable",
        "statistics objection",
        "statistics consent_unreadable",
        "whole unclear",
        "deurwaarder stages",
        "service-message patron_lapsed",
        "service-message lapsed",
        "whole malformed",
        "whole applied",
    ] {
        assert!(seen.contains(wanted), "{wanted} never happened");
    }
    assert!(released * 6 > messages, "{released} released of {messages}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What is released is JSON with a pseudonym for a key, whatever came in.
    #[test]
    fn outputs_are_well_formed(messages in nasty::streams(40)) {
        let mut model = Model::with_key(golden::KEY, golden::NOW_MS);
        for message in messages {
            for verdict in model.offer(message.source, message.key.as_deref(), message.value.as_deref()) {
                if let Outcome::Released { key, value } = verdict.outcome {
                    prop_assert_eq!(key.len(), 22);
                    let text = String::from_utf8(value).expect("utf-8");
                    prop_assert!(json::read(&text).is_ok());
                    prop_assert!(!text.contains(":null"));
                }
            }
        }
    }
}
