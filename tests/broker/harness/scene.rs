//! A whole deployment of one test: a config of its own, its topics, the
//! program on them, and what has to come out.
//!
//! What has to come out is what the library makes of the same input in memory.
//! The input is read back from the broker, so that it is what was stored, in
//! the order and at the offsets at which it was stored. Patrons, consents and
//! objections must lie there before records that refer to them are written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use tempfile::TempDir;
use zeef::daemon::metrics::Metrics;
use zeef::daemon::run::{self, LaneRun};
use zeef::daemon::worker::{Ended, Worker};
use zeef::engine::holding::Holds;
use zeef::engine::lane::DEAD_LETTERS_TOPIC;
use zeef::engine::pipeline::Pipeline;
use zeef::engine::tally::Tally;
use zeef::policy::pseudonym::KeyRing;
use zeef::policy::{Loaded, Policy};
use zeef::sample::{Library, Poison, Settings, Source};
use zeef::transport::memory::MemoryTransport;
use zeef::transport::{Payload, SourceId};

use super::write::LARGE_BYTES;
use super::{Broker, Record, Row, Topics, Zeef, eventually};
use crate::common::{copy_folder, publish_at_once, switch_on};

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config");
const WAIT: Duration = Duration::from_secs(300);
const CALL: Duration = Duration::from_secs(5);

/// How the config of a scene differs from the shipped one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tweaks<'a> {
    /// Lines of `[kafka]`, beside brokers, prefix and instance.
    pub(crate) kafka: &'a str,
    /// Sections of zeef.toml; `[kafka]` and `[topics]` are there already.
    pub(crate) sections: &'a str,
    pub(crate) partitions: u32,
}

impl Default for Tweaks<'_> {
    fn default() -> Self {
        Self {
            kafka: "",
            sections: "",
            partitions: 4,
        }
    }
}

/// One deployment. The process is called `a` unless `--instance` says else.
pub(crate) struct Scene<'a> {
    pub(crate) broker: &'a Broker,
    pub(crate) topics: Topics<'a>,
    folder: TempDir,
    loaded: Loaded,
    keys: KeyRing,
}

/// What recipients have: per output topic and key all values, oldest first.
pub(crate) type Outputs = BTreeMap<String, BTreeMap<String, Vec<Option<String>>>>;

/// What a dead letter says, but for the time and the policy's version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Letter {
    pub(crate) lane: String,
    pub(crate) topic: String,
    pub(crate) partition: i64,
    pub(crate) offset: i64,
    pub(crate) reason: String,
    pub(crate) recipient: Option<String>,
}

/// What has to come out of the input that lies on the broker.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) outputs: Outputs,
    /// Sorted.
    pub(crate) letters: Vec<Letter>,
    /// The numbers of each lane.
    pub(crate) tallies: Vec<(LaneRun, Tally)>,
}

impl<'a> Scene<'a> {
    /// Writes the config, makes the keys and creates the topics.
    #[track_caller]
    pub(crate) fn new(broker: &'a Broker, test: &str, tweaks: Tweaks<'_>) -> Self {
        let topics = Topics::new(broker, test);
        let folder = TempDir::with_prefix("zeef-scene-").unwrap();
        copy_folder(Path::new(SHIPPED), folder.path());
        switch_on(folder.path());
        publish_at_once(folder.path());
        let text = format!(
            "[kafka]\nbrokers = \"{}\"\ntopic_prefix = \"{}\"\ninstance = \"a\"\n{}\n\
             [topics]\npartitions = {}\n{}\n",
            broker.bootstrap(),
            topics.prefix(),
            tweaks.kafka,
            tweaks.partitions,
            tweaks.sections
        );
        fs::write(folder.path().join("zeef.toml"), text).unwrap();
        succeed(folder.path(), &["keys", "new", "--all"]);
        succeed(folder.path(), &["topics", "--apply"]);
        // Long before it is needed: a broker takes such a setting on in its own time.
        let size = LARGE_BYTES.to_string();
        topics.alter(Source::Loan.as_str(), &[("max.message.bytes", &size)]);
        let loaded = Policy::load(folder.path()).unwrap();
        let names = loaded.policy.recipients.iter().map(|r| r.name.as_str());
        let keys = KeyRing::load(&loaded.daemon.keys, names).unwrap();
        Self {
            broker,
            topics,
            folder,
            loaded,
            keys,
        }
    }

    /// The folder of the config.
    pub(crate) fn config(&self) -> &Path {
        self.folder.path()
    }

    /// The lanes of the config, with the keys of the scene.
    pub(crate) fn lanes(&self) -> Vec<LaneRun> {
        run::lanes(&self.loaded, &self.keys, "").unwrap()
    }

