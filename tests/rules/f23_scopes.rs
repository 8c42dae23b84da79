//! F23: an app gets of its fields what its scopes name, and nothing else.

use zeef_test_kit::config::{patron_kind_file, recipient_file};

use crate::driver::{RulePolicy, check_records};

#[test]
fn f23_scopes_are_all_that_is_sent() {
    let settings = |scopes: &str| {
        format!(
            "source = \"patron\"\nkey = {{ pseudonym = \"patron_id\" }}\nscopes = [{scopes}]\n\
             retention = {{ term = \"P5Y\", from = \"born_on\", after = \"retract\" }}"
        )
    };
    let fields = "born = { from = \"born_on\" }\nlibrary = { from = \"library\" }";
    for (scopes, want) in [
        ("\"library\"", r#"{"library":"NL-AmrBKW"}"#),
        ("\"born\"", r#"{"born":"2025-01-31"}"#),
        ("\"library\", \"born\"", r#"{"born":"2025-01-31","library":"NL-AmrBKW"}"#),
    ] {
        let files = [patron_kind_file(""), recipient_file("r", &settings(scopes), fields)];
        let policy = RulePolicy::from_files(&files);
        check_records(&policy, "r", &[("patron", r#""born_on":"2025-01-31""#)], want);
    }
}
