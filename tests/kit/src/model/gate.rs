//! Section 5 of docs/rules.md: consents and objections of a patron, and what follows
//! from them for a recipient.
//!
//! Statements are kept as they were read and searched anew for each question.

use std::collections::{BTreeMap, BTreeSet};

use zeef::policy::Policy;
use zeef::policy::catalogue::RecordKind;
use zeef::policy::recipient::{LegalBasis, NamedPatronRule, Recipient};
use zeef::policy::term::Term;

use super::form::{CalendarDay, Moment, age_in_years, parse_moment};
use super::json::JsonNode;
use super::lookup::{FieldLookup, look_up};

pub fn is_consent_or_objection(kind: &str) -> bool {
    matches!(kind, "consent" | "objection")
}

/// The names that consents and objections may carry.
#[derive(Clone, Debug)]
pub struct PolicyNames {
    purposes: Vec<String>,
    recipients: Vec<String>,
    /// Purposes whose consents name a patron where others name a recipient (F32), and the
    /// recipients that ask for them.
    named_purposes: Vec<String>,
    of_named_patrons: Vec<String>,
}

impl PolicyNames {
    pub fn from_policy(policy: &Policy) -> PolicyNames {
        let all = || policy.all_recipients();
        let asked = all().filter_map(|one| Some(one.consent.clone()?.purpose));
        let own = all().map(|one| one.purpose.clone());
        PolicyNames {
            purposes: asked.chain(own).chain(policy.other_purposes.clone()).collect(),
            recipients: all().map(|one| one.name.clone()).collect(),
            named_purposes: all().filter_map(named_purpose).map(str::to_owned).collect(),
            of_named_patrons: all()
                .filter(|one| named_purpose(one).is_some())
                .map(|one| one.name.clone())
                .collect(),
        }
    }
}

/// The purpose of a recipient with one output for each patron that a grant names.
fn named_purpose(recipient: &Recipient) -> Option<&str> {
    let rule = recipient.consent.as_ref()?;
    rule.named_patrons.map(|_| rule.purpose.as_str())
}

