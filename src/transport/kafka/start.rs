//! From which offsets a worker starts: those of the group, until the marks of
//! the lane's state have been compared with them.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;

use super::consumer::Source;
use super::fault;
use super::marks::MarkNumber;
use super::member::Member;
use super::partition::Place;
use crate::transport::Fault;

const CALL: Duration = Duration::from_secs(5);

/// What the group has committed of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    pub offset: i64,
    /// The mark that went with it; `None` where somebody else set it.
    pub mark: Option<MarkNumber>,
}

/// Returns where the `owned` partitions are fetched from at first: the group's
/// offsets, and the beginning of those that it has none of. `None` without an
/// answer.
pub(super) fn find(
    consumer: &BaseConsumer<Member>,
    sources: &[Source],
    owned: &BTreeSet<Place>,
    committed: &HashMap<Place, Committed>,
) -> Result<Option<HashMap<Place, i64>>, Fault> {
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
    let topic = |place: &Place| sources.iter().find(|source| source.id == place.0);
    let partitions = missing
        .iter()
        .filter_map(|place| Some((topic(place)?.topic.as_str(), place.1)));
    let found = match edges(consumer, partitions, Offset::Beginning) {
        Ok(found) => found,
        Err(error) => return unanswered("first offsets", &error),
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

/// Every offset that the group has in `sources`; `None` without an answer.
pub(super) fn committed(
    consumer: &BaseConsumer<Member>,
    sources: &[Source],
) -> Result<Option<HashMap<Place, Committed>>, Fault> {
    let mut list = TopicPartitionList::new();
    for source in sources {
        for partition in 0..source.partitions {
            list.add_partition(&source.topic, partition);
        }
    }
    let found = match consumer.committed_offsets(list, CALL) {
        Ok(found) => found,
        Err(error) => return unanswered("committed offsets", &error),
    };
    let mut offsets = HashMap::new();
    for element in found.elements() {
        if let Err(error) = element.error() {
            return unanswered("committed offsets", &error);
        }
        let source = sources
            .iter()
            .find(|source| source.topic == element.topic());
        if let (Some(source), Offset::Offset(offset)) = (source, element.offset()) {
            let mark = MarkNumber::parse(element.metadata());
            offsets.insert((source.id, element.partition()), Committed { offset, mark });
        }
    }
    Ok(Some(offsets))
}

fn unanswered<T>(what: &str, error: &KafkaError) -> Result<Option<T>, Fault> {
    if let Some(fault) = fault::of_consumer(error, None, false) {
        return Err(fault);
    }
    tracing::warn!(error = %error, "kafka: no answer yet: {what}");
    Ok(None)
}

/// Asks for an edge (beginning or end) of partitions: one request to each
/// leader. With a `read_committed` client the end is the stable one.
pub(super) fn edges<'a, C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: impl Iterator<Item = (&'a str, i32)>,
    edge: Offset,
) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition_offset(topic, partition, edge)?;
    }
    if list.count() == 0 {
        return Ok(list);
    }
    let found = consumer.offsets_for_times(list, CALL)?;
    for element in found.elements() {
        element.error()?;
    }
    Ok(found)
}
