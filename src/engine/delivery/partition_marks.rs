//! The mark of each partition, as far as the engine fills it in: policy, keys, rows, and
//! the outputs that recipients have.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{DeliveryTracker, Retraction};
use crate::engine::batch::{Batch, PatronView};
use crate::engine::lane::Lane;
use crate::engine::lane::gates::Refusal;
use crate::engine::memory::deliveries::{DeliveryEntry, DeliveryOutcome, RowKey, row_json};
use crate::engine::memory::transactional::Transactional;
use crate::message::commands::CommandLog;
use crate::message::continuity::{
    self, CLOCK_TOLERANCE_MS, ContinuityFinding, ContinuityMark, FindingKind, KeyFingerprint,
    MARK_ROW_KEY, MarkError, MarkPositions, format_code,
};
use crate::message::{Cause, Fault, Input};
use crate::policy::former_recipient;
use crate::policy::reason::Reason;

/// The name of the state key in marks.
pub const STATE_FINGERPRINT_NAME: &str = "state";

/// What a lane's marks depend on beside its rows.
#[derive(Clone, Debug, Default)]
pub struct ContinuityContext {
    /// The keys in use: of each recipient, and of the state.
    pub key_fingerprints: BTreeMap<String, KeyFingerprint>,
    /// What operators asked for: rotations, refills, acceptances.
    pub commands: Arc<CommandLog>,
    /// The generation of the process's policy; 0 until a mark was read. All workers of a lane share
    /// it.
    pub policy_generation: Arc<AtomicU64>,
    /// How often recipients had been moved between lanes when the process compared its lanes with
    /// the marks; `None` if nobody can move them meanwhile.
    pub lane_moves: Option<u64>,
}

/// What is known of one partition's mark.
#[derive(Clone, Debug, Default)]
struct PartitionMark {
    /// The last mark; `None` if there never was one. Shared with `undo_log`.
    last_mark: Option<Arc<ContinuityMark>>,
    /// There are rows.
    has_rows: bool,
    /// All records were decided under the lane's policy, for all of its recipients.
    is_current_policy: bool,
    /// Records are to be re-evaluated for another reason than the policy.
    must_reevaluate: bool,
    /// Recipients that are sent again all that they have.
    refill_recipients: Vec<u16>,
    /// Commands are carried out up to this offset, beyond what the mark says.
    commands_done_offset: i64,
    /// The month of the last published run, and the day of the last run that retracted; empty if
    /// there was none.
    published_month: Box<str>,
    retraction_day: Box<str>,
}

/// The marks of a worker's partitions.
#[derive(Debug, Default)]
pub(crate) struct PartitionMarks {
    by_partition: HashMap<i32, PartitionMark, foldhash::fast::RandomState>,
    /// Rows of the previous format, whose output keys differ from today's.
    old_format_rows: HashSet<(i32, RowKey), foldhash::fast::RandomState>,
    /// Rows of the previous format that are about no record, to be removed with the others.
    old_format_marks: HashSet<(i32, RowKey), foldhash::fast::RandomState>,
    /// Those of `old_format_marks` that the batch removes.
    removed_old_marks: Vec<(i32, RowKey)>,
    /// What the batch changed, oldest first.
    undo_log: Vec<(i32, Option<PartitionMark>)>,
}

impl PartitionMarks {
    fn change_partition(&mut self, partition: i32) -> &mut PartitionMark {
        let before = self.by_partition.get(&partition).cloned();
        self.undo_log.push((partition, before));
        self.by_partition.entry(partition).or_default()
    }

    /// Notes that the partition has rows.
    pub(crate) fn note_row(&mut self, partition: i32) {
        self.by_partition.entry(partition).or_default().has_rows = true;
    }

    pub(crate) fn restore_old_format_row(&mut self, partition: i32, key: RowKey) {
        self.old_format_rows.insert((partition, key));
        self.by_partition.entry(partition).or_default().must_reevaluate = true;
    }

    pub(crate) fn restore_old_format_mark(&mut self, partition: i32, key: RowKey) {
        self.old_format_marks.insert((partition, key));
    }

