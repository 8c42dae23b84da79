//! Kafka as a transport: one consumer and one transactional producer per
//! worker, exactly once. The only folder that names rdkafka.
//!
//! It looks into no value, and logs no key.

pub mod commands;
mod consumer;
mod ends;
mod fault;
pub mod forget;
mod log;
mod marks;
mod member;
mod misplaced;
pub mod newest;
mod partition;
pub mod partitioner;
mod producer;
mod properties;
pub mod publish;
pub mod reach;
mod reader;
pub mod repair;
pub mod repaired;
mod settings;
mod stale;
mod start;
pub mod states;
mod sweep;
pub mod topics;
pub mod tuning;
pub mod whole;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

pub use consumer::widened;
pub use settings::{FIXED, KafkaSettings, SettingsMistake};
pub use sweep::SWEEP_KEY;

use settings::joined;

use consumer::{Intake, Source, check_count};
use ends::Ends;
use log::Logged;
use marks::Marks;
use member::Event;
use misplaced::{Found as FoundMisplaced, compare};
use partition::{Part, Place};
use partitioner::Placement;
use producer::Outlet;
use reader::{Reader, Wanted};
use repaired::Repaired;
use start::edges;
use sweep::Spot;
use topics::TopicError;

use super::continuity::{Finding, Fingerprinter, Mark, Position};
use super::{
    Assigned, Coordinates, Fault, Flow, Input, Lag, LanePlan, LateGate, Misplaced, Outbox, Output,
    OutputId, Payload, Polled, Rebuilt, SourceId, Stop, Transport,
};

/// How long the first contact may take before the transport is given up.
const CONTACT: Duration = Duration::from_secs(60);
const CALL: Duration = Duration::from_secs(5);
/// How long a close may wait for the coordinator.
const CLOSE: Duration = Duration::from_secs(10);
/// A process that was asked to stop waits for nobody after this time, but for a moment.
const STOPPED: Duration = Duration::from_secs(12);
const MOMENT: Duration = Duration::from_secs(1);
/// What is read is no source.
const NO_SOURCE: SourceId = SourceId(u16::MAX);
/// How often it is looked at which outputs were idle.
const TIDY: Duration = Duration::from_secs(1);
/// How long it is waited between two looks at offsets that another worker is
/// to commit.
const STARTS: Duration = Duration::from_millis(100);

/// Where the worker stands with its group.
#[derive(Debug)]
enum Stage {
    /// Nothing is assigned.
    Out,
    /// Assigned, but the start offsets are not known yet.
    Starting(BTreeSet<Place>),
    /// The worker was told of its partitions and rebuilds.
    Rebuilding,
    Running,
    /// The worker was told that they go, or went.
    Leaving(Polled),
    Closed,
}

/// A worker's connection to Kafka.
pub struct KafkaTransport {
    intake: Intake,
    outlet: Outlet,
    /// Sees the ends beyond open transactions.
    observer: Arc<BaseConsumer<Logged>>,
    /// Sees the stable ends.
    stable: Arc<BaseConsumer<Logged>>,
    reader: Option<Reader>,
    ends: Option<Ends>,
    /// Where the owned partitions ended when it was first asked whether the worker
    /// has caught up.
    ends_at_start: Option<HashMap<Place, i64>>,
    stage: Stage,
    /// What this worker committed last, of partitions that it had without a
    /// break: their tables still hold.
    kept: HashMap<Place, i64>,
    /// Partitions came from another run, of which it is not known what it took
    /// back; or a transaction was aborted.
    unswept: bool,
    /// What is compared with the marks of the lane's state.
    marks: Marks,
    /// Makes hashes of records; without it no marks are kept.
    prints: Option<Fingerprinter>,
    /// With how many offsets in its outputs the lane was told to begin anew.
    forgotten: Vec<i64>,
    /// When it was last looked at what is to be swept.
    tidied: Option<Instant>,
    /// Misplaced records that were repaired, as far as that was asked.
    repaired: Repaired,
    settings: KafkaSettings,
    group: String,
    stop: Stop,
}

