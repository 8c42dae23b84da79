//! The schema of a writer, as far as it says how bytes are read.
//!
//! Aliases, defaults and documentation are for readers with a schema of their own, and skipped;
//! so are logical types but `uuid`, whose sixteen bytes are a text elsewhere.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};

/// The schema of a writer.
#[derive(Debug)]
pub struct AvroSchema {
    types: Vec<AvroType>,
    root: TypeIndex,
}

/// A type of a schema. Types that contain themselves are circles of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TypeIndex(usize);

#[derive(Debug)]
pub(super) enum AvroType {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    /// So many bytes.
    Fixed(usize),
    /// Sixteen bytes that are a UUID.
    FixedUuid,
    Enum(Vec<String>),
    Record(Vec<(String, TypeIndex)>),
    List(TypeIndex),
    Map(TypeIndex),
    Union(Vec<TypeIndex>),
}

/// Why a text is no Avro schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[error("no JSON")]
    NotJson,
    #[error("unknown type `{0}`")]
    UnknownType(String),
    #[error("`{0}` is defined twice")]
    DefinedTwice(String),
    #[error("a type without `{0}`, or with one that Avro does not have")]
    Incomplete(&'static str),
    #[error("a union directly in a union")]
    NestedUnion,
}

fn find_primitive(name: &str) -> Option<AvroType> {
    Some(match name {
        "null" => AvroType::Null,
        "boolean" => AvroType::Boolean,
        "int" => AvroType::Int,
        "long" => AvroType::Long,
        "float" => AvroType::Float,
        "double" => AvroType::Double,
        "bytes" => AvroType::Bytes,
        "string" => AvroType::Text,
        _ => return None,
    })
}

/// The bytes of a UUID.
const UUID_BYTES: usize = 16;

impl AvroSchema {
    /// Reads a schema.
    ///
    /// # Errors
    ///
    /// Why the text is none.
    pub fn parse(text: &str) -> Result<AvroSchema, SchemaError> {
        AvroSchema::parse_all(&[text])
    }

    /// Reads the last of some schemas. Each may name the types of those before it.
    ///
    /// # Errors
    ///
    /// Why one of the texts is none, or that there is none.
    pub fn parse_all(texts: &[impl AsRef<str>]) -> Result<AvroSchema, SchemaError> {
        let mut parser = SchemaParser::default();
        let mut root = None;
        for text in texts {
            let schema: Value =
                serde_json::from_str(text.as_ref()).map_err(|_| SchemaError::NotJson)?;
            root = Some(parser.parse_type(&schema, "")?);
        }
        let root = root.ok_or(SchemaError::Incomplete("type"))?;
        Ok(AvroSchema { types: parser.types, root })
    }

    pub(super) fn root(&self) -> TypeIndex {
        self.root
    }

    pub(super) fn type_at(&self, at: TypeIndex) -> Option<&AvroType> {
        self.types.get(at.0)
    }
}

#[derive(Default)]
struct SchemaParser {
    types: Vec<AvroType>,
    /// By full name.
    named: HashMap<String, TypeIndex>,
}

impl SchemaParser {
    /// Appends a type, in the namespace around it.
    fn parse_type(&mut self, schema: &Value, namespace: &str) -> Result<TypeIndex, SchemaError> {
        match schema {
            Value::String(name) => self.find_named(name, namespace),
            Value::Array(branches) => self.parse_union(branches, namespace),
            Value::Object(members) => match members.get("type") {
                Some(Value::String(word)) => self.parse_object(word, members, namespace),
                Some(inner) => self.parse_type(inner, namespace),
                None => Err(SchemaError::Incomplete("type")),
            },
            _ => Err(SchemaError::Incomplete("type")),
        }
    }

    fn push(&mut self, new: AvroType) -> TypeIndex {
        self.types.push(new);
        TypeIndex(self.types.len() - 1)
    }

