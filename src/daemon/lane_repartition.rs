//! Sources that have other partitions than those that a lane has read, and how its state is
//! carried to them.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::memory::deliveries::repartition::RecordPlaces;
use crate::engine::memory::deliveries::{RowKey, StateKeys};
use crate::message::continuity::ContinuityMark;
use crate::message::{AppendTime, Input, Payload};
use crate::policy::catalogue::{RecordKind, Role};
use crate::policy::pseudonym::PseudonymDomain;
use crate::transport::kafka::partitioner::{KeyPlacement, Partitioner};

/// A source with other partitions than a lane has read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangedSource {
    /// Without prefix.
    pub topic: String,
    pub former_count: i32,
    pub partition_count: i32,
}

/// Compares the partitions of a lane's sources with what its marks say. `partition_count` returns 0
/// for a topic that does not exist. `counts_marks` also finds the number by how many marks there
/// are: those of a version that did not note it.
#[must_use]
pub fn find_changed_sources(
    marks: &[ContinuityMark],
    partition_count: impl Fn(&str) -> i32,
    counts_marks: bool,
) -> BTreeSet<ChangedSource> {
    let mut former_counts = BTreeMap::<&str, (i32, i32)>::new();
    for (topic, progress) in marks.iter().flat_map(|mark| &mark.sources) {
        let (noted, counted) = former_counts.entry(topic).or_default();
        *noted = (*noted).max(progress.partition_count);
        *counted += 1;
    }
    let mut changed = BTreeSet::new();
    for (topic, (noted, counted)) in former_counts {
        let former_count = if noted == 0 && counts_marks { counted } else { noted };
        let partition_count = partition_count(topic);
        if former_count != 0 && partition_count != 0 && former_count != partition_count {
            changed.insert(ChangedSource {
                topic: topic.to_owned(),
                former_count,
                partition_count,
            });
        }
    }
    changed
}

/// Reads the identities of records, for the places of their rows.
pub struct RecordFinder<'a> {
    kind: &'a RecordKind,
    state_keys: &'a StateKeys,
    domain: PseudonymDomain,
    /// `None` if the kind is not keyed by patron, or has one partition only.
    placement: Option<KeyPlacement>,
    /// Records that lie elsewhere than their keys belong.
    pub misplaced_count: u64,
    /// When the last record was appended.
    pub newest_record: Option<AppendTime>,
}

impl<'a> RecordFinder<'a> {
    #[must_use]
    pub fn new(
        kind: &'a RecordKind,
        state_keys: &'a StateKeys,
        (partitioner, partition_count): (Partitioner, i32),
    ) -> Self {
        let placement = KeyPlacement::new(partitioner, partition_count);
        RecordFinder {
            kind,
            state_keys,
            domain: PseudonymDomain::new(&kind.name, &kind.id_path),
            placement: placement.filter(|_| kind.is_keyed_by_patron),
            misplaced_count: 0,
            newest_record: None,
        }
    }

    /// Notes where a record and its patron lie. A record that names no identity, or that a worker
    /// would refuse for its key, is none. A misplaced one may have been repaired.
    pub fn note_record(
        &mut self,
        input: &Input<'_>,
        is_repaired: impl Fn() -> bool,
        places: &mut RecordPlaces,
    ) {
        self.note_append_time(input.append_time);
        if self.kind.role == Role::Patron {
            places.note_patron_kind(&self.kind.name);
        }
        let home = self.placement.and_then(|one| one.home_if_misplaced(input.key, input.partition));
        if home.is_some() {
            self.misplaced_count += u64::from(!is_repaired());
            return;
        }
        let key = input.key.and_then(|key| std::str::from_utf8(key).ok());
        if let Some(patron_id) = key.filter(|key| self.kind.is_keyed_by_patron && !key.is_empty()) {
            places.note_patron(self.state_keys.patron_hash(patron_id), input.partition);
        }
        let value = match input.payload {
            Payload::Bytes(bytes) if bytes.trim_ascii() != b"null" => bytes,
            _ => {
                if let (Role::Patron, Some(patron_id)) = (self.kind.role, key) {
                    places.forget_record(RowKey(self.state_keys.patron_hash(patron_id).0));
                }
                return;
            }
        };
        if let Some(row_key) = self.row_key(key.unwrap_or_default(), value) {
            places.note_record(row_key, (input.partition, input.offset));
        }
    }

