//! The loader on the shipped config, and on every wrong one.

use std::path::Path;

use tempfile::TempDir;

mod rules;

use super::*;
use crate::policy::canonical::legal_basis_word;
use crate::policy::catalogue::Class;
use crate::policy::lint::{LINTS, template_text};
use crate::policy::recipient::{OutputValue, PaperAfter, Test};

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

/// What a `zeef.toml` has beside the shipped statistics.
const LANE: &str = "[lanes.statistics]\nrecipients = [\"statistics\"]\n";

/// A config folder that can be changed.
struct Folder(TempDir);

impl Folder {
    /// The shipped one.
    fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        for below in ["records", "recipients"] {
            std::fs::create_dir(folder.0.path().join(below)).unwrap();
            for path in list(&shipped().join(below)).unwrap() {
                let name = path.file_name().unwrap().to_str().unwrap();
                let text = std::fs::read_to_string(&path).unwrap();
                folder.write(&format!("{below}/{name}"), &text);
            }
        }
        let zeef = std::fs::read_to_string(shipped().join("zeef.toml")).unwrap();
        folder.write("zeef.toml", &zeef);
        folder
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.path().join(file), text).unwrap();
    }

    fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.path().join(file)).unwrap()
    }

    /// Replaces `old`, which must be there, by `new`.
    #[track_caller]
    fn change(&self, file: &str, old: &str, new: &str) {
        let text = self.text(file);
        assert!(text.contains(old), "{file} has no {old}");
        self.write(file, &text.replacen(old, new, 1));
    }

    #[track_caller]
    fn load(&self) -> Loaded {
        Policy::load(self.0.path()).unwrap_or_else(|mistakes| panic!("{}", shown(&mistakes)))
    }

    fn mistakes(&self) -> Vec<Mistake> {
        Policy::load(self.0.path()).err().unwrap_or_default()
    }

    /// The mistakes, with the folder cut off.
    fn told(&self) -> Vec<String> {
        let folder = format!("{}/", self.0.path().display());
        let mistakes = self.mistakes();
        mistakes
            .iter()
            .map(|mistake| mistake.to_string().replace(&folder, ""))
            .collect()
    }
}

/// A folder, a group or a user of that name would be two parties' at once.
#[test]
fn no_recipient_has_a_name_of_zeefs_own() {
    for name in ["zeef", "zeef-admin", "zeef-repair", "operator"] {
        let folder = Folder::new();
        let text = folder.text("recipients/statistics.toml");
        let text = text.replace("\"statistics\"", &format!("\"{name}\""));
        let text = text.replace("out.statistics", "out.another");
        folder.write(&format!("recipients/{name}.toml"), &text);
        let told = folder.told().join("\n");
        assert!(told.contains(&format!("recipients/{name}.toml:")), "{told}");
        assert!(told.contains("are zeef's"), "{told}");
    }
}

fn shown(mistakes: &[Mistake]) -> String {
    let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn shipped_policy() -> Loaded {
    Policy::load(&shipped()).unwrap_or_else(|mistakes| panic!("{}", shown(&mistakes)))
}

#[test]
fn the_shipped_config_has_no_mistake() {
    let loaded = shipped_policy();
    assert!(loaded.notes.is_empty(), "{:?}", loaded.notes);
    let names: Vec<_> = loaded
        .policy
        .recipients
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "deurwaarder",
            "ill-library",
            "kb-membership",
            "kb-recognition",
            "reservation-slip",
            "service-message",
            "statistics",
        ]
    );
    let off: Vec<_> = loaded.policy.disabled.iter().map(|one| &one.name).collect();
    assert_eq!(off, ["ill-library-contact"]);
    let lanes: Vec<_> = loaded.daemon.lanes.iter().collect();
    let [main, statistics] = lanes.as_slice() else {
        panic!("{lanes:?}");
    };
    assert_eq!(main.recipients, names[..6]);
    assert_eq!(statistics.recipients, names[6..]);
    assert_eq!(loaded.policy.version.len(), 64);
    for recipient in &loaded.policy.recipients {
        assert_eq!(
            recipient.topics.to_string(),
            format!("out.{}", recipient.name)
        );
    }
}

