//! The members of one JSON object, by name, each as it stands in the text.
//!
//! For the envelope around a record, never for the record itself.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object that were asked for.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a, const N: usize> {
    /// In the order of the names; of twins the first.
    pub found: [Option<&'a RawValue>; N],
    /// One of them stands there twice.
    pub twins: bool,
}

/// Reads the members `names` of the object that `text` is, and nothing else is.
#[must_use]
pub fn read<'a, const N: usize>(text: &'a str, names: [&str; N]) -> Option<Members<'a, N>> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer.deserialize_map(Object(&names)).ok()?;
    deserializer.end().ok()?;
    Some(members)
}

struct Object<'n, const N: usize>(&'n [&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for Object<'_, N> {
    type Value = Members<'de, N>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members {
            found: [None; N],
            twins: false,
        };
        while let Some(place) = map.next_key_seed(Name(self.0))? {
            let Some(slot) = place.and_then(|place| members.found.get_mut(place)) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let raw = map.next_value::<&'de RawValue>()?;
            members.twins |= slot.is_some();
            slot.get_or_insert(raw);
        }
        Ok(members)
    }
}

/// The place of a name among those that are asked for.
struct Name<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|known| *known == name))
    }
}

/// What follows `token` at the start of `bytes`, white space before it aside.
#[must_use]
pub fn after<'a>(bytes: &'a [u8], token: &[u8]) -> Option<&'a [u8]> {
    bytes.trim_ascii_start().strip_prefix(token)
}

/// The JSON string at the start of broken text, and what follows it.
#[must_use]
pub fn leading_string(bytes: &[u8]) -> Option<(String, &[u8])> {
    let bytes = bytes.trim_ascii_start();
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            let (string, rest) = bytes.split_at(at + 1);
            return Some((serde_json::from_slice(string).ok()?, rest));
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<([Option<&str>; 2], bool)>) {
        let found = read(text, ["key", "value"]).map(|members| {
            (
                members.found.map(|raw| raw.map(RawValue::get)),
                members.twins,
            )
        });
        assert_eq!(found, want, "{text}");
    }

    #[test]
    fn finds_what_is_asked_for() {
        check(
            r#"{"key":"a","value":{"b": 1.50}}"#,
            Some(([Some("\"a\""), Some("{\"b\": 1.50}")], false)),
        );
        check(
            r#" {"x":[{}],"valu\u0065":null} "#,
            Some(([None, Some("null")], false)),
        );
        check(r#"{"key":1,"key":2}"#, Some(([Some("1"), None], true)));
        check("{}", Some(([None, None], false)));
        for broken in ["", "[]", "1", "{} x", "{\"key\":}", "{\"key\" 1}"] {
            check(broken, None);
        }
    }

    #[test]
    fn reads_a_string_before_broken_text() {
        let (text, rest) = leading_string(br#" "a\"\u0062" : {"#).unwrap();
        assert_eq!((text.as_str(), rest), ("a\"b", &b" : {"[..]));
        for none in [&b"x"[..], b"\"a", b"\"\\", b"\"\xff\" "] {
            assert_eq!(leading_string(none), None);
        }
    }
}
