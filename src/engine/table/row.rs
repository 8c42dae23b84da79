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
//! bytes, others five.

use super::layout::RowLayout;
use crate::engine::record::Record;
use crate::engine::value::{State, Value};

/// What is kept of one patron: who it is, what is known, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(Box<str>);

/// What is known of a patron.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known<'a> {
    Patron(&'a Row),
    /// A null value erased it.
    Erased,
    /// Its last record was refused whole: nothing may be decided by an older one.
    Unreadable,
}

const ERASED: u8 = 1;
const UNREADABLE: u8 = 2;
const WIDE: u8 = 4;
const OFFSET_BYTES: usize = 9;
/// Where the number stands that says where the text begins.
const TEXT_AT: usize = 1 + OFFSET_BYTES;

const STATE_BITS: u32 = 3;
const STATE_MASK: usize = (1 << STATE_BITS) - 1;
/// The largest end or count that a word of two bytes can hold.
const NARROW_MAX: usize = (1 << (14 - STATE_BITS)) - 1;
const NARROW_BYTES: usize = 2;
const WIDE_BYTES: usize = 5;

/// The two words before the elements of a list: its state and count, and where
/// the text stands by then.
pub(super) const LIST_HEAD: usize = 2;

impl Row {
    /// Notes that a patron was erased.
    #[must_use]
    pub fn erased(patron_id: &str, offset: i64) -> Row {
        Row::empty(ERASED, patron_id, offset)
    }

    /// Notes that a patron's last record was refused whole.
    #[must_use]
    pub fn unreadable(patron_id: &str, offset: i64) -> Row {
        Row::empty(UNREADABLE, patron_id, offset)
    }

    fn empty(flags: u8, patron_id: &str, offset: i64) -> Row {
        let mut draft = Draft::default();
        draft.begin(patron_id);
        draft.finish(flags, offset)
    }

    /// What the row says of its patron.
    #[inline]
    #[must_use]
    pub fn known(&self) -> Known<'_> {
        match self.flags() & !WIDE {
            0 => Known::Patron(self),
            ERASED => Known::Erased,
            _ => Known::Unreadable,
        }
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
        self.0.len() - self.text_start()
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
        let at = self.word_at(word);
        let text = || {
            let start = text_start + (self.word_at(word - 1) >> STATE_BITS);
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

/// Writes rows; what it needs for that is used again for the next one.
#[derive(Debug, Default)]
pub struct Draft {
    /// State and number of each word.
    words: Vec<(State, usize)>,
    text: String,
    /// The largest number of a word.
    largest: usize,
}

impl Draft {
    /// Makes the row of a patron record; `dropped` are slots of the record
    /// whose values must not rest in the table.
    #[must_use]
    pub fn row(
        &mut self,
        layout: &RowLayout,
        record: &Record,
        dropped: &[u16],
        patron_id: &str,
        offset: i64,
    ) -> Row {
        self.begin(patron_id);
        for slot in layout.slots() {
            if !dropped.is_empty() && dropped.contains(&slot) {
                self.value(Value::Missing);
            } else {
                self.value(record.value(slot));
            }
        }
        for (list, stride) in layout.lists() {
            let malformed = record.list_malformed(list);
            let count = if malformed { 0 } else { record.list_len(list) };
            self.list(malformed, count);
            for index in 0..count {
                for slot in 0..stride {
                    self.value(record.element(list, stride, index, slot));
                }
            }
        }
        self.finish(0, offset)
    }

    fn begin(&mut self, patron_id: &str) {
        self.words.clear();
        self.text.clear();
        self.largest = 0;
        self.value(Value::Text {
            text: patron_id,
            plain: true,
        });
    }

    #[inline]
    fn value(&mut self, value: Value<'_>) {
        let state = match value {
            Value::Missing => State::Missing,
            Value::Malformed => State::Malformed,
            Value::Text { text, plain } => {
                self.text.push_str(text);
                if plain { State::Plain } else { State::Decoded }
            }
            Value::Number(written) => {
                self.text.push_str(written);
                State::Number
            }
            Value::Boolean(true) => State::True,
            Value::Boolean(false) => State::False,
        };
        self.words.push((state, self.text.len()));
    }

    fn list(&mut self, malformed: bool, count: usize) {
        let state = if malformed {
            State::Malformed
        } else {
            State::Plain
        };
        self.words.push((state, count));
        self.largest = self.largest.max(count);
        self.words.push((State::Missing, self.text.len()));
    }

    fn finish(&self, flags: u8, offset: i64) -> Row {
        let text_start = |number_bytes: usize| TEXT_AT + (self.words.len() + 1) * number_bytes;
        let narrow = self.largest.max(self.text.len()) <= NARROW_MAX
            && text_start(NARROW_BYTES) < 1 << (7 * NARROW_BYTES);
        if narrow {
            self.write::<NARROW_BYTES>(flags, offset, text_start(NARROW_BYTES))
        } else {
            self.write::<WIDE_BYTES>(flags | WIDE, offset, text_start(WIDE_BYTES))
        }
    }

    fn write<const N: usize>(&self, flags: u8, offset: i64, text_start: usize) -> Row {
        let mut row = String::with_capacity(text_start + self.text.len());
        row.push(char::from(flags & 0x7f));
        digits::<OFFSET_BYTES>(&mut row, u64::try_from(offset).unwrap_or(0));
        digits::<N>(&mut row, text_start as u64);
        for &(state, number) in &self.words {
            digits::<N>(&mut row, (number as u64) << STATE_BITS | state as u64);
        }
        row.push_str(&self.text);
        Row(row.into_boxed_str())
    }
}

/// Writes a number, the lowest seven bits first.
#[inline]
fn digits<const N: usize>(row: &mut String, number: u64) {
    for digit in 0..N {
        row.push(char::from((number >> (7 * digit) & 0x7f) as u8));
    }
}
