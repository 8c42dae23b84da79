//! Expressions: how a field of a canonical record comes from a raw row.
//!
//! A closed set: `from`, `first`, `const`, `text`, `through`, `as`, `map` and
//! `else`, `present` and `absent`, `where`. It is no language: nothing is computed,
//! and nothing is remembered.

use super::conversion::{ConversionDef, ConversionSettings, ValueKind};
use super::lookup::{LookupStep, LookupTables};
use super::path::{RowPath, RowScope, Scalar};
use super::refusal::{Fault, Refusal};

/// What an expression is evaluated in.
#[derive(Clone, Copy, Debug)]
pub(super) struct EvaluationScope<'m, 'a> {
    pub(super) row: RowScope<'m, 'a>,
    pub(super) lookups: &'m LookupTables,
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    Constant(Scalar<'static>),
    Template(Vec<TemplatePart>),
    /// The first that has a value.
    First(Vec<Expression>),
    Path {
        path: RowPath,
        lookups: Vec<LookupStep>,
    },
}

/// A part of a template.
#[derive(Clone, Debug)]
pub(super) enum TemplatePart {
    Literal(String),
    /// The record's library.
    Library,
    Path(RowPath),
}

/// What becomes of a word.
#[derive(Clone, Debug)]
pub(super) struct WordMap {
    pub(super) words: Vec<(String, Scalar<'static>)>,
    /// For every other word; `None` refuses it. An empty text is no value.
    pub(super) otherwise: Option<Scalar<'static>>,
}

/// One expression of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Expression {
    pub(super) origin: Origin,
    /// There is a value only while all of these hold.
    pub(super) conditions: Vec<Condition>,
    pub(super) conversion: Option<(&'static ConversionDef, ConversionSettings)>,
    pub(super) words: Option<WordMap>,
    /// Stands for any value.
    pub(super) present: Option<Scalar<'static>>,
    /// Stands for none.
    pub(super) absent: Option<Scalar<'static>>,
    /// Decides over the record: a row that is missing in a lookup refuses it.
    pub(super) is_deciding: bool,
}

/// Whether a value is, or is not, one of some words.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) value: Expression,
    pub(super) words: Vec<String>,
    /// `is_not`.
    pub(super) is_negated: bool,
}

/// What an expression may yield.
#[derive(Clone, Copy, Debug)]
pub(super) enum Yield<'e> {
    Constant(&'e Scalar<'static>),
    Converted(ValueKind),
    AsWritten,
}

impl Condition {
    /// # Errors
    ///
    /// Those of the value.
    pub(super) fn holds(&self, scope: &EvaluationScope<'_, '_>) -> Result<bool, Fault> {
        let value = self.value.evaluate(scope)?;
        let is_named = value.is_some_and(|value| {
            let text = value.to_text();
            self.words.iter().any(|word| *word == *text)
        });
        Ok(is_named != self.is_negated)
    }
}

