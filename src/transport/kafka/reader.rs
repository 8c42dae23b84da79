//! Reads partitions of sources and states again: from their beginning, or single records.
//!
//! Joins no group, commits nothing and moves no position.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::Offset;

use super::connect::LeaderLookups;
use super::fault;
use super::log::LoggingContext;
use super::settings::KafkaSettings;
use super::source::{SourcePartition, message_to_input};
use super::start_offsets::fetch_bound_offsets;
use crate::message::{AbortReason, Cause, Coordinates, Fault, Input};
use crate::transport::ReadOutcome;

/// Ask whether to continue every this many records.
const CONTINUE_CHECK_RECORDS: usize = 1000;
const POLL_TIMEOUT: Duration = Duration::from_millis(20);
/// How often to query the stable end while a transaction is open.
const BOUND_QUERY_INTERVAL: Duration = Duration::from_millis(100);
/// How long to wait for records that were there before, and how often to warn about an
/// open transaction.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Below this distance reading on is faster than a seek.
const SEEK_MIN_OFFSETS: i64 = 5_000;

/// A client for metadata and offsets.
type MetadataClient = Arc<BaseConsumer<LoggingContext>>;

/// The second consumer of a worker.
pub(super) struct PartitionReader {
    consumer: BaseConsumer<LoggingContext>,
    /// Sees the ends beyond open transactions.
    read_uncommitted_client: MetadataClient,
    /// Sees the stable ends.
    read_committed_client: MetadataClient,
    leaders: LeaderLookups,
}

/// How much of a partition to read.
#[derive(Clone, Copy, Debug)]
pub(super) enum ReadRange {
    /// Up to the high watermark it has when the read begins.
    Whole,
    /// The last so many offsets below the high watermark.
    Tail(i64),
    /// Up to a position below which records were handed out before.
    UpTo(i64),
}

/// A partition to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadRequest<'a> {
    pub topic: &'a str,
    pub source_partition: SourcePartition,
    pub range: ReadRange,
}

/// The records of one partition to read again.
pub(super) struct WantedRecords<'a> {
    pub topic: String,
    pub source_partition: SourcePartition,
    /// In ascending order.
    pub coordinates: &'a [Coordinates],
}

impl PartitionReader {
    pub(super) fn open(
        settings: &KafkaSettings,
        group: &str,
        read_uncommitted_client: MetadataClient,
        read_committed_client: MetadataClient,
    ) -> Result<Self, Fault> {
        let config = settings.reader_config(group);
        let consumer =
            BaseConsumer::from_config_and_context(&config, LoggingContext::new("reader"))
                .map_err(|error| Fault::stop(Cause::at_step("reader", error)))?;
        let leaders = LeaderLookups::default();
        Ok(Self { consumer, read_uncommitted_client, read_committed_client, leaders })
    }

    /// Serves librdkafka's log.
    pub(super) fn serve_log(&self) {
        let _ = self.consumer.poll(Duration::ZERO);
    }

    fn assign(&self, topic: &str, partition: i32, start: i64) -> Result<(), Fault> {
        self.leaders.learn(&self.consumer, topic);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(start))
            .and_then(|()| self.consumer.assign(&list))
            .map_err(|error| Fault::transport_lost(Cause::at_step("reader", error)))
    }

    fn unassign(&self) -> Result<(), Fault> {
        self.consumer
            .unassign()
            .map_err(|error| Fault::transport_lost(Cause::at_step("reader", error)))
    }

    /// Polls without waiting first, which saves two clock reads per record.
    fn poll(&self) -> Option<Result<BorrowedMessage<'_>, KafkaError>> {
        self.consumer.poll(Duration::ZERO).or_else(|| self.consumer.poll(POLL_TIMEOUT))
    }

    /// Seeks to the `next` wanted record if it is far from the `present` one.
    fn seek_to_next(
        &self,
        wanted: &WantedRecords<'_>,
        present: i64,
        next: Option<i64>,
    ) -> Result<(), Fault> {
        let Some(next) = next.filter(|next| next - present > SEEK_MIN_OFFSETS) else {
            return Ok(());
        };
        let (topic, partition) = (&wanted.topic, wanted.source_partition.1);
        let sought = self.consumer.seek(topic, partition, Offset::Offset(next), CALL_TIMEOUT);
        // A partition that is not fetching yet cannot seek.
        sought.or_else(|_| self.assign(topic, partition, next))
    }
}

