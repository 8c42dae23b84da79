//! The settings of a mask: what a row of the table allows, and what was given.
//!
//! Gathers every mistake of a mask's settings; never stops at the first.

use std::collections::BTreeMap;
use std::fmt;

/// A setting as a recipient's file gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgValue {
    /// A whole number.
    Integer(i64),
    /// A string.
    Text(String),
    /// `true` or `false`.
    Boolean(bool),
    /// A list of whole numbers.
    Integers(Vec<i64>),
    /// A list of strings.
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

/// A setting as the table writes it: a default, or one of an example.
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

/// What a setting may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// A whole number between two bounds, both allowed.
    Integer {
        /// The smallest allowed.
        min: i64,
        /// The largest allowed.
        max: i64,
    },
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any string that is not empty.
    Text,
    /// A field of the source, by its path.
    Path,
    /// The name of an output field of the same recipient.
    Output,
    /// Names of output fields of the same recipient, each once.
    Outputs,
    /// The first ages of bands: ascending, from 0 to 150.
    Ages,
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Allowed::Integer { min, max } => write!(f, "a whole number from {min} to {max}"),
            Allowed::Word(words) => {
                for (at, word) in words.iter().enumerate() {
                    let between = if at == 0 { "" } else { " or " };
                    write!(f, "{between}{word:?}")?;
                }
                Ok(())
            }
            Allowed::Text => f.write_str("a text that is not empty"),
            Allowed::Path => f.write_str("the path of a field of the source"),
            Allowed::Output => f.write_str("the name of an output field of this recipient"),
            Allowed::Outputs => {
                f.write_str("a list of names of output fields of this recipient, each once")
            }
            Allowed::Ages => {
                f.write_str("a list of ages from 0 to 150, each higher than the one before")
            }
        }
    }
}

/// A setting that a mask knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgDef {
    /// Its name in a recipient's file.
    pub name: &'static str,
    /// What it does, in a few words.
    pub meaning: &'static str,
    /// What holds where it is not given; none where it must be.
    pub default: Option<ArgLiteral>,
    /// What it may be.
    pub allowed: Allowed,
}

/// A mistake in the settings of a mask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgProblem {
    /// The mask has no setting of this name.
    #[error("unknown setting {argument:?}, expected {}", names(.known))]
    Unknown {
        /// The name that was given.
        argument: String,
        /// The names that the mask knows.
        known: Vec<&'static str>,
    },
    /// A setting without a default was not given.
    #[error("missing setting {argument:?}, expected {expected}")]
    Missing {
        /// The setting's name.
        argument: &'static str,
        /// What it may be.
        expected: Allowed,
    },
    /// A setting is not what it may be.
    #[error("setting {argument:?} is {found}, expected {expected}")]
    Wrong {
        /// The setting's name.
        argument: &'static str,
        /// What was given, as the file has it.
        found: String,
        /// What it may be.
        expected: Allowed,
    },
}

fn names(known: &[&'static str]) -> String {
    if known.is_empty() {
        return "no settings".to_owned();
    }
    known.join(", ")
}

/// Reads the settings that were given, by the rows that allow them.
pub(super) struct Arguments<'a> {
    given: &'a BTreeMap<String, ArgValue>,
    problems: Vec<ArgProblem>,
}

impl<'a> Arguments<'a> {
    /// Starts with the settings that no row knows.
    pub(super) fn new(given: &'a BTreeMap<String, ArgValue>, known: &[ArgDef]) -> Self {
        let unknown = given
            .keys()
            .filter(|name| known.iter().all(|def| def.name != name.as_str()));
        let problems = unknown
            .map(|name| ArgProblem::Unknown {
                argument: name.clone(),
                known: known.iter().map(|def| def.name).collect(),
            })
            .collect();
        Arguments { given, problems }
    }

    /// Hands over the mistakes that were found.
    pub(super) fn into_problems(self) -> Vec<ArgProblem> {
        self.problems
    }

    pub(super) fn integer(&mut self, def: &ArgDef) -> Option<usize> {
        self.read(def, |value, allowed| match (value, allowed) {
            (ArgValue::Integer(value), Allowed::Integer { min, max })
                if (min..=max).contains(value) =>
            {
                usize::try_from(*value).ok()
            }
            _ => None,
        })
    }

    pub(super) fn text(&mut self, def: &ArgDef) -> Option<String> {
        self.read(def, |value, allowed| match (value, allowed) {
            (ArgValue::Text(text), Allowed::Word(words)) => {
                words.contains(&text.as_str()).then(|| text.clone())
            }
            (ArgValue::Text(text), _) if !text.is_empty() => Some(text.clone()),
            _ => None,
        })
    }

    /// A path that need not be given.
    pub(super) fn path_or_none(&mut self, def: &ArgDef) -> Option<String> {
        match self.given.contains_key(def.name) {
            true => self.text(def),
            false => None,
        }
    }

    pub(super) fn texts(&mut self, def: &ArgDef) -> Option<Vec<String>> {
        self.read(def, |value, _| match value {
            ArgValue::Texts(texts) => {
                let once = |at: usize, text| !texts[..at].contains(text);
                let fine = texts
                    .iter()
                    .enumerate()
                    .all(|(at, text)| !text.is_empty() && once(at, text));
                fine.then(|| texts.clone())
            }
            // An empty list has no type of its own.
            ArgValue::Integers(none) if none.is_empty() => Some(Vec::new()),
            _ => None,
        })
    }

    pub(super) fn ages(&mut self, def: &ArgDef) -> Option<Vec<u16>> {
        self.read(def, |value, _| match value {
            ArgValue::Integers(ages) if !ages.is_empty() && ages.is_sorted_by(|a, b| a < b) => ages
                .iter()
                .map(|&age| u16::try_from(age).ok().filter(|&age| age <= 150))
                .collect(),
            _ => None,
        })
    }

    /// Reads one setting; what does not suit it, becomes a problem.
    fn read<T>(
        &mut self,
        def: &ArgDef,
        reader: impl Fn(&ArgValue, Allowed) -> Option<T>,
    ) -> Option<T> {
        let default = def.default.map(ArgValue::from);
        let Some(value) = self.given.get(def.name).or(default.as_ref()) else {
            self.problems.push(ArgProblem::Missing {
                argument: def.name,
                expected: def.allowed,
            });
            return None;
        };
        let read = reader(value, def.allowed);
        if read.is_none() {
            self.problems.push(ArgProblem::Wrong {
                argument: def.name,
                found: value.to_string(),
                expected: def.allowed,
            });
        }
        read
    }
}
