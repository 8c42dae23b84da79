//! Topics as they are, as they should be, and whose keys they carry.
//!
//! These calls block; they belong to the start of a process and to commands,
//! never to a worker's loop. Nothing here deletes or alters a topic; a group is
//! deleted for `zeef forget` alone.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::TopicPartitionList;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::metadata::MetadataTopic;
use rdkafka::topic_partition_list::Offset;

use super::fault;
use super::log::Logged;
use super::repaired::Repaired;
use super::settings::{KafkaSettings, joined};

const CALL: Duration = Duration::from_secs(15);
/// How long it is waited for a partition's leader between two looks.
const LEADER: Duration = Duration::from_millis(50);

/// A topic that should exist. Its name has no prefix yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicWish {
    pub name: String,
    pub partitions: i32,
    /// `None` leaves it to the broker.
    pub replication: Option<i32>,
    pub configs: BTreeMap<String, String>,
}

/// A topic that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFound {
    pub partitions: i32,
    pub replication: i32,
    /// What is in force, set or default.
    pub configs: BTreeMap<String, String>,
}

/// What went wrong with topics. Never carries a key.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    #[error("{0}")]
    Settings(String),
    #[error("kafka refuses the login: {0}")]
    Login(String),
    #[error("failed to {doing}: {why}")]
    Kafka { doing: String, why: String },
    #[error("topic `{0}`: kafka sends nothing more before its end")]
    Silent(String),
    #[error("topic `{topic}`: {code}")]
    Topic {
        topic: String,
        code: RDKafkaErrorCode,
    },
    #[error("group `{group}`: {code}")]
    Group {
        group: String,
        code: RDKafkaErrorCode,
    },
}

pub(super) fn failed(doing: impl Into<String>) -> impl FnOnce(KafkaError) -> TopicError {
    move |error| TopicError::Kafka {
        doing: doing.into(),
        why: fault::plain(&error),
    }
}

/// Looks up topics by their names without the prefix; `None` does not exist.
///
/// # Errors
///
/// Where Kafka does not answer or refuses an answer.
pub fn describe(
    settings: &KafkaSettings,
    names: &[&str],
) -> Result<BTreeMap<String, Option<TopicFound>>, TopicError> {
    let observer = observer(settings)?;
    let mut found = BTreeMap::new();
    for name in names {
        found.insert((*name).to_owned(), look_up(&observer, settings, name)?);
    }
    let present: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| found.get(*name).is_some_and(Option::is_some))
        .collect();
    for (topic, configs) in describe_configs(settings, &present)? {
        if let Some(Some(entry)) = found.get_mut(&topic) {
            entry.configs = configs;
        }
    }
    Ok(found)
}

pub(super) fn look_up(
    observer: &BaseConsumer<Logged>,
    settings: &KafkaSettings,
    name: &str,
) -> Result<Option<TopicFound>, TopicError> {
    let topic = settings.topic(name);
    let metadata = observer
        .fetch_metadata(Some(&topic), CALL)
        .map_err(|error| unanswered(observer, "look up topics", error))?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Ok(None);
    };
    match found.error().map(RDKafkaErrorCode::from) {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            Ok(None)
        }
        Some(code) => Err(TopicError::Topic { topic, code }),
        None => Ok(Some(shape(found))),
    }
}

fn shape(found: &MetadataTopic) -> TopicFound {
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let replicas = found.partitions().iter().map(|p| p.replicas().len()).min();
    TopicFound {
        partitions: count(found.partitions().len()),
        replication: count(replicas.unwrap_or_default()),
        configs: BTreeMap::new(),
    }
}

fn describe_configs(
    settings: &KafkaSettings,
    names: &[&str],
) -> Result<BTreeMap<String, BTreeMap<String, String>>, TopicError> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let admin = admin(settings)?;
    let topics: Vec<String> = names.iter().map(|name| settings.topic(name)).collect();
    let wanted: Vec<ResourceSpecifier<'_>> = topics
        .iter()
        .map(|topic| ResourceSpecifier::Topic(topic))
        .collect();
    let answers = wait_for(admin.describe_configs(&wanted, &options()))
        .map_err(failed("read the settings of topics"))?;
    let mut configs = BTreeMap::new();
    for answer in answers {
        let resource = answer.map_err(|code| TopicError::Topic {
            topic: "(settings)".to_owned(),
            code,
        })?;
        if let Some((topic, entries)) = entries(resource) {
            let name = topic
                .strip_prefix(&*settings.topic_prefix)
                .unwrap_or(&topic);
            configs.insert(name.to_owned(), entries);
        }
    }
    Ok(configs)
}

