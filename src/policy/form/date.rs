//! Dates and instants: hand-written, as each record has several.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::policy::term::DAY_MS;

/// A Gregorian date in the years 1 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Date {
    pub year: i16,
    pub month: u8,
    pub day: u8,
}

/// As in the config: `YYYY-MM-DD`.
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Date { year, month, day } = self;
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl Date {
    /// Returns `None` if the calendar lacks the date.
    #[must_use]
    #[inline]
    pub fn new(year: i16, month: u8, day: u8) -> Option<Date> {
        let longest = DAYS_IN_MONTH.get(usize::from(month)).copied().unwrap_or(0);
        let real = (1..=9999).contains(&year)
            && (1..=longest).contains(&day)
            && (month != 2 || day != 29 || is_leap(year.into()));
        real.then_some(Date { year, month, day })
    }

    /// Reads `YYYY-MM-DD`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Date> {
        Date::from_bytes(text.as_bytes().try_into().ok()?)
    }

    #[inline]
    fn from_bytes(text: &[u8; 10]) -> Option<Date> {
        const FIRST: DigitPattern = DigitPattern::new(b"0000-00-");
        const LAST: DigitPattern = DigitPattern::new(b"00-00-00");
        let first = FIRST.digit_pairs(text.first_chunk()?)?;
        let last = LAST.digit_pairs(text.last_chunk()?)?;
        let year = i16::from(first[1]) * 100 + i16::from(first[3]);
        Date::new(year, first[6], last[7])
    }

    /// Returns 00:00 UTC of this day in milliseconds since 1970.
    #[must_use]
    pub fn to_unix_ms(self) -> i64 {
        self.to_unix_days() * DAY_MS
    }

    pub(super) fn to_unix_days(self) -> i64 {
        let Date { year, month, day } = self;
        CivilDate { year: year.into(), month: month.into(), day: day.into() }.to_unix_days()
    }

    /// Returns the age in full years on this day; `None` before `birth`.
    ///
    /// Who was born on 29 February ages on 1 March of common years.
    #[must_use]
    pub fn full_years_since(self, birth: Date) -> Option<u16> {
        let had_birthday = (self.month, self.day) >= (birth.month, birth.day);
        let years = self.year - birth.year - i16::from(!had_birthday);
        u16::try_from(years).ok()
    }
}

/// A point in time with the date as written.
///
/// Compared by time alone, to the nanosecond; finer digits are truncated.
#[derive(Clone, Copy, Debug)]
pub struct Rfc3339Instant {
    pub(super) unix_seconds: i64,
    pub(super) subsec_nanoseconds: u32,
    pub(super) written_date: Date,
}

impl Rfc3339Instant {
    /// Parses an RFC 3339 date-time: capital `T`, capital `Z` or an offset, no 60th second, any
    /// number of fraction digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Rfc3339Instant> {
        let written = InstantParts::read(text.as_bytes())?;
        let [hour, minute, second] = written.hour_minute_second.map(i64::from);
        let time = hour * 3600 + minute * 60 + second - written.utc_offset_seconds;
        Some(Rfc3339Instant {
            unix_seconds: written.date.to_unix_days() * 86_400 + time,
            subsec_nanoseconds: fraction_to_nanoseconds(written.fraction_digits),
            written_date: written.date,
        })
    }

    /// Returns milliseconds since 1970, rounded down.
    #[must_use]
    pub fn to_unix_ms(self) -> i64 {
        self.unix_seconds * 1000 + i64::from(self.subsec_nanoseconds / 1_000_000)
    }

    #[must_use]
    pub fn to_unix_ns(self) -> i128 {
        i128::from(self.unix_seconds) * 1_000_000_000 + i128::from(self.subsec_nanoseconds)
    }

    /// Returns the date as written, ignoring the offset.
    #[must_use]
    pub const fn written_date(self) -> Date {
        self.written_date
    }
}

impl PartialEq for Rfc3339Instant {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Rfc3339Instant {}

impl PartialOrd for Rfc3339Instant {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rfc3339Instant {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.unix_seconds, self.subsec_nanoseconds)
            .cmp(&(other.unix_seconds, other.subsec_nanoseconds))
    }
}

impl Hash for Rfc3339Instant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.unix_seconds, self.subsec_nanoseconds).hash(state);
    }
}

/// Parses a date, or the date of an instant as written.
#[must_use]
pub fn parse_written_date(text: &str) -> Option<Date> {
    Date::parse(text).or_else(|| Rfc3339Instant::parse(text).map(Rfc3339Instant::written_date))
}

#[inline(never)]
pub(super) fn is_date(value: &[u8]) -> bool {
    value.try_into().is_ok_and(|text| Date::from_bytes(text).is_some())
}

#[inline(never)]
pub(super) fn is_instant(value: &[u8]) -> bool {
    InstantParts::read(value).is_some()
}

/// A day of the Gregorian calendar in any year: a term may end after the year 9999.
///
/// The one calendar beside jiff, as terms are computed for each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CivilDate {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
}

/// From 1 March of the year 0: years begin in March, so that a leap day is the last of its year.
const DAYS_FROM_YEAR_0_TO_1970: i64 = 719_468;
/// The calendar repeats after 400 years.
const DAYS_IN_400_YEARS: i64 = 146_097;

