//! What is kept of patrons after their erasure: when they were erased last, and stops for
//! what an unreadable or misplaced gate record could stop.
//!
//! The rows have a topic of their own that all lanes share (`zeef.patrons`), as the
//! source may lose the nulls. They contain no patron id and no value, only keyed hashes.

pub mod carry;

use std::collections::HashMap;

use serde::Deserialize;

use super::consents::GateTopic;
use super::deliveries::row_json::{self, RowError, decode_bits};
use super::deliveries::{PatronHash, RowKey, StateKeys};
use super::transactional::Transactional;
use crate::engine::lane::Lane;
use crate::json::write;
use crate::message::{AppendTime, Outbox};

/// The format version that every row carries.
const ROW_FORMAT: u32 = 1;

/// A null on the patron source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasure {
    pub patron: PatronHash,
    pub partition: i32,
    pub offset: i64,
    pub appended: AppendTime,
}

/// The last erasure of a patron: what came before is another patron's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastErasure {
    /// The offset of the last null on the patron source.
    pub offset: i64,
    /// The latest append time of its nulls.
    pub appended: AppendTime,
}

impl LastErasure {
    /// Nothing came after it.
    pub const AFTER_EVERYTHING: LastErasure =
        LastErasure { offset: i64::MAX, appended: AppendTime { ms: i64::MAX, is_exact: true } };

    /// Merges two nulls of the same patron; commutative.
    fn merge(self, other: LastErasure) -> LastErasure {
        let latest = match other.appended.ms > self.appended.ms {
            true => other.appended,
            false => self.appended,
        };
        LastErasure {
            offset: self.offset.max(other.offset),
            appended: AppendTime {
                is_exact: self.appended.is_exact && other.appended.is_exact,
                ..latest
            },
        }
    }

    /// Whether what was appended then is of the patron after the erasure.
    #[must_use]
    pub fn precedes(&self, appended: Option<AppendTime>) -> bool {
        appended.is_some_and(|appended| appended.is_certainly_after(self.appended))
    }
}

/// Stops what a gate record could stop that is unreadable or in the wrong partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateStop {
    pub patron: PatronHash,
    pub gate: GateTopic,
    /// The topic of the record, without prefix.
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// A keyed hash of the record's own id; `None` if that is unreadable.
    pub record_id_hash: Option<u64>,
}

#[derive(Debug, Default)]
struct PartitionErasures {
    last_erasures: HashMap<PatronHash, LastErasure, foldhash::fast::RandomState>,
    stops: HashMap<RowKey, GateStop, foldhash::fast::RandomState>,
    /// The erasures on the source, as the partition was rebuilt.
    seen_on_source: Vec<(RowKey, Erasure)>,
    /// The erasures that have a row.
    written_rows: HashMap<RowKey, Erasure, foldhash::fast::RandomState>,
}

/// What a batch changed.
#[derive(Debug)]
enum ErasureUndo {
    LastErasure(i32, PatronHash, Option<LastErasure>),
    RowWritten(i32, RowKey),
    Stop(i32, RowKey, Option<GateStop>),
}

/// What is kept of erased patrons of a worker's partitions.
#[derive(Debug, Default)]
pub struct ErasureTable {
    partitions: HashMap<i32, PartitionErasures, foldhash::fast::RandomState>,
    /// Oldest first.
    undo_log: Vec<ErasureUndo>,
}

impl ErasureTable {
    /// Returns when a patron was erased last; `None` if never.
    #[inline]
    #[must_use]
    pub fn last_erasure(&self, partition: i32, patron: PatronHash) -> Option<LastErasure> {
        let part = self.partitions.get(&partition)?;
        part.last_erasures.get(&patron).copied()
    }

    /// Whether any patron of a partition was ever erased.
    #[inline]
    #[must_use]
    pub fn has_erasures(&self, partition: i32) -> bool {
        let part = self.partitions.get(&partition);
        part.is_some_and(|part| !part.last_erasures.is_empty())
    }

