//! The order of a run: lanes are compiled, workers start, and all of them end.
//!
//! A worker that loses its transport gets a new one; a twin ends the process;
//! a lane that cannot go on stops, says so, and leaves the others alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::admin::{self, Shown};
use super::clock::now_ms;
use super::compaction;
use super::health::{Health, Phase, Pulse, Silences};
use super::losses::Losses;
use super::metrics::Metrics;
use super::papers::Papers;
use super::signals;
use super::silence::{Look, Watch};
use super::worker::{BatchBounds, Ended, Worker};
use crate::engine::holding::{Continuity, Holds, STATE_PRINT, print_of};
use crate::engine::lane::{CompileError, DEAD_LETTERS_TOPIC, Lane, Options};
use crate::engine::meter::{Meter, Rate};
use crate::engine::pipeline::Pipeline;
use crate::engine::record::Limits;
use crate::engine::state::Namer;
use crate::json::scan::Bounds;
use crate::policy::Loaded;
use crate::policy::catalogue::Role;
use crate::policy::pseudonym::{Key, KeyRing, Meaning, Pseudonymiser, STATE_KEY};
use crate::policy::settings::DaemonSettings;
use crate::transport::commands::Commands;
use crate::transport::continuity::{Fingerprinter, KeyPrint};
use crate::transport::directory::{self, Directory, DirectorySettings};
use crate::transport::kafka::newest::Newest;
use crate::transport::kafka::{KafkaSettings, KafkaTransport};
use crate::transport::{Fault, LanePlan, OWN, Stop, Transport};

/// How often the values recorded by the metrics are summed up.
const SUM_UP: Duration = Duration::from_secs(1);

/// Where a run reads and writes.
#[derive(Clone)]
pub enum World {
    Kafka {
        settings: KafkaSettings,
        /// Partitions of each joined source, to share rates by.
        partitions: usize,
    },
    Directory(Directory),
}

