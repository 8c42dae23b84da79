//! Finds the record's own values in its free text.
//!
//! Compares folded text, against all values at once, so that many values cost no more. Names and
//! numbers over 64 bytes and addresses over 320 are not searched for.

use super::addresses::{DateInWords, MONTH_NAMES, read_date_in_words};
use super::digit_runs::{count_while, is_alphanumeric, separator_len};
use super::folding::fold_value_into;
use crate::policy::form::Date;

const NEEDLE_BYTES_MAX: usize = 64;
const EMAIL_BYTES_MAX: usize = 320;

/// Words of names that are too common elsewhere.
const COMMON_PARTICLES: &[&str] = &[
    "aan", "bij", "da", "de", "del", "den", "der", "di", "dos", "du", "el", "het", "in", "la",
    "le", "lo", "op", "te", "ten", "ter", "uit", "van", "von", "zur",
];

/// The values of one record, compiled into a trie; its buffers are reused.
#[derive(Debug)]
pub(super) struct OwnValues {
    /// By kind: the node for the first byte of a needle.
    root_nodes: [[u32; 256]; NEEDLE_KINDS],
    nodes: Vec<NeedleNode>,
    /// Dates, matched when written with their month in letters.
    dates: Vec<Date>,
    /// Whether a needle may begin with this byte.
    first_bytes: [bool; 256],
    /// The needle being built.
    needle_buffer: Vec<u8>,
    fold_buffer: String,
}

impl Default for OwnValues {
    fn default() -> Self {
        OwnValues {
            root_nodes: [[NO_NODE; 256]; NEEDLE_KINDS],
            nodes: Vec::new(),
            dates: Vec::new(),
            first_bytes: [false; 256],
            needle_buffer: Vec::new(),
            fold_buffer: String::new(),
        }
    }
}

/// One byte, shared by all needles with the same prefix.
#[derive(Debug)]
struct NeedleNode {
    byte: u8,
    is_needle_end: bool,
    /// Head of the list of next bytes.
    first_child: u32,
    next_sibling: u32,
}

const NO_NODE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NeedleKind {
    /// Lower-case letters without spaces, hyphens and apostrophes; with digits for a street and
    /// number.
    Word,
    /// Digits, and the letters of a card number.
    Code,
    /// A lower-case e-mail address.
    Email,
}

const NEEDLE_KINDS: usize = 3;

impl OwnValues {
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(super) fn clear(&mut self) {
        if !self.is_empty() {
            self.root_nodes = [[NO_NODE; 256]; NEEDLE_KINDS];
            self.nodes.clear();
            self.dates.clear();
            self.first_bytes = [false; 256];
        }
        self.needle_buffer.clear();
        self.fold_buffer.clear();
    }

