//! The records of patrons that summaries are made of: sums, counts and lists.
//!
//! Only of sources that some recipient of the lane summarises, and of those only the records
//! that may count, each with the values that are needed and no others. Rebuilt from the
//! sources.

use std::collections::HashMap;
use std::hash::BuildHasher;

use hashbrown::HashTable;

use super::erasures::LastErasure;
use super::patrons::PatronRow;
use super::transactional::Transactional;
use crate::message::AppendTime;

type HashSeed = foldhash::fast::RandomState;

/// A record as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRecord {
    /// An index of the lane's sources.
    pub source: u16,
    pub appended: Option<AppendTime>,
    /// Its own id is the row's.
    pub row: PatronRow,
}

/// The records of one patron.
#[derive(Clone, Debug, Default)]
pub struct PatronRecords(HashTable<KeptRecord>);

impl PatronRecords {
    /// The records of a source, in no order.
    pub fn of_source(&self, source: u16) -> impl Iterator<Item = &PatronRow> {
        self.0.iter().filter(move |kept| kept.source == source).map(|kept| &kept.row)
    }

    /// Replaces a record; returns what was there.
    fn replace(
        &mut self,
        seed: &HashSeed,
        (source, id): (u16, &str),
        record: Option<KeptRecord>,
    ) -> Option<KeptRecord> {
        let hash = |source: u16, id: &str| seed.hash_one((source, id));
        let is_same = |kept: &KeptRecord| kept.source == source && kept.row.patron_id() == id;
        let before = match self.0.find_entry(hash(source, id), is_same) {
            Ok(found) => Some(found.remove().0),
            Err(_) => None,
        };
        if let Some(record) = record {
            let rehash = |kept: &KeptRecord| hash(kept.source, kept.row.patron_id());
            self.0.insert_unique(hash(source, id), record, rehash);
        }
        before
    }
}

/// A version of a record of one patron.
#[derive(Debug)]
pub struct RecordChange<'a> {
    pub partition: i32,
    pub offset: i64,
    pub source: u16,
    pub patron_id: &'a str,
    pub record_id: Box<str>,
    /// `None` if it does not count.
    pub record: Option<KeptRecord>,
}

#[derive(Debug, Default)]
struct PartitionRecords {
    patrons: HashMap<Box<str>, PatronRecords, HashSeed>,
    /// By source: versions below this offset were read while the partition was rebuilt.
    restored_until: HashMap<u16, i64>,
}

/// What a batch replaced.
#[derive(Debug)]
struct RecordUndo {
    partition: i32,
    source: u16,
    patron_id: Box<str>,
    record_id: Box<str>,
    before: Option<KeptRecord>,
}

/// The kept records of a worker's partitions.
#[derive(Debug, Default)]
pub struct PatronRecordTable {
    partitions: HashMap<i32, PartitionRecords, HashSeed>,
    hash_seed: HashSeed,
    /// What the batch changed, oldest first.
    undo_log: Vec<RecordUndo>,
}

impl PatronRecordTable {
    /// The records of a patron; `None` if none are kept.
    #[inline]
    #[must_use]
    pub fn find(&self, partition: i32, patron_id: &str) -> Option<&PatronRecords> {
        self.partitions.get(&partition)?.patrons.get(patron_id)
    }

    /// Applies a version within the batch, unless it was read while the partition was
    /// rebuilt: a later one may be known then. Returns whether anything may count otherwise.
    pub fn apply_in_batch(&mut self, change: RecordChange<'_>) -> bool {
        let part = self.partitions.get(&change.partition);
        let restored_until = part.and_then(|part| part.restored_until.get(&change.source));
        if restored_until.is_some_and(|until| change.offset < *until) {
            return false;
        }
        let undo = RecordUndo {
            partition: change.partition,
            source: change.source,
            patron_id: change.patron_id.into(),
            record_id: change.record_id.clone(),
            before: None,
        };
        let is_kept = change.record.is_some();
        let before = self.apply(change);
        let is_changed = is_kept || before.is_some();
        if is_changed {
            self.undo_log.push(RecordUndo { before, ..undo });
        }
        is_changed
    }

    /// Applies a version outside of any batch; they come in the order of their source.
    pub fn restore(&mut self, change: RecordChange<'_>) {
        let part = self.partitions.entry(change.partition).or_default();
        part.restored_until.insert(change.source, change.offset + 1);
        self.apply(change);
    }

    fn apply(&mut self, change: RecordChange<'_>) -> Option<KeptRecord> {
        let RecordChange { partition, source, patron_id, record_id, record, .. } = change;
        let part = self.partitions.entry(partition).or_default();
        let records = match part.patrons.get_mut(patron_id) {
            Some(records) => records,
            None if record.is_none() => return None,
            None => part.patrons.entry(patron_id.into()).or_default(),
        };
        let before = records.replace(&self.hash_seed, (source, &record_id), record);
        if records.0.is_empty() {
            part.patrons.remove(patron_id);
        }
        before
    }

