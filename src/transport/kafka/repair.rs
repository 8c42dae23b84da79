//! Writes misplaced records of gate sources once more in their place, for `zeef
//! gates repair`: key by key, so that each key's records end in the order in
//! which they were written.
//!
//! Beside each record it notes in `zeef.commands`, in the same transaction, that
//! it was repaired. It knows nothing of what a record says, and shows no key.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::KafkaError;
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer};

use super::partitioner::Placement;
use super::producer::{Deliveries, ROOM, offer};
use super::publish::{PublishError, delivered, failed, not_taken};
use super::repaired::{RecordPlace, Repaired, row};
use super::settings::KafkaSettings;
use super::topics::{TopicError, describe};
use super::whole::{read_from, read_messages};
use crate::transport::commands::COMMANDS_TOPIC;

/// The records of how many keys are read at a time.
const READ_KEYS: usize = 10_000;
/// How many keys are written in one transaction: each with all its records.
const KEYS: usize = 500;
const CALL: Duration = Duration::from_secs(30);

/// One record that lies in another partition than its key belongs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    key: Vec<u8>,
}

/// A source that is looked at: its name without the prefix, and how many
/// partitions it has.
#[derive(Clone, Copy, Debug)]
pub struct Topic<'a> {
    pub name: &'a str,
    pub partitions: i32,
}

/// What was found in one source.
#[derive(Clone, Debug)]
pub struct Findings {
    /// Its name, without the prefix.
    pub topic: String,
    pub records: u64,
    /// Misplaced records that were repaired before.
    pub repaired: u64,
    /// Those that were not.
    pub strays: Vec<Stray>,
    placement: Option<Placement>,
}

impl Findings {
    /// The keys of the misplaced records, each once.
    #[must_use]
    pub fn keys(&self) -> Vec<&[u8]> {
        let mut keys: Vec<&[u8]> = self.strays.iter().map(|stray| &*stray.key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    fn place(&self, partition: i32, offset: i64) -> RecordPlace {
        (self.topic.clone(), partition, offset)
    }
}

/// Reads a source, and finds what is misplaced in it.
///
/// # Errors
///
/// Where Kafka does not answer.
pub fn find(
    settings: &KafkaSettings,
    topic: Topic<'_>,
    repaired: &Repaired,
) -> Result<Findings, TopicError> {
    find_from(settings, topic, repaired, &BTreeMap::new())
}

/// As [`find`], each partition from the offset that `from` has for it, where it
/// has one.
///
/// # Errors
///
/// Where Kafka does not answer.
pub fn find_from(
    settings: &KafkaSettings,
    topic: Topic<'_>,
    repaired: &Repaired,
    from: &BTreeMap<i32, i64>,
) -> Result<Findings, TopicError> {
    let mut findings = Findings {
        topic: topic.name.to_owned(),
        records: 0,
        repaired: 0,
        strays: Vec::new(),
        placement: Placement::new(settings.partitioner, topic.partitions),
    };
    read_from(settings, topic.name, from, &mut |message| {
        findings.records += 1;
        let (partition, offset) = (message.partition(), message.offset());
        let elsewhere = findings
            .placement
            .and_then(|placement| placement.elsewhere(message.key(), partition));
        if elsewhere.is_none() {
            return;
        }
        let timestamp_ms = message.timestamp().to_millis();
        if repaired.contains(&findings.place(partition, offset), timestamp_ms) {
            findings.repaired += 1;
            return;
        }
        findings.strays.push(Stray {
            partition,
            offset,
            timestamp_ms,
            key: message.key().unwrap_or_default().to_vec(),
        });
    })?;
    Ok(findings)
}

/// The records of one key that are to be written once more, in their order: the
/// first one is misplaced.
type Tail = Vec<OwnedMessage>;

/// How many records are, or would be, written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Records that were misplaced.
    pub strays: u64,
    /// Records that lay in their place, written behind a misplaced one since
    /// they are later than it.
    pub later: u64,
}

impl Written {
    fn add(&mut self, more: Written) {
        self.strays += more.strays;
        self.later += more.later;
    }
}

/// Finds how many records a repair would write.
///
/// # Errors
///
/// Where Kafka does not answer.
pub fn rehearse(settings: &KafkaSettings, findings: &Findings) -> Result<Written, TopicError> {
    let mut written = Written::default();
    for keys in findings.keys().chunks(READ_KEYS) {
        for tail in tails(settings, findings, keys)? {
            written.add(count(findings, &tail));
        }
    }
    Ok(written)
}

fn count(findings: &Findings, tail: &[OwnedMessage]) -> Written {
    let strays = tail
        .iter()
        .filter(|message| is_stray(findings, message))
        .count() as u64;
    Written {
        strays,
        later: tail.len() as u64 - strays,
    }
}

fn is_stray(findings: &Findings, message: &OwnedMessage) -> bool {
    let placement = findings.placement;
    let home = placement.and_then(|home| home.elsewhere(message.key(), message.partition()));
    home.is_some()
}

/// Reads the tails of some keys.
fn tails(
    settings: &KafkaSettings,
    findings: &Findings,
    keys: &[&[u8]],
) -> Result<Vec<Tail>, TopicError> {
    let keys: HashSet<&[u8]> = keys.iter().copied().collect();
    let strays: HashSet<(i32, i64)> = findings
        .strays
        .iter()
        .filter(|stray| keys.contains(&*stray.key))
        .map(|stray| (stray.partition, stray.offset))
        .collect();
    let mut histories: BTreeMap<Vec<u8>, Vec<OwnedMessage>> = BTreeMap::new();
    read_messages(settings, &findings.topic, &mut |message| {
        let Some(key) = message.key().filter(|key| keys.contains(key)) else {
            return;
        };
        let (partition, offset) = (message.partition(), message.offset());
        let in_place = findings
            .placement
            .is_none_or(|home| home.partition_of(key) == partition);
        // What was repaired before stands in its place already.
        if in_place || strays.contains(&(partition, offset)) {
            histories
                .entry(key.to_vec())
                .or_default()
                .push(message.detach());
        }
    })?;
    let tails = histories.into_values().map(|history| {
        let at = |message: &OwnedMessage| WrittenAt {
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
            stray: is_stray(findings, message),
        };
        tail(history, at)
    });
    Ok(tails.collect())
}

/// Where and when a record of a key was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WrittenAt {
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    stray: bool,
}

