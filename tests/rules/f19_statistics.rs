//! F19: statistics, of months that are over.

use crate::driver::check_field;
use crate::patron::*;

#[test]
fn f19_statistics_has_only_loans_of_closed_months() {
    // It is decided on 2026-01-15.
    for (loaned_at, want) in [
        ("2025-12-31T23:59:59.999Z", None),
        ("2026-01-01T00:00:00Z", Some("period_open")),
        ("2026-01-14T00:00:00Z", Some("period_open")),
        ("2026-02-01T00:00:00Z", Some("period_open")),
        // A month is one of UTC.
        ("2026-01-01T00:30:00+01:00", None),
        ("2025-12-31T23:30:00-01:00", Some("period_open")),
        ("yesterday", Some("condition")),
        ("", Some("condition")),
    ] {
        let record = format!(r#""loaned_at":"{loaned_at}""#);
        let want = want.unwrap_or("released");
        check_output("statistics", r#""kind":"person""#, "loan", &record, want);
    }
}

#[test]
fn f19_age_bands_change_on_birthdays() {
    for (birth, at, want) in [
        ("2013-11-16", "2025-11-15", Some("0-11")),
        ("2013-11-15", "2025-11-15", Some("12-17")),
        ("2007-02-28", "2025-02-27", Some("12-17")),
        ("2006-02-29", "2025-11-15", None),
        ("2008-02-29", "2025-02-28", Some("12-17")),
        ("1995-11-15", "2025-11-15", Some("30-49")),
        ("1975-11-15", "2025-11-15", Some("50-64")),
        ("1960-11-15", "2025-11-15", Some("65+")),
        ("2025-11-15", "2025-11-15", Some("0-11")),
        ("2025-11-16", "2025-11-15", None),
    ] {
        let loan = format!(r#""loaned_at":"{at}T10:00:00Z""#);
        let patron = format!(r#""kind":"person","birth_date":"{birth}""#);
        check_field("statistics", &patron, ("loan", &loan), ("age_band", want));
    }
}

#[test]
fn f19_postcode_areas_follow_the_country() {
    for (postcode, country, want) in [
        ("1811 AB", "NL", Some("1811")),
        (" 1811ab ", "NL", Some("1811")),
        ("1811 sS", "NL", None),
        ("1811  AB", "NL", None),
        ("0811 AB", "NL", None),
        ("1811", "NL", None),
        ("9000", "BE", Some("9000")),
        ("9000 AB", "BE", None),
        ("1811 AB", "DE", None),
    ] {
        let address = format!(r#"{{"postcode":"{postcode}","country":"{country}"}}"#);
        let patron = format!(r#""kind":"person","address":{address}"#);
        check_field("statistics", &patron, ("loan", LOAN_OF_CLOSED_MONTH), ("postcode_area", want));
    }
}
