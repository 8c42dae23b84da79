//! The gates of RULES section 5, in the plainest form.
//!
//! What patrons said is kept as it was said, and looked through anew for each
//! question. A question is always asked at one moment.

use std::collections::BTreeMap;

use super::field::{Found, look};
use super::form::{self, Moment, Term};
use super::json::Node;

/// A field that a gate names is of the wrong type: the record is refused.
pub struct Malformed;

/// One consent record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    pub purpose: Option<String>,
    pub recipient: Option<String>,
    pub decision: Option<String>,
    pub manner: Option<String>,
    pub at: Option<Moment>,
    /// When it came to its source, in milliseconds.
    pub came_ms: i64,
}

/// One objection record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    pub kind: Option<String>,
    pub purpose: Option<String>,
    pub status: Option<String>,
}

fn text(node: &Node, name: &str) -> Result<Option<String>, Malformed> {
    match look(node, name) {
        Found::Text(text) => Ok(Some(text)),
        Found::Missing => Ok(None),
        _ => Err(Malformed),
    }
}

impl Consent {
    pub fn read(node: &Node) -> Result<Self, Malformed> {
        let at = text(node, "at")?;
        let at = at.as_deref().and_then(form::instant);
        Ok(Consent {
            purpose: text(node, "purpose")?,
            recipient: text(node, "recipient")?,
            decision: text(node, "decision")?,
            manner: text(node, "manner")?,
            at: at.map(|(_, moment)| moment),
            came_ms: 0,
        })
    }

    fn refuses(&self) -> bool {
        matches!(self.decision.as_deref(), Some("refused" | "withdrawn"))
    }

    fn grants(&self, explicit: bool, now: &Moment) -> bool {
        let manner = match self.manner.as_deref() {
            Some("written") => true,
            Some("digital") => !explicit,
            _ => false,
        };
        let past = self.at.as_ref().is_some_and(|at| at <= now);
        self.decision.as_deref() == Some("granted") && manner && past
    }
}

impl Objection {
    pub fn read(node: &Node) -> Result<Self, Malformed> {
        Ok(Objection {
            kind: text(node, "kind")?,
            purpose: text(node, "purpose")?,
            status: text(node, "status")?,
        })
    }

    fn is_marketing(&self) -> bool {
        self.kind.as_deref() == Some("direct_marketing")
    }

    fn stands_against(&self, purpose: &str) -> bool {
        self.kind.as_deref() == Some("special_circumstances")
            && self.status.as_deref() != Some("dismissed")
            && self.purpose.as_deref().is_none_or(|own| own == purpose)
    }
}

/// All that one patron consented or objected to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// By the record's own id.
    consents: BTreeMap<String, Consent>,
    objections: BTreeMap<String, Objection>,
    /// An objection to marketing was made, once.
    against_marketing: bool,
    /// The last record of the kind could not be read.
    consent_unreadable: bool,
    objection_unreadable: bool,
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

impl Said {
    /// Keeps a consent or an objection that was read.
    ///
    /// # Errors
    ///
    /// [`Malformed`], and then it is as any other unreadable record.
    pub fn keep(
        &mut self,
        source: &str,
        (id, came_ms): (String, i64),
        node: &Node,
    ) -> Result<(), Malformed> {
        if source == "consent" {
            let consent = Consent::read(node)?;
            self.consents.insert(id, Consent { came_ms, ..consent });
            self.consent_unreadable = false;
        } else {
            let objection = Objection::read(node)?;
            self.against_marketing |= objection.is_marketing();
            self.objections.insert(id, objection);
            self.objection_unreadable = false;
        }
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
            consent.refuses() || (consent.came_ms > erased_ms && given_after)
        });
        said
    }

    /// Notes that a record of this source was refused whole.
    pub fn unreadable(&mut self, source: &str) {
        if source == "consent" {
            self.consent_unreadable = true;
        } else {
            self.objection_unreadable = true;
        }
    }

    /// What objections say against a recipient.
    pub fn against(&self, marketing: bool, purpose: &str) -> Vec<&'static str> {
        let mut reasons = Vec::new();
        if self.objection_unreadable {
            reasons.push("objection_unreadable");
        }
        if marketing && self.against_marketing {
            reasons.push("objection_marketing");
        }
        let mut objections = self.objections.values();
        if objections.any(|objection| objection.stands_against(purpose)) {
            reasons.push("objection");
        }
        reasons
    }

    /// What consents say against a recipient that needs one. `implied` is the
    /// moment of the event that counts as a grant.
    pub fn without_consent(
        &self,
        gate: ConsentGate,
        recipient: &str,
        implied: Option<&Moment>,
        now: &Moment,
    ) -> Vec<&'static str> {
        let mut reasons = Vec::new();
        if self.consent_unreadable {
            reasons.push("consent_unreadable");
        }
        let mut for_all = Vec::new();
        let mut by_name = Vec::new();
        for consent in self.consents.values() {
            if consent.purpose.as_deref() != Some(gate.purpose) {
                continue;
            }
            let event = if consent.grants(gate.explicit, now) {
                Event::grant(consent.at.clone())
            } else if consent.refuses() {
                Event::refusal(consent.at.clone())
            } else {
                continue;
            };
            match consent.recipient.as_deref() {
                None => for_all.push(event),
                Some(name) if name == recipient => {
                    for_all.push(event.clone());
                    by_name.push(event);
                }
                Some(_) => {}
            }
        }
        let implied = implied.filter(|at| *at <= now);
        for_all.extend(implied.map(|at| Event::grant(Some(at.clone()))));
        let granted = |events: &[Event]| events.iter().max().map(Event::is_grant);
        if granted(&for_all) != Some(true) || granted(&by_name) == Some(false) {
            reasons.push("no_consent");
        }
        reasons
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
