//! What consents and objections mean: who may have something of a patron, by
//! what the patron said (docs/rules.md, section 5).
//!
//! Pure rules over the few facts that are kept; no record, no clock, no table.

use super::form::Instant;
use super::statements::{ALL, About, Statements};
pub use super::statements::{Decision, LATEST_NS};

/// The last time that something can have: a refusal without one is later.
const INSTANT_NS_MAX: i64 = LATEST_NS - 1;

/// Nanoseconds since 1970; what is out of range (before 1677, after 2262) is at
/// its end.
#[must_use]
pub fn at_ns(instant: &Instant) -> i64 {
    within(instant.unix_nanoseconds())
}

/// Nanoseconds since 1970, cut to those that an instant may have here.
#[must_use]
pub fn within(nanoseconds: i128) -> i64 {
    let cut = nanoseconds.clamp(i128::from(i64::MIN), i128::from(INSTANT_NS_MAX));
    i64::try_from(cut).unwrap_or(INSTANT_NS_MAX)
}

/// A word of a consent or an objection is none of its list, or missing where
/// something depends on it: it is not known what was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unclear;

/// The words of a consent record that decide.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConsentWords<'a> {
    pub decision: Option<&'a str>,
    pub manner: Option<&'a str>,
    pub given_by: Option<&'a str>,
}

/// Reads what a consent record decides, and when; `None` where it counts for
/// nothing: it still replaces the one of its id.
///
/// # Errors
///
/// [`Unclear`] where a word is none of its list. A missing manner makes a grant
/// unclear, and matters nothing on a refusal.
pub fn decision(
    words: ConsentWords<'_>,
    at: Option<&Instant>,
) -> Result<Option<(Decision, i64)>, Unclear> {
    let ConsentWords {
        decision,
        manner,
        given_by,
    } = words;
    if !matches!(given_by, None | Some("patron" | "guardian"))
        || !matches!(manner, None | Some("written" | "digital" | "oral"))
    {
        return Err(Unclear);
    }
    let grant = match (decision, manner) {
        (Some("refused" | "withdrawn"), _) => {
            return Ok(Some((Decision::Refusal, at.map_or(LATEST_NS, at_ns))));
        }
        (Some("granted"), Some("written")) => Decision::WrittenGrant,
        (Some("granted"), Some("digital")) => Decision::DigitalGrant,
        (Some("granted"), Some(_)) => return Ok(None),
        _ => return Err(Unclear),
    };
    Ok(at.map(|at| (grant, at_ns(at))))
}

/// What a recipient asks of a patron's consents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub purpose: u16,
    pub recipient: u16,
    /// Only a written grant will do, and no event.
    pub explicit: bool,
}

/// The consents of a patron, as they are asked about.
#[derive(Clone, Copy, Debug)]
pub struct Consents<'a> {
    pub all: &'a Statements,
    /// The libraries whose grants count, a bit for each by its number.
    pub libraries: u64,
}

impl Consents<'_> {
    fn grants(&self, asked: &Asked, recipient: u16) -> impl Iterator<Item = (About, Decision)> {
        let about = About::purpose(asked.purpose).for_recipient(recipient);
        let libraries = self.libraries;
        let decisions: &[Decision] = match asked.explicit {
            true => &[Decision::WrittenGrant],
            false => &[Decision::WrittenGrant, Decision::DigitalGrant],
        };
        (0..64_u16)
            .filter(move |library| libraries >> library & 1 == 1)
            .flat_map(move |library| {
                let about = about.of_library(library);
                decisions.iter().map(move |decision| (about, *decision))
            })
    }

    /// When the latest grant was up to `until_ns` that is about `recipient` in so
    /// many words, or about all.
    fn latest_grant(&self, asked: &Asked, recipient: u16, until_ns: i64) -> Option<i64> {
        self.grants(asked, recipient)
            .filter_map(|(about, decision)| self.all.latest(about, decision, until_ns))
            .max()
    }

    /// When the first of those grants is after `after_ns`.
    fn next_grant(&self, asked: &Asked, recipient: u16, after_ns: i64) -> Option<i64> {
        self.grants(asked, recipient)
            .filter_map(|(about, decision)| self.all.next(about, decision, after_ns))
            .min()
    }

    fn latest_refusal(&self, asked: &Asked, recipient: u16) -> Option<i64> {
        let about = About::purpose(asked.purpose).for_recipient(recipient);
        self.all.latest(about, Decision::Refusal, LATEST_NS)
    }

    /// Whether something is true at `now_ns`, and when it will be where it is
    /// not: the first time of a grant that is after `than_ns`.
    fn granted_after(
        &self,
        asked: &Asked,
        names: &[u16],
        than_ns: Option<i64>,
        now_ns: i64,
    ) -> Option<i64> {
        let latest = names
            .iter()
            .filter_map(|name| self.latest_grant(asked, *name, now_ns))
            .max();
        if latest > than_ns {
            return Some(now_ns);
        }
        let from_ns = than_ns.map_or(now_ns, |than_ns| than_ns.max(now_ns));
        names
            .iter()
            .filter_map(|name| self.next_grant(asked, *name, from_ns))
            .min()
    }
}

