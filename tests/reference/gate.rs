//! The gates of section 5 of docs/rules.md, in the plainest form.
//!
//! What patrons said is kept as it was said, and looked through anew for each
//! question. A question is always asked at one moment.

use std::collections::BTreeMap;

use super::field::{Found, look};
use super::form::{self, Moment, Term};
use super::json::Node;
use super::recipient::Recipient;

/// Why a record of a gate is refused that is JSON and names its patron.
pub const MALFORMED: &str = "malformed";
pub const UNCLEAR: &str = "unclear";

/// What may be named: the purposes and the recipients of all files.
#[derive(Clone, Debug)]
pub struct Names {
    pub purposes: Vec<&'static str>,
    pub recipients: Vec<&'static str>,
    /// The purposes for which some recipient asks consent.
    pub asked: Vec<&'static str>,
}

/// A name, as it stands to those that are known.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Missing,
    Known(String),
    Near,
    Unknown,
}

fn name(known: &[&'static str], text: Option<String>) -> Name {
    let Some(text) = text else {
        return Name::Missing;
    };
    if known.contains(&text.as_str()) {
        return Name::Known(text);
    }
    let blank = text.chars().all(char::is_whitespace);
    if blank || known.iter().any(|known| near(known, &text)) {
        return Name::Near;
    }
    Name::Unknown
}

/// Equal once case and white space are gone, or then one inserted, deleted or
/// replaced letter away, where the known word has six letters or more.
pub fn near(known: &str, text: &str) -> bool {
    let plain = |text: &str| -> Vec<char> {
        let seen = text.chars().filter(|c| !c.is_whitespace());
        seen.flat_map(char::to_lowercase).collect()
    };
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

/// One consent record that was understood in full.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Consent {
    library: String,
    purpose: Name,
    recipient: Name,
    grants: bool,
    manner: Option<String>,
    at: Option<Moment>,
    /// When it came to its source, in milliseconds.
    came_ms: i64,
}

/// One objection record that was understood in full.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Objection {
    marketing: bool,
    purpose: Name,
    dismissed: bool,
}

/// A record that was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unreadable {
    source: String,
    id: Option<String>,
    purpose: Name,
    recipient: Name,
}

fn text(node: &Node, name: &str) -> Result<Option<String>, &'static str> {
    match look(node, name) {
        Found::Text(text) => Ok(Some(text)),
        Found::Missing => Ok(None),
        _ => Err(MALFORMED),
    }
}

impl Consent {
    fn read(node: &Node, names: &Names) -> Result<Self, &'static str> {
        let (purpose, recipient) = (text(node, "purpose")?, text(node, "recipient")?);
        let (decision, manner) = (text(node, "decision")?, text(node, "manner")?);
        let at = text(node, "at")?;
        let at = at.as_deref().and_then(form::instant);
        let purpose = name(&names.purposes, purpose);
        let recipient = name(&names.recipients, recipient);
        let grants = match decision.as_deref() {
            Some("granted") => true,
            Some("refused" | "withdrawn") => false,
            _ => return Err(UNCLEAR),
        };
        match manner.as_deref() {
            Some("written" | "digital" | "oral") => {}
            None if !grants => {}
            _ => return Err(UNCLEAR),
        }
        if matches!(purpose, Name::Missing | Name::Near) || recipient == Name::Near {
            return Err(UNCLEAR);
        }
        Ok(Consent {
            library: text(node, "library")?.unwrap_or_default(),
            purpose,
            recipient,
            grants,
            manner,
            at: at.map(|(_, moment)| moment),
            came_ms: 0,
        })
    }

    /// Whether it is about this purpose, and speaks for this recipient.
    fn speaks(&self, purpose: &str, recipient: &str) -> bool {
        let purpose = Name::Known(purpose.to_owned());
        let mine = [Name::Missing, Name::Known(recipient.to_owned())];
        self.purpose == purpose && mine.contains(&self.recipient)
    }

    fn names(&self) -> bool {
        self.recipient != Name::Missing
    }

    /// Whether it is a grant that counts for a patron of this library.
    fn counts(&self, explicit: bool, library: &str, now: &Moment) -> bool {
        let manner = match self.manner.as_deref() {
            Some("written") => true,
            Some("digital") => !explicit,
            _ => false,
        };
        let past = self.at.as_ref().is_some_and(|at| at <= now);
        self.grants && manner && past && self.library == library
    }
}