impl PolicyNames {
    /// What a consent names: for a purpose of named patrons a patron, unless it is blank, or a
    /// recipient's name or nearly one, which is no patron's id and so names nobody.
    fn read_named_patron(
        &self,
        read: &Statement,
        text: Result<Option<String>, &'static str>,
    ) -> NameMatch {
        let is_named = self.named_purposes.iter().any(|purpose| read.purpose.is(purpose));
        let has_no_purpose = matches!(read.purpose, NameMatch::Missing | NameMatch::Near);
        let text = text.ok().flatten();
        let is_blank = text.as_deref().is_some_and(|text| visible_chars(text).next().is_none());
        match &read.recipient {
            NameMatch::Unknown if is_named => NameMatch::Patron(text.unwrap_or_default()),
            NameMatch::Known(_) if is_named => NameMatch::Missing,
            NameMatch::Near if is_named && text.is_some() && !is_blank => NameMatch::Missing,
            NameMatch::Unknown if has_no_purpose && !self.named_purposes.is_empty() => {
                NameMatch::Patron(text.unwrap_or_default())
            }
            NameMatch::Known(name) if has_no_purpose && self.of_named_patrons.contains(name) => {
                NameMatch::Patron(name.clone())
            }
            other => other.clone(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum NameMatch {
    Missing,
    Known(String),
    /// Not understood: blank, or nearly a known name.
    Near,
    Unknown,
    /// A patron's id.
    Patron(String),
}

impl NameMatch {
    fn is(&self, name: &str) -> bool {
        matches!(self, NameMatch::Known(known) if known == name)
    }

    /// Whether it is `name`, or no name at all.
    fn covers(&self, name: &str) -> bool {
        *self == NameMatch::Missing || self.is(name)
    }
}

fn match_name(known: &[String], text: Option<&str>) -> NameMatch {
    match text {
        None => NameMatch::Missing,
        Some(text) if known.iter().any(|one| one == text) => NameMatch::Known(text.to_owned()),
        // What nobody sees may mean anything.
        Some(text) if visible_chars(text).next().is_none() => NameMatch::Near,
        Some(text) if known.iter().any(|one| is_near(one, text)) => NameMatch::Near,
        Some(_) => NameMatch::Unknown,
    }
}

fn visible_chars(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !c.is_whitespace() && !c.is_control())
}

/// Whether two names are equal but for case and white space, or then one letter apart,
/// where the known name has six letters or more.
pub fn is_near(known: &str, text: &str) -> bool {
    let plain = |text: &str| visible_chars(text).flat_map(char::to_lowercase).collect::<Vec<_>>();
    let (known, text) = (plain(known), plain(text));
    if known == text {
        return true;
    }
    if known.iter().filter(|c| c.is_alphabetic()).count() < 6 {
        return false;
    }
    let without = |word: &[char], place: usize| {
        let mut word = word.to_vec();
        (!word.remove(place).is_numeric()).then_some(word)
    };
    let shortened = |word: &[char], other: &[char]| {
        (0..word.len()).any(|place| without(word, place).is_some_and(|word| word == other))
    };
    let replaced = || {
        let mut places = (0..known.len()).filter(|place| known[*place] != text[*place]);
        let plain = |place: usize| !known[place].is_numeric() && !text[place].is_numeric();
        matches!((places.next(), places.next()), (Some(one), None) if plain(one))
    };
    shortened(&known, &text)
        || shortened(&text, &known)
        || (known.len() == text.len() && replaced())
}

/// A record of the kind consent or objection, as far as it could be read.
#[derive(Clone, Debug)]
pub struct Statement {
    kind: String,
    id: Option<String>,
    purpose: NameMatch,
    recipient: NameMatch,
    meaning: Result<Meaning, &'static str>,
}

#[derive(Clone, Debug)]
enum Meaning {
    Grant {
        manner: String,
        is_by_guardian: bool,
        library: Option<String>,
        at: Option<Moment>,
        /// The party, the employee and the signature stand in it.
        is_signed: bool,
    },
    /// A guardian's, without a witness: it counts for nothing.
    UnwitnessedGrant,
    Refusal {
        at: Option<Moment>,
    },
    MarketingObjection {
        at: Option<Moment>,
    },
    Objection {
        is_dismissed: bool,
    },
}

impl Statement {
    /// A record of which nothing could be read.
    pub fn unread(kind: &RecordKind) -> Statement {
        Statement {
            kind: kind.name.clone(),
            id: None,
            purpose: NameMatch::Near,
            recipient: NameMatch::Near,
            meaning: Err("unread"),
        }
    }

    /// Why it is refused.
    pub fn refusal_reason(&self) -> Option<&'static str> {
        self.meaning.as_ref().err().copied()
    }

    /// The same under a key that is not its patron's.
    pub fn into_unreadable(self) -> Statement {
        Statement { meaning: Err("miskeyed"), ..self }
    }

    /// Whether it is a consent about something that nobody has.
    pub fn concerns_nobody(&self) -> bool {
        let unknown = [&self.purpose, &self.recipient].contains(&&NameMatch::Unknown);
        self.kind == "consent" && unknown
    }

    /// Whether an unreadable consent may be about this; `any_purpose` tells whether one
    /// without a readable purpose may.
    fn may_concern(&self, purpose: &str, recipient: &str, any_purpose: bool) -> bool {
        let fits = |name: &NameMatch, own: &str, any: bool| match name {
            NameMatch::Known(known) => known == own,
            NameMatch::Missing | NameMatch::Near => any,
            NameMatch::Unknown | NameMatch::Patron(_) => false,
        };
        fits(&self.purpose, purpose, any_purpose) && fits(&self.recipient, recipient, true)
    }

    /// Whether an unreadable consent may be about what patrons that it names may see: one for the
    /// purpose whomever it names, and one whose purpose is not readable unless it names a
    /// recipient of something else.
    fn may_concern_named(&self, purpose: &str) -> bool {
        match &self.purpose {
            NameMatch::Known(known) => known == purpose,
            NameMatch::Missing | NameMatch::Near => {
                !matches!(&self.recipient, NameMatch::Known(_) | NameMatch::Unknown)
            }
            NameMatch::Unknown | NameMatch::Patron(_) => false,
        }
    }

    /// Reads a record of a kind by which patrons decide.
    pub fn read(kind: &RecordKind, names: &PolicyNames, record: &JsonNode) -> Statement {
        let reader = StatementReader { kind, record };
        let name = |path: &str, known: &[String]| match reader.text(path) {
            Ok(text) => match_name(known, text.as_deref()),
            Err(_) => NameMatch::Near,
        };
        let mut statement = Statement {
            kind: kind.name.clone(),
            id: reader.text(&kind.id_path).ok().flatten(),
            purpose: name("purpose", &names.purposes),
            recipient: match &*kind.name {
                "consent" => name("recipient", &names.recipients),
                _ => NameMatch::Missing,
            },
            meaning: Err("unread"),
        };
        if kind.name == "consent" {
            statement.recipient = names.read_named_patron(&statement, reader.text("recipient"));
        }
        statement.meaning = match &*kind.name {
            "consent" => reader.read_consent(&statement),
            _ => reader.read_objection(&statement),
        };
        statement
    }
}

struct StatementReader<'a> {
    kind: &'a RecordKind,
    record: &'a JsonNode,
}

impl StatementReader<'_> {
    /// The text of a field that the kind has.
    fn text(&self, path: &str) -> Result<Option<String>, &'static str> {
        let Some(field) = self.kind.field(path) else {
            return Ok(None);
        };
        match look_up(self.record, path, field.field_type) {
            FieldLookup::Malformed => Err("malformed"),
            found => Ok(found.into_text()),
        }
    }

    fn time(&self) -> Option<Moment> {
        parse_moment(&self.text("at").ok()??).map(Moment::clamped)
    }

    fn read_consent(&self, names: &Statement) -> Result<Meaning, &'static str> {
        for path in ["purpose", "recipient", "decision", "manner", "at", "given_by"] {
            self.text(path)?;
        }
        let is_grant = match self.text("decision")?.as_deref() {
            Some("granted") => true,
            Some("refused" | "withdrawn") => false,
            _ => return Err("unclear"),
        };
        let manner = self.text("manner")?;
        match manner.as_deref() {
            Some("written" | "digital" | "oral") => {}
            None if !is_grant => {}
            _ => return Err("unclear"),
        }
        let given_by = self.text("given_by")?;
        let has_giver = matches!(given_by.as_deref(), None | Some("patron" | "guardian"));
        let has_purpose = !matches!(names.purpose, NameMatch::Missing | NameMatch::Near);
        if !has_giver || !has_purpose || names.recipient == NameMatch::Near {
            return Err("unclear");
        }
        let at = self.time();
        Ok(match is_grant {
            false => Meaning::Refusal { at },
            true => {
                let library = self.text("library").ok().flatten();
                let is_by_guardian = given_by.as_deref() == Some("guardian");
                let witness = |path: &str| matches!(self.text(path), Ok(Some(_)));
                if is_by_guardian && !witness("employee") && !witness("signature_ref") {
                    return Ok(Meaning::UnwitnessedGrant);
                }
                let manner = manner.unwrap_or_default();
                let is_there = |path: &&str| matches!(self.text(path), Ok(Some(_)));
                let is_signed = ["recipient", "employee", "signature_ref"].iter().all(is_there);
                Meaning::Grant { manner, is_by_guardian, library, at, is_signed }
            }
        })
    }

    fn read_objection(&self, names: &Statement) -> Result<Meaning, &'static str> {
        // Honoured whatever else the record says.
        if self.text("kind") == Ok(Some("direct_marketing".to_owned())) {
            return Ok(Meaning::MarketingObjection { at: self.time() });
        }
        let kind = self.text("kind")?;
        self.text("purpose")?;
        let is_dismissed = match (kind.as_deref(), self.text("status")?.as_deref()) {
            (Some("special_circumstances"), Some("lodged" | "upheld")) => false,
            (Some("special_circumstances"), Some("dismissed")) => true,
            _ => return Err("unclear"),
        };
        match names.purpose {
            NameMatch::Near => Err("unclear"),
            _ => Ok(Meaning::Objection { is_dismissed }),
        }
    }
}

