//! What patrons said, papers and terms: the gates beside conditions, as the rules
//! tell them and with nothing worked out beforehand.

use jiff::{Span, Timestamp, tz::TimeZone};
use zeef::policy::Policy;
use zeef::policy::catalogue::{Kind, Type};
use zeef::policy::form::{Date, Instant};
use zeef::policy::recipient::{LegalBasis, Recipient};
use zeef::policy::term::Term;

use super::field::{Found, look};
use super::tree::Tree;

const DAY_NS: i128 = 86_400_000_000_000;
const LATEST: i128 = i128::MAX;

/// The kinds by which patrons decide.
pub fn decides(kind: &str) -> bool {
    matches!(kind, "consent" | "objection")
}

/// The names that a policy knows.
#[derive(Clone, Debug)]
pub struct Names {
    purposes: Vec<String>,
    recipients: Vec<String>,
}

impl Names {
    pub fn of(policy: &Policy) -> Names {
        let all = || policy.recipients.iter().chain(&policy.disabled);
        let asked = all().filter_map(|one| Some(one.consent.clone()?.purpose));
        let own = all().map(|one| one.purpose.clone());
        Names {
            purposes: asked
                .chain(own)
                .chain(policy.other_purposes.clone())
                .collect(),
            recipients: all().map(|one| one.name.clone()).collect(),
        }
    }
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Missing,
    Known(String),
    Near,
    Unknown,
}

fn name(known: &[String], text: Option<&str>) -> Name {
    match text {
        None => Name::Missing,
        Some(text) if known.iter().any(|one| one == text) => Name::Known(text.to_owned()),
        Some(text) if text.trim().is_empty() => Name::Near,
        Some(text) if known.iter().any(|one| near(one, text)) => Name::Near,
        Some(_) => Name::Unknown,
    }
}

fn near(known: &str, text: &str) -> bool {
    let plain = |text: &str| text.to_lowercase().replace(char::is_whitespace, "");
    let (known, text) = (plain(known), plain(text));
    let letters = known.chars().filter(|c| c.is_alphabetic()).count();
    let digits = |text: &str| {
        text.chars()
            .filter(char::is_ascii_digit)
            .collect::<String>()
    };
    known == text
        || (letters >= 6
            && digits(&known) == digits(&text)
            && strsim::levenshtein(&known, &text) == 1)
}

/// A consent or an objection that was understood.
#[derive(Clone, Debug)]
struct Statement {
    id: Option<String>,
    fields: Vec<(&'static str, Option<String>)>,
    purpose: Name,
    recipient: Name,
}

impl Statement {
    fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let (_, text) = fields.find(|(field, _)| *field == name)?;
        text.as_deref()
    }

    fn is_grant(&self) -> bool {
        self.get("decision") == Some("granted")
    }

    fn refuses(&self) -> bool {
        matches!(self.get("decision"), Some("refused" | "withdrawn"))
    }

    fn is_marketing(&self) -> bool {
        self.get("kind") == Some("direct_marketing")
    }

    /// Whether every word of it is of its list, and every name is one.
    fn is_understood(&self) -> bool {
        let of =
            |field: &str, list: &[&str]| self.get(field).is_some_and(|word| list.contains(&word));
        let clear = self.purpose != Name::Near && self.recipient != Name::Near;
        if self.get("kind").is_some() || self.get("status").is_some() {
            let special = of("kind", &["special_circumstances"]);
            return special && clear && of("status", &["lodged", "upheld", "dismissed"]);
        }
        let manner = of("manner", &["written", "digital", "oral"]);
        let giver = self.get("given_by").is_none() || of("given_by", &["patron", "guardian"]);
        let manner = manner || (self.get("manner").is_none() && self.refuses());
        (self.is_grant() || self.refuses())
            && manner
            && giver
            && clear
            && self.purpose != Name::Missing
    }
}

/// What one message says by a kind of record.
#[derive(Clone, Debug)]
pub enum Said {
    Understood(Box<Spoken>),
    /// Its id, and what of its purpose and recipient could be read.
    Unreadable(Option<String>, Box<About>),
    /// A null on consent.
    EndGrants,
}

#[derive(Clone, Debug)]
pub struct Spoken(Statement);

