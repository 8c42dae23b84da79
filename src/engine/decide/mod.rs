//! Decides a record for each recipient of its source.
//!
//! All recipients are judged first, and their output keys begun; then outputs are
//! written, one recipient after the other. What comes of it is a `Verdict` for each
//! recipient: pure, but for the outputs themselves, which lie in the outbox.

pub mod admit;
pub mod dead_letter;
pub(in crate::engine) mod demanded;
pub mod explain;
pub mod inspect;
pub mod project;
mod write_value;

use super::batch::{Batch, DeadLetterScope, RecordPosition, Trigger};
use super::decide::admit::{admit, check_without_patron, select_output};
use super::decide::inspect::OmittedValue;
use super::decide::project::{OutputTarget, ProjectionReport, Projector};
use super::delivery::apply::Change;
use super::delivery::transition::{Effect, Terms, transition};
use super::lane::gates::Refusal;
use super::lane::{Facts, Lane, LaneSource, OtherPersonId, Program};
use super::memory::deliveries::{
    DeliveryEntry, DeliveryOutcome, DeliveryRow, OtherPersons, StateKeys,
};
use super::memory::patrons::PatronRow;
use super::record::RecordView;
use super::record::value::SlotState;
use super::tally::ProjectionCounts;
use crate::message::{Input, Outbox, OutputId, TraceParent};
use crate::policy::avro_output::AvroOutput;
use crate::policy::catalogue::Role;
use crate::policy::pseudonym::{PSEUDONYM_LENGTH, PartialPseudonym, Pseudonym};
use crate::policy::reason::Reason;

/// What one recipient is to get of a record.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verdict {
    Released(NewOutput),
    Refused(Refusal),
    /// It was not asked: only a new version of the record can change its verdict.
    NotAsked,
}

/// The output that a recipient is to have.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewOutput {
    pub(super) output: OutputId,
    pub(super) key: u128,
    /// Keyed hash of its value.
    pub(super) hash: u64,
    /// When the recipient's term is over; [`i64::MAX`] if never.
    pub(super) term_end_ms: i64,
    pub(super) publication: Publication,
    /// Some fields are left out.
    pub(super) is_thinned: bool,
    /// When time alone will leave them out; [`i64::MAX`] if never, or if they are.
    pub(super) thins_at_ms: i64,
    /// Whom it may be about beside the patron, by the indices of [`Program::other_persons`].
    pub(super) other_persons: OtherPersons,
}

/// Whether an output is in the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Publication {
    Sent,
    /// Not sent: the recipient has the same.
    Unchanged,
    /// Not sent: it waits for the next run of a recipient with a period.
    Deferred,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct RecipientVerdict {
    /// Index in [`Lane::recipients`].
    pub(super) recipient: u16,
    pub(super) verdict: Verdict,
}

/// What was decided of a record.
#[derive(Debug, Default)]
pub(super) struct Decided {
    pub(super) verdicts: Vec<RecipientVerdict>,
    /// When time alone may change a verdict; [`i64::MAX`] if never.
    pub(super) recheck_due_ms: i64,
    /// When its source must have deleted its own copy; `None` if it has, or need not.
    pub(super) source_deletion_due_ms: Option<i64>,
    /// The record's patron may be told of it.
    pub(super) is_told: bool,
}

impl Decided {
    /// When time alone may change a refusal; [`i64::MAX`] if there is none, or never.
    pub(super) fn refusal_due_ms(&self) -> i64 {
        let is_refused = |one: &RecipientVerdict| matches!(one.verdict, Verdict::Refused(_));
        match self.verdicts.iter().any(is_refused) {
            true => self.recheck_due_ms,
            false => i64::MAX,
        }
    }
}

/// Decides records for recipients. Keeps its buffers from record to record.
#[derive(Debug, Default)]
pub(super) struct Decider {
    projector: Projector,
    admitted: Vec<AdmittedRecipient>,
    /// About the output that was written last.
    report: ProjectionReport,
    pub(super) decided: Decided,
}

/// A recipient that may have the record at hand.
#[derive(Clone, Copy, Debug)]
struct AdmittedRecipient {
    /// Index in [`Lane::recipients`].
    recipient: usize,
    output: OutputId,
    /// `None` if the field of the output key is missing.
    partial_key: Option<PartialPseudonym>,
    term_end_ms: i64,
    is_thinned: bool,
    /// As [`NewOutput::thins_at_ms`].
    thins_at_ms: i64,
}

