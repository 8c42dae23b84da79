//! Whether the topics that a worker read back are still the ones: its state, and `zeef.patrons`.
//!
//! Both are compacted and only grow. The state has its mark in itself, so only a running worker
//! compares it here; of `zeef.patrons`, which all lanes write, each mark says how to recognise it.

use std::collections::HashMap;

use super::connect::{TopicLookup, look_up_topic};
use super::continuity_check::{BoundsRequest, PartitionBounds, TAIL_OFFSETS};
use super::reader::{ReadRange, ReadRequest};
use super::{KafkaTransport, NO_SOURCE};
use crate::message::continuity::{
    ContinuityFinding, ContinuityMark, FindingKind, MarkedSource, SourceAnchor, SourceProgress,
    SourceRetention, SourceSnapshot, compare_source,
};
use crate::message::{Fault, Input, OutputRole};
use crate::transport::ReadOutcome;

/// How to recognise each partition that was read back.
pub(super) type RestoredProgress = HashMap<(TopicRole, i32), SourceProgress>;

/// A topic that is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum TopicRole {
    State,
    Patrons,
}

/// One partition of a topic that is read back.
struct RestoredPartition {
    role: TopicRole,
    topic: String,
    partition: i32,
}

impl TopicRole {
    /// The kind of a finding that its topic lost rows, or is another one.
    const fn finding_kind(self) -> FindingKind {
        match self {
            TopicRole::State => FindingKind::StateMissing,
            TopicRole::Patrons => FindingKind::ErasuresLost,
        }
    }
}

impl KafkaTransport {
    /// Compares the partition of `zeef.patrons` with its mark, and notes how to recognise all that
    /// was read back from now on.
    pub(super) fn compare_restored_topics(
        &mut self,
        partition: i32,
        mark: Option<&ContinuityMark>,
    ) -> Result<Vec<ContinuityFinding>, Fault> {
        let mut findings = Vec::new();
        for restored in self.restored_partitions(partition) {
            let marked = match restored.role {
                TopicRole::Patrons => mark.and_then(|mark| mark.patrons.clone()),
                TopicRole::State => None,
            };
            let Some(bounds) = self.await_restored_bounds(&restored, marked.as_ref())? else {
                return Err(self.no_answer_fault("ends of topics that are read back"));
            };
            findings.extend(self.compare_restored(&restored, marked, bounds)?);
        }
        Ok(findings)
    }

    /// Compares a partition that was read back with what was noted of it.
    pub(super) fn find_restored_changes(
        &mut self,
        partition: i32,
    ) -> Result<Vec<ContinuityFinding>, Fault> {
        let mut findings = Vec::new();
        for restored in self.restored_partitions(partition) {
            let Some(noted) = self.noted_progress(restored.role, partition) else {
                continue;
            };
            match self.await_restored_bounds(&restored, Some(&noted))? {
                Some(bounds) => {
                    findings.extend(self.compare_restored(&restored, Some(noted), bounds)?);
                }
                None => findings.extend(self.find_absent_topic(&restored)),
            }
        }
        Ok(findings)
    }

    /// Returns what the next mark of a partition says of `zeef.patrons`.
    pub(super) fn patrons_progress(&self, partition: i32) -> Option<SourceProgress> {
        self.noted_progress(TopicRole::Patrons, partition)
    }

    fn noted_progress(&self, role: TopicRole, partition: i32) -> Option<SourceProgress> {
        self.restored_progress.get(&(role, partition)).cloned()
    }

    fn restored_partitions(&self, partition: i32) -> Vec<RestoredPartition> {
        let topics = self.producer.restored_topics().filter_map(|(role, topic)| {
            let role = match role {
                OutputRole::State => TopicRole::State,
                OutputRole::Patrons => TopicRole::Patrons,
                _ => return None,
            };
            Some(RestoredPartition { role, topic: topic.to_owned(), partition })
        });
        topics.collect()
    }

    /// Returns `None` if Kafka does not answer, or the topic does not exist.
    fn await_restored_bounds(
        &mut self,
        restored: &RestoredPartition,
        progress: Option<&SourceProgress>,
    ) -> Result<Option<PartitionBounds>, Fault> {
        let request = BoundsRequest {
            topic: restored.topic.clone(),
            source_partition: (NO_SOURCE, restored.partition),
            next: progress.map_or(0, |progress| progress.next),
        };
        let found = self.await_bounds_past(&[request])?;
        Ok(found.into_values().next())
    }

    fn find_absent_topic(&self, restored: &RestoredPartition) -> Option<ContinuityFinding> {
        match look_up_topic(&self.read_uncommitted_client, &restored.topic) {
            TopicLookup::Absent => Some(restored.finding("it does not exist".to_owned())),
            _ => None,
        }
    }

