//! The gates of a recipient beside its conditions: documents, what patrons said,
//! stages and terms.
//!
//! Each gate is one file here and one row of [`GATES`]. A gate sees a
//! [`GateInput`], never the lane.

mod channel;
mod consent;
mod document;
mod guardian;
mod instants;
mod loan_history;
mod objection;
mod paper_dates;
mod patron_term;
mod period;
mod records;
mod retention_term;
mod settlement;
mod special_words;
mod stages;
pub mod summary;
mod thinning;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(in crate::engine) use instants::term_end_ms;
pub use retention_term::RetentionTerm;
pub use thinning::ThinningTest;

use super::compile::CompileError;
use crate::engine::memory::consents::PatronConsents;
use crate::engine::memory::patron_records::PatronRecords;
use crate::engine::memory::patrons::PatronRow;
use crate::engine::record::RecordView;
use crate::engine::record::shape::{FieldLocation, ValueLocation};
use crate::engine::record::value::FieldValue;
use crate::policy::Policy;
use crate::policy::catalogue::RecordKind;
use crate::policy::consent::{ConsentQuery, ConsentView};
use crate::policy::detect::WordList;
use crate::policy::reason::Reason;
use crate::policy::recipient::{FieldRef, Recipient};
use channel::ChannelGate;
use consent::ConsentGate;
use document::{AgreementGate, AuthorisationGate};
use loan_history::LoanHistoryGate;
use objection::ObjectionGate;
use paper_dates::PaperDatesGate;
use patron_term::PatronTermGate;
use period::PeriodGate;
use records::RecordsGate;
use settlement::SettlementGate;
use special_words::SpecialWordsGate;
use stages::StagesGate;
pub use summary::Summaries;

/// A row of [`GATES`].
#[derive(Debug)]
pub struct GateDef {
    pub name: &'static str,
    /// The keys of a recipient's file that set the gate.
    pub keys: &'static [&'static str],
    /// The word before the gate's sentence in `zeef show`.
    pub label: &'static str,
    pub kind: GateKind,
    /// Every reason that the gate may refuse with.
    pub reasons: &'static [Reason],
    pub id: GateId,
    pub texts: GateTexts,
    compile: fn(GateSource<'_>, &mut dyn GateFields) -> Result<Option<Gate>, CompileError>,
}

/// What a gate asks, and what it may override.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateKind {
    /// A document of the recipient. Its refusal may keep what the recipient has.
    Document,
    /// What the patron said. Overrides a document that keeps outputs.
    Statement,
    /// Fields of the record and of the patron's row.
    Fields,
    /// How long the patron's data may be used. Overrides a document that keeps outputs.
    PatronTerm,
}

impl GateKind {
    /// Whether the gate is judged without a record.
    const fn needs_no_fields(self) -> bool {
        matches!(self, GateKind::Document | GateKind::Statement)
    }
}

/// A gate in words, from the recipient's file.
#[derive(Clone, Copy, Debug)]
pub struct GateTexts {
    /// The sentence of `zeef show`; `None` where the recipient has no such gate.
    pub describe: fn(&Recipient, &Policy) -> Option<String>,
    /// What `zeef explain` asks; `None` where the recipient has no such gate.
    pub question: fn(&Recipient, &Policy) -> Option<String>,
    /// The field whose value `zeef explain` shows beside the question.
    pub shown_field: fn(&Recipient) -> Option<&FieldRef>,
    /// What follows from that value.
    pub value_note: fn(&str) -> Option<String>,
}

impl GateTexts {
    const NONE: GateTexts = GateTexts {
        describe: |_, _| None,
        question: |_, _| None,
        shown_field: |_| None,
        value_note: |_| None,
    };
}

/// What a gate is compiled from.
#[derive(Clone, Copy)]
pub struct GateSource<'a> {
    pub policy: &'a Policy,
    pub recipient: &'a Recipient,
    pub consent_query: ConsentQuery,
    /// The recipient's own purpose, which may be another one than it asks consent for.
    pub purpose: u16,
}

/// Finds the fields that gates read.
pub trait GateFields {
    /// Finds a needed field: the fingerprint holds its value, where it is the patron's.
    ///
    /// # Errors
    ///
    /// The catalogue does not have the field.
    fn want_field(&mut self, field: &FieldRef) -> Result<FieldLocation, CompileError>;

    /// Finds a needed field that is not part of a list.
    ///
    /// # Errors
    ///
    /// The catalogue does not have the field, or it is part of a list.
    fn want_single_value(&mut self, field: &FieldRef) -> Result<FieldLocation, CompileError>;

