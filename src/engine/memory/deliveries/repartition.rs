//! Carries the rows of a lane's state to sources with other partitions.
//!
//! As in a [move to another lane](super::lane_move), rows are carried as JSON: no lane has to be
//! compiled, and entries of unknown recipients are carried, too.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::lane_move::{StoredPartition, merge_rows, parse_row, write_row};
use super::row_json::{self, RowError};
use super::{PatronHash, RowKey};
use crate::message::continuity::{
    ContinuityMark, Fingerprinter, MARK_ROW_KEY, RecentRetractions, SourceProgress,
};

/// The offset in the row of a record that no source has any more. It is below every offset, so
/// that nothing is read for it.
pub const ABSENT_OFFSET: i64 = -1;

/// Keys and values to be written to a partition, in order; `None` removes a row.
pub type RowWrites = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// The fingerprint of an entry that is to be decided again.
const STALE_FINGERPRINT: &str = "0000000000000000";

/// Where the records and the patrons of rows lie in the new sources.
#[derive(Debug, Default)]
pub struct RecordPlaces {
    /// Of wanted rows only; `None` if it was not found.
    records: HashMap<RowKey, Option<(i32, i64)>, foldhash::fast::RandomState>,
    /// Of wanted patrons only.
    patrons: HashMap<PatronHash, Option<i32>, foldhash::fast::RandomState>,
    /// The name of the kind of patrons, once one of its records was read.
    patron_kind: String,
}

impl RecordPlaces {
    /// Asks for the records and the patrons of all rows of a partition.
    ///
    /// # Errors
    ///
    /// [`RowError`] for a row that cannot be read.
    pub fn want_rows(&mut self, stored: &StoredPartition) -> Result<(), RowError> {
        for (key, row) in &stored.rows {
            let patron = patron_of(&parse_row(row)?)?;
            self.records.insert(row_json::parse_row_key(Some(key))?, None);
            // A row of a patron that grants name lies where the record of who granted does.
            self.records.insert(RowKey(patron.0), None);
            self.want_patron(patron);
        }
        Ok(())
    }

    pub fn want_patron(&mut self, patron: PatronHash) {
        self.patrons.insert(patron, None);
    }

    /// Notes where the latest version of a record lies; versions come in order.
    pub fn note_record(&mut self, key: RowKey, place: (i32, i64)) {
        if let Some(wanted) = self.records.get_mut(&key) {
            *wanted = Some(place);
        }
    }

    /// Notes that a record is gone again: its patron was erased.
    pub fn forget_record(&mut self, key: RowKey) {
        if let Some(wanted) = self.records.get_mut(&key) {
            *wanted = None;
        }
    }

    /// Returns where the record of a row lies, or `None` if no source has it.
    #[must_use]
    pub fn place(&self, key: RowKey) -> Option<(i32, i64)> {
        self.records.get(&key).copied().flatten()
    }

    pub fn note_patron_kind(&mut self, kind: &str) {
        kind.clone_into(&mut self.patron_kind);
    }

    /// Returns where the record lies that decides a row.
    fn place_of_row(&self, key: RowKey, row: &Map<String, Value>) -> Option<(i32, i64)> {
        let is_patrons = row.get("source").and_then(Value::as_str) == Some(&*self.patron_kind);
        match patron_of(row) {
            Ok(patron) if is_patrons => self.place(RowKey(patron.0)),
            _ => self.place(key),
        }
    }

    pub fn note_patron(&mut self, patron: PatronHash, partition: i32) {
        if let Some(wanted) = self.patrons.get_mut(&patron) {
            *wanted = Some(partition);
        }
    }

    /// Returns the partition of a patron's records, or `None` if no source has any.
    #[must_use]
    pub fn home_partition(&self, patron: PatronHash) -> Option<i32> {
        self.patrons.get(&patron).copied().flatten()
    }
}

/// What carrying a lane's state writes.
#[derive(Clone, Debug, Default)]
pub struct CarriedState {
    /// By partition; the mark comes last.
    pub writes: BTreeMap<i32, RowWrites>,
    /// The mark of each partition of the new sources.
    pub marks: BTreeMap<i32, ContinuityMark>,
    pub row_count: u64,
    /// Rows whose record no source has any more.
    pub absent_count: u64,
}

