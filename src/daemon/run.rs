//! A run: compiles lanes, starts workers, and waits until all of them end.
//!
//! A worker that loses its transport gets a new one; another instance ends the process; a
//! lane that cannot continue stops and leaves the others alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::admin::{self, AdminState};
use super::clock::now_ms;
use super::compaction;
use super::expiry::ExpiryWatch;
use super::health::{Health, SilentSources, WorkerPhase, WorkerStatus};
use super::http;
use super::intake::{IntakeSetup, IntakeSupervisor};
use super::loss_guard::LossGuard;
use super::metrics::Metrics;
use super::partner_watch::{PartnerWatch, WatchedRun};
use super::restart::WorkerRestarts;
use super::retraction_follower::FollowedData;
use super::signals::{self, StopLimit};
use super::silence::{NewestRecordLookup, SilenceWatch};
use super::worker::{BatchBounds, Worker, WorkerExit};
use crate::config::LoadedConfig;
use crate::config::keyring::{KeyRing, LEDGER_KEY_NAME, STATE_KEY_NAME};
use crate::config::settings::DaemonSettings;
use crate::engine::delivery::{
    ContinuityContext, HoldBounds, STATE_FINGERPRINT_NAME, key_fingerprint,
};
use crate::engine::lane::ledger::LedgerSetup;
use crate::engine::lane::{CompileError, DEAD_LETTERS_TOPIC, Lane};
use crate::engine::memory::deliveries::StateKeys;
use crate::engine::meter::{Meter, Rate};
use crate::engine::pipeline::Pipeline;
use crate::ledger::keys::LedgerKeys;
use crate::message::commands::CommandLog;
use crate::message::continuity::{ConfiguredTopics, Fingerprinter, KeyFingerprint};
use crate::message::{Cause, Fault, LanePlan, ZEEF_OWNER};
use crate::policy::Policy;
use crate::policy::catalogue::{RecordKind, Role};
use crate::policy::pseudonym::{HmacKey, PseudonymDomain, Pseudonymiser};
use crate::schemas::{RegistryError, SchemaRegistry};
use crate::transport::directory::{self, Directory, DirectorySettings};
use crate::transport::kafka::newest_timestamps::NewestTimestamps;
use crate::transport::kafka::{KafkaSettings, KafkaTransport};
use crate::transport::{StopSignal, Transport};

/// How often to aggregate recorded metrics.
const METRICS_UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Where a run reads and writes.
#[derive(Clone)]
pub enum Endpoint {
    Kafka {
        settings: KafkaSettings,
        /// Partitions of each joined source, to share rates by.
        partitions: usize,
    },
    Directory(Directory),
}

impl Endpoint {
    fn new_worker_status(&self) -> WorkerStatus {
        match self {
            Endpoint::Kafka { settings, .. } => {
                WorkerStatus::with_session(settings.session_timeout)
            }
            Endpoint::Directory(_) => WorkerStatus::new(),
        }
    }

