//! The fields of a canonical record as a tree, and how they are written.

use crate::json::write;
use crate::policy::catalogue::{CatalogueField, FieldType};

use super::expression::{EvaluationScope, Expression};
use super::path::Scalar;
use super::refusal::{Fault, Refusal};

/// A canonical field and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct MappedField {
    pub(super) field: CatalogueField,
    pub(super) expression: Expression,
}

/// A member of a canonical record.
#[derive(Clone, Debug)]
pub(super) struct FieldNode {
    name: String,
    value: FieldValue,
}

#[derive(Clone, Debug)]
enum FieldValue {
    Scalar(Box<MappedField>),
    /// A list of that one value.
    ScalarList(Box<MappedField>),
    Object(Vec<FieldNode>),
    /// A list of that one object.
    ObjectList(Vec<FieldNode>),
}

/// A field that cannot be written.
#[derive(Debug)]
pub(super) struct FieldFault {
    pub(super) field: String,
    pub(super) fault: Fault,
}

/// A value that stands in place of what a field's expression yields.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldOverride {
    pub(super) path: &'static str,
    pub(super) value: &'static str,
}

/// Adds a field to a tree, at its path.
pub(super) fn insert_field(nodes: &mut Vec<FieldNode>, field: MappedField) {
    let path = field.field.path.clone();
    insert_at(nodes, &path, field);
}

fn insert_at(nodes: &mut Vec<FieldNode>, path: &str, field: MappedField) {
    let Some((part, rest)) = path.split_once('.') else {
        let (name, value) = match path.strip_suffix("[]") {
            Some(name) => (name, FieldValue::ScalarList(Box::new(field))),
            None => (path, FieldValue::Scalar(Box::new(field))),
        };
        nodes.push(FieldNode { name: name.to_owned(), value });
        return;
    };
    let (name, is_list) = match part.strip_suffix("[]") {
        Some(name) => (name, true),
        None => (part, false),
    };
    let known = nodes.iter().position(|node| node.name == name);
    let at = known.unwrap_or_else(|| {
        let children = Vec::new();
        let value = match is_list {
            true => FieldValue::ObjectList(children),
            false => FieldValue::Object(children),
        };
        nodes.push(FieldNode { name: name.to_owned(), value });
        nodes.len() - 1
    });
    match nodes.get_mut(at).map(|node| &mut node.value) {
        Some(FieldValue::Object(children) | FieldValue::ObjectList(children)) => {
            insert_at(children, rest, field);
        }
        // The catalogue has no path that is a value and goes into one.
        Some(FieldValue::Scalar(_) | FieldValue::ScalarList(_)) | None => {}
    }
}

impl FieldNode {
    /// Calls `take` for each mapped field of a tree.
    pub(super) fn for_each_field<'n>(
        nodes: &'n [FieldNode],
        take: &mut dyn FnMut(&'n MappedField),
    ) {
        for node in nodes {
            match &node.value {
                FieldValue::Scalar(field) | FieldValue::ScalarList(field) => take(field),
                FieldValue::Object(children) | FieldValue::ObjectList(children) => {
                    FieldNode::for_each_field(children, take);
                }
            }
        }
    }
}

/// Writes the members that have a value; an object without any is left out.
pub(super) struct RecordWriter<'m, 'a, 's> {
    pub(super) scope: &'s EvaluationScope<'m, 'a>,
    pub(super) replaced: Option<FieldOverride>,
    pub(super) out: Vec<u8>,
}

impl<'m> RecordWriter<'m, '_, '_> {
    /// Appends `,` where a member stands before, the name and a colon.
    pub(super) fn write_name(&mut self, name: &str) {
        if self.out.last().is_some_and(|last| *last != b'{') {
            self.out.push(b',');
        }
        write::string(&mut self.out, name);
        self.out.push(b':');
    }

    /// Appends a member whose value is `text`.
    pub(super) fn write_text(&mut self, name: &str, text: &str) {
        self.write_name(name);
        write::string(&mut self.out, text);
    }

    /// Appends all members of `nodes` that have a value.
    ///
    /// # Errors
    ///
    /// The first field whose value cannot be had or is of another type.
    pub(super) fn write_nodes(&mut self, nodes: &'m [FieldNode]) -> Result<(), FieldFault> {
        for node in nodes {
            match &node.value {
                FieldValue::Scalar(field) => {
                    if let Some(value) = self.field_value(field)? {
                        self.write_name(&node.name);
                        write_scalar(&mut self.out, &value);
                    }
                }
                FieldValue::ScalarList(field) => {
                    if let Some(value) = self.field_value(field)? {
                        self.write_name(&node.name);
                        self.out.push(b'[');
                        write_scalar(&mut self.out, &value);
                        self.out.push(b']');
                    }
                }
                FieldValue::Object(children) => self.write_object(&node.name, children, false)?,
                FieldValue::ObjectList(children) => {
                    self.write_object(&node.name, children, true)?
                }
            }
        }
        Ok(())
    }

    fn write_object(
        &mut self,
        name: &str,
        children: &'m [FieldNode],
        is_list: bool,
    ) -> Result<(), FieldFault> {
        let start = self.out.len();
        self.write_name(name);
        self.out.extend_from_slice(if is_list { b"[{" } else { b"{" });
        let empty = self.out.len();
        self.write_nodes(children)?;
        if self.out.len() == empty {
            self.out.truncate(start);
            return Ok(());
        }
        self.out.extend_from_slice(if is_list { b"}]" } else { b"}" });
        Ok(())
    }

    fn field_value(&self, field: &'m MappedField) -> Result<Option<Scalar<'m>>, FieldFault> {
        let path = &field.field.path;
        if let Some(replaced) = self.replaced.filter(|replaced| replaced.path == path) {
            return Ok(Some(Scalar::text(replaced.value)));
        }
        let refuse = |fault| FieldFault { field: path.clone(), fault };
        let value = field.expression.evaluate(self.scope).map_err(refuse)?;
        if let Some(value) = &value {
            check_value(&field.field, value).map_err(|refusal| refuse(refusal.into()))?;
        }
        Ok(value)
    }
}

/// Whether a value is of a field's type, and of its list where it has one.
///
/// # Errors
///
/// [`Refusal::WrongType`], [`Refusal::Unmapped`].
pub(super) fn check_value(field: &CatalogueField, value: &Scalar<'_>) -> Result<(), Refusal> {
    let fits = match (field.field_type, value) {
        (FieldType::Text(_) | FieldType::CardNumber, value) => matches!(value, Scalar::Text(_)),
        (FieldType::TextOrNumber, value) => !matches!(value, Scalar::Boolean(_)),
        (FieldType::Boolean, value) => matches!(value, Scalar::Boolean(_)),
        (FieldType::Integer, Scalar::Number(number)) => {
            let digits = number.strip_prefix('-').unwrap_or(number);
            digits.bytes().all(|byte| byte.is_ascii_digit())
        }
        (FieldType::Integer, _) => false,
    };
    if !fits {
        return Err(Refusal::WrongType);
    }
    let is_listed = field.allowed_values.iter().any(|allowed| *allowed == *value.to_text());
    if !field.allowed_values.is_empty() && !is_listed {
        return Err(Refusal::Unmapped);
    }
    Ok(())
}

fn write_scalar(out: &mut Vec<u8>, value: &Scalar<'_>) {
    match value {
        Scalar::Text(text) => write::string(out, text),
        Scalar::Number(text) => out.extend_from_slice(text.as_bytes()),
        Scalar::Boolean(_) => out.extend_from_slice(value.to_text().as_bytes()),
    }
}
