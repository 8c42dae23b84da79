//! The rows of one partition: by their own name, and by patron.

use std::collections::{BTreeMap, HashMap};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use super::{PatronRef, Row, RowKey, text};
use crate::transport::continuity::RowSum;

/// No row.
const NONE: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(super) struct Part {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    /// Places in `slots`. Names are random bits: they are their own hash.
    names: HashTable<u32>,
    patrons: HashTable<Patron>,
    held: usize,
    /// All rows.
    sum: RowSum,
    /// How many outputs recipients have: by recipient and output, and by the
    /// names of those that the lane does not have.
    has: HashMap<(u16, u16), u64, foldhash::fast::RandomState>,
    others_have: BTreeMap<(String, String), u64>,
    /// How many outputs each recipient has, by its place in the lane; those at
    /// the end that have none may be missing.
    sent: Vec<u64>,
    /// What the batch changed, oldest first.
    undo: Vec<(RowKey, Option<Taken>)>,
}

/// A row that was replaced or removed.
#[derive(Debug)]
struct Taken {
    row: Row,
    mac: u64,
    /// Its patron's id, where no other row keeps it.
    patron_id: Option<Box<str>>,
}

#[derive(Debug)]
struct Slot {
    key: RowKey,
    row: Row,
    mac: u64,
    /// The next row of the same patron.
    next: u32,
}

/// A patron with rows.
#[derive(Debug)]
struct Patron {
    reference: PatronRef,
    id: Option<Box<str>>,
    first: u32,
}

#[allow(clippy::cast_possible_truncation, reason = "any 64 of the bits do")]
fn hash(bits: u128) -> u64 {
    bits as u64
}

impl Part {
    pub(super) fn find(&self, key: RowKey) -> Option<&Row> {
        let place = self.place(key)?;
        self.slot(place).map(|slot| &slot.row)
    }

    pub(super) fn put(&mut self, key: RowKey, (row, mac): (Row, u64), patron_id: Option<&str>) {
        let patron = row.patron;
        let before = self.set(key, row, mac);
        self.undo.push((key, before));
        if let Some(patron_id) = patron_id {
            self.name(patron, patron_id);
        }
    }

    pub(super) fn remove(&mut self, key: RowKey) {
        if let Some(before) = self.take(key) {
            self.undo.push((key, Some(before)));
        }
    }

    pub(super) fn restore(&mut self, key: RowKey, row: Option<(Row, u64)>) {
        debug_assert!(self.undo.is_empty(), "a batch is open");
        drop(match row {
            Some((row, mac)) => self.set(key, row, mac),
            None => self.take(key),
        });
    }

    fn others_have(&mut self, pair: (String, String), more: bool) {
        let count = self.others_have.entry(pair).or_default();
        *count = if more {
            *count + 1
        } else {
            count.saturating_sub(1)
        };
    }

    /// Counts a row, or takes it off the counts.
    fn count(&mut self, row: &Row, mac: u64, more: bool) {
        if more {
            self.sum.add(mac);
        } else {
            self.sum.take(mac);
        }
        for entry in row.entries.iter().filter(|entry| entry.is_sent()) {
            let place = usize::from(entry.recipient);
            if self.sent.len() <= place {
                self.sent.resize(place + 1, 0);
            }
            let of_output = self.has.entry((entry.recipient, entry.output));
            for count in [of_output.or_default(), &mut self.sent[place]] {
                *count = if more {
                    *count + 1
                } else {
                    count.saturating_sub(1)
                };
            }
        }
        if let Some(others) = row.others() {
            for pair in text::others_sent_to(others) {
                self.others_have(pair, more);
            }
        }
    }

    /// The living rows.
    pub(super) fn sum(&self) -> RowSum {
        self.sum
    }

    /// How many outputs recipients of the lane have, by recipient and output.
    pub(super) fn has(&self) -> impl Iterator<Item = ((u16, u16), u64)> {
        self.has.iter().map(|(pair, count)| (*pair, *count))
    }

    /// The same of recipients and topics that the lane does not have, by name.
    pub(super) fn others_with(&self) -> impl Iterator<Item = (&(String, String), u64)> {
        self.others_have.iter().map(|(pair, count)| (pair, *count))
    }

    /// Whether the batch changed something.
    pub(super) fn is_changed(&self) -> bool {
        !self.undo.is_empty()
    }

    pub(super) fn merge(&mut self) {
        self.undo.clear();
    }

    pub(super) fn abandon(&mut self) {
        while let Some((key, before)) = self.undo.pop() {
            let Some(Taken {
                row,
                mac,
                patron_id,
            }) = before
            else {
                self.take(key);
                continue;
            };
            let patron = row.patron;
            self.set(key, row, mac);
            if let Some(patron_id) = patron_id {
                self.name(patron, &patron_id);
            }
        }
    }

