//! `zeef intake resync`: after a new snapshot of the library system, what is in it no longer is
//! taken back.
//!
//! `begin` notes the ends of the canonical topics; nothing older may be unread then, as it would
//! be converted later and count as written by the snapshot. It also forgets the versions that were
//! written: what comes next is the snapshot, which counts whatever its versions are. Once the
//! snapshot has gone through the intake, `end` reads these topics whole: a record that was not written since is gone, a
//! patron erased, a consent withdrawn. What `end` writes counts as written, so that it may be
//! interrupted and run again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cli::arguments::{IntakeResyncBeginArguments, IntakeResyncEndArguments};
use crate::cli::config;
use crate::cli::exit::{CliFailure, Exit};
use crate::cli::kafka::KafkaConnection;
use crate::cli::screen::{self, NoteKind};
use crate::cli::snapshot::known_records::{KnownRecords, RecordLine};
use crate::cli::snapshot::removal::removal_line;
use crate::cli::snapshot::{SourceRemovals, refuse_large_removals};
use crate::config::LoadedConfig;
use crate::daemon::intake::IntakeSetup;
use crate::intake::is_position_key;
use crate::json::write;
use crate::message::{Input, Payload};
use crate::policy::catalogue::RecordKind;
use crate::transport::file::{FileMode, replace_file};
use crate::transport::kafka::lane_states::{PartitionRows, StateReader, StateRewriter};
use crate::transport::kafka::publish::Publisher;
use crate::transport::kafka::read_topic::read_inputs;
use crate::transport::kafka::{KafkaSettings, topics};

/// What `begin` notes: the end of each partition of each canonical topic.
#[derive(Debug, Serialize, Deserialize)]
struct ResyncStart {
    intake: String,
    ends: BTreeMap<String, Vec<i64>>,
}

/// Notes where the canonical topics end.
pub(super) fn begin(arguments: &IntakeResyncBeginArguments) -> anyhow::Result<Exit> {
    let loaded = config::load(&arguments.config.config)?;
    let setup = find_enabled(&arguments.config.config, &loaded, &arguments.name)?;
    let brokers = arguments.brokers.brokers.as_deref();
    let connection = KafkaConnection::new(&loaded, &arguments.config.config, brokers);
    let ends = connection.with_settings(|settings| {
        require_caught_up(&settings, &setup)?;
        if let Some(state) = setup.state_topic() {
            require_stopped(&settings, &setup)?;
            forget_versions(&settings, &setup.lane_name(), &state)?;
        }
        let mut ends = BTreeMap::new();
        for kind in &setup.kinds {
            let found = topics::fetch_ends(&settings, &kind.topic)?;
            let topic = settings.topic_name(&kind.topic);
            let absent = || CliFailure::Config(format!("topic `{topic}` does not exist"));
            ends.insert(kind.topic.clone(), found.ok_or_else(absent)?);
        }
        Ok(ends)
    })?;
    let start = ResyncStart { intake: arguments.name.clone(), ends };
    let text = serde_json::to_vec(&start)?;
    replace_file(&arguments.to, FileMode::for_file(false), &text)?;
    let note = format!(
        "noted in {}: have the library system write everything anew, let `zeef run` read it, stop \
         zeef, and run `zeef intake resync end`",
        arguments.to.display()
    );
    screen::print_note(NoteKind::Plain, &note);
    Ok(Exit::Success)
}

/// Takes back what was not written since `begin`.
pub(super) fn end(arguments: &IntakeResyncEndArguments) -> anyhow::Result<Exit> {
    let loaded = config::load(&arguments.config.config)?;
    let setup = find_enabled(&arguments.config.config, &loaded, &arguments.name)?;
    let start = read_start(&arguments.from, &setup)?;
    let brokers = arguments.brokers.brokers.as_deref();
    let connection = KafkaConnection::new(&loaded, &arguments.config.config, brokers);
    connection.with_settings(|settings| {
        require_stopped(&settings, &setup)?;
        require_caught_up(&settings, &setup)?;
        let mut resyncs = Vec::new();
        for kind in &loaded.policy.record_kinds {
            if let Some(ends) = start.ends.get(&kind.topic) {
                resyncs.push(KindResync::find(&settings, kind, ends)?);
            }
        }
        let limit = loaded.daemon.directory.snapshot_max_removed_percent;
        let removals: Vec<SourceRemovals<'_>> = resyncs.iter().map(KindResync::removals).collect();
        refuse_large_removals(&removals, arguments.max_removed.unwrap_or(limit))?;
        if !arguments.dry_run {
            publish(&settings, &resyncs)?;
        }
        for one in &resyncs {
            screen::print_note(NoteKind::Plain, &one.summary(arguments.dry_run));
        }
        Ok(Exit::Success)
    })
}

