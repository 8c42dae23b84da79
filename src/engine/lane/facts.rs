//! The record and its patron, as a program sees them.

use super::gates::{AtHand, GateInput, GatePatron};
use super::{FieldLocation, Lane, LaneSource, Program, ROW_LIBRARY_SLOT};
use crate::engine::memory::consents::{NamedPatron, PatronConsents};
use crate::engine::memory::patron_records::PatronRecords;
use crate::engine::memory::patrons::PatronRow;
use crate::engine::record::RecordView;
use crate::engine::record::national_number::PatronNationalNumbers;
use crate::engine::record::shape::ValueLocation;
use crate::engine::record::value::{FieldValue, SlotState};
use crate::policy::catalogue::Role;
use crate::policy::reason::Reason;

/// The country of a Belgian library, as its ISIL has it.
pub(in crate::engine) const BELGIUM_ISIL_PREFIX: &str = "BE";

/// The record and its patron, for one recipient.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub lane: &'a Lane,
    pub record: RecordView<'a>,
    pub patron_row: Option<&'a PatronRow>,
    pub patron_consents: Option<&'a PatronConsents>,
    /// The kept records of the patron.
    pub patron_records: Option<&'a PatronRecords>,
    /// The batch's time, in milliseconds since 1970.
    pub now_ms: i64,
    /// The results of the source's shared tests; empty if they were not run.
    pub shared_test_results: &'a [Result<(), Reason>],
    /// Whether the patron is a member now.
    pub is_active_member: bool,
    /// `None` if no national number of the patron is known.
    pub national_numbers: Option<&'a PatronNationalNumbers>,
    /// A national number stands in the record or in the row outside of its own field, so
    /// each copied value must be inspected.
    pub has_suspect_copies: bool,
    /// The row's card number, if it is a national number and the recipient may never have one:
    /// it counts as missing.
    pub hidden_slot: Option<u16>,
    /// The patron's record, where it is at hand.
    pub patron_record: Option<RecordView<'a>>,
    /// The patron that a grant names, for whom the record is decided.
    pub named_patron: Option<NamedPatron<'a>>,
}