/// Whether consent is given at `now_ns`, and when time alone will change that:
/// a grant whose time comes.
///
/// `implied_at_ns` is the time of the event that counts as a digital grant for
/// every recipient of the purpose, if there was one.
#[must_use]
pub fn consent(
    of: &Consents<'_>,
    asked: &Asked,
    implied_at_ns: Option<i64>,
    now_ns: i64,
) -> (bool, Option<i64>) {
    answer(granted_from(of, asked, implied_at_ns, now_ns), now_ns)
}

/// From when on consent is given, not before `now_ns`; `None` where time alone
/// will not bring it.
fn granted_from(
    of: &Consents<'_>,
    asked: &Asked,
    implied_at_ns: Option<i64>,
    now_ns: i64,
) -> Option<i64> {
    let by_name = of.latest_refusal(asked, asked.recipient);
    let refused = by_name.max(of.latest_refusal(asked, ALL));
    let event = implied_at_ns
        .filter(|at_ns| !asked.explicit && Some(*at_ns) > refused)
        .map(|at_ns| at_ns.max(now_ns));
    let record = of.granted_after(asked, &[asked.recipient, ALL], refused, now_ns);
    let speaks = [event, record].into_iter().flatten().min()?;
    let names = match by_name {
        Some(_) => of.granted_after(asked, &[asked.recipient], by_name, now_ns)?,
        None => now_ns,
    };
    Some(speaks.max(names))
}

/// Whether it is so at `now_ns`, and from when on where it is not yet.
fn answer(from_ns: Option<i64>, now_ns: i64) -> (bool, Option<i64>) {
    let granted = from_ns == Some(now_ns);
    (granted, from_ns.filter(|_| !granted))
}

/// Whether a grant lifts an objection to marketing of `objected_ns` for one
/// recipient at `now_ns`, and when time alone will change that: the grant names
/// the recipient, is later than the objection, and no refusal followed.
#[must_use]
pub fn lifts(
    of: &Consents<'_>,
    asked: &Asked,
    objected_ns: i64,
    now_ns: i64,
) -> (bool, Option<i64>) {
    let named = of.granted_after(asked, &[asked.recipient], Some(objected_ns), now_ns);
    let granted = granted_from(of, asked, None, now_ns);
    let from_ns = named
        .zip(granted)
        .map(|(named, granted)| named.max(granted));
    answer(from_ns, now_ns)
}

/// What decides over every event that a record may imply: the latest refusal and
/// the latest grant that speak for the recipient, whether a refusal by name
/// stands, and when a grant will change one of them.
#[must_use]
pub fn summary(
    of: &Consents<'_>,
    asked: &Asked,
    now_ns: i64,
) -> ([Option<i64>; 2], bool, Option<i64>) {
    let by_name = of.latest_refusal(asked, asked.recipient);
    let refused = by_name.max(of.latest_refusal(asked, ALL));
    let both = [asked.recipient, ALL];
    let latest = both.map(|name| of.latest_grant(asked, name, now_ns));
    let named = latest[0] > by_name || by_name.is_none();
    let coming = both.map(|name| of.next_grant(asked, name, now_ns));
    let granted = latest.into_iter().max().flatten();
    (
        [refused, granted],
        named,
        coming.into_iter().flatten().min(),
    )
}

/// What an objection record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Objects {
    /// Counts for nothing from now on; it still replaces the one of its id.
    No,
    /// Against marketing: for ever, also when a later record replaces it.
    Marketing,
    /// Stands until it is dismissed.
    Stands,
}

