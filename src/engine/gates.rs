//! The gates of a recipient beside its conditions, compiled: papers, consent,
//! objections, stages, and how long it may have a record.
//!
//! What patron, papers and time alone decide is one function, so that it can be
//! asked again without the record.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lane::{Facts, Ref};
use super::said::{Said, Topic};
use super::value::Value;
use crate::policy::form::{Date, Instant};
use crate::policy::gate::{Asked, Consents, consent, lifts, summary, within};
use crate::policy::reason::Reason;
use crate::policy::recipient::{After, PaperAfter};
use crate::policy::statements::Statements;
use crate::policy::term::{Term, month_end_ms};

/// The gates of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gates {
    /// What consents are asked for, and objections call it.
    pub asked: Asked,
    pub objections: Objections,
    pub libraries: Successors,
    pub agreement: Option<Paper>,
    /// Only where national numbers are released at all.
    pub authorisation: Option<Paper>,
    pub consent: Option<ConsentGate>,
    /// Of those that are there, none is earlier than one before it.
    pub stages: Vec<Ref>,
    /// Status of the loan, and the patron's choice.
    pub loan_history: Option<(Ref, Ref)>,
    /// How the patron's membership stands, and when it ends, as far as the
    /// catalogue has that and the recipient's term depends on it.
    pub membership: Membership,
    /// How long after its end a patron's data may be used.
    pub patron_term: Term,
    pub retention: Retention,
    /// The date or instant of the record whose month has to be over.
    pub period: Option<Ref>,
    /// Nobody but the patron is asked: it has no paper, no consent, no stages
    /// and no loan history.
    pub simple: bool,
}

/// Which objections stop a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objections {
    /// Its own purpose, which may be another one than it asks consent for.
    pub purpose: u16,
    /// One against marketing does.
    pub marketing: bool,
    /// One for special circumstances does.
    pub special: bool,
    /// A refusal of its purpose does, as no recipient of the purpose asks for
    /// consent.
    pub refusal: bool,
}

impl Objections {
    /// Whether there is one that stops it.
    fn any(self) -> bool {
        self.marketing || self.special
    }
}

/// The libraries whose grants count for patrons of another one, beside its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Successors(pub Arc<BTreeMap<String, Vec<String>>>);

impl Successors {
    /// Whether a grant to `granted` counts for a patron of `own`.
    #[must_use]
    pub fn count(&self, own: &str, granted: &str) -> bool {
        own == granted
            || self
                .0
                .get(own)
                .is_some_and(|before| before.iter().any(|one| one == granted))
    }
}

/// A patron, as gates ask about it.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    pub said: Option<&'a Said>,
    pub library: Option<&'a str>,
}

/// A membership that nothing calls active is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    pub status: Option<Ref>,
    pub ends_on: Option<Ref>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentGate {
    pub implied_by: Option<Ref>,
}

/// How long a recipient may have a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub term: Term,
    pub from: Ref,
    /// It does not run while the membership is active.
    pub of_membership: bool,
    pub after: After,
}

/// A paper that is in force for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paper {
    pub from_ms: i64,
    /// The first later millisecond at which it is not.
    pub until_ms: i64,
    pub after: PaperAfter,
}

impl Paper {
    #[must_use]
    pub fn new((from_ms, until_ms): (i64, i64), after: PaperAfter) -> Paper {
        Paper {
            from_ms,
            until_ms,
            after,
        }
    }

    fn judge(&self, now_ms: i64, reason: Reason, due_ms: &mut i64) -> Result<(), Refusal> {
        for edge in [self.from_ms, self.until_ms] {
            if edge > now_ms {
                *due_ms = (*due_ms).min(edge);
            }
        }
        if (self.from_ms..self.until_ms).contains(&now_ms) {
            return Ok(());
        }
        Err(Refusal {
            reason,
            owed: true,
            keeps: self.after == PaperAfter::Keep,
            unless: None,
        })
    }
}

/// Why a recipient does not get a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    /// Something else than a new version of the record may change that.
    pub owed: bool,
    /// What the recipient has stays as it is.
    pub keeps: bool,
    /// Why it is taken back all the same.
    pub unless: Option<Reason>,
}

