//! `[[record]]`: from the rows of a table to a kind of record.

use std::sync::Arc;

use crate::config::Mistake;
use crate::config::document::{Located, TomlTable, TomlValue, nearest_name};
use crate::policy::catalogue::{CatalogueField, DataClass, FieldType, RecordKind, Role};
use crate::policy::form::TextFormat;

use super::expression::{ConditionRole, IsPatron, read_conditions, read_expression, read_template};
use super::{MappingContext, read_one_or_more, read_path, read_topics};
use crate::intake::conversion::ValueKind;
use crate::intake::expression::{Condition, Expression, TemplatePart, Yield};
use crate::intake::fields::{FieldNode, MappedField, check_value, insert_field};
use crate::intake::mapping::{DELETE_ACTIONS, DeleteAction, DeleteRule, RecordMapping};
use crate::intake::path::RowPath;
use crate::intake::refusal::Refusal;

/// What a record has from the file where it says nothing itself.
struct FileDefaults {
    library: Option<Expression>,
    patron: Option<Vec<TemplatePart>>,
    nobody: Vec<Condition>,
}

const LIBRARY_EXPECTED: &str = "the ISIL of the library, as { const = \"NL-AmrBKW\" }";
const PATRON_EXPECTED: &str = "the patron's id, as { text = \"{library}:{borrowernumber}\" }";
/// Whether the intake stops where a table was emptied, by the word.
const ALL_GONE: &[(&str, bool)] = &[("refuse", false), ("stop", true)];
const RECORDS_EXPECTED: &str = "at least one `[[record]]`";
const NEWER_BY_EXPECTED: &str =
    "what is greater in the newer version of a record: a path, or a list of them";

pub(super) fn read_records(
    table: &TomlTable<'_>,
    context: &MappingContext<'_>,
) -> Vec<RecordMapping> {
    let defaults = FileDefaults {
        library: read_expression(table, "library", context, true),
        patron: read_patron(table),
        nobody: read_conditions(table, "nobody", context, ConditionRole::Anything),
    };
    table.require_key("record", RECORDS_EXPECTED, None);
    let mut records = Vec::new();
    for inner in table.tables("record", RECORDS_EXPECTED) {
        if let Some(record) = read_record(&inner, context, &defaults) {
            check_same_versions(&inner, &record, &records);
            records.push(record);
        }
        inner.finish();
    }
    records
}

/// Tells of two mappings of one kind that compare versions in two ways, or where one does not.
fn check_same_versions(table: &TomlTable<'_>, record: &RecordMapping, before: &[RecordMapping]) {
    let other = before.iter().find(|other| other.kind == record.kind);
    if other.is_some_and(|other| other.newer_by != record.newer_by) {
        let line = match table.contains_key("newer_by") {
            true => table.line_of_key("newer_by"),
            false => table.line_of_key("kind"),
        };
        let kind = &record.kind;
        let found = format!("another `newer_by` of `{kind}` than above");
        table.report_mistake(line, found, "the same for all records of a kind");
    }
}

/// `newer_by`: a path, or a list of them.
fn read_newer_by(table: &TomlTable<'_>) -> Vec<RowPath> {
    let empty = |at: &Located<&TomlValue<'_>>| {
        at.value.get_ref().as_array().is_some_and(|all| all.is_empty())
    };
    if let Some(at) = table.value("newer_by").filter(empty) {
        table.report_mistake(at.line, "`newer_by` names nothing", NEWER_BY_EXPECTED);
    }
    let written = read_one_or_more(table, "newer_by", NEWER_BY_EXPECTED);
    written.iter().filter_map(|path| read_path(table, path)).collect()
}

fn read_patron(table: &TomlTable<'_>) -> Option<Vec<TemplatePart>> {
    let inner = table.table("patron", PATRON_EXPECTED)?;
    let text = inner.require_string("text", PATRON_EXPECTED);
    inner.finish();
    read_template(&inner, &text?, IsPatron(true))
}

