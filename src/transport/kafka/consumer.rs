//! The group member: its partitions, in the order that gates demand.
//!
//! Commits nothing itself, except the first offsets of a new group.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::connect::Connection;
use super::fault;
use super::group_member::{GroupMemberContext, RebalanceEvent, Wakeup};
use super::log::LoggingContext;
use super::misplaced::{MisplacedMessage, MisplacedMonitor};
use super::owned_partition::{OwnedPartition, PartitionProgress, RecordReceiver};
use super::source::{KafkaSource, SourcePartition, check_partition_count};
use super::start_offsets::OffsetMetadata;
use crate::message::continuity::{Fingerprinter, SourceProgress};
use crate::message::{Cause, Fault, Input, LanePlan, SourceId};
use crate::transport::{LateGate, PartitionLag, PollFlow, StopSignal};

/// How many records a partition hands out before the next one's turn.
const CHUNK_RECORDS: usize = 256;
/// How long to wait for records at a time.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for the ends of gates: the group must be served soon.
const GATE_ENDS_TIMEOUT: Duration = Duration::from_secs(1);
/// Ends fetched within this time count as those of the batch's start.
const FRESH_ENDS_MAX_AGE: Duration = Duration::from_millis(200);
/// How long offsets without records may stay uncommitted.
const IDLE_COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// Partitions that wait for the gates among them: those with one partition number if all
/// sources are joined, otherwise all.
#[derive(Clone, Copy, Debug, Default)]
struct GateGroup {
    /// When the ends of its partitions were fetched.
    ends_noted_at: Option<Instant>,
    /// Up to which rank partitions may be handed out: that of the first gate that has not
    /// reached its end, or that has none yet; [`u8::MAX`] once all have.
    open_rank: u8,
    /// The gates took long: only what lay below the fetched ends may be handed out.
    is_limited: bool,
}

impl GateGroup {
    /// Returns a group whose ends are not noted yet: only its first gates may be handed out.
    fn closed(owned: &[OwnedPartition], index: usize) -> Self {
        let gates = owned.iter().filter(|part| part.gate_group == index && part.is_gate);
        let open_rank = gates.map(|part| part.rank).min().unwrap_or_default();
        GateGroup { open_rank, ..GateGroup::default() }
    }

    fn open(&mut self) {
        self.open_rank = u8::MAX;
    }

    /// Whether everything may be handed out.
    fn is_open(&self) -> bool {
        self.open_rank == u8::MAX
    }
}

/// The consumer of a worker, as a member of the lane's group.
pub(super) struct GroupConsumer {
    owned: Vec<OwnedPartition>,
    /// Queues of partitions not owned now. They are kept so that librdkafka never puts
    /// their records into the common queue.
    idle_queues: HashMap<SourcePartition, PartitionQueue<GroupMemberContext>>,
    pub consumer: Arc<BaseConsumer<GroupMemberContext>>,
    /// Sees the ends beyond open transactions.
    read_uncommitted_client: Arc<BaseConsumer<LoggingContext>>,
    wakeup: Arc<Wakeup>,
    pub sources: Vec<KafkaSource>,
    /// Progress of partitions not owned now.
    unowned_progress: HashMap<SourcePartition, PartitionProgress>,
    /// What is committed with the group's offsets, by partition number.
    pub offset_metadata: BTreeMap<i32, OffsetMetadata>,
    /// Partition numbers for which the open batch writes marks.
    pub marked_partitions: BTreeSet<i32>,
    /// Owned partitions of raw topics for which the group has no offset yet: without one, an
    /// empty partition would look as if nobody had read it.
    pub without_offset: BTreeSet<SourcePartition>,
    fingerprinter: Option<Fingerprinter>,
    /// The group's metadata at the assignment, never fetched again.
    pub group_metadata: Option<ConsumerGroupMetadata>,
    /// The index of the partition to hand out next.
    next_turn: usize,
    gate_groups: Vec<GateGroup>,
    are_all_gates_open: bool,
    /// Since when a request for the ends of gates has had no answer.
    unanswered_since: Option<Instant>,
    statistics_seen: u64,
    /// A source was reported missing and has to be looked up.
    pub has_missing_topic_report: bool,
    /// Misplaced records that were handed out and not examined yet.
    pub misplaced_messages: Vec<MisplacedMessage>,
    pub misplaced_monitor: MisplacedMonitor,
    until_end: bool,
    stop: StopSignal,
}

