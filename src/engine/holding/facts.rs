//! What decides beside the record: a hash of it, so that a change is seen.

use super::Holding;
use crate::engine::gates::{Implied, Person, instant_ns};
use crate::engine::lane::{Lane, Program, ROW_LIBRARY, Ref};
use crate::engine::said::Said;
use crate::engine::shape::Place;
use crate::engine::state::Hasher;
use crate::engine::table;
use crate::engine::value::Value;
use crate::policy::reason::Reason;

impl Holding {
    /// A hash of all but the record that decides what a recipient gets of it.
    /// And when time alone may change that, [`i64::MAX`] where never.
    pub(super) fn facts(
        &self,
        lane: &Lane,
        program: &Program,
        (row, said): (Option<&table::Row>, Option<&Said>),
        now_ms: i64,
    ) -> (u64, i64) {
        let mut due_ms = i64::MAX;
        let gates = &program.gates;
        let value = |at: Ref| match (at.place, row) {
            (Place::Slot(slot), Some(row)) if at.joined => row.value(slot),
            _ => Value::Missing,
        };
        let own = |at: Ref| !at.joined;
        let implied = match &gates.consent {
            Some(gate) if gate.implied_by.is_some_and(own) => Implied::InRecord,
            Some(gate) => {
                let at = gate.implied_by.map_or(Value::Missing, value).as_text();
                Implied::At(at.and_then(instant_ns))
            }
            None => Implied::At(None),
        };
        let library = row.and_then(|row| row.value(ROW_LIBRARY).as_text());
        let person = Person { said, library };
        let standing = gates.standing(person, implied, now_ms, &mut due_ms);
        let stands = standing.is_ok();
        let shut = |reason: Option<Reason>| reason.map_or(u8::MAX, |reason| reason as u8);
        let refusal = standing.err();
        let reason = refusal.map(|refusal| refusal.reason);
        let unless = refusal.and_then(|refusal| refusal.unless);
        let standing = [shut(reason), shut(unless)];
        if !program.joined && gates.consent.is_none() {
            // Nothing of the patron decides: no value has to be hidden.
            let standing = u64::from(u16::from_le_bytes(standing));
            return (self.policy ^ standing, due_ms);
        }
        let mut hasher = self.namer.hasher();
        hasher.add(b'v', &self.policy.to_le_bytes());
        hasher.add(b's', &standing);
        if let (Implied::InRecord, Some(_)) = (implied, &gates.consent)
            && let Some((latest, named, unreadable)) =
                gates.consent_summary(person, now_ms, &mut due_ms)
        {
            hasher.add(b'u', &[u8::from(named), u8::from(unreadable)]);
            for at_ns in latest {
                match at_ns {
                    Some(at_ns) => hasher.add(b'c', &at_ns.to_le_bytes()),
                    None => hasher.add(b'c', b""),
                }
            }
        }
        let Some(row) = row.filter(|_| program.joined) else {
            return (hasher.end(), due_ms);
        };
        let active = gates.is_active(|at| value(at?).as_text());
        let mut term_ms = i64::MAX;
        let lapsed = gates
            .patron_term(value, active, now_ms, &mut term_ms)
            .is_err();
        if stands {
            due_ms = due_ms.min(term_ms);
        }
        let authorised = program.authorised_ms;
        let authorised = authorised.is_some_and(|(from, until)| (from..until).contains(&now_ms));
        hasher.add(
            b'm',
            &[u8::from(active), u8::from(lapsed), u8::from(authorised)],
        );
        let hidden = program.authorised_ms.is_none()
            && program
                .card_fact
                .is_some_and(|fact| value(fact) == Value::Boolean(true));
        let hidden = program.joined_card.filter(|_| hidden);
        add(&mut hasher, row.value(ROW_LIBRARY));
        // What has one of them in it is left out of the output.
        for number in row.national_numbers() {
            hasher.add(b'i', &number.pack().to_le_bytes());
        }
        for need in &program.joined_needs {
            match need.place {
                Place::Slot(slot) if hidden == Some(slot) => add(&mut hasher, Value::Missing),
                Place::Slot(slot) => add(&mut hasher, row.value(slot)),
                Place::Element { list, slot } => {
                    if row.list_malformed(&lane.layout, list) {
                        add(&mut hasher, Value::Malformed);
                    }
                    for index in 0..row.list_len(&lane.layout, list) {
                        add(&mut hasher, row.element(&lane.layout, list, index, slot));
                    }
                    hasher.add(b'l', b"");
                }
            }
        }
        (hasher.end(), due_ms)
    }
}

/// Adds a value, and what it is.
fn add(hasher: &mut Hasher, value: Value<'_>) {
    match value {
        Value::Missing => hasher.add(b'-', b""),
        Value::Malformed => hasher.add(b'!', b""),
        Value::Boolean(truth) => hasher.add(b'b', &[u8::from(truth)]),
        Value::Number(written) => hasher.add(b'n', written.as_bytes()),
        Value::Text { text, .. } => hasher.add(b't', text.as_bytes()),
    }
}