    /// A patron was erased, within the batch: drops what was appended before.
    pub fn drop_before(&mut self, partition: i32, patron_id: &str, erasure: LastErasure) {
        let Some(part) = self.partitions.get_mut(&partition) else {
            return;
        };
        let Some(records) = part.patrons.get_mut(patron_id) else {
            return;
        };
        for before in records.0.extract_if(|kept| !erasure.precedes(kept.appended)) {
            self.undo_log.push(RecordUndo {
                partition,
                source: before.source,
                patron_id: patron_id.into(),
                record_id: before.row.patron_id().into(),
                before: Some(before),
            });
        }
        if records.0.is_empty() {
            part.patrons.remove(patron_id);
        }
    }

    /// How many records are kept, and the bytes of their rows.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let patrons = self.partitions.values().flat_map(|part| part.patrons.values());
        let rows = patrons.flat_map(|records| records.0.iter().map(|kept| kept.row.0.len()));
        rows.fold((0, 0), |(count, bytes), len| (count + 1, bytes + len))
    }
}

impl Transactional for PatronRecordTable {
    fn commit(&mut self) {
        self.undo_log.clear();
    }

    fn rollback(&mut self) {
        while let Some(undo) = self.undo_log.pop() {
            let RecordUndo { partition, source, patron_id, record_id, before } = undo;
            self.apply(RecordChange {
                partition,
                offset: 0,
                source,
                patron_id: &patron_id,
                record_id,
                record: before,
            });
        }
    }

    fn retain_partitions(&mut self, is_kept: &dyn Fn(i32) -> bool) {
        self.partitions.retain(|&partition, _| is_kept(partition));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn change(
        offset: i64,
        patron: &'static str,
        id: &'static str,
        keeps: bool,
    ) -> RecordChange<'static> {
        let record = keeps.then(|| KeptRecord {
            source: 2,
            appended: Some(AppendTime { ms: offset, is_exact: true }),
            row: PatronRow::unreadable(id, offset),
        });
        RecordChange {
            partition: 0,
            offset,
            source: 2,
            patron_id: patron,
            record_id: id.into(),
            record,
        }
    }

    fn contents(table: &PatronRecordTable) -> BTreeMap<(String, String), i64> {
        let patrons = table.partitions.values().flat_map(|part| &part.patrons);
        let rows = patrons.flat_map(|(id, records)| {
            records
                .of_source(2)
                .map(move |row| ((id.to_string(), row.patron_id().to_owned()), row.offset()))
        });
        rows.collect()
    }

    proptest! {
        /// It behaves as a plain map does, aborted batches included.
        #[test]
        fn patron_records_equal_a_plain_map_with_rollback(
            batches in prop::collection::vec(
                (prop::collection::vec((0..5_u8, 0..2_usize, 0..3_usize), 0..6), any::<bool>()), 0..8),
        ) {
            let (patrons, ids) = (["p", "q"], ["a", "b", "c"]);
            let mut table = PatronRecordTable::default();
            let mut plain = BTreeMap::new();
            let mut offset = 0;
            for (batch, is_aborted) in batches {
                let mut next = plain.clone();
                for (action, patron, id) in batch {
                    offset += 1;
                    let (patron, id) = (patrons[patron], ids[id]);
                    let key = (patron.to_owned(), id.to_owned());
                    match action {
                        0..=2 => {
                            prop_assert!(table.apply_in_batch(change(offset, patron, id, true)));
                            next.insert(key, offset);
                        }
                        3 => {
                            let is_changed = table.apply_in_batch(change(offset, patron, id, false));
                            prop_assert_eq!(is_changed, next.remove(&key).is_some());
                        }
                        _ => {
                            let appended = AppendTime { ms: offset - 3, is_exact: true };
                            let erasure = LastErasure { offset, appended };
                            table.drop_before(0, patron, erasure);
                            next.retain(|(of, _), at| of != patron || *at > offset - 3);
                        }
                    }
                }
                match is_aborted {
                    true => table.rollback(),
                    false => {
                        table.commit();
                        plain = next;
                    }
                }
                prop_assert_eq!(contents(&table), plain.clone());
            }
        }
    }

    #[test]
    fn patron_records_ignore_what_was_read_while_rebuilt() {
        let mut table = PatronRecordTable::default();
        table.restore(change(5, "p", "a", true));
        table.restore(change(6, "p", "a", false));
        assert!(!table.apply_in_batch(change(5, "p", "a", true)));
        assert_eq!(table.size().0, 0);
        assert!(table.apply_in_batch(change(7, "p", "a", true)));
        assert_eq!(table.size().0, 1);
    }
}