    /// The names of the topics that recipients read, without the prefix.
    pub(crate) fn output_topics(&self) -> Vec<String> {
        let recipients = self.loaded.policy.recipients.iter();
        recipients
            .flat_map(|recipient| recipient.topics.names().map(str::to_owned))
            .collect()
    }

    /// The sources of all lanes, gates first.
    pub(crate) fn sources(&self) -> Vec<String> {
        let mut sources: Vec<(bool, String)> = Vec::new();
        for lane in self.lanes() {
            for source in lane.plan.sources {
                let source = (!source.gate, source.topic);
                if !sources.contains(&source) {
                    sources.push(source);
                }
            }
        }
        sources.sort();
        sources.into_iter().map(|(_, topic)| topic).collect()
    }

    /// Starts `zeef run` with the config and `args`.
    pub(crate) fn run(&self, args: &[&str]) -> Zeef {
        let config = self.config().to_str().unwrap();
        Zeef::run(&[&["--config", config], args].concat(), &[])
    }

    /// Starts `zeef run`, and waits until it is ready.
    #[track_caller]
    pub(crate) fn ready(&self, args: &[&str]) -> Zeef {
        let mut zeef = self.run(args);
        until_ready(&mut zeef);
        zeef
    }

    /// Runs `zeef run --until-end` to its end, which has to be a good one.
    #[track_caller]
    pub(crate) fn run_to_end(&self, args: &[&str]) {
        let mut zeef = self.run(&[&["--until-end"], args].concat());
        assert_eq!(zeef.wait_exit(WAIT), 0, "{}", zeef.stderr());
    }

    /// Writes `records` to `source`.
    #[track_caller]
    pub(crate) fn write(&self, source: &str, records: &[Record]) {
        self.topics.write(source, records);
    }

    /// Writes all records of `source` that `library` has.
    #[track_caller]
    pub(crate) fn write_source(&self, library: &Library, source: Source) {
        self.write(source.as_str(), &records(library, source));
    }

    /// Writes patrons, consents and objections.
    #[track_caller]
    pub(crate) fn write_gates(&self, library: &Library) {
        for source in [Source::Patron, Source::Consent, Source::Objection] {
            self.write_source(library, source);
        }
    }

    /// Writes all that `library` has, gates first.
    #[track_caller]
    pub(crate) fn write_library(&self, library: &Library) {
        for source in Source::ALL {
            self.write_source(library, *source);
        }
    }

    /// Writes what must not pass; some of it is larger than a topic takes by
    /// default.
    #[track_caller]
    pub(crate) fn write_poison(&self, poison: &[Poison]) {
        for source in Source::ALL {
            let of_source = poison.iter().filter(|one| one.source == source.as_str());
            let records: Vec<Record> = of_source.map(poison_record).collect();
            self.write(source.as_str(), &records);
        }
    }

    /// What a read_committed reader sees of the outputs.
    #[track_caller]
    pub(crate) fn found(&self) -> Outputs {
        let read = self.read(self.output_topics()).into_iter();
        read.map(|(topic, rows)| {
            let rows = rows.into_iter().map(|row| (text(row.key), row.value));
            (topic, per_key(rows))
        })
        .collect()
    }

    /// Reads topics side by side: each reader waits more than it works.
    fn read(&self, topics: Vec<String>) -> BTreeMap<String, Vec<Row>> {
        thread::scope(|scope| {
            let readers: Vec<_> = topics
                .into_iter()
                .map(|topic| scope.spawn(|| (self.topics.committed(&topic), topic)))
                .collect();
            let read = readers.into_iter().map(|reader| reader.join().unwrap());
            read.map(|(rows, topic)| (topic, rows)).collect()
        })
    }

    /// The dead letters that a read_committed reader sees, sorted.
    #[track_caller]
    pub(crate) fn letters(&self) -> Vec<Letter> {
        let rows = self.topics.committed(DEAD_LETTERS_TOPIC);
        let mut letters: Vec<Letter> = rows
            .iter()
            .map(|row| {
                let mut letter = Letter::read(row.value.as_deref().unwrap());
                // A worker inside the test knows of no prefix.
                if let Some(name) = letter.topic.strip_prefix(self.topics.prefix()) {
                    letter.topic = name.to_owned();
                }
                letter
            })
            .collect();
        letters.sort();
        letters
    }

    /// Runs all that lies in the sources through the library in memory.
    #[track_caller]
    pub(crate) fn expect(&self) -> Expected {
        let input = self.read(self.sources());
        let mut expected = Expected {
            outputs: BTreeMap::new(),
            letters: Vec::new(),
            tallies: Vec::new(),
        };
        for topic in self.output_topics() {
            expected.outputs.insert(topic, BTreeMap::new());
        }
        for lane in self.lanes() {
            expected.add(lane, &input);
        }
        expected.letters.sort();
        expected
    }

