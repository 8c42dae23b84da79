//! A compiled lane: the wanted paths of each source, and a program for each recipient.
//!
//! Names are looked up once, when the lane is compiled. The hot path uses indices and slots.

mod compile;
pub(super) mod condition;
pub mod demanded;
mod facts;
pub mod gates;
pub mod ledger;
mod prohibitions;
mod reasons;

pub use compile::{CompileError, CompileOptions};
pub(super) use facts::BELGIUM_ISIL_PREFIX;
pub use facts::Facts;
pub use prohibitions::Prohibitions;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::lane::demanded::DemandedReader;
use super::lane::gates::Summaries;
use super::lane::gates::{GateId, LibrarySuccessors, RecipientGates, term_end_ms};
use super::lane::ledger::LaneLedger;
use super::memory::deliveries::DeliveryEntry;
use super::memory::patrons::{PatronRow, PatronRowLayout};
use super::memory::statement::{StatementFields, StatementNames};
use super::record::national_number::{CopiedSlots, NationalNumberSlot};
pub use super::record::shape::FieldLocation;
use super::record::shape::RecordShape;
use super::record::{RecordLimits, RecordView};
use crate::json::buffer::MemberPrefix;
use crate::message::continuity::SourceRetention;
use crate::message::{Input, LanePlan, OutputId, OutputPlan, SourceId, SourcePlan};
use crate::policy::avro_output::AvroOutput;
use crate::policy::catalogue::{RecordKind, Role};
use crate::policy::detect::{CustomDetectors, DetectorSet, WordList};
use crate::policy::form::TextFormat;
use crate::policy::former_recipient::{FormerAction, recipient_of_state_name, state_name_at_topic};
use crate::policy::mask::Mask;
use crate::policy::pseudonym::{PseudonymDomain, Pseudonymiser};
use crate::policy::reason::Reason;
use crate::policy::recipient::{ConditionTest, FieldRef, ServedLibraries};
use crate::policy::term::Term;

/// The topic of dead letters, without any prefix.
pub const DEAD_LETTERS_TOPIC: &str = "zeef.dead-letters";
/// The prefix of the topic of a lane's state.
pub const STATE_TOPIC_PREFIX: &str = "zeef.state.";
/// The topic of the erasures, which all lanes share, without any prefix.
pub const PATRONS_TOPIC: &str = "zeef.patrons";
/// The slot of the library in a patron's row.
pub const ROW_LIBRARY_SLOT: u16 = 0;

/// The most pseudonym messages of one record that recipients share.
pub const SHARED_MESSAGES_MAX: u8 = 64;

#[derive(Debug)]
pub struct Lane {
    pub name: String,
    pub policy_version: String,
    pub sources: Vec<LaneSource>,
    pub recipients: Vec<Program>,
    /// Recipients that are no longer served. Their indices follow those of `recipients`.
    pub former_recipients: Vec<FormerRecipient>,
    pub row_layout: PatronRowLayout,
    /// Some source is joined with patrons, so the lane keeps a patron table.
    pub has_joins: bool,
    /// Some recipient's output is made of other records of its patron.
    pub has_summaries: bool,
    pub limits: RecordLimits,
    pub output_bytes_max: usize,
    pub dead_letter_output: OutputId,
    /// Where the lane's deliveries are written.
    pub state_output: OutputId,
    /// Where erasures are written; `None` in a lane without patrons.
    pub patrons_output: Option<OutputId>,
    /// zeef's own outputs come last.
    pub outputs: Vec<OutputPlan>,
    /// Outputs of two recipients on one topic are different ones, as in a directory, where each
    /// recipient has a folder. On Kafka a topic belongs to nobody: under one key they are one
    /// message.
    pub has_outputs_by_owner: bool,
    pub statement_names: StatementNames,
    pub library_successors: LibrarySuccessors,
    /// Set if some recipient shows what records demand of a patron's record.
    pub demanded_reader: Option<Box<DemandedReader>>,
    /// `None` if the lane writes no ledger.
    pub ledger: Option<Box<LaneLedger>>,
}

