//! A partner who has both outputs and joins their rows by what surrounds them: the
//! order in which they stand, when they came, beside which others, and when they
//! changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::library_fixture::LibraryFixture;

/// One line, or message, of an output, as it was found.
#[derive(Clone, Debug)]
pub struct Observation {
    pub key: String,
    /// `None` if it was taken back.
    pub value: Option<Value>,
    /// The day on which it was there first.
    pub day: usize,
    /// The transaction that it was written in, where that shows.
    pub transaction: u64,
}

/// What is found of one row.
struct ObservedRow {
    branch: String,
    /// Its place among the first sightings of all rows.
    first_position: usize,
    first_day: usize,
    transaction: u64,
    /// On which days it changed later.
    change_days: Vec<usize>,
}

fn observed_rows(sightings: &[Observation]) -> BTreeMap<String, ObservedRow> {
    let mut rows = BTreeMap::<String, ObservedRow>::new();
    for observation in sightings {
        let place = rows.len();
        match (rows.get_mut(&observation.key), &observation.value) {
            (Some(row), _) => row.change_days.push(observation.day),
            (None, None) => {}
            (None, Some(value)) => {
                let branch = value["branch"].as_str().unwrap_or_default().to_owned();
                let row = ObservedRow {
                    branch,
                    first_position: place,
                    first_day: observation.day,
                    transaction: observation.transaction,
                    change_days: Vec::new(),
                };
                rows.insert(observation.key.clone(), row);
            }
        }
    }
    rows
}

/// How a join went.
#[derive(Clone, Copy, Debug, Default)]
pub struct JoinScore {
    pub n_guesses: usize,
    pub n_correct: usize,
    /// How many would be right by chance.
    pub expected_by_chance: f64,
}

impl JoinScore {
    /// Whether it found no more than chance does.
    pub fn is_no_better_than_chance(self) -> bool {
        self.n_correct as f64
            <= self.expected_by_chance + 4.0 * self.expected_by_chance.sqrt() + 4.0
    }
}

/// A way to join: rows that fall together by it may be one loan's.
type JoinStrategy = (&'static str, fn(&ObservedRow) -> String);

/// Each with what both recipients see of the branch.
const JOIN_STRATEGIES: [JoinStrategy; 4] = [
    ("order", |row| row.branch.clone()),
    ("arrival", |row| format!("{} {}", row.branch, row.first_day)),
    ("transaction", |row| format!("{} {}", row.branch, row.transaction)),
    ("change", |row| {
        let last = row.change_days.last();
        last.map_or(String::new(), |day| format!("{} {day}", row.branch))
    }),
];

/// Joins both outputs in every way: rows that fall together are paired in their
/// order. Returns the scores by way.
pub fn join_outputs(
    fixture: &LibraryFixture,
    (messages, statistics): (&[Observation], &[Observation]),
) -> Vec<(&'static str, JoinScore)> {
    let (messages, statistics) = (observed_rows(messages), observed_rows(statistics));
    let truth: HashMap<&str, &str> = fixture
        .loans
        .iter()
        .map(|loan| (loan.statistics_key.as_str(), loan.service_message_key.as_str()))
        .collect();
    let score = |(name, of): JoinStrategy| {
        let sort = |rows: &BTreeMap<String, ObservedRow>| {
            let mut sorted = BTreeMap::<String, Vec<(usize, String)>>::new();
            for (key, row) in rows {
                let group = sorted.entry(of(row)).or_default();
                group.push((row.first_position, key.clone()));
            }
            sorted.remove("");
            sorted.values_mut().for_each(|group| group.sort());
            sorted
        };
        let (messages, statistics) = (sort(&messages), sort(&statistics));
        let mut score = JoinScore::default();
        for (group, one) in &statistics {
            let other = messages.get(group).map_or(&[][..], Vec::as_slice);
            let keys: BTreeSet<&str> = other.iter().map(|(_, key)| key.as_str()).collect();
            let has = |key: &String| truth.get(key.as_str()).is_some_and(|own| keys.contains(own));
            let common = one.iter().filter(|(_, key)| has(key)).count();
            let pairs = one.len().min(other.len());
            if pairs > 0 {
                // Each pair is right with one of the others' rows.
                let most = one.len().max(other.len());
                score.expected_by_chance +=
                    pairs as f64 * common as f64 / (one.len() * other.len()) as f64;
                debug_assert!(common <= most);
            }
            score.n_guesses += pairs;
            let pairs = one.iter().zip(other);
            score.n_correct += pairs
                .filter(|((_, statistic), (_, message))| {
                    truth.get(statistic.as_str()) == Some(&message.as_str())
                })
                .count();
        }
        (name, score)
    };
    JOIN_STRATEGIES.map(score).into()
}

/// How many rows stand behind the one whose loan stands before it in the other
/// output, of all that have one before them. By chance that are two, or so.
pub fn count_adjacent_pairs(
    fixture: &LibraryFixture,
    (messages, statistics): (&[Observation], &[Observation]),
) -> (usize, usize) {
    let (messages, statistics) = (observed_rows(messages), observed_rows(statistics));
    let mut places: Vec<(usize, usize)> = fixture
        .loans
        .iter()
        .filter_map(|loan| {
            let message = messages.get(&loan.service_message_key)?.first_position;
            Some((statistics.get(&loan.statistics_key)?.first_position, message))
        })
        .collect();
    places.sort_unstable();
    let follows = |two: &&[(usize, usize)]| two[0].1 + 1 == two[1].1;
    (places.windows(2).filter(follows).count(), places.len())
}
