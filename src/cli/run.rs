//! `zeef run`: the daemon, and the bounded run.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::arguments::RunArguments;
use super::audit::{AuditedAction, Auditor};
use super::checkpoint_keys::checkpoint_maker;
use super::command_target::DataLocation;
use super::config;
use super::directory;
use super::exit::{CliFailure, Exit, pluralise};
use super::intake::raw_folder::RawFolders;
use super::intake::raw_follower::{self, RawFollower};
use super::kafka;
use super::logging;
use super::repartition::describe_changed_sources;
use super::snapshot;
use crate::config::LoadedConfig;
use crate::config::keyring::{KeyRing, ledger_key_names};
use crate::daemon::checkpoint_copies::CheckpointCopy;
use crate::daemon::checkpoints::CheckpointKeeper;
use crate::daemon::clock::now_ms;
use crate::daemon::gate_census::{self, GateCensus};
use crate::daemon::intake::IntakeSetup;
use crate::daemon::intake::raw_topics::{
    RawTopic, fetch_raw_topics, find_unequal_partitions, plan_intake_states,
};
use crate::daemon::lane_moves::{self, LaneMove};
use crate::daemon::lane_repartition::find_changed_sources;
use crate::daemon::metrics::Metrics;
use crate::daemon::run::{self, Endpoint, LaneSetup, LaneTransport, Run, RunOutcome};
use crate::daemon::signals::{self, StopLimit};
use crate::daemon::topics::{GroupOffsetReport, TopicReport};
use crate::daemon::unserved_outputs::{self, LaneOutputs};
use crate::engine::lane::STATE_TOPIC_PREFIX;
use crate::engine::memory::deliveries::StateKeys;
use crate::engine::memory::deliveries::lane_move::StoredPartition;
use crate::message::commands::CommandLog;
use crate::message::continuity::ContinuityMark;
use crate::policy::pseudonym::HmacKey;
use crate::transport::StopSignal;
use crate::transport::directory::{Directory, DirectorySettings};
use crate::transport::kafka::commands::{self, CommandsError};
use crate::transport::kafka::lane_states::StateReader;
use crate::transport::kafka::repair::{SourceTopic, find_misplaced_from};
use crate::transport::kafka::repaired_records::{RepairedRecords, write_census_row};
use crate::transport::kafka::{KafkaSettings, topics};

