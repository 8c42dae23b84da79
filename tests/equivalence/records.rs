//! Records by chance, for any kind: mostly as they should be, often written
//! oddly, sometimes wrong.
//!
//! A stream keeps templates of each kind. Records follow one template for a
//! while, so that their keys come in the same order; then one differs by a key,
//! or another template takes over, and the first one returns.

use zeef::policy::Policy;
use zeef::policy::catalogue::{Field, Kind, Role, Type};
use zeef::policy::form::Form;

use crate::dice::Dice;
use crate::plain::Message;
use crate::policies::{LIBRARIES, PURPOSES, RECIPIENTS, TERMS, WORDS};

/// What a record holds at a place, before there are values.
#[derive(Clone, Debug)]
enum Plan {
    Value(Value),
    /// What no catalogue knows.
    Noise,
    List(Box<Plan>),
    Object(Vec<(String, Plan)>),
}

#[derive(Clone, Debug)]
struct Value {
    name: String,
    kind: Type,
    values: Vec<String>,
    /// Without it the record is refused whole.
    needed: bool,
}

/// A record in the making; text is written as it stands.
#[derive(Clone, Debug)]
enum Draft {
    Raw(String),
    List(Vec<Draft>),
    /// Keys as between their quotes.
    Object(Vec<(String, Draft)>),
}

const PATRONS: [&str; 5] = ["p1", "p2", "P\u{e9}-3", "0004", "p-of-which-the-id-is-long"];

/// From one offset to the next.
pub const STEP: i64 = 10;

/// Messages of all kinds of a policy, one after the other.
pub struct Stream<'p> {
    dice: Dice,
    kinds: Vec<(&'p Kind, Vec<Plan>)>,
    /// Kind and template that the records follow at present.
    current: (usize, usize),
    offset: i64,
    now_ms: i64,
}

impl<'p> Stream<'p> {
    /// A stream of those kinds for which `wanted` holds; many dates lie where
    /// something begins or ends at `now_ms`.
    pub fn new(policy: &'p Policy, seed: u64, now_ms: i64, wanted: impl Fn(&Kind) -> bool) -> Self {
        let mut dice = Dice::new(seed);
        let kinds = policy.kinds.iter().filter(|kind| wanted(kind));
        let kinds = kinds.map(|kind| {
            let templates = (0..3).map(|_| template(kind, &mut dice));
            (kind, templates.collect())
        });
        let kinds = kinds.collect();
        Stream {
            dice,
            kinds,
            current: (0, 0),
            // None is below nought.
            offset: 10 * STEP,
            now_ms,
        }
    }

    pub fn message(&mut self) -> Message {
        if self.dice.once_in(4) {
            let kind = self.dice.below(self.kinds.len());
            self.current = (kind, *self.dice.pick(&[0, 0, 1, 2]));
        }
        let (kind, template) = self.current;
        self.of_template(kind, template)
    }

    /// A record of the patrons' kind for each patron, if the stream has that.
    pub fn patrons(&mut self) -> Vec<Message> {
        let mut kinds = self.kinds.iter();
        let Some(patron) = kinds.position(|(kind, _)| kind.role == Role::Patron) else {
            return Vec::new();
        };
        (0..PATRONS.len())
            .map(|_| self.of_template(patron, 0))
            .collect()
    }

    fn of_template(&mut self, kind: usize, template: usize) -> Message {
        let dice = &mut self.dice;
        let (kind, templates) = &self.kinds[kind];
        let mut plan = templates[template].clone();
        if dice.once_in(3)
            && let Plan::Object(members) = &mut plan
        {
            vary(members, dice);
        }
        let turn = usize::try_from(self.offset / STEP).unwrap();
        let patron_id = match dice.below(20) {
            0 if dice.chance(50) => "p-unknown",
            0..10 => PATRONS[turn % PATRONS.len()],
            _ => dice.pick(&PATRONS),
        };
        let now_ms = self.now_ms;
        let mut maker = Maker {
            dice,
            patron_id,
            now_ms,
        };
        let mut draft = maker.draft(&plan);
        if maker.dice.once_in(6) {
            maker.spoil(&mut draft);
        }
        let style = maker.dice.below(8);
        let mut text = String::new();
        maker.write(&draft, style, &mut text);
        self.offset += STEP;
        let key = match dice.below(60) {
            0 => None,
            1 => Some(b"p2 ".to_vec()),
            2 => Some(vec![0xff]),
            _ => Some(patron_id.as_bytes().to_vec()),
        };
        let value = match dice.below(40) {
            0 => None,
            1 => Some(b" null\n".to_vec()),
            _ => Some(text.into_bytes()),
        };
        Message {
            kind: kind.name.clone(),
            partition: i32::from(dice.once_in(40)),
            // Now and then one that is older than what is known; but no offset
            // comes twice.
            offset: self.offset - if dice.once_in(20) { 7 * STEP - 1 } else { 0 },
            key: key.filter(|_| kind.keyed || turn % 2 == 0),
            value,
        }
    }
}

