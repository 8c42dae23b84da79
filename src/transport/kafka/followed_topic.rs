//! Reads what was added to a topic since the last time.
//!
//! Joins no group; the positions are those of this process.

use std::collections::BTreeMap;

use rdkafka::Message;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer as _;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::Offset;

use super::CALL_TIMEOUT;
use super::headers::find_headers;
use super::read_topic::{read_messages_from, topic_reader};
use super::settings::KafkaSettings;
use super::start_offsets::fetch_bound_offsets;
use super::topics::{TopicError, await_leader, describe_topic, topic_error};
use crate::message::headers::RETRACTION_ID;

/// A committed message.
#[derive(Clone, Copy, Debug)]
pub struct FollowedMessage<'a> {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// The header that names a retraction.
    pub retraction_id: Option<&'a [u8]>,
}

/// A topic, and up to where it was read.
#[derive(Debug)]
pub struct FollowedTopic {
    /// Without prefix.
    name: String,
    /// By partition; one that is missing is read from its beginning.
    next_offsets: BTreeMap<i32, i64>,
    /// Where to begin, in Unix milliseconds, if nothing was read yet.
    start_ms: Option<i64>,
}

impl FollowedTopic {
    /// Follows a topic from its beginning.
    #[must_use]
    pub fn new(name: &str) -> FollowedTopic {
        FollowedTopic { name: name.to_owned(), next_offsets: BTreeMap::new(), start_ms: None }
    }

    /// Follows a topic from its first message of a time or later.
    #[must_use]
    pub fn from_time(name: &str, time_ms: i64) -> FollowedTopic {
        FollowedTopic { start_ms: Some(time_ms), ..FollowedTopic::new(name) }
    }

    /// Its name without prefix.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hands out each message that was added, in order within a partition. Returns false if the
    /// topic does not exist.
    ///
    /// # Errors
    ///
    /// Kafka does not answer, or refuses. What was handed out counts as read.
    pub fn read_new(
        &mut self,
        settings: &KafkaSettings,
        take: &mut dyn FnMut(FollowedMessage<'_>),
    ) -> Result<bool, TopicError> {
        if let Some(time_ms) = self.start_ms {
            match find_offsets_at(settings, &self.name, time_ms)? {
                Some(found) => self.next_offsets = found,
                None => return Ok(false),
            }
            self.start_ms = None;
        }
        let from = self.next_offsets.clone();
        let next_offsets = &mut self.next_offsets;
        read_messages_from(settings, &self.name, &from, &mut |message| {
            next_offsets.insert(message.partition(), message.offset() + 1);
            take(followed_message(message));
        })
    }
}

fn followed_message<'a>(message: &'a BorrowedMessage<'_>) -> FollowedMessage<'a> {
    let header = find_headers(message, RETRACTION_ID);
    FollowedMessage {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key(),
        value: message.payload(),
        retraction_id: header.ok().and_then(|header| header.first),
    }
}

/// Returns the offset of the first message of a time or later in each partition, or its end;
/// `None` if the topic does not exist.
fn find_offsets_at(
    settings: &KafkaSettings,
    name: &str,
    time_ms: i64,
) -> Result<Option<BTreeMap<i32, i64>>, TopicError> {
    let consumer = topic_reader(settings)?;
    let Some(found) = describe_topic(&consumer, settings, name)? else {
        return Ok(None);
    };
    let topic = settings.topic_name(name);
    let partitions = || (0..found.partition_count).map(|partition| (topic.as_str(), partition));
    // First: what is added after this is not before the end.
    let ends = await_leader(&consumer, &topic, || {
        fetch_bound_offsets(&consumer, partitions(), Offset::End)
    })
    .map_err(topic_error("read the ends of a topic"))?;
    let mut times = TopicPartitionList::new();
    for (topic, partition) in partitions() {
        times
            .add_partition_offset(topic, partition, Offset::Offset(time_ms.max(0)))
            .map_err(topic_error("look up offsets by time"))?;
    }
    let by_time = consumer
        .offsets_for_times(times, CALL_TIMEOUT)
        .map_err(topic_error("look up offsets by time"))?;
    let mut offsets = BTreeMap::new();
    for (topic, partition) in partitions() {
        let offset_in = |list: &TopicPartitionList| match list
            .find_partition(topic, partition)
            .filter(|found| found.error().is_ok())?
            .offset()
        {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        if let Some(offset) = offset_in(&by_time).or_else(|| offset_in(&ends)) {
            offsets.insert(partition, offset);
        }
    }
    Ok(Some(offsets))
}