impl KafkaTransport {
    /// Connects worker `worker` of a lane, and joins its group.
    ///
    /// Blocks until Kafka answers, [`Stop`] is asked, or a minute has passed.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] for wrong settings, a source that does not exist or
    /// access that is refused; [`Fault::Rebuild`] where Kafka gave no answer.
    pub fn open(
        settings: KafkaSettings,
        plan: LanePlan,
        worker: usize,
        stop: Stop,
    ) -> Result<Self, Fault> {
        settings
            .check()
            .map_err(|mistakes| Fault::Stop(joined(&mistakes)))?;
        let observer = Arc::new(asking(&settings, false)?);
        let stable = Arc::new(asking(&settings, true)?);
        let sources = sources(&observer, &settings, &plan, &stop)?;
        check_state(&observer, &settings, &plan, &sources, &stop)?;
        let ends = if settings.until_end {
            Some(contact(&observer, &stop, || {
                Ends::capture(&observer, &sources)
            })?)
        } else {
            None
        };
        // First the producer: it ends what a dead predecessor left open, so
        // that the group's offsets are settled when they are asked for.
        let outlet = Outlet::open(&settings, &plan, worker, &stop)?;
        let intake = Intake::open(
            &settings,
            &plan,
            worker,
            sources,
            Arc::clone(&observer),
            stop.clone(),
        )?;
        tracing::info!(lane = plan.name, worker, "kafka: connected");
        Ok(Self {
            intake,
            outlet,
            observer,
            stable,
            reader: None,
            ends,
            ends_at_start: None,
            stage: Stage::Out,
            kept: HashMap::new(),
            unswept: false,
            marks: Marks::default(),
            prints: plan.prints,
            forgotten: plan.forgotten.clone(),
            tidied: None,
            repaired: Repaired::default(),
            group: settings.group(&plan.name),
            settings,
            stop,
        })
    }

    /// Serves the group; looks into what was reported missing.
    fn serve(&mut self, wait: Duration) -> Result<(), Fault> {
        self.intake.serve(wait)?;
        // The other clients say nothing, but their logs must be fetched.
        let _ = self.observer.poll(Duration::ZERO);
        let _ = self.stable.poll(Duration::ZERO);
        if let Some(reader) = &self.reader {
            reader.serve();
        }
        if std::mem::take(&mut self.intake.doubted) {
            for source in &self.intake.sources {
                if let Found::Absent = look_up(&self.observer, &source.topic) {
                    return Err(absent(&source.topic));
                }
            }
        }
        Ok(())
    }

    /// Acts on one event of the group; says what the worker must know of it.
    fn act(&mut self, event: Event) -> Result<Option<Polled>, Fault> {
        match event {
            Event::Assigned(partitions) => {
                self.intake.group = self.intake.consumer.group_metadata();
                self.check_fresh(&partitions)?;
                let owned = self.places(&partitions)?;
                tracing::info!(partitions = owned.len(), "kafka: assigned");
                self.stage = Stage::Starting(owned);
                self.start()
            }
            Event::Revoked | Event::Lost => {
                let lost = event == Event::Lost;
                tracing::info!(lost, "kafka: partitions taken away");
                if let Stage::Rebuilding | Stage::Running | Stage::Leaving(_) = self.stage {
                    let polled = if lost { Polled::Lost } else { Polled::Revoked };
                    self.stage = Stage::Leaving(polled.clone());
                    return Ok(Some(polled));
                }
                self.intake.unassign()?;
                self.stage = Stage::Out;
                Ok(None)
            }
        }
    }

    /// Gives up the seat that an assignment came with from before partitions
    /// were added: only then does the group share out anew.
    fn check_fresh(&mut self, partitions: &[(String, i32)]) -> Result<(), Fault> {
        let (consumer, sources) = (&self.intake.consumer, &self.intake.sources);
        let found = stale::forgotten(consumer, &self.group, sources, partitions);
        let Some((topic, partition)) = found else {
            return Ok(());
        };
        // An assignment that nobody answers would hold up the leaving.
        self.intake.assign_nothing()?;
        self.shut(true);
        Err(Fault::Rebuild(format!(
            "topic `{topic}` partition {partition} is assigned to nobody: the group shares out anew"
        )))
    }

