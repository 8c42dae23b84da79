//! The states of all lanes on Kafka, also of lanes that nobody runs any more: their
//! newest marks, and for who rearranges lanes their rows.
//!
//! A mark is the last row of each transaction. So the tail of a partition has the
//! newest one, behind at most what transactions leave there; where it has none, more
//! of the partition is read, up to all of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer};
use rdkafka::topic_partition_list::Offset;

use super::log::Logged;
use super::marks::MarkNumber;
use super::producer::{Deliveries, offer};
use super::settings::KafkaSettings;
use super::topics::{TopicError, failed};
use crate::transport::continuity::{MARK_KEY, Mark};

const CALL: Duration = Duration::from_secs(15);
/// How long nothing may come before the end of a partition.
const SILENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
/// So many offsets before its end a partition is read first, and how many times as
/// many next.
const TAIL: i64 = 64;
const FURTHER: i64 = 64;

/// The producer of a rearrangement has so long for the rows of one partition.
const TRANSACTION: Duration = Duration::from_secs(120);

/// Rows for one partition of one state. The topic has no prefix.
pub type Rows<'a> = (&'a str, &'a [(Vec<u8>, Vec<u8>)]);

/// Where a lane's group goes on in one partition: by source, without prefix.
#[derive(Clone, Debug)]
pub struct GroupPlace<'a> {
    pub lane: &'a str,
    pub partition: i32,
    pub mark: &'a Mark,
    pub sources: Vec<&'a str>,
}

/// Takes the key and the value of a row.
type TakeRow<'a> = dyn FnMut(&[u8], Option<&[u8]>) + 'a;

/// The same, where the message may have no key.
type TakeMessage<'a> = dyn FnMut(Option<&[u8]>, Option<&[u8]>) + 'a;

/// Writes states of lanes that nobody runs.
pub struct Rewriter<'a> {
    settings: &'a KafkaSettings,
    producer: BaseProducer<Deliveries>,
}

impl<'a> Rewriter<'a> {
    /// Connects, and ends what an earlier one left open.
    ///
    /// # Errors
    ///
    /// Where Kafka does not answer.
    pub fn open(settings: &'a KafkaSettings) -> Result<Self, TopicError> {
        let mut config = settings.publisher();
        config
            .set("transactional.id", settings.group("lanes-apply"))
            .set(
                "transaction.timeout.ms",
                TRANSACTION.as_millis().to_string(),
            )
            // The partition is given with each row.
            .set("message.timeout.ms", "60000");
        let producer: BaseProducer<Deliveries, NoCustomPartitioner> =
            BaseProducer::from_config_and_context(&config, Deliveries::default())
                .map_err(failed("build a producer"))?;
        producer
            .init_transactions(CALL)
            .map_err(failed("begin transactions"))?;
        Ok(Rewriter { settings, producer })
    }

