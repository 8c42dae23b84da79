//! Writes rows of patrons in one pass. The layout says what is kept.

use super::layout::PatronRowLayout;
use super::row::{
    FLAG_NATIONAL, FLAG_REPEATS_NATIONAL, FLAG_WIDE, LIST_HEAD_WORDS, NARROW_WORD_BYTES,
    NATIONAL_NUMBER_BYTES, OFFSET_BYTES, PatronRow, STATE_BITS, TEXT_START_AT, WIDE_WORD_BYTES,
};
use crate::engine::record::RecordView;
use crate::engine::record::national_number::PatronNationalNumbers;
use crate::engine::record::value::{FieldValue, SlotState};

/// Most texts are not longer; copying a constant length is faster.
const COPY_LEN: usize = 32;

/// Writes rows, reusing its buffer.
#[derive(Debug, Default)]
pub struct PatronRowWriter {
    /// The row so far: all words, some still to be filled in, and the texts.
    bytes: Vec<u8>,
    /// Where the next word goes.
    next_word_at: usize,
    text_start: usize,
    /// A number did not fit its word.
    has_overflow: bool,
}

impl PatronRowWriter {
    /// Empties the buffer: it holds the row that was written last.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Makes the row of a patron record.
    #[must_use]
    pub fn build_row(
        &mut self,
        layout: &PatronRowLayout,
        record: RecordView<'_>,
        sensitive: &SensitiveValues<'_>,
        patron_id: &str,
        offset: i64,
    ) -> PatronRow {
        let source =
            RowSource { layout, record, dropped_slots: sensitive.dropped_slots, patron_id };
        let words = source.word_count();
        let flags = source.flags(sensitive);
        self.begin_row::<NARROW_WORD_BYTES>(flags, offset, words);
        self.write_values::<NARROW_WORD_BYTES>(&source);
        if self.has_overflow {
            self.begin_row::<WIDE_WORD_BYTES>(flags | FLAG_WIDE, offset, words);
            self.write_values::<WIDE_WORD_BYTES>(&source);
        }
        if let Some(numbers) = sensitive.national_numbers() {
            self.write_national_numbers(numbers);
        }
        self.finish_row(patron_id, offset)
    }

    /// Writes the patron's national numbers behind the text.
    fn write_national_numbers(&mut self, numbers: &PatronNationalNumbers) {
        let mut count = 0;
        for number in numbers.iter().take(NATIONAL_NUMBERS_MAX) {
            let packed = number.pack();
            let digits =
                (0..NATIONAL_NUMBER_BYTES).map(|place| (packed >> (7 * place) & 0x7f) as u8);
            self.bytes.extend(digits);
            count += 1;
        }
        self.bytes.push(count);
    }

    /// Makes a row that has no values, only flags.
    pub(crate) fn build_row_without_values(
        &mut self,
        flags: u8,
        patron_id: &str,
        offset: i64,
    ) -> PatronRow {
        self.begin_row::<NARROW_WORD_BYTES>(flags, offset, 1);
        self.write_text::<NARROW_WORD_BYTES>(SlotState::PlainString, patron_id);
        if self.has_overflow {
            self.begin_row::<WIDE_WORD_BYTES>(flags | FLAG_WIDE, offset, 1);
            self.write_text::<WIDE_WORD_BYTES>(SlotState::PlainString, patron_id);
        }
        self.finish_row(patron_id, offset)
    }

    fn begin_row<const N: usize>(&mut self, flags: u8, offset: i64, words: usize) {
        self.has_overflow = false;
        self.text_start = TEXT_START_AT + (words + 1) * N;
        self.bytes.clear();
        self.bytes.resize(self.text_start, 0);
        self.bytes[0] = flags;
        self.next_word_at = 1;
        self.write_number::<OFFSET_BYTES>(u64::try_from(offset).unwrap_or(0));
        self.write_number::<N>(self.text_start as u64);
    }

    fn write_values<const N: usize>(&mut self, kept: &RowSource<'_>) {
        let record = kept.record;
        self.write_text::<N>(SlotState::PlainString, kept.patron_id);
        for slot in kept.layout.slots() {
            if !kept.dropped_slots.is_empty() && kept.dropped_slots.contains(&slot) {
                self.write_text::<N>(SlotState::Missing, "");
                continue;
            }
            // The same path for all states, as they are unpredictable.
            let slot = record.slot(slot);
            let state = slot.state();
            let from = record.backing_text(state).as_bytes();
            let quotes = usize::from(state == SlotState::PlainString);
            let (start, end) = (slot.start() + quotes, slot.end());
            let end = if has_text(state) { end - quotes } else { start };
            self.append_text(from, start, end);
            self.write_word::<N>(state, self.text_len());
        }
        for (list, stride) in kept.layout.lists() {
            self.write_list::<N>(record, list, stride);
        }
    }

    fn write_list<const N: usize>(&mut self, record: RecordView<'_>, list: u16, stride: u16) {
        let state = if record.is_list_malformed(list) {
            SlotState::Malformed
        } else {
            SlotState::PlainString
        };
        let count = kept_element_count(record, list);
        self.write_word::<N>(state, count);
        self.write_word::<N>(SlotState::Missing, self.text_len());
        for index in 0..count {
            for slot in 0..stride {
                let value = record.element(list, stride, index, slot);
                self.write_text::<N>(slot_state_of(value), value.as_text().unwrap_or_default());
            }
        }
    }

