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

/// What to look for, compiled from the values of one record; its buffers are
/// used again.
#[derive(Debug)]
pub(super) struct OwnValues {
    needles: Vec<Needle>,
    /// What the needles are made of, one after the other.
    bytes: Vec<u8>,
    /// Whether a needle may be found from such a byte on.
    firsts: [bool; 256],
    folded: String,
}

impl Default for OwnValues {
    fn default() -> Self {
        OwnValues {
            needles: Vec::new(),
            bytes: Vec::new(),
            firsts: [false; 256],
            folded: String::new(),
        }
    }
}

/// A needle's kind, and where its bytes stand.
#[derive(Debug)]
struct Needle {
    kind: Kind,
    start: usize,
    end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Letters, in lower case, with spaces, hyphens and apostrophes left out.
    Word,
    /// Digits, and letters where a card number has them.
    Code,
    /// An address, in lower case.
    Email,
}

impl OwnValues {
    pub(super) fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    pub(super) fn clear(&mut self) {
        if !self.is_empty() {
            self.needles.clear();
            self.bytes.clear();
            self.firsts = [false; 256];
        }
    }

    pub(super) fn add(&mut self, value: &str) {
        let mut folded = std::mem::take(&mut self.folded);
        fold(value, &mut folded);
        self.add_folded(folded.trim());
        self.folded = folded;
    }

    fn add_folded(&mut self, value: &str) {
        let digits = value.bytes().filter(u8::is_ascii_digit).count();
        if value.contains('@') {
            if value.len() <= EMAIL_BYTES_MAX {
                self.push(Kind::Email, [value]);
            }
        } else if Date::parse(value).is_some() {
            self.add_date(value);
        } else if digits >= 4 {
            self.add_number(value, digits);
        } else {
            self.add_name(value);
        }
    }

    /// Keeps a needle, made of these pieces.
    fn push<'p>(&mut self, kind: Kind, pieces: impl IntoIterator<Item = &'p str>) {
        let start = self.bytes.len();
        for piece in pieces {
            self.bytes.extend_from_slice(piece.as_bytes());
        }
        self.keep(kind, start);
    }

    /// Keeps a needle whose bytes stand from `start` on.
    fn keep(&mut self, kind: Kind, start: usize) {
        let Some(&first) = self.bytes.get(start) else {
            return;
        };
        self.firsts[usize::from(first)] = true;
        self.firsts[usize::from(first.to_ascii_uppercase())] = true;
        if kind == Kind::Code {
            self.firsts[usize::from(b'+')] = true;
            self.firsts[usize::from(b'(')] = true;
        }
        self.needles.push(Needle {
            kind,
            start,
            end: self.bytes.len(),
        });
    }

    /// Looks for a date, which is `YYYY-MM-DD`, in three ways to write it.
    fn add_date(&mut self, date: &str) {
        let (year, month, day) = (&date[..4], &date[5..7], &date[8..]);
        let [short_month, short_day] = [month, day].map(|part| part.trim_start_matches('0'));
        self.push(Kind::Code, [year, month, day]);
        self.push(Kind::Code, [day, month, year]);
        self.push(Kind::Code, [short_day, short_month, year]);
    }

    /// Looks for the digits, for what the letters of a card number make of
    /// them, and for a telephone number's other ways to be dialled.
    fn add_number(&mut self, value: &str, digits: usize) {
        let start = self.bytes.len();
        self.bytes.extend(value.bytes().filter(u8::is_ascii_digit));
        let end = self.keep_code(start);
        if value.chars().filter(|c| c.is_alphanumeric()).count() > digits {
            let start = self.bytes.len();
            self.push_letters(value);
            self.keep_code(start);
        } else if let Some(length) = subscriber(value, &self.bytes[start..end]) {
            for dialled in [
                "0", "31", "310", "0031", "00310", "32", "320", "0032", "00320",
            ] {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(dialled.as_bytes());
                self.bytes.extend_from_within(end - length..end);
                self.keep_code(start);
            }
        }
    }

    /// Keeps the code that stands from `start` on, if it is not too long; says
    /// where the bytes end then.
    fn keep_code(&mut self, start: usize) -> usize {
        if self.bytes.len() - start <= NEEDLE_BYTES_MAX {
            self.keep(Kind::Code, start);
        } else {
            self.bytes.truncate(start);
        }
        self.bytes.len()
    }

    /// Writes down the letters and digits of a value; counts the letters.
    fn push_letters(&mut self, value: &str) -> usize {
        let (mut letters, mut buffer) = (0, [0; 4]);
        for c in value.chars().filter(|c| c.is_alphanumeric()) {
            letters += usize::from(c.is_alphabetic());
            let letter = c.encode_utf8(&mut buffer);
            self.bytes.extend_from_slice(letter.as_bytes());
        }
        letters
    }

    /// Looks for the whole name, and for each of its words by itself.
    fn add_name(&mut self, name: &str) {
        self.add_word(name);
        let between = |c: char| !(c.is_alphanumeric() || c == '\'');
        for word in name.split(between) {
            if is_particle(word) || word == name {
                continue;
            }
            self.add_word(word);
        }
        for word in name.split(|c| between(c) || c == '\'') {
            if word.len() >= 3 && word != name && !is_particle(word) {
                self.add_word(word);
            }
        }
    }

    fn add_word(&mut self, word: &str) {
        let start = self.bytes.len();
        let letters = self.push_letters(word);
        if letters >= 2 && self.bytes.len() - start <= NEEDLE_BYTES_MAX {
            self.keep(Kind::Word, start);
        } else {
            self.bytes.truncate(start);
        }
    }

    /// Finds the first place from `at` on where a needle may be found, or `limit`.
    pub(super) fn may_begin(&self, text: &[u8], at: usize, limit: usize) -> usize {
        if self.is_empty() {
            return limit;
        }
        let ahead = text.get(at..limit).unwrap_or_default();
        let first = ahead.iter().position(|&b| self.firsts[usize::from(b)]);
        first.map_or(limit, |first| at + first)
    }

    /// Tells whether a needle may be found at `at`.
    pub(super) fn has_first(&self, text: &[u8], at: usize) -> bool {
        text.get(at).is_some_and(|&b| self.firsts[usize::from(b)])
    }

    /// Finds the end of the longest own value that begins at `at`; the end of
    /// the last hit, `edge`, counts as the end of a word.
    pub(super) fn end(&self, text: &[u8], at: usize, edge: usize) -> Option<usize> {
        let before = at.checked_sub(1).filter(|_| at != edge);
        let before = before.and_then(|at| text.get(at)).copied();
        self.needles
            .iter()
            .filter_map(|needle| {
                let bytes = self.bytes.get(needle.start..needle.end)?;
                needle.kind.end(bytes, text, at, before)
            })
            .max()
    }
}

