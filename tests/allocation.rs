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
#[path = "common/mod.rs"]
mod files;
#[path = "../benches/transform/sampled.rs"]
mod sampled;

use std::alloc::System;
use std::fs;
use std::hint::black_box;
use std::path::Path;

use alloc_tracker::{Allocator, Session};

use common::workload::{Layout, Record, patrons};
use common::zeef_way::{self, RECIPIENTS, Zeef};
use files::copy_folder;
use sampled::{SOURCES, Sampled};
use zeef::engine::pipeline::Pipeline;
use zeef::sample::Source;

#[global_allocator]
static ALLOCATOR: Allocator<System> = Allocator::system();

/// More than a batch.
const RECORDS: usize = 1_200;

/// How often this thread allocates meanwhile; what grows in place counts too.
fn allocations(run: impl FnOnce()) -> u64 {
    let session = Session::new();
    let operation = session.operation("run");
    {
        let _span = operation.measure_thread();
        run();
    }
    let report = session.to_report();
    let mut counts = report
        .operations()
        .map(|(_, run)| run.total_allocations_count());
    counts.next().expect("the run was counted")
}

/// Stops if the records are decided with any allocation; `end` ends a batch.
#[track_caller]
fn check(zeef: &mut Zeef, records: &[Record], end: fn(&mut Pipeline)) {
    for _ in 0..2 {
        assert!(zeef.batches(records, end) > 0, "nothing comes of them");
    }
    let mut decide = |records: &[Record]| {
        allocations(|| {
            black_box(zeef.batches(records, end));
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
fn own() -> Zeef {
    Zeef::new(zeef_way::lane(zeef_way::own_policy(), |_| true), "patron")
}

/// The shipped policy, with some of its recipients.
fn shipped(source: Source, wanted: impl Fn(&str) -> bool) -> Zeef {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    Zeef::new(zeef_way::lane(&config, wanted), source.as_str())
}

/// Patrons whose notes are `notes`, in turn, as they stand in JSON.
fn noted(layout: Layout, notes: &[&str]) -> Vec<Record> {
    let mut records = patrons(RECORDS, layout);
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
fn check_shown(zeef: &mut Zeef, records: &[Record], wanted: &[&str]) {
    let outputs: Vec<u8> = records
        .iter()
        .flat_map(|record| zeef.outputs(record).concat())
        .collect();
    let outputs = String::from_utf8_lossy(&outputs);
    for wanted in wanted {
        assert!(outputs.contains(wanted), "no output has {wanted}");
    }
}

#[test]
fn what_is_counted_is_what_is_allocated() {
    assert_eq!(allocations(|| {}), 0);
    assert_eq!(allocations(|| drop(black_box(Box::new(1)))), 1);
    let mut grows = Vec::with_capacity(1);
    let grow = || {
        for number in 0..20 {
            black_box(&mut grows).push(number);
        }
    };
    assert!(allocations(grow) > 1);
}

#[test]
fn a_patron_in_any_layout() {
    // No word begins as an IBAN does.
    let notes = [
        "Pas vergeten, bsn 111222333, zonder pas vooruit",
        "Mailt via ander@example.org",
        "Tel. 06-00000000 na zes uur",
        "Komt elke dinsdag met de leesclub, grote letters",
    ];
    for layout in [Layout::Compact, Layout::Spaced, Layout::Shuffled] {
        let (mut zeef, records) = (own(), noted(layout, &notes));
        assert_eq!(zeef.outputs(&records[0]).len(), RECIPIENTS.len());
        check_shown(&mut zeef, &records, &["[bsn]", "[email]", "[phone]"]);
        check(&mut zeef, &records, Pipeline::abandon);
    }
}

#[test]
fn a_patron_with_escapes() {
    let mut zeef = own();
    let mut records = noted(
        Layout::Compact,
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
    let wanted = [
        r#"\"tel. [phone]\"\nof via [email]"#,
        "Pas vergeten, bsn [bsn]",
    ];
    check_shown(&mut zeef, &records, &wanted);
    check_shown(&mut zeef, &records, &["Özdemir"]);
    check(&mut zeef, &records, Pipeline::abandon);
}

#[test]
fn a_patron_of_the_shipped_policy() {
    let mut zeef = shipped(Source::Patron, |name| name.starts_with("kb-"));
    let records = Sampled::of(Source::Patron, RECORDS, true).records;
    check(&mut zeef, &records, Pipeline::abandon);
}

#[test]
fn a_record_joined_with_its_patron() {
    for (source, recipients) in SOURCES {
        let mut sampled = Sampled::of(source, RECORDS, false);
        if source == Source::Reservation {
            sampled.records.retain(|record| !is_belgian(record));
        }
        check_joined(source, &sampled, |_| true);
        check_joined(source, &sampled, |name| recipients.contains(&name));
    }
}

#[track_caller]
fn check_joined(source: Source, sampled: &Sampled, wanted: impl Fn(&str) -> bool) {
    let mut zeef = shipped(source, wanted);
    zeef.restore(&sampled.patrons);
    check(&mut zeef, &sampled.records, Pipeline::merge);
    check(&mut zeef, &sampled.records, Pipeline::abandon);
}

fn is_belgian(record: &Record) -> bool {
    record.key.starts_with(b"BE-")
}

#[test]
fn a_slip_of_a_belgian_name() {
    let mut sampled = Sampled::of(Source::Reservation, RECORDS, false);
    sampled.records.retain(is_belgian);
    check_joined(Source::Reservation, &sampled, |_| true);
}

#[test]
fn a_note_in_which_an_iban_may_stand() {
    let (mut zeef, records) = (own(), patrons(RECORDS, Layout::Compact));
    let hits = ["[bsn]", "[email]", "[phone]", "[iban]"];
    check_shown(&mut zeef, &records, &hits);
    check(&mut zeef, &records, Pipeline::abandon);
}

#[test]
fn a_note_beyond_ascii() {
    let mut zeef = own();
    let records = noted(
        Layout::Compact,
        &[
            "Overlegd over café’s – vóór zaterdag",
            "Tel. élke dag ０６-00000000",
            r"Overlegd over \ud83d\ude00, bsn 111222333",
        ],
    );
    check_shown(&mut zeef, &records, &["[phone]", "😀, bsn [bsn]"]);
    check(&mut zeef, &records, Pipeline::abandon);
}

#[test]
fn a_note_with_values_of_its_own_record() {
    let folder = tempfile::tempdir().expect("a folder");
    copy_folder(zeef_way::own_policy(), folder.path());
    let desk = folder.path().join("recipients/desk.toml");
    let text = fs::read_to_string(&desk).expect("a recipient");
    let changed = text.replace("\"phone\"]", "\"phone\", \"own_values\"]");
    assert_ne!(text, changed);
    fs::write(desk, changed).expect("a file");
    let mut zeef = Zeef::new(zeef_way::lane(folder.path(), |_| true), "patron");
    let records = noted(Layout::Compact, &["Jansen of Visser kort", "Kort"]);
    check_shown(&mut zeef, &records, &["[own_values]"]);
    check(&mut zeef, &records, Pipeline::abandon);
}

#[test]
fn a_record_that_is_refused() {
    let (mut zeef, mut records) = (own(), patrons(RECORDS, Layout::Compact));
    for record in &mut records {
        record.value.push(b'}');
    }
    check(&mut zeef, &records, Pipeline::abandon);
}
