//! Lanes of the engine over sources in memory, as one process runs them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use zeef::daemon::worker::{Worker, WorkerExit};
use zeef::engine::delivery::{DeliveryTracker, HoldBounds};
use zeef::engine::lane::ledger::LedgerSetup;
use zeef::engine::lane::{
    CompileOptions, DEAD_LETTERS_TOPIC, Lane, PATRONS_TOPIC, STATE_TOPIC_PREFIX,
};
use zeef::engine::memory::consents::ConsentTable;
use zeef::engine::memory::patrons::PatronStatus;
use zeef::engine::tally::SourceTally;
use zeef::ledger::keys::LedgerKeys;
use zeef::message::commands::CommandLog;
use zeef::message::{ForeignOperation, Payload, SourceId, TraceParent};
use zeef::policy::Policy;
use zeef::policy::pseudonym::Pseudonymiser;
use zeef::policy::refusal_class::RefusalClass;
use zeef::transport::Transport;
use zeef::transport::memory::{MemoryTransport, PublishedOutput};

use crate::config::{copy_shipped_config, enable_all_recipients, load_folder};
use crate::engine::{new_key, source_id};
use crate::golden;
use crate::rebalancing_transport::RebalancingTransport;
use crate::test_recipients;
use crate::worker::{self, WorkerSetup};

/// How recipients are spread over lanes.
#[derive(Clone, Copy, Debug)]
pub enum LaneLayout {
    OneLane,
    TwoLanes,
    LanePerRecipient,
    /// One lane with [`SOME_RECIPIENTS`] alone: every topic of a real broker costs.
    SomeRecipients,
}

/// Recipients of every kind of record and mechanism.
pub const SOME_RECIPIENTS: &[&str] = &[
    "contest",
    "deurwaarder",
    "ido-output",
    "ido-referral",
    "ill-library",
    "kb-membership",
    "legal-demand",
    "own-circle",
    "own-keeper",
    "own-marketing",
    "own-thinned",
    "own-timed",
    "reservation-slip",
    "self-service",
    "service-message",
    "statistics",
    "visitor",
];

/// How the process is set up. Nothing of it may change what recipients have.
#[derive(Clone, Copy, Debug)]
pub struct DeploymentSetup {
    pub layout: LaneLayout,
    pub partitions: i32,
    /// The most records of a batch, and of a poll.
    pub batch_records: u64,
    pub poll_records: usize,
    pub fail_every: Option<u32>,
    pub rebalance_every: Option<u32>,
    /// At which repeated read partitions are first revoked.
    pub interrupt_at: Option<u32>,
    /// How many records may wait for patrons in a partition, and for how long.
    pub hold_limits: (usize, i64),
    /// The lanes write a ledger.
    pub has_ledger: bool,
    /// Messages say which operation of an upstream sent them, as [`trace_parent_of`] has it.
    pub has_trace_parents: bool,
}

impl DeploymentSetup {
    pub const DEFAULT: DeploymentSetup = DeploymentSetup {
        layout: LaneLayout::OneLane,
        partitions: 1,
        batch_records: 20_000,
        poll_records: usize::MAX,
        fail_every: None,
        rebalance_every: None,
        interrupt_at: None,
        hold_limits: (100_000, i64::MAX),
        has_ledger: false,
        has_trace_parents: false,
    };
}

fn load_policy(changed: bool) -> Policy {
    let folder = copy_shipped_config();
    enable_all_recipients(folder.path());
    test_recipients::write_recipients(&folder.path().join("recipients"), changed);
    test_recipients::write_detectors(&folder.path().join("detectors"));
    if !changed {
        let former = "\n[former.visitor]\ntopics = [\"out.visitor\"]\nwhat = \"retract\"\n";
        let path = folder.path().join("zeef.toml");
        let text = std::fs::read_to_string(&path).expect("zeef.toml");
        std::fs::write(&path, text + former).expect("write zeef.toml");
    }
    load_folder(folder.path()).expect("a policy with the tests' own recipients")
}

/// The policy of all shipped recipients and the tests' own, as it is or changed.
pub fn cached_policy(changed: bool) -> &'static Policy {
    static CACHE: [OnceLock<Policy>; 2] = [const { OnceLock::new() }; 2];
    CACHE[usize::from(changed)].get_or_init(|| load_policy(changed))
}

