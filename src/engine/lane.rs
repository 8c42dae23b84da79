//! A lane, compiled: per source the wanted paths, per recipient a program.
//!
//! Everything that can be looked up by name is looked up here, once. What the
//! hot path gets are places.

mod compile;
mod facts;
mod reasons;

pub use compile::{CompileError, Options};
pub(super) use facts::BELGIUM;
pub use facts::Facts;

use std::collections::BTreeSet;

use super::gates::{Gates, Successors};
use super::inspect::{CopiedValues, NationalSlot};
use super::record::{Limits, Reading};
use super::shape::{Place, Shape};
use super::speech::Speech;
use super::table::RowLayout;
use crate::json::page::Label;
use crate::policy::catalogue::{Kind, Role};
use crate::policy::detect::Detectors;
use crate::policy::form::Form;
use crate::policy::former::{What, name_at, recipient_of};
use crate::policy::known::KnownNames;
use crate::policy::mask::Mask;
use crate::policy::pseudonym::{Meaning, Pseudonymiser};
use crate::policy::recipient::{FieldRef, Libraries, Test};
use crate::transport::continuity::Kept;
use crate::transport::{Input, LanePlan, OutputId, OutputPlan, SourceId, SourcePlan};

/// The topic of dead letters, without any prefix.
pub const DEAD_LETTERS_TOPIC: &str = "zeef.dead-letters";
/// The topic of a lane's own state begins so.
pub const STATE_TOPIC: &str = "zeef.state.";
/// The topic of what all lanes keep of patrons, without any prefix.
pub const PATRONS_TOPIC: &str = "zeef.patrons";
/// Where a patron's library stands in its row.
pub const ROW_LIBRARY: u16 = 0;

/// So many messages of pseudonyms are kept of a record.
pub const MESSAGES_MAX: u8 = 64;

/// Where the value of one field is found when a record is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ref {
    /// In the patron's row, not in the record.
    pub joined: bool,
    pub place: Place,
}

impl Ref {
    /// Its slot, where it is one value of the record itself.
    #[inline]
    #[must_use]
    pub fn own_slot(self) -> Option<u16> {
        match self {
            Ref {
                joined: false,
                place: Place::Slot(slot),
            } => Some(slot),
            _ => None,
        }
    }
}

/// One compiled lane.
#[derive(Debug)]
pub struct Lane {
    pub name: String,
    pub policy_version: String,
    pub sources: Vec<Source>,
    pub recipients: Vec<Program>,
    /// Recipients that are no longer served; their places come behind those of
    /// the others.
    pub former: Vec<Former>,
    pub layout: RowLayout,
    /// Some source is joined with patrons; else there is no table.
    pub joins: bool,
    pub limits: Limits,
    pub output_bytes_max: usize,
    pub dead_letters: OutputId,
    /// Where what recipients have is written down.
    pub state: OutputId,
    /// Where is written down who was erased; none in a lane without patrons.
    pub patrons: Option<OutputId>,
    /// What is published on, what is zeef's own last.
    pub outputs: Vec<OutputPlan>,
    /// The purposes and recipients that consents and objections may name, of all
    /// lanes alike.
    pub names: KnownNames,
    /// Whose grants count for whom.
    pub libraries: Successors,
    /// The purposes of recipients that no objection for special circumstances
    /// stops.
    pub spared: BTreeSet<u16>,
}

/// One source of a lane.
#[derive(Debug)]
pub struct Source {
    /// Its place in the lane.
    pub place: u16,
    pub kind: Kind,
    /// The topic as dead letters name it.
    pub topic: String,
    pub shape: Shape,
    pub patron_id: Option<u16>,
    pub library: Option<u16>,
    /// The record's own id, where it is another field than the patron's id.
    pub own_id: Option<u16>,
    /// The national numbers of its patron that the record itself has.
    pub national: Vec<NationalSlot>,
    /// All slots that hold one, as it stands or where it has its form.
    pub national_slots: Vec<u16>,
    /// What its recipients get as it stands in the record.
    pub copied: CopiedValues,
    /// What the derived fact about the card is made of.
    pub card: Option<CardFact>,
    /// Where a consent or an objection says what it says.
    pub speech: Option<Speech>,
    /// The slots of country and library, where the country is wanted: it is that
    /// of the library.
    pub country: Option<(u16, u16)>,
    /// Slots whose values are listed: another one counts as missing.
    pub listed: Vec<(u16, Vec<String>)>,
    /// Slots that repeat another one, where its text fits a form.
    pub checked: Vec<Checked>,
    /// What recipients ask of a record alone: each once, as many ask the same.
    pub tests: Vec<(u16, Test)>,
    /// The recipients of this source, by their place in [`Lane::recipients`].
    pub recipients: Vec<usize>,
}

