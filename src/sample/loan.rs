//! The loan record.

use super::SampleLibrary;
use super::day::Day;
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
    let timeline = LoanTimeline::random(person, library.today, rng);
    json.write_string("loan_id", &format!("L{}-{number}", person.index));
    json.write_string("patron_id", &person.patron_id);
    json.write_string("library", library.draw_record_library(person, 4, rng));
    LibraryItem::random(rng).write(&mut json, rng);
    json.write_string("branch", rng.choose_front_weighted(locations::branch_names(person.country)));
    json.write_timestamp("loaned_at", Some(random_timestamp_on(timeline.loaned_on, rng)));
    json.write_date("due_on", Some(timeline.due_on));
    let returned_at = timeline.returned_on.map(|day| random_timestamp_on(day, rng));
    json.write_timestamp("returned_at", returned_at);
    json.write_string("status", timeline.status);
    json.write_integer("renewals", timeline.renewals);
    let note = rng.chance_per_mille(30).then(|| note::random_note(person, rng));
    json.write_optional_string("note", note.as_deref());
    if json.style().has_unknown_fields {
        patron::write_unknown_fields(&mut json, person, rng);
    }
    json.finish(rng)
}

/// A consistent status and dates of a loan.
struct LoanTimeline {
    status: &'static str,
    loaned_on: Day,
    due_on: Day,
    returned_on: Option<Day>,
    renewals: i64,
}

impl LoanTimeline {
    fn random(person: &PatronIdentity<'_>, today: Day, rng: &mut Rng) -> LoanTimeline {
        let status = rng.choose_weighted(&[
            (64, "returned"),
            (24, "open"),
            (9, "overdue"),
            (2, "lost"),
            (1, "damaged"),
        ]);
        let renewals = rng.choose_weighted(&[(70, 0), (20, 1), (7, 2), (3, 3)]);
        let days = 21 * (renewals + 1);
        let ago = match status {
            "open" => rng.between(1, days),
            "overdue" => days + rng.between(1, 120),
            _ => days + rng.between(1, 1000),
        };
        let loaned_on = person.not_before_birth(today.add_days(-ago));
        let is_returned = matches!(status, "returned" | "damaged");
        LoanTimeline {
            status,
            loaned_on,
            due_on: loaned_on.add_days(days),
            returned_on: is_returned.then(|| loaned_on.add_days(rng.between(1, days))),
            renewals: i64::from(renewals),
        }
    }
}
