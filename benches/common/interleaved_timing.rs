//! Ways of doing the same work that take turns, and the table of their times.
//!
//! Round by round, so that a machine that gets slower slows all of them: read
//! the ratios.

use std::hint::black_box;

use rustix::time::{ClockId, clock_gettime};

use super::workload::SourceRecord;

/// Each way does this many records before it is another one's turn.
pub const RECORDS_PER_TURN: usize = 500;

/// Does some records; says how many bytes came of them.
type RunFn<'a> = Box<dyn FnMut(&[SourceRecord]) -> usize + 'a>;

/// One way of doing the work, and how long each round took.
pub struct TimedImplementation<'a> {
    pub name: &'static str,
    records: &'a [SourceRecord],
    run: RunFn<'a>,
    output_bytes: usize,
    round_ns: Vec<f64>,
}

impl<'a> TimedImplementation<'a> {
    pub fn new(
        name: &'static str,
        records: &'a [SourceRecord],
        run: impl FnMut(&[SourceRecord]) -> usize + 'a,
    ) -> Self {
        TimedImplementation {
            name,
            records,
            run: Box::new(run),
            output_bytes: 0,
            round_ns: Vec::new(),
        }
    }

    /// Does the slice of its records whose turn it is.
    pub fn run_round(&mut self, round: usize) {
        let slices = self.records.len() / RECORDS_PER_TURN;
        let slice = &self.records[round % slices * RECORDS_PER_TURN..][..RECORDS_PER_TURN];
        let started = thread_cpu_ns();
        self.output_bytes += black_box((self.run)(slice));
        let each = (thread_cpu_ns() - started) / RECORDS_PER_TURN as f64;
        self.round_ns.push(each);
    }
}

/// The processor's time of this thread: what others do meanwhile costs none.
fn thread_cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Prints a line for each way that had a turn. The column `compared` has the
/// ratio of a way's time, given first, and the first way's in that round; the last
/// one that of their quickest tenths, when the machine's other guests were idle.
#[allow(clippy::print_stdout, reason = "a bench may speak")]
pub fn print_table(
    implementations: &[TimedImplementation<'_>],
    compared: &str,
    ratio: impl Fn(f64, f64) -> f64,
) {
    let first = &implementations[0];
    let bytes: usize = first.records.iter().map(|record| record.value.len()).sum();
    let rounds = implementations.iter().map(|way| way.round_ns.len()).max();
    println!(
        "{} records of {} bytes; medians of {} rounds, all ways in turn.\n",
        first.records.len(),
        bytes / first.records.len(),
        rounds.unwrap_or(0),
    );
    println!(
        "| way | records/s | ns per record | bytes out | {compared} (median; 10 to 90 %) \
         | quickest tenth: ns, {compared} |"
    );
    println!("|---|---:|---:|---:|---:|---:|");
    let [first_quick, ..] = p10_p50_p90(first.round_ns.clone());
    for way in implementations {
        if way.round_ns.is_empty() {
            continue;
        }
        let each = p10_p50_p90(way.round_ns.clone());
        let ratios = way.round_ns.iter().zip(&first.round_ns);
        let ratios = p10_p50_p90(ratios.map(|(own, first)| ratio(*own, *first)).collect());
        println!(
            "| {} | {:.0} | {:.0} | {} | {:.2} ({:.2} to {:.2}) | {:.0}, {:.2} |",
            way.name,
            1e9 / each[1],
            each[1],
            way.output_bytes / way.round_ns.len() / RECORDS_PER_TURN,
            ratios[1],
            ratios[0],
            ratios[2],
            each[0],
            ratio(each[0], first_quick),
        );
    }
}

/// The lowest tenth, the middle and the highest tenth.
fn p10_p50_p90(mut all: Vec<f64>) -> [f64; 3] {
    all.sort_by(f64::total_cmp);
    if all.is_empty() {
        return [f64::NAN; 3];
    }
    let at = |share: f64| all[((all.len() - 1) as f64 * share).round() as usize];
    [at(0.1), at(0.5), at(0.9)]
}
