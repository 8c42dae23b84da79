//! What a record demands of its patron's record (F36): exactly the fields that it names.

use super::inspect::{OmittedValue, ValueInspector};
use super::write_value::{write_list, write_scalar, write_value_member};
use crate::engine::lane::demanded::{DemandedMember, DemandedReader};
use crate::engine::lane::gates::Refusal;
use crate::engine::lane::{Facts, LaneSource};
use crate::engine::record::RecordView;
use crate::engine::record::shape::ValueLocation;
use crate::engine::record::value::FieldValue;
use crate::json::buffer::OutputBuffer;
use crate::policy::reason::Reason;

/// Checks that the patron's record is at hand, and that no field is malformed that `list` names.
///
/// # Errors
///
/// [`Reason::PatronUnknown`] or [`Reason::Malformed`].
pub(in crate::engine) fn check_fields(
    facts: &Facts<'_>,
    source: &LaneSource,
    list: u16,
) -> Result<(), Refusal> {
    let (Some(reader), Some(record)) = (&facts.lane.demanded_reader, facts.patron_record) else {
        return Err(Refusal::changeable(Reason::PatronUnknown));
    };
    let names = DemandedNames::of_record(facts, source, list);
    let mut demanded = reader.leaves.iter().filter(|leaf| names.contains(&leaf.path));
    match demanded.any(|leaf| reader.is_malformed(record, leaf)) {
        true => Err(Refusal::changeable(Reason::Malformed)),
        false => Ok(()),
    }
}

/// The paths that a list of a record names.
#[derive(Clone, Copy)]
pub(super) struct DemandedNames<'a> {
    pub(super) record: RecordView<'a>,
    pub(super) list: u16,
    pub(super) stride: u16,
}

impl<'a> DemandedNames<'a> {
    fn of_record(facts: &Facts<'a>, source: &LaneSource, list: u16) -> DemandedNames<'a> {
        let stride = source.shape.list_strides().get(usize::from(list));
        DemandedNames { record: facts.record, list, stride: stride.copied().unwrap_or_default() }
    }

    pub(super) fn contains(self, path: &str) -> bool {
        let DemandedNames { record, list, stride } = self;
        let mut elements = 0..record.list_len(list);
        elements.any(|index| record.element(list, stride, index, 0).as_text() == Some(path))
    }
}

/// Writes what is demanded of one patron's record.
pub(in crate::engine) struct DemandedWriter<'w, 'a> {
    reader: &'a DemandedReader,
    patron: RecordView<'a>,
    names: DemandedNames<'a>,
    /// The patron's card numbers are left out.
    is_card_hidden: bool,
    step_index: usize,
    inspector: &'w mut ValueInspector<'a>,
}

impl<'w, 'a> DemandedWriter<'w, 'a> {
    /// `None` if the patron's record is not at hand.
    pub(in crate::engine) fn new(
        facts: &Facts<'a>,
        source: &LaneSource,
        (list, step_index): (u16, usize),
        inspector: &'w mut ValueInspector<'a>,
    ) -> Option<DemandedWriter<'w, 'a>> {
        let (reader, patron) = (facts.lane.demanded_reader.as_deref()?, facts.patron_record?);
        let is_card_hidden = reader.has_national_card(patron) && !inspector.is_authorised();
        let names = DemandedNames::of_record(facts, source, list);
        Some(DemandedWriter { reader, patron, names, is_card_hidden, step_index, inspector })
    }

    /// Writes an object of the demanded fields. `None` if there is none.
    pub(in crate::engine) fn write(
        &mut self,
        buffer: &mut OutputBuffer,
        start: usize,
    ) -> Option<usize> {
        let reader = self.reader;
        self.write_members(buffer, start, &reader.members, None)
    }

    /// `element` is the index in the list of objects that the members are in.
    fn write_members(
        &mut self,
        buffer: &mut OutputBuffer,
        start: usize,
        members: &[DemandedMember],
        element: Option<usize>,
    ) -> Option<usize> {
        let mut at = start;
        for member in members {
            at = match member {
                DemandedMember::Leaf { prefix, leaf }
                    if element.is_none() && self.is_list(*leaf) =>
                {
                    let value = buffer.write_prefix(at, prefix);
                    self.write_values(buffer, value, *leaf).unwrap_or(at)
                }
                DemandedMember::Leaf { prefix, leaf } => {
                    let value = self.value(*leaf, element);
                    write_value_member(buffer, at, prefix, value)
                }
                DemandedMember::Group { prefix, list: None, members } => {
                    let value = buffer.write_prefix(at, prefix);
                    self.write_members(buffer, value, members, element).unwrap_or(at)
                }
                DemandedMember::Group { prefix, list: Some(list), members } => {
                    let value = buffer.write_prefix(at, prefix);
                    let length = self.patron.list_len(*list);
                    let write = |buffer: &mut OutputBuffer, at: usize, index: usize| {
                        self.write_members(buffer, at, members, Some(index))
                    };
                    write_list(buffer, value, length, write).unwrap_or(at)
                }
            };
        }
        buffer.close_object(start, at)
    }

    /// Writes a list of single values. `None` if it is empty.
    fn write_values(
        &mut self,
        buffer: &mut OutputBuffer,
        start: usize,
        leaf: usize,
    ) -> Option<usize> {
        let ValueLocation::Element { list, .. } = self.reader.leaves.get(leaf)?.location else {
            return None;
        };
        write_list(buffer, start, self.patron.list_len(list), |buffer, at, index| {
            write_scalar(buffer, at, self.value(leaf, Some(index)))
        })
    }

    fn is_list(&self, leaf: usize) -> bool {
        let leaf = self.reader.leaves.get(leaf);
        leaf.is_some_and(|leaf| matches!(leaf.location, ValueLocation::Element { .. }))
    }

    /// The value of a leaf; missing if it is not demanded, or must be left out.
    fn value(&mut self, leaf_index: usize, element: Option<usize>) -> FieldValue<'a> {
        let Some(leaf) = self.reader.leaves.get(leaf_index) else {
            return FieldValue::Missing;
        };
        if !self.names.contains(&leaf.path) || (leaf.is_card_number && self.is_card_hidden) {
            return FieldValue::Missing;
        }
        let value = match element {
            Some(index) => self.reader.element(self.patron, leaf, index),
            None => self.reader.value(self.patron, leaf),
        };
        let omission = OmittedValue::part(self.step_index, leaf_index);
        self.inspector.inspect_value(value, leaf.is_card_number, omission)
    }
}
