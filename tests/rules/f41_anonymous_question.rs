//! F41: a question has nobody in it. One with any other field, a key or personal data is
//! refused whole, and takes an earlier version back.

use crate::driver::{Message, SHIPPED, check};

const FIELDS: &str =
    r#""place":"Balie","date":"2026-01-05","category":"DigiD","outcome":"geholpen""#;
const OUTPUT: &str =
    r#"{"place":"Balie","date":"2026-01-05","category":"DigiD","outcome":"geholpen"}"#;

fn question(members: &str) -> String {
    format!(r#"{{"question_id":"q1","library":"NL-AmrBKW",{members}}}"#)
}

/// Checks what `ido-output` is told of a question, alone and after a good version of it.
#[track_caller]
fn check_question(key: Option<&[u8]>, members: &str, want: &str) {
    let (good, value) = (question(FIELDS), question(members));
    let good: Message<'_> = ("question", None, Some(good.as_bytes()));
    let message: Message<'_> = ("question", key, Some(value.as_bytes()));
    check(&SHIPPED, &[message], &[("ido-output", want)]);
    check(&SHIPPED, &[good, message], &[("ido-output", want)]);
    check(&SHIPPED, &[good, message, good], &[("ido-output", OUTPUT)]);
}

#[test]
fn f41_question_without_personal_data_is_released() {
    check_question(None, FIELDS, OUTPUT);
    check_question(None, r#""place":"Balie""#, r#"{"place":"Balie"}"#);
    check_question(None, r#""date":"2026-02-30","place":"Balie 2""#, r#"{"place":"Balie 2"}"#);
}

#[test]
fn f41_question_with_any_other_field_is_refused_whole() {
    for other in [
        r#""note":"x""#,
        r#""note":null"#,
        r#""note":"""#,
        r#""note":{}"#,
        r#""patron_id":"p1""#,
        r#""gone":true"#,
    ] {
        check_question(None, &format!("{FIELDS},{other}"), "unlisted_field");
    }
    check_question(None, r#""place":{"name":"Balie"}"#, "malformed");
}

#[test]
fn f41_question_with_a_key_is_refused_whole() {
    check_question(Some(b"p1"), FIELDS, "miskeyed");
    check_question(Some(b"q1"), FIELDS, "miskeyed");
    check_question(Some(b""), FIELDS, "miskeyed");
}

#[test]
fn f41_question_with_personal_data_is_refused_whole() {
    for (field, text) in [
        ("place", "Balie, bel 06-00000000"),
        ("date", "geboren 12-05-1990"),
        ("category", "bsn 111222333"),
        ("outcome", "mail naar jan@example.org"),
        ("outcome", "mail naar jan\\u0040example.org"),
    ] {
        let members = format!(r#"{},"{field}":"{text}""#, without(field));
        check_question(None, &members, "personal_data");
    }
}

/// The fields of a good question but one.
fn without(field: &str) -> String {
    let start = format!("\"{field}\"");
    let kept: Vec<&str> = FIELDS.split(',').filter(|member| !member.starts_with(&start)).collect();
    kept.join(",")
}

#[test]
fn f41_question_that_cannot_be_read_changes_nothing() {
    let good = question(FIELDS);
    let good: Message<'_> = ("question", None, Some(good.as_bytes()));
    let nameless = br#"{"library":"NL-AmrBKW","place":"Balie"}"#.as_slice();
    check(&SHIPPED, &[good, ("question", None, Some(nameless))], &[("ido-output", "identifier")]);
    check(&SHIPPED, &[good, ("question", None, None)], &[("ido-output", "null_value")]);
    let malformed = question(r#""place":1"#);
    let malformed: Message<'_> = ("question", None, Some(malformed.as_bytes()));
    check(&SHIPPED, &[good, malformed], &[("ido-output", "malformed")]);
}

#[test]
fn f41_question_is_taken_back_after_two_years() {
    check_question(None, r#""place":"Balie","date":"2020-01-05""#, "lapsed");
}
