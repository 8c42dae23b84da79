//! Topics as they are, and as they should be.
//!
//! These calls block: they are for the start of a process and for commands, never for a
//! worker's loop. Nothing here deletes or alters a topic; only `zeef forget` deletes a
//! group.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewPartitions, NewTopic, OwnedResourceSpecifier,
    ResourceSpecifier, TopicReplication,
};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rdkafka::topic_partition_list::Offset;

use super::connect::learn_leaders;
use super::fault;
use super::log::LoggingContext;
use super::settings::{KafkaSettings, join_mistakes};
use super::start_offsets::OffsetMetadata;

const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a partition may have no leader; a busy broker needs some time for many new topics.
const LEADER_WAIT: Duration = Duration::from_secs(30);
/// How often to look for a partition's leader.
const LEADER_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A topic that should exist, without prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedTopic {
    pub name: String,
    pub partition_count: i32,
    /// `None` leaves it to the broker.
    pub replication_factor: Option<i32>,
    pub configs: BTreeMap<String, String>,
}

/// A topic that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExistingTopic {
    pub partition_count: i32,
    pub replication_factor: i32,
    /// The configs in effect, set or default.
    pub configs: BTreeMap<String, String>,
}

/// What went wrong with topics. Never contains a key.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    #[error("{0}")]
    Settings(String),
    #[error("kafka refuses the login: {0}")]
    LoginRefused(String),
    #[error("failed to {doing}: {why}")]
    Kafka { doing: String, why: String },
    #[error("topic `{0}`: kafka sends nothing more before its end")]
    NoMoreMessages(String),
    #[error("topic `{topic}`: {code}")]
    Topic { topic: String, code: RDKafkaErrorCode },
    #[error("group `{group}`: {code}")]
    Group { group: String, code: RDKafkaErrorCode },
    #[error(
        "group `{group}` has {members} members: stop every process of the lane first (a process that \
         was stopped stays a member for its session timeout)"
    )]
    StillRunning { group: String, members: usize },
}

pub(super) fn topic_error(doing: impl Into<String>) -> impl FnOnce(KafkaError) -> TopicError {
    move |error| TopicError::Kafka { doing: doing.into(), why: fault::describe_error(&error) }
}

/// Describes topics, by names without prefix; `None` if one does not exist.
///
/// # Errors
///
/// Kafka does not answer, or refuses.
pub fn describe_topics(
    settings: &KafkaSettings,
    names: &[&str],
) -> Result<BTreeMap<String, Option<ExistingTopic>>, TopicError> {
    let client = metadata_client(settings)?;
    let mut found = BTreeMap::new();
    for name in names {
        found.insert((*name).to_owned(), describe_topic(&client, settings, name)?);
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

/// Returns the names on Kafka of all topics that this user may see.
///
/// # Errors
///
/// Kafka does not answer, or refuses.
pub fn list_names(settings: &KafkaSettings) -> Result<BTreeSet<String>, TopicError> {
    let client = metadata_client(settings)?;
    let metadata = client
        .fetch_metadata(None, CALL_TIMEOUT)
        .map_err(|error| login_or_call_error(&client, "list topics", error))?;
    let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
    Ok(topics.map(|topic| topic.name().to_owned()).collect())
}

pub(super) fn describe_topic(
    client: &BaseConsumer<LoggingContext>,
    settings: &KafkaSettings,
    name: &str,
) -> Result<Option<ExistingTopic>, TopicError> {
    let topic = settings.topic_name(name);
    let metadata = client
        .fetch_metadata(Some(&topic), CALL_TIMEOUT)
        .map_err(|error| login_or_call_error(client, "look up topics", error))?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Ok(None);
    };
    match found.error().map(RDKafkaErrorCode::from) {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            Ok(None)
        }
        Some(code) => Err(TopicError::Topic { topic, code }),
        None => Ok(Some(to_existing_topic(found))),
    }
}

