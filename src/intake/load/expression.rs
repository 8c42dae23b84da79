//! Expressions and conditions, as a mapping writes them.

use crate::config::Mistake;
use crate::config::document::{
    Located, TomlTable, TomlValue, describe_value, nearest_name, parse_i64,
};

use super::{MappingContext, read_path};
use crate::intake::conversion::{CONVERSIONS, ConversionSettings, find_conversion};
use crate::intake::expression::{Condition, Expression, Origin, TemplatePart, WordMap};
use crate::intake::path::Scalar;

/// What conditions may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConditionRole {
    /// All that an expression may.
    Anything,
    /// The row alone, as lookups cannot wait for each other.
    InRow,
}

const EXPRESSION_EXPECTED: &str =
    "a path, or a table with one of `from`, `first`, `const` and `text`";

/// Reads the expression under `key`; `is_deciding`: a missing row in a lookup refuses
/// the record.
pub(super) fn read_expression(
    table: &TomlTable<'_>,
    key: &str,
    context: &MappingContext<'_>,
    is_deciding: bool,
) -> Option<Expression> {
    let at = table.value(key)?;
    read_value(table, (at.value, at.line), context, is_deciding)
}

fn read_value<'a>(
    table: &TomlTable<'a>,
    (value, line): (&'a TomlValue<'a>, usize),
    context: &MappingContext<'_>,
    is_deciding: bool,
) -> Option<Expression> {
    if let Some(path) = value.get_ref().as_str() {
        let path = read_path(table, &Located { value: path.to_owned(), line })?;
        return Some(Expression::of_path(path, is_deciding));
    }
    let Some(inner) = table.as_table(value, line) else {
        table.report_mistake(line, describe_value(value.get_ref()), EXPRESSION_EXPECTED);
        return None;
    };
    let expression = read_members(&inner, context, is_deciding);
    inner.finish();
    expression
}

/// The members of an expression that may stand beside others, as of a condition.
fn read_members(
    table: &TomlTable<'_>,
    context: &MappingContext<'_>,
    is_deciding: bool,
) -> Option<Expression> {
    let words = read_map(table);
    let present = read_scalar(table, "present");
    let absent = read_scalar(table, "absent");
    let conversion = read_conversion(table, context);
    let conditions = read_conditions(table, "where", context, ConditionRole::Anything);
    let is_deciding = is_deciding || words.is_some() || present.is_some() || absent.is_some();
    let origin = read_origin(table, context, is_deciding);
    if present.is_some() && (words.is_some() || conversion.is_some()) {
        let line = table.line_of_key("present");
        table.report_mistake(line, "`present` beside `map` or `as`", "one of them");
    }
    Some(Expression {
        conditions,
        conversion,
        words,
        present,
        absent,
        ..Expression::of_origin(origin?, is_deciding)
    })
}

const ORIGINS: &[&str] = &["from", "first", "const", "text"];

fn read_origin(
    table: &TomlTable<'_>,
    context: &MappingContext<'_>,
    is_deciding: bool,
) -> Option<Origin> {
    let named: Vec<&str> = ORIGINS.iter().copied().filter(|key| table.contains_key(key)).collect();
    let [key] = named.as_slice() else {
        match named.first() {
            None => table.require_key("from", EXPRESSION_EXPECTED, None),
            Some(_) => {
                let found = format!("`{}` together", named.join("` and `"));
                table.report_mistake(table.line_of_key("from"), found, "one of them");
            }
        }
        return None;
    };
    let lookups = table.strings("through", "columns of lookups, as `item.barcode`");
    if let Some(at) = lookups.as_ref().filter(|_| *key != "from") {
        table.report_mistake(at.line, format!("`through` beside `{key}`"), "`from`");
    }
    match *key {
        "const" => read_scalar(table, "const").map(Origin::Constant),
        "text" => {
            let text =
                table.string("text", "a text with paths in braces, as \"koha-{issue_id}\"")?;
            read_template(table, &text, IsPatron(false)).map(Origin::Template)
        }
        "first" => read_first(table, context, is_deciding),
        _ => {
            let from = table.string("from", "a path of the row")?;
            let path = read_path(table, &from)?;
            let steps = lookups.map(|at| at.value).unwrap_or_default();
            let steps = steps.iter().map(|step| context.resolve_step(table, step));
            Some(Origin::Path { path, lookups: steps.collect::<Option<_>>()? })
        }
    }
}

fn read_first(
    table: &TomlTable<'_>,
    context: &MappingContext<'_>,
    is_deciding: bool,
) -> Option<Origin> {
    let at = table.value("first")?;
    let Some(items) = at.value.get_ref().as_array() else {
        let found = format!("`first` is {}", describe_value(at.value.get_ref()));
        table.report_mistake(at.line, found, "a list of expressions");
        return None;
    };
    let read = items
        .iter()
        .map(|item| read_value(table, (item, table.line_of_value(item)), context, is_deciding));
    let read: Vec<Option<Expression>> = read.collect();
    Some(Origin::First(read.into_iter().collect::<Option<_>>()?))
}

/// Whether a template is that of the patron's id, which may name the library.
pub(super) struct IsPatron(pub(super) bool);

