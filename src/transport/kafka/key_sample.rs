//! Samples the keys of a topic, to see where its producers put them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::Offset;

use super::connect::learn_leaders;
use super::log::LoggingContext;
use super::repaired_records::RepairedRecords;
use super::settings::KafkaSettings;
use super::topics::{TopicError, fetch_watermarks, topic_error};

const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// How to sample the keys of a topic.
#[derive(Clone, Copy, Debug)]
pub struct KeySampling<'a> {
    /// Approximate maximum.
    pub keys_max: usize,
    /// Records to skip.
    pub repaired_records: &'a RepairedRecords,
}

/// Samples keys of a topic, half from its beginning and half from its end, spread over its
/// partitions: each key once, with its partition.
///
/// # Errors
///
/// Kafka does not answer.
pub fn sample_keys(
    settings: &KafkaSettings,
    name: &str,
    partitions: i32,
    sample: KeySampling<'_>,
) -> Result<Vec<(i32, Vec<u8>)>, TopicError> {
    let topic = settings.topic_name(name);
    let mut config = settings.reader_config(&settings.group_id("check"));
    config.set("queued.max.messages.kbytes", "1024");
    let consumer: BaseConsumer<LoggingContext> =
        BaseConsumer::from_config_and_context(&config, LoggingContext::new("sample"))
            .map_err(topic_error("build a consumer"))?;
    let count = usize::try_from(partitions).unwrap_or(1).max(1);
    let share = i64::try_from((sample.keys_max / count / 2).max(1)).unwrap_or(1);
    let mut keys = BTreeSet::new();
    let mut heads = BTreeMap::new();
    let mut tails = BTreeMap::new();
    for partition in 0..partitions {
        let (low, high) = fetch_watermarks(&consumer, &topic, partition)?;
        if low < high {
            heads.insert(partition, (low, high));
            // A short partition has been read whole by then.
            if high - share > low {
                tails.insert(partition, (high - share, high));
            }
        }
    }
    learn_leaders(&consumer, &topic);
    let limit = usize::try_from(share).unwrap_or(1);
    let mut take = |message: &BorrowedMessage<'_>| {
        let place = (name.to_owned(), message.partition(), message.offset());
        let repaired = sample.repaired_records;
        if let Some(key) = message.key().filter(|key| !key.is_empty())
            && !repaired.contains(&place, message.timestamp().to_millis())
        {
            keys.insert((message.partition(), key.to_vec()));
        }
    };
    for ranges in [heads, tails] {
        read_keys(&consumer, &topic, (&ranges, limit), &mut take)?;
    }
    Ok(keys.into_iter().collect())
}

/// Reads at most `limit` keys of each partition, within its range.
fn read_keys(
    consumer: &BaseConsumer<LoggingContext>,
    topic: &str,
    (ranges, limit): (&BTreeMap<i32, (i64, i64)>, usize),
    take: &mut dyn FnMut(&BorrowedMessage<'_>),
) -> Result<(), TopicError> {
    let mut list = TopicPartitionList::new();
    for (partition, (start, _)) in ranges {
        list.add_partition_offset(topic, *partition, Offset::Offset(*start))
            .map_err(topic_error("assign partitions"))?;
    }
    consumer.assign(&list).map_err(topic_error("assign partitions"))?;
    let mut open: BTreeMap<i32, usize> = ranges.keys().map(|p| (*p, limit)).collect();
    let deadline = Instant::now() + CALL_TIMEOUT;
    while !open.is_empty() && Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let partition = message.partition();
                let Some(left) = open.get_mut(&partition) else {
                    continue;
                };
                take(&message);
                *left = left.saturating_sub(1);
                let end = ranges.get(&partition).map_or(0, |range| range.1);
                if *left == 0 || message.offset() + 1 >= end {
                    open.remove(&partition);
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            Some(Err(error)) => tracing::warn!(topic, error = %error, "kafka: sample"),
            None => {}
        }
    }
    consumer.unassign().map_err(topic_error("unassign partitions"))
}
