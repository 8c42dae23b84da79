//! The tables, in Markdown.

use crate::latency::Latency;
use crate::options::Options;
use crate::run::{Measured, OUTPUTS, Way};
use crate::scene::Scene;

type Round = Vec<(Way, Measured)>;

/// What the figures depend on.
pub fn machine(scene: &Scene, options: &Options) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "{cores} cores, broker and clients on one machine; {} records of {:.0} bytes, each to \
         {OUTPUTS} topics: {:.0} bytes of outputs, keys included",
        options.records,
        scene.bytes_in(),
        scene.bytes_out()
    );
    for (name, value) in &options.properties {
        println!("{name} = {value}");
    }
}

/// All ways, and their ratios within each round.
pub fn throughput(workers: usize, rounds: &[Round], bytes_in: f64, bytes_out: f64) {
    println!(
        "\n## {workers} worker{}, {} rounds\n",
        if workers == 1 { "" } else { "s" },
        rounds.len()
    );
    println!(
        "| way | records/s | MB/s in | MB/s out | CPU us/record | broker's CPU us/record | peak RSS MiB | rate, share of the bare mirror's | CPU, share of the bare mirror's |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for way in ways(rounds) {
        let rate = median_rate(rounds, way);
        let cpu = Spread::of(each(rounds, way).map(Measured::cpu_us));
        let broker = Spread::of(each(rounds, way).map(Measured::broker_us));
        let peak = Spread::of(each(rounds, way).map(Measured::peak_mib));
        println!(
            "| {} | {rate:.0} | {:.0} | {:.0} | {:.2} | {:.2} | {:.0} | {} | {} |",
            way.name(),
            rate * bytes_in / 1e6,
            rate * bytes_out / 1e6,
            cpu.median,
            broker.median,
            peak.median,
            ratio(rounds, way, Measured::rate),
            ratio(rounds, way, Measured::cpu_us),
        );
    }
}

pub fn median_rate(rounds: &[Round], way: Way) -> f64 {
    Spread::of(each(rounds, way).map(Measured::rate)).median
}

/// The ways that were run, in their order.
fn ways(rounds: &[Round]) -> Vec<Way> {
    rounds
        .iter()
        .take(1)
        .flatten()
        .map(|(way, _)| *way)
        .collect()
}

fn each(rounds: &[Round], way: Way) -> impl Iterator<Item = &Measured> {
    let measured = rounds.iter().flatten();
    measured
        .filter(move |(found, _)| *found == way)
        .map(|(_, measured)| measured)
}

/// A figure as a share of the bare mirror's of the same round, or of zeef's
/// where there was no mirror.
fn ratio(rounds: &[Round], way: Way, figure: fn(&Measured) -> f64) -> String {
    let of = |round: &Round, way: Way| {
        let found = round.iter().find(|(found, _)| *found == way);
        found.map(|(_, measured)| figure(measured))
    };
    let mirrored = ways(rounds).contains(&Way::Mirror);
    let base = if mirrored { Way::Mirror } else { Way::Zeef };
    let ratios: Option<Vec<f64>> = rounds
        .iter()
        .map(|round| Some(of(round, way)? / of(round, base)?))
        .collect();
    ratios.map_or_else(String::new, |ratios| {
        let spread = Spread::of(ratios.into_iter());
        format!(
            "{:.3} ({:.2} to {:.2})",
            spread.median, spread.min, spread.max
        )
    })
}

pub fn latencies(workers: usize, found: &[(Way, f64, Latency)]) {
    println!(
        "\n### Latency with {workers} worker(s): from producer to a read_committed reader, ms\n"
    );
    println!("| way | records/s | p50 | p99 | max |");
    println!("|---|---|---|---|---|");
    for (way, rate, latency) in found {
        let Latency { p50, p99, max } = latency;
        println!(
            "| {} | {rate:.0} | {p50:.0} | {p99:.0} | {max:.0} |",
            way.name()
        );
    }
}

pub fn partitions(rows: &[(usize, Way, Measured)]) {
    println!("\n## Partitions in a transaction, 1 worker\n");
    println!(
        "| partitions | way | records/s | CPU us/record | peak RSS MiB | transactions | ms to end one |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (partitions, way, measured) in rows {
        let (count, mean) = measured
            .transactions
            .map_or_else(Default::default, |(count, sum)| {
                (format!("{count:.0}"), format!("{:.0}", sum * 1e3 / count))
            });
        println!(
            "| {partitions} | {} | {:.0} | {:.2} | {:.0} | {count} | {mean} |",
            way.name(),
            measured.rate(),
            measured.cpu_us(),
            measured.peak_mib(),
        );
    }
}

/// Resident memory over a long run.
pub fn flat(records: u64, measured: &Measured) {
    println!("\n## Memory over {records} records\n");
    println!("{measured}\n");
    println!("| share of the run | resident MiB |");
    println!("|---|---|");
    let seen = &measured.cost.resident;
    for tenth in 1..=10 {
        let at = (seen.len() * tenth / 10).clamp(1, seen.len().max(1)) - 1;
        let bytes = seen.get(at).copied().unwrap_or(0);
        println!(
            "| {} % | {:.0} |",
            tenth * 10,
            bytes as f64 / f64::from(1 << 20)
        );
    }
}

/// Median and bounds of some figures.
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Self {
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
