//! Open Data Contract Standard 3.1. Written as JSON, which is YAML too.

use serde_json::{Value, json};

use super::ContractView;
use super::fields::{describe_field, plain};
use super::headers::contract_headers;
use crate::policy::contract::{ContractField, FieldForm, ScalarForm, ScalarType};

/// Returns the data contract of a recipient, with a schema object for each of its topics.
#[must_use]
pub fn odcs_document(view: &ContractView<'_>) -> Value {
    let recipient = view.recipient;
    let objects: Vec<Value> =
        view.topic_names().iter().map(|topic| schema_object(view, topic)).collect();
    let mut document = json!({
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": format!("urn:zeef:contract:{}", recipient.name),
        "name": recipient.title,
        "version": view.contract.version(),
        "status": if view.is_enabled { "active" } else { "draft" },
        "description": {
            "purpose": recipient.purpose_text,
            "usage": view.language.pick(
                "Read with isolation.level = read_committed. Keep the last message of each key; a null value takes back what you have under its key.",
                "Lees met isolation.level = read_committed. Bewaar van elke sleutel het laatste bericht; een lege waarde (null) trekt in wat u onder die sleutel hebt.",
            ),
            "limitations": view.language.pick(
                "Only for this purpose. Every field may be missing, unless it is said to be required.",
                "Alleen voor dit doel. Elk veld kan ontbreken, tenzij er staat dat het verplicht is.",
            ),
        },
        "schema": objects,
        "slaProperties": [sla_of_retention(view)],
        "customProperties": custom_properties(view),
    });
    let contact = &recipient.register.contact;
    if !contact.is_empty() {
        let mut support = json!({ "channel": contact });
        if contact.contains('@') {
            support["url"] = Value::from(format!("mailto:{contact}"));
            support["tool"] = Value::from("email");
        }
        document["support"] = json!([support]);
    }
    if !view.brokers.is_empty() {
        document["servers"] = json!([{
            "server": "kafka",
            "type": "kafka",
            "host": view.brokers,
            "format": view.contract.value_format.into_str(),
        }]);
    }
    document
}

fn schema_object(view: &ContractView<'_>, topic: &str) -> Value {
    let fields = &view.contract.fields;
    json!({
        "name": view.recipient.name,
        "physicalName": topic,
        "physicalType": "topic",
        "logicalType": "object",
        "description": view.recipient.title,
        "properties": fields.iter().map(|field| property(view, field)).collect::<Vec<_>>(),
    })
}

fn property(view: &ContractView<'_>, field: &ContractField) -> Value {
    let mut property = form_of(view, &field.form);
    property["name"] = Value::from(field.name.as_str());
    property["required"] = Value::from(field.is_always_present);
    let text = describe_field(field, view.language);
    if !text.is_empty() {
        property["description"] = Value::from(text);
    }
    if let Some(origin) = field.origins.first() {
        property["classification"] = Value::from(origin.class);
    }
    property
}

fn form_of(view: &ContractView<'_>, form: &FieldForm) -> Value {
    match form {
        FieldForm::Scalar(scalar) => scalar_property(scalar),
        FieldForm::OneOf(forms) => match forms.split_first() {
            Some((first, rest)) if rest.iter().all(|one| one.scalar_type == first.scalar_type) => {
                scalar_property(first)
            }
            _ => json!({ "logicalType": "string", "physicalType": "json" }),
        },
        FieldForm::Object(fields) => {
            let properties: Vec<Value> = fields.iter().map(|one| property(view, one)).collect();
            json!({ "logicalType": "object", "physicalType": "object", "properties": properties })
        }
        FieldForm::List(element) => {
            let items = form_of(view, element);
            json!({ "logicalType": "array", "physicalType": "array", "items": items })
        }
    }
}

fn scalar_property(scalar: &ScalarForm) -> Value {
    let logical = match scalar.scalar_type {
        ScalarType::Text | ScalarType::SlipLine | ScalarType::TextOrNumber => "string",
        ScalarType::Date => "date",
        ScalarType::Instant => "timestamp",
        ScalarType::Integer | ScalarType::Count => "integer",
        ScalarType::Boolean => "boolean",
    };
    let physical = scalar.scalar_type.into_str();
    let mut property = json!({
        "logicalType": logical,
        "physicalType": physical,
        "examples": [plain(&scalar.example)],
    });
    let is_text = logical == "string";
    if let Some(pattern) = scalar.pattern.as_ref().filter(|_| is_text) {
        property["logicalTypeOptions"] = json!({ "pattern": pattern });
    }
    if !scalar.words.is_empty() {
        property["customProperties"] = json!([{ "property": "values", "value": scalar.words }]);
    }
    property
}

fn sla_of_retention(view: &ContractView<'_>) -> Value {
    json!({
        "property": "retention",
        "value": view.recipient.retention.term.to_string(),
        "driver": "regulatory",
        "description": view.contract.retention,
    })
}

fn custom_properties(view: &ContractView<'_>) -> Value {
    let headers = contract_headers(&view.contract);
    let headers: Vec<Value> = headers
        .iter()
        .map(|header| {
            json!({
                "name": header.name,
                "description": header.describe(view.language),
                "retractionsOnly": header.is_of_retractions,
            })
        })
        .collect();
    json!([
        { "property": "messageKey", "value": format!("pseudonym of {}", view.contract.key_path) },
        { "property": "nullValue", "value": "retraction" },
        { "property": "isolationLevel", "value": "read_committed" },
        { "property": "legalBasis", "value": view.recipient.legal_basis.into_str() },
        { "property": "headers", "value": headers },
    ])
}
