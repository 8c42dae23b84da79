//! Records of every kind of a synthetic library, generated from a seed.
//!
//! For `zeef generate`, the demo, benches and tests. Each patron is generated independently, so
//! that any source can be generated alone, in any order and number, in constant memory, and always
//! the same. Does no I/O and reads no clock. No real persons: names are random combinations,
//! numbers come from unassigned ranges, mail goes to example.org.

mod consent;
mod day;
mod debt;
mod demand;
mod demo_patron;
mod family_consent;
mod ill_request;
mod invalid_record;
mod item;
mod json_writer;
mod loan;
mod locations;
mod name;
mod note;
mod number;
mod objection;
mod participation;
mod patron;
mod patron_identity;
mod question;
mod referral;
mod reservation;
mod rng;
mod settlement;
#[cfg(test)]
mod tests;
mod tricky_names;
mod visitor;

pub use demo_patron::DemoPatron;
pub use invalid_record::InvalidRecord;

use day::Day;
use family_consent::FamilyConsents;
use patron_identity::PatronIdentity;
use rng::{Rng, RngStream};

/// The size of the library and the style of its records.
///
/// Means are per patron, who has between none and twice as many.
#[derive(Clone, Debug)]
pub struct SampleSettings {
    /// The same seed gives the same bytes.
    pub seed: u64,
    pub patrons: u64,
    /// Due dates, ages and memberships are relative to it.
    pub today: jiff::civil::Date,
    /// ISILs, with patrons spread evenly; if empty, those of [`SampleSettings::new`].
    pub libraries: Vec<String>,
    pub loans_per_patron: f32,
    pub reservations_per_patron: f32,
    pub ill_requests_per_patron: f32,
    pub debts_per_patron: f32,
    pub demands_per_patron: f32,
    pub referrals_per_patron: f32,
    pub participations_per_patron: f32,
    pub questions_per_patron: f32,
    pub consents_per_patron: f32,
    pub objections_per_patron: f32,
    /// A small share of the records is unusual, though valid.
    pub has_tricky_records: bool,
}

impl SampleSettings {
    /// Settings of a library of `patrons` patrons in five places, with unusual records.
    #[must_use]
    pub fn new(seed: u64, patrons: u64, today: jiff::civil::Date) -> SampleSettings {
        SampleSettings {
            seed,
            patrons,
            today,
            libraries: DEFAULT_LIBRARIES.iter().map(|isil| (*isil).to_owned()).collect(),
            loans_per_patron: 4.0,
            reservations_per_patron: 0.6,
            ill_requests_per_patron: 0.15,
            debts_per_patron: 0.1,
            demands_per_patron: 0.01,
            referrals_per_patron: 0.02,
            participations_per_patron: 0.03,
            questions_per_patron: 0.02,
            consents_per_patron: 0.5,
            objections_per_patron: 0.03,
            has_tricky_records: true,
        }
    }
}

const DEFAULT_LIBRARIES: &[&str] =
    &["NL-AmrBKW", "NL-0600280001", "BE-GtB01", "NL-ZfBieb2", "BE-ZfA02"];

/// A kind of record.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum SampleSource {
    Patron,
    Consent,
    Objection,
    Settlement,
    Loan,
    Reservation,
    IllRequest,
    Debt,
    Demand,
    Referral,
    Participation,
    Question,
}

impl SampleSource {
    /// Gate sources first.
    pub const ALL: &[SampleSource] = <SampleSource as strum::VariantArray>::VARIANTS;

    /// Returns the topic in the shipped config.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<SampleSource> {
        SampleSource::ALL.iter().copied().find(|source| source.as_str() == name)
    }

    const fn rng_stream(self) -> RngStream {
        match self {
            SampleSource::Patron => RngStream::Patron,
            SampleSource::Consent => RngStream::Consent,
            SampleSource::Objection => RngStream::Objection,
            SampleSource::Settlement => RngStream::Settlement,
            SampleSource::Loan => RngStream::Loan,
            SampleSource::Reservation => RngStream::Reservation,
            SampleSource::IllRequest => RngStream::IllRequest,
            SampleSource::Debt => RngStream::Debt,
            SampleSource::Demand => RngStream::Demand,
            SampleSource::Referral => RngStream::Referral,
            SampleSource::Participation => RngStream::Participation,
            SampleSource::Question => RngStream::Question,
        }
    }
}

/// One message of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleMessage {
    /// [`SampleSource::as_str`].
    pub source: &'static str,
    /// The patron id; the record's own id where it has no patron, or `None` for a kind without
    /// keys.
    pub key: Option<String>,
    /// One line of JSON; `None` is a tombstone, which erases the patron.
    pub value: Option<String>,
}

#[derive(Clone, Debug)]
pub struct SampleLibrary {
    settings: SampleSettings,
    today: Day,
}

impl SampleLibrary {
    #[must_use]
    pub fn new(mut settings: SampleSettings) -> SampleLibrary {
        if settings.libraries.is_empty() {
            settings.libraries = DEFAULT_LIBRARIES.iter().map(|isil| (*isil).to_owned()).collect();
        }
        SampleLibrary { today: Day::from_date(settings.today), settings }
    }

    #[must_use]
    pub fn settings(&self) -> &SampleSettings {
        &self.settings
    }

    /// Returns the number of messages within a few percent.
    #[must_use]
    pub fn approximate_message_count(&self) -> u64 {
        let each: f32 = SampleSource::ALL.iter().map(|source| self.mean_per_patron(*source)).sum();
        (self.settings.patrons as f64 * f64::from(each)) as u64
    }

    /// Returns all messages by patron: the patron's record, then those that refer to it, then the
    /// tombstone if erased.
    pub fn messages(&self) -> impl Iterator<Item = SampleMessage> {
        (0..self.settings.patrons).flat_map(|index| self.messages_of_patron(index))
    }

