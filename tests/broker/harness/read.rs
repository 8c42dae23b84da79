//! Reading whole topics, as a partner and as an auditor would.
//!
//! Commit markers take offsets, so an end is never found by counting: a
//! partition is read when the broker says so, and all of a topic when that was
//! said of each of its partitions after the reading began.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::{Broker, eventually};

const WAIT: Duration = Duration::from_secs(180);

/// Whether what is not committed is read too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    Committed,
    Uncommitted,
}

/// A message as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) timestamp_ms: Option<i64>,
}

impl Row {
    fn of(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            headers
                .iter()
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_owned)))
                .collect()
        });
        Self {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_owned),
            value: message.payload().map(<[u8]>::to_owned),
            headers,
            timestamp_ms: message.timestamp().to_millis(),
        }
    }

    /// The key as text; empty where there is none.
    pub(crate) fn key_text(&self) -> &str {
        std::str::from_utf8(self.key.as_deref().unwrap_or_default()).unwrap()
    }

    /// The value as text; `None` is a tombstone.
    pub(crate) fn text(&self) -> Option<&str> {
        let value = self.value.as_deref()?;
        Some(std::str::from_utf8(value).unwrap())
    }
}

impl Broker {
    /// All that a read_committed reader sees of `topic` now, partition by
    /// partition in the order of offsets.
    #[track_caller]
    pub(crate) fn committed(&self, topic: &str) -> Vec<Row> {
        self.read(topic, Isolation::Committed)
    }

    /// All records of `topic`, those of open and aborted transactions too.
    #[track_caller]
    pub(crate) fn uncommitted(&self, topic: &str) -> Vec<Row> {
        self.read(topic, Isolation::Uncommitted)
    }

    #[track_caller]
    fn read(&self, topic: &str, isolation: Isolation) -> Vec<Row> {
        let reader = self.reader(isolation);
        let mut open = partitions(&reader, topic);
        let mut list = TopicPartitionList::new();
        for partition in &open {
            list.add_partition_offset(topic, *partition, Offset::Beginning)
                .unwrap();
        }
        reader.assign(&list).unwrap();

        let start = Instant::now();
        let mut rows = Vec::new();
        while !open.is_empty() {
            assert!(
                start.elapsed() < WAIT,
                "expected the end of {topic} within {WAIT:?}, partitions {open:?} are not there yet"
            );
            match reader.poll(Duration::from_millis(100)) {
                // What came after the end would make the picture ragged.
                Some(Ok(message)) if !open.contains(&message.partition()) => {}
                Some(Ok(message)) => rows.push(Row::of(&message)),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open.remove(&partition);
                }
                Some(Err(error)) if passing(&error) => {}
                Some(Err(error)) => panic!("failed to read {topic}: {error}"),
                None => {}
            }
        }
        rows.sort_by_key(|row| (row.partition, row.offset));
        rows
    }

    /// What a read_committed reader sees now of many topics that nobody writes
    /// to meanwhile, by topic.
    #[track_caller]
    pub(crate) fn committed_of(&self, topics: &[String]) -> BTreeMap<String, Vec<Row>> {
        let reader = self.reader(Isolation::Committed);
        let mut list = TopicPartitionList::new();
        for topic in topics {
            for partition in partitions(&reader, topic) {
                list.add_partition_offset(topic, partition, Offset::Beginning)
                    .unwrap();
            }
        }
        reader.assign(&list).unwrap();
        let mut found: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        // Each partition ends once, as nothing comes behind its end.
        let mut open = list.count();
        let start = Instant::now();
        while open > 0 {
            assert!(
                start.elapsed() < WAIT,
                "expected the ends of {topics:?} within {WAIT:?}"
            );
            match reader.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let rows = found.entry(message.topic().to_owned()).or_default();
                    rows.push(Row::of(&message));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
                Some(Err(error)) if passing(&error) => {}
                Some(Err(error)) => panic!("failed to read {topics:?}: {error}"),
                None => {}
            }
        }
        for rows in found.values_mut() {
            rows.sort_by_key(|row| (row.partition, row.offset));
        }
        found
    }

    fn reader(&self, isolation: Isolation) -> BaseConsumer {
        let level = match isolation {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        };
        self.client()
            .set("group.id", "zeef-test-reader")
            .set("isolation.level", level)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            // The end is told with the answer to a fetch that finds nothing.
            .set("fetch.wait.max.ms", "10")
            .create()
            .unwrap()
    }

    /// The partitions of `topic`, waited for while it has none.
    #[track_caller]
    pub(crate) fn partitions(&self, topic: &str) -> BTreeSet<i32> {
        partitions(&self.reader(Isolation::Committed), topic)
    }

    /// First offset and end of a partition. The end for `Committed` is that of
    /// the last transaction before the first open one.
    #[track_caller]
    pub(crate) fn watermarks(
        &self,
        topic: &str,
        partition: i32,
        isolation: Isolation,
    ) -> (i64, i64) {
        let reader = self.reader(isolation);
        eventually(&format!("watermarks of {topic}"), WAIT, || {
            let timeout = Duration::from_secs(5);
            reader.fetch_watermarks(topic, partition, timeout).ok()
        })
    }

    /// What `group` has committed of `topic`: an offset per partition, `None`
    /// where there is none.
    #[track_caller]
    pub(crate) fn group_offsets(&self, group: &str, topic: &str) -> Vec<(i32, Option<i64>)> {
        let reader: BaseConsumer = self.client().set("group.id", group).create().unwrap();
        let mut asked = TopicPartitionList::new();
        for partition in self.partitions(topic) {
            asked.add_partition(topic, partition);
        }
        let found = eventually(&format!("offsets of {group}"), WAIT, || {
            let timeout = Duration::from_secs(5);
            reader.committed_offsets(asked.clone(), timeout).ok()
        });
        found
            .elements()
            .iter()
            .map(|element| match element.offset() {
                Offset::Offset(offset) => (element.partition(), Some(offset)),
                _ => (element.partition(), None),
            })
            .collect()
    }

    /// How many members `group` has.
    #[track_caller]
    pub(crate) fn group_members(&self, group: &str) -> usize {
        let reader = self.reader(Isolation::Committed);
        let list = eventually(&format!("group {group}"), WAIT, || {
            let timeout = Duration::from_secs(5);
            reader.fetch_group_list(Some(group), timeout).ok()
        });
        list.groups()
            .iter()
            .map(|found| found.members().len())
            .sum()
    }
}

#[track_caller]
fn partitions(reader: &BaseConsumer, topic: &str) -> BTreeSet<i32> {
    eventually(&format!("partitions of {topic}"), WAIT, || {
        let metadata = reader
            .fetch_metadata(Some(topic), Duration::from_secs(5))
            .ok()?;
        let partitions: BTreeSet<i32> = metadata
            .topics()
            .iter()
            .flat_map(|found| found.partitions())
            .map(|partition| partition.id())
            .collect();
        (!partitions.is_empty()).then_some(partitions)
    })
}

/// Whether librdkafka goes on by itself after this error.
fn passing(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::OperationTimedOut
        )
    )
}
