//! Counts retractions, so that a lane stops before it retracts too much: if a source is
//! lost, or sends what cannot be meant, outputs would go that nobody wanted to go.
//!
//! The workers of a lane in one process count together; other processes count their own
//! partitions. The marks of partitions keep the counts, so that they are complete after a
//! restart or a rebalance. Time is passed in.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::finding_code::{digit_count, finding_code};
use crate::engine::lane::Lane;
use crate::engine::tally::{ReasonCounts, RetractionOrigin, Tally};
use crate::message::continuity::RecentRetractions;
use crate::policy::reason::Reason;

/// How many outputs of one recipient may always be retracted within an hour, whatever their
/// share.
const ALWAYS_ALLOWED_PER_HOUR: u64 = 100;
const MINUTE_MS: i64 = 60_000;
/// The window in minutes.
const WINDOW_MINUTES: i64 = 60;
/// Marks keep the sums of so many minutes.
const MARKED_MINUTES: i64 = 10;
/// The cause in marks of what new versions of records retracted; no reason has this name.
const RECORD_CHANGE: &str = "record_change";

/// What is behind the reason of a retraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RetractionCause {
    /// A term, a document, or the config itself: unlimited.
    Planned,
    /// A new version of the record.
    RecordChange,
    /// Anything else: patrons that went, their statements, records that are gone or
    /// unreadable.
    Loss,
}

/// Whether an output is retracted by a new version of its record, and whether that happens
/// under a policy that was just changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetractionContext {
    pub is_new_version: bool,
    pub is_policy_change: bool,
}

fn classify_cause(reason: Reason, context: RetractionContext) -> RetractionCause {
    match reason {
        Reason::Lapsed
        | Reason::PatronLapsed
        | Reason::AgreementLapsed
        | Reason::AuthorisationLapsed
        | Reason::Library
        | Reason::PartyUnlisted
        | Reason::Rekeyed
        | Reason::RecipientRemoved => RetractionCause::Planned,
        Reason::PatronErased | Reason::PatronUnknown => RetractionCause::Loss,
        Reason::SourceGone if !context.is_new_version => RetractionCause::Loss,
        _ if context.is_policy_change => RetractionCause::Planned,
        Reason::Stages | Reason::LoanHistoryOff | Reason::StageInFuture => {
            RetractionCause::RecordChange
        }
        _ if reason.is_of_condition() => RetractionCause::RecordChange,
        Reason::Malformed | Reason::TooLarge => RetractionCause::Loss,
        _ if context.is_new_version => RetractionCause::RecordChange,
        _ => RetractionCause::Loss,
    }
}

/// Retractions of one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetractionCounts {
    lost_by_reason: ReasonCounts,
    /// Caused by new versions of its records.
    by_record_change: u64,
}

impl RetractionCounts {
    fn add(&mut self, reason: Reason, context: RetractionContext, count: u64) {
        match classify_cause(reason, context) {
            RetractionCause::Planned => {}
            RetractionCause::RecordChange => self.by_record_change += count,
            RetractionCause::Loss => self.lost_by_reason[reason as usize] += count,
        }
    }

    fn merge(&mut self, other: &RetractionCounts) {
        for (sum, more) in self.lost_by_reason.iter_mut().zip(other.lost_by_reason.iter()) {
            *sum += more;
        }
        self.by_record_change += other.by_record_change;
    }

    fn total_lost(&self) -> u64 {
        self.lost_by_reason.iter().sum()
    }

    fn is_empty(&self) -> bool {
        self.by_record_change == 0 && self.total_lost() == 0
    }

    /// Adds the counts to those of a mark, by the name of their cause.
    fn add_by_name(&self, by_name: &mut BTreeMap<String, u64>) {
        let lost = Reason::ALL.iter().map(|reason| reason.as_str()).zip(self.lost_by_reason.iter());
        let all = lost.chain([(RECORD_CHANGE, &self.by_record_change)]);
        for (name, count) in all.filter(|(_, count)| **count > 0) {
            *by_name.entry(name.to_owned()).or_default() += count;
        }
    }

