//! What refuses a record whole although it can be read: no such record may exist, so that
//! what recipients have of an earlier version is taken back, too.

use crate::engine::record::RecordView;
use crate::engine::record::shape::{RecordShape, ShapeError, ValueLocation};
use crate::policy::catalogue::{FieldType, RecordKind, Role};
use crate::policy::detect::{CustomDetectors, DetectorBuffers, DetectorSet};
use crate::policy::form::TextFormat;
use crate::policy::reason::Reason;

/// The prohibitions of one kind of record.
#[derive(Debug)]
pub struct Prohibitions {
    is_closed: bool,
    /// A message key counts as a field beyond the list.
    forbids_keys: bool,
    /// Slots, and the only texts that they may have.
    words: Vec<(u16, Vec<String>)>,
    anonymous_texts: Vec<AnonymousText>,
    detectors: DetectorSet,
}

/// A text in which no detector may find anything.
#[derive(Debug)]
struct AnonymousText {
    /// The slot of the text as it stands, whatever its form.
    slot: u16,
    /// A text that fits is a value of that form: it is not searched.
    form: Option<TextFormat>,
}

impl Prohibitions {
    /// Compiles the prohibitions of a kind; `None` if it has none. Wants what they read in
    /// `shape`, before anything else does.
    pub(super) fn compile(
        kind: &RecordKind,
        shape: &mut RecordShape,
        custom_detectors: &CustomDetectors,
    ) -> Result<Option<Prohibitions>, ShapeError> {
        let is_unrestricted =
            !kind.is_closed && kind.must_not_exist.is_empty() && kind.anonymous_paths.is_empty();
        if kind.role != Role::Record || is_unrestricted {
            return Ok(None);
        }
        let mut prohibitions = Prohibitions {
            is_closed: kind.is_closed,
            forbids_keys: kind.is_closed && !kind.is_keyed_by_patron,
            words: Vec::new(),
            anonymous_texts: Vec::new(),
            detectors: DetectorSet::all(custom_detectors),
        };
        let mut want_raw_slot = |path: &str| -> Result<Option<u16>, ShapeError> {
            Ok(match shape.add_path(path, FieldType::Text(None))? {
                ValueLocation::Slot(slot) => Some(slot),
                ValueLocation::Element { .. } => None,
            })
        };
        for forbidden in &kind.must_not_exist {
            let slot = want_raw_slot(&forbidden.path)?;
            prohibitions.words.extend(slot.map(|slot| (slot, forbidden.except.clone())));
        }
        for path in &kind.anonymous_paths {
            let form = match kind.field(path).map(|field| field.field_type) {
                Some(FieldType::Text(form)) => form,
                _ => None,
            };
            let slot = want_raw_slot(path)?;
            prohibitions.anonymous_texts.extend(slot.map(|slot| AnonymousText { slot, form }));
        }
        Ok(Some(prohibitions))
    }

    /// Whether a slot has a text as it stands, although its field has a form.
    pub(super) fn reads_raw_text(&self, slot: u16) -> bool {
        self.anonymous_texts.iter().any(|text| text.slot == slot && text.form.is_some())
    }

    /// Returns the first reason why there may be no such record. Call before values are
    /// corrected: a word that is not on its list is forbidden, too.
    pub(in crate::engine) fn find(
        &self,
        record: RecordView<'_>,
        (key, has_unlisted_field): (Option<&[u8]>, bool),
        buffers: &mut DetectorBuffers,
    ) -> Option<Reason> {
        if self.is_closed && has_unlisted_field {
            return Some(Reason::UnlistedField);
        }
        if self.forbids_keys && key.is_some() {
            return Some(Reason::Miskeyed);
        }
        let is_forbidden = |(slot, except): &(u16, Vec<String>)| {
            record.text(*slot).is_some_and(|word| !except.iter().any(|one| one == word))
        };
        if self.words.iter().any(is_forbidden) {
            return Some(Reason::MustNotExist);
        }
        let mut is_personal = |text: &AnonymousText| {
            let found = record.text(text.slot);
            let found = found.filter(|found| text.form.is_none_or(|form| !form.matches(found)));
            found.is_some_and(|found| self.detectors.finds_any(buffers, found))
        };
        self.anonymous_texts.iter().any(&mut is_personal).then_some(Reason::PersonalData)
    }

    /// The reasons that [`find`](Self::find) may return.
    pub(super) fn reasons(&self) -> impl Iterator<Item = Reason> {
        let possible = [
            (Reason::UnlistedField, self.is_closed),
            (Reason::Miskeyed, self.forbids_keys),
            (Reason::MustNotExist, !self.words.is_empty()),
            (Reason::PersonalData, !self.anonymous_texts.is_empty()),
        ];
        possible.into_iter().filter_map(|(reason, is_possible)| is_possible.then_some(reason))
    }
}
