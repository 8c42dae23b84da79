//! What patrons said: their consents and objections, as far as a gate asks.
//!
//! Of a consent only its purpose, recipient, library, decision and time are kept,
//! and a hash that tells which later record replaces it. Changes of a batch can
//! be undone until its commit has returned.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::patrons::Epoch;
use crate::policy::gate::{Asked, Consents, Decision, LATEST_NS, Scope, objection, refusal};
use crate::policy::statements::{About, Statement, Statements};
use crate::transport::Appended;

/// What one patron said.
#[derive(Clone, Debug, Default)]
pub struct Said {
    consents: Statements,
    /// Those for special circumstances that stand.
    objections: Statements,
    /// When it last objected to marketing, which holds for ever.
    marketing_ns: Option<i64>,
    /// What could not be read of both; mostly nothing.
    unreadable: Option<Box<[Unreadable; 2]>>,
    /// The libraries that its consents name, by their numbers.
    libraries: Vec<Arc<str>>,
    /// Up to which offset the sources of both were heard; older ones that are
    /// read again say nothing.
    heard: [i64; 2],
    /// When each grant of `consents` came to its source, by its id.
    came: HashMap<u64, Option<Appended>>,
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
    fn counts(self, decision: Decision, at_ns: i64) -> bool {
        let Some(epoch) = self.epoch.filter(|_| decision != Decision::Refusal) else {
            return true;
        };
        epoch.counts(self.appended) && at_ns > epoch.at.ms.saturating_mul(1_000_000)
    }
}

/// Records of one patron and one kind that could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Unreadable {
    /// What all versions of a record may be about, by a hash of its id; under no
    /// id that of the records whose id could not be read either.
    scopes: HashMap<Option<u64>, Vec<Scope>>,
    /// How many records may be about the same.
    counts: HashMap<Scope, usize>,
}

impl Unreadable {
    /// Says what the versions of a record may be about; returns what was said.
    fn set(&mut self, id: Option<u64>, scopes: Vec<Scope>) -> Vec<Scope> {
        for scope in &scopes {
            *self.counts.entry(*scope).or_default() += 1;
        }
        let before = match scopes.is_empty() {
            true => self.scopes.remove(&id),
            false => self.scopes.insert(id, scopes),
        };
        let before = before.unwrap_or_default();
        for scope in &before {
            if let Some(count) = self.counts.get_mut(scope) {
                *count -= 1;
            }
        }
        self.counts.retain(|_, count| *count > 0);
        before
    }
}

/// Which of the two a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    Consent,
    Objection,
}

/// What one record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The consent with this id is what follows, or nothing that counts.
    Consent(u64, Option<Consent>),
    /// A null: what was granted before counts no longer.
    EndGrants,
    /// The objection with this id stands against a purpose or against all, or it
    /// no longer does.
    Objection(u64, Option<About>),
    /// An objection to marketing, and its time.
    NoMarketing(u64, i64),
    /// It was not understood, so it stops all that it may be about. Its id, where
    /// that could be read, tells which later record lifts the stop.
    Unreadable(Topic, Option<u64>, Scope),
}

/// A consent that counts for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    pub about: About,
    pub decision: Decision,
    pub at_ns: i64,
    /// Of which library it is.
    pub library: Box<str>,
}

/// The number of a library beyond those that are told apart: its grants count
/// for nobody.
const LIBRARIES_MAX: usize = 64;

impl Consent {
    fn grants(&self) -> bool {
        self.decision != Decision::Refusal
    }
}

impl Message {
    /// Whether it is a consent that is given.
    #[must_use]
    pub fn grants(&self) -> bool {
        matches!(self, Message::Consent(_, Some(consent)) if consent.grants())
    }

    fn topic(&self) -> Topic {
        match self {
            Message::Consent(..) | Message::EndGrants => Topic::Consent,
            Message::Objection(..) | Message::NoMarketing(..) => Topic::Objection,
            Message::Unreadable(topic, ..) => *topic,
        }
    }
}

/// One change of what a patron said, and how it was before.
#[derive(Clone, Debug)]
enum Change {
    Heard(Topic, i64),
    Marketing(Option<i64>),
    Came(u64, Option<Option<Appended>>),
    Statement(List, u64, Option<Statement>),
    Unreadable(Topic, Option<u64>, Vec<Scope>),
}