impl Source {
    /// Whether its records are decided with their patrons.
    fn joins(&self) -> bool {
        let is_decided = !self.recipients.is_empty();
        is_decided && self.kind.keyed && self.kind.role != Role::Patron
    }

    /// What tells a record from all others of its source: its patron's id and its
    /// own. A library that is corrected makes it no other one.
    #[must_use]
    pub fn state_key<'a>(
        &self,
        record: Reading<'a>,
        input: &Input<'a>,
    ) -> Option<(&'a str, &'a str)> {
        let patron_id = input.key.and_then(|key| std::str::from_utf8(key).ok());
        let own = self.own_id.and_then(|slot| record.text(slot));
        Some((patron_id.unwrap_or_default(), own.or(patron_id)?))
    }
}

/// From which slots of a patron record the fact about its card is derived.
#[derive(Clone, Copy, Debug)]
pub struct CardFact {
    pub slot: u16,
    pub card_number: u16,
    pub card_kind: u16,
    pub national_number: u16,
}

/// A slot that repeats `raw` where its text fits `form`.
///
/// A national number is compared with the card number as it stands, but shown
/// only where it fits its form.
#[derive(Clone, Copy, Debug)]
pub struct Checked {
    pub raw: u16,
    pub slot: u16,
    /// `None` where any string will do.
    pub form: Option<Form>,
}

/// One recipient, compiled.
#[derive(Debug)]
pub struct Program {
    pub name: String,
    pub source: usize,
    pub route: Route,
    pub libraries: Libraries,
    pub conditions: Vec<Condition>,
    /// It asks of a record what the recipient of its source before it does, but
    /// for what is malformed in it and what its patron said.
    pub asks_like_before: bool,
    /// Every field whose malformedness refuses the record for this recipient.
    pub needs: Vec<Ref>,
    /// Those of them that are in the patron's row.
    pub joined_needs: Vec<Ref>,
    /// The fields behind the places, by their paths, for explanations only.
    pub names: Vec<(Ref, FieldRef)>,
    /// What else may stand between a record and the recipient.
    pub gates: Gates,
    /// Its records are not patrons' own: each is of a patron in the table.
    pub joined: bool,
    /// When national numbers may be given, in milliseconds since 1970.
    pub authorised_ms: Option<(i64, i64)>,
    /// Some field is a national number, masked or not.
    pub releases_national: bool,
    /// Some card number is shown as part of a list or an object.
    pub shows_card_parts: bool,
    /// Whether the patron's card number is a national number, where it is named.
    pub card_fact: Option<Ref>,
    /// Where the patron's card number is in the row, where it is named.
    pub joined_card: Option<u16>,
    pub key: PseudonymOf,
    pub pseudonymiser: Pseudonymiser,
    pub steps: Vec<Step>,
    /// The same steps, as an output is written.
    pub runs: Vec<Run>,
    /// Some step makes lines of what others show.
    pub has_slip: bool,
    /// Some step may count what it meets with.
    pub notices: bool,
}

/// A recipient that is no longer served, or no longer on a topic: it gets nothing
/// more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    /// As the state names it: with the topic behind it where the recipient is
    /// served on.
    pub name: String,
    pub topics: Vec<(String, OutputId)>,
    pub what: What,
}

/// What must hold of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub field: Ref,
    pub test: Test,
    /// Its place among the tests of the source, where it is of the record alone.
    pub shared: Option<usize>,
}

/// A stretch of a program, written in this order.
#[derive(Debug, Default)]
pub struct Run {
    /// The output's key, which no later step needs.
    pub token: Option<Label>,
    pub copied: Vec<Copied>,
    /// By its place in [`Program::steps`].
    pub step: Option<usize>,
}

/// A member that is written as its value stands in the record.
#[derive(Clone, Debug)]
pub struct Copied {
    pub label: Label,
    pub slot: u16,
}

/// Where the outputs of a recipient go.
#[derive(Clone, Debug)]
pub enum Route {
    One(OutputId),
    /// By the value of a field; what is not listed goes nowhere.
    Each {
        by: Ref,
        of: Vec<(String, OutputId)>,
    },
}

impl Route {
    /// Whether some record of the recipient may go to an output.
    #[must_use]
    pub fn goes_to(&self, output: OutputId) -> bool {
        match self {
            Route::One(one) => *one == output,
            Route::Each { of, .. } => of.iter().any(|(_, one)| *one == output),
        }
    }
}

/// A value that is replaced by its pseudonym.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PseudonymOf {
    pub value: Ref,
    pub card: bool,
    pub meaning: Meaning,
    /// Whose library goes into it.
    pub library: Option<Ref>,
    /// The id that follows the value in an output key that is of another field.
    pub patron_id: Option<Ref>,
    /// The date or instant whose month comes last, so that it is another pseudonym
    /// each month.
    pub month_of: Option<Ref>,
    /// Which message of the record it is, of all recipients together; none
    /// where it may not be the same for all of them, or where they are many.
    pub message: Option<u8>,
}

