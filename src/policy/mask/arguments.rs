//! The arguments of a mask: what its row allows, and what a file gives.
//!
//! Collects every mistake instead of stopping at the first.

use std::collections::BTreeMap;
use std::fmt;

/// An argument in a recipient's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgValue {
    Integer(i64),
    Text(String),
    Boolean(bool),
    Integers(Vec<i64>),
    Texts(Vec<String>),
}

impl fmt::Display for ArgValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArgValue::Integer(value) => write!(f, "{value}"),
            ArgValue::Text(value) => write!(f, "{value:?}"),
            ArgValue::Boolean(value) => write!(f, "{value}"),
            ArgValue::Integers(values) => write!(f, "{values:?}"),
            ArgValue::Texts(values) => write!(f, "{values:?}"),
        }
    }
}

/// An argument in the table: a default, or one of an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgLiteral {
    /// A whole number.
    Integer(i64),
    /// A string.
    Text(&'static str),
    /// A list of whole numbers.
    Integers(&'static [i64]),
    /// A list of strings.
    Texts(&'static [&'static str]),
}

impl From<ArgLiteral> for ArgValue {
    fn from(literal: ArgLiteral) -> Self {
        match literal {
            ArgLiteral::Integer(value) => ArgValue::Integer(value),
            ArgLiteral::Text(value) => ArgValue::Text(value.to_owned()),
            ArgLiteral::Integers(values) => ArgValue::Integers(values.to_vec()),
            ArgLiteral::Texts(values) => {
                ArgValue::Texts(values.iter().map(|&value| value.to_owned()).collect())
            }
        }
    }
}

impl fmt::Display for ArgLiteral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ArgValue::from(*self).fmt(f)
    }
}

/// The values an argument accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgConstraint {
    /// Inclusive bounds.
    Integer { min: i64, max: i64 },
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Any non-empty string.
    Text,
    /// A field of the source, by its path.
    FieldPath,
    /// The name of an output field of the same recipient.
    OutputFieldName,
    /// Names of output fields of the same recipient, each once.
    OutputFieldNames,
    /// The first ages of bands: ascending, from 0 to 150.
    Ages,
}

impl fmt::Display for ArgConstraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArgConstraint::Integer { min, max } => write!(f, "a whole number from {min} to {max}"),
            ArgConstraint::OneOf(words) => {
                for (at, word) in words.iter().enumerate() {
                    let between = if at == 0 { "" } else { " or " };
                    write!(f, "{between}{word:?}")?;
                }
                Ok(())
            }
            ArgConstraint::Text => f.write_str("a text that is not empty"),
            ArgConstraint::FieldPath => f.write_str("the path of a field of the source"),
            ArgConstraint::OutputFieldName => {
                f.write_str("the name of an output field of this recipient")
            }
            ArgConstraint::OutputFieldNames => {
                f.write_str("a list of names of output fields of this recipient, each once")
            }
            ArgConstraint::Ages => {
                f.write_str("a list of ages from 0 to 150, each higher than the one before")
            }
        }
    }
}

/// An argument that a mask accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgDef {
    /// Its name in a recipient's file.
    pub name: &'static str,
    /// In a few words.
    pub description: &'static str,
    /// `None` if it is required.
    pub default: Option<ArgLiteral>,
    pub constraint: ArgConstraint,
}

/// A mistake in the arguments of a mask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgError {
    #[error("unknown setting {argument:?}, expected {}", join_names(.known))]
    Unknown { argument: String, known: Vec<&'static str> },
    #[error("missing setting {argument:?}, expected {expected}")]
    Missing {
        argument: &'static str,
        /// What it may be.
        expected: ArgConstraint,
    },
    #[error("setting {argument:?} is {found}, expected {expected}")]
    Invalid {
        /// The setting's name.
        argument: &'static str,
        /// As the file has it.
        found: String,
        /// What it may be.
        expected: ArgConstraint,
    },
}

fn join_names(known: &[&'static str]) -> String {
    if known.is_empty() {
        return "no settings".to_owned();
    }
    known.join(", ")
}

/// Reads the given arguments by their definitions.
pub(super) struct ArgumentReader<'a> {
    given: &'a BTreeMap<String, ArgValue>,
    errors: Vec<ArgError>,
}

impl<'a> ArgumentReader<'a> {
    /// Reports the arguments that `known` lacks.
    pub(super) fn new(given: &'a BTreeMap<String, ArgValue>, known: &[ArgDef]) -> Self {
        let unknown = given.keys().filter(|name| known.iter().all(|def| def.name != name.as_str()));
        let problems = unknown
            .map(|name| ArgError::Unknown {
                argument: name.clone(),
                known: known.iter().map(|def| def.name).collect(),
            })
            .collect();
        ArgumentReader { given, errors: problems }
    }

    pub(super) fn into_errors(self) -> Vec<ArgError> {
        self.errors
    }

    pub(super) fn read_integer(&mut self, def: &ArgDef) -> Option<usize> {
        self.read_argument(def, |value, allowed| match (value, allowed) {
            (ArgValue::Integer(value), ArgConstraint::Integer { min, max })
                if (min..=max).contains(value) =>
            {
                usize::try_from(*value).ok()
            }
            _ => None,
        })
    }

    pub(super) fn read_text(&mut self, def: &ArgDef) -> Option<String> {
        self.read_argument(def, |value, allowed| match (value, allowed) {
            (ArgValue::Text(text), ArgConstraint::OneOf(words)) => {
                words.contains(&text.as_str()).then(|| text.clone())
            }
            (ArgValue::Text(text), _) if !text.is_empty() => Some(text.clone()),
            _ => None,
        })
    }

    pub(super) fn read_optional_path(&mut self, def: &ArgDef) -> Option<String> {
        match self.given.contains_key(def.name) {
            true => self.read_text(def),
            false => None,
        }
    }

    pub(super) fn read_unique_texts(&mut self, def: &ArgDef) -> Option<Vec<String>> {
        self.read_argument(def, |value, _| match value {
            ArgValue::Texts(texts) => {
                let once = |at: usize, text| !texts[..at].contains(text);
                let fine =
                    texts.iter().enumerate().all(|(at, text)| !text.is_empty() && once(at, text));
                fine.then(|| texts.clone())
            }
            // An empty list has no element type.
            ArgValue::Integers(none) if none.is_empty() => Some(Vec::new()),
            _ => None,
        })
    }

    pub(super) fn read_ages(&mut self, def: &ArgDef) -> Option<Vec<u16>> {
        self.read_argument(def, |value, _| match value {
            ArgValue::Integers(ages) if !ages.is_empty() && ages.is_sorted_by(|a, b| a < b) => {
                ages.iter().map(|&age| u16::try_from(age).ok().filter(|&age| age <= 150)).collect()
            }
            _ => None,
        })
    }

    /// Reads one argument, and reports it if missing or invalid.
    fn read_argument<T>(
        &mut self,
        def: &ArgDef,
        convert: impl Fn(&ArgValue, ArgConstraint) -> Option<T>,
    ) -> Option<T> {
        let default = def.default.map(ArgValue::from);
        let Some(value) = self.given.get(def.name).or(default.as_ref()) else {
            self.errors.push(ArgError::Missing { argument: def.name, expected: def.constraint });
            return None;
        };
        let read = convert(value, def.constraint);
        if read.is_none() {
            self.errors.push(ArgError::Invalid {
                argument: def.name,
                found: value.to_string(),
                expected: def.constraint,
            });
        }
        read
    }
}
