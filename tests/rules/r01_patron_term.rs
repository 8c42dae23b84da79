//! R01: patron data until two years after the end of the membership; terms end on time.

use crate::driver::{SHIPPED, check_records};
use crate::patron::*;

#[test]
fn r01_terms_end_exactly_on_time() {
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
        check_records(
            &SHIPPED,
            "reservation-slip",
            &[("patron", ACTIVE_MEMBER), ("reservation", &fields)],
            want,
        );
    }
    for (membership, want) in [
        (r#""status":"ended","ends_on":"2024-01-15""#, "patron_lapsed"),
        (r#""status":"ended","ends_on":"2024-01-16""#, "released"),
        (r#""ends_on":"2023-01-15""#, "patron_lapsed"),
        (r#""status":"active","ends_on":"2020-01-15""#, "released"),
        (r#""status":"ended""#, "released"),
        (r#""status":"ended","ends_on":1"#, "released"),
        (r#""status":1,"ends_on":"2023-01-15""#, "patron_lapsed"),
    ] {
        let patron = format!(r#""membership":{{{membership}}}"#);
        let loan = r#""loan_id":"l","status":"open","due_on":"2026-02-01""#;
        check_records(&SHIPPED, "service-message", &[("patron", &patron), ("loan", loan)], want);
    }
}
