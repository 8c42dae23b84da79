//! The loader on the shipped config, and on every wrong one.

mod acknowledgements;
mod confidentiality;
mod lint_model;
mod papers;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::config::lint::{LINTS, valid_file_with};
use crate::policy::catalogue::DataClass;
use crate::policy::recipient::{ConditionTest, ExpiryAction, OutputValue};
use crate::policy::term::DAY_MS;

fn shipped_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

/// What a `zeef.toml` has beside the shipped statistics.
const STATISTICS_LANE: &str = "[lanes.statistics]\nrecipients = [\"statistics\"]\n";

/// A config folder that can be changed.
struct ConfigFolder(TempDir);

impl ConfigFolder {
    /// Returns the shipped one.
    fn shipped() -> ConfigFolder {
        let folder = ConfigFolder(tempfile::tempdir().unwrap());
        for below in ["detectors", "records", "recipients"] {
            std::fs::create_dir(folder.0.path().join(below)).unwrap();
            for path in list_paths(&shipped_folder().join(below)).unwrap() {
                let name = path.file_name().unwrap().to_str().unwrap();
                let text = std::fs::read_to_string(&path).unwrap();
                folder.write_file(&format!("{below}/{name}"), &text);
            }
        }
        let zeef = std::fs::read_to_string(shipped_folder().join("zeef.toml")).unwrap();
        folder.write_file("zeef.toml", &zeef);
        folder
    }

    fn write_file(&self, file: &str, text: &str) {
        std::fs::write(self.0.path().join(file), text).unwrap();
    }

    fn read_file(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.path().join(file)).unwrap()
    }

    /// Replaces `old`, which must be there, by `new`.
    #[track_caller]
    fn replace_text(&self, file: &str, old: &str, new: &str) {
        let text = self.read_file(file);
        assert!(text.contains(old), "{file} has no {old}");
        self.write_file(file, &text.replacen(old, new, 1));
    }

    #[track_caller]
    fn load(&self) -> LoadedConfig {
        Policy::load(self.0.path())
            .unwrap_or_else(|mistakes| panic!("{}", format_mistakes(&mistakes)))
    }

    fn mistakes(&self) -> Vec<Mistake> {
        Policy::load(self.0.path()).err().unwrap_or_default()
    }

    /// Returns the mistakes, with the folder cut off.
    fn messages(&self) -> Vec<String> {
        let folder = format!("{}/", self.0.path().display());
        let mistakes = self.mistakes();
        mistakes.iter().map(|mistake| mistake.to_string().replace(&folder, "")).collect()
    }
}

#[test]
fn custom_detector_is_used_by_name_and_by_all() {
    let folder = ConfigFolder::shipped();
    let before = folder.load().policy.version;
    let detector = |pattern: &str| {
        format!(
            "[detectors.pupil_number]\ndescription = \"A pupil's number.\"\n\
             pattern = '{pattern}'\nhits = [\"LL-1234\"]\nmisses = [\"LL\", \"1234\"]\n"
        )
    };
    folder.write_file("detectors/own.toml", &detector(r"\bll-\d{1,9}\b"));
    let policy = folder.load().policy;
    let one = policy.custom_detectors.first().unwrap();
    assert_eq!((one.name.as_str(), policy.custom_detectors.len()), ("pupil_number", 1));
    assert_ne!(policy.version, before);
    // Another pattern is another policy, also for the recipient that uses it.
    folder.write_file("detectors/own.toml", &detector(r"\bll-\d{2,9}\b"));
    let changed = folder.load().policy;
    assert_ne!(changed.version, policy.version);
    let version = |policy: &Policy| {
        let mut all = policy.disabled_recipients.iter().chain(&policy.recipients);
        let one = all.find(|one| one.name == "ido-referral").unwrap();
        canonical::recipient_version(policy, one)
    };
    assert_ne!(version(&changed), version(&policy));
    for (detect, mistakes) in
        [("detect = [\"pupil_number\"]", 0), ("detect = [\"pupil_numbre\"]", 1)]
    {
        let folder = ConfigFolder::shipped();
        folder.write_file("detectors/own.toml", &detector(r"\bll-\d{1,9}\b"));
        let field = "{ from = \"branch\" }";
        let detected = format!("{{ from = \"branch\", {detect} }}");
        folder.replace_text("recipients/service-message.toml", field, &detected);
        assert_eq!(folder.mistakes().len(), mistakes, "{:?}", folder.messages());
    }
}

/// In a date there are no words: such a gate would refuse nothing.
#[test]
fn s03_special_words_are_looked_for_in_plain_texts_alone() {
    let rule =
        |path: &str| format!("special_words = {{ field = \"{path}\", list = \"special_words\" }}");
    folder_with_lines(&rule("branch")).load();
    for path in ["due_on", "loaned_at", "renewals", "patron.surname"] {
        let messages = folder_with_lines(&rule(path)).messages().join("\n");
        assert!(messages.contains(&format!("`special_words` in `{path}`")), "{path}: {messages}");
    }
}

#[test]
fn f07_own_borrowers_needs_records_of_patrons() {
    let question = "source = \"question\"\nkey = { pseudonym = \"question_id\" }\nwhen = [{ field = \
                    \"category\", present = true }]\nretention = { term = \"P1Y\", from = \"date\", after = \
                    \"retract\" }\nfields.branch = { from = \"place\" }\n";
    folder_with_lines(question).load();
    folder_with_lines("own_borrowers = true").load();
    let messages = folder_with_lines(&format!("{question}own_borrowers = true")).messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].contains("`own_borrowers` of records without patrons"), "{messages:?}");
}

#[test]
fn f29_record_that_is_a_consent_is_checked() {
    let given = "by_record = { at = \"at\", given_by = \"given_by\", adult = \"adult\" }";
    for (by_record, want) in [
        (
            given.replace("adult = \"adult\"", "adult = \"name\""),
            "`adult` is \"name\", expected a truth value",
        ),
        (
            given.replace("\"given_by\"", "\"name\""),
            "`given_by` is \"name\", expected a text of the record",
        ),
        (
            given.replace("at = \"at\"", "at = \"patron.updated_at\""),
            "`at` is \"patron.updated_at\", expected a date",
        ),
        (given.replace("at = \"at\"", "at = \"contest_ends_on\""), "consent by `contest_ends_on`"),
        (given.replace(", adult = \"adult\"", ""), "no `adult`, expected a truth value"),
        (given.replace("adult =", "adlt ="), "unknown key `adlt`: did you mean `adult`?"),
        (format!("{given}, explicit = true"), "`by_record` beside `explicit = true`"),
        (
            format!("{given}, implied_by = \"patron.online_account.created_at\""),
            "`by_record` beside `implied_by`",
        ),
    ] {
        let folder = ConfigFolder::shipped();
        folder.replace_text("recipients/contest.toml", given, &by_record);
        let messages = folder.messages();
        assert!(messages.iter().any(|one| one.contains(want)), "{want}\n{messages:#?}");
    }
    // A condition may hold without a patron only where a record may have none.
    for (file, from, to) in [
        (
            "contest",
            "field = \"patron.kind\", is = [\"person\"]",
            "field = \"name\", present = true",
        ),
        ("service-message", "is = [\"open\", \"overdue\"]", "is = [\"open\"], or_no_patron = true"),
    ] {
        let folder = ConfigFolder::shipped();
        folder.replace_text(&format!("recipients/{file}.toml"), from, to);
        let messages = folder.messages().join("\n");
        assert!(messages.contains("`or_no_patron` where it says nothing"), "{messages}");
    }
}

/// A detector's table, by its name, the key of the pattern, the pattern, hits and misses.
fn detector_table(name: &str, (key, pattern): (&str, &str), hits: &str, misses: &str) -> String {
    format!(
        "[detectors.{name}]\ndescription = \"x\"\n{key} = '{pattern}'\nhits = {hits}\n\
         misses = {misses}\n"
    )
}