#[derive(Debug)]
pub struct LaneSource {
    pub index: u16,
    pub kind: RecordKind,
    /// The topic as dead letters name it.
    pub topic: String,
    pub shape: RecordShape,
    pub patron_id_slot: Option<u16>,
    pub library_slot: Option<u16>,
    /// `None` if the patron's id is the record's own id.
    pub record_id_slot: Option<u16>,
    /// The boolean that says that a record is gone; `None` if the kind has none.
    pub gone_slot: Option<u16>,
    /// `None` if the source need not delete its own copies.
    pub source_deletion: Option<SourceDeletion>,
    /// The truth value that lets a patron be told of a record that recipients keep from patrons,
    /// where it is `false`; `None` if nothing does.
    pub told_unless_slot: Option<u16>,
    /// Some recipient gets an output of a record that is gone, without some fields.
    pub thins_when_gone: bool,
    /// The fields of the record that hold a national number of its patron.
    pub national_number_slots: Vec<NationalNumberSlot>,
    /// Those slots, and the validated ones beside them.
    pub all_national_slots: Vec<u16>,
    /// `None` if any record that can be read may exist.
    pub prohibitions: Option<Prohibitions>,
    /// The values that its recipients get unmasked.
    pub copied_slots: CopiedSlots,
    /// The slots of the derived fact whether the card number is a national number.
    pub card_fact: Option<CardFactSlots>,
    /// What is kept of its records for summaries; `None` if no recipient of the lane
    /// summarises them.
    pub kept_layout: Option<PatronRowLayout>,
    /// The texts that are searched for words.
    pub word_facts: Vec<WordFact>,
    /// `None` if the source has neither consents nor objections.
    pub statement_fields: Option<StatementFields>,
    /// `None` if the country is not wanted. The country is that of the library.
    pub country_and_library_slots: Option<(u16, u16)>,
    /// The values that a slot may have: another one counts as missing.
    pub allowed_values: Vec<(u16, Vec<String>)>,
    pub validated_slots: Vec<ValidatedSlot>,
    /// The conditions of its recipients on the record alone, each once.
    pub shared_tests: Vec<(u16, ConditionTest)>,
    /// Indices of [`Lane::recipients`].
    pub recipient_indices: Vec<usize>,
    /// Those of them that get one output for each patron that a grant names.
    pub named_patron_recipients: Vec<usize>,
    /// Its records are decided with their patrons' records at hand.
    pub reads_patron_records: bool,
}

impl LaneSource {
    fn has_national_number(&self, slot: u16) -> bool {
        self.national_number_slots.iter().any(|national| national.slot == slot)
    }

    /// Whether a slot has its value as it stands: its form is checked in a slot beside it.
    fn holds_raw_value(&self, slot: u16) -> bool {
        let prohibitions = self.prohibitions.as_ref();
        self.has_national_number(slot)
            || prohibitions.is_some_and(|prohibitions| prohibitions.reads_raw_text(slot))
    }

    /// Whether its records are decided with their patrons.
    fn joins_patrons(&self) -> bool {
        let is_decided = !self.recipient_indices.is_empty();
        is_decided && self.kind.is_keyed_by_patron && self.kind.role != Role::Patron
    }

    /// Identifies a record within its source: its patron's id and its own. A corrected library
    /// does not change its identity.
    #[must_use]
    pub fn record_identity<'a>(
        &self,
        record: RecordView<'a>,
        input: &Input<'a>,
    ) -> Option<(&'a str, &'a str)> {
        let patron_id = input.key.and_then(|key| std::str::from_utf8(key).ok());
        let record_id = self.record_id_slot.and_then(|slot| record.text(slot));
        Some((patron_id.unwrap_or_default(), record_id.or(patron_id)?))
    }
}

/// Until when the source must have deleted its own copy of a record.
#[derive(Clone, Copy, Debug)]
pub struct SourceDeletion {
    pub deleted_slot: u16,
    pub start_slot: u16,
    pub within: Term,
}

impl SourceDeletion {
    /// When the source must have deleted its copy, in milliseconds since 1970; `None` if it has.
    /// The term runs from `first_ms` if the record does not say from when.
    #[must_use]
    pub fn due_ms(self, record: RecordView<'_>, first_ms: i64) -> Option<i64> {
        if record.text(self.deleted_slot).is_some() {
            return None;
        }
        let start = record.text(self.start_slot);
        let due_ms = start.and_then(|text| term_end_ms(self.within, text));
        Some(due_ms.unwrap_or_else(|| self.within.end_from_ms(first_ms)))
    }
}

