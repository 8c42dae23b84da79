//! How a patron's record is read for what other records demand of it (F36).

use super::LaneSource;
use crate::engine::record::RecordView;
use crate::engine::record::shape::ValueLocation;
use crate::engine::record::value::{FieldValue, SlotState};
use crate::json::buffer::MemberPrefix;

/// Reads the fields of a patron's record that may be demanded.
#[derive(Debug)]
pub struct DemandedReader {
    /// The patron kind, of which each of these fields is wanted. It is no source of the lane.
    pub source: LaneSource,
    /// In the catalogue's order.
    pub leaves: Vec<DemandedLeaf>,
    /// The leaves, nested as in a record.
    pub members: Vec<DemandedMember>,
}

/// A field that may be demanded.
#[derive(Debug)]
pub struct DemandedLeaf {
    pub path: String,
    pub location: ValueLocation,
    pub is_card_number: bool,
}

#[derive(Debug)]
pub enum DemandedMember {
    Leaf {
        prefix: MemberPrefix,
        /// An index of [`DemandedReader::leaves`].
        leaf: usize,
    },
    /// An object, or a list of objects.
    Group { prefix: MemberPrefix, list: Option<u16>, members: Vec<DemandedMember> },
}

impl DemandedReader {
    /// Returns the value of a leaf that is not in a list.
    #[must_use]
    pub fn value<'a>(&self, record: RecordView<'a>, leaf: &DemandedLeaf) -> FieldValue<'a> {
        match leaf.location {
            ValueLocation::Slot(slot) => record.value(slot),
            ValueLocation::Element { .. } => FieldValue::Missing,
        }
    }

    /// Returns the value of a leaf in one element of its list.
    #[must_use]
    pub fn element<'a>(
        &self,
        record: RecordView<'a>,
        leaf: &DemandedLeaf,
        index: usize,
    ) -> FieldValue<'a> {
        let ValueLocation::Element { list, slot } = leaf.location else {
            return FieldValue::Missing;
        };
        let stride = self.source.shape.list_strides().get(usize::from(list));
        record.element(list, stride.copied().unwrap_or_default(), index, slot)
    }

    /// Whether a leaf is malformed; of a list, in any element.
    #[must_use]
    pub fn is_malformed(&self, record: RecordView<'_>, leaf: &DemandedLeaf) -> bool {
        let is_card_unclear =
            || self.card_fact(record).is_some_and(|state| state == SlotState::Malformed);
        if leaf.is_card_number && is_card_unclear() {
            return true;
        }
        match leaf.location {
            ValueLocation::Slot(slot) => record.value(slot).is_malformed(),
            ValueLocation::Element { list, .. } => {
                let mut elements = 0..record.list_len(list);
                record.is_list_malformed(list)
                    || elements.any(|index| self.element(record, leaf, index).is_malformed())
            }
        }
    }

    /// Whether the patron's card number is a national number.
    #[must_use]
    pub fn has_national_card(&self, record: RecordView<'_>) -> bool {
        self.card_fact(record) == Some(SlotState::True)
    }

    fn card_fact(&self, record: RecordView<'_>) -> Option<SlotState> {
        self.source.card_fact.map(|card| record.slot(card.fact_slot).state())
    }
}
