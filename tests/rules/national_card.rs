//! S01: a card number that is a national number is left out wherever it stands, also where the
//! patron's own field for that number is empty.

use crate::driver::{SHIPPED, check_records};

/// What kb-recognition is told of an active member of a library.
#[track_caller]
fn check_member(library: &str, card: &str, member_ref: &str, want: &str) {
    let patron = format!(
        r#""library":"{library}","kind":"person",{card},"membership":{{"id":"{member_ref}","status":"active"}}"#
    );
    check_records(&SHIPPED, "kb-recognition", &[("patron", &patron)], want);
}

#[test]
fn s01_number_of_a_national_card_is_left_out_of_every_field() {
    let belgian = r#""card_number":"85073003328""#;
    check_member("BE-GntB", belgian, "85073003328", r#"{"library":"BE-GntB"}"#);
    check_member("BE-GntB", belgian, "M-85.07.30-033.28", r#"{"library":"BE-GntB"}"#);
    check_member("BE-GntB", belgian, "M1", r#"{"member_ref":"M1","library":"BE-GntB"}"#);
    let padded = r#""card_number":"00085073003328""#;
    check_member("BE-GntB", padded, "85073003328", r#"{"library":"BE-GntB"}"#);
    let eid = r#""card_kind":"eid","card_number":"592123456789""#;
    check_member("NL-AmrBKW", eid, "592-1234567-89", r#"{"library":"NL-AmrBKW"}"#);
    // Elsewhere eleven digits are a card number like any other.
    let dutch = r#"{"member_ref":"85073003328","card_number":"85073003328","library":"NL-AmrBKW"}"#;
    check_member("NL-AmrBKW", belgian, "85073003328", dutch);
}

#[test]
fn s01_number_of_a_national_card_is_left_out_of_records_of_its_patron() {
    let patron = r#""library":"BE-GntB","card_number":"85073003328""#;
    let loan = r#""library":"BE-GntB","status":"open","due_on":"2026-02-01","branch":"85073003328","item":{"title":"Boek"}"#;
    let want = r#"{"title":"Boek","due_on":"2026-02-01"}"#;
    check_records(&SHIPPED, "service-message", &[("patron", patron), ("loan", loan)], want);
}