/// One of a patron's lists.
#[derive(Clone, Copy, Debug)]
enum List {
    Consents,
    Objections,
}

impl Said {
    /// The consents, as they count for a patron of a library where grants of
    /// `counts` do.
    #[must_use]
    pub fn consents(&self, counts: impl Fn(&str) -> bool) -> Consents<'_> {
        let numbered = self.libraries.iter().enumerate();
        let counting = numbered.filter(|(_, library)| counts(library));
        Consents {
            all: &self.consents,
            libraries: counting.fold(0, |all, (number, _)| all | 1 << number),
        }
    }

    /// When it last objected to marketing.
    #[must_use]
    pub fn no_marketing_ns(&self) -> Option<i64> {
        self.marketing_ns
    }

    /// Whether an objection for special circumstances stands against `purpose`.
    #[must_use]
    pub fn objects(&self, purpose: u16) -> bool {
        objection(&self.objections, purpose)
    }

    /// Whether it refused the purpose, for the recipient or for all of them.
    #[must_use]
    pub fn refuses(&self, asked: &Asked) -> bool {
        refusal(&self.consents, asked)
    }

    /// Whether a record that could not be read may be about this. One whose
    /// purpose could not be read may be, if `any_purpose`.
    #[must_use]
    pub fn is_unreadable(&self, topic: Topic, asked: &Asked, any_purpose: bool) -> bool {
        let Some(all) = &self.unreadable else {
            return false;
        };
        let counts = &all[topic as usize].counts;
        asked
            .scopes(any_purpose)
            .any(|scope| counts.contains_key(&scope))
    }

    /// Forgets the grants that were given before an erasure.
    fn end_epoch(&mut self, epoch: Epoch, undo: &mut Undo<'_>) {
        let ended = self.grants().filter(|(one, appended)| {
            let came = Came {
                appended: *appended,
                epoch: Some(epoch),
            };
            !came.counts(one.decision, one.at_ns)
        });
        let ended: Vec<u64> = ended.map(|(one, _)| one.id).collect();
        for id in ended {
            undo.note(self, Change::Statement(List::Consents, id, None));
            undo.note(self, Change::Came(id, None));
        }
    }

    /// The grants, and when each came to its source: refusals, of which there may be
    /// many more, are not looked through.
    fn grants(&self) -> impl Iterator<Item = (Statement, Option<Appended>)> {
        let came = self.came.iter();
        came.filter_map(|(id, appended)| Some((self.consents.find(*id)?, *appended)))
    }

    fn is_blank(&self) -> bool {
        let lists = [&self.consents, &self.objections];
        let unreadable = self.unreadable.as_deref();
        lists.iter().all(|list| list.is_empty())
            && self.marketing_ns.is_none()
            && unreadable.is_none_or(|all| all.iter().all(|one| one.scopes.is_empty()))
            && self.heard == [0; 2]
    }

    fn list(&mut self, list: List) -> &mut Statements {
        match list {
            List::Consents => &mut self.consents,
            List::Objections => &mut self.objections,
        }
    }

    /// Changes something; returns what puts it back.
    fn change(&mut self, change: Change) -> Change {
        match change {
            Change::Heard(topic, offset) => {
                let heard = &mut self.heard[topic as usize];
                Change::Heard(topic, std::mem::replace(heard, offset))
            }
            Change::Came(id, appended) => {
                let before = match appended {
                    Some(appended) => self.came.insert(id, appended),
                    None => self.came.remove(&id),
                };
                Change::Came(id, before)
            }
            Change::Marketing(at_ns) => {
                Change::Marketing(std::mem::replace(&mut self.marketing_ns, at_ns))
            }
            Change::Statement(list, id, statement) => {
                let before = self.list(list).set(id, statement);
                Change::Statement(list, id, before)
            }
            Change::Unreadable(topic, id, scopes) => {
                let all = self.unreadable.get_or_insert_default();
                let before = all[topic as usize].set(id, scopes);
                Change::Unreadable(topic, id, before)
            }
        }
    }

    /// Hears a message that lies at `offset`; each change goes to `undo` as it
    /// was before.
    fn hear(
        &mut self,
        offset: i64,
        (message, came): (Message, Came),
        numbers: &mut Libraries,
        undo: &mut Undo<'_>,
    ) {
        let topic = message.topic();
        // One more than the offset, so that nothing heard is nought.
        undo.note(self, Change::Heard(topic, offset + 1));
        match message {
            Message::Consent(id, consent) => {
                let consent =
                    consent.filter(|consent| came.counts(consent.decision, consent.at_ns));
                let grants = consent.as_ref().is_some_and(Consent::grants);
                let appended = grants.then_some(came.appended);
                if appended.is_some() || self.came.contains_key(&id) {
                    undo.note(self, Change::Came(id, appended));
                }
                let statement = consent.map(|consent| self.numbered(id, consent, numbers));
                undo.note(self, Change::Statement(List::Consents, id, statement));
                self.lift(topic, id, undo);
            }
            Message::EndGrants => {
                let ids: Vec<u64> = self.grants().map(|(one, _)| one.id).collect();
                for id in ids {
                    undo.note(self, Change::Statement(List::Consents, id, None));
                    undo.note(self, Change::Came(id, None));
                }
            }
            Message::Objection(id, about) => {
                let statement = about.map(|about| refusal_of(id, about));
                undo.note(self, Change::Statement(List::Objections, id, statement));
                self.lift(topic, id, undo);
            }
            Message::NoMarketing(id, at_ns) => {
                undo.note(self, Change::Statement(List::Objections, id, None));
                let latest = self.marketing_ns.max(Some(at_ns));
                undo.note(self, Change::Marketing(latest));
                self.lift(topic, id, undo);
            }
            Message::Unreadable(topic, id, scope) => {
                let known = self.unreadable.as_deref();
                let known = known.and_then(|all| all[topic as usize].scopes.get(&id));
                let mut scopes = known.cloned().unwrap_or_default();
                if !scopes.contains(&scope) {
                    scopes.push(scope);
                    undo.note(self, Change::Unreadable(topic, id, scopes));
                }
            }
        }
    }

    /// A version of the record can be read again.
    fn lift(&mut self, topic: Topic, id: u64, undo: &mut Undo<'_>) {
        if self.unreadable.is_some() {
            undo.note(self, Change::Unreadable(topic, Some(id), Vec::new()));
        }
    }

    fn numbered(&mut self, id: u64, consent: Consent, libraries: &mut Libraries) -> Statement {
        let about = match consent.decision {
            // It counts whichever library it is of.
            Decision::Refusal => consent.about,
            _ => {
                let number = self.number(&consent.library, libraries);
                consent.about.of_library(number)
            }
        };
        Statement {
            id,
            about,
            decision: consent.decision,
            at_ns: consent.at_ns,
        }
    }

    fn number(&mut self, library: &str, libraries: &mut Libraries) -> u16 {
        let known = self.libraries.iter().position(|one| **one == *library);
        let place = known.unwrap_or_else(|| {
            if self.libraries.len() < LIBRARIES_MAX {
                self.libraries.push(libraries.shared(library));
                self.libraries.len() - 1
            } else {
                LIBRARIES_MAX
            }
        });
        u16::try_from(place).unwrap_or(u16::MAX)
    }
}

