//! The work of the transform benches: invented patrons, and four partners.
//!
//! Everything is made of a seed, so that every way of doing the work reads the
//! same bytes. No person stands behind a record.

use std::fmt::Write as _;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

/// One record of the patron source.
pub struct SourceRecord {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

/// How a record is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordLayout {
    /// Members in one order, no spaces: what most systems write.
    Compact,
    /// A space after each colon and comma, and a line for each member.
    Spaced,
    /// Members of every object in an order of their own in each record.
    Shuffled,
}

/// A JSON value that knows the order of its members.
enum OrderedJson {
    Raw(String),
    Object(Vec<(&'static str, OrderedJson)>),
    List(Vec<OrderedJson>),
}

/// Makes `count` patrons.
pub fn generate_patrons(count: usize, layout: RecordLayout) -> Vec<SourceRecord> {
    let mut value_rng = WorkloadRng(Xoshiro256PlusPlus::seed_from_u64(27));
    let mut layout_rng = WorkloadRng(Xoshiro256PlusPlus::seed_from_u64(72));
    (0..count)
        .map(|index| {
            let mut patron = generate_patron(index, &mut value_rng);
            if layout == RecordLayout::Shuffled {
                shuffle_members(&mut patron, &mut layout_rng);
            }
            let mut value = String::with_capacity(1024);
            write_json(&patron, layout == RecordLayout::Spaced, 0, &mut value);
            // They lie as close to each other as those of a fetch do.
            value.shrink_to_fit();
            SourceRecord { key: patron_id(index).into_bytes(), value: value.into_bytes() }
        })
        .collect()
}

fn patron_id(index: usize) -> String {
    format!("P{index:09}")
}

fn generate_patron(index: usize, rng: &mut WorkloadRng) -> OrderedJson {
    let surname = rng.pick(SURNAMES);
    let given = rng.pick(GIVEN_NAMES);
    let street = rng.pick(STREETS);
    let number = rng.below(400);
    let mut members = vec![
        ("patron_id", quoted(&patron_id(index))),
        ("library", quoted("NL-AmrBKW")),
        ("kind", quoted("person")),
        ("card_number", quoted(&format!("29000{:08}", rng.below(99_999_999)))),
        ("salutation", quoted(rng.pick(&["Dhr.", "Mevr."]))),
        ("initials", quoted(&format!("{}.", &given[..1]))),
        ("given_name", quoted(given)),
        ("surname_prefix", quoted(rng.pick(&["van", "de", "van der"]))),
        ("surname", quoted(surname)),
        ("birth_date", quoted(&rng.date(1940, 70))),
        ("gender", quoted(rng.pick(&["m", "v", "x"]))),
        ("email", quoted(&format!("lener{index}@example.org"))),
        ("phone", quoted(&format!("020-0000{:03}", rng.below(1000)))),
        ("mobile", quoted(&format!("06-00000{:03}", rng.below(1000)))),
    ];
    members.push((
        "address",
        OrderedJson::Object(vec![
            ("street", quoted(street)),
            ("house_number", quoted(&number.to_string())),
            ("house_number_suffix", quoted(rng.pick(&["a", "b", "bis"]))),
            ("postcode", quoted(&format!("{} AB", 1011 + rng.below(8900)))),
            ("city", quoted(rng.pick(CITIES))),
        ]),
    ));
    members.push(("bsn", quoted("111222333")));
    members.push(("iban", quoted("NL00BANK0000000000")));
    members.push((
        "membership",
        OrderedJson::Object(vec![
            ("id", quoted(&format!("LID{index:08}"))),
            ("type", quoted(rng.pick(&["volwassen", "compleet", "basis"]))),
            ("starts_on", quoted(&rng.date(2018, 7))),
            ("ends_on", quoted(&rng.date(2027, 2))),
            ("status", quoted("active")),
            ("home_branch", quoted(rng.pick(BRANCHES))),
            ("fee_cents", OrderedJson::Raw((rng.below(70) * 100).to_string())),
        ]),
    ));
    let interests = (0..1 + rng.below(3)).map(|_| quoted(rng.pick(INTERESTS)));
    members.push(("interests", OrderedJson::List(interests.collect())));
    members.push(("loan_history", OrderedJson::Raw("true".to_owned())));
    members.push(("pin_hash", quoted("none")));
    members.push((
        "legacy",
        OrderedJson::Object(vec![(
            "groups",
            OrderedJson::List(vec![OrderedJson::Raw("4".to_owned())]),
        )]),
    ));
    members.push(("note", quoted(&generate_note(rng))));
    members.push(("updated_at", quoted(&format!("{}T09:30:00Z", rng.date(2026, 1)))));
    OrderedJson::Object(members)
}

/// What staff wrote: personal data in one note of ten.
fn generate_note(rng: &mut WorkloadRng) -> String {
    if rng.below(10) > 0 {
        return rng.pick(NOTES).to_owned();
    }
    match rng.below(4) {
        0 => "Belde over boete, bsn 111222333, komt terug".to_owned(),
        1 => "Mailt liever via ander@example.org dan post".to_owned(),
        2 => "Bereikbaar op 06-00000000 na zes uur".to_owned(),
        _ => "Terugbetalen op NL13TEST0123456789 graag".to_owned(),
    }
}

fn quoted(text: &str) -> OrderedJson {
    OrderedJson::Raw(format!("\"{text}\""))
}

fn shuffle_members(json: &mut OrderedJson, rng: &mut WorkloadRng) {
    match json {
        OrderedJson::Raw(_) => {}
        OrderedJson::List(elements) => {
            elements.iter_mut().for_each(|one| shuffle_members(one, rng))
        }
        OrderedJson::Object(members) => {
            for place in (1..members.len()).rev() {
                members.swap(place, rng.below(place + 1));
            }
            members.iter_mut().for_each(|(_, one)| shuffle_members(one, rng));
        }
    }
}

fn write_json(json: &OrderedJson, spaced: bool, depth: usize, out: &mut String) {
    let indent = |depth: usize, out: &mut String| {
        if spaced {
            let _ = write!(out, "\n{:1$}", "", 2 * depth);
        }
    };
    match json {
        OrderedJson::Raw(raw) => out.push_str(raw),
        OrderedJson::List(elements) => {
            out.push('[');
            for (at, element) in elements.iter().enumerate() {
                if at > 0 {
                    out.push_str(if spaced { ", " } else { "," });
                }
                write_json(element, spaced, depth + 1, out);
            }
            out.push(']');
        }
        OrderedJson::Object(members) => {
            out.push('{');
            for (at, (name, value)) in members.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                indent(depth + 1, out);
                let _ = write!(out, "\"{name}\"{}", if spaced { ": " } else { ":" });
                write_json(value, spaced, depth + 1, out);
            }
            indent(depth, out);
            out.push('}');
        }
    }
}

struct WorkloadRng(Xoshiro256PlusPlus);

impl WorkloadRng {
    fn below(&mut self, end: usize) -> usize {
        (self.0.next_u64() % end as u64) as usize
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len())]
    }

    fn date(&mut self, first_year: usize, years: usize) -> String {
        let (year, month) = (first_year + self.below(years), 1 + self.below(12));
        format!("{year}-{month:02}-{:02}", 1 + self.below(28))
    }
}

const SURNAMES: &[&str] = &["Bakker", "Jansen", "Özdemir", "Visser", "Peeters", "Maas", "Wouters"];
const GIVEN_NAMES: &[&str] = &["Anna", "Bram", "Chris", "Daan", "Emma", "Fatima", "Gijs", "Hanna"];
const STREETS: &[&str] = &["Voorbeeldstraat", "Lange Kerkdam", "Molenweg", "Plein", "Grote Markt"];
const CITIES: &[&str] = &["Alkmaar", "Utrecht", "Gent", "Zutphen", "'s-Hertogenbosch"];
const BRANCHES: &[&str] = &["Centrum", "Noord", "De Mare", "Overdie", "Bergen"];
const INTERESTS: &[&str] = &["koken", "thrillers", "poëzie", "tuinieren", "stripverhalen", "film"];
const NOTES: &[&str] = &[
    "Betaalt contant aan de balie, liever geen post",
    "Komt elke dinsdag met de leesclub, grote letters",
    "Pas vergeten, een keer zonder pas geleend",
    "Vraagt om boeken van een andere vestiging",
];
