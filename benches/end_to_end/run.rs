//! One run over the whole source, and what it took.
//!
//! How long it took is what the broker noted: from the first output's arrival
//! to that of the last one. Starting, joining and leaving are not in it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use crate::child::{self, Cost, Guarded};
use crate::options::MirrorOrder;
use crate::scene::{Run, Scene};

/// How many topics are written to: those of the policy of the benches, and the
/// state's.
pub const OUTPUTS: usize = 5;
const DEADLINE: Duration = Duration::from_secs(900);
/// How many partitions of a topic are looked at for its first and last output.
const LOOKED_AT: i32 = 4;
/// How often the metrics of a run are asked for.
const ASK: Duration = Duration::from_millis(250);

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Zeef,
    Mirror,
    MirrorTransactions,
    /// A second build of zeef, or one with other properties.
    Beside,
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Way::Zeef => "zeef, transactions",
            Way::Mirror => "mirror, no transactions",
            Way::MirrorTransactions => "mirror, transactions",
            Way::Beside => "zeef, beside",
        }
    }

    pub fn is_zeef(self) -> bool {
        matches!(self, Way::Zeef | Way::Beside)
    }

    pub fn named(name: &str) -> Option<Self> {
        match name {
            "zeef" => Some(Way::Zeef),
            "mirror" => Some(Way::Mirror),
            "mirror-tx" => Some(Way::MirrorTransactions),
            "beside" => Some(Way::Beside),
            _ => None,
        }
    }
}

/// What one run came to.
#[derive(Clone, Debug)]
pub struct Measured {
    pub records: u64,
    pub seconds: f64,
    pub cost: Cost,
    /// Processor time of the broker meanwhile, in seconds.
    pub broker_s: f64,
    /// Transactions, and how long their ends took together; of zeef.
    pub transactions: Option<(f64, f64)>,
}

impl Measured {
    pub fn rate(&self) -> f64 {
        self.records as f64 / self.seconds
    }

    /// Processor time of a record, in microseconds.
    pub fn cpu_us(&self) -> f64 {
        self.cost.cpu_s * 1e6 / self.records as f64
    }

    /// The same of the broker.
    pub fn broker_us(&self) -> f64 {
        self.broker_s * 1e6 / self.records as f64
    }

    pub fn peak_mib(&self) -> f64 {
        self.cost.peak_bytes as f64 / f64::from(1 << 20)
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} records/s, {:.2} us of processor per record ({:.2} us of the broker's), peak \
             {:.0} MiB",
            self.rate(),
            self.cpu_us(),
            self.broker_us(),
            self.peak_mib()
        )?;
        match self.transactions {
            Some((count, s)) => write!(f, ", {count} transactions that took {s:.2} s to end"),
            None => Ok(()),
        }
    }
}

/// Runs `way` over the source to its end.
pub fn throughput(
    scene: &Scene,
    way: Way,
    workers: usize,
    records: u64,
    partitions: usize,
) -> Measured {
    let run = scene.run(Some(""), workers, way == Way::Beside);
    scene.create(&run, partitions, true);
    let address = free_address();
    let mut command = command(scene, way, &run, workers, records);
    if way.is_zeef() {
        command.args(["--until-end", "--admin", &address.to_string()]);
    }
    let broker = scene.broker.process().map_or(0.0, child::cpu_s);
    let mut transactions = None;
    let mut asked = Instant::now();
    let cost = Guarded::spawn(&mut command).wait(DEADLINE, || {
        if way.is_zeef() && asked.elapsed() >= ASK {
            transactions = ended_transactions(address).or(transactions);
            asked = Instant::now();
        }
    });
    let broker_s = scene.broker.process().map_or(0.0, child::cpu_s) - broker;
    let seconds = span(scene, &run, records);
    scene.delete(&run);
    Measured {
        records,
        seconds,
        cost,
        broker_s,
        transactions,
    }
}

