//! The rows of an intake's state in its batches: the versions that were written last, and how far
//! each raw topic was read with them.
//!
//! They are committed with the batch, and read back whenever partitions are assigned. Offsets that
//! were committed with rows that are no longer there stop the intake: without them an older
//! version would pass for a new one.
//!
//! Rows of records that were taken back are forgotten some days later, by two clocks: that of
//! this machine and that of the log, which has the time of each raw message. Whichever is later
//! counts for the day of a removal, and whichever is earlier for what day it is.

use std::collections::BTreeMap;

use crate::intake::{Conversion, RecordVersions};
use crate::message::{Cause, Fault, Outbox, OutputId};
use crate::transport::{AssignedPartition, ReadOutcome, Transport};

use super::setup::IntakeSetup;

/// The number of every mark: the rows themselves say how far each topic was read.
const MARK_NUMBER: u64 = 1;
/// How many rows a batch forgets at most, beside as many as it writes.
const FORGOTTEN_PER_BATCH: usize = 1_000;

/// The time of a batch, in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct VersionTime<'a> {
    /// By this machine's clock.
    pub(super) now_ms: i64,
    /// By partition, of its newest raw message, as the log has it; none where nothing says.
    pub(super) newest_ms: &'a BTreeMap<i32, i64>,
}

impl VersionTime<'_> {
    fn removal_ms(&self) -> i64 {
        self.newest_ms.values().copied().fold(self.now_ms, i64::max)
    }

    /// By partition with a clock of its log.
    fn known_ms(&self) -> impl Iterator<Item = (i32, i64)> {
        self.newest_ms.iter().map(|(partition, newest)| (*partition, self.now_ms.min(*newest)))
    }
}

/// The versions of an intake's worker; none are compared without a state.
pub(super) struct VersionState {
    versions: Option<RecordVersions>,
    topic: String,
    output: OutputId,
}

impl VersionState {
    /// # Errors
    ///
    /// There is no key of the state.
    pub(super) fn new(setup: &IntakeSetup) -> Result<VersionState, Fault> {
        Ok(VersionState {
            versions: setup.empty_versions()?,
            topic: setup.state_topic().unwrap_or_default(),
            output: setup.state_output(),
        })
    }

    /// Rows and their memory in bytes; `None` without a state.
    pub(super) fn size(&self) -> Option<(usize, usize)> {
        self.versions.as_ref().map(|versions| (versions.row_count(), versions.bytes()))
    }

    /// Reads the rows of all partitions that the worker owns.
    ///
    /// # Errors
    ///
    /// [`Fault::Interrupted`] if a rebalance or a stop came in between; [`Fault::Stop`] if rows
    /// are damaged or missing, or need more memory than they may have.
    pub(super) fn restore(
        &mut self,
        transport: &mut impl Transport,
        assigned: &[AssignedPartition],
    ) -> Result<(), Fault> {
        let Some(versions) = &mut self.versions else {
            return Ok(());
        };
        versions.clear();
        for partition in assigned.iter().map(|assigned| assigned.partition) {
            let mut restored = Ok(());
            let read = transport.restore(self.output, partition, &mut |row| {
                if restored.is_ok() {
                    let key = row.key.unwrap_or_default();
                    restored = versions.restore_row(partition, key, row.value);
                }
            })?;
            if read == ReadOutcome::Interrupted {
                return Err(Fault::Interrupted);
            }
            let step = format!("topic `{}` partition {partition}", self.topic);
            restored.map_err(|error| Fault::stop(Cause::at_step(step, error)))?;
            for (topic, committed) in transport.marked_positions(partition)? {
                let restored = versions.restored_position(partition, &topic);
                if restored.is_none_or(|restored| restored < committed) {
                    return Err(lost_rows_fault(&self.topic, partition));
                }
            }
        }
        versions.check_memory().map_err(|full| Fault::stop(full.to_string()))
    }

    /// Begins a batch, of which nothing was taken yet.
    pub(super) fn begin(&mut self, time: VersionTime<'_>) {
        if let Some(versions) = &mut self.versions {
            versions.roll_back();
            versions.set_removal_time(time.removal_ms());
        }
    }

    /// Forgets what is due, at the end of a batch.
    pub(super) fn forget_removed(&mut self, time: VersionTime<'_>) {
        if let Some(versions) = &mut self.versions {
            let mut left = versions.pending_count() + FORGOTTEN_PER_BATCH;
            for (partition, now_ms) in time.known_ms() {
                left -= versions.forget_removed(partition, now_ms, left);
            }
        }
    }

    /// Takes the older versions out of what a message of `partition` means.
    ///
    /// # Errors
    ///
    /// The rows need more memory than they may have.
    pub(super) fn take_out_older(
        &mut self,
        setup: &IntakeSetup,
        partition: i32,
        conversion: &mut Conversion,
    ) -> Result<(), Fault> {
        let Some(versions) = &mut self.versions else {
            return Ok(());
        };
        conversion.records.retain(|record| setup.find_kind(&record.kind).is_some());
        let taken_out = versions.take_out_older(partition, conversion);
        taken_out.map_err(|full| Fault::stop(full.to_string()))
    }

    /// Adds the rows that the batch changed to it, and how far it read.
    pub(super) fn publish(&self, transport: &mut impl Transport, outbox: &mut Outbox) {
        let Some(versions) = &self.versions else {
            return;
        };
        let mut push = |partition: i32, key: &[u8], value: Option<&[u8]>| match value {
            Some(value) => outbox
                .push(self.output, Some(partition), Some(key), |out| out.extend_from_slice(value)),
            None => outbox.push_tombstone(self.output, Some(partition), key),
        };
        versions.for_each_pending(&mut push);
        for partition in transport.batch_partitions() {
            let positions = transport.mark_positions(partition, MARK_NUMBER);
            for (topic, progress) in &positions.sources {
                let (key, value) = versions.position_row(partition, topic, progress.next);
                push(partition, &key, Some(&value));
            }
        }
    }

    /// Keeps what the batch changed.
    pub(super) fn commit(&mut self) {
        if let Some(versions) = &mut self.versions {
            versions.commit();
        }
    }

    /// Forgets what the batch changed.
    pub(super) fn roll_back(&mut self) {
        if let Some(versions) = &mut self.versions {
            versions.roll_back();
        }
    }
}

fn lost_rows_fault(topic: &str, partition: i32) -> Fault {
    Fault::stop(format!(
        "topic `{topic}` partition {partition} lacks rows that were committed with the group's \
         offsets: it was emptied or made anew, and an older version would count as a new one. \
         Restore it; or stop zeef, and set the offsets of the intake's group to the earliest ones"
    ))
}
