//! Carries the rows of the patrons topic to sources with other partitions.
//!
//! A row has no patron id, only a keyed hash. Where no new source names its patron, nobody can say
//! in which partition a later record will lie: the row then stands in all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Erasure, SharedRow, parse_row, write_erasure_json};
use crate::engine::memory::deliveries::repartition::{ABSENT_OFFSET, RowWrites};
use crate::engine::memory::deliveries::row_json::{self, RowError};
use crate::engine::memory::deliveries::{PatronHash, StateKeys};
use crate::message::AppendTime;

/// Values of the patrons topic by partition and key.
pub type SharedRows = BTreeMap<(i32, Vec<u8>), Vec<u8>>;

/// What the rows are carried to.
pub struct NewPatronSource<'a> {
    pub partition_count: i32,
    /// Returns the partition of a patron's records, or `None` if no source has any.
    pub home_partition: &'a dyn Fn(PatronHash) -> Option<i32>,
    /// When the last record of all new sources was appended.
    pub newest_record: Option<AppendTime>,
}

/// Returns the patrons that rows are about.
///
/// # Errors
///
/// [`RowError`] for a row that cannot be read.
pub fn patrons_of_shared_rows(rows: &SharedRows) -> Result<BTreeSet<PatronHash>, RowError> {
    let patron = |value: &Vec<u8>| match parse_row(value)? {
        SharedRow::Erasure(erasure) => Ok(erasure.patron),
        SharedRow::Stop(stop) => Ok(stop.patron),
    };
    rows.values().map(patron).collect()
}

/// Returns what to write to each partition so that all rows count for the new sources.
///
/// Nobody can tell from the new sources which of a patron's records are from before an erasure,
/// as all were appended after it: those that are there now count as from before. Records of the
/// patron source itself count: the patron is known again.
///
/// # Errors
///
/// [`RowError`] for a row that cannot be read.
pub fn carry_shared_rows(
    state_keys: &StateKeys,
    rows: &SharedRows,
    source: &NewPatronSource<'_>,
) -> Result<BTreeMap<i32, RowWrites>, RowError> {
    let mut wanted = SharedRows::new();
    let mut erasures = BTreeMap::<PatronHash, AppendTime>::new();
    for ((_, key), value) in rows {
        match parse_row(value)? {
            SharedRow::Erasure(erasure) => {
                let newest = source.newest_record.unwrap_or(erasure.appended);
                let known = erasures.entry(erasure.patron).or_insert(newest);
                *known = known.latest(erasure.appended);
            }
            SharedRow::Stop(stop) => {
                for partition in source.partitions_of(stop.patron) {
                    wanted.insert((partition, key.clone()), value.clone());
                }
            }
        }
    }
    for (patron, appended) in erasures {
        for partition in source.partitions_of(patron) {
            let erasure = Erasure { patron, partition, offset: ABSENT_OFFSET, appended };
            let key = row_json::encode_bits(state_keys.erasure_row_key(&erasure).0).to_vec();
            let mut value = Vec::new();
            write_erasure_json(&mut value, &erasure);
            wanted.insert((partition, key), value);
        }
    }
    let mut writes = BTreeMap::<i32, RowWrites>::new();
    for (partition, key) in rows.keys().filter(|place| !wanted.contains_key(*place)) {
        writes.entry(*partition).or_default().push((key.clone(), None));
    }
    for ((partition, key), value) in wanted {
        if rows.get(&(partition, key.clone())) != Some(&value) {
            writes.entry(partition).or_default().push((key, Some(value)));
        }
    }
    Ok(writes)
}