    /// Reads the counts of a mark. A reason of a newer version is a loss as well.
    fn from_names(by_name: &BTreeMap<String, u64>) -> RetractionCounts {
        let mut counts = RetractionCounts::default();
        for (name, count) in by_name {
            match name.as_str() {
                RECORD_CHANGE => counts.by_record_change += count,
                name => {
                    let reason = Reason::from_name(name).unwrap_or(Reason::SourceGone);
                    counts.lost_by_reason[reason as usize] += count;
                }
            }
        }
        counts
    }
}

/// The retractions of a batch, by partition and recipient.
pub type PartitionRetractions = BTreeMap<i32, Vec<RetractionCounts>>;

/// Returns the retractions of a batch; empty if none counts.
#[must_use]
pub fn batch_retractions(tally: &Tally, is_policy_change: bool) -> PartitionRetractions {
    let mut retractions = PartitionRetractions::new();
    for (&origin, &count) in &tally.retractions {
        let RetractionOrigin { partition, recipient, reason, is_new_version } = origin;
        let by_recipient = retractions
            .entry(partition)
            .or_insert_with(|| vec![RetractionCounts::default(); tally.recipients.len()]);
        if let Some(counts) = by_recipient.get_mut(usize::from(recipient)) {
            counts.add(reason, RetractionContext { is_new_version, is_policy_change }, count);
        }
    }
    retractions.retain(|_, counts| !counts.iter().all(RetractionCounts::is_empty));
    retractions
}

/// Returns the foreseen retractions of a reconcile by recipient.
#[must_use]
pub fn foreseen_retractions(
    counts: &[ReasonCounts],
    is_policy_change: bool,
) -> Vec<RetractionCounts> {
    let way = RetractionContext { is_new_version: false, is_policy_change };
    let foreseen = counts.iter().map(|counts| {
        let mut taken = RetractionCounts::default();
        for (&reason, &count) in Reason::ALL.iter().zip(counts) {
            taken.add(reason, way, count);
        }
        taken
    });
    foreseen.collect()
}

/// More would be retracted from a recipient than is ordinary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossFinding {
    pub lane: String,
    pub recipient: String,
    /// Within the last hour, including what is about to be retracted.
    pub retracted: u64,
    /// The most outputs that the recipient had in that hour.
    pub outputs_before: u64,
    pub reason_counts: Vec<(Reason, u64)>,
}

impl LossFinding {
    /// Returns the code by which an operator accepts it.
    #[must_use]
    pub fn code(&self) -> String {
        let causes: Vec<&str> =
            self.reason_counts.iter().map(|(reason, _)| reason.as_str()).collect();
        finding_code(&[
            "taken-back",
            &self.lane,
            &self.recipient,
            &causes.join(","),
            &digit_count(self.retracted),
            &digit_count(self.outputs_before),
        ])
    }
}

impl fmt::Display for LossFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LossFinding { recipient, retracted: taken, outputs_before: had, .. } = self;
        write!(f, "{taken} of the {had} outputs that `{recipient}` has would be taken back (")?;
        for (at, (reason, count)) in self.reason_counts.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{reason} {count}")?;
        }
        write!(f, "): code {}", self.code())
    }
}

/// Something of each minute of the last hour, oldest first.
#[derive(Clone, Debug)]
struct MinuteWindow<T>(VecDeque<(i64, T)>);

impl<T> Default for MinuteWindow<T> {
    fn default() -> Self {
        MinuteWindow(VecDeque::new())
    }
}

impl<T: Default> MinuteWindow<T> {
    /// Returns that of the current minute, and drops what is older than an hour.
    fn minute_at(&mut self, now_ms: i64) -> &mut T {
        self.drop_old(now_ms);
        let number = minute_number(now_ms);
        // A clock that went back counts into the newest minute.
        if self.0.back().is_none_or(|(last, _)| *last < number) {
            self.0.push_back((number, T::default()));
        }
        let last = self.0.len() - 1;
        &mut self.0[last].1
    }

    fn drop_old(&mut self, now_ms: i64) {
        let oldest = minute_number(now_ms) - WINDOW_MINUTES;
        while self.0.front().is_some_and(|(first, _)| *first <= oldest) {
            self.0.pop_front();
        }
    }

    fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, value)| value)
    }
}

fn minute_number(ms: i64) -> i64 {
    ms.div_euclid(MINUTE_MS)
}

