//! What is kept of one patron, in one allocation.
//!
//! A row is text throughout: numbers are stored in 7-bit digits. Its values are therefore
//! read as text without another check, and a replaced or erased row is freed as a whole.
//!
//! ```text
//! flags | offset | where the text begins | word ... | patron id, value ...
//! ```
//!
//! The first word is the patron id's, then come those of the layout's values and of its
//! lists. The row of an erased patron gets a keyed hash in place of the id. A word has a state and
//! where its text ends; it begins where the previous one ends. Words have two bytes in short rows, five in others. The patron's national
//! numbers and their count follow the text, if there are any.

use super::layout::PatronRowLayout;
use super::row_writer::PatronRowWriter;
use crate::engine::memory::deliveries::{PatronHash, row_json};
use crate::engine::record::national_number::NationalNumber;
use crate::engine::record::value::{FieldValue, SlotState};

/// What is kept of one patron.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatronRow(pub(crate) Box<str>);

/// What is known of a patron.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatronStatus<'a> {
    Known(&'a PatronRow),
    /// A null value erased it.
    Erased,
    /// Its last record was refused: earlier ones must not decide.
    Unreadable,
}

impl<'a> PatronStatus<'a> {
    /// The row, unless the patron is erased or unreadable.
    #[must_use]
    pub fn row(self) -> Option<&'a PatronRow> {
        match self {
            PatronStatus::Known(row) => Some(row),
            PatronStatus::Erased | PatronStatus::Unreadable => None,
        }
    }
}

pub(crate) const FLAG_ERASED: u8 = 1;
pub(crate) const FLAG_UNREADABLE: u8 = 2;
pub(crate) const FLAG_WIDE: u8 = 4;
/// Nothing was known of the patron when it was erased.
pub(crate) const FLAG_NEVER_KNOWN: u8 = 8;
/// The last byte is the number of national numbers before it.
pub(crate) const FLAG_NATIONAL: u8 = 16;
/// A keyed hash of the patron's id stands in its place.
pub(crate) const FLAG_ID_HASHED: u8 = 32;
/// A kept value contains one of the patron's national numbers.
pub(crate) const FLAG_REPEATS_NATIONAL: u8 = 64;
pub(crate) const OFFSET_BYTES: usize = 9;
pub(crate) const NATIONAL_NUMBER_BYTES: usize = 8;
/// Position of the number that says where the text begins.
pub(crate) const TEXT_START_AT: usize = 1 + OFFSET_BYTES;

pub(crate) const STATE_BITS: u32 = 3;
const STATE_MASK: usize = (1 << STATE_BITS) - 1;
pub(crate) const NARROW_WORD_BYTES: usize = 2;
pub(crate) const WIDE_WORD_BYTES: usize = 5;

/// Words before the elements of a list: its state and count, and where the text ends so far.
pub(crate) const LIST_HEAD_WORDS: usize = 2;

impl PatronRow {
    /// Makes the row of an erased patron.
    #[must_use]
    pub fn erased(patron_id: &str, offset: i64) -> PatronRow {
        PatronRowWriter::default().build_row_without_values(FLAG_ERASED, patron_id, offset)
    }

    /// Makes the row of an erased patron that was never known.
    #[must_use]
    pub fn erased_never_known(patron_id: &str, offset: i64) -> PatronRow {
        PatronRowWriter::default().build_row_without_values(
            FLAG_ERASED | FLAG_NEVER_KNOWN,
            patron_id,
            offset,
        )
    }

    /// The row with a keyed hash in place of the patron's id. It must have no values.
    pub(crate) fn with_hashed_id(&self, patron: PatronHash) -> PatronRow {
        let id = row_json::encode_bits(patron.0);
        let id = String::from_utf8_lossy(&id);
        let flags = (self.flags() & !FLAG_WIDE) | FLAG_ID_HASHED;
        PatronRowWriter::default().build_row_without_values(flags, &id, self.offset())
    }

