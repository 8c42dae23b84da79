//! One partition that is this worker's: its queue, and how far it was handed
//! out.

use std::time::{Duration, Instant};

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, OwnedMessage};
use rdkafka::{Message, Timestamp};

use super::consumer::Source;
use super::fault;
use super::member::{Member, PartitionStatistics};
use super::misplaced::{Found, compare};
use super::partitioner::Placement;
use crate::transport::continuity::{Anchor, Fingerprinter, Trail};
use crate::transport::{Appended, Fault, Flow, Input, Payload, SourceId};

/// A source partition, by the source's place in the plan.
pub(super) type Place = (SourceId, i32);

/// What was read of a partition, as its mark keeps it.
#[derive(Clone, Debug, Default)]
pub(super) struct Passed {
    /// Up to the last commit.
    pub committed: Trail,
    /// The last record that was handed out since.
    last: Option<Anchor>,
    /// Of a gate log: the hash of all that was handed out.
    log: Option<u64>,
}

impl Passed {
    /// Begins with a trail.
    pub(super) fn new(trail: Trail) -> Self {
        Self {
            log: trail.log,
            committed: trail,
            last: None,
        }
    }

    /// Returns the trail up to `position`, that of the open batch.
    pub(super) fn open(&self, position: i64) -> Trail {
        let mut trail = self.committed.clone();
        trail.next = position;
        trail.log = self.log;
        if let Some(last) = self.last {
            trail.passed(last);
        }
        trail
    }

    fn settle(&mut self, position: i64) {
        self.committed = self.open(position);
        self.last = None;
    }

    fn rewind(&mut self) {
        self.last = None;
        self.log = self.committed.log;
    }

    fn chain(&mut self, prints: &Fingerprinter, message: &impl Message) {
        if let Some(log) = self.log {
            self.log = Some(prints.chained(log, message.key(), message.payload()));
        }
    }

    fn note(&mut self, prints: &Fingerprinter, message: &impl Message) {
        self.last = Some(Anchor {
            offset: message.offset(),
            hash: prints.record(message.key(), message.payload()),
        });
    }
}

/// An owned partition.
pub(super) struct Part {
    pub place: Place,
    pub topic: String,
    pub gate: bool,
    /// The place of its group: the partitions that wait for each other.
    pub group: usize,
    /// Where its keys belong; `None` where nothing is compared.
    placement: Option<Placement>,
    pub queue: PartitionQueue<Member>,
    /// The offset of the next record to be handed out.
    pub position: i64,
    /// The position of the last commit.
    pub committed: i64,
    /// The end that this gate had when the batch noted it, open transactions
    /// included.
    pub mark: Option<i64>,
    /// The end of a source that waits for gates, when their ends were noted.
    pub limit: Option<i64>,
    /// A record that was looked at before its turn.
    early: Option<OwnedMessage>,
    /// Records were handed out since the last commit.
    handed: bool,
    /// When the position last moved over offsets without records.
    skipped: Option<Instant>,
    pub passed: Passed,
    /// Makes hashes of records; without it no trail is kept.
    prints: Option<Fingerprinter>,
    /// The end, that of open transactions too, where it is known.
    pub end: Option<i64>,
    /// At which position it stays below its end, and since when.
    stays: Option<(i64, Instant)>,
    /// Up to here keys were compared: an aborted batch comes again.
    compared: i64,
}

impl Part {
    /// Takes a partition of a source on, from where `passed` ends.
    pub(super) fn new(
        place: Place,
        source: &Source,
        queue: PartitionQueue<Member>,
        passed: Passed,
        prints: Option<Fingerprinter>,
    ) -> Self {
        let start = passed.committed.next;
        Self {
            place,
            topic: source.topic.clone(),
            gate: source.gate,
            group: 0,
            passed,
            prints,
            placement: source.placement,
            queue,
            position: start,
            committed: start,
            mark: None,
            limit: None,
            early: None,
            handed: false,
            skipped: None,
            end: None,
            stays: None,
            compared: start,
        }
    }

    /// Takes note of statistics.
    pub(super) fn observe(&mut self, statistics: PartitionStatistics) {
        if statistics.hi_offset >= 0 {
            self.end = Some(statistics.hi_offset);
        }
        let position = self.position;
        let is_behind = self.end.is_some_and(|end| end > position);
        let stayed = self.stays.filter(|(at, _)| *at == position);
        self.stays = is_behind.then(|| stayed.unwrap_or((position, Instant::now())));
    }

