//! F07: kinds whose records may be of another library than their patron's, by `zeef.toml`.

use zeef_test_kit::config::{PolicyFile, kind_file, load_files, patron_kind_file, recipient_file};

use crate::driver::{RulePolicy, check_records};

const ALLOWED: &str = r#"other_library = { kinds = ["debt"], reason = "Samenwerking" }"#;

fn policy_files(zeef_toml: &str, libraries: &str) -> Vec<PolicyFile> {
    let fields = r#"
        debt_id = { type = "text", class = "identifier", meaning = "m" }
        patron_id = { type = "text", class = "identifier", meaning = "m" }
        library = { type = "isil", class = "plain", meaning = "m" }
        seen_on = { type = "date", class = "plain", meaning = "m" }
    "#;
    let debt = kind_file("debt", "role = \"record\"\nid = \"debt_id\"\nkey = \"patron\"", fields);
    let settings = "source = \"debt\"\nkey = { pseudonym = \"debt_id\" }\n\
                    retention = { term = \"P1Y\", from = \"seen_on\", after = \"retract\" }";
    let (path, text) = recipient_file("r", settings, "library = { from = \"library\" }");
    let recipient = (path, text.replace("libraries = \"all\"", libraries));
    vec![patron_kind_file(""), debt, recipient, ("zeef.toml".to_owned(), zeef_toml.to_owned())]
}

/// What a recipient is told of a record of NL-X of a patron of NL-AmrBKW.
#[track_caller]
fn check_other_library(zeef_toml: &str, libraries: &str, want: &str) {
    let policy = RulePolicy::from_files(&policy_files(zeef_toml, libraries));
    check_records(&policy, "r", &[("patron", ""), ("debt", r#""library":"NL-X""#)], want);
}

#[test]
fn f07_other_library_lets_records_of_both_libraries_through() {
    let all = "libraries = \"all\"";
    check_other_library("", all, "library_conflict");
    check_other_library(ALLOWED, all, "released");
    check_other_library(ALLOWED, r#"libraries = ["NL-X", "NL-AmrBKW"]"#, "released");
    check_other_library(ALLOWED, r#"libraries = ["NL-X"]"#, "library");
    check_other_library(ALLOWED, r#"libraries = ["NL-AmrBKW"]"#, "library");
    check_other_library(ALLOWED, "libraries = \"all\"\nown_borrowers = true", "library_conflict");
}

#[test]
fn f07_other_library_needs_known_kinds_and_a_reason() {
    for (zeef_toml, want) in [
        (r#"other_library = { kinds = ["debt"] }"#, "no `reason`"),
        (r#"other_library = { kinds = ["debt"], reason = " " }"#, "`reason` is empty"),
        (r#"other_library = { reason = "R" }"#, "no `kinds`"),
        (r#"other_library = { kinds = [], reason = "R" }"#, "no kind in `kinds`"),
        (r#"other_library = { kinds = ["deb"], reason = "R" }"#, "no kind of record `deb`"),
        (r#"other_library = { kinds = ["patron"], reason = "R" }"#, "no kind of record `patron`"),
        (r#"other_library = { kinds = ["debt", "debt"], reason = "R" }"#, "twice in `kinds`"),
    ] {
        let mistakes = load_files(&policy_files(zeef_toml, "libraries = \"all\"")).unwrap_err();
        assert!(mistakes.contains("zeef.toml") && mistakes.contains(want), "{mistakes}");
    }
}
