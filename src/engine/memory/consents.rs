//! The consents and objections of patrons, as far as gates need them.
//!
//! Of a consent only purpose, recipient, library, decision and time are kept, and a hash
//! that tells which later record replaces it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use hashbrown::HashTable;

use super::deliveries::{PatronHash, StateKeys};
use super::erasures::LastErasure;
use super::table_keys::{SoughtId, TableKeys};
use super::transactional::Transactional;
use crate::message::AppendTime;
use crate::policy::consent::{
    ConsentDecision, ConsentQuery, ConsentView, LATEST_NS, UnreadableScope, has_objection,
    has_refusal,
};
use crate::policy::consent_events::{
    ConsentEvent, ConsentEvents, ConsentScope, NAMED_PATRON, WILDCARD,
};

/// The consents and objections of one patron.
#[derive(Clone, Debug, Default)]
pub struct PatronConsents {
    consents: ConsentEvents,
    /// The ones for special circumstances that stand.
    objections: ConsentEvents,
    /// The last objection to marketing, which stands for ever.
    marketing_objection_ns: Option<i64>,
    /// Unreadable records of both kinds; mostly none.
    unreadable: Option<Box<[UnreadableRecords; 2]>>,
    /// The libraries that its consents name, by number.
    library_names: Vec<Arc<str>>,
    /// The other patrons that its consents name; mostly none.
    patron_names: Option<Box<PatronNames>>,
    /// What was settled; mostly nothing.
    settlements: Option<Box<Settlements>>,
    /// Statements of either source below this offset are ignored. Stored as offset + 1; 0 = no
    /// statement yet.
    next_offsets: [i64; 3],
    /// When each grant of `consents` was appended to its source, by its id.
    grants_appended: HashMap<u64, Option<AppendTime>>,
}

/// The ids of the patrons that consents of another one name. Each has a number while a consent
/// names it; once a batch is committed, the ids that none names any more are dropped.
#[derive(Clone, Debug, Default)]
struct PatronNames {
    /// By number; the last one is taken.
    names: Vec<PatronName>,
    numbers: HashMap<Arc<str>, u16>,
    /// The numbers below the last one that are free.
    free_numbers: Vec<u16>,
    /// The purposes whose consents name patrons.
    purposes: BTreeSet<u16>,
}

#[derive(Clone, Debug, Default)]
struct PatronName {
    /// `None` if the number is free.
    id: Option<Arc<str>>,
    /// How many consents name it.
    consent_count: usize,
}

impl PatronNames {
    fn find(&self, number: u16) -> Option<&str> {
        self.names.get(usize::from(number))?.id.as_deref()
    }

    fn number(&self, id: &str) -> Option<u16> {
        self.numbers.get(id).copied()
    }

    /// The number that the next patron gets; `None` if there are no more numbers.
    fn next_number(&self) -> Option<u16> {
        let beyond = || u16::try_from(self.names.len()).ok();
        let next = self.free_numbers.last().copied().or_else(beyond);
        next.filter(|number| *number < NAMED_PATRON)
    }

    /// Gives the next number to an id.
    fn take(&mut self, number: u16, id: Arc<str>) {
        if self.free_numbers.last() == Some(&number) {
            self.free_numbers.pop();
        }
        let place = usize::from(number);
        if place >= self.names.len() {
            self.names.resize_with(place + 1, PatronName::default);
        }
        self.names[place].id = Some(Arc::clone(&id));
        self.numbers.insert(id, number);
    }

    /// Frees a number; returns the id that had it.
    fn free(&mut self, number: u16) -> Option<Arc<str>> {
        let place = usize::from(number);
        let id = if place + 1 == self.names.len() {
            self.names.pop()?.id?
        } else {
            let id = self.names.get_mut(place)?.id.take()?;
            self.free_numbers.push(number);
            id
        };
        self.numbers.remove(&id);
        Some(id)
    }

    /// Counts that a consent came or went.
    fn count(&mut self, consent: Option<&ConsentEvent>, is_added: bool) {
        let Some(scope) = consent.map(|consent| consent.scope) else {
            return;
        };
        let name = self.names.get_mut(usize::from(scope.recipient));
        if let Some(name) = name.filter(|_| self.purposes.contains(&scope.purpose)) {
            name.consent_count = match is_added {
                true => name.consent_count + 1,
                false => name.consent_count.saturating_sub(1),
            };
        }
    }

    /// Drops the id with this number if no consent names it.
    fn drop_unused(&mut self, number: u16) {
        let name = self.names.get(usize::from(number));
        if name.is_some_and(|name| name.id.is_some() && name.consent_count == 0) {
            self.free(number);
        }
        if self.names.last().is_some_and(|name| name.id.is_none()) {
            let taken = self.names.iter().rposition(|name| name.id.is_some());
            self.names.truncate(taken.map_or(0, |last| last + 1));
            self.free_numbers.retain(|free| usize::from(*free) < self.names.len());
        }
    }
}

/// When a statement was appended, and when its patron was erased last.
#[derive(Clone, Copy, Debug, Default)]
pub struct StatementTiming {
    pub appended: Option<AppendTime>,
    pub last_erasure: Option<LastErasure>,
}

/// What a record of a gate source says of one patron, and where it lies.
#[derive(Clone, Debug)]
pub struct GateStatement<'a> {
    pub partition: i32,
    pub offset: i64,
    pub patron_id: &'a str,
    pub event: GateEvent,
    pub timing: StatementTiming,
}

