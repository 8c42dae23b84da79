//! What an effect does: the one place that writes tombstones, counts and dead letters
//! for recipients.
//!
//! Outputs themselves lie in the outbox already when their effect is applied.
//! Whatever else has to know what recipients got or lost is told here, in
//! [`Batch::apply`].

use super::transition::{Effect, Terms, transition};
use crate::engine::batch::{Batch, DeadLetterScope, PatronFacts, RecordPosition, Trigger};
use crate::engine::decide::{MessageRef, Verdict, recipient_index};
use crate::engine::lane::ledger::LaneLedger;
use crate::engine::ledger_lines::{DecisionId, PendingLine};
use crate::engine::memory::consents::PatronConsents;
use crate::engine::memory::deliveries::row_json::encode_bits;
use crate::engine::memory::deliveries::{
    DeliveryEntry, DeliveryOutcome, DeliveryRow, OtherPersons, PatronHash, RowBuilder,
};
use crate::engine::tally::{RecipientTally, RetractionOrigin};
use crate::ledger::Operation;
use crate::message::OutputId;
use crate::policy::consent::LATEST_NS;
use crate::policy::reason::Reason;
use crate::policy::retraction::RetractionReason;

/// What changes for one recipient of a record.
#[derive(Clone, Copy)]
pub(crate) struct Change<'a> {
    pub(crate) recipient: u16,
    pub(crate) effect: Effect,
    /// Its entry so far, and its next one.
    pub(crate) had: Option<&'a DeliveryEntry>,
    pub(crate) entry: Option<&'a DeliveryEntry>,
    /// The output that it gets goes without some fields.
    pub(crate) is_thinned: bool,
    /// The patron of the record, for the ledger; `None` if it has none.
    pub(crate) patron: Option<PatronHash>,
    /// Whom what the recipient has is about beside the patron, and whom what it gets may be.
    pub(crate) other_persons: ChangedPersons,
    /// When the patron last objected to marketing, if it says when.
    pub(crate) objected_ms: Option<i64>,
    /// The record's patron may be told of it.
    pub(crate) is_told: bool,
}

/// Persons beside the patron, before a change and after it.
#[derive(Clone, Copy, Default)]
pub(crate) struct ChangedPersons {
    had: OtherPersons,
    /// By the indices of the program's [`Program::other_persons`](crate::engine::lane::Program).
    next: OtherPersons,
}

impl Change<'_> {
    /// A change for a recipient that has nothing.
    pub(crate) fn without_entry(recipient: u16, effect: Effect) -> Change<'static> {
        Change {
            recipient,
            effect,
            had: None,
            entry: None,
            is_thinned: false,
            patron: None,
            other_persons: ChangedPersons::default(),
            objected_ms: None,
            is_told: false,
        }
    }
}

impl Effect {
    /// Returns why a dead letter says that one recipient does not get the record.
    fn dead_letter_reason(self, trigger: Trigger) -> Option<Reason> {
        match self {
            // All recipients have waited equally long: one dead letter is about all.
            Effect::Drop(reason) => (reason != Reason::HoldExpired).then_some(reason),
            Effect::Withhold(reason) | Effect::Retract(reason) => {
                let is_faulty = match trigger {
                    Trigger::Arrival => {
                        matches!(reason, Reason::Malformed | Reason::TooLarge | Reason::HoldFull)
                    }
                    // The record itself is reported once.
                    Trigger::NamedPatron => reason == Reason::TooLarge,
                    Trigger::Recheck | Trigger::SourceGone | Trigger::RowOnly => false,
                };
                is_faulty.then_some(reason)
            }
            _ => None,
        }
    }
}

