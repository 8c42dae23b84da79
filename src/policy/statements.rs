//! What is kept of one patron's consents, or objections: found by their ids and
//! by what they are about.
//!
//! Most patrons have a few, which are looked through. Some have very many: then
//! nothing takes longer than a search does.

use std::collections::{BTreeSet, HashMap};

/// What is kept of a record that counts for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// A keyed hash of the record's own id: a later record with it replaces this.
    pub id: u64,
    pub about: About,
    pub decision: Decision,
    /// In nanoseconds since 1970; [`LATEST_NS`] for a refusal without a time.
    pub at_ns: i64,
}

/// What a statement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct About {
    /// [`ALL`] for every purpose.
    pub purpose: u16,
    /// The one recipient that it speaks for; [`ALL`] for every one of the
    /// purpose.
    pub recipient: u16,
    /// Of which library a grant is, as the patron's are numbered; else 0.
    pub library: u16,
}

/// Stands where a statement names no purpose, or no recipient.
pub const ALL: u16 = u16::MAX;

/// What was decided. A withdrawal and an objection are refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    Refusal,
    /// An oral one counts for nothing, so it is none.
    DigitalGrant,
    WrittenGrant,
}

/// Later than any other time.
pub const LATEST_NS: i64 = i64::MAX;

impl About {
    /// What is about every recipient of a purpose.
    #[must_use]
    pub fn purpose(purpose: u16) -> About {
        About {
            purpose,
            recipient: ALL,
            library: 0,
        }
    }

    #[must_use]
    pub fn for_recipient(self, recipient: u16) -> About {
        About { recipient, ..self }
    }

    #[must_use]
    pub fn of_library(self, library: u16) -> About {
        About { library, ..self }
    }
}

/// Statements of one patron and one kind of record.
#[derive(Clone, Debug)]
pub enum Statements {
    Few(Vec<Statement>),
    Many(Box<Index>),
}

/// Statements, by id and by what they are about.
#[derive(Clone, Debug, Default)]
pub struct Index {
    by_id: HashMap<u64, Statement, foldhash::fast::RandomState>,
    by_time: BTreeSet<(About, Decision, i64, u64)>,
}

/// So many are looked through.
const FEW_MAX: usize = 16;

impl Default for Statements {
    fn default() -> Self {
        Statements::Few(Vec::new())
    }
}

/// They are the same where they hold the same, in whatever order it came.
impl PartialEq for Statements {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|one| other.find(one.id) == Some(*one))
    }
}

impl Eq for Statements {}

