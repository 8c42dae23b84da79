//! Policies by chance, as an operator would write them: TOML files in a folder.
//!
//! Most of them pass the loader; what it refuses is counted by whoever asks.

use std::fmt::Write as _;
use std::path::Path;

use crate::dice::Dice;

pub const LIBRARIES: [&str; 3] = ["NL-AmrBKW", "BE-GntB", "FR-751131015"];
/// What text fields with a closed list may hold; routes go by them too.
pub const WORDS: [&str; 6] = ["open", "overdue", "returned", "lost", "a", "ab"];
/// Noon of 15 January 2026.
pub const NOW_MS: i64 = 1_768_478_400_000;
/// As that, and times where a day, a year or a leap day begins or ends.
pub const TIMES_MS: [i64; 6] = [
    NOW_MS,
    NOW_MS,
    // Midnight of 15 January 2026, and the millisecond before it.
    1_768_435_200_000,
    1_768_435_199_999,
    // Midnight of 28 February 2025 and of 29 February 2024.
    1_740_700_800_000,
    1_709_164_800_000,
];
/// Periods that recipients and patrons' data have.
pub const TERMS: [&str; 9] = [
    "P1D", "P2W", "P1M", "P1Y", "P2Y", "P5Y", "P5Y", "P18M", "P1Y6M3D",
];
/// Names of recipients and of purposes: few, so that what patrons say is about
/// some of them.
pub const RECIPIENTS: [&str; 6] = ["r0", "r1", "r2", "r3", "r4", "r5"];
pub const PURPOSES: [&str; 3] = ["counting", "sending", "direct-marketing"];
/// How a membership may stand.
const STANDINGS: [&str; 3] = ["active", "ended", "suspended"];

/// Names of fields: many begin as another one, some are longer than a word of
/// a processor, or than four.
const NAMES: [&str; 30] = [
    "a",
    "ab",
    "abc",
    "no",
    "note",
    "note_2",
    "notes",
    "title",
    "titl",
    "title_long",
    "code",
    "codes",
    "ref",
    "reference",
    "x1",
    "x12",
    "seven_7",
    "eight_88",
    "nine_9999",
    "amount_cents",
    "amount_cent",
    "sixteen_letters_",
    "seventeen_letters",
    "of_more_than_two_words_",
    "a_name_that_is_longer_than_thirty_two_letters",
    "a_name_that_is_longer_than_thirty_two_letterz",
    "value",
    "values",
    "branch",
    "material",
];
const TYPES: [&str; 15] = [
    "text",
    "text",
    "text",
    "text",
    "text",
    "text_or_number",
    "text_or_number",
    "integer",
    "integer",
    "boolean",
    "date",
    "instant",
    "email",
    "phone",
    "currency",
];
const CLASSES: [&str; 8] = [
    "plain",
    "plain",
    "personal",
    "personal",
    "contact",
    "financial",
    "identifier",
    "plain",
];

#[derive(Clone, Debug)]
struct Field {
    path: String,
    kind: &'static str,
    class: &'static str,
    /// The only ones, where there are some.
    values: &'static [&'static str],
}

impl Field {
    fn new(path: &str, kind: &'static str, class: &'static str) -> Self {
        Field {
            path: path.to_owned(),
            kind,
            class,
            values: &[],
        }
    }

    fn of(path: &str, values: &'static [&'static str]) -> Self {
        Field {
            values,
            ..Field::new(path, "text", "plain")
        }
    }

    fn is_dated(&self) -> bool {
        matches!(self.kind, "date" | "instant")
    }

    /// One value, in no list.
    fn is_single(&self) -> bool {
        !self.path.contains("[]")
    }
}

struct Kind {
    name: String,
    role: &'static str,
    id: String,
    keyed: bool,
    closed: bool,
    other_library: bool,
    fields: Vec<Field>,
}

