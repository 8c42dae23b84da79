//! G11: no returned loans of who switched the loan history off.

use crate::driver::{EXTENDED, check_field, check_records};
use crate::patron::*;

const OWN_CIRCLE_GRANT: &str =
    r#""purpose":"own-circle","decision":"granted","manner":"digital","at":"2026-01-01T00:00:00Z""#;

#[test]
fn g11_loan_history_off_withholds_returned_loans() {
    for (patron, status, want) in [
        (
            r#""birth_date":"1985-07-30","kind":"person","loan_history":false"#,
            "returned",
            "loan_history_off",
        ),
        (r#""birth_date":"1985-07-30","kind":"person","loan_history":false"#, "open", "released"),
        (
            r#""birth_date":"1985-07-30","kind":"person","loan_history":true"#,
            "returned",
            "released",
        ),
        (r#""birth_date":"1985-07-30","kind":"person""#, "returned", "released"),
        (r#""birth_date":"1985-07-30","kind":"person","loan_history":"no""#, "open", "malformed"),
    ] {
        let loan = format!(r#""status":"{status}","due_on":"2026-01-14""#);
        let records = [("consent", OWN_CIRCLE_GRANT), ("patron", patron), ("loan", &*loan)];
        check_records(&EXTENDED, "own-circle", &records, want);
    }
}

#[test]
fn g11_switching_off_takes_back_returned_loans() {
    let (on, off) = (
        r#""birth_date":"1985-07-30","kind":"person""#,
        r#""birth_date":"1985-07-30","kind":"person","loan_history":false"#,
    );
    let loan = r#""status":"returned","due_on":"2026-01-14""#;
    let granted = ("consent", OWN_CIRCLE_GRANT);
    let records = [granted, ("patron", on), ("loan", loan), ("patron", off), ("loan", loan)];
    check_records(&EXTENDED, "own-circle", &records[..3], "released");
    check_records(&EXTENDED, "own-circle", &records, "loan_history_off");
}

#[test]
fn g11_statistics_keeps_nothing_of_the_patron_while_history_is_off() {
    let off = r#""kind":"person","birth_date":"1985-07-30","loan_history":false"#;
    for (status, want) in [("returned", None), ("open", Some("30-49"))] {
        let loan = format!(r#"{LOAN_OF_CLOSED_MONTH},"status":"{status}""#);
        check_field("statistics", off, ("loan", &loan), ("age_band", want));
        check_field("statistics", off, ("loan", &loan), ("status", Some(status)));
    }
    let institution = r#""kind":"institution","loan_history":false"#;
    let loan = format!(r#"{LOAN_OF_CLOSED_MONTH},"status":"returned""#);
    check_output("statistics", institution, "loan", &loan, "condition");
}

#[test]
fn g11_loans_returned_while_history_was_off_stay_withheld() {
    let granted = OWN_CIRCLE_GRANT;
    let since = |at: &str| {
        format!(
            r#""birth_date":"1985-07-30","kind":"person","loan_history":true,"loan_history_since":{at}"#
        )
    };
    let returned =
        |at: &str| format!(r#""status":"returned","returned_at":{at},"due_on":"2026-01-14""#);
    for (since_at, returned_at, want) in [
        (r#""2026-01-10T12:00:00Z""#, r#""2026-01-10T11:59:59.999Z""#, "loan_history_off"),
        (r#""2026-01-10T12:00:00Z""#, r#""2026-01-10T12:00:00Z""#, "released"),
        (r#""2026-01-10T12:00:00Z""#, r#""2026-01-10T14:00:00+02:00""#, "released"),
        (r#""2026-01-10T12:00:00Z""#, r#""2026-01-10T13:59:00+02:00""#, "loan_history_off"),
        (r#""2026-01-10T12:00:00Z""#, "null", "released"),
        ("null", r#""2026-01-10T12:00:00Z""#, "released"),
        (r#""2026-01-10""#, r#""2026-01-01T12:00:00Z""#, "released"),
        (r#""2026-01-10T12:00:00Z""#, "5", "malformed"),
    ] {
        let (patron, loan) = (since(since_at), returned(returned_at));
        let records = [("consent", granted), ("patron", &*patron), ("loan", &*loan)];
        check_records(&EXTENDED, "own-circle", &records, want);
    }
    let (patron, loan) = (
        since(r#""2026-01-12T12:00:00Z""#),
        r#""status":"open","returned_at":"2026-01-01T12:00:00Z","due_on":"2026-01-14""#,
    );
    let records = [("consent", granted), ("patron", &*patron), ("loan", loan)];
    check_records(&EXTENDED, "own-circle", &records, "released");
}
