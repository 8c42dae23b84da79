//! The broker, the topics, the config of each run, and the input.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::BaseProducer;
use tempfile::TempDir;
use zeef::config::keyring::KeyRing;
use zeef::daemon::topics as planned;
use zeef::engine::lane::{Lane, STATE_TOPIC_PREFIX};
use zeef::engine::memory::deliveries::StateKeys;
use zeef::engine::pipeline::{BatchTime, Pipeline};
use zeef::message::{Input, Outbox, Payload, SourceId};
use zeef::policy::Policy;
use zeef::policy::pseudonym::Pseudonymiser;
use zeef::transport::kafka::{KafkaSettings, topics};

use crate::broker::{self, Broker};
use crate::mirror::{self, MirrorMessage};
use crate::options::BenchOptions;
use crate::patron_source::{self, PatronGenerator};

const BENCH_POLICY_DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/policy");
const RECORD_KINDS_DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/records");
/// Partitions of the source.
pub const SOURCE_PARTITIONS: i32 = 2;
/// How many records the mirror's outputs are made of.
const SAMPLE_RECORDS: u64 = 2_000;
/// 2026-01-01: after the day on which the recipients' notices began, before any term ends.
const SAMPLE_TIME_MS: i64 = 1_767_225_600_000;
/// Nothing is compacted while it is measured. All workers join before partitions
/// are shared out, as on a broker with Kafka's own defaults: the first would
/// otherwise have all of them for a while, and the next ones rebuild their
/// patrons within the time that is measured.
const BROKER_SETTINGS: &[&str] = &[
    "log.cleaner.enable=false",
    "group.initial.rebalance.delay.ms=1000",
    "num.network.threads=2",
    "num.io.threads=4",
];

/// What all runs share.
pub struct KafkaFixture {
    pub broker: Broker,
    pub program: String,
    pub second_program: String,
    second_properties: Vec<(String, String)>,
    pub properties: Vec<(String, String)>,
    /// The outputs that mirrors write.
    pub sample_path: PathBuf,
    folder: TempDir,
    input_bytes_per_record: f64,
    output_bytes_per_record: f64,
    n_runs: Cell<usize>,
    /// How many records lie on the source, by prefix.
    records_by_prefix: RefCell<HashMap<String, u64>>,
    admin: AdminClient<DefaultClientContext>,
}

/// One run's own config, and what its topics are called.
pub struct BenchRun {
    pub name: String,
    pub prefix: String,
    pub config: PathBuf,
    /// Topics that are written to, by their full names: those of the
    /// recipients in their order, and that of the state.
    pub outputs: Vec<String>,
}

impl BenchRun {
    /// Where the child's log goes.
    pub fn log_path(&self) -> PathBuf {
        self.config.join("log")
    }
}

impl KafkaFixture {
    /// Starts a broker; `None` where there can be none, which was said then.
    pub fn start(options: &BenchOptions) -> Option<Self> {
        let broker = Broker::start_own(broker::BrokerOptions {
            is_fast: true,
            broker_settings: BROKER_SETTINGS,
            ..broker::BrokerOptions::default()
        })?;
        let folder = TempDir::with_prefix("zeef-bench-").expect("a folder");
        let admin = broker.client_config().create().expect("an admin client");
        let mut fixture = Self {
            broker,
            program: options.program.clone(),
            second_program: options.second_program.clone(),
            second_properties: options.second_properties.clone(),
            properties: options.properties.clone(),
            sample_path: folder.path().join("sample"),
            folder,
            input_bytes_per_record: 0.0,
            output_bytes_per_record: 0.0,
            n_runs: Cell::new(0),
            records_by_prefix: RefCell::default(),
            admin,
        };
        fixture.take_sample();
        Some(fixture)
    }

    /// Key and value of a record, in bytes, on average.
    pub fn input_bytes_per_record(&self) -> f64 {
        self.input_bytes_per_record
    }

    /// Keys and values of the outputs of a record, in bytes, on average.
    pub fn output_bytes_per_record(&self) -> f64 {
        self.output_bytes_per_record
    }

