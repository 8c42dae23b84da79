//! What each recipient has, and may still be owed, of each record.
//!
//! One row for each such record, with an entry for each recipient it matters to.
//! No value of a record is in it: identifiers are keyed hashes, and so is what
//! tells whether an output would be another one. Changes of a batch can be
//! undone until its commit has returned.

pub mod carry;
mod part;
mod row;
#[cfg(test)]
mod tests;
pub mod text;
pub mod waiting;

use std::collections::HashMap;

use highway::{HighwayHash, HighwayHasher, Key as HashKey};

pub use row::{Entries, Entry, FOREIGN, More, Outcome, Pending, Row};

use part::Part;

use crate::policy::pseudonym::{Key, Meaning, Pseudonymiser};
use crate::transport::continuity::{Fingerprinter, RowSum};

/// A record of the lane, by what only zeef's own key makes of its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowKey(pub u128);

/// A patron, likewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PatronRef(pub u128);

/// Makes the names and hashes that stand in the state, under a key of its own.
#[derive(Clone, Debug)]
pub struct Namer {
    pseudonymiser: Pseudonymiser,
    patron: Meaning,
    hash: [u64; 4],
    prints: [u64; 4],
}

impl Namer {
    #[must_use]
    pub fn new(key: &Key) -> Namer {
        let pseudonymiser = Pseudonymiser::new(key);
        let half = |name: &str| {
            let made = pseudonymiser.pseudonym(&Meaning::new("zeef", "state"), "", name);
            let bits = made.bits();
            #[allow(clippy::cast_possible_truncation, reason = "the lower half is meant")]
            let low = bits as u64;
            [(bits >> 64) as u64, low]
        };
        let ([a, b], [c, d]) = (half("hash 1"), half("hash 2"));
        let ([e, f], [g, h]) = (half("print 1"), half("print 2"));
        Namer {
            patron: Meaning::new("patron", "patron_id"),
            hash: [a, b, c, d],
            prints: [e, f, g, h],
            pseudonymiser,
        }
    }

    /// The name of a record of a patron. No library is in it: a record whose
    /// library is corrected is the same one.
    #[must_use]
    pub fn record(&self, meaning: &Meaning, patron_id: &str, id: &str) -> RowKey {
        RowKey(self.pseudonymiser.pseudonym(meaning, patron_id, id).bits())
    }

    #[must_use]
    pub fn patron(&self, patron_id: &str) -> PatronRef {
        let made = self.pseudonymiser.pseudonym(&self.patron, "", patron_id);
        PatronRef(made.bits())
    }

    /// The name of a row about a patron that all lanes share: what kind of row,
    /// whose, and where that lies which it is about.
    pub(super) fn kept(&self, kind: &str, patron: &[u8], place: &str) -> RowKey {
        let patron = String::from_utf8_lossy(patron);
        let meaning = Meaning::new("zeef.patrons", kind);
        RowKey(
            self.pseudonymiser
                .pseudonym(&meaning, &patron, place)
                .bits(),
        )
    }

    /// Returns what makes hashes of records, and the MACs of rows and marks.
    #[must_use]
    pub fn fingerprinter(&self) -> Fingerprinter {
        Fingerprinter::new(self.prints)
    }

    /// Starts a keyed hash that is the same after a restart.
    #[must_use]
    pub fn hasher(&self) -> Hasher {
        Hasher(HighwayHasher::new(HashKey(self.hash)))
    }

    /// The hash of one text.
    #[must_use]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        HighwayHasher::new(HashKey(self.hash)).hash64(bytes)
    }
}

/// A keyed hash over several values, each with where it ends.
#[derive(Debug)]
pub struct Hasher(HighwayHasher);

impl Hasher {
    pub fn add(&mut self, kind: u8, bytes: &[u8]) {
        let mut head = [kind; 9];
        head[1..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.0.append(&head);
        self.0.append(bytes);
    }

    #[must_use]
    pub fn end(self) -> u64 {
        self.0.finalize64()
    }
}

/// The rows of a worker's partitions.
#[derive(Debug, Default)]
pub struct State {
    parts: HashMap<i32, Part, foldhash::fast::RandomState>,
}

impl State {
    #[must_use]
    pub fn find(&self, partition: i32, key: RowKey) -> Option<&Row> {
        self.parts.get(&partition)?.find(key)
    }

