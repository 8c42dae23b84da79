//! What `newer_by` costs: loans whose versions are compared, in turn with the same loans whose
//! versions are not, and the memory of the versions that are remembered.

use std::hint::black_box;

use zeef::intake::{Intake, LookupTables, RawMessage, RecordVersions};
use zeef::policy::pseudonym::HmacKey;

use crate::common::interleaved_timing::{TimedImplementation, print_table};
use crate::common::workload::SourceRecord;
use crate::koha::ISSUES;
use crate::{BenchSize, edit_mapping, process};

const LOAN: &str = "kind   = \"loan\"\n";
const NEWER_BY: &str = "newer_by = [\"envelope.source.file\", \"envelope.source.pos\"]\n";
/// Files and topics whose keys are not spread have one.
const PARTITION: i32 = 0;
/// How often a row is written while rows are counted.
const BATCH_RECORDS: u64 = 1_000;

pub(crate) fn compare(size: &BenchSize, (plain, lookups): (&Intake, &LookupTables)) {
    let compared = edit_mapping(|text| text.replacen(LOAN, &format!("{LOAN}{NEWER_BY}"), 1));
    let loans = (0..size.messages).map(|number| size.library.loan(number).to_json());
    let loans: Vec<_> = loans.map(|value| SourceRecord { key: Vec::new(), value }).collect();
    let mut versions = empty_versions(&compared);
    let mut ways = [
        TimedImplementation::new("versions are not compared", &loans, |slice| {
            slice.iter().map(|one| convert((plain, lookups), &one.value, None)).sum()
        }),
        TimedImplementation::new("`newer_by`, a batch a turn", &loans, |slice| {
            let converted = slice
                .iter()
                .map(|one| convert((&compared, lookups), &one.value, Some(&mut versions)))
                .sum();
            commit(&mut versions);
            converted
        }),
    ];
    for round in 0..size.rounds {
        for way in &mut ways {
            way.run_round(round);
        }
    }
    println!("\nLoans whose versions are compared, rows of the state as text included.");
    print_table(&ways, "times the time without", |own, without| own / without);
    drop(ways);
    assert_eq!(versions.row_count() as u64, size.messages, "a loan has no version");
    drop(versions);
    measure_rows(size, (&compared, lookups));
}

fn empty_versions(intake: &Intake) -> RecordVersions {
    let key = HmacKey::generate("bench").expect("a key");
    intake.empty_versions(&key).expect("versions are compared")
}

/// Converts a loan; returns how many bytes came of it.
fn convert(
    (intake, lookups): (&Intake, &LookupTables),
    value: &[u8],
    versions: Option<&mut RecordVersions>,
) -> usize {
    let message = RawMessage { topic: ISSUES.topic, value: Some(value), schema: None };
    let mut conversion = intake.convert(&message, lookups);
    if let Some(versions) = versions {
        versions.take_out_older(PARTITION, &mut conversion).expect("memory for all rows");
        assert_eq!(conversion.older, [], "a loan is not as new as itself");
    }
    conversion.records.iter().filter_map(|record| record.value.as_ref()).map(Vec::len).sum()
}

/// Makes the rows of a batch, as they are written, and keeps them.
fn commit(versions: &mut RecordVersions) {
    versions.for_each_pending(|_, key, value| {
        black_box((key, value));
    });
    versions.commit();
}

/// Prints the memory of a row of each loan, and what it takes in the state.
fn measure_rows(size: &BenchSize, (intake, lookups): (&Intake, &LookupTables)) {
    let before = process::resident_bytes();
    let mut versions = empty_versions(intake);
    let mut state_bytes = 0;
    for number in 0..size.versions {
        let loan = size.library.loan(number).to_json();
        convert((intake, lookups), &loan, Some(&mut versions));
        if (number + 1) % BATCH_RECORDS == 0 || number + 1 == size.versions {
            versions.for_each_pending(|_, key, value| {
                state_bytes += key.len() + value.map_or(0, <[u8]>::len);
            });
            versions.commit();
        }
    }
    let resident = process::resident_bytes() - before;
    assert_eq!(versions.row_count() as u64, size.versions, "a loan has no version");
    println!("\n| versions of {} loans | bytes a row |", size.versions);
    println!("|---|---:|");
    let line = |what: &str, bytes: f64| {
        println!("| {what} | {:.0} |", bytes / size.versions as f64);
    };
    line("resident", resident);
    line("as `zeef_intake_version_bytes` counts", versions.bytes() as f64);
    line("key and value in the state", f64::from(u32::try_from(state_bytes).expect("a length")));
}