impl StatementTiming {
    /// A refusal is always effective; a grant only if it was given and appended after the erasure.
    fn is_effective(self, decision: ConsentDecision, at_ns: i64) -> bool {
        let Some(epoch) = self.last_erasure.filter(|_| decision != ConsentDecision::Refusal) else {
            return true;
        };
        epoch.precedes(self.appended) && at_ns > epoch.appended.ms.saturating_mul(1_000_000)
    }
}

/// Unreadable records of one patron and one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct UnreadableRecords {
    /// What the versions of a record may be about, by the hash of its id; `None` for records whose
    /// id cannot be read either.
    scopes_by_id: HashMap<Option<u64>, Vec<UnreadableScope>>,
    /// How many records may be about a scope.
    records_per_scope: HashMap<UnreadableScope, usize>,
}

impl UnreadableRecords {
    /// Replaces what the versions of a record may be about; returns what was there.
    fn set_scopes(
        &mut self,
        id: Option<u64>,
        scopes: Vec<UnreadableScope>,
    ) -> Vec<UnreadableScope> {
        for scope in &scopes {
            *self.records_per_scope.entry(*scope).or_default() += 1;
        }
        let before = match scopes.is_empty() {
            true => self.scopes_by_id.remove(&id),
            false => self.scopes_by_id.insert(id, scopes),
        };
        let before = before.unwrap_or_default();
        for scope in &before {
            if let Some(count) = self.records_per_scope.get_mut(scope) {
                *count -= 1;
            }
        }
        self.records_per_scope.retain(|_, count| *count > 0);
        before
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateTopic {
    Consent,
    Objection,
    Settlement,
}

/// A settlement that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settlement {
    /// The id of the record that it settles.
    settled_id: Box<str>,
    appended: Option<AppendTime>,
}

/// The settlements of one patron.
#[derive(Clone, Debug, Default)]
struct Settlements {
    by_id: HashMap<u64, Settlement>,
    /// How many settlements name a record, by its id, sorted.
    count_by_settled_id: BTreeMap<Box<str>, usize>,
}

impl Settlements {
    /// Replaces the settlement with this id; returns what was there.
    fn replace(&mut self, id: u64, settlement: Option<Settlement>) -> Option<Settlement> {
        if let Some(one) = &settlement {
            *self.count_by_settled_id.entry(one.settled_id.clone()).or_default() += 1;
        }
        let before = match settlement {
            Some(settlement) => self.by_id.insert(id, settlement),
            None => self.by_id.remove(&id),
        };
        if let Some(before) = &before
            && let Some(count) = self.count_by_settled_id.get_mut(&before.settled_id)
        {
            *count -= 1;
            if *count == 0 {
                self.count_by_settled_id.remove(&before.settled_id);
            }
        }
        before
    }
}

/// What one record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateEvent {
    /// Sets the consent with this id, or removes it.
    Consent(u64, Option<Consent>),
    /// A null: ends all grants so far.
    EndGrants,
    /// Sets the objection with this id, to one purpose or to all, or removes it.
    Objection(u64, Option<ConsentScope>),
    /// An objection to marketing, and its time.
    MarketingObjection(u64, i64),
    /// Stops all that the unreadable record may be about. A later version with the same id lifts
    /// the stop.
    Unreadable(GateTopic, Option<u64>, UnreadableScope),
    /// Sets the record that the settlement with this id settles, or removes the settlement.
    Settlement(u64, Option<Box<str>>),
}

/// A consent with an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    pub about: ConsentScope,
    pub decision: ConsentDecision,
    pub at_ns: i64,
    pub library: Box<str>,
    /// The other patron that it names; its number becomes the recipient of `about`.
    pub named_patron: Option<Box<str>>,
}

/// A patron that consents of another one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedPatron<'a> {
    /// Among those that the other one names.
    pub number: u16,
    pub id: &'a str,
}

/// Number of all libraries beyond those that are told apart: their grants are not effective.
const LIBRARIES_MAX: usize = 64;

impl Consent {
    fn is_grant(&self) -> bool {
        self.decision != ConsentDecision::Refusal
    }
}

impl GateEvent {
    /// Whether it is a consent that is given.
    #[must_use]
    pub fn is_grant(&self) -> bool {
        matches!(self, GateEvent::Consent(_, Some(consent)) if consent.is_grant())
    }

    fn topic(&self) -> GateTopic {
        match self {
            GateEvent::Consent(..) | GateEvent::EndGrants => GateTopic::Consent,
            GateEvent::Objection(..) | GateEvent::MarketingObjection(..) => GateTopic::Objection,
            GateEvent::Unreadable(topic, ..) => *topic,
            GateEvent::Settlement(..) => GateTopic::Settlement,
        }
    }
}

/// A change of a patron's statements; the undo log has the inverse ones.
#[derive(Clone, Debug)]
enum ConsentChange {
    NextOffset(GateTopic, i64),
    MarketingObjection(Option<i64>),
    GrantAppended(u64, Option<Option<AppendTime>>),
    Event(ConsentList, u64, Option<ConsentEvent>),
    Unreadable(GateTopic, Option<u64>, Vec<UnreadableScope>),
    Settlement(u64, Option<Settlement>),
    /// Gives the next library a number, or takes the last number back.
    LibraryName(Option<Arc<str>>),
    /// Gives a number to a patron that consents name, or takes it back.
    PatronName(u16, Option<Arc<str>>),
}

#[derive(Clone, Copy, Debug)]
enum ConsentList {
    Consents,
    Objections,
}

