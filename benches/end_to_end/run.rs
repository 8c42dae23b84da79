//! One run over the whole source, and what it took.
//!
//! How long it took is what the broker noted: from the first output's arrival
//! to that of the last one. Starting, joining and leaving are not in it.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use zeef_test_kit::process::{ANY_ADMIN_ADDRESS, admin_address_in};

use crate::child_process::{self, MeasuredChild, ProcessCost};
use crate::kafka_fixture::{BenchRun, KafkaFixture};
use crate::mirror::MirrorArgs;
use crate::output_span::output_span_s;

/// How many topics are written to: those of the policy of the benches, and the
/// state's.
pub const OUTPUT_TOPICS: usize = 5;
const DEADLINE: Duration = Duration::from_secs(900);
/// How often the metrics of a run are asked for.
const METRICS_INTERVAL: Duration = Duration::from_millis(250);

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Competitor {
    Zeef,
    Mirror,
    MirrorTransactions,
    /// A second build of zeef, or one with other properties.
    SecondBuild,
}

impl Competitor {
    pub fn name(self) -> &'static str {
        match self {
            Competitor::Zeef => "zeef, transactions",
            Competitor::Mirror => "mirror, no transactions",
            Competitor::MirrorTransactions => "mirror, transactions",
            Competitor::SecondBuild => "zeef, beside",
        }
    }

    pub fn is_zeef(self) -> bool {
        matches!(self, Competitor::Zeef | Competitor::SecondBuild)
    }

    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "zeef" => Some(Competitor::Zeef),
            "mirror" => Some(Competitor::Mirror),
            "mirror-tx" => Some(Competitor::MirrorTransactions),
            "beside" => Some(Competitor::SecondBuild),
            _ => None,
        }
    }
}

/// What one run came to.
#[derive(Clone, Debug)]
pub struct RunMeasurement {
    pub records: u64,
    pub seconds: f64,
    pub process_cost: ProcessCost,
    /// Processor time of the broker meanwhile, in seconds.
    pub broker_cpu_s: f64,
    /// Transactions, and how long their ends took together; of zeef.
    pub ended_transactions: Option<(f64, f64)>,
}

impl RunMeasurement {
    pub fn records_per_s(&self) -> f64 {
        self.records as f64 / self.seconds
    }

    /// Processor time of a record, in microseconds.
    pub fn cpu_us(&self) -> f64 {
        self.process_cost.cpu_s * 1e6 / self.records as f64
    }

    /// The same of the broker.
    pub fn broker_cpu_us(&self) -> f64 {
        self.broker_cpu_s * 1e6 / self.records as f64
    }

    pub fn peak_mib(&self) -> f64 {
        self.process_cost.peak_bytes as f64 / f64::from(1 << 20)
    }
}

impl fmt::Display for RunMeasurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} records/s, {:.2} us of processor per record ({:.2} us of the broker's), peak \
             {:.0} MiB",
            self.records_per_s(),
            self.cpu_us(),
            self.broker_cpu_us(),
            self.peak_mib()
        )?;
        match self.ended_transactions {
            Some((count, s)) => write!(f, ", {count} transactions that took {s:.2} s to end"),
            None => Ok(()),
        }
    }
}

/// Runs `way` over the source to its end.
pub fn measure_throughput(
    fixture: &KafkaFixture,
    competitor: Competitor,
    workers: usize,
    records: u64,
    partitions: usize,
) -> RunMeasurement {
    let run = fixture.new_run(Some(""), workers, competitor == Competitor::SecondBuild);
    fixture.create_topics(&run, partitions, true);
    let mut command = child_command(fixture, competitor, &run, workers, records);
    if competitor.is_zeef() {
        command.args(["--until-end", "--admin", ANY_ADMIN_ADDRESS]);
    }
    let broker = fixture.broker.process_id().map_or(0.0, child_process::cpu_s);
    let mut transactions = None;
    let mut asked = Instant::now();
    let cost = MeasuredChild::spawn(&mut command).wait(DEADLINE, || {
        if competitor.is_zeef() && asked.elapsed() >= METRICS_INTERVAL {
            let log = fs::read_to_string(run.log_path()).unwrap_or_default();
            let found = admin_address_in(&log).and_then(fetch_ended_transactions);
            transactions = found.or(transactions);
            asked = Instant::now();
        }
    });
    let broker_s = fixture.broker.process_id().map_or(0.0, child_process::cpu_s) - broker;
    let seconds = output_span_s(&fixture.client_config(), (&run.name, &run.outputs), records);
    fixture.delete_topics(&run);
    RunMeasurement {
        records,
        seconds,
        process_cost: cost,
        broker_cpu_s: broker_s,
        ended_transactions: transactions,
    }
}

/// The child that does the work.
pub fn child_command(
    fixture: &KafkaFixture,
    competitor: Competitor,
    run: &BenchRun,
    workers: usize,
    records: u64,
) -> Command {
    let mut command = if competitor.is_zeef() {
        let mut command = Command::new(match competitor {
            Competitor::SecondBuild => &fixture.second_program,
            _ => &fixture.program,
        });
        command.args(["run", "--config"]).arg(&run.config);
        command
    } else {
        let args = MirrorArgs {
            brokers: fixture.broker.bootstrap_server().to_owned(),
            source: format!("{}patron", run.prefix),
            outputs: run.outputs.clone(),
            group: format!("mirror.{}", run.name),
            workers,
            transactions: competitor == Competitor::MirrorTransactions,
            headers: true,
            records,
            sample: fixture.sample_path.display().to_string(),
            properties: fixture.properties.clone(),
        };
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.args(args.to_arguments());
        command
    };
    let log = File::create(run.log_path()).expect("a log");
    command.stderr(log).env_remove("ZEEF_BROKERS");
    command
}

/// How many transactions zeef ended so far, and how long that took together.
fn fetch_ended_transactions(address: SocketAddr) -> Option<(f64, f64)> {
    let mut stream = TcpStream::connect_timeout(&address, METRICS_INTERVAL).ok()?;
    stream.set_read_timeout(Some(METRICS_INTERVAL)).ok()?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
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
