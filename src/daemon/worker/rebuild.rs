//! What a worker does with partitions it was assigned: restore, verify, reconcile.

use std::collections::HashSet;
use std::time::Instant;

use super::Worker;
use crate::daemon::health::WorkerPhase;
use crate::engine::lane::{PATRONS_TOPIC, STATE_TOPIC_PREFIX};
use crate::engine::pipeline::{BatchTime, Pipeline};
use crate::message::continuity::{CLOCK_TOLERANCE_MS, ContinuityFinding, FindingKind};
use crate::message::{Fault, SourceId};
use crate::policy::term::utc_month;
use crate::transport::{AssignedPartition, ReadOutcome, Transport};

impl<T: Transport> Worker<T> {
    /// Rebuilds and reconciles what was assigned, then resumes.
    pub(super) fn handle_assignment(
        &mut self,
        partitions: &[AssignedPartition],
    ) -> Result<(), Fault> {
        self.metrics.count_rebalance();
        self.status.set_phase(WorkerPhase::Building);
        let owned: HashSet<i32> = partitions.iter().map(|one| one.partition).collect();
        self.pipeline.retain_partitions(|partition| owned.contains(&partition));
        self.batch.built_partitions.retain(|partition| owned.contains(partition));
        self.losses.retain_partitions(|partition| owned.contains(&partition));
        if self.source_partitions > 0 {
            self.meter.set_partition_share(owned.len(), self.source_partitions);
        }
        let started = Instant::now();
        let built = |one: &&AssignedPartition| {
            one.is_unchanged && self.batch.built_partitions.contains(&one.partition)
        };
        let new = partitions.iter().filter(|one| !built(one));
        let new: Vec<i32> = new.map(|one| one.partition).collect();
        if !self.rebuild_partitions(&new)? {
            return Ok(());
        }
        if !self.reconcile_partitions(&new)? {
            return Ok(());
        }
        if self.pipeline.lane().has_periodic_recipient() {
            let month = utc_month(self.batch_time_ms());
            self.batch.table_month.get_or_insert(month);
        }
        self.transport.resume()?;
        let patrons = self.pipeline.table().len();
        self.metrics.record_rebuild(patrons, started.elapsed());
        tracing::info!(
            lane = %self.pipeline.lane().name,
            partitions = owned.len(),
            patrons,
            seconds = started.elapsed().as_secs_f64(),
            "ready"
        );
        self.status.set_phase(WorkerPhase::Ready);
        Ok(())
    }

    /// Restores partitions and verifies them against their marks. Returns false if
    /// interrupted.
    fn rebuild_partitions(&mut self, partitions: &[i32]) -> Result<bool, Fault> {
        let mut found = Vec::new();
        for &partition in partitions {
            self.batch.built_partitions.remove(&partition);
            self.pipeline.drop_partition(partition);
            let restored = self.restore_partition(partition)?;
            match self.verify_if_restored(restored, partition) {
                Ok(Some(findings)) => found.extend(findings),
                Ok(None) | Err(Fault::Interrupted) => {
                    self.pipeline.drop_partition(partition);
                    return Ok(false);
                }
                Err(fault) => return Err(fault),
            }
        }
        // All partitions at once: each finding has its own code.
        self.stop_on_unaccepted_findings(&found)?;
        self.transport.apply_accepted(&found)?;
        let now_ms = (self.clock)();
        if let Some(deliveries) = self.pipeline.deliveries_mut() {
            deliveries.apply_acceptance(&found, now_ms);
        }
        for &partition in partitions {
            // Retried like any batch.
            while let Err(fault) = self.commit_first_mark(partition) {
                match fault {
                    Fault::Interrupted => return Err(fault),
                    fault => self.handle_abort(fault)?,
                }
            }
        }
        self.batch.aborts.reset();
        Ok(true)
    }

