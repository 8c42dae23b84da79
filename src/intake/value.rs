//! One JSON text as a tree: what a raw message holds, read strictly.
//!
//! Numbers stay as written. A text with a member twice in one object is refused:
//! another reader would take the other one.

use std::borrow::Cow;

use crate::json::scan::{ScanError, Scanner, StringToken, decode_string};

use super::refusal::Refusal;

/// A JSON value; numbers as written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum JsonValue<'a> {
    Null,
    Boolean(bool),
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    /// A string with half of a surrogate pair, which is no text.
    BrokenText,
    List(Vec<JsonValue<'a>>),
    Object(Vec<(Cow<'a, str>, JsonValue<'a>)>),
}

impl<'a> JsonValue<'a> {
    /// The member `name`, where this is an object that has it.
    pub(super) fn member(&self, name: &str) -> Option<&JsonValue<'a>> {
        let JsonValue::Object(members) = self else {
            return None;
        };
        members.iter().find(|(member, _)| member == name).map(|(_, value)| value)
    }

    /// The text, where this is one.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            JsonValue::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_object(&self) -> bool {
        matches!(self, JsonValue::Object(_))
    }
}

/// How large a text may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct ValueLimits {
    pub(super) bytes: usize,
    /// Members of all objects together.
    pub(super) keys: u32,
}

/// Of so many members each name is compared with each, which needs no list of them.
const COMPARED_MEMBERS_MAX: usize = 32;
/// An object has some members, or none.
const MEMBERS_CAPACITY: usize = 8;

/// Objects and lists inside each other.
pub(super) const DEPTH_MAX: u32 = 64;

/// Reads `bytes` as one JSON value.
///
/// # Errors
///
/// [`Refusal::TooLarge`], [`Refusal::Framed`], [`Refusal::NotUtf8`],
/// [`Refusal::NotJson`] or [`Refusal::DuplicateMember`].
pub(super) fn parse_bytes(bytes: &[u8], limits: ValueLimits) -> Result<JsonValue<'_>, Refusal> {
    if bytes.len() > limits.bytes {
        return Err(Refusal::TooLarge);
    }
    // A schema registry's frame: a zero byte and four bytes of a schema's id.
    if bytes.first() == Some(&0) {
        return Err(Refusal::Framed);
    }
    let text = simdutf8::basic::from_utf8(bytes).map_err(|_| Refusal::NotUtf8)?;
    parse_text(text, limits)
}

/// Reads `text` as one JSON value.
///
/// # Errors
///
/// As [`parse_bytes`], but for bytes that are no text.
pub(super) fn parse_text(text: &str, limits: ValueLimits) -> Result<JsonValue<'_>, Refusal> {
    if text.len() > limits.bytes {
        return Err(Refusal::TooLarge);
    }
    let scanner = Scanner::new(text, DEPTH_MAX);
    let mut parser = TreeParser { text, scanner, keys_left: limits.keys };
    let (value, after) = parser.parse_value(scanner.skip_whitespace(0), 0)?;
    scanner.expect_end(after).map_err(refusal_of)?;
    Ok(value)
}

fn refusal_of(error: ScanError) -> Refusal {
    match error {
        ScanError::Syntax => Refusal::NotJson,
        ScanError::TooDeep | ScanError::TooManyKeys => Refusal::TooLarge,
    }
}

struct TreeParser<'a> {
    text: &'a str,
    scanner: Scanner<'a>,
    keys_left: u32,
}

impl<'a> TreeParser<'a> {
    /// The value that starts at `at`, and the place behind it.
    fn parse_value(&mut self, at: usize, depth: u32) -> Result<(JsonValue<'a>, usize), Refusal> {
        let scanner = self.scanner;
        let literal = |word: &[u8], value| Ok((value, scanner.skip_literal(at, word)?));
        let scalar = match scanner.byte_at(at) {
            b'{' => return self.parse_object(at, depth),
            b'[' => return self.parse_list(at, depth),
            b'"' => scanner.read_string(at).map(|token| (self.decode(token), token.after_quote())),
            b't' => literal(b"true", JsonValue::Boolean(true)),
            b'f' => literal(b"false", JsonValue::Boolean(false)),
            b'n' => literal(b"null", JsonValue::Null),
            _ => scanner.skip_number(at).map(|end| {
                let digits = Cow::Borrowed(&self.text[at..end]);
                (JsonValue::Number(digits), end)
            }),
        };
        scalar.map_err(refusal_of)
    }

