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
/// the span starts in its lower half; in its upper half how long it is, the
/// [`State`], and at the top whether it can be copied as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u64);

/// The largest end of a span; no record is larger.
pub const SPAN_MAX: usize = (1 << SPAN_BITS) - 1;

const SPAN_BITS: u32 = 28;
const LENGTH_AT: u32 = 32;
const STATE_AT: u32 = LENGTH_AT + SPAN_BITS;
const IN_TEXT: u64 = 1 << 63;

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
        let in_text = match state {
            State::Plain | State::Number => IN_TEXT,
            _ => 0,
        };
        Slot(in_text | (state as u64) << STATE_AT)
    }

    /// What lies between `start` and `end`, of which neither is over
    /// [`SPAN_MAX`].
    #[inline]
    #[must_use]
    pub const fn span(start: usize, end: usize, state: State) -> Slot {
        let length = (end - start) as u64;
        Slot(Slot::of(state).0 + (length << LENGTH_AT) + start as u64)
    }

    #[must_use]
    pub const fn boolean(value: bool) -> Slot {
        Slot::of(if value { State::True } else { State::False })
    }

    #[inline]
    #[must_use]
    pub const fn state(self) -> State {
        match (self.0 >> STATE_AT) & 7 {
            0 => State::Missing,
            2 => State::True,
            3 => State::False,
            4 => State::Decoded,
            5 => State::Plain,
            6 => State::Number,
            _ => State::Malformed,
        }
    }

    /// Whether it is a string without escapes.
    #[inline]
    #[must_use]
    pub const fn is_plain(self) -> bool {
        const PLAIN: u64 = Slot::of(State::Plain).0 >> STATE_AT;
        self.0 >> STATE_AT == PLAIN
    }

    /// Whether it can be copied as it stands in the record's text.
    #[inline]
    #[must_use]
    pub const fn is_in_text(self) -> bool {
        self.0 & IN_TEXT != 0
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
        let states = [
            State::Missing,
            State::Malformed,
            State::Plain,
            State::Decoded,
            State::Number,
            State::True,
            State::False,
        ];
        for state in states {
            for (start, end) in [(0, 0), (3, 9), (SPAN_MAX - 1, SPAN_MAX)] {
                let slot = Slot::span(start, end, state);
                assert_eq!(
                    (slot.start(), slot.end(), slot.state()),
                    (start, end, state)
                );
            }
        }
        assert!(Slot::MISSING.is_missing() && Slot::MALFORMED.is_malformed());
        assert_eq!(Slot::boolean(true).state(), State::True);
    }
}
