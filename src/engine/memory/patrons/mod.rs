//! Patrons in memory: the least that the lane needs of them.
//!
//! Each partition has a part of its own. Beyond the open batch no replaced or erased row
//! is kept, and of an erased patron no id, only a keyed hash.

mod layout;
mod partition;
mod row;
mod row_writer;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use layout::PatronRowLayout;
pub use row::{PatronRow, PatronStatus};
pub use row_writer::{PatronRowWriter, SensitiveValues};

use partition::PartitionRows;

use super::deliveries::StateKeys;
use super::table_keys::{HashSeed, TableKeys};
use super::transactional::Transactional;

/// The patrons of a worker's partitions.
#[derive(Debug, Default)]
pub struct PatronTable {
    partitions: HashMap<i32, PartitionRows, HashSeed>,
    keys: TableKeys,
}

impl PatronTable {
    /// Creates a table that has the hashes of the state in place of the ids of erased patrons.
    #[must_use]
    pub fn with_state_keys(state_keys: StateKeys) -> PatronTable {
        let keys = TableKeys { state_keys, ..TableKeys::default() };
        PatronTable { keys, ..PatronTable::default() }
    }

    /// Returns what is known of a patron, as changed by the open batch.
    #[inline]
    #[must_use]
    pub fn find(&self, partition: i32, patron_id: &str) -> Option<PatronStatus<'_>> {
        let part = self.partitions.get(&partition)?;
        part.find(&self.keys, patron_id).map(PatronRow::status)
    }

    /// The offset of the record that the patron's row was made of.
    #[must_use]
    pub fn patron_offset(&self, partition: i32, patron_id: &str) -> Option<i64> {
        let row = self.partitions.get(&partition)?.find(&self.keys, patron_id);
        row.map(PatronRow::offset)
    }

    /// Whether a record of the patron was ever seen, as far as the table knows.
    #[must_use]
    pub fn was_ever_known(&self, partition: i32, patron_id: &str) -> bool {
        let part = self.partitions.get(&partition);
        let row = part.and_then(|part| part.find(&self.keys, patron_id));
        row.is_some_and(PatronRow::was_ever_known)
    }

    /// All patrons of a partition. Erased ones have no id, only a hash of it.
    pub fn rows(&self, partition: i32) -> impl Iterator<Item = &PatronRow> {
        let part = self.partitions.get(&partition);
        part.into_iter().flat_map(PartitionRows::iter)
    }

    /// Sets a patron within the batch, unless a later record is known.
    pub fn put(&mut self, partition: i32, row: PatronRow) {
        let part = self.partitions.entry(partition).or_default();
        part.put(&self.keys, row);
    }

    /// Sets a patron while a partition is rebuilt. No batch may be open.
    pub fn restore(&mut self, partition: i32, row: PatronRow) {
        let part = self.partitions.entry(partition).or_default();
        debug_assert!(part.has_no_open_batch(), "a batch is open");
        part.restore(&self.keys, row);
    }

    /// How many patrons are known, including erased ones.
    #[must_use]
    pub fn len(&self) -> usize {
        self.partitions.values().map(PartitionRows::len).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Transactional for PatronTable {
    fn commit(&mut self) {
        for part in self.partitions.values_mut() {
            part.commit(&self.keys);
        }
    }

    fn rollback(&mut self) {
        for part in self.partitions.values_mut() {
            part.rollback(&self.keys);
        }
    }

    fn retain_partitions(&mut self, is_kept: &dyn Fn(i32) -> bool) {
        self.partitions.retain(|&partition, _| is_kept(partition));
    }
}
