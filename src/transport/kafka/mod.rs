//! Kafka as a transport: one consumer and one transactional producer per worker, exactly
//! once. The only folder that names rdkafka.
//!
//! Looks into no value and logs no key.

pub mod chain_topic;
pub mod commands;
mod connect;
mod consumer;
mod continuity_check;
mod fault;
pub mod followed_topic;
pub mod forget;
mod group_member;
mod headers;
mod idle_compaction;
mod intake_state;
pub mod key_sample;
pub mod lane_states;
mod ledger_end;
mod log;
mod lookups;
mod maintenance;
mod misplaced;
pub mod newest_timestamps;
mod owned_partition;
pub mod partitioner;
pub mod partner_position;
mod producer;
mod properties;
pub mod publish;
pub mod reachability;
pub mod read_topic;
mod reader;
pub mod repair;
pub mod repaired_records;
mod restored_topics;
mod settings;
mod source;
pub mod source_positions;
mod start_offsets;
mod target_offsets;
pub mod topics;
pub mod tuning;
mod unassigned;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::Offset;

pub use idle_compaction::IDLE_NULL_KEY;
pub use intake_state::find_unequal_partitions;
pub use settings::{FIXED, KafkaSettings, SettingsMistake};
pub use source::describe_changed_partitions;

use settings::join_mistakes;

use connect::{
    Connection, TopicLookup, look_up_topic, metadata_client, raw_topic_absent_fault,
    topic_absent_fault,
};
use consumer::GroupConsumer;
use continuity_check::ContinuityCheck;
use group_member::RebalanceEvent;
use log::LoggingContext;
use lookups::LookupReader;
use misplaced::{MisplacedMessage as FoundMisplaced, refuse_misplaced};
use owned_partition::OwnedPartition;
use partitioner::KeyPlacement;
use producer::TransactionalProducer;
use reader::{PartitionReader, ReadRange, ReadRequest, ReaderSession, WantedRecords};
use repaired_records::RepairedRecords;
use restored_topics::RestoredProgress;
use source::{KafkaSource, SourcePartition, check_partition_count};
use start_offsets::fetch_bound_offsets;
use target_offsets::TargetOffsets;
use topics::TopicError;

use super::{
    AssignedPartition, LateGate, PartitionLag, PollFlow, PollOutcome, ReadOutcome, StopSignal,
    Transport,
};
use crate::message::continuity::{
    ConfiguredTopics, ContinuityFinding, ContinuityMark, Fingerprinter, MarkPositions,
};
use crate::message::{
    AbortReason, Cause, Coordinates, Fault, Input, LanePlan, MisplacedRecord, Outbox, Output,
    OutputId, Payload, SourceId,
};

const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a close may wait for the coordinator.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// After a stop was requested for this long, waits are cut to [`CLOSE_TIMEOUT_MIN`].
const STOP_TIMEOUT: Duration = Duration::from_secs(12);
const CLOSE_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// The source of records that belong to none.
const NO_SOURCE: SourceId = SourceId(u16::MAX);
/// How often to fetch offsets that another worker is to commit.
const START_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The worker's stage in its group.
#[derive(Debug)]
enum GroupStage {
    Unassigned,
    /// Assigned, but the start offsets are unknown.
    Starting(BTreeSet<SourcePartition>),
    /// The worker was told of its partitions and rebuilds.
    Rebuilding,
    Running,
    /// The worker was told that its partitions are revoked or lost.
    Leaving(PollOutcome),
    Closed,
}

