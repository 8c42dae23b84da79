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
/// One number, as it is written and read for every value of every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u64);

/// The largest end of a span; no record is larger.
pub const SPAN_MAX: usize = (1 << SPAN_BITS) - 1;

const SPAN_BITS: u32 = 28;
const STATE_BITS: u32 = 8;

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
    pub const MISSING: Slot = Slot(State::Missing as u64);
    pub const MALFORMED: Slot = Slot(State::Malformed as u64);

    /// What lies between `start` and `end`, of which neither is over
    /// [`SPAN_MAX`].
    #[inline]
    #[must_use]
    pub const fn span(start: usize, end: usize, state: State) -> Slot {
        let span = (start as u64) | ((end as u64) << SPAN_BITS);
        Slot((span << STATE_BITS) | state as u64)
    }

    #[must_use]
    pub const fn boolean(value: bool) -> Slot {
        Slot(if value { State::True } else { State::False } as u64)
    }

    #[inline]
    #[must_use]
    pub const fn state(self) -> State {
        match self.0 as u8 {
            0 => State::Missing,
            2 => State::True,
            3 => State::False,
            4 => State::Decoded,
            5 => State::Plain,
            6 => State::Number,
            _ => State::Malformed,
        }
    }

    /// Whether it can be copied as it stands in the record's text.
    #[inline]
    #[must_use]
    pub const fn is_in_text(self) -> bool {
        self.0 as u8 >= State::Plain as u8
    }

    #[inline]
    #[must_use]
    pub const fn start(self) -> usize {
        (self.0 >> STATE_BITS) as usize & SPAN_MAX
    }

    #[inline]
    #[must_use]
    pub const fn end(self) -> usize {
        (self.0 >> (STATE_BITS + SPAN_BITS)) as usize
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
