//! What staff types into the note field: mostly harmless, sometimes not.

use super::dice::Dice;
use super::number;
use super::person::Person;

/// A note about a patron, with personal data of its own in some.
pub(super) fn about(person: &Person<'_>, dice: &mut Dice) -> String {
    let family = person.name.family();
    let phone = person.mobile.as_deref().or(person.phone.as_deref());
    match dice.below(24) {
        0 => format!(
            "Belt liever dan mailen: {}.",
            phone.unwrap_or("geen nummer")
        ),
        1 => format!(
            "{} {family} komt dinsdag langs.",
            if person.woman { "Mw." } else { "Dhr." }
        ),
        2 => format!(
            "Bericht gestuurd aan {}",
            person.email.as_deref().unwrap_or("niemand")
        ),
        3 => format!(
            "BSN {} stond op het formulier, niet overnemen!",
            number::bsn(dice)
        ),
        4 => format!("Pas {} vergeten, op naam gezocht.", person.card_number),
        5 => match person.born {
            Some(day) => format!("Geb. {} gecontroleerd aan de balie.", day.text()),
            None => "Geboortedatum nog vragen.".to_owned(),
        },
        6 => match &person.rijksregisternummer {
            Some(digits) => format!("RRN {} gelezen met eID", number::dotted(digits)),
            None => "Heeft geen eID bij zich.".to_owned(),
        },
        7 => format!(
            "Terugbetalen op {}",
            number::grouped(&number::iban(person.country, dice))
        ),
        8 => format!(
            "Verhuisd van {} {}, {} {}",
            person.address.street,
            person.address.house_number,
            person.address.postcode,
            person.address.city
        ),
        9 => format!(
            "{} haalt op voor buurvrouw ({})",
            person.name.full(),
            phone.unwrap_or("-")
        ),
        10 => format!("Mail kwam terug: {family}@example.org bestaat niet.\nNog eens vragen."),
        _ => dice.pick(HARMLESS).to_owned(),
    }
}

const HARMLESS: &[&str] = &[
    "Kaft gescheurd, zie foto.",
    "Wil graag grote letter.",
    "Ligt klaar achter de balie.",
    "Koffievlek op blz. 112-114.",
    "Boete kwijtgescholden (eenmalig).",
    "Vraagt om \"iets spannends\", niet te dik.",
    "Komt altijd op woensdag.",
    "Hoort bij leesclub; 8 exemplaren.",
    "Cd-hoesje leeg ingeleverd.",
    "Let op: slechtziend, daisy-speler.",
];
