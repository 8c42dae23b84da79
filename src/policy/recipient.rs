//! A resolved recipient: who gets which fields of which records, and when.

use super::acknowledgement::AcknowledgementRule;
use super::catalogue::RecordKind;
use super::condition::{IntegerRange, TimeRange};
use super::confidentiality::Confidentiality;
use super::detect::{DetectorSet, WordList};
use super::form::Date;
use super::influence::{InfluenceChannel, collect_influences};
use super::mask::Mask;
use super::paper::{RecipientPapers, RecordedDecision, Requirement, ReviewState, is_placeholder};
use super::reason::Reason;
use super::term::{DAY_MS, Term};

/// A field of the recipient's source, or of the record's patron.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldRef {
    /// The field is looked up in the patron table (`patron.` before the path); only if the source
    /// is not patron.
    pub is_joined: bool,
    /// The path in the catalogue of the source or of patron.
    pub path: String,
}

/// A value that a condition compares with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConditionLiteral {
    Text(String),
    Boolean(bool),
    Integer(i64),
}

impl ConditionLiteral {
    /// Whether it is this text.
    #[must_use]
    pub fn is_text(&self, text: &str) -> bool {
        matches!(self, ConditionLiteral::Text(own) if own == text)
    }
}

/// The last of a recipient's stages if none may be later than the time of deciding.
pub const NOW: &str = "now";

/// What a condition asks of its field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConditionTest {
    OneOf(Vec<ConditionLiteral>),
    Present,
    Absent,
    /// A date or an instant in a range that moves with time.
    TimeRange(TimeRange),
    /// An integer in a range.
    IntegerRange(IntegerRange),
}

impl ConditionTest {
    /// Returns the range of a test whose answer time alone may change.
    #[must_use]
    pub fn time_range(&self) -> Option<&TimeRange> {
        match self {
            ConditionTest::TimeRange(range) => Some(range),
            ConditionTest::OneOf(_)
            | ConditionTest::Present
            | ConditionTest::Absent
            | ConditionTest::IntegerRange(_) => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldCondition {
    /// One value, or a list of single values that must have or lack elements.
    pub field: FieldRef,
    pub test: ConditionTest,
    /// Why a record is withheld for which it does not hold: [`Reason::Condition`] or one of
    /// [`Reason::OF_CONDITIONS`].
    pub refusal_reason: Reason,
    /// It holds for a record without a patron, whose fields it would ask for.
    pub or_no_patron: bool,
}

/// How one value gets from a field into an output.
#[derive(Clone, Debug)]
pub struct FieldProjection {
    /// `None` only for a constant.
    pub from: Option<FieldRef>,
    pub mask: Option<Mask>,
    pub detect: Option<DetectorSet>,
}

/// A listed sub-field of an object or of a list's elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubField {
    pub name: String,
    /// The catalogue's full path, as `address.street` or `items[].title`.
    pub path: String,
}

/// How outputs are written on Kafka; in a directory they are JSON.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum ValueFormat {
    #[default]
    Json,
    /// By a schema that follows from the contract, and is registered.
    Avro,
}

impl ValueFormat {
    /// Returns whether it is the one that needs no mention.
    #[must_use]
    pub fn is_json(&self) -> bool {
        *self == ValueFormat::Json
    }

    /// Returns the media type of an output's value.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            ValueFormat::Json => "application/json",
            ValueFormat::Avro => "application/avro",
        }
    }
}

/// How a patron is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Medium {
    Email,
    Phone,
    Post,
}

/// One channel by which a patron may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    pub medium: Medium,
    /// A field, or an address.
    pub from: FieldRef,
    /// It is there where one of these has a value.
    pub present_by: Vec<FieldRef>,
}

impl Channel {
    /// Returns whether a field belongs to the channel: it is its field, or a part of its address.
    #[must_use]
    pub fn contains(&self, field: &FieldRef) -> bool {
        let rest = field.path.strip_prefix(&self.from.path);
        field.is_joined == self.from.is_joined
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// The channels by which a patron may be reached, best first: an output has the fields of the
/// first one that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelRule {
    pub channels: Vec<Channel>,
    /// Without any channel nothing is sent.
    pub is_required: bool,
}

impl ChannelRule {
    /// Returns the index of the channel to which an output field belongs, if any.
    #[must_use]
    pub fn channel_of(&self, value: &OutputValue) -> Option<usize> {
        let from = match value {
            OutputValue::Scalar(projection) => projection.from.as_ref()?,
            OutputValue::Object { from, .. }
            | OutputValue::ObjectList { from, .. }
            | OutputValue::ScalarList { from } => from,
            OutputValue::First(_)
            | OutputValue::Demanded { .. }
            | OutputValue::ShelfSlip { .. }
            | OutputValue::ChannelWord
            | OutputValue::NamedPatron
            | OutputValue::Summary(_) => return None,
        };
        self.channel_of_field(from)
    }

