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
use zeef::daemon::topics as planned;
use zeef::engine::lane::{Lane, STATE_TOPIC};
use zeef::engine::pipeline::{BatchTime, Pipeline};
use zeef::engine::state::Namer;
use zeef::policy::Policy;
use zeef::policy::pseudonym::{KeyRing, Pseudonymiser};
use zeef::transport::kafka::{KafkaSettings, topics};
use zeef::transport::{Input, Outbox, Payload, SourceId};

use crate::broker::{self, Broker};
use crate::mirror::{self, Output};
use crate::options::Options;
use crate::source::{self, Patrons};

const POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/policy");
const RECORDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/records");
/// Partitions of the source.
pub const PARTITIONS: i32 = 2;
/// How many records the mirror's outputs are made of.
const SAMPLE: u64 = 2_000;
/// Nothing is compacted while it is measured. All workers join before partitions
/// are shared out, as on a broker with Kafka's own defaults: the first would
/// otherwise have all of them for a while, and the next ones rebuild their
/// patrons within the time that is measured.
const SETTINGS: &[&str] = &[
    "log.cleaner.enable=false",
    "group.initial.rebalance.delay.ms=1000",
    "num.network.threads=2",
    "num.io.threads=4",
];

/// What all runs share.
pub struct Scene {
    pub broker: Broker,
    pub program: String,
    pub beside: String,
    beside_properties: Vec<(String, String)>,
    pub properties: Vec<(String, String)>,
    /// The outputs that mirrors write.
    pub sample: PathBuf,
    folder: TempDir,
    bytes_in: f64,
    bytes_out: f64,
    runs: Cell<usize>,
    /// How many records lie on the source, by prefix.
    filled: RefCell<HashMap<String, u64>>,
    admin: AdminClient<DefaultClientContext>,
}

/// One run's own config, and what its topics are called.
pub struct Run {
    pub name: String,
    pub prefix: String,
    pub config: PathBuf,
    /// Topics that are written to, by their full names: those of the
    /// recipients in their order, and that of the state.
    pub outputs: Vec<String>,
}

impl Scene {
    /// Starts a broker; `None` where there can be none, which was said then.
    pub fn open(options: &Options) -> Option<Self> {
        let broker = Broker::own(broker::Options {
            settings: SETTINGS,
            ..broker::Options::default()
        })?;
        let folder = TempDir::with_prefix("zeef-bench-").expect("a folder");
        let admin = broker.client().create().expect("an admin client");
        let mut scene = Self {
            broker,
            program: options.program.clone(),
            beside: options.beside.clone(),
            beside_properties: options.beside_properties.clone(),
            properties: options.properties.clone(),
            sample: folder.path().join("sample"),
            folder,
            bytes_in: 0.0,
            bytes_out: 0.0,
            runs: Cell::new(0),
            filled: RefCell::default(),
            admin,
        };
        scene.take_sample();
        Some(scene)
    }

    /// Key and value of a record, in bytes, on average.
    pub fn bytes_in(&self) -> f64 {
        self.bytes_in
    }

    /// Keys and values of the outputs of a record, in bytes, on average.
    pub fn bytes_out(&self) -> f64 {
        self.bytes_out
    }

