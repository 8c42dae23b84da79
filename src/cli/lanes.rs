//! `zeef lanes apply`: moves recipients to their lanes in the config.

use std::collections::BTreeMap;
use std::io::Write as _;

use super::arguments::{LanesApplyArguments, LanesArguments, LanesCommand};
use super::audit::{AuditedAction, Auditor};
use super::command_target::DataLocation;
use super::config;
use super::exit::{CliFailure, Exit, pluralise};
use super::kafka;
use super::key_lookup;
use super::logging;
use super::repartition::{Repartition, RepartitionReport, describe_changed_sources};
use super::screen::Screen;
use super::stopped_lanes::{lane_of_state_topic, wait_for_members_to_leave};
use crate::config::LoadedConfig;
use crate::config::keyring::STATE_KEY_NAME;
use crate::daemon::lane_moves::{LaneMove, LaneMovePlan, move_to_serving_lanes};
use crate::daemon::lane_repartition::find_changed_sources;
use crate::daemon::topics::TopicReport;
use crate::engine::lane::STATE_TOPIC_PREFIX;
use crate::engine::memory::deliveries::StateKeys;
use crate::engine::memory::deliveries::lane_move::StoredPartition;
use crate::message::continuity::{ContinuityMark, Fingerprinter};
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::lane_states::{
    GroupPositions, PartitionRows, StateReader, StateRewriter, StateTopic,
};

/// Runs the subcommand.
///
/// # Errors
///
/// A wrong config, a live process, or an unreadable state.
pub(super) fn run(arguments: &LanesArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    match &arguments.command {
        LanesCommand::Apply(arguments) => apply_lanes(arguments, screen),
    }
}

fn apply_lanes(arguments: &LanesApplyArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = config::load(&arguments.config.config)?;
    logging::start(loaded.daemon.log, arguments.log);
    let keys = key_lookup::load_keys(&loaded.daemon.keys, [STATE_KEY_NAME])?;
    let state = keys.state_key();
    let state =
        state.ok_or_else(|| CliFailure::Config("the key of the state is missing".to_owned()))?;
    let brokers = arguments.brokers.brokers.as_deref();
    let connection = kafka::KafkaConnection::new(&loaded, &arguments.config.config, brokers);
    let auditor = Auditor::new(&loaded, &arguments.operator)?;
    connection.with_settings(|settings| {
        if !arguments.dry_run {
            let words = match arguments.repartition {
                true => "lanes apply --repartition",
                false => "lanes apply",
            };
            let action = AuditedAction { words, ..AuditedAction::default() };
            auditor.record(&DataLocation::Kafka(settings.clone()), action)?;
        }
        let apply = LaneMover {
            loaded: &loaded,
            fingerprinter: StateKeys::new(state).fingerprinter(),
            settings: &settings,
            states: StateReader::open(&settings)?,
        };
        if arguments.repartition {
            let repartition = Repartition {
                loaded: &loaded,
                state_keys: StateKeys::new(state),
                settings: &settings,
                states: &apply.states,
            };
            let report = repartition.carry_all(arguments.dry_run)?;
            write_repartition(report.as_ref(), arguments.dry_run, screen)?;
            if arguments.dry_run && report.is_some() {
                return Ok(());
            }
        } else {
            apply.require_same_partitions()?;
        }
        let moves = apply.move_all(arguments.dry_run)?;
        Ok(write_moves(&moves, arguments.dry_run, screen)?)
    })?;
    Ok(Exit::Success)
}

fn write_repartition(
    report: Option<&RepartitionReport>,
    dry_run: bool,
    screen: &mut Screen,
) -> std::io::Result<()> {
    match report {
        Some(report) => report.write(dry_run, screen),
        None => writeln!(screen, "the sources have the partitions they had: nothing to carry"),
    }
}

fn write_moves(
    moves: &BTreeMap<LaneMove, u64>,
    dry_run: bool,
    screen: &mut Screen,
) -> Result<(), std::io::Error> {
    if moves.is_empty() {
        return writeln!(screen, "every recipient is in its lane: there is nothing to do");
    }
    let done = if dry_run { "would move" } else { "moved" };
    for (one, count) in moves {
        let LaneMove { recipient: name, from, to } = one;
        let outputs = usize::try_from(*count).unwrap_or(usize::MAX);
        let outputs = pluralise(outputs, "output");
        writeln!(screen, "{name}: {done} from lane {from} to {to}, with {outputs}")?;
    }
    Ok(())
}

struct LaneMover<'a> {
    loaded: &'a LoadedConfig,
    fingerprinter: Fingerprinter,
    settings: &'a KafkaSettings,
    states: StateReader<'a>,
}

