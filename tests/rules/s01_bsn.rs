//! S01: a BSN is never released, whatever field repeats it.

use crate::driver::{SHIPPED, check_records};

#[test]
fn s01_value_that_repeats_the_bsn_is_left_out() {
    let loan =
        |title: &str| format!(r#""status":"open","item":{{"title":"{title}"}},"branch":"B""#);
    let (with, without) = (r#"{"title":"T 123","branch":"B"}"#, r#"{"branch":"B"}"#);
    for (title, bsn, want) in [
        ("T 123", r#""111222333""#, with),
        ("111222333", r#""111222333""#, without),
        ("111 boeken, 222 delen, 333", r#""111222333""#, without),
        ("١١١٢٢٢٣٣٣", r#""111222333""#, without),
        ("111222333", "111222333", without),
        // One that cannot be read forbids any.
        ("111222333", "[1]", without),
        ("12 345 672", "[1]", without),
        ("12 345 673", "[1]", r#"{"title":"12 345 673","branch":"B"}"#),
    ] {
        let patron = format!(r#""bsn":{bsn}"#);
        let records = [("patron", &*patron), ("loan", &*loan(title))];
        check_records(&SHIPPED, "service-message", &records, want);
    }
}