    /// Forgets a row of the previous format that a later one replaces.
    pub(crate) fn forget_old_format_row(&mut self, partition: i32, key: RowKey) {
        if !self.old_format_rows.is_empty() {
            self.old_format_rows.remove(&(partition, key));
        }
    }

    /// Returns the month of the last published run and the day of the last run that retracted;
    /// empty if there was none.
    pub(crate) fn last_period_runs(&self, partition: i32) -> (&str, &str) {
        let partition_mark = self.by_partition.get(&partition);
        partition_mark.map_or(("", ""), |partition_mark| {
            (&*partition_mark.published_month, &*partition_mark.retraction_day)
        })
    }

    /// Recipients that are sent again all that they have of a partition.
    pub(crate) fn refill_recipients(&self, partition: i32) -> &[u16] {
        let partition_mark = self.by_partition.get(&partition);
        partition_mark.map_or(&[], |partition_mark| &partition_mark.refill_recipients)
    }

    pub(crate) fn set_published_month(&mut self, partition: i32, month: &str) {
        self.change_partition(partition).published_month = month.into();
    }

    pub(crate) fn set_retraction_day(&mut self, partition: i32, day: &str) {
        self.change_partition(partition).retraction_day = day.into();
    }
}

impl Transactional for PartitionMarks {
    fn commit(&mut self) {
        self.undo_log.clear();
        for partition_and_key in self.removed_old_marks.drain(..) {
            self.old_format_marks.remove(&partition_and_key);
        }
    }

    fn rollback(&mut self) {
        self.removed_old_marks.clear();
        while let Some((partition, before)) = self.undo_log.pop() {
            match before {
                Some(mark) => self.by_partition.insert(partition, mark),
                None => self.by_partition.remove(&partition),
            };
        }
    }

    fn retain_partitions(&mut self, is_kept: &dyn Fn(i32) -> bool) {
        self.by_partition.retain(|&partition, _| is_kept(partition));
        self.old_format_rows.retain(|(partition, _)| is_kept(*partition));
        self.old_format_marks.retain(|(partition, _)| is_kept(*partition));
    }
}

impl DeliveryTracker {
    /// Restores a mark from the state topic.
    pub(crate) fn restore_mark(
        &mut self,
        lane: &Lane,
        partition: i32,
        value: Option<&[u8]>,
    ) -> Result<(), Fault> {
        let Some(value) = value else {
            self.marks.by_partition.entry(partition).or_default().last_mark = None;
            return Ok(());
        };
        let mark = match ContinuityMark::decode(&self.fingerprinter, value) {
            Ok(mark) => mark,
            Err(error) => return Err(self.unreadable_mark_fault(value, error)),
        };
        let partition_mark = self.marks.by_partition.entry(partition).or_default();
        partition_mark.is_current_policy =
            mark.policy == lane.policy_version && mark.recipients == recipient_names(lane);
        partition_mark.published_month = mark.published.as_str().into();
        partition_mark.retraction_day = mark.taken_back.as_str().into();
        partition_mark.last_mark = Some(Arc::new(mark));
        Ok(())
    }

    /// Names the missing key if that is why a mark cannot be read.
    fn unreadable_mark_fault(&self, value: &[u8], error: MarkError) -> Fault {
        let parsed_mark = serde_json::from_slice::<ContinuityMark>(value).ok();
        let written = parsed_mark.and_then(|mark| mark.keys.get(STATE_FINGERPRINT_NAME).cloned());
        let in_use = self.continuity.key_fingerprints.get(STATE_FINGERPRINT_NAME);
        match (written, in_use) {
            (Some(written), Some(in_use)) if written != *in_use => Fault::stop(format!(
                "it was written under the state key `{}` (fingerprint {}), and the key in use is \
                 `{}` (fingerprint {}): put the first one back",
                written.id, written.print, in_use.id, in_use.print
            )),
            _ => Fault::stop(Cause::from_error(error)),
        }
    }

    /// The last mark of a partition.
    #[must_use]
    pub fn last_mark(&self, partition: i32) -> Option<&ContinuityMark> {
        self.marks.by_partition.get(&partition)?.last_mark.as_deref()
    }

