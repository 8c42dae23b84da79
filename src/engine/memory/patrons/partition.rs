//! The rows of one partition by patron id, and how a batch is undone.
//!
//! A row contains its own key; the map keeps the hash beside it, so that it grows and
//! searches without reading rows.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::row::PatronRow;
use std::hash::{BuildHasher, Hasher};

/// Seeded at random: patron ids are chosen by others.
pub(crate) type HashSeed = foldhash::fast::RandomState;

/// The rows of one partition.
#[derive(Debug, Default)]
pub(crate) struct PartitionRows {
    rows: HashTable<HashedRow>,
    /// What the batch changed, oldest first.
    undo_log: Vec<RowUndo>,
}

/// A row, and the hash of its patron's id.
#[derive(Debug)]
struct HashedRow {
    hash: u64,
    row: PatronRow,
}

impl HashedRow {
    #[inline]
    fn matches(&self, hash: u64, patron_id: &str) -> bool {
        self.hash == hash && self.row.patron_id() == patron_id
    }
}

#[derive(Debug)]
enum RowUndo {
    /// The previous row.
    Replaced(PatronRow),
    /// The id of a patron that was unknown.
    Added(Box<str>),
}

fn hash_patron_id(seed: &HashSeed, patron_id: &str) -> u64 {
    let mut hasher = seed.build_hasher();
    hasher.write(patron_id.as_bytes());
    hasher.finish()
}

impl PartitionRows {
    #[inline]
    pub(crate) fn find(&self, seed: &HashSeed, patron_id: &str) -> Option<&PatronRow> {
        let hash = hash_patron_id(seed, patron_id);
        let kept = self.rows.find(hash, |kept| kept.matches(hash, patron_id));
        kept.map(|kept| &kept.row)
    }

    /// Sets a row within the batch, unless a later record is known.
    pub(crate) fn put(&mut self, seed: &HashSeed, row: PatronRow) {
        let hash = hash_patron_id(seed, row.patron_id());
        match row_entry(&mut self.rows, hash, row.patron_id()) {
            Entry::Occupied(mut known) => {
                let known = &mut known.get_mut().row;
                if known.offset() <= row.offset() {
                    let before = std::mem::replace(known, row);
                    self.undo_log.push(RowUndo::Replaced(before));
                }
            }
            Entry::Vacant(place) => {
                self.undo_log.push(RowUndo::Added(row.patron_id().into()));
                place.insert(HashedRow { hash, row });
            }
        }
    }

    /// Sets a row outside of any batch.
    pub(crate) fn set_row(&mut self, seed: &HashSeed, row: PatronRow) {
        let hash = hash_patron_id(seed, row.patron_id());
        match row_entry(&mut self.rows, hash, row.patron_id()) {
            Entry::Occupied(mut known) => known.get_mut().row = row,
            Entry::Vacant(place) => {
                place.insert(HashedRow { hash, row });
            }
        }
    }

    pub(crate) fn commit(&mut self) {
        self.undo_log.clear();
    }

    pub(crate) fn rollback(&mut self, seed: &HashSeed) {
        while let Some(undo) = self.undo_log.pop() {
            match undo {
                RowUndo::Replaced(row) => self.set_row(seed, row),
                RowUndo::Added(patron_id) => {
                    let hash = hash_patron_id(seed, &patron_id);
                    if let Entry::Occupied(known) = row_entry(&mut self.rows, hash, &patron_id) {
                        known.remove();
                    }
                }
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &PatronRow> {
        self.rows.iter().map(|kept| &kept.row)
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether the batch changed nothing.
    pub(crate) fn has_no_open_batch(&self) -> bool {
        self.undo_log.is_empty()
    }
}

fn row_entry<'a>(
    rows: &'a mut HashTable<HashedRow>,
    hash: u64,
    patron_id: &str,
) -> Entry<'a, HashedRow> {
    rows.entry(hash, |kept| kept.matches(hash, patron_id), |kept| kept.hash)
}