#[test]
fn custom_detector_with_a_mistake_is_refused() {
    let (a, b) = (r#"["a"]"#, r#"["b"]"#);
    for (text, want) in [
        (
            detector_table("bsn", ("pattern", "a"), a, b),
            "detectors/own.toml:1: the detector `bsn`, expected lower case with underscores, and \
             no name of zeef's own detectors",
        ),
        (
            detector_table("x", ("pattern", "a("), a, b),
            "detectors/own.toml:3: `pattern` cannot be used: unclosed group, expected a regular \
             expression of Rust's `regex`, which has no look-around",
        ),
        (
            detector_table("x", ("pattern", "a"), r#"["a", "c"]"#, b),
            "detectors/own.toml:4: `pattern` finds nothing in \"c\", expected an example of \
             `hits` for which that holds, or another pattern",
        ),
        (
            detector_table("x", ("pattern", "a"), a, r#"["Á"]"#),
            "detectors/own.toml:5: `pattern` finds something in \"Á\", expected an example of \
             `misses` for which that holds, or another pattern",
        ),
        (
            detector_table("x", ("pattern", "a"), "[]", b),
            "detectors/own.toml:4: no text in `hits`, expected at least one",
        ),
        (
            detector_table("x", ("patern", "a"), a, b),
            "unknown key `patern`: did you mean `pattern`?",
        ),
    ] {
        let folder = ConfigFolder::shipped();
        folder.write_file("detectors/own.toml", &text);
        let messages = folder.messages();
        assert!(messages.iter().any(|one| one.contains(want)), "{want}\n{messages:#?}");
    }
    let folder = ConfigFolder::shipped();
    for file in ["own", "second"] {
        let text = detector_table("x", ("pattern", "a"), a, b);
        folder.write_file(&format!("detectors/{file}.toml"), &text);
    }
    let want = "detectors/second.toml: the detector `x`, which another file has, expected one of \
                each name";
    assert!(folder.messages().contains(&want.to_owned()), "{:?}", folder.messages());
}

/// A folder, a group or a user of that name would be two parties' at once.
#[test]
fn recipient_name_reserved_for_zeef_is_refused() {
    for name in ["zeef", "zeef-admin", "zeef-repair", "operator"] {
        let folder = ConfigFolder::shipped();
        let text = folder.read_file("recipients/statistics.toml");
        let text = text.replace("\"statistics\"", &format!("\"{name}\""));
        let text = text.replace("out.statistics", "out.another");
        folder.write_file(&format!("recipients/{name}.toml"), &text);
        let messages = folder.messages().join("\n");
        assert!(messages.contains(&format!("recipients/{name}.toml:")), "{messages}");
        assert!(messages.contains("are zeef's"), "{messages}");
    }
}

fn format_mistakes(mistakes: &[Mistake]) -> String {
    let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn load_shipped() -> LoadedConfig {
    Policy::load(&shipped_folder())
        .unwrap_or_else(|mistakes| panic!("{}", format_mistakes(&mistakes)))
}

#[test]
fn shipped_config_loads_without_mistakes() {
    let loaded = load_shipped();
    // What is switched off may still lack its papers and lists.
    assert!(loaded.notes.is_empty(), "{:?}", loaded.notes);
    let is_of_disabled = |note: &String| note.ends_with(": before it can be enabled");
    assert!(loaded.notes_of_disabled.iter().all(is_of_disabled), "{:?}", loaded.notes_of_disabled);
    let names: Vec<_> = loaded.policy.recipients.iter().map(|one| one.name.as_str()).collect();
    for name in ["deurwaarder", "ill-library", "kb-membership", "kb-recognition", "statistics"] {
        assert!(names.contains(&name), "{name}");
    }
    let off: Vec<_> = loaded.policy.disabled_recipients.iter().map(|one| &*one.name).collect();
    for name in ["collection-agency", "deurwaarder-rrn", "ill-library-contact", "school"] {
        assert!(off.contains(&name), "{name}");
    }
    let lanes: Vec<_> = loaded.daemon.lanes.iter().collect();
    let [main, statistics] = lanes.as_slice() else {
        panic!("{lanes:?}");
    };
    let others: Vec<_> = names.iter().filter(|name| **name != "statistics").collect();
    assert_eq!(main.recipients.iter().collect::<Vec<_>>(), others);
    assert_eq!(statistics.recipients, ["statistics"]);
    assert_eq!(loaded.policy.version.len(), 64);
    for recipient in &loaded.policy.recipients {
        assert_eq!(recipient.topics.to_string(), format!("out.{}", recipient.name));
    }
}

#[test]
fn shipped_recipients_have_their_output_fields_in_order() {
    #[track_caller]
    fn check(name: &str, basis: &str, want: &str) {
        let loaded = load_shipped();
        let mut all = loaded.policy.all_recipients();
        let recipient = all.find(|one| one.name == name).unwrap();
        let fields: Vec<_> =
            recipient.output_fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(fields.join(" "), want, "{name}");
        assert_eq!(recipient.legal_basis.into_str(), basis, "{name}");
    }
    check(
        "reservation-slip",
        "contract",
        "shelf_mark initial card_suffix title pickup_branch expires_on slip",
    );
    let narrow = "request_id name card_number supplying_library title author isbn issn volume \
                  pages service needed_by";
    check("ill-library", "contract", narrow);
    check("ill-library-contact", "contract", &format!("{narrow} email phone"));
    check(
        "kb-recognition",
        "legal_obligation",
        "member_ref card_number library membership_type valid_from valid_until birth_year",
    );
    check(
        "kb-membership",
        "consent",
        "member_ref card_number library membership_type valid_from valid_until birth_date initials \
         surname_prefix surname email home_branch",
    );
    check(
        "deurwaarder",
        "contract",
        "name birth_date address email phone card_number debt_id kind items amount_cents currency \
         referred_at",
    );
    check("service-message", "contract", "name email mobile title due_on branch");
    check("ido-output", "public_task", "place date category outcome");
    check("ido-referral", "public_task", "organisation salutation surname phone email description");
    check(
        "statistics",
        "public_task",
        "loan_ref patron_ref library branch material loaned_month status renewals age_band \
         postcode_area",
    );
}

#[test]
fn shipped_output_values_match_their_files() {
    let loaded = load_shipped();
    let slip = loaded.policy.recipient("reservation-slip").unwrap();
    let OutputValue::ShelfSlip {
        shelf_mark_index: mark,
        initial_index: initial,
        line_indices: rest,
    } = &slip.output_fields[6].value
    else {
        panic!("no slip");
    };
    assert_eq!((*mark, *initial, rest.as_slice()), (0, 1, [2, 3, 4, 5].as_slice()));
    assert_eq!(loaded.policy.record_kinds[slip.source_kind_index].name, "reservation");

    let debts = loaded.policy.recipient("deurwaarder").unwrap();
    let OutputValue::Object { from, fields } = &debts.output_fields[2].value else {
        panic!("no object");
    };
    assert!(from.is_joined && from.path == "address" && fields[0].path == "address.street");
    let OutputValue::ObjectList { from, fields } = &debts.output_fields[8].value else {
        panic!("no list");
    };
    assert!(!from.is_joined && from.path == "items[]" && fields[1].path == "items[].due_on");
    assert!(matches!(debts.conditions[2].test, ConditionTest::Present));

    let member = loaded.policy.recipient("kb-membership").unwrap();
    let event = &member.consent.as_ref().unwrap().implied_by.as_ref().unwrap().at;
    assert_eq!((event.is_joined, event.path.as_str()), (false, "online_account.created_at"));
}

#[test]
fn policy_version_changes_only_with_decisions() {
    let before = load_shipped().policy;
    let same = |file: &str, old: &str, new: &str| {
        let folder = ConfigFolder::shipped();
        folder.replace_text(file, old, new);
        assert_eq!(folder.load().policy.canonical_text, before.canonical_text, "{file}: {old}");
    };
    same("recipients/statistics.toml", "# For how long?", "# Hoe lang?");
    same("recipients/statistics.toml", "legal_basis   =", "legal_basis =");
    same("recipients/statistics.toml", "title         = \"Statistiek", "title = \"De statistiek");
    same("records/loan.toml", "meaning = \"ISBN\"", "meaning = \"the ISBN\"");
    same("zeef.toml", "# brokers", "brokers = \"kafka:9092\" #");
    same("zeef.toml", "# min_hidden = 3", "min_hidden = 3");
    same("zeef.toml", "# patron = \"P2Y\"", "patron = \"P2Y\"");
    same("zeef.toml", "# days = 30", "days = 7");

    let other = |file: &str, old: &str, new: &str| {
        let folder = ConfigFolder::shipped();
        folder.replace_text(file, old, new);
        let after = folder.load().policy;
        assert_ne!(after.version, before.version, "{file}: {old}");
        assert_ne!(after.canonical_text, before.canonical_text);
    };
    other("recipients/statistics.toml", "P2Y", "P1Y");
    other("recipients/statistics.toml", "library       = { from = \"library\" }\n", "");
    other("recipients/statistics.toml", "public_task", "legitimate_interest");
    other("recipients/statistics.toml", "libraries     = \"all\"", "libraries = [\"NL-A\"]");
    other("recipients/statistics.toml", "[0, 12,", "[0, 10,");
    other("recipients/reservation-slip.toml", "count = 2", "count = 1");
    other("recipients/service-message.toml", "[\"open\", \"overdue\"]", "[\"open\"]");
    other("recipients/service-message.toml", "title  =", "titel  =");
    other("recipients/service-message.toml", "out.service-message", "out.message");
    other("recipients/kb-recognition.toml", "source       =", "enabled = false\nsource =");
    other(
        "recipients/kb-recognition.toml",
        "de standaardlogin, gaat niet mee",
        "van het inloggen, gaat niet mee",
    );
    other("recipients/deurwaarder.toml", "\"invoiced_at\", \"referred_at\"]", "\"referred_at\"]");
    other("records/loan.toml", "topic = \"loan\"", "topic = \"loans\"");
    other("zeef.toml", "# min_hidden = 3", "min_hidden = 4");
    other("zeef.toml", "# patron = \"P2Y\"", "patron = \"P1Y\"");
    other("zeef.toml", "# surname_key = \"default\"", "surname_key = \"full\"");
}

#[test]
fn canonical_form_matches_snapshot() {
    insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "../../../tests/snapshots" }, {
        insta::assert_snapshot!("canonical", load_shipped().policy.canonical_text);
    });
}

/// The shipped recipient `service-message` with one change, and what is told.
#[track_caller]
fn assert_service_message_mistakes(old: &str, new: &str, want: &[&str]) {
    assert_mistakes_in("recipients/service-message.toml", old, new, want);
}

#[track_caller]
fn assert_mistakes_in(file: &str, old: &str, new: &str, want: &[&str]) {
    let folder = ConfigFolder::shipped();
    folder.replace_text(file, old, new);
    let messages = folder.messages();
    let strip = |text: &String| {
        let text = text.strip_prefix(file).unwrap_or(text);
        let digits = text.trim_start_matches(|c: char| c == ':' || c.is_ascii_digit());
        digits.trim_start_matches([':', ' ']).to_owned()
    };
    let messages: Vec<_> = messages.iter().map(strip).collect();
    assert_eq!(messages, want);
}

#[test]
fn load_reports_each_mistake_in_a_recipient() {
    assert_service_message_mistakes(
        "patron.surname",
        "patron.surnam",
        &["unknown field `patron.surnam`: did you mean `patron.surname`?"],
    );
    assert_service_message_mistakes(
        "from = \"item.title\"",
        "from = \"title\"",
        &["unknown field `title`: did you mean `item.title`?"],
    );
    assert_service_message_mistakes(
        "from = \"branch\"",
        "from = \"xyzzy\"",
        &["unknown field `xyzzy`, expected a field of `loan`, as `zeef list fields` shows them"],
    );
    assert_service_message_mistakes(
        "from = \"branch\"",
        "form = \"branch\"",
        &["unknown key `form`: did you mean `from`?"],
    );
    assert_service_message_mistakes(
        "full_name",
        "fullname",
        &[
            "unknown mask `fullname`: did you mean `full_name`? (expected one of those that `zeef list \
         masks` shows)",
        ],
    );
    assert_service_message_mistakes(
        "{ from = \"branch\" }",
        "\"branch\"",
        &["`branch` is a string, expected a table, as { from = \"item.title\" }"],
    );
    assert_service_message_mistakes(
        "{ from = \"branch\" }",
        "{ from = \"patron.address\" }",
        &[
            "`patron.address` without a list of its sub-fields, expected `fields`, the sub-fields that \
         are kept, of `street`, `house_number`, `house_number_suffix`, `postcode`, `city`, `country`",
        ],
    );
    assert_service_message_mistakes(
        "{ from = \"branch\" }",
        "{ from = \"patron.address\", fields = [\"stret\"] }",
        &[
            "unknown sub-field `stret` of `patron.address`: did you mean `street`? (expected one of \
         `street`, `house_number`, `house_number_suffix`, `postcode`, `city`, `country`)",
        ],
    );
    assert_service_message_mistakes(
        "{ from = \"branch\" }",
        "{ from = \"patron.interests\" }",
        &["unknown field `patron.interests`: did you mean `patron.interests[]`?"],
    );
    assert_service_message_mistakes(
        "{ from = \"branch\" }",
        "{ from = \"branch\", mask = \"year\" }",
        &["this mask on `branch`, expected a date or an instant"],
    );
    assert_service_message_mistakes(
        "{ from = \"branch\" }",
        "{ from = \"item.title\", mask = \"full_name\" }",
        &[
            "this mask on `item.title`, expected a field that has `initials` beside it",
            "this mask on `item.title`, expected a field that has `surname_prefix` beside it",
        ],
    );
    assert_service_message_mistakes(
        "{ from = \"branch\" }",
        "{ from = \"branch\", mask = \"last_digits\", count = 0 }",
        &["`count` is 0, expected a whole number from 1 to 20"],
    );
    assert_service_message_mistakes(
        "{ from = \"branch\" }",
        "{ from = \"branch\", detect = [\"bsm\"] }",
        &["unknown detector `bsm`: did you mean `bsn`? (expected one of those that `zeef list \
         detectors` shows)"],
    );
    assert_service_message_mistakes(
        "{ from = \"branch\" }",
        "{ mask = \"constant\", value = \"x\", from = \"branch\" }",
        &["`from` in field `branch`, expected none: it says nothing of such a field"],
    );
    assert_service_message_mistakes(
        "is = [\"open\", \"overdue\"]",
        "is = [\"open\", \"overdu\"]",
        &["`status` is \"overdu\": did you mean `overdue`? (expected one of `open`, `overdue`, \
         `returned`, `lost`, `damaged`)"],
    );
    assert_service_message_mistakes(
        "is = [\"open\", \"overdue\"]",
        "is = \"open\"",
        &["`is` is \"open\", expected a list of values, as [\"open\", \"overdue\"]"],
    );
    assert_service_message_mistakes(
        "is = [\"open\", \"overdue\"]",
        "is = [\"open\"], present = true",
        &["both `is` and `present` in a condition, expected one of the two"],
    );
    for (condition, want) in [
        (
            "field = \"status\"",
            "a condition that asks nothing, expected `is`, `present`, `not_before` and `before`, or \
             `above` and `below`",
        ),
        ("field = \"due_on\", befor = \"now\"", "unknown key `befor`: did you mean `before`?"),
        (
            "field = \"due_on\", before = \"today\"",
            "`before` is \"today\", expected `now`, or a period from it, as `now-P16Y` or `now+P30D`",
        ),
        (
            "field = \"due_on\", not_before = \"now-16Y\"",
            "`not_before` is \"now-16Y\", expected `now`, or a period from it, as `now-P16Y` or \
             `now+P30D`",
        ),
        (
            "field = \"due_on\", not_before = \"now\", before = \"now-P1D\"",
            "`not_before now, before now-P1D`, expected bounds with a time between them",
        ),
        (
            "field = \"status\", before = \"now\"",
            "a time for `status`, which is of type `text`, expected a date or an instant",
        ),
        (
            "field = \"due_on\", before = \"now\", present = true",
            "both `present` and `before` in a condition, expected one of the two",
        ),
        (
            "field = \"renewals\", before = \"now\"",
            "a time for `renewals`, which is of type `integer`, expected a date or an instant",
        ),
        (
            "field = \"due_on\", above = 0",
            "a number for `due_on`, which is of type `date`, expected a field of type `integer`",
        ),
        ("field = \"renewals\", above = \"0\"", "`above` is \"0\", expected a whole number"),
        (
            "field = \"renewals\", above = 4, below = 5",
            "`above 4, below 5`, expected bounds with a whole number between them",
        ),
    ] {
        let text =
            format!("[{{ {condition} }}, {{ field = \"status\", is = [\"open\", \"overdue\"]");
        let first = "[{ field = \"status\", is = [\"open\", \"overdue\"]";
        assert_service_message_mistakes(first, &text, &[want]);
    }
    assert_service_message_mistakes(
        "field = \"status\", is = [\"open\", \"overdue\"]",
        "field = \"renewals\", is = [\"1\"]",
        &["`renewals` is \"1\", expected a whole number"],
    );
    assert_service_message_mistakes(
        "pseudonym = \"loan_id\"",
        "pseudonym = \"branch\"",
        &["a key of `branch`, expected a field of the class `identifier`"],
    );
    assert_service_message_mistakes(
        "pseudonym = \"loan_id\"",
        "pseudonym = \"patron_id\"",
        &[
            "a key of `patron_id`, expected the record's own id: two records of one patron would have \
         one key",
        ],
    );
    assert_service_message_mistakes(
        "\"P1Y\"",
        "\"1 year\"",
        &["`term` is \"1 year\", expected an ISO 8601 period of years, months, weeks or days, as \
         P14D, P18M or P1Y"],
    );
    assert_service_message_mistakes(
        "from = \"due_on\", after",
        "from = \"branch\", after",
        &["a term from `branch`, expected a date or an instant"],
    );
    assert_service_message_mistakes(
        "source       = \"loan\"",
        "source       = \"loans\"",
        &[
            "unknown kind of record `loans`: did you mean `loan`? (expected one of `consent`, `debt`, \
         `demand`, `ill_request`, `loan`, `objection`, `participation`, `patron`, `question`, `referral`, `reservation`, \
         `settlement`)",
        ],
    );
    assert_service_message_mistakes(
        "\"service-message\"\ntitle",
        "\"service\"\ntitle",
        &["`name` is \"service\", expected \"service-message\", as the file is called"],
    );
    assert_service_message_mistakes(
        "\"contract\"",
        "\"contracts\"",
        &[
            "`legal_basis` is \"contracts\": did you mean `contract`? (expected the legal basis (GDPR \
         art. 6): one of `consent`, `contract`, `legal_obligation`, `vital`, `public_task`, \
         `legitimate_interest`)",
        ],
    );
    assert_service_message_mistakes(
        "libraries    = \"all\"",
        "libraries = [\"nl-a\"]",
        &["library \"nl-a\", expected an ISIL, as `NL-AmrBKW`"],
    );
    assert_service_message_mistakes(
        "out.service-message",
        "out/service",
        &[
            "`topic` is \"out/service\", expected a topic: letters, digits, `.`, `_` and `-`, neither \
         `.` nor `..`, 200 at most",
        ],
    );
    assert_service_message_mistakes(
        "flows        = [\"F26\"]",
        "flows = [\"26\"]",
        &["flow \"26\", expected ids of flows that `zeef list flows` shows, as F01"],
    );
    assert_service_message_mistakes(
        "[fields]",
        "[field]",
        &["unknown key `field`: did you mean `fields`?"],
    );
}

#[test]
fn load_refuses_invalid_stages() {
    #[track_caller]
    fn check(stages: &str, want: &[&str]) {
        let file = "recipients/deurwaarder.toml";
        let shipped = "[\"reminded_at\", \"invoiced_at\", \"referred_at\"]";
        assert_mistakes_in(file, shipped, stages, want);
    }
    let shipped = load_shipped().policy;
    let stages = &shipped.recipient("deurwaarder").unwrap().stages;
    let paths: Vec<_> = stages.iter().map(|field| field.path.as_str()).collect();
    assert_eq!(paths, ["reminded_at", "invoiced_at", "referred_at"]);
    check(
        "[\"reminded_at\", \"invoicd_at\"]",
        &["unknown field `invoicd_at`: did you mean `invoiced_at`?"],
    );
    check(
        "[\"reminded_at\"]",
        &["fewer than two fields in `stages`, expected at least two instants or dates of the \
         record, in the order in which they must follow each other; `now` may be the last"],
    );
    check(
        "[\"reminded_at\", \"now\"]",
        &["fewer than two fields in `stages`, expected at least two instants or dates of the \
         record, in the order in which they must follow each other; `now` may be the last"],
    );
    check(
        "[\"now\", \"reminded_at\", \"invoiced_at\"]",
        &["unknown field `now`, expected a field of `debt`, as `zeef list fields` shows them"],
    );
    check(
        "[\"reminded_at\", \"stage\"]",
        &["the stage `stage`, expected one instant, or one date"],
    );
    check(
        "[\"reminded_at\", \"reminded_at\", \"invoiced_at\"]",
        &["\"reminded_at\" twice in `stages`, expected it once"],
    );
    check(
        "[\"patron.updated_at\", \"reminded_at\"]",
        &["the stage `patron.updated_at`, expected a field of the record itself"],
    );
    assert_mistakes_in(
        "recipients/service-message.toml",
        "libraries    = \"all\"",
        "libraries = \"all\"\nstages = [\"loaned_at\", \"due_on\"]",
        &["the stage `due_on` beside others, expected all of them instants, or all of them dates"],
    );
}

#[test]
fn f18_agreement_expiry_keeps_or_retracts_outputs() {
    const PAPER: &str = "agreement = { reference = \"A\", clauses = [\"use\", \"security\", \
                         \"confidentiality\"], from = \"2026-01-01\", until = \"2026-01-31\"";
    let file = "recipients/service-message.toml";
    let line = "libraries    = \"all\"";
    let with = |paper: &str| {
        let folder = ConfigFolder::shipped();
        folder.replace_text(file, line, &format!("{line}\nrole = \"processor\"\n{paper}"));
        let policy = folder.load().policy;
        let recipient = policy.recipient("service-message").unwrap();
        (recipient.agreement.clone().unwrap(), policy.version)
    };
    let (kept, version) = with(&format!("{PAPER} }}"));
    assert_eq!(kept.after, ExpiryAction::Keep);
    let day = |text| crate::policy::form::Date::parse(text).unwrap().to_unix_ms();
    assert_eq!(kept.in_force_interval_ms(), (day("2026-01-01"), day("2026-02-01")));
    assert_eq!(with(&format!("{PAPER}, after = \"keep\" }}")).1, version);
    let (taken, other) = with(&format!("{PAPER}, after = \"retract\" }}"));
    assert_eq!(taken.after, ExpiryAction::Retract);
    assert_ne!(other, version);
    assert_mistakes_in(
        file,
        line,
        &format!("{line}\nrole = \"processor\"\n{PAPER}, after = \"retrac\" }}"),
        &["`after` is \"retrac\": did you mean `retract`? (expected what happens to what the \
           recipient has, when it is no longer in force: one of `keep`, `retract`)"],
    );
}

#[test]
fn f09_recipient_that_uses_national_numbers_is_detected() {
    #[track_caller]
    fn check(lines: &str, want: bool) {
        let paper = "authorisation = { reference = \"A\", approved_by = \"B\", approved_on = \
                     2026-01-01, from = 2026-01-01, until = 2030-01-01 }";
        let loaded = folder_with_lines(&format!("{lines}\n{paper}")).load();
        let recipient = loaded.policy.recipient("example").unwrap();
        assert_eq!(
            recipient.releases_national_numbers(&loaded.policy.record_kinds),
            want,
            "{lines}"
        );
    }
    check("fields.number = { from = \"patron.rijksregisternummer\" }", true);
    check("fields.number = { from = \"patron.rijksregisternummer\", mask = \"present\" }", true);
    let asked = "when = [{ field = \"status\", is = [\"open\"] }, { field = \
                 \"patron.rijksregisternummer\", present = true }]";
    check(asked, true);
    check("fields.card = { from = \"patron.card_number\" }", false);
}

#[test]
fn f01_slip_mask_must_name_fields_above_it() {
    let file = "recipients/reservation-slip.toml";
    assert_mistakes_in(
        file,
        "mark = \"shelf_mark\"",
        "mark = \"shelfmark\"",
        &[
            "`mark` names `shelfmark`: did you mean `shelf_mark`? (expected an output field above this \
         one, of one value)",
        ],
    );
    assert_mistakes_in(
        file,
        ", lines = [\"card_suffix\",",
        ", lines = [\"slip\",",
        &["`lines` names `slip`, expected an output field above this one, of one value"],
    );
}

#[test]
fn age_band_reference_date_must_be_of_the_source() {
    let file = "recipients/statistics.toml";
    assert_mistakes_in(
        file,
        "at = \"loaned_at\"",
        "at = \"patron.updated_at\"",
        &["`at` is \"patron.updated_at\", expected a date or an instant of the source itself"],
    );
    assert_mistakes_in(
        file,
        "at = \"loaned_at\"",
        "at = \"branch\"",
        &["`at` is \"branch\", expected a date or an instant of the source itself"],
    );
    assert_mistakes_in(
        file,
        ", at = \"loaned_at\"",
        "",
        &["no `at`, expected the path of a field of the source"],
    );
}

#[test]
fn patron_prefix_is_not_needed_on_patron_source() {
    let file = "recipients/kb-recognition.toml";
    assert_mistakes_in(
        file,
        "{ from = \"library\" }",
        "{ from = \"patron.library\" }",
        &["`patron.library` where patrons are the source themselves: did you mean `library`?"],
    );
    let folder = ConfigFolder::shipped();
    let event = "online_account.created_at";
    folder.replace_text("recipients/kb-membership.toml", event, &format!("patron.{event}"));
    assert_eq!(folder.load().policy.version, load_shipped().policy.version);
}

#[test]
fn load_reports_each_mistake_in_a_kind() {
    let file = "records/loan.toml";
    assert_mistakes_in(
        file,
        "type = \"instant\"",
        "type = \"instnat\"",
        &[
            "unknown type `instnat`: did you mean `instant`? (expected one of `text`, `card_number`, \
         `integer`, `boolean`, `text_or_number`, `date`, `instant`, `email`, `phone`, `iban`, \
         `bsn`, `rijksregisternummer`, `isil`, `currency`)",
        ],
    );
    assert_mistakes_in(
        file,
        "class = \"free_text\"",
        "class = \"freetext\"",
        &[
            "`class` is \"freetext\": did you mean `free_text`? (expected what the field is to the law: \
         one of `plain`, `personal`, `contact`, `identifier`, `financial`, `national_id`, \
         `special`, `free_text`, `secret`, `event`)",
        ],
    );
    assert_mistakes_in(
        file,
        "id    = \"loan_id\"",
        "id    = \"loan\"",
        &["no field `loan`, expected it among the fields: every record must have it"],
    );
    assert_mistakes_in(
        file,
        "topic = \"loan\"",
        "topic = \"patron\"",
        &["records/patron.toml:8: the topic `patron` of `loan`, expected a topic of its own"],
    );
    assert_mistakes_in(
        file,
        "\"item.isbn\"     =",
        "item.isbn =",
        &[
            "fields under `item` without quotes, expected the whole path in quotes, as \"item.name\" = \
         { ... }",
        ],
    );
    assert_mistakes_in(
        file,
        "name  = \"loan\"",
        "nmae  = \"loan\"",
        &["unknown key `nmae`: did you mean `name`?"],
    );
    assert_mistakes_in(
        "records/objection.toml",
        "key   = \"patron\"",
        "key = \"none\"",
        &["`objection` without a patron, expected `key = \"patron\"`"],
    );
    assert_mistakes_in(
        "records/objection.toml",
        "role  = \"gate\" ",
        "role = \"record\"",
        &["`objection` without the role of a gate, expected `role = \"gate\"`"],
    );
    assert_mistakes_in(
        "records/objection.toml",
        "\nstatus ",
        "\nstate ",
        &[
            "no field `status` in `objection`: did you mean `state`? (expected it among the fields: what \
             patrons decide is read from it)",
        ],
    );
    assert_mistakes_in(
        "records/consent.toml",
        "at            = { type = \"instant\"",
        "at = { type = \"date\"",
        &["`at` of another type in `consent`, expected the type `instant`"],
    );
    let file = "records/debt.toml";
    let folder = ConfigFolder::shipped();
    folder.replace_text(file, "key   = \"patron\"", "key = \"none\"");
    let messages = folder.messages();
    let has_no_patron = |line: &&String| line.contains("on a source whose records have no patron");
    let (without_patron, others): (Vec<&String>, Vec<&String>) =
        messages.iter().partition(|line| has_no_patron(line));
    let of_file =
        without_patron.iter().filter(|line| line.starts_with("recipients/deurwaarder.toml"));
    assert_eq!(of_file.count(), 6, "{messages:#?}");
    let settles = "`settles = \"debt\"`, expected a kind of records of patrons";
    assert_eq!(others.iter().filter(|line| line.contains(settles)).count(), 1, "{messages:#?}");
}

#[test]
fn f16_summary_is_checked() {
    let file = "recipients/kb-recognition.toml";
    let old = "library         = { from = \"library\" }";
    let one = "where = [{ field = \"currency\", is = [\"EUR\"] }]";
    for (new, want) in [
        (
            format!("{{ sum = \"dept.amount_cents\", {one} }}"),
            "unknown kind of record `dept`: did you mean `debt`? (expected one of `debt`, `demand`, `ill_request`, `loan`, `participation`, `referral`, `reservation`)",
        ),
        (
            format!("{{ sum = \"debt.amount_cent\", {one} }}"),
            "unknown field `amount_cent`: did you mean `amount_cents`?",
        ),
        (
            format!("{{ sum = \"debt\", {one} }}"),
            "a sum of `debt`, expected KIND.PATH, as debt.amount_cents",
        ),
        (
            format!("{{ sum = \"debt.stage\", {one} }}"),
            "a sum of `debt.stage`, expected a field of type `integer`",
        ),
        (
            "{ sum = \"debt.amount_cents\" }".to_owned(),
            "a sum of `debt` in more than one currency, expected a condition on one currency, as { field = \"currency\", same_as = \"membership.currency\", or_else = \"EUR\" }",
        ),
        (
            "{ count = \"consent\" }".to_owned(),
            "records of `consent`, expected a kind of records that belong to patrons",
        ),
        (
            "{ count = \"loan\" }".to_owned(),
            "returned loans, expected a condition on `status` without `returned`: its patron may keep no loan history",
        ),
        (
            "{ count = \"debt\", any = \"debt\" }".to_owned(),
            "`count`, `any` in field `library`, expected one of them",
        ),
        ("{ any = \"debt\" }".to_owned(), "no `as`, expected the word that says that there is one"),
        (
            "{ count = \"debt\", where = [{ field = \"stage\", is = [\"colection\"] }] }"
                .to_owned(),
            "`stage` is \"colection\": did you mean `collection`? (expected one of `reminder`, `invoice`, `collection`)",
        ),
        (
            "{ count = \"debt\", where = [{ field = \"library\", same_as = \"libary\" }] }"
                .to_owned(),
            "unknown field `libary`: did you mean `library`?",
        ),
        (
            "{ list = \"debt\", fields = [\"items[]\"] }".to_owned(),
            "`items[]` of each record, expected a field that is one value, and no card number or national number",
        ),
        (
            "{ list = \"debt\", fields = [\"stage\"], order = [\"stage\"] }".to_owned(),
            "an order by `stage`, expected a field of type `date`",
        ),
        ("{ count = \"debt\", form = 1 }".to_owned(), "unknown key `form`: did you mean `from`?"),
    ] {
        assert_mistakes_in(file, old, &format!("library = {new}"), &[want]);
    }
    let want = "records of the patron in a recipient of `loan`, expected a recipient whose source is the kind of patrons";
    assert_service_message_mistakes("{ from = \"due_on\" }", "{ count = \"debt\" }", &[want]);
}

/// All rules see what a summary is made of.
#[test]
fn f16_rules_see_the_fields_of_a_summary() {
    let file = "recipients/kb-recognition.toml";
    let old = "library         = { from = \"library\" }";
    let new = "library = { list = \"debt\", fields = [\"note\"] }";
    let want = "the free text `debt.note`, expected a field of its own with `detect = \"all\"`, or `free_text_reason` on record [rule free-text]";
    assert_mistakes_in(file, old, new, &[want]);
    let new = "library = { count = \"debt\", where = [{ field = \"note\", present = true }] }";
    assert_mistakes_in(file, old, new, &[want]);
}

#[test]
fn f13_first_of_several_values_is_checked() {
    let check = |new: &str, want: &str| {
        let folder = ConfigFolder::shipped();
        let old = "library         = { from = \"library\" }";
        folder.replace_text("recipients/kb-recognition.toml", old, new);
        let messages = folder.messages();
        assert!(messages.len() == 1 && messages[0].contains(want), "{messages:?}");
    };
    let language = "{ from = \"language\" }";
    let no_text = "in `first` of field `library`, expected a text in no list, or a mask that makes one of a value; no pseudonym, and nothing that is always there";
    for (second, want) in [
        ("{ from = \"membership.fee_cents\" }", no_text),
        ("{ from = \"interests[]\" }", no_text),
        ("{ from = \"address\" }", no_text),
        ("{ from = \"membership.id\", mask = \"pseudonym\" }", no_text),
        ("{ from = \"salutation\", mask = \"or_else\", value = \"x\" }", no_text),
        (language, "a field twice in `first` of field `library`, expected each field once"),
        ("{ from = \"langage\" }", "unknown field `langage`: did you mean `language`?"),
        ("{ mask = \"year\" }", "no `from`, expected the path of a field"),
        ("{ from = \"surname\", mask = \"ful_name\" }", "unknown mask `ful_name`"),
        ("{ from = \"salutation\", form = 1 }", "unknown key `form`"),
    ] {
        let new = format!("library = {{ first = [{language}, {second}] }}");
        check(&new, want);
    }
    let new = format!("library = {{ first = [{language}] }}");
    let want = "fewer than two values in `first` of field `library`, expected { from = \"PATH\", mask = \"NAME\" }, best first, at least two";
    check(&new, want);
    let new = format!(
        "library = {{ mask = \"year\", first = [{language}, {{ from = \"salutation\" }}] }}"
    );
    check(&new, "`mask` in field `library`");
    // The rules see all of them.
    let new = format!("library = {{ first = [{language}, {{ from = \"note\" }}] }}");
    check(&new, "the free text `note`");
    let new = format!("library = {{ first = [{language}, {{ from = \"bsn\" }}] }}");
    check(&new, "the BSN `bsn`");
}

#[test]
fn f10_kind_that_settles_is_checked() {
    let file = "records/settlement.toml";
    let settles = "settles = \"debt\" ";
    for (old, new, want) in [
        (
            settles,
            "settles = \"dept\" ",
            "no kind of record is called `dept`: did you mean `debt`? (expected the name of a kind, as its file is called)",
        ),
        (
            settles,
            "settles = \"patron\" ",
            "`settles = \"patron\"`, expected a kind of records of patrons",
        ),
        (
            settles,
            "settles = \"loan\" ",
            "no text `loan_id` in `settlement`, expected it among the fields: it names the `loan`",
        ),
        (
            settles,
            "settles = 1 ",
            "`settles` is 1, expected a string: the kind whose records it settles",
        ),
        (
            "role    = \"gate\" ",
            "role = \"record\"",
            "`settles` without the role of a gate, expected `role = \"gate\"`",
        ),
        (
            "key     = \"patron\"",
            "key = \"none\"",
            "`settles` without a patron, expected `key = \"patron\"`",
        ),
        (
            "gone          = { type = \"boolean\"",
            "gone = { type = \"text\"",
            "`gone` is \"gone\", which is no boolean, expected the path of the boolean that says \
             that the source no longer has a record",
        ),
    ] {
        assert_mistakes_in(file, old, new, &[want]);
    }
}

#[test]
fn load_reports_each_mistake_in_the_settings() {
    let check =
        |old: &str, new: &str, want: &[&str]| assert_mistakes_in("zeef.toml", old, new, want);
    check(
        "# records = 50000",
        "records = 0",
        &["`records` is 0, expected a whole number from 1 to 1000000: records of a batch"],
    );
    check(
        "# enabled = false",
        "refusals = [\"consnt\", \"x\"]\nregister = \"here\"",
        &[
            "unknown refusal `consnt`: did you mean `consent`?",
            "unknown refusal `x`, expected which refusals are written down: consent, objection, authorisation, demand, condition, term",
            "`register` is \"here\", expected a URI below which the activities of the register are found",
        ],
    );
    check(
        "# listen = \"127.0.0.1:9464\"",
        "listen = \"localhost\"",
        &[
            "`listen` is \"localhost\", expected an address and port, as \"127.0.0.1:9464\", or \"none\"",
        ],
    );
    check(
        "# deurwaarder = { records_per_s",
        "deurwarder = { records_per_s",
        &["unknown recipient `deurwarder`: did you mean `deurwaarder`?"],
    );
    check(
        "# sasl.password = { env = \"ZEEF_SASL_PASSWORD\" }",
        "sasl.password = \"geheim\"",
        &[
            "the secret `sasl.password` in the file itself, expected { env = \"NAME\" } or { file = \
         \"PATH\" }",
        ],
    );
    check(
        "# deurwaarder = { env = \"ZEEF_KEY_DEURWAARDER\" }",
        "deurwaarder = \"a:geheim\"",
        &["the key of `deurwaarder` in the file itself, expected { env = \"NAME\" } or { file = \
         \"PATH\" }"],
    );
    check(
        "# deurwaarder = { env = \"ZEEF_KEY_DEURWAARDER\" }",
        "deurwaarder = { env = \"ge heim\" }",
        &[
            "`env` names no variable, expected the name of an environment variable: letters, digits \
         and underscores",
        ],
    );
    check(
        "[lanes.main]",
        "[lanes.a]\nrecipients = [\"deurwaarder\"]\n[lanes.b]\nrecipients = [\"deurwaarder\"]\n[lanes.main]",
        &["recipient `deurwaarder` in two lanes, expected it in one"],
    );
    check(
        "# replication = 3",
        "replication = 1\nmin_insync_replicas = 2",
        &["`min_insync_replicas` is 2, expected no more than `replication`, which is 1"],
    );
    check(
        "# min_hidden = 3",
        "min_hiden = 3",
        &["unknown key `min_hiden`: did you mean `min_hidden`?"],
    );
    check(
        "# patron = \"P2Y\"",
        "patron = \"P6Y\"",
        &["`patron` is \"P6Y\", expected an ISO 8601 period of at most five years, as P2Y"],
    );
    check(
        "# patron = \"P2Y\"",
        "patrons = \"P2Y\"",
        &["unknown key `patrons`: did you mean `patron`?"],
    );
    check(
        "# records = 100000",
        "records = 0",
        &[
            "`records` is 0, expected a whole number from 1 to 10000000: records of a partition that wait",
        ],
    );
    check("[holds]", "[hold]", &["unknown key `hold`: did you mean `holds`?"]);
    check(
        "# sweep_seconds = 60",
        "sweep_second = 60",
        &["unknown key `sweep_second`: did you mean `sweep_seconds`?"],
    );
    check(
        "# group_read = false",
        "group_reads = true",
        &["unknown key `group_reads`: did you mean `group_read`?"],
    );
    check(
        "# state = { env = \"ZEEF_KEY_STATE\" }",
        "state = \"a:geheim\" #",
        &["the key of `zeef.state` in the file itself, expected { env = \"NAME\" } or { file = \
         \"PATH\" }"],
    );
    check(
        "# objection = { expect_within",
        "objecton = { expect_within",
        &["unknown source `objecton`: did you mean `objection`?"],
    );
    check(
        "# objection = { expect_within = \"P7D\" }",
        "objection = { expect_within = \"7 days\" }",
        &[
            "`expect_within` is \"7 days\", expected an ISO 8601 period of at most five years, as P7D",
        ],
    );
    check(
        "# objection = { expect_within",
        "objection = { expected_within",
        &["unknown key `expected_within`: did you mean `expect_within`?"],
    );
    check(
        "# gate_wait_seconds = 30",
        "gate_wait_seconds = 0",
        &[
            "`gate_wait_seconds` is 0, expected a whole number from 1 to 86400: seconds that a gate \
             source may hold back others",
        ],
    );
    // What the scanner can do.
    check(
        "# depth = 64",
        "depth = 129",
        &["`depth` is 129, expected a whole number from 1 to 128: objects and lists in each other"],
    );
    check("[batch]", "[batches]", &["unknown key `batches`: did you mean `batch`?"]);
}

#[test]
fn load_reads_every_settings_section() {
    let folder = ConfigFolder::shipped();
    folder.write_file(
        "zeef.toml",
        r#"
        [kafka]
        brokers = "a:9092,b:9092"
        topic_prefix = "test."
        [kafka.properties]
        security.protocol = "SASL_SSL"
        "ssl.ca.location" = "/etc/ca.pem"
        sasl.password = { file = "password" }
        linger.ms = 5
        [lanes.finance]
        recipients = ["deurwaarder"]
        workers = 2
        [lanes.statistics]
        recipients = ["statistics"]
        [rates]
        deurwaarder = { records_per_s = 10 }
        [keys]
        directory = "secret"
        recipients.statistics = { env = "ZEEF_KEY" }
        state = { file = "own.key" }
        [retention]
        patron = "P18M"
        [holds]
        days = 7
        [state]
        sweep_seconds = 5
        [directory]
        group_read = true
        [limits]
        gate_wait_seconds = 90
        retractions_per_hour = 500
        [sources.objection]
        expect_within = "P1W"
        [admin]
        listen = "none"
    "#,
    );
    folder.write_file("password", "geheim\n");
    let LoadedConfig { daemon, policy, .. } = folder.load();
    assert_eq!(daemon.kafka.brokers, "a:9092,b:9092");
    let value = |name: &str| {
        let secret = daemon.kafka.properties[name].resolve().unwrap();
        secret.expose_text().unwrap().to_owned()
    };
    assert_eq!(value("security.protocol"), "SASL_SSL");
    assert_eq!(value("ssl.ca.location"), "/etc/ca.pem");
    assert_eq!(value("sasl.password"), "geheim");
    assert_eq!(value("linger.ms"), "5");
    let lanes: Vec<_> = daemon
        .lanes
        .iter()
        .map(|lane| (lane.name.as_str(), lane.recipients.len(), lane.workers))
        .collect();
    let others = policy.recipients.len() - 2;
    assert_eq!(lanes, [("finance", 1, 2), ("main", others, 1), ("statistics", 1, 1)]);
    assert_eq!(daemon.rates["deurwaarder"].burst, 10);
    assert_eq!(daemon.admin.listen, None);
    assert_eq!(daemon.keys.source_of("statistics").to_string(), "environment variable ZEEF_KEY");
    assert_eq!(policy.patron_retention.to_string(), "P18M");
    assert_eq!((daemon.holds.records_max, daemon.holds.wait_max_ms), (100_000, 7 * DAY_MS));
    assert_eq!(daemon.state.sweep_interval, Duration::from_secs(5));
    assert!(daemon.directory.group_read);
    assert_eq!(daemon.limits.gate_wait, Duration::from_secs(90));
    assert_eq!(daemon.limits.retractions_per_hour, 500);
    let expected = daemon.sources["objection"].expect_within.unwrap();
    assert_eq!(expected.to_string(), "P7D");
    let own = daemon.keys.source_of("zeef.state").to_string();
    assert!(own.ends_with("/own.key"), "{own}");
    let file = daemon.keys.source_of("deurwaarder").to_string();
    assert!(file.ends_with("secret/deurwaarder.key"), "{file}");
    assert!(!format!("{daemon:?}").contains("SASL_SSL"));
}

/// What consents and objections may name, and what they count for, are part of the policy: also
/// what a recipient that is switched off is called.
#[test]
fn g10_purpose_and_recipient_names_change_the_policy_version() {
    let version = |zeef: &str, changes: &[(&str, &str, &str)]| {
        let folder = ConfigFolder::shipped();
        folder.write_file("zeef.toml", &format!("{STATISTICS_LANE}{zeef}"));
        for (file, old, new) in changes {
            folder.replace_text(file, old, new);
        }
        folder.load().policy
    };
    let shipped = version("", &[]);
    let names = shipped.known_names();
    assert!(names.purposes.contains(&"interlibrary-loan".to_owned()));
    assert!(names.recipients.contains(&"ill-library-contact".to_owned()));
    assert!(shipped.requires_consent_for("online-library"));
    assert!(!shipped.requires_consent_for("statistics"));
    let yields =
        |policy: &Policy, name: &str| policy.recipient(name).unwrap().is_stopped_by_objections();
    assert!(yields(&shipped, "statistics") && !yields(&shipped, "service-message"));
    let others = version("[purposes]\nothers = [\"reading-club\"]", &[]);
    assert!(others.known_names().purposes.contains(&"reading-club".to_owned()));
    let successor = "[libraries]\nsuccessor_of = { \"NL-New\" = [\"NL-Old\"] }";
    let successor = version(successor, &[]);
    assert_eq!(successor.predecessor_libraries["NL-New"], ["NL-Old"]);
    let purpose = "purpose      = \"interlibrary-loan\"";
    let off = ("recipients/ill-library-contact.toml", purpose, "purpose = \"another\"");
    let off = version("", &[off]);
    let basis = "legal_basis  = \"contract\"";
    let stops = "legal_basis  = \"contract\"\nobjections = \"stop\"";
    let stops = version("", &[("recipients/service-message.toml", basis, stops)]);
    assert!(yields(&stops, "service-message"));
    let outlives = "outlives_membership = \"a claim does not end with the membership\"";
    let ends = version("", &[("recipients/deurwaarder.toml", outlives, "")]);
    for other in [&others, &successor, &off, &stops, &ends] {
        assert_ne!(other.version, shipped.version);
    }
}

#[test]
fn g10_malformed_purposes_libraries_and_objections_are_refused() {
    let folder = ConfigFolder::shipped();
    folder.write_file(
        "zeef.toml",
        "[purposes]\nothers = [\"Reading club\"]\n[libraries]\n\
         successor_of = { \"New\" = [\"NL-Old\", \"old\"], \"NL-X\" = \"NL-Y\" }\nother = 1\n",
    );
    folder.replace_text(
        "recipients/statistics.toml",
        "\"public_task\"",
        "\"public_task\"\nobjections = \"go on\"",
    );
    let messages = folder.messages().join("\n");
    for part in [
        "zeef.toml:2: the purpose \"Reading club\"",
        "zeef.toml:4: library \"New\"",
        "zeef.toml:4: library \"old\"",
        "zeef.toml:4: `NL-X` is",
        "zeef.toml:5: unknown key `other`",
        "recipients/statistics.toml:",
        "stop",
    ] {
        assert!(messages.contains(part), "no {part} in\n{messages}");
    }
}

#[test]
fn load_accepts_known_partitioners_only() {
    use crate::config::settings::Partitioner::{self, Crc32, Fnv1a, Murmur2};
    let folder = ConfigFolder::shipped();
    assert_eq!(folder.load().daemon.kafka.partitioner, Murmur2);
    let all: [(&str, Partitioner); 7] = [
        ("murmur2", Murmur2),
        ("crc32", Crc32),
        ("fnv1a", Fnv1a),
        ("murmur2_random", Murmur2),
        ("consistent", Crc32),
        ("consistent_random", Crc32),
        ("fnv1a_random", Fnv1a),
    ];
    for (word, want) in all {
        folder.write_file(
            "zeef.toml",
            &format!("{STATISTICS_LANE}[kafka]\npartitioner = \"{word}\""),
        );
        let found = folder.load().daemon.kafka.partitioner;
        assert_eq!(found, want, "{word}");
        assert!(all.iter().any(|(word, _)| *word == found.as_str()));
    }
    // Where it is by chance nothing can be compared.
    for word in ["random", "murmur3", ""] {
        folder.write_file(
            "zeef.toml",
            &format!("{STATISTICS_LANE}[kafka]\npartitioner = \"{word}\""),
        );
        let messages = folder.messages();
        assert_eq!(messages.len(), 1, "{messages:#?}");
        assert!(messages[0].contains("partitioner"), "{messages:#?}");
    }
}

#[test]
fn load_reports_mistakes_of_all_files_at_once() {
    let folder = ConfigFolder::shipped();
    folder.replace_text("recipients/deurwaarder.toml", "patron.birth_date", "patron.birthdate");
    folder.replace_text("recipients/statistics.toml", "\"public_task\"", "\"public\"");
    folder.replace_text("records/debt.toml", "\"currency\"", "\"currencies\"");
    folder.write_file("recipients/ill-library.toml", "name = \"ill-library\n");
    folder.replace_text("zeef.toml", "# wait_ms = 50", "wait_ms = 0");
    let messages = folder.messages();
    let starts = [
        "recipients/deurwaarder.toml:",
        "recipients/ill-library.toml:1: not TOML: ",
        "recipients/statistics.toml:",
        "records/debt.toml:",
        "zeef.toml:",
    ];
    assert_eq!(messages.len(), starts.len(), "{messages:#?}");
    for (line, start) in messages.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn unreadable_kind_reports_one_mistake() {
    let folder = ConfigFolder::shipped();
    folder.write_file("records/loan.toml", "name = ");
    assert_eq!(folder.messages().len(), 1, "{:#?}", folder.messages());
    folder.write_file("records/patron.toml", "name = ");
    let messages = folder.messages();
    assert!(
        messages.iter().all(|line| line.contains("not TOML") || line.contains("kind of record")),
        "{messages:#?}"
    );
}

#[test]
fn load_reports_missing_folders() {
    let folder = tempfile::tempdir().unwrap();
    let messages = format_mistakes(&Policy::load(folder.path()).unwrap_err());
    assert!(messages.contains("records: cannot be read"), "{messages}");
    assert!(messages.contains("recipients: cannot be read"), "{messages}");
}

/// Returns the shipped catalogue with a special field, one more recipient, and the example of a
/// rule.
fn example_folder(text: &str) -> ConfigFolder {
    let folder = ConfigFolder::shipped();
    for path in list_paths(&folder.0.path().join("recipients")).unwrap() {
        std::fs::remove_file(path).unwrap();
    }
    let diet = "diet = { type = \"text\", class = \"special\", meaning = \"diet\" }\n[fields]\n";
    let patron = folder.read_file("records/patron.toml").replace("[fields]\n", "[fields]\n@");
    folder.write_file(
        "records/patron.toml",
        &patron.replace('@', diet.trim_end_matches("[fields]\n")),
    );
    let other = "deurwaarder";
    let text_of_other =
        std::fs::read_to_string(shipped_folder().join("recipients/deurwaarder.toml"));
    let text_of_other = text_of_other.unwrap().replace("out.deurwaarder", "out.other");
    folder.write_file(&format!("recipients/{other}.toml"), &text_of_other);
    folder.write_file("recipients/example.toml", text);
    folder.write_file("zeef.toml", "[lanes.example]\nrecipients = [\"example\"]\n");
    folder
}

/// Returns the same with a recipient that has what every example has, and these lines.
fn folder_with_lines(lines: &str) -> ConfigFolder {
    example_folder(&valid_file_with(lines))
}

#[test]
fn lint_example_breaks_only_its_own_rule() {
    let mut names: Vec<_> = LINTS.iter().map(|lint| lint.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), LINTS.len());
    for lint in LINTS {
        let folder = example_folder(&lint.example_file());
        if lint.name == "lane-of-its-own" {
            folder.write_file("zeef.toml", "");
        }
        let mistakes = folder.mistakes();
        assert!(!mistakes.is_empty(), "{} holds:\n{}", lint.name, lint.example_file());
        for mistake in &mistakes {
            assert_eq!(mistake.rule, Some(lint.name), "{mistake}");
            let of_a_folder = std::path::Path::new(&mistake.file).is_dir();
            assert!(mistake.line > 0 || of_a_folder, "{mistake}");
        }
    }
}

#[test]
fn disabled_recipient_may_lack_agreement_or_authorisation() {
    // Who is switched off is in no lane.
    for lint in LINTS.iter().filter(|lint| lint.name != "lane-of-its-own") {
        let folder = example_folder(&format!("enabled = false\n{}", lint.example_file()));
        let mistakes = folder.mistakes();
        assert_eq!(
            mistakes.is_empty(),
            lint.is_excused_when_disabled,
            "{}: {}",
            lint.name,
            format_mistakes(&mistakes)
        );
        if lint.is_excused_when_disabled {
            let loaded = folder.load();
            assert_eq!(loaded.policy.disabled_recipients.len(), 1);
            assert!(loaded.policy.recipient("example").is_none());
            let notes = &loaded.notes_of_disabled;
            assert!(notes[0].contains(lint.name), "{notes:?}");
        }
    }
}

#[test]
fn complete_agreement_authorisation_or_reason_passes_lints() {
    #[track_caller]
    fn check(lines: &str) {
        folder_with_lines(lines).load();
    }
    check(
        "fields.number = { from = \"patron.rijksregisternummer\" }\nauthorisation = { reference = \
         \"13/2013\", approved_by = \"DPO\", approved_on = 2026-01-01, from = \"2026-01-01\", until \
         = \"2030-01-01\" }",
    );
    check(
        "role = \"processor\"\nfields.title = { from = \"item.title\" }\nagreement = { reference = \
         \"A\", clauses = [\"use\", \"security\", \"confidentiality\"], from = \"2026-01-01\", until \
         = \"2030-01-01\" }",
    );
    check("fields.remark = { from = \"note\", detect = \"all\" }");
    check("free_text_reason = \"on record\"\nfields.remark = { from = \"note\" }");
    check(
        "credential_reason = \"on record\"\nfields.card = { from = \"patron.card_number\" }\n\
         fields.born = { from = \"patron.birth_date\" }",
    );
    check(
        "fields.card = { from = \"patron.card_number\", mask = \"last_digits\", count = 5, \
         min_hidden = 5 }\nfields.born = { from = \"patron.birth_date\" }",
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..Default::default()
    })]

    /// Whatever is cut out of a file, the answer is a policy or mistakes that say where; what no
    /// file of a folder has has no line.
    #[test]
    fn load_survives_any_cut_of_any_file(file in 0_usize..16, start in 0.0..1.0_f64, length in 1_usize..40) {
        let folder = ConfigFolder::shipped();
        let below = |name: &str| list_paths(&folder.0.path().join(name)).unwrap();
        let mut files = [below("records"), below("recipients")].concat();
        files.push(folder.0.path().join("zeef.toml"));
        files.sort();
        let mut bytes = std::fs::read(&files[file]).unwrap();
        let start = (start * bytes.len() as f64) as usize;
        let end = (start + length).min(bytes.len());
        bytes.drain(start..end);
        std::fs::write(&files[file], &bytes).unwrap();
        for mistake in folder.mistakes() {
            let of_a_folder = std::path::Path::new(&mistake.file).is_dir();
            assert!(mistake.line > 0 || of_a_folder, "{mistake}");
        }
    }
}

