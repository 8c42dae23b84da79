//! Lanes of the engine over sources in memory, as one process would run them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeef::daemon::metrics::Metrics;
use zeef::daemon::worker::{BatchBounds, Ended, Worker};
use zeef::engine::holding::Holds;
use zeef::engine::lane::{DEAD_LETTERS_TOPIC, Lane, Options, PATRONS_TOPIC, STATE_TOPIC};
use zeef::engine::pipeline::Pipeline;
use zeef::engine::state::Namer;
use zeef::engine::tally::SourceTally;
use zeef::policy::Policy;
use zeef::policy::pseudonym::{Key, Pseudonymiser};
use zeef::transport::commands::Commands;
use zeef::transport::memory::{MemoryTransport, Published};
use zeef::transport::{Payload, SourceId, Transport};

use crate::common::{copy_folder, switch_on};
use crate::live::Live;
use crate::own;
use crate::reference::golden;

/// How recipients are spread over lanes.
#[derive(Clone, Copy, Debug)]
pub enum Layout {
    One,
    Two,
    Each,
}

/// How the process is set up; nothing of it may show in what recipients have.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub layout: Layout,
    pub partitions: i32,
    /// A batch has at most so many records, a poll hands out so many.
    pub batch: u64,
    pub chunk: usize,
    pub fail_every: Option<u32>,
    pub rebalance_every: Option<u32>,
    /// At which reading of single records, or of all again, they are first revoked.
    pub interrupt_at: Option<u32>,
    /// How many records may wait for patrons in a partition, and for how long.
    pub holds: (usize, i64),
}

impl Setup {
    pub const PLAIN: Setup = Setup {
        layout: Layout::One,
        partitions: 1,
        batch: 20_000,
        chunk: usize::MAX,
        fail_every: None,
        rebalance_every: None,
        interrupt_at: None,
        holds: (100_000, i64::MAX),
    };
}

fn key(name: &str, bytes: &[u8]) -> Key {
    Key::parse(&format!("{name}:{}", URL_SAFE_NO_PAD.encode(bytes))).expect("a key")
}

fn policy(changed: bool) -> Policy {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a folder");
    copy_folder(&root.join("config"), folder.path());
    switch_on(folder.path());
    own::write(&folder.path().join("recipients"), changed);
    if !changed {
        let former = "\n[former.visitor]\ntopics = [\"out.visitor\"]\nwhat = \"retract\"\n";
        let path = folder.path().join("zeef.toml");
        let text = std::fs::read_to_string(&path).expect("zeef.toml");
        std::fs::write(&path, text + former).expect("write zeef.toml");
    }
    let loaded = Policy::load(folder.path());
    let loaded = loaded.expect("a policy with the tests' own recipients");
    loaded.policy
}

fn lanes(layout: Layout, changed: bool) -> Vec<Arc<Lane>> {
    let policy = policy(changed);
    let key = key("golden", golden::KEY);
    let names: Vec<&str> = policy
        .recipients
        .iter()
        .map(|one| one.name.as_str())
        .filter(|name| *name != "visitor")
        .collect();
    let lane_of = |name: &str| {
        // Who comes and goes moves nobody to another lane.
        let name = if name == "visitor" {
            "service-message"
        } else {
            name
        };
        let place = names.iter().position(|other| *other == name).unwrap_or(0);
        match layout {
            Layout::One => 0,
            Layout::Two => place % 2,
            Layout::Each => place,
        }
    };
    let count = match layout {
        Layout::One => 1,
        Layout::Two => 2,
        Layout::Each => names.len(),
    };
    let compile = |number: usize| {
        Lane::compile(
            &format!("lane-{number}"),
            &policy,
            |recipient| lane_of(&recipient.name) == number,
            |_| Some(Pseudonymiser::new(&key)),
            Options::default(),
        )
    };
    (0..count)
        .map(|number| Arc::new(compile(number).expect("a lane")))
        .collect()
}