fn to_existing_topic(found: &MetadataTopic) -> ExistingTopic {
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let replicas = found.partitions().iter().map(|p| p.replicas().len()).min();
    ExistingTopic {
        partition_count: count(found.partitions().len()),
        replication_factor: count(replicas.unwrap_or_default()),
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
    let admin = admin_client(settings)?;
    let topics: Vec<String> = names.iter().map(|name| settings.topic_name(name)).collect();
    let wanted: Vec<ResourceSpecifier<'_>> =
        topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let answers = block_on(admin.describe_configs(&wanted, &admin_options()))
        .map_err(topic_error("read the settings of topics"))?;
    let mut configs = BTreeMap::new();
    for answer in answers {
        let resource =
            answer.map_err(|code| TopicError::Topic { topic: "(settings)".to_owned(), code })?;
        if let Some((topic, entries)) = config_entries(resource) {
            let name = topic.strip_prefix(&*settings.topic_prefix).unwrap_or(&topic);
            configs.insert(name.to_owned(), entries);
        }
    }
    Ok(configs)
}

fn config_entries(resource: ConfigResource) -> Option<(String, BTreeMap<String, String>)> {
    let OwnedResourceSpecifier::Topic(topic) = resource.specifier else {
        return None;
    };
    let entries =
        resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect();
    Some((topic, entries))
}

/// Creates topics; existing ones stay as they are.
///
/// # Errors
///
/// The first topic that Kafka did not create; others may have been created.
pub fn create_topics(settings: &KafkaSettings, wanted: &[WantedTopic]) -> Result<(), TopicError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let admin = admin_client(settings)?;
    let names: Vec<String> =
        wanted.iter().map(|wanted_topic| settings.topic_name(&wanted_topic.name)).collect();
    let topics: Vec<NewTopic<'_>> = wanted
        .iter()
        .zip(&names)
        .map(|(wanted_topic, name)| {
            let replication =
                TopicReplication::Fixed(wanted_topic.replication_factor.unwrap_or(-1));
            let topic = NewTopic::new(name, wanted_topic.partition_count, replication);
            wanted_topic.configs.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
        })
        .collect();
    let answers = block_on(admin.create_topics(&topics, &admin_options()))
        .map_err(topic_error("create topics"))?;
    for answer in answers {
        match answer {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(TopicError::Topic { topic, code }),
        }
    }
    await_visible(settings, wanted)
}

/// Gives an existing topic more partitions, `total` in all, and waits until they are visible.
///
/// # Errors
///
/// Kafka does not answer, or refuses.
pub fn add_partitions(settings: &KafkaSettings, name: &str, total: i32) -> Result<(), TopicError> {
    let topic = settings.topic_name(name);
    let count = usize::try_from(total).unwrap_or_default();
    let admin = admin_client(settings)?;
    let wanted = NewPartitions::new(&topic, count);
    let answers = block_on(admin.create_partitions([&wanted], &admin_options()))
        .map_err(topic_error("add partitions"))?;
    for answer in answers {
        answer.map_err(|(topic, code)| TopicError::Topic { topic, code })?;
    }
    let client = metadata_client(settings)?;
    let deadline = Instant::now() + CALL_TIMEOUT;
    while Instant::now() < deadline {
        let found = describe_topic(&client, settings, name)?;
        if found.is_some_and(|found| found.partition_count >= total) {
            break;
        }
        let _ = client.poll(LEADER_POLL_INTERVAL);
    }
    Ok(())
}

