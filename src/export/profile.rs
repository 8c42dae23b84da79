//! The fields of a recipient's outputs, with their shapes and types.

/// The type of a single value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    Text,
    /// `YYYY-MM-DD`.
    Date,
    /// RFC 3339.
    Instant,
    /// An integer of cents.
    Amount,
    Integer,
    Boolean,
    /// A value of a nested object, with its path before it.
    NestedText,
}

/// A field that holds single values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafField {
    pub name: String,
    pub value_type: ValueType,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldShape {
    Leaf(ValueType),
    Object(Vec<LeafField>),
    ObjectList(Vec<LeafField>),
    LeafList(ValueType),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportField {
    pub name: String,
    pub shape: FieldShape,
}

/// The fields of a recipient's outputs, in the order of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportProfile {
    pub recipient: String,
    pub fields: Vec<ExportField>,
}

impl ExportProfile {
    /// Returns the index of the field with this name.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }
}