pub fn compiled(layout: Layout, changed: bool) -> &'static [Arc<Lane>] {
    static COMPILED: [OnceLock<Vec<Arc<Lane>>>; 6] = [const { OnceLock::new() }; 6];
    let place = layout as usize * 2 + usize::from(changed);
    COMPILED[place].get_or_init(|| lanes(layout, changed))
}

pub fn namer() -> Namer {
    Namer::new(&key("state", b"the-key-of-the-state-0123456789abc"))
}

/// A worker that tells the time by `clock`.
pub fn worker<T: Transport>(
    lane: &Arc<Lane>,
    transport: T,
    setup: Setup,
    clock: &Arc<AtomicI64>,
) -> Worker<T> {
    let holds = Holds {
        records: setup.holds.0,
        term_ms: setup.holds.1,
    };
    let namer = namer();
    let pipeline = Pipeline::with_state(Arc::clone(lane), namer, holds);
    let metrics = Metrics::new("test").expect("metrics").worker(lane, 0);
    let mut worker = Worker::new(pipeline, transport, metrics);
    let clock = Arc::clone(clock);
    worker.clock = Box::new(move || clock.load(Ordering::Relaxed));
    worker.bounds = BatchBounds {
        records: setup.batch,
        bytes: 1 << 20,
        wait: Duration::from_secs(5),
    };
    worker
}

/// One topic as its reader has it in the end.
pub type Values = BTreeMap<String, Vec<u8>>;

/// Every topic.
pub type Topics = BTreeMap<String, Values>;

/// All lanes, each with sources of its own that hold the same.
pub struct Site {
    setup: Setup,
    /// Whether the policy is the changed one, from the next start on.
    pub changed: bool,
    clock: Arc<AtomicI64>,
    accepted: Vec<String>,
    /// What operators asked for, from the next start on.
    pub commands: Commands,
    workers: Vec<Worker<Live>>,
}

impl Site {
    pub fn new(setup: Setup, now_ms: i64) -> Self {
        let mut site = Site {
            setup,
            changed: false,
            clock: Arc::new(AtomicI64::new(now_ms)),
            accepted: Vec::new(),
            commands: Commands::default(),
            workers: Vec::new(),
        };
        let lanes = compiled(setup.layout, false);
        let transports = lanes.iter().map(|lane| {
            let transport = MemoryTransport::new(&lane.plan());
            let partitions = usize::try_from(setup.partitions).expect("a few");
            let transport = transport.with_partitions(partitions);
            let transport = transport.with_chunk(setup.chunk);
            let transport = transport.with_fail_every(setup.fail_every);
            let mut live = Live::new(transport, setup.rebalance_every);
            live.interrupt_at = setup.interrupt_at;
            live
        });
        site.workers = lanes
            .iter()
            .zip(transports)
            .map(|(lane, transport)| site.worker(lane, transport))
            .collect();
        site
    }

    fn worker(&self, lane: &Arc<Lane>, transport: Live) -> Worker<Live> {
        let mut worker = worker(lane, transport, self.setup, &self.clock);
        if let Some(holding) = worker.pipeline.holding_mut() {
            holding.continuity.commands = Arc::new(self.commands.clone());
        }
        let codes = self.accepted.clone();
        worker.accepted = Arc::new(move |code| codes.iter().any(|one| one == code));
        worker
    }

    pub fn set_clock(&self, now_ms: i64) {
        self.clock.store(now_ms, Ordering::Relaxed);
    }

    /// Has what is pushed next come to its source at this time.
    pub fn set_time(&mut self, came_ms: i64) {
        for worker in &mut self.workers {
            worker.transport.memory.set_time(came_ms);
        }
    }

    pub fn push(&mut self, source: &str, partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) {
        for worker in &mut self.workers {
            let Some(source) = source_of(worker.pipeline.lane(), source) else {
                continue;
            };
            let payload = value.map_or(Payload::Null, Payload::Bytes);
            worker
                .transport
                .memory
                .push(source, partition, key, payload);
        }
    }

    /// Does something with a source of each lane that has it.
    pub fn each(&mut self, source: &str, act: impl Fn(&mut MemoryTransport, SourceId)) {
        for worker in &mut self.workers {
            if let Some(source) = source_of(worker.pipeline.lane(), source) {
                act(&mut worker.transport.memory, source);
            }
        }
    }