    /// A primitive type, or one that was defined before.
    fn find_named(&mut self, name: &str, namespace: &str) -> Result<TypeIndex, SchemaError> {
        if let Some(primitive) = find_primitive(name) {
            return Ok(self.push(primitive));
        }
        let known = self.named.get(&full_name(name, namespace)).or_else(|| self.named.get(name));
        known.copied().ok_or_else(|| SchemaError::UnknownType(name.to_owned()))
    }

    fn parse_union(
        &mut self,
        branches: &[Value],
        namespace: &str,
    ) -> Result<TypeIndex, SchemaError> {
        let mut types = Vec::new();
        for branch in branches {
            let branch = self.parse_type(branch, namespace)?;
            if matches!(self.types.get(branch.0), Some(AvroType::Union(_))) {
                return Err(SchemaError::NestedUnion);
            }
            types.push(branch);
        }
        Ok(self.push(AvroType::Union(types)))
    }

    fn parse_object(
        &mut self,
        word: &str,
        members: &Map<String, Value>,
        namespace: &str,
    ) -> Result<TypeIndex, SchemaError> {
        let inner = |name| members.get(name).ok_or(SchemaError::Incomplete(name));
        match word {
            "array" => {
                let items = self.parse_type(inner("items")?, namespace)?;
                Ok(self.push(AvroType::List(items)))
            }
            "map" => {
                let values = self.parse_type(inner("values")?, namespace)?;
                Ok(self.push(AvroType::Map(values)))
            }
            "record" | "error" => {
                let (at, namespace) = self.define(members, namespace)?;
                let fields = self.parse_fields(members, &namespace)?;
                self.complete(at, AvroType::Record(fields));
                Ok(at)
            }
            "enum" => {
                let (at, _) = self.define(members, namespace)?;
                self.complete(at, AvroType::Enum(parse_symbols(members)?));
                Ok(at)
            }
            "fixed" => {
                let (at, _) = self.define(members, namespace)?;
                self.complete(at, parse_fixed(members)?);
                Ok(at)
            }
            name => self.find_named(name, namespace),
        }
    }

    /// Gives a named type its place, before what is in it. Returns the namespace inside it too.
    fn define(
        &mut self,
        members: &Map<String, Value>,
        around: &str,
    ) -> Result<(TypeIndex, String), SchemaError> {
        let text = |name| members.get(name).and_then(Value::as_str);
        let name = text("name").filter(|name| !name.is_empty());
        let name = name.ok_or(SchemaError::Incomplete("name"))?;
        let full = full_name(name, text("namespace").unwrap_or(around));
        let at = self.push(AvroType::Null);
        if self.named.insert(full.clone(), at).is_some() {
            return Err(SchemaError::DefinedTwice(full));
        }
        let namespace = full.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        Ok((at, namespace.to_owned()))
    }

    fn complete(&mut self, at: TypeIndex, with: AvroType) {
        if let Some(place) = self.types.get_mut(at.0) {
            *place = with;
        }
    }

