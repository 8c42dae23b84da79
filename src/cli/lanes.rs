//! `zeef lanes apply`: recipients move to the lanes that the config has them in.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use super::arguments::{LanesApplyArguments, LanesArguments, LanesCommand};
use super::config;
use super::exit::{Exit, Failure, counted};
use super::kafka;
use super::key;
use super::logging;
use super::screen::Screen;
use crate::daemon::lanes::{Move, Rearranged, rearrange};
use crate::engine::lane::STATE_TOPIC;
use crate::engine::state::Namer;
use crate::engine::state::carry::Shelf;
use crate::policy::Loaded;
use crate::policy::pseudonym::STATE_KEY;
use crate::transport::continuity::Fingerprinter;
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::states::{GroupPlace, Rewriter, Rows, StateTopic, States};

/// How much longer than its session a member that was stopped may stay in a group.
const LEAVING: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(500);

/// Does what the command says.
///
/// # Errors
///
/// A wrong config, a process that is alive, or a state that cannot be read.
pub(super) fn run(arguments: &LanesArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    match &arguments.command {
        LanesCommand::Apply(arguments) => apply(arguments, screen),
    }
}

fn apply(arguments: &LanesApplyArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = config::load(&arguments.config.config)?;
    logging::start(loaded.daemon.log, arguments.log);
    let keys = key::load(&loaded.daemon.keys, [STATE_KEY])?;
    let state = keys.state();
    let state = state.ok_or_else(|| Failure::Config("there is no key of the state".to_owned()))?;
    let brokers = arguments.brokers.brokers.as_deref();
    let connection = kafka::Connection::new(&loaded, &arguments.config.config, brokers);
    let moves = connection.with(|settings| {
        let apply = Apply {
            loaded: &loaded,
            prints: Namer::new(state).fingerprinter(),
            settings: &settings,
            states: States::open(&settings)?,
        };
        apply.run(arguments.dry_run)
    })?;
    show(&moves, arguments.dry_run, screen)?;
    Ok(Exit::Fine)
}

fn show(
    moves: &BTreeMap<Move, u64>,
    dry_run: bool,
    screen: &mut Screen,
) -> Result<(), std::io::Error> {
    if moves.is_empty() {
        return writeln!(
            screen,
            "every recipient is in its lane: there is nothing to do"
        );
    }
    let done = if dry_run { "would move" } else { "moved" };
    for (one, count) in moves {
        let Move { name, from, to } = one;
        let outputs = usize::try_from(*count).unwrap_or(usize::MAX);
        let outputs = counted(outputs, "output");
        writeln!(
            screen,
            "{name}: {done} from lane {from} to {to}, with {outputs}"
        )?;
    }
    Ok(())
}

struct Apply<'a> {
    loaded: &'a Loaded,
    prints: Fingerprinter,
    settings: &'a KafkaSettings,
    states: States<'a>,
}

impl Apply<'_> {
    /// Moves everybody, one partition after the other: each of them whole, or not
    /// at all. Run again, it goes on where it was broken off.
    fn run(&self, dry_run: bool) -> anyhow::Result<BTreeMap<Move, u64>> {
        let topics = self.states.list(STATE_TOPIC)?;
        let mut writer = None;
        if !dry_run {
            self.check_members(&topics)?;
            writer = Some(Rewriter::open(self.settings)?);
        }
        let partitions = topics.iter().map(|topic| topic.partitions).max();
        let mut moves = BTreeMap::new();
        for partition in 0..partitions.unwrap_or(0) {
            let mut shelves = self.shelves(&topics, partition)?;
            let done = rearrange(self.loaded, &self.prints, &mut shelves)?;
            self.check_topics(&topics, &done, partition)?;
            if let Some(writer) = writer.as_ref().filter(|_| !done.writes.is_empty()) {
                self.write(writer, partition, (&shelves, &done))?;
            }
            for (moved, count) in done.moves {
                *moves.entry(moved).or_insert(0) += count;
            }
        }
        Ok(moves)
    }

    /// Reads one partition of all states.
    fn shelves(
        &self,
        topics: &[StateTopic],
        partition: i32,
    ) -> anyhow::Result<BTreeMap<String, Shelf>> {
        let mut shelves = BTreeMap::new();
        for topic in topics.iter().filter(|topic| partition < topic.partitions) {
            let mut shelf = Shelf::default();
            let mut taken = Ok(());
            self.states
                .rows((&topic.name, partition), &mut |key, value| {
                    if taken.is_ok() {
                        taken = shelf.take(&self.prints, key, value);
                    }
                })?;
            let at = || format!("{} partition {partition}", topic.name);
            taken.map_err(|error| anyhow::Error::new(error).context(at()))?;
            shelves.insert(lane_of(&topic.name).to_owned(), shelf);
        }
        Ok(shelves)
    }

    fn write(
        &self,
        writer: &Rewriter<'_>,
        partition: i32,
        (shelves, done): (&BTreeMap<String, Shelf>, &Rearranged),
    ) -> anyhow::Result<()> {
        let names = done.writes.keys();
        let names: Vec<String> = names.map(|lane| format!("{STATE_TOPIC}{lane}")).collect();
        let written = names.iter().zip(done.writes.values());
        let rows: Vec<Rows<'_>> = written.map(|(name, rows)| (&**name, &**rows)).collect();
        let comes = |lane: &&String| done.moves.keys().any(|one| one.to == **lane);
        let kinds = &self.loaded.policy.kinds;
        let place = |lane: &'_ String| {
            let (lane, shelf) = shelves.get_key_value(lane)?;
            Some(GroupPlace {
                lane,
                partition,
                mark: shelf.mark()?,
                sources: kinds.iter().map(|kind| kind.topic.as_str()).collect(),
            })
        };
        let groups = done.writes.keys().filter(comes).filter_map(place);
        let groups: Vec<GroupPlace<'_>> = groups.collect();
        writer.write(partition, &rows, &groups)?;
        Ok(())
    }

    /// Each lane that somebody comes to has a state to come to.
    fn check_topics(
        &self,
        topics: &[StateTopic],
        done: &Rearranged,
        partition: i32,
    ) -> Result<(), Failure> {
        let lacks = |lane: &&String| {
            let mut found = topics.iter().filter(|topic| lane_of(&topic.name) == **lane);
            !found.any(|topic| partition < topic.partitions)
        };
        match done.writes.keys().find(lacks) {
            None => Ok(()),
            Some(lane) => Err(Failure::Config(format!(
                "topic `{}` has no partition {partition}: `zeef topics --apply` creates what is \
                 missing; a topic that is too small needs partitions",
                self.settings.topic(&format!("{STATE_TOPIC}{lane}"))
            ))),
        }
    }

    /// Nobody may run meanwhile. Who was just stopped stays in its group for a while.
    fn check_members(&self, topics: &[StateTopic]) -> anyhow::Result<()> {
        let until = Instant::now() + self.settings.session_timeout + LEAVING;
        for topic in topics {
            let lane = lane_of(&topic.name);
            loop {
                let members = self.states.members(lane)?;
                if members == 0 {
                    break;
                }
                if Instant::now() >= until {
                    return Err(Failure::Config(format!(
                        "{} of lane `{lane}` run: stop all processes first",
                        counted(members, "worker")
                    ))
                    .into());
                }
                std::thread::sleep(LOOK);
            }
        }
        Ok(())
    }
}

fn lane_of(topic: &str) -> &str {
    topic.strip_prefix(STATE_TOPIC).unwrap_or(topic)
}
