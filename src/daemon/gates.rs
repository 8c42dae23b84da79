//! The census of the gates: what lies in patrons, consents and objections that
//! would not count, or not as it was meant.
//!
//! It counts. It keeps no key and no value: keys are told apart by hashes that
//! are good for one process only.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::BuildHasher as _;

use serde::Deserialize;

use crate::policy::Loaded;
use crate::policy::catalogue::Role;
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::partitioner::Placement;
use crate::transport::kafka::repaired::Repaired;
use crate::transport::kafka::topics::{TopicError, describe};
use crate::transport::kafka::whole::read_source;
use crate::transport::{Input, Payload};

/// What was found in one gate source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateCount {
    /// The topic's name, without the prefix.
    pub topic: String,
    pub records: u64,
    /// In another partition than their key belongs in, and not repaired.
    pub misplaced: u64,
    /// Misplaced, and written once more in their place since.
    pub repaired: u64,
    pub keyless: u64,
    /// Not JSON, or without a patron id.
    pub unreadable: u64,
    /// Their key is quoted, JSON, has white space around it, or is another
    /// spelling of a known patron's.
    pub near: u64,
    /// Nulls: on patrons these are erasures.
    pub nulls: u64,
}

/// What was found in all gate sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    pub gates: Vec<GateCount>,
    /// How many patrons something of it concerns, erasures apart.
    pub patrons: usize,
}

impl Census {
    /// Reads every gate source of the policy whole.
    ///
    /// # Errors
    ///
    /// Where Kafka does not answer.
    pub fn take(settings: &KafkaSettings, loaded: &Loaded) -> Result<Census, TopicError> {
        let repaired = Repaired::load(settings)?;
        let mut counter = Counter::default();
        let mut gates = Vec::new();
        for (topic, role) in topics(loaded) {
            let found = describe(settings, &[topic])?;
            let found = found.get(topic).and_then(Option::as_ref);
            let partitions = found.map_or(0, |found| found.partitions);
            let source = Source {
                topic,
                role,
                placement: Placement::new(settings.partitioner, partitions),
                repaired: &repaired,
            };
            let mut count = GateCount {
                topic: topic.to_owned(),
                ..GateCount::default()
            };
            read_source(settings, topic, &mut |input| {
                counter.take(&source, &input, &mut count);
            })?;
            gates.push(count);
        }
        Ok(Census {
            gates,
            patrons: counter.concerned.len(),
        })
    }

    #[must_use]
    pub fn misplaced(&self) -> u64 {
        self.gates.iter().map(|gate| gate.misplaced).sum()
    }

    /// Logs what was found, a line for each source.
    pub fn log(&self) {
        for gate in &self.gates {
            tracing::info!(
                topic = gate.topic,
                records = gate.records,
                misplaced = gate.misplaced,
                repaired = gate.repaired,
                keyless = gate.keyless,
                unreadable = gate.unreadable,
                near_keys = gate.near,
                nulls = gate.nulls,
                "census"
            );
        }
        tracing::info!(patrons = self.patrons, "census: patrons concerned");
    }
}

/// The gate sources of a policy, patrons first.
#[must_use]
pub fn topics(loaded: &Loaded) -> Vec<(&str, Role)> {
    let kinds = loaded.policy.kinds.iter();
    let mut topics: Vec<(&str, Role)> = kinds
        .filter(|kind| kind.keyed && kind.role != Role::Record)
        .map(|kind| (&*kind.topic, kind.role))
        .collect();
    topics.sort_by_key(|(_, role)| *role != Role::Patron);
    topics
}

struct Source<'a> {
    topic: &'a str,
    role: Role,
    placement: Option<Placement>,
    repaired: &'a Repaired,
}

/// What is known while sources are read.
#[derive(Default)]
struct Counter {
    /// Differs in each process.
    hash: foldhash::fast::RandomState,
    /// Patrons' keys as they are written.
    known: HashSet<u64>,
    /// The same without what makes spellings differ.
    plain: HashSet<u64>,
    concerned: HashSet<u64>,
}

impl Counter {
    fn take(&mut self, source: &Source<'_>, input: &Input<'_>, count: &mut GateCount) {
        count.records += 1;
        let key = input.key.filter(|key| !key.is_empty());
        let elsewhere = |placement: Placement| placement.elsewhere(key, input.partition);
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
            Payload::Bytes(bytes) => Some(patron_id(bytes)),
            Payload::Unread(..) => Some(None),
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
                let near = self.is_near(source.role, key);
                count.near += u64::from(near);
                odd |= near;
            }
        }
        let named = named.flatten();
        let patron = key.or(named.as_ref().map(|id| id.as_bytes()));
        if let Some(patron) = patron.filter(|_| odd) {
            self.concerned.insert(self.hash.hash_one(plain(patron)));
        }
    }

    /// Whether a key is not written as patrons' keys are; notes those of patrons.
    fn is_near(&mut self, role: Role, key: &[u8]) -> bool {
        let exact = self.hash.hash_one(key);
        let plain = plain(key);
        let quoted = plain.len() != key.len();
        let plain = self.hash.hash_one(plain);
        let other_spelling = !self.known.contains(&exact) && self.plain.contains(&plain);
        if role == Role::Patron {
            self.known.insert(exact);
            self.plain.insert(plain);
        }
        quoted || other_spelling
    }
}

