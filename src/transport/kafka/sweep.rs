//! When a null is to be appended to an idle output.
//!
//! Kafka rolls a segment only at the next append, and compacts none that was not
//! rolled: without a later message what was taken back or corrected would stay
//! for ever above what took it back or corrected it. Any append will do, so a
//! null under a key that no output has is used: a tombstone, repeated, would take
//! back what was released again meanwhile. Pure: asking and publishing are
//! elsewhere.

use std::collections::BTreeMap;

/// The key of such a null: it looks like that of an output, and is none.
pub const SWEEP_KEY: &[u8] = b"AAAAAAAAAAAAAAAAAAAAAA";

/// A partition of an output, by the output's place in the plan.
pub(super) type Spot = (usize, i32);

/// The partitions of outputs that need an append.
#[derive(Debug)]
pub(super) struct Sweep {
    /// After this time the next append rolls a segment, in milliseconds.
    segment_ms: i64,
    needs: BTreeMap<Spot, Need>,
    /// Outputs that were written to, in whichever of their partitions.
    written: BTreeMap<usize, Written>,
    /// Nulls that are part of the open transaction.
    open: Vec<Spot>,
}

/// When an output was written to, since its partitions were noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    first_ms: i64,
    last_ms: i64,
}

/// What a partition needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Need {
    /// An append at this time, or later.
    from_ms: i64,
    /// What lies there is of an earlier run: it is not known when it was written.
    unknown: bool,
}

impl Sweep {
    pub(super) fn new(segment_ms: i64) -> Self {
        Self {
            segment_ms,
            needs: BTreeMap::new(),
            written: BTreeMap::new(),
            open: Vec::new(),
        }
    }

    /// An output was written to at `now_ms`.
    pub(super) fn wrote(&mut self, output: usize, now_ms: i64) {
        let fresh = Written {
            first_ms: now_ms,
            last_ms: now_ms,
        };
        self.written.entry(output).or_insert(fresh).last_ms = now_ms;
    }

    /// The outputs whose partitions are to be noted now.
    pub(super) fn ripe(&self, now_ms: i64) -> Vec<usize> {
        let ripe = |written: &Written| written.first_ms + self.segment_ms <= now_ms;
        let written = self.written.iter().filter(|(_, written)| ripe(written));
        written.map(|(&output, _)| output).collect()
    }

    /// Notes every partition of an output, any of which may have been written to:
    /// librdkafka says which only in a report of each message.
    pub(super) fn spread(&mut self, output: usize, partitions: &[i32]) {
        let Some(Written { first_ms, last_ms }) = self.written.remove(&output) else {
            return;
        };
        for &partition in partitions {
            self.note((output, partition), first_ms);
        }
        if last_ms > first_ms {
            self.wrote(output, last_ms);
        }
    }

    /// Something may have been written to `spot` at `at_ms`.
    fn note(&mut self, spot: Spot, at_ms: i64) {
        let need = Need {
            from_ms: at_ms + self.segment_ms,
            unknown: false,
        };
        self.needs.insert(spot, need);
    }

    /// Nothing is known of `spot` but that there are messages.
    pub(super) fn wonder(&mut self, spot: Spot, now_ms: i64) {
        let need = Need {
            from_ms: now_ms - self.segment_ms,
            unknown: true,
        };
        self.needs.entry(spot).or_insert(need);
    }

    /// What is due now: which partitions, and since when an append would do.
    pub(super) fn due(&self, now_ms: i64) -> Vec<(Spot, i64)> {
        let due = |(spot, need): (&Spot, &Need)| {
            (need.from_ms <= now_ms && !self.open.contains(spot)).then_some((*spot, need.from_ms))
        };
        self.needs.iter().filter_map(due).collect()
    }

    /// There is an append at the time that was needed, or after it. Where that is
    /// all that is known, it may be of a moment ago.
    pub(super) fn covered(&mut self, spot: Spot, now_ms: i64) {
        let need = self.needs.remove(&spot);
        if need.is_some_and(|need| need.unknown) {
            self.note(spot, now_ms);
        }
    }

    /// A null for `spot` is part of the open transaction.
    pub(super) fn published(&mut self, spot: Spot) {
        self.open.push(spot);
    }

    /// The open transaction was committed.
    pub(super) fn committed(&mut self) {
        for spot in self.open.drain(..) {
            self.needs.remove(&spot);
        }
    }

    /// The open transaction was aborted.
    pub(super) fn aborted(&mut self) {
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPOT: Spot = (0, 3);

    #[test]
    fn an_idle_partition_is_swept_once() {
        let mut sweep = Sweep::new(1_000);
        assert_eq!(sweep.due(i64::MAX), []);
        sweep.note(SPOT, 5_000);
        sweep.note(SPOT, 5_500);
        assert_eq!(sweep.due(6_499), []);
        assert_eq!(sweep.due(6_500), [(SPOT, 6_500)]);
        sweep.published(SPOT);
        assert_eq!(sweep.due(9_000), []);
        sweep.aborted();
        assert_eq!(sweep.due(9_000), [(SPOT, 6_500)]);
        sweep.published(SPOT);
        sweep.committed();
        assert_eq!(sweep.due(i64::MAX), []);
    }

    #[test]
    fn every_partition_of_an_output_is_swept_that_was_written_to() {
        let mut sweep = Sweep::new(1_000);
        sweep.wrote(0, 5_000);
        sweep.wrote(0, 5_700);
        assert!(sweep.ripe(5_999).is_empty());
        assert_eq!(sweep.ripe(6_000), [0]);
        sweep.spread(0, &[3, 4]);
        assert_eq!(sweep.due(6_000), [(SPOT, 6_000), ((0, 4), 6_000)]);
        // Of the later one it is not known either where it was.
        assert!(sweep.ripe(6_699).is_empty());
        assert_eq!(sweep.ripe(6_700), [0]);
        sweep.spread(0, &[3]);
        assert_eq!(sweep.due(6_700), [(SPOT, 6_700), ((0, 4), 6_000)]);
        assert!(sweep.ripe(i64::MAX).is_empty());
    }

    #[test]
    fn what_came_after_is_enough() {
        let mut sweep = Sweep::new(1_000);
        sweep.note(SPOT, 5_000);
        sweep.covered(SPOT, 7_000);
        assert_eq!(sweep.due(i64::MAX), []);
    }

    #[test]
    fn what_an_earlier_run_left_is_looked_at_twice() {
        let mut sweep = Sweep::new(1_000);
        sweep.note((0, 4), 5_000);
        sweep.wonder((0, 4), 5_000);
        sweep.wonder(SPOT, 5_000);
        assert_eq!(sweep.due(5_000), [(SPOT, 4_000)]);
        sweep.covered(SPOT, 5_200);
        assert_eq!(sweep.due(6_200), [(SPOT, 6_200), ((0, 4), 6_000)]);
        sweep.covered(SPOT, 6_300);
        assert_eq!(sweep.due(i64::MAX), [((0, 4), 6_000)]);
    }
}
