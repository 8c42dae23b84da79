//! The states of all lanes on Kafka, including lanes that nobody runs any more: their
//! newest marks, and their rows for whoever rearranges lanes.
//!
//! A mark is the last row of each transaction, so the tail of a partition usually has the
//! newest one. If not, more of the partition is read, up to all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer};
use rdkafka::topic_partition_list::Offset;

use super::connect::LeaderLookups;
use super::log::LoggingContext;
use super::producer::{DeliveryFailures, try_send};
use super::settings::KafkaSettings;
use super::start_offsets::OffsetMetadata;
use super::topics::{TopicError, fetch_watermarks, require_no_members, topic_error};
use crate::message::continuity::{ContinuityMark, MARK_ROW_KEY};

const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// How long nothing may arrive before the end of a partition.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// How many offsets before its end to read first, and the factor for each next attempt.
const TAIL_OFFSETS: i64 = 64;
const TAIL_GROWTH_FACTOR: i64 = 64;

/// How long a rearrangement may take for the rows of one partition.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(120);

/// Rows for one partition of a topic without prefix; a row without a value is removed.
#[derive(Clone, Debug)]
pub struct PartitionRows<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub rows: Vec<(&'a [u8], Option<&'a [u8]>)>,
}

/// Where a lane's group continues, by the marks of its partitions.
#[derive(Clone, Debug)]
pub struct GroupPositions<'a> {
    pub lane: &'a str,
    pub marks: Vec<(i32, &'a ContinuityMark)>,
    /// Without prefix; others of the marks are left out.
    pub sources: Vec<&'a str>,
}

/// Receives key and value of a row.
type RowHandler<'a> = dyn FnMut(&[u8], Option<&[u8]>) + 'a;

/// As [`RowHandler`], for messages that may have no key.
type MessageHandler<'a> = dyn FnMut(Option<&[u8]>, Option<&[u8]>) + 'a;

/// Writes the states of lanes that nobody runs.
pub struct StateRewriter<'a> {
    settings: &'a KafkaSettings,
    producer: BaseProducer<DeliveryFailures>,
}

impl<'a> StateRewriter<'a> {
    /// Connects, and aborts what an earlier one left open.
    ///
    /// # Errors
    ///
    /// Kafka does not answer.
    pub fn open(settings: &'a KafkaSettings) -> Result<Self, TopicError> {
        let mut config = settings.publisher_config();
        config
            .set("transactional.id", settings.group_id("lanes-apply"))
            .set("transaction.timeout.ms", TRANSACTION_TIMEOUT.as_millis().to_string())
            // Each row names its partition.
            .set("message.timeout.ms", "60000");
        let producer: BaseProducer<DeliveryFailures, NoCustomPartitioner> =
            BaseProducer::from_config_and_context(&config, DeliveryFailures::default())
                .map_err(topic_error("build a producer"))?;
        producer.init_transactions(CALL_TIMEOUT).map_err(topic_error("begin transactions"))?;
        Ok(StateRewriter { settings, producer })
    }

