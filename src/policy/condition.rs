//! Ranges that conditions ask for: of dates and instants, relative to the batch's time, and of
//! integers. Never reads a clock.

use std::fmt;
use std::ops::Range;

use super::form::{Date, Rfc3339Instant};
use super::term::{DAY_MS, Term};

/// A time relative to that of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelativeTime {
    Now,
    /// A term before now, as `now-P16Y`.
    Ago(Term),
    /// A term after now, as `now+P30D`.
    Ahead(Term),
}

impl RelativeTime {
    /// Parses `now`, `now-P16Y` or `now+P30D`.
    #[must_use]
    pub fn parse(text: &str) -> Option<RelativeTime> {
        let rest = text.strip_prefix("now")?;
        if rest.is_empty() {
            return Some(RelativeTime::Now);
        }
        let ago = rest.strip_prefix('-').and_then(Term::parse).map(RelativeTime::Ago);
        ago.or_else(|| rest.strip_prefix('+').and_then(Term::parse).map(RelativeTime::Ahead))
    }

    /// Returns when this time reaches `ms`; both in milliseconds since 1970.
    fn reaches_ms(self, ms: i64) -> i64 {
        match self {
            RelativeTime::Now => ms,
            RelativeTime::Ago(term) => term.shift_later_ms(ms),
            RelativeTime::Ahead(term) => term.shift_earlier_ms(ms),
        }
    }

    /// Returns whether this time is before `other` whenever they are compared; `false` where that
    /// depends on the calendar.
    fn is_always_before(self, other: RelativeTime) -> bool {
        use RelativeTime::{Ago, Ahead, Now};
        match (self, other) {
            (Ago(_), Now | Ahead(_)) | (Now, Ahead(_)) => true,
            (Ago(longer), Ago(shorter)) | (Ahead(shorter), Ahead(longer)) => {
                longer != shorter && shorter.is_never_longer_than(longer)
            }
            (Now | Ahead(_), Ago(_) | Now) => false,
        }
    }
}

impl fmt::Display for RelativeTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RelativeTime::Now => f.write_str("now"),
            RelativeTime::Ago(term) => write!(f, "now-{term}"),
            RelativeTime::Ahead(term) => write!(f, "now+{term}"),
        }
    }
}

/// A range of dates and instants; at least one bound is set.
///
/// A date is before a time from 00:00 UTC of its day, and not before it until the end of that day.
/// An instant is compared as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    pub not_before: Option<RelativeTime>,
    pub before: Option<RelativeTime>,
}

impl TimeRange {
    /// Returns when a date or an instant is in the range, in milliseconds since 1970; `None` if the
    /// text is neither.
    #[must_use]
    pub fn interval_ms(&self, text: &str) -> Option<Range<i64>> {
        // Of a date its first millisecond is before a time that is equal to it, and its last one is
        // not; of an instant it is the other way round.
        let (value_ms, from_add_ms, until_add_ms) = match Date::parse(text) {
            Some(date) => (date.to_unix_ms(), 0, DAY_MS),
            None => (Rfc3339Instant::parse(text)?.to_unix_ms(), 1, 1),
        };
        let reaches_ms = |bound: RelativeTime| bound.reaches_ms(value_ms);
        let from_ms = self.before.map(|bound| reaches_ms(bound).saturating_add(from_add_ms));
        let until_ms = self.not_before.map(|bound| reaches_ms(bound).saturating_add(until_add_ms));
        Some(from_ms.unwrap_or(i64::MIN)..until_ms.unwrap_or(i64::MAX))
    }

    /// Returns whether no value is ever in the range.
    #[must_use]
    pub fn is_always_empty(&self) -> bool {
        let bounds = self.before.zip(self.not_before);
        bounds.is_some_and(|(before, not_before)| before.is_always_before(not_before))
    }
}

/// As a condition of a recipient's file.
impl fmt::Display for TimeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bounds(f, [("not_before", self.not_before), ("before", self.before)])
    }
}

/// A range of integers, without its bounds; at least one is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntegerRange {
    pub above: Option<i64>,
    pub below: Option<i64>,
}

impl IntegerRange {
    /// Returns whether a number, as JSON writes integers, is in the range.
    #[must_use]
    pub fn contains(&self, written: &str) -> bool {
        // Beyond 128 bits only the sign matters.
        let beyond = if written.starts_with('-') { i128::MIN } else { i128::MAX };
        let number = written.parse::<i128>().unwrap_or(beyond);
        self.above.is_none_or(|above| number > i128::from(above))
            && self.below.is_none_or(|below| number < i128::from(below))
    }

    /// Returns whether no integer is in the range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let bounds = self.above.zip(self.below);
        bounds.is_some_and(|(above, below)| i128::from(below) - i128::from(above) <= 1)
    }
}