/// The records of one key from its first misplaced one on, in the order in which
/// they were written.
///
/// Those of one partition keep their order, whatever their producers' clocks
/// said. Of two that were written in the same millisecond the misplaced one is
/// the later: it was not understood before.
fn tail<T>(history: Vec<T>, at: impl Fn(&T) -> WrittenAt) -> Vec<T> {
    let mut history: Vec<(WrittenAt, T)> = history.into_iter().map(|one| (at(&one), one)).collect();
    history.sort_by_key(|(at, _)| (at.partition, at.offset));
    let mut latest: HashMap<i32, i64> = HashMap::new();
    for (at, _) in &mut history {
        let latest = latest.entry(at.partition).or_insert(at.timestamp_ms);
        *latest = (*latest).max(at.timestamp_ms);
        at.timestamp_ms = *latest;
    }
    history.sort_by_key(|(at, _)| (at.timestamp_ms, at.stray, at.partition, at.offset));
    let from = history
        .iter()
        .position(|(at, _)| at.stray)
        .unwrap_or(history.len());
    history.drain(..from);
    history.into_iter().map(|(_, one)| one).collect()
}

/// The one producer of a deployment that repairs.
pub struct Repairer {
    producer: BaseProducer<Deliveries>,
    settings: KafkaSettings,
}

impl Repairer {
    /// Connects, and fences whoever repairs beside. What is found is to be read
    /// after this.
    ///
    /// # Errors
    ///
    /// A topic of commands that does not exist, or a Kafka that does not answer.
    pub fn open(settings: &KafkaSettings) -> Result<Self, PublishError> {
        let found = describe(settings, &[COMMANDS_TOPIC])?;
        if found.values().any(Option::is_none) {
            let topic = settings.topic(COMMANDS_TOPIC);
            return Err(PublishError::Absent(format!("`{topic}`")));
        }
        let producer: BaseProducer<Deliveries, NoCustomPartitioner> =
            BaseProducer::from_config_and_context(&settings.repairer(), Deliveries::default())
                .map_err(failed("build a producer"))?;
        let repairer = Self {
            producer,
            settings: settings.clone(),
        };
        repairer.repeat("start transactions", |producer| {
            producer.init_transactions(CALL)
        })?;
        Ok(repairer)
    }

    /// Writes what is misplaced once more in its place. Calls `done` with the
    /// number of keys that were done, after each transaction.
    ///
    /// # Errors
    ///
    /// The first record that did not arrive; what was done before is committed.
    pub fn write(
        &self,
        findings: &Findings,
        now_ms: i64,
        done: &mut dyn FnMut(usize),
    ) -> Result<Written, PublishError> {
        let topic = self.settings.topic(&findings.topic);
        let mut written = Written::default();
        for keys in findings.keys().chunks(READ_KEYS) {
            for tails in tails(&self.settings, findings, keys)?.chunks(KEYS) {
                self.in_transaction(|| {
                    for tail in tails {
                        self.write_tail(&topic, findings, tail, now_ms)?;
                        written.add(count(findings, tail));
                    }
                    Ok(())
                })?;
                done(tails.len());
            }
        }
        Ok(written)
    }

    /// Notes that misplaced records are not to count any more, and writes none of
    /// them. Calls `done` as [`write`](Self::write) does.
    ///
    /// # Errors
    ///
    /// The first row that did not arrive.
    pub fn set_aside(
        &self,
        findings: &Findings,
        done: &mut dyn FnMut(usize),
    ) -> Result<(), PublishError> {
        for strays in findings.strays.chunks(KEYS) {
            self.in_transaction(|| {
                for stray in strays {
                    let place = findings.place(stray.partition, stray.offset);
                    self.note(&place, stray.timestamp_ms)?;
                }
                Ok(())
            })?;
            done(strays.len());
        }
        Ok(())
    }

