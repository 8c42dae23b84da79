//! How much is taken back from recipients, so that a lane stops before it takes
//! back too much: where a source was lost, or sends what cannot be meant, outputs
//! would go that nobody wanted to go.
//!
//! The workers of a lane in one process count together. What other processes of
//! the same lane hold is not known here: each of them counts its own partitions.
//! Nothing here looks at a clock.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::finding::{code, magnitude};
use crate::engine::lane::Lane;
use crate::engine::tally::{ByReason, Tally};
use crate::policy::reason::Reason;

/// So many outputs of one recipient may be taken back within an hour, whatever
/// share of its outputs they are.
const FEW: u64 = 100;
const MINUTE_MS: i64 = 60_000;
/// Over how many minutes is counted.
const MINUTES: i64 = 60;

/// What stands behind a reason to take an output back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// A term, a paper, or the config itself: as many as there are.
    Planned,
    /// What the record says of itself, in a new version that its source sent.
    Record,
    /// All else: patrons that went, what they said, records that are gone or can
    /// no longer be read.
    Loss,
}

/// Why an output is taken back: by a new version of its record or by something
/// else, and whether that happens under a policy that was just changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub new_version: bool,
    pub policy_changed: bool,
}

fn cause(reason: Reason, way: Way) -> Cause {
    match reason {
        Reason::Lapsed
        | Reason::PatronLapsed
        | Reason::AgreementLapsed
        | Reason::AuthorisationLapsed
        | Reason::Library
        | Reason::ReceiverUnlisted
        | Reason::Rekeyed
        | Reason::RecipientRemoved => Cause::Planned,
        Reason::PatronErased | Reason::PatronUnknown => Cause::Loss,
        Reason::SourceGone if !way.new_version => Cause::Loss,
        _ if way.policy_changed => Cause::Planned,
        Reason::Condition | Reason::Stages | Reason::LoanHistoryOff => Cause::Record,
        Reason::Malformed | Reason::TooLarge => Cause::Loss,
        _ if way.new_version => Cause::Record,
        _ => Cause::Loss,
    }
}

/// What is taken back from one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    lost: ByReason,
    /// Because of what its records say.
    by_record: u64,
}

impl Taken {
    fn add(&mut self, counts: &ByReason, way: Way) {
        for (at, &reason) in Reason::ALL.iter().enumerate() {
            match cause(reason, way) {
                Cause::Planned => {}
                Cause::Record => self.by_record += counts[at],
                Cause::Loss => self.lost[at] += counts[at],
            }
        }
    }

    fn merge(&mut self, other: &Taken) {
        for (sum, more) in self.lost.iter_mut().zip(other.lost.iter()) {
            *sum += more;
        }
        self.by_record += other.by_record;
    }

    fn lost(&self) -> u64 {
        self.lost.iter().sum()
    }

    fn is_nothing(&self) -> bool {
        self.by_record == 0 && self.lost() == 0
    }
}

/// What a batch takes back from each recipient; none where it takes back nothing
/// that counts.
#[must_use]
pub fn taken(tally: &Tally, policy_changed: bool) -> Vec<Taken> {
    let of = |new_version| Way {
        new_version,
        policy_changed,
    };
    let recipients = tally.recipients.iter();
    if recipients
        .clone()
        .all(|one| one.retractions().sum::<u64>() == 0)
    {
        return Vec::new();
    }
    let taken = recipients.map(|one| {
        let mut taken = Taken::default();
        taken.add(&one.retracted, of(true));
        taken.add(&one.later.retracted, of(false));
        taken
    });
    taken.collect()
}

/// What a reconcile is known to take back from each recipient.
#[must_use]
pub fn foreseen(counts: &[ByReason], policy_changed: bool) -> Vec<Taken> {
    let way = Way {
        new_version: false,
        policy_changed,
    };
    let foreseen = counts.iter().map(|counts| {
        let mut taken = Taken::default();
        taken.add(counts, way);
        taken
    });
    foreseen.collect()
}

