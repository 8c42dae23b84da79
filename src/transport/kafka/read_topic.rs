//! Reads the committed messages of a whole topic for commands, or one message of it.
//!
//! Joins no group and moves no position.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::Offset;

use super::log::LoggingContext;
use super::settings::KafkaSettings;
use super::source::message_to_input;
use super::topics::{TopicError, describe_topic, fetch_watermarks, topic_error};
use crate::message::{Input, Output, OutputId, SourceId};
use crate::transport::OutputsByKey;

/// How long nothing may arrive before the end of all partitions.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// Hands out each message, in order within a partition. Returns false if the topic, whose
/// name has no prefix, does not exist.
///
/// # Errors
///
/// Kafka does not answer, or refuses.
pub fn read_rows(
    settings: &KafkaSettings,
    name: &str,
    take: &mut dyn FnMut(Output<'_>),
) -> Result<bool, TopicError> {
    read_rows_with_offsets(settings, name, &mut |_, row| take(row))
}

/// As [`read_rows`], with offsets.
///
/// # Errors
///
/// As [`read_rows`].
pub fn read_rows_with_offsets(
    settings: &KafkaSettings,
    name: &str,
    take: &mut dyn FnMut(i64, Output<'_>),
) -> Result<bool, TopicError> {
    read_messages(settings, name, &mut |message| {
        let row = Output {
            output: OutputId(0),
            partition: Some(message.partition()),
            key: message.key(),
            value: message.payload(),
            retraction: None,
        };
        take(message.offset(), row);
    })
}

/// Returns the last committed value of each key, without those that were taken back, or `None`
/// if the topic does not exist.
///
/// # Errors
///
/// As [`read_rows`].
pub fn read_current_outputs(
    settings: &KafkaSettings,
    name: &str,
) -> Result<Option<OutputsByKey>, TopicError> {
    let mut outputs = OutputsByKey::new();
    let exists = read_rows(settings, name, &mut |row| {
        let key = row.key.unwrap_or_default();
        match row.value {
            Some(value) => outputs.insert(key.to_vec(), value.to_vec()),
            None => outputs.remove(key),
        };
    })?;
    Ok(exists.then_some(outputs))
}

/// As [`read_rows`], with coordinates; the source is always 0.
///
/// # Errors
///
/// As [`read_rows`].
pub fn read_inputs(
    settings: &KafkaSettings,
    name: &str,
    take: &mut dyn FnMut(Input<'_>),
) -> Result<bool, TopicError> {
    read_messages(settings, name, &mut |message| {
        take(message_to_input((SourceId(0), message.partition()), message));
    })
}

/// As [`read_inputs`], for some partitions only.
///
/// # Errors
///
/// As [`read_rows`].
pub fn read_partition_inputs(
    settings: &KafkaSettings,
    name: &str,
    partitions: &BTreeSet<i32>,
    take: &mut dyn FnMut(Input<'_>),
) -> Result<bool, TopicError> {
    let range = ReadRange { from_offsets: &BTreeMap::new(), only_partitions: Some(partitions) };
    read_message_range(settings, name, range, &mut |message| {
        take(message_to_input((SourceId(0), message.partition()), message));
    })
}

/// Hands out the message at one offset. Returns false if message, topic or partition do not
/// exist.
///
/// # Errors
///
/// As [`read_rows`].
pub fn read_input_at(
    settings: &KafkaSettings,
    name: &str,
    (partition, offset): (i32, i64),
    take: &mut dyn FnMut(Input<'_>),
) -> Result<bool, TopicError> {
    let topic = settings.topic_name(name);
    let consumer = topic_reader(settings)?;
    let found = describe_topic(&consumer, settings, name)?;
    if found.is_none_or(|found| !(0..found.partition_count).contains(&partition)) {
        return Ok(false);
    }
    let (low, high) = fetch_watermarks(&consumer, &topic, partition)?;
    if !(low..high).contains(&offset) {
        return Ok(false);
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, partition, Offset::Offset(offset))
        .map_err(topic_error("assign partitions"))?;
    consumer.assign(&list).map_err(topic_error("assign partitions"))?;
    let started = Instant::now();
    while started.elapsed() < SILENCE_TIMEOUT {
        match consumer.poll(POLL_TIMEOUT) {
            Some(Ok(message)) => {
                // The message may have been aborted or compacted away.
                let is_it = message.offset() == offset;
                if is_it {
                    take(message_to_input((SourceId(0), partition), &message));
                }
                return Ok(is_it);
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(false),
            Some(Err(error)) => tracing::warn!(topic, error = %error, "kafka: read"),
            None => {}
        }
    }
    Err(TopicError::NoMoreMessages(topic))
}

/// Returns the first offset and the end of a partition; `None` if topic or partition do not exist.
pub(super) fn read_watermarks(
    settings: &KafkaSettings,
    name: &str,
    partition: i32,
) -> Result<Option<(i64, i64)>, TopicError> {
    let consumer = topic_reader(settings)?;
    let found = describe_topic(&consumer, settings, name)?;
    if found.is_none_or(|found| !(0..found.partition_count).contains(&partition)) {
        return Ok(None);
    }
    fetch_watermarks(&consumer, &settings.topic_name(name), partition).map(Some)
}

pub(super) fn topic_reader(
    settings: &KafkaSettings,
) -> Result<BaseConsumer<LoggingContext>, TopicError> {
    let config = settings.reader_config(&settings.group_id("read"));
    BaseConsumer::from_config_and_context(&config, LoggingContext::new("read"))
        .map_err(topic_error("build a consumer"))
}

pub(super) fn read_messages(
    settings: &KafkaSettings,
    name: &str,
    take: &mut dyn FnMut(&BorrowedMessage<'_>),
) -> Result<bool, TopicError> {
    read_messages_from(settings, name, &BTreeMap::new(), take)
}

/// Which part of a topic to read.
#[derive(Clone, Copy)]
struct ReadRange<'a> {
    /// The first offset of a partition, if not its beginning.
    from_offsets: &'a BTreeMap<i32, i64>,
    /// `None` means all.
    only_partitions: Option<&'a BTreeSet<i32>>,
}

/// As [`read_messages`], each partition from its offset in `from_offsets`, if it has one.
pub(super) fn read_messages_from(
    settings: &KafkaSettings,
    name: &str,
    from: &BTreeMap<i32, i64>,
    take: &mut dyn FnMut(&BorrowedMessage<'_>),
) -> Result<bool, TopicError> {
    read_message_range(
        settings,
        name,
        ReadRange { from_offsets: from, only_partitions: None },
        take,
    )
}

fn read_message_range(
    settings: &KafkaSettings,
    name: &str,
    ReadRange { from_offsets: from, only_partitions: only }: ReadRange<'_>,
    take: &mut dyn FnMut(&BorrowedMessage<'_>),
) -> Result<bool, TopicError> {
    let topic = settings.topic_name(name);
    let consumer = topic_reader(settings)?;
    let Some(found) = describe_topic(&consumer, settings, name)? else {
        return Ok(false);
    };
    let mut list = TopicPartitionList::new();
    let mut open = BTreeSet::new();
    let wanted = |partition: &i32| only.is_none_or(|only| only.contains(partition));
    for partition in (0..found.partition_count).filter(wanted) {
        let start = match from.get(&partition) {
            None => Offset::Beginning,
            Some(from) => {
                let (low, high) = fetch_watermarks(&consumer, &topic, partition)?;
                if *from >= high {
                    continue;
                }
                Offset::Offset(low.max(*from))
            }
        };
        list.add_partition_offset(&topic, partition, start)
            .map_err(topic_error("assign partitions"))?;
        open.insert(partition);
    }
    consumer.assign(&list).map_err(topic_error("assign partitions"))?;
    let mut last_message_at = Instant::now();
    while !open.is_empty() {
        match consumer.poll(POLL_TIMEOUT) {
            Some(Ok(message)) => {
                last_message_at = Instant::now();
                if open.contains(&message.partition()) {
                    take(&message);
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                last_message_at = Instant::now();
                open.remove(&partition);
            }
            Some(Err(error)) => tracing::warn!(topic, error = %error, "kafka: read"),
            None => {}
        }
        if last_message_at.elapsed() > SILENCE_TIMEOUT {
            return Err(TopicError::NoMoreMessages(topic));
        }
    }
    consumer.unassign().map_err(topic_error("unassign partitions"))?;
    Ok(true)
}