impl Objection {
    fn read(node: &Node, names: &Names) -> Result<(Self, Option<Moment>), &'static str> {
        let at = text(node, "at").ok().flatten();
        let at = at
            .as_deref()
            .and_then(form::instant)
            .map(|(_, moment)| moment);
        if text(node, "kind") == Ok(Some("direct_marketing".to_owned())) {
            // Honoured whatever else it says.
            let marketing = Objection {
                marketing: true,
                purpose: Name::Missing,
                dismissed: false,
            };
            return Ok((marketing, at));
        }
        let (kind, purpose) = (text(node, "kind")?, text(node, "purpose")?);
        let status = text(node, "status")?;
        let purpose = name(&names.purposes, purpose);
        let dismissed = match (kind.as_deref(), status.as_deref()) {
            (Some("special_circumstances"), Some("lodged" | "upheld")) => false,
            (Some("special_circumstances"), Some("dismissed")) => true,
            _ => return Err(UNCLEAR),
        };
        if purpose == Name::Near {
            return Err(UNCLEAR);
        }
        let objection = Objection {
            marketing: false,
            purpose,
            dismissed,
        };
        Ok((objection, at))
    }

    fn stands_against(&self, purpose: &str) -> bool {
        let against = [Name::Missing, Name::Known(purpose.to_owned())];
        !self.marketing && !self.dismissed && against.contains(&self.purpose)
    }
}

/// All that one patron consented or objected to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// By the record's own id.
    consents: BTreeMap<String, Consent>,
    objections: BTreeMap<String, Objection>,
    /// The objections to marketing that were ever made, by their times.
    against_marketing: Vec<Option<Moment>>,
    unreadable: Vec<Unreadable>,
}

/// The consent that a recipient needs.
#[derive(Clone, Copy, Debug)]
pub struct ConsentGate {
    pub purpose: &'static str,
    /// Only a written grant counts.
    pub explicit: bool,
    /// The path of an instant of the patron that counts as a digital grant.
    pub implied_by: Option<&'static str>,
}

/// Who asks, of a patron of which library, and when.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    pub recipient: &'a Recipient,
    pub names: &'a Names,
    pub library: &'a str,
    pub now: &'a Moment,
}

impl Question<'_> {
    fn purpose(&self) -> &'static str {
        let gate = self.recipient.consent;
        gate.map_or(self.recipient.purpose, |gate| gate.purpose)
    }

    fn explicit(&self) -> bool {
        self.recipient.consent.is_some_and(|gate| gate.explicit)
    }
}

