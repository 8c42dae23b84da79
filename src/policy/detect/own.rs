//! The record's own values, found again in its free text.
//!
//! Compares folded text only, from one place on, and with all values at once, so that
//! many of them make nothing slow. Names and numbers of more than 64 bytes, and
//! addresses of more than 320, are not looked for.

use super::address::{MONTHS, WrittenDate, date_in_words};
use super::fold::fold;
use super::number::{count, gap, is_alphanumeric};
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
    /// By kind: from which node a needle goes on that begins with a byte.
    roots: [[u32; 256]; KINDS],
    nodes: Vec<Node>,
    /// Dates, which may be written with their month in letters.
    dates: Vec<Date>,
    /// Whether a needle may be found from such a byte on.
    firsts: [bool; 256],
    /// The needle at hand.
    needle: Vec<u8>,
    folded: String,
}

impl Default for OwnValues {
    fn default() -> Self {
        OwnValues {
            roots: [[NOWHERE; 256]; KINDS],
            nodes: Vec::new(),
            dates: Vec::new(),
            firsts: [false; 256],
            needle: Vec::new(),
            folded: String::new(),
        }
    }
}

/// A byte of some needles that begin alike.
#[derive(Debug)]
struct Node {
    byte: u8,
    /// A needle ends here.
    ends: bool,
    /// What may follow, as a list.
    first_child: u32,
    next_sibling: u32,
}

const NOWHERE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Letters, in lower case, with spaces, hyphens and apostrophes left out; digits
    /// too, where a street has its number behind it.
    Word,
    /// Digits, and letters where a card number has them.
    Code,
    /// An address, in lower case.
    Email,
}

const KINDS: usize = 3;

impl OwnValues {
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(super) fn clear(&mut self) {
        if !self.is_empty() {
            self.roots = [[NOWHERE; 256]; KINDS];
            self.nodes.clear();
            self.dates.clear();
            self.firsts = [false; 256];
        }
    }