    fn write_text<const N: usize>(&mut self, state: SlotState, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.write_word::<N>(state, self.text_len());
    }

    /// Appends a part of `from`. Copying too much and truncating is faster than copying a variable
    /// length.
    #[inline]
    fn append_text(&mut self, from: &[u8], start: usize, end: usize) {
        let chunk = from.get(start..).and_then(<[u8]>::first_chunk::<COPY_LEN>);
        match chunk {
            Some(chunk) if end.wrapping_sub(start) <= COPY_LEN => {
                let len = self.bytes.len() + (end - start);
                self.bytes.extend_from_slice(chunk);
                self.bytes.truncate(len);
            }
            _ => self.bytes.extend_from_slice(from.get(start..end).unwrap_or_default()),
        }
    }

    fn text_len(&self) -> usize {
        self.bytes.len() - self.text_start
    }

    #[inline]
    fn write_word<const N: usize>(&mut self, state: SlotState, number: usize) {
        self.write_number::<N>((number as u64) << STATE_BITS | state as u64);
    }

    /// Writes a number, the lowest seven bits first.
    #[inline]
    fn write_number<const N: usize>(&mut self, number: u64) {
        self.has_overflow |= number >> (7 * N) != 0;
        if let Some(digits) = self.bytes.get_mut(self.next_word_at..self.next_word_at + N) {
            for (place, digit) in digits.iter_mut().enumerate() {
                *digit = (number >> (7 * place) & 0x7f) as u8;
            }
        }
        self.next_word_at += N;
    }

    fn finish_row(&self, patron_id: &str, offset: i64) -> PatronRow {
        match simdutf8::basic::from_utf8(&self.bytes) {
            Ok(row) => PatronRow(row.into()),
            // Unreachable: only text was written. Fail closed.
            Err(_) => PatronRow::unreadable(patron_id, offset),
        }
    }
}

/// What of a patron record is sensitive.
#[derive(Clone, Copy, Debug, Default)]
pub struct SensitiveValues<'a> {
    /// Slots whose values must not be kept.
    pub dropped_slots: &'a [u16],
    /// Slots that contain a national number.
    pub national_slots: &'a [u16],
    /// The national numbers.
    pub national_numbers: Option<&'a PatronNationalNumbers>,
}

impl<'a> SensitiveValues<'a> {
    fn national_numbers(&self) -> Option<&'a PatronNationalNumbers> {
        self.national_numbers.filter(|numbers| !numbers.is_empty())
    }
}

/// The count is one byte of text.
const NATIONAL_NUMBERS_MAX: usize = 127;

/// What a row is written from.
struct RowSource<'a> {
    layout: &'a PatronRowLayout,
    record: RecordView<'a>,
    dropped_slots: &'a [u16],
    patron_id: &'a str,
}

impl RowSource<'_> {
    /// The flags about national numbers.
    fn flags(&self, sensitive: &SensitiveValues<'_>) -> u8 {
        let Some(numbers) = sensitive.national_numbers() else {
            return 0;
        };
        match self.repeats_national_number(numbers, sensitive.national_slots) {
            true => FLAG_NATIONAL | FLAG_REPEATS_NATIONAL,
            false => FLAG_NATIONAL,
        }
    }

    /// Whether a kept value contains one of the numbers, except for the slots `national`.
    fn repeats_national_number(&self, numbers: &PatronNationalNumbers, national: &[u16]) -> bool {
        let record = self.record;
        let other = |slot: &u16| !self.dropped_slots.contains(slot) && !national.contains(slot);
        let mut slots = self.layout.slots().filter(other);
        if slots.any(|slot| numbers.occur_in_slot(record, record.slot(slot))) {
            return true;
        }
        let mut lists = self.layout.lists();
        lists.any(|list| numbers.occur_in_list(record, list))
    }

    fn word_count(&self) -> usize {
        let lists = self.layout.lists().map(|(list, stride)| {
            LIST_HEAD_WORDS + kept_element_count(self.record, list) * usize::from(stride)
        });
        1 + self.layout.len() + lists.sum::<usize>()
    }
}

/// How many elements of a list are kept: none if it is malformed.
fn kept_element_count(record: RecordView<'_>, list: u16) -> usize {
    if record.is_list_malformed(list) { 0 } else { record.list_len(list) }
}

fn has_text(state: SlotState) -> bool {
    matches!(state, SlotState::PlainString | SlotState::DecodedString | SlotState::Number)
}

fn slot_state_of(value: FieldValue<'_>) -> SlotState {
    match value {
        FieldValue::Missing => SlotState::Missing,
        FieldValue::Malformed => SlotState::Malformed,
        FieldValue::Text { is_plain: true, .. } => SlotState::PlainString,
        FieldValue::Text { is_plain: false, .. } => SlotState::DecodedString,
        FieldValue::Number(_) => SlotState::Number,
        FieldValue::Boolean(true) => SlotState::True,
        FieldValue::Boolean(false) => SlotState::False,
    }
}
