//! Compiles the sources of a lane.

use super::super::prohibitions::Prohibitions;
use super::super::{CardFactSlots, LaneSource, SourceDeletion, ValidatedSlot};
use super::CompileError;
use crate::engine::memory::statement::StatementFields;
use crate::engine::record::national_number::{CopiedSlots, NationalNumberSlot};
use crate::engine::record::shape::{RecordShape, ShapeError, ValueLocation};
use crate::policy::Policy;
use crate::policy::catalogue::{CatalogueField, FieldType, RecordKind, Role};
use crate::policy::detect::CustomDetectors;
use crate::policy::recipient::Recipient;

const COUNTRY_PATH: &str = "country";

/// Compiles the sources of a lane: patrons and gates first, then what its recipients read.
pub(super) fn compile_sources(
    policy: &Policy,
    recipients: &[&Recipient],
) -> Result<Vec<LaneSource>, ShapeError> {
    let is_used = |index: usize| recipients.iter().any(|r| r.reads_kind(index));
    // A lane with former recipients only reads erasures too.
    let keyed = match recipients.is_empty() {
        true => !policy.former_recipients.is_empty(),
        false => {
            recipients.iter().any(|r| policy.record_kinds[r.source_kind_index].is_keyed_by_patron)
        }
    };
    let mut kinds: Vec<&RecordKind> = policy
        .record_kinds
        .iter()
        .enumerate()
        .filter(|&(index, kind)| is_used(index) || (keyed && kind.role != Role::Record))
        .map(|(_, kind)| kind)
        .collect();
    kinds.sort_by_key(|kind| match kind.role {
        Role::Patron => 0,
        Role::Gate => 1,
        Role::Record => 2,
    });
    let compiled = (0..).zip(kinds).map(|(index, kind)| {
        let settled = kind.settles.as_ref().and_then(|settled| policy.record_kind(settled));
        let settled = settled.map(|settled| &*settled.id_path);
        let told_unless = recipients.iter().find_map(|one| {
            let is_of_kind = policy.record_kinds[one.source_kind_index].name == kind.name;
            one.told_unless.as_ref().filter(|_| is_of_kind)
        });
        let told_unless = told_unless.map(|field| &*field.path);
        compile_source((index, kind), (settled, told_unless), &policy.custom_detectors)
    });
    compiled.collect()
}

/// `settled_id` is the path of the ids of the kind that `kind` settles, if it settles one, and
/// `told_unless` that of the field that lets a patron be told of a record.
fn compile_source(
    (index, kind): (u16, &RecordKind),
    (settled_id, told_unless): (Option<&str>, Option<&str>),
    custom_detectors: &CustomDetectors,
) -> Result<LaneSource, ShapeError> {
    let mut shape = RecordShape::default();
    let prohibitions = Prohibitions::compile(kind, &mut shape, custom_detectors)?;
    let mut want_slot = |path: &str| -> Result<Option<u16>, ShapeError> {
        let Some(field) = kind.field(path) else {
            return Ok(None);
        };
        Ok(match shape.add_path(path, field.field_type)? {
            ValueLocation::Slot(slot) => Some(slot),
            ValueLocation::Element { .. } => None,
        })
    };
    let patron_id = if kind.is_keyed_by_patron { want_slot("patron_id")? } else { None };
    let library = want_slot("library")?;
    let own_id = if kind.is_keyed_by_patron && kind.id_path == "patron_id" {
        None
    } else {
        want_slot(&kind.id_path)?
    };
    let gone = kind.gone_path.as_deref().map(&mut want_slot).transpose()?.flatten();
    let source_deletion = compile_source_deletion(kind, &mut want_slot)?;
    let told_unless_slot = told_unless.map(&mut want_slot).transpose()?.flatten();
    let speech = StatementFields::for_kind(kind, settled_id, &mut want_slot)?;
    let national = want_national_slots(kind, &mut shape)?;
    if kind.is_closed {
        for field in &kind.fields {
            shape.add_path(&field.path, field.field_type)?;
        }
    }
    let mut source = LaneSource {
        index,
        kind: kind.clone(),
        topic: kind.topic.clone(),
        shape,
        patron_id_slot: patron_id,
        library_slot: library,
        record_id_slot: own_id,
        gone_slot: gone,
        source_deletion,
        told_unless_slot,
        thins_when_gone: false,
        all_national_slots: national.iter().map(|national| national.slot).collect(),
        national_number_slots: national,
        prohibitions,
        copied_slots: CopiedSlots::default(),
        card_fact: None,
        word_facts: Vec::new(),
        country_and_library_slots: None,
        allowed_values: Vec::new(),
        kept_layout: None,
        statement_fields: speech,
        validated_slots: Vec::new(),
        shared_tests: Vec::new(),
        recipient_indices: Vec::new(),
        named_patron_recipients: Vec::new(),
        reads_patron_records: false,
    };
    if kind.is_keyed_by_patron {
        // No field may repeat a card number that is a national number.
        source.card_fact = make_card_fact_slots(&mut source);
    }
    Ok(source)
}