/// All consents and objections of one patron.
#[derive(Clone, Debug, Default)]
pub struct PatronStatements {
    /// By kind: the offset of the last record.
    newest_offsets: BTreeMap<String, i64>,
    /// By kind and id: the last version that was understood, and when it arrived.
    current: BTreeMap<(String, Option<String>), (Statement, i64)>,
    /// When marketing was ever objected to; `None` if that is not known.
    marketing_objections: Vec<Option<Moment>>,
    unreadable: Vec<Statement>,
    /// By its id: the record that each settlement names, and when it arrived; `None` where it
    /// was taken back.
    settlements: BTreeMap<Option<String>, (Option<String>, i64)>,
}

/// Reads which record a settlement names, by the path of that record's id; `None` if it was
/// taken back.
pub fn read_settled_id(
    kind: &RecordKind,
    settled_id: &str,
    record: &JsonNode,
) -> Result<Option<String>, &'static str> {
    let look_up = |path: &str| kind.field(path).map(|one| look_up(record, path, one.field_type));
    match look_up("gone") {
        Some(FieldLookup::Malformed) => return Err("malformed"),
        Some(FieldLookup::Bool(true)) => return Ok(None),
        _ => {}
    }
    match look_up(settled_id) {
        Some(FieldLookup::Malformed) => Err("malformed"),
        found => found.and_then(FieldLookup::into_text).map(Some).ok_or("unclear"),
    }
}

