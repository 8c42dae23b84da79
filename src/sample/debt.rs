//! The debt record: from a reminder to the bailiff, or settled.

use super::SampleLibrary;
use super::day::Day;
use super::item::{self, LibraryItem};
use super::json_writer::{JsonStyle, JsonWriter};
use super::patron_identity::{PatronIdentity, random_timestamp_on};
use super::rng::Rng;
use super::{note, patron};

pub(super) fn write_record(
    library: &SampleLibrary,
    person: &PatronIdentity<'_>,
    number: u64,
    rng: &mut Rng,
) -> String {
    let tricky = library.settings.has_tricky_records;
    let mut json = JsonWriter::new(JsonStyle::random(tricky, rng));
    let kind = rng.choose_weighted(&[(60, "late"), (15, "damaged"), (25, "lost")]);
    json.write_string("debt_id", &format!("D{}-{number}", person.index));
    json.write_string("patron_id", &person.patron_id);
    json.write_string("library", library.draw_record_library(person, 30, rng));
    json.write_string("kind", kind);
    let reminded_on = library.today.add_days(-rng.between(120, 700));
    // Items were due before the reminder.
    let reminded_on = person
        .not_before_birth(reminded_on.add_days(-MAX_DAYS_DUE_BEFORE_REMINDER))
        .add_days(MAX_DAYS_DUE_BEFORE_REMINDER);
    let amount_cents = write_items(&mut json, kind, reminded_on, rng);
    json.write_integer("amount_cents", amount_cents);
    json.write_string("currency", if tricky && rng.chance_per_mille(5) { "euro" } else { "EUR" });
    write_stages(&mut json, reminded_on, tricky, rng);
    let note = rng.chance_per_mille(80).then(|| note::random_note(person, rng));
    json.write_optional_string("note", note.as_deref());
    if json.style().has_unknown_fields {
        patron::write_unknown_fields(&mut json, person, rng);
    }
    json.finish(rng)
}

/// How long before the reminder an item was due, at most.
const MAX_DAYS_DUE_BEFORE_REMINDER: i32 = 60;

/// Writes the items, and returns their sum in cents.
fn write_items(json: &mut JsonWriter, kind: &str, reminded_on: Day, rng: &mut Rng) -> i64 {
    let count = rng.choose_weighted(&[(6, 1), (3, 2), (2, 3), (1, 0)]);
    let (low, high) = if kind == "late" { (20, 900) } else { (400, 4500) };
    if count == 0 {
        return i64::from(rng.between(low, high));
    }
    let mut sum = 0;
    json.write_objects("items", count, |json, _| {
        let cents = i64::from(rng.between(low, high));
        sum += cents;
        json.write_string("title", LibraryItem::random(rng).title);
        json.write_string("barcode", &item::random_barcode(rng));
        json.write_date(
            "due_on",
            Some(reminded_on.add_days(-rng.between(7, MAX_DAYS_DUE_BEFORE_REMINDER))),
        );
        json.write_integer("amount_cents", cents);
    });
    sum
}

/// Reminder, invoice, collection; sometimes a step is skipped.
fn write_stages(json: &mut JsonWriter, reminded_on: Day, tricky: bool, rng: &mut Rng) {
    let stage = rng.choose_weighted(&[(40, "reminder"), (25, "invoice"), (35, "collection")]);
    let status = rng.choose_weighted(&[(70, "open"), (22, "settled"), (8, "cancelled")]);
    let is_invoice_skipped = tricky && rng.chance_per_mille(40);
    let invoiced_on =
        (stage != "reminder" && !is_invoice_skipped).then(|| reminded_on.add_days(30));
    let referred_on = (stage == "collection").then(|| reminded_on.add_days(75));
    let settled_on = (status == "settled").then(|| reminded_on.add_days(100));
    json.write_string("stage", stage);
    for (key, day) in [
        ("reminded_at", Some(reminded_on)),
        ("invoiced_at", invoiced_on),
        ("referred_at", referred_on),
    ] {
        let at = day.map(|day| random_timestamp_on(day, rng));
        json.write_timestamp(key, at);
    }
    json.write_string("status", status);
    let settled_at = settled_on.map(|day| random_timestamp_on(day, rng));
    json.write_timestamp("settled_at", settled_at);
}
