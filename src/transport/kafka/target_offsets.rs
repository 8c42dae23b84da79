//! The end of a bounded run: everything that lay in the sources at its start is committed,
//! by whoever owned it.
//!
//! Never counts records: markers take offsets too.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;
use rdkafka::topic_partition_list::Offset;

use super::group_member::GroupMemberContext;
use super::log::LoggingContext;
use super::source::{KafkaSource, SourcePartition};
use super::start_offsets::{fetch_bound_offsets, fetch_committed_offsets};
use crate::message::Fault;

/// How often to query the group's offsets.
const QUERY_INTERVAL: Duration = Duration::from_millis(200);

/// The ends that the sources had at the start.
pub(super) struct TargetOffsets {
    targets: HashMap<SourcePartition, i64>,
    queried_at: Option<Instant>,
}

impl TargetOffsets {
    /// Captures the high watermarks. Records of open transactions lie below them: the run
    /// waits for those transactions, as committed records may lie behind them.
    pub(super) fn capture(
        read_uncommitted_client: &BaseConsumer<LoggingContext>,
        sources: &[KafkaSource],
    ) -> Result<Self, String> {
        let partitions = sources
            .iter()
            .flat_map(|source| (0..source.partition_count).map(|p| (&*source.topic, p)));
        let found = fetch_bound_offsets(read_uncommitted_client, partitions, Offset::End)
            .map_err(|error| format!("ends: {error}"))?;
        let mut wanted = HashMap::new();
        for element in found.elements() {
            let source = sources.iter().find(|source| source.topic == element.topic());
            match (source, element.offset()) {
                (Some(source), Offset::Offset(end)) => {
                    wanted.insert((source.id, element.partition()), end);
                }
                _ => return Err(format!("no end of topic `{}`", element.topic())),
            }
        }
        Ok(Self { targets: wanted, queried_at: None })
    }

    /// Returns whether every partition is committed up to its end. Nobody is asked while
    /// the worker's own committed positions are not there yet.
    pub(super) fn are_committed(
        &mut self,
        consumer: &BaseConsumer<GroupMemberContext>,
        sources: &[KafkaSource],
        own_positions: &HashMap<SourcePartition, i64>,
    ) -> Result<bool, Fault> {
        let behind = |(place, position): (&SourcePartition, &i64)| {
            self.targets.get(place).is_some_and(|end| position < end)
        };
        let asked_lately = self.queried_at.is_some_and(|asked| asked.elapsed() < QUERY_INTERVAL);
        if own_positions.iter().any(behind) || asked_lately {
            return Ok(false);
        }
        self.queried_at = Some(Instant::now());
        let Some(committed) = fetch_committed_offsets(consumer, sources)? else {
            return Ok(false);
        };
        Ok(self
            .targets
            .iter()
            .all(|(place, end)| committed.get(place).is_some_and(|found| found.offset >= *end)))
    }
}
