//! What patrons said: their consents and objections, as far as a gate asks.
//!
//! Of a consent only its purpose, recipient, decision and time are kept, and a
//! hash that tells which later record replaces it. Changes of a batch can be
//! undone until its commit has returned.

use std::collections::HashMap;

use crate::policy::gate::{Consent, Objection};

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
}

/// Which of the two a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    Consent,
    Objection,
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

    fn hear(&mut self, statement: Statement) {
        match statement {
            Statement::Consent(id, consent) => {
                self.consent_unreadable = false;
                self.consents.retain(|known| known.id != id);
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
        self.restore((partition, offset), patron_id, statement);
        true
    }

    /// Hears a statement outside of any batch, in the order of its source.
    pub fn restore(
        &mut self,
        (partition, offset): (i32, i64),
        patron_id: &str,
        statement: Statement,
    ) {
        let part = self.parts.entry(partition).or_default();
        let topic = statement.topic();
        let said = match part.get_mut(patron_id) {
            Some(said) => said,
            None => part.entry(patron_id.into()).or_default(),
        };
        // One more than the offset, so that nothing heard is nought.
        *said.heard(topic) = offset + 1;
        said.hear(statement);
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
