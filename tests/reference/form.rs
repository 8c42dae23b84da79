//! The forms that some strings have: date, instant, address, currency.
//!
//! A function here answers what a string says, or nothing where it does not
//! fit; it never repairs one.

/// A day of the calendar, years 1 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    pub year: i64,
    pub month: i64,
    pub day: i64,
}

/// A moment: seconds since 1970 UTC, and the digits of the fraction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    pub seconds: i64,
    /// Without zeros at its end, so that it compares as text.
    pub fraction: String,
}

impl Moment {
    pub fn from_millis(millis: i64) -> Self {
        let fraction = format!("{:03}", millis.rem_euclid(1_000));
        Moment {
            seconds: millis.div_euclid(1_000),
            fraction: fraction.trim_end_matches('0').to_owned(),
        }
    }

    /// The first moment of a day, in UTC.
    pub fn midnight(day: Day) -> Self {
        Moment {
            seconds: days_since_1970(day) * 86_400,
            fraction: String::new(),
        }
    }

    /// Its day of the calendar, in UTC.
    pub fn day(&self) -> Day {
        day_of(self.seconds.div_euclid(86_400))
    }

    /// Its year and month, in UTC.
    pub fn month(&self) -> (i64, i64) {
        let day = self.day();
        (day.year, day.month)
    }

    /// The moment that lies a term later, by the calendar in UTC.
    pub fn after(&self, term: Term) -> Self {
        let day = day_of(self.seconds.div_euclid(86_400));
        let months = (day.year + term.years) * 12 + day.month - 1 + term.months;
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        let reached = Day {
            year,
            month,
            day: day.day.min(month_days(year, month)),
        };
        let days = days_since_1970(reached) + term.days;
        Moment {
            seconds: days * 86_400 + self.seconds.rem_euclid(86_400),
            fraction: self.fraction.clone(),
        }
    }
}

/// A term of the calendar, as `P1Y` or `P14D`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    pub years: i64,
    pub months: i64,
    pub days: i64,
}

impl Term {
    pub const fn years(years: i64) -> Self {
        Term {
            years,
            months: 0,
            days: 0,
        }
    }

    pub const fn days(days: i64) -> Self {
        Term {
            years: 0,
            months: 0,
            days,
        }
    }
}

/// Reads `YYYY-MM-DD`.
pub fn date(text: &str) -> Option<Day> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let day = Day {
        year: number(bytes.get(0..4)?)?,
        month: number(bytes.get(5..7)?)?,
        day: number(bytes.get(8..10)?)?,
    };
    let fits = day.year >= 1
        && (1..=12).contains(&day.month)
        && (1..=month_days(day.year, day.month)).contains(&day.day);
    fits.then_some(day)
}

/// Reads an RFC 3339 instant with `T`, and `Z` or an offset.
pub fn instant(text: &str) -> Option<(Day, Moment)> {
    let day = date(text.get(0..10)?)?;
    let clock = text.as_bytes().get(10..19)?;
    if clock[0] != b'T' || clock[3] != b':' || clock[6] != b':' {
        return None;
    }
    let (hour, minute, second) = (
        number(&clock[1..3])?,
        number(&clock[4..6])?,
        number(&clock[7..9])?,
    );
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
        days_since_1970(day) * 86_400 + hour * 3_600 + minute * 60 + second - offset(rest)?;
    let fraction = fraction.trim_end_matches('0').to_owned();
    Some((day, Moment { seconds, fraction }))
}

/// Reads `Z`, `+hh:mm` or `-hh:mm` as seconds east of UTC.
fn offset(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let bytes = text.as_bytes();
    if bytes.len() != 6 || bytes[3] != b':' {
        return None;
    }
    let (hour, minute) = (number(&bytes[1..3])?, number(&bytes[4..6])?);
    if hour > 23 || minute > 59 {
        return None;
    }
    match bytes[0] {
        b'+' => Some(hour * 3_600 + minute * 60),
        b'-' => Some(-(hour * 3_600 + minute * 60)),
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    let mut value = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
    }
    Some(value)
}

fn leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(day: Day) -> i64 {
    let before =
        |year: i64| (year - 1) * 365 + (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let months: i64 = (1..day.month)
        .map(|month| month_days(day.year, month))
        .sum();
    before(day.year) - before(1970) + months + day.day - 1
}

/// Finds a day by looking for it, year by year and month by month.
pub fn day_of(days: i64) -> Day {
    let starts = |year, month| {
        days_since_1970(Day {
            year,
            month,
            day: 1,
        })
    };
    let guess = 1970 + days.div_euclid(if days < 0 { 365 } else { 366 });
    let mut year = guess.max(1);
    while starts(year + 1, 1) <= days {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && starts(year, month + 1) <= days {
        month += 1;
    }
    Day {
        year,
        month,
        day: days - starts(year, month) + 1,
    }
}

/// Age in full years at `at`; nothing before the birth.
pub fn age(birth: Day, at: Day) -> Option<i64> {
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
        && labels
            .iter()
            .all(|label| !label.is_empty() && label.chars().all(label_fits))
}

pub fn is_phone(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_digit() || " +()-./".contains(c))
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
        && rest
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/:-".contains(c))
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