impl<'a> Facts<'a> {
    /// Returns a text of the patron's record, where that is at hand for what is demanded of it.
    #[must_use]
    pub fn demanded_text(&self, path: &str) -> Option<&'a str> {
        let (reader, record) = (self.lane.demanded_reader.as_deref()?, self.patron_record?);
        let leaf = reader.leaves.iter().find(|leaf| leaf.path == path)?;
        reader.value(record, leaf).as_text()
    }

    /// Adds whether the patron is a member, which all recipients of a source find in one
    /// place.
    #[must_use]
    pub fn with_membership(mut self, source: &LaneSource) -> Self {
        let programs = source.recipient_indices.iter().map(|&one| self.lane.recipients.get(one));
        let mut programs = programs.flatten().filter(|program| !program.ignores_patron);
        self.is_active_member = programs
            .next()
            .is_some_and(|program| self.text(program.gates.membership_status) == Some("active"));
        self
    }

    /// Marks copies as suspect; `None` if no value that recipients of `source` get unmasked
    /// contains a national number of the patron.
    #[inline]
    #[must_use]
    pub(in crate::engine) fn with_suspect_copies(&self, source: &LaneSource) -> Option<Self> {
        let numbers = self.national_numbers?;
        let suspect = self.patron_row.is_some_and(|row| {
            // A row knows its own numbers only.
            row.repeats_national_number() || !source.national_number_slots.is_empty()
        }) || numbers.occur_in_copied_slots(&source.copied_slots, self.record);
        suspect.then_some(Facts { has_suspect_copies: suspect, ..*self })
    }

    /// Whether the recipient may have national numbers now. Nobody may have a BSN.
    #[inline]
    #[must_use]
    pub fn may_have_national_numbers(&self, program: &Program) -> bool {
        let mut authorised = program.authorised_range_ms.iter();
        authorised.any(|(from, until)| (*from..*until).contains(&self.now_ms))
    }

    /// Whether the recipient may have a card number that is a national number now.
    #[inline]
    #[must_use]
    pub fn may_have_national_cards(&self, program: &Program) -> bool {
        !program.omits_national_cards && self.may_have_national_numbers(program)
    }

    /// Whether a part of an output may be a card of a Belgian library, which its digits alone
    /// can make a national number.
    #[inline]
    #[must_use]
    pub fn may_show_belgian_card(&self, program: &Program) -> bool {
        program.shows_card_parts
            && self
                .patron_library(program)
                .is_some_and(|isil| isil.starts_with(BELGIUM_ISIL_PREFIX))
    }

    /// Hides what a lane of `program` alone would not keep, so that outputs do not depend on
    /// lanes, and the patron if it ignores patrons; `None` if there is nothing to hide.
    #[inline]
    #[must_use]
    pub fn restrict_to_program(&self, program: &Program) -> Option<Self> {
        if program.ignores_patron {
            return Some(self.without_patron());
        }
        program.patron_card_slot?;
        self.hide_national_card(program)
    }

    /// The record alone, as if nothing were known of its patron.
    #[inline(never)]
    fn without_patron(&self) -> Self {
        Facts {
            patron_row: None,
            patron_consents: None,
            is_active_member: false,
            national_numbers: None,
            has_suspect_copies: false,
            patron_record: None,
            named_patron: None,
            ..*self
        }
    }

    #[inline(never)]
    fn hide_national_card(&self, program: &Program) -> Option<Self> {
        let national = program.card_fact.is_some_and(|fact| self.is_true(fact));
        (national && program.authorised_range_ms.is_none())
            .then_some(Facts { hidden_slot: program.patron_card_slot, ..*self })
    }

    /// The record and its patron, as gates see them.
    #[inline]
    #[must_use]
    pub fn gate_input(&self, program: &Program) -> GateInput<'a> {
        GateInput {
            at_hand: AtHand::Record(self.record),
            row: self.patron_row,
            patron: GatePatron {
                patron_consents: self.patron_consents,
                records: self.patron_records,
                library: self.patron_consents.and_then(|_| self.patron_library(program)),
            },
            is_active_member: self.is_active_member,
            now_ms: self.now_ms,
            named_patron: self.named_patron.map(|patron| patron.number),
        }
    }

    #[inline(never)]
    fn patron_library(&self, program: &Program) -> Option<&'a str> {
        if let Some(row) = self.patron_row {
            return row.value(ROW_LIBRARY_SLOT).as_text();
        }
        let source = self.lane.sources.get(program.source_index)?;
        let own = source.library_slot.filter(|_| source.kind.role == Role::Patron);
        own.and_then(|slot| self.record.text(slot))
    }

    #[inline]
    #[must_use]
    pub fn is_true(&self, field: FieldLocation) -> bool {
        match (field.location, field.is_joined) {
            (ValueLocation::Slot(slot), false) => self.record.slot(slot).state() == SlotState::True,
            _ => self.value(field) == FieldValue::Boolean(true),
        }
    }

    /// The value of a field; missing if it is part of a list.
    #[inline]
    #[must_use]
    pub fn value(&self, field: FieldLocation) -> FieldValue<'a> {
        match (field.location, field.is_joined) {
            (ValueLocation::Slot(slot), false) => self.record.value(slot),
            (ValueLocation::Slot(slot), true) if self.hidden_slot == Some(slot) => {
                FieldValue::Missing
            }
            (ValueLocation::Slot(slot), true) => {
                self.patron_row.map_or(FieldValue::Missing, |row| row.value(slot))
            }
            (ValueLocation::Element { .. }, _) => FieldValue::Missing,
        }
    }

    #[must_use]
    pub fn list_len(&self, joined: bool, list: u16) -> usize {
        if joined {
            self.patron_row.map_or(0, |row| row.list_len(&self.lane.row_layout, list))
        } else {
            self.record.list_len(list)
        }
    }

    /// One value of one element of a list.
    #[must_use]
    pub fn element(&self, field: FieldLocation, stride: u16, index: usize) -> FieldValue<'a> {
        let ValueLocation::Element { list, slot } = field.location else {
            return FieldValue::Missing;
        };
        if field.is_joined {
            self.patron_row.map_or(FieldValue::Missing, |row| {
                row.element(&self.lane.row_layout, list, index, slot)
            })
        } else {
            self.record.element(list, stride, index, slot)
        }
    }

    /// Whether a field, or its value in any element of its list, is malformed.
    #[must_use]
    pub fn is_malformed(&self, field: FieldLocation, strides: &[u16]) -> bool {
        let ValueLocation::Element { list, .. } = field.location else {
            return self.value(field).is_malformed();
        };
        let is_list_malformed = if field.is_joined {
            self.patron_row.is_some_and(|row| row.is_list_malformed(&self.lane.row_layout, list))
        } else {
            self.record.is_list_malformed(list)
        };
        let stride = if field.is_joined { 0 } else { strides[usize::from(list)] };
        is_list_malformed
            || (0..self.list_len(field.is_joined, list))
                .any(|index| self.element(field, stride, index).is_malformed())
    }

    #[must_use]
    pub fn text(&self, field: Option<FieldLocation>) -> Option<&'a str> {
        let field = field?;
        match field.record_slot() {
            Some(slot) => self.record.text(slot),
            None => self.value(field).as_text(),
        }
    }
}
