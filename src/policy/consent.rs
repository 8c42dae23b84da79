//! What consents and objections mean: who may receive a patron's data (docs/rules.md, section 5).
//!
//! Pure rules over the few facts that are kept; no record, clock or table.

pub use super::consent_events::{ConsentDecision, LATEST_NS};
use super::consent_events::{ConsentEvents, ConsentScope, WILDCARD};
use super::form::Rfc3339Instant;
use super::term::Term;

/// The latest time of a statement; a refusal without a time is later.
const TIMED_EVENT_NS_MAX: i64 = LATEST_NS - 1;

/// Returns nanoseconds since 1970, clamped to the years 1677 to 2262.
#[must_use]
pub fn instant_to_ns(instant: &Rfc3339Instant) -> i64 {
    clamp_ns(instant.to_unix_ns())
}

/// Clamps nanoseconds since 1970 to the times that a statement may have.
#[must_use]
pub fn clamp_ns(nanoseconds: i128) -> i64 {
    let cut = nanoseconds.clamp(i128::from(i64::MIN), i128::from(TIMED_EVENT_NS_MAX));
    i64::try_from(cut).unwrap_or(TIMED_EVENT_NS_MAX)
}

/// A word of a consent or objection is unknown, or missing although something depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnclearStatement;

/// The fields of a consent record that decide.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConsentRecordFields<'a> {
    pub decision: Option<&'a str>,
    pub manner: Option<&'a str>,
    pub given_by: Option<&'a str>,
    /// The record names who of the staff took it, or where the signature is.
    pub has_witness: bool,
    /// The recipient, the employee and the signature stand in it.
    pub is_signed: bool,
}

/// Returns what a consent record decides, and when; `None` if it counts for nothing, in which case
/// it still replaces the one with its id.
///
/// # Errors
///
/// [`UnclearStatement`] for an unknown word. A missing manner makes a grant unclear, and is ignored
/// on a refusal. A guardian's grant without a witness counts for nothing.
pub fn parse_consent(
    fields: ConsentRecordFields<'_>,
    decided_at: Option<&Rfc3339Instant>,
) -> Result<Option<(ConsentDecision, i64)>, UnclearStatement> {
    let ConsentRecordFields { decision, manner, given_by, has_witness, is_signed } = fields;
    if !matches!(given_by, None | Some("patron" | "guardian"))
        || !matches!(manner, None | Some("written" | "digital" | "oral"))
    {
        return Err(UnclearStatement);
    }
    let grant = match (decision, manner) {
        (Some("refused" | "withdrawn"), _) => {
            return Ok(Some((
                ConsentDecision::Refusal,
                decided_at.map_or(LATEST_NS, instant_to_ns),
            )));
        }
        (Some("granted"), Some("written" | "digital"))
            if given_by == Some("guardian") && !has_witness =>
        {
            return Ok(None);
        }
        (Some("granted"), Some("written")) => match given_by {
            Some("guardian") if is_signed => ConsentDecision::GuardianSignedGrant,
            Some("guardian") => ConsentDecision::GuardianWrittenGrant,
            _ if is_signed => ConsentDecision::SignedGrant,
            _ => ConsentDecision::WrittenGrant,
        },
        (Some("granted"), Some("digital")) => match given_by {
            Some("guardian") => ConsentDecision::GuardianDigitalGrant,
            _ => ConsentDecision::DigitalGrant,
        },
        (Some("granted"), Some(_)) => return Ok(None),
        _ => return Err(UnclearStatement),
    };
    Ok(decided_at.map(|decided_at| (grant, instant_to_ns(decided_at))))
}

/// Whose grants count. A refusal counts whoever gave it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GrantGivers {
    #[default]
    Anyone,
    /// Of a minor; no event counts either.
    GuardianOnly,
    /// Of an adult.
    PatronOnly,
}

impl GrantGivers {
    pub const ALL: [GrantGivers; 3] =
        [GrantGivers::Anyone, GrantGivers::GuardianOnly, GrantGivers::PatronOnly];
}

/// What a recipient asks of a patron's consents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsentQuery {
    pub purpose: u16,
    pub recipient: u16,
    /// Only a written grant counts, and no event.
    pub is_explicit: bool,
    pub givers: GrantGivers,
}

impl ConsentQuery {
    #[must_use]
    pub fn of_givers(self, givers: GrantGivers) -> ConsentQuery {
        ConsentQuery { givers, ..self }
    }

    fn accepts_grant(&self, grant: ConsentDecision) -> bool {
        let is_by_giver = match self.givers {
            GrantGivers::Anyone => true,
            GrantGivers::GuardianOnly => grant.is_by_guardian(),
            GrantGivers::PatronOnly => !grant.is_by_guardian(),
        };
        is_by_giver && (grant.is_written() || !self.is_explicit)
    }