    /// Asserts that every recipient and the dead letters are as they have to
    /// be: nothing twice, nothing missing, in order per key.
    #[track_caller]
    pub(crate) fn check(&self) -> Expected {
        let expected = self.expect();
        let found = self.found();
        for (topic, want) in &expected.outputs {
            assert_same(topic, &found[topic], want);
        }
        let letters = self.letters();
        assert_eq!(letters.len(), expected.letters.len(), "dead letters");
        assert_eq!(letters, expected.letters);
        expected
    }

    /// Waits until the groups of all lanes have committed all that lies in
    /// their sources.
    #[track_caller]
    pub(crate) fn wait_done(&self) {
        let groups = Groups::new(self);
        let mut left = None;
        let start = Instant::now();
        while start.elapsed() < WAIT {
            left = groups.left();
            if left == Some(0) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("expected all input to be committed within {WAIT:?}, left {left:?}");
    }

    /// Whether no output topic has a transaction that is still open.
    #[track_caller]
    pub(crate) fn no_open_transaction(&self) -> bool {
        let mut topics = self.output_topics();
        topics.push(DEAD_LETTERS_TOPIC.to_owned());
        let ends = Ends::new(self.broker);
        topics
            .iter()
            .all(|topic| !ends.is_open(&self.topics.name(topic)))
    }

    /// The name of a lane's group.
    pub(crate) fn group(&self, lane: &str) -> String {
        self.topics.name(&format!("zeef.{lane}"))
    }
}

/// As many as a test holds, for as long.
pub(crate) const HOLDS: Holds = Holds {
    records: 100_000,
    term_ms: 30 * 86_400_000,
};

/// Waits until `zeef` is ready.
#[track_caller]
pub(crate) fn until_ready(zeef: &mut Zeef) {
    eventually("zeef is ready", WAIT, || {
        if let Some(code) = zeef.exited() {
            panic!("zeef ended with {code}: {}", zeef.stderr());
        }
        zeef.ready().then_some(())
    });
}

/// A library of invented people, as of today.
pub(crate) fn library(seed: u64, patrons: u64) -> Library {
    let today = jiff::Zoned::now().date();
    Library::new(Settings::new(seed, patrons, today))
}

/// The records of one source of `library`.
pub(crate) fn records(library: &Library, source: Source) -> Vec<Record> {
    let messages = library.source(source);
    messages
        .map(|message| match message.value {
            Some(value) => Record::new(message.key, value),
            None => Record::tombstone(message.key),
        })
        .collect()
}

fn poison_record(poison: &Poison) -> Record {
    match (&poison.key, &poison.value) {
        (Some(key), Some(value)) => Record::new(key, value),
        (Some(key), None) => Record::tombstone(key),
        (None, value) => Record::keyless(value.as_deref().unwrap_or_default()),
    }
}

impl Letter {
    /// Reads a dead letter.
    #[track_caller]
    pub(crate) fn read(value: &[u8]) -> Self {
        let json: Value = serde_json::from_slice(value).unwrap();
        let word = |name: &str| json[name].as_str().map(str::to_owned);
        Self {
            lane: word("lane").unwrap(),
            topic: word("topic").unwrap(),
            partition: json["partition"].as_i64().unwrap(),
            offset: json["offset"].as_i64().unwrap(),
            reason: word("reason").unwrap(),
            recipient: word("recipient"),
        }
    }
}

impl Expected {
    /// Runs `input` through one lane.
    fn add(&mut self, lane: LaneRun, input: &BTreeMap<String, Vec<Row>>) {
        let mut world = MemoryTransport::new(&lane.plan);
        let mut offsets: BTreeMap<(String, i64), Vec<i64>> = BTreeMap::new();
        for (index, source) in lane.plan.sources.iter().enumerate() {
            let id = SourceId(u16::try_from(index).unwrap());
            for row in &input[&source.topic] {
                let payload = row.value.as_deref().map_or(Payload::Null, Payload::Bytes);
                world.push(id, row.partition, row.key.as_deref(), payload);
                let place = (source.topic.clone(), i64::from(row.partition));
                offsets.entry(place).or_default().push(row.offset);
            }
        }
        let metrics = Metrics::new(&self.outputs.len().to_string()).unwrap();
        let mut worker = Worker::new(
            Pipeline::with_state(Arc::clone(&lane.lane), lane.namer.clone(), HOLDS),
            world,
            metrics.worker(&lane.lane, 0),
        );
        assert_eq!(worker.run(), Ok(Ended::AtEnd));

        for (topic, found) in &mut self.outputs {
            let published = worker.transport.published_to(topic);
            found.extend(per_key(published.map(|output| {
                let key = output.key.clone();
                (text(key), output.value.clone())
            })));
        }
        for output in worker.transport.published_to(DEAD_LETTERS_TOPIC) {
            let mut letter = Letter::read(output.value.as_deref().unwrap());
            // In memory an offset is a place: markers take offsets on Kafka.
            let place = (letter.topic.clone(), letter.partition);
            letter.offset = offsets[&place][usize::try_from(letter.offset).unwrap()];
            self.letters.push(letter);
        }
        self.tallies.push((lane, worker.totals));
    }