/// How one output field is written.
#[derive(Debug)]
pub struct Step {
    pub name: String,
    pub label: Label,
    pub action: Action,
    /// A later step needs the text that this one shows.
    pub kept: bool,
}

#[derive(Debug)]
pub enum Action {
    /// A value of the record, as it stands there: what most fields are.
    CopySlot(u16),
    Copy {
        from: Ref,
        card: bool,
    },
    Mask(Masked),
    Pseudonym(PseudonymOf),
    /// The pseudonym that is the output's key, which is at hand: that of the
    /// patron id, as other keys have more in them than the field.
    OutputKey,
    Object {
        fields: Vec<Part>,
    },
    /// An object of values of the record, as they stand there.
    Copies(Vec<Copied>),
    List {
        joined: bool,
        list: u16,
        stride: u16,
        fields: Vec<Part>,
    },
    Scalars {
        joined: bool,
        list: u16,
        stride: u16,
        card: bool,
    },
    Slip {
        mark: usize,
        initial: usize,
        rest: Vec<usize>,
    },
}

/// A value that a mask or detectors change.
#[derive(Debug)]
pub struct Masked {
    pub from: Option<Ref>,
    pub card: bool,
    pub mask: Option<Mask>,
    pub needs: Vec<Needed>,
    pub detect: Option<Detectors>,
    pub own: Own,
}

/// The record's and its patron's own values, for detectors.
#[derive(Debug, Default)]
pub struct Own {
    /// Each with how many values an element has, where it is in a list.
    pub fields: Vec<(Ref, u16)>,
    /// Values that are written one behind the other.
    pub addresses: Vec<Vec<Ref>>,
}

/// What a mask needs beside its input.
#[derive(Clone, Copy, Debug)]
pub enum Needed {
    Field(Ref),
    /// The country, or the library whose ISIL names it.
    Country {
        country: Option<Ref>,
        library: Option<Ref>,
    },
}

/// A sub-field of an object or of a list's elements.
#[derive(Debug)]
pub struct Part {
    pub label: Label,
    pub at: Ref,
    pub card: bool,
}

impl Program {
    /// Whether both have one answer to every record that is not malformed and
    /// whose patron never said anything.
    fn asks_like(&self, other: &Program) -> bool {
        let seen = |program: &Program| {
            let card = program.joined_card;
            card.map(|card| (card, program.card_fact, program.authorised_ms))
        };
        self.libraries == other.libraries
            && self.conditions == other.conditions
            && self.joined_needs == other.joined_needs
            && self.gates.asks_like(&other.gates)
            && seen(self) == seen(other)
    }
}

impl Step {
    /// Adds the values of the record that the step shows as they stand there.
    fn note_copied(&self, copied: &mut CopiedValues) {
        let mut note = |at: Ref| copied.slots.extend(at.own_slot());
        match &self.action {
            Action::CopySlot(slot) => copied.slots.push(*slot),
            Action::Copy { from, .. } => note(*from),
            Action::Copies(parts) => copied.slots.extend(parts.iter().map(|part| part.slot)),
            Action::Object { fields } => fields.iter().for_each(|part| note(part.at)),
            Action::List {
                joined: false,
                list,
                stride,
                ..
            }
            | Action::Scalars {
                joined: false,
                list,
                stride,
                ..
            } => copied.lists.push((*list, *stride)),
            Action::List { .. }
            | Action::Scalars { .. }
            | Action::Mask(_)
            | Action::Pseudonym(_)
            | Action::OutputKey
            | Action::Slip { .. } => {}
        }
    }

    /// Whether some card number is shown as a part of its value.
    fn has_card_parts(&self) -> bool {
        match &self.action {
            Action::Object { fields } | Action::List { fields, .. } => {
                fields.iter().any(|part| part.card)
            }
            Action::Scalars { card, .. } => *card,
            _ => false,
        }
    }

    /// What a value is called that is left out, or a part of it.
    #[must_use]
    pub fn name_of(&self, part: Option<usize>) -> String {
        let name = &self.name;
        let part = part.unwrap_or_default();
        match &self.action {
            Action::Object { fields } => format!("{name}.{}", label_of(fields, part)),
            Action::Copies(copied) => {
                let label = copied.get(part).map(|one| one.label.name());
                format!("{name}.{}", label.unwrap_or_default())
            }
            Action::List { fields, .. } => format!("{name}[].{}", label_of(fields, part)),
            Action::Scalars { .. } | Action::Slip { .. } => format!("{name}[]"),
            _ => name.clone(),
        }
    }
}

fn label_of(fields: &[Part], part: usize) -> &str {
    fields
        .get(part)
        .map(|part| part.label.name())
        .unwrap_or_default()
}

