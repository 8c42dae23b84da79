//! Terms: periods of the calendar, and the moment at which they are over.
//!
//! A term is over in UTC, whatever the clock of whoever wrote its start. Nothing
//! here looks at a clock.

use std::fmt;

use super::form::{Date, Instant};

/// An ISO 8601 period of years, months or days, as `P14D` or `P1Y`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    pub years: u16,
    pub months: u16,
    pub days: u16,
}

/// Nothing is kept for longer than this by a setting (R02).
pub const TERM_MAX: Term = Term {
    years: 5,
    months: 0,
    days: 0,
};

const DAY_MS: i64 = 86_400_000;

/// The month of a time in milliseconds since 1970, in UTC, as `YYYY-MM`.
#[must_use]
pub fn month_of(ms: i64) -> String {
    let Civil { year, month, .. } = Civil::of(ms.div_euclid(DAY_MS));
    format!("{year:04}-{month:02}")
}

/// The day of a time in milliseconds since 1970, in UTC, as `YYYY-MM-DD`.
#[must_use]
pub fn day_of(ms: i64) -> String {
    let Civil { year, month, day } = Civil::of(ms.div_euclid(DAY_MS));
    format!("{year:04}-{month:02}-{day:02}")
}

/// When the month of a time is over, in UTC; both in milliseconds since 1970.
#[must_use]
pub fn month_end_ms(ms: i64) -> i64 {
    let Civil { year, month, .. } = Civil::of(ms.div_euclid(DAY_MS));
    let next = Civil {
        year: year + month / 12,
        month: month % 12 + 1,
        day: 1,
    };
    next.unix_days().saturating_mul(DAY_MS)
}

impl Term {
    /// Reads an ISO 8601 period of years, months, weeks or days, at least a day.
    #[must_use]
    pub fn parse(text: &str) -> Option<Term> {
        let mut rest = text.strip_prefix('P')?;
        let mut part = |unit: char| {
            let Some((number, after)) = rest.split_once(unit) else {
                return Some(0);
            };
            let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            rest = after;
            number
                .parse::<u16>()
                .ok()
                .filter(|number| digits && *number <= 9_999)
        };
        let [years, months, weeks, days] = [part('Y')?, part('M')?, part('W')?, part('D')?];
        let term = Term {
            years,
            months,
            days: weeks.checked_mul(7)?.checked_add(days)?,
        };
        let whole = rest.is_empty() && (term.years, term.months, term.days) != (0, 0, 0);
        whole.then_some(term)
    }

    /// When a term that runs from 00:00 UTC of `date` is over, in milliseconds
    /// since 1970: from then on it is.
    #[must_use]
    pub fn end_of_date(self, date: Date) -> i64 {
        self.end_of_ms(date.to_unix_ms())
    }

    /// When a term that runs from `instant` is over, in milliseconds since 1970,
    /// rounded up: before it the term still runs.
    #[must_use]
    pub fn end_of_instant(self, instant: &Instant) -> i64 {
        const MS_NS: i128 = 1_000_000;
        let ceiling = -(-instant.unix_nanoseconds()).div_euclid(MS_NS);
        self.end_of_ms(i64::try_from(ceiling).unwrap_or(i64::MAX))
    }

    /// When a term that runs from this many milliseconds since 1970 is over, in
    /// the same measure.
    ///
    /// Years and months are counted first, and a day that the month does not
    /// have is its last one (29 February and a year: 28 February); then days.
    #[must_use]
    pub fn end_of_ms(self, start_ms: i64) -> i64 {
        let (day, time) = (start_ms.div_euclid(DAY_MS), start_ms.rem_euclid(DAY_MS));
        let start = Civil::of(day);
        let months = start.month - 1 + i64::from(self.years) * 12 + i64::from(self.months);
        let moved = Civil {
            year: start.year + months.div_euclid(12),
            month: months.rem_euclid(12) + 1,
            day: start.day,
        };
        let last = moved.clamped().unix_days() + i64::from(self.days);
        last.saturating_mul(DAY_MS).saturating_add(time)
    }

    /// Whether this term is never over later than `other`, whenever both start.
    ///
    /// A month counts as 28 days where it is the other's and as 31 where it is
    /// its own, so that a close case is none.
    #[must_use]
    pub fn fits_in(self, other: Term) -> bool {
        let months = |term: Term| u32::from(term.years) * 12 + u32::from(term.months);
        let (own, others) = (months(self), months(other));
        let (days, other_days) = (u32::from(self.days), u32::from(other.days));
        if own <= others {
            // What months the other has more are 28 days each at least.
            return days <= other_days + (others - own) * 28;
        }
        days + (own - others) * 31 <= other_days
    }
}

/// As a config has it, with weeks as days.
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

/// A day of the Gregorian calendar in any year, also one that no record can
/// name: a term may end after the year 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Civil {
    year: i64,
    month: i64,
    day: i64,
}