    /// Whether all that the gate could stop is stopped for a patron.
    #[must_use]
    pub fn is_stopped(&self, partition: i32, patron: PatronHash, gate: GateTopic) -> bool {
        self.stops(partition, patron).any(|stop| stop.gate == gate)
    }

    /// The stops of a patron.
    pub fn stops(&self, partition: i32, patron: PatronHash) -> impl Iterator<Item = &GateStop> {
        let part = self.partitions.get(&partition);
        let stops = part.into_iter().flat_map(|part| part.stops.values());
        stops.filter(move |stop| stop.patron == patron)
    }

    /// Restores an erasure from the patron source, outside of any batch.
    pub fn restore_erasure(&mut self, state_keys: &StateKeys, erasure: Erasure) {
        let part = self.partitions.entry(erasure.partition).or_default();
        part.seen_on_source.push((state_keys.erasure_row_key(&erasure), erasure));
        part.apply_erasure(erasure);
    }

    /// Records an erasure within the batch, and writes its row if there is none.
    pub fn record_erasure(
        &mut self,
        (lane, state_keys): (&Lane, &StateKeys),
        erasure: Erasure,
        outbox: &mut Outbox,
    ) {
        let Erasure { patron, partition, .. } = erasure;
        let part = self.partitions.entry(partition).or_default();
        let before = part.last_erasures.get(&patron).copied();
        self.undo_log.push(ErasureUndo::LastErasure(partition, patron, before));
        part.apply_erasure(erasure);
        self.write_erasure_row(lane, (state_keys.erasure_row_key(&erasure), erasure), outbox);
    }

    /// Counts the rows of a partition: of erasures, and of stops that are not lifted.
    #[must_use]
    pub fn count_rows(&self, partition: i32) -> i64 {
        let part = self.partitions.get(&partition);
        let count = part.map_or(0, |part| part.written_rows.len() + part.stops.len());
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    /// Writes the rows of restored erasures that have none.
    pub fn write_missing_rows(&mut self, lane: &Lane, partition: i32, outbox: &mut Outbox) {
        let Some(part) = self.partitions.get(&partition) else {
            return;
        };
        let missing = part.seen_on_source.iter();
        let missing: Vec<_> =
            missing.filter(|(key, _)| !part.written_rows.contains_key(key)).copied().collect();
        for row in missing {
            self.write_erasure_row(lane, row, outbox);
        }
    }

    fn write_erasure_row(
        &mut self,
        lane: &Lane,
        (key, erasure): (RowKey, Erasure),
        outbox: &mut Outbox,
    ) {
        let partition = erasure.partition;
        let part = self.partitions.entry(partition).or_default();
        let Some(output) = lane.patrons_output else {
            return;
        };
        if part.written_rows.insert(key, erasure).is_some() {
            return;
        }
        self.undo_log.push(ErasureUndo::RowWritten(partition, key));
        let name = row_json::encode_bits(key.0);
        outbox.push(output, Some(partition), Some(&name), |out| {
            write_erasure_json(out, &erasure);
        });
    }

    /// Adds a stop, until it is [lifted](Self::lift_stops). `partition` is the patron's own.
    pub fn add_stop(
        &mut self,
        (lane, state_keys): (&Lane, &StateKeys),
        partition: i32,
        stop: GateStop,
        outbox: &mut Outbox,
    ) {
        let key = state_keys.stop_row_key(&stop);
        if let Some(output) = lane.patrons_output {
            let name = row_json::encode_bits(key.0);
            outbox.push(output, Some(partition), Some(&name), |out| {
                write_stop_json(out, &stop);
            });
        }
        let part = self.partitions.entry(partition).or_default();
        let before = part.stops.insert(key, stop);
        self.undo_log.push(ErasureUndo::Stop(partition, key, before));
    }

    /// Lifts the stops of a patron for which `is_lifted` holds.
    pub fn lift_stops(
        &mut self,
        lane: &Lane,
        (partition, patron): (i32, PatronHash),
        is_lifted: impl Fn(&GateStop) -> bool,
        outbox: &mut Outbox,
    ) {
        let Some(part) = self.partitions.get_mut(&partition) else {
            return;
        };
        let ended = part.stops.iter();
        let ended = ended.filter(|(_, stop)| stop.patron == patron && is_lifted(stop));
        let mut ended: Vec<RowKey> = ended.map(|(key, _)| *key).collect();
        ended.sort_unstable();
        for key in ended {
            let before = part.stops.remove(&key);
            self.undo_log.push(ErasureUndo::Stop(partition, key, before));
            if let Some(output) = lane.patrons_output {
                outbox.push_tombstone(output, Some(partition), &row_json::encode_bits(key.0));
            }
        }
    }

    /// Restores a row from its topic.
    ///
    /// # Errors
    ///
    /// [`RowError`]: a lane cannot go on without knowing who was erased.
    pub fn restore_row(
        &mut self,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), RowError> {
        let key = row_json::parse_row_key(key)?;
        let part = self.partitions.entry(partition).or_default();
        let Some(value) = value else {
            part.remove_row(key);
            return Ok(());
        };
        match parse_row(value)? {
            SharedRow::Erasure(erasure) => {
                part.apply_erasure(erasure);
                part.written_rows.insert(key, erasure);
            }
            SharedRow::Stop(stop) => drop(part.stops.insert(key, stop)),
        }
        Ok(())
    }
}

impl Transactional for ErasureTable {
    fn commit(&mut self) {
        self.undo_log.clear();
    }

