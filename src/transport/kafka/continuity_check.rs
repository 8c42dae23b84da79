//! Compares a worker's partitions with their marks, and writes what new marks say of
//! sources, outputs and the group.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::connect::{TopicLookup, look_up_topic};
use super::owned_partition::OwnedPartition;
use super::reader::{ReadRange, ReadRequest, WantedRecords};
use super::source::{SourcePartition, describe_changed_partitions};
use super::start_offsets::{
    CommittedOffset, OffsetMetadata, fetch_bound_offsets, fetch_committed_offsets,
};
use super::{KafkaTransport, NO_SOURCE, START_POLL_INTERVAL};
use crate::message::continuity::{
    AnchorContent, ContinuityFinding, ContinuityMark, FIRST_START_GRACE_MS, FindingKind,
    Fingerprinter, GroupOffset, MARK_ROW_KEY, MarkPositions, MarkedSource, SourceProgress,
    SourceSnapshot, compare_source, is_moved_back, unread_gates,
};
use crate::message::{Coordinates, Fault, Input, OutputId};
use crate::transport::ReadOutcome;

/// How long to query a source that ends too early: a new leader may not know its end yet.
const END_GIVE_UP_AFTER: Duration = Duration::from_secs(30);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// The last mark of a state partition lies within this many offsets of its end.
pub(super) const TAIL_OFFSETS: i64 = 50;

/// What is compared with marks, besides the partitions themselves.
#[derive(Debug, Default)]
pub(super) struct ContinuityCheck {
    /// Marks that were restored and not compared yet.
    restored_marks: HashMap<i32, Option<ContinuityMark>>,
    /// The hash of each gate log, up to where its mark says it was read.
    gate_log_hashes: HashMap<SourcePartition, u64>,
    /// The group's offsets when the partitions were assigned.
    pub committed_offsets: HashMap<SourcePartition, CommittedOffset>,
    cluster_id: Option<String>,
    /// The ends of the outputs when they were last fetched.
    output_ends: BTreeMap<String, Vec<i64>>,
    /// Positions differ from where the partitions are fetched.
    pub has_moved_positions: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartitionBounds {
    pub start_offset: i64,
    pub end_offset: i64,
    pub stable_end: i64,
}

/// A partition whose bounds are wanted, and how far it was read.
#[derive(Clone, Debug)]
pub(super) struct BoundsRequest {
    pub topic: String,
    pub source_partition: SourcePartition,
    pub next: i64,
}

impl KafkaTransport {
    /// See [`Transport::load_mark`](crate::transport::Transport::load_mark).
    pub(super) fn set_restored_mark(&mut self, partition: i32, mark: Option<&ContinuityMark>) {
        self.continuity_check.restored_marks.insert(partition, mark.cloned());
    }

    /// Returns what to hash a gate log with while it is rebuilt, and up to which offset.
    pub(super) fn gate_log_to_hash(
        &self,
        source_partition: SourcePartition,
    ) -> Option<(Fingerprinter, i64)> {
        let source = self.group_consumer.find_source(source_partition.0)?;
        let mark = self.continuity_check.restored_marks.get(&source_partition.1)?.as_ref()?;
        let progress = mark.sources.get(&source.unprefixed_name)?;
        progress.log?;
        Some((self.fingerprinter?, progress.next))
    }

    pub(super) fn set_gate_log_hash(&mut self, source_partition: SourcePartition, hash: u64) {
        self.continuity_check.gate_log_hashes.insert(source_partition, hash);
    }

    /// See [`Transport::compare_with_mark`](crate::transport::Transport::compare_with_mark).
    pub(super) fn verify_partition(
        &mut self,
        partition: i32,
        before: bool,
    ) -> Result<Vec<ContinuityFinding>, Fault> {
        if self.fingerprinter.is_none() {
            return Ok(Vec::new());
        }
        self.check_added_partitions()?;
        let mark = self.continuity_check.restored_marks.remove(&partition).flatten();
        let mut findings = self.compare_restored_topics(partition, mark.as_ref())?;
        findings.extend(match mark {
            Some(mark) => self.compare_positions_with_mark(partition, &mark)?,
            None if before => Vec::new(),
            None => self.verify_without_mark(partition)?,
        });
        Ok(findings)
    }

