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
#[path = "end_to_end/child_process.rs"]
mod child_process;
#[path = "end_to_end/kafka_fixture.rs"]
mod kafka_fixture;
#[path = "end_to_end/latency.rs"]
mod latency;
#[path = "end_to_end/mirror.rs"]
mod mirror;
#[path = "end_to_end/options.rs"]
mod options;
#[path = "end_to_end/output_span.rs"]
mod output_span;
#[path = "end_to_end/patron_source.rs"]
mod patron_source;
#[path = "end_to_end/report.rs"]
mod report;
#[path = "end_to_end/run.rs"]
mod run;
#[path = "common/workload.rs"]
#[allow(dead_code, reason = "other benches use more of it")]
mod workload;

use kafka_fixture::KafkaFixture;
use options::{BenchOptions, Invocation};
use run::Competitor;

fn main() {
    let options = match options::parse(std::env::args().skip(1)) {
        Ok(Invocation::Mirror(order)) => return mirror::run_mirror(&order),
        Ok(Invocation::Bench(options)) => options,
        Ok(Invocation::Help) => return println!("{}", options::HELP),
        Err(mistake) => {
            eprintln!("{mistake}\n\n{}", options::HELP);
            std::process::exit(2);
        }
    };
    // Where it cannot be had, the reason has been said.
    if let Some(fixture) = KafkaFixture::start(&options) {
        run_benchmarks(&fixture, &options);
    }
}

fn run_benchmarks(fixture: &KafkaFixture, options: &BenchOptions) {
    report::print_machine(fixture, options);
    if options.pairs > 0 {
        fixture.fill_source("", options.records);
        for &workers in &options.workers {
            run_alternated_pairs(fixture, options, workers);
        }
    }
    if !options.partitions.is_empty() {
        fixture.fill_source("", options.records);
        sweep_partitions(fixture, options);
    }
    if options.memory_run_records > 0 {
        measure_memory(fixture, options.memory_run_records);
    }
}

/// Every way in turn, as often as asked, and then their latencies.
fn run_alternated_pairs(fixture: &KafkaFixture, options: &BenchOptions, workers: usize) {
    // The broker's compiler needs a while to know its work.
    for &competitor in &options.competitors {
        run::measure_throughput(fixture, competitor, workers, options.records, 1);
    }
    let mut rounds = Vec::new();
    for pair in 0..options.pairs {
        // What comes first in a pair comes last in the next one.
        let mut competitors = options.competitors.clone();
        if pair % 2 == 1 {
            competitors.reverse();
        }
        let mut round: Vec<(Competitor, run::RunMeasurement)> = competitors
            .into_iter()
            .map(|competitor| {
                let measured =
                    run::measure_throughput(fixture, competitor, workers, options.records, 1);
                eprintln!("{workers} x {}: {measured}", competitor.name());
                (competitor, measured)
            })
            .collect();
        round.sort_by_key(|(competitor, _)| *competitor as usize);
        rounds.push(round);
    }
    report::print_throughput(
        workers,
        &rounds,
        fixture.input_bytes_per_record(),
        fixture.output_bytes_per_record(),
    );
    if options.latency_s == 0 {
        return;
    }
    let half = report::median_rate(&rounds, Competitor::Zeef) / 2.0;
    let mut latencies = Vec::new();
    for rate in [100.0, half] {
        for &competitor in &options.competitors {
            let found =
                latency::measure_latency(fixture, competitor, workers, rate, options.latency_s);
            latencies.push((competitor, rate, found));
        }
    }
    report::print_latencies(workers, &latencies);
}

/// One worker, with ever more partitions in its transaction.
fn sweep_partitions(fixture: &KafkaFixture, options: &BenchOptions) {
    let mut rows = Vec::new();
    for &partitions in &options.partitions {
        let topics = run::OUTPUT_TOPICS;
        let each = (partitions / topics).max(1);
        for competitor in [Competitor::Zeef, Competitor::Mirror] {
            let measured = run::measure_throughput(fixture, competitor, 1, options.records, each);
            eprintln!("{partitions} partitions, {}: {measured}", competitor.name());
            rows.push((partitions, competitor, measured));
        }
    }
    report::print_partitions(&rows);
}

/// One long run, its memory looked at on the way.
fn measure_memory(fixture: &KafkaFixture, records: u64) {
    fixture.fill_source("", records);
    let measured = run::measure_throughput(fixture, Competitor::Zeef, 1, records, 1);
    report::print_memory(records, &measured);
}