/// What one message says: a statement, or a null on consent, which ends all grants.
#[derive(Clone, Debug)]
pub enum StatementEvent {
    Statement(Box<Statement>),
    EndGrants,
}

impl PatronStatements {
    /// Applies an event of `kind`, unless a later offset of it was applied before.
    pub fn apply(&mut self, kind: &str, offset: i64, arrived_ms: i64, event: StatementEvent) {
        let newest = self.newest_offsets.entry(kind.to_owned()).or_insert(i64::MIN);
        if *newest >= offset {
            return;
        }
        *newest = offset;
        match event {
            StatementEvent::EndGrants => {
                self.current
                    .retain(|_, (one, _)| !matches!(one.meaning, Ok(Meaning::Grant { .. })));
            }
            StatementEvent::Statement(one) if one.meaning.is_err() => self.unreadable.push(*one),
            StatementEvent::Statement(one) => {
                if let Ok(Meaning::MarketingObjection { at }) = one.meaning {
                    self.marketing_objections.push(at);
                }
                let is_replaced = |old: &Statement| old.kind == one.kind && old.id == one.id;
                self.unreadable.retain(|old| old.id.is_none() || !is_replaced(old));
                self.current.insert((one.kind.clone(), one.id.clone()), (*one, arrived_ms));
            }
        }
    }

    /// What counts since the patron was erased: no grant that arrived before, or says
    /// that it was given before. Refusals and objections stay.
    pub fn since_erasure(&self, erased_ms: i64) -> PatronStatements {
        let mut left = self.clone();
        let erased = Moment::from_millis(erased_ms);
        left.current.retain(|_, (one, arrived_ms)| match one.meaning {
            Ok(Meaning::Grant { at, .. }) => *arrived_ms > erased_ms && at > Some(erased),
            _ => true,
        });
        left.settlements.retain(|_, (_, arrived_ms)| *arrived_ms > erased_ms);
        left
    }

    /// Applies a settlement of `kind`, unless a later offset of it was applied before.
    pub fn apply_settlement(
        &mut self,
        kind: &str,
        offset: i64,
        id: Option<String>,
        settled: (Option<String>, i64),
    ) {
        let newest = self.newest_offsets.entry(kind.to_owned()).or_insert(i64::MIN);
        if *newest < offset {
            *newest = offset;
            self.settlements.insert(id, settled);
        }
    }

