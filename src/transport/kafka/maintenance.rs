//! Appends to idle outputs, so that Kafka compacts them.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::connect::{TopicLookup, look_up_topic};
use super::idle_compaction::OutputPartition;
use super::start_offsets::fetch_bound_offsets;
use super::{CALL_TIMEOUT, GroupStage, KafkaTransport};
use crate::message::Fault;

/// How often to look for idle outputs.
const MAINTAIN_INTERVAL: Duration = Duration::from_secs(1);

impl KafkaTransport {
    /// Appends a null to outputs that were idle for so long that retractions would not be
    /// compacted.
    pub(super) fn compact_idle_outputs(&mut self, now_ms: i64) -> Result<bool, Fault> {
        let was_recent =
            self.maintained_at.is_some_and(|asked| asked.elapsed() < MAINTAIN_INTERVAL);
        if !matches!(self.stage, GroupStage::Running) || was_recent {
            return Ok(false);
        }
        self.maintained_at = Some(Instant::now());
        if self.has_unknown_output_writes {
            self.has_unknown_output_writes = !self.assume_outputs_dirty(now_ms);
        }
        self.expand_due_outputs(now_ms);
        let due = self.producer.idle_compaction.due_partitions(now_ms);
        let Some(idle) = self.find_idle(&due) else {
            return Ok(false);
        };
        for ((output_partition, _), idle) in due.into_iter().zip(&idle) {
            if *idle {
                self.producer.publish_idle_null(output_partition, now_ms)?;
            } else {
                self.producer.idle_compaction.clear(output_partition, now_ms);
            }
        }
        Ok(idle.contains(&true))
    }

    /// Returns the partitions with messages of the `wanted` outputs, or `None` if Kafka
    /// does not answer.
    fn nonempty_partitions(
        &self,
        wanted: impl Fn(usize) -> bool,
    ) -> Option<BTreeMap<usize, Vec<i32>>> {
        let mut output_partitions = Vec::new();
        let outputs = self.producer.recipient_topics().filter(|(place, _)| wanted(*place));
        for (place, topic) in outputs {
            let TopicLookup::Partitions(partitions) =
                look_up_topic(&self.read_uncommitted_client, topic)
            else {
                return None;
            };
            output_partitions.extend((0..partitions).map(|partition| (place, topic, partition)));
        }
        let partitions =
            || output_partitions.iter().map(|&(_, topic, partition)| (topic, partition));
        let edge = |edge| fetch_bound_offsets(&self.read_committed_client, partitions(), edge).ok();
        let (starts, ends) = (edge(Offset::Beginning)?, edge(Offset::End)?);
        let offset = |list: &TopicPartitionList, topic: &str, partition| {
            list.find_partition(topic, partition).map(|found| found.offset())
        };
        let mut filled = BTreeMap::<usize, Vec<i32>>::new();
        for (place, topic, partition) in output_partitions {
            if offset(&starts, topic, partition) != offset(&ends, topic, partition) {
                filled.entry(place).or_default().push(partition);
            }
        }
        Some(filled)
    }

    /// Marks every output partition that has messages as one that may need an append.
    /// Returns false if Kafka does not answer.
    fn assume_outputs_dirty(&mut self, now_ms: i64) -> bool {
        let Some(filled) = self.nonempty_partitions(|_| true) else {
            return false;
        };
        for (place, partitions) in filled {
            for partition in partitions {
                self.producer.idle_compaction.assume_dirty((place, partition), now_ms);
            }
        }
        true
    }

    /// Expands the outputs that were written to a segment's age ago. Without an answer they
    /// are expanded later.
    fn expand_due_outputs(&mut self, now_ms: i64) {
        let due_outputs = self.producer.idle_compaction.due_outputs(now_ms);
        if due_outputs.is_empty() {
            return;
        }
        let Some(filled) = self.nonempty_partitions(|place| due_outputs.contains(&place)) else {
            return;
        };
        for place in due_outputs {
            let partitions = filled.get(&place).map_or(&[][..], Vec::as_slice);
            self.producer.idle_compaction.expand(place, partitions);
        }
    }

    /// Returns whether nothing was appended since the time that each partition needs it, or
    /// `None` if Kafka does not answer.
    fn find_idle(&self, due: &[(OutputPartition, i64)]) -> Option<Vec<bool>> {
        if due.is_empty() {
            return None;
        }
        let topics: HashMap<usize, &str> = self.producer.recipient_topics().collect();
        let mut times = TopicPartitionList::new();
        for ((place, partition), from_ms) in due {
            let topic = topics.get(place)?;
            let from = Offset::Offset((*from_ms).max(0));
            times.add_partition_offset(topic, *partition, from).ok()?;
        }
        let found = self.read_committed_client.offsets_for_times(times, CALL_TIMEOUT).ok()?;
        let idle = |((place, partition), _): &(OutputPartition, i64)| {
            let found = found.find_partition(topics.get(place)?, *partition)?;
            found.error().ok()?;
            Some(!matches!(found.offset(), Offset::Offset(_)))
        };
        due.iter().map(idle).collect()
    }
}
