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
    /// it. The next entries of served recipients must be there.
    pub(crate) fn end_former_entry(
        &mut self,
        batch: &mut Batch<'_>,
        (had, reason): (&DeliveryEntry, Reason),
    ) {
        let is_due = match reason {
            Reason::PatronErased => true,
            Reason::RecipientRemoved => is_to_retract(batch.lane, had),
            _ => false,
        };
        if !is_due {
            return self.keep(*had);
        }
        self.end_former_output(batch, (had, reason));
        let retracted = DeliveryOutcome::Retracted;
        let mut entry = DeliveryEntry::without_output(had.recipient, retracted, Some(reason));
        entry.may_change = false;
        self.keep(entry);
    }

    /// Keeps what former recipients have of a record that was decided. It ends if the record is
    /// another patron's, or if a served recipient has the message now, as its own.
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
            if row_before.patron == patron && !self.is_message_served(lane, had) {
                self.keep(*had);
            } else {
                self.end_former_output(batch, (had, Reason::RecipientRemoved));
            }
        }
    }

    /// Retracts what a former recipient has, unless it is the message of a served recipient now.
    fn end_former_output(&self, batch: &mut Batch<'_>, (had, reason): (&DeliveryEntry, Reason)) {
        if had.is_sent() && !self.is_message_served(batch.lane, had) {
            self.apply(batch, had, Effect::Retract(reason));
        }
    }

    /// Whether a served recipient has the message of an entry, by the next entries.
    fn is_message_served(&self, lane: &Lane, had: &DeliveryEntry) -> bool {
        let is_served = |one: &DeliveryEntry| lane.serves_recipient(one.recipient);
        let mut entries = self.entries.entries().iter();
        entries.any(|one| is_served(one) && lane.is_same_message(one, had))
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