/// All fields of a kind in some order, some left out, some unknown between.
fn template(kind: &Kind, dice: &mut Dice) -> Plan {
    let mut members = Vec::new();
    for field in &kind.fields {
        let needed = ["patron_id", "library", &kind.id].contains(&&*field.path);
        if needed || dice.chance(90) {
            place(&mut members, &field.path, field, needed);
        }
    }
    shuffle(&mut members, dice);
    let mut plan = Plan::Object(members);
    if !kind.closed {
        add_noise(&mut plan, dice);
    }
    plan
}

/// Puts a field at its path, the objects and lists on the way too.
fn place(members: &mut Vec<(String, Plan)>, path: &str, field: &Field, needed: bool) {
    let (part, below) = match path.split_once('.') {
        Some((part, below)) => (part, Some(below)),
        None => (path, None),
    };
    let name = part.strip_suffix("[]").unwrap_or(part);
    let in_list = name.len() < part.len();
    let Some(below) = below else {
        let value = Plan::Value(Value {
            name: name.to_owned(),
            kind: field.kind,
            values: field.values.clone(),
            needed,
        });
        let plan = if in_list {
            Plan::List(Box::new(value))
        } else {
            value
        };
        members.push((name.to_owned(), plan));
        return;
    };
    let known = members.iter().position(|(known, _)| known == name);
    let at = known.unwrap_or_else(|| {
        let object = Plan::Object(Vec::new());
        let plan = if in_list {
            Plan::List(Box::new(object))
        } else {
            object
        };
        members.push((name.to_owned(), plan));
        members.len() - 1
    });
    match &mut members[at].1 {
        Plan::Object(inner) => place(inner, below, field, needed),
        Plan::List(inner) => {
            if let Plan::Object(inner) = &mut **inner {
                place(inner, below, field, needed);
            }
        }
        Plan::Value(_) | Plan::Noise => {}
    }
}

fn shuffle(members: &mut [(String, Plan)], dice: &mut Dice) {
    if dice.chance(60) {
        dice.shuffle(members);
    }
    for (_, plan) in members {
        if let Plan::Object(inner) = plan {
            shuffle(inner, dice);
        } else if let Plan::List(inner) = plan
            && let Plan::Object(inner) = &mut **inner
        {
            shuffle(inner, dice);
        }
    }
}

fn add_noise(plan: &mut Plan, dice: &mut Dice) {
    match plan {
        Plan::Object(members) => {
            for (_, plan) in members.iter_mut() {
                add_noise(plan, dice);
            }
            for _ in 0..*dice.pick(&[0, 0, 1, 2]) {
                let at = dice.below(members.len() + 1);
                let key = neighbour(members, dice);
                members.insert(at, (key, Plan::Noise));
            }
        }
        Plan::List(inner) => add_noise(inner, dice),
        Plan::Value(_) | Plan::Noise => {}
    }
}

/// A key near to one that is there: longer, shorter, or quite another.
fn neighbour(members: &[(String, Plan)], dice: &mut Dice) -> String {
    let near = match members {
        [] => String::new(),
        some => dice.pick(some).0.clone(),
    };
    let mut key = match dice.below(7) {
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
fn vary(members: &mut Vec<(String, Plan)>, dice: &mut Dice) {
    let inner = members.iter_mut().filter_map(|(_, plan)| match plan {
        Plan::Object(inner) => Some(inner),
        Plan::List(inner) => match &mut **inner {
            Plan::Object(inner) => Some(inner),
            _ => None,
        },
        _ => None,
    });
    let mut inner: Vec<_> = inner.collect();
    if !inner.is_empty() && dice.chance(40) {
        let at = dice.below(inner.len());
        return vary(inner.swap_remove(at), dice);
    }
    if members.is_empty() {
        return;
    }
    let at = dice.below(members.len());
    match dice.below(9) {
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
            let key = neighbour(members, dice);
            members.insert(at, (key, Plan::Noise));
        }
        4 => {
            // A known key, and a neighbour of it that takes its place.
            members[at].0 = neighbour(members, dice);
        }
        5 => members[at].0 = escaped(&members[at].0.clone(), dice),
        6 => {
            let twin = members[at].clone();
            let place = dice.below(members.len() + 1);
            members.insert(place, twin);
        }
        7 => {
            let (key, plan) = members[at].clone();
            let place = dice.below(members.len() + 1);
            members.insert(place, (escaped(&key, dice), plan));
        }
        _ => members.rotate_left(at),
    }
}

/// A key with one of its characters escaped.
fn escaped(key: &str, dice: &mut Dice) -> String {
    if key.is_empty() || key.contains('\\') || !key.is_ascii() {
        return key.to_owned();
    }
    let at = dice.below(key.len());
    let code = key.as_bytes()[at];
    let escape = if dice.chance(50) {
        format!("\\u{code:04x}")
    } else {
        format!("\\u{code:04X}")
    };
    format!("{}{escape}{}", &key[..at], &key[at + 1..])
}

struct Maker<'a> {
    dice: &'a mut Dice,
    patron_id: &'a str,
    now_ms: i64,
}