    fn lanes(&self) -> &'static [Arc<Lane>] {
        compiled(self.setup.layout, self.changed)
    }

    /// Kills the process, and starts it on what it left.
    pub fn restart(&mut self) {
        for place in 0..self.workers.len() {
            self.restart_worker(place);
        }
    }

    fn restart_worker(&mut self, place: usize) {
        let lane = &self.lanes()[place];
        let mut transport = self.workers[place].transport.clone();
        transport.restart();
        transport.memory.follow(&lane.plan());
        self.workers[place] = self.worker(lane, transport);
    }

    /// Findings of these codes are accepted, and no others, from the next start on.
    pub fn accept(&mut self, codes: &[String]) {
        self.accepted = codes.to_vec();
    }

    /// How many outputs were committed in each lane.
    pub fn committed(&self) -> Vec<usize> {
        let workers = self.workers.iter();
        let count = |worker: &Worker<Live>| worker.transport.memory.published().len();
        workers.map(count).collect()
    }

    /// Makes every lane anew: what is left of all that zeef wrote is what it keeps of
    /// patrons.
    pub fn begin_anew(&mut self) {
        for worker in &mut self.workers {
            worker.transport.memory.begin_anew(PATRONS_TOPIC);
        }
        self.restart();
    }

    /// Kills the process, and starts this version on what an older one left.
    pub fn upgrade(&mut self, old: impl Fn(&mut Published)) {
        for worker in &mut self.workers {
            worker.transport.memory.rewrite(&old);
        }
        self.restart();
    }

    /// All that was sent to a topic.
    pub fn published_to(&self, topic: &str) -> Vec<Published> {
        let workers = self.workers.iter();
        let sent = workers.flat_map(|worker| worker.transport.memory.published_to(topic));
        sent.cloned().collect()
    }

    /// How many records a batch may have from now on.
    pub fn chunk(&mut self, records: u64) {
        self.setup.batch = records;
        for worker in &mut self.workers {
            worker.bounds.records = records;
        }
    }

    /// How many values were sent to a topic, and how many nulls.
    pub fn sent_to(&self, topic: &str) -> (usize, usize) {
        let workers = self.workers.iter();
        let sent = workers.flat_map(|worker| worker.transport.memory.published_to(topic));
        let (values, nulls): (Vec<_>, Vec<_>) = sent.partition(|one| one.value.is_some());
        (values.len(), nulls.len())
    }

    /// Reads all there is, and looks for what time changed.
    pub fn run(&mut self) -> Result<(), String> {
        for place in 0..self.workers.len() {
            loop {
                match self.workers[place].run() {
                    Ok(Ended::AtEnd) => break,
                    Ok(Ended::NewMonth) => self.restart_worker(place),
                    Ok(Ended::Stopped) => return Err("it stopped".to_owned()),
                    Err(fault) => return Err(fault.to_string()),
                }
            }
        }
        Ok(())
    }

    /// The numbers of a source in the first lane.
    pub fn tally(&self, source: &str) -> SourceTally {
        let worker = self.workers.first().expect("a lane");
        let place = source_of(worker.pipeline.lane(), source).expect("a source");
        worker.totals.sources[usize::from(place.0)].clone()
    }

    /// What readers of the recipients' topics have, by recipient.
    pub fn values(&self) -> BTreeMap<String, Values> {
        let mut all: BTreeMap<String, Values> = BTreeMap::new();
        for worker in &self.workers {
            for (recipient, values) in by_recipient(last_values(worker)) {
                all.entry(recipient).or_default().extend(values);
            }
        }
        all
    }

    /// Whether the numbers of each recipient and source add up.
    pub fn check_numbers(&self) -> Result<(), String> {
        for worker in &self.workers {
            let lane = worker.pipeline.lane();
            for (source, tally) in lane.sources.iter().zip(&worker.totals.sources) {
                let refused: u64 = tally.refused.iter().sum();
                let name = &source.kind.name;
                if source.recipients.is_empty() && tally.applied + refused != tally.consumed {
                    return Err(format!("{name}: {tally:?}"));
                }
                for &place in &source.recipients {
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

    /// Whether nothing was sent twice, and nothing taken back that was not there.
    /// What was forgotten may be sent again, as its hash is forgotten too.
    pub fn check_silence(&self, forgets: impl Fn(&str) -> bool) -> Result<(), String> {
        for worker in &self.workers {
            let mut last: BTreeMap<(&str, &[u8]), &[u8]> = BTreeMap::new();
            for output in worker.transport.memory.published() {
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

    /// Whether the state says that recipients have what they have.
    pub fn check_state(&self) -> Result<(), String> {
        let topics = self.workers.iter().map(last_values);
        topics
            .into_iter()
            .try_for_each(|topics| check_state(&topics, self.lanes()))
    }

    /// How often a text was sent to anybody, whatever became of it.
    pub fn sent(&self, text: &str) -> usize {
        let holds = |output: &&Published| {
            let value = output.value.as_deref().unwrap_or_default();
            String::from_utf8_lossy(value).contains(text)
        };
        let sent = |worker: &Worker<Live>| {
            let published = worker.transport.memory.published();
            published.iter().filter(holds).count()
        };
        self.workers.iter().map(sent).sum()
    }

    /// Looks for any of some texts in all that is left when every topic was compacted.
    pub fn search(&self, texts: &[String]) -> Option<String> {
        for worker in &self.workers {
            let mut left: BTreeMap<(&str, &[u8]), &[u8]> = BTreeMap::new();
            let mut keyless = Vec::new();
            for output in worker.transport.memory.published() {
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

/// What dead letters say of which message, once where they name recipients.
pub fn dead_letters(site: &Site) -> BTreeSet<String> {
    let letters = |worker: &Worker<Live>| -> BTreeSet<String> {
        let letters = worker.transport.memory.published_to(DEAD_LETTERS_TOPIC);
        let reason = |letter: &Published| {
            let value = letter.value.as_deref().unwrap_or_default();
            let letter: serde_json::Value = serde_json::from_slice(value).expect("a dead letter");
            let text = |name: &str| letter[name].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", text("topic"), letter["offset"], text("reason"))
        };
        letters.map(reason).collect()
    };
    site.workers.iter().flat_map(letters).collect()
}

fn source_of(lane: &Lane, name: &str) -> Option<SourceId> {
    let mut sources = lane.sources.iter();
    let place = sources.position(|source| source.kind.name == name)?;
    Some(SourceId(u16::try_from(place).expect("few sources")))
}

/// The last value of each key of each topic, where it is no tombstone.
fn last_values(worker: &Worker<Live>) -> Topics {
    let mut last = Topics::new();
    for output in worker.transport.memory.published() {
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

/// Leaves the topics of recipients, by their names.
pub fn by_recipient(topics: Topics) -> impl Iterator<Item = (String, Values)> {
    topics.into_iter().filter_map(|(topic, values)| {
        let recipient = topic.strip_prefix("out.")?;
        Some((recipient.to_owned(), values))
    })
}

/// Whether rows of the state say that recipients have what they have, and that all
/// was decided under the policy of these lanes.
pub fn check_state(topics: &Topics, lanes: &[Arc<Lane>]) -> Result<(), String> {
    let (mut said, mut had) = (BTreeSet::new(), BTreeSet::new());
    let version = lanes.first().map(|lane| lane.policy_version.as_str());
    for (topic, values) in topics {
        if topic.starts_with(STATE_TOPIC) {
            let mut marks = Vec::new();
            for row in values.values() {
                marks.extend(has_by_row(row, &mut said)?);
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
        return Err(format!(
            "the state alone has {more}, the topics alone {less}"
        ));
    }
    Ok(())
}

/// Adds the topics and keys of what recipients have, as a row of the state says;
/// or gives the policy under which all was decided, where the row says that.
fn has_by_row(row: &[u8], has: &mut BTreeSet<(String, String)>) -> Result<Option<String>, String> {
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
