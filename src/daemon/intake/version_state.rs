//! The rows of an intake's state in its batches: the versions that were written last, and how far
//! each raw topic was read with them.
//!
//! They are committed with the batch, and read back whenever partitions are assigned. Offsets that
//! were committed with rows that are no longer there stop the intake: without them an older
//! version would pass for a new one.

use crate::intake::{Conversion, RecordVersions};
use crate::message::{Cause, Fault, Outbox, OutputId};
use crate::transport::{AssignedPartition, ReadOutcome, Transport};

use super::setup::IntakeSetup;

/// The number of every mark: the rows themselves say how far each topic was read.
const MARK_NUMBER: u64 = 1;

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
    /// are damaged or missing.
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
        Ok(())
    }

    /// Takes the older versions out of what a message of `partition` means.
    pub(super) fn take_out_older(
        &mut self,
        setup: &IntakeSetup,
        partition: i32,
        conversion: &mut Conversion,
    ) {
        if let Some(versions) = &mut self.versions {
            conversion.records.retain(|record| setup.find_kind(&record.kind).is_some());
            versions.take_out_older(partition, conversion);
        }
    }

    /// Adds the rows that the batch changed to it, and how far it read.
    pub(super) fn publish(&self, transport: &mut impl Transport, outbox: &mut Outbox) {
        let Some(versions) = &self.versions else {
            return;
        };
        let mut push = |partition: i32, key: &[u8], value: &[u8]| {
            outbox
                .push(self.output, Some(partition), Some(key), |out| out.extend_from_slice(value));
        };
        versions.for_each_pending(&mut push);
        for partition in transport.batch_partitions() {
            let positions = transport.mark_positions(partition, MARK_NUMBER);
            for (topic, progress) in &positions.sources {
                let (key, value) = versions.position_row(partition, topic, progress.next);
                push(partition, &key, &value);
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