    fn places(&self, partitions: &[(String, i32)]) -> Result<BTreeSet<Place>, Fault> {
        let mut places = BTreeSet::new();
        for (topic, partition) in partitions {
            let Some(place) = self.intake.place(topic, *partition) else {
                return Err(Fault::Stop(format!(
                    "the group assigned topic `{topic}`, which is none of this lane's sources: \
                     another policy runs under the same lane name"
                )));
            };
            places.insert(place);
        }
        for source in &self.intake.sources {
            let of_source = places.iter().filter(|place| place.0 == source.id);
            let last = of_source.map(|place| place.1).max().unwrap_or(-1);
            check_count(source, last + 1)?;
        }
        self.check_joined(&places)?;
        Ok(places)
    }

    /// The range assignor gives a worker the same partitions of all joined
    /// sources, as long as all members have the same subscription.
    fn check_joined(&self, places: &BTreeSet<Place>) -> Result<(), Fault> {
        let numbers = |source: &Source| -> BTreeSet<i32> {
            let of_source = places.iter().filter(|place| place.0 == source.id);
            of_source.map(|place| place.1).collect()
        };
        let mut joined = self.intake.sources.iter().filter(|source| source.joined);
        let Some(first) = joined.next() else {
            return Ok(());
        };
        let want = numbers(first);
        match joined.find(|source| numbers(source) != want) {
            None => Ok(()),
            Some(other) => Err(Fault::Stop(format!(
                "topics `{}` and `{}` belong together, but this worker was assigned different \
                 partitions of them: they need the same number of partitions, and all members of \
                 the group the same sources",
                first.topic, other.topic
            ))),
        }
    }

    /// Takes the partitions on as soon as their start offsets are known.
    fn start(&mut self) -> Result<Option<Polled>, Fault> {
        let Stage::Starting(owned) = &self.stage else {
            return Ok(None);
        };
        let (consumer, sources) = (&self.intake.consumer, &self.intake.sources);
        let committed = start::committed(consumer, sources)?;
        let starts = match &committed {
            Some(committed) => start::find(consumer, sources, owned, committed)?,
            None => None,
        };
        let Some((committed, starts)) = committed.zip(starts) else {
            self.intake.assign_nothing()?;
            return Ok(None);
        };
        self.marks.committed = committed;
        self.intake.assign(&starts)?;
        self.ends_at_start = None;
        self.kept
            .retain(|place, offset| starts.get(place) == Some(offset));
        self.stage = Stage::Rebuilding;
        Ok(Some(Polled::Assigned(self.assigned(&starts))))
    }

    fn assigned(&mut self, starts: &HashMap<Place, i64>) -> Vec<Assigned> {
        let joined: BTreeSet<SourceId> = self
            .intake
            .sources
            .iter()
            .filter(|source| source.joined)
            .map(|source| source.id)
            .collect();
        let numbers: BTreeSet<i32> = starts
            .keys()
            .filter(|place| joined.contains(&place.0))
            .map(|place| place.1)
            .collect();
        let assigned: Vec<Assigned> = numbers
            .into_iter()
            .map(|partition| Assigned {
                partition,
                returned: joined
                    .iter()
                    .all(|source| self.kept.contains_key(&(*source, partition))),
            })
            .collect();
        for one in assigned.iter().filter(|one| !one.returned) {
            self.unswept = true;
            self.kept.retain(|place, _| place.1 != one.partition);
        }
        assigned
    }

