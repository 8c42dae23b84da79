//! Admit: may this recipient have this record at all?
//!
//! Denies by default, with one closed reason. Conditions come first: if one does not hold,
//! nothing else of the record is read.

use super::demanded;
pub(in crate::engine) use crate::engine::lane::condition::{check_condition, check_time_range};
use crate::engine::lane::gates::Refusal;
use crate::engine::lane::{CompiledCondition, Facts, LaneSource, Program, ROW_LIBRARY_SLOT, Route};
use crate::engine::record::shape::{FieldLocation, ValueLocation};
use crate::engine::record::value::FieldValue;
use crate::message::OutputId;
use crate::policy::reason::Reason;
use crate::policy::recipient::{ConditionTest, ServedLibraries};

/// Judges one record for one recipient. Lowers `recheck_due_ms` to when time alone may change
/// the answer.
///
/// # Errors
///
/// The first [`Refusal`].
#[inline]
pub fn admit(
    facts: &Facts<'_>,
    source: &LaneSource,
    program: &Program,
    recheck_due_ms: &mut i64,
) -> Result<(), Refusal> {
    check_libraries(facts, source, program)?;
    for one in &program.conditions {
        let verdict = match one.shared_test.and_then(|index| facts.shared_test_results.get(index)) {
            Some(verdict) => verdict.map_err(|tested| one.reason_for(tested)),
            None => check_condition_at(facts, source, one, recheck_due_ms),
        };
        verdict.map_err(|reason| Refusal::changeable_if(one.may_change(), reason))?;
    }
    check_needed_fields(facts, source, program)?;
    let gates = &program.gates;
    let has_statements = facts.patron_consents.is_some();
    if gates.pass_unasked(facts.is_active_member, has_statements, facts.now_ms) {
        return Ok(());
    }
    gates.judge(&facts.gate_input(program), recheck_due_ms)
}

/// Judges a record whose patron is not known, by what the record alone decides. Lowers
/// `recheck_due_ms` to when time alone may change the answer.
///
/// # Errors
///
/// The first [`Refusal`], whoever the patron is.
pub fn check_without_patron(
    facts: &Facts<'_>,
    source: &LaneSource,
    program: &Program,
    recheck_due_ms: &mut i64,
) -> Result<(), Refusal> {
    check_libraries(facts, source, program)
        .map_err(|refusal| Refusal::permanent(refusal.reason))?;
    let record_conditions = program.conditions.iter().filter(|one| !one.field.is_joined);
    for one in record_conditions {
        check_condition_at(facts, source, one, recheck_due_ms)
            .map_err(|reason| Refusal::changeable_if(one.may_change(), reason))?;
    }
    Ok(())
}

/// Checks that every field that the recipient needs is well formed, used or not; then those that
/// the record demands of its patron.
#[inline]
pub(in crate::engine) fn check_needed_fields(
    facts: &Facts<'_>,
    source: &LaneSource,
    program: &Program,
) -> Result<(), Refusal> {
    let strides = source.shape.list_strides();
    // Most records have nothing malformed.
    let needs = match facts.record.has_malformed() {
        true => &program.needed_fields,
        false => &program.needed_patron_fields,
    };
    let mut malformed = needs.iter().filter(|&&need| facts.is_malformed(need, strides));
    let Some(first) = malformed.next() else {
        let list = program.demanded_list;
        return list.map_or(Ok(()), |list| demanded::check_fields(facts, source, list));
    };
    // No other row of the patron helps if the record itself is malformed too.
    let joined = first.is_joined && malformed.all(|need| need.is_joined);
    Err(Refusal::changeable_if(joined, Reason::Malformed))
}

/// Checks that the record's and the patron's library are served, and are one.
#[inline(always)]
pub(in crate::engine) fn check_libraries(
    facts: &Facts<'_>,
    source: &LaneSource,
    program: &Program,
) -> Result<(), Refusal> {
    if matches!(program.libraries, ServedLibraries::All) && facts.patron_row.is_none() {
        return Ok(());
    }
    check_library_match(facts, source, program)
}

#[inline(never)]
fn check_library_match(
    facts: &Facts<'_>,
    source: &LaneSource,
    program: &Program,
) -> Result<(), Refusal> {
    let record_library =
        source.library_slot.map_or(FieldValue::Missing, |slot| facts.record.value(slot));
    let patron_library =
        facts.patron_row.map_or(FieldValue::Missing, |row| row.value(ROW_LIBRARY_SLOT));
    let (record_library, patron_library) = (record_library.as_text(), patron_library.as_text());
    if let ServedLibraries::Only(list) = &program.libraries {
        let is_served = |library: &str| list.iter().any(|served| served == library);
        if record_library.is_some_and(|record_library| !is_served(record_library))
            || record_library.or(patron_library).is_none()
        {
            return Err(Refusal::permanent(Reason::Library));
        }
        if patron_library.is_some_and(|patron_library| !is_served(patron_library)) {
            return Err(Refusal::changeable(Reason::Library));
        }
    }
    match (record_library, patron_library) {
        (Some(record_library), Some(patron_library))
            if record_library != patron_library && !program.allows_other_library =>
        {
            Err(Refusal::changeable(Reason::LibraryConflict))
        }
        _ => Ok(()),
    }
}

/// Returns the output that the record goes to.
///
/// # Errors
///
/// [`Reason::PartyUnlisted`] if the record's receiving party has no topic.
#[inline]
pub(in crate::engine) fn select_output(
    facts: &Facts<'_>,
    route: &Route,
) -> Result<OutputId, Refusal> {
    match route {
        Route::Single(output) => Ok(*output),
        Route::ByParty { party: by, outputs: of } => {
            let party = facts.text(Some(*by));
            of.iter()
                .find(|(listed, _)| Some(listed.as_str()) == party)
                .map(|&(_, output)| output)
                .ok_or(Refusal::changeable_if(by.is_joined, Reason::PartyUnlisted))
        }
    }
}

/// Checks a condition at the batch's time. Lowers `recheck_due_ms` to when time alone may change
/// the answer.
#[inline]
pub(in crate::engine) fn check_condition_at(
    facts: &Facts<'_>,
    source: &LaneSource,
    condition: &CompiledCondition,
    recheck_due_ms: &mut i64,
) -> Result<(), Reason> {
    let CompiledCondition { field, test, .. } = condition;
    if condition.or_no_patron && facts.patron_row.is_none() {
        return Ok(());
    }
    let tested = match (field.location, test.time_range()) {
        (ValueLocation::Element { list, .. }, _) => check_list(facts, source, (*field, list), test),
        (ValueLocation::Slot(_), Some(range)) => {
            check_time_range(facts.value(*field), range, facts.now_ms, recheck_due_ms)
        }
        (ValueLocation::Slot(_), None) => check_condition(facts.value(*field), test),
    };
    tested.map_err(|tested| condition.reason_for(tested))
}

/// Checks whether a list of single values has one.
fn check_list(
    facts: &Facts<'_>,
    source: &LaneSource,
    (field, list): (FieldLocation, u16),
    test: &ConditionTest,
) -> Result<(), Reason> {
    let strides = source.shape.list_strides();
    if facts.is_malformed(field, strides) {
        return Err(Reason::Malformed);
    }
    let stride = if field.is_joined { 0 } else { strides[usize::from(list)] };
    let has_value = (0..facts.list_len(field.is_joined, list))
        .any(|index| !facts.element(field, stride, index).is_missing());
    let holds = has_value == matches!(test, ConditionTest::Present);
    if holds { Ok(()) } else { Err(Reason::Condition) }
}
