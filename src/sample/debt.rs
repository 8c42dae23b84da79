//! The debt record: from a reminder to the bailiff, or settled.

use super::Library;
use super::day::Day;
use super::dice::Dice;
use super::item::{self, Item};
use super::person::{Person, moment_on};
use super::sheet::{Manner, Sheet};
use super::{note, patron};

pub(super) fn write(
    library: &Library,
    person: &Person<'_>,
    number: u64,
    dice: &mut Dice,
) -> String {
    let tricky = library.settings.tricky;
    let mut sheet = Sheet::new(Manner::roll(tricky, dice));
    let kind = dice.weighted(&[(60, "late"), (15, "damaged"), (25, "lost")]);
    sheet.text("debt_id", &format!("D{}-{number}", person.index));
    sheet.text("patron_id", &person.patron_id);
    sheet.text("library", library.record_library(person, 30, dice));
    sheet.text("kind", kind);
    let reminded_on = library.today.plus(-dice.between(120, 700));
    // What is owed for was due before.
    let reminded_on = person
        .in_life(reminded_on.plus(-DUE_BEFORE))
        .plus(DUE_BEFORE);
    let amount_cents = items(&mut sheet, kind, reminded_on, dice);
    sheet.integer("amount_cents", amount_cents);
    sheet.text(
        "currency",
        if tricky && dice.per_mille(5) {
            "euro"
        } else {
            "EUR"
        },
    );
    course(&mut sheet, reminded_on, tricky, dice);
    let said = dice.per_mille(80).then(|| note::about(person, dice));
    sheet.maybe("note", said.as_deref());
    if sheet.manner().extras {
        patron::extras(&mut sheet, person, dice);
    }
    sheet.finish(dice)
}

/// So many days before the reminder something was due, at most.
const DUE_BEFORE: i32 = 60;

/// Writes what is owed for; the sum in cents.
fn items(sheet: &mut Sheet, kind: &str, reminded_on: Day, dice: &mut Dice) -> i64 {
    let count = dice.weighted(&[(6, 1), (3, 2), (2, 3), (1, 0)]);
    let (low, high) = if kind == "late" {
        (20, 900)
    } else {
        (400, 4500)
    };
    if count == 0 {
        return i64::from(dice.between(low, high));
    }
    let mut sum = 0;
    sheet.objects("items", count, |sheet, _| {
        let cents = i64::from(dice.between(low, high));
        sum += cents;
        sheet.text("title", Item::roll(dice).title);
        sheet.text("barcode", &item::barcode(dice));
        sheet.date(
            "due_on",
            Some(reminded_on.plus(-dice.between(7, DUE_BEFORE))),
        );
        sheet.integer("amount_cents", cents);
    });
    sum
}

/// Reminder, then invoice, then collection. Now and then a step was skipped.
fn course(sheet: &mut Sheet, reminded_on: Day, tricky: bool, dice: &mut Dice) {
    let stage = dice.weighted(&[(40, "reminder"), (25, "invoice"), (35, "collection")]);
    let status = dice.weighted(&[(70, "open"), (22, "settled"), (8, "cancelled")]);
    let skipped = tricky && dice.per_mille(40);
    let invoiced_on = (stage != "reminder" && !skipped).then(|| reminded_on.plus(30));
    let referred_on = (stage == "collection").then(|| reminded_on.plus(75));
    let settled_on = (status == "settled").then(|| reminded_on.plus(100));
    sheet.text("stage", stage);
    for (key, day) in [
        ("reminded_at", Some(reminded_on)),
        ("invoiced_at", invoiced_on),
        ("referred_at", referred_on),
    ] {
        let at = day.map(|day| moment_on(day, dice));
        sheet.instant(key, at);
    }
    sheet.text("status", status);
    let settled_at = settled_on.map(|day| moment_on(day, dice));
    sheet.instant("settled_at", settled_at);
}
