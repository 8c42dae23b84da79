//! The transform, case by case: how many recipients, which source, and what
//! pseudonyms and the scrubbing of free text add.
//!
//! ```text
//! cargo bench --bench transform                  all cases, some minutes
//! cargo bench --bench transform -- patron        the cases of one source
//! cargo bench --bench transform -- --test        seconds: whether it still runs
//! ```
//!
//! Beside each case of generate_patrons stands the same work done with serde_json's
//! `Value`; the outputs of the two are compared before any time is taken. For
//! ratios that hold on a noisy machine see `peers`, where ways take turns.
//!
//! An output's key is always a pseudonym: without pseudonyms means without the
//! fields that are one.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench ends where something is not as expected"
)]

#[path = "transform/case.rs"]
mod case;
mod common;
#[path = "transform/sampled_records.rs"]
mod sampled_records;

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};

use case::TransformCase;
use common::serde_value::SerdeJsonPeer;
use common::workload::{RecordLayout, SourceRecord, generate_patrons};
use common::zeef_peer::{self, ZeefPeer};
use sampled_records::{JOINED_SOURCES, SampledRecords};
use zeef::sample::SampleSource;
use zeef_test_kit::config::{copy_shipped_config, enable_all_recipients, remove_statistics_period};

/// Each iteration decides this many records, and the next one the next ones.
const RECORDS_PER_ITERATION: usize = 500;
const RECORD_COUNT: usize = 10 * RECORDS_PER_ITERATION;

criterion_group!(benches, bench_patron_source, bench_joined_sources, bench_all_recipients);
criterion_main!(benches);

/// The patron source, with the benches' own policy.
fn bench_patron_source(criterion: &mut Criterion) {
    let records = generate_patrons(RECORD_COUNT, RecordLayout::Compact);
    let mut group = criterion.benchmark_group("patron");
    for case in TransformCase::all() {
        let folder = case.write_policy(zeef_peer::bench_policy_dir());
        let lane = zeef_peer::compile_lane(folder.path(), |_| true);
        let mut zeef = ZeefPeer::new(lane, "patron");
        let mut value = SerdeJsonPeer::with_profiles(case.profiles());
        for record in &records {
            let ours = zeef.outputs(record);
            assert!(ours == value.outputs(record), "the ways do not agree");
            assert_eq!(ours.len(), case.n_recipients());
        }
        bench_implementation(&mut group, "zeef", &case.name, &records, |slice| zeef.run(slice));
        bench_implementation(&mut group, "serde_json Value", &case.name, &records, |slice| {
            value.run(slice)
        });
    }
    group.finish();
}

/// The sources that are joined with generate_patrons, with the shipped policy.
fn bench_joined_sources(criterion: &mut Criterion) {
    for (source, recipients) in JOINED_SOURCES {
        let sampled = SampledRecords::generate(source, RECORD_COUNT, true);
        let mut group = criterion.benchmark_group(source.as_str());
        for (name, pseudonyms) in [("as shipped", true), ("without pseudonyms", false)] {
            let folder = case::write_shipped_policy(recipients, pseudonyms);
            if !pseudonyms && !folder.is_changed {
                continue;
            }
            let lane = zeef_peer::compile_lane(folder.path(), |name| recipients.contains(&name));
            let mut zeef = ZeefPeer::new(lane, source.as_str());
            zeef.load_patrons(&sampled.patrons);
            let outputs = |record: &SourceRecord| zeef.outputs(record).len();
            let outputs: usize = sampled.records.iter().map(outputs).sum();
            assert!(outputs > 0, "nothing comes of {}", source.as_str());
            bench_implementation(&mut group, "zeef", name, &sampled.records, |slice| {
                zeef.run(slice)
            });
        }
        group.finish();
    }
}

/// Every shipped recipient switched on in one lane, by source. Says how many outputs a record
/// has.
fn bench_all_recipients(criterion: &mut Criterion) {
    let folder = copy_shipped_config();
    enable_all_recipients(folder.path());
    remove_statistics_period(folder.path());
    let lane = zeef_peer::compile_lane(folder.path(), |_| true);
    let recipients = lane.recipients.len();
    let mut group = criterion.benchmark_group("all recipients");
    let joined = JOINED_SOURCES.iter().map(|(source, _)| *source);
    for source in [SampleSource::Patron].into_iter().chain(joined) {
        let sampled = SampledRecords::generate(source, RECORD_COUNT, true);
        let mut zeef = ZeefPeer::new(lane.clone(), source.as_str());
        if source != SampleSource::Patron {
            zeef.load_patrons(&sampled.patrons);
        }
        let outputs: usize = sampled.records.iter().map(|record| zeef.outputs(record).len()).sum();
        let per_record = outputs as f64 / sampled.records.len() as f64;
        let name = source.as_str();
        println!("{name}: {per_record:.2} outputs a record, {recipients} recipients");
        bench_implementation(&mut group, "zeef", name, &sampled.records, |slice| zeef.run(slice));
    }
    group.finish();
}

fn bench_implementation(
    group: &mut BenchmarkGroup<'_, WallTime>,
    way: &str,
    case: &str,
    records: &[SourceRecord],
    mut run: impl FnMut(&[SourceRecord]) -> usize,
) {
    let mut slices = records.chunks_exact(RECORDS_PER_ITERATION).cycle();
    group.throughput(Throughput::Elements(RECORDS_PER_ITERATION as u64));
    group.bench_function(BenchmarkId::new(way, case), |bencher| {
        bencher.iter(|| black_box(run(slices.next().expect("there is a slice"))));
    });
}
