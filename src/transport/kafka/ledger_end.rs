//! Whether the ledger still has the last block of a chain.

use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;

use super::KafkaTransport;
use super::log::LoggingContext;
use super::settings::KafkaSettings;
use super::topics::{TopicError, describe_topic, fetch_watermarks, topic_error};
use crate::ledger::LEDGER_TOPIC;
use crate::ledger::block::digest_hex;
use crate::message::continuity::{ContinuityFinding, ContinuityMark};
use crate::message::{Cause, Fault};

/// How many messages before the end to look through first, and how many times more then.
const FIRST_TAIL: i64 = 64;
const TAIL_FACTOR: i64 = 64;
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

impl KafkaTransport {
    /// Finds whether the ledger lacks the block that the mark names as its chain's last one.
    pub(super) fn compare_ledger(
        &self,
        partition: i32,
        mark: &ContinuityMark,
    ) -> Result<Option<ContinuityFinding>, Fault> {
        let Some(head) = mark.ledger.as_ref().filter(|head| !head.is_forgotten()) else {
            return Ok(None);
        };
        let is_there = has_block(&self.settings, partition, &head.hash)
            .map_err(|error| Fault::transport_lost(Cause::from_error(error)))?;
        Ok((!is_there).then(|| head.missing_finding(LEDGER_TOPIC, partition)))
    }
}

/// Whether a partition of the ledger has a block with this digest, newest first. Open
/// transactions of other lanes hide nothing: an aborted block is never the one that a mark names.
fn has_block(settings: &KafkaSettings, partition: i32, digest: &str) -> Result<bool, TopicError> {
    let mut config = settings.reader_config(&settings.group_id("read"));
    config.set("isolation.level", "read_uncommitted");
    let consumer = BaseConsumer::from_config_and_context(&config, LoggingContext::new("ledger"))
        .map_err(topic_error("build a consumer"))?;
    let found = describe_topic(&consumer, settings, LEDGER_TOPIC)?;
    if found.is_none_or(|found| !(0..found.partition_count).contains(&partition)) {
        return Ok(false);
    }
    let topic = settings.topic_name(LEDGER_TOPIC);
    let (low, high) = fetch_watermarks(&consumer, &topic, partition)?;
    let (mut end, mut tail) = (high, FIRST_TAIL);
    while end > low {
        let start = low.max(end.saturating_sub(tail));
        if has_block_between(&consumer, (&topic, partition), (start, end), digest)? {
            return Ok(true);
        }
        (end, tail) = (start, tail.saturating_mul(TAIL_FACTOR));
    }
    Ok(false)
}

/// The same among the messages from `start` up to `end`.
fn has_block_between(
    consumer: &BaseConsumer<LoggingContext>,
    (topic, partition): (&str, i32),
    (start, end): (i64, i64),
    digest: &str,
) -> Result<bool, TopicError> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(start))
        .map_err(topic_error("assign partitions"))?;
    consumer.assign(&list).map_err(topic_error("assign partitions"))?;
    let mut last_message_at = Instant::now();
    while last_message_at.elapsed() < SILENCE_TIMEOUT {
        match consumer.poll(POLL_TIMEOUT) {
            Some(Ok(message)) => {
                last_message_at = Instant::now();
                if message.offset() >= end {
                    return Ok(false);
                }
                if message.payload().is_some_and(|block| digest_hex(block) == digest) {
                    return Ok(true);
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(false),
            Some(Err(error)) => tracing::warn!(topic, error = %error, "kafka: read"),
            None => {}
        }
    }
    Err(TopicError::NoMoreMessages(topic.to_owned()))
}
