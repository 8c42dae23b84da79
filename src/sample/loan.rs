//! The loan record.

use super::Library;
use super::day::Day;
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
    let course = Course::roll(person, library.today, dice);
    sheet.text("loan_id", &format!("L{}-{number}", person.index));
    sheet.text("patron_id", &person.patron_id);
    sheet.text("library", library.record_library(person, 4, dice));
    Item::roll(dice).write(&mut sheet, dice);
    sheet.text("branch", dice.pick_early(place::branches(person.country)));
    sheet.instant("loaned_at", Some(moment_on(course.loaned_on, dice)));
    sheet.date("due_on", Some(course.due_on));
    let returned_at = course.returned_on.map(|day| moment_on(day, dice));
    sheet.instant("returned_at", returned_at);
    sheet.text("status", course.status);
    sheet.integer("renewals", course.renewals);
    let said = dice.per_mille(30).then(|| note::about(person, dice));
    sheet.maybe("note", said.as_deref());
    if sheet.manner().extras {
        patron::extras(&mut sheet, person, dice);
    }
    sheet.finish(dice)
}

/// How a loan went: status and dates that fit each other.
struct Course {
    status: &'static str,
    loaned_on: Day,
    due_on: Day,
    returned_on: Option<Day>,
    renewals: i64,
}

impl Course {
    fn roll(person: &Person<'_>, today: Day, dice: &mut Dice) -> Course {
        let status = dice.weighted(&[
            (64, "returned"),
            (24, "open"),
            (9, "overdue"),
            (2, "lost"),
            (1, "damaged"),
        ]);
        let renewals = dice.weighted(&[(70, 0), (20, 1), (7, 2), (3, 3)]);
        let days = 21 * (renewals + 1);
        let ago = match status {
            "open" => dice.between(1, days),
            "overdue" => days + dice.between(1, 120),
            _ => days + dice.between(1, 1000),
        };
        let loaned_on = person.in_life(today.plus(-ago));
        let brought = matches!(status, "returned" | "damaged");
        Course {
            status,
            loaned_on,
            due_on: loaned_on.plus(days),
            returned_on: brought.then(|| loaned_on.plus(dice.between(1, days))),
            renewals: i64::from(renewals),
        }
    }
}