/// # Errors
///
/// It is not enabled, or another one writes the same kinds: what that one wrote would be taken
/// back.
fn find_enabled(folder: &Path, loaded: &LoadedConfig, name: &str) -> anyhow::Result<IntakeSetup> {
    let prefix = &loaded.daemon.kafka.topic_prefix;
    let mut setups = config::load_enabled_intakes(folder, loaded, prefix)?;
    let Some(index) = setups.iter().position(|setup| setup.intake.name() == name) else {
        let names = setups.iter().map(|setup| setup.intake.name());
        let text = match setups.is_empty() {
            true => format!("no intake is enabled, and so not `{name}`"),
            false => config::unknown_name_text("enabled intake", name, names),
        };
        return Err(CliFailure::Usage(text).into());
    };
    let setup = setups.swap_remove(index);
    let kinds: BTreeSet<&str> = setup.kinds.iter().map(|kind| kind.name.as_str()).collect();
    for other in &setups {
        if let Some(kind) = other.kinds.iter().find(|kind| kinds.contains(kind.name.as_str())) {
            return Err(CliFailure::Config(format!(
                "intake `{}` writes {} records, too: those would all be taken back",
                other.intake.name(),
                kind.name
            ))
            .into());
        }
    }
    Ok(setup)
}

fn read_start(path: &Path, setup: &IntakeSetup) -> anyhow::Result<ResyncStart> {
    let shown = path.display();
    let bytes = fs::read(path).with_context(|| format!("failed to read {shown}"))?;
    let start: Option<ResyncStart> = serde_json::from_slice(&bytes).ok();
    let start = start.filter(|start| start.intake == setup.intake.name());
    start.ok_or_else(|| {
        let text = format!("{shown} is none of `zeef intake resync begin {}`", setup.intake.name());
        CliFailure::Usage(text).into()
    })
}

/// Removes the versions from the state of an intake that does not run. How far its raw topics
/// were read stays.
fn forget_versions(settings: &KafkaSettings, lane: &str, state: &str) -> anyhow::Result<()> {
    let reader = StateReader::open(settings)?;
    let found = reader.list_topics(state)?;
    let Some(found) = found.iter().find(|found| found.name == state) else {
        let topic = settings.topic_name(state);
        return Err(CliFailure::Config(format!("topic `{topic}` does not exist")).into());
    };
    let mut keys: Vec<BTreeSet<Vec<u8>>> = Vec::new();
    for partition in 0..found.partition_count {
        let mut live = BTreeSet::new();
        reader.read_rows((state, partition), &mut |key, value| {
            match value.filter(|_| !is_position_key(key)) {
                Some(_) => live.insert(key.to_vec()),
                None => live.remove(key),
            };
        })?;
        keys.push(live);
    }
    let rows = (0..).zip(&keys).map(|(partition, keys)| PartitionRows {
        topic: state,
        partition,
        rows: keys.iter().map(|key| (key.as_slice(), None)).collect(),
    });
    let rows: Vec<PartitionRows<'_>> = rows.collect();
    Ok(StateRewriter::open(settings)?.write(&[lane], &rows, &[])?)
}

/// Checks that the intake does not run: what it wrote meanwhile would be taken back.
fn require_stopped(settings: &KafkaSettings, setup: &IntakeSetup) -> anyhow::Result<()> {
    match StateReader::open(settings)?.member_count(&setup.lane_name())? {
        0 => Ok(()),
        _ => {
            let text = format!("intake `{}` runs: stop zeef first", setup.intake.name());
            Err(CliFailure::InUse(text).into())
        }
    }
}

