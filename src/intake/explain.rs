//! What a mapping makes of one message, field by field.

use super::envelope::Change;
use super::expression::{EvaluationScope, Expression, Origin};
use super::fields::{FieldNode, check_value};
use super::mapping::{ChangeScopes, RecordMapping};
use super::path::RowPath;
use super::refusal::Refusal;
use super::value::JsonValue;
use super::version::Version;
use super::{Intake, LookupTables, RawMessage};

/// What became of a field. The only place of the intake that shows values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldOutcome {
    Value(String),
    Missing,
    Refused(Refusal),
}

/// A field of a kind of record, and where the mapping takes it from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedField {
    /// The canonical path.
    pub field: String,
    /// The path in the row, or what stands in its place.
    pub from: String,
    /// The type of the value in the row; `None` if there is none.
    pub found_type: Option<&'static str>,
    /// The steps on the way: lookups, conversion, words.
    pub steps: Vec<String>,
    pub outcome: FieldOutcome,
}

/// The fields of one kind that the mapping reads from a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedRow {
    pub kind: String,
    /// The row before the change, of a deleted one.
    pub is_old: bool,
    pub fields: Vec<ExplainedField>,
}

impl Intake {
    /// Explains the rows of a message by each mapping that reads its topic.
    ///
    /// # Errors
    ///
    /// Why the message cannot be opened.
    pub fn explain(
        &self,
        message: &RawMessage<'_>,
        lookups: &LookupTables,
    ) -> Result<Vec<ExplainedRow>, Refusal> {
        let reads = |record: &&RecordMapping| {
            record.topics.iter().any(|topic| topic.matches(message.topic))
        };
        let mappings: Vec<&RecordMapping> = self.records.iter().filter(reads).collect();
        if mappings.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.opening().with(message, lookups, |change, scopes| {
            let rows = mappings.iter();
            rows.filter_map(|mapping| self.explain_row(mapping, change, scopes)).collect()
        })?;
        Ok(rows.unwrap_or_default())
    }

    fn explain_row(
        &self,
        mapping: &RecordMapping,
        change: &Change<'_, '_>,
        scopes: &ChangeScopes<'_, '_>,
    ) -> Option<ExplainedRow> {
        let is_old = matches!(change, Change::Deleted { .. });
        let scope = if is_old { scopes.old.as_ref() } else { scopes.new.as_ref() }?;
        let mut fields = vec![self.explain_expression("library", &mapping.library, scope)];
        if let Some(id) = &mapping.id {
            fields.push(self.explain_expression(&mapping.id_name, id, scope));
        }
        for path in &mapping.newer_by {
            fields.push(explain_version(path, scope));
        }
        FieldNode::for_each_field(&mapping.fields, &mut |field| {
            let mut explained =
                self.explain_expression(&field.field.path, &field.expression, scope);
            let value = field.expression.evaluate(scope).ok().flatten();
            if let Some(Err(refusal)) = value.map(|value| check_value(&field.field, &value)) {
                explained.outcome = FieldOutcome::Refused(refusal);
            }
            fields.push(explained);
        });
        Some(ExplainedRow { kind: mapping.kind.to_string(), is_old, fields })
    }

    fn explain_expression(
        &self,
        field: &str,
        expression: &Expression,
        scope: &EvaluationScope<'_, '_>,
    ) -> ExplainedField {
        let outcome = match expression.evaluate(scope) {
            Ok(Some(value)) => FieldOutcome::Value(value.to_text().into_owned()),
            Ok(None) => FieldOutcome::Missing,
            Err(fault) => FieldOutcome::Refused(fault.refusal),
        };
        let (from, found_type) = match &expression.origin {
            Origin::Path { path, .. } => {
                (path.written().to_owned(), path.look_at(&scope.row).map(type_name))
            }
            Origin::Constant(_) => ("a constant".to_owned(), None),
            Origin::Template(_) => ("a text with paths in it".to_owned(), None),
            Origin::First(all) => {
                let paths: Vec<&str> = all.iter().map(Expression::path).collect();
                (format!("the first of {}", paths.join(", ")), None)
            }
        };
        ExplainedField {
            field: field.to_owned(),
            from,
            found_type,
            steps: self.steps_of(expression),
            outcome,
        }
    }

    fn steps_of(&self, expression: &Expression) -> Vec<String> {
        let mut steps = Vec::new();
        if !expression.conditions.is_empty() {
            steps.push("where a condition holds".to_owned());
        }
        if let Origin::Path { lookups, .. } = &expression.origin {
            for step in lookups {
                let lookup = self.lookups.get(step.lookup);
                let column = lookup.and_then(|lookup| lookup.columns.get(step.column));
                let names = lookup.zip(column);
                steps.extend(
                    names.map(|(lookup, (column, _))| format!("through {}.{column}", lookup.name)),
                );
            }
        }
        if expression.present.is_some() {
            steps.push("present".to_owned());
        }
        if let Some((conversion, _)) = &expression.conversion {
            steps.push(format!("as {}", conversion.name));
        }
        if let Some(map) = &expression.words {
            steps.push(format!("by a map of {} words", map.words.len()));
        }
        steps
    }
}

/// A part of the record's version, which no field has.
fn explain_version(path: &RowPath, scope: &EvaluationScope<'_, '_>) -> ExplainedField {
    let outcome = match path.find(&scope.row) {
        Ok(Some(value)) => match Version::from_scalars(std::slice::from_ref(&value)) {
            Some(_) => FieldOutcome::Value(value.to_text().into_owned()),
            None => FieldOutcome::Refused(Refusal::VersionMissing),
        },
        Ok(None) => FieldOutcome::Refused(Refusal::VersionMissing),
        Err(fault) => FieldOutcome::Refused(fault.refusal),
    };
    ExplainedField {
        field: "(newer_by)".to_owned(),
        from: path.written().to_owned(),
        found_type: path.look_at(&scope.row).map(type_name),
        steps: Vec::new(),
        outcome,
    }
}

fn type_name(value: &JsonValue<'_>) -> &'static str {
    match value {
        JsonValue::Null => "null",
        JsonValue::Boolean(_) => "boolean",
        JsonValue::Object(_) => "object",
        JsonValue::Text(_) | JsonValue::BrokenText => "text",
        JsonValue::Number(_) => "number",
        JsonValue::List(_) => "list",
    }
}