pub struct KafkaTransport {
    group_consumer: GroupConsumer,
    producer: TransactionalProducer,
    /// Sees the ends beyond open transactions.
    read_uncommitted_client: Arc<BaseConsumer<LoggingContext>>,
    /// Sees the stable ends.
    read_committed_client: Arc<BaseConsumer<LoggingContext>>,
    reader: Option<PartitionReader>,
    /// Only an intake with lookups has them.
    lookups: Option<LookupReader>,
    /// Those of each kind whose versions an intake compares.
    versioned_sources: Vec<BTreeSet<SourceId>>,
    target_offsets: Option<TargetOffsets>,
    /// The ends of the owned partitions when [`Transport::is_caught_up`] was first called.
    ends_at_start: Option<HashMap<SourcePartition, i64>>,
    stage: GroupStage,
    /// The last committed offsets of partitions owned without a break: their tables still
    /// hold.
    kept_offsets: HashMap<SourcePartition, i64>,
    /// Partitions came from another run whose retractions are unknown, or a transaction was
    /// aborted.
    has_unknown_output_writes: bool,
    continuity_check: ContinuityCheck,
    /// How the topics that are read back are recognised.
    restored_progress: RestoredProgress,
    /// Without it no marks are kept.
    fingerprinter: Option<Fingerprinter>,
    /// The sums of output offsets with which the lane was told to start over.
    forget_offset_totals: Vec<i64>,
    /// As [`LanePlan::known_former_topics`].
    known_former_topics: BTreeSet<String>,
    /// As [`LanePlan::configured_topics`].
    configured_topics: Option<ConfiguredTopics>,
    maintained_at: Option<Instant>,
    /// Repaired misplaced records, as of the last load.
    repaired_records: RepairedRecords,
    settings: KafkaSettings,
    group_id: String,
    stop: StopSignal,
}

impl KafkaTransport {
    /// Connects worker `worker` of a lane, and joins its group.
    ///
    /// Blocks until Kafka answers, a stop is requested, or a minute has passed.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] for wrong settings, a missing source or refused access;
    /// [`Fault::TransportLost`] if Kafka does not answer.
    pub fn open(
        settings: KafkaSettings,
        plan: LanePlan,
        worker: usize,
        stop: StopSignal,
    ) -> Result<Self, Fault> {
        settings.check().map_err(|mistakes| Fault::stop(join_mistakes(&mistakes)))?;
        let read_uncommitted_client = Arc::new(metadata_client(&settings, false)?);
        let read_committed_client = Arc::new(metadata_client(&settings, true)?);
        let connection =
            Connection { settings: &settings, client: &read_uncommitted_client, stop: &stop };
        let sources = connection.resolve_sources(&plan)?;
        connection.check_state_partitions(&plan, &sources)?;
        let versioned_sources = intake_state::resolve_versioned_sources(&plan, &sources)?;
        let target_offsets = if settings.until_end {
            Some(connection.retry_until_connected(|| {
                TargetOffsets::capture(&read_uncommitted_client, &sources)
            })?)
        } else {
            None
        };
        // The producer first: it aborts what a dead predecessor left open, so that the
        // group's offsets are settled.
        let producer = TransactionalProducer::open(&connection, &plan, worker)?;
        let lookups = open_lookups(&connection, &plan)?;
        let group_consumer = GroupConsumer::open(&connection, &plan, worker, sources)?;
        tracing::info!(lane = plan.name, worker, "kafka: connected");
        Ok(Self {
            group_consumer,
            producer,
            read_uncommitted_client,
            read_committed_client,
            reader: None,
            lookups,
            versioned_sources,
            target_offsets,
            ends_at_start: None,
            stage: GroupStage::Unassigned,
            kept_offsets: HashMap::new(),
            has_unknown_output_writes: false,
            continuity_check: ContinuityCheck::default(),
            restored_progress: RestoredProgress::default(),
            fingerprinter: plan.fingerprinter,
            forget_offset_totals: plan.forget_offset_totals.clone(),
            known_former_topics: plan.known_former_topics.clone(),
            configured_topics: plan.configured_topics.clone(),
            maintained_at: None,
            repaired_records: RepairedRecords::default(),
            group_id: settings.group_id(&plan.name),
            settings,
            stop,
        })
    }

    /// Serves the group, and looks up topics that were reported missing.
    fn serve_clients(&mut self, wait: Duration) -> Result<(), Fault> {
        self.group_consumer.serve_events(wait)?;
        // The other clients have no events, but their logs must be fetched.
        let _ = self.read_uncommitted_client.poll(Duration::ZERO);
        let _ = self.read_committed_client.poll(Duration::ZERO);
        if let Some(reader) = &self.reader {
            reader.serve_log();
        }
        if let Some(lookups) = &self.lookups {
            lookups.serve_events()?;
        }
        if std::mem::take(&mut self.group_consumer.has_missing_topic_report) {
            for source in &self.group_consumer.sources {
                if let TopicLookup::Absent =
                    look_up_topic(&self.read_uncommitted_client, &source.topic)
                {
                    return Err(match source.is_raw {
                        true => raw_topic_absent_fault(&source.topic),
                        false => topic_absent_fault(&source.topic),
                    });
                }
            }
        }
        Ok(())
    }