fn compile_lanes(layout: LaneLayout, changed: bool, has_ledger: bool) -> Vec<Arc<Lane>> {
    let policy = cached_policy(changed);
    let key = new_key("golden", golden::GOLDEN_KEY);
    let names: Vec<&str> = policy
        .recipients
        .iter()
        .map(|one| one.name.as_str())
        .filter(|name| *name != "visitor")
        .collect();
    let lane_of = |name: &str| {
        // The visitor does not move others to another lane.
        let name = if name == "visitor" { "service-message" } else { name };
        let place = names.iter().position(|other| *other == name).unwrap_or(0);
        match layout {
            LaneLayout::OneLane | LaneLayout::SomeRecipients => 0,
            LaneLayout::TwoLanes => place % 2,
            LaneLayout::LanePerRecipient => place,
        }
    };
    let count = match layout {
        LaneLayout::OneLane | LaneLayout::SomeRecipients => 1,
        LaneLayout::TwoLanes => 2,
        LaneLayout::LanePerRecipient => names.len(),
    };
    let compile = |number: usize| {
        Lane::compile(
            &format!("lane-{number}"),
            policy,
            |recipient| {
                let is_some = SOME_RECIPIENTS.contains(&&*recipient.name);
                let is_in = is_some || !matches!(layout, LaneLayout::SomeRecipients);
                is_in && lane_of(&recipient.name) == number
            },
            |_| Some(Pseudonymiser::new(&key)),
            CompileOptions::default(),
        )
    };
    let compile = |number| {
        let mut lane = compile(number).expect("a lane");
        if has_ledger {
            lane.enable_ledger(policy, ledger_setup());
        }
        Arc::new(lane)
    };
    (0..count).map(compile).collect()
}

/// The keys of the tests' ledgers, whose first year is before that of any scenario.
pub fn ledger_keys() -> LedgerKeys {
    let key = new_key("y2024", b"the-key-of-the-ledger-0123456789ab");
    LedgerKeys::new(&key).expect("a key with a year")
}

pub fn ledger_setup() -> LedgerSetup {
    LedgerSetup {
        keys: ledger_keys(),
        refusals: RefusalClass::ALL.to_vec(),
        register_uri: "https://example.org/register".to_owned(),
    }
}

/// As [`cached_lanes`], of lanes that write a ledger.
pub fn cached_ledger_lanes(layout: LaneLayout, changed: bool) -> &'static [Arc<Lane>] {
    static CACHE: [OnceLock<Vec<Arc<Lane>>>; 8] = [const { OnceLock::new() }; 8];
    let place = layout as usize * 2 + usize::from(changed);
    CACHE[place].get_or_init(|| compile_lanes(layout, changed, true))
}

pub fn cached_lanes(layout: LaneLayout, changed: bool) -> &'static [Arc<Lane>] {
    static CACHE: [OnceLock<Vec<Arc<Lane>>>; 8] = [const { OnceLock::new() }; 8];
    let place = layout as usize * 2 + usize::from(changed);
    CACHE[place].get_or_init(|| compile_lanes(layout, changed, false))
}

fn lanes_of(setup: DeploymentSetup, changed: bool) -> &'static [Arc<Lane>] {
    match setup.has_ledger {
        true => cached_ledger_lanes(setup.layout, changed),
        false => cached_lanes(setup.layout, changed),
    }
}