    /// How far the position is behind the end, where that is known.
    pub(super) fn behind(&self) -> Option<i64> {
        Some(self.end?.saturating_sub(self.position).max(0))
    }

    /// Since when the position stays below the end, as it does below an open
    /// transaction.
    pub(super) fn stays_since(&self) -> Option<Instant> {
        let (at, since) = self.stays?;
        (at == self.position).then_some(since)
    }

    /// Hands out at most `count_max` records, those from its limit on not at all;
    /// those that are misplaced are noted in `found`.
    pub(super) fn hand_out(
        &mut self,
        count_max: usize,
        member: &Member,
        found: &mut Vec<Found>,
        take: &mut dyn FnMut(Input<'_>) -> Flow,
    ) -> Result<(usize, Flow), Fault> {
        let mut count = 0;
        let limit = self.limit.unwrap_or(i64::MAX);
        if let Some(early) = self.early.take_if(|early| early.offset() < limit) {
            self.moved(early.offset());
            if let Some(prints) = &self.prints {
                self.passed.chain(prints, &early);
                self.passed.note(prints, &early);
            }
            count += 1;
            if take(compare(input(self.place, &early), self.placement, found)) == Flow::Full {
                return Ok((count, Flow::Full));
            }
        }
        let Part {
            queue,
            place,
            topic,
            position,
            handed,
            skipped,
            early,
            passed,
            prints,
            placement,
            ..
        } = self;
        // Only the last record of a chunk is hashed as an anchor.
        let mut last = None;
        let mut flow = Flow::More;
        while count < count_max && early.is_none() && flow == Flow::More {
            match next(queue, member, topic, place.1)? {
                Next::Record(message) if message.offset() >= limit => {
                    *early = Some(message.detach());
                }
                Next::Record(message) if message.offset() >= *position => {
                    *position = message.offset() + 1;
                    *handed = true;
                    count += 1;
                    if let Some(prints) = prints {
                        passed.chain(prints, &message);
                    }
                    flow = take(compare(input(*place, &message), *placement, found));
                    last = Some(message);
                }
                Next::Record(_) => {}
                Next::End(end) if end > *position => {
                    *position = end;
                    *skipped = Some(Instant::now());
                }
                Next::End(_) => {}
                Next::Nothing => break,
            }
        }
        if let (Some(prints), Some(message)) = (prints, &last) {
            passed.note(prints, message);
        }
        Ok((count, flow))
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
        self.passed.settle(self.position);
    }

    /// Notes the end that a source has now. The record that was looked at lies
    /// below it, whatever a new leader says.
    pub(super) fn note_end(&mut self, end: i64) {
        let looked_at = self.early.as_ref().map_or(0, |early| early.offset() + 1);
        if self.gate {
            self.mark = Some(end);
        } else {
            self.limit = Some(end.max(looked_at));
        }
    }

    /// Whether a record lies ready that may be handed out.
    pub(super) fn lies_ready(&mut self, member: &Member) -> Result<bool, Fault> {
        let limit = self.limit.unwrap_or(i64::MAX);
        let found = self.look(member)?;
        Ok(found
            && self
                .early
                .as_ref()
                .is_some_and(|early| early.offset() < limit))
    }

    /// Forgets the end that was noted.
    pub(super) fn forget_end(&mut self) {
        self.mark = None;
        self.limit = None;
    }

    /// Back to the last commit; says whether the fetch must go back too.
    pub(super) fn rewind(&mut self) -> bool {
        self.forget_end();
        self.handed = false;
        self.passed.rewind();
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
        appended: appended(message.timestamp()),
        key: message.key(),
        payload: message.payload().map_or(Payload::Null, Payload::Bytes),
    }
}

/// When a message came to its topic: the broker's word, or its producer's.
fn appended(timestamp: Timestamp) -> Option<Appended> {
    match timestamp {
        Timestamp::NotAvailable => None,
        Timestamp::CreateTime(ms) => Some(Appended { ms, exact: false }),
        Timestamp::LogAppendTime(ms) => Some(Appended { ms, exact: true }),
    }
}