/// As a condition of a recipient's file.
impl fmt::Display for IntegerRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bounds(f, [("above", self.above), ("below", self.below)])
    }
}

fn write_bounds<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    bounds: [(&str, Option<T>); 2],
) -> fmt::Result {
    let mut set = bounds.iter().filter_map(|(name, bound)| Some((name, bound.as_ref()?)));
    if let Some((name, bound)) = set.next() {
        write!(f, "{name} {bound}")?;
    }
    set.try_for_each(|(name, bound)| write!(f, ", {name} {bound}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
    }

    fn range(not_before: Option<&str>, before: Option<&str>) -> TimeRange {
        let time = |text: &str| RelativeTime::parse(text).unwrap();
        TimeRange { not_before: not_before.map(time), before: before.map(time) }
    }

    #[test]
    fn relative_time_is_now_or_a_term_from_it() {
        for text in ["now", "now-P16Y", "now+P30D", "now-P1Y6M3D"] {
            assert_eq!(RelativeTime::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "Now", "now-", "now P1D", "now-P", "now-16Y", "now*P1D", "nowé", "-P1D"] {
            assert_eq!(RelativeTime::parse(text), None, "{text}");
        }
    }

    #[test]
    fn date_is_before_from_its_first_moment_and_not_before_until_its_last() {
        #[track_caller]
        fn check(bound: &str, value: &str, from: &str, until: &str) {
            let before = range(None, Some(bound)).interval_ms(value).unwrap();
            assert_eq!(before, ms(from)..i64::MAX, "before {bound}: {value}");
            let not_before = range(Some(bound), None).interval_ms(value).unwrap();
            assert_eq!(not_before, i64::MIN..ms(until), "not before {bound}: {value}");
        }
        check("now", "2026-01-15", "2026-01-15T00:00:00Z", "2026-01-16T00:00:00Z");
        check("now-P16Y", "2010-01-15", "2026-01-15T00:00:00Z", "2026-01-16T00:00:00Z");
        // A birthday on 29 February is on 1 March in common years.
        check("now-P18Y", "2008-02-29", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z");
        check("now-P16Y", "2008-02-29", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z");
        check("now-P1M", "2026-01-31", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z");
        check("now+P30D", "2026-03-31", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z");
        check("now+P1M", "2026-03-31", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z");
        let moment = "2026-01-15T10:00:00.500Z";
        check("now", moment, "2026-01-15T10:00:00.501Z", "2026-01-15T10:00:00.501Z");
        check(
            "now-P1Y",
            "2025-01-15T10:00:00.5007Z",
            "2026-01-15T10:00:00.501Z",
            "2026-01-15T10:00:00.501Z",
        );
        check(
            "now",
            "2026-01-15T10:00:00+01:00",
            "2026-01-15T09:00:00.001Z",
            "2026-01-15T09:00:00.001Z",
        );
        for neither in ["", "2026-02-30", "2026-01-15T10:00:00", "now"] {
            assert_eq!(range(None, Some("now")).interval_ms(neither), None, "{neither}");
        }
    }

    #[test]
    fn range_that_holds_nothing_is_known() {
        for (not_before, before, is_empty) in [
            ("now", "now+P30D", false),
            ("now", "now", false),
            ("now", "now-P1D", true),
            ("now+P1D", "now", true),
            ("now-P1Y", "now-P2Y", true),
            ("now-P2Y", "now-P1Y", false),
            ("now+P2Y", "now+P1Y", true),
            ("now-P30D", "now-P1M", false),
            ("now-P1Y", "now-P1Y", false),
        ] {
            let both = range(Some(not_before), Some(before));
            assert_eq!(both.is_always_empty(), is_empty, "{both}");
        }
        let both = range(Some("now"), Some("now+P30D"));
        assert_eq!(both.to_string(), "not_before now, before now+P30D");
    }

    #[test]
    fn integer_range_excludes_its_bounds() {
        let range = |above, below| IntegerRange { above, below };
        for (number, above, below, want) in [
            ("1", Some(0), None, true),
            ("0", Some(0), None, false),
            ("-1", Some(0), None, false),
            ("-0", Some(0), None, false),
            ("0", None, Some(1), true),
            ("1", None, Some(1), false),
            ("5", Some(4), Some(6), true),
            ("9223372036854775808", Some(i64::MAX), None, true),
            ("99999999999999999999999999999999999999999999", Some(0), None, true),
            ("-99999999999999999999999999999999999999999999", Some(0), None, false),
            ("-99999999999999999999999999999999999999999999", None, Some(0), true),
        ] {
            assert_eq!(range(above, below).contains(number), want, "{number}");
        }
        assert!(range(Some(4), Some(5)).is_empty());
        assert!(range(Some(i64::MAX), Some(i64::MIN)).is_empty());
        assert!(!range(Some(4), Some(6)).is_empty());
        assert!(!range(Some(4), None).is_empty());
    }
}