    /// The latest time of all marks: no batch is decided at an earlier one.
    #[must_use]
    pub fn latest_mark_ms(&self) -> i64 {
        let marks = self.marks.by_partition.values();
        let times =
            marks.filter_map(|partition_mark| Some(partition_mark.last_mark.as_ref()?.time_ms));
        times.max().unwrap_or(i64::MIN)
    }

    /// Whether a partition has rows of the current format but no mark.
    #[must_use]
    pub fn is_mark_missing(&self, partition: i32) -> bool {
        let partition_mark = self.marks.by_partition.get(&partition);
        // Rows that were removed since, with their mark, do not count.
        let rows = || self.state.row_sum(partition).count > 0;
        partition_mark.is_some_and(|partition_mark| {
            partition_mark.last_mark.is_none() && partition_mark.has_rows
        }) && rows()
    }

    /// Whether a partition was written by a version without marks.
    #[must_use]
    pub fn is_old_format(&self, partition: i32) -> bool {
        let partition_mark = self.marks.by_partition.get(&partition);
        partition_mark.is_some_and(|partition_mark| {
            partition_mark.last_mark.is_none()
                && partition_mark.must_reevaluate
                && !partition_mark.has_rows
        })
    }

    /// Compares a partition's mark with its rows, and with the keys and the policy in use.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if a recipient's key changed, [`Fault::Fenced`] if another process decides
    /// under a newer policy.
    pub fn verify_mark(
        &mut self,
        lane: &Lane,
        partition: i32,
        now_ms: i64,
    ) -> Result<Vec<ContinuityFinding>, Fault> {
        let state = &lane.outputs[usize::from(lane.state_output.0)].topic;
        let finding =
            |kind, detail| ContinuityFinding { subject: state.clone(), partition, kind, detail };
        if self.is_mark_missing(partition) {
            let detail = "it has rows and no mark".to_owned();
            return Ok(vec![finding(FindingKind::StateMissing, detail)]);
        }
        let Some(mark) = self.last_mark(partition).cloned() else {
            return Ok(Vec::new());
        };
        self.check_holders(partition)?;
        self.check_keys(&mark, partition)?;
        check_ledger_key(lane, &mark)?;
        self.check_generation(lane, &mark)?;
        self.check_lane_moves(&mark)?;
        let mut findings = Vec::new();
        if mark.time_ms > now_ms.saturating_add(CLOCK_TOLERANCE_MS) {
            let time = jiff::Timestamp::from_millisecond(mark.time_ms).unwrap_or_default();
            let detail = format!("records were decided at {time}, which is yet to come");
            findings.push(finding(FindingKind::ClockSkew, detail));
        }
        let actual_rows = self.state.row_sum(partition);
        if actual_rows == mark.rows {
            return Ok(findings);
        }
        let detail = format!(
            "its mark (transaction {}) counts {} rows, {} are there{}",
            mark.number,
            mark.rows.count,
            actual_rows.count,
            if actual_rows.count == mark.rows.count { ", others" } else { "" }
        );
        findings.push(finding(FindingKind::RowsMismatch, detail));
        Ok(findings)
    }

    /// Continues in spite of findings that an operator accepted. What was decided at a future time
    /// is re-evaluated, so that what lapsed by then comes back.
    pub fn apply_acceptance(&mut self, findings: &[ContinuityFinding], now_ms: i64) {
        for finding in findings {
            let partition_mark = self.marks.by_partition.get_mut(&finding.partition);
            let Some(partition_mark) =
                partition_mark.filter(|_| finding.kind == FindingKind::ClockSkew)
            else {
                continue;
            };
            partition_mark.must_reevaluate = true;
            if let Some(mark) = &mut partition_mark.last_mark {
                let mark = Arc::make_mut(mark);
                mark.time_ms = mark.time_ms.min(now_ms);
            }
        }
    }