    /// A run that is called as none before it.
    pub fn run(&self, prefix: Option<&str>, workers: usize, beside: bool) -> Run {
        let number = self.runs.get() + 1;
        self.runs.set(number);
        let name = format!("r{number}");
        let prefix = prefix.map_or_else(|| format!("{name}."), str::to_owned);
        let config = self.folder.path().join(&name);
        let recipients = write_recipients(&config, &name);
        copy(Path::new(RECORDS), &config.join("records"));
        let outputs = recipients
            .iter()
            .map(|recipient| format!("{prefix}out.{name}.{recipient}"))
            // Where zeef notes what they have, it writes as well.
            .chain([format!("{prefix}{STATE_TOPIC}{name}")])
            .collect();
        let own = if beside {
            &self.beside_properties[..]
        } else {
            &[]
        };
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
             [topics]\npartitions = {PARTITIONS}\n",
            self.broker.bootstrap()
        );
        fs::write(config.join("zeef.toml"), text).expect("zeef.toml");
        let made = Command::new(&self.program)
            .args(["keys", "new", "--all", "--config"])
            .arg(&config)
            .output()
            .expect("zeef keys");
        assert!(made.status.success(), "{made:?}");
        Run {
            name,
            prefix,
            config,
            outputs,
        }
    }

    /// Creates what is missing of a run's topics. With `append_time` the
    /// broker notes when outputs came.
    pub fn create(&self, run: &Run, partitions: usize, append_time: bool) {
        let loaded = Policy::load(&run.config).expect("the policy of the bench");
        let settings = self.settings(&run.prefix);
        let wishes: Vec<_> = planned::plan(&loaded)
            .iter()
            .map(|planned| {
                let output = planned.name.starts_with("out.");
                let written = output || planned.name.starts_with(STATE_TOPIC);
                let partitions = i32::try_from(partitions).unwrap();
                // Commands have one order.
                let partitions = match planned.name.as_str() {
                    "zeef.commands" => 1,
                    _ if output => partitions,
                    _ => PARTITIONS,
                };
                let mut wish = planned.wish(&loaded, partitions);
                if written && append_time {
                    let (name, value) = ("message.timestamp.type", "LogAppendTime");
                    wish.configs.insert(name.to_owned(), value.to_owned());
                }
                wish
            })
            .collect();
        topics::create(&settings, &wishes).expect("topics");
    }

    pub fn delete(&self, run: &Run) {
        let names: Vec<&str> = run.outputs.iter().map(|name| &**name).collect();
        let deleted = self.admin.delete_topics(&names, &AdminOptions::new());
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime
            .expect("a runtime")
            .block_on(deleted)
            .expect("topics go");
    }

    fn settings(&self, prefix: &str) -> KafkaSettings {
        KafkaSettings {
            brokers: self.broker.bootstrap().to_owned(),
            topic_prefix: prefix.to_owned(),
            instance: "bench".to_owned(),
            ..KafkaSettings::default()
        }
    }

    /// A producer as other systems have one.
    pub fn producer(&self, linger_ms: &str) -> BaseProducer {
        self.client()
            .set("linger.ms", linger_ms)
            .set("compression.type", "lz4")
            .set("partitioner", "murmur2_random")
            .set("delivery.report.only.error", "true")
            .create()
            .expect("a producer")
    }

    pub fn client(&self) -> ClientConfig {
        self.broker.client()
    }

    /// Makes the source as long as asked.
    pub fn fill(&self, prefix: &str, records: u64) {
        let mut filled = self.filled.borrow_mut();
        let from = filled.get(prefix).copied().unwrap_or(0);
        if from >= records {
            return;
        }
        if from == 0 {
            let run = self.run(Some(prefix), 1, false);
            self.create(&run, 1, true);
            self.delete(&run);
        }
        let started = Instant::now();
        let (producer, topic) = (self.producer("50"), format!("{prefix}patron"));
        let mut patrons = Patrons::new(usize::try_from(records).unwrap_or(usize::MAX));
        for number in from..records {
            source::send(&producer, &topic, patrons.patron(number));
            if number % 1_000 == 0 {
                producer.poll(std::time::Duration::ZERO);
            }
        }
        source::finish(&producer);
        eprintln!(
            "{records} records on the source, in {:.1} s",
            started.elapsed().as_secs_f64()
        );
        filled.insert(prefix.to_owned(), records);
    }

    /// Has the engine decide some records, for mirrors to write.
    fn take_sample(&mut self) {
        let run = self.run(Some(""), 1, false);
        let loaded = Policy::load(&run.config).expect("the policy of the bench");
        let names = loaded.policy.recipients.iter().map(|one| one.name.as_str());
        let keys = KeyRing::load(&loaded.daemon.keys, names).expect("keys");
        let lane = Lane::compile(
            &run.name,
            &loaded.policy,
            |_| true,
            |recipient| keys.key(recipient).map(Pseudonymiser::new),
            zeef::daemon::run::options(&loaded.daemon),
        );
        let namer = Namer::new(keys.state().expect("a key of the state"));
        let holds = zeef::daemon::run::holds(&loaded.daemon);
        let lane = Arc::new(lane.expect("a lane"));
        let mut pipeline = Pipeline::with_state(lane, namer, holds);
        pipeline.begin(BatchTime::from_ms(0));
        let mut patrons = Patrons::new(usize::try_from(SAMPLE).unwrap());
        let mut outbox = Outbox::default();
        let mut bytes = 0;
        for number in 0..SAMPLE {
            let record = patrons.patron(number);
            bytes += record.key.len() + record.value.len();
            let input = Input {
                source: SourceId(0),
                partition: 0,
                offset: i64::try_from(number).unwrap(),
                timestamp_ms: None,
                appended: None,
                key: Some(&record.key),
                payload: Payload::Bytes(&record.value),
            };
            pipeline.decide(&input, &mut outbox);
        }
        let outputs: Vec<Output> = outbox
            .iter()
            .map(|output| {
                let part = |part: Option<&[u8]>| part.expect("an output has both").to_vec();
                (part(output.key), part(output.value))
            })
            .collect();
        assert_eq!(outputs.len() as u64, SAMPLE * run.outputs.len() as u64);
        self.bytes_in = bytes as f64 / SAMPLE as f64;
        self.bytes_out = outbox.bytes_len() as f64 / SAMPLE as f64;
        mirror::save(&self.sample, &outputs);
    }
}

/// Copies the recipients of the benches, with topics of the run's own; yields
/// their names in order.
fn write_recipients(config: &Path, run: &str) -> Vec<String> {
    let folder = config.join("recipients");
    fs::create_dir_all(&folder).expect("a folder");
    let mut names = Vec::new();
    for file in fs::read_dir(Path::new(POLICY).join("recipients")).expect("recipients") {
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

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for file in fs::read_dir(from).expect("a folder") {
        let path = file.expect("a file").path();
        fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("a copy");
    }
}
