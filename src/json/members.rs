//! The members of one JSON object, by name, each as it stands in the text.
//!
//! For the envelope around a record and for zeef's own rows, never for the record itself.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object that were asked for.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a, const N: usize> {
    /// In the order of the names; of twins the first.
    pub found: [Option<&'a RawValue>; N],
    /// Whether each stands there twice.
    pub is_repeated: [bool; N],
}

impl<const N: usize> Members<'_, N> {
    /// Returns whether one of them stands there twice.
    #[must_use]
    pub fn has_duplicates(&self) -> bool {
        self.is_repeated.contains(&true)
    }
}

/// Reads the members `names` of the object that `text` is, and nothing else is.
#[must_use]
pub fn read<'a, const N: usize>(text: &'a str, names: [&str; N]) -> Option<Members<'a, N>> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer.deserialize_map(MembersVisitor(&names)).ok()?;
    deserializer.end().ok()?;
    Some(members)
}

struct MembersVisitor<'n, const N: usize>(&'n [&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for MembersVisitor<'_, N> {
    type Value = Members<'de, N>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members { found: [None; N], is_repeated: [false; N] };
        while let Some(place) = map.next_key_seed(NameIndexVisitor(self.0))? {
            let Members { found, is_repeated } = &mut members;
            let place = place.and_then(|at| found.get_mut(at).zip(is_repeated.get_mut(at)));
            let Some((slot, is_repeated)) = place else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let raw = map.next_value::<&'de RawValue>()?;
            *is_repeated |= slot.is_some();
            slot.get_or_insert(raw);
        }
        Ok(members)
    }
}

/// The place of a name among those that are asked for.
struct NameIndexVisitor<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for NameIndexVisitor<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameIndexVisitor<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|known| *known == name))
    }
}

/// The name of a member, borrowed from the text unless it has escapes.
#[derive(Debug, Deserialize)]
pub struct MemberName<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// The names of one object's members.
#[derive(Debug, Default)]
pub struct MemberNames<'a>(Vec<MemberName<'a>>);

impl<'a> MemberNames<'a> {
    pub fn add(&mut self, name: MemberName<'a>) {
        self.0.push(name);
    }

    /// Checks that no name was added twice.
    ///
    /// # Errors
    ///
    /// One was.
    pub fn check_unique<E: Error>(mut self) -> Result<(), E> {
        self.0.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        match self.0.windows(2).any(|two| two[0].0 == two[1].0) {
            true => Err(E::custom("an object has two members of one name")),
            false => Ok(()),
        }
    }
}

/// Any JSON value, none of whose objects has two members of one name.
#[derive(Clone, Copy, Debug)]
pub struct UniqueMembers;

impl<'de> Deserialize<'de> for UniqueMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueMembersVisitor)
    }
}

struct UniqueMembersVisitor;

impl<'de> Visitor<'de> for UniqueMembersVisitor {
    type Value = UniqueMembers;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<UniqueMembers, E> {
        Ok(UniqueMembers)
    }

    fn visit_bool<E>(self, _: bool) -> Result<UniqueMembers, E> {
        Ok(UniqueMembers)
    }

    fn visit_i64<E>(self, _: i64) -> Result<UniqueMembers, E> {
        Ok(UniqueMembers)
    }

    fn visit_u64<E>(self, _: u64) -> Result<UniqueMembers, E> {
        Ok(UniqueMembers)
    }

    fn visit_f64<E>(self, _: f64) -> Result<UniqueMembers, E> {
        Ok(UniqueMembers)
    }

