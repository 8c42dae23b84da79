//! Inspect: the last check of a value before an output is published.
//!
//! No string or number of an output has, among all its digits in their order, those of
//! its patron's BSN, nor of another national number without an authorisation that covers
//! it, whatever field it came by. Values that have them are omitted. Where the recipient looks
//! at no patron, any number that the detectors find counts as its patron's. Pseudonyms are not
//! inspected: they are keyed hashes.

use crate::engine::lane::{Facts, Program};
use crate::engine::record::national_number::PatronNationalNumbers;
use crate::engine::record::value::FieldValue;
use crate::policy::detect::contains_national_number;
use crate::policy::form::is_national_number_card;

/// The field of an output, and the part of its value, that was omitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OmittedValue {
    pub step_index: usize,
    pub sub_field_index: Option<usize>,
}

impl OmittedValue {
    pub(in crate::engine) const fn field(step: usize) -> OmittedValue {
        OmittedValue { step_index: step, sub_field_index: None }
    }

    pub(in crate::engine) const fn part(step: usize, part: usize) -> OmittedValue {
        OmittedValue { step_index: step, sub_field_index: Some(part) }
    }
}

/// Inspects the values of one output.
#[derive(Debug)]
pub(in crate::engine) struct ValueInspector<'a> {
    national_numbers: Option<&'a PatronNationalNumbers>,
    /// The recipient may have national numbers now, except a BSN.
    is_authorised: bool,
    /// The recipient may have card numbers that are national numbers now.
    may_have_cards: bool,
    /// Copied values must be inspected too.
    pub(in crate::engine) inspects_copies: bool,
    /// A card number of the library may be a national number by its digits alone.
    has_belgian_cards: bool,
    /// The patron's numbers are not known: any national number may be one.
    ignores_patron: bool,
    omitted: &'a mut Vec<OmittedValue>,
}

impl<'a> ValueInspector<'a> {
    pub(in crate::engine) fn new(
        facts: &Facts<'a>,
        program: &Program,
        omitted: &'a mut Vec<OmittedValue>,
    ) -> ValueInspector<'a> {
        ValueInspector {
            national_numbers: facts.national_numbers,
            is_authorised: facts.may_have_national_numbers(program),
            may_have_cards: facts.may_have_national_cards(program),
            inspects_copies: facts.has_suspect_copies
                || program.ignores_patron
                || (program.releases_national_numbers && facts.national_numbers.is_some()),
            has_belgian_cards: facts.may_show_belgian_card(program),
            ignores_patron: program.ignores_patron,
            omitted,
        }
    }

    /// Returns how many values were omitted so far.
    pub(in crate::engine) fn omitted_count(&self) -> usize {
        self.omitted.len()
    }

    /// Returns whether a text must be omitted, and records the omission.
    #[inline]
    pub(in crate::engine) fn must_omit(&mut self, text: &str, omission: OmittedValue) -> bool {
        let found =
            self.national_numbers.is_some_and(|numbers| numbers.occur_in(text, self.is_authorised))
                || (self.ignores_patron && contains_national_number(text));
        if found && !self.omitted.contains(&omission) {
            self.omitted.push(omission);
        }
        found
    }

    /// Returns the value, or `Missing` if it must be omitted.
    #[inline]
    pub(in crate::engine) fn filter_value<'v>(
        &mut self,
        value: FieldValue<'v>,
        omission: OmittedValue,
    ) -> FieldValue<'v> {
        match value.as_text() {
            Some(text) if self.inspects_copies && self.must_omit(text, omission) => {
                FieldValue::Missing
            }
            _ => value,
        }
    }

    /// Whether the recipient may have national numbers now, except a BSN.
    pub(in crate::engine) fn is_authorised(&self) -> bool {
        self.is_authorised
    }

    /// Returns the value, or `Missing` if it must be omitted; also where copies are not suspect.
    pub(in crate::engine) fn inspect_value<'v>(
        &mut self,
        value: FieldValue<'v>,
        is_card_number: bool,
        omission: OmittedValue,
    ) -> FieldValue<'v> {
        let value = self.filter_card_value(value, is_card_number, omission);
        match value.as_text() {
            Some(text) if self.must_omit(text, omission) => FieldValue::Missing,
            _ => value,
        }
    }

    /// Same as [`filter_value`](Self::filter_value), for a value that may be a card
    /// number.
    pub(in crate::engine) fn filter_card_value<'v>(
        &mut self,
        value: FieldValue<'v>,
        is_card_number: bool,
        omission: OmittedValue,
    ) -> FieldValue<'v> {
        let national = || value.as_text().is_some_and(is_national_number_card);
        if is_card_number && self.has_belgian_cards && !self.may_have_cards && national() {
            return FieldValue::Missing;
        }
        self.filter_value(value, omission)
    }
}
