//! A library's catalogue in the lookups: the time to read it, and its memory.

use zeef::intake::{Intake, LookupTables, RawMessage};

use crate::koha::{KohaLibrary, RowChange};
use crate::{process, time_each};

const MB: f64 = 1e6;

/// Reads the catalogue, and prints what it costs.
pub(crate) fn read(intake: &Intake, library: &KohaLibrary) -> LookupTables {
    let mut lookups = intake.empty_lookups();
    let before = process::resident_bytes();
    process::reset_peak_resident();
    let messages = library.lookup_rows().map(|change| message_of(&change));
    let mut count = 0_u64;
    let time = time_each(messages, |(topic, value)| {
        count += 1;
        apply(intake, (topic, value), &mut lookups);
    });
    let resident = process::resident_bytes() - before;
    let peak = process::peak_resident_bytes() - before;
    let rows: usize = lookups.row_counts().iter().sum();
    assert_eq!(rows as u64, count, "a row of a lookup is missing");
    let titles = library.titles as f64;
    println!("{} titles, {} items: {rows} rows of lookups\n", library.titles, library.items());
    println!("| memory | MB | bytes per title |");
    println!("|---|---:|---:|");
    let line = |what: &str, bytes: f64| {
        println!("| {what} | {:.0} | {:.0} |", bytes / MB, bytes / titles);
    };
    line("resident", resident);
    line("resident at its peak", peak);
    line("as `zeef_intake_lookup_bytes` counts", lookups.bytes() as f64);
    println!("\nRead: {:.0} rows/s.", count as f64 / time.as_secs_f64());
    lookups
}

/// A message by its topic.
pub(crate) fn message_of(change: &RowChange) -> (&'static str, Vec<u8>) {
    (change.table.topic, change.to_json())
}

pub(crate) fn apply(intake: &Intake, (topic, value): (&str, &[u8]), lookups: &mut LookupTables) {
    let message = RawMessage { topic, value: Some(value), schema: None };
    let refused = intake.apply_to_lookups(&message, lookups).expect("memory for all rows");
    assert_eq!(refused, []);
}