impl PatronConsents {
    /// The consents; of grants only those of libraries for which `is_effective_library` holds.
    #[must_use]
    pub fn effective_consents(
        &self,
        is_effective_library: impl Fn(&str) -> bool,
    ) -> ConsentView<'_> {
        let numbered = self.library_names.iter().enumerate();
        let counting = numbered.filter(|(_, library)| is_effective_library(library));
        ConsentView {
            events: &self.consents,
            granting_libraries: counting.fold(0, |all, (number, _)| all | 1 << number),
            needs_signature: false,
        }
    }

    /// The patrons that grants for a purpose name, in force or not, by their ids.
    #[must_use]
    pub fn named_patrons(&self, purpose: u16) -> Vec<NamedPatron<'_>> {
        let Some(names) = &self.patron_names else {
            return Vec::new();
        };
        let is_named = |one: &&ConsentEvent| {
            one.scope.purpose == purpose && one.decision != ConsentDecision::Refusal
        };
        let numbers: BTreeSet<u16> =
            self.consents.iter().filter(is_named).map(|one| one.scope.recipient).collect();
        let mut named: Vec<NamedPatron<'_>> = numbers
            .into_iter()
            .filter_map(|number| Some(NamedPatron { number, id: names.find(number)? }))
            .collect();
        named.sort_unstable_by_key(|patron| patron.id);
        named
    }

    /// When it last objected to marketing.
    #[must_use]
    pub fn marketing_objection_ns(&self) -> Option<i64> {
        self.marketing_objection_ns
    }

    /// Whether an objection for special circumstances stands against `purpose`.
    #[must_use]
    pub fn has_objection(&self, purpose: u16) -> bool {
        has_objection(&self.objections, purpose)
    }

    /// Whether it refused the purpose, for this recipient or for all.
    #[must_use]
    pub fn has_refusal(&self, asked: &ConsentQuery) -> bool {
        has_refusal(&self.consents, asked)
    }

    /// Whether an unreadable record may be about this. With `any_purpose` a record whose purpose
    /// cannot be read may be.
    #[must_use]
    pub fn has_unreadable(
        &self,
        topic: GateTopic,
        asked: &ConsentQuery,
        any_purpose: bool,
    ) -> bool {
        let Some(all) = &self.unreadable else {
            return false;
        };
        let counts = &all[topic as usize].records_per_scope;
        asked.blocking_scopes(any_purpose).any(|scope| counts.contains_key(&scope))
    }

    /// Whether a settlement names the record with this id.
    #[must_use]
    pub fn is_settled(&self, record_id: &str) -> bool {
        let settlements = self.settlements.as_deref();
        settlements.is_some_and(|all| all.count_by_settled_id.contains_key(record_id))
    }

    /// The ids of the records that settlements name, in order, each once.
    pub fn settled_ids(&self) -> impl Iterator<Item = &str> {
        let settlements = self.settlements.as_deref().into_iter();
        settlements.flat_map(|all| all.count_by_settled_id.keys().map(|id| &**id))
    }

    /// Removes the grants and settlements that were given before an erasure.
    fn drop_grants_before(&mut self, erasure: LastErasure, undo: &mut ConsentUndo<'_>) {
        let ended = self.grants().filter(|(one, appended)| {
            let came = StatementTiming { appended: *appended, last_erasure: Some(erasure) };
            !came.is_effective(one.decision, one.at_ns)
        });
        let ended: Vec<u64> = ended.map(|(one, _)| one.id_hash).collect();
        for id in ended {
            undo.apply_and_log(self, ConsentChange::Event(ConsentList::Consents, id, None));
            undo.apply_and_log(self, ConsentChange::GrantAppended(id, None));
        }
        let settlements = self.settlements.iter().flat_map(|all| &all.by_id);
        let ended = settlements.filter(|(_, one)| !erasure.precedes(one.appended));
        let ended: Vec<u64> = ended.map(|(id, _)| *id).collect();
        for id in ended {
            undo.apply_and_log(self, ConsentChange::Settlement(id, None));
        }
    }

    /// The grants, and when each was appended. Does not iterate over refusals, of which there may
    /// be many more.
    fn grants(&self) -> impl Iterator<Item = (ConsentEvent, Option<AppendTime>)> {
        let came = self.grants_appended.iter();
        came.filter_map(|(id, appended)| Some((self.consents.find_by_id(*id)?, *appended)))
    }

    /// Whether nothing is in force but stops for unreadable records.
    #[must_use]
    pub fn has_only_unreadable(&self) -> bool {
        self.consents.is_empty()
            && self.objections.is_empty()
            && self.marketing_objection_ns.is_none()
            && self.settled_ids().next().is_none()
    }

    fn is_empty(&self) -> bool {
        let lists = [&self.consents, &self.objections];
        let unreadable = self.unreadable.as_deref();
        lists.iter().all(|list| list.is_empty())
            && self.marketing_objection_ns.is_none()
            && unreadable.is_none_or(|all| all.iter().all(|one| one.scopes_by_id.is_empty()))
            && self.settled_ids().next().is_none()
            && self.next_offsets == [0; 3]
    }

    fn list_mut(&mut self, list: ConsentList) -> &mut ConsentEvents {
        match list {
            ConsentList::Consents => &mut self.consents,
            ConsentList::Objections => &mut self.objections,
        }
    }

    /// Applies a change; returns the inverse one.
    fn apply_change(&mut self, change: ConsentChange) -> ConsentChange {
        match change {
            ConsentChange::NextOffset(topic, offset) => {
                let next_offset = &mut self.next_offsets[topic as usize];
                ConsentChange::NextOffset(topic, std::mem::replace(next_offset, offset))
            }
            ConsentChange::GrantAppended(id, appended) => {
                let before = match appended {
                    Some(appended) => self.grants_appended.insert(id, appended),
                    None => self.grants_appended.remove(&id),
                };
                ConsentChange::GrantAppended(id, before)
            }
            ConsentChange::MarketingObjection(at_ns) => ConsentChange::MarketingObjection(
                std::mem::replace(&mut self.marketing_objection_ns, at_ns),
            ),
            ConsentChange::Event(list, id, statement) => {
                let before = self.list_mut(list).replace_by_id(id, statement);
                if let (ConsentList::Consents, Some(names)) = (list, &mut self.patron_names) {
                    names.count(statement.as_ref(), true);
                    names.count(before.as_ref(), false);
                }
                ConsentChange::Event(list, id, before)
            }
            ConsentChange::Unreadable(topic, id, scopes) => {
                let all = self.unreadable.get_or_insert_default();
                let before = all[topic as usize].set_scopes(id, scopes);
                ConsentChange::Unreadable(topic, id, before)
            }
            ConsentChange::Settlement(id, settlement) => {
                let all = self.settlements.get_or_insert_default();
                ConsentChange::Settlement(id, all.replace(id, settlement))
            }
            ConsentChange::LibraryName(name) => ConsentChange::LibraryName(match name {
                Some(name) => {
                    self.library_names.push(name);
                    None
                }
                None => self.library_names.pop(),
            }),
            ConsentChange::PatronName(number, id) => {
                let names = self.patron_names.get_or_insert_default();
                let before = match id {
                    Some(id) => {
                        names.take(number, id);
                        None
                    }
                    None => names.free(number),
                };
                ConsentChange::PatronName(number, before)
            }
        }
    }

    /// Drops the ids of patrons that no consent names any more, after changes with these inverse
    /// ones. They can then no longer be undone.
    fn drop_unused_names(&mut self, inverse_changes: &[ConsentChange]) {
        let Some(names) = &mut self.patron_names else {
            return;
        };
        for change in inverse_changes {
            match change {
                ConsentChange::Event(ConsentList::Consents, _, Some(before))
                    if names.purposes.contains(&before.scope.purpose) =>
                {
                    names.drop_unused(before.scope.recipient);
                }
                ConsentChange::PatronName(number, _) => names.drop_unused(*number),
                _ => {}
            }
        }
        if names.numbers.is_empty() {
            self.patron_names = None;
        }
    }

    /// Applies a statement, and logs what each change replaces.
    fn apply(
        &mut self,
        statement: GateStatement<'_>,
        library_names: &mut LibraryNames,
        undo: &mut ConsentUndo<'_>,
    ) {
        let GateStatement { offset, event, timing, patron_id, .. } = statement;
        let topic = event.topic();
        undo.apply_and_log(self, ConsentChange::NextOffset(topic, offset + 1));
        match event {
            GateEvent::Consent(id, consent) => {
                let consent =
                    consent.filter(|consent| timing.is_effective(consent.decision, consent.at_ns));
                let consent =
                    consent.and_then(|consent| self.number_patron(consent, patron_id, undo));
                let grants = consent.as_ref().is_some_and(Consent::is_grant);
                let appended = grants.then_some(timing.appended);
                if appended.is_some() || self.grants_appended.contains_key(&id) {
                    undo.apply_and_log(self, ConsentChange::GrantAppended(id, appended));
                }
                let statement =
                    consent.map(|consent| self.make_event(id, consent, library_names, undo));
                undo.apply_and_log(
                    self,
                    ConsentChange::Event(ConsentList::Consents, id, statement),
                );
                self.lift_unreadable(topic, id, undo);
            }
            GateEvent::EndGrants => {
                let ids: Vec<u64> = self.grants().map(|(one, _)| one.id_hash).collect();
                for id in ids {
                    undo.apply_and_log(self, ConsentChange::Event(ConsentList::Consents, id, None));
                    undo.apply_and_log(self, ConsentChange::GrantAppended(id, None));
                }
            }
            GateEvent::Objection(id, about) => {
                let statement = about.map(|about| objection_event(id, about));
                undo.apply_and_log(
                    self,
                    ConsentChange::Event(ConsentList::Objections, id, statement),
                );
                self.lift_unreadable(topic, id, undo);
            }
            GateEvent::MarketingObjection(id, at_ns) => {
                undo.apply_and_log(self, ConsentChange::Event(ConsentList::Objections, id, None));
                let latest = self.marketing_objection_ns.max(Some(at_ns));
                undo.apply_and_log(self, ConsentChange::MarketingObjection(latest));
                self.lift_unreadable(topic, id, undo);
            }
            GateEvent::Settlement(id, settled_id) => {
                let appended = timing.appended;
                let is_effective = timing.last_erasure.is_none_or(|last| last.precedes(appended));
                let settled_id = settled_id.filter(|_| is_effective);
                let settlement = settled_id.map(|settled_id| Settlement { settled_id, appended });
                undo.apply_and_log(self, ConsentChange::Settlement(id, settlement));
            }
            GateEvent::Unreadable(topic, id, scope) => {
                let known = self.unreadable.as_deref();
                let known = known.and_then(|all| all[topic as usize].scopes_by_id.get(&id));
                let mut scopes = known.cloned().unwrap_or_default();
                if !scopes.contains(&scope) {
                    scopes.push(scope);
                    undo.apply_and_log(self, ConsentChange::Unreadable(topic, id, scopes));
                }
            }
        }
    }

    /// Lifts the stop of a record that can be read again.
    fn lift_unreadable(&mut self, topic: GateTopic, id: u64, undo: &mut ConsentUndo<'_>) {
        if self.unreadable.is_some() {
            undo.apply_and_log(self, ConsentChange::Unreadable(topic, Some(id), Vec::new()));
        }
    }

    fn make_event(
        &mut self,
        id: u64,
        consent: Consent,
        library_names: &mut LibraryNames,
        undo: &mut ConsentUndo<'_>,
    ) -> ConsentEvent {
        let about = match consent.decision {
            // A refusal counts whichever library it is of.
            ConsentDecision::Refusal => consent.about,
            _ => {
                let number = self.number_library(&consent.library, library_names, undo);
                consent.about.for_library(number)
            }
        };
        ConsentEvent { id_hash: id, scope: about, decision: consent.decision, at_ns: consent.at_ns }
    }

    /// Gives the patron that a consent names its number; `None` if it then says nothing.
    fn number_patron(
        &mut self,
        mut consent: Consent,
        patron_id: &str,
        undo: &mut ConsentUndo<'_>,
    ) -> Option<Consent> {
        let Some(named) = consent.named_patron.take() else {
            return Some(consent);
        };
        // Nobody grants anything to oneself.
        if *named == *patron_id && consent.is_grant() {
            return None;
        }
        let names = self.patron_names.get_or_insert_default();
        let known = names.number(&named);
        let Some(number) = known.or_else(|| names.next_number()) else {
            // Nobody more can be named, and a refusal is one of all.
            consent.about.recipient = WILDCARD;
            return (!consent.is_grant()).then_some(consent);
        };
        names.purposes.insert(consent.about.purpose);
        if known.is_none() {
            let id = Some(Arc::from(named));
            undo.apply_and_log(self, ConsentChange::PatronName(number, id));
        }
        consent.about.recipient = number;
        Some(consent)
    }

    /// Returns the number of a library, `LIBRARIES_MAX` if there are no more numbers.
    fn number_library(
        &mut self,
        library: &str,
        library_names: &mut LibraryNames,
        undo: &mut ConsentUndo<'_>,
    ) -> u16 {
        let known = self.library_names.iter().position(|one| **one == *library);
        let place = known.unwrap_or_else(|| {
            let next = self.library_names.len();
            if next < LIBRARIES_MAX {
                let name = library_names.intern(library);
                undo.apply_and_log(self, ConsentChange::LibraryName(Some(name)));
            }
            next
        });
        u16::try_from(place).unwrap_or(u16::MAX)
    }
}

