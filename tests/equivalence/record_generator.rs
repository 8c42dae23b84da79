//! Records by chance, for any kind: mostly as they should be, often written
//! oddly, sometimes wrong.
//!
//! A stream keeps templates of each kind. Records follow one template for a
//! while, so that their keys come in the same order; then one differs by a key,
//! or another template takes over, and the first one returns.

use zeef::policy::Policy;
use zeef::policy::catalogue::{CatalogueField, FieldType, RecordKind, Role};
use zeef::policy::form::TextFormat;
use zeef::policy::recipient::Recipient;

use crate::policy_generator::{
    LIBRARIES, PURPOSES, RECIPIENTS, SHARING_PURPOSE, STATUS_WORDS, TERMS,
};
use zeef_test_kit::model::SourceMessage;
use zeef_test_kit::rng::TestRng;

/// What a record holds at a place, before there are values.
#[derive(Clone, Debug)]
enum JsonPlan {
    Value(PlannedValue),
    /// What no catalogue knows.
    Noise,
    List(Box<JsonPlan>),
    Object(Vec<(String, JsonPlan)>),
}

#[derive(Clone, Debug)]
struct PlannedValue {
    name: String,
    field_type: FieldType,
    allowed_values: Vec<String>,
    /// Without it the record is refused whole.
    is_required: bool,
}

/// A record in the making; text is written as it stands.
#[derive(Clone, Debug)]
enum GeneratedJson {
    Raw(String),
    List(Vec<GeneratedJson>),
    /// Keys as between their quotes.
    Object(Vec<(String, GeneratedJson)>),
}

const PATRON_IDS: [&str; 5] = ["p1", "p2", "P\u{e9}-3", "0004", "p-of-which-the-id-is-long"];

/// From one offset to the next.
pub const OFFSET_STEP: i64 = 10;

/// Messages of all kinds of a policy, one after the other.
pub struct MessageStream<'p> {
    rng: TestRng,
    kinds: Vec<(&'p RecordKind, Vec<JsonPlan>)>,
    /// Kind and template that the records follow at present.
    current_template: (usize, usize),
    offset: i64,
    now_ms: i64,
    /// The paths of the patrons' kind.
    patron_paths: Vec<String>,
    /// A recipient has an output for each patron that a grant names.
    has_named_patrons: bool,
}

impl<'p> MessageStream<'p> {
    /// A stream of those kinds for which `wanted` holds; many dates lie where
    /// something begins or ends at `now_ms`.
    pub fn new(
        policy: &'p Policy,
        seed: u64,
        now_ms: i64,
        wanted: impl Fn(&RecordKind) -> bool,
    ) -> Self {
        let mut rng = TestRng::new(seed);
        let kinds = policy.record_kinds.iter().filter(|kind| wanted(kind));
        let kinds = kinds.map(|kind| {
            let templates = (0..3).map(|_| plan_template(kind, &mut rng));
            (kind, templates.collect())
        });
        let kinds = kinds.collect();
        MessageStream {
            rng,
            kinds,
            current_template: (0, 0),
            // None is below nought.
            offset: 10 * OFFSET_STEP,
            now_ms,
            patron_paths: policy.patron_kind().map_or_else(Vec::new, |kind| {
                kind.fields.iter().map(|field| field.path.clone()).collect()
            }),
            has_named_patrons: policy.recipients.iter().any(Recipient::is_for_named_patrons),
        }
    }

    pub fn next_message(&mut self) -> SourceMessage {
        if self.rng.one_in(4) {
            let kind = self.rng.below(self.kinds.len());
            self.current_template = (kind, *self.rng.pick(&[0, 0, 1, 2]));
        }
        let (kind, template) = self.current_template;
        self.message_of_template(kind, template)
    }

    /// A record of the patrons' kind for each patron, if the stream has that; before them a
    /// grant of each that names the next one, where a recipient asks for such grants.
    pub fn first_messages(&mut self) -> Vec<SourceMessage> {
        let mut messages = Vec::new();
        if self.has_named_patrons && self.kinds.iter().any(|(kind, _)| kind.name == "consent") {
            for (at, patron_id) in PATRON_IDS.into_iter().enumerate() {
                let named_id = PATRON_IDS[(at + 1) % PATRON_IDS.len()];
                messages.push(self.grant_message(patron_id, named_id));
            }
        }
        messages.extend(self.patron_messages());
        messages
    }