impl GroupConsumer {
    pub(super) fn open(
        connection: &Connection<'_>,
        plan: &LanePlan,
        worker: usize,
        sources: Vec<KafkaSource>,
    ) -> Result<Self, Fault> {
        let mut consumer: BaseConsumer<GroupMemberContext> = BaseConsumer::from_config_and_context(
            &connection.settings.group_member_config(plan, worker),
            GroupMemberContext::default(),
        )
        .map_err(|error| Fault::stop(Cause::at_step("consumer", error)))?;
        let wakeup = Arc::new(Wakeup::default());
        let on_record = Arc::clone(&wakeup);
        consumer.set_nonempty_callback(move || on_record.notify());
        let topics: Vec<&str> = sources.iter().map(|source| &*source.topic).collect();
        consumer
            .subscribe(&topics)
            .map_err(|error| Fault::stop(Cause::at_step("subscribe", error)))?;
        Ok(Self {
            owned: Vec::new(),
            idle_queues: HashMap::new(),
            consumer: Arc::new(consumer),
            read_uncommitted_client: Arc::clone(connection.client),
            wakeup,
            sources,
            unowned_progress: HashMap::new(),
            offset_metadata: BTreeMap::new(),
            marked_partitions: BTreeSet::new(),
            without_offset: BTreeSet::new(),
            fingerprinter: plan.fingerprinter,
            group_metadata: None,
            next_turn: 0,
            gate_groups: Vec::new(),
            are_all_gates_open: false,
            unanswered_since: None,
            statistics_seen: 0,
            has_missing_topic_report: false,
            misplaced_messages: Vec::new(),
            misplaced_monitor: MisplacedMonitor::default(),
            until_end: connection.settings.until_end,
            stop: connection.stop.clone(),
        })
    }

    /// Serves the group's events; waits at most `wait` for the first one.
    pub(super) fn serve_events(&mut self, wait: Duration) -> Result<(), Fault> {
        let mut wait = wait;
        loop {
            let before = self.consumer.context().lock_record().callback_count;
            match self.consumer.poll(wait) {
                None if self.consumer.context().lock_record().callback_count == before => break,
                None => {}
                Some(Ok(_)) => {
                    return Err(Fault::transport_lost(
                        "consumer: a record arrived outside its partition's queue".to_owned(),
                    ));
                }
                Some(Err(error)) => self.handle_error(&error)?,
            }
            if self.has_event() {
                break;
            }
            wait = Duration::ZERO;
        }
        self.apply_statistics()
    }

