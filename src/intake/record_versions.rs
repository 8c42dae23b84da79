//! What an intake remembers of the versions that it wrote, so that none brings an older state
//! back.
//!
//! One row for each record of a kind with `newer_by`, by partition of the raw topic: keyed hashes
//! of the record's own id and of its patron, its version, and whether it was taken back. No value
//! of a message is in a row. What a batch changes is undone with it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::version::Version;
use super::{CanonicalRecord, Conversion, Intake};
use crate::message::continuity::{Fingerprinter, append_mac_member, split_mac};
use crate::policy::pseudonym::{HmacKey, Pseudonym, PseudonymDomain, Pseudonymiser};

const FORMAT: u32 = 1;
/// What stands before the name of a raw topic in the key of the row that says how far it was read.
const POSITION_KEY_PREFIX: &str = "position:";
/// What a row takes beside the parts of its version, with its place in the table.
const ROW_OVERHEAD_BYTES: usize = size_of::<(u128, VersionRow)>() + 32;

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
    is_removed: bool,
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
    rows: BTreeMap<i32, PartitionRows>,
    /// What the open batch changes.
    pending: BTreeMap<i32, PartitionRows>,
    /// By partition and raw topic, how far it was read when a row was last written.
    positions: BTreeMap<(i32, String), i64>,
    row_count: usize,
    version_bytes: usize,
}

impl RecordVersions {
    pub(super) fn new(intake: &Intake, key: &HmacKey) -> RecordVersions {
        RecordVersions {
            keys: VersionKeys::new(intake, key),
            rows: BTreeMap::new(),
            pending: BTreeMap::new(),
            positions: BTreeMap::new(),
            row_count: 0,
            version_bytes: 0,
        }
    }

    #[must_use]
    pub fn row_count(&self) -> usize {
        self.row_count
    }

    /// The memory of all rows, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.row_count * ROW_OVERHEAD_BYTES + self.version_bytes
    }

    /// Takes out of `conversion` the records of a message of `partition` of which a newer version
    /// was written before, and notes the others as part of the batch.
    ///
    /// What takes a record back from another patron than the row's always stays: it is the old
    /// side of a change. It counts as the row's version only if it is newer.
    pub fn take_out_older(&mut self, partition: i32, conversion: &mut Conversion) {
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
                    None => self.admit(partition, claim),
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
    fn admit(&mut self, partition: i32, claim: &ClaimedRecord<'_>) -> bool {
        let before = self.find(partition, claim.key).filter(|row| row.rule == claim.rule);
        if !is_admitted(before, claim) {
            return false;
        }
        if let Some(row) = next_row(before, claim) {
            self.pending.entry(partition).or_default().insert(claim.key, row);
        }
        true
    }

    fn find(&self, partition: i32, key: u128) -> Option<&VersionRow> {
        let pending = self.pending.get(&partition).and_then(|rows| rows.get(&key));
        pending.or_else(|| self.rows.get(&partition)?.get(&key))
    }

    /// Hands out the rows that the batch changes: partition, key and value of each, in order.
    pub fn for_each_pending(&self, mut take: impl FnMut(i32, &[u8], &[u8])) {
        for_each_row(&self.keys, &self.pending, &mut take);
    }

    /// As [`for_each_pending`](Self::for_each_pending), of all rows that are committed.
    pub fn for_each_committed(&self, mut take: impl FnMut(i32, &[u8], &[u8])) {
        for_each_row(&self.keys, &self.rows, &mut take);
    }

    /// Keeps what the batch changed.
    pub fn commit(&mut self) {
        for (partition, rows) in std::mem::take(&mut self.pending) {
            for (key, row) in rows {
                self.insert(partition, key, row);
            }
        }
    }

    /// Forgets what the batch changed.
    pub fn roll_back(&mut self) {
        self.pending.clear();
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.pending.clear();
        self.rows.clear();
        self.positions.clear();
        (self.row_count, self.version_bytes) = (0, 0);
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
        match value {
            None => self.remove(partition, bits),
            Some(value) => {
                let row = self.keys.open((partition, key), value)?;
                self.insert(partition, bits, VersionRow::from_json(&row)?);
            }
        }
        Ok(())
    }

    fn insert(&mut self, partition: i32, key: u128, row: VersionRow) {
        let added = row.version.byte_len();
        let before = self.rows.entry(partition).or_default().insert(key, row);
        self.version_bytes += added;
        match before {
            Some(before) => self.version_bytes -= before.version.byte_len(),
            None => self.row_count += 1,
        }
    }

    fn remove(&mut self, partition: i32, key: u128) {
        let removed = self.rows.get_mut(&partition).and_then(|rows| rows.remove(&key));
        if let Some(row) = removed {
            self.row_count -= 1;
            self.version_bytes -= row.version.byte_len();
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
        (true, is_removed) => (version, is_removed) >= (&row.version, row.is_removed),
        (false, false) => *version >= row.version,
        (false, true) => true,
    }
}

/// The row behind an admitted record; `None` if it stays as it is.
fn next_row(before: Option<&VersionRow>, claim: &ClaimedRecord<'_>) -> Option<VersionRow> {
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
        is_removed: claim.is_removal,
    })
}

fn for_each_row(
    keys: &VersionKeys,
    rows: &BTreeMap<i32, PartitionRows>,
    take: &mut impl FnMut(i32, &[u8], &[u8]),
) {
    for (partition, rows) in rows {
        let mut sorted: Vec<(&u128, &VersionRow)> = rows.iter().collect();
        sorted.sort_unstable_by_key(|(key, _)| **key);
        for (key, row) in sorted {
            let key = Pseudonym::from_bits(*key).to_ascii();
            take(*partition, &key, &keys.seal((*partition, &key), &row.to_json()));
        }
    }
}

impl VersionRow {
    fn to_json(&self) -> RowJson {
        RowJson {
            format: FORMAT,
            version: self.version.to_json(),
            patron: format!("{:016x}", self.patron),
            rule: format!("{:016x}", self.rule),
            removed: self.is_removed,
        }
    }

    fn from_json(json: &RowJson) -> Result<VersionRow, VersionRowError> {
        let hex = |text: &str| u64::from_str_radix(text, 16).map_err(|_| VersionRowError::Damaged);
        Ok(VersionRow {
            version: Version::from_json(&json.version).ok_or(VersionRowError::Damaged)?,
            patron: hex(&json.patron)?,
            rule: hex(&json.rule)?,
            is_removed: json.removed,
        })
    }
}

fn low_half(bits: u128) -> u64 {
    #[allow(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    let low = bits as u64;
    low
}
