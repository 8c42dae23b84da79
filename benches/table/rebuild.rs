//! The table from a compacted topic of a real Kafka, as a worker rebuilds it,
//! against reading the same topic and dropping every record.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zeef::config::LoadedConfig;
use zeef::daemon::topics::plan_topics;
use zeef::engine::lane::Lane;
use zeef::engine::pipeline::Pipeline;
use zeef::message::{Input, Payload, SourceId};
use zeef::sample::{SampleLibrary, SampleSource};
use zeef::transport::kafka::publish::Publisher;
use zeef::transport::kafka::{KafkaSettings, KafkaTransport, topics};
use zeef::transport::{PollOutcome, ReadOutcome, StopSignal, Transport};

use crate::broker::{self, Broker};
use crate::{TableBenchOptions, kafka_fixture, process};

const ASSIGNMENT_TIMEOUT: Duration = Duration::from_secs(120);
/// The records are generated and sent by this many threads.
const WRITER_THREADS: u64 = 2;

pub(crate) fn run(options: &TableBenchOptions) {
    let patrons = options.patrons.unwrap_or(1_000_000);
    let own = match options.brokers {
        Some(_) => None,
        None => match Broker::start_own(broker::BrokerOptions {
            is_fast: true,
            ..broker::BrokerOptions::default()
        }) {
            Some(own) => Some(own),
            // Why it cannot be had has been said.
            None => return,
        },
    };
    let started = own.as_ref().map(Broker::bootstrap_server);
    let brokers = options.brokers.as_deref().or(started).unwrap();
    let loaded = kafka_fixture::load_shipped_policy();
    let settings = kafka_settings(brokers, options);
    let patron = SampleSource::Patron.as_str();
    let found = topics::describe_topics(&settings, &[patron]).unwrap();
    if found[patron].is_none() {
        create_topics(&settings, &loaded, options.partitions);
        let started = Instant::now();
        write_source(&settings, &kafka_fixture::patron_library(1, patrons), &options.compression);
        let seconds = started.elapsed().as_secs_f64();
        eprintln!("{patrons} records written in {seconds:.0} s");
    }

    let lane = kafka_fixture::compile_lane(&loaded);
    let mut reading = AssignedTransport::open(&settings, lane, options.partitions);
    let mut rounds = Vec::new();
    // What is allocated once is allocated in a round that does not count.
    reading.read_and_drop();
    let idle = process::resident_bytes();
    for _ in 0..options.rounds {
        rounds.push((reading.read_and_drop(), reading.rebuild_table(idle)));
    }
    reading.transport.close(true).unwrap();
    let data = own.as_ref().and_then(Broker::data_folder);
    let stored = data.map(|data| topic_bytes(&data, &settings.topic_name(patron)));
    print_report(patrons, options, &rounds, stored);
}

fn kafka_settings(brokers: &str, options: &TableBenchOptions) -> KafkaSettings {
    KafkaSettings {
        brokers: brokers.to_owned(),
        instance: "bench".to_owned(),
        topic_prefix: options.prefix.clone(),
        properties: options.properties.iter().cloned().collect(),
        ..KafkaSettings::default()
    }
}

/// The sources of the policy, as `zeef topics --apply` makes them.
fn create_topics(settings: &KafkaSettings, loaded: &LoadedConfig, partitions: i32) {
    let mut wishes: Vec<_> = plan_topics(loaded)
        .iter()
        .map(|planned| planned.to_create(loaded, if planned.is_joined { partitions } else { 1 }))
        .collect();
    for wish in &mut wishes {
        wish.replication_factor = Some(1);
    }
    topics::create_topics(settings, &wishes).unwrap();
}

fn write_source(settings: &KafkaSettings, library: &SampleLibrary, compression: &str) {
    let mut settings = settings.clone();
    settings.properties.extend([
        ("compression.type".to_owned(), compression.to_owned()),
        ("linger.ms".to_owned(), "50".to_owned()),
        ("batch.size".to_owned(), "1000000".to_owned()),
    ]);
    let patrons = library.settings().patrons;
    std::thread::scope(|scope| {
        for writer in 0..WRITER_THREADS {
            let settings = settings.clone();
            scope.spawn(move || {
                let topic = SampleSource::Patron.as_str();
                let publisher = Publisher::open(settings, &BTreeSet::from([topic])).unwrap();
                for index in (writer..patrons).step_by(WRITER_THREADS as usize) {
                    for message in library.messages_of_patron(index) {
                        let value = message.value.as_deref().map(str::as_bytes);
                        let key = message.key.as_deref().map(str::as_bytes);
                        publisher.send(topic, key, value).unwrap();
                    }
                }
                publisher.flush().unwrap();
            });
        }
    });
}

/// What one reading of the topic came to.
#[derive(Clone, Copy)]
struct ReadMeasurement {
    time: Duration,
    cpu: Duration,
    records: u64,
    bytes: u64,
    /// Memory over that of a worker without patrons, at the end and at most.
    resident: f64,
    peak: f64,
}