/// More would be taken back from a recipient than ordinary days take back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub lane: String,
    pub recipient: String,
    /// Within the last hour, what is about to be taken back included.
    pub taken: u64,
    /// The most that the recipient had in that hour.
    pub had: u64,
    pub causes: Vec<(Reason, u64)>,
}

impl Finding {
    /// What an operator accepts it by.
    #[must_use]
    pub fn code(&self) -> String {
        let causes: Vec<&str> = self
            .causes
            .iter()
            .map(|(reason, _)| reason.as_str())
            .collect();
        code(&[
            "taken-back",
            &self.lane,
            &self.recipient,
            &causes.join(","),
            &magnitude(self.taken),
            &magnitude(self.had),
        ])
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding {
            recipient,
            taken,
            had,
            ..
        } = self;
        write!(
            f,
            "{taken} of the {had} outputs that `{recipient}` has would be taken back ("
        )?;
        for (at, (reason, count)) in self.causes.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{reason} {count}")?;
        }
        write!(f, "): code {}", self.code())
    }
}

/// What was taken back in one minute.
#[derive(Clone, Debug, Default)]
struct Minute {
    number: i64,
    /// The most that the recipient had in it.
    had: u64,
    taken: Taken,
}

/// The last hour of one recipient.
#[derive(Clone, Debug, Default)]
struct Hour(VecDeque<Minute>);

impl Hour {
    /// The minute of that time; those that an hour has passed since are let go.
    fn at(&mut self, now_ms: i64) -> &mut Minute {
        let number = now_ms.div_euclid(MINUTE_MS);
        while self
            .0
            .front()
            .is_some_and(|first| first.number <= number - MINUTES)
        {
            self.0.pop_front();
        }
        // A clock that went back counts into the newest minute.
        if self.0.back().is_none_or(|last| last.number < number) {
            self.0.push_back(Minute {
                number,
                ..Minute::default()
            });
        }
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    fn had(&self) -> u64 {
        self.0.iter().map(|minute| minute.had).max().unwrap_or(0)
    }
}

/// What one worker has of the count.
#[derive(Debug, Default)]
struct Part {
    /// How many outputs each recipient has of its partitions.
    has: Vec<u64>,
    /// What its open batch takes back, but for what was granted.
    open: Vec<Taken>,
    /// How much of that batch was granted.
    spared: Vec<u64>,
    /// What was accepted for the reconcile that goes on, and is still to come.
    granted: Vec<u64>,
}

#[derive(Debug, Default)]
struct Count {
    parts: BTreeMap<usize, Part>,
    hours: Vec<Hour>,
    next: usize,
}

impl Count {
    /// Takes note of how much each recipient has now.
    fn note_had(&mut self, now_ms: i64) {
        for (at, hour) in self.hours.iter_mut().enumerate() {
            let parts = self.parts.values();
            let has = parts.filter_map(|part| part.has.get(at)).sum();
            let minute = hour.at(now_ms);
            minute.had = minute.had.max(has);
        }
    }
}

/// The count of one lane, of all its workers in the process.
#[derive(Debug)]
pub struct Losses {
    lane: String,
    recipients: Vec<String>,
    /// 0: no bound of its own.
    per_hour: u64,
    count: Mutex<Count>,
}

impl Losses {
    /// Counts for a lane; with `per_hour` above 0 that many may be taken back from
    /// a recipient within an hour, and no more.
    #[must_use]
    pub fn new(lane: &Lane, per_hour: u64) -> Arc<Losses> {
        let names = lane.recipients.iter().map(|program| program.name.clone());
        let recipients: Vec<String> = names.collect();
        let hours = vec![Hour::default(); recipients.len()];
        Arc::new(Losses {
            lane: lane.name.clone(),
            recipients,
            per_hour,
            count: Mutex::new(Count {
                hours,
                ..Count::default()
            }),
        })
    }