    /// Adds a value made of these parts, joined by spaces.
    pub(super) fn add_value<'o>(&mut self, parts: impl IntoIterator<Item = &'o str>) {
        let mut folded = std::mem::take(&mut self.fold_buffer);
        folded.clear();
        for part in parts {
            if !folded.is_empty() {
                folded.push(' ');
            }
            fold_value_into(part, &mut folded);
        }
        self.add_folded(folded.trim());
        self.fold_buffer = folded;
    }

    fn add_folded(&mut self, value: &str) {
        let digits = value.bytes().filter(u8::is_ascii_digit).count();
        if value.contains('@') {
            self.needle_buffer.extend_from_slice(value.as_bytes());
            self.add_needle(NeedleKind::Email, EMAIL_BYTES_MAX);
        } else if let Some(date) = Date::parse(value) {
            self.add_date(value, date);
        } else if digits >= OWN_NUMBER_DIGITS_MIN && !is_name_with_number(value, digits) {
            self.add_number(value, digits);
        } else {
            self.add_name(value);
        }
    }

    /// Adds the current needle unless it is too long.
    fn add_needle(&mut self, kind: NeedleKind, bytes_max: usize) {
        let mut needle = std::mem::take(&mut self.needle_buffer);
        if let Some((&first, rest)) = needle.split_first()
            && needle.len() <= bytes_max
        {
            self.add_first_byte(first);
            if kind == NeedleKind::Code {
                self.add_first_byte(b'+');
                self.add_first_byte(b'(');
            }
            let mut node = self.root_or_new(kind, first);
            for &byte in rest {
                node = self.child_or_new(node, byte);
            }
            self.nodes[node as usize].is_needle_end = true;
        }
        needle.clear();
        self.needle_buffer = needle;
    }

    fn add_first_byte(&mut self, byte: u8) {
        self.first_bytes[usize::from(byte.to_ascii_lowercase())] = true;
        self.first_bytes[usize::from(byte.to_ascii_uppercase())] = true;
    }

    fn root_or_new(&mut self, kind: NeedleKind, byte: u8) -> u32 {
        let known = self.root_nodes[kind as usize][usize::from(byte)];
        if known != NO_NODE {
            return known;
        }
        let made = self.new_node(byte, NO_NODE);
        self.root_nodes[kind as usize][usize::from(byte)] = made;
        made
    }

    fn child_or_new(&mut self, node: u32, byte: u8) -> u32 {
        if let Some(known) = self.find_child(node, byte) {
            return known;
        }
        let made = self.new_node(byte, self.nodes[node as usize].first_child);
        self.nodes[node as usize].first_child = made;
        made
    }

    fn new_node(&mut self, byte: u8, next_sibling: u32) -> u32 {
        self.nodes.push(NeedleNode {
            byte,
            is_needle_end: false,
            first_child: NO_NODE,
            next_sibling,
        });
        // No record has so many bytes.
        u32::try_from(self.nodes.len() - 1).unwrap_or(0)
    }

    fn find_child(&self, node: u32, byte: u8) -> Option<u32> {
        let mut child = self.nodes.get(node as usize)?.first_child;
        while let Some(found) = self.nodes.get(child as usize) {
            if found.byte == byte {
                return Some(child);
            }
            child = found.next_sibling;
        }
        None
    }

    /// Adds a needle made of these pieces.
    fn add_needle_of_pieces<'p>(
        &mut self,
        kind: NeedleKind,
        pieces: impl IntoIterator<Item = &'p str>,
    ) {
        for piece in pieces {
            self.needle_buffer.extend_from_slice(piece.as_bytes());
        }
        self.add_needle(kind, NEEDLE_BYTES_MAX);
    }

    /// Adds a date in all usual notations: year or day first, with or without zeros and century, or
    /// with its month in letters.
    fn add_date(&mut self, text: &str, date: Date) {
        let (year, month, day) = (&text[..4], &text[5..7], &text[8..]);
        let [short_month, short_day] = [month, day].map(|part| part.trim_start_matches('0'));
        for month in [month, short_month] {
            for day in [day, short_day] {
                for year in [year, &year[2..]] {
                    self.add_needle_of_pieces(NeedleKind::Code, [year, month, day]);
                    self.add_needle_of_pieces(NeedleKind::Code, [day, month, year]);
                }
            }
        }
        let months = MONTH_NAMES.iter().flat_map(|names| names.iter());
        let letters = months.filter_map(|name| name.bytes().next());
        b"0123456789".iter().copied().chain(letters).for_each(|first| self.add_first_byte(first));
        self.dates.push(date);
    }

    /// Adds the digits, the letters and digits of a card number, and the ways to dial a telephone
    /// number.
    fn add_number(&mut self, value: &str, digits: usize) {
        let mut solid = [0; NEEDLE_BYTES_MAX];
        let Some(solid) = solid.get_mut(..digits) else {
            return;
        };
        let found = value.bytes().filter(u8::is_ascii_digit);
        solid.iter_mut().zip(found).for_each(|(place, b)| *place = b);
        self.needle_buffer.extend_from_slice(solid);
        self.add_needle(NeedleKind::Code, NEEDLE_BYTES_MAX);
        if value.chars().filter(|c| c.is_alphanumeric()).count() > digits {
            self.push_alphanumerics(value);
            self.add_needle(NeedleKind::Code, NEEDLE_BYTES_MAX);
        } else if let Some(length) = subscriber_digit_count(value, solid) {
            for dialled in ["0", "31", "310", "0031", "00310", "32", "320", "0032", "00320"] {
                self.needle_buffer.extend_from_slice(dialled.as_bytes());
                self.needle_buffer.extend_from_slice(&solid[digits - length..]);
                self.add_needle(NeedleKind::Code, NEEDLE_BYTES_MAX);
            }
        }
    }

    /// Appends the letters and digits of a value to the needle, and returns the number of letters.
    fn push_alphanumerics(&mut self, value: &str) -> usize {
        let (mut letters, mut buffer) = (0, [0; 4]);
        for c in value.chars().filter(|c| c.is_alphanumeric()) {
            letters += usize::from(c.is_alphabetic());
            let letter = c.encode_utf8(&mut buffer);
            self.needle_buffer.extend_from_slice(letter.as_bytes());
        }
        letters
    }

    /// Adds the whole name and each of its words.
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
        if self.push_alphanumerics(word) >= 2 {
            self.add_needle(NeedleKind::Word, NEEDLE_BYTES_MAX);
        } else {
            self.needle_buffer.clear();
        }
    }

    /// Returns the first position from `at` on where a needle may begin, or `limit`.
    pub(super) fn next_start(&self, text: &[u8], at: usize, limit: usize) -> usize {
        if self.is_empty() {
            return limit;
        }
        let ahead = text.get(at..limit).unwrap_or_default();
        let first = ahead.iter().position(|&b| self.first_bytes[usize::from(b)]);
        first.map_or(limit, |first| at + first)
    }

    /// Returns whether a needle may begin at `at`.
    pub(super) fn may_start_at(&self, text: &[u8], at: usize) -> bool {
        text.get(at).is_some_and(|&b| self.first_bytes[usize::from(b)])
    }

    /// Returns the end of the longest own value that begins at `at`; `edge`, the end of the last
    /// hit, counts as a word boundary.
    pub(super) fn longest_match_end(
        &self,
        text: &[u8],
        at: usize,
        last_hit_end: usize,
    ) -> Option<usize> {
        let before = at.checked_sub(1).filter(|_| at != last_hit_end);
        let before = before.and_then(|at| text.get(at)).copied();
        [NeedleKind::Word, NeedleKind::Code, NeedleKind::Email]
            .into_iter()
            .filter_map(|kind| self.needle_match_end(kind, text, at, before))
            .chain(self.date_in_words_match_end(text, at, before))
            .max()
    }

    fn needle_match_end(
        &self,
        kind: NeedleKind,
        text: &[u8],
        at: usize,
        before: Option<u8>,
    ) -> Option<usize> {
        let lead = match kind {
            NeedleKind::Code => count_while(text, at, 2, |b| b == b'+' || b == b'('),
            NeedleKind::Word | NeedleKind::Email => 0,
        };
        let first = text.get(at + lead)?.to_ascii_lowercase();
        let root = self.root_nodes[kind as usize][usize::from(first)];
        if root == NO_NODE || before.is_some_and(|before| kind.continues_token(before, first)) {
            return None;
        }
        let (mut node, mut end) = (root, at + lead + 1);
        let mut longest = None;
        loop {
            if self.nodes.get(node as usize)?.is_needle_end && kind.may_end_at(text, end) {
                longest = Some(end);
            }
            let next = |at: usize| {
                let byte = text.get(at)?.to_ascii_lowercase();
                Some((self.find_child(node, byte)?, at + 1))
            };
            let gap = || end + kind.separator_len(text, end);
            match next(end).or_else(|| next(gap())) {
                Some(found) => (node, end) = found,
                None => return longest,
            }
        }
    }

    /// Returns the end of an own date whose month is in letters.
    fn date_in_words_match_end(&self, text: &[u8], at: usize, before: Option<u8>) -> Option<usize> {
        if self.dates.is_empty() || before.is_some_and(is_alphanumeric) {
            return None;
        }
        let written = read_date_in_words(text, at)?;
        let mut dates = self.dates.iter();
        let known = dates.any(|date| is_same_date(date, &written));
        (known && !token_continues(text, written.end)).then_some(written.end)
    }
}

