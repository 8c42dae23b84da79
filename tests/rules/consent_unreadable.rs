//! Consents and objections that are not understood in full.

use crate::driver::{Message, SHIPPED, check, p1_record};
use crate::patron::*;

#[test]
fn consent_unreadable_stops_until_its_own_new_version() {
    let maybe = r#""decision":"maybe""#;
    let elsewhere = r#""recipient":"kb-recognition","decision":"maybe""#;
    for (statements, want) in [
        (&[("a", UNREADABLE_CONSENT)][..], "consent_unreadable"),
        (&[("a", GRANT), ("b", UNREADABLE_CONSENT)], "consent_unreadable"),
        // Another record lifts nothing; a version of the same does.
        (&[("a", UNREADABLE_CONSENT), ("b", GRANT)], "consent_unreadable"),
        (&[("a", UNREADABLE_CONSENT), ("a", GRANT)], "released"),
        (&[("a", GRANT), ("a", UNREADABLE_CONSENT), ("a", REFUSAL)], "no_consent"),
        // It replaces nothing.
        (&[("b", GRANT), ("a", UNREADABLE_CONSENT), ("a", ORAL_GRANT)], "released"),
        // Where its library is missing its id is not.
        (&[("a", r#""library":"NL-A""#), ("a", GRANT)], "released"),
        (&[("a", r#""library":"NL-A""#)], "consent_unreadable"),
        (&[("a", GRANT), ("b", maybe)], "consent_unreadable"),
        (&[("a", GRANT), ("b", elsewhere)], "released"),
        (&[("a", r#""decision":"WITHDRAWN","manner":"written""#)], "consent_unreadable"),
        (&[("a", r#""decision":"granted""#)], "consent_unreadable"),
        (&[("a", r#""decision":"granted","manner":"by post""#)], "consent_unreadable"),
        (&[("a", GRANT), ("b", r#""decision":"refused","manner":"?""#)], "consent_unreadable"),
        (&[("a", GRANT), ("b", r#""manner":"written""#)], "consent_unreadable"),
        (
            &[("a", GRANT), ("b", r#""recipient":"KB-membership","decision":"refused""#)],
            "consent_unreadable",
        ),
        (&[("a", GRANT), ("b", r#""recipient":"somebody","decision":"refused""#)], "released"),
    ] {
        check_kb_membership(ACTIVE_MEMBER, statements, want);
    }
}

#[test]
fn consent_null_ends_grants_but_no_objection() {
    let grant =
        p1_record("consent", &format!(r#""consent_id":"a","purpose":"online-library",{GRANT}"#));
    let lodged = r#""objection_id":"o","kind":"special_circumstances","status":"lodged""#;
    let lodged = p1_record("objection", lodged);
    let (patron, loan) = (p1_record("patron", ACTIVE_MEMBER), p1_record("loan", OPEN_LOAN));
    let of = |kind, value: &str| (kind, Some(value.to_owned()));
    let said = [of("consent", &grant), of("objection", &lodged)];
    let nulls = [("consent", None), ("objection", None)];
    for (then, recipient, want) in [
        (&[("objection", None)][..], "statistics", "null_value"),
        (&[of("patron", &patron)], "kb-membership", "no_consent"),
        (&[of("patron", &patron), of("loan", &loan)], "statistics", "objection"),
        (&[of("consent", &grant), of("patron", &patron)], "kb-membership", "released"),
    ] {
        let all = said.iter().chain(&nulls).chain(then);
        let messages: Vec<Message<'_>> = all
            .map(|(kind, value)| (*kind, Some(&b"p1"[..]), value.as_deref().map(str::as_bytes)))
            .collect();
        check(&SHIPPED, &messages, &[(recipient, want)]);
    }
}

#[test]
fn consent_with_wrong_patron_stops_every_patron_it_names() {
    let grant = format!(
        r#"{{"patron_id":"p1","library":"NL-AmrBKW","consent_id":"a","purpose":"online-library",{GRANT}}}"#
    );
    let refusal = r#"{"patron_id":"p1","library":"NL-AmrBKW","consent_id":"b","purpose":"online-library","decision":"refused"}"#.to_owned();
    let wide: Vec<u8> = refusal.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bytes = |text: &str| text.as_bytes().to_vec();
    for (key, value) in [
        (Some("\"p1\""), bytes(&refusal)),
        (Some("P1"), bytes(&refusal)),
        (Some("b"), bytes(&refusal)),
        (None, bytes(&refusal)),
        (Some("p1"), bytes(&refusal.replace("p1", "P1"))),
        (Some("p1"), wide),
        (Some("p1"), bytes(&format!("{refusal}{refusal}"))),
        (Some("x"), bytes(&format!("{refusal}{refusal}"))),
        (Some("p1"), bytes("\u{feff}{}")),
        (Some("p1"), bytes("[]")),
    ] {
        let patron = p1_record("patron", ACTIVE_MEMBER);
        let messages: [Message<'_>; 3] = [
            ("consent", Some(b"p1"), Some(grant.as_bytes())),
            ("consent", key.map(str::as_bytes), Some(&value)),
            ("patron", Some(b"p1"), Some(patron.as_bytes())),
        ];
        check(&SHIPPED, &messages, &[("kb-membership", "consent_unreadable")]);
    }
}
