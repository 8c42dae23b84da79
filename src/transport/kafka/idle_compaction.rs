//! Decides when to append a null to an idle output.
//!
//! Kafka rolls a segment only on an append, and compacts none that was not rolled: without
//! a later message, what was retracted or corrected would stay in the log for ever. Any
//! append will do, so it is a null under a key that no output has; a repeated tombstone
//! could retract what was released again meanwhile.

use std::collections::BTreeMap;

/// Key of such a null: it looks like an output's, and is none.
pub const IDLE_NULL_KEY: &[u8] = b"AAAAAAAAAAAAAAAAAAAAAA";

/// An output's index in the plan, and a partition.
pub(super) type OutputPartition = (usize, i32);

/// The partitions of outputs that need an append.
#[derive(Debug)]
pub(super) struct IdleCompaction {
    /// Milliseconds after which the next append rolls a segment.
    segment_ms: i64,
    needed_appends: BTreeMap<OutputPartition, NeededAppend>,
    /// Outputs that were written to, in any partition.
    written_outputs: BTreeMap<usize, WriteTimes>,
    /// Nulls in the open transaction.
    open_nulls: Vec<OutputPartition>,
}

/// When an output was written to, since its partitions were expanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WriteTimes {
    first_ms: i64,
    last_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NeededAppend {
    /// An append at this time or later will do.
    from_ms: i64,
    /// Written by an earlier run at an unknown time.
    is_write_time_unknown: bool,
}

impl IdleCompaction {
    pub(super) fn new(segment_ms: i64) -> Self {
        Self {
            segment_ms,
            needed_appends: BTreeMap::new(),
            written_outputs: BTreeMap::new(),
            open_nulls: Vec::new(),
        }
    }

    pub(super) fn note_write(&mut self, output: usize, now_ms: i64) {
        let fresh = WriteTimes { first_ms: now_ms, last_ms: now_ms };
        self.written_outputs.entry(output).or_insert(fresh).last_ms = now_ms;
    }

    /// Returns the outputs whose partitions are to be expanded now.
    pub(super) fn due_outputs(&self, now_ms: i64) -> Vec<usize> {
        let is_due = |written: &WriteTimes| written.first_ms + self.segment_ms <= now_ms;
        let written = self.written_outputs.iter().filter(|(_, written)| is_due(written));
        written.map(|(&output, _)| output).collect()
    }

    /// Marks every partition of an output as one that may have been written to: librdkafka
    /// says which only in a report of each message.
    pub(super) fn expand(&mut self, output: usize, partitions: &[i32]) {
        let Some(WriteTimes { first_ms, last_ms }) = self.written_outputs.remove(&output) else {
            return;
        };
        for &partition in partitions {
            self.require_append((output, partition), first_ms);
        }
        if last_ms > first_ms {
            self.note_write(output, last_ms);
        }
    }

    fn require_append(&mut self, output_partition: OutputPartition, at_ms: i64) {
        let need = NeededAppend { from_ms: at_ms + self.segment_ms, is_write_time_unknown: false };
        self.needed_appends.insert(output_partition, need);
    }

    /// Marks a partition that has messages of unknown time.
    pub(super) fn assume_dirty(&mut self, output_partition: OutputPartition, now_ms: i64) {
        let need = NeededAppend { from_ms: now_ms - self.segment_ms, is_write_time_unknown: true };
        self.needed_appends.entry(output_partition).or_insert(need);
    }

    /// Returns the partitions that are due, and since when an append would do.
    pub(super) fn due_partitions(&self, now_ms: i64) -> Vec<(OutputPartition, i64)> {
        let due = |(output_partition, need): (&OutputPartition, &NeededAppend)| {
            (need.from_ms <= now_ms && !self.open_nulls.contains(output_partition))
                .then_some((*output_partition, need.from_ms))
        };
        self.needed_appends.iter().filter_map(due).collect()
    }