    /// Returns the messages of one source in the order of [`messages`](SampleLibrary::messages).
    pub fn messages_of_source(&self, source: SampleSource) -> impl Iterator<Item = SampleMessage> {
        (0..self.settings.patrons).flat_map(move |index| {
            let (count, mut rng) = self.draw_count(source, index);
            if count == 0 {
                return Vec::new();
            }
            let person = PatronIdentity::new(self, index);
            let mut messages = self.write_messages(source, &person, count, &mut rng);
            if source == SampleSource::Patron {
                messages.extend(self.draw_tombstone(&person));
            }
            messages
        })
    }

    /// Returns the messages of the patron with this index.
    #[must_use]
    pub fn messages_of_patron(&self, index: u64) -> Vec<SampleMessage> {
        let person = PatronIdentity::new(self, index);
        let mut messages = Vec::new();
        for &source in SampleSource::ALL {
            let (count, mut rng) = self.draw_count(source, index);
            messages.append(&mut self.write_messages(source, &person, count, &mut rng));
        }
        messages.extend(self.draw_tombstone(&person));
        messages
    }

    /// Returns messages that must be refused, one of each sort, with the reason. They do not affect
    /// patrons of this library.
    pub fn invalid_records(&self) -> impl Iterator<Item = InvalidRecord> {
        invalid_record::generate_invalid_records(self)
    }

    /// Returns a patron id, which the library's ISIL makes unique.
    #[must_use]
    pub fn patron_id(&self, index: u64) -> String {
        format!("{}:{:07}", self.isil_of_patron(index), index)
    }

    fn isil_of_patron(&self, index: u64) -> &str {
        let libraries = &self.settings.libraries;
        &libraries[(index % libraries.len() as u64) as usize]
    }

    fn mean_per_patron(&self, source: SampleSource) -> f32 {
        match source {
            SampleSource::Patron => 1.0,
            SampleSource::Consent => {
                self.settings.consents_per_patron + FamilyConsents::mean_per_patron(self)
            }
            SampleSource::Objection => self.settings.objections_per_patron,
            SampleSource::Settlement => {
                self.settings.debts_per_patron * settlement::PER_MILLE_OF_DEBTS as f32 / 1000.0
            }
            SampleSource::Loan => self.settings.loans_per_patron,
            SampleSource::Reservation => self.settings.reservations_per_patron,
            SampleSource::IllRequest => self.settings.ill_requests_per_patron,
            SampleSource::Debt => self.settings.debts_per_patron,
            SampleSource::Demand => self.settings.demands_per_patron,
            SampleSource::Referral => self.settings.referrals_per_patron,
            SampleSource::Participation => self.settings.participations_per_patron,
            SampleSource::Question => self.settings.questions_per_patron,
        }
    }

    /// Returns the number of records of a patron, and the generator to write them.
    fn draw_count(&self, source: SampleSource, index: u64) -> (u64, Rng) {
        let mut rng = Rng::new(self.settings.seed, index, source.rng_stream());
        let count = match source {
            SampleSource::Patron => 1,
            SampleSource::Consent => family_consent::draw_count(self, index, &mut rng),
            SampleSource::Settlement => settlement::draw_count(self, index, &mut rng),
            _ => rng.draw_count(self.mean_per_patron(source)),
        };
        (count, rng)
    }

    fn write_messages(
        &self,
        source: SampleSource,
        person: &PatronIdentity<'_>,
        count: u64,
        rng: &mut Rng,
    ) -> Vec<SampleMessage> {
        let write = match source {
            SampleSource::Patron => patron::write_record,
            SampleSource::Consent => family_consent::write_record,
            SampleSource::Objection => objection::write_record,
            SampleSource::Settlement => settlement::write_record,
            SampleSource::Loan => loan::write_record,
            SampleSource::Reservation => reservation::write_record,
            SampleSource::IllRequest => ill_request::write_record,
            SampleSource::Debt => debt::write_record,
            SampleSource::Demand => demand::write_record,
            SampleSource::Referral => referral::write_record,
            SampleSource::Participation => participation::write_record,
            SampleSource::Question => question::write_record,
        };
        (0..count)
            .map(|number| SampleMessage {
                source: source.as_str(),
                key: message_key(source, person, number),
                value: Some(write(self, person, number, rng)),
            })
            .collect()
    }

    /// Two patrons in a thousand are erased.
    fn draw_tombstone(&self, person: &PatronIdentity<'_>) -> Option<SampleMessage> {
        let mut rng = Rng::new(self.settings.seed, person.index, RngStream::Erasure);
        let erased = self.settings.has_tricky_records && rng.chance_per_mille(2);
        erased.then(|| SampleMessage {
            source: SampleSource::Patron.as_str(),
            key: Some(person.patron_id.clone()),
            value: None,
        })
    }

    /// Returns the patron's library, or rarely another if records are tricky.
    fn draw_record_library<'a>(
        &'a self,
        person: &PatronIdentity<'a>,
        per_mille: u64,
        rng: &mut Rng,
    ) -> &'a str {
        if self.settings.has_tricky_records && rng.chance_per_mille(per_mille) {
            self.isil_of_patron(rng.below(self.settings.libraries.len() as u64))
        } else {
            person.isil
        }
    }
}

fn message_key(source: SampleSource, person: &PatronIdentity<'_>, number: u64) -> Option<String> {
    let is_visitor = visitor::is_visitor(person, number);
    match source {
        SampleSource::Question => None,
        SampleSource::Referral if is_visitor => Some(referral::record_id(person, number)),
        SampleSource::Participation if is_visitor => Some(participation::record_id(person, number)),
        _ => Some(person.patron_id.clone()),
    }
}
