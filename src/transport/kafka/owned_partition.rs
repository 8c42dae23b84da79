//! A partition that this worker owns: its queue, and how far it was handed out.

use std::time::{Duration, Instant};

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message, OwnedMessage};

use super::fault;
use super::group_member::{GroupMemberContext, PartitionStatistics};
use super::headers::trace_parent;
use super::misplaced::{MisplacedMessage, refuse_misplaced};
use super::partitioner::KeyPlacement;
use super::source::{KafkaSource, SourcePartition, message_to_input, schema_header_and_value};
use crate::message::continuity::{Fingerprinter, SourceAnchor, SourceProgress};
use crate::message::{Fault, Input, Payload};
use crate::transport::PollFlow;

/// What was read of a partition, as its mark records it.
#[derive(Clone, Debug)]
pub(super) struct PartitionProgress {
    /// Up to the last commit.
    pub committed_progress: SourceProgress,
    /// The last record handed out since.
    last_anchor: Option<SourceAnchor>,
    /// For a gate log: the hash of everything handed out.
    gate_log_hash: Option<u64>,
    /// Without it no marks are kept.
    fingerprinter: Option<Fingerprinter>,
}

impl PartitionProgress {
    pub(super) fn new(committed: SourceProgress, fingerprinter: Option<Fingerprinter>) -> Self {
        let gate_log_hash = committed.log;
        Self { committed_progress: committed, last_anchor: None, gate_log_hash, fingerprinter }
    }

    /// Replaces what was committed.
    pub(super) fn restart(&mut self, committed: SourceProgress) {
        *self = Self::new(committed, self.fingerprinter);
    }

    /// Returns the progress up to `position`, that of the open batch.
    pub(super) fn progress_up_to(&self, position: i64) -> SourceProgress {
        let mut progress = self.committed_progress.clone();
        progress.next = position;
        progress.log = self.gate_log_hash;
        if let Some(last) = self.last_anchor {
            progress.add_anchor(last);
        }
        progress
    }

    fn commit_up_to(&mut self, position: i64) {
        self.committed_progress = self.progress_up_to(position);
        self.last_anchor = None;
    }

    fn rewind(&mut self) {
        self.last_anchor = None;
        self.gate_log_hash = self.committed_progress.log;
    }

    #[inline]
    fn extend_log_hash(&mut self, message: &impl Message) {
        if let (Some(log), Some(fingerprinter)) = (self.gate_log_hash, &self.fingerprinter) {
            self.gate_log_hash =
                Some(fingerprinter.hash_chained(log, message.key(), message.payload()));
        }
    }

    fn set_last_anchor(&mut self, message: &impl Message) {
        self.last_anchor = self.fingerprinter.map(|fingerprinter| SourceAnchor {
            offset: message.offset(),
            hash: fingerprinter.hash_record(message.key(), message.payload()),
        });
    }
}

pub(super) struct OwnedPartition {
    pub source_partition: SourcePartition,
    pub topic: String,
    pub is_gate: bool,
    /// It waits for the gates of its group with a lower one; what is no gate for all of them.
    pub rank: u8,
    /// Index of the group of partitions that wait for each other.
    pub gate_group: usize,
    /// `None` if keys are not compared with their partition.
    key_placement: Option<KeyPlacement>,
    has_schema_headers: bool,
    reads_trace_parents: bool,
    pub queue: PartitionQueue<GroupMemberContext>,
    /// The offset of the next record to hand out.
    pub position: i64,
    /// The position of the last commit.
    pub committed_position: i64,
    /// The end of this gate when the batch began, open transactions included.
    pub gate_end: Option<i64>,
    /// Of a source that may wait for gates: its end when theirs were noted.
    pub read_limit: Option<i64>,
    /// A record polled before its turn.
    peeked_message: Option<OwnedMessage>,
    /// Records were handed out since the last commit.
    has_uncommitted_records: bool,
    /// When the position last skipped offsets without records.
    skipped_at: Option<Instant>,
    pub progress: PartitionProgress,
    /// The known end, open transactions included.
    pub end_offset: Option<i64>,
    /// The position at which it stays below its end, and since when.
    stalled_at: Option<(i64, Instant)>,
    /// The offset up to which keys were compared; an aborted batch comes again.
    compared_up_to: i64,
}

