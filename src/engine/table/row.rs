//! What is kept of one patron, in one allocation.
//!
//! A row is text throughout, numbers included: seven bits to a byte. So its
//! values are seen as text without being checked again, and one patron is one
//! allocation: what is replaced or erased is gone from the table as a whole.
//!
//! ```text
//! flags | offset | where the text begins | word ... | patron id, value ...
//! ```
//!
//! The first word is the patron id's, the next ones those of the layout's
//! values, then those of its lists. A word is a state and where its text ends;
//! it begins where that of the word before ends. Words of short rows have two
//! bytes, others five. Behind the text stand the patron's national numbers, if there
//! are any, and how many.

use super::draft::Draft;
use super::layout::RowLayout;
use crate::engine::inspect::NationalNumber;
use crate::engine::value::{State, Value};

/// What is kept of one patron: who it is, what is known, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(pub(super) Box<str>);

/// What is known of a patron.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known<'a> {
    Patron(&'a Row),
    /// A null value erased it.
    Erased,
    /// Its last record was refused whole: nothing may be decided by an older one.
    Unreadable,
}

impl<'a> Known<'a> {
    /// What is known of a patron that is neither erased nor unreadable.
    #[must_use]
    pub fn row(self) -> Option<&'a Row> {
        match self {
            Known::Patron(row) => Some(row),
            Known::Erased | Known::Unreadable => None,
        }
    }
}

pub(super) const ERASED: u8 = 1;
pub(super) const UNREADABLE: u8 = 2;
pub(super) const WIDE: u8 = 4;
/// Nothing was known of the patron when it was erased.
pub(super) const UNMATCHED: u8 = 8;
/// Its last byte says how many national numbers stand before it.
pub(super) const NATIONAL: u8 = 16;
/// A kept value has one of the patron's national numbers in it.
pub(super) const REPEATS_NATIONAL: u8 = 64;
pub(super) const OFFSET_BYTES: usize = 9;
/// What a national number takes.
pub(super) const NATIONAL_BYTES: usize = 8;
/// Where the number stands that says where the text begins.
pub(super) const TEXT_AT: usize = 1 + OFFSET_BYTES;

pub(super) const STATE_BITS: u32 = 3;
const STATE_MASK: usize = (1 << STATE_BITS) - 1;
pub(super) const NARROW_BYTES: usize = 2;
pub(super) const WIDE_BYTES: usize = 5;

/// The two words before the elements of a list: its state and count, and where
/// the text stands by then.
pub(super) const LIST_HEAD: usize = 2;

impl Row {
    /// Notes that a patron was erased.
    #[must_use]
    pub fn erased(patron_id: &str, offset: i64) -> Row {
        Draft::default().note(ERASED, patron_id, offset)
    }

    /// Notes that somebody was erased of whom nothing is known.
    #[must_use]
    pub fn erased_unmatched(patron_id: &str, offset: i64) -> Row {
        Draft::default().note(ERASED | UNMATCHED, patron_id, offset)
    }

    /// Whether something was known of the patron, before it was erased too.
    #[must_use]
    pub fn is_matched(&self) -> bool {
        self.flags() & UNMATCHED == 0
    }

    /// Notes that a patron's last record was refused whole.
    #[must_use]
    pub fn unreadable(patron_id: &str, offset: i64) -> Row {
        Draft::default().note(UNREADABLE, patron_id, offset)
    }