#[test]
fn f19_period_must_be_monthly_by_a_date_of_the_record() {
    #[track_caller]
    fn check(period: &str, want: &[&str]) {
        let file = "recipients/statistics.toml";
        let shipped = r#"period        = { every = "P1M", of = "loaned_at" }"#;
        assert_mistakes_in(file, shipped, period, want);
    }
    check(r#"period = "P1M""#, &[]);
    check(r#"period = "P1W""#, &["`period` is \"P1W\", expected `P1M`, the only period there is"]);
    check(
        r#"period = { every = "P2M", of = "loaned_at" }"#,
        &["`every` is \"P2M\", expected `P1M`, the only period there is"],
    );
    check(
        r#"period = { every = "P1M" }"#,
        &["no `of`, expected the date or instant that says of which month a record is"],
    );
    check(
        r#"period = { every = "P1M", of = "patron.membership.ends_on" }"#,
        &[
            "a period by `patron.membership.ends_on`, expected a date or an instant of the record itself",
        ],
    );
    check(
        r#"period = { every = "P1M", of = "branch" }"#,
        &["a period by `branch`, expected a date or an instant of the record itself"],
    );
    check(
        "",
        &[
            "a pseudonymised recipient without a period, expected `period = { every = \"P1M\", of = \"PATH\" }`, by a date of the record [rule period]",
        ],
    );
    assert_mistakes_in(
        "recipients/service-message.toml",
        "[fields]",
        "period = \"P1M\"\n[fields]",
        &["`period`, expected none, or `pseudonymised = true`: others get what they get at once"],
    );
}

#[test]
fn f19_pseudonymised_recipient_needs_its_own_lane() {
    #[track_caller]
    fn check(zeef: &str, want: &[&str]) {
        let folder = ConfigFolder::shipped();
        folder.write_file("zeef.toml", zeef);
        let messages: Vec<String> = folder.mistakes().iter().map(ToString::to_string).collect();
        let line = "recipients/statistics.toml:18: ";
        assert_eq!(messages.len(), want.len(), "{messages:#?}");
        for (messages, want) in messages.iter().zip(want) {
            assert!(messages.contains(line) && messages.contains(want), "{messages}");
        }
    }
    check(STATISTICS_LANE, &[]);
    check(
        "",
        &["`service-message`, expected a lane of its own in zeef.toml: `[lanes.statistics]`"],
    );
    check(
        "[lanes.loans]\nrecipients = [\"statistics\", \"service-message\"]\nworkers = 2",
        &["the lane `loans` with `service-message`", "2 workers in the lane `loans`"],
    );
}

#[test]
fn recipient_version_depends_on_its_own_file_only() {
    let version = |file: &str, old: &str, new: &str| {
        let folder = ConfigFolder::shipped();
        folder.replace_text(file, old, new);
        let policy = folder.load().policy;
        let own = canonical::recipient_version(&policy, policy.recipient("statistics").unwrap());
        (policy.version, own)
    };
    let statistics = "recipients/statistics.toml";
    let (all, own) = version(statistics, "[fields]", "[fields]");
    let other = version("recipients/service-message.toml", "P1Y", "P2Y");
    assert!(other.0 != all && other.1 == own);
    let changed = version(statistics, "P2Y", "P1Y");
    assert!(changed.0 != all && changed.1 != own);
}