fn objection_event(id: u64, about: ConsentScope) -> ConsentEvent {
    ConsentEvent { id_hash: id, scope: about, decision: ConsentDecision::Refusal, at_ns: LATEST_NS }
}

/// Logs the inverse of each change.
struct ConsentUndo<'a>(&'a mut Vec<ConsentChange>);

impl ConsentUndo<'_> {
    fn apply_and_log(&mut self, consents: &mut PatronConsents, change: ConsentChange) {
        let before = consents.apply_change(change);
        self.0.push(before);
    }
}

/// The names of libraries, interned.
#[derive(Debug, Default)]
struct LibraryNames(HashSet<Arc<str>>);

impl LibraryNames {
    fn intern(&mut self, library: &str) -> Arc<str> {
        if let Some(known) = self.0.get(library) {
            return Arc::clone(known);
        }
        let name: Arc<str> = library.into();
        self.0.insert(Arc::clone(&name));
        name
    }
}

/// How a patron with statements is found.
#[derive(Debug)]
enum PatronKey {
    Id(Box<str>),
    /// Of an erased patron: its id must not be kept.
    Erased(PatronHash),
}

#[derive(Debug)]
struct PatronEntry {
    /// The hash of the id in the table.
    hash: u64,
    key: PatronKey,
    consents: PatronConsents,
}

