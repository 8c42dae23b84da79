//! The referral record: the information point puts a visitor in touch with an organisation.

use super::json_writer::{JsonStyle, JsonWriter};
use super::number;
use super::patron_identity::PatronIdentity;
use super::rng::Rng;
use super::{SampleLibrary, note, visitor};

pub(super) fn write_record(
    library: &SampleLibrary,
    person: &PatronIdentity<'_>,
    number: u64,
    rng: &mut Rng,
) -> String {
    let tricky = library.settings.has_tricky_records;
    let mut json = JsonWriter::new(JsonStyle::random(tricky, rng));
    json.write_string("referral_id", &record_id(person, number));
    if !visitor::is_visitor(person, number) {
        json.write_string("patron_id", &person.patron_id);
    }
    json.write_string("library", library.draw_record_library(person, 4, rng));
    json.write_string("organisation", rng.choose(ORGANISATIONS));
    let manner = match tricky {
        true => rng.choose_weighted(&[(70, "digital"), (24, "written"), (6, "phone")]),
        false => rng.choose_weighted(&[(75, "digital"), (25, "written")]),
    };
    json.write_string("manner", manner);
    json.write_string("salutation", if person.is_woman { "mevrouw" } else { "meneer" });
    json.write_string("surname", &person.name.family_name());
    let phone = number::random_mobile_number(person.country, rng);
    json.write_optional_string("phone", rng.chance_per_mille(800).then_some(phone.as_str()));
    let email = format!("{}@example.org", person.name.email_local_part());
    json.write_optional_string("email", rng.chance_per_mille(500).then_some(email.as_str()));
    let about = match tricky && rng.chance_per_mille(150) {
        true => note::random_note(person, rng),
        false => rng.choose(QUESTIONS).to_owned(),
    };
    json.write_string("description", &about);
    let at = person.random_timestamp_before_today(library, (1, 45), rng);
    json.write_timestamp("at", Some(at));
    // A library deletes its own copy within a week, mostly.
    if !rng.chance_per_mille(100) {
        let deleted_at = person.random_timestamp_before_today(library, (0, 40), rng);
        json.write_timestamp("source_deleted_at", Some(deleted_at));
    }
    json.finish(rng)
}

pub(super) fn record_id(person: &PatronIdentity<'_>, number: u64) -> String {
    format!("F{}-{number}", person.index)
}

const ORGANISATIONS: &[&str] =
    &["Taalhuis", "Sociaal Raadslieden", "Belastingdienst", "Digihuis", "Wijkteam"];

/// The last ones tell of special categories of data.
const QUESTIONS: &[&str] = &[
    "Hulp bij DigiD en toeslagen.",
    "Wil beter leren lezen en schrijven.",
    "Vraagt om hulp bij een formulier van de gemeente.",
    "Zoekt een cursus voor de computer.",
    "Vraag over huurtoeslag, belt zelf.",
    "Hulp bij een brief van het ziekenhuis.",
    "Vraag over de WIA en een uitkering.",
];
