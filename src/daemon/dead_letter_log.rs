//! Logs dead letters: those of gate sources at once with their coordinates, the others in
//! one line a minute.
//!
//! Logs only counts, coordinates and reasons, and only of what is committed. Time is passed
//! in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::engine::lane::Lane;
use crate::engine::tally::Tally;
use crate::policy::catalogue::Role;
use crate::policy::reason::Reason;

/// How many dead letters of gate sources are logged individually within an hour.
const MAX_SINGLES_PER_HOUR: u32 = 10;
const HOUR: Duration = Duration::from_secs(3_600);
/// How often the others are logged.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(60);

/// Counts that are logged together, once a minute.
#[derive(Debug)]
pub struct MinuteCounts<K> {
    counts: BTreeMap<K, u64>,
    last_summary_at: Option<Instant>,
}

impl<K: Ord> Default for MinuteCounts<K> {
    fn default() -> Self {
        MinuteCounts { counts: BTreeMap::new(), last_summary_at: None }
    }
}

impl<K: Ord> MinuteCounts<K> {
    pub fn add(&mut self, key: K, count: u64) {
        if count > 0 {
            *self.counts.entry(key).or_default() += count;
        }
    }

    /// Takes one back that was logged otherwise.
    fn remove_one(&mut self, key: &K) {
        if let Some(count) = self.counts.get_mut(key) {
            *count = count.saturating_sub(1);
        }
    }

    /// Returns everything not logged yet, if a minute has passed since the last time; `None` if
    /// there is nothing.
    pub fn take_due(&mut self, now: Instant) -> Option<BTreeMap<K, u64>> {
        let early = self
            .last_summary_at
            .is_some_and(|logged_at| now.duration_since(logged_at) < SUMMARY_INTERVAL);
        if early {
            return None;
        }
        let counts = self.take()?;
        self.last_summary_at = Some(now);
        Some(counts)
    }

    /// Returns everything not logged yet; `None` if there is nothing.
    pub fn take(&mut self) -> Option<BTreeMap<K, u64>> {
        self.counts.retain(|_, count| *count > 0);
        (!self.counts.is_empty()).then(|| std::mem::take(&mut self.counts))
    }
}

/// A line to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetterLine {
    /// A dead letter of a gate source.
    Single { topic: String, partition: i32, offset: i64, reason: Reason },
    /// Counts since the last line, by topic and reason.
    Summary(Vec<(String, Reason, u64)>),
}

/// What one worker has logged and has still to log.
#[derive(Debug)]
pub struct DeadLetterLog {
    lane: String,
    /// Topic, and whether it is a gate source, by source index.
    sources: Vec<(String, bool)>,
    /// When the count of individual lines began.
    hour_started_at: Option<Instant>,
    singles_in_hour: u32,
    /// By source and reason.
    unlogged_counts: MinuteCounts<(usize, Reason)>,
}

impl DeadLetterLog {
    #[must_use]
    pub fn new(lane: &Lane) -> DeadLetterLog {
        let sources = lane.sources.iter();
        DeadLetterLog {
            lane: lane.name.clone(),
            sources: sources
                .map(|source| (source.topic.clone(), source.kind.role != Role::Record))
                .collect(),
            hour_started_at: None,
            singles_in_hour: 0,
            unlogged_counts: MinuteCounts::default(),
        }
    }

    /// Adds a committed batch. Returns the lines to log now.
    pub fn lines_for_batch(&mut self, tally: &Tally, now: Instant) -> Vec<DeadLetterLine> {
        let mut lines = Vec::new();
        if tally.dead_letters.iter().all(|count| *count == 0) {
            return lines;
        }
        for (place, source) in tally.sources.iter().enumerate() {
            for (&reason, &count) in Reason::ALL.iter().zip(source.dead_letters.iter()) {
                self.unlogged_counts.add((place, reason), count);
            }
        }
        for letter in &tally.gate_dead_letters {
            let of = (letter.source_index, letter.reason);
            let Some((topic, _)) = self.sources.get(letter.source_index) else {
                continue;
            };
            let topic = topic.clone();
            if !self.reserve_single(now) {
                break;
            }
            self.unlogged_counts.remove_one(&of);
            lines.push(DeadLetterLine::Single {
                topic,
                partition: letter.partition,
                offset: letter.offset,
                reason: letter.reason,
            });
        }
        lines.extend(self.due_summary(now));
        lines
    }

    /// Returns whether one more may be logged individually.
    fn reserve_single(&mut self, now: Instant) -> bool {
        if self.hour_started_at.is_none_or(|since| now.duration_since(since) >= HOUR) {
            self.hour_started_at = Some(now);
            self.singles_in_hour = 0;
        }
        let is_allowed = self.singles_in_hour < MAX_SINGLES_PER_HOUR;
        self.singles_in_hour += u32::from(is_allowed);
        is_allowed
    }

    /// Returns a line for all others, if a minute has passed since the last one.
    pub fn due_summary(&mut self, now: Instant) -> Option<DeadLetterLine> {
        let counts = self.unlogged_counts.take_due(now)?;
        self.summary_line(counts)
    }

    /// Returns everything not logged yet.
    fn take_summary(&mut self) -> Option<DeadLetterLine> {
        let counts = self.unlogged_counts.take()?;
        self.summary_line(counts)
    }