impl Kind {
    /// Finds the end of the needle of these bytes, if it stands at `at`.
    fn end(self, needle: &[u8], text: &[u8], at: usize, before: Option<u8>) -> Option<usize> {
        match self {
            Kind::Word => {
                let free = !before.is_some_and(is_word);
                let end = free.then(|| walk(text, at, needle, 2, is_between_letters))??;
                (!text.get(end).copied().is_some_and(is_word)).then_some(end)
            }
            Kind::Code => {
                let first = needle.first()?;
                let same_kind = |b: u8| b.is_ascii_digit() == first.is_ascii_digit();
                let free = !before.is_some_and(|b| is_alphanumeric(b) && same_kind(b));
                let lead = count(text, at, 2, |b| b == b'+' || b == b'(');
                let end = free.then(|| walk(text, at + lead, needle, 3, is_between_digits))??;
                (!goes_on(text, end)).then_some(end)
            }
            Kind::Email => {
                let free = !before.is_some_and(is_alphanumeric);
                let end = free.then(|| walk(text, at, needle, 0, |_| false))??;
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

fn is_particle(word: &str) -> bool {
    word.len() <= 3 && PARTICLES.contains(&word)
}

/// Counts the digits of a telephone number that are left without its country
/// code or trunk zero; they are its last.
fn subscriber(value: &str, digits: &[u8]) -> Option<usize> {
    let abroad = digits
        .strip_prefix(b"00")
        .or((value.starts_with('+') || value.starts_with("(+")).then_some(digits));
    let rest = match abroad {
        Some(abroad) => {
            let national = abroad.strip_prefix(b"31").or(abroad.strip_prefix(b"32"))?;
            national.strip_prefix(b"0").unwrap_or(national)
        }
        None => digits.strip_prefix(b"0")?,
    };
    matches!(rest.len(), 8 | 9).then_some(rest.len())
}