impl Refusal {
    /// For as long as the record is as it is.
    #[must_use]
    pub fn lasting(reason: Reason) -> Refusal {
        Refusal {
            reason,
            owed: false,
            keeps: false,
            unless: None,
        }
    }

    /// Until something else changes.
    #[must_use]
    pub fn owed(reason: Reason) -> Refusal {
        Refusal {
            owed: true,
            ..Refusal::lasting(reason)
        }
    }

    /// Owed where it is of the patron, as `joined` says.
    #[must_use]
    pub fn by(joined: bool, reason: Reason) -> Refusal {
        Refusal {
            owed: joined,
            ..Refusal::lasting(reason)
        }
    }
}

impl Gates {
    /// What papers, objections and consents say, without the record. Where the
    /// record itself may imply consent it is not asked: see
    /// [`Implied`]. `due_ms` is lowered to when time alone
    /// may change the answer.
    ///
    /// # Errors
    ///
    /// The first [`Refusal`].
    pub fn standing(
        &self,
        person: Person<'_>,
        implied: Implied,
        now_ms: i64,
        due_ms: &mut i64,
    ) -> Result<(), Refusal> {
        let papers = self
            .agreed(now_ms, due_ms)
            .and_then(|()| self.authorised(now_ms, due_ms));
        let patron = self.patron_says(person, implied, now_ms, due_ms);
        match (papers, patron) {
            // A paper that lapsed shuts no patron up.
            (Err(paper), Err(refusal)) if paper.keeps => Err(Refusal {
                keeps: false,
                unless: Some(refusal.reason),
                ..paper
            }),
            (papers, patron) => papers.and(patron),
        }
    }

    /// What objections and consents say.
    fn patron_says(
        &self,
        person: Person<'_>,
        implied: Implied,
        now_ms: i64,
        due_ms: &mut i64,
    ) -> Result<(), Refusal> {
        self.unopposed(person, now_ms, due_ms)?;
        match (implied, &self.consent) {
            (Implied::InRecord, Some(gate)) if gate.implied_by.is_some() => Ok(()),
            (Implied::InRecord, _) => self.consented(person, None, now_ms, due_ms),
            (Implied::At(at), _) => self.consented(person, at, now_ms, due_ms),
        }
    }

