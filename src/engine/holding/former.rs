//! What recipients have that are no longer served, or not on a topic any more.
//!
//! Nothing new is sent to them, and no answer of a gate is for them: what they
//! have stays, until its patron is erased or the config says that it is to be
//! taken back.

use super::change::Change;
use super::{Holding, push_null};
use crate::engine::gates::Refusal;
use crate::engine::lane::Lane;
use crate::engine::state::{Entries, Entry, PatronRef, Row};
use crate::policy::former::What;
use crate::policy::reason::Reason;
use crate::transport::Outbox;

/// What becomes of an entry.
pub(super) enum Left {
    /// It stays as it is.
    Stays,
    /// It was taken back, and this is left of it.
    TakenBack(Entry),
}

/// Takes back an entry of a former recipient, where the reason is one for that.
pub(super) fn take_back(
    lane: &Lane,
    (known, row): (&Entry, &Row),
    change: &Change,
    outbox: &mut Outbox,
) -> Left {
    let removed = change.refusal.reason == Reason::RecipientRemoved;
    // Served there again, its recipient has it as its own.
    let mut own = row.entries.iter().filter(|one| lane.serves(one.recipient));
    let is_own = removed && own.any(|one| one.is_output_of(known));
    let former = lane.former_at(known.recipient);
    let is_meant = match change.refusal.reason {
        Reason::PatronErased => true,
        Reason::RecipientRemoved => former.is_some_and(|one| one.what == What::Retract),
        _ => false,
    };
    if !is_meant {
        return Left::Stays;
    }
    if !is_own {
        push_null(outbox, known);
    }
    Left::TakenBack(change.ended(known.recipient))
}

/// Adds what former recipients have of a record to the entries that it gets now.
/// What is about another patron than the record now is taken back.
pub(super) fn carry(
    lane: &Lane,
    (before, patron): (&Row, PatronRef),
    entries: &mut Entries,
    outbox: &mut Outbox,
) {
    let known = before.entries.iter();
    for known in known.filter(|known| !lane.serves(known.recipient) && known.lives()) {
        if entries.has(known) {
            // Its recipient is served there again, and has it as its own.
        } else if before.patron == patron {
            entries.keep(*known, before);
        } else {
            push_null(outbox, known);
        }
    }
}

impl Holding {
    /// Finds what is to be taken back of former recipients in a partition. Returns
    /// of how many records.
    pub(in crate::engine) fn take_back_former(&mut self, lane: &Lane, partition: i32) -> usize {
        if lane.former.is_empty() {
            return 0;
        }
        let meant = |entry: &Entry| {
            let former = lane.former_at(entry.recipient);
            entry.is_sent() && former.is_some_and(|one| one.what == What::Retract)
        };
        let rows = self.state.rows(partition);
        let found = rows.filter(|(_, row)| row.entries.iter().any(meant));
        let refusal = Refusal::lasting(Reason::RecipientRemoved);
        let before = self.back.len();
        self.back
            .extend(found.map(|(key, _)| ((partition, key), refusal)));
        self.back.len() - before
    }
}