impl Spoken {
    /// The same record, where it lies under a key that is not its patron's.
    pub fn misplaced(self) -> Said {
        let is_objection = self.0.fields.iter().any(|(name, _)| *name == "status");
        let Statement {
            id,
            purpose,
            recipient,
            ..
        } = self.0;
        let about = match is_objection {
            true => About::anything(),
            false => Box::new(About(purpose, recipient)),
        };
        Said::Unreadable(id, about)
    }
}

#[derive(Clone, Debug)]
pub struct About(Name, Name);

impl About {
    /// It is about something that nobody has.
    pub fn is_nothing(&self) -> bool {
        self.0 == Name::Unknown || self.1 == Name::Unknown
    }

    /// Nothing of it could be read.
    pub fn anything() -> Box<About> {
        Box::new(About(Name::Near, Name::Near))
    }
}

/// All that a patron said by one kind of record, first to last.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The offset of the last record.
    newest: Option<i64>,
    all: Vec<Said>,
}

impl Heard {
    /// Hears a record. What is older than what is known says nothing.
    pub fn hear(&mut self, offset: i64, said: Said) {
        if self.newest < Some(offset) {
            self.newest = Some(offset);
            self.all.push(said);
        }
    }

    /// The patron is erased: what was granted so far counts no longer. What replaced
    /// it, or was refused, stays.
    pub fn end_epoch(&mut self) {
        self.all.push(Said::EndGrants);
    }

    /// What is not replaced and not ended: of each id the last one.
    fn current(&self) -> impl Iterator<Item = &Statement> {
        let places = self.all.iter().enumerate();
        places.filter_map(|(place, said)| {
            let Said::Understood(spoken) = said else {
                return None;
            };
            let Spoken(statement) = &**spoken;
            let stands = self.all[place + 1..].iter().all(|later| match later {
                Said::Understood(other) => other.0.id != statement.id,
                Said::EndGrants => !statement.is_grant(),
                Said::Unreadable(..) => true,
            });
            stands.then_some(statement)
        })
    }

    /// What was not understood, and no readable version of it followed.
    fn unreadable(&self) -> impl Iterator<Item = &About> {
        let places = self.all.iter().enumerate();
        places.filter_map(|(place, said)| {
            let Said::Unreadable(id, about) = said else {
                return None;
            };
            let stands = self.all[place + 1..].iter().all(|later| match later {
                Said::Understood(other) => id.is_none() || other.0.id != *id,
                _ => true,
            });
            stands.then_some(&**about)
        })
    }

    /// Whether something that was not understood may be about this.
    pub fn is_unreadable(&self, purpose: &str, recipient: &str, any_purpose: bool) -> bool {
        self.unreadable().any(|About(of, named)| {
            let fits = |name: &Name, own: &str, any: bool| match name {
                Name::Known(known) => known == own,
                Name::Missing | Name::Near => any,
                Name::Unknown => false,
            };
            fits(of, purpose, any_purpose) && fits(named, recipient, true)
        })
    }

    /// When marketing was ever objected to.
    fn marketing(&self) -> impl Iterator<Item = i128> {
        let all = self.all.iter().filter_map(|said| match said {
            Said::Understood(spoken) if spoken.0.is_marketing() => Some(&spoken.0),
            _ => None,
        });
        all.map(|one| one.get("at").and_then(kept_ns).unwrap_or(LATEST))
    }

    /// Whether an objection for special circumstances stands against `purpose`.
    pub fn opposes(&self, purpose: &str) -> bool {
        self.current().any(|one| {
            let against = match &one.purpose {
                Name::Missing => true,
                name => *name == Name::Known(purpose.to_owned()),
            };
            !one.is_marketing() && one.get("status") != Some("dismissed") && against
        })
    }

    /// Whether the purpose was refused, for the recipient or for all.
    pub fn refuses(&self, purpose: &str, recipient: &str) -> bool {
        let mut speaking = self.speaking(purpose, recipient);
        speaking.any(Statement::refuses)
    }

    fn speaking(&self, purpose: &str, recipient: &str) -> impl Iterator<Item = &Statement> {
        let of = Name::Known(purpose.to_owned());
        let named = Name::Known(recipient.to_owned());
        self.current().filter(move |one| {
            one.purpose == of && (one.recipient == Name::Missing || one.recipient == named)
        })
    }
}

