//! F29: a contest, course or activity. Taking part is the consent; most who do are no members.

use crate::driver::{SHIPPED, check, check_records};

const RECIPIENT: &str = "contest";
/// A participation in a contest that is not over, of a form that was sent.
const FORM: &str = r#""contest_id":"zomer","contest_ends_on":"2026-01-20","name":"J. Berg","email":"lid@example.org","at":"2026-01-10T10:00:00Z""#;
const WHOLE: &str = r#"{"name":"J. Berg","email":"lid@example.org","contest_id":"zomer"}"#;

/// Checks the participation of who is no patron.
#[track_caller]
fn check_visitor(members: &str, want: &str) {
    let value = format!(r#"{{"participation_id":"t1","library":"NL-AmrBKW",{members}}}"#);
    let message = ("participation", Some(b"t1".as_slice()), Some(value.as_bytes()));
    check(&SHIPPED, &[message], &[(RECIPIENT, want)]);
}

/// Checks the participation of a patron who was born on a day, with consents.
#[track_caller]
fn check_patron(born_on: &str, members: &str, consents: &[&str], want: &str) {
    let patron = format!(r#""kind":"person","birth_date":"{born_on}""#);
    let form = format!(r#""participation_id":"t1",{members}"#);
    let mut records = vec![("patron", &*patron)];
    records.extend(consents.iter().map(|consent| ("consent", *consent)));
    records.push(("participation", &form));
    check_records(&SHIPPED, RECIPIENT, &records, want);
}

#[test]
fn f29_visitor_takes_part_if_of_age_or_by_a_guardian() {
    check_visitor(&format!(r#"{FORM},"adult":true"#), WHOLE);
    check_visitor(&format!(r#"{FORM},"adult":false,"given_by":"guardian""#), WHOLE);
    for nobody in ["", r#","adult":false"#, r#","given_by":"patron""#, r#","adult":null"#] {
        check_visitor(&format!("{FORM}{nobody}"), "no_consent");
    }
    check_visitor(&format!(r#"{FORM},"adult":"true""#), "malformed");
    // A word that is not of the list counts for nothing.
    check_visitor(&format!(r#"{FORM},"given_by":"ouder""#), "no_consent");
}

#[test]
fn f29_form_without_its_time_is_no_consent() {
    let sent = r#""at":"2026-01-10T10:00:00Z""#;
    let adult = format!(r#"{FORM},"adult":true"#);
    check_visitor(&adult.replace(&format!(",{sent}"), ""), "no_consent");
    check_visitor(&adult.replace(sent, r#""at":"2026-01-16T10:00:00Z""#), "no_consent");
    check_visitor(&adult.replace(sent, r#""at":"gisteren""#), "no_consent");
    let refused =
        r#""consent_id":"c","purpose":"contest","decision":"refused","at":"2026-01-09T00:00:00Z""#;
    check_patron("1985-07-30", &FORM.replace(&format!(",{sent}"), ""), &[], "no_consent");
    check_patron("1985-07-30", FORM, &[refused], WHOLE);
}

#[test]
fn f29_of_a_minor_only_a_guardians_form_counts() {
    for (born_on, own, by_guardian) in [
        ("1985-07-30", WHOLE, "no_consent"),
        // Seventeen: either counts.
        ("2008-07-30", WHOLE, WHOLE),
        ("2012-07-30", "no_consent", WHOLE),
        ("", "no_consent", WHOLE),
    ] {
        check_patron(born_on, FORM, &[], own);
        check_patron(born_on, &format!(r#"{FORM},"given_by":"patron","adult":true"#), &[], own);
        check_patron(born_on, &format!(r#"{FORM},"given_by":"guardian""#), &[], by_guardian);
    }
}

#[test]
fn f29_later_refusal_takes_the_participation_back() {
    let decided = |decision: &str, at: &str| {
        format!(
            r#""consent_id":"c-{at}","purpose":"contest","decision":"{decision}","manner":"digital","at":"{at}T00:00:00Z""#
        )
    };
    let (before, after) = (decided("withdrawn", "2026-01-09"), decided("withdrawn", "2026-01-11"));
    check_patron("1985-07-30", FORM, &[&before], WHOLE);
    check_patron("1985-07-30", FORM, &[&after], "no_consent");
    let again = decided("granted", "2026-01-12");
    check_patron("1985-07-30", FORM, &[&after, &again], WHOLE);
    // A refusal by name is lifted only by a grant by name, and taking part names nobody.
    let by_name = format!(r#"{before},"recipient":"contest""#);
    check_patron("1985-07-30", FORM, &[&by_name], "no_consent");
}

#[test]
fn f29_participation_ends_with_the_last_day_of_the_contest() {
    let ends = |day: &str| format!(r#"{FORM},"adult":true"#).replace("2026-01-20", day);
    check_visitor(&ends("2026-01-15"), WHOLE);
    check_visitor(&ends("2026-01-14"), "lapsed");
}

#[test]
fn f29_phone_is_shown_where_there_is_no_email() {
    let phone = format!(r#"{FORM},"adult":true,"phone":"06-00000000""#);
    check_visitor(&phone, WHOLE);
    let email = r#","email":"lid@example.org""#;
    check_visitor(
        &phone.replace(email, ""),
        r#"{"name":"J. Berg","phone":"06-00000000","contest_id":"zomer"}"#,
    );
    let neither = phone.replace(email, "").replace(r#","phone":"06-00000000""#, "");
    check_visitor(&neither, r#"{"name":"J. Berg","contest_id":"zomer"}"#);
}

#[test]
fn f29_participation_of_an_institution_is_withheld() {
    let records = [
        ("patron", r#""kind":"institution","birth_date":"1985-07-30""#),
        ("participation", &*format!(r#""participation_id":"t1",{FORM}"#)),
    ];
    check_records(&SHIPPED, RECIPIENT, &records, "condition");
}