    fn visit_str<E>(self, _: &str) -> Result<UniqueMembers, E> {
        Ok(UniqueMembers)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<UniqueMembers, A::Error> {
        while seq.next_element::<UniqueMembers>()?.is_some() {}
        Ok(UniqueMembers)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueMembers, A::Error> {
        let mut names = MemberNames::default();
        while let Some(name) = map.next_key()? {
            names.add(name);
            map.next_value::<UniqueMembers>()?;
        }
        names.check_unique().map(|()| UniqueMembers)
    }
}

/// Returns the text of a value once for each member of its objects, with that member twice.
#[cfg(test)]
pub(crate) fn texts_with_a_repeated_member(value: &serde_json::Value) -> Vec<String> {
    use serde_json::Value;
    let children: Vec<(String, &Value)> = match value {
        Value::Object(members) => {
            members.iter().map(|(name, value)| (format!("\"{name}\":"), value)).collect()
        }
        Value::Array(elements) => elements.iter().map(|one| (String::new(), one)).collect(),
        _ => return Vec::new(),
    };
    let mut texts = Vec::new();
    let mut add_text = |place: usize, changed: &str| {
        let all = children.iter().enumerate();
        let parts: Vec<String> = all
            .map(|(at, (name, value))| match at == place {
                true => format!("{name}{changed}"),
                false => format!("{name}{value}"),
            })
            .collect();
        let text = parts.join(",");
        texts.push(if value.is_object() { format!("{{{text}}}") } else { format!("[{text}]") });
    };
    for (place, (name, child)) in children.iter().enumerate() {
        if value.is_object() {
            add_text(place, &format!("{child},{name}{child}"));
        }
        for changed in texts_with_a_repeated_member(child) {
            add_text(place, &changed);
        }
    }
    texts
}

/// What follows `token` at the start of `bytes`, white space before it aside.
#[must_use]
pub fn strip_token<'a>(bytes: &'a [u8], token: &[u8]) -> Option<&'a [u8]> {
    bytes.trim_ascii_start().strip_prefix(token)
}

/// The JSON string at the start of broken text, and what follows it.
#[must_use]
pub fn split_leading_string(bytes: &[u8]) -> Option<(String, &[u8])> {
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
    fn check_members(text: &str, want: Option<([Option<&str>; 2], bool)>) {
        let found = read(text, ["key", "value"]).map(|members| {
            (members.found.map(|raw| raw.map(RawValue::get)), members.has_duplicates())
        });
        assert_eq!(found, want, "{text}");
    }

    #[test]
    fn read_returns_the_named_members() {
        check_members(
            r#"{"key":"a","value":{"b": 1.50}}"#,
            Some(([Some("\"a\""), Some("{\"b\": 1.50}")], false)),
        );
        check_members(r#" {"x":[{}],"valu\u0065":null} "#, Some(([None, Some("null")], false)));
        check_members(r#"{"key":1,"key":2}"#, Some(([Some("1"), None], true)));
        check_members("{}", Some(([None, None], false)));
        for broken in ["", "[]", "1", "{} x", "{\"key\":}", "{\"key\" 1}"] {
            check_members(broken, None);
        }
    }

    #[test]
    fn unique_members_refuses_a_repeated_name_at_any_depth() {
        let is_unique = |text: &str| serde_json::from_str::<UniqueMembers>(text).is_ok();
        let texts = ["1", "-1.5", "null", "true", "\"a\"", "[]", "{}", r#"{"a":1,"b":[{"a":2}]}"#];
        for text in texts {
            assert!(is_unique(text), "{text}");
        }
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"c":2,"\u0061":3}}]"#, "{\"a\":1", "1 2"] {
            assert!(!is_unique(text), "{text}");
        }
        let value = serde_json::json!({"a": 1, "b": [{"c": {"d": 2}}]});
        let repeated = texts_with_a_repeated_member(&value);
        assert_eq!(repeated.len(), 4);
        assert!(repeated.iter().all(|text| !is_unique(text)), "{repeated:?}");
    }

    #[test]
    fn split_leading_string_reads_before_broken_text() {
        let (text, rest) = split_leading_string(br#" "a\"\u0062" : {"#).unwrap();
        assert_eq!((text.as_str(), rest), ("a\"b", &b" : {"[..]));
        for none in [&b"x"[..], b"\"a", b"\"\\", b"\"\xff\" "] {
            assert_eq!(split_leading_string(none), None);
        }
    }
}
