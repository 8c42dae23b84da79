//! Loans of Koha from raw topic to canonical topic on a real Kafka: the daemon's intake in turn with
//! a mirror that decides nothing.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tempfile::TempDir;
use zeef::intake::{Intake, RawMessage};
use zeef_test_kit::config::{copy_shipped_config, enable_intake};
use zeef_test_kit::process::{CommandOutput, zeef_command};

use crate::broker::{Broker, BrokerOptions};
use crate::catalogue::{apply, message_of};
use crate::child_process::{MeasuredChild, ProcessCost};
use crate::koha::KohaLibrary;
use crate::mirror::{self, MirrorArgs, MirrorMessage};
use crate::output_span::output_span_s;
use crate::{BenchSize, MAPPING};

/// Small, so that its lookups are read in no time: they are no part of what is measured.
const LIBRARY: KohaLibrary = KohaLibrary { patrons: 20_000, titles: 5_000 };
const LOANS_TOPIC: &str = "koha.issues";
const PARTITIONS: i32 = 2;
/// How many records the mirror's outputs are made of.
const SAMPLE_RECORDS: u64 = 2_000;
/// The one recipient that is kept: it reads loans, so that the intake writes them.
const RECIPIENT: &str = "service-message";
const RUN_DEADLINE: Duration = Duration::from_secs(900);
/// Nothing is compacted meanwhile, and the broker notes when messages came.
const BROKER_SETTINGS: &[&str] = &[
    "log.cleaner.enable=false",
    "log.message.timestamp.type=LogAppendTime",
    "num.network.threads=2",
    "num.io.threads=4",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Zeef,
    Mirror,
    MirrorTransactions,
}

const WAYS: [Way; 3] = [Way::Zeef, Way::Mirror, Way::MirrorTransactions];

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Zeef => "zeef's intake, transactions",
            Way::Mirror => "mirror, no transactions",
            Way::MirrorTransactions => "mirror, transactions",
        }
    }
}

struct Measurement {
    records_per_s: f64,
    cpu_us: f64,
    peak_mb: f64,
}

/// The broker with the loans, and what mirrors write.
struct IntakeFixture {
    broker: Broker,
    folder: TempDir,
    sample: PathBuf,
    loans: u64,
}

/// Runs all ways by turns, and prints what they came to. Says so if there can be no broker.
pub(crate) fn compare(size: &BenchSize, intake: &Intake) {
    let options = BrokerOptions { broker_settings: BROKER_SETTINGS, ..BrokerOptions::default() };
    let Some(broker) = Broker::start_own(options) else {
        return;
    };
    let folder = TempDir::with_prefix("zeef-bench-").expect("a folder");
    let sample = folder.path().join("sample");
    let fixture = IntakeFixture { broker, folder, sample, loans: size.streamed_loans };
    fixture.create_raw_topics(intake);
    fixture.fill_raw_topics();
    mirror::save_sample(&fixture.sample, &sample_outputs(intake));
    let mut number = 0;
    let mut measure = |way: Way| {
        number += 1;
        fixture.measure(way, number)
    };
    // The broker's compiler needs a while to know its work.
    for way in WAYS {
        measure(way);
    }
    let mut rounds = Vec::new();
    for pair in 0..size.pairs {
        // What comes first in a pair comes last in the next one.
        let mut ways = WAYS;
        if pair % 2 == 1 {
            ways.reverse();
        }
        let mut round: Vec<(Way, Measurement)> =
            ways.into_iter().map(|way| (way, measure(way))).collect();
        round.sort_by_key(|(way, _)| *way as usize);
        rounds.push(round);
    }
    print_rounds(size, &rounds);
}

impl IntakeFixture {
    fn clients(&self) -> ClientConfig {
        self.broker.client_config()
    }