    /// Whether some settlement names the record.
    pub fn is_settled(&self, record_id: &str) -> bool {
        self.settlements.values().any(|(settled, _)| settled.as_deref() == Some(record_id))
    }

    pub fn has_marketing_objection(&self) -> bool {
        !self.marketing_objections.is_empty()
    }

    /// The patrons that consents name where others name a recipient.
    pub fn named_patron_ids(&self) -> BTreeSet<String> {
        let named = self.understood().filter_map(|(one, _)| match &one.recipient {
            NameMatch::Patron(id) => Some(id.clone()),
            _ => None,
        });
        named.collect()
    }

    fn understood(&self) -> impl Iterator<Item = (&Statement, &Meaning)> {
        self.current.values().filter_map(|(one, _)| Some((one, one.meaning.as_ref().ok()?)))
    }

    fn consents_about(&self, purpose: &str, recipient: &str) -> Vec<(&Statement, &Meaning)> {
        let about = |one: &Statement| one.purpose.is(purpose) && one.recipient.covers(recipient);
        self.understood().filter(|(one, _)| one.kind == "consent" && about(one)).collect()
    }

    fn has_unreadable_about(&self, purpose: &str, recipient: &str, any_purpose: bool) -> bool {
        let mut consents = self.unreadable.iter().filter(|one| one.kind == "consent");
        consents.any(|one| one.may_concern(purpose, recipient, any_purpose))
    }
}

/// A grant or a refusal in the order of time; of two at one moment the refusal is later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Decision {
    at: Moment,
    is_refusal: bool,
    names_recipient: bool,
}

/// Whether the latest decision is a grant, and so is the latest that names the recipient.
fn is_granted(decisions: &[Decision]) -> bool {
    let named = decisions.iter().filter(|one| one.names_recipient).max();
    let latest = decisions.iter().max();
    latest.is_some_and(|one| !one.is_refusal) && named.is_none_or(|one| !one.is_refusal)
}

/// An event that counts as a digital grant.
pub struct ImpliedGrant {
    pub at: Moment,
    pub is_by_guardian: bool,
}

/// Who asks, about a patron of which library, and when.
pub struct ConsentQuery<'a> {
    pub policy: &'a Policy,
    pub recipient: &'a Recipient,
    pub library: Option<&'a str>,
    /// The patron's, where it is a date.
    pub birth_date: Option<CalendarDay>,
    pub now: Moment,
    /// Only grants with all seven elements count.
    pub needs_signature: bool,
}

/// What the age of a patron is to consent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AgeGroup {
    /// Only a guardian decides.
    Child,
    /// The patron decides, and so does a guardian.
    Youth,
    /// Only the patron decides.
    Adult,
}

/// A patron and one that its grants name, or itself alone.
#[derive(Clone, Copy)]
pub struct NamedPair<'a> {
    pub patron_id: &'a str,
    pub named_id: Option<&'a str>,
}

