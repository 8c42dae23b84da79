//! F39: a warm referral, mostly of a visitor who is no member: it has no patron then, and
//! its key is its own id.

use crate::driver::{Message, SHIPPED, check, check_records};
use crate::patron::ACTIVE_MEMBER;

const RECIPIENT: &str = "ido-referral";

fn referral(members: &str) -> String {
    let fields = r#""manner":"digital","at":"2026-01-05T10:00:00Z""#;
    format!(r#"{{"referral_id":"v1","library":"NL-AmrBKW",{fields}{members}}}"#)
}

#[track_caller]
fn check_keyed(key: &[u8], members: &str, want: &str) {
    let value = referral(members);
    check(&SHIPPED, &[("referral", Some(key), Some(value.as_bytes()))], &[(RECIPIENT, want)]);
}

#[test]
fn f39_referral_of_a_visitor_is_released_without_a_patron() {
    check_keyed(
        b"v1",
        r#","surname":"Berg","phone":"06-00000000""#,
        r#"{"surname":"Berg","phone":"06-00000000"}"#,
    );
    for none in [r#""patron_id":null"#, r#""patron_id":"""#, r#""patron_id":{}"#] {
        check_keyed(b"v1", &format!(",{none}"), "{}");
    }
}

#[test]
fn f39_referral_is_keyed_by_its_patron_or_its_own_id() {
    check_keyed(b"v2", "", "miskeyed");
    check_keyed(b"v1", r#","patron_id":"p1""#, "miskeyed");
    check_keyed(b"p1", r#","patron_id":"p1""#, "held");
    check_keyed(b"v1", r#","patron_id":1"#, "identifier");
    let value = referral("");
    let message: Message<'_> = ("referral", None, Some(value.as_bytes()));
    check(&SHIPPED, &[message], &[(RECIPIENT, "miskeyed")]);
}

#[test]
fn f39_referral_of_a_member_follows_its_patron() {
    let ours = r#""referral_id":"v1","manner":"digital","at":"2026-01-05T10:00:00Z""#;
    let objection = r#""objection_id":"o","kind":"special_circumstances","status":"lodged""#;
    let records = [("patron", ACTIVE_MEMBER), ("referral", ours), ("objection", objection)];
    check_records(&SHIPPED, RECIPIENT, &records[..2], "{}");
    let later = [records[0], records[2], records[1]];
    check_records(&SHIPPED, RECIPIENT, &later, "objection");
    let elsewhere = format!(r#"{ours},"library":"NL-Own""#);
    let records = [("patron", ACTIVE_MEMBER), ("referral", &*elsewhere)];
    check_records(&SHIPPED, RECIPIENT, &records, "library_conflict");
}

#[test]
fn f39_referral_that_gains_its_patron_is_another_record() {
    let (free, own) = (referral(""), referral(r#","patron_id":"p1""#));
    let patron = br#"{"patron_id":"p1","library":"NL-AmrBKW","kind":"person"}"#.as_slice();
    let messages: [Message<'_>; 3] = [
        ("patron", Some(b"p1"), Some(patron)),
        ("referral", Some(b"v1"), Some(free.as_bytes())),
        ("referral", Some(b"p1"), Some(own.as_bytes())),
    ];
    let outcomes = check(&SHIPPED, &messages, &[(RECIPIENT, "{}")]);
    let first = check(&SHIPPED, &messages[..2], &[(RECIPIENT, "{}")]);
    assert_ne!(outcomes, first, "both have keys of their own");
    // The patron's erasure leaves the visitor's record as it is.
    let erased = ("patron", Some(b"p1".as_slice()), None);
    check(&SHIPPED, &[messages[0], messages[1], messages[2], erased], &[]);
}

#[test]
fn f39_referral_of_a_visitor_with_a_patrons_id_is_not_of_that_patron() {
    // Its own id is that of a patron, who objects and is erased.
    let value = br#"{"referral_id":"p1","library":"NL-AmrBKW","manner":"written","at":"2026-01-05T10:00:00Z"}"#;
    let visitor: Message<'_> = ("referral", Some(b"p1"), Some(value));
    let patron = br#"{"patron_id":"p1","library":"NL-AmrBKW","surname":"Berg"}"#.as_slice();
    let patron: Message<'_> = ("patron", Some(b"p1"), Some(patron));
    let objection = br#"{"patron_id":"p1","objection_id":"o","library":"NL-AmrBKW","kind":"special_circumstances","status":"lodged"}"#;
    let objection: Message<'_> = ("objection", Some(b"p1"), Some(objection));
    let erased: Message<'_> = ("patron", Some(b"p1"), None);
    for before in [&[][..], &[patron], &[patron, objection], &[patron, erased]] {
        let messages = [before, &[visitor]].concat();
        check(&SHIPPED, &messages, &[(RECIPIENT, "{}")]);
        let messages = [&[visitor][..], before].concat();
        check(&SHIPPED, &messages, &[]);
    }
}

#[test]
fn f39_referral_is_taken_back_after_thirty_days() {
    let old = br#"{"referral_id":"v1","library":"NL-AmrBKW","manner":"written","at":"2025-01-05T10:00:00Z"}"#;
    check(&SHIPPED, &[("referral", Some(b"v1"), Some(old))], &[(RECIPIENT, "lapsed")]);
}

#[test]
fn f39_description_is_sent_as_the_detectors_leave_it() {
    let text = r#","surname":"Berg","description":"Mevrouw Berg, 06-00000000, over DigiD""#;
    check_keyed(
        b"v1",
        text,
        r#"{"surname":"Berg","description":"Mevrouw [own_values], [phone], over DigiD"}"#,
    );
}

const WORDS: &str = r#""referral_id":"v1","manner":"digital","at":"2026-01-05T10:00:00Z","description":"Hulp bij DIABETES""#;

/// A consent with all seven elements.
const SIGNED: &str = r#""consent_id":"c1","purpose":"ido-referral","recipient":"ido-referral","decision":"granted","manner":"written","at":"2026-01-04T10:00:00Z","employee":"e1","signature_ref":"s1""#;

#[test]
fn f39_special_words_withhold_the_referral_of_a_visitor() {
    for text in ["hulp bij diabetes", "PATIE\\u0308NT?", "hiv-positief", "Via de kerk."] {
        check_keyed(b"v1", &format!(r#","description":"{text}""#), "special_words");
    }
    for text in ["hulp bij DigiD", "kerkhofpad", "muziek", ""] {
        check_keyed(b"v1", &format!(r#","description":"{text}""#), "released");
    }
    check_keyed(b"v1", r#","surname":"Kerk""#, r#"{"surname":"Kerk"}"#);
    check_keyed(b"v1", r#","description":1"#, "malformed");
}

#[test]
fn f39_special_words_are_released_behind_a_consent_with_seven_elements() {
    let want = r#"{"description":"Hulp bij DIABETES"}"#;
    let (patron, words) = (("patron", ACTIVE_MEMBER), ("referral", WORDS));
    check_records(&SHIPPED, RECIPIENT, &[patron, words], "special_words");
    check_records(&SHIPPED, RECIPIENT, &[patron, ("consent", SIGNED), words], want);
    // What was withheld is decided again.
    check_records(&SHIPPED, RECIPIENT, &[patron, words, ("consent", SIGNED)], "applied");
    for (element, want) in [
        (r#","employee":"e1""#, "special_words"),
        (r#","signature_ref":"s1""#, "special_words"),
        (r#","recipient":"ido-referral""#, "special_words"),
        (r#","at":"2026-01-04T10:00:00Z""#, "special_words"),
        (r#","manner":"written""#, "consent_unreadable"),
        (r#","decision":"granted""#, "consent_unreadable"),
    ] {
        let consent = SIGNED.replace(element, "");
        assert_ne!(consent, SIGNED);
        let records = [patron, ("consent", &*consent), words];
        check_records(&SHIPPED, RECIPIENT, &records, want);
    }
    for (old, new, want) in [
        ("written", "digital", "special_words"),
        ("granted", "withdrawn", "objection"),
        ("2026-01-04", "2026-02-04", "special_words"),
        (r#""purpose":"ido-referral""#, r#""purpose":"pickup""#, "special_words"),
    ] {
        let consent = SIGNED.replace(old, new);
        let records = [patron, ("consent", &*consent), words];
        check_records(&SHIPPED, RECIPIENT, &records, want);
    }
}

#[test]
fn f39_withdrawal_takes_special_words_back() {
    let withdrawn = SIGNED.replace("granted", "withdrawn").replace("2026-01-04", "2026-01-06");
    let withdrawn = withdrawn.replace("\"c1\"", "\"c2\"");
    let records = [
        ("patron", ACTIVE_MEMBER),
        ("consent", SIGNED),
        ("referral", WORDS),
        ("consent", &*withdrawn),
        ("referral", WORDS),
    ];
    check_records(&SHIPPED, RECIPIENT, &records, "objection");
}
