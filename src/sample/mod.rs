//! A library that does not exist: records of every kind, made from a seed.
//!
//! For `zeef generate`, the demo, benches and tests. Each patron is rolled on
//! its own, so any source can be made alone, in any order and number, with
//! flat memory, and is always the same. Never reads, writes or asks the time,
//! and never names a person: names are put together at random, numbers come
//! from ranges that nobody holds, mail goes to example.org.

mod consent;
mod day;
mod debt;
mod dice;
mod ill_request;
mod item;
mod loan;
mod member;
mod name;
mod note;
mod number;
mod objection;
mod patron;
mod person;
mod place;
mod poison;
mod reservation;
mod sheet;
#[cfg(test)]
mod tests;
mod tricky;

pub use member::Member;
pub use poison::Poison;

use day::Day;
use dice::{Dice, Stream};
use person::Person;

/// How large the library is, and what its records are like.
///
/// A mean is per patron; a patron has from none to twice as many.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The same seed gives the same bytes.
    pub seed: u64,
    pub patrons: u64,
    /// The day that due dates, ages and memberships are counted from.
    pub today: jiff::civil::Date,
    /// ISILs; patrons are dealt out evenly. Where there is none: those of
    /// [`Settings::new`].
    pub libraries: Vec<String>,
    pub loans_per_patron: f32,
    pub reservations_per_patron: f32,
    pub ill_requests_per_patron: f32,
    pub debts_per_patron: f32,
    pub consents_per_patron: f32,
    pub objections_per_patron: f32,
    /// A small share of the records is nasty, though none is to be refused.
    pub tricky: bool,
}

impl Settings {
    /// A library of `patrons` patrons in five places, nasty cases included.
    #[must_use]
    pub fn new(seed: u64, patrons: u64, today: jiff::civil::Date) -> Settings {
        Settings {
            seed,
            patrons,
            today,
            libraries: LIBRARIES.iter().map(|isil| (*isil).to_owned()).collect(),
            loans_per_patron: 4.0,
            reservations_per_patron: 0.6,
            ill_requests_per_patron: 0.15,
            debts_per_patron: 0.1,
            consents_per_patron: 0.5,
            objections_per_patron: 0.03,
            tricky: true,
        }
    }
}

const LIBRARIES: &[&str] = &[
    "NL-AmrBKW",
    "NL-0600280001",
    "BE-GtB01",
    "NL-ZfBieb2",
    "BE-ZfA02",
];

/// What a stream of messages carries: one kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    Patron,
    Consent,
    Objection,
    Loan,
    Reservation,
    IllRequest,
    Debt,
}

impl Source {
    /// Every source, those that others wait for first.
    pub const ALL: &[Source] = &[
        Source::Patron,
        Source::Consent,
        Source::Objection,
        Source::Loan,
        Source::Reservation,
        Source::IllRequest,
        Source::Debt,
    ];

    /// The name of the source's topic, as the shipped config has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Source::Patron => "patron",
            Source::Consent => "consent",
            Source::Objection => "objection",
            Source::Loan => "loan",
            Source::Reservation => "reservation",
            Source::IllRequest => "ill_request",
            Source::Debt => "debt",
        }
    }

    /// The source of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Source> {
        Source::ALL
            .iter()
            .copied()
            .find(|source| source.as_str() == name)
    }

    const fn stream(self) -> Stream {
        match self {
            Source::Patron => Stream::Patron,
            Source::Consent => Stream::Consent,
            Source::Objection => Stream::Objection,
            Source::Loan => Stream::Loan,
            Source::Reservation => Stream::Reservation,
            Source::IllRequest => Stream::IllRequest,
            Source::Debt => Stream::Debt,
        }
    }
}

/// One message of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// As [`Source::as_str`] has it.
    pub source: &'static str,
    /// The patron id.
    pub key: String,
    /// One line of JSON; `None` is a tombstone: the patron is erased.
    pub value: Option<String>,
}

/// The synthetic library.
#[derive(Clone, Debug)]
pub struct Library {
    settings: Settings,
    today: Day,
}

impl Library {
    #[must_use]
    pub fn new(mut settings: Settings) -> Library {
        if settings.libraries.is_empty() {
            settings.libraries = LIBRARIES.iter().map(|isil| (*isil).to_owned()).collect();
        }
        Library {
            today: Day::of(settings.today),
            settings,
        }
    }

    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many messages there are, give or take a few in a hundred.
    #[must_use]
    pub fn messages_about(&self) -> u64 {
        let each: f32 = Source::ALL.iter().map(|source| self.mean(*source)).sum();
        (self.settings.patrons as f64 * f64::from(each)) as u64
    }

