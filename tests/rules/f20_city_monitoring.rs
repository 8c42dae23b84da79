//! F20: another service of the city counts loans of closed months, of own borrowers, without any
//! reference.

use crate::driver::{SHIPPED, check_records};

#[test]
fn f20_row_of_a_closed_month_has_no_reference() {
    let patron = r#""kind":"person","birth_date":"2000-01-01""#;
    let row =
        r#"{"library":"NL-AmrBKW","loaned_month":"2025-12","status":"open","age_band":"18-29"}"#;
    for (loaned_at, want) in
        [("2025-12-31T23:59:59Z", row), ("2026-01-01T00:00:00Z", "period_open"), ("", "condition")]
    {
        let loan = format!(r#""loan_id":"l","status":"open","loaned_at":"{loaned_at}""#);
        check_records(&SHIPPED, "city-monitoring", &[("patron", patron), ("loan", &loan)], want);
    }
}
