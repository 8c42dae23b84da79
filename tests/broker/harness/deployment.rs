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
use zeef::config::LoadedConfig;
use zeef::config::keyring::KeyRing;
use zeef::daemon::metrics::Metrics;
use zeef::daemon::run::{self, LaneSetup, LaneTransport};
use zeef::daemon::worker::{Worker, WorkerExit};
use zeef::engine::delivery::HoldBounds;
use zeef::engine::lane::DEAD_LETTERS_TOPIC;
use zeef::engine::pipeline::Pipeline;
use zeef::engine::tally::Tally;
use zeef::message::{Payload, SourceId};
use zeef::policy::Policy;
use zeef::sample::{InvalidRecord, SampleLibrary, SampleSettings, SampleSource};
use zeef::transport::memory::MemoryTransport;

use super::write::MESSAGE_BYTES_MAX;
use super::{Broker, ConsumedMessage, ProducerRecord, TestTopics, ZeefProcess, eventually};
use zeef_test_kit::config::{copy_dir, enable_all_recipients, remove_statistics_period};

const SHIPPED_CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config");
const WAIT_TIMEOUT: Duration = Duration::from_secs(300);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How the config of a scene differs from the shipped one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConfigTweaks<'a> {
    /// Lines of `[kafka]`, beside brokers, prefix and instance.
    pub(crate) kafka_lines: &'a str,
    /// Sections of zeef.toml; `[kafka]` and `[topics]` are there already.
    pub(crate) sections: &'a str,
    pub(crate) partitions: u32,
}

impl Default for ConfigTweaks<'_> {
    fn default() -> Self {
        Self { kafka_lines: "", sections: "", partitions: 4 }
    }
}

/// One deployment. The process is called `a` unless `--instance` says else.
pub(crate) struct Deployment<'a> {
    pub(crate) broker: &'a Broker,
    pub(crate) topics: TestTopics<'a>,
    config_folder: TempDir,
    loaded_config: LoadedConfig,
    hmac_keys: KeyRing,
}

/// What recipients have: per output topic and key all values, oldest first.
pub(crate) type ValuesByTopicAndKey = BTreeMap<String, BTreeMap<String, Vec<Option<String>>>>;

/// What a dead letter says, but for the time and the policy's version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeadLetterPointer {
    pub(crate) lane: String,
    pub(crate) topic: String,
    pub(crate) partition: i64,
    pub(crate) offset: i64,
    pub(crate) reason: String,
    pub(crate) recipient: Option<String>,
}

/// What has to come out of the input that lies on the broker.
#[derive(Debug)]
pub(crate) struct ExpectedResult {
    pub(crate) outputs: ValuesByTopicAndKey,
    /// Sorted.
    pub(crate) dead_letters: Vec<DeadLetterPointer>,
    /// The numbers of each lane.
    pub(crate) tallies: Vec<(LaneSetup, Tally)>,
}

impl<'a> Deployment<'a> {
    /// Writes the config, makes the keys and creates the topics.
    #[track_caller]
    pub(crate) fn new(broker: &'a Broker, test: &str, tweaks: ConfigTweaks<'_>) -> Self {
        let topics = TestTopics::new(broker, test);
        let folder = TempDir::with_prefix("zeef-scene-").unwrap();
        copy_dir(Path::new(SHIPPED_CONFIG), folder.path());
        keep_recipients(folder.path());
        enable_all_recipients(folder.path());
        remove_statistics_period(folder.path());
        let text = format!(
            "[kafka]\nbrokers = \"{}\"\ntopic_prefix = \"{}\"\ninstance = \"a\"\n{}\n\
             [topics]\npartitions = {}\n{}\n",
            broker.bootstrap_server(),
            topics.prefix(),
            tweaks.kafka_lines,
            tweaks.partitions,
            tweaks.sections
        );
        fs::write(folder.path().join("zeef.toml"), text).unwrap();
        run_command_to_success(folder.path(), &["keys", "new", "--all"]);
        apply_topics(folder.path());
        // Long before it is needed: a broker takes such a setting on in its own time.
        let size = MESSAGE_BYTES_MAX.to_string();
        topics.alter_settings(SampleSource::Loan.as_str(), &[("max.message.bytes", &size)]);
        let loaded_config = Policy::load(folder.path()).unwrap();
        let names = loaded_config.policy.recipients.iter().map(|r| r.name.as_str());
        let hmac_keys = KeyRing::load(&loaded_config.daemon.keys, names).unwrap();
        Self { broker, topics, config_folder: folder, loaded_config, hmac_keys }
    }

