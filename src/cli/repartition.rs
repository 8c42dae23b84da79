//! `zeef lanes apply --repartition`: carries the states of all lanes, and what is kept of erased
//! patrons, to sources with other partitions.
//!
//! All of it is one transaction: a command that was killed has changed nothing, or everything.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use super::exit::{CliFailure, pluralise};
use super::screen::Screen;
use super::stopped_lanes::{lane_of_state_topic, wait_for_members_to_leave};
use crate::config::LoadedConfig;
use crate::daemon::lane_repartition::{ChangedSource, RecordFinder, find_changed_sources};
use crate::daemon::topics::TopicReport;
use crate::engine::lane::{PATRONS_TOPIC, STATE_TOPIC_PREFIX, source_retention};
use crate::engine::memory::deliveries::StateKeys;
use crate::engine::memory::deliveries::lane_move::StoredPartition;
use crate::engine::memory::deliveries::repartition::{
    CarriedState, NewPositions, RecordPlaces, RowWrites, carry_rows,
};
use crate::engine::memory::erasures::carry::{
    NewPatronSource, SharedRows, carry_shared_rows, patrons_of_shared_rows,
};
use crate::ledger::LEDGER_TOPIC;
use crate::message::AppendTime;
use crate::message::continuity::{ContinuityMark, SourceProgress};
use crate::policy::catalogue::Role;
use crate::transport::kafka::lane_states::{
    GroupPositions, PartitionRows, StateReader, StateRewriter, StateTopic,
};
use crate::transport::kafka::repaired_records::RepairedRecords;
use crate::transport::kafka::source_positions::{SourceToRead, read_to_end};
use crate::transport::kafka::topics::add_partitions;
use crate::transport::kafka::{KafkaSettings, describe_changed_partitions};

/// Returns what to say of sources that have other partitions than lanes have read; `None` if
/// there are none.
pub(super) fn describe_changed_sources(
    settings: &KafkaSettings,
    changed: &BTreeSet<ChangedSource>,
) -> Option<String> {
    let lines = changed.iter().map(|one| {
        let topic = settings.topic_name(&one.topic);
        describe_changed_partitions(&topic, one.partition_count, one.former_count)
    });
    let lines: Vec<String> = lines.collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Carries states to sources with other partitions.
pub(super) struct Repartition<'a> {
    pub(super) loaded: &'a LoadedConfig,
    pub(super) state_keys: StateKeys,
    pub(super) settings: &'a KafkaSettings,
    pub(super) states: &'a StateReader<'a>,
}

/// A lane whose sources have other partitions.
struct ChangedLane {
    state: StateTopic,
    stored: BTreeMap<i32, StoredPartition>,
    changed: BTreeSet<ChangedSource>,
    /// Without prefix.
    sources: BTreeSet<String>,
    partition_count: i32,
}

/// The new sources, read to their ends.
struct NewSources {
    places: RecordPlaces,
    progress: BTreeMap<String, Vec<SourceProgress>>,
    newest_record: Option<AppendTime>,
}

/// What was, or would be, written.
pub(super) struct RepartitionReport {
    lanes: Vec<LaneReport>,
    erased_patrons: usize,
    /// Erased patrons of whom the new sources have records.
    known_erased_patrons: usize,
}

struct LaneReport {
    lane: String,
    former_count: i32,
    partition_count: i32,
    row_count: u64,
    absent_count: u64,
}