    fn verify_if_restored(
        &mut self,
        is_restored: bool,
        partition: i32,
    ) -> Result<Option<Vec<ContinuityFinding>>, Fault> {
        is_restored.then(|| self.verify_continuity(partition)).transpose()
    }

    fn restore_partition(&mut self, partition: i32) -> Result<bool, Fault> {
        if !self.restore_state(partition)? {
            return Ok(false);
        }
        let Worker { pipeline, transport, losses, .. } = self;
        if let Some(deliveries) = pipeline.deliveries() {
            let mark = deliveries.last_mark(partition);
            transport.load_mark(partition, mark)?;
            losses.restore_partition(partition, mark.map(|mark| &mark.retractions));
        }
        let lane = pipeline.shared_lane();
        // Erasures decide which of the other records count.
        if !restore_erasures(pipeline, transport, partition)? {
            return Ok(false);
        }
        for (source, plan) in (0..).map(SourceId).zip(lane.transport_plan().sources) {
            let wanted = plan.is_rebuilt && pipeline.keeps_in_memory(source);
            if wanted
                && transport
                    .rebuild(source, partition, &mut |input| pipeline.restore_gate_record(&input))?
                    == ReadOutcome::Interrupted
            {
                return Ok(false);
            }
            if let Some(stop) = pipeline.take_stop_message() {
                return Err(Fault::stop(stop));
            }
        }
        self.stop_on_foreign_unreadable_gates()?;
        self.stop_on_misplaced_gates()?;
        Ok(true)
    }

    /// Reads the delivery state. Returns false if interrupted.
    fn restore_state(&mut self, partition: i32) -> Result<bool, Fault> {
        let Worker { pipeline, transport, .. } = self;
        let lane = pipeline.shared_lane();
        let Some(deliveries) = pipeline.deliveries_mut() else {
            return Ok(true);
        };
        let mut damaged = None;
        let restored = transport.restore(lane.state_output, partition, &mut |row| {
            let taken = deliveries.restore_state_message(&lane, partition, row.key, row.value);
            if damaged.is_none() {
                damaged = taken.err();
            }
        })?;
        match damaged {
            Some(Fault::Stop(why)) => Err(Fault::stop(format!(
                "{STATE_TOPIC_PREFIX}{} partition {partition}: {why}",
                lane.name
            ))),
            Some(fault) => Err(fault),
            None => Ok(restored == ReadOutcome::Done),
        }
    }

    /// Compares a partition with its mark, before anything of it is decided.
    fn verify_continuity(&mut self, partition: i32) -> Result<Vec<ContinuityFinding>, Fault> {
        let lane = self.pipeline.shared_lane();
        let Some(deliveries) = self.pipeline.deliveries_mut() else {
            return Ok(Vec::new());
        };
        let before = deliveries.is_old_format(partition);
        let now_ms = (self.clock)();
        let mut findings = deliveries.verify_mark(&lane, partition, now_ms)?;
        findings.extend(self.transport.compare_with_mark(partition, before)?);
        Ok(findings)
    }

    pub(super) fn stop_on_unaccepted_findings(
        &self,
        findings: &[ContinuityFinding],
    ) -> Result<(), Fault> {
        let lane = self.pipeline.lane();
        let Some(deliveries) = self.pipeline.deliveries() else {
            return Ok(());
        };
        let mut open = Vec::new();
        for finding in findings {
            let code = deliveries.acceptance_code(lane, finding);
            if deliveries.is_accepted(lane, finding) {
                tracing::warn!(lane = %lane.name, %finding, %code, "accepted by an operator");
            } else {
                tracing::error!(lane = %lane.name, %finding, %code, "not as the last run left it");
                open.push(format!("{finding}; to accept it: zeef accept {code} --reason ..."));
            }
        }
        match open.is_empty() {
            true => Ok(()),
            false => Err(Fault::stop(open.join("\n"))),
        }
    }