    /// The folder of the config.
    pub(crate) fn config_path(&self) -> &Path {
        self.config_folder.path()
    }

    /// Creates and changes topics as the files of the config say now.
    #[track_caller]
    pub(crate) fn apply_topics(&self) {
        apply_topics(self.config_path());
    }

    /// The lanes of the config, with the keys of the scene.
    pub(crate) fn lanes(&self) -> Vec<LaneSetup> {
        let transport = LaneTransport::Kafka { topic_prefix: "" };
        run::compile_lanes(&self.loaded_config, &self.hmac_keys, transport).unwrap()
    }

    /// The names of the topics that recipients read, without the prefix.
    pub(crate) fn output_topics(&self) -> Vec<String> {
        let recipients = self.loaded_config.policy.recipients.iter();
        recipients.flat_map(|recipient| recipient.topics.names().map(str::to_owned)).collect()
    }

    /// The topics of recipients that sum, count or list records: how often those outputs
    /// are corrected depends on the order in which topics are read.
    fn summing_topics(&self) -> BTreeSet<String> {
        let recipients = self.loaded_config.policy.recipients.iter();
        recipients
            .filter(|recipient| recipient.summaries().next().is_some())
            .flat_map(|recipient| recipient.topics.names().map(str::to_owned))
            .collect()
    }

    /// The sources of all lanes, gates first.
    pub(crate) fn source_topics(&self) -> Vec<String> {
        let mut sources: Vec<(bool, String)> = Vec::new();
        for lane in self.lanes() {
            for source in lane.plan.sources {
                let source = (!source.is_gate(), source.topic);
                if !sources.contains(&source) {
                    sources.push(source);
                }
            }
        }
        sources.sort();
        sources.into_iter().map(|(_, topic)| topic).collect()
    }

    /// Starts `zeef run` with the config and `args`.
    pub(crate) fn start_run(&self, args: &[&str]) -> ZeefProcess {
        let config = self.config_path().to_str().unwrap();
        ZeefProcess::spawn_run(&[&["--config", config], args].concat(), &[])
    }

    /// Starts `zeef run`, and waits until it is ready.
    #[track_caller]
    pub(crate) fn start_and_wait_ready(&self, args: &[&str]) -> ZeefProcess {
        let mut zeef = self.start_run(args);
        wait_until_ready(&mut zeef);
        zeef
    }

