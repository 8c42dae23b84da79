//! What is kept in memory about patrons: the least that the lane needs.
//!
//! One part per partition, dropped when the partition goes. What a batch
//! changes can be undone until its commit has returned, so that an abort
//! undoes memory too. It keeps no row that was replaced or erased beyond that.

mod draft;
mod layout;
mod row;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use draft::{Draft, Sensitive};
pub use layout::RowLayout;
pub use row::{Known, Row};

use rows::{Rows, Seed};

/// The patrons of a worker's partitions.
#[derive(Debug, Default)]
pub struct Table {
    parts: HashMap<i32, Rows, Seed>,
    seed: Seed,
}

impl Table {
    /// What is known of a patron, seen from inside the batch.
    #[inline]
    #[must_use]
    pub fn find(&self, partition: i32, patron_id: &str) -> Option<Known<'_>> {
        let part = self.parts.get(&partition)?;
        part.find(&self.seed, patron_id).map(Row::known)
    }

    /// The offset of the record that a patron is known by.
    #[must_use]
    pub fn offset(&self, partition: i32, patron_id: &str) -> Option<i64> {
        let row = self.parts.get(&partition)?.find(&self.seed, patron_id);
        row.map(Row::offset)
    }

    /// Whether a record of a patron was ever seen, as far as the table tells.
    #[must_use]
    pub fn knows(&self, partition: i32, patron_id: &str) -> bool {
        let part = self.parts.get(&partition);
        let row = part.and_then(|part| part.find(&self.seed, patron_id));
        row.is_some_and(Row::is_matched)
    }

    /// Every patron of a partition, erased ones too.
    pub fn rows(&self, partition: i32) -> impl Iterator<Item = &Row> {
        let part = self.parts.get(&partition);
        part.into_iter().flat_map(Rows::iter)
    }

    /// Changes a patron within the batch, unless something newer is known.
    pub fn put(&mut self, partition: i32, row: Row) {
        let part = self.parts.entry(partition).or_default();
        part.put(&self.seed, row);
    }

    /// Sets a patron outside of any batch, while a partition is rebuilt.
    ///
    /// No batch may have changed the partition since the last
    /// [`merge`](Self::merge) or [`abandon`](Self::abandon).
    pub fn restore(&mut self, partition: i32, row: Row) {
        let part = self.parts.entry(partition).or_default();
        debug_assert!(part.is_settled(), "a batch is open");
        part.set(&self.seed, row);
    }

    /// Makes what the batch changed last.
    pub fn merge(&mut self) {
        self.parts.values_mut().for_each(Rows::merge);
    }

    /// Takes back what the batch changed.
    pub fn abandon(&mut self) {
        for part in self.parts.values_mut() {
            part.abandon(&self.seed);
        }
    }

    /// Drops a partition whole.
    pub fn drop_partition(&mut self, partition: i32) {
        self.parts.remove(&partition);
    }

    /// Drops every partition that is not in `kept`.
    pub fn retain(&mut self, kept: impl Fn(i32) -> bool) {
        self.parts.retain(|&partition, _| kept(partition));
    }

    /// How many patrons are known, erased ones too, seen from inside the batch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.values().map(Rows::len).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
