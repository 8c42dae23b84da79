//! zeef's transform beside the Vector Remap Language, in one run.
//!
//! ```text
//! cargo run --release --manifest-path benches/vrl/Cargo.toml
//! cargo run --release --manifest-path benches/vrl/Cargo.toml -- --short
//! ```
//!
//! VRL takes minutes to compile, hence a crate of its own. Each way does the same
//! work, and its outputs are compared before any time is taken: those of zeef and
//! of serde_json byte by byte, those of VRL as JSON values, since its objects are
//! sorted by name. Ways take turns, round by round, so that a machine that gets
//! slower slows all of them: read the ratios.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench may stop and speak"
)]

#[allow(dead_code, unreachable_pub, reason = "other benches use the rest")]
#[path = "../../common/mod.rs"]
mod common;
mod remap;

use std::hint::black_box;
use std::path::Path;

use common::serde_value::SerdeValue;
use common::workload::{Layout, Record, patrons};
use common::zeef_way::{self, RECIPIENTS, Zeef};
use remap::{AsVector, Lean, Outputs, Remap};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

/// Each way does this many records before it is another one's turn.
const SLICE: usize = 500;

/// Does some records; says how many bytes came of them.
type Run<'a> = Box<dyn FnMut(&[Record]) -> usize + 'a>;

/// One way of doing the work, and how long each round took.
struct Way<'a> {
    name: &'static str,
    run: Run<'a>,
    bytes: usize,
    nanoseconds: Vec<f64>,
}

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let (count, rounds) = if short { (2 * SLICE, 4) } else { (20_000, 600) };
    let policy = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../policy"));
    let zeef = || Zeef::new(zeef_way::lane(policy, |_| true), "patron");
    let (mut checked, mut zeef) = (zeef(), zeef());
    let mut tree = SerdeValue::new();
    let (mut vector, mut lean) = (AsVector::new(), Lean::new());
    for layout in [Layout::Spaced, Layout::Shuffled, Layout::Compact] {
        for record in &patrons(count, layout) {
            let outputs = checked.outputs(record);
            assert_eq!(outputs.len(), RECIPIENTS.len());
            assert!(outputs == tree.outputs(record), "`Value` does not agree");
            check(&outputs, &mut vector, record);
            check(&outputs, &mut lean, record);
        }
    }
    let records = patrons(count, Layout::Compact);
    let (mut first, mut second) = (Outputs::default(), Outputs::default());
    let mut ways = [
        Way::new("zeef", |records| zeef.run(records)),
        Way::new("serde_json `Value`, then pick", |records| tree.run(records)),
        Way::new("VRL, lean: all programs read one event", |records| {
            lean.run(records, &mut first)
        }),
        Way::new(
            "VRL, as Vector runs it: an event for each partner",
            |records| vector.run(records, &mut second),
        ),
    ];
    for slice in records.chunks_exact(SLICE).cycle().take(rounds) {
        for way in &mut ways {
            way.round(slice);
        }
    }
    print_table(&ways, &records);
}

/// Stops unless the way's outputs are the same JSON values, of the same length.
#[track_caller]
fn check(wanted: &[Vec<u8>], way: &mut impl Remap, record: &Record) {
    let mut out = Outputs::default();
    way.transform(record, &mut out);
    assert_eq!(out.iter().count(), wanted.len());
    for (wanted, output) in wanted.iter().zip(out.iter()) {
        let value = |text| serde_json::from_slice::<Value>(text).expect("an output is JSON");
        assert!(value(wanted) == value(output), "VRL does not agree");
        assert_eq!(wanted.len(), output.len());
    }
}

impl<'a> Way<'a> {
    fn new(name: &'static str, run: impl FnMut(&[Record]) -> usize + 'a) -> Self {
        Way {
            name,
            run: Box::new(run),
            bytes: 0,
            nanoseconds: Vec::new(),
        }
    }

    fn round(&mut self, records: &[Record]) {
        let started = processor_ns();
        self.bytes += black_box((self.run)(records));
        let each = (processor_ns() - started) / records.len() as f64;
        self.nanoseconds.push(each);
    }
}

/// The processor's time of this thread: what others do meanwhile costs none.
fn processor_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
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
        "| way | records/s | ns per record | bytes out | zeef is faster by (median; 10 to 90 %) |"
    );
    println!("|---|---:|---:|---:|---:|");
    for way in ways {
        let each = spread(way.nanoseconds.clone());
        let ratios = way.nanoseconds.iter().zip(&ways[0].nanoseconds);
        let ratio = spread(ratios.map(|(theirs, ours)| theirs / ours).collect());
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
    let at = |share: f64| all[((all.len() - 1) as f64 * share).round() as usize];
    [at(0.1), at(0.5), at(0.9)]
}
