//! The independent model's gates, held against the rules' own sentences.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as expected"
)]
#![allow(unreachable_pub, reason = "modules of one test binary")]

mod reference;

use reference::form::{self, Moment, Term};
use reference::gate::Paper;
use reference::{Model, Outcome, golden};

const HEAD: &str = r#""patron_id":"p1","library":"NL-AmrBKW""#;
const MEMBER: &str = r#""kind":"person","membership":{"id":"M","status":"active"}"#;
const MEMBER_BY_ACCOUNT: &str = r#""kind":"person","membership":{"id":"M","status":"active"},"online_account":{"created_at":"2025-06-01T00:00:00Z"}"#;

fn offer(model: &mut Model, source: &str, fields: &str) -> Vec<reference::Verdict> {
    let comma = if fields.is_empty() { "" } else { "," };
    let value = format!("{{{HEAD}{comma}{fields}}}");
    model.offer(source, Some(b"p1"), Some(value.as_bytes()))
}

/// What one recipient is told of the last record, after all of `said`.
#[track_caller]
fn check(recipient: &str, said: &[(&str, &str)], want: &str) {
    let mut model = Model::with_key(golden::KEY, golden::NOW_MS);
    let mut last = Vec::new();
    for (source, fields) in said {
        last = offer(&mut model, source, fields);
    }
    let verdict = last
        .iter()
        .find(|verdict| verdict.recipient.is_none_or(|name| name == recipient));
    let got = match &verdict.expect("a verdict").outcome {
        Outcome::Released { .. } => "released",
        Outcome::Held => "held",
        Outcome::Applied => "applied",
        Outcome::Withheld(reason) | Outcome::Refused(reason) => reason,
    };
    assert_eq!(got, want, "{recipient} after {said:#?}");
}

