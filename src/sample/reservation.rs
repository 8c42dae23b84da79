//! The reservation record.

use super::SampleLibrary;
use super::item::LibraryItem;
use super::json_writer::{JsonStyle, JsonWriter};
use super::patron_identity::{PatronIdentity, random_timestamp_on};
use super::rng::Rng;
use super::{locations, note, patron};

pub(super) fn write_record(
    library: &SampleLibrary,
    person: &PatronIdentity<'_>,
    number: u64,
    rng: &mut Rng,
) -> String {
    let mut json = JsonWriter::new(JsonStyle::random(library.settings.has_tricky_records, rng));
    let status = rng.choose_weighted(STATUSES);
    json.write_string("reservation_id", &format!("R{}-{number}", person.index));
    json.write_string("patron_id", &person.patron_id);
    json.write_string("library", library.draw_record_library(person, 4, rng));
    LibraryItem::random(rng).write(&mut json, rng);
    json.write_string(
        "pickup_branch",
        rng.choose_front_weighted(locations::branch_names(person.country)),
    );
    json.write_string("status", status);
    let ready_on = match status {
        "placed" | "in_transit" => None,
        "ready_for_pickup" => Some(library.today.add_days(-rng.between(1, 9))),
        "cancelled" if rng.chance_per_mille(500) => None,
        _ => Some(library.today.add_days(-rng.between(10, 400))),
    };
    let ready_on = ready_on.map(|day| person.not_before_birth(day));
    let ready_at = ready_on.map(|day| random_timestamp_on(day, rng));
    json.write_timestamp("ready_at", ready_at);
    let has_expiry_date = !(library.settings.has_tricky_records && rng.chance_per_mille(20));
    json.write_date("expires_on", ready_on.filter(|_| has_expiry_date).map(|day| day.add_days(10)));
    let note = rng.chance_per_mille(30).then(|| note::random_note(person, rng));
    json.write_optional_string("note", note.as_deref());
    if json.style().has_unknown_fields {
        patron::write_unknown_fields(&mut json, person, rng);
    }
    json.finish(rng)
}

const STATUSES: &[(u64, &str)] = &[
    (22, "placed"),
    (8, "in_transit"),
    (30, "ready_for_pickup"),
    (25, "collected"),
    (8, "cancelled"),
    (7, "expired"),
];
