//! An activity that a patron is not told of: a law forbids it, for a time or until it says otherwise.

use std::fmt;

use super::form::Date;
use super::term::DAY_MS;

/// The mark's first word in canonical texts.
const WORD: &str = "confidential";

/// How long an activity is kept out of what patrons are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confidentiality {
    /// The last day, in UTC; `None` until the mark is removed.
    pub until: Option<Date>,
}

impl Confidentiality {
    /// Returns whether it holds at a time in Unix seconds.
    #[must_use]
    pub fn holds_at(self, time: i64) -> bool {
        let ends_ms = |day: Date| day.to_unix_ms().saturating_add(DAY_MS);
        self.until.is_none_or(|day| time.saturating_mul(1_000) < ends_ms(day))
    }

    /// Returns whether it ends no earlier than `other`.
    #[must_use]
    pub fn covers(self, other: Confidentiality) -> bool {
        match (self.until, other.until) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(other)) => own >= other,
        }
    }

    /// Reads a line of a canonical text, as [`Display`](fmt::Display) writes it; `None` if it is another
    /// one. An end that cannot be read is none.
    #[must_use]
    pub fn from_canonical(line: &str) -> Option<Confidentiality> {
        let rest = line.trim_start().strip_prefix(WORD)?;
        let until = rest.strip_prefix(" until ").and_then(Date::parse);
        (rest.is_empty() || rest.starts_with(' ')).then_some(Confidentiality { until })
    }
}

impl fmt::Display for Confidentiality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WORD)?;
        match self.until {
            Some(day) => write!(f, " until {day}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(day: &str) -> Confidentiality {
        Confidentiality { until: Some(Date::parse(day).unwrap()) }
    }

    #[test]
    fn confidentiality_holds_to_the_end_of_its_last_day() {
        let last_second = 1_801_439_999; // 2027-01-31T23:59:59Z
        assert!(until("2027-01-31").holds_at(last_second));
        assert!(!until("2027-01-31").holds_at(last_second + 1));
        assert!(Confidentiality { until: None }.holds_at(i64::MAX));
    }

    #[test]
    fn confidentiality_covers_what_ends_no_later() {
        let endless = Confidentiality { until: None };
        let (early, late) = (until("2027-01-31"), until("2027-02-01"));
        assert!(endless.covers(endless) && endless.covers(late));
        assert!(late.covers(early) && late.covers(late));
        assert!(!early.covers(late) && !late.covers(endless));
    }

    #[test]
    fn canonical_line_is_read_as_it_is_written() {
        for one in [Confidentiality { until: None }, until("2027-01-31")] {
            assert_eq!(Confidentiality::from_canonical(&format!("  {one}")), Some(one));
        }
        for other in ["  confidentially", "  purpose \"confidential\"", ""] {
            assert_eq!(Confidentiality::from_canonical(other), None, "{other}");
        }
        // Fails closed.
        let endless = Some(Confidentiality { until: None });
        assert_eq!(Confidentiality::from_canonical("  confidential until 2027-02-30"), endless);
    }
}