impl OwnedPartition {
    /// Takes on a partition of `source` where `progress` ends.
    pub(super) fn new(
        partition: i32,
        source: &KafkaSource,
        queue: PartitionQueue<GroupMemberContext>,
        progress: PartitionProgress,
    ) -> Self {
        let start = progress.committed_progress.next;
        Self {
            source_partition: (source.id, partition),
            topic: source.topic.clone(),
            is_gate: source.is_gate(),
            rank: source.gate_rank.unwrap_or(u8::MAX),
            gate_group: 0,
            progress,
            key_placement: source.key_placement,
            has_schema_headers: source.has_schema_headers,
            reads_trace_parents: source.reads_trace_parents,
            queue,
            position: start,
            committed_position: start,
            gate_end: None,
            read_limit: None,
            peeked_message: None,
            has_uncommitted_records: false,
            skipped_at: None,
            end_offset: None,
            stalled_at: None,
            compared_up_to: start,
        }
    }

    pub(super) fn apply_statistics(&mut self, statistics: PartitionStatistics) {
        if statistics.hi_offset >= 0 {
            self.end_offset = Some(statistics.hi_offset);
        }
        let position = self.position;
        let is_behind = self.end_offset.is_some_and(|end| end > position);
        let stayed = self.stalled_at.filter(|(at, _)| *at == position);
        self.stalled_at = is_behind.then(|| stayed.unwrap_or((position, Instant::now())));
    }

    /// Returns how far the position is behind the end, if that is known.
    pub(super) fn lag(&self) -> Option<i64> {
        Some(self.end_offset?.saturating_sub(self.position).max(0))
    }

    /// Returns since when the position has stayed below the end, as it does below an open
    /// transaction.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        let (at, since) = self.stalled_at?;
        (at == self.position).then_some(since)
    }

    /// Hands out at most `count_max` records, none from the read limit on.
    pub(super) fn deliver_records(
        &mut self,
        count_max: usize,
        member: &GroupMemberContext,
        receiver: &mut RecordReceiver<'_>,
    ) -> Result<(usize, PollFlow), Fault> {
        let limit = self.read_limit.unwrap_or(i64::MAX);
        let origin = MessageOrigin {
            source_partition: self.source_partition,
            key_placement: self.key_placement,
            has_schema_headers: self.has_schema_headers,
            reads_trace_parents: self.reads_trace_parents,
        };
        let mut count = 0;
        let mut flow = PollFlow::Continue;
        if let Some(peeked) = self.peeked_message.take_if(|peeked| peeked.offset() < limit) {
            self.position = peeked.offset() + 1;
            self.has_uncommitted_records = true;
            self.progress.extend_log_hash(&peeked);
            self.progress.set_last_anchor(&peeked);
            count += 1;
            flow = receiver.take(&peeked, origin);
        }
        // Only the last record of a chunk is hashed as an anchor.
        let mut last = None;
        while count < count_max && self.peeked_message.is_none() && flow == PollFlow::Continue {
            match poll_queue(&self.queue, member, &self.topic, self.source_partition.1)? {
                QueueEvent::Record(message) if message.offset() >= limit => {
                    self.peeked_message = Some(message.detach());
                }
                QueueEvent::Record(message) if message.offset() >= self.position => {
                    self.position = message.offset() + 1;
                    self.has_uncommitted_records = true;
                    count += 1;
                    self.progress.extend_log_hash(&message);
                    flow = receiver.take(&message, origin);
                    last = Some(message);
                }
                QueueEvent::Record(_) => {}
                QueueEvent::PartitionEnd(end) if end > self.position => {
                    self.position = end;
                    self.skipped_at = Some(Instant::now());
                }
                QueueEvent::PartitionEnd(_) => {}
                QueueEvent::Empty => break,
            }
        }
        if let Some(message) = &last {
            self.progress.set_last_anchor(message);
        }
        Ok((count, flow))
    }

    /// Returns whether a record is ready, and keeps it for its turn.
    pub(super) fn peek_record(&mut self, member: &GroupMemberContext) -> Result<bool, Fault> {
        while self.peeked_message.is_none() {
            match poll_queue(&self.queue, member, &self.topic, self.source_partition.1)? {
                QueueEvent::Record(message) if message.offset() >= self.position => {
                    self.peeked_message = Some(message.detach());
                }
                QueueEvent::Record(_) => {}
                QueueEvent::PartitionEnd(end) => self.skip_to_end(end),
                QueueEvent::Empty => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Returns how many of the last `count` records were compared for the first time.
    pub(super) fn count_newly_compared(&mut self, count: usize) -> u64 {
        let new = self.position.saturating_sub(self.compared_up_to).max(0);
        self.compared_up_to = self.compared_up_to.max(self.position);
        let compared = self.key_placement.map_or(0, |_| count as u64);
        compared.min(new.unsigned_abs())
    }

    /// Skips offsets without records: markers, aborted or compacted records. `end` came
    /// out of the queue, behind all records below it.
    fn skip_to_end(&mut self, end: i64) {
        if end > self.position {
            self.position = end;
            self.skipped_at = Some(Instant::now());
        }
    }

    pub(super) fn has_moved(&self) -> bool {
        self.position != self.committed_position
    }

    /// Returns whether the position is worth a commit; skipped offsets alone are after
    /// `idle_commit_interval`.
    pub(super) fn needs_commit(&self, idle_commit_interval: Duration) -> bool {
        self.has_moved()
            && (self.has_uncommitted_records
                || self.skipped_at.is_none_or(|skipped| skipped.elapsed() >= idle_commit_interval))
    }

    pub(super) fn commit_position(&mut self) {
        self.committed_position = self.position;
        self.has_uncommitted_records = false;
        self.progress.commit_up_to(self.position);
    }

    /// Sets the end for this batch. A peeked record lies below it, whatever a new leader
    /// says.
    pub(super) fn set_batch_end(&mut self, end: i64) {
        let peeked_end = self.peeked_message.as_ref().map_or(0, |peeked| peeked.offset() + 1);
        if self.is_gate {
            self.gate_end = Some(end);
        }
        if self.rank > 0 {
            self.read_limit = Some(end.max(peeked_end));
        }
    }

    /// Returns whether a record below the read limit is ready.
    pub(super) fn has_deliverable_record(
        &mut self,
        member: &GroupMemberContext,
    ) -> Result<bool, Fault> {
        let limit = self.read_limit.unwrap_or(i64::MAX);
        let found = self.peek_record(member)?;
        Ok(found && self.peeked_message.as_ref().is_some_and(|peeked| peeked.offset() < limit))
    }

    pub(super) fn clear_batch_end(&mut self) {
        self.gate_end = None;
        self.read_limit = None;
    }

    /// Goes back to the last commit. Returns whether the fetch must too.
    pub(super) fn rewind(&mut self) -> bool {
        self.clear_batch_end();
        self.has_uncommitted_records = false;
        self.progress.rewind();
        if !self.has_moved() {
            return false;
        }
        self.position = self.committed_position;
        self.peeked_message = None;
        true
    }

    pub(super) fn has_reached_gate_end(&self) -> bool {
        self.gate_end.is_some_and(|end| self.position >= end)
    }
}

/// Receives what a partition hands out.
pub(super) struct RecordReceiver<'a> {
    pub misplaced_messages: &'a mut Vec<MisplacedMessage>,
    pub take: &'a mut dyn FnMut(Input<'_>) -> PollFlow,
}