/// A message of a lane's source.
#[derive(Clone, Copy)]
pub(super) struct MessageRef<'a> {
    pub(super) lane: &'a Lane,
    pub(super) source: &'a LaneSource,
    pub(super) input: &'a Input<'a>,
}

impl<'a> MessageRef<'a> {
    /// The id of the record's patron: the message key, if it may be one.
    pub(super) fn patron_id(&self) -> Option<&'a str> {
        let key = self.input.key.and_then(|key| std::str::from_utf8(key).ok());
        key.filter(|key| !key.is_empty())
    }

    pub(super) fn position(&self, trigger: Trigger) -> RecordPosition<'a> {
        let Input { partition, offset, trace_parent, .. } = self.input;
        let foreign = match (trigger, trace_parent) {
            (Trigger::Arrival | Trigger::NamedPatron, Some(TraceParent::Operation(operation))) => {
                Some(operation)
            }
            _ => None,
        };
        let (partition, offset) = (*partition, *offset);
        RecordPosition { trigger, source: Some(self.source), partition, offset, foreign }
    }
}

/// The patron of a record.
#[derive(Clone, Copy)]
pub(super) enum RecordPatron<'a> {
    /// There must be no such record, whoever its patron is.
    Forbidden(Reason),
    /// The record has no patron, or is of the patron itself.
    NotJoined,
    Known(&'a PatronRow),
    Erased,
    /// The record is of whoever had the id before an erasure.
    BeforeErasure,
    Unknown,
}

impl<'a> RecordPatron<'a> {
    pub(super) fn row(self) -> Option<&'a PatronRow> {
        match self {
            RecordPatron::Known(row) => Some(row),
            RecordPatron::Forbidden(_)
            | RecordPatron::NotJoined
            | RecordPatron::Erased
            | RecordPatron::BeforeErasure
            | RecordPatron::Unknown => None,
        }
    }
}

/// Whether the source still has a record, and what is at hand of one that it has no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordPresence {
    Present,
    /// The version does not say it in a readable way.
    Malformed,
    /// The source no longer has it, or no longer knows whose it is. Nothing else of it is known.
    Gone,
    /// It is gone, and a version before is known, but not at hand: the record is decided again by
    /// that one.
    GoneBeforeReread,
    /// It is gone, and the last version that was not is at hand.
    GoneReread,
}

impl RecordPresence {
    /// Returns what the version at hand says.
    #[inline]
    pub(super) fn of_record(source: &LaneSource, record: RecordView<'_>) -> RecordPresence {
        let state = source.gone_slot.map(|slot| record.slot(slot));
        match state {
            None => RecordPresence::Present,
            Some(slot) if slot.state() == SlotState::True => RecordPresence::Gone,
            Some(slot) if slot.is_malformed() => RecordPresence::Malformed,
            Some(_) => RecordPresence::Present,
        }
    }

    fn is_gone(self) -> bool {
        !matches!(self, RecordPresence::Present | RecordPresence::Malformed)
    }

    /// Returns why a recipient does not get the record, whatever its fields say; `None` if they
    /// decide.
    #[inline]
    pub(super) fn refusal(self, program: &Program) -> Option<Refusal> {
        let is_thinned = || program.gates.thins_when_gone();
        match self {
            RecordPresence::Present => None,
            RecordPresence::Malformed => Some(Refusal::permanent(Reason::Malformed)),
            RecordPresence::GoneReread if is_thinned() => None,
            RecordPresence::GoneBeforeReread if is_thinned() => {
                Some(Refusal { keep_output: true, ..Refusal::changeable(Reason::RecordGone) })
            }
            RecordPresence::Gone
            | RecordPresence::GoneBeforeReread
            | RecordPresence::GoneReread => Some(Refusal::permanent(Reason::RecordGone)),
        }
    }
}

/// The record at hand.
#[derive(Clone, Copy)]
pub(super) struct RecordContext<'a> {
    pub(super) message: MessageRef<'a>,
    pub(super) trigger: Trigger,
    pub(super) patron: RecordPatron<'a>,
    pub(super) presence: RecordPresence,
    /// `None` if nothing is remembered of what was sent.
    pub(super) history: Option<RecordHistory<'a>>,
    /// The recipients that it is decided for, as indices of [`Lane::recipients`].
    pub(super) recipients: &'a [usize],
}

