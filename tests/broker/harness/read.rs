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

const WAIT_TIMEOUT: Duration = Duration::from_secs(180);
/// How long the end of a committed transaction may stay unseen. A commit returns
/// when the coordinator has it; the markers in the partitions come afterwards, on a
/// busy machine or behind a broker that has just started by seconds.
const MARKER_TIMEOUT: Duration = Duration::from_secs(15);

/// Whether what is not committed is read too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    Committed,
    Uncommitted,
}

/// A message as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConsumedMessage {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) timestamp_ms: Option<i64>,
}

impl ConsumedMessage {
    fn from_message(message: &BorrowedMessage<'_>) -> Self {
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
    pub(crate) fn value_text(&self) -> Option<&str> {
        let value = self.value.as_deref()?;
        Some(std::str::from_utf8(value).unwrap())
    }
}

impl Broker {
    /// All that a read_committed reader sees of `topic`, partition by partition in
    /// the order of offsets. Transactions that are being committed are waited for;
    /// what an open one holds back is not there.
    #[track_caller]
    pub(crate) fn read_committed(&self, topic: &str) -> Vec<ConsumedMessage> {
        let reader = self.isolated_reader(Isolation::Committed);
        let partitions = fetch_partitions(&reader, topic);
        let partitions: Vec<_> = partitions.into_iter().map(|at| (topic, at)).collect();
        self.wait_for_markers(&reader, &partitions);
        drop(reader);
        self.read_visible(topic)
    }

    /// As [`Self::read_committed`], but what is being committed is not waited for.
    #[track_caller]
    pub(crate) fn read_visible(&self, topic: &str) -> Vec<ConsumedMessage> {
        self.read_topic(topic, Isolation::Committed)
    }

    /// All records of `topic`, those of open and aborted transactions too.
    #[track_caller]
    pub(crate) fn read_uncommitted(&self, topic: &str) -> Vec<ConsumedMessage> {
        self.read_topic(topic, Isolation::Uncommitted)
    }

    #[track_caller]
    fn read_topic(&self, topic: &str, isolation: Isolation) -> Vec<ConsumedMessage> {
        let reader = self.isolated_reader(isolation);
        let mut open = fetch_partitions(&reader, topic);
        let mut list = TopicPartitionList::new();
        for partition in &open {
            list.add_partition_offset(topic, *partition, Offset::Beginning).unwrap();
        }
        reader.assign(&list).unwrap();

        let start = Instant::now();
        let mut rows = Vec::new();
        while !open.is_empty() {
            assert!(
                start.elapsed() < WAIT_TIMEOUT,
                "expected the end of {topic} within {WAIT_TIMEOUT:?}, partitions {open:?} are not there yet"
            );
            match reader.poll(Duration::from_millis(100)) {
                // What came after the end would make the picture ragged.
                Some(Ok(message)) if !open.contains(&message.partition()) => {}
                Some(Ok(message)) => rows.push(ConsumedMessage::from_message(&message)),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open.remove(&partition);
                }
                Some(Err(error)) if is_transient(&error) => {}
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
    pub(crate) fn read_committed_topics(
        &self,
        topics: &[String],
    ) -> BTreeMap<String, Vec<ConsumedMessage>> {
        let reader = self.isolated_reader(Isolation::Committed);
        let mut partitions = Vec::new();
        for topic in topics {
            partitions.extend(
                fetch_partitions(&reader, topic).into_iter().map(|at| (topic.as_str(), at)),
            );
        }
        self.wait_for_markers(&reader, &partitions);
        let mut list = TopicPartitionList::new();
        for (topic, partition) in &partitions {
            list.add_partition_offset(topic, *partition, Offset::Beginning).unwrap();
        }
        reader.assign(&list).unwrap();
        let mut found: BTreeMap<String, Vec<ConsumedMessage>> = BTreeMap::new();
        // Each partition ends once, as nothing comes behind its end.
        let mut open = list.count();
        let start = Instant::now();
        while open > 0 {
            assert!(
                start.elapsed() < WAIT_TIMEOUT,
                "expected the ends of {topics:?} within {WAIT_TIMEOUT:?}"
            );
            match reader.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let rows = found.entry(message.topic().to_owned()).or_default();
                    rows.push(ConsumedMessage::from_message(&message));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
                Some(Err(error)) if is_transient(&error) => {}
                Some(Err(error)) => panic!("failed to read {topics:?}: {error}"),
                None => {}
            }
        }
        for rows in found.values_mut() {
            rows.sort_by_key(|row| (row.partition, row.offset));
        }
        found
    }

    /// The names of all topics that begin with `start`, in order.
    #[track_caller]
    pub(crate) fn topics_starting_with(&self, start: &str) -> Vec<String> {
        let reader = self.isolated_reader(Isolation::Committed);
        let metadata = eventually("the list of topics", WAIT_TIMEOUT, || {
            reader.fetch_metadata(None, Duration::from_secs(5)).ok()
        });
        let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(start)).collect();
        names.sort();
        names
    }