impl PatronEntry {
    #[inline]
    fn matches(&self, sought: SoughtId<'_>) -> bool {
        self.hash == sought.hash
            && match &self.key {
                PatronKey::Id(id) => **id == *sought.patron_id,
                PatronKey::Erased(patron) => {
                    *patron == sought.state_keys.patron_hash(sought.patron_id)
                }
            }
    }

    /// Whether it has an id that must not be kept.
    fn has_unwanted_id(
        &self,
        partition: i32,
        is_unwanted: &impl Fn(i32, &str, &PatronConsents) -> bool,
    ) -> bool {
        matches!(&self.key, PatronKey::Id(id) if is_unwanted(partition, id, &self.consents))
    }

    /// Puts the keyed hash of the id in its place.
    fn hash_id(&mut self, state_keys: &StateKeys) {
        if let PatronKey::Id(id) = &self.key {
            self.key = PatronKey::Erased(state_keys.patron_hash(id));
        }
    }
}

/// The consents and objections of a worker's partitions.
#[derive(Debug, Default)]
pub struct ConsentTable {
    partitions: HashMap<i32, HashTable<PatronEntry>, foldhash::fast::RandomState>,
    keys: TableKeys,
    library_names: LibraryNames,
    /// What the batch changed, oldest first.
    undo_log: Vec<(i32, Box<str>, Vec<ConsentChange>)>,
    /// What a restored statement changed.
    restored_changes: Vec<ConsentChange>,
}

impl ConsentTable {
    /// Creates a table that has the hashes of the state in place of the ids of erased patrons.
    #[must_use]
    pub fn with_state_keys(state_keys: StateKeys) -> ConsentTable {
        let keys = TableKeys { state_keys, ..TableKeys::default() };
        ConsentTable { keys, ..ConsentTable::default() }
    }

    #[inline]
    #[must_use]
    pub fn find(&self, partition: i32, patron_id: &str) -> Option<&PatronConsents> {
        let sought = self.keys.seek(patron_id);
        let part = self.partitions.get(&partition)?;
        part.find(sought.hash, |entry| entry.matches(sought)).map(|entry| &entry.consents)
    }

