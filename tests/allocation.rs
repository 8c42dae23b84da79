//! Deciding a record allocates nothing: all is done in memory that is there.
//!
//! Buffers grow until they hold the largest of what they are for. So a set of
//! records is decided twice first, and what is counted is the same set again.
//! Twice, as two buffers change places whenever a detector hits.
//!
//! A row of the table is one allocation by design, so that what is replaced or
//! erased is gone as a whole: what fills the table is not counted here. Nor is
//! the rare name that must be cleaned first, of hidden characters for one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as expected"
)]

#[path = "../benches/common/mod.rs"]
mod common;
#[path = "../benches/transform/sampled_records.rs"]
mod sampled_records;

use std::alloc::System;
use std::fs;
use std::hint::black_box;
use std::path::Path;

use alloc_tracker::{Allocator, Session};

use common::workload::{RecordLayout, SourceRecord, generate_patrons};
use common::zeef_peer::{self, RECIPIENTS, ZeefPeer};
use sampled_records::{JOINED_SOURCES, SampledRecords};
use zeef::engine::pipeline::Pipeline;
use zeef::sample::SampleSource;
use zeef_test_kit::config::copy_dir;

#[global_allocator]
static ALLOCATOR: Allocator<System> = Allocator::system();

/// More than a batch.
const RECORDS: usize = 1_200;

/// How often this thread allocates meanwhile; what grows in place counts too.
fn count_allocations(run: impl FnOnce()) -> u64 {
    let session = Session::new();
    let operation = session.operation("run");
    {
        let _span = operation.measure_thread();
        run();
    }
    let report = session.to_report();
    let mut counts = report.operations().map(|(_, run)| run.total_allocations_count());
    counts.next().expect("the run was counted")
}

/// Stops if the records are decided with any allocation; `end` ends a batch.
#[track_caller]
fn check_no_allocations(zeef: &mut ZeefPeer, records: &[SourceRecord], end: fn(&mut Pipeline)) {
    for _ in 0..2 {
        assert!(zeef.run_batches(records, end) > 0, "nothing comes of them");
    }
    let mut decide = |records: &[SourceRecord]| {
        count_allocations(|| {
            black_box(zeef.run_batches(records, end));
        })
    };
    let count = decide(records);
    if count > 0 {
        let mut each = records.chunks(1);
        let one = each.find(|one| decide(one) > 0);
        let one = one.map(|one| String::from_utf8_lossy(&one[0].value));
        let of = records.len();
        panic!("{count} allocations in {of} records; by itself this one allocates: {one:?}");
    }
}

/// The benches' own policy, in which nothing is joined.
fn bench_policy_peer() -> ZeefPeer {
    ZeefPeer::new(zeef_peer::compile_lane(zeef_peer::bench_policy_dir(), |_| true), "patron")
}

/// The shipped policy, with some of its recipients.
fn shipped_policy_peer(source: SampleSource, wanted: impl Fn(&str) -> bool) -> ZeefPeer {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    ZeefPeer::new(zeef_peer::compile_lane(&config, wanted), source.as_str())
}

