//! What the table of patrons costs: memory, lookups, and the time that a
//! worker needs to build it again; and what the state costs.
//!
//! ```text
//! cargo bench --bench table                          in memory, a million patrons
//! cargo bench --bench table -- --state               the state, a million rows
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
#[path = "table/memory.rs"]
mod memory;
#[path = "table/process.rs"]
mod process;
#[path = "table/rebuild.rs"]
mod rebuild;
#[path = "table/scene.rs"]
mod scene;
#[path = "table/state.rs"]
mod state;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    short: bool,
    kafka: bool,
    state: bool,
    patrons: Option<u64>,
    partitions: i32,
    rounds: usize,
    brokers: Option<String>,
    prefix: String,
    compression: String,
    properties: Vec<(String, String)>,
}

impl Wanted {
    fn parse(mut args: impl Iterator<Item = String>) -> Wanted {
        let mut wanted = Wanted {
            short: false,
            kafka: false,
            state: false,
            patrons: None,
            partitions: 8,
            rounds: 3,
            brokers: None,
            prefix: format!("bench-{}.", std::process::id()),
            compression: "lz4".to_owned(),
            properties: Vec::new(),
        };
        while let Some(name) = args.next() {
            let mut value = || {
                args.next()
                    .unwrap_or_else(|| panic!("{name} wants a value"))
            };
            match name.as_str() {
                "--bench" => {}
                "--short" => wanted.short = true,
                "--state" => wanted.state = true,
                "--kafka" => wanted.kafka = true,
                "--patrons" => wanted.patrons = Some(value().parse().unwrap()),
                "--partitions" => wanted.partitions = value().parse().unwrap(),
                "--rounds" => wanted.rounds = value().parse().unwrap(),
                "--brokers" => wanted.brokers = Some(value()),
                "--prefix" => wanted.prefix = value(),
                "--compression" => wanted.compression = value(),
                "--set" => {
                    let set = value();
                    let (name, value) = set.split_once('=').expect("NAME=VALUE");
                    wanted.properties.push((name.to_owned(), value.to_owned()));
                }
                other => panic!("unknown option {other}"),
            }
        }
        wanted
    }
}

/// As the daemon has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let wanted = Wanted::parse(std::env::args().skip(1));
    if wanted.kafka {
        rebuild::run(&wanted);
    } else if wanted.state {
        state::run(&wanted);
    } else {
        memory::run(&wanted);
    }
}