    /// Runs `zeef run --until-end` to its end, which has to be a good one.
    #[track_caller]
    pub(crate) fn run_to_end(&self, args: &[&str]) {
        let mut zeef = self.start_run(&[&["--until-end"], args].concat());
        assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0, "{}", zeef.stderr());
    }

    /// Writes `records` to `source`.
    #[track_caller]
    pub(crate) fn write_records(&self, source: &str, records: &[ProducerRecord]) {
        self.topics.write_records(source, records);
    }

    /// Writes all records of `source` that `library` has.
    #[track_caller]
    pub(crate) fn write_source(&self, library: &SampleLibrary, source: SampleSource) {
        self.write_records(source.as_str(), &sample_records(library, source));
    }

    /// Writes patrons, consents and objections.
    #[track_caller]
    pub(crate) fn write_gates(&self, library: &SampleLibrary) {
        for source in [SampleSource::Patron, SampleSource::Consent, SampleSource::Objection] {
            self.write_source(library, source);
        }
    }

    /// Writes all that `library` has, gates first.
    #[track_caller]
    pub(crate) fn write_library(&self, library: &SampleLibrary) {
        for source in SampleSource::ALL {
            self.write_source(library, *source);
        }
    }

    /// Writes what must not pass; some of it is larger than a topic takes by
    /// default.
    #[track_caller]
    pub(crate) fn write_invalid_records(&self, invalid_records: &[InvalidRecord]) {
        for source in SampleSource::ALL {
            let of_source = invalid_records.iter().filter(|one| one.source == source.as_str());
            let records: Vec<ProducerRecord> = of_source.map(to_record).collect();
            self.write_records(source.as_str(), &records);
        }
    }

    /// What a read_committed reader sees of the outputs.
    #[track_caller]
    pub(crate) fn read_outputs(&self) -> ValuesByTopicAndKey {
        let read = self.read_topics(self.output_topics()).into_iter();
        read.map(|(topic, rows)| {
            let rows = rows.into_iter().map(|row| (utf8_text(row.key), row.value));
            (topic, values_by_key(rows))
        })
        .collect()
    }

    /// What a read_committed reader sees of topics. They are read side by side: each reader waits
    /// more than it works.
    pub(crate) fn read_topics(
        &self,
        topics: Vec<String>,
    ) -> BTreeMap<String, Vec<ConsumedMessage>> {
        thread::scope(|scope| {
            let readers: Vec<_> = topics
                .into_iter()
                .map(|topic| scope.spawn(|| (self.topics.read_committed(&topic), topic)))
                .collect();
            let read = readers.into_iter().map(|reader| reader.join().unwrap());
            read.map(|(rows, topic)| (topic, rows)).collect()
        })
    }

    /// The dead letters that a read_committed reader sees, sorted.
    #[track_caller]
    pub(crate) fn read_dead_letters(&self) -> Vec<DeadLetterPointer> {
        let rows = self.topics.read_committed(DEAD_LETTERS_TOPIC);
        let mut letters: Vec<DeadLetterPointer> = rows
            .iter()
            .map(|row| {
                let mut letter = DeadLetterPointer::read(row.value.as_deref().unwrap());
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
    pub(crate) fn compute_expected(&self) -> ExpectedResult {
        let input = self.read_topics(self.source_topics());
        let mut expected = ExpectedResult {
            outputs: BTreeMap::new(),
            dead_letters: Vec::new(),
            tallies: Vec::new(),
        };
        for topic in self.output_topics() {
            expected.outputs.insert(topic, BTreeMap::new());
        }
        for lane in self.lanes() {
            expected.add_lane(lane, &input);
        }
        expected.dead_letters.sort();
        expected
    }

    /// Asserts that every recipient and the dead letters are as they have to
    /// be: nothing twice, nothing missing, in order per key.
    #[track_caller]
    pub(crate) fn check_results(&self) -> ExpectedResult {
        let expected = self.compute_expected();
        let found = self.read_outputs();
        let summing = self.summing_topics();
        for (topic, want) in &expected.outputs {
            if summing.contains(topic) {
                assert_same_outputs(topic, &last_values(&found[topic]), &last_values(want));
            } else {
                assert_same_outputs(topic, &found[topic], want);
            }
        }
        let letters = self.read_dead_letters();
        assert_eq!(letters.len(), expected.dead_letters.len(), "dead letters");
        assert_eq!(letters, expected.dead_letters);
        expected
    }

    /// Waits until the groups of all lanes have committed all that lies in
    /// their sources.
    #[track_caller]
    pub(crate) fn wait_all_committed(&self) {
        let groups = LaneGroups::new(self);
        let mut left = None;
        let start = Instant::now();
        while start.elapsed() < WAIT_TIMEOUT {
            left = groups.count_uncommitted();
            if left == Some(0) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("expected all input to be committed within {WAIT_TIMEOUT:?}, left {left:?}");
    }

    /// Whether no output topic has a transaction that is still open.
    #[track_caller]
    pub(crate) fn has_no_open_transaction(&self) -> bool {
        let mut topics = self.output_topics();
        topics.push(DEAD_LETTERS_TOPIC.to_owned());
        let ends = TransactionEnds::new(self.broker);
        topics.iter().all(|topic| !ends.has_open_transaction(&self.topics.full_name(topic)))
    }

    /// The name of a lane's group.
    pub(crate) fn group_id(&self, lane: &str) -> String {
        self.topics.full_name(&format!("zeef.{lane}"))
    }
}

/// As many as a test holds, for as long.
pub(crate) const HOLD_LIMITS: HoldBounds =
    HoldBounds { records_max: 100_000, wait_max_ms: 30 * 86_400_000 };

/// Waits until `zeef` is ready.
#[track_caller]
pub(crate) fn wait_until_ready(zeef: &mut ZeefProcess) {
    eventually("zeef is ready", WAIT_TIMEOUT, || {
        if let Some(code) = zeef.exit_code() {
            panic!("zeef ended with {code}: {}", zeef.stderr());
        }
        zeef.is_ready().then_some(())
    });
}

/// A library of invented people, as of today.
pub(crate) fn sample_library(seed: u64, patrons: u64) -> SampleLibrary {
    let today = jiff::Zoned::now().date();
    SampleLibrary::new(SampleSettings::new(seed, patrons, today))
}

/// The records of one source of `library`.
pub(crate) fn sample_records(library: &SampleLibrary, source: SampleSource) -> Vec<ProducerRecord> {
    let messages = library.messages_of_source(source);
    messages
        .map(|message| match (message.key, message.value) {
            (Some(key), Some(value)) => ProducerRecord::new(key, value),
            (Some(key), None) => ProducerRecord::tombstone(key),
            (None, value) => ProducerRecord::without_key(value.unwrap()),
        })
        .collect()
}

fn to_record(invalid_record: &InvalidRecord) -> ProducerRecord {
    match (&invalid_record.key, &invalid_record.value) {
        (Some(key), Some(value)) => ProducerRecord::new(key, value),
        (Some(key), None) => ProducerRecord::tombstone(key),
        (None, value) => ProducerRecord::without_key(value.as_deref().unwrap_or_default()),
    }
}

impl DeadLetterPointer {
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

impl ExpectedResult {
    /// Runs `input` through one lane.
    fn add_lane(&mut self, lane: LaneSetup, input: &BTreeMap<String, Vec<ConsumedMessage>>) {
        let mut transport = MemoryTransport::new(&lane.plan);
        let mut offsets: BTreeMap<(String, i64), Vec<i64>> = BTreeMap::new();
        for (index, source) in lane.plan.sources.iter().enumerate() {
            let id = SourceId(u16::try_from(index).unwrap());
            for row in &input[&source.topic] {
                let payload = row.value.as_deref().map_or(Payload::Null, Payload::Bytes);
                transport.push(id, row.partition, row.key.as_deref(), payload);
                let place = (source.topic.clone(), i64::from(row.partition));
                offsets.entry(place).or_default().push(row.offset);
            }
        }
        let metrics = Metrics::new(&self.outputs.len().to_string()).unwrap();
        let mut worker = Worker::new(
            Pipeline::with_state(Arc::clone(&lane.lane), lane.state_keys.clone(), HOLD_LIMITS),
            transport,
            metrics.worker_metrics(&lane.lane, 0),
        );
        assert_eq!(worker.run(), Ok(WorkerExit::EndOfInput));

        for (topic, found) in &mut self.outputs {
            let published = worker.transport.published_to(topic);
            found.extend(values_by_key(published.map(|output| {
                let key = output.key.clone();
                (utf8_text(key), output.value.clone())
            })));
        }
        for output in worker.transport.published_to(DEAD_LETTERS_TOPIC) {
            let mut letter = DeadLetterPointer::read(output.value.as_deref().unwrap());
            // In memory an offset is a place: markers take offsets on Kafka.
            let place = (letter.topic.clone(), letter.partition);
            letter.offset = offsets[&place][usize::try_from(letter.offset).unwrap()];
            self.dead_letters.push(letter);
        }
        self.tallies.push((lane, worker.totals));
    }

    /// The number of all outputs.
    pub(crate) fn count_outputs(&self) -> usize {
        let outputs = self.outputs.values().flat_map(BTreeMap::values);
        outputs.map(Vec::len).sum()
    }
}

/// The stable ends of topics, beside those that count open transactions.
pub(crate) struct TransactionEnds {
    read_committed_client: BaseConsumer,
    read_uncommitted_client: BaseConsumer,
}

impl TransactionEnds {
    pub(crate) fn new(broker: &Broker) -> Self {
        let client = |level: &str| {
            let mut config = broker.client_config();
            config.set("isolation.level", level);
            config.create().unwrap()
        };
        Self {
            read_committed_client: client("read_committed"),
            read_uncommitted_client: client("read_uncommitted"),
        }
    }

    /// Whether a transaction is open on some partition of `topic` (its full
    /// name), while nobody writes to it.
    pub(crate) fn has_open_transaction(&self, topic: &str) -> bool {
        (0..partition_count(&self.read_committed_client, topic)).any(|partition| {
            end_offset(&self.read_committed_client, topic, partition)
                < end_offset(&self.read_uncommitted_client, topic, partition)
        })
    }
}

/// The groups of a scene, and what they read.
struct LaneGroups(Vec<(BaseConsumer, Vec<String>)>);

impl LaneGroups {
    fn new(deployment: &Deployment<'_>) -> Self {
        let group = |lane: LaneSetup| {
            let mut config = deployment.broker.client_config();
            config.set("group.id", deployment.group_id(&lane.lane.name));
            let sources = lane.plan.sources.iter();
            let sources = sources.map(|source| deployment.topics.full_name(&source.topic));
            (config.create().unwrap(), sources.collect())
        };
        Self(deployment.lanes().into_iter().map(group).collect())
    }

    /// How many offsets are not committed yet; `None` while that is not known.
    fn count_uncommitted(&self) -> Option<i64> {
        let mut left = 0;
        for (client, sources) in &self.0 {
            let mut asked = TopicPartitionList::new();
            for source in sources {
                for partition in 0..partition_count(client, source) {
                    asked.add_partition(source, partition);
                }
            }
            let found = client.committed_offsets(asked, CALL_TIMEOUT).ok()?;
            for element in found.elements() {
                let Offset::Offset(committed) = element.offset() else {
                    return None;
                };
                left += end_offset(client, element.topic(), element.partition()) - committed;
            }
        }
        Some(left)
    }
}

fn partition_count(client: &BaseConsumer, topic: &str) -> i32 {
    eventually(&format!("partitions of {topic}"), WAIT_TIMEOUT, || {
        let metadata = client.fetch_metadata(Some(topic), CALL_TIMEOUT).ok()?;
        let found = metadata.topics().first()?.partitions().len();
        i32::try_from(found).ok().filter(|count| *count > 0)
    })
}

fn end_offset(client: &BaseConsumer, topic: &str, partition: i32) -> i64 {
    eventually(&format!("the end of {topic}"), WAIT_TIMEOUT, || {
        let (_, end) = client.fetch_watermarks(topic, partition, CALL_TIMEOUT).ok()?;
        Some(end)
    })
}

/// All values of each key, in the order given.
fn values_by_key(
    rows: impl Iterator<Item = (Option<String>, Option<Vec<u8>>)>,
) -> BTreeMap<String, Vec<Option<String>>> {
    let mut found: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    for (key, value) in rows {
        let values = found.entry(key.unwrap_or_default()).or_default();
        values.push(utf8_text(value));
    }
    found
}

fn utf8_text(bytes: Option<Vec<u8>>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8(bytes).unwrap())
}

/// Of every source and mechanism; a topic for each of the others would only cost the broker.
const RECIPIENTS: [&str; 13] = [
    "contest",
    "demand-report",
    "deurwaarder",
    "ido-output",
    "ido-referral",
    "ill-library",
    "ill-library-contact",
    "kb-membership",
    "kb-recognition",
    "reservation-slip",
    "self-service",
    "service-message",
    "statistics",
];

fn keep_recipients(config: &Path) {
    for entry in fs::read_dir(config.join("recipients")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if !RECIPIENTS.contains(&name) {
            fs::remove_file(&path).unwrap();
        }
    }
}

/// Of each key only its last value.
fn last_values(
    values_by_key: &BTreeMap<String, Vec<Option<String>>>,
) -> BTreeMap<String, Vec<Option<String>>> {
    let last = |values: &Vec<Option<String>>| values.last().cloned().into_iter().collect();
    values_by_key.iter().map(|(key, values)| (key.clone(), last(values))).collect()
}

/// Asserts that two recipients' worlds are the same, and shows a difference.
#[track_caller]
fn assert_same_outputs(
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

#[track_caller]
fn apply_topics(config: &Path) {
    run_command_to_success(config, &["topics", "--apply"]);
}

/// Runs `zeef` with `args` and the config, which has to end well.
#[track_caller]
fn run_command_to_success(config: &Path, args: &[&str]) {
    let config = config.to_str().unwrap();
    let mut zeef = ZeefProcess::spawn(&[args, &["--config", config]].concat(), &[]);
    let code = zeef.wait_exit(WAIT_TIMEOUT);
    assert_eq!(code, 0, "{args:?}: {}{}", zeef.stdout(), zeef.stderr());
}
