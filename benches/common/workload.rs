//! The work of the transform benches: invented patrons, and four partners.
//!
//! Everything is made of a seed, so that every way of doing the work reads the
//! same bytes. No person stands behind a record.

use std::fmt::Write as _;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

/// One record of the patron source.
pub struct Record {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

/// How a record is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Members in one order, no spaces: what most systems write.
    Compact,
    /// A space after each colon and comma, and a line for each member.
    Spaced,
    /// Members of every object in an order of their own in each record.
    Shuffled,
}

/// A JSON value that knows the order of its members.
enum Json {
    Raw(String),
    Object(Vec<(&'static str, Json)>),
    List(Vec<Json>),
}

/// Makes `count` patrons.
pub fn patrons(count: usize, layout: Layout) -> Vec<Record> {
    let mut dice = Dice(Xoshiro256PlusPlus::seed_from_u64(27));
    let mut order = Dice(Xoshiro256PlusPlus::seed_from_u64(72));
    (0..count)
        .map(|index| {
            let mut patron = patron(index, &mut dice);
            if layout == Layout::Shuffled {
                shuffle(&mut patron, &mut order);
            }
            let mut value = String::with_capacity(1024);
            write(&patron, layout == Layout::Spaced, 0, &mut value);
            // They lie as close to each other as those of a fetch do.
            value.shrink_to_fit();
            Record {
                key: id(index).into_bytes(),
                value: value.into_bytes(),
            }
        })
        .collect()
}

fn id(index: usize) -> String {
    format!("P{index:09}")
}

fn patron(index: usize, dice: &mut Dice) -> Json {
    let surname = dice.pick(SURNAMES);
    let given = dice.pick(GIVEN);
    let street = dice.pick(STREETS);
    let number = dice.below(400);
    let mut members = vec![
        ("patron_id", text(&id(index))),
        ("library", text("NL-AmrBKW")),
        ("kind", text("person")),
        (
            "card_number",
            text(&format!("29000{:08}", dice.below(99_999_999))),
        ),
        ("salutation", text(dice.pick(&["Dhr.", "Mevr."]))),
        ("initials", text(&format!("{}.", &given[..1]))),
        ("given_name", text(given)),
        ("surname_prefix", text(dice.pick(&["van", "de", "van der"]))),
        ("surname", text(surname)),
        ("birth_date", text(&dice.day(1940, 70))),
        ("gender", text(dice.pick(&["m", "v", "x"]))),
        ("email", text(&format!("lener{index}@example.org"))),
        ("phone", text(&format!("020-0000{:03}", dice.below(1000)))),
        ("mobile", text(&format!("06-00000{:03}", dice.below(1000)))),
    ];
    members.push((
        "address",
        Json::Object(vec![
            ("street", text(street)),
            ("house_number", text(&number.to_string())),
            ("house_number_suffix", text(dice.pick(&["a", "b", "bis"]))),
            ("postcode", text(&format!("{} AB", 1011 + dice.below(8900)))),
            ("city", text(dice.pick(CITIES))),
        ]),
    ));
    members.push(("bsn", text("111222333")));
    members.push(("iban", text("NL00BANK0000000000")));
    members.push((
        "membership",
        Json::Object(vec![
            ("id", text(&format!("LID{index:08}"))),
            ("type", text(dice.pick(&["volwassen", "compleet", "basis"]))),
            ("starts_on", text(&dice.day(2018, 7))),
            ("ends_on", text(&dice.day(2027, 2))),
            ("status", text("active")),
            ("home_branch", text(dice.pick(BRANCHES))),
            ("fee_cents", Json::Raw((dice.below(70) * 100).to_string())),
        ]),
    ));
    let interests = (0..1 + dice.below(3)).map(|_| text(dice.pick(INTERESTS)));
    members.push(("interests", Json::List(interests.collect())));
    members.push(("loan_history", Json::Raw("true".to_owned())));
    members.push(("pin_hash", text("none")));
    members.push((
        "legacy",
        Json::Object(vec![(
            "groups",
            Json::List(vec![Json::Raw("4".to_owned())]),
        )]),
    ));
    members.push(("note", text(&note(dice))));
    members.push((
        "updated_at",
        text(&format!("{}T09:30:00Z", dice.day(2026, 1))),
    ));
    Json::Object(members)
}

/// What staff wrote: personal data in one note of ten.
fn note(dice: &mut Dice) -> String {
    if dice.below(10) > 0 {
        return dice.pick(NOTES).to_owned();
    }
    match dice.below(4) {
        0 => "Belde over boete, bsn 111222333, komt terug".to_owned(),
        1 => "Mailt liever via ander@example.org dan post".to_owned(),
        2 => "Bereikbaar op 06-00000000 na zes uur".to_owned(),
        _ => "Terugbetalen op NL13TEST0123456789 graag".to_owned(),
    }
}

fn text(text: &str) -> Json {
    Json::Raw(format!("\"{text}\""))
}

fn shuffle(json: &mut Json, dice: &mut Dice) {
    match json {
        Json::Raw(_) => {}
        Json::List(elements) => elements.iter_mut().for_each(|one| shuffle(one, dice)),
        Json::Object(members) => {
            for place in (1..members.len()).rev() {
                members.swap(place, dice.below(place + 1));
            }
            members.iter_mut().for_each(|(_, one)| shuffle(one, dice));
        }
    }
}

fn write(json: &Json, spaced: bool, depth: usize, out: &mut String) {
    let indent = |depth: usize, out: &mut String| {
        if spaced {
            let _ = write!(out, "\n{:1$}", "", 2 * depth);
        }
    };
    match json {
        Json::Raw(raw) => out.push_str(raw),
        Json::List(elements) => {
            out.push('[');
            for (at, element) in elements.iter().enumerate() {
                if at > 0 {
                    out.push_str(if spaced { ", " } else { "," });
                }
                write(element, spaced, depth + 1, out);
            }
            out.push(']');
        }
        Json::Object(members) => {
            out.push('{');
            for (at, (name, value)) in members.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                indent(depth + 1, out);
                let _ = write!(out, "\"{name}\"{}", if spaced { ": " } else { ":" });
                write(value, spaced, depth + 1, out);
            }
            indent(depth, out);
            out.push('}');
        }
    }
}

struct Dice(Xoshiro256PlusPlus);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        (self.0.next_u64() % end as u64) as usize
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len())]
    }

    fn day(&mut self, first_year: usize, years: usize) -> String {
        let (year, month) = (first_year + self.below(years), 1 + self.below(12));
        format!("{year}-{month:02}-{:02}", 1 + self.below(28))
    }
}

const SURNAMES: &[&str] = &[
    "Bakker", "Jansen", "Özdemir", "Visser", "Peeters", "Maas", "Wouters",
];
const GIVEN: &[&str] = &[
    "Anna", "Bram", "Chris", "Daan", "Emma", "Fatima", "Gijs", "Hanna",
];
const STREETS: &[&str] = &[
    "Voorbeeldstraat",
    "Lange Kerkdam",
    "Molenweg",
    "Plein",
    "Grote Markt",
];
const CITIES: &[&str] = &["Alkmaar", "Utrecht", "Gent", "Zutphen", "'s-Hertogenbosch"];
const BRANCHES: &[&str] = &["Centrum", "Noord", "De Mare", "Overdie", "Bergen"];
const INTERESTS: &[&str] = &[
    "koken",
    "thrillers",
    "poëzie",
    "tuinieren",
    "stripverhalen",
    "film",
];
const NOTES: &[&str] = &[
    "Betaalt contant aan de balie, liever geen post",
    "Komt elke dinsdag met de leesclub, grote letters",
    "Pas vergeten, een keer zonder pas geleend",
    "Vraagt om boeken van een andere vestiging",
];