impl World {
    /// Where a worker writes how it is doing.
    fn pulse(&self) -> Pulse {
        match self {
            World::Kafka { settings, .. } => Pulse::with_session(settings.session_timeout),
            World::Directory(_) => Pulse::new(),
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was asked to stop, and everything taken in is committed.
    Stopped,
    /// All input is committed up to its end.
    AtEnd,
    /// Another instance took over.
    Twin(String),
    /// At least one lane could not go on.
    LaneStopped(String),
}

/// A lane with what a transport has to know of it.
#[derive(Clone, Debug)]
pub struct LaneRun {
    pub lane: Arc<Lane>,
    pub plan: LanePlan,
    pub workers: usize,
    pub rates: Vec<Option<Rate>>,
    /// Makes the names in the state.
    pub namer: Namer,
    /// What its marks depend on.
    pub continuity: Continuity,
}

impl LaneRun {
    /// Takes what operators asked of the lane.
    pub fn take_commands(&mut self, commands: &Arc<Commands>) {
        self.plan.forgotten = commands.forgotten(&self.lane.name).collect();
        self.continuity.commands = Arc::clone(commands);
    }
}

/// Compiles every lane of a config. Dead letters name the sources' topics with
/// `topic_prefix`.
///
/// # Errors
///
/// A [`CompileError`], as for a recipient without a key.
pub fn lanes(
    loaded: &Loaded,
    keys: &KeyRing,
    topic_prefix: &str,
) -> Result<Vec<LaneRun>, CompileError> {
    let daemon = &loaded.daemon;
    let state = keys.state().ok_or_else(|| CompileError::NoKey {
        recipient: STATE_KEY.to_owned(),
    })?;
    let namer = Namer::new(state);
    daemon
        .lanes
        .iter()
        .map(|settings| {
            let mut lane = Lane::compile(
                &settings.name,
                &loaded.policy,
                |recipient| settings.recipients.contains(&recipient.name),
                |recipient| keys.key(recipient).map(Pseudonymiser::new),
                options(daemon),
            )?;
            lane.prefix_topics(topic_prefix);
            let rates = lane
                .recipients
                .iter()
                .map(|program| {
                    daemon.rates.get(&program.name).map(|rate| Rate {
                        records_per_s: f64::from(rate.records_per_s),
                        burst: rate.burst,
                    })
                })
                .collect();
            let mut plan = lane.plan();
            plan.prints = Some(namer.fingerprinter());
            let names = lane.recipients.iter().map(|program| program.name.as_str());
            let prints =
                names.filter_map(|name| Some((name.to_owned(), print_of(keys.key(name)?))));
            let mut prints: BTreeMap<String, KeyPrint> = prints.collect();
            prints.insert(STATE_PRINT.to_owned(), print_of(state));
            let continuity = Continuity {
                keys: prints,
                ..Continuity::default()
            };
            Ok(LaneRun {
                continuity,
                lane: Arc::new(lane),
                plan,
                workers: settings.workers,
                rates,
                namer: namer.clone(),
            })
        })
        .collect()
}

/// What lanes are compiled with.
#[must_use]
pub fn options(daemon: &DaemonSettings) -> Options {
    let limits = daemon.limits;
    Options {
        limits: Limits {
            bytes: limits.record_bytes,
            bounds: Bounds {
                depth: u32::try_from(limits.depth).unwrap_or(u32::MAX),
                keys: u32::try_from(limits.keys).unwrap_or(u32::MAX),
            },
        },
        output_bytes_max: limits.output_bytes,
    }
}

/// How many records may wait for their patrons, and for how long.
#[must_use]
pub fn holds(daemon: &DaemonSettings) -> Holds {
    const DAY_MS: i64 = 86_400_000;
    Holds {
        records: daemon.holds.records,
        term_ms: i64::from(daemon.holds.days) * DAY_MS,
    }
}

/// Returns what a directory is opened with, where a run ends; `None` without the
/// key of the state. `keys` may lack those of recipients.
#[must_use]
pub fn directory_settings(
    root: &std::path::Path,
    loaded: &Loaded,
    keys: &KeyRing,
) -> Option<DirectorySettings> {
    let state = keys.state()?;
    let policy = &loaded.policy;
    let recipients = || policy.recipients.iter().chain(&policy.disabled);
    let mut prints: BTreeMap<String, KeyPrint> = policy
        .recipients
        .iter()
        .filter_map(|one| Some((one.name.clone(), key_print(keys.key(&one.name)?))))
        .collect();
    prints.insert(directory::STATE_KEY.to_owned(), key_print(state));
    let mut owners: BTreeMap<String, String> = recipients()
        .flat_map(|one| one.topics.names().map(|topic| (topic, &one.name)))
        .map(|(topic, name)| (topic.to_owned(), name.clone()))
        .collect();
    owners.insert(DEAD_LETTERS_TOPIC.to_owned(), OWN.to_owned());
    let gates = policy.kinds.iter().filter(|kind| kind.role != Role::Record);
    Some(DirectorySettings {
        keys: prints,
        gates: gates.map(|kind| kind.topic.clone()).collect(),
        owners,
        group_read: loaded.daemon.directory.group_read,
        line_bytes_max: line_bytes_max(&loaded.daemon),
        ..DirectorySettings::new(root, fingerprinter(state))
    })
}

/// How long a line of a directory may be: a record with its key and the words around
/// them.
#[must_use]
pub fn line_bytes_max(daemon: &DaemonSettings) -> usize {
    const SLACK: usize = 64 << 10;
    daemon.limits.record_bytes + SLACK
}

/// Makes the hash of lines, rows and seals in a directory.
fn fingerprinter(state: &Key) -> Fingerprinter {
    let namer = Namer::new(state);
    let part = |number: u8| namer.hash(&[b"directory ", &[number][..]].concat());
    Fingerprinter::new([1, 2, 3, 4].map(part))
}

/// A key as far as it may be shown.
fn key_print(key: &Key) -> KeyPrint {
    let meaning = Meaning::new("zeef", "key");
    let print = Pseudonymiser::new(key)
        .pseudonym(&meaning, "", "print")
        .text();
    KeyPrint {
        id: key.id().to_owned(),
        print: String::from_utf8_lossy(&print).into_owned(),
    }
}

/// All that the threads of a run share.
struct Shared {
    metrics: Arc<Metrics>,
    stop: Stop,
    bounds: BatchBounds,
    holds: Holds,
    sweep_every: Duration,
    check_every: Duration,
    gate_wait: Duration,
}

/// Runs all lanes until they are asked to stop, or their input ends.
///
/// # Errors
///
/// Where the process cannot even start: no runtime, no thread, no port.
pub fn run(
    loaded: &Loaded,
    lanes: Vec<LaneRun>,
    world: &World,
    admin: Option<SocketAddr>,
    stop: Stop,
) -> anyhow::Result<Outcome> {
    let metrics = Arc::new(Metrics::new(&loaded.policy.version)?);
    let shared = Arc::new(Shared {
        metrics: Arc::clone(&metrics),
        stop: stop.clone(),
        bounds: BatchBounds::from(&loaded.daemon.batch),
        holds: holds(&loaded.daemon),
        sweep_every: Duration::from_secs(loaded.daemon.state.sweep_seconds),
        check_every: Duration::from_secs(loaded.daemon.state.check_seconds),
        gate_wait: Duration::from_secs(loaded.daemon.limits.gate_wait_seconds),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let listener = admin
        .map(|address| runtime.block_on(listen(address)))
        .transpose()?;
    let mut health = Health::default();
    let over = Stop::default();
    let watch = Watched {
        loaded,
        lanes: &lanes,
        world,
    };
    let ends = [over.clone(), stop.clone()];
    let watch = watch.start(health.silences.clone(), Arc::clone(&metrics), ends)?;
    let compaction = compact_beside(world, &over)?;
    let per_hour = loaded.daemon.limits.retractions_per_hour;
    let mut workers = Vec::new();
    for lane in lanes {
        let count = match world {
            World::Kafka { .. } => lane.workers,
            World::Directory(_) => 1,
        };
        let losses = Losses::new(&lane.lane, per_hour);
        for number in 0..count {
            let pulse = world.pulse();
            health
                .workers
                .push((lane.lane.name.clone(), number, pulse.clone()));
            let seat = Seat {
                shared: Arc::clone(&shared),
                lane: lane.clone(),
                number,
                pulse,
                losses: Arc::clone(&losses),
            };
            workers.push(spawn(seat, world)?);
        }
    }
    runtime.spawn(sum_up(Arc::clone(&metrics)));
    let mut papers = Papers::of(&loaded.policy);
    papers.look(&metrics, now_ms());
    runtime.spawn(papers.watch(Arc::clone(&metrics)));
    let (ended, wait_for_end) = oneshot::channel::<()>();
    if let Some(listener) = listener {
        let shown = Shown { metrics, health };
        let shutdown = async {
            let _ = wait_for_end.await;
        };
        runtime.spawn(admin::serve(
            listener,
            shown,
            admin::Bounds::default(),
            shutdown,
        ));
    }
    runtime.spawn(signals::stop_when_asked(stop));
    let outcome = compacted(join(workers), world);
    let _ = ended.send(());
    over.ask();
    let _ = watch.join();
    let _ = compaction.map(JoinHandle::join);
    runtime.shutdown_timeout(Duration::from_millis(200));
    Ok(outcome)
}

/// Compacts a directory that is followed, until `over`.
fn compact_beside(world: &World, over: &Stop) -> anyhow::Result<Option<JoinHandle<()>>> {
    let World::Directory(directory) = world else {
        return Ok(None);
    };
    let started = directory
        .follows()
        .then(|| compaction::start(directory.clone(), compaction::EVERY, over.clone()));
    started
        .transpose()
        .context("failed to start the compaction of the directory")
}

/// Leaves no value in a directory above the null that took it back.
fn compacted(outcome: Outcome, world: &World) -> Outcome {
    let (World::Directory(directory), Outcome::AtEnd | Outcome::Stopped) = (world, &outcome) else {
        return outcome;
    };
    match directory.compact_if_due() {
        Ok(files) => {
            if !files.is_empty() {
                tracing::info!(files = files.len(), "compacted");
            }
            outcome
        }
        Err(fault) => Outcome::LaneStopped(format!(
            "failed to compact: {fault}; what was taken back may still stand in an output, until \
             `zeef compact` or the next run"
        )),
    }
}

/// Keeps the memory of the metrics flat.
async fn sum_up(metrics: Arc<Metrics>) {
    let mut every = tokio::time::interval(SUM_UP);
    loop {
        every.tick().await;
        metrics.sum_up();
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("failed to listen on {address}: choose another with --admin, or --admin none")
    })?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "metrics and health");
    }
    Ok(listener)
}

type WorkerThread = (String, Pulse, JoinHandle<Result<Ended, Fault>>);

fn spawn(seat: Seat, world: &World) -> anyhow::Result<WorkerThread> {
    let world = world.clone();
    let name = format!("{}/{}", seat.lane.lane.name, seat.number);
    let pulse = seat.pulse.clone();
    let thread = std::thread::Builder::new()
        .name(name.clone())
        .spawn(move || seat.sit(&world))
        .context("failed to start a worker")?;
    Ok((name, pulse, thread))
}

/// What is watched for sources that fall silent.
struct Watched<'a> {
    loaded: &'a Loaded,
    lanes: &'a [LaneRun],
    world: &'a World,
}

