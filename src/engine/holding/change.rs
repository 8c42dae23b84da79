//! What becomes of a recipient's entry that may not have a record.

use super::push_null;
use crate::engine::gates::Refusal;
use crate::engine::state::{Entry, Outcome};
use crate::policy::reason::Reason;
use crate::policy::recipient::After;
use crate::transport::Outbox;

/// What becomes of a recipient's entry when it may not have a record.
pub(super) struct Change {
    pub(super) refusal: Refusal,
    pub(super) facts: u64,
    pub(super) after: After,
    pub(super) now_ms: i64,
    /// What is taken back waits for a later run.
    pub(super) waits: bool,
}

/// What it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    Retracted,
    Withheld,
    Held,
    Forgotten,
}

impl Change {
    /// Returns what is left of an entry that was taken back for good.
    pub(super) fn ended(&self, recipient: u16) -> Entry {
        let reason = Some(self.refusal.reason);
        let mut entry = Entry::without(recipient, Outcome::Retracted, reason);
        entry.owed = false;
        entry.facts = self.facts;
        entry
    }

    pub(super) fn of(
        &self,
        recipient: u16,
        known: Option<&Entry>,
        outbox: &mut Outbox,
    ) -> (Option<Entry>, Count) {
        let Refusal { reason, owed, .. } = self.refusal;
        let has = known.filter(|entry| entry.outcome == Outcome::Released);
        let forgotten = known.filter(|entry| entry.outcome == Outcome::Forgotten);
        if let Some(entry) = forgotten
            && reason != Reason::PatronErased
        {
            return (Some(*entry), Count::Withheld);
        }
        if let Some(entry) = has
            && reason == Reason::Lapsed
            && self.after == After::Forget
        {
            let mut entry = *entry;
            entry.outcome = Outcome::Forgotten;
            entry.reason = Some(reason);
            entry.hash = 0;
            entry.time_ms = i64::MAX;
            entry.facts = 0;
            return (Some(entry), Count::Forgotten);
        }
        let sent = has.or(forgotten);
        if let Some(entry) = sent.filter(|_| self.waits) {
            let mut entry = *entry;
            entry.reason = Some(reason);
            entry.owed = owed;
            entry.facts = self.facts;
            return (Some(entry), Count::Withheld);
        }
        if let Some(entry) = sent {
            push_null(outbox, entry);
        }
        let taken_back = sent.is_some();
        let waits = reason == Reason::PatronUnknown && owed;
        let outcome = if waits {
            Outcome::Held
        } else if taken_back {
            Outcome::Retracted
        } else {
            Outcome::Withheld
        };
        let mut entry = Entry::without(recipient, outcome, Some(reason));
        entry.owed = owed;
        entry.facts = self.facts;
        if waits {
            let held_ms = known.and_then(Entry::held_ms);
            entry.time_ms = held_ms.unwrap_or(self.now_ms);
        }
        let before = known.filter(|known| known.outcome == Outcome::Retracted);
        if let (Some(before), Outcome::Withheld) = (before, outcome) {
            // It still says why it was taken back.
            entry.outcome = Outcome::Retracted;
            entry.reason = before.reason;
        }
        let count = match (taken_back, waits) {
            (true, _) => Count::Retracted,
            (false, true) => Count::Held,
            (false, false) => Count::Withheld,
        };
        let tells = entry.lives() || entry.outcome == Outcome::Retracted;
        (tells.then_some(entry), count)
    }
}