    /// Fails if somebody has outputs that the lane does not know of: corrections and erasures would
    /// never reach them.
    fn check_holders(&self, partition: i32) -> Result<(), Fault> {
        let mut unknown = self.state.foreign_output_counts(partition).filter(|(_, n)| *n > 0);
        match unknown.next() {
            None => Ok(()),
            Some(((recipient, topic), count)) => Err(Fault::stop(format!(
                "`{recipient}` has {count} outputs on `{topic}`, and the lane no longer serves it \
                 there: say in zeef.toml what becomes of them: {}",
                former_recipient::config_snippet(
                    former_recipient::recipient_of_state_name(recipient),
                    [topic.as_str()].into_iter()
                )
                .replace('\n', "; ")
            ))),
        }
    }

    /// Fails if a recipient's key changed and no rotation was asked for.
    fn check_keys(&mut self, mark: &ContinuityMark, partition: i32) -> Result<(), Fault> {
        for (name, in_use) in &self.continuity.key_fingerprints {
            let Some(written) = mark.keys.get(name).filter(|written| *written != in_use) else {
                continue;
            };
            if !self.continuity.commands.has_rotation(name, &in_use.print) {
                return Err(Fault::stop(format!(
                    "recipient `{name}`: its outputs are under the key `{}` (fingerprint {}), and \
                     the key in use is `{}` (fingerprint {}): put the first one back, or ask for \
                     the change with `zeef keys rotate {name}`",
                    written.id, written.print, in_use.id, in_use.print
                )));
            }
            if let Some(partition_mark) = self.marks.by_partition.get_mut(&partition) {
                partition_mark.must_reevaluate = true;
            }
        }
        Ok(())
    }

    /// Fails if another process decides under a newer policy.
    fn check_generation(&self, lane: &Lane, mark: &ContinuityMark) -> Result<(), Fault> {
        let policy_generation = &self.continuity.policy_generation;
        // A mark without a policy: the partition is being re-evaluated.
        if mark.policy == lane.policy_version || mark.policy.is_empty() {
            policy_generation.fetch_max(mark.generation, Ordering::SeqCst);
            return Ok(());
        }
        let known = policy_generation.load(Ordering::SeqCst);
        if known > 0 && mark.generation >= known {
            return Err(Fault::fenced(format!(
                "another process decides under policy {} (generation {}), this one under {} \
                 (generation {known})",
                mark.policy, mark.generation, lane.policy_version
            )));
        }
        policy_generation.fetch_max(mark.generation + 1, Ordering::SeqCst);
        Ok(())
    }

    /// Fails if recipients were moved between lanes after the process compared its lanes with the
    /// marks.
    fn check_lane_moves(&self, mark: &ContinuityMark) -> Result<(), Fault> {
        match self.continuity.lane_moves {
            Some(known) if mark.lane_moves > known => Err(Fault::stop(
                "recipients were moved to other lanes after this process started: start it again",
            )),
            _ => Ok(()),
        }
    }

    /// All records of a partition were decided under the lane's policy.
    pub(in crate::engine) fn finish_reevaluation(&mut self, partition: i32) {
        let partition_mark = self.marks.change_partition(partition);
        partition_mark.is_current_policy = true;
        partition_mark.must_reevaluate = false;
    }

    /// Whether the records of a partition have to be re-evaluated: they were decided under another
    /// policy, or there is another reason.
    pub(in crate::engine) fn needs_reevaluation(&self, partition: i32) -> bool {
        let partition_mark = self.marks.by_partition.get(&partition);
        partition_mark.is_some_and(|partition_mark| {
            partition_mark.must_reevaluate
                || (partition_mark.last_mark.is_some() && !partition_mark.is_current_policy)
        })
    }

    /// Queues the remaining rows of the previous format: their outputs are retracted under their
    /// old keys. Returns how many.
    pub(in crate::engine) fn queue_old_format_retractions(&mut self, partition: i32) -> usize {
        let state = &self.state;
        let counts =
            |entry: &DeliveryEntry| entry.is_live() && entry.outcome != DeliveryOutcome::Forgotten;
        let rows_left = self.marks.old_format_rows.iter().filter(|(one, key)| {
            let row = state.find(*one, *key).filter(|_| *one == partition);
            row.is_some_and(|row| row.entries.iter().any(counts))
        });
        let refusal = Refusal::permanent(Reason::Rekeyed);
        let before = self.retraction_queue.len();
        self.retraction_queue.extend(rows_left.map(|&(partition, key)| Retraction {
            partition,
            key,
            refusal,
        }));
        self.retraction_queue.len() - before
    }