    /// Commits a mark before anything is decided: it fences the former owner of the
    /// partition, and shows the broker's time.
    fn commit_first_mark(&mut self, partition: i32) -> Result<(), Fault> {
        if !self.transport.needs_initial_mark() || self.pipeline.deliveries().is_none() {
            return Ok(());
        }
        // A clock that was not compared yet must not set the minimum time of later batches,
        // so the mark has none.
        let now_ms = (self.clock)();
        self.pipeline.begin_batch(BatchTime::from_ms(0));
        self.write_mark(partition);
        self.publish_outbox()?;
        self.transport.commit()?;
        self.pipeline.commit();
        let state = self.pipeline.lane().state_output;
        let Some(ahead_ms) = self.transport.clock_ahead_ms(state, partition, now_ms)? else {
            return Ok(());
        };
        self.metrics.set_clock_ahead(ahead_ms);
        if ahead_ms.abs() <= CLOCK_TOLERANCE_MS {
            return Ok(());
        }
        // In whole hours: the acceptance code must be the same at the next start.
        let (hours, which) =
            (ahead_ms.abs() / 3_600_000, if ahead_ms > 0 { "ahead of" } else { "behind" });
        self.stop_on_unaccepted_findings(&[ContinuityFinding {
            subject: "clock".to_owned(),
            partition: 0,
            kind: FindingKind::ClockSkew,
            detail: format!(
                "this machine's clock is {hours} to {} hours {which} the broker's",
                hours + 1
            ),
        }])
    }

    /// Brings what recipients have in line with what is known now. Returns false if
    /// interrupted.
    fn reconcile_partitions(&mut self, partitions: &[i32]) -> Result<bool, Fault> {
        self.batch.is_policy_change = false;
        loop {
            match self.try_reconcile(partitions) {
                Ok(()) => break,
                Err(Fault::Interrupted) => {
                    self.drop_batch()?;
                    for &partition in partitions {
                        self.pipeline.drop_partition(partition);
                    }
                    self.end_reconcile();
                    return Ok(false);
                }
                // Retried like any batch.
                Err(fault) => self.handle_abort(fault)?,
            }
        }
        self.batch.built_partitions.extend(partitions);
        self.end_reconcile();
        Ok(true)
    }

    fn end_reconcile(&mut self) {
        self.batch.is_policy_change = false;
        self.losses.end_grant();
    }

    fn try_reconcile(&mut self, partitions: &[i32]) -> Result<(), Fault> {
        if self.pipeline.deliveries().is_none() || partitions.is_empty() {
            return Ok(());
        }
        let outdated = partitions.iter().copied();
        let outdated: Vec<i32> =
            outdated.filter(|one| self.pipeline.needs_reevaluation(*one)).collect();
        self.batch.is_policy_change |= !outdated.is_empty();
        self.batch.has_waiting_policy_retractions |= !outdated.is_empty();
        // Count for all partitions before changing the first.
        self.find_changed_rows(partitions);
        self.update_output_counts();
        self.check_foreseen_losses()?;
        let former = !self.pipeline.lane().former_recipients.is_empty();
        if former || !outdated.is_empty() {
            self.pipeline.rollback();
            // Before anything is published: another recipient may own the topic now.
            for &partition in partitions {
                self.retract_former_outputs(partition)?;
            }
            for partition in outdated {
                self.reevaluate_partition(partition)?;
            }
            self.find_changed_rows(partitions);
        }
        self.drain_rechecks_and_refills(partitions, false)
    }

    fn retract_former_outputs(&mut self, partition: i32) -> Result<(), Fault> {
        let now_ms = self.batch_time_ms();
        self.pipeline.begin_batch(BatchTime::from_ms(now_ms));
        let mut records = 0;
        loop {
            let left = self.pipeline.queue_former_retractions(partition);
            if left == 0 {
                break;
            }
            records = records.max(left);
            while !self.try_drain_rechecks()? {}
        }
        if records > 0 {
            let lane = &self.pipeline.lane().name;
            tracing::info!(lane = %lane, partition, records, "former recipients: outputs taken back");
        }
        Ok(())
    }