impl Batch<'_> {
    /// Does what a change says: writes dead letter and tombstone, and counts. Returns whom what the
    /// recipient has then is about beside the patron, as the ledger says.
    #[inline]
    pub(crate) fn apply(&mut self, record: RecordPosition<'_>, change: Change<'_>) -> OtherPersons {
        let Change { recipient, effect, had, entry, is_thinned, .. } = change;
        if let Some(reason) = effect.dead_letter_reason(record.trigger) {
            let lane = self.lane;
            let scope = DeadLetterScope { recipient: lane.recipient_name(recipient), field: None };
            self.write_dead_letter(record, reason, scope);
        }
        match (effect, had) {
            (Effect::Retract(reason), Some(had)) => {
                self.push_retraction(had, RetractionReason::of(reason));
            }
            (Effect::Correct, Some(had)) if is_replaced(had, entry) => {
                self.push_retraction(had, RetractionReason::Replaced);
            }
            _ => {}
        }
        let other_persons = match &self.lane.ledger {
            Some(ledger) => self.note_in_ledger(ledger, record, &change),
            None => OtherPersons::default(),
        };
        let index = usize::from(recipient);
        let served = self.tally.recipients.len();
        if let Effect::Retract(reason) = effect
            && index < served
        {
            let is_new_version = record.trigger == Trigger::Arrival;
            let partition = record.partition;
            let origin = RetractionOrigin { partition, recipient, reason, is_new_version };
            *self.tally.retractions.entry(origin).or_default() += 1;
        }
        let counts = match self.tally.recipients.get_mut(index) {
            Some(counts) => counts,
            None => self.tally.former_recipient(index - served),
        };
        count_effect(counts, record.trigger, effect);
        let is_published = matches!(effect, Effect::Release | Effect::Correct);
        counts.thinned += u64::from(is_published && is_thinned);
        if effect == Effect::Retract(Reason::ObjectionMarketing) {
            counts.marketing_objections_ms.extend(change.objected_ms);
        }
        other_persons
    }

    /// Applies an effect of an arrived record to all recipients of its source alike.
    pub(crate) fn apply_to_all(&mut self, message: MessageRef<'_>, effect: Effect) {
        for &recipient in &message.source.recipient_indices {
            let change = Change::without_entry(recipient_index(recipient), effect);
            self.apply(message.position(Trigger::Arrival), change);
        }
    }

    /// Adds the lines of what a recipient got or lost, and of a refusal that is logged. Returns as
    /// [`Batch::apply`].
    #[cold]
    fn note_in_ledger(
        &mut self,
        ledger: &LaneLedger,
        record: RecordPosition<'_>,
        change: &Change<'_>,
    ) -> OtherPersons {
        let Change { recipient, effect, had, entry, patron, .. } = *change;
        let source = record.source.map(|source| source.index);
        let decision = (source, record.partition, record.offset, record.trigger as u8);
        let line = |operation, reason, of: Option<&DeliveryEntry>| PendingLine {
            partition: record.partition,
            recipient,
            patron,
            operation,
            reason,
            fields: 0,
            output: of.map(|of| (of.output, of.output_key)),
            foreign: record.foreign.copied(),
            is_told: change.is_told,
            is_of_other_person: false,
            decision: 0,
        };
        let had_persons = change.other_persons.had;
        let lines = match (effect, had, entry) {
            (Effect::Release, _, Some(entry)) => {
                let line = line(Operation::Release, None, Some(entry));
                [None, Some(line.with_fields(ledger, self.outbox, entry))]
            }
            (Effect::Correct, Some(had), Some(entry)) => {
                let rekeyed = || line(Operation::Retract, Some(Reason::Rekeyed), Some(had));
                let line = line(Operation::Correct, None, Some(entry));
                let line = line.with_fields(ledger, self.outbox, entry);
                [is_replaced(had, Some(entry)).then(rekeyed), Some(line)]
            }
            (Effect::Retract(reason), Some(had), _) => {
                [None, Some(line(Operation::Retract, Some(reason), Some(had)))]
            }
            (Effect::Forget, Some(had), _) => {
                [None, Some(line(Operation::Forget, Some(Reason::Lapsed), Some(had)))]
            }
            (Effect::Withhold(reason), had, _)
                if ledger.logs_refusal(reason)
                    && !had.is_some_and(DeliveryEntry::is_sent)
                    && is_news(record.trigger, had, reason) =>
            {
                [None, Some(line(Operation::Refuse, Some(reason), None))]
            }
            _ => return had_persons,
        };
        let mut persons = change.other_persons;
        let mut told = OtherPersons::default();
        for line in lines.into_iter().flatten() {
            self.ledger_lines.push(decision, line);
            told = self.note_other_persons(decision, line, persons);
            // Of an output under another key, all of the former one were told already.
            persons.had = persons.had.among(persons.next);
        }
        told
    }

    /// Adds a line for each other person whom an operation is about, behind its own. Returns whom
    /// what the recipient has then is about.
    fn note_other_persons(
        &mut self,
        decision: DecisionId,
        line: PendingLine,
        ChangedPersons { had, next }: ChangedPersons,
    ) -> OtherPersons {
        let mut told = OtherPersons::default();
        let of_person = |person| PendingLine {
            patron: Some(person),
            fields: 0,
            is_of_other_person: true,
            ..line
        };
        if !matches!(line.operation, Operation::Release | Operation::Correct) {
            for (_, person) in had.iter() {
                self.ledger_lines.push(decision, of_person(person));
            }
            return told;
        }
        let program = self.lane.recipients.get(usize::from(line.recipient));
        let persons = program.map_or(&[][..], |program| &program.other_persons);
        let leaves_of = |index: usize| persons.get(index).map_or(0, |person| person.leaves);
        for (_, person) in next.iter() {
            // One person may be the other one in two ways.
            let same = next.iter().filter(|(_, other)| *other == person);
            let leaves = same.fold(0, |leaves, (index, _)| leaves | leaves_of(index));
            let fields = line.fields & leaves;
            if fields == 0 || told.contains(person) {
                continue;
            }
            let operation =
                if had.contains(person) { Operation::Correct } else { Operation::Release };
            self.ledger_lines
                .push(decision, PendingLine { operation, fields, ..of_person(person) });
            told.add(person);
        }
        // Nothing was taken back, but what the recipient has is no longer about them.
        for (_, person) in had.iter().filter(|(_, person)| !told.contains(*person)) {
            let operation = Operation::Retract;
            self.ledger_lines.push(decision, PendingLine { operation, ..of_person(person) });
        }
        told
    }

    fn push_retraction(&mut self, had: &DeliveryEntry, reason: RetractionReason) {
        self.outbox.push_retraction(OutputId(had.output), &encode_bits(had.output_key), reason);
    }
}