impl Said {
    /// Keeps a consent or an objection that was read.
    ///
    /// # Errors
    ///
    /// Why it is not understood, and then it is as any other unreadable record.
    pub fn keep(
        &mut self,
        source: &str,
        (id, came_ms): (String, i64),
        (node, names): (&Node, &Names),
    ) -> Result<(), &'static str> {
        if source == "consent" {
            let consent = Consent::read(node, names)?;
            self.consents
                .insert(id.clone(), Consent { came_ms, ..consent });
        } else {
            let (objection, at) = Objection::read(node, names)?;
            if objection.marketing {
                self.against_marketing.push(at);
            }
            self.objections.insert(id.clone(), objection);
        }
        let lifted = |one: &Unreadable| one.source == source && one.id.as_ref() == Some(&id);
        self.unreadable.retain(|one| !lifted(one));
        Ok(())
    }

    /// What counts of it since the patron was erased: no grant that came before, or
    /// that says it was given before. Refusals and objections stay.
    pub fn since(&self, erased_ms: Option<i64>) -> Said {
        let mut said = self.clone();
        let Some(erased_ms) = erased_ms else {
            return said;
        };
        let erased = Moment::from_millis(erased_ms);
        said.consents.retain(|_, consent| {
            let given_after = consent.at.as_ref().is_some_and(|at| *at > erased);
            !consent.grants || (consent.came_ms > erased_ms && given_after)
        });
        said
    }

    /// Notes a record of this source that is not understood: as much of it as
    /// could be read.
    pub fn unreadable(&mut self, source: &str, id: Option<String>, node: &Node, names: &Names) {
        let find = |path: &str, known: &[&'static str]| match text(node, path) {
            Ok(text) => name(known, text),
            Err(_) => Name::Near,
        };
        self.unreadable.push(Unreadable {
            source: source.to_owned(),
            id,
            purpose: find("purpose", &names.purposes),
            recipient: find("recipient", &names.recipients),
        });
    }

    /// A null on consent: what was granted is granted no longer.
    pub fn end_grants(&mut self) {
        self.consents.retain(|_, consent| !consent.grants);
    }

    /// Whether a consent that is not understood may be about this.
    fn may_be_about(&self, purpose: &str, recipient: &str, any_purpose: bool) -> bool {
        self.unreadable.iter().any(|one| {
            let purpose = match &one.purpose {
                Name::Known(known) => known == purpose,
                Name::Missing | Name::Near => any_purpose,
                Name::Unknown => false,
            };
            let recipient = match &one.recipient {
                Name::Known(known) => known == recipient,
                Name::Missing | Name::Near => true,
                Name::Unknown => false,
            };
            one.source == "consent" && purpose && recipient
        })
    }

    /// Whether marketing was ever objected to.
    pub fn forbids_marketing(&self) -> bool {
        !self.against_marketing.is_empty()
    }

    /// What objections say against a recipient.
    pub fn against(&self, asks: Question<'_>) -> Vec<&'static str> {
        let Recipient {
            name,
            purpose,
            marketing,
            yields,
            ..
        } = *asks.recipient;
        let mut reasons = Vec::new();
        if !marketing && !yields {
            return reasons;
        }
        if self.unreadable.iter().any(|one| one.source == "objection") {
            reasons.push("objection_unreadable");
        }
        if marketing && !self.against_marketing.is_empty() && !self.lifts(asks) {
            reasons.push("objection_marketing");
        }
        let mut objections = self.objections.values();
        let objects = yields && objections.any(|objection| objection.stands_against(purpose));
        let without_gate = !asks.names.asked.contains(&purpose);
        let mut consents = self.consents.values();
        let refuses = without_gate
            && consents.any(|consent| !consent.grants && consent.speaks(purpose, name));
        if objects || refuses {
            reasons.push("objection");
        }
        if without_gate && self.may_be_about(purpose, name, false) {
            reasons.push("consent_unreadable");
        }
        reasons
    }

    /// Whether a grant by name lifts the objections to marketing: one after all of
    /// them, which nothing took back.
    fn lifts(&self, asks: Question<'_>) -> bool {
        let (purpose, name) = (asks.purpose(), asks.recipient.name);
        let later = |at: &Moment| {
            let mut objected = self.against_marketing.iter();
            objected.all(|objected| objected.as_ref().is_some_and(|objected| objected < at))
        };
        let named = self.consents.values().any(|consent| {
            consent.names()
                && consent.speaks(purpose, name)
                && consent.counts(asks.explicit(), asks.library, asks.now)
                && consent.at.as_ref().is_some_and(later)
        });
        named && self.grants(asks, None) && !self.may_be_about(purpose, name, true)
    }

    /// What consents say against a recipient that needs one. `implied` is the
    /// moment of the event that counts as a grant.
    pub fn without_consent(
        &self,
        asks: Question<'_>,
        implied: Option<&Moment>,
    ) -> Vec<&'static str> {
        let mut reasons = Vec::new();
        if self.may_be_about(asks.purpose(), asks.recipient.name, true) {
            reasons.push("consent_unreadable");
        }
        if !self.grants(asks, implied) {
            reasons.push("no_consent");
        }
        reasons
    }

    fn grants(&self, asks: Question<'_>, implied: Option<&Moment>) -> bool {
        let mut for_all = Vec::new();
        let mut by_name = Vec::new();
        for consent in self.consents.values() {
            if !consent.speaks(asks.purpose(), asks.recipient.name) {
                continue;
            }
            let event = if consent.counts(asks.explicit(), asks.library, asks.now) {
                Event::grant(consent.at.clone())
            } else if !consent.grants {
                Event::refusal(consent.at.clone())
            } else {
                continue;
            };
            if consent.names() {
                by_name.push(event.clone());
            }
            for_all.push(event);
        }
        let implied = implied.filter(|at| *at <= asks.now);
        for_all.extend(implied.map(|at| Event::grant(Some(at.clone()))));
        let granted = |events: &[Event]| events.iter().max().map(Event::is_grant);
        granted(&for_all) == Some(true) && granted(&by_name) != Some(false)
    }
}

/// A grant or a refusal in the order of time; of two at one moment the
/// refusal is the later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    /// An event without a moment is later than any that has one.
    timeless: bool,
    at: Option<Moment>,
    refusal: bool,
}

impl Event {
    fn grant(at: Option<Moment>) -> Self {
        Event {
            timeless: at.is_none(),
            at,
            refusal: false,
        }
    }

    fn refusal(at: Option<Moment>) -> Self {
        Event {
            refusal: true,
            ..Event::grant(at)
        }
    }

    fn is_grant(&self) -> bool {
        !self.refusal
    }
}

/// An agreement or an authorisation: its first day and its last.
#[derive(Clone, Copy, Debug)]
pub struct Paper {
    pub from: &'static str,
    pub until: &'static str,
    /// What the recipient has is taken back when the paper is not in force.
    pub retract: bool,
}

impl Paper {
    pub fn in_force(&self, now: &Moment) -> bool {
        let day = |text| form::date(text).map(Moment::midnight);
        let over = day(self.until).map(|last| last.after(Term::days(1)));
        day(self.from).is_some_and(|from| from <= *now) && over.is_some_and(|over| *now < over)
    }
}

/// How long a recipient may have what it got, and what happens then.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    pub term: Term,
    /// The field from which the term runs.
    pub from: &'static str,
    /// The recipient may keep it; otherwise it is taken back.
    pub forget: bool,
}

impl Retention {
    pub const fn retract(term: Term, from: &'static str) -> Self {
        Retention {
            term,
            from,
            forget: false,
        }
    }
}

/// The moment that a date or an instant names.
pub fn moment(text: &str) -> Option<Moment> {
    let day = form::date(text).map(Moment::midnight);
    day.or_else(|| form::instant(text).map(|(_, moment)| moment))
}
