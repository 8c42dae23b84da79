//! What recipients have that are no longer served, or not on a topic any more.
//!
//! Nothing new is sent to them and no gate judges for them: what they have stays until
//! its patron is erased or the config says that it is to be retracted.

use super::apply::RowUpdate;
use super::transition::Effect;
use super::{DeliveryTracker, Retraction};
use crate::engine::batch::Batch;
use crate::engine::lane::Lane;
use crate::engine::lane::gates::Refusal;
use crate::engine::memory::deliveries::{DeliveryEntry, DeliveryOutcome, DeliveryRow, PatronHash};
use crate::policy::former_recipient::FormerAction;
use crate::policy::reason::Reason;

impl RowUpdate<'_> {
    /// Retracts an entry of a former recipient if the reason is one for that; else keeps
    /// it.
    pub(crate) fn end_former_entry(
        &mut self,
        batch: &mut Batch<'_>,
        row: &DeliveryRow,
        (had, reason): (&DeliveryEntry, Reason),
    ) {
        let lane = batch.lane;
        let is_due = match reason {
            Reason::PatronErased => true,
            Reason::RecipientRemoved => is_to_retract(lane, had),
            _ => false,
        };
        if !is_due {
            return self.keep(*had);
        }
        // Served there again, its recipient has the output as its own.
        let mut served = row.entries.iter().filter(|one| lane.serves_recipient(one.recipient));
        let is_served_there =
            reason == Reason::RecipientRemoved && served.any(|one| one.has_same_output(had));
        if !is_served_there {
            self.apply(batch, had, Effect::Retract(reason));
        }
        let retracted = DeliveryOutcome::Retracted;
        let mut entry = DeliveryEntry::without_output(had.recipient, retracted, Some(reason));
        entry.may_change = false;
        self.keep(entry);
    }

    /// Keeps what former recipients have of a record that was decided; retracts it if the
    /// record is another patron's now.
    pub(crate) fn carry_former_entries(
        &mut self,
        batch: &mut Batch<'_>,
        row_before: &DeliveryRow,
        patron: PatronHash,
    ) {
        let lane = batch.lane;
        let is_former =
            |had: &&DeliveryEntry| !lane.serves_recipient(had.recipient) && had.is_live();
        for had in row_before.entries.iter().filter(is_former) {
            if self.entries.has_output_of(had) {
                // Its recipient is served there again, and has the output as its own.
            } else if row_before.patron == patron {
                self.keep(*had);
            } else {
                self.apply(batch, had, Effect::Retract(Reason::RecipientRemoved));
            }
        }
    }
}

/// Whether what a former recipient has is to be retracted, as the config says.
fn is_to_retract(lane: &Lane, had: &DeliveryEntry) -> bool {
    let former = lane.former_recipient(had.recipient);
    former.is_some_and(|one| one.action == FormerAction::Retract)
}

impl DeliveryTracker {
    /// Queues what is to be retracted from former recipients in a partition. Returns of
    /// how many records.
    pub(in crate::engine) fn queue_former_retractions(
        &mut self,
        lane: &Lane,
        partition: i32,
    ) -> usize {
        if lane.former_recipients.is_empty() {
            return 0;
        }
        let is_due = |entry: &DeliveryEntry| entry.is_sent() && is_to_retract(lane, entry);
        let rows = self.state.rows(partition);
        let found = rows.filter(|(_, row)| row.entries.iter().any(is_due));
        let refusal = Refusal::permanent(Reason::RecipientRemoved);
        let before = self.retraction_queue.len();
        self.retraction_queue.extend(found.map(|(key, _)| Retraction { partition, key, refusal }));
        self.retraction_queue.len() - before
    }
}