    /// Handles a group event. Returns what the worker must know of it.
    fn handle_event(&mut self, event: RebalanceEvent) -> Result<Option<PollOutcome>, Fault> {
        match event {
            RebalanceEvent::Assigned(partitions) => {
                self.group_consumer.group_metadata = self.group_consumer.consumer.group_metadata();
                self.check_all_assigned(&partitions)?;
                let owned = self.resolve_assigned(&partitions)?;
                tracing::info!(partitions = owned.len(), "kafka: assigned");
                self.stage = GroupStage::Starting(owned);
                self.try_start()
            }
            RebalanceEvent::Revoked | RebalanceEvent::Lost => {
                let lost = event == RebalanceEvent::Lost;
                tracing::info!(lost, "kafka: partitions revoked");
                if let GroupStage::Rebuilding | GroupStage::Running | GroupStage::Leaving(_) =
                    self.stage
                {
                    let outcome = if lost { PollOutcome::Lost } else { PollOutcome::Revoked };
                    self.stage = GroupStage::Leaving(outcome.clone());
                    return Ok(Some(outcome));
                }
                self.group_consumer.unassign()?;
                self.stage = GroupStage::Unassigned;
                Ok(None)
            }
        }
    }

    /// Leaves the group if its assignment is older than added partitions: only then does it
    /// rebalance.
    fn check_all_assigned(&mut self, partitions: &[(String, i32)]) -> Result<(), Fault> {
        let (consumer, sources) = (&self.group_consumer.consumer, &self.group_consumer.sources);
        let found = unassigned::find_unassigned(consumer, &self.group_id, sources, partitions);
        let Some((topic, partition)) = found else {
            return Ok(());
        };
        // An unanswered assignment would delay leaving.
        self.group_consumer.assign_nothing()?;
        self.close_consumer(true);
        Err(Fault::transport_lost(format!(
            "topic `{topic}` partition {partition} is assigned to nobody: the group rebalances"
        )))
    }

    fn resolve_assigned(
        &self,
        partitions: &[(String, i32)],
    ) -> Result<BTreeSet<SourcePartition>, Fault> {
        let mut places = BTreeSet::new();
        for (topic, partition) in partitions {
            let Some(place) = self.group_consumer.find_source_partition(topic, *partition) else {
                return Err(Fault::stop(format!(
                    "the group assigned topic `{topic}`, which is none of this lane's sources: \
                     another policy runs under the same lane name"
                )));
            };
            places.insert(place);
        }
        for source in &self.group_consumer.sources {
            let of_source = places.iter().filter(|place| place.0 == source.id);
            let last = of_source.map(|place| place.1).max().unwrap_or(-1);
            check_partition_count(source, last + 1)?;
        }
        self.check_joined_assignment(&places)?;
        self.check_versioned_assignment(&places)?;
        Ok(places)
    }

    /// The range assignor gives a worker the same partitions of all joined sources, as long
    /// as all members have the same subscription.
    fn check_joined_assignment(&self, places: &BTreeSet<SourcePartition>) -> Result<(), Fault> {
        let numbers = |source: &KafkaSource| -> BTreeSet<i32> {
            let of_source = places.iter().filter(|place| place.0 == source.id);
            of_source.map(|place| place.1).collect()
        };
        let joined = || self.group_consumer.sources.iter().filter(|source| source.is_joined);
        let Some(first) = joined().max_by_key(|source| source.partition_count) else {
            return Ok(());
        };
        let want = numbers(first);
        // A source without keys has the first partition only.
        let is_wanted = |source: &KafkaSource| match source.has_keys {
            true => numbers(source) == want,
            false => numbers(source).iter().eq(want.iter().filter(|number| **number == 0)),
        };
        match joined().find(|source| !is_wanted(source)) {
            None => Ok(()),
            Some(other) => Err(Fault::stop(format!(
                "topics `{}` and `{}` belong together, but this worker was assigned different \
                 partitions of them: they need the same number of partitions, and all members of \
                 the group the same sources",
                first.topic, other.topic
            ))),
        }
    }