    /// The keyed hash that the row has in place of the patron's id; `None` if it has the id.
    #[must_use]
    pub fn hashed_id(&self) -> Option<PatronHash> {
        if self.flags() & FLAG_ID_HASHED == 0 {
            return None;
        }
        row_json::decode_bits(self.id_text().as_bytes()).map(PatronHash)
    }

    /// Whether the patron was ever known, even if it is erased.
    #[must_use]
    pub fn was_ever_known(&self) -> bool {
        self.flags() & FLAG_NEVER_KNOWN == 0
    }

    /// Makes the row of a patron whose last record was refused.
    #[must_use]
    pub fn unreadable(patron_id: &str, offset: i64) -> PatronRow {
        PatronRowWriter::default().build_row_without_values(FLAG_UNREADABLE, patron_id, offset)
    }

    #[inline]
    #[must_use]
    pub fn status(&self) -> PatronStatus<'_> {
        match self.flags() & (FLAG_ERASED | FLAG_UNREADABLE) {
            0 => PatronStatus::Known(self),
            FLAG_ERASED => PatronStatus::Erased,
            _ => PatronStatus::Unreadable,
        }
    }

    /// The patron's national numbers.
    pub fn national_numbers(&self) -> impl Iterator<Item = NationalNumber> + '_ {
        let (numbers, _) = self.national_bytes().as_chunks();
        let packed = |digits: &[u8; NATIONAL_NUMBER_BYTES]| {
            let digits = digits.iter().rev();
            digits.fold(0, |sum, &digit| (sum << 7) | u64::from(digit))
        };
        numbers.iter().map(move |digits| NationalNumber::unpack(packed(digits)))
    }

    /// Whether a kept value contains one of them.
    #[inline]
    #[must_use]
    pub fn repeats_national_number(&self) -> bool {
        self.flags() & FLAG_REPEATS_NATIONAL != 0
    }

    #[inline]
    fn national_bytes(&self) -> &[u8] {
        if self.flags() & FLAG_NATIONAL == 0 {
            return &[];
        }
        let Some((&count, before)) = self.0.as_bytes().split_last() else {
            return &[];
        };
        let start = before.len().checked_sub(usize::from(count) * NATIONAL_NUMBER_BYTES);
        start.and_then(|start| before.get(start..)).unwrap_or_default()
    }

    /// The patron's id; empty if the row has only a hash of it.
    #[inline]
    #[must_use]
    pub fn patron_id(&self) -> &str {
        if self.flags() & FLAG_ID_HASHED == 0 { self.id_text() } else { "" }
    }

    #[inline]
    fn id_text(&self) -> &str {
        let start = self.text_start();
        let end = start + (self.word(0) >> STATE_BITS);
        self.0.get(start..end).unwrap_or_default()
    }

    /// The offset of the record that the row was made of.
    #[must_use]
    pub fn offset(&self) -> i64 {
        let digits = self.0.as_bytes().get(1..TEXT_START_AT).unwrap_or_default();
        digits.iter().rev().fold(0, |sum, &digit| (sum << 7) | i64::from(digit))
    }

    /// The value of a layout slot.
    #[inline]
    #[must_use]
    pub fn value(&self, slot: u16) -> FieldValue<'_> {
        self.word_value(usize::from(slot) + 1)
    }

    /// Whether a kept list is malformed itself.
    #[must_use]
    pub fn is_list_malformed(&self, layout: &PatronRowLayout, list: u16) -> bool {
        let word = self.word(self.list_head_word(layout, list));
        word & STATE_MASK == SlotState::Malformed as usize
    }

    /// How many elements a kept list has.
    #[must_use]
    pub fn list_len(&self, layout: &PatronRowLayout, list: u16) -> usize {
        if usize::from(list) >= layout.lists().len() {
            return 0;
        }
        self.word(self.list_head_word(layout, list)) >> STATE_BITS
    }

    /// A value of an element of a kept list.
    #[must_use]
    pub fn element(
        &self,
        layout: &PatronRowLayout,
        list: u16,
        index: usize,
        slot: u16,
    ) -> FieldValue<'_> {
        if index >= self.list_len(layout, list) {
            return FieldValue::Missing;
        }
        let before = index * usize::from(layout.stride(list)) + usize::from(slot);
        self.word_value(self.list_head_word(layout, list) + LIST_HEAD_WORDS + before)
    }

    /// The length of the patron id and of all kept values together.
    #[must_use]
    pub fn content_len(&self) -> usize {
        let national = self.national_bytes().len();
        let count = usize::from(self.flags() & FLAG_NATIONAL != 0);
        self.0.len() - self.text_start() - national - count
    }

    /// The index of a list's first word.
    fn list_head_word(&self, layout: &PatronRowLayout, list: u16) -> usize {
        (0..list).fold(layout.len() + 1, |at, earlier| {
            let count = self.word(at) >> STATE_BITS;
            at + LIST_HEAD_WORDS + count * usize::from(layout.stride(earlier))
        })
    }

    #[inline]
    fn flags(&self) -> u8 {
        self.0.as_bytes().first().copied().unwrap_or(FLAG_UNREADABLE)
    }

    #[inline]
    fn word_bytes(&self) -> usize {
        if self.flags() & FLAG_WIDE == 0 { NARROW_WORD_BYTES } else { WIDE_WORD_BYTES }
    }

    #[inline]
    fn text_start(&self) -> usize {
        self.read_number(TEXT_START_AT)
    }

    /// A word; 0 if the row has no such word.
    #[inline]
    fn word(&self, word: usize) -> usize {
        let at = TEXT_START_AT + (word + 1) * self.word_bytes();
        if at < self.text_start() { self.read_number(at) } else { 0 }
    }

    #[inline]
    fn read_number(&self, at: usize) -> usize {
        let bytes = self.0.as_bytes();
        if self.flags() & FLAG_WIDE == 0 {
            match bytes.get(at..at + NARROW_WORD_BYTES) {
                Some(&[low, high]) => usize::from(low) | usize::from(high) << 7,
                _ => 0,
            }
        } else {
            let digits = bytes.get(at..at + WIDE_WORD_BYTES).unwrap_or_default();
            digits.iter().rev().fold(0, |sum, &digit| (sum << 7) | usize::from(digit))
        }
    }

    /// The previous word and the word itself; 0 if there is none.
    #[inline]
    fn word_pair(&self, word: usize, text_start: usize) -> (usize, usize) {
        let bytes = self.word_bytes();
        let before = TEXT_START_AT + word * bytes;
        if before + 2 * bytes > text_start {
            return (0, 0);
        }
        if bytes == WIDE_WORD_BYTES {
            return (self.read_number(before), self.read_number(before + bytes));
        }
        match self.0.as_bytes().get(before..before + 2 * NARROW_WORD_BYTES) {
            Some(&[low, high, next_low, next_high]) => (
                usize::from(low) | usize::from(high) << 7,
                usize::from(next_low) | usize::from(next_high) << 7,
            ),
            _ => (0, 0),
        }
    }

    /// The value of a word other than the first one.
    #[inline]
    fn word_value(&self, word: usize) -> FieldValue<'_> {
        const MALFORMED: usize = SlotState::Malformed as usize;
        const PLAIN: usize = SlotState::PlainString as usize;
        const DECODED: usize = SlotState::DecodedString as usize;
        const NUMBER: usize = SlotState::Number as usize;
        const TRUE: usize = SlotState::True as usize;
        const FALSE: usize = SlotState::False as usize;
        let text_start = self.text_start();
        let (before, at) = self.word_pair(word, text_start);
        let text = || {
            let start = text_start + (before >> STATE_BITS);
            let end = text_start + (at >> STATE_BITS);
            self.0.get(start..end).unwrap_or_default()
        };
        match at & STATE_MASK {
            MALFORMED => FieldValue::Malformed,
            PLAIN => FieldValue::Text { text: text(), is_plain: true },
            DECODED => FieldValue::Text { text: text(), is_plain: false },
            NUMBER => FieldValue::Number(text()),
            TRUE => FieldValue::Boolean(true),
            FALSE => FieldValue::Boolean(false),
            _ => FieldValue::Missing,
        }
    }
}
