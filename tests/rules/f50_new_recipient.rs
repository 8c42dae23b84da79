//! F50, R02: no recipient without purpose, retention and notice, none for more than five years, and
//! nothing before patrons were told (nor before an advice or an approval: F09, F20).

use zeef_test_kit::config::{load_files, patron_kind_file, recipient_file};

use crate::driver::{RulePolicy, check_records};

#[test]
fn f50_recipient_without_purpose_or_retention_is_refused() {
    let patron = patron_kind_file("");
    let retention = "retention = { term = \"P5Y\", from = \"born_on\", after = \"retract\" }";
    let settings =
        format!("source = \"patron\"\nkey = {{ pseudonym = \"patron_id\" }}\n{retention}");
    let (path, text) = recipient_file("r", &settings, "library = { from = \"library\" }");
    let load = |text: String| load_files(&[patron.clone(), (path.clone(), text)]).map(|_| ());
    assert_eq!(load(text.clone()), Ok(()));
    for (without, named) in [
        (text.replace("purpose = \"p\"\n", ""), "purpose"),
        (text.replace(retention, ""), "retention"),
        (text.replace("P5Y", "P61M"), "five years"),
        (text.replace("notice = { on = \"2018-05-25\", where = \"P\" }\n", ""), "notice"),
        (text.replace("on = \"2018-05-25\"", "on = \"2018-02-30\""), "a date"),
        (text.replace(", where = \"P\"", ""), "where"),
    ] {
        let error = load(without).unwrap_err();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn f50_nothing_is_sent_before_the_day_of_a_paper() {
    // Today is 15 January 2026.
    for (paper, want) in [
        ("", r#"{"library":"NL-AmrBKW"}"#),
        (
            r#"dpo_advice = { by = "FG", on = "2026-01-15", document = "A" }"#,
            r#"{"library":"NL-AmrBKW"}"#,
        ),
        (r#"dpo_advice = { by = "FG", on = "2026-01-16", document = "A" }"#, "paper_pending"),
        (r#"approval = { by = "FG", on = 2026-01-16, document = "A" }"#, "paper_pending"),
        (r#"terms = { document = "A", version = "1", on = "2026-02-01" }"#, "paper_pending"),
    ] {
        let settings = format!(
            "source = \"patron\"\nkey = {{ pseudonym = \"patron_id\" }}\n\
             retention = {{ term = \"P5Y\", from = \"born_on\", after = \"retract\" }}\n{paper}"
        );
        let recipient = recipient_file("r", &settings, "library = { from = \"library\" }");
        let policy = RulePolicy::from_files(&[patron_kind_file(""), recipient]);
        check_records(&policy, "r", &[("patron", "")], want);
    }
}

#[test]
fn f50_nothing_is_sent_before_the_day_of_the_notice() {
    let settings = "source = \"patron\"\nkey = { pseudonym = \"patron_id\" }\n\
        retention = { term = \"P5Y\", from = \"born_on\", after = \"retract\" }";
    let (path, text) = recipient_file("r", settings, "library = { from = \"library\" }");
    for (day, want) in
        [("2026-01-15", r#"{"library":"NL-AmrBKW"}"#), ("2026-01-16", "paper_pending")]
    {
        let file = (path.clone(), text.replace("2018-05-25", day));
        let policy = RulePolicy::from_files(&[patron_kind_file(""), file]);
        check_records(&policy, "r", &[("patron", "")], want);
    }
}
