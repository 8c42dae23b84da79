//! What a verdict makes of what a recipient has of a record.
//!
//! Pure: [`transition`] writes and counts nothing. What has to be done is an [`Effect`],
//! and [`Batch::apply`](super::apply) does it.

use crate::engine::decide::{NewOutput, Publication, Verdict};
use crate::engine::lane::gates::Refusal;
use crate::engine::memory::deliveries::{DeliveryEntry, DeliveryOutcome};
use crate::policy::reason::Reason;
use crate::policy::recipient::RetentionAction;

/// What a decision changes for one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It gets an output, and had none.
    Release,
    /// It gets another output than it has.
    Correct,
    /// It has the same output already.
    Unchanged,
    /// It would no longer get the record, but keeps its output until its term ends.
    Keep(Reason),
    /// It loses its output.
    Retract(Reason),
    /// It gets nothing now, and loses nothing now.
    Withhold(Reason),
    /// The record waits for its patron.
    Hold,
    /// Its term is over: it keeps its output, which is tracked no longer.
    Forget,
    /// The record waited for its patron, and does so no longer.
    Drop(Reason),
    /// The recipient was not asked.
    Skip,
}

/// What a transition depends on beside entry and verdict.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) recipient: u16,
    /// Hash of all that the verdict depends on beside the record.
    pub(crate) fingerprint: u64,
    /// What becomes of an output when its term is over.
    pub(crate) after: RetentionAction,
    pub(crate) now_ms: i64,
    /// Retractions wait for the next run of a recipient with a period.
    pub(crate) defers_retraction: bool,
}

impl Terms {
    /// The terms of an entry that ends whatever it depends on.
    pub(crate) fn unconditional(recipient: u16, now_ms: i64) -> Terms {
        let after = RetentionAction::Retract;
        Terms { recipient, fingerprint: 0, after, now_ms, defers_retraction: false }
    }
}

/// Returns the recipient's next entry, if it has to have one, and what changes for it.
/// `had` is its entry so far.
pub(crate) fn transition(
    had: Option<&DeliveryEntry>,
    verdict: Verdict,
    terms: &Terms,
) -> (Option<DeliveryEntry>, Effect) {
    match verdict {
        Verdict::Released(output) => {
            let (entry, effect) = release(had, output, terms);
            (Some(entry), effect)
        }
        Verdict::Refused(refusal) => refuse(had, refusal, terms),
        Verdict::NotAsked => (had.copied(), Effect::Skip),
    }
}

fn release(
    had: Option<&DeliveryEntry>,
    output: NewOutput,
    terms: &Terms,
) -> (DeliveryEntry, Effect) {
    let decided = DeliveryEntry {
        output: output.output.0,
        output_key: output.key,
        output_hash: output.hash,
        fingerprint: terms.fingerprint,
        term_end_or_held_since_ms: output.term_end_ms,
        is_thinned: output.is_thinned,
        ..DeliveryEntry::without_output(terms.recipient, DeliveryOutcome::Released, None)
    };
    let sent = had.filter(|had| had.is_sent());
    match (output.publication, sent) {
        (Publication::Sent, Some(_)) => (decided, Effect::Correct),
        (Publication::Sent, None) => (decided, Effect::Release),
        (Publication::Unchanged, _) => (decided, Effect::Unchanged),
        (Publication::Deferred, _) => {
            (pending_entry(sent, &decided), Effect::Withhold(Reason::Unpublished))
        }
    }
}

/// The entry of a recipient for which `decided` waits for the next run.
fn pending_entry(sent: Option<&DeliveryEntry>, decided: &DeliveryEntry) -> DeliveryEntry {
    let mut entry = sent.copied().unwrap_or_else(|| DeliveryEntry::unpublished(decided));
    entry.reason = Some(Reason::Unpublished);
    entry.may_change = true;
    entry.fingerprint = decided.fingerprint;
    if entry.outcome == DeliveryOutcome::Released {
        entry.term_end_or_held_since_ms = decided.term_end_or_held_since_ms;
    }
    entry
}