    /// Stops if sources had fewer partitions when the group's offsets were committed:
    /// records of one patron may lie in two partitions.
    fn check_added_partitions(&self) -> Result<(), Fault> {
        for (place, found) in &self.continuity_check.committed_offsets {
            let (Some(mark), Some(source)) =
                (found.metadata, self.group_consumer.find_source(place.0))
            else {
                continue;
            };
            if mark.partition_count < self.group_consumer.max_partition_count() {
                return Err(Fault::stop(describe_changed_partitions(
                    &source.topic,
                    self.group_consumer.max_partition_count(),
                    mark.partition_count,
                )));
            }
        }
        Ok(())
    }

    /// Stops if a source has another number of partitions than its mark says.
    fn check_same_partitions(
        &self,
        source_partition: SourcePartition,
        progress: &SourceProgress,
    ) -> Result<(), Fault> {
        let before = progress.partition_count;
        let source = self.group_consumer.find_source(source_partition.0);
        match source.filter(|source| before != 0 && source.partition_count != before) {
            None => Ok(()),
            Some(source) => Err(Fault::stop(describe_changed_partitions(
                &source.topic,
                source.partition_count,
                before,
            ))),
        }
    }

    /// Finds traces of an earlier run of a partition that has no mark.
    fn verify_without_mark(&mut self, partition: i32) -> Result<Vec<ContinuityFinding>, Fault> {
        let Some(outputs) = self.serve_and_fetch_output_ends()? else {
            return Err(self.no_answer_fault("ends of outputs"));
        };
        // After the outputs: a worker that has written some has committed offsets before.
        let (consumer, sources) = (&self.group_consumer.consumer, &self.group_consumer.sources);
        let Some(committed) = fetch_committed_offsets(consumer, sources)? else {
            return Err(self.no_answer_fault("offsets of the group"));
        };
        let subject = self.group_id.clone();
        let finding = |detail: String| ContinuityFinding {
            subject: subject.clone(),
            partition,
            kind: FindingKind::StateMissing,
            detail,
        };
        if committed.keys().any(|place| place.1 == partition) {
            let detail = "the group has offsets, and the state has no mark".to_owned();
            return Ok(vec![finding(detail)]);
        }
        let marks: Vec<OffsetMetadata> =
            committed.values().filter_map(|found| found.metadata).collect();
        if let Some(oldest_ms) = marks.iter().map(|mark| mark.first_mark_ms).min() {
            let is_first_start = now_ms().saturating_sub(oldest_ms) < FIRST_START_GRACE_MS;
            let detail = "the group has offsets of other partitions, and none of this one";
            return Ok(match is_first_start {
                true => Vec::new(),
                false => vec![finding(detail.to_owned())],
            });
        }
        let own = outputs.iter().filter(|(topic, _)| !self.known_former_topics.contains(*topic));
        let written: i64 = own.flat_map(|(_, ends)| ends).sum();
        if written == 0 || self.forget_offset_totals.contains(&written) {
            return Ok(Vec::new());
        }
        let detail = format!("the outputs have {written} offsets, and neither group nor state");
        Ok(vec![finding(detail)])
    }

