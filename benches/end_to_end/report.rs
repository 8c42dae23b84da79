//! The tables, in Markdown.

use crate::kafka_fixture::KafkaFixture;
use crate::latency::Latency;
use crate::options::BenchOptions;
use crate::run::{Competitor, OUTPUT_TOPICS, RunMeasurement};

type MeasuredRound = Vec<(Competitor, RunMeasurement)>;

/// What the figures depend on.
pub fn print_machine(fixture: &KafkaFixture, options: &BenchOptions) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "{cores} cores, broker and clients on one machine; {} records of {:.0} bytes, each to \
         {OUTPUT_TOPICS} topics: {:.0} bytes of outputs, keys included",
        options.records,
        fixture.input_bytes_per_record(),
        fixture.output_bytes_per_record()
    );
    for (name, value) in &options.properties {
        println!("{name} = {value}");
    }
}

/// All ways, and their ratios within each round.
pub fn print_throughput(workers: usize, rounds: &[MeasuredRound], bytes_in: f64, bytes_out: f64) {
    println!(
        "\n## {workers} worker{}, {} rounds\n",
        if workers == 1 { "" } else { "s" },
        rounds.len()
    );
    println!(
        "| way | records/s | MB/s in | MB/s out | CPU us/record | broker's CPU us/record | peak RSS MiB | rate, share of the bare mirror's | CPU, share of the bare mirror's |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for competitor in competitors(rounds) {
        let rate = median_rate(rounds, competitor);
        let cpu =
            MedianAndRange::new(measurements_of(rounds, competitor).map(RunMeasurement::cpu_us));
        let broker = MedianAndRange::new(
            measurements_of(rounds, competitor).map(RunMeasurement::broker_cpu_us),
        );
        let peak =
            MedianAndRange::new(measurements_of(rounds, competitor).map(RunMeasurement::peak_mib));
        println!(
            "| {} | {rate:.0} | {:.0} | {:.0} | {:.2} | {:.2} | {:.0} | {} | {} |",
            competitor.name(),
            rate * bytes_in / 1e6,
            rate * bytes_out / 1e6,
            cpu.median,
            broker.median,
            peak.median,
            ratio_to_mirror(rounds, competitor, RunMeasurement::records_per_s),
            ratio_to_mirror(rounds, competitor, RunMeasurement::cpu_us),
        );
    }
}

pub fn median_rate(rounds: &[MeasuredRound], competitor: Competitor) -> f64 {
    MedianAndRange::new(measurements_of(rounds, competitor).map(RunMeasurement::records_per_s))
        .median
}

/// The ways that were run, in their order.
fn competitors(rounds: &[MeasuredRound]) -> Vec<Competitor> {
    rounds.iter().take(1).flatten().map(|(competitor, _)| *competitor).collect()
}

fn measurements_of(
    rounds: &[MeasuredRound],
    competitor: Competitor,
) -> impl Iterator<Item = &RunMeasurement> {
    let measured = rounds.iter().flatten();
    measured.filter(move |(found, _)| *found == competitor).map(|(_, measured)| measured)
}

/// A figure as a share of the bare mirror's of the same round, or of zeef's
/// where there was no mirror.
fn ratio_to_mirror(
    rounds: &[MeasuredRound],
    competitor: Competitor,
    figure: fn(&RunMeasurement) -> f64,
) -> String {
    let of = |round: &MeasuredRound, competitor: Competitor| {
        let found = round.iter().find(|(found, _)| *found == competitor);
        found.map(|(_, measured)| figure(measured))
    };
    let mirrored = competitors(rounds).contains(&Competitor::Mirror);
    let base = if mirrored { Competitor::Mirror } else { Competitor::Zeef };
    let ratios: Option<Vec<f64>> =
        rounds.iter().map(|round| Some(of(round, competitor)? / of(round, base)?)).collect();
    ratios.map_or_else(String::new, |ratios| {
        let spread = MedianAndRange::new(ratios.into_iter());
        format!("{:.3} ({:.2} to {:.2})", spread.median, spread.min, spread.max)
    })
}

pub fn print_latencies(workers: usize, found: &[(Competitor, f64, Latency)]) {
    println!(
        "\n### Latency with {workers} worker(s): from producer to a read_committed reader, ms\n"
    );
    println!("| way | records/s | p50 | p99 | max |");
    println!("|---|---|---|---|---|");
    for (competitor, rate, latency) in found {
        let Latency { p50, p99, max } = latency;
        println!("| {} | {rate:.0} | {p50:.0} | {p99:.0} | {max:.0} |", competitor.name());
    }
}

pub fn print_partitions(rows: &[(usize, Competitor, RunMeasurement)]) {
    println!("\n## Partitions in a transaction, 1 worker\n");
    println!(
        "| partitions | way | records/s | CPU us/record | peak RSS MiB | transactions | ms to end one |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (partitions, competitor, measured) in rows {
        let (count, mean) =
            measured.ended_transactions.map_or_else(Default::default, |(count, sum)| {
                (format!("{count:.0}"), format!("{:.0}", sum * 1e3 / count))
            });
        println!(
            "| {partitions} | {} | {:.0} | {:.2} | {:.0} | {count} | {mean} |",
            competitor.name(),
            measured.records_per_s(),
            measured.cpu_us(),
            measured.peak_mib(),
        );
    }
}

/// Resident memory over a long run.
pub fn print_memory(records: u64, measured: &RunMeasurement) {
    println!("\n## Memory over {records} records\n");
    println!("{measured}\n");
    println!("| share of the run | resident MiB |");
    println!("|---|---|");
    let seen = &measured.process_cost.resident_samples;
    for tenth in 1..=10 {
        let at = (seen.len() * tenth / 10).clamp(1, seen.len().max(1)) - 1;
        let bytes = seen.get(at).copied().unwrap_or(0);
        println!("| {} % | {:.0} |", tenth * 10, bytes as f64 / f64::from(1 << 20));
    }
}

/// Median and bounds of some figures.
struct MedianAndRange {
    median: f64,
    min: f64,
    max: f64,
}

impl MedianAndRange {
    fn new(figures: impl Iterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        let at = |place: usize| figures.get(place).copied().unwrap_or(f64::NAN);
        let (low, high) = (figures.len().saturating_sub(1) / 2, figures.len() / 2);
        Self {
            median: (at(low) + at(high)) / 2.0,
            min: at(0),
            max: at(figures.len().saturating_sub(1)),
        }
    }
}
