//! The rules over everything that can influence an output, against a model of
//! them that was written from their text alone.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

/// What a field is to the rules, whatever its catalogue calls it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Truth {
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
use Truth::{Bsn, Event, FreeText, Identifier, National, Person, Plain, Secret, Special};

/// A field of both kinds: path, type and class as declared, and what it is.
type Row = (&'static str, &'static str, &'static str, Truth);

const FIELDS: &[Row] = &[
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

const WAYS: &[Way] = &[
    Way::Whole,
    Way::Masked("mask = \"present\"", Bit),
    Way::Masked("mask = \"pseudonym\"", Pseudonym),
    Way::Masked("mask = \"year\"", Date),
    Way::Masked("mask = \"lowercase\"", Whole),
    Way::Masked("mask = \"last_digits\", count = 5, min_hidden = 4", Whole),
    Way::Masked("mask = \"last_digits\", count = 3, min_hidden = 3", Whole),
    Way::Masked("mask = \"last_digits\", count = 5, min_hidden = 5", Part),
    Way::Masked(
        "mask = \"first_letters\", count = 4, surname_key = \"kernwoord\"",
        Whole,
    ),
    Way::Masked(
        "mask = \"first_letters\", count = 3, surname_key = \"kernwoord\"",
        Part,
    ),
    Way::Masked(
        "mask = \"first_letters\", count = 3, detect = \"all\", surname_key = \"kernwoord\"",
        Part,
    ),
    Way::Detected("\"all\""),
    Way::Detected("[\"email\"]"),
    Way::Present,
    Way::Is,
    Way::Topic,
    Way::Stage,
    Way::Retract,
    Way::Forget,
    Way::Implies,
];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Shown {
    Bit,
    Pseudonym,
    Part,
    Date,
    Whole,
}
use Shown::{Bit, Date, Part, Pseudonym, Whole};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Whole,
    Masked(&'static str, Shown),
    Detected(&'static str),
    Present,
    Is,
    Topic,
    Stage,
    Retract,
    Forget,
    Implies,
}

impl Way {
    fn shown(self) -> Shown {
        match self {
            Way::Whole | Way::Detected(_) | Way::Is | Way::Topic => Whole,
            Way::Masked(_, shown) => shown,
            Way::Present | Way::Stage | Way::Forget | Way::Implies => Bit,
            Way::Retract => Date,
        }
    }

    /// Whether a file may use a field of this path and type so, the rules apart.
    fn fits(self, path: &str, kind: &str, joined: bool) -> bool {
        let text = matches!(kind, "text");
        let dated = matches!(kind, "date" | "instant");
        if path.contains("[]") {
            return self == Way::Whole;
        }
        match self {
            Way::Whole | Way::Present => true,
            Way::Masked(mask, _) if mask.contains("present") => true,
            Way::Masked(mask, _) if mask.contains("year") => dated,
            Way::Masked(mask, _) if mask.contains("first_letters") => text,
            Way::Masked(mask, _) if mask.contains("lowercase") => text || dated,
            Way::Masked(..) => text || dated || kind == "card_number",
            Way::Detected(_) | Way::Topic => text || dated,
            Way::Is => kind != "card_number",
            Way::Stage => dated && !joined,
            Way::Retract | Way::Forget => dated,
            Way::Implies => kind == "instant" && joined,
        }
    }
}

/// One use of a field by a recipient.
#[derive(Clone, Copy)]
struct Use {
    field: &'static Row,
    joined: bool,
    way: Way,
}

impl Use {
    fn shown(self) -> Shown {
        let dated = matches!(self.field.1, "date" | "instant") || self.field.0 == "updated_at";
        match self.way {
            Way::Masked(mask, _) if mask.contains("last_digits") && dated => Whole,
            way => way.shown(),
        }
    }

    fn path(self) -> String {
        let prefix = if self.joined { "patron." } else { "" };
        format!("{prefix}{}", self.field.0)
    }

    fn is(self, truth: Truth) -> bool {
        self.field.3 == truth
    }

    fn is_birth(self) -> bool {
        ["birth_date", "born_on", "birth_year"].contains(&self.field.0)
    }

    fn is_condition(self) -> bool {
        matches!(self.way, Way::Present | Way::Is | Way::Topic | Way::Stage)
    }

    fn is_of_a_person(self) -> bool {
        !matches!(self.field.3, Plain | FreeText | Secret) || self.field.1 == "email"
    }
}

/// What a recipient says beside its uses.
#[derive(Clone, Copy, Debug, Default)]
struct Says {
    pseudonymised: bool,
    explicit: bool,
    authorised: bool,
    credential_reason: bool,
    free_text_reason: bool,
}

/// The rules that a recipient breaks, by their text.
fn broken(uses: &[Use], says: Says) -> BTreeSet<&'static str> {
    let any = |test: &dyn Fn(Use) -> bool| uses.iter().any(|one| test(*one));
    let pseudonymised = says.pseudonymised;
    let read = |one: Use| one.way == Way::Detected("\"all\"");
    let card = |one: Use| one.field.1 == "card_number" && one.shown() == Whole;
    let birth = |one: Use| {
        let number = one.is(National) && one.shown() == Whole;
        number || (one.is_birth() && one.shown() >= Date)
    };
    let points = |one: Use| {
        let whole = one.is_of_a_person() && one.shown() == Whole;
        !one.is_condition() && (whole || (one.is_birth() && one.shown() >= Date))
    };
    let fine = |one: Use| {
        let time = one.field.1 == "instant" || one.field.0 == "updated_at";
        time && one.shown() == Whole
    };
    let implied = any(&|one| one.way == Way::Implies);
    let explicit = says.explicit && !implied;
    [
        ("secret", any(&|one| one.is(Secret))),
        ("bsn", any(&|one| one.is(Bsn))),
        (
            "national-number",
            !says.authorised && any(&|one| one.is(National)),
        ),
        ("special-category", !explicit && any(&|one| one.is(Special))),
        (
            "free-text",
            !says.free_text_reason && any(&|one| one.is(FreeText) && !read(one)),
        ),
        (
            "pseudonym",
            any(&|one| one.shown() == Pseudonym && !one.is(Identifier)),
        ),
        (
            "login",
            !says.credential_reason && any(&card) && any(&birth),
        ),
        (
            "implied-consent",
            any(&|one| one.way == Way::Implies && !one.is(Event)),
        ),
        ("pseudonymised", pseudonymised && any(&points)),
        (
            "pseudonymised-condition",
            pseudonymised
                && any(&|one| one.is_condition() && (one.is_of_a_person() || one.is_birth())),
        ),
        ("pseudonymised-time", pseudonymised && any(&fine)),
        (
            "pseudonymised-text",
            pseudonymised && any(&|one| one.is(FreeText)),
        ),
        (
            "pseudonym-by-month",
            pseudonymised && any(&|one| one.shown() == Pseudonym && one.is_of_a_person()),
        ),
    ]
    .into_iter()
    .filter_map(|(rule, is_broken)| is_broken.then_some(rule))
    .collect()
}

fn kind_text(name: &str, role: &str, id: &str, more: &str) -> String {
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
fn folder(recipient: &str) -> Folder {
    let folder = Folder(tempfile::tempdir().unwrap());
    for below in ["records", "recipients"] {
        std::fs::create_dir(folder.0.path().join(below)).unwrap();
    }
    let card = "card_kind = { type = \"text\", class = \"plain\", meaning = \"m\" }\n\
                rijksregisternummer = { type = \"rijksregisternummer\", class = \"national_id\", \
                meaning = \"m\" }\n";
    let patron = kind_text("patron", "patron", "patron_id", card);
    folder.write("records/patron.toml", &patron);
    let id = "visit_id = { type = \"text\", class = \"identifier\", meaning = \"m\" }\n";
    let visit = kind_text("visit", "record", "visit_id", id);
    folder.write("records/visit.toml", &visit);
    let consent = std::fs::read_to_string(shipped().join("records/consent.toml")).unwrap();
    folder.write("records/consent.toml", &consent);
    folder.write("recipients/r.toml", recipient);
    folder.write("zeef.toml", "[lanes.r]\nrecipients = [\"r\"]\n");
    folder
}

/// A recipient's file that has these uses.
fn file(uses: &[Use], says: Says) -> String {
    let implies = uses.iter().find(|one| one.way == Way::Implies);
    let mut text = String::from(
        "name = \"r\"\ntitle = \"R\"\nsource = \"visit\"\npurpose = \"r\"\npurpose_text = \
         \"R\"\ncontroller = \"R\"\nlibraries = \"all\"\nkey = { pseudonym = \"visit_id\" }\n",
    );
    let mut say = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    match implies {
        Some(one) => say(format!(
            "legal_basis = \"consent\"\nconsent = {{ purpose = \"r\", implied_by = \"{}\" }}",
            one.path()
        )),
        None if says.explicit => say(
            "legal_basis = \"consent\"\nconsent = { purpose = \"r\", explicit = true }".to_owned(),
        ),
        None => say("legal_basis = \"contract\"".to_owned()),
    }
    say(format!("pseudonymised = {}", says.pseudonymised));
    if says.pseudonymised {
        say("period = { every = \"P1M\", of = \"plain_day\" }".to_owned());
    }
    if says.authorised {
        say(
            "authorisation = { reference = \"A\", approved_by = \"B\", approved_on = \
             2026-01-01, from = 2026-01-01, until = 2030-01-01 }"
                .to_owned(),
        );
    }
    if says.credential_reason {
        say("credential_reason = \"on record\"".to_owned());
    }
    if says.free_text_reason {
        say("free_text_reason = \"on record\"".to_owned());
    }
    let of = |way: fn(Way) -> bool| uses.iter().find(move |one| way(one.way));
    match of(|way| way == Way::Topic) {
        Some(one) => say(format!(
            "topic = {{ by = \"{}\", of = {{ \"x\" = \"out.r\" }} }}",
            one.path()
        )),
        None => say("topic = \"out.r\"".to_owned()),
    }
    let (from, after) = match of(|way| matches!(way, Way::Retract | Way::Forget)) {
        Some(one) if one.way == Way::Retract => (one.path(), "retract"),
        Some(one) => (one.path(), "forget"),
        None => ("plain_day".to_owned(), "forget"),
    };
    say(format!(
        "retention = {{ term = \"P1Y\", from = \"{from}\", after = \"{after}\" }}"
    ));
    if let Some(one) = of(|way| way == Way::Stage) {
        say(format!(
            "stages = [\"{}\", \"{}\"]",
            one.path(),
            beside(one)
        ));
    }
    say(format!("when = [{}]", conditions(uses)));
    say("[fields]\nlibrary = { from = \"library\" }".to_owned());
    for (place, one) in uses.iter().enumerate() {
        if let Some(value) = value(*one) {
            say(format!("f{place} = {{ {value} }}"));
        }
    }
    text
}

/// What a stage stands beside: the plain field of its type, or for that one the
/// personal one.
fn beside(stage: &Use) -> &'static str {
    match (stage.field.1, stage.field.0) {
        ("date", "plain_day") => "personal_day",
        ("date", _) => "plain_day",
        (_, "plain_moment") => "personal_moment",
        _ => "plain_moment",
    }
}

fn conditions(uses: &[Use]) -> String {
    let test = |one: &Use| match (one.way, one.field.1) {
        (Way::Present, _) => Some("present = true"),
        (Way::Is, "boolean") => Some("is = [true]"),
        (Way::Is, "email") => Some("is = [\"a@example.org\"]"),
        (Way::Is, "integer") => Some("is = [1, 2]"),
        (Way::Is, "date") => Some("is = [\"2026-01-01\"]"),
        (Way::Is, "instant") => Some("is = [\"2026-01-01T00:00:00Z\"]"),
        (Way::Is, _) => Some("is = [\"x\", \"y\"]"),
        _ => None,
    };
    let all = uses.iter().filter_map(|one| {
        let test = test(one)?;
        Some(format!("{{ field = \"{}\", {test} }}", one.path()))
    });
    all.collect::<Vec<_>>().join(", ")
}

fn value(one: Use) -> Option<String> {
    let path = one.path();
    Some(match one.way {
        Way::Whole => match path.split_once("[].") {
            Some((list, part)) => format!("from = \"{list}[]\", fields = [\"{part}\"]"),
            None => format!("from = \"{path}\""),
        },
        Way::Masked(mask, _) => format!("from = \"{path}\", {mask}"),
        Way::Detected(names) => format!("from = \"{path}\", detect = {names}"),
        _ => return None,
    })
}

/// Keeps what can be said in one file, as it has one topic and one term.
fn sayable(some: Vec<(usize, bool, usize)>) -> Vec<Use> {
    let mut uses: Vec<Use> = Vec::new();
    for (field, joined, way) in some {
        let one = Use {
            field: &FIELDS[field],
            joined: joined || FIELDS[field].1 == "card_number",
            way: WAYS[way],
        };
        let once = |way: Way| match way {
            Way::Topic => 1,
            Way::Stage => 2,
            Way::Retract | Way::Forget => 3,
            Way::Implies => 4,
            _ => 0,
        };
        let taken = once(one.way) > 0 && uses.iter().any(|other| once(other.way) == once(one.way));
        if one.way.fits(one.field.0, one.field.1, one.joined) && !taken {
            uses.push(one);
            // What a stage stands beside is a stage too.
            if one.way == Way::Stage && one.field.0.starts_with("plain_") {
                let beside = |row: &&Row| row.0 == one.field.0.replace("plain_", "personal_");
                let field = FIELDS.iter().find(beside).unwrap();
                uses.push(Use { field, ..one });
            }
        }
    }
    uses
}

fn says() -> impl Strategy<Value = Says> {
    (any::<[bool; 5]>()).prop_map(|[a, b, c, d, e]| Says {
        pseudonymised: a,
        explicit: b,
        authorised: c,
        credential_reason: d,
        free_text_reason: e,
    })
}

#[track_caller]
fn agrees(uses: &[Use], says: Says) {
    let text = file(uses, says);
    let mistakes = folder(&text).mistakes();
    let found: BTreeSet<&str> = mistakes
        .iter()
        .map(|mistake| {
            assert!(mistake.line > 0, "{mistake}");
            mistake.rule.unwrap_or_else(|| panic!("{mistake}\n{text}"))
        })
        .collect();
    assert_eq!(found, broken(uses, says), "{}\n{text}", shown(&mistakes));
}

#[test]
fn each_way_of_each_field_breaks_the_rules_of_its_class() {
    let mut count = 0;
    for field in 0..FIELDS.len() {
        for way in 0..WAYS.len() {
            for joined in [false, true] {
                let uses = sayable(vec![(field, joined, way)]);
                if uses.is_empty() {
                    continue;
                }
                count += 1;
                for pseudonymised in [false, true] {
                    let says = Says {
                        pseudonymised,
                        ..Says::default()
                    };
                    agrees(&uses, says);
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
    fn any_recipient_breaks_the_rules_that_its_text_says(
        some in proptest::collection::vec((0..FIELDS.len(), any::<bool>(), 0..WAYS.len()), 1..7),
        says in says(),
    ) {
        agrees(&sayable(some), says);
    }
}

/// The shipped recipient `service-message` with more lines in its fields, and a
/// catalogue in which a field of patrons has another class.
#[track_caller]
fn with_class(path: &str, class: &str, old: &str, new: &str, want: &[&str]) {
    let folder = Folder::new();
    let text = folder.text("records/patron.toml");
    let start = text.find(&format!("\n{path} ")).unwrap();
    let (before, after) = text.split_at(start);
    let class = after.replacen("class = \"personal\"", &format!("class = \"{class}\""), 1);
    folder.write("records/patron.toml", &format!("{before}{class}"));
    folder.change("recipients/service-message.toml", old, new);
    let mistakes = folder.mistakes();
    let here = mistakes
        .iter()
        .filter(|mistake| mistake.file.ends_with("service-message.toml"));
    let rules: BTreeSet<&str> = here.filter_map(|mistake| mistake.rule).collect();
    assert_eq!(
        rules.into_iter().collect::<Vec<_>>(),
        want,
        "{}",
        shown(&mistakes)
    );
}

#[test]
fn a_derived_field_has_the_strictest_class_of_its_parts() {
    let same = "branch = { from = \"branch\" }";
    for part in ["initials", "surname_prefix", "surname"] {
        with_class(part, "secret", same, same, &["secret"]);
        with_class(part, "special", same, same, &["special-category"]);
    }
    let mark = "branch = { from = \"patron.surname\", mask = \"first_letters\" }";
    let name = "name   = { from = \"patron.surname\", mask = \"full_name\" }";
    with_class(
        "surname_prefix",
        "secret",
        name,
        "name = { from = \"branch\" }",
        &[],
    );
    let initial = "name = { from = \"patron.initials\", mask = \"initial\" }";
    with_class("given_name", "secret", name, initial, &["secret"]);
    with_class("given_name", "special", same, mark, &[]);
}

#[test]
fn what_a_mask_looks_at_beside_its_input_counts() {
    let folder = Folder::new();
    folder.change(
        "records/patron.toml",
        "\"address.country\"             = { type = \"text\", class = \"contact\"",
        "\"address.country\" = { type = \"text\", class = \"special\"",
    );
    let told = folder.told().join("\n");
    assert!(
        told.contains("`patron.address.country` beside postcode_area"),
        "{told}"
    );
    let folder = Folder::new();
    folder.change(
        "records/loan.toml",
        "loaned_at   = { type = \"instant\", class = \"personal\"",
        "loaned_at   = { type = \"instant\", class = \"secret\"",
    );
    let told = folder.told().join("\n");
    for way in [
        "`loaned_at` beside age_band",
        "`loaned_at` as the start of the term",
        "the secret `loaned_at`, expected",
    ] {
        assert!(told.contains(way), "no {way} in {told}");
    }
}

#[test]
fn age_bands_that_cut_each_other_hide_no_birth() {
    let two = |first: &str, second: &str| {
        format!(
            "pseudonymised = true\nperiod = {{ every = \"P1M\", of = \"loaned_at\" }}\nfields.one = {{ from = \"patron.birth_date\", mask = \
             \"age_band\", at = \"due_on\", bands = {first} }}\nfields.two = {{ from = \
             \"patron.birth_date\", mask = \"age_band\", at = \"due_on\", bands = {second} }}"
        )
    };
    let rules = |lines: &str| -> Vec<_> {
        let mistakes = of_template(lines).mistakes();
        mistakes.iter().filter_map(|mistake| mistake.rule).collect()
    };
    let none: [&str; 0] = [];
    assert_eq!(rules(&two("[0, 10, 20]", "[5, 15, 25]")), none);
    assert_eq!(
        rules(&two("[0, 10, 20]", "[0, 12, 24]")),
        ["pseudonymised"; 2]
    );
    assert_eq!(rules(&two("[0, 3, 20]", "[0]")), ["pseudonymised"; 2]);
}

#[test]
fn a_consent_that_nobody_can_withdraw_is_not_implied() {
    let folder = Folder::new();
    std::fs::remove_file(folder.0.path().join("records/consent.toml")).unwrap();
    let told = folder.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("kb-membership.toml:") && told[0].contains("withdraw"),
        "{told:?}"
    );
}

#[test]
fn a_topic_is_of_one_party() {
    let rules = |topic: &str| -> Vec<_> {
        let mistakes = of_template(topic).mistakes();
        mistakes.iter().filter_map(|mistake| mistake.rule).collect()
    };
    let none: [&str; 0] = [];
    let of = |of: &str| rules(&format!("topic = {{ by = \"branch\", of = {{ {of} }} }}"));
    assert_eq!(of("\"a\" = \"out.a\", \"b\" = \"out.b\""), none);
    assert_eq!(
        of("\"a\" = \"out.a\", \"b\" = \"out.b\", \"c\" = \"out.a\""),
        ["shared-party"]
    );
    assert_eq!(
        of("\"a\" = \"out.a\", \"b\" = \"out.other\""),
        ["shared-topic"]
    );
}

#[test]
fn a_field_counts_as_what_it_is_called() {
    let folder = Folder::new();
    folder.change(
        "records/patron.toml",
        "[fields]\n",
        "[fields]\n\"id.bsn_number\" = { type = \"text\", class = \"plain\", meaning = \"m\" }\n\
         pincode = { type = \"integer\", class = \"personal\", meaning = \"m\" }\n",
    );
    let loaded = folder.load();
    let patron = loaded.policy.patron().unwrap();
    let class = |path: &str| patron.field(path).unwrap().class;
    assert_eq!(class("id.bsn_number"), Class::NationalId);
    assert_eq!(class("pincode"), Class::Secret);
    assert_eq!(loaded.notes.len(), 2, "{:?}", loaded.notes);
    assert!(loaded.notes[0].contains("`id.bsn_number` counts as `national_id`"));
    assert!(loaded.notes[1].contains("`pincode` counts as `secret`"));
}

#[test]
fn a_card_number_is_known_as_one() {
    check_in(
        "records/patron.toml",
        "\"previous_card_numbers[]\" = { type = \"card_number\"",
        "\"previous_card_numbers[]\" = { type = \"text\"",
        &["`previous_card_numbers[]` of another type, expected the type `card_number`"],
    );
    let folder = Folder::new();
    folder.change("records/loan.toml", "[fields]\n", "[fields]\ncard_number = { type = \"card_number\", class = \"identifier\", meaning = \"m\" }\n");
    let told = folder.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("the card number `card_number` without `card_kind`"),
        "{told:?}"
    );
}

#[test]
fn an_authorisation_is_not_in_force_before_it_is_approved() {
    let paper = |approved: &str| {
        format!(
            "fields.number = {{ from = \"patron.rijksregisternummer\" }}\nauthorisation = {{ \
             reference = \"A\", approved_by = \"B\", approved_on = {approved}, from = 2026-01-01, \
             until = 2099-12-31 }}"
        )
    };
    let day = |text| crate::policy::form::Date::parse(text).unwrap().to_unix_ms();
    for (approved, from) in [
        ("2025-06-01", "2026-01-01"),
        ("2026-01-01", "2026-01-01"),
        ("2099-01-01", "2099-01-01"),
    ] {
        let loaded = of_template(&paper(approved)).load();
        let recipient = loaded.policy.recipient("example").unwrap();
        let term = recipient.authorisation.as_ref().unwrap().in_force_ms();
        assert_eq!(term, (day(from), day("2100-01-01")), "{approved}");
    }
}

/// What only withholds a card number, or is taken out of free text, tells nothing.
#[test]
fn what_is_left_out_needs_no_authorisation() {
    of_template("fields.card = { from = \"patron.card_number\" }").load();
    of_template("fields.remark = { from = \"note\", detect = \"all\" }").load();
    let loaded = of_template("fields.card = { from = \"patron.card_number\" }").load();
    let recipient = loaded.policy.recipient("example").unwrap();
    let all = crate::policy::influence::influences(recipient, &loaded.policy.kinds);
    let number = all
        .iter()
        .find(|one| one.at.path == "rijksregisternummer")
        .unwrap();
    assert_eq!(number.way.describe(recipient), "left out of card");
}