    /// Whether lanes end at the ends that their sources have when they start.
    fn is_bounded(&self) -> bool {
        match self {
            Endpoint::Kafka { settings, .. } => settings.until_end,
            Endpoint::Directory(directory) => !directory.is_following(),
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// A stop was requested, and everything taken in is committed.
    Stopped,
    /// All input is committed up to its end.
    EndOfInput,
    /// Another instance took over.
    Fenced(String),
    /// At least one lane could not continue.
    LaneStopped(String),
}

/// A compiled lane with what its transport needs.
#[derive(Clone, Debug)]
pub struct LaneSetup {
    pub lane: Arc<Lane>,
    pub plan: LanePlan,
    pub workers: usize,
    pub rates: Vec<Option<Rate>>,
    pub state_keys: StateKeys,
    /// What its marks depend on.
    pub continuity: ContinuityContext,
}

impl LaneSetup {
    pub fn set_commands(&mut self, commands: &Arc<CommandLog>) {
        self.plan.forget_offset_totals = commands.forget_offset_totals(&self.lane.name).collect();
        self.continuity.commands = Arc::clone(commands);
    }
}

/// Where lanes read and write.
#[derive(Clone, Copy, Debug)]
pub enum LaneTransport<'a> {
    Directory,
    Kafka { topic_prefix: &'a str },
}

impl<'a> LaneTransport<'a> {
    /// What stands before the names of topics.
    #[must_use]
    pub fn topic_prefix(self) -> &'a str {
        match self {
            LaneTransport::Directory => "",
            LaneTransport::Kafka { topic_prefix } => topic_prefix,
        }
    }
}

/// Compiles every lane of a config, for a transport.
///
/// # Errors
///
/// A [`CompileError`], for instance for a recipient without a key.
pub fn compile_lanes(
    loaded: &LoadedConfig,
    keys: &KeyRing,
    transport: LaneTransport<'_>,
) -> Result<Vec<LaneSetup>, CompileError> {
    let daemon = &loaded.daemon;
    let state = keys
        .state_key()
        .ok_or_else(|| CompileError::MissingKey { recipient: STATE_KEY_NAME.to_owned() })?;
    let state_keys = StateKeys::new(state);
    let ledger = ledger_setup(daemon, keys)?;
    daemon
        .lanes
        .iter()
        .map(|settings| {
            let mut lane = Lane::compile(
                &settings.name,
                &loaded.policy,
                |recipient| settings.recipients.contains(&recipient.name),
                |recipient| keys.key(recipient).map(Pseudonymiser::new),
                daemon.limits.lane,
            )?;
            lane.prefix_topics(transport.topic_prefix());
            lane.has_outputs_by_owner = matches!(transport, LaneTransport::Directory);
            if let Some(setup) = &ledger {
                lane.enable_ledger(&loaded.policy, setup.clone());
            }
            let rates = lane
                .recipients
                .iter()
                .map(|program| daemon.rates.get(&program.name).copied())
                .collect();
            let mut plan = lane.transport_plan();
            plan.fingerprinter = Some(state_keys.fingerprinter());
            plan.configured_topics = Some(configured_topics(&loaded.policy));
            let names = lane.recipients.iter().map(|program| program.name.as_str());
            let fingerprints =
                names.filter_map(|name| Some((name.to_owned(), key_fingerprint(keys.key(name)?))));
            let mut fingerprints: BTreeMap<String, KeyFingerprint> = fingerprints.collect();
            fingerprints.insert(STATE_FINGERPRINT_NAME.to_owned(), key_fingerprint(state));
            let continuity = ContinuityContext {
                key_fingerprints: fingerprints,
                ..ContinuityContext::default()
            };
            Ok(LaneSetup {
                continuity,
                lane: Arc::new(lane),
                plan,
                workers: settings.workers,
                rates,
                state_keys: state_keys.clone(),
            })
        })
        .collect()
}

fn configured_topics(policy: &Policy) -> ConfiguredTopics {
    let mut configured = ConfiguredTopics::default();
    for kind in &policy.record_kinds {
        let topic = kind.topic.clone();
        match gate_name(kind) {
            Some(gate) => drop(configured.gates.insert(topic, gate)),
            None => drop(configured.others.insert(topic)),
        }
    }
    configured
}

/// Returns what the records of a kind decide over, whatever the kind is called; `None` if they are
/// only decided.
fn gate_name(kind: &RecordKind) -> Option<String> {
    match (kind.role, &kind.settles) {
        (Role::Record, _) => None,
        (Role::Patron, _) => Some("patron".to_owned()),
        (Role::Gate, Some(settled)) => Some(format!("settlement of {settled}")),
        (Role::Gate, None) => Some(kind.name.clone()),
    }
}

/// Returns how lanes write the ledger; `None` if they do not.
fn ledger_setup(
    daemon: &DaemonSettings,
    keys: &KeyRing,
) -> Result<Option<LedgerSetup>, CompileError> {
    if !daemon.ledger.is_enabled {
        return Ok(None);
    }
    let unusable = || CompileError::MissingKey { recipient: LEDGER_KEY_NAME.to_owned() };
    let key = keys.ledger_key().ok_or_else(unusable)?;
    Ok(Some(LedgerSetup {
        keys: LedgerKeys::new(key).map_err(CompileError::LedgerKey)?,
        refusals: daemon.ledger.refusals.clone(),
        register_uri: daemon.ledger.register_uri.clone(),
    }))
}

/// Returns the directory settings of a bounded run, or `None` without the state's key.
/// `keys` may lack those of recipients.
#[must_use]
pub fn directory_settings(
    root: &std::path::Path,
    loaded: &LoadedConfig,
    keys: &KeyRing,
) -> Option<DirectorySettings> {
    let state = keys.state_key()?;
    let policy = &loaded.policy;
    let mut fingerprints: BTreeMap<String, KeyFingerprint> = policy
        .recipients
        .iter()
        .filter_map(|one| Some((one.name.clone(), directory_key_fingerprint(keys.key(&one.name)?))))
        .collect();
    fingerprints.insert(directory::STATE_KEY_NAME.to_owned(), directory_key_fingerprint(state));
    let mut owners: BTreeMap<String, String> = policy
        .all_recipients()
        .flat_map(|one| one.topics.names().map(|topic| (topic, &one.name)))
        .map(|(topic, name)| (topic.to_owned(), name.clone()))
        .collect();
    owners.insert(DEAD_LETTERS_TOPIC.to_owned(), ZEEF_OWNER.to_owned());
    Some(DirectorySettings {
        key_fingerprints: fingerprints,
        configured_topics: Some(configured_topics(policy)),
        output_owners: owners,
        group_read: loaded.daemon.directory.group_read,
        max_line_bytes: line_bytes_max(&loaded.daemon),
        check_interval: loaded.daemon.state.check_interval,
        ..DirectorySettings::new(root, directory_fingerprinter(state))
    })
}

/// Returns the maximum length of a directory line: a record with its key and their member
/// names.
#[must_use]
pub fn line_bytes_max(daemon: &DaemonSettings) -> usize {
    const SLACK: usize = 64 << 10;
    daemon.limits.lane.limits.max_bytes + SLACK
}

/// Returns the hash of lines, rows and seals in a directory.
fn directory_fingerprinter(state: &HmacKey) -> Fingerprinter {
    let state_keys = StateKeys::new(state);
    let part = |number: u8| state_keys.hash_bytes(&[b"directory ", &[number][..]].concat());
    Fingerprinter::new([1, 2, 3, 4].map(part))
}

fn directory_key_fingerprint(key: &HmacKey) -> KeyFingerprint {
    let meaning = PseudonymDomain::new("zeef", "key");
    let print = Pseudonymiser::new(key).pseudonymise(&meaning, "", "print").to_ascii();
    KeyFingerprint { id: key.id().to_owned(), print: String::from_utf8_lossy(&print).into_owned() }
}

/// What the workers of a run share.
struct RunContext {
    metrics: Arc<Metrics>,
    stop: StopSignal,
    batch_bounds: BatchBounds,
    hold_limits: HoldBounds,
    sweep_interval: Duration,
    continuity_check_interval: Duration,
    gate_wait_limit: Duration,
    /// Takes the schemas of outputs in Avro.
    schemas: SchemaRegistry,
}

/// What a run is started with.
pub struct Run<'a> {
    pub loaded: &'a LoadedConfig,
    pub endpoint: &'a Endpoint,
    /// Where to serve metrics and health.
    pub admin: Option<SocketAddr>,
    pub stop: StopSignal,
    /// Of a stop by a signal; `None` lets it take any time.
    pub stop_limit: Option<StopLimit>,
    /// On Kafka, the intakes that run beside the lanes.
    pub intakes: Vec<IntakeSetup>,
    pub metrics: Arc<Metrics>,
}