/// The days from 1 March of the year 0 to 1970.
const DAYS_TO_1970: i64 = 719_468;
/// The days of 400 years, after which the calendar repeats.
const DAYS_OF_ERA: i64 = 146_097;

impl Civil {
    /// The day that is `days` after 1970-01-01, by years that begin in March.
    fn of(days: i64) -> Civil {
        let days = days + DAYS_TO_1970;
        let (era, of_era) = (days.div_euclid(DAYS_OF_ERA), days.rem_euclid(DAYS_OF_ERA));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        Civil {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month,
            day: of_year - (153 * from_march + 2) / 5 + 1,
        }
    }

    fn unix_days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let from_march = (self.month + 9) % 12;
        let of_year = (153 * from_march + 2) / 5 + self.day - 1;
        era * DAYS_OF_ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - DAYS_TO_1970
    }

    /// The last day of the month, where the month has not this one.
    fn clamped(self) -> Civil {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let longest = match self.month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        Civil {
            day: self.day.min(longest),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_a_period() {
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

    fn at(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn a_term_is_over_on_a_day() {
        #[track_caller]
        fn check(term: &str, from: &str, want: &str) {
            let date = Date::parse(from).unwrap();
            let end = Term::parse(term).unwrap().end_of_date(date);
            assert_eq!(end, at(&format!("{want}T00:00:00Z")), "{term} from {from}");
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
    fn a_term_from_an_instant_is_over_at_its_time_in_utc() {
        #[track_caller]
        fn check(from: &str, want: &str) {
            let instant = Instant::parse(from).unwrap();
            let end = Term::parse("P1Y").unwrap().end_of_instant(&instant);
            assert_eq!(end, at(want), "{from}");
        }
        check("2026-05-01T10:00:00.250Z", "2027-05-01T10:00:00.250Z");
        check("2026-05-01T10:00:00.2500001Z", "2027-05-01T10:00:00.251Z");
        check("1960-05-01T10:00:00.2500001Z", "1961-05-01T10:00:00.251Z");
        check("2024-03-01T00:30:00+01:00", "2025-02-28T23:30:00Z");
    }

    #[test]
    fn a_term_fits_in_one_that_never_ends_before() {
        #[track_caller]
        fn check(term: &str, other: &str, want: bool) {
            let [term, other] = [term, other].map(|text| Term::parse(text).unwrap());
            assert_eq!(term.fits_in(other), want, "{term} {other}");
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
    fn a_month_is_over_when_the_next_one_begins() {
        #[track_caller]
        fn check(time: &str, month: &str, end: &str) {
            assert_eq!(month_of(at(time)), month);
            assert_eq!(day_of(at(time)), time[..10]);
            assert_eq!(month_end_ms(at(time)), at(end), "{time}");
        }
        check("2026-03-01T00:00:00Z", "2026-03", "2026-04-01T00:00:00Z");
        check(
            "2026-03-31T23:59:59.999Z",
            "2026-03",
            "2026-04-01T00:00:00Z",
        );
        check(
            "2026-12-31T23:59:59.999Z",
            "2026-12",
            "2027-01-01T00:00:00Z",
        );
        check("2024-02-29T12:00:00Z", "2024-02", "2024-03-01T00:00:00Z");
        check(
            "1969-12-31T23:59:59.999Z",
            "1969-12",
            "1970-01-01T00:00:00Z",
        );
    }

    proptest::proptest! {
        #[test]
        fn terms_agree_with_jiff(
            start in -60_000_000_000_000_i64..200_000_000_000_000,
            years in 0_u16..30, months in 0_u16..40, days in 0_u16..800,
        ) {
            let span = jiff::Span::new().years(years).months(months).days(days);
            let utc = jiff::tz::TimeZone::UTC;
            let from = jiff::Timestamp::from_millisecond(start).unwrap().to_zoned(utc);
            let theirs = from.checked_add(span).unwrap().timestamp().as_millisecond();
            let ours = Term { years, months, days }.end_of_ms(start);
            proptest::prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn any_start_has_an_end(start: i64, years: u16, months: u16, days: u16) {
            let end = Term { years, months, days }.end_of_ms(start);
            proptest::prop_assert!(end >= start);
        }

        #[test]
        fn a_day_is_found_by_its_number(days in -400_000_000_i64..400_000_000) {
            proptest::prop_assert_eq!(Civil::of(days).unix_days(), days);
        }

        #[test]
        fn what_fits_is_never_over_later(
            start in 0_i64..4_000_000_000_000,
            term in (0_u16..3, 0_u16..30, 0_u16..90), other in (0_u16..3, 0_u16..30, 0_u16..90),
        ) {
            let [term, other] = [term, other].map(|(years, months, days)| Term { years, months, days });
            if term.fits_in(other) {
                proptest::prop_assert!(term.end_of_ms(start) <= other.end_of_ms(start));
            }
        }
    }
}
