//! One partition that is this worker's: its queue, and how far it was handed
//! out.

use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, OwnedMessage};

use super::consumer::Source;
use super::fault;
use super::member::{Member, PartitionStatistics};
use super::misplaced::{Found, compare};
use super::partitioner::Placement;
use crate::transport::{Fault, Flow, Input, Payload, SourceId};

/// A source partition, by the source's place in the plan.
pub(super) type Place = (SourceId, i32);

/// An owned partition.
pub(super) struct Part {
    pub place: Place,
    pub topic: String,
    pub gate: bool,
    pub joined: bool,
    /// Where its keys belong; `None` where nothing is compared.
    placement: Option<Placement>,
    pub queue: PartitionQueue<Member>,
    /// The offset of the next record to be handed out.
    pub position: i64,
    /// The position of the last commit.
    pub committed: i64,
    /// The end that this gate had when the batch noted it.
    pub mark: Option<i64>,
    /// A record that was looked at before its turn.
    early: Option<OwnedMessage>,
    /// Records were handed out since the last commit.
    handed: bool,
    /// When the position last moved over offsets without records.
    skipped: Option<Instant>,
    /// The stable end, where it is known.
    pub stable: Option<i64>,
    /// Up to here keys were compared: an aborted batch comes again.
    compared: i64,
}

impl Part {
    pub(super) fn new(
        source: &Source,
        partition: i32,
        queue: PartitionQueue<Member>,
        start: i64,
    ) -> Self {
        Self {
            place: (source.id, partition),
            topic: source.topic.clone(),
            gate: source.gate,
            joined: source.joined,
            placement: source.placement,
            queue,
            position: start,
            committed: start,
            mark: None,
            early: None,
            handed: false,
            skipped: None,
            stable: None,
            compared: start,
        }
    }

    /// Takes note of statistics.
    pub(super) fn observe(&mut self, statistics: PartitionStatistics) {
        if statistics.ls_offset >= 0 {
            self.stable = Some(statistics.ls_offset);
        }
    }

    /// Hands out at most `limit` records; those that are misplaced are noted in
    /// `found`.
    pub(super) fn hand_out(
        &mut self,
        limit: usize,
        member: &Member,
        found: &mut Vec<Found>,
        take: &mut dyn FnMut(Input<'_>) -> Flow,
    ) -> Result<(usize, Flow), Fault> {
        let mut count = 0;
        if let Some(early) = self.early.take() {
            self.moved(early.offset());
            count += 1;
            if take(compare(input(self.place, &early), self.placement, found)) == Flow::Full {
                return Ok((count, Flow::Full));
            }
        }
        while count < limit {
            match next(&self.queue, member, &self.topic, self.place.1)? {
                Next::Record(message) if message.offset() >= self.position => {
                    self.position = message.offset() + 1;
                    self.handed = true;
                    count += 1;
                    let input = input(self.place, &message);
                    if take(compare(input, self.placement, found)) == Flow::Full {
                        return Ok((count, Flow::Full));
                    }
                }
                Next::Record(_) => {}
                Next::End(end) => self.skip_to(end),
                Next::Nothing => break,
            }
        }
        Ok((count, Flow::More))
    }

    /// Whether a record lies ready; it is kept for its turn.
    pub(super) fn look(&mut self, member: &Member) -> Result<bool, Fault> {
        while self.early.is_none() {
            match next(&self.queue, member, &self.topic, self.place.1)? {
                Next::Record(message) if message.offset() >= self.position => {
                    self.early = Some(message.detach());
                }
                Next::Record(_) => {}
                Next::End(end) => self.skip_to(end),
                Next::Nothing => return Ok(false),
            }
        }
        Ok(true)
    }

    /// How many of the records handed out last, which were `count`, were compared
    /// for the first time.
    pub(super) fn newly_compared(&mut self, count: usize) -> u64 {
        let new = self.position.saturating_sub(self.compared).max(0);
        self.compared = self.compared.max(self.position);
        let compared = self.placement.map_or(0, |_| count as u64);
        compared.min(new.unsigned_abs())
    }

    fn moved(&mut self, offset: i64) {
        self.position = offset + 1;
        self.handed = true;
    }

    /// Moves over what has no record: commit markers, aborted or compacted
    /// records. `end` came out of the queue, behind all records below it.
    fn skip_to(&mut self, end: i64) {
        if end > self.position {
            self.position = end;
            self.skipped = Some(Instant::now());
        }
    }

    pub(super) fn has_moved(&self) -> bool {
        self.position != self.committed
    }

    /// Whether the position is worth a commit. Offsets without records alone
    /// are, once `patience` has passed.
    pub(super) fn is_uncommitted(&self, patience: Duration) -> bool {
        self.has_moved()
            && (self.handed
                || self
                    .skipped
                    .is_none_or(|skipped| skipped.elapsed() >= patience))
    }

    /// The batch was committed.
    pub(super) fn settle(&mut self) {
        self.committed = self.position;
        self.handed = false;
        self.mark = None;
    }

    /// Back to the last commit; says whether the fetch must go back too.
    pub(super) fn rewind(&mut self) -> bool {
        self.mark = None;
        self.handed = false;
        if !self.has_moved() {
            return false;
        }
        self.position = self.committed;
        self.early = None;
        true
    }

    pub(super) fn reached_mark(&self) -> bool {
        self.mark.is_some_and(|mark| self.position >= mark)
    }
}

/// What a partition's queue gives.
enum Next<'q> {
    Record(BorrowedMessage<'q>),
    /// The fetch came to the stable end, which is this offset.
    End(i64),
    Nothing,
}

/// Takes the next event of a queue, if one lies ready.
///
/// The end comes through the same queue as the records, so that it is never
/// ahead of them. Statistics would be: a rebalance empties the queues while
/// they still tell of what was in them.
fn next<'q>(
    queue: &'q PartitionQueue<Member>,
    member: &Member,
    topic: &str,
    partition: i32,
) -> Result<Next<'q>, Fault> {
    loop {
        match queue.poll(Duration::ZERO) {
            None => return Ok(Next::Nothing),
            Some(Ok(message)) => return Ok(Next::Record(message)),
            Some(Err(KafkaError::PartitionEOF(_))) => {
                if let Some(end) = member.recorded().end.take() {
                    return Ok(Next::End(end));
                }
            }
            Some(Err(error)) => {
                if let Some(fault) = fault::of_partition(topic, partition, &error) {
                    return Err(fault);
                }
                tracing::warn!(topic, partition, error = %error, "kafka: fetch");
            }
        }
    }
}

pub(super) fn input<M: Message>(place: Place, message: &M) -> Input<'_> {
    Input {
        source: place.0,
        partition: place.1,
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key(),
        payload: message.payload().map_or(Payload::Null, Payload::Bytes),
    }
}