    /// Returns the index of the channel to which a field belongs, if any.
    #[must_use]
    pub fn channel_of_field(&self, field: &FieldRef) -> Option<usize> {
        self.channels.iter().position(|channel| channel.contains(field))
    }
}

#[derive(Clone, Debug)]
pub enum OutputValue {
    Scalar(FieldProjection),
    /// The first of several values that is there, best first.
    First(Vec<FieldProjection>),
    /// An object with listed sub-fields.
    Object {
        from: FieldRef,
        fields: Vec<SubField>,
    },
    /// A list of objects with listed sub-fields; `from.path` ends in `[]`.
    ObjectList {
        from: FieldRef,
        fields: Vec<SubField>,
    },
    /// A list of scalars; `from.path` ends in `[]`.
    ScalarList {
        from: FieldRef,
    },
    /// What the paths in a list of the record say of the patron.
    Demanded {
        /// A list of paths of the patron kind.
        list: FieldRef,
        shows: DemandedPart,
    },
    /// The printer's lines, by the indices of other output fields.
    ShelfSlip {
        shelf_mark_index: usize,
        initial_index: usize,
        line_indices: Vec<usize>,
    },
    /// The word of the chosen channel.
    ChannelWord,
    Summary(RecordSummary),
    /// The pseudonym of the other patron that a grant names.
    NamedPatron,
}

/// A value made of a patron's own records of another kind; only of recipients of patrons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSummary {
    /// The index of the kind in the policy's kinds.
    pub kind_index: usize,
    pub kind_name: String,
    /// Which of the records count.
    pub conditions: Vec<SummaryCondition>,
    pub function: SummaryFunction,
}

/// What is made of the records that count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SummaryFunction {
    /// The sum of an integer, by its path.
    Sum(String),
    Count,
    /// A word if there is one at all; missing otherwise.
    Any(String),
    /// Objects of the listed fields, sorted by dates, missing ones last, and then by the
    /// records' ids.
    List {
        fields: Vec<SubField>,
        order: Vec<String>,
    },
}

/// A condition on a record that a summary is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummaryCondition {
    /// The path in the catalogue of the summary's kind.
    pub path: String,
    pub test: SummaryTest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SummaryTest {
    Value(ConditionTest),
    /// The text of a field of the patron, or else another text.
    SameAs {
        patron_path: String,
        or_else: Option<String>,
    },
}

impl RecordSummary {
    /// The paths whose values are shown, each once.
    pub fn shown_paths(&self) -> impl Iterator<Item = &str> {
        let (sum, fields) = match &self.function {
            SummaryFunction::Sum(path) => (Some(path.as_str()), &[][..]),
            SummaryFunction::List { fields, .. } => (None, fields.as_slice()),
            SummaryFunction::Count | SummaryFunction::Any(_) => (None, &[][..]),
        };
        sum.into_iter().chain(fields.iter().map(|field| field.path.as_str()))
    }

    /// The paths that its records are sorted by.
    pub fn order_paths(&self) -> &[String] {
        match &self.function {
            SummaryFunction::List { order, .. } => order,
            _ => &[],
        }
    }
}

impl OutputValue {
    /// Returns the single values of which it shows one; none if it is composed of several.
    #[must_use]
    pub fn projections(&self) -> &[FieldProjection] {
        match self {
            OutputValue::Scalar(projection) => std::slice::from_ref(projection),
            OutputValue::First(projections) => projections,
            OutputValue::Object { .. }
            | OutputValue::ObjectList { .. }
            | OutputValue::ScalarList { .. }
            | OutputValue::Demanded { .. }
            | OutputValue::ShelfSlip { .. }
            | OutputValue::ChannelWord
            | OutputValue::NamedPatron
            | OutputValue::Summary(_) => &[],
        }
    }
}

/// What an output shows of the fields that a record demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum DemandedPart {
    /// Their values in the patron's record, nested as they are there.
    Values,
    /// How many of them the catalogue has, each once.
    Number,
}

