//! What patrons said, papers and terms: the gates beside conditions, as the rules
//! tell them and with nothing worked out beforehand.

use jiff::{Span, Timestamp, tz::TimeZone};
use zeef::policy::catalogue::{Kind, Type};
use zeef::policy::form::{Date, Instant};
use zeef::policy::recipient::ConsentGate;
use zeef::policy::term::Term;

use super::field::{Found, look};
use super::tree::Tree;

const DAY_NS: i128 = 86_400_000_000_000;
const LATEST: i128 = i128::MAX;

/// The fields that decide in a kind of this name, where patrons decide by it.
pub fn deciding(kind: &str) -> Option<&'static [&'static str]> {
    match kind {
        "consent" => Some(&["purpose", "recipient", "decision", "manner", "at"]),
        "objection" => Some(&["kind", "purpose", "status"]),
        _ => None,
    }
}

/// A consent or an objection.
#[derive(Clone, Debug)]
struct Statement {
    id: Option<String>,
    fields: Vec<(&'static str, Option<String>)>,
}

impl Statement {
    fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let (_, text) = fields.find(|(field, _)| *field == name)?;
        text.as_deref()
    }
}

/// All that a patron said by one kind of record, first to last.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The offset of the last record.
    newest: Option<i64>,
    /// That one could not be read.
    pub unreadable: bool,
    statements: Vec<Statement>,
}

impl Heard {
    /// Hears a record, or that there was one that cannot be read. What is older
    /// than what is known says nothing.
    pub fn hear(&mut self, offset: i64, said: Option<Said>) {
        if self.newest >= Some(offset) {
            return;
        }
        self.newest = Some(offset);
        self.unreadable = said.is_none();
        self.statements
            .extend(said.map(|Said(statement)| statement));
    }

    /// The patron is erased: what was granted so far counts no longer. What replaced
    /// it, or was refused, stays.
    pub fn end_epoch(&mut self) {
        for statement in &mut self.statements {
            if statement.get("decision") == Some("granted") {
                statement.fields.clear();
            }
        }
    }

    /// What is not replaced: of each id the last one.
    fn current(&self) -> impl Iterator<Item = &Statement> {
        let places = self.statements.iter().enumerate();
        let last = places.filter(|(place, statement)| {
            let mut later = self.statements[place + 1..].iter();
            later.all(|other| other.id != statement.id)
        });
        last.map(|(_, statement)| statement)
    }

    /// Whether there ever was an objection to marketing.
    pub fn forbids_marketing(&self) -> bool {
        let mut all = self.statements.iter();
        all.any(|one| one.get("kind") == Some("direct_marketing"))
    }

    /// Whether an objection stands against `purpose`.
    pub fn opposes(&self, purpose: &str) -> bool {
        self.current().any(|one| {
            let special = one.get("kind") == Some("special_circumstances");
            let stands = one.get("status") != Some("dismissed");
            let against = one.get("purpose").is_none_or(|other| other == purpose);
            special && stands && against
        })
    }

    /// Whether consent is granted to `recipient` at `now`; `event` is when
    /// something happened that implies it.
    pub fn grants(
        &self,
        gate: &ConsentGate,
        recipient: &str,
        event: Option<i128>,
        now: i128,
    ) -> bool {
        // Each with its time, whether it refuses, and whether it names.
        let mut speaking: Vec<(i128, bool, bool)> = Vec::new();
        for one in self.current() {
            let named = one.get("recipient");
            if one.get("purpose") != Some(&gate.purpose) || named.is_some_and(|it| it != recipient)
            {
                continue;
            }
            let at = one.get("at").and_then(kept_ns);
            let written = one.get("manner") == Some("written");
            let digital = one.get("manner") == Some("digital");
            match one.get("decision") {
                Some("granted") if written || (digital && !gate.explicit) => {
                    let at = at.filter(|at| *at <= now);
                    speaking.extend(at.map(|at| (at, false, named.is_some())));
                }
                Some("refused" | "withdrawn") => {
                    speaking.push((at.unwrap_or(LATEST), true, named.is_some()));
                }
                _ => {}
            }
        }
        let event = event.filter(|at| *at <= now && !gate.explicit);
        speaking.extend(event.map(|at| (at, false, false)));
        let latest = speaking.iter().max();
        let naming = speaking.iter().filter(|(_, _, names)| *names).max();
        let refuses = |one: Option<&(i128, bool, bool)>| one.map(|(_, refuses, _)| *refuses);
        refuses(latest) == Some(false) && refuses(naming) != Some(true)
    }
}

/// What one record says.
pub struct Said(Statement);

/// Reads what a record of a kind by which patrons decide says; none where it
/// cannot be told.
pub fn said(kind: &Kind, names: &'static [&'static str], record: &Tree) -> Option<Said> {
    let typed = |name: &str| {
        kind.field(name)
            .map_or(Type::Text(None), |field| field.kind)
    };
    let find = |name: &str| look(record, name, typed(name));
    let mut fields = Vec::new();
    for &name in names {
        let found = find(name);
        if found == Found::Malformed {
            return None;
        }
        fields.push((name, found.text()));
    }
    let id = find(&kind.id).text();
    Some(Said(Statement { id, fields }))
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