    pub(super) fn name(&mut self, patron: PatronRef, patron_id: &str) -> bool {
        let found = self
            .patrons
            .find_mut(hash(patron.0), |one| one.reference == patron);
        let Some(found) = found else {
            return false;
        };
        if found.id.is_none() {
            found.id = Some(patron_id.into());
        }
        true
    }

    pub(super) fn patron_id(&self, patron: PatronRef) -> Option<&str> {
        self.patron(patron)?.id.as_deref()
    }

    pub(super) fn of_patron(&self, patron: PatronRef, found: &mut Vec<RowKey>) {
        let mut place = self.patron(patron).map_or(NONE, |patron| patron.first);
        while let Some(slot) = self.slot(place) {
            found.push(slot.key);
            place = slot.next;
        }
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (RowKey, &Row)> {
        let slots = self.slots.iter().flatten();
        slots.map(|slot| (slot.key, &slot.row))
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// How many outputs each recipient has, by its place in the lane.
    pub(super) fn sent(&self) -> &[u64] {
        &self.sent
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    fn patron(&self, patron: PatronRef) -> Option<&Patron> {
        self.patrons
            .find(hash(patron.0), |one| one.reference == patron)
    }

    fn slot(&self, place: u32) -> Option<&Slot> {
        self.slots.get(place as usize)?.as_ref()
    }

    fn slot_mut(&mut self, place: u32) -> Option<&mut Slot> {
        self.slots.get_mut(place as usize)?.as_mut()
    }

    fn place(&self, key: RowKey) -> Option<u32> {
        let is = |place: &u32| self.slot(*place).is_some_and(|slot| slot.key == key);
        self.names.find(hash(key.0), is).copied()
    }

    /// Sets a row; returns the one before.
    fn set(&mut self, key: RowKey, row: Row, mac: u64) -> Option<Taken> {
        self.count(&row, mac, true);
        if let Some(place) = self.place(key)
            && let Some(slot) = self.slot_mut(place)
            && slot.row.patron == row.patron
        {
            let held = row.is_held();
            let before = std::mem::replace(&mut slot.row, row);
            let mac = std::mem::replace(&mut slot.mac, mac);
            self.held = self.held + usize::from(held) - usize::from(before.is_held());
            self.count(&before, mac, false);
            return Some(Taken {
                row: before,
                mac,
                patron_id: None,
            });
        }
        let before = self.take(key);
        self.held += usize::from(row.is_held());
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
        });
        let next = self.head(row.patron, place);
        if let Some(slot) = self.slots.get_mut(place as usize) {
            *slot = Some(Slot {
                key,
                row,
                mac,
                next,
            });
        }
        let slots = &self.slots;
        let name = |place: &u32| {
            let slot = slots.get(*place as usize).and_then(Option::as_ref);
            slot.map_or(0, |slot| hash(slot.key.0))
        };
        self.names.insert_unique(hash(key.0), place, name);
        before
    }

    /// Makes `place` the first row of a patron; returns the one before.
    fn head(&mut self, patron: PatronRef, place: u32) -> u32 {
        let entry = self.patrons.entry(
            hash(patron.0),
            |one| one.reference == patron,
            |one| hash(one.reference.0),
        );
        match entry {
            Place::Occupied(mut known) => std::mem::replace(&mut known.get_mut().first, place),
            Place::Vacant(free) => {
                free.insert(Patron {
                    reference: patron,
                    id: None,
                    first: place,
                });
                NONE
            }
        }
    }

    fn take(&mut self, key: RowKey) -> Option<Taken> {
        let place = self.place(key)?;
        let slot = self.slots.get_mut(place as usize)?.take()?;
        self.free.push(place);
        if let Ok(known) = self.names.find_entry(hash(key.0), |other| *other == place) {
            known.remove();
        }
        let patron_id = self.unlink(slot.row.patron, place, slot.next);
        self.held -= usize::from(slot.row.is_held());
        self.count(&slot.row, slot.mac, false);
        Some(Taken {
            row: slot.row,
            mac: slot.mac,
            patron_id,
        })
    }

    /// Takes the row at `place` out of its patron's; `next` came behind it.
    /// Returns the patron's id where it was the last one.
    fn unlink(&mut self, patron: PatronRef, place: u32, next: u32) -> Option<Box<str>> {
        let found = self
            .patrons
            .find_entry(hash(patron.0), |one| one.reference == patron);
        let mut known = found.ok()?;
        let mut at = known.get().first;
        if at == place {
            if next == NONE {
                return known.remove().0.id;
            }
            known.get_mut().first = next;
            return None;
        }
        while let Some(slot) = self.slots.get_mut(at as usize).and_then(Option::as_mut) {
            if slot.next == place {
                slot.next = next;
                break;
            }
            at = slot.next;
        }
        None
    }
}