    /// Takes on the partitions once their start offsets are known.
    fn try_start(&mut self) -> Result<Option<PollOutcome>, Fault> {
        let GroupStage::Starting(owned) = &self.stage else {
            return Ok(None);
        };
        let (consumer, sources) = (&self.group_consumer.consumer, &self.group_consumer.sources);
        let committed = start_offsets::fetch_committed_offsets(consumer, sources)?;
        let starts = match &committed {
            Some(committed) => {
                start_offsets::find_start_offsets(consumer, sources, owned, committed)?
            }
            None => None,
        };
        let Some((committed, starts)) = committed.zip(starts) else {
            self.group_consumer.assign_nothing()?;
            return Ok(None);
        };
        let is_raw = |source: SourceId| {
            self.group_consumer.find_source(source).is_some_and(|source| source.is_raw)
        };
        let without_offset =
            starts.keys().filter(|place| is_raw(place.0) && !committed.contains_key(place));
        let without_offset = without_offset.copied().collect();
        self.continuity_check.committed_offsets = committed;
        self.group_consumer.assign(&starts)?;
        self.group_consumer.without_offset = without_offset;
        self.ends_at_start = None;
        self.kept_offsets.retain(|place, offset| starts.get(place) == Some(offset));
        self.stage = GroupStage::Rebuilding;
        Ok(Some(PollOutcome::Assigned(self.report_assigned(&starts))))
    }

    fn report_assigned(
        &mut self,
        starts: &HashMap<SourcePartition, i64>,
    ) -> Vec<AssignedPartition> {
        let joined: BTreeSet<SourceId> = self
            .group_consumer
            .sources
            .iter()
            .filter(|source| source.is_joined)
            .map(|source| source.id)
            .chain(self.versioned_sources())
            .collect();
        let numbers: BTreeSet<i32> =
            starts.keys().filter(|place| joined.contains(&place.0)).map(|place| place.1).collect();
        let assigned: Vec<AssignedPartition> = numbers
            .into_iter()
            .map(|partition| AssignedPartition {
                partition,
                is_unchanged: joined
                    .iter()
                    .map(|source| (*source, partition))
                    .filter(|place| starts.contains_key(place))
                    .all(|place| self.kept_offsets.contains_key(&place)),
            })
            .collect();
        for assigned_partition in
            assigned.iter().filter(|assigned_partition| !assigned_partition.is_unchanged)
        {
            self.has_unknown_output_writes = true;
            self.kept_offsets.retain(|place, _| place.1 != assigned_partition.partition);
        }
        assigned
    }