impl Statements {
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Statements::Few(all) => all.len(),
            Statements::Many(index) => index.by_id.len(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[must_use]
    pub fn find(&self, id: u64) -> Option<Statement> {
        match self {
            Statements::Few(all) => all.iter().find(|one| one.id == id).copied(),
            Statements::Many(index) => index.by_id.get(&id).copied(),
        }
    }

    /// Puts `statement` in the place of the one with this id, or nothing. Returns
    /// what stood there.
    pub fn set(&mut self, id: u64, statement: Option<Statement>) -> Option<Statement> {
        let before = match self {
            Statements::Few(all) => {
                let place = all.iter().position(|one| one.id == id);
                place.map(|place| all.swap_remove(place))
            }
            Statements::Many(index) => index.remove(id),
        };
        if let Some(statement) = statement {
            self.insert(Statement { id, ..statement });
        }
        before
    }

    fn insert(&mut self, statement: Statement) {
        match self {
            Statements::Few(all) if all.len() < FEW_MAX => all.push(statement),
            Statements::Few(all) => {
                let mut index = Box::<Index>::default();
                for one in all.drain(..).chain([statement]) {
                    index.insert(one);
                }
                *self = Statements::Many(index);
            }
            Statements::Many(index) => index.insert(statement),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Statement> {
        let (few, many) = match self {
            Statements::Few(all) => (Some(all.iter()), None),
            Statements::Many(index) => (None, Some(index.by_id.values())),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten())
    }

    /// When the latest of them is that is about this and decides this, and is
    /// not after `until_ns`.
    #[must_use]
    pub fn latest(&self, about: About, decision: Decision, until_ns: i64) -> Option<i64> {
        match self {
            Statements::Few(all) => times(all, about, decision)
                .filter(|at_ns| *at_ns <= until_ns)
                .max(),
            Statements::Many(index) => {
                let from = (about, decision, i64::MIN, 0);
                let until = (about, decision, until_ns, u64::MAX);
                let (_, _, at_ns, _) = index.by_time.range(from..=until).next_back()?;
                Some(*at_ns)
            }
        }
    }

    /// When the first of them is that is about this and decides this, and is
    /// after `after_ns`.
    #[must_use]
    pub fn next(&self, about: About, decision: Decision, after_ns: i64) -> Option<i64> {
        match self {
            Statements::Few(all) => times(all, about, decision)
                .filter(|at_ns| *at_ns > after_ns)
                .min(),
            Statements::Many(index) => {
                let from = (about, decision, after_ns.checked_add(1)?, 0);
                let until = (about, decision, LATEST_NS, u64::MAX);
                let (_, _, at_ns, _) = index.by_time.range(from..=until).next()?;
                Some(*at_ns)
            }
        }
    }

    /// Whether one of them refuses this.
    #[must_use]
    pub fn refuse(&self, about: About) -> bool {
        self.latest(about, Decision::Refusal, LATEST_NS).is_some()
    }
}

fn times(all: &[Statement], about: About, decision: Decision) -> impl Iterator<Item = i64> {
    let of = move |one: &&Statement| one.about == about && one.decision == decision;
    all.iter().filter(of).map(|one| one.at_ns)
}

impl Index {
    fn insert(&mut self, one: Statement) {
        self.by_id.insert(one.id, one);
        self.by_time
            .insert((one.about, one.decision, one.at_ns, one.id));
    }

    fn remove(&mut self, id: u64) -> Option<Statement> {
        let one = self.by_id.remove(&id)?;
        self.by_time
            .remove(&(one.about, one.decision, one.at_ns, one.id));
        Some(one)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn statements() -> impl Strategy<Value = Vec<(u64, Option<Statement>)>> {
        let decisions = [
            Decision::Refusal,
            Decision::DigitalGrant,
            Decision::WrittenGrant,
        ];
        let one = (0..40_u64, 0..3_u16, 0..2_u16, 0..3_usize, 0..6_i64, 0..5);
        let one = one.prop_map(move |(id, purpose, recipient, decision, at_ns, sort)| {
            let about = About::purpose(purpose).for_recipient(recipient);
            let statement = Statement {
                id,
                about,
                decision: decisions[decision],
                at_ns,
            };
            (id, (sort > 0).then_some(statement))
        });
        proptest::collection::vec(one, 0..120)
    }

    proptest! {
        /// Few and many are one thing: a plain list answers alike.
        #[test]
        fn they_are_a_list_in_which_ids_replace(all in statements(), until_ns in -1..7_i64) {
            let mut kept = Statements::default();
            let mut plain: Vec<Statement> = Vec::new();
            for (id, statement) in all {
                let before = plain.iter().position(|one| one.id == id);
                let before = before.map(|place| plain.remove(place));
                plain.extend(statement);
                prop_assert_eq!(kept.set(id, statement), before);
                prop_assert_eq!(kept.len(), plain.len());
                prop_assert_eq!(kept.find(id), statement);
            }
            for one in &plain {
                let alike = || plain.iter().filter(|other| {
                    other.about == one.about && other.decision == one.decision
                });
                let latest = alike().map(|other| other.at_ns).filter(|at_ns| *at_ns <= until_ns);
                let next = alike().map(|other| other.at_ns).filter(|at_ns| *at_ns > until_ns);
                prop_assert_eq!(kept.latest(one.about, one.decision, until_ns), latest.max());
                prop_assert_eq!(kept.next(one.about, one.decision, until_ns), next.min());
            }
        }
    }

    /// A patron with very many costs no more for each of them.
    #[test]
    fn very_many_of_one_patron_are_found_at_once() {
        let mut kept = Statements::default();
        for id in 0..200_000_u64 {
            let about = About::purpose(1).of_library(2);
            let at_ns = i64::try_from(id).unwrap();
            let statement = Statement {
                id,
                about,
                decision: Decision::WrittenGrant,
                at_ns,
            };
            kept.set(id, Some(statement));
            let decision = Decision::WrittenGrant;
            assert_eq!(kept.latest(about, decision, LATEST_NS), Some(at_ns));
        }
    }
}
