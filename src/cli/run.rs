//! `zeef run`: the daemon, and the nightly run.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::arguments::RunArguments;
use super::config;
use super::directory;
use super::exit::{Exit, Failure, counted};
use super::kafka;
use super::logging;
use crate::daemon::clock::now_ms;
use crate::daemon::gates::{self, Census};
use crate::daemon::holders::{self, Held};
use crate::daemon::lanes::{self, Move};
use crate::daemon::run::{self, LaneRun, Outcome, World};
use crate::daemon::signals;
use crate::daemon::topics::{Offsets, Survey};
use crate::engine::lane::STATE_TOPIC;
use crate::engine::state::Namer;
use crate::engine::state::carry::Shelf;
use crate::policy::Loaded;
use crate::policy::pseudonym::{Key, KeyRing};
use crate::transport::Stop;
use crate::transport::commands::Commands;
use crate::transport::continuity::Mark;
use crate::transport::directory::{Directory, DirectorySettings};
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::commands::{self, CommandsError};
use crate::transport::kafka::repair::{Topic, find_from};
use crate::transport::kafka::repaired::{Repaired, note_census};
use crate::transport::kafka::states::States;

/// How long a broker may take to come up, as where both start with the machine.
const BROKER_PATIENCE: Duration = Duration::from_secs(15);
/// How much longer than its session a member that was stopped may stay in a group.
const MEMBER_SLACK: Duration = Duration::from_secs(3);
const MEMBER_LOOK: Duration = Duration::from_millis(500);

/// Runs until it is asked to stop, or its input ends.
///
/// # Errors
///
/// Everything that has to be right before anything connects, at once.
pub(super) fn run(arguments: &RunArguments) -> anyhow::Result<Exit> {
    let loaded = config::load(&arguments.config.config)?;
    logging::start(loaded.daemon.log, arguments.log);
    signals::ignore_hangups()?;
    let names = loaded.policy.recipients.iter().map(|r| r.name.as_str());
    let keys = KeyRing::load(&loaded.daemon.keys, names).map_err(Failure::Keys)?;
    for note in loaded.notes.iter().chain(&keys.notes) {
        tracing::warn!("{note}");
    }
    let prefix = match arguments.directory {
        Some(_) => "",
        None => loaded.daemon.kafka.topic_prefix.as_str(),
    };
    let mut lanes = run::lanes(&loaded, &keys, prefix)
        .map_err(|error| Failure::Config(format!("the policy cannot be compiled: {error}")))?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        policy = %loaded.policy.version,
        lanes = lanes.len(),
        recipients = loaded.policy.recipients.len(),
        "zeef starts"
    );
    let stop = Stop::default();
    let (world, commands) = match &arguments.directory {
        Some(root) => {
            let directory = in_directory(root, arguments, (&loaded, &keys), &lanes)?;
            let commands = directory.commands()?;
            (World::Directory(directory), commands)
        }
        None => on_kafka(arguments, &loaded, &keys)?,
    };
    let commands = Arc::new(commands);
    for lane in &mut lanes {
        lane.take_commands(&commands);
    }
    let outcome = run::run(&loaded, lanes, &world, admin(arguments, &loaded), stop)?;
    Ok(match outcome {
        Outcome::Stopped | Outcome::AtEnd => Exit::Fine,
        Outcome::Twin(why) => {
            tracing::error!(%why, "another instance took over: do not start this one again");
            Exit::TakenOver
        }
        Outcome::LaneStopped(why) => {
            tracing::error!(%why, "a lane stopped");
            Exit::Stopped
        }
    })
}

/// Reads what operators asked for on Kafka.
fn commands_of(settings: &KafkaSettings) -> anyhow::Result<Commands> {
    commands::read(settings).map_err(|error| match error {
        CommandsError::Topic(error) => error.into(),
        other => Failure::Config(other.to_string()).into(),
    })
}

/// Opens a directory, and looks whether all that it needs is there.
fn in_directory(
    root: &Path,
    arguments: &RunArguments,
    (loaded, keys): (&Loaded, &KeyRing),
    lanes: &[LaneRun],
) -> anyhow::Result<Directory> {
    let directory = directory::open(DirectorySettings {
        follow: arguments.follow,
        ..directory::with_keys(root, loaded, keys)?
    })?;
    let new = directory::check_sources(&directory, &loaded.policy, lanes)?;
    directory.compare()?;
    let mut marks = directory.marks()?;
    if rearrange(&directory, &marks, loaded, keys)? {
        marks = directory.marks()?;
    }
    let marks = marks
        .iter()
        .map(|(topic, mark)| (&**topic, [mark.as_slice()]));
    refuse_strays(loaded, keys, marks)?;
    for topic in new {
        directory.make_input(&topic)?;
        tracing::warn!(
            "in/{topic}.ndjson was not there, and no run has read it yet: an empty one was made"
        );
    }
    Ok(directory)
}

