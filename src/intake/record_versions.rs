//! What an intake remembers of the versions that it wrote, so that none brings an older state
//! back.
//!
//! One row for each record of a kind with `newer_by`, by partition of the raw topic: keyed hashes
//! of the record's own id and of its patron, its version, and whether it was taken back. No value
//! of a message is in a row. What a batch changes is undone with it.
//!
//! The row of a record that was taken back is forgotten some days later; nothing else is. Days
//! are those of batches, which the caller tells, and of no row or message.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::memory_bound::{BoundedMemory, MemoryBound, MemoryFull};
use super::version::Version;
use super::{CanonicalRecord, Conversion, Intake};
use crate::message::continuity::{Fingerprinter, append_mac_member, split_mac};
use crate::policy::pseudonym::{HmacKey, Pseudonym, PseudonymDomain, Pseudonymiser};
use crate::policy::term::DAY_MS;

const FORMAT: u32 = 1;
/// What stands before the name of a raw topic in the key of the row that says how far it was read.
const POSITION_KEY_PREFIX: &str = "position:";
/// What a row takes beside the parts of its version: two places in the table with a byte each, as
/// one that has just grown is hardly half full.
const ROW_OVERHEAD_BYTES: usize = 2 * (size_of::<(u128, VersionRow)>() + 1);
/// What the row of a record that was taken back takes more: its place among those of its day.
const REMOVED_OVERHEAD_BYTES: usize = size_of::<(i32, u128)>() + 16;
/// The day of a removal that was written by a version without days: its row is never forgotten.
const UNKNOWN_DAY: i32 = i32::MAX;

/// What a record claims to be a version of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VersionClaim {
    /// The record's own id; the patron's of a patron.
    pub(super) id: String,
    /// `None` of what is taken back by a message without a usable version.
    pub(super) version: Option<Version>,
}

/// What was written last of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct VersionRow {
    version: Version,
    /// A keyed hash of its patron.
    patron: u64,
    /// What `newer_by` was, as a hash: versions by another one do not compare.
    rule: u64,
    /// Of a record that was taken back the day of it, since 1970.
    removed_on: Option<i32>,
}

/// Why a row of the state cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionRowError {
    #[error("a row has a newer format than {FORMAT}: run a newer zeef")]
    NewerFormat,
    #[error("a row is damaged, or was written under another state key")]
    Damaged,
}

#[derive(Serialize, Deserialize)]
struct RowJson {
    format: u32,
    version: Vec<Value>,
    patron: String,
    rule: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    removed_on: Option<i32>,
}

#[derive(Serialize, Deserialize)]
struct PositionJson {
    format: u32,
    next: i64,
}

/// The keyed hashes of one intake.
#[derive(Clone, Debug)]
struct VersionKeys {
    intake: String,
    pseudonymiser: Pseudonymiser,
    patron_domain: PseudonymDomain,
    /// By kind with `newer_by`: the domain of its ids, and what `newer_by` is.
    kinds: BTreeMap<Arc<str>, (PseudonymDomain, u64)>,
    fingerprinter: Fingerprinter,
}

impl VersionKeys {
    fn new(intake: &Intake, key: &HmacKey) -> VersionKeys {
        let pseudonymiser = Pseudonymiser::new(key);
        let name = intake.name();
        let bits = |domain: &PseudonymDomain, value: &str| {
            pseudonymiser.pseudonymise(domain, name, value).to_bits()
        };
        let own = |field: &str| PseudonymDomain::new("zeef.intake-state", field);
        let rules = intake.version_rules();
        let kinds = rules.map(|(kind, paths)| {
            let rule = low_half(bits(&own("rule"), &paths.join("\n")));
            (Arc::clone(kind), (own(&format!("id {kind}")), rule))
        });
        let kinds = kinds.collect();
        let [first, second] = ["1", "2"].map(|half| bits(&own("mac"), half));
        let secret = [first, first >> 64, second, second >> 64].map(low_half);
        VersionKeys {
            intake: name.to_owned(),
            patron_domain: own("patron"),
            kinds,
            fingerprinter: Fingerprinter::new(secret),
            pseudonymiser,
        }
    }

