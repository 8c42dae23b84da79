//! One row: where a record lies, and how it stands with each recipient.

use super::PatronRef;
use crate::policy::reason::Reason;

/// How one record stands with the recipients that it matters to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub patron: PatronRef,
    pub source: u16,
    pub offset: i64,
    /// The time of the batch that first decided the record.
    pub first_ms: i64,
    /// When time alone may change what is decided; [`i64::MAX`] where never.
    pub due_ms: i64,
    /// By recipient, none of them twice.
    pub entries: Box<[Entry]>,
    /// The entries of recipients that the lane does not have, as they were
    /// written: kept for the day when somebody asks for them.
    pub others: Option<Box<str>>,
}

/// How one record stands with one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The output's key as it was sent.
    pub key: u128,
    /// Of the output that the recipient has.
    pub hash: u64,
    /// Of what else than the record decided: patron, consents, objections, policy.
    pub facts: u64,
    /// When the recipient's term is over.
    pub until_ms: i64,
    /// The place of the recipient in the lane.
    pub recipient: u16,
    /// The output's topic.
    pub output: u16,
    pub outcome: Outcome,
    /// Why it is not released, or was taken back.
    pub reason: Option<Reason>,
    /// Something else than a new version of the record may change it.
    pub owed: bool,
}

/// What a recipient's entry costs over its row (DESIGN: at most 48 bytes).
const _: () = assert!(size_of::<Entry>() <= 48);

/// What was decided last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The recipient has it.
    Released,
    /// It never had it, but may be owed it.
    Withheld,
    /// It waits for its patron.
    Held,
    /// It had it.
    Retracted,
    /// It has it lawfully, and zeef knows no more of it than its key.
    Forgotten,
}

impl Entry {
    /// An entry of a recipient that has nothing.
    #[must_use]
    pub fn without(recipient: u16, outcome: Outcome, reason: Option<Reason>) -> Entry {
        Entry {
            key: 0,
            hash: 0,
            facts: 0,
            until_ms: i64::MAX,
            recipient,
            output: 0,
            outcome,
            reason,
            owed: true,
        }
    }

    /// Whether the recipient has an output, as far as zeef knows.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        matches!(self.outcome, Outcome::Released | Outcome::Forgotten)
    }

    /// Whether it has to be known for what comes.
    #[must_use]
    pub fn lives(&self) -> bool {
        match self.outcome {
            Outcome::Released | Outcome::Held | Outcome::Forgotten => true,
            Outcome::Withheld | Outcome::Retracted => self.owed,
        }
    }
}

impl Row {
    /// Whether some entry has to be known for what comes.
    #[must_use]
    pub fn lives(&self) -> bool {
        self.entries.iter().any(Entry::lives)
    }

    #[must_use]
    pub fn is_held(&self) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.outcome == Outcome::Held)
    }

    #[must_use]
    pub fn entry(&self, recipient: u16) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.recipient == recipient)
    }
}