    /// Writes rows and group offsets, all or nothing, if none of `lanes` runs.
    ///
    /// A worker joins its group first and then reads its state to the end, open transactions
    /// included. So one that is not a member when the rows lie there waits for the commit, and
    /// finds their marks.
    ///
    /// # Errors
    ///
    /// [`TopicError::StillRunning`], or Kafka refuses; nothing was written then.
    pub fn write(
        &self,
        lanes: &[&str],
        rows: &[PartitionRows<'_>],
        groups: &[GroupPositions<'_>],
    ) -> Result<(), TopicError> {
        self.producer.begin_transaction().map_err(topic_error("begin a transaction"))?;
        let written = self.fill_transaction(rows, groups).and_then(|()| {
            lanes.iter().try_for_each(|lane| {
                require_no_members(self.settings, &self.settings.group_id(lane))
            })
        });
        match written {
            Ok(()) => {
                self.producer.commit_transaction(TRANSACTION_TIMEOUT).map_err(topic_error("commit"))
            }
            Err(error) => {
                let _ = self.producer.abort_transaction(CALL_TIMEOUT);
                Err(error)
            }
        }
    }

    fn fill_transaction(
        &self,
        rows: &[PartitionRows<'_>],
        groups: &[GroupPositions<'_>],
    ) -> Result<(), TopicError> {
        for PartitionRows { topic, partition, rows } in rows {
            let topic = self.settings.topic_name(topic);
            for (key, value) in rows {
                let record = BaseRecord::to(&topic).partition(*partition).key(*key);
                self.send(match value {
                    Some(value) => record.payload(*value),
                    None => record,
                })?;
            }
        }
        for group in groups {
            self.send_group_offsets(group)?;
        }
        self.producer.flush(TRANSACTION_TIMEOUT).map_err(topic_error("write the states"))?;
        if let Some((topic, code)) = self.producer.context().take_first_failure() {
            return Err(TopicError::Topic { topic, code });
        }
        Ok(())
    }

    fn send(&self, record: BaseRecord<'_, [u8], [u8]>) -> Result<(), TopicError> {
        let mut waiting = Some(record);
        while let Some(record) = waiting {
            waiting = try_send(&self.producer, record).map_err(topic_error("write a state"))?;
        }
        Ok(())
    }

    fn max_partition_count(&self, sources: &[&str]) -> Result<i32, TopicError> {
        let mut most = 0;
        for source in sources {
            let topic = self.settings.topic_name(source);
            let metadata = self.producer.client().fetch_metadata(Some(&topic), CALL_TIMEOUT);
            let metadata = metadata.map_err(topic_error("look up a source"))?;
            let counts = metadata.topics().iter().map(|found| found.partitions().len());
            most = most.max(counts.max().unwrap_or(0));
        }
        Ok(i32::try_from(most).unwrap_or(i32::MAX))
    }

    /// Adds the offsets of a group without members.
    fn send_group_offsets(&self, group: &GroupPositions<'_>) -> Result<(), TopicError> {
        let partitions = self.max_partition_count(&group.sources)?;
        let mut list = TopicPartitionList::new();
        for (partition, mark) in &group.marks {
            let number = OffsetMetadata {
                mark_number: mark.number,
                first_mark_ms: mark.born_ms,
                partition_count: partitions,
            };
            for (source, progress) in &mark.sources {
                if !group.sources.contains(&source.as_str()) {
                    continue;
                }
                let topic = self.settings.topic_name(source);
                let mut place = list.add_partition(&topic, *partition);
                place
                    .set_offset(Offset::Offset(progress.next))
                    .map_err(topic_error("set an offset"))?;
                place.set_metadata(number.to_string());
            }
        }
        if list.count() == 0 {
            return Ok(());
        }
        let config = self.settings.reader_config(&self.settings.group_id(group.lane));
        let consumer: BaseConsumer<LoggingContext> =
            BaseConsumer::from_config_and_context(&config, LoggingContext::new("group"))
                .map_err(topic_error("build a consumer"))?;
        let Some(member) = consumer.group_metadata() else {
            return Err(TopicError::Settings("a group without metadata".to_owned()));
        };
        self.producer
            .send_offsets_to_transaction(&list, &member, CALL_TIMEOUT)
            .map_err(topic_error("set the group's offsets"))
    }
}

/// Reads states.
pub struct StateReader<'a> {
    settings: &'a KafkaSettings,
    consumer: BaseConsumer<LoggingContext>,
    leaders: LeaderLookups,
}

/// The state topic of a lane, without prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateTopic {
    pub name: String,
    pub partition_count: i32,
}

impl<'a> StateReader<'a> {
    pub fn open(settings: &'a KafkaSettings) -> Result<Self, TopicError> {
        let config = settings.reader_config(&settings.group_id("read"));
        let consumer =
            BaseConsumer::from_config_and_context(&config, LoggingContext::new("states"))
                .map_err(topic_error("build a consumer"))?;
        Ok(StateReader { settings, consumer, leaders: LeaderLookups::default() })
    }

    /// Lists the topics that begin with `name_prefix`, which excludes the topic prefix.
    ///
    /// # Errors
    ///
    /// Kafka does not answer.
    pub fn list_topics(&self, name_prefix: &str) -> Result<Vec<StateTopic>, TopicError> {
        let metadata =
            self.consumer.fetch_metadata(None, CALL_TIMEOUT).map_err(topic_error("list topics"))?;
        let name_prefix = self.settings.topic_name(name_prefix);
        let prefix = &*self.settings.topic_prefix;
        let topics = metadata.topics().iter();
        let found = topics.filter(|topic| topic.name().starts_with(&name_prefix));
        Ok(found
            .map(|topic| StateTopic {
                name: topic.name()[prefix.len()..].to_owned(),
                partition_count: i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX),
            })
            .collect())
    }

    /// Returns the newest mark of each partition that has one.
    ///
    /// # Errors
    ///
    /// Kafka does not answer.
    pub fn read_newest_marks(&self, state: &StateTopic) -> Result<Vec<Vec<u8>>, TopicError> {
        Ok(self.read_marks_by_partition(state)?.into_values().collect())
    }

    /// As [`read_newest_marks`](Self::read_newest_marks), by partition.
    ///
    /// # Errors
    ///
    /// Kafka does not answer.
    pub fn read_marks_by_partition(
        &self,
        state: &StateTopic,
    ) -> Result<BTreeMap<i32, Vec<u8>>, TopicError> {
        let mut marks = BTreeMap::new();
        for partition in 0..state.partition_count {
            let mark = self.read_newest_mark((&state.name, partition))?;
            marks.extend(mark.map(|mark| (partition, mark)));
        }
        Ok(marks)
    }

    fn read_newest_mark(
        &self,
        (name, partition): (&str, i32),
    ) -> Result<Option<Vec<u8>>, TopicError> {
        let topic = self.settings.topic_name(name);
        let (low, high) = fetch_watermarks(&self.consumer, &topic, partition)?;
        let mut back = TAIL_OFFSETS;
        let mut end = high;
        while end > low {
            let start = high.saturating_sub(back).max(low);
            let mut found = None;
            self.read_from_offset((&topic, partition), start, &mut |key, value| {
                if key == Some(MARK_ROW_KEY) {
                    found = value.map(<[u8]>::to_vec);
                }
            })?;
            if found.is_some() {
                return Ok(found);
            }
            end = start;
            back = back.saturating_mul(TAIL_GROWTH_FACTOR);
        }
        Ok(None)
    }

    /// Hands out each row of a state partition, in order.
    ///
    /// # Errors
    ///
    /// Kafka does not answer.
    pub fn read_rows(
        &self,
        (name, partition): (&str, i32),
        take: &mut RowHandler<'_>,
    ) -> Result<(), TopicError> {
        let topic = self.settings.topic_name(name);
        let (low, high) = fetch_watermarks(&self.consumer, &topic, partition)?;
        if low == high {
            return Ok(());
        }
        self.read_from_offset((&topic, partition), low, &mut |key, value| {
            take(key.unwrap_or_default(), value);
        })
    }

    /// Returns how many members the group of a lane has.
    ///
    /// # Errors
    ///
    /// Kafka does not answer.
    pub fn member_count(&self, lane: &str) -> Result<usize, TopicError> {
        Ok(self.fetch_member_ids(lane)?.len())
    }

    /// Returns the names of the static members in the group of a lane.
    ///
    /// # Errors
    ///
    /// Kafka does not answer.
    pub fn group_instance_ids(&self, lane: &str) -> Result<BTreeSet<String>, TopicError> {
        let ids = self.fetch_member_ids(lane)?;
        Ok(ids.iter().filter_map(|id| parse_group_instance_id(id)).collect())
    }

    fn fetch_member_ids(&self, lane: &str) -> Result<Vec<String>, TopicError> {
        let group = self.settings.group_id(lane);
        let found = self
            .consumer
            .fetch_group_list(Some(&group), CALL_TIMEOUT)
            .map_err(topic_error("look for members of a group"))?;
        let groups = found.groups().iter().filter(|one| one.name() == group);
        let members = groups.flat_map(|one| one.members());
        Ok(members.map(|member| member.id().to_owned()).collect())
    }

    /// Hands out the committed rows of a partition from an offset on, in order.
    fn read_from_offset(
        &self,
        (topic, partition): (&str, i32),
        start: i64,
        take: &mut MessageHandler<'_>,
    ) -> Result<(), TopicError> {
        self.leaders.learn(&self.consumer, topic);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(start))
            .map_err(topic_error("assign partitions"))?;
        self.consumer.assign(&list).map_err(topic_error("assign partitions"))?;
        let mut last_progress = Instant::now();
        while last_progress.elapsed() < SILENCE_TIMEOUT {
            match self.consumer.poll(POLL_TIMEOUT) {
                Some(Ok(message)) if message.partition() == partition => {
                    last_progress = Instant::now();
                    take(message.key(), message.payload());
                }
                Some(Err(KafkaError::PartitionEOF(of))) if of == partition => {
                    return self.consumer.unassign().map_err(topic_error("unassign partitions"));
                }
                Some(Err(error)) => tracing::warn!(topic, error = %error, "kafka: read"),
                Some(Ok(_)) | None => {}
            }
        }
        Err(TopicError::NoMoreMessages(topic.to_owned()))
    }
}

/// Returns the name of a static member, from whose name and a UUID Kafka makes the member
/// id.
fn parse_group_instance_id(member_id: &str) -> Option<String> {
    const UUID: usize = 36;
    let name = member_id.len().checked_sub(UUID + 1)?;
    let (name, uuid) = member_id.split_at_checked(name)?;
    uuid.starts_with('-').then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_instance_id_is_parsed_from_a_static_member_id() {
        let uuid = "0123abcd-0123-4567-89ab-0123456789ab";
        for (id, want) in [
            (format!("main-one-0-{uuid}"), Some("main-one-0")),
            (format!("a-{uuid}"), Some("a")),
            (uuid.to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(parse_group_instance_id(&id).as_deref(), want, "{id}");
        }
    }
}