    fn find_entry(&mut self, partition: i32, patron_id: &str) -> Option<&mut PatronEntry> {
        let sought = self.keys.seek(patron_id);
        let part = self.partitions.get_mut(&partition)?;
        part.find_mut(sought.hash, |entry| entry.matches(sought))
    }

    /// Applies a statement within the batch, unless a later one was applied. Returns
    /// whether it was new.
    pub fn apply_in_batch(&mut self, statement: GateStatement<'_>) -> bool {
        let GateStatement { partition, offset, patron_id, .. } = statement;
        let known = self.find(partition, patron_id);
        let topic = statement.event.topic();
        if known.is_some_and(|known| known.next_offsets[topic as usize] > offset) {
            return false;
        }
        let mut changes = Vec::new();
        self.apply(statement, &mut ConsentUndo(&mut changes));
        self.undo_log.push((partition, patron_id.into(), changes));
        true
    }

    /// A patron was erased, within the batch: what it granted does not count for whom its
    /// id is given next. What it refused stays.
    pub fn drop_grants_before(&mut self, partition: i32, patron_id: &str, erasure: LastErasure) {
        let Some(entry) = self.find_entry(partition, patron_id) else {
            return;
        };
        let mut changes = Vec::new();
        entry.consents.drop_grants_before(erasure, &mut ConsentUndo(&mut changes));
        self.undo_log.push((partition, patron_id.into(), changes));
    }

    /// Before a commit: drops the ids of patrons of the batch for which `is_unwanted` holds. What
    /// they refused stays, and is found by a hash of the id.
    pub fn drop_ids_in_batch(&mut self, is_unwanted: impl Fn(i32, &str, &PatronConsents) -> bool) {
        let ConsentTable { partitions, keys, undo_log, .. } = self;
        for (partition, patron_id, _) in undo_log {
            let sought = keys.seek(patron_id);
            let part = partitions.get_mut(partition);
            let entry = part.and_then(|part| part.find_mut(sought.hash, |one| one.matches(sought)));
            if let Some(entry) = entry.filter(|one| one.has_unwanted_id(*partition, &is_unwanted)) {
                entry.hash_id(&keys.state_keys);
            }
        }
    }

    /// The same of all patrons of a partition, outside of any batch.
    pub fn drop_ids_of_partition(
        &mut self,
        partition: i32,
        is_unwanted: impl Fn(i32, &str, &PatronConsents) -> bool,
    ) {
        let entries = self.partitions.get_mut(&partition).into_iter().flat_map(HashTable::iter_mut);
        for entry in entries.filter(|entry| entry.has_unwanted_id(partition, &is_unwanted)) {
            entry.hash_id(&self.keys.state_keys);
        }
    }

    /// Applies a statement outside of any batch; they come in the order of their source.
    pub fn restore(&mut self, statement: GateStatement<'_>) {
        let (partition, patron_id) = (statement.partition, statement.patron_id);
        let mut changes = std::mem::take(&mut self.restored_changes);
        self.apply(statement, &mut ConsentUndo(&mut changes));
        self.drop_unused_names((partition, patron_id), &changes);
        changes.clear();
        self.restored_changes = changes;
    }

    fn apply(&mut self, statement: GateStatement<'_>, undo: &mut ConsentUndo<'_>) {
        let part = self.partitions.entry(statement.partition).or_default();
        let sought = self.keys.seek(statement.patron_id);
        let matches = |entry: &PatronEntry| entry.matches(sought);
        let mut found = part.entry(sought.hash, matches, |entry| entry.hash).or_insert_with(|| {
            let key = PatronKey::Id(sought.patron_id.into());
            PatronEntry { hash: sought.hash, key, consents: PatronConsents::default() }
        });
        found.get_mut().consents.apply(statement, &mut self.library_names, undo);
    }

    fn drop_unused_names(
        &mut self,
        (partition, patron_id): (i32, &str),
        inverse_changes: &[ConsentChange],
    ) {
        if let Some(entry) = self.find_entry(partition, patron_id) {
            entry.consents.drop_unused_names(inverse_changes);
        }
    }

    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    fn patrons(&self) -> impl Iterator<Item = &PatronConsents> {
        self.partitions.values().flatten().map(|entry| &entry.consents)
    }

    /// The ids of other patrons that are held because consents name them: after a commit only
    /// those that a consent in force names.
    pub fn named_patron_ids(&self) -> impl Iterator<Item = &str> {
        let names = self.patrons().filter_map(|patron| patron.patron_names.as_deref());
        names.flat_map(|names| names.names.iter().filter_map(|name| name.id.as_deref()))
    }
}

impl Transactional for ConsentTable {
    fn commit(&mut self) {
        let mut undo_log = std::mem::take(&mut self.undo_log);
        for (partition, patron_id, changes) in undo_log.drain(..) {
            self.drop_unused_names((partition, &patron_id), &changes);
        }
        self.undo_log = undo_log;
    }

    fn rollback(&mut self) {
        while let Some((partition, patron_id, changes)) = self.undo_log.pop() {
            let part = self.partitions.entry(partition).or_default();
            let sought = self.keys.seek(&patron_id);
            let Ok(mut entry) = part.find_entry(sought.hash, |entry| entry.matches(sought)) else {
                continue;
            };
            let consents = &mut entry.get_mut().consents;
            for change in changes.into_iter().rev() {
                consents.apply_change(change);
            }
            if consents.is_empty() {
                entry.remove();
            }
        }
    }

    fn retain_partitions(&mut self, is_kept: &dyn Fn(i32) -> bool) {
        self.partitions.retain(|&partition, _| is_kept(partition));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::consent::GrantGivers;
    use crate::policy::consent_events::WILDCARD;

    const PATRON: &str = "p1";

    fn statement(offset: i64, event: GateEvent) -> GateStatement<'static> {
        let timing = StatementTiming::default();
        GateStatement { partition: 0, offset, patron_id: PATRON, event, timing }
    }