    fn hash(&self, domain: &PseudonymDomain, value: &str) -> u128 {
        self.pseudonymiser.pseudonymise(domain, &self.intake, value).to_bits()
    }

    fn mac(&self, place: (i32, &[u8]), body: &[u8]) -> u64 {
        let (partition, key) = place;
        let key = [&partition.to_be_bytes(), key].concat();
        self.fingerprinter.hash_record(Some(&key), Some(body))
    }

    /// Appends the MAC to a row's object.
    fn seal(&self, place: (i32, &[u8]), object: &impl Serialize) -> Vec<u8> {
        // These objects have neither maps nor numbers that JSON lacks.
        let mut text = serde_json::to_vec(object).unwrap_or_default();
        text.pop();
        let mac = self.mac(place, &text);
        append_mac_member(&mut text, mac);
        text
    }

    fn open<T: for<'de> Deserialize<'de>>(
        &self,
        place: (i32, &[u8]),
        text: &[u8],
    ) -> Result<T, VersionRowError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = serde_json::from_slice(text).map_err(|_| VersionRowError::Damaged)?;
        if head.format > FORMAT {
            return Err(VersionRowError::NewerFormat);
        }
        let (body, mac) = split_mac(text).ok_or(VersionRowError::Damaged)?;
        if self.mac(place, body) != mac {
            return Err(VersionRowError::Damaged);
        }
        serde_json::from_slice(text).map_err(|_| VersionRowError::Damaged)
    }
}

/// The rows of one partition.
type PartitionRows = HashMap<u128, VersionRow>;
/// What a batch changes of them; `None` is a row that it forgets.
type ChangedRows = HashMap<u128, Option<VersionRow>>;

/// A record of a message, as rows know it.
struct ClaimedRecord<'a> {
    key: u128,
    patron: u64,
    rule: u64,
    version: Option<&'a Version>,
    is_removal: bool,
}

/// The versions that an intake wrote last.
#[derive(Debug)]
pub struct RecordVersions {
    keys: VersionKeys,
    bound: MemoryBound,
    /// For how many days the row of a record that was taken back stays; `None` if for ever.
    keep_removed_days: Option<i32>,
    rows: BTreeMap<i32, PartitionRows>,
    /// Of these, by partition, the day and key of each that was taken back.
    removed: BTreeMap<i32, BTreeSet<(i32, u128)>>,
    /// What the open batch changes.
    pending: BTreeMap<i32, ChangedRows>,
    /// The day of what the open batch takes back.
    removal_day: i32,
    /// By partition and raw topic, how far it was read when a row was last written.
    positions: BTreeMap<(i32, String), i64>,
    row_count: usize,
    bytes: usize,
    /// As `bytes`, once the open batch is committed.
    bytes_with_batch: usize,
}

impl RecordVersions {
    pub(super) fn new(intake: &Intake, key: &HmacKey) -> RecordVersions {
        let bytes_max = intake.version_bytes_max;
        RecordVersions {
            keys: VersionKeys::new(intake, key),
            bound: MemoryBound::new(BoundedMemory::Versions, intake.name(), bytes_max),
            keep_removed_days: intake.keep_removed_days(),
            rows: BTreeMap::new(),
            removed: BTreeMap::new(),
            pending: BTreeMap::new(),
            removal_day: 0,
            positions: BTreeMap::new(),
            row_count: 0,
            bytes: 0,
            bytes_with_batch: 0,
        }
    }

    #[must_use]
    pub fn row_count(&self) -> usize {
        self.row_count
    }

    /// The memory of all rows, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Fails if the committed rows need more memory than they may have. To be called once they
    /// were restored.
    ///
    /// # Errors
    ///
    /// [`MemoryFull`].
    pub fn check_memory(&self) -> Result<(), MemoryFull> {
        self.bound.check(self.bytes)
    }

    /// Sets when what the batch takes back was taken back, in milliseconds since 1970.
    pub fn set_removal_time(&mut self, ms: i64) {
        self.removal_day = day_of(ms);
    }