    /// The number of all outputs.
    pub(crate) fn released(&self) -> usize {
        let outputs = self.outputs.values().flat_map(BTreeMap::values);
        outputs.map(Vec::len).sum()
    }
}

/// The stable ends of topics, beside those that count open transactions.
pub(crate) struct Ends {
    stable: BaseConsumer,
    high: BaseConsumer,
}

impl Ends {
    pub(crate) fn new(broker: &Broker) -> Self {
        let client = |level: &str| {
            let mut config = broker.client();
            config.set("isolation.level", level);
            config.create().unwrap()
        };
        Self {
            stable: client("read_committed"),
            high: client("read_uncommitted"),
        }
    }

    /// Whether a transaction is open on some partition of `topic` (its full
    /// name), while nobody writes to it.
    pub(crate) fn is_open(&self, topic: &str) -> bool {
        (0..partitions(&self.stable, topic)).any(|partition| {
            end(&self.stable, topic, partition) < end(&self.high, topic, partition)
        })
    }
}

/// The groups of a scene, and what they read.
struct Groups(Vec<(BaseConsumer, Vec<String>)>);

impl Groups {
    fn new(scene: &Scene<'_>) -> Self {
        let group = |lane: LaneRun| {
            let mut config = scene.broker.client();
            config.set("group.id", scene.group(&lane.lane.name));
            let sources = lane.plan.sources.iter();
            let sources = sources.map(|source| scene.topics.name(&source.topic));
            (config.create().unwrap(), sources.collect())
        };
        Self(scene.lanes().into_iter().map(group).collect())
    }

    /// How many offsets are not committed yet; `None` while that is not known.
    fn left(&self) -> Option<i64> {
        let mut left = 0;
        for (client, sources) in &self.0 {
            let mut asked = TopicPartitionList::new();
            for source in sources {
                for partition in 0..partitions(client, source) {
                    asked.add_partition(source, partition);
                }
            }
            let found = client.committed_offsets(asked, CALL).ok()?;
            for element in found.elements() {
                let Offset::Offset(committed) = element.offset() else {
                    return None;
                };
                left += end(client, element.topic(), element.partition()) - committed;
            }
        }
        Some(left)
    }
}

fn partitions(client: &BaseConsumer, topic: &str) -> i32 {
    eventually(&format!("partitions of {topic}"), WAIT, || {
        let metadata = client.fetch_metadata(Some(topic), CALL).ok()?;
        let found = metadata.topics().first()?.partitions().len();
        i32::try_from(found).ok().filter(|count| *count > 0)
    })
}

fn end(client: &BaseConsumer, topic: &str, partition: i32) -> i64 {
    eventually(&format!("the end of {topic}"), WAIT, || {
        let (_, end) = client.fetch_watermarks(topic, partition, CALL).ok()?;
        Some(end)
    })
}

/// All values of each key, in the order given.
fn per_key(
    rows: impl Iterator<Item = (Option<String>, Option<Vec<u8>>)>,
) -> BTreeMap<String, Vec<Option<String>>> {
    let mut found: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    for (key, value) in rows {
        let values = found.entry(key.unwrap_or_default()).or_default();
        values.push(text(value));
    }
    found
}

fn text(bytes: Option<Vec<u8>>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8(bytes).unwrap())
}

/// Asserts that two recipients' worlds are the same, and shows a difference.
#[track_caller]
fn assert_same(
    topic: &str,
    found: &BTreeMap<String, Vec<Option<String>>>,
    want: &BTreeMap<String, Vec<Option<String>>>,
) {
    let keys: BTreeSet<&String> = found.keys().chain(want.keys()).collect();
    let different: Vec<String> = keys
        .into_iter()
        .filter(|key| found.get(*key) != want.get(*key))
        .map(|key| {
            let (found, want) = (found.get(key), want.get(key));
            format!("{key}: expected {want:?}, found {found:?}")
        })
        .collect();
    assert!(
        different.is_empty(),
        "{topic}: {} keys differ, such as {}",
        different.len(),
        different[..different.len().min(3)].join("\n")
    );
}

/// Runs `zeef` with `args` and the config, which has to end well.
#[track_caller]
fn succeed(config: &Path, args: &[&str]) {
    let config = config.to_str().unwrap();
    let mut zeef = Zeef::start(&[args, &["--config", config]].concat(), &[]);
    let code = zeef.wait_exit(WAIT);
    assert_eq!(code, 0, "{args:?}: {}{}", zeef.stdout(), zeef.stderr());
}
