//! The rows of one partition, by patron id, and how to undo a batch.
//!
//! A row carries its own key; the map keeps its hash beside it, so that it grows
//! and searches without looking into rows that lie all over memory.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::row::Row;
use std::hash::{BuildHasher, Hasher};

/// Seeded at random: patron ids are chosen by others.
pub(super) type Seed = foldhash::fast::RandomState;

/// The rows of one partition.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: HashTable<Kept>,
    /// What the batch changed, oldest first.
    undo: Vec<Undo>,
}

/// A row, and the hash of its patron's id.
#[derive(Debug)]
struct Kept {
    hash: u64,
    row: Row,
}

impl Kept {
    #[inline]
    fn is(&self, hash: u64, patron_id: &str) -> bool {
        self.hash == hash && self.row.patron_id() == patron_id
    }
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
        let hash = hash(seed, patron_id);
        let kept = self.rows.find(hash, |kept| kept.is(hash, patron_id));
        kept.map(|kept| &kept.row)
    }

    /// Sets a row so that [`abandon`](Self::abandon) can undo it, unless a
    /// later record is known.
    pub(super) fn put(&mut self, seed: &Seed, row: Row) {
        let hash = hash(seed, row.patron_id());
        match entry(&mut self.rows, hash, row.patron_id()) {
            Entry::Occupied(mut known) => {
                let known = &mut known.get_mut().row;
                if known.offset() <= row.offset() {
                    let before = std::mem::replace(known, row);
                    self.undo.push(Undo::Replaced(before));
                }
            }
            Entry::Vacant(place) => {
                self.undo.push(Undo::Added(row.patron_id().into()));
                place.insert(Kept { hash, row });
            }
        }
    }

    /// Sets a row for good.
    pub(super) fn set(&mut self, seed: &Seed, row: Row) {
        let hash = hash(seed, row.patron_id());
        match entry(&mut self.rows, hash, row.patron_id()) {
            Entry::Occupied(mut known) => known.get_mut().row = row,
            Entry::Vacant(place) => {
                place.insert(Kept { hash, row });
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
                    let hash = hash(seed, &patron_id);
                    if let Entry::Occupied(known) = entry(&mut self.rows, hash, &patron_id) {
                        known.remove();
                    }
                }
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().map(|kept| &kept.row)
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether the batch changed nothing.
    pub(super) fn is_settled(&self) -> bool {
        self.undo.is_empty()
    }
}

fn entry<'a>(rows: &'a mut HashTable<Kept>, hash: u64, patron_id: &str) -> Entry<'a, Kept> {
    rows.entry(hash, |kept| kept.is(hash, patron_id), |kept| kept.hash)
}