fn read_record(
    table: &TomlTable<'_>,
    context: &MappingContext<'_>,
    defaults: &FileDefaults,
) -> Option<RecordMapping> {
    let topics = read_topics(table);
    let conditions = |key| read_conditions(table, key, context, ConditionRole::Anything);
    let (only, erased) = (conditions("only"), conditions("erased"));
    let nobody = match table.contains_key("nobody") {
        true => conditions("nobody"),
        false => defaults.nobody.clone(),
    };
    let library = match table.contains_key("library") {
        true => read_expression(table, "library", context, true),
        false => missing_or(table, defaults.library.clone(), "library", LIBRARY_EXPECTED),
    };
    let patron = match table.contains_key("patron") {
        true => read_patron(table),
        false => missing_or(table, defaults.patron.clone(), "patron", PATRON_EXPECTED),
    };
    let kind = read_kind(table, context);
    let Some(kind) = kind else {
        // What is in these is judged by the kind.
        table.value("delete");
        table.value("newer_by");
        table.value("all_gone");
        table.value("fields");
        return None;
    };
    if kind.role != Role::Patron && table.contains_key("erased") {
        let line = table.line_of_key("erased");
        table.report_mistake(line, "`erased`", "none: only patrons are erased");
    }
    let delete = read_delete(table, kind, context);
    let all_gone = table.choice("all_gone", ALL_GONE, "what to do if all rows are deleted at once");
    let newer_by = read_newer_by(table);
    let (id, fields) = read_fields(table, kind, context);
    if kind.role != Role::Patron && id.is_none() {
        let found = format!("no `{}` in `fields`", kind.id_path);
        table.report_mistake(table.line_of_key("fields"), found, "the record's own id");
    }
    Some(RecordMapping {
        kind: Arc::from(kind.name.as_str()),
        role: kind.role,
        topics,
        library: library?,
        patron: patron?,
        id_name: kind.id_path.clone(),
        id,
        nobody,
        only,
        erased,
        delete: delete?,
        stops_if_all_gone: all_gone.is_some_and(|at| at.value),
        moved: default_action(kind).unwrap_or(DeleteAction::Ignore),
        newer_by,
        fields,
    })
}

fn missing_or<T>(
    table: &TomlTable<'_>,
    default: Option<T>,
    key: &str,
    expected: &str,
) -> Option<T> {
    if default.is_none() {
        table.require_key(key, expected, None);
    }
    default
}

fn read_kind<'a>(table: &TomlTable<'_>, context: &MappingContext<'a>) -> Option<&'a RecordKind> {
    let name = table.require_string("kind", "a kind of `config/records`")?;
    let kind = context.kinds.iter().find(|kind| kind.name == name.value);
    let Some(kind) = kind else {
        let names = context.kinds.iter().map(|kind| kind.name.as_str());
        let near = nearest_name(&name.value, names);
        let found = format!("unknown kind `{}`", name.value);
        let mistake = Mistake::new(table.file(), name.line, found, "a kind of `config/records`");
        table.push_mistake(mistake.with_suggestion(near));
        return None;
    };
    if !kind.is_keyed_by_patron {
        let found = format!("`{}`, which has no patron", kind.name);
        table.report_mistake(name.line, found, "a kind that is keyed by its patron");
        return None;
    }
    Some(kind)
}

/// What a deleted row of a kind means where the mapping says nothing; `None` where it
/// has to.
fn default_action(kind: &RecordKind) -> Option<DeleteAction> {
    let can_withdraw = || {
        let decision = kind.field("decision");
        decision.is_some_and(|field| field.allowed_values.iter().any(|word| word == "withdrawn"))
    };
    match kind.role {
        Role::Patron => Some(DeleteAction::Erase),
        Role::Record => Some(DeleteAction::Gone),
        Role::Gate => can_withdraw().then_some(DeleteAction::Withdraw),
    }
}

fn read_delete(
    table: &TomlTable<'_>,
    kind: &RecordKind,
    context: &MappingContext<'_>,
) -> Option<DeleteRule> {
    let default = default_action(kind);
    let allowed: Vec<&str> = DELETE_ACTIONS
        .iter()
        .filter(|(_, action)| Some(*action) == default || *action == DeleteAction::Ignore)
        .map(|(word, _)| *word)
        .collect();
    let expected = format!("what a deleted row means: one of `{}`", allowed.join("`, `"));
    let Some(at) = table.value("delete") else {
        if default.is_none() {
            table.require_key("delete", &expected, None);
        }
        return default.map(DeleteRule::Fixed);
    };
    let is_allowed = |word: &str| allowed.contains(&word);
    if let Some(word) = at.value.get_ref().as_str() {
        let action = DELETE_ACTIONS.iter().find(|(known, _)| *known == word && is_allowed(word));
        if action.is_none() {
            table.report_mistake(at.line, format!("`delete` is \"{word}\""), expected);
        }
        return action.map(|(_, action)| DeleteRule::Fixed(*action));
    }
    let expression = read_expression(table, "delete", context, true)?;
    let is_word = |one: &Yield<'_>| match one {
        Yield::Constant(word) => is_allowed(&word.to_text()),
        Yield::Converted(_) | Yield::AsWritten => false,
    };
    if !expression.yields().iter().all(is_word) {
        table.report_mistake(at.line, "`delete` may be another word", expected);
    }
    Some(DeleteRule::By(Box::new(expression)))
}