/// How far each new source was read, by partition and by topic without prefix.
pub type NewPositions = BTreeMap<i32, BTreeMap<String, SourceProgress>>;

/// Carries all rows of a lane to where their records lie now. The marks have every record decided
/// again, without reading a source again from its beginning.
///
/// # Errors
///
/// [`RowError`] for a row that cannot be read.
pub fn carry_rows(
    fingerprinter: &Fingerprinter,
    stored: &BTreeMap<i32, StoredPartition>,
    places: &RecordPlaces,
    positions: &NewPositions,
) -> Result<CarriedState, RowError> {
    let mut carried = CarriedState::default();
    let mut partitions: BTreeMap<i32, StoredPartition> =
        positions.keys().map(|partition| (*partition, StoredPartition::default())).collect();
    for (&former_partition, part) in stored {
        for (key, row) in &part.rows {
            let (mut row, row_key) = (parse_row(row)?, row_json::parse_row_key(Some(key))?);
            let found = places.place_of_row(row_key, &row);
            let (partition, offset) = found.unwrap_or_else(|| {
                let home = patron_of(&row).ok().and_then(|patron| places.home_partition(patron));
                let any = former_partition % i32::try_from(positions.len()).unwrap_or(1).max(1);
                (home.unwrap_or(any), ABSENT_OFFSET)
            });
            if found.is_none() {
                mark_stale(&mut row);
                carried.absent_count += 1;
            }
            row.insert("partition".to_owned(), partition.into());
            row.insert("offset".to_owned(), offset.into());
            // Of the former source: the version is found again when the record is decided again.
            row.remove("gone_offset");
            carried.row_count += 1;
            let to = partitions.entry(partition).or_default();
            let known = to.rows.get(key).map(|row| parse_row(row)).transpose()?;
            let text = write_row(fingerprinter, key, merge_rows(known, row));
            to.rows.insert(key.clone(), text);
        }
    }
    let former_marks = || stored.values().filter_map(StoredPartition::mark);
    let retractions = share_retractions(former_marks(), positions.len());
    for (partition, part) in &mut partitions {
        let sources = positions.get(partition).cloned().unwrap_or_default();
        let former_mark = stored.get(partition).and_then(StoredPartition::mark);
        // The chain of a partition that is no more has no head from here on.
        let ledger = former_mark.and_then(|mark| mark.ledger.clone());
        // Rows are appended to its partitions, and new ones are noted at the next start.
        let patrons = former_mark.and_then(|mark| mark.patrons.clone());
        let mark = mark_of_new_sources(former_marks(), sources);
        let retractions = retractions.clone();
        part.mark = Some(ContinuityMark { ledger, patrons, retractions, ..mark });
        part.recount_mark();
    }
    carried.writes = writes_between(fingerprinter, stored, &partitions);
    carried.marks =
        partitions.into_iter().filter_map(|(number, part)| Some((number, part.mark?))).collect();
    Ok(carried)
}

fn patron_of(row: &Map<String, Value>) -> Result<PatronHash, RowError> {
    let text = row.get("patron").and_then(Value::as_str).ok_or(RowError::Damaged)?;
    row_json::decode_bits(text.as_bytes()).map(PatronHash).ok_or(RowError::Damaged)
}

/// Has a row decided again by what is known without its record.
fn mark_stale(row: &mut Map<String, Value>) {
    row.insert("facts".to_owned(), STALE_FINGERPRINT.into());
    let Some(Value::Object(entries)) = row.get_mut("to") else {
        return;
    };
    for entry in entries.values_mut().filter_map(Value::as_object_mut) {
        entry.remove("facts");
    }
}

