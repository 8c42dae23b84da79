//! The rows of one partition, by key and by patron.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use super::{DeliveryRow, PatronHash, RowKey, row_json};
use crate::message::continuity::RowChecksum;

/// Index of no slot.
const NO_SLOT: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(crate) struct PartitionDeliveries {
    slots: Vec<Option<RowSlot>>,
    free_slots: Vec<u32>,
    /// Indices in `slots`. Row keys are random bits: they are their own hash.
    slots_by_key: HashTable<u32>,
    patrons: HashTable<PatronRows>,
    held_count: usize,
    row_sum: RowChecksum,
    /// How many outputs recipients have: by recipient and output, and by name and topic for those
    /// that the lane does not have.
    output_counts: HashMap<(u16, u16), u64, foldhash::fast::RandomState>,
    foreign_output_counts: BTreeMap<(String, String), u64>,
    /// How many outputs each recipient has; 0 beyond the end.
    sent_per_recipient: Vec<u64>,
    /// Records of which the source must have deleted its copy, by when.
    source_deletions: BTreeSet<(i64, RowKey)>,
    /// What the batch changed, oldest first.
    undo_log: Vec<(RowKey, Option<Removed>)>,
}

/// A row that was replaced or removed.
#[derive(Debug)]
struct Removed {
    row: DeliveryRow,
    mac: u64,
    /// The patron's id, if this was its last row.
    patron_id: Option<Box<str>>,
}

#[derive(Debug)]
struct RowSlot {
    key: RowKey,
    row: DeliveryRow,
    mac: u64,
    /// Index of the next row of the same patron.
    next_of_patron: u32,
}

/// A patron with rows.
#[derive(Debug)]
struct PatronRows {
    hash: PatronHash,
    patron_id: Option<Box<str>>,
    first_slot: u32,
}

#[allow(clippy::cast_possible_truncation, reason = "any 64 of the bits do")]
fn hash_of_bits(bits: u128) -> u64 {
    bits as u64
}

impl PartitionDeliveries {
    pub(crate) fn find(&self, key: RowKey) -> Option<&DeliveryRow> {
        let place = self.slot_index(key)?;
        self.slot(place).map(|slot| &slot.row)
    }

    pub(crate) fn put(&mut self, key: RowKey, (row, mac): (DeliveryRow, u64)) {
        let before = self.set_row(key, row, mac);
        self.undo_log.push((key, before));
    }

    pub(crate) fn remove(&mut self, key: RowKey) {
        if let Some(before) = self.remove_row(key) {
            self.undo_log.push((key, Some(before)));
        }
    }

    pub(crate) fn restore(&mut self, key: RowKey, row: Option<(DeliveryRow, u64)>) {
        debug_assert!(self.undo_log.is_empty(), "a batch is open");
        drop(match row {
            Some((row, mac)) => self.set_row(key, row, mac),
            None => self.remove_row(key),
        });
    }

    fn count_foreign_output(&mut self, pair: (String, String), is_added: bool) {
        let count = self.foreign_output_counts.entry(pair).or_default();
        *count = if is_added { *count + 1 } else { count.saturating_sub(1) };
    }

    /// Adds a row to the counts, or removes it from them.
    fn count_row(&mut self, row: &DeliveryRow, mac: u64, is_added: bool) {
        if is_added {
            self.row_sum.add(mac);
        } else {
            self.row_sum.remove(mac);
        }
        for entry in row.entries.iter().filter(|entry| entry.is_sent()) {
            let place = usize::from(entry.recipient);
            if self.sent_per_recipient.len() <= place {
                self.sent_per_recipient.resize(place + 1, 0);
            }
            let of_output = self.output_counts.entry((entry.recipient, entry.output));
            for count in [of_output.or_default(), &mut self.sent_per_recipient[place]] {
                *count = if is_added { *count + 1 } else { count.saturating_sub(1) };
            }
        }
        if let Some(others) = row.foreign_entries() {
            for pair in row_json::outputs_in_entries(others) {
                self.count_foreign_output(pair, is_added);
            }
        }
    }

