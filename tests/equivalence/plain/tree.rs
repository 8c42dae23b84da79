//! A record as a tree, read by serde_json, with all that a tree of values loses:
//! twins, the text of numbers, and strings that hold half a surrogate pair.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A string after its escapes; none where a surrogate stands alone in it.
pub type Text = Option<String>;

#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    Text(Text),
    List(Vec<Tree>),
    /// In the order of the text, twins included.
    Object(Vec<(Text, Tree)>),
}

/// Why a text is no tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    NotJson,
    TooDeep,
    TooManyKeys,
}

/// Reads one JSON text to its end; of several faults the first in reading order.
pub fn read(text: &str, depth_max: u32, keys_max: u32) -> Result<Tree, Fault> {
    if let Some((excess, fault)) = first_excess(text.as_bytes(), depth_max, keys_max) {
        // Broken before it got too much, or whole as far as one can see? An escape
        // that its key cuts short looks like the end of the text.
        let before = serde_json::from_str::<IgnoredAny>(&text[..excess.end]);
        let is_whole = |key| serde_json::from_str::<IgnoredAny>(key).is_ok();
        return Err(match before {
            Err(error) if error.is_eof() => match fault {
                Fault::TooManyKeys if !is_whole(&text[excess]) => Fault::NotJson,
                _ => fault,
            },
            _ => Fault::NotJson,
        });
    }
    let raw: &RawValue = serde_json::from_str(text).map_err(|_| Fault::NotJson)?;
    Ok(tree(raw.get()))
}

/// The first bracket or key that is one too many, if the text is JSON that far.
fn first_excess(text: &[u8], depth_max: u32, keys_max: u32) -> Option<(Range<usize>, Fault)> {
    let mut open = Vec::new();
    let mut keys = 0;
    let mut key_comes = false;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'"' => {
                at = string_end(text, at)?;
                keys += u32::from(key_comes);
                key_comes = false;
                if keys > keys_max {
                    return Some((start..at, Fault::TooManyKeys));
                }
            }
            b'{' | b'[' => {
                open.push(byte);
                key_comes = byte == b'{';
                if open.len() > depth_max as usize {
                    return Some((start..at, Fault::TooDeep));
                }
            }
            b'}' | b']' => {
                open.pop();
                key_comes = false;
            }
            b',' => key_comes = open.last() == Some(&b'{'),
            _ => {}
        }
    }
    None
}

/// What follows the string of which the inside begins at `at`.
fn string_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Makes a tree of one value that is known to be JSON, without space around it.
fn tree(raw: &str) -> Tree {
    match raw.as_bytes()[0] {
        b'n' => Tree::Null,
        b't' => Tree::Bool(true),
        b'f' => Tree::Bool(false),
        b'"' => Tree::Text(string(raw)),
        b'[' => {
            let elements: Vec<&RawValue> = serde_json::from_str(raw).unwrap();
            Tree::List(elements.into_iter().map(|raw| tree(raw.get())).collect())
        }
        b'{' => {
            let mut deserializer = serde_json::Deserializer::from_str(raw);
            let members = deserializer.deserialize_map(Members).unwrap();
            let members = members.into_iter();
            Tree::Object(members.map(|(key, raw)| (key, tree(raw.get()))).collect())
        }
        _ => Tree::Number(raw.to_owned()),
    }
}

fn string(raw: &str) -> Text {
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    Decoded.deserialize(&mut deserializer).unwrap()
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(Text, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(key) = map.next_key_seed(Decoded)? {
            members.push((key, map.next_value()?));
        }
        Ok(members)
    }
}

/// A string taken as bytes: so serde_json does not refuse a lone surrogate, but
/// writes it as what UTF-8 does not allow.
struct Decoded;

impl<'de> DeserializeSeed<'de> for Decoded {
    type Value = Text;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Text, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Decoded {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
        Ok(String::from_utf8(bytes.to_vec()).ok())
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Some(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_other_trees_lose() {
        let text = |text: &str| Some(text.to_owned());
        let number = |text: &str| Tree::Number(text.to_owned());
        assert_eq!(
            read(
                r#" {"a":1.50,"\u0061":-0,"\ud800":["\udc00x","\ud83d\ude00"]} "#,
                2,
                3
            ),
            Ok(Tree::Object(vec![
                (text("a"), number("1.50")),
                (text("a"), number("-0")),
                (
                    None,
                    Tree::List(vec![Tree::Text(None), Tree::Text(text("😀"))])
                ),
            ]))
        );
    }

    #[test]
    fn the_first_fault_counts() {
        #[track_caller]
        fn check(text: &str, want: Fault) {
            assert_eq!(read(text, 2, 2), Err(want), "{text}");
        }
        check("[[[", Fault::TooDeep);
        check("[[1[", Fault::NotJson);
        check("[[[}", Fault::TooDeep);
        check("[}[[[", Fault::NotJson);
        check(r#"{"a":1,"b":2,"c""#, Fault::TooManyKeys);
        check(r#"{"a":1,"b":2,"\u00":3}"#, Fault::NotJson);
        check(r#"{"a":1,"b":2,"c"#, Fault::NotJson);
        check(r#"{"a":1,"b":[],{"c"#, Fault::NotJson);
        check(r#"{"a":01,"b":2,"c":3}"#, Fault::NotJson);
        check(r#"{"a":{"b":[{"c":1}]}}"#, Fault::TooDeep);
    }
}
