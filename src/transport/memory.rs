//! The world in memory: for tests, properties and `zeef project`.
//!
//! It keeps to the order and the promises of the others, and checks that its
//! worker does: who goes on after an abort without a rewind is stopped. It
//! reads no clock and never waits.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use super::continuity::{Finding, Mark, Position};
use super::{
    Appended, Assigned, Coordinates, Fault, Flow, Input, Lag, LanePlan, Misplaced, Outbox, Output,
    OutputId, Payload, Polled, Rebuilt, SourceId, Transport,
};
use crate::policy::reason::Reason;

/// Messages in, outputs out. An offset is the message's place in its partition.
#[derive(Clone, Debug)]
pub struct MemoryTransport {
    sources: Vec<Source>,
    topics: Vec<String>,
    partition_count: usize,
    chunk_records: usize,
    fail_every: Option<u32>,
    rebalance_every: Option<u32>,
    polls: u32,
    /// A rebalance waits to be polled.
    rebalance: bool,
    /// Calls of commit that had something to commit.
    attempts: u32,
    batch: Vec<Published>,
    committed: Vec<Published>,
    batches: u32,
    stage: Stage,
    /// When the last message was appended.
    appended_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    Assigned,
    Running,
    /// A batch was aborted; only a rewind helps.
    Aborted,
}

#[derive(Clone, Debug)]
struct Source {
    gate: bool,
    partitions: Vec<Partition>,
}

#[derive(Clone, Debug, Default)]
struct Partition {
    /// By offset; `None` where compaction or retention left a hole.
    messages: Vec<Option<Message>>,
    /// How many were handed out, and how many of those are committed.
    next: usize,
    committed: usize,
}

#[derive(Clone, Debug)]
struct Message {
    appended_ms: i64,
    key: Option<Vec<u8>>,
    value: Value,
}

#[derive(Clone, Debug)]
enum Value {
    Null,
    Bytes(Vec<u8>),
    Refused(Reason),
}

/// One committed output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub topic: String,
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// The number of the commit, from 1; aborted ones have none.
    pub batch: u32,
}

impl MemoryTransport {
    /// Makes an empty world of one partition.
    #[must_use]
    pub fn new(plan: &LanePlan) -> Self {
        let sources = plan.sources.iter().map(|source| Source {
            gate: source.gate,
            partitions: vec![Partition::default()],
        });
        Self {
            sources: sources.collect(),
            topics: plan
                .outputs
                .iter()
                .map(|output| output.topic.clone())
                .collect(),
            partition_count: 1,
            chunk_records: usize::MAX,
            fail_every: None,
            rebalance_every: None,
            polls: 0,
            rebalance: false,
            attempts: 0,
            batch: Vec::new(),
            committed: Vec::new(),
            batches: 0,
            stage: Stage::New,
            appended_ms: 0,
        }
    }

    /// Has so many partitions of each source from the beginning.
    #[must_use]
    pub fn with_partitions(mut self, count: usize) -> Self {
        self.grow(count);
        self
    }

    /// Hands out at most so many records per poll.
    #[must_use]
    pub fn with_chunk(mut self, records: usize) -> Self {
        self.chunk_records = records.max(1);
        self
    }

    /// A rebalance waits behind every n-th poll for records, and interrupts what
    /// is asked of the transport until it is polled.
    #[must_use]
    pub fn with_rebalance_every(mut self, nth: Option<u32>) -> Self {
        self.rebalance_every = nth.filter(|nth| *nth > 1);
        self
    }

    /// Aborts every n-th commit.
    #[must_use]
    pub fn with_fail_every(mut self, nth: Option<u32>) -> Self {
        self.fail_every = nth.filter(|nth| *nth > 0);
        self
    }

    /// Appends one message, a millisecond after the one before; also while a run
    /// goes on. A source the plan does not have, or a partition below zero, is
    /// nowhere, and takes nothing.
    pub fn push(
        &mut self,
        source: SourceId,
        partition: i32,
        key: Option<&[u8]>,
        payload: Payload<'_>,
    ) -> &mut Self {
        self.appended_ms += 1;
        let appended_ms = self.appended_ms;
        let Ok(number) = usize::try_from(partition) else {
            return self;
        };
        self.grow(number + 1);
        if let Some(partition) = self.partition_mut(source, number) {
            partition.messages.push(Some(Message {
                appended_ms,
                key: key.map(<[u8]>::to_vec),
                value: Value::from(payload),
            }));
        }
        self
    }

