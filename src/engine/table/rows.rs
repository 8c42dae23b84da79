//! The rows of one partition, by patron id, and how to undo a batch.
//!
//! A row carries its own key, so that the map holds nothing else.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::row::Row;
use std::hash::{BuildHasher, Hasher};

/// Seeded at random: patron ids are chosen by others.
pub(super) type Seed = foldhash::fast::RandomState;

/// The rows of one partition.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: HashTable<Row>,
    /// What the batch changed, oldest first.
    undo: Vec<Undo>,
}

/// How one change is taken back.
#[derive(Debug)]
enum Undo {
    /// The row that stood there before.
    Replaced(Row),
    /// The id of a patron that was not known before.
    Added(Box<str>),
}

fn hash(seed: &Seed, patron_id: &str) -> u64 {
    let mut hasher = seed.build_hasher();
    hasher.write(patron_id.as_bytes());
    hasher.finish()
}

impl Rows {
    #[inline]
    pub(super) fn find(&self, seed: &Seed, patron_id: &str) -> Option<&Row> {
        self.rows
            .find(hash(seed, patron_id), |row| row.patron_id() == patron_id)
    }

    /// Sets a row so that [`abandon`](Self::abandon) can undo it, unless a
    /// later record is known.
    pub(super) fn put(&mut self, seed: &Seed, row: Row) {
        match entry(&mut self.rows, seed, row.patron_id()) {
            Entry::Occupied(mut known) => {
                if known.get().offset() <= row.offset() {
                    let before = std::mem::replace(known.get_mut(), row);
                    self.undo.push(Undo::Replaced(before));
                }
            }
            Entry::Vacant(place) => {
                self.undo.push(Undo::Added(row.patron_id().into()));
                place.insert(row);
            }
        }
    }

    /// Sets a row for good.
    pub(super) fn set(&mut self, seed: &Seed, row: Row) {
        match entry(&mut self.rows, seed, row.patron_id()) {
            Entry::Occupied(mut known) => *known.get_mut() = row,
            Entry::Vacant(place) => {
                place.insert(row);
            }
        }
    }

    pub(super) fn merge(&mut self) {
        self.undo.clear();
    }

    pub(super) fn abandon(&mut self, seed: &Seed) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Replaced(row) => self.set(seed, row),
                Undo::Added(patron_id) => {
                    if let Entry::Occupied(known) = entry(&mut self.rows, seed, &patron_id) {
                        known.remove();
                    }
                }
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether the batch changed nothing.
    pub(super) fn is_settled(&self) -> bool {
        self.undo.is_empty()
    }
}

fn entry<'a>(rows: &'a mut HashTable<Row>, seed: &Seed, patron_id: &str) -> Entry<'a, Row> {
    rows.entry(
        hash(seed, patron_id),
        |row| row.patron_id() == patron_id,
        |row| hash(seed, row.patron_id()),
    )
}