fn refusal_of(id: u64, about: About) -> Statement {
    Statement {
        id,
        about,
        decision: Decision::Refusal,
        at_ns: LATEST_NS,
    }
}

/// Where changes are noted as they were before, if they may be undone.
struct Undo<'a>(Option<&'a mut Vec<Change>>);

impl Undo<'_> {
    fn note(&mut self, said: &mut Said, change: Change) {
        let before = said.change(change);
        if let Some(noted) = &mut self.0 {
            noted.push(before);
        }
    }
}

/// The names of libraries, each kept once.
#[derive(Debug, Default)]
struct Libraries(HashSet<Arc<str>>);

impl Libraries {
    fn shared(&mut self, library: &str) -> Arc<str> {
        if let Some(known) = self.0.get(library) {
            return Arc::clone(known);
        }
        let name: Arc<str> = library.into();
        self.0.insert(Arc::clone(&name));
        name
    }
}

/// What the patrons of a worker's partitions said.
#[derive(Debug, Default)]
pub struct Sayings {
    parts: HashMap<i32, HashMap<Box<str>, Said>, foldhash::fast::RandomState>,
    libraries: Libraries,
    /// What the batch changed, oldest first.
    undo: Vec<(i32, Box<str>, Vec<Change>)>,
}

impl Sayings {
    #[inline]
    #[must_use]
    pub fn find(&self, partition: i32, patron_id: &str) -> Option<&Said> {
        self.parts.get(&partition)?.get(patron_id)
    }