    /// A run that is called as none before it.
    pub fn new_run(&self, prefix: Option<&str>, workers: usize, beside: bool) -> BenchRun {
        let number = self.n_runs.get() + 1;
        self.n_runs.set(number);
        let name = format!("r{number}");
        let prefix = prefix.map_or_else(|| format!("{name}."), str::to_owned);
        let config = self.folder.path().join(&name);
        let recipients = write_recipients(&config, &name);
        copy_files(Path::new(RECORD_KINDS_DIR), &config.join("records"));
        let outputs = recipients
            .iter()
            .map(|recipient| format!("{prefix}out.{name}.{recipient}"))
            // Where zeef notes what they have, it writes as well.
            .chain([format!("{prefix}{STATE_TOPIC_PREFIX}{name}")])
            .collect();
        let own = if beside { &self.second_properties[..] } else { &[] };
        let properties: String = self
            .properties
            .iter()
            .chain(own)
            .map(|(name, value)| format!("\"{name}\" = \"{value}\"\n"))
            .collect();
        let text = format!(
            "[kafka]\nbrokers = \"{}\"\ntopic_prefix = \"{prefix}\"\ninstance = \"bench\"\n\
             [kafka.properties]\n{properties}\n\
             [lanes.{name}]\nrecipients = {recipients:?}\nworkers = {workers}\n\
             [topics]\npartitions = {SOURCE_PARTITIONS}\n",
            self.broker.bootstrap_server()
        );
        fs::write(config.join("zeef.toml"), text).expect("zeef.toml");
        let made = Command::new(&self.program)
            .args(["keys", "new", "--all", "--config"])
            .arg(&config)
            .output()
            .expect("zeef keys");
        assert!(made.status.success(), "{made:?}");
        BenchRun { name, prefix, config, outputs }
    }

    /// Creates what is missing of a run's topics. With `append_time` the
    /// broker notes when outputs came.
    pub fn create_topics(&self, run: &BenchRun, partitions: usize, append_time: bool) {
        let loaded = Policy::load(&run.config).expect("the policy of the bench");
        let settings = self.kafka_settings(&run.prefix);
        let wishes: Vec<_> = planned::plan_topics(&loaded)
            .iter()
            .map(|planned| {
                let output = planned.name.starts_with("out.");
                let written = output || planned.name.starts_with(STATE_TOPIC_PREFIX);
                let partitions = i32::try_from(partitions).unwrap();
                // Commands have one order.
                let partitions = match planned.name.as_str() {
                    "zeef.commands" => 1,
                    _ if output => partitions,
                    _ => SOURCE_PARTITIONS,
                };
                let mut wish = planned.to_create(&loaded, partitions);
                if written && append_time {
                    let (name, value) = ("message.timestamp.type", "LogAppendTime");
                    wish.configs.insert(name.to_owned(), value.to_owned());
                }
                wish
            })
            .collect();
        topics::create_topics(&settings, &wishes).expect("topics");
    }

    pub fn delete_topics(&self, run: &BenchRun) {
        let names: Vec<&str> = run.outputs.iter().map(|name| &**name).collect();
        let deleted = self.admin.delete_topics(&names, &AdminOptions::new());
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(deleted).expect("topics go");
    }

    fn kafka_settings(&self, prefix: &str) -> KafkaSettings {
        KafkaSettings {
            brokers: self.broker.bootstrap_server().to_owned(),
            topic_prefix: prefix.to_owned(),
            instance: "bench".to_owned(),
            ..KafkaSettings::default()
        }
    }

    /// A producer as other systems have one.
    pub fn source_producer(&self, linger_ms: &str) -> BaseProducer {
        self.client_config()
            .set("linger.ms", linger_ms)
            .set("compression.type", "lz4")
            .set("partitioner", "murmur2_random")
            .set("delivery.report.only.error", "true")
            .create()
            .expect("a producer")
    }

    pub fn client_config(&self) -> ClientConfig {
        self.broker.client_config()
    }