impl Run<'_> {
    /// Runs all intakes and lanes until a stop is requested or their input ends. A bounded run
    /// starts its lanes once its intakes have read everything.
    ///
    /// # Errors
    ///
    /// The process cannot start: no runtime, no thread, no port.
    pub fn run(self, lanes: Vec<LaneSetup>) -> anyhow::Result<RunOutcome> {
        let metrics = Arc::clone(&self.metrics);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("failed to start the runtime")?;
        let listener = self.admin.map(|address| runtime.block_on(bind_admin(address)));
        let listener = listener.transpose()?;
        let mut health = Health::default();
        let finished = StopSignal::default();
        let watch =
            SilenceWatchSetup { loaded: self.loaded, lanes: &lanes, endpoint: self.endpoint };
        let stops = [finished.clone(), self.stop.clone()];
        let silence_watch =
            watch.start(health.silent_sources.clone(), Arc::clone(&metrics), stops)?;
        let compaction = spawn_compaction(self.endpoint, &finished)?;
        let partners = self.watch_partners(&lanes, &metrics, &finished)?;
        let intakes = self.intake_supervisors(&metrics, &mut health);
        let lanes = self.lane_supervisors(lanes, &metrics, &mut health);
        runtime.spawn(run_metrics_upkeep(Arc::clone(&metrics)));
        let mut expiry_watch = ExpiryWatch::from_policy(&self.loaded.policy);
        expiry_watch.check(&metrics, now_ms());
        runtime.spawn(expiry_watch.run(Arc::clone(&metrics)));
        let (ended, wait_for_end) = oneshot::channel::<()>();
        if let Some(listener) = listener {
            let state = AdminState { metrics, health };
            let limits = http::ConnectionLimits::default();
            runtime.spawn(http::serve(listener, admin::routes(state), limits, async {
                let _ = wait_for_end.await;
            }));
        }
        runtime.spawn(signals::stop_on_signal(self.stop.clone(), self.stop_limit));
        let outcome = compact_at_end(self.run_workers(intakes, lanes)?, self.endpoint);
        let _ = ended.send(());
        finished.request();
        let _ = silence_watch.join();
        let _ = compaction.map(JoinHandle::join);
        if self.endpoint.is_bounded() {
            let _ = partners.map(JoinHandle::join);
        }
        runtime.shutdown_timeout(Duration::from_millis(200));
        Ok(outcome)
    }

    /// Starts to watch what partners acknowledge and read, if there is anything to watch.
    fn watch_partners(
        &self,
        lanes: &[LaneSetup],
        metrics: &Arc<Metrics>,
        finished: &StopSignal,
    ) -> anyhow::Result<Option<JoinHandle<()>>> {
        let ledger = lanes.iter().find_map(|lane| lane.lane.ledger.as_ref());
        let watched = WatchedRun {
            loaded: self.loaded,
            data: match self.endpoint {
                Endpoint::Kafka { settings, .. } => FollowedData::Kafka(settings.clone()),
                Endpoint::Directory(directory) => {
                    FollowedData::Directory(directory.root().to_owned())
                }
            },
            keys: ledger.map(|ledger| ledger.setup.keys.clone()),
            is_bounded: self.endpoint.is_bounded(),
        };
        let watch = PartnerWatch::of_run(watched, Arc::clone(metrics));
        let spawned = watch.map(|watch| watch.spawn(finished.clone())).transpose();
        spawned.context("failed to watch partners")
    }

    fn run_workers(
        &self,
        intakes: Vec<IntakeSupervisor>,
        lanes: Vec<Supervisor>,
    ) -> anyhow::Result<RunOutcome> {
        let mut workers = Vec::new();
        if let Endpoint::Kafka { settings, .. } = self.endpoint {
            for intake in intakes {
                let settings = settings.clone();
                let name = format!("{}/{}", intake.setup.lane_name(), intake.worker_number);
                let status = intake.status.clone();
                workers.push(spawn_worker(name, status, move || intake.run(&settings))?);
            }
        }
        if self.endpoint.is_bounded() {
            let outcome = join_workers(std::mem::take(&mut workers));
            if outcome != RunOutcome::EndOfInput {
                return Ok(outcome);
            }
        }
        for lane in lanes {
            let endpoint = self.endpoint.clone();
            let name = format!("{}/{}", lane.lane.lane.name, lane.worker_number);
            let status = lane.status.clone();
            workers.push(spawn_worker(name, status, move || lane.run(&endpoint))?);
        }
        Ok(join_workers(workers))
    }

    fn intake_supervisors(
        &self,
        metrics: &Arc<Metrics>,
        health: &mut Health,
    ) -> Vec<IntakeSupervisor> {
        let daemon = &self.loaded.daemon;
        let mut supervisors = Vec::new();
        if let Endpoint::Directory(_) = self.endpoint {
            // Raw files were read before the run.
            return supervisors;
        }
        for setup in &self.intakes {
            let shared = Arc::new(setup.clone());
            for worker_number in 0..setup.workers {
                let status = self.endpoint.new_worker_status();
                health.workers.push((setup.lane_name(), worker_number, status.clone()));
                supervisors.push(IntakeSupervisor {
                    setup: Arc::clone(&shared),
                    worker_number,
                    status,
                    metrics: Arc::clone(metrics),
                    stop: self.stop.clone(),
                    bounds: daemon.batch,
                    topic_check_interval: daemon.state.check_interval,
                    lookup_wait_limit: daemon.limits.gate_wait,
                });
            }
        }
        supervisors
    }

    fn lane_supervisors(
        &self,
        lanes: Vec<LaneSetup>,
        metrics: &Arc<Metrics>,
        health: &mut Health,
    ) -> Vec<Supervisor> {
        let daemon = &self.loaded.daemon;
        let context = Arc::new(RunContext {
            metrics: Arc::clone(metrics),
            stop: self.stop.clone(),
            batch_bounds: daemon.batch,
            hold_limits: daemon.holds,
            sweep_interval: daemon.state.sweep_interval,
            continuity_check_interval: daemon.state.check_interval,
            gate_wait_limit: daemon.limits.gate_wait,
            schemas: SchemaRegistry::new(daemon.schema_registry.as_ref()),
        });
        let mut supervisors = Vec::new();
        for lane in lanes {
            let count = match self.endpoint {
                Endpoint::Kafka { .. } => lane.workers,
                Endpoint::Directory(_) => 1,
            };
            let loss_guard = LossGuard::new(&lane.lane, daemon.limits.retractions_per_hour);
            for number in 0..count {
                let status = self.endpoint.new_worker_status();
                health.workers.push((lane.lane.name.clone(), number, status.clone()));
                supervisors.push(Supervisor {
                    context: Arc::clone(&context),
                    lane: lane.clone(),
                    worker_number: number,
                    status,
                    loss_guard: Arc::clone(&loss_guard),
                });
            }
        }
        supervisors
    }
}

