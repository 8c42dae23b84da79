//! One line of a directory source: `{"key":...,"value":...}`.
//!
//! It says where key and value stand, and looks into neither: whether a value
//! is a record is the engine's to judge.

use std::borrow::Cow;

use crate::json::members::{self, Members};
use crate::policy::reason::Reason;
use crate::transport::Payload;

/// A line as a message: its key, where it has one, and its value as it stands.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) key: Option<Cow<'a, str>>,
    pub(super) payload: Payload<'a>,
}

impl<'a> Line<'a> {
    /// Reads `bytes`, one line without its end.
    ///
    /// A line that is no message keeps its key where that can still be read:
    /// what it names must not pass for known.
    pub(super) fn read(bytes: &'a [u8]) -> Self {
        let Ok(text) = simdutf8::basic::from_utf8(bytes) else {
            return Self::unread(Reason::NotUtf8, leading_key(bytes), bytes);
        };
        match members::read(text, ["key", "value"]) {
            Some(members) => Self::from_members(members, bytes),
            None => Self::unread(Reason::NotAMessage, leading_key(bytes), bytes),
        }
    }

    pub(super) fn refused(reason: Reason, key: Option<Cow<'a, str>>) -> Self {
        Self {
            key,
            payload: Payload::Refused(reason),
        }
    }

    /// The same, where the bytes are at hand.
    fn unread(reason: Reason, key: Option<Cow<'a, str>>, bytes: &'a [u8]) -> Self {
        Self {
            key,
            payload: Payload::Unread(reason, bytes),
        }
    }

    fn from_members(members: Members<'a, 2>, bytes: &'a [u8]) -> Self {
        let [key, value] = members.found;
        let key = match key.map(|raw| text_of(raw.get())) {
            Some(Text::Unreadable) => return Self::unread(Reason::NotAMessage, None, bytes),
            Some(Text::Is(key)) => Some(key),
            Some(Text::None) | None => None,
        };
        let Some(value) = value.filter(|_| !members.twins) else {
            return Self::unread(Reason::NotAMessage, key, bytes);
        };
        let payload = match value.get() {
            "null" => Payload::Null,
            text => Payload::Bytes(text.as_bytes()),
        };
        Self { key, payload }
    }
}

/// What a JSON text is, as a string.
enum Text<'a> {
    Is(Cow<'a, str>),
    /// It is something else than a string.
    None,
    /// It is a string that is no text: it holds half a character.
    Unreadable,
}

fn text_of(json: &str) -> Text<'_> {
    let Some(inner) = json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return Text::None;
    };
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Text::Is(Cow::Borrowed(inner));
    }
    match serde_json::from_str(json) {
        Ok(text) => Text::Is(Cow::Owned(text)),
        Err(_) => Text::Unreadable,
    }
}

/// The key of a broken or cut line, where `"key":"..."` is its first member.
pub(super) fn leading_key(line: &[u8]) -> Option<Cow<'_, str>> {
    let rest = members::after(line, b"{")?;
    let rest = members::after(rest, b"\"key\"")?;
    let rest = members::after(rest, b":")?;
    members::leading_string(rest).map(|(key, _)| Cow::Owned(key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(line: impl AsRef<[u8]>, key: Option<&str>, payload: &str) {
        let line = Line::read(line.as_ref());
        let found = match line.payload {
            Payload::Null => "null".to_owned(),
            Payload::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Payload::Refused(reason) | Payload::Unread(reason, _) => format!("refused: {reason}"),
        };
        assert_eq!((line.key.as_deref(), found.as_str()), (key, payload));
    }

    #[test]
    fn messages() {
        check(
            r#"{"key":"p1","value":{"a":1.50}}"#,
            Some("p1"),
            r#"{"a":1.50}"#,
        );
        check(
            " { \"value\" : [1, 2] , \"key\" : \"p1\" } \r",
            Some("p1"),
            "[1, 2]",
        );
        check(r#"{"key":"p\u0031\"","value":"x"}"#, Some("p1\""), r#""x""#);
        check(r#"{"key":"p1","value":null}"#, Some("p1"), "null");
        check(r#"{"key":"p1","value":"null"}"#, Some("p1"), r#""null""#);
        check(r#"{"key":null,"value":1}"#, None, "1");
        check(r#"{"key":7,"value":1}"#, None, "1");
        check(r#"{"value":1}"#, None, "1");
        check(r#"{"key":"","value":1}"#, Some(""), "1");
        check(
            r#"{"at":5,"key":"p1","value":1,"headers":{"key":2}}"#,
            Some("p1"),
            "1",
        );
        check(
            r#"{"key":"p1","value":"\ud800"}"#,
            Some("p1"),
            r#""\ud800""#,
        );
    }

    #[test]
    fn no_messages() {
        let refused = "refused: not_a_message";
        check("7", None, refused);
        check(r#"["p1",{}]"#, None, refused);
        check("nonsense", None, refused);
        check(r#"{"key":"p1"}"#, Some("p1"), refused);
        check(r#"{"key":"p1","value":1} x"#, Some("p1"), refused);
        check(r#"{"key":"p1","value":{"a":}}"#, Some("p1"), refused);
        check(r#"{"key":"p\u0031","value":"#, Some("p1"), refused);
        check(r#"{"value":{"a":},"key":"p1"}"#, None, refused);
        check(r#"{"key":"p1","value":1,"value":2}"#, Some("p1"), refused);
        check(
            r#"{"value":1,"v\u0061lue":2,"key":"p1"}"#,
            Some("p1"),
            refused,
        );
        check(r#"{"key":"p1","key":"p2","value":1}"#, Some("p1"), refused);
        check(r#"{"key":"\ud800","value":1}"#, None, refused);
        check(r#"{"key":"p1"#, None, refused);
        check(r#"{"key":"p1\"#, None, refused);
        check(
            "{\"key\":\"p1\",\"value\":\"a\u{1}b\"}",
            Some("p1"),
            refused,
        );
    }

    #[test]
    fn bytes_that_are_no_text() {
        let refused = "refused: not_utf8";
        check(b"{\"key\":\"p1\",\"value\":\"\xff\"}", Some("p1"), refused);
        check(b"{\"key\":\"p\xff\",\"value\":1}", None, refused);
        check(
            b"{\"key\":\"p1\",\"value\":1,\"other\":\"\xc3\"}",
            Some("p1"),
            refused,
        );
        check(b"\xff", None, refused);
    }

    #[test]
    fn deep_values_are_left_to_the_engine() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        check(
            format!(r#"{{"key":"p1","value":{deep}}}"#),
            Some("p1"),
            &deep,
        );
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, cut in 0_usize..60) {
            let _ = Line::read(&bytes);
            let mut line = br#"{"key":"p\u0031","value":{"a":[1,"\\"]}} "#.to_vec();
            line.truncate(cut);
            line.extend(&bytes);
            let _ = Line::read(&line);
        }

        #[test]
        fn what_is_written_is_read(key: String, value: String) {
            let json = serde_json::to_string(&value).unwrap();
            let line = format!(r#"{{"key":{},"value":{json}}}"#, serde_json::to_string(&key).unwrap());
            check(line, Some(&key), &json);
        }
    }
}