/// The slots of a patron record from which the fact about its card is derived.
#[derive(Clone, Copy, Debug)]
pub struct CardFactSlots {
    pub fact_slot: u16,
    pub card_number: u16,
    pub card_kind: u16,
    pub national_number: u16,
}

/// The derived fact whether a text has a word of a list.
#[derive(Debug)]
pub struct WordFact {
    pub text_slot: u16,
    pub fact_slot: u16,
    pub words: WordList,
}

/// A slot that copies `raw_slot` if its text fits `form`.
///
/// A national number is compared with the card number as it stands, but shown only if it fits
/// its form.
#[derive(Clone, Copy, Debug)]
pub struct ValidatedSlot {
    pub raw_slot: u16,
    pub slot: u16,
    /// `None` if any string will do.
    pub form: Option<TextFormat>,
}

/// A compiled recipient.
#[derive(Debug)]
pub struct Program {
    pub name: String,
    /// Of a recipient whose outputs are in Avro: what has no place in it is not released.
    pub avro: Option<Arc<AvroOutput>>,
    pub source_index: usize,
    pub route: Route,
    pub libraries: ServedLibraries,
    /// Its records may be of another library than their patron's.
    pub allows_other_library: bool,
    /// Patrons are told of some of its records, and not of others.
    pub tells_by_record: bool,
    pub conditions: Vec<CompiledCondition>,
    /// The conditions of the record alone that time may end.
    pub ending_conditions: Vec<CompiledCondition>,
    /// Its checks are those of the recipient before it, but for malformed values and patrons'
    /// statements.
    pub has_same_checks_as_previous: bool,
    /// Those of the config, enabled or not; counted behind those of the table.
    pub custom_detectors: CustomDetectors,
    /// Fields that must not be malformed.
    pub needed_fields: Vec<FieldLocation>,
    /// The needed fields in the patron's row.
    pub needed_patron_fields: Vec<FieldLocation>,
    /// The paths of needed fields, for explanations only.
    pub field_paths: Vec<(FieldLocation, FieldRef)>,
    pub gates: RecipientGates,
    /// Its records are joined with the patron table.
    pub is_joined: bool,
    /// Nothing of the records' patrons decides, whatever is known of them.
    pub ignores_patron: bool,
    /// The list of the record that names which fields of the patron are shown.
    pub demanded_list: Option<u16>,
    /// The persons beside the patron whom outputs are about; at most `OTHER_PERSONS_MAX`.
    pub other_persons: Vec<CompiledOtherPerson>,
    /// When national numbers may be released, in milliseconds since 1970.
    pub authorised_range_ms: Option<(i64, i64)>,
    /// A card number that is a national number is left out even then.
    pub omits_national_cards: bool,
    /// Some field is a national number, masked or not.
    pub releases_national_numbers: bool,
    /// Some card number is shown as part of a list or an object.
    pub shows_card_parts: bool,
    /// The fact whether the card number is a national number, if some field is a card number.
    pub card_fact: Option<FieldLocation>,
    /// The slot of the card number in the row, if it is wanted.
    pub patron_card_slot: Option<u16>,
    pub output_key: PseudonymSpec,
    pub pseudonymiser: Pseudonymiser,
    pub steps: Vec<ProjectionStep>,
    /// The channels by which a patron is reached, best first; empty where there is no choice.
    pub channels: Vec<CompiledChannel>,
    /// The steps, grouped for writing.
    pub step_groups: Vec<StepGroup>,
    /// What is left of a thinned output; `None` if the recipient has none.
    pub thinned_steps: Option<ThinnedSteps>,
    /// What steps make of the patron's records.
    pub summaries: Summaries,
    /// Some step prints lines made of other steps' text.
    pub has_slip: bool,
    /// Some step may count something.
    pub has_projection_counts: bool,
}

/// A person beside the patron whom outputs are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledOtherPerson {
    pub id: OtherPersonId,
    /// The leaves that are about this person, by the bits of lines in the ledger.
    pub leaves: u128,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OtherPersonId {
    /// Whom a grant names.
    NamedPatron,
    Field(FieldLocation),
    /// By its path in the patron's record, of a recipient that shows what is demanded of it.
    OfPatronRecord(String),
}

/// A recipient that is no longer served, or no longer on some topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormerRecipient {
    /// As the state names it: with the topic behind it if the recipient is still served.
    pub name: String,
    pub topics: Vec<(String, OutputId)>,
    pub action: FormerAction,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledCondition {
    pub field: FieldLocation,
    pub test: ConditionTest,
    pub refusal_reason: Reason,
    /// It holds for a record without a patron.
    pub or_no_patron: bool,
    /// Its index in [`LaneSource::shared_tests`], if it is of the record alone.
    pub shared_test: Option<usize>,
}

