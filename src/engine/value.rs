//! One kept value of a record, as conditions, masks and outputs see it.

/// What stands at a wanted path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Not there, null, empty, or not of its form.
    Missing,
    /// Of the wrong type, twice in one object, a lone surrogate, or a number
    /// that no double can hold.
    Malformed,
    /// Decoded text; `plain` when it needs no escape in JSON.
    Text {
        text: &'a str,
        plain: bool,
    },
    /// A number, as written.
    Number(&'a str),
    Boolean(bool),
}

impl<'a> Value<'a> {
    /// The text of a string, or of a number as written.
    #[must_use]
    pub fn as_text(self) -> Option<&'a str> {
        match self {
            Value::Text { text, .. } | Value::Number(text) => Some(text),
            Value::Missing | Value::Malformed | Value::Boolean(_) => None,
        }
    }

    /// The text of a scalar as a mask takes it, or a line shows it.
    #[must_use]
    pub fn written(self) -> Option<&'a str> {
        match self {
            Value::Boolean(true) => Some("true"),
            Value::Boolean(false) => Some("false"),
            other => other.as_text(),
        }
    }

    #[must_use]
    pub fn is_missing(self) -> bool {
        matches!(self, Value::Missing)
    }

    #[must_use]
    pub fn is_malformed(self) -> bool {
        matches!(self, Value::Malformed)
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
pub struct Slot(u64);

/// The largest end of a span; no record is larger.
pub const SPAN_MAX: usize = (1 << SPAN_BITS) - 1;

const SPAN_BITS: u32 = 28;
const NUMBER: u64 = 1 << 32;
const LENGTH_AT: u32 = 33;
const KIND_AT: u32 = LENGTH_AT + SPAN_BITS;

/// What a [`Slot`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    Missing,
    Malformed,
    True,
    False,
    /// A string that had escapes, in the decoded text.
    Decoded,
    /// A string without escapes, in the record's text, with its quotes.
    Plain,
    /// In the record's text, as a string without escapes is.
    Number,
}

impl Slot {
    pub const MISSING: Slot = Slot::of(State::Missing);
    pub const MALFORMED: Slot = Slot::of(State::Malformed);

    const fn of(state: State) -> Slot {
        Slot(match state {
            State::Missing | State::Plain => 0,
            State::Number => NUMBER,
            State::Decoded => 1 << KIND_AT,
            State::Malformed => 2 << KIND_AT,
            State::True => 3 << KIND_AT,
            State::False => 4 << KIND_AT,
        })
    }

    /// A string or a number that lies between `start` and `end`, of which neither
    /// is over [`SPAN_MAX`], and which are not the same place.
    #[inline]
    #[must_use]
    pub const fn span(start: usize, end: usize, state: State) -> Slot {
        let length = (end - start) as u64;
        Slot(Slot::of(state).0 + (length << LENGTH_AT) + start as u64)
    }

    /// A string without escapes, in the record's text, by what lies between its
    /// quotes: that is not empty.
    #[inline(always)]
    #[must_use]
    pub const fn plain(start: usize, length: usize) -> Slot {
        const QUOTES: u64 = Slot::span(0, 2, State::Plain).0 - 1;
        Slot(((length as u64) << LENGTH_AT) + start as u64 + QUOTES)
    }

    #[must_use]
    pub const fn boolean(value: bool) -> Slot {
        Slot::of(if value { State::True } else { State::False })
    }

    #[inline]
    #[must_use]
    pub const fn state(self) -> State {
        match self.0 >> KIND_AT {
            0 if self.length() == 0 => State::Missing,
            0 if self.0 & NUMBER != 0 => State::Number,
            0 => State::Plain,
            1 => State::Decoded,
            3 => State::True,
            4 => State::False,
            _ => State::Malformed,
        }
    }

    /// Whether it is a string without escapes.
    #[inline]
    #[must_use]
    pub const fn is_plain(self) -> bool {
        self.is_in_text() && self.0 & NUMBER == 0
    }

    /// Whether it can be copied as it stands in the record's text.
    #[inline]
    #[must_use]
    pub const fn is_in_text(self) -> bool {
        self.copied_length().wrapping_sub(1) < SPAN_MAX
    }

    /// Whether it is a string that is not empty, or a number.
    #[inline]
    #[must_use]
    pub const fn is_text(self) -> bool {
        matches!(self.state(), State::Plain | State::Number | State::Decoded)
    }

    /// How long it is if it can be copied as it stands; else 0, or more than any
    /// span is.
    #[inline]
    #[must_use]
    pub const fn copied_length(self) -> usize {
        (self.0 >> LENGTH_AT) as usize
    }

    #[inline]
    #[must_use]
    pub const fn start(self) -> usize {
        self.0 as u32 as usize
    }

    #[inline]
    #[must_use]
    pub const fn length(self) -> usize {
        (self.0 >> LENGTH_AT) as usize & SPAN_MAX
    }

    #[inline]
    #[must_use]
    pub const fn end(self) -> usize {
        self.start() + self.length()
    }

    #[inline]
    #[must_use]
    pub fn is_missing(self) -> bool {
        self == Slot::MISSING
    }

    #[inline]
    #[must_use]
    pub fn is_malformed(self) -> bool {
        self == Slot::MALFORMED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_keeps_what_it_is_given() {
        for state in [State::Plain, State::Number, State::Decoded] {
            for (start, end) in [(0, 1), (3, 9), (0, SPAN_MAX), (SPAN_MAX - 1, SPAN_MAX)] {
                let slot = Slot::span(start, end, state);
                assert_eq!((slot.start(), slot.end()), (start, end));
                assert_eq!(slot.state(), state);
                let in_text = state != State::Decoded;
                assert_eq!(slot.is_in_text(), in_text);
                assert_eq!(slot.is_plain(), state == State::Plain);
                assert_eq!(slot.copied_length() == end - start, in_text);
                assert!(slot.is_text() && (in_text || slot.copied_length() > SPAN_MAX));
            }
        }
        for (slot, state) in [
            (Slot::MISSING, State::Missing),
            (Slot::MALFORMED, State::Malformed),
            (Slot::boolean(true), State::True),
            (Slot::boolean(false), State::False),
        ] {
            assert_eq!(slot.state(), state);
            assert!(!slot.is_in_text() && !slot.is_text() && !slot.is_plain());
            let copied = slot.copied_length();
            assert!(copied == 0 || copied > SPAN_MAX);
        }
        assert_eq!(Slot::plain(4, 5), Slot::span(3, 10, State::Plain));
        assert!(Slot::MISSING.is_missing() && Slot::MALFORMED.is_malformed());
    }
}