type ReadFields = (Option<Expression>, Vec<FieldNode>);

/// The expression of the record's own id, and all other fields.
fn read_fields(
    table: &TomlTable<'_>,
    kind: &RecordKind,
    context: &MappingContext<'_>,
) -> ReadFields {
    let expected = "the record's fields, each with where it comes from";
    table.require_key("fields", expected, None);
    let (mut id, mut nodes) = (None, Vec::new());
    let Some(inner) = table.table("fields", expected) else {
        return (id, nodes);
    };
    for (path, _) in inner.entries() {
        let field = find_field(&inner, kind, &path);
        let expression = read_expression(&inner, &path.value, context, false);
        let (Some(field), Some(expression)) = (field, expression) else {
            continue;
        };
        check_yields(&inner, field, path.line, &expression);
        if field.path == kind.id_path {
            id = Some(Expression { is_deciding: true, ..expression });
        } else {
            insert_field(&mut nodes, MappedField { field: field.clone(), expression });
        }
    }
    (id, nodes)
}

fn find_field<'k>(
    table: &TomlTable<'_>,
    kind: &'k RecordKind,
    path: &Located<String>,
) -> Option<&'k CatalogueField> {
    if matches!(path.value.as_str(), "patron_id" | "library") {
        let key = if path.value == "library" { "library" } else { "patron" };
        let found = format!("`{}` among the fields", path.value);
        table.report_mistake(path.line, found, format!("`{key}` above them"));
        return None;
    }
    let Some(field) = kind.field(&path.value) else {
        let known = kind.fields.iter().map(|field| field.path.as_str());
        let near = nearest_name(&path.value, known);
        let found = format!("unknown field `{}` of `{}`", path.value, kind.name);
        let expected = format!("a field of `zeef list fields {}`", kind.name);
        let mistake = Mistake::new(table.file(), path.line, found, expected);
        table.push_mistake(mistake.with_suggestion(near));
        return None;
    };
    if field.class == DataClass::Secret {
        let found = format!("`{}`, a secret", path.value);
        table.report_mistake(path.line, found, "no mapping: it never leaves the library system");
        return None;
    }
    Some(field)
}

/// Tells of what the expression may yield and the field cannot have.
fn check_yields(
    table: &TomlTable<'_>,
    field: &CatalogueField,
    line: usize,
    expression: &Expression,
) {
    let path = &field.path;
    for one in expression.yields() {
        match one {
            Yield::AsWritten => {}
            Yield::Converted(kind) if !suits(field.field_type, kind) => {
                let word = field.field_type.name();
                let found = format!("`{path}` is converted to {}", kind.word());
                table.report_mistake(line, found, format!("a conversion to {word}"));
            }
            Yield::Converted(_) => {}
            Yield::Constant(value) => {
                let text = value.to_text();
                let found = format!("`{path}` may be \"{text}\"");
                let fits_form = match field.field_type {
                    FieldType::Text(Some(form)) => form.matches(&text),
                    _ => true,
                };
                match check_value(field, value) {
                    Err(Refusal::Unmapped) => {
                        let known = field.allowed_values.iter().map(String::as_str);
                        let near = nearest_name(&text, known);
                        let expected = format!("one of `{}`", field.allowed_values.join("`, `"));
                        let mistake = Mistake::new(table.file(), line, found, expected);
                        table.push_mistake(mistake.with_suggestion(near));
                    }
                    Ok(()) if fits_form => {}
                    _ => table.report_mistake(line, found, field.field_type.name()),
                }
            }
        }
    }
}

fn suits(field: FieldType, kind: ValueKind) -> bool {
    match field {
        FieldType::Integer => kind == ValueKind::Integer,
        FieldType::Boolean => kind == ValueKind::Boolean,
        FieldType::Text(Some(TextFormat::Date)) => kind == ValueKind::Date,
        FieldType::Text(Some(TextFormat::Instant)) => kind == ValueKind::Instant,
        FieldType::Text(Some(_)) | FieldType::CardNumber => kind == ValueKind::Text,
        FieldType::Text(None) => {
            matches!(kind, ValueKind::Text | ValueKind::Date | ValueKind::Instant)
        }
        FieldType::TextOrNumber => matches!(kind, ValueKind::Text | ValueKind::Integer),
    }
}
