//! What `zeef bench` found: tables for people, one object for programs.
//!
//! Measures nothing.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::super::exit::counted;
use super::super::screen::{HEADING, Screen};
use super::super::table::{Cell, Table, grouped};
use super::measure::{Figures, Shares};

impl Figures {
    fn ns_per_record(&self) -> f64 {
        self.ns[1]
    }

    fn records_per_s(&self) -> f64 {
        1e9 / self.ns_per_record().max(f64::MIN_POSITIVE)
    }

    /// Megabytes a second, where all records together are so many bytes.
    fn mb_per_s(&self, bytes: u64) -> f64 {
        self.per_record(bytes) * self.records_per_s() / 1e6
    }

    fn per_record(&self, count: u64) -> f64 {
        count as f64 / self.records as f64
    }

    /// What neither reading nor any one recipient has alone.
    fn rest(&self, shares: &Shares) -> f64 {
        let parts: f64 = self.recipients.iter().filter_map(|one| one.share).sum();
        (1.0 - shares.reading - parts).max(0.0)
    }
}

/// Writes the figures for people.
///
/// # Errors
///
/// Those of the screen.
pub(super) fn tables(screen: &mut Screen, figures: &Figures) -> io::Result<()> {
    let made = if figures.invented { "invented " } else { "" };
    let style = HEADING;
    writeln!(
        screen,
        "{style}{}{style:#}: {} {made}records of {:.0} bytes, {}, one core, median of {}",
        figures.source,
        grouped(figures.records as u64),
        figures.per_record(figures.input_bytes),
        counted(figures.recipients.len(), "recipient"),
        counted(figures.rounds as usize, "round"),
    )?;
    writeln!(screen)?;
    whole(figures).write(screen, None)?;
    writeln!(screen)?;
    recipients(figures).write(screen, screen.width())?;
    if let Some(shares) = &figures.shares {
        writeln!(screen)?;
        inside(figures, shares).write(screen, screen.width())?;
    }
    Ok(())
}

fn whole(figures: &Figures) -> Table {
    let [fastest, middle, slowest] = figures.ns;
    let mut table = Table::new(&[]).indented(2);
    table.row([
        "records/s".into(),
        Cell::number(figures.records_per_s().round() as u64),
    ]);
    table.row([
        "ns per record".into(),
        Cell::number(middle.round() as u64),
        format!(
            "rounds from {} to {}",
            grouped(fastest.round() as u64),
            grouped(slowest.round() as u64)
        )
        .into(),
    ]);
    table.row([
        "MB/s in".into(),
        Cell::right(format!("{:.1}", figures.mb_per_s(figures.input_bytes))),
    ]);
    table.row([
        "MB/s out".into(),
        Cell::right(format!("{:.1}", figures.mb_per_s(figures.output_bytes))),
        format!(
            "{:.2} outputs, {:.0} bytes per record",
            figures.per_record(figures.outputs),
            figures.per_record(figures.output_bytes)
        )
        .into(),
    ]);
    table
}

/// The time that has this share of the whole, and the share.
fn part(figures: &Figures, share: f64) -> [Cell; 2] {
    [
        Cell::number((share * figures.ns_per_record()).round() as u64),
        Cell::right(format!("{:.1} %", 100.0 * share)),
    ]
}

fn recipients(figures: &Figures) -> Table {
    let released = |count: u64| Cell::right(format!("{:.1} %", 100.0 * figures.per_record(count)));
    let Some(shares) = &figures.shares else {
        let mut table = Table::new(&["RECIPIENT", "RELEASED"]);
        for one in &figures.recipients {
            table.row([one.name.clone().into(), released(one.released)]);
        }
        return table;
    };
    let mut table = Table::new(&["WHERE THE TIME GOES", "NS PER RECORD", "SHARE", "RELEASED"]);
    let row = |name: &str, share: f64| {
        let [time, share] = part(figures, share);
        [Cell::from(name), time, share]
    };
    table.row(row("reading", shares.reading));
    for one in &figures.recipients {
        let cells = row(&one.name, one.share.unwrap_or_default());
        table.row(cells.into_iter().chain([released(one.released)]));
    }
    table.row(row("what several have together", figures.rest(shares)));
    table
}

fn inside(figures: &Figures, shares: &Shares) -> Table {
    let mut table = Table::new(&["OF THE RECIPIENTS' TIME", "NS PER RECORD", "SHARE", ""]);
    let [time, share] = part(figures, shares.pseudonyms);
    let each = format!("{:.2} per record", shares.pseudonyms_per_record);
    table.row(["pseudonyms".into(), time, share, each.into()]);
    let [time, share] = part(figures, shares.detectors);
    table.row(["detectors".into(), time, share]);
    let [time, share] = part(figures, shares.inspect);
    let known = format!("{:.1} % of records", 100.0 * shares.inspected_records);
    table.row(["inspect".into(), time, share, known.into()]);
    table
}

/// Writes the figures for a program: one object, every key with its unit.
///
/// # Errors
///
/// Those of the screen.
pub(super) fn json(screen: &mut Screen, figures: &Figures) -> anyhow::Result<()> {
    let [fastest, middle, slowest] = figures.ns;
    let mut object = json!({
        "policy_version": figures.policy_version,
        "source": figures.source,
        "records": figures.records,
        "invented": figures.invented,
        "rounds": figures.rounds,
        "records_per_s": tenths(figures.records_per_s()),
        "input_mb_per_s": tenths(figures.mb_per_s(figures.input_bytes)),
        "output_mb_per_s": tenths(figures.mb_per_s(figures.output_bytes)),
        "ns_per_record": tenths(middle),
        "fastest_ns_per_record": tenths(fastest),
        "slowest_ns_per_record": tenths(slowest),
        "input_bytes_per_record": tenths(figures.per_record(figures.input_bytes)),
        "output_bytes_per_record": tenths(figures.per_record(figures.output_bytes)),
        "outputs_per_record": thousandths(figures.per_record(figures.outputs)),
        "refused_records": figures.refused.iter().sum::<u64>(),
        "held_records": figures.held,
    });
    let mut add = |key: &str, value: Value| object[key] = value;
    if let Some(shares) = &figures.shares {
        let parts = [
            ("reading", shares.reading),
            ("together", figures.rest(shares)),
            ("pseudonyms", shares.pseudonyms),
            ("detectors", shares.detectors),
            ("inspect", shares.inspect),
        ];
        for (name, share) in parts {
            for (unit, value) in part_json(figures, share) {
                add(&format!("{name}_{unit}"), value);
            }
        }
        let each = thousandths(shares.pseudonyms_per_record);
        add("pseudonyms_per_record", json!(each));
        let inspected = tenths(100.0 * shares.inspected_records);
        add("inspected_records_percent", json!(inspected));
    }
    let recipients = figures.recipients.iter().map(|one| {
        let released = 100.0 * figures.per_record(one.released);
        let mut object = Map::new();
        object.insert("name".to_owned(), json!(one.name));
        object.insert("released_percent".to_owned(), json!(tenths(released)));
        object.extend(
            one.share
                .into_iter()
                .flat_map(|share| part_json(figures, share)),
        );
        Value::Object(object)
    });
    add("recipients", recipients.collect());
    serde_json::to_writer_pretty(&mut *screen, &object)?;
    writeln!(screen)?;
    Ok(())
}

fn part_json(figures: &Figures, share: f64) -> [(String, Value); 2] {
    let ns = tenths(share * figures.ns_per_record());
    [
        ("ns_per_record".to_owned(), json!(ns)),
        ("share_percent".to_owned(), json!(tenths(100.0 * share))),
    ]
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn thousandths(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}