/// Returns whether a date equals the written one, whose year may lack the century.
fn is_same_date(date: &Date, written: &DateInWords) -> bool {
    (date.month, date.day) == (written.month, written.day)
        && (date.year == written.year || date.year % 100 == written.year)
}

impl NeedleKind {
    /// Returns whether a needle with this first byte would begin inside a word or number.
    fn continues_token(self, before: u8, first: u8) -> bool {
        match self {
            NeedleKind::Word => is_word_byte(before),
            NeedleKind::Code => {
                is_alphanumeric(before) && before.is_ascii_digit() == first.is_ascii_digit()
            }
            NeedleKind::Email => is_alphanumeric(before),
        }
    }

    /// Returns whether a needle may end at `end`.
    fn may_end_at(self, text: &[u8], end: usize) -> bool {
        let in_word = || text.get(end).copied().is_some_and(is_word_byte);
        !token_continues(text, end) && (self != NeedleKind::Word || !in_word())
    }

    /// Returns the length of the separator that may stand between two bytes of a needle.
    fn separator_len(self, text: &[u8], at: usize) -> usize {
        match self {
            NeedleKind::Word => count_while(text, at, 2, is_word_separator),
            NeedleKind::Code => separator_len(text, at),
            NeedleKind::Email => 0,
        }
    }
}

/// Returns whether a word or number continues at `end`.
fn token_continues(text: &[u8], end: usize) -> bool {
    let [Some(last), Some(next)] = [end.checked_sub(1), Some(end)].map(|at| text.get(at?).copied())
    else {
        return false;
    };
    is_alphanumeric(last) && is_alphanumeric(next) && last.is_ascii_digit() == next.is_ascii_digit()
}

fn is_word_separator(b: u8) -> bool {
    b.is_ascii_whitespace() || b == b'-' || b == b'\'' || b == b'`'
}

fn is_word_byte(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_' || !b.is_ascii()
}

/// Shorter numbers identify nobody.
const OWN_NUMBER_DIGITS_MIN: usize = 4;

/// Returns whether a value is a name followed by a number, as in street addresses.
fn is_name_with_number(value: &str, digits: usize) -> bool {
    let letters = value.chars().filter(|c| c.is_alphabetic()).count();
    value.contains(' ') && letters > digits
}

fn is_particle(word: &str) -> bool {
    word.len() <= 3 && COMMON_PARTICLES.contains(&word)
}

/// Returns the number of trailing digits without country code or trunk zero, if the value is a
/// telephone number.
fn subscriber_digit_count(value: &str, digits: &[u8]) -> Option<usize> {
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