    fn create_topics(&self, names: impl Iterator<Item = String>) {
        let names: Vec<String> = names.collect();
        let topics: Vec<NewTopic<'_>> = names
            .iter()
            .map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)))
            .collect();
        let admin: AdminClient<DefaultClientContext> = self.clients().create().expect("an admin");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let created = runtime.block_on(admin.create_topics(&topics, &AdminOptions::new()));
        assert!(created.expect("an answer").iter().all(Result::is_ok), "topics are there");
    }

    fn create_raw_topics(&self, intake: &Intake) {
        let lookups = intake.lookup_topics();
        let records = intake.record_topics(|_| true);
        self.create_topics(records.union(&lookups).cloned());
    }

    fn fill_raw_topics(&self) {
        let producer: BaseProducer = self
            .clients()
            .set("linger.ms", "50")
            .set("compression.type", "lz4")
            .set("delivery.report.only.error", "true")
            .create()
            .expect("a producer");
        let send = |key: u64, (topic, value): (&str, Vec<u8>)| {
            let key = key.to_string();
            let mut record = BaseRecord::to(topic).key(&key).payload(&value);
            while let Err((_, back)) = producer.send(record) {
                record = back;
                producer.poll(Duration::from_millis(10));
            }
        };
        for (number, change) in (0..).zip(LIBRARY.lookup_rows()) {
            send(number, message_of(&change));
        }
        for number in 0..self.loans {
            send(number % LIBRARY.patrons, message_of(&LIBRARY.loan(number)));
        }
        producer.flush(RUN_DEADLINE).expect("all is written");
    }

    /// Reads all loans once, with a group and outputs of its own.
    fn measure(&self, way: Way, number: usize) -> Measurement {
        let prefix = format!("r{number}.");
        let output = format!("{prefix}loan");
        let log = self.folder.path().join(format!("{number}.log"));
        let mut command = match way {
            Way::Zeef => self.zeef_command(&prefix),
            Way::Mirror | Way::MirrorTransactions => {
                self.create_topics([output.clone()].into_iter());
                self.mirror_command(&output, way == Way::MirrorTransactions)
            }
        };
        command.stderr(File::create(&log).expect("a log")).env("RUST_LOG", "warn");
        let cost: ProcessCost = MeasuredChild::spawn(&mut command).wait(RUN_DEADLINE, || {});
        let seconds = output_span_s(&self.clients(), (&prefix, &[output]), self.loans);
        let loans = self.loans as f64;
        let measured = Measurement {
            records_per_s: loans / seconds,
            cpu_us: cost.cpu_s * 1e6 / loans,
            peak_mb: cost.peak_bytes as f64 / 1e6,
        };
        println!("{}: {:.0} loans/s", way.name(), measured.records_per_s);
        measured
    }

    /// A process whose topics begin with `prefix`, up to its end. Its lane reads what the intake
    /// wrote, once all of it is written.
    fn zeef_command(&self, prefix: &str) -> Command {
        let config = self.folder.path().join(prefix);
        write_config(&config, prefix, self.broker.bootstrap_server());
        let config = config.to_str().unwrap();
        let zeef = env!("CARGO_BIN_EXE_zeef");
        for words in [&["keys", "new", "--all"][..], &["topics", "--apply"]] {
            let words = [words, &["--config", config]].concat();
            CommandOutput::of(&mut zeef_command(zeef, &words)).check(0, &[]);
        }
        let words = ["run", "--until-end", "--admin", "none", "--config", config];
        zeef_command(zeef, &words)
    }

    fn mirror_command(&self, output: &str, transactions: bool) -> Command {
        let args = MirrorArgs {
            brokers: self.broker.bootstrap_server().to_owned(),
            source: LOANS_TOPIC.to_owned(),
            outputs: vec![output.to_owned()],
            group: format!("mirror.{output}"),
            workers: 1,
            transactions,
            headers: false,
            records: self.loans,
            sample: self.sample.display().to_string(),
            properties: Vec::new(),
        };
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.args(args.to_arguments());
        command
    }
}

/// The shipped config with one recipient and the intake.
fn write_config(config: &Path, prefix: &str, brokers: &str) {
    let shipped = copy_shipped_config();
    enable_intake(shipped.path(), MAPPING);
    fs::create_dir_all(config).unwrap();
    zeef_test_kit::config::copy_dir(shipped.path(), config);
    for entry in fs::read_dir(config.join("recipients")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_none_or(|stem| stem != RECIPIENT) {
            fs::remove_file(path).unwrap();
        }
    }
    let text = format!(
        "[kafka]\nbrokers = \"{brokers}\"\ntopic_prefix = \"{prefix}\"\ninstance = \"bench\"\n\
         [intakes]\nenabled = [\"{MAPPING}\"]\n[lanes.bench]\nrecipients = [\"{RECIPIENT}\"]\n\
         [topics]\npartitions = {PARTITIONS}\n"
    );
    fs::write(config.join("zeef.toml"), text).unwrap();
}

/// What the intake makes of some loans.
fn sample_outputs(intake: &Intake) -> Vec<MirrorMessage> {
    let mut lookups = intake.empty_lookups();
    for change in LIBRARY.lookup_rows() {
        let (topic, value) = message_of(&change);
        apply(intake, (topic, &value), &mut lookups);
    }
    let convert = |number: u64| {
        let (topic, value) = message_of(&LIBRARY.loan(number));
        let message = RawMessage { topic, value: Some(&value), schema: None };
        let conversion = intake.convert(&message, &lookups);
        let [record] = conversion.records.as_slice() else {
            panic!("expected a record, found {}", conversion.records.len());
        };
        (record.key.clone().into_bytes(), record.value.clone().expect("a loan"))
    };
    (0..SAMPLE_RECORDS).map(convert).collect()
}

fn print_rounds(size: &BenchSize, rounds: &[Vec<(Way, Measurement)>]) {
    println!("\n{} loans on Kafka, {} rounds, one worker.\n", size.streamed_loans, rounds.len());
    println!("CPU and memory are those of whole processes, zeef's with its start and its lane.\n");
    println!("| way | loans/s | CPU us/loan | peak MB | rate, share of the bare mirror's |");
    println!("|---|---:|---:|---:|---:|");
    for way in WAYS {
        let of_way =
            |round: &Vec<(Way, Measurement)>, figure: fn(&Measurement) -> f64, way: Way| {
                let found = round.iter().find(|(found, _)| *found == way);
                figure(&found.expect("each way ran").1)
            };
        let median = |figure: fn(&Measurement) -> f64| {
            median(rounds.iter().map(|round| of_way(round, figure, way)).collect())
        };
        let rate = |measured: &Measurement| measured.records_per_s;
        let ratios: Vec<f64> = rounds
            .iter()
            .map(|round| of_way(round, rate, way) / of_way(round, rate, Way::Mirror))
            .collect();
        println!(
            "| {} | {:.0} | {:.2} | {:.0} | {:.3} |",
            way.name(),
            median(rate),
            median(|measured| measured.cpu_us),
            median(|measured| measured.peak_mb),
            self::median(ratios),
        );
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let (low, high) = ((figures.len() - 1) / 2, figures.len() / 2);
    (figures[low] + figures[high]) / 2.0
}
