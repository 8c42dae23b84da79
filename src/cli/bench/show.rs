//! The results of `zeef bench`: tables for people, one object for programs.
//!
//! Measures nothing.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::super::exit::pluralise;
use super::super::screen::{HEADING, Screen};
use super::super::table::{TableCell, TextTable, format_thousands};
use super::measure::{BenchFigures, TimeShares};

impl BenchFigures {
    fn ns_per_record(&self) -> f64 {
        self.round_ns_min_median_max[1]
    }

    fn records_per_s(&self) -> f64 {
        1e9 / self.ns_per_record().max(f64::MIN_POSITIVE)
    }

    /// Returns megabytes per second, if all records together have so many bytes.
    fn mb_per_s(&self, bytes: u64) -> f64 {
        self.per_record(bytes) * self.records_per_s() / 1e6
    }

    fn per_record(&self, count: u64) -> f64 {
        count as f64 / self.records as f64
    }

    /// Returns the share that belongs neither to reading nor to one recipient alone.
    fn shared_time(&self, shares: &TimeShares) -> f64 {
        let parts: f64 = self.recipients.iter().filter_map(|one| one.time_share).sum();
        (1.0 - shares.reading - parts).max(0.0)
    }
}

/// Writes the figures for people.
///
/// # Errors
///
/// Those of the screen.
pub(super) fn write_tables(screen: &mut Screen, figures: &BenchFigures) -> io::Result<()> {
    let made = if figures.is_invented { "invented " } else { "" };
    let style = HEADING;
    writeln!(
        screen,
        "{style}{}{style:#}: {} {made}records of {:.0} bytes, {}, one core, median of {}",
        figures.source,
        format_thousands(figures.records as u64),
        figures.per_record(figures.input_bytes),
        pluralise(figures.recipients.len(), "recipient"),
        pluralise(figures.rounds as usize, "round"),
    )?;
    writeln!(screen)?;
    totals_table(figures).write(screen, None)?;
    writeln!(screen)?;
    recipients_table(figures).write(screen, screen.width())?;
    if let Some(shares) = &figures.time_shares {
        writeln!(screen)?;
        recipient_time_table(figures, shares).write(screen, screen.width())?;
    }
    Ok(())
}

fn totals_table(figures: &BenchFigures) -> TextTable {
    let [fastest, middle, slowest] = figures.round_ns_min_median_max;
    let mut table = TextTable::new(&[]).indented(2);
    table.add_row(["records/s".into(), TableCell::number(figures.records_per_s().round() as u64)]);
    table.add_row([
        "ns per record".into(),
        TableCell::number(middle.round() as u64),
        format!(
            "rounds from {} to {}",
            format_thousands(fastest.round() as u64),
            format_thousands(slowest.round() as u64)
        )
        .into(),
    ]);
    table.add_row([
        "MB/s in".into(),
        TableCell::right_aligned(format!("{:.1}", figures.mb_per_s(figures.input_bytes))),
    ]);
    table.add_row([
        "MB/s out".into(),
        TableCell::right_aligned(format!("{:.1}", figures.mb_per_s(figures.output_bytes))),
        format!(
            "{:.2} outputs, {:.0} bytes per record",
            figures.per_record(figures.outputs),
            figures.per_record(figures.output_bytes)
        )
        .into(),
    ]);
    table
}

/// Returns the time for a share of the total, and the share.
fn time_cells(figures: &BenchFigures, time_share: f64) -> [TableCell; 2] {
    [
        TableCell::number((time_share * figures.ns_per_record()).round() as u64),
        TableCell::right_aligned(format!("{:.1} %", 100.0 * time_share)),
    ]
}

fn recipients_table(figures: &BenchFigures) -> TextTable {
    let released = |count: u64| {
        TableCell::right_aligned(format!("{:.1} %", 100.0 * figures.per_record(count)))
    };
    let Some(shares) = &figures.time_shares else {
        let mut table = TextTable::new(&["RECIPIENT", "RELEASED"]);
        for one in &figures.recipients {
            table.add_row([one.name.clone().into(), released(one.released)]);
        }
        return table;
    };
    let mut table = TextTable::new(&["WHERE THE TIME GOES", "NS PER RECORD", "SHARE", "RELEASED"]);
    let row = |name: &str, share: f64| {
        let [time, share] = time_cells(figures, share);
        [TableCell::from(name), time, share]
    };
    table.add_row(row("reading", shares.reading));
    for one in &figures.recipients {
        let cells = row(&one.name, one.time_share.unwrap_or_default());
        table.add_row(cells.into_iter().chain([released(one.released)]));
    }
    table.add_row(row("what several have together", figures.shared_time(shares)));
    table
}