fn consent(id: &str, rest: &str) -> (&'static str, String) {
    let fields = format!(r#""consent_id":"{id}","purpose":"online-library",{rest}"#);
    ("consent", fields)
}

/// What kb-membership is told of a patron who said this, one by one.
#[track_caller]
fn check_consent(patron: &str, said: &[(&str, &str)], want: &str) {
    let said: Vec<(&str, String)> = said.iter().map(|(id, rest)| consent(id, rest)).collect();
    let mut lines: Vec<(&str, &str)> = said.iter().map(|(a, b)| (*a, b.as_str())).collect();
    lines.push(("patron", patron));
    check("kb-membership", &lines, want);
    check("kb-recognition", &lines, "released");
}

const GRANT: &str = r#""decision":"granted","manner":"written","at":"2025-07-01T00:00:00Z""#;
const REFUSAL: &str = r#""decision":"refused","manner":"oral","at":"2025-07-01T00:00:00Z""#;
const LATER_GRANT: &str = r#""decision":"granted","manner":"digital","at":"2025-08-01T00:00:00Z""#;
const LATER_REFUSAL: &str = r#""decision":"withdrawn","at":"2025-08-01T00:00:00Z""#;
const TIMELESS_REFUSAL: &str = r#""decision":"refused","at":"2025-08-01""#;
const FUTURE_GRANT: &str = r#""decision":"granted","manner":"written","at":"2026-01-15T12:00:01Z""#;
const FUTURE_REFUSAL: &str = r#""decision":"refused","at":"2030-01-01T00:00:00Z""#;
const ORAL_GRANT: &str = r#""decision":"granted","manner":"oral","at":"2025-08-01T00:00:00Z""#;
const GRANT_BY_NAME: &str = r#""recipient":"kb-membership","decision":"granted","manner":"written","at":"2025-09-01T00:00:00Z""#;
const REFUSAL_BY_NAME: &str =
    r#""recipient":"kb-membership","decision":"refused","at":"2025-06-01T00:00:00Z""#;
const REFUSAL_OF_ANOTHER: &str =
    r#""recipient":"kb-recognition","decision":"refused","at":"2025-12-01T00:00:00Z""#;

#[test]
fn consent_is_by_the_latest_that_speaks_for_the_recipient() {
    for (said, want) in [
        (&[][..], "no_consent"),
        (&[("a", GRANT)], "released"),
        (&[("a", REFUSAL)], "no_consent"),
        (&[("a", GRANT), ("b", LATER_REFUSAL)], "no_consent"),
        (&[("a", LATER_REFUSAL), ("b", GRANT)], "no_consent"),
        (&[("a", REFUSAL), ("b", LATER_GRANT)], "released"),
        // Two at one moment: the refusal wins, in any order.
        (&[("a", GRANT), ("b", REFUSAL)], "no_consent"),
        (&[("a", REFUSAL), ("b", GRANT)], "no_consent"),
        // What arrives with the same id replaces, whatever its moment.
        (&[("a", LATER_REFUSAL), ("a", GRANT)], "released"),
        (&[("a", GRANT), ("a", ORAL_GRANT)], "no_consent"),
        (&[("a", GRANT), ("b", ORAL_GRANT)], "released"),
        (&[("a", REFUSAL), ("b", ORAL_GRANT)], "no_consent"),
        (&[("a", GRANT), ("a", FUTURE_GRANT)], "no_consent"),
        (&[("a", GRANT), ("b", FUTURE_GRANT)], "released"),
        (&[("a", FUTURE_GRANT)], "no_consent"),
        (&[("a", GRANT), ("b", FUTURE_REFUSAL)], "no_consent"),
        (&[("a", TIMELESS_REFUSAL), ("b", LATER_GRANT)], "no_consent"),
        // By name: lifted only by name.
        (&[("a", REFUSAL_BY_NAME), ("b", LATER_GRANT)], "no_consent"),
        (&[("a", REFUSAL_BY_NAME), ("b", GRANT_BY_NAME)], "released"),
        (&[("a", GRANT_BY_NAME)], "released"),
        (&[("a", GRANT_BY_NAME), ("b", LATER_REFUSAL)], "released"),
        (&[("a", GRANT_BY_NAME), ("b", FUTURE_REFUSAL)], "no_consent"),
        (&[("a", GRANT), ("b", REFUSAL_OF_ANOTHER)], "released"),
    ] {
        check_consent(MEMBER, said, want);
    }
    let other = r#""consent_id":"a","purpose":"other","decision":"granted","manner":"written","at":"2025-07-01T00:00:00Z""#;
    check(
        "kb-membership",
        &[("consent", other), ("patron", MEMBER)],
        "no_consent",
    );
}

#[test]
fn an_event_is_a_grant_that_names_nobody() {
    for (said, want) in [
        (&[][..], "released"),
        (&[("a", REFUSAL)], "no_consent"),
        (&[("a", REFUSAL), ("b", LATER_GRANT)], "released"),
        (
            &[("a", r#""decision":"refused","at":"2025-05-31T23:59:59Z""#)],
            "released",
        ),
        (
            &[("a", r#""decision":"refused","at":"2025-06-01T00:00:00Z""#)],
            "no_consent",
        ),
        (&[("a", REFUSAL_BY_NAME)], "no_consent"),
        (
            &[(
                "a",
                r#""recipient":"kb-membership","decision":"refused","at":"2020-01-01T00:00:00Z""#,
            )],
            "no_consent",
        ),
    ] {
        check_consent(MEMBER_BY_ACCOUNT, said, want);
    }
}

const UNREADABLE: &str = r#""decision":"granted","at":1"#;

const LOAN: &str = r#""loan_id":"l","status":"open","loaned_at":"2025-11-01T10:00:00Z""#;

/// What statistics, a public task, is told of a loan of a patron who said this.
#[track_caller]
fn check_statistics(said: &[(&str, &str)], want: &str) {
    let mut lines = said.to_vec();
    lines.extend([("patron", MEMBER), ("loan", LOAN)]);
    check("statistics", &lines, want);
}

#[test]
fn what_is_not_understood_stops_until_a_version_of_it_is() {
    let maybe = r#""decision":"maybe""#;
    let elsewhere = r#""recipient":"kb-recognition","decision":"maybe""#;
    for (said, want) in [
        (&[("a", UNREADABLE)][..], "consent_unreadable"),
        (&[("a", GRANT), ("b", UNREADABLE)], "consent_unreadable"),
        // Another record lifts nothing; a version of the same does.
        (&[("a", UNREADABLE), ("b", GRANT)], "consent_unreadable"),
        (&[("a", UNREADABLE), ("a", GRANT)], "released"),
        (
            &[("a", GRANT), ("a", UNREADABLE), ("a", REFUSAL)],
            "no_consent",
        ),
        // It replaces nothing.
        (
            &[("b", GRANT), ("a", UNREADABLE), ("a", ORAL_GRANT)],
            "released",
        ),
        // Where its library is missing its id is not.
        (&[("a", r#""library":"NL-A""#), ("a", GRANT)], "released"),
        (&[("a", r#""library":"NL-A""#)], "consent_unreadable"),
        (&[("a", GRANT), ("b", maybe)], "consent_unreadable"),
        (&[("a", GRANT), ("b", elsewhere)], "released"),
        (
            &[("a", r#""decision":"WITHDRAWN","manner":"written""#)],
            "consent_unreadable",
        ),
        (&[("a", r#""decision":"granted""#)], "consent_unreadable"),
        (
            &[("a", r#""decision":"granted","manner":"by post""#)],
            "consent_unreadable",
        ),
        (
            &[("a", GRANT), ("b", r#""decision":"refused","manner":"?""#)],
            "consent_unreadable",
        ),
        (
            &[("a", GRANT), ("b", r#""manner":"written""#)],
            "consent_unreadable",
        ),
        (
            &[
                ("a", GRANT),
                ("b", r#""recipient":"KB-membership","decision":"refused""#),
            ],
            "consent_unreadable",
        ),
        (
            &[
                ("a", GRANT),
                ("b", r#""recipient":"somebody","decision":"refused""#),
            ],
            "released",
        ),
    ] {
        check_consent(MEMBER, said, want);
    }
    let grant = format!(r#""consent_id":"a","purpose":"online-library",{GRANT}"#);
    for (purpose, want) in [
        (r#""purpose":"Online-Library","#, "consent_unreadable"),
        (r#""purpose":"online-libary","#, "consent_unreadable"),
        ("", "consent_unreadable"),
        (r#""purpose":"knitting","#, "released"),
        (r#""purpose":"statistics","#, "released"),
    ] {
        let refusal = format!(r#""consent_id":"b",{purpose}"decision":"refused""#);
        let said = [
            ("consent", &*grant),
            ("consent", &*refusal),
            ("patron", MEMBER),
        ];
        check("kb-membership", &said, want);
    }
}

#[test]
fn an_unclear_objection_stops_all_that_objections_can() {
    let head = r#""objection_id":"o""#;
    let clear = format!(r#"{head},"kind":"special_circumstances","status":"dismissed""#);
    for rest in [
        r#""kind":1"#,
        r#""kind":"special_circumstance","status":"lodged""#,
        r#""kind":"special_circumstances","status":"maybe""#,
        r#""kind":"special_circumstances""#,
        r#""kind":"special_circumstances","status":"dismissed","purpose":"Statistics""#,
        r#""status":"lodged""#,
    ] {
        let said = format!("{head},{rest}");
        check_statistics(&[("objection", &said)], "objection_unreadable");
        check_statistics(&[("objection", &said), ("objection", &clear)], "released");
        let other = clear.replace(r#""o""#, r#""p""#);
        let both = [("objection", &*said), ("objection", &*other)];
        check_statistics(&both, "objection_unreadable");
        check(
            "kb-recognition",
            &[("objection", &said), ("patron", MEMBER)],
            "released",
        );
    }
}

#[test]
fn circumstances_stop_a_public_task_until_they_are_dismissed() {
    let objection = |id: &str, rest: &str| {
        let kind = r#""kind":"special_circumstances""#;
        format!(r#""objection_id":"{id}",{kind},{rest}"#)
    };
    let lodged = ("o", r#""status":"lodged""#);
    for (said, want) in [
        (&[lodged][..], "objection"),
        (
            &[("o", r#""status":"upheld","purpose":"statistics""#)],
            "objection",
        ),
        (
            &[("o", r#""status":"lodged","purpose":"pickup""#)],
            "released",
        ),
        (
            &[("o", r#""status":"lodged","purpose":"other""#)],
            "released",
        ),
        (&[("o", r#""status":"lodged","purpose":"""#)], "objection"),
        (&[("o", r#""status":"dismissed""#)], "released"),
        (&[lodged, ("o", r#""status":"dismissed""#)], "released"),
        (&[lodged, ("p", r#""status":"dismissed""#)], "objection"),
    ] {
        let said: Vec<String> = said.iter().map(|(id, rest)| objection(id, rest)).collect();
        let lines: Vec<_> = said
            .iter()
            .map(|line| ("objection", line.as_str()))
            .collect();
        check_statistics(&lines, want);
        // Nobody can object a legal duty or a contract away.
        let lines: Vec<_> = lines.into_iter().chain([("patron", MEMBER)]).collect();
        check("kb-recognition", &lines, "released");
    }
    let marketing = r#""objection_id":"o","kind":"direct_marketing","status":"lodged""#;
    check_statistics(&[("objection", marketing)], "released");
}

#[test]
fn a_refusal_of_what_nobody_asks_for_is_an_objection() {
    let refusal = |rest: &str| format!(r#""consent_id":"c","decision":"refused",{rest}"#);
    for (rest, want) in [
        (r#""purpose":"statistics""#, "objection"),
        (
            r#""purpose":"statistics","recipient":"statistics""#,
            "objection",
        ),
        (
            r#""purpose":"statistics","recipient":"kb-membership""#,
            "released",
        ),
        (
            r#""purpose":"statistics","at":"2030-01-01T00:00:00Z""#,
            "objection",
        ),
        (r#""purpose":"pickup""#, "released"),
        (r#""purpose":"online-library""#, "released"),
        (
            r#""purpose":"statistics","manner":"?""#,
            "consent_unreadable",
        ),
    ] {
        let line = refusal(rest);
        check_statistics(&[("consent", &line)], want);
    }
}

#[test]
fn a_grant_counts_for_a_patron_of_its_library() {
    let mut model = Model::with_key(golden::KEY, golden::NOW_MS);
    let mut of = |library: &str, decided: &str| {
        let consent = format!(
            r#"{{"patron_id":"p1","library":"{library}","consent_id":"c","purpose":"online-library","manner":"written","at":"2025-07-01T00:00:00Z",{decided}}}"#
        );
        model.offer("consent", Some(b"p1"), Some(consent.as_bytes()));
        let verdicts = offer(&mut model, "patron", MEMBER);
        let found = verdicts
            .into_iter()
            .find(|verdict| verdict.recipient == Some("kb-membership"));
        match found.expect("a verdict").outcome {
            Outcome::Withheld(reason) => reason,
            _ => "released",
        }
    };
    assert_eq!(of("NL-AmrBKW", r#""decision":"granted""#), "released");
    assert_eq!(of("NL-Other", r#""decision":"granted""#), "no_consent");
    assert_eq!(of("NL-AmrBKW", r#""decision":"granted""#), "released");
    assert_eq!(of("NL-Other", r#""decision":"refused""#), "no_consent");
}

#[test]
fn a_null_ends_grants_and_no_objection() {
    let mut model = Model::with_key(golden::KEY, golden::NOW_MS);
    let grant = format!(r#""consent_id":"a","purpose":"online-library",{GRANT}"#);
    let lodged = r#""objection_id":"o","kind":"special_circumstances","status":"lodged""#;
    offer(&mut model, "consent", &grant);
    offer(&mut model, "objection", lodged);
    for source in ["consent", "objection"] {
        let verdicts = model.offer(source, Some(b"p1"), None);
        assert_eq!(verdicts[0].outcome, Outcome::Refused("null_value"));
    }
    let mut told = |source: &str, fields: &str, recipient: &str| {
        let verdicts = offer(&mut model, source, fields);
        let found = verdicts
            .into_iter()
            .find(|verdict| verdict.recipient == Some(recipient));
        found.expect("a verdict").outcome
    };
    let patron = told("patron", MEMBER, "kb-membership");
    assert_eq!(patron, Outcome::Withheld("no_consent"));
    assert_eq!(
        told("loan", LOAN, "statistics"),
        Outcome::Withheld("objection")
    );
    let again = offer(&mut model, "consent", &grant);
    assert_eq!(again[0].outcome, Outcome::Applied);
    let verdicts = offer(&mut model, "patron", MEMBER);
    let mut released = verdicts
        .iter()
        .filter(|verdict| verdict.recipient == Some("kb-membership"));
    let released = released.next().expect("a verdict");
    assert!(matches!(released.outcome, Outcome::Released { .. }));
}

#[test]
fn a_record_that_names_its_patron_wrongly_stops_whom_it_names() {
    let grant = format!(r#"{{{HEAD},"consent_id":"a","purpose":"online-library",{GRANT}}}"#);
    let refusal =
        format!(r#"{{{HEAD},"consent_id":"b","purpose":"online-library","decision":"refused"}}"#);
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
        let mut model = Model::with_key(golden::KEY, golden::NOW_MS);
        model.offer("consent", Some(b"p1"), Some(grant.as_bytes()));
        model.offer("consent", key.map(str::as_bytes), Some(&value));
        let verdicts = offer(&mut model, "patron", MEMBER);
        let mut of = verdicts
            .iter()
            .filter(|verdict| verdict.recipient == Some("kb-membership"));
        let outcome = &of.next().expect("a verdict").outcome;
        assert_eq!(*outcome, Outcome::Withheld("consent_unreadable"), "{key:?}");
    }
}

#[test]
fn debts_are_reminded_then_invoiced_then_referred() {
    let head = r#""debt_id":"d","stage":"collection","status":"open""#;
    for (moments, want) in [
        (
            ("2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z", ""),
            "released",
        ),
        (
            (
                "2025-01-01T00:00:00Z",
                "2025-02-01T00:00:00Z",
                "2025-03-01T00:00:00Z",
            ),
            "released",
        ),
        (
            (
                "2025-02-01T00:00:00Z",
                "2025-02-01T01:00:00+01:00",
                "2025-02-01T00:00:00Z",
            ),
            "released",
        ),
        (
            ("2025-02-01T00:00:01Z", "2025-02-01T01:00:00+01:00", ""),
            "stages",
        ),
        (
            (
                "2025-01-01T00:00:00Z",
                "2025-02-01T00:00:00Z",
                "2025-01-15T00:00:00Z",
            ),
            "stages",
        ),
        (
            (
                "2025-01-01T00:00:00Z",
                "2025-02-01T00:00:00Z",
                "2024-12-01T00:00:00Z",
            ),
            "stages",
        ),
        (
            ("2025-01-01T00:00:00Z", "", "2024-12-01T00:00:00Z"),
            "condition",
        ),
        (
            (
                "2020-01-01T00:00:00Z",
                "2020-01-02T00:00:00Z",
                "2021-01-15T12:00:00Z",
            ),
            "lapsed",
        ),
        (
            (
                "2020-01-01T00:00:00Z",
                "2020-01-02T00:00:00Z",
                "2021-01-15T12:00:01Z",
            ),
            "released",
        ),
    ] {
        let (reminded, invoiced, referred) = moments;
        let debt = format!(
            r#"{head},"reminded_at":"{reminded}","invoiced_at":"{invoiced}","referred_at":"{referred}""#
        );
        check("deurwaarder", &[("patron", MEMBER), ("debt", &debt)], want);
    }
}

#[test]
fn terms_end_on_the_moment() {
    for (expires_on, want) in [
        ("2026-01-01", "lapsed"),
        ("2026-01-02", "released"),
        ("2025-12-31", "lapsed"),
        ("", "released"),
        ("2026-02-30", "released"),
    ] {
        let fields = format!(
            r#""reservation_id":"r","status":"ready_for_pickup","expires_on":"{expires_on}""#
        );
        check(
            "reservation-slip",
            &[("patron", MEMBER), ("reservation", &fields)],
            want,
        );
    }
    for (membership, want) in [
        (
            r#""status":"ended","ends_on":"2024-01-15""#,
            "patron_lapsed",
        ),
        (r#""status":"ended","ends_on":"2024-01-16""#, "released"),
        (r#""ends_on":"2023-01-15""#, "patron_lapsed"),
        (r#""status":"active","ends_on":"2020-01-15""#, "released"),
        (r#""status":"ended""#, "released"),
        (r#""status":"ended","ends_on":1"#, "released"),
        (r#""status":1,"ends_on":"2023-01-15""#, "patron_lapsed"),
    ] {
        let patron = format!(r#""membership":{{{membership}}}"#);
        let loan = r#""loan_id":"l","status":"open","due_on":"2026-02-01""#;
        check(
            "service-message",
            &[("patron", &patron), ("loan", loan)],
            want,
        );
    }
}

#[test]
fn a_record_without_its_patron_is_held() {
    let slip = r#""reservation_id":"r","status":"ready_for_pickup","item":1"#;
    check("reservation-slip", &[("reservation", slip)], "held");
    let slip = r#""reservation_id":"r","status":"placed""#;
    check("reservation-slip", &[("reservation", slip)], "condition");
    let slip = r#""reservation_id":"r","status":1"#;
    check("reservation-slip", &[("reservation", slip)], "malformed");
    check(
        "statistics",
        &[("loan", r#""loan_id":"l","renewals":"x""#)],
        "held",
    );
}

#[test]
fn the_calendar_is_as_it_hangs_on_the_wall() {
    for (from, term, want) in [
        ("2024-02-29", Term::years(1), "2025-02-28"),
        ("2024-02-29", Term::years(4), "2028-02-29"),
        ("2025-12-31", Term::days(1), "2026-01-01"),
        ("2024-02-15", Term::days(14), "2024-02-29"),
        ("1969-12-31", Term::days(1), "1970-01-01"),
        ("1899-12-31", Term::days(60), "1900-03-01"),
        ("0001-01-01", Term::days(0), "0001-01-01"),
        ("9998-12-31", Term::years(1), "9999-12-31"),
        (
            "2024-01-31",
            Term {
                years: 0,
                months: 13,
                days: 1,
            },
            "2025-03-01",
        ),
    ] {
        let day = |text| Moment::midnight(form::date(text).expect("a date"));
        assert_eq!(day(from).after(term), day(want), "{from} and {term:?}");
    }
    let paper = Paper {
        from: "2025-01-01",
        until: "2025-12-31",
        retract: false,
    };
    for (at, want) in [
        ("2024-12-31T23:59:59.999Z", false),
        ("2025-01-01T00:00:00Z", true),
        ("2025-12-31T23:59:59.999Z", true),
        ("2026-01-01T00:00:00Z", false),
        ("2026-01-01T00:00:00+01:00", true),
    ] {
        let (_, moment) = form::instant(at).expect("an instant");
        assert_eq!(paper.in_force(&moment), want, "{at}");
    }
}
