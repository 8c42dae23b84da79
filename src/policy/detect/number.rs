//! Numbers as people write them: groups of digits with something between.
//!
//! Judges a number from one place on; never looks at what stands before it.

use std::ops::RangeInclusive;

use crate::policy::form::{Date, is_bsn, is_rijksregisternummer};

const DIGITS_MAX: usize = 24;
/// A telephone number in single digits has thirteen groups.
const GROUPS_MAX: usize = 14;

/// The digits that are read from one place on, and where their groups end.
pub(super) struct Run<'t> {
    text: &'t [u8],
    plus: bool,
    bracket: bool,
    digits: [u8; DIGITS_MAX],
    groups: [Group; GROUPS_MAX],
    count: usize,
}

/// Digits without anything between them.
#[derive(Clone, Copy, Default)]
struct Group {
    start: usize,
    end: usize,
    /// The digits of the run up to the end of this group.
    total: usize,
}

impl Group {
    fn len(self) -> usize {
        self.end - self.start
    }
}

impl<'t> Run<'t> {
    /// Reads the groups that begin at `at`, after a plus or a bracket.
    pub(super) fn read(text: &'t [u8], at: usize) -> Option<Run<'t>> {
        let lead = count(text, at, 2, |b| b == b'+' || b == b'(');
        let mut run = Run {
            text,
            plus: text.get(at..at + lead)?.contains(&b'+'),
            bracket: text.get(at..at + lead)?.contains(&b'('),
            digits: [b'0'; DIGITS_MAX],
            groups: [Group::default(); GROUPS_MAX],
            count: 0,
        };
        let mut start = at + lead;
        while run.push_group(start) {
            let end = run.groups[run.count - 1].end;
            start = end + gap(text, end);
            if start == end {
                break;
            }
        }
        (run.count > 0).then_some(run)
    }

    /// Takes one more group, if there is one and it does not grow too long; the
    /// first may have any length.
    fn push_group(&mut self, start: usize) -> bool {
        let before = self.digits_in(self.count);
        let room = DIGITS_MAX - before;
        let limit = if self.count == 0 {
            usize::MAX
        } else {
            room + 1
        };
        let length = count(self.text, start, limit, |b| b.is_ascii_digit());
        if length == 0 || (self.count > 0 && length > room) {
            return false;
        }
        for (place, digit) in self.digits[before..]
            .iter_mut()
            .zip(&self.text[start..start + length])
        {
            *place = *digit;
        }
        self.groups[self.count] = Group {
            start,
            end: start + length,
            total: before + length,
        };
        self.count += 1;
        before + length < DIGITS_MAX && self.count < GROUPS_MAX
    }

    fn digits_in(&self, groups: usize) -> usize {
        groups
            .checked_sub(1)
            .map_or(0, |last| self.groups[last].total)
    }

    fn group_bytes(&self, at: usize) -> &[u8] {
        &self.text[self.groups[at].start..self.groups[at].end]
    }

    /// Finds the longest number of this run that has one of these lengths and
    /// `suits`, given its digits and how many groups they are in.
    fn longest(
        &self,
        lengths: RangeInclusive<usize>,
        suits: impl Fn(&[u8], usize) -> bool,
    ) -> Option<usize> {
        let groups = self.groups[..self.count].iter().enumerate().rev();
        groups
            .filter(|(_, group)| group.total <= DIGITS_MAX && lengths.contains(&group.total))
            .find(|(at, group)| suits(&self.digits[..group.total], at + 1))
            .map(|(_, group)| group.end)
    }

    fn is_led(&self) -> bool {
        self.plus || self.bracket
    }

    /// Finds the end of a BSN: nine digits however they are grouped, or eight
    /// in one piece.
    pub(super) fn bsn(&self) -> Option<usize> {
        if self.is_led() || self.begins_with_full_date() {
            return None;
        }
        self.longest(8..=9, |digits, groups| {
            (digits.len() == 9 || groups == 1) && is_bsn(digits)
        })
    }

    /// Finds the end of a rijksregisternummer, however it is grouped, also behind
    /// zeros.
    pub(super) fn rijksregisternummer(&self) -> Option<usize> {
        if self.is_led() {
            return None;
        }
        self.longest(11..=DIGITS_MAX, |digits, _| {
            let (before, number) = digits.split_at(digits.len() - 11);
            before.iter().all(|&b| b == b'0') && is_rijksregisternummer(number)
        })
    }

    /// Finds the end of a Dutch or Belgian telephone number.
    pub(super) fn phone(&self) -> Option<usize> {
        if self.begins_with_full_date() {
            return None;
        }
        self.longest(9..=14, |digits, _| {
            is_national_phone(digits) || self.is_international_phone(digits)
        })
    }

    fn is_international_phone(&self, digits: &[u8]) -> bool {
        let abroad = digits.strip_prefix(b"00");
        let Some(digits) = abroad.or(self.plus.then_some(digits)) else {
            return false;
        };
        let (lengths, subscriber) = match digits {
            [b'3', b'1', subscriber @ ..] => (9..=9, subscriber),
            [b'3', b'2', subscriber @ ..] => (8..=9, subscriber),
            _ => return false,
        };
        // The trunk zero is often written: +31 (0)6.
        lengths.contains(&subscriber.strip_prefix(b"0").unwrap_or(subscriber).len())
    }

    /// Finds the end of a date in digits, in any usual order and grouping.
    pub(super) fn date(&self) -> Option<usize> {
        if self.is_led() {
            return None;
        }
        if let Some((end, _)) = self.grouped_date() {
            return Some(end);
        }
        let solid = self.group_bytes(0);
        let &[a, b, c, d, e, f, g, h] = solid else {
            return None;
        };
        let year_first = calendar(&[a, b, c, d], &[e, f], &[g, h]);
        let day_first = calendar(&[e, f, g, h], &[c, d], &[a, b]);
        (year_first || day_first).then_some(self.groups[0].end)
    }

    /// Finds the end of a date in three groups, and whether its year is whole.
    fn grouped_date(&self) -> Option<(usize, bool)> {
        if self.count < 3 {
            return None;
        }
        let between = self.between(0)?;
        if self.between(1)? != between {
            return None;
        }
        let [a, b, c] = [0, 1, 2].map(|at| self.group_bytes(at));
        let whole = c.len() == 4 && a.len() <= 2 && b.len() <= 2 && calendar(c, b, a);
        let whole = whole || (a.len() == 4 && b.len() <= 2 && c.len() <= 2 && calendar(a, b, c));
        let short = c.len() == 2
            && a.len() <= 2
            && b.len() <= 2
            && !between.is_empty()
            && calendar(&[b'2', b'0', c[0], c[1]], b, a);
        (whole || short).then_some((self.groups[2].end, whole))
    }

    fn begins_with_full_date(&self) -> bool {
        self.grouped_date().is_some_and(|(_, whole)| whole)
    }

    /// Returns what stands between a group and the next one.
    fn gap_after(&self, group: usize) -> Option<&[u8]> {
        let next = self.groups.get(group + 1)?;
        self.text.get(self.groups[group].end..next.start)
    }

    /// The same without the white space around it: nothing where that is all.
    fn between(&self, group: usize) -> Option<&[u8]> {
        self.gap_after(group).map(<[u8]>::trim_ascii)
    }

    /// Finds the end of a card number: seven digits or more in one piece, with
    /// a letter or two after them, or ten to twenty in groups of three to five.
    pub(super) fn card(&self) -> Option<usize> {
        if self.is_led() {
            return None;
        }
        self.grouped_card().or_else(|| self.solid_card())
    }

    /// Finds the end of a card number in one piece.
    pub(super) fn solid_card(&self) -> Option<usize> {
        let first = self.groups[0];
        if first.len() < 7 {
            return None;
        }
        let letters = count(self.text, first.end, 3, is_alphanumeric);
        Some(first.end + if letters < 3 { letters } else { 0 })
    }

    fn grouped_card(&self) -> Option<usize> {
        let between = self.between(0).filter(|_| self.count > 1)?;
        let same = (0..self.count - 1).take_while(|&at| self.between(at) == Some(between));
        let usable = same
            .take_while(|&at| (3..=5).contains(&self.groups[at].len()))
            .count();
        let groups = self.groups.get(1..=usable)?.iter().rev();
        groups
            .filter(|group| (10..=20).contains(&group.total) && group.len() <= 5)
            .map(|group| group.end)
            .next()
    }

    /// Finds the end of a valid ISBN of 13 digits, as books have it: a book is nobody.
    pub(super) fn isbn(&self) -> Option<usize> {
        self.longest(13..=13, |digits, groups| {
            let mut gaps = (0..groups - 1).filter_map(|group| self.gap_after(group));
            if !gaps.all(|gap| matches!(gap, b" " | b"-")) {
                return false;
            }
            let weighted = digits.iter().zip([1, 3].into_iter().cycle());
            let sum: u32 = weighted
                .map(|(&b, weight)| u32::from(b - b'0') * weight)
                .sum();
            sum.is_multiple_of(10) && (digits.starts_with(b"978") || digits.starts_with(b"979"))
        })
    }
}

/// Counts the bytes from `at` on that suit, up to a limit.
pub(super) fn count(text: &[u8], at: usize, limit: usize, suits: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.iter().take(limit).take_while(|&&b| suits(b)).count()
}

/// Tells letters and digits; of other scripts every byte counts as a letter.
pub(super) const fn is_alphanumeric(b: u8) -> bool {
    b.is_ascii_alphanumeric() || !b.is_ascii()
}

/// Tells whether a year, a month and a day in digits are a day on which someone
/// may have been born.
pub(super) fn calendar(year: &[u8], month: &[u8], day: &[u8]) -> bool {
    let number = |part: &[u8]| {
        part.iter()
            .fold(0_i16, |sum, &b| sum * 10 + i16::from(b - b'0'))
    };
    let small = |part: &[u8]| u8::try_from(number(part)).unwrap_or(0);
    let year = number(year);
    (1900..=2099).contains(&year) && Date::new(year, small(month), small(day)).is_some()
}

/// How many characters may stand between two digits of one number.
const GAP_MAX: usize = 3;

/// Measures what may stand between two digits of one number, from `at` on: up to
/// three characters that are neither letters nor digits. A run of white space
/// counts as one.
pub(super) fn gap(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let (mut length, mut characters, mut in_space) = (0, 0, false);
    for &b in rest.iter().take_while(|&&b| !is_alphanumeric(b)) {
        let is_space = is_white_space(b);
        if !(is_space && in_space) {
            characters += 1;
        }
        if characters > GAP_MAX {
            break;
        }
        in_space = is_space;
        length += 1;
    }
    length
}

/// Tells white space, a vertical tab too.
const fn is_white_space(b: u8) -> bool {
    b.is_ascii_whitespace() || b == 0x0b
}

fn is_national_phone(digits: &[u8]) -> bool {
    matches!(digits, [b'0', b'1'..=b'9', ..]) && matches!(digits.len(), 9 | 10)
}