const NAMES_OF_PEOPLE: [&str; 8] = [
    "Berg",
    "van der Berg",
    "IJzerman",
    "O'Brien",
    "\u{2019}t Hooft",
    "O\u{308}zdemir",
    "Li",
    "\u{200b}",
];
const CARDS: [&str; 8] = [
    "20013004567890",
    "123456789X",
    "0470012",
    "00085073003328",
    "1-850730-03328-2",
    "85073003328",
    "85.07.30-033.28",
    "85073003329",
];
const NATIONAL_NUMBERS: [&str; 4] = [
    "85.07.30-033.28",
    "85073003328",
    "17.07.30-033.84",
    "85073003329",
];
/// National numbers as they stand in other fields.
const REPEATED: [&str; 4] = [
    "nr. 85073003328",
    "8507 en 3003, of 328",
    "id-\u{661}\u{667}07300338400",
    "85.07.30-033.2",
];
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

impl Maker<'_> {
    fn draft(&mut self, plan: &Plan) -> Draft {
        match plan {
            Plan::Value(value) => Draft::Raw(self.value(value)),
            Plan::Noise => self.noise(3),
            Plan::List(inner) => {
                let count = *self.dice.pick(&[0, 1, 1, 2, 3, 5]);
                Draft::List((0..count).map(|_| self.draft(inner)).collect())
            }
            Plan::Object(members) => {
                let members = members.iter();
                let drafts = members.map(|(key, plan)| (key.clone(), self.draft(plan)));
                Draft::Object(drafts.collect())
            }
        }
    }

    fn value(&mut self, value: &Value) -> String {
        let odd = if value.needed { 150 } else { 25 };
        if self.dice.once_in(odd) {
            return self.odd();
        }
        let text = match (value.name.as_str(), value.kind) {
            ("patron_id", _) => self.patron_id.to_owned(),
            ("library", _) => {
                let place = *self.dice.pick(&[0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
                LIBRARIES[place].to_owned()
            }
            ("surname" | "surname_prefix" | "initials" | "given_name", _) => {
                self.dice.word(&NAMES_OF_PEOPLE).to_owned()
            }
            ("card_kind", _) => self.dice.word(&["library", "library", "eid"]).to_owned(),
            ("postcode", _) => self.dice.word(&["1234 AB", "9000", "12"]).to_owned(),
            ("country", _) => self.dice.word(&["NL", "BE", "nl"]).to_owned(),
            ("consent_id" | "objection_id", _) => format!("id-{}", self.dice.below(3)),
            ("purpose", _) if value.values.is_empty() => match self.dice.below(10) {
                0 => return "null".to_owned(),
                1 => "elsewhere".to_owned(),
                _ => self.dice.word(&PURPOSES).to_owned(),
            },
            ("recipient", _) if value.values.is_empty() => match self.dice.below(10) {
                0..5 => return self.dice.word(&["null", "\"\""]).to_owned(),
                5 => "r9".to_owned(),
                _ => self.dice.word(&RECIPIENTS).to_owned(),
            },
            ("remark", _) if self.dice.chance(70) => self.dice.word(&NOTES).to_owned(),
            (_, Type::Boolean) => return self.dice.word(&["true", "false"]).to_owned(),
            (_, Type::Integer) if self.dice.chance(80) => {
                return (*self.dice.pick(&NUMBERS[..7])).to_owned();
            }
            (_, Type::Integer) => return self.dice.word(&NUMBERS).to_owned(),
            (_, Type::TextOrNumber) if self.dice.chance(50) => {
                return self.dice.word(&NUMBERS).to_owned();
            }
            (_, Type::CardNumber) => self.dice.word(&CARDS).to_owned(),
            (_, Type::Text(Some(form))) => self.formed(form),
            _ if value.needed => format!("id-{}", self.dice.below(12)),
            _ if !value.values.is_empty() => self.listed(&value.values),
            _ if self.dice.chance(20) => self.dice.word(&WORDS).to_owned(),
            _ if self.dice.chance(5) => self.dice.word(&REPEATED).to_owned(),
            _ => self.text(),
        };
        self.quoted(&text)
    }

    /// One of a list; what lets others pass a gate comes more often.
    fn listed(&mut self, values: &[String]) -> String {
        let often = [
            "active",
            "granted",
            "special_circumstances",
            "dismissed",
            "p",
        ];
        let mut favoured = values
            .iter()
            .filter(|value| often.contains(&value.as_str()));
        match favoured.next() {
            Some(value) if self.dice.chance(40) => value.clone(),
            Some(_) if self.dice.chance(10) => self.dice.word(&WORDS).to_owned(),
            _ => self.dice.pick(values).clone(),
        }
    }

    /// A time at which some term from it is over now, or nearly; or now.
    fn start(&mut self) -> jiff::Zoned {
        let now = jiff::Timestamp::from_millisecond(self.now_ms).unwrap();
        let term: jiff::Span = self.dice.word(&TERMS).parse().unwrap();
        let term = match self.dice.below(4) {
            0 => jiff::Span::new(),
            1 => jiff::Span::new().days(-3),
            _ => term,
        };
        let start = now.to_zoned(jiff::tz::TimeZone::UTC);
        start.checked_sub(term).unwrap()
    }

    fn date(&mut self) -> String {
        let days = jiff::Span::new().days(*self.dice.pick(&[-1, 0, 0, 1, 2]));
        self.start().date().checked_add(days).unwrap().to_string()
    }

    fn instant(&mut self) -> String {
        let span = jiff::Span::new();
        let near = *self.dice.pick(&[
            span,
            span,
            span.nanoseconds(1),
            span.nanoseconds(-1),
            span.milliseconds(1),
            span.milliseconds(-1),
            span.hours(-1),
            span.hours(1),
        ]);
        let time = self.start().checked_add(near).unwrap().timestamp();
        let ahead = *self.dice.pick(&[0, 0, 5, -11]);
        match ahead {
            0 => time.to_string(),
            _ => time
                .display_with_offset(jiff::tz::offset(ahead))
                .to_string(),
        }
    }

    fn formed(&mut self, form: Form) -> String {
        match form {
            Form::Date if self.dice.chance(60) => return self.date(),
            Form::Instant if self.dice.chance(80) => return self.instant(),
            _ => {}
        }
        let all: &[&str] = match form {
            Form::Date => &[
                "2026-02-01",
                "1985-07-30",
                "2024-02-29",
                "2023-02-29",
                "2026-1-1",
            ],
            Form::Instant => &[
                "2026-01-15T12:00:00Z",
                "2026-01-15T12:00:00.001Z",
                "2024-02-28T23:30:00-05:00",
                "2025-06-30T23:59:60Z",
                "9999-12-31T23:59:59-05:00",
                "2400-01-01T00:00:00Z",
                "0001-01-01T00:00:00Z",
                "1600-01-01T00:00:00Z",
            ],
            Form::Email => &["jan@example.org", "j+b@sub.example.org", "jan@example"],
            Form::Phone => &["06-00000000", "+31 6 00000000", "06"],
            Form::Iban => &["NL91 ABNA 0417 1643 00", "NL91ABNA0417164301"],
            Form::Bsn => &["111222333", "111222334"],
            Form::Rijksregisternummer => &NATIONAL_NUMBERS,
            Form::Isil => &LIBRARIES,
            Form::Currency => &["EUR", "eur"],
        };
        self.dice.word(all).to_owned()
    }

    /// Text of a length that meets the edges of words, of any characters.
    fn text(&mut self) -> String {
        let length = match self.dice.below(40) {
            0 => self.dice.between(70, 4_000),
            1..4 => 0,
            _ => self.dice.between(1, 70),
        };
        let script = self.dice.below(5);
        let mut text = String::new();
        while text.len() < length {
            text.push_str(match (script, self.dice.below(12)) {
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
                _ => self.dice.word(&["b", " ", "Z", "0", "{", "]", ",", ":"]),
            });
        }
        text
    }

    /// A string in JSON, escaped as little as can be or here and there.
    fn quoted(&mut self, text: &str) -> String {
        let eager = *self.dice.pick(&[0, 0, 0, 0, 5, 60]);
        let mut out = String::from("\"");
        for c in text.chars() {
            let must = matches!(c, '"' | '\\' | '\0'..='\u{1f}');
            if !must && !self.dice.chance(eager) {
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
            if !short.is_empty() && self.dice.chance(60) {
                out.push_str(short);
                continue;
            }
            for unit in c.encode_utf16(&mut [0; 2]) {
                if self.dice.chance(50) {
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
    fn odd(&mut self) -> String {
        match self.dice.below(12) {
            0..3 => "null".to_owned(),
            3 => "\"\"".to_owned(),
            4 => self.dice.word(&["true", "false"]).to_owned(),
            5 => self.dice.word(&NUMBERS).to_owned(),
            6 => (*self
                .dice
                .pick(&["{}", "[]", "[null,[\"\"]]", "{\"a\":{ \"b\": []}}"]))
            .to_owned(),
            7 => (*self.dice.pick(&["[0]", "{\"a\":1}", "[[],[false]]"])).to_owned(),
            8 => {
                let lone = [
                    "\\ud800",
                    "\\udc00x",
                    "x\\ud83d\\ud83d\\ude00",
                    "\\uDBFF\\n",
                ];
                format!("\"{}\"", self.dice.pick(&lone))
            }
            9 => "\"-\"".to_owned(),
            _ => {
                let text = self.text();
                self.quoted(&text)
            }
        }
    }

    fn noise(&mut self, levels: usize) -> Draft {
        match self.dice.below(8) {
            0 if levels > 0 => {
                let count = self.dice.below(4);
                Draft::List((0..count).map(|_| self.noise(levels - 1)).collect())
            }
            1 if levels > 0 => {
                let count = self.dice.below(4);
                let keys = ["a", "library", "patron_id", "\\u0061", "", "\\ud800"];
                let member = |maker: &mut Self| {
                    let key = maker.dice.word(&keys).to_owned();
                    (key, maker.noise(levels - 1))
                };
                Draft::Object((0..count).map(|_| member(self)).collect())
            }
            2 if self.dice.once_in(10) => {
                let deep = *self.dice.pick(&[5, 15, 62, 63, 64, 200]);
                Draft::Raw("[".repeat(deep) + &"]".repeat(deep))
            }
            3 => Draft::Raw(self.dice.word(&NUMBERS).to_owned()),
            4 => Draft::Raw(self.odd()),
            _ => {
                let text = self.text();
                Draft::Raw(self.quoted(&text))
            }
        }
    }

    /// Puts something of another type somewhere.
    fn spoil(&mut self, draft: &mut Draft) {
        let inner: &mut Draft = match draft {
            Draft::Object(members) if !members.is_empty() && self.dice.chance(80) => {
                let at = self.dice.below(members.len());
                &mut members[at].1
            }
            Draft::List(elements) if !elements.is_empty() && self.dice.chance(60) => {
                let at = self.dice.below(elements.len());
                &mut elements[at]
            }
            _ => {
                *draft = match self.dice.below(4) {
                    0 => Draft::List(vec![draft.clone()]),
                    1 => Draft::Object(vec![("a".to_owned(), draft.clone())]),
                    _ => Draft::Raw(self.odd()),
                };
                return;
            }
        };
        self.spoil(inner);
    }

    fn write(&mut self, draft: &Draft, style: usize, out: &mut String) {
        let (open, close, count) = match draft {
            Draft::Raw(text) => return out.push_str(text),
            Draft::List(elements) => ('[', ']', elements.len()),
            Draft::Object(members) => ('{', '}', members.len()),
        };
        out.push(open);
        self.space(style, out);
        for at in 0..count {
            if at > 0 {
                out.push(',');
                self.space(style, out);
            }
            match draft {
                Draft::List(elements) => self.write(&elements[at], style, out),
                Draft::Object(members) => {
                    let (key, value) = &members[at];
                    out.push('"');
                    out.push_str(key);
                    out.push('"');
                    if style == 2 {
                        self.space(style, out);
                    }
                    out.push(':');
                    self.space(style, out);
                    self.write(value, style, out);
                }
                Draft::Raw(_) => {}
            }
            if style == 2 {
                self.space(style, out);
            }
        }
        out.push(close);
    }

    /// None in most records, one as Python has it, any, or now and then one.
    fn space(&mut self, style: usize, out: &mut String) {
        match style {
            1 => out.push(' '),
            2 => out.push_str(
                self.dice
                    .word(&["", " ", "\n  ", "\t", "\r\n", "          "]),
            ),
            3 if self.dice.once_in(9) => out.push(' '),
            _ => {}
        }
    }
}