fn entries(resource: ConfigResource) -> Option<(String, BTreeMap<String, String>)> {
    let OwnedResourceSpecifier::Topic(topic) = resource.specifier else {
        return None;
    };
    let entries = resource
        .entries
        .into_iter()
        .filter_map(|entry| Some((entry.name, entry.value?)))
        .collect();
    Some((topic, entries))
}

/// Creates topics; one that already exists is left as it is.
///
/// # Errors
///
/// The first topic that Kafka did not create; others may have been.
pub fn create(settings: &KafkaSettings, wishes: &[TopicWish]) -> Result<(), TopicError> {
    if wishes.is_empty() {
        return Ok(());
    }
    let admin = admin(settings)?;
    let names: Vec<String> = wishes
        .iter()
        .map(|wish| settings.topic(&wish.name))
        .collect();
    let topics: Vec<NewTopic<'_>> = wishes
        .iter()
        .zip(&names)
        .map(|(wish, name)| {
            let replication = TopicReplication::Fixed(wish.replication.unwrap_or(-1));
            let topic = NewTopic::new(name, wish.partitions, replication);
            wish.configs
                .iter()
                .fold(topic, |topic, (name, value)| topic.set(name, value))
        })
        .collect();
    let answers =
        wait_for(admin.create_topics(&topics, &options())).map_err(failed("create topics"))?;
    for answer in answers {
        match answer {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(TopicError::Topic { topic, code }),
        }
    }
    settle(settings, wishes)
}

/// Waits until the topics created can be seen.
fn settle(settings: &KafkaSettings, wishes: &[TopicWish]) -> Result<(), TopicError> {
    let observer = observer(settings)?;
    let deadline = Instant::now() + CALL;
    for wish in wishes {
        while Instant::now() < deadline {
            if look_up(&observer, settings, &wish.name)?.is_some() {
                break;
            }
            let _ = observer.poll(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// How keys of a topic are sampled.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// At most about so many keys.
    pub how_many: usize,
    /// Records that are passed over.
    pub repaired: &'a Repaired,
}

/// Reads keys of a topic, half from its beginning and half from its end, spread
/// over its partitions: each key once, with its partition.
///
/// # Errors
///
/// Where Kafka does not answer.
pub fn sample_keys(
    settings: &KafkaSettings,
    name: &str,
    partitions: i32,
    sample: Sample<'_>,
) -> Result<Vec<(i32, Vec<u8>)>, TopicError> {
    let topic = settings.topic(name);
    let mut config = settings.reader(&settings.group("check"));
    config.set("queued.max.messages.kbytes", "1024");
    let consumer: BaseConsumer<Logged> =
        BaseConsumer::from_config_and_context(&config, Logged::new("sample"))
            .map_err(failed("build a consumer"))?;
    let count = usize::try_from(partitions).unwrap_or(1).max(1);
    let share = i64::try_from((sample.how_many / count / 2).max(1)).unwrap_or(1);
    let mut keys = BTreeSet::new();
    let mut heads = BTreeMap::new();
    let mut tails = BTreeMap::new();
    for partition in 0..partitions {
        let (low, high) = edges(&consumer, &topic, partition)?;
        if low < high {
            heads.insert(partition, (low, high));
            // A short partition is read whole by then.
            if high - share > low {
                tails.insert(partition, (high - share, high));
            }
        }
    }
    let limit = usize::try_from(share).unwrap_or(1);
    let mut take = |message: &BorrowedMessage<'_>| {
        let place = (name.to_owned(), message.partition(), message.offset());
        let repaired = sample.repaired;
        if let Some(key) = message.key().filter(|key| !key.is_empty())
            && !repaired.contains(&place, message.timestamp().to_millis())
        {
            keys.insert((message.partition(), key.to_vec()));
        }
    };
    for ranges in [heads, tails] {
        read_keys(&consumer, &topic, (&ranges, limit), &mut take)?;
    }
    Ok(keys.into_iter().collect())
}

/// How many members a group has.
///
/// # Errors
///
/// Where Kafka does not answer.
pub(super) fn members_of(settings: &KafkaSettings, group: &str) -> Result<usize, TopicError> {
    let observer = observer(settings)?;
    let found = observer
        .fetch_group_list(Some(group), CALL)
        .map_err(|error| unanswered(&observer, "look up a group", error))?;
    Ok(found
        .groups()
        .iter()
        .map(|group| group.members().len())
        .sum())
}

/// Deletes a group with its offsets; one that does not exist is no error.
///
/// # Errors
///
/// [`TopicError::Group`] where Kafka refuses, as while it has members.
pub(super) fn delete_group(settings: &KafkaSettings, group: &str) -> Result<(), TopicError> {
    let admin = admin(settings)?;
    let answers =
        wait_for(admin.delete_groups(&[group], &options())).map_err(failed("delete a group"))?;
    for answer in answers {
        match answer {
            Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound)) => {}
            Err((group, code)) => return Err(TopicError::Group { group, code }),
        }
    }
    Ok(())
}