/// Returns the share of each new partition in what was retracted in the last hour.
fn share_retractions<'a>(
    former_marks: impl Iterator<Item = &'a ContinuityMark>,
    new_count: usize,
) -> RecentRetractions {
    let mut sums = RecentRetractions::new();
    for (recipient, spans) in former_marks.flat_map(|mark| &mark.retractions) {
        let sums = sums.entry(recipient.clone()).or_default();
        for (minute, counts) in spans {
            let sums = sums.entry(*minute).or_default();
            for (cause, count) in counts {
                *sums.entry(cause.clone()).or_default() += count;
            }
        }
    }
    let new_count = u64::try_from(new_count).unwrap_or(1).max(1);
    let counts = sums.values_mut().flat_map(BTreeMap::values_mut).flat_map(BTreeMap::values_mut);
    counts.for_each(|count| *count = count.div_ceil(new_count));
    sums
}

/// Makes the mark of a partition from all marks of the lane: any of them may hold for its rows.
fn mark_of_new_sources<'a>(
    former_marks: impl Iterator<Item = &'a ContinuityMark>,
    sources: BTreeMap<String, SourceProgress>,
) -> ContinuityMark {
    let mut marks: Vec<&ContinuityMark> = former_marks.collect();
    marks.sort_by_key(|mark| mark.time_ms);
    let Some(mut mark) = marks.last().map(|newest| (*newest).clone()) else {
        return ContinuityMark::default();
    };
    for former in &marks {
        mark.number = mark.number.max(former.number);
        mark.generation = mark.generation.max(former.generation);
        mark.lane_moves = mark.lane_moves.max(former.lane_moves);
        mark.commands = mark.commands.min(former.commands);
        // A period that was published is not published again.
        mark.published = mark.published.max(former.published.clone());
        mark.taken_back = mark.taken_back.max(former.taken_back.clone());
        mark.recipients.extend(former.recipients.iter().cloned());
        for (name, key) in &former.keys {
            mark.keys.entry(name.clone()).or_insert_with(|| key.clone());
        }
        for (topic, ends) in &former.outputs {
            mark.outputs.entry(topic.clone()).or_insert_with(|| ends.clone());
        }
    }
    let born_ms = marks.iter().map(|mark| mark.born_ms).filter(|born_ms| *born_ms != 0).min();
    mark.born_ms = born_ms.unwrap_or(0);
    mark.recipients.sort();
    mark.recipients.dedup();
    mark.number += 1;
    mark.lane_moves += 1;
    // Re-evaluates all records.
    mark.policy = String::new();
    mark.sources = sources;
    mark
}

