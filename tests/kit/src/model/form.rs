//! The forms of strings: dates, instants, addresses, numbers with check digits.
//!
//! Returns what a string says, or `None` if it does not fit; repairs nothing.

use zeef::policy::condition::{RelativeTime, TimeRange};
use zeef::policy::form::TextFormat;
use zeef::policy::term::Term;

/// A day of the calendar, years 1 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CalendarDay {
    pub year: i64,
    pub month: i64,
    pub day: i64,
}

const SECOND_NS: i128 = 1_000_000_000;
const DAY_SECONDS: i64 = 86_400;

/// A point in time: nanoseconds since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i128);

impl Moment {
    /// Later than any time that a record can name.
    pub const NEVER: Moment = Moment(i128::MAX);

    pub fn from_millis(millis: i64) -> Self {
        Moment(i128::from(millis) * 1_000_000)
    }

    /// Midnight of a day, in UTC.
    pub fn at_midnight(day: CalendarDay) -> Self {
        Moment(i128::from(days_since_1970(day) * DAY_SECONDS) * SECOND_NS)
    }

    /// Whole seconds since 1970.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(SECOND_NS) as i64
    }

    /// The day, in UTC.
    pub fn day(self) -> CalendarDay {
        day_from_unix_days(self.seconds().div_euclid(DAY_SECONDS))
    }

    /// The year and month, in UTC.
    pub fn month(self) -> (i64, i64) {
        let day = self.day();
        (day.year, day.month)
    }

    /// Adds a term by the calendar, in UTC.
    pub fn add_term(self, term: CalendarTerm) -> Self {
        let day = self.day();
        let months = (day.year + term.years) * 12 + day.month - 1 + term.months;
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        let reached = CalendarDay { year, month, day: day.day.min(days_in_month(year, month)) };
        let time_of_day = self.0.rem_euclid(i128::from(DAY_SECONDS) * SECOND_NS);
        let days = days_since_1970(reached) + term.days;
        Moment(i128::from(days * DAY_SECONDS) * SECOND_NS + time_of_day)
    }

    /// Moves by a term, later or earlier, to the same day of the month, or to the first of the
    /// next where the month is too short: whoever is born on 29 February has a birthday on 1 March.
    pub fn moved(self, term: CalendarTerm, is_later: bool) -> Self {
        let sign = if is_later { 1 } else { -1 };
        let time_of_day = self.0.rem_euclid(i128::from(DAY_SECONDS) * SECOND_NS);
        let days = days_since_1970(self.day()) + sign * term.days;
        let day = day_from_unix_days(days);
        let months = day.year * 12 + day.month - 1 + sign * (term.years * 12 + term.months);
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        let mut reached = days_since_1970(CalendarDay { year, month, day: 1 });
        reached += (day.day - 1).min(days_in_month(year, month));
        Moment(i128::from(reached * DAY_SECONDS) * SECOND_NS + time_of_day)
    }

    /// The same in 64 bits of nanoseconds, as the times of consents are kept.
    pub fn clamped(self) -> Self {
        Moment(self.0.clamp(i64::MIN.into(), (i64::MAX - 1).into()))
    }
}

/// Reads a date, as its midnight in UTC, or an instant.
pub fn parse_moment(text: &str) -> Option<Moment> {
    let day = parse_date(text).map(Moment::at_midnight);
    day.or_else(|| parse_instant(text).map(|(_, moment)| moment))
}

/// Reads the day of a date or of an instant as it is written, whatever its offset.
pub fn parse_written_day(text: &str) -> Option<CalendarDay> {
    parse_date(text).or_else(|| parse_instant(text).map(|(day, _)| day))
}

/// Whether the text is a date or an instant that is in a range at `now`.
///
/// What is compared with `now-P16Y` is compared, 16 years later, with now.
pub fn is_in_time_range(text: &str, range: &TimeRange, now: Moment) -> bool {
    let Some(value) = parse_moment(text) else {
        return false;
    };
    let at_now = |bound: RelativeTime| match bound {
        RelativeTime::Now => value,
        RelativeTime::Ago(term) => value.moved(term.into(), true),
        RelativeTime::Ahead(term) => value.moved(term.into(), false),
    };
    let is_date = parse_date(text).is_some();
    let is_before = |bound: RelativeTime| match is_date {
        true => at_now(bound) <= now,
        false => at_now(bound) < now,
    };
    let is_not_before = |bound: RelativeTime| match is_date {
        true => at_now(bound).add_term(CalendarTerm::days(1)) > now,
        false => at_now(bound) >= now,
    };
    range.before.is_none_or(is_before) && range.not_before.is_none_or(is_not_before)
}

/// Returns whether `now` lies between the first day and the end of the last one.
pub fn is_in_force(from: &str, until: &str, now: Moment) -> bool {
    let day = |text| parse_date(text).map(Moment::at_midnight);
    let end = day(until).map(|last| last.add_term(CalendarTerm::days(1)));
    day(from).is_some_and(|from| from <= now) && end.is_some_and(|end| now < end)
}

