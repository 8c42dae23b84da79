//! Recipients that move to another lane together with what they have.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::LoadedConfig;
use crate::config::settings::MAIN_LANE;
use crate::engine::memory::deliveries::lane_move::{StoredPartition, WrittenRows, move_entries};
use crate::engine::memory::deliveries::row_json::RowError;
use crate::message::continuity::{ContinuityMark, Fingerprinter};
use crate::policy::former_recipient::{recipient_of_state_name, state_name_at_topic};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneMove {
    pub recipient: String,
    pub from: String,
    pub to: String,
}

/// What to do in one partition of all states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneMovePlan {
    /// Outputs of each moved recipient.
    pub output_counts: BTreeMap<LaneMove, u64>,
    /// By lane.
    pub row_writes: BTreeMap<String, WrittenRows>,
}

/// Returns the lane that has a name of a lane's state: the one that serves the recipient, or the
/// one that serves its former topic to another one.
pub(super) fn serving_lane<'a>(
    loaded: &'a LoadedConfig,
    lane: &'a str,
    name: &str,
) -> Option<&'a str> {
    let lanes = &loaded.daemon.lanes;
    let recipient = recipient_of_state_name(name);
    if let Some(serving) = loaded.lane_of(recipient) {
        return Some(serving);
    }
    let is_meant =
        |topic: &&str| name == recipient || name == state_name_at_topic(recipient, topic);
    let mut topics = loaded.policy.former_topics(recipient).filter(is_meant);
    let lane_of_topic = |topic| loaded.lane_of(&loaded.policy.recipient_on_topic(topic)?.name);
    if let Some(serving) = topics.find_map(lane_of_topic) {
        return Some(serving);
    }
    let named = |wanted: &str| lanes.iter().find(|one| one.name == wanted);
    let found = named(lane).or_else(|| named(MAIN_LANE));
    found.or(lanes.first()).map(|lane| &*lane.name)
}

/// Returns whether a lane's mark has outputs that belong to another lane.
#[must_use]
pub fn has_outputs_of_other_lane(loaded: &LoadedConfig, lane: &str, mark: &ContinuityMark) -> bool {
    let is_elsewhere =
        |name: &String| serving_lane(loaded, lane, name).is_some_and(|home| home != lane);
    mark.has.keys().any(is_elsewhere)
}

/// Moves everybody in one partition to where the config has them. `stored_partitions` are
/// by lane, and are updated.
///
/// # Errors
///
/// A [`RowError`] for an unreadable row.
pub fn move_to_serving_lanes(
    loaded: &LoadedConfig,
    fingerprinter: &Fingerprinter,
    stored_partitions: &mut BTreeMap<String, StoredPartition>,
) -> Result<LaneMovePlan, RowError> {
    let mut done = LaneMovePlan::default();
    let lanes: Vec<String> = stored_partitions.keys().cloned().collect();
    for from in &lanes {
        let mut goes = BTreeMap::<String, BTreeSet<String>>::new();
        for name in stored_partitions[from].recipient_names() {
            if let Some(to) = serving_lane(loaded, from, &name).filter(|to| to != from) {
                goes.entry(to.to_owned()).or_default().insert(name);
            }
        }
        for (to, names) in goes {
            let mut one = stored_partitions.remove(from).unwrap_or_default();
            let mut other = stored_partitions.remove(&to).unwrap_or_default();
            for name in &names {
                let has = one.mark().and_then(|mark| mark.has.get(name));
                let count = has.into_iter().flatten().map(|(_, count)| count).sum();
                let moved =
                    LaneMove { recipient: name.clone(), from: from.clone(), to: to.clone() };
                done.output_counts.insert(moved, count);
            }
            let (left, come) = move_entries(fingerprinter, (&mut one, &mut other), &names)?;
            done.row_writes.entry(from.clone()).or_default().extend(left);
            done.row_writes.entry(to.clone()).or_default().extend(come);
            stored_partitions.insert(from.clone(), one);
            stored_partitions.insert(to, other);
        }
    }
    done.row_writes.retain(|_, written| !written.is_empty());
    Ok(done)
}