    fn unwatch_source_deletion(&mut self, key: RowKey, row: &DeliveryRow) {
        if let Some(due_ms) = row.source_deletion_due_ms() {
            self.source_deletions.remove(&(due_ms, key));
        }
    }

    /// Of how many records the source should have deleted its copy by now.
    pub(crate) fn overdue_source_deletions(&self, now_ms: i64) -> usize {
        self.source_deletions.iter().take_while(|(due_ms, _)| *due_ms <= now_ms).count()
    }

    pub(crate) fn row_sum(&self) -> RowChecksum {
        self.row_sum
    }

    /// How many outputs recipients of the lane have, by recipient and output.
    pub(crate) fn output_counts(&self) -> impl Iterator<Item = ((u16, u16), u64)> {
        self.output_counts.iter().map(|(pair, count)| (*pair, *count))
    }

    /// The same for recipients and topics that the lane does not have.
    pub(crate) fn foreign_output_counts(&self) -> impl Iterator<Item = (&(String, String), u64)> {
        self.foreign_output_counts.iter().map(|(pair, count)| (pair, *count))
    }

    /// Whether the batch changed something.
    pub(crate) fn has_changes(&self) -> bool {
        !self.undo_log.is_empty()
    }

    pub(crate) fn commit(&mut self) {
        self.undo_log.clear();
    }

    pub(crate) fn rollback(&mut self) {
        while let Some((key, before)) = self.undo_log.pop() {
            let Some(Removed { row, mac, patron_id }) = before else {
                self.remove_row(key);
                continue;
            };
            let patron = row.patron;
            self.set_row(key, row, mac);
            if let Some(patron_id) = patron_id {
                self.set_patron_id(patron, &patron_id);
            }
        }
    }

    pub(crate) fn set_patron_id(&mut self, patron: PatronHash, patron_id: &str) {
        let found = self.patrons.find_mut(hash_of_bits(patron.0), |one| one.hash == patron);
        if let Some(found) = found.filter(|found| found.patron_id.is_none()) {
            found.patron_id = Some(patron_id.into());
        }
    }

    pub(crate) fn drop_patron_id(&mut self, patron: PatronHash) {
        let found = self.patrons.find_mut(hash_of_bits(patron.0), |one| one.hash == patron);
        if let Some(found) = found {
            found.patron_id = None;
        }
    }

    pub(crate) fn patron_id(&self, patron: PatronHash) -> Option<&str> {
        self.find_patron(patron)?.patron_id.as_deref()
    }

