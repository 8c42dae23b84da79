//! How a row is written: numbers and texts side by side, in one pass.
//!
//! It decides nothing: what is kept is the layout's to say.

use super::layout::RowLayout;
use super::row::{
    LIST_HEAD, NARROW_BYTES, NATIONAL, NATIONAL_BYTES, OFFSET_BYTES, REPEATS_NATIONAL, Row,
    STATE_BITS, TEXT_AT, WIDE, WIDE_BYTES,
};
use crate::engine::inspect::Numbers;
use crate::engine::record::Reading;
use crate::engine::value::{State, Value};

/// Most texts are no longer; so many bytes are copied faster than fewer.
const CHUNK: usize = 32;

/// Writes rows, one after the other, in the same memory.
#[derive(Debug, Default)]
pub struct Draft {
    /// The row so far: all its words, of which some are still to be filled in,
    /// and the texts of those that are.
    bytes: Vec<u8>,
    /// Where the next word goes.
    at: usize,
    text_start: usize,
    /// A number was larger than its place.
    overflown: bool,
}

impl Draft {
    /// Makes the row of a patron record.
    #[must_use]
    pub fn row(
        &mut self,
        layout: &RowLayout,
        record: Reading<'_>,
        sensitive: &Sensitive<'_>,
        patron_id: &str,
        offset: i64,
    ) -> Row {
        let source = Kept {
            layout,
            record,
            dropped: sensitive.dropped,
            patron_id,
        };
        let words = source.words();
        let flags = source.flags(sensitive);
        self.begin::<NARROW_BYTES>(flags, offset, words);
        self.fill::<NARROW_BYTES>(&source);
        if self.overflown {
            self.begin::<WIDE_BYTES>(flags | WIDE, offset, words);
            self.fill::<WIDE_BYTES>(&source);
        }
        if let Some(numbers) = sensitive.numbers() {
            self.national(numbers);
        }
        self.finish(patron_id, offset)
    }

    /// Writes the patron's national numbers behind the text.
    fn national(&mut self, numbers: &Numbers) {
        let mut count = 0;
        for number in numbers.iter().take(NATIONAL_MAX) {
            let packed = number.pack();
            let digits = (0..NATIONAL_BYTES).map(|place| (packed >> (7 * place) & 0x7f) as u8);
            self.bytes.extend(digits);
            count += 1;
        }
        self.bytes.push(count);
    }

    /// Makes a row that says no more of a patron than `flags`.
    pub(super) fn note(&mut self, flags: u8, patron_id: &str, offset: i64) -> Row {
        self.begin::<NARROW_BYTES>(flags, offset, 1);
        self.text::<NARROW_BYTES>(State::Plain, patron_id);
        if self.overflown {
            self.begin::<WIDE_BYTES>(flags | WIDE, offset, 1);
            self.text::<WIDE_BYTES>(State::Plain, patron_id);
        }
        self.finish(patron_id, offset)
    }

    fn begin<const N: usize>(&mut self, flags: u8, offset: i64, words: usize) {
        self.overflown = false;
        self.text_start = TEXT_AT + (words + 1) * N;
        self.bytes.clear();
        self.bytes.resize(self.text_start, 0);
        self.bytes[0] = flags;
        self.at = 1;
        self.number::<OFFSET_BYTES>(u64::try_from(offset).unwrap_or(0));
        self.number::<N>(self.text_start as u64);
    }

    fn fill<const N: usize>(&mut self, kept: &Kept<'_>) {
        let record = kept.record;
        self.text::<N>(State::Plain, kept.patron_id);
        for slot in kept.layout.slots() {
            if !kept.dropped.is_empty() && kept.dropped.contains(&slot) {
                self.text::<N>(State::Missing, "");
                continue;
            }
            // One way for all states: which it is nobody can predict.
            let slot = record.slot(slot);
            let state = slot.state();
            let from = record.text_of(state).as_bytes();
            let quotes = usize::from(state == State::Plain);
            let (start, end) = (slot.start() + quotes, slot.end());
            let end = if has_text(state) { end - quotes } else { start };
            self.span(from, start, end);
            self.word::<N>(state, self.text_len());
        }
        for (list, stride) in kept.layout.lists() {
            self.list::<N>(record, list, stride);
        }
    }

    fn list<const N: usize>(&mut self, record: Reading<'_>, list: u16, stride: u16) {
        let state = if record.list_malformed(list) {
            State::Malformed
        } else {
            State::Plain
        };
        let count = elements(record, list);
        self.word::<N>(state, count);
        self.word::<N>(State::Missing, self.text_len());
        for index in 0..count {
            for slot in 0..stride {
                let value = record.element(list, stride, index, slot);
                self.text::<N>(state_of(value), value.as_text().unwrap_or_default());
            }
        }
    }