/// Waits until the created topics are visible.
fn await_visible(settings: &KafkaSettings, wanted: &[WantedTopic]) -> Result<(), TopicError> {
    let client = metadata_client(settings)?;
    let deadline = Instant::now() + CALL_TIMEOUT;
    for wanted_topic in wanted {
        while Instant::now() < deadline {
            if describe_topic(&client, settings, &wanted_topic.name)?.is_some() {
                break;
            }
            let _ = client.poll(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// Returns how many members a group has.
///
/// # Errors
///
/// Kafka does not answer.
pub(super) fn count_group_members(
    settings: &KafkaSettings,
    group: &str,
) -> Result<usize, TopicError> {
    let client = metadata_client(settings)?;
    let found = client
        .fetch_group_list(Some(group), CALL_TIMEOUT)
        .map_err(|error| login_or_call_error(&client, "look up a group", error))?;
    Ok(found.groups().iter().map(|group| group.members().len()).sum())
}

/// Checks that a group has no members.
///
/// # Errors
///
/// [`TopicError::StillRunning`] if it has, or Kafka does not answer.
pub(super) fn require_no_members(settings: &KafkaSettings, group: &str) -> Result<(), TopicError> {
    match count_group_members(settings, group)? {
        0 => Ok(()),
        members => Err(TopicError::StillRunning { group: group.to_owned(), members }),
    }
}

/// Deletes a group with its offsets, if it exists.
///
/// # Errors
///
/// [`TopicError::Group`] if Kafka refuses, as for a group with members.
pub(super) fn delete_group(settings: &KafkaSettings, group: &str) -> Result<(), TopicError> {
    let admin = admin_client(settings)?;
    let answers = block_on(admin.delete_groups(&[group], &admin_options()))
        .map_err(topic_error("delete a group"))?;
    for answer in answers {
        match answer {
            Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound)) => {}
            Err((group, code)) => return Err(TopicError::Group { group, code }),
        }
    }
    Ok(())
}

/// Deletes the messages of a topic, without prefix, before an offset of each partition.
///
/// # Errors
///
/// Kafka does not answer, or refuses.
pub fn delete_records_before(
    settings: &KafkaSettings,
    name: &str,
    offsets: &BTreeMap<i32, i64>,
) -> Result<(), TopicError> {
    let topic = settings.topic_name(name);
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(&topic, *partition, Offset::Offset(*offset))
            .map_err(topic_error("set an offset"))?;
    }
    if list.count() == 0 {
        return Ok(());
    }
    let admin = admin_client(settings)?;
    let deleted = block_on(admin.delete_records(&list, &admin_options()))
        .map_err(topic_error(format!("delete records of `{topic}`")))?;
    for partition in deleted.elements() {
        partition.error().map_err(topic_error(format!("delete records of `{topic}`")))?;
    }
    Ok(())
}

/// Returns the sum of the end offsets of some topics, without prefix; missing topics count
/// as 0.
///
/// # Errors
///
/// Kafka does not answer.
pub(super) fn sum_end_offsets(
    settings: &KafkaSettings,
    names: &[String],
) -> Result<i64, TopicError> {
    let client = metadata_client(settings)?;
    let mut sum = 0;
    for name in names {
        let ends = fetch_ends_with(&client, settings, name)?;
        sum += ends.into_iter().flatten().sum::<i64>();
    }
    Ok(sum)
}

/// Returns the first offset and the end of a partition. Waits for a leader, which a new
/// topic or a restarted broker may not have yet.
pub(super) fn fetch_watermarks(
    consumer: &BaseConsumer<LoggingContext>,
    topic: &str,
    partition: i32,
) -> Result<(i64, i64), TopicError> {
    await_leader(consumer, topic, || consumer.fetch_watermarks(topic, partition, CALL_TIMEOUT))
        .map_err(|error| login_or_call_error(consumer, "read the ends of a topic", error))
}

/// Repeats a call while a partition of `topic` has no leader, or another one than was known.
pub(super) fn await_leader<C: ConsumerContext, T>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    call: impl Fn() -> KafkaResult<T>,
) -> KafkaResult<T> {
    let deadline = Instant::now() + LEADER_WAIT;
    loop {
        match call() {
            Err(error) if has_no_leader(&error) && Instant::now() < deadline => {
                let _ = consumer.poll(LEADER_POLL_INTERVAL);
                learn_leaders(consumer, topic);
            }
            ended => return ended,
        }
    }
}

/// A starting broker, or a new coordinator, has to load the group first.
fn has_no_coordinator(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress
        )
    )
}

fn has_no_leader(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::UnknownTopicOrPartition
        )
    )
}

/// What a group has committed of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupOffsets {
    /// By partition.
    pub offsets: BTreeMap<i32, i64>,
    /// How many partitions the sources of the lane had then; `None` if zeef did not set the
    /// offsets.
    pub partition_count: Option<i32>,
}

