//! Publishing by period: what recipients with one are to get or to lose waits in
//! rows, until a run publishes it in the order of output keys.
//!
//! Between runs nothing leaves: neither order nor time of what happens shows.
//! A run that is broken off is due again, and goes on with what is left.

use super::Holding;
use super::change::{Change, Count};
use crate::engine::gates::Refusal;
use crate::engine::lane::Lane;
use crate::engine::pipeline::BatchTime;
use crate::engine::state::text::name;
use crate::engine::state::{Entries, Entry, Outcome, Pending, RowKey};
use crate::engine::tally::{ByReason, Tally};
use crate::policy::pseudonym::PSEUDONYM_LENGTH;
use crate::policy::reason::Reason;
use crate::policy::recipient::After;
use crate::policy::term::{day_of, month_of};
use crate::transport::Outbox;

/// The fewest records that a transaction of a run is about, where there are as many.
const CHUNK_MIN: usize = 1_000;

/// What may leave for recipients with a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pace {
    /// Nothing: it waits.
    #[default]
    Wait,
    /// What is taken back, once a day.
    TakeBack,
    /// Outputs too, once a month.
    Publish,
}

impl Pace {
    /// Whether something that waits may leave.
    fn lets(self, pending: Pending) -> bool {
        match (self, pending) {
            (Pace::Publish, _) => true,
            (Pace::TakeBack, Pending::Retraction(reason)) => !is_of_record(reason),
            (Pace::TakeBack, Pending::Output) | (Pace::Wait, _) => false,
        }
    }
}

/// Whether the record itself is why something is taken back: a change as any other,
/// of a day that other recipients see too.
fn is_of_record(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Condition | Reason::Stages | Reason::LoanHistoryOff | Reason::PeriodOpen
    )
}

/// What waits in a row for one recipient, by the key of its output as it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Waiting {
    key: [u8; PSEUDONYM_LENGTH],
    partition: i32,
    row: RowKey,
}

impl Holding {
    /// Begins a run: says what may leave, and of which partitions.
    pub(in crate::engine) fn begin_run(&mut self, pace: Pace, partitions: &[i32], now_ms: i64) {
        let is_due = |one: &i32| self.due_pace(&[*one], now_ms) >= pace;
        self.due = partitions.iter().copied().filter(is_due).collect();
        self.pace = pace;
        self.waiting.clear();
    }

    /// Ends a run: nothing may leave.
    pub(in crate::engine) fn end_run(&mut self) {
        self.pace = Pace::Wait;
        self.due.clear();
        self.waiting.clear();
    }

    /// Whether outputs for a recipient wait.
    pub(super) fn holds_outputs(&self, recipient: usize) -> bool {
        self.pace != Pace::Publish && self.periodic.get(recipient) == Some(&true)
    }

    /// Whether what is taken back from a recipient waits.
    pub(super) fn holds_nulls(&self, recipient: u16) -> bool {
        self.pace == Pace::Wait && self.periodic.get(usize::from(recipient)) == Some(&true)
    }

    /// Returns which run is due at a time of some of these partitions: outputs are
    /// published in the first run of a month, or where all that a recipient has is to
    /// be sent again; what is taken back goes in the first run of a day.
    pub(in crate::engine) fn due_pace(&self, partitions: &[i32], now_ms: i64) -> Pace {
        if !self.periodic.contains(&true) {
            return Pace::Wait;
        }
        let (month, day) = (month_of(now_ms), day_of(now_ms));
        let due = partitions.iter().map(|&partition| {
            let (published, taken_back) = self.marks.runs(partition);
            if *published < *month || self.refill_waits(partition) {
                Pace::Publish
            } else if *taken_back < *day {
                Pace::TakeBack
            } else {
                Pace::Wait
            }
        });
        due.max().unwrap_or_default()
    }

    /// Whether what a recipient is sent again of a partition waits for a run.
    pub(super) fn refill_waits(&self, partition: i32) -> bool {
        let refills = self.marks.refills(partition);
        let mut places = refills.iter().map(|place| usize::from(*place));
        places.any(|place| self.holds_outputs(place))
    }

    /// Finds what waits and may leave now. Returns of how many records.
    pub(in crate::engine) fn find_waiting(&mut self) -> usize {
        let rows = self.state.all();
        let rows = rows.filter(|(partition, ..)| self.due.contains(partition));
        let all = rows.flat_map(|(partition, row, found)| {
            let entries = found.entries.iter();
            entries.filter_map(move |entry| Some((entry, entry.pending()?, partition, row)))
        });
        let pace = self.pace;
        let found = all.filter(|(_, pending, ..)| pace.lets(*pending));
        let waiting = found.map(|(entry, _, partition, row)| Waiting {
            key: name(entry.key),
            partition,
            row,
        });
        self.waiting = waiting.collect();
        // The first ones last: they are taken from the end.
        self.waiting.sort_unstable_by(|one, other| other.cmp(one));
        self.waiting.len()
    }