    /// Finds a field of the patron that may be malformed; `None` if the catalogue does not
    /// have it. The gate itself adds its answer to the fingerprint.
    ///
    /// # Errors
    ///
    /// The field cannot be wanted.
    fn want_membership_field(&mut self, path: &str) -> Result<Option<FieldLocation>, CompileError>;

    /// What the recipient's output is made of beside record and patron.
    ///
    /// # Errors
    ///
    /// A catalogue does not have a field.
    fn summaries(&mut self) -> Result<Summaries, CompileError>;

    /// Finds the derived fact whether a needed text of the record has one of `words`.
    ///
    /// # Errors
    ///
    /// The catalogue does not have the field, or it is part of a list.
    fn want_word_fact(
        &mut self,
        field: &FieldRef,
        words: &WordList,
    ) -> Result<FieldLocation, CompileError>;

    /// A field of the record's patron, in the table or in the record.
    fn patron_field(&self, path: &str) -> FieldRef;
}

/// What each gate implements.
trait GateRule: Sized {
    const TEXTS: GateTexts;

    /// Compiles the gate; `None` if it refuses nothing for the recipient.
    fn compile(
        source: GateSource<'_>,
        fields: &mut dyn GateFields,
    ) -> Result<Option<Self>, CompileError>;

    /// Judges one record. Lowers `recheck_due_ms` to when time alone may change the answer.
    fn judge(&self, input: &GateInput<'_>, recheck_due_ms: &mut i64) -> Result<(), Refusal>;

    /// Adds what decides the gate's answer beside the record, but for needed fields and for
    /// the refusal of gates that need no fields, which are added for all.
    fn add_to_fingerprint(&self, input: &GateInput<'_>, fingerprint: &mut GateFingerprint);

    /// Whether the gate, as it is compiled, may refuse with one of its reasons.
    fn may_refuse_with(&self, _reason: Reason) -> bool {
        true
    }
}

macro_rules! gates {
    ($($variant:ident($rule:ty) { $($row:tt)* })*) => {
        /// A gate of one recipient, compiled.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Gate {
            $($variant($rule),)*
        }

        /// The place of a gate in [`GATES`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum GateId {
            $($variant,)*
        }

        /// Every gate, in the order in which they are judged.
        pub const GATES: &[GateDef] = &[$(GateDef {
            $($row)*
            id: GateId::$variant,
            texts: <$rule>::TEXTS,
            compile: |source, fields| Ok(<$rule>::compile(source, fields)?.map(Gate::$variant)),
        },)*];

        impl Gate {
            #[inline]
            fn id(&self) -> GateId {
                match self {
                    $(Gate::$variant(_) => GateId::$variant,)*
                }
            }

            #[inline]
            fn judge(
                &self,
                input: &GateInput<'_>,
                recheck_due_ms: &mut i64,
            ) -> Result<(), Refusal> {
                match self {
                    $(Gate::$variant(gate) => gate.judge(input, recheck_due_ms),)*
                }
            }

            #[inline]
            fn add_to_fingerprint(&self, input: &GateInput<'_>, print: &mut GateFingerprint) {
                match self {
                    $(Gate::$variant(gate) => gate.add_to_fingerprint(input, print),)*
                }
            }

            fn may_refuse_with(&self, reason: Reason) -> bool {
                match self {
                    $(Gate::$variant(gate) => gate.may_refuse_with(reason),)*
                }
            }
        }
    };
}

impl Gate {
    #[inline]
    fn def(&self) -> &'static GateDef {
        &GATES[self.id() as usize]
    }

    /// Judges without asking when the answer may change.
    fn judge_now(&self, input: &GateInput<'_>) -> Result<(), Refusal> {
        let mut recheck_due_ms = i64::MAX;
        self.judge(input, &mut recheck_due_ms)
    }
}

