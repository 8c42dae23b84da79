//! Terms: calendar periods and when they end, in UTC. Never reads a clock.

use std::fmt;

use super::form::{CivilDate, Date, Rfc3339Instant};

/// An ISO 8601 period of years, months or days, as `P14D` or `P1Y`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    pub years: u16,
    pub months: u16,
    pub days: u16,
}

/// The longest term that a setting may have (R02).
pub const TERM_MAX: Term = Term { years: 5, months: 0, days: 0 };

pub const DAY_MS: i64 = 86_400_000;

/// Returns the UTC month of a time as `YYYY-MM`.
#[must_use]
pub fn utc_month(ms: i64) -> String {
    let CivilDate { year, month, .. } = CivilDate::from_unix_days(ms.div_euclid(DAY_MS));
    format!("{year:04}-{month:02}")
}

/// Returns the UTC day of a time as `YYYY-MM-DD`.
#[must_use]
pub fn utc_day(ms: i64) -> String {
    let CivilDate { year, month, day } = CivilDate::from_unix_days(ms.div_euclid(DAY_MS));
    format!("{year:04}-{month:02}-{day:02}")
}

/// Returns when the UTC month of a time ends; both in milliseconds since 1970.
#[must_use]
pub fn utc_month_end_ms(ms: i64) -> i64 {
    let CivilDate { year, month, .. } = CivilDate::from_unix_days(ms.div_euclid(DAY_MS));
    let next = CivilDate { year: year + month / 12, month: month % 12 + 1, day: 1 };
    next.to_unix_days().saturating_mul(DAY_MS)
}

impl Term {
    /// Parses an ISO 8601 period of years, months, weeks or days, at least a day.
    #[must_use]
    pub fn parse(text: &str) -> Option<Term> {
        let mut rest = text.strip_prefix('P')?;
        let mut take_unit = |unit: char| {
            let Some((number, after)) = rest.split_once(unit) else {
                return Some(0);
            };
            let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            rest = after;
            number.parse::<u16>().ok().filter(|number| digits && *number <= 9_999)
        };
        let [years, months, weeks, days] =
            [take_unit('Y')?, take_unit('M')?, take_unit('W')?, take_unit('D')?];
        let term = Term { years, months, days: weeks.checked_mul(7)?.checked_add(days)? };
        let whole = rest.is_empty() && (term.years, term.months, term.days) != (0, 0, 0);
        whole.then_some(term)
    }

    /// Returns the end, in milliseconds since 1970, of a term from 00:00 UTC of `date`.
    #[must_use]
    pub fn end_from_date_ms(self, date: Date) -> i64 {
        self.end_from_ms(date.to_unix_ms())
    }

    /// Returns the end, in milliseconds since 1970 and rounded up, of a term from `instant`.
    #[must_use]
    pub fn end_from_instant_ms(self, instant: &Rfc3339Instant) -> i64 {
        const MS_NS: i128 = 1_000_000;
        let ceiling = -(-instant.to_unix_ns()).div_euclid(MS_NS);
        self.end_from_ms(i64::try_from(ceiling).unwrap_or(i64::MAX))
    }

    /// Returns the end of a term; both in milliseconds since 1970.
    ///
    /// Years and months are added first, clamped to the last day of the month (29 February and a
    /// year: 28 February); then days.
    #[must_use]
    pub fn end_from_ms(self, start_ms: i64) -> i64 {
        let (day, time) = (start_ms.div_euclid(DAY_MS), start_ms.rem_euclid(DAY_MS));
        let start = CivilDate::from_unix_days(day);
        let months = start.month - 1 + i64::from(self.years) * 12 + i64::from(self.months);
        let moved = CivilDate {
            year: start.year + months.div_euclid(12),
            month: months.rem_euclid(12) + 1,
            day: start.day,
        };
        let last = moved.clamp_day_to_month().to_unix_days() + i64::from(self.days);
        last.saturating_mul(DAY_MS).saturating_add(time)
    }

    /// Returns the time that lies a term later; both in milliseconds since 1970.
    ///
    /// Days are added first, then months and years. A day that the month lacks is the first of the
    /// next one: a birthday on 29 February falls on 1 March in common years.
    #[must_use]
    pub fn shift_later_ms(self, ms: i64) -> i64 {
        self.shift_ms(ms, 1)
    }

    /// Returns the time that lies a term earlier, by the same calendar.
    #[must_use]
    pub fn shift_earlier_ms(self, ms: i64) -> i64 {
        self.shift_ms(ms, -1)
    }

    fn shift_ms(self, ms: i64, sign: i64) -> i64 {
        let (day, time) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
        let start = CivilDate::from_unix_days(day + sign * i64::from(self.days));
        let months = i64::from(self.years) * 12 + i64::from(self.months);
        let months = start.month - 1 + sign * months;
        let moved = CivilDate {
            year: start.year + months.div_euclid(12),
            month: months.rem_euclid(12) + 1,
            day: start.day,
        };
        let last = moved.clamp_day_to_month();
        let days = last.to_unix_days() + i64::from(last.day != moved.day);
        days.saturating_mul(DAY_MS).saturating_add(time)
    }

    /// Returns whether this term never ends later than `other` with the same start.
    ///
    /// Conservative: a month counts as 28 days of the other's, and as 31 of its own.
    #[must_use]
    pub fn is_never_longer_than(self, other: Term) -> bool {
        let months = |term: Term| u32::from(term.years) * 12 + u32::from(term.months);
        let (own, others) = (months(self), months(other));
        let (days, other_days) = (u32::from(self.days), u32::from(other.days));
        if own <= others {
            // The other's extra months are 28 days each at least.
            return days <= other_days + (others - own) * 28;
        }
        days + (own - others) * 31 <= other_days
    }
}