    fn in_transaction(
        &self,
        write: impl FnOnce() -> Result<(), PublishError>,
    ) -> Result<(), PublishError> {
        self.producer.context().take();
        self.repeat("begin", Producer::begin_transaction)?;
        let written = write()
            .and_then(|()| self.arrived())
            .and_then(|()| self.repeat("commit", |producer| producer.commit_transaction(CALL)));
        if written.is_err() {
            // What fails here is ended by the broker, or by the next start.
            let _ = self.producer.abort_transaction(CALL);
        }
        written
    }

    fn write_tail(
        &self,
        topic: &str,
        findings: &Findings,
        tail: &[OwnedMessage],
        now_ms: i64,
    ) -> Result<(), PublishError> {
        for message in tail {
            let key = message.key().unwrap_or_default();
            let mut record = BaseRecord::<[u8], [u8]>::to(topic).key(key);
            record.payload = message.payload();
            record.partition = findings.placement.map(|home| home.partition_of(key));
            // Never before the one that it repeats.
            let timestamp_ms = message.timestamp().to_millis();
            record.timestamp = Some(timestamp_ms.unwrap_or(now_ms).max(now_ms));
            record.headers = message.headers().cloned();
            self.send(record)?;
            if is_stray(findings, message) {
                let place = findings.place(message.partition(), message.offset());
                self.note(&place, timestamp_ms)?;
            }
        }
        Ok(())
    }

    fn note(&self, place: &RecordPlace, timestamp_ms: Option<i64>) -> Result<(), PublishError> {
        let topic = self.settings.topic(COMMANDS_TOPIC);
        let (key, value) = row(place, timestamp_ms);
        let record = BaseRecord::<[u8], [u8]>::to(&topic);
        self.send(record.key(&key).payload(&value))
    }

    fn send(&self, record: BaseRecord<'_, [u8], [u8]>) -> Result<(), PublishError> {
        let mut waiting = Some(record);
        while let Some(record) = waiting {
            waiting = offer(&self.producer, record).map_err(not_taken)?;
        }
        Ok(())
    }

    /// Waits until the broker has all records.
    fn arrived(&self) -> Result<(), PublishError> {
        let deadline = Instant::now() + CALL;
        while self.producer.in_flight_count() > 0 {
            if Instant::now() >= deadline {
                return Err(PublishError::Late(self.producer.in_flight_count()));
            }
            self.producer.poll(ROOM);
        }
        delivered(&self.producer)
    }

    /// Repeats a call that the broker asks to be repeated, for a minute at most.
    fn repeat(
        &self,
        doing: &'static str,
        call: impl Fn(&BaseProducer<Deliveries>) -> Result<(), KafkaError>,
    ) -> Result<(), PublishError> {
        let deadline = Instant::now() + 2 * CALL;
        loop {
            match call(&self.producer) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error))
                    if error.is_retriable() && Instant::now() < deadline =>
                {
                    self.producer.poll(ROOM);
                }
                Err(source) => return Err(failed(doing)(source)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records as name, partition, offset and time; partition 0 is their place.
    #[track_caller]
    fn check(history: &[(&str, i32, i64, i64)], want: &[&str]) {
        let at = |one: &(&str, i32, i64, i64)| WrittenAt {
            partition: one.1,
            offset: one.2,
            timestamp_ms: one.3,
            stray: one.1 != 0,
        };
        // Whatever the order in which partitions were read.
        let mut backwards = history.to_vec();
        backwards.reverse();
        for history in [history.to_vec(), backwards] {
            let tail = tail(history, at);
            let names: Vec<&str> = tail.iter().map(|one| one.0).collect();
            assert_eq!(names, want);
        }
    }

    #[test]
    fn a_tail_is_the_order_of_writing_from_the_first_misplaced_record_on() {
        check(&[], &[]);
        check(&[("a", 0, 1, 10)], &[]);
        check(&[("a", 0, 1, 10), ("withdrawn", 1, 1, 20)], &["withdrawn"]);
        // A grant behind a misplaced withdrawal stays behind it.
        check(
            &[
                ("a", 0, 1, 10),
                ("withdrawn", 1, 1, 20),
                ("granted", 0, 2, 30),
            ],
            &["withdrawn", "granted"],
        );
        // An erasure behind a misplaced record is not undone.
        check(
            &[("old", 1, 5, 10), ("erased", 0, 2, 30)],
            &["old", "erased"],
        );
        check(
            &[("a", 2, 9, 30), ("b", 1, 9, 20), ("c", 2, 3, 10)],
            &["c", "b", "a"],
        );
        // In one millisecond the misplaced one counts.
        check(&[("a", 0, 1, 10), ("b", 1, 1, 10)], &["b"]);
    }

    #[test]
    fn a_clock_that_went_back_changes_no_order_of_a_partition() {
        check(
            &[
                ("a", 1, 1, 50),
                ("b", 1, 2, 10),
                ("c", 0, 1, 40),
                ("d", 0, 2, 60),
            ],
            &["a", "b", "d"],
        );
    }
}