    fn note_append_time(&mut self, appended: Option<AppendTime>) {
        let unknown = AppendTime { ms: i64::MAX, is_exact: false };
        let appended = appended.unwrap_or(unknown);
        self.newest_record =
            Some(self.newest_record.map_or(appended, |newest| newest.latest(appended)));
    }

    /// Returns the key of a record's row.
    fn row_key(&self, message_key: &str, value: &[u8]) -> Option<RowKey> {
        let record: serde_json::Value = serde_json::from_slice(value).ok()?;
        let text_at = |path: &str| {
            let mut members = path.split('.');
            let found = members.try_fold(&record, |value, member| value.get(member))?;
            found.as_str().filter(|text| !text.is_empty())
        };
        let id = text_at(&self.kind.id_path)?;
        let has_patron = self.kind.is_keyed_by_patron
            && !(self.kind.may_lack_patron && record.get("patron_id").is_none_or(is_blank));
        let keyed_by = if has_patron { text_at("patron_id")? } else { id };
        if self.kind.is_keyed_by_patron && keyed_by != message_key {
            return None;
        }
        let patron_id = if has_patron { keyed_by } else { "" };
        Some(match self.kind.role {
            Role::Patron => RowKey(self.state_keys.patron_hash(id).0),
            Role::Gate | Role::Record => self.state_keys.row_key(&self.domain, patron_id, id),
        })
    }
}