    /// Hears a message within the batch, unless a later one was heard. Says
    /// whether it was new.
    pub fn put(
        &mut self,
        (partition, offset): (i32, i64),
        patron_id: &str,
        message: Message,
        came: Came,
    ) -> bool {
        let known = self.find(partition, patron_id);
        let topic = message.topic();
        if known.is_some_and(|known| known.heard[topic as usize] > offset) {
            return false;
        }
        let mut noted = Vec::new();
        let undo = Undo(Some(&mut noted));
        self.hear((partition, offset), patron_id, (message, came), undo);
        self.undo.push((partition, patron_id.into(), noted));
        true
    }

    /// A patron was erased, within the batch: what it granted is of no use to whom
    /// its id is given next. What it refused stays.
    pub fn end_epoch(&mut self, partition: i32, patron_id: &str, epoch: Epoch) {
        let part = self.parts.get_mut(&partition);
        let Some(said) = part.and_then(|part| part.get_mut(patron_id)) else {
            return;
        };
        let mut noted = Vec::new();
        said.end_epoch(epoch, &mut Undo(Some(&mut noted)));
        if !noted.is_empty() {
            self.undo.push((partition, patron_id.into(), noted));
        }
    }

    /// Hears a message outside of any batch, in the order of its source.
    pub fn restore(&mut self, place: (i32, i64), patron_id: &str, message: Message, came: Came) {
        self.hear(place, patron_id, (message, came), Undo(None));
    }

