//! What patrons said: their consents and objections, as far as a gate asks.
//!
//! Of a consent only its purpose, recipient, decision and time are kept, and a
//! hash that tells which later record replaces it. Changes of a batch can be
//! undone until its commit has returned.

use std::collections::HashMap;

use super::patrons::Epoch;
use crate::policy::gate::{Consent, Decision, Objection};
use crate::transport::Appended;

/// What one patron said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub consents: Vec<Consent>,
    /// Those for special circumstances that stand.
    pub objections: Vec<Objection>,
    /// It objected to marketing, which holds for ever.
    pub no_marketing: bool,
    /// Its last consent record was refused whole.
    pub consent_unreadable: bool,
    /// Its last objection record was refused whole.
    pub objection_unreadable: bool,
    /// Up to which offset the sources of both were heard; older ones that are
    /// read again say nothing.
    consents_heard: i64,
    objections_heard: i64,
    /// When each grant of `consents` came to its source, by its id.
    came: Vec<(u64, Option<Appended>)>,
}

/// When a statement came, and when its patron was erased last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Came {
    pub appended: Option<Appended>,
    pub epoch: Option<Epoch>,
}

impl Came {
    /// Whether it counts: a refusal always does, a grant only for the patron who
    /// came after the erasure, and only if it was given after it as well.
    fn counts(self, consent: &Consent) -> bool {
        let Some(epoch) = self.epoch.filter(|_| consent.decision != Decision::Refusal) else {
            return true;
        };
        epoch.counts(self.appended) && consent.at_ns > epoch.at.ms.saturating_mul(1_000_000)
    }
}

/// Which of the two a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    Consent,
    Objection,
}

impl Statement {
    /// Whether it is a consent that is given.
    #[must_use]
    pub fn grants(&self) -> bool {
        let consent = match self {
            Statement::Consent(_, consent) => *consent,
            _ => None,
        };
        consent.is_some_and(|consent| consent.decision != Decision::Refusal)
    }
}

/// What one record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// The consent with this id is what follows, or nothing that counts.
    Consent(u64, Option<Consent>),
    Objection(u64, Option<Objection>),
    NoMarketing(u64),
    Unreadable(Topic),
}

impl Statement {
    fn topic(&self) -> Topic {
        match self {
            Statement::Consent(..) => Topic::Consent,
            Statement::Objection(..) | Statement::NoMarketing(_) => Topic::Objection,
            Statement::Unreadable(topic) => *topic,
        }
    }
}

impl Said {
    fn heard(&mut self, topic: Topic) -> &mut i64 {
        match topic {
            Topic::Consent => &mut self.consents_heard,
            Topic::Objection => &mut self.objections_heard,
        }
    }

    fn hear(&mut self, statement: Statement, came: Came) {
        match statement {
            Statement::Consent(id, consent) => {
                self.consent_unreadable = false;
                self.consents.retain(|known| known.id != id);
                self.came.retain(|(known, _)| *known != id);
                let consent = consent.filter(|consent| came.counts(consent));
                if consent.is_some_and(|consent| consent.decision != Decision::Refusal) {
                    self.came.push((id, came.appended));
                }
                self.consents.extend(consent);
            }
            Statement::Objection(id, objection) => {
                self.objection_unreadable = false;
                self.objections.retain(|known| known.id != id);
                self.objections.extend(objection);
            }
            Statement::NoMarketing(id) => {
                self.objection_unreadable = false;
                self.objections.retain(|known| known.id != id);
                self.no_marketing = true;
            }
            Statement::Unreadable(Topic::Consent) => self.consent_unreadable = true,
            Statement::Unreadable(Topic::Objection) => self.objection_unreadable = true,
        }
    }

    /// Forgets the grants that were given before an erasure.
    fn end_epoch(&mut self, epoch: Epoch) {
        let came = std::mem::take(&mut self.came);
        let of = |id: u64| {
            let found = came.iter().find(|(known, _)| *known == id);
            found.and_then(|(_, appended)| *appended)
        };
        self.consents.retain(|consent| {
            let came = Came {
                appended: of(consent.id),
                epoch: Some(epoch),
            };
            came.counts(consent)
        });
        let kept = &self.consents;
        let is_kept = |id: &u64| kept.iter().any(|consent| consent.id == *id);
        self.came = came.into_iter().filter(|(id, _)| is_kept(id)).collect();
    }
}

/// What the patrons of a worker's partitions said.
#[derive(Debug, Default)]
pub struct Sayings {
    parts: HashMap<i32, HashMap<Box<str>, Said>, foldhash::fast::RandomState>,
    /// What the batch changed, oldest first.
    undo: Vec<(i32, Box<str>, Option<Said>)>,
}

impl Sayings {
    #[inline]
    #[must_use]
    pub fn find(&self, partition: i32, patron_id: &str) -> Option<&Said> {
        self.parts.get(&partition)?.get(patron_id)
    }

    /// Hears a statement within the batch, unless a later one was heard. Says
    /// whether it was new.
    pub fn put(
        &mut self,
        (partition, offset): (i32, i64),
        patron_id: &str,
        statement: Statement,
        came: Came,
    ) -> bool {
        let topic = statement.topic();
        let part = self.parts.entry(partition).or_default();
        let before = part.get(patron_id).cloned();
        if let Some(mut known) = before.clone()
            && *known.heard(topic) > offset
        {
            return false;
        }
        self.undo.push((partition, patron_id.into(), before));
        self.restore((partition, offset), patron_id, statement, came);
        true
    }

    /// A patron was erased, within the batch: what it granted is of no use to whom
    /// its id is given next. What it refused stays.
    pub fn end_epoch(&mut self, partition: i32, patron_id: &str, epoch: Epoch) {
        let part = self.parts.get_mut(&partition);
        if let Some(said) = part.and_then(|part| part.get_mut(patron_id)) {
            let before = said.clone();
            said.end_epoch(epoch);
            if *said != before {
                self.undo.push((partition, patron_id.into(), Some(before)));
            }
        }
    }

    /// Hears a statement outside of any batch, in the order of its source.
    pub fn restore(
        &mut self,
        (partition, offset): (i32, i64),
        patron_id: &str,
        statement: Statement,
        came: Came,
    ) {
        let part = self.parts.entry(partition).or_default();
        let topic = statement.topic();
        let said = match part.get_mut(patron_id) {
            Some(said) => said,
            None => part.entry(patron_id.into()).or_default(),
        };
        // One more than the offset, so that nothing heard is nought.
        *said.heard(topic) = offset + 1;
        said.hear(statement, came);
    }

    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub fn merge(&mut self) {
        self.undo.clear();
    }

    pub fn abandon(&mut self) {
        while let Some((partition, patron_id, before)) = self.undo.pop() {
            let part = self.parts.entry(partition).or_default();
            match before {
                Some(said) => drop(part.insert(patron_id, said)),
                None => drop(part.remove(&patron_id)),
            }
        }
    }

    pub fn drop_partition(&mut self, partition: i32) {
        self.parts.remove(&partition);
    }

    pub fn retain(&mut self, kept: impl Fn(i32) -> bool) {
        self.parts.retain(|&partition, _| kept(partition));
    }
}