    /// Compares one partition number with its mark, and continues from there.
    fn compare_positions_with_mark(
        &mut self,
        partition: i32,
        mark: &ContinuityMark,
    ) -> Result<Vec<ContinuityFinding>, Fault> {
        let mut findings = self.compare_cluster(partition, mark);
        findings.extend(self.find_unread_gates(partition, mark));
        let all_progress = self.progress_by_source(partition, mark);
        let bounds = self.await_bounds_past(&self.source_bounds_requests(&all_progress))?;
        for (place, progress) in all_progress {
            let Some(bounds) = bounds.get(&place).copied() else {
                return Err(self.no_answer_fault("ends of sources"));
            };
            let Some(progress) = progress else {
                self.begin_source_at(place, bounds.start_offset);
                continue;
            };
            self.check_same_partitions(place, &progress)?;
            let snapshot = self.observe_partition(place, &progress, bounds)?;
            let group = snapshot.group_offset;
            if let Some(marked) = self.marked_source(place, &progress, mark.number) {
                findings.extend(compare_source(&marked, &snapshot));
            }
            self.set_position(place, progress, group);
        }
        let number = OffsetMetadata {
            mark_number: mark.number,
            // A first mark has no time.
            first_mark_ms: match mark.born_ms {
                0 => now_ms(),
                born_ms => born_ms,
            },
            partition_count: self.group_consumer.max_partition_count(),
        };
        self.group_consumer.offset_metadata.insert(partition, number);
        findings.extend(self.compare_outputs(partition, mark)?);
        findings.extend(self.compare_ledger(partition, mark)?);
        Ok(findings)
    }

    fn compare_cluster(&mut self, partition: i32, mark: &ContinuityMark) -> Vec<ContinuityFinding> {
        let cluster = self.cluster_id();
        if mark.cluster.is_empty() || cluster.is_empty() || mark.cluster == cluster {
            return Vec::new();
        }
        vec![ContinuityFinding {
            subject: self.settings.brokers.clone(),
            partition,
            kind: FindingKind::ClusterChanged,
            detail: format!("its id is `{cluster}`, and was `{}`", mark.cluster),
        }]
    }

    /// Finds gates that were read, and are not read as those any more.
    fn find_unread_gates(&self, partition: i32, mark: &ContinuityMark) -> Vec<ContinuityFinding> {
        let Some(configured) = &self.configured_topics else {
            return Vec::new();
        };
        let is_new = |part: &OwnedPartition| {
            let source = self.group_consumer.find_source(part.source_partition.0);
            source.is_some_and(|source| {
                configured.gates.contains_key(&source.unprefixed_name)
                    && !mark.sources.contains_key(&source.unprefixed_name)
            })
        };
        let has_new_gate = self.group_consumer.owned_with_number(partition).any(is_new);
        unread_gates(&mark.sources, configured, has_new_gate)
            .map(|gate| ContinuityFinding {
                subject: format!("{}{}", self.settings.topic_prefix, gate.topic),
                partition,
                kind: FindingKind::GateNotRead,
                detail: gate.describe(&format!("offset {}", gate.progress.next)),
            })
            .collect()
    }

    /// Returns the progress of each source, or `None` for one that the mark does not have.
    fn progress_by_source(
        &self,
        partition: i32,
        mark: &ContinuityMark,
    ) -> Vec<(SourcePartition, Option<SourceProgress>)> {
        let parts = self.group_consumer.owned_with_number(partition);
        let progress = |place: SourcePartition| {
            let source = self.group_consumer.find_source(place.0)?;
            mark.sources.get(&source.unprefixed_name).cloned()
        };
        parts.map(|part| (part.source_partition, progress(part.source_partition))).collect()
    }

    /// Starts a source that the lane has never read at its first offset.
    fn begin_source_at(&mut self, source_partition: SourcePartition, start: i64) {
        if let Some(source) = self.group_consumer.find_source(source_partition.0) {
            let progress = source.new_progress(start);
            self.set_position(source_partition, progress, None);
        }
    }

    fn set_position(
        &mut self,
        source_partition: SourcePartition,
        progress: SourceProgress,
        group: Option<GroupOffset>,
    ) {
        if is_moved_back(&progress, group) {
            let topic =
                self.group_consumer.find_source(source_partition.0).map(|source| &*source.topic);
            tracing::warn!(
                topic,
                partition = source_partition.1,
                next = progress.next,
                "kafka: the group's offset was set back by hand: using that of the state"
            );
        }
        let fetched = self
            .group_consumer
            .owned_with_number(source_partition.1)
            .find(|part| part.source_partition == source_partition);
        self.continuity_check.has_moved_positions |=
            fetched.is_some_and(|part| part.committed_position != progress.next);
        self.group_consumer.set_progress(source_partition, progress);
    }