impl Repartition<'_> {
    /// Carries all lanes whose sources have other partitions. Returns `None` if none has.
    ///
    /// # Errors
    ///
    /// Topics that are not as required, a live process, or an unreadable state.
    pub(super) fn carry_all(&self, dry_run: bool) -> anyhow::Result<Option<RepartitionReport>> {
        let topics = self.states.list_topics(STATE_TOPIC_PREFIX)?;
        let report = TopicReport::fetch(self.settings, self.loaded)?;
        if self.find_changed_lanes(&topics, &report)?.is_empty() {
            return Ok(None);
        }
        let mut writer = None;
        if !dry_run {
            wait_for_members_to_leave((self.settings, self.states), &topics)?;
            writer = Some(StateRewriter::open(self.settings)?);
        }
        // Again: nobody else changes them from here on.
        let lanes = self.find_changed_lanes(&topics, &report)?;
        if writer.is_some() {
            self.add_missing_partitions(&lanes)?;
        }
        self.require_topics(dry_run)?;
        let shared_rows = self.read_shared_rows()?;
        let sources = self.read_sources(&report, &lanes, &shared_rows)?;
        self.carry(writer.as_ref(), (&lanes, &shared_rows), &sources).map(Some)
    }

    fn find_changed_lanes(
        &self,
        topics: &[StateTopic],
        report: &TopicReport,
    ) -> anyhow::Result<Vec<ChangedLane>> {
        let mut lanes = Vec::new();
        for state in topics {
            let mut stored = BTreeMap::new();
            for partition in 0..state.partition_count {
                let part = self.read_stored_partition(state, partition)?;
                stored.insert(partition, part);
            }
            let marks: Vec<ContinuityMark> =
                stored.values().filter_map(StoredPartition::mark).cloned().collect();
            let partition_count = |topic: &str| report.partition_count(topic);
            let changed = find_changed_sources(&marks, partition_count, true);
            if changed.is_empty() {
                continue;
            }
            let sources: BTreeSet<String> =
                marks.iter().flat_map(|mark| mark.sources.keys().cloned()).collect();
            let most = sources.iter().map(|topic| partition_count(topic)).max();
            lanes.push(ChangedLane {
                state: state.clone(),
                stored,
                changed,
                sources,
                partition_count: most.unwrap_or(0),
            });
        }
        Ok(lanes)
    }

    fn read_stored_partition(
        &self,
        state: &StateTopic,
        partition: i32,
    ) -> anyhow::Result<StoredPartition> {
        let fingerprinter = self.state_keys.fingerprinter();
        let mut stored = StoredPartition::default();
        let mut taken = Ok(());
        self.states.read_rows((&state.name, partition), &mut |key, value| {
            if taken.is_ok() {
                taken = stored.apply_row(&fingerprinter, key, value);
            }
        })?;
        let at = || format!("{} partition {partition}", state.name);
        taken.map_err(|error| anyhow::Error::new(error).context(at()))?;
        Ok(stored)
    }

    /// Gives zeef's own topics the partitions that the new sources need.
    fn add_missing_partitions(&self, lanes: &[ChangedLane]) -> anyhow::Result<()> {
        let most = lanes.iter().map(|lane| lane.partition_count).max().unwrap_or(0);
        let mut shared = self.states.list_topics(PATRONS_TOPIC)?;
        let ledger = self.states.list_topics(LEDGER_TOPIC)?.into_iter();
        shared.extend(ledger.filter(|topic| topic.name == LEDGER_TOPIC));
        let shared = shared.iter().map(|topic| (topic, most));
        let own = lanes.iter().map(|lane| (&lane.state, lane.partition_count));
        for (topic, wanted) in own.chain(shared) {
            if topic.partition_count < wanted {
                add_partitions(self.settings, &topic.name, wanted)?;
            }
        }
        Ok(())
    }

    fn require_topics(&self, dry_run: bool) -> anyhow::Result<()> {
        let report = TopicReport::fetch(self.settings, self.loaded)?;
        // What a dry run would do first is missing then.
        let refusals = match dry_run {
            true => report.find_wrong_partitioner(self.settings)?.into_iter().collect(),
            false => report.start_refusals(self.settings, self.loaded)?,
        };
        match refusals.is_empty() {
            true => Ok(()),
            false => Err(CliFailure::Config(refusals.join("\n")).into()),
        }
    }

    fn read_shared_rows(&self) -> anyhow::Result<SharedRows> {
        let mut rows = SharedRows::new();
        for topic in self.states.list_topics(PATRONS_TOPIC)? {
            for partition in 0..topic.partition_count {
                self.states.read_rows((&topic.name, partition), &mut |key, value| {
                    let place = (partition, key.to_vec());
                    match value {
                        Some(value) => drop(rows.insert(place, value.to_vec())),
                        None => drop(rows.remove(&place)),
                    }
                })?;
            }
        }
        Ok(rows)
    }

    fn read_sources(
        &self,
        report: &TopicReport,
        lanes: &[ChangedLane],
        shared_rows: &SharedRows,
    ) -> anyhow::Result<NewSources> {
        let mut found = NewSources {
            places: RecordPlaces::default(),
            progress: BTreeMap::new(),
            newest_record: None,
        };
        for part in lanes.iter().flat_map(|lane| lane.stored.values()) {
            found.places.want_rows(part)?;
        }
        for patron in patrons_of_shared_rows(shared_rows)? {
            found.places.want_patron(patron);
        }
        let fingerprinter = self.state_keys.fingerprinter();
        let repaired = RepairedRecords::load(self.settings)?;
        for kind in &self.loaded.policy.record_kinds {
            let partition_count = report.partition_count(&kind.topic);
            let is_read = lanes.iter().any(|lane| lane.sources.contains(&kind.topic));
            if !is_read || partition_count == 0 {
                continue;
            }
            let layout = (self.settings.partitioner, partition_count);
            let mut finder = RecordFinder::new(kind, &self.state_keys, layout);
            let source = SourceToRead {
                name: &kind.topic,
                partition_count,
                retention: source_retention(kind),
            };
            let progress = read_to_end(self.settings, source, &fingerprinter, &mut |input| {
                let place = (kind.topic.clone(), input.partition, input.offset);
                let is_repaired = || repaired.contains(&place, input.timestamp_ms);
                finder.note_record(input, is_repaired, &mut found.places);
            })?;
            found.progress.insert(kind.topic.clone(), progress);
            self.require_in_place(&kind.topic, finder.misplaced_count)?;
            if let Some(newest) = finder.newest_record {
                let known = found.newest_record.get_or_insert(newest);
                *known = known.latest(newest);
            }
        }
        Ok(found)
    }

    /// Fails if records of a source lie elsewhere than their keys belong: it was only given
    /// partitions, or has another partitioner.
    fn require_in_place(&self, topic: &str, misplaced_count: u64) -> Result<(), CliFailure> {
        if misplaced_count == 0 {
            return Ok(());
        }
        let misplaced = usize::try_from(misplaced_count).unwrap_or(usize::MAX);
        Err(CliFailure::Config(format!(
            "topic `{}`: {} in another partition than `[kafka] partitioner = \"{}\"` puts the key \
             in; a source that was only given partitions has to be written anew, to a new topic",
            self.settings.topic_name(topic),
            pluralise(misplaced, "record"),
            self.settings.partitioner.as_str(),
        )))
    }

    /// Writes everything, if there is a writer.
    fn carry(
        &self,
        writer: Option<&StateRewriter<'_>>,
        (lanes, shared_rows): (&[ChangedLane], &SharedRows),
        sources: &NewSources,
    ) -> anyhow::Result<RepartitionReport> {
        let carried: Vec<CarriedState> = lanes
            .iter()
            .map(|lane| {
                let positions = lane.new_positions(&sources.progress);
                let fingerprinter = self.state_keys.fingerprinter();
                carry_rows(&fingerprinter, &lane.stored, &sources.places, &positions)
            })
            .collect::<Result<_, _>>()?;
        let shared = self.carry_shared(lanes, shared_rows, sources)?;
        if let Some(writer) = writer {
            self.write_all(writer, (lanes, &carried), &shared)?;
        }
        let erased = patrons_of_shared_rows(shared_rows)?;
        let is_known = |patron: &&_| sources.places.home_partition(**patron).is_some();
        Ok(RepartitionReport {
            lanes: lanes.iter().zip(&carried).map(|(lane, one)| lane.report(one)).collect(),
            known_erased_patrons: erased.iter().filter(is_known).count(),
            erased_patrons: erased.len(),
        })
    }

    fn carry_shared(
        &self,
        lanes: &[ChangedLane],
        shared_rows: &SharedRows,
        sources: &NewSources,
    ) -> anyhow::Result<BTreeMap<i32, RowWrites>> {
        let kinds = &self.loaded.policy.record_kinds;
        let patron_kind = kinds.iter().find(|kind| kind.role == Role::Patron);
        let mut changed = lanes.iter().flat_map(|lane| &lane.changed);
        let patron_source =
            changed.find(|one| patron_kind.is_some_and(|kind| kind.topic == one.topic));
        let Some(patron_source) = patron_source else {
            return Ok(BTreeMap::new());
        };
        let source = NewPatronSource {
            partition_count: patron_source.partition_count,
            home_partition: &|patron| sources.places.home_partition(patron),
            newest_record: sources.newest_record,
        };
        Ok(carry_shared_rows(&self.state_keys, shared_rows, &source)?)
    }

    fn write_all(
        &self,
        writer: &StateRewriter<'_>,
        (lanes, carried): (&[ChangedLane], &[CarriedState]),
        shared: &BTreeMap<i32, RowWrites>,
    ) -> anyhow::Result<()> {
        let kinds = &self.loaded.policy.record_kinds;
        let mut rows = Vec::new();
        let mut groups = Vec::new();
        for (lane, carried) in lanes.iter().zip(carried) {
            let writes = carried.writes.iter();
            rows.extend(writes.map(|written| partition_rows(&lane.state.name, written)));
            groups.push(GroupPositions {
                lane: lane.name(),
                marks: carried.marks.iter().map(|(partition, mark)| (*partition, mark)).collect(),
                sources: kinds.iter().map(|kind| kind.topic.as_str()).collect(),
            });
        }
        rows.extend(shared.iter().map(|written| partition_rows(PATRONS_TOPIC, written)));
        let names: Vec<&str> = lanes.iter().map(ChangedLane::name).collect();
        writer.write(&names, &rows, &groups)?;
        Ok(())
    }
}