#[test]
fn the_shipped_outputs_have_their_fields_in_order() {
    #[track_caller]
    fn check(name: &str, basis: &str, want: &str) {
        let loaded = shipped_policy();
        let mut all = loaded
            .policy
            .recipients
            .iter()
            .chain(&loaded.policy.disabled);
        let recipient = all.find(|one| one.name == name).unwrap();
        let fields: Vec<_> = recipient
            .fields
            .iter()
            .map(|field| field.name.as_str())
            .collect();
        assert_eq!(fields.join(" "), want, "{name}");
        assert_eq!(legal_basis_word(recipient.legal_basis), basis, "{name}");
    }
    check(
        "reservation-slip",
        "contract",
        "shelf_mark initial card_suffix title pickup_branch expires_on slip",
    );
    let narrow = "request_id name card_number supplying_library title author isbn issn volume \
                  pages service needed_by";
    check("ill-library", "contract", narrow);
    check(
        "ill-library-contact",
        "contract",
        &format!("{narrow} email phone"),
    );
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
    check(
        "service-message",
        "contract",
        "name email mobile title due_on branch",
    );
    check(
        "statistics",
        "public_task",
        "loan_ref patron_ref library branch material loaned_month status renewals age_band \
         postcode_area",
    );
}

#[test]
fn the_compiled_shapes_are_what_the_files_say() {
    let loaded = shipped_policy();
    let slip = loaded.policy.recipient("reservation-slip").unwrap();
    let OutputValue::Slip {
        mark,
        initial,
        rest,
    } = &slip.fields[6].value
    else {
        panic!("no slip");
    };
    assert_eq!(
        (*mark, *initial, rest.as_slice()),
        (0, 1, [2, 3, 4, 5].as_slice())
    );
    assert_eq!(loaded.policy.kinds[slip.source].name, "reservation");

    let debts = loaded.policy.recipient("deurwaarder").unwrap();
    let OutputValue::Object { from, fields } = &debts.fields[2].value else {
        panic!("no object");
    };
    assert!(from.joined && from.path == "address" && fields[0].path == "address.street");
    let OutputValue::List { from, fields } = &debts.fields[8].value else {
        panic!("no list");
    };
    assert!(!from.joined && from.path == "items[]" && fields[1].path == "items[].due_on");
    assert!(matches!(debts.when[2].test, Test::Present));

    let member = loaded.policy.recipient("kb-membership").unwrap();
    let event = member
        .consent
        .as_ref()
        .unwrap()
        .implied_by
        .as_ref()
        .unwrap();
    assert_eq!(
        (event.joined, event.path.as_str()),
        (false, "online_account.created_at")
    );
}

#[test]
fn a_version_stands_for_decisions_only() {
    let before = shipped_policy().policy;
    let same = |file: &str, old: &str, new: &str| {
        let folder = Folder::new();
        folder.change(file, old, new);
        assert_eq!(
            folder.load().policy.canonical,
            before.canonical,
            "{file}: {old}"
        );
    };
    same(
        "recipients/statistics.toml",
        "# For how long?",
        "# Hoe lang?",
    );
    same(
        "recipients/statistics.toml",
        "legal_basis   =",
        "legal_basis =",
    );
    same(
        "recipients/statistics.toml",
        "title         = \"Statistiek",
        "title = \"De statistiek",
    );
    same(
        "records/loan.toml",
        "meaning = \"ISBN\"",
        "meaning = \"the ISBN\"",
    );
    same("zeef.toml", "# brokers", "brokers = \"kafka:9092\" #");
    same("zeef.toml", "# min_hidden = 3", "min_hidden = 3");
    same("zeef.toml", "# patron = \"P2Y\"", "patron = \"P2Y\"");
    same("zeef.toml", "# days = 30", "days = 7");

    let other = |file: &str, old: &str, new: &str| {
        let folder = Folder::new();
        folder.change(file, old, new);
        let after = folder.load().policy;
        assert_ne!(after.version, before.version, "{file}: {old}");
        assert_ne!(after.canonical, before.canonical);
    };
    other("recipients/statistics.toml", "P2Y", "P1Y");
    other(
        "recipients/statistics.toml",
        "library       = { from = \"library\" }\n",
        "",
    );
    other(
        "recipients/statistics.toml",
        "public_task",
        "legitimate_interest",
    );
    other(
        "recipients/statistics.toml",
        "libraries     = \"all\"",
        "libraries = [\"NL-A\"]",
    );
    other("recipients/statistics.toml", "[0, 12,", "[0, 10,");
    other("recipients/reservation-slip.toml", "count = 2", "count = 1");
    other(
        "recipients/service-message.toml",
        "[\"open\", \"overdue\"]",
        "[\"open\"]",
    );
    other("recipients/service-message.toml", "title  =", "titel  =");
    other(
        "recipients/service-message.toml",
        "out.service-message",
        "out.message",
    );
    other(
        "recipients/kb-recognition.toml",
        "source       =",
        "enabled = false\nsource =",
    );
    other(
        "recipients/kb-recognition.toml",
        "the default login, is left out",
        "of the login, is left out",
    );
    other(
        "recipients/deurwaarder.toml",
        "\"invoiced_at\", \"referred_at\"]",
        "\"referred_at\"]",
    );
    other("records/loan.toml", "topic = \"loan\"", "topic = \"loans\"");
    other("zeef.toml", "# min_hidden = 3", "min_hidden = 4");
    other("zeef.toml", "# patron = \"P2Y\"", "patron = \"P1Y\"");
    other(
        "zeef.toml",
        "# surname_key = \"default\"",
        "surname_key = \"full\"",
    );
}