/// Whether all conditions hold.
pub(super) fn all_hold(
    conditions: &[Condition],
    scope: &EvaluationScope<'_, '_>,
) -> Result<bool, Fault> {
    for condition in conditions {
        if !condition.holds(scope)? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Expression {
    /// A plain path.
    pub(super) fn of_path(path: RowPath, is_deciding: bool) -> Expression {
        Expression::of_origin(Origin::Path { path, lookups: Vec::new() }, is_deciding)
    }

    pub(super) fn of_origin(origin: Origin, is_deciding: bool) -> Expression {
        Expression {
            origin,
            conditions: Vec::new(),
            conversion: None,
            words: None,
            present: None,
            absent: None,
            is_deciding,
        }
    }

    /// The value in `scope`; `None` where it is missing.
    ///
    /// # Errors
    ///
    /// Those of its paths, [`Refusal::LookupMissing`], [`Refusal::Malformed`] and
    /// [`Refusal::Unmapped`].
    pub(super) fn evaluate<'m>(
        &'m self,
        scope: &EvaluationScope<'m, '_>,
    ) -> Result<Option<Scalar<'m>>, Fault> {
        if !all_hold(&self.conditions, scope)? {
            return Ok(None);
        }
        let value = match &self.origin {
            Origin::Constant(value) => Some(value.as_borrowed()),
            Origin::Template(parts) => fill_template(parts, scope, None)?.map(Scalar::text),
            Origin::First(expressions) => first_value(expressions, scope)?,
            Origin::Path { path, lookups } => {
                self.look_up(path.find(&scope.row)?, lookups, scope)?
            }
        };
        let Some(value) = value else {
            return Ok(self.absent.as_ref().map(Scalar::as_borrowed));
        };
        if let Some(present) = &self.present {
            return Ok(Some(present.as_borrowed()));
        }
        let value = match &self.conversion {
            Some((conversion, settings)) => (conversion.convert)(&value, settings)
                .ok_or_else(|| Fault::new(Refusal::Malformed, self.path()))?,
            None => value,
        };
        let Some(map) = &self.words else {
            return Ok(Some(value));
        };
        let word = value.to_text();
        let mapped = map.words.iter().find(|(known, _)| *known == *word).map(|(_, value)| value);
        match mapped.or(map.otherwise.as_ref()) {
            Some(value) if value.to_text().is_empty() => Ok(None),
            Some(value) => Ok(Some(value.as_borrowed())),
            None => Err(Fault::new(Refusal::Unmapped, self.path())),
        }
    }

    fn look_up<'m>(
        &self,
        value: Option<Scalar<'m>>,
        steps: &[LookupStep],
        scope: &EvaluationScope<'m, '_>,
    ) -> Result<Option<Scalar<'m>>, Fault> {
        let mut value = value;
        for step in steps {
            let Some(id) = value else {
                return Ok(None);
            };
            value = match scope.lookups.find(*step, &id.to_text()) {
                Some(found) => found,
                None if self.is_deciding => {
                    return Err(Fault::new(Refusal::LookupMissing, self.path()));
                }
                None => return Ok(None),
            };
        }
        Ok(value)
    }

    /// The path as written; empty where there is none.
    pub(super) fn path(&self) -> &str {
        match &self.origin {
            Origin::Path { path, .. } => path.written(),
            Origin::First(expressions) => expressions.first().map_or("", Expression::path),
            Origin::Constant(_) | Origin::Template(_) => "",
        }
    }

    /// All that the expression may yield, for checks before anything is read.
    pub(super) fn yields(&self) -> Vec<Yield<'_>> {
        let mut all: Vec<Yield<'_>> = self.absent.iter().map(Yield::Constant).collect();
        if let Some(present) = &self.present {
            all.push(Yield::Constant(present));
            return all;
        }
        if let Some(map) = &self.words {
            let words = map.words.iter().map(|(_, value)| value);
            let words = words.chain(&map.otherwise).filter(|value| !value.to_text().is_empty());
            all.extend(words.map(Yield::Constant));
            return all;
        }
        if let Some((conversion, _)) = &self.conversion {
            all.push(Yield::Converted(conversion.output));
            return all;
        }
        match &self.origin {
            Origin::Constant(value) => all.push(Yield::Constant(value)),
            Origin::Template(_) => all.push(Yield::Converted(ValueKind::Text)),
            Origin::First(expressions) => {
                all.extend(expressions.iter().flat_map(Expression::yields));
            }
            Origin::Path { .. } => all.push(Yield::AsWritten),
        }
        all
    }
}

fn first_value<'m>(
    expressions: &'m [Expression],
    scope: &EvaluationScope<'m, '_>,
) -> Result<Option<Scalar<'m>>, Fault> {
    for expression in expressions {
        if let Some(value) = expression.evaluate(scope)? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// The template's text; `None` where a part of it is missing.
pub(super) fn fill_template(
    parts: &[TemplatePart],
    scope: &EvaluationScope<'_, '_>,
    library: Option<&str>,
) -> Result<Option<String>, Fault> {
    let mut text = String::new();
    for part in parts {
        match part {
            TemplatePart::Literal(literal) => text.push_str(literal),
            TemplatePart::Library => match library {
                Some(library) => text.push_str(library),
                None => return Ok(None),
            },
            TemplatePart::Path(path) => match path.find(&scope.row)? {
                Some(value) => text.push_str(&value.to_text()),
                None => return Ok(None),
            },
        }
    }
    Ok(Some(text))
}
