//! A JSON object as a list of paths and values, in its order.
//!
//! For showing records to people; numbers stay as written.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Returns paths and values of all scalars: `item.title`, `items[0].due_on`. Anything but a
/// JSON object is one value without a path.
pub(super) fn flatten_json(json: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    push_paths(String::new(), json.trim(), &mut all);
    all
}

fn push_paths(path: String, json: &str, all: &mut Vec<(String, String)>) {
    match json.bytes().next() {
        Some(b'{') => {
            let Ok(object) = serde_json::from_str::<ObjectMembers<'_>>(json) else {
                return all.push((path, json.to_owned()));
            };
            for (name, value) in object.0 {
                let path = match path.as_str() {
                    "" => name,
                    path => format!("{path}.{name}"),
                };
                push_paths(path, value.get(), all);
            }
        }
        Some(b'[') => {
            let list = serde_json::from_str::<Vec<&RawValue>>(json).unwrap_or_default();
            for (at, value) in list.iter().enumerate() {
                push_paths(format!("{path}[{at}]"), value.get(), all);
            }
        }
        Some(b'"') => {
            let text = serde_json::from_str(json).unwrap_or_else(|_| json.to_owned());
            all.push((path, text));
        }
        _ => all.push((path, json.to_owned())),
    }
}

/// Returns the JSON at a path such as `item.title`; the first one of duplicates.
pub(super) fn find_path<'a>(json: &'a str, path: &str) -> Option<&'a str> {
    let mut json = json.trim();
    for part in path.split('.') {
        let name = part.strip_suffix("[]").unwrap_or(part);
        let object = serde_json::from_str::<ObjectMembers<'a>>(json).ok()?;
        let mut members = object.0.into_iter();
        json = members.find(|(member, _)| member == name)?.1.get();
    }
    Some(json)
}

/// The members of an object, including duplicates.
struct ObjectMembers<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for ObjectMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = ObjectMembers<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry::<String, &'de RawValue>()? {
            members.push(member);
        }
        Ok(ObjectMembers(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flattened_object_lists_paths_and_values() {
        let json = r#"{"b":"x\u0041","a":{"c":12.50},"list":[{"d":1},{"d":null}],"e":{}}"#;
        let flat = flatten_json(json);
        let flat: Vec<_> = flat.iter().map(|(a, b)| format!("{a}={b}")).collect();
        assert_eq!(flat, ["b=xA", "a.c=12.50", "list[0].d=1", "list[1].d=null"]);
        assert_eq!(flatten_json("7"), [(String::new(), "7".to_owned())]);
        assert_eq!(find_path(json, "a.c"), Some("12.50"));
        assert_eq!(find_path(json, "a.x"), None);
        assert_eq!(find_path(json, "b.x"), None);
    }
}
