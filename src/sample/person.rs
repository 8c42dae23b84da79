//! Who a patron is: what all records of one patron agree on.
//!
//! Writes nothing; the records' own modules do.

use super::Library;
use super::day::{Day, Instant};
use super::dice::{Dice, Stream};
use super::name::Name;
use super::number;
use super::place::{Address, Country};
use super::tricky::TRICKY;

/// One patron of one library.
#[derive(Clone, Debug)]
pub(super) struct Person<'a> {
    pub(super) index: u64,
    pub(super) library: &'a str,
    pub(super) country: Country,
    pub(super) patron_id: String,
    pub(super) institution: bool,
    pub(super) woman: bool,
    pub(super) name: Name,
    pub(super) born: Option<Day>,
    /// Full years, at least; unknown where the birth is.
    pub(super) age: Option<i32>,
    pub(super) card_number: String,
    /// The identity card is the library card.
    pub(super) eid: bool,
    pub(super) email: Option<String>,
    pub(super) phone: Option<String>,
    pub(super) mobile: Option<String>,
    pub(super) address: Address,
    pub(super) bsn: Option<String>,
    pub(super) rijksregisternummer: Option<String>,
    pub(super) iban: Option<String>,
    pub(super) loan_history: bool,
}

impl<'a> Person<'a> {
    /// The patron of this number, always the same one.
    pub(super) fn new(library: &'a Library, index: u64) -> Person<'a> {
        let dice = &mut Dice::new(library.settings.seed, index, Stream::Person);
        let isil = library.isil_of(index);
        let country = Country::of_isil(isil);
        let institution = dice.per_mille(15);
        let woman = dice.per_mille(560);
        let mut name = if institution {
            institution_name(dice)
        } else {
            Name::roll(country, woman, dice)
        };
        let born = if institution {
            None
        } else {
            birth(library, dice)
        };
        let mut card_number = number::card(index, dice);
        if library.settings.tricky && dice.per_mille(60) {
            disguise(country, &mut name, &mut card_number, dice);
        }
        let rijksregisternummer = register_number(country, born, woman, dice);
        let eid = match &rijksregisternummer {
            Some(digits) if dice.per_mille(400) => {
                card_number = if dice.per_mille(900) {
                    digits.clone()
                } else {
                    number::dotted(digits)
                };
                dice.per_mille(950)
            }
            _ => false,
        };
        let lives_in = if dice.per_mille(10) {
            country.other()
        } else {
            country
        };
        let mailbox = dice.per_mille(820).then(|| name.mailbox());
        Person {
            index,
            library: isil,
            country,
            patron_id: library.patron_id(index),
            institution,
            woman,
            age: born.map(|day| library.today.civil().0 - day.civil().0 - 1),
            born,
            card_number,
            eid,
            email: mailbox.map(|mailbox| email(&mailbox, index, dice)),
            phone: dice.per_mille(350).then(|| number::phone(country, dice)),
            mobile: dice.per_mille(700).then(|| number::mobile(country, dice)),
            address: Address::roll(lives_in, dice),
            bsn: (country == Country::Netherlands && !institution && dice.per_mille(30))
                .then(|| number::bsn(dice)),
            rijksregisternummer,
            iban: dice.per_mille(250).then(|| number::iban(country, dice)),
            loan_history: !dice.per_mille(200),
            name,
        }
    }

    /// That day, or that of the birth where it is before it: nothing is known of
    /// anybody from before.
    pub(super) fn in_life(&self, day: Day) -> Day {
        self.born.map_or(day, |born| day.max(born))
    }

    /// A moment in the working day of a library, so many days before today.
    pub(super) fn moment_before(
        &self,
        library: &Library,
        days: (i32, i32),
        dice: &mut Dice,
    ) -> Instant {
        let day = library.today.plus(-dice.between(days.0, days.1));
        moment_on(self.in_life(day), dice)
    }

    /// Whether another patron may be this one's guarantor.
    pub(super) fn can_guarantee(&self) -> bool {
        !self.institution && self.age.is_some_and(|age| age >= 18)
    }
}

fn institution_name(dice: &mut Dice) -> Name {
    let surname = dice.weighted(&[
        (3, Some("Basisschool De Zevensprong")),
        (2, Some("Zorgcentrum Avondrust")),
        (2, Some("Kinderopvang 't Zeefje")),
        (1, Some("Leesclub Tussen de Regels vzw")),
        (1, Some("De Vries & Zonen B.V.")),
        (3, None),
    ]);
    Name {
        initials: None,
        given_name: None,
        prefix: None,
        surname: surname.map(str::to_owned),
    }
}

/// A birth by the ages of a library's members; two in a hundred are unknown.
fn birth(library: &Library, dice: &mut Dice) -> Option<Day> {
    let (low, high) = dice.weighted(&[
        (180, (1, 11)),
        (100, (12, 17)),
        (150, (18, 29)),
        (260, (30, 49)),
        (180, (50, 64)),
        (125, (65, 90)),
        (5, (91, 104)),
    ]);
    let years = dice.between(low, high);
    let day = library
        .today
        .plus(-(years * 1461 / 4) - dice.between(0, 364));
    if dice.per_mille(20) {
        return None;
    }
    if library.settings.tricky && dice.per_mille(8) {
        // Born on 29 February of the nearest leap year, or full years today.
        let (year, month, today) = library.today.civil();
        let leap = (year - years) / 4 * 4;
        return Some(if dice.per_mille(500) && leap % 100 != 0 {
            Day::from_civil(leap, 2, 29)
        } else {
            Day::from_civil(year - years, month, today.min(28))
        });
    }
    Some(day)
}

fn disguise(country: Country, name: &mut Name, card_number: &mut String, dice: &mut Dice) {
    let row = dice.pick(TRICKY);
    if row.country.is_some_and(|only| only != country) {
        return;
    }
    let filled = |text: &'static str| (!text.is_empty()).then_some(text);
    *name = Name {
        initials: filled(row.initials).map(str::to_owned),
        given_name: filled(row.given_name),
        prefix: filled(row.prefix),
        surname: filled(row.surname).map(str::to_owned),
    };
    if !row.card_number.is_empty() {
        *card_number = row.card_number.to_owned();
    }
}

fn register_number(
    country: Country,
    born: Option<Day>,
    woman: bool,
    dice: &mut Dice,
) -> Option<String> {
    let born = born?;
    let known = country == Country::Belgium && dice.per_mille(600);
    let bis = dice.weighted(&[(95, 0), (2, 20), (3, 40)]);
    known.then(|| number::rijksregisternummer(born, woman, bis, dice))
}

fn email(mailbox: &str, index: u64, dice: &mut Dice) -> String {
    let domain = dice.weighted(&[(6, "example.org"), (3, "example.net"), (3, "example.com")]);
    match dice.below(12) {
        0 => format!("{mailbox}+bieb@{domain}"),
        1 => format!("{}@{domain}", mailbox.replace('.', "_")),
        2 => format!("{mailbox}-{index}@{}", domain.to_ascii_uppercase()),
        _ => format!("{mailbox}{index}@{domain}"),
    }
}

/// A moment in the working day of a library.
pub(super) fn moment_on(day: Day, dice: &mut Dice) -> Instant {
    Instant {
        day,
        second: 9 * 3600 + dice.below(11 * 3600) as u32,
        utc: dice.per_mille(300),
        fraction: dice.per_mille(100).then(|| dice.below(1000) as u16),
    }
}
