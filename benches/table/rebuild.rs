//! The table from a compacted topic of a real Kafka, as a worker rebuilds it,
//! against reading the same topic and dropping every record.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zeef::daemon::topics::plan;
use zeef::engine::lane::Lane;
use zeef::engine::pipeline::Pipeline;
use zeef::policy::Loaded;
use zeef::sample::{Library, Source};
use zeef::transport::kafka::publish::Publisher;
use zeef::transport::kafka::{KafkaSettings, KafkaTransport, topics};
use zeef::transport::{Input, Payload, Polled, Rebuilt, SourceId, Stop, Transport};

use crate::broker::{self, Broker};
use crate::{Wanted, process, scene};

const WAIT: Duration = Duration::from_secs(120);
/// The records are generated and sent by this many threads.
const WRITERS: u64 = 2;

pub(crate) fn run(wanted: &Wanted) {
    let patrons = wanted.patrons.unwrap_or(1_000_000);
    let own = match wanted.brokers {
        Some(_) => None,
        None => match Broker::own(broker::Options::default()) {
            Some(own) => Some(own),
            // Why it cannot be had has been said.
            None => return,
        },
    };
    let started = own.as_ref().map(Broker::bootstrap);
    let brokers = wanted.brokers.as_deref().or(started).unwrap();
    let loaded = scene::policy();
    let settings = settings(brokers, wanted);
    let patron = Source::Patron.as_str();
    let found = topics::describe(&settings, &[patron]).unwrap();
    if found[patron].is_none() {
        create_topics(&settings, &loaded, wanted.partitions);
        let started = Instant::now();
        write(&settings, &scene::library(1, patrons), &wanted.compression);
        let seconds = started.elapsed().as_secs_f64();
        eprintln!("{patrons} records written in {seconds:.0} s");
    }

    let lane = scene::lane(&loaded);
    let mut reading = Reading::open(&settings, lane, wanted.partitions);
    let mut rounds = Vec::new();
    // What is allocated once is allocated in a round that does not count.
    reading.drop_all();
    let idle = process::resident();
    for _ in 0..wanted.rounds {
        rounds.push((reading.drop_all(), reading.rebuild(idle)));
    }
    reading.transport.close(true).unwrap();
    let data = own.as_ref().and_then(Broker::data);
    let stored = data.map(|data| topic_bytes(&data, &settings.topic(patron)));
    report(patrons, wanted, &rounds, stored);
}

fn settings(brokers: &str, wanted: &Wanted) -> KafkaSettings {
    KafkaSettings {
        brokers: brokers.to_owned(),
        instance: "bench".to_owned(),
        topic_prefix: wanted.prefix.clone(),
        properties: wanted.properties.iter().cloned().collect(),
        ..KafkaSettings::default()
    }
}

/// The sources of the policy, as `zeef topics --apply` makes them.
fn create_topics(settings: &KafkaSettings, loaded: &Loaded, partitions: i32) {
    let mut wishes: Vec<_> = plan(loaded)
        .iter()
        .map(|planned| planned.wish(loaded, if planned.joined { partitions } else { 1 }))
        .collect();
    for wish in &mut wishes {
        wish.replication = Some(1);
    }
    topics::create(settings, &wishes).unwrap();
}

fn write(settings: &KafkaSettings, library: &Library, compression: &str) {
    let mut settings = settings.clone();
    settings.properties.extend([
        ("compression.type".to_owned(), compression.to_owned()),
        ("linger.ms".to_owned(), "50".to_owned()),
        ("batch.size".to_owned(), "1000000".to_owned()),
    ]);
    let patrons = library.settings().patrons;
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let settings = settings.clone();
            scope.spawn(move || {
                let topic = Source::Patron.as_str();
                let publisher = Publisher::open(settings, &BTreeSet::from([topic])).unwrap();
                for index in (writer..patrons).step_by(WRITERS as usize) {
                    for message in library.messages_of(index) {
                        let value = message.value.as_deref().map(str::as_bytes);
                        publisher
                            .send(topic, Some(message.key.as_bytes()), value)
                            .unwrap();
                    }
                }
                publisher.finish().unwrap();
            });
        }
    });
}

/// What one reading of the topic came to.
#[derive(Clone, Copy)]
struct Round {
    time: Duration,
    cpu: Duration,
    records: u64,
    bytes: u64,
    /// Memory over that of a worker without patrons, at the end and at most.
    resident: f64,
    peak: f64,
}

/// A worker's transport that has all partitions.
struct Reading {
    transport: KafkaTransport,
    lane: Arc<Lane>,
    source: SourceId,
    partitions: i32,
}

impl Reading {
    fn open(settings: &KafkaSettings, lane: Arc<Lane>, partitions: i32) -> Reading {
        let source = scene::patron_source(&lane);
        let opened = KafkaTransport::open(settings.clone(), lane.plan(), 0, Stop::default());
        let mut transport = opened.unwrap();
        let deadline = Instant::now() + WAIT;
        loop {
            match transport
                .poll(Duration::from_secs(1), &mut |_| panic!("no record yet"))
                .unwrap()
            {
                Polled::Assigned(_) => break,
                Polled::Idle => assert!(Instant::now() < deadline, "nothing was assigned"),
                other => panic!("expected an assignment, found {other:?}"),
            }
        }
        Reading {
            transport,
            lane,
            source,
            partitions,
        }
    }

    fn drop_all(&mut self) -> Round {
        self.read(&mut |_| {})
    }

    fn rebuild(&mut self, idle: f64) -> Round {
        process::reset_peak();
        let mut pipeline = Pipeline::new(Arc::clone(&self.lane));
        let mut round = self.read(&mut |input| pipeline.restore(&input));
        assert_eq!(pipeline.table().len() as u64, round.records);
        round.resident = process::resident() - idle;
        round.peak = process::peak() - idle;
        round
    }

    fn read(&mut self, take: &mut dyn FnMut(Input<'_>)) -> Round {
        let (started, cpu) = (Instant::now(), process::cpu());
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
            let rebuilt = self
                .transport
                .rebuild(self.source, partition, &mut count)
                .unwrap();
            assert_eq!(rebuilt, Rebuilt::Done);
        }
        Round {
            time: started.elapsed(),
            cpu: process::cpu().saturating_sub(cpu),
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

fn report(patrons: u64, wanted: &Wanted, rounds: &[(Round, Round)], stored: Option<f64>) {
    let (first, _) = rounds[0];
    assert_eq!(first.records, patrons);
    println!(
        "{patrons} patrons of {:.0} bytes (key and value), {} partitions, source compressed with {}",
        first.bytes as f64 / first.records as f64,
        wanted.partitions,
        wanted.compression,
    );
    if let Some(stored) = stored {
        println!(
            "{:.0} bytes of each in the broker's log",
            stored / patrons as f64
        );
    }
    println!(
        "\n| round | | s | patrons/s | MB/s | CPU us each | patrons/s of a core | MB more | MB more at most |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (number, (dropped, built)) in rounds.iter().enumerate() {
        line(number + 1, "read and dropped", dropped);
        line(number + 1, "rebuilt", built);
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

fn line(number: usize, what: &str, round: &Round) {
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
