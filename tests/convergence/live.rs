//! Sources in memory whose worker stays assigned when it has read all, as a
//! daemon's does, now and then loses its partitions, and is interrupted by that
//! while it reads something again.

use std::collections::BTreeSet;
use std::time::Duration;

use zeef::transport::continuity::{Finding, Mark, Position};
use zeef::transport::memory::MemoryTransport;
use zeef::transport::{
    Coordinates, Fault, Flow, Input, Lag, Misplaced, Outbox, Output, OutputId, Polled, Rebuilt,
    SourceId, Transport,
};

#[derive(Clone, Debug)]
pub struct Live {
    pub memory: MemoryTransport,
    /// Every so many polls the partitions are revoked, or lost.
    pub rebalance_every: Option<u32>,
    /// At which reading the partitions are revoked next: twice as late each time.
    pub interrupt_at: Option<u32>,
    readings: u32,
    interrupted: bool,
    polls: u32,
    ready: bool,
}

impl Live {
    pub fn new(memory: MemoryTransport, rebalance_every: Option<u32>) -> Self {
        Live {
            memory,
            rebalance_every,
            interrupt_at: None,
            readings: 0,
            interrupted: false,
            polls: 0,
            ready: false,
        }
    }

    /// Whether something comes between.
    fn is_interrupted(&mut self) -> bool {
        self.readings += 1;
        self.interrupted |= Some(self.readings) == self.interrupt_at;
        if self.interrupted {
            self.interrupt_at = Some(self.readings * 2);
        }
        self.interrupted
    }

    pub fn restart(&mut self) {
        self.memory.restart();
        self.interrupted = false;
        self.ready = false;
    }
}

impl Transport for Live {
    fn poll(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Input<'_>) -> Flow,
    ) -> Result<Polled, Fault> {
        if std::mem::take(&mut self.interrupted) {
            return Ok(Polled::Revoked);
        }
        if self.ready
            && let Some(every) = self.rebalance_every
        {
            self.polls += 1;
            if self.polls.is_multiple_of(every) {
                let lost = self.polls.is_multiple_of(every * 2);
                return Ok(if lost { Polled::Lost } else { Polled::Revoked });
            }
        }
        self.memory.poll(wait, take)
    }

    fn rebuild(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<Rebuilt, Fault> {
        self.memory.rebuild(source, partition, take)
    }

    fn replay(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<Rebuilt, Fault> {
        if self.is_interrupted() {
            return Ok(Rebuilt::Interrupted);
        }
        self.memory.replay(source, partition, take)
    }

    fn read_again(
        &mut self,
        wanted: &[Coordinates],
        take: &mut dyn FnMut(usize, Option<Input<'_>>),
    ) -> Result<Rebuilt, Fault> {
        if self.is_interrupted() {
            return Ok(Rebuilt::Interrupted);
        }
        self.memory.read_again(wanted, take)
    }

    fn restore(
        &mut self,
        output: OutputId,
        partition: i32,
        take: &mut dyn FnMut(Output<'_>),
    ) -> Result<Rebuilt, Fault> {
        self.memory.restore(output, partition, take)
    }

    fn recall(&mut self, partition: i32, mark: Option<&Mark>) -> Result<(), Fault> {
        self.memory.recall(partition, mark)
    }

    fn verify(&mut self, partition: i32, before: bool) -> Result<Vec<Finding>, Fault> {
        self.memory.verify(partition, before)
    }

    fn accept(&mut self, findings: &[Finding]) -> Result<(), Fault> {
        self.memory.accept(findings)
    }

    fn check(&mut self) -> Result<Vec<Finding>, Fault> {
        self.memory.check()
    }

    fn acting(&self) -> BTreeSet<i32> {
        self.memory.acting()
    }

    fn position(&mut self, partition: i32, number: u64) -> Position {
        self.memory.position(partition, number)
    }

    fn clock_ahead_ms(
        &mut self,
        output: OutputId,
        partition: i32,
        written_ms: i64,
    ) -> Result<Option<i64>, Fault> {
        self.memory.clock_ahead_ms(output, partition, written_ms)
    }

    fn begins_with_mark(&self) -> bool {
        self.memory.begins_with_mark()
    }

    fn misplaced(&mut self) -> Result<Vec<Misplaced>, Fault> {
        self.memory.misplaced()
    }

    fn resume(&mut self) -> Result<(), Fault> {
        self.ready = true;
        self.memory.resume()
    }

    fn release(&mut self) -> Result<(), Fault> {
        self.ready = false;
        self.memory.release()
    }

    fn publish(&mut self, outbox: &Outbox, now_ms: i64) -> Result<(), Fault> {
        self.memory.publish(outbox, now_ms)
    }

    fn tidy(&mut self, now_ms: i64) -> Result<bool, Fault> {
        self.memory.tidy(now_ms)
    }

    fn commit(&mut self) -> Result<(), Fault> {
        self.memory.commit()
    }

    fn uncommitted(&self) -> bool {
        self.memory.uncommitted()
    }

    fn rewind(&mut self) -> Result<(), Fault> {
        self.memory.rewind()
    }

    fn pause(&mut self, wait: Duration) -> Result<(), Fault> {
        self.memory.pause(wait)
    }

    fn lag(&mut self) -> Vec<Lag> {
        self.memory.lag()
    }

    /// Stays as it is: more may come.
    fn close(&mut self, _leave: bool) -> Result<(), Fault> {
        Ok(())
    }
}
