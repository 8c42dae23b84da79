//! The consent record.

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
    let tricky = library.settings.tricky;
    let mut sheet = Sheet::new(Manner::roll(tricky, dice));
    let purpose = dice.weighted(PURPOSES);
    let named = purpose == "online-library" && dice.per_mille(250);
    let manner = dice.weighted(&[(35, "written"), (50, "digital"), (15, "oral")]);
    sheet.text("consent_id", &format!("C{}-{number}", person.index));
    sheet.text("patron_id", &person.patron_id);
    sheet.text("library", library.record_library(person, 4, dice));
    sheet.text("purpose", purpose);
    sheet.maybe("recipient", named.then_some("kb-membership"));
    sheet.text("decision", dice.weighted(DECISIONS));
    sheet.text("manner", manner);
    let at = match dice.below(if tricky { 1000 } else { 900 }) {
        900..910 => None,
        // Not yet.
        910..920 => Some(person.moment_before(library, (-90, -30), dice)),
        // Many on one day, so that some stand at the same moment.
        920..1000 => {
            let mut at = person.moment_before(library, (30, 30), dice);
            (at.second, at.fraction) = (12 * 3600, None);
            Some(at)
        }
        _ => Some(person.moment_before(library, (1, 1200), dice)),
    };
    sheet.instant("at", at);
    let employee = (manner != "digital").then(|| format!("medewerker-{:02}", dice.below(40)));
    sheet.maybe("employee", employee.as_deref());
    let signature = (manner == "written").then(|| format!("archief/{:06}", dice.below(1_000_000)));
    sheet.maybe("signature_ref", signature.as_deref());
    if sheet.manner().extras {
        patron::extras(&mut sheet, person, dice);
    }
    sheet.finish(dice)
}

const PURPOSES: &[(u64, &str)] = &[
    (50, "online-library"),
    (30, "newsletter"),
    (12, "acquisitions"),
    (8, "panel"),
];

const DECISIONS: &[(u64, &str)] = &[(65, "granted"), (15, "refused"), (20, "withdrawn")];