/// Whether an output takes the place of another one under another key.
fn is_replaced(had: &DeliveryEntry, entry: Option<&DeliveryEntry>) -> bool {
    entry.is_none_or(|entry| (entry.output, entry.output_key) != (had.output, had.output_key))
}

/// Whether a refusal was not told before.
fn is_news(trigger: Trigger, had: Option<&DeliveryEntry>, reason: Reason) -> bool {
    trigger == Trigger::Arrival || had.is_none_or(|had| had.reason != Some(reason))
}

fn count_effect(counts: &mut RecipientTally, trigger: Trigger, effect: Effect) {
    let rechecked = &mut counts.rechecked;
    match (trigger, effect) {
        (_, Effect::Skip) => {}
        (Trigger::Arrival, Effect::Release | Effect::Correct) => counts.released += 1,
        (Trigger::Arrival, Effect::Unchanged) => counts.unchanged += 1,
        (Trigger::Arrival, Effect::Hold) => counts.held += 1,
        (Trigger::Arrival, Effect::Retract(reason)) => counts.retracted[reason as usize] += 1,
        (Trigger::Arrival, Effect::Keep(reason) | Effect::Withhold(reason)) => {
            counts.withheld[reason as usize] += 1;
        }
        (Trigger::Arrival, Effect::Forget) => {
            rechecked.forgotten += 1;
            counts.withheld[Reason::Lapsed as usize] += 1;
        }
        (_, Effect::Release) => rechecked.released += 1,
        (_, Effect::Correct) => rechecked.corrected += 1,
        (_, Effect::Forget) => rechecked.forgotten += 1,
        (_, Effect::Retract(reason)) => rechecked.retracted[reason as usize] += 1,
        (Trigger::Recheck, _) => rechecked.unchanged += 1,
        (Trigger::Arrival | Trigger::SourceGone | Trigger::RowOnly | Trigger::NamedPatron, _) => {}
    }
    let is_gone = matches!(
        effect,
        Effect::Drop(Reason::SourceGone)
            | Effect::Retract(Reason::SourceGone)
            | Effect::Withhold(Reason::SourceGone)
    );
    rechecked.source_gone += u64::from(is_gone && trigger == Trigger::SourceGone);
}