/// Where a message comes from, and how it is handed out.
#[derive(Clone, Copy)]
struct MessageOrigin {
    source_partition: SourcePartition,
    key_placement: Option<KeyPlacement>,
    has_schema_headers: bool,
    reads_trace_parents: bool,
}

impl RecordReceiver<'_> {
    /// Notes a misplaced record and refuses it; takes any other.
    fn take(&mut self, message: &impl Message, origin: MessageOrigin) -> PollFlow {
        let mut input = message_to_input(origin.source_partition, message);
        if origin.reads_trace_parents {
            input.trace_parent = trace_parent(message);
        }
        let framed = match origin.has_schema_headers {
            true => schema_header_and_value(message),
            false => None,
        };
        if let Some(framed) = &framed {
            input.payload = Payload::Bytes(framed);
        }
        (self.take)(refuse_misplaced(input, origin.key_placement, self.misplaced_messages))
    }
}

enum QueueEvent<'q> {
    Record(BorrowedMessage<'q>),
    /// The fetch reached the stable end.
    PartitionEnd(i64),
    Empty,
}

/// Returns the next event of a queue.
///
/// The end comes through the same queue as the records, so it is never ahead of them.
/// Statistics can be: a rebalance empties the queues they describe.
fn poll_queue<'q>(
    queue: &'q PartitionQueue<GroupMemberContext>,
    member: &GroupMemberContext,
    topic: &str,
    partition: i32,
) -> Result<QueueEvent<'q>, Fault> {
    loop {
        match queue.poll(Duration::ZERO) {
            None => return Ok(QueueEvent::Empty),
            Some(Ok(message)) => return Ok(QueueEvent::Record(message)),
            Some(Err(KafkaError::PartitionEOF(_))) => {
                if let Some(end) = member.lock_record().partition_end.take() {
                    return Ok(QueueEvent::PartitionEnd(end));
                }
            }
            Some(Err(error)) => {
                if let Some(fault) = fault::classify_partition_error(topic, partition, &error) {
                    return Err(fault);
                }
                tracing::warn!(topic, partition, error = %error, "kafka: fetch");
            }
        }
    }
}
