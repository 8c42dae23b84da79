//! A transport in memory, for tests and `zeef project`.
//!
//! Keeps the order and contracts of the others, and checks that its worker does: continuing
//! after an abort without a rewind stops it. Reads no clock and never waits.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use super::{
    AssignedPartition, LateGate, PartitionLag, PollFlow, PollOutcome, ReadOutcome, Transport,
};
use crate::ledger::LEDGER_TOPIC;
use crate::ledger::block::digest_hex;
use crate::message::continuity::{
    ContinuityFinding, ContinuityMark, LedgerHead, MarkPositions, SourceProgress,
};
use crate::message::{
    AbortReason, AppendTime, Coordinates, Fault, Input, LanePlan, MisplacedRecord, Outbox, Output,
    OutputId, Payload, SourceId, TraceParent,
};
use crate::policy::reason::Reason;

/// Messages in, outputs out. An offset is the message's index in its partition.
#[derive(Clone, Debug)]
pub struct MemoryTransport {
    sources: Vec<MemorySource>,
    /// The rows of an intake's lookups, and how many were handed out.
    lookup_rows: Vec<(SourceId, MemoryMessage)>,
    next_lookup_row: usize,
    output_topics: Vec<String>,
    partition_count: usize,
    max_poll_records: usize,
    abort_every: Option<u32>,
    rebalance_every: Option<u32>,
    poll_count: u32,
    /// A rebalance waits to be polled.
    is_rebalance_pending: bool,
    /// Calls of commit that had something to commit.
    commit_attempts: u32,
    batch_outputs: Vec<PublishedOutput>,
    committed_outputs: Vec<PublishedOutput>,
    committed_batches: u32,
    stage: MemoryStage,
    /// When the last message was appended.
    last_append_ms: i64,
    /// Of the messages that are pushed next.
    trace_parent: Option<TraceParent>,
    /// The heads of the ledger's chains that marks name, by partition.
    ledger_heads: BTreeMap<i32, LedgerHead>,
    /// The topics of an intake's sources; none of a lane.
    intake_topics: Vec<String>,
    /// The partition numbers of an intake that the batch marks, and that a commit has marked.
    batch_marks: BTreeSet<i32>,
    committed_marks: BTreeSet<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MemoryStage {
    New,
    Assigned,
    Running,
    /// A batch was aborted and must be rewound.
    Aborted,
}

#[derive(Clone, Debug)]
struct MemorySource {
    is_gate: bool,
    has_keys: bool,
    partitions: Vec<MemoryPartition>,
}

#[derive(Clone, Debug, Default)]
struct MemoryPartition {
    /// By offset; `None` where compaction or retention left a gap.
    messages: Vec<Option<MemoryMessage>>,
    /// How many messages were handed out, and how many of those are committed.
    next_offset: usize,
    committed_offset: usize,
}

#[derive(Clone, Debug)]
struct MemoryMessage {
    appended_ms: i64,
    trace_parent: Option<TraceParent>,
    key: Option<Vec<u8>>,
    value: MemoryValue,
}

#[derive(Clone, Debug)]
enum MemoryValue {
    Null,
    Bytes(Vec<u8>),
    Refused(Reason),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedOutput {
    pub topic: String,
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// The number of the commit, from 1; aborted ones do not count.
    pub batch_number: u32,
}

impl MemoryTransport {
    /// Creates an empty transport with one partition per source.
    #[must_use]
    pub fn new(plan: &LanePlan) -> Self {
        let sources = plan.sources.iter().map(|source| MemorySource {
            is_gate: source.is_gate(),
            has_keys: source.is_joined || plan.intake.is_some(),
            partitions: vec![MemoryPartition::default()],
        });
        Self {
            sources: sources.collect(),
            lookup_rows: Vec::new(),
            next_lookup_row: 0,
            output_topics: plan.outputs.iter().map(|output| output.topic.clone()).collect(),
            partition_count: 1,
            max_poll_records: usize::MAX,
            abort_every: None,
            rebalance_every: None,
            poll_count: 0,
            is_rebalance_pending: false,
            commit_attempts: 0,
            batch_outputs: Vec::new(),
            committed_outputs: Vec::new(),
            committed_batches: 0,
            stage: MemoryStage::New,
            last_append_ms: 0,
            trace_parent: None,
            ledger_heads: BTreeMap::new(),
            intake_topics: match plan.intake {
                Some(_) => plan.sources.iter().map(|source| source.topic.clone()).collect(),
                None => Vec::new(),
            },
            batch_marks: BTreeSet::new(),
            committed_marks: BTreeSet::new(),
        }
    }