/// Moves recipients to the lanes that the config has them in, where one is in another
/// by the marks of the states. Says whether that was so.
fn rearrange(
    directory: &Directory,
    marks: &BTreeMap<String, Vec<u8>>,
    loaded: &Loaded,
    keys: &KeyRing,
) -> anyhow::Result<bool> {
    let state = state_key(keys)?;
    let prints = Namer::new(state).fingerprinter();
    let is_needed = |(topic, mark): (&String, &Vec<u8>)| {
        let lane = topic.strip_prefix(STATE_TOPIC).unwrap_or(topic);
        Mark::read(&prints, mark).is_ok_and(|mark| lanes::is_needed(loaded, lane, &mark))
    };
    if !marks.iter().any(is_needed) {
        return Ok(false);
    }
    let mut shelves = BTreeMap::<String, Shelf>::new();
    let mut taken = Ok(());
    directory.rows(&mut |topic, row| {
        // What all lanes share of patrons stays where it is.
        let Some(lane) = topic.strip_prefix(STATE_TOPIC) else {
            return;
        };
        let shelf = shelves.entry(lane.to_owned()).or_default();
        let key = row.key.unwrap_or_default();
        if taken.is_ok() {
            taken = shelf.take(&prints, key, row.value);
        }
    })?;
    taken?;
    let done = lanes::rearrange(loaded, &prints, &mut shelves)?;
    for (one, outputs) in &done.moves {
        let Move { name, from, to } = one;
        tracing::warn!(recipient = name, from, to, outputs, "moves to another lane");
    }
    let writes = done.writes.into_iter();
    let rows = writes.map(|(lane, rows)| (format!("{STATE_TOPIC}{lane}"), rows));
    let moves = done.moves.into_keys();
    let follows = moves.map(|one| (one.to, one.from)).collect();
    directory.rearrange(&rows.collect(), &follows)?;
    Ok(true)
}

fn state_key(keys: &KeyRing) -> Result<&Key, Failure> {
    keys.state()
        .ok_or_else(|| Failure::Config("there is no key of the state".to_owned()))
}