impl GroupOffsets {
    /// Returns how many partitions the topic had. A run that was killed during its first start has
    /// offsets of some of them only.
    #[must_use]
    pub fn known_partition_count(&self) -> i32 {
        let highest = self.offsets.keys().next_back().map_or(0, |last| last + 1);
        self.partition_count.unwrap_or(0).max(highest)
    }
}

/// Returns the offsets of a lane's group, by topic without prefix.
///
/// # Errors
///
/// Kafka does not answer.
pub fn fetch_group_offsets(
    settings: &KafkaSettings,
    lane: &str,
    topics: &[(&str, i32)],
) -> Result<BTreeMap<String, GroupOffsets>, TopicError> {
    fetch_offsets_of_group(settings, &settings.group_id(lane), topics)
}

pub(super) fn fetch_offsets_of_group(
    settings: &KafkaSettings,
    group: &str,
    topics: &[(&str, i32)],
) -> Result<BTreeMap<String, GroupOffsets>, TopicError> {
    let config = settings.reader_config(group);
    let consumer: BaseConsumer<LoggingContext> =
        BaseConsumer::from_config_and_context(&config, LoggingContext::new("offsets"))
            .map_err(topic_error("build a consumer"))?;
    let mut list = TopicPartitionList::new();
    for (topic, partitions) in topics {
        for partition in 0..*partitions {
            list.add_partition(&settings.topic_name(topic), partition);
        }
    }
    let mut by_topic = BTreeMap::<String, GroupOffsets>::new();
    if list.count() == 0 {
        return Ok(by_topic);
    }
    let deadline = Instant::now() + CALL_TIMEOUT;
    let found = loop {
        match consumer.committed_offsets(list.clone(), CALL_TIMEOUT) {
            Ok(found) => break found,
            Err(error) if has_no_coordinator(&error) && Instant::now() < deadline => {
                let _ = consumer.poll(LEADER_POLL_INTERVAL);
            }
            Err(error) => {
                return Err(login_or_call_error(&consumer, "read the offsets of a group", error));
            }
        }
    };
    for element in found.elements() {
        element.error().map_err(topic_error("read the offsets of a group"))?;
        let name = element.topic();
        let name = name.strip_prefix(&*settings.topic_prefix).unwrap_or(name);
        if let Offset::Offset(offset) = element.offset() {
            let of_topic = by_topic.entry(name.to_owned()).or_default();
            of_topic.offsets.insert(element.partition(), offset);
            let metadata = OffsetMetadata::parse(element.metadata());
            let partition_count = metadata.map(|metadata| metadata.partition_count);
            of_topic.partition_count = of_topic.partition_count.max(partition_count);
        }
    }
    Ok(by_topic)
}

/// Returns the end of each partition of a topic, whose name has no prefix, open transactions
/// included; `None` if it does not exist.
///
/// # Errors
///
/// Kafka does not answer.
pub fn fetch_ends(settings: &KafkaSettings, name: &str) -> Result<Option<Vec<i64>>, TopicError> {
    fetch_ends_with(&metadata_client(settings)?, settings, name)
}

fn fetch_ends_with(
    client: &BaseConsumer<LoggingContext>,
    settings: &KafkaSettings,
    name: &str,
) -> Result<Option<Vec<i64>>, TopicError> {
    let Some(found) = describe_topic(client, settings, name)? else {
        return Ok(None);
    };
    let topic = settings.topic_name(name);
    let end = |partition| Ok(fetch_watermarks(client, &topic, partition)?.1);
    (0..found.partition_count).map(end).collect::<Result<Vec<i64>, TopicError>>().map(Some)
}

