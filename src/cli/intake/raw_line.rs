//! A line with a raw message: `{"topic":...,"value":...}`, or `payload` for the value
//! as `kcat -J` has it, or `value_base64` for one that is no text. Every other member, headers
//! among them, is skipped.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use crate::intake::Refusal;
use crate::json::members;

/// Some editors put this before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A message of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RawLine<'a> {
    pub(super) topic: String,
    value: Option<Cow<'a, [u8]>>,
}

impl<'a> RawLine<'a> {
    /// # Errors
    ///
    /// [`Refusal::NotUtf8`] or [`Refusal::NotAMessage`].
    pub(super) fn parse(line: &'a [u8]) -> Result<RawLine<'a>, Refusal> {
        let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        let text = std::str::from_utf8(line).map_err(|_| Refusal::NotUtf8)?;
        let members = members::read(text, ["topic", "value", "payload", "value_base64"]);
        let members = members.filter(|members| !members.has_duplicates());
        let members = members.ok_or(Refusal::NotAMessage)?;
        let [topic, value, payload, base64] = members.found.map(|raw| raw.map(RawValue::get));
        let topic = topic.and_then(|topic| serde_json::from_str(topic).ok());
        let value = match (value, payload, base64) {
            (Some(value), None, None) | (None, Some(value), None) => read_value(value),
            (None, None, Some(value)) => decode_value(value).map(|value| value.map(Cow::Owned)),
            _ => None,
        };
        let topic = topic.ok_or(Refusal::NotAMessage)?;
        Ok(RawLine { topic, value: value.ok_or(Refusal::NotAMessage)? })
    }

    pub(super) fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }
}

/// The bytes of a message as they stand, or in a text; `Some(None)` is a null.
fn read_value(written: &str) -> Option<Option<Cow<'_, [u8]>>> {
    Some(match written.as_bytes().first() {
        Some(b'n') => None,
        Some(b'"') => {
            let text: String = serde_json::from_str(written).ok()?;
            Some(Cow::Owned(text.into_bytes()))
        }
        _ => Some(Cow::Borrowed(written.as_bytes())),
    })
}

/// The bytes of a message in base64; `Some(None)` is a null.
fn decode_value(written: &str) -> Option<Option<Vec<u8>>> {
    let text: Option<String> = serde_json::from_str(written).ok()?;
    text.map(|text| STANDARD.decode(text)).transpose().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_line(line: &str, want: Result<Option<&str>, Refusal>) {
        let parsed = RawLine::parse(line.as_bytes());
        let found = parsed.as_ref().map(RawLine::value).map_err(|refusal| *refusal);
        assert_eq!(found, want.map(|value| value.map(str::as_bytes)), "{line}");
    }

    #[test]
    fn raw_line_takes_values_as_they_stand() {
        check_line(
            r#"{"topic":"a","key":{"id":1},"value":{"b": 1.50}}"#,
            Ok(Some(r#"{"b": 1.50}"#)),
        );
        check_line(r#"{"topic":"a","headers":[["x-okapi-token","t"]],"value":null}"#, Ok(None));
        check_line(r#"{"topic":"a","offset":7,"payload":"{\"b\":1}"}"#, Ok(Some(r#"{"b":1}"#)));
        check_line(r#"{"topic":"a","value_base64":"eyJiIjoxfQ=="}"#, Ok(Some(r#"{"b":1}"#)));
        check_line(r#"{"topic":"a","value_base64":null}"#, Ok(None));
        check_line("\u{feff}{\"topic\":\"a\",\"value\":1}", Ok(Some("1")));
    }

    #[test]
    fn raw_line_refuses_what_is_no_message() {
        for line in [
            "[]",
            "{",
            r#"{"value":1}"#,
            r#"{"topic":1,"value":1}"#,
            r#"{"topic":"a"}"#,
            r#"{"topic":"a","value":1,"value":2}"#,
            r#"{"topic":"a","value":1,"payload":2}"#,
            r#"{"topic":"a","value":1,"value_base64":"AA=="}"#,
            r#"{"topic":"a","value_base64":"A"}"#,
            r#"{"topic":"a","value_base64":1}"#,
        ] {
            check_line(line, Err(Refusal::NotAMessage));
        }
        assert_eq!(RawLine::parse(b"\"\xff\""), Err(Refusal::NotUtf8));
    }
}