/// Writes a config folder: kinds of records and recipients of them.
///
/// Papers begin and end around `now_ms`.
pub fn write(folder: &Path, dice: &mut Dice, now_ms: i64) {
    for below in ["records", "recipients"] {
        std::fs::create_dir_all(folder.join(below)).unwrap();
    }
    let patron = patron(dice);
    let mut kinds = vec![patron];
    for name in ["event", "loan", "visit"] {
        if dice.chance(75) {
            kinds.push(record_kind(dice, name));
        }
    }
    if dice.chance(80) {
        kinds.push(gate_kind(dice, "consent"));
    }
    if dice.chance(80) {
        kinds.push(gate_kind(dice, "objection"));
    }
    for kind in &kinds {
        let path = folder.join("records").join(format!("{}.toml", kind.name));
        std::fs::write(path, kind_text(kind)).unwrap();
    }
    if dice.chance(50) {
        let text = format!("[retention]\npatron = \"{}\"\n", dice.word(&TERMS));
        std::fs::write(folder.join("zeef.toml"), text).unwrap();
    }
    let mut before: Option<(&str, String)> = None;
    let mut lanes = String::new();
    for name in &RECIPIENTS[..dice.between(1, 6)] {
        let source = dice.pick(&kinds);
        let text = match before {
            // It asks of a record what the one before does, for another purpose.
            Some((other, text)) if dice.chance(25) => text
                .replace(other, name)
                .replace("purpose = \"counting\"", "purpose = \"lending\""),
            _ => Author {
                dice,
                source,
                patron: &kinds[0],
                pseudonymised: false,
                authorised: false,
                explicit: false,
                free_text: false,
                consents: kinds.iter().any(|kind| kind.name == "consent"),
                now_ms,
            }
            .recipient(name),
        };
        before = Some((name, text.clone()));
        if text.contains("\npseudonymised = true\n") {
            lanes += &format!("[lanes.{name}]\nrecipients = [\"{name}\"]\n");
        }
        let path = folder.join("recipients").join(format!("{name}.toml"));
        std::fs::write(path, text).unwrap();
    }
    let path = folder.join("zeef.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    std::fs::write(path, text + &lanes).unwrap();
}

fn patron(dice: &mut Dice) -> Kind {
    let mut fields = vec![
        Field::new("patron_id", "text", "identifier"),
        Field::new("library", "isil", "plain"),
        Field::new("loan_history", "boolean", "plain"),
        Field::new("surname", "text", "personal"),
        Field::new("surname_prefix", "text", "personal"),
        Field::new("initials", "text", "personal"),
        Field::new("given_name", "text", "personal"),
        Field::new("birth_date", "date", "personal"),
        Field::new("address.postcode", "text", "contact"),
        Field::new("address.country", "text", "contact"),
        Field::new("account.created_at", "instant", "event"),
    ];
    if dice.chance(70) {
        fields.extend([
            Field::new("card_number", "card_number", "identifier"),
            Field::new("card_kind", "text", "plain"),
            Field::new("rijksregisternummer", "rijksregisternummer", "national_id"),
        ]);
        if dice.chance(30) {
            fields.push(Field::new(
                "wards[].number",
                "rijksregisternummer",
                "national_id",
            ));
        }
        if dice.chance(60) {
            let list = Field::new("old_cards[]", "card_number", "identifier");
            fields.push(list);
        }
        if dice.chance(40) {
            fields.push(Field::new("cards[].number", "card_number", "identifier"));
            fields.push(Field::new("cards[].since", "date", "plain"));
        }
    }
    if dice.chance(60) {
        fields.push(Field::new("country", "text", "plain"));
    }
    if dice.chance(60) {
        fields.push(Field::new("email", "email", "contact"));
        fields.push(Field::new("mobile", "phone", "contact"));
    }
    let [status, end] = *dice.pick(&[
        [true; 2],
        [true; 2],
        [true; 2],
        [false, true],
        [true, false],
    ]);
    if status {
        fields.push(Field::of("membership.status", &STANDINGS));
    }
    if end {
        fields.push(Field::new("membership.ends_on", "date", "plain"));
    }
    more_fields(dice, "", 3, &mut fields);
    let closed = dice.chance(20);
    Kind {
        name: "patron".to_owned(),
        role: "patron",
        id: "patron_id".to_owned(),
        keyed: true,
        closed,
        other_library: false,
        fields,
    }
}

fn record_kind(dice: &mut Dice, name: &str) -> Kind {
    let keyed = name == "loan" || dice.chance(70);
    let role = if dice.chance(15) { "gate" } else { "record" };
    let id = (*dice.pick(&["event_id", "head.ref", "id"])).to_owned();
    let mut fields = vec![Field::new(&id, "text", "identifier")];
    if keyed {
        fields.push(Field::new("patron_id", "text", "identifier"));
    }
    if keyed || dice.chance(50) {
        fields.push(Field::new("library", "isil", "plain"));
    }
    fields.push(Field::of("status", &WORDS));
    fields.push(Field::new("due_on", "date", "plain"));
    if dice.chance(50) {
        let kind = *dice.pick(&["instant", "date"]);
        let stages = ["stages.one", "stages.two", "three_at"];
        fields.extend(stages.map(|path| Field::new(path, kind, "plain")));
    }
    if dice.chance(50) {
        fields.push(Field::new("remark", "text", "free_text"));
    }
    more_fields(dice, "", 3, &mut fields);
    let wide = if dice.once_in(10) {
        dice.between(60, 105)
    } else {
        0
    };
    // More members of one object than a word has bits.
    fields.extend((0..wide).map(|place| any_field(dice, format!("w{place}"))));
    Kind {
        name: name.to_owned(),
        role,
        id,
        keyed,
        closed: dice.chance(if wide > 0 { 60 } else { 20 }),
        other_library: dice.chance(30),
        fields,
    }
}

/// A kind by which patrons decide.
fn gate_kind(dice: &mut Dice, name: &str) -> Kind {
    let id = format!("{name}_id");
    let mut fields = vec![
        Field::new(&id, "text", "identifier"),
        Field::new("patron_id", "text", "identifier"),
        Field::new("library", "isil", "plain"),
        Field::new("purpose", "text", "personal"),
        Field::new("at", "instant", "personal"),
    ];
    fields.extend(match name {
        "consent" => vec![
            Field::new("recipient", "text", "personal"),
            Field::of("decision", &["granted", "refused", "withdrawn"]),
            Field::of("manner", &["written", "digital", "oral"]),
        ],
        _ => vec![
            Field::of("kind", &["direct_marketing", "special_circumstances"]),
            Field::of("status", &["lodged", "upheld", "dismissed"]),
        ],
    });
    if dice.chance(30) {
        more_fields(dice, "", 1, &mut fields);
    }
    Kind {
        name: name.to_owned(),
        role: "gate",
        id,
        keyed: true,
        closed: dice.chance(20),
        other_library: false,
        fields,
    }
}

/// Adds fields below `start`, in objects and lists too.
fn more_fields(dice: &mut Dice, start: &str, levels: usize, fields: &mut Vec<Field>) {
    let most = if levels == 3 { 9 } else { 4 };
    for _ in 0..dice.between(1, most) {
        let path = format!("{start}{}", dice.pick(&NAMES));
        let is_taken = |other: &Field| {
            let rest = other.path.strip_prefix(&path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        if fields.iter().any(is_taken) {
            continue;
        }
        let in_list = start.contains("[]");
        match dice.below(10) {
            0 | 1 if levels > 0 => more_fields(dice, &format!("{path}."), levels - 1, fields),
            2 | 3 if levels > 0 && !in_list => {
                more_fields(dice, &format!("{path}[]."), levels - 1, fields);
            }
            4 if !in_list => fields.push(any_field(dice, format!("{path}[]"))),
            _ => fields.push(any_field(dice, path)),
        }
    }
}

fn any_field(dice: &mut Dice, path: String) -> Field {
    let kind = *dice.pick(&TYPES);
    Field {
        path,
        kind,
        class: if dice.chance(3) {
            dice.word(&["secret", "special"])
        } else {
            dice.word(&CLASSES)
        },
        values: match kind {
            "text" if dice.chance(40) => &WORDS,
            _ => &[],
        },
    }
}

fn kind_text(kind: &Kind) -> String {
    let Kind {
        name,
        role,
        id,
        closed,
        other_library,
        ..
    } = kind;
    let key = if kind.keyed { "patron" } else { "none" };
    let mut text = format!(
        "name = \"{name}\"\ntitle = \"Soort\"\nrole = \"{role}\"\nid = \"{id}\"\n\
         topic = \"{name}\"\nkey = \"{key}\"\nclosed = {closed}\n\
         other_library = {other_library}\n[fields]\n"
    );
    for Field {
        path,
        kind,
        class,
        values,
    } in &kind.fields
    {
        let values = match values {
            [] => String::new(),
            some => format!("values = {some:?}, "),
        };
        writeln!(
            text,
            "\"{path}\" = {{ type = \"{kind}\", class = \"{class}\", {values}meaning = \"iets\" }}"
        )
        .unwrap();
    }
    text
}

/// A field that a recipient may name, and how it does.
struct Named<'a> {
    path: String,
    field: &'a Field,
    joined: bool,
}

struct Author<'a> {
    dice: &'a mut Dice,
    source: &'a Kind,
    patron: &'a Kind,
    pseudonymised: bool,
    /// It has an authorisation for national numbers.
    authorised: bool,
    /// Its consent is explicit and written.
    explicit: bool,
    /// It says why free text is in it.
    free_text: bool,
    /// There is a source of consents, by which patrons can withdraw.
    consents: bool,
    now_ms: i64,
}

impl<'a> Author<'a> {
    fn recipient(&mut self, name: &str) -> String {
        let mut dated = self.named(|field| field.is_single() && field.is_dated());
        dated.retain(|field| !field.joined);
        self.pseudonymised = self.dice.chance(15) && !dated.is_empty();
        self.authorised = self.dice.chance(20);
        self.free_text = self.dice.chance(90);
        let purpose = *self.dice.pick(&PURPOSES);
        let (basis, explicit) = self.basis(purpose);
        self.explicit = explicit;
        let mut text = format!(
            "name = \"{name}\"\ntitle = \"Ontvanger\"\nsource = \"{}\"\npurpose = \"{purpose}\"\n\
             purpose_text = \"Tellen\"\ncontroller = \"De bibliotheek\"\n\
             pseudonymised = {}\n",
            self.source.name, self.pseudonymised
        );
        if self.pseudonymised {
            let of = &self.dice.pick(&dated).path;
            text += &format!("period = {{ every = \"P1M\", of = \"{of}\" }}\n");
        }
        text += &self.libraries();
        text += &self.topic(name);
        text += &basis;
        if purpose == "direct-marketing" || self.dice.chance(10) {
            text += "marketing = true\n";
        }
        if self.dice.chance(90) {
            text += "credential_reason = \"vastgelegd\"\n";
        }
        if self.free_text {
            text += "free_text_reason = \"vastgelegd\"\n";
        }
        if self.authorised {
            let paper = "reference = \"A-1\", approved_by = \"FG\", approved_on = \"2025-01-01\"";
            let days = self.days();
            text += &format!("authorisation = {{ {paper}, {days} }}\n");
        }
        if self.dice.chance(15) {
            let paper =
                "reference = \"V-1\", clauses = [\"use\", \"security\", \"confidentiality\"]";
            let days = self.days();
            text += &format!("agreement = {{ {paper}, {days} }}\n");
            text += self.dice.word(&["", "role = \"processor\"\n"]);
        }
        let history = self.source.keyed && self.source.role != "patron";
        let status = |field: &Field| field.path == "status";
        let history = history && self.source.fields.iter().any(status);
        if history && (self.source.name == "loan" || self.dice.chance(5)) {
            text += "loan_history = true\n";
        }
        text += &self.retention();
        text += &self.stages();
        text += &format!("key = {{ pseudonym = \"{}\" }}\n", self.key());
        text += &self.conditions();
        text += &self.fields();
        text
    }

    /// When a paper is in force: mostly now.
    fn days(&mut self) -> String {
        let from = *self.dice.pick(&[-400, -400, -400, -1, 0, 1]);
        let until = *self.dice.pick(&[1_000, 1_000, 1_000, -1, 0, 1]);
        let now = jiff::Timestamp::from_millisecond(self.now_ms).unwrap();
        let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
        let day = |days: i64| today.checked_add(jiff::Span::new().days(days)).unwrap();
        let after = self
            .dice
            .word(&["", ", after = \"keep\"", ", after = \"retract\""]);
        let until = day(until.max(from));
        format!("from = \"{}\", until = \"{until}\"{after}", day(from))
    }

    fn retention(&mut self) -> String {
        let mut dated = self.named(|field| field.is_single() && field.is_dated());
        let begins = |field: &Field| !matches!(field.class, "secret" | "special");
        dated.retain(|named| begins(named.field));
        let birth = |named: &Named<'_>| named.path.ends_with("birth_date");
        dated.retain(|named| !(self.pseudonymised && birth(named)));
        let end = |named: &Named<'_>| named.path.ends_with("membership.ends_on");
        if self.dice.chance(25) && dated.iter().any(end) {
            dated.retain(end);
        }
        let from = &self.dice.pick(&dated).path;
        let term = self.dice.word(&TERMS);
        let after = self.dice.word(&["retract", "forget"]);
        format!("retention = {{ term = \"{term}\", from = \"{from}\", after = \"{after}\" }}\n")
    }

    fn stages(&mut self) -> String {
        let kind = self.dice.word(&["date", "instant"]);
        let mut stages = self.named(|field| field.is_single() && field.kind == kind);
        stages.retain(|stage| !stage.joined);
        stages.retain(|stage| self.may_see(stage.field) || !self.pseudonymised);
        stages.retain(|stage| !matches!(stage.field.class, "secret" | "special"));
        if stages.len() < 2 || self.dice.chance(70) {
            return String::new();
        }
        let named = |stage: &Named<'_>| {
            ["one", "two", "three_at"]
                .iter()
                .any(|end| stage.path.ends_with(end))
        };
        if stages.iter().filter(|stage| named(stage)).count() > 1 && self.dice.chance(70) {
            stages.retain(named);
        }
        self.dice.shuffle(&mut stages);
        stages.truncate(self.dice.between(2, 3));
        let stages: Vec<&str> = stages.iter().map(|stage| &*stage.path).collect();
        format!("stages = {stages:?}\n")
    }

    /// The fields for which `wanted` holds, own ones and the patron's.
    fn named(&self, wanted: impl Fn(&Field) -> bool) -> Vec<Named<'a>> {
        let own = self.source.fields.iter().map(|field| (field, false));
        let is_joined = self.source.keyed && self.source.role != "patron";
        let patrons = self.patron.fields.iter().map(|field| (field, true));
        own.chain(patrons.filter(|_| is_joined))
            .filter(|(field, _)| wanted(field))
            .map(|(field, joined)| Named {
                path: format!("{}{}", if joined { "patron." } else { "" }, field.path),
                field,
                joined,
            })
            .collect()
    }

    /// Whether the recipient may have something of a field that no mask hides.
    fn may_see(&self, field: &Field) -> bool {
        match field.class {
            "secret" => false,
            "special" => self.explicit && !self.pseudonymised,
            "national_id" => self.authorised && !self.pseudonymised,
            "free_text" => self.free_text && !self.pseudonymised && field.is_single(),
            "plain" => !(self.pseudonymised && ["instant", "email", "phone"].contains(&field.kind)),
            _ => !self.pseudonymised,
        }
    }

    /// The fields that a condition may be about.
    fn asked(&self) -> Vec<Named<'a>> {
        let mut asked = self.named(Field::is_single);
        asked.retain(|named| self.may_see(named.field));
        asked
    }

    fn libraries(&mut self) -> String {
        if self.dice.chance(80) {
            return "libraries = \"all\"\n".to_owned();
        }
        let count = self.dice.between(1, 2);
        format!("libraries = {:?}\n", &LIBRARIES[..count])
    }

    fn topic(&mut self, name: &str) -> String {
        let mut by = self.asked();
        by.retain(|named| !named.field.values.is_empty());
        if by.is_empty() || self.dice.chance(75) {
            return format!("topic = \"out.{name}\"\n");
        }
        let Named {
            path: by, field, ..
        } = self.dice.pick(&by);
        let count = self.dice.between(1, field.values.len());
        let of = field.values[..count].iter();
        let of = of.map(|word| format!("\"{word}\" = \"out.{name}.{word}\""));
        let of = of.collect::<Vec<_>>().join(", ");
        format!("topic = {{ by = \"{by}\", of = {{ {of} }} }}\n")
    }

    /// The legal basis, with its gate; and whether consent is explicit.
    fn basis(&mut self, purpose: &str) -> (String, bool) {
        let asked = self.dice.chance(30);
        let basis = match asked && self.dice.chance(80) {
            true => "legal_basis = \"consent\"\n",
            false => "legal_basis = \"contract\"\n",
        };
        if !asked {
            return (basis.to_owned(), false);
        }
        let keyed = self.source.keyed;
        let (more, explicit) = match self.dice.below(4) {
            0 => (", explicit = true", true),
            1 | 2 if keyed && self.consents => {
                (", implied_by = \"patron.account.created_at\"", false)
            }
            _ => ("", false),
        };
        let gate = format!("consent = {{ purpose = \"{purpose}\"{more} }}\n");
        (format!("{basis}{gate}"), explicit)
    }

    fn key(&mut self) -> String {
        if self.dice.chance(70) {
            return self.source.id.clone();
        }
        let own = self.source.role == "patron";
        let keys = self.named(|field| {
            let is_text = matches!(field.kind, "text" | "card_number" | "email");
            field.is_single() && is_text && field.class == "identifier"
        });
        let mut keys: Vec<_> = keys
            .into_iter()
            .filter(|key| !key.joined && (own || key.path != "patron_id"))
            .collect();
        keys.swap_remove(self.dice.below(keys.len())).path
    }

    fn conditions(&mut self) -> String {
        let count = *self.dice.pick(&[0, 0, 1, 1, 2]);
        let fields = self.asked();
        let mut conditions = Vec::new();
        for _ in 0..count {
            let Named { path, field, .. } = self.dice.pick(&fields);
            let test = match field.kind {
                "text" if !field.values.is_empty() => {
                    let first = self.dice.below(field.values.len().min(3));
                    let last = field.values.len().min(first + 3);
                    format!("is = {:?}", &field.values[first..last])
                }
                "boolean" => format!("is = [{}]", self.dice.chance(50)),
                "integer" => "is = [0, 1, -1, 7, 12]".to_owned(),
                "date" if self.dice.chance(30) => "is = [\"2026-02-01\"]".to_owned(),
                _ => format!("present = {}", self.dice.chance(60)),
            };
            conditions.push(format!("{{ field = \"{path}\", {test} }}"));
        }
        if conditions.is_empty() {
            return String::new();
        }
        format!("when = [{}]\n", conditions.join(", "))
    }

    fn fields(&mut self) -> String {
        let careless = self.dice.chance(3);
        let authorised = self.authorised;
        let released = self.named(|field| self.may_see(field) || careless);
        let national = self.named(|field| field.class == "national_id");
        let mut text = "[fields]\n".to_owned();
        let mut single: Vec<String> = Vec::new();
        for place in 0..self.dice.between(1, 9) {
            let name = format!("f{place}");
            let value = match self.dice.below(20) {
                0 => "mask = \"constant\", value = \"vast \\\"é\\\"\"".to_owned(),
                1 if single.len() > 2 => {
                    let pick = |dice: &mut Dice| dice.pick(&single).clone();
                    let [mark, initial, one, two] = std::array::from_fn(|_| pick(self.dice));
                    let lines = if one == two {
                        vec![one]
                    } else {
                        vec![one, two]
                    };
                    text += &format!(
                        "{name} = {{ mask = \"shelf_slip\", mark = \"{mark}\", \
                         initial = \"{initial}\", lines = {lines:?} }}\n"
                    );
                    continue;
                }
                2 => self.mask_of_the_patron(),
                3..6 if authorised && !national.is_empty() => {
                    let named = self.dice.pick(&national);
                    self.value(named, &released)
                }
                _ if released.is_empty() => continue,
                _ => {
                    let named = self.dice.pick(&released);
                    self.value(named, &released)
                }
            };
            // A slip shows neither a pseudonym nor what is true or false.
            let in_slip = !value.contains("fields =")
                && !value.contains("[]")
                && !value.contains("pseudonym")
                && !value.ends_with("#boolean");
            let value = value.trim_end_matches("#boolean");
            text += &format!("{name} = {{ {value} }}\n");
            if in_slip {
                single.push(name);
            }
        }
        if text == "[fields]\n" {
            text += "f = { mask = \"constant\", value = \"leeg\" }\n";
        }
        text
    }

    /// A mask that only some fields of a patron suit.
    fn mask_of_the_patron(&mut self) -> String {
        let start = match (self.source.role, self.source.keyed) {
            ("patron", _) => "",
            (_, true) => "patron.",
            _ => return "mask = \"constant\", value = \"vast\"".to_owned(),
        };
        let due = match self.source.role {
            "patron" => "account.created_at",
            _ if self.source.fields.iter().any(|field| field.path == "at") => "at",
            _ => "due_on",
        };
        // The first of them hide nothing.
        let readable = [
            "birth_date\", mask = \"year\"",
            "surname\", mask = \"full_name\"",
        ];
        let hidden = [
            "surname\", mask = \"first_letters\"",
            "surname\", mask = \"first_letters\", count = 3, surname_key = \"full\"",
            "initials\", mask = \"initial\"",
            "address.postcode\", mask = \"postcode_area\"",
            "birth_date\", mask = \"age_band\", at = \"DUE\"",
        ];
        let masks: Vec<_> = readable.iter().chain(&hidden).collect();
        let from = if self.pseudonymised {
            readable.len()
        } else {
            0
        };
        let value = *self.dice.pick(&masks[from..]);
        format!("from = \"{start}{}", value.replace("DUE", due))
    }

    fn value(&mut self, named: &Named<'_>, all: &[Named<'_>]) -> String {
        let path = &named.path;
        let from = format!("from = \"{path}\"");
        if let Some((list, _)) = path.split_once("[].") {
            return self.part(&format!("{list}[]"), all);
        }
        if path.ends_with("[]") {
            return from;
        }
        let own = path.strip_prefix("patron.").unwrap_or(path);
        if own.contains('.') && self.dice.chance(60) {
            let (object, _) = path.rsplit_once('.').unwrap();
            return self.part(object, all);
        }
        if named.field.class == "free_text" {
            return format!("{from}, detect = \"all\"");
        }
        let identifier = named.field.class == "identifier";
        let mut dated = self.named(|field| field.is_single() && field.is_dated());
        dated.retain(|field| !field.joined);
        if identifier
            && matches!(named.field.kind, "text" | "card_number")
            && !dated.is_empty()
            && self.dice.chance(10)
        {
            let of = &self.dice.pick(&dated).path;
            return format!("{from}, mask = \"pseudonym\", month_of = \"{of}\"");
        }
        let mask = match named.field.kind {
            "text" if identifier && self.dice.chance(30) => ", mask = \"pseudonym\"",
            "text" => self.dice.pick(&[
                "",
                "",
                "",
                ", mask = \"lowercase\"",
                ", mask = \"present\"",
                ", detect = \"all\"",
                ", mask = \"lowercase\", detect = [\"bsn\", \"own_values\"]",
                ", mask = \"last_digits\"",
            ]),
            "card_number" => self.dice.pick(&[
                "",
                "",
                ", mask = \"last_digits\", count = 4, min_hidden = 1",
                ", mask = \"pseudonym\"",
                ", mask = \"present\"",
            ]),
            "date" | "instant" => {
                self.dice
                    .pick(&["", "", "", ", mask = \"year\"", ", mask = \"month\""])
            }
            "boolean" => return format!("{from}#boolean"),
            _ => self.dice.pick(&["", "", "", ", mask = \"present\""]),
        };
        format!("{from}{mask}")
    }

    /// An object or a list, with some of the values right below it.
    fn part(&mut self, above: &str, all: &[Named<'_>]) -> String {
        let start = format!("{above}.");
        let below = all.iter().filter_map(|named| {
            let name = named.path.strip_prefix(&start)?;
            let direct = !name.contains(['.', '[']) && named.field.class != "free_text";
            direct.then_some(name)
        });
        let mut below: Vec<&str> = below.collect();
        self.dice.shuffle(&mut below);
        below.truncate(self.dice.between(1, 4));
        if below.is_empty() {
            return "mask = \"constant\", value = \"geen\"".to_owned();
        }
        format!("from = \"{above}\", fields = {below:?}")
    }
}
