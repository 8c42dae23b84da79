//! The record's own values, found again in its free text.
//!
//! Compares folded text only, from one place on. Names and numbers of more than
//! 64 bytes, and addresses of more than 320, are not looked for, so that no
//! record makes this slow.

use super::fold::fold;
use super::number::{count, is_alphanumeric, is_between_digits};
use crate::policy::form::Date;

const NEEDLE_BYTES_MAX: usize = 64;
const EMAIL_BYTES_MAX: usize = 320;

/// The words of a name that stand in too many other places.
const PARTICLES: &[&str] = &[
    "aan", "bij", "da", "de", "del", "den", "der", "di", "dos", "du", "el", "het", "in", "la",
    "le", "lo", "op", "te", "ten", "ter", "uit", "van", "von", "zur",
];

/// What to look for, compiled from the values of one record.
#[derive(Default)]
pub(super) struct OwnValues {
    needles: Vec<Needle>,
}

enum Needle {
    /// Letters, in lower case, with spaces, hyphens and apostrophes left out.
    Word(Vec<u8>),
    /// Digits, and letters where a card number has them.
    Code(Vec<u8>),
    /// An address, in lower case.
    Email(Vec<u8>),
}

impl OwnValues {
    pub(super) fn new<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let mut own = OwnValues::default();
        for value in values {
            own.add(value);
        }
        own
    }

    pub(super) fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    fn add(&mut self, value: &str) {
        let value = fold(value);
        let value = value.trim();
        let digits: String = value.chars().filter(char::is_ascii_digit).collect();
        if value.contains('@') {
            if value.len() <= EMAIL_BYTES_MAX {
                self.needles.push(Needle::Email(value.as_bytes().to_vec()));
            }
        } else if let Some(date) = Date::parse(value) {
            self.add_date(date);
        } else if digits.len() >= 4 {
            self.add_number(value, &digits);
        } else {
            self.add_name(value);
        }
    }

    fn add_date(&mut self, date: Date) {
        let Date { year, month, day } = date;
        self.add_code(&format!("{year:04}{month:02}{day:02}"));
        self.add_code(&format!("{day:02}{month:02}{year:04}"));
        self.add_code(&format!("{day}{month}{year:04}"));
    }

    /// Looks for the digits, for what the letters of a card number make of
    /// them, and for a telephone number's other ways to be dialled.
    fn add_number(&mut self, value: &str, digits: &str) {
        self.add_code(digits);
        let code: String = value.chars().filter(|c| c.is_alphanumeric()).collect();
        if code != digits {
            self.add_code(&code);
        } else if let Some(subscriber) = subscriber(value, digits) {
            for dialled in [
                "0", "31", "310", "0031", "00310", "32", "320", "0032", "00320",
            ] {
                self.add_code(&format!("{dialled}{subscriber}"));
            }
        }
    }

    fn add_code(&mut self, code: &str) {
        if code.len() <= NEEDLE_BYTES_MAX {
            self.needles.push(Needle::Code(code.as_bytes().to_vec()));
        }
    }

    /// Looks for the whole name, and for each of its words by itself.
    fn add_name(&mut self, name: &str) {
        self.add_word(name);
        let between = |c: char| !(c.is_alphanumeric() || c == '\'');
        for word in name.split(between) {
            if PARTICLES.contains(&word) || word == name {
                continue;
            }
            self.add_word(word);
        }
        for word in name.split(|c| between(c) || c == '\'') {
            if word.len() >= 3 && word != name && !PARTICLES.contains(&word) {
                self.add_word(word);
            }
        }
    }

    fn add_word(&mut self, word: &str) {
        let letters: String = word.chars().filter(|c| c.is_alphanumeric()).collect();
        let enough = letters
            .chars()
            .filter(|c| c.is_alphabetic())
            .nth(1)
            .is_some();
        if enough && letters.len() <= NEEDLE_BYTES_MAX {
            self.needles.push(Needle::Word(letters.into_bytes()));
        }
    }

    /// Finds the end of the longest own value that begins at `at`; the end of
    /// the last hit, `edge`, counts as the end of a word.
    pub(super) fn end(&self, text: &[u8], at: usize, edge: usize) -> Option<usize> {
        let before = at.checked_sub(1).filter(|_| at != edge);
        let before = before.and_then(|at| text.get(at)).copied();
        self.needles
            .iter()
            .filter_map(|needle| needle.end(text, at, before))
            .max()
    }
}

impl Needle {
    fn end(&self, text: &[u8], at: usize, before: Option<u8>) -> Option<usize> {
        match self {
            Needle::Word(letters) => {
                let free = !before.is_some_and(is_word);
                let end = free.then(|| walk(text, at, letters, 2, is_between_letters))??;
                (!text.get(end).copied().is_some_and(is_word)).then_some(end)
            }
            Needle::Code(code) => {
                let first = code.first()?;
                let same_kind = |b: u8| b.is_ascii_digit() == first.is_ascii_digit();
                let free = !before.is_some_and(|b| is_alphanumeric(b) && same_kind(b));
                let lead = count(text, at, 2, |b| b == b'+' || b == b'(');
                let end = free.then(|| walk(text, at + lead, code, 3, is_between_digits))??;
                (!goes_on(text, end)).then_some(end)
            }
            Needle::Email(address) => {
                let free = !before.is_some_and(is_alphanumeric);
                let end = free.then(|| walk(text, at, address, 0, |_| false))??;
                (!goes_on(text, end)).then_some(end)
            }
        }
    }
}

/// Walks along a needle, stepping over up to `gap` bytes between two of its own.
fn walk(
    text: &[u8],
    at: usize,
    needle: &[u8],
    gap: usize,
    skips: impl Fn(u8) -> bool,
) -> Option<usize> {
    let mut at = at;
    for (place, &want) in needle.iter().enumerate() {
        let stepped = if place == 0 { 0 } else { gap };
        let next = |at: usize| text.get(at).map(u8::to_ascii_lowercase);
        if next(at) != Some(want) {
            at += count(text, at, stepped, &skips);
        }
        if next(at) != Some(want) {
            return None;
        }
        at += 1;
    }
    Some(at)
}

/// Tells whether a letter follows a letter at `end`, or a digit a digit.
fn goes_on(text: &[u8], end: usize) -> bool {
    let [Some(last), Some(next)] = [end.checked_sub(1), Some(end)].map(|at| text.get(at?).copied())
    else {
        return false;
    };
    is_alphanumeric(last) && is_alphanumeric(next) && last.is_ascii_digit() == next.is_ascii_digit()
}

fn is_between_letters(b: u8) -> bool {
    b.is_ascii_whitespace() || b == b'-' || b == b'\'' || b == b'`'
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_' || !b.is_ascii()
}

/// Takes the country code or the trunk zero off a telephone number.
fn subscriber<'d>(value: &str, digits: &'d str) -> Option<&'d str> {
    let abroad = digits
        .strip_prefix("00")
        .or((value.starts_with('+') || value.starts_with("(+")).then_some(digits));
    let rest = match abroad {
        Some(abroad) => {
            let national = abroad.strip_prefix("31").or(abroad.strip_prefix("32"))?;
            national.strip_prefix('0').unwrap_or(national)
        }
        None => digits.strip_prefix('0')?,
    };
    matches!(rest.len(), 8 | 9).then_some(rest)
}
