//! Sources in memory whose worker stays assigned after their end, as a daemon's does,
//! and now and then loses its partitions, also while it rereads records.

use std::collections::BTreeSet;
use std::time::Duration;

use zeef::message::continuity::{ContinuityFinding, ContinuityMark, MarkPositions};
use zeef::message::{
    Coordinates, Fault, Input, MisplacedRecord, Outbox, Output, OutputId, SourceId,
};
use zeef::transport::memory::MemoryTransport;
use zeef::transport::{LateGate, PartitionLag, PollFlow, PollOutcome, ReadOutcome, Transport};

#[derive(Clone, Debug)]
pub struct RebalancingTransport {
    pub inner: MemoryTransport,
    /// Revoke or lose the partitions every this many polls.
    pub rebalance_every: Option<u32>,
    /// Revoke the partitions at this reread; doubled each time.
    pub interrupt_at: Option<u32>,
    n_reads: u32,
    has_pending_interrupt: bool,
    n_polls: u32,
    is_ready: bool,
}

impl RebalancingTransport {
    pub fn new(memory: MemoryTransport, rebalance_every: Option<u32>) -> Self {
        RebalancingTransport {
            inner: memory,
            rebalance_every,
            interrupt_at: None,
            n_reads: 0,
            has_pending_interrupt: false,
            n_polls: 0,
            is_ready: false,
        }
    }

    /// Whether something comes between.
    fn count_read_and_interrupt(&mut self) -> bool {
        self.n_reads += 1;
        self.has_pending_interrupt |= Some(self.n_reads) == self.interrupt_at;
        if self.has_pending_interrupt {
            self.interrupt_at = Some(self.n_reads * 2);
        }
        self.has_pending_interrupt
    }

    pub fn restart(&mut self) {
        self.inner.restart();
        self.has_pending_interrupt = false;
        self.is_ready = false;
    }
}

impl Transport for RebalancingTransport {
    fn poll(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Input<'_>) -> PollFlow,
    ) -> Result<PollOutcome, Fault> {
        if std::mem::take(&mut self.has_pending_interrupt) {
            return Ok(PollOutcome::Revoked);
        }
        if self.is_ready
            && let Some(every) = self.rebalance_every
        {
            self.n_polls += 1;
            if self.n_polls.is_multiple_of(every) {
                let lost = self.n_polls.is_multiple_of(every * 2);
                return Ok(if lost { PollOutcome::Lost } else { PollOutcome::Revoked });
            }
        }
        self.inner.poll(wait, take)
    }

    fn rebuild(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<ReadOutcome, Fault> {
        self.inner.rebuild(source, partition, take)
    }

    fn replay(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<ReadOutcome, Fault> {
        if self.count_read_and_interrupt() {
            return Ok(ReadOutcome::Interrupted);
        }
        self.inner.replay(source, partition, take)
    }

    fn reread_records(
        &mut self,
        wanted: &[Coordinates],
        take: &mut dyn FnMut(usize, Option<Input<'_>>),
    ) -> Result<ReadOutcome, Fault> {
        if self.count_read_and_interrupt() {
            return Ok(ReadOutcome::Interrupted);
        }
        self.inner.reread_records(wanted, take)
    }

    fn restore(
        &mut self,
        output: OutputId,
        partition: i32,
        take: &mut dyn FnMut(Output<'_>),
    ) -> Result<ReadOutcome, Fault> {
        self.inner.restore(output, partition, take)
    }

    fn load_mark(&mut self, partition: i32, mark: Option<&ContinuityMark>) -> Result<(), Fault> {
        self.inner.load_mark(partition, mark)
    }

    fn compare_with_mark(
        &mut self,
        partition: i32,
        before: bool,
    ) -> Result<Vec<ContinuityFinding>, Fault> {
        self.inner.compare_with_mark(partition, before)
    }

    fn apply_accepted(&mut self, findings: &[ContinuityFinding]) -> Result<(), Fault> {
        self.inner.apply_accepted(findings)
    }

    fn find_changes(&mut self) -> Result<Vec<ContinuityFinding>, Fault> {
        self.inner.find_changes()
    }

    fn batch_partitions(&self) -> BTreeSet<i32> {
        self.inner.batch_partitions()
    }

    fn mark_positions(&mut self, partition: i32, number: u64) -> MarkPositions {
        self.inner.mark_positions(partition, number)
    }

    fn clock_ahead_ms(
        &mut self,
        output: OutputId,
        partition: i32,
        written_ms: i64,
    ) -> Result<Option<i64>, Fault> {
        self.inner.clock_ahead_ms(output, partition, written_ms)
    }

    fn needs_initial_mark(&self) -> bool {
        self.inner.needs_initial_mark()
    }

    fn take_misplaced(&mut self) -> Result<Vec<MisplacedRecord>, Fault> {
        self.inner.take_misplaced()
    }

    fn is_misplaced(&self, at: Coordinates, key: &[u8]) -> bool {
        self.inner.is_misplaced(at, key)
    }

    fn resume(&mut self) -> Result<(), Fault> {
        self.is_ready = true;
        self.inner.resume()
    }

    fn release(&mut self) -> Result<(), Fault> {
        self.is_ready = false;
        self.inner.release()
    }

    fn publish(&mut self, outbox: &Outbox, now_ms: i64) -> Result<(), Fault> {
        self.inner.publish(outbox, now_ms)
    }

    fn maintain(&mut self, now_ms: i64) -> Result<bool, Fault> {
        self.inner.maintain(now_ms)
    }

    fn commit(&mut self) -> Result<(), Fault> {
        self.inner.commit()
    }

    fn has_uncommitted(&self) -> bool {
        self.inner.has_uncommitted()
    }

    fn rewind(&mut self) -> Result<(), Fault> {
        self.inner.rewind()
    }

    fn pause(&mut self, wait: Duration) -> Result<(), Fault> {
        self.inner.pause(wait)
    }

    fn lag(&mut self) -> Vec<PartitionLag> {
        self.inner.lag()
    }

    fn is_caught_up(&mut self) -> Result<bool, Fault> {
        self.inner.is_caught_up()
    }

    fn late_gate(&self) -> Option<LateGate> {
        self.inner.late_gate()
    }

    /// Stays as it is: more may come.
    fn close(&mut self, _leave: bool) -> Result<(), Fault> {
        Ok(())
    }
}
