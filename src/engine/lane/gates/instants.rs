//! Dates and instants of records, as gates compare them.

use crate::policy::consent::clamp_ns;
use crate::policy::form::{Date, Rfc3339Instant};
use crate::policy::term::Term;

/// The time of an instant or a date in nanoseconds since 1970. A time before 1677 or after
/// 2262 counts as the first or the last of the range.
pub(super) fn parse_clamped_ns(text: &str) -> Option<i64> {
    parse_exact_ns(text).map(clamp_ns)
}

/// The time of an instant or a date of any year in nanoseconds since 1970.
pub(super) fn parse_exact_ns(text: &str) -> Option<i128> {
    match Rfc3339Instant::parse(text) {
        Some(instant) => Some(instant.to_unix_ns()),
        None => Some(i128::from(Date::parse(text)?.to_unix_ms()) * 1_000_000),
    }
}

/// When a term is over that runs from a date or an instant, in milliseconds since 1970.
pub(in crate::engine) fn term_end_ms(term: Term, text: &str) -> Option<i64> {
    if let Some(date) = Date::parse(text) {
        return Some(term.end_from_date_ms(date));
    }
    Rfc3339Instant::parse(text).map(|instant| term.end_from_instant_ms(&instant))
}

/// Lowers `recheck_due_ms` to the first whole millisecond that is not before `change_ns`.
pub(super) fn lower_due(recheck_due_ms: &mut i64, change_ns: Option<i64>) {
    if let Some(change_ns) = change_ns {
        let change_ms = change_ns.div_euclid(1_000_000) + i64::from(change_ns % 1_000_000 != 0);
        *recheck_due_ms = (*recheck_due_ms).min(change_ms);
    }
}