    /// One more worker counts.
    #[must_use]
    pub fn share(self: &Arc<Self>) -> Share {
        let mut count = self.count();
        let number = count.next;
        count.next += 1;
        count.parts.insert(number, Part::default());
        drop(count);
        Share {
            losses: Arc::clone(self),
            number,
        }
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What would be too much if `taken` were taken back as well, now.
    fn findings(&self, count: &mut Count, taken: &[Taken], now_ms: i64) -> Vec<Finding> {
        for hour in &mut count.hours {
            hour.at(now_ms);
        }
        let all = self.recipients.iter().enumerate();
        all.filter_map(|(at, recipient)| {
            let more = taken.get(at).filter(|taken| !taken.is_nothing())?;
            let hour = count.hours.get(at)?;
            let mut sum = more.clone();
            hour.0.iter().for_each(|minute| sum.merge(&minute.taken));
            let parts = count.parts.values();
            parts
                .clone()
                .filter_map(|part| part.open.get(at))
                .for_each(|open| sum.merge(open));
            let has: u64 = parts.filter_map(|part| part.has.get(at)).sum();
            let had = hour.had().max(has);
            let lost = sum.lost();
            let by_share = lost > FEW && lost.saturating_mul(2) > had;
            let by_hour = self.per_hour > 0 && lost + sum.by_record > self.per_hour;
            (by_share || by_hour).then(|| self.finding(recipient, &sum, had, by_share))
        })
        .collect()
    }

    fn finding(&self, recipient: &str, sum: &Taken, had: u64, by_share: bool) -> Finding {
        let counts = Reason::ALL.iter().copied().zip(sum.lost.iter().copied());
        let mut causes: Vec<(Reason, u64)> = counts.filter(|(_, count)| *count > 0).collect();
        if !by_share && sum.by_record > 0 {
            causes.push((Reason::Condition, sum.by_record));
        }
        Finding {
            lane: self.lane.clone(),
            recipient: recipient.to_owned(),
            taken: causes.iter().map(|(_, count)| count).sum(),
            had,
            causes,
        }
    }
}

/// One worker's share in the count of its lane.
#[derive(Debug)]
pub struct Share {
    losses: Arc<Losses>,
    number: usize,
}

impl Share {
    /// Takes note of how many outputs each recipient has of the worker's
    /// partitions, as far as that is committed.
    pub fn has(&self, counts: &[u64], now_ms: i64) {
        let mut count = self.losses.count();
        count.note_had(now_ms);
        if let Some(part) = count.parts.get_mut(&self.number) {
            part.has.clear();
            part.has.extend_from_slice(counts);
        }
        count.note_had(now_ms);
    }

    /// What is too much of what a reconcile is known to take back. Where the
    /// findings are accepted it is to be [`grant`](Self::grant)ed.
    #[must_use]
    pub fn foresee(&self, taken: &[Taken], now_ms: i64) -> Vec<Finding> {
        self.losses
            .findings(&mut self.losses.count(), taken, now_ms)
    }

    /// What a reconcile was known to take back was accepted for these recipients:
    /// it is not counted again when it is done.
    pub fn grant(&self, taken: &[Taken], accepted: &[Finding]) {
        let recipients = &self.losses.recipients;
        let granted = recipients.iter().zip(taken).map(|(recipient, taken)| {
            let is_accepted = accepted.iter().any(|one| one.recipient == *recipient);
            if is_accepted { taken.lost() } else { 0 }
        });
        let granted = granted.collect();
        if let Some(part) = self.losses.count().parts.get_mut(&self.number) {
            part.granted = granted;
        }
    }

    /// The reconcile is over.
    pub fn end_grant(&self) {
        if let Some(part) = self.losses.count().parts.get_mut(&self.number) {
            part.granted.clear();
        }
    }

    /// What is too much with the worker's open batch. From now on the other
    /// workers count that batch too, until it is committed or dropped.
    #[must_use]
    pub fn ask(&self, mut taken: Vec<Taken>, now_ms: i64) -> Vec<Finding> {
        let mut count = self.losses.count();
        let Some(part) = count.parts.get_mut(&self.number) else {
            return Vec::new();
        };
        part.open.clear();
        part.spared.clear();
        for (taken, granted) in taken.iter_mut().zip(&part.granted) {
            part.spared.push(spare(taken, *granted));
        }
        let findings = self.losses.findings(&mut count, &taken, now_ms);
        if let Some(part) = count.parts.get_mut(&self.number) {
            part.open = taken;
        }
        findings
    }

