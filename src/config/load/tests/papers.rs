//! Papers by reference, closed lists, scopes, channels, and what is still to be decided.

use super::*;
use crate::policy::paper::{FieldsSource, Requirement};

const AGREEMENT: &str = "title = \"T\"\nreference = \"V-1\"\nclauses = [\"use\", \"security\", \
                         \"confidentiality\"]\nfrom = 2026-01-01\nuntil = 2030-01-01\n";

/// A config with one recipient of these lines, and these papers.
fn folder_with(lines: &str, papers: &[(&str, &str)]) -> ConfigFolder {
    let folder = folder_with_lines(lines);
    for (file, text) in papers {
        let path = folder.0.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// Checks that the recipient of these lines has one mistake, with this text.
#[track_caller]
fn check_mistake(lines: &str, want: &str) {
    check_mistake_with(lines, &[], want);
}

#[track_caller]
fn check_mistake_with(lines: &str, papers: &[(&str, &str)], want: &str) {
    let messages = folder_with(lines, papers).messages();
    assert_eq!(messages.len(), 1, "{messages:#?}");
    assert!(messages[0].contains(want), "{messages:#?}");
}

#[test]
fn agreement_by_name_is_that_of_its_file() {
    let file = format!("name = \"printer\"\n{AGREEMENT}after = \"retract\"\n");
    let lines = "role = \"processor\"\nagreement = \"printer\"";
    let folder = folder_with(lines, &[("agreements/printer.toml", &file)]);
    let by_name = folder.load().policy;
    let agreement = by_name.recipient("example").unwrap().agreement.clone().unwrap();
    assert_eq!((&*agreement.reference, agreement.after), ("V-1", ExpiryAction::Retract));
    // The same paper in the recipient's own file is the same policy.
    let inline = "role = \"processor\"\nagreement = { reference = \"V-1\", clauses = [\"use\", \
                  \"security\", \"confidentiality\"], from = \"2026-01-01\", until = \"2030-01-01\", \
                  after = \"retract\" }";
    assert_eq!(folder_with(inline, &[]).load().policy.version, by_name.version);
}

#[test]
fn papers_report_each_mistake() {
    let file = format!("name = \"printer\"\n{AGREEMENT}");
    let papers = [("agreements/printer.toml", file.as_str())];
    let named = "role = \"processor\"\nagreement = \"printr\"";
    check_mistake_with(
        named,
        &papers,
        "no paper `printr` in config/agreements: did you mean `printer`?",
    );
    check_mistake(
        "authorisation = \"rrn\"",
        "no paper `rrn` in config/authorisations, expected the name of a file of config/authorisations, or the paper itself [rule national-number]",
    );
    let lines = "role = \"processor\"\nagreement = \"printer\"";
    let other_name = file.replace("name = \"printer\"", "name = \"print\"");
    let papers = [("agreements/printer.toml", other_name.as_str())];
    check_mistake_with(lines, &papers, "`name` is \"print\", expected \"printer\"");
    let without = file.replace("reference = \"V-1\"\n", "");
    let papers = [("agreements/printer.toml", without.as_str())];
    check_mistake_with(lines, &papers, "no `reference`, expected where the agreement is kept");
    let unknown = format!("{file}clause = []\n");
    let papers = [("agreements/printer.toml", unknown.as_str())];
    check_mistake_with(lines, &papers, "unknown key `clause`: did you mean `clauses`?");
    let papers = [("agreements/printer.toml", file.as_str())];
    let unused = folder_with("", &papers).load();
    assert!(unused.notes.iter().any(|note| note.ends_with("printer.toml: no recipient names it")));
    check_mistake_with(
        "role = \"processor\"\nagreement = \"printer\"\nclauses = [\"breach\"]",
        &papers,
        "an agreement without the clause `breach`, expected `use`, `security`, `confidentiality` and `breach` among its clauses",
    );
    check_mistake("dpo_advice = { by = \"FG\", on = \"2026-01-01\" }", "no `document`");
    check_mistake("approval = { by = \"FG\", on = \"1-1-2026\", document = \"A\" }", "a date, as");
    check_mistake("terms = { document = \"A\", on = \"2026-01-01\" }", "no `version`");
}

#[test]
fn required_papers_and_lists_are_there_or_the_recipient_stays_off() {
    for (lines, want) in [
        ("requires = [\"agrement\"]", "\"agrement\" in `requires`: did you mean `agreement`?"),
        ("requires = [\"agreement\"]", "no agreement, expected `agreement = "),
        ("requires = [\"approval\"]", "no approval, expected `approval = "),
        ("requires = [\"devices\"]\ndevices = []", "no device in `devices`, expected"),
        ("requires = [\"app_id\"]", "no id of the app, expected `app_id"),
        ("members = []", "no libraries in `members`, expected"),
        ("members = [\"Alkmaar\"]", "library \"Alkmaar\", expected"),
        ("scopes = []", "no field in `scopes`, expected"),
        ("requires = [\"parties\"]", "no receiving party, expected"),
        ("topic = { by = \"branch\", of = {} }", "no topic that can be used"),
        (
            "requires = [\"dpo_advice\"]\ndpo_advice = { by = \"...\", on = \"2026-01-01\", document = \"A\" }",
            "no advice of the data protection officer, expected",
        ),
    ] {
        check_mistake(lines, want);
        // An unknown word is a mistake in any file; what is missing is noted.
        if !want.contains("did you mean") && !want.contains("Alkmaar") {
            let loaded = folder_with(&format!("enabled = false\n{lines}"), &[]).load();
            assert!(loaded.notes_of_disabled.iter().any(|note| note.contains(want)), "{want}");
        }
    }
    let met = "requires = [\"devices\", \"app_id\"]\ndevices = [\"kiosk-1\"]\napp_id = \"a\"";
    let policy = folder_with(met, &[]).load().policy;
    let papers = &policy.recipient("example").unwrap().papers;
    assert_eq!(papers.requires, [Requirement::Devices, Requirement::AppId]);
    assert_eq!(papers.devices, ["kiosk-1"]);
}

#[test]
fn scopes_leave_only_the_fields_that_they_name() {
    let lines = "scopes = [\"title\", \"branch\"]\nfields.title = { from = \"item.title\" }\n\
                 fields.due_on = { from = \"due_on\" }";
    let policy = folder_with(lines, &[]).load().policy;
    let fields = policy.recipient("example").unwrap().output_fields.iter();
    let names: BTreeSet<&str> = fields.map(|field| field.name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["branch", "title"]));
    check_mistake("scopes = [\"branh\"]", "scope \"branh\": did you mean `branch`?");
    check_mistake(
        "scopes = [\"branch\"]\nfields.slip = { mask = \"shelf_slip\", mark = \"branch\", initial = \"branch\", lines = [\"branch\"] }",
        "`scopes` beside a slip",
    );
}

#[test]
fn channels_reach_somebody() {
    let channel = |paths: &str| format!("channel = {{ first = [{paths}] }}");
    let valid = channel("\"patron.email\", \"patron.address\", \"patron.mobile\"");
    let policy = folder_with(&valid, &[]).load().policy;
    let rule = policy.recipient("example").unwrap().channel.clone().unwrap();
    let words: Vec<&str> = rule.channels.iter().map(|one| one.medium.into_str()).collect();
    assert_eq!(words, ["email", "post", "phone"]);
    for (lines, want) in [
        (channel("\"patron.email\""), "fewer than two channels in `first`"),
        (
            channel("\"patron.email\", \"patron.surname\""),
            "a channel by `patron.surname`, expected",
        ),
        (channel("\"patron.email\", \"patron.membership\""), "a channel by `patron.membership`"),
        (channel("\"patron.email\", \"patron.adres\""), "unknown field `patron.adres`"),
        (
            "fields.by = { word_of = \"channel\" }".to_owned(),
            "field `by`, where no channel is chosen, expected `channel = ",
        ),
        (
            format!("{valid}\nfields.by = {{ word_of = \"chanel\" }}"),
            "`word_of` is \"chanel\": did you mean `channel`?",
        ),
        (
            format!("{valid}\nfields.by = {{ word_of = \"channel\", from = \"branch\" }}"),
            "`from` in field `by`, expected none",
        ),
    ] {
        check_mistake(&lines, want);
    }
}

#[test]
fn excluded_recipient_is_a_known_one_of_another_library() {
    check_mistake(
        "excludes = [\"deurwarder\"]",
        "unknown recipient `deurwarder` in `excludes`: did you mean `deurwaarder`?",
    );
    check_mistake(
        "excludes = [\"deurwaarder\"]",
        "`deurwaarder`, switched on for a library of this one, expected one of the two for a library [rule excluded-recipient]",
    );
    let folder = folder_with("libraries = [\"NL-A\"]\nexcludes = [\"deurwaarder\"]", &[]);
    let other = "recipients/deurwaarder.toml";
    folder.replace_text(other, "libraries    = \"all\"", "libraries = [\"NL-B\"]");
    folder.load();
    folder.replace_text(other, "\"NL-B\"", "\"NL-A\"");
    assert_eq!(folder.messages().len(), 1);
    folder.replace_text(other, "name         = ", "enabled = false\nname = ");
    folder.load();
}

#[test]
fn pending_rule_has_a_reason() {
    let lines = "status = \"pending\"\npending_reason = \"asked\"\nfields_source = \"proposed\"";
    let policy = folder_with(lines, &[]).load().policy;
    let review = &policy.recipient("example").unwrap().review;
    assert_eq!(review.pending_reason.as_deref(), Some("asked"));
    assert_eq!(review.fields_source, Some(FieldsSource::Proposed));
    assert!(review.describe().unwrap().starts_with("pending: asked; "));
    check_mistake("status = \"pending\"", "`status` is \"pending\" without a reason, expected");
    check_mistake("pending_reason = \"x\"", "`pending_reason` of a settled rule, expected");
    check_mistake("status = \"pendin\"", "`status` is \"pendin\": did you mean `pending`?");
    check_mistake("fields_source = \"propose\"", "did you mean `proposed`?");
}