/// Checks that the intake has read everything.
fn require_caught_up(settings: &KafkaSettings, setup: &IntakeSetup) -> anyhow::Result<()> {
    let plan = setup.plan(&topics::list_names(settings)?)?;
    let names: Vec<&str> = plan.sources.iter().map(|source| source.topic.as_str()).collect();
    let behind = topics::count_unread(settings, &setup.lane_name(), &names)?;
    match behind {
        0 => Ok(()),
        behind => Err(CliFailure::Config(format!(
            "intake `{}` has not read everything: {behind} offsets are left; let `zeef run` go on",
            setup.intake.name()
        ))
        .into()),
    }
}

/// What a resync takes back of one kind.
struct KindResync<'a> {
    kind: &'a RecordKind,
    /// How many records there were.
    known_count: usize,
    /// Keys, and values; `None` is a null.
    removed: Vec<(String, Option<Vec<u8>>)>,
    /// Records that were not written since and stay all the same.
    kept_count: usize,
}

impl<'a> KindResync<'a> {
    fn find(
        settings: &KafkaSettings,
        kind: &'a RecordKind,
        ends: &[i64],
    ) -> anyhow::Result<KindResync<'a>> {
        let mut known = KnownRecords::default();
        let mut line = Vec::new();
        read_inputs(settings, &kind.topic, &mut |input| {
            write_line(&input, &mut line);
            if let Some(record) = RecordLine::parse(kind, &line) {
                let partition = usize::try_from(input.partition).unwrap_or(usize::MAX);
                let is_seen = ends.get(partition).is_none_or(|end| input.offset >= *end);
                known.note_message(&record, place_of(&input), is_seen);
            }
        })?;
        let known_count = known.live_count();
        let unseen: BTreeSet<u64> = known.unseen_offsets().into_iter().collect();
        let mut resync = KindResync { kind, known_count, removed: Vec::new(), kept_count: 0 };
        read_inputs(settings, &kind.topic, &mut |input| {
            if unseen.contains(&place_of(&input)) {
                write_line(&input, &mut line);
                match removal_line(kind, &known, &line).and_then(|line| parse_removal(&line)) {
                    Some(removal) => resync.removed.push(removal),
                    None => resync.kept_count += 1,
                }
            }
        })?;
        Ok(resync)
    }

    fn removals(&self) -> SourceRemovals<'_> {
        SourceRemovals {
            topic: &self.kind.topic,
            removed: self.removed.len(),
            known: self.known_count,
        }
    }

    fn summary(&self, is_dry_run: bool) -> String {
        let state = if is_dry_run { "would be taken back" } else { "taken back" };
        let mut text = format!(
            "resync: {}: {} of {} {state}",
            self.kind.topic,
            self.removed.len(),
            self.known_count
        );
        if self.kept_count > 0 {
            text.push_str(&format!(", {} that were not written stay", self.kept_count));
        }
        text
    }
}

/// A message's place in its topic, in one number.
fn place_of(input: &Input<'_>) -> u64 {
    (input.partition.unsigned_abs() as u64) << 48 | input.offset.unsigned_abs()
}

/// Writes a message as a line of a directory.
fn write_line(input: &Input<'_>, line: &mut Vec<u8>) {
    line.clear();
    line.extend_from_slice(b"{\"key\":");
    write::string(line, &String::from_utf8_lossy(input.key.unwrap_or_default()));
    line.extend_from_slice(b",\"value\":");
    line.extend_from_slice(match input.payload {
        Payload::Bytes(bytes) => bytes,
        _ => b"null",
    });
    line.push(b'}');
}

fn parse_removal(line: &[u8]) -> Option<(String, Option<Vec<u8>>)> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let key = line["key"].as_str()?.to_owned();
    let value = match &line["value"] {
        Value::Null => None,
        value => Some(value.to_string().into_bytes()),
    };
    Some((key, value))
}

fn publish(settings: &KafkaSettings, resyncs: &[KindResync<'_>]) -> anyhow::Result<()> {
    let topics: BTreeSet<&str> = resyncs.iter().map(|one| one.kind.topic.as_str()).collect();
    let publisher = Publisher::open(settings.clone(), &topics)?;
    for one in resyncs {
        for (key, value) in &one.removed {
            publisher.send(&one.kind.topic, Some(key.as_bytes()), value.as_deref())?;
        }
    }
    publisher.flush().context("some of it may be taken back: run it again")
}