/// A term of the calendar, as `P1Y` or `P14D`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalendarTerm {
    pub years: i64,
    pub months: i64,
    pub days: i64,
}

impl CalendarTerm {
    pub const fn years(years: i64) -> Self {
        CalendarTerm { years, months: 0, days: 0 }
    }

    pub const fn days(days: i64) -> Self {
        CalendarTerm { years: 0, months: 0, days }
    }
}

impl From<Term> for CalendarTerm {
    fn from(term: Term) -> Self {
        let Term { years, months, days } = term;
        CalendarTerm { years: years.into(), months: months.into(), days: days.into() }
    }
}

/// Returns whether a text has a form, from its first character to its last.
pub fn matches(format: TextFormat, text: &str) -> bool {
    match format {
        TextFormat::Date => parse_date(text).is_some(),
        TextFormat::Instant => parse_instant(text).is_some(),
        TextFormat::Email => is_email(text),
        TextFormat::Phone => is_phone(text),
        TextFormat::Iban => without_separators(text).is_some_and(|text| is_iban(&text)),
        TextFormat::Bsn => without_separators(text).is_some_and(|text| is_bsn(&text)),
        TextFormat::Rijksregisternummer => {
            without_separators(text).is_some_and(|text| is_register_number(&text))
        }
        TextFormat::Isil => is_isil(text),
        TextFormat::Currency => is_currency(text),
    }
}

/// Takes out single spaces, dots and hyphens between letters and digits.
fn without_separators(text: &str) -> Option<String> {
    let groups: Vec<&str> = text.split([' ', '.', '-']).collect();
    let fits = |group: &&str| !group.is_empty() && group.chars().all(|c| c.is_ascii_alphanumeric());
    groups.iter().all(fits).then(|| groups.concat())
}

/// Returns whether nine digits, or eight without their leading zero, are a BSN.
pub fn is_bsn(digits: &str) -> bool {
    if !(8..=9).contains(&digits.len()) || !digits.chars().all(|c| c.is_ascii_digit()) {
        return false;
    }
    let values = format!("{digits:0>9}").bytes().map(|b| i64::from(b - b'0')).collect::<Vec<_>>();
    let weights = [9, 8, 7, 6, 5, 4, 3, 2, -1];
    let sum: i64 = values.iter().zip(weights).map(|(value, weight)| value * weight).sum();
    sum % 11 == 0 && values.iter().any(|value| *value > 0)
}

/// Returns whether eleven digits have the check digits of a rijksregisternummer, of a
/// birth before 2000 or after.
pub fn is_register_number(digits: &str) -> bool {
    if digits.len() != 11 || !digits.chars().all(|c| c.is_ascii_digit()) {
        return false;
    }
    let value = |text: &str| text.parse::<u64>().unwrap();
    let (nine, check) = (value(&digits[..9]), value(&digits[9..]));
    [nine, 2_000_000_000 + nine].iter().any(|nine| 97 - nine % 97 == check)
}

/// The countries of the IBAN registry, each with its length.
const IBAN_LENGTHS: &str = "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 \
    DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 \
    GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 \
    LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 \
    PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 \
    SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30";

fn is_iban(text: &str) -> bool {
    let country = text.get(..2).filter(|two| two.chars().all(|c| c.is_ascii_uppercase()));
    let length = country.and_then(|country| {
        let row = IBAN_LENGTHS.split(' ').find(|row| row.starts_with(country))?;
        row[2..].parse::<usize>().ok()
    });
    if length != Some(text.len())
        || !text.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase())
        || !text[2..4].chars().all(|c| c.is_ascii_digit())
    {
        return false;
    }
    let moved = text[4..].chars().chain(text[..4].chars());
    let numbers: String = moved.filter_map(|c| Some(c.to_digit(36)?.to_string())).collect();
    numbers.bytes().fold(0, |rest, b| (rest * 10 + u32::from(b - b'0')) % 97) == 1
}

/// Reads `YYYY-MM-DD`.
pub fn parse_date(text: &str) -> Option<CalendarDay> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let day = CalendarDay {
        year: parse_digits(bytes.get(0..4)?)?,
        month: parse_digits(bytes.get(5..7)?)?,
        day: parse_digits(bytes.get(8..10)?)?,
    };
    let fits = day.year >= 1
        && (1..=12).contains(&day.month)
        && (1..=days_in_month(day.year, day.month)).contains(&day.day);
    fits.then_some(day)
}

