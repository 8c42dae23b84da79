//! One line of a directory source: `{"key":...,"value":...}`.
//!
//! It says where key and value stand, and looks into neither: whether a value
//! is a record is the engine's to judge.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::json::members::{self, Members};
use crate::policy::reason::Reason;
use crate::transport::Payload;

/// A line as a message: its key, where it has one, and its value as it stands.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) key: Option<Cow<'a, str>>,
    pub(super) payload: Payload<'a>,
    /// Further keys of a line of a gate that is refused, each with the byte of the
    /// line at which it stands.
    pub(super) others: Vec<(usize, String)>,
}

impl<'a> Line<'a> {
    /// Reads `bytes`, one line without its end.
    ///
    /// A line that is no message keeps its key where that can still be read:
    /// what it names must not pass for known. Of a gate every key is looked for,
    /// wherever it stands.
    pub(super) fn read(bytes: &'a [u8], gate: bool) -> Self {
        let line = match simdutf8::basic::from_utf8(bytes) {
            Err(_) => Self::unread(Reason::NotUtf8, leading_key(bytes), bytes),
            Ok(text) => match members::read(text, ["key", "value"]) {
                Some(members) => Self::from_members(members, bytes),
                None => Self::unread(Reason::NotAMessage, leading_key(bytes), bytes),
            },
        };
        match line.payload {
            Payload::Refused(_) | Payload::Unread(..) if gate => line.with_all_keys(bytes),
            _ => line,
        }
    }

    fn with_all_keys(mut self, bytes: &[u8]) -> Self {
        let mut keys = keys_in(bytes);
        if self.key.is_none() && !keys.is_empty() {
            self.key = Some(Cow::Owned(keys.remove(0).1));
        }
        keys.retain(|(_, key)| self.key.as_deref() != Some(key));
        self.others = keys;
        self
    }

    pub(super) fn refused(reason: Reason, key: Option<Cow<'a, str>>) -> Self {
        Self {
            key,
            payload: Payload::Refused(reason),
            others: Vec::new(),
        }
    }

    /// The same, where the bytes are at hand.
    fn unread(reason: Reason, key: Option<Cow<'a, str>>, bytes: &'a [u8]) -> Self {
        Self {
            key,
            payload: Payload::Unread(reason, bytes),
            others: Vec::new(),
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
        Self {
            key,
            payload,
            others: Vec::new(),
        }
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

/// Returns each key that some bytes name by `"key":"..."`, once, with the byte at
/// which it stands; also of text in UTF-16, as far as it is ASCII.
fn keys_in(line: &[u8]) -> Vec<(usize, String)> {
    const NAME: &[u8] = b"\"key\"";
    let plain: Vec<u8>;
    let (bytes, width) = if memchr::memchr(0, line).is_some() {
        plain = line.iter().copied().filter(|byte| *byte != 0).collect();
        (plain.as_slice(), 2)
    } else {
        (line, 1)
    };
    let mut keys: Vec<(usize, String)> = Vec::new();
    let mut known = HashSet::new();
    for at in memchr::memmem::find_iter(bytes, NAME) {
        let value = members::after(&bytes[at + NAME.len()..], b":");
        if let Some((key, _)) = value.and_then(members::leading_string)
            && known.insert(key.clone())
        {
            keys.push((at * width, key));
        }
    }
    keys
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
        let line = Line::read(line.as_ref(), false);
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

    #[track_caller]
    fn check_keys(line: impl AsRef<[u8]>, want: &[(usize, &str)]) {
        let line = Line::read(line.as_ref(), true);
        let payload = line.payload;
        assert!(matches!(payload, Payload::Refused(_) | Payload::Unread(..)));
        let first = line.key.as_deref().map(|key| (0, key));
        let others = line.others.iter().map(|(at, key)| (*at, key.as_str()));
        assert_eq!(first.into_iter().chain(others).collect::<Vec<_>>(), want);
    }

    #[test]
    fn a_refused_line_of_a_gate_names_all_its_keys() {
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
            let _ = Line::read(&bytes, true);
            let mut line = br#"{"key":"p\u0031","value":{"a":[1,"\\"]}} "#.to_vec();
            line.truncate(cut);
            line.extend(&bytes);
            let _ = Line::read(&line, true);
        }

        #[test]
        fn what_is_written_is_read(key: String, value: String) {
            let json = serde_json::to_string(&value).unwrap();
            let line = format!(r#"{{"key":{},"value":{json}}}"#, serde_json::to_string(&key).unwrap());
            check(line, Some(&key), &json);
        }
    }
}
