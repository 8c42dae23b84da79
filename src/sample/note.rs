//! Notes of staff, some with personal data.

use super::number;
use super::patron_identity::PatronIdentity;
use super::rng::Rng;

pub(super) fn random_note(person: &PatronIdentity<'_>, rng: &mut Rng) -> String {
    let family = person.name.family_name();
    let phone = person.mobile.as_deref().or(person.phone.as_deref());
    match rng.below(24) {
        0 => format!("Belt liever dan mailen: {}.", phone.unwrap_or("geen nummer")),
        1 => {
            format!("{} {family} komt dinsdag langs.", if person.is_woman { "Mw." } else { "Dhr." })
        }
        2 => format!("Bericht gestuurd aan {}", person.email.as_deref().unwrap_or("niemand")),
        3 => format!("BSN {} stond op het formulier, niet overnemen!", number::random_bsn(rng)),
        4 => format!("Pas {} vergeten, op naam gezocht.", person.card_number),
        5 => match person.birth_date {
            Some(day) => format!("Geb. {} gecontroleerd aan de balie.", day.to_text()),
            None => "Geboortedatum nog vragen.".to_owned(),
        },
        6 => match &person.rijksregisternummer {
            Some(digits) => {
                format!("RRN {} gelezen met eID", number::format_rijksregisternummer(digits))
            }
            None => "Heeft geen eID bij zich.".to_owned(),
        },
        7 => format!(
            "Terugbetalen op {}",
            number::format_iban(&number::random_iban(person.country, rng))
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
            person.name.full_name(),
            phone.unwrap_or("-")
        ),
        10 => format!("Mail kwam terug: {family}@example.org bestaat niet.\nNog eens vragen."),
        _ => rng.choose(HARMLESS_NOTES).to_owned(),
    }
}

const HARMLESS_NOTES: &[&str] = &[
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