/// The ends of all partitions of some topics, in all; a topic that does not exist
/// counts for nothing. Their names have no prefix yet.
///
/// # Errors
///
/// Where Kafka does not answer.
pub(super) fn ends_of(settings: &KafkaSettings, names: &[String]) -> Result<i64, TopicError> {
    let observer = observer(settings)?;
    let mut sum = 0;
    for name in names {
        let Some(found) = look_up(&observer, settings, name)? else {
            continue;
        };
        for partition in 0..found.partitions {
            sum += edges(&observer, &settings.topic(name), partition)?.1;
        }
    }
    Ok(sum)
}

/// The first offset and the end of a partition; a topic that was created just
/// now, or whose broker comes back, has no leader yet.
pub(super) fn edges(
    consumer: &BaseConsumer<Logged>,
    topic: &str,
    partition: i32,
) -> Result<(i64, i64), TopicError> {
    let deadline = Instant::now() + CALL;
    loop {
        match consumer.fetch_watermarks(topic, partition, CALL) {
            Ok(edges) => return Ok(edges),
            Err(error) if is_leaderless(&error) && Instant::now() < deadline => {
                let _ = consumer.poll(LEADER);
            }
            Err(error) => return Err(unanswered(consumer, "read the ends of a topic", error)),
        }
    }
}

/// A broker that comes up, or another one that takes a group over, has to load
/// it first.
fn is_without_coordinator(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress
        )
    )
}

fn is_leaderless(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::UnknownTopicOrPartition
        )
    )
}

/// Reads at most `limit` keys of each partition, within its range.
fn read_keys(
    consumer: &BaseConsumer<Logged>,
    topic: &str,
    (ranges, limit): (&BTreeMap<i32, (i64, i64)>, usize),
    take: &mut dyn FnMut(&BorrowedMessage<'_>),
) -> Result<(), TopicError> {
    let mut list = TopicPartitionList::new();
    for (partition, (start, _)) in ranges {
        list.add_partition_offset(topic, *partition, Offset::Offset(*start))
            .map_err(failed("assign partitions"))?;
    }
    consumer
        .assign(&list)
        .map_err(failed("assign partitions"))?;
    let mut open: BTreeMap<i32, usize> = ranges.keys().map(|p| (*p, limit)).collect();
    let deadline = Instant::now() + CALL;
    while !open.is_empty() && Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let partition = message.partition();
                let Some(left) = open.get_mut(&partition) else {
                    continue;
                };
                take(&message);
                *left = left.saturating_sub(1);
                let end = ranges.get(&partition).map_or(0, |range| range.1);
                if *left == 0 || message.offset() + 1 >= end {
                    open.remove(&partition);
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            Some(Err(error)) => tracing::warn!(topic, error = %error, "kafka: sample"),
            None => {}
        }
    }
    consumer.unassign().map_err(failed("unassign partitions"))
}

