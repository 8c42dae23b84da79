//! One line of a directory source: `{"key":...,"value":...}`, also with a `traceparent`.
//!
//! Finds key and value, and looks into neither: the engine judges whether a value is a
//! record.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::value::RawValue;

use crate::json::members::{self, Members};
use crate::message::{Payload, TRACE_PARENT, TraceParent};
use crate::policy::reason::Reason;

/// A line as a message: its key, if any, and its value as it stands.
#[derive(Debug)]
pub(super) struct SourceLine<'a> {
    pub(super) key: Option<Cow<'a, str>>,
    pub(super) payload: Payload<'a>,
    /// What it says of the upstream's operation that sent it; `None` if nothing.
    pub(super) trace_parent: Option<TraceParent>,
    /// Further keys of a refused gate line, each with its byte offset in the line.
    pub(super) other_keys: Vec<(usize, String)>,
}

impl<'a> SourceLine<'a> {
    /// Parses one line without its end.
    ///
    /// A line that is no message keeps its key if that is still readable: what it names
    /// must not pass for known. For a gate every key is searched for, wherever it stands.
    pub(super) fn parse(bytes: &'a [u8], is_gate: bool) -> Self {
        let line = match simdutf8::basic::from_utf8(bytes) {
            Err(_) => Self::refused_with_bytes(Reason::NotUtf8, leading_key(bytes), bytes),
            Ok(text) => match members::read(text, ["key", "value", TRACE_PARENT]) {
                Some(members) => Self::from_members(members, bytes),
                None => Self::refused_with_bytes(Reason::NotAMessage, leading_key(bytes), bytes),
            },
        };
        match line.payload {
            Payload::Refused(_) | Payload::RefusedBytes(..) if is_gate => line.with_all_keys(bytes),
            _ => line,
        }
    }

    fn with_all_keys(mut self, bytes: &[u8]) -> Self {
        let mut keys = find_keys(bytes);
        if self.key.is_none() && !keys.is_empty() {
            self.key = Some(Cow::Owned(keys.remove(0).1));
        }
        keys.retain(|(_, key)| self.key.as_deref() != Some(key));
        self.other_keys = keys;
        self
    }

    pub(super) fn refused(reason: Reason, key: Option<Cow<'a, str>>) -> Self {
        let payload = Payload::Refused(reason);
        Self { key, payload, trace_parent: None, other_keys: Vec::new() }
    }

    /// As [`refused`](Self::refused), with the bytes of the line.
    fn refused_with_bytes(reason: Reason, key: Option<Cow<'a, str>>, bytes: &'a [u8]) -> Self {
        let payload = Payload::RefusedBytes(reason, bytes);
        Self { key, payload, trace_parent: None, other_keys: Vec::new() }
    }

    fn from_members(members: Members<'a, 3>, bytes: &'a [u8]) -> Self {
        let [key, value, trace_parent] = members.found;
        let [repeats_key, repeats_value, repeats_trace_parent] = members.is_repeated;
        let key = match key.map(|raw| key_text(raw.get())) {
            Some(KeyText::InvalidText) => {
                return Self::refused_with_bytes(Reason::NotAMessage, None, bytes);
            }
            Some(KeyText::Text(key)) => Some(key),
            Some(KeyText::NotAString) | None => None,
        };
        let Some(value) = value.filter(|_| !repeats_key && !repeats_value) else {
            return Self::refused_with_bytes(Reason::NotAMessage, key, bytes);
        };
        let payload = match value.get() {
            "null" => Payload::Null,
            text => Payload::Bytes(text.as_bytes()),
        };
        let trace_parent = match trace_parent.map(RawValue::get) {
            None | Some("null") if !repeats_trace_parent => None,
            Some(json) if !repeats_trace_parent => Some(match key_text(json) {
                KeyText::Text(text) => TraceParent::parse(text.as_bytes()),
                KeyText::NotAString | KeyText::InvalidText => TraceParent::Unusable,
            }),
            _ => Some(TraceParent::Unusable),
        };
        Self { key, payload, trace_parent, other_keys: Vec::new() }
    }
}

/// A JSON text as a string.
enum KeyText<'a> {
    Text(Cow<'a, str>),
    /// It is something else.
    NotAString,
    /// It contains half a character.
    InvalidText,
}

fn key_text(json: &str) -> KeyText<'_> {
    let Some(inner) = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return KeyText::NotAString;
    };
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return KeyText::Text(Cow::Borrowed(inner));
    }
    match serde_json::from_str(json) {
        Ok(text) => KeyText::Text(Cow::Owned(text)),
        Err(_) => KeyText::InvalidText,
    }
}