impl LaneMover<'_> {
    /// Moves everybody, one partition after the other, each whole or not at all. Run it
    /// again after an interruption.
    fn move_all(&self, dry_run: bool) -> anyhow::Result<BTreeMap<LaneMove, u64>> {
        let topics = self.states.list_topics(STATE_TOPIC_PREFIX)?;
        let mut writer = None;
        if !dry_run {
            wait_for_members_to_leave((self.settings, &self.states), &topics)?;
            writer = Some(StateRewriter::open(self.settings)?);
        }
        let partitions = topics.iter().map(|topic| topic.partition_count).max();
        let mut moves = BTreeMap::new();
        for partition in 0..partitions.unwrap_or(0) {
            let mut stored_partitions = self.read_stored_partitions(&topics, partition)?;
            let done =
                move_to_serving_lanes(self.loaded, &self.fingerprinter, &mut stored_partitions)?;
            self.require_state_partitions(&topics, &done, partition)?;
            if let Some(writer) = writer.as_ref().filter(|_| !done.row_writes.is_empty()) {
                self.write_partition(writer, partition, (&stored_partitions, &done))?;
            }
            for (moved, count) in done.output_counts {
                *moves.entry(moved).or_insert(0) += count;
            }
        }
        Ok(moves)
    }

    /// Fails if sources have other partitions than the states say.
    fn require_same_partitions(&self) -> anyhow::Result<()> {
        let report = TopicReport::fetch(self.settings, self.loaded)?;
        for topic in self.states.list_topics(STATE_TOPIC_PREFIX)? {
            let marks = self.states.read_newest_marks(&topic)?;
            let marks = marks.iter().map(|mark| ContinuityMark::decode(&self.fingerprinter, mark));
            let marks: Vec<ContinuityMark> = marks.filter_map(Result::ok).collect();
            let partition_count = |topic: &str| report.partition_count(topic);
            let changed = find_changed_sources(&marks, partition_count, false);
            if let Some(text) = describe_changed_sources(self.settings, &changed) {
                return Err(CliFailure::Config(text).into());
            }
        }
        Ok(())
    }

    /// Reads one partition of all states.
    fn read_stored_partitions(
        &self,
        topics: &[StateTopic],
        partition: i32,
    ) -> anyhow::Result<BTreeMap<String, StoredPartition>> {
        let mut stored_partitions = BTreeMap::new();
        for topic in topics.iter().filter(|topic| partition < topic.partition_count) {
            let mut stored = StoredPartition::default();
            let mut taken = Ok(());
            self.states.read_rows((&topic.name, partition), &mut |key, value| {
                if taken.is_ok() {
                    taken = stored.apply_row(&self.fingerprinter, key, value);
                }
            })?;
            let at = || format!("{} partition {partition}", topic.name);
            taken.map_err(|error| anyhow::Error::new(error).context(at()))?;
            stored_partitions.insert(lane_of_state_topic(&topic.name).to_owned(), stored);
        }
        Ok(stored_partitions)
    }

    fn write_partition(
        &self,
        writer: &StateRewriter<'_>,
        partition: i32,
        (stored_partitions, done): (&BTreeMap<String, StoredPartition>, &LaneMovePlan),
    ) -> anyhow::Result<()> {
        let lanes: Vec<&str> = stored_partitions.keys().map(String::as_str).collect();
        let names = done.row_writes.keys();
        let names: Vec<String> = names.map(|lane| format!("{STATE_TOPIC_PREFIX}{lane}")).collect();
        let written = names.iter().zip(done.row_writes.values());
        let rows: Vec<PartitionRows<'_>> =
            written.map(|(topic, rows)| partition_rows((topic, partition), rows)).collect();
        let comes = |lane: &&String| done.output_counts.keys().any(|one| one.to == **lane);
        let kinds = &self.loaded.policy.record_kinds;
        let place = |lane: &'_ String| {
            let (lane, shelf) = stored_partitions.get_key_value(lane)?;
            Some(GroupPositions {
                lane,
                marks: vec![(partition, shelf.mark()?)],
                sources: kinds.iter().map(|kind| kind.topic.as_str()).collect(),
            })
        };
        let groups = done.row_writes.keys().filter(comes).filter_map(place);
        let groups: Vec<GroupPositions<'_>> = groups.collect();
        writer.write(&lanes, &rows, &groups)?;
        Ok(())
    }

    /// Checks that each lane that somebody moves to has a state.
    fn require_state_partitions(
        &self,
        topics: &[StateTopic],
        done: &LaneMovePlan,
        partition: i32,
    ) -> Result<(), CliFailure> {
        let lacks = |lane: &&String| {
            let mut found =
                topics.iter().filter(|topic| lane_of_state_topic(&topic.name) == **lane);
            !found.any(|topic| partition < topic.partition_count)
        };
        match done.row_writes.keys().find(lacks) {
            None => Ok(()),
            Some(lane) => Err(CliFailure::Config(format!(
                "topic `{}` has no partition {partition}: `zeef topics --apply` creates what is \
                 missing; a topic that is too small needs partitions",
                self.settings.topic_name(&format!("{STATE_TOPIC_PREFIX}{lane}"))
            ))),
        }
    }
}

fn partition_rows<'a>(
    (topic, partition): (&'a str, i32),
    rows: &'a [(Vec<u8>, Vec<u8>)],
) -> PartitionRows<'a> {
    let rows = rows.iter().map(|(key, value)| (key.as_slice(), Some(value.as_slice())));
    PartitionRows { topic, partition, rows: rows.collect() }
}
