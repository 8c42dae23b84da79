//! The schema of a recipient's XML, generated from its profile.

use std::io::{self, Write};

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, Event};

use super::profile::{ExportProfile, FieldShape, LeafField, ValueType};

pub(super) const ROOT: &str = "records";
pub(super) const RECORD: &str = "record";
/// The schema's own type of whole numbers.
const INTEGER: &str = "integer";
const SCHEMA_NAMESPACE: &str = "http://www.w3.org/2001/XMLSchema";

/// Returns the namespace of a recipient's XML.
pub(super) fn namespace(profile: &ExportProfile) -> String {
    format!("urn:zeef:export:{}", profile.recipient)
}

/// Writes the schema. Every field may be missing; the order is that of the profile.
///
/// # Errors
///
/// Those of `out`.
pub fn write_xsd(profile: &ExportProfile, out: &mut impl Write) -> io::Result<()> {
    let mut schema = SchemaWriter(Writer::new_with_indent(&mut *out, b' ', 2));
    schema.0.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let namespace = namespace(profile);
    let root = [
        ("xmlns:xs", SCHEMA_NAMESPACE),
        ("xmlns:own", namespace.as_str()),
        ("targetNamespace", namespace.as_str()),
        ("elementFormDefault", "qualified"),
    ];
    schema.open("xs:schema", &root)?;
    if has_integers(profile) {
        schema.write_integer_type()?;
    }
    schema.open("xs:element", &[("name", ROOT)])?;
    schema.open_sequence()?;
    let many = [("name", RECORD), ("minOccurs", "0"), ("maxOccurs", "unbounded")];
    schema.open("xs:element", &many)?;
    schema.open_sequence()?;
    for field in &profile.fields {
        schema.write_field(&field.name, &field.shape)?;
    }
    schema.close_sequence()?;
    schema.close("xs:element")?;
    schema.close_sequence()?;
    schema.close("xs:element")?;
    schema.close("xs:schema")?;
    out.write_all(b"\n")
}

fn has_integers(profile: &ExportProfile) -> bool {
    let is_integer = |value_type: ValueType| type_name(value_type) == type_name(ValueType::Integer);
    profile.fields.iter().any(|field| match &field.shape {
        FieldShape::Leaf(value_type) | FieldShape::LeafList(value_type) => is_integer(*value_type),
        FieldShape::Object(leaves) | FieldShape::ObjectList(leaves) => {
            leaves.iter().any(|leaf| is_integer(leaf.value_type))
        }
    })
}

struct SchemaWriter<W>(Writer<W>);

impl<W: Write> SchemaWriter<W> {
    fn open(&mut self, name: &str, attributes: &[(&str, &str)]) -> io::Result<()> {
        let start = BytesStart::new(name).with_attributes(attributes.iter().copied());
        self.0.write_event(Event::Start(start))
    }

    fn close(&mut self, name: &str) -> io::Result<()> {
        self.0.write_event(Event::End(BytesEnd::new(name)))
    }

    fn open_sequence(&mut self) -> io::Result<()> {
        self.open("xs:complexType", &[])?;
        self.open("xs:sequence", &[])
    }

    fn close_sequence(&mut self) -> io::Result<()> {
        self.close("xs:sequence")?;
        self.close("xs:complexType")
    }

    fn empty(&mut self, name: &str, attributes: &[(&str, &str)]) -> io::Result<()> {
        let start = BytesStart::new(name).with_attributes(attributes.iter().copied());
        self.0.write_event(Event::Empty(start))
    }

    /// A tool need not know integers of more than 18 digits, and a source may have some.
    fn write_integer_type(&mut self) -> io::Result<()> {
        self.open("xs:simpleType", &[("name", INTEGER)])?;
        self.open("xs:union", &[("memberTypes", "xs:integer")])?;
        self.open("xs:simpleType", &[])?;
        self.open("xs:restriction", &[("base", "xs:string")])?;
        self.empty("xs:pattern", &[("value", "-?[0-9]{19,}")])?;
        self.close("xs:restriction")?;
        self.close("xs:simpleType")?;
        self.close("xs:union")?;
        self.close("xs:simpleType")
    }

    fn write_field(&mut self, name: &str, shape: &FieldShape) -> io::Result<()> {
        match shape {
            FieldShape::Leaf(value_type) => self.write_leaf(name, *value_type, "1"),
            FieldShape::LeafList(value_type) => self.write_leaf(name, *value_type, "unbounded"),
            FieldShape::Object(leaves) => self.write_object(name, leaves, "1"),
            FieldShape::ObjectList(leaves) => self.write_object(name, leaves, "unbounded"),
        }
    }

    fn write_object(&mut self, name: &str, leaves: &[LeafField], max: &str) -> io::Result<()> {
        let attributes = [("name", name), ("minOccurs", "0"), ("maxOccurs", max)];
        self.open("xs:element", &attributes)?;
        self.open_sequence()?;
        for leaf in leaves {
            self.write_leaf(&leaf.name, leaf.value_type, "1")?;
        }
        self.close_sequence()?;
        self.close("xs:element")
    }

    fn write_leaf(&mut self, name: &str, value_type: ValueType, max: &str) -> io::Result<()> {
        let attributes = [
            ("name", name),
            ("type", type_name(value_type)),
            ("minOccurs", "0"),
            ("maxOccurs", max),
        ];
        self.empty("xs:element", &attributes)
    }
}

fn type_name(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Text | ValueType::NestedText => "xs:string",
        ValueType::Date => "xs:date",
        ValueType::Instant => "xs:dateTime",
        ValueType::Amount | ValueType::Integer => "own:integer",
        ValueType::Boolean => "xs:boolean",
    }
}
