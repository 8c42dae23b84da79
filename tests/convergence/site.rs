//! Lanes of the engine over sources in memory, as one process would run them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeef::daemon::metrics::Metrics;
use zeef::daemon::worker::{BatchBounds, Ended, Worker};
use zeef::engine::holding::Holds;
use zeef::engine::lane::{DEAD_LETTERS_TOPIC, Lane, Options};
use zeef::engine::pipeline::Pipeline;
use zeef::engine::state::Namer;
use zeef::policy::Policy;
use zeef::policy::pseudonym::{Key, Pseudonymiser};
use zeef::transport::memory::{MemoryTransport, Published};
use zeef::transport::{Payload, SourceId};

use crate::common::copy_folder;
use crate::live::Live;
use crate::own;
use crate::reference::golden;

/// How recipients are spread over lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
        holds: (100_000, i64::MAX),
    };
}

fn key(name: &str, bytes: &[u8]) -> Key {
    Key::parse(&format!("{name}:{}", URL_SAFE_NO_PAD.encode(bytes))).expect("a key")
}

fn policy() -> Policy {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a folder");
    copy_folder(&root.join("config"), folder.path());
    own::write(&folder.path().join("recipients"));
    let loaded = Policy::load(folder.path());
    loaded
        .expect("a policy with the tests' own recipients")
        .policy
}

fn lanes(layout: Layout) -> Vec<Arc<Lane>> {
    static POLICY: LazyLock<Policy> = LazyLock::new(policy);
    let key = key("golden", golden::KEY);
    let names: Vec<&str> = POLICY
        .recipients
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    let lane_of = |name: &str| {
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
        let wanted = |name: &str| lane_of(name) == number;
        let name = format!("lane-{number}");
        Lane::compile(
            &name,
            &POLICY,
            |recipient| wanted(&recipient.name),
            |_| Some(Pseudonymiser::new(&key)),
            Options::default(),
        )
    };
    (0..count)
        .map(|number| Arc::new(compile(number).expect("a lane")))
        .collect()
}

fn compiled(layout: Layout) -> &'static [Arc<Lane>] {
    static ONE: LazyLock<Vec<Arc<Lane>>> = LazyLock::new(|| lanes(Layout::One));
    static TWO: LazyLock<Vec<Arc<Lane>>> = LazyLock::new(|| lanes(Layout::Two));
    static EACH: LazyLock<Vec<Arc<Lane>>> = LazyLock::new(|| lanes(Layout::Each));
    match layout {
        Layout::One => &ONE,
        Layout::Two => &TWO,
        Layout::Each => &EACH,
    }
}

/// One output topic as its reader has it in the end.
pub type Values = BTreeMap<String, Vec<u8>>;

/// All lanes, each with sources of its own that hold the same.
pub struct Site {
    setup: Setup,
    clock: Arc<AtomicI64>,
    workers: Vec<Worker<Live>>,
}

impl Site {
    pub fn new(setup: Setup, now_ms: i64) -> Self {
        let mut site = Site {
            setup,
            clock: Arc::new(AtomicI64::new(now_ms)),
            workers: Vec::new(),
        };
        let lanes = compiled(setup.layout);
        let transports = lanes.iter().map(|lane| {
            let transport = MemoryTransport::new(&lane.plan());
            let transport = transport.with_chunk(setup.chunk);
            let transport = transport.with_fail_every(setup.fail_every);
            Live::new(transport, setup.rebalance_every)
        });
        site.workers = lanes
            .iter()
            .zip(transports)
            .map(|(lane, transport)| site.worker(lane, transport))
            .collect();
        site
    }

    fn worker(&self, lane: &Arc<Lane>, transport: Live) -> Worker<Live> {
        let holds = Holds {
            records: self.setup.holds.0,
            term_ms: self.setup.holds.1,
        };
        let namer = Namer::new(&key("state", b"the-key-of-the-state-0123456789abc"));
        let pipeline = Pipeline::with_state(Arc::clone(lane), namer, holds);
        let metrics = Metrics::new("test").expect("metrics").worker(lane, 0);
        let mut worker = Worker::new(pipeline, transport, metrics);
        let clock = Arc::clone(&self.clock);
        worker.clock = Box::new(move || clock.load(Ordering::Relaxed));
        worker.bounds = BatchBounds {
            records: self.setup.batch,
            bytes: 1 << 20,
            wait: Duration::from_secs(5),
        };
        worker
    }

    pub fn set_clock(&self, now_ms: i64) {
        self.clock.store(now_ms, Ordering::Relaxed);
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

    /// Kills the process, and starts it on what it left.
    pub fn restart(&mut self) {
        let lanes = compiled(self.setup.layout);
        let workers = lanes.iter().zip(&self.workers).map(|(lane, worker)| {
            let mut transport = worker.transport.clone();
            transport.restart();
            self.worker(lane, transport)
        });
        self.workers = workers.collect();
    }

    /// Reads all there is, and looks for what time changed.
    pub fn run(&mut self) -> Result<(), String> {
        for worker in &mut self.workers {
            match worker.run() {
                Ok(Ended::AtEnd) => {}
                Ok(Ended::Stopped) => return Err("it stopped".to_owned()),
                Err(fault) => return Err(fault.to_string()),
            }
        }
        Ok(())
    }

    /// What a reader of a recipient's topic has.
    pub fn values(&self, recipient: &str) -> Values {
        let topic = format!("out.{recipient}");
        let mut all = Values::new();
        for worker in &self.workers {
            for (key, value) in worker.transport.memory.last_values(&topic) {
                all.insert(String::from_utf8_lossy(key).into_owned(), value.to_vec());
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
        for worker in &self.workers {
            let lane = worker.pipeline.lane();
            let mut said = BTreeSet::new();
            for row in worker
                .transport
                .memory
                .last_values(&state_topic(lane))
                .values()
            {
                let row: serde_json::Value =
                    serde_json::from_slice(row).map_err(|error| error.to_string())?;
                let to = row["to"].as_object().ok_or("a row without recipients")?;
                let has = |entry: &&serde_json::Value| entry["key"].is_string();
                for entry in to.values().filter(has) {
                    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
                    said.insert((text("topic"), text("key")));
                }
            }
            let mut had = BTreeSet::new();
            for recipient in &lane.recipients {
                let topic = format!("out.{}", recipient.name);
                for key in worker.transport.memory.last_values(&topic).keys() {
                    had.insert((topic.clone(), String::from_utf8_lossy(key).into_owned()));
                }
            }
            if said != had {
                let only = |one: &BTreeSet<_>, other: &BTreeSet<_>| {
                    one.difference(other)
                        .cloned()
                        .collect::<Vec<(String, String)>>()
                };
                let (more, less) = (only(&said, &had), only(&had, &said));
                return Err(format!(
                    "the state alone has {more:?}, the topics alone {less:?}"
                ));
            }
        }
        Ok(())
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

fn state_topic(lane: &Lane) -> String {
    format!("zeef.state.{}", lane.name)
}
