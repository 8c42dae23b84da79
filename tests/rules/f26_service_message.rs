//! F26: service messages.

use crate::driver::check_field;

#[test]
fn f26_full_names_are_cleaned_and_joined() {
    for (initials, prefix, surname, want) in [
        ("J.P.", "van  der", " Berg\u{200b} ", Some("J.P. van der Berg")),
        ("", "\u{a0}", "O\u{308}", Some("O\u{308}")),
        (" ", "\u{feff}", "\u{2009}", None),
        ("\u{132}.", "\u{2019}t", "H", Some("\u{132}. \u{2019}t H")),
    ] {
        let patron =
            format!(r#""initials":"{initials}","surname_prefix":"{prefix}","surname":"{surname}""#);
        check_field("service-message", &patron, ("loan", r#""status":"open""#), ("name", want));
    }
}