    fn accepts_event(&self, event: ImpliedGrant) -> bool {
        let decision = match event.is_by_guardian {
            true => ConsentDecision::GuardianDigitalGrant,
            false => ConsentDecision::DigitalGrant,
        };
        self.accepts_grant(decision)
    }
}

/// An event that counts as a digital grant for every recipient of the purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImpliedGrant {
    pub at_ns: i64,
    pub is_by_guardian: bool,
}

impl ImpliedGrant {
    /// An event of the patron.
    #[must_use]
    pub fn by_patron(at_ns: i64) -> ImpliedGrant {
        ImpliedGrant { at_ns, is_by_guardian: false }
    }
}

/// A patron's consents and what they are evaluated with.
#[derive(Clone, Copy, Debug)]
pub struct ConsentView<'a> {
    pub events: &'a ConsentEvents,
    /// The libraries whose grants count, as a bit set by number.
    pub granting_libraries: u64,
    /// Only grants with all their elements count (G01).
    pub needs_signature: bool,
}

impl ConsentView<'_> {
    /// The same, but only written grants with all their elements count.
    #[must_use]
    pub fn with_all_elements(self) -> Self {
        ConsentView { needs_signature: true, ..self }
    }

    fn grant_scopes(
        &self,
        query: &ConsentQuery,
        recipient: u16,
    ) -> impl Iterator<Item = (ConsentScope, ConsentDecision)> {
        let about = ConsentScope::for_purpose(query.purpose).for_recipient(recipient);
        let libraries = self.granting_libraries;
        let (query, needs_signature) = (*query, self.needs_signature);
        let counts = move |grant: &ConsentDecision| {
            query.accepts_grant(*grant) && (grant.is_signed() || !needs_signature)
        };
        (0..64_u16).filter(move |library| libraries >> library & 1 == 1).flat_map(move |library| {
            let about = about.for_library(library);
            let grants = ConsentDecision::GRANTS.into_iter();
            grants.filter(counts).map(move |grant| (about, grant))
        })
    }

    /// Returns the time of the latest grant up to `until_ns` that names `recipient`, or all if it
    /// is [`WILDCARD`].
    fn latest_grant_ns(&self, query: &ConsentQuery, recipient: u16, until_ns: i64) -> Option<i64> {
        self.grant_scopes(query, recipient)
            .filter_map(|(about, decision)| self.events.latest_ns(about, decision, until_ns))
            .max()
    }

    /// Returns the time of the first such grant after `after_ns`.
    fn next_grant_ns(&self, query: &ConsentQuery, recipient: u16, after_ns: i64) -> Option<i64> {
        self.grant_scopes(query, recipient)
            .filter_map(|(about, decision)| self.events.next_after_ns(about, decision, after_ns))
            .min()
    }

    fn latest_refusal_ns(&self, query: &ConsentQuery, recipient: u16) -> Option<i64> {
        let about = ConsentScope::for_purpose(query.purpose).for_recipient(recipient);
        self.events.latest_ns(about, ConsentDecision::Refusal, LATEST_NS)
    }

    /// Returns `now_ns` if a grant later than `after_ns` is in force, or else the time of the first
    /// one to come.
    fn first_grant_after_ns(
        &self,
        query: &ConsentQuery,
        recipients: &[u16],
        after_ns: Option<i64>,
        now_ns: i64,
    ) -> Option<i64> {
        let latest =
            recipients.iter().filter_map(|name| self.latest_grant_ns(query, *name, now_ns)).max();
        if latest > after_ns {
            return Some(now_ns);
        }
        let from_ns = after_ns.map_or(now_ns, |after_ns| after_ns.max(now_ns));
        recipients.iter().filter_map(|name| self.next_grant_ns(query, *name, from_ns)).min()
    }
}

/// Returns whether consent is in force at `now_ns`, and when time alone will change that: a future
/// grant.
///
/// `implied` is the event, if any, that counts as a digital grant.
#[must_use]
pub fn evaluate_consent(
    consents: &ConsentView<'_>,
    query: &ConsentQuery,
    implied: Option<ImpliedGrant>,
    now_ns: i64,
) -> (bool, Option<i64>) {
    granted_or_next_change(consent_start_ns(consents, query, implied, now_ns), now_ns)
}

