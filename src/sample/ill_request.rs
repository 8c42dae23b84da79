//! The request for interlibrary loan.

use super::Library;
use super::dice::Dice;
use super::item::Item;
use super::person::Person;
use super::sheet::{Manner, Sheet};
use super::{note, number, patron, place};

pub(super) fn write(library: &Library, person: &Person<'_>, count: u64, dice: &mut Dice) -> String {
    let mut sheet = Sheet::new(Manner::roll(library.settings.tricky, dice));
    let copy = dice.per_mille(300);
    sheet.text("request_id", &format!("I{}-{count}", person.index));
    sheet.text("patron_id", &person.patron_id);
    // Another library may ask for a patron: this kind allows it.
    sheet.text("library", library.record_library(person, 150, dice));
    let supplying = if library.settings.tricky && dice.per_mille(10) {
        "Depot Oost"
    } else {
        dice.pick(place::SUPPLIERS)
    };
    sheet.text("supplying_library", supplying);
    wanted(&mut sheet, copy, dice);
    sheet.text("service", if copy { "copy" } else { "loan" });
    let status = dice.weighted(STATUSES);
    // A request that was left lying is long past its day.
    let live = matches!(status, "requested" | "sent" | "received") && !dice.per_mille(50);
    let earliest = if live { -10 } else { -500 };
    let needed_by = dice
        .per_mille(850)
        .then(|| person.in_life(library.today.plus(dice.between(earliest, 60))));
    sheet.date("needed_by", needed_by);
    sheet.text("status", status);
    let said = dice.per_mille(100).then(|| note::about(person, dice));
    sheet.maybe("note", said.as_deref());
    if sheet.manner().extras {
        patron::extras(&mut sheet, person, dice);
    }
    sheet.finish(dice)
}

/// A work on loan, or some pages of a volume as a copy.
fn wanted(sheet: &mut Sheet, copy: bool, dice: &mut Dice) {
    let item = Item::roll(dice);
    let volume = 1 + dice.below(60);
    let first = 1 + dice.below(300);
    sheet.object("item", |sheet| {
        sheet.text("title", item.title);
        sheet.maybe("author", dice.per_mille(900).then_some(item.author));
        if !copy {
            return sheet.text("isbn", &item.isbn);
        }
        sheet.text("issn", &number::issn(volume + first));
        if dice.per_mille(500) {
            sheet.integer("volume", volume.cast_signed());
        } else {
            sheet.text("volume", &format!("jrg. {volume}"));
        }
        if dice.per_mille(200) {
            sheet.integer("pages", first.cast_signed());
        } else {
            sheet.text("pages", &format!("{first}-{}", first + 1 + dice.below(20)));
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