/// Compacts a followed directory until `finished`.
fn spawn_compaction(
    endpoint: &Endpoint,
    finished: &StopSignal,
) -> anyhow::Result<Option<JoinHandle<()>>> {
    let Endpoint::Directory(directory) = endpoint else {
        return Ok(None);
    };
    let started = directory.is_following().then(|| {
        compaction::spawn_compaction(
            directory.clone(),
            compaction::COMPACTION_INTERVAL,
            finished.clone(),
        )
    });
    started.transpose().context("failed to start the compaction of the directory")
}

/// Compacts a directory at the end, so that no value remains above the null that retracted
/// it.
fn compact_at_end(outcome: RunOutcome, endpoint: &Endpoint) -> RunOutcome {
    let (Endpoint::Directory(directory), RunOutcome::EndOfInput | RunOutcome::Stopped) =
        (endpoint, &outcome)
    else {
        return outcome;
    };
    match directory.compact_if_due() {
        Ok(files) => {
            if !files.is_empty() {
                tracing::info!(files = files.len(), "compacted");
            }
            outcome
        }
        Err(fault) => RunOutcome::LaneStopped(format!(
            "failed to compact: {fault}; what was taken back may still stand in an output, until \
             `zeef compact` or the next run"
        )),
    }
}

/// Keeps the memory of the metrics bounded.
async fn run_metrics_upkeep(metrics: Arc<Metrics>) {
    let mut every = tokio::time::interval(METRICS_UPKEEP_INTERVAL);
    loop {
        every.tick().await;
        metrics.run_upkeep();
    }
}

