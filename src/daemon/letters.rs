//! Dead letters are heard: those of gate sources at once, with where they lie,
//! the others in one line a minute.
//!
//! Only counts, coordinates and reasons are told. What is told is what was
//! committed. Time is passed in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::engine::lane::Lane;
use crate::engine::tally::Tally;
use crate::policy::catalogue::Role;
use crate::policy::reason::Reason;

/// How many dead letters of gate sources are told one by one within an hour.
const SINGLE_MAX: u32 = 10;
const HOUR: Duration = Duration::from_secs(3_600);
/// How often the others are told of.
const MINUTE: Duration = Duration::from_secs(60);

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A dead letter of a gate source.
    Single {
        topic: String,
        partition: i32,
        offset: i64,
        reason: Reason,
    },
    /// How many there were since the last line, by topic and reason.
    Sum(Vec<(String, Reason, u64)>),
}

/// What one worker has told, and has still to tell.
#[derive(Debug)]
pub struct LetterLog {
    lane: String,
    /// Topic, and whether it is a gate source, by the source's place.
    sources: Vec<(String, bool)>,
    /// Since when it is counted how many were told one by one.
    hour: Option<Instant>,
    singles: u32,
    /// By source and reason.
    untold: BTreeMap<(usize, Reason), u64>,
    told: Option<Instant>,
}

impl LetterLog {
    #[must_use]
    pub fn new(lane: &Lane) -> LetterLog {
        let sources = lane.sources.iter();
        LetterLog {
            lane: lane.name.clone(),
            sources: sources
                .map(|source| (source.topic.clone(), source.kind.role != Role::Record))
                .collect(),
            hour: None,
            singles: 0,
            untold: BTreeMap::new(),
            told: None,
        }
    }

    /// Takes note of a batch that was committed; returns what is to be told now.
    pub fn note(&mut self, tally: &Tally, now: Instant) -> Vec<Line> {
        let mut lines = Vec::new();
        if tally.dead_letters.iter().all(|count| *count == 0) {
            return lines;
        }
        for (place, source) in tally.sources.iter().enumerate() {
            for (&reason, &count) in Reason::ALL.iter().zip(source.dead_letters.iter()) {
                if count > 0 {
                    *self.untold.entry((place, reason)).or_default() += count;
                }
            }
        }
        for letter in &tally.noted {
            let of = (letter.source, letter.reason);
            let Some((topic, _)) = self.sources.get(letter.source) else {
                continue;
            };
            let topic = topic.clone();
            if !self.may_tell(now) {
                break;
            }
            if let Some(count) = self.untold.get_mut(&of) {
                *count = count.saturating_sub(1);
            }
            lines.push(Line::Single {
                topic,
                partition: letter.partition,
                offset: letter.offset,
                reason: letter.reason,
            });
        }
        self.untold.retain(|_, count| *count > 0);
        lines.extend(self.sum(now));
        lines
    }

    /// Whether one more may be told by itself.
    fn may_tell(&mut self, now: Instant) -> bool {
        if self
            .hour
            .is_none_or(|since| now.duration_since(since) >= HOUR)
        {
            self.hour = Some(now);
            self.singles = 0;
        }
        let may = self.singles < SINGLE_MAX;
        self.singles += u32::from(may);
        may
    }

    /// What is to be told of all others, where a minute has passed since the last
    /// time.
    pub fn sum(&mut self, now: Instant) -> Option<Line> {
        let early = self
            .told
            .is_some_and(|told| now.duration_since(told) < MINUTE);
        if self.untold.is_empty() || early {
            return None;
        }
        self.told = Some(now);
        self.rest()
    }

    /// All that was not told yet.
    fn rest(&mut self) -> Option<Line> {
        let untold = std::mem::take(&mut self.untold);
        let counts = untold.into_iter().filter_map(|((place, reason), count)| {
            let (topic, _) = self.sources.get(place)?;
            Some((topic.clone(), reason, count))
        });
        let counts: Vec<_> = counts.collect();
        (!counts.is_empty()).then_some(Line::Sum(counts))
    }

