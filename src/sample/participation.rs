//! The participation record: somebody takes part in a contest, a course or an activity.

use super::json_writer::{JsonStyle, JsonWriter};
use super::number;
use super::patron_identity::PatronIdentity;
use super::rng::Rng;
use super::{SampleLibrary, visitor};

pub(super) fn write_record(
    library: &SampleLibrary,
    person: &PatronIdentity<'_>,
    number: u64,
    rng: &mut Rng,
) -> String {
    let tricky = library.settings.has_tricky_records;
    let mut json = JsonWriter::new(JsonStyle::random(tricky, rng));
    json.write_string("participation_id", &record_id(person, number));
    if !visitor::is_visitor(person, number) {
        json.write_string("patron_id", &person.patron_id);
    }
    json.write_string("library", library.draw_record_library(person, 4, rng));
    let (contest, ends_in_days) = rng.choose(CONTESTS);
    json.write_string("contest_id", contest);
    json.write_date("contest_ends_on", Some(library.today.add_days(ends_in_days)));
    json.write_string("name", &person.name.full_name());
    let email = format!("{}@example.org", person.name.email_local_part());
    let has_email = rng.chance_per_mille(850);
    json.write_optional_string("email", has_email.then_some(email.as_str()));
    let phone = number::random_mobile_number(person.country, rng);
    let has_phone = rng.chance_per_mille(if has_email { 200 } else { 700 });
    json.write_optional_string("phone", has_phone.then_some(phone.as_str()));
    let given_by = match tricky {
        true => rng.choose_weighted(&[(75, "patron"), (22, "guardian"), (3, "ouder")]),
        false => rng.choose_weighted(&[(80, "patron"), (20, "guardian")]),
    };
    json.write_string("given_by", given_by);
    if !rng.chance_per_mille(100) {
        json.write_boolean("adult", given_by == "patron" && !rng.chance_per_mille(50));
    }
    if !(tricky && rng.chance_per_mille(20)) {
        let at = person.random_timestamp_before_today(library, (1, 30), rng);
        json.write_timestamp("at", Some(at));
    }
    json.finish(rng)
}

pub(super) fn record_id(person: &PatronIdentity<'_>, number: u64) -> String {
    format!("T{}-{number}", person.index)
}

/// Contests, and in how many days they end: one is over.
const CONTESTS: &[(&str, i32)] =
    &[("zomerlezen", 20), ("voorleeswedstrijd", 3), ("fotowedstrijd", -2), ("cursus-ict", 45)];