    /// The number of the next mark of a partition.
    #[must_use]
    pub fn next_mark_number(&self, partition: i32) -> u64 {
        self.last_mark(partition).map_or(1, |mark| mark.number + 1)
    }

    /// The partitions that the batch changed.
    pub(in crate::engine) fn changed_partitions(&self) -> impl Iterator<Item = i32> {
        let marks = self.marks.undo_log.iter().map(|(partition, _)| *partition);
        self.state.changed_partitions().chain(marks)
    }

    /// Writes the mark of a partition into the batch, with what the transport says of it.
    pub(in crate::engine) fn write_mark(
        &mut self,
        batch: &mut Batch<'_>,
        partition: i32,
        positions: MarkPositions,
    ) {
        let lane = batch.lane;
        let has_current_mark =
            self.last_mark(partition).is_some() && !self.has_outdated_mark(partition);
        let mut mark = self.next_mark(batch.view, partition, positions);
        let head = self.last_mark(partition).and_then(|last| last.ledger.as_ref());
        mark.ledger = match &lane.ledger {
            None => head.cloned(),
            Some(ledger) => batch.ledger_lines.write_blocks(
                (lane, ledger),
                (partition, mark.number, mark.time_ms),
                head,
                batch.outbox,
            ),
        };
        if !has_current_mark {
            // From here on the rows say what compaction takes from the patron source.
            self.erasures.write_missing_rows(lane, partition, batch.outbox);
        }
        if let Some(patrons) = &mut mark.patrons {
            // Each row has an offset of its own, those of this batch too.
            patrons.next = patrons.next.max(self.erasures.count_rows(partition));
        }
        let output = lane.state_output;
        batch.outbox.push(output, Some(partition), Some(MARK_ROW_KEY), |out| {
            out.extend_from_slice(&mark.encode(&self.fingerprinter));
        });
        let is_current_policy = mark.policy == lane.policy_version;
        if is_current_policy {
            let all = self.marks.old_format_marks.iter().copied();
            let of_partition: Vec<_> = all.filter(|(one, _)| *one == partition).collect();
            for (_, key) in &of_partition {
                let name = row_json::encode_bits(key.0);
                batch.outbox.push_tombstone(output, Some(partition), &name);
            }
            self.marks.removed_old_marks.extend(of_partition);
        }
        let partition_mark = self.marks.change_partition(partition);
        partition_mark.is_current_policy = is_current_policy;
        partition_mark.last_mark = Some(Arc::new(mark));
    }

    /// Whether the last mark of a partition is of another policy.
    fn has_outdated_mark(&self, partition: i32) -> bool {
        let partition_mark = self.marks.by_partition.get(&partition);
        partition_mark.is_some_and(|one| one.last_mark.is_some() && !one.is_current_policy)
    }

    fn next_mark(
        &self,
        view: PatronView<'_>,
        partition: i32,
        positions: MarkPositions,
    ) -> ContinuityMark {
        let PatronView { lane, now_ms, .. } = view;
        let before = self.last_mark(partition);
        let generation = self.continuity.policy_generation.fetch_max(1, Ordering::SeqCst).max(1);
        let born_ms = before.map(|before| before.born_ms).filter(|born_ms| *born_ms > 0);
        let (published, taken_back) = self.marks.last_period_runs(partition);
        let mut mark = ContinuityMark {
            format: continuity::FORMAT,
            number: self.next_mark_number(partition),
            time_ms: now_ms,
            born_ms: born_ms.unwrap_or(now_ms),
            rows: self.state.row_sum(partition),
            has: self.count_outputs_by_topic(lane, partition),
            kinds: self.count_outputs_by_kind(lane, partition),
            cluster: positions.cluster_id,
            sources: positions.sources,
            outputs: positions.outputs,
            patrons: positions.patrons.or_else(|| before?.patrons.clone()),
            retractions: positions.retractions,
            commands: self.commands_done_offset(partition, before),
            lane_moves: before.map_or(0, |before| before.lane_moves),
            published: published.to_owned(),
            taken_back: taken_back.to_owned(),
            ..ContinuityMark::default()
        };
        match before.filter(|_| self.has_outdated_mark(partition)) {
            // What is not re-evaluated yet was decided as before.
            Some(before) => {
                mark.policy.clone_from(&before.policy);
                mark.generation = before.generation;
                mark.recipients.clone_from(&before.recipients);
                mark.keys.clone_from(&before.keys);
            }
            None => {
                if !self.needs_reevaluation(partition) {
                    mark.policy = lane.policy_version.clone();
                }
                mark.generation = generation;
                mark.recipients = recipient_names(lane);
                mark.keys = self.continuity.key_fingerprints.clone();
            }
        }
        mark
    }

