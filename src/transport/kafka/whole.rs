//! Reads a whole topic as it is now, for commands: what is committed, from the
//! beginning of each partition to its end. Or one message of it.
//!
//! It joins no group and moves nobody's position.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::Offset;

use super::log::Logged;
use super::partition::input;
use super::settings::KafkaSettings;
use super::topics::{TopicError, edges, failed, look_up};
use crate::transport::{Input, Output, OutputId, SourceId};

/// How long nothing may come before the end of all partitions.
const SILENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// Hands each message to `take`, those of one partition in their order, false where there is no such topic. Its
/// name has no prefix yet.
///
/// # Errors
///
/// Where Kafka does not answer, or refuses an answer.
pub fn read_whole(
    settings: &KafkaSettings,
    name: &str,
    take: &mut dyn FnMut(Output<'_>),
) -> Result<bool, TopicError> {
    read_placed(settings, name, &mut |_, row| take(row))
}

/// The same, each message with its offset.
///
/// # Errors
///
/// As [`read_whole`].
pub fn read_placed(
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
        };
        take(message.offset(), row);
    })
}

/// As [`read_whole`], with where each message lies. All are said to be of source
/// 0.
///
/// # Errors
///
/// Where Kafka does not answer, or refuses an answer.
pub fn read_source(
    settings: &KafkaSettings,
    name: &str,
    take: &mut dyn FnMut(Input<'_>),
) -> Result<bool, TopicError> {
    read_messages(settings, name, &mut |message| {
        take(input((SourceId(0), message.partition()), message));
    })
}

/// As [`read_source`], of these partitions alone.
///
/// # Errors
///
/// Where Kafka does not answer, or refuses an answer.
pub fn read_partitions(
    settings: &KafkaSettings,
    name: &str,
    partitions: &BTreeSet<i32>,
    take: &mut dyn FnMut(Input<'_>),
) -> Result<bool, TopicError> {
    let range = Range {
        from: &BTreeMap::new(),
        only: Some(partitions),
    };
    read_range(settings, name, range, &mut |message| {
        take(input((SourceId(0), message.partition()), message));
    })
}

/// Hands the message at one offset to `take`; false where there is none, or no such
/// topic or partition.
///
/// # Errors
///
/// Where Kafka does not answer, or refuses an answer.
pub fn read_one(
    settings: &KafkaSettings,
    name: &str,
    (partition, offset): (i32, i64),
    take: &mut dyn FnMut(Input<'_>),
) -> Result<bool, TopicError> {
    let topic = settings.topic(name);
    let consumer = consumer(settings)?;
    let found = look_up(&consumer, settings, name)?;
    if found.is_none_or(|found| !(0..found.partitions).contains(&partition)) {
        return Ok(false);
    }
    let (low, high) = edges(&consumer, &topic, partition)?;
    if !(low..high).contains(&offset) {
        return Ok(false);
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, partition, Offset::Offset(offset))
        .map_err(failed("assign partitions"))?;
    consumer
        .assign(&list)
        .map_err(failed("assign partitions"))?;
    let started = Instant::now();
    while started.elapsed() < SILENCE {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                // What was there may be aborted, or compacted away.
                let is_it = message.offset() == offset;
                if is_it {
                    take(input((SourceId(0), partition), &message));
                }
                return Ok(is_it);
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(false),
            Some(Err(error)) => tracing::warn!(topic, error = %error, "kafka: read"),
            None => {}
        }
    }
    Err(TopicError::Silent(topic))
}

fn consumer(settings: &KafkaSettings) -> Result<BaseConsumer<Logged>, TopicError> {
    let config = settings.reader(&settings.group("read"));
    BaseConsumer::from_config_and_context(&config, Logged::new("read"))
        .map_err(failed("build a consumer"))
}

pub(super) fn read_messages(
    settings: &KafkaSettings,
    name: &str,
    take: &mut dyn FnMut(&BorrowedMessage<'_>),
) -> Result<bool, TopicError> {
    read_from(settings, name, &BTreeMap::new(), take)
}

/// Which part of a topic is read.
#[derive(Clone, Copy)]
struct Range<'a> {
    /// The first offset of a partition, where it is not the beginning.
    from: &'a BTreeMap<i32, i64>,
    /// These partitions alone; `None` means all.
    only: Option<&'a BTreeSet<i32>>,
}

/// As [`read_messages`], each partition from the offset that `from` has for it,
/// where it has one.
pub(super) fn read_from(
    settings: &KafkaSettings,
    name: &str,
    from: &BTreeMap<i32, i64>,
    take: &mut dyn FnMut(&BorrowedMessage<'_>),
) -> Result<bool, TopicError> {
    read_range(settings, name, Range { from, only: None }, take)
}

fn read_range(
    settings: &KafkaSettings,
    name: &str,
    Range { from, only }: Range<'_>,
    take: &mut dyn FnMut(&BorrowedMessage<'_>),
) -> Result<bool, TopicError> {
    let topic = settings.topic(name);
    let consumer = consumer(settings)?;
    let Some(found) = look_up(&consumer, settings, name)? else {
        return Ok(false);
    };
    let mut list = TopicPartitionList::new();
    let mut open = BTreeSet::new();
    let wanted = |partition: &i32| only.is_none_or(|only| only.contains(partition));
    for partition in (0..found.partitions).filter(wanted) {
        let start = match from.get(&partition) {
            None => Offset::Beginning,
            Some(from) => {
                let (low, high) = edges(&consumer, &topic, partition)?;
                if *from >= high {
                    continue;
                }
                Offset::Offset(low.max(*from))
            }
        };
        list.add_partition_offset(&topic, partition, start)
            .map_err(failed("assign partitions"))?;
        open.insert(partition);
    }
    consumer
        .assign(&list)
        .map_err(failed("assign partitions"))?;
    let mut heard = Instant::now();
    while !open.is_empty() {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                heard = Instant::now();
                if open.contains(&message.partition()) {
                    take(&message);
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                heard = Instant::now();
                open.remove(&partition);
            }
            Some(Err(error)) => tracing::warn!(topic, error = %error, "kafka: read"),
            None => {}
        }
        if heard.elapsed() > SILENCE {
            return Err(TopicError::Silent(topic));
        }
    }
    consumer.unassign().map_err(failed("unassign partitions"))?;
    Ok(true)
}
