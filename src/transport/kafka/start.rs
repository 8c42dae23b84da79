//! From which offsets a worker starts: those of the group, those that the lane's
//! state has where the group's have expired, or the beginning of a source that
//! the lane has never read.
//!
//! It never guesses: some offsets present and one missing is an error.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;

use super::consumer::{Source, widened};
use super::fault;
use super::member::Member;
use super::partition::Place;
use crate::transport::{Fault, SourceId};

const CALL: Duration = Duration::from_secs(5);

/// What is known of the start offsets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    Ready(HashMap<Place, i64>),
    /// Another worker is to commit the first offsets, or Kafka gave no answer.
    Wait,
    /// The group has no offsets of these partitions, which are to be committed
    /// by this worker.
    Unknown(Unknown),
}

/// Partitions of one source without offsets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    pub source: SourceId,
    pub partitions: Vec<i32>,
    /// The group has offsets of others: what the state does not know either is
    /// an error.
    pub others: bool,
}

/// What to do about one source.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The owned partitions have these offsets.
    Go(Vec<(i32, i64)>),
    /// These partitions start at their beginning, which is committed at once.
    Begin(Vec<i32>),
    Wait,
    /// The offset of this partition is missing.
    Missing(i32),
}

/// Finds the start offsets of the `owned` partitions.
pub(super) fn find(
    consumer: &BaseConsumer<Member>,
    sources: &[Source],
    owned: &BTreeSet<Place>,
) -> Result<Start, Fault> {
    let Some(committed) = committed(consumer, sources)? else {
        return Ok(Start::Wait);
    };
    let mut starts = HashMap::new();
    for source in sources {
        let mine: BTreeSet<i32> = owned
            .iter()
            .filter(|place| place.0 == source.id)
            .map(|place| place.1)
            .collect();
        let present: HashMap<i32, i64> = committed
            .iter()
            .filter(|(place, _)| place.0 == source.id)
            .map(|(place, offset)| (place.1, *offset))
            .collect();
        match judge(source.partitions, &present, &mine) {
            Verdict::Go(offsets) => {
                starts.extend(offsets.iter().map(|(p, offset)| ((source.id, *p), *offset)));
            }
            Verdict::Wait => return Ok(Start::Wait),
            Verdict::Begin(partitions) => {
                return Ok(Start::Unknown(Unknown {
                    source: source.id,
                    partitions,
                    others: false,
                }));
            }
            Verdict::Missing(partition) => {
                return Ok(Start::Unknown(Unknown {
                    source: source.id,
                    partitions: vec![partition],
                    others: true,
                }));
            }
        }
    }
    Ok(Start::Ready(starts))
}

fn judge(partitions: i32, present: &HashMap<i32, i64>, mine: &BTreeSet<i32>) -> Verdict {
    if mine.is_empty() {
        return Verdict::Go(Vec::new());
    }
    if present.is_empty() {
        return if mine.contains(&0) {
            Verdict::Begin((0..partitions).collect())
        } else {
            Verdict::Wait
        };
    }
    let last = present.keys().copied().max().unwrap_or(-1);
    // One that was added concerns every worker: its patrons had others before.
    let absent = (0..partitions)
        .filter(|partition| mine.contains(partition) || *partition > last)
        .find(|partition| !present.contains_key(partition));
    if let Some(partition) = absent {
        return Verdict::Missing(partition);
    }
    Verdict::Go(
        mine.iter()
            .filter_map(|partition| Some((*partition, *present.get(partition)?)))
            .collect(),
    )
}

fn missing(source: &Source, partition: i32) -> Fault {
    Fault::Stop(format!(
        "topic `{}` partition {partition} has no committed offset, while other partitions of it \
         have one. If the offset expired, set the group's offset by hand. If the partition was \
         added: {}",
        source.topic,
        widened(&source.topic, source.partitions, partition)
    ))
}

/// Every offset that the group has in `sources`; `None` without an answer.
pub(super) fn committed(
    consumer: &BaseConsumer<Member>,
    sources: &[Source],
) -> Result<Option<HashMap<Place, i64>>, Fault> {
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
            offsets.insert((source.id, element.partition()), offset);
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

/// Commits the offsets of partitions that have none, all in one request: those
/// that are `known`, else their beginning. They are read anew the next time, as
/// any other worker would.
///
/// # Errors
///
/// Where one is missing that must be there.
pub(super) fn begin(
    consumer: &BaseConsumer<Member>,
    source: &Source,
    unknown: &Unknown,
    known: &HashMap<i32, i64>,
) -> Result<(), Fault> {
    let at_the_beginning = unknown.partitions.iter().filter(|p| !known.contains_key(p));
    let beginnings = at_the_beginning.clone().count();
    if let Some(partition) = at_the_beginning.clone().next().filter(|_| unknown.others) {
        return Err(missing(source, *partition));
    }
    let topic = &*source.topic;
    let list = edges(
        consumer,
        at_the_beginning.map(|p| (topic, *p)),
        Offset::Beginning,
    );
    let done = list.and_then(|mut list| {
        for partition in &unknown.partitions {
            if let Some(next) = known.get(partition) {
                list.add_partition_offset(topic, *partition, Offset::Offset(*next))?;
            }
        }
        consumer.commit(&list, CommitMode::Sync)
    });
    let from_state = unknown.partitions.len() - beginnings;
    match done {
        Ok(()) if from_state > 0 => tracing::warn!(
            topic,
            partitions = from_state,
            "kafka: the group's offsets are gone: it goes on by its state"
        ),
        Ok(()) => tracing::info!(
            topic,
            partitions = beginnings,
            "kafka: the group starts at the beginning"
        ),
        Err(error) => tracing::warn!(topic, error = %error, "kafka: first offsets"),
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(present: &[(i32, i64)], mine: &[i32], want: &Verdict) {
        let present = present.iter().copied().collect();
        let mine = mine.iter().copied().collect();
        assert_eq!(judge(4, &present, &mine), *want);
    }

    #[test]
    fn start_offsets() {
        use Verdict::{Begin, Go, Missing, Wait};
        let all = [(0, 5), (1, 6), (2, 7), (3, 8)];
        check(&[], &[], &Go(vec![]));
        check(&[], &[0, 1], &Begin(vec![0, 1, 2, 3]));
        check(&[], &[2, 3], &Wait);
        check(&all, &[0, 1], &Go(vec![(0, 5), (1, 6)]));
        check(&[(1, 6), (2, 1), (3, 1)], &[0], &Missing(0));
        // Of another worker.
        check(&[(1, 6), (2, 1), (3, 1)], &[1], &Go(vec![(1, 6)]));
        // Partitions were added: no worker goes on, whatever it has.
        check(&[(0, 5), (1, 6)], &[1, 2], &Missing(2));
        check(&[(0, 5), (1, 6)], &[0], &Missing(2));
    }
}
