//! The question record: what a visitor asked the information point, of nobody in particular.

use super::json_writer::{JsonStyle, JsonWriter};
use super::patron_identity::PatronIdentity;
use super::rng::Rng;
use super::{SampleLibrary, locations};

pub(super) fn write_record(
    library: &SampleLibrary,
    person: &PatronIdentity<'_>,
    number: u64,
    rng: &mut Rng,
) -> String {
    let tricky = library.settings.has_tricky_records;
    let mut json = JsonWriter::new(JsonStyle::random(false, rng));
    json.write_string("question_id", &format!("Q{}-{number}", person.index));
    json.write_string("library", library.draw_record_library(person, 4, rng));
    json.write_string("place", rng.choose_front_weighted(locations::branch_names(person.country)));
    json.write_date("date", Some(library.today.add_days(-rng.between(1, 400))));
    json.write_string("category", rng.choose(CATEGORIES));
    // Rarely somebody writes down who asked: such a record is refused whole.
    let outcome = match tricky.then(|| rng.below(100)) {
        Some(0) => "terugbellen op 06-00000000",
        Some(1) => "mail naar bezoeker@example.org",
        _ => rng.choose(OUTCOMES),
    };
    json.write_string("outcome", outcome);
    if tricky && rng.chance_per_mille(10) {
        json.write_string("surname", &person.name.family_name());
    }
    json.finish(rng)
}

const CATEGORIES: &[&str] = &["DigiD", "toeslagen", "wonen", "werk", "taal", "computer"];

const OUTCOMES: &[&str] = &["beantwoord", "doorverwezen", "afspraak gemaakt", "niet geholpen"];
