//! The offsets a worker starts from: those of the group, until they have been compared with
//! the marks of the lane's state.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;

use super::fault;
use super::group_member::GroupMemberContext;
use super::source::{KafkaSource, SourcePartition};
use crate::message::Fault;

const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Committed with the group's offsets: number and first time of the mark, and the partition
/// count of the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OffsetMetadata {
    pub mark_number: u64,
    pub first_mark_ms: i64,
    pub partition_count: i32,
}

impl OffsetMetadata {
    /// Returns `None` for metadata that zeef did not write.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_prefix("zeef ")?.split(' ');
        let parsed = Self {
            mark_number: words.next()?.parse().ok()?,
            first_mark_ms: words.next()?.parse().ok()?,
            partition_count: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(parsed)
    }
}

impl fmt::Display for OffsetMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mark_number: number, first_mark_ms: born_ms, partition_count: partitions } =
            self;
        write!(f, "zeef {number} {born_ms} {partitions}")
    }
}

/// What the group has committed for one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CommittedOffset {
    pub offset: i64,
    /// `None` if zeef did not set the offset.
    pub metadata: Option<OffsetMetadata>,
}

/// Returns where to fetch the `owned` partitions from: the group's offsets, or the
/// beginning for those without one. `None` if Kafka does not answer.
pub(super) fn find_start_offsets(
    consumer: &BaseConsumer<GroupMemberContext>,
    sources: &[KafkaSource],
    owned: &BTreeSet<SourcePartition>,
    committed: &HashMap<SourcePartition, CommittedOffset>,
) -> Result<Option<HashMap<SourcePartition, i64>>, Fault> {
    let mut starts = HashMap::new();
    let mut missing = Vec::new();
    for place in owned {
        match committed.get(place) {
            Some(found) => {
                starts.insert(*place, found.offset);
            }
            None => missing.push(*place),
        }
    }
    let topic = |place: &SourcePartition| sources.iter().find(|source| source.id == place.0);
    let partitions =
        missing.iter().filter_map(|place| Some((topic(place)?.topic.as_str(), place.1)));
    let found = match fetch_bound_offsets(consumer, partitions, Offset::Beginning) {
        Ok(found) => found,
        Err(error) => return fault_or_no_answer("first offsets", &error),
    };
    for place in &missing {
        let element = topic(place).and_then(|source| found.find_partition(&source.topic, place.1));
        match element.map(|element| element.offset()) {
            Some(Offset::Offset(offset)) => starts.insert(*place, offset),
            _ => return Ok(None),
        };
    }
    Ok(Some(starts))
}

/// Returns all offsets of the group in `sources`, or `None` if Kafka does not answer.
pub(super) fn fetch_committed_offsets(
    consumer: &BaseConsumer<GroupMemberContext>,
    sources: &[KafkaSource],
) -> Result<Option<HashMap<SourcePartition, CommittedOffset>>, Fault> {
    let mut list = TopicPartitionList::new();
    for source in sources {
        for partition in 0..source.partition_count {
            list.add_partition(&source.topic, partition);
        }
    }
    let found = match consumer.committed_offsets(list, CALL_TIMEOUT) {
        Ok(found) => found,
        Err(error) => return fault_or_no_answer("committed offsets", &error),
    };
    let mut offsets = HashMap::new();
    for element in found.elements() {
        if let Err(error) = element.error() {
            return fault_or_no_answer("committed offsets", &error);
        }
        let source = sources.iter().find(|source| source.topic == element.topic());
        if let (Some(source), Offset::Offset(offset)) = (source, element.offset()) {
            let mark = OffsetMetadata::parse(element.metadata());
            offsets.insert(
                (source.id, element.partition()),
                CommittedOffset { offset, metadata: mark },
            );
        }
    }
    Ok(Some(offsets))
}

fn fault_or_no_answer<T>(what: &str, error: &KafkaError) -> Result<Option<T>, Fault> {
    if let Some(fault) = fault::classify_consumer_error(error, None, false) {
        return Err(fault);
    }
    tracing::warn!(error = %error, "kafka: no answer yet: {what}");
    Ok(None)
}

/// Fetches the beginning or end of partitions, one request per leader. With a
/// `read_committed` client the end is the stable one.
pub(super) fn fetch_bound_offsets<'a, C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: impl Iterator<Item = (&'a str, i32)>,
    bound: Offset,
) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition_offset(topic, partition, bound)?;
    }
    if list.count() == 0 {
        return Ok(list);
    }
    let found = consumer.offsets_for_times(list, CALL_TIMEOUT)?;
    for element in found.elements() {
        element.error()?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_metadata_parses_only_what_it_writes() {
        let number = OffsetMetadata {
            mark_number: 17,
            first_mark_ms: 1_700_000_000_000,
            partition_count: 4,
        };
        assert_eq!(OffsetMetadata::parse(&number.to_string()), Some(number));
        for other in ["", "17", "zeef 17", "zeef x 1 4", "zeef 17 1 4 5", "someone 17 1 4"] {
            assert_eq!(OffsetMetadata::parse(other), None, "{other}");
        }
    }
}
