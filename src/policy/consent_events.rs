//! The consents or objections kept of one patron, indexed by id and scope.
//!
//! Most patrons have a few, which are searched linearly; for those with very many, every operation
//! is logarithmic.

use std::collections::{BTreeSet, HashMap};

/// A statement that has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsentEvent {
    /// A keyed hash of the record's id; a later record with it replaces this one.
    pub id_hash: u64,
    pub scope: ConsentScope,
    pub decision: ConsentDecision,
    /// In nanoseconds since 1970; [`LATEST_NS`] for a refusal without a time.
    pub at_ns: i64,
}

/// What a statement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsentScope {
    /// [`WILDCARD`] for every purpose.
    pub purpose: u16,
    /// The only recipient it is about; [`WILDCARD`] for all of the purpose.
    pub recipient: u16,
    /// The library of a grant, by the patron's numbering; 0 otherwise.
    pub library: u16,
}

/// The purpose or recipient of a statement that names none.
pub const WILDCARD: u16 = u16::MAX;

/// The recipient of a statement that names a patron, until that patron has a number: then it is
/// that one.
pub const NAMED_PATRON: u16 = u16::MAX - 2;

/// Withdrawals and objections are refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConsentDecision {
    Refusal,
    /// Oral grants have no effect and are not kept.
    DigitalGrant,
    WrittenGrant,
    GuardianDigitalGrant,
    GuardianWrittenGrant,
    /// Written, and with all other elements (G01).
    SignedGrant,
    GuardianSignedGrant,
}

impl ConsentDecision {
    /// Every decision that is a grant.
    pub const GRANTS: [ConsentDecision; 6] = [
        ConsentDecision::SignedGrant,
        ConsentDecision::GuardianSignedGrant,
        ConsentDecision::WrittenGrant,
        ConsentDecision::DigitalGrant,
        ConsentDecision::GuardianWrittenGrant,
        ConsentDecision::GuardianDigitalGrant,
    ];

    /// Returns whether it is a grant that a guardian gave.
    #[must_use]
    pub const fn is_by_guardian(self) -> bool {
        matches!(
            self,
            ConsentDecision::GuardianDigitalGrant
                | ConsentDecision::GuardianWrittenGrant
                | ConsentDecision::GuardianSignedGrant
        )
    }

    /// Returns whether it is a written grant.
    #[must_use]
    pub const fn is_written(self) -> bool {
        matches!(self, ConsentDecision::WrittenGrant | ConsentDecision::GuardianWrittenGrant)
            || self.is_signed()
    }

    /// Returns whether it is a written grant with all other elements.
    #[must_use]
    pub const fn is_signed(self) -> bool {
        matches!(self, ConsentDecision::SignedGrant | ConsentDecision::GuardianSignedGrant)
    }
}

/// Later than any other time.
pub const LATEST_NS: i64 = i64::MAX;

impl ConsentScope {
    /// Returns the scope of every recipient of a purpose.
    #[must_use]
    pub fn for_purpose(purpose: u16) -> ConsentScope {
        ConsentScope { purpose, recipient: WILDCARD, library: 0 }
    }

    #[must_use]
    pub fn for_recipient(self, recipient: u16) -> ConsentScope {
        ConsentScope { recipient, ..self }
    }

    #[must_use]
    pub fn for_library(self, library: u16) -> ConsentScope {
        ConsentScope { library, ..self }
    }
}

#[derive(Clone, Debug)]
pub enum ConsentEvents {
    Few(Vec<ConsentEvent>),
    Many(Box<ConsentIndex>),
}

/// Statements by id and by scope.
#[derive(Clone, Debug, Default)]
pub struct ConsentIndex {
    by_id: HashMap<u64, ConsentEvent, foldhash::fast::RandomState>,
    by_time: BTreeSet<(ConsentScope, ConsentDecision, i64, u64)>,
}

/// Up to this many are searched linearly.
const LINEAR_SEARCH_MAX: usize = 16;

impl Default for ConsentEvents {
    fn default() -> Self {
        ConsentEvents::Few(Vec::new())
    }
}

/// Compares contents, whatever the order of arrival.
impl PartialEq for ConsentEvents {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.iter().all(|one| other.find_by_id(one.id_hash) == Some(*one))
    }
}

impl Eq for ConsentEvents {}

