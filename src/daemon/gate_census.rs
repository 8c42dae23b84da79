//! The census of the gates: records of patrons, consents and objections that would not
//! count, or not as intended.
//!
//! Keeps no key and no value, only hashes that are valid for one process.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::BuildHasher as _;

use serde::Deserialize;

use crate::config::LoadedConfig;
use crate::message::{Input, Payload};
use crate::policy::catalogue::Role;
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::partitioner::KeyPlacement;
use crate::transport::kafka::read_topic::read_inputs;
use crate::transport::kafka::repaired_records::RepairedRecords;
use crate::transport::kafka::topics::{TopicError, describe_topics};

/// What was found in one gate source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateSourceCounts {
    /// The topic's name, without prefix.
    pub topic: String,
    pub records: u64,
    /// In another partition than their key belongs in, and not repaired.
    pub misplaced: u64,
    /// Misplaced, and rewritten since.
    pub repaired: u64,
    pub keyless: u64,
    /// Not JSON, or without a patron id.
    pub unreadable: u64,
    /// The key is quoted, JSON, surrounded by white space, or another spelling of a known
    /// patron's.
    pub near_keys: u64,
    /// Nulls; those of patrons are erasures.
    pub nulls: u64,
}

/// What was found in all gate sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateCensus {
    pub sources: Vec<GateSourceCounts>,
    /// How many patrons this concerns, apart from erasures.
    pub affected_patrons: usize,
}

impl GateCensus {
    /// Reads every gate source of the policy.
    ///
    /// # Errors
    ///
    /// Kafka does not answer.
    pub fn collect(
        settings: &KafkaSettings,
        loaded: &LoadedConfig,
    ) -> Result<GateCensus, TopicError> {
        let repaired = RepairedRecords::load(settings)?;
        let mut counter = CensusCounter::default();
        let mut gates = Vec::new();
        for (topic, role) in gate_topics(loaded) {
            let found = describe_topics(settings, &[topic])?;
            let found = found.get(topic).and_then(Option::as_ref);
            let partitions = found.map_or(0, |found| found.partition_count);
            let source = GateSource {
                topic,
                role,
                placement: KeyPlacement::new(settings.partitioner, partitions),
                repaired: &repaired,
            };
            let mut count =
                GateSourceCounts { topic: topic.to_owned(), ..GateSourceCounts::default() };
            read_inputs(settings, topic, &mut |input| {
                counter.count_record(&source, &input, &mut count);
            })?;
            gates.push(count);
        }
        Ok(GateCensus { sources: gates, affected_patrons: counter.affected_patrons.len() })
    }

    #[must_use]
    pub fn misplaced_total(&self) -> u64 {
        self.sources.iter().map(|gate| gate.misplaced).sum()
    }

    /// Logs a line for each source.
    pub fn log(&self) {
        for gate in &self.sources {
            tracing::info!(
                topic = gate.topic,
                records = gate.records,
                misplaced = gate.misplaced,
                repaired = gate.repaired,
                keyless = gate.keyless,
                unreadable = gate.unreadable,
                near_keys = gate.near_keys,
                nulls = gate.nulls,
                "census"
            );
        }
        tracing::info!(patrons = self.affected_patrons, "census: patrons affected");
    }
}

/// Returns the gate sources of a policy, patrons first.
#[must_use]
pub fn gate_topics(loaded: &LoadedConfig) -> Vec<(&str, Role)> {
    let kinds = loaded.policy.record_kinds.iter();
    let mut topics: Vec<(&str, Role)> = kinds
        .filter(|kind| kind.is_keyed_by_patron && kind.role != Role::Record)
        .map(|kind| (&*kind.topic, kind.role))
        .collect();
    topics.sort_by_key(|(_, role)| *role != Role::Patron);
    topics
}

struct GateSource<'a> {
    topic: &'a str,
    role: Role,
    placement: Option<KeyPlacement>,
    repaired: &'a RepairedRecords,
}