impl NewPatronSource<'_> {
    fn partitions_of(&self, patron: PatronHash) -> impl Iterator<Item = i32> + use<> {
        match (self.home_partition)(patron) {
            Some(partition) => partition..partition + 1,
            None => 0..self.partition_count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ErasureTable, GateStop, write_stop_json};
    use super::*;
    use crate::engine::memory::consents::GateTopic;
    use crate::policy::pseudonym::HmacKey;

    fn state_keys() -> StateKeys {
        StateKeys::new(&HmacKey::parse("k1:MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY").unwrap())
    }

    fn exact(ms: i64) -> AppendTime {
        AppendTime { ms, is_exact: true }
    }

    fn erasure_row(erasure: &Erasure) -> ((i32, Vec<u8>), Vec<u8>) {
        let key = row_json::encode_bits(state_keys().erasure_row_key(erasure).0).to_vec();
        let mut value = Vec::new();
        write_erasure_json(&mut value, erasure);
        ((erasure.partition, key), value)
    }

    fn former_rows() -> SharedRows {
        let erasure = |patron, partition, offset, ms| {
            let patron = PatronHash(patron);
            erasure_row(&Erasure { patron, partition, offset, appended: exact(ms) })
        };
        let stop = GateStop {
            patron: PatronHash(1),
            gate: GateTopic::Consent,
            topic: "consent".to_owned(),
            partition: 1,
            offset: 4,
            record_id_hash: None,
        };
        let mut stop_row = Vec::new();
        write_stop_json(&mut stop_row, &stop);
        let stop_key = row_json::encode_bits(state_keys().stop_row_key(&stop).0).to_vec();
        SharedRows::from([
            erasure(1, 0, 500, 100),
            erasure(1, 0, 700, 200),
            erasure(2, 1, 300, 9_000),
            ((0, stop_key), stop_row),
        ])
    }

    /// The rows as a worker has them after the writes, with the former ones still in the log.
    fn restored(writes: &BTreeMap<i32, RowWrites>) -> ErasureTable {
        let mut table = ErasureTable::default();
        for ((partition, key), value) in former_rows() {
            table.restore_row(partition, Some(&key), Some(&value)).unwrap();
        }
        for (partition, rows) in writes {
            for (key, value) in rows {
                table.restore_row(*partition, Some(key), value.as_deref()).unwrap();
            }
        }
        table
    }

    #[test]
    fn carried_erasure_precedes_only_what_is_appended_later() {
        let home = |patron: PatronHash| (patron.0 == 1).then_some(2);
        let source = NewPatronSource {
            partition_count: 3,
            home_partition: &home,
            newest_record: Some(exact(5_000)),
        };
        let rows = former_rows();
        let patrons = patrons_of_shared_rows(&rows).unwrap();
        assert_eq!(patrons, BTreeSet::from([PatronHash(1), PatronHash(2)]));
        let writes = carry_shared_rows(&state_keys(), &rows, &source).unwrap();
        let table = restored(&writes);
        let erased = |partition, patron| table.last_erasure(partition, PatronHash(patron));
        for partition in 0..3 {
            let known = erased(partition, 1);
            assert_eq!(known.is_some(), partition == 2, "{partition}");
            assert_eq!(
                table.is_stopped(partition, PatronHash(1), GateTopic::Consent),
                known.is_some()
            );
            // Nobody knows where a patron will be whom no source names.
            let last = erased(partition, 2).unwrap();
            assert_eq!((last.offset, last.appended), (ABSENT_OFFSET, exact(9_000)));
        }
        let last = erased(2, 1).unwrap();
        assert_eq!((last.offset, last.appended), (ABSENT_OFFSET, exact(5_000)));
        assert!(!last.precedes(Some(exact(5_000))) && last.precedes(Some(exact(5_001))));
    }

    #[test]
    fn carrying_shared_rows_again_writes_nothing() {
        let home = |_: PatronHash| None;
        let source = NewPatronSource {
            partition_count: 2,
            home_partition: &home,
            newest_record: Some(exact(5_000)),
        };
        let mut rows = former_rows();
        for (partition, written) in carry_shared_rows(&state_keys(), &rows, &source).unwrap() {
            for (key, value) in written {
                match value {
                    Some(value) => drop(rows.insert((partition, key), value)),
                    None => drop(rows.remove(&(partition, key))),
                }
            }
        }
        assert_eq!(rows.len(), 6);
        assert!(carry_shared_rows(&state_keys(), &rows, &source).unwrap().is_empty());
    }
}
