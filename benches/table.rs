//! What the table of patrons costs: memory, lookups, and the time that a
//! worker needs to build it again; and what the state costs.
//!
//! ```text
//! cargo bench --bench table                          in memory, a million patrons
//! cargo bench --bench table -- --state               the state, a million rows
//! cargo bench --bench table -- --statements          consents and objections in memory
//! cargo bench --bench table -- --kafka               from a real Kafka that it starts (Java 17, Maven)
//! cargo bench --bench table -- --kafka --patrons 4000000 --partitions 16
//! cargo bench --bench table -- --short               seconds, in memory: whether it still runs
//! ```
//!
//! Options of `--kafka`: `--brokers HOST:PORT` (one that runs already),
//! `--prefix NAME` (of topics; those that it finds it reads as they are),
//! `--rounds N`, `--compression TYPE` (of the source; lz4), and
//! `--set NAME=VALUE` for any of librdkafka's properties.
//!
//! Memory is what the kernel counts as resident, so that the allocator's own
//! share and the map's slack are in it. Time is that of one thread in memory;
//! from Kafka it is that of the process, librdkafka's threads among them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench ends where something is not as expected, and prints"
)]

#[path = "../tests/broker/harness/broker.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod broker;
#[path = "table/fixture.rs"]
mod kafka_fixture;
#[path = "table/memory.rs"]
mod memory;
#[path = "table/process.rs"]
mod process;
#[path = "table/rebuild.rs"]
mod rebuild;
#[path = "table/state.rs"]
mod state;
#[path = "table/statements.rs"]
mod statements;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub(crate) struct TableBenchOptions {
    is_short: bool,
    uses_kafka: bool,
    measures_state: bool,
    measures_statements: bool,
    patrons: Option<u64>,
    partitions: i32,
    rounds: usize,
    brokers: Option<String>,
    prefix: String,
    compression: String,
    properties: Vec<(String, String)>,
}

impl TableBenchOptions {
    fn parse(mut args: impl Iterator<Item = String>) -> TableBenchOptions {
        let mut options = TableBenchOptions {
            is_short: false,
            uses_kafka: false,
            measures_state: false,
            measures_statements: false,
            patrons: None,
            partitions: 8,
            rounds: 3,
            brokers: None,
            prefix: format!("bench-{}.", std::process::id()),
            compression: "lz4".to_owned(),
            properties: Vec::new(),
        };
        while let Some(name) = args.next() {
            let mut value = || args.next().unwrap_or_else(|| panic!("{name} wants a value"));
            match name.as_str() {
                "--bench" => {}
                "--short" => options.is_short = true,
                "--state" => options.measures_state = true,
                "--statements" => options.measures_statements = true,
                "--kafka" => options.uses_kafka = true,
                "--patrons" => options.patrons = Some(value().parse().unwrap()),
                "--partitions" => options.partitions = value().parse().unwrap(),
                "--rounds" => options.rounds = value().parse().unwrap(),
                "--brokers" => options.brokers = Some(value()),
                "--prefix" => options.prefix = value(),
                "--compression" => options.compression = value(),
                "--set" => {
                    let set = value();
                    let (name, value) = set.split_once('=').expect("NAME=VALUE");
                    options.properties.push((name.to_owned(), value.to_owned()));
                }
                other => panic!("unknown option {other}"),
            }
        }
        options
    }
}

/// As the daemon has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let options = TableBenchOptions::parse(std::env::args().skip(1));
    if options.uses_kafka {
        rebuild::run(&options);
    } else if options.measures_state {
        state::run(&options);
    } else if options.measures_statements {
        statements::run(&options);
    } else {
        memory::run(&options);
    }
}