/// As in a config, with weeks as days.
impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("P")?;
        for (number, unit) in [(self.years, 'Y'), (self.months, 'M'), (self.days, 'D')] {
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn term_parses_iso_8601_periods() {
        #[track_caller]
        fn check(text: &str, want: Option<(u16, u16, u16)>) {
            let term = Term::parse(text).map(|term| (term.years, term.months, term.days));
            assert_eq!(term, want, "{text}");
        }
        check("P14D", Some((0, 0, 14)));
        check("P1Y", Some((1, 0, 0)));
        check("P18M", Some((0, 18, 0)));
        check("P1Y6M3D", Some((1, 6, 3)));
        check("P2W", Some((0, 0, 14)));
        for wrong in [
            "", "P", "14D", "P0D", "PD", "P-1D", "P+1D", "P1D1Y", "P1DT1H", "PT1H", "P1d",
            "P99999D",
        ] {
            check(wrong, None);
        }
    }

    fn timestamp_ms(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn term_end_from_date_clamps_to_month_end() {
        #[track_caller]
        fn check(term: &str, from: &str, want: &str) {
            let date = Date::parse(from).unwrap();
            let end = Term::parse(term).unwrap().end_from_date_ms(date);
            assert_eq!(end, timestamp_ms(&format!("{want}T00:00:00Z")), "{term} from {from}");
        }
        check("P14D", "2026-02-20", "2026-03-06");
        check("P1Y", "2024-02-29", "2025-02-28");
        check("P4Y", "2024-02-29", "2028-02-29");
        check("P1M", "2026-01-31", "2026-02-28");
        check("P1M1D", "2026-01-31", "2026-03-01");
        check("P5Y", "1999-12-31", "2004-12-31");
        check("P18M", "2026-07-01", "2028-01-01");
    }

    #[test]
    fn term_end_from_instant_is_in_utc() {
        #[track_caller]
        fn check(from: &str, want: &str) {
            let instant = Rfc3339Instant::parse(from).unwrap();
            let end = Term::parse("P1Y").unwrap().end_from_instant_ms(&instant);
            assert_eq!(end, timestamp_ms(want), "{from}");
        }
        check("2026-05-01T10:00:00.250Z", "2027-05-01T10:00:00.250Z");
        check("2026-05-01T10:00:00.2500001Z", "2027-05-01T10:00:00.251Z");
        check("1960-05-01T10:00:00.2500001Z", "1961-05-01T10:00:00.251Z");
        check("2024-03-01T00:30:00+01:00", "2025-02-28T23:30:00Z");
    }

    #[test]
    fn term_comparison_is_conservative() {
        #[track_caller]
        fn check(term: &str, other: &str, want: bool) {
            let [term, other] = [term, other].map(|text| Term::parse(text).unwrap());
            assert_eq!(term.is_never_longer_than(other), want, "{term} {other}");
        }
        check("P5Y", "P5Y", true);
        check("P60M", "P5Y", true);
        check("P4Y11M28D", "P5Y", true);
        check("P4Y11M29D", "P5Y", false);
        check("P5Y1D", "P5Y", false);
        check("P61M", "P5Y", false);
        check("P1M", "P31D", true);
        check("P1M", "P30D", false);
    }

    #[test]
    fn utc_month_ends_when_next_begins() {
        #[track_caller]
        fn check(time: &str, month: &str, end: &str) {
            assert_eq!(utc_month(timestamp_ms(time)), month);
            assert_eq!(utc_day(timestamp_ms(time)), time[..10]);
            assert_eq!(utc_month_end_ms(timestamp_ms(time)), timestamp_ms(end), "{time}");
        }
        check("2026-03-01T00:00:00Z", "2026-03", "2026-04-01T00:00:00Z");
        check("2026-03-31T23:59:59.999Z", "2026-03", "2026-04-01T00:00:00Z");
        check("2026-12-31T23:59:59.999Z", "2026-12", "2027-01-01T00:00:00Z");
        check("2024-02-29T12:00:00Z", "2024-02", "2024-03-01T00:00:00Z");
        check("1969-12-31T23:59:59.999Z", "1969-12", "1970-01-01T00:00:00Z");
    }

    proptest::proptest! {
        #[test]
        fn term_end_agrees_with_jiff(
            start in -60_000_000_000_000_i64..200_000_000_000_000,
            years in 0_u16..30, months in 0_u16..40, days in 0_u16..800,
        ) {
            let span = jiff::Span::new().years(years).months(months).days(days);
            let utc = jiff::tz::TimeZone::UTC;
            let from = jiff::Timestamp::from_millisecond(start).unwrap().to_zoned(utc);
            let theirs = from.checked_add(span).unwrap().timestamp().as_millisecond();
            let ours = Term { years, months, days }.end_from_ms(start);
            proptest::prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn term_end_is_never_before_its_start(start: i64, years: u16, months: u16, days: u16) {
            let end = Term { years, months, days }.end_from_ms(start);
            proptest::prop_assert!(end >= start);
        }

        #[test]
        fn civil_date_round_trips_through_unix_days(days in -400_000_000_i64..400_000_000) {
            proptest::prop_assert_eq!(CivilDate::from_unix_days(days).to_unix_days(), days);
        }

        #[test]
        fn shorter_term_never_ends_later(
            start in 0_i64..4_000_000_000_000,
            term in (0_u16..3, 0_u16..30, 0_u16..90), other in (0_u16..3, 0_u16..30, 0_u16..90),
        ) {
            let [term, other] = [term, other].map(|(years, months, days)| Term { years, months, days });
            if term.is_never_longer_than(other) {
                proptest::prop_assert!(term.end_from_ms(start) <= other.end_from_ms(start));
            }
        }
    }
}