    /// A written grant of yesterday that names a patron.
    fn grant_message(&mut self, patron_id: &str, named_id: &str) -> SourceMessage {
        let yesterday = jiff::Timestamp::from_millisecond(self.now_ms - 86_400_000).unwrap();
        let library = LIBRARIES[0];
        let text = format!(
            r#"{{"consent_id":"g-{patron_id}","patron_id":"{patron_id}","library":"{library}","purpose":"{SHARING_PURPOSE}","recipient":"{named_id}","decision":"granted","manner":"written","given_by":"patron","at":"{yesterday}"}}"#
        );
        self.offset += OFFSET_STEP;
        SourceMessage {
            kind: "consent".to_owned(),
            partition: 0,
            offset: self.offset,
            key: Some(patron_id.as_bytes().to_vec()),
            value: Some(text.into_bytes()),
        }
    }

    fn patron_messages(&mut self) -> Vec<SourceMessage> {
        let mut kinds = self.kinds.iter();
        let Some(patron) = kinds.position(|(kind, _)| kind.role == Role::Patron) else {
            return Vec::new();
        };
        (0..PATRON_IDS.len()).map(|_| self.message_of_template(patron, 0)).collect()
    }

    fn message_of_template(&mut self, kind: usize, template: usize) -> SourceMessage {
        let rng = &mut self.rng;
        let (kind, templates) = &self.kinds[kind];
        let mut plan = templates[template].clone();
        if rng.one_in(3)
            && let JsonPlan::Object(members) = &mut plan
        {
            vary_members(members, rng);
        }
        let turn = usize::try_from(self.offset / OFFSET_STEP).unwrap();
        let patron_id = match rng.below(20) {
            0 if rng.chance(50) => "p-unknown",
            0..10 => PATRON_IDS[turn % PATRON_IDS.len()],
            _ => rng.pick(&PATRON_IDS),
        };
        let now_ms = self.now_ms;
        let patron_paths = &self.patron_paths;
        let is_consent = kind.name == "consent";
        let names_patron = is_consent && rng.chance(if self.has_named_patrons { 60 } else { 5 });
        let mut generator = RecordGenerator { rng, patron_id, patron_paths, now_ms, names_patron };
        let mut draft = generator.generate(&plan);
        if generator.rng.one_in(6) {
            generator.spoil_value(&mut draft);
        }
        let style = generator.rng.below(8);
        let mut text = String::new();
        generator.write_json(&draft, style, &mut text);
        self.offset += OFFSET_STEP;
        let key = match rng.below(60) {
            0 => None,
            1 => Some(b"p2 ".to_vec()),
            2 => Some(vec![0xff]),
            _ => Some(patron_id.as_bytes().to_vec()),
        };
        let value = match rng.below(40) {
            0 => None,
            1 => Some(b" null\n".to_vec()),
            _ => Some(text.into_bytes()),
        };
        SourceMessage {
            kind: kind.name.clone(),
            partition: i32::from(rng.one_in(40)),
            // Now and then one that is older than what is known; but no offset
            // comes twice.
            offset: self.offset - if rng.one_in(20) { 7 * OFFSET_STEP - 1 } else { 0 },
            key: key.filter(|_| kind.is_keyed_by_patron || turn % 2 == 0),
            value,
        }
    }
}

/// All fields of a kind in some order, some left out, some unknown between.
fn plan_template(kind: &RecordKind, rng: &mut TestRng) -> JsonPlan {
    let mut members = Vec::new();
    for field in &kind.fields {
        let needed = ["patron_id", "library", &kind.id_path].contains(&&*field.path);
        if needed || rng.chance(90) {
            place_field(&mut members, &field.path, field, needed);
        }
    }
    shuffle_members(&mut members, rng);
    let mut plan = JsonPlan::Object(members);
    if !kind.is_closed {
        add_noise(&mut plan, rng);
    }
    plan
}