impl CompiledCondition {
    /// Whether something else than the record may make it hold: its patron, or time.
    #[must_use]
    pub fn may_change(&self) -> bool {
        let range = self.test.time_range();
        self.field.is_joined || range.is_some_and(|range| range.before.is_some())
    }

    /// Whether it is of the record alone, and time may end it.
    #[must_use]
    pub fn ends_with_time(&self) -> bool {
        let range = self.test.time_range();
        !self.field.is_joined && range.is_some_and(|range| range.not_before.is_some())
    }
}

/// A channel by which a patron may be reached.
#[derive(Clone, Debug)]
pub struct CompiledChannel {
    pub word: &'static str,
    /// It is there where one of these has a value.
    pub fields: Vec<FieldLocation>,
}

/// A group of steps: its members are written in this order.
#[derive(Debug, Default)]
pub struct StepGroup {
    /// The member that shows the output key.
    pub output_key_prefix: Option<MemberPrefix>,
    pub copied_fields: Vec<CopiedField>,
    /// An index of [`Program::steps`].
    pub step_index: Option<usize>,
}

/// The steps of a thinned output.
#[derive(Debug)]
pub struct ThinnedSteps {
    /// By step of [`Program::steps`]: whether it is left out.
    pub is_dropped: Vec<bool>,
    /// The others, grouped for writing.
    pub step_groups: Vec<StepGroup>,
}

/// A member that shows a value as it stands in the record.
#[derive(Clone, Debug)]
pub struct CopiedField {
    pub prefix: MemberPrefix,
    pub slot: u16,
}

/// Where the outputs of a recipient go.
#[derive(Clone, Debug)]
pub enum Route {
    Single(OutputId),
    /// By the value of a field; records of other parties go nowhere.
    ByParty {
        party: FieldLocation,
        outputs: Vec<(String, OutputId)>,
    },
}

impl Route {
    /// Whether a record may go to an output.
    #[must_use]
    pub fn includes_output(&self, output: OutputId) -> bool {
        match self {
            Route::Single(one) => *one == output,
            Route::ByParty { outputs: of, .. } => of.iter().any(|(_, one)| *one == output),
        }
    }
}

/// What a patron that a grant names is to a pseudonym.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamedPatronPart {
    #[default]
    None,
    /// Its id is hashed in place of the field.
    Value,
    /// Its id is hashed after the value, as in the output keys of recipients of named patrons.
    AfterValue,
}

/// A value that is replaced by its pseudonym.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PseudonymSpec {
    pub value: FieldLocation,
    pub is_card_number: bool,
    pub domain: PseudonymDomain,
    /// The library that is hashed with the value.
    pub library: Option<FieldLocation>,
    /// The id that is hashed after the value, in an output key of another field.
    pub patron_id: Option<FieldLocation>,
    /// Records without a patron have output keys, too: nothing is hashed in place of the id.
    pub may_lack_patron: bool,
    /// The date or instant whose month is hashed last, so that pseudonyms differ by month.
    pub month_of: Option<FieldLocation>,
    /// It is shown in hexadecimal.
    pub is_hexadecimal: bool,
    pub named_patron: NamedPatronPart,
    /// The index of the message among those of all recipients; `None` if it is not shared.
    pub shared_message: Option<u8>,
}

/// How one output field is written.
#[derive(Debug)]
pub struct ProjectionStep {
    pub name: String,
    pub prefix: MemberPrefix,
    pub action: Action,
    /// A later step needs the text.
    pub is_text_kept: bool,
    /// The channel that must be chosen for it.
    pub channel_index: Option<usize>,
}