    fn rollback(&mut self) {
        while let Some(undo) = self.undo_log.pop() {
            match undo {
                ErasureUndo::LastErasure(partition, patron, before) => {
                    let last_erasures =
                        &mut self.partitions.entry(partition).or_default().last_erasures;
                    match before {
                        Some(last_erasure) => last_erasures.insert(patron, last_erasure),
                        None => last_erasures.remove(&patron),
                    };
                }
                ErasureUndo::RowWritten(partition, key) => {
                    let part = self.partitions.entry(partition).or_default();
                    part.written_rows.remove(&key);
                }
                ErasureUndo::Stop(partition, key, before) => {
                    let stops = &mut self.partitions.entry(partition).or_default().stops;
                    match before {
                        Some(stop) => stops.insert(key, stop),
                        None => stops.remove(&key),
                    };
                }
            }
        }
    }

    fn retain_partitions(&mut self, is_kept: &dyn Fn(i32) -> bool) {
        self.partitions.retain(|&partition, _| is_kept(partition));
    }
}

impl PartitionErasures {
    /// Forgets a row that was carried elsewhere, or a stop that was lifted.
    fn remove_row(&mut self, key: RowKey) {
        self.stops.remove(&key);
        let Some(removed) = self.written_rows.remove(&key) else {
            return;
        };
        self.last_erasures.remove(&removed.patron);
        let left = self.written_rows.values().filter(|one| one.patron == removed.patron);
        for erasure in left.copied().collect::<Vec<_>>() {
            self.apply_erasure(erasure);
        }
    }

    fn apply_erasure(&mut self, erasure: Erasure) {
        let last_erasure = LastErasure { offset: erasure.offset, appended: erasure.appended };
        let known = self.last_erasures.entry(erasure.patron).or_insert(last_erasure);
        *known = known.merge(last_erasure);
    }
}

impl StateKeys {
    /// The key of an erasure's row: the same in all lanes.
    #[must_use]
    pub fn erasure_row_key(&self, erasure: &Erasure) -> RowKey {
        let Erasure { partition, offset, .. } = erasure;
        let patron = row_json::encode_bits(erasure.patron.0);
        self.shared_row_key("erasure", &patron, &format!("{partition}:{offset}"))
    }