gates! {
    Period(PeriodGate) {
        name: "period",
        keys: &["period"],
        label: "published",
        kind: GateKind::Fields,
        reasons: &[Reason::Condition, Reason::PeriodOpen, Reason::Unpublished],
    }
    Agreement(AgreementGate) {
        name: "agreement",
        keys: &["agreement"],
        label: "agreement",
        kind: GateKind::Document,
        reasons: &[Reason::AgreementLapsed],
    }
    Authorisation(AuthorisationGate) {
        name: "authorisation",
        keys: &["authorisation"],
        label: "authorised",
        kind: GateKind::Document,
        reasons: &[Reason::AuthorisationLapsed],
    }
    PaperDates(PaperDatesGate) {
        name: "paper_dates",
        keys: &["notice", "dpo_advice", "approval", "terms"],
        label: "papers",
        kind: GateKind::Document,
        reasons: &[Reason::PaperPending],
    }
    Objection(ObjectionGate) {
        name: "objection",
        keys: &["legal_basis", "marketing", "objections"],
        label: "unless",
        kind: GateKind::Statement,
        reasons: &[
            Reason::ObjectionUnreadable,
            Reason::ObjectionMarketing,
            Reason::Objection,
            Reason::ConsentUnreadable,
        ],
    }
    Consent(ConsentGate) {
        name: "consent",
        keys: &["consent", "minors"],
        label: "behind",
        kind: GateKind::Statement,
        reasons: &[Reason::NoConsent, Reason::ConsentUnreadable, Reason::NamedPatrons],
    }
    Settlement(SettlementGate) {
        name: "settlement",
        keys: &[],
        label: "unless",
        kind: GateKind::Fields,
        reasons: &[Reason::Settled],
    }
    Records(RecordsGate) {
        name: "records",
        keys: &["fields"],
        label: "if",
        kind: GateKind::Fields,
        reasons: &[Reason::RecordsUnreadable],
    }
    Stages(StagesGate) {
        name: "stages",
        keys: &["stages"],
        label: "in order",
        kind: GateKind::Fields,
        reasons: &[Reason::Stages, Reason::StageInFuture],
    }
    LoanHistory(LoanHistoryGate) {
        name: "loan_history",
        keys: &["loan_history"],
        label: "history",
        kind: GateKind::Fields,
        reasons: &[Reason::LoanHistoryOff],
    }
    Channel(ChannelGate) {
        name: "channel",
        keys: &["channel"],
        label: "reached",
        kind: GateKind::Fields,
        reasons: &[Reason::NoChannel],
    }
    SpecialWords(SpecialWordsGate) {
        name: "special_words",
        keys: &["special_words"],
        label: "without",
        kind: GateKind::Fields,
        reasons: &[Reason::SpecialWords],
    }
    PatronTerm(PatronTermGate) {
        name: "patron_term",
        keys: &["outlives_membership"],
        label: "",
        kind: GateKind::PatronTerm,
        reasons: &[Reason::PatronLapsed],
    }
}

/// What gates are asked about.
#[derive(Clone, Copy, Debug)]
pub struct GateInput<'a> {
    pub at_hand: AtHand<'a>,
    /// The row of the record's patron, if it is at hand.
    pub row: Option<&'a PatronRow>,
    pub patron: GatePatron<'a>,
    /// Whether the patron is a member now. Dates do not decide that.
    pub is_active_member: bool,
    /// In milliseconds since 1970.
    pub now_ms: i64,
    /// The number of the patron that a grant names, for whom the record is judged.
    pub named_patron: Option<u16>,
}

/// What is at hand beside a patron's statements.
#[derive(Clone, Copy, Debug)]
pub enum AtHand<'a> {
    /// The record, and the patron's row where the patron has one.
    Record(RecordView<'a>),
    /// The patron's row alone, where the patron has one.
    PatronRow,
    /// Neither.
    Nothing,
}

/// A patron, as gates ask about it.
#[derive(Clone, Copy, Debug)]
pub struct GatePatron<'a> {
    pub patron_consents: Option<&'a PatronConsents>,
    /// The kept records of the patron.
    pub records: Option<&'a PatronRecords>,
    pub library: Option<&'a str>,
}

impl<'a> GateInput<'a> {
    /// A patron's statements alone.
    #[must_use]
    pub fn of_statements(patron: GatePatron<'a>, now_ms: i64) -> Self {
        GateInput {
            at_hand: AtHand::Nothing,
            row: None,
            patron,
            is_active_member: false,
            now_ms,
            named_patron: None,
        }
    }

    /// The value of a field that is one value; missing where it is not at hand.
    #[inline]
    fn value(&self, at: FieldLocation) -> FieldValue<'a> {
        match (at.location, self.at_hand, self.row) {
            (ValueLocation::Slot(slot), _, Some(row)) if at.is_joined => row.value(slot),
            (ValueLocation::Slot(slot), AtHand::Record(record), _) if !at.is_joined => {
                record.value(slot)
            }
            _ => FieldValue::Missing,
        }
    }

    pub(in crate::engine) fn text(&self, at: FieldLocation) -> Option<&'a str> {
        self.value(at).as_text()
    }

    fn now_ns(&self) -> i64 {
        self.now_ms.saturating_mul(1_000_000)
    }
}

/// The libraries whose grants count for patrons of another one, beside its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LibrarySuccessors(pub Arc<BTreeMap<String, Vec<String>>>);