    fn source_bounds_requests(
        &self,
        all_progress: &[(SourcePartition, Option<SourceProgress>)],
    ) -> Vec<BoundsRequest> {
        let request = |(source_partition, progress): &(SourcePartition, Option<SourceProgress>)| {
            let source = self.group_consumer.find_source(source_partition.0)?;
            let next = progress.as_ref().map_or(0, |progress| progress.next);
            let (topic, source_partition) = (source.topic.clone(), *source_partition);
            Some(BoundsRequest { topic, source_partition, next })
        };
        all_progress.iter().filter_map(request).collect()
    }

    /// Fetches bounds, for a while if a partition ends before what was read of it.
    pub(super) fn await_bounds_past(
        &mut self,
        requests: &[BoundsRequest],
    ) -> Result<HashMap<SourcePartition, PartitionBounds>, Fault> {
        let query = |transport: &Self| transport.fetch_bounds(requests).unwrap_or_default();
        let pause = |transport: &mut Self| {
            transport.serve_clients(START_POLL_INTERVAL)?;
            match transport.stop.is_requested() || transport.group_consumer.has_event() {
                true => Err(Fault::Interrupted),
                false => Ok(()),
            }
        };
        query_until_read_ends(self, requests, END_GIVE_UP_AFTER, (query, pause))
    }

    /// Returns `None` if Kafka does not answer.
    fn fetch_bounds(
        &self,
        requests: &[BoundsRequest],
    ) -> Option<HashMap<SourcePartition, PartitionBounds>> {
        let partitions =
            || requests.iter().map(|request| (&*request.topic, request.source_partition.1));
        let start =
            fetch_bound_offsets(&self.read_uncommitted_client, partitions(), Offset::Beginning)
                .ok()?;
        let end =
            fetch_bound_offsets(&self.read_uncommitted_client, partitions(), Offset::End).ok()?;
        let stable =
            fetch_bound_offsets(&self.read_committed_client, partitions(), Offset::End).ok()?;
        let offset = |list: &TopicPartitionList, request: &BoundsRequest| match list
            .find_partition(&request.topic, request.source_partition.1)?
            .offset()
        {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        let bounds = |request: &BoundsRequest| {
            let bounds = PartitionBounds {
                start_offset: offset(&start, request)?,
                end_offset: offset(&end, request)?,
                stable_end: offset(&stable, request)?,
            };
            Some((request.source_partition, bounds))
        };
        requests.iter().map(bounds).collect()
    }

    fn observe_partition(
        &mut self,
        source_partition: SourcePartition,
        progress: &SourceProgress,
        bounds: PartitionBounds,
    ) -> Result<SourceSnapshot, Fault> {
        let committed = &self.continuity_check.committed_offsets;
        let group = committed.get(&source_partition).map(|found| GroupOffset {
            offset: found.offset,
            mark_number: found.metadata.map(|mark| mark.mark_number),
        });
        let others = committed.keys();
        let group_has_others =
            others.filter(|one| one.1 == source_partition.1).any(|one| *one != source_partition);
        Ok(SourceSnapshot {
            start_offset: bounds.start_offset,
            end_offset: bounds.end_offset,
            group_offset: group,
            has_other_group_offsets: group_has_others,
            anchor_contents: self.read_source_anchors(source_partition, progress, bounds)?,
            log_hash: self.continuity_check.gate_log_hashes.remove(&source_partition),
        })
    }

    fn read_source_anchors(
        &mut self,
        source_partition: SourcePartition,
        progress: &SourceProgress,
        bounds: PartitionBounds,
    ) -> Result<BTreeMap<i64, AnchorContent>, Fault> {
        let source = self.group_consumer.find_source(source_partition.0);
        match source.map(|source| source.topic.clone()) {
            Some(topic) => self.read_anchors((topic, source_partition), progress, bounds),
            None => Ok(BTreeMap::new()),
        }
    }

    /// Reads what lies at the offsets of anchors now.
    pub(super) fn read_anchors(
        &mut self,
        (topic, source_partition): (String, SourcePartition),
        progress: &SourceProgress,
        bounds: PartitionBounds,
    ) -> Result<BTreeMap<i64, AnchorContent>, Fault> {
        let Some(fingerprinter) = self.fingerprinter else {
            return Ok(BTreeMap::new());
        };
        let within = bounds.start_offset..bounds.end_offset.min(bounds.stable_end);
        let offsets = progress.anchors.iter().map(|anchor| anchor.offset);
        let mut at: Vec<Coordinates> = offsets
            .filter(|offset| within.contains(offset))
            .map(|offset| Coordinates {
                source: source_partition.0,
                partition: source_partition.1,
                offset,
            })
            .collect();
        at.sort_unstable();
        if at.is_empty() {
            return Ok(BTreeMap::new());
        }
        let wanted = [WantedRecords { topic, source_partition, coordinates: &at }];
        let mut found = Vec::new();
        let mut take = |input: Option<Input<'_>>| {
            found.push(input.map_or(AnchorContent::NoRecord, |input| {
                AnchorContent::Record(fingerprinter.hash_record(input.key, input.payload.bytes()))
            }));
        };
        let read = self.with_reader(|session| session.read_wanted(&wanted, &mut take))?;
        if read == ReadOutcome::Interrupted {
            return Err(Fault::Interrupted);
        }
        let offsets = at.iter().map(|at| at.offset);
        Ok(offsets.zip(found).collect())
    }

