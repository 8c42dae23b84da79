//! A real Kafka, zeef on it, and beside zeef a bare mirror that decides nothing.
//!
//! Starts a broker of its own (`deploy/dev/kafka`), fills a source, and runs
//! the program and the mirror as child processes by turns, on the same input
//! and with the same settings of librdkafka. The mirror writes as many outputs
//! as zeef, of the same bytes. Nothing is asserted about speed: the ratios of
//! alternated pairs are printed.
//!
//! `cargo bench --bench end_to_end -- --help` tells of the options.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench may stop and speak"
)]
#![allow(unreachable_pub, reason = "modules of one program")]

#[path = "../tests/broker/harness/broker.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod broker;
#[path = "end_to_end/child.rs"]
mod child;
#[path = "end_to_end/latency.rs"]
mod latency;
#[path = "end_to_end/mirror.rs"]
mod mirror;
#[path = "end_to_end/options.rs"]
mod options;
#[path = "end_to_end/report.rs"]
mod report;
#[path = "end_to_end/run.rs"]
mod run;
#[path = "end_to_end/scene.rs"]
mod scene;
#[path = "end_to_end/source.rs"]
mod source;
#[path = "common/workload.rs"]
#[allow(dead_code, reason = "other benches use more of it")]
mod workload;

use options::{Asked, Options};
use run::Way;
use scene::Scene;

fn main() {
    let options = match options::read(std::env::args().skip(1)) {
        Ok(Asked::Mirror(order)) => return mirror::run(&order),
        Ok(Asked::Bench(options)) => options,
        Ok(Asked::Help) => return println!("{}", options::HELP),
        Err(mistake) => {
            eprintln!("{mistake}\n\n{}", options::HELP);
            std::process::exit(2);
        }
    };
    // Where it cannot be had, the reason has been said.
    if let Some(scene) = Scene::open(&options) {
        bench(&scene, &options);
    }
}

fn bench(scene: &Scene, options: &Options) {
    report::machine(scene, options);
    if options.pairs > 0 {
        scene.fill("", options.records);
        for &workers in &options.workers {
            pairs(scene, options, workers);
        }
    }
    if !options.partitions.is_empty() {
        scene.fill("", options.records);
        partitions(scene, options);
    }
    if options.flat > 0 {
        flat(scene, options.flat);
    }
}

/// Every way in turn, as often as asked, and then their latencies.
fn pairs(scene: &Scene, options: &Options, workers: usize) {
    // The broker's compiler needs a while to know its work.
    for &way in &options.ways {
        run::throughput(scene, way, workers, options.records, 1);
    }
    let mut rounds = Vec::new();
    for pair in 0..options.pairs {
        // What comes first in a pair comes last in the next one.
        let mut ways = options.ways.clone();
        if pair % 2 == 1 {
            ways.reverse();
        }
        let mut round: Vec<(Way, run::Measured)> = ways
            .into_iter()
            .map(|way| {
                let measured = run::throughput(scene, way, workers, options.records, 1);
                eprintln!("{workers} x {}: {measured}", way.name());
                (way, measured)
            })
            .collect();
        round.sort_by_key(|(way, _)| *way as usize);
        rounds.push(round);
    }
    report::throughput(workers, &rounds, scene.bytes_in(), scene.bytes_out());
    if options.latency_s == 0 {
        return;
    }
    let half = report::median_rate(&rounds, Way::Zeef) / 2.0;
    let mut latencies = Vec::new();
    for rate in [100.0, half] {
        for &way in &options.ways {
            let found = latency::measure(scene, way, workers, rate, options.latency_s);
            latencies.push((way, rate, found));
        }
    }
    report::latencies(workers, &latencies);
}

/// One worker, with ever more partitions in its transaction.
fn partitions(scene: &Scene, options: &Options) {
    let mut rows = Vec::new();
    for &partitions in &options.partitions {
        let topics = run::OUTPUTS;
        let each = (partitions / topics).max(1);
        for way in [Way::Zeef, Way::Mirror] {
            let measured = run::throughput(scene, way, 1, options.records, each);
            eprintln!("{partitions} partitions, {}: {measured}", way.name());
            rows.push((partitions, way, measured));
        }
    }
    report::partitions(&rows);
}

/// One long run, its memory looked at on the way.
fn flat(scene: &Scene, records: u64) {
    scene.fill("", records);
    let measured = run::throughput(scene, Way::Zeef, 1, records, 1);
    report::flat(records, &measured);
}