    /// All messages, patron by patron: first the patron's own record, then
    /// what refers to it; the tombstone of one who was erased comes last.
    pub fn messages(&self) -> impl Iterator<Item = Message> {
        (0..self.settings.patrons).flat_map(|index| self.messages_of(index))
    }

    /// The messages of one source, in the order they have in
    /// [`messages`](Library::messages).
    pub fn source(&self, source: Source) -> impl Iterator<Item = Message> {
        (0..self.settings.patrons).flat_map(move |index| {
            let (count, mut dice) = self.count(source, index);
            if count == 0 {
                return Vec::new();
            }
            let person = Person::new(self, index);
            let mut messages = self.write(source, &person, count, &mut dice);
            if source == Source::Patron {
                messages.extend(self.tombstone(&person));
            }
            messages
        })
    }

    /// The messages of one patron; patrons are numbered from 0.
    #[must_use]
    pub fn messages_of(&self, index: u64) -> Vec<Message> {
        let person = Person::new(self, index);
        let mut messages = Vec::new();
        for &source in Source::ALL {
            let (count, mut dice) = self.count(source, index);
            messages.append(&mut self.write(source, &person, count, &mut dice));
        }
        messages.extend(self.tombstone(&person));
        messages
    }

    /// Messages that must not pass, one of each sort, with what they are
    /// refused for. They do no harm to a patron of this library.
    pub fn poison(&self) -> impl Iterator<Item = Poison> {
        poison::all(self)
    }

    /// The id of a patron: the library's ISIL makes it unique.
    #[must_use]
    pub fn patron_id(&self, index: u64) -> String {
        format!("{}:{:07}", self.isil_of(index), index)
    }

    fn isil_of(&self, index: u64) -> &str {
        let libraries = &self.settings.libraries;
        &libraries[(index % libraries.len() as u64) as usize]
    }

    fn mean(&self, source: Source) -> f32 {
        match source {
            Source::Patron => 1.0,
            Source::Consent => self.settings.consents_per_patron,
            Source::Objection => self.settings.objections_per_patron,
            Source::Loan => self.settings.loans_per_patron,
            Source::Reservation => self.settings.reservations_per_patron,
            Source::IllRequest => self.settings.ill_requests_per_patron,
            Source::Debt => self.settings.debts_per_patron,
        }
    }

    /// How many records of a source a patron has, and the dice to write them.
    fn count(&self, source: Source, index: u64) -> (u64, Dice) {
        let mut dice = Dice::new(self.settings.seed, index, source.stream());
        let count = match source {
            Source::Patron => 1,
            _ => dice.count(self.mean(source)),
        };
        (count, dice)
    }

    fn write(
        &self,
        source: Source,
        person: &Person<'_>,
        count: u64,
        dice: &mut Dice,
    ) -> Vec<Message> {
        let write = match source {
            Source::Patron => patron::write,
            Source::Consent => consent::write,
            Source::Objection => objection::write,
            Source::Loan => loan::write,
            Source::Reservation => reservation::write,
            Source::IllRequest => ill_request::write,
            Source::Debt => debt::write,
        };
        (0..count)
            .map(|number| Message {
                source: source.as_str(),
                key: person.patron_id.clone(),
                value: Some(write(self, person, number, dice)),
            })
            .collect()
    }

    /// Two patrons in a thousand were erased since.
    fn tombstone(&self, person: &Person<'_>) -> Option<Message> {
        let mut dice = Dice::new(self.settings.seed, person.index, Stream::Erasure);
        let erased = self.settings.tricky && dice.per_mille(2);
        erased.then(|| Message {
            source: Source::Patron.as_str(),
            key: person.patron_id.clone(),
            value: None,
        })
    }

    /// Now and then (tricky only) a record of another library than its
    /// patron's; otherwise the patron's.
    fn record_library<'a>(
        &'a self,
        person: &Person<'a>,
        per_mille: u64,
        dice: &mut Dice,
    ) -> &'a str {
        if self.settings.tricky && dice.per_mille(per_mille) {
            self.isil_of(dice.below(self.settings.libraries.len() as u64))
        } else {
            person.library
        }
    }
}
