//! How far the consumer group of a partner has read its topic.
//!
//! Asks for offsets only: reads no message and joins no group.

use std::collections::BTreeMap;

use rdkafka::topic_partition_list::Offset;

use super::read_topic::topic_reader;
use super::settings::KafkaSettings;
use super::start_offsets::fetch_bound_offsets;
use super::topics::{
    TopicError, await_leader, describe_topic, fetch_offsets_of_group, topic_error,
};

/// How far a group has read a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartnerPosition {
    /// How many offsets of decided messages it has not committed. The marker that ends a partition
    /// does not count; others do, so it is never less than the number of messages.
    pub lag: i64,
    /// The offset that it reads next, by partition.
    pub next_offsets: BTreeMap<i32, i64>,
}

impl PartnerPosition {
    /// Returns whether the group has read past a message.
    #[must_use]
    pub fn has_read(&self, partition: i32, offset: i64) -> bool {
        self.next_offsets.get(&partition).is_some_and(|next| *next > offset)
    }
}

/// Returns how far a group has read a topic, both without prefix; `None` if there is no such topic.
///
/// # Errors
///
/// Kafka does not answer.
pub fn fetch_partner_position(
    settings: &KafkaSettings,
    group: &str,
    name: &str,
) -> Result<Option<PartnerPosition>, TopicError> {
    let consumer = topic_reader(settings)?;
    let Some(found) = describe_topic(&consumer, settings, name)? else {
        return Ok(None);
    };
    let topic = settings.topic_name(name);
    let fetch = |bound| {
        let partitions = || (0..found.partition_count).map(|one| (topic.as_str(), one));
        let list =
            await_leader(&consumer, &topic, || fetch_bound_offsets(&consumer, partitions(), bound))
                .map_err(topic_error("read the ends of a topic"))?;
        let offsets = list.elements().into_iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some((element.partition(), offset)),
            _ => None,
        });
        Ok::<BTreeMap<i32, i64>, TopicError>(offsets.collect())
    };
    let (starts, ends) = (fetch(Offset::Beginning)?, fetch(Offset::End)?);
    let group = settings.topic_name(group);
    let committed = fetch_offsets_of_group(settings, &group, &[(name, found.partition_count)])?;
    let next_offsets =
        committed.get(name).map(|of_topic| of_topic.offsets.clone()).unwrap_or_default();
    let lag = ends.iter().map(|(partition, end)| {
        let start = starts.get(partition).copied().unwrap_or_default();
        let next = next_offsets.get(partition).copied().unwrap_or(start).max(start);
        unread_offsets(next, *end)
    });
    Ok(Some(PartnerPosition { lag: lag.sum(), next_offsets }))
}

/// The offsets from `next` to before `end`, without the marker at the end: each message is written
/// in a transaction.
fn unread_offsets(next: i64, end: i64) -> i64 {
    (end - next - 1).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partner_that_read_the_last_message_is_not_behind() {
        for (next, end, want) in [(0, 0, 0), (0, 2, 1), (1, 2, 0), (2, 2, 0), (3, 10, 6), (9, 4, 0)]
        {
            assert_eq!(unread_offsets(next, end), want, "{next} {end}");
        }
    }

    #[test]
    fn partner_has_read_what_lies_before_its_next_offset() {
        let position = PartnerPosition { lag: 0, next_offsets: [(0, 5)].into() };
        assert!(position.has_read(0, 4));
        assert!(!position.has_read(0, 5));
        assert!(!position.has_read(1, 0));
    }
}
