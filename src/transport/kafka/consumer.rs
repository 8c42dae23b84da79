//! The group's member: its partitions, in the order that gates demand.
//!
//! It commits nothing by itself, but for the first offsets of a new group.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::fault;
use super::log::Logged;
use super::marks::MarkNumber;
use super::member::{Bell, Event, Member};
use super::misplaced::{Found, Watch};
use super::partition::{Part, Passed, Place};
use super::partitioner::Placement;
use super::settings::KafkaSettings;
use crate::transport::continuity::{Fingerprinter, Kept, Trail};
use crate::transport::{Fault, Flow, Input, Lag, LanePlan, LateGate, SourceId, Stop};

/// How many records one partition hands out before it is the next one's turn.
const CHUNK: usize = 256;
/// How long the bell is waited for at a time.
const NAP: Duration = Duration::from_millis(20);
const CALL: Duration = Duration::from_secs(5);
/// How long the ends of gates are waited for: the group must be served soon.
const GATES: Duration = Duration::from_secs(1);
/// Ends that were noted so lately are those of the batch's begin.
const FRESH: Duration = Duration::from_millis(200);
/// How long offsets without records may stay uncommitted.
const LAZY: Duration = Duration::from_secs(1);

/// One source of the plan, on Kafka.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub id: SourceId,
    /// As the plan has it, without the prefix.
    pub name: String,
    pub topic: String,
    pub gate: bool,
    pub kept: Kept,
    /// The worker has the same partitions of it as of the others.
    pub joined: bool,
    /// How many partitions it had when the transport was opened.
    pub partitions: i32,
    /// Where its keys belong; `None` where they are no patron ids, or there is
    /// one partition only.
    pub placement: Option<Placement>,
}

impl Source {
    /// Returns the trail of a partition that begins at `start`.
    pub(super) fn begin(&self, start: i64) -> Trail {
        Trail {
            next: start,
            start,
            anchors: Vec::new(),
            log: (self.kept == Kept::Whole).then_some(0),
        }
    }
}

/// Partitions of which some wait for the gates among them: those of one number
/// where all sources are joined, else all.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    /// When their ends were noted.
    noted: Option<Instant>,
    /// The gates reached the ends that were noted: the others may go on.
    open: bool,
    /// They waited for long: only what lay there when the ends were noted goes on.
    limited: bool,
}

/// Records in.
pub(super) struct Intake {
    parts: Vec<Part>,
    /// Queues of partitions that are not owned now. They are kept: librdkafka
    /// then never puts a record of these partitions into the common queue.
    queues: HashMap<Place, PartitionQueue<Member>>,
    pub consumer: Arc<BaseConsumer<Member>>,
    /// Sees the ends beyond open transactions.
    observer: Arc<BaseConsumer<Logged>>,
    bell: Arc<Bell>,
    pub sources: Vec<Source>,
    /// What was read of partitions that are not owned now.
    passed: HashMap<Place, Passed>,
    /// The number of the last mark of each partition number, and when the first
    /// one was written: what goes with the group's offsets.
    pub numbers: BTreeMap<i32, MarkNumber>,
    /// The partition numbers that the open batch writes marks for.
    pub marked: BTreeSet<i32>,
    prints: Option<Fingerprinter>,
    /// The group's metadata at the assignment, never fetched again.
    pub group: Option<ConsumerGroupMetadata>,
    /// Whose turn it is.
    turn: usize,
    /// Of the partitions that wait for each other.
    groups: Vec<Group>,
    /// All groups are open.
    open: bool,
    /// Since when the ends of gates are asked for without an answer.
    unanswered: Option<Instant>,
    /// How many statistics were looked at.
    received: u64,
    /// A source was reported missing; to be looked into.
    pub doubted: bool,
    /// Misplaced records that were handed out, not yet looked into.
    pub found: Vec<Found>,
    pub watch: Watch,
    until_end: bool,
    stop: Stop,
}