    /// Sets a row, with its MAC, within the batch; `patron_id` is kept beside it,
    /// in memory alone, where it is known.
    pub fn put(&mut self, partition: i32, key: RowKey, row: (Row, u64), patron_id: Option<&str>) {
        let part = self.parts.entry(partition).or_default();
        part.put(key, row, patron_id);
    }

    /// Removes a row within the batch.
    pub fn remove(&mut self, partition: i32, key: RowKey) {
        if let Some(part) = self.parts.get_mut(&partition) {
            part.remove(key);
        }
    }

    /// Sets a row outside of any batch, while a partition is rebuilt.
    pub fn restore(&mut self, partition: i32, key: RowKey, row: Option<(Row, u64)>) {
        let part = self.parts.entry(partition).or_default();
        part.restore(key, row);
    }

    /// Returns count and MACs of the rows of a partition.
    #[must_use]
    pub fn sum(&self, partition: i32) -> RowSum {
        self.parts
            .get(&partition)
            .map_or_else(RowSum::default, Part::sum)
    }

    /// How many outputs recipients have of a partition, by their places in the
    /// lane: recipient and output.
    pub fn has(&self, partition: i32) -> impl Iterator<Item = ((u16, u16), u64)> {
        self.parts.get(&partition).into_iter().flat_map(Part::has)
    }

    /// The same of recipients and topics that the lane does not have.
    pub fn others_with(&self, partition: i32) -> impl Iterator<Item = (&(String, String), u64)> {
        let part = self.parts.get(&partition);
        part.into_iter().flat_map(Part::others_with)
    }

    /// The partitions of which the batch changed rows.
    pub fn changed(&self) -> impl Iterator<Item = i32> {
        let parts = self.parts.iter();
        parts
            .filter(|(_, part)| part.is_changed())
            .map(|(partition, _)| *partition)
    }

    /// Notes whose rows these are, as rows alone do not tell. False where the
    /// patron has none.
    pub fn name(&mut self, partition: i32, patron: PatronRef, patron_id: &str) -> bool {
        let part = self.parts.get_mut(&partition);
        part.is_some_and(|part| part.name(patron, patron_id))
    }

    /// The id of a patron that has rows, where it is known.
    #[must_use]
    pub fn patron_id(&self, partition: i32, patron: PatronRef) -> Option<&str> {
        self.parts.get(&partition)?.patron_id(patron)
    }

    /// Adds the rows of a patron to `found`.
    pub fn of_patron(&self, partition: i32, patron: PatronRef, found: &mut Vec<RowKey>) {
        if let Some(part) = self.parts.get(&partition) {
            part.of_patron(patron, found);
        }
    }

    /// Every row of a partition.
    pub fn rows(&self, partition: i32) -> impl Iterator<Item = (RowKey, &Row)> {
        let part = self.parts.get(&partition);
        part.into_iter().flat_map(Part::rows)
    }

    /// Every row, with its partition.
    pub fn all(&self) -> impl Iterator<Item = (i32, RowKey, &Row)> {
        let parts = self.parts.iter();
        parts
            .flat_map(|(&partition, part)| part.rows().map(move |(key, row)| (partition, key, row)))
    }

    /// How many rows are held in a partition.
    #[must_use]
    pub fn held(&self, partition: i32) -> usize {
        self.parts.get(&partition).map_or(0, Part::held)
    }

    /// How many rows are held in all.
    #[must_use]
    pub fn held_in_all(&self) -> usize {
        self.parts.values().map(Part::held).sum()
    }

    /// How many outputs each recipient has in a partition, by its place in the
    /// lane; those at the end that have none may be missing.
    #[must_use]
    pub fn sent(&self, partition: i32) -> &[u64] {
        self.parts.get(&partition).map_or(&[], Part::sent)
    }

    /// Adds how many outputs each recipient has, of all partitions, to `sums`.
    pub fn add_sent_in_all(&self, sums: &mut [u64]) {
        for part in self.parts.values() {
            for (sum, count) in sums.iter_mut().zip(part.sent()) {
                *sum += count;
            }
        }
    }

    pub fn merge(&mut self) {
        self.parts.values_mut().for_each(Part::merge);
    }

    pub fn abandon(&mut self) {
        self.parts.values_mut().for_each(Part::abandon);
    }

    pub fn drop_partition(&mut self, partition: i32) {
        self.parts.remove(&partition);
    }

    pub fn retain(&mut self, kept: impl Fn(i32) -> bool) {
        self.parts.retain(|&partition, _| kept(partition));
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.values().map(Part::len).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