    /// Lends the reader out, with the question that keeps the group alive.
    fn with_reader(
        &mut self,
        read: impl FnOnce(&Reader, &mut dyn FnMut() -> Result<bool, Fault>) -> Result<Rebuilt, Fault>,
    ) -> Result<Rebuilt, Fault> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => Reader::open(&self.settings, &self.group)?,
        };
        let (intake, stop) = (&mut self.intake, &self.stop);
        let mut go_on = || {
            intake.serve(Duration::ZERO)?;
            Ok(!intake.has_event() && !stop.asked())
        };
        let rebuilt = read(&reader, &mut go_on);
        self.reader = Some(reader);
        rebuilt
    }

    fn read_whole(
        &mut self,
        topic: &str,
        place: Place,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<Rebuilt, Fault> {
        let (observer, stable) = (Arc::clone(&self.observer), Arc::clone(&self.stable));
        self.with_reader(|reader, go_on| reader.read(&observer, &stable, topic, place, go_on, take))
    }

    /// Where the keys of a source belong.
    fn placement(&self, source: SourceId) -> Option<Placement> {
        self.intake.source(source)?.placement
    }

    /// Takes out what is known to be repaired.
    fn drop_repaired(&self, found: &mut Vec<FoundMisplaced>) {
        found.retain(|one| {
            let topic = self.intake.source(one.place.0).map(|source| &*source.topic);
            let topic = topic.and_then(|topic| topic.strip_prefix(&*self.settings.topic_prefix));
            let place = (
                topic.unwrap_or_default().to_owned(),
                one.place.1,
                one.offset,
            );
            !self.repaired.contains(&place, one.timestamp_ms)
        });
    }

    /// The wanted records by partition.
    fn wanted<'w>(&self, wanted: &'w [Coordinates]) -> Result<Vec<Wanted<'w>>, Fault> {
        let place = |at: &Coordinates| (at.source, at.partition);
        wanted
            .chunk_by(|one, next| place(one) == place(next))
            .filter_map(|at| Some((place(at.first()?), at)))
            .map(|(place, at)| match self.intake.source(place.0) {
                Some(source) => Ok(Wanted {
                    topic: source.topic.clone(),
                    place,
                    at,
                }),
                None => Err(Fault::Stop(
                    "records are read again of no source of the plan".to_owned(),
                )),
            })
            .collect()
    }

    /// The partitions of some outputs that have messages, by output; `None`
    /// without an answer.
    fn filled(&self, wanted: impl Fn(usize) -> bool) -> Option<BTreeMap<usize, Vec<i32>>> {
        let mut spots = Vec::new();
        let outputs = self.outlet.outputs().filter(|(place, _)| wanted(*place));
        for (place, topic) in outputs {
            let Found::Partitions(partitions) = look_up(&self.observer, topic) else {
                return None;
            };
            spots.extend((0..partitions).map(|partition| (place, topic, partition)));
        }
        let partitions = || {
            spots
                .iter()
                .map(|&(_, topic, partition)| (topic, partition))
        };
        let edge = |edge| edges(&self.stable, partitions(), edge).ok();
        let (starts, ends) = (edge(Offset::Beginning)?, edge(Offset::End)?);
        let offset = |list: &TopicPartitionList, topic: &str, partition| {
            list.find_partition(topic, partition)
                .map(|found| found.offset())
        };
        let mut filled = BTreeMap::<usize, Vec<i32>>::new();
        for (place, topic, partition) in spots {
            if offset(&starts, topic, partition) != offset(&ends, topic, partition) {
                filled.entry(place).or_default().push(partition);
            }
        }
        Some(filled)
    }

    /// Notes every partition of the outputs that has messages, as one that may
    /// need an append. False without an answer.
    fn wonder(&mut self, now_ms: i64) -> bool {
        let Some(filled) = self.filled(|_| true) else {
            return false;
        };
        for (place, partitions) in filled {
            for partition in partitions {
                self.outlet.sweep.wonder((place, partition), now_ms);
            }
        }
        true
    }

    /// Notes the partitions of the outputs that were written to a segment's age
    /// ago. Without an answer they are noted another time.
    fn spread(&mut self, now_ms: i64) {
        let ripe = self.outlet.sweep.ripe(now_ms);
        if ripe.is_empty() {
            return;
        }
        let Some(filled) = self.filled(|place| ripe.contains(&place)) else {
            return;
        };
        for place in ripe {
            let partitions = filled.get(&place).map_or(&[][..], Vec::as_slice);
            self.outlet.sweep.spread(place, partitions);
        }
    }

    /// Whether nothing was appended since the time that each partition needs it;
    /// `None` without an answer.
    fn idle(&self, due: &[(Spot, i64)]) -> Option<Vec<bool>> {
        if due.is_empty() {
            return None;
        }
        let topics: HashMap<usize, &str> = self.outlet.outputs().collect();
        let mut times = TopicPartitionList::new();
        for ((place, partition), from_ms) in due {
            let topic = topics.get(place)?;
            let from = Offset::Offset((*from_ms).max(0));
            times.add_partition_offset(topic, *partition, from).ok()?;
        }
        let found = self.stable.offsets_for_times(times, CALL).ok()?;
        let idle = |((place, partition), _): &(Spot, i64)| {
            let found = found.find_partition(topics.get(place)?, *partition)?;
            found.error().ok()?;
            Some(!matches!(found.offset(), Offset::Offset(_)))
        };
        due.iter().map(idle).collect()
    }

    /// Notes where the owned partitions end, as a reader of uncommitted records sees
    /// it; without an answer it is asked another time.
    fn note_ends_at_start(&mut self) {
        let parts = || self.intake.all_parts();
        let places = parts().map(|part| (&*part.topic, part.place.1));
        let Ok(found) = edges(&self.observer, places, Offset::End) else {
            return;
        };
        let end = |part: &Part| {
            let found = found.find_partition(&part.topic, part.place.1)?;
            match found.offset() {
                Offset::Offset(end) => Some((part.place, end)),
                _ => None,
            }
        };
        self.ends_at_start = parts().map(end).collect();
    }

    /// Hands out records, or says that the end is reached.
    fn run(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Input<'_>) -> Flow,
    ) -> Result<Polled, Fault> {
        let handed = self.intake.hand_out(wait, take)?;
        self.outlet.serve();
        if handed > 0 {
            return Ok(Polled::Records(handed));
        }
        if let Some(ends) = &mut self.ends
            && !self.intake.is_uncommitted()
            && ends.reached(
                &self.intake.consumer,
                &self.intake.sources,
                &self.intake.committed(),
            )?
        {
            return Ok(Polled::End);
        }
        Ok(Polled::Idle)
    }

    fn shut(&mut self, leave: bool) {
        if let Stage::Closed = self.stage {
            return;
        }
        self.stage = Stage::Closed;
        if leave {
            self.intake.leave(self.closing());
        }
        self.intake.close(self.closing());
    }

    /// How long the coordinator may be waited for now.
    fn closing(&self) -> Duration {
        let left = |asked| STOPPED.saturating_sub(asked).max(MOMENT);
        self.stop
            .asked_for()
            .map_or(CLOSE, |asked| left(asked).min(CLOSE))
    }
}