    /// Returns what a mark says of a partition.
    fn marked_source<'a>(
        &'a self,
        source_partition: SourcePartition,
        progress: &'a SourceProgress,
        mark_number: u64,
    ) -> Option<MarkedSource<'a>> {
        let source = self.group_consumer.find_source(source_partition.0)?;
        let (topic, partition) = (source.topic.as_str(), source_partition.1);
        Some(MarkedSource { topic, partition, progress, retention: source.retention, mark_number })
    }

    fn compare_outputs(
        &mut self,
        partition: i32,
        mark: &ContinuityMark,
    ) -> Result<Vec<ContinuityFinding>, Fault> {
        let Some(now) = self.serve_and_fetch_output_ends()? else {
            return Err(self.no_answer_fault("ends of outputs"));
        };
        let mut findings = find_shortened_outputs(partition, &mark.outputs, &now);
        findings.extend(find_outputs_below_count(partition, mark, &now));
        let mut named = BTreeSet::new();
        findings.retain(|finding| named.insert(finding.subject.clone()));
        self.continuity_check.output_ends = now;
        Ok(findings)
    }

    /// Returns the ends of the recipients' outputs by topic without prefix, or `None` if
    /// Kafka does not answer.
    fn serve_and_fetch_output_ends(&mut self) -> Result<Option<BTreeMap<String, Vec<i64>>>, Fault> {
        self.serve_clients(Duration::ZERO)?;
        Ok(self.fetch_output_ends())
    }

    fn fetch_output_ends(&self) -> Option<BTreeMap<String, Vec<i64>>> {
        let mut places = Vec::new();
        let topics: BTreeSet<&str> =
            self.producer.recipient_topics().map(|(_, topic)| topic).collect();
        for topic in topics {
            let TopicLookup::Partitions(partitions) =
                look_up_topic(&self.read_uncommitted_client, topic)
            else {
                return None;
            };
            places.extend((0..partitions).map(|partition| (topic, partition)));
        }
        let ends =
            fetch_bound_offsets(&self.read_uncommitted_client, places.iter().copied(), Offset::End)
                .ok()?;
        let mut of = BTreeMap::<String, Vec<i64>>::new();
        for (topic, partition) in places {
            let Offset::Offset(end) = ends.find_partition(topic, partition)?.offset() else {
                return None;
            };
            let name = topic.strip_prefix(&*self.settings.topic_prefix).unwrap_or(topic);
            of.entry(name.to_owned()).or_default().push(end);
        }
        Some(of)
    }

    pub(super) fn no_answer_fault(&self, what: &str) -> Fault {
        Fault::transport_lost(format!("no answer from kafka: {what}"))
    }

    fn cluster_id(&mut self) -> String {
        if self.continuity_check.cluster_id.is_none() {
            self.continuity_check.cluster_id =
                self.read_uncommitted_client.client().fetch_cluster_id(CALL_TIMEOUT);
        }
        self.continuity_check.cluster_id.clone().unwrap_or_default()
    }

    /// See [`Transport::apply_accepted`](crate::transport::Transport::apply_accepted).
    pub(super) fn apply_accepted_findings(&mut self, findings: &[ContinuityFinding]) {
        for finding in findings {
            let place =
                self.group_consumer.find_source_partition(&finding.subject, finding.partition);
            let Some(place) = place else {
                continue;
            };
            let request = self.source_bounds_requests(&[(place, None)]);
            let Some(bounds) =
                self.fetch_bounds(&request).and_then(|mut found| found.remove(&place))
            else {
                continue;
            };
            match finding.kind {
                FindingKind::SourceReplaced
                | FindingKind::SourceTruncated
                | FindingKind::UnreadRecordsLost => {
                    self.begin_source_at(place, bounds.start_offset);
                    self.continuity_check.has_moved_positions = true;
                }
                FindingKind::GateLogTruncated => {
                    self.group_consumer.set_progress_start(place, bounds.start_offset)
                }
                FindingKind::OffsetMovedAhead => {
                    let group = self
                        .continuity_check
                        .committed_offsets
                        .get(&place)
                        .map(|found| found.offset);
                    if let (Some(offset), Some(source)) =
                        (group, self.group_consumer.find_source(place.0))
                    {
                        let progress = source.new_progress(offset);
                        self.set_position(place, progress, None);
                        self.continuity_check.has_moved_positions = true;
                    }
                }
                _ => {}
            }
        }
    }

    /// See [`Transport::find_changes`](crate::transport::Transport::find_changes).
    pub(super) fn check_owned_continuity(&mut self) -> Result<Vec<ContinuityFinding>, Fault> {
        if self.fingerprinter.is_none() {
            return Ok(Vec::new());
        }
        let all_progress: Vec<(SourcePartition, Option<SourceProgress>)> = self
            .group_consumer
            .all_owned()
            .map(|part| (part.source_partition, Some(part.progress.committed_progress.clone())))
            .collect();
        let bounds = self.await_bounds_past(&self.source_bounds_requests(&all_progress))?;
        let mut findings = Vec::new();
        for (place, progress) in all_progress {
            let (Some(bounds), Some(mut progress)) = (bounds.get(&place).copied(), progress) else {
                continue;
            };
            // The newest anchor is enough: it was there a minute ago.
            progress.anchors.truncate(1);
            let snapshot = SourceSnapshot {
                start_offset: bounds.start_offset,
                end_offset: bounds.end_offset,
                anchor_contents: self.read_source_anchors(place, &progress, bounds)?,
                ..SourceSnapshot::default()
            };
            if let Some(marked) = self.marked_source(place, &progress, 0) {
                findings.extend(compare_source(&marked, &snapshot));
            }
            self.group_consumer.set_progress_start(place, bounds.start_offset);
        }
        if let Some(now) = self.serve_and_fetch_output_ends()? {
            findings.extend(find_shortened_outputs(0, &self.continuity_check.output_ends, &now));
            self.continuity_check.output_ends = now;
        }
        let owned: BTreeSet<i32> =
            self.group_consumer.all_owned().map(|part| part.source_partition.1).collect();
        for partition in owned {
            findings.extend(self.find_restored_changes(partition)?);
        }
        Ok(findings)
    }

    /// See [`Transport::mark_positions`](crate::transport::Transport::mark_positions).
    pub(super) fn next_mark_positions(&mut self, partition: i32, number: u64) -> MarkPositions {
        let partitions = self.group_consumer.max_partition_count();
        let numbers = &mut self.group_consumer.offset_metadata;
        let known = numbers.get(&partition);
        let born_ms = known.map_or_else(now_ms, |known| known.first_mark_ms);
        let next = OffsetMetadata {
            mark_number: number,
            first_mark_ms: born_ms,
            partition_count: partitions,
        };
        numbers.insert(partition, next);
        self.group_consumer.marked_partitions.insert(partition);
        let parts = self.group_consumer.owned_with_number(partition);
        let sources = parts.filter_map(|part| {
            let source = self.group_consumer.find_source(part.source_partition.0)?;
            Some((source.unprefixed_name.clone(), part.progress.progress_up_to(part.position)))
        });
        MarkPositions {
            sources: sources.collect(),
            outputs: self.continuity_check.output_ends.clone(),
            patrons: self.patrons_progress(partition),
            cluster_id: self.cluster_id(),
            ..MarkPositions::default()
        }
    }

    /// Returns the broker's time of the last committed mark, or `None` if the topic keeps
    /// producers' times.
    pub(super) fn newest_mark_broker_ms(
        &mut self,
        output: OutputId,
        partition: i32,
    ) -> Result<Option<i64>, Fault> {
        let Some(topic) = self.producer.restored_topic(output).map(str::to_owned) else {
            return Ok(None);
        };
        let mut found = None;
        let mut take = |input: Input<'_>| {
            if input.key == Some(MARK_ROW_KEY) {
                let by_broker = input.append_time.filter(|appended| appended.is_exact);
                found = by_broker.map(|appended| appended.ms);
            }
        };
        let range = ReadRange::Tail(TAIL_OFFSETS);
        let request =
            ReadRequest { topic: &topic, source_partition: (NO_SOURCE, partition), range };
        self.with_reader(|session| session.read(request, &mut take))?;
        Ok(found)
    }
}

