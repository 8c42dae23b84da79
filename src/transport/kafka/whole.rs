//! Reads a whole topic as it is now, for commands: what is committed, from the
//! beginning of each partition to its end.
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

pub(super) fn read_messages(
    settings: &KafkaSettings,
    name: &str,
    take: &mut dyn FnMut(&BorrowedMessage<'_>),
) -> Result<bool, TopicError> {
    read_from(settings, name, &BTreeMap::new(), take)
}

/// As [`read_messages`], each partition from the offset that `from` has for it,
/// where it has one.
pub(super) fn read_from(
    settings: &KafkaSettings,
    name: &str,
    from: &BTreeMap<i32, i64>,
    take: &mut dyn FnMut(&BorrowedMessage<'_>),
) -> Result<bool, TopicError> {
    let topic = settings.topic(name);
    let config = settings.reader(&settings.group("read"));
    let consumer: BaseConsumer<Logged> =
        BaseConsumer::from_config_and_context(&config, Logged::new("read"))
            .map_err(failed("build a consumer"))?;
    let Some(found) = look_up(&consumer, settings, name)? else {
        return Ok(false);
    };
    let mut list = TopicPartitionList::new();
    let mut open = BTreeSet::new();
    for partition in 0..found.partitions {
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