    fn parse_fields(
        &mut self,
        members: &Map<String, Value>,
        namespace: &str,
    ) -> Result<Vec<(String, TypeIndex)>, SchemaError> {
        let written = members.get("fields").and_then(Value::as_array);
        let mut fields = Vec::new();
        let mut names = BTreeSet::new();
        for field in written.ok_or(SchemaError::Incomplete("fields"))? {
            let name = field.get("name").and_then(Value::as_str);
            let name = name.ok_or(SchemaError::Incomplete("name"))?;
            if !names.insert(name) {
                return Err(SchemaError::DefinedTwice(name.to_owned()));
            }
            let inner = field.get("type").ok_or(SchemaError::Incomplete("type"))?;
            fields.push((name.to_owned(), self.parse_type(inner, namespace)?));
        }
        Ok(fields)
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    match name.contains('.') || namespace.is_empty() {
        true => name.to_owned(),
        false => format!("{namespace}.{name}"),
    }
}

fn parse_symbols(members: &Map<String, Value>) -> Result<Vec<String>, SchemaError> {
    let symbols = members.get("symbols").and_then(Value::as_array);
    let symbols = symbols.ok_or(SchemaError::Incomplete("symbols"))?;
    let text = |symbol: &Value| symbol.as_str().map(str::to_owned);
    symbols.iter().map(text).collect::<Option<_>>().ok_or(SchemaError::Incomplete("symbols"))
}

fn parse_fixed(members: &Map<String, Value>) -> Result<AvroType, SchemaError> {
    let size = members.get("size").and_then(Value::as_u64);
    let size = size.and_then(|size| usize::try_from(size).ok());
    let size = size.ok_or(SchemaError::Incomplete("size"))?;
    let is_uuid = members.get("logicalType").and_then(Value::as_str) == Some("uuid");
    Ok(match is_uuid && size == UUID_BYTES {
        true => AvroType::FixedUuid,
        false => AvroType::Fixed(size),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(text: &str, want: &str) {
        let error = AvroSchema::parse(text).unwrap_err();
        assert_eq!(error.to_string(), want, "{text}");
    }

    #[test]
    fn avro_schema_finds_names_in_their_namespaces() {
        for text in [
            r#""string""#,
            r#"{"type":{"type":"int","connect.name":"io.debezium.time.Date"}}"#,
            r#"{"type":"record","name":"a.Row","fields":[{"name":"next","type":["null","Row"]}]}"#,
            r#"{"type":"record","name":"Envelope","namespace":"koha.issues","fields":[
                {"name":"before","type":["null",{"type":"record","name":"Value","fields":[]}]},
                {"name":"after","type":["null","Value"]},
                {"name":"again","type":{"type":"array","items":"koha.issues.Value"}}]}"#,
            r#"[{"type":"enum","name":"E","symbols":["A"]},{"type":"map","values":"E"}]"#,
        ] {
            AvroSchema::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        }
    }

    #[test]
    fn avro_schema_names_the_types_of_those_before_it() {
        let value =
            r#"{"type":"record","name":"koha.Value","fields":[{"name":"id","type":"int"}]}"#;
        let list = r#"{"type":"array","items":"koha.Value"}"#;
        let envelope = r#"{"type":"record","name":"koha.Envelope","fields":[
            {"name":"before","type":["null","Value"]},{"name":"after","type":"koha.Value"}]}"#;
        AvroSchema::parse_all(&[value, list, envelope]).unwrap();
        let error = AvroSchema::parse_all(&[envelope, value]).unwrap_err();
        assert_eq!(error.to_string(), "unknown type `Value`");
        let twice = AvroSchema::parse_all(&[value, value]).unwrap_err();
        assert_eq!(twice.to_string(), "`koha.Value` is defined twice");
        assert!(AvroSchema::parse_all(&[""; 0]).is_err());
    }

    #[test]
    fn avro_schema_refuses_what_avro_does_not_have() {
        check_refused("{", "no JSON");
        check_refused("7", "a type without `type`, or with one that Avro does not have");
        check_refused(r#""strin""#, "unknown type `strin`");
        check_refused(r#"{"type":"Row"}"#, "unknown type `Row`");
        check_refused(r#"[["null"]]"#, "a union directly in a union");
        check_refused(
            r#"[{"type":"fixed","name":"a","size":1},{"type":"enum","name":"a","symbols":[]}]"#,
            "`a` is defined twice",
        );
        check_refused(
            r#"{"type":"record","name":"a","fields":[{"name":"b","type":"int"},{"name":"b","type":"int"}]}"#,
            "`b` is defined twice",
        );
        check_refused(
            r#"{"type":"fixed","name":"a","size":-1}"#,
            "a type without `size`, or with one that Avro does not have",
        );
        check_refused(
            r#"{"type":"enum","name":"a","symbols":[1]}"#,
            "a type without `symbols`, or with one that Avro does not have",
        );
    }
}
