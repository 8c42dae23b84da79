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

mod attack;
#[path = "../common/mod.rs"]
mod common;
mod content;
mod town;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use attack::{Sighting, join, neighbours};
use serde_json::Value;
use town::{Event, MESSAGES, STATISTICS, Town, key, lanes};
use zeef::daemon::metrics::Metrics;
use zeef::daemon::worker::{Ended, Worker};
use zeef::engine::holding::Holds;
use zeef::engine::lane::Lane;
use zeef::engine::pipeline::Pipeline;
use zeef::engine::state::Namer;
use zeef::transport::continuity::Fingerprinter;
use zeef::transport::directory::{Directory, DirectorySettings};
use zeef::transport::{Stop, Transport};

fn append(root: &Path, event: &Event) {
    let path = root.join("in").join(format!("{}.ndjson", event.source));
    let file = fs::OpenOptions::new().create(true).append(true).open(path);
    let Event { key, value, .. } = event;
    let line = format!(
        "{{\"key\":{},\"value\":{value}}}\n",
        Value::from(key.as_str())
    );
    file.unwrap().write_all(line.as_bytes()).unwrap();
}

fn worker<T: Transport>(lane: &Arc<Lane>, transport: T, now_ms: i64) -> Worker<T> {
    let holds = Holds {
        records: 100_000,
        term_ms: i64::MAX,
    };
    let pipeline = Pipeline::with_state(Arc::clone(lane), Namer::new(&key("state")), holds);
    let metrics = Metrics::new("test").unwrap().worker(lane, 0);
    let mut worker = Worker::new(pipeline, transport, metrics);
    worker.clock = Box::new(move || now_ms);
    worker
}

/// One run over the directory, as the nightly process makes it.
fn night(root: &Path, lanes: &[Arc<Lane>], now_ms: i64) {
    let settings = DirectorySettings {
        line_bytes_max: 1 << 20,
        ..DirectorySettings::new(root, Fingerprinter::new([1, 2, 3, 4]))
    };
    let directory = Directory::open_at(settings, now_ms).unwrap();
    for lane in lanes {
        let transport = directory.transport(&lane.plan(), Stop::default()).unwrap();
        assert_eq!(worker(lane, transport, now_ms).run(), Ok(Ended::AtEnd));
    }
}

/// What came to a recipient's file since it was looked at last.
fn look(root: &Path, recipient: &str, night: usize, seen: &mut Vec<Sighting>) {
    let path = root.join(format!("out/{recipient}/out.{recipient}.ndjson"));
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    for line in &lines[seen.len()..] {
        let line: Value = serde_json::from_str(line).unwrap();
        let value = Some(line["value"].clone()).filter(|value| !value.is_null());
        seen.push(Sighting {
            key: line["key"].as_str().unwrap().to_owned(),
            value,
            night,
            transaction: night as u64,
        });
    }
}

struct Seen {
    messages: Vec<Sighting>,
    statistics: Vec<Sighting>,
}

/// Lets a town live in a directory, and looks at both outputs each day.
fn watch(town: &Town, at_once: bool) -> Seen {
    let lanes = lanes(at_once);
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("in")).unwrap();
    let mut seen = Seen {
        messages: Vec::new(),
        statistics: Vec::new(),
    };
    for (day, events) in town.days.iter().enumerate() {
        events.iter().for_each(|event| append(root, event));
        night(root, &lanes, town.night_ms(day));
        look(root, MESSAGES, day, &mut seen.messages);
        look(root, STATISTICS, day, &mut seen.statistics);
    }
    seen
}

#[test]
fn a_partner_joins_no_more_rows_than_by_chance() {
    let town = Town::new(150, jiff::civil::date(2026, 1, 10), 60);
    let seen = watch(&town, false);
    let nights: Vec<usize> = seen.statistics.iter().map(|one| one.night).collect();
    // On 1 February and on 1 March, and on no other day.
    assert!(
        nights.iter().all(|night| [22, 50].contains(night)),
        "{nights:?}"
    );
    for published in seen
        .statistics
        .chunk_by(|one, next| one.night == next.night)
    {
        assert!(published.len() > 50, "{}", published.len());
        assert!(published.is_sorted_by_key(|one| &one.key));
    }
    let both = (&*seen.messages, &*seen.statistics);
    for (way, score) in join(&town, both) {
        eprintln!("by {way}: {score:?}");
        assert!(score.is_chance(), "by {way}: {score:?}");
    }
    let (follow, all) = neighbours(&town, both);
    eprintln!("neighbours: {follow} of {all}");
    assert!(follow <= 10 && all > 200, "{follow} of {all}");
}

/// The same partner, where statistics has no period: so this test can fail.
#[test]
fn without_a_period_a_partner_joins_most_rows() {
    let town = Town::new(150, jiff::civil::date(2026, 1, 10), 30);
    let seen = watch(&town, true);
    let both = (&*seen.messages, &*seen.statistics);
    for (way, score) in join(&town, both) {
        eprintln!("by {way}: {score:?}");
        assert!(
            way != "arrival" || score.right * 2 > score.guesses,
            "{score:?}"
        );
    }
    let (follow, all) = neighbours(&town, both);
    eprintln!("neighbours: {follow} of {all}");
    assert!(follow * 2 > all, "{follow} of {all}");
}