    fn any_event() -> impl Strategy<Value = GateEvent> {
        let decisions = [
            ConsentDecision::Refusal,
            ConsentDecision::DigitalGrant,
            ConsentDecision::WrittenGrant,
        ];
        (0..9_u8, 0..4_u64, 0..3_u16, 0..3_usize, 0..5_i64).prop_map(
            move |(sort, id, number, decision, at_ns)| {
                let about = ConsentScope::for_purpose(number);
                let scope = UnreadableScope { purpose: number, recipient: WILDCARD };
                let consent = Consent {
                    about,
                    decision: decisions[decision],
                    at_ns,
                    library: format!("NL-{number}").into(),
                    named_patron: (number == 2).then(|| format!("kin-{id}").into()),
                };
                match sort {
                    0..=2 => GateEvent::Consent(id, (sort > 0).then_some(consent)),
                    3 => GateEvent::EndGrants,
                    4 => GateEvent::Objection(id, (decision > 0).then_some(about)),
                    5 => GateEvent::MarketingObjection(id, at_ns),
                    6 => {
                        GateEvent::Settlement(id, (decision > 0).then(|| number.to_string().into()))
                    }
                    7 => {
                        GateEvent::Unreadable(GateTopic::Consent, (number > 0).then_some(id), scope)
                    }
                    _ => GateEvent::Unreadable(
                        GateTopic::Objection,
                        (number > 0).then_some(id),
                        scope,
                    ),
                }
            },
        )
    }

    /// All that gates ask.
    fn gate_answers(table: &ConsentTable) -> Option<String> {
        let patron = table.find(0, PATRON)?;
        // For the purpose that names patrons by what was named, not by its number: numbers are
        // given again.
        let named = patron.named_patrons(2);
        let asked = [0, 1, 3].map(|number| (number, number)).into_iter();
        let asked = asked.chain(named.iter().map(|one| (2, one.number)));
        let asked = asked.map(|(purpose, recipient)| ConsentQuery {
            purpose,
            recipient,
            is_explicit: false,
            givers: GrantGivers::Anyone,
        });
        let answers = asked.map(|asked| {
            let topics = [GateTopic::Consent, GateTopic::Objection];
            let unreadable = topics.map(|topic| patron.has_unreadable(topic, &asked, true));
            let library = format!("NL-{}", asked.purpose);
            let consents = patron.effective_consents(|granted| granted == library);
            let consent = crate::policy::consent::evaluate_consent(&consents, &asked, None, 2);
            let objects = patron.has_objection(asked.purpose);
            format!("{unreadable:?} {consent:?} {objects} {}", patron.has_refusal(&asked))
        });
        let marketing = patron.marketing_objection_ns();
        let settled: Vec<_> = patron.settled_ids().map(|id| (id, patron.is_settled(id))).collect();
        let named: Vec<&str> = named.iter().map(|one| one.id).collect();
        let answers: Vec<_> = answers.collect();
        Some(format!("{marketing:?} {settled:?} {named:?} {answers:?}"))
    }

    proptest! {
        /// An aborted batch has no effect, a committed one that of restored statements.
        #[test]
        fn consents_rollback_leaves_no_trace(
            batches in prop::collection::vec(
                (prop::collection::vec(any_event(), 0..6), any::<bool>()), 0..8),
        ) {
            let (mut table, mut plain) = (ConsentTable::default(), ConsentTable::default());
            let mut offset = 0;
            for (batch, is_aborted) in batches {
                let before = gate_answers(&table);
                for message in batch {
                    offset += 1;
                    prop_assert!(table.apply_in_batch(statement(offset, message.clone())));
                    prop_assert!(!table.apply_in_batch(statement(offset, message.clone())));
                    if !is_aborted {
                        plain.restore(statement(offset, message));
                    }
                }
                if is_aborted {
                    table.rollback();
                    prop_assert_eq!(gate_answers(&table), before);
                } else {
                    table.commit();
                    prop_assert_eq!(gate_answers(&table), gate_answers(&plain));
                }
            }
        }
    }

    /// Whether each name has the number under which it is found, and the others are free.
    fn check_names(table: &ConsentTable) {
        for names in table.patrons().filter_map(|patron| patron.patron_names.as_deref()) {
            assert!(names.names.last().is_none_or(|last| last.id.is_some()), "{names:?}");
            for (number, name) in (0..).zip(&names.names) {
                let found = name.id.as_deref().and_then(|id| names.number(id));
                assert_eq!(found, name.id.is_some().then_some(number), "{names:?}");
                assert_eq!(found.is_none(), names.free_numbers.contains(&number), "{names:?}");
            }
            let taken = names.names.iter().filter(|name| name.id.is_some()).count();
            assert_eq!(
                (taken, names.free_numbers.len()),
                (names.numbers.len(), names.names.len() - taken)
            );
        }
    }

    /// What a batch does: a consent comes or is taken back, all grants end, or the patron is erased.
    fn any_naming_event() -> impl Strategy<Value = (u8, u64, u8, bool)> {
        (0..8_u8, 0..4_u64, 0..5_u8, any::<bool>())
    }

