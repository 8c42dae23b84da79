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

#![allow(clippy::expect_used, clippy::panic, reason = "a bench may stop")]

#[allow(dead_code, unreachable_pub, reason = "other benches use the rest")]
#[path = "../../common/mod.rs"]
mod common;
mod remap;

use std::path::Path;

use common::interleaved_timing::{RECORDS_PER_TURN, TimedImplementation, print_table};
use common::serde_value::SerdeJsonPeer;
use common::workload::{RecordLayout, SourceRecord, generate_patrons};
use common::zeef_peer::{self, RECIPIENTS, ZeefPeer};
use remap::{AsVector, Lean, Outputs, Remap};
use serde_json::Value;

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let (count, rounds) = if short { (2 * RECORDS_PER_TURN, 4) } else { (20_000, 600) };
    let policy = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../policy"));
    let zeef = || ZeefPeer::new(zeef_peer::compile_lane(policy, |_| true), "patron");
    let (mut checked, mut zeef) = (zeef(), zeef());
    let mut tree = SerdeJsonPeer::new();
    let (mut vector, mut lean) = (AsVector::new(), Lean::new());
    for layout in [RecordLayout::Spaced, RecordLayout::Shuffled, RecordLayout::Compact] {
        for record in &generate_patrons(count, layout) {
            let outputs = checked.outputs(record);
            assert_eq!(outputs.len(), RECIPIENTS.len());
            assert!(outputs == tree.outputs(record), "`Value` does not agree");
            check(&outputs, &mut vector, record);
            check(&outputs, &mut lean, record);
        }
    }
    let records = generate_patrons(count, RecordLayout::Compact);
    let (mut first, mut second) = (Outputs::default(), Outputs::default());
    let mut ways = [
        TimedImplementation::new("zeef", &records, |slice| zeef.run(slice)),
        TimedImplementation::new("serde_json `Value`, then pick", &records, |slice| {
            tree.run(slice)
        }),
        TimedImplementation::new("VRL, lean: all programs read one event", &records, |slice| {
            lean.run(slice, &mut first)
        }),
        TimedImplementation::new(
            "VRL, as Vector runs it: an event for each partner",
            &records,
            |slice| vector.run(slice, &mut second),
        ),
    ];
    for round in 0..rounds {
        for way in &mut ways {
            way.run_round(round);
        }
    }
    print_table(&ways, "zeef is faster by", |own, zeef| own / zeef);
}

/// Stops unless the way's outputs are the same JSON values, of the same length.
#[track_caller]
fn check(wanted: &[Vec<u8>], way: &mut impl Remap, record: &SourceRecord) {
    let mut out = Outputs::default();
    way.transform(record, &mut out);
    assert_eq!(out.iter().count(), wanted.len());
    for (wanted, output) in wanted.iter().zip(out.iter()) {
        let value = |text| serde_json::from_slice::<Value>(text).expect("an output is JSON");
        assert!(value(wanted) == value(output), "VRL does not agree");
        assert_eq!(wanted.len(), output.len());
    }
}
