//! Rewrites misplaced records of gate sources to their home partitions for `zeef gates
//! repair`, key by key, so that each key's records end in the order in which they were
//! written.
//!
//! Each transaction also notes its repaired records in `zeef.commands`. Looks into no value
//! and shows no key.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::KafkaError;
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer};

use super::partitioner::KeyPlacement;
use super::producer::{DeliveryFailures, QUEUE_FULL_POLL_TIMEOUT, try_send};
use super::publish::{PublishError, check_delivered, publish_error, send_error};
use super::read_topic::{read_messages, read_messages_from};
use super::repaired_records::{RecordLocation, RepairedRecords, encode_repaired_row};
use super::settings::KafkaSettings;
use super::topics::{TopicError, describe_topics};
use crate::message::commands::COMMANDS_TOPIC;

/// How many keys to read at a time.
const KEYS_PER_READ: usize = 10_000;
/// How many keys, with all their records, to write in one transaction.
const KEYS_PER_TRANSACTION: usize = 500;
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnrepairedRecord {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    message_key: Vec<u8>,
}

/// A source to examine, without prefix.
#[derive(Clone, Copy, Debug)]
pub struct SourceTopic<'a> {
    pub name: &'a str,
    pub partition_count: i32,
}

/// What was found in one source.
#[derive(Clone, Debug)]
pub struct MisplacedReport {
    /// Without the prefix.
    pub topic: String,
    pub record_count: u64,
    /// Misplaced records that were repaired before.
    pub repaired_count: u64,
    /// Those that were not.
    pub unrepaired: Vec<UnrepairedRecord>,
    key_placement: Option<KeyPlacement>,
}