    /// Reads with the reader while the group is served.
    fn with_reader(
        &mut self,
        read: impl FnOnce(&mut ReaderSession<'_>) -> Result<ReadOutcome, Fault>,
    ) -> Result<ReadOutcome, Fault> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => PartitionReader::open(
                &self.settings,
                &self.group_id,
                Arc::clone(&self.read_uncommitted_client),
                Arc::clone(&self.read_committed_client),
            )?,
        };
        let (group_consumer, stop) = (&mut self.group_consumer, &self.stop);
        let mut should_continue = || {
            group_consumer.serve_events(Duration::ZERO)?;
            Ok(!group_consumer.has_event() && !stop.is_requested())
        };
        let mut session = ReaderSession { reader: &reader, should_continue: &mut should_continue };
        let outcome = read(&mut session);
        self.reader = Some(reader);
        outcome
    }

    fn read_partition(
        &mut self,
        topic: &str,
        source_partition: SourcePartition,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<ReadOutcome, Fault> {
        let request = ReadRequest { topic, source_partition, range: ReadRange::Whole };
        self.with_reader(|session| session.read(request, take))
    }

    fn key_placement(&self, source: SourceId) -> Option<KeyPlacement> {
        self.group_consumer.find_source(source)?.key_placement
    }

    /// Removes the records that are known to be repaired.
    fn drop_repaired(&self, misplaced_messages: &mut Vec<FoundMisplaced>) {
        misplaced_messages.retain(|assigned_partition| {
            let topic = self
                .group_consumer
                .find_source(assigned_partition.source_partition.0)
                .map(|source| &*source.topic);
            let topic = topic.and_then(|topic| topic.strip_prefix(&*self.settings.topic_prefix));
            let place = (
                topic.unwrap_or_default().to_owned(),
                assigned_partition.source_partition.1,
                assigned_partition.offset,
            );
            !self.repaired_records.contains(&place, assigned_partition.timestamp_ms)
        });
    }

    fn wanted_by_partition<'w>(
        &self,
        wanted: &'w [Coordinates],
    ) -> Result<Vec<WantedRecords<'w>>, Fault> {
        let place = |at: &Coordinates| (at.source, at.partition);
        wanted
            .chunk_by(|assigned_partition, next| place(assigned_partition) == place(next))
            .filter_map(|at| Some((place(at.first()?), at)))
            .map(|(place, at)| match self.group_consumer.find_source(place.0) {
                Some(source) => Ok(WantedRecords {
                    topic: source.topic.clone(),
                    source_partition: place,
                    coordinates: at,
                }),
                None => Err(Fault::stop("a read of no source of the plan")),
            })
            .collect()
    }

    /// Fetches the ends of the owned partitions as a reader of uncommitted records sees
    /// them; without an answer it is tried again later.
    fn fetch_ends_at_start(&mut self) {
        let parts = || self.group_consumer.all_owned();
        let places = parts().map(|part| (&*part.topic, part.source_partition.1));
        let Ok(found) = fetch_bound_offsets(&self.read_uncommitted_client, places, Offset::End)
        else {
            return;
        };
        let end = |part: &OwnedPartition| {
            let found = found.find_partition(&part.topic, part.source_partition.1)?;
            match found.offset() {
                Offset::Offset(end) => Some((part.source_partition, end)),
                _ => None,
            }
        };
        self.ends_at_start = parts().map(end).collect();
    }

    fn poll_records(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Input<'_>) -> PollFlow,
    ) -> Result<PollOutcome, Fault> {
        let handed = self.group_consumer.deliver_records(wait, take)?;
        self.producer.serve_events();
        if handed > 0 {
            return Ok(PollOutcome::Records(handed));
        }
        if let Some(ends) = &mut self.target_offsets
            && !self.group_consumer.needs_commit()
            && ends.are_committed(
                &self.group_consumer.consumer,
                &self.group_consumer.sources,
                &self.group_consumer.committed_positions(),
            )?
        {
            return Ok(PollOutcome::End);
        }
        Ok(PollOutcome::Idle)
    }

    fn close_consumer(&mut self, leave: bool) {
        if let GroupStage::Closed = self.stage {
            return;
        }
        self.stage = GroupStage::Closed;
        if leave {
            self.group_consumer.leave_group(self.close_timeout());
        }
        self.group_consumer.close(self.close_timeout());
    }

    fn close_timeout(&self) -> Duration {
        let left = |asked| STOP_TIMEOUT.saturating_sub(asked).max(CLOSE_TIMEOUT_MIN);
        self.stop.time_since_request().map_or(CLOSE_TIMEOUT, |asked| left(asked).min(CLOSE_TIMEOUT))
    }
}

