//! What the intake costs: messages of Koha to canonical records, and the lookups in memory.
//!
//! ```text
//! cargo bench --bench intake               a catalogue of a million titles, some minutes
//! cargo bench --bench intake -- --end-to-end   on a real Kafka, against a bare mirror
//! cargo bench --bench intake -- --versions     what `newer_by` costs, and nothing else
//! cargo bench --bench intake -- --short    seconds: whether all of it still runs
//! ```
//!
//! The mapping is the shipped one, and messages are as Debezium writes them. First the catalogue
//! is read into the lookups; memory is what the kernel counts as resident. Then loans, which take
//! their title through two lookups, and patrons are converted in memory by one thread, as JSON and
//! as Avro, in turn with what serde_json and apache-avro need for the same bytes. Loans whose versions
//! are compared take turns with the same loans whose versions are not. Last, a library's
//! whole export: read, converted, and run with `--snapshot` as a process of its own.
//!
//! `--end-to-end` runs the intake of the daemon and a mirror (that of the bench `end_to_end`) by
//! turns, as processes, on one broker and the same loans. The mirror writes as many messages of the
//! same bytes, and neither reads nor looks up anything. Ratios are those of alternated pairs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench ends where something is not as expected, and prints"
)]

#[path = "../tests/broker/harness/broker.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod broker;
#[path = "intake/catalogue.rs"]
mod catalogue;
#[path = "end_to_end/child_process.rs"]
#[allow(dead_code, unreachable_pub, reason = "another bench uses more of it")]
mod child_process;
mod common;
#[path = "intake/conversion.rs"]
mod conversion;
#[path = "intake/end_to_end.rs"]
mod end_to_end;
#[path = "intake/koha.rs"]
mod koha;
#[path = "end_to_end/mirror.rs"]
#[allow(unreachable_pub, reason = "a module of one program")]
mod mirror;
#[path = "end_to_end/output_span.rs"]
#[allow(unreachable_pub, reason = "a module of one program")]
mod output_span;
#[path = "table/process.rs"]
#[allow(dead_code, reason = "another bench uses more of it")]
mod process;
#[path = "intake/snapshot.rs"]
mod snapshot;
#[path = "intake/versions.rs"]
mod versions;

use std::fs;
use std::time::{Duration, Instant};

use common::interleaved_timing::RECORDS_PER_TURN;
use koha::KohaLibrary;
use zeef::intake::{Intake, load_file};
use zeef::policy::Policy;
use zeef_test_kit::config::shipped_config;

/// How much of everything.
struct BenchSize {
    /// The library whose catalogue is read into the lookups.
    library: KohaLibrary,
    /// Messages of a kind, and how often each way has its turn.
    messages: u64,
    rounds: usize,
    /// Loans of which the versions are remembered.
    versions: u64,
    /// The library that writes a whole export.
    exporter: KohaLibrary,
    exported_loans: u64,
    /// Loans on a real Kafka, and how often each way reads them.
    streamed_loans: u64,
    pairs: usize,
}

const FULL: BenchSize = BenchSize {
    library: KohaLibrary { patrons: 200_000, titles: 1_000_000 },
    messages: 40 * RECORDS_PER_TURN as u64,
    rounds: 400,
    versions: 1_000_000,
    exporter: KohaLibrary { patrons: 50_000, titles: 60_000 },
    exported_loans: 500_000,
    streamed_loans: 600_000,
    pairs: 5,
};

const SHORT: BenchSize = BenchSize {
    library: KohaLibrary { patrons: 200, titles: 500 },
    messages: RECORDS_PER_TURN as u64,
    rounds: 2,
    versions: 2_000,
    exporter: KohaLibrary { patrons: 50, titles: 60 },
    exported_loans: 500,
    streamed_loans: 3_000,
    pairs: 1,
};

/// The shipped mapping.
const MAPPING: &str = "koha-debezium";
/// How many messages are made before they are timed.
const CHUNK_MESSAGES: usize = 1_000;

/// As the daemon has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let mut words = std::env::args().skip(1);
    if words.next().is_some_and(|word| word == mirror::MIRROR_WORD) {
        return mirror::run_mirror(&mirror::MirrorArgs::from_words(words).expect("an order"));
    }
    let has = |word: &str| std::env::args().any(|argument| argument == word);
    let size = if has("--short") { &SHORT } else { &FULL };
    let intake = load_mapping("");
    if has("--versions") {
        let small = BenchSize { library: KohaLibrary { patrons: 20_000, titles: 5_000 }, ..*size };
        let lookups = catalogue::read(&intake, &small.library);
        return versions::compare(&small, (&intake, &lookups));
    }
    if has("--short") || has("--end-to-end") {
        end_to_end::compare(size, &intake);
    }
    if has("--end-to-end") {
        return;
    }
    let lookups = catalogue::read(&intake, &size.library);
    conversion::compare(size, (&intake, &lookups));
    versions::compare(size, (&intake, &lookups));
    drop(lookups);
    snapshot::run(size, &intake);
}

/// Loads the shipped mapping with more settings in front.
fn load_mapping(settings: &str) -> Intake {
    edit_mapping(|text| format!("{settings}{text}"))
}

/// Loads the shipped mapping as `edit` makes it.
fn edit_mapping(edit: impl FnOnce(&str) -> String) -> Intake {
    let config = shipped_config();
    let kinds = Policy::load(&config).expect("the shipped config").policy.record_kinds;
    let file = format!("{MAPPING}.toml");
    let text = fs::read_to_string(config.join("intake").join(&file)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file);
    fs::write(&path, edit(&text)).unwrap();
    load_file(&path, &kinds).expect("the shipped mapping")
}

/// Hands each of `items` to `take`, and returns how long that took. They are made some at a time
/// before, which does not count.
fn time_each<T>(mut items: impl Iterator<Item = T>, mut take: impl FnMut(&T)) -> Duration {
    let mut time = Duration::ZERO;
    loop {
        let chunk: Vec<T> = items.by_ref().take(CHUNK_MESSAGES).collect();
        if chunk.is_empty() {
            return time;
        }
        let started = Instant::now();
        chunk.iter().for_each(&mut take);
        time += started.elapsed();
    }
}
