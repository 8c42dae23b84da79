//! The consents of family members, who let each other see their loans and debts.
//!
//! Four patrons of a library in a row are a family: the one that a consent names may have granted
//! the same in return, may be a child, and is unknown where the row is beyond the last patron.

use super::SampleLibrary;
use super::consent::{self, ConsentFields};
use super::json_writer::JsonStyle;
use super::patron_identity::PatronIdentity;
use super::rng::{Rng, RngStream};

const PURPOSE: &str = "family-access";
const FAMILY_SIZE: u64 = 4;

/// How many families in a thousand use it, for each other consent that a patron has on average.
const FAMILIES_PER_MILLE_AND_CONSENT: f32 = 150.0;
/// How many members of these families in a thousand give a consent.
const MEMBERS_PER_MILLE: u64 = 700;

/// What the consents about one member of the family say, oldest first.
type History = &'static [Step];

/// One consent of a history.
#[derive(Clone, Copy)]
struct Step {
    names: Named,
    decision: &'static str,
    manner: &'static str,
    /// How many days ago, at least and at most. Without it there is no time.
    days_ago: Option<(i32, i32)>,
}

/// Whom a consent names as its recipient.
#[derive(Clone, Copy)]
enum Named {
    Member,
    Nobody,
    Oneself,
    /// The recipient's own name, which is no patron's id.
    Portal,
}

const fn grant(names: Named, manner: &'static str, days_ago: (i32, i32)) -> Step {
    Step { names, decision: "granted", manner, days_ago: Some(days_ago) }
}

const fn withdrawal(names: Named, days_ago: (i32, i32)) -> Step {
    Step { names, decision: "withdrawn", manner: "digital", days_ago: Some(days_ago) }
}

/// A grant counts if it is written, names somebody else and is less than a year old.
const HISTORIES: &[(u64, History)] = &[
    (50, &[grant(Named::Member, "written", (1, 330))]),
    (14, &[grant(Named::Member, "written", (100, 330)), withdrawal(Named::Member, (1, 90))]),
    (8, &[grant(Named::Member, "written", (100, 330)), withdrawal(Named::Nobody, (1, 90))]),
    (12, &[grant(Named::Member, "written", (370, 900))]),
    (8, &[grant(Named::Member, "written", (370, 900)), grant(Named::Member, "written", (1, 330))]),
    (4, &[withdrawal(Named::Member, (100, 330)), grant(Named::Member, "written", (1, 90))]),
    (4, &[grant(Named::Member, "digital", (1, 330))]),
];

const TRICKY_HISTORIES: &[(u64, History)] = &[
    (2, &[grant(Named::Member, "oral", (1, 330))]),
    (2, &[grant(Named::Nobody, "written", (1, 330))]),
    (2, &[grant(Named::Oneself, "written", (1, 330))]),
    (2, &[grant(Named::Portal, "written", (1, 330))]),
    // It ends a year ago today, before or after now.
    (2, &[grant(Named::Member, "written", (365, 366))]),
    // In the future.
    (2, &[grant(Named::Member, "written", (-90, -30))]),
    // Both on one day.
    (2, &[grant(Named::Member, "written", (30, 30)), withdrawal(Named::Member, (30, 30))]),
    (
        2,
        &[
            grant(Named::Member, "written", (1, 330)),
            Step { days_ago: None, ..withdrawal(Named::Member, (0, 0)) },
        ],
    ),
];

/// Returns the number of consents of a patron: those about its family come before the others.
pub(super) fn draw_count(library: &SampleLibrary, index: u64, rng: &mut Rng) -> u64 {
    let family = FamilyConsents::draw(library, index);
    family.len() + rng.draw_count(library.settings.consents_per_patron)
}