/// A key in small letters, without quotes, white space and what JSON and binary
/// serialisers put around one.
fn plain(key: &[u8]) -> Vec<u8> {
    const AROUND: &[u8] = b"\"'{}[]\0";
    let is_around = |byte: &u8| byte.is_ascii_whitespace() || AROUND.contains(byte);
    let mut key = key;
    while let Some((_, rest)) = key.split_first().filter(|(first, _)| is_around(first)) {
        key = rest;
    }
    while let Some((_, rest)) = key.split_last().filter(|(last, _)| is_around(last)) {
        key = rest;
    }
    key.to_ascii_lowercase()
}

/// The patron that a record names; `None` where it is not JSON or names none.
fn patron_id(bytes: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        patron_id: Cow<'a, str>,
    }
    let named: Named<'_> = serde_json::from_slice(bytes).ok()?;
    Some(named.patron_id).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::SourceId;
    use crate::transport::kafka::partitioner::Partitioner;

    const FINE: Option<&str> = Some(r#"{"patron_id":"p1","more":[1]}"#);

    /// Counts records of patrons, then of a consent; the partition is that of the
    /// key, plus the number given.
    fn count(records: &[(Role, Option<&str>, Option<&str>, i32)]) -> (Vec<GateCount>, usize) {
        let placement = Placement::new(Partitioner::Murmur2, 4).unwrap();
        let mut counter = Counter::default();
        let mut counts = vec![GateCount::default(); 2];
        for (offset, (role, key, value, away)) in (0..).zip(records) {
            let source = Source {
                topic: "t",
                role: *role,
                placement: Some(placement),
                repaired: &Repaired::default(),
            };
            let key = key.map(str::as_bytes);
            let home = key.map_or(0, |key| placement.partition_of(key));
            let input = Input {
                source: SourceId(0),
                partition: (home + away) % 4,
                offset,
                timestamp_ms: Some(1),
                appended: None,
                key,
                payload: value.map_or(Payload::Null, |value| Payload::Bytes(value.as_bytes())),
            };
            let count = &mut counts[usize::from(*role != Role::Patron)];
            counter.take(&source, &input, count);
        }
        (counts, counter.concerned.len())
    }

    #[test]
    fn what_is_as_it_should_be_concerns_nobody() {
        let (counts, patrons) = count(&[
            (Role::Patron, Some("p1"), FINE, 0),
            (Role::Patron, Some("p1"), None, 0),
            (Role::Gate, Some("p1"), FINE, 0),
            (Role::Gate, Some("p9"), FINE, 0),
        ]);
        assert_eq!(patrons, 0);
        let want = GateCount {
            records: 2,
            nulls: 1,
            ..GateCount::default()
        };
        assert_eq!(counts[0], want);
        let want = GateCount {
            records: 2,
            ..GateCount::default()
        };
        assert_eq!(counts[1], want);
    }

    #[track_caller]
    fn check(key: Option<&str>, value: Option<&str>, away: i32, want: [u64; 5]) {
        let (counts, patrons) = count(&[
            (Role::Patron, Some("p1"), FINE, 0),
            (Role::Gate, key, value, away),
        ]);
        let found = &counts[1];
        let found = [
            found.misplaced,
            found.keyless,
            found.unreadable,
            found.near,
            found.nulls,
        ];
        assert_eq!(found, want, "{key:?} {value:?}");
        assert_eq!(patrons, usize::from(key.is_some() || value == FINE));
    }

    #[test]
    fn what_would_not_count_is_counted() {
        check(Some("p1"), FINE, 1, [1, 0, 0, 0, 0]);
        check(None, FINE, 0, [0, 1, 0, 0, 0]);
        check(None, Some("no"), 0, [0, 1, 1, 0, 0]);
        check(Some(""), FINE, 0, [0, 1, 0, 0, 0]);
        check(Some("p1"), Some("no"), 0, [0, 0, 1, 0, 0]);
        check(Some("p1"), Some(r#"{"patron_id":""}"#), 0, [0, 0, 1, 0, 0]);
        check(Some("p1"), Some("{}"), 0, [0, 0, 1, 0, 0]);
        check(Some("p1"), Some("[]"), 0, [0, 0, 1, 0, 0]);
        check(Some("\"p1\""), FINE, 0, [0, 0, 0, 1, 0]);
        check(Some("p1 "), FINE, 0, [0, 0, 0, 1, 0]);
        check(Some("P1"), FINE, 0, [0, 0, 0, 1, 0]);
        check(Some("{\"id\":\"p1\"}"), FINE, 0, [0, 0, 0, 1, 0]);
        check(Some("\0p1"), FINE, 0, [0, 0, 0, 1, 0]);
        check(Some("p1"), None, 0, [0, 0, 0, 0, 1]);
        check(Some("p1"), Some(" null\n"), 0, [0, 0, 0, 0, 1]);
        check(Some("P1"), None, 2, [1, 0, 0, 1, 1]);
    }
}