/// A reader in use. Every read ends as [`ReadOutcome::Interrupted`] once
/// `should_continue` returns false.
pub(super) struct ReaderSession<'a> {
    pub reader: &'a PartitionReader,
    pub should_continue: &'a mut dyn FnMut() -> Result<bool, Fault>,
}

impl<'a> ReaderSession<'a> {
    /// Reads a partition.
    ///
    /// Begins only once the stable end has reached the end of the range: until then an
    /// open transaction hides committed records. After that the first end of partition
    /// lies at or above it, whatever markers and holes there are.
    ///
    /// # Errors
    ///
    /// With [`ReadRange::UpTo`], [`Fault::Unanswered`] if the partition ends below that
    /// position for too long.
    pub(super) fn read(
        &mut self,
        request: ReadRequest<'_>,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<ReadOutcome, Fault> {
        let Some((start, end)) = self.await_offsets(request)? else {
            return Ok(ReadOutcome::Interrupted);
        };
        if start >= end {
            return Ok(ReadOutcome::Done);
        }
        self.reader.assign(request.topic, request.source_partition.1, start)?;
        let read = self.read_assigned(request, end, &mut |input| match request.range {
            // Behind markers at the position, a later record comes too.
            ReadRange::UpTo(position) if input.offset >= position => {}
            _ => take(input),
        });
        self.reader.unassign()?;
        read
    }

    /// Returns first offset and end of the range once they are readable, or `None` if
    /// interrupted.
    fn await_offsets(&mut self, request: ReadRequest<'_>) -> Result<Option<(i64, i64)>, Fault> {
        let ReadRequest { topic, source_partition: (_, partition), range } = request;
        let reader: &'a PartitionReader = self.reader;
        let stable = |edge| fetch_bound(&reader.read_committed_client, topic, partition, edge);
        let end = match range {
            ReadRange::UpTo(position) => self.retry_until_timeout(topic, || {
                stable(Offset::End).filter(|end| *end >= position).map(|_| position)
            })?,
            ReadRange::Whole | ReadRange::Tail(_) => self.retry_until_answered(|| {
                fetch_bound(&reader.read_uncommitted_client, topic, partition, Offset::End)
            })?,
        };
        let Some(end) = end else {
            return Ok(None);
        };
        let begin = match range {
            ReadRange::Tail(offsets) => end.saturating_sub(offsets),
            ReadRange::Whole | ReadRange::UpTo(_) => 0,
        };
        let mut warned_at = Instant::now();
        let start = self.retry_until_answered(|| {
            let stable_end = stable(Offset::End)?;
            if stable_end < end {
                if warned_at.elapsed() >= GIVE_UP_AFTER {
                    warned_at = Instant::now();
                    tracing::warn!(
                        topic,
                        partition,
                        offset = stable_end,
                        mark = end,
                        "kafka: an open transaction hides records that are needed first"
                    );
                }
                return None;
            }
            stable(Offset::Beginning)
        })?;
        Ok(start.map(|start| (start.max(begin), end)))
    }