    /// Has the next message be appended at this time.
    pub fn set_time(&mut self, appended_ms: i64) -> &mut Self {
        self.appended_ms = appended_ms - 1;
        self
    }

    /// Leaves the last message of each key of a source, as compaction does;
    /// messages without a key stay, and so do all offsets.
    pub fn compact(&mut self, source: SourceId) -> &mut Self {
        for partition in self.partitions_of(source) {
            partition.compact();
        }
        self
    }

    /// Drops the nulls of a source, as compaction does some time after the
    /// messages before them.
    pub fn drop_nulls(&mut self, source: SourceId) -> &mut Self {
        for partition in self.partitions_of(source) {
            for message in &mut partition.messages {
                message.take_if(|message| matches!(message.value, Value::Null));
            }
        }
        self
    }

    /// Drops the messages of a partition that lie below `offset`, as retention
    /// does.
    pub fn cut(&mut self, source: SourceId, partition: i32, offset: i64) -> &mut Self {
        let number = usize::try_from(partition).unwrap_or(usize::MAX);
        if let Some(partition) = self.partition_mut(source, number) {
            let below = usize::try_from(offset).unwrap_or(0);
            partition
                .messages
                .iter_mut()
                .take(below)
                .for_each(|message| *message = None);
        }
        self
    }

    /// Goes back to what is committed, as if the process had been killed.
    pub fn restart(&mut self) -> &mut Self {
        self.stage = Stage::New;
        self.drop_batch();
        self
    }

    /// Begins anew, as a lane that is made later: nothing is committed, and of what
    /// was published only `kept` is there.
    pub fn begin_anew(&mut self, kept: &str) -> &mut Self {
        self.committed.retain(|output| output.topic == kept);
        for source in &mut self.sources {
            for partition in &mut source.partitions {
                partition.committed = 0;
            }
        }
        self.restart()
    }

    /// Changes what was committed to what an older version would have written.
    pub fn rewrite(&mut self, change: impl FnMut(&mut Published)) -> &mut Self {
        self.committed.iter_mut().for_each(change);
        self
    }

    /// Goes on under another policy, whose lane has the same sources.
    pub fn follow(&mut self, plan: &LanePlan) -> &mut Self {
        let topics = plan.outputs.iter();
        self.topics = topics.map(|output| output.topic.clone()).collect();
        self
    }

    /// Everything that was committed, oldest first.
    #[must_use]
    pub fn published(&self) -> &[Published] {
        &self.committed
    }

    /// What was committed to one topic, oldest first.
    pub fn published_to(&self, topic: &str) -> impl Iterator<Item = &Published> {
        self.committed
            .iter()
            .filter(move |output| output.topic == topic)
    }

    /// The last value per key of one topic: what its reader has in the end.
    #[must_use]
    pub fn last_values(&self, topic: &str) -> BTreeMap<&[u8], &[u8]> {
        let mut values = BTreeMap::new();
        for output in self.published_to(topic) {
            let key = output.key.as_deref().unwrap_or_default();
            match output.value.as_deref() {
                Some(value) => values.insert(key, value),
                None => values.remove(key),
            };
        }
        values
    }

    /// The committed position of every partition of every source.
    #[must_use]
    pub fn positions(&self) -> Vec<(SourceId, i32, i64)> {
        let all = self.partitions();
        all.map(|(source, number, partition)| (source, number, to_offset(partition.committed)))
            .collect()
    }

    /// How many batches were committed.
    #[must_use]
    pub fn batches(&self) -> u32 {
        self.batches
    }

    fn partitions(&self) -> impl Iterator<Item = (SourceId, i32, &Partition)> {
        self.sources.iter().enumerate().flat_map(|(index, source)| {
            let partitions = source.partitions.iter().enumerate();
            partitions.map(move |(number, partition)| (to_id(index), to_number(number), partition))
        })
    }