async fn bind_admin(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("failed to listen on {address}: choose another with --admin, or --admin none")
    })?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "metrics and health");
    }
    Ok(listener)
}

type WorkerThread = (String, WorkerStatus, JoinHandle<Result<WorkerExit, Fault>>);

fn spawn_worker(
    name: String,
    status: WorkerStatus,
    run: impl FnOnce() -> Result<WorkerExit, Fault> + Send + 'static,
) -> anyhow::Result<WorkerThread> {
    let thread = std::thread::Builder::new()
        .name(name.clone())
        .spawn(run)
        .context("failed to start a worker")?;
    Ok((name, status, thread))
}

struct SilenceWatchSetup<'a> {
    loaded: &'a LoadedConfig,
    lanes: &'a [LaneSetup],
    endpoint: &'a Endpoint,
}

impl SilenceWatchSetup<'_> {
    /// Watches every source that some lane reads; warns of expectations for other sources.
    fn start(
        &self,
        silent_sources: SilentSources,
        metrics: Arc<Metrics>,
        stops: [StopSignal; 2],
    ) -> anyhow::Result<JoinHandle<()>> {
        let expected = &self.loaded.daemon.sources;
        let sources = self.lanes.iter().flat_map(|lane| &lane.lane.sources);
        let sources: BTreeMap<&str, &str> =
            sources.map(|source| (source.kind.name.as_str(), source.kind.topic.as_str())).collect();
        for name in expected.keys().filter(|name| !sources.contains_key(name.as_str())) {
            tracing::warn!(source = name, "no lane reads this source: its expectation is ignored");
        }
        let named = sources.keys().map(|name| {
            let settings = expected.get(*name).copied().unwrap_or_default();
            ((*name).to_owned(), settings)
        });
        let watch = SilenceWatch::new(named, silent_sources, metrics);
        let topics = sources.values().map(|topic| (*topic).to_owned()).collect();
        watch
            .spawn(self.newest_record_lookup(topics), stops)
            .context("failed to watch for silent sources")
    }

    fn newest_record_lookup(&self, topics: Vec<String>) -> NewestRecordLookup {
        match self.endpoint {
            Endpoint::Kafka { settings, .. } => {
                let settings = settings.clone();
                let mut newest: Option<NewestTimestamps> = None;
                Box::new(move |now_ms| {
                    if newest.is_none() {
                        let opened = NewestTimestamps::open(&settings, &topics);
                        newest = Some(opened.map_err(|fault| fault.to_string())?);
                    }
                    let found = newest.as_mut().map(|newest| newest.fetch(now_ms));
                    found.unwrap_or_else(|| Ok(Vec::new()))
                })
            }
            Endpoint::Directory(directory) => {
                let directory = directory.clone();
                Box::new(move |_| {
                    directory.modified_times_ms(&topics).map_err(|fault| fault.to_string())
                })
            }
        }
    }
}