#[test]
fn the_canonical_form_is_kept() {
    insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "../../../tests/snapshots" }, {
        insta::assert_snapshot!("canonical", shipped_policy().policy.canonical);
    });
}

/// The shipped recipient `service-message` with one change, and what is told.
#[track_caller]
fn check(old: &str, new: &str, want: &[&str]) {
    check_in("recipients/service-message.toml", old, new, want);
}

#[track_caller]
fn check_in(file: &str, old: &str, new: &str, want: &[&str]) {
    let folder = Folder::new();
    folder.change(file, old, new);
    let told = folder.told();
    let strip = |text: &String| {
        let text = text.strip_prefix(file).unwrap_or(text);
        let digits = text.trim_start_matches(|c: char| c == ':' || c.is_ascii_digit());
        digits.trim_start_matches([':', ' ']).to_owned()
    };
    let told: Vec<_> = told.iter().map(strip).collect();
    assert_eq!(told, want);
}

#[test]
fn each_mistake_in_a_recipient_is_told() {
    check(
        "patron.surname",
        "patron.surnam",
        &["unknown field `patron.surnam`: did you mean `patron.surname`?"],
    );
    check(
        "from = \"item.title\"",
        "from = \"title\"",
        &["unknown field `title`: did you mean `item.title`?"],
    );
    check(
        "from = \"branch\"",
        "from = \"xyzzy\"",
        &["unknown field `xyzzy`, expected a field of `loan`, as `zeef list fields` shows them"],
    );
    check(
        "from = \"branch\"",
        "form = \"branch\"",
        &["unknown key `form`: did you mean `from`?"],
    );
    check(
        "full_name",
        "fullname",
        &[
            "unknown mask `fullname`: did you mean `full_name`? (expected one of those that `zeef list \
         masks` shows)",
        ],
    );
    check(
        "{ from = \"branch\" }",
        "\"branch\"",
        &["`branch` is a string, expected a table, as { from = \"item.title\" }"],
    );
    check(
        "{ from = \"branch\" }",
        "{ from = \"patron.address\" }",
        &[
            "`patron.address` without a list of its sub-fields, expected `fields`, the sub-fields that \
         are kept, of `street`, `house_number`, `house_number_suffix`, `postcode`, `city`, `country`",
        ],
    );
    check(
        "{ from = \"branch\" }",
        "{ from = \"patron.address\", fields = [\"stret\"] }",
        &[
            "unknown sub-field `stret` of `patron.address`: did you mean `street`? (expected one of \
         `street`, `house_number`, `house_number_suffix`, `postcode`, `city`, `country`)",
        ],
    );
    check(
        "{ from = \"branch\" }",
        "{ from = \"patron.interests\" }",
        &["unknown field `patron.interests`: did you mean `patron.interests[]`?"],
    );
    check(
        "{ from = \"branch\" }",
        "{ from = \"branch\", mask = \"year\" }",
        &["this mask on `branch`, expected a date or an instant"],
    );
    check(
        "{ from = \"branch\" }",
        "{ from = \"item.title\", mask = \"full_name\" }",
        &[
            "this mask on `item.title`, expected a field that has `initials` beside it",
            "this mask on `item.title`, expected a field that has `surname_prefix` beside it",
        ],
    );
    check(
        "{ from = \"branch\" }",
        "{ from = \"branch\", mask = \"last_digits\", count = 0 }",
        &["`count` is 0, expected a whole number from 1 to 20"],
    );
    check(
        "{ from = \"branch\" }",
        "{ from = \"branch\", detect = [\"bsm\"] }",
        &[
            "unknown detector `bsm`: did you mean `bsn`? (expected one of those that `zeef list \
         detectors` shows)",
        ],
    );
    check(
        "{ from = \"branch\" }",
        "{ mask = \"constant\", value = \"x\", from = \"branch\" }",
        &["`from` in field `branch`, expected none: it says nothing of such a field"],
    );
    check(
        "is = [\"open\", \"overdue\"]",
        "is = [\"open\", \"overdu\"]",
        &[
            "`status` is \"overdu\": did you mean `overdue`? (expected one of `open`, `overdue`, \
         `returned`, `lost`, `damaged`)",
        ],
    );
    check(
        "is = [\"open\", \"overdue\"]",
        "is = \"open\"",
        &["`is` is \"open\", expected a list of values, as [\"open\", \"overdue\"]"],
    );
    check(
        "is = [\"open\", \"overdue\"]",
        "is = [\"open\"], present = true",
        &["both `is` and `present` in a condition, expected one of the two"],
    );
    check(
        "field = \"status\", is = [\"open\", \"overdue\"]",
        "field = \"renewals\", is = [\"1\"]",
        &["`renewals` is \"1\", expected a whole number"],
    );
    check(
        "pseudonym = \"loan_id\"",
        "pseudonym = \"branch\"",
        &["a key of `branch`, expected a field of the class `identifier`"],
    );
    check(
        "pseudonym = \"loan_id\"",
        "pseudonym = \"patron_id\"",
        &[
            "a key of `patron_id`, expected the record's own id: two records of one patron would have \
         one key",
        ],
    );
    check(
        "\"P1Y\"",
        "\"1 year\"",
        &[
            "`term` is \"1 year\", expected an ISO 8601 period of years, months, weeks or days, as \
         P14D, P18M or P1Y",
        ],
    );
    check(
        "from = \"due_on\", after",
        "from = \"branch\", after",
        &["a term from `branch`, expected a date or an instant"],
    );
    check(
        "source       = \"loan\"",
        "source       = \"loans\"",
        &[
            "unknown kind of record `loans`: did you mean `loan`? (expected one of `consent`, `debt`, \
         `ill_request`, `loan`, `objection`, `patron`, `reservation`)",
        ],
    );
    check(
        "\"service-message\"\ntitle",
        "\"service\"\ntitle",
        &["`name` is \"service\", expected \"service-message\", as the file is called"],
    );
    check(
        "\"contract\"",
        "\"contracts\"",
        &[
            "`legal_basis` is \"contracts\": did you mean `contract`? (expected the legal basis (GDPR \
         art. 6): one of `consent`, `contract`, `legal_obligation`, `vital`, `public_task`, \
         `legitimate_interest`)",
        ],
    );
    check(
        "libraries    = \"all\"",
        "libraries = [\"nl-a\"]",
        &["library \"nl-a\", expected an ISIL, as `NL-AmrBKW`"],
    );
    check(
        "out.service-message",
        "out/service",
        &[
            "`topic` is \"out/service\", expected a topic: letters, digits, `.`, `_` and `-`, neither \
         `.` nor `..`, 200 at most",
        ],
    );
    check(
        "flows        = [\"F26\"]",
        "flows = [\"26\"]",
        &["flow \"26\", expected ids of flows, as F01"],
    );
    check(
        "[fields]",
        "[field]",
        &["unknown key `field`: did you mean `fields`?"],
    );
}