    /// The key of a stop's row.
    #[must_use]
    pub fn stop_row_key(&self, stop: &GateStop) -> RowKey {
        let GateStop { topic, partition, offset, .. } = stop;
        let patron = row_json::encode_bits(stop.patron.0);
        self.shared_row_key("stop", &patron, &format!("{topic}:{partition}:{offset}"))
    }
}

fn write_erasure_json(out: &mut Vec<u8>, erasure: &Erasure) {
    write_head(out, erasure.patron);
    write_coordinates(out, erasure.partition, erasure.offset);
    if erasure.appended.ms != i64::MAX {
        write_integer_member(out, "appended_ms", erasure.appended.ms);
    }
    if !erasure.appended.is_exact {
        out.extend_from_slice(b",\"exact\":false");
    }
    out.push(b'}');
}

fn write_stop_json(out: &mut Vec<u8>, stop: &GateStop) {
    write_head(out, stop.patron);
    out.extend_from_slice(b",\"stops\":");
    write::string(out, gate_name(stop.gate));
    out.extend_from_slice(b",\"topic\":");
    write::string(out, &stop.topic);
    write_coordinates(out, stop.partition, stop.offset);
    if let Some(id) = stop.record_id_hash {
        out.extend_from_slice(format!(",\"id\":\"{id:016x}\"").as_bytes());
    }
    out.push(b'}');
}

fn write_head(out: &mut Vec<u8>, patron: PatronHash) {
    out.extend_from_slice(format!("{{\"format\":{ROW_FORMAT},\"patron\":\"").as_bytes());
    out.extend_from_slice(&row_json::encode_bits(patron.0));
    out.push(b'"');
}

fn write_coordinates(out: &mut Vec<u8>, partition: i32, offset: i64) {
    write_integer_member(out, "partition", partition.into());
    write_integer_member(out, "offset", offset);
}

fn write_integer_member(out: &mut Vec<u8>, name: &str, value: i64) {
    out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
}

fn gate_name(gate: GateTopic) -> &'static str {
    match gate {
        GateTopic::Consent => "consent",
        GateTopic::Objection => "objection",
        GateTopic::Settlement => "settlement",
    }
}

#[derive(Deserialize)]
struct SharedRowJson {
    format: u32,
    patron: String,
    partition: i32,
    offset: i64,
    appended_ms: Option<i64>,
    exact: Option<bool>,
    stops: Option<String>,
    topic: Option<String>,
    id: Option<String>,
}

enum SharedRow {
    Erasure(Erasure),
    Stop(GateStop),
}