impl Intake {
    pub(super) fn open(
        settings: &KafkaSettings,
        plan: &LanePlan,
        worker: usize,
        sources: Vec<Source>,
        observer: Arc<BaseConsumer<Logged>>,
        stop: Stop,
    ) -> Result<Self, Fault> {
        let mut consumer: BaseConsumer<Member> = BaseConsumer::from_config_and_context(
            &settings.member(plan, worker),
            Member::default(),
        )
        .map_err(|error| Fault::Stop(format!("consumer: {error}")))?;
        let bell = Arc::new(Bell::default());
        let ring = Arc::clone(&bell);
        consumer.set_nonempty_callback(move || ring.ring());
        let topics: Vec<&str> = sources.iter().map(|source| &*source.topic).collect();
        consumer
            .subscribe(&topics)
            .map_err(|error| Fault::Stop(format!("subscribe: {error}")))?;
        Ok(Self {
            parts: Vec::new(),
            queues: HashMap::new(),
            consumer: Arc::new(consumer),
            observer,
            bell,
            sources,
            passed: HashMap::new(),
            numbers: BTreeMap::new(),
            marked: BTreeSet::new(),
            prints: plan.prints,
            group: None,
            turn: 0,
            groups: Vec::new(),
            open: false,
            unanswered: None,
            received: 0,
            doubted: false,
            found: Vec::new(),
            watch: Watch::default(),
            until_end: settings.until_end,
            stop,
        })
    }

    /// Serves the group's events; waits at most `wait` for the first one.
    pub(super) fn serve(&mut self, wait: Duration) -> Result<(), Fault> {
        let mut wait = wait;
        loop {
            let before = self.consumer.context().recorded().calls;
            match self.consumer.poll(wait) {
                None if self.consumer.context().recorded().calls == before => break,
                None => {}
                Some(Ok(_)) => {
                    return Err(Fault::Rebuild(
                        "consumer: a record came outside of its partition's queue".to_owned(),
                    ));
                }
                Some(Err(error)) => self.judge(&error)?,
            }
            if self.has_event() {
                break;
            }
            wait = Duration::ZERO;
        }
        self.observe()
    }

