//! The profile of a recipient of the policy, and how its libraries are told apart.

use super::profile::{ExportField, ExportProfile, FieldShape, LeafField, ValueType};
use crate::policy::Policy;
use crate::policy::catalogue::{FieldType, RecordKind};
use crate::policy::form::TextFormat;
use crate::policy::recipient::{
    DemandedPart, FieldProjection, FieldRef, OutputTopics, OutputValue, Recipient, RecordSummary,
    ServedLibraries, SubField, SummaryFunction,
};

/// The ending of names of amounts in cents.
const AMOUNT_SUFFIX: &str = "_cents";
/// The field that says which library an output belongs to.
const LIBRARY_FIELD: &str = "library";

/// Returns the profile of a recipient of `policy`.
#[must_use]
pub fn export_profile(recipient: &Recipient, policy: &Policy) -> ExportProfile {
    let types = FieldTypes { recipient, policy };
    let fields = recipient.output_fields.iter().map(|field| ExportField {
        name: field.name.clone(),
        shape: types.shape_of(&field.name, &field.value),
    });
    ExportProfile { recipient: recipient.name.clone(), fields: fields.collect() }
}

/// How the outputs of one library are told from those of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LibrarySelection {
    /// The recipient serves this library alone.
    All,
    /// This output field holds the library.
    Field(usize),
    /// The library has a topic of its own.
    Topic(String),
    /// The recipient does not serve the library.
    NotServed,
    /// Outputs do not say whose they are.
    Unknown,
}

/// Returns how to find the outputs of `library`.
#[must_use]
pub fn select_library(recipient: &Recipient, policy: &Policy, library: &str) -> LibrarySelection {
    if let ServedLibraries::Only(served) = &recipient.libraries {
        match served.as_slice() {
            [only] if only == library => return LibrarySelection::All,
            _ if !served.iter().any(|one| one == library) => return LibrarySelection::NotServed,
            _ => {}
        }
    }
    let types = FieldTypes { recipient, policy };
    if let OutputTopics::PerParty { party_field, topic_by_party } = &recipient.topics
        && types.is_library(party_field)
    {
        let mut topics = topic_by_party.iter();
        return match topics.find(|(party, _)| party == library) {
            Some((_, topic)) => LibrarySelection::Topic(topic.clone()),
            None => LibrarySelection::NotServed,
        };
    }
    let holds_library = |value: &OutputValue| match value {
        OutputValue::Scalar(FieldProjection { from: Some(from), mask: None, .. }) => {
            types.is_library(from)
        }
        _ => false,
    };
    let fields = &recipient.output_fields;
    match fields.iter().position(|field| holds_library(&field.value)) {
        Some(index) => LibrarySelection::Field(index),
        None => LibrarySelection::Unknown,
    }
}

/// Looks up the catalogue's types of what a recipient's fields come from.
struct FieldTypes<'a> {
    recipient: &'a Recipient,
    policy: &'a Policy,
}

impl FieldTypes<'_> {
    fn shape_of(&self, name: &str, value: &OutputValue) -> FieldShape {
        match value {
            OutputValue::Scalar(projection) => FieldShape::Leaf(self.scalar_type(name, projection)),
            OutputValue::First(projections) => {
                let mut types = projections.iter().map(|one| self.scalar_type(name, one));
                let first = types.next().unwrap_or(ValueType::Text);
                let is_common = types.all(|one| one == first);
                FieldShape::Leaf(if is_common { first } else { ValueType::Text })
            }
            OutputValue::Object { from, fields } => FieldShape::Object(self.leaves(from, fields)),
            OutputValue::ObjectList { from, fields } => {
                FieldShape::ObjectList(self.leaves(from, fields))
            }
            OutputValue::ScalarList { from } => FieldShape::LeafList(self.type_at(name, from)),
            OutputValue::Demanded { shows: DemandedPart::Values, .. } => {
                FieldShape::LeafList(ValueType::NestedText)
            }
            OutputValue::Demanded { shows: DemandedPart::Number, .. } => {
                FieldShape::Leaf(ValueType::Integer)
            }
            OutputValue::ShelfSlip { .. } => FieldShape::LeafList(ValueType::Text),
            OutputValue::ChannelWord | OutputValue::NamedPatron => {
                FieldShape::Leaf(ValueType::Text)
            }
            OutputValue::Summary(summary) => self.summary_shape(name, summary),
        }
    }

    fn summary_shape(&self, name: &str, summary: &RecordSummary) -> FieldShape {
        let kind = self.policy.record_kinds.get(summary.kind_index);
        match &summary.function {
            SummaryFunction::Sum(path) => FieldShape::Leaf(value_type(name, kind, path)),
            SummaryFunction::Count => FieldShape::Leaf(ValueType::Integer),
            SummaryFunction::Any(_) => FieldShape::Leaf(ValueType::Text),
            SummaryFunction::List { fields, .. } => {
                let leaf = |field: &SubField| LeafField {
                    name: field.name.clone(),
                    value_type: value_type(&field.name, kind, &field.path),
                };
                FieldShape::ObjectList(fields.iter().map(leaf).collect())
            }
        }
    }

    /// A mask's result is text, whatever it was made of.
    fn scalar_type(&self, name: &str, projection: &FieldProjection) -> ValueType {
        match (&projection.from, &projection.mask) {
            (Some(from), None) => self.type_at(name, from),
            _ => ValueType::Text,
        }
    }

    fn leaves(&self, parent: &FieldRef, fields: &[SubField]) -> Vec<LeafField> {
        let leaf = |field: &SubField| {
            let from = FieldRef { is_joined: parent.is_joined, path: field.path.clone() };
            LeafField { name: field.name.clone(), value_type: self.type_at(&field.name, &from) }
        };
        fields.iter().map(leaf).collect()
    }

    fn kind_of(&self, field: &FieldRef) -> Option<&RecordKind> {
        match field.is_joined {
            true => self.policy.patron_kind(),
            false => self.policy.record_kinds.get(self.recipient.source_kind_index),
        }
    }

    fn type_at(&self, name: &str, from: &FieldRef) -> ValueType {
        value_type(name, self.kind_of(from), &from.path)
    }

    /// Returns whether a field is the library of the record or of its patron.
    fn is_library(&self, field: &FieldRef) -> bool {
        let known = self.kind_of(field).and_then(|kind| kind.field(&field.path));
        let isil = FieldType::Text(Some(TextFormat::Isil));
        field.path == LIBRARY_FIELD && known.is_some_and(|known| known.field_type == isil)
    }
}

/// Returns the type of what an output calls `name`, of a field of `kind`.
fn value_type(name: &str, kind: Option<&RecordKind>, path: &str) -> ValueType {
    let field = kind.and_then(|kind| kind.field(path));
    match field.map(|field| field.field_type) {
        Some(FieldType::Integer) if name.ends_with(AMOUNT_SUFFIX) => ValueType::Amount,
        Some(FieldType::Integer) => ValueType::Integer,
        Some(FieldType::Boolean) => ValueType::Boolean,
        Some(FieldType::Text(Some(TextFormat::Date))) => ValueType::Date,
        Some(FieldType::Text(Some(TextFormat::Instant))) => ValueType::Instant,
        Some(FieldType::Text(_) | FieldType::CardNumber | FieldType::TextOrNumber) | None => {
            ValueType::Text
        }
    }
}