    /// What the run takes back, as far as that is known before it, by recipient and
    /// reason.
    #[must_use]
    pub fn waiting_retractions(&self, lane: &Lane) -> Vec<ByReason> {
        let mut counts = vec![ByReason::default(); lane.recipients.len()];
        let rows = self.state.all();
        for (_, _, row) in rows.filter(|(partition, ..)| self.due.contains(partition)) {
            for entry in &row.entries {
                let pending = entry.pending().filter(|pending| self.pace.lets(*pending));
                if let Some(Pending::Retraction(reason)) = pending
                    && let Some(counts) = counts.get_mut(usize::from(entry.recipient))
                {
                    counts[reason as usize] += 1;
                }
            }
        }
        counts
    }

    /// Takes the next records that wait, by the keys of their outputs, at most
    /// `count_max` or some more: what is taken back goes into the batch, the others
    /// are to be decided again. Returns how many are left.
    pub(in crate::engine) fn take_waiting(
        &mut self,
        lane: &Lane,
        count_max: usize,
        now: &BatchTime,
        (tally, outbox): (&mut Tally, &mut Outbox),
    ) -> usize {
        let all = self.waiting.len();
        let mut count = count_max.max(CHUNK_MIN).min(all);
        if all - count < CHUNK_MIN {
            count = all;
        }
        let chunk = self.waiting.split_off(all - count);
        for waiting in chunk.into_iter().rev() {
            let Waiting { partition, row, .. } = waiting;
            if !self.take_back_waiting(lane, (partition, row), now, (tally, outbox)) {
                self.again.push((partition, row));
            }
        }
        self.waiting.len()
    }

    /// Takes back what waits for that in a row. False where something else waits.
    fn take_back_waiting(
        &mut self,
        lane: &Lane,
        (partition, key): (i32, RowKey),
        now: &BatchTime,
        (tally, outbox): (&mut Tally, &mut Outbox),
    ) -> bool {
        let Some(row) = self.state.find(partition, key).cloned() else {
            return true;
        };
        let mut only = true;
        let mut entries = Entries::with_capacity(row.entries.len());
        for known in &row.entries {
            let pending = known.pending().filter(|pending| self.pace.lets(*pending));
            let Some(Pending::Retraction(reason)) = pending else {
                only &= pending.is_none();
                entries.keep(*known, &row);
                continue;
            };
            let change = Change {
                refusal: Refusal::by(known.owed, reason),
                facts: known.facts,
                after: After::Retract,
                now_ms: now.ms(),
                waits: false,
            };
            let (entry, count) = change.of(known.recipient, Some(known), outbox);
            let counts = &mut tally.recipients[usize::from(known.recipient)].later;
            counts.retracted[reason as usize] += u64::from(count == Count::Retracted);
            if let Some(entry) = entry {
                entries.keep(entry, &row);
            }
        }
        let row = row.with(entries);
        self.keep(lane, (partition, key), row, None, outbox);
        only
    }

    /// All that waited left: the next marks say so.
    pub(in crate::engine) fn finish_run(&mut self, now_ms: i64) {
        let (month, day) = (month_of(now_ms), day_of(now_ms));
        for partition in self.due.clone() {
            if self.pace == Pace::Publish {
                self.finish_refill(partition);
                self.marks.set_published(partition, &month);
            }
            self.marks.set_taken_back(partition, &day);
        }
    }

    /// Whether the run that goes on is to publish an output for an entry.
    pub(super) fn is_unpublished(&self, entry: &Entry) -> bool {
        self.pace == Pace::Publish
            && entry.outcome != Outcome::Forgotten
            && entry.pending() == Some(Pending::Output)
    }

    /// What becomes of an entry whose new output waits. `known` is what the recipient
    /// has, `decided` what it would have.
    pub(super) fn wait(known: Option<&Entry>, decided: &Entry) -> Entry {
        let mut entry = match known.filter(|known| known.is_sent()) {
            Some(known) => *known,
            None => Entry::unpublished(decided),
        };
        entry.reason = Some(Reason::Unpublished);
        entry.owed = true;
        entry.facts = decided.facts;
        if entry.outcome == Outcome::Released {
            entry.time_ms = decided.time_ms;
        }
        entry
    }

    /// The recipients of a lane that are published to by period.
    pub(super) fn periodic(lane: &Lane) -> Vec<bool> {
        let programs = lane.recipients.iter();
        programs.map(|one| one.gates.period.is_some()).collect()
    }
}
