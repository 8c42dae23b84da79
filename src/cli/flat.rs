//! A JSON object as a list of paths and values, in the order it has them.
//!
//! For showing records to people; numbers stay as written.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Paths and values of all scalars: `item.title`, `items[0].due_on`. What is no
/// JSON object is one value without a path.
pub(super) fn flatten(json: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    push(String::new(), json.trim(), &mut all);
    all
}

fn push(path: String, json: &str, all: &mut Vec<(String, String)>) {
    match json.bytes().next() {
        Some(b'{') => {
            let Ok(object) = serde_json::from_str::<Object<'_>>(json) else {
                return all.push((path, json.to_owned()));
            };
            for (name, value) in object.0 {
                let path = match path.as_str() {
                    "" => name,
                    path => format!("{path}.{name}"),
                };
                push(path, value.get(), all);
            }
        }
        Some(b'[') => {
            let list = serde_json::from_str::<Vec<&RawValue>>(json).unwrap_or_default();
            for (at, value) in list.iter().enumerate() {
                push(format!("{path}[{at}]"), value.get(), all);
            }
        }
        Some(b'"') => {
            let text = serde_json::from_str(json).unwrap_or_else(|_| json.to_owned());
            all.push((path, text));
        }
        _ => all.push((path, json.to_owned())),
    }
}

/// What stands at a path such as `item.title`, as JSON; the first, of twins.
pub(super) fn find<'a>(json: &'a str, path: &str) -> Option<&'a str> {
    let mut json = json.trim();
    for part in path.split('.') {
        let name = part.strip_suffix("[]").unwrap_or(part);
        let object = serde_json::from_str::<Object<'a>>(json).ok()?;
        let mut members = object.0.into_iter();
        json = members.find(|(member, _)| member == name)?.1.get();
    }
    Some(json)
}

/// The members of an object, twins included.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry::<String, &'de RawValue>()? {
            members.push(member);
        }
        Ok(Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_becomes_paths() {
        let json = r#"{"b":"x\u0041","a":{"c":12.50},"list":[{"d":1},{"d":null}],"e":{}}"#;
        let flat = flatten(json);
        let flat: Vec<_> = flat.iter().map(|(a, b)| format!("{a}={b}")).collect();
        assert_eq!(flat, ["b=xA", "a.c=12.50", "list[0].d=1", "list[1].d=null"]);
        assert_eq!(flatten("7"), [(String::new(), "7".to_owned())]);
        assert_eq!(find(json, "a.c"), Some("12.50"));
        assert_eq!(find(json, "a.x"), None);
        assert_eq!(find(json, "b.x"), None);
    }
}