fn refuse(
    had: Option<&DeliveryEntry>,
    mut refusal: Refusal,
    terms: &Terms,
) -> (Option<DeliveryEntry>, Effect) {
    let Terms { fingerprint, now_ms, .. } = *terms;
    let outcome = had.map(|had| had.outcome);
    if let Some(had) = had.filter(|had| had.outcome == DeliveryOutcome::Released) {
        if refusal.keep_output && had.term_end_ms() > now_ms {
            let kept = DeliveryEntry { fingerprint, reason: None, may_change: true, ..*had };
            return (Some(kept), Effect::Keep(refusal.reason));
        } else if refusal.keep_output {
            refusal = Refusal::changeable(Reason::Lapsed);
        } else if let Some(reason) = refusal.override_reason {
            refusal.reason = reason;
        }
        if refusal.reason == Reason::Lapsed && terms.after == RetentionAction::Forget {
            return (Some(forgotten_entry(had)), Effect::Forget);
        }
    }
    let Refusal { reason, may_change, .. } = refusal;
    let sent = had.filter(|had| had.is_sent());
    match (outcome, sent) {
        (Some(DeliveryOutcome::Forgotten), _) if reason != Reason::PatronErased => {
            (had.copied(), Effect::Withhold(reason))
        }
        (Some(DeliveryOutcome::Held), _)
            if matches!(reason, Reason::SourceGone | Reason::HoldExpired) =>
        {
            (None, Effect::Drop(reason))
        }
        (_, Some(sent)) if terms.defers_retraction => {
            let entry = DeliveryEntry { reason: Some(reason), may_change, fingerprint, ..*sent };
            (Some(entry), Effect::Withhold(reason))
        }
        _ => {
            let entry = refused_entry(had, refusal, terms);
            let effect = match (sent, entry.outcome) {
                (Some(_), _) => Effect::Retract(reason),
                (None, DeliveryOutcome::Held) => Effect::Hold,
                (None, _) => Effect::Withhold(reason),
            };
            let is_kept = entry.is_live() || entry.outcome == DeliveryOutcome::Retracted;
            (is_kept.then_some(entry), effect)
        }
    }
}

/// The entry of a recipient that keeps what it has, and is tracked no longer.
fn forgotten_entry(had: &DeliveryEntry) -> DeliveryEntry {
    DeliveryEntry {
        outcome: DeliveryOutcome::Forgotten,
        reason: Some(Reason::Lapsed),
        output_hash: 0,
        term_end_or_held_since_ms: i64::MAX,
        fingerprint: 0,
        ..*had
    }
}

/// The entry of a recipient that has no output.
fn refused_entry(had: Option<&DeliveryEntry>, refusal: Refusal, terms: &Terms) -> DeliveryEntry {
    let Refusal { reason, may_change, .. } = refusal;
    let mut entry = DeliveryEntry {
        may_change,
        fingerprint: terms.fingerprint,
        ..DeliveryEntry::without_output(terms.recipient, DeliveryOutcome::Withheld, Some(reason))
    };
    if reason == Reason::PatronUnknown && may_change {
        entry.outcome = DeliveryOutcome::Held;
        let held_ms = had.and_then(DeliveryEntry::held_since_ms);
        entry.term_end_or_held_since_ms = held_ms.unwrap_or(terms.now_ms);
    } else if let Some(had) = had {
        if had.is_sent() {
            entry.outcome = DeliveryOutcome::Retracted;
        } else if had.outcome == DeliveryOutcome::Retracted {
            // It still says why it was retracted.
            entry.outcome = DeliveryOutcome::Retracted;
            entry.reason = had.reason;
        }
    }
    entry
}

#[cfg(test)]
mod tests {
    use DeliveryOutcome::{Forgotten, Held, Released, Retracted, Withheld};

    use super::*;
    use crate::engine::memory::deliveries::OtherPersons;
    use crate::message::OutputId;

    const HAD: [Option<DeliveryOutcome>; 6] =
        [None, Some(Released), Some(Withheld), Some(Held), Some(Retracted), Some(Forgotten)];

    const TERMS: Terms = Terms {
        recipient: 0,
        fingerprint: 7,
        after: RetentionAction::Retract,
        now_ms: 100,
        defers_retraction: false,
    };

    fn had(outcome: DeliveryOutcome) -> DeliveryEntry {
        let reason = (outcome == Retracted).then_some(Reason::Stages);
        let mut had = DeliveryEntry::without_output(0, outcome, reason);
        had.output_key = 1;
        had.term_end_or_held_since_ms = 200;
        had
    }

    fn released(publication: Publication) -> Verdict {
        let output = OutputId(3);
        let is_thinned = false;
        Verdict::Released(NewOutput {
            output,
            key: 2,
            hash: 4,
            term_end_ms: 300,
            publication,
            is_thinned,
            thins_at_ms: i64::MAX,
            other_persons: OtherPersons::default(),
        })
    }

    /// The effect and the next outcome of each earlier outcome, in the order of `HAD`.
    fn transitions(verdict: Verdict, terms: &Terms) -> [String; 6] {
        HAD.map(|outcome| {
            let (entry, effect) = transition(outcome.map(had).as_ref(), verdict, terms);
            let effect = format!("{effect:?}");
            let effect = effect.split('(').next().unwrap_or_default();
            let next = entry.map_or_else(String::new, |entry| format!(" {:?}", entry.outcome));
            format!("{effect}{next}")
        })
    }