    fn partitions_of(&mut self, source: SourceId) -> impl Iterator<Item = &mut Partition> {
        let source = self.sources.get_mut(usize::from(source.0));
        source.into_iter().flat_map(|source| &mut source.partitions)
    }

    fn topic(&self, output: OutputId) -> Result<&str, Fault> {
        let topic = self.topics.get(usize::from(output.0));
        topic
            .map(String::as_str)
            .ok_or_else(|| Fault::Stop(format!("there is no output {}", output.0)))
    }

    fn drop_batch(&mut self) {
        self.batch.clear();
        for source in &mut self.sources {
            for partition in &mut source.partitions {
                partition.next = partition.committed;
            }
        }
    }

    fn partition_mut(&mut self, source: SourceId, number: usize) -> Option<&mut Partition> {
        let source = self.sources.get_mut(usize::from(source.0))?;
        source.partitions.get_mut(number)
    }

    fn find(&self, source: SourceId, partition: i32) -> Result<(usize, &Partition), Fault> {
        let partitions = self.sources.get(usize::from(source.0));
        let number = usize::try_from(partition).ok();
        let found = partitions.zip(number).and_then(|(source, number)| {
            let partition = source.partitions.get(number)?;
            Some((number, partition))
        });
        found.ok_or_else(|| {
            let number = source.0;
            Fault::Stop(format!("source {number} has no partition {partition}"))
        })
    }

    fn grow(&mut self, count: usize) {
        self.partition_count = self.partition_count.max(count);
        for source in &mut self.sources {
            source
                .partitions
                .resize_with(self.partition_count, Partition::default);
        }
    }

    fn poll_records(&mut self, take: &mut dyn FnMut(Input<'_>) -> Flow) -> usize {
        self.polls += 1;
        let nth = self.rebalance_every;
        self.rebalance = nth.is_some_and(|nth| self.polls.is_multiple_of(nth));
        self.hand_out(take)
    }

    fn hand_out(&mut self, take: &mut dyn FnMut(Input<'_>) -> Flow) -> usize {
        let mut count = 0;
        for gate in [true, false] {
            let sources = self.sources.iter_mut().enumerate();
            for (index, source) in sources.filter(|(_, source)| source.gate == gate) {
                for (number, partition) in source.partitions.iter_mut().enumerate() {
                    while count < self.chunk_records
                        && let Some(message) = partition.messages.get(partition.next)
                    {
                        let offset = partition.next;
                        partition.next += 1;
                        let Some(message) = message else {
                            continue;
                        };
                        count += 1;
                        if take(message.input(index, number, offset)) == Flow::Full {
                            return count;
                        }
                    }
                }
            }
        }
        count
    }

    fn check_rewound(&self) -> Result<(), Fault> {
        match self.stage {
            Stage::Aborted => Err(Fault::Stop("an aborted batch was not rewound".to_owned())),
            _ => Ok(()),
        }
    }
}

impl Partition {
    /// Hands out what lies below `end`.
    fn read(&self, source: SourceId, number: usize, end: usize, take: &mut dyn FnMut(Input<'_>)) {
        for (offset, message) in self.messages.iter().enumerate().take(end) {
            if let Some(message) = message {
                take(message.input(usize::from(source.0), number, offset));
            }
        }
    }

    fn compact(&mut self) {
        let mut later = HashSet::new();
        for message in self.messages.iter_mut().rev() {
            let key = message.as_ref().and_then(|message| message.key.clone());
            if key.is_some_and(|key| !later.insert(key)) {
                *message = None;
            }
        }
    }
}

impl Message {
    fn input(&self, source: usize, partition: usize, offset: usize) -> Input<'_> {
        Input {
            source: to_id(source),
            partition: to_number(partition),
            offset: to_offset(offset),
            timestamp_ms: None,
            appended: Some(Appended {
                ms: self.appended_ms,
                exact: true,
            }),
            key: self.key.as_deref(),
            payload: match &self.value {
                Value::Null => Payload::Null,
                Value::Bytes(bytes) => Payload::Bytes(bytes),
                Value::Refused(reason) => Payload::Refused(*reason),
            },
        }
    }
}

impl From<Payload<'_>> for Value {
    fn from(payload: Payload<'_>) -> Self {
        match payload {
            Payload::Null => Self::Null,
            Payload::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
            Payload::Refused(reason) | Payload::Unread(reason, _) => Self::Refused(reason),
        }
    }
}

fn to_id(index: usize) -> SourceId {
    SourceId(u16::try_from(index).unwrap_or(u16::MAX))
}

fn to_number(partition: usize) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

fn to_offset(place: usize) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}