/// Puts a field at its path, the objects and lists on the way too.
fn place_field(
    members: &mut Vec<(String, JsonPlan)>,
    path: &str,
    field: &CatalogueField,
    needed: bool,
) {
    let (part, below) = match path.split_once('.') {
        Some((part, below)) => (part, Some(below)),
        None => (path, None),
    };
    let name = part.strip_suffix("[]").unwrap_or(part);
    let in_list = name.len() < part.len();
    let Some(below) = below else {
        let value = JsonPlan::Value(PlannedValue {
            name: name.to_owned(),
            field_type: field.field_type,
            allowed_values: field.allowed_values.clone(),
            is_required: needed,
        });
        let plan = if in_list { JsonPlan::List(Box::new(value)) } else { value };
        members.push((name.to_owned(), plan));
        return;
    };
    let known = members.iter().position(|(known, _)| known == name);
    let at = known.unwrap_or_else(|| {
        let object = JsonPlan::Object(Vec::new());
        let plan = if in_list { JsonPlan::List(Box::new(object)) } else { object };
        members.push((name.to_owned(), plan));
        members.len() - 1
    });
    match &mut members[at].1 {
        JsonPlan::Object(inner) => place_field(inner, below, field, needed),
        JsonPlan::List(inner) => {
            if let JsonPlan::Object(inner) = &mut **inner {
                place_field(inner, below, field, needed);
            }
        }
        JsonPlan::Value(_) | JsonPlan::Noise => {}
    }
}

fn shuffle_members(members: &mut [(String, JsonPlan)], rng: &mut TestRng) {
    if rng.chance(60) {
        rng.shuffle(members);
    }
    for (_, plan) in members {
        if let JsonPlan::Object(inner) = plan {
            shuffle_members(inner, rng);
        } else if let JsonPlan::List(inner) = plan
            && let JsonPlan::Object(inner) = &mut **inner
        {
            shuffle_members(inner, rng);
        }
    }
}

fn add_noise(plan: &mut JsonPlan, rng: &mut TestRng) {
    match plan {
        JsonPlan::Object(members) => {
            for (_, plan) in members.iter_mut() {
                add_noise(plan, rng);
            }
            for _ in 0..*rng.pick(&[0, 0, 1, 2]) {
                let at = rng.below(members.len() + 1);
                let key = similar_member_name(members, rng);
                members.insert(at, (key, JsonPlan::Noise));
            }
        }
        JsonPlan::List(inner) => add_noise(inner, rng),
        JsonPlan::Value(_) | JsonPlan::Noise => {}
    }
}

/// A key near to one that is there: longer, shorter, or quite another.
fn similar_member_name(members: &[(String, JsonPlan)], rng: &mut TestRng) -> String {
    let near = match members {
        [] => String::new(),
        some => rng.pick(some).0.clone(),
    };
    let mut key = match rng.below(7) {
        0 => near[..near.len().saturating_sub(1)].to_owned(),
        1 => format!("{near}\\\""),
        2 => format!("{near}\\u0000"),
        3 => format!("{near}s"),
        4 => format!("{near}:"),
        5 => near.to_uppercase(),
        _ => "onbekend".to_owned(),
    };
    if members.iter().any(|(other, _)| *other == key) {
        key.push('_');
    }
    key
}

/// Lets the keys of one object differ from the template by a little.
fn vary_members(members: &mut Vec<(String, JsonPlan)>, rng: &mut TestRng) {
    let inner = members.iter_mut().filter_map(|(_, plan)| match plan {
        JsonPlan::Object(inner) => Some(inner),
        JsonPlan::List(inner) => match &mut **inner {
            JsonPlan::Object(inner) => Some(inner),
            _ => None,
        },
        _ => None,
    });
    let mut inner: Vec<_> = inner.collect();
    if !inner.is_empty() && rng.chance(40) {
        let at = rng.below(inner.len());
        return vary_members(inner.swap_remove(at), rng);
    }
    if members.is_empty() {
        return;
    }
    let at = rng.below(members.len());
    match rng.below(9) {
        0 => drop(members.remove(at)),
        1 => {
            let next = (at + 1).min(members.len() - 1);
            members.swap(at, next);
        }
        2 => {
            let last = members.remove(at);
            members.push(last);
        }
        3 => {
            let key = similar_member_name(members, rng);
            members.insert(at, (key, JsonPlan::Noise));
        }
        4 => {
            // A known key, and a neighbour of it that takes its place.
            members[at].0 = similar_member_name(members, rng);
        }
        5 => members[at].0 = escape_one_character(&members[at].0.clone(), rng),
        6 => {
            let twin = members[at].clone();
            let place = rng.below(members.len() + 1);
            members.insert(place, twin);
        }
        7 => {
            let (key, plan) = members[at].clone();
            let place = rng.below(members.len() + 1);
            members.insert(place, (escape_one_character(&key, rng), plan));
        }
        _ => members.rotate_left(at),
    }
}

