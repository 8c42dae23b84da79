//! The identity that all records of one patron share.

use super::SampleLibrary;
use super::day::{Day, SampleTimestamp};
use super::locations::{Country, PostalAddress};
use super::name::PersonName;
use super::number;
use super::rng::{Rng, RngStream};
use super::tricky_names::TRICKY_NAMES;

#[derive(Clone, Debug)]
pub(super) struct PatronIdentity<'a> {
    pub(super) index: u64,
    pub(super) isil: &'a str,
    pub(super) country: Country,
    pub(super) patron_id: String,
    pub(super) is_institution: bool,
    pub(super) is_woman: bool,
    pub(super) name: PersonName,
    pub(super) birth_date: Option<Day>,
    /// Full years, at least; `None` if the date of birth is.
    pub(super) age: Option<i32>,
    pub(super) card_number: String,
    /// The identity card is the library card.
    pub(super) has_eid_card: bool,
    pub(super) email: Option<String>,
    pub(super) phone: Option<String>,
    pub(super) mobile: Option<String>,
    pub(super) address: PostalAddress,
    pub(super) bsn: Option<String>,
    pub(super) rijksregisternummer: Option<String>,
    pub(super) iban: Option<String>,
    pub(super) loan_history: bool,
}

impl<'a> PatronIdentity<'a> {
    /// Deterministic by `index`.
    pub(super) fn new(library: &'a SampleLibrary, index: u64) -> PatronIdentity<'a> {
        let rng = &mut Rng::new(library.settings.seed, index, RngStream::Person);
        let isil = library.isil_of_patron(index);
        let country = Country::from_isil(isil);
        let institution = rng.chance_per_mille(15);
        let woman = rng.chance_per_mille(560);
        let mut name = if institution {
            random_institution_name(rng)
        } else {
            PersonName::random(country, woman, rng)
        };
        let born = if institution { None } else { random_birth_date(library, rng) };
        let mut card_number = number::random_card_number(index, rng);
        if library.settings.has_tricky_records && rng.chance_per_mille(60) {
            apply_tricky_name(country, &mut name, &mut card_number, rng);
        }
        let rijksregisternummer = random_rijksregisternummer(country, born, woman, rng);
        let eid = match &rijksregisternummer {
            Some(digits) if rng.chance_per_mille(400) => {
                card_number = if rng.chance_per_mille(900) {
                    digits.clone()
                } else {
                    number::format_rijksregisternummer(digits)
                };
                rng.chance_per_mille(950)
            }
            _ => false,
        };
        let lives_in = if rng.chance_per_mille(10) { country.neighbour() } else { country };
        let mailbox = rng.chance_per_mille(820).then(|| name.email_local_part());
        PatronIdentity {
            index,
            isil,
            country,
            patron_id: library.patron_id(index),
            is_institution: institution,
            is_woman: woman,
            age: born.map(|day| library.today.to_civil().0 - day.to_civil().0 - 1),
            birth_date: born,
            card_number,
            has_eid_card: eid,
            email: mailbox.map(|mailbox| random_email(&mailbox, index, rng)),
            phone: rng.chance_per_mille(350).then(|| number::random_phone_number(country, rng)),
            mobile: rng.chance_per_mille(700).then(|| number::random_mobile_number(country, rng)),
            address: PostalAddress::random(lives_in, rng),
            bsn: (country == Country::Netherlands && !institution && rng.chance_per_mille(30))
                .then(|| number::random_bsn(rng)),
            rijksregisternummer,
            iban: rng.chance_per_mille(250).then(|| number::random_iban(country, rng)),
            loan_history: !rng.chance_per_mille(200),
            name,
        }
    }

    /// Returns the day, or the day of birth if later.
    pub(super) fn not_before_birth(&self, day: Day) -> Day {
        self.birth_date.map_or(day, |born| day.max(born))
    }

    /// Returns a time in working hours, so many days before today.
    pub(super) fn random_timestamp_before_today(
        &self,
        library: &SampleLibrary,
        days: (i32, i32),
        rng: &mut Rng,
    ) -> SampleTimestamp {
        let day = library.today.add_days(-rng.between(days.0, days.1));
        random_timestamp_on(self.not_before_birth(day), rng)
    }

    /// Returns whether the patron may be another's guarantor.
    pub(super) fn can_be_guarantor(&self) -> bool {
        !self.is_institution && self.age.is_some_and(|age| age >= 18)
    }
}

fn random_institution_name(rng: &mut Rng) -> PersonName {
    let surname = rng.choose_weighted(&[
        (3, Some("Basisschool De Zevensprong")),
        (2, Some("Zorgcentrum Avondrust")),
        (2, Some("Kinderopvang 't Zeefje")),
        (1, Some("Leesclub Tussen de Regels vzw")),
        (1, Some("De Vries & Zonen B.V.")),
        (3, None),
    ]);
    PersonName {
        initials: None,
        given_name: None,
        prefix: None,
        surname: surname.map(str::to_owned),
    }
}

/// Draws a date of birth by the ages of library members; two in a hundred are unknown.
fn random_birth_date(library: &SampleLibrary, rng: &mut Rng) -> Option<Day> {
    let (low, high) = rng.choose_weighted(&[
        (180, (1, 11)),
        (100, (12, 17)),
        (150, (18, 29)),
        (260, (30, 49)),
        (180, (50, 64)),
        (125, (65, 90)),
        (5, (91, 104)),
    ]);
    let years = rng.between(low, high);
    let day = library.today.add_days(-(years * 1461 / 4) - rng.between(0, 364));
    if rng.chance_per_mille(20) {
        return None;
    }
    if library.settings.has_tricky_records && rng.chance_per_mille(8) {
        // Born on 29 February of the nearest leap year, or exactly years ago today.
        let (year, month, today) = library.today.to_civil();
        let leap = (year - years) / 4 * 4;
        return Some(if rng.chance_per_mille(500) && leap % 100 != 0 {
            Day::from_civil(leap, 2, 29)
        } else {
            Day::from_civil(year - years, month, today.min(28))
        });
    }
    Some(day)
}

fn apply_tricky_name(
    country: Country,
    name: &mut PersonName,
    card_number: &mut String,
    rng: &mut Rng,
) {
    let row = rng.choose(TRICKY_NAMES);
    if row.country.is_some_and(|only| only != country) {
        return;
    }
    let filled = |text: &'static str| (!text.is_empty()).then_some(text);
    *name = PersonName {
        initials: filled(row.initials).map(str::to_owned),
        given_name: filled(row.given_name),
        prefix: filled(row.prefix),
        surname: filled(row.surname).map(str::to_owned),
    };
    if !row.card_number.is_empty() {
        *card_number = row.card_number.to_owned();
    }
}

fn random_rijksregisternummer(
    country: Country,
    born: Option<Day>,
    woman: bool,
    rng: &mut Rng,
) -> Option<String> {
    let born = born?;
    let has_number = country == Country::Belgium && rng.chance_per_mille(600);
    let bis = rng.choose_weighted(&[(95, 0), (2, 20), (3, 40)]);
    has_number.then(|| number::random_rijksregisternummer(born, woman, bis, rng))
}

fn random_email(mailbox: &str, index: u64, rng: &mut Rng) -> String {
    let domain = rng.choose_weighted(&[(6, "example.org"), (3, "example.net"), (3, "example.com")]);
    match rng.below(12) {
        0 => format!("{mailbox}+bieb@{domain}"),
        1 => format!("{}@{domain}", mailbox.replace('.', "_")),
        2 => format!("{mailbox}-{index}@{}", domain.to_ascii_uppercase()),
        _ => format!("{mailbox}{index}@{domain}"),
    }
}

/// Returns a time in working hours.
pub(super) fn random_timestamp_on(day: Day, rng: &mut Rng) -> SampleTimestamp {
    SampleTimestamp {
        day,
        second_of_day: 9 * 3600 + rng.below(11 * 3600) as u32,
        is_utc: rng.chance_per_mille(300),
        milliseconds: rng.chance_per_mille(100).then(|| rng.below(1000) as u16),
    }
}