/// What one recipient lost of one partition in the last hour.
#[derive(Clone, Debug, Default)]
struct RetractionHour {
    /// Before the worker had the partition.
    restored: MinuteWindow<RetractionCounts>,
    counted: MinuteWindow<RetractionCounts>,
}

impl RetractionHour {
    fn drop_old(&mut self, now_ms: i64) {
        self.restored.drop_old(now_ms);
        self.counted.drop_old(now_ms);
    }

    fn minutes(&self) -> impl Iterator<Item = &(i64, RetractionCounts)> {
        self.restored.0.iter().chain(&self.counted.0)
    }
}

/// What recipients lost of one partition.
#[derive(Clone, Debug)]
struct PartitionLosses {
    hours: Vec<RetractionHour>,
    /// In the worker's open batch, without what was granted.
    open_batch: Vec<RetractionCounts>,
}

impl PartitionLosses {
    fn new(recipients: usize) -> PartitionLosses {
        PartitionLosses {
            hours: vec![RetractionHour::default(); recipients],
            open_batch: Vec::new(),
        }
    }

    /// Whether a recipient lost something before the worker had the partition.
    fn has_restored(&self, recipient: usize) -> bool {
        self.hours.get(recipient).is_some_and(|hour| !hour.restored.0.is_empty())
    }

    /// Adds all that a recipient lost but for the open batch.
    fn add_committed(&self, recipient: usize, sum: &mut RetractionCounts) {
        let hour = self.hours.get(recipient).into_iter();
        hour.flat_map(RetractionHour::minutes).for_each(|(_, counts)| sum.merge(counts));
    }
}

/// What one worker counts.
#[derive(Debug, Default)]
struct WorkerCounts {
    /// Outputs of each recipient in its partitions.
    outputs: Vec<u64>,
    partitions: BTreeMap<i32, PartitionLosses>,
    /// How much of its open batch was granted.
    granted_in_batch: Vec<u64>,
    /// What was accepted for the current reconcile and is still to come.
    remaining_grant: Vec<u64>,
}

impl WorkerCounts {
    fn drop_batch(&mut self) {
        self.granted_in_batch.clear();
        self.partitions.values_mut().for_each(|partition| partition.open_batch.clear());
    }
}

#[derive(Debug, Default)]
struct LaneLossCounts {
    workers: BTreeMap<usize, WorkerCounts>,
    /// The most outputs of each recipient.
    max_outputs: Vec<MinuteWindow<u64>>,
    next_worker: usize,
}

impl LaneLossCounts {
    /// Updates the most outputs of each recipient.
    fn update_max_outputs(&mut self, now_ms: i64) {
        for (at, max_outputs) in self.max_outputs.iter_mut().enumerate() {
            let parts = self.workers.values();
            let has: u64 = parts.filter_map(|part| part.outputs.get(at)).sum();
            let minute = max_outputs.minute_at(now_ms);
            *minute = has.max(*minute);
        }
    }

    fn drop_old(&mut self, now_ms: i64) {
        self.max_outputs.iter_mut().for_each(|window| window.drop_old(now_ms));
        let parts = self.workers.values_mut().flat_map(|part| part.partitions.values_mut());
        parts.flat_map(|part| &mut part.hours).for_each(|hour| hour.drop_old(now_ms));
    }
}

/// The counts of one lane, of all its workers in the process.
#[derive(Debug)]
pub struct LossGuard {
    lane: String,
    recipients: Vec<String>,
    /// 0 means unlimited.
    max_per_hour: u64,
    counts: Mutex<LaneLossCounts>,
}

impl LossGuard {
    /// Counts for a lane. A `max_per_hour` above 0 bounds the retractions of each recipient
    /// within an hour.
    #[must_use]
    pub fn new(lane: &Lane, max_per_hour: u64) -> Arc<LossGuard> {
        let names = lane.recipients.iter().map(|program| program.name.clone());
        let recipients: Vec<String> = names.collect();
        let max_outputs = vec![MinuteWindow::default(); recipients.len()];
        Arc::new(LossGuard {
            lane: lane.name.clone(),
            recipients,
            max_per_hour,
            counts: Mutex::new(LaneLossCounts { max_outputs, ..LaneLossCounts::default() }),
        })
    }