/// Reads what an objection record does from its fields. One against marketing
/// needs no status.
///
/// # Errors
///
/// [`Unclear`] where kind or status is none of its list.
pub fn objects(kind: Option<&str>, status: Option<&str>) -> Result<Objects, Unclear> {
    match (kind, status) {
        (Some("direct_marketing"), _) => Ok(Objects::Marketing),
        (Some("special_circumstances"), Some("dismissed")) => Ok(Objects::No),
        (Some("special_circumstances"), Some("lodged" | "upheld")) => Ok(Objects::Stands),
        (_, _) => Err(Unclear),
    }
}

/// Whether one of these objections stands against `purpose`.
#[must_use]
pub fn objection(of: &Statements, purpose: u16) -> bool {
    [purpose, ALL]
        .iter()
        .any(|one| of.refuse(About::purpose(*one)))
}

/// Whether one of these refusals is of `purpose`, for the recipient or for all.
#[must_use]
pub fn refusal(of: &Statements, asked: &Asked) -> bool {
    let about = About::purpose(asked.purpose);
    [asked.recipient, ALL]
        .iter()
        .any(|one| of.refuse(about.for_recipient(*one)))
}

/// What an unreadable record may be about: [`ALL`] where that could not be read,
/// or it names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    pub purpose: u16,
    pub recipient: u16,
}

impl Scope {
    /// Where nothing could be read.
    pub const ALL: Scope = Scope {
        purpose: ALL,
        recipient: ALL,
    };
}