fn partition_rows<'a>(
    topic: &'a str,
    (partition, writes): (&i32, &'a RowWrites),
) -> PartitionRows<'a> {
    let rows = writes.iter().map(|(key, value)| (key.as_slice(), value.as_deref()));
    PartitionRows { topic, partition: *partition, rows: rows.collect() }
}

impl ChangedLane {
    fn name(&self) -> &str {
        lane_of_state_topic(&self.state.name)
    }

    fn new_positions(&self, progress: &BTreeMap<String, Vec<SourceProgress>>) -> NewPositions {
        let of_partition = |partition: i32| {
            let at = usize::try_from(partition).unwrap_or(usize::MAX);
            let own = progress.iter().filter(|(topic, _)| self.sources.contains(*topic));
            own.filter_map(|(topic, all)| Some((topic.clone(), all.get(at)?.clone()))).collect()
        };
        (0..self.partition_count).map(|partition| (partition, of_partition(partition))).collect()
    }

    fn report(&self, carried: &CarriedState) -> LaneReport {
        LaneReport {
            lane: self.name().to_owned(),
            former_count: self.changed.iter().map(|one| one.former_count).max().unwrap_or(0),
            partition_count: self.partition_count,
            row_count: carried.row_count,
            absent_count: carried.absent_count,
        }
    }
}