/// Compiles until when the source must have deleted its own copies; `None` if it need not.
fn compile_source_deletion(
    kind: &RecordKind,
    mut want_slot: impl FnMut(&str) -> Result<Option<u16>, ShapeError>,
) -> Result<Option<SourceDeletion>, ShapeError> {
    let Some(rule) = &kind.source_deletion else {
        return Ok(None);
    };
    let slots = want_slot(&rule.deleted_path)?.zip(want_slot(&rule.start_path)?);
    Ok(slots.map(|(deleted_slot, start_slot)| SourceDeletion {
        deleted_slot,
        start_slot,
        within: rule.within,
    }))
}

/// Compiles the patron kind as records are read of which `fields` may be demanded. Returns it with
/// where the fields are.
pub(super) fn compile_demanded_source(
    index: u16,
    kind: &RecordKind,
    fields: &[&CatalogueField],
) -> Result<(LaneSource, Vec<ValueLocation>), CompileError> {
    // A patron is never forbidden.
    let mut source = compile_source((index, kind), (None, None), &CustomDetectors::default())?;
    let mut locations = Vec::with_capacity(fields.len());
    for field in fields {
        locations.push(source.shape.add_path(&field.path, field.field_type)?);
    }
    collect_allowed_values(&mut source);
    Ok((source, locations))
}

/// Wants the patron's national numbers in records of `kind`, as they stand there. Their form
/// is checked in a slot beside each.
fn want_national_slots(
    kind: &RecordKind,
    shape: &mut RecordShape,
) -> Result<Vec<NationalNumberSlot>, ShapeError> {
    let mut national = Vec::new();
    for field in kind.fields.iter().filter(|_| kind.is_keyed_by_patron) {
        let Some(number) = field.national_number_kind() else {
            continue;
        };
        if !is_in_list(&field.path)
            && let ValueLocation::Slot(slot) =
                shape.add_path(&field.path, FieldType::TextOrNumber)?
        {
            national.push(NationalNumberSlot { slot, kind: number });
        }
    }
    Ok(national)
}

/// Returns the slot with the value of `raw` if it is of the type.
pub(super) fn find_or_add_validated_slot(
    source: &mut LaneSource,
    raw: u16,
    kind: FieldType,
) -> ValueLocation {
    if let Some(known) = source.validated_slots.iter().find(|checked| checked.raw_slot == raw) {
        return ValueLocation::Slot(known.slot);
    }
    let slot = source.shape.add_derived_slot();
    let form = match kind {
        FieldType::Text(form) => form,
        _ => None,
    };
    source.validated_slots.push(ValidatedSlot { raw_slot: raw, slot, form });
    if source.has_national_number(raw) {
        source.all_national_slots.push(slot);
    }
    ValueLocation::Slot(slot)
}

fn is_in_list(path: &str) -> bool {
    path.contains("[]")
}

/// Collects the wanted fields with listed values, and whether the country is wanted. Sources
/// of consents and objections have none: they tell an unknown word from a missing one.
pub(super) fn collect_allowed_values(source: &mut LaneSource) {
    if source.kind.role == Role::Gate {
        return;
    }
    for field in &source.kind.fields {
        let Some(ValueLocation::Slot(slot)) = source.shape.location(&field.path) else {
            continue;
        };
        match source.library_slot {
            Some(library) if field.path == COUNTRY_PATH => {
                source.country_and_library_slots = Some((slot, library))
            }
            _ if field.allowed_values.is_empty() => {}
            _ => source.allowed_values.push((slot, field.allowed_values.clone())),
        }
    }
}

/// Wants the fields from which the fact about the card is derived; `None` if the kind lacks one.
fn make_card_fact_slots(source: &mut LaneSource) -> Option<CardFactSlots> {
    let mut slot = |path: &str| {
        let kind = source.kind.field(path)?.field_type;
        // Digits are compared as they stand, whatever form the number has.
        let kind = match kind {
            FieldType::Text(_) => FieldType::Text(None),
            other => other,
        };
        match source.shape.add_path(path, kind).ok()? {
            ValueLocation::Slot(slot) => Some(slot),
            ValueLocation::Element { .. } => None,
        }
    };
    let card_number = slot("card_number")?;
    let card_kind = slot("card_kind")?;
    let national_number = slot("rijksregisternummer")?;
    Some(CardFactSlots {
        fact_slot: source.shape.add_derived_slot(),
        card_number,
        card_kind,
        national_number,
    })
}