#[derive(Debug)]
pub enum Action {
    /// A value of the record, as it stands there. Most fields are.
    CopySlot(u16),
    Copy {
        from: FieldLocation,
        is_card_number: bool,
    },
    Mask(MaskedField),
    Pseudonym(PseudonymSpec),
    /// The output key, shown as a field: the pseudonym of the patron id, as other keys hash
    /// more than the field.
    OutputKey,
    Object {
        fields: Vec<CompiledSubField>,
    },
    /// An object of values of the record, as they stand there.
    CopyObject(Vec<CopiedField>),
    List {
        is_joined: bool,
        list: u16,
        stride: u16,
        fields: Vec<CompiledSubField>,
    },
    ScalarList {
        is_joined: bool,
        list: u16,
        stride: u16,
        is_card_number: bool,
    },
    /// What a list of the record names of the patron's record.
    Demanded {
        /// Those of [`DemandedReader::leaves`].
        paths: Vec<String>,
    },
    /// How many of the listed paths a list of the record names.
    DemandedNumber {
        list: u16,
        stride: u16,
        /// The paths of the patron kind.
        paths: Vec<String>,
    },
    Slip {
        shelf_mark: usize,
        initial: usize,
        other_steps: Vec<usize>,
    },
    /// The first of these that has a value.
    First(Vec<ProjectionStep>),
    /// The word of the chosen channel.
    ChannelWord,
    /// An index of [`Program::summaries`].
    Summary(usize),
}

/// A value that a mask or detectors change.
#[derive(Debug)]
pub struct MaskedField {
    pub from: Option<FieldLocation>,
    pub is_card_number: bool,
    pub mask: Option<Mask>,
    pub needed_values: Vec<NeededValue>,
    pub detectors: Option<DetectorSet>,
    pub own_values: OwnValueFields,
}

/// Values of the record and its patron that detectors look for.
#[derive(Debug, Default)]
pub struct OwnValueFields {
    /// With the stride of its list, if it is in one.
    pub fields: Vec<(FieldLocation, u16)>,
    /// Values that are written one after the other.
    pub addresses: Vec<Vec<FieldLocation>>,
}

/// What a mask needs beside its input.
#[derive(Clone, Copy, Debug)]
pub enum NeededValue {
    Field(FieldLocation),
    /// The country, or the library whose ISIL names it.
    Country {
        country: Option<FieldLocation>,
        library: Option<FieldLocation>,
    },
}

/// A sub-field of an object or of a list's elements.
#[derive(Debug)]
pub struct CompiledSubField {
    pub prefix: MemberPrefix,
    pub field: FieldLocation,
    pub is_card_number: bool,
}

impl CompiledCondition {
    /// Returns why the recipient does not get the record, for what the test said.
    #[cold]
    #[must_use]
    pub fn reason_for(&self, tested: Reason) -> Reason {
        match tested {
            Reason::Condition => self.refusal_reason,
            other => other,
        }
    }
}

impl Program {
    /// Whether it gets one output for each patron that a grant names.
    #[must_use]
    pub fn is_for_named_patrons(&self) -> bool {
        self.gates.named_patron_purpose().is_some()
    }

    /// Whether both give one answer to every record without malformed values whose patron has
    /// no statements.
    fn has_same_checks_as(&self, other: &Program) -> bool {
        let card_access = |program: &Program| {
            let card = program.patron_card_slot;
            card.map(|card| (card, program.card_fact, program.authorised_range_ms))
        };
        self.libraries == other.libraries
            && self.allows_other_library == other.allows_other_library
            && self.ignores_patron == other.ignores_patron
            && self.demanded_list == other.demanded_list
            && self.conditions == other.conditions
            && self.needed_patron_fields == other.needed_patron_fields
            && self.gates.has_same_checks_as(&other.gates)
            && card_access(self) == card_access(other)
    }
}

impl ProjectionStep {
    /// Adds the values of the record that the step copies.
    fn collect_copied_slots(&self, copied: &mut CopiedSlots) {
        let mut add_slot = |at: FieldLocation| copied.slots.extend(at.record_slot());
        match &self.action {
            Action::CopySlot(slot) => copied.slots.push(*slot),
            Action::Copy { from, .. } => add_slot(*from),
            Action::CopyObject(parts) => copied.slots.extend(parts.iter().map(|part| part.slot)),
            Action::First(steps) => steps.iter().for_each(|one| one.collect_copied_slots(copied)),
            Action::Object { fields } => fields.iter().for_each(|part| add_slot(part.field)),
            Action::List { is_joined: false, list, stride, .. }
            | Action::ScalarList { is_joined: false, list, stride, .. } => {
                copied.lists.push((*list, *stride))
            }
            Action::List { .. }
            | Action::ScalarList { .. }
            | Action::Mask(_)
            | Action::Pseudonym(_)
            | Action::OutputKey
            | Action::Demanded { .. }
            | Action::DemandedNumber { .. }
            | Action::Slip { .. }
            | Action::ChannelWord
            | Action::Summary(_) => {}
        }
    }

