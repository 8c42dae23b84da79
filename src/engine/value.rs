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

    #[must_use]
    pub fn is_missing(self) -> bool {
        matches!(self, Value::Missing)
    }

    #[must_use]
    pub fn is_malformed(self) -> bool {
        matches!(self, Value::Malformed)
    }
}

/// How a value is kept: a span in the text that its owner holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub start: u32,
    pub end: u32,
    pub state: State,
}

/// What a [`Slot`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    Missing,
    Malformed,
    /// A string without escapes, in the record's text.
    Plain,
    /// A string that had escapes, in the decoded text.
    Decoded,
    Number,
    True,
    False,
}

impl Slot {
    pub const MISSING: Slot = Slot::empty(State::Missing);
    pub const MALFORMED: Slot = Slot::empty(State::Malformed);

    #[must_use]
    pub const fn empty(state: State) -> Slot {
        Slot {
            start: 0,
            end: 0,
            state,
        }
    }

    #[must_use]
    pub const fn boolean(value: bool) -> Slot {
        Slot::empty(if value { State::True } else { State::False })
    }
}