/// Patrons whose notes are `notes`, in turn, as they stand in JSON.
fn patrons_with_notes(layout: RecordLayout, notes: &[&str]) -> Vec<SourceRecord> {
    let mut records = generate_patrons(RECORDS, layout);
    for (record, note) in records.iter_mut().zip(notes.iter().cycle()) {
        let text = std::str::from_utf8(&record.value).expect("UTF-8");
        let (before, rest) = text.split_once(r#""note""#).expect("a note");
        let (colon, rest) = rest.split_once('"').expect("its start");
        let (_, after) = rest.split_once('"').expect("its end");
        record.value = format!(r#"{before}"note"{colon}"{note}"{after}"#).into_bytes();
    }
    records
}

/// Stops unless the outputs of some record have each of `wanted` in them.
#[track_caller]
fn check_outputs_contain(zeef: &mut ZeefPeer, records: &[SourceRecord], wanted: &[&str]) {
    let outputs: Vec<u8> =
        records.iter().flat_map(|record| zeef.outputs(record).concat()).collect();
    let outputs = String::from_utf8_lossy(&outputs);
    for wanted in wanted {
        assert!(outputs.contains(wanted), "no output has {wanted}");
    }
}

#[test]
fn allocation_counter_counts_every_allocation() {
    assert_eq!(count_allocations(|| {}), 0);
    assert_eq!(count_allocations(|| drop(black_box(Box::new(1)))), 1);
    let mut grows = Vec::with_capacity(1);
    let grow = || {
        for number in 0..20 {
            black_box(&mut grows).push(number);
        }
    };
    assert!(count_allocations(grow) > 1);
}

#[test]
fn allocation_none_for_patrons_in_any_json_layout() {
    // No word begins as an IBAN does.
    let notes = [
        "Pas vergeten, bsn 111222333, zonder pas vooruit",
        "Mailt via ander@example.org",
        "Tel. 06-00000000 na zes uur",
        "Komt elke dinsdag met de leesclub, grote letters",
    ];
    for layout in [RecordLayout::Compact, RecordLayout::Spaced, RecordLayout::Shuffled] {
        let (mut zeef, records) = (bench_policy_peer(), patrons_with_notes(layout, &notes));
        assert_eq!(zeef.outputs(&records[0]).len(), RECIPIENTS.len());
        check_outputs_contain(&mut zeef, &records, &["[bsn]", "[email]", "[phone]"]);
        check_no_allocations(&mut zeef, &records, Pipeline::rollback);
    }
}

#[test]
fn allocation_none_for_escaped_strings() {
    let mut zeef = bench_policy_peer();
    let mut records = patrons_with_notes(
        RecordLayout::Compact,
        &[
            r#"Zei \"later\",\n\tzie C:\\pas \/ map"#,
            r#"Zei \"tel. 06-00000000\"\nof via ander@example.org"#,
            r"\u0050as vergeten, bsn 111222333",
            r"Kort",
        ],
    );
    for record in &mut records {
        let text = std::str::from_utf8(&record.value).expect("UTF-8");
        record.value = text.replace('Ö', r"\u00d6").into_bytes();
    }
    let wanted = [r#"\"tel. [phone]\"\nof via [email]"#, "Pas vergeten, bsn [bsn]"];
    check_outputs_contain(&mut zeef, &records, &wanted);
    check_outputs_contain(&mut zeef, &records, &["Özdemir"]);
    check_no_allocations(&mut zeef, &records, Pipeline::rollback);
}

#[test]
fn allocation_none_for_patrons_of_shipped_policy() {
    let mut zeef = shipped_policy_peer(SampleSource::Patron, |name| name.starts_with("kb-"));
    let records = SampledRecords::generate(SampleSource::Patron, RECORDS, true).records;
    check_no_allocations(&mut zeef, &records, Pipeline::rollback);
}

#[test]
fn allocation_none_for_joined_records() {
    for (source, recipients) in JOINED_SOURCES {
        let mut sampled = SampledRecords::generate(source, RECORDS, false);
        if source == SampleSource::Reservation {
            sampled.records.retain(|record| !is_belgian(record));
        }
        // What is kept for the sums and lists of a patron is a copy.
        check_joined_source(source, &sampled, |name| name != "family-access");
        check_joined_source(source, &sampled, |name| recipients.contains(&name));
    }
}

#[track_caller]
fn check_joined_source(
    source: SampleSource,
    sampled: &SampledRecords,
    wanted: impl Fn(&str) -> bool,
) {
    let mut zeef = shipped_policy_peer(source, wanted);
    zeef.load_patrons(&sampled.patrons);
    check_no_allocations(&mut zeef, &sampled.records, Pipeline::commit);
    check_no_allocations(&mut zeef, &sampled.records, Pipeline::rollback);
}

fn is_belgian(record: &SourceRecord) -> bool {
    record.key.starts_with(b"BE-")
}

#[test]
fn allocation_none_for_belgian_reservation_slips() {
    let mut sampled = SampledRecords::generate(SampleSource::Reservation, RECORDS, false);
    sampled.records.retain(is_belgian);
    check_joined_source(SampleSource::Reservation, &sampled, |_| true);
}

#[test]
fn allocation_none_for_notes_with_possible_ibans() {
    let (mut zeef, records) =
        (bench_policy_peer(), generate_patrons(RECORDS, RecordLayout::Compact));
    let hits = ["[bsn]", "[email]", "[phone]", "[iban]"];
    check_outputs_contain(&mut zeef, &records, &hits);
    check_no_allocations(&mut zeef, &records, Pipeline::rollback);
}

#[test]
fn allocation_none_for_non_ascii_notes() {
    let mut zeef = bench_policy_peer();
    let records = patrons_with_notes(
        RecordLayout::Compact,
        &[
            "Overlegd over café’s – vóór zaterdag",
            "Tel. élke dag ０６-00000000",
            r"Overlegd over \ud83d\ude00, bsn 111222333",
        ],
    );
    check_outputs_contain(&mut zeef, &records, &["[phone]", "😀, bsn [bsn]"]);
    check_no_allocations(&mut zeef, &records, Pipeline::rollback);
}

#[test]
fn allocation_none_for_own_values_detector() {
    let folder = tempfile::tempdir().expect("a folder");
    copy_dir(zeef_peer::bench_policy_dir(), folder.path());
    let desk = folder.path().join("recipients/desk.toml");
    let text = fs::read_to_string(&desk).expect("a recipient");
    let changed = text.replace("\"phone\"]", "\"phone\", \"own_values\"]");
    assert_ne!(text, changed);
    fs::write(desk, changed).expect("a file");
    let mut zeef = ZeefPeer::new(zeef_peer::compile_lane(folder.path(), |_| true), "patron");
    let records = patrons_with_notes(RecordLayout::Compact, &["Jansen of Visser kort", "Kort"]);
    check_outputs_contain(&mut zeef, &records, &["[own_values]"]);
    check_no_allocations(&mut zeef, &records, Pipeline::rollback);
}

#[test]
fn allocation_none_for_refused_records() {
    let (mut zeef, mut records) =
        (bench_policy_peer(), generate_patrons(RECORDS, RecordLayout::Compact));
    for record in &mut records {
        record.value.push(b'}');
    }
    check_no_allocations(&mut zeef, &records, Pipeline::rollback);
}
