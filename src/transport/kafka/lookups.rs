//! The lookup topics of an intake, which every worker reads whole and goes on reading.
//!
//! Joins no group and commits nothing: a start reads them from their beginnings.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::Offset;

use super::connect::Connection;
use super::fault;
use super::group_member::{GroupMemberContext, Wakeup};
use super::log::LoggingContext;
use super::owned_partition::{OwnedPartition, PartitionProgress, RecordReceiver};
use super::source::KafkaSource;
use super::start_offsets::fetch_bound_offsets;
use crate::message::{Cause, Fault, Input};
use crate::transport::{PollFlow, ReadOutcome};

/// How many rows a partition hands out before the next one's turn.
const CHUNK_RECORDS: usize = 1_000;
/// How long to wait for rows at a time.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How often to warn about rows that an open transaction hides.
const WARN_INTERVAL: Duration = Duration::from_secs(30);

/// The third consumer of an intake's worker.
pub(super) struct LookupReader {
    // Dropped before the consumer.
    partitions: Vec<OwnedPartition>,
    consumer: Arc<BaseConsumer<GroupMemberContext>>,
    /// Sees the ends beyond open transactions.
    read_uncommitted_client: Arc<BaseConsumer<LoggingContext>>,
    wakeup: Arc<Wakeup>,
    sources: Vec<KafkaSource>,
}

impl LookupReader {
    /// Takes all partitions of `sources`, which are gates, from their beginnings.
    pub(super) fn open(
        connection: &Connection<'_>,
        group: &str,
        sources: Vec<KafkaSource>,
    ) -> Result<Self, Fault> {
        let config = connection.settings.reader_config(group);
        let consumer: BaseConsumer<GroupMemberContext> =
            BaseConsumer::from_config_and_context(&config, GroupMemberContext::default())
                .map_err(|error| Fault::stop(Cause::at_step("lookups", error)))?;
        let mut reader = Self {
            partitions: Vec::new(),
            consumer: Arc::new(consumer),
            read_uncommitted_client: Arc::clone(connection.client),
            wakeup: Arc::new(Wakeup::default()),
            sources,
        };
        let starts = connection.retry_until_connected(|| {
            let places = reader.all_partitions();
            fetch_bound_offsets(connection.client, places, Offset::Beginning)
                .map_err(|error| format!("beginnings of lookups: {error}"))
        })?;
        reader.assign(&starts)?;
        Ok(reader)
    }

    fn all_partitions(&self) -> impl Iterator<Item = (&str, i32)> {
        let sources = self.sources.iter();
        sources.flat_map(|source| (0..source.partition_count).map(|one| (&*source.topic, one)))
    }

    /// Splits off the queue of each partition before anything is fetched.
    fn assign(&mut self, starts: &TopicPartitionList) -> Result<(), Fault> {
        for source in &self.sources {
            for partition in 0..source.partition_count {
                let start = starts.find_partition(&source.topic, partition);
                let Some(Offset::Offset(start)) = start.map(|start| start.offset()) else {
                    return Err(Fault::transport_lost("lookups: a partition has no beginning"));
                };
                let queue = self.consumer.split_partition_queue(&source.topic, partition);
                let mut queue = queue
                    .ok_or_else(|| Fault::transport_lost("lookups: no queue for a partition"))?;
                let wakeup = Arc::clone(&self.wakeup);
                queue.set_nonempty_callback(move || wakeup.notify());
                let progress = PartitionProgress::new(source.new_progress(start), None);
                self.partitions.push(OwnedPartition::new(partition, source, queue, progress));
            }
        }
        self.consumer
            .assign(starts)
            .map_err(|error| Fault::transport_lost(Cause::at_step("lookups", error)))
    }

    pub(super) fn sources(&self) -> &[KafkaSource] {
        &self.sources
    }