/// The parts of a template.
pub(super) fn read_template(
    table: &TomlTable<'_>,
    text: &Located<String>,
    IsPatron(is_patron): IsPatron,
) -> Option<Vec<TemplatePart>> {
    let mut parts = Vec::new();
    let mut rest = text.value.as_str();
    while !rest.is_empty() {
        let (literal, after) = rest.split_once('{').unwrap_or((rest, ""));
        if literal.contains('}') || (after.is_empty() && rest.contains('{')) {
            return report_braces(table, text);
        }
        if !literal.is_empty() {
            parts.push(TemplatePart::Literal(literal.to_owned()));
        }
        if after.is_empty() {
            break;
        }
        let Some((path, behind)) = after.split_once('}') else {
            return report_braces(table, text);
        };
        parts.push(match path {
            "library" if is_patron => TemplatePart::Library,
            path => {
                let path = Located { value: path.to_owned(), line: text.line };
                TemplatePart::Path(read_path(table, &path)?)
            }
        });
        rest = behind;
    }
    Some(parts)
}

fn report_braces(table: &TomlTable<'_>, text: &Located<String>) -> Option<Vec<TemplatePart>> {
    let found = format!("\"{}\"", text.value);
    table.report_mistake(text.line, found, "a path between each `{` and its `}`");
    None
}

/// A text, a whole number or a boolean.
fn read_scalar(table: &TomlTable<'_>, key: &str) -> Option<Scalar<'static>> {
    let at = table.value(key)?;
    let scalar = scalar_of(at.value);
    if scalar.is_none() {
        let found = format!("`{key}` is {}", describe_value(at.value.get_ref()));
        table.report_mistake(at.line, found, "a text, a whole number, true or false");
    }
    scalar
}

fn scalar_of(value: &TomlValue<'_>) -> Option<Scalar<'static>> {
    let value = value.get_ref();
    let text = || value.as_str().map(|text| Scalar::text(text.to_owned()));
    let number = || parse_i64(value).map(|number| Scalar::Number(number.to_string().into()));
    text().or_else(number).or_else(|| value.as_bool().map(Scalar::Boolean))
}

fn read_map(table: &TomlTable<'_>) -> Option<WordMap> {
    let otherwise = read_scalar(table, "else");
    let Some(inner) = table.table("map", "a word for each word") else {
        if otherwise.is_some() {
            table.report_mistake(table.line_of_key("else"), "`else` without `map`", "both");
        }
        return None;
    };
    let words = inner.entries().into_iter().filter_map(|(word, _)| {
        let value = read_scalar(&inner, &word.value)?;
        Some((word.value, value))
    });
    Some(WordMap { words: words.collect(), otherwise })
}

fn read_conversion(
    table: &TomlTable<'_>,
    context: &MappingContext<'_>,
) -> Option<(&'static crate::intake::ConversionDef, ConversionSettings)> {
    let scale = table.integer("scale", 0..=30, "digits behind the decimal point");
    let written = table.string("as", "a conversion of `zeef list conversions`")?;
    let Some(conversion) = find_conversion(&written.value) else {
        let names = CONVERSIONS.iter().map(|conversion| conversion.name);
        let near = nearest_name(&written.value, names);
        let found = format!("unknown conversion `{}`", written.value);
        let expected = "one of `zeef list conversions`";
        let mistake = Mistake::new(table.file(), written.line, found, expected);
        table.push_mistake(mistake.with_suggestion(near));
        return None;
    };
    match (&scale, conversion.needs_scale) {
        (None, true) => {
            let expected = "the digits behind the decimal point, as the column declares them";
            table.report_mistake(
                written.line,
                format!("`{}` without `scale`", written.value),
                expected,
            );
        }
        (Some(at), false) => {
            table.report_mistake(at.line, format!("`scale` beside `{}`", written.value), "none");
        }
        _ => {}
    }
    let scale = scale.map_or(0, |at| u8::try_from(at.value).unwrap_or(0));
    Some((conversion, ConversionSettings { zone: context.zone.clone(), scale }))
}

/// The conditions of a list under `key`.
pub(super) fn read_conditions(
    table: &TomlTable<'_>,
    key: &str,
    context: &MappingContext<'_>,
    role: ConditionRole,
) -> Vec<Condition> {
    let expected = "conditions, as { from = \"type\", is = [\"patron\"] }";
    let mut conditions = Vec::new();
    for inner in table.tables(key, expected) {
        conditions.extend(read_condition(&inner, context, role));
        inner.finish();
    }
    conditions
}

fn read_condition(
    table: &TomlTable<'_>,
    context: &MappingContext<'_>,
    role: ConditionRole,
) -> Option<Condition> {
    let words = |key: &str| table.strings(key, "words to compare with");
    let (is, is_not) = (words("is"), words("is_not"));
    let is_negated = is.is_none();
    let value = read_members(table, context, true);
    if role == ConditionRole::InRow && table.contains_key("through") {
        table.report_mistake(
            table.line_of_key("through"),
            "`through` in a condition of a lookup",
            "a path of its own rows",
        );
    }
    let words = match (is, is_not) {
        (Some(words), None) | (None, Some(words)) => words,
        (None, None) => {
            table.require_key("is", "`is` or `is_not`, with words", None);
            return None;
        }
        (Some(_), Some(at)) => {
            table.report_mistake(at.line, "`is` and `is_not` together", "one of them");
            return None;
        }
    };
    let words = words.value.into_iter().map(|at| at.value).collect();
    Some(Condition { value: value?, words, is_negated })
}
