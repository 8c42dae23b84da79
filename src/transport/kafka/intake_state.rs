//! What an intake that compares versions needs of its sources and its state: one worker for each
//! partition number of a kind's sources, and a state that only grows.

use std::collections::{BTreeMap, BTreeSet};

use super::KafkaTransport;
use super::source::{KafkaSource, SourcePartition};
use crate::message::continuity::ContinuityFinding;
use crate::message::{Fault, LanePlan, SourceId};

/// Returns the sources of each kind whose versions are compared.
///
/// # Errors
///
/// [`Fault::Stop`] if those of a kind have different numbers of partitions.
pub(super) fn resolve_versioned_sources(
    plan: &LanePlan,
    sources: &[KafkaSource],
) -> Result<Vec<BTreeSet<SourceId>>, Fault> {
    let groups = plan.intake.iter().flat_map(|intake| &intake.versioned_sources);
    groups
        .map(|topics| {
            let of_group: Vec<&KafkaSource> =
                sources.iter().filter(|source| topics.contains(&source.topic)).collect();
            let counts = of_group.iter().map(|one| (one.topic.as_str(), one.partition_count));
            match find_unequal_partitions(counts) {
                Some(refusal) => Err(Fault::stop(refusal)),
                None => Ok(of_group.into_iter().map(|source| source.id).collect()),
            }
        })
        .collect()
}

/// Says that topics of a kind have different numbers of partitions, if they have.
#[must_use]
pub fn find_unequal_partitions<'a>(
    counts: impl Iterator<Item = (&'a str, i32)> + Clone,
) -> Option<String> {
    let least = counts.clone().min_by_key(|(_, count)| *count)?;
    let most = counts.max_by_key(|(_, count)| *count)?;
    (least.1 != most.1).then(|| {
        format!(
            "topic `{}` has {} partitions, and `{}` {}: the topics of a kind with `newer_by` need \
             the same number, so that one worker compares all versions of a record",
            least.0, least.1, most.0, most.1
        )
    })
}

impl KafkaTransport {
    /// The sources whose records have versions; none without a state.
    pub(super) fn versioned_sources(&self) -> impl Iterator<Item = SourceId> {
        self.versioned_sources.iter().flatten().copied()
    }

    /// Leaves if the sources of a kind were assigned in different partitions: not all members
    /// have the same topics yet.
    pub(super) fn check_versioned_assignment(
        &self,
        owned: &BTreeSet<SourcePartition>,
    ) -> Result<(), Fault> {
        let numbers = |source: SourceId| -> BTreeSet<i32> {
            owned.iter().filter(|place| place.0 == source).map(|place| place.1).collect()
        };
        for group in &self.versioned_sources {
            let mut all = group.iter().map(|source| numbers(*source));
            let first = all.next().unwrap_or_default();
            if all.any(|other| other != first) {
                return Err(Fault::transport_lost(
                    "other members of the group do not read all topics yet",
                ));
            }
        }
        Ok(())
    }

    /// See [`Transport::marked_positions`](crate::transport::Transport::marked_positions). Also
    /// notes how to recognise that partition of the state from now on.
    pub(super) fn fetch_marked_positions(
        &mut self,
        partition: i32,
    ) -> Result<BTreeMap<String, i64>, Fault> {
        self.compare_restored_topics(partition, None)?;
        let committed = self.continuity_check.committed_offsets.iter();
        let marked = committed.filter_map(|(place, found)| {
            found.metadata.filter(|_| place.1 == partition)?;
            let source = self.group_consumer.find_source(place.0)?;
            Some((source.unprefixed_name.clone(), found.offset))
        });
        Ok(marked.collect())
    }

    /// Stops if the state lost rows, or is another one, since it was read.
    pub(super) fn check_intake_state(&mut self) -> Result<(), Fault> {
        if self.versioned_sources.is_empty() {
            return Ok(());
        }
        let owned: BTreeSet<i32> =
            self.group_consumer.all_owned().map(|part| part.source_partition.1).collect();
        for partition in owned {
            let findings = self.find_restored_changes(partition)?;
            if let Some(ContinuityFinding { subject, detail, .. }) = findings.into_iter().next() {
                return Err(Fault::stop(format!(
                    "topic `{subject}` partition {partition}: {detail}; an older version would \
                     count as a new one"
                )));
            }
        }
        Ok(())
    }
}