    #[test]
    fn transition_table_of_every_outcome_and_verdict() {
        let refused = |refusal| Verdict::Refused(refusal);
        let keep = Refusal { keep_output: true, ..Refusal::changeable(Reason::AgreementLapsed) };
        let forget = Terms { after: RetentionAction::Forget, ..TERMS };
        let deferred = Terms { defers_retraction: true, ..TERMS };
        let late = Terms { now_ms: 200, ..TERMS };
        #[rustfmt::skip]
        let table: &[(Verdict, Terms, [&str; 6])] = &[
            (released(Publication::Sent), TERMS, ["Release Released", "Correct Released",
                "Release Released", "Release Released", "Release Released", "Correct Released"]),
            (released(Publication::Unchanged), TERMS, ["Unchanged Released"; 6]),
            (released(Publication::Deferred), TERMS, ["Withhold Withheld", "Withhold Released",
                "Withhold Withheld", "Withhold Withheld", "Withhold Withheld", "Withhold Forgotten"]),
            (Verdict::NotAsked, TERMS, ["Skip", "Skip Released", "Skip Withheld", "Skip Held",
                "Skip Retracted", "Skip Forgotten"]),
            (refused(Refusal::permanent(Reason::Condition)), TERMS, ["Withhold", "Retract Retracted",
                "Withhold", "Withhold", "Withhold Retracted", "Withhold Forgotten"]),
            (refused(Refusal::changeable(Reason::Condition)), TERMS, ["Withhold Withheld",
                "Retract Retracted", "Withhold Withheld", "Withhold Withheld", "Withhold Retracted",
                "Withhold Forgotten"]),
            (refused(Refusal::changeable(Reason::Condition)), deferred, ["Withhold Withheld",
                "Withhold Released", "Withhold Withheld", "Withhold Withheld", "Withhold Retracted",
                "Withhold Forgotten"]),
            (refused(Refusal::changeable(Reason::PatronUnknown)), TERMS, ["Hold Held", "Retract Held",
                "Hold Held", "Hold Held", "Hold Held", "Withhold Forgotten"]),
            (refused(Refusal::permanent(Reason::PatronErased)), TERMS, ["Withhold",
                "Retract Retracted", "Withhold", "Withhold", "Withhold Retracted",
                "Retract Retracted"]),
            (refused(Refusal::permanent(Reason::PatronErased)), deferred, ["Withhold",
                "Withhold Released", "Withhold", "Withhold", "Withhold Retracted",
                "Withhold Forgotten"]),
            (refused(Refusal::permanent(Reason::Lapsed)), forget, ["Withhold", "Forget Forgotten",
                "Withhold", "Withhold", "Withhold Retracted", "Withhold Forgotten"]),
            (refused(keep), TERMS, ["Withhold Withheld", "Keep Released", "Withhold Withheld",
                "Withhold Withheld", "Withhold Retracted", "Withhold Forgotten"]),
            (refused(keep), late, ["Withhold Withheld", "Retract Retracted", "Withhold Withheld",
                "Withhold Withheld", "Withhold Retracted", "Withhold Forgotten"]),
            (refused(Refusal::permanent(Reason::SourceGone)), TERMS, ["Withhold",
                "Retract Retracted", "Withhold", "Drop", "Withhold Retracted",
                "Withhold Forgotten"]),
        ];
        for (verdict, terms, expected) in table {
            assert_eq!(transitions(*verdict, terms), *expected, "{verdict:?} {terms:?}");
        }
    }

    #[test]
    fn transition_gives_the_reason_that_counts_for_the_recipient() {
        let refusal = Refusal {
            override_reason: Some(Reason::NoConsent),
            ..Refusal::changeable(Reason::AgreementLapsed)
        };
        let effect = |had: Option<DeliveryEntry>| {
            transition(had.as_ref(), Verdict::Refused(refusal), &TERMS).1
        };
        assert_eq!(effect(Some(had(Released))), Effect::Retract(Reason::NoConsent));
        assert_eq!(effect(None), Effect::Withhold(Reason::AgreementLapsed));
        let keep = Refusal { keep_output: true, override_reason: None, ..refusal };
        let late = Terms { now_ms: 200, ..TERMS };
        let (_, effect) = transition(Some(&had(Released)), Verdict::Refused(keep), &late);
        assert_eq!(effect, Effect::Retract(Reason::Lapsed));
    }

    #[test]
    fn transition_keeps_since_when_a_record_waits_and_why_it_was_retracted() {
        let unknown = Verdict::Refused(Refusal::changeable(Reason::PatronUnknown));
        let held_since = |had: Option<DeliveryEntry>| {
            transition(had.as_ref(), unknown, &TERMS).0.and_then(|entry| entry.held_since_ms())
        };
        assert_eq!(held_since(Some(had(Held))), Some(200));
        assert_eq!(held_since(None), Some(100));
        let condition = Verdict::Refused(Refusal::permanent(Reason::Condition));
        let (entry, _) = transition(Some(&had(Retracted)), condition, &TERMS);
        assert_eq!(entry.and_then(|entry| entry.reason), Some(Reason::Stages));
    }
}