/// The child that does the work.
pub fn command(scene: &Scene, way: Way, run: &Run, workers: usize, records: u64) -> Command {
    let mut command = if way.is_zeef() {
        let mut command = Command::new(match way {
            Way::Beside => &scene.beside,
            _ => &scene.program,
        });
        command.args(["run", "--config"]).arg(&run.config);
        command
    } else {
        let order = MirrorOrder {
            brokers: scene.broker.bootstrap().to_owned(),
            source: format!("{}patron", run.prefix),
            outputs: run.outputs.clone(),
            group: format!("mirror.{}", run.name),
            workers,
            transactions: way == Way::MirrorTransactions,
            records,
            sample: scene.sample.display().to_string(),
            properties: scene.properties.clone(),
        };
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.args(order.arguments());
        command
    };
    let log = File::create(run.config.join("log")).expect("a log");
    command.stderr(log).env_remove("ZEEF_BROKERS");
    command
}

/// From the first output to the last one, in seconds.
fn span(scene: &Scene, run: &Run, records: u64) -> f64 {
    let consumer: BaseConsumer = scene
        .client()
        .set("group.id", &run.name)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_uncommitted")
        .set("fetch.message.max.bytes", "16384")
        .create()
        .expect("a consumer");
    let (mut firsts, mut lasts) = (TopicPartitionList::new(), TopicPartitionList::new());
    for topic in &run.outputs {
        let found = consumer
            .fetch_metadata(Some(topic), DEADLINE)
            .expect("metadata");
        let partitions = i32::try_from(found.topics()[0].partitions().len()).unwrap();
        let mut messages = 0;
        for partition in 0..partitions {
            let (low, high) = consumer
                .fetch_watermarks(topic, partition, DEADLINE)
                .expect("watermarks");
            messages += high - low;
            if partition < LOOKED_AT && high > low {
                let (first, last) = (Offset::Offset(low), Offset::Offset((high - 20).max(low)));
                firsts
                    .add_partition_offset(topic, partition, first)
                    .unwrap();
                lasts.add_partition_offset(topic, partition, last).unwrap();
            }
        }
        // Each commit adds a marker to every partition that it touched.
        assert!(
            messages >= i64::try_from(records).unwrap(),
            "{topic} lacks outputs"
        );
    }
    let first = times(&consumer, &firsts, false).into_iter().min();
    let last = times(&consumer, &lasts, true).into_iter().max();
    let span = last.expect("outputs") - first.expect("outputs");
    (span.max(1)) as f64 / 1_000.0
}

/// The times of one record of each partition, or of all that come.
fn times(consumer: &BaseConsumer, list: &TopicPartitionList, all: bool) -> Vec<i64> {
    consumer.assign(list).expect("assigns");
    let mut open: BTreeMap<(String, i32), ()> = list
        .elements()
        .iter()
        .map(|one| ((one.topic().to_owned(), one.partition()), ()))
        .collect();
    let mut left = open.len();
    let mut times = Vec::new();
    let start = Instant::now();
    while left > 0 {
        assert!(start.elapsed() < DEADLINE, "outputs can be read");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let place = (message.topic().to_owned(), message.partition());
                if all || open.remove(&place).is_some() {
                    times.extend(message.timestamp().to_millis());
                    left -= usize::from(!all);
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => left -= usize::from(all),
            _ => {}
        }
    }
    consumer.unassign().expect("unassigns");
    times
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

/// How many transactions zeef ended so far, and how long that took together.
fn ended_transactions(address: SocketAddr) -> Option<(f64, f64)> {
    let mut stream = TcpStream::connect_timeout(&address, ASK).ok()?;
    stream.set_read_timeout(Some(ASK)).ok()?;
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let value = |name: &str| -> Option<f64> {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse().ok()
    };
    Some((
        value("zeef_transaction_duration_seconds_count")?,
        value("zeef_transaction_duration_seconds_sum")?,
    ))
}