    /// Adds a worker.
    #[must_use]
    pub fn register_worker(self: &Arc<Self>) -> WorkerLosses {
        let mut count = self.lock_counts();
        let number = count.next_worker;
        count.next_worker += 1;
        count.workers.insert(number, WorkerCounts::default());
        drop(count);
        WorkerLosses { guard: Arc::clone(self), worker: number }
    }

    fn lock_counts(&self) -> MutexGuard<'_, LaneLossCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what would be too much if `retractions` happened now as well.
    fn find_losses(
        &self,
        count: &mut LaneLossCounts,
        retractions: &[RetractionCounts],
        now_ms: i64,
    ) -> Vec<LossFinding> {
        count.drop_old(now_ms);
        let all = self.recipients.iter().enumerate();
        all.filter_map(|(at, recipient)| {
            let more = retractions.get(at).filter(|retractions| !retractions.is_empty())?;
            let partitions = || count.workers.values().flat_map(|part| part.partitions.values());
            let mut sum = RetractionCounts::default();
            partitions().for_each(|partition| partition.add_committed(at, &mut sum));
            let has: u64 = count.workers.values().filter_map(|part| part.outputs.get(at)).sum();
            let mut had = count.max_outputs.get(at)?.values().copied().fold(has, u64::max);
            if partitions().any(|partition| partition.has_restored(at)) {
                // What it lost before the worker had the partition it had before that.
                had = had.max(has + sum.total_lost());
            }
            let open = partitions().filter_map(|partition| partition.open_batch.get(at));
            open.chain([more]).for_each(|counts| sum.merge(counts));
            let lost = sum.total_lost();
            let by_share = lost > ALWAYS_ALLOWED_PER_HOUR && lost.saturating_mul(2) > had;
            let by_hour = self.max_per_hour > 0 && lost + sum.by_record_change > self.max_per_hour;
            if !by_share && !by_hour {
                return None;
            }
            let counts = Reason::ALL.iter().copied().zip(sum.lost_by_reason.iter().copied());
            let mut causes: Vec<(Reason, u64)> = counts.filter(|(_, count)| *count > 0).collect();
            if !by_share && sum.by_record_change > 0 {
                causes.push((Reason::Condition, sum.by_record_change));
            }
            Some(LossFinding {
                lane: self.lane.clone(),
                recipient: recipient.clone(),
                retracted: causes.iter().map(|(_, count)| count).sum(),
                outputs_before: had,
                reason_counts: causes,
            })
        })
        .collect()
    }
}

/// One worker's part in the counts of its lane.
#[derive(Debug)]
pub struct WorkerLosses {
    guard: Arc<LossGuard>,
    worker: usize,
}

impl WorkerLosses {
    /// Sets the committed outputs of each recipient in the worker's partitions.
    pub fn set_output_counts(&self, counts: &[u64], now_ms: i64) {
        let mut count = self.guard.lock_counts();
        count.update_max_outputs(now_ms);
        if let Some(part) = count.workers.get_mut(&self.worker) {
            part.outputs.clear();
            part.outputs.extend_from_slice(counts);
        }
        count.update_max_outputs(now_ms);
    }

    /// Returns what is too much of the foreseen retractions of a reconcile. If the findings
    /// are accepted, call [`grant_accepted`](Self::grant_accepted).
    #[must_use]
    pub fn check_foreseen(
        &self,
        retractions: &[RetractionCounts],
        now_ms: i64,
    ) -> Vec<LossFinding> {
        self.guard.find_losses(&mut self.guard.lock_counts(), retractions, now_ms)
    }

    /// Grants the foreseen retractions of these recipients, so that they are not counted
    /// again when they happen.
    pub fn grant_accepted(&self, retractions: &[RetractionCounts], accepted: &[LossFinding]) {
        let recipients = &self.guard.recipients;
        let granted = recipients.iter().zip(retractions).map(|(recipient, retractions)| {
            let is_accepted = accepted.iter().any(|one| one.recipient == *recipient);
            if is_accepted { retractions.total_lost() } else { 0 }
        });
        let granted = granted.collect();
        if let Some(part) = self.guard.lock_counts().workers.get_mut(&self.worker) {
            part.remaining_grant = granted;
        }
    }