/// Reads an RFC 3339 instant with `T`, and `Z` or an offset.
pub fn parse_instant(text: &str) -> Option<(CalendarDay, Moment)> {
    let day = parse_date(text.get(0..10)?)?;
    let clock = text.as_bytes().get(10..19)?;
    if clock[0] != b'T' || clock[3] != b':' || clock[6] != b':' {
        return None;
    }
    let (hour, minute, second) =
        (parse_digits(&clock[1..3])?, parse_digits(&clock[4..6])?, parse_digits(&clock[7..9])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut fraction = "";
    if let Some(after) = rest.strip_prefix('.') {
        let end = after.find(|c: char| !c.is_ascii_digit())?;
        fraction = &after[..end];
        rest = &after[end..];
        if fraction.is_empty() {
            return None;
        }
    }
    let seconds =
        days_since_1970(day) * 86_400 + hour * 3_600 + minute * 60 + second - parse_offset(rest)?;
    let fraction: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds = parse_digits(fraction.as_bytes())?;
    Some((day, Moment(i128::from(seconds) * SECOND_NS + i128::from(nanoseconds))))
}

/// Reads `Z`, `+hh:mm` or `-hh:mm` as seconds east of UTC.
fn parse_offset(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let bytes = text.as_bytes();
    if bytes.len() != 6 || bytes[3] != b':' {
        return None;
    }
    let (hour, minute) = (parse_digits(&bytes[1..3])?, parse_digits(&bytes[4..6])?);
    if hour > 23 || minute > 59 {
        return None;
    }
    match bytes[0] {
        b'+' => Some(hour * 3_600 + minute * 60),
        b'-' => Some(-(hour * 3_600 + minute * 60)),
        _ => None,
    }
}

fn parse_digits(digits: &[u8]) -> Option<i64> {
    let mut value = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
    }
    Some(value)
}

fn is_leap_year(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap_year(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(day: CalendarDay) -> i64 {
    let before =
        |year: i64| (year - 1) * 365 + (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let months: i64 = (1..day.month).map(|month| days_in_month(day.year, month)).sum();
    before(day.year) - before(1970) + months + day.day - 1
}

/// Finds a day by looking for it, year by year and month by month.
pub fn day_from_unix_days(days: i64) -> CalendarDay {
    let starts = |year, month| days_since_1970(CalendarDay { year, month, day: 1 });
    let guess = 1970 + days.div_euclid(if days < 0 { 365 } else { 366 });
    let mut year = guess.max(1);
    while starts(year + 1, 1) <= days {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && starts(year, month + 1) <= days {
        month += 1;
    }
    CalendarDay { year, month, day: days - starts(year, month) + 1 }
}

/// Age in full years at `at`; nothing before the birth.
pub fn age_in_years(birth: CalendarDay, at: CalendarDay) -> Option<i64> {
    if at < birth {
        return None;
    }
    let had_birthday = (at.month, at.day) >= (birth.month, birth.day);
    Some(at.year - birth.year - i64::from(!had_birthday))
}

pub fn is_email(text: &str) -> bool {
    let parts: Vec<&str> = text.split('@').collect();
    let [local, domain] = parts[..] else {
        return false;
    };
    let labels: Vec<&str> = domain.split('.').collect();
    let local_fits = |c: char| c.is_ascii_alphanumeric() || ".!#$%&'*+/=?^_{|}~-".contains(c);
    let label_fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
    !local.is_empty()
        && local.chars().all(local_fits)
        && labels.len() >= 2
        && labels.iter().all(|label| !label.is_empty() && label.chars().all(label_fits))
}

pub fn is_phone(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit() || " +()-./".contains(c))
        && text.chars().filter(char::is_ascii_digit).count() >= 6
}

pub fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.chars().all(|c| c.is_ascii_uppercase())
}

pub fn is_isil(text: &str) -> bool {
    let Some((prefix, rest)) = text.split_once('-') else {
        return false;
    };
    (1..=4).contains(&prefix.chars().count())
        && prefix.chars().all(|c| c.is_ascii_uppercase())
        && (1..=11).contains(&rest.chars().count())
        && rest.chars().all(|c| c.is_ascii_alphanumeric() || "/:-".contains(c))
}

pub fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
    plain && (digits == "0" || !digits.starts_with('0'))
}

/// Gives the four digits of a Dutch or Belgian postcode.
pub fn postcode_area(text: &str, country: &str) -> Option<String> {
    let code: Vec<char> = text.trim().chars().collect();
    let digits = code.get(0..4)?;
    if digits[0] == '0' || !digits.iter().all(char::is_ascii_digit) {
        return None;
    }
    let rest: String = code[4..].iter().collect();
    let fits = match country {
        "NL" => {
            let letters = rest.strip_prefix(' ').unwrap_or(&rest).to_ascii_uppercase();
            letters.len() == 2
                && letters.chars().all(|c| c.is_ascii_uppercase())
                && !["SA", "SD", "SS"].contains(&letters.as_str())
        }
        "BE" => rest.is_empty(),
        _ => false,
    };
    fits.then(|| digits.iter().collect())
}
