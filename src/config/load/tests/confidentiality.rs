//! Recipients that patrons are not told of.

use super::*;

const DEMAND_FILE: &str = "recipients/legal-demand.toml";
const REPORT_FILE: &str = "recipients/demand-report.toml";
/// The shipped mark.
const SHIPPED: &str = "confidential = { unless_false = \"confidential\" }";
const MARK: &str = "confidential = true";

/// The shipped config, whose recipients of demands have these lines.
fn folder_with_marks(demand: &str, report: &str) -> ConfigFolder {
    let folder = ConfigFolder::shipped();
    folder.replace_text(DEMAND_FILE, SHIPPED, demand);
    folder.replace_text(REPORT_FILE, SHIPPED, report);
    folder
}

#[test]
fn confidentiality_is_read_and_part_of_the_version() {
    let until = |day: &str| format!("confidential = {{ until = \"{day}\" }}");
    let read = |mark: &str| {
        let policy = folder_with_marks(mark, mark).load().policy;
        let marks = policy.all_recipients().filter_map(|one| one.confidentiality);
        let marks: Vec<_> = marks.map(|mark| mark.until).collect();
        (marks, policy.version)
    };
    let (marks, marked) = read(MARK);
    assert_eq!(marks, [None, None]);
    let day = crate::policy::form::Date::parse("2027-01-31");
    let (marks, ending) = read(&until("2027-01-31"));
    assert_eq!(marks, [day, day]);
    let (marks, plain) = read("confidential = false");
    assert_eq!(marks, []);
    assert_eq!(plain, read("").1);
    let (_, later) = read(&until("2027-02-01"));
    let versions = std::collections::BTreeSet::from([marked, ending, plain, later]);
    assert_eq!(versions.len(), 4, "{versions:?}");
}

fn by(field: &str) -> String {
    format!("confidential = {{ unless_false = \"{field}\" }}")
}

#[test]
fn confidentiality_by_record_is_read_and_covered_by_no_other_field() {
    let read = |demand: &str, report: &str| folder_with_marks(demand, report).messages();
    let whole = MARK.to_owned();
    let ending = by("confidential").replace(" }", ", until = \"2027-01-31\" }");
    for (demand, report, are_told_alike) in [
        (by("confidential"), by("confidential"), true),
        (by("decision.legal_duty"), by("decision.legal_duty"), true),
        (ending.clone(), ending.clone(), true),
        // More is hidden of one of them.
        (by("confidential"), by("decision.legal_duty"), false),
        (by("confidential"), whole.clone(), false),
        (by("confidential"), ending, false),
        (by("confidential"), String::new(), false),
    ] {
        let messages = read(&demand, &report);
        assert_eq!(messages.is_empty(), are_told_alike, "{demand} {report}: {messages:#?}");
        assert!(messages.iter().all(|one| one.contains("[rule confidential]")), "{messages:#?}");
    }
    let policy = folder_with_marks(&whole, &whole).load().policy;
    assert!(policy.all_recipients().all(|one| one.told_unless.is_none()));
    let shipped = ConfigFolder::shipped().load().policy;
    let fields = shipped.all_recipients().filter_map(|one| one.told_unless.as_ref());
    let fields: Vec<&str> = fields.map(|field| &*field.path).collect();
    assert_eq!(fields, ["confidential", "confidential"]);
    assert_ne!(policy.version, shipped.version);
}

#[test]
fn confidentiality_by_record_is_not_for_pseudonymised_recipients() {
    let folder = folder_with_marks(&by("confidential"), "");
    folder.replace_text(
        REPORT_FILE,
        "\nsource ",
        &format!("\n{}\npseudonymised = true\nsource ", by("confidential")),
    );
    let messages = folder.messages();
    let found = messages.iter().find(|one| one.contains("`unless_false` of a pseudonymised"));
    assert!(found.is_some_and(|one| one.contains("[rule confidential]")), "{messages:#?}");
}

#[test]
fn confidentiality_reports_each_mistake() {
    for (mark, want) in [
        ("confidential = \"yes\"", "`confidential` is \"yes\", expected true, or { until ="),
        ("confidential = {}", "no `until`, expected its last day"),
        (&by("authority"), "`unless_false` is \"authority\", expected a truth value of the record"),
        (&by("decision.legal_dute"), "unknown field `decision.legal_dute`"),
        (&by("patron.loan_history"), "`unless_false` is \"patron.loan_history\", expected a truth"),
        (&by("confidential").replace(" }", ", until = \"soon\" }"), "`until` is \"soon\""),
        ("confidential = { until = \"2027-02-30\" }", "`until` is \"2027-02-30\""),
        ("confidential = { unti = \"2027-01-31\" }", "unknown key `unti`: did you mean `until`?"),
        ("confidental = true", "unknown key `confidental`: did you mean `confidential`?"),
    ] {
        let messages = folder_with_marks(MARK, mark).messages();
        assert!(messages.iter().all(|one| one.starts_with(REPORT_FILE)), "{messages:#?}");
        assert!(messages.iter().any(|one| one.contains(want)), "{want} in {messages:#?}");
    }
}

#[test]
fn confidentiality_needs_a_legal_obligation_and_all_recipients_of_the_records() {
    let check = |folder: ConfigFolder, file: &str, want: &str| {
        let messages = folder.messages();
        assert_eq!(messages.len(), 1, "{messages:#?}");
        assert!(messages[0].starts_with(file) && messages[0].contains(want), "{messages:#?}");
        assert!(messages[0].contains("[rule confidential]"), "{messages:#?}");
    };
    // Also one that is switched off: what it had is in the ledger.
    let alone = folder_with_marks(MARK, "");
    check(
        alone,
        REPORT_FILE,
        "not told of because of `legal-demand`, expected `confidential = true`",
    );
    let ends = "confidential = { until = \"2027-01-31\" }";
    let later = "confidential = { until = \"2027-02-01\" }";
    let want = "expected `confidential = { until = \"2027-02-01\" }` here, too, or a later day";
    check(folder_with_marks(ends, later), DEMAND_FILE, want);
    let contract = ConfigFolder::shipped();
    let file = "recipients/reservation-slip.toml";
    contract.replace_text(file, "\ntopic ", "\nconfidential = true\ntopic ");
    let messages = contract.messages();
    assert!(
        messages.iter().any(|one| one.starts_with(file)
            && one.contains("`confidential` of a recipient on the basis `contract`")),
        "{messages:#?}"
    );
}

/// A change of the field sends the output once more, so the recipient sees the field change.
#[test]
fn confidentiality_by_record_is_an_influence_like_any_other() {
    for (class, rule) in [("secret", "secret"), ("special", "special-category")] {
        let folder = ConfigFolder::shipped();
        let old = "confidential = { type = \"boolean\", class = \"plain\"";
        let new = old.replace("plain", class);
        folder.replace_text("records/demand.toml", old, &new);
        let rules: Vec<_> = folder.mistakes().iter().filter_map(|one| one.rule).collect();
        assert_eq!(rules, [rule; 2], "{:?}", folder.messages());
    }
}