    /// Hands out the rows up to the ends that the topics have now, open transactions included:
    /// waits for those.
    ///
    /// If interrupted, what was handed out counts, and the next call goes on behind it.
    /// `should_continue` gets how long no row has come.
    pub(super) fn read_to_ends(
        &mut self,
        take: &mut dyn FnMut(Input<'_>),
        should_continue: &mut dyn FnMut(Duration) -> Result<bool, Fault>,
    ) -> Result<ReadOutcome, Fault> {
        let began = Instant::now();
        while !self.set_ends()? {
            if !should_continue(began.elapsed())? {
                return Ok(ReadOutcome::Interrupted);
            }
            self.wakeup.wait(POLL_INTERVAL);
        }
        let mut progress_at = Instant::now();
        let mut warned_at = progress_at;
        loop {
            self.serve_events()?;
            let handed = self.deliver_round(take)?;
            if self.partitions.iter().all(OwnedPartition::has_reached_gate_end) {
                self.partitions.iter_mut().for_each(OwnedPartition::clear_batch_end);
                return Ok(ReadOutcome::Done);
            }
            if handed > 0 {
                progress_at = Instant::now();
                warned_at = progress_at;
            }
            if !should_continue(progress_at.elapsed())? {
                return Ok(ReadOutcome::Interrupted);
            }
            if handed > 0 {
                continue;
            }
            if warned_at.elapsed() >= WARN_INTERVAL {
                warned_at = Instant::now();
                self.warn_of_hidden_rows();
            }
            self.wakeup.wait(POLL_INTERVAL);
        }
    }

    /// Fetches the ends of all partitions. Returns false without an answer.
    fn set_ends(&mut self) -> Result<bool, Fault> {
        let ends =
            fetch_bound_offsets(&self.read_uncommitted_client, self.all_partitions(), Offset::End);
        let ends = match ends {
            Ok(ends) => ends,
            Err(error) => {
                if let Some(fault) = fault::classify_consumer_error(&error, None, false) {
                    return Err(fault);
                }
                tracing::warn!(error = %error, "kafka: the ends of the lookups are not known yet");
                return Ok(false);
            }
        };
        for part in &mut self.partitions {
            let end = ends.find_partition(&part.topic, part.source_partition.1);
            match end.map(|end| end.offset()) {
                Some(Offset::Offset(end)) => part.set_batch_end(end),
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    fn deliver_round(&mut self, take: &mut dyn FnMut(Input<'_>)) -> Result<usize, Fault> {
        let mut handed = 0;
        let mut take_all = |input: Input<'_>| {
            take(input);
            PollFlow::Continue
        };
        for part in &mut self.partitions {
            let mut receiver =
                RecordReceiver { misplaced_messages: &mut Vec::new(), take: &mut take_all };
            let context = self.consumer.context();
            handed += part.deliver_records(CHUNK_RECORDS, context, &mut receiver)?.0;
            part.commit_position();
        }
        Ok(handed)
    }

    fn warn_of_hidden_rows(&self) {
        for part in self.partitions.iter().filter(|part| !part.has_reached_gate_end()) {
            tracing::warn!(
                topic = part.topic,
                partition = part.source_partition.1,
                offset = part.position,
                "kafka: an open transaction hides rows of a lookup that are needed first"
            );
        }
    }

    /// Serves librdkafka's log and errors.
    pub(super) fn serve_events(&self) -> Result<(), Fault> {
        while let Some(event) = self.consumer.poll(Duration::ZERO) {
            let Err(error) = event else {
                return Err(Fault::transport_lost(
                    "lookups: a row arrived outside its partition's queue",
                ));
            };
            let fatal = self.consumer.client().fatal_error();
            if let Some(fault) = fault::classify_consumer_error(&error, fatal, false) {
                return Err(fault);
            }
            let is_absent = matches!(
                error.rdkafka_error_code(),
                Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)
            );
            if is_absent {
                // Opening anew says which one.
                return Err(Fault::transport_lost("lookups: a topic is gone"));
            }
        }
        Ok(())
    }
}

impl Drop for LookupReader {
    /// Lets librdkafka's own drop give up the partitions without waiting for an answer.
    fn drop(&mut self) {
        self.consumer.context().give_up();
        if let Err(error) = self.consumer.unassign() {
            tracing::debug!(error = %error, "kafka: lookups, while closing");
        }
    }
}