    /// The patron's consents, as they count here.
    fn consents<'a>(&self, said: &'a Said, library: Option<&str>) -> Consents<'a> {
        said.consents(|granted| library.is_some_and(|own| self.libraries.count(own, granted)))
    }

    /// What decides over every event that a record may imply, for hashes: it is
    /// the same where the same is decided. `due_ms` is lowered to when time alone
    /// may change it.
    #[must_use]
    pub fn consent_summary(
        &self,
        person: Person<'_>,
        now_ms: i64,
        due_ms: &mut i64,
    ) -> Option<([Option<i64>; 2], bool, bool)> {
        let said = person.said?;
        let consents = self.consents(said, person.library);
        let (latest, named, change_ns) = summary(&consents, &self.asked, ns(now_ms));
        due(due_ms, change_ns);
        let unreadable = said.is_unreadable(Topic::Consent, &self.asked, true);
        Some((latest, named, unreadable))
    }

    /// # Errors
    ///
    /// [`Reason::AgreementLapsed`].
    pub(super) fn agreed(&self, now_ms: i64, due_ms: &mut i64) -> Result<(), Refusal> {
        match &self.agreement {
            Some(paper) => paper.judge(now_ms, Reason::AgreementLapsed, due_ms),
            None => Ok(()),
        }
    }

    /// # Errors
    ///
    /// [`Reason::AuthorisationLapsed`].
    pub(super) fn authorised(&self, now_ms: i64, due_ms: &mut i64) -> Result<(), Refusal> {
        match &self.authorisation {
            Some(paper) => paper.judge(now_ms, Reason::AuthorisationLapsed, due_ms),
            None => Ok(()),
        }
    }

    /// # Errors
    ///
    /// The [`Refusal`] of an objection that stands, or cannot be read.
    pub(super) fn unopposed(
        &self,
        person: Person<'_>,
        now_ms: i64,
        due_ms: &mut i64,
    ) -> Result<(), Refusal> {
        let Some(said) = person.said.filter(|_| self.objections.any()) else {
            return Ok(());
        };
        let stops = self.objections;
        let about = Asked {
            purpose: stops.purpose,
            ..self.asked
        };
        if said.is_unreadable(Topic::Objection, &about, true) {
            return Err(Refusal::owed(Reason::ObjectionUnreadable));
        }
        if let Some(objected_ns) = said.no_marketing_ns().filter(|_| stops.marketing) {
            let consents = self.consents(said, person.library);
            let unreadable = said.is_unreadable(Topic::Consent, &self.asked, true);
            let (lifted, change_ns) = lifts(&consents, &self.asked, objected_ns, ns(now_ms));
            due(due_ms, change_ns);
            if unreadable || !lifted {
                return Err(Refusal::owed(Reason::ObjectionMarketing));
            }
        }
        let objects = stops.special && said.objects(stops.purpose);
        if objects || (stops.refusal && said.refuses(&about)) {
            return Err(Refusal::owed(Reason::Objection));
        }
        // It may be such a refusal.
        if stops.refusal && said.is_unreadable(Topic::Consent, &about, false) {
            return Err(Refusal::owed(Reason::ConsentUnreadable));
        }
        Ok(())
    }

    /// # Errors
    ///
    /// The [`Refusal`] of a consent that is not given, or cannot be read.
    pub(super) fn consented(
        &self,
        person: Person<'_>,
        implied_ns: Option<i64>,
        now_ms: i64,
        due_ms: &mut i64,
    ) -> Result<(), Refusal> {
        if self.consent.is_none() {
            return Ok(());
        }
        let nothing = Statements::default();
        let consents = match person.said {
            Some(said) if said.is_unreadable(Topic::Consent, &self.asked, true) => {
                return Err(Refusal::owed(Reason::ConsentUnreadable));
            }
            Some(said) => self.consents(said, person.library),
            None => Consents {
                all: &nothing,
                libraries: 0,
            },
        };
        let (granted, change_ns) = consent(&consents, &self.asked, implied_ns, ns(now_ms));
        due(due_ms, change_ns);
        if granted {
            Ok(())
        } else {
            Err(Refusal::owed(Reason::NoConsent))
        }
    }

    /// Stages come in their order (F12).
    ///
    /// # Errors
    ///
    /// [`Reason::Stages`].
    pub fn in_order(&self, facts: &Facts<'_>) -> Result<(), Reason> {
        let mut latest = None;
        for &stage in &self.stages {
            let at = facts.text(Some(stage)).and_then(exact_ns);
            if at.is_some() && at < latest {
                return Err(Reason::Stages);
            }
            latest = at.or(latest);
        }
        Ok(())
    }

    /// The month of the record is over, in UTC. `due_ms` is lowered to when it is.
    ///
    /// # Errors
    ///
    /// [`Reason::PeriodOpen`], or [`Reason::Condition`] where the record is of no
    /// month.
    pub fn period_over(&self, facts: &Facts<'_>, due_ms: &mut i64) -> Result<(), Refusal> {
        let Some(of) = self.period else {
            return Ok(());
        };
        let Some(over_ms) = facts.text(Some(of)).and_then(month_end_of) else {
            return Err(Refusal::by(of.joined, Reason::Condition));
        };
        if over_ms <= facts.now_ms {
            return Ok(());
        }
        *due_ms = (*due_ms).min(over_ms);
        Err(Refusal::owed(Reason::PeriodOpen))
    }

    /// Loan history off: no returned loans (G11).
    ///
    /// # Errors
    ///
    /// [`Reason::LoanHistoryOff`].
    pub fn loan_history(&self, facts: &Facts<'_>) -> Result<(), Reason> {
        let Some((status, choice)) = self.loan_history else {
            return Ok(());
        };
        let off = facts.value(choice) == Value::Boolean(false);
        let returned = facts.text(Some(status)) == Some("returned");
        if off && returned {
            return Err(Reason::LoanHistoryOff);
        }
        Ok(())
    }

    /// How long the patron's data may be used (R01, R02).
    ///
    /// # Errors
    ///
    /// [`Reason::PatronLapsed`].
    #[inline]
    pub fn patron_term<'a>(
        &self,
        value: impl Fn(Ref) -> Value<'a>,
        active: bool,
        now_ms: i64,
        due_ms: &mut i64,
    ) -> Result<(), Reason> {
        let ends_on = self.membership.ends_on;
        let Some(ends_on) = ends_on.filter(|_| !active) else {
            return Ok(());
        };
        let Some(over_ms) = self.patron_term.after(value(ends_on)) else {
            return Ok(());
        };
        if over_ms <= now_ms {
            return Err(Reason::PatronLapsed);
        }
        *due_ms = (*due_ms).min(over_ms);
        Ok(())
    }

    /// When the recipient's term is over; `first_ms` is when the record was
    /// first decided.
    #[inline]
    #[must_use]
    pub fn until_ms(&self, facts: &Facts<'_>, first_ms: i64) -> i64 {
        let Retention {
            term,
            from,
            of_membership,
            ..
        } = self.retention;
        if of_membership && facts.active {
            return i64::MAX;
        }
        let of_field = term.after(facts.value(from));
        of_field.unwrap_or_else(|| term.end_of_ms(first_ms))
    }

    /// Whether these are the same gates for a patron who never said anything.
    #[must_use]
    pub fn asks_like(&self, other: &Gates) -> bool {
        let Gates {
            asked, objections, ..
        } = *other;
        let explicit = self.asked.explicit == asked.explicit;
        let alike = Gates {
            asked,
            objections,
            ..self.clone()
        };
        explicit && alike == *other
    }

    /// Whether the patron is a member now; dates do not decide that.
    #[inline]
    #[must_use]
    pub fn is_active<'a>(&self, text: impl Fn(Option<Ref>) -> Option<&'a str>) -> bool {
        text(self.membership.status) == Some("active")
    }
}