    /// Takes out of `conversion` the records of a message of `partition` of which a newer version
    /// was written before, and notes the others as part of the batch.
    ///
    /// What takes a record back from another patron than the row's always stays: it is the old
    /// side of a change. It counts as the row's version only if it is newer.
    ///
    /// # Errors
    ///
    /// [`MemoryFull`]: going on would let an older version through later. The batch has to be
    /// rolled back.
    pub fn take_out_older(
        &mut self,
        partition: i32,
        conversion: &mut Conversion,
    ) -> Result<(), MemoryFull> {
        let claims: Vec<Option<ClaimedRecord<'_>>> =
            conversion.records.iter().map(|record| self.claim_of(record)).collect();
        let mut admitted = vec![true; claims.len()];
        // What a message writes decides over what it takes back of the same record.
        for is_removal in [false, true] {
            for (index, claim) in claims.iter().enumerate() {
                let Some(claim) = claim.as_ref().filter(|claim| claim.is_removal == is_removal)
                else {
                    continue;
                };
                let written = claims.iter().position(|other| is_written_version(other, claim));
                let is_admitted = match written {
                    Some(written) => admitted.get(written).copied().unwrap_or(true),
                    None => self.admit(partition, claim)?,
                };
                if let Some(one) = admitted.get_mut(index) {
                    *one = is_admitted;
                }
            }
        }
        drop(claims);
        let records = std::mem::take(&mut conversion.records);
        for (record, is_admitted) in records.into_iter().zip(admitted) {
            match is_admitted {
                true => conversion.records.push(record),
                false => conversion.older.push(record.kind),
            }
        }
        Ok(())
    }

