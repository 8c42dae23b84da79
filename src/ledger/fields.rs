//! Which leaves of an activity an output has.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Leaves from this one on share a bit.
const SHARED_BIT: usize = 127;

/// Returns which leaves have a value in an output: bit i for `leaves[i]`. A leaf is a path of
/// member names with dots between them, and `[]` behind a list.
#[must_use]
pub fn field_bits(leaves: &[String], output: &[u8]) -> u128 {
    let mut walk = Walk { leaves, path: String::new(), bits: 0 };
    let mut json = serde_json::Deserializer::from_slice(output);
    match ValueSeed(&mut walk).deserialize(&mut json) {
        Ok(_) => walk.bits,
        Err(_) => 0,
    }
}

/// Returns the bit of a leaf, by its index.
#[must_use]
pub fn leaf_bit(leaf: usize) -> u128 {
    1 << leaf.min(SHARED_BIT)
}

/// Returns the leaves that bits stand for.
pub fn leaf_names(leaves: &[String], bits: u128) -> impl Iterator<Item = &str> {
    let is_set = move |at: usize| bits & leaf_bit(at) != 0;
    leaves.iter().enumerate().filter(move |(at, _)| is_set(*at)).map(|(_, leaf)| leaf.as_str())
}

/// Returns the field that a leaf is, or is a part of.
#[must_use]
pub fn field_of_leaf(leaf: &str) -> &str {
    leaf.split(['.', '[']).next().unwrap_or(leaf)
}

struct Walk<'a> {
    leaves: &'a [String],
    /// Of the value at hand.
    path: String,
    bits: u128,
}

impl Walk<'_> {
    fn leaf_index(&self) -> Option<usize> {
        self.leaves.iter().position(|leaf| *leaf == self.path)
    }

    fn set(&mut self, leaf: usize) {
        self.bits |= leaf_bit(leaf);
    }
}

/// Walks through a value; returns whether there is something in it.
struct ValueSeed<'w, 'a>(&'w mut Walk<'a>);

impl<'de> DeserializeSeed<'de> for ValueSeed<'_, '_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        let leaf = self.0.leaf_index().filter(|_| !self.0.path.is_empty());
        let has_value = deserializer.deserialize_any(ValueVisitor(&mut *self.0))?;
        if let Some(leaf) = leaf.filter(|_| has_value) {
            self.0.set(leaf);
        }
        Ok(has_value)
    }
}

struct ValueVisitor<'w, 'a>(&'w mut Walk<'a>);

impl<'de> Visitor<'de> for ValueVisitor<'_, '_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E>(self, _value: bool) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_i64<E>(self, _value: i64) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_u64<E>(self, _value: u64) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_f64<E>(self, _value: f64) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_str<E>(self, _value: &str) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let length = self.0.path.len();
        self.0.path.push_str("[]");
        let mut has_value = false;
        while let Some(found) = list.next_element_seed(ValueSeed(&mut *self.0))? {
            has_value |= found;
        }
        self.0.path.truncate(length);
        Ok(has_value)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<bool, A::Error> {
        let length = self.0.path.len();
        let mut has_value = false;
        while object.next_key_seed(NameSeed(&mut self.0.path))?.is_some() {
            has_value |= object.next_value_seed(ValueSeed(&mut *self.0))?;
            self.0.path.truncate(length);
        }
        Ok(has_value)
    }
}

/// Appends a member's name to the path.
struct NameSeed<'p>(&'p mut String);

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<(), E> {
        if !self.0.is_empty() {
            self.0.push('.');
        }
        self.0.push_str(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn field_bits_name_the_leaves_with_a_value() {
        let leaves = leaves(&["a", "b", "c.d", "c.e", "f[].g", "f[].h", "i[]", "j", "k"]);
        let output = br#"{"a":1,"b":null,"c":{"e":"x"},"f":[{"g":null},{"g":false}],"i":[],
            "j":["line","two"],"k":{"other":[{"x":"y"}]},"unlisted":1}"#;
        let bits = field_bits(&leaves, output);
        let named: Vec<&str> = leaf_names(&leaves, bits).collect();
        assert_eq!(named, ["a", "c.e", "f[].g", "j", "k"]);
        assert_eq!(field_bits(&leaves, b"{"), 0);
    }

    #[test]
    fn leaves_beyond_the_last_bit_share_it() {
        let names: Vec<String> = (0..200).map(|at| format!("f{at}")).collect();
        let bits = field_bits(&names, br#"{"f3":1,"f150":1}"#);
        assert_eq!(bits, 1 << 127 | 1 << 3);
        assert_eq!(leaf_names(&names, bits).count(), 1 + 73);
    }
}