    fn has_card_parts(&self) -> bool {
        match &self.action {
            Action::Object { fields } | Action::List { fields, .. } => {
                fields.iter().any(|part| part.is_card_number)
            }
            Action::ScalarList { is_card_number: card, .. } => *card,
            Action::Demanded { .. } => true,
            _ => false,
        }
    }

    /// The name of an omitted field, or of the omitted part of it.
    #[must_use]
    pub fn field_name(&self, sub_field_index: Option<usize>) -> String {
        let name = &self.name;
        let sub_field_index = sub_field_index.unwrap_or_default();
        match &self.action {
            Action::Object { fields } => {
                format!("{name}.{}", sub_field_name(fields, sub_field_index))
            }
            Action::CopyObject(copied) => {
                let label = copied.get(sub_field_index).map(|one| one.prefix.name());
                format!("{name}.{}", label.unwrap_or_default())
            }
            Action::List { fields, .. } => {
                format!("{name}[].{}", sub_field_name(fields, sub_field_index))
            }
            Action::Demanded { paths } => {
                let path = paths.get(sub_field_index).map_or("", String::as_str);
                format!("{name}.{path}")
            }
            Action::ScalarList { .. } | Action::Slip { .. } => format!("{name}[]"),
            _ => name.clone(),
        }
    }
}

fn sub_field_name(fields: &[CompiledSubField], sub_field_index: usize) -> &str {
    fields
        .get(sub_field_index)
        .map(|sub_field_index| sub_field_index.prefix.name())
        .unwrap_or_default()
}

impl CompiledSubField {
    /// `None` if the field is not copied from the record, or is a card number.
    fn as_copied_field(&self) -> Option<CopiedField> {
        let slot = self.field.record_slot().filter(|_| !self.is_card_number)?;
        let label = self.prefix.clone();
        Some(CopiedField { prefix: label, slot })
    }
}

/// Returns the rank of a gate among those that wait for each other; `None` for other sources. What
/// can stop a release, and start none by itself, comes before what may release: a settlement,
/// then an objection, a consent, and a patron. No two wait for each other.
fn gate_rank(source: &LaneSource) -> Option<u8> {
    match (source.kind.role, &source.statement_fields) {
        (Role::Gate, Some(StatementFields::Settlement { .. })) => Some(0),
        (Role::Gate, Some(StatementFields::Objection { .. })) => Some(1),
        (Role::Gate, _) => Some(2),
        (Role::Patron, _) => Some(3),
        (Role::Record, _) => None,
    }
}

/// Returns how the records of a kind's source are kept.
#[must_use]
pub fn source_retention(kind: &RecordKind) -> SourceRetention {
    match kind.role {
        Role::Patron => SourceRetention::Compacted,
        Role::Gate => SourceRetention::Forever,
        Role::Record => SourceRetention::Limited,
    }
}

impl Lane {
    /// Adds the prefix to the topics that dead letters name.
    pub fn prefix_topics(&mut self, prefix: &str) {
        for source in &mut self.sources {
            source.topic = format!("{prefix}{}", source.kind.topic);
        }
    }

    /// What a transport needs to know of the lane.
    #[must_use]
    pub fn transport_plan(&self) -> LanePlan {
        let sources = self
            .sources
            .iter()
            .map(|source| SourcePlan {
                topic: source.kind.topic.clone(),
                gate_rank: gate_rank(source),
                is_rebuilt: source.kind.is_keyed_by_patron
                    && (source.kind.role != Role::Record || source.kept_layout.is_some()),
                is_joined: source.kind.is_keyed_by_patron,
                retention: source_retention(&source.kind),
            })
            .collect();
        LanePlan {
            name: self.name.clone(),
            sources,
            outputs: self.outputs.clone(),
            policy_version: self.policy_version.clone(),
            fingerprinter: None,
            forget_offset_totals: Vec::new(),
            known_former_topics: BTreeSet::new(),
            configured_topics: None,
            intake: None,
        }
    }

    /// Whether a summary of some recipient may count a record of `source`.
    #[must_use]
    pub fn may_summarise(&self, source: &LaneSource, row: &PatronRow) -> bool {
        let programs = self.recipients.iter();
        let mut summaries = programs.flat_map(|program| program.summaries.iter());
        summaries.any(|summary| summary.source == source.index && summary.may_count(row))
    }