impl Transport for KafkaTransport {
    fn poll(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Input<'_>) -> Flow,
    ) -> Result<Polled, Fault> {
        let until = Instant::now() + wait;
        self.serve(Duration::ZERO)?;
        loop {
            while let Some(event) = self.intake.next_event() {
                if let Some(polled) = self.act(event)? {
                    return Ok(polled);
                }
            }
            match &self.stage {
                Stage::Running => {
                    let left = until.saturating_duration_since(Instant::now());
                    let polled = self.run(left, take)?;
                    if polled != Polled::Idle || !self.intake.has_event() {
                        return Ok(polled);
                    }
                    continue;
                }
                Stage::Leaving(polled) => return Ok(polled.clone()),
                Stage::Starting(_) => {
                    if let Some(polled) = self.start()? {
                        return Ok(polled);
                    }
                }
                Stage::Out | Stage::Rebuilding | Stage::Closed => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stop.asked() {
                return Ok(Polled::Idle);
            }
            self.serve(left.min(STARTS))?;
        }
    }

    fn rebuild(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<Rebuilt, Fault> {
        let Some(topic) = self.intake.source(source).map(|s| s.topic.clone()) else {
            return Err(Fault::Stop("a rebuild of no source of the plan".to_owned()));
        };
        let place = (source, partition);
        let to_hash = self.log_to_hash(place);
        let placement = self.placement(source);
        let mut found = Vec::new();
        let mut log = 0;
        let mut read = |input: Input<'_>| {
            if let Some((prints, next)) = to_hash
                && input.offset < next
            {
                log = prints.chained(log, input.key, input.payload.bytes());
            }
            take(compare(input, placement, &mut found));
        };
        let rebuilt = self.read_whole(&topic, place, &mut read)?;
        self.intake.found.append(&mut found);
        if to_hash.is_some() {
            self.set_log(place, log);
        }
        Ok(rebuilt)
    }

    fn recall(&mut self, partition: i32, mark: Option<&Mark>) -> Result<(), Fault> {
        self.recall_mark(partition, mark);
        Ok(())
    }

    fn verify(&mut self, partition: i32, before: bool) -> Result<Vec<Finding>, Fault> {
        self.verify_marks(partition, before)
    }

    fn accept(&mut self, findings: &[Finding]) -> Result<(), Fault> {
        self.accept_findings(findings);
        Ok(())
    }

    fn check(&mut self) -> Result<Vec<Finding>, Fault> {
        match self.stage {
            Stage::Running => self.check_continuity(),
            _ => Ok(Vec::new()),
        }
    }

    fn acting(&self) -> BTreeSet<i32> {
        self.intake.moved()
    }

    fn position(&mut self, partition: i32, number: u64) -> Position {
        self.position_of(partition, number)
    }

    fn clock_ahead_ms(
        &mut self,
        output: OutputId,
        partition: i32,
        written_ms: i64,
    ) -> Result<Option<i64>, Fault> {
        let broker_ms = self.broker_ms(output, partition)?;
        Ok(broker_ms.map(|broker_ms| written_ms.saturating_sub(broker_ms)))
    }

    fn begins_with_mark(&self) -> bool {
        self.prints.is_some()
    }

    fn replay(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<Rebuilt, Fault> {
        let place = (source, partition);
        let topic = self.intake.source(source).map(|s| s.topic.clone());
        let position = self.intake.committed().get(&place).copied();
        let Some((topic, position)) = topic.zip(position) else {
            let text = "a replay of a partition that the worker does not have";
            return Err(Fault::Stop(text.to_owned()));
        };
        let stable = Arc::clone(&self.stable);
        let placement = self.placement(source);
        // They were told of when they were handed out.
        let mut found = Vec::new();
        let mut in_place = |input: Input<'_>| take(compare(input, placement, &mut found));
        self.with_reader(|reader, go_on| {
            reader.replay(&stable, &topic, place, position, go_on, &mut in_place)
        })
    }

    fn read_again(
        &mut self,
        wanted: &[Coordinates],
        take: &mut dyn FnMut(usize, Option<Input<'_>>),
    ) -> Result<Rebuilt, Fault> {
        let places = self.wanted(wanted)?;
        let placements: Vec<_> = self.intake.sources.iter().map(|s| s.placement).collect();
        let mut found = Vec::new();
        let mut index = 0;
        let mut take_next = |input: Option<Input<'_>>| {
            let in_place = |input: Input<'_>| -> Option<Placement> {
                placements.get(usize::from(input.source.0)).copied()?
            };
            take(
                index,
                input.map(|input| compare(input, in_place(input), &mut found)),
            );
            found.clear();
            index += 1;
        };
        let stable = Arc::clone(&self.stable);
        self.with_reader(|reader, go_on| reader.read_again(&stable, &places, go_on, &mut take_next))
    }

    fn restore(
        &mut self,
        output: OutputId,
        partition: i32,
        take: &mut dyn FnMut(Output<'_>),
    ) -> Result<Rebuilt, Fault> {
        let Some(topic) = self.outlet.state(output).map(str::to_owned) else {
            return Err(Fault::Stop("a restore of no state of the plan".to_owned()));
        };
        let mut row = |input: Input<'_>| {
            take(Output {
                output,
                partition: Some(partition),
                key: input.key,
                value: match input.payload {
                    Payload::Bytes(value) => Some(value),
                    Payload::Null | Payload::Refused(_) | Payload::Unread(..) => None,
                },
            });
        };
        self.read_whole(&topic, (NO_SOURCE, partition), &mut row)
    }

    fn misplaced(&mut self) -> Result<Vec<Misplaced>, Fault> {
        if self.intake.found.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = std::mem::take(&mut self.intake.found);
        self.drop_repaired(&mut found);
        if !found.is_empty() {
            self.repaired = Repaired::load(&self.settings).map_err(|error| match error {
                TopicError::Settings(text) => Fault::Stop(text),
                error => Fault::Rebuild(format!("repaired records: {error}")),
            })?;
            self.drop_repaired(&mut found);
        }
        let intake = &mut self.intake;
        intake.watch.count(found, &intake.sources, Instant::now())
    }

    fn lies_elsewhere(&self, at: Coordinates, key: &[u8]) -> bool {
        let placement = self.placement(at.source);
        placement.is_some_and(|placement| placement.elsewhere(Some(key), at.partition).is_some())
    }

    fn resume(&mut self) -> Result<(), Fault> {
        if let Stage::Rebuilding = self.stage {
            if std::mem::take(&mut self.marks.moved) {
                self.intake.fetch_anew()?;
            }
            self.kept = self.intake.committed();
            self.stage = Stage::Running;
        }
        Ok(())
    }

    fn release(&mut self) -> Result<(), Fault> {
        self.intake.unassign()?;
        self.stage = Stage::Out;
        Ok(())
    }

    fn publish(&mut self, outbox: &Outbox, now_ms: i64) -> Result<(), Fault> {
        self.outlet.publish(outbox, now_ms)
    }

    /// Appends a null to outputs that were idle for so long that what was taken
    /// back would not be compacted.
    fn tidy(&mut self, now_ms: i64) -> Result<bool, Fault> {
        let asked_lately = self.tidied.is_some_and(|asked| asked.elapsed() < TIDY);
        if !matches!(self.stage, Stage::Running) || asked_lately {
            return Ok(false);
        }
        self.tidied = Some(Instant::now());
        if self.unswept {
            self.unswept = !self.wonder(now_ms);
        }
        self.spread(now_ms);
        let due = self.outlet.sweep.due(now_ms);
        let Some(idle) = self.idle(&due) else {
            return Ok(false);
        };
        for ((spot, _), idle) in due.into_iter().zip(&idle) {
            if *idle {
                self.outlet.publish_sweep(spot, now_ms)?;
            } else {
                self.outlet.sweep.covered(spot, now_ms);
            }
        }
        Ok(idle.contains(&true))
    }

    fn commit(&mut self) -> Result<(), Fault> {
        if !self.outlet.is_open() && !self.intake.has_moved() {
            return Ok(());
        }
        let offsets = self.intake.offsets()?;
        let Some(group) = &self.intake.group else {
            return Err(Fault::Abort("no partitions are assigned".to_owned()));
        };
        self.outlet.commit(&offsets, group)?;
        self.intake.settle();
        let committed = self.intake.committed();
        for (place, kept) in &mut self.kept {
            if let Some(offset) = committed.get(place) {
                *kept = *offset;
            }
        }
        Ok(())
    }

    fn uncommitted(&self) -> bool {
        self.intake.is_uncommitted()
    }

    fn rewind(&mut self) -> Result<(), Fault> {
        // What was aborted may never come again, and has to go all the same.
        self.unswept |= self.outlet.is_open();
        self.outlet.abort()?;
        if let Stage::Leaving(Polled::Lost) = self.stage {
            return Ok(());
        }
        self.intake.rewind()
    }

    fn pause(&mut self, wait: Duration) -> Result<(), Fault> {
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            self.serve(left.min(STARTS))?;
            self.outlet.serve();
            if left.is_zero() || self.stop.asked() || self.intake.has_event() {
                return Ok(());
            }
        }
    }