/// Queries bounds until each source ends where it was read or later, pausing in between. Returns
/// the last bounds after `give_up_after`, as the ends may be real.
fn query_until_read_ends<C>(
    client: &mut C,
    requests: &[BoundsRequest],
    give_up_after: Duration,
    (query, pause): (
        impl Fn(&C) -> HashMap<SourcePartition, PartitionBounds>,
        impl Fn(&mut C) -> Result<(), Fault>,
    ),
) -> Result<HashMap<SourcePartition, PartitionBounds>, Fault> {
    let until = Instant::now() + give_up_after;
    loop {
        let found = query(client);
        let reached = |request: &BoundsRequest| {
            let bounds = found.get(&request.source_partition);
            bounds.is_some_and(|bounds| bounds.end_offset >= request.next)
        };
        if requests.iter().all(reached) || Instant::now() >= until {
            return Ok(found);
        }
        pause(client)?;
    }
}

/// Finds outputs that are shorter than the mark says.
fn find_shortened_outputs(
    partition: i32,
    before: &BTreeMap<String, Vec<i64>>,
    now: &BTreeMap<String, Vec<i64>>,
) -> Vec<ContinuityFinding> {
    let short = before.iter().filter_map(|(topic, before)| {
        let now = now.get(topic)?;
        let mut pairs = before.iter().zip(now.iter()).enumerate();
        let (of, (before, now)) = pairs.find(|(_, (before, now))| now < before)?;
        Some(ContinuityFinding {
            subject: topic.clone(),
            partition,
            kind: FindingKind::OutputTruncated,
            detail: format!("partition {of} ends at {now}, and ended at {before}"),
        })
    });
    short.collect()
}