    /// Commands are carried out up to this offset.
    fn commands_done_offset(&self, partition: i32, before: Option<&ContinuityMark>) -> i64 {
        let partition_mark = self.marks.by_partition.get(&partition);
        let commands = &self.continuity.commands;
        let done = before.map_or(0, |before| commands.next_offset(before.commands));
        let done = partition_mark
            .map_or(done, |partition_mark| partition_mark.commands_done_offset.max(done));
        match before.is_some() && commands.refill_recipients(done).next().is_some() {
            true => done,
            false => done.max(commands.end_offset),
        }
    }

    /// Counts the outputs that recipients have of a partition, by recipient and topic.
    fn count_outputs_by_topic(
        &self,
        lane: &Lane,
        partition: i32,
    ) -> BTreeMap<String, BTreeMap<String, u64>> {
        let mut counts = BTreeMap::<String, BTreeMap<String, u64>>::new();
        let mut add = |recipient: &str, topic: &str, count: u64| {
            if count > 0 {
                let of_recipient = counts.entry(recipient.to_owned()).or_default();
                *of_recipient.entry(topic.to_owned()).or_default() += count;
            }
        };
        for ((recipient, output), count) in self.state.output_counts(partition) {
            let output = lane.outputs.get(usize::from(output));
            if let Some((recipient, output)) = lane.recipient_name(recipient).zip(output) {
                add(recipient, &output.topic, count);
            }
        }
        for ((recipient, topic), count) in self.state.foreign_output_counts(partition) {
            add(recipient, topic, count);
        }
        counts
    }

    /// Counts the outputs that recipients have of a partition, by recipient and kind.
    fn count_outputs_by_kind(
        &self,
        lane: &Lane,
        partition: i32,
    ) -> BTreeMap<String, BTreeMap<String, u64>> {
        let mut counts = BTreeMap::<String, BTreeMap<String, u64>>::new();
        for ((recipient, _), count) in self.state.output_counts(partition) {
            let program = lane.recipients.get(usize::from(recipient));
            let source = program.and_then(|program| lane.sources.get(program.source_index));
            if let (Some(name), Some(source), true) =
                (lane.recipient_name(recipient), source, count > 0)
            {
                let of_recipient = counts.entry(name.to_owned()).or_default();
                *of_recipient.entry(source.kind.name.clone()).or_default() += count;
            }
        }
        counts
    }

    /// Returns the code that accepts a finding.
    #[must_use]
    pub fn acceptance_code(&self, lane: &Lane, finding: &ContinuityFinding) -> String {
        // Each start writes a mark before it can check the clock.
        let number = match finding.kind {
            FindingKind::ClockSkew | FindingKind::UnreadableGateRecord => 0,
            _ => self.last_mark(finding.partition).map_or(0, |mark| mark.number),
        };
        finding.acceptance_code(&self.fingerprinter, &lane.name, number)
    }

    /// The finding about a consent or an objection that cannot be read and names no patron.
    #[must_use]
    pub fn unreadable_record_finding(topic: &str, input: &Input<'_>) -> ContinuityFinding {
        let ms = input.append_time.map_or(0, |appended| appended.ms);
        ContinuityFinding {
            subject: topic.to_owned(),
            partition: input.partition,
            kind: FindingKind::UnreadableGateRecord,
            detail: format!("offset {}, of {ms} ms", input.offset),
        }
    }