/// What recipients have of the record at hand.
#[derive(Clone, Copy)]
pub(super) struct RecordHistory<'a> {
    /// `None` if it was never decided.
    pub(super) row: Option<&'a DeliveryRow>,
    /// Ask recipients without a live entry, too.
    pub(super) asks_all: bool,
    pub(super) now_ms: i64,
    pub(super) state_keys: &'a StateKeys,
    /// Recipients that are sent again what they have.
    pub(super) refilled: &'a [u16],
    /// Whether outputs for a recipient wait for the next run; `false` beyond the end.
    pub(super) defers_outputs: &'a [bool],
}

impl RecordHistory<'_> {
    fn entry(&self, recipient: usize) -> Option<&DeliveryEntry> {
        self.row?.entry(recipient_index(recipient))
    }

    /// Whether the recipient's verdict may differ from the last one.
    fn must_ask(&self, recipient: usize) -> bool {
        self.asks_all || self.entry(recipient).is_some_and(DeliveryEntry::is_live)
    }

    fn first_decided_ms(&self, recipient: usize) -> i64 {
        let known = self.row.and_then(|row| row.first_decided_ms(recipient_index(recipient)));
        known.unwrap_or(self.now_ms)
    }

    /// Whether the last version of the record said otherwise of whether its patron is told.
    fn is_retold(&self, is_told: bool) -> bool {
        self.row.is_some_and(|row| row.is_told() != is_told)
    }

    /// `is_retold`: the ledger has to say so, which it does with an output.
    fn publication(&self, recipient: usize, new: &NewOutput, is_retold: bool) -> Publication {
        let is_unchanged = !is_retold
            && self.entry(recipient).is_some_and(|entry| {
                entry.outcome == DeliveryOutcome::Released
                    && (entry.output, entry.output_key, entry.output_hash)
                        == (new.output.0, new.key, new.hash)
                    && !self.refilled.contains(&recipient_index(recipient))
            });
        if is_unchanged {
            Publication::Unchanged
        } else if self.defers_outputs.get(recipient) == Some(&true) {
            Publication::Deferred
        } else {
            Publication::Sent
        }
    }
}

pub(super) fn recipient_index(recipient: usize) -> u16 {
    u16::try_from(recipient).unwrap_or(u16::MAX)
}

impl Decider {
    pub(super) fn projector_mut(&mut self) -> &mut Projector {
        &mut self.projector
    }

    /// Decides a record for all recipients of its source. With a history, the verdicts
    /// are left in [`Decider::decided`]; without one, they are applied at once.
    pub(super) fn decide(
        &mut self,
        batch: &mut Batch<'_>,
        record: &RecordContext<'_>,
        facts: &Facts<'_>,
    ) {
        self.projector.start_record();
        self.decided.verdicts.clear();
        self.decided.source_deletion_due_ms = source_deletion_due_ms(record, facts.record);
        self.decided.is_told = may_be_told(record, facts.record);
        self.admit_recipients(batch, record, facts);
        self.write_outputs(batch, record, facts);
    }

    /// Judges the record for each recipient, and begins the output keys: they are
    /// hashed while the next recipient is judged.
    #[inline(never)]
    fn admit_recipients(
        &mut self,
        batch: &mut Batch<'_>,
        record: &RecordContext<'_>,
        facts: &Facts<'_>,
    ) {
        let MessageRef { lane, .. } = record.message;
        let mut recheck_due_ms = i64::MAX;
        self.admitted.clear();
        // Consecutive recipients with the same checks share a released verdict: when
        // the first one was decided first, and the end of its term.
        let can_share_checks = facts.patron_consents.is_none() && !facts.record.has_malformed();
        let mut previous_terms: Option<(i64, i64)> = None;
        for &recipient in record.recipients {
            let Some(program) = lane.recipients.get(recipient) else {
                continue;
            };
            let mut first_ms = facts.now_ms;
            if let Some(history) = &record.history {
                if !history.must_ask(recipient) {
                    self.conclude(batch, record, (recipient, Verdict::NotAsked));
                    previous_terms = None;
                    continue;
                }
                first_ms = history.first_decided_ms(recipient);
            }
            let restricted_facts = facts.restrict_to_program(program);
            let facts = restricted_facts.as_ref().unwrap_or(facts);
            let verdict = match previous_terms {
                Some((first, term_end_ms))
                    if can_share_checks
                        && program.has_same_checks_as_previous
                        && first == first_ms =>
                {
                    Ok(term_end_ms)
                }
                _ => judge_recipient(record, facts, program, &mut recheck_due_ms)
                    .and_then(|()| check_term(facts, program, first_ms, &mut recheck_due_ms)),
            };
            previous_terms = verdict.ok().map(|term_end_ms| (first_ms, term_end_ms));
            let routed = |term_end_ms| Ok((select_output(facts, &program.route)?, term_end_ms));
            match verdict.and_then(routed) {
                Ok((output, term_end_ms)) => {
                    let is_gone = record.presence.is_gone();
                    let start_ms = program.gates.thinning.as_ref().map_or(i64::MAX, |thinning| {
                        thinning.start_ms(&facts.gate_input(program), is_gone)
                    });
                    let is_thinned = start_ms <= facts.now_ms;
                    let thins_at_ms = if is_thinned { i64::MAX } else { start_ms };
                    recheck_due_ms = recheck_due_ms.min(thins_at_ms);
                    self.admitted.push(AdmittedRecipient {
                        recipient,
                        output,
                        partial_key: self.projector.begin_output_key(facts, program),
                        term_end_ms,
                        is_thinned,
                        thins_at_ms,
                    });
                }
                Err(refusal) => {
                    self.conclude(batch, record, (recipient, Verdict::Refused(refusal)));
                }
            }
        }
        self.decided.recheck_due_ms = recheck_due_ms;
    }