    /// Queues the rows to be decided again.
    fn find_changed_rows(&mut self, partitions: &[i32]) {
        let now_ms = self.batch_time_ms();
        self.pipeline.begin_batch(BatchTime::from_ms(now_ms));
        for &partition in partitions {
            self.pipeline.reconcile(partition);
        }
    }

    /// Decides under the new policy every record that was handed out before: most left no
    /// row under the former one.
    fn reevaluate_partition(&mut self, partition: i32) -> Result<(), Fault> {
        let started = Instant::now();
        let lane = self.pipeline.shared_lane();
        self.pipeline.begin_batch(BatchTime::from_ms((self.clock)()));
        while self.pipeline.queue_old_format_retractions(partition) > 0 {
            while !self.try_drain_rechecks()? {}
        }
        let mut records = 0;
        for source in self.pipeline.decided_sources() {
            let now_ms = self.batch_time_ms();
            self.pipeline.begin_batch(BatchTime::from_ms(now_ms));
            let (pipeline, transport) = (&mut self.pipeline, &mut self.transport);
            // Patrons were restored already.
            let read = match lane.is_patron_source(source.0) {
                true => ReadOutcome::Done,
                false => transport.replay(source, partition, &mut |input| {
                    pipeline.collect_for_reevaluation(&input)
                })?,
            };
            if read == ReadOutcome::Interrupted {
                return Err(Fault::Interrupted);
            }
            records += pipeline.start_reevaluation(source, partition);
            while !self.try_drain_rechecks()? {}
        }
        loop {
            self.pipeline.finish_reevaluation(partition);
            if self.try_commit_reevaluation()? {
                break;
            }
        }
        tracing::info!(
            lane = %lane.name,
            partition,
            records,
            seconds = started.elapsed().as_secs_f64(),
            "policy changed: partition re-evaluated"
        );
        Ok(())
    }

    /// Returns false if the commit was aborted.
    fn try_commit_reevaluation(&mut self) -> Result<bool, Fault> {
        let committed = self.commit_batch();
        self.handle_step_abort(committed)
    }

    /// Returns false if a batch was aborted and some rechecks are left. What was committed
    /// stays: starting over could take long.
    fn try_drain_rechecks(&mut self) -> Result<bool, Fault> {
        let drained = self.drain_rechecks(false).map(|()| true);
        self.handle_step_abort(drained)
    }

    /// Returns whether a step is done, or false if its batch was aborted.
    ///
    /// # Errors
    ///
    /// [`Fault::Interrupted`] also if a stop is requested, which may have dropped the batch;
    /// otherwise as [`handle_abort`](Self::handle_abort).
    fn handle_step_abort(&mut self, step: Result<bool, Fault>) -> Result<bool, Fault> {
        let done = match step {
            Ok(done) => done,
            Err(Fault::Interrupted) => return Err(Fault::Interrupted),
            Err(fault) => {
                self.handle_abort(fault)?;
                false
            }
        };
        match self.stop.is_requested() {
            true => Err(Fault::Interrupted),
            false => Ok(done),
        }
    }
}

/// Reads who was erased in a partition, even if the patron source lost that. Returns false
/// if interrupted.
fn restore_erasures<T: Transport>(
    pipeline: &mut Pipeline,
    transport: &mut T,
    partition: i32,
) -> Result<bool, Fault> {
    let lane = pipeline.shared_lane();
    let Some((deliveries, output)) = pipeline.deliveries_mut().zip(lane.patrons_output) else {
        return Ok(true);
    };
    let mut damaged = None;
    let restored = transport.restore(output, partition, &mut |row| {
        let taken = deliveries.restore_patrons_message(partition, row.key, row.value);
        damaged = damaged.or(taken.err());
    })?;
    match damaged {
        Some(error) => Err(Fault::stop(format!("{PATRONS_TOPIC} partition {partition}: {error}"))),
        None => Ok(restored == ReadOutcome::Done),
    }
}
