//! The state in memory: what a row costs, and each recipient of it.

use std::hint::black_box;
use std::time::Duration;

use zeef::engine::holding::{Holding, Holds};
use zeef::engine::lane::Lane;
use zeef::engine::state::{Entry, Namer, Outcome, PatronRef, Row, RowKey, State, text};
use zeef::policy::pseudonym::Key;

use crate::{Wanted, process, scene};

/// A batch of the worker.
const BATCH: usize = 20_000;
/// How many records a patron has.
const RECORDS: u64 = 8;
/// Odd, and far from any divisor of a count: walks over all places in no order.
const STRIDE: u64 = 7_368_787;

pub(crate) fn run(wanted: &Wanted) {
    let default = if wanted.short { 20_000 } else { 1_000_000 };
    let rows = wanted.patrons.unwrap_or(default);
    println!("{rows} rows, {RECORDS} of each patron\n");
    println!(
        "| recipients of a record | bytes per row | put | merge | abandon | sweep | as text | read |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut measured = Vec::new();
    // What is measured stays, so that no memory is used twice.
    let mut kept = Vec::new();
    for recipients in [1, 2, 4, 8] {
        let (bytes, state) = measure(rows, recipients);
        measured.push((f64::from(recipients), bytes));
        kept.push(state);
    }
    let [(few, least), .., (many, most)] = measured[..] else {
        return;
    };
    let each = (most - least) / (many - few);
    println!(
        "\nA row without recipients: {:.0} bytes; each recipient over it: {each:.0} bytes.",
        least - few * each
    );
}

/// Prints nanoseconds per row; yields the bytes of one, and all of them.
fn measure(rows: u64, recipients: u16) -> (f64, State) {
    let lane = scene::lane(&scene::policy());
    let before = process::resident();
    let mut state = State::default();
    for number in 0..rows {
        state.restore(0, key(number), Some((row(number, recipients), number)));
    }
    let bytes = (process::resident() - before) / rows as f64;
    let batch: Vec<u64> = (0..rows.min(BATCH as u64))
        .map(|at| at * STRIDE % rows)
        .collect();
    let each = |time: Duration| time.as_nanos() as f64 / batch.len() as f64;
    let put = |state: &mut State| {
        let changed: Vec<_> = batch
            .iter()
            .map(|&number| (key(number), row(number + 1, recipients)))
            .collect();
        let started = process::cpu();
        for (key, row) in changed {
            state.put(0, key, (row, 0), None);
        }
        process::cpu().saturating_sub(started)
    };
    let put_ns = each(put(&mut state));
    let started = process::cpu();
    state.merge();
    let merge_ns = each(process::cpu().saturating_sub(started));
    put(&mut state);
    let started = process::cpu();
    state.abandon();
    let abandon_ns = each(process::cpu().saturating_sub(started));
    let started = process::cpu();
    black_box(state.all().filter(|(_, _, row)| row.due_ms <= 0).count());
    let sweep_ns = process::cpu().saturating_sub(started).as_nanos() as f64 / rows as f64;
    let (write_ns, read_ns) = texts(&lane, &batch, recipients);
    println!(
        "| {recipients} | {bytes:.0} | {put_ns:.0} ns | {merge_ns:.0} ns | {abandon_ns:.0} ns | \
         {sweep_ns:.1} ns | {write_ns:.0} ns | {read_ns:.0} ns |"
    );
    (bytes, state)
}

/// Nanoseconds of writing a row, and of taking it back.
fn texts(lane: &Lane, batch: &[u64], recipients: u16) -> (f64, f64) {
    let recipients = recipients.min(u16::try_from(lane.recipients.len()).unwrap());
    let each = |time: Duration| time.as_nanos() as f64 / batch.len() as f64;
    let rows: Vec<Row> = batch
        .iter()
        .map(|&number| row(number, recipients))
        .collect();
    let namer = Namer::new(&Key::generate("bench").unwrap());
    let prints = namer.fingerprinter();
    let mut out = Vec::new();
    let mut ends = Vec::new();
    let started = process::cpu();
    for (row, &number) in rows.iter().zip(batch) {
        text::write(&mut out, &prints, lane, (0, key(number)), row);
        ends.push(out.len());
    }
    let write_ns = each(process::cpu().saturating_sub(started));
    let holds = Holds {
        records: usize::MAX,
        term_ms: i64::MAX,
    };
    let mut holding = Holding::new(lane, namer, holds);
    let started = process::cpu();
    let mut start = 0;
    for (&number, &end) in batch.iter().zip(&ends) {
        let name = text::name(key(number).0);
        let taken = holding.restore(lane, 0, Some(&name), Some(&out[start..end]));
        taken.expect("a row is read back");
        start = end;
    }
    let read_ns = each(process::cpu().saturating_sub(started));
    (write_ns, read_ns)
}

fn key(number: u64) -> RowKey {
    RowKey(mixed(number))
}

fn row(number: u64, recipients: u16) -> Row {
    let entries = (0..recipients).map(|recipient| {
        let mut entry = Entry::without(recipient, Outcome::Released, None);
        entry.key = mixed(number ^ u64::from(recipient) << 40);
        entry.hash = number;
        entry.facts = number << 7;
        entry
    });
    Row {
        patron: PatronRef(mixed(number / RECORDS + (1 << 50))),
        source: 0,
        offset: i64::try_from(number).unwrap(),
        first_ms: 1_768_478_400_000,
        due_ms: i64::MAX,
        entries: entries.collect(),
        more: None,
    }
}

/// Bits as a keyed hash has them.
fn mixed(number: u64) -> u128 {
    let mix = |number: u64| {
        let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ number >> 31
    };
    let low = mix(number.wrapping_add(0x9e37_79b9_7f4a_7c15));
    u128::from(mix(low)) << 64 | u128::from(low)
}
