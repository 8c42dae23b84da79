//! The rules over everything that can influence an output, against a model of them that was written
//! from their text alone.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

/// What a field is to the rules, whatever its catalogue calls it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FieldNature {
    Plain,
    Person,
    Identifier,
    National,
    Bsn,
    Special,
    FreeText,
    Secret,
    Event,
}
use FieldNature::{Bsn, Event, FreeText, Identifier, National, Person, Plain, Secret, Special};

/// A field of both kinds: path, type and class as declared, and what it is.
type FieldRow = (&'static str, &'static str, &'static str, FieldNature);

const FIELDS: &[FieldRow] = &[
    ("plain_text", "text", "plain", Plain),
    ("plain_day", "date", "plain", Plain),
    ("plain_moment", "instant", "plain", Plain),
    ("plain_flag", "boolean", "plain", Plain),
    ("plain_mail", "email", "plain", Plain),
    ("updated_at", "text", "plain", Plain),
    ("personal_text", "text", "personal", Person),
    ("personal_day", "date", "personal", Person),
    ("personal_moment", "instant", "personal", Person),
    ("contact_text", "text", "contact", Person),
    ("financial_number", "integer", "financial", Person),
    ("identifier_text", "text", "identifier", Identifier),
    ("national_text", "text", "national_id", National),
    ("special_text", "text", "special", Special),
    ("special_day", "date", "special", Special),
    ("note", "text", "free_text", FreeText),
    ("secret_text", "text", "secret", Secret),
    ("secret_moment", "instant", "secret", Secret),
    ("event_moment", "instant", "event", Event),
    ("old_bsn", "text", "plain", Bsn),
    ("person.bsn_number", "text", "personal", Bsn),
    ("insz", "text", "plain", National),
    ("person.rijksregister_nummer", "text", "contact", National),
    ("pin_code", "integer", "plain", Secret),
    ("login.password", "text", "free_text", Secret),
    ("birth_date", "date", "personal", Person),
    ("born_on", "date", "plain", Plain),
    ("birth_year", "integer", "plain", Plain),
    ("bsns[]", "text", "plain", Bsn),
    ("words[]", "text", "personal", Person),
    ("rows[].text", "text", "personal", Person),
    ("rows[].pin", "text", "plain", Secret),
    ("card_number", "card_number", "identifier", Identifier),
];

const USE_KINDS: &[UseKind] = &[
    UseKind::Whole,
    UseKind::Masked("mask = \"present\"", Bit),
    UseKind::Masked("mask = \"pseudonym\"", Pseudonym),
    UseKind::Masked("mask = \"year\"", Date),
    UseKind::Masked("mask = \"lowercase\"", Whole),
    UseKind::Masked("mask = \"or_else\", value = \"EUR\"", Whole),
    UseKind::Masked("mask = \"last_digits\", count = 5, min_hidden = 4", Whole),
    UseKind::Masked("mask = \"last_digits\", count = 3, min_hidden = 3", Whole),
    UseKind::Masked("mask = \"last_digits\", count = 5, min_hidden = 5", Part),
    UseKind::Masked("mask = \"first_letters\", count = 4, surname_key = \"kernwoord\"", Whole),
    UseKind::Masked("mask = \"first_letters\", count = 3, surname_key = \"kernwoord\"", Part),
    UseKind::Masked(
        "mask = \"first_letters\", count = 3, detect = \"all\", surname_key = \"kernwoord\"",
        Part,
    ),
    UseKind::Detected("\"all\""),
    UseKind::Detected("[\"email\"]"),
    UseKind::Present,
    UseKind::Is,
    UseKind::Before,
    UseKind::NotBefore,
    UseKind::Above,
    UseKind::Between,
    UseKind::Topic,
    UseKind::Stage,
    UseKind::Retract,
    UseKind::Forget,
    UseKind::ImpliesConsent,
];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Visibility {
    Bit,
    Pseudonym,
    Part,
    Date,
    Whole,
}
use Visibility::{Bit, Date, Part, Pseudonym, Whole};

#[derive(Clone, Copy, PartialEq, Eq)]
enum UseKind {
    Whole,
    Masked(&'static str, Visibility),
    Detected(&'static str),
    Present,
    Is,
    Before,
    NotBefore,
    Above,
    Between,
    Topic,
    Stage,
    Retract,
    Forget,
    ImpliesConsent,
}

impl UseKind {
    fn visibility(self) -> Visibility {
        match self {
            UseKind::Whole | UseKind::Detected(_) | UseKind::Is | UseKind::Topic => Whole,
            UseKind::Between => Whole,
            UseKind::Above => Bit,
            UseKind::Masked(_, shown) => shown,
            UseKind::Present | UseKind::Stage | UseKind::Forget | UseKind::ImpliesConsent => Bit,
            UseKind::Retract | UseKind::Before | UseKind::NotBefore => Date,
        }
    }

    /// Returns whether a file may use a field of this path and type so, the rules apart.
    fn fits(self, path: &str, kind: &str, joined: bool) -> bool {
        let text = matches!(kind, "text");
        let dated = matches!(kind, "date" | "instant");
        if path.contains("[]") {
            return self == UseKind::Whole;
        }
        match self {
            UseKind::Whole | UseKind::Present => true,
            UseKind::Masked(mask, _) if mask.contains("present") => true,
            UseKind::Masked(mask, _) if mask.contains("year") => dated,
            UseKind::Masked(mask, _) if mask.contains("first_letters") => text,
            UseKind::Masked(mask, _) if mask.contains("lowercase") || mask.contains("or_else") => {
                text || dated
            }
            UseKind::Masked(..) => text || dated || kind == "card_number",
            UseKind::Detected(_) | UseKind::Topic => text || dated,
            UseKind::Is => kind != "card_number",
            UseKind::Before | UseKind::NotBefore => dated,
            UseKind::Above | UseKind::Between => kind == "integer",
            UseKind::Stage => dated && !joined,
            UseKind::Retract | UseKind::Forget => dated,
            UseKind::ImpliesConsent => kind == "instant" && joined,
        }
    }
}

/// One use of a field by a recipient.
#[derive(Clone, Copy)]
struct FieldUse {
    field: &'static FieldRow,
    joined: bool,
    kind: UseKind,
}

impl FieldUse {
    fn visibility(self) -> Visibility {
        let dated = matches!(self.field.1, "date" | "instant") || self.field.0 == "updated_at";
        match self.kind {
            UseKind::Masked(mask, _) if mask.contains("last_digits") && dated => Whole,
            way => way.visibility(),
        }
    }

    fn path(self) -> String {
        let prefix = if self.joined { "patron." } else { "" };
        format!("{prefix}{}", self.field.0)
    }

    fn has_nature(self, truth: FieldNature) -> bool {
        self.field.3 == truth
    }

    fn is_birth(self) -> bool {
        ["birth_date", "born_on", "birth_year"].contains(&self.field.0)
    }

    fn is_condition(self) -> bool {
        let range = [UseKind::Before, UseKind::NotBefore, UseKind::Above, UseKind::Between];
        range.contains(&self.kind)
            || matches!(self.kind, UseKind::Present | UseKind::Is | UseKind::Topic | UseKind::Stage)
    }

    /// Finer than a day.
    fn is_moment(self) -> bool {
        self.field.1 == "instant" || self.field.0 == "updated_at"
    }

    /// What all outputs of a patron have in common changes them on one day.
    fn changes_on_date_of_patron(self) -> bool {
        self.joined && matches!(self.kind, UseKind::Before | UseKind::NotBefore | UseKind::Retract)
    }

    fn is_of_a_person(self) -> bool {
        !matches!(self.field.3, Plain | FreeText | Secret) || self.field.1 == "email"
    }
}

/// What a recipient says beside its uses.
#[derive(Clone, Copy, Debug, Default)]
struct RecipientFlags {
    pseudonymised: bool,
    explicit: bool,
    authorised: bool,
    credential_reason: bool,
    free_text_reason: bool,
}

/// Returns the rules that a recipient breaks, by their text.
fn expected_violations(uses: &[FieldUse], flags: RecipientFlags) -> BTreeSet<&'static str> {
    let any = |test: &dyn Fn(FieldUse) -> bool| uses.iter().any(|one| test(*one));
    let pseudonymised = flags.pseudonymised;
    let read = |one: FieldUse| one.kind == UseKind::Detected("\"all\"");
    let card = |one: FieldUse| one.field.1 == "card_number" && one.visibility() == Whole;
    let birth = |one: FieldUse| {
        let number = one.has_nature(National) && one.visibility() == Whole;
        number || (one.is_birth() && one.visibility() >= Date)
    };
    let points = |one: FieldUse| {
        // The masks of the model that show a part show letters or digits.
        let shown = matches!(one.visibility(), Whole | Part);
        let characters = one.is_of_a_person() && shown;
        !one.is_condition() && (characters || (one.is_birth() && one.visibility() >= Date))
    };
    let fine = |one: FieldUse| one.is_moment() && one.visibility() == Whole;
    let asks = |one: FieldUse| {
        let points = one.is_of_a_person() || one.is_birth() || one.is_moment();
        let is_asked = one.is_condition() || one.kind == UseKind::ImpliesConsent;
        is_asked && (points || one.changes_on_date_of_patron())
    };
    let ends_for_patron = |one: FieldUse| {
        one.kind == UseKind::Retract && one.changes_on_date_of_patron() && !one.is_birth()
    };
    let implied = any(&|one| one.kind == UseKind::ImpliesConsent);
    let explicit = flags.explicit && !implied;
    let forgets = !any(&|one| one.kind == UseKind::Retract);
    let ends = |one: FieldUse| one.kind == UseKind::NotBefore && !one.joined;
    [
        ("secret", any(&|one| one.has_nature(Secret))),
        ("bsn", any(&|one| one.has_nature(Bsn))),
        ("national-number", !flags.authorised && any(&|one| one.has_nature(National))),
        ("special-category", !explicit && any(&|one| one.has_nature(Special))),
        (
            "free-text",
            !flags.free_text_reason && any(&|one| one.has_nature(FreeText) && !read(one)),
        ),
        ("pseudonym", any(&|one| one.visibility() == Pseudonym && !one.has_nature(Identifier))),
        ("login", !flags.credential_reason && any(&card) && any(&birth)),
        (
            "implied-consent",
            any(&|one| one.kind == UseKind::ImpliesConsent && !one.has_nature(Event)),
        ),
        ("pseudonymised", pseudonymised && any(&points)),
        ("pseudonymised-condition", pseudonymised && any(&asks)),
        ("pseudonymised-term", pseudonymised && any(&ends_for_patron)),
        ("pseudonymised-time", pseudonymised && any(&fine)),
        ("ending-condition", forgets && any(&ends)),
        ("pseudonymised-text", pseudonymised && any(&|one| one.has_nature(FreeText))),
        (
            "pseudonym-by-month",
            pseudonymised && any(&|one| one.visibility() == Pseudonym && one.is_of_a_person()),
        ),
    ]
    .into_iter()
    .filter_map(|(rule, is_broken)| is_broken.then_some(rule))
    .collect()
}

fn kind_file(name: &str, role: &str, id: &str, more: &str) -> String {
    let mut text = format!(
        "name = \"{name}\"\ntitle = \"Soort\"\ntopic = \"{name}\"\nrole = \"{role}\"\nid = \
         \"{id}\"\n[fields]\npatron_id = {{ type = \"text\", class = \"identifier\", meaning = \
         \"m\" }}\nlibrary = {{ type = \"isil\", class = \"plain\", meaning = \"m\" }}\n{more}"
    );
    for (path, kind, class, _) in FIELDS {
        if *kind != "card_number" || role == "patron" {
            let _ = writeln!(
                text,
                "\"{path}\" = {{ type = \"{kind}\", class = \"{class}\", meaning = \"m\" }}"
            );
        }
    }
    text
}

/// A config with the fields of [`FIELDS`] and one recipient of this text.
fn config_folder(recipient: &str) -> ConfigFolder {
    let folder = ConfigFolder(tempfile::tempdir().unwrap());
    for below in ["records", "recipients"] {
        std::fs::create_dir(folder.0.path().join(below)).unwrap();
    }
    let card = "card_kind = { type = \"text\", class = \"plain\", meaning = \"m\" }\n\
                rijksregisternummer = { type = \"rijksregisternummer\", class = \"national_id\", \
                meaning = \"m\" }\n";
    let patron = kind_file("patron", "patron", "patron_id", card);
    folder.write_file("records/patron.toml", &patron);
    let id = "visit_id = { type = \"text\", class = \"identifier\", meaning = \"m\" }\n";
    let visit = kind_file("visit", "record", "visit_id", id);
    folder.write_file("records/visit.toml", &visit);
    let consent = std::fs::read_to_string(shipped_folder().join("records/consent.toml")).unwrap();
    folder.write_file("records/consent.toml", &consent);
    folder.write_file("recipients/r.toml", recipient);
    folder.write_file("zeef.toml", "[lanes.r]\nrecipients = [\"r\"]\n");
    folder
}

/// A recipient's file that has these uses.
fn recipient_file(uses: &[FieldUse], flags: RecipientFlags) -> String {
    let implies = uses.iter().find(|one| one.kind == UseKind::ImpliesConsent);
    let mut text = String::from(
        "name = \"r\"\ntitle = \"R\"\nsource = \"visit\"\npurpose = \"r\"\npurpose_text = \
         \"R\"\nnotice = { on = \"2018-05-25\", where = \"R\" }\ncontroller = \"R\"\nlibraries = \"all\"\nkey = { pseudonym = \"visit_id\" }\n",
    );
    let mut push_line = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    match implies {
        Some(one) => push_line(format!(
            "legal_basis = \"consent\"\nconsent = {{ purpose = \"r\", implied_by = \"{}\" }}",
            one.path()
        )),
        None if flags.explicit => push_line(
            "legal_basis = \"consent\"\nconsent = { purpose = \"r\", explicit = true }".to_owned(),
        ),
        None => push_line("legal_basis = \"contract\"".to_owned()),
    }
    push_line(format!("pseudonymised = {}", flags.pseudonymised));
    if flags.pseudonymised {
        push_line("period = { every = \"P1M\", of = \"plain_day\" }".to_owned());
    }
    if flags.authorised {
        push_line(
            "authorisation = { reference = \"A\", approved_by = \"B\", approved_on = \
             2026-01-01, from = 2026-01-01, until = 2030-01-01 }"
                .to_owned(),
        );
    }
    if flags.credential_reason {
        push_line("credential_reason = \"on record\"".to_owned());
    }
    if flags.free_text_reason {
        push_line("free_text_reason = \"on record\"".to_owned());
    }
    let of = |way: fn(UseKind) -> bool| uses.iter().find(move |one| way(one.kind));
    match of(|way| way == UseKind::Topic) {
        Some(one) => push_line(format!(
            "topic = {{ by = \"{}\", of = {{ \"x\" = \"out.r\" }} }}",
            one.path()
        )),
        None => push_line("topic = \"out.r\"".to_owned()),
    }
    let (from, after) = match of(|way| matches!(way, UseKind::Retract | UseKind::Forget)) {
        Some(one) if one.kind == UseKind::Retract => (one.path(), "retract"),
        Some(one) => (one.path(), "forget"),
        None => ("plain_day".to_owned(), "forget"),
    };
    push_line(format!("retention = {{ term = \"P1Y\", from = \"{from}\", after = \"{after}\" }}"));
    if let Some(one) = of(|way| way == UseKind::Stage) {
        push_line(format!("stages = [\"{}\", \"{}\"]", one.path(), other_stage(one)));
    }
    push_line(format!("when = [{}]", render_conditions(uses)));
    push_line("[fields]\nlibrary = { from = \"library\" }".to_owned());
    for (index, one) in uses.iter().enumerate() {
        if let Some(value) = render_output_field(*one) {
            push_line(format!("f{index} = {{ {value} }}"));
        }
    }
    text
}

/// Returns what a stage stands beside: the plain field of its type, or for that one the personal
/// one.
fn other_stage(stage: &FieldUse) -> &'static str {
    match (stage.field.1, stage.field.0) {
        ("date", "plain_day") => "personal_day",
        ("date", _) => "plain_day",
        (_, "plain_moment") => "personal_moment",
        _ => "plain_moment",
    }
}

fn render_conditions(uses: &[FieldUse]) -> String {
    let test = |one: &FieldUse| match (one.kind, one.field.1) {
        (UseKind::Present, _) => Some("present = true"),
        (UseKind::Before, _) => Some("before = \"now-P16Y\""),
        (UseKind::NotBefore, _) => Some("not_before = \"now\", before = \"now+P30D\""),
        (UseKind::Above, _) => Some("above = 0"),
        (UseKind::Between, _) => Some("above = 0, below = 9"),
        (UseKind::Is, "boolean") => Some("is = [true]"),
        (UseKind::Is, "email") => Some("is = [\"a@example.org\"]"),
        (UseKind::Is, "integer") => Some("is = [1, 2]"),
        (UseKind::Is, "date") => Some("is = [\"2026-01-01\"]"),
        (UseKind::Is, "instant") => Some("is = [\"2026-01-01T00:00:00Z\"]"),
        (UseKind::Is, _) => Some("is = [\"x\", \"y\"]"),
        _ => None,
    };
    let all = uses.iter().filter_map(|one| {
        let test = test(one)?;
        Some(format!("{{ field = \"{}\", {test} }}", one.path()))
    });
    all.collect::<Vec<_>>().join(", ")
}

fn render_output_field(one: FieldUse) -> Option<String> {
    let path = one.path();
    Some(match one.kind {
        UseKind::Whole => match path.split_once("[].") {
            Some((list, part)) => format!("from = \"{list}[]\", fields = [\"{part}\"]"),
            None => format!("from = \"{path}\""),
        },
        UseKind::Masked(mask, _) => format!("from = \"{path}\", {mask}"),
        UseKind::Detected(names) => format!("from = \"{path}\", detect = {names}"),
        _ => return None,
    })
}

/// Keeps what can be said in one file, as it has one topic and one term.
fn expressible_uses(some: Vec<(usize, bool, usize)>) -> Vec<FieldUse> {
    let mut uses: Vec<FieldUse> = Vec::new();
    for (field, joined, way) in some {
        let one = FieldUse {
            field: &FIELDS[field],
            joined: joined || FIELDS[field].1 == "card_number",
            kind: USE_KINDS[way],
        };
        let once = |way: UseKind| match way {
            UseKind::Topic => 1,
            UseKind::Stage => 2,
            UseKind::Retract | UseKind::Forget => 3,
            UseKind::ImpliesConsent => 4,
            _ => 0,
        };
        let is_taken =
            once(one.kind) > 0 && uses.iter().any(|other| once(other.kind) == once(one.kind));
        if one.kind.fits(one.field.0, one.field.1, one.joined) && !is_taken {
            uses.push(one);
            // What a stage stands beside is a stage too.
            if one.kind == UseKind::Stage && one.field.0.starts_with("plain_") {
                let beside = |row: &&FieldRow| row.0 == one.field.0.replace("plain_", "personal_");
                let field = FIELDS.iter().find(beside).unwrap();
                uses.push(FieldUse { field, ..one });
            }
        }
    }
    uses
}

fn any_recipient_flags() -> impl Strategy<Value = RecipientFlags> {
    (any::<[bool; 5]>()).prop_map(|[a, b, c, d, e]| RecipientFlags {
        pseudonymised: a,
        explicit: b,
        authorised: c,
        credential_reason: d,
        free_text_reason: e,
    })
}

#[track_caller]
fn assert_lints_match_model(uses: &[FieldUse], flags: RecipientFlags) {
    let text = recipient_file(uses, flags);
    let mistakes = config_folder(&text).mistakes();
    let found: BTreeSet<&str> = mistakes
        .iter()
        .map(|mistake| {
            assert!(mistake.line > 0, "{mistake}");
            mistake.rule.unwrap_or_else(|| panic!("{mistake}\n{text}"))
        })
        .collect();
    assert_eq!(found, expected_violations(uses, flags), "{}\n{text}", format_mistakes(&mistakes));
}

#[test]
fn lint_each_use_of_a_field_breaks_the_rules_of_its_class() {
    let mut count = 0;
    for field in 0..FIELDS.len() {
        for way in 0..USE_KINDS.len() {
            for joined in [false, true] {
                let uses = expressible_uses(vec![(field, joined, way)]);
                if uses.is_empty() {
                    continue;
                }
                count += 1;
                for pseudonymised in [false, true] {
                    let says = RecipientFlags { pseudonymised, ..RecipientFlags::default() };
                    assert_lints_match_model(&uses, says);
                }
            }
        }
    }
    assert!(count > 400, "{count}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 250,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn lint_matches_the_model_for_any_recipient(
        some in proptest::collection::vec((0..FIELDS.len(), any::<bool>(), 0..USE_KINDS.len()), 1..7),
        says in any_recipient_flags(),
    ) {
        assert_lints_match_model(&expressible_uses(some), says);
    }
}

/// The shipped recipient `service-message` with more lines in its fields, and a catalogue in which
/// a field of patrons has another class.
#[track_caller]
fn assert_rules_with_class(path: &str, class: &str, old: &str, new: &str, want: &[&str]) {
    let folder = ConfigFolder::shipped();
    let text = folder.read_file("records/patron.toml");
    let start = text.find(&format!("\n{path} ")).unwrap();
    let (before, after) = text.split_at(start);
    let class = after.replacen("class = \"personal\"", &format!("class = \"{class}\""), 1);
    folder.write_file("records/patron.toml", &format!("{before}{class}"));
    folder.replace_text("recipients/service-message.toml", old, new);
    let mistakes = folder.mistakes();
    let here = mistakes.iter().filter(|mistake| mistake.file.ends_with("service-message.toml"));
    let rules: BTreeSet<&str> = here.filter_map(|mistake| mistake.rule).collect();
    assert_eq!(rules.into_iter().collect::<Vec<_>>(), want, "{}", format_mistakes(&mistakes));
}

#[test]
fn lint_mask_output_takes_the_strictest_class_of_its_inputs() {
    let same = "branch = { from = \"branch\" }";
    for part in ["initials", "surname_prefix", "surname"] {
        assert_rules_with_class(part, "secret", same, same, &["secret"]);
        assert_rules_with_class(part, "special", same, same, &["special-category"]);
    }
    let mark = "branch = { from = \"patron.surname\", mask = \"first_letters\" }";
    let name = "name   = { from = \"patron.surname\", mask = \"full_name\" }";
    assert_rules_with_class("surname_prefix", "secret", name, "name = { from = \"branch\" }", &[]);
    let initial = "name = { from = \"patron.initials\", mask = \"initial\" }";
    assert_rules_with_class("given_name", "secret", name, initial, &["secret"]);
    assert_rules_with_class("given_name", "special", same, mark, &[]);
}

#[test]
fn lint_counts_what_a_mask_reads_beside_its_field() {
    let folder = ConfigFolder::shipped();
    folder.replace_text(
        "records/patron.toml",
        "\"address.country\"             = { type = \"text\", class = \"contact\"",
        "\"address.country\" = { type = \"text\", class = \"special\"",
    );
    let messages = folder.messages().join("\n");
    assert!(messages.contains("`patron.address.country` beside postcode_area"), "{messages}");
    let folder = ConfigFolder::shipped();
    folder.replace_text(
        "records/loan.toml",
        "loaned_at   = { type = \"instant\", class = \"personal\"",
        "loaned_at   = { type = \"instant\", class = \"secret\"",
    );
    let messages = folder.messages().join("\n");
    for way in [
        "`loaned_at` beside age_band",
        "`loaned_at` as the start of the term",
        "the secret `loaned_at`, expected",
    ] {
        assert!(messages.contains(way), "no {way} in {messages}");
    }
}

/// Each way in which a moment, or a day that a patron's outputs have in common, could be seen.
#[test]
fn f19_pseudonymised_recipient_reveals_no_moment() {
    let on = "pseudonymised = true\nperiod = { every = \"P1M\", of = \"loaned_at\" }\n";
    let check = |lines: &str, rule: Option<&str>| {
        folder_with_lines(lines).load();
        let mistakes = folder_with_lines(&format!("{on}{lines}")).mistakes();
        let rules: BTreeSet<&str> = mistakes.iter().filter_map(|one| one.rule).collect();
        assert_eq!(rules, rule.into_iter().collect(), "{lines}: {}", format_mistakes(&mistakes));
        assert_eq!(mistakes.is_empty(), rule.is_none(), "{}", format_mistakes(&mistakes));
    };
    let condition = Some("pseudonymised-condition");
    let open = "{ field = \"status\", is = [\"open\"] }";
    for test in
        ["before = \"now-P30D\"", "not_before = \"now-P1Y\"", "present = true", "present = false"]
    {
        check(&format!("when = [{open}, {{ field = \"patron.updated_at\", {test} }}]"), condition);
    }
    let implied = "legal_basis = \"consent\"\nconsent = { purpose = \"example\", implied_by = \
                   \"patron.online_account.created_at\" }";
    check(implied, condition);
    let term = Some("pseudonymised-term");
    for path in ["membership.ends_on", "online_account.created_at", "updated_at"] {
        let after = |after: &str| {
            format!(
                "retention = {{ term = \"P1Y\", from = \"patron.{path}\", after = \"{after}\" }}"
            )
        };
        check(&after("retract"), term);
        check(&after("forget"), None);
    }
    check("retention = { term = \"P1Y\", from = \"loaned_at\", after = \"retract\" }", None);
    let thinned = |path: &str| {
        format!(
            "fields.age = {{ from = \"patron.birth_date\", mask = \"age_band\", at = \"due_on\", \
             bands = [0, 18] }}\nthinned = {{ drop = [\"age\"], after = \"P90D\", from = \
             \"{path}\" }}"
        )
    };
    check(&thinned("due_on"), None);
    check(&thinned("patron.membership.ends_on"), term);
}

#[test]
fn f19_overlapping_age_bands_count_as_birth_date() {
    let two = |first: &str, second: &str| {
        format!(
            "pseudonymised = true\nperiod = {{ every = \"P1M\", of = \"loaned_at\" }}\nfields.one = {{ from = \"patron.birth_date\", mask = \
             \"age_band\", at = \"due_on\", bands = {first} }}\nfields.two = {{ from = \
             \"patron.birth_date\", mask = \"age_band\", at = \"due_on\", bands = {second} }}"
        )
    };
    let rules = |lines: &str| -> Vec<_> {
        let mistakes = folder_with_lines(lines).mistakes();
        mistakes.iter().filter_map(|mistake| mistake.rule).collect()
    };
    let none: [&str; 0] = [];
    assert_eq!(rules(&two("[0, 10, 20]", "[5, 15, 25]")), none);
    assert_eq!(rules(&two("[0, 10, 20]", "[0, 12, 24]")), ["pseudonymised"; 2]);
    assert_eq!(rules(&two("[0, 3, 20]", "[0]")), ["pseudonymised"; 2]);
}

#[test]
fn g03_implied_consent_needs_a_consent_source_to_withdraw() {
    let folder = ConfigFolder::shipped();
    std::fs::remove_file(folder.0.path().join("records/consent.toml")).unwrap();
    let messages = folder.messages();
    assert!(messages.iter().all(|message| message.contains("withdraw")), "{messages:?}");
    let implied = messages.iter().filter(|message| {
        message.contains("kb-membership.toml:") && message.contains("nobody could withdraw")
    });
    assert_eq!(implied.count(), 1, "{messages:?}");
}

#[test]
fn g06_recipient_that_objections_stop_needs_a_source_of_objections() {
    let objections = |folder: &ConfigFolder| folder.0.path().join("records/objection.toml");
    let folder = ConfigFolder::shipped();
    std::fs::remove_file(objections(&folder)).unwrap();
    let messages = folder.messages();
    let expected = "a recipient that objections stop";
    assert!(messages.iter().all(|message| message.contains(expected)), "{messages:?}");
    for name in ["acquisitions", "ido-referral", "marketing", "newsletter", "panel", "statistics"] {
        let file = format!("recipients/{name}.toml:");
        let own = messages.iter().filter(|message| message.starts_with(&file));
        assert_eq!(own.count(), 1, "{name}: {messages:?}");
    }
    for lines in ["marketing = true", "objections = \"stop\"", "legal_basis = \"public_task\""] {
        let folder = folder_with_lines(lines);
        std::fs::remove_file(objections(&folder)).unwrap();
        let messages = folder.messages().join("\n");
        assert!(messages.contains("example.toml:"), "{lines}: {messages}");
    }
}

#[test]
fn g01_recipient_behind_consent_needs_a_source_of_consents() {
    let folder =
        folder_with_lines("legal_basis = \"consent\"\nconsent = { purpose = \"example\" }");
    std::fs::remove_file(folder.0.path().join("records/consent.toml")).unwrap();
    let messages = folder.messages().join("\n");
    assert!(messages.contains("example.toml:"), "{messages}");
    assert!(messages.contains("a recipient behind consent"), "{messages}");
}

#[test]
fn minors_need_a_consent_and_a_birth_date() {
    let rule = "minors = \"guardian\"";
    let consent = "legal_basis = \"consent\"\nconsent = { purpose = \"example\" }\n";
    folder_with_lines(&format!("{consent}{rule}")).load();
    let messages = folder_with_lines(rule).messages().join("\n");
    assert!(messages.contains("`minors` without a consent"), "{messages}");
    let messages = folder_with_lines(&format!("{consent}minors = \"gaurdian\"")).messages();
    assert!(messages.join("\n").contains("did you mean `guardian`?"), "{messages:?}");
    let folder = folder_with_lines(&format!("{consent}{rule}"));
    folder.replace_text("records/patron.toml", "\nbirth_date ", "\nborn_on ");
    let messages = folder.messages().join("\n");
    assert!(messages.contains("`minors` where nobody knows the age"), "{messages}");
}

#[test]
fn f03_two_parties_on_one_topic_are_refused() {
    let rules = |topic: &str| -> Vec<_> {
        let mistakes = folder_with_lines(topic).mistakes();
        mistakes.iter().filter_map(|mistake| mistake.rule).collect()
    };
    let none: [&str; 0] = [];
    let of = |of: &str| rules(&format!("topic = {{ by = \"branch\", of = {{ {of} }} }}"));
    assert_eq!(of("\"a\" = \"out.a\", \"b\" = \"out.b\""), none);
    assert_eq!(of("\"a\" = \"out.a\", \"b\" = \"out.b\", \"c\" = \"out.a\""), ["shared-party"]);
    assert_eq!(of("\"a\" = \"out.a\", \"b\" = \"out.other\""), ["shared-topic"]);
}

#[test]
fn field_name_overrides_the_declared_class() {
    let folder = ConfigFolder::shipped();
    folder.replace_text(
        "records/patron.toml",
        "[fields]\n",
        "[fields]\n\"id.bsn_number\" = { type = \"text\", class = \"plain\", meaning = \"m\" }\n\
         pincode = { type = \"integer\", class = \"personal\", meaning = \"m\" }\n",
    );
    let loaded = folder.load();
    let patron = loaded.policy.patron_kind().unwrap();
    let class = |path: &str| patron.field(path).unwrap().class;
    assert_eq!(class("id.bsn_number"), DataClass::NationalId);
    assert_eq!(class("pincode"), DataClass::Secret);
    let is_of_kind = |note: &&String| note.contains("records/patron.toml");
    assert_eq!(loaded.notes.iter().filter(is_of_kind).count(), 2, "{:?}", loaded.notes);
    assert!(loaded.notes[0].contains("`id.bsn_number` counts as `national_id`"));
    assert!(loaded.notes[1].contains("`pincode` counts as `secret`"));
}

#[test]
fn card_number_field_must_have_type_card_number() {
    assert_mistakes_in(
        "records/patron.toml",
        "\"previous_card_numbers[]\" = { type = \"card_number\"",
        "\"previous_card_numbers[]\" = { type = \"text\"",
        &["`previous_card_numbers[]` of another type, expected the type `card_number`"],
    );
    let folder = ConfigFolder::shipped();
    folder.replace_text("records/loan.toml", "[fields]\n", "[fields]\ncard_number = { type = \"card_number\", class = \"identifier\", meaning = \"m\" }\n");
    let messages = folder.messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(
        messages[0].contains("the card number `card_number` without `card_kind`"),
        "{messages:?}"
    );
}

#[test]
fn f09_authorisation_starts_no_earlier_than_its_approval() {
    let paper = |approved: &str| {
        format!(
            "fields.number = {{ from = \"patron.rijksregisternummer\" }}\nauthorisation = {{ \
             reference = \"A\", approved_by = \"B\", approved_on = {approved}, from = 2026-01-01, \
             until = 2099-12-31 }}"
        )
    };
    let day = |text| crate::policy::form::Date::parse(text).unwrap().to_unix_ms();
    for (approved, from) in
        [("2025-06-01", "2026-01-01"), ("2026-01-01", "2026-01-01"), ("2099-01-01", "2099-01-01")]
    {
        let loaded = folder_with_lines(&paper(approved)).load();
        let recipient = loaded.policy.recipient("example").unwrap();
        let term = recipient.authorisation.as_ref().unwrap().in_force_interval_ms();
        assert_eq!(term, (day(from), day("2100-01-01")), "{approved}");
    }
}

/// What only withholds a card number, or is taken out of free text, tells nothing.
#[test]
fn f09_left_out_national_number_needs_no_authorisation() {
    folder_with_lines("fields.card = { from = \"patron.card_number\" }").load();
    folder_with_lines("fields.remark = { from = \"note\", detect = \"all\" }").load();
    let loaded = folder_with_lines("fields.card = { from = \"patron.card_number\" }").load();
    let recipient = loaded.policy.recipient("example").unwrap();
    let all = crate::policy::influence::collect_influences(recipient, &loaded.policy.record_kinds);
    let number = all.iter().find(|one| one.field_ref.path == "rijksregisternummer").unwrap();
    assert_eq!(number.channel.describe(recipient), "left out of card");
}

/// Letters and digits of a person are the same in every month: they join its outputs.
#[test]
fn f19_pseudonymised_recipient_shows_no_characters_of_a_person() {
    let on = "pseudonymised = true\nperiod = { every = \"P1M\", of = \"loaned_at\" }\n";
    for (field, is_refused) in [
        ("from = \"patron.card_number\", mask = \"last_digits\", count = 5, min_hidden = 5", true),
        ("from = \"patron.surname\", mask = \"first_letters\", count = 1", true),
        ("from = \"patron.initials\", mask = \"initial\"", true),
        ("from = \"patron.surname\", mask = \"shelf_name\"", true),
        (
            "first = [{ from = \"patron.surname\", mask = \"first_letters\" }, { from = \
             \"patron.address.postcode\", mask = \"postcode_area\" }]",
            true,
        ),
        ("from = \"patron.address.postcode\", mask = \"postcode_area\"", false),
        ("from = \"branch\", mask = \"first_letters\", surname_key = \"kernwoord\"", false),
    ] {
        let line = format!("fields.part = {{ {field} }}");
        folder_with_lines(&line).load();
        let mistakes = folder_with_lines(&format!("{on}{line}")).mistakes();
        let rules: BTreeSet<&str> = mistakes.iter().filter_map(|one| one.rule).collect();
        let want = is_refused.then_some("pseudonymised");
        assert_eq!(rules, want.into_iter().collect(), "{}", format_mistakes(&mistakes));
    }
}

/// What an output without patron depends on is never taken back for the patron's sake.
#[test]
fn f37_recipient_without_patron_asks_nothing_of_a_person() {
    let file = "source = \"referral\"\nkey = { pseudonym = \"referral_id\" }\nretention = { term = \
                \"P1Y\", from = \"at\", after = \"retract\" }\nwithout_patron = \"counted\"\n\
                fields.branch = { from = \"manner\" }\n";
    for (line, is_refused) in [
        ("when = [{ field = \"surname\", is = [\"Jansen\"] }]", true),
        ("when = [{ field = \"at\", before = \"now-P1M\" }]", true),
        ("own_borrowers = true\nwhen = [{ field = \"manner\", is = [\"digital\"] }]", true),
        ("when = [{ field = \"email\", present = true }]", false),
        ("when = [{ field = \"manner\", is = [\"digital\"] }]", false),
    ] {
        let mistakes = folder_with_lines(&format!("{file}{line}")).mistakes();
        let rules: BTreeSet<&str> = mistakes.iter().filter_map(|one| one.rule).collect();
        let want = is_refused.then_some("without-patron");
        assert_eq!(rules, want.into_iter().collect(), "{}", format_mistakes(&mistakes));
        assert_eq!(mistakes.is_empty(), !is_refused, "{}", format_mistakes(&mistakes));
    }
}