impl Watched<'_> {
    /// Watches every source that some lane reads; says which expectation is of
    /// none of them.
    fn start(
        &self,
        silences: Silences,
        metrics: Arc<Metrics>,
        ends: [Stop; 2],
    ) -> anyhow::Result<JoinHandle<()>> {
        let expected = &self.loaded.daemon.sources;
        let sources = self.lanes.iter().flat_map(|lane| &lane.lane.sources);
        let sources: BTreeMap<&str, &str> = sources
            .map(|source| (source.kind.name.as_str(), source.kind.topic.as_str()))
            .collect();
        for name in expected
            .keys()
            .filter(|name| !sources.contains_key(name.as_str()))
        {
            tracing::warn!(
                source = name,
                "no lane reads this source: nothing is expected of it"
            );
        }
        let named = sources.keys().map(|name| {
            let settings = expected.get(*name).copied().unwrap_or_default();
            ((*name).to_owned(), settings)
        });
        let watch = Watch::new(named, silences, metrics);
        let topics = sources.values().map(|topic| (*topic).to_owned()).collect();
        watch
            .start(self.look(topics), ends)
            .context("failed to watch for silent sources")
    }

    fn look(&self, topics: Vec<String>) -> Look {
        match self.world {
            World::Kafka { settings, .. } => {
                let settings = settings.clone();
                let mut newest: Option<Newest> = None;
                Box::new(move |now_ms| {
                    if newest.is_none() {
                        let opened = Newest::open(&settings, &topics);
                        newest = Some(opened.map_err(|fault| fault.to_string())?);
                    }
                    let found = newest.as_mut().map(|newest| newest.look(now_ms));
                    found.unwrap_or_else(|| Ok(Vec::new()))
                })
            }
            World::Directory(directory) => {
                let directory = directory.clone();
                Box::new(move |_| Ok(directory.changed_ms(&topics)))
            }
        }
    }
}