    pub(crate) fn rows_of_patron(
        &self,
        patron: PatronHash,
    ) -> impl Iterator<Item = (RowKey, &DeliveryRow)> {
        let mut place = self.find_patron(patron).map_or(NO_SLOT, |patron| patron.first_slot);
        std::iter::from_fn(move || {
            let slot = self.slot(place)?;
            place = slot.next_of_patron;
            Some((slot.key, &slot.row))
        })
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = (RowKey, &DeliveryRow)> {
        let slots = self.slots.iter().flatten();
        slots.map(|slot| (slot.key, &slot.row))
    }

    pub(crate) fn held_count(&self) -> usize {
        self.held_count
    }

    /// How many outputs each recipient has, by its place in the lane.
    pub(crate) fn sent_per_recipient(&self) -> &[u64] {
        &self.sent_per_recipient
    }

    pub(crate) fn len(&self) -> usize {
        self.slots_by_key.len()
    }

    fn find_patron(&self, patron: PatronHash) -> Option<&PatronRows> {
        self.patrons.find(hash_of_bits(patron.0), |one| one.hash == patron)
    }

    fn slot(&self, place: u32) -> Option<&RowSlot> {
        self.slots.get(place as usize)?.as_ref()
    }

    fn slot_mut(&mut self, place: u32) -> Option<&mut RowSlot> {
        self.slots.get_mut(place as usize)?.as_mut()
    }

    fn slot_index(&self, key: RowKey) -> Option<u32> {
        let is = |place: &u32| self.slot(*place).is_some_and(|slot| slot.key == key);
        self.slots_by_key.find(hash_of_bits(key.0), is).copied()
    }

    /// Sets a row; returns the previous one.
    fn set_row(&mut self, key: RowKey, row: DeliveryRow, mac: u64) -> Option<Removed> {
        self.count_row(&row, mac, true);
        let source_deletion = row.source_deletion_due_ms().map(|due_ms| (due_ms, key));
        if let Some(place) = self.slot_index(key)
            && let Some(slot) = self.slot_mut(place)
            && slot.row.patron == row.patron
        {
            let held = row.is_held();
            let before = std::mem::replace(&mut slot.row, row);
            let mac = std::mem::replace(&mut slot.mac, mac);
            self.held_count = self.held_count + usize::from(held) - usize::from(before.is_held());
            self.count_row(&before, mac, false);
            self.unwatch_source_deletion(key, &before);
            self.source_deletions.extend(source_deletion);
            return Some(Removed { row: before, mac, patron_id: None });
        }
        let before = self.remove_row(key);
        self.source_deletions.extend(source_deletion);
        self.held_count += usize::from(row.is_held());
        let place = self.free_slots.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(NO_SLOT)
        });
        let next = self.link_first(row.patron, place);
        if let Some(slot) = self.slots.get_mut(place as usize) {
            *slot = Some(RowSlot { key, row, mac, next_of_patron: next });
        }
        let slots = &self.slots;
        let name = |place: &u32| {
            let slot = slots.get(*place as usize).and_then(Option::as_ref);
            slot.map_or(0, |slot| hash_of_bits(slot.key.0))
        };
        self.slots_by_key.insert_unique(hash_of_bits(key.0), place, name);
        before
    }

    /// Links a slot as the first one of a patron; returns the previous first one.
    fn link_first(&mut self, patron: PatronHash, place: u32) -> u32 {
        let entry = self.patrons.entry(
            hash_of_bits(patron.0),
            |one| one.hash == patron,
            |one| hash_of_bits(one.hash.0),
        );
        match entry {
            Place::Occupied(mut known) => std::mem::replace(&mut known.get_mut().first_slot, place),
            Place::Vacant(free) => {
                free.insert(PatronRows { hash: patron, patron_id: None, first_slot: place });
                NO_SLOT
            }
        }
    }

    fn remove_row(&mut self, key: RowKey) -> Option<Removed> {
        let place = self.slot_index(key)?;
        let slot = self.slots.get_mut(place as usize)?.take()?;
        self.free_slots.push(place);
        if let Ok(known) =
            self.slots_by_key.find_entry(hash_of_bits(key.0), |other| *other == place)
        {
            known.remove();
        }
        let patron_id = self.unlink(slot.row.patron, place, slot.next_of_patron);
        self.held_count -= usize::from(slot.row.is_held());
        self.count_row(&slot.row, slot.mac, false);
        self.unwatch_source_deletion(key, &slot.row);
        Some(Removed { row: slot.row, mac: slot.mac, patron_id })
    }

    /// Unlinks a slot from its patron's; `next` followed it. Returns the patron's id if it was the
    /// last one.
    fn unlink(&mut self, patron: PatronHash, place: u32, next: u32) -> Option<Box<str>> {
        let found = self.patrons.find_entry(hash_of_bits(patron.0), |one| one.hash == patron);
        let mut known = found.ok()?;
        let mut at = known.get().first_slot;
        if at == place {
            if next == NO_SLOT {
                return known.remove().0.patron_id;
            }
            known.get_mut().first_slot = next;
            return None;
        }
        while let Some(slot) = self.slots.get_mut(at as usize).and_then(Option::as_mut) {
            if slot.next_of_patron == place {
                slot.next_of_patron = next;
                break;
            }
            at = slot.next_of_patron;
        }
        None
    }
}