#[derive(Default)]
struct CensusCounter {
    /// Seeded anew in each process.
    hasher: foldhash::fast::RandomState,
    /// Hashes of patrons' keys as written.
    patron_keys: HashSet<u64>,
    /// Hashes of patrons' keys without spelling differences.
    normalised_patron_keys: HashSet<u64>,
    affected_patrons: HashSet<u64>,
}

impl CensusCounter {
    fn count_record(
        &mut self,
        source: &GateSource<'_>,
        input: &Input<'_>,
        count: &mut GateSourceCounts,
    ) {
        count.records += 1;
        let key = input.key.filter(|key| !key.is_empty());
        let elsewhere = |placement: KeyPlacement| placement.home_if_misplaced(key, input.partition);
        let mut odd = false;
        if source.placement.and_then(elsewhere).is_some() {
            let place = (source.topic.to_owned(), input.partition, input.offset);
            let repaired = source.repaired.contains(&place, input.timestamp_ms);
            count.repaired += u64::from(repaired);
            count.misplaced += u64::from(!repaired);
            odd |= !repaired;
        }
        let named = match input.payload {
            Payload::Bytes(bytes) if bytes.trim_ascii() == b"null" => None,
            Payload::Bytes(bytes) => Some(parse_patron_id(bytes)),
            Payload::RefusedBytes(..) => Some(None),
            Payload::Null | Payload::Refused(_) => None,
        };
        count.nulls += u64::from(named.is_none());
        odd |= named.is_none() && source.role != Role::Patron;
        if named == Some(None) {
            count.unreadable += 1;
            odd = true;
        }
        match key {
            None => {
                count.keyless += 1;
                odd = true;
            }
            Some(key) => {
                let near = self.is_near_patron_key(source.role, key);
                count.near_keys += u64::from(near);
                odd |= near;
            }
        }
        let named = named.flatten();
        let patron = key.or(named.as_ref().map(|id| id.as_bytes()));
        if let Some(patron) = patron.filter(|_| odd) {
            self.affected_patrons.insert(self.hasher.hash_one(normalise_key(patron)));
        }
    }

    /// Returns whether a key is not written like patrons' keys; adds it if it is a
    /// patron's.
    fn is_near_patron_key(&mut self, role: Role, key: &[u8]) -> bool {
        let exact = self.hasher.hash_one(key);
        let plain = normalise_key(key);
        let quoted = plain.len() != key.len();
        let plain = self.hasher.hash_one(plain);
        let other_spelling =
            !self.patron_keys.contains(&exact) && self.normalised_patron_keys.contains(&plain);
        if role == Role::Patron {
            self.patron_keys.insert(exact);
            self.normalised_patron_keys.insert(plain);
        }
        quoted || other_spelling
    }
}

/// Returns a key in lower case without quotes, white space, and what JSON and binary
/// serializers put around it.
fn normalise_key(key: &[u8]) -> Vec<u8> {
    const WRAPPING_BYTES: &[u8] = b"\"'{}[]\0";
    let is_around = |byte: &u8| byte.is_ascii_whitespace() || WRAPPING_BYTES.contains(byte);
    let mut key = key;
    while let Some((_, rest)) = key.split_first().filter(|(first, _)| is_around(first)) {
        key = rest;
    }
    while let Some((_, rest)) = key.split_last().filter(|(last, _)| is_around(last)) {
        key = rest;
    }
    key.to_ascii_lowercase()
}

