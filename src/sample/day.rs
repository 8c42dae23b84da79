//! Days and instants, counted fast and written as RFC 3339 has them.
//!
//! Never asks for the time: everything is counted from a given day.

/// A day, counted from 1970-01-01, within the years 0001 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day(i32);

const FIRST: i32 = -719_162;
const LAST: i32 = 2_932_896;

impl Day {
    /// The day of a civil date; the nearest one that can be written.
    pub(super) fn of(date: jiff::civil::Date) -> Day {
        let (year, month, day) = (date.year(), date.month(), date.day());
        Day::from_civil(i32::from(year), i32::from(month), i32::from(day))
    }

    /// The day of a year, month and day of the month (Gregorian, days from
    /// civil by eras of 400 years that start on 1 March).
    pub(super) fn from_civil(year: i32, month: i32, day: i32) -> Day {
        let year = if month <= 2 { year - 1 } else { year };
        let era = year.div_euclid(400);
        let of_era = year.rem_euclid(400);
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
        Day((era * 146_097 + days - 719_468).clamp(FIRST, LAST))
    }

    /// Year, month and day of the month.
    pub(super) fn civil(self) -> (i32, i32, i32) {
        let shifted = self.0 + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        (era * 400 + year + i32::from(month <= 2), month, day)
    }

    /// The day that is `days` later, or earlier where that is negative.
    pub(super) fn plus(self, days: i32) -> Day {
        Day(self.0.saturating_add(days).clamp(FIRST, LAST))
    }

    /// Appends `YYYY-MM-DD`.
    pub(super) fn write(self, out: &mut String) {
        let (year, month, day) = self.civil();
        two_digits(year / 100, out);
        two_digits(year % 100, out);
        out.push('-');
        two_digits(month, out);
        out.push('-');
        two_digits(day, out);
    }

    /// `YYYY-MM-DD`.
    pub(super) fn text(self) -> String {
        let mut out = String::with_capacity(10);
        self.write(&mut out);
        out
    }

    /// Whether the Netherlands and Belgium have summer time: from the last
    /// Sunday of March up to the last Sunday of October.
    fn is_summer(self) -> bool {
        let (_, month, day) = self.civil();
        let sunday = day - (self.0 + 4).rem_euclid(7);
        match month {
            4..=9 => true,
            3 => sunday + 7 > 31,
            10 => sunday + 7 <= 31,
            _ => false,
        }
    }
}

/// A second of a day, in the library's time or in UTC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instant {
    pub(super) day: Day,
    pub(super) second: u32,
    pub(super) utc: bool,
    /// Thousandths are written as well.
    pub(super) fraction: Option<u16>,
}

impl Instant {
    /// Appends the instant as RFC 3339 has it.
    pub(super) fn write(self, out: &mut String) {
        let second = (self.second % 86_400).cast_signed();
        self.day.write(out);
        out.push('T');
        two_digits(second / 3600, out);
        out.push(':');
        two_digits(second / 60 % 60, out);
        out.push(':');
        two_digits(second % 60, out);
        if let Some(fraction) = self.fraction {
            out.push('.');
            out.push(digit(i32::from(fraction) / 100));
            two_digits(i32::from(fraction), out);
        }
        out.push_str(match (self.utc, self.day.is_summer()) {
            (true, _) => "Z",
            (false, true) => "+02:00",
            (false, false) => "+01:00",
        });
    }
}

/// Appends the last two digits of a number.
pub(super) fn two_digits(number: i32, out: &mut String) {
    out.push(digit(number / 10));
    out.push(digit(number));
}

fn digit(number: i32) -> char {
    char::from(b'0' + number.rem_euclid(10) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_the_days_of_the_calendar() {
        let mut date = jiff::civil::date(1895, 2, 27);
        for _ in 0..60_000 {
            let day = Day::of(date);
            assert_eq!(day.text(), date.to_string());
            date = date.tomorrow().expect("within range");
            assert_eq!(day.plus(1), Day::of(date));
        }
    }

    #[test]
    fn days_stay_within_the_years_that_can_be_written() {
        assert_eq!(Day::of(jiff::civil::Date::MIN).text(), "0001-01-01");
        assert_eq!(Day::of(jiff::civil::Date::MAX).plus(9).text(), "9999-12-31");
        assert_eq!(
            Day::from_civil(1970, 1, 1).plus(i32::MIN).text(),
            "0001-01-01"
        );
    }

    #[test]
    fn instants_have_the_offset_of_their_day() {
        for (day, want) in [
            ((2025, 3, 29), "2025-03-29T01:02:03+01:00"),
            ((2025, 3, 30), "2025-03-30T01:02:03+02:00"),
            ((2025, 10, 25), "2025-10-25T01:02:03+02:00"),
            ((2025, 10, 26), "2025-10-26T01:02:03+01:00"),
            ((2025, 10, 31), "2025-10-31T01:02:03+01:00"),
        ] {
            let day = Day::from_civil(day.0, day.1, day.2);
            let mut text = String::new();
            let second = 3723;
            Instant {
                day,
                second,
                utc: false,
                fraction: None,
            }
            .write(&mut text);
            assert_eq!(text, want);
        }
    }
}