/// How long a broker may take to come up, for instance after a reboot of both.
const BROKER_GIVE_UP_AFTER: Duration = Duration::from_secs(15);
/// How much longer than its session a stopped member may stay in a group.
const MEMBER_LEAVE_GRACE: Duration = Duration::from_secs(3);
const MEMBER_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Runs until a stop is requested or its input ends.
///
/// # Errors
///
/// Everything that has to be right before anything connects, at once.
pub(super) fn run(arguments: &RunArguments) -> anyhow::Result<Exit> {
    let loaded = config::load(&arguments.config.config)?;
    logging::start(loaded.daemon.log, arguments.log);
    signals::ignore_hangups()?;
    let names = loaded.policy.recipients.iter().map(|r| r.name.as_str());
    let names = names.chain(ledger_key_names(&loaded.daemon.ledger));
    let keys = KeyRing::load(&loaded.daemon.keys, names).map_err(CliFailure::Keys)?;
    for note in loaded.notes.iter().chain(&keys.notes) {
        tracing::warn!("{note}");
    }
    if arguments.directory.is_some() {
        // On Kafka whoever connects says so.
        for note in loaded.daemon.secret_warnings() {
            tracing::warn!("{note}");
        }
    }
    for note in &loaded.notes_of_disabled {
        tracing::debug!("{note}");
    }
    let transport = match arguments.directory {
        Some(_) => LaneTransport::Directory,
        None => LaneTransport::Kafka { topic_prefix: &loaded.daemon.kafka.topic_prefix },
    };
    let prefix = transport.topic_prefix();
    let mut lanes = run::compile_lanes(&loaded, &keys, transport)
        .map_err(|error| CliFailure::Config(format!("the policy cannot be compiled: {error}")))?;
    let mut intakes = config::load_enabled_intakes(&arguments.config.config, &loaded, prefix)?;
    for intake in &mut intakes {
        intake.state_key = keys.state_key().cloned();
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        policy = %loaded.policy.version,
        lanes = lanes.len(),
        intakes = intakes.len(),
        recipients = loaded.policy.recipients.len(),
        "zeef starting"
    );
    let mut has_refusals = false;
    let StartPoint { endpoint, mut commands, lane_moves, states } = match &arguments.directory {
        Some(root) => {
            let directory = directory::open_directory(DirectorySettings {
                follow: arguments.follow,
                ..directory::settings_with_keys(root, &loaded, &keys)?
            })?;
            has_refusals = convert_raw_files(root, arguments, (&loaded, &intakes), &directory)?;
            let states = prepare_directory(&directory, (&loaded, &keys), &lanes)?;
            let commands = directory.read_commands()?;
            let endpoint = Endpoint::Directory(directory);
            StartPoint { endpoint, commands, lane_moves: None, states }
        }
        None => connect_to_kafka(arguments, (&loaded, &keys), &intakes)?,
    };
    states.compare_commands(&mut commands);
    let metrics = Arc::new(Metrics::new(&loaded.policy.version)?);
    let checkpoints = checkpoint_keeper((&loaded, &keys), &endpoint, &metrics)?;
    if let Some(keeper) = &checkpoints {
        keeper.check_start()?;
    }
    record_start(arguments, &loaded, &endpoint)?;
    let commands = Arc::new(commands);
    lanes.retain(|lane| !states.unused_lanes.contains(&lane.lane.name));
    for lane in &mut lanes {
        lane.set_commands(&commands);
        lane.plan.known_former_topics.clone_from(&states.known_former_topics);
        lane.continuity.lane_moves = lane_moves;
    }
    let admin = admin_address(arguments, &loaded);
    let follower = raw_follower(arguments, &loaded, &intakes);
    let run = Run {
        loaded: &loaded,
        endpoint: &endpoint,
        admin,
        stop: StopSignal::default(),
        stop_limit: stop_limit(&loaded, &endpoint),
        intakes,
        metrics,
    };
    let (outcome, has_later_refusals) = run_lanes(run, lanes, (checkpoints, follower))?;
    has_refusals |= has_later_refusals;
    Ok(match outcome {
        RunOutcome::Stopped | RunOutcome::EndOfInput if has_refusals => Exit::Failed,
        RunOutcome::Stopped | RunOutcome::EndOfInput => Exit::Success,
        RunOutcome::Fenced(why) => {
            tracing::error!(%why, "another instance took over: do not start this one again");
            Exit::TakenOver
        }
        RunOutcome::LaneStopped(why) => {
            tracing::error!(%why, "a lane stopped");
            Exit::Stopped
        }
    })
}

/// Where a run begins, after everything it needs was checked.
struct StartPoint {
    endpoint: Endpoint,
    commands: CommandLog,
    /// How often recipients had been moved between lanes; `None` in a directory, whose lock
    /// keeps others out.
    lane_moves: Option<u64>,
    states: StateSurvey,
}

/// What the states of all lanes say of former recipients and their lanes.
struct StateSurvey {
    lane_outputs: Vec<LaneOutputs>,
    /// Lanes without recipients that never ran: not to be run.
    unused_lanes: BTreeSet<String>,
    /// As [`LanePlan::known_former_topics`](crate::message::LanePlan::known_former_topics).
    known_former_topics: BTreeSet<String>,
}

impl StateSurvey {
    /// Finds out whether the log of commands is another one than that of the marks.
    fn compare_commands(&self, commands: &mut CommandLog) {
        let done = self.lane_outputs.iter().map(|lane| lane.commands_done_offset);
        if commands.detect_recreation(done.max().unwrap_or(0)) {
            tracing::warn!(
                "zeef.commands has fewer commands than were carried out: it was created anew, and \
                 all that it has now are taken for new ones"
            );
        }
    }