/// Waits for all workers. Returns the combined outcome.
fn join_workers(workers: Vec<WorkerThread>) -> RunOutcome {
    let mut outcome = RunOutcome::EndOfInput;
    for (name, status, thread) in workers {
        let ended = thread.join().unwrap_or_else(|_| {
            status.set_phase(WorkerPhase::Stopped);
            Err(Fault::stop("the worker panicked"))
        });
        match ended {
            Ok(WorkerExit::EndOfInput | WorkerExit::NewMonth) => {}
            Ok(WorkerExit::Stopped) => {
                if outcome == RunOutcome::EndOfInput {
                    outcome = RunOutcome::Stopped;
                }
            }
            Err(Fault::Fenced(why)) => outcome = RunOutcome::Fenced(why.to_string()),
            Err(fault) => {
                if !matches!(outcome, RunOutcome::Fenced(_)) {
                    outcome = RunOutcome::LaneStopped(format!("{name}: {fault}"));
                }
            }
        }
    }
    outcome
}

/// Runs and restarts one worker.
struct Supervisor {
    context: Arc<RunContext>,
    lane: LaneSetup,
    worker_number: usize,
    status: WorkerStatus,
    /// Shared by all workers of the lane.
    loss_guard: Arc<LossGuard>,
}

impl Supervisor {
    fn run(&self, endpoint: &Endpoint) -> Result<WorkerExit, Fault> {
        let stop = &self.context.stop;
        let restarts = WorkerRestarts {
            lane: &self.lane.lane.name,
            worker_number: self.worker_number,
            status: &self.status,
            stop,
        };
        match endpoint {
            Endpoint::Kafka { settings, partitions } => restarts.run(|| {
                let transport = KafkaTransport::open(
                    settings.clone(),
                    self.register_schemas(settings)?,
                    self.worker_number,
                    stop.clone(),
                )?;
                self.build_worker(*partitions, transport).run()
            }),
            Endpoint::Directory(directory) => restarts.run(|| {
                let transport = directory.lane_transport(&self.lane.plan, stop.clone())?;
                self.build_worker(0, transport).run()
            }),
        }
    }