impl Transport for MemoryTransport {
    /// Says [`Polled::End`] whenever all that was pushed so far is committed,
    /// and goes on when more is pushed after that.
    fn poll(
        &mut self,
        _wait: Duration,
        take: &mut dyn FnMut(Input<'_>) -> Flow,
    ) -> Result<Polled, Fault> {
        self.check_rewound()?;
        match self.stage {
            Stage::New => {
                self.stage = Stage::Assigned;
                let numbers = 0..to_number(self.partition_count);
                let assigned = numbers.map(|partition| Assigned {
                    partition,
                    returned: false,
                });
                Ok(Polled::Assigned(assigned.collect()))
            }
            Stage::Assigned | Stage::Aborted => Ok(Polled::Idle),
            Stage::Running if std::mem::take(&mut self.rebalance) => Ok(Polled::Revoked),
            Stage::Running => match self.poll_records(take) {
                0 if self.uncommitted() => Ok(Polled::Idle),
                0 => Ok(Polled::End),
                count => Ok(Polled::Records(count)),
            },
        }
    }

    fn rebuild(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<Rebuilt, Fault> {
        let (number, found) = self.find(source, partition)?;
        found.read(source, number, usize::MAX, take);
        Ok(Rebuilt::Done)
    }

    fn replay(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<Rebuilt, Fault> {
        let (number, found) = self.find(source, partition)?;
        found.read(source, number, found.committed, take);
        Ok(Rebuilt::Done)
    }

    fn read_again(
        &mut self,
        wanted: &[Coordinates],
        take: &mut dyn FnMut(usize, Option<Input<'_>>),
    ) -> Result<Rebuilt, Fault> {
        if !wanted.is_sorted_by(|one, next| one < next) {
            let text = "records are read again in order, and once each";
            return Err(Fault::Stop(text.to_owned()));
        }
        for (place, at) in wanted.iter().enumerate() {
            let (number, found) = self.find(at.source, at.partition)?;
            let offset = usize::try_from(at.offset).unwrap_or(usize::MAX);
            let message = found.messages.get(offset).and_then(Option::as_ref);
            let index = usize::from(at.source.0);
            take(place, message.map(|m| m.input(index, number, offset)));
        }
        Ok(Rebuilt::Done)
    }

    fn restore(
        &mut self,
        output: OutputId,
        partition: i32,
        take: &mut dyn FnMut(Output<'_>),
    ) -> Result<Rebuilt, Fault> {
        let topic = self.topic(output)?;
        for published in &self.committed {
            if published.topic == topic && published.partition == Some(partition) {
                take(Output {
                    output,
                    partition: Some(partition),
                    key: published.key.as_deref(),
                    value: published.value.as_deref(),
                });
            }
        }
        Ok(Rebuilt::Done)
    }

    /// There is one partition of each source, or keys were not spread.
    fn misplaced(&mut self) -> Result<Vec<Misplaced>, Fault> {
        Ok(Vec::new())
    }

    fn lies_elsewhere(&self, _at: Coordinates, _key: &[u8]) -> bool {
        false
    }

    fn resume(&mut self) -> Result<(), Fault> {
        self.check_rewound()?;
        self.stage = Stage::Running;
        Ok(())
    }

    fn release(&mut self) -> Result<(), Fault> {
        self.stage = Stage::New;
        self.rewind()
    }

    fn publish(&mut self, outbox: &Outbox, _now_ms: i64) -> Result<(), Fault> {
        self.check_rewound()?;
        for output in outbox.iter() {
            let topic = self.topic(output.output)?.to_owned();
            self.batch.push(Published {
                topic,
                partition: output.partition,
                key: output.key.map(<[u8]>::to_vec),
                value: output.value.map(<[u8]>::to_vec),
                batch: self.batches + 1,
            });
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Fault> {
        self.check_rewound()?;
        if self.batch.is_empty() && !self.uncommitted() {
            return Ok(());
        }
        self.attempts += 1;
        if self
            .fail_every
            .is_some_and(|nth| self.attempts.is_multiple_of(nth))
        {
            self.stage = Stage::Aborted;
            return Err(Fault::Abort("on purpose".to_owned()));
        }
        self.batches += 1;
        self.committed.append(&mut self.batch);
        for source in &mut self.sources {
            for partition in &mut source.partitions {
                partition.committed = partition.next;
            }
        }
        Ok(())
    }

    /// Nothing outside of the process can be lost.
    fn recall(&mut self, _partition: i32, _mark: Option<&Mark>) -> Result<(), Fault> {
        Ok(())
    }

    fn verify(&mut self, _partition: i32, _before: bool) -> Result<Vec<Finding>, Fault> {
        Ok(Vec::new())
    }

    fn accept(&mut self, _findings: &[Finding]) -> Result<(), Fault> {
        Ok(())
    }

    fn check(&mut self) -> Result<Vec<Finding>, Fault> {
        match self.rebalance {
            true => Err(Fault::Interrupted),
            false => Ok(Vec::new()),
        }
    }

    fn position(&mut self, _partition: i32, _number: u64) -> Position {
        Position::default()
    }

    fn clock_ahead_ms(
        &mut self,
        _output: OutputId,
        _partition: i32,
        _written_ms: i64,
    ) -> Result<Option<i64>, Fault> {
        Ok(None)
    }

    fn begins_with_mark(&self) -> bool {
        false
    }

    fn acting(&self) -> BTreeSet<i32> {
        let moved = |(_, number, partition): &(SourceId, i32, &Partition)| {
            (partition.next != partition.committed).then_some(*number)
        };
        self.partitions().filter_map(|one| moved(&one)).collect()
    }

    fn uncommitted(&self) -> bool {
        let mut partitions = self.partitions();
        partitions.any(|(_, _, partition)| partition.next != partition.committed)
    }

    fn rewind(&mut self) -> Result<(), Fault> {
        if self.stage == Stage::Aborted {
            self.stage = Stage::Running;
        }
        self.drop_batch();
        Ok(())
    }

    fn pause(&mut self, _wait: Duration) -> Result<(), Fault> {
        Ok(())
    }

    /// Says how many messages of each partition are not committed.
    fn lag(&mut self) -> Vec<Lag> {
        let lag = |(source, number, partition): (SourceId, i32, &Partition)| Lag {
            source,
            partition: number,
            behind: to_offset(partition.messages.len() - partition.committed),
        };
        self.partitions().map(lag).collect()
    }

    fn close(&mut self, _leave: bool) -> Result<(), Fault> {
        self.release()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::transport::{OutputId, OutputPlan, OutputRole, SourcePlan};

    const LOAN: SourceId = SourceId(0);
    const PATRON: SourceId = SourceId(1);

    fn plan() -> LanePlan {
        let source = |topic: &str, gate| SourcePlan {
            topic: topic.to_owned(),
            gate,
            rebuilt: gate,
            joined: true,
            kept: crate::transport::continuity::Kept::ForATime,
        };
        LanePlan {
            name: "main".to_owned(),
            sources: vec![source("loan", false), source("patron", true)],
            outputs: vec![OutputPlan {
                topic: "out.all".to_owned(),
                owner: "all".to_owned(),
                day_only: false,
                version: None,
                role: OutputRole::Recipient,
            }],
            policy_version: "1".to_owned(),
            prints: None,
            forgotten: Vec::new(),
        }
    }

    fn world() -> MemoryTransport {
        let mut world = MemoryTransport::new(&plan());
        for number in 0..10_u8 {
            let partition = i32::from(number % 2);
            let key = Some(&b"p1"[..]);
            world.push(LOAN, partition, key, Payload::Bytes(&[b'0' + number]));
            world.push(PATRON, partition, key, Payload::Bytes(&[b'a' + number]));
        }
        world
    }

    /// Copies every input to the output, in batches of `batch_records`.
    fn run(world: &mut MemoryTransport, batch_records: usize) -> String {
        let mut outbox = Outbox::default();
        loop {
            let mut taken = 0;
            let polled = world.poll(Duration::ZERO, &mut |input| {
                let value = match input.payload {
                    Payload::Bytes(bytes) => bytes.to_vec(),
                    _ => Vec::new(),
                };
                outbox.push(OutputId(0), None, input.key, |bytes| bytes.extend(value));
                taken += 1;
                if taken >= batch_records {
                    Flow::Full
                } else {
                    Flow::More
                }
            });
            match polled.unwrap() {
                Polled::Assigned(_) => world.resume().unwrap(),
                Polled::End => break,
                _ => {
                    world.publish(&outbox, 0).unwrap();
                    outbox.clear();
                    if world.commit().is_err() {
                        world.rewind().unwrap();
                    }
                }
            }
        }
        let values = world.published_to("out.all");
        let values = values.flat_map(|output| output.value.clone().unwrap_or_default());
        String::from_utf8(values.collect()).unwrap()
    }

    #[test]
    fn gates_come_first_and_partitions_in_turn() {
        let mut world = world();
        let assigned = world.poll(Duration::ZERO, &mut |_| Flow::More).unwrap();
        let assigned_one = |partition| Assigned {
            partition,
            returned: false,
        };
        assert_eq!(
            assigned,
            Polled::Assigned(vec![assigned_one(0), assigned_one(1)])
        );
        assert_eq!(
            world.poll(Duration::ZERO, &mut |_| Flow::More),
            Ok(Polled::Idle)
        );
        world.resume().unwrap();
        assert_eq!(run(&mut world, 100), "acegibdfhj0246813579");
        assert_eq!(world.batches(), 1);
        let ends = [(LOAN, 0, 5), (LOAN, 1, 5), (PATRON, 0, 5), (PATRON, 1, 5)];
        assert_eq!(world.positions(), ends);
        assert!(world.lag().iter().all(|lag| lag.behind == 0));
    }

    #[test]
    fn a_rebuild_moves_nothing() {
        let mut world = world();
        let mut offsets = Vec::new();
        let rebuilt = world.rebuild(PATRON, 1, &mut |input| offsets.push(input.offset));
        assert_eq!((rebuilt, offsets), (Ok(Rebuilt::Done), vec![0, 1, 2, 3, 4]));
        assert!(!world.uncommitted());
        assert!(matches!(
            world.rebuild(PATRON, 2, &mut |_| ()),
            Err(Fault::Stop(_))
        ));
    }

    #[test]
    fn a_replay_ends_at_what_is_committed() {
        let replay = |world: &mut MemoryTransport| {
            let mut offsets = Vec::new();
            let read = world.replay(LOAN, 0, &mut |input| offsets.push(input.offset));
            assert_eq!(read, Ok(Rebuilt::Done));
            offsets
        };
        let mut world = world();
        assert!(replay(&mut world).is_empty());
        run(&mut world, 3);
        world.push(LOAN, 0, Some(b"p1"), Payload::Null);
        assert_eq!(replay(&mut world), [0, 1, 2, 3, 4]);
        world.cut(LOAN, 0, 3);
        assert_eq!(replay(&mut world), [3, 4]);
    }

    #[test]
    fn what_is_pushed_after_the_end_is_read() {
        let mut world = world();
        run(&mut world, 3);
        world.push(PATRON, 0, Some(b"p1"), Payload::Null);
        assert!(run(&mut world, 3).len() == 20 && world.published().len() == 21);
        assert!(world.last_values("out.all").contains_key(&b"p1"[..]));
    }

    #[test]
    fn an_abort_asks_for_a_rewind() {
        let mut world = world().with_fail_every(Some(1));
        world.poll(Duration::ZERO, &mut |_| Flow::More).unwrap();
        world.resume().unwrap();
        world.poll(Duration::ZERO, &mut |_| Flow::Full).unwrap();
        assert!(matches!(world.commit(), Err(Fault::Abort(_))));
        assert!(matches!(world.commit(), Err(Fault::Stop(_))));
        world.rewind().unwrap();
        assert!(!world.uncommitted() && world.published().is_empty());
    }

    fn read(world: &mut MemoryTransport, wanted: &[(SourceId, i32, i64)]) -> String {
        let wanted: Vec<Coordinates> = wanted
            .iter()
            .map(|&(source, partition, offset)| Coordinates {
                source,
                partition,
                offset,
            })
            .collect();
        let mut found = String::new();
        let read = world.read_again(&wanted, &mut |_, input| match input.map(|i| i.payload) {
            None => found.push('-'),
            Some(Payload::Bytes(bytes)) => found.push_str(std::str::from_utf8(bytes).unwrap()),
            Some(_) => found.push('!'),
        });
        assert_eq!(read, Ok(Rebuilt::Done));
        found
    }

    #[test]
    fn records_are_read_again_where_they_still_are() {
        let mut world = world();
        let wanted = [(LOAN, 0, 1), (LOAN, 0, 9), (LOAN, 1, 2), (PATRON, 0, 3)];
        assert_eq!(read(&mut world, &wanted), "2-5g");
        world.cut(LOAN, 1, 3).compact(PATRON);
        assert_eq!(read(&mut world, &wanted), "2---");
        assert_eq!(read(&mut world, &[(LOAN, 1, 3), (PATRON, 0, 4)]), "7i");
        assert!(!world.uncommitted());
        let nowhere = Coordinates {
            source: LOAN,
            partition: 7,
            offset: 0,
        };
        let none = world.read_again(&[nowhere], &mut |_, _| ());
        assert!(matches!(none, Err(Fault::Stop(_))));
    }

    #[test]
    fn holes_are_passed_over() {
        let mut world = world();
        world.push(PATRON, 0, Some(b"p1"), Payload::Null);
        world.compact(PATRON).drop_nulls(PATRON).cut(LOAN, 0, 4);
        assert_eq!(run(&mut world, 3), "j813579");
        let mut offsets = Vec::new();
        let rebuilt = world.rebuild(PATRON, 1, &mut |input| offsets.push(input.offset));
        assert_eq!((rebuilt, offsets), (Ok(Rebuilt::Done), vec![4]));
        let ends = [(LOAN, 0, 5), (LOAN, 1, 5), (PATRON, 0, 6), (PATRON, 1, 5)];
        assert_eq!(world.positions(), ends);
    }

    #[test]
    fn state_is_what_was_committed() {
        let mut world = world();
        let mut outbox = Outbox::default();
        outbox.push(OutputId(0), Some(1), Some(b"a"), |bytes| {
            bytes.extend(b"1");
        });
        outbox.push(OutputId(0), Some(0), Some(b"b"), |bytes| {
            bytes.extend(b"2");
        });
        outbox.push_null(OutputId(0), Some(1), b"a");
        world.poll(Duration::ZERO, &mut |_| Flow::More).unwrap();
        world.resume().unwrap();
        let rows = |world: &mut MemoryTransport| {
            let mut rows = Vec::new();
            let done = world.restore(OutputId(0), 1, &mut |row| rows.push(row.value.is_some()));
            assert_eq!(done, Ok(Rebuilt::Done));
            rows
        };
        world.publish(&outbox, 0).unwrap();
        world.poll(Duration::ZERO, &mut |_| Flow::Full).unwrap();
        assert!(rows(&mut world).is_empty());
        world.restart();
        assert!(!world.uncommitted());
        world.poll(Duration::ZERO, &mut |_| Flow::More).unwrap();
        world.resume().unwrap();
        world.publish(&outbox, 0).unwrap();
        world.commit().unwrap();
        world.restart();
        assert_eq!(rows(&mut world), [true, false]);
    }

    proptest! {
        #[test]
        fn batches_chunks_and_aborts_change_nothing(
            batch in 1_usize..30,
            chunk in 1_usize..30,
            fail in prop::option::of(2_u32..5),
        ) {
            let mut world = world().with_chunk(chunk).with_fail_every(fail);
            prop_assert_eq!(run(&mut world, batch), "acegibdfhj0246813579");
        }
    }
}