/// Waits for all workers, and sums up.
fn join(workers: Vec<WorkerThread>) -> Outcome {
    let mut outcome = Outcome::AtEnd;
    for (name, pulse, thread) in workers {
        let ended = thread.join().unwrap_or_else(|_| {
            pulse.set(Phase::Stopped);
            Err(Fault::Stop("the worker broke down".to_owned()))
        });
        match ended {
            Ok(Ended::AtEnd | Ended::NewMonth) => {}
            Ok(Ended::Stopped) => {
                if outcome == Outcome::AtEnd {
                    outcome = Outcome::Stopped;
                }
            }
            Err(Fault::Twin(why)) => outcome = Outcome::Twin(why),
            Err(fault) => {
                if !matches!(outcome, Outcome::Twin(_)) {
                    outcome = Outcome::LaneStopped(format!("{name}: {fault}"));
                }
            }
        }
    }
    outcome
}

/// One worker's place: what it needs to start, and to start again.
struct Seat {
    shared: Arc<Shared>,
    lane: LaneRun,
    number: usize,
    pulse: Pulse,
    /// What all workers of the lane take back.
    losses: Arc<Losses>,
}

impl Seat {
    fn sit(&self, world: &World) -> Result<Ended, Fault> {
        let stop = &self.shared.stop;
        let ended = match world {
            World::Kafka {
                settings,
                partitions,
            } => self.work(*partitions, || {
                KafkaTransport::open(
                    settings.clone(),
                    self.lane.plan.clone(),
                    self.number,
                    stop.clone(),
                )
            }),
            World::Directory(directory) => {
                self.work(0, || directory.transport(&self.lane.plan, stop.clone()))
            }
        };
        match &ended {
            Ok(_) => self.pulse.set(Phase::Ended),
            Err(fault) => {
                self.pulse.set(Phase::Stopped);
                tracing::error!(lane = %self.lane.lane.name, worker = self.number, %fault, "worker stopped");
                if matches!(fault, Fault::Twin(_)) {
                    stop.ask();
                }
            }
        }
        ended
    }