    proptest! {
        /// After a commit the table holds the ids that a consent in force names and no others,
        /// whatever was withdrawn, replaced or erased before; after an abort what it held.
        #[test]
        fn consents_hold_ids_of_patrons_only_while_a_consent_names_them(
            batches in prop::collection::vec(
                (prop::collection::vec(any_naming_event(), 0..6), any::<bool>()), 0..10),
        ) {
            let mut table = ConsentTable::default();
            // By the consent's id: whom it names, and whether it is a grant.
            let mut plain: BTreeMap<u64, (String, bool)> = BTreeMap::new();
            let mut offset = 0;
            for (batch, is_aborted) in batches {
                let mut next = plain.clone();
                for (action, id, kin, is_grant) in batch {
                    offset += 1;
                    let named = format!("kin-{kin}");
                    let consent = Consent {
                        about: ConsentScope::for_purpose(1).for_recipient(NAMED_PATRON),
                        decision: match is_grant {
                            true => ConsentDecision::WrittenGrant,
                            false => ConsentDecision::Refusal,
                        },
                        at_ns: 0,
                        library: "NL-A".into(),
                        named_patron: Some(named.as_str().into()),
                    };
                    let event = match action {
                        0..=4 => {
                            next.insert(id, (named, is_grant));
                            GateEvent::Consent(id, Some(consent))
                        }
                        5 => {
                            next.remove(&id);
                            GateEvent::Consent(id, None)
                        }
                        6 => {
                            next.retain(|_, (_, is_grant)| !*is_grant);
                            GateEvent::EndGrants
                        }
                        _ => {
                            next.retain(|_, (_, is_grant)| !*is_grant);
                            table.drop_grants_before(0, PATRON, LastErasure::AFTER_EVERYTHING);
                            continue;
                        }
                    };
                    prop_assert!(table.apply_in_batch(statement(offset, event)));
                }
                match is_aborted {
                    true => table.rollback(),
                    false => {
                        table.commit();
                        plain = next;
                    }
                }
                check_names(&table);
                let wanted: BTreeSet<&str> =
                    plain.values().map(|(named, _)| named.as_str()).collect();
                prop_assert_eq!(table.named_patron_ids().collect::<BTreeSet<_>>(), wanted);
            }
        }
    }

    /// Numbers run out: those that an aborted batch gave are given again.
    #[test]
    fn consents_rollback_takes_numbers_back() {
        let grant = |number: usize| {
            let consent = Consent {
                about: ConsentScope::for_purpose(1),
                decision: ConsentDecision::WrittenGrant,
                at_ns: 0,
                library: format!("NL-{number}").into(),
                named_patron: Some(format!("kin-{number}").into()),
            };
            GateEvent::Consent(u64::try_from(number).unwrap(), Some(consent))
        };
        let mut table = ConsentTable::default();
        let mut offset = 0;
        for first in [0, 1_000, 2_000] {
            for number in first..first + LIBRARIES_MAX {
                table.apply_in_batch(statement(offset, grant(number)));
                offset += 1;
            }
            let patron = table.find(0, PATRON).unwrap();
            let last = format!("NL-{}", first + LIBRARIES_MAX - 1);
            let consents = patron.effective_consents(|library| *library == *last);
            assert_eq!(consents.granting_libraries, 1 << (LIBRARIES_MAX - 1));
            assert_eq!(patron.named_patrons(1).len(), LIBRARIES_MAX);
            table.rollback();
            assert!(table.find(0, PATRON).is_none());
        }
    }

    /// A stop is lifted by a version of its own record alone.
    #[test]
    fn consents_unreadable_record_stops_until_it_can_be_read() {
        let givers = GrantGivers::Anyone;
        let asked = ConsentQuery { purpose: 1, recipient: 7, is_explicit: false, givers };
        let scope = |purpose, recipient| UnreadableScope { purpose, recipient };
        let mut table = ConsentTable::default();
        let mut offset = 0;
        let mut say = |message: GateEvent| {
            offset += 1;
            table.apply_in_batch(statement(offset, message));
            let patron = table.find(0, PATRON);
            patron.is_some_and(|patron| patron.has_unreadable(GateTopic::Consent, &asked, true))
        };
        let unreadable = |id, scope| GateEvent::Unreadable(GateTopic::Consent, id, scope);
        assert!(!say(unreadable(Some(3), scope(1, 8))));
        assert!(!say(unreadable(Some(3), scope(2, 7))));
        assert!(say(unreadable(Some(3), scope(1, WILDCARD))));
        assert!(say(GateEvent::Consent(4, None)));
        assert!(say(GateEvent::EndGrants));
        assert!(say(unreadable(Some(3), scope(2, 7))), "each version adds its own");
        assert!(!say(GateEvent::Consent(3, None)));
        assert!(say(unreadable(None, scope(WILDCARD, 7))));
        assert!(say(GateEvent::Consent(3, None)), "nothing of the patron's lifts it");
    }

    /// Each of very many records of one patron costs as much as the first.
    #[test]
    fn consents_cost_per_record_does_not_grow() {
        let mut table = ConsentTable::default();
        for number in 0..40_000_u64 {
            let at_ns = i64::try_from(number).unwrap();
            let consent = Consent {
                about: ConsentScope::for_purpose(1),
                decision: ConsentDecision::WrittenGrant,
                at_ns,
                library: "NL-A".into(),
                named_patron: (number % 3 == 0).then(|| format!("kin-{number}").into()),
            };
            let message = match number % 4 {
                0 => GateEvent::Unreadable(
                    GateTopic::Consent,
                    Some(number),
                    UnreadableScope::WILDCARD,
                ),
                1 => GateEvent::Objection(number, Some(ConsentScope::for_purpose(2))),
                _ => GateEvent::Consent(number, Some(consent)),
            };
            assert!(table.apply_in_batch(statement(at_ns, message)));
        }
        let patron = table.find(0, PATRON).unwrap();
        assert!(patron.has_objection(2));
        table.rollback();
        assert!(table.find(0, PATRON).is_none());
    }
}
