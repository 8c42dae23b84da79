//! The interlibrary loan request.

use super::SampleLibrary;
use super::item::LibraryItem;
use super::json_writer::{JsonStyle, JsonWriter};
use super::patron_identity::PatronIdentity;
use super::rng::Rng;
use super::{locations, note, number, patron};

pub(super) fn write_record(
    library: &SampleLibrary,
    person: &PatronIdentity<'_>,
    number: u64,
    rng: &mut Rng,
) -> String {
    let mut json = JsonWriter::new(JsonStyle::random(library.settings.has_tricky_records, rng));
    let is_copy = rng.chance_per_mille(300);
    json.write_string("request_id", &format!("I{}-{number}", person.index));
    json.write_string("patron_id", &person.patron_id);
    // This kind allows other libraries than the patron's.
    json.write_string("library", library.draw_record_library(person, 150, rng));
    let supplying = if library.settings.has_tricky_records && rng.chance_per_mille(10) {
        "Depot Oost"
    } else {
        rng.choose(locations::SUPPLYING_LIBRARIES)
    };
    json.write_string("supplying_library", supplying);
    write_requested_item(&mut json, is_copy, rng);
    json.write_string("service", if is_copy { "copy" } else { "loan" });
    let status = rng.choose_weighted(STATUSES);
    // An abandoned request is long overdue.
    let is_pending =
        matches!(status, "requested" | "sent" | "received") && !rng.chance_per_mille(50);
    let earliest = if is_pending { -10 } else { -500 };
    let needed_by = rng
        .chance_per_mille(850)
        .then(|| person.not_before_birth(library.today.add_days(rng.between(earliest, 60))));
    json.write_date("needed_by", needed_by);
    json.write_string("status", status);
    let note = rng.chance_per_mille(100).then(|| note::random_note(person, rng));
    json.write_optional_string("note", note.as_deref());
    if json.style().has_unknown_fields {
        patron::write_unknown_fields(&mut json, person, rng);
    }
    json.finish(rng)
}

/// A loan of a work, or a copy of some pages.
fn write_requested_item(json: &mut JsonWriter, is_copy: bool, rng: &mut Rng) {
    let item = LibraryItem::random(rng);
    let volume = 1 + rng.below(60);
    let first = 1 + rng.below(300);
    json.write_object("item", |json| {
        json.write_string("title", item.title);
        json.write_optional_string("author", rng.chance_per_mille(900).then_some(item.author));
        if !is_copy {
            return json.write_string("isbn", &item.isbn);
        }
        json.write_string("issn", &number::make_issn(volume + first));
        if rng.chance_per_mille(500) {
            json.write_integer("volume", volume.cast_signed());
        } else {
            json.write_string("volume", &format!("jrg. {volume}"));
        }
        if rng.chance_per_mille(200) {
            json.write_integer("pages", first.cast_signed());
        } else {
            json.write_string("pages", &format!("{first}-{}", first + 1 + rng.below(20)));
        }
    });
}

const STATUSES: &[(u64, &str)] = &[
    (25, "requested"),
    (20, "sent"),
    (15, "received"),
    (20, "returned"),
    (15, "closed"),
    (5, "cancelled"),
];