/// Finds the offsets that a lane's group has, by topic and partition. Names have
/// no prefix.
///
/// # Errors
///
/// Where Kafka does not answer.
pub fn group_offsets(
    settings: &KafkaSettings,
    lane: &str,
    topics: &[(&str, i32)],
) -> Result<BTreeMap<String, BTreeMap<i32, i64>>, TopicError> {
    let config = settings.reader(&settings.group(lane));
    let consumer: BaseConsumer<Logged> =
        BaseConsumer::from_config_and_context(&config, Logged::new("offsets"))
            .map_err(failed("build a consumer"))?;
    let mut list = TopicPartitionList::new();
    for (topic, partitions) in topics {
        for partition in 0..*partitions {
            list.add_partition(&settings.topic(topic), partition);
        }
    }
    let mut offsets = BTreeMap::<String, BTreeMap<i32, i64>>::new();
    if list.count() == 0 {
        return Ok(offsets);
    }
    let deadline = Instant::now() + CALL;
    let found = loop {
        match consumer.committed_offsets(list.clone(), CALL) {
            Ok(found) => break found,
            Err(error) if is_without_coordinator(&error) && Instant::now() < deadline => {
                let _ = consumer.poll(LEADER);
            }
            Err(error) => {
                return Err(unanswered(&consumer, "read the offsets of a group", error));
            }
        }
    };
    for element in found.elements() {
        element
            .error()
            .map_err(failed("read the offsets of a group"))?;
        let name = element.topic();
        let name = name.strip_prefix(&*settings.topic_prefix).unwrap_or(name);
        if let Offset::Offset(offset) = element.offset() {
            let partitions = offsets.entry(name.to_owned()).or_default();
            partitions.insert(element.partition(), offset);
        }
    }
    Ok(offsets)
}

/// Whether something was ever written to a topic that exists.
///
/// # Errors
///
/// Where Kafka does not answer.
pub fn is_written(
    settings: &KafkaSettings,
    name: &str,
    partitions: i32,
) -> Result<bool, TopicError> {
    let observer = observer(settings)?;
    let topic = settings.topic(name);
    for partition in 0..partitions {
        if edges(&observer, &topic, partition)?.1 > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn observer(settings: &KafkaSettings) -> Result<BaseConsumer<Logged>, TopicError> {
    settings
        .check()
        .map_err(|mistakes| TopicError::Settings(joined(&mistakes)))?;
    BaseConsumer::from_config_and_context(&settings.observer(false), Logged::new("observer"))
        .map_err(failed("build a client"))
}

fn admin(settings: &KafkaSettings) -> Result<AdminClient<Logged>, TopicError> {
    settings
        .check()
        .map_err(|mistakes| TopicError::Settings(joined(&mistakes)))?;
    AdminClient::from_config_and_context(&settings.base("admin"), Logged::new("admin"))
        .map_err(failed("build an admin client"))
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(CALL))
        .operation_timeout(Some(CALL))
}

/// A refused login is the cause of a missing answer, where it is one: that is
/// reported behind other events, and somewhat later.
fn unanswered(client: &BaseConsumer<Logged>, doing: &str, source: KafkaError) -> TopicError {
    const REPORT: Duration = Duration::from_millis(500);
    let deadline = Instant::now() + REPORT;
    while client.context().unauthenticated().is_none() && Instant::now() < deadline {
        let _ = client.poll(Duration::from_millis(20));
    }
    match client.context().unauthenticated() {
        Some(reason) => TopicError::Login(reason),
        None => failed(doing)(source),
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs one future of the admin client on this thread. It has a thread of its
/// own that wakes it, so that no runtime is needed, and none is in the way.
fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_future_is_waited_for() {
        let mut polls = 0;
        let value = wait_for(std::future::poll_fn(|context| {
            polls += 1;
            if polls < 3 {
                context.waker().wake_by_ref();
                Poll::Pending
            } else {
                Poll::Ready(polls)
            }
        }));
        assert_eq!(value, 3);
    }
}
