//! Outputs as XML, valid by the schema of [`super::xsd`].

use std::io::{self, Write};

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use super::profile::{ExportProfile, FieldShape, LeafField, ValueType};
use super::record::{ExportRecord, FieldValue};
use super::xsd::{RECORD, ROOT, namespace};

/// Stands for a character that XML cannot hold.
const REPLACEMENT: char = '\u{fffd}';

/// Writes all records, in elements named as the fields.
///
/// # Errors
///
/// Those of `out`.
pub fn write_xml<'a>(
    profile: &ExportProfile,
    records: impl Iterator<Item = &'a ExportRecord>,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut writer = Writer::new_with_indent(&mut *out, b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let namespace = namespace(profile);
    let root = BytesStart::new(ROOT).with_attributes([("xmlns", namespace.as_str())]);
    writer.write_event(Event::Start(root))?;
    for record in records {
        writer.write_event(Event::Start(BytesStart::new(RECORD)))?;
        for (field, value) in profile.fields.iter().zip(&record.values) {
            write_field(&mut writer, &field.name, &field.shape, value)?;
        }
        writer.write_event(Event::End(BytesEnd::new(RECORD)))?;
    }
    writer.write_event(Event::End(BytesEnd::new(ROOT)))?;
    out.write_all(b"\n")
}

fn write_field<W: Write>(
    writer: &mut Writer<W>,
    name: &str,
    shape: &FieldShape,
    value: &FieldValue,
) -> io::Result<()> {
    match (shape, value) {
        (FieldShape::Leaf(value_type), FieldValue::Single(text)) => {
            write_single(writer, name, *value_type, text)
        }
        (FieldShape::LeafList(value_type), FieldValue::List(list)) => {
            list.iter().try_for_each(|text| write_single(writer, name, *value_type, text))
        }
        (FieldShape::Object(leaves), FieldValue::Object(values)) => {
            write_object(writer, name, leaves, values)
        }
        (FieldShape::ObjectList(leaves), FieldValue::Objects(objects)) => {
            objects.iter().try_for_each(|values| write_object(writer, name, leaves, values))
        }
        _ => Ok(()),
    }
}

fn write_object<W: Write>(
    writer: &mut Writer<W>,
    name: &str,
    leaves: &[LeafField],
    values: &[Option<String>],
) -> io::Result<()> {
    writer.write_event(Event::Start(BytesStart::new(name)))?;
    for (leaf, value) in leaves.iter().zip(values) {
        if let Some(text) = value {
            write_single(writer, &leaf.name, leaf.value_type, text)?;
        }
    }
    writer.write_event(Event::End(BytesEnd::new(name)))
}

fn write_single<W: Write>(
    writer: &mut Writer<W>,
    name: &str,
    value_type: ValueType,
    text: &str,
) -> io::Result<()> {
    let text = match value_type {
        ValueType::Text | ValueType::NestedText => allowed_text(text),
        _ => text.to_owned(),
    };
    let element = writer.create_element(name);
    element.write_text_content(BytesText::new(&text))?;
    Ok(())
}

/// Returns `text` with every character that XML 1.0 forbids replaced, and carriage returns,
/// which a parser would change, as line feeds.
pub(super) fn allowed_text(text: &str) -> String {
    text.replace("\r\n", "\n").chars().map(allowed_char).collect()
}

fn allowed_char(c: char) -> char {
    match c {
        '\r' => '\n',
        '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => c,
        _ => REPLACEMENT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_holds_only_characters_of_xml() {
        assert_eq!(
            allowed_text("a\u{0}b\u{1b}c\u{ffff}d\u{fffe}"),
            "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}"
        );
        assert_eq!(allowed_text("a\r\nb\rc\td\u{7f}字\u{1f600}"), "a\nb\nc\td\u{7f}字\u{1f600}");
    }

    #[test]
    fn values_are_escaped_and_missing_ones_left_out() {
        let shape = FieldShape::Leaf(ValueType::Text);
        let field =
            |name: &str| super::super::ExportField { name: name.to_owned(), shape: shape.clone() };
        let profile = ExportProfile {
            recipient: "test".to_owned(),
            fields: vec![field("name"), field("title")],
        };
        let value = FieldValue::Single("<a> & \"b\" ]]>".to_owned());
        let record = ExportRecord { values: vec![FieldValue::Missing, value] };
        let mut out = Vec::new();
        write_xml(&profile, [record].iter(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<records xmlns=\"urn:zeef:export:test\">\n  \
             <record>\n    <title>&lt;a&gt; &amp; &quot;b&quot; ]]&gt;</title>\n  </record>\n\
             </records>\n"
        );
    }
}