    #[must_use]
    pub fn with_partitions(mut self, count: usize) -> Self {
        self.grow_partitions(count);
        self
    }

    #[must_use]
    pub fn with_max_poll_records(mut self, records: usize) -> Self {
        self.max_poll_records = records.max(1);
        self
    }

    /// Queues a rebalance behind every n-th poll for records; it interrupts reads until it
    /// is polled.
    #[must_use]
    pub fn with_rebalance_every(mut self, nth: Option<u32>) -> Self {
        self.rebalance_every = nth.filter(|nth| *nth > 1);
        self
    }

    #[must_use]
    pub fn with_abort_every(mut self, nth: Option<u32>) -> Self {
        self.abort_every = nth.filter(|nth| *nth > 0);
        self
    }

    /// Appends a message, a millisecond after the one before; also during a run. Ignores a
    /// source that the plan does not have, and a negative partition. A source without keys
    /// has one partition, whatever `partition` is.
    pub fn push(
        &mut self,
        source: SourceId,
        partition: i32,
        key: Option<&[u8]>,
        payload: Payload<'_>,
    ) -> &mut Self {
        self.last_append_ms += 1;
        let (appended_ms, trace_parent) = (self.last_append_ms, self.trace_parent);
        let Ok(number) = usize::try_from(partition) else {
            return self;
        };
        let has_keys = self.sources.get(usize::from(source.0)).is_some_and(|one| one.has_keys);
        let number = if has_keys { number } else { 0 };
        self.grow_partitions(number + 1);
        if let Some(partition) = self.partition_mut(source, number) {
            partition.messages.push(Some(MemoryMessage {
                appended_ms,
                trace_parent,
                key: key.map(<[u8]>::to_vec),
                value: MemoryValue::from(payload),
            }));
        }
        self
    }

    /// Appends a row to a lookup of an intake, by the index of its topic in the plan.
    pub fn push_lookup_row(&mut self, lookup: u16, value: &[u8]) -> &mut Self {
        let message = MemoryMessage {
            appended_ms: self.last_append_ms,
            trace_parent: None,
            key: None,
            value: MemoryValue::Bytes(value.to_vec()),
        };
        self.lookup_rows.push((SourceId(lookup), message));
        self
    }

    /// Sets what the messages that are pushed next say of the upstream's operation.
    pub fn set_trace_parent(&mut self, trace_parent: Option<TraceParent>) -> &mut Self {
        self.trace_parent = trace_parent;
        self
    }

    /// Sets the append time of the next message.
    pub fn set_append_time(&mut self, appended_ms: i64) -> &mut Self {
        self.last_append_ms = appended_ms - 1;
        self
    }

    /// Compacts a source: the last message of each key stays, with all messages without a
    /// key and all offsets.
    pub fn compact(&mut self, source: SourceId) -> &mut Self {
        for partition in self.partitions_of(source) {
            partition.compact();
        }
        self
    }

    /// Drops the nulls of a source, as compaction does later.
    pub fn drop_tombstones(&mut self, source: SourceId) -> &mut Self {
        for partition in self.partitions_of(source) {
            for message in &mut partition.messages {
                message.take_if(|message| matches!(message.value, MemoryValue::Null));
            }
        }
        self
    }

    /// Drops the messages of a partition below `offset`, as retention does.
    pub fn delete_below(&mut self, source: SourceId, partition: i32, offset: i64) -> &mut Self {
        let number = usize::try_from(partition).unwrap_or(usize::MAX);
        if let Some(partition) = self.partition_mut(source, number) {
            let below = usize::try_from(offset).unwrap_or(0);
            partition.messages.iter_mut().take(below).for_each(|message| *message = None);
        }
        self
    }

    /// Goes back to what is committed, as if the process had been killed.
    pub fn restart(&mut self) -> &mut Self {
        self.stage = MemoryStage::New;
        self.next_lookup_row = 0;
        self.drop_batch();
        self
    }

    /// Starts over like a new lane: nothing is committed, and only the outputs of
    /// `kept_topic` remain.
    pub fn reset_as_new_lane(&mut self, kept_topic: &str) -> &mut Self {
        self.committed_outputs.retain(|output| output.topic == kept_topic);
        for source in &mut self.sources {
            for partition in &mut source.partitions {
                partition.committed_offset = 0;
            }
        }
        self.restart()
    }

    /// Changes committed outputs to what an older version would have written.
    pub fn rewrite_committed(&mut self, change: impl FnMut(&mut PublishedOutput)) -> &mut Self {
        self.committed_outputs.iter_mut().for_each(change);
        self
    }