/// Writes the consent of a patron with this number.
pub(super) fn write_record(
    library: &SampleLibrary,
    person: &PatronIdentity<'_>,
    number: u64,
    rng: &mut Rng,
) -> String {
    let family = FamilyConsents::draw(library, person.index);
    match family.get(library, person, number) {
        Some((fields, mut own_rng)) => consent::write_fields(&fields, person, &mut own_rng),
        None => consent::write_record(library, person, number - family.len(), rng),
    }
}

/// The consents by which one patron lets another one see its loans and debts.
pub(super) struct FamilyConsents {
    /// The index of the other patron.
    member: u64,
    steps: History,
}

impl FamilyConsents {
    /// Returns the mean number of them per patron.
    pub(super) fn mean_per_patron(library: &SampleLibrary) -> f32 {
        let (mut weights, mut steps) = (0, 0);
        for (weight, history) in histories(library) {
            weights += weight;
            steps += weight * history.len() as u64;
        }
        let members = families_per_mille(library) * MEMBERS_PER_MILLE;
        members as f32 / 1_000_000.0 * steps as f32 / weights as f32
    }

    /// Returns those of a patron, mostly none; always the same.
    fn draw(library: &SampleLibrary, index: u64) -> FamilyConsents {
        let libraries = library.settings.libraries.len() as u64;
        let (row, place) = (index / libraries, index % libraries);
        let (family, own) = (row / FAMILY_SIZE, row % FAMILY_SIZE);
        let first_member = family.saturating_mul(FAMILY_SIZE * libraries).saturating_add(place);
        let seed = library.settings.seed;
        let is_used = Rng::new(seed, first_member, RngStream::Family)
            .chance_per_mille(families_per_mille(library));
        let mut rng = Rng::new(seed, index, RngStream::FamilyConsent);
        if !(is_used && rng.chance_per_mille(MEMBERS_PER_MILLE)) {
            return FamilyConsents { member: index, steps: &[] };
        }
        // Most name the same one as their twin does, so that some grants go both ways.
        let other = own ^ rng.choose_weighted(&[(3, 1), (1, 2), (1, 3)]);
        let all: Vec<(u64, History)> = histories(library).copied().collect();
        FamilyConsents {
            member: first_member.saturating_add(other * libraries),
            steps: rng.choose_weighted(&all),
        }
    }

    fn len(&self) -> u64 {
        self.steps.len() as u64
    }

    /// Returns the consent with this number of them, and the generator for the rest of it.
    fn get<'a>(
        &self,
        library: &'a SampleLibrary,
        person: &PatronIdentity<'a>,
        number: u64,
    ) -> Option<(ConsentFields<'a>, Rng)> {
        let step = self.steps.get(number as usize)?;
        // One of its own: the patron's other consents are the same without them.
        let seed = library.settings.seed.wrapping_add(number + 1);
        let mut rng = Rng::new(seed, person.index, RngStream::FamilyConsent);
        let fields = ConsentFields {
            style: JsonStyle::random(library.settings.has_tricky_records, &mut rng),
            id: format!("G{}-{number}", person.index),
            library: person.isil,
            purpose: PURPOSE,
            recipient: match step.names {
                Named::Member => Some(library.patron_id(self.member)),
                Named::Oneself => Some(person.patron_id.clone()),
                Named::Portal => Some(PURPOSE.to_owned()),
                Named::Nobody => None,
            },
            decision: step.decision,
            manner: step.manner,
            at: step
                .days_ago
                .map(|days| person.random_timestamp_before_today(library, days, &mut rng)),
        };
        Some((fields, rng))
    }
}

fn histories(library: &SampleLibrary) -> impl Iterator<Item = &'static (u64, History)> {
    let tricky = if library.settings.has_tricky_records { TRICKY_HISTORIES } else { &[] };
    HISTORIES.iter().chain(tricky)
}

fn families_per_mille(library: &SampleLibrary) -> u64 {
    (library.settings.consents_per_patron * FAMILIES_PER_MILLE_AND_CONSENT).clamp(0.0, 1000.0)
        as u64
}