/// Returns how many offsets of raw topics the group of an intake has not committed.
///
/// # Errors
///
/// Kafka does not answer.
pub fn count_unread(
    settings: &KafkaSettings,
    lane: &str,
    raw_topics: &[&str],
) -> Result<i64, TopicError> {
    // Their names have no prefix, and the group's has.
    let unprefixed = KafkaSettings { topic_prefix: String::new(), ..settings.clone() };
    let mut unread = 0;
    for &topic in raw_topics {
        let ends = fetch_ends(&unprefixed, topic)?.unwrap_or_default();
        let partitions = i32::try_from(ends.len()).unwrap_or(i32::MAX);
        let group = settings.group_id(lane);
        let committed = fetch_offsets_of_group(&unprefixed, &group, &[(topic, partitions)])?;
        let of_topic = committed.get(topic);
        for (partition, end) in (0..).zip(ends) {
            let read = of_topic.and_then(|of_topic| of_topic.offsets.get(&partition)).copied();
            unread += end - read.unwrap_or(0).min(end);
        }
    }
    Ok(unread)
}

/// Returns whether anything was ever written to an existing topic.
///
/// # Errors
///
/// Kafka does not answer.
pub fn has_been_written(
    settings: &KafkaSettings,
    name: &str,
    partitions: i32,
) -> Result<bool, TopicError> {
    let client = metadata_client(settings)?;
    let topic = settings.topic_name(name);
    for partition in 0..partitions {
        if fetch_watermarks(&client, &topic, partition)?.1 > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn metadata_client(settings: &KafkaSettings) -> Result<BaseConsumer<LoggingContext>, TopicError> {
    settings.check().map_err(|mistakes| TopicError::Settings(join_mistakes(&mistakes)))?;
    BaseConsumer::from_config_and_context(
        &settings.metadata_client_config(false),
        LoggingContext::new("observer"),
    )
    .map_err(topic_error("build a client"))
}

fn admin_client(settings: &KafkaSettings) -> Result<AdminClient<LoggingContext>, TopicError> {
    settings.check().map_err(|mistakes| TopicError::Settings(join_mistakes(&mistakes)))?;
    AdminClient::from_config_and_context(
        &settings.base_config("admin"),
        LoggingContext::new("admin"),
    )
    .map_err(topic_error("build an admin client"))
}

fn admin_options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(CALL_TIMEOUT)).operation_timeout(Some(CALL_TIMEOUT))
}

/// Prefers a refused login as the cause of a missing answer: it is reported later, behind
/// other events.
fn login_or_call_error(
    client: &BaseConsumer<LoggingContext>,
    doing: &str,
    source: KafkaError,
) -> TopicError {
    const LOGIN_REPORT_TIMEOUT: Duration = Duration::from_millis(500);
    let deadline = Instant::now() + LOGIN_REPORT_TIMEOUT;
    while client.context().login_refusal().is_none() && Instant::now() < deadline {
        let _ = client.poll(Duration::from_millis(20));
    }
    match client.context().login_refusal() {
        Some(reason) => TopicError::LoginRefused(reason),
        None => topic_error(doing)(source),
    }
}

struct UnparkThread(Thread);

impl Wake for UnparkThread {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future of the admin client on this thread. The client wakes it from a thread of
/// its own, so no runtime is needed.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(UnparkThread(std::thread::current())));
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

    /// Each partition's first mark is a transaction of its own, so a kill leaves some of them.
    #[test]
    fn group_of_a_killed_first_start_knows_all_partitions() {
        let of = |partitions: &[i32], partition_count| GroupOffsets {
            offsets: partitions.iter().map(|partition| (*partition, 7)).collect(),
            partition_count,
        };
        for (partitions, in_metadata, want) in [
            (&[0][..], Some(4), 4),
            (&[2], Some(4), 4),
            (&[0, 1, 2, 3], Some(4), 4),
            // Offsets that somebody else set.
            (&[0, 1], None, 2),
            (&[0, 1, 2], Some(2), 3),
            (&[], None, 0),
        ] {
            let known = of(partitions, in_metadata).known_partition_count();
            assert_eq!(known, want, "{partitions:?} {in_metadata:?}");
        }
    }

    #[test]
    fn block_on_polls_a_future_until_it_is_ready() {
        let mut polls = 0;
        let value = block_on(std::future::poll_fn(|context| {
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