impl LibrarySuccessors {
    /// Whether a grant to `granted` counts for a patron of `own`.
    #[must_use]
    pub fn accepts_grant(&self, own: &str, granted: &str) -> bool {
        own == granted
            || self.0.get(own).is_some_and(|before| before.iter().any(|one| one == granted))
    }

    /// The consents that count for a patron of `library`.
    fn effective_consents<'a>(
        &self,
        consents: &'a PatronConsents,
        library: Option<&str>,
    ) -> ConsentView<'a> {
        consents.effective_consents(|granted| {
            library.is_some_and(|library| self.accepts_grant(library, granted))
        })
    }
}

/// Why a recipient does not get a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    /// Something else than a new version of the record may change the answer.
    pub may_change: bool,
    /// What the recipient has stays as it is.
    pub keep_output: bool,
    /// Why what the recipient has is taken back although the reason would keep it.
    pub override_reason: Option<Reason>,
}

impl Refusal {
    /// A refusal that holds for as long as the record is as it is.
    #[must_use]
    pub fn permanent(reason: Reason) -> Refusal {
        Refusal { reason, may_change: false, keep_output: false, override_reason: None }
    }

    /// A refusal that something else than the record may end.
    #[must_use]
    pub fn changeable(reason: Reason) -> Refusal {
        Refusal { may_change: true, ..Refusal::permanent(reason) }
    }

    #[must_use]
    pub fn changeable_if(may_change: bool, reason: Reason) -> Refusal {
        Refusal { may_change, ..Refusal::permanent(reason) }
    }

    /// The refusal, where another gate refuses as well: it then keeps nothing.
    fn overridden_by(self, other: Refusal) -> Refusal {
        match self.keep_output {
            true => Refusal { keep_output: false, override_reason: Some(other.reason), ..self },
            false => self,
        }
    }
}

/// What gates say of a patron without the record, for the fingerprint.
#[derive(Clone, Debug)]
pub struct GateFingerprint {
    /// Of the gates that need no fields.
    pub refusal: Option<Refusal>,
    /// The ids of the records that were settled, in order.
    pub settled_ids: Vec<Box<str>>,
    /// Where the record decides beside them: it may imply consent, or says the patron's age. By
    /// whose grants count.
    pub consents: [Option<ConsentSummary>; 3],
    /// Where only the record says the patron's age: whether a grant lifts an objection to
    /// marketing, by whose grants count.
    pub lifts_marketing_objection: [bool; 3],
    /// The patron's records that the output is made of, as bytes that differ where it may.
    pub other_records: Vec<u8>,
    /// The patrons that grants name, and which of the grants count, as bytes that differ where
    /// that does.
    pub named_patrons: Vec<u8>,
    /// The patron signed for special categories of data.
    pub is_special_signed: bool,
    /// The term for the patron's data is over.
    pub is_patron_lapsed: bool,
    /// When time alone may change the others; [`i64::MAX`] if never.
    pub recheck_due_ms: i64,
}

/// What decides over every event that a record may imply.
#[derive(Clone, Copy, Debug)]
pub struct ConsentSummary {
    /// The latest refusal and the latest grant, in nanoseconds since 1970.
    pub latest_ns: [Option<i64>; 2],
    /// No refusal by name stands.
    pub is_open_by_name: bool,
    pub has_unreadable: bool,
}

/// The gates of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientGates {
    /// Those that may refuse, in the order of [`GATES`].
    gates: Vec<Gate>,
    pub retention: RetentionTerm,
    pub thinning: Option<ThinningTest>,
    /// The status of the patron's membership, if the catalogue has it.
    pub membership_status: Option<FieldLocation>,
    /// No gate refuses a record of an active member without statements.
    passes_silent_members: bool,
    /// From when on that holds.
    passes_from_ms: i64,
}

const MEMBERSHIP_STATUS_PATH: &str = "membership.status";

impl RecipientGates {
    /// Compiles every gate of a recipient.
    ///
    /// # Errors
    ///
    /// A field cannot be wanted.
    pub fn compile(
        source: GateSource<'_>,
        fields: &mut dyn GateFields,
    ) -> Result<RecipientGates, CompileError> {
        let mut gates = Vec::new();
        for def in GATES {
            gates.extend((def.compile)(source, fields)?);
        }
        Ok(RecipientGates {
            membership_status: fields.want_membership_field(MEMBERSHIP_STATUS_PATH)?,
            retention: RetentionTerm::compile(&source.recipient.retention, fields)?,
            thinning: ThinningTest::compile(source, fields)?,
            passes_silent_members: gates.iter().all(|gate| {
                matches!(
                    gate,
                    Gate::Objection(_)
                        | Gate::Settlement(_)
                        | Gate::PatronTerm(_)
                        | Gate::PaperDates(_)
                )
            }),
            passes_from_ms: gates.iter().fold(i64::MIN, |from_ms, gate| match gate {
                Gate::PaperDates(gate) => gate.from_ms,
                _ => from_ms,
            }),
            gates,
        })
    }