/// Returns what turns the stored partitions into the wanted ones.
fn writes_between(
    fingerprinter: &Fingerprinter,
    stored: &BTreeMap<i32, StoredPartition>,
    wanted: &BTreeMap<i32, StoredPartition>,
) -> BTreeMap<i32, RowWrites> {
    let nothing = StoredPartition::default();
    let mut writes = BTreeMap::new();
    for partition in stored.keys().chain(wanted.keys()) {
        let before = stored.get(partition).unwrap_or(&nothing);
        let after = wanted.get(partition).unwrap_or(&nothing);
        let removed = before.rows.keys().filter(|key| !after.rows.contains_key(*key));
        let mut rows: RowWrites = removed.map(|key| (key.clone(), None)).collect();
        let changed = after.rows.iter().filter(|(key, row)| before.rows.get(*key) != Some(*row));
        rows.extend(changed.map(|(key, row)| (key.clone(), Some(row.clone()))));
        let mark = after.mark.as_ref().map(|mark| mark.encode(fingerprinter));
        if mark.is_some() || before.mark.is_some() {
            rows.push((MARK_ROW_KEY.to_vec(), mark));
        }
        writes.insert(*partition, rows);
    }
    writes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::continuity::{self, LedgerHead};

    fn fingerprinter() -> Fingerprinter {
        Fingerprinter::new([1, 2, 3, 4])
    }

    fn key_text(number: u128) -> Vec<u8> {
        row_json::encode_bits(number).to_vec()
    }

    fn row(key: u128, patron: u128, partition: i32) -> (Vec<u8>, Vec<u8>) {
        let patron = String::from_utf8(key_text(patron)).unwrap();
        let text = format!(
            r#"{{"format":2,"patron":"{patron}","source":"loan","partition":{partition},"offset":7,"first_ms":5,"facts":"000000000000000a","to":{{"a":{{"outcome":"released","topic":"out.a","key":"{patron}","hash":"0000000000000001","facts":"000000000000000b"}}}}}}"#
        );
        let row = write_row(&fingerprinter(), &key_text(key), parse_row(text.as_bytes()).unwrap());
        (key_text(key), row)
    }

    fn mark(number: u64, commands: i64, published: &str) -> ContinuityMark {
        ContinuityMark {
            format: continuity::FORMAT,
            number,
            time_ms: i64::try_from(number).unwrap(),
            born_ms: 100 - i64::try_from(number).unwrap(),
            policy: "v1".to_owned(),
            recipients: vec!["a".to_owned()],
            commands,
            published: published.to_owned(),
            ledger: Some(LedgerHead { sequence: number, ..LedgerHead::default() }),
            patrons: Some(SourceProgress {
                next: i64::try_from(number).unwrap(),
                ..SourceProgress::default()
            }),
            ..ContinuityMark::default()
        }
    }

    fn apply(stored: &mut StoredPartition, rows: &RowWrites) {
        for (key, value) in rows {
            stored.apply_row(&fingerprinter(), key, value.as_deref()).unwrap();
        }
    }

    fn stored_state() -> BTreeMap<i32, StoredPartition> {
        let mut stored = BTreeMap::new();
        for (partition, keys) in [(0, [1, 2]), (1, [3, 4])] {
            let mut part = StoredPartition::default();
            let mut rows: RowWrites = keys
                .map(|key| row(key, 10 + key, partition))
                .map(|(key, row)| (key, Some(row)))
                .to_vec();
            let number = 7 + u64::try_from(partition).unwrap();
            let commands = i64::from(partition);
            let mark = mark(number, commands, if partition == 0 { "2026-10" } else { "" });
            rows.push((MARK_ROW_KEY.to_vec(), Some(mark.encode(&fingerprinter()))));
            apply(&mut part, &rows);
            stored.insert(partition, part);
        }
        stored
    }

    fn positions(count: i32) -> NewPositions {
        let progress = |partition: i32| SourceProgress {
            next: 100 + i64::from(partition),
            ..SourceProgress::default()
        };
        (0..count)
            .map(|number| (number, BTreeMap::from([("loan".to_owned(), progress(number))])))
            .collect()
    }

    fn found_places(stored: &BTreeMap<i32, StoredPartition>) -> RecordPlaces {
        let mut places = RecordPlaces::default();
        for part in stored.values() {
            places.want_rows(part).unwrap();
        }
        // The record of row 4 is gone, its patron is not; of row 2 neither is there.
        places.note_record(RowKey(1), (3, 30));
        places.note_record(RowKey(1), (3, 31));
        places.note_record(RowKey(2), (0, 8));
        places.forget_record(RowKey(2));
        places.note_record(RowKey(3), (2, 20));
        places.note_record(RowKey(99), (2, 21));
        places.note_patron(PatronHash(14), 1);
        places.note_patron(PatronHash(99), 1);
        places
    }

    #[track_caller]
    fn check_row(part: &StoredPartition, key: u128, want: (i32, i64, &str)) {
        let row = parse_row(&part.rows[&key_text(key)]).unwrap();
        let number = |name: &str| row[name].as_i64().unwrap();
        let (partition, offset, facts) = want;
        assert_eq!((number("partition"), number("offset")), (i64::from(partition), offset));
        assert_eq!(row["facts"], facts);
        assert_eq!(row["to"]["a"].get("facts").is_some(), facts != STALE_FINGERPRINT);
        assert_eq!(number("first_ms"), 5);
    }

    #[test]
    fn carried_rows_lie_where_their_records_do() {
        let mut stored = stored_state();
        let places = found_places(&stored);
        let carried = carry_rows(&fingerprinter(), &stored, &places, &positions(4)).unwrap();
        assert_eq!((carried.row_count, carried.absent_count), (4, 2));
        let heads = carried.marks.values().map(|mark| mark.ledger.as_ref());
        let heads: Vec<_> = heads.map(|head| head.map(|head| head.sequence)).collect();
        assert_eq!(heads, [Some(7), Some(8), None, None]);
        // Never that of another partition: it has other rows at the same offsets.
        let patrons = carried.marks.values().map(|mark| mark.patrons.as_ref());
        let patrons: Vec<_> = patrons.map(|patrons| patrons.map(|patrons| patrons.next)).collect();
        assert_eq!(patrons, [Some(7), Some(8), None, None]);
        for (partition, rows) in &carried.writes {
            apply(stored.entry(*partition).or_default(), rows);
        }
        check_row(&stored[&3], 1, (3, 31, "000000000000000a"));
        check_row(&stored[&0], 2, (0, ABSENT_OFFSET, STALE_FINGERPRINT));
        check_row(&stored[&2], 3, (2, 20, "000000000000000a"));
        check_row(&stored[&1], 4, (1, ABSENT_OFFSET, STALE_FINGERPRINT));
        for (partition, part) in &stored {
            assert_eq!(part.rows.len(), 1);
            let mark = part.mark().unwrap();
            assert_eq!(Some(mark), carried.marks.get(partition));
            assert_eq!((mark.number, mark.time_ms, mark.born_ms), (9, 8, 92));
            assert_eq!((mark.commands, &*mark.published, &*mark.policy), (0, "2026-10", ""));
            assert_eq!(mark.sources["loan"].next, 100 + i64::from(*partition));
            assert_eq!((mark.rows.count, mark.has["a"]["out.a"]), (1, 1));
        }
    }

    #[test]
    fn carried_row_of_a_named_patron_lies_where_its_patrons_record_does() {
        let mut stored = BTreeMap::from([(0, StoredPartition::default())]);
        let (key, row) = row(5, 14, 0);
        let mut row = parse_row(&row).unwrap();
        row.insert("source".to_owned(), "patron".into());
        let text = write_row(&fingerprinter(), &key, row);
        apply(stored.get_mut(&0).unwrap(), &vec![(key, Some(text))]);
        let mut places = RecordPlaces::default();
        places.want_rows(&stored[&0]).unwrap();
        places.note_patron_kind("patron");
        places.note_record(RowKey(14), (3, 30));
        let carried = carry_rows(&fingerprinter(), &stored, &places, &positions(4)).unwrap();
        assert_eq!((carried.row_count, carried.absent_count), (1, 0));
        for (partition, rows) in &carried.writes {
            apply(stored.entry(*partition).or_default(), rows);
        }
        check_row(&stored[&3], 5, (3, 30, "000000000000000a"));
    }

    #[test]
    fn carried_retractions_of_the_last_hour_are_shared_by_the_new_partitions() {
        let retracted = |minute: i64, count: u64| {
            let counts = BTreeMap::from([("patron_erased".to_owned(), count)]);
            let mut mark = mark(1, 0, "");
            mark.retractions.insert("a".to_owned(), BTreeMap::from([(minute, counts)]));
            mark
        };
        let former = [retracted(9, 5), retracted(9, 2), retracted(19, 1)];
        let shared = share_retractions(former.iter(), 4);
        let count = |minute: i64| shared["a"][&minute]["patron_erased"];
        assert_eq!((count(9), count(19)), (2, 1), "rounded up");
        assert!(share_retractions([].into_iter(), 4).is_empty());
    }

    #[test]
    fn carrying_to_fewer_partitions_leaves_nothing_in_the_others() {
        let mut stored = stored_state();
        let mut places = found_places(&stored);
        for key in 1..=4 {
            places.note_record(RowKey(key), (0, 40 + i64::try_from(key).unwrap()));
        }
        let carried = carry_rows(&fingerprinter(), &stored, &places, &positions(1)).unwrap();
        for (partition, rows) in &carried.writes {
            apply(stored.entry(*partition).or_default(), rows);
        }
        assert_eq!((stored[&0].rows.len(), stored[&0].mark().unwrap().rows.count), (4, 4));
        assert!(stored[&1].rows.is_empty() && stored[&1].mark().is_none());
        assert_eq!(carried.marks.len(), 1);
    }
}