/// Returns the first time from `now_ns` on when consent is in force; `None` if time alone will not
/// bring it.
fn consent_start_ns(
    consents: &ConsentView<'_>,
    query: &ConsentQuery,
    implied: Option<ImpliedGrant>,
    now_ns: i64,
) -> Option<i64> {
    let refused_by_name_ns = consents.latest_refusal_ns(query, query.recipient);
    let refused_ns = refused_by_name_ns.max(consents.latest_refusal_ns(query, WILDCARD));
    let implied_grant_ns = implied
        .filter(|event| query.accepts_event(*event) && Some(event.at_ns) > refused_ns)
        .map(|event| event.at_ns.max(now_ns));
    let recorded_grant_ns =
        consents.first_grant_after_ns(query, &[query.recipient, WILDCARD], refused_ns, now_ns);
    let any_grant_ns = [implied_grant_ns, recorded_grant_ns].into_iter().flatten().min()?;
    let named_grant_ns = match refused_by_name_ns {
        Some(_) => {
            consents.first_grant_after_ns(query, &[query.recipient], refused_by_name_ns, now_ns)?
        }
        None => now_ns,
    };
    Some(any_grant_ns.max(named_grant_ns))
}

/// Returns whether a grant that names the patron with `query.recipient` as its number is in force
/// at `now_ns`, and when time alone will change that. `lasts` is how long it counts from its time.
///
/// A grant that names nobody counts for nothing here; a refusal that names nobody is one of all.
#[must_use]
pub fn evaluate_named_grant(
    consents: &ConsentView<'_>,
    query: &ConsentQuery,
    lasts: Option<Term>,
    now_ns: i64,
) -> (bool, Option<i64>) {
    let refused_ns = consents
        .latest_refusal_ns(query, query.recipient)
        .max(consents.latest_refusal_ns(query, WILDCARD));
    let granted_ns = consents.latest_grant_ns(query, query.recipient, now_ns);
    let granted_ns = granted_ns.filter(|_| granted_ns > refused_ns);
    let until_ns = granted_ns.map(|at_ns| lasts.map_or(i64::MAX, |term| term_end_ns(term, at_ns)));
    match until_ns.filter(|until_ns| *until_ns > now_ns) {
        Some(until_ns) => (true, (until_ns != i64::MAX).then_some(until_ns)),
        None => {
            let from_ns = refused_ns.map_or(now_ns, |refused_ns| refused_ns.max(now_ns));
            (false, consents.next_grant_ns(query, query.recipient, from_ns))
        }
    }
}

/// Returns when a term from `start_ns` is over, rounded up to a millisecond.
fn term_end_ns(term: Term, start_ns: i64) -> i64 {
    let start_ms = start_ns.div_euclid(1_000_000) + i64::from(start_ns % 1_000_000 != 0);
    term.end_from_ms(start_ms).saturating_mul(1_000_000)
}

/// Returns whether `from_ns` is `now_ns`, and `from_ns` itself if not.
fn granted_or_next_change(from_ns: Option<i64>, now_ns: i64) -> (bool, Option<i64>) {
    let granted = from_ns == Some(now_ns);
    (granted, from_ns.filter(|_| !granted))
}

/// Returns whether a grant lifts, for one recipient at `now_ns`, an objection to marketing of
/// `objected_ns`, and when time alone will change that. The grant must name the recipient, follow
/// the objection, and not be refused later.
#[must_use]
pub fn grant_lifts_objection(
    consents: &ConsentView<'_>,
    query: &ConsentQuery,
    objected_ns: i64,
    now_ns: i64,
) -> (bool, Option<i64>) {
    let named = consents.first_grant_after_ns(query, &[query.recipient], Some(objected_ns), now_ns);
    let granted = consent_start_ns(consents, query, None, now_ns);
    let from_ns = named.zip(granted).map(|(named, granted)| named.max(granted));
    granted_or_next_change(from_ns, now_ns)
}

/// Returns what decides over implied consents: the latest refusal and grant for the recipient,
/// whether a refusal by name is in force, and when a grant will change one of them.
#[must_use]
pub fn summarize_consents(
    consents: &ConsentView<'_>,
    query: &ConsentQuery,
    now_ns: i64,
) -> ([Option<i64>; 2], bool, Option<i64>) {
    let by_name = consents.latest_refusal_ns(query, query.recipient);
    let refused = by_name.max(consents.latest_refusal_ns(query, WILDCARD));
    let both = [query.recipient, WILDCARD];
    let latest = both.map(|name| consents.latest_grant_ns(query, name, now_ns));
    let named = latest[0] > by_name || by_name.is_none();
    let coming = both.map(|name| consents.next_grant_ns(query, name, now_ns));
    let granted = latest.into_iter().max().flatten();
    ([refused, granted], named, coming.into_iter().flatten().min())
}

/// What an objection record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectionEffect {
    /// Has no effect any more; still replaces the one with its id.
    Dismissed,
    /// Against marketing: permanent, even if a later record replaces it.
    Marketing,
    /// In force until dismissed.
    InForce,
}

/// Returns what an objection record does. One against marketing needs no status.
///
/// # Errors
///
/// [`UnclearStatement`] for an unknown kind or status.
pub fn parse_objection(
    kind: Option<&str>,
    status: Option<&str>,
) -> Result<ObjectionEffect, UnclearStatement> {
    match (kind, status) {
        (Some("direct_marketing"), _) => Ok(ObjectionEffect::Marketing),
        (Some("special_circumstances"), Some("dismissed")) => Ok(ObjectionEffect::Dismissed),
        (Some("special_circumstances"), Some("lodged" | "upheld")) => Ok(ObjectionEffect::InForce),
        (_, _) => Err(UnclearStatement),
    }
}