    /// Looks for a value that is made of these parts, with a space between them.
    pub(super) fn add<'o>(&mut self, parts: impl IntoIterator<Item = &'o str>) {
        let mut folded = std::mem::take(&mut self.folded);
        folded.clear();
        for part in parts {
            if !folded.is_empty() {
                folded.push(' ');
            }
            fold(part, &mut folded);
        }
        self.add_folded(folded.trim());
        self.folded = folded;
    }

    fn add_folded(&mut self, value: &str) {
        let digits = value.bytes().filter(u8::is_ascii_digit).count();
        if value.contains('@') {
            self.needle.extend_from_slice(value.as_bytes());
            self.keep(Kind::Email, EMAIL_BYTES_MAX);
        } else if let Some(date) = Date::parse(value) {
            self.add_date(value, date);
        } else if digits >= NUMBER_DIGITS_MIN && !is_name_with_number(value, digits) {
            self.add_number(value, digits);
        } else {
            self.add_name(value);
        }
    }

    /// Keeps the needle at hand, if it is not too long.
    fn keep(&mut self, kind: Kind, bytes_max: usize) {
        let mut needle = std::mem::take(&mut self.needle);
        if let Some((&first, rest)) = needle.split_first()
            && needle.len() <= bytes_max
        {
            self.mark_first(first);
            if kind == Kind::Code {
                self.mark_first(b'+');
                self.mark_first(b'(');
            }
            let mut node = self.root(kind, first);
            for &byte in rest {
                node = self.child_or_new(node, byte);
            }
            self.nodes[node as usize].ends = true;
        }
        needle.clear();
        self.needle = needle;
    }

    fn mark_first(&mut self, byte: u8) {
        self.firsts[usize::from(byte.to_ascii_lowercase())] = true;
        self.firsts[usize::from(byte.to_ascii_uppercase())] = true;
    }

    fn root(&mut self, kind: Kind, byte: u8) -> u32 {
        let known = self.roots[kind as usize][usize::from(byte)];
        if known != NOWHERE {
            return known;
        }
        let made = self.new_node(byte, NOWHERE);
        self.roots[kind as usize][usize::from(byte)] = made;
        made
    }

    fn child_or_new(&mut self, node: u32, byte: u8) -> u32 {
        if let Some(known) = self.child(node, byte) {
            return known;
        }
        let made = self.new_node(byte, self.nodes[node as usize].first_child);
        self.nodes[node as usize].first_child = made;
        made
    }

    fn new_node(&mut self, byte: u8, next_sibling: u32) -> u32 {
        self.nodes.push(Node {
            byte,
            ends: false,
            first_child: NOWHERE,
            next_sibling,
        });
        // No record has so many bytes.
        u32::try_from(self.nodes.len() - 1).unwrap_or(0)
    }

    fn child(&self, node: u32, byte: u8) -> Option<u32> {
        let mut child = self.nodes.get(node as usize)?.first_child;
        while let Some(found) = self.nodes.get(child as usize) {
            if found.byte == byte {
                return Some(child);
            }
            child = found.next_sibling;
        }
        None
    }

    /// Keeps a needle that is made of these pieces.
    fn push<'p>(&mut self, kind: Kind, pieces: impl IntoIterator<Item = &'p str>) {
        for piece in pieces {
            self.needle.extend_from_slice(piece.as_bytes());
        }
        self.keep(kind, NEEDLE_BYTES_MAX);
    }

    /// Looks for a date, which is `YYYY-MM-DD`, in all usual ways to write it: year
    /// first or day first, with or without zeros and century, or its month in letters.
    fn add_date(&mut self, text: &str, date: Date) {
        let (year, month, day) = (&text[..4], &text[5..7], &text[8..]);
        let [short_month, short_day] = [month, day].map(|part| part.trim_start_matches('0'));
        for month in [month, short_month] {
            for day in [day, short_day] {
                for year in [year, &year[2..]] {
                    self.push(Kind::Code, [year, month, day]);
                    self.push(Kind::Code, [day, month, year]);
                }
            }
        }
        let months = MONTHS.iter().flat_map(|names| names.iter());
        let letters = months.filter_map(|name| name.bytes().next());
        b"0123456789"
            .iter()
            .copied()
            .chain(letters)
            .for_each(|first| self.mark_first(first));
        self.dates.push(date);
    }

    /// Looks for the digits, for what the letters of a card number make of
    /// them, and for a telephone number's other ways to be dialled.
    fn add_number(&mut self, value: &str, digits: usize) {
        let mut solid = [0; NEEDLE_BYTES_MAX];
        let Some(solid) = solid.get_mut(..digits) else {
            return;
        };
        let found = value.bytes().filter(u8::is_ascii_digit);
        solid
            .iter_mut()
            .zip(found)
            .for_each(|(place, b)| *place = b);
        self.needle.extend_from_slice(solid);
        self.keep(Kind::Code, NEEDLE_BYTES_MAX);
        if value.chars().filter(|c| c.is_alphanumeric()).count() > digits {
            self.push_letters(value);
            self.keep(Kind::Code, NEEDLE_BYTES_MAX);
        } else if let Some(length) = subscriber(value, solid) {
            for dialled in [
                "0", "31", "310", "0031", "00310", "32", "320", "0032", "00320",
            ] {
                self.needle.extend_from_slice(dialled.as_bytes());
                self.needle.extend_from_slice(&solid[digits - length..]);
                self.keep(Kind::Code, NEEDLE_BYTES_MAX);
            }
        }
    }

    /// Writes down the letters and digits of a value; counts the letters.
    fn push_letters(&mut self, value: &str) -> usize {
        let (mut letters, mut buffer) = (0, [0; 4]);
        for c in value.chars().filter(|c| c.is_alphanumeric()) {
            letters += usize::from(c.is_alphabetic());
            let letter = c.encode_utf8(&mut buffer);
            self.needle.extend_from_slice(letter.as_bytes());
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
        if self.push_letters(word) >= 2 {
            self.keep(Kind::Word, NEEDLE_BYTES_MAX);
        } else {
            self.needle.clear();
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
        [Kind::Word, Kind::Code, Kind::Email]
            .into_iter()
            .filter_map(|kind| self.end_of(kind, text, at, before))
            .chain(self.date_end(text, at, before))
            .max()
    }

    fn end_of(&self, kind: Kind, text: &[u8], at: usize, before: Option<u8>) -> Option<usize> {
        let lead = match kind {
            Kind::Code => count(text, at, 2, |b| b == b'+' || b == b'('),
            Kind::Word | Kind::Email => 0,
        };
        let first = text.get(at + lead)?.to_ascii_lowercase();
        let root = self.roots[kind as usize][usize::from(first)];
        if root == NOWHERE || before.is_some_and(|before| kind.goes_on_from(before, first)) {
            return None;
        }
        let (mut node, mut end) = (root, at + lead + 1);
        let mut longest = None;
        loop {
            if self.nodes.get(node as usize)?.ends && kind.may_end(text, end) {
                longest = Some(end);
            }
            let next = |at: usize| {
                let byte = text.get(at)?.to_ascii_lowercase();
                Some((self.child(node, byte)?, at + 1))
            };
            let gap = || end + kind.gap(text, end);
            match next(end).or_else(|| next(gap())) {
                Some(found) => (node, end) = found,
                None => return longest,
            }
        }
    }

    /// Finds the end of a date of the record's own whose month is in letters.
    fn date_end(&self, text: &[u8], at: usize, before: Option<u8>) -> Option<usize> {
        if self.dates.is_empty() || before.is_some_and(is_alphanumeric) {
            return None;
        }
        let written = date_in_words(text, at)?;
        let mut dates = self.dates.iter();
        let known = dates.any(|date| is_written(date, &written));
        (known && !goes_on(text, written.end)).then_some(written.end)
    }
}

/// Whether a date is the one that is written; its year may lack the century.
fn is_written(date: &Date, written: &WrittenDate) -> bool {
    (date.month, date.day) == (written.month, written.day)
        && (date.year == written.year || date.year % 100 == written.year)
}

impl Kind {
    /// Whether what is looked for would begin within a word or a number, where
    /// `before` stands before its first byte.
    fn goes_on_from(self, before: u8, first: u8) -> bool {
        match self {
            Kind::Word => is_word(before),
            Kind::Code => {
                is_alphanumeric(before) && before.is_ascii_digit() == first.is_ascii_digit()
            }
            Kind::Email => is_alphanumeric(before),
        }
    }

    /// Whether it may end at `end`.
    fn may_end(self, text: &[u8], end: usize) -> bool {
        let in_word = || text.get(end).copied().is_some_and(is_word);
        !goes_on(text, end) && (self != Kind::Word || !in_word())
    }

    /// Measures what may stand between two bytes of it, from `at` on.
    fn gap(self, text: &[u8], at: usize) -> usize {
        match self {
            Kind::Word => count(text, at, 2, is_between_letters),
            Kind::Code => gap(text, at),
            Kind::Email => 0,
        }
    }
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

/// Fewer digits are no number by which anybody is known.
const NUMBER_DIGITS_MIN: usize = 4;

/// Whether a value is a name with a number behind it, as a street has it.
fn is_name_with_number(value: &str, digits: usize) -> bool {
    let letters = value.chars().filter(|c| c.is_alphabetic()).count();
    value.contains(' ') && letters > digits
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
