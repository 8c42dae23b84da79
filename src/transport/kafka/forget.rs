//! Makes a lane start over on purpose: removes what it knows of its recipients, who keep
//! what they have.
//!
//! Only while nobody runs the lane. The state is a compacted topic from which Kafka deletes
//! no records, so each key gets a null, the mark last. If interrupted it has to be run
//! again, and no run starts before that.

use std::collections::{BTreeMap, BTreeSet};

use rdkafka::error::RDKafkaErrorCode;

use super::publish::{PublishError, Publisher};
use super::read_topic::read_rows;
use super::settings::KafkaSettings;
use super::topics::{
    TopicError, count_group_members, delete_group, require_no_members, sum_end_offsets,
};
use crate::message::continuity::{ContinuityMark, MARK_ROW_KEY};

/// Why a lane cannot be forgotten.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// What is known of a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneContents {
    /// Keys of the live state rows, by partition.
    state_row_keys: BTreeMap<i32, BTreeSet<Vec<u8>>>,
    /// Outputs of each recipient, by the marks.
    pub outputs_by_recipient: BTreeMap<String, u64>,
    /// Partitions with rows but no readable mark.
    pub unmarked_partitions: usize,
    /// The sum of the outputs' end offsets.
    pub output_end_total: i64,
}

impl LaneContents {
    /// Returns the number of state rows, marks and other entries included.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.state_row_keys.values().map(BTreeSet::len).sum()
    }

    fn read_marks(&mut self, marks: &BTreeMap<i32, Vec<u8>>) {
        for partition in self.state_row_keys.keys() {
            let text = marks.get(partition);
            // Shown without verification, as there is no key.
            let mark = text.and_then(|text| serde_json::from_slice::<ContinuityMark>(text).ok());
            let Some(mark) = mark else {
                self.unmarked_partitions += 1;
                continue;
            };
            for (recipient, topics) in mark.has {
                *self.outputs_by_recipient.entry(recipient).or_default() +=
                    topics.values().sum::<u64>();
            }
        }
    }
}

/// Inspects the state of a lane and the topics of its outputs.
///
/// # Errors
///
/// [`TopicError::StillRunning`] if its group has members, or Kafka does not answer.
pub fn inspect_lane(
    settings: &KafkaSettings,
    lane: &str,
    state: &str,
    outputs: &[String],
) -> Result<LaneContents, ForgetError> {
    require_no_members(settings, &settings.group_id(lane))?;
    let mut contents = LaneContents::default();
    let mut marks = BTreeMap::new();
    read_rows(settings, state, &mut |row| {
        let partition = row.partition.unwrap_or_default();
        let keys = contents.state_row_keys.entry(partition).or_default();
        let key = row.key.unwrap_or_default();
        match row.value {
            Some(value) => {
                keys.insert(key.to_vec());
                if key == MARK_ROW_KEY {
                    marks.insert(partition, value.to_vec());
                }
            }
            None => drop(keys.remove(key)),
        }
    })?;
    contents.state_row_keys.retain(|_, keys| !keys.is_empty());
    contents.read_marks(&marks);
    contents.output_end_total = sum_end_offsets(settings, outputs)?;
    Ok(contents)
}

/// Removes the group's offsets and all live state rows.
///
/// # Errors
///
/// [`TopicError::StillRunning`] if a process joined meanwhile; nothing is removed then.
/// Any other error: run it again.
pub fn forget_lane(
    settings: &KafkaSettings,
    lane: &str,
    state: &str,
    contents: &LaneContents,
) -> Result<(), ForgetError> {
    let group = settings.group_id(lane);
    match delete_group(settings, &group) {
        Err(TopicError::Group { code: RDKafkaErrorCode::NonEmptyGroup, .. }) => {
            let members = count_group_members(settings, &group)?;
            return Err(TopicError::StillRunning { group, members }.into());
        }
        deleted => deleted?,
    }
    let publisher = Publisher::open(settings.clone(), &[state].into())?;
    for (partition, keys) in &contents.state_row_keys {
        let (marks, rows): (Vec<_>, Vec<_>) = keys.iter().partition(|key| *key == MARK_ROW_KEY);
        for key in rows.into_iter().chain(marks) {
            publisher.send_tombstone(state, *partition, key)?;
        }
    }
    Ok(publisher.flush()?)
}
