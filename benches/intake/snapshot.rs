//! A library's whole export: read, converted, and run as a process.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use zeef::intake::{Intake, RawMessage};
use zeef_test_kit::config::{copy_shipped_config, enable_intake};
use zeef_test_kit::process::{CommandOutput, zeef_command};

use crate::catalogue::{apply, message_of};
use crate::child_process::{MeasuredChild, ProcessCost};
use crate::{BenchSize, MAPPING, time_each};

/// A night's run takes seconds.
const RUN_DEADLINE: Duration = Duration::from_secs(1_800);
const MB: f64 = 1e6;

pub(crate) fn run(size: &BenchSize, intake: &Intake) {
    let config = copy_shipped_config();
    enable_intake(config.path(), MAPPING);
    let zeef = env!("CARGO_BIN_EXE_zeef");
    let config_path = config.path().to_str().unwrap();
    let keys = ["keys", "new", "--all", "--config", config_path];
    CommandOutput::of(&mut zeef_command(zeef, &keys)).check(0, &[]);
    let root = config.path().join("library");
    let raw = root.join("raw").join(MAPPING).join("export.ndjson");
    fs::create_dir_all(root.join("in")).unwrap();
    fs::create_dir_all(raw.parent().unwrap()).unwrap();
    let (messages, converting) = write_and_convert(size, intake, &raw);
    let (lines, reading) = read_lines(&raw);
    assert_eq!(lines, messages);
    println!(
        "\nA whole export of {} patrons, {} loans and {} titles: {messages} lines, {:.0} MB.\n",
        size.exporter.patrons,
        size.exported_loans,
        size.exporter.titles,
        fs::metadata(&raw).unwrap().len() as f64 / MB
    );
    let mut table = vec![
        format!("| reading its lines | {:.2} | | |", reading.as_secs_f64()),
        format!("| converting them, in memory | {:.2} | | |", converting.as_secs_f64()),
    ];
    let snapshot = ["run", "--directory", root.to_str().unwrap(), "--snapshot"];
    let night = [&snapshot[..], &["--config", config_path]].concat();
    for what in ["`zeef run --snapshot`, the first night", "the same export again"] {
        let started = Instant::now();
        let cost = run_night(zeef, &night);
        let seconds = started.elapsed().as_secs_f64();
        let peak = cost.peak_bytes as f64 / MB;
        table.push(format!("| {what} | {seconds:.2} | {:.2} | {peak:.0} |", cost.cpu_s));
    }
    let loans = count_lines(&root.join("in/loan.ndjson"));
    assert_eq!(loans, size.exported_loans, "each loan is there once");
    println!("\n| step | s | CPU s | peak MB |\n|---|---:|---:|---:|\n{}", table.join("\n"));
}

/// Writes the export as lines. Returns how many, and the time that converting them takes, lookups
/// first.
fn write_and_convert(size: &BenchSize, intake: &Intake, path: &Path) -> (u64, Duration) {
    let mut out = BufWriter::new(File::create(path).unwrap());
    let mut messages = 0;
    let mut write = |(topic, value): (&'static str, Vec<u8>)| {
        messages += 1;
        write!(out, "{{\"topic\":\"{topic}\",\"value\":").unwrap();
        out.write_all(&value).and_then(|()| out.write_all(b"}\n")).unwrap();
        (topic, value)
    };
    let exporter = size.exporter;
    let mut lookups = intake.empty_lookups();
    let rows = exporter.lookup_rows().map(|change| write(message_of(&change)));
    let mut time = time_each(rows, |(topic, value)| apply(intake, (topic, value), &mut lookups));
    let patrons = (0..exporter.patrons).map(|number| exporter.patron(number));
    let loans = (0..size.exported_loans).map(|number| exporter.loan(number));
    let records = patrons.chain(loans).map(|change| write(message_of(&change.into_snapshot())));
    time += time_each(records, |(topic, value)| {
        let message = RawMessage { topic, value: Some(value), schema: None };
        assert_eq!(intake.convert(&message, &lookups).records.len(), 1);
    });
    out.flush().unwrap();
    (messages, time)
}

fn read_lines(path: &Path) -> (u64, Duration) {
    let started = Instant::now();
    (count_lines(path), started.elapsed())
}

fn count_lines(path: &Path) -> u64 {
    let mut reader = BufReader::with_capacity(1 << 18, File::open(path).unwrap());
    let mut line = Vec::new();
    let mut lines = 0;
    while reader.read_until(b'\n', &mut line).unwrap() > 0 {
        lines += 1;
        line.clear();
    }
    lines
}

/// Runs to the end of its input, with errors alone on stderr.
fn run_night(zeef: &str, words: &[&str]) -> ProcessCost {
    let mut command = zeef_command(zeef, words);
    command.env("RUST_LOG", "error");
    MeasuredChild::spawn(&mut command).wait(RUN_DEADLINE, || {})
}