/// Who asks for consent, of a patron of which library, and when.
pub struct Asks<'a> {
    pub policy: &'a Policy,
    pub recipient: &'a Recipient,
    pub library: Option<&'a str>,
    pub now: i128,
}

impl Asks<'_> {
    fn purpose(&self) -> &str {
        let gate = self.recipient.consent.as_ref();
        gate.map_or(&self.recipient.purpose, |gate| &gate.purpose)
    }

    /// Whether a grant to this library counts.
    fn counts(&self, granted: Option<&str>) -> bool {
        let (Some(own), Some(granted)) = (self.library, granted) else {
            return false;
        };
        let before = self.policy.successor_of.get(own);
        own == granted || before.is_some_and(|before| before.iter().any(|one| one == granted))
    }

    /// Why not, by what the patron said of marketing and special circumstances.
    pub fn opposed(
        &self,
        consents: Option<&Heard>,
        objections: Option<&Heard>,
    ) -> Result<(), &'static str> {
        let recipient = self.recipient;
        let basis = recipient.legal_basis;
        let special = matches!(
            basis,
            LegalBasis::PublicTask | LegalBasis::LegitimateInterest
        ) || recipient.stops_on_objection;
        if !special && !recipient.marketing {
            return Ok(());
        }
        let (purpose, name) = (&*recipient.purpose, &*recipient.name);
        let objected = |is: &dyn Fn(&Heard) -> bool| objections.is_some_and(is);
        if objected(&|heard| heard.unreadable().next().is_some()) {
            return Err("objection_unreadable");
        }
        let marketing = objections.and_then(|heard| heard.marketing().max());
        if let Some(objected) = marketing.filter(|_| recipient.marketing)
            && !consents.is_some_and(|heard| self.lifts(heard, objected))
        {
            return Err("objection_marketing");
        }
        let mut gates = self
            .policy
            .recipients
            .iter()
            .filter_map(|one| one.consent.as_ref());
        let asked = gates.any(|gate| gate.purpose == purpose);
        let said = consents.filter(|_| !asked);
        if (special && objected(&|heard| heard.opposes(purpose)))
            || said.is_some_and(|heard| heard.refuses(purpose, name))
        {
            return Err("objection");
        }
        if said.is_some_and(|heard| heard.is_unreadable(purpose, name, false)) {
            return Err("consent_unreadable");
        }
        Ok(())
    }

    fn lifts(&self, consents: &Heard, objected: i128) -> bool {
        let (purpose, name) = (self.purpose(), &*self.recipient.name);
        let events = self.events(consents);
        let named = events
            .iter()
            .any(|event| !event.1 && event.2 && event.0 > objected);
        named && granted(&events) && !consents.is_unreadable(purpose, name, true)
    }

    /// Why not, by what the patron consented to; `event` is when something
    /// happened that implies it.
    pub fn consented(
        &self,
        consents: Option<&Heard>,
        event: Option<i128>,
    ) -> Result<(), &'static str> {
        let (purpose, name) = (self.purpose(), &*self.recipient.name);
        if consents.is_some_and(|heard| heard.is_unreadable(purpose, name, true)) {
            return Err("consent_unreadable");
        }
        let mut events = consents.map_or_else(Vec::new, |heard| self.events(heard));
        let event = event.filter(|at| *at <= self.now && !self.is_explicit());
        events.extend(event.map(|at| (at, false, false)));
        granted(&events).then_some(()).ok_or("no_consent")
    }

    fn is_explicit(&self) -> bool {
        let gate = self.recipient.consent.as_ref();
        gate.is_some_and(|gate| gate.explicit)
    }

    /// Each with its time, whether it refuses, and whether it names.
    fn events(&self, consents: &Heard) -> Vec<(i128, bool, bool)> {
        let mut events = Vec::new();
        for one in consents.speaking(self.purpose(), &self.recipient.name) {
            let at = one.get("at").and_then(kept_ns);
            let names = one.recipient != Name::Missing;
            let manner = one.get("manner");
            let fits =
                manner == Some("written") || (manner == Some("digital") && !self.is_explicit());
            if one.refuses() {
                events.push((at.unwrap_or(LATEST), true, names));
            } else if fits && self.counts(one.get("library")) {
                let at = at.filter(|at| *at <= self.now);
                events.extend(at.map(|at| (at, false, names)));
            }
        }
        events
    }
}