impl ConsentEvents {
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            ConsentEvents::Few(all) => all.len(),
            ConsentEvents::Many(index) => index.by_id.len(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[must_use]
    pub fn find_by_id(&self, id: u64) -> Option<ConsentEvent> {
        match self {
            ConsentEvents::Few(all) => all.iter().find(|one| one.id_hash == id).copied(),
            ConsentEvents::Many(index) => index.by_id.get(&id).copied(),
        }
    }

    /// Replaces the statement with this id, or removes it if `statement` is `None`. Returns the
    /// previous one.
    pub fn replace_by_id(
        &mut self,
        id: u64,
        statement: Option<ConsentEvent>,
    ) -> Option<ConsentEvent> {
        let before = match self {
            ConsentEvents::Few(all) => {
                let place = all.iter().position(|one| one.id_hash == id);
                place.map(|place| all.swap_remove(place))
            }
            ConsentEvents::Many(index) => index.remove(id),
        };
        if let Some(statement) = statement {
            self.insert(ConsentEvent { id_hash: id, ..statement });
        }
        before
    }

    fn insert(&mut self, statement: ConsentEvent) {
        match self {
            ConsentEvents::Few(all) if all.len() < LINEAR_SEARCH_MAX => all.push(statement),
            ConsentEvents::Few(all) => {
                let mut index = Box::<ConsentIndex>::default();
                for one in all.drain(..).chain([statement]) {
                    index.insert(one);
                }
                *self = ConsentEvents::Many(index);
            }
            ConsentEvents::Many(index) => index.insert(statement),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &ConsentEvent> {
        let (few, many) = match self {
            ConsentEvents::Few(all) => (Some(all.iter()), None),
            ConsentEvents::Many(index) => (None, Some(index.by_id.values())),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten())
    }

    /// Returns the time of the latest such statement up to `until_ns`.
    #[must_use]
    pub fn latest_ns(
        &self,
        scope: ConsentScope,
        decision: ConsentDecision,
        until_ns: i64,
    ) -> Option<i64> {
        match self {
            ConsentEvents::Few(all) => {
                times_ns(all, scope, decision).filter(|at_ns| *at_ns <= until_ns).max()
            }
            ConsentEvents::Many(index) => {
                let from = (scope, decision, i64::MIN, 0);
                let until = (scope, decision, until_ns, u64::MAX);
                let (_, _, at_ns, _) = index.by_time.range(from..=until).next_back()?;
                Some(*at_ns)
            }
        }
    }

    /// Returns the time of the first such statement after `after_ns`.
    #[must_use]
    pub fn next_after_ns(
        &self,
        scope: ConsentScope,
        decision: ConsentDecision,
        after_ns: i64,
    ) -> Option<i64> {
        match self {
            ConsentEvents::Few(all) => {
                times_ns(all, scope, decision).filter(|at_ns| *at_ns > after_ns).min()
            }
            ConsentEvents::Many(index) => {
                let from = (scope, decision, after_ns.checked_add(1)?, 0);
                let until = (scope, decision, LATEST_NS, u64::MAX);
                let (_, _, at_ns, _) = index.by_time.range(from..=until).next()?;
                Some(*at_ns)
            }
        }
    }

    /// Returns whether a statement refuses exactly this scope.
    #[must_use]
    pub fn has_refusal(&self, scope: ConsentScope) -> bool {
        self.latest_ns(scope, ConsentDecision::Refusal, LATEST_NS).is_some()
    }
}

fn times_ns(
    all: &[ConsentEvent],
    scope: ConsentScope,
    decision: ConsentDecision,
) -> impl Iterator<Item = i64> {
    let of = move |one: &&ConsentEvent| one.scope == scope && one.decision == decision;
    all.iter().filter(of).map(|one| one.at_ns)
}

impl ConsentIndex {
    fn insert(&mut self, one: ConsentEvent) {
        self.by_id.insert(one.id_hash, one);
        self.by_time.insert((one.scope, one.decision, one.at_ns, one.id_hash));
    }

    fn remove(&mut self, id: u64) -> Option<ConsentEvent> {
        let one = self.by_id.remove(&id)?;
        self.by_time.remove(&(one.scope, one.decision, one.at_ns, one.id_hash));
        Some(one)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arbitrary_changes() -> impl Strategy<Value = Vec<(u64, Option<ConsentEvent>)>> {
        let decisions = [
            ConsentDecision::Refusal,
            ConsentDecision::DigitalGrant,
            ConsentDecision::WrittenGrant,
        ];
        let one = (0..40_u64, 0..3_u16, 0..2_u16, 0..3_usize, 0..6_i64, 0..5);
        let one = one.prop_map(move |(id, purpose, recipient, decision, at_ns, sort)| {
            let about = ConsentScope::for_purpose(purpose).for_recipient(recipient);
            let statement =
                ConsentEvent { id_hash: id, scope: about, decision: decisions[decision], at_ns };
            (id, (sort > 0).then_some(statement))
        });
        proptest::collection::vec(one, 0..120)
    }

    proptest! {
        #[test]
        fn consent_events_behave_like_a_plain_list(all in arbitrary_changes(), until_ns in -1..7_i64) {
            let mut kept = ConsentEvents::default();
            let mut plain: Vec<ConsentEvent> = Vec::new();
            for (id, statement) in all {
                let before = plain.iter().position(|one| one.id_hash == id);
                let before = before.map(|place| plain.remove(place));
                plain.extend(statement);
                prop_assert_eq!(kept.replace_by_id(id, statement), before);
                prop_assert_eq!(kept.len(), plain.len());
                prop_assert_eq!(kept.find_by_id(id), statement);
            }
            for one in &plain {
                let alike = || plain.iter().filter(|other| {
                    other.scope == one.scope && other.decision == one.decision
                });
                let latest = alike().map(|other| other.at_ns).filter(|at_ns| *at_ns <= until_ns);
                let next = alike().map(|other| other.at_ns).filter(|at_ns| *at_ns > until_ns);
                prop_assert_eq!(kept.latest_ns(one.scope, one.decision, until_ns), latest.max());
                prop_assert_eq!(kept.next_after_ns(one.scope, one.decision, until_ns), next.min());
            }
        }
    }

    #[test]
    fn consent_events_lookup_is_fast_with_very_many() {
        let mut kept = ConsentEvents::default();
        for id in 0..200_000_u64 {
            let about = ConsentScope::for_purpose(1).for_library(2);
            let at_ns = i64::try_from(id).unwrap();
            let statement = ConsentEvent {
                id_hash: id,
                scope: about,
                decision: ConsentDecision::WrittenGrant,
                at_ns,
            };
            kept.replace_by_id(id, Some(statement));
            let decision = ConsentDecision::WrittenGrant;
            assert_eq!(kept.latest_ns(about, decision, LATEST_NS), Some(at_ns));
        }
    }
}