impl ConsentQuery<'_> {
    /// The other patrons that some grant names, in force or not.
    pub fn named_patrons(
        &self,
        statements: &PatronStatements,
        patron_id: &str,
    ) -> BTreeSet<String> {
        let named =
            statements.understood().filter_map(|(one, meaning)| match (&one.recipient, meaning) {
                (NameMatch::Patron(named), Meaning::Grant { .. })
                    if one.purpose.is(self.consent_purpose()) =>
                {
                    Some(named.clone())
                }
                _ => None,
            });
        named.filter(|named| named != patron_id).collect()
    }

    /// Why a patron's grants give no output for the one that is named; of a patron alone,
    /// `named_patrons` where they give one for somebody.
    pub fn named_patron_reasons(
        &self,
        statements: &PatronStatements,
        pair: NamedPair<'_>,
    ) -> Vec<&'static str> {
        let mut reasons = Vec::new();
        let mut consents = statements.unreadable.iter().filter(|one| one.kind == "consent");
        if consents.any(|one| one.may_concern_named(self.consent_purpose())) {
            reasons.push("consent_unreadable");
        }
        let is_given = |named: &str| self.is_given_to(statements, named);
        match pair.named_id {
            Some(named) if !is_given(named) => reasons.push("no_consent"),
            Some(_) => {}
            None => {
                let mut all = self.named_patrons(statements, pair.patron_id).into_iter();
                let given = all.any(|named| is_given(&named));
                reasons.push(if given { "named_patrons" } else { "no_consent" });
            }
        }
        reasons
    }

    /// Whether the last that counts of what was said about a named patron, or about all, is a
    /// grant that names it, and has not lasted too long.
    fn is_given_to(&self, statements: &PatronStatements, named: &str) -> bool {
        let rule = self.recipient.consent.as_ref().and_then(|rule| rule.named_patrons);
        let Some(NamedPatronRule { lasts }) = rule else {
            return false;
        };
        let about = statements.understood().filter(|(one, _)| {
            let names = matches!(&one.recipient, NameMatch::Patron(id) if id == named)
                || one.recipient == NameMatch::Missing;
            one.kind == "consent" && one.purpose.is(self.consent_purpose()) && names
        });
        let said = about.filter_map(|(one, meaning)| self.decision_of(one, meaning));
        // A grant to nobody gives nothing.
        let counts = said.filter(|one| one.is_refusal || one.names_recipient);
        let last = counts.max();
        last.is_some_and(|one| {
            let is_over = |lasts: Term| one.at.add_term(lasts.into()) <= self.now;
            !one.is_refusal && !lasts.is_some_and(is_over)
        })
    }

    fn consent_purpose(&self) -> &str {
        let rule = self.recipient.consent.as_ref();
        rule.map_or(&self.recipient.purpose, |rule| &rule.purpose)
    }

    /// The patron's age group, where the recipient distinguishes them.
    fn age_group(&self) -> Option<AgeGroup> {
        self.recipient.consent.as_ref().filter(|rule| rule.needs_guardian_for_minors)?;
        let age = self.birth_date.and_then(|birth| age_in_years(birth, self.now.day()));
        let is_belgian = self.library.is_some_and(|isil| isil.get(..2) == Some("BE"));
        let own_age = if is_belgian { 13 } else { 16 };
        Some(match age {
            Some(18..) => AgeGroup::Adult,
            Some(age) if age >= own_age => AgeGroup::Youth,
            _ => AgeGroup::Child,
        })
    }

    fn counts_by_giver(&self, is_by_guardian: bool) -> bool {
        match self.age_group() {
            None | Some(AgeGroup::Youth) => true,
            Some(AgeGroup::Child) => is_by_guardian,
            Some(AgeGroup::Adult) => !is_by_guardian,
        }
    }

    fn is_explicit(&self) -> bool {
        self.recipient.consent.as_ref().is_some_and(|rule| rule.is_explicit)
    }

    /// Whether a grant to `granted` counts for a patron of this library.
    fn counts_for_library(&self, granted: Option<&str>) -> bool {
        let (Some(own), Some(granted)) = (self.library, granted) else {
            return false;
        };
        let before = self.policy.predecessor_libraries.get(own);
        own == granted || before.is_some_and(|before| before.iter().any(|one| one == granted))
    }

    /// Why objections withhold a record, in the order in which reasons are given.
    pub fn objection_reasons(&self, statements: &PatronStatements) -> Vec<&'static str> {
        let Recipient { purpose, name, is_marketing, .. } = self.recipient;
        let basis = self.recipient.legal_basis;
        let special = matches!(basis, LegalBasis::PublicTask | LegalBasis::LegitimateInterest)
            || self.recipient.stops_on_objection;
        let mut reasons = Vec::new();
        if !special && !is_marketing {
            return reasons;
        }
        if statements.unreadable.iter().any(|one| one.kind == "objection") {
            reasons.push("objection_unreadable");
        }
        if *is_marketing
            && statements.has_marketing_objection()
            && !self.lifts_marketing_objection(statements)
        {
            reasons.push("objection_marketing");
        }
        let objects = |(one, meaning): (&Statement, &Meaning)| {
            matches!(meaning, Meaning::Objection { is_dismissed: false })
                && one.purpose.covers(purpose)
        };
        let mut rules = self.policy.recipients.iter().filter_map(|one| one.consent.as_ref());
        // Where consent is asked for, a refusal is a missing consent.
        let is_asked = rules.any(|rule| rule.purpose == *purpose);
        let mut consents = statements.consents_about(purpose, name).into_iter();
        let is_refused =
            !is_asked && consents.any(|(_, meaning)| matches!(meaning, Meaning::Refusal { .. }));
        if (special && statements.understood().any(objects)) || is_refused {
            reasons.push("objection");
        }
        if !is_asked && statements.has_unreadable_about(purpose, name, false) {
            reasons.push("consent_unreadable");
        }
        reasons
    }

    /// Whether a later grant by name lifts every objection to marketing.
    fn lifts_marketing_objection(&self, statements: &PatronStatements) -> bool {
        let times = statements.marketing_objections.iter();
        let last = times.map(|at| at.unwrap_or(Moment::NEVER)).max();
        let decisions = self.decisions(statements);
        let is_later =
            |one: &Decision| !one.is_refusal && one.names_recipient && Some(one.at) > last;
        let (purpose, name) = (self.consent_purpose(), &self.recipient.name);
        decisions.iter().any(is_later)
            && is_granted(&decisions)
            && !statements.has_unreadable_about(purpose, name, true)
    }

    /// Why missing consent withholds a record; `implied` is an event that counts as a grant.
    pub fn consent_reasons(
        &self,
        statements: &PatronStatements,
        implied: Option<ImpliedGrant>,
    ) -> Vec<&'static str> {
        let mut reasons = Vec::new();
        if statements.has_unreadable_about(self.consent_purpose(), &self.recipient.name, true) {
            reasons.push("consent_unreadable");
        }
        let mut decisions = self.decisions(statements);
        let counts = |event: &ImpliedGrant| {
            event.at <= self.now
                && !self.is_explicit()
                && (self.counts_by_giver(event.is_by_guardian))
        };
        let implied = implied.filter(counts);
        decisions.extend(implied.map(|event| Decision {
            at: event.at,
            is_refusal: false,
            names_recipient: false,
        }));
        if !is_granted(&decisions) {
            reasons.push("no_consent");
        }
        reasons
    }

    /// Whether the patron signed for special categories of data.
    pub fn is_signed(&self, statements: &PatronStatements) -> bool {
        let (purpose, name) = (self.consent_purpose(), &self.recipient.name);
        is_granted(&self.decisions(statements))
            && !statements.has_unreadable_about(purpose, name, true)
    }

    /// The refusals, and the grants that count.
    fn decisions(&self, statements: &PatronStatements) -> Vec<Decision> {
        let about = statements.consents_about(self.consent_purpose(), &self.recipient.name);
        let decisions =
            about.into_iter().filter_map(|(one, meaning)| self.decision_of(one, meaning));
        decisions.collect()
    }

    /// A refusal, or a grant that counts.
    fn decision_of(&self, one: &Statement, meaning: &Meaning) -> Option<Decision> {
        let names_recipient = one.recipient != NameMatch::Missing;
        let (at, is_refusal) = match meaning {
            Meaning::Refusal { at } => (at.unwrap_or(Moment::NEVER), true),
            Meaning::Grant { manner, is_by_guardian, library, at, is_signed } => {
                let fits = match manner.as_str() {
                    "written" => *is_signed || !self.needs_signature,
                    "digital" => !self.is_explicit() && !self.needs_signature,
                    _ => false,
                };
                let counts = fits
                    && self.counts_by_giver(*is_by_guardian)
                    && self.counts_for_library(library.as_deref());
                (at.filter(|at| counts && *at <= self.now)?, false)
            }
            _ => return None,
        };
        Some(Decision { at, is_refusal, names_recipient })
    }
}