fn recipient_time_table(figures: &BenchFigures, shares: &TimeShares) -> TextTable {
    let mut table = TextTable::new(&["OF THE RECIPIENTS' TIME", "NS PER RECORD", "SHARE", ""]);
    let [time, share] = time_cells(figures, shares.pseudonyms);
    let each = format!("{:.2} per record", shares.pseudonyms_per_record);
    table.add_row(["pseudonyms".into(), time, share, each.into()]);
    let [time, share] = time_cells(figures, shares.detectors);
    table.add_row(["detectors".into(), time, share]);
    let [time, share] = time_cells(figures, shares.inspect);
    let known = format!("{:.1} % of records", 100.0 * shares.inspected_records);
    table.add_row(["inspect".into(), time, share, known.into()]);
    table
}

/// Writes the figures for programs: one object, every key with its unit.
///
/// # Errors
///
/// Those of the screen.
pub(super) fn write_json(screen: &mut Screen, figures: &BenchFigures) -> anyhow::Result<()> {
    let [fastest, middle, slowest] = figures.round_ns_min_median_max;
    let mut object = json!({
        "policy_version": figures.policy_version,
        "source": figures.source,
        "records": figures.records,
        "invented": figures.is_invented,
        "rounds": figures.rounds,
        "records_per_s": round_to_tenths(figures.records_per_s()),
        "input_mb_per_s": round_to_tenths(figures.mb_per_s(figures.input_bytes)),
        "output_mb_per_s": round_to_tenths(figures.mb_per_s(figures.output_bytes)),
        "ns_per_record": round_to_tenths(middle),
        "fastest_ns_per_record": round_to_tenths(fastest),
        "slowest_ns_per_record": round_to_tenths(slowest),
        "input_bytes_per_record": round_to_tenths(figures.per_record(figures.input_bytes)),
        "output_bytes_per_record": round_to_tenths(figures.per_record(figures.output_bytes)),
        "outputs_per_record": round_to_thousandths(figures.per_record(figures.outputs)),
        "refused_records": figures.refused.iter().sum::<u64>(),
        "held_records": figures.held,
    });
    let mut add = |key: &str, value: Value| object[key] = value;
    if let Some(shares) = &figures.time_shares {
        let parts = [
            ("reading", shares.reading),
            ("together", figures.shared_time(shares)),
            ("pseudonyms", shares.pseudonyms),
            ("detectors", shares.detectors),
            ("inspect", shares.inspect),
        ];
        for (name, share) in parts {
            for (unit, value) in time_json(figures, share) {
                add(&format!("{name}_{unit}"), value);
            }
        }
        let each = round_to_thousandths(shares.pseudonyms_per_record);
        add("pseudonyms_per_record", json!(each));
        let inspected = round_to_tenths(100.0 * shares.inspected_records);
        add("inspected_records_percent", json!(inspected));
    }
    let recipients = figures.recipients.iter().map(|one| {
        let released = 100.0 * figures.per_record(one.released);
        let mut object = Map::new();
        object.insert("name".to_owned(), json!(one.name));
        object.insert("released_percent".to_owned(), json!(round_to_tenths(released)));
        object.extend(one.time_share.into_iter().flat_map(|share| time_json(figures, share)));
        Value::Object(object)
    });
    add("recipients", recipients.collect());
    serde_json::to_writer_pretty(&mut *screen, &object)?;
    writeln!(screen)?;
    Ok(())
}

fn time_json(figures: &BenchFigures, time_share: f64) -> [(String, Value); 2] {
    let ns = round_to_tenths(time_share * figures.ns_per_record());
    [
        ("ns_per_record".to_owned(), json!(ns)),
        ("share_percent".to_owned(), json!(round_to_tenths(100.0 * time_share))),
    ]
}

fn round_to_tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn round_to_thousandths(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}