    /// Works, with a new transport as often as one is lost.
    fn work<T: Transport>(
        &self,
        partitions: usize,
        open: impl Fn() -> Result<T, Fault>,
    ) -> Result<Ended, Fault> {
        const WAIT_MIN: Duration = Duration::from_millis(200);
        const WAIT_MAX: Duration = Duration::from_secs(10);
        let stop = &self.shared.stop;
        let mut wait = WAIT_MIN;
        loop {
            let started = Instant::now();
            self.pulse.set(Phase::Joining);
            let ended = open().and_then(|transport| self.worker(partitions, transport).run());
            let cause = match ended {
                Ok(Ended::NewMonth) => {
                    tracing::info!(lane = %self.lane.lane.name, worker = self.number, "a new month: begins anew");
                    continue;
                }
                Err(Fault::Rebuild(cause)) => cause,
                ended => return ended,
            };
            if started.elapsed() > WAIT_MAX {
                wait = WAIT_MIN;
            }
            let (lane, worker) = (self.lane.lane.name.as_str(), self.number);
            if stop.asked() {
                tracing::warn!(lane, worker, %cause, "stopped without its last batch: the next start does it again");
                return Ok(Ended::Stopped);
            }
            tracing::warn!(lane, worker, %cause, "transport lost, will be built again");
            if !self.sleep(wait) {
                return Ok(Ended::Stopped);
            }
            wait = (wait * 2).min(WAIT_MAX);
        }
    }

    fn worker<T: Transport>(&self, partitions: usize, transport: T) -> Worker<T> {
        let metrics = self.shared.metrics.worker(&self.lane.lane, self.number);
        let (lane, namer) = (Arc::clone(&self.lane.lane), self.lane.namer.clone());
        let mut pipeline = Pipeline::with_state(lane, namer, self.shared.holds);
        if let Some(holding) = pipeline.holding_mut() {
            holding.continuity = self.lane.continuity.clone();
        }
        let mut worker = Worker::new(pipeline, transport, metrics);
        worker.meter = Meter::new(self.lane.rates.clone());
        worker.bounds = self.shared.bounds;
        worker.sweep_every = self.shared.sweep_every;
        worker.check_every = self.shared.check_every;
        worker.gate_wait = self.shared.gate_wait;
        worker.losses = self.losses.share();
        let commands = Arc::clone(&self.lane.continuity.commands);
        worker.accepted = Arc::new(move |code| commands.accepts(code));
        worker.pulse = self.pulse.clone();
        worker.stop = self.shared.stop.clone();
        worker.partitions = partitions;
        worker
    }

    /// Waits; false when it was asked to stop meanwhile.
    fn sleep(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        while Instant::now() < until {
            if self.shared.stop.asked() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }
}