    /// The open batch was committed.
    pub fn committed(&self, now_ms: i64) {
        let mut count = self.losses.count();
        let Count { parts, hours, .. } = &mut *count;
        let Some(part) = parts.get_mut(&self.number) else {
            return;
        };
        for (granted, spared) in part.granted.iter_mut().zip(part.spared.drain(..)) {
            *granted -= spared;
        }
        for (hour, taken) in hours.iter_mut().zip(part.open.drain(..)) {
            if !taken.is_nothing() {
                hour.at(now_ms).taken.merge(&taken);
            }
        }
    }

    /// The open batch was dropped.
    pub fn dropped(&self) {
        if let Some(part) = self.losses.count().parts.get_mut(&self.number) {
            part.open.clear();
            part.spared.clear();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.losses.count().parts.remove(&self.number);
    }
}

/// Takes what was granted off what is counted; says how much that is.
fn spare(taken: &mut Taken, granted: u64) -> u64 {
    let mut left = granted;
    for count in taken.lost.iter_mut() {
        let spared = left.min(*count);
        *count -= spared;
        left -= spared;
    }
    granted - left
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn losses(per_hour: u64) -> Arc<Losses> {
        Arc::new(Losses {
            lane: "main".to_owned(),
            recipients: vec!["one".to_owned(), "two".to_owned()],
            per_hour,
            count: Mutex::new(Count {
                hours: vec![Hour::default(); 2],
                ..Count::default()
            }),
        })
    }

    /// So many are lost to the first recipient, and so many by what records say.
    fn of(lost: u64, by_record: u64) -> Vec<Taken> {
        let mut taken = Taken {
            by_record,
            ..Taken::default()
        };
        taken.lost[Reason::PatronErased as usize] = lost;
        vec![taken, Taken::default()]
    }

    #[track_caller]
    fn check(per_hour: u64, has: u64, taken: (u64, u64), want: bool) {
        let share = losses(per_hour).share();
        share.has(&[has, has], 0);
        let found = share.ask(of(taken.0, taken.1), 0);
        assert_eq!(!found.is_empty(), want, "{taken:?} of {has}: {found:?}");
        let foreseen = share.foresee(&of(0, 0), 0);
        assert!(foreseen.is_empty(), "nothing is ever too much");
    }

    #[test]
    fn more_than_half_and_more_than_a_hundred_is_too_much() {
        check(0, 1, (1, 0), false);
        check(0, 100, (100, 0), false);
        check(0, 101, (101, 0), true);
        check(0, 202, (101, 0), false);
        check(0, 201, (101, 0), true);
        check(0, 1_000_000, (500_000, 0), false);
        check(0, 1_000_000, (500_001, 0), true);
        // What records say of themselves counts for the bound by the hour alone.
        check(0, 1_000, (0, 1_000), false);
        check(0, 1_000, (500, 500), false);
        check(500, 1_000_000, (250, 250), false);
        check(500, 1_000_000, (250, 251), true);
        check(500, 1_000_000, (501, 0), true);
    }

    #[test]
    fn workers_count_together_and_what_is_dropped_does_not_count() {
        let losses = losses(0);
        let (one, other) = (losses.share(), losses.share());
        one.has(&[500], 0);
        other.has(&[500], 0);
        assert_eq!(one.ask(of(300, 0), 0), []);
        // The batch of the one is open, and may be committed yet.
        assert_eq!(other.ask(of(201, 0), 0).len(), 1);
        other.dropped();
        assert_eq!(other.ask(of(200, 0), 0), []);
        other.committed(0);
        one.dropped();
        assert_eq!(one.ask(of(300, 0), 0), []);
        one.committed(0);
        assert_eq!(one.ask(of(1, 0), 0).len(), 1);
        one.dropped();
        // A worker that is gone has nothing.
        drop(other);
        one.has(&[200], HOUR_MS);
        assert_eq!(one.ask(of(101, 0), 3 * HOUR_MS).len(), 1);
    }

    #[test]
    fn it_is_counted_over_an_hour() {
        let share = losses(0).share();
        share.has(&[1_000], 0);
        for minute in 0..5 {
            let now_ms = minute * MINUTE_MS;
            assert_eq!(share.ask(of(100, 0), now_ms), [], "{minute}");
            share.committed(now_ms);
            share.has(&[900 - 100 * u64::try_from(minute).unwrap()], now_ms);
        }
        assert_eq!(share.ask(of(1, 0), HOUR_MS - 1).len(), 1);
        share.dropped();
        // The first hundred and what there was before them are out of the hour.
        let found = share.ask(of(51, 0), HOUR_MS);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].taken, found[0].had), (451, 900));
        share.dropped();
        assert_eq!(share.ask(of(100, 0), 2 * HOUR_MS), []);
    }