    fn handle_error(&mut self, error: &KafkaError) -> Result<(), Fault> {
        let fatal = self.consumer.client().fatal_error();
        let lapsed = self.consumer.context().lock_record().has_session_lapsed;
        if let Some(fault) = fault::classify_consumer_error(error, fatal, lapsed) {
            return Err(fault);
        }
        self.has_missing_topic_report |= matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)
        );
        Ok(())
    }

    /// Applies statistics that arrived since the last call.
    fn apply_statistics(&mut self) -> Result<(), Fault> {
        let recorded = self.consumer.context().lock_record();
        if recorded.statistics_count == self.statistics_seen {
            return Ok(());
        }
        self.statistics_seen = recorded.statistics_count;
        for part in &mut self.owned {
            let found = recorded.statistics.topics.get(&part.topic);
            if let Some(found) =
                found.and_then(|topic| topic.partitions.get(&part.source_partition.1))
            {
                part.apply_statistics(*found);
            }
        }
        for source in &self.sources {
            let Some(found) = recorded.statistics.topics.get(&source.topic) else {
                continue;
            };
            let last = found.partitions.keys().copied().max().unwrap_or(-1);
            check_partition_count(source, last + 1)?;
        }
        Ok(())
    }

    pub(super) fn has_event(&self) -> bool {
        !self.consumer.context().lock_record().events.is_empty()
    }

    pub(super) fn next_event(&self) -> Option<RebalanceEvent> {
        self.consumer.context().lock_record().events.pop_front()
    }

    /// Takes on partitions from the given offsets.
    pub(super) fn assign(&mut self, starts: &HashMap<SourcePartition, i64>) -> Result<(), Fault> {
        self.release_owned();
        let mut places: Vec<_> = starts.iter().map(|(place, start)| (*place, *start)).collect();
        places.sort_unstable();
        for (place, start) in places {
            let queue = self.take_queue(place)?;
            let Some(source) = self.find_source(place.0).cloned() else {
                continue;
            };
            let known = self.unowned_progress.remove(&place);
            let known = known.filter(|known| known.committed_progress.next == start);
            let progress = known.unwrap_or_else(|| {
                PartitionProgress::new(source.new_progress(start), self.fingerprinter)
            });
            self.owned.push(OwnedPartition::new(place.1, &source, queue, progress));
        }
        self.next_turn = 0;
        self.form_gate_groups();
        self.assign_owned()
    }

    /// Groups the partitions that wait for each other.
    fn form_gate_groups(&mut self) {
        let joined = self.sources.iter().all(|source| source.is_joined);
        let number = |part: &OwnedPartition| if joined { part.source_partition.1 } else { 0 };
        let numbers: BTreeSet<i32> = self.owned.iter().map(number).collect();
        for part in &mut self.owned {
            part.gate_group = numbers.range(..number(part)).count();
        }
        self.gate_groups =
            (0..numbers.len()).map(|index| GateGroup::closed(&self.owned, index)).collect();
        self.are_all_gates_open = false;
        self.unanswered_since = None;
    }

    fn assign_owned(&self) -> Result<(), Fault> {
        let list = self.build_offset_list(|part| Some(part.committed_position))?;
        self.consumer
            .assign(&list)
            .map_err(|error| Fault::transport_lost(Cause::at_step("assign", error)))
    }

    /// Answers the coordinator before the start offsets are known: an unanswered assignment
    /// would delay the next rebalance.
    pub(super) fn assign_nothing(&mut self) -> Result<(), Fault> {
        self.without_offset.clear();
        self.release_owned();
        self.consumer
            .assign(&TopicPartitionList::new())
            .map_err(|error| Fault::transport_lost(Cause::at_step("assign", error)))
    }

    pub(super) fn unassign(&mut self) -> Result<(), Fault> {
        self.without_offset.clear();
        self.release_owned();
        self.group_metadata = None;
        self.consumer
            .unassign()
            .map_err(|error| Fault::transport_lost(Cause::at_step("unassign", error)))
    }

    /// Gives up the partitions, but keeps their queues.
    fn release_owned(&mut self) {
        for part in self.owned.drain(..) {
            self.unowned_progress.insert(part.source_partition, part.progress);
            self.idle_queues.insert(part.source_partition, part.queue);
        }
    }

    /// Returns the partition's own queue, split off before anything is fetched.
    fn take_queue(
        &mut self,
        source_partition: SourcePartition,
    ) -> Result<PartitionQueue<GroupMemberContext>, Fault> {
        if let Some(queue) = self.idle_queues.remove(&source_partition) {
            return Ok(queue);
        }
        let topic = self.find_source(source_partition.0).map(|source| source.topic.clone());
        let mut queue = topic
            .and_then(|topic| self.consumer.split_partition_queue(&topic, source_partition.1))
            .ok_or_else(|| Fault::transport_lost("consumer: no queue for a partition"))?;
        let wakeup = Arc::clone(&self.wakeup);
        queue.set_nonempty_callback(move || wakeup.notify());
        Ok(queue)
    }

    pub(super) fn find_source(&self, id: SourceId) -> Option<&KafkaSource> {
        self.sources.get(usize::from(id.0))
    }

    pub(super) fn find_source_partition(
        &self,
        topic: &str,
        partition: i32,
    ) -> Option<SourcePartition> {
        let source = self.sources.iter().find(|source| source.topic == topic)?;
        Some((source.id, partition))
    }

    /// Hands out what is ready; waits at most `wait` for the first record.
    pub(super) fn deliver_records(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Input<'_>) -> PollFlow,
    ) -> Result<usize, Fault> {
        let deadline = Instant::now() + wait;
        let mut handed = 0;
        loop {
            let (count, flow) = self.deliver_round(take)?;
            handed += count;
            self.serve_events(Duration::ZERO)?;
            if flow == PollFlow::BatchFull || self.has_event() {
                return Ok(handed);
            }
            // Gates may have reached their ends by offsets without records.
            if count > 0 || self.open_ready_groups() {
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if handed > 0 || left.is_zero() || self.stop.is_requested() {
                return Ok(handed);
            }
            self.wakeup.wait(left.min(POLL_INTERVAL));
        }
    }

    /// Hands out one chunk of each partition that may be handed out.
    fn deliver_round(
        &mut self,
        take: &mut dyn FnMut(Input<'_>) -> PollFlow,
    ) -> Result<(usize, PollFlow), Fault> {
        if !self.are_all_gates_open {
            self.update_gate_ends()?;
        }
        let mut handed = 0;
        let parts = self.owned.len();
        for _ in 0..parts {
            let index = self.next_turn % parts;
            self.next_turn = (index + 1) % parts;
            if !self.owned.get(index).is_some_and(|part| self.can_deliver(part)) {
                continue;
            }
            let Some(part) = self.owned.get_mut(index) else {
                continue;
            };
            let mut receiver =
                RecordReceiver { misplaced_messages: &mut self.misplaced_messages, take };
            let (count, flow) =
                part.deliver_records(CHUNK_RECORDS, self.consumer.context(), &mut receiver)?;
            handed += count;
            if count > 0 {
                let source = part.source_partition.0;
                self.misplaced_monitor.add_compared(source, part.count_newly_compared(count));
            }
            if flow == PollFlow::BatchFull {
                return Ok((handed, PollFlow::BatchFull));
            }
        }
        Ok((handed, PollFlow::Continue))
    }

    /// Fetches the ends of the gates once per batch, when the first record that must wait
    /// for them is ready.
    fn update_gate_ends(&mut self) -> Result<(), Fault> {
        if !self.owned.iter().any(|part| part.is_gate) {
            self.gate_groups.iter_mut().for_each(GateGroup::open);
            self.are_all_gates_open = true;
            return Ok(());
        }
        self.reset_exhausted_groups()?;
        let mut waiting = false;
        for part in &mut self.owned {
            let group = self.gate_groups[part.gate_group];
            let waits = group.ends_noted_at.is_none() && part.rank > group.open_rank;
            waiting = waiting || (waits && part.peek_record(self.consumer.context())?);
        }
        if waiting && !self.fetch_gate_ends()? {
            self.unanswered_since.get_or_insert_with(Instant::now);
        }
        self.open_ready_groups();
        Ok(())
    }

    /// Opens the groups whose gates have reached their ends, and others as far as they have.
    /// Returns whether more may be handed out.
    fn open_ready_groups(&mut self) -> bool {
        let mut opens_more = false;
        for (place, group) in self.gate_groups.iter_mut().enumerate() {
            let Some(noted) = group.ends_noted_at.filter(|_| !group.is_open()) else {
                continue;
            };
            let gates = self.owned.iter().filter(|part| part.gate_group == place && part.is_gate);
            let late = gates.filter(|part| !part.has_reached_gate_end());
            if let Some(rank) = late.map(|part| part.rank).min() {
                opens_more |= rank > group.open_rank;
                group.open_rank = rank;
                continue;
            }
            opens_more = true;
            group.open();
            // Ends fetched just now are the batch's own: what came since is as good as what
            // lay there.
            group.is_limited = noted.elapsed() >= FRESH_ENDS_MAX_AGE;
            if !group.is_limited {
                let parts = self.owned.iter_mut().filter(|part| part.gate_group == place);
                parts.for_each(|part| part.read_limit = None);
            }
        }
        self.are_all_gates_open =
            self.gate_groups.iter().all(|group| group.is_open() && !group.is_limited);
        opens_more
    }

    /// Resets the groups whose records below the fetched ends were all committed, so that
    /// ends are fetched again.
    fn reset_exhausted_groups(&mut self) -> Result<(), Fault> {
        if self.has_moved() {
            return Ok(());
        }
        for place in 0..self.gate_groups.len() {
            if !self.gate_groups[place].is_limited {
                continue;
            }
            let mut ready = false;
            for part in self.owned.iter_mut() {
                let waits = part.gate_group == place && part.rank > 0;
                ready = ready || (waits && part.has_deliverable_record(self.consumer.context())?);
            }
            if !ready {
                self.reset_group(place);
            }
        }
        Ok(())
    }

    fn reset_group(&mut self, group_index: usize) {
        self.gate_groups[group_index] = GateGroup::closed(&self.owned, group_index);
        let parts = self.owned.iter_mut().filter(|part| part.gate_group == group_index);
        parts.for_each(OwnedPartition::clear_batch_end);
        self.are_all_gates_open = false;
    }

    /// Fetches missing ends, one request per leader, as a reader of uncommitted records
    /// sees them: what an open transaction of a gate hides counts. Returns false without an
    /// answer; the records behind the gates keep waiting.
    fn fetch_gate_ends(&mut self) -> Result<bool, Fault> {
        let groups = &self.gate_groups;
        let is_new = |part: &OwnedPartition| groups[part.gate_group].ends_noted_at.is_none();
        let mut list = TopicPartitionList::new();
        for part in self.owned.iter().filter(|part| is_new(part)) {
            list.add_partition_offset(&part.topic, part.source_partition.1, Offset::End)
                .map_err(|error| Fault::transport_lost(Cause::at_step("ends of gates", error)))?;
        }
        let ends = match self.read_uncommitted_client.offsets_for_times(list, GATE_ENDS_TIMEOUT) {
            Ok(ends) => ends,
            Err(error) => {
                tracing::warn!(error = %error, "kafka: the ends of the gates are not known yet");
                return Ok(false);
            }
        };
        let mut found = Vec::with_capacity(self.owned.len());
        for (place, part) in self.owned.iter().enumerate() {
            if !is_new(part) {
                continue;
            }
            let end = ends
                .find_partition(&part.topic, part.source_partition.1)
                .filter(|end| end.error().is_ok());
            match end.map(|end| end.offset()) {
                Some(Offset::Offset(end)) => found.push((place, end)),
                _ => return Ok(false),
            }
        }
        for (place, end) in found {
            self.owned[place].set_batch_end(end);
        }
        let now = Instant::now();
        for group in &mut self.gate_groups {
            group.ends_noted_at.get_or_insert(now);
        }
        self.unanswered_since = None;
        Ok(true)
    }

    /// Returns the gate that has held back other records, or stayed below its end, for
    /// longest.
    pub(super) fn longest_late_gate(&self) -> Option<LateGate> {
        // A gate that waits for another one is not late itself.
        let gates = self.owned.iter().filter(|part| part.is_gate && self.can_deliver(part));
        let late = gates.filter_map(|part| {
            let noted = self.gate_groups[part.gate_group].ends_noted_at;
            let waits = noted.map_or(self.unanswered_since, |noted| {
                (!part.has_reached_gate_end()).then_some(noted)
            });
            let since = [waits, part.stalled_since()].into_iter().flatten().min()?;
            Some(LateGate {
                source: part.source_partition.0,
                partition: part.source_partition.1,
                offset: part.position,
                late_for: since.elapsed(),
            })
        });
        late.max_by_key(|late| late.late_for)
    }

    /// Returns whether a partition may be handed out: the gates that its records wait for
    /// have reached their ends.
    fn can_deliver(&self, part: &OwnedPartition) -> bool {
        part.rank <= self.gate_groups[part.gate_group].open_rank
    }

    pub(super) fn needs_commit(&self) -> bool {
        let patience = if self.until_end { Duration::ZERO } else { IDLE_COMMIT_INTERVAL };
        !self.without_offset.is_empty() || self.owned.iter().any(|part| part.needs_commit(patience))
    }

    pub(super) fn has_moved(&self) -> bool {
        self.owned.iter().any(OwnedPartition::has_moved)
    }

    /// Returns the offsets to commit: of all partitions that moved, get a mark or have none yet,
    /// or of all if there is none, so that a stale worker is always fenced. Their metadata is the
    /// mark's number.
    pub(super) fn offsets_to_commit(&self) -> Result<TopicPartitionList, Fault> {
        let any = self.has_moved()
            || !self.marked_partitions.is_empty()
            || !self.without_offset.is_empty();
        let goes = |part: &OwnedPartition| {
            part.has_moved()
                || self.marked_partitions.contains(&part.source_partition.1)
                || self.without_offset.contains(&part.source_partition)
                || !any
        };
        let mut list = TopicPartitionList::new();
        for part in self.owned.iter().filter(|part| goes(part)) {
            let added = list.add_partition_offset(
                &part.topic,
                part.source_partition.1,
                Offset::Offset(part.position),
            );
            added.map_err(|error| Fault::transport_lost(Cause::at_step("offsets", error)))?;
            let number = self.offset_metadata.get(&part.source_partition.1);
            if let (Some(number), Some(mut element)) =
                (number, list.find_partition(&part.topic, part.source_partition.1))
            {
                element.set_metadata(number.to_string());
            }
        }
        Ok(list)
    }

    pub(super) fn owned_with_number(
        &self,
        partition: i32,
    ) -> impl Iterator<Item = &OwnedPartition> {
        let parts = self.owned.iter();
        parts.filter(move |part| part.source_partition.1 == partition)
    }

    pub(super) fn max_partition_count(&self) -> i32 {
        let counts = self.sources.iter().map(|source| source.partition_count);
        counts.max().unwrap_or(0)
    }

    pub(super) fn all_owned(&self) -> impl Iterator<Item = &OwnedPartition> {
        self.owned.iter()
    }

    /// Sets the progress of a partition before anything of it is handed out.
    pub(super) fn set_progress(
        &mut self,
        source_partition: SourcePartition,
        mut progress: SourceProgress,
    ) {
        let source = self.find_source(source_partition.0);
        progress.partition_count = source.map_or(0, |source| source.partition_count);
        progress.gate = source.and_then(|source| source.gate.clone());
        if let Some(part) =
            self.owned.iter_mut().find(|part| part.source_partition == source_partition)
        {
            part.position = progress.next;
            part.committed_position = progress.next;
            part.progress.restart(progress);
        }
    }

    /// Sets the first offset that a partition has now.
    pub(super) fn set_progress_start(&mut self, source_partition: SourcePartition, start: i64) {
        if let Some(part) =
            self.owned.iter_mut().find(|part| part.source_partition == source_partition)
        {
            part.progress.committed_progress.start = start;
        }
    }

    /// Returns the partition numbers of which records were handed out.
    pub(super) fn moved_partition_numbers(&self) -> BTreeSet<i32> {
        let moved = self.owned.iter().filter(|part| part.has_moved());
        moved.map(|part| part.source_partition.1).collect()
    }

    /// Fetches from the committed offsets.
    pub(super) fn reassign_committed(&mut self) -> Result<(), Fault> {
        let starts = self.committed_positions();
        self.assign(&starts)
    }

    fn build_offset_list(
        &self,
        offset: impl Fn(&OwnedPartition) -> Option<i64>,
    ) -> Result<TopicPartitionList, Fault> {
        let mut list = TopicPartitionList::new();
        for part in &self.owned {
            if let Some(offset) = offset(part) {
                list.add_partition_offset(
                    &part.topic,
                    part.source_partition.1,
                    Offset::Offset(offset),
                )
                .map_err(|error| Fault::transport_lost(Cause::at_step("offsets", error)))?;
            }
        }
        Ok(list)
    }

    pub(super) fn commit_positions(&mut self) {
        self.owned.iter_mut().for_each(OwnedPartition::commit_position);
        self.marked_partitions.clear();
        self.without_offset.clear();
        // The ends that waiting records wait for stay: a gate with open transactions most
        // of the time would never reach new ones.
        for place in 0..self.gate_groups.len() {
            if self.gate_groups[place].is_open() {
                self.reset_group(place);
            }
        }
    }

    /// Goes back to the last commit.
    pub(super) fn rewind(&mut self) -> Result<(), Fault> {
        self.marked_partitions.clear();
        (0..self.gate_groups.len()).for_each(|index| self.reset_group(index));
        let mut list = TopicPartitionList::new();
        for part in &mut self.owned {
            if part.rewind() {
                list.add_partition_offset(
                    &part.topic,
                    part.source_partition.1,
                    Offset::Offset(part.committed_position),
                )
                .map_err(|error| Fault::transport_lost(Cause::at_step("rewind", error)))?;
            }
        }
        if list.count() == 0 {
            return Ok(());
        }
        let sought = self.consumer.seek_partitions(list, CALL_TIMEOUT);
        let done =
            sought.is_ok_and(|list| list.elements().iter().all(|element| element.error().is_ok()));
        if done {
            return Ok(());
        }
        // A partition that is not fetching yet cannot seek.
        let starts = self.committed_positions();
        self.assign(&starts)
    }

    pub(super) fn committed_positions(&self) -> HashMap<SourcePartition, i64> {
        self.owned.iter().map(|part| (part.source_partition, part.committed_position)).collect()
    }

    pub(super) fn lag(&self) -> Vec<PartitionLag> {
        self.owned
            .iter()
            .filter_map(|part| {
                Some(PartitionLag {
                    source: part.source_partition.0,
                    partition: part.source_partition.1,
                    behind: part.lag()?,
                })
            })
            .collect()
    }

    /// Leaves the group for good, even as a static member.
    pub(super) fn leave_group(&mut self, timeout: Duration) {
        let before = self.statistics_seen;
        let deadline = Instant::now() + timeout;
        self.consumer.unsubscribe();
        while Instant::now() < deadline && !self.has_left(before) {
            self.serve_while_closing();
        }
    }

    /// Returns whether statistics since `before` show a member that left. The first ones
    /// may have been under way, so two are needed.
    fn has_left(&self, before: u64) -> bool {
        let recorded = self.consumer.context().lock_record();
        let group = recorded.statistics.cgrp.as_ref();
        recorded.statistics_count >= before + 2
            && group.is_none_or(|group| group.join_state == "init")
    }

    /// Closes the consumer, so that its drop waits for nothing.
    pub(super) fn close(&mut self, timeout: Duration) {
        if self.consumer.closed() {
            return;
        }
        let deadline = Instant::now() + timeout;
        if let Err(error) = self.consumer.close_queue() {
            tracing::debug!(error = %error, "kafka: close");
            return;
        }
        while !self.consumer.closed() && Instant::now() < deadline {
            self.serve_while_closing();
        }
        self.consumer.context().give_up();
        self.release_owned();
        self.idle_queues.clear();
    }

    /// Answers each rebalance by giving up all partitions.
    fn serve_while_closing(&mut self) {
        if let Err(fault) = self.serve_events(Duration::from_millis(20)) {
            tracing::debug!(%fault, "kafka: while closing");
        }
        while self.next_event().is_some() {
            if let Err(fault) = self.unassign() {
                tracing::debug!(%fault, "kafka: while closing");
            }
        }
    }
}