/// A key with one of its characters escaped.
fn escape_one_character(key: &str, rng: &mut TestRng) -> String {
    if key.is_empty() || key.contains('\\') || !key.is_ascii() {
        return key.to_owned();
    }
    let at = rng.below(key.len());
    let code = key.as_bytes()[at];
    let escape = if rng.chance(50) { format!("\\u{code:04x}") } else { format!("\\u{code:04X}") };
    format!("{}{escape}{}", &key[..at], &key[at + 1..])
}

struct RecordGenerator<'a> {
    rng: &'a mut TestRng,
    patron_id: &'a str,
    patron_paths: &'a [String],
    now_ms: i64,
    /// A consent's recipient is another patron.
    names_patron: bool,
}

const PERSON_NAMES: [&str; 8] = [
    "Berg",
    "van der Berg",
    "IJzerman",
    "O'Brien",
    "\u{2019}t Hooft",
    "O\u{308}zdemir",
    "Li",
    "\u{200b}",
];
const CARD_NUMBERS: [&str; 8] = [
    "20013004567890",
    "123456789X",
    "0470012",
    "00085073003328",
    "1-850730-03328-2",
    "85073003328",
    "85.07.30-033.28",
    "85073003329",
];
const NATIONAL_NUMBERS: [&str; 4] =
    ["85.07.30-033.28", "85073003328", "17.07.30-033.84", "85073003329"];
/// National numbers as they stand in other fields.
const EMBEDDED_NATIONAL_NUMBERS: [&str; 4] =
    ["nr. 85073003328", "8507 en 3003, of 328", "id-\u{661}\u{667}07300338400", "85.07.30-033.2"];
const NOTES: [&str; 4] = [
    "belde over boete, 06-00000000, jan@example.org",
    "BSN 111222333 gezien",
    "mevrouw Berg komt morgen",
    "Berg of van der Berg, kaart 20013004567890",
];
const NUMBERS: [&str; 26] = [
    "0",
    "-0",
    "1",
    "7",
    "12",
    "-1",
    "1234567890",
    "12.50",
    "-0.0",
    "1e5",
    "1E5",
    "1e+5",
    "1E-5",
    "0e0",
    "1.0e-10",
    "1e308",
    "1e309",
    "-1e999",
    "1e-999",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "123456789012345678901234567890123456789",
    "0.1234567890123456789012345678901234567890",
    "100000000000000000000000e-22",
];