    fn decode(&self, token: StringToken) -> JsonValue<'a> {
        let inside = &self.text[token.start..token.end];
        if !token.has_escapes {
            return JsonValue::Text(Cow::Borrowed(inside));
        }
        let mut decoded = String::new();
        match decode_string(inside, &mut decoded) {
            true => JsonValue::Text(Cow::Owned(decoded)),
            false => JsonValue::BrokenText,
        }
    }

    fn parse_object(&mut self, at: usize, depth: u32) -> Result<(JsonValue<'a>, usize), Refusal> {
        let scanner = self.scanner;
        let depth = scanner.enter_container(depth).map_err(refusal_of)?;
        let mut next = scanner.skip_whitespace(at + 1);
        if scanner.byte_at(next) == b'}' {
            return Ok((JsonValue::Object(Vec::new()), next + 1));
        }
        let mut members = Vec::with_capacity(MEMBERS_CAPACITY);
        loop {
            let (key, start) = scanner.read_key(next, &mut self.keys_left).map_err(refusal_of)?;
            let JsonValue::Text(name) = self.decode(key) else {
                return Err(Refusal::NotJson);
            };
            let (value, after) = self.parse_value(start, depth)?;
            members.push((name, value));
            let after = scanner.skip_whitespace(after);
            match scanner.byte_at(after) {
                b',' => next = scanner.skip_whitespace(after + 1),
                b'}' if has_duplicate(&members) => return Err(Refusal::DuplicateMember),
                b'}' => return Ok((JsonValue::Object(members), after + 1)),
                _ => return Err(Refusal::NotJson),
            }
        }
    }

    fn parse_list(&mut self, at: usize, depth: u32) -> Result<(JsonValue<'a>, usize), Refusal> {
        let scanner = self.scanner;
        let depth = scanner.enter_container(depth).map_err(refusal_of)?;
        let mut items = Vec::new();
        let mut next = scanner.skip_whitespace(at + 1);
        if scanner.byte_at(next) == b']' {
            return Ok((JsonValue::List(items), next + 1));
        }
        loop {
            let (value, after) = self.parse_value(next, depth)?;
            items.push(value);
            let after = scanner.skip_whitespace(after);
            match scanner.byte_at(after) {
                b',' => next = scanner.skip_whitespace(after + 1),
                b']' => return Ok((JsonValue::List(items), after + 1)),
                _ => return Err(Refusal::NotJson),
            }
        }
    }
}

/// Whether two members have one name.
pub(super) fn has_duplicate(members: &[(Cow<'_, str>, JsonValue<'_>)]) -> bool {
    if members.len() <= COMPARED_MEMBERS_MAX {
        let has = |(at, (name, _)): (usize, &(Cow<'_, str>, _))| {
            members.iter().take(at).any(|(before, _)| before == name)
        };
        return members.iter().enumerate().any(has);
    }
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_ref()).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ValueLimits = ValueLimits { bytes: 1 << 16, keys: 100 };

    #[track_caller]
    fn check_refused(text: impl AsRef<[u8]>, want: Refusal) {
        assert_eq!(parse_bytes(text.as_ref(), LIMITS), Err(want));
    }

    #[test]
    fn parse_keeps_numbers_as_written() {
        let value =
            parse_text(r#" {"a":12345678901234567890.10,"b":[true,null,"\u0041"]} "#, LIMITS);
        let value = value.unwrap();
        assert_eq!(value.member("a"), Some(&JsonValue::Number("12345678901234567890.10".into())));
        let list = [JsonValue::Boolean(true), JsonValue::Null, JsonValue::Text("A".into())];
        assert_eq!(value.member("b"), Some(&JsonValue::List(list.to_vec())));
        assert_eq!(parse_text(r#""\ud800""#, LIMITS), Ok(JsonValue::BrokenText));
    }

    #[test]
    fn parse_refuses_what_is_not_strict_json() {
        check_refused(br#"{"a":1,"\u0061":2}"#, Refusal::DuplicateMember);
        for count in [COMPARED_MEMBERS_MAX - 1, COMPARED_MEMBERS_MAX] {
            let members: String = (0..count).map(|number| format!("\"m{number}\":0,")).collect();
            let twice = format!("{{{members}\"m1\":1}}");
            check_refused(twice, Refusal::DuplicateMember);
            let once = format!("{{{members}\"m\":1}}");
            assert!(parse_text(&once, LIMITS).is_ok());
        }
        check_refused(b"{} x", Refusal::NotJson);
        check_refused(b"", Refusal::NotJson);
        check_refused(b"{\"a\":01}", Refusal::NotJson);
        check_refused(b"{\"a\":}", Refusal::NotJson);
        check_refused(b"[1,]", Refusal::NotJson);
        check_refused(b"{\"\\ud800\":1}", Refusal::NotJson);
        check_refused(b"\"\xff\"", Refusal::NotUtf8);
        check_refused(b"\0\0\0\0\x07{}", Refusal::Framed);
        check_refused("[".repeat(65) + &"]".repeat(65), Refusal::TooLarge);
        check_refused(format!("[{}1]", "1,".repeat(1 << 15)), Refusal::TooLarge);
    }
}