    /// Whether an operator accepted a finding.
    #[must_use]
    pub fn is_accepted(&self, lane: &Lane, finding: &ContinuityFinding) -> bool {
        let code = self.acceptance_code(lane, finding);
        let commands = &self.continuity.commands;
        commands.is_accepted(&code)
            || (finding.kind == FindingKind::OutputTruncated
                && self.is_topic_refilled(lane, finding.partition, &finding.subject))
    }

    /// Whether what recipients have of a partition on a topic is to be sent again.
    fn is_topic_refilled(&self, lane: &Lane, partition: i32, topic: &str) -> bool {
        let output = lane.outputs.iter().find(|output| output.topic == topic);
        output
            .is_some_and(|output| self.requested_refills(partition).any(|one| one == output.owner))
    }

    /// The recipients for which a refill of a partition was requested.
    fn requested_refills(&self, partition: i32) -> impl Iterator<Item = &str> {
        let mark = self.last_mark(partition);
        let commands = &self.continuity.commands;
        let done = mark.map_or(i64::MAX, |mark| commands.next_offset(mark.commands));
        commands.refill_recipients(done)
    }

    /// Starts the requested refills of a partition: queues the rows of their recipients.
    pub(crate) fn start_refill(&mut self, lane: &Lane, partition: i32) {
        let names: Vec<&str> = self.requested_refills(partition).collect();
        let recipients: Vec<u16> = (0..)
            .zip(&lane.recipients)
            .filter(|(_, recipient)| names.contains(&recipient.name.as_str()))
            .map(|(index, _)| index)
            .collect();
        let has = |entry: &DeliveryEntry| {
            entry.outcome == DeliveryOutcome::Released && recipients.contains(&entry.recipient)
        };
        let rows = self.state.rows(partition);
        let rows = rows.filter(|(_, row)| row.entries.iter().any(has));
        self.recheck_queue.extend(rows.map(|(key, _)| (partition, key)));
        if let Some(partition_mark) = self.marks.by_partition.get_mut(&partition) {
            partition_mark.refill_recipients = recipients;
        }
    }

    /// Ends the refills of a partition. Returns `false` if there were none.
    pub(in crate::engine) fn finish_refill(&mut self, partition: i32) -> bool {
        if self.is_refill_deferred(partition) {
            return false;
        }
        let partition_mark = self.marks.by_partition.get(&partition);
        let refilled = partition_mark
            .is_some_and(|partition_mark| partition_mark.last_mark.is_some())
            && self.requested_refills(partition).next().is_some();
        if refilled {
            let end = self.continuity.commands.end_offset;
            let partition_mark = self.marks.change_partition(partition);
            partition_mark.refill_recipients.clear();
            partition_mark.commands_done_offset = end;
        }
        refilled
    }
}

/// Returns what may be shown of a key: its id, and a hash that only this key makes.
#[must_use]
pub fn key_fingerprint(key: &crate::policy::pseudonym::HmacKey) -> KeyFingerprint {
    use crate::policy::pseudonym::{PseudonymDomain, Pseudonymiser};
    let meaning = PseudonymDomain::new("zeef", "key");
    let made = Pseudonymiser::new(key).pseudonymise(&meaning, "", "fingerprint");
    #[allow(clippy::cast_possible_truncation, reason = "any 64 of the bits do")]
    let bits = made.to_bits() as u64;
    KeyFingerprint { id: key.id().to_owned(), print: format_code(bits) }
}

/// Fails if the key of the ledger is another one: a patron would have two references in a year.
fn check_ledger_key(lane: &Lane, mark: &ContinuityMark) -> Result<(), Fault> {
    let (Some(ledger), Some(head)) = (&lane.ledger, &mark.ledger) else {
        return Ok(());
    };
    let keys = &ledger.setup.keys;
    if head.year < keys.first_year() || keys.of_year(head.year).print() == head.key {
        return Ok(());
    }
    Err(Fault::stop(format!(
        "the ledger's lines of {} are under another key than the one in use: put the first one back",
        head.year
    )))
}

fn recipient_names(lane: &Lane) -> Vec<String> {
    let recipients = lane.recipients.iter();
    recipients.map(|recipient| recipient.name.clone()).collect()
}