    fn lag(&mut self) -> Vec<Lag> {
        self.intake.lag()
    }

    fn caught_up(&mut self) -> Result<bool, Fault> {
        if !matches!(self.stage, Stage::Running) {
            return Ok(false);
        }
        if self.ends_at_start.is_none() {
            self.note_ends_at_start();
        }
        let Some(ends) = &self.ends_at_start else {
            return Ok(false);
        };
        let mut parts = self.intake.all_parts();
        Ok(parts.all(|part| {
            ends.get(&part.place)
                .is_some_and(|end| part.position >= *end)
        }))
    }

    fn late_gate(&self) -> Option<LateGate> {
        match self.stage {
            Stage::Running => self.intake.late_gate(),
            _ => None,
        }
    }

    fn close(&mut self, leave: bool) -> Result<(), Fault> {
        let aborted = self.outlet.abort();
        self.shut(leave);
        aborted
    }
}

impl Drop for KafkaTransport {
    /// Closes the consumer by its own loop: librdkafka would wait for an answer
    /// to the last revocation.
    fn drop(&mut self) {
        self.shut(false);
    }
}

fn asking(settings: &KafkaSettings, stable: bool) -> Result<BaseConsumer<Logged>, Fault> {
    let config = settings.observer(stable);
    BaseConsumer::from_config_and_context(&config, Logged::new("observer"))
        .map_err(|error| Fault::Stop(format!("client: {error}")))
}

