//! Ways of doing the same work that take turns, and the table of their times.
//!
//! Round by round, so that a machine that gets slower slows all of them: read
//! the ratios.

use std::hint::black_box;

use rustix::time::{ClockId, clock_gettime};

use super::workload::Record;
use super::zeef_way::RECIPIENTS;

/// Each way does this many records before it is another one's turn.
pub const SLICE: usize = 500;

/// Does some records; says how many bytes came of them.
type Run<'a> = Box<dyn FnMut(&[Record]) -> usize + 'a>;

/// One way of doing the work, and how long each round took.
pub struct Way<'a> {
    pub name: &'static str,
    records: &'a [Record],
    run: Run<'a>,
    bytes: usize,
    nanoseconds: Vec<f64>,
}

impl<'a> Way<'a> {
    pub fn new(
        name: &'static str,
        records: &'a [Record],
        run: impl FnMut(&[Record]) -> usize + 'a,
    ) -> Self {
        Way {
            name,
            records,
            run: Box::new(run),
            bytes: 0,
            nanoseconds: Vec::new(),
        }
    }

    /// Does the slice of its records whose turn it is.
    pub fn round(&mut self, round: usize) {
        let slices = self.records.len() / SLICE;
        let slice = &self.records[round % slices * SLICE..][..SLICE];
        let started = processor_ns();
        self.bytes += black_box((self.run)(slice));
        let each = (processor_ns() - started) / SLICE as f64;
        self.nanoseconds.push(each);
    }
}

/// The processor's time of this thread: what others do meanwhile costs none.
fn processor_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Prints a line for each way that had a turn. The column `compared` has the
/// ratio of a way's time, given first, and the first way's in that round; the last
/// one that of their quickest tenths, when the machine's other guests were idle.
#[allow(clippy::print_stdout, reason = "a bench may speak")]
pub fn print_table(ways: &[Way<'_>], compared: &str, ratio: impl Fn(f64, f64) -> f64) {
    let first = &ways[0];
    let bytes: usize = first.records.iter().map(|record| record.value.len()).sum();
    let rounds = ways.iter().map(|way| way.nanoseconds.len()).max();
    println!(
        "{} records of {} bytes, {} partners; medians of {} rounds, all ways in turn.\n",
        first.records.len(),
        bytes / first.records.len(),
        RECIPIENTS.len(),
        rounds.unwrap_or(0),
    );
    println!(
        "| way | records/s | ns per record | bytes out | {compared} (median; 10 to 90 %) \
         | quickest tenth: ns, {compared} |"
    );
    println!("|---|---:|---:|---:|---:|---:|");
    let [first_quick, ..] = spread(first.nanoseconds.clone());
    for way in ways {
        if way.nanoseconds.is_empty() {
            continue;
        }
        let each = spread(way.nanoseconds.clone());
        let ratios = way.nanoseconds.iter().zip(&first.nanoseconds);
        let ratios = spread(ratios.map(|(own, first)| ratio(*own, *first)).collect());
        println!(
            "| {} | {:.0} | {:.0} | {} | {:.2} ({:.2} to {:.2}) | {:.0}, {:.2} |",
            way.name,
            1e9 / each[1],
            each[1],
            way.bytes / way.nanoseconds.len() / SLICE,
            ratios[1],
            ratios[0],
            ratios[2],
            each[0],
            ratio(each[0], first_quick),
        );
    }
}

/// The lowest tenth, the middle and the highest tenth.
fn spread(mut all: Vec<f64>) -> [f64; 3] {
    all.sort_by(f64::total_cmp);
    if all.is_empty() {
        return [f64::NAN; 3];
    }
    let at = |share: f64| all[((all.len() - 1) as f64 * share).round() as usize];
    [at(0.1), at(0.5), at(0.9)]
}
