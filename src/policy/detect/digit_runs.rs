//! Numbers as people write them: groups of digits with separators.
//!
//! A number is judged from its start on, never by what precedes it.

use std::ops::RangeInclusive;

use crate::policy::form::{Date, is_bsn, is_rijksregisternummer};

const DIGITS_MAX: usize = 24;
/// A telephone number in single digits has thirteen groups.
const GROUPS_MAX: usize = 14;

/// The digits from one position on, and the ends of their groups.
pub(super) struct DigitRun<'t> {
    text: &'t [u8],
    has_plus: bool,
    has_bracket: bool,
    digits: [u8; DIGITS_MAX],
    groups: [DigitGroup; GROUPS_MAX],
    group_count: usize,
}

/// Digits without a separator.
#[derive(Clone, Copy, Default)]
struct DigitGroup {
    start: usize,
    end: usize,
    /// The digits of the run up to the end of this group.
    digits_so_far: usize,
}

impl DigitGroup {
    fn len(self) -> usize {
        self.end - self.start
    }
}

impl<'t> DigitRun<'t> {
    /// Reads the groups that begin at `at`, after a plus or bracket.
    pub(super) fn read(text: &'t [u8], at: usize) -> Option<DigitRun<'t>> {
        let lead = count_while(text, at, 2, |b| b == b'+' || b == b'(');
        let mut run = DigitRun {
            text,
            has_plus: text.get(at..at + lead)?.contains(&b'+'),
            has_bracket: text.get(at..at + lead)?.contains(&b'('),
            digits: [b'0'; DIGITS_MAX],
            groups: [DigitGroup::default(); GROUPS_MAX],
            group_count: 0,
        };
        let mut start = at + lead;
        while run.push_group(start) {
            let end = run.groups[run.group_count - 1].end;
            start = end + separator_len(text, end);
            if start == end {
                break;
            }
        }
        (run.group_count > 0).then_some(run)
    }

    /// Adds the next group unless the number grows too long; the first may have any length.
    fn push_group(&mut self, start: usize) -> bool {
        let before = self.digits_in_groups(self.group_count);
        let room = DIGITS_MAX - before;
        let limit = if self.group_count == 0 { usize::MAX } else { room + 1 };
        let length = count_while(self.text, start, limit, |b| b.is_ascii_digit());
        if length == 0 || (self.group_count > 0 && length > room) {
            return false;
        }
        for (place, digit) in
            self.digits[before..].iter_mut().zip(&self.text[start..start + length])
        {
            *place = *digit;
        }
        self.groups[self.group_count] =
            DigitGroup { start, end: start + length, digits_so_far: before + length };
        self.group_count += 1;
        before + length < DIGITS_MAX && self.group_count < GROUPS_MAX
    }

    fn digits_in_groups(&self, groups: usize) -> usize {
        groups.checked_sub(1).map_or(0, |last| self.groups[last].digits_so_far)
    }

    fn group_bytes(&self, at: usize) -> &[u8] {
        &self.text[self.groups[at].start..self.groups[at].end]
    }

    /// Returns the end of the longest number with one of these lengths that `suits`, given its
    /// digits and number of groups.
    fn longest_number_end(
        &self,
        lengths: RangeInclusive<usize>,
        is_match: impl Fn(&[u8], usize) -> bool,
    ) -> Option<usize> {
        let groups = self.groups[..self.group_count].iter().enumerate().rev();
        groups
            .filter(|(_, group)| {
                group.digits_so_far <= DIGITS_MAX && lengths.contains(&group.digits_so_far)
            })
            .find(|(at, group)| is_match(&self.digits[..group.digits_so_far], at + 1))
            .map(|(_, group)| group.end)
    }

    fn has_prefix(&self) -> bool {
        self.has_plus || self.has_bracket
    }

    /// Returns the end of a BSN: nine digits, or eight without the leading zero, in any grouping.
    pub(super) fn bsn_end(&self) -> Option<usize> {
        if self.has_prefix() || self.starts_with_full_date() {
            return None;
        }
        self.longest_number_end(8..=9, |digits, _| is_bsn(digits))
    }

    /// Returns the end of a rijksregisternummer in any grouping, also after zeros.
    pub(super) fn rijksregisternummer_end(&self) -> Option<usize> {
        if self.has_prefix() {
            return None;
        }
        self.longest_number_end(11..=DIGITS_MAX, |digits, _| {
            let (before, number) = digits.split_at(digits.len() - 11);
            before.iter().all(|&b| b == b'0') && is_rijksregisternummer(number)
        })
    }

    /// Returns the end of a Dutch or Belgian telephone number.
    pub(super) fn phone_end(&self) -> Option<usize> {
        if self.starts_with_full_date() {
            return None;
        }
        self.longest_number_end(9..=14, |digits, _| {
            is_national_phone(digits) || self.is_international_phone(digits)
        })
    }

    fn is_international_phone(&self, digits: &[u8]) -> bool {
        let abroad = digits.strip_prefix(b"00");
        let Some(digits) = abroad.or(self.has_plus.then_some(digits)) else {
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

    /// Returns the end of a date in digits, in any usual order and grouping.
    pub(super) fn date_end(&self) -> Option<usize> {
        if self.has_prefix() {
            return None;
        }
        if let Some((end, _)) = self.grouped_date_end() {
            return Some(end);
        }
        let solid = self.group_bytes(0);
        let &[a, b, c, d, e, f, g, h] = solid else {
            return None;
        };
        let year_first = is_plausible_birth_date(&[a, b, c, d], &[e, f], &[g, h]);
        let day_first = is_plausible_birth_date(&[e, f, g, h], &[c, d], &[a, b]);
        (year_first || day_first).then_some(self.groups[0].end)
    }

    /// Returns the end of a date in three groups, and whether its year has four digits.
    fn grouped_date_end(&self) -> Option<(usize, bool)> {
        if self.group_count < 3 {
            return None;
        }
        let between = self.trimmed_separator_after(0)?;
        if self.trimmed_separator_after(1)? != between {
            return None;
        }
        let [a, b, c] = [0, 1, 2].map(|at| self.group_bytes(at));
        let whole =
            c.len() == 4 && a.len() <= 2 && b.len() <= 2 && is_plausible_birth_date(c, b, a);
        let whole = whole
            || (a.len() == 4 && b.len() <= 2 && c.len() <= 2 && is_plausible_birth_date(a, b, c));
        let short = c.len() == 2
            && a.len() <= 2
            && b.len() <= 2
            && !between.is_empty()
            && is_plausible_birth_date(&[b'2', b'0', c[0], c[1]], b, a);
        (whole || short).then_some((self.groups[2].end, whole))
    }

    fn starts_with_full_date(&self) -> bool {
        self.grouped_date_end().is_some_and(|(_, whole)| whole)
    }

    /// Returns the bytes between a group and the next.
    fn separator_after(&self, group: usize) -> Option<&[u8]> {
        let next = self.groups.get(group + 1)?;
        self.text.get(self.groups[group].end..next.start)
    }

    /// Like [`Self::separator_after`] without surrounding white space; empty if there is nothing
    /// else.
    fn trimmed_separator_after(&self, group: usize) -> Option<&[u8]> {
        self.separator_after(group).map(<[u8]>::trim_ascii)
    }

    /// Returns the end of a card number: seven or more digits in one group, with one or two letters
    /// after them, or ten to twenty in groups of three to five.
    pub(super) fn card_number_end(&self) -> Option<usize> {
        if self.has_prefix() {
            return None;
        }
        self.grouped_card_number_end().or_else(|| self.ungrouped_card_number_end())
    }

    pub(super) fn ungrouped_card_number_end(&self) -> Option<usize> {
        let first = self.groups[0];
        if first.len() < 7 {
            return None;
        }
        let letters = count_while(self.text, first.end, 3, is_alphanumeric);
        Some(first.end + if letters < 3 { letters } else { 0 })
    }

    fn grouped_card_number_end(&self) -> Option<usize> {
        let between = self.trimmed_separator_after(0).filter(|_| self.group_count > 1)?;
        let same = (0..self.group_count - 1)
            .take_while(|&at| self.trimmed_separator_after(at) == Some(between));
        let usable = same.take_while(|&at| (3..=5).contains(&self.groups[at].len())).count();
        let groups = self.groups.get(1..=usable)?.iter().rev();
        groups
            .filter(|group| (10..=20).contains(&group.digits_so_far) && group.len() <= 5)
            .map(|group| group.end)
            .next()
    }

    /// Returns the end of a valid ISBN-13, which is not personal.
    pub(super) fn isbn_end(&self) -> Option<usize> {
        self.longest_number_end(13..=13, |digits, groups| {
            let mut gaps = (0..groups - 1).filter_map(|group| self.separator_after(group));
            if !gaps.all(|gap| matches!(gap, b" " | b"-")) {
                return false;
            }
            let weighted = digits.iter().zip([1, 3].into_iter().cycle());
            let sum: u32 = weighted.map(|(&b, weight)| u32::from(b - b'0') * weight).sum();
            sum.is_multiple_of(10) && (digits.starts_with(b"978") || digits.starts_with(b"979"))
        })
    }
}

/// Counts the bytes from `at` on that match, up to a limit.
pub(super) fn count_while(
    text: &[u8],
    at: usize,
    limit: usize,
    is_match: impl Fn(u8) -> bool,
) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.iter().take(limit).take_while(|&&b| is_match(b)).count()
}

/// Bytes of other scripts all count as letters.
pub(super) const fn is_alphanumeric(b: u8) -> bool {
    b.is_ascii_alphanumeric() || !b.is_ascii()
}

/// Returns whether the digits are a day on which someone may have been born.
pub(super) fn is_plausible_birth_date(year: &[u8], month: &[u8], day: &[u8]) -> bool {
    let number = |part: &[u8]| part.iter().fold(0_i16, |sum, &b| sum * 10 + i16::from(b - b'0'));
    let small = |part: &[u8]| u8::try_from(number(part)).unwrap_or(0);
    let year = number(year);
    (1900..=2099).contains(&year) && Date::new(year, small(month), small(day)).is_some()
}

const SEPARATOR_CHARS_MAX: usize = 3;

/// Returns the length of a separator between two digits of a number: up to three characters that
/// are neither letters nor digits. A run of white space counts as one.
pub(super) fn separator_len(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let (mut length, mut characters, mut in_space) = (0, 0, false);
    for &b in rest.iter().take_while(|&&b| !is_alphanumeric(b)) {
        let is_space = is_white_space(b);
        if !(is_space && in_space) {
            characters += 1;
        }
        if characters > SEPARATOR_CHARS_MAX {
            break;
        }
        in_space = is_space;
        length += 1;
    }
    length
}

/// Includes the vertical tab.
const fn is_white_space(b: u8) -> bool {
    b.is_ascii_whitespace() || b == 0x0b
}

fn is_national_phone(digits: &[u8]) -> bool {
    matches!(digits, [b'0', b'1'..=b'9', ..]) && matches!(digits.len(), 9 | 10)
}
