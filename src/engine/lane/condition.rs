//! Whether a value fits a condition.

use std::ops::Range;

use crate::engine::record::value::FieldValue;
use crate::policy::condition::TimeRange;
use crate::policy::form::simd::bytes_equal;
use crate::policy::reason::Reason;
use crate::policy::recipient::{ConditionLiteral, ConditionTest};

/// Checks a value at a time. Lowers `recheck_due_ms` to when time alone may change the answer.
pub(in crate::engine) fn check_value(
    value: FieldValue<'_>,
    test: &ConditionTest,
    now_ms: i64,
    recheck_due_ms: &mut i64,
) -> Result<(), Reason> {
    match test.time_range() {
        Some(range) => check_time_range(value, range, now_ms, recheck_due_ms),
        None => check_condition(value, test),
    }
}

/// Checks a date or an instant. Lowers `recheck_due_ms` to when time alone may change the answer.
pub(in crate::engine) fn check_time_range(
    value: FieldValue<'_>,
    range: &TimeRange,
    now_ms: i64,
    recheck_due_ms: &mut i64,
) -> Result<(), Reason> {
    if value.is_malformed() {
        return Err(Reason::Malformed);
    }
    let interval_ms = value.as_text().and_then(|text| range.interval_ms(text));
    let interval_ms = interval_ms.ok_or(Reason::Condition)?;
    lower_due_to_edges(recheck_due_ms, &interval_ms, now_ms);
    if interval_ms.contains(&now_ms) { Ok(()) } else { Err(Reason::Condition) }
}

/// Lowers `recheck_due_ms` to when an interval begins or ends, as far as that is to come.
fn lower_due_to_edges(recheck_due_ms: &mut i64, interval_ms: &Range<i64>, now_ms: i64) {
    for edge_ms in [interval_ms.start, interval_ms.end] {
        if edge_ms > now_ms {
            *recheck_due_ms = (*recheck_due_ms).min(edge_ms);
        }
    }
}

/// Checks a condition that does not depend on time; one that does fails.
pub(in crate::engine) fn check_condition(
    value: FieldValue<'_>,
    test: &ConditionTest,
) -> Result<(), Reason> {
    if value.is_malformed() {
        return Err(Reason::Malformed);
    }
    let holds = match test {
        ConditionTest::Present => !value.is_missing(),
        ConditionTest::Absent => value.is_missing(),
        ConditionTest::OneOf(literals) => {
            literals.iter().any(|literal| matches_literal(value, literal))
        }
        ConditionTest::IntegerRange(range) => {
            matches!(value, FieldValue::Number(written) if range.contains(written))
        }
        ConditionTest::TimeRange(_) => false,
    };
    if holds { Ok(()) } else { Err(Reason::Condition) }
}

fn matches_literal(value: FieldValue<'_>, literal: &ConditionLiteral) -> bool {
    match (value, literal) {
        (FieldValue::Text { text, .. }, ConditionLiteral::Text(wanted)) => {
            bytes_equal(text.as_bytes(), wanted.as_bytes())
        }
        (FieldValue::Boolean(truth), ConditionLiteral::Boolean(wanted)) => truth == *wanted,
        (FieldValue::Number(written), ConditionLiteral::Integer(wanted)) => {
            written.parse::<i64>().is_ok_and(|number| number == *wanted)
        }
        _ => false,
    }
}
