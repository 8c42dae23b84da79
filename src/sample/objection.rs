//! The objection record.

use super::Library;
use super::dice::Dice;
use super::patron;
use super::person::Person;
use super::sheet::{Manner, Sheet};

pub(super) fn write(
    library: &Library,
    person: &Person<'_>,
    number: u64,
    dice: &mut Dice,
) -> String {
    let mut sheet = Sheet::new(Manner::roll(library.settings.tricky, dice));
    let kind = dice.weighted(&[(6, "direct_marketing"), (4, "special_circumstances")]);
    let status = dice.weighted(&[(4, "lodged"), (3, "upheld"), (3, "dismissed")]);
    let purpose = match kind {
        "direct_marketing" => dice.weighted(&[(3, Some("newsletter")), (1, None)]),
        _ => dice.weighted(PURPOSES),
    };
    sheet.text("objection_id", &format!("B{}-{number}", person.index));
    sheet.text("patron_id", &person.patron_id);
    sheet.text("library", library.record_library(person, 4, dice));
    sheet.text("kind", kind);
    sheet.maybe("purpose", purpose);
    sheet.text("status", status);
    sheet.instant("at", Some(person.moment_before(library, (1, 700), dice)));
    let decided_by = (status != "lodged").then(|| format!("medewerker-{:02}", dice.below(40)));
    sheet.maybe("decided_by", decided_by.as_deref());
    if sheet.manner().extras {
        patron::extras(&mut sheet, person, dice);
    }
    sheet.finish(dice)
}

const PURPOSES: &[(u64, Option<&str>)] = &[
    (3, Some("online-library")),
    (3, Some("statistics")),
    (1, Some("pickup")),
    (1, Some("panel")),
    (2, None),
];