/// What is known of a topic.
enum Found {
    Partitions(i32),
    Absent,
    Refused(String),
    Unknown(String),
}

fn look_up(observer: &BaseConsumer<Logged>, topic: &str) -> Found {
    let metadata = match observer.fetch_metadata(Some(topic), CALL) {
        Ok(metadata) => metadata,
        Err(error) => return Found::Unknown(fault::plain(&error)),
    };
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Found::Absent;
    };
    match found.error().map(RDKafkaErrorCode::from) {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            Found::Absent
        }
        Some(code @ RDKafkaErrorCode::TopicAuthorizationFailed) => Found::Refused(code.to_string()),
        Some(code) => Found::Unknown(code.to_string()),
        None => Found::Partitions(i32::try_from(found.partitions().len()).unwrap_or(i32::MAX)),
    }
}

fn absent(topic: &str) -> Fault {
    Fault::Stop(format!(
        "topic `{topic}` does not exist: `zeef topics --apply` creates it"
    ))
}

/// The sources of the plan, with their numbers of partitions.
fn sources(
    observer: &BaseConsumer<Logged>,
    settings: &KafkaSettings,
    plan: &LanePlan,
    stop: &Stop,
) -> Result<Vec<Source>, Fault> {
    // The rows of a state lie by the numbers of partitions, of any source.
    let state = plan.outputs.iter().any(|output| output.is_state());
    let mut sources = Vec::new();
    for (index, source) in plan.sources.iter().enumerate() {
        let topic = settings.topic(&source.topic);
        let partitions = partitions(observer, &topic, stop)?;
        let Ok(index) = u16::try_from(index) else {
            return Err(Fault::Stop("a lane has too many sources".to_owned()));
        };
        sources.push(Source {
            id: SourceId(index),
            name: source.topic.clone(),
            topic,
            gate: source.gate,
            kept: source.kept,
            joined: source.joined || state,
            partitions,
            placement: Placement::new(settings.partitioner, partitions).filter(|_| source.joined),
        });
    }
    Ok(sources)
}

