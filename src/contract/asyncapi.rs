//! AsyncAPI 3.0: what a partner's consumer receives.

use serde_json::{Map, Value, json};

use super::ContractView;
use super::headers::{RETRACTION_ID_PATTERN, header_schema};
use super::json_schema::output_object;
use crate::policy::contract::example_object;
use crate::policy::mask::PSEUDONYM_PATTERN;

const AVRO_SCHEMA_FORMAT: &str = "application/vnd.apache.avro+json;version=1.9.0";
const KAFKA_BINDING_VERSION: &str = "0.5.0";

/// Returns the document of a recipient: a channel for each of its topics, and two messages.
#[must_use]
pub fn asyncapi_document(view: &ContractView<'_>) -> Value {
    let recipient = view.recipient;
    let mut info = json!({
        "title": recipient.title,
        "version": view.contract.version(),
        "description": recipient.purpose_text,
    });
    let contact = &recipient.register.contact;
    if contact.contains('@') {
        info["contact"] = json!({ "name": recipient.controller, "email": contact });
    }
    let mut document = json!({
        "asyncapi": "3.0.0",
        "id": format!("urn:zeef:recipient:{}", recipient.name),
        "info": info,
        "defaultContentType": view.contract.value_format.media_type(),
        "channels": channels(view),
        "operations": operations(view),
        "components": { "messages": {
            "output": output_message(view),
            "retraction": retraction_message(view),
        } },
    });
    if let Some(topic) = view.acknowledgement_topic() {
        add_acknowledgement(&mut document, view, &topic);
    }
    if !view.brokers.is_empty() {
        let host = json!({ "host": view.brokers, "protocol": "kafka" });
        document["servers"] = json!({ "kafka": host });
    }
    document
}

/// Adds the channel on which the recipient acknowledges retractions.
fn add_acknowledgement(document: &mut Value, view: &ContractView<'_>, topic: &str) {
    const CHANNEL: &str = "acknowledgements";
    const MESSAGE: &str = "acknowledgement";
    document["channels"][CHANNEL] = json!({
        "address": topic,
        "messages": { MESSAGE: { "$ref": format!("#/components/messages/{MESSAGE}") } },
        "bindings": { "kafka": { "topic": topic, "bindingVersion": KAFKA_BINDING_VERSION } },
    });
    document["operations"][format!("send-{CHANNEL}")] = json!({
        "action": "send",
        "channel": { "$ref": format!("#/channels/{CHANNEL}") },
        "messages": [{ "$ref": format!("#/channels/{CHANNEL}/messages/{MESSAGE}") }],
        "description": view.language.pick(
            "Once what a retraction takes back is erased.",
            "Zodra gewist is wat een intrekking intrekt.",
        ),
    });
    document["components"]["messages"][MESSAGE] = json!({
        "name": MESSAGE,
        "title": view.language.pick(
            "Erased: the id of the retraction, under its key",
            "Gewist: de id van de intrekking, onder haar sleutel",
        ),
        "contentType": "text/plain",
        "payload": { "type": "string", "pattern": RETRACTION_ID_PATTERN },
        "bindings": key_binding(view),
    });
}

/// Returns the name of a channel in the document.
fn channel_name(at: usize) -> String {
    if at == 0 { "outputs".to_owned() } else { format!("outputs-{}", at + 1) }
}

fn channels(view: &ContractView<'_>) -> Map<String, Value> {
    let topics = view.topic_names().into_iter().zip(&view.contract.topics).enumerate();
    topics
        .map(|(at, (address, topic))| {
            let mut channel = json!({
                "address": address,
                "messages": {
                    "output": { "$ref": "#/components/messages/output" },
                    "retraction": { "$ref": "#/components/messages/retraction" },
                },
                "bindings": { "kafka": {
                    "topic": address,
                    "topicConfiguration": { "cleanup.policy": ["compact"] },
                    "bindingVersion": KAFKA_BINDING_VERSION,
                } },
            });
            if let Some(party) = &topic.party {
                channel["description"] = Value::from(party.as_str());
            }
            (channel_name(at), channel)
        })
        .collect()
}

fn operations(view: &ContractView<'_>) -> Map<String, Value> {
    let language = view.language;
    let description = language.pick(
        "Read with isolation.level = read_committed, and keep the last message of each key.",
        "Lees met isolation.level = read_committed, en bewaar van elke sleutel het laatste bericht.",
    );
    let count = view.contract.topics.len();
    (0..count)
        .map(|at| {
            let channel = channel_name(at);
            let message =
                |name: &str| json!({ "$ref": format!("#/channels/{channel}/messages/{name}") });
            let operation = json!({
                "action": "receive",
                "channel": { "$ref": format!("#/channels/{channel}") },
                "messages": [message("output"), message("retraction")],
                "description": description,
            });
            (format!("receive-{channel}"), operation)
        })
        .collect()
}

fn key_binding(view: &ContractView<'_>) -> Value {
    let description = match view.language {
        super::Language::English => format!("a pseudonym of {}", view.contract.key_path),
        super::Language::Dutch => format!("een pseudoniem van {}", view.contract.key_path),
    };
    let key = json!({ "type": "string", "pattern": PSEUDONYM_PATTERN, "description": description });
    json!({ "kafka": { "key": key, "bindingVersion": KAFKA_BINDING_VERSION } })
}

fn output_payload(view: &ContractView<'_>) -> Value {
    let avro: Option<Value> =
        view.avro.as_ref().and_then(|avro| serde_json::from_str(avro.schema()).ok());
    match avro {
        Some(schema) => json!({ "schemaFormat": AVRO_SCHEMA_FORMAT, "schema": schema }),
        None => output_object(view),
    }
}

fn output_message(view: &ContractView<'_>) -> Value {
    json!({
        "name": "output",
        "title": view.language.pick("What you have under this key", "Wat u onder deze sleutel hebt"),
        "contentType": view.contract.value_format.media_type(),
        "headers": header_schema(&view.contract, false, view.language),
        "payload": output_payload(view),
        "bindings": key_binding(view),
        "examples": [{ "payload": example_object(&view.contract.fields) }],
    })
}

fn retraction_message(view: &ContractView<'_>) -> Value {
    json!({
        "name": "retraction",
        "title": view.language.pick(
            "Taken back: a message without a value (null)",
            "Ingetrokken: een bericht zonder waarde (null)",
        ),
        "headers": header_schema(&view.contract, true, view.language),
        "payload": { "type": "null" },
        "bindings": key_binding(view),
    })
}