/// Returns whether one of these objections is against `purpose`.
#[must_use]
pub fn has_objection(objections: &ConsentEvents, purpose: u16) -> bool {
    [purpose, WILDCARD].iter().any(|one| objections.has_refusal(ConsentScope::for_purpose(*one)))
}

/// Returns whether one of these refusals is of the purpose, for the recipient or for all.
#[must_use]
pub fn has_refusal(refusals: &ConsentEvents, query: &ConsentQuery) -> bool {
    let about = ConsentScope::for_purpose(query.purpose);
    [query.recipient, WILDCARD].iter().any(|one| refusals.has_refusal(about.for_recipient(*one)))
}

/// What an unreadable record may be about; [`WILDCARD`] for what could not be read, or is not
/// named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnreadableScope {
    pub purpose: u16,
    pub recipient: u16,
}

impl UnreadableScope {
    /// Nothing could be read.
    pub const WILDCARD: UnreadableScope =
        UnreadableScope { purpose: WILDCARD, recipient: WILDCARD };
}

impl ConsentQuery {
    /// Returns the scopes of unreadable records that stop the query. A record with an unreadable
    /// purpose may be about any purpose if `any_purpose`.
    pub fn blocking_scopes(
        &self,
        include_unreadable_purpose: bool,
    ) -> impl Iterator<Item = UnreadableScope> + use<> {
        let recipients = [self.recipient, WILDCARD];
        let purposes = [Some(self.purpose), include_unreadable_purpose.then_some(WILDCARD)];
        purposes.into_iter().flatten().flat_map(move |purpose| {
            recipients.into_iter().map(move |recipient| UnreadableScope { purpose, recipient })
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::consent_events::ConsentEvent;

    fn query(is_explicit: bool) -> ConsentQuery {
        let givers = GrantGivers::Anyone;
        ConsentQuery { purpose: PURPOSE, recipient: RECIPIENT, is_explicit, givers }
    }

    /// A consent record with small numbers as times.
    #[derive(Clone, Debug)]
    struct ConsentRecord {
        id: u64,
        purpose: u16,
        recipient: Option<u16>,
        decision: &'static str,
        manner: &'static str,
        at: Option<i64>,
    }

    impl ConsentRecord {
        fn is_refusal(&self) -> bool {
            ["refused", "withdrawn"].contains(&self.decision)
        }
    }

    /// Returns this many seconds since 1970 as an instant.
    fn instant(seconds: i64) -> Rfc3339Instant {
        let time = jiff::Timestamp::from_second(seconds).unwrap();
        Rfc3339Instant::parse(&time.to_string()).unwrap()
    }

    fn implied_grant(at: Option<i64>) -> Option<ImpliedGrant> {
        at.map(|at| ImpliedGrant::by_patron(ns(at)))
    }

    fn ns(seconds: i64) -> i64 {
        seconds * 1_000_000_000
    }

    /// Returns what is kept after records arrived in this order.
    fn consent_events_of(arrived: &[ConsentRecord]) -> ConsentEvents {
        let mut kept = ConsentEvents::default();
        for record in arrived {
            let at = record.at.map(instant);
            let words = ConsentRecordFields {
                decision: Some(record.decision),
                manner: Some(record.manner),
                ..ConsentRecordFields::default()
            };
            let read = parse_consent(words, at.as_ref()).unwrap_or_default();
            let about = ConsentScope::for_purpose(record.purpose)
                .for_recipient(record.recipient.unwrap_or(WILDCARD));
            let statement = read.map(|(decision, at_ns)| ConsentEvent {
                id_hash: record.id,
                scope: about,
                decision,
                at_ns,
            });
            kept.replace_by_id(record.id, statement);
        }
        kept
    }

    /// A view in which all grants are of the patron's own library.
    fn own_library_view(all: &ConsentEvents) -> ConsentView<'_> {
        ConsentView { events: all, granting_libraries: 1, needs_signature: false }
    }

    /// The rule, as plainly as section 5 of docs/rules.md says it.
    fn reference_consent(
        arrived: &[ConsentRecord],
        asked: &ConsentQuery,
        implied: Option<i64>,
        now: i64,
    ) -> bool {
        struct GrantOrRefusal {
            at: i64,
            is_refusal: bool,
            is_by_name: bool,
        }
        let mut events = Vec::new();
        for (place, record) in arrived.iter().enumerate() {
            let replaced = arrived[place + 1..].iter().any(|later| later.id == record.id);
            let concerns_recipient = [None, Some(asked.recipient)].contains(&record.recipient);
            if replaced || !concerns_recipient || record.purpose != asked.purpose {
                continue;
            }
            let manners: &[&str] =
                if asked.is_explicit { &["written"] } else { &["written", "digital"] };
            let grants = record.decision == "granted"
                && manners.contains(&record.manner)
                && record.at.is_some_and(|at| at <= now);
            if grants || record.is_refusal() {
                events.push(GrantOrRefusal {
                    at: record.at.unwrap_or(i64::MAX),
                    is_refusal: record.is_refusal(),
                    is_by_name: record.recipient.is_some(),
                });
            }
        }
        if let Some(at) = implied.filter(|at| *at <= now && !asked.is_explicit) {
            events.push(GrantOrRefusal { at, is_refusal: false, is_by_name: false });
        }
        events.sort_by_key(|event| (event.at, event.is_refusal));
        let last = events.last();
        let last_by_name = events.iter().rfind(|event| event.is_by_name);
        last.is_some_and(|event| !event.is_refusal)
            && last_by_name.is_none_or(|event| !event.is_refusal)
    }

    const PURPOSE: u16 = 1;
    const RECIPIENT: u16 = 7;
    const OTHER_RECIPIENT: u16 = 8;
    const NOW: i64 = 100;

    /// `granted written 10 for 7 id 3 about 2`; the defaults are `about 1`, no recipient, and a
    /// unique id.
    fn parse_record(place: usize, text: &'static str) -> ConsentRecord {
        let mut words = text.split(' ');
        let mut next = || words.next().unwrap();
        let (decision, manner) = (next(), next());
        let at = next().parse().ok();
        let mut arrived = ConsentRecord {
            id: 1_000 + place as u64,
            purpose: PURPOSE,
            recipient: None,
            decision,
            manner,
            at,
        };
        while let Some(word) = words.next() {
            let number = words.next().unwrap().parse().unwrap();
            match word {
                "for" => arrived.recipient = Some(number),
                "about" => arrived.purpose = number,
                _ => arrived.id = number.into(),
            }
        }
        arrived
    }

    #[track_caller]
    fn check_consent(
        about: &str,
        records: &[&'static str],
        explicit: bool,
        implied: Option<i64>,
        want: (bool, Option<i64>),
    ) {
        let arrived: Vec<_> =
            records.iter().enumerate().map(|(place, text)| parse_record(place, text)).collect();
        let asked = query(explicit);
        let (given, coming) = evaluate_consent(
            &own_library_view(&consent_events_of(&arrived)),
            &asked,
            implied_grant(implied),
            ns(NOW),
        );
        assert_eq!((given, coming), (want.0, want.1.map(ns)), "{about}");
        assert_eq!(reference_consent(&arrived, &asked, implied, NOW), want.0, "{about}, plainly");
    }

    #[test]
    fn g03_g04_latest_grant_wins_and_refusal_by_name_needs_grant_by_name() {
        #[track_caller]
        fn check(about: &str, records: &[&'static str], want: bool) {
            check_consent(about, records, false, None, (want, None));
        }
        check("no record is no", &[], false);
        check("a written grant", &["granted written 10"], true);
        check("a digital grant", &["granted digital 10"], true);
        check("an oral grant is none", &["granted oral 10"], false);
        check("an oral grant lifts nothing", &["refused written 10", "granted oral 20"], false);
        check("an unknown manner is none", &["granted shouted 10"], false);
        check("a grant without a time is none", &["granted written -"], false);
        check("another decision is none", &["postponed written 10"], false);
        check(
            "another decision takes nothing",
            &["granted written 10", "postponed written 20"],
            true,
        );
        check("a grant about something else", &["granted written 10 about 2"], false);
        check("a grant for somebody else", &["granted written 10 for 8"], false);
        check("a grant by name", &["granted written 10 for 7"], true);
        check("a later withdrawal", &["granted written 10", "withdrawn written 20"], false);
        check("an oral withdrawal", &["granted written 10", "withdrawn oral 20"], false);
        check("an earlier refusal", &["granted written 20", "refused written 10"], true);
        check("order is by time", &["withdrawn written 20", "granted written 10"], false);
        check("granted again", &["withdrawn written 20", "granted digital 30"], true);
        check("a tie is a refusal", &["refused written 10", "granted written 10"], false);
        check("a tie, the other way", &["granted written 10", "refused written 10"], false);
        check(
            "a refusal without a time is the latest",
            &["refused oral -", "granted written 90"],
            false,
        );
        check(
            "a refusal of the future counts at once",
            &["granted written 10", "withdrawn written 500"],
            false,
        );
        check(
            "a refusal about something else",
            &["granted written 10", "refused written 20 about 2"],
            true,
        );
        check(
            "a refusal for somebody else",
            &["granted written 10", "refused written 20 for 8"],
            true,
        );
        check(
            "a refusal by name stops",
            &["granted written 10", "refused written 20 for 7"],
            false,
        );
        check(
            "only a grant by name lifts it",
            &["refused written 20 for 7", "granted written 30"],
            false,
        );
        check(
            "a grant by name lifts it",
            &["refused written 20 for 7", "granted written 30 for 7"],
            true,
        );
        check(
            "a grant by name for somebody else lifts nothing",
            &["refused written 20 for 7", "granted written 30 for 8"],
            false,
        );
        check(
            "a refusal for all stops a grant by name",
            &["granted written 10 for 7", "refused written 20"],
            false,
        );
        check(
            "a grant for all lifts a refusal for all",
            &["granted written 10 for 7", "refused written 20", "granted written 30"],
            true,
        );
        check(
            "a refusal by name and a later one for all",
            &["refused written 10 for 7", "granted written 20 for 7", "refused written 30"],
            false,
        );
        check(
            "a record replaces that of its id",
            &["refused written 20 id 5", "granted written 10 id 5"],
            true,
        );
        check(
            "also with a refusal",
            &["granted written 20 id 5", "refused written 10 id 5"],
            false,
        );
        check(
            "also with an oral grant",
            &["granted written 10 id 5", "granted oral 20 id 5"],
            false,
        );
        check(
            "also with one about something else",
            &["refused written 10 id 5", "granted written 5", "refused written 10 about 2 id 5"],
            true,
        );
        check(
            "two refusals, one of them replaced",
            &["refused written 10 id 5", "refused written 20", "granted written 15 id 5"],
            false,
        );
    }

    #[test]
    fn g03_future_grant_takes_effect_at_its_time() {
        #[track_caller]
        fn check(about: &str, records: &[&'static str], want: (bool, Option<i64>)) {
            check_consent(about, records, false, None, want);
        }
        check("now is not after now", &["granted written 100"], (true, None));
        check("tomorrow", &["granted written 101"], (false, Some(101)));
        check("granted already", &["granted written 10", "granted written 101"], (true, None));
        check(
            "the first that helps",
            &["refused written 150", "granted written 120", "granted written 200"],
            (false, Some(200)),
        );
        check(
            "never, after a refusal without a time",
            &["refused written -", "granted written 120"],
            (false, None),
        );
        check(
            "not by a grant for all",
            &["refused written 20 for 7", "granted written 120"],
            (false, None),
        );
    }

    #[test]
    fn g04_implied_event_counts_as_digital_grant_for_all() {
        #[track_caller]
        fn check(about: &str, records: &[&'static str], implied: i64, want: (bool, Option<i64>)) {
            check_consent(about, records, false, Some(implied), want);
        }
        check("an account", &[], 50, (true, None));
        check("an account of tomorrow", &[], 150, (false, Some(150)));
        check("a later withdrawal", &["withdrawn digital 60"], 50, (false, None));
        check("an earlier withdrawal", &["withdrawn digital 40"], 50, (true, None));
        check("a record wins a tie", &["withdrawn digital 50"], 50, (false, None));
        check("a refusal by name is not lifted", &["refused digital 40 for 7"], 50, (false, None));
        check_consent("no event is explicit", &[], true, Some(50), (false, None));
    }

    #[test]
    fn s03_explicit_consent_needs_written_grant() {
        #[track_caller]
        fn check(records: &[&'static str], want: (bool, Option<i64>)) {
            check_consent("explicit", records, true, None, want);
        }
        check(&["granted written 10"], (true, None));
        check(&["granted digital 10"], (false, None));
        check(&["granted written 10", "granted digital 20"], (true, None));
        check(&["granted written 10", "withdrawn digital 20"], (false, None));
        check(&["withdrawn oral 20", "granted digital 30"], (false, None));
        check(&["granted digital 120", "granted written 130"], (false, Some(130)));
    }

    #[test]
    fn guardian_grant_needs_a_witness() {
        let at = instant(10);
        for (given_by, decision, has_witness, counts) in [
            (Some("guardian"), "granted", false, false),
            (Some("guardian"), "granted", true, true),
            (Some("guardian"), "refused", false, true),
            (Some("patron"), "granted", false, true),
            (None, "granted", false, true),
        ] {
            let fields = ConsentRecordFields {
                decision: Some(decision),
                manner: Some("written"),
                given_by,
                has_witness,
                is_signed: false,
            };
            let read = parse_consent(fields, Some(&at)).unwrap();
            assert_eq!(read.is_some(), counts, "{given_by:?} {decision} {has_witness}");
        }
    }

    #[test]
    fn grant_counts_by_who_gave_it_and_refusal_by_anyone() {
        let evaluate = |decisions: &[(ConsentDecision, i64)], givers, implied: Option<i64>| {
            let mut events = ConsentEvents::default();
            for (id_hash, (decision, at)) in (0..).zip(decisions) {
                let scope = ConsentScope::for_purpose(PURPOSE);
                let event = ConsentEvent { id_hash, scope, decision: *decision, at_ns: ns(*at) };
                events.replace_by_id(id_hash, Some(event));
            }
            let view = own_library_view(&events);
            let query = query(false).of_givers(givers);
            evaluate_consent(&view, &query, implied_grant(implied), ns(NOW)).0
        };
        use ConsentDecision::{DigitalGrant, GuardianDigitalGrant, Refusal};
        use GrantGivers::{Anyone, GuardianOnly, PatronOnly};
        for (decisions, implied, want) in [
            (&[(DigitalGrant, 10)][..], None, [true, false, true]),
            (&[(GuardianDigitalGrant, 10)], None, [true, true, false]),
            (&[(GuardianDigitalGrant, 10), (Refusal, 20)], None, [false; 3]),
            (&[(Refusal, 20), (GuardianDigitalGrant, 30)], None, [true, true, false]),
            (&[(Refusal, 20), (DigitalGrant, 30)], None, [true, false, true]),
            (&[], Some(10), [true, false, true]),
        ] {
            let found = [Anyone, GuardianOnly, PatronOnly]
                .map(|givers| evaluate(decisions, givers, implied));
            assert_eq!(found, want, "{decisions:?} {implied:?}");
        }
    }

    #[test]
    fn instant_to_ns_clamps_out_of_range_times() {
        #[track_caller]
        fn check(text: &str, want: i64) {
            assert_eq!(instant_to_ns(&Rfc3339Instant::parse(text).unwrap()), want, "{text}");
        }
        check("1970-01-01T00:00:01.5Z", 1_500_000_000);
        check("0001-01-01T00:00:00Z", i64::MIN);
        check("9999-12-31T23:59:59Z", LATEST_NS - 1);
    }

    #[test]
    fn consent_with_unknown_word_is_unclear() {
        let at = instant(10);
        #[track_caller]
        fn check(
            words: [&str; 3],
            at: Option<&Rfc3339Instant>,
            want: Result<Option<(ConsentDecision, i64)>, UnclearStatement>,
        ) {
            let [decided, manner, given_by] = words.map(|word| match word {
                "" => None,
                word => Some(word.to_owned()),
            });
            let read = ConsentRecordFields {
                decision: decided.as_deref(),
                manner: manner.as_deref(),
                given_by: given_by.as_deref(),
                has_witness: true,
                is_signed: false,
            };
            assert_eq!(parse_consent(read, at), want, "{words:?}");
        }
        let written = Ok(Some((ConsentDecision::WrittenGrant, ns(10))));
        let digital = Ok(Some((ConsentDecision::DigitalGrant, ns(10))));
        let refusal = Ok(Some((ConsentDecision::Refusal, ns(10))));
        check(["granted", "written", ""], Some(&at), written);
        let by_guardian = |grant| Ok(Some((grant, ns(10))));
        let written_by_guardian = by_guardian(ConsentDecision::GuardianWrittenGrant);
        check(["granted", "written", "guardian"], Some(&at), written_by_guardian);
        let digital_by_guardian = by_guardian(ConsentDecision::GuardianDigitalGrant);
        check(["granted", "digital", "guardian"], Some(&at), digital_by_guardian);
        check(["granted", "oral", "guardian"], Some(&at), Ok(None));
        check(["refused", "", "guardian"], Some(&at), refusal);
        check(["granted", "digital", "patron"], Some(&at), digital);
        check(["granted", "oral", ""], Some(&at), Ok(None));
        check(["granted", "written", ""], None, Ok(None));
        check(["refused", "", ""], Some(&at), refusal);
        check(["withdrawn", "oral", ""], Some(&at), refusal);
        check(["withdrawn", "", ""], None, Ok(Some((ConsentDecision::Refusal, LATEST_NS))));
        for unclear in [
            ["", "written", ""],
            ["granted", "", ""],
            ["granted", "Written", ""],
            ["granted", "by post", ""],
            ["granted", "written", "neighbour"],
            ["refused", "shouted", ""],
            ["withdrawn", "", "Patron"],
            ["revoked", "written", ""],
            ["WITHDRAWN", "written", ""],
            ["withdrawn ", "written", ""],
        ] {
            check(unclear, Some(&at), Err(UnclearStatement));
        }
    }

    #[test]
    fn g06_objection_is_in_force_until_dismissed() {
        #[track_caller]
        fn check(kind: &str, status: &str, want: Result<ObjectionEffect, UnclearStatement>) {
            let some = |text: &'static str| Some(text).filter(|text| !text.is_empty());
            let [kind, status] = [kind, status].map(|text| text.to_owned().leak() as &_);
            assert_eq!(parse_objection(some(kind), some(status)), want, "{kind} {status}");
        }
        for status in ["lodged", "upheld"] {
            check("special_circumstances", status, Ok(ObjectionEffect::InForce));
        }
        check("special_circumstances", "dismissed", Ok(ObjectionEffect::Dismissed));
        for status in ["pending", "Dismissed", ""] {
            check("special_circumstances", status, Err(UnclearStatement));
        }
        for status in ["lodged", "upheld", "dismissed", "pending", ""] {
            check("direct_marketing", status, Ok(ObjectionEffect::Marketing));
            check("special_circumstance", status, Err(UnclearStatement));
            check("", status, Err(UnclearStatement));
        }
    }

    #[test]
    fn g06_objection_applies_to_its_purpose_or_all() {
        let against = |purposes: &[u16]| {
            let mut all = ConsentEvents::default();
            for (id, purpose) in (0..).zip(purposes) {
                let statement = ConsentEvent {
                    id_hash: id,
                    scope: ConsentScope::for_purpose(*purpose),
                    decision: ConsentDecision::Refusal,
                    at_ns: 0,
                };
                all.replace_by_id(id, Some(statement));
            }
            has_objection(&all, PURPOSE)
        };
        assert!(!against(&[]));
        assert!(!against(&[2]));
        assert!(against(&[2, PURPOSE]));
        assert!(against(&[WILDCARD]));
    }

    fn arbitrary_record() -> impl Strategy<Value = ConsentRecord> {
        const DECISIONS: &[&str] = &["granted", "granted", "refused", "withdrawn", "postponed"];
        const MANNERS: &[&str] = &["written", "digital", "oral"];
        const RECIPIENTS: &[Option<u16>] = &[None, Some(RECIPIENT), Some(OTHER_RECIPIENT)];
        (
            0_u64..4,
            PURPOSE..=2,
            prop::sample::select(RECIPIENTS),
            prop::sample::select(DECISIONS),
            prop::sample::select(MANNERS),
            prop::option::weighted(0.85, 95_i64..106),
        )
            .prop_map(|(id, purpose, recipient, decision, manner, at)| ConsentRecord {
                id,
                purpose,
                recipient,
                decision,
                manner,
                at,
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_096, ..Default::default() })]

        #[test]
        fn g03_consent_agrees_with_reference_rule(
            records in prop::collection::vec(arbitrary_record(), 0..6),
            explicit: bool,
            implied in prop::option::of(95_i64..106),
        ) {
            let asked = query(explicit);
            let given = reference_consent(&records, &asked, implied, NOW);
            let later = (NOW + 1..110).find(|now| reference_consent(&records, &asked, implied, *now) != given);
            let ours = evaluate_consent(&own_library_view(&consent_events_of(&records)), &asked, implied_grant(implied), ns(NOW));
            prop_assert_eq!(ours, (given, later.map(ns)));
        }

        /// Only a later grant lifts an objection to marketing.
        #[test]
        fn g07_later_grant_by_name_lifts_marketing_objection(
            records in prop::collection::vec(arbitrary_record(), 0..6),
            explicit: bool,
            objected in 95_i64..106,
        ) {
            let asked = query(explicit);
            let lifted = |now| {
                let manners: &[&str] = if explicit { &["written"] } else { &["written", "digital"] };
                let living = |(place, record): &(usize, &ConsentRecord)| {
                    records[place + 1..].iter().all(|later| later.id != record.id)
                };
                let later = records.iter().enumerate().filter(living).any(|(_, record)| {
                    record.decision == "granted"
                        && manners.contains(&record.manner)
                        && (record.purpose, record.recipient) == (PURPOSE, Some(RECIPIENT))
                        && record.at.is_some_and(|at| at > objected && at <= now)
                });
                later && reference_consent(&records, &asked, None, now)
            };
            let later = (NOW + 1..110).find(|now| lifted(*now)).filter(|_| !lifted(NOW));
            let ours = grant_lifts_objection(&own_library_view(&consent_events_of(&records)), &asked, ns(objected), ns(NOW));
            prop_assert_eq!(ours, (lifted(NOW), later.map(ns)));
        }

        /// A grant of another library has no effect, a refusal has.
        #[test]
        fn g03_grant_counts_for_own_library_only_refusal_for_all(records in prop::collection::vec(arbitrary_record(), 0..6)) {
            let asked = query(false);
            let all = consent_events_of(&records);
            let others = ConsentView { events: &all, granting_libraries: 2, needs_signature: false };
            prop_assert_eq!(evaluate_consent(&others, &asked, None, ns(NOW)), (false, None));
            let refused = records.iter().any(|record| {
                record.is_refusal() && record.purpose == PURPOSE && record.recipient != Some(OTHER_RECIPIENT)
            });
            if !refused {
                prop_assert!(evaluate_consent(&others, &asked, implied_grant(Some(0)), ns(NOW)).0);
            }
        }
    }
}