    /// Ends the reconcile and its grants.
    pub fn end_grant(&self) {
        if let Some(part) = self.guard.lock_counts().workers.get_mut(&self.worker) {
            part.remaining_grant.clear();
        }
    }

    /// Returns what is too much with the worker's open batch. From now on the other workers
    /// count that batch too, until it is committed or dropped.
    #[must_use]
    pub fn check_batch(
        &self,
        mut retractions: PartitionRetractions,
        now_ms: i64,
    ) -> Vec<LossFinding> {
        let mut count = self.guard.lock_counts();
        let recipients = self.guard.recipients.len();
        let Some(part) = count.workers.get_mut(&self.worker) else {
            return Vec::new();
        };
        part.drop_batch();
        part.granted_in_batch = deduct_grants(&mut retractions, &part.remaining_grant);
        let mut sums = vec![RetractionCounts::default(); recipients];
        for counts in retractions.values() {
            sums.iter_mut().zip(counts).for_each(|(sum, counts)| sum.merge(counts));
        }
        let findings = self.guard.find_losses(&mut count, &sums, now_ms);
        if let Some(part) = count.workers.get_mut(&self.worker) {
            for (partition, counts) in retractions {
                let new = || PartitionLosses::new(recipients);
                part.partitions.entry(partition).or_insert_with(new).open_batch = counts;
            }
        }
        findings
    }

    /// Moves the open batch into the counts.
    pub fn commit_batch(&self, now_ms: i64) {
        let mut count = self.guard.lock_counts();
        let Some(part) = count.workers.get_mut(&self.worker) else {
            return;
        };
        for (granted, spared) in
            part.remaining_grant.iter_mut().zip(part.granted_in_batch.drain(..))
        {
            *granted -= spared;
        }
        for partition in part.partitions.values_mut() {
            for (hour, taken) in partition.hours.iter_mut().zip(partition.open_batch.drain(..)) {
                if !taken.is_empty() {
                    hour.counted.minute_at(now_ms).merge(&taken);
                }
            }
        }
    }

    /// Drops the open batch.
    pub fn drop_batch(&self) {
        if let Some(part) = self.guard.lock_counts().workers.get_mut(&self.worker) {
            part.drop_batch();
        }
    }

    /// Returns what recipients lost of a partition in the last hour, with the open batch, which is
    /// of `now_ms`.
    #[must_use]
    pub fn recent_retractions(&self, partition: i32, now_ms: i64) -> RecentRetractions {
        let mut recent = RecentRetractions::new();
        let count = self.guard.lock_counts();
        let part = count.workers.get(&self.worker);
        let Some(partition) = part.and_then(|part| part.partitions.get(&partition)) else {
            return recent;
        };
        let mut add = |at: usize, minute: i64, counts: &RetractionCounts| {
            if let Some(recipient) = self.guard.recipients.get(at).filter(|_| !counts.is_empty()) {
                let by_span = recent.entry(recipient.clone()).or_default();
                let last = minute.div_euclid(MARKED_MINUTES) * MARKED_MINUTES + MARKED_MINUTES - 1;
                counts.add_by_name(by_span.entry(last).or_default());
            }
        };
        for (at, hour) in partition.hours.iter().enumerate() {
            hour.minutes().for_each(|(minute, counts)| add(at, *minute, counts));
        }
        for (at, counts) in partition.open_batch.iter().enumerate() {
            add(at, minute_number(now_ms), counts);
        }
        recent
    }

    /// Replaces the counts of a partition by those of its mark.
    pub fn restore_partition(&self, partition: i32, recent: Option<&RecentRetractions>) {
        let recipients = &self.guard.recipients;
        let mut losses = PartitionLosses::new(recipients.len());
        for (recipient, hour) in recipients.iter().zip(&mut losses.hours) {
            let by_span = recent.and_then(|recent| recent.get(recipient)).into_iter().flatten();
            hour.restored.0.extend(
                by_span.map(|(minute, counts)| (*minute, RetractionCounts::from_names(counts))),
            );
        }
        if let Some(part) = self.guard.lock_counts().workers.get_mut(&self.worker) {
            part.partitions.insert(partition, losses);
        }
    }

    /// Drops the counts of the other partitions.
    pub fn retain_partitions(&self, is_kept: impl Fn(i32) -> bool) {
        if let Some(part) = self.guard.lock_counts().workers.get_mut(&self.worker) {
            part.partitions.retain(|partition, _| is_kept(*partition));
        }
    }
}