fn parse_row(value: &[u8]) -> Result<SharedRow, RowError> {
    let kept: SharedRowJson = serde_json::from_slice(value).map_err(|_| RowError::Damaged)?;
    if kept.format > ROW_FORMAT {
        return Err(RowError::NewerFormat);
    }
    let patron = decode_bits(kept.patron.as_bytes()).ok_or(RowError::Damaged)?;
    let (patron, partition, offset) = (PatronHash(patron), kept.partition, kept.offset);
    let Some(stops) = kept.stops else {
        return Ok(SharedRow::Erasure(Erasure {
            patron,
            partition,
            offset,
            appended: AppendTime {
                ms: kept.appended_ms.unwrap_or(i64::MAX),
                is_exact: kept.exact.unwrap_or(true),
            },
        }));
    };
    let gates = [GateTopic::Consent, GateTopic::Objection, GateTopic::Settlement];
    let mut gates = gates.into_iter();
    let id = kept.id.map(|id| u64::from_str_radix(&id, 16)).transpose();
    Ok(SharedRow::Stop(GateStop {
        patron,
        gate: gates.find(|gate| gate_name(*gate) == stops).ok_or(RowError::Damaged)?,
        topic: kept.topic.ok_or(RowError::Damaged)?,
        partition,
        offset,
        record_id_hash: id.map_err(|_| RowError::Damaged)?,
    }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::engine::lane::CompileOptions;
    use crate::policy::Policy;
    use crate::policy::pseudonym::{HmacKey, Pseudonymiser};

    fn lane_and_state_keys() -> (Lane, StateKeys) {
        let policy = Policy::load(Path::new("config")).unwrap().policy;
        let key = HmacKey::generate("k").unwrap();
        let pseudonymiser = |_: &str| Some(Pseudonymiser::new(&key));
        let options = CompileOptions::default();
        let lane = Lane::compile("main", &policy, |_| true, pseudonymiser, options).unwrap();
        (lane, StateKeys::new(&key))
    }

    fn appended_at(ms: i64, exact: bool) -> AppendTime {
        AppendTime { ms, is_exact: exact }
    }

    fn erasure_of(namer: &StateKeys, patron: &str, offset: i64, at: AppendTime) -> Erasure {
        Erasure { patron: namer.patron_hash(patron), partition: 3, offset, appended: at }
    }

    /// What another lane restores from the rows.
    fn restored_from(outbox: &Outbox) -> ErasureTable {
        let mut patrons = ErasureTable::default();
        for row in outbox.iter() {
            assert_eq!(row.partition, Some(3));
            patrons.restore_row(3, row.key, row.value).unwrap();
        }
        patrons
    }

    #[test]
    fn erasure_precedes_only_what_is_appended_later() {
        #[track_caller]
        fn check(record: Option<(i64, bool)>, null: (i64, bool), counts: bool) {
            let last_erasure = LastErasure { offset: 1, appended: appended_at(null.0, null.1) };
            let record = record.map(|(ms, exact)| appended_at(ms, exact));
            assert_eq!(last_erasure.precedes(record), counts, "{record:?} {null:?}");
        }
        check(Some((1_000, true)), (1_000, true), false);
        check(Some((1_001, true)), (1_000, true), true);
        check(Some((3_601_000, false)), (1_000, true), false);
        check(Some((3_601_001, false)), (1_000, true), true);
        check(Some((3_601_000, true)), (1_000, false), false);
        check(Some((3_601_001, false)), (1_000, false), true);
        check(Some((i64::MAX, true)), (i64::MAX, false), false);
        check(None, (1_000, true), false);
    }

    #[test]
    fn erasure_order_of_nulls_does_not_matter() {
        let (_, namer) = lane_and_state_keys();
        let nulls = [
            (5, appended_at(1_000, true)),
            (7, appended_at(900, false)),
            (9, appended_at(950, true)),
        ];
        let all = nulls.map(|(offset, at)| erasure_of(&namer, "p1", offset, at));
        let last_erasure = |order: [usize; 3]| {
            let mut patrons = ErasureTable::default();
            for place in order {
                patrons.restore_erasure(&namer, all[place]);
            }
            patrons.last_erasure(3, namer.patron_hash("p1"))
        };
        let want = Some(LastErasure { offset: 9, appended: appended_at(1_000, false) });
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            assert_eq!(last_erasure(order), want, "{order:?}");
        }
    }

    #[test]
    fn erasure_row_is_equal_whoever_writes_it() {
        let (lane, namer) = lane_and_state_keys();
        let null = erasure_of(&namer, "p1", 5, appended_at(1_000, true));
        let written = |patrons: &mut ErasureTable, missing: bool| {
            let mut outbox = Outbox::default();
            match missing {
                true => patrons.write_missing_rows(&lane, 3, &mut outbox),
                false => patrons.record_erasure((&lane, &namer), null, &mut outbox),
            }
            outbox
        };
        let mut seen = ErasureTable::default();
        seen.restore_erasure(&namer, null);
        let (one, two) = (written(&mut ErasureTable::default(), false), written(&mut seen, true));
        let rows = |outbox: &Outbox| -> Vec<(Vec<u8>, Vec<u8>)> {
            let row = |bytes: Option<&[u8]>| bytes.unwrap().to_vec();
            outbox.iter().map(|output| (row(output.key), row(output.value))).collect()
        };
        assert_eq!(rows(&one), rows(&two));
        let text = String::from_utf8(rows(&one)[0].1.clone()).unwrap();
        assert!(!text.contains("p1\""), "{text}");
        let mut known = restored_from(&one);
        assert_eq!(known.last_erasure(3, null.patron), seen.last_erasure(3, null.patron));
        // It is written once, and again after an abort.
        assert!(written(&mut seen, false).is_empty());
        assert!(written(&mut known, false).is_empty());
        let mut aborted = ErasureTable::default();
        assert_eq!(written(&mut aborted, false).len(), 1);
        aborted.rollback();
        assert_eq!(aborted.last_erasure(3, null.patron), None);
        assert_eq!(written(&mut aborted, false).len(), 1);
    }

    #[test]
    fn gate_stop_holds_until_it_is_lifted() {
        let (lane, namer) = lane_and_state_keys();
        let stop = |gate, offset, id| GateStop {
            patron: namer.patron_hash("p1"),
            gate,
            topic: "consent".to_owned(),
            partition: 1,
            offset,
            record_id_hash: id,
        };
        let mut outbox = Outbox::default();
        let mut patrons = ErasureTable::default();
        let of = (&lane, &namer);
        patrons.add_stop(of, 3, stop(GateTopic::Consent, 5, None), &mut outbox);
        patrons.add_stop(of, 3, stop(GateTopic::Consent, 6, Some(7)), &mut outbox);
        patrons.commit();
        let (patron, other) = (namer.patron_hash("p1"), namer.patron_hash("p2"));
        let check = |patrons: &ErasureTable, count: usize| {
            assert_eq!(patrons.stops(3, patron).count(), count);
            assert_eq!(patrons.is_stopped(3, patron, GateTopic::Consent), count > 0);
            assert!(!patrons.is_stopped(3, patron, GateTopic::Objection));
            assert!(!patrons.is_stopped(3, other, GateTopic::Consent));
            assert!(!patrons.is_stopped(1, patron, GateTopic::Consent));
        };
        check(&patrons, 2);
        check(&restored_from(&outbox), 2);
        let null = erasure_of(&namer, "p2", 9, appended_at(1_000, true));
        patrons.record_erasure(of, null, &mut outbox);
        assert_eq!((patrons.count_rows(3), restored_from(&outbox).count_rows(3)), (3, 3));
        assert_eq!(patrons.count_rows(1), 0);
        patrons.rollback();
        assert_eq!(patrons.count_rows(3), 2);
        patrons.lift_stops(&lane, (3, patron), |stop| stop.record_id_hash == Some(7), &mut outbox);
        check(&patrons, 1);
        check(&restored_from(&outbox), 1);
        patrons.rollback();
        check(&patrons, 2);
        patrons.lift_stops(&lane, (3, patron), |_| true, &mut outbox);
        check(&patrons, 0);
        check(&restored_from(&outbox), 0);
    }

    #[test]
    fn erasure_row_damaged_or_newer_is_an_error() {
        let key = row_json::encode_bits(1);
        let restore =
            |value: &[u8]| ErasureTable::default().restore_row(3, Some(&key), Some(value)).err();
        assert_eq!(restore(b"{"), Some(RowError::Damaged));
        let newer = format!(
            r#"{{"format":2,"patron":"{}","partition":3,"offset":1}}"#,
            String::from_utf8_lossy(&row_json::encode_bits(2))
        );
        assert_eq!(restore(newer.as_bytes()), Some(RowError::NewerFormat));
        assert_eq!(restore(newer.replace(":2,", ":1,").as_bytes()), None);
    }
}