/// Returns the patron that a record names, or `None` if it is not JSON or names none.
fn parse_patron_id(bytes: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct PatronIdMember<'a> {
        #[serde(borrow)]
        patron_id: Cow<'a, str>,
    }
    let named: PatronIdMember<'_> = serde_json::from_slice(bytes).ok()?;
    Some(named.patron_id).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::SourceId;
    use crate::transport::kafka::partitioner::Partitioner;

    const VALID_VALUE: Option<&str> = Some(r#"{"patron_id":"p1","more":[1]}"#);

    /// Counts records of patrons, then a consent; the partition is that of the key plus the
    /// given number.
    fn count_records(
        records: &[(Role, Option<&str>, Option<&str>, i32)],
    ) -> (Vec<GateSourceCounts>, usize) {
        let placement = KeyPlacement::new(Partitioner::Murmur2, 4).unwrap();
        let mut counter = CensusCounter::default();
        let mut counts = vec![GateSourceCounts::default(); 2];
        for (offset, (role, key, value, away)) in (0..).zip(records) {
            let source = GateSource {
                topic: "t",
                role: *role,
                placement: Some(placement),
                repaired: &RepairedRecords::default(),
            };
            let key = key.map(str::as_bytes);
            let home = key.map_or(0, |key| placement.home_partition(key));
            let input = Input {
                source: SourceId(0),
                partition: (home + away) % 4,
                offset,
                timestamp_ms: Some(1),
                append_time: None,
                trace_parent: None,
                key,
                payload: value.map_or(Payload::Null, |value| Payload::Bytes(value.as_bytes())),
            };
            let count = &mut counts[usize::from(*role != Role::Patron)];
            counter.count_record(&source, &input, count);
        }
        (counts, counter.affected_patrons.len())
    }

    #[test]
    fn census_of_valid_records_affects_no_patron() {
        let (counts, patrons) = count_records(&[
            (Role::Patron, Some("p1"), VALID_VALUE, 0),
            (Role::Patron, Some("p1"), None, 0),
            (Role::Gate, Some("p1"), VALID_VALUE, 0),
            (Role::Gate, Some("p9"), VALID_VALUE, 0),
        ]);
        assert_eq!(patrons, 0);
        let want = GateSourceCounts { records: 2, nulls: 1, ..GateSourceCounts::default() };
        assert_eq!(counts[0], want);
        let want = GateSourceCounts { records: 2, ..GateSourceCounts::default() };
        assert_eq!(counts[1], want);
    }

    #[track_caller]
    fn check_counts(key: Option<&str>, value: Option<&str>, away: i32, want: [u64; 5]) {
        let (counts, patrons) = count_records(&[
            (Role::Patron, Some("p1"), VALID_VALUE, 0),
            (Role::Gate, key, value, away),
        ]);
        let found = &counts[1];
        let found =
            [found.misplaced, found.keyless, found.unreadable, found.near_keys, found.nulls];
        assert_eq!(found, want, "{key:?} {value:?}");
        assert_eq!(patrons, usize::from(key.is_some() || value == VALID_VALUE));
    }

    #[test]
    fn census_counts_misplaced_keyless_unreadable_and_null_records() {
        check_counts(Some("p1"), VALID_VALUE, 1, [1, 0, 0, 0, 0]);
        check_counts(None, VALID_VALUE, 0, [0, 1, 0, 0, 0]);
        check_counts(None, Some("no"), 0, [0, 1, 1, 0, 0]);
        check_counts(Some(""), VALID_VALUE, 0, [0, 1, 0, 0, 0]);
        check_counts(Some("p1"), Some("no"), 0, [0, 0, 1, 0, 0]);
        check_counts(Some("p1"), Some(r#"{"patron_id":""}"#), 0, [0, 0, 1, 0, 0]);
        check_counts(Some("p1"), Some("{}"), 0, [0, 0, 1, 0, 0]);
        check_counts(Some("p1"), Some("[]"), 0, [0, 0, 1, 0, 0]);
        check_counts(Some("\"p1\""), VALID_VALUE, 0, [0, 0, 0, 1, 0]);
        check_counts(Some("p1 "), VALID_VALUE, 0, [0, 0, 0, 1, 0]);
        check_counts(Some("P1"), VALID_VALUE, 0, [0, 0, 0, 1, 0]);
        check_counts(Some("{\"id\":\"p1\"}"), VALID_VALUE, 0, [0, 0, 0, 1, 0]);
        check_counts(Some("\0p1"), VALID_VALUE, 0, [0, 0, 0, 1, 0]);
        check_counts(Some("p1"), None, 0, [0, 0, 0, 0, 1]);
        check_counts(Some("p1"), Some(" null\n"), 0, [0, 0, 0, 0, 1]);
        check_counts(Some("P1"), None, 2, [1, 0, 0, 1, 1]);
    }
}