    #[test]
    fn what_was_accepted_is_not_counted_again() {
        let share = losses(0).share();
        share.has(&[1_000], 0);
        let taken = of(900, 0);
        let found = share.foresee(&taken, 0);
        assert_eq!((found[0].taken, found[0].had), (900, 1_000));
        share.grant(&taken, &found);
        for _ in 0..3 {
            assert_eq!(share.ask(of(300, 0), 0), []);
            // An abort gives back what was granted.
            share.dropped();
            assert_eq!(share.ask(of(300, 0), 0), []);
            share.committed(0);
        }
        share.has(&[100], 0);
        assert_eq!(share.ask(of(100, 0), 0), []);
        share.committed(0);
        share.end_grant();
        assert_eq!(share.ask(of(401, 0), 0).len(), 1);
    }

    #[test]
    fn terms_papers_and_the_config_are_planned() {
        let way = |new_version, policy_changed| Way {
            new_version,
            policy_changed,
        };
        for reason in Reason::ALL {
            let causes = [(false, false), (true, false), (false, true), (true, true)]
                .map(|(new, changed)| cause(*reason, way(new, changed)));
            let want = match reason {
                Reason::Lapsed
                | Reason::PatronLapsed
                | Reason::AgreementLapsed
                | Reason::AuthorisationLapsed
                | Reason::Library
                | Reason::ReceiverUnlisted
                | Reason::Rekeyed
                | Reason::RecipientRemoved => [Cause::Planned; 4],
                Reason::PatronErased | Reason::PatronUnknown => [Cause::Loss; 4],
                Reason::SourceGone => [Cause::Loss, Cause::Record, Cause::Loss, Cause::Planned],
                Reason::Condition | Reason::Stages | Reason::LoanHistoryOff => {
                    [Cause::Record, Cause::Record, Cause::Planned, Cause::Planned]
                }
                Reason::Malformed | Reason::TooLarge => {
                    [Cause::Loss, Cause::Loss, Cause::Planned, Cause::Planned]
                }
                _ => [Cause::Loss, Cause::Record, Cause::Planned, Cause::Planned],
            };
            assert_eq!(causes, want, "{reason}");
        }
    }

    #[test]
    fn a_finding_says_how_much_and_ends_with_its_code() {
        let share = losses(0).share();
        share.has(&[250], 0);
        let found = share.ask(of(200, 0), 0);
        let [finding] = found.as_slice() else {
            panic!("one finding, found {found:?}");
        };
        let text = finding.to_string();
        let want = "200 of the 250 outputs that `one` has would be taken back (patron_erased 200): \
                    code ";
        assert_eq!(text, format!("{want}{}", finding.code()));
        let mut other = finding.clone();
        other.taken = 999;
        assert_eq!(other.code(), finding.code());
        other.taken = 1_000;
        assert_ne!(other.code(), finding.code());
    }
}
