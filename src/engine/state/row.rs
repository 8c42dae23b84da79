//! One row: where a record lies, and how it stands with each recipient.

use super::PatronRef;
use crate::policy::reason::Reason;

/// The place of a source that the lane does not have.
pub const FOREIGN: u16 = u16::MAX;

/// How one record stands with the recipients that it matters to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub patron: PatronRef,
    /// Its place in the lane; [`FOREIGN`] where the lane does not have it.
    pub source: u16,
    pub offset: i64,
    /// When the record was first decided for its recipients, but for those of
    /// [`More::firsts`]: the time of that batch.
    pub first_ms: i64,
    /// When time alone may change what is decided; [`i64::MAX`] where never.
    pub due_ms: i64,
    /// By recipient, none of them twice.
    pub entries: Box<[Entry]>,
    pub more: Option<Box<More>>,
}

/// What few rows have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct More {
    /// Recipients for which the record was first decided at another time than
    /// for the first of them: their entries ended and came again.
    pub firsts: Vec<(u16, i64)>,
    /// The entries of recipients that the lane does not have, as they were
    /// written: kept for the day when somebody asks for them.
    pub others: Option<Box<str>>,
    /// The kind of a record whose source the lane does not have.
    pub kind: Option<Box<str>>,
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
    /// Of what is released: when the recipient's term is over, [`i64::MAX`]
    /// where never. Of what is held: since when.
    pub time_ms: i64,
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

/// What a recipient's entry costs over its row.
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

/// What a recipient with a period is to get, or to lose, in a later run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// Another output than it has.
    Output,
    /// What it has is to be taken back.
    Retraction(Reason),
}

impl Entry {
    /// An entry of a recipient that has nothing.
    #[must_use]
    pub fn without(recipient: u16, outcome: Outcome, reason: Option<Reason>) -> Entry {
        Entry {
            key: 0,
            hash: 0,
            facts: 0,
            time_ms: i64::MAX,
            recipient,
            output: 0,
            outcome,
            reason,
            owed: true,
        }
    }

    /// An entry of a recipient that has nothing, and gets what is decided with the
    /// next period.
    #[must_use]
    pub fn unpublished(decided: &Entry) -> Entry {
        Entry {
            key: decided.key,
            ..Entry::without(
                decided.recipient,
                Outcome::Withheld,
                Some(Reason::Unpublished),
            )
        }
    }

    /// What waits for a run that publishes, where something does: only of recipients
    /// with a period.
    #[must_use]
    pub fn pending(&self) -> Option<Pending> {
        match (self.outcome, self.reason?) {
            (Outcome::Released | Outcome::Forgotten | Outcome::Withheld, Reason::Unpublished) => {
                Some(Pending::Output)
            }
            (Outcome::Released, reason) => Some(Pending::Retraction(reason)),
            (Outcome::Forgotten, Reason::PatronErased) => {
                Some(Pending::Retraction(Reason::PatronErased))
            }
            _ => None,
        }
    }

    /// Whether the recipient has an output, as far as zeef knows.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        matches!(self.outcome, Outcome::Released | Outcome::Forgotten)
    }

    /// Whether the recipient has the very output that is of another entry, too.
    #[must_use]
    pub fn is_output_of(&self, other: &Entry) -> bool {
        self.is_sent() && other.is_sent() && (self.output, self.key) == (other.output, other.key)
    }

    /// When the term of the recipient is over that has it.
    #[must_use]
    pub fn until_ms(&self) -> i64 {
        match self.outcome {
            Outcome::Released => self.time_ms,
            _ => i64::MAX,
        }
    }

    /// Since when it is held.
    #[must_use]
    pub fn held_ms(&self) -> Option<i64> {
        (self.outcome == Outcome::Held).then_some(self.time_ms)
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
    /// Whether some entry has to be known for what comes, or somebody may ask for
    /// it one day.
    #[must_use]
    pub fn lives(&self) -> bool {
        self.entries.iter().any(Entry::lives) || self.others().is_some()
    }

    #[must_use]
    pub fn is_held(&self) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.outcome == Outcome::Held)
    }

    /// When the record was first decided for a recipient, for as long as
    /// something had to be known of that.
    #[must_use]
    pub fn first_ms(&self, recipient: u16) -> Option<i64> {
        let lives = self.entry(recipient).is_some_and(Entry::lives);
        lives.then(|| self.first_of(recipient))
    }

    /// The same of an entry that lives.
    pub(super) fn first_of(&self, recipient: u16) -> i64 {
        let firsts = self.more.as_ref().map_or(&[][..], |more| &more.firsts);
        let found = firsts.iter().find(|(one, _)| *one == recipient);
        found.map_or(self.first_ms, |(_, first_ms)| *first_ms)
    }

    /// The entries of recipients that the lane does not have.
    #[must_use]
    pub fn others(&self) -> Option<&str> {
        self.more.as_ref()?.others.as_deref()
    }

    /// The kind of its record, where the lane does not have the source.
    #[must_use]
    pub fn foreign_kind(&self) -> Option<&str> {
        self.more.as_ref()?.kind.as_deref()
    }

    /// The row with other entries, those of recipients that the lane has.
    #[must_use]
    pub fn with(&self, entries: Entries) -> Row {
        entries.row(Row {
            more: self.more.clone(),
            entries: Box::default(),
            ..*self
        })
    }

    #[must_use]
    pub fn entry(&self, recipient: u16) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.recipient == recipient)
    }
}

/// The entries of a row that is made.
#[derive(Debug, Default)]
pub struct Entries {
    entries: Vec<Entry>,
    /// Of the first one that lives.
    first_ms: Option<i64>,
    /// Of those that live and differ from it.
    firsts: Vec<(u16, i64)>,
}

impl Entries {
    #[must_use]
    pub fn with_capacity(entries: usize) -> Entries {
        Entries {
            entries: Vec::with_capacity(entries),
            ..Entries::default()
        }
    }

    /// Adds an entry, and when the record was first decided for it; recipients
    /// come in their order.
    pub fn push(&mut self, entry: Entry, first_ms: i64) {
        if entry.lives() && first_ms != *self.first_ms.get_or_insert(first_ms) {
            self.firsts.push((entry.recipient, first_ms));
        }
        self.entries.push(entry);
    }

    /// Whether one of them is of the same output.
    #[must_use]
    pub fn has(&self, output: &Entry) -> bool {
        self.entries.iter().any(|entry| entry.is_output_of(output))
    }

    /// Adds an entry of `row`, or what became of it.
    pub fn keep(&mut self, entry: Entry, row: &Row) {
        self.push(entry, row.first_of(entry.recipient));
    }

    /// Puts the entries into a row, in place of its own.
    #[must_use]
    pub fn row(self, mut row: Row) -> Row {
        let more = row.more.take().map(|more| *more).unwrap_or_default();
        let (others, kind) = (more.others, more.kind);
        if others.is_some() || kind.is_some() || !self.firsts.is_empty() {
            let firsts = self.firsts;
            row.more = Some(Box::new(More {
                firsts,
                others,
                kind,
            }));
        }
        row.first_ms = self.first_ms.unwrap_or(row.first_ms);
        row.entries = self.entries.into();
        row
    }
}
