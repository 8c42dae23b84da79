//! The fingerprint of all that decides beside a record: a change of it is a change of what
//! recipients may have.

use super::DeliveryTracker;
use crate::engine::batch::PatronFacts;
use crate::engine::decide::admit::check_time_range;
use crate::engine::lane::gates::{AtHand, GateFingerprint, GateId, GateInput, Refusal};
use crate::engine::lane::{FieldLocation, Lane, Program, ROW_LIBRARY_SLOT};
use crate::engine::memory::deliveries::KeyedHasher;
use crate::engine::memory::patrons::PatronRow;
use crate::engine::record::shape::ValueLocation;
use crate::engine::record::value::FieldValue;
use crate::policy::reason::Reason;

impl DeliveryTracker {
    /// Hashes all but the record that decides what a recipient gets of it. Returns the hash,
    /// and when time alone may change it: [`i64::MAX`] if never.
    pub(in crate::engine) fn fingerprint(
        &self,
        (lane, program): (&Lane, &Program),
        patron: PatronFacts<'_>,
        now_ms: i64,
    ) -> (u64, i64) {
        let (row, patron) = (patron.row(), patron.gate_patron());
        let gates = &program.gates;
        let status = row.zip(gates.membership_status).map(|(row, at)| row_value(row, at));
        let input = GateInput {
            at_hand: AtHand::PatronRow,
            row,
            patron,
            is_active_member: status.and_then(FieldValue::as_text) == Some("active"),
            now_ms,
            named_patron: None,
        };
        let print = gates.fingerprint(&input);
        let reason_codes = reason_codes(print.refusal);
        let is_of_patron_alone = !program.is_joined && program.summaries.0.is_none();
        if is_of_patron_alone && !gates.has(GateId::Consent) {
            // Nothing of the patron decides: no value has to be hidden.
            let reason_bits = u64::from(u16::from_le_bytes(reason_codes));
            return (self.policy_hash ^ reason_bits, print.recheck_due_ms);
        }
        let mut recheck_due_ms = print.recheck_due_ms;
        let mut hasher = self.state_keys.hasher();
        hasher.add(b'v', &self.policy_hash.to_le_bytes());
        hasher.add(b's', &reason_codes);
        hash_consents(&mut hasher, &print);
        for settled_id in &print.settled_ids {
            hasher.add(b'd', settled_id.as_bytes());
        }
        if program.summaries.0.is_some() {
            hasher.add(b'r', &print.other_records);
        }
        if program.is_for_named_patrons() {
            hasher.add(b'p', &print.named_patrons);
        }
        if gates.has(GateId::SpecialWords) {
            hasher.add(b'w', &[u8::from(print.is_special_signed)]);
        }
        if let Some(row) = row.filter(|_| program.is_joined) {
            let mut authorised_ranges_ms = program.authorised_range_ms.iter();
            let is_authorised =
                authorised_ranges_ms.any(|(from, until)| (*from..*until).contains(&now_ms));
            let flags = [input.is_active_member, print.is_patron_lapsed, is_authorised];
            hasher.add(b'm', &flags.map(u8::from));
            hash_row(&mut hasher, (lane, program), row);
            hash_time_conditions(&mut hasher, program, row, (now_ms, &mut recheck_due_ms));
            if program.demanded_list.is_some() {
                // Any field of the patron's record may be demanded.
                hasher.add(b'o', &row.offset().to_le_bytes());
            }
        }
        (hasher.finish(), recheck_due_ms)
    }
}

fn reason_codes(refusal: Option<Refusal>) -> [u8; 2] {
    let reasons = [refusal.map(|one| one.reason), refusal.and_then(|one| one.override_reason)];
    reasons.map(|reason: Option<Reason>| reason.map_or(u8::MAX, |reason| reason as u8))
}

fn hash_consents(hasher: &mut KeyedHasher, print: &GateFingerprint) {
    if print.lifts_marketing_objection != [false; 3] {
        hasher.add(b'o', &print.lifts_marketing_objection.map(u8::from));
    }
    for (place, consents) in (0..).zip(&print.consents) {
        let Some(consents) = consents else {
            continue;
        };
        let flags = [consents.is_open_by_name, consents.has_unreadable];
        hasher.add(b'u', &[place, u8::from(flags[0]), u8::from(flags[1])]);
        for at_ns in consents.latest_ns {
            match at_ns {
                Some(at_ns) => hasher.add(b'c', &at_ns.to_le_bytes()),
                None => hasher.add(b'c', b""),
            }
        }
    }
}

/// Adds what the recipient may see of the patron's row.
fn hash_row(hasher: &mut KeyedHasher, (lane, program): (&Lane, &Program), row: &PatronRow) {
    let is_card_hidden = program.authorised_range_ms.is_none()
        && program.card_fact.is_some_and(|fact| row_value(row, fact) == FieldValue::Boolean(true));
    let hidden_slot = program.patron_card_slot.filter(|_| is_card_hidden);
    hash_value(hasher, row.value(ROW_LIBRARY_SLOT));
    // Values that contain one of them are left out of the output.
    for number in row.national_numbers() {
        hasher.add(b'i', &number.pack().to_le_bytes());
    }
    for need in &program.needed_patron_fields {
        match need.location {
            ValueLocation::Slot(slot) if hidden_slot == Some(slot) => {
                hash_value(hasher, FieldValue::Missing)
            }
            ValueLocation::Slot(slot) => hash_value(hasher, row.value(slot)),
            ValueLocation::Element { list, slot } => {
                if row.is_list_malformed(&lane.row_layout, list) {
                    hash_value(hasher, FieldValue::Malformed);
                }
                for index in 0..row.list_len(&lane.row_layout, list) {
                    hash_value(hasher, row.element(&lane.row_layout, list, index, slot));
                }
                hasher.add(b'l', b"");
            }
        }
    }
}

/// Adds which conditions of the patron hold now, of those that time may change.
fn hash_time_conditions(
    hasher: &mut KeyedHasher,
    program: &Program,
    row: &PatronRow,
    (now_ms, recheck_due_ms): (i64, &mut i64),
) {
    for one in program.conditions.iter().filter(|one| one.field.is_joined) {
        if let Some(range) = one.test.time_range() {
            let value = row_value(row, one.field);
            let holds = check_time_range(value, range, now_ms, recheck_due_ms).is_ok();
            hasher.add(b'w', &[u8::from(holds)]);
        }
    }
}

/// The value of a field of the patron; missing if it is one of the record.
fn row_value(row: &PatronRow, at: FieldLocation) -> FieldValue<'_> {
    match at.location {
        ValueLocation::Slot(slot) if at.is_joined => row.value(slot),
        _ => FieldValue::Missing,
    }
}

/// Adds a value with its type.
fn hash_value(hasher: &mut KeyedHasher, value: FieldValue<'_>) {
    match value {
        FieldValue::Missing => hasher.add(b'-', b""),
        FieldValue::Malformed => hasher.add(b'!', b""),
        FieldValue::Boolean(truth) => hasher.add(b'b', &[u8::from(truth)]),
        FieldValue::Number(written) => hasher.add(b'n', written.as_bytes()),
        FieldValue::Text { text, .. } => hasher.add(b't', text.as_bytes()),
    }
}

#[cfg(test)]
mod tests;