fn granted(events: &[(i128, bool, bool)]) -> bool {
    let refuses = |one: Option<&(i128, bool, bool)>| one.map(|(_, refuses, _)| *refuses);
    let naming = events.iter().filter(|(_, _, names)| *names).max();
    refuses(events.iter().max()) == Some(false) && refuses(naming) != Some(true)
}

/// Reads what a record of a kind by which patrons decide says.
///
/// # Errors
///
/// Why it is refused, and as much as could be read.
pub fn said(kind: &Kind, names: &Names, record: &Tree) -> Result<Said, (&'static str, Said)> {
    let typed = |name: &str| {
        kind.field(name)
            .map_or(Type::Text(None), |field| field.kind)
    };
    let known = |name: &&&str| kind.field(name).is_some();
    let fields: &[&'static str] = match &*kind.name {
        "consent" => &[
            "purpose",
            "recipient",
            "decision",
            "manner",
            "at",
            "given_by",
        ],
        _ => &["kind", "purpose", "status"],
    };
    let mut malformed = false;
    let mut read = Vec::new();
    for name in fields.iter().filter(known) {
        let found = look(record, name, typed(name));
        malformed |= found == Found::Malformed;
        read.push((*name, found));
    }
    let find = |path: &str| {
        read.iter()
            .find(|(name, _)| *name == path)
            .map(|(_, found)| found)
    };
    let named = |path: &str, known: &[String]| match find(path) {
        Some(Found::Malformed) => Name::Near,
        Some(found) => name(known, found.clone().text().as_deref()),
        None => Name::Missing,
    };
    let (purpose, recipient) = (
        named("purpose", &names.purposes),
        named("recipient", &names.recipients),
    );
    let id = look(record, &kind.id, typed(&kind.id)).text();
    let about = match &*kind.name {
        "consent" => Box::new(About(purpose.clone(), recipient.clone())),
        _ => About::anything(),
    };
    let mut fields: Vec<(&'static str, Option<String>)> = Vec::new();
    fields.extend(read.into_iter().map(|(name, found)| (name, found.text())));
    for other in ["library", "at"]
        .into_iter()
        .filter(|other| kind.field(other).is_some())
    {
        if !fields.iter().any(|(name, _)| *name == other) {
            fields.push((other, look(record, other, typed(other)).text()));
        }
    }
    let statement = Statement {
        id: id.clone(),
        fields,
        purpose,
        recipient,
    };
    let objects = kind.name == "objection";
    if objects && statement.is_marketing() {
        return Ok(Said::Understood(Box::new(Spoken(statement))));
    }
    let unreadable = Said::Unreadable(id, about);
    if malformed {
        return Err(("malformed", unreadable));
    }
    // Without any word an objection is none.
    let worded = !objects || (statement.get("kind").is_some() && statement.get("status").is_some());
    if !worded || !statement.is_understood() {
        return Err(("unclear", unreadable));
    }
    Ok(Said::Understood(Box::new(Spoken(statement))))
}

/// An instant or a date, in nanoseconds since 1970.
pub fn ns(text: &str) -> Option<i128> {
    let instant = Instant::parse(text).map(Instant::unix_nanoseconds);
    instant.or_else(|| Some(i128::from(Date::parse(text)?.to_unix_ms()) * 1_000_000))
}

/// The time of a consent, which is kept in 64 bits: two from before 1677 are one,
/// and then a refusal wins.
pub fn kept_ns(text: &str) -> Option<i128> {
    let ends = i128::from(i64::MIN)..=i128::from(i64::MAX - 1);
    ns(text).map(|at| at.clamp(*ends.start(), *ends.end()))
}

/// Whether a paper is in force, from its first day to its last.
pub fn in_force(from: &str, until: &str, now: i128) -> bool {
    let from = ns(from).is_some_and(|from| from <= now);
    from && ns(until).is_some_and(|until| now < until + DAY_NS)
}

/// Whether a term that runs from `start` is over.
pub fn is_over(term: Term, start: i128, now: i128) -> bool {
    let span = Span::new()
        .years(term.years)
        .months(term.months)
        .days(term.days);
    let end = Timestamp::from_nanosecond(start)
        .and_then(|start| start.to_zoned(TimeZone::UTC).checked_add(span));
    // What ends after the year 9999 does not end.
    end.is_ok_and(|end| end.timestamp().as_nanosecond() <= now)
}