impl Transport for KafkaTransport {
    fn poll(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Input<'_>) -> PollFlow,
    ) -> Result<PollOutcome, Fault> {
        let until = Instant::now() + wait;
        self.serve_clients(Duration::ZERO)?;
        loop {
            while let Some(event) = self.group_consumer.next_event() {
                if let Some(outcome) = self.handle_event(event)? {
                    return Ok(outcome);
                }
            }
            match &self.stage {
                GroupStage::Running => {
                    let left = until.saturating_duration_since(Instant::now());
                    let outcome = self.poll_records(left, take)?;
                    if outcome != PollOutcome::Idle || !self.group_consumer.has_event() {
                        return Ok(outcome);
                    }
                    continue;
                }
                GroupStage::Leaving(outcome) => return Ok(outcome.clone()),
                GroupStage::Starting(_) => {
                    if let Some(outcome) = self.try_start()? {
                        return Ok(outcome);
                    }
                }
                GroupStage::Unassigned | GroupStage::Rebuilding | GroupStage::Closed => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stop.is_requested() {
                return Ok(PollOutcome::Idle);
            }
            self.serve_clients(left.min(START_POLL_INTERVAL))?;
        }
    }

    fn rebuild(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<ReadOutcome, Fault> {
        let Some(topic) = self.group_consumer.find_source(source).map(|s| s.topic.clone()) else {
            return Err(Fault::stop("a rebuild of no source of the plan"));
        };
        let place = (source, partition);
        let to_hash = self.gate_log_to_hash(place);
        let placement = self.key_placement(source);
        let mut found = Vec::new();
        let mut log = 0;
        let mut read = |input: Input<'_>| {
            if let Some((fingerprinter, next)) = to_hash
                && input.offset < next
            {
                log = fingerprinter.hash_chained(log, input.key, input.payload.bytes());
            }
            take(refuse_misplaced(input, placement, &mut found));
        };
        let rebuilt = self.read_partition(&topic, place, &mut read)?;
        self.group_consumer.misplaced_messages.append(&mut found);
        if to_hash.is_some() {
            self.set_gate_log_hash(place, log);
        }
        Ok(rebuilt)
    }

    fn load_mark(&mut self, partition: i32, mark: Option<&ContinuityMark>) -> Result<(), Fault> {
        self.set_restored_mark(partition, mark);
        Ok(())
    }

    fn compare_with_mark(
        &mut self,
        partition: i32,
        before: bool,
    ) -> Result<Vec<ContinuityFinding>, Fault> {
        self.verify_partition(partition, before)
    }

    fn apply_accepted(&mut self, findings: &[ContinuityFinding]) -> Result<(), Fault> {
        self.apply_accepted_findings(findings);
        Ok(())
    }

    fn find_changes(&mut self) -> Result<Vec<ContinuityFinding>, Fault> {
        match self.stage {
            GroupStage::Running => self.check_owned_continuity(),
            _ => Ok(Vec::new()),
        }
    }

    fn batch_partitions(&self) -> BTreeSet<i32> {
        self.group_consumer.moved_partition_numbers()
    }

    fn mark_positions(&mut self, partition: i32, number: u64) -> MarkPositions {
        self.next_mark_positions(partition, number)
    }

    fn clock_ahead_ms(
        &mut self,
        output: OutputId,
        partition: i32,
        written_ms: i64,
    ) -> Result<Option<i64>, Fault> {
        let broker_ms = self.newest_mark_broker_ms(output, partition)?;
        Ok(broker_ms.map(|broker_ms| written_ms.saturating_sub(broker_ms)))
    }

    fn needs_initial_mark(&self) -> bool {
        self.fingerprinter.is_some()
    }

    fn replay(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<ReadOutcome, Fault> {
        let place = (source, partition);
        let found = self.group_consumer.find_source(source);
        // It has fewer partitions than the joined ones.
        if found.is_some_and(|found| !found.has_keys && partition >= found.partition_count) {
            return Ok(ReadOutcome::Done);
        }
        let topic = found.map(|found| found.topic.clone());
        let position = self.group_consumer.committed_positions().get(&place).copied();
        let Some((topic, position)) = topic.zip(position) else {
            let text = "a replay of a partition that the worker does not have";
            return Err(Fault::stop(text));
        };
        let placement = self.key_placement(source);
        // They were reported when they were handed out.
        let mut found = Vec::new();
        let mut in_place = |input: Input<'_>| take(refuse_misplaced(input, placement, &mut found));
        let range = ReadRange::UpTo(position);
        let request = ReadRequest { topic: &topic, source_partition: place, range };
        self.with_reader(|session| session.read(request, &mut in_place))
    }

    fn reread_records(
        &mut self,
        wanted: &[Coordinates],
        take: &mut dyn FnMut(usize, Option<Input<'_>>),
    ) -> Result<ReadOutcome, Fault> {
        let places = self.wanted_by_partition(wanted)?;
        let placements: Vec<_> =
            self.group_consumer.sources.iter().map(|s| s.key_placement).collect();
        let mut found = Vec::new();
        let mut index = 0;
        let mut take_next = |input: Option<Input<'_>>| {
            let in_place = |input: Input<'_>| -> Option<KeyPlacement> {
                placements.get(usize::from(input.source.0)).copied()?
            };
            take(index, input.map(|input| refuse_misplaced(input, in_place(input), &mut found)));
            found.clear();
            index += 1;
        };
        self.with_reader(|session| session.read_wanted(&places, &mut take_next))
    }

    fn restore(
        &mut self,
        output: OutputId,
        partition: i32,
        take: &mut dyn FnMut(Output<'_>),
    ) -> Result<ReadOutcome, Fault> {
        let Some(topic) = self.producer.restored_topic(output).map(str::to_owned) else {
            return Err(Fault::stop("a restore of no state of the plan"));
        };
        let mut row = |input: Input<'_>| {
            take(Output {
                output,
                partition: Some(partition),
                key: input.key,
                value: match input.payload {
                    Payload::Bytes(value) => Some(value),
                    Payload::Null | Payload::Refused(_) | Payload::RefusedBytes(..) => None,
                },
                retraction: None,
            });
        };
        self.read_partition(&topic, (NO_SOURCE, partition), &mut row)
    }

    fn take_misplaced(&mut self) -> Result<Vec<MisplacedRecord>, Fault> {
        if self.group_consumer.misplaced_messages.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = std::mem::take(&mut self.group_consumer.misplaced_messages);
        self.drop_repaired(&mut found);
        if !found.is_empty() {
            self.repaired_records =
                RepairedRecords::load(&self.settings).map_err(|error| match error {
                    TopicError::Settings(text) => Fault::stop(text),
                    error => Fault::transport_lost(Cause::at_step("repaired records", error)),
                })?;
            self.drop_repaired(&mut found);
        }
        let group_consumer = &mut self.group_consumer;
        group_consumer.misplaced_monitor.count_unrepaired(
            found,
            &group_consumer.sources,
            Instant::now(),
        )
    }

    fn is_misplaced(&self, at: Coordinates, key: &[u8]) -> bool {
        let placement = self.key_placement(at.source);
        placement
            .is_some_and(|placement| placement.home_if_misplaced(Some(key), at.partition).is_some())
    }

    fn read_lookups(
        &mut self,
        take: &mut dyn FnMut(Input<'_>),
        waiting: &mut dyn FnMut(Duration),
    ) -> Result<ReadOutcome, Fault> {
        let Some(lookups) = &mut self.lookups else {
            return Ok(ReadOutcome::Done);
        };
        let (group_consumer, stop) = (&mut self.group_consumer, &self.stop);
        lookups.read_to_ends(take, &mut |waited| {
            waiting(waited);
            group_consumer.serve_events(Duration::ZERO)?;
            Ok(!group_consumer.has_event() && !stop.is_requested())
        })
    }

    fn marked_positions(&mut self, partition: i32) -> Result<BTreeMap<String, i64>, Fault> {
        self.fetch_marked_positions(partition)
    }

    fn check_topics(&mut self, is_read: &dyn Fn(&str) -> bool) -> Result<(), Fault> {
        let metadata = match self.read_uncommitted_client.fetch_metadata(None, CALL_TIMEOUT) {
            Ok(metadata) => metadata,
            Err(error) => {
                tracing::warn!(error = %error, "kafka: the topics are not known");
                return Ok(());
            }
        };
        let lookups = self.lookups.as_ref().map_or(&[][..], LookupReader::sources);
        for topic in metadata.topics().iter().filter(|topic| topic.error().is_none()) {
            let name = topic.name();
            let partitions = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
            let mut read = self.group_consumer.sources.iter().chain(lookups);
            match read.find(|source| source.topic == name) {
                Some(source) => check_partition_count(source, partitions)?,
                None if is_read(name) => {
                    return Err(Fault::transport_lost(format!("topic `{name}` is new")));
                }
                None => {}
            }
            let mut written = self.producer.canonical_topics();
            if let Some((_, before)) = written.find(|(topic, _)| *topic == name)
                && partitions > before
            {
                return Err(Fault::stop(describe_changed_partitions(name, partitions, before)));
            }
        }
        self.check_intake_state()
    }

    fn resume(&mut self) -> Result<(), Fault> {
        if let GroupStage::Rebuilding = self.stage {
            if std::mem::take(&mut self.continuity_check.has_moved_positions) {
                self.group_consumer.reassign_committed()?;
            }
            self.kept_offsets = self.group_consumer.committed_positions();
            self.stage = GroupStage::Running;
        }
        Ok(())
    }

    fn release(&mut self) -> Result<(), Fault> {
        self.group_consumer.unassign()?;
        self.stage = GroupStage::Unassigned;
        Ok(())
    }

    fn publish(&mut self, outbox: &Outbox, now_ms: i64) -> Result<(), Fault> {
        self.producer.publish(outbox, now_ms)
    }

    fn maintain(&mut self, now_ms: i64) -> Result<bool, Fault> {
        self.compact_idle_outputs(now_ms)
    }

    fn commit(&mut self) -> Result<(), Fault> {
        if !self.producer.has_open_transaction()
            && !self.group_consumer.has_moved()
            && self.group_consumer.without_offset.is_empty()
        {
            return Ok(());
        }
        let offsets = self.group_consumer.offsets_to_commit()?;
        let Some(group) = &self.group_consumer.group_metadata else {
            return Err(Fault::abort(AbortReason::Unassigned, "no partitions are assigned"));
        };
        self.producer.commit(&offsets, group)?;
        self.group_consumer.commit_positions();
        let committed = self.group_consumer.committed_positions();
        for (place, kept) in &mut self.kept_offsets {
            if let Some(offset) = committed.get(place) {
                *kept = *offset;
            }
        }
        Ok(())
    }

    fn has_uncommitted(&self) -> bool {
        self.group_consumer.needs_commit()
    }

    fn rewind(&mut self) -> Result<(), Fault> {
        // Aborted records may never come again, and have to be compacted all the same.
        self.has_unknown_output_writes |= self.producer.has_open_transaction();
        self.producer.abort()?;
        if let GroupStage::Leaving(PollOutcome::Lost) = self.stage {
            return Ok(());
        }
        self.group_consumer.rewind()
    }

    fn pause(&mut self, wait: Duration) -> Result<(), Fault> {
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            self.serve_clients(left.min(START_POLL_INTERVAL))?;
            self.producer.serve_events();
            if left.is_zero() || self.stop.is_requested() || self.group_consumer.has_event() {
                return Ok(());
            }
        }
    }

    fn lag(&mut self) -> Vec<PartitionLag> {
        self.group_consumer.lag()
    }

    fn is_caught_up(&mut self) -> Result<bool, Fault> {
        if !matches!(self.stage, GroupStage::Running) {
            return Ok(false);
        }
        if self.ends_at_start.is_none() {
            self.fetch_ends_at_start();
        }
        let Some(ends) = &self.ends_at_start else {
            return Ok(false);
        };
        let mut parts = self.group_consumer.all_owned();
        Ok(parts
            .all(|part| ends.get(&part.source_partition).is_some_and(|end| part.position >= *end)))
    }

    fn late_gate(&self) -> Option<LateGate> {
        match self.stage {
            GroupStage::Running => self.group_consumer.longest_late_gate(),
            _ => None,
        }
    }

    fn close(&mut self, leave: bool) -> Result<(), Fault> {
        let aborted = self.producer.abort();
        self.close_consumer(leave);
        aborted
    }
}

/// Opens the lookups of an intake that has some.
fn open_lookups(
    connection: &Connection<'_>,
    plan: &LanePlan,
) -> Result<Option<LookupReader>, Fault> {
    let Some(intake) = plan.intake.as_ref().filter(|intake| !intake.lookups.is_empty()) else {
        return Ok(None);
    };
    let sources =
        connection.resolve_raw_topics(intake.lookups.iter().map(String::as_str), (intake, true))?;
    let group = connection.settings.group_id(&plan.name);
    LookupReader::open(connection, &group, sources).map(Some)
}

impl Drop for KafkaTransport {
    /// Closes the consumer explicitly: librdkafka's own drop would wait for an answer to
    /// the last revocation.
    fn drop(&mut self) {
        self.close_consumer(false);
    }
}
