//! Conditions on time and on numbers: what a date, an instant and an integer are compared with.

use zeef_test_kit::config::{PolicyFile, patron_kind_file, recipient_file};

use crate::driver::{RulePolicy, check_records};

const FIELDS: &str = r#"
ends_on = { type = "date", class = "plain", meaning = "m" }
birth_date = { type = "date", class = "personal", meaning = "m" }
seen_at = { type = "instant", class = "plain", meaning = "m" }
fee_cents = { type = "integer", class = "financial", meaning = "m" }
"#;

fn policy_with_condition(condition: &str) -> RulePolicy {
    let settings = format!(
        "source = \"patron\"\nkey = {{ pseudonym = \"patron_id\" }}\n\
         retention = {{ term = \"P5Y\", from = \"born_on\", after = \"retract\" }}\n\
         when = [{{ {condition} }}]"
    );
    let recipient = recipient_file("r", &settings, "library = { from = \"library\" }");
    let files: [PolicyFile; 2] = [patron_kind_file(FIELDS), recipient];
    RulePolicy::from_files(&files)
}

/// Now is noon of 15 January 2026, in UTC.
#[track_caller]
fn check_condition(condition: &str, cases: &[(&str, &str)]) {
    let policy = policy_with_condition(condition);
    for (record, want) in cases {
        check_records(&policy, "r", &[("patron", record)], want);
    }
}

#[test]
fn conditions_date_counts_from_midnight_to_midnight() {
    check_condition(
        r#"field = "ends_on", not_before = "now""#,
        &[
            (r#""ends_on":"2026-01-15""#, "released"),
            (r#""ends_on":"2026-01-14""#, "condition"),
            (r#""ends_on":"9999-12-31""#, "released"),
            (r#""ends_on":"0001-01-01""#, "condition"),
            (r#""ends_on":"2026-02-30""#, "condition"),
            (r#""ends_on":"""#, "condition"),
            ("", "condition"),
            (r#""ends_on":20260115"#, "malformed"),
        ],
    );
    check_condition(
        r#"field = "ends_on", before = "now""#,
        &[(r#""ends_on":"2026-01-15""#, "released"), (r#""ends_on":"2026-01-16""#, "condition")],
    );
    check_condition(
        r#"field = "ends_on", not_before = "now", before = "now+P30D""#,
        &[
            (r#""ends_on":"2026-01-14""#, "condition"),
            (r#""ends_on":"2026-01-15""#, "released"),
            (r#""ends_on":"2026-02-14""#, "released"),
            (r#""ends_on":"2026-02-15""#, "condition"),
        ],
    );
}

#[test]
fn conditions_age_begins_on_the_birthday() {
    check_condition(
        r#"field = "birth_date", before = "now-P16Y""#,
        &[
            (r#""birth_date":"2010-01-15""#, "released"),
            (r#""birth_date":"2010-01-16""#, "condition"),
            (r#""birth_date":"1930-01-01""#, "released"),
            (r#""birth_date":"2010-01-15T00:00:00Z""#, "condition"),
        ],
    );
}

#[test]
fn conditions_instant_is_compared_as_it_stands() {
    check_condition(
        r#"field = "seen_at", before = "now""#,
        &[
            (r#""seen_at":"2026-01-15T11:59:59.999999999Z""#, "released"),
            (r#""seen_at":"2026-01-15T12:00:00Z""#, "condition"),
            (r#""seen_at":"2026-01-15T12:30:00+01:00""#, "released"),
        ],
    );
    check_condition(
        r#"field = "seen_at", not_before = "now-P1M""#,
        &[
            (r#""seen_at":"2025-12-15T12:00:00Z""#, "released"),
            (r#""seen_at":"2025-12-15T11:59:59.999999999Z""#, "condition"),
        ],
    );
}

#[test]
fn conditions_integer_lies_between_its_bounds() {
    check_condition(
        r#"field = "fee_cents", above = 0"#,
        &[
            (r#""fee_cents":1"#, "released"),
            (r#""fee_cents":0"#, "condition"),
            (r#""fee_cents":-0"#, "condition"),
            (r#""fee_cents":99999999999999999999"#, "released"),
            (r#""fee_cents":-99999999999999999999"#, "condition"),
            (r#""fee_cents":1.5"#, "malformed"),
            (r#""fee_cents":"1""#, "malformed"),
            ("", "condition"),
        ],
    );
    check_condition(
        r#"field = "fee_cents", above = -1, below = 2"#,
        &[
            (r#""fee_cents":-1"#, "condition"),
            (r#""fee_cents":0"#, "released"),
            (r#""fee_cents":1"#, "released"),
            (r#""fee_cents":2"#, "condition"),
        ],
    );
}