    fn judge(&mut self, error: &KafkaError) -> Result<(), Fault> {
        let fatal = self.consumer.client().fatal_error();
        let lapsed = self.consumer.context().recorded().lapsed;
        if let Some(fault) = fault::of_consumer(error, fatal, lapsed) {
            return Err(fault);
        }
        self.doubted |= matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)
        );
        Ok(())
    }

    /// Looks at statistics that came since the last time.
    fn observe(&mut self) -> Result<(), Fault> {
        let recorded = self.consumer.context().recorded();
        if recorded.received == self.received {
            return Ok(());
        }
        self.received = recorded.received;
        for part in &mut self.parts {
            let found = recorded.statistics.topics.get(&part.topic);
            if let Some(found) = found.and_then(|topic| topic.partitions.get(&part.place.1)) {
                part.observe(*found);
            }
        }
        for source in &self.sources {
            let Some(found) = recorded.statistics.topics.get(&source.topic) else {
                continue;
            };
            let last = found.partitions.keys().copied().max().unwrap_or(-1);
            check_count(source, last + 1)?;
        }
        Ok(())
    }

    pub(super) fn has_event(&self) -> bool {
        !self.consumer.context().recorded().events.is_empty()
    }

    pub(super) fn next_event(&self) -> Option<Event> {
        self.consumer.context().recorded().events.pop_front()
    }

    /// Takes partitions on, from the offsets given.
    pub(super) fn assign(&mut self, starts: &HashMap<Place, i64>) -> Result<(), Fault> {
        self.give_back();
        let mut places: Vec<_> = starts
            .iter()
            .map(|(place, start)| (*place, *start))
            .collect();
        places.sort_unstable();
        for (place, start) in places {
            let queue = self.queue(place)?;
            let Some(source) = self.source(place.0).cloned() else {
                continue;
            };
            let known = self.passed.remove(&place);
            let known = known.filter(|passed| passed.committed.next == start);
            let passed = known.unwrap_or_else(|| Passed::new(source.begin(start)));
            self.parts
                .push(Part::new(place, &source, queue, passed, self.prints));
        }
        self.turn = 0;
        self.group_parts();
        self.assign_parts()
    }

    /// Says which partitions wait for each other.
    fn group_parts(&mut self) {
        let joined = self.sources.iter().all(|source| source.joined);
        let number = |part: &Part| if joined { part.place.1 } else { 0 };
        let numbers: BTreeSet<i32> = self.parts.iter().map(number).collect();
        for part in &mut self.parts {
            part.group = numbers.range(..number(part)).count();
        }
        self.groups = vec![Group::default(); numbers.len()];
        self.open = false;
        self.unanswered = None;
    }

    fn assign_parts(&self) -> Result<(), Fault> {
        let list = self.list(|part| Some(part.committed))?;
        self.consumer
            .assign(&list)
            .map_err(|error| Fault::Rebuild(format!("assign: {error}")))
    }

    /// Answers the coordinator before the start offsets are known: an unanswered
    /// assignment would hold up the next rebalance.
    pub(super) fn assign_nothing(&mut self) -> Result<(), Fault> {
        self.give_back();
        self.consumer
            .assign(&TopicPartitionList::new())
            .map_err(|error| Fault::Rebuild(format!("assign: {error}")))
    }

    /// Gives all partitions up.
    pub(super) fn unassign(&mut self) -> Result<(), Fault> {
        self.give_back();
        self.group = None;
        self.consumer
            .unassign()
            .map_err(|error| Fault::Rebuild(format!("unassign: {error}")))
    }

    /// Forgets the partitions, but keeps their queues.
    fn give_back(&mut self) {
        for part in self.parts.drain(..) {
            self.passed.insert(part.place, part.passed);
            self.queues.insert(part.place, part.queue);
        }
    }

    /// The partition's own queue, split off before anything is fetched.
    fn queue(&mut self, place: Place) -> Result<PartitionQueue<Member>, Fault> {
        if let Some(queue) = self.queues.remove(&place) {
            return Ok(queue);
        }
        let topic = self.source(place.0).map(|source| source.topic.clone());
        let mut queue = topic
            .and_then(|topic| self.consumer.split_partition_queue(&topic, place.1))
            .ok_or_else(|| Fault::Rebuild("consumer: no queue for a partition".to_owned()))?;
        let ring = Arc::clone(&self.bell);
        queue.set_nonempty_callback(move || ring.ring());
        Ok(queue)
    }

    pub(super) fn source(&self, id: SourceId) -> Option<&Source> {
        self.sources.get(usize::from(id.0))
    }

    /// Finds the source of a topic on Kafka.
    pub(super) fn place(&self, topic: &str, partition: i32) -> Option<Place> {
        let source = self.sources.iter().find(|source| source.topic == topic)?;
        Some((source.id, partition))
    }

    /// Hands out what lies ready; waits at most `wait` for the first record.
    pub(super) fn hand_out(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Input<'_>) -> Flow,
    ) -> Result<usize, Fault> {
        let deadline = Instant::now() + wait;
        let mut handed = 0;
        loop {
            let (count, flow) = self.round(take)?;
            handed += count;
            self.serve(Duration::ZERO)?;
            if flow == Flow::Full || self.has_event() {
                return Ok(handed);
            }
            if count > 0 {
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if handed > 0 || left.is_zero() || self.stop.asked() {
                return Ok(handed);
            }
            self.bell.wait(left.min(NAP));
        }
    }

    /// One chunk of each partition that may go on.
    fn round(&mut self, take: &mut dyn FnMut(Input<'_>) -> Flow) -> Result<(usize, Flow), Fault> {
        if !self.open {
            self.look_at_gates()?;
        }
        let mut handed = 0;
        let parts = self.parts.len();
        for _ in 0..parts {
            let index = self.turn % parts;
            self.turn = (index + 1) % parts;
            if !self.may_go_on(index) {
                continue;
            }
            let Some(part) = self.parts.get_mut(index) else {
                continue;
            };
            let member = self.consumer.context();
            let (count, flow) = part.hand_out(CHUNK, member, &mut self.found, take)?;
            handed += count;
            if count > 0 {
                let source = part.place.0;
                self.watch.compared(source, part.newly_compared(count));
            }
            if flow == Flow::Full {
                return Ok((handed, Flow::Full));
            }
        }
        Ok((handed, Flow::More))
    }

    /// Notes the ends of the gates once per batch, when the first record that
    /// must wait for them lies ready.
    fn look_at_gates(&mut self) -> Result<(), Fault> {
        if !self.parts.iter().any(|part| part.gate) {
            self.groups.iter_mut().for_each(|group| group.open = true);
            self.open = true;
            return Ok(());
        }
        self.forget_exhausted()?;
        let mut waiting = false;
        for part in self.parts.iter_mut().filter(|part| !part.gate) {
            let is_noted = self.groups[part.group].noted.is_some();
            waiting = waiting || (!is_noted && part.look(self.consumer.context())?);
        }
        if waiting && !self.note_ends()? {
            self.unanswered.get_or_insert_with(Instant::now);
        }
        self.open_groups();
        Ok(())
    }

    /// Lets go on what waits for gates that have reached their ends.
    fn open_groups(&mut self) {
        for (place, group) in self.groups.iter_mut().enumerate() {
            let Some(noted) = group.noted.filter(|_| !group.open) else {
                continue;
            };
            let parts = || self.parts.iter().filter(|part| part.group == place);
            group.open = parts().all(|part| !part.gate || part.reached_mark());
            if !group.open {
                continue;
            }
            // Ends that were noted just now are the batch's own: what came since
            // then is as good as what lay there.
            group.limited = noted.elapsed() >= FRESH;
            if !group.limited {
                let parts = self.parts.iter_mut().filter(|part| part.group == place);
                parts.for_each(|part| part.limit = None);
            }
        }
        self.open = self.groups.iter().all(|group| group.open && !group.limited);
    }

    /// Forgets the ends of groups in which all that lay there was handed out and
    /// committed, so that they are noted anew.
    fn forget_exhausted(&mut self) -> Result<(), Fault> {
        if self.has_moved() {
            return Ok(());
        }
        for place in 0..self.groups.len() {
            if !self.groups[place].limited {
                continue;
            }
            let mut ready = false;
            for part in self.parts.iter_mut() {
                let waits = part.group == place && !part.gate;
                ready = ready || (waits && part.lies_ready(self.consumer.context())?);
            }
            if !ready {
                self.forget_ends(place);
            }
        }
        Ok(())
    }

    fn forget_ends(&mut self, place: usize) {
        self.groups[place] = Group::default();
        let parts = self.parts.iter_mut().filter(|part| part.group == place);
        parts.for_each(Part::forget_end);
        self.open = false;
    }

    /// Asks for the ends of the partitions of which none are noted, as a reader of
    /// uncommitted records sees them: what lies behind an open transaction of a
    /// gate counts. One request to each leader. Without an answer, which is false,
    /// the records behind the gates go on waiting.
    fn note_ends(&mut self) -> Result<bool, Fault> {
        let groups = &self.groups;
        let is_new = |part: &Part| groups[part.group].noted.is_none();
        let mut list = TopicPartitionList::new();
        for part in self.parts.iter().filter(|part| is_new(part)) {
            list.add_partition_offset(&part.topic, part.place.1, Offset::End)
                .map_err(|error| Fault::Rebuild(format!("ends of gates: {error}")))?;
        }
        let ends = match self.observer.offsets_for_times(list, GATES) {
            Ok(ends) => ends,
            Err(error) => {
                tracing::warn!(error = %error, "kafka: the ends of the gates are not known yet");
                return Ok(false);
            }
        };
        let mut found = Vec::with_capacity(self.parts.len());
        for (place, part) in self.parts.iter().enumerate() {
            if !is_new(part) {
                continue;
            }
            let end = ends
                .find_partition(&part.topic, part.place.1)
                .filter(|end| end.error().is_ok());
            match end.map(|end| end.offset()) {
                Some(Offset::Offset(end)) => found.push((place, end)),
                _ => return Ok(false),
            }
        }
        for (place, end) in found {
            self.parts[place].note_end(end);
        }
        let now = Instant::now();
        for group in &mut self.groups {
            group.noted.get_or_insert(now);
        }
        self.unanswered = None;
        Ok(true)
    }

    /// The gate that is late for the longest time: it holds back other records,
    /// or stays below its end.
    pub(super) fn late_gate(&self) -> Option<LateGate> {
        let gates = self.parts.iter().filter(|part| part.gate);
        let late = gates.filter_map(|part| {
            let noted = self.groups[part.group].noted;
            let waits = noted.map_or(self.unanswered, |noted| {
                (!part.reached_mark()).then_some(noted)
            });
            let since = [waits, part.stays_since()].into_iter().flatten().min()?;
            Some(LateGate {
                source: part.place.0,
                partition: part.place.1,
                offset: part.position,
                since: since.elapsed(),
            })
        });
        late.max_by_key(|late| late.since)
    }

    /// Gates always may. Others wait for the gates of their group.
    fn may_go_on(&self, index: usize) -> bool {
        let part = self.parts.get(index);
        part.is_some_and(|part| part.gate || self.groups[part.group].open)
    }

    pub(super) fn is_uncommitted(&self) -> bool {
        let patience = if self.until_end { Duration::ZERO } else { LAZY };
        self.parts.iter().any(|part| part.is_uncommitted(patience))
    }

    pub(super) fn has_moved(&self) -> bool {
        self.parts.iter().any(Part::has_moved)
    }

    /// The offsets that go with the batch: of all partitions that it writes marks
    /// for or that moved, or where there is none of all, so that a stale worker is
    /// refused in any case. Their metadata is the mark's number.
    pub(super) fn offsets(&self) -> Result<TopicPartitionList, Fault> {
        let any = self.has_moved() || !self.marked.is_empty();
        let goes = |part: &Part| part.has_moved() || self.marked.contains(&part.place.1) || !any;
        let mut list = TopicPartitionList::new();
        for part in self.parts.iter().filter(|part| goes(part)) {
            let added =
                list.add_partition_offset(&part.topic, part.place.1, Offset::Offset(part.position));
            added.map_err(|error| Fault::Rebuild(format!("offsets: {error}")))?;
            let number = self.numbers.get(&part.place.1);
            if let (Some(number), Some(mut element)) =
                (number, list.find_partition(&part.topic, part.place.1))
            {
                element.set_metadata(number.to_string());
            }
        }
        Ok(list)
    }

    /// The partitions with this number.
    pub(super) fn parts(&self, partition: i32) -> impl Iterator<Item = &Part> {
        let parts = self.parts.iter();
        parts.filter(move |part| part.place.1 == partition)
    }

    /// How many partitions the largest source has.
    pub(super) fn partitions(&self) -> i32 {
        let counts = self.sources.iter().map(|source| source.partitions);
        counts.max().unwrap_or(0)
    }

    /// All partitions.
    pub(super) fn all_parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter()
    }

    /// Sets what was read of a partition, before anything of it is handed out.
    pub(super) fn set_passed(&mut self, place: Place, trail: Trail) {
        if let Some(part) = self.parts.iter_mut().find(|part| part.place == place) {
            part.position = trail.next;
            part.committed = trail.next;
            part.passed = Passed::new(trail);
        }
    }

    /// Sets the first offset of a partition, as it is now.
    pub(super) fn set_start(&mut self, place: Place, start: i64) {
        if let Some(part) = self.parts.iter_mut().find(|part| part.place == place) {
            part.passed.committed.start = start;
        }
    }

    /// The partition numbers of which records were handed out.
    pub(super) fn moved(&self) -> BTreeSet<i32> {
        let moved = self.parts.iter().filter(|part| part.has_moved());
        moved.map(|part| part.place.1).collect()
    }

    /// Fetches from the committed offsets.
    pub(super) fn fetch_anew(&mut self) -> Result<(), Fault> {
        let starts = self.committed();
        self.assign(&starts)
    }

    fn list(&self, offset: impl Fn(&Part) -> Option<i64>) -> Result<TopicPartitionList, Fault> {
        let mut list = TopicPartitionList::new();
        for part in &self.parts {
            if let Some(offset) = offset(part) {
                list.add_partition_offset(&part.topic, part.place.1, Offset::Offset(offset))
                    .map_err(|error| Fault::Rebuild(format!("offsets: {error}")))?;
            }
        }
        Ok(list)
    }

    /// The batch was committed.
    pub(super) fn settle(&mut self) {
        self.parts.iter_mut().for_each(Part::settle);
        self.marked.clear();
        // While records wait the ends that they wait for stay: a gate whose
        // transactions are open most of the time would never be at a new one.
        for place in 0..self.groups.len() {
            if self.groups[place].open {
                self.forget_ends(place);
            }
        }
    }

    /// Back to the last commit.
    pub(super) fn rewind(&mut self) -> Result<(), Fault> {
        self.open = false;
        self.marked.clear();
        self.groups.fill(Group::default());
        let mut list = TopicPartitionList::new();
        for part in &mut self.parts {
            if part.rewind() {
                list.add_partition_offset(
                    &part.topic,
                    part.place.1,
                    Offset::Offset(part.committed),
                )
                .map_err(|error| Fault::Rebuild(format!("rewind: {error}")))?;
            }
        }
        if list.count() == 0 {
            return Ok(());
        }
        let sought = self.consumer.seek_partitions(list, CALL);
        let done = sought.is_ok_and(|list| {
            list.elements()
                .iter()
                .all(|element| element.error().is_ok())
        });
        if done {
            return Ok(());
        }
        // A partition that is not fetching yet cannot be sought in.
        let starts = self.committed();
        self.assign(&starts)
    }

    pub(super) fn committed(&self) -> HashMap<Place, i64> {
        self.parts
            .iter()
            .map(|part| (part.place, part.committed))
            .collect()
    }

    pub(super) fn lag(&self) -> Vec<Lag> {
        self.parts
            .iter()
            .filter_map(|part| {
                Some(Lag {
                    source: part.place.0,
                    partition: part.place.1,
                    behind: part.behind()?,
                })
            })
            .collect()
    }

    /// Leaves the group for good: a static member, too.
    pub(super) fn leave(&mut self, patience: Duration) {
        let before = self.received;
        let deadline = Instant::now() + patience;
        self.consumer.unsubscribe();
        while Instant::now() < deadline && !self.has_left(before) {
            self.serve_closing();
        }
    }

    /// Whether the member's state, reported after `before`, is that of one who
    /// left. Two statistics must have come: the first may have been on its way.
    fn has_left(&self, before: u64) -> bool {
        let recorded = self.consumer.context().recorded();
        let group = recorded.statistics.cgrp.as_ref();
        recorded.received >= before + 2 && group.is_none_or(|group| group.join_state == "init")
    }

    /// Closes the consumer; nothing is left for its drop to wait for.
    pub(super) fn close(&mut self, patience: Duration) {
        if self.consumer.closed() {
            return;
        }
        let deadline = Instant::now() + patience;
        if let Err(error) = self.consumer.close_queue() {
            tracing::debug!(error = %error, "kafka: close");
            return;
        }
        while !self.consumer.closed() && Instant::now() < deadline {
            self.serve_closing();
        }
        self.consumer.context().give_up();
        self.give_back();
        self.queues.clear();
    }

    /// Answers each rebalance with giving up all partitions.
    fn serve_closing(&mut self) {
        if let Err(fault) = self.serve(Duration::from_millis(20)) {
            tracing::debug!(%fault, "kafka: while closing");
        }
        while self.next_event().is_some() {
            if let Err(fault) = self.unassign() {
                tracing::debug!(%fault, "kafka: while closing");
            }
        }
    }
}

/// Stops where a source has another number of partitions than at the start.
pub(super) fn check_count(source: &Source, partitions: i32) -> Result<(), Fault> {
    if partitions <= source.partitions {
        return Ok(());
    }
    Err(Fault::Stop(widened(
        &source.topic,
        partitions,
        source.partitions,
    )))
}

/// Says that partitions were added to a source, and what is the way on.
#[must_use]
pub fn widened(topic: &str, partitions: i32, before: i32) -> String {
    format!(
        "topic `{topic}` has {partitions} partitions, had {before}: one patron's records would lie \
         in two of them, and what was refused or objected to would not count in the other one. \
         Have the sources written anew, to topics with as many partitions as are wanted, and start \
         a deployment of its own on them (`[kafka] topic_prefix`)"
    )
}