    /// Writes rows of one partition of several states, and where groups go on
    /// there, all or nothing.
    ///
    /// # Errors
    ///
    /// Where Kafka refuses; then nothing was written.
    pub fn write(
        &self,
        partition: i32,
        rows: &[Rows<'_>],
        groups: &[GroupPlace<'_>],
    ) -> Result<(), TopicError> {
        self.producer
            .begin_transaction()
            .map_err(failed("begin a transaction"))?;
        let written = self.fill(partition, rows, groups);
        if written.is_err() {
            let _ = self.producer.abort_transaction(CALL);
        }
        written
    }

    fn fill(
        &self,
        partition: i32,
        rows: &[Rows<'_>],
        groups: &[GroupPlace<'_>],
    ) -> Result<(), TopicError> {
        for (name, rows) in rows {
            let topic = self.settings.topic(name);
            for (key, value) in *rows {
                let record = BaseRecord::to(&topic).partition(partition);
                self.send(record.key(key.as_slice()).payload(value.as_slice()))?;
            }
        }
        for group in groups {
            self.offsets(group)?;
        }
        self.producer
            .flush(TRANSACTION)
            .map_err(failed("write the states"))?;
        if let Some((topic, code)) = self.producer.context().take() {
            return Err(TopicError::Topic { topic, code });
        }
        self.producer
            .commit_transaction(TRANSACTION)
            .map_err(failed("commit"))
    }

    fn send(&self, record: BaseRecord<'_, [u8], [u8]>) -> Result<(), TopicError> {
        let mut waiting = Some(record);
        while let Some(record) = waiting {
            waiting = offer(&self.producer, record).map_err(failed("write a state"))?;
        }
        Ok(())
    }

    /// The most partitions that a source has.
    fn partitions_of(&self, sources: &[&str]) -> Result<i32, TopicError> {
        let mut most = 0;
        for source in sources {
            let topic = self.settings.topic(source);
            let metadata = self.producer.client().fetch_metadata(Some(&topic), CALL);
            let metadata = metadata.map_err(failed("look up a source"))?;
            let counts = metadata
                .topics()
                .iter()
                .map(|found| found.partitions().len());
            most = most.max(counts.max().unwrap_or(0));
        }
        Ok(i32::try_from(most).unwrap_or(i32::MAX))
    }

    /// Adds the offsets of a group that has no members.
    fn offsets(&self, group: &GroupPlace<'_>) -> Result<(), TopicError> {
        let partitions = self.partitions_of(&group.sources)?;
        let number = MarkNumber {
            number: group.mark.number,
            born_ms: group.mark.born_ms,
            partitions,
        };
        let mut list = TopicPartitionList::new();
        for (source, trail) in &group.mark.sources {
            if !group.sources.contains(&source.as_str()) {
                continue;
            }
            let topic = self.settings.topic(source);
            let mut place = list.add_partition(&topic, group.partition);
            place
                .set_offset(Offset::Offset(trail.next))
                .map_err(failed("set an offset"))?;
            place.set_metadata(number.to_string());
        }
        if list.count() == 0 {
            return Ok(());
        }
        let config = self.settings.reader(&self.settings.group(group.lane));
        let consumer: BaseConsumer<Logged> =
            BaseConsumer::from_config_and_context(&config, Logged::new("group"))
                .map_err(failed("build a consumer"))?;
        let Some(member) = consumer.group_metadata() else {
            return Err(TopicError::Settings("a group without metadata".to_owned()));
        };
        self.producer
            .send_offsets_to_transaction(&list, &member, CALL)
            .map_err(failed("set the group's offsets"))
    }
}

/// Reads states.
pub struct States<'a> {
    settings: &'a KafkaSettings,
    consumer: BaseConsumer<Logged>,
}

/// The state of one lane: the name of its topic without any prefix, and how many
/// partitions it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateTopic {
    pub name: String,
    pub partitions: i32,
}

impl<'a> States<'a> {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Wrong settings.
    pub fn open(settings: &'a KafkaSettings) -> Result<Self, TopicError> {
        let config = settings.reader(&settings.group("read"));
        let consumer = BaseConsumer::from_config_and_context(&config, Logged::new("states"))
            .map_err(failed("build a consumer"))?;
        Ok(States { settings, consumer })
    }

    /// Lists the topics whose names begin with `start`, which has no prefix.
    ///
    /// # Errors
    ///
    /// Where Kafka does not answer.
    pub fn list(&self, start: &str) -> Result<Vec<StateTopic>, TopicError> {
        let metadata = self
            .consumer
            .fetch_metadata(None, CALL)
            .map_err(failed("list topics"))?;
        let start = self.settings.topic(start);
        let prefix = &*self.settings.topic_prefix;
        let topics = metadata.topics().iter();
        let found = topics.filter(|topic| topic.name().starts_with(&start));
        Ok(found
            .map(|topic| StateTopic {
                name: topic.name()[prefix.len()..].to_owned(),
                partitions: i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX),
            })
            .collect())
    }

    /// Returns the newest mark of each partition of a state that has one.
    ///
    /// # Errors
    ///
    /// Where Kafka does not answer.
    pub fn marks(&self, state: &StateTopic) -> Result<Vec<Vec<u8>>, TopicError> {
        let mut marks = Vec::new();
        for partition in 0..state.partitions {
            marks.extend(self.mark((&state.name, partition))?);
        }
        Ok(marks)
    }

    fn mark(&self, (name, partition): (&str, i32)) -> Result<Option<Vec<u8>>, TopicError> {
        let topic = self.settings.topic(name);
        let (low, high) = self
            .consumer
            .fetch_watermarks(&topic, partition, CALL)
            .map_err(failed("read the ends of a state"))?;
        let mut back = TAIL;
        let mut end = high;
        while end > low {
            let start = high.saturating_sub(back).max(low);
            let mut found = None;
            self.read((&topic, partition), start, &mut |key, value| {
                if key == Some(MARK_KEY) {
                    found = value.map(<[u8]>::to_vec);
                }
            })?;
            if found.is_some() {
                return Ok(found);
            }
            end = start;
            back = back.saturating_mul(FURTHER);
        }
        Ok(None)
    }

    /// Hands each row of a partition of a state to `take`, in their order.
    ///
    /// # Errors
    ///
    /// Where Kafka does not answer.
    pub fn rows(
        &self,
        (name, partition): (&str, i32),
        take: &mut TakeRow<'_>,
    ) -> Result<(), TopicError> {
        let topic = self.settings.topic(name);
        let (low, high) = self
            .consumer
            .fetch_watermarks(&topic, partition, CALL)
            .map_err(failed("read the ends of a state"))?;
        if low == high {
            return Ok(());
        }
        self.read((&topic, partition), low, &mut |key, value| {
            take(key.unwrap_or_default(), value);
        })
    }

    /// Returns how many members the group of a lane has.
    ///
    /// # Errors
    ///
    /// Where Kafka does not answer.
    pub fn members(&self, lane: &str) -> Result<usize, TopicError> {
        Ok(self.member_ids(lane)?.len())
    }

    /// Returns the names of the static members in the group of a lane.
    ///
    /// # Errors
    ///
    /// Where Kafka does not answer.
    pub fn instance_ids(&self, lane: &str) -> Result<BTreeSet<String>, TopicError> {
        let ids = self.member_ids(lane)?;
        Ok(ids.iter().filter_map(|id| instance_id(id)).collect())
    }

    fn member_ids(&self, lane: &str) -> Result<Vec<String>, TopicError> {
        let group = self.settings.group(lane);
        let found = self
            .consumer
            .fetch_group_list(Some(&group), CALL)
            .map_err(failed("look for members of a group"))?;
        let groups = found.groups().iter().filter(|one| one.name() == group);
        let members = groups.flat_map(|one| one.members());
        Ok(members.map(|member| member.id().to_owned()).collect())
    }

    /// Hands each row of a partition to `take` that is committed, from an offset to
    /// the end, in their order.
    fn read(
        &self,
        (topic, partition): (&str, i32),
        start: i64,
        take: &mut TakeMessage<'_>,
    ) -> Result<(), TopicError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(start))
            .map_err(failed("assign partitions"))?;
        self.consumer
            .assign(&list)
            .map_err(failed("assign partitions"))?;
        let mut heard = Instant::now();
        while heard.elapsed() < SILENCE {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) if message.partition() == partition => {
                    heard = Instant::now();
                    take(message.key(), message.payload());
                }
                Some(Err(KafkaError::PartitionEOF(of))) if of == partition => {
                    return self
                        .consumer
                        .unassign()
                        .map_err(failed("unassign partitions"));
                }
                Some(Err(error)) => tracing::warn!(topic, error = %error, "kafka: read"),
                Some(Ok(_)) | None => {}
            }
        }
        Err(TopicError::Silent(topic.to_owned()))
    }
}

/// Returns the name of a static member: Kafka makes a member's id of the name and a
/// UUID.
fn instance_id(member_id: &str) -> Option<String> {
    const UUID: usize = 36;
    let name = member_id.len().checked_sub(UUID + 1)?;
    let (name, uuid) = member_id.split_at_checked(name)?;
    uuid.starts_with('-').then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_static_member_is_known_by_its_name() {
        let uuid = "0123abcd-0123-4567-89ab-0123456789ab";
        for (id, want) in [
            (format!("main-one-0-{uuid}"), Some("main-one-0")),
            (format!("a-{uuid}"), Some("a")),
            (uuid.to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(instance_id(&id).as_deref(), want, "{id}");
        }
    }
}