impl Part {
    /// The same, where it is a value of the record that anyone may see.
    fn copied(&self) -> Option<Copied> {
        let slot = self.at.own_slot().filter(|_| !self.card)?;
        let label = self.label.clone();
        Some(Copied { label, slot })
    }
}

impl Lane {
    /// Has dead letters name topics as they are called outside.
    pub fn prefix_topics(&mut self, prefix: &str) {
        for source in &mut self.sources {
            source.topic = format!("{prefix}{}", source.kind.topic);
        }
    }

    /// What a transport has to know of the lane.
    #[must_use]
    pub fn plan(&self) -> LanePlan {
        let sources = self
            .sources
            .iter()
            .map(|source| SourcePlan {
                topic: source.kind.topic.clone(),
                gate: source.kind.role != Role::Record,
                rebuilt: source.kind.role != Role::Record && source.kind.keyed,
                joined: source.kind.keyed,
                kept: match source.kind.role {
                    Role::Patron => Kept::Compacted,
                    Role::Gate => Kept::Whole,
                    Role::Record => Kept::ForATime,
                },
            })
            .collect();
        LanePlan {
            name: self.name.clone(),
            sources,
            outputs: self.outputs.clone(),
            policy_version: self.policy_version.clone(),
            prints: None,
            forgotten: Vec::new(),
        }
    }

    /// Whether some recipient is published to by period.
    #[must_use]
    pub fn has_period(&self) -> bool {
        let mut programs = self.recipients.iter();
        programs.any(|program| program.gates.period.is_some())
    }

    /// The name of a recipient, also of a former one, by its place.
    #[must_use]
    pub fn name_of(&self, recipient: u16) -> Option<&str> {
        let place = usize::from(recipient);
        match self.recipients.get(place) {
            Some(program) => Some(&program.name),
            None => self.former_at(recipient).map(|former| &*former.name),
        }
    }

    /// The former recipient at a place.
    #[must_use]
    pub fn former_at(&self, recipient: u16) -> Option<&Former> {
        let place = usize::from(recipient).checked_sub(self.recipients.len())?;
        self.former.get(place)
    }

    /// Whether the recipient at a place is served.
    #[must_use]
    pub fn serves(&self, recipient: u16) -> bool {
        usize::from(recipient) < self.recipients.len()
    }

    /// The place of the recipient that is served from a source by the kind of its
    /// records.
    #[must_use]
    pub fn served(&self, name: &str, kind: &str) -> Option<u16> {
        let mut programs = self.recipients.iter();
        let place = programs.position(|program| {
            let source = self.sources.get(program.source);
            program.name == name && source.is_some_and(|source| source.kind.name == kind)
        })?;
        u16::try_from(place).ok()
    }

    /// Who has an output of a record of `kind`, and which one it is, by what its
    /// row says; `None` where neither a recipient that is served nor a former one
    /// is known of it.
    #[must_use]
    pub fn holder(&self, (name, topic): (&str, &str), kind: &str) -> Option<(u16, u16)> {
        let recipient = recipient_of(name);
        let own = |output: &OutputPlan| output.topic == topic && output.owner == recipient;
        let output = u16::try_from(self.outputs.iter().position(own)?).ok()?;
        let routed = |place: &u16| {
            let program = &self.recipients[usize::from(*place)];
            program.route.goes_to(OutputId(output))
        };
        if let Some(place) = self.served(name, kind).filter(routed) {
            return Some((place, output));
        }
        let at = name_at(recipient, topic);
        let called = |former: &&Former| former.name == name || former.name == at;
        let mut former = self.former.iter().enumerate();
        let (place, _) = former.find(|(_, former)| {
            called(former) && former.topics.iter().any(|(known, _)| known == topic)
        })?;
        let place = u16::try_from(self.recipients.len() + place).ok()?;
        Some((place, output))
    }

    /// The source that a transport means by `id`.
    #[must_use]
    pub fn source(&self, id: SourceId) -> Option<&Source> {
        self.sources.get(usize::from(id.0))
    }

    /// The patron source, if the lane has one.
    #[must_use]
    pub fn patron_source(&self) -> Option<usize> {
        self.sources
            .iter()
            .position(|source| source.kind.role == Role::Patron)
    }

    /// Whether the source at this place is that of patrons.
    #[must_use]
    pub fn is_patron(&self, source: u16) -> bool {
        let source = self.sources.get(usize::from(source));
        source.is_some_and(|source| source.kind.role == Role::Patron)
    }

    /// Whether some recipient may have national numbers, so that the table
    /// keeps card numbers that are one.
    #[must_use]
    pub fn may_hold_national(&self) -> bool {
        self.recipients
            .iter()
            .any(|program| program.authorised_ms.is_some())
    }
}
