//! JSON Schema 2020-12 of outputs, and of the records of a source.

use serde_json::{Map, Value, json};

use super::fields::describe_field;
use super::{ContractView, Language};
use crate::policy::catalogue::RecordKind;
use crate::policy::contract::{
    ContractField, FieldForm, ScalarForm, ScalarType, example_object, record_fields,
};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Returns the schema of a recipient's outputs. It refuses every field that is not named.
#[must_use]
pub fn output_schema(view: &ContractView<'_>) -> Value {
    let mut schema = output_object(view);
    schema["$schema"] = Value::from(DIALECT);
    let (name, version) = (&view.recipient.name, view.contract.version());
    schema["$id"] = Value::from(format!("urn:zeef:contract:{name}:{version}"));
    schema
}

/// Returns the schema of an output without dialect and id, to stand in another document.
pub(super) fn output_object(view: &ContractView<'_>) -> Value {
    let fields = &view.contract.fields;
    let mut schema = closed_object(fields, view.language);
    schema["title"] = Value::from(view.recipient.title.as_str());
    schema["description"] = Value::from(view.recipient.purpose_text.as_str());
    schema["examples"] = Value::Array(vec![example_object(fields)]);
    let required: Vec<&str> = fields
        .iter()
        .filter(|field| field.is_always_present)
        .map(|field| field.name.as_str())
        .collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn closed_object(fields: &[ContractField], language: Language) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|field| {
            let mut schema = form_schema(&field.form, language);
            let text = describe_field(field, language);
            if !text.is_empty() {
                schema["description"] = Value::from(text);
            }
            (field.name.clone(), schema)
        })
        .collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn form_schema(form: &FieldForm, language: Language) -> Value {
    match form {
        FieldForm::Scalar(scalar) => scalar_schema(scalar),
        FieldForm::OneOf(forms) => {
            json!({ "anyOf": forms.iter().map(scalar_schema).collect::<Vec<_>>() })
        }
        FieldForm::Object(fields) => {
            let mut schema = closed_object(fields, language);
            schema["minProperties"] = Value::from(1);
            schema
        }
        FieldForm::List(element) => {
            json!({ "type": "array", "minItems": 1, "items": form_schema(element, language) })
        }
    }
}

fn scalar_schema(scalar: &ScalarForm) -> Value {
    if !scalar.words.is_empty() {
        return json!({ "enum": scalar.words });
    }
    let mut schema = match scalar.scalar_type {
        ScalarType::Text => json!({ "type": "string", "minLength": 1 }),
        ScalarType::SlipLine => json!({ "type": "string" }),
        ScalarType::Date => json!({ "type": "string", "format": "date" }),
        ScalarType::Instant => json!({ "type": "string", "format": "date-time" }),
        ScalarType::Integer => json!({ "type": "integer" }),
        ScalarType::Count => json!({ "type": "integer", "minimum": 0 }),
        ScalarType::Boolean => json!({ "type": "boolean" }),
        ScalarType::TextOrNumber => json!({ "type": ["string", "number"] }),
    };
    if let Some(pattern) = &scalar.pattern {
        schema["pattern"] = Value::from(pattern.as_str());
    }
    schema["examples"] = match scalar.known_words.is_empty() {
        true => json!([scalar.example]),
        false => json!(scalar.known_words),
    };
    schema
}

/// Returns the schema of a kind's records, for whoever writes them.
///
/// Fields that the kind does not list are allowed, unless it is closed. A null, as an empty text,
/// counts as missing.
#[must_use]
pub fn source_schema(kind: &RecordKind, language: Language) -> Value {
    let fields = record_fields(kind);
    let required = kind.required_paths();
    let mut schema = source_object(&fields, &required, (kind.is_closed, language));
    schema["$schema"] = Value::from(DIALECT);
    schema["$id"] = Value::from(format!("urn:zeef:source:{}", kind.name));
    schema["title"] = Value::from(kind.title.as_str());
    schema["required"] = json!(required);
    schema["examples"] = Value::Array(vec![example_object(&fields)]);
    schema
}

fn source_object(
    fields: &[ContractField],
    required: &[&str],
    (is_closed, language): (bool, Language),
) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|field| {
            let schema = source_form(&field.form, (is_closed, language));
            let is_required = required.contains(&field.name.as_str());
            let mut schema = if is_required { schema } else { or_missing(schema) };
            let text = describe_field(field, language);
            if !text.is_empty() {
                schema["description"] = Value::from(text);
            }
            (field.name.clone(), schema)
        })
        .collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": !is_closed })
}

fn source_form(form: &FieldForm, (is_closed, language): (bool, Language)) -> Value {
    match form {
        FieldForm::Scalar(scalar) => scalar_schema(scalar),
        FieldForm::OneOf(forms) => {
            json!({ "anyOf": forms.iter().map(scalar_schema).collect::<Vec<_>>() })
        }
        FieldForm::Object(fields) => source_object(fields, &[], (is_closed, language)),
        FieldForm::List(element) => {
            let element = source_form(element, (is_closed, language));
            json!({ "type": "array", "items": or_missing(element) })
        }
    }
}

/// Allows what counts as missing, too.
fn or_missing(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "enum": [null, ""] }] })
}