/// Finds outputs that end before they can hold what recipients have of a partition: the
/// ends of a run's last minute are in no mark.
fn find_outputs_below_count(
    partition: i32,
    mark: &ContinuityMark,
    now: &BTreeMap<String, Vec<i64>>,
) -> Vec<ContinuityFinding> {
    let mut has = BTreeMap::<&str, i64>::new();
    for (topic, count) in mark.has.values().flatten() {
        *has.entry(topic).or_default() += i64::try_from(*count).unwrap_or(i64::MAX);
    }
    let emptier = has.into_iter().filter_map(|(topic, count)| {
        let end: i64 = now.get(topic)?.iter().sum();
        (end < count).then(|| ContinuityFinding {
            subject: topic.to_owned(),
            partition,
            kind: FindingKind::OutputTruncated,
            detail: format!("it ends at {end} in all, and {count} outputs are to be in it"),
        })
    });
    emptier.collect()
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::SourceId;

    /// Queries a leader that knows the end of a source only at the fourth query. Returns the end
    /// that was found, and the number of pauses.
    fn query_new_leader(give_up_after: Duration, next: i64) -> (Option<i64>, usize) {
        let place: SourcePartition = (SourceId(0), 0);
        let request = BoundsRequest { topic: "loan".to_owned(), source_partition: place, next };
        let query = |pauses: &usize| {
            let end_offset = match *pauses {
                0 => return HashMap::new(),
                1 | 2 => 3,
                _ => 10,
            };
            let bounds = PartitionBounds { start_offset: 0, end_offset, stable_end: end_offset };
            HashMap::from([(place, bounds)])
        };
        let pause = |pauses: &mut usize| {
            *pauses += 1;
            if *pauses > 1_000 { Err(Fault::Interrupted) } else { Ok(()) }
        };
        let mut pauses = 0;
        let found = query_until_read_ends(&mut pauses, &[request], give_up_after, (query, pause));
        let end = found.ok().and_then(|found| Some(found.get(&place)?.end_offset));
        (end, pauses)
    }

    #[test]
    fn leader_that_does_not_know_its_end_yet_is_queried_again() {
        assert_eq!(END_GIVE_UP_AFTER, Duration::from_secs(30));
        assert_eq!(query_new_leader(END_GIVE_UP_AFTER, 10), (Some(10), 3));
        assert_eq!(query_new_leader(END_GIVE_UP_AFTER, 3), (Some(3), 1));
        // What is not reached in time is compared as it is; a stop ends the wait.
        assert_eq!(query_new_leader(Duration::ZERO, 10), (None, 0));
        assert_eq!(query_new_leader(END_GIVE_UP_AFTER, 11), (None, 1_001));
    }

    #[test]
    fn output_ending_below_its_counted_outputs_is_a_finding() {
        let of_one = |count| BTreeMap::from([("out.a".to_owned(), count)]);
        let mark = ContinuityMark {
            has: BTreeMap::from([("a".to_owned(), of_one(3)), ("b".to_owned(), of_one(2))]),
            ..ContinuityMark::default()
        };
        let ends = |ends: &[i64]| BTreeMap::from([("out.a".to_owned(), ends.to_vec())]);
        assert_eq!(find_outputs_below_count(0, &mark, &ends(&[4, 1])), []);
        assert_eq!(find_outputs_below_count(0, &mark, &BTreeMap::new()), []);
        assert_eq!(find_outputs_below_count(0, &mark, &ends(&[4, 0])).len(), 1);
    }

    #[test]
    fn output_ending_before_its_marked_end_is_a_finding() {
        let ends = |ends: &[i64]| BTreeMap::from([("out.a".to_owned(), ends.to_vec())]);
        assert_eq!(find_shortened_outputs(3, &ends(&[5, 6]), &ends(&[5, 9])), []);
        assert_eq!(find_shortened_outputs(3, &ends(&[5, 6]), &BTreeMap::new()), []);
        let found = find_shortened_outputs(3, &ends(&[5, 6]), &ends(&[5, 0]));
        let kinds: Vec<FindingKind> = found.iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, [FindingKind::OutputTruncated]);
    }
}