/// Whether a value counts as missing.
fn is_blank(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null => true,
        serde_json::Value::String(text) => text.is_empty(),
        serde_json::Value::Array(values) => values.iter().all(is_blank),
        serde_json::Value::Object(members) => members.values().all(is_blank),
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::memory::deliveries::lane_move::StoredPartition;
    use crate::engine::memory::deliveries::row_json;
    use crate::message::SourceId;
    use crate::message::continuity::{MARK_ROW_KEY, SourceProgress};
    use crate::policy::pseudonym::HmacKey;

    fn mark(partition_count: i32) -> ContinuityMark {
        let progress = SourceProgress { partition_count, ..SourceProgress::default() };
        let sources = ["loan", "patron"].map(|topic| (topic.to_owned(), progress.clone()));
        ContinuityMark { sources: BTreeMap::from(sources), ..ContinuityMark::default() }
    }

    #[track_caller]
    fn check_changed(marks: &[ContinuityMark], count: i32, counts_marks: bool, want: Option<i32>) {
        // `patron` does not exist.
        let partition_count = |topic: &str| if topic == "loan" { count } else { 0 };
        let found = find_changed_sources(marks, partition_count, counts_marks);
        let want = want.map(|former_count| ChangedSource {
            topic: "loan".to_owned(),
            former_count,
            partition_count: count,
        });
        assert_eq!(found.into_iter().collect::<Vec<_>>(), Vec::from_iter(want));
    }

    #[test]
    fn changed_source_has_another_number_than_its_marks_say() {
        check_changed(&[], 4, true, None);
        check_changed(&[mark(4)], 4, true, None);
        check_changed(&[mark(2), mark(2)], 4, false, Some(2));
        check_changed(&[mark(4)], 2, false, Some(4));
        check_changed(&[mark(4)], 0, true, None);
        // Marks of an older version.
        check_changed(&[mark(0), mark(0)], 4, false, None);
        check_changed(&[mark(0), mark(0)], 4, true, Some(2));
        check_changed(&[mark(0), mark(0)], 2, true, None);
    }

    fn loan_kind(role: Role, id_path: &str) -> RecordKind {
        RecordKind {
            name: "loan".to_owned(),
            title: String::new(),
            topic: "loan".to_owned(),
            role,
            id_path: id_path.to_owned(),
            is_keyed_by_patron: true,
            may_lack_patron: false,
            must_not_exist: Vec::new(),
            anonymous_paths: Vec::new(),
            is_closed: false,
            allows_other_library: false,
            gone_path: None,
            source_deletion: None,
            other_person_path: None,
            settles: None,
            fields: Vec::new(),
        }
    }

    /// Returns the place of the row under `row_key`, and the number of misplaced records.
    fn find_place(
        kind: &RecordKind,
        state_keys: &StateKeys,
        row_key: RowKey,
        records: &[(i32, &str, Option<&str>)],
    ) -> (Option<(i32, i64)>, u64) {
        let mut places = RecordPlaces::default();
        let text = r#"{"format":2,"patron":"AAAAAAAAAAAAAAAAAAAAAA","to":{"#;
        let mut body = format!("{text}}}").into_bytes();
        let key = row_json::encode_bits(row_key.0);
        let fingerprinter = state_keys.fingerprinter();
        let mac = fingerprinter.hash_record(Some(&key), Some(&body));
        crate::message::continuity::append_mac_member(&mut body, mac);
        let mut stored = StoredPartition::default();
        stored.apply_row(&fingerprinter, MARK_ROW_KEY, None).unwrap();
        stored.apply_row(&fingerprinter, &key, Some(&body)).unwrap();
        places.want_rows(&stored).unwrap();
        let mut finder = RecordFinder::new(kind, state_keys, (Partitioner::Murmur2, 4));
        for (offset, (away, key, value)) in (0..).zip(records) {
            let placement = KeyPlacement::new(Partitioner::Murmur2, 4).unwrap();
            let input = Input {
                source: SourceId(0),
                partition: (placement.home_partition(key.as_bytes()) + away) % 4,
                offset,
                timestamp_ms: None,
                append_time: Some(AppendTime { ms: offset, is_exact: true }),
                trace_parent: None,
                key: Some(key.as_bytes()),
                payload: value.map_or(Payload::Null, |value| Payload::Bytes(value.as_bytes())),
            };
            finder.note_record(&input, || false, &mut places);
        }
        (places.place(row_key), finder.misplaced_count)
    }

    #[test]
    fn record_is_found_by_its_identity_in_its_own_partition() {
        let state_keys = StateKeys::new(&HmacKey::generate("k").unwrap());
        let home = KeyPlacement::new(Partitioner::Murmur2, 4).unwrap().home_partition(b"p1");
        let kind = loan_kind(Role::Record, "loan.id");
        let row_key = state_keys.row_key(&PseudonymDomain::new("loan", "loan.id"), "p1", "L1");
        let find = |records: &[_]| find_place(&kind, &state_keys, row_key, records);
        let own = Some(r#"{"patron_id":"p1","loan":{"id":"L1"}}"#);
        assert_eq!(find(&[(0, "p1", own), (0, "p1", own)]), (Some((home, 1)), 0));
        assert_eq!(find(&[(0, "p1", own), (1, "p1", own)]), (Some((home, 0)), 1));
        let others = [
            r#"{"patron_id":"p1","loan":{"id":"L2"}}"#,
            r#"{"patron_id":"p2","loan":{"id":"L1"}}"#,
            r#"{"patron_id":"p1","loan":{"id":""}}"#,
            r#"{"patron_id":"p1","loan":{"id":1}}"#,
            r#"{"patron_id":"p1""#,
            "null",
        ];
        for other in others {
            assert_eq!(find(&[(0, "p1", Some(other))]), (None, 0), "{other}");
        }
        assert_eq!(find(&[(0, "p1", own), (0, "p1", None)]), (Some((home, 0)), 0));
    }

    #[test]
    fn patron_record_is_gone_after_its_null() {
        let state_keys = StateKeys::new(&HmacKey::generate("k").unwrap());
        let kind = loan_kind(Role::Patron, "patron_id");
        let row_key = RowKey(state_keys.patron_hash("p1").0);
        let find = |records: &[_]| find_place(&kind, &state_keys, row_key, records).0;
        let own = Some(r#"{"patron_id":"p1"}"#);
        assert!(find(&[(0, "p1", own)]).is_some());
        assert_eq!(find(&[(0, "p1", own), (0, "p1", None)]), None);
        assert_eq!(find(&[(0, "p1", own), (0, "p1", Some(" null "))]), None);
        assert!(find(&[(0, "p1", None), (0, "p1", own)]).is_some());
    }
}