    /// Writes the outputs of the recipients that may have the record.
    #[inline(never)]
    fn write_outputs(
        &mut self,
        batch: &mut Batch<'_>,
        record: &RecordContext<'_>,
        facts: &Facts<'_>,
    ) {
        let MessageRef { lane, source, .. } = record.message;
        let has_admitted = !self.admitted.is_empty();
        let suspected = has_admitted.then(|| facts.with_suspect_copies(source)).flatten();
        let facts = suspected.as_ref().unwrap_or(facts);
        for index in 0..self.admitted.len() {
            let admitted = self.admitted[index];
            let recipient = admitted.recipient;
            let Some(program) = lane.recipients.get(recipient) else {
                continue;
            };
            let restricted_facts = facts.restrict_to_program(program);
            let facts = restricted_facts.as_ref().unwrap_or(facts);
            let written = match admitted.partial_key {
                Some(partial_key) => {
                    let key = program.pseudonymiser.finish_hash(partial_key);
                    let target =
                        OutputTarget { program, key: &key, is_thinned: admitted.is_thinned };
                    let output = (admitted.output, target);
                    let written = self.write_output(batch.outbox, facts, output);
                    let layout_hash = program.avro.as_ref().map_or(0, |avro| avro.layout_hash());
                    let other_persons = find_other_persons(record, facts, program);
                    written.map(|bytes| WrittenOutput {
                        admitted,
                        key,
                        bytes,
                        layout_hash,
                        other_persons,
                    })
                }
                None => Err(Reason::KeyMissing),
            };
            match written {
                Ok(written) => {
                    let is_sent = self.finish_output(batch, record, written);
                    if !self.report.omitted.is_empty()
                        && (is_sent || record.trigger == Trigger::Arrival)
                    {
                        report_omitted(batch, record, recipient, &self.report.omitted);
                    }
                }
                Err(reason) => {
                    // Another row of the patron may bring an output all the same.
                    let may_change =
                        !program.needed_patron_fields.is_empty() || program.demanded_list.is_some();
                    let refusal = Refusal::changeable_if(may_change, reason);
                    self.conclude(batch, record, (recipient, Verdict::Refused(refusal)));
                }
            }
        }
    }