    fn text<const N: usize>(&mut self, state: State, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.word::<N>(state, self.text_len());
    }

    /// Appends a part of `from`. That it copies more than asked for and takes
    /// the rest back is faster than a copy of any length.
    #[inline]
    fn span(&mut self, from: &[u8], start: usize, end: usize) {
        let chunk = from.get(start..).and_then(<[u8]>::first_chunk::<CHUNK>);
        match chunk {
            Some(chunk) if end.wrapping_sub(start) <= CHUNK => {
                let len = self.bytes.len() + (end - start);
                self.bytes.extend_from_slice(chunk);
                self.bytes.truncate(len);
            }
            _ => self
                .bytes
                .extend_from_slice(from.get(start..end).unwrap_or_default()),
        }
    }

    fn text_len(&self) -> usize {
        self.bytes.len() - self.text_start
    }

    #[inline]
    fn word<const N: usize>(&mut self, state: State, number: usize) {
        self.number::<N>((number as u64) << STATE_BITS | state as u64);
    }

    /// Writes a number, the lowest seven bits first.
    #[inline]
    fn number<const N: usize>(&mut self, number: u64) {
        self.overflown |= number >> (7 * N) != 0;
        if let Some(digits) = self.bytes.get_mut(self.at..self.at + N) {
            for (place, digit) in digits.iter_mut().enumerate() {
                *digit = (number >> (7 * place) & 0x7f) as u8;
            }
        }
        self.at += N;
    }

    fn finish(&self, patron_id: &str, offset: i64) -> Row {
        match simdutf8::basic::from_utf8(&self.bytes) {
            Ok(row) => Row(row.into()),
            // Nothing but text was written; were it otherwise, nobody sees it.
            Err(_) => Row::unreadable(patron_id, offset),
        }
    }
}

/// What of a patron record is sensitive.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sensitive<'a> {
    /// The slots whose values must not rest in the table.
    pub dropped: &'a [u16],
    /// The slots that hold a national number.
    pub national: &'a [u16],
    /// What they hold.
    pub numbers: Option<&'a Numbers>,
}

impl<'a> Sensitive<'a> {
    fn numbers(&self) -> Option<&'a Numbers> {
        self.numbers.filter(|numbers| !numbers.is_empty())
    }
}

/// No row has more national numbers: what counts them is one byte of text.
const NATIONAL_MAX: usize = 127;

/// What is to be in a row.
struct Kept<'a> {
    layout: &'a RowLayout,
    record: Reading<'a>,
    dropped: &'a [u16],
    patron_id: &'a str,
}

impl Kept<'_> {
    /// What the row's first byte says of national numbers.
    fn flags(&self, sensitive: &Sensitive<'_>) -> u8 {
        let Some(numbers) = sensitive.numbers() else {
            return 0;
        };
        match self.repeats(numbers, sensitive.national) {
            true => NATIONAL | REPEATS_NATIONAL,
            false => NATIONAL,
        }
    }

    /// Whether a value that is kept, but for those of the slots `national`, has
    /// one of these numbers in it.
    fn repeats(&self, numbers: &Numbers, national: &[u16]) -> bool {
        let record = self.record;
        let other = |slot: &u16| !self.dropped.contains(slot) && !national.contains(slot);
        let mut slots = self.layout.slots().filter(other);
        if slots.any(|slot| numbers.are_in_slot(record, record.slot(slot))) {
            return true;
        }
        let mut lists = self.layout.lists();
        lists.any(|list| numbers.are_in_list(record, list))
    }

    fn words(&self) -> usize {
        let lists = self
            .layout
            .lists()
            .map(|(list, stride)| LIST_HEAD + elements(self.record, list) * usize::from(stride));
        1 + self.layout.len() + lists.sum::<usize>()
    }
}

/// How many elements of a list are kept: none of one that is malformed.
fn elements(record: Reading<'_>, list: u16) -> usize {
    if record.list_malformed(list) {
        0
    } else {
        record.list_len(list)
    }
}

fn has_text(state: State) -> bool {
    matches!(state, State::Plain | State::Decoded | State::Number)
}

fn state_of(value: Value<'_>) -> State {
    match value {
        Value::Missing => State::Missing,
        Value::Malformed => State::Malformed,
        Value::Text { plain: true, .. } => State::Plain,
        Value::Text { plain: false, .. } => State::Decoded,
        Value::Number(_) => State::Number,
        Value::Boolean(true) => State::True,
        Value::Boolean(false) => State::False,
    }
}