    /// Judges a record by all gates; without a record, by those that need no fields.
    /// Lowers `recheck_due_ms` to when time alone may change the answer.
    ///
    /// # Errors
    ///
    /// The first [`Refusal`].
    #[inline]
    pub fn judge(&self, input: &GateInput<'_>, recheck_due_ms: &mut i64) -> Result<(), Refusal> {
        let has_record = matches!(input.at_hand, AtHand::Record(_));
        let mut document = Ok(());
        for gate in &self.gates {
            match (document, gate.def().kind) {
                (_, kind) if !has_record && !kind.needs_no_fields() => {}
                (Ok(()), GateKind::Document) => document = gate.judge(input, recheck_due_ms),
                (Ok(()), _) => gate.judge(input, recheck_due_ms)?,
                (Err(lapsed), GateKind::Statement | GateKind::PatronTerm) => gate
                    .judge(input, recheck_due_ms)
                    .map_err(|refusal| lapsed.overridden_by(refusal))?,
                (Err(_), GateKind::Document | GateKind::Fields) => {}
            }
        }
        document
    }

    /// Whether the recipient gets an output of a record that is gone, without some fields.
    #[inline]
    #[must_use]
    pub fn thins_when_gone(&self) -> bool {
        self.thinning.as_ref().is_some_and(|thinning| thinning.when_gone)
    }

    /// Whether no gate refuses, as is known without asking any.
    #[inline]
    #[must_use]
    pub fn pass_unasked(&self, is_active_member: bool, has_statements: bool, now_ms: i64) -> bool {
        self.passes_silent_members
            && is_active_member
            && !has_statements
            && now_ms >= self.passes_from_ms
    }

    /// Judges a record by one gate, whatever the others say.
    ///
    /// # Errors
    ///
    /// The gate's [`Refusal`].
    pub fn judge_one(&self, id: GateId, input: &GateInput<'_>) -> Result<(), Refusal> {
        let mut gates = self.gates.iter();
        let gate = gates.find(|gate| gate.id() == id);
        gate.map_or(Ok(()), |gate| gate.judge_now(input))
    }

    /// What all gates say of a patron without the record.
    #[must_use]
    pub fn fingerprint(&self, input: &GateInput<'_>) -> GateFingerprint {
        let mut recheck_due_ms = i64::MAX;
        let refusal = self.judge(input, &mut recheck_due_ms).err();
        let mut print = GateFingerprint {
            refusal,
            settled_ids: Vec::new(),
            consents: [None; 3],
            lifts_marketing_objection: [false; 3],
            other_records: Vec::new(),
            named_patrons: Vec::new(),
            is_special_signed: false,
            is_patron_lapsed: false,
            recheck_due_ms,
        };
        self.gates.iter().for_each(|gate| gate.add_to_fingerprint(input, &mut print));
        print
    }

    /// Whether the recipient has a gate.
    #[must_use]
    pub fn has(&self, id: GateId) -> bool {
        self.gates.iter().any(|gate| gate.id() == id)
    }

    /// The purpose of the consents that name patrons, each of whom is judged by itself.
    #[must_use]
    pub fn named_patron_purpose(&self) -> Option<u16> {
        self.gates.iter().find_map(|gate| match gate {
            Gate::Consent(gate) => gate.named_patron_purpose(),
            _ => None,
        })
    }

    /// The reasons that some gate may refuse with.
    pub fn reasons(&self) -> impl Iterator<Item = Reason> {
        self.gates.iter().flat_map(|gate| {
            let reasons = gate.def().reasons.iter().copied();
            reasons.filter(|reason| gate.may_refuse_with(*reason))
        })
    }

    /// Whether both are the same gates for a patron without statements.
    #[must_use]
    pub fn has_same_checks_as(&self, other: &RecipientGates) -> bool {
        let without_statements = |gate: &Gate| match gate {
            Gate::Objection(_) | Gate::Settlement(_) => None,
            Gate::Consent(gate) => Some(Gate::Consent(gate.without_names())),
            other => Some(other.clone()),
        };
        let silent = |gates: &RecipientGates| RecipientGates {
            gates: gates.gates.iter().filter_map(without_statements).collect(),
            ..gates.clone()
        };
        silent(self) == silent(other)
    }
}
