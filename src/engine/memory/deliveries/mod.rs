//! What each recipient has, and may still be owed, of each record.
//!
//! Each such record has a row, with an entry for each recipient that it matters to. A row
//! contains no value of a record: ids and outputs are keyed hashes.

pub mod given;
pub mod held;
pub mod lane_move;
mod partition;
pub mod repartition;
mod row;
pub mod row_json;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use highway::{HighwayHash, HighwayHasher, Key as HashKey};

pub use row::{
    DeliveryEntry, DeliveryOutcome, DeliveryRow, FOREIGN_SOURCE, OTHER_PERSONS_MAX, OtherPersons,
    PendingChange, RowBuilder, RowExtras,
};

use partition::PartitionDeliveries;

use super::transactional::Transactional;

use crate::message::continuity::{Fingerprinter, RowChecksum};
use crate::policy::pseudonym::{HmacKey, PseudonymDomain, Pseudonymiser};

/// A keyed hash of a record's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowKey(pub u128);

/// A keyed hash of a patron's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PatronHash(pub u128);

impl PatronHash {
    /// Stands for the patron of a record that has none: no other row has it.
    #[must_use]
    pub fn of_no_patron(key: RowKey) -> PatronHash {
        PatronHash(key.0)
    }
}

/// Makes the keys and hashes of the state.
#[derive(Clone, Debug)]
pub struct StateKeys {
    pseudonymiser: Pseudonymiser,
    patron_meaning: PseudonymDomain,
    named_patron_meaning: PseudonymDomain,
    hash_secret: [u64; 4],
    fingerprint_secret: [u64; 4],
}

impl Default for StateKeys {
    /// Makes keys for the memory of a worker without a state.
    fn default() -> StateKeys {
        StateKeys::new(&HmacKey::of_process())
    }
}

impl StateKeys {
    #[must_use]
    pub fn new(key: &HmacKey) -> StateKeys {
        let pseudonymiser = Pseudonymiser::new(key);
        let half = |name: &str| {
            let made = pseudonymiser.pseudonymise(&PseudonymDomain::new("zeef", "state"), "", name);
            let bits = made.to_bits();
            #[allow(clippy::cast_possible_truncation, reason = "the lower half is meant")]
            let low = bits as u64;
            [(bits >> 64) as u64, low]
        };
        let ([a, b], [c, d]) = (half("hash 1"), half("hash 2"));
        let ([e, f], [g, h]) = (half("print 1"), half("print 2"));
        StateKeys {
            patron_meaning: PseudonymDomain::new("patron", "patron_id"),
            named_patron_meaning: PseudonymDomain::new("zeef", "named patron"),
            hash_secret: [a, b, c, d],
            fingerprint_secret: [e, f, g, h],
            pseudonymiser,
        }
    }

    /// The key of a record's row. The library is not part of it: a record whose library is
    /// corrected remains the same.
    #[must_use]
    pub fn row_key(&self, meaning: &PseudonymDomain, patron_id: &str, id: &str) -> RowKey {
        RowKey(self.pseudonymiser.pseudonymise(meaning, patron_id, id).to_bits())
    }

    #[must_use]
    pub fn patron_hash(&self, patron_id: &str) -> PatronHash {
        let made = self.pseudonymiser.pseudonymise(&self.patron_meaning, "", patron_id);
        PatronHash(made.to_bits())
    }

    /// The key of the row that a patron and one that its grants name have.
    #[must_use]
    pub fn named_patron_row_key(&self, patron: PatronHash, named_id: &str) -> RowKey {
        let patron = row_json::encode_bits(patron.0);
        let patron = String::from_utf8_lossy(&patron);
        let made = self.pseudonymiser.pseudonymise(&self.named_patron_meaning, &patron, named_id);
        RowKey(made.to_bits())
    }

    /// The key of a row on the patrons topic, which all lanes share: its kind, its patron, and the
    /// position of the record that it is about.
    pub(in crate::engine) fn shared_row_key(
        &self,
        kind: &str,
        patron: &[u8],
        place: &str,
    ) -> RowKey {
        let patron = String::from_utf8_lossy(patron);
        let meaning = PseudonymDomain::new("zeef.patrons", kind);
        RowKey(self.pseudonymiser.pseudonymise(&meaning, &patron, place).to_bits())
    }

    /// Makes hashes of records, and the MACs of rows and marks.
    #[must_use]
    pub fn fingerprinter(&self) -> Fingerprinter {
        Fingerprinter::new(self.fingerprint_secret)
    }

    /// Starts a keyed hash that is stable across restarts.
    #[must_use]
    pub fn hasher(&self) -> KeyedHasher {
        KeyedHasher(HighwayHasher::new(HashKey(self.hash_secret)))
    }

    #[must_use]
    pub fn hash_bytes(&self, bytes: &[u8]) -> u64 {
        HighwayHasher::new(HashKey(self.hash_secret)).hash64(bytes)
    }
}

/// A keyed hash over several values, each with its length.
#[derive(Debug)]
pub struct KeyedHasher(HighwayHasher);

impl KeyedHasher {
    pub fn add(&mut self, kind: u8, bytes: &[u8]) {
        let mut head = [kind; 9];
        head[1..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.0.append(&head);
        self.0.append(bytes);
    }

    #[must_use]
    pub fn finish(self) -> u64 {
        self.0.finalize64()
    }
}

/// The rows of a worker's partitions.
#[derive(Debug, Default)]
pub struct DeliveryState {
    partitions: HashMap<i32, PartitionDeliveries, foldhash::fast::RandomState>,
}

impl DeliveryState {
    #[must_use]
    pub fn find(&self, partition: i32, key: RowKey) -> Option<&DeliveryRow> {
        self.partitions.get(&partition)?.find(key)
    }