    /// Writes the output of a record for one recipient; returns its bytes.
    #[inline]
    fn write_output(
        &mut self,
        outbox: &mut Outbox,
        facts: &Facts<'_>,
        (output, target): (OutputId, OutputTarget<'_>),
    ) -> Result<usize, Reason> {
        let Decider { projector, report, .. } = self;
        let OutputTarget { program, key, .. } = target;
        if program.has_projection_counts {
            report.counts = ProjectionCounts::default();
        }
        outbox.try_push_with(output, None, |buffer, start| {
            let start = buffer.write_words(start, key.to_words(), PSEUDONYM_LENGTH);
            let end = projector.project(facts, target, (buffer, start), report);
            if end - start > facts.lane.output_bytes_max {
                return Err(Reason::TooLarge);
            }
            if let Some(avro) = &program.avro {
                check_encodable(avro, buffer.written_between(start, end))?;
            }
            Ok((Some(start), end))
        })
    }

    /// Takes an output out of the outbox again if it is not to be sent, and counts its
    /// bytes. Returns whether it is sent.
    #[inline]
    fn finish_output(
        &mut self,
        batch: &mut Batch<'_>,
        record: &RecordContext<'_>,
        written: WrittenOutput,
    ) -> bool {
        let WrittenOutput { admitted: AdmittedRecipient { recipient, output, .. }, .. } = written;
        if let Some(history) = &record.history {
            let value = batch.outbox.last().and_then(|last| last.value);
            let mut new = NewOutput {
                output,
                key: written.key.to_bits(),
                hash: history.state_keys.hash_bytes(value.unwrap_or_default())
                    ^ written.layout_hash,
                term_end_ms: written.admitted.term_end_ms,
                publication: Publication::Sent,
                is_thinned: written.admitted.is_thinned,
                thins_at_ms: written.admitted.thins_at_ms,
                other_persons: written.other_persons,
            };
            let program = record.message.lane.recipients.get(recipient);
            let is_retold = program.is_some_and(|program| program.tells_by_record)
                && history.is_retold(self.decided.is_told);
            new.publication = history.publication(recipient, &new, is_retold);
            let recipient = recipient_index(recipient);
            let verdict = Verdict::Released(new);
            self.decided.verdicts.push(RecipientVerdict { recipient, verdict });
            if new.publication != Publication::Sent {
                batch.outbox.pop_last();
                return false;
            }
        } else {
            let is_thinned = written.admitted.is_thinned;
            let change = Change {
                is_thinned,
                ..Change::without_entry(recipient_index(recipient), Effect::Release)
            };
            batch.apply(record.message.position(record.trigger), change);
        }
        let counts = &mut batch.tally.recipients[recipient];
        counts.bytes += written.bytes as u64;
        if record.message.lane.recipients[recipient].has_projection_counts {
            counts.projection_counts.add(&self.report.counts);
        }
        true
    }

    /// Notes a verdict that no output was written for.
    #[inline(never)]
    fn conclude(
        &mut self,
        batch: &mut Batch<'_>,
        record: &RecordContext<'_>,
        (recipient, verdict): (usize, Verdict),
    ) {
        let recipient = recipient_index(recipient);
        if record.history.is_some() {
            return self.decided.verdicts.push(RecipientVerdict { recipient, verdict });
        }
        let terms = Terms::unconditional(recipient, batch.now.ms());
        let (_, effect) = transition(None, verdict, &terms);
        let change = Change::without_entry(recipient, effect);
        batch.apply(record.message.position(record.trigger), change);
    }
}

/// Refuses an output that cannot be written in Avro as it is.
#[cold]
#[inline(never)]
fn check_encodable(avro: &AvroOutput, output: &[u8]) -> Result<(), Reason> {
    avro.encode(output, &mut Vec::new()).map_err(|_| Reason::Malformed)
}

/// An output that is the last message of the outbox.
struct WrittenOutput {
    admitted: AdmittedRecipient,
    key: Pseudonym,
    bytes: usize,
    /// Part of what tells it from another output; 0 for JSON.
    layout_hash: u64,
    /// As [`NewOutput::other_persons`].
    other_persons: OtherPersons,
}

/// Finds whom an output may be about beside its patron, where that is written down.
#[inline]
fn find_other_persons(
    record: &RecordContext<'_>,
    facts: &Facts<'_>,
    program: &Program,
) -> OtherPersons {
    let mut found = OtherPersons::default();
    let Some(history) = &record.history else {
        return found;
    };
    if program.other_persons.is_empty() || facts.lane.ledger.is_none() {
        return found;
    }
    for (index, person) in program.other_persons.iter().enumerate() {
        let id = match &person.id {
            OtherPersonId::NamedPatron => facts.named_patron.map(|patron| patron.id),
            OtherPersonId::Field(field) => facts.text(Some(*field)),
            OtherPersonId::OfPatronRecord(path) => facts.demanded_text(path),
        };
        if let Some(id) = id.filter(|id| !id.is_empty() && record.message.patron_id() != Some(id)) {
            found.set(index, history.state_keys.patron_hash(id));
        }
    }
    found
}

/// Counts what was left out of an output, and writes a dead letter for each value.
#[cold]
#[inline(never)]
fn report_omitted(
    batch: &mut Batch<'_>,
    record: &RecordContext<'_>,
    recipient: usize,
    omitted: &[OmittedValue],
) {
    batch.tally.recipients[recipient].omitted_values += omitted.len() as u64;
    let program = &record.message.lane.recipients[recipient];
    for one in omitted {
        let step = program.steps.get(one.step_index);
        let field = step.map(|step| step.field_name(one.sub_field_index));
        let scope = DeadLetterScope { recipient: Some(&program.name), field: field.as_deref() };
        let position = record.message.position(record.trigger);
        batch.write_dead_letter(position, Reason::NationalNumber, scope);
    }
}

/// Returns when the source must have deleted its copy of a record; `None` if it has, if it need
/// not, or if the record counts no longer.
#[inline]
fn source_deletion_due_ms(record: &RecordContext<'_>, view: RecordView<'_>) -> Option<i64> {
    let rule = record.message.source.source_deletion?;
    let is_there = match record.patron {
        RecordPatron::NotJoined | RecordPatron::Known(_) | RecordPatron::Unknown => true,
        RecordPatron::Forbidden(_) | RecordPatron::Erased | RecordPatron::BeforeErasure => false,
    };
    let history = record.history.as_ref().filter(|_| is_there && !record.presence.is_gone())?;
    let first_ms = history.row.map_or(history.now_ms, |row| row.first_decided_ms);
    rule.due_ms(view, first_ms)
}

/// Returns whether the patron of a record may be told of it, where recipients keep others of its kind
/// from patrons. A version that says that the record is gone changes nothing.
#[inline]
fn may_be_told(record: &RecordContext<'_>, view: RecordView<'_>) -> bool {
    let Some(slot) = record.message.source.told_unless_slot else {
        return false;
    };
    if record.presence.is_gone() {
        let row = record.history.as_ref().and_then(|history| history.row);
        return row.is_some_and(DeliveryRow::is_told);
    }
    view.slot(slot).state() == SlotState::False
}

/// Returns whether a recipient may have a record, whatever its term.
#[inline]
fn judge_recipient(
    record: &RecordContext<'_>,
    facts: &Facts<'_>,
    program: &Program,
    recheck_due_ms: &mut i64,
) -> Result<(), Refusal> {
    let source = record.message.source;
    if program.ignores_patron && !matches!(record.patron, RecordPatron::Forbidden(_)) {
        return match record.presence.refusal(program) {
            Some(refusal) => Err(refusal),
            None => admit(facts, source, program, recheck_due_ms),
        };
    }
    match record.patron {
        RecordPatron::Forbidden(reason) => Err(Refusal::permanent(reason)),
        RecordPatron::Erased => {
            let is_patron = source.kind.role == Role::Patron;
            Err(Refusal::changeable_if(!is_patron, Reason::PatronErased))
        }
        RecordPatron::BeforeErasure => Err(Refusal::permanent(Reason::PatronErased)),
        RecordPatron::Unknown
            if record.presence == RecordPresence::GoneBeforeReread
                && program.gates.thins_when_gone() =>
        {
            Err(Refusal::changeable(Reason::PatronUnknown))
        }
        _ if let Some(refusal) = record.presence.refusal(program) => Err(refusal),
        RecordPatron::Unknown => {
            check_without_patron(facts, source, program, recheck_due_ms)?;
            Err(Refusal::changeable(Reason::PatronUnknown))
        }
        RecordPatron::Known(_) | RecordPatron::NotJoined => {
            admit(facts, source, program, recheck_due_ms)
        }
    }
}

/// Returns when the recipient's term for a record ends, or a condition of the record itself if
/// that is earlier; refuses if the term has ended.
pub(super) fn check_term(
    facts: &Facts<'_>,
    program: &Program,
    first_ms: i64,
    recheck_due_ms: &mut i64,
) -> Result<i64, Refusal> {
    let retention = &program.gates.retention;
    let until_ms = retention.end_ms(facts.value(retention.from), facts.is_active_member, first_ms);
    if until_ms <= facts.now_ms {
        let joined = retention.from.is_joined || retention.is_paused_by_membership;
        return Err(Refusal::changeable_if(joined, Reason::Lapsed));
    }
    *recheck_due_ms = (*recheck_due_ms).min(until_ms);
    let conditions = program.ending_conditions.iter();
    let ends_ms = conditions.filter_map(|one| {
        let range = one.test.time_range()?;
        Some(range.interval_ms(facts.value(one.field).as_text()?)?.end)
    });
    Ok(ends_ms.fold(until_ms, i64::min))
}
