//! G02: the data of a consent is not passed on.

use crate::driver::{SHIPPED, check_records};
use crate::patron::*;

#[test]
fn g02_output_after_consent_has_nothing_of_it() {
    let grant = format!(r#""consent_id":"a","purpose":"online-library",{GRANT},"employee":"E1""#);
    let records = [("consent", &*grant), ("patron", ACTIVE_MEMBER)];
    let want = r#"{"member_ref":"M","library":"NL-AmrBKW","birth_date":"1985-07-30"}"#;
    check_records(&SHIPPED, "kb-membership", &records, want);
}