/// One field of an output, in profile order.
#[derive(Clone, Debug)]
pub struct OutputField {
    pub name: String,
    pub value: OutputValue,
}

/// The topics of a recipient's outputs; a record never names a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputTopics {
    Single(String),
    /// A topic for each listed value of a field; records of other parties are not released.
    PerParty {
        party_field: FieldRef,
        topic_by_party: Vec<(String, String)>,
    },
}

impl OutputTopics {
    /// Returns every topic in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let (single, per_party) = match self {
            OutputTopics::Single(topic) => (Some(topic.as_str()), &[][..]),
            OutputTopics::PerParty { topic_by_party, .. } => (None, topic_by_party.as_slice()),
        };
        single.into_iter().chain(per_party.iter().map(|(_, topic)| topic.as_str()))
    }
}

impl std::fmt::Display for OutputTopics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OutputTopics::Single(topic) => f.write_str(topic),
            OutputTopics::PerParty { party_field, topic_by_party } => {
                let prefix = if party_field.is_joined { "patron." } else { "" };
                write!(f, "by {prefix}{}", party_field.path)?;
                topic_by_party.iter().try_for_each(|(party, topic)| write!(f, ", {party}: {topic}"))
            }
        }
    }
}

/// The libraries that a recipient serves; the record's and the patron's both count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServedLibraries {
    All,
    Only(Vec<String>),
}

/// Article 6 of the GDPR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum LegalBasis {
    Consent,
    Contract,
    LegalObligation,
    Vital,
    PublicTask,
    LegitimateInterest,
}

impl LegalBasis {
    /// Returns the basis with its place in the law, in Dutch.
    #[must_use]
    pub const fn describe_dutch(self) -> &'static str {
        match self {
            LegalBasis::Consent => "toestemming (art. 6 lid 1 onder a AVG)",
            LegalBasis::Contract => "uitvoering van een overeenkomst (art. 6 lid 1 onder b AVG)",
            LegalBasis::LegalObligation => "wettelijke verplichting (art. 6 lid 1 onder c AVG)",
            LegalBasis::Vital => "vitaal belang (art. 6 lid 1 onder d AVG)",
            LegalBasis::PublicTask => "taak van algemeen belang (art. 6 lid 1 onder e AVG)",
            LegalBasis::LegitimateInterest => "gerechtvaardigd belang (art. 6 lid 1 onder f AVG)",
        }
    }
}

/// The consent that a recipient needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentRule {
    pub purpose: String,
    /// What counts as a digital grant beside the consents on record.
    pub implied_by: Option<ConsentEventRule>,
    /// Consent must be explicit and written, as for special categories.
    pub is_explicit: bool,
    /// Of a minor only a guardian's grants count (GDPR art. 8).
    pub needs_guardian_for_minors: bool,
    /// Its grants name other patrons, and each of those gives one output of its own.
    pub named_patrons: Option<NamedPatronRule>,
}

/// One output for each other patron that a grant names as its recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedPatronRule {
    /// How long a grant counts, from its `at`; `None` if until it is withdrawn.
    pub lasts: Option<Term>,
}

/// An event that counts as a digital grant for the purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentEventRule {
    /// A date, from 00:00 UTC, or an instant: of the patron, or of the record itself.
    pub at: FieldRef,
    /// Of an event that is the record itself.
    pub giver: Option<ConsentGiverFields>,
}

/// Whose consent a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentGiverFields {
    /// `patron` or `guardian`; missing, it is the patron's.
    pub given_by: FieldRef,
    /// Whether who is no patron is of age.
    pub adult: FieldRef,
}

/// A text of the record, and the words that withhold it unless the patron signed for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialWordsRule {
    pub field: FieldRef,
    pub words: WordList,
}

/// What happens when a recipient's term is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum RetentionAction {
    Retract,
    Forget,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionRule {
    pub term: Term,
    pub start_field: FieldRef,
    pub after: RetentionAction,
}

/// Which fields an output goes without, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThinningRule {
    /// The indices of those output fields, in ascending order.
    pub dropped_fields: Vec<usize>,
    /// When the record is gone: what remains is made of the last version that was not.
    pub when_gone: bool,
    /// When the loan history is off for a returned loan (G11).
    pub when_history_off: bool,
    /// When a term is over, from a date or an instant.
    pub after: Option<(Term, FieldRef)>,
}

