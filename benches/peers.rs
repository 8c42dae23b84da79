//! zeef's transform beside its peers, in one run: the table of BENCHMARKS.md.
//!
//! Each way does the same work, and its outputs are compared before any time is
//! taken. Ways take turns, round by round, so that a machine that gets slower
//! slows all of them: read the ratios.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench may stop and speak"
)]

mod common;

use std::hint::black_box;

use common::serde_value::SerdeValue;
use common::workload::{Layout, Record, patrons};
use common::zeef_way::{self, RECIPIENTS, Zeef};
use rustix::time::{ClockId, clock_gettime};
use zeef::json::scan::{Bounds, Scanner};
use zeef::policy::pseudonym::{Meaning, Pseudonymiser};

/// One way of doing the work, and how long each round took.
struct Way<'a> {
    name: &'static str,
    run: Box<dyn FnMut(usize) -> usize + 'a>,
    bytes: usize,
    nanoseconds: Vec<f64>,
}

/// Each way does this many records before it is another one's turn.
const SLICE: usize = 500;

fn slice(records: &[Record], round: usize) -> &[Record] {
    let slices = records.len() / SLICE;
    &records[round % slices * SLICE..][..SLICE]
}

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let (count, rounds) = if short { (2 * SLICE, 4) } else { (20_000, 600) };
    let compact = patrons(count, Layout::Compact);
    let spaced = patrons(count, Layout::Spaced);
    let shuffled = patrons(count, Layout::Shuffled);
    let all = || zeef_way::lane(zeef_way::own_policy(), |_| true);
    let zeef = || Zeef::new(all(), "patron");
    let (mut one, mut two, mut three, mut peer) = (zeef(), zeef(), zeef(), SerdeValue::new());
    let only = std::env::args()
        .skip_while(|argument| argument != "--only")
        .nth(1);
    let compared = [&compact, &spaced, &shuffled]
        .into_iter()
        .filter(|_| only.is_none());
    for records in compared {
        for record in records {
            let (ours, theirs) = (one.outputs(record), peer.outputs(record));
            assert!(ours == theirs, "the ways do not agree");
            assert_eq!(ours.len(), RECIPIENTS.len());
        }
    }
    let mut floor = Floor::new();
    let mut ways = [
        Way::new("serde_json `Value`, then pick", |at| {
            peer.run(slice(&compact, at))
        }),
        Way::new("zeef", |at| one.run(slice(&compact, at))),
        Way::new("zeef, spaced JSON", |at| two.run(slice(&spaced, at))),
        Way::new("zeef, members in random order", |at| {
            three.run(slice(&shuffled, at))
        }),
        Way::new("floor: scan, UTF-8, four keyed hashes", |at| {
            floor.run(slice(&compact, at))
        }),
    ];
    let rounds = if only.is_some() { 10 * rounds } else { rounds };
    for round in 0..rounds {
        for way in ways
            .iter_mut()
            .filter(|way| only.as_deref().is_none_or(|only| only == way.name))
        {
            way.round(round);
        }
    }
    print_table(&ways, &compact);
}

impl<'a> Way<'a> {
    fn new(name: &'static str, run: impl FnMut(usize) -> usize + 'a) -> Self {
        Way {
            name,
            run: Box::new(run),
            bytes: 0,
            nanoseconds: Vec::new(),
        }
    }

    fn round(&mut self, slice: usize) {
        let started = processor_ns();
        let bytes = black_box((self.run)(slice));
        self.bytes += bytes;
        let each = (processor_ns() - started) / SLICE as f64;
        self.nanoseconds.push(each);
    }
}

/// The processor's time of this thread: what others do meanwhile costs none.
fn processor_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// What no transform can do without: every byte checked, every hash made.
struct Floor {
    pseudonymisers: Vec<Pseudonymiser>,
    meaning: Meaning,
}

impl Floor {
    fn new() -> Self {
        let made = RECIPIENTS
            .iter()
            .filter_map(|name| zeef_way::pseudonymiser(name));
        Floor {
            pseudonymisers: made.collect(),
            meaning: Meaning::new("patron", "patron_id"),
        }
    }

    fn run(&mut self, records: &[Record]) -> usize {
        let bounds = Bounds {
            depth: 64,
            keys: 4_096,
        };
        let mut sum = 0;
        for record in records {
            let text = simdutf8::basic::from_utf8(&record.value).expect("UTF-8");
            Scanner::check(text, bounds).expect("JSON");
            let id = std::str::from_utf8(&record.key).expect("UTF-8");
            for pseudonymiser in &self.pseudonymisers {
                let made = pseudonymiser.pseudonym(&self.meaning, "NL-AmrBKW", id);
                sum += usize::from(made.text()[0]);
            }
        }
        sum
    }
}

fn print_table(ways: &[Way<'_>], records: &[Record]) {
    let bytes: usize = records.iter().map(|record| record.value.len()).sum();
    println!(
        "{} records of {} bytes, {} partners; medians of {} rounds, all ways in turn.\n",
        records.len(),
        bytes / records.len(),
        RECIPIENTS.len(),
        ways[0].nanoseconds.len(),
    );
    println!(
        "| way | records/s | ns per record | bytes out | times `Value` (median; 10 to 90 %) |"
    );
    println!("|---|---:|---:|---:|---:|");
    for way in ways {
        if way.nanoseconds.is_empty() {
            continue;
        }
        let each = spread(way.nanoseconds.clone());
        let ratios = way.nanoseconds.iter().zip(&ways[0].nanoseconds);
        let ratio = spread(ratios.map(|(ours, value)| value / ours).collect());
        println!(
            "| {} | {:.0} | {:.0} | {} | {:.2} ({:.2} to {:.2}) |",
            way.name,
            1e9 / each[1],
            each[1],
            way.bytes / way.nanoseconds.len() / SLICE,
            ratio[1],
            ratio[0],
            ratio[2],
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
