//! zeef's transform beside its peers, in one run: the table of BENCHMARKS.md.
//!
//! Each way does the same work, and its outputs are compared before any time is
//! taken. Ways take turns, round by round, so that a machine that gets slower
//! slows all of them: read the ratios.

#![allow(clippy::expect_used, reason = "a bench may stop")]

mod common;

use common::serde_value::SerdeValue;
use common::turns::{SLICE, Way, print_table};
use common::workload::{Layout, Record, patrons};
use common::zeef_way::{self, RECIPIENTS, Zeef};
use zeef::json::scan::{Bounds, Scanner};
use zeef::policy::pseudonym::{Meaning, Pseudonymiser};

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
        Way::new("serde_json `Value`, then pick", &compact, |slice| {
            peer.run(slice)
        }),
        Way::new("zeef", &compact, |slice| one.run(slice)),
        Way::new("zeef, spaced JSON", &spaced, |slice| two.run(slice)),
        Way::new("zeef, members in random order", &shuffled, |slice| {
            three.run(slice)
        }),
        Way::new("floor: scan, UTF-8, four keyed hashes", &compact, |slice| {
            floor.run(slice)
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
    print_table(&ways, "times `Value`", |own, value| value / own);
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