    /// Switches to another policy whose lane has the same sources.
    pub fn set_plan(&mut self, plan: &LanePlan) -> &mut Self {
        let topics = plan.outputs.iter();
        self.output_topics = topics.map(|output| output.topic.clone()).collect();
        self
    }

    /// Drops committed outputs, as somebody does who deletes them.
    pub fn drop_committed(&mut self, is_dropped: impl Fn(&PublishedOutput) -> bool) -> &mut Self {
        self.committed_outputs.retain(|output| !is_dropped(output));
        self
    }

    /// Returns all committed outputs, oldest first.
    #[must_use]
    pub fn published(&self) -> &[PublishedOutput] {
        &self.committed_outputs
    }

    /// Returns the committed outputs of one topic, oldest first.
    pub fn published_to(&self, topic: &str) -> impl Iterator<Item = &PublishedOutput> {
        self.committed_outputs.iter().filter(move |output| output.topic == topic)
    }

    /// Returns the last value of each key of one topic.
    #[must_use]
    pub fn latest_values(&self, topic: &str) -> BTreeMap<&[u8], &[u8]> {
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

    /// Returns the committed position of every partition of every source.
    #[must_use]
    pub fn committed_positions(&self) -> Vec<(SourceId, i32, i64)> {
        let all = self.partitions();
        all.map(|(source, number, partition)| {
            (source, number, to_offset(partition.committed_offset))
        })
        .collect()
    }

    #[must_use]
    pub fn committed_batches(&self) -> u32 {
        self.committed_batches
    }

    fn partitions(&self) -> impl Iterator<Item = (SourceId, i32, &MemoryPartition)> {
        self.sources.iter().enumerate().flat_map(|(index, source)| {
            let partitions = source.partitions.iter().enumerate();
            partitions.map(move |(number, partition)| {
                (to_source_id(index), to_partition_number(number), partition)
            })
        })
    }

    fn partitions_of(&mut self, source: SourceId) -> impl Iterator<Item = &mut MemoryPartition> {
        let source = self.sources.get_mut(usize::from(source.0));
        source.into_iter().flat_map(|source| &mut source.partitions)
    }

    fn output_topic(&self, output: OutputId) -> Result<&str, Fault> {
        let topic = self.output_topics.get(usize::from(output.0));
        topic
            .map(String::as_str)
            .ok_or_else(|| Fault::stop(format!("there is no output {}", output.0)))
    }

    /// Returns a position in a partition number of each source of an intake.
    fn intake_positions(
        &self,
        partition: i32,
        position: impl Fn(&MemoryPartition) -> usize,
    ) -> BTreeMap<String, i64> {
        let sources = self.intake_topics.iter().zip(&self.sources);
        let found = sources.filter_map(|(topic, source)| {
            let partition = source.partitions.get(usize::try_from(partition).ok()?)?;
            Some((topic.clone(), to_offset(position(partition))))
        });
        found.collect()
    }

    fn drop_batch(&mut self) {
        self.batch_outputs.clear();
        self.batch_marks.clear();
        for source in &mut self.sources {
            for partition in &mut source.partitions {
                partition.next_offset = partition.committed_offset;
            }
        }
    }

    fn partition_mut(&mut self, source: SourceId, number: usize) -> Option<&mut MemoryPartition> {
        let source = self.sources.get_mut(usize::from(source.0))?;
        source.partitions.get_mut(number)
    }

    fn find_partition(
        &self,
        source: SourceId,
        partition: i32,
    ) -> Result<(usize, &MemoryPartition), Fault> {
        let partitions = self.sources.get(usize::from(source.0));
        let number = usize::try_from(partition).ok();
        let found = partitions.zip(number).and_then(|(source, number)| {
            let partition = source.partitions.get(number)?;
            Some((number, partition))
        });
        found.ok_or_else(|| {
            let number = source.0;
            Fault::stop(format!("source {number} has no partition {partition}"))
        })
    }

    fn grow_partitions(&mut self, count: usize) {
        self.partition_count = self.partition_count.max(count);
        for source in self.sources.iter_mut().filter(|source| source.has_keys) {
            source.partitions.resize_with(self.partition_count, MemoryPartition::default);
        }
    }

    /// Returns whether the joined sources have this partition, and this source, which has
    /// no keys, has not.
    fn lacks_partition(&self, source: SourceId, partition: i32) -> bool {
        let source = self.sources.get(usize::from(source.0));
        source.is_some_and(|source| !source.has_keys) && partition > 0
    }

    fn poll_records(&mut self, take: &mut dyn FnMut(Input<'_>) -> PollFlow) -> usize {
        self.poll_count += 1;
        let nth = self.rebalance_every;
        self.is_rebalance_pending = nth.is_some_and(|nth| self.poll_count.is_multiple_of(nth));
        self.deliver_records(take)
    }

    fn deliver_records(&mut self, take: &mut dyn FnMut(Input<'_>) -> PollFlow) -> usize {
        let mut count = 0;
        for gate in [true, false] {
            let sources = self.sources.iter_mut().enumerate();
            for (index, source) in sources.filter(|(_, source)| source.is_gate == gate) {
                for (number, partition) in source.partitions.iter_mut().enumerate() {
                    while count < self.max_poll_records
                        && let Some(message) = partition.messages.get(partition.next_offset)
                    {
                        let offset = partition.next_offset;
                        partition.next_offset += 1;
                        let Some(message) = message else {
                            continue;
                        };
                        count += 1;
                        if take(message.to_input(index, number, offset)) == PollFlow::BatchFull {
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
            MemoryStage::Aborted => Err(Fault::stop("an aborted batch was not rewound")),
            _ => Ok(()),
        }
    }
}

impl MemoryPartition {
    /// Returns the messages below an offset, with their offsets.
    fn messages_below(&self, end: usize) -> impl Iterator<Item = (usize, &MemoryMessage)> {
        let messages = self.messages.iter().enumerate().take(end);
        messages.filter_map(|(offset, message)| Some((offset, message.as_ref()?)))
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

impl MemoryMessage {
    fn to_input(&self, source: usize, partition: usize, offset: usize) -> Input<'_> {
        Input {
            source: to_source_id(source),
            partition: to_partition_number(partition),
            offset: to_offset(offset),
            timestamp_ms: None,
            append_time: Some(AppendTime { ms: self.appended_ms, is_exact: true }),
            trace_parent: self.trace_parent,
            key: self.key.as_deref(),
            payload: match &self.value {
                MemoryValue::Null => Payload::Null,
                MemoryValue::Bytes(bytes) => Payload::Bytes(bytes),
                MemoryValue::Refused(reason) => Payload::Refused(*reason),
            },
        }
    }
}

impl From<Payload<'_>> for MemoryValue {
    fn from(payload: Payload<'_>) -> Self {
        match payload {
            Payload::Null => Self::Null,
            Payload::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
            Payload::Refused(reason) | Payload::RefusedBytes(reason, _) => Self::Refused(reason),
        }
    }
}

fn to_source_id(index: usize) -> SourceId {
    SourceId(u16::try_from(index).unwrap_or(u16::MAX))
}

fn to_partition_number(partition: usize) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

fn to_offset(place: usize) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}

impl Transport for MemoryTransport {
    /// Returns [`PollOutcome::End`] whenever all pushed messages are committed, and
    /// continues when more are pushed.
    fn poll(
        &mut self,
        _wait: Duration,
        take: &mut dyn FnMut(Input<'_>) -> PollFlow,
    ) -> Result<PollOutcome, Fault> {
        self.check_rewound()?;
        match self.stage {
            MemoryStage::New => {
                self.stage = MemoryStage::Assigned;
                let numbers = 0..to_partition_number(self.partition_count);
                let assigned =
                    numbers.map(|partition| AssignedPartition { partition, is_unchanged: false });
                Ok(PollOutcome::Assigned(assigned.collect()))
            }
            MemoryStage::Assigned | MemoryStage::Aborted => Ok(PollOutcome::Idle),
            MemoryStage::Running if std::mem::take(&mut self.is_rebalance_pending) => {
                Ok(PollOutcome::Revoked)
            }
            MemoryStage::Running => match self.poll_records(take) {
                0 if self.has_uncommitted() => Ok(PollOutcome::Idle),
                0 => Ok(PollOutcome::End),
                count => Ok(PollOutcome::Records(count)),
            },
        }
    }

    fn rebuild(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<ReadOutcome, Fault> {
        let (number, found) = self.find_partition(source, partition)?;
        for (offset, message) in found.messages_below(usize::MAX) {
            take(message.to_input(usize::from(source.0), number, offset));
        }
        Ok(ReadOutcome::Done)
    }

    fn replay(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<ReadOutcome, Fault> {
        if self.lacks_partition(source, partition) {
            return Ok(ReadOutcome::Done);
        }
        let (number, found) = self.find_partition(source, partition)?;
        for (offset, message) in found.messages_below(found.committed_offset) {
            take(message.to_input(usize::from(source.0), number, offset));
        }
        Ok(ReadOutcome::Done)
    }

    fn reread_records(
        &mut self,
        wanted: &[Coordinates],
        take: &mut dyn FnMut(usize, Option<Input<'_>>),
    ) -> Result<ReadOutcome, Fault> {
        if !wanted.is_sorted_by(|one, next| one < next) {
            let text = "records are read again in order, and once each";
            return Err(Fault::stop(text));
        }
        for (place, at) in wanted.iter().enumerate() {
            let (number, found) = self.find_partition(at.source, at.partition)?;
            let offset = usize::try_from(at.offset).unwrap_or(usize::MAX);
            let message = found.messages.get(offset).and_then(Option::as_ref);
            let index = usize::from(at.source.0);
            take(place, message.map(|m| m.to_input(index, number, offset)));
        }
        Ok(ReadOutcome::Done)
    }

    fn restore(
        &mut self,
        output: OutputId,
        partition: i32,
        take: &mut dyn FnMut(Output<'_>),
    ) -> Result<ReadOutcome, Fault> {
        let topic = self.output_topic(output)?;
        for published in &self.committed_outputs {
            if published.topic == topic && published.partition == Some(partition) {
                take(Output {
                    output,
                    partition: Some(partition),
                    key: published.key.as_deref(),
                    value: published.value.as_deref(),
                    retraction: None,
                });
            }
        }
        Ok(ReadOutcome::Done)
    }

    /// Nothing is misplaced.
    fn take_misplaced(&mut self) -> Result<Vec<MisplacedRecord>, Fault> {
        Ok(Vec::new())
    }

    fn is_misplaced(&self, _at: Coordinates, _key: &[u8]) -> bool {
        false
    }

    fn read_lookups(
        &mut self,
        take: &mut dyn FnMut(Input<'_>),
        _waiting: &mut dyn FnMut(Duration),
    ) -> Result<ReadOutcome, Fault> {
        for (offset, (lookup, row)) in
            self.lookup_rows.iter().enumerate().skip(self.next_lookup_row)
        {
            take(row.to_input(usize::from(lookup.0), 0, offset));
        }
        self.next_lookup_row = self.lookup_rows.len();
        Ok(ReadOutcome::Done)
    }

    fn resume(&mut self) -> Result<(), Fault> {
        self.check_rewound()?;
        self.stage = MemoryStage::Running;
        Ok(())
    }

    fn release(&mut self) -> Result<(), Fault> {
        self.stage = MemoryStage::New;
        self.rewind()
    }

    fn publish(&mut self, outbox: &Outbox, _now_ms: i64) -> Result<(), Fault> {
        self.check_rewound()?;
        for output in outbox.iter() {
            let topic = self.output_topic(output.output)?.to_owned();
            self.batch_outputs.push(PublishedOutput {
                topic,
                partition: output.partition,
                key: output.key.map(<[u8]>::to_vec),
                value: output.value.map(<[u8]>::to_vec),
                batch_number: self.committed_batches + 1,
            });
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Fault> {
        self.check_rewound()?;
        if self.batch_outputs.is_empty() && !self.has_uncommitted() {
            return Ok(());
        }
        self.commit_attempts += 1;
        if self.abort_every.is_some_and(|nth| self.commit_attempts.is_multiple_of(nth)) {
            self.stage = MemoryStage::Aborted;
            let reason = AbortReason::CallFailed { step: "commit", code: None };
            return Err(Fault::abort(reason, "on purpose"));
        }
        self.committed_batches += 1;
        self.committed_outputs.append(&mut self.batch_outputs);
        self.committed_marks.append(&mut self.batch_marks);
        for source in &mut self.sources {
            for partition in &mut source.partitions {
                partition.committed_offset = partition.next_offset;
            }
        }
        Ok(())
    }

    fn load_mark(&mut self, partition: i32, mark: Option<&ContinuityMark>) -> Result<(), Fault> {
        match mark.and_then(|mark| mark.ledger.clone()).filter(|head| !head.is_forgotten()) {
            Some(head) => self.ledger_heads.insert(partition, head),
            None => self.ledger_heads.remove(&partition),
        };
        Ok(())
    }

    /// Nothing outside of the process can be lost but what tests take from the ledger.
    fn compare_with_mark(
        &mut self,
        partition: i32,
        _predates_marks: bool,
    ) -> Result<Vec<ContinuityFinding>, Fault> {
        let Some(head) = self.ledger_heads.get(&partition) else {
            return Ok(Vec::new());
        };
        let mut blocks = self.published_to(LEDGER_TOPIC).filter_map(|one| one.value.as_deref());
        let is_there = blocks.any(|block| digest_hex(block) == head.hash);
        Ok(match is_there {
            true => Vec::new(),
            false => vec![head.missing_finding(LEDGER_TOPIC, partition)],
        })
    }

    fn apply_accepted(&mut self, _findings: &[ContinuityFinding]) -> Result<(), Fault> {
        Ok(())
    }

    fn find_changes(&mut self) -> Result<Vec<ContinuityFinding>, Fault> {
        match self.is_rebalance_pending {
            true => Err(Fault::Interrupted),
            false => Ok(Vec::new()),
        }
    }

    /// Marks only an intake's partitions.
    fn mark_positions(&mut self, partition: i32, _number: u64) -> MarkPositions {
        let positions = self.intake_positions(partition, |partition| partition.next_offset);
        let progress = |next| SourceProgress { next, ..SourceProgress::default() };
        if !positions.is_empty() {
            self.batch_marks.insert(partition);
        }
        MarkPositions {
            sources: positions.into_iter().map(|(topic, next)| (topic, progress(next))).collect(),
            ..MarkPositions::default()
        }
    }

    fn marked_positions(&mut self, partition: i32) -> Result<BTreeMap<String, i64>, Fault> {
        Ok(match self.committed_marks.contains(&partition) {
            true => self.intake_positions(partition, |partition| partition.committed_offset),
            false => BTreeMap::new(),
        })
    }

    fn clock_ahead_ms(
        &mut self,
        _output: OutputId,
        _partition: i32,
        _written_ms: i64,
    ) -> Result<Option<i64>, Fault> {
        Ok(None)
    }

    fn needs_initial_mark(&self) -> bool {
        false
    }

    fn batch_partitions(&self) -> BTreeSet<i32> {
        let moved = |(_, number, partition): &(SourceId, i32, &MemoryPartition)| {
            (partition.next_offset != partition.committed_offset).then_some(*number)
        };
        self.partitions().filter_map(|one| moved(&one)).collect()
    }

    fn has_uncommitted(&self) -> bool {
        let mut partitions = self.partitions();
        partitions.any(|(_, _, partition)| partition.next_offset != partition.committed_offset)
    }

    fn rewind(&mut self) -> Result<(), Fault> {
        if self.stage == MemoryStage::Aborted {
            self.stage = MemoryStage::Running;
        }
        self.drop_batch();
        Ok(())
    }

    fn pause(&mut self, _wait: Duration) -> Result<(), Fault> {
        Ok(())
    }

    /// Returns how many messages of each partition are not committed.
    fn lag(&mut self) -> Vec<PartitionLag> {
        let lag = |(source, number, partition): (SourceId, i32, &MemoryPartition)| PartitionLag {
            source,
            partition: number,
            behind: to_offset(partition.messages.len() - partition.committed_offset),
        };
        self.partitions().map(lag).collect()
    }

    fn is_caught_up(&mut self) -> Result<bool, Fault> {
        Ok(self.lag().iter().all(|lag| lag.behind == 0))
    }

    fn late_gate(&self) -> Option<LateGate> {
        None
    }

    fn close(&mut self, _leave: bool) -> Result<(), Fault> {
        self.release()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{OutputId, OutputPlan, OutputRole, SourcePlan};

    const LOAN: SourceId = SourceId(0);
    const PATRON: SourceId = SourceId(1);

    fn lane_plan() -> LanePlan {
        let source = |topic: &str, gate: bool| SourcePlan {
            topic: topic.to_owned(),
            gate_rank: gate.then_some(0),
            is_rebuilt: gate,
            is_joined: true,
            retention: crate::message::continuity::SourceRetention::Limited,
        };
        LanePlan {
            name: "main".to_owned(),
            sources: vec![source("loan", false), source("patron", true)],
            outputs: vec![OutputPlan {
                topic: "out.all".to_owned(),
                owner: "all".to_owned(),
                has_day_timestamps: false,
                version_override: None,
                contract_version: None,
                encoding: None,
                role: OutputRole::Recipient,
            }],
            policy_version: "1".to_owned(),
            fingerprinter: None,
            forget_offset_totals: Vec::new(),
            known_former_topics: BTreeSet::new(),
            configured_topics: None,
            intake: None,
        }
    }

    fn filled_transport() -> MemoryTransport {
        let mut transport = MemoryTransport::new(&lane_plan());
        for number in 0..10_u8 {
            let partition = i32::from(number % 2);
            let key = Some(&b"p1"[..]);
            transport.push(LOAN, partition, key, Payload::Bytes(&[b'0' + number]));
            transport.push(PATRON, partition, key, Payload::Bytes(&[b'a' + number]));
        }
        transport
    }

    /// Copies every input to the output, in batches of `batch_records`.
    fn copy_to_end(transport: &mut MemoryTransport, batch_records: usize) -> String {
        let mut outbox = Outbox::default();
        loop {
            let mut taken = 0;
            let polled = transport.poll(Duration::ZERO, &mut |input| {
                let value = match input.payload {
                    Payload::Bytes(bytes) => bytes.to_vec(),
                    _ => Vec::new(),
                };
                outbox.push(OutputId(0), None, input.key, |bytes| bytes.extend(value));
                taken += 1;
                if taken >= batch_records { PollFlow::BatchFull } else { PollFlow::Continue }
            });
            match polled.unwrap() {
                PollOutcome::Assigned(_) => transport.resume().unwrap(),
                PollOutcome::End => break,
                _ => {
                    transport.publish(&outbox, 0).unwrap();
                    outbox.clear();
                    if transport.commit().is_err() {
                        transport.rewind().unwrap();
                    }
                }
            }
        }
        let values = transport.published_to("out.all");
        let values = values.flat_map(|output| output.value.clone().unwrap_or_default());
        String::from_utf8(values.collect()).unwrap()
    }

    #[test]
    fn memory_poll_delivers_gates_first_then_partitions_in_turn() {
        let mut transport = filled_transport();
        let assigned = transport.poll(Duration::ZERO, &mut |_| PollFlow::Continue).unwrap();
        let assigned_one = |partition| AssignedPartition { partition, is_unchanged: false };
        assert_eq!(assigned, PollOutcome::Assigned(vec![assigned_one(0), assigned_one(1)]));
        assert_eq!(
            transport.poll(Duration::ZERO, &mut |_| PollFlow::Continue),
            Ok(PollOutcome::Idle)
        );
        transport.resume().unwrap();
        assert_eq!(copy_to_end(&mut transport, 100), "acegibdfhj0246813579");
        assert_eq!(transport.committed_batches(), 1);
        let ends = [(LOAN, 0, 5), (LOAN, 1, 5), (PATRON, 0, 5), (PATRON, 1, 5)];
        assert_eq!(transport.committed_positions(), ends);
        assert!(transport.lag().iter().all(|lag| lag.behind == 0));
    }

    #[test]
    fn memory_rebuild_moves_no_position() {
        let mut transport = filled_transport();
        let mut offsets = Vec::new();
        let rebuilt = transport.rebuild(PATRON, 1, &mut |input| offsets.push(input.offset));
        assert_eq!((rebuilt, offsets), (Ok(ReadOutcome::Done), vec![0, 1, 2, 3, 4]));
        assert!(!transport.has_uncommitted());
        assert!(matches!(transport.rebuild(PATRON, 2, &mut |_| ()), Err(Fault::Stop(_))));
    }

    #[test]
    fn memory_replay_ends_at_committed_position() {
        let replay = |transport: &mut MemoryTransport| {
            let mut offsets = Vec::new();
            let read = transport.replay(LOAN, 0, &mut |input| offsets.push(input.offset));
            assert_eq!(read, Ok(ReadOutcome::Done));
            offsets
        };
        let mut transport = filled_transport();
        assert!(replay(&mut transport).is_empty());
        copy_to_end(&mut transport, 3);
        transport.push(LOAN, 0, Some(b"p1"), Payload::Null);
        assert_eq!(replay(&mut transport), [0, 1, 2, 3, 4]);
        transport.delete_below(LOAN, 0, 3);
        assert_eq!(replay(&mut transport), [3, 4]);
    }

    #[test]
    fn memory_poll_reads_messages_pushed_after_end() {
        let mut transport = filled_transport();
        copy_to_end(&mut transport, 3);
        transport.push(PATRON, 0, Some(b"p1"), Payload::Null);
        assert!(copy_to_end(&mut transport, 3).len() == 20 && transport.published().len() == 21);
        assert!(transport.latest_values("out.all").contains_key(&b"p1"[..]));
    }

    #[test]
    fn memory_commit_after_abort_requires_rewind() {
        let mut transport = filled_transport().with_abort_every(Some(1));
        transport.poll(Duration::ZERO, &mut |_| PollFlow::Continue).unwrap();
        transport.resume().unwrap();
        transport.poll(Duration::ZERO, &mut |_| PollFlow::BatchFull).unwrap();
        assert!(matches!(transport.commit(), Err(Fault::Abort(..))));
        assert!(matches!(transport.commit(), Err(Fault::Stop(_))));
        transport.rewind().unwrap();
        assert!(!transport.has_uncommitted() && transport.published().is_empty());
    }

    fn reread_values(transport: &mut MemoryTransport, wanted: &[(SourceId, i32, i64)]) -> String {
        let wanted: Vec<Coordinates> = wanted
            .iter()
            .map(|&(source, partition, offset)| Coordinates { source, partition, offset })
            .collect();
        let mut found = String::new();
        let read =
            transport.reread_records(&wanted, &mut |_, input| match input.map(|i| i.payload) {
                None => found.push('-'),
                Some(Payload::Bytes(bytes)) => found.push_str(std::str::from_utf8(bytes).unwrap()),
                Some(_) => found.push('!'),
            });
        assert_eq!(read, Ok(ReadOutcome::Done));
        found
    }

    #[test]
    fn memory_reread_returns_only_remaining_records() {
        let mut transport = filled_transport();
        let wanted = [(LOAN, 0, 1), (LOAN, 0, 9), (LOAN, 1, 2), (PATRON, 0, 3)];
        assert_eq!(reread_values(&mut transport, &wanted), "2-5g");
        transport.delete_below(LOAN, 1, 3).compact(PATRON);
        assert_eq!(reread_values(&mut transport, &wanted), "2---");
        assert_eq!(reread_values(&mut transport, &[(LOAN, 1, 3), (PATRON, 0, 4)]), "7i");
        assert!(!transport.has_uncommitted());
        let nowhere = Coordinates { source: LOAN, partition: 7, offset: 0 };
        let none = transport.reread_records(&[nowhere], &mut |_, _| ());
        assert!(matches!(none, Err(Fault::Stop(_))));
    }

    #[test]
    fn memory_poll_skips_compacted_and_deleted_offsets() {
        let mut transport = filled_transport();
        transport.push(PATRON, 0, Some(b"p1"), Payload::Null);
        transport.compact(PATRON).drop_tombstones(PATRON).delete_below(LOAN, 0, 4);
        assert_eq!(copy_to_end(&mut transport, 3), "j813579");
        let mut offsets = Vec::new();
        let rebuilt = transport.rebuild(PATRON, 1, &mut |input| offsets.push(input.offset));
        assert_eq!((rebuilt, offsets), (Ok(ReadOutcome::Done), vec![4]));
        let ends = [(LOAN, 0, 5), (LOAN, 1, 5), (PATRON, 0, 6), (PATRON, 1, 5)];
        assert_eq!(transport.committed_positions(), ends);
    }

    #[test]
    fn memory_restore_returns_committed_rows_only() {
        let mut transport = filled_transport();
        let mut outbox = Outbox::default();
        outbox.push(OutputId(0), Some(1), Some(b"a"), |bytes| {
            bytes.extend(b"1");
        });
        outbox.push(OutputId(0), Some(0), Some(b"b"), |bytes| {
            bytes.extend(b"2");
        });
        outbox.push_tombstone(OutputId(0), Some(1), b"a");
        transport.poll(Duration::ZERO, &mut |_| PollFlow::Continue).unwrap();
        transport.resume().unwrap();
        let rows = |transport: &mut MemoryTransport| {
            let mut rows = Vec::new();
            let done = transport.restore(OutputId(0), 1, &mut |row| rows.push(row.value.is_some()));
            assert_eq!(done, Ok(ReadOutcome::Done));
            rows
        };
        transport.publish(&outbox, 0).unwrap();
        transport.poll(Duration::ZERO, &mut |_| PollFlow::BatchFull).unwrap();
        assert!(rows(&mut transport).is_empty());
        transport.restart();
        assert!(!transport.has_uncommitted());
        transport.poll(Duration::ZERO, &mut |_| PollFlow::Continue).unwrap();
        transport.resume().unwrap();
        transport.publish(&outbox, 0).unwrap();
        transport.commit().unwrap();
        transport.restart();
        assert_eq!(rows(&mut transport), [true, false]);
    }

    proptest! {
        #[test]
        fn memory_output_is_independent_of_batches_polls_and_aborts(
            batch in 1_usize..30,
            chunk in 1_usize..30,
            fail in prop::option::of(2_u32..5),
        ) {
            let mut transport = filled_transport().with_max_poll_records(chunk).with_abort_every(fail);
            prop_assert_eq!(copy_to_end(&mut transport, batch), "acegibdfhj0246813579");
        }
    }
}