    /// Takes note of a batch that was committed, and tells what is to be told.
    pub fn count(&mut self, tally: &Tally) {
        for line in self.note(tally, Instant::now()) {
            self.tell(&line);
        }
    }

    /// Tells what waited for its minute, where that has passed.
    pub fn look(&mut self) {
        if let Some(line) = self.sum(Instant::now()) {
            self.tell(&line);
        }
    }

    /// Tells what is left, at the end.
    pub fn flush(&mut self) {
        if let Some(line) = self.rest() {
            self.tell(&line);
        }
    }

    fn tell(&self, line: &Line) {
        match line {
            Line::Single {
                topic,
                partition,
                offset,
                reason,
            } => tracing::warn!(
                lane = %self.lane,
                topic,
                partition,
                offset,
                %reason,
                "dead letter of a gate source: what it says is not known"
            ),
            Line::Sum(counts) => {
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
    use crate::engine::tally::Noted;

    const GATE: usize = 0;
    const LOAN: usize = 1;

    fn log() -> LetterLog {
        LetterLog {
            lane: "main".to_owned(),
            sources: vec![("objection".to_owned(), true), ("loan".to_owned(), false)],
            hour: None,
            singles: 0,
            untold: BTreeMap::new(),
            told: None,
        }
    }

    fn tally(letters: &[(usize, i64)]) -> Tally {
        let mut tally = Tally::new(2, 0);
        for &(source, offset) in letters {
            let noted = Noted {
                source,
                partition: 3,
                offset,
                reason: Reason::NotJson,
            };
            tally.count_dead_letter(noted, source == GATE);
        }
        tally
    }

    fn single(offset: i64) -> Line {
        Line::Single {
            topic: "objection".to_owned(),
            partition: 3,
            offset,
            reason: Reason::NotJson,
        }
    }

    fn sum(counts: &[(&str, u64)]) -> Line {
        let counts = counts.iter();
        let of = |(topic, count): &(&str, u64)| ((*topic).to_owned(), Reason::NotJson, *count);
        Line::Sum(counts.map(of).collect())
    }

    #[test]
    fn those_of_gates_are_told_at_once_and_the_others_once_a_minute() {
        let mut log = log();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(log.note(&tally(&[]), at(0)), []);
        let found = log.note(&tally(&[(LOAN, 1), (GATE, 7), (LOAN, 2)]), at(0));
        assert_eq!(found, [single(7), sum(&[("loan", 2)])]);
        assert_eq!(log.note(&tally(&[(LOAN, 3)]), at(1)), []);
        assert_eq!(log.note(&tally(&[(GATE, 8)]), at(2)), [single(8)]);
        assert_eq!(log.sum(at(59)), None);
        assert_eq!(log.sum(at(60)), Some(sum(&[("loan", 1)])));
        assert_eq!(log.sum(at(300)), None);
    }

    #[test]
    fn after_ten_in_an_hour_those_of_gates_are_counted() {
        let mut log = log();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let many: Vec<_> = (0..25).map(|offset| (GATE, offset)).collect();
        let found = log.note(&tally(&many), at(0));
        let mut want: Vec<Line> = (0..10).map(single).collect();
        want.push(sum(&[("objection", 15)]));
        assert_eq!(found, want);
        assert_eq!(log.note(&tally(&[(GATE, 30)]), at(30)), []);
        assert_eq!(log.sum(at(60)), Some(sum(&[("objection", 1)])));
        // The next hour.
        assert_eq!(log.note(&tally(&[(GATE, 31)]), at(3_600)), [single(31)]);
    }

    #[test]
    fn nothing_is_left_untold() {
        let mut log = log();
        let start = Instant::now();
        let _ = log.note(&tally(&[(LOAN, 1)]), start);
        assert_eq!(log.note(&tally(&[(LOAN, 2), (LOAN, 3)]), start), []);
        assert_eq!(log.rest(), Some(sum(&[("loan", 2)])));
        assert_eq!(log.rest(), None);
    }
}
