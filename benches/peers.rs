//! zeef's transform beside its peers, in one run: the table of BENCHMARKS.md.
//!
//! Each way does the same work, and its outputs are compared before any time is
//! taken. Ways take turns, round by round, so that a machine that gets slower
//! slows all of them: read the ratios.

#![allow(clippy::expect_used, reason = "a bench may stop")]

mod common;

use common::interleaved_timing::{RECORDS_PER_TURN, TimedImplementation, print_table};
use common::serde_value::SerdeJsonPeer;
use common::workload::{RecordLayout, SourceRecord, generate_patrons};
use common::zeef_peer::{self, RECIPIENTS, ZeefPeer};
use zeef::json::scan::{ScanLimits, Scanner};
use zeef::policy::pseudonym::{PseudonymDomain, Pseudonymiser};

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let (count, rounds) = if short { (2 * RECORDS_PER_TURN, 4) } else { (20_000, 600) };
    let compact = generate_patrons(count, RecordLayout::Compact);
    let spaced = generate_patrons(count, RecordLayout::Spaced);
    let shuffled = generate_patrons(count, RecordLayout::Shuffled);
    let all = || zeef_peer::compile_lane(zeef_peer::bench_policy_dir(), |_| true);
    let zeef = || ZeefPeer::new(all(), "patron");
    let (mut zeef_compact, mut zeef_spaced, mut zeef_shuffled, mut peer) =
        (zeef(), zeef(), zeef(), SerdeJsonPeer::new());
    let only_implementation = std::env::args().skip_while(|argument| argument != "--only").nth(1);
    let compared =
        [&compact, &spaced, &shuffled].into_iter().filter(|_| only_implementation.is_none());
    for records in compared {
        for record in records {
            let (ours, theirs) = (zeef_compact.outputs(record), peer.outputs(record));
            assert!(ours == theirs, "the ways do not agree");
            assert_eq!(ours.len(), RECIPIENTS.len());
        }
    }
    let mut floor = LowerBound::new();
    let mut implementations = [
        TimedImplementation::new("serde_json `Value`, then pick", &compact, |slice| {
            peer.run(slice)
        }),
        TimedImplementation::new("zeef", &compact, |slice| zeef_compact.run(slice)),
        TimedImplementation::new("zeef, spaced JSON", &spaced, |slice| zeef_spaced.run(slice)),
        TimedImplementation::new("zeef, members in random order", &shuffled, |slice| {
            zeef_shuffled.run(slice)
        }),
        TimedImplementation::new("floor: scan, UTF-8, four keyed hashes", &compact, |slice| {
            floor.run(slice)
        }),
    ];
    let rounds = if only_implementation.is_some() { 10 * rounds } else { rounds };
    for round in 0..rounds {
        for way in implementations.iter_mut().filter(|way| {
            only_implementation
                .as_deref()
                .is_none_or(|only_implementation| only_implementation == way.name)
        }) {
            way.run_round(round);
        }
    }
    print_table(&implementations, "times `Value`", |own, value| value / own);
}

/// What no transform can do without: every byte checked, every hash made.
struct LowerBound {
    pseudonymisers: Vec<Pseudonymiser>,
    meaning: PseudonymDomain,
}

impl LowerBound {
    fn new() -> Self {
        let made = RECIPIENTS.iter().filter_map(|name| zeef_peer::pseudonymiser(name));
        LowerBound {
            pseudonymisers: made.collect(),
            meaning: PseudonymDomain::new("patron", "patron_id"),
        }
    }

    fn run(&mut self, records: &[SourceRecord]) -> usize {
        let bounds = ScanLimits { max_depth: 64, max_keys: 4_096 };
        let mut sum = 0;
        for record in records {
            let text = simdutf8::basic::from_utf8(&record.value).expect("UTF-8");
            Scanner::check_json(text, bounds).expect("JSON");
            let id = std::str::from_utf8(&record.key).expect("UTF-8");
            for pseudonymiser in &self.pseudonymisers {
                let made = pseudonymiser.pseudonymise(&self.meaning, "NL-AmrBKW", id);
                sum += usize::from(made.to_ascii()[0]);
            }
        }
        sum
    }
}