    #[must_use]
    pub fn has_periodic_recipient(&self) -> bool {
        let mut programs = self.recipients.iter();
        programs.any(|program| program.gates.has(GateId::Period))
    }

    /// The name of a recipient, former or not, by its index.
    #[must_use]
    pub fn recipient_name(&self, recipient: u16) -> Option<&str> {
        let index = usize::from(recipient);
        match self.recipients.get(index) {
            Some(program) => Some(&program.name),
            None => self.former_recipient(recipient).map(|former| &*former.name),
        }
    }

    #[must_use]
    pub fn former_recipient(&self, recipient: u16) -> Option<&FormerRecipient> {
        let index = usize::from(recipient).checked_sub(self.recipients.len())?;
        self.former_recipients.get(index)
    }

    /// Whether what two entries have is one message.
    #[must_use]
    pub fn is_same_message(&self, one: &DeliveryEntry, other: &DeliveryEntry) -> bool {
        let topic = |entry: &DeliveryEntry| {
            self.outputs.get(usize::from(entry.output)).map(|output| &output.topic)
        };
        let is_on_same_topic = || match self.has_outputs_by_owner {
            true => one.output == other.output,
            false => topic(one) == topic(other),
        };
        one.is_sent() && other.is_sent() && one.output_key == other.output_key && is_on_same_topic()
    }

    #[must_use]
    pub fn serves_recipient(&self, recipient: u16) -> bool {
        usize::from(recipient) < self.recipients.len()
    }

    /// Whether a recipient is served whose outputs do not depend on patrons.
    #[must_use]
    pub fn ignores_patron(&self, recipient: u16) -> bool {
        let program = self.recipients.get(usize::from(recipient));
        program.is_some_and(|program| program.ignores_patron)
    }

    /// The index of the served recipient of this name whose source has this kind.
    #[must_use]
    pub fn find_served_recipient(&self, name: &str, kind: &str) -> Option<u16> {
        let mut programs = self.recipients.iter();
        let index = programs.position(|program| {
            let source = self.sources.get(program.source_index);
            program.name == name && source.is_some_and(|source| source.kind.name == kind)
        })?;
        u16::try_from(index).ok()
    }

    /// The recipient and the output that a row of `kind` names; `None` if neither a served
    /// nor a former recipient has that output.
    #[must_use]
    pub fn find_output_holder(
        &self,
        (name, topic): (&str, &str),
        kind: &str,
    ) -> Option<(u16, u16)> {
        let recipient = recipient_of_state_name(name);
        let is_own_output =
            |output: &OutputPlan| output.topic == topic && output.owner == recipient;
        let output = u16::try_from(self.outputs.iter().position(is_own_output)?).ok()?;
        let is_routed = |index: &u16| {
            let program = &self.recipients[usize::from(*index)];
            program.route.includes_output(OutputId(output))
        };
        if let Some(index) = self.find_served_recipient(name, kind).filter(is_routed) {
            return Some((index, output));
        }
        let name_with_topic = state_name_at_topic(recipient, topic);
        let has_name =
            |former: &&FormerRecipient| former.name == name || former.name == name_with_topic;
        let mut former = self.former_recipients.iter().enumerate();
        let (index, _) = former.find(|(_, former)| {
            has_name(former) && former.topics.iter().any(|(known, _)| known == topic)
        })?;
        let index = u16::try_from(self.recipients.len() + index).ok()?;
        Some((index, output))
    }

    #[must_use]
    pub fn source(&self, id: SourceId) -> Option<&LaneSource> {
        self.sources.get(usize::from(id.0))
    }

    /// `None` in a lane without patrons.
    #[must_use]
    pub fn patron_source_index(&self) -> Option<usize> {
        self.sources.iter().position(|source| source.kind.role == Role::Patron)
    }

    #[must_use]
    pub fn is_patron_source(&self, source: u16) -> bool {
        let source = self.sources.get(usize::from(source));
        source.is_some_and(|source| source.kind.role == Role::Patron)
    }

    /// Whether the table keeps card numbers that are national numbers, as some recipient may
    /// have them.
    #[must_use]
    pub fn may_keep_national_cards(&self) -> bool {
        self.recipients.iter().any(|program| program.authorised_range_ms.is_some())
    }
}