/// The next entries of a row, recipient by recipient.
pub(crate) struct RowUpdate<'a> {
    record: RecordPosition<'a>,
    /// `None` if nothing is known of the record yet.
    row: Option<&'a DeliveryRow>,
    now_ms: i64,
    /// The patron of the record, for the ledger; `None` if it has none.
    patron: Option<PatronHash>,
    /// As [`Change::objected_ms`].
    objected_ms: Option<i64>,
    /// As [`Change::is_told`].
    is_told: bool,
    pub(crate) entries: RowBuilder,
}

impl<'a> RowUpdate<'a> {
    pub(crate) fn new(
        record: RecordPosition<'a>,
        row: Option<&'a DeliveryRow>,
        (patron, now_ms): (Option<PatronHash>, i64),
    ) -> RowUpdate<'a> {
        let entries = RowBuilder::with_capacity(row.map_or(0, |row| row.entries.len()));
        let is_told = row.is_some_and(DeliveryRow::is_told);
        RowUpdate { record, row, now_ms, patron, objected_ms: None, is_told, entries }
    }

    /// The same for a patron of whom this is known.
    pub(crate) fn with_patron_facts(self, patron: PatronFacts<'_>) -> RowUpdate<'a> {
        let objected_ns = patron.consents.and_then(PatronConsents::marketing_objection_ns);
        let objected_ns = objected_ns.filter(|at_ns| *at_ns != LATEST_NS);
        RowUpdate { objected_ms: objected_ns.map(|at_ns| at_ns / 1_000_000), ..self }
    }

    /// The same of a record that says itself whether its patron may be told of it.
    pub(crate) fn with_told(self, is_told: bool) -> RowUpdate<'a> {
        RowUpdate { is_told, ..self }
    }

    fn push(&mut self, entry: DeliveryEntry) {
        let first_ms = self.row.and_then(|row| row.first_decided_ms(entry.recipient));
        self.entries.push(entry, first_ms.unwrap_or(self.now_ms));
    }

    /// Adds an entry as it is.
    pub(crate) fn keep(&mut self, entry: DeliveryEntry) {
        self.push(entry);
        let thins_at_ms = self.row.map_or(i64::MAX, |row| row.thins_at_ms(entry.recipient));
        if entry.outcome == DeliveryOutcome::Released {
            self.entries.note_thinning(entry.recipient, thins_at_ms);
        }
        if entry.is_sent() {
            self.entries.note_other_persons(entry.recipient, self.had_persons(entry.recipient));
        }
    }

    fn had_persons(&self, recipient: u16) -> OtherPersons {
        self.row.map_or_else(OtherPersons::default, |row| row.other_persons(recipient))
    }

    /// Decides for one recipient, applies the effect, and adds the next entry.
    pub(crate) fn decide(
        &mut self,
        batch: &mut Batch<'_>,
        verdict: Verdict,
        terms: &Terms,
    ) -> Effect {
        let recipient = terms.recipient;
        let had = self.row.and_then(|row| row.entry(recipient));
        let (entry, effect) = transition(had, verdict, terms);
        let is_thinned = entry.is_some_and(|entry| entry.is_thinned);
        let change = Change {
            recipient,
            effect,
            had,
            entry: entry.as_ref(),
            is_thinned,
            patron: self.patron,
            other_persons: ChangedPersons {
                had: self.had_persons(recipient),
                next: match verdict {
                    Verdict::Released(output) => output.other_persons,
                    Verdict::Refused(_) | Verdict::NotAsked => OtherPersons::default(),
                },
            },
            objected_ms: self.objected_ms,
            is_told: self.is_told,
        };
        let other_persons = batch.apply(self.record, change);
        match (entry, verdict) {
            (Some(entry), Verdict::Released(output)) => {
                self.push(entry);
                self.entries.note_thinning(recipient, output.thins_at_ms);
                self.entries.note_other_persons(recipient, other_persons);
            }
            (Some(entry), _) => self.keep(entry),
            (None, _) => {}
        }
        effect
    }

    /// Applies an effect that needs no verdict.
    pub(crate) fn apply(&self, batch: &mut Batch<'_>, had: &DeliveryEntry, effect: Effect) {
        let change = Change {
            had: Some(had),
            patron: self.patron,
            other_persons: ChangedPersons {
                had: self.had_persons(had.recipient),
                ..ChangedPersons::default()
            },
            is_told: self.is_told,
            ..Change::without_entry(had.recipient, effect)
        };
        batch.apply(self.record, change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names what an effect counts.
    fn counted(trigger: Trigger, effect: Effect) -> String {
        let mut counts = RecipientTally::default();
        count_effect(&mut counts, trigger, effect);
        let rechecked = &counts.rechecked;
        let sum = |counts: &[u64]| counts.iter().sum::<u64>();
        let all = [
            ("released", counts.released),
            ("unchanged", counts.unchanged),
            ("held", counts.held),
            ("withheld", sum(&counts.withheld)),
            ("retracted", sum(&counts.retracted)),
            ("later released", rechecked.released),
            ("later corrected", rechecked.corrected),
            ("later unchanged", rechecked.unchanged),
            ("later retracted", sum(&rechecked.retracted)),
            ("later forgotten", rechecked.forgotten),
            ("source gone", rechecked.source_gone),
        ];
        let counted = all.iter().filter(|(_, count)| *count == 1).map(|(name, _)| *name);
        counted.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn effect_counts_by_trigger() {
        let (arrival, recheck) = (Trigger::Arrival, Trigger::Recheck);
        let (gone, row_only) = (Trigger::SourceGone, Trigger::RowOnly);
        let (lapsed, source_gone) = (Reason::Lapsed, Reason::SourceGone);
        #[rustfmt::skip]
        let table = [
            (Effect::Release, ["released", "later released", "later released", "later released"]),
            (Effect::Correct, ["released", "later corrected", "later corrected", "later corrected"]),
            (Effect::Unchanged, ["unchanged", "later unchanged", "", ""]),
            (Effect::Keep(lapsed), ["withheld", "later unchanged", "", ""]),
            (Effect::Retract(lapsed), ["retracted", "later retracted", "later retracted",
                "later retracted"]),
            (Effect::Retract(source_gone), ["retracted", "later retracted",
                "later retracted, source gone", "later retracted"]),
            (Effect::Withhold(lapsed), ["withheld", "later unchanged", "", ""]),
            (Effect::Withhold(source_gone), ["withheld", "later unchanged", "source gone", ""]),
            (Effect::Hold, ["held", "later unchanged", "", ""]),
            (Effect::Forget, ["withheld, later forgotten", "later forgotten", "later forgotten",
                "later forgotten"]),
            (Effect::Drop(source_gone), ["", "later unchanged", "source gone", ""]),
            (Effect::Skip, ["", "", "", ""]),
        ];
        for (effect, expected) in table {
            let found = [arrival, recheck, gone, row_only].map(|one| counted(one, effect));
            assert_eq!(found, expected, "{effect:?}");
        }
    }
}
