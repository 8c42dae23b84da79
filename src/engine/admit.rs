//! Admit: may this recipient have this record at all?
//!
//! Default deny, with one closed reason. Conditions come first: where one does
//! not hold, nothing else of the record is looked at.

use super::lane::{Facts, Program, ROW_LIBRARY, Route, Source};
use super::value::Value;
use crate::policy::form::Instant;
use crate::policy::reason::Reason;
use crate::policy::recipient::{Libraries, Literal, Test};
use crate::transport::OutputId;

/// Judges one record for one recipient.
///
/// # Errors
///
/// The first [`Reason`] against release.
#[inline]
pub fn admit(facts: &Facts<'_>, source: &Source, program: &Program) -> Result<(), Reason> {
    libraries(facts, source, &program.libraries)?;
    for one in &program.conditions {
        match one.shared.and_then(|place| facts.verdicts.get(place)) {
            Some(verdict) => (*verdict)?,
            None => condition(facts.value(one.field), &one.test)?,
        }
    }
    needs(facts, source, program)?;
    consent(facts, program)?;
    loan_history(facts, program)
}

/// Every field that the recipient needs is well formed, used or not.
#[inline]
pub(super) fn needs(facts: &Facts<'_>, source: &Source, program: &Program) -> Result<(), Reason> {
    let strides = source.shape.strides();
    // Mostly the record has nothing malformed at all.
    let needs = match facts.record.malformed() {
        true => &program.needs,
        false => &program.joined_needs,
    };
    if needs.iter().any(|&need| facts.malformed(need, strides)) {
        return Err(Reason::Malformed);
    }
    Ok(())
}

/// Tenants: the record's and the patron's library, and that they are one.
#[inline]
pub(super) fn libraries(
    facts: &Facts<'_>,
    source: &Source,
    served: &Libraries,
) -> Result<(), Reason> {
    if matches!(served, Libraries::All) && facts.row.is_none() {
        return Ok(());
    }
    let own = source
        .library
        .map_or(Value::Missing, |slot| facts.record.value(slot));
    let patrons = facts
        .row
        .map_or(Value::Missing, |row| row.value(ROW_LIBRARY));
    let (own, patrons) = (own.as_text(), patrons.as_text());
    if let Libraries::Only(list) = served {
        let is_served = |library: &str| list.iter().any(|served| served == library);
        if ![own, patrons].into_iter().flatten().all(is_served) || own.or(patrons).is_none() {
            return Err(Reason::Library);
        }
    }
    match (own, patrons) {
        (Some(own), Some(patrons)) if own != patrons && !source.kind.other_library => {
            Err(Reason::LibraryConflict)
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
pub(super) fn route(facts: &Facts<'_>, route: &Route) -> Result<OutputId, Reason> {
    match route {
        Route::One(output) => Ok(*output),
        Route::Each { by, of } => {
            let party = facts.text(Some(*by));
            of.iter()
                .find(|(listed, _)| Some(listed.as_str()) == party)
                .map(|&(_, output)| output)
                .ok_or(Reason::ReceiverUnlisted)
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
        (Value::Text { text, .. }, Literal::Text(wanted)) => text == wanted,
        (Value::Boolean(truth), Literal::Boolean(wanted)) => truth == *wanted,
        (Value::Number(written), Literal::Integer(wanted)) => {
            written.parse::<i64>().is_ok_and(|number| number == *wanted)
        }
        _ => false,
    }
}

/// Until consent records decide, the event that implies consent alone does.
#[inline]
pub(super) fn consent(facts: &Facts<'_>, program: &Program) -> Result<(), Reason> {
    let Some(event) = program.implied_consent else {
        return if program.consent_needed {
            Err(Reason::NoConsent)
        } else {
            Ok(())
        };
    };
    let granted = facts
        .text(Some(event))
        .and_then(Instant::parse)
        .is_some_and(|at| at.unix_nanoseconds() <= i128::from(facts.now_ms) * 1_000_000);
    if granted {
        Ok(())
    } else {
        Err(Reason::NoConsent)
    }
}

/// Loan history off: no returned loans (G11).
#[inline]
pub(super) fn loan_history(facts: &Facts<'_>, program: &Program) -> Result<(), Reason> {
    let Some((status, choice)) = program.loan_history else {
        return Ok(());
    };
    let off = facts.value(choice) == Value::Boolean(false);
    let returned = facts.text(Some(status)) == Some("returned");
    if off && returned {
        return Err(Reason::LoanHistoryOff);
    }
    Ok(())
}