/// How often the outputs of a pseudonymised recipient are published: once after each month, so that
/// order and time of events do not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicationPeriod {
    /// The date or instant that assigns a record to a month.
    pub month_field: FieldRef,
}

/// What happens to released outputs when the paper is no longer in force.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray,
)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum ExpiryAction {
    /// They stay until there is a new paper.
    #[default]
    Keep,
    Retract,
}

/// A processor's agreement (GDPR art. 28).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    pub reference: String,
    pub clauses: Vec<String>,
    /// The first day, `YYYY-MM-DD`.
    pub from: String,
    /// The last day, `YYYY-MM-DD`.
    pub until: String,
    pub after: ExpiryAction,
}

impl Agreement {
    /// Returns the half-open interval in force, in milliseconds since 1970.
    #[must_use]
    pub fn in_force_interval_ms(&self) -> (i64, i64) {
        day_range_ms(&self.from, &self.until)
    }
}

/// Permission to receive national numbers (GDPR art. 87).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorisation {
    pub reference: String,
    pub approved_by: String,
    pub approved_on: String,
    /// The first day, `YYYY-MM-DD`.
    pub from: String,
    /// The last day, `YYYY-MM-DD`.
    pub until: String,
    pub jurisdiction: String,
    pub after: ExpiryAction,
}

impl Authorisation {
    /// Returns when it is in force, in milliseconds since 1970: from the first until before the
    /// second. Never before the day on which it was approved.
    #[must_use]
    pub fn in_force_interval_ms(&self) -> (i64, i64) {
        day_range_ms(self.first_day_in_force(), &self.until)
    }

    /// Returns the first day in force, `YYYY-MM-DD`.
    #[must_use]
    pub fn first_day_in_force(&self) -> &str {
        (&self.from).max(&self.approved_on)
    }
}

/// Returns 00:00 UTC of the first day to 00:00 UTC after the last; an empty interval if one of them
/// is no date.
fn day_range_ms(from: &str, until: &str) -> (i64, i64) {
    match (Date::parse(from), Date::parse(until)) {
        (Some(from), Some(until)) => (from.to_unix_ms(), until.to_unix_ms() + DAY_MS),
        _ => (i64::MAX, i64::MIN),
    }
}

/// The record of processing (GDPR art. 30) besides the controller; empty where not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessingRegister {
    pub contact: String,
    /// Categories of persons.
    pub persons: String,
    pub transfers: String,
    pub security: String,
}

#[derive(Clone, Debug)]
pub struct Recipient {
    pub name: String,
    pub title: String,
    pub topics: OutputTopics,
    /// How its outputs are written on Kafka.
    pub value_format: ValueFormat,
    /// The index of its source in the policy's kinds.
    pub source_kind_index: usize,
    pub purpose: String,
    pub purpose_text: String,
    pub legal_basis: LegalBasis,
    pub controller: String,
    pub register: ProcessingRegister,
    pub libraries: ServedLibraries,
    /// Records of another library than their patron's are withheld, whatever their kind allows.
    pub is_for_own_borrowers: bool,
    /// The field whose pseudonym is the output key.
    pub output_key_field: FieldRef,
    pub conditions: Vec<FieldCondition>,
    /// Instants or dates of the record that must be in this order.
    pub stages: Vec<FieldRef>,
    /// No stage may be later than the time at which the record is decided.
    pub stages_end_now: bool,
    pub output_fields: Vec<OutputField>,
    /// By which of several channels the patron is reached.
    pub channel: Option<ChannelRule>,
    pub consent: Option<ConsentRule>,
    pub retention: RetentionRule,
    pub thinned: Option<ThinningRule>,
    /// Set for pseudonymised recipients only.
    pub period: Option<PublicationPeriod>,
    /// A text that withholds the record by words in it.
    pub special_words: Option<SpecialWordsRule>,
    /// Receives loan history, except returned loans of patrons who switched it off.
    pub is_loan_history: bool,
    pub is_marketing: bool,
    /// Stopped by objections for special circumstances, whatever its legal basis.
    pub stops_on_objection: bool,
    /// Why the patron's term does not apply, if so.
    pub outlives_membership: Option<String>,
    /// Why its outputs do not depend on the patron at all, if so: nothing of the patron is in them,
    /// and neither an objection nor an erasure prevents them or takes them back.
    pub without_patron: Option<String>,
    pub is_pseudonymised: bool,
    pub is_processor: bool,
    pub agreement: Option<Agreement>,
    pub authorisation: Option<Authorisation>,
    /// A card number that is the national number is left out, whatever the authorisation covers.
    pub omits_national_cards: bool,
    pub papers: RecipientPapers,
    pub review: ReviewState,
    /// The libraries of the network: the patron's must be one of them, which is one of
    /// `conditions`. `None` without a network.
    pub members: Option<Vec<String>>,
    /// The names of the only output fields that are sent; `output_fields` has no others.
    pub scopes: Option<Vec<String>>,
    /// Recipients that no library has beside this one.
    pub excludes: Vec<String>,
    /// Why card number and birth date or year are both unmasked (S05).
    pub credential_reason: Option<String>,
    /// Why free text is released without all detectors, or used in a condition.
    pub free_text_reason: Option<String>,
    /// The flow ids that the recipient serves.
    pub flows: Vec<String>,
    /// How it acknowledges retractions, if it does.
    pub acknowledgement: Option<AcknowledgementRule>,
    /// The consumer group that it reads its topic with, without prefix, if it is known.
    pub consumer_group: Option<String>,
    /// How long patrons are not told of what it gets, if so.
    pub confidentiality: Option<Confidentiality>,
    /// The truth value of the record that lets its patron be told all the same, where it is `false`.
    pub told_unless: Option<FieldRef>,
}

