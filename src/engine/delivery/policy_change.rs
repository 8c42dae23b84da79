//! Re-evaluates every record of a partition after a policy change.
//!
//! The partition's mark says under which policy its records were decided. Rows do not
//! suffice: a record that was finally decided has none.

use std::collections::HashMap;

use super::{DeliveryTracker, RecheckRequest};
use crate::engine::batch::Trigger;
use crate::engine::lane::{Lane, LaneSource};
use crate::engine::memory::deliveries::{DeliveryEntry, DeliveryRow, RowKey};
use crate::engine::memory::patrons::{PatronRow as Patron, PatronStatus, PatronTable};
use crate::message::{Coordinates, SourceId};
use crate::policy::catalogue::Role;

/// The records that are to be decided again.
#[derive(Debug, Default)]
pub(crate) struct Reevaluation {
    /// Where the versions of each record of a source lie.
    latest_offsets: HashMap<RowKey, VersionOffsets, foldhash::fast::RandomState>,
    /// In descending order: the next ones are taken from the end.
    remaining: Vec<RecheckRequest>,
    /// How many of them, from the end, the batch has taken.
    taken_count: usize,
    /// The requested rechecks are some of them: all recipients are asked.
    pub(crate) is_active: bool,
}

/// The offsets that decide about a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VersionOffsets {
    /// Of the last version that was not gone, or of the last one where there is none.
    fields: i64,
    /// Of the last version, if it says that the record is gone.
    gone: Option<i64>,
}

impl VersionOffsets {
    fn of_row(row: &DeliveryRow) -> VersionOffsets {
        VersionOffsets { fields: row.offset, gone: row.gone_offset() }
    }

    fn latest(self) -> i64 {
        self.gone.unwrap_or(self.fields)
    }
}

impl Reevaluation {
    pub(crate) fn remaining_count(&self) -> usize {
        self.remaining.len() - self.taken_count
    }

    /// Takes the next `count` records, in ascending order.
    pub(crate) fn take_next(&mut self, count: usize) -> impl Iterator<Item = RecheckRequest> {
        let end = self.remaining_count();
        let start = end.saturating_sub(count);
        self.taken_count += end - start;
        self.remaining[start..end].iter().rev().copied()
    }

    pub(crate) fn commit(&mut self) {
        self.remaining.truncate(self.remaining_count());
        self.taken_count = 0;
    }

    /// Puts back what the batch took.
    pub(crate) fn rollback(&mut self) {
        self.latest_offsets.clear();
        self.taken_count = 0;
    }

    pub(crate) fn clear(&mut self) {
        *self = Reevaluation::default();
    }
}

impl DeliveryTracker {
    /// Notes the offset of a version of a record; they come in order.
    pub(in crate::engine) fn collect_for_reevaluation(
        &mut self,
        source: &LaneSource,
        (patron_id, id): (&str, &str),
        (offset, is_gone): (i64, bool),
    ) {
        let key = self.row_key(source, patron_id, id);
        let gone = is_gone.then_some(offset);
        let known = self.reevaluation.latest_offsets.entry(key);
        let version = known.or_insert(VersionOffsets { fields: offset, gone });
        *version = VersionOffsets { fields: if is_gone { version.fields } else { offset }, gone };
    }

    /// Queues the noted records of a source, or the known patrons if it is the patron source.
    /// Returns how many records are queued.
    pub(in crate::engine) fn start_reevaluation(
        &mut self,
        source: &LaneSource,
        partition: i32,
        table: &PatronTable,
    ) -> usize {
        let coordinates_of =
            |offset| Coordinates { source: SourceId(source.index), partition, offset };
        let remaining = &mut self.reevaluation.remaining;
        if source.kind.role == Role::Patron {
            let is_known = |row: &&Patron| matches!(row.status(), PatronStatus::Known(_));
            let patrons = table.rows(partition).filter(is_known);
            remaining.extend(patrons.map(|row| {
                let patron = self.state_keys.patron_hash(row.patron_id());
                let coordinates = coordinates_of(row.offset());
                RecheckRequest { coordinates, key: RowKey(patron.0), gone_offset: None }
            }));
        }
        let latest_offsets = std::mem::take(&mut self.reevaluation.latest_offsets);
        remaining.extend(latest_offsets.into_iter().map(|(key, found)| {
            let of_row = self.state.find(partition, key).map(VersionOffsets::of_row);
            let newer = of_row.filter(|row| row.latest() > found.latest());
            let VersionOffsets { fields, gone } = newer.unwrap_or(found);
            RecheckRequest { coordinates: coordinates_of(fields), key, gone_offset: gone }
        }));
        remaining.sort_unstable_by(|one, other| other.cmp(one));
        remaining.len()
    }

    /// Whether the patron of the record at hand was erased, and compaction took the null: it is
    /// re-evaluated, was not waiting for its patron, and the patron is unknown.
    pub(in crate::engine) fn is_patron_lost(
        &self,
        (lane, table): (&Lane, &PatronTable),
        patron_id: &str,
    ) -> bool {
        let is_known = || table.find(self.current_record.partition, patron_id).is_some();
        self.reevaluation.is_active
            && self.current_record.trigger == Trigger::Recheck
            && self.previous_row().is_some_and(|row| !is_only_held(lane, row))
            && !is_known()
    }
}

/// Whether a record waits for its patron, and no recipient has an output of it that depends on the
/// patron.
pub(crate) fn is_only_held(lane: &Lane, row: &DeliveryRow) -> bool {
    let needs_patron = |entry: &&DeliveryEntry| !lane.ignores_patron(entry.recipient);
    row.is_held() && !row.entries.iter().filter(needs_patron).any(DeliveryEntry::is_sent)
}