    /// Makes the source as long as asked.
    pub fn fill_source(&self, prefix: &str, records: u64) {
        let mut filled = self.records_by_prefix.borrow_mut();
        let from = filled.get(prefix).copied().unwrap_or(0);
        if from >= records {
            return;
        }
        if from == 0 {
            let run = self.new_run(Some(prefix), 1, false);
            self.create_topics(&run, 1, true);
            self.delete_topics(&run);
        }
        let started = Instant::now();
        let (producer, topic) = (self.source_producer("50"), format!("{prefix}patron"));
        let mut patrons = PatronGenerator::new(usize::try_from(records).unwrap_or(usize::MAX));
        for number in from..records {
            patron_source::send_record(&producer, &topic, patrons.patron(number));
            if number % 1_000 == 0 {
                producer.poll(std::time::Duration::ZERO);
            }
        }
        patron_source::flush(&producer);
        eprintln!("{records} records on the source, in {:.1} s", started.elapsed().as_secs_f64());
        filled.insert(prefix.to_owned(), records);
    }

    /// Has the engine decide some records, for mirrors to write.
    fn take_sample(&mut self) {
        let run = self.new_run(Some(""), 1, false);
        let loaded = Policy::load(&run.config).expect("the policy of the bench");
        let names = loaded.policy.recipients.iter().map(|one| one.name.as_str());
        let keys = KeyRing::load(&loaded.daemon.keys, names).expect("keys");
        let lane = Lane::compile(
            &run.name,
            &loaded.policy,
            |_| true,
            |recipient| keys.key(recipient).map(Pseudonymiser::new),
            loaded.daemon.limits.lane,
        );
        let namer = StateKeys::new(keys.state_key().expect("a key of the state"));
        let holds = loaded.daemon.holds;
        let lane = Arc::new(lane.expect("a lane"));
        let mut pipeline = Pipeline::with_state(lane, namer, holds);
        pipeline.begin_batch(BatchTime::from_ms(SAMPLE_TIME_MS));
        let mut patrons = PatronGenerator::new(usize::try_from(SAMPLE_RECORDS).unwrap());
        let mut outbox = Outbox::default();
        let mut bytes = 0;
        for number in 0..SAMPLE_RECORDS {
            let record = patrons.patron(number);
            bytes += record.key.len() + record.value.len();
            let input = Input {
                source: SourceId(0),
                partition: 0,
                offset: i64::try_from(number).unwrap(),
                timestamp_ms: None,
                append_time: None,
                trace_parent: None,
                key: Some(&record.key),
                payload: Payload::Bytes(&record.value),
            };
            pipeline.decide(&input, &mut outbox);
        }
        let outputs: Vec<MirrorMessage> = outbox
            .iter()
            .map(|output| {
                let part = |part: Option<&[u8]>| part.expect("an output has both").to_vec();
                (part(output.key), part(output.value))
            })
            .collect();
        assert_eq!(outputs.len() as u64, SAMPLE_RECORDS * run.outputs.len() as u64);
        self.input_bytes_per_record = bytes as f64 / SAMPLE_RECORDS as f64;
        self.output_bytes_per_record = outbox.byte_len() as f64 / SAMPLE_RECORDS as f64;
        mirror::save_sample(&self.sample_path, &outputs);
    }
}

/// Copies the recipients of the benches, with topics of the run's own; yields
/// their names in order.
fn write_recipients(config: &Path, run: &str) -> Vec<String> {
    let folder = config.join("recipients");
    fs::create_dir_all(&folder).expect("a folder");
    let mut names = Vec::new();
    for file in fs::read_dir(Path::new(BENCH_POLICY_DIR).join("recipients")).expect("recipients") {
        let path = file.expect("a file").path();
        let text = fs::read_to_string(&path).expect("a recipient");
        let text = text.replace("\"out.", &format!("\"out.{run}."));
        let name = path.file_stem().and_then(|stem| stem.to_str());
        names.push(name.expect("a name").to_owned());
        fs::write(folder.join(path.file_name().expect("a name")), text).expect("a recipient");
    }
    names.sort();
    names
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for file in fs::read_dir(from).expect("a folder") {
        let path = file.expect("a file").path();
        fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("a copy");
    }
}
