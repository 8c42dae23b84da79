//! A validator of JSON Schema 2020-12, for the keywords that contracts use. Another one is a
//! mistake, so that nothing is ignored unseen.

use std::cell::RefCell;
use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};
use zeef::policy::form::{Date, Rfc3339Instant};

/// Keywords that say nothing of a value.
const ANNOTATIONS: [&str; 5] = ["$schema", "$id", "title", "description", "examples"];

/// A JSON Schema.
pub(crate) struct SchemaCheck(Value);

impl SchemaCheck {
    pub(crate) fn new(schema: &Value) -> SchemaCheck {
        SchemaCheck(schema.clone())
    }

    #[track_caller]
    pub(crate) fn accepts(&self, value: &Value, what: &str) {
        let result = validate(&self.0, value, "");
        assert!(result.is_ok(), "{what}: {}\n{value:#}", result.unwrap_err());
    }

    #[track_caller]
    pub(crate) fn refuses(&self, value: &Value, what: &str) {
        assert!(validate(&self.0, value, "").is_err(), "{what} is accepted: {value:#}");
    }
}

/// Where a value is not as a schema says, and by which keyword.
fn validate(schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let schema = schema.as_object().expect("a schema is an object");
    for (keyword, rule) in schema {
        let holds = match keyword.as_str() {
            name if ANNOTATIONS.contains(&name) => true,
            "type" => has_type(rule, value),
            "enum" => rule.as_array().unwrap().contains(value),
            "anyOf" => {
                let mut forms = rule.as_array().unwrap().iter();
                forms.any(|form| validate(form, value, place).is_ok())
            }
            "pattern" => value.as_str().is_none_or(|text| matches(rule.as_str().unwrap(), text)),
            "format" => value.as_str().is_none_or(|text| has_format(rule, text)),
            "minLength" => value.as_str().is_none_or(|text| at_least(rule, text.chars().count())),
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "minItems" => value.as_array().is_none_or(|list| at_least(rule, list.len())),
            "minProperties" => value.as_object().is_none_or(|object| at_least(rule, object.len())),
            "required" => value.as_object().is_none_or(|object| {
                let mut names = rule.as_array().unwrap().iter();
                names.all(|name| object.contains_key(name.as_str().unwrap()))
            }),
            "items" => {
                for (at, element) in value.as_array().into_iter().flatten().enumerate() {
                    validate(rule, element, &format!("{place}/{at}"))?;
                }
                true
            }
            "properties" => {
                validate_properties(rule.as_object().unwrap(), value, place)?;
                true
            }
            "additionalProperties" => has_only_listed(schema, rule, value),
            other => panic!("the keyword {other} is not known here"),
        };
        if !holds {
            return Err(format!("`{place}` breaks {keyword}: {rule}"));
        }
    }
    Ok(())
}

fn validate_properties(
    properties: &Map<String, Value>,
    value: &Value,
    place: &str,
) -> Result<(), String> {
    for (name, member) in value.as_object().into_iter().flatten() {
        if let Some(schema) = properties.get(name) {
            validate(schema, member, &format!("{place}/{name}"))?;
        }
    }
    Ok(())
}

fn has_only_listed(schema: &Map<String, Value>, rule: &Value, value: &Value) -> bool {
    let listed = schema["properties"].as_object().unwrap();
    let is_open = rule.as_bool().expect("additionalProperties is a boolean here");
    let mut names = value.as_object().into_iter().flatten();
    is_open || names.all(|(name, _)| listed.contains_key(name))
}

thread_local! {
    static PATTERNS: RefCell<BTreeMap<String, Regex>> = RefCell::default();
}

fn matches(pattern: &str, text: &str) -> bool {
    PATTERNS.with_borrow_mut(|known| {
        let compile = || Regex::new(pattern).expect("a regular expression");
        known.entry(pattern.to_owned()).or_insert_with(compile).is_match(text)
    })
}

fn at_least(rule: &Value, found: usize) -> bool {
    found as u64 >= rule.as_u64().unwrap()
}

fn has_format(rule: &Value, text: &str) -> bool {
    match rule.as_str().unwrap() {
        "date" => Date::parse(text).is_some(),
        "date-time" => Rfc3339Instant::parse(text).is_some(),
        other => panic!("the format {other} is not known here"),
    }
}

fn has_type(rule: &Value, value: &Value) -> bool {
    if let Value::Array(types) = rule {
        return types.iter().any(|one| has_type(one, value));
    }
    match rule.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        // A double with no fraction is one, too.
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|one| one.fract() == 0.0)
        }
        "null" => value.is_null(),
        other => panic!("the type {other} is not known here"),
    }
}

/// The validator itself, by what each keyword accepts and refuses.
#[test]
fn schema_check_holds_each_keyword() {
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    for (schema, accepted, refused) in [
        (r#"{"type":"integer","minimum":0}"#, "2", "-1"),
        (r#"{"type":"integer"}"#, "2.0", "2.5"),
        (r#"{"type":["string","number"]}"#, "2.5", "true"),
        (r#"{"type":"string","minLength":1}"#, "\"a\"", "\"\""),
        (r#"{"pattern":"^[0-9]{2}$"}"#, "\"12\"", "\"123\""),
        (r#"{"format":"date"}"#, "\"2024-02-29\"", "\"2023-02-29\""),
        (r#"{"format":"date-time"}"#, "\"2024-02-29T10:00:00Z\"", "\"2024-02-29\""),
        (r#"{"enum":["a",true]}"#, "true", "\"b\""),
        (r#"{"anyOf":[{"type":"null"},{"type":"string"}]}"#, "null", "1"),
        (r#"{"type":"array","minItems":1,"items":{"type":"string"}}"#, r#"["a"]"#, "[]"),
        (r#"{"items":{"type":"string"}}"#, r#"["a"]"#, "[1]"),
        (r#"{"required":["a"]}"#, r#"{"a":1}"#, "{}"),
        (r#"{"minProperties":1}"#, r#"{"a":1}"#, "{}"),
        (
            r#"{"properties":{"a":{"type":"string"}},"additionalProperties":false}"#,
            r#"{"a":"x"}"#,
            r#"{"a":"x","b":1}"#,
        ),
        (r#"{"properties":{"a":{"type":"string"}}}"#, r#"{"b":1}"#, r#"{"a":1}"#),
    ] {
        let check = SchemaCheck::new(&json(schema));
        check.accepts(&json(accepted), schema);
        check.refuses(&json(refused), schema);
    }
}