    /// `None` of a record that has no version.
    fn claim_of<'r>(&self, record: &'r CanonicalRecord) -> Option<ClaimedRecord<'r>> {
        let claim = record.claim.as_ref()?;
        let (domain, rule) = self.keys.kinds.get(&record.kind)?;
        Some(ClaimedRecord {
            key: self.keys.hash(domain, &claim.id),
            patron: low_half(self.keys.hash(&self.keys.patron_domain, &record.key)),
            rule: *rule,
            version: claim.version.as_ref(),
            is_removal: record.outcome.is_removal(),
        })
    }

    /// Whether a record may be written; notes it, if so.
    fn admit(&mut self, partition: i32, claim: &ClaimedRecord<'_>) -> Result<bool, MemoryFull> {
        let before = self.find(partition, claim.key).filter(|row| row.rule == claim.rule);
        if !is_admitted(before, claim) {
            return Ok(false);
        }
        if let Some(row) = next_row(before, claim, self.removal_day) {
            self.change(partition, claim.key, Some(row));
            self.bound.check(self.bytes_with_batch)?;
        }
        Ok(true)
    }

    fn find(&self, partition: i32, key: u128) -> Option<&VersionRow> {
        match self.pending.get(&partition).and_then(|rows| rows.get(&key)) {
            Some(changed) => changed.as_ref(),
            None => self.rows.get(&partition)?.get(&key),
        }
    }

    /// Notes a change of a row as part of the batch.
    fn change(&mut self, partition: i32, key: u128, row: Option<VersionRow>) {
        let bytes = |row: Option<&VersionRow>| row.map_or(0, VersionRow::byte_len);
        let before = bytes(self.find(partition, key));
        self.bytes_with_batch = self.bytes_with_batch + bytes(row.as_ref()) - before;
        self.pending.entry(partition).or_default().insert(key, row);
    }

    /// Forgets rows of records of `partition` that were taken back longer ago than they are kept,
    /// those first that were taken back first, as part of the batch: at most `count_max` of them,
    /// and none that the batch changes. `now_ms` is in milliseconds since 1970. Returns how many.
    pub fn forget_removed(&mut self, partition: i32, now_ms: i64, count_max: usize) -> usize {
        let Some(keep_days) = self.keep_removed_days else {
            return 0;
        };
        let last_day = day_of(now_ms).saturating_sub(keep_days);
        let changed = self.pending.get(&partition);
        let is_unchanged = |key: &u128| changed.is_none_or(|rows| !rows.contains_key(key));
        let removed = self.removed.get(&partition).into_iter().flatten();
        let due = removed.take_while(|(day, _)| *day < last_day).map(|(_, key)| *key);
        let due: Vec<u128> = due.take(count_max).filter(is_unchanged).collect();
        for key in &due {
            self.change(partition, *key, None);
        }
        due.len()
    }

    /// How many rows the batch changes.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.pending.values().map(HashMap::len).sum()
    }

    /// Hands out the rows that the batch changes: partition, key and value of each, in order. A
    /// row without a value is forgotten.
    pub fn for_each_pending(&self, mut take: impl FnMut(i32, &[u8], Option<&[u8]>)) {
        for (partition, rows) in &self.pending {
            let rows = rows.iter().map(|(key, row)| (*key, row.as_ref()));
            for_each_row(&self.keys, (*partition, rows), &mut take);
        }
    }

    /// As [`for_each_pending`](Self::for_each_pending), of all rows that are committed.
    pub fn for_each_committed(&self, mut take: impl FnMut(i32, &[u8], &[u8])) {
        for (partition, rows) in &self.rows {
            let rows = rows.iter().map(|(key, row)| (*key, Some(row)));
            for_each_row(&self.keys, (*partition, rows), &mut |partition, key, value| {
                take(partition, key, value.unwrap_or_default());
            });
        }
    }

    /// Keeps what the batch changed.
    pub fn commit(&mut self) {
        for (partition, rows) in std::mem::take(&mut self.pending) {
            for (key, row) in rows {
                self.replace(partition, key, row);
            }
        }
    }

    /// Forgets what the batch changed.
    pub fn roll_back(&mut self) {
        self.pending.clear();
        self.bytes_with_batch = self.bytes;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.pending.clear();
        self.rows.clear();
        self.removed.clear();
        self.positions.clear();
        (self.row_count, self.bytes, self.bytes_with_batch) = (0, 0, 0);
    }

    /// Returns key and value of the row that says how far `topic` was read: up to `next`.
    #[must_use]
    pub fn position_row(&self, partition: i32, topic: &str, next: i64) -> (Vec<u8>, Vec<u8>) {
        let key = [POSITION_KEY_PREFIX, topic].concat().into_bytes();
        let value = self.keys.seal((partition, &key), &PositionJson { format: FORMAT, next });
        (key, value)
    }

    /// Returns how far `topic` was read, by the rows that were restored.
    #[must_use]
    pub fn restored_position(&self, partition: i32, topic: &str) -> Option<i64> {
        self.positions.get(&(partition, topic.to_owned())).copied()
    }

    /// Applies a row that was written before; one without a value is removed.
    ///
    /// # Errors
    ///
    /// Its MAC does not fit, or it has a newer format.
    pub fn restore_row(
        &mut self,
        partition: i32,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), VersionRowError> {
        if is_position_key(key) {
            let topic = key.get(POSITION_KEY_PREFIX.len()..).unwrap_or_default();
            let place = (partition, String::from_utf8_lossy(topic).into_owned());
            match value {
                None => self.positions.remove(&place),
                Some(value) => {
                    let position: PositionJson = self.keys.open((partition, key), value)?;
                    self.positions.insert(place, position.next)
                }
            };
            return Ok(());
        }
        let bits = Pseudonym::parse_bits(key).ok_or(VersionRowError::Damaged)?;
        let row: Option<RowJson> =
            value.map(|value| self.keys.open((partition, key), value)).transpose()?;
        let row = row.as_ref().map(VersionRow::from_json).transpose()?;
        self.replace(partition, bits, row);
        Ok(())
    }

    /// Puts `row` in place of a committed one.
    fn replace(&mut self, partition: i32, key: u128, row: Option<VersionRow>) {
        let rows = self.rows.entry(partition).or_default();
        let added_on = row.as_ref().and_then(|row| row.removed_on);
        let added_bytes = row.as_ref().map_or(0, VersionRow::byte_len);
        self.row_count += usize::from(row.is_some());
        let before = match row {
            Some(row) => rows.insert(key, row),
            None => rows.remove(&key),
        };
        let removed = self.removed.entry(partition).or_default();
        if let Some(before) = &before {
            self.row_count -= 1;
            self.bytes -= before.byte_len();
            before.removed_on.map(|day| removed.remove(&(day, key)));
        }
        self.bytes += added_bytes;
        removed.extend(added_on.map(|day| (day, key)));
        if self.pending.is_empty() {
            self.bytes_with_batch = self.bytes;
        }
    }
}

