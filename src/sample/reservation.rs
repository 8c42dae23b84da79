//! The reservation record.

use super::Library;
use super::dice::Dice;
use super::item::Item;
use super::person::{Person, moment_on};
use super::sheet::{Manner, Sheet};
use super::{note, patron, place};

pub(super) fn write(
    library: &Library,
    person: &Person<'_>,
    number: u64,
    dice: &mut Dice,
) -> String {
    let mut sheet = Sheet::new(Manner::roll(library.settings.tricky, dice));
    let status = dice.weighted(STATUSES);
    sheet.text("reservation_id", &format!("R{}-{number}", person.index));
    sheet.text("patron_id", &person.patron_id);
    sheet.text("library", library.record_library(person, 4, dice));
    Item::roll(dice).write(&mut sheet, dice);
    sheet.text(
        "pickup_branch",
        dice.pick_early(place::branches(person.country)),
    );
    sheet.text("status", status);
    let ready_on = match status {
        "placed" | "in_transit" => None,
        "ready_for_pickup" => Some(library.today.plus(-dice.between(1, 9))),
        "cancelled" if dice.per_mille(500) => None,
        _ => Some(library.today.plus(-dice.between(10, 400))),
    };
    let ready_on = ready_on.map(|day| person.in_life(day));
    let ready_at = ready_on.map(|day| moment_on(day, dice));
    sheet.instant("ready_at", ready_at);
    let dated = !(library.settings.tricky && dice.per_mille(20));
    sheet.date(
        "expires_on",
        ready_on.filter(|_| dated).map(|day| day.plus(10)),
    );
    let said = dice.per_mille(30).then(|| note::about(person, dice));
    sheet.maybe("note", said.as_deref());
    if sheet.manner().extras {
        patron::extras(&mut sheet, person, dice);
    }
    sheet.finish(dice)
}

const STATUSES: &[(u64, &str)] = &[
    (22, "placed"),
    (8, "in_transit"),
    (30, "ready_for_pickup"),
    (25, "collected"),
    (8, "cancelled"),
    (7, "expired"),
];
