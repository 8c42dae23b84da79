//! Admit: may this recipient have this record at all?
//!
//! Default deny, with one closed reason. Conditions come first: where one does
//! not hold, nothing else of the record is looked at.

use super::gates::{Implied, Refusal, instant_ns};
use super::lane::{Facts, Program, ROW_LIBRARY, Route, Source};
use super::value::Value;
use crate::policy::bytes::same;
use crate::policy::reason::Reason;
use crate::policy::recipient::{Libraries, Literal, Test};
use crate::transport::OutputId;

/// Judges one record for one recipient. `due_ms` is lowered to when time alone
/// may change the answer.
///
/// # Errors
///
/// The first [`Refusal`].
#[inline]
pub fn admit(
    facts: &Facts<'_>,
    source: &Source,
    program: &Program,
    due_ms: &mut i64,
) -> Result<(), Refusal> {
    libraries(facts, source, &program.libraries)?;
    for one in &program.conditions {
        let verdict = match one.shared.and_then(|place| facts.verdicts.get(place)) {
            Some(verdict) => *verdict,
            None => condition(facts.value(one.field), &one.test),
        };
        verdict.map_err(|reason| Refusal::by(one.field.joined, reason))?;
    }
    needs(facts, source, program)?;
    program.gates.period_over(facts, due_ms)?;
    gates(facts, program, due_ms)
}

/// What can be said of a record whose patron is not known: only what the record
/// alone decides.
///
/// # Errors
///
/// The first [`Reason`] against release, whoever the patron is.
pub fn without_patron(facts: &Facts<'_>, source: &Source, program: &Program) -> Result<(), Reason> {
    libraries(facts, source, &program.libraries).map_err(|refusal| refusal.reason)?;
    let own = program.conditions.iter().filter(|one| !one.field.joined);
    for one in own {
        condition(facts.value(one.field), &one.test)?;
    }
    Ok(())
}

/// Every field that the recipient needs is well formed, used or not.
#[inline]
pub(super) fn needs(facts: &Facts<'_>, source: &Source, program: &Program) -> Result<(), Refusal> {
    let strides = source.shape.strides();
    // Mostly the record has nothing malformed at all.
    let needs = match facts.record.malformed() {
        true => &program.needs,
        false => &program.joined_needs,
    };
    let mut malformed = needs.iter().filter(|&&need| facts.malformed(need, strides));
    let Some(first) = malformed.next() else {
        return Ok(());
    };
    // Where the record itself is malformed too, the patron changes nothing.
    let joined = first.joined && malformed.all(|need| need.joined);
    Err(Refusal::by(joined, Reason::Malformed))
}

/// The gates beside conditions, in the order of the rules.
#[inline]
pub(super) fn gates(facts: &Facts<'_>, program: &Program, due_ms: &mut i64) -> Result<(), Refusal> {
    let gates = &program.gates;
    if gates.simple && facts.active && facts.said.is_none() {
        return Ok(());
    }
    let implied = Implied::At(implied_ns(facts, program));
    let standing = gates.standing(facts.person(program), implied, facts.now_ms, due_ms);
    let value = |at| facts.value(at);
    let mut term_ms = i64::MAX;
    let mut lapsed = || gates.patron_term(value, facts.active, facts.now_ms, &mut term_ms);
    if let Err(refusal) = standing
        && refusal.keeps
        && let Err(reason) = lapsed()
    {
        // A paper that lapsed keeps nobody's data for longer.
        return Err(Refusal {
            keeps: false,
            unless: Some(reason),
            ..refusal
        });
    }
    standing?;
    gates.in_order(facts).map_err(Refusal::lasting)?;
    gates.loan_history(facts).map_err(Refusal::owed)?;
    gates
        .patron_term(|at| facts.value(at), facts.active, facts.now_ms, due_ms)
        .map_err(Refusal::owed)
}

/// When the event was that implies consent, where the recipient has one.
pub(super) fn implied_ns(facts: &Facts<'_>, program: &Program) -> Option<i64> {
    let event = program.gates.consent.as_ref()?.implied_by;
    facts.text(event).and_then(instant_ns)
}

/// Tenants: the record's and the patron's library, and that they are one.
#[inline(always)]
pub(super) fn libraries(
    facts: &Facts<'_>,
    source: &Source,
    served: &Libraries,
) -> Result<(), Refusal> {
    if matches!(served, Libraries::All) && facts.row.is_none() {
        return Ok(());
    }
    tenants(facts, source, served)
}

#[inline(never)]
fn tenants(facts: &Facts<'_>, source: &Source, served: &Libraries) -> Result<(), Refusal> {
    let own = source
        .library
        .map_or(Value::Missing, |slot| facts.record.value(slot));
    let patrons = facts
        .row
        .map_or(Value::Missing, |row| row.value(ROW_LIBRARY));
    let (own, patrons) = (own.as_text(), patrons.as_text());
    if let Libraries::Only(list) = served {
        let is_served = |library: &str| list.iter().any(|served| served == library);
        if own.is_some_and(|own| !is_served(own)) || own.or(patrons).is_none() {
            return Err(Refusal::lasting(Reason::Library));
        }
        if patrons.is_some_and(|patrons| !is_served(patrons)) {
            return Err(Refusal::owed(Reason::Library));
        }
    }
    match (own, patrons) {
        (Some(own), Some(patrons)) if own != patrons && !source.kind.other_library => {
            Err(Refusal::owed(Reason::LibraryConflict))
        }
        _ => Ok(()),
    }
}

/// The topic that the record's output goes to.
///
/// # Errors
///
/// [`Reason::ReceiverUnlisted`] where the record's receiving party has none.
#[inline]
pub(super) fn route(facts: &Facts<'_>, route: &Route) -> Result<OutputId, Refusal> {
    match route {
        Route::One(output) => Ok(*output),
        Route::Each { by, of } => {
            let party = facts.text(Some(*by));
            of.iter()
                .find(|(listed, _)| Some(listed.as_str()) == party)
                .map(|&(_, output)| output)
                .ok_or(Refusal::by(by.joined, Reason::ReceiverUnlisted))
        }
    }
}

pub(super) fn condition(value: Value<'_>, test: &Test) -> Result<(), Reason> {
    if value.is_malformed() {
        return Err(Reason::Malformed);
    }
    let holds = match test {
        Test::Present => !value.is_missing(),
        Test::Absent => value.is_missing(),
        Test::Is(literals) => literals.iter().any(|literal| equals(value, literal)),
    };
    if holds {
        Ok(())
    } else {
        Err(Reason::Condition)
    }
}

fn equals(value: Value<'_>, literal: &Literal) -> bool {
    match (value, literal) {
        (Value::Text { text, .. }, Literal::Text(wanted)) => {
            same(text.as_bytes(), wanted.as_bytes())
        }
        (Value::Boolean(truth), Literal::Boolean(wanted)) => truth == *wanted,
        (Value::Number(written), Literal::Integer(wanted)) => {
            written.parse::<i64>().is_ok_and(|number| number == *wanted)
        }
        _ => false,
    }
}
