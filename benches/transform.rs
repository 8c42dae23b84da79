//! The transform, case by case: how many recipients, which source, and what
//! pseudonyms and the scrubbing of free text add.
//!
//! ```text
//! cargo bench --bench transform                  all cases, some minutes
//! cargo bench --bench transform -- patron        the cases of one source
//! cargo bench --bench transform -- --test        seconds: whether it still runs
//! ```
//!
//! Beside each case of patrons stands the same work done with serde_json's
//! `Value`; the outputs of the two are compared before any time is taken. For
//! ratios that hold on a noisy machine see `peers`, where ways take turns.
//!
//! An output's key is always a pseudonym: without pseudonyms means without the
//! fields that are one.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a bench ends where something is not as expected"
)]

#[path = "transform/case.rs"]
mod case;
mod common;
#[path = "transform/sampled.rs"]
mod sampled;

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};

use case::Case;
use common::serde_value::SerdeValue;
use common::workload::{Layout, Record, patrons};
use common::zeef_way::{self, Zeef};
use sampled::{SOURCES, Sampled};

/// Each iteration decides this many records, and the next one the next ones.
const SLICE: usize = 500;
const RECORDS: usize = 10 * SLICE;

criterion_group!(benches, patron, joined);
criterion_main!(benches);

/// The patron source, with the benches' own policy.
fn patron(criterion: &mut Criterion) {
    let records = patrons(RECORDS, Layout::Compact);
    let mut group = criterion.benchmark_group("patron");
    for case in Case::all() {
        let folder = case.folder(zeef_way::own_policy());
        let lane = zeef_way::lane(folder.path(), |_| true);
        let mut zeef = Zeef::new(lane, "patron");
        let mut value = SerdeValue::of(case.profiles());
        for record in &records {
            let ours = zeef.outputs(record);
            assert!(ours == value.outputs(record), "the ways do not agree");
            assert_eq!(ours.len(), case.recipients());
        }
        bench(&mut group, "zeef", &case.name, &records, |slice| {
            zeef.run(slice)
        });
        bench(
            &mut group,
            "serde_json Value",
            &case.name,
            &records,
            |slice| value.run(slice),
        );
    }
    group.finish();
}

/// The sources that are joined with patrons, with the shipped policy.
fn joined(criterion: &mut Criterion) {
    for (source, recipients) in SOURCES {
        let sampled = Sampled::of(source, RECORDS, true);
        let mut group = criterion.benchmark_group(source.as_str());
        for (name, pseudonyms) in [("as shipped", true), ("without pseudonyms", false)] {
            let folder = case::shipped(recipients, pseudonyms);
            if !pseudonyms && !folder.changed {
                continue;
            }
            let lane = zeef_way::lane(folder.path(), |name| recipients.contains(&name));
            let mut zeef = Zeef::new(lane, source.as_str());
            zeef.restore(&sampled.patrons);
            let outputs = |record: &Record| zeef.outputs(record).len();
            let outputs: usize = sampled.records.iter().map(outputs).sum();
            assert!(outputs > 0, "nothing comes of {}", source.as_str());
            bench(&mut group, "zeef", name, &sampled.records, |slice| {
                zeef.run(slice)
            });
        }
        group.finish();
    }
}

fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    way: &str,
    case: &str,
    records: &[Record],
    mut run: impl FnMut(&[Record]) -> usize,
) {
    let mut slices = records.chunks_exact(SLICE).cycle();
    group.throughput(Throughput::Elements(SLICE as u64));
    group.bench_function(BenchmarkId::new(way, case), |bencher| {
        bencher.iter(|| black_box(run(slices.next().expect("there is a slice"))));
    });
}