impl RecordGenerator<'_> {
    fn generate(&mut self, plan: &JsonPlan) -> GeneratedJson {
        match plan {
            JsonPlan::Value(value) => GeneratedJson::Raw(self.generate_value(value)),
            JsonPlan::Noise => self.generate_noise(3),
            JsonPlan::List(inner) => {
                let count = *self.rng.pick(&[0, 1, 1, 2, 3, 5]);
                GeneratedJson::List((0..count).map(|_| self.generate(inner)).collect())
            }
            JsonPlan::Object(members) => {
                let members = members.iter();
                let drafts = members.map(|(key, plan)| (key.clone(), self.generate(plan)));
                GeneratedJson::Object(drafts.collect())
            }
        }
    }

    fn generate_value(&mut self, value: &PlannedValue) -> String {
        let odd = if value.is_required { 150 } else { 25 };
        if self.rng.one_in(odd) {
            return self.odd_json();
        }
        let text = match (value.name.as_str(), value.field_type) {
            ("patron_id", _) => self.patron_id.to_owned(),
            ("library", _) => {
                let place = *self.rng.pick(&[0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
                LIBRARIES[place].to_owned()
            }
            ("surname" | "surname_prefix" | "initials" | "given_name", _) => {
                self.rng.pick_str(&PERSON_NAMES).to_owned()
            }
            ("card_kind", _) => self.rng.pick_str(&["library", "library", "eid"]).to_owned(),
            ("postcode", _) => self.rng.pick_str(&["1234 AB", "9000", "12"]).to_owned(),
            ("country", _) => self.rng.pick_str(&["NL", "BE", "nl"]).to_owned(),
            ("consent_id" | "objection_id", _) => format!("id-{}", self.rng.below(3)),
            ("purpose", _) if value.allowed_values.is_empty() => match self.rng.below(10) {
                0 => return "null".to_owned(),
                1 => "elsewhere".to_owned(),
                _ if self.names_patron => SHARING_PURPOSE.to_owned(),
                _ => self.rng.pick_str(&PURPOSES).to_owned(),
            },
            ("recipient", _) if self.names_patron => self.rng.pick_str(&PATRON_IDS).to_owned(),
            ("recipient", _) if value.allowed_values.is_empty() => match self.rng.below(10) {
                0..5 => return self.rng.pick_str(&["null", "\"\""]).to_owned(),
                5 => "r9".to_owned(),
                _ => self.rng.pick_str(&RECIPIENTS).to_owned(),
            },
            ("wanted", _) if self.rng.chance(90) && !self.patron_paths.is_empty() => {
                self.rng.pick(self.patron_paths).clone()
            }
            ("remark", _) if self.rng.chance(70) => self.rng.pick_str(&NOTES).to_owned(),
            ("gone", FieldType::Boolean) => {
                let words = ["true", "true", "null", "false", "\"\"", "null", "null"];
                return self.rng.pick_str(&words).to_owned();
            }
            (_, FieldType::Boolean) => return self.rng.pick_str(&["true", "false"]).to_owned(),
            (_, FieldType::Integer) if self.rng.chance(80) => {
                return (*self.rng.pick(&NUMBERS[..7])).to_owned();
            }
            (_, FieldType::Integer) => return self.rng.pick_str(&NUMBERS).to_owned(),
            (_, FieldType::TextOrNumber) if self.rng.chance(50) => {
                return self.rng.pick_str(&NUMBERS).to_owned();
            }
            (_, FieldType::CardNumber) => self.rng.pick_str(&CARD_NUMBERS).to_owned(),
            (_, FieldType::Text(Some(form))) => self.generate_formed(form),
            _ if value.is_required => format!("id-{}", self.rng.below(12)),
            _ if !value.allowed_values.is_empty() => self.pick_allowed_value(&value.allowed_values),
            _ if self.rng.chance(20) => self.rng.pick_str(&STATUS_WORDS).to_owned(),
            _ if self.rng.chance(5) => self.rng.pick_str(&EMBEDDED_NATIONAL_NUMBERS).to_owned(),
            _ => self.generate_text(),
        };
        self.quote(&text)
    }

    /// One of a list; what lets others pass a gate comes more often.
    fn pick_allowed_value(&mut self, values: &[String]) -> String {
        let often = ["active", "granted", "special_circumstances", "dismissed", "p"];
        let mut favoured = values.iter().filter(|value| often.contains(&value.as_str()));
        match favoured.next() {
            Some(value) if self.rng.chance(40) => value.clone(),
            Some(_) if self.rng.chance(10) => self.rng.pick_str(&STATUS_WORDS).to_owned(),
            _ => self.rng.pick(values).clone(),
        }
    }

    /// A time at which some term from it is over now, or nearly; or now.
    fn term_start(&mut self) -> jiff::Zoned {
        let now = jiff::Timestamp::from_millisecond(self.now_ms).unwrap();
        let term: jiff::Span = self.rng.pick_str(&TERMS).parse().unwrap();
        let term = match self.rng.below(4) {
            0 => jiff::Span::new(),
            1 => jiff::Span::new().days(-3),
            _ => term,
        };
        let start = now.to_zoned(jiff::tz::TimeZone::UTC);
        start.checked_sub(term).unwrap()
    }

    fn generate_date(&mut self) -> String {
        let days = jiff::Span::new().days(*self.rng.pick(&[-1, 0, 0, 1, 2]));
        self.term_start().date().checked_add(days).unwrap().to_string()
    }

    fn generate_instant(&mut self) -> String {
        let span = jiff::Span::new();
        let near = *self.rng.pick(&[
            span,
            span,
            span.nanoseconds(1),
            span.nanoseconds(-1),
            span.milliseconds(1),
            span.milliseconds(-1),
            span.hours(-1),
            span.hours(1),
        ]);
        let time = self.term_start().checked_add(near).unwrap().timestamp();
        let ahead = *self.rng.pick(&[0, 0, 5, -11]);
        match ahead {
            0 => time.to_string(),
            _ => time.display_with_offset(jiff::tz::offset(ahead)).to_string(),
        }
    }

    fn generate_formed(&mut self, form: TextFormat) -> String {
        match form {
            TextFormat::Date if self.rng.chance(60) => return self.generate_date(),
            TextFormat::Instant if self.rng.chance(80) => return self.generate_instant(),
            _ => {}
        }
        let all: &[&str] = match form {
            TextFormat::Date => {
                &["2026-02-01", "1985-07-30", "2024-02-29", "2023-02-29", "2026-1-1"]
            }
            TextFormat::Instant => &[
                "2026-01-15T12:00:00Z",
                "2026-01-15T12:00:00.001Z",
                "2024-02-28T23:30:00-05:00",
                "2025-06-30T23:59:60Z",
                "9999-12-31T23:59:59-05:00",
                "2400-01-01T00:00:00Z",
                "0001-01-01T00:00:00Z",
                "1600-01-01T00:00:00Z",
            ],
            TextFormat::Email => &["jan@example.org", "j+b@sub.example.org", "jan@example"],
            TextFormat::Phone => &["06-00000000", "+31 6 00000000", "06"],
            TextFormat::Iban => &["NL91 ABNA 0417 1643 00", "NL91ABNA0417164301"],
            TextFormat::Bsn => &["111222333", "111222334"],
            TextFormat::Rijksregisternummer => &NATIONAL_NUMBERS,
            TextFormat::Isil => &LIBRARIES,
            TextFormat::Currency => &["EUR", "eur"],
        };
        self.rng.pick_str(all).to_owned()
    }

    /// Text of a length that meets the edges of words, of any characters.
    fn generate_text(&mut self) -> String {
        let length = match self.rng.below(40) {
            0 => self.rng.between(70, 4_000),
            1..4 => 0,
            _ => self.rng.between(1, 70),
        };
        let script = self.rng.below(5);
        let mut text = String::new();
        while text.len() < length {
            text.push_str(match (script, self.rng.below(12)) {
                (0, _) => "a",
                (1, _) => "\u{e9}",
                (2, 0) => "\u{1f600}",
                (2, 1) => "\u{20ac}",
                (3, 0) => "\"",
                (3, 1) => "\\",
                (3, 2) => "\n",
                (3, 3) => "\u{1}",
                (3, 4) => "/",
                (4, 0) => "\u{7f}",
                (4, 1) => "\u{2028}",
                (4, 2) => "\u{ffff}",
                (4, 3) => "\u{10ffff}",
                (4, 4) => "\u{80}",
                _ => self.rng.pick_str(&["b", " ", "Z", "0", "{", "]", ",", ":"]),
            });
        }
        text
    }

    /// A string in JSON, escaped as little as can be or here and there.
    fn quote(&mut self, text: &str) -> String {
        let escape_percent = *self.rng.pick(&[0, 0, 0, 0, 5, 60]);
        let mut out = String::from("\"");
        for c in text.chars() {
            let must = matches!(c, '"' | '\\' | '\0'..='\u{1f}');
            if !must && !self.rng.chance(escape_percent) {
                out.push(c);
                continue;
            }
            let short = match c {
                '"' => "\\\"",
                '\\' => "\\\\",
                '/' => "\\/",
                '\n' => "\\n",
                '\t' => "\\t",
                '\r' => "\\r",
                '\u{8}' => "\\b",
                '\u{c}' => "\\f",
                _ => "",
            };
            if !short.is_empty() && self.rng.chance(60) {
                out.push_str(short);
                continue;
            }
            for unit in c.encode_utf16(&mut [0; 2]) {
                if self.rng.chance(50) {
                    out.push_str(&format!("\\u{unit:04x}"));
                } else {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
        }
        out.push('"');
        out
    }

    /// What is JSON, but hardly ever what is wanted.
    fn odd_json(&mut self) -> String {
        match self.rng.below(12) {
            0..3 => "null".to_owned(),
            3 => "\"\"".to_owned(),
            4 => self.rng.pick_str(&["true", "false"]).to_owned(),
            5 => self.rng.pick_str(&NUMBERS).to_owned(),
            6 => {
                (*self.rng.pick(&["{}", "[]", "[null,[\"\"]]", "{\"a\":{ \"b\": []}}"])).to_owned()
            }
            7 => (*self.rng.pick(&["[0]", "{\"a\":1}", "[[],[false]]"])).to_owned(),
            8 => {
                let lone = ["\\ud800", "\\udc00x", "x\\ud83d\\ud83d\\ude00", "\\uDBFF\\n"];
                format!("\"{}\"", self.rng.pick(&lone))
            }
            9 => "\"-\"".to_owned(),
            _ => {
                let text = self.generate_text();
                self.quote(&text)
            }
        }
    }

    fn generate_noise(&mut self, levels: usize) -> GeneratedJson {
        match self.rng.below(8) {
            0 if levels > 0 => {
                let count = self.rng.below(4);
                GeneratedJson::List((0..count).map(|_| self.generate_noise(levels - 1)).collect())
            }
            1 if levels > 0 => {
                let count = self.rng.below(4);
                let keys = ["a", "library", "patron_id", "\\u0061", "", "\\ud800"];
                let member = |generator: &mut Self| {
                    let key = generator.rng.pick_str(&keys).to_owned();
                    (key, generator.generate_noise(levels - 1))
                };
                GeneratedJson::Object((0..count).map(|_| member(self)).collect())
            }
            2 if self.rng.one_in(10) => {
                let deep = *self.rng.pick(&[5, 15, 62, 63, 64, 200]);
                GeneratedJson::Raw("[".repeat(deep) + &"]".repeat(deep))
            }
            3 => GeneratedJson::Raw(self.rng.pick_str(&NUMBERS).to_owned()),
            4 => GeneratedJson::Raw(self.odd_json()),
            _ => {
                let text = self.generate_text();
                GeneratedJson::Raw(self.quote(&text))
            }
        }
    }

    /// Puts something of another type somewhere.
    fn spoil_value(&mut self, draft: &mut GeneratedJson) {
        let inner: &mut GeneratedJson = match draft {
            GeneratedJson::Object(members) if !members.is_empty() && self.rng.chance(80) => {
                let at = self.rng.below(members.len());
                &mut members[at].1
            }
            GeneratedJson::List(elements) if !elements.is_empty() && self.rng.chance(60) => {
                let at = self.rng.below(elements.len());
                &mut elements[at]
            }
            _ => {
                *draft = match self.rng.below(4) {
                    0 => GeneratedJson::List(vec![draft.clone()]),
                    1 => GeneratedJson::Object(vec![("a".to_owned(), draft.clone())]),
                    _ => GeneratedJson::Raw(self.odd_json()),
                };
                return;
            }
        };
        self.spoil_value(inner);
    }

    fn write_json(&mut self, draft: &GeneratedJson, style: usize, out: &mut String) {
        let (open, close, count) = match draft {
            GeneratedJson::Raw(text) => return out.push_str(text),
            GeneratedJson::List(elements) => ('[', ']', elements.len()),
            GeneratedJson::Object(members) => ('{', '}', members.len()),
        };
        out.push(open);
        self.write_whitespace(style, out);
        for at in 0..count {
            if at > 0 {
                out.push(',');
                self.write_whitespace(style, out);
            }
            match draft {
                GeneratedJson::List(elements) => self.write_json(&elements[at], style, out),
                GeneratedJson::Object(members) => {
                    let (key, value) = &members[at];
                    out.push('"');
                    out.push_str(key);
                    out.push('"');
                    if style == 2 {
                        self.write_whitespace(style, out);
                    }
                    out.push(':');
                    self.write_whitespace(style, out);
                    self.write_json(value, style, out);
                }
                GeneratedJson::Raw(_) => {}
            }
            if style == 2 {
                self.write_whitespace(style, out);
            }
        }
        out.push(close);
    }

    /// None in most records, one as Python has it, any, or now and then one.
    fn write_whitespace(&mut self, style: usize, out: &mut String) {
        match style {
            1 => out.push(' '),
            2 => out.push_str(self.rng.pick_str(&["", " ", "\n  ", "\t", "\r\n", "          "])),
            3 if self.rng.one_in(9) => out.push(' '),
            _ => {}
        }
    }
}
