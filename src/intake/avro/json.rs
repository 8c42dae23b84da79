//! A value in Avro as the JSON that it was made of, where what is null was missing.

use super::decode::decode;
use super::schema::AvroSchema;
use crate::intake::MESSAGE_LIMITS;
use crate::intake::refusal::Refusal;
use crate::intake::value::JsonValue;

impl AvroSchema {
    /// Returns a value of this schema as JSON, without members that are null.
    ///
    /// # Errors
    ///
    /// It is none, or larger than what is read.
    pub fn to_json(&self, bytes: &[u8]) -> Result<String, Refusal> {
        let mut text = String::new();
        write_json(&decode(self, bytes, MESSAGE_LIMITS)?, &mut text);
        Ok(text)
    }
}

fn write_json(value: &JsonValue<'_>, out: &mut String) {
    match value {
        JsonValue::Null | JsonValue::BrokenText => out.push_str("null"),
        JsonValue::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
        JsonValue::Number(digits) => out.push_str(digits),
        JsonValue::Text(text) => write_text(text, out),
        JsonValue::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                write_json(item, out);
            }
            out.push(']');
        }
        JsonValue::Object(members) => {
            out.push('{');
            let there = members.iter().filter(|(_, value)| *value != JsonValue::Null);
            for (at, (name, value)) in there.enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                write_text(name, out);
                out.push(':');
                write_json(value, out);
            }
            out.push('}');
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    // A text is always written.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}