    fn summary_line(&self, counts: BTreeMap<(usize, Reason), u64>) -> Option<DeadLetterLine> {
        let counts = counts.into_iter().filter_map(|((place, reason), count)| {
            let (topic, _) = self.sources.get(place)?;
            Some((topic.clone(), reason, count))
        });
        let counts: Vec<_> = counts.collect();
        (!counts.is_empty()).then_some(DeadLetterLine::Summary(counts))
    }

    /// Adds a committed batch, and logs what is due.
    pub fn log_batch(&mut self, tally: &Tally) {
        for line in self.lines_for_batch(tally, Instant::now()) {
            self.log_line(&line);
        }
    }

    /// Logs the summary if it is due.
    pub fn log_due_summary(&mut self) {
        if let Some(line) = self.due_summary(Instant::now()) {
            self.log_line(&line);
        }
    }

    /// Logs what is left, at the end.
    pub fn log_remaining(&mut self) {
        if let Some(line) = self.take_summary() {
            self.log_line(&line);
        }
    }

    fn log_line(&self, line: &DeadLetterLine) {
        match line {
            DeadLetterLine::Single { topic, partition, offset, reason } => tracing::warn!(
                lane = %self.lane,
                topic,
                partition,
                offset,
                %reason,
                "dead letter of a gate source: its content is unknown"
            ),
            DeadLetterLine::Summary(counts) => {
                let counts = counts.iter();
                let counts =
                    counts.map(|(topic, reason, count)| format!("{topic} {reason} {count}"));
                let counts = counts.collect::<Vec<_>>().join(", ");
                tracing::warn!(lane = %self.lane, counts, "dead letters");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tally::DeadLetterPosition;

    const GATE: usize = 0;
    const LOAN: usize = 1;

    fn new_log() -> DeadLetterLog {
        DeadLetterLog {
            lane: "main".to_owned(),
            sources: vec![("objection".to_owned(), true), ("loan".to_owned(), false)],
            hour_started_at: None,
            singles_in_hour: 0,
            unlogged_counts: MinuteCounts::default(),
        }
    }

    fn tally_of(letters: &[(usize, i64)]) -> Tally {
        let mut tally = Tally::new(2, 0);
        for &(source, offset) in letters {
            let noted = DeadLetterPosition {
                source_index: source,
                partition: 3,
                offset,
                reason: Reason::NotJson,
            };
            tally.count_dead_letter(noted, source == GATE);
        }
        tally
    }

    fn single_line(offset: i64) -> DeadLetterLine {
        DeadLetterLine::Single {
            topic: "objection".to_owned(),
            partition: 3,
            offset,
            reason: Reason::NotJson,
        }
    }

    fn summary_line(counts: &[(&str, u64)]) -> DeadLetterLine {
        let counts = counts.iter();
        let of = |(topic, count): &(&str, u64)| ((*topic).to_owned(), Reason::NotJson, *count);
        DeadLetterLine::Summary(counts.map(of).collect())
    }

    #[test]
    fn dead_letter_log_tells_gates_at_once_and_others_once_a_minute() {
        let mut log = new_log();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(log.lines_for_batch(&tally_of(&[]), at(0)), []);
        let found = log.lines_for_batch(&tally_of(&[(LOAN, 1), (GATE, 7), (LOAN, 2)]), at(0));
        assert_eq!(found, [single_line(7), summary_line(&[("loan", 2)])]);
        assert_eq!(log.lines_for_batch(&tally_of(&[(LOAN, 3)]), at(1)), []);
        assert_eq!(log.lines_for_batch(&tally_of(&[(GATE, 8)]), at(2)), [single_line(8)]);
        assert_eq!(log.due_summary(at(59)), None);
        assert_eq!(log.due_summary(at(60)), Some(summary_line(&[("loan", 1)])));
        assert_eq!(log.due_summary(at(300)), None);
    }

    #[test]
    fn dead_letter_log_summarises_gates_after_ten_in_an_hour() {
        let mut log = new_log();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let many: Vec<_> = (0..25).map(|offset| (GATE, offset)).collect();
        let found = log.lines_for_batch(&tally_of(&many), at(0));
        let mut want: Vec<DeadLetterLine> = (0..10).map(single_line).collect();
        want.push(summary_line(&[("objection", 15)]));
        assert_eq!(found, want);
        assert_eq!(log.lines_for_batch(&tally_of(&[(GATE, 30)]), at(30)), []);
        assert_eq!(log.due_summary(at(60)), Some(summary_line(&[("objection", 1)])));
        // The next hour.
        assert_eq!(log.lines_for_batch(&tally_of(&[(GATE, 31)]), at(3_600)), [single_line(31)]);
    }

    #[test]
    fn dead_letter_log_flushes_every_count() {
        let mut log = new_log();
        let start = Instant::now();
        let _ = log.lines_for_batch(&tally_of(&[(LOAN, 1)]), start);
        assert_eq!(log.lines_for_batch(&tally_of(&[(LOAN, 2), (LOAN, 3)]), start), []);
        assert_eq!(log.take_summary(), Some(summary_line(&[("loan", 2)])));
        assert_eq!(log.take_summary(), None);
    }
}