impl RepartitionReport {
    pub(super) fn write(&self, dry_run: bool, screen: &mut Screen) -> std::io::Result<()> {
        let done = if dry_run { "would carry" } else { "carried" };
        let count =
            |count: u64, what: &str| pluralise(usize::try_from(count).unwrap_or(usize::MAX), what);
        for lane in &self.lanes {
            let LaneReport { lane, former_count, partition_count, row_count, absent_count } = lane;
            writeln!(
                screen,
                "lane {lane}: {done} {} from {former_count} to {}",
                count(*row_count, "row"),
                count(u64::from(partition_count.unsigned_abs()), "partition"),
            )?;
            if *absent_count > 0 {
                writeln!(
                    screen,
                    "  of {} no source has the record: the next start takes back what recipients \
                     have of them",
                    count(*absent_count, "row")
                )?;
            }
        }
        let erased = pluralise(self.erased_patrons, "erased patron");
        writeln!(screen, "{PATRONS_TOPIC}: {done} {erased}")?;
        if self.known_erased_patrons > 0 {
            writeln!(
                screen,
                "  of {} the new sources have records: all but those of the patron itself count as \
                 from before the erasure, until their system writes them once more",
                pluralise(self.known_erased_patrons, "patron")
            )?;
        }
        Ok(())
    }
}
