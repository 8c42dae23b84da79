//! G05: where consent is the basis it is explicit: written.

use crate::driver::{EXTENDED, check_records};
use crate::patron::*;

#[test]
fn g05_explicit_consent_is_written() {
    for (decision, want) in [
        (GRANT, "released"),
        (LATER_GRANT, "no_consent"),
        (ORAL_GRANT, "no_consent"),
        (REFUSAL, "no_consent"),
    ] {
        let consent = format!(r#""consent_id":"c","purpose":"own-written",{decision}"#);
        let records = [("consent", &*consent), ("patron", ACTIVE_MEMBER)];
        check_records(&EXTENDED, "own-written", &records, want);
    }
}