    fn compare_restored(
        &mut self,
        restored: &RestoredPartition,
        known: Option<SourceProgress>,
        bounds: PartitionBounds,
    ) -> Result<Option<ContinuityFinding>, Fault> {
        let mut found = None;
        if let Some(progress) = &known {
            let place = (restored.topic.clone(), (NO_SOURCE, restored.partition));
            let snapshot = SourceSnapshot {
                start_offset: bounds.start_offset,
                end_offset: bounds.end_offset,
                anchor_contents: self.read_anchors(place, progress, bounds)?,
                ..SourceSnapshot::default()
            };
            found = restored.compare(progress, &snapshot);
        }
        let begun = SourceProgress { start: bounds.start_offset, ..SourceProgress::default() };
        let progress = known.filter(|_| found.is_none()).unwrap_or(begun);
        self.note_progress(restored, progress, bounds)?;
        Ok(found)
    }

    /// Adds the newest rows to `progress`, and keeps it.
    fn note_progress(
        &mut self,
        restored: &RestoredPartition,
        mut progress: SourceProgress,
        bounds: PartitionBounds,
    ) -> Result<(), Fault> {
        let is_longer = bounds.end_offset > progress.next;
        // What an open transaction hides is added once it has ended.
        let is_readable = bounds.stable_end == bounds.end_offset;
        if let Some(fingerprinter) = self.fingerprinter.filter(|_| is_longer && is_readable) {
            let mut take = |input: Input<'_>| {
                let hash = fingerprinter.hash_record(input.key, input.payload.bytes());
                progress.add_anchor(SourceAnchor { offset: input.offset, hash });
            };
            let source_partition = (NO_SOURCE, restored.partition);
            let range = ReadRange::Tail(TAIL_OFFSETS);
            let request = ReadRequest { topic: &restored.topic, source_partition, range };
            let read = self.with_reader(|session| session.read(request, &mut take))?;
            if read == ReadOutcome::Interrupted {
                return Err(Fault::Interrupted);
            }
        }
        progress.next = progress.next.max(bounds.stable_end);
        let place = (restored.role, restored.partition);
        self.restored_progress.insert(place, progress);
        Ok(())
    }
}

impl RestoredPartition {
    fn finding(&self, detail: String) -> ContinuityFinding {
        ContinuityFinding {
            subject: self.topic.clone(),
            partition: self.partition,
            kind: self.role.finding_kind(),
            detail,
        }
    }

    fn compare(
        &self,
        progress: &SourceProgress,
        snapshot: &SourceSnapshot,
    ) -> Option<ContinuityFinding> {
        let marked = MarkedSource {
            topic: &self.topic,
            partition: self.partition,
            progress,
            retention: SourceRetention::Compacted,
            mark_number: 0,
        };
        let found = compare_source(&marked, snapshot).into_iter().next()?;
        Some(self.finding(found.detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::continuity::AnchorContent;

    /// What is found in a partition that ended at 10, with rows at the offsets 2 and 8.
    fn find(role: TopicRole, change: impl FnOnce(&mut SourceSnapshot)) -> Option<FindingKind> {
        let restored = RestoredPartition { role, topic: "zeef.patrons".to_owned(), partition: 3 };
        let mut progress = SourceProgress { next: 10, ..SourceProgress::default() };
        for offset in [2, 8] {
            progress.add_anchor(SourceAnchor { offset, hash: offset.unsigned_abs() });
        }
        let anchors = progress.anchors.iter();
        let mut snapshot = SourceSnapshot {
            end_offset: 10,
            anchor_contents: anchors
                .map(|anchor| (anchor.offset, AnchorContent::Record(anchor.hash)))
                .collect(),
            ..SourceSnapshot::default()
        };
        change(&mut snapshot);
        let found = restored.compare(&progress, &snapshot)?;
        assert_eq!((found.subject.as_str(), found.partition), ("zeef.patrons", 3));
        Some(found.kind)
    }

    #[test]
    fn restored_topic_that_grew_or_was_compacted_is_no_finding() {
        for role in [TopicRole::State, TopicRole::Patrons] {
            assert_eq!(find(role, |_| {}), None);
            assert_eq!(find(role, |snapshot| snapshot.end_offset = 4_000), None);
            let compact = |snapshot: &mut SourceSnapshot| {
                snapshot.anchor_contents.insert(2, AnchorContent::NoRecord);
                snapshot.anchor_contents.insert(8, AnchorContent::NoRecord);
            };
            assert_eq!(find(role, compact), None);
        }
    }

    #[test]
    fn restored_topic_that_is_another_one_is_a_finding() {
        let kinds = [
            (TopicRole::State, FindingKind::StateMissing),
            (TopicRole::Patrons, FindingKind::ErasuresLost),
        ];
        for (role, kind) in kinds {
            let empty = |snapshot: &mut SourceSnapshot| *snapshot = SourceSnapshot::default();
            assert_eq!(find(role, empty), Some(kind));
            let cut = |snapshot: &mut SourceSnapshot| {
                snapshot.start_offset = 1;
            };
            assert_eq!(find(role, cut), Some(kind));
            let longer = |snapshot: &mut SourceSnapshot| {
                snapshot.end_offset = 12;
                snapshot.anchor_contents.insert(2, AnchorContent::Record(77));
            };
            assert_eq!(find(role, longer), Some(kind));
        }
    }
}
