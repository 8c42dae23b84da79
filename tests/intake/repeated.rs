//! A connector that lost exactly-once sends again, at a restart, what came last: older states of a
//! row come behind newer ones for a while. Where it has caught up, all is as without it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use zeef::policy::catalogue::Role;
use zeef_test_kit::directory_outputs::live_outputs;
use zeef_test_kit::rng::TestRng;

use super::directory::{Site, append, case};
use super::record_kinds;

const MAPPING: &str = "koha-debezium";
/// Cases whose messages make a history of one library: check-ins, anonymised and merged patrons,
/// erasures, withdrawn consents.
const CASES: &[&str] = &[
    "patron",
    "consent",
    "loan-check-in",
    "loan-privacy-never",
    "reservation",
    "debt",
    "loan-anonymised",
    "loan-merged-patrons",
];
/// This one is of other borrowers: who is erased never comes back in Koha.
const ERASURES: &str = "patron-erased";
const RESTARTS: usize = 3;
/// More messages than a restart repeats at most.
const REPEATED_MAX: usize = 60;

/// By source, key and the record's own id the last value; null for an erased patron.
type LastRecords = BTreeMap<(String, String, String), Value>;

fn last_records(root: &Path) -> LastRecords {
    let mut last = LastRecords::new();
    for kind in record_kinds() {
        let path = root.join("in").join(format!("{}.ndjson", kind.topic));
        for line in fs::read_to_string(path).unwrap_or_default().lines() {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let key = line["key"].as_str().unwrap().to_owned();
            let id = match kind.role {
                Role::Patron => String::new(),
                Role::Gate | Role::Record => line["value"][&kind.id_path].to_string(),
            };
            last.insert((kind.topic.clone(), key, id), line["value"].take());
        }
    }
    last
}

/// The messages as lines, each with its end.
fn read_history() -> Vec<String> {
    let read = |name: &str| case(&format!("{name}.in.ndjson"));
    let erasures = read(ERASURES).replace("\"borrowernumber\":", "\"borrowernumber\":9");
    let texts = CASES.iter().map(|name| read(name)).chain([erasures]);
    let lines =
        texts.flat_map(|text| text.lines().map(|line| format!("{line}\n")).collect::<Vec<_>>());
    lines.collect()
}

/// Runs after each of `parts` was appended to the raw file.
fn run_parts<'l>(site: &Site, parts: impl Iterator<Item = &'l [String]>) {
    let dump = site.raw(MAPPING).join("dump.ndjson");
    for part in parts {
        append(&dump, &part.concat());
        // Some messages of the cases are refused.
        let output = site.run(&[]);
        assert!(matches!(output.exit_code, 0 | 1), "{}", output.stderr);
    }
}

#[test]
fn connector_that_repeats_messages_at_restarts_ends_the_same() {
    let history = read_history();
    let mut repeated_loans = 0;
    for seed in 0..3 {
        let mut rng = TestRng::new(seed);
        let mut ends: Vec<usize> = (0..RESTARTS).map(|_| rng.below(history.len())).collect();
        ends.push(history.len());
        ends.sort_unstable();
        let starts: Vec<usize> = [0].into_iter().chain(ends.iter().copied()).collect();
        let ranges: Vec<(usize, usize)> = starts.into_iter().zip(ends).collect();
        // One config for both: outputs are keyed by its secrets.
        let site = Site::new(MAPPING);
        run_parts(&site, ranges.iter().map(|&(start, end)| &history[start..end]));
        let (want, want_live) = (last_records(&site.root()), live_outputs(&site.root()));
        let loans = site.lines("in/loan.ndjson").len();
        assert!(want.len() > 20 && want_live.len() > 3, "{} {}", want.len(), want_live.len());
        assert!(want.values().any(Value::is_null), "an erasure");

        site.clear(MAPPING);
        let repeated = ranges.iter().map(|&(start, end)| {
            let from = start.saturating_sub(rng.below(REPEATED_MAX));
            &history[from..end]
        });
        run_parts(&site, repeated);
        repeated_loans += site.lines("in/loan.ndjson").len() - loans;
        assert_eq!(last_records(&site.root()), want, "seed {seed}");
        assert_eq!(live_outputs(&site.root()), want_live, "seed {seed}");
    }
    assert!(repeated_loans > 10, "{repeated_loans}");
}