    /// Waits until a read_committed reader sees what lies in `topics` now.
    #[track_caller]
    pub(crate) fn wait_visible(&self, topics: &[String]) {
        let reader = self.isolated_reader(Isolation::Committed);
        for topic in topics {
            let partitions = fetch_partitions(&reader, topic);
            let partitions: Vec<_> =
                partitions.into_iter().map(|at| (topic.as_str(), at)).collect();
            self.wait_for_markers(&reader, &partitions);
        }
    }

    /// Waits until what lies in these partitions now is committed or aborted, at most
    /// for the time that markers take.
    #[track_caller]
    fn wait_for_markers(&self, committed: &BaseConsumer, partitions: &[(&str, i32)]) {
        let uncommitted = self.isolated_reader(Isolation::Uncommitted);
        let start = Instant::now();
        for (topic, partition) in partitions {
            let end = fetch_end(&uncommitted, topic, *partition);
            while fetch_end(committed, topic, *partition) < end && start.elapsed() < MARKER_TIMEOUT
            {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    fn isolated_reader(&self, isolation: Isolation) -> BaseConsumer {
        let level = match isolation {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        };
        self.client_config()
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
        fetch_partitions(&self.isolated_reader(Isolation::Committed), topic)
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
        let reader = self.isolated_reader(isolation);
        eventually(&format!("watermarks of {topic}"), WAIT_TIMEOUT, || {
            let timeout = Duration::from_secs(5);
            reader.fetch_watermarks(topic, partition, timeout).ok()
        })
    }

    /// What `group` has committed of `topic`: an offset per partition, `None`
    /// where there is none.
    #[track_caller]
    pub(crate) fn group_offsets(&self, group: &str, topic: &str) -> Vec<(i32, Option<i64>)> {
        let reader: BaseConsumer = self.client_config().set("group.id", group).create().unwrap();
        let mut asked = TopicPartitionList::new();
        for partition in self.partitions(topic) {
            asked.add_partition(topic, partition);
        }
        let found = eventually(&format!("offsets of {group}"), WAIT_TIMEOUT, || {
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
    pub(crate) fn count_group_members(&self, group: &str) -> usize {
        let reader = self.isolated_reader(Isolation::Committed);
        let list = eventually(&format!("group {group}"), WAIT_TIMEOUT, || {
            let timeout = Duration::from_secs(5);
            reader.fetch_group_list(Some(group), timeout).ok()
        });
        list.groups().iter().map(|found| found.members().len()).sum()
    }
}

/// The end of a partition as `reader` sees it.
#[track_caller]
fn fetch_end(reader: &BaseConsumer, topic: &str, partition: i32) -> i64 {
    eventually(&format!("end of {topic}"), WAIT_TIMEOUT, || {
        reader.fetch_watermarks(topic, partition, Duration::from_secs(5)).ok()
    })
    .1
}

#[track_caller]
fn fetch_partitions(reader: &BaseConsumer, topic: &str) -> BTreeSet<i32> {
    eventually(&format!("partitions of {topic}"), WAIT_TIMEOUT, || {
        let metadata = reader.fetch_metadata(Some(topic), Duration::from_secs(5)).ok()?;
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
fn is_transient(error: &KafkaError) -> bool {
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