    fn read_assigned(
        &mut self,
        request: ReadRequest<'_>,
        end: i64,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<ReadOutcome, Fault> {
        let ReadRequest { topic, source_partition, .. } = request;
        let partition = source_partition.1;
        let mut count = 0;
        loop {
            match self.reader.poll() {
                Some(Ok(message)) => {
                    take(message_to_input(source_partition, &message));
                    if message.offset() + 1 >= end {
                        return Ok(ReadOutcome::Done);
                    }
                    count += 1;
                    if count % CONTINUE_CHECK_RECORDS != 0 {
                        continue;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(ended))) => {
                    let stable_end = self.reader.consumer.context().take_last_end();
                    if ended == partition && stable_end.is_none_or(|found| found >= end) {
                        return Ok(ReadOutcome::Done);
                    }
                }
                Some(Err(error)) => {
                    if let Some(fault) = fault::classify_partition_error(topic, partition, &error) {
                        return Err(fault);
                    }
                    tracing::warn!(topic, partition, error = %error, "kafka: rebuild");
                }
                None => {}
            }
            if !(self.should_continue)()? {
                return Ok(ReadOutcome::Interrupted);
            }
        }
    }

    /// Reads records again, in order. `take` gets `None` for a record that is gone.
    ///
    /// # Errors
    ///
    /// [`Fault::Unanswered`] if Kafka does not answer in time, or a partition ends below
    /// a record that was there.
    pub(super) fn read_wanted(
        &mut self,
        wanted: &[WantedRecords<'_>],
        take: &mut dyn FnMut(Option<Input<'_>>),
    ) -> Result<ReadOutcome, Fault> {
        let reader: &'a PartitionReader = self.reader;
        let bounds = self.retry_until_timeout("ends of sources", || {
            fetch_both_bounds(&reader.read_committed_client, wanted)
        })?;
        let Some(bounds) = bounds else {
            return Ok(ReadOutcome::Interrupted);
        };
        for (of_partition, bounds) in wanted.iter().zip(bounds) {
            if self.read_wanted_in_partition(of_partition, bounds, take)?
                == ReadOutcome::Interrupted
            {
                return Ok(ReadOutcome::Interrupted);
            }
        }
        Ok(ReadOutcome::Done)
    }

    fn read_wanted_in_partition(
        &mut self,
        wanted: &WantedRecords<'_>,
        (start, end): (i64, i64),
        take: &mut dyn FnMut(Option<Input<'_>>),
    ) -> Result<ReadOutcome, Fault> {
        let gone = wanted.coordinates.partition_point(|at| at.offset < start);
        (0..gone).for_each(|_| take(None));
        let mut remaining =
            RemainingRecords { coordinates: &wanted.coordinates[gone..], on_record: take };
        let Some(first) = remaining.next_offset() else {
            return Ok(ReadOutcome::Done);
        };
        self.reader.assign(&wanted.topic, wanted.source_partition.1, first)?;
        let read = self.read_remaining(wanted, end, &mut remaining);
        self.reader.unassign()?;
        read
    }

    /// Reads from the first remaining record until none is left. `end` is at most the
    /// partition's end.
    fn read_remaining(
        &mut self,
        wanted: &WantedRecords<'_>,
        end: i64,
        remaining: &mut RemainingRecords<'_>,
    ) -> Result<ReadOutcome, Fault> {
        let WantedRecords { topic, source_partition, .. } = wanted;
        let partition = source_partition.1;
        let mut last_progress = Instant::now();
        let mut count = 0;
        while let Some(next) = remaining.next_offset() {
            match self.reader.poll() {
                Some(Ok(message)) => {
                    count += 1;
                    if message.offset() >= next && message.topic() == topic {
                        remaining.drop_below(message.offset());
                        remaining.deliver_if_next(message_to_input(*source_partition, &message));
                        let next = remaining.next_offset();
                        self.reader.seek_to_next(wanted, message.offset(), next)?;
                    }
                    if count % CONTINUE_CHECK_RECORDS != 0 {
                        continue;
                    }
                    last_progress = Instant::now();
                }
                Some(Err(KafkaError::PartitionEOF(ended))) => {
                    let stable_end = self.reader.consumer.context().take_last_end();
                    let reached = stable_end.filter(|found| *found >= end && ended == partition);
                    if let Some(found) = reached {
                        remaining.drop_below(found);
                        last_progress = Instant::now();
                    }
                }
                Some(Err(error)) if is_out_of_range(&error) => {
                    return Err(Fault::abort(
                        AbortReason::Truncated,
                        format!("topic `{topic}` partition {partition}: truncated meanwhile"),
                    ));
                }
                Some(Err(error)) => {
                    if let Some(fault) = fault::classify_partition_error(topic, partition, &error) {
                        return Err(fault);
                    }
                    tracing::warn!(topic, partition, error = %error, "kafka: reading again");
                }
                None if last_progress.elapsed() >= GIVE_UP_AFTER => {
                    return Err(no_answer_fault(topic));
                }
                None => {}
            }
            if !(self.should_continue)()? {
                return Ok(ReadOutcome::Interrupted);
            }
        }
        Ok(ReadOutcome::Done)
    }

    /// Asks until there is an answer, for [`GIVE_UP_AFTER`] at most. `None` if interrupted.
    fn retry_until_timeout<T>(
        &mut self,
        what: &str,
        ask: impl FnMut() -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        let deadline = Instant::now() + GIVE_UP_AFTER;
        let should_continue = &mut self.should_continue;
        let mut within_deadline = || match Instant::now() < deadline {
            true => should_continue(),
            false => Err(no_answer_fault(what)),
        };
        ReaderSession { reader: self.reader, should_continue: &mut within_deadline }
            .retry_until_answered(ask)
    }

    /// Asks until there is an answer. `None` if interrupted.
    fn retry_until_answered<T>(
        &mut self,
        mut ask: impl FnMut() -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        loop {
            if !(self.should_continue)()? {
                return Ok(None);
            }
            if let Some(answer) = ask() {
                return Ok(Some(answer));
            }
            let until = Instant::now() + BOUND_QUERY_INTERVAL;
            while Instant::now() < until {
                if !(self.should_continue)()? {
                    return Ok(None);
                }
                std::thread::sleep(POLL_TIMEOUT);
            }
        }
    }
}

/// The wanted records of one partition that were not read yet.
struct RemainingRecords<'a> {
    coordinates: &'a [Coordinates],
    on_record: &'a mut dyn FnMut(Option<Input<'_>>),
}

impl RemainingRecords<'_> {
    fn next_offset(&self) -> Option<i64> {
        self.coordinates.first().map(|at| at.offset)
    }

    /// Reports the records below `offset` as gone.
    fn drop_below(&mut self, offset: i64) {
        while self.next_offset().is_some_and(|next| next < offset) {
            self.coordinates = &self.coordinates[1..];
            (self.on_record)(None);
        }
    }

    fn deliver_if_next(&mut self, input: Input<'_>) {
        if self.next_offset() == Some(input.offset) {
            self.coordinates = &self.coordinates[1..];
            (self.on_record)(Some(input));
        }
    }
}

/// Returns first offset and end of each partition, or `None` if Kafka does not answer or a
/// partition ends below a wanted record: a new leader may not know its end yet.
fn fetch_both_bounds(
    read_committed_client: &BaseConsumer<LoggingContext>,
    wanted: &[WantedRecords<'_>],
) -> Option<Vec<(i64, i64)>> {
    let ends = fetch_bounds(read_committed_client, wanted, Offset::End)?;
    let last = |wanted: &WantedRecords<'_>| wanted.coordinates.last().map_or(-1, |at| at.offset);
    let short = wanted.iter().zip(&ends).find(|(of_partition, end)| last(of_partition) >= **end);
    if let Some((of_partition, end)) = short {
        let (topic, partition) = (&of_partition.topic, of_partition.source_partition.1);
        tracing::warn!(topic, partition, end, "kafka: a partition ends below a record of it");
        return None;
    }
    let starts = fetch_bounds(read_committed_client, wanted, Offset::Beginning)?;
    Some(starts.into_iter().zip(ends).collect())
}

fn fetch_bounds(
    consumer: &BaseConsumer<LoggingContext>,
    wanted: &[WantedRecords<'_>],
    edge: Offset,
) -> Option<Vec<i64>> {
    let partitions =
        wanted.iter().map(|of_partition| (&*of_partition.topic, of_partition.source_partition.1));
    let found = match fetch_bound_offsets(consumer, partitions.clone(), edge) {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(error = %error, "kafka: no answer yet: ends");
            return None;
        }
    };
    let offset = |(topic, partition)| match found.find_partition(topic, partition)?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    partitions.map(offset).collect()
}

fn no_answer_fault(what: &str) -> Fault {
    Fault::unanswered(format!("kafka, while reading again: {what}"))
}

fn is_out_of_range(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
    )
}

/// Returns a bound of one partition, or `None` if Kafka does not answer.
fn fetch_bound(
    consumer: &BaseConsumer<LoggingContext>,
    topic: &str,
    partition: i32,
    edge: Offset,
) -> Option<i64> {
    match fetch_bound_offsets(consumer, std::iter::once((topic, partition)), edge) {
        Ok(list) => match list.find_partition(topic, partition)?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        },
        Err(error) => {
            tracing::warn!(topic, partition, error = %error, "kafka: no answer yet: ends");
            None
        }
    }
}