    /// Sets a row, with its MAC, within the batch.
    pub fn put(&mut self, partition: i32, key: RowKey, row: (DeliveryRow, u64)) {
        self.partitions.entry(partition).or_default().put(key, row);
    }

    /// Removes a row within the batch.
    pub fn remove(&mut self, partition: i32, key: RowKey) {
        if let Some(part) = self.partitions.get_mut(&partition) {
            part.remove(key);
        }
    }

    /// Sets a row outside of any batch, while a partition is rebuilt.
    pub fn restore(&mut self, partition: i32, key: RowKey, row: Option<(DeliveryRow, u64)>) {
        let part = self.partitions.entry(partition).or_default();
        part.restore(key, row);
    }

    /// Returns count and MACs of the rows of a partition.
    #[must_use]
    pub fn row_sum(&self, partition: i32) -> RowChecksum {
        self.partitions
            .get(&partition)
            .map_or_else(RowChecksum::default, PartitionDeliveries::row_sum)
    }

    /// How many outputs recipients have of a partition, by recipient and output.
    pub fn output_counts(&self, partition: i32) -> impl Iterator<Item = ((u16, u16), u64)> {
        self.partitions.get(&partition).into_iter().flat_map(PartitionDeliveries::output_counts)
    }

    /// The same for recipients and topics that the lane does not have, by name.
    pub fn foreign_output_counts(
        &self,
        partition: i32,
    ) -> impl Iterator<Item = (&(String, String), u64)> {
        let part = self.partitions.get(&partition);
        part.into_iter().flat_map(PartitionDeliveries::foreign_output_counts)
    }

    /// The partitions that the batch changed.
    pub fn changed_partitions(&self) -> impl Iterator<Item = i32> {
        let parts = self.partitions.iter();
        parts.filter(|(_, part)| part.has_changes()).map(|(partition, _)| *partition)
    }

    /// Sets the id of a patron, which rows do not tell, if it has rows.
    pub fn set_patron_id(&mut self, partition: i32, patron: PatronHash, patron_id: &str) {
        if let Some(part) = self.partitions.get_mut(&partition) {
            part.set_patron_id(patron, patron_id);
        }
    }

    /// Drops the id of a patron. No batch may be open: an abort does not bring it back.
    pub fn drop_patron_id(&mut self, partition: i32, patron: PatronHash) {
        if let Some(part) = self.partitions.get_mut(&partition) {
            part.drop_patron_id(patron);
        }
    }

    /// The id of a patron that has rows, if it is known.
    #[must_use]
    pub fn patron_id(&self, partition: i32, patron: PatronHash) -> Option<&str> {
        self.partitions.get(&partition)?.patron_id(patron)
    }

    /// Appends the keys of a patron's rows to `found`.
    pub fn collect_rows_of_patron(
        &self,
        partition: i32,
        patron: PatronHash,
        found: &mut Vec<RowKey>,
    ) {
        found.extend(self.rows_of_patron(partition, patron).map(|(key, _)| key));
    }

    pub fn rows_of_patron(
        &self,
        partition: i32,
        patron: PatronHash,
    ) -> impl Iterator<Item = (RowKey, &DeliveryRow)> {
        let part = self.partitions.get(&partition).into_iter();
        part.flat_map(move |part| part.rows_of_patron(patron))
    }

    pub fn rows(&self, partition: i32) -> impl Iterator<Item = (RowKey, &DeliveryRow)> {
        let part = self.partitions.get(&partition);
        part.into_iter().flat_map(PartitionDeliveries::rows)
    }

    /// All rows, with their partitions.
    pub fn all_rows(&self) -> impl Iterator<Item = (i32, RowKey, &DeliveryRow)> {
        let parts = self.partitions.iter();
        parts
            .flat_map(|(&partition, part)| part.rows().map(move |(key, row)| (partition, key, row)))
    }

    /// How many rows of a partition are held.
    #[must_use]
    pub fn held_count(&self, partition: i32) -> usize {
        self.partitions.get(&partition).map_or(0, PartitionDeliveries::held_count)
    }

    /// How many rows are held in all partitions.
    #[must_use]
    pub fn held_total(&self) -> usize {
        self.partitions.values().map(PartitionDeliveries::held_count).sum()
    }

    /// Of how many records the source should have deleted its copy by now.
    #[must_use]
    pub fn overdue_source_deletions(&self, now_ms: i64) -> usize {
        self.partitions.values().map(|part| part.overdue_source_deletions(now_ms)).sum()
    }

    /// How many outputs each recipient has of a partition; 0 beyond the end.
    #[must_use]
    pub fn sent_per_recipient(&self, partition: i32) -> &[u64] {
        self.partitions.get(&partition).map_or(&[], PartitionDeliveries::sent_per_recipient)
    }

    /// Adds how many outputs each recipient has, of all partitions, to `sums`.
    pub fn add_sent_per_recipient(&self, sums: &mut [u64]) {
        for part in self.partitions.values() {
            for (sum, count) in sums.iter_mut().zip(part.sent_per_recipient()) {
                *sum += count;
            }
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.partitions.values().map(PartitionDeliveries::len).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Transactional for DeliveryState {
    fn commit(&mut self) {
        self.partitions.values_mut().for_each(PartitionDeliveries::commit);
    }

    fn rollback(&mut self) {
        self.partitions.values_mut().for_each(PartitionDeliveries::rollback);
    }

    fn retain_partitions(&mut self, is_kept: &dyn Fn(i32) -> bool) {
        self.partitions.retain(|&partition, _| is_kept(partition));
    }
}