    /// Returns the plan with the id of each schema, which is registered first: consumers find it
    /// before the first output. Its subject is named after the topic.
    fn register_schemas(&self, settings: &KafkaSettings) -> Result<LanePlan, Fault> {
        let mut plan = self.lane.plan.clone();
        for output in &mut plan.outputs {
            let Some(encoding) = &mut output.encoding else {
                continue;
            };
            let subject = format!("{}-value", settings.topic_name(&output.topic));
            let id = self.context.schemas.register(&subject, encoding.avro.schema());
            encoding.schema_id = Some(id.map_err(|error| match error {
                RegistryError::Refused { .. } | RegistryError::NotConfigured => {
                    Fault::stop(Cause::from_error(error))
                }
                error => Fault::transport_lost(Cause::from_error(error)),
            })?);
        }
        Ok(plan)
    }

    fn build_worker<T: Transport>(&self, partitions: usize, transport: T) -> Worker<T> {
        let metrics = self.context.metrics.worker_metrics(&self.lane.lane, self.worker_number);
        let (lane, state_keys) = (Arc::clone(&self.lane.lane), self.lane.state_keys.clone());
        let mut pipeline = Pipeline::with_state(lane, state_keys, self.context.hold_limits);
        if let Some(deliveries) = pipeline.deliveries_mut() {
            deliveries.continuity = self.lane.continuity.clone();
        }
        let mut worker = Worker::new(pipeline, transport, metrics);
        worker.meter = Meter::new(self.lane.rates.clone());
        worker.bounds = self.context.batch_bounds;
        worker.sweep_interval = self.context.sweep_interval;
        worker.continuity_check_interval = self.context.continuity_check_interval;
        worker.gate_wait_limit = self.context.gate_wait_limit;
        worker.losses = self.loss_guard.register_worker();
        let commands = Arc::clone(&self.lane.continuity.commands);
        worker.is_accepted = Arc::new(move |code| commands.is_accepted(code));
        worker.status = self.status.clone();
        worker.stop = self.context.stop.clone();
        worker.source_partitions = partitions;
        worker
    }
}
