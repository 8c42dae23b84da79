//! Reads a condition on one field.

use toml::de::DeValue;

use super::path::{FieldResolver, PathShape};
use crate::config::document::{
    Located, Mistake, TomlTable, TomlValue, describe_value, join_quoted, nearest_name, parse_i64,
};
use crate::policy::catalogue::{CatalogueField, FieldType};
use crate::policy::condition::{IntegerRange, RelativeTime, TimeRange};
use crate::policy::form::TextFormat;
use crate::policy::reason::Reason;
use crate::policy::recipient::{ConditionLiteral, ConditionTest, FieldCondition, FieldRef};

/// The tests of conditions, each by the keys that set it.
const CONDITION_TESTS: &[&[&str]] =
    &[&["is"], &["present"], &["not_before", "before"], &["above", "below"]];

/// Reads a condition on the records of a recipient, which may give its own reason.
pub(super) fn read_record_condition(
    table: &TomlTable<'_>,
    resolver: &FieldResolver<'_>,
) -> Option<FieldCondition> {
    let refusal_reason = read_reason(table);
    let or_no_patron =
        table.boolean("or_no_patron", "whether it holds for a record without a patron");
    let (field, test) = read_tested_field(table, resolver, true)?;
    if let Some(at) = &or_no_patron {
        let may_lack_patron = resolver.source.is_none_or(|kind| kind.may_lack_patron);
        if !(field.is_joined && may_lack_patron) {
            let expected = "a field of the patron, in a source with `key = \"patron_or_id\"`";
            table.report_mistake(at.line, "`or_no_patron` where it says nothing", expected);
        }
    }
    let or_no_patron = or_no_patron.is_some_and(|at| at.value);
    Some(FieldCondition { field, test, refusal_reason, or_no_patron })
}

/// Reads a condition on one value, and what it asks of it.
pub(super) fn read_condition(
    table: &TomlTable<'_>,
    resolver: &FieldResolver<'_>,
) -> Option<(FieldRef, ConditionTest)> {
    read_tested_field(table, resolver, false)
}

/// Reads a field and its test; `takes_lists`: it may be whether a list has values.
fn read_tested_field(
    table: &TomlTable<'_>,
    resolver: &FieldResolver<'_>,
    takes_lists: bool,
) -> Option<(FieldRef, ConditionTest)> {
    let path = table.require_string("field", "the path of a field");
    let found = path.as_ref().and_then(|at| resolver.resolve(table, at.line, &at.value));
    let typed = found.as_ref().is_some_and(|found| found.is_typed);
    let takes_lists = takes_lists && table.contains_key("present");
    let field = found.as_ref().and_then(|found| match found.shape {
        PathShape::Scalar(field) => Some(field),
        PathShape::ScalarList(field) if takes_lists => Some(field),
        _ => {
            let text = format!("a condition on `{}`", found.written_path);
            table.report_mistake(table.line(), text, "a field that is one value");
            None
        }
    });
    let test = read_condition_test(table, field.filter(|_| typed));
    table.finish();
    Some((found.filter(|_| field.is_some())?.field_ref, test?))
}

/// Reads why a record is withheld for which the condition does not hold.
fn read_reason(table: &TomlTable<'_>) -> Reason {
    let at = table.string("reason", "why a record is withheld for which it does not hold");
    let Some(at) = at else {
        return Reason::Condition;
    };
    let words = Reason::OF_CONDITIONS.iter().map(|reason| reason.as_str());
    let found = Reason::OF_CONDITIONS.iter().find(|reason| reason.as_str() == at.value);
    if found.is_none() {
        let suggestion = nearest_name(&at.value, words.clone());
        let words: Vec<String> = words.map(str::to_owned).collect();
        let text = format!("`reason` is \"{}\"", at.value);
        let mistake =
            Mistake::new(table.file(), at.line, text, format!("one of {}", join_quoted(&words)));
        table.push_mistake(mistake.with_suggestion(suggestion));
    }
    found.copied().unwrap_or(Reason::Condition)
}

/// Reads the one test of a condition; `None` also if the type of the field is not known.
fn read_condition_test(
    table: &TomlTable<'_>,
    field: Option<&CatalogueField>,
) -> Option<ConditionTest> {
    let is = table.value("is");
    let present = table.boolean("present", "whether there must be a value");
    let time_range = read_time_range(table, field);
    let integer_range = read_integer_range(table, field);
    let first_set = |keys: &&[&'static str]| {
        let mut keys = keys.iter().copied();
        keys.find(|key| table.contains_key(key))
    };
    let set: Vec<&str> = CONDITION_TESTS.iter().filter_map(first_set).collect();
    match set[..] {
        ["is"] => read_is_test(table, is?, field),
        ["present"] if present.as_ref()?.value => Some(ConditionTest::Present),
        ["present"] => Some(ConditionTest::Absent),
        ["not_before" | "before"] => time_range.map(ConditionTest::TimeRange),
        ["above" | "below"] => integer_range.map(ConditionTest::IntegerRange),
        [one, other, ..] => {
            let found = format!("both `{one}` and `{other}` in a condition");
            table.report_mistake(table.line(), found, "one of the two");
            None
        }
        // What was meant is reported with it.
        _ if table.has_unknown_key() => None,
        _ => {
            let expected = "`is`, `present`, `not_before` and `before`, or `above` and `below`";
            table.report_mistake(table.line(), "a condition that asks nothing", expected);
            None
        }
    }
}