/// Returns each key in `"key":"..."` once with its byte offset, also in UTF-16 text as far
/// as it is ASCII.
fn find_keys(line: &[u8]) -> Vec<(usize, String)> {
    const KEY_MEMBER_NAME: &[u8] = b"\"key\"";
    let plain: Vec<u8>;
    let (bytes, width) = if memchr::memchr(0, line).is_some() {
        plain = line.iter().copied().filter(|byte| *byte != 0).collect();
        (plain.as_slice(), 2)
    } else {
        (line, 1)
    };
    let mut keys: Vec<(usize, String)> = Vec::new();
    let mut known = HashSet::new();
    for at in memchr::memmem::find_iter(bytes, KEY_MEMBER_NAME) {
        let value = members::strip_token(&bytes[at + KEY_MEMBER_NAME.len()..], b":");
        if let Some((key, _)) = value.and_then(members::split_leading_string)
            && known.insert(key.clone())
        {
            keys.push((at * width, key));
        }
    }
    keys
}

/// Returns the key of a broken or cut line, if `"key":"..."` is its first member.
pub(super) fn leading_key(line: &[u8]) -> Option<Cow<'_, str>> {
    let rest = members::strip_token(line, b"{")?;
    let rest = members::strip_token(rest, b"\"key\"")?;
    let rest = members::strip_token(rest, b":")?;
    members::split_leading_string(rest).map(|(key, _)| Cow::Owned(key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::ForeignOperation;

    #[track_caller]
    fn check_line(line: impl AsRef<[u8]>, key: Option<&str>, payload: &str) {
        let line = SourceLine::parse(line.as_ref(), false);
        let found = match line.payload {
            Payload::Null => "null".to_owned(),
            Payload::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Payload::Refused(reason) | Payload::RefusedBytes(reason, _) => {
                format!("refused: {reason}")
            }
        };
        assert_eq!((line.key.as_deref(), found.as_str()), (key, payload));
    }

    #[test]
    fn line_message_is_split_into_key_and_value() {
        check_line(r#"{"key":"p1","value":{"a":1.50}}"#, Some("p1"), r#"{"a":1.50}"#);
        check_line(" { \"value\" : [1, 2] , \"key\" : \"p1\" } \r", Some("p1"), "[1, 2]");
        check_line(r#"{"key":"p\u0031\"","value":"x"}"#, Some("p1\""), r#""x""#);
        check_line(r#"{"key":"p1","value":null}"#, Some("p1"), "null");
        check_line(r#"{"key":"p1","value":"null"}"#, Some("p1"), r#""null""#);
        check_line(r#"{"key":null,"value":1}"#, None, "1");
        check_line(r#"{"key":7,"value":1}"#, None, "1");
        check_line(r#"{"value":1}"#, None, "1");
        check_line(r#"{"key":"","value":1}"#, Some(""), "1");
        check_line(r#"{"at":5,"key":"p1","value":1,"headers":{"key":2}}"#, Some("p1"), "1");
        check_line(r#"{"key":"p1","value":"\ud800"}"#, Some("p1"), r#""\ud800""#);
    }

    #[test]
    fn line_trace_parent_is_read_and_decides_nothing_else() {
        const GIVEN: &str = "00-0000000000000000000000000000000a-000000000000000b-01";
        let operation = ForeignOperation { trace: 10, operation: 11 };
        let read = Some(TraceParent::Operation(operation));
        let unusable = Some(TraceParent::Unusable);
        for (members, want) in [
            (String::new(), None),
            (",\"traceparent\":null".to_owned(), None),
            (format!(",\"traceparent\":\"{GIVEN}\""), read),
            (format!(",\"trac\\u0065parent\":\"\\u0030{}\"", &GIVEN[1..]), read),
            (format!(",\"traceparent\":\"{GIVEN}\",\"traceparent\":\"{GIVEN}\""), unusable),
            (format!(",\"traceparent\":null,\"traceparent\":\"{GIVEN}\""), unusable),
            (",\"traceparent\":\"\"".to_owned(), unusable),
            (",\"traceparent\":\"\\ud800\"".to_owned(), unusable),
            (",\"traceparent\":[7]".to_owned(), unusable),
        ] {
            for text in [
                format!("{{\"key\":\"p1\",\"value\":{{\"a\":1}}{members}}}"),
                format!("{{{}\"key\":\"p1\",\"value\":{{\"a\":1}}}}", &moved_to_front(&members)),
            ] {
                check_line(&text, Some("p1"), r#"{"a":1}"#);
                let line = SourceLine::parse(text.as_bytes(), true);
                assert_eq!(line.trace_parent, want, "{text}");
            }
        }
        // A record's own member of that name is a field like any other.
        let text = format!("{{\"key\":\"p1\",\"value\":{{\"traceparent\":\"{GIVEN}\"}}}}");
        assert_eq!(SourceLine::parse(text.as_bytes(), true).trace_parent, None);
    }

    /// Members with a comma behind them instead of before.
    fn moved_to_front(members: &str) -> String {
        members.strip_prefix(',').map_or_else(String::new, |rest| format!("{rest},"))
    }

    #[test]
    fn line_without_message_is_refused_with_its_key() {
        let refused = "refused: not_a_message";
        check_line("7", None, refused);
        check_line(r#"["p1",{}]"#, None, refused);
        check_line("nonsense", None, refused);
        check_line(r#"{"key":"p1"}"#, Some("p1"), refused);
        check_line(r#"{"key":"p1","value":1} x"#, Some("p1"), refused);
        check_line(r#"{"key":"p1","value":{"a":}}"#, Some("p1"), refused);
        check_line(r#"{"key":"p\u0031","value":"#, Some("p1"), refused);
        check_line(r#"{"value":{"a":},"key":"p1"}"#, None, refused);
        check_line(r#"{"key":"p1","value":1,"value":2}"#, Some("p1"), refused);
        check_line(r#"{"value":1,"v\u0061lue":2,"key":"p1"}"#, Some("p1"), refused);
        check_line(r#"{"key":"p1","key":"p2","value":1}"#, Some("p1"), refused);
        check_line(r#"{"key":"\ud800","value":1}"#, None, refused);
        check_line(r#"{"key":"p1"#, None, refused);
        check_line(r#"{"key":"p1\"#, None, refused);
        check_line("{\"key\":\"p1\",\"value\":\"a\u{1}b\"}", Some("p1"), refused);
    }

    #[track_caller]
    fn check_keys(line: impl AsRef<[u8]>, want: &[(usize, &str)]) {
        let line = SourceLine::parse(line.as_ref(), true);
        let payload = line.payload;
        assert!(matches!(payload, Payload::Refused(_) | Payload::RefusedBytes(..)));
        let first = line.key.as_deref().map(|key| (0, key));
        let others = line.other_keys.iter().map(|(at, key)| (*at, key.as_str()));
        assert_eq!(first.into_iter().chain(others).collect::<Vec<_>>(), want);
    }

    #[test]
    fn line_refused_at_a_gate_names_all_its_keys() {
        check_keys("nonsense", &[]);
        check_keys(
            r#"{"key":"p1","value":{}}{"key":"p2","value":{}} {"key":"p1"}"#,
            &[(0, "p1"), (24, "p2")],
        );
        check_keys("\u{feff}{\"key\":\"p1\",\"value\":{}}", &[(0, "p1")]);
        check_keys(r#"{"value":{"a":},"key" : "p\u0031"}"#, &[(0, "p1")]);
        check_keys(b"\xff{\"key\":\"p1\",\"value\":1}", &[(0, "p1")]);
        let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut bytes: Vec<u8> = wide(r#"{"key":"p1","value":{}}{"key":"p2"}"#);
        check_keys(&bytes, &[(0, "p1"), (48, "p2")]);
        bytes.insert(0, 0);
        check_keys(&bytes, &[(0, "p1"), (48, "p2")]);
    }

    #[test]
    fn line_that_is_not_utf8_is_refused_with_its_key() {
        let refused = "refused: not_utf8";
        check_line(b"{\"key\":\"p1\",\"value\":\"\xff\"}", Some("p1"), refused);
        check_line(b"{\"key\":\"p\xff\",\"value\":1}", None, refused);
        check_line(b"{\"key\":\"p1\",\"value\":1,\"other\":\"\xc3\"}", Some("p1"), refused);
        check_line(b"\xff", None, refused);
    }

    #[test]
    fn line_deep_value_is_left_to_the_engine() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        check_line(format!(r#"{{"key":"p1","value":{deep}}}"#), Some("p1"), &deep);
    }

    proptest! {
        #[test]
        fn line_parse_never_panics(bytes: Vec<u8>, cut in 0_usize..60) {
            let _ = SourceLine::parse(&bytes, true);
            let mut line = br#"{"key":"p\u0031","value":{"a":[1,"\\"]}} "#.to_vec();
            line.truncate(cut);
            line.extend(&bytes);
            let _ = SourceLine::parse(&line, true);
        }

        #[test]
        fn line_parse_reads_any_written_message(key: String, value: String) {
            let json = serde_json::to_string(&value).unwrap();
            let line = format!(r#"{{"key":{},"value":{json}}}"#, serde_json::to_string(&key).unwrap());
            check_line(line, Some(&key), &json);
        }
    }
}