/// What a message of these bytes says of the upstream's operation that sent it: mostly another one
/// for each message, and sometimes nothing, or nothing that can be used.
pub fn trace_parent_of(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<TraceParent> {
    let mut hasher = DefaultHasher::new();
    (key, value).hash(&mut hasher);
    let number = hasher.finish();
    let (trace, operation) = (u128::from(number) << 64 | 1, number | 1);
    match number % 4 {
        0 => None,
        1 => Some(TraceParent::Unusable),
        _ => Some(TraceParent::Operation(ForeignOperation { trace, operation })),
    }
}

/// A worker that tells the time by `clock`.
pub fn new_worker<T: Transport>(
    lane: &Arc<Lane>,
    transport: T,
    setup: DeploymentSetup,
    clock: &Arc<AtomicI64>,
) -> Worker<T> {
    let holds = HoldBounds { records_max: setup.hold_limits.0, wait_max_ms: setup.hold_limits.1 };
    let setup = WorkerSetup { batch_records: setup.batch_records, holds };
    let clock = Arc::clone(clock);
    worker::new_worker(lane, transport, setup, move || clock.load(Ordering::Relaxed))
}

/// The last values of a topic, by key.
pub type ValuesByKey = BTreeMap<String, Vec<u8>>;

/// The last values of every topic.
pub type ValuesByTopic = BTreeMap<String, ValuesByKey>;

/// All lanes, each with its own copy of the sources.
pub struct InMemoryDeployment {
    setup: DeploymentSetup,
    /// Whether the policy is the changed one, from the next start on.
    pub uses_changed_policy: bool,
    /// Lanes in place of those of the policies, from the next start on.
    pub own_lanes: Option<Vec<Arc<Lane>>>,
    clock: Arc<AtomicI64>,
    accepted_codes: Vec<String>,
    /// What operators asked for, from the next start on.
    pub commands: CommandLog,
    workers: Vec<Worker<RebalancingTransport>>,
}

impl InMemoryDeployment {
    pub fn new(setup: DeploymentSetup, now_ms: i64) -> Self {
        InMemoryDeployment::start(setup, now_ms, None)
    }

    /// A deployment of other lanes than those of the policies.
    pub fn of_lanes(setup: DeploymentSetup, now_ms: i64, lanes: Vec<Arc<Lane>>) -> Self {
        InMemoryDeployment::start(setup, now_ms, Some(lanes))
    }

    fn start(setup: DeploymentSetup, now_ms: i64, own_lanes: Option<Vec<Arc<Lane>>>) -> Self {
        let mut deployment = InMemoryDeployment {
            setup,
            uses_changed_policy: false,
            own_lanes,
            clock: Arc::new(AtomicI64::new(now_ms)),
            accepted_codes: Vec::new(),
            commands: CommandLog::default(),
            workers: Vec::new(),
        };
        let lanes = deployment.lanes().to_vec();
        let transports = lanes.iter().map(|lane| {
            let transport = MemoryTransport::new(&lane.transport_plan());
            let partitions = usize::try_from(setup.partitions).expect("a few");
            let transport = transport.with_partitions(partitions);
            let transport = transport.with_max_poll_records(setup.poll_records);
            let transport = transport.with_abort_every(setup.fail_every);
            let mut live = RebalancingTransport::new(transport, setup.rebalance_every);
            live.interrupt_at = setup.interrupt_at;
            live
        });
        deployment.workers = lanes
            .iter()
            .zip(transports)
            .map(|(lane, transport)| deployment.new_worker(lane, transport))
            .collect();
        deployment
    }

    fn new_worker(
        &self,
        lane: &Arc<Lane>,
        transport: RebalancingTransport,
    ) -> Worker<RebalancingTransport> {
        let mut worker = new_worker(lane, transport, self.setup, &self.clock);
        if let Some(holding) = worker.pipeline.deliveries_mut() {
            holding.continuity.commands = Arc::new(self.commands.clone());
        }
        let codes = self.accepted_codes.clone();
        worker.is_accepted = Arc::new(move |code| codes.iter().any(|one| one == code));
        worker
    }

    pub fn set_clock(&self, now_ms: i64) {
        self.clock.store(now_ms, Ordering::Relaxed);
    }

    /// Sets the arrival time of the messages that are pushed next.
    pub fn set_arrival_time(&mut self, arrived_ms: i64) {
        for worker in &mut self.workers {
            worker.transport.inner.set_append_time(arrived_ms);
        }
    }

    pub fn push_message(
        &mut self,
        source: &str,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) {
        for worker in &mut self.workers {
            let Some(source) = source_id(worker.pipeline.lane(), source) else {
                continue;
            };
            let payload = value.map_or(Payload::Null, Payload::Bytes);
            let trace_parent = trace_parent_of(key, value).filter(|_| self.setup.has_trace_parents);
            worker.transport.inner.set_trace_parent(trace_parent);
            worker.transport.inner.push(source, partition, key, payload);
        }
    }

    /// Calls `act` for a source of each lane that has it.
    pub fn for_each_source(&mut self, source: &str, act: impl Fn(&mut MemoryTransport, SourceId)) {
        for worker in &mut self.workers {
            if let Some(source) = source_id(worker.pipeline.lane(), source) {
                act(&mut worker.transport.inner, source);
            }
        }
    }

    fn lanes(&self) -> &[Arc<Lane>] {
        let cached = || lanes_of(self.setup, self.uses_changed_policy);
        self.own_lanes.as_deref().unwrap_or_else(cached)
    }

    /// Kills the process and starts it again.
    pub fn restart(&mut self) {
        for place in 0..self.workers.len() {
            self.restart_worker(place);
        }
    }

    fn restart_worker(&mut self, place: usize) {
        let lane = &Arc::clone(&self.lanes()[place]);
        let mut transport = self.workers[place].transport.clone();
        transport.restart();
        transport.inner.set_plan(&lane.transport_plan());
        self.workers[place] = self.new_worker(lane, transport);
    }

    /// Findings of these codes are accepted, and no others, from the next start on.
    pub fn accept_codes(&mut self, codes: &[String]) {
        self.accepted_codes = codes.to_vec();
    }

    /// The lanes in use, each with all that it committed.
    pub fn lanes_with_outputs(&self) -> Vec<(Arc<Lane>, Vec<PublishedOutput>)> {
        let workers = self.workers.iter();
        let of = |worker: &Worker<RebalancingTransport>| {
            (worker.pipeline.shared_lane(), worker.transport.inner.published().to_vec())
        };
        workers.map(of).collect()
    }

    /// Drops committed outputs of all lanes.
    pub fn drop_committed(&mut self, is_dropped: impl Fn(&PublishedOutput) -> bool) {
        for worker in &mut self.workers {
            worker.transport.inner.drop_committed(&is_dropped);
        }
    }

    /// How many outputs were committed in each lane.
    pub fn count_committed(&self) -> Vec<usize> {
        let workers = self.workers.iter();
        let count =
            |worker: &Worker<RebalancingTransport>| worker.transport.inner.published().len();
        workers.map(count).collect()
    }

    /// Recreates every lane: of all that zeef wrote only the patrons' topic is left.
    pub fn recreate_lanes(&mut self) {
        for worker in &mut self.workers {
            worker.transport.inner.reset_as_new_lane(PATRONS_TOPIC);
        }
        self.restart();
    }

    /// Kills the process and starts this version on the state of an older one.
    pub fn restart_on_older_state(&mut self, old: impl Fn(&mut PublishedOutput)) {
        for worker in &mut self.workers {
            worker.transport.inner.rewrite_committed(&old);
        }
        self.restart();
    }

    /// All that was sent to a topic.
    pub fn published_to(&self, topic: &str) -> Vec<PublishedOutput> {
        let workers = self.workers.iter();
        let sent = workers.flat_map(|worker| worker.transport.inner.published_to(topic));
        sent.cloned().collect()
    }

    /// Sets the most records of a batch.
    pub fn set_batch_records(&mut self, records: u64) {
        self.setup.batch_records = records;
        for worker in &mut self.workers {
            worker.bounds.records = records;
        }
    }

    /// How many values were sent to a topic, and how many nulls.
    pub fn count_sent_to(&self, topic: &str) -> (usize, usize) {
        let workers = self.workers.iter();
        let sent = workers.flat_map(|worker| worker.transport.inner.published_to(topic));
        let (values, nulls): (Vec<_>, Vec<_>) = sent.partition(|one| one.value.is_some());
        (values.len(), nulls.len())
    }

    /// Runs every lane to the end of its sources.
    pub fn run_to_end(&mut self) -> Result<(), String> {
        for place in 0..self.workers.len() {
            loop {
                match self.workers[place].run() {
                    Ok(WorkerExit::EndOfInput) => break,
                    Ok(WorkerExit::NewMonth) => self.restart_worker(place),
                    Ok(WorkerExit::Stopped) => return Err("it stopped".to_owned()),
                    Err(fault) => return Err(fault.to_string()),
                }
            }
        }
        Ok(())
    }

    /// The numbers of a source in the first lane.
    pub fn source_tally(&self, source: &str) -> SourceTally {
        let worker = self.workers.first().expect("a lane");
        let place = source_id(worker.pipeline.lane(), source).expect("a source");
        worker.totals.sources[usize::from(place.0)].clone()
    }

    /// What readers of the recipients' topics have, by recipient.
    pub fn outputs_by_recipient(&self) -> BTreeMap<String, ValuesByKey> {
        let mut all: BTreeMap<String, ValuesByKey> = BTreeMap::new();
        for worker in &self.workers {
            for (recipient, values) in recipient_topics(last_values(worker)) {
                all.entry(recipient).or_default().extend(values);
            }
        }
        all
    }

    /// Checks that the counters of each recipient and source add up.
    pub fn check_counters(&self) -> Result<(), String> {
        for worker in &self.workers {
            let lane = worker.pipeline.lane();
            for (source, tally) in lane.sources.iter().zip(&worker.totals.sources) {
                let refused: u64 = tally.refused.iter().sum();
                let name = &source.kind.name;
                if source.recipient_indices.is_empty()
                    && tally.gate_records + refused != tally.consumed
                {
                    return Err(format!("{name}: {tally:?}"));
                }
                for &place in &source.recipient_indices {
                    let of = &worker.totals.recipients[place];
                    let withheld: u64 = of.withheld.iter().sum();
                    let retracted: u64 = of.retracted.iter().sum();
                    let passed = of.released + of.unchanged + of.held;
                    let sum = passed + withheld + retracted + of.refused;
                    if sum != tally.consumed {
                        let recipient = &lane.recipients[place].name;
                        let consumed = tally.consumed;
                        return Err(format!("{recipient}: {sum} of {consumed} {name}: {of:?}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Checks that nothing was sent twice, and nothing retracted that was not there. What
    /// was forgotten may be sent again, since its hash is forgotten too.
    pub fn check_nothing_sent_twice(&self, forgets: impl Fn(&str) -> bool) -> Result<(), String> {
        for worker in &self.workers {
            let mut last: BTreeMap<(&str, &[u8]), &[u8]> = BTreeMap::new();
            for output in worker.transport.inner.published() {
                let (topic, key) = (output.topic.as_str(), output.key.as_deref());
                let (Some(name), Some(key)) = (topic.strip_prefix("out."), key) else {
                    continue;
                };
                let before = match output.value.as_deref() {
                    Some(value) => last.insert((topic, key), value),
                    None => last.remove(&(topic, key)),
                };
                if before == output.value.as_deref() && !(forgets(name) && before.is_some()) {
                    let key = String::from_utf8_lossy(key);
                    return Err(format!("{topic}: {key} is sent in vain, {before:?} before"));
                }
            }
        }
        Ok(())
    }

    /// Checks that the state agrees with what recipients have.
    pub fn check_state(&self) -> Result<(), String> {
        let topics = self.workers.iter().map(last_values);
        topics.into_iter().try_for_each(|topics| check_state(&topics, self.lanes()))
    }

    /// Counts the outputs with a text in them, retracted or not.
    pub fn count_sent_containing(&self, text: &str) -> usize {
        let holds = |output: &&PublishedOutput| {
            let value = output.value.as_deref().unwrap_or_default();
            String::from_utf8_lossy(value).contains(text)
        };
        let sent = |worker: &Worker<RebalancingTransport>| {
            let published = worker.transport.inner.published();
            published.iter().filter(holds).count()
        };
        self.workers.iter().map(sent).sum()
    }

    /// The ids that workers hold of patrons that consents of others name.
    pub fn named_patron_ids(&self) -> BTreeSet<String> {
        let tables = self.workers.iter().map(|worker| worker.pipeline.consent_table());
        tables.flat_map(ConsentTable::named_patron_ids).map(str::to_owned).collect()
    }

    /// Whether the last record of a patron was refused, as workers know.
    pub fn is_unreadable(&self, patron_id: &str, partitions: i32) -> bool {
        let tables = self.workers.iter().map(|worker| worker.pipeline.table());
        let mut statuses = tables.flat_map(|table| {
            (0..partitions).map(move |partition| table.find(partition, patron_id))
        });
        statuses.any(|status| status == Some(PatronStatus::Unreadable))
    }

    /// What workers have in memory of patrons, of what they said and of what recipients have, as
    /// text.
    pub fn patrons_in_memory(&self) -> String {
        let memories = self.workers.iter().map(|Worker { pipeline, .. }| {
            let state = pipeline.deliveries().map(DeliveryTracker::state);
            format!("{:?} {:?} {state:?}", pipeline.table(), pipeline.consent_table())
        });
        memories.collect()
    }

    /// Finds any of some texts in what is left after compaction of every topic.
    pub fn find_text(&self, texts: &[String]) -> Option<String> {
        for worker in &self.workers {
            let mut left: BTreeMap<(&str, &[u8]), &[u8]> = BTreeMap::new();
            let mut keyless = Vec::new();
            for output in worker.transport.inner.published() {
                let value = output.value.as_deref().unwrap_or_default();
                match output.key.as_deref() {
                    Some(key) => drop(left.insert((&output.topic, key), value)),
                    None => keyless.push(((output.topic.as_str(), &b""[..]), value)),
                }
            }
            for ((topic, key), value) in left.into_iter().chain(keyless) {
                let all = [String::from_utf8_lossy(key), String::from_utf8_lossy(value)].join(" ");
                if texts.iter().any(|text| all.contains(text)) {
                    return Some(format!("{topic}: {all}"));
                }
            }
        }
        None
    }
}

/// Topic, offset and reason of the dead letters, each once.
pub fn dead_letter_summaries(deployment: &InMemoryDeployment) -> BTreeSet<String> {
    let dead_letters = |worker: &Worker<RebalancingTransport>| -> BTreeSet<String> {
        let dead_letters = worker.transport.inner.published_to(DEAD_LETTERS_TOPIC);
        let reason = |dead_letter: &PublishedOutput| {
            let value = dead_letter.value.as_deref().unwrap_or_default();
            let dead_letter: serde_json::Value =
                serde_json::from_slice(value).expect("a dead letter");
            let text = |name: &str| dead_letter[name].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", text("topic"), dead_letter["offset"], text("reason"))
        };
        dead_letters.map(reason).collect()
    };
    deployment.workers.iter().flat_map(dead_letters).collect()
}

/// The last value of each key of each topic, where it is no tombstone.
fn last_values(worker: &Worker<RebalancingTransport>) -> ValuesByTopic {
    let mut last = ValuesByTopic::new();
    for output in worker.transport.inner.published() {
        if let Some(key) = output.key.as_deref() {
            let values = last.entry(output.topic.clone()).or_default();
            let key = String::from_utf8_lossy(key).into_owned();
            match output.value.clone() {
                Some(value) => values.insert(key, value),
                None => values.remove(&key),
            };
        }
    }
    last
}

/// What recipients have in their topics, by recipient and [`place_in_topic`].
pub fn recipient_topics(topics: ValuesByTopic) -> BTreeMap<String, ValuesByKey> {
    let mut by_recipient: BTreeMap<String, ValuesByKey> = BTreeMap::new();
    for (topic, values) in topics {
        if let Some(rest) = topic.strip_prefix("out.") {
            let recipient = rest.split('.').next().unwrap_or_default().to_owned();
            let named =
                values.into_iter().map(|(key, value)| (place_in_topic(&topic, &key), value));
            by_recipient.entry(recipient).or_default().extend(named);
        }
    }
    by_recipient
}

/// The key of an output; with the topic in front if that is of one party among several.
pub fn place_in_topic(topic: &str, key: &str) -> String {
    match topic.split('.').count() {
        0..=2 => key.to_owned(),
        _ => format!("{topic} {key}"),
    }
}

/// Checks that the rows of the state agree with what recipients have, and that all was
/// decided under the policy of these lanes.
pub fn check_state(topics: &ValuesByTopic, lanes: &[Arc<Lane>]) -> Result<(), String> {
    let (mut said, mut had) = (BTreeSet::new(), BTreeSet::new());
    let version = lanes.first().map(|lane| lane.policy_version.as_str());
    for (topic, values) in topics {
        if topic.starts_with(STATE_TOPIC_PREFIX) {
            let mut marks = Vec::new();
            for row in values.values() {
                marks.extend(collect_row_outputs(row, &mut said)?);
            }
            if !values.is_empty()
                && (marks.len() != 1 || marks.first().map(String::as_str) != version)
            {
                return Err(format!("{topic} was decided under {marks:?}"));
            }
        } else if topic.starts_with("out.") {
            had.extend(values.keys().map(|key| (topic.clone(), key.clone())));
        }
    }
    if said != had {
        let only = |one: &BTreeSet<(String, String)>, other: &BTreeSet<(String, String)>| {
            format!("{:?}", one.difference(other).collect::<Vec<_>>())
        };
        let (more, less) = (only(&said, &had), only(&had, &said));
        return Err(format!("the state alone has {more}, the topics alone {less}"));
    }
    Ok(())
}

/// Adds the topics and keys of the outputs in a row of the state; returns the policy
/// version if it is the row that has it.
fn collect_row_outputs(
    row: &[u8],
    has: &mut BTreeSet<(String, String)>,
) -> Result<Option<String>, String> {
    let row: serde_json::Value = serde_json::from_slice(row).map_err(|error| error.to_string())?;
    if let Some(policy) = row["policy"].as_str() {
        return Ok(Some(policy.to_owned()));
    }
    let to = row["to"].as_object().ok_or("a row without recipients")?;
    for entry in to.values().filter(|entry| entry["key"].is_string()) {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        has.insert((text("topic"), text("key")));
    }
    Ok(None)
}
