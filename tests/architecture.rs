//! The house rules that a compiler does not hold.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as expected"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, lowest first; a room uses only rooms listed before it.
fn rooms() -> Vec<String> {
    let map = fs::read_to_string("src/lib.rs").unwrap();
    map.lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn a_room_uses_only_rooms_below_it() {
    let rooms = rooms();
    assert!(rooms.len() > 5, "{rooms:?}");
    for (floor, room) in rooms.iter().enumerate() {
        for file in sources(&Path::new("src").join(room)) {
            let text = fs::read_to_string(&file).unwrap();
            for above in &rooms[floor + 1..] {
                assert!(
                    !text.contains(&format!("crate::{above}::")),
                    "{} uses the room `{above}` above it",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn only_the_kafka_transport_names_its_client() {
    for file in sources(Path::new("src")) {
        if file.starts_with("src/transport/kafka") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains("rdkafka::"), "{}", file.display());
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    for file in sources(Path::new("src")) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//!"), "{} has no head", file.display());
    }
}

#[test]
fn no_metric_is_named_outside_its_table() {
    for file in sources(Path::new("src")) {
        if file.ends_with("daemon/metrics.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains("\"zeef_"), "{}", file.display());
    }
}

/// The ids of flows and rules that a text names: a letter and two digits that
/// stand alone.
fn rule_ids(text: &str) -> impl Iterator<Item = &str> {
    let alone = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    text.split(alone).filter(|word| {
        let mut letters = word.chars();
        let first = letters.next();
        let digits = letters.as_str();
        first.is_some_and(|first| "FGSR".contains(first))
            && digits.len() == 2
            && digits.chars().all(|c| c.is_ascii_digit())
    })
}

#[test]
fn every_rule_id_is_explained_in_the_rules() {
    let rules = fs::read_to_string("docs/rules.md").unwrap();
    let rows = rules.lines().filter_map(|line| line.strip_prefix("| "));
    let explained: Vec<&str> = rows.filter_map(|row| rule_ids(row).next()).collect();
    let mut named = 0;
    let config = fs::read_dir("config/recipients").unwrap();
    let recipients = config.map(|entry| entry.unwrap().path());
    for file in sources(Path::new("src")).into_iter().chain(recipients) {
        let text = fs::read_to_string(&file).unwrap();
        for id in rule_ids(&text) {
            named += 1;
            assert!(explained.contains(&id), "{}: {id}", file.display());
        }
    }
    assert!(named > 20, "{named}");
}
