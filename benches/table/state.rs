//! The state in memory: what a row costs, and each recipient of it.

use std::hint::black_box;
use std::time::Duration;

use zeef::engine::delivery::{DeliveryTracker, HoldBounds};
use zeef::engine::lane::Lane;
use zeef::engine::memory::deliveries::{
    DeliveryEntry, DeliveryOutcome, DeliveryRow, DeliveryState, PatronHash, RowKey, StateKeys,
    row_json,
};
use zeef::engine::memory::transactional::Transactional;
use zeef::policy::pseudonym::HmacKey;

use crate::{TableBenchOptions, kafka_fixture, process};

/// A batch of the worker.
const BATCH_RECORDS: usize = 20_000;
/// How many records a patron has.
const RECORDS_PER_PATRON: u64 = 8;
/// Odd, and far from any divisor of a count: walks over all places in no order.
const STRIDE: u64 = 7_368_787;

pub(crate) fn run(options: &TableBenchOptions) {
    let default = if options.is_short { 20_000 } else { 1_000_000 };
    let rows = options.patrons.unwrap_or(default);
    println!("{rows} rows, {RECORDS_PER_PATRON} of each patron\n");
    println!(
        "| recipients of a record | bytes per row | put | merge | abandon | sweep | as text | read |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut measured = Vec::new();
    // What is measured stays, so that no memory is used twice.
    let mut kept = Vec::new();
    for recipients in [1, 2, 4, 8] {
        let (bytes, state) = measure_state(rows, recipients);
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
fn measure_state(rows: u64, recipients: u16) -> (f64, DeliveryState) {
    let lane = kafka_fixture::compile_lane(&kafka_fixture::load_shipped_policy());
    let before = process::resident_bytes();
    let mut state = DeliveryState::default();
    for number in 0..rows {
        state.restore(0, row_key(number), Some((new_row(number, recipients), number)));
    }
    let bytes = (process::resident_bytes() - before) / rows as f64;
    let batch: Vec<u64> =
        (0..rows.min(BATCH_RECORDS as u64)).map(|at| at * STRIDE % rows).collect();
    let each = |time: Duration| time.as_nanos() as f64 / batch.len() as f64;
    let put = |state: &mut DeliveryState| {
        let changed: Vec<_> = batch
            .iter()
            .map(|&number| (row_key(number), new_row(number + 1, recipients)))
            .collect();
        let started = process::cpu_time();
        for (key, row) in changed {
            state.put(0, key, (row, 0));
        }
        process::cpu_time().saturating_sub(started)
    };
    let put_ns = each(put(&mut state));
    let started = process::cpu_time();
    state.commit();
    let merge_ns = each(process::cpu_time().saturating_sub(started));
    put(&mut state);
    let started = process::cpu_time();
    state.rollback();
    let abandon_ns = each(process::cpu_time().saturating_sub(started));
    let started = process::cpu_time();
    black_box(state.all_rows().filter(|(_, _, row)| row.recheck_due_ms <= 0).count());
    let sweep_ns = process::cpu_time().saturating_sub(started).as_nanos() as f64 / rows as f64;
    let (write_ns, read_ns) = text_round_trip_ns(&lane, &batch, recipients);
    println!(
        "| {recipients} | {bytes:.0} | {put_ns:.0} ns | {merge_ns:.0} ns | {abandon_ns:.0} ns | \
         {sweep_ns:.1} ns | {write_ns:.0} ns | {read_ns:.0} ns |"
    );
    (bytes, state)
}

/// Nanoseconds of writing a row, and of taking it back.
fn text_round_trip_ns(lane: &Lane, batch: &[u64], recipients: u16) -> (f64, f64) {
    let recipients = recipients.min(u16::try_from(lane.recipients.len()).unwrap());
    let each = |time: Duration| time.as_nanos() as f64 / batch.len() as f64;
    let rows: Vec<DeliveryRow> = batch.iter().map(|&number| new_row(number, recipients)).collect();
    let namer = StateKeys::new(&HmacKey::generate("bench").unwrap());
    let prints = namer.fingerprinter();
    let mut out = Vec::new();
    let mut ends = Vec::new();
    let started = process::cpu_time();
    for (row, &number) in rows.iter().zip(batch) {
        row_json::write(&mut out, &prints, lane, (0, row_key(number)), row);
        ends.push(out.len());
    }
    let write_ns = each(process::cpu_time().saturating_sub(started));
    let holds = HoldBounds { records_max: usize::MAX, wait_max_ms: i64::MAX };
    let mut holding = DeliveryTracker::new(lane, namer, holds);
    let started = process::cpu_time();
    let mut start = 0;
    for (&number, &end) in batch.iter().zip(&ends) {
        let name = row_json::encode_bits(row_key(number).0);
        let taken = holding.restore_state_message(lane, 0, Some(&name), Some(&out[start..end]));
        taken.expect("a row is read back");
        start = end;
    }
    let read_ns = each(process::cpu_time().saturating_sub(started));
    (write_ns, read_ns)
}

fn row_key(number: u64) -> RowKey {
    RowKey(mix_bits(number))
}

fn new_row(number: u64, recipients: u16) -> DeliveryRow {
    let entries = (0..recipients).map(|recipient| {
        let mut entry = DeliveryEntry::without_output(recipient, DeliveryOutcome::Released, None);
        entry.output_key = mix_bits(number ^ u64::from(recipient) << 40);
        entry.output_hash = number;
        entry.fingerprint = number << 7;
        entry
    });
    DeliveryRow {
        patron: PatronHash(mix_bits(number / RECORDS_PER_PATRON + (1 << 50))),
        source: 0,
        offset: i64::try_from(number).unwrap(),
        first_decided_ms: 1_768_478_400_000,
        recheck_due_ms: i64::MAX,
        entries: entries.collect(),
        extras: None,
    }
}

/// Bits as a keyed hash has them.
fn mix_bits(number: u64) -> u128 {
    let mix = |number: u64| {
        let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ number >> 31
    };
    let low = mix(number.wrapping_add(0x9e37_79b9_7f4a_7c15));
    u128::from(mix(low)) << 64 | u128::from(low)
}