impl Recipient {
    /// Returns whether it gets one output for each other patron that a grant names.
    #[must_use]
    pub fn is_for_named_patrons(&self) -> bool {
        self.consent.as_ref().is_some_and(|rule| rule.named_patrons.is_some())
    }

    /// Returns what is made of other records of the patron, in the order of the file.
    pub fn summaries(&self) -> impl Iterator<Item = &RecordSummary> {
        self.output_fields.iter().filter_map(|field| match &field.value {
            OutputValue::Summary(summary) => Some(summary),
            _ => None,
        })
    }

    /// Returns whether its outputs are made of records of the kind with this index.
    #[must_use]
    pub fn reads_kind(&self, kind_index: usize) -> bool {
        self.source_kind_index == kind_index
            || self.summaries().any(|summary| summary.kind_index == kind_index)
    }

    /// Returns whether its file has what it requires, and not as an example's text.
    #[must_use]
    pub fn meets(&self, requirement: Requirement) -> bool {
        let papers = &self.papers;
        let decided = |one: &Option<RecordedDecision>| {
            one.as_ref()
                .is_some_and(|one| !is_placeholder(&one.by) && !is_placeholder(&one.document))
        };
        match requirement {
            Requirement::Agreement => self.agreement.is_some(),
            Requirement::Authorisation => self.authorisation.is_some(),
            Requirement::Approval => decided(&papers.approval),
            Requirement::DpoAdvice => decided(&papers.dpo_advice),
            Requirement::Notice => {
                papers.notice.as_ref().is_some_and(|notice| !is_placeholder(&notice.place))
            }
            Requirement::Terms => papers.terms.is_some(),
            Requirement::AppId => papers.app_id.is_some(),
            Requirement::Members => self.members.as_ref().is_some_and(|all| !all.is_empty()),
            Requirement::Devices => !papers.devices.is_empty(),
            Requirement::Scopes => self.scopes.as_ref().is_some_and(|all| !all.is_empty()),
            Requirement::Parties => match &self.topics {
                OutputTopics::Single(_) => false,
                OutputTopics::PerParty { topic_by_party, .. } => !topic_by_party.is_empty(),
            },
        }
    }

    /// Returns whether objections for special circumstances stop it (GDPR art. 21(1)).
    #[must_use]
    pub fn is_stopped_by_objections(&self) -> bool {
        let basis =
            matches!(self.legal_basis, LegalBasis::PublicTask | LegalBasis::LegitimateInterest);
        basis || self.stops_on_objection
    }

    /// Returns whether some objection stops it.
    #[must_use]
    pub fn can_be_objected_to(&self) -> bool {
        let can_stop = self.is_marketing || self.is_stopped_by_objections();
        can_stop && self.without_patron.is_none()
    }

    /// Returns whether a national number can influence its outputs; omitting a field because of one
    /// does not count.
    #[must_use]
    pub fn releases_national_numbers(&self, kinds: &[RecordKind]) -> bool {
        let all = collect_influences(self, kinds);
        let mut shown =
            all.iter().filter(|one| !matches!(one.channel, InfluenceChannel::OmissionTest(_)));
        shown.any(|one| one.field.is_national_number())
    }
}