/// Reads the bounds of a date or an instant.
fn read_time_range(table: &TomlTable<'_>, field: Option<&CatalogueField>) -> Option<TimeRange> {
    const EXPECTED: &str = "`now`, or a period from it, as `now-P16Y` or `now+P30D`";
    let mut is_valid = true;
    let [not_before, before] = ["not_before", "before"].map(|key| {
        let at = table.string(key, EXPECTED);
        let bound = at.as_ref().and_then(|at| RelativeTime::parse(&at.value));
        if let (Some(at), None) = (at, bound) {
            table.report_mistake(at.line, format!("`{key}` is \"{}\"", at.value), EXPECTED);
        }
        is_valid &= bound.is_some() || !table.contains_key(key);
        bound
    });
    let range = TimeRange { not_before, before };
    let is_set = table.contains_key("not_before") || table.contains_key("before");
    if let Some(field) = field.filter(|field| is_set && !field.field_type.is_date_or_instant()) {
        let (path, name) = (&field.path, field.field_type.name());
        let found = format!("a time for `{path}`, which is of type `{name}`");
        table.report_mistake(table.line(), found, "a date or an instant");
    } else if range.is_always_empty() {
        table.report_mistake(table.line(), format!("`{range}`"), "bounds with a time between them");
    } else if is_valid && is_set {
        return Some(range);
    }
    None
}

/// Reads the bounds of an integer.
fn read_integer_range(
    table: &TomlTable<'_>,
    field: Option<&CatalogueField>,
) -> Option<IntegerRange> {
    let mut is_valid = true;
    let [above, below] = ["above", "below"].map(|key| {
        let at = table.value(key)?;
        let bound = parse_i64(at.value.get_ref());
        if bound.is_none() {
            let found = format!("`{key}` is {}", describe_value(at.value.get_ref()));
            table.report_mistake(at.line, found, "a whole number");
        }
        is_valid &= bound.is_some();
        bound
    });
    let range = IntegerRange { above, below };
    let is_set = table.contains_key("above") || table.contains_key("below");
    if let Some(field) = field.filter(|field| is_set && field.field_type != FieldType::Integer) {
        let (path, name) = (&field.path, field.field_type.name());
        let found = format!("a number for `{path}`, which is of type `{name}`");
        table.report_mistake(table.line(), found, "a field of type `integer`");
    } else if range.is_empty() {
        let expected = "bounds with a whole number between them";
        table.report_mistake(table.line(), format!("`{range}`"), expected);
    } else if is_valid && is_set {
        return Some(range);
    }
    None
}

fn read_is_test(
    table: &TomlTable<'_>,
    is: Located<&TomlValue<'_>>,
    field: Option<&CatalogueField>,
) -> Option<ConditionTest> {
    const EXPECTED: &str = "a list of values, as [\"open\", \"overdue\"]";
    let DeValue::Array(items) = is.value.get_ref() else {
        let found = format!("`is` is {}", describe_value(is.value.get_ref()));
        table.report_mistake(is.line, found, EXPECTED);
        return None;
    };
    if items.is_empty() {
        table.report_mistake(is.line, "an empty list in `is`", EXPECTED);
        return None;
    }
    let field = field?;
    let mut literals = Vec::new();
    for item in items.iter() {
        let line = table.line_of_value(item);
        match parse_literal(item.get_ref(), field) {
            Ok(literal) if literals.contains(&literal) => {
                table.report_mistake(
                    line,
                    format!("{} twice in `is`", describe_value(item.get_ref())),
                    "it once",
                );
            }
            Ok(literal) => literals.push(literal),
            Err((expected, near)) => {
                let found = format!("`{}` is {}", field.path, describe_value(item.get_ref()));
                table.push_mistake(
                    Mistake::new(table.file(), line, found, expected).with_suggestion(near),
                );
            }
        }
    }
    (literals.len() == items.len()).then_some(ConditionTest::OneOf(literals))
}

/// Returns a literal of the field's type, or what was expected and the nearest allowed value.
fn parse_literal<'a>(
    value: &DeValue<'_>,
    field: &'a CatalogueField,
) -> Result<ConditionLiteral, (String, Option<&'a str>)> {
    let unlike = |expected: &str| Err((expected.to_owned(), None));
    match (field.field_type, value) {
        (FieldType::Boolean, DeValue::Boolean(value)) => Ok(ConditionLiteral::Boolean(*value)),
        (FieldType::Boolean, _) => unlike("true or false"),
        (FieldType::Integer, _) => match parse_i64(value) {
            Some(number) => Ok(ConditionLiteral::Integer(number)),
            None => unlike("a whole number"),
        },
        (FieldType::Text(form), DeValue::String(text)) => parse_text_literal(text, form, field),
        (FieldType::CardNumber | FieldType::TextOrNumber, DeValue::String(text)) => {
            parse_text_literal(text, None, field)
        }
        _ => unlike("a string"),
    }
}

fn parse_text_literal<'a>(
    text: &str,
    form: Option<TextFormat>,
    field: &'a CatalogueField,
) -> Result<ConditionLiteral, (String, Option<&'a str>)> {
    if text.is_empty() {
        return Err(("a value: `present = false` asks for none".to_owned(), None));
    }
    if !field.allowed_values.is_empty() && !field.allowed_values.iter().any(|value| value == text) {
        let suggestion = nearest_name(text, field.allowed_values.iter().map(String::as_str));
        return Err((format!("one of {}", join_quoted(&field.allowed_values)), suggestion));
    }
    match form {
        Some(form) if !form.matches(text) => {
            Err((format!("a value of type `{}`", form.into_str()), None))
        }
        _ => Ok(ConditionLiteral::Text(text.to_owned())),
    }
}
