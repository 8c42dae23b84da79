//! Days and instants, computed from a given day and written as RFC 3339. Never reads the clock.

use crate::policy::form::CivilDate;

/// Days since 1970-01-01, within the years 0001 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day(i32);

const FIRST_DAY: i32 = -719_162;
const LAST_DAY: i32 = 2_932_896;

impl Day {
    pub(super) fn from_date(date: jiff::civil::Date) -> Day {
        let (year, month, day) = (date.year(), date.month(), date.day());
        Day::from_civil(i32::from(year), i32::from(month), i32::from(day))
    }

    /// Returns the nearest day within the years 0001 to 9999.
    pub(super) fn from_civil(year: i32, month: i32, day: i32) -> Day {
        let date = CivilDate { year: year.into(), month: month.into(), day: day.into() };
        Day(date.to_unix_days().clamp(FIRST_DAY.into(), LAST_DAY.into()) as i32)
    }

    /// Returns year, month and day of the month.
    pub(super) fn to_civil(self) -> (i32, i32, i32) {
        let date = CivilDate::from_unix_days(self.0.into());
        (date.year as i32, date.month as i32, date.day as i32)
    }

    /// Negative `days` go back.
    pub(super) fn add_days(self, days: i32) -> Day {
        Day(self.0.saturating_add(days).clamp(FIRST_DAY, LAST_DAY))
    }

    /// Appends `YYYY-MM-DD`.
    pub(super) fn write_date(self, out: &mut String) {
        let (year, month, day) = self.to_civil();
        push_two_digits(year / 100, out);
        push_two_digits(year % 100, out);
        out.push('-');
        push_two_digits(month, out);
        out.push('-');
        push_two_digits(day, out);
    }

    /// `YYYY-MM-DD`.
    pub(super) fn to_text(self) -> String {
        let mut out = String::with_capacity(10);
        self.write_date(&mut out);
        out
    }

    /// Returns whether the Netherlands and Belgium have summer time: from the last Sunday of March
    /// to the last Sunday of October.
    fn is_summer_time(self) -> bool {
        let (_, month, day) = self.to_civil();
        let sunday = day - (self.0 + 4).rem_euclid(7);
        match month {
            4..=9 => true,
            3 => sunday + 7 > 31,
            10 => sunday + 7 <= 31,
            _ => false,
        }
    }
}

/// A second of a day, in local time or UTC.
#[derive(Clone, Copy, Debug)]
pub(super) struct SampleTimestamp {
    pub(super) day: Day,
    pub(super) second_of_day: u32,
    pub(super) is_utc: bool,
    pub(super) milliseconds: Option<u16>,
}

impl SampleTimestamp {
    /// Appends the instant as RFC 3339.
    pub(super) fn write_rfc3339(self, out: &mut String) {
        let second = (self.second_of_day % 86_400).cast_signed();
        self.day.write_date(out);
        out.push('T');
        push_two_digits(second / 3600, out);
        out.push(':');
        push_two_digits(second / 60 % 60, out);
        out.push(':');
        push_two_digits(second % 60, out);
        if let Some(fraction) = self.milliseconds {
            out.push('.');
            out.push(last_digit_char(i32::from(fraction) / 100));
            push_two_digits(i32::from(fraction), out);
        }
        out.push_str(match (self.is_utc, self.day.is_summer_time()) {
            (true, _) => "Z",
            (false, true) => "+02:00",
            (false, false) => "+01:00",
        });
    }
}

/// Appends the last two digits of a number.
pub(super) fn push_two_digits(number: i32, out: &mut String) {
    out.push(last_digit_char(number / 10));
    out.push(last_digit_char(number));
}

fn last_digit_char(number: i32) -> char {
    char::from(b'0' + number.rem_euclid(10) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn day_matches_jiff_calendar() {
        let mut date = jiff::civil::date(1895, 2, 27);
        for _ in 0..60_000 {
            let day = Day::from_date(date);
            assert_eq!(day.to_text(), date.to_string());
            date = date.tomorrow().expect("within range");
            assert_eq!(day.add_days(1), Day::from_date(date));
        }
    }

    #[test]
    fn day_is_clamped_to_years_1_to_9999() {
        assert_eq!(Day::from_date(jiff::civil::Date::MIN).to_text(), "0001-01-01");
        assert_eq!(Day::from_date(jiff::civil::Date::MAX).add_days(9).to_text(), "9999-12-31");
        assert_eq!(Day::from_civil(1970, 1, 1).add_days(i32::MIN).to_text(), "0001-01-01");
    }

    #[test]
    fn timestamp_has_the_summer_or_winter_offset_of_its_day() {
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
            SampleTimestamp { day, second_of_day: second, is_utc: false, milliseconds: None }
                .write_rfc3339(&mut text);
            assert_eq!(text, want);
        }
    }
}