/// Refuses a start while somebody has something that nobody would know of; says
/// which former recipients have nothing any more. `marks` are by state.
fn refuse_strays<'a, M: IntoIterator<Item = &'a [u8]>>(
    loaded: &Loaded,
    keys: &KeyRing,
    marks: impl Iterator<Item = (&'a str, M)>,
) -> anyhow::Result<()> {
    let state = state_key(keys)?;
    let prints = Namer::new(state).fingerprinter();
    let held: Vec<Held> = marks
        .map(|(topic, marks)| {
            let lane = topic.strip_prefix(STATE_TOPIC).unwrap_or(topic);
            Held::read(lane, marks.into_iter(), &prints)
        })
        .collect();
    let refusals = holders::refusals(loaded, &held);
    if !refusals.is_empty() {
        return Err(Failure::Config(refusals.join("\n")).into());
    }
    for recipient in holders::done(loaded, &held) {
        tracing::warn!(
            "former recipient `{recipient}` has nothing any more: `[former.{recipient}]` in \
             zeef.toml may go"
        );
    }
    Ok(())
}

/// A nightly run over files opens no port unless it is told to.
fn admin(arguments: &RunArguments, loaded: &Loaded) -> Option<SocketAddr> {
    match arguments.admin {
        Some(admin) => admin.address(),
        None if arguments.directory.is_some() && !arguments.follow => None,
        None => loaded.daemon.admin.listen,
    }
}

fn on_kafka(
    arguments: &RunArguments,
    loaded: &Loaded,
    keys: &KeyRing,
) -> anyhow::Result<(World, Commands)> {
    let connection = kafka::Connection {
        instance: arguments.instance.as_deref(),
        patience: BROKER_PATIENCE,
        ..kafka::Connection::new(
            loaded,
            &arguments.config.config,
            arguments.brokers.brokers.as_deref(),
        )
    };
    connection.with(|settings| {
        let settings = KafkaSettings {
            until_end: arguments.until_end,
            ..settings
        };
        let world = check_kafka(settings.clone(), loaded, keys)?;
        Ok((world, commands_of(&settings)?))
    })
}

/// Looks whether all is on Kafka that a run needs, before any worker starts.
fn check_kafka(settings: KafkaSettings, loaded: &Loaded, keys: &KeyRing) -> anyhow::Result<World> {
    for note in settings.security_notes() {
        tracing::warn!("{note}");
    }
    let survey = Survey::look(&settings, loaded)?;
    // Before keys are looked at: in widened topics they lie as they did before.
    let offsets = survey.offsets(&settings, loaded)?;
    if !offsets.widened.is_empty() {
        return Err(Failure::Config(offsets.widened.join("\n")).into());
    }
    let refusals = survey.refusals(&settings, loaded)?;
    if !refusals.is_empty() {
        return Err(Failure::Config(format!(
            "{}\nthe topics are not as they have to be: see `zeef topics`",
            refusals.join("\n")
        ))
        .into());
    }
    for note in survey.notes(&settings) {
        tracing::warn!("{note}");
    }
    let is_first = !offsets.any && survey.is_stateless(&settings)?;
    check_gates(&settings, loaded, &survey, (is_first, &offsets))?;
    let states = States::open(&settings)?;
    if settings.until_end {
        refuse_names_in_use(&settings, &states, loaded)?;
    }
    let mut marks = Vec::new();
    for state in states.list(STATE_TOPIC)? {
        marks.push((states.marks(&state)?, state.name));
    }
    let marks = marks
        .iter()
        .map(|(marks, topic)| (&**topic, marks.iter().map(Vec::as_slice)));
    refuse_strays(loaded, keys, marks)?;
    let partitions = survey.partitions().and_then(|count| count.try_into().ok());
    let segment = survey.segment().unwrap_or(settings.segment);
    Ok(World::Kafka {
        settings: KafkaSettings {
            segment,
            ..settings
        },
        partitions: partitions.unwrap_or(0),
    })
}

/// Refuses a run that ends where a member of a group that is alive has one of its
/// names: it would be put out, and end. A process that was stopped keeps its place for
/// its session, so that is waited for.
///
/// # Errors
///
/// [`Failure::InUse`] with the name.
fn refuse_names_in_use(
    settings: &KafkaSettings,
    states: &States<'_>,
    loaded: &Loaded,
) -> anyhow::Result<()> {
    let until = Instant::now() + settings.session_timeout + MEMBER_SLACK;
    let mut told = false;
    while let Some(name) = name_in_use(settings, states, loaded)? {
        if Instant::now() >= until {
            let text = format!(
                "`{name}` is a member of its group that is alive: a run that ends would put it \
                 out. Stop it first, or give this run a name of its own with --instance"
            );
            return Err(Failure::InUse(text).into());
        }
        if !std::mem::replace(&mut told, true) {
            let seconds = settings.session_timeout.as_secs();
            tracing::info!(
                member = name,
                "the name is in use: a process that was stopped keeps it for {seconds} s"
            );
        }
        thread::sleep(MEMBER_LOOK);
    }
    Ok(())
}

/// A name that this run would take, and a member of a group has.
fn name_in_use(
    settings: &KafkaSettings,
    states: &States<'_>,
    loaded: &Loaded,
) -> anyhow::Result<Option<String>> {
    for lane in &loaded.daemon.lanes {
        let taken = states.instance_ids(&lane.name)?;
        let mut names = (0..lane.workers).map(|worker| settings.instance_id(&lane.name, worker));
        let in_use = names.find(|name| taken.contains(name));
        if in_use.is_some() {
            return Ok(in_use);
        }
    }
    Ok(None)
}

/// Looks for misplaced records of patrons, consents and objections before any
/// worker starts: one of them would meet such a record while another one already
/// releases what it is against. What groups have read was looked at by those who
/// read it; all is looked at by the census, once in a deployment.
///
/// # Errors
///
/// [`Failure::Config`] where something is misplaced: it would not count.
fn check_gates(
    settings: &KafkaSettings,
    loaded: &Loaded,
    survey: &Survey,
    (is_first, offsets): (bool, &Offsets),
) -> anyhow::Result<()> {
    let repaired = Repaired::load(settings)?;
    if is_first || !repaired.has_census() {
        let census = Census::take(settings, loaded)?;
        census.log();
        refuse_misplaced(census.misplaced())?;
        return Ok(note_census(settings, now_ms())?);
    }
    let mut misplaced = 0;
    let nothing = BTreeMap::new();
    for (name, _) in gates::topics(loaded) {
        let read = offsets.read.get(name).unwrap_or(&nothing);
        let partitions = survey.partitions_of(name);
        let topic = Topic { name, partitions };
        let found = find_from(settings, topic, &repaired, read)?;
        for stray in &found.strays {
            tracing::warn!(
                topic = settings.topic(name),
                partition = stray.partition,
                offset = stray.offset,
                "a record lies in another partition than its key belongs in"
            );
        }
        misplaced += found.strays.len() as u64;
    }
    Ok(refuse_misplaced(misplaced)?)
}

fn refuse_misplaced(misplaced: u64) -> Result<(), Failure> {
    match misplaced {
        0 => Ok(()),
        misplaced => Err(Failure::Config(format!(
            "{} of patrons, consents and objections lie in other partitions than their keys belong \
             in, where they would not count: `zeef gates repair --dry-run`, then `zeef gates repair \
             --apply`",
            counted(usize::try_from(misplaced).unwrap_or(usize::MAX), "record")
        ))),
    }
}
