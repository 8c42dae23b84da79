//! A lane that begins anew, on purpose: what it knows of its recipients is
//! removed, and what they have stays with them.
//!
//! Only while nobody runs it. The state is a compacted topic, of which Kafka
//! deletes no records: each key gets a null, the mark last. Killed at any step,
//! it is to be done again, and no start goes on before that.

use std::collections::{BTreeMap, BTreeSet};

use rdkafka::error::RDKafkaErrorCode;

use super::publish::{PublishError, Publisher};
use super::settings::KafkaSettings;
use super::topics::{TopicError, delete_group, ends_of, members_of};
use super::whole::read_whole;
use crate::transport::continuity::{MARK_KEY, Mark};

/// Why a lane cannot be forgotten.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(
        "group `{group}` has {members} members: stop every process of the lane first (a process that \
         was stopped stays a member for its session timeout)"
    )]
    Runs { group: String, members: usize },
}

/// What is known of a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// By partition, the keys of all that lives in the state.
    keys: BTreeMap<i32, BTreeSet<Vec<u8>>>,
    /// By recipient, how many outputs it has by the marks.
    pub has: BTreeMap<String, u64>,
    /// Partitions that have rows and no mark that can be read.
    pub unmarked: usize,
    /// The outputs' end offsets, in all.
    pub offsets: i64,
}

impl Known {
    /// How many rows the state has, its marks and other entries included.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.keys.values().map(BTreeSet::len).sum()
    }

    fn take_marks(&mut self, marks: &BTreeMap<i32, Vec<u8>>) {
        for partition in self.keys.keys() {
            let text = marks.get(partition);
            // Without the key nobody knows whether it is whole; it is shown all the same.
            let mark = text.and_then(|text| serde_json::from_slice::<Mark>(text).ok());
            let Some(mark) = mark else {
                self.unmarked += 1;
                continue;
            };
            for (recipient, topics) in mark.has {
                *self.has.entry(recipient).or_default() += topics.values().sum::<u64>();
            }
        }
    }
}

/// Looks at a lane: at its state with this topic, and the topics of its outputs.
///
/// # Errors
///
/// [`ForgetError::Runs`] while its group has members, or no answer from Kafka.
pub fn look(
    settings: &KafkaSettings,
    lane: &str,
    state: &str,
    outputs: &[String],
) -> Result<Known, ForgetError> {
    let group = settings.group(lane);
    let members = members_of(settings, &group)?;
    if members > 0 {
        return Err(ForgetError::Runs { group, members });
    }
    let mut known = Known::default();
    let mut marks = BTreeMap::new();
    read_whole(settings, state, &mut |row| {
        let partition = row.partition.unwrap_or_default();
        let keys = known.keys.entry(partition).or_default();
        let key = row.key.unwrap_or_default();
        match row.value {
            Some(value) => {
                keys.insert(key.to_vec());
                if key == MARK_KEY {
                    marks.insert(partition, value.to_vec());
                }
            }
            None => drop(keys.remove(key)),
        }
    })?;
    known.keys.retain(|_, keys| !keys.is_empty());
    known.take_marks(&marks);
    known.offsets = ends_of(settings, outputs)?;
    Ok(known)
}

/// Removes the group's offsets and all that lives in the state.
///
/// # Errors
///
/// [`ForgetError::Runs`] where a process joined meanwhile; nothing is removed
/// then. Else no answer from Kafka: to be done again.
pub fn forget(
    settings: &KafkaSettings,
    lane: &str,
    state: &str,
    known: &Known,
) -> Result<(), ForgetError> {
    let group = settings.group(lane);
    match delete_group(settings, &group) {
        Err(TopicError::Group {
            code: RDKafkaErrorCode::NonEmptyGroup,
            ..
        }) => {
            let members = members_of(settings, &group)?;
            return Err(ForgetError::Runs { group, members });
        }
        deleted => deleted?,
    }
    let publisher = Publisher::open(settings.clone(), &[state].into())?;
    for (partition, keys) in &known.keys {
        let (marks, rows): (Vec<_>, Vec<_>) = keys.iter().partition(|key| *key == MARK_KEY);
        for key in rows.into_iter().chain(marks) {
            publisher.send_to(state, Some(*partition), Some(key), None)?;
        }
    }
    Ok(publisher.finish()?)
}