impl MisplacedReport {
    /// Returns each key of the misplaced records once.
    #[must_use]
    pub fn distinct_message_keys(&self) -> Vec<&[u8]> {
        let mut keys: Vec<&[u8]> =
            self.unrepaired.iter().map(|record| &*record.message_key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    fn record_location(&self, partition: i32, offset: i64) -> RecordLocation {
        (self.topic.clone(), partition, offset)
    }
}

/// Finds the misplaced records of a source.
///
/// # Errors
///
/// Kafka does not answer.
pub fn find_misplaced(
    settings: &KafkaSettings,
    topic: SourceTopic<'_>,
    repaired: &RepairedRecords,
) -> Result<MisplacedReport, TopicError> {
    find_misplaced_from(settings, topic, repaired, &BTreeMap::new())
}

/// As [`find_misplaced`], each partition from its offset in `from`, if it has one.
///
/// # Errors
///
/// Kafka does not answer.
pub fn find_misplaced_from(
    settings: &KafkaSettings,
    topic: SourceTopic<'_>,
    repaired: &RepairedRecords,
    from: &BTreeMap<i32, i64>,
) -> Result<MisplacedReport, TopicError> {
    let mut report = MisplacedReport {
        topic: topic.name.to_owned(),
        record_count: 0,
        repaired_count: 0,
        unrepaired: Vec::new(),
        key_placement: KeyPlacement::new(settings.partitioner, topic.partition_count),
    };
    read_messages_from(settings, topic.name, from, &mut |message| {
        report.record_count += 1;
        let (partition, offset) = (message.partition(), message.offset());
        let elsewhere = report
            .key_placement
            .and_then(|placement| placement.home_if_misplaced(message.key(), partition));
        if elsewhere.is_none() {
            return;
        }
        let timestamp_ms = message.timestamp().to_millis();
        if repaired.contains(&report.record_location(partition, offset), timestamp_ms) {
            report.repaired_count += 1;
            return;
        }
        report.unrepaired.push(UnrepairedRecord {
            partition,
            offset,
            timestamp_ms,
            message_key: message.key().unwrap_or_default().to_vec(),
        });
    })?;
    Ok(report)
}

/// The records of one key to rewrite, in order; the first one is misplaced.
type KeyTail = Vec<OwnedMessage>;

/// How many records are, or would be, written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RewrittenCounts {
    pub misplaced: u64,
    /// Records in their place that were written after a misplaced one, and must stay behind
    /// it.
    pub in_place_followers: u64,
}

impl RewrittenCounts {
    fn add(&mut self, more: RewrittenCounts) {
        self.misplaced += more.misplaced;
        self.in_place_followers += more.in_place_followers;
    }
}

/// Counts the records that a repair would write.
///
/// # Errors
///
/// Kafka does not answer.
pub fn count_planned_rewrites(
    settings: &KafkaSettings,
    report: &MisplacedReport,
) -> Result<RewrittenCounts, TopicError> {
    let mut written = RewrittenCounts::default();
    for keys in report.distinct_message_keys().chunks(KEYS_PER_READ) {
        for tail in read_key_tails(settings, report, keys)? {
            written.add(count_rewritten(report, &tail));
        }
    }
    Ok(written)
}

fn count_rewritten(report: &MisplacedReport, tail: &[OwnedMessage]) -> RewrittenCounts {
    let strays = tail.iter().filter(|message| is_misplaced(report, message)).count() as u64;
    RewrittenCounts { misplaced: strays, in_place_followers: tail.len() as u64 - strays }
}

fn is_misplaced(report: &MisplacedReport, message: &OwnedMessage) -> bool {
    let placement = report.key_placement;
    let home =
        placement.and_then(|home| home.home_if_misplaced(message.key(), message.partition()));
    home.is_some()
}

fn read_key_tails(
    settings: &KafkaSettings,
    report: &MisplacedReport,
    keys: &[&[u8]],
) -> Result<Vec<KeyTail>, TopicError> {
    let keys: HashSet<&[u8]> = keys.iter().copied().collect();
    let strays: HashSet<(i32, i64)> = report
        .unrepaired
        .iter()
        .filter(|record| keys.contains(&*record.message_key))
        .map(|record| (record.partition, record.offset))
        .collect();
    let mut histories: BTreeMap<Vec<u8>, Vec<OwnedMessage>> = BTreeMap::new();
    read_messages(settings, &report.topic, &mut |message| {
        let Some(key) = message.key().filter(|key| keys.contains(key)) else {
            return;
        };
        let (partition, offset) = (message.partition(), message.offset());
        let in_place =
            report.key_placement.is_none_or(|home| home.home_partition(key) == partition);
        // What was repaired before is in its place already.
        if in_place || strays.contains(&(partition, offset)) {
            histories.entry(key.to_vec()).or_default().push(message.detach());
        }
    })?;
    let tails = histories.into_values().map(|history| {
        let at = |message: &OwnedMessage| WritePosition {
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
            is_misplaced: is_misplaced(report, message),
        };
        order_from_first_misplaced(history, at)
    });
    Ok(tails.collect())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WritePosition {
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    is_misplaced: bool,
}

/// Returns the records of one key from its first misplaced one on, in the order in which
/// they were written.
///
/// Records of one partition keep their order, whatever their producers' clocks said. Of two
/// with the same timestamp the misplaced one is the later: it was not understood before.
fn order_from_first_misplaced<T>(history: Vec<T>, at: impl Fn(&T) -> WritePosition) -> Vec<T> {
    let mut history: Vec<(WritePosition, T)> =
        history.into_iter().map(|one| (at(&one), one)).collect();
    history.sort_by_key(|(at, _)| (at.partition, at.offset));
    let mut latest: HashMap<i32, i64> = HashMap::new();
    for (at, _) in &mut history {
        let latest = latest.entry(at.partition).or_insert(at.timestamp_ms);
        *latest = (*latest).max(at.timestamp_ms);
        at.timestamp_ms = *latest;
    }
    history.sort_by_key(|(at, _)| (at.timestamp_ms, at.is_misplaced, at.partition, at.offset));
    let from = history.iter().position(|(at, _)| at.is_misplaced).unwrap_or(history.len());
    history.drain(..from);
    history.into_iter().map(|(_, one)| one).collect()
}

/// The only producer of a deployment that repairs.
pub struct Repairer {
    producer: BaseProducer<DeliveryFailures>,
    settings: KafkaSettings,
}

impl Repairer {
    /// Connects, and fences any other repair. Search for misplaced records after this.
    ///
    /// # Errors
    ///
    /// The commands topic does not exist, or Kafka does not answer.
    pub fn open(settings: &KafkaSettings) -> Result<Self, PublishError> {
        let found = describe_topics(settings, &[COMMANDS_TOPIC])?;
        if found.values().any(Option::is_none) {
            let topic = settings.topic_name(COMMANDS_TOPIC);
            return Err(PublishError::Absent(format!("`{topic}`")));
        }
        let producer: BaseProducer<DeliveryFailures, NoCustomPartitioner> =
            BaseProducer::from_config_and_context(
                &settings.repairer_config(),
                DeliveryFailures::default(),
            )
            .map_err(publish_error("build a producer"))?;
        let repairer = Self { producer, settings: settings.clone() };
        repairer.retry_call("start transactions", |producer| {
            producer.init_transactions(CALL_TIMEOUT)
        })?;
        Ok(repairer)
    }

    /// Rewrites the misplaced records. Calls `on_keys_done` with a number of keys after
    /// each transaction.
    ///
    /// # Errors
    ///
    /// The first record that did not arrive; earlier transactions are committed.
    pub fn rewrite_misplaced(
        &self,
        report: &MisplacedReport,
        now_ms: i64,
        on_keys_done: &mut dyn FnMut(usize),
    ) -> Result<RewrittenCounts, PublishError> {
        let mut written = RewrittenCounts::default();
        for keys in report.distinct_message_keys().chunks(KEYS_PER_READ) {
            for tails in read_key_tails(&self.settings, report, keys)?.chunks(KEYS_PER_TRANSACTION)
            {
                self.in_transaction(|| {
                    for tail in tails {
                        self.write_key_tail(report, tail, now_ms)?;
                        written.add(count_rewritten(report, tail));
                    }
                    Ok(())
                })?;
                on_keys_done(tails.len());
            }
        }
        Ok(written)
    }

    /// Marks misplaced records as dismissed without rewriting them. Calls `on_records_done`
    /// after each transaction.
    ///
    /// # Errors
    ///
    /// The first row that did not arrive.
    pub fn dismiss_misplaced(
        &self,
        report: &MisplacedReport,
        on_records_done: &mut dyn FnMut(usize),
    ) -> Result<(), PublishError> {
        for strays in report.unrepaired.chunks(KEYS_PER_TRANSACTION) {
            self.in_transaction(|| {
                for record in strays {
                    let place = report.record_location(record.partition, record.offset);
                    self.write_repaired_row(&place, record.timestamp_ms)?;
                }
                Ok(())
            })?;
            on_records_done(strays.len());
        }
        Ok(())
    }

    fn in_transaction(
        &self,
        write: impl FnOnce() -> Result<(), PublishError>,
    ) -> Result<(), PublishError> {
        self.producer.context().take_first_failure();
        self.retry_call("begin", Producer::begin_transaction)?;
        let written = write().and_then(|()| self.await_deliveries()).and_then(|()| {
            self.retry_call("commit", |producer| producer.commit_transaction(CALL_TIMEOUT))
        });
        if written.is_err() {
            // If this fails, the broker or the next start aborts it.
            let _ = self.producer.abort_transaction(CALL_TIMEOUT);
        }
        written
    }

    fn write_key_tail(
        &self,
        report: &MisplacedReport,
        tail: &[OwnedMessage],
        now_ms: i64,
    ) -> Result<(), PublishError> {
        let topic = self.settings.topic_name(&report.topic);
        for message in tail {
            let key = message.key().unwrap_or_default();
            let mut record = BaseRecord::<[u8], [u8]>::to(&topic).key(key);
            record.payload = message.payload();
            record.partition = report.key_placement.map(|home| home.home_partition(key));
            // Never before the one that it repeats.
            let timestamp_ms = message.timestamp().to_millis();
            record.timestamp = Some(timestamp_ms.unwrap_or(now_ms).max(now_ms));
            record.headers = message.headers().cloned();
            self.send(record)?;
            if is_misplaced(report, message) {
                let place = report.record_location(message.partition(), message.offset());
                self.write_repaired_row(&place, timestamp_ms)?;
            }
        }
        Ok(())
    }

    fn write_repaired_row(
        &self,
        location: &RecordLocation,
        timestamp_ms: Option<i64>,
    ) -> Result<(), PublishError> {
        let topic = self.settings.topic_name(COMMANDS_TOPIC);
        let (key, value) = encode_repaired_row(location, timestamp_ms);
        let record = BaseRecord::<[u8], [u8]>::to(&topic);
        self.send(record.key(&key).payload(&value))
    }

    fn send(&self, record: BaseRecord<'_, [u8], [u8]>) -> Result<(), PublishError> {
        let mut waiting = Some(record);
        while let Some(record) = waiting {
            waiting = try_send(&self.producer, record).map_err(send_error)?;
        }
        Ok(())
    }

    /// Waits until the broker has all records.
    fn await_deliveries(&self) -> Result<(), PublishError> {
        let deadline = Instant::now() + CALL_TIMEOUT;
        while self.producer.in_flight_count() > 0 {
            if Instant::now() >= deadline {
                return Err(PublishError::TimedOut(self.producer.in_flight_count()));
            }
            self.producer.poll(QUEUE_FULL_POLL_TIMEOUT);
        }
        check_delivered(&self.producer)
    }

    /// Repeats a retriable call, for a minute at most.
    fn retry_call(
        &self,
        doing: &'static str,
        call: impl Fn(&BaseProducer<DeliveryFailures>) -> Result<(), KafkaError>,
    ) -> Result<(), PublishError> {
        let deadline = Instant::now() + 2 * CALL_TIMEOUT;
        loop {
            match call(&self.producer) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error))
                    if error.is_retriable() && Instant::now() < deadline =>
                {
                    self.producer.poll(QUEUE_FULL_POLL_TIMEOUT);
                }
                Err(source) => return Err(publish_error(doing)(source)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records as name, partition, offset and time; partition 0 is their home.
    #[track_caller]
    fn check_rewrite_order(history: &[(&str, i32, i64, i64)], want: &[&str]) {
        let at = |one: &(&str, i32, i64, i64)| WritePosition {
            partition: one.1,
            offset: one.2,
            timestamp_ms: one.3,
            is_misplaced: one.1 != 0,
        };
        // The order in which partitions were read does not matter.
        let mut backwards = history.to_vec();
        backwards.reverse();
        for history in [history.to_vec(), backwards] {
            let tail = order_from_first_misplaced(history, at);
            let names: Vec<&str> = tail.iter().map(|one| one.0).collect();
            assert_eq!(names, want);
        }
    }

    #[test]
    fn repair_rewrites_a_key_in_write_order_from_its_first_misplaced() {
        check_rewrite_order(&[], &[]);
        check_rewrite_order(&[("a", 0, 1, 10)], &[]);
        check_rewrite_order(&[("a", 0, 1, 10), ("withdrawn", 1, 1, 20)], &["withdrawn"]);
        // A grant behind a misplaced withdrawal stays behind it.
        check_rewrite_order(
            &[("a", 0, 1, 10), ("withdrawn", 1, 1, 20), ("granted", 0, 2, 30)],
            &["withdrawn", "granted"],
        );
        // An erasure behind a misplaced record is not undone.
        check_rewrite_order(&[("old", 1, 5, 10), ("erased", 0, 2, 30)], &["old", "erased"]);
        check_rewrite_order(&[("a", 2, 9, 30), ("b", 1, 9, 20), ("c", 2, 3, 10)], &["c", "b", "a"]);
        // Within one millisecond the misplaced one is the later.
        check_rewrite_order(&[("a", 0, 1, 10), ("b", 1, 1, 10)], &["b"]);
    }

    #[test]
    fn repair_keeps_partition_order_when_a_producer_clock_went_back() {
        check_rewrite_order(
            &[("a", 1, 1, 50), ("b", 1, 2, 10), ("c", 0, 1, 40), ("d", 0, 2, 60)],
            &["a", "b", "d"],
        );
    }
}