impl Drop for WorkerLosses {
    fn drop(&mut self) {
        self.guard.lock_counts().workers.remove(&self.worker);
    }
}

/// Deducts what was granted to each recipient. Returns how much that is.
fn deduct_grants(retractions: &mut PartitionRetractions, grants: &[u64]) -> Vec<u64> {
    let deduct = |(at, grant): (usize, &u64)| {
        let mut left = *grant;
        for counts in retractions.values_mut().filter_map(|counts| counts.get_mut(at)) {
            for count in counts.lost_by_reason.iter_mut() {
                let spared = left.min(*count);
                *count -= spared;
                left -= spared;
            }
        }
        grant - left
    };
    grants.iter().enumerate().map(deduct).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn new_guard(per_hour: u64) -> Arc<LossGuard> {
        Arc::new(LossGuard {
            lane: "main".to_owned(),
            recipients: vec!["one".to_owned(), "two".to_owned()],
            max_per_hour: per_hour,
            counts: Mutex::new(LaneLossCounts {
                max_outputs: vec![MinuteWindow::default(); 2],
                ..LaneLossCounts::default()
            }),
        })
    }

    /// Returns retractions of the first recipient, lost ones and those by record changes.
    fn retractions_of(lost: u64, by_record: u64) -> Vec<RetractionCounts> {
        let mut taken =
            RetractionCounts { by_record_change: by_record, ..RetractionCounts::default() };
        taken.lost_by_reason[Reason::PatronErased as usize] = lost;
        vec![taken, RetractionCounts::default()]
    }

    /// The same of a batch, all of one partition.
    fn batch_of(lost: u64, by_record: u64) -> PartitionRetractions {
        PartitionRetractions::from([(0, retractions_of(lost, by_record))])
    }

    #[track_caller]
    fn check_stop(per_hour: u64, has: u64, taken: (u64, u64), want: bool) {
        let share = new_guard(per_hour).register_worker();
        share.set_output_counts(&[has, has], 0);
        let found = share.check_batch(batch_of(taken.0, taken.1), 0);
        assert_eq!(!found.is_empty(), want, "{taken:?} of {has}: {found:?}");
        let foreseen = share.check_foreseen(&retractions_of(0, 0), 0);
        assert!(foreseen.is_empty(), "nothing is ever too much");
    }

    #[test]
    fn loss_guard_stops_above_half_and_above_a_hundred() {
        check_stop(0, 1, (1, 0), false);
        check_stop(0, 100, (100, 0), false);
        check_stop(0, 101, (101, 0), true);
        check_stop(0, 202, (101, 0), false);
        check_stop(0, 201, (101, 0), true);
        check_stop(0, 1_000_000, (500_000, 0), false);
        check_stop(0, 1_000_000, (500_001, 0), true);
        // Record changes count only towards the hourly bound.
        check_stop(0, 1_000, (0, 1_000), false);
        check_stop(0, 1_000, (500, 500), false);
        check_stop(500, 1_000_000, (250, 250), false);
        check_stop(500, 1_000_000, (250, 251), true);
        check_stop(500, 1_000_000, (501, 0), true);
    }

    #[test]
    fn loss_guard_sums_workers_and_leaves_out_dropped_batches() {
        let losses = new_guard(0);
        let (one, other) = (losses.register_worker(), losses.register_worker());
        one.set_output_counts(&[500], 0);
        other.set_output_counts(&[500], 0);
        assert_eq!(one.check_batch(batch_of(300, 0), 0), []);
        // The first worker's batch is open, and may still be committed.
        assert_eq!(other.check_batch(batch_of(201, 0), 0).len(), 1);
        other.drop_batch();
        assert_eq!(other.check_batch(batch_of(200, 0), 0), []);
        other.commit_batch(0);
        one.drop_batch();
        assert_eq!(one.check_batch(batch_of(300, 0), 0), []);
        one.commit_batch(0);
        assert_eq!(one.check_batch(batch_of(1, 0), 0).len(), 1);
        one.drop_batch();
        // A worker that is gone has no outputs.
        drop(other);
        one.set_output_counts(&[200], HOUR_MS);
        assert_eq!(one.check_batch(batch_of(101, 0), 3 * HOUR_MS).len(), 1);
    }

    #[test]
    fn loss_guard_counts_over_one_hour() {
        let share = new_guard(0).register_worker();
        share.set_output_counts(&[1_000], 0);
        for minute in 0..5 {
            let now_ms = minute * MINUTE_MS;
            assert_eq!(share.check_batch(batch_of(100, 0), now_ms), [], "{minute}");
            share.commit_batch(now_ms);
            share.set_output_counts(&[900 - 100 * u64::try_from(minute).unwrap()], now_ms);
        }
        assert_eq!(share.check_batch(batch_of(1, 0), HOUR_MS - 1).len(), 1);
        share.drop_batch();
        // The first hundred and the outputs before them have left the hour.
        let found = share.check_batch(batch_of(51, 0), HOUR_MS);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].retracted, found[0].outputs_before), (451, 900));
        share.drop_batch();
        assert_eq!(share.check_batch(batch_of(100, 0), 2 * HOUR_MS), []);
    }

    /// What a mark keeps after `share` lost so much, as another process reads it.
    fn carried(share: &WorkerLosses, partition: i32, now_ms: i64) -> RecentRetractions {
        let recent = share.recent_retractions(partition, now_ms);
        let text = serde_json::to_string(&recent).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    proptest! {
        /// A restart or a rebalance after any batch lets nothing more through.
        #[test]
        fn loss_guard_decides_the_same_whenever_processes_restart(
            steps in prop::collection::vec((1_u64..90, 0..2_i32, 0..8_i64, any::<bool>()), 1..12),
            outputs in 100_u64..1_000,
        ) {
            let (steady, mut restarted) = (new_guard(400).register_worker(), new_guard(400).register_worker());
            let (mut now_ms, mut has) = (0, outputs);
            for share in [&steady, &restarted] {
                share.set_output_counts(&[has], now_ms);
            }
            for (lost, partition, minutes, is_restart) in steps {
                now_ms += minutes * MINUTE_MS;
                let lost = lost.min(has);
                let batch = || PartitionRetractions::from([(partition, retractions_of(lost, 0))]);
                let found = steady.check_batch(batch(), now_ms);
                let found_restarted = restarted.check_batch(batch(), now_ms);
                prop_assert!(found.is_empty() || !found_restarted.is_empty());
                if !found_restarted.is_empty() {
                    break;
                }
                has -= lost;
                let marks = [0, 1].map(|partition| carried(&restarted, partition, now_ms));
                for share in [&steady, &restarted] {
                    share.commit_batch(now_ms);
                    share.set_output_counts(&[has], now_ms);
                }
                prop_assert_eq!(
                    &marks, &[0, 1].map(|partition| carried(&restarted, partition, now_ms))
                );
                if is_restart {
                    restarted = new_guard(400).register_worker();
                    for (partition, mark) in (0..).zip(&marks) {
                        restarted.restore_partition(partition, Some(mark));
                        prop_assert_eq!(&carried(&restarted, partition, now_ms), mark);
                    }
                    restarted.set_output_counts(&[has], now_ms);
                }
            }
        }
    }

    #[test]
    fn loss_guard_forgets_restored_losses_and_those_of_partitions_that_are_gone() {
        let first = new_guard(0).register_worker();
        first.set_output_counts(&[250], 0);
        assert_eq!(first.check_batch(batch_of(120, 7), 0), []);
        let mark = carried(&first, 0, 0);
        assert_eq!(
            serde_json::to_string(&mark).unwrap(),
            r#"{"one":{"9":{"patron_erased":120,"record_change":7}}}"#
        );
        let second = new_guard(0).register_worker();
        let find = |more: u64, now_ms: i64| {
            let found = second.check_batch(batch_of(more, 0), now_ms);
            second.drop_batch();
            found.into_iter().map(|one| (one.retracted, one.outputs_before)).collect::<Vec<_>>()
        };
        let restore = || {
            second.restore_partition(0, Some(&mark));
            second.set_output_counts(&[130], 0);
        };
        restore();
        assert_eq!(find(5, 0), []);
        assert_eq!(find(6, 0), [(126, 250)]);
        // A span counts until an hour after its end.
        assert_eq!(find(6, HOUR_MS + 8 * MINUTE_MS), [(126, 250)]);
        assert_eq!(find(6, HOUR_MS + 9 * MINUTE_MS), []);
        restore();
        assert_eq!(find(6, 0), [(126, 250)]);
        second.retain_partitions(|partition| partition != 0);
        assert_eq!(find(6, 0), []);
        restore();
        second.restore_partition(0, None);
        assert_eq!(find(6, 0), []);
    }

    #[test]
    fn loss_guard_does_not_count_accepted_losses_again() {
        let share = new_guard(0).register_worker();
        share.set_output_counts(&[1_000], 0);
        let taken = retractions_of(900, 0);
        let found = share.check_foreseen(&taken, 0);
        assert_eq!((found[0].retracted, found[0].outputs_before), (900, 1_000));
        share.grant_accepted(&taken, &found);
        for _ in 0..3 {
            assert_eq!(share.check_batch(batch_of(300, 0), 0), []);
            // An abort returns what was granted.
            share.drop_batch();
            assert_eq!(share.check_batch(batch_of(300, 0), 0), []);
            share.commit_batch(0);
        }
        share.set_output_counts(&[100], 0);
        assert_eq!(share.check_batch(batch_of(100, 0), 0), []);
        share.commit_batch(0);
        share.end_grant();
        assert_eq!(share.check_batch(batch_of(401, 0), 0).len(), 1);
    }

    #[test]
    fn retraction_cause_is_planned_for_terms_documents_and_config() {
        let way = |new_version, policy_changed| RetractionContext {
            is_new_version: new_version,
            is_policy_change: policy_changed,
        };
        for reason in Reason::ALL {
            let causes = [(false, false), (true, false), (false, true), (true, true)]
                .map(|(new, changed)| classify_cause(*reason, way(new, changed)));
            let want = match reason {
                Reason::Lapsed
                | Reason::PatronLapsed
                | Reason::AgreementLapsed
                | Reason::AuthorisationLapsed
                | Reason::Library
                | Reason::PartyUnlisted
                | Reason::Rekeyed
                | Reason::RecipientRemoved => [RetractionCause::Planned; 4],
                Reason::PatronErased | Reason::PatronUnknown => [RetractionCause::Loss; 4],
                Reason::SourceGone => [
                    RetractionCause::Loss,
                    RetractionCause::RecordChange,
                    RetractionCause::Loss,
                    RetractionCause::Planned,
                ],
                Reason::Condition
                | Reason::Stages
                | Reason::LoanHistoryOff
                | Reason::StageInFuture
                | Reason::NotWritten
                | Reason::NoLawArticle
                | Reason::NothingDemanded
                | Reason::NoTeamLeader
                | Reason::NoReceipt
                | Reason::NoAdvice
                | Reason::NoDecision
                | Reason::NotGranted
                | Reason::NoLegalDuty => [
                    RetractionCause::RecordChange,
                    RetractionCause::RecordChange,
                    RetractionCause::Planned,
                    RetractionCause::Planned,
                ],
                Reason::Malformed | Reason::TooLarge => [
                    RetractionCause::Loss,
                    RetractionCause::Loss,
                    RetractionCause::Planned,
                    RetractionCause::Planned,
                ],
                _ => [
                    RetractionCause::Loss,
                    RetractionCause::RecordChange,
                    RetractionCause::Planned,
                    RetractionCause::Planned,
                ],
            };
            assert_eq!(causes, want, "{reason}");
        }
    }

    #[test]
    fn loss_finding_tells_counts_and_ends_with_its_code() {
        let share = new_guard(0).register_worker();
        share.set_output_counts(&[250], 0);
        let found = share.check_batch(batch_of(200, 0), 0);
        let [finding] = found.as_slice() else {
            panic!("one finding, found {found:?}");
        };
        let text = finding.to_string();
        let want = "200 of the 250 outputs that `one` has would be taken back (patron_erased 200): \
                    code ";
        assert_eq!(text, format!("{want}{}", finding.code()));
        let mut other = finding.clone();
        other.retracted = 999;
        assert_eq!(other.code(), finding.code());
        other.retracted = 1_000;
        assert_ne!(other.code(), finding.code());
    }
}