/// Whether a row of the state only says how far a raw topic was read.
#[must_use]
pub fn is_position_key(key: &[u8]) -> bool {
    key.starts_with(POSITION_KEY_PREFIX.as_bytes())
}

/// Whether `other` is what the message of `removal` writes of the same record and patron.
fn is_written_version(other: &Option<ClaimedRecord<'_>>, removal: &ClaimedRecord<'_>) -> bool {
    let same = |other: &ClaimedRecord<'_>| {
        !other.is_removal && (other.key, other.patron) == (removal.key, removal.patron)
    };
    removal.is_removal && other.as_ref().is_some_and(same)
}

fn is_admitted(before: Option<&VersionRow>, claim: &ClaimedRecord<'_>) -> bool {
    let (Some(row), Some(version)) = (before, claim.version) else {
        return true;
    };
    match (row.patron == claim.patron, claim.is_removal) {
        (true, is_removed) => (version, is_removed) >= (&row.version, row.removed_on.is_some()),
        (false, false) => *version >= row.version,
        (false, true) => true,
    }
}

/// The row behind an admitted record; `None` if it stays as it is. A record that is taken back
/// is so on `removal_day`, also if it was before.
fn next_row(
    before: Option<&VersionRow>,
    claim: &ClaimedRecord<'_>,
    removal_day: i32,
) -> Option<VersionRow> {
    let is_of_other = |row: &VersionRow| claim.is_removal && row.patron != claim.patron;
    let version = match (before, claim.version) {
        (Some(row), Some(version)) if is_of_other(row) && *version <= row.version => return None,
        (_, Some(version)) => version.clone(),
        (Some(row), None) if !is_of_other(row) => row.version.clone(),
        (_, None) => return None,
    };
    Some(VersionRow {
        version,
        patron: claim.patron,
        rule: claim.rule,
        removed_on: claim.is_removal.then_some(removal_day),
    })
}

fn for_each_row<'r>(
    keys: &VersionKeys,
    (partition, rows): (i32, impl Iterator<Item = (u128, Option<&'r VersionRow>)>),
    take: &mut impl FnMut(i32, &[u8], Option<&[u8]>),
) {
    let mut sorted: Vec<(u128, Option<&VersionRow>)> = rows.collect();
    sorted.sort_unstable_by_key(|(key, _)| *key);
    for (key, row) in sorted {
        let key = Pseudonym::from_bits(key).to_ascii();
        let value = row.map(|row| keys.seal((partition, &key), &row.to_json()));
        take(partition, &key, value.as_deref());
    }
}

impl VersionRow {
    /// Its memory in bytes, wherever it is held.
    fn byte_len(&self) -> usize {
        let of_removal = self.removed_on.map_or(0, |_| REMOVED_OVERHEAD_BYTES);
        ROW_OVERHEAD_BYTES + self.version.byte_len() + of_removal
    }

    fn to_json(&self) -> RowJson {
        RowJson {
            format: FORMAT,
            version: self.version.to_json(),
            patron: format!("{:016x}", self.patron),
            rule: format!("{:016x}", self.rule),
            removed: self.removed_on.is_some(),
            removed_on: self.removed_on,
        }
    }

    fn from_json(json: &RowJson) -> Result<VersionRow, VersionRowError> {
        let hex = |text: &str| u64::from_str_radix(text, 16).map_err(|_| VersionRowError::Damaged);
        Ok(VersionRow {
            version: Version::from_json(&json.version).ok_or(VersionRowError::Damaged)?,
            patron: hex(&json.patron)?,
            rule: hex(&json.rule)?,
            removed_on: json.removed.then(|| json.removed_on.unwrap_or(UNKNOWN_DAY)),
        })
    }
}

/// The day of a time, since 1970 in UTC.
fn day_of(ms: i64) -> i32 {
    let day = ms.div_euclid(DAY_MS).clamp(0, i64::from(UNKNOWN_DAY) - 1);
    i32::try_from(day).unwrap_or_default()
}

fn low_half(bits: u128) -> u64 {
    #[allow(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    let low = bits as u64;
    low
}