/// Stops where a state topic has fewer partitions than the largest source: a
/// row lies in the partition of its record, so that it has one writer.
fn check_state(
    observer: &BaseConsumer<Logged>,
    settings: &KafkaSettings,
    plan: &LanePlan,
    sources: &[Source],
    stop: &Stop,
) -> Result<(), Fault> {
    let wanted = sources.iter().map(|source| source.partitions).max();
    let wanted = wanted.unwrap_or(1);
    for output in plan.outputs.iter().filter(|output| output.is_restored()) {
        let topic = settings.topic(&output.topic);
        match partitions(observer, &topic, stop)? {
            partitions if partitions >= wanted => {}
            partitions => {
                return Err(Fault::Stop(format!(
                    "topic `{topic}` has {partitions} partitions, expected at least {wanted}, as \
                     the largest source has; where a source was given partitions, write the sources \
                     anew, for a deployment of its own (`[kafka] topic_prefix`)"
                )));
            }
        }
    }
    Ok(())
}

/// How many partitions a topic has that must exist.
fn partitions(observer: &BaseConsumer<Logged>, topic: &str, stop: &Stop) -> Result<i32, Fault> {
    let found = contact(observer, stop, || match look_up(observer, topic) {
        Found::Unknown(text) => Err(text),
        known => Ok(known),
    })?;
    match found {
        Found::Partitions(partitions) => Ok(partitions),
        Found::Refused(text) => Err(Fault::Stop(format!("topic `{topic}`: {text}"))),
        Found::Absent | Found::Unknown(_) => Err(absent(topic)),
    }
}

/// Asks until Kafka answers.
fn contact<T>(
    observer: &BaseConsumer<Logged>,
    stop: &Stop,
    mut ask: impl FnMut() -> Result<T, String>,
) -> Result<T, Fault> {
    let deadline = Instant::now() + CONTACT;
    loop {
        let text = match ask() {
            Ok(answer) => return Ok(answer),
            Err(text) => text,
        };
        // Serves the log and the errors of the client.
        let _ = observer.poll(Duration::ZERO);
        if let Some(reason) = observer.context().unauthenticated() {
            return Err(Fault::Stop(format!("kafka refuses the login: {reason}")));
        }
        if stop.asked() || Instant::now() >= deadline {
            return Err(Fault::Rebuild(format!("no answer from kafka: {text}")));
        }
        tracing::warn!("kafka: no answer yet: {text}");
        let _ = observer.poll(Duration::from_millis(200));
    }
}
