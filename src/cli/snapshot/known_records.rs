//! What a source says last of each of its records.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hasher as _};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{SourceLog, for_each_line, without_byte_order_mark};
use crate::json::members;
use crate::policy::catalogue::{RecordKind, Role};

/// A digest of a record's key and id; of a patron, of its key alone.
pub(in crate::cli) type RecordIdentity = [u8; 16];

/// A line of a source or of a snapshot.
pub(in crate::cli) struct RecordLine {
    pub(super) identity: RecordIdentity,
    key_hash: u64,
    value_hash: u64,
    /// The id can be read, so that the record can be said to be gone.
    has_id: bool,
    /// The line itself says that the record is not there.
    is_removal: bool,
}

impl RecordLine {
    /// Reads a line; `None` if it is no message, or its key is no text.
    pub(in crate::cli) fn parse(kind: &RecordKind, line: &[u8]) -> Option<RecordLine> {
        let text = std::str::from_utf8(line).ok()?;
        let members =
            members::read(text, ["key", "value"]).filter(|read| !read.has_duplicates())?;
        let [key, value] = members.found;
        let key: Option<String> = match key {
            Some(key) => serde_json::from_str(key.get()).ok()?,
            None => None,
        };
        let value = value?.get();
        let parsed = serde_json::from_str::<Value>(value).unwrap_or(Value::Null);
        let id = match kind.role {
            Role::Patron => key.clone(),
            Role::Gate | Role::Record => text_at(&parsed, &kind.id_path).map(str::to_owned),
        };
        let is_gone = || {
            let path = kind.gone_path.as_deref();
            path.is_some_and(|path| value_at(&parsed, path) == Some(&Value::Bool(true)))
        };
        Some(RecordLine {
            identity: identity(key.as_deref(), id.as_deref().unwrap_or(value), id.is_some()),
            key_hash: hash_of(&key),
            value_hash: hash_of(value),
            has_id: id.is_some(),
            is_removal: value == "null" || is_gone(),
        })
    }
}

fn identity(key: Option<&str>, id: &str, has_id: bool) -> RecordIdentity {
    let mut digest = Sha256::new();
    for part in [key.unwrap_or_default(), id] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.update([u8::from(key.is_some()), u8::from(has_id)]);
    let mut short = [0; 16];
    short.copy_from_slice(&digest.finalize()[..16]);
    short
}

fn hash_of(value: impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Returns the value at a path of object members.
pub(super) fn value_at<'v>(record: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(record, |value, name| value.get(name))
}

/// Returns the text at a path, if it is not empty.
pub(super) fn text_at<'v>(record: &'v Value, path: &str) -> Option<&'v str> {
    value_at(record, path)?.as_str().filter(|text| !text.is_empty())
}

#[derive(Clone, Copy)]
struct KnownRecord {
    value_hash: u64,
    /// Where its last line begins.
    offset: u64,
    has_id: bool,
    is_removed: bool,
    is_in_snapshot: bool,
}

/// The last line of each record of a source.
#[derive(Default)]
pub(in crate::cli) struct KnownRecords {
    records: HashMap<RecordIdentity, KnownRecord>,
    /// Keys under which the snapshot has a record whose id cannot be read: it may be any.
    unclear_keys: HashSet<u64>,
}

/// What a line of the snapshot is to the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineChange {
    New,
    Changed,
    Unchanged,
}

impl KnownRecords {
    pub(super) fn read(kind: &RecordKind, log: &SourceLog) -> anyhow::Result<KnownRecords> {
        let mut known = KnownRecords::default();
        for_each_line(&log.path, &mut |line, offset| {
            let line = without_byte_order_mark(line, offset).trim_ascii();
            if let Some(read) = RecordLine::parse(kind, line)
                && offset < log.whole_length
            {
                let record = KnownRecord {
                    value_hash: read.value_hash,
                    offset,
                    has_id: read.has_id,
                    is_removed: read.is_removal,
                    is_in_snapshot: false,
                };
                known.records.insert(read.identity, record);
            }
            Ok(())
        })?;
        Ok(known)
    }

    /// Notes the next message of a topic. `is_seen`: the library system has written it anew.
    pub(in crate::cli) fn note_message(&mut self, line: &RecordLine, offset: u64, is_seen: bool) {
        if is_seen && !line.has_id {
            self.unclear_keys.insert(line.key_hash);
        }
        let record = KnownRecord {
            value_hash: line.value_hash,
            offset,
            has_id: line.has_id,
            is_removed: line.is_removal,
            is_in_snapshot: is_seen,
        };
        self.records.insert(line.identity, record);
    }

    pub(super) fn has_live_records(&self) -> bool {
        self.records.values().any(|record| !record.is_removed)
    }

    pub(in crate::cli) fn live_count(&self) -> usize {
        self.records.values().filter(|record| !record.is_removed).count()
    }

    /// Notes that the snapshot has a record.
    pub(super) fn note_in_snapshot(&mut self, line: &RecordLine) -> LineChange {
        if !line.has_id {
            self.unclear_keys.insert(line.key_hash);
        }
        match self.records.get_mut(&line.identity) {
            // A record that is not there, and is not known either.
            None if line.is_removal => LineChange::Unchanged,
            None => LineChange::New,
            Some(known) => {
                known.is_in_snapshot = true;
                if known.value_hash == line.value_hash {
                    LineChange::Unchanged
                } else if known.is_removed {
                    LineChange::New
                } else {
                    LineChange::Changed
                }
            }
        }
    }

    /// Whether the snapshot has a record under the key of `line` that may be this one.
    pub(super) fn may_be_in_snapshot(&self, line: &RecordLine) -> bool {
        self.unclear_keys.contains(&line.key_hash)
    }

    /// Where the last lines of the records begin that are known and not in the snapshot, in the
    /// order of the source.
    pub(in crate::cli) fn unseen_offsets(&self) -> Vec<u64> {
        let records = self.records.values();
        let unseen = records.filter(|one| !one.is_removed && !one.is_in_snapshot && one.has_id);
        let mut offsets: Vec<u64> = unseen.map(|one| one.offset).collect();
        offsets.sort_unstable();
        offsets
    }
}
