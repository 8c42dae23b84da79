//! F06: the libraries of a network share their own patrons, and nobody else's.

use crate::driver::{SHIPPED, check_records};

#[test]
fn f06_patron_must_be_of_a_library_of_the_network() {
    let patron = |library: &str| {
        format!(r#""library":"{library}","kind":"person","membership":{{"status":"active"}}"#)
    };
    for (library, want) in [
        ("NL-AmrBKW", r#"{"library":"NL-AmrBKW"}"#),
        ("BE-GntB", r#"{"library":"BE-GntB"}"#),
        ("NL-Other", "condition"),
    ] {
        check_records(&SHIPPED, "regional-network", &[("patron", &patron(library))], want);
    }
}