    /// Marks a partition that had an append in time. If its write time is unknown, that
    /// append may have been a moment ago.
    pub(super) fn clear(&mut self, output_partition: OutputPartition, now_ms: i64) {
        let need = self.needed_appends.remove(&output_partition);
        if need.is_some_and(|need| need.is_write_time_unknown) {
            self.require_append(output_partition, now_ms);
        }
    }

    pub(super) fn add_open_null(&mut self, output_partition: OutputPartition) {
        self.open_nulls.push(output_partition);
    }

    pub(super) fn on_commit(&mut self) {
        for output_partition in self.open_nulls.drain(..) {
            self.needed_appends.remove(&output_partition);
        }
    }

    pub(super) fn on_abort(&mut self) {
        self.open_nulls.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT_PARTITION: OutputPartition = (0, 3);

    #[test]
    fn idle_partition_gets_one_null_even_after_an_abort() {
        let mut sweep = IdleCompaction::new(1_000);
        assert_eq!(sweep.due_partitions(i64::MAX), []);
        sweep.require_append(OUTPUT_PARTITION, 5_000);
        sweep.require_append(OUTPUT_PARTITION, 5_500);
        assert_eq!(sweep.due_partitions(6_499), []);
        assert_eq!(sweep.due_partitions(6_500), [(OUTPUT_PARTITION, 6_500)]);
        sweep.add_open_null(OUTPUT_PARTITION);
        assert_eq!(sweep.due_partitions(9_000), []);
        sweep.on_abort();
        assert_eq!(sweep.due_partitions(9_000), [(OUTPUT_PARTITION, 6_500)]);
        sweep.add_open_null(OUTPUT_PARTITION);
        sweep.on_commit();
        assert_eq!(sweep.due_partitions(i64::MAX), []);
    }

    #[test]
    fn written_output_makes_each_of_its_partitions_due() {
        let mut sweep = IdleCompaction::new(1_000);
        sweep.note_write(0, 5_000);
        sweep.note_write(0, 5_700);
        assert!(sweep.due_outputs(5_999).is_empty());
        assert_eq!(sweep.due_outputs(6_000), [0]);
        sweep.expand(0, &[3, 4]);
        assert_eq!(sweep.due_partitions(6_000), [(OUTPUT_PARTITION, 6_000), ((0, 4), 6_000)]);
        // The partition of the later one is unknown too.
        assert!(sweep.due_outputs(6_699).is_empty());
        assert_eq!(sweep.due_outputs(6_700), [0]);
        sweep.expand(0, &[3]);
        assert_eq!(sweep.due_partitions(6_700), [(OUTPUT_PARTITION, 6_700), ((0, 4), 6_000)]);
        assert!(sweep.due_outputs(i64::MAX).is_empty());
    }

    #[test]
    fn later_append_clears_a_due_partition() {
        let mut sweep = IdleCompaction::new(1_000);
        sweep.require_append(OUTPUT_PARTITION, 5_000);
        sweep.clear(OUTPUT_PARTITION, 7_000);
        assert_eq!(sweep.due_partitions(i64::MAX), []);
    }

    #[test]
    fn partition_of_unknown_write_time_is_due_twice() {
        let mut sweep = IdleCompaction::new(1_000);
        sweep.require_append((0, 4), 5_000);
        sweep.assume_dirty((0, 4), 5_000);
        sweep.assume_dirty(OUTPUT_PARTITION, 5_000);
        assert_eq!(sweep.due_partitions(5_000), [(OUTPUT_PARTITION, 4_000)]);
        sweep.clear(OUTPUT_PARTITION, 5_200);
        assert_eq!(sweep.due_partitions(6_200), [(OUTPUT_PARTITION, 6_200), ((0, 4), 6_000)]);
        sweep.clear(OUTPUT_PARTITION, 6_300);
        assert_eq!(sweep.due_partitions(i64::MAX), [((0, 4), 6_000)]);
    }
}
