//! A test that plays the partner: who has the output of service-message, with the
//! names, and that of statistics, finds no more pairs of rows than by chance.
//!
//! What the rows themselves say joins some, and is measured:
//!
//! ```text
//! cargo test --locked --test partner -- --nocapture content
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a test ends where something is not as expected"
)]

mod content_uniqueness;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use zeef::daemon::worker::WorkerExit;
use zeef::engine::lane::Lane;
use zeef::message::continuity::Fingerprinter;
use zeef::transport::StopSignal;
use zeef::transport::directory::{Directory, DirectorySettings};
use zeef_test_kit::library_fixture::{
    LibraryFixture, SERVICE_MESSAGE, STATISTICS, SourceEvent, compile_lanes,
};
use zeef_test_kit::linkage_attack::{Observation, count_adjacent_pairs, join_outputs};
use zeef_test_kit::worker::{WorkerSetup, new_worker};

fn append_event(root: &Path, event: &SourceEvent) {
    let path = root.join("in").join(format!("{}.ndjson", event.source));
    let file = fs::OpenOptions::new().create(true).append(true).open(path);
    let SourceEvent { key, value, .. } = event;
    let line = format!("{{\"key\":{},\"value\":{value}}}\n", Value::from(key.as_str()));
    file.unwrap().write_all(line.as_bytes()).unwrap();
}

/// One run over the directory, as the nightly process makes it.
fn run_lanes(root: &Path, lanes: &[Arc<Lane>], now_ms: i64) {
    let settings = DirectorySettings {
        max_line_bytes: 1 << 20,
        ..DirectorySettings::new(root, Fingerprinter::new([1, 2, 3, 4]))
    };
    let directory = Directory::open_at(settings, now_ms).unwrap();
    for lane in lanes {
        let transport =
            directory.lane_transport(&lane.transport_plan(), StopSignal::default()).unwrap();
        assert_eq!(
            new_worker(lane, transport, WorkerSetup::DEFAULT, move || now_ms).run(),
            Ok(WorkerExit::EndOfInput)
        );
    }
}

/// What came to a recipient's file since it was looked at last.
fn collect_new_lines(root: &Path, recipient: &str, night: usize, seen: &mut Vec<Observation>) {
    let path = root.join(format!("out/{recipient}/out.{recipient}.ndjson"));
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    for line in &lines[seen.len()..] {
        let line: Value = serde_json::from_str(line).unwrap();
        let value = Some(line["value"].clone()).filter(|value| !value.is_null());
        seen.push(Observation {
            key: line["key"].as_str().unwrap().to_owned(),
            value,
            day: night,
            transaction: night as u64,
        });
    }
}

struct ObservedOutputs {
    messages: Vec<Observation>,
    statistics: Vec<Observation>,
}

/// Lets a town live in a directory, and looks at both outputs each day.
fn observe_outputs(fixture: &LibraryFixture, at_once: bool) -> ObservedOutputs {
    let lanes = compile_lanes(at_once);
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("in")).unwrap();
    let mut seen = ObservedOutputs { messages: Vec::new(), statistics: Vec::new() };
    for (day, events) in fixture.events_by_day.iter().enumerate() {
        events.iter().for_each(|event| append_event(root, event));
        run_lanes(root, &lanes, fixture.run_time_ms(day));
        collect_new_lines(root, SERVICE_MESSAGE, day, &mut seen.messages);
        collect_new_lines(root, STATISTICS, day, &mut seen.statistics);
    }
    seen
}

#[test]
fn s08_partner_joins_no_more_rows_than_chance() {
    let fixture = LibraryFixture::new(150, jiff::civil::date(2026, 1, 10), 60);
    let seen = observe_outputs(&fixture, false);
    let nights: Vec<usize> = seen.statistics.iter().map(|one| one.day).collect();
    // On 1 February and on 1 March, and on no other day.
    assert!(nights.iter().all(|night| [22, 50].contains(night)), "{nights:?}");
    for published in seen.statistics.chunk_by(|one, next| one.day == next.day) {
        assert!(published.len() > 50, "{}", published.len());
        assert!(published.is_sorted_by_key(|one| &one.key));
    }
    let both = (&*seen.messages, &*seen.statistics);
    for (way, score) in join_outputs(&fixture, both) {
        eprintln!("by {way}: {score:?}");
        assert!(score.is_no_better_than_chance(), "by {way}: {score:?}");
    }
    let (follow, all) = count_adjacent_pairs(&fixture, both);
    eprintln!("neighbours: {follow} of {all}");
    assert!(follow <= 10 && all > 200, "{follow} of {all}");
}

/// The same partner, where statistics has no period: so this test can fail.
#[test]
fn s08_without_period_partner_joins_most_rows() {
    let fixture = LibraryFixture::new(150, jiff::civil::date(2026, 1, 10), 30);
    let seen = observe_outputs(&fixture, true);
    let both = (&*seen.messages, &*seen.statistics);
    for (way, score) in join_outputs(&fixture, both) {
        eprintln!("by {way}: {score:?}");
        assert!(way != "arrival" || score.n_correct * 2 > score.n_guesses, "{score:?}");
    }
    let (follow, all) = count_adjacent_pairs(&fixture, both);
    eprintln!("neighbours: {follow} of {all}");
    assert!(follow * 2 > all, "{follow} of {all}");
}