    /// What the row says of its patron.
    #[inline]
    #[must_use]
    pub fn known(&self) -> Known<'_> {
        match self.flags() & (ERASED | UNREADABLE) {
            0 => Known::Patron(self),
            ERASED => Known::Erased,
            _ => Known::Unreadable,
        }
    }

    /// The patron's national numbers.
    pub fn national_numbers(&self) -> impl Iterator<Item = NationalNumber> + '_ {
        let (numbers, _) = self.national_bytes().as_chunks();
        let packed = |digits: &[u8; NATIONAL_BYTES]| {
            let digits = digits.iter().rev();
            digits.fold(0, |sum, &digit| (sum << 7) | u64::from(digit))
        };
        numbers
            .iter()
            .map(move |digits| NationalNumber::unpack(packed(digits)))
    }

    /// Whether a kept value has one of them in it.
    #[inline]
    #[must_use]
    pub fn repeats_national(&self) -> bool {
        self.flags() & REPEATS_NATIONAL != 0
    }

    #[inline]
    fn national_bytes(&self) -> &[u8] {
        if self.flags() & NATIONAL == 0 {
            return &[];
        }
        let Some((&count, before)) = self.0.as_bytes().split_last() else {
            return &[];
        };
        let start = before
            .len()
            .checked_sub(usize::from(count) * NATIONAL_BYTES);
        start
            .and_then(|start| before.get(start..))
            .unwrap_or_default()
    }

    /// Whose row it is.
    #[inline]
    #[must_use]
    pub fn patron_id(&self) -> &str {
        let start = self.text_start();
        let end = start + (self.word_at(0) >> STATE_BITS);
        self.0.get(start..end).unwrap_or_default()
    }

    /// The offset of the record that it is made of.
    #[must_use]
    pub fn offset(&self) -> i64 {
        let digits = self.0.as_bytes().get(1..TEXT_AT).unwrap_or_default();
        digits
            .iter()
            .rev()
            .fold(0, |sum, &digit| (sum << 7) | i64::from(digit))
    }

    /// The value at a place of the layout.
    #[inline]
    #[must_use]
    pub fn value(&self, slot: u16) -> Value<'_> {
        self.view(usize::from(slot) + 1)
    }

    /// Whether a kept list is malformed as such.
    #[must_use]
    pub fn list_malformed(&self, layout: &RowLayout, list: u16) -> bool {
        let word = self.word_at(self.list_at(layout, list));
        word & STATE_MASK == State::Malformed as usize
    }

    /// How many elements a kept list has.
    #[must_use]
    pub fn list_len(&self, layout: &RowLayout, list: u16) -> usize {
        if usize::from(list) >= layout.lists().len() {
            return 0;
        }
        self.word_at(self.list_at(layout, list)) >> STATE_BITS
    }

    /// One value of one element of a kept list.
    #[must_use]
    pub fn element(&self, layout: &RowLayout, list: u16, index: usize, slot: u16) -> Value<'_> {
        if index >= self.list_len(layout, list) {
            return Value::Missing;
        }
        let before = index * usize::from(layout.stride(list)) + usize::from(slot);
        self.view(self.list_at(layout, list) + LIST_HEAD + before)
    }

    /// The bytes of the patron id and of all kept values: what would be kept
    /// if keeping cost nothing.
    #[must_use]
    pub fn text_len(&self) -> usize {
        let national = self.national_bytes().len();
        let count = usize::from(self.flags() & NATIONAL != 0);
        self.0.len() - self.text_start() - national - count
    }

    /// The word of a list's head.
    fn list_at(&self, layout: &RowLayout, list: u16) -> usize {
        (0..list).fold(layout.len() + 1, |at, earlier| {
            let count = self.word_at(at) >> STATE_BITS;
            at + LIST_HEAD + count * usize::from(layout.stride(earlier))
        })
    }

    #[inline]
    fn flags(&self) -> u8 {
        self.0.as_bytes().first().copied().unwrap_or(UNREADABLE)
    }

    #[inline]
    fn number_bytes(&self) -> usize {
        if self.flags() & WIDE == 0 {
            NARROW_BYTES
        } else {
            WIDE_BYTES
        }
    }

    #[inline]
    fn text_start(&self) -> usize {
        self.number(TEXT_AT)
    }

    /// A word; nothing where the row has no such word.
    #[inline]
    fn word_at(&self, word: usize) -> usize {
        let at = TEXT_AT + (word + 1) * self.number_bytes();
        if at < self.text_start() {
            self.number(at)
        } else {
            0
        }
    }

    #[inline]
    fn number(&self, at: usize) -> usize {
        let bytes = self.0.as_bytes();
        if self.flags() & WIDE == 0 {
            match bytes.get(at..at + NARROW_BYTES) {
                Some(&[low, high]) => usize::from(low) | usize::from(high) << 7,
                _ => 0,
            }
        } else {
            let digits = bytes.get(at..at + WIDE_BYTES).unwrap_or_default();
            digits
                .iter()
                .rev()
                .fold(0, |sum, &digit| (sum << 7) | usize::from(digit))
        }
    }

    /// The word before and the word itself; nothing where there is none.
    #[inline]
    fn pair(&self, word: usize, text_start: usize) -> (usize, usize) {
        let bytes = self.number_bytes();
        let before = TEXT_AT + word * bytes;
        if before + 2 * bytes > text_start {
            return (0, 0);
        }
        if bytes == WIDE_BYTES {
            return (self.number(before), self.number(before + bytes));
        }
        match self.0.as_bytes().get(before..before + 2 * NARROW_BYTES) {
            Some(&[low, high, next_low, next_high]) => (
                usize::from(low) | usize::from(high) << 7,
                usize::from(next_low) | usize::from(next_high) << 7,
            ),
            _ => (0, 0),
        }
    }

    /// The value of a word that is not the first one.
    #[inline]
    fn view(&self, word: usize) -> Value<'_> {
        const MALFORMED: usize = State::Malformed as usize;
        const PLAIN: usize = State::Plain as usize;
        const DECODED: usize = State::Decoded as usize;
        const NUMBER: usize = State::Number as usize;
        const TRUE: usize = State::True as usize;
        const FALSE: usize = State::False as usize;
        let text_start = self.text_start();
        let (before, at) = self.pair(word, text_start);
        let text = || {
            let start = text_start + (before >> STATE_BITS);
            let end = text_start + (at >> STATE_BITS);
            self.0.get(start..end).unwrap_or_default()
        };
        match at & STATE_MASK {
            MALFORMED => Value::Malformed,
            PLAIN => Value::Text {
                text: text(),
                plain: true,
            },
            DECODED => Value::Text {
                text: text(),
                plain: false,
            },
            NUMBER => Value::Number(text()),
            TRUE => Value::Boolean(true),
            FALSE => Value::Boolean(false),
            _ => Value::Missing,
        }
    }
}