/// A worker's transport that has all partitions.
struct AssignedTransport {
    transport: KafkaTransport,
    lane: Arc<Lane>,
    source: SourceId,
    partitions: i32,
}

impl AssignedTransport {
    fn open(settings: &KafkaSettings, lane: Arc<Lane>, partitions: i32) -> AssignedTransport {
        let source = kafka_fixture::source_id(&lane, "patron");
        let opened =
            KafkaTransport::open(settings.clone(), lane.transport_plan(), 0, StopSignal::default());
        let mut transport = opened.unwrap();
        let deadline = Instant::now() + ASSIGNMENT_TIMEOUT;
        loop {
            match transport.poll(Duration::from_secs(1), &mut |_| panic!("no record yet")).unwrap()
            {
                PollOutcome::Assigned(_) => break,
                PollOutcome::Idle => assert!(Instant::now() < deadline, "nothing was assigned"),
                other => panic!("expected an assignment, found {other:?}"),
            }
        }
        AssignedTransport { transport, lane, source, partitions }
    }

    fn read_and_drop(&mut self) -> ReadMeasurement {
        self.read_all_partitions(&mut |_| {})
    }

    fn rebuild_table(&mut self, idle: f64) -> ReadMeasurement {
        process::reset_peak_resident();
        let mut pipeline = Pipeline::new(Arc::clone(&self.lane));
        let mut round = self.read_all_partitions(&mut |input| pipeline.restore_gate_record(&input));
        assert_eq!(pipeline.table().len() as u64, round.records);
        round.resident = process::resident_bytes() - idle;
        round.peak = process::peak_resident_bytes() - idle;
        round
    }

    fn read_all_partitions(&mut self, take: &mut dyn FnMut(Input<'_>)) -> ReadMeasurement {
        let (started, cpu) = (Instant::now(), process::cpu_time());
        let (mut records, mut bytes) = (0, 0);
        for partition in 0..self.partitions {
            let mut count = |input: Input<'_>| {
                records += 1;
                bytes += input.key.map_or(0, <[u8]>::len) as u64;
                if let Payload::Bytes(value) = input.payload {
                    bytes += value.len() as u64;
                }
                take(input);
            };
            let rebuilt = self.transport.rebuild(self.source, partition, &mut count).unwrap();
            assert_eq!(rebuilt, ReadOutcome::Done);
        }
        ReadMeasurement {
            time: started.elapsed(),
            cpu: process::cpu_time().saturating_sub(cpu),
            records,
            bytes,
            resident: 0.0,
            peak: 0.0,
        }
    }
}

/// The bytes of a topic's log.
fn topic_bytes(data: &Path, topic: &str) -> f64 {
    let mut sum = 0;
    for partition in fs::read_dir(data).unwrap().flatten() {
        let name = partition.file_name().to_string_lossy().into_owned();
        if name.rsplit_once('-').is_none_or(|(of, _)| of != topic) {
            continue;
        }
        for file in fs::read_dir(partition.path()).unwrap().flatten() {
            let path = file.path();
            if path.extension().is_some_and(|ending| ending == "log") {
                sum += file.metadata().unwrap().len();
            }
        }
    }
    sum as f64
}

fn print_report(
    patrons: u64,
    options: &TableBenchOptions,
    rounds: &[(ReadMeasurement, ReadMeasurement)],
    stored: Option<f64>,
) {
    let (first, _) = rounds[0];
    assert_eq!(first.records, patrons);
    println!(
        "{patrons} patrons of {:.0} bytes (key and value), {} partitions, source compressed with {}",
        first.bytes as f64 / first.records as f64,
        options.partitions,
        options.compression,
    );
    if let Some(stored) = stored {
        println!("{:.0} bytes of each in the broker's log", stored / patrons as f64);
    }
    println!(
        "\n| round | | s | patrons/s | MB/s | CPU us each | patrons/s of a core | MB more | MB more at most |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (number, (dropped, built)) in rounds.iter().enumerate() {
        print_row(number + 1, "read and dropped", dropped);
        print_row(number + 1, "rebuilt", built);
    }
    let mut ratios: Vec<f64> = rounds
        .iter()
        .map(|(dropped, built)| dropped.time.as_secs_f64() / built.time.as_secs_f64())
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!(
        "\nThe rebuild runs at {:.2} of the speed of reading and dropping (median of {}).",
        ratios[ratios.len() / 2],
        ratios.len()
    );
}

fn print_row(number: usize, what: &str, round: &ReadMeasurement) {
    let (seconds, records) = (round.time.as_secs_f64(), round.records as f64);
    let cpu_us = round.cpu.as_secs_f64() * 1e6 / records;
    println!(
        "| {number} | {what} | {seconds:.2} | {:.0} | {:.0} | {cpu_us:.2} | {:.0} | {:.0} | {:.0} |",
        records / seconds,
        round.bytes as f64 / seconds / 1e6,
        1e6 / cpu_us,
        round.resident / 1e6,
        round.peak / 1e6,
    );
}
