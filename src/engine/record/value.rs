//! One kept value of a record, as conditions, masks and outputs see it.

/// The value at a wanted path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FieldValue<'a> {
    /// Absent, null, empty, or not of its form.
    Missing,
    /// Of the wrong type, a duplicate member, a lone surrogate, or a number that no
    /// double can hold.
    Malformed,
    /// Decoded text; `is_plain` if it needs no escape in JSON.
    Text {
        text: &'a str,
        is_plain: bool,
    },
    /// A number, as written.
    Number(&'a str),
    Boolean(bool),
}

impl<'a> FieldValue<'a> {
    /// Returns the text of a string, or of a number as written.
    #[must_use]
    pub fn as_text(self) -> Option<&'a str> {
        match self {
            FieldValue::Text { text, .. } | FieldValue::Number(text) => Some(text),
            FieldValue::Missing | FieldValue::Malformed | FieldValue::Boolean(_) => None,
        }
    }

    /// Returns the text of any scalar, as masks and slips take it.
    #[must_use]
    pub fn scalar_text(self) -> Option<&'a str> {
        match self {
            FieldValue::Boolean(true) => Some("true"),
            FieldValue::Boolean(false) => Some("false"),
            other => other.as_text(),
        }
    }

    #[must_use]
    pub fn is_missing(self) -> bool {
        matches!(self, FieldValue::Missing)
    }

    #[must_use]
    pub fn is_malformed(self) -> bool {
        matches!(self, FieldValue::Malformed)
    }
}

/// How a value is kept: a span in the text that its owner holds, and what it is.
///
/// One number, as it is written and read for every value of every record: where
/// the span starts in its lower half; above that whether it is a number, how long
/// the span is, and what it is. What can be copied as it stands in the record's text
/// has zeros there, so that its length is all that stands above the number's bit; and
/// that is never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueSlot(u64);

/// The largest end of a span, and the largest size of a record.
pub const SPAN_MAX: usize = (1 << SPAN_BITS) - 1;

const SPAN_BITS: u32 = 28;
const NUMBER_BIT: u64 = 1 << 32;
const LENGTH_SHIFT: u32 = 33;
const KIND_SHIFT: u32 = LENGTH_SHIFT + SPAN_BITS;

/// The kind of value in a [`ValueSlot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SlotState {
    Missing,
    Malformed,
    True,
    False,
    /// A string that had escapes; the span is in the decoded text.
    DecodedString,
    /// A string without escapes; the span is in the record's text, with its quotes.
    PlainString,
    /// The span is in the record's text.
    Number,
}

impl ValueSlot {
    pub const MISSING: ValueSlot = ValueSlot::from_state(SlotState::Missing);
    pub const MALFORMED: ValueSlot = ValueSlot::from_state(SlotState::Malformed);

    const fn from_state(state: SlotState) -> ValueSlot {
        ValueSlot(match state {
            SlotState::Missing | SlotState::PlainString => 0,
            SlotState::Number => NUMBER_BIT,
            SlotState::DecodedString => 1 << KIND_SHIFT,
            SlotState::Malformed => 2 << KIND_SHIFT,
            SlotState::True => 3 << KIND_SHIFT,
            SlotState::False => 4 << KIND_SHIFT,
        })
    }

    /// A string or a number from `start` to `end`. The span must not be empty, nor end
    /// beyond [`SPAN_MAX`].
    #[inline]
    #[must_use]
    pub const fn span(start: usize, end: usize, state: SlotState) -> ValueSlot {
        let length = (end - start) as u64;
        ValueSlot(ValueSlot::from_state(state).0 + (length << LENGTH_SHIFT) + start as u64)
    }

    /// A string without escapes, by the start and the length of its content, which must
    /// not be empty.
    #[inline(always)]
    #[must_use]
    pub const fn plain_string(start: usize, length: usize) -> ValueSlot {
        const QUOTES: u64 = ValueSlot::span(0, 2, SlotState::PlainString).0 - 1;
        ValueSlot(((length as u64) << LENGTH_SHIFT) + start as u64 + QUOTES)
    }