impl Asked {
    /// What an unreadable record may be about that stops this. One whose purpose
    /// could not be read may be about every purpose, if `any_purpose`.
    pub fn scopes(&self, any_purpose: bool) -> impl Iterator<Item = Scope> + use<> {
        let recipients = [self.recipient, ALL];
        let purposes = [Some(self.purpose), any_purpose.then_some(ALL)];
        purposes.into_iter().flatten().flat_map(move |purpose| {
            recipients
                .into_iter()
                .map(move |recipient| Scope { purpose, recipient })
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::statements::Statement;
    use super::*;

    /// A consent record as it arrives, with times as small numbers.
    #[derive(Clone, Debug)]
    struct Arrived {
        id: u64,
        purpose: u16,
        recipient: Option<u16>,
        decision: &'static str,
        manner: &'static str,
        at: Option<i64>,
    }

    impl Arrived {
        fn refuses(&self) -> bool {
            ["refused", "withdrawn"].contains(&self.decision)
        }
    }

    /// The number of seconds since 1970 as an instant.
    fn instant(seconds: i64) -> Instant {
        let time = jiff::Timestamp::from_second(seconds).unwrap();
        Instant::parse(&time.to_string()).unwrap()
    }

    fn ns(seconds: i64) -> i64 {
        seconds * 1_000_000_000
    }

    /// What is kept after records arrived in this order.
    fn kept(arrived: &[Arrived]) -> Statements {
        let mut kept = Statements::default();
        for record in arrived {
            let at = record.at.map(instant);
            let words = ConsentWords {
                decision: Some(record.decision),
                manner: Some(record.manner),
                given_by: None,
            };
            let read = decision(words, at.as_ref()).unwrap_or_default();
            let about =
                About::purpose(record.purpose).for_recipient(record.recipient.unwrap_or(ALL));
            let statement = read.map(|(decision, at_ns)| Statement {
                id: record.id,
                about,
                decision,
                at_ns,
            });
            kept.set(record.id, statement);
        }
        kept
    }

    /// They are all of the patron's own library.
    fn of(all: &Statements) -> Consents<'_> {
        Consents { all, libraries: 1 }
    }

    /// The rule once more, as plainly as section 5 of docs/rules.md says it.
    fn plain(arrived: &[Arrived], asked: &Asked, implied: Option<i64>, now: i64) -> bool {
        struct Event {
            at: i64,
            refuses: bool,
            names: bool,
        }
        let mut events = Vec::new();
        for (place, record) in arrived.iter().enumerate() {
            let replaced = arrived[place + 1..]
                .iter()
                .any(|later| later.id == record.id);
            let speaks = [None, Some(asked.recipient)].contains(&record.recipient);
            if replaced || !speaks || record.purpose != asked.purpose {
                continue;
            }
            let manners: &[&str] = if asked.explicit {
                &["written"]
            } else {
                &["written", "digital"]
            };
            let grants = record.decision == "granted"
                && manners.contains(&record.manner)
                && record.at.is_some_and(|at| at <= now);
            if grants || record.refuses() {
                events.push(Event {
                    at: record.at.unwrap_or(i64::MAX),
                    refuses: record.refuses(),
                    names: record.recipient.is_some(),
                });
            }
        }
        if let Some(at) = implied.filter(|at| *at <= now && !asked.explicit) {
            events.push(Event {
                at,
                refuses: false,
                names: false,
            });
        }
        events.sort_by_key(|event| (event.at, event.refuses));
        let last = events.last();
        let last_by_name = events.iter().rfind(|event| event.names);
        last.is_some_and(|event| !event.refuses) && last_by_name.is_none_or(|event| !event.refuses)
    }

    const PURPOSE: u16 = 1;
    const RECIPIENT: u16 = 7;
    const OTHER: u16 = 8;
    const NOW: i64 = 100;

    /// `granted written 10 for 7 id 3 about 2`: what is not said is `about 1`,
    /// for nobody by name, and an id of its own.
    fn parse(place: usize, text: &'static str) -> Arrived {
        let mut words = text.split(' ');
        let mut next = || words.next().unwrap();
        let (decision, manner) = (next(), next());
        let at = next().parse().ok();
        let mut arrived = Arrived {
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
    fn check_all(
        about: &str,
        records: &[&'static str],
        explicit: bool,
        implied: Option<i64>,
        want: (bool, Option<i64>),
    ) {
        let arrived: Vec<_> = records
            .iter()
            .enumerate()
            .map(|(place, text)| parse(place, text))
            .collect();
        let asked = Asked {
            purpose: PURPOSE,
            recipient: RECIPIENT,
            explicit,
        };
        let (given, coming) = consent(&of(&kept(&arrived)), &asked, implied.map(ns), ns(NOW));
        assert_eq!((given, coming), (want.0, want.1.map(ns)), "{about}");
        assert_eq!(
            plain(&arrived, &asked, implied, NOW),
            want.0,
            "{about}, plainly"
        );
    }

    #[test]
    fn consent_is_as_the_rules_say() {
        #[track_caller]
        fn check(about: &str, records: &[&'static str], want: bool) {
            check_all(about, records, false, None, (want, None));
        }
        check("no record is no", &[], false);
        check("a written grant", &["granted written 10"], true);
        check("a digital grant", &["granted digital 10"], true);
        check("an oral grant is none", &["granted oral 10"], false);
        check(
            "an oral grant lifts nothing",
            &["refused written 10", "granted oral 20"],
            false,
        );
        check("an unknown manner is none", &["granted shouted 10"], false);
        check(
            "a grant without a time is none",
            &["granted written -"],
            false,
        );
        check("another decision is none", &["postponed written 10"], false);
        check(
            "another decision takes nothing",
            &["granted written 10", "postponed written 20"],
            true,
        );
        check(
            "a grant about something else",
            &["granted written 10 about 2"],
            false,
        );
        check(
            "a grant for somebody else",
            &["granted written 10 for 8"],
            false,
        );
        check("a grant by name", &["granted written 10 for 7"], true);
        check(
            "a later withdrawal",
            &["granted written 10", "withdrawn written 20"],
            false,
        );
        check(
            "an oral withdrawal",
            &["granted written 10", "withdrawn oral 20"],
            false,
        );
        check(
            "an earlier refusal",
            &["granted written 20", "refused written 10"],
            true,
        );
        check(
            "order is by time",
            &["withdrawn written 20", "granted written 10"],
            false,
        );
        check(
            "granted again",
            &["withdrawn written 20", "granted digital 30"],
            true,
        );
        check(
            "a tie is a refusal",
            &["refused written 10", "granted written 10"],
            false,
        );
        check(
            "a tie, the other way",
            &["granted written 10", "refused written 10"],
            false,
        );
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
            &[
                "granted written 10 for 7",
                "refused written 20",
                "granted written 30",
            ],
            true,
        );
        check(
            "a refusal by name and a later one for all",
            &[
                "refused written 10 for 7",
                "granted written 20 for 7",
                "refused written 30",
            ],
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
            &[
                "refused written 10 id 5",
                "granted written 5",
                "refused written 10 about 2 id 5",
            ],
            true,
        );
        check(
            "two refusals, one of them replaced",
            &[
                "refused written 10 id 5",
                "refused written 20",
                "granted written 15 id 5",
            ],
            false,
        );
    }

    #[test]
    fn a_grant_of_the_future_waits_for_its_time() {
        #[track_caller]
        fn check(about: &str, records: &[&'static str], want: (bool, Option<i64>)) {
            check_all(about, records, false, None, want);
        }
        check(
            "now is not after now",
            &["granted written 100"],
            (true, None),
        );
        check("tomorrow", &["granted written 101"], (false, Some(101)));
        check(
            "granted already",
            &["granted written 10", "granted written 101"],
            (true, None),
        );
        check(
            "the first that helps",
            &[
                "refused written 150",
                "granted written 120",
                "granted written 200",
            ],
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
    fn an_event_is_a_digital_grant_for_all() {
        #[track_caller]
        fn check(about: &str, records: &[&'static str], implied: i64, want: (bool, Option<i64>)) {
            check_all(about, records, false, Some(implied), want);
        }
        check("an account", &[], 50, (true, None));
        check("an account of tomorrow", &[], 150, (false, Some(150)));
        check(
            "a later withdrawal",
            &["withdrawn digital 60"],
            50,
            (false, None),
        );
        check(
            "an earlier withdrawal",
            &["withdrawn digital 40"],
            50,
            (true, None),
        );
        check(
            "a record wins a tie",
            &["withdrawn digital 50"],
            50,
            (false, None),
        );
        check(
            "a refusal by name is not lifted",
            &["refused digital 40 for 7"],
            50,
            (false, None),
        );
        check_all("no event is explicit", &[], true, Some(50), (false, None));
    }

    #[test]
    fn an_explicit_consent_is_written() {
        #[track_caller]
        fn check(records: &[&'static str], want: (bool, Option<i64>)) {
            check_all("explicit", records, true, None, want);
        }
        check(&["granted written 10"], (true, None));
        check(&["granted digital 10"], (false, None));
        check(&["granted written 10", "granted digital 20"], (true, None));
        check(
            &["granted written 10", "withdrawn digital 20"],
            (false, None),
        );
        check(&["withdrawn oral 20", "granted digital 30"], (false, None));
        check(
            &["granted digital 120", "granted written 130"],
            (false, Some(130)),
        );
    }

    #[test]
    fn times_out_of_range_are_cut() {
        #[track_caller]
        fn check(text: &str, want: i64) {
            assert_eq!(at_ns(&Instant::parse(text).unwrap()), want, "{text}");
        }
        check("1970-01-01T00:00:01.5Z", 1_500_000_000);
        check("0001-01-01T00:00:00Z", i64::MIN);
        check("9999-12-31T23:59:59Z", LATEST_NS - 1);
    }

    #[test]
    fn words_are_understood_in_full_or_not_at_all() {
        let at = instant(10);
        #[track_caller]
        fn check(
            words: [&str; 3],
            at: Option<&Instant>,
            want: Result<Option<(Decision, i64)>, Unclear>,
        ) {
            let [decided, manner, given_by] = words.map(|word| match word {
                "" => None,
                word => Some(word.to_owned()),
            });
            let read = ConsentWords {
                decision: decided.as_deref(),
                manner: manner.as_deref(),
                given_by: given_by.as_deref(),
            };
            assert_eq!(decision(read, at), want, "{words:?}");
        }
        let written = Ok(Some((Decision::WrittenGrant, ns(10))));
        let digital = Ok(Some((Decision::DigitalGrant, ns(10))));
        let refusal = Ok(Some((Decision::Refusal, ns(10))));
        check(["granted", "written", ""], Some(&at), written);
        check(["granted", "written", "guardian"], Some(&at), written);
        check(["granted", "digital", "patron"], Some(&at), digital);
        check(["granted", "oral", ""], Some(&at), Ok(None));
        check(["granted", "written", ""], None, Ok(None));
        check(["refused", "", ""], Some(&at), refusal);
        check(["withdrawn", "oral", ""], Some(&at), refusal);
        check(
            ["withdrawn", "", ""],
            None,
            Ok(Some((Decision::Refusal, LATEST_NS))),
        );
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
            check(unclear, Some(&at), Err(Unclear));
        }
    }

    #[test]
    fn an_objection_stands_until_it_is_dismissed() {
        #[track_caller]
        fn check(kind: &str, status: &str, want: Result<Objects, Unclear>) {
            let some = |text: &'static str| Some(text).filter(|text| !text.is_empty());
            let [kind, status] = [kind, status].map(|text| text.to_owned().leak() as &_);
            assert_eq!(objects(some(kind), some(status)), want, "{kind} {status}");
        }
        for status in ["lodged", "upheld"] {
            check("special_circumstances", status, Ok(Objects::Stands));
        }
        check("special_circumstances", "dismissed", Ok(Objects::No));
        for status in ["pending", "Dismissed", ""] {
            check("special_circumstances", status, Err(Unclear));
        }
        for status in ["lodged", "upheld", "dismissed", "pending", ""] {
            check("direct_marketing", status, Ok(Objects::Marketing));
            check("special_circumstance", status, Err(Unclear));
            check("", status, Err(Unclear));
        }
    }

    #[test]
    fn an_objection_is_against_its_purpose_or_all() {
        let against = |purposes: &[u16]| {
            let mut all = Statements::default();
            for (id, purpose) in (0..).zip(purposes) {
                let statement = Statement {
                    id,
                    about: About::purpose(*purpose),
                    decision: Decision::Refusal,
                    at_ns: 0,
                };
                all.set(id, Some(statement));
            }
            objection(&all, PURPOSE)
        };
        assert!(!against(&[]));
        assert!(!against(&[2]));
        assert!(against(&[2, PURPOSE]));
        assert!(against(&[ALL]));
    }

    fn arrived() -> impl Strategy<Value = Arrived> {
        const DECISIONS: &[&str] = &["granted", "granted", "refused", "withdrawn", "postponed"];
        const MANNERS: &[&str] = &["written", "digital", "oral"];
        const RECIPIENTS: &[Option<u16>] = &[None, Some(RECIPIENT), Some(OTHER)];
        (
            0_u64..4,
            PURPOSE..=2,
            prop::sample::select(RECIPIENTS),
            prop::sample::select(DECISIONS),
            prop::sample::select(MANNERS),
            prop::option::weighted(0.85, 95_i64..106),
        )
            .prop_map(|(id, purpose, recipient, decision, manner, at)| Arrived {
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
        fn consent_does_as_the_plain_rule(
            records in prop::collection::vec(arrived(), 0..6),
            explicit: bool,
            implied in prop::option::of(95_i64..106),
        ) {
            let asked = Asked { purpose: PURPOSE, recipient: RECIPIENT, explicit };
            let given = plain(&records, &asked, implied, NOW);
            let later = (NOW + 1..110).find(|now| plain(&records, &asked, implied, *now) != given);
            let ours = consent(&of(&kept(&records)), &asked, implied.map(ns), ns(NOW));
            prop_assert_eq!(ours, (given, later.map(ns)));
        }

        /// An objection to marketing is lifted by what follows it alone.
        #[test]
        fn a_later_grant_by_name_lifts_an_objection(
            records in prop::collection::vec(arrived(), 0..6),
            explicit: bool,
            objected in 95_i64..106,
        ) {
            let asked = Asked { purpose: PURPOSE, recipient: RECIPIENT, explicit };
            let lifted = |now| {
                let manners: &[&str] = if explicit { &["written"] } else { &["written", "digital"] };
                let living = |(place, record): &(usize, &Arrived)| {
                    records[place + 1..].iter().all(|later| later.id != record.id)
                };
                let later = records.iter().enumerate().filter(living).any(|(_, record)| {
                    record.decision == "granted"
                        && manners.contains(&record.manner)
                        && (record.purpose, record.recipient) == (PURPOSE, Some(RECIPIENT))
                        && record.at.is_some_and(|at| at > objected && at <= now)
                });
                later && plain(&records, &asked, None, now)
            };
            let later = (NOW + 1..110).find(|now| lifted(*now)).filter(|_| !lifted(NOW));
            let ours = lifts(&of(&kept(&records)), &asked, ns(objected), ns(NOW));
            prop_assert_eq!(ours, (lifted(NOW), later.map(ns)));
        }

        /// A grant of another library counts for nothing, a refusal does.
        #[test]
        fn grants_are_of_the_own_library(records in prop::collection::vec(arrived(), 0..6)) {
            let asked = Asked { purpose: PURPOSE, recipient: RECIPIENT, explicit: false };
            let all = kept(&records);
            let others = Consents { all: &all, libraries: 2 };
            prop_assert_eq!(consent(&others, &asked, None, ns(NOW)), (false, None));
            let refused = records.iter().any(|record| {
                record.refuses() && record.purpose == PURPOSE && record.recipient != Some(OTHER)
            });
            if !refused {
                prop_assert!(consent(&others, &asked, Some(ns(0)), ns(NOW)).0);
            }
        }
    }
}