/// Milliseconds as nanoseconds.
fn ns(ms: i64) -> i64 {
    ms.saturating_mul(1_000_000)
}

/// Lowers `due_ms` to the first whole millisecond that is not before `change_ns`.
fn due(due_ms: &mut i64, change_ns: Option<i64>) {
    if let Some(change_ns) = change_ns {
        let change_ms = change_ns.div_euclid(1_000_000) + i64::from(change_ns % 1_000_000 != 0);
        *due_ms = (*due_ms).min(change_ms);
    }
}

/// Whether an event that implies consent is known.
#[derive(Clone, Copy, Debug)]
pub enum Implied {
    /// It stands in the record, which is not at hand.
    InRecord,
    /// Its time in nanoseconds since 1970; none where it did not happen.
    At(Option<i64>),
}

/// An instant or a date, in nanoseconds since 1970; what is out of range (before
/// 1677, after 2262) is at its end.
#[must_use]
pub fn instant_ns(text: &str) -> Option<i64> {
    exact_ns(text).map(within)
}

/// When the month of a date or an instant is over, in UTC; in milliseconds since
/// 1970.
#[must_use]
pub fn month_end_of(text: &str) -> Option<i64> {
    let date = Date::parse(text).map(Date::to_unix_ms);
    let ms = date.or_else(|| Instant::parse(text).map(Instant::unix_ms));
    ms.map(month_end_ms)
}

/// The same in any year.
fn exact_ns(text: &str) -> Option<i128> {
    match Instant::parse(text) {
        Some(instant) => Some(instant.unix_nanoseconds()),
        None => Some(i128::from(Date::parse(text)?.to_unix_ms()) * 1_000_000),
    }
}

trait TermAfter {
    fn after(&self, value: Value<'_>) -> Option<i64>;
}

impl TermAfter for Term {
    /// When the term is over that runs from a date or an instant.
    fn after(&self, value: Value<'_>) -> Option<i64> {
        let text = value.as_text()?;
        if let Some(date) = Date::parse(text) {
            return Some(self.end_of_date(date));
        }
        Instant::parse(text).map(|instant| self.end_of_instant(&instant))
    }
}