    fn hear(
        &mut self,
        (partition, offset): (i32, i64),
        patron_id: &str,
        message: (Message, Came),
        mut undo: Undo<'_>,
    ) {
        let part = self.parts.entry(partition).or_default();
        let said = match part.get_mut(patron_id) {
            Some(said) => said,
            None => part.entry(patron_id.into()).or_default(),
        };
        said.hear(offset, message, &mut self.libraries, &mut undo);
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
        while let Some((partition, patron_id, noted)) = self.undo.pop() {
            let part = self.parts.entry(partition).or_default();
            let Some(said) = part.get_mut(&patron_id) else {
                continue;
            };
            for change in noted.into_iter().rev() {
                said.change(change);
            }
            if said.is_blank() {
                part.remove(&patron_id);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::statements::ALL;

    const PATRON: &str = "p1";

    fn messages() -> impl Strategy<Value = Message> {
        let decisions = [
            Decision::Refusal,
            Decision::DigitalGrant,
            Decision::WrittenGrant,
        ];
        (0..8_u8, 0..4_u64, 0..3_u16, 0..3_usize, 0..5_i64).prop_map(
            move |(sort, id, number, decision, at_ns)| {
                let about = About::purpose(number);
                let scope = Scope {
                    purpose: number,
                    recipient: ALL,
                };
                let consent = Consent {
                    about,
                    decision: decisions[decision],
                    at_ns,
                    library: format!("NL-{number}").into(),
                };
                match sort {
                    0..=2 => Message::Consent(id, (sort > 0).then_some(consent)),
                    3 => Message::EndGrants,
                    4 => Message::Objection(id, (decision > 0).then_some(about)),
                    5 => Message::NoMarketing(id, at_ns),
                    6 => Message::Unreadable(Topic::Consent, (number > 0).then_some(id), scope),
                    _ => Message::Unreadable(Topic::Objection, (number > 0).then_some(id), scope),
                }
            },
        )
    }

    /// All that gates ask.
    fn answers(sayings: &Sayings) -> Option<String> {
        let said = sayings.find(0, PATRON)?;
        let asked = (0..4).map(|number| Asked {
            purpose: number,
            recipient: number,
            explicit: false,
        });
        let answers = asked.map(|asked| {
            let topics = [Topic::Consent, Topic::Objection];
            let unreadable = topics.map(|topic| said.is_unreadable(topic, &asked, true));
            let library = format!("NL-{}", asked.purpose);
            let consents = said.consents(|granted| granted == library);
            let consent = crate::policy::gate::consent(&consents, &asked, None, 2);
            let objects = said.objects(asked.purpose);
            format!(
                "{unreadable:?} {consent:?} {objects} {}",
                said.refuses(&asked)
            )
        });
        let marketing = said.no_marketing_ns();
        Some(format!("{marketing:?} {:?}", answers.collect::<Vec<_>>()))
    }

    proptest! {
        /// What an aborted batch said was never said, and what a committed one
        /// said is as if it had been restored.
        #[test]
        fn what_is_undone_was_never_heard(
            batches in prop::collection::vec(
                (prop::collection::vec(messages(), 0..6), any::<bool>()), 0..8),
        ) {
            let (mut sayings, mut plain) = (Sayings::default(), Sayings::default());
            let mut offset = 0;
            for (batch, is_aborted) in batches {
                let before = answers(&sayings);
                for message in batch {
                    offset += 1;
                    prop_assert!(sayings.put((0, offset), PATRON, message.clone(), Came::default()));
                    prop_assert!(!sayings.put((0, offset), PATRON, message.clone(), Came::default()));
                    if !is_aborted {
                        plain.restore((0, offset), PATRON, message, Came::default());
                    }
                }
                if is_aborted {
                    sayings.abandon();
                    prop_assert_eq!(answers(&sayings), before);
                } else {
                    sayings.merge();
                    prop_assert_eq!(answers(&sayings), answers(&plain));
                }
            }
        }
    }

    /// A stop is lifted by a version of its own record alone.
    #[test]
    fn an_unreadable_record_stops_until_a_version_of_it_can_be_read() {
        let asked = Asked {
            purpose: 1,
            recipient: 7,
            explicit: false,
        };
        let scope = |purpose, recipient| Scope { purpose, recipient };
        let mut sayings = Sayings::default();
        let mut offset = 0;
        let mut say = |message: Message| {
            offset += 1;
            sayings.put((0, offset), PATRON, message, Came::default());
            let said = sayings.find(0, PATRON);
            said.is_some_and(|said| said.is_unreadable(Topic::Consent, &asked, true))
        };
        let unreadable = |id, scope| Message::Unreadable(Topic::Consent, id, scope);
        assert!(!say(unreadable(Some(3), scope(1, 8))));
        assert!(!say(unreadable(Some(3), scope(2, 7))));
        assert!(say(unreadable(Some(3), scope(1, ALL))));
        assert!(say(Message::Consent(4, None)));
        assert!(say(Message::EndGrants));
        assert!(
            say(unreadable(Some(3), scope(2, 7))),
            "each version adds its own"
        );
        assert!(!say(Message::Consent(3, None)));
        assert!(say(unreadable(None, scope(ALL, 7))));
        assert!(
            say(Message::Consent(3, None)),
            "nothing of the patron's lifts it"
        );
    }

    /// Each of very many records of one patron costs as much as the first.
    #[test]
    fn very_many_records_of_one_patron_are_heard_at_once() {
        let mut sayings = Sayings::default();
        for number in 0..40_000_u64 {
            let at_ns = i64::try_from(number).unwrap();
            let consent = Consent {
                about: About::purpose(1),
                decision: Decision::WrittenGrant,
                at_ns,
                library: "NL-A".into(),
            };
            let message = match number % 4 {
                0 => Message::Unreadable(Topic::Consent, Some(number), Scope::ALL),
                1 => Message::Objection(number, Some(About::purpose(2))),
                _ => Message::Consent(number, Some(consent)),
            };
            assert!(sayings.put((0, at_ns), PATRON, message, Came::default()));
        }
        let said = sayings.find(0, PATRON).unwrap();
        assert!(said.objects(2));
        sayings.abandon();
        assert!(sayings.find(0, PATRON).is_none());
    }
}