    #[must_use]
    pub const fn boolean(value: bool) -> ValueSlot {
        ValueSlot::from_state(if value { SlotState::True } else { SlotState::False })
    }

    #[inline]
    #[must_use]
    pub const fn state(self) -> SlotState {
        match self.0 >> KIND_SHIFT {
            0 if self.length() == 0 => SlotState::Missing,
            0 if self.0 & NUMBER_BIT != 0 => SlotState::Number,
            0 => SlotState::PlainString,
            1 => SlotState::DecodedString,
            3 => SlotState::True,
            4 => SlotState::False,
            _ => SlotState::Malformed,
        }
    }

    /// Returns whether it is a string without escapes.
    #[inline]
    #[must_use]
    pub const fn is_plain_string(self) -> bool {
        self.is_verbatim() && self.0 & NUMBER_BIT == 0
    }

    /// Returns whether it can be copied verbatim from the record's text.
    #[inline]
    #[must_use]
    pub const fn is_verbatim(self) -> bool {
        self.verbatim_length().wrapping_sub(1) < SPAN_MAX
    }

    /// Returns whether it is a nonempty string or a number.
    #[inline]
    #[must_use]
    pub const fn has_text(self) -> bool {
        matches!(
            self.state(),
            SlotState::PlainString | SlotState::Number | SlotState::DecodedString
        )
    }

    /// Returns the length of a verbatim value; for any other, 0 or more than
    /// [`SPAN_MAX`].
    #[inline]
    #[must_use]
    pub const fn verbatim_length(self) -> usize {
        (self.0 >> LENGTH_SHIFT) as usize
    }

    #[inline]
    #[must_use]
    pub const fn start(self) -> usize {
        self.0 as u32 as usize
    }

    #[inline]
    #[must_use]
    pub const fn length(self) -> usize {
        (self.0 >> LENGTH_SHIFT) as usize & SPAN_MAX
    }

    #[inline]
    #[must_use]
    pub const fn end(self) -> usize {
        self.start() + self.length()
    }

    #[inline]
    #[must_use]
    pub fn is_missing(self) -> bool {
        self == ValueSlot::MISSING
    }

    #[inline]
    #[must_use]
    pub fn is_malformed(self) -> bool {
        self == ValueSlot::MALFORMED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_slot_returns_what_it_was_made_of() {
        for state in [SlotState::PlainString, SlotState::Number, SlotState::DecodedString] {
            for (start, end) in [(0, 1), (3, 9), (0, SPAN_MAX), (SPAN_MAX - 1, SPAN_MAX)] {
                let slot = ValueSlot::span(start, end, state);
                assert_eq!((slot.start(), slot.end()), (start, end));
                assert_eq!(slot.state(), state);
                let in_text = state != SlotState::DecodedString;
                assert_eq!(slot.is_verbatim(), in_text);
                assert_eq!(slot.is_plain_string(), state == SlotState::PlainString);
                assert_eq!(slot.verbatim_length() == end - start, in_text);
                assert!(slot.has_text() && (in_text || slot.verbatim_length() > SPAN_MAX));
            }
        }
        for (slot, state) in [
            (ValueSlot::MISSING, SlotState::Missing),
            (ValueSlot::MALFORMED, SlotState::Malformed),
            (ValueSlot::boolean(true), SlotState::True),
            (ValueSlot::boolean(false), SlotState::False),
        ] {
            assert_eq!(slot.state(), state);
            assert!(!slot.is_verbatim() && !slot.has_text() && !slot.is_plain_string());
            let copied = slot.verbatim_length();
            assert!(copied == 0 || copied > SPAN_MAX);
        }
        assert_eq!(ValueSlot::plain_string(4, 5), ValueSlot::span(3, 10, SlotState::PlainString));
        assert!(ValueSlot::MISSING.is_missing() && ValueSlot::MALFORMED.is_malformed());
    }
}