#[test]
fn stages_follow_each_other() {
    #[track_caller]
    fn check(stages: &str, want: &[&str]) {
        let file = "recipients/deurwaarder.toml";
        let shipped = "[\"reminded_at\", \"invoiced_at\", \"referred_at\"]";
        check_in(file, shipped, stages, want);
    }
    let shipped = shipped_policy().policy;
    let stages = &shipped.recipient("deurwaarder").unwrap().stages;
    let paths: Vec<_> = stages.iter().map(|field| field.path.as_str()).collect();
    assert_eq!(paths, ["reminded_at", "invoiced_at", "referred_at"]);
    check(
        "[\"reminded_at\", \"invoicd_at\"]",
        &["unknown field `invoicd_at`: did you mean `invoiced_at`?"],
    );
    check(
        "[\"reminded_at\"]",
        &[
            "fewer than two fields in `stages`, expected at least two instants or dates of the \
         record, in the order in which they must follow each other",
        ],
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
    check_in(
        "recipients/service-message.toml",
        "libraries    = \"all\"",
        "libraries = \"all\"\nstages = [\"loaned_at\", \"due_on\"]",
        &["the stage `due_on` beside others, expected all of them instants, or all of them dates"],
    );
}

#[test]
fn a_paper_says_what_follows_its_end() {
    const PAPER: &str = "agreement = { reference = \"A\", clauses = [\"use\", \"security\", \
                         \"confidentiality\"], from = \"2026-01-01\", until = \"2026-01-31\"";
    let file = "recipients/service-message.toml";
    let line = "libraries    = \"all\"";
    let with = |paper: &str| {
        let folder = Folder::new();
        folder.change(
            file,
            line,
            &format!("{line}\nrole = \"processor\"\n{paper}"),
        );
        let policy = folder.load().policy;
        let recipient = policy.recipient("service-message").unwrap();
        (recipient.agreement.clone().unwrap(), policy.version)
    };
    let (kept, version) = with(&format!("{PAPER} }}"));
    assert_eq!(kept.after, PaperAfter::Keep);
    let day = |text| crate::policy::form::Date::parse(text).unwrap().to_unix_ms();
    assert_eq!(kept.in_force_ms(), (day("2026-01-01"), day("2026-02-01")));
    assert_eq!(with(&format!("{PAPER}, after = \"keep\" }}")).1, version);
    let (taken, other) = with(&format!("{PAPER}, after = \"retract\" }}"));
    assert_eq!(taken.after, PaperAfter::Retract);
    assert_ne!(other, version);
    check_in(
        file,
        line,
        &format!("{line}\nrole = \"processor\"\n{PAPER}, after = \"retrac\" }}"),
        &[
            "`after` is \"retrac\": did you mean `retract`? (expected what happens to what the \
           recipient has, when it is no longer in force: one of `keep`, `retract`)",
        ],
    );
}

#[test]
fn who_has_national_numbers_is_known() {
    #[track_caller]
    fn check(lines: &str, want: bool) {
        let paper = "authorisation = { reference = \"A\", approved_by = \"B\", approved_on = \
                     2026-01-01, from = 2026-01-01, until = 2030-01-01 }";
        let loaded = of_template(&format!("{lines}\n{paper}")).load();
        let recipient = loaded.policy.recipient("example").unwrap();
        assert_eq!(
            recipient.releases_national(&loaded.policy.kinds),
            want,
            "{lines}"
        );
    }
    check(
        "fields.number = { from = \"patron.rijksregisternummer\" }",
        true,
    );
    check(
        "fields.number = { from = \"patron.rijksregisternummer\", mask = \"present\" }",
        true,
    );
    let asked = "when = [{ field = \"status\", is = [\"open\"] }, { field = \
                 \"patron.rijksregisternummer\", present = true }]";
    check(asked, true);
    check("fields.card = { from = \"patron.card_number\" }", false);
}

#[test]
fn a_slip_names_fields_above_it() {
    let file = "recipients/reservation-slip.toml";
    check_in(
        file,
        "mark = \"shelf_mark\"",
        "mark = \"shelfmark\"",
        &[
            "`mark` names `shelfmark`: did you mean `shelf_mark`? (expected an output field above this \
         one, of one value)",
        ],
    );
    check_in(
        file,
        ", lines = [\"card_suffix\",",
        ", lines = [\"slip\",",
        &["`lines` names `slip`, expected an output field above this one, of one value"],
    );
}

#[test]
fn an_age_is_taken_on_a_day_of_the_source() {
    let file = "recipients/statistics.toml";
    check_in(
        file,
        "at = \"loaned_at\"",
        "at = \"patron.updated_at\"",
        &["`at` is \"patron.updated_at\", expected a date or an instant of the source itself"],
    );
    check_in(
        file,
        "at = \"loaned_at\"",
        "at = \"branch\"",
        &["`at` is \"branch\", expected a date or an instant of the source itself"],
    );
    check_in(
        file,
        ", at = \"loaned_at\"",
        "",
        &["no `at`, expected the path of a field of the source"],
    );
}

#[test]
fn a_patron_needs_no_prefix_where_patrons_are_the_source() {
    let file = "recipients/kb-recognition.toml";
    check_in(
        file,
        "{ from = \"library\" }",
        "{ from = \"patron.library\" }",
        &["`patron.library` where patrons are the source themselves: did you mean `library`?"],
    );
    let folder = Folder::new();
    let event = "online_account.created_at";
    folder.change(
        "recipients/kb-membership.toml",
        event,
        &format!("patron.{event}"),
    );
    assert_eq!(
        folder.load().policy.version,
        shipped_policy().policy.version
    );
}

#[test]
fn each_mistake_in_the_catalogue_is_told() {
    let file = "records/loan.toml";
    check_in(
        file,
        "type = \"instant\"",
        "type = \"instnat\"",
        &[
            "unknown type `instnat`: did you mean `instant`? (expected one of `text`, `card_number`, \
         `integer`, `boolean`, `text_or_number`, `date`, `instant`, `email`, `phone`, `iban`, \
         `bsn`, `rijksregisternummer`, `isil`, `currency`)",
        ],
    );
    check_in(
        file,
        "class = \"free_text\"",
        "class = \"freetext\"",
        &[
            "`class` is \"freetext\": did you mean `free_text`? (expected what the field is to the law: \
         one of `plain`, `personal`, `contact`, `identifier`, `financial`, `national_id`, \
         `special`, `free_text`, `secret`, `event`)",
        ],
    );
    check_in(
        file,
        "id    = \"loan_id\"",
        "id    = \"loan\"",
        &["no field `loan`, expected it among the fields: every record must have it"],
    );
    check_in(
        file,
        "topic = \"loan\"",
        "topic = \"patron\"",
        &["records/patron.toml:8: the topic `patron` of `loan`, expected a topic of its own"],
    );
    check_in(
        file,
        "\"item.isbn\"     =",
        "item.isbn =",
        &[
            "fields under `item` without quotes, expected the whole path in quotes, as \"item.name\" = \
         { ... }",
        ],
    );
    check_in(
        file,
        "name  = \"loan\"",
        "nmae  = \"loan\"",
        &["unknown key `nmae`: did you mean `name`?"],
    );
    check_in(
        "records/objection.toml",
        "key   = \"patron\"",
        "key = \"none\"",
        &["`objection` without a patron, expected `key = \"patron\"`"],
    );
    check_in(
        "records/objection.toml",
        "role  = \"gate\" ",
        "role = \"record\"",
        &["`objection` without the role of a gate, expected `role = \"gate\"`"],
    );
    check_in(
        "records/objection.toml",
        "\nstatus ",
        "\nstate ",
        &[
            "no field `status` in `objection`: did you mean `state`? (expected it among the fields: what \
             patrons decide is read from it)",
        ],
    );
    check_in(
        "records/consent.toml",
        "at            = { type = \"instant\"",
        "at = { type = \"date\"",
        &["`at` of another type in `consent`, expected the type `instant`"],
    );
    let file = "records/debt.toml";
    let folder = Folder::new();
    folder.change(file, "key   = \"patron\"", "key = \"none\"");
    let told = folder.told();
    assert_eq!(told.len(), 6, "{told:#?}");
    assert!(
        told.iter()
            .all(|line| line.contains("on a source whose records have no patron"))
    );
}

#[test]
fn each_mistake_in_the_settings_is_told() {
    let check = |old: &str, new: &str, want: &[&str]| check_in("zeef.toml", old, new, want);
    check(
        "# records = 50000",
        "records = 0",
        &["`records` is 0, expected a whole number from 1 to 1000000: records of a batch"],
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
        &[
            "the key of `deurwaarder` in the file itself, expected { env = \"NAME\" } or { file = \
         \"PATH\" }",
        ],
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
    check(
        "[holds]",
        "[hold]",
        &["unknown key `hold`: did you mean `holds`?"],
    );
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
        &[
            "the key of `zeef.state` in the file itself, expected { env = \"NAME\" } or { file = \
         \"PATH\" }",
        ],
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
    check(
        "[batch]",
        "[batches]",
        &["unknown key `batches`: did you mean `batch`?"],
    );
}

#[test]
fn settings_are_read() {
    let folder = Folder::new();
    folder.write(
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
    folder.write("password", "geheim\n");
    let Loaded { daemon, policy, .. } = folder.load();
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
    assert_eq!(
        lanes,
        [("finance", 1, 2), ("main", 5, 1), ("statistics", 1, 1)]
    );
    assert_eq!(daemon.rates["deurwaarder"].burst, 10);
    assert_eq!(daemon.admin.listen, None);
    assert_eq!(
        daemon.keys.source("statistics").to_string(),
        "environment variable ZEEF_KEY"
    );
    assert_eq!(policy.patron_term.to_string(), "P18M");
    assert_eq!((daemon.holds.records, daemon.holds.days), (100_000, 7));
    assert_eq!(daemon.state.sweep_seconds, 5);
    assert!(daemon.directory.group_read);
    assert_eq!(daemon.limits.gate_wait_seconds, 90);
    assert_eq!(daemon.limits.retractions_per_hour, 500);
    let expected = daemon.sources["objection"].expect_within.unwrap();
    assert_eq!(expected.to_string(), "P7D");
    let own = daemon.keys.source("zeef.state").to_string();
    assert!(own.ends_with("/own.key"), "{own}");
    let file = daemon.keys.source("deurwaarder").to_string();
    assert!(file.ends_with("secret/deurwaarder.key"), "{file}");
    assert!(!format!("{daemon:?}").contains("SASL_SSL"));
}

/// What consents and objections may name, and what they count for, are part of the
/// policy: also what a recipient that is switched off is called.
#[test]
fn what_consents_and_objections_name_is_part_of_the_policy() {
    let version = |zeef: &str, changes: &[(&str, &str, &str)]| {
        let folder = Folder::new();
        folder.write("zeef.toml", &format!("{LANE}{zeef}"));
        for (file, old, new) in changes {
            folder.change(file, old, new);
        }
        folder.load().policy
    };
    let shipped = version("", &[]);
    let names = shipped.known_names();
    assert!(names.purposes.contains(&"interlibrary-loan".to_owned()));
    assert!(names.recipients.contains(&"ill-library-contact".to_owned()));
    assert!(shipped.asks_consent_for("online-library"));
    assert!(!shipped.asks_consent_for("statistics"));
    let yields =
        |policy: &Policy, name: &str| policy.recipient(name).unwrap().yields_to_objections();
    assert!(yields(&shipped, "statistics") && !yields(&shipped, "service-message"));
    let others = version("[purposes]\nothers = [\"reading-club\"]", &[]);
    assert!(
        others
            .known_names()
            .purposes
            .contains(&"reading-club".to_owned())
    );
    let successor = "[libraries]\nsuccessor_of = { \"NL-New\" = [\"NL-Old\"] }";
    let successor = version(successor, &[]);
    assert_eq!(successor.successor_of["NL-New"], ["NL-Old"]);
    let purpose = "purpose      = \"interlibrary-loan\"";
    let off = (
        "recipients/ill-library-contact.toml",
        purpose,
        "purpose = \"another\"",
    );
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
fn what_consents_and_objections_name_has_its_form() {
    let folder = Folder::new();
    folder.write(
        "zeef.toml",
        "[purposes]\nothers = [\"Reading club\"]\n[libraries]\n\
         successor_of = { \"New\" = [\"NL-Old\", \"old\"], \"NL-X\" = \"NL-Y\" }\nother = 1\n",
    );
    folder.change(
        "recipients/statistics.toml",
        "\"public_task\"",
        "\"public_task\"\nobjections = \"go on\"",
    );
    let told = folder.told().join("\n");
    for part in [
        "zeef.toml:2: the purpose \"Reading club\"",
        "zeef.toml:4: library \"New\"",
        "zeef.toml:4: library \"old\"",
        "zeef.toml:4: `NL-X` is",
        "zeef.toml:5: unknown key `other`",
        "recipients/statistics.toml:",
        "stop",
    ] {
        assert!(told.contains(part), "no {part} in\n{told}");
    }
}

#[test]
fn the_partitioner_is_a_known_one() {
    use crate::policy::settings::Partitioner::{self, Crc32, Fnv1a, Murmur2};
    let folder = Folder::new();
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
        folder.write(
            "zeef.toml",
            &format!("{LANE}[kafka]\npartitioner = \"{word}\""),
        );
        let found = folder.load().daemon.kafka.partitioner;
        assert_eq!(found, want, "{word}");
        assert!(all.iter().any(|(word, _)| *word == found.as_str()));
    }
    // Where it is by chance nothing can be compared.
    for word in ["random", "murmur3", ""] {
        folder.write(
            "zeef.toml",
            &format!("{LANE}[kafka]\npartitioner = \"{word}\""),
        );
        let told = folder.told();
        assert_eq!(told.len(), 1, "{told:#?}");
        assert!(told[0].contains("partitioner"), "{told:#?}");
    }
}

#[test]
fn mistakes_of_all_files_are_told_in_one_go() {
    let folder = Folder::new();
    folder.change(
        "recipients/deurwaarder.toml",
        "patron.birth_date",
        "patron.birthdate",
    );
    folder.change(
        "recipients/statistics.toml",
        "\"public_task\"",
        "\"public\"",
    );
    folder.change("records/debt.toml", "\"currency\"", "\"currencies\"");
    folder.write("recipients/ill-library.toml", "name = \"ill-library\n");
    folder.change("zeef.toml", "# wait_ms = 50", "wait_ms = 0");
    let told = folder.told();
    let starts = [
        "recipients/deurwaarder.toml:",
        "recipients/ill-library.toml:1: not TOML: ",
        "recipients/statistics.toml:",
        "records/debt.toml:",
        "zeef.toml:",
    ];
    assert_eq!(told.len(), starts.len(), "{told:#?}");
    for (line, start) in told.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn a_kind_that_cannot_be_read_is_one_mistake() {
    let folder = Folder::new();
    folder.write("records/loan.toml", "name = ");
    assert_eq!(folder.told().len(), 1, "{:#?}", folder.told());
    folder.write("records/patron.toml", "name = ");
    let told = folder.told();
    assert!(
        told.iter()
            .all(|line| line.contains("not TOML") || line.contains("kind of record")),
        "{told:#?}"
    );
}

#[test]
fn a_folder_without_files_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let told = shown(&Policy::load(folder.path()).unwrap_err());
    assert!(told.contains("records: cannot be read"), "{told}");
    assert!(told.contains("recipients: cannot be read"), "{told}");
}

/// The shipped catalogue with a special field, one more recipient, and the
/// example of a rule.
fn example(text: &str) -> Folder {
    let folder = Folder::new();
    for path in list(&folder.0.path().join("recipients")).unwrap() {
        std::fs::remove_file(path).unwrap();
    }
    let diet = "diet = { type = \"text\", class = \"special\", meaning = \"diet\" }\n[fields]\n";
    let patron = folder
        .text("records/patron.toml")
        .replace("[fields]\n", "[fields]\n@");
    folder.write(
        "records/patron.toml",
        &patron.replace('@', diet.trim_end_matches("[fields]\n")),
    );
    let other = "deurwaarder";
    let text_of_other = std::fs::read_to_string(shipped().join("recipients/deurwaarder.toml"));
    let text_of_other = text_of_other
        .unwrap()
        .replace("out.deurwaarder", "out.other");
    folder.write(&format!("recipients/{other}.toml"), &text_of_other);
    folder.write("recipients/example.toml", text);
    folder.write("zeef.toml", "[lanes.example]\nrecipients = [\"example\"]\n");
    folder
}

/// The same with a recipient that has what every example has, and these lines.
fn of_template(lines: &str) -> Folder {
    example(&template_text(lines))
}

#[test]
fn every_rule_has_an_example_that_breaks_it_and_no_other() {
    let mut names: Vec<_> = LINTS.iter().map(|lint| lint.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), LINTS.len());
    for lint in LINTS {
        let folder = example(&lint.example_text());
        if lint.name == "lane-of-its-own" {
            folder.write("zeef.toml", "");
        }
        let mistakes = folder.mistakes();
        assert!(
            !mistakes.is_empty(),
            "{} holds:\n{}",
            lint.name,
            lint.example_text()
        );
        for mistake in &mistakes {
            assert_eq!(mistake.rule, Some(lint.name), "{mistake}");
            let of_a_folder = std::path::Path::new(&mistake.file).is_dir();
            assert!(mistake.line > 0 || of_a_folder, "{mistake}");
        }
    }
}

#[test]
fn a_switched_off_recipient_may_wait_for_its_papers() {
    // Who is switched off is in no lane.
    for lint in LINTS.iter().filter(|lint| lint.name != "lane-of-its-own") {
        let folder = example(&format!("enabled = false\n{}", lint.example_text()));
        let mistakes = folder.mistakes();
        assert_eq!(
            mistakes.is_empty(),
            lint.paper,
            "{}: {}",
            lint.name,
            shown(&mistakes)
        );
        if lint.paper {
            let loaded = folder.load();
            assert_eq!(loaded.policy.disabled.len(), 1);
            assert!(loaded.policy.recipient("example").is_none());
            assert!(loaded.notes[0].contains(lint.name), "{:?}", loaded.notes);
        }
    }
}

#[test]
fn a_complete_paper_opens_what_it_is_for() {
    #[track_caller]
    fn check(lines: &str) {
        of_template(lines).load();
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

    /// Whatever is cut out of a file, the answer is a policy or mistakes that
    /// say where; what no file of a folder has has no line.
    #[test]
    fn no_cut_breaks_the_reading(file in 0_usize..16, start in 0.0..1.0_f64, length in 1_usize..40) {
        let folder = Folder::new();
        let below = |name: &str| list(&folder.0.path().join(name)).unwrap();
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
fn a_period_is_a_month_of_a_date_of_the_record() {
    #[track_caller]
    fn check(period: &str, want: &[&str]) {
        let file = "recipients/statistics.toml";
        let shipped = r#"period        = { every = "P1M", of = "loaned_at" }"#;
        check_in(file, shipped, period, want);
    }
    check(r#"period = "P1M""#, &[]);
    check(
        r#"period = "P1W""#,
        &["`period` is \"P1W\", expected `P1M`, the only period there is"],
    );
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
    check_in(
        "recipients/service-message.toml",
        "[fields]",
        "period = \"P1M\"\n[fields]",
        &["`period`, expected none, or `pseudonymised = true`: others get what they get at once"],
    );
}

#[test]
fn a_period_needs_a_lane_of_its_own() {
    #[track_caller]
    fn check(zeef: &str, want: &[&str]) {
        let folder = Folder::new();
        folder.write("zeef.toml", zeef);
        let told: Vec<String> = folder.mistakes().iter().map(ToString::to_string).collect();
        let line = "recipients/statistics.toml:18: ";
        assert_eq!(told.len(), want.len(), "{told:#?}");
        for (told, want) in told.iter().zip(want) {
            assert!(told.contains(line) && told.contains(want), "{told}");
        }
    }
    check(LANE, &[]);
    check(
        "",
        &[
            "the lane `main` with `deurwaarder`, `ill-library`, `kb-membership`, `kb-recognition`, `reservation-slip`, `service-message`, expected a lane of its own in zeef.toml: `[lanes.statistics]`",
        ],
    );
    check(
        "[lanes.loans]\nrecipients = [\"statistics\", \"service-message\"]\nworkers = 2",
        &[
            "the lane `loans` with `service-message`",
            "2 workers in the lane `loans`",
        ],
    );
}

#[test]
fn the_version_of_a_recipient_is_of_its_own_text() {
    let version = |file: &str, old: &str, new: &str| {
        let folder = Folder::new();
        folder.change(file, old, new);
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
