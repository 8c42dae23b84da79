//! The demand record: an authority asks for fields of a patron.

use super::SampleLibrary;
use super::json_writer::{JsonStyle, JsonWriter};
use super::patron;
use super::patron_identity::PatronIdentity;
use super::rng::Rng;

pub(super) fn write_record(
    library: &SampleLibrary,
    person: &PatronIdentity<'_>,
    number: u64,
    rng: &mut Rng,
) -> String {
    let tricky = library.settings.has_tricky_records;
    let mut json = JsonWriter::new(JsonStyle::random(tricky, rng));
    json.write_string("demand_id", &format!("V{}-{number}", person.index));
    json.write_string("patron_id", &person.patron_id);
    json.write_string("library", library.draw_record_library(person, 4, rng));
    json.write_string("authority", rng.choose_weighted(AUTHORITIES));
    let lacks = |rng: &mut Rng| tricky && rng.chance_per_mille(60);
    let article = rng.choose(&["126nd Sv", "126nc Sv", "47 AWR", "46bis Sv"]);
    json.write_optional_string("law_article", (!lacks(rng)).then_some(article));
    json.write_string(
        "manner",
        rng.choose_weighted(&[(90, "written"), (5, "digital"), (5, "oral")]),
    );
    write_fields(&mut json, tricky, rng);
    if rng.chance_per_mille(300) {
        json.write_object("period", |json| {
            json.write_date("from", Some(library.today.add_days(-400)));
            json.write_date("until", Some(library.today.add_days(-40)));
        });
    }
    write_decision(&mut json, (library, person), tricky, rng);
    if rng.chance_per_mille(100) {
        json.write_boolean("confidential", true);
    }
    if json.style().has_unknown_fields {
        patron::write_unknown_fields(&mut json, person, rng);
    }
    json.finish(rng)
}

/// Writes which fields are asked for; rarely none, one twice, one that no patron has, or one that
/// nobody may have.
fn write_fields(json: &mut JsonWriter, tricky: bool, rng: &mut Rng) {
    let mut fields: Vec<&str> = Vec::new();
    for _ in 0..rng.between(1, 6) {
        let field = rng.choose_front_weighted(DEMANDED_FIELDS);
        if !fields.contains(&field) {
            fields.push(field);
        }
    }
    match rng.below(if tricky { 100 } else { 1 }) {
        94 => fields.clear(),
        95 => fields.extend(fields.clone()),
        96 => fields.push("shoe_size"),
        97 => fields.push("bsn"),
        98 => fields.push("pin_hash"),
        99 => fields.push("address"),
        _ => {}
    }
    json.write_strings("fields", fields);
}

/// Writes receipt, advice and decision, in this order but for a few tricky ones.
fn write_decision(
    json: &mut JsonWriter,
    (library, person): (&SampleLibrary, &PatronIdentity<'_>),
    tricky: bool,
    rng: &mut Rng,
) {
    let at = |days: (i32, i32), rng: &mut Rng| {
        Some(person.random_timestamp_before_today(library, days, rng))
    };
    let received_at = at((40, 60), rng);
    let advised_at = match tricky && rng.chance_per_mille(30) {
        true => at((70, 80), rng),
        false => at((20, 39), rng),
    };
    let decided_at = match tricky && rng.chance_per_mille(30) {
        true => at((-30, -5), rng),
        false => at((1, 19), rng),
    };
    let employee = |rng: &mut Rng| format!("medewerker-{:02}", rng.below(40));
    json.write_timestamp("received_at", received_at);
    let leader = (!tricky || !rng.chance_per_mille(40)).then(|| employee(rng));
    json.write_optional_string("team_leader", leader.as_deref());
    let advice = rng.choose_weighted(&[(80, "grant"), (20, "refuse")]);
    let by = employee(rng);
    if !tricky || !rng.chance_per_mille(40) {
        json.write_object("advice", |json| {
            json.write_string("by", &by);
            json.write_timestamp("at", advised_at);
            json.write_string("advice", advice);
        });
    }
    let decision = rng.choose_weighted(&[(85, "granted"), (15, "refused")]);
    let has_duty = !rng.chance_per_mille(80);
    let by = employee(rng);
    if !tricky || !rng.chance_per_mille(40) {
        json.write_object("decision", |json| {
            json.write_string("by", &by);
            json.write_string("role", "directeur");
            json.write_timestamp("at", decided_at);
            json.write_string("decision", decision);
            json.write_boolean("legal_duty", has_duty);
        });
    }
}

const AUTHORITIES: &[(u64, &str)] =
    &[(70, "politie"), (15, "rechtbank"), (10, "belastingdienst"), (5, "onbekend")];

/// Those that are asked for most come first.
const DEMANDED_FIELDS: &[&str] = &[
    "surname",
    "initials",
    "address.street",
    "address.house_number",
    "address.postcode",
    "address.city",
    "birth_date",
    "email",
    "mobile",
    "phone",
    "surname_prefix",
    "given_name",
    "card_number",
    "previous_card_numbers[]",
    "membership.starts_on",
    "membership.ends_on",
    "gender",
    "iban",
    "interests[]",
];
