//! Section 5 of docs/rules.md: outputs without the fields that point at a person.

use std::sync::LazyLock;

use zeef_test_kit::config::{kind_file, load_files, patron_kind_file, recipient_file};

use crate::driver::{RulePolicy, check_records};

const LOAN_FIELDS: &str = r#"
    loan_id = { type = "text", class = "identifier", meaning = "m" }
    patron_id = { type = "text", class = "identifier", meaning = "m" }
    library = { type = "isil", class = "plain", meaning = "m" }
    status = { type = "text", class = "plain", meaning = "m" }
    returned_at = { type = "instant", class = "personal", meaning = "m" }
    branch = { type = "text", class = "plain", meaning = "m" }
    gone = { type = "boolean", class = "plain", meaning = "m" }
    "#;
const PATRON_FIELDS: &str = r#"
    surname = { type = "text", class = "personal", meaning = "m" }
    loan_history = { type = "boolean", class = "plain", meaning = "m" }
    loan_history_since = { type = "instant", class = "personal", meaning = "m" }
    "#;

/// One recipient with this `thinned`.
fn policy_with(thinned: &str) -> Result<RulePolicy, String> {
    let settings = format!(
        "source = \"loan\"\nloan_history = true\nkey = {{ pseudonym = \"loan_id\" }}\n\
         retention = {{ term = \"P2Y\", from = \"returned_at\", after = \"retract\" }}\n{thinned}"
    );
    let fields = "ref = { from = \"loan_id\" }\nname = { from = \"patron.surname\" }\n\
                  branch = { from = \"branch\" }";
    let files = [
        patron_kind_file(PATRON_FIELDS),
        kind_file("loan", "id = \"loan_id\"\nkey = \"patron\"\ngone = \"gone\"", LOAN_FIELDS),
        recipient_file("counter", &settings, fields),
    ];
    load_files(&files).map(|_| RulePolicy::from_files(&files))
}

static THINNED: LazyLock<RulePolicy> = LazyLock::new(|| {
    policy_with(
        r#"thinned = { drop = ["ref", "name"], on = ["gone", "loan_history_off"], after = "P90D", from = "returned_at" }"#,
    )
    .unwrap()
});

const PATRON: (&str, &str) = ("patron", r#""surname":"Berg""#);
const WHOLE: &str = r#"{"ref":"r1","name":"Berg","branch":"noord"}"#;
const LEFT: &str = r#"{"branch":"noord"}"#;

fn returned(at: &str) -> String {
    format!(r#""status":"returned","branch":"noord","returned_at":"{at}""#)
}

#[test]
fn thinned_after_its_term() {
    // It is decided on 2026-01-15 at 12:00.
    for (at, want) in [
        ("2025-10-17T12:00:00Z", LEFT),
        ("2025-10-17T12:00:00.001Z", WHOLE),
        ("2025-10-17T14:00:00+02:00", LEFT),
        ("2024-02-29T12:00:00Z", LEFT),
        ("2025-10-01", WHOLE),
        ("", WHOLE),
    ] {
        check_records(&THINNED, "counter", &[PATRON, ("loan", &returned(at))], want);
    }
}

#[test]
fn thinned_while_loan_history_is_off() {
    let loan = returned("2026-01-10T12:00:00Z");
    for (patron, want) in [
        (r#""surname":"Berg","loan_history":false"#, LEFT),
        (r#""surname":"Berg","loan_history":true"#, WHOLE),
        (r#""surname":"Berg","loan_history_since":"2026-01-11T00:00:00Z""#, LEFT),
        (r#""surname":"Berg","loan_history_since":"2026-01-10T00:00:00Z""#, WHOLE),
    ] {
        check_records(&THINNED, "counter", &[("patron", patron), ("loan", &loan)], want);
        // It follows a change of the patron.
        let records = [PATRON, ("loan", &*loan), ("patron", patron), ("loan", &*loan)];
        check_records(&THINNED, "counter", &records, want);
    }
}

/// A record that arrives is decided by itself, but the driver compares what recipients have: the
/// model makes that of the version before.
#[test]
fn thinned_when_gone_is_made_of_the_version_before() {
    let (loan, gone) = (returned("2026-01-10T12:00:00Z"), r#""gone":true"#);
    let (whole, gone) = (("loan", &*loan), ("loan", gone));
    let other = ("loan", r#""status":"open","branch":"zuid""#);
    let unreadable = ("loan", r#""status":"open","branch":["x"]"#);
    for records in [
        &[PATRON, whole, gone][..],
        &[PATRON, gone],
        &[PATRON, gone, whole, gone],
        &[PATRON, whole, gone, gone],
        &[PATRON, whole, other, gone],
        &[PATRON, whole, unreadable, gone],
        // It was never had whole.
        &[whole, gone, PATRON, gone],
        &[PATRON, whole, gone, ("patron", r#""surname":"Bos""#), gone],
    ] {
        check_records(&THINNED, "counter", records, "record_gone");
    }
    check_records(&THINNED, "counter", &[PATRON, whole, gone, whole], WHOLE);
}

#[test]
fn thinned_may_have_one_cause_alone() {
    for (thinned, want) in [
        (r#"thinned = { drop = ["ref", "name"], on = ["gone"] }"#, "loan_history_off"),
        (r#"thinned = { drop = ["ref", "name"], on = ["loan_history_off"] }"#, LEFT),
        (
            r#"thinned = { drop = ["ref", "name"], after = "P1D", from = "patron.loan_history_since" }"#,
            "loan_history_off",
        ),
    ] {
        let policy = policy_with(thinned).unwrap();
        let patron =
            r#""surname":"Berg","loan_history":false,"loan_history_since":"2026-01-01T00:00:00Z""#;
        let loan = returned("2026-01-10T12:00:00Z");
        check_records(&policy, "counter", &[("patron", patron), ("loan", &loan)], want);
    }
}

#[test]
fn thinned_is_refused_where_it_is_unclear() {
    for (thinned, found, expected) in [
        (r#"{ drop = ["ref", "nam"], on = ["gone"] }"#, "no output field `nam`", "name"),
        (r#"{ drop = [], on = ["gone"] }"#, "no field in `drop`", "left out"),
        (r#"{ on = ["gone"] }"#, "no `drop`", "left out"),
        (r#"{ drop = ["name"] }"#, "`thinned` without `on` and `after`", "P90D"),
        (r#"{ drop = ["name"], on = ["gon"] }"#, "`gon` in `on`", "gone"),
        (r#"{ drop = ["name"], on = [] }"#, "nothing in `on`", "gone"),
        (r#"{ drop = ["name"], after = "P90D" }"#, "no `from`", "date"),
        (r#"{ drop = ["name"], from = "returned_at" }"#, "no `after`", "ISO 8601"),
        (r#"{ drop = ["name"], after = "90", from = "returned_at" }"#, "`after` is", "ISO 8601"),
        (r#"{ drop = ["name"], after = "P9D", from = "branch" }"#, "a term from `branch`", "date"),
        (r#"{ drop = ["name"], on = ["gone"], keep = 1 }"#, "keep", "drop"),
        (r#"{ drop = ["ref"], on = ["gone"] }"#, "`patron.surname`", "`drop`"),
    ] {
        let Err(text) = policy_with(&format!("thinned = {thinned}")) else {
            panic!("{thinned} is accepted");
        };
        assert!(text.contains(found) && text.contains(expected), "{thinned}: {text}");
    }
}
