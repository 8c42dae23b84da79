//! Reads a whole topic as it is now, for commands: what is committed, from the
//! beginning of each partition to its end.
//!
//! It joins no group and moves nobody's position.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;

use super::log::Logged;
use super::settings::KafkaSettings;
use super::topics::{TopicError, describe, failed};
use crate::transport::{Output, OutputId};

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
    read_offsets(settings, name, &mut |_, message| take(message))
}

/// The same, with the offset of each message.
///
/// # Errors
///
/// As [`read_whole`].
pub fn read_offsets(
    settings: &KafkaSettings,
    name: &str,
    take: &mut dyn FnMut(i64, Output<'_>),
) -> Result<bool, TopicError> {
    let found = describe(settings, &[name])?;
    let Some(Some(found)) = found.get(name) else {
        return Ok(false);
    };
    let topic = settings.topic(name);
    let config = settings.reader(&settings.group("read"));
    let consumer: BaseConsumer<Logged> =
        BaseConsumer::from_config_and_context(&config, Logged::new("read"))
            .map_err(failed("build a consumer"))?;
    let mut list = TopicPartitionList::new();
    for partition in 0..found.partitions {
        list.add_partition_offset(&topic, partition, Offset::Beginning)
            .map_err(failed("assign partitions"))?;
    }
    consumer
        .assign(&list)
        .map_err(failed("assign partitions"))?;
    let mut open: BTreeSet<i32> = (0..found.partitions).collect();
    let mut heard = Instant::now();
    while !open.is_empty() {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                heard = Instant::now();
                if open.contains(&message.partition()) {
                    let output = Output {
                        output: OutputId(0),
                        partition: Some(message.partition()),
                        key: message.key(),
                        value: message.payload(),
                    };
                    take(message.offset(), output);
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
