//! A partner who has both outputs and joins their rows by what surrounds them: the
//! order in which they stand, when they came, beside which others, and when they
//! changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::town::Town;

/// One line, or message, of an output, as it was found.
#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    pub(crate) key: String,
    /// `None` where it was taken back.
    pub(crate) value: Option<Value>,
    /// The day on which it was there first.
    pub(crate) night: usize,
    /// The transaction that it was written in, where that shows.
    pub(crate) transaction: u64,
}

/// What is found of one row.
struct Row {
    branch: String,
    /// Its place among the first sightings of all rows.
    place: usize,
    night: usize,
    transaction: u64,
    /// On which days it changed later.
    changes: Vec<usize>,
}

fn rows(sightings: &[Sighting]) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::<String, Row>::new();
    for sighting in sightings {
        let place = rows.len();
        match (rows.get_mut(&sighting.key), &sighting.value) {
            (Some(row), _) => row.changes.push(sighting.night),
            (None, None) => {}
            (None, Some(value)) => {
                let branch = value["branch"].as_str().unwrap_or_default().to_owned();
                let row = Row {
                    branch,
                    place,
                    night: sighting.night,
                    transaction: sighting.transaction,
                    changes: Vec::new(),
                };
                rows.insert(sighting.key.clone(), row);
            }
        }
    }
    rows
}

/// How a join went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Score {
    pub(crate) guesses: usize,
    pub(crate) right: usize,
    /// How many would be right by chance.
    pub(crate) chance: f64,
}

impl Score {
    /// Whether it found no more than chance does.
    pub(crate) fn is_chance(self) -> bool {
        self.right as f64 <= self.chance + 4.0 * self.chance.sqrt() + 4.0
    }
}

/// A way to join: rows that fall together by it may be one loan's.
type Way = (&'static str, fn(&Row) -> String);

/// Each with what both recipients see of the branch.
const WAYS: [Way; 4] = [
    ("order", |row| row.branch.clone()),
    ("arrival", |row| format!("{} {}", row.branch, row.night)),
    ("transaction", |row| {
        format!("{} {}", row.branch, row.transaction)
    }),
    ("change", |row| {
        let last = row.changes.last();
        last.map_or(String::new(), |day| format!("{} {day}", row.branch))
    }),
];

/// Joins both outputs in every way: rows that fall together are paired in their
/// order. Returns the scores by way.
pub(crate) fn join(
    town: &Town,
    (messages, statistics): (&[Sighting], &[Sighting]),
) -> Vec<(&'static str, Score)> {
    let (messages, statistics) = (rows(messages), rows(statistics));
    let truth: HashMap<&str, &str> = town
        .loans
        .iter()
        .map(|loan| (loan.statistic.as_str(), loan.message.as_str()))
        .collect();
    let score = |(name, of): Way| {
        let sort = |rows: &BTreeMap<String, Row>| {
            let mut sorted = BTreeMap::<String, Vec<(usize, String)>>::new();
            for (key, row) in rows {
                let group = sorted.entry(of(row)).or_default();
                group.push((row.place, key.clone()));
            }
            sorted.remove("");
            sorted.values_mut().for_each(|group| group.sort());
            sorted
        };
        let (messages, statistics) = (sort(&messages), sort(&statistics));
        let mut score = Score::default();
        for (group, one) in &statistics {
            let other = messages.get(group).map_or(&[][..], Vec::as_slice);
            let keys: BTreeSet<&str> = other.iter().map(|(_, key)| key.as_str()).collect();
            let has = |key: &String| {
                truth
                    .get(key.as_str())
                    .is_some_and(|own| keys.contains(own))
            };
            let common = one.iter().filter(|(_, key)| has(key)).count();
            let pairs = one.len().min(other.len());
            if pairs > 0 {
                // Each pair is right with one of the others' rows.
                let most = one.len().max(other.len());
                score.chance += pairs as f64 * common as f64 / (one.len() * other.len()) as f64;
                debug_assert!(common <= most);
            }
            score.guesses += pairs;
            let pairs = one.iter().zip(other);
            score.right += pairs
                .filter(|((_, statistic), (_, message))| {
                    truth.get(statistic.as_str()) == Some(&message.as_str())
                })
                .count();
        }
        (name, score)
    };
    WAYS.map(score).into()
}

/// How many rows stand behind the one whose loan stands before it in the other
/// output, of all that have one before them. By chance that are two, or so.
pub(crate) fn neighbours(
    town: &Town,
    (messages, statistics): (&[Sighting], &[Sighting]),
) -> (usize, usize) {
    let (messages, statistics) = (rows(messages), rows(statistics));
    let mut places: Vec<(usize, usize)> = town
        .loans
        .iter()
        .filter_map(|loan| {
            let message = messages.get(&loan.message)?.place;
            Some((statistics.get(&loan.statistic)?.place, message))
        })
        .collect();
    places.sort_unstable();
    let follows = |two: &&[(usize, usize)]| two[0].1 + 1 == two[1].1;
    (places.windows(2).filter(follows).count(), places.len())
}
