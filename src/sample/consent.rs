//! The consent record.

use super::SampleLibrary;
use super::day::SampleTimestamp;
use super::json_writer::{JsonStyle, JsonWriter};
use super::patron;
use super::patron_identity::PatronIdentity;
use super::rng::Rng;

/// What one consent says, but for who gave it and who recorded it.
pub(super) struct ConsentFields<'a> {
    pub(super) style: JsonStyle,
    pub(super) id: String,
    pub(super) library: &'a str,
    pub(super) purpose: &'static str,
    pub(super) recipient: Option<String>,
    pub(super) decision: &'static str,
    pub(super) manner: &'static str,
    pub(super) at: Option<SampleTimestamp>,
}

pub(super) fn write_record(
    library: &SampleLibrary,
    person: &PatronIdentity<'_>,
    number: u64,
    rng: &mut Rng,
) -> String {
    let fields = draw_fields(library, person, number, rng);
    write_fields(&fields, person, rng)
}

fn draw_fields<'a>(
    library: &'a SampleLibrary,
    person: &PatronIdentity<'a>,
    number: u64,
    rng: &mut Rng,
) -> ConsentFields<'a> {
    let tricky = library.settings.has_tricky_records;
    let style = JsonStyle::random(tricky, rng);
    let purpose = rng.choose_weighted(PURPOSES);
    let has_recipient = rng.chance_per_mille(150);
    ConsentFields {
        style,
        id: format!("C{}-{number}", person.index),
        purpose,
        recipient: has_recipient.then(|| recipient_of(purpose).to_owned()),
        manner: rng.choose_weighted(&[(35, "written"), (50, "digital"), (15, "oral")]),
        library: library.draw_record_library(person, 4, rng),
        decision: rng.choose_weighted(DECISIONS),
        at: draw_time(library, person, rng),
    }
}

fn draw_time(
    library: &SampleLibrary,
    person: &PatronIdentity<'_>,
    rng: &mut Rng,
) -> Option<SampleTimestamp> {
    let tricky = library.settings.has_tricky_records;
    match rng.below(if tricky { 1000 } else { 900 }) {
        900..910 => None,
        // In the future.
        910..920 => Some(person.random_timestamp_before_today(library, (-90, -30), rng)),
        // Many on one day, so that some coincide.
        920..1000 => {
            let mut at = person.random_timestamp_before_today(library, (30, 30), rng);
            (at.second_of_day, at.milliseconds) = (12 * 3600, None);
            Some(at)
        }
        _ => Some(person.random_timestamp_before_today(library, (1, 1200), rng)),
    }
}

pub(super) fn write_fields(
    fields: &ConsentFields<'_>,
    person: &PatronIdentity<'_>,
    rng: &mut Rng,
) -> String {
    let mut json = JsonWriter::new(fields.style);
    json.write_string("consent_id", &fields.id);
    json.write_string("patron_id", &person.patron_id);
    json.write_string("library", fields.library);
    json.write_string("purpose", fields.purpose);
    json.write_optional_string("recipient", fields.recipient.as_deref());
    json.write_string("decision", fields.decision);
    json.write_string("manner", fields.manner);
    json.write_timestamp("at", fields.at);
    let given_by = draw_giver(person, rng);
    json.write_optional_string("given_by", given_by);
    let employee = (fields.manner != "digital").then(|| format!("medewerker-{:02}", rng.below(40)));
    json.write_optional_string("employee", employee.as_deref());
    // A guardian's grant counts only with a witness, and a few digital ones have none.
    let is_signed =
        fields.manner == "written" || (given_by == Some("guardian") && rng.chance_per_mille(850));
    let signature = is_signed.then(|| format!("archief/{:06}", rng.below(1_000_000)));
    json.write_optional_string("signature_ref", signature.as_deref());
    if json.style().has_unknown_fields {
        patron::write_unknown_fields(&mut json, person, rng);
    }
    json.finish(rng)
}

/// Returns who gives it: of a child mostly a guardian, of others the patron, who is seldom named.
fn draw_giver(person: &PatronIdentity<'_>, rng: &mut Rng) -> Option<&'static str> {
    let is_child = person.age.is_some_and(|age| age < 16);
    match is_child && rng.chance_per_mille(800) {
        true => Some("guardian"),
        false => rng.chance_per_mille(100).then_some("patron"),
    }
}

/// Returns the recipient with this purpose.
fn recipient_of(purpose: &'static str) -> &'static str {
    match purpose {
        "online-library" => "kb-membership",
        other => other,
    }
}

/// Those of all shipped recipients behind consent, but for family access.
const PURPOSES: &[(u64, &str)] = &[
    (40, "online-library"),
    (26, "newsletter"),
    (12, "acquisitions"),
    (8, "panel"),
    (14, "direct-debit"),
];

const DECISIONS: &[(u64, &str)] = &[(65, "granted"), (15, "refused"), (20, "withdrawn")];