    /// `marks` are by state.
    fn collect<'a, M: IntoIterator<Item = &'a [u8]>>(
        (loaded, keys): (&LoadedConfig, &KeyRing),
        marks: impl Iterator<Item = (&'a str, M)>,
    ) -> anyhow::Result<StateSurvey> {
        let fingerprinter = StateKeys::new(require_state_key(keys)?).fingerprinter();
        let lane_outputs: Vec<LaneOutputs> = marks
            .map(|(topic, marks)| {
                let lane = topic.strip_prefix(STATE_TOPIC_PREFIX).unwrap_or(topic);
                LaneOutputs::sum_marks(lane, marks.into_iter(), &fingerprinter)
            })
            .collect();
        let unused = unserved_outputs::unused_lanes(loaded, &lane_outputs).into_iter();
        Ok(StateSurvey {
            unused_lanes: unused.map(str::to_owned).collect(),
            known_former_topics: unserved_outputs::known_former_topics(loaded, &lane_outputs),
            lane_outputs,
        })
    }
}

/// Returns how long a stop may take: on Kafka its broker may be away.
fn stop_limit(loaded: &LoadedConfig, endpoint: &Endpoint) -> Option<StopLimit> {
    let checkpoints = &loaded.daemon.ledger.checkpoints;
    let exit = match checkpoints.stop_unanchored_after {
        Some(_) => Exit::Stopped,
        None => Exit::Success,
    };
    let is_kafka = matches!(endpoint, Endpoint::Kafka { .. });
    is_kafka.then_some(StopLimit::with_exit_code(exit.code()))
}

/// What brings later raw files into a directory that is followed; `None` if nothing does.
fn raw_follower(
    arguments: &RunArguments,
    loaded: &LoadedConfig,
    intakes: &[IntakeSetup],
) -> Option<RawFollower> {
    let root = arguments.directory.as_ref().filter(|_| arguments.follow && !intakes.is_empty())?;
    Some(RawFollower {
        root: root.clone(),
        kinds: loaded.policy.record_kinds.clone(),
        intakes: intakes.to_vec(),
    })
}

/// Runs all lanes; signs checkpoints of the ledger meanwhile and at the end, and brings later raw
/// files in. Returns whether a raw message of those was refused, too.
fn run_lanes(
    run: Run<'_>,
    lanes: Vec<LaneSetup>,
    (keeper, follower): (Option<Arc<CheckpointKeeper>>, Option<RawFollower>),
) -> anyhow::Result<(RunOutcome, bool)> {
    let finished = StopSignal::default();
    let spawn =
        |keeper: &Arc<_>| CheckpointKeeper::spawn(keeper, run.stop.clone(), finished.clone());
    let thread = keeper.as_ref().map(spawn).transpose()?;
    let follow = |follower: RawFollower| follower.spawn(run.stop.clone(), finished.clone());
    let following = follower.map(follow).transpose()?;
    let outcome = run.run(lanes);
    finished.request();
    if let Some(thread) = thread {
        let _ = thread.join();
    }
    let followed = following.map_or(Ok(false), raw_follower::join);
    let outcome = outcome?;
    let failure = keeper.and_then(|keeper| keeper.finish());
    let failure = failure.or_else(|| followed.as_ref().err().map(|error| format!("{error:#}")));
    let outcome = match (&outcome, failure) {
        (RunOutcome::Stopped | RunOutcome::EndOfInput, Some(why)) => RunOutcome::LaneStopped(why),
        _ => outcome,
    };
    Ok((outcome, followed.unwrap_or(false)))
}

/// Returns what makes the checkpoints of a run; `None` if none are made.
fn checkpoint_keeper(
    (loaded, keys): (&LoadedConfig, &KeyRing),
    endpoint: &Endpoint,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Option<Arc<CheckpointKeeper>>> {
    let Some(maker) = checkpoint_maker(loaded, keys)? else {
        return Ok(None);
    };
    Ok(Some(Arc::new(CheckpointKeeper {
        endpoint: endpoint.clone(),
        maker,
        copies: CheckpointCopy::of_settings(&loaded.daemon.ledger.checkpoints),
        settings: loaded.daemon.ledger.checkpoints.clone(),
        metrics: Arc::clone(metrics),
        fingerprinter: StateKeys::new(require_state_key(keys)?).fingerprinter(),
        failure: Mutex::default(),
    })))
}

/// Writes into the audit which policy comes into force, and who started it.
fn record_start(
    arguments: &RunArguments,
    loaded: &LoadedConfig,
    endpoint: &Endpoint,
) -> anyhow::Result<()> {
    let location = match endpoint {
        Endpoint::Directory(directory) => DataLocation::Directory(directory.root()),
        Endpoint::Kafka { settings, .. } => DataLocation::Kafka(settings.clone()),
    };
    let subject = Some(loaded.policy.version.as_str());
    let action = AuditedAction { words: "run", subject, patron: None };
    Auditor::of_daemon(loaded, &arguments.operator)?.record(&location, action)
}

/// Reads the operators' commands from Kafka.
fn read_commands(settings: &KafkaSettings) -> anyhow::Result<CommandLog> {
    commands::read_commands(settings).map_err(|error| match error {
        CommandsError::Topic(error) => error.into(),
        other => CliFailure::Config(other.to_string()).into(),
    })
}

/// Brings into `in` what the enabled intakes make of their raw files, and what a snapshot says.
/// Returns whether a raw message was refused.
fn convert_raw_files(
    root: &Path,
    arguments: &RunArguments,
    (loaded, intakes): (&LoadedConfig, &[IntakeSetup]),
    directory: &Directory,
) -> anyhow::Result<bool> {
    let raw = RawFolders::list(root, intakes, &loaded.policy.record_kinds)?;
    raw.warn_of_missing(intakes);
    if !arguments.snapshot {
        let raw = if arguments.follow { raw.followed() } else { raw };
        return match raw.is_empty()? {
            true => Ok(false),
            false => raw.append_changes(now_ms()),
        };
    }
    directory.check_continuity()?;
    let converted = raw.convert_to_snapshot()?;
    let limit = loaded.daemon.directory.snapshot_max_removed_percent;
    let applied = snapshot::apply(root, &loaded.policy, arguments.max_removed.unwrap_or(limit));
    converted.remove()?;
    applied.map(|()| false)
}

/// Checks that everything a directory needs is there. Returns what its states say.
fn prepare_directory(
    directory: &Directory,
    (loaded, keys): (&LoadedConfig, &KeyRing),
    lanes: &[LaneSetup],
) -> anyhow::Result<StateSurvey> {
    let new = directory::check_source_files(directory, &loaded.policy, lanes)?;
    directory.check_continuity()?;
    let mut marks = directory.latest_marks()?;
    if move_recipients_between_lanes(directory, &marks, loaded, keys)? {
        marks = directory.latest_marks()?;
    }
    let marks = marks.iter().map(|(topic, mark)| (&**topic, [mark.as_slice()]));
    let states = StateSurvey::collect((loaded, keys), marks)?;
    let refusals = unserved_outputs::start_refusals(loaded, &states.lane_outputs);
    refuse_unserved_outputs(loaded, &states.lane_outputs, &refusals)?;
    for topic in new {
        directory.create_input(&topic)?;
        tracing::warn!(
            "in/{topic}.ndjson did not exist, and no run has read it yet: created an empty one"
        );
    }
    Ok(states)
}

/// Moves recipients to their lanes in the config, if the marks of the states say otherwise.
/// Returns whether any moved.
fn move_recipients_between_lanes(
    directory: &Directory,
    marks: &BTreeMap<String, Vec<u8>>,
    loaded: &LoadedConfig,
    keys: &KeyRing,
) -> anyhow::Result<bool> {
    let state = require_state_key(keys)?;
    let fingerprinter = StateKeys::new(state).fingerprinter();
    let is_needed = |(topic, mark): (&String, &Vec<u8>)| {
        let lane = topic.strip_prefix(STATE_TOPIC_PREFIX).unwrap_or(topic);
        ContinuityMark::decode(&fingerprinter, mark)
            .is_ok_and(|mark| lane_moves::has_outputs_of_other_lane(loaded, lane, &mark))
    };
    if !marks.iter().any(is_needed) {
        return Ok(false);
    }
    let mut stored_partitions = BTreeMap::<String, StoredPartition>::new();
    let mut taken = Ok(());
    directory.for_each_state_row(&mut |topic, row| {
        // What all lanes share of patrons stays where it is.
        let Some(lane) = topic.strip_prefix(STATE_TOPIC_PREFIX) else {
            return;
        };
        let stored = stored_partitions.entry(lane.to_owned()).or_default();
        let key = row.key.unwrap_or_default();
        if taken.is_ok() {
            taken = stored.apply_row(&fingerprinter, key, row.value);
        }
    })?;
    taken?;
    let done = lane_moves::move_to_serving_lanes(loaded, &fingerprinter, &mut stored_partitions)?;
    for (one, outputs) in &done.output_counts {
        let LaneMove { recipient: name, from, to } = one;
        tracing::warn!(recipient = name, from, to, outputs, "recipient moves to another lane");
    }
    let writes = done.row_writes.into_iter();
    let rows = writes.map(|(lane, rows)| (format!("{STATE_TOPIC_PREFIX}{lane}"), rows));
    let moves = done.output_counts.into_keys();
    let follows = moves.map(|one| (one.to, one.from)).collect();
    directory.rearrange_lanes(&rows.collect(), &follows)?;
    Ok(true)
}

fn require_state_key(keys: &KeyRing) -> Result<&HmacKey, CliFailure> {
    keys.state_key().ok_or_else(|| CliFailure::Config("the key of the state is missing".to_owned()))
}

/// Refuses a start for what recipients have; reports former recipients that have nothing any
/// more. Returns how often recipients were moved between lanes.
fn refuse_unserved_outputs(
    loaded: &LoadedConfig,
    lane_outputs: &[LaneOutputs],
    refusals: &[String],
) -> anyhow::Result<u64> {
    if !refusals.is_empty() {
        return Err(CliFailure::Config(refusals.join("\n")).into());
    }
    for recipient in unserved_outputs::settled_former_recipients(loaded, lane_outputs) {
        tracing::warn!(
            "former recipient `{recipient}` has nothing left: `[former.{recipient}]` in \
             zeef.toml may go"
        );
    }
    Ok(lane_outputs.iter().map(|one| one.lane_moves).max().unwrap_or(0))
}

/// A bounded run over files opens no port unless told to.
fn admin_address(arguments: &RunArguments, loaded: &LoadedConfig) -> Option<SocketAddr> {
    match arguments.admin {
        Some(admin) => admin.address(),
        None if arguments.directory.is_some() && !arguments.follow => None,
        None => loaded.daemon.admin.listen,
    }
}

fn connect_to_kafka(
    arguments: &RunArguments,
    (loaded, keys): (&LoadedConfig, &KeyRing),
    intakes: &[IntakeSetup],
) -> anyhow::Result<StartPoint> {
    let connection = kafka::KafkaConnection {
        instance: arguments.instance.as_deref(),
        give_up_after: BROKER_GIVE_UP_AFTER,
        ..kafka::KafkaConnection::new(
            loaded,
            &arguments.config.config,
            arguments.brokers.brokers.as_deref(),
        )
    };
    connection.with_settings(|settings| {
        let settings = KafkaSettings { until_end: arguments.until_end, ..settings };
        let (endpoint, states) = check_kafka(settings.clone(), (loaded, keys), intakes)?;
        let lane_outputs = &states.lane_outputs;
        let mut refusals = unserved_outputs::start_refusals(loaded, lane_outputs);
        refusals.extend(unserved_outputs::shared_topic_refusals(loaded, lane_outputs));
        let lane_moves = refuse_unserved_outputs(loaded, lane_outputs, &refusals)?;
        let commands = read_commands(&settings)?;
        Ok(StartPoint { endpoint, commands, lane_moves: Some(lane_moves), states })
    })
}

/// Takes out of `unused` the lanes whose group has offsets: their state is lost.
fn keep_lanes_with_offsets(
    settings: &KafkaSettings,
    report: &TopicReport,
    unused: &mut BTreeSet<String>,
) -> anyhow::Result<()> {
    let planned = report.topics.iter().filter(|(planned, _)| planned.role.starts_with("source"));
    let sources: Vec<(&str, i32)> = planned
        .filter_map(|(planned, found)| Some((&*planned.name, found.as_ref()?.partition_count)))
        .collect();
    for lane in std::mem::take(unused) {
        if topics::fetch_group_offsets(settings, &lane, &sources)?.is_empty() {
            unused.insert(lane);
        }
    }
    Ok(())
}

/// Checks that everything a run needs is on Kafka, before any worker starts. Returns what the
/// states say as well.
fn check_kafka(
    settings: KafkaSettings,
    (loaded, keys): (&LoadedConfig, &KeyRing),
    intakes: &[IntakeSetup],
) -> anyhow::Result<(Endpoint, StateSurvey)> {
    for note in settings.security_warnings() {
        tracing::warn!("{note}");
    }
    let mut report = TopicReport::fetch(&settings, loaded)?;
    // Before keys are sampled: in widened topics they still lie as before.
    let offsets = report.fetch_group_offsets(&settings, loaded)?;
    if !offsets.widened_topics.is_empty() {
        return Err(CliFailure::Config(offsets.widened_topics.join("\n")).into());
    }
    let reader = StateReader::open(&settings)?;
    let marks = read_marks_by_state(&reader)?;
    let by_state = marks.iter().map(|(topic, marks)| (&**topic, marks.iter().map(Vec::as_slice)));
    let mut states = StateSurvey::collect((loaded, keys), by_state)?;
    keep_lanes_with_offsets(&settings, &report, &mut states.unused_lanes)?;
    report.remove_states_of(&states.unused_lanes);
    let raw_topics = fetch_raw_topics(&settings, intakes)?;
    report.add_topics(&settings, plan_intake_states(intakes, &raw_topics))?;
    let mut refusals = report.start_refusals(&settings, loaded)?;
    refusals.extend(raw_topics.iter().filter_map(RawTopic::refusal));
    refusals.extend(find_unequal_partitions(intakes, &raw_topics));
    if !refusals.is_empty() {
        return Err(CliFailure::Config(format!(
            "{}\nthe topics are not as required: see `zeef topics`",
            refusals.join("\n")
        ))
        .into());
    }
    let of_raw = raw_topics.iter().filter_map(RawTopic::recommendation);
    for note in report.recommendations(&settings).into_iter().chain(of_raw) {
        tracing::warn!("{note}");
    }
    let is_first = !offsets.has_any && report.has_no_state_rows(&settings)?;
    check_gate_placement(&settings, loaded, &report, (is_first, &offsets))?;
    if settings.until_end {
        let intakes: Vec<_> =
            intakes.iter().map(|intake| (intake.lane_name(), intake.workers)).collect();
        let lanes = loaded.daemon.lanes.iter().map(|lane| (lane.name.clone(), lane.workers));
        let lanes: Vec<_> = lanes.chain(intakes).collect();
        refuse_instance_ids_in_use(&settings, &reader, &lanes)?;
    }
    refuse_changed_partitions(&settings, (&report, keys), marks.values())?;
    let partitions = report.joined_partition_count().and_then(|count| count.try_into().ok());
    let segment = report.max_segment_duration().unwrap_or(settings.segment_max_age);
    let endpoint = Endpoint::Kafka {
        settings: KafkaSettings { segment_max_age: segment, ..settings },
        partitions: partitions.unwrap_or(0),
    };
    Ok((endpoint, states))
}

/// Returns the newest marks of each state on Kafka.
fn read_marks_by_state(reader: &StateReader<'_>) -> anyhow::Result<BTreeMap<String, Vec<Vec<u8>>>> {
    let mut marks = BTreeMap::new();
    for state in reader.list_topics(STATE_TOPIC_PREFIX)? {
        let newest = reader.read_newest_marks(&state)?;
        marks.insert(state.name, newest);
    }
    Ok(marks)
}

/// Refuses a start whose sources have other partitions than a lane has read.
///
/// # Errors
///
/// [`CliFailure::Config`] that names the command for it.
fn refuse_changed_partitions<'a>(
    settings: &KafkaSettings,
    (report, keys): (&TopicReport, &KeyRing),
    marks_by_state: impl Iterator<Item = &'a Vec<Vec<u8>>>,
) -> anyhow::Result<()> {
    let fingerprinter = StateKeys::new(require_state_key(keys)?).fingerprinter();
    for marks in marks_by_state {
        // The lane itself reports one that cannot be read.
        let marks = marks.iter().map(|mark| ContinuityMark::decode(&fingerprinter, mark));
        let marks: Vec<ContinuityMark> = marks.filter_map(Result::ok).collect();
        let partition_count = |topic: &str| report.partition_count(topic);
        let changed = find_changed_sources(&marks, partition_count, false);
        if let Some(text) = describe_changed_sources(settings, &changed) {
            return Err(CliFailure::Config(text).into());
        }
    }
    Ok(())
}

/// Refuses a bounded run while a live group member has one of its names: that member would
/// be fenced and end. A stopped process keeps its place for its session, so wait for that.
///
/// # Errors
///
/// [`CliFailure::InUse`] with the name.
fn refuse_instance_ids_in_use(
    settings: &KafkaSettings,
    states: &StateReader<'_>,
    lanes: &[(String, usize)],
) -> anyhow::Result<()> {
    let until = Instant::now() + settings.session_timeout + MEMBER_LEAVE_GRACE;
    let mut told = false;
    while let Some(name) = find_instance_id_in_use(settings, states, lanes)? {
        if Instant::now() >= until {
            let text = format!(
                "`{name}` is a member of its group that is alive: a run that ends would put it \
                 out. Stop it first, or give this run a name of its own with --instance"
            );
            return Err(CliFailure::InUse(text).into());
        }
        if !std::mem::replace(&mut told, true) {
            let seconds = settings.session_timeout.as_secs();
            tracing::info!(
                member = name,
                "the name is in use: a stopped process keeps it for {seconds} s"
            );
        }
        thread::sleep(MEMBER_POLL_INTERVAL);
    }
    Ok(())
}

/// Returns a name of this run that a group member already has. `lanes` have numbers of workers.
fn find_instance_id_in_use(
    settings: &KafkaSettings,
    states: &StateReader<'_>,
    lanes: &[(String, usize)],
) -> anyhow::Result<Option<String>> {
    for (lane, workers) in lanes {
        let taken = states.group_instance_ids(lane)?;
        let mut names = (0..*workers).map(|worker| settings.group_instance_id(lane, worker));
        let in_use = names.find(|name| taken.contains(name));
        if in_use.is_some() {
            return Ok(in_use);
        }
    }
    Ok(None)
}

/// Looks for misplaced records of patrons, consents and objections before any worker
/// starts: one worker could meet such a record while another one already releases what it
/// forbids. Groups examined what they have read; the census, once per deployment, examines
/// everything.
///
/// # Errors
///
/// [`CliFailure::Config`] if something is misplaced: it would not count.
fn check_gate_placement(
    settings: &KafkaSettings,
    loaded: &LoadedConfig,
    report: &TopicReport,
    (is_first, offsets): (bool, &GroupOffsetReport),
) -> anyhow::Result<()> {
    let repaired = RepairedRecords::load(settings)?;
    if is_first || !repaired.has_census() {
        let census = GateCensus::collect(settings, loaded)?;
        census.log();
        refuse_misplaced(census.misplaced_total())?;
        return Ok(write_census_row(settings, now_ms())?);
    }
    let mut misplaced = 0;
    let nothing = BTreeMap::new();
    for (name, _) in gate_census::gate_topics(loaded) {
        let read = offsets.lowest_offsets.get(name).unwrap_or(&nothing);
        let partitions = report.partition_count(name);
        let topic = SourceTopic { name, partition_count: partitions };
        let found = find_misplaced_from(settings, topic, &repaired, read)?;
        for stray in &found.unrepaired {
            tracing::warn!(
                topic = settings.topic_name(name),
                partition = stray.partition,
                offset = stray.offset,
                "a record lies in another partition than its key belongs in"
            );
        }
        misplaced += found.unrepaired.len() as u64;
    }
    Ok(refuse_misplaced(misplaced)?)
}

fn refuse_misplaced(misplaced: u64) -> Result<(), CliFailure> {
    match misplaced {
        0 => Ok(()),
        misplaced => Err(CliFailure::Config(format!(
            "{} of patrons, consents and objections lie in other partitions than their keys belong \
             in, where they would not count: `zeef gates repair --dry-run`, then `zeef gates repair \
             --apply`",
            pluralise(usize::try_from(misplaced).unwrap_or(usize::MAX), "record")
        ))),
    }
}

#[cfg(test)]
mod tests;
