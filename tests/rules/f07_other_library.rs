//! F07: a recipient of one library never sees another's records; a record of another
//! library than its patron's is withheld, but for interlibrary loan.

use crate::driver::{EXTENDED, SHIPPED, check_records};
use crate::patron::*;

#[test]
fn f07_recipient_of_some_libraries_sees_no_others() {
    let grant = format!(r#""consent_id":"c","purpose":"own-circle",{GRANT}"#);
    for (library, want) in [("NL-AmrBKW", "released"), ("NL-Own", "released"), ("NL-X", "library")]
    {
        let at = |members: &str| format!(r#""library":"{library}",{members}"#);
        let (consent, patron) = (at(&grant), at(ACTIVE_MEMBER));
        let loan = at(r#""status":"open","due_on":"2026-02-01""#);
        let records = [("consent", &*consent), ("patron", &*patron), ("loan", &*loan)];
        check_records(&EXTENDED, "own-circle", &records, want);
    }
}

#[test]
fn f07_record_of_another_library_is_withheld_but_for_ill() {
    let loan = r#""library":"NL-X","status":"open""#;
    let records = [("patron", ACTIVE_MEMBER), ("loan", loan)];
    check_records(&SHIPPED, "service-message", &records, "library_conflict");
    let request = r#""library":"NL-X","status":"sent""#;
    let records = [("patron", ACTIVE_MEMBER), ("ill_request", request)];
    check_records(&SHIPPED, "ill-library", &records, "released");
}