impl CivilDate {
    #[must_use]
    pub(crate) fn from_unix_days(days: i64) -> CivilDate {
        let days = days + DAYS_FROM_YEAR_0_TO_1970;
        let (era, day_of_era) =
            (days.div_euclid(DAYS_IN_400_YEARS), days.rem_euclid(DAYS_IN_400_YEARS));
        let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
        let year_of_era = (day_of_era - leap_days) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let months_from_march = (5 * day_of_year + 2) / 153;
        let month = (months_from_march + 2) % 12 + 1;
        CivilDate {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * months_from_march + 2) / 5 + 1,
        }
    }

    /// Returns the days since 1970-01-01.
    #[must_use]
    pub(crate) fn to_unix_days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let months_from_march = (self.month + 9) % 12;
        let day_of_year = (153 * months_from_march + 2) / 5 + self.day - 1;
        era * DAYS_IN_400_YEARS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100
            + day_of_year
            - DAYS_FROM_YEAR_0_TO_1970
    }

    /// Returns the last day of the month if the month lacks this one.
    #[must_use]
    pub(crate) fn clamp_day_to_month(self) -> CivilDate {
        let longest = match self.month {
            2 if !is_leap(self.year) => 28,
            month => DAYS_IN_MONTH.get(month as usize).copied().unwrap_or(31),
        };
        CivilDate { day: self.day.min(longest.into()), ..self }
    }
}

/// A pattern of eight bytes: `0` matches any digit, other bytes themselves.
struct DigitPattern {
    bytes: u64,
    /// Added to the difference from the pattern, it sets the highest bit of bytes that do not
    /// match.
    overflow_bias: u64,
}

impl DigitPattern {
    const fn new(pattern: &[u8; 8]) -> DigitPattern {
        let mut room = [0x7f; 8];
        let mut at = 0;
        while at < room.len() {
            if pattern[at] == b'0' {
                room[at] = 0x80 - 10;
            }
            at += 1;
        }
        DigitPattern {
            bytes: u64::from_le_bytes(*pattern),
            overflow_bias: u64::from_le_bytes(room),
        }
    }

    /// Returns, for each byte, the two-digit number of it and the previous byte, all eight at once.
    /// No sum overflows its byte if all of them match.
    #[inline(always)]
    fn digit_pairs(&self, text: &[u8; 8]) -> Option<[u8; 8]> {
        const HIGHEST: u64 = 0x8080_8080_8080_8080;
        let values = u64::from_le_bytes(*text) ^ self.bytes;
        let too_far = (values | values.wrapping_add(self.overflow_bias)) & HIGHEST;
        (too_far == 0).then(|| values.wrapping_mul(10 * 256 + 1).to_le_bytes())
    }
}

/// In a leap year; months 0 and 13 to 15 do not exist.
const DAYS_IN_MONTH: [u8; 16] = [0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0];

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// The parts of an instant as written.
struct InstantParts<'t> {
    date: Date,
    hour_minute_second: [u8; 3],
    /// May be empty.
    fraction_digits: &'t [u8],
    utc_offset_seconds: i64,
}

impl<'t> InstantParts<'t> {
    #[inline(always)]
    fn read(text: &'t [u8]) -> Option<InstantParts<'t>> {
        let (start, text) = text.split_first_chunk::<19>()?;
        let date = Date::from_bytes(start.first_chunk()?)?;
        let time = parse_clock_time(start.last_chunk()?)?;
        let (fraction, ahead) = match text {
            b"Z" => (&b""[..], 0),
            _ => parse_fraction_and_offset(text)?,
        };
        (start[10] == b'T').then_some(InstantParts {
            date,
            hour_minute_second: time,
            fraction_digits: fraction,
            utc_offset_seconds: ahead,
        })
    }
}

/// Parses `HH:MM:SS`.
#[inline(always)]
fn parse_clock_time(text: &[u8; 8]) -> Option<[u8; 3]> {
    const TIME: DigitPattern = DigitPattern::new(b"00:00:00");
    let [_, hour, _, _, minute, _, _, second] = TIME.digit_pairs(text)?;
    (hour < 24 && minute < 60 && second < 60).then_some([hour, minute, second])
}

/// Parses an optional fraction and the offset after it.
fn parse_fraction_and_offset(text: &[u8]) -> Option<(&[u8], i64)> {
    let Some(text) = text.strip_prefix(b".") else {
        return Some((b"", parse_utc_offset(text)?));
    };
    let length = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, text) = text.split_at(length);
    (length > 0).then_some((digits, parse_utc_offset(text)?))
}

fn fraction_to_nanoseconds(digits: &[u8]) -> u32 {
    digits
        .iter()
        .chain(std::iter::repeat(&b'0'))
        .take(9)
        .fold(0, |sum, &b| sum * 10 + u32::from(b - b'0'))
}

/// Returns the offset from UTC in seconds.
fn parse_utc_offset(text: &[u8]) -> Option<i64> {
    match *text {
        [b'Z'] => Some(0),
        [sign, h1, h2, b':', m1, m2] => {
            let [hour, minute, _] = parse_clock_time(&[h1, h2, b':', m1, m2, b':', b'0', b'0'])?;
            let ahead = i64::from(hour) * 3600 + i64::from(minute) * 60;
            match sign {
                b'+' => Some(ahead),
                b'-' => Some(-ahead),
                _ => None,
            }
        }
        _ => None,
    }
}
