//! What consents and objections mean: who may have something of a patron, by
//! what the patron said (RULES section 5).
//!
//! Pure rules over the few facts that are kept; no record, no clock, no table.

use super::form::Instant;

/// What is kept of a consent record that counts for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consent {
    /// A keyed hash of the `consent_id`: a later record with it replaces this.
    pub id: u64,
    pub purpose: u16,
    /// The one recipient that it speaks for; none: every one of the purpose. A
    /// name that no recipient has is a number that none has.
    pub recipient: Option<u16>,
    pub decision: Decision,
    /// In nanoseconds since 1970; [`LATEST_NS`] for a refusal without a time.
    pub at_ns: i64,
}

/// What was decided. A withdrawal is a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    Grant {
        /// Else digital; an oral one counts for nothing.
        written: bool,
    },
    Refusal,
}

/// Later than any other time.
pub const LATEST_NS: i64 = i64::MAX;

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

/// Reads what a consent record decides, and when, from its fields; none where it
/// counts for nothing: it still replaces the one of its id.
#[must_use]
pub fn decision(
    decision: Option<&str>,
    manner: Option<&str>,
    at: Option<&Instant>,
) -> Option<(Decision, i64)> {
    match decision? {
        "granted" => {
            let written = match manner? {
                "written" => true,
                "digital" => false,
                _ => return None,
            };
            Some((Decision::Grant { written }, at_ns(at?)))
        }
        "refused" | "withdrawn" => Some((Decision::Refusal, at.map_or(LATEST_NS, at_ns))),
        _ => None,
    }
}

/// What a recipient asks of a patron's consents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub purpose: u16,
    pub recipient: u16,
    /// Only a written grant will do, and no event.
    pub explicit: bool,
}

/// Whether consent is given at `now_ns`, and when time alone will change that:
/// a grant whose time comes.
///
/// `implied_at_ns` is the time of the event that counts as a digital grant for
/// every recipient of the purpose, if there was one.
#[must_use]
pub fn consent(
    of: &[Consent],
    asked: &Asked,
    implied_at_ns: Option<i64>,
    now_ns: i64,
) -> (bool, Option<i64>) {
    let implied_at_ns = implied_at_ns.filter(|_| !asked.explicit);
    let given = |now_ns| is_given(of, asked, implied_at_ns, now_ns);
    if given(now_ns) {
        // Only grants come with time.
        return (true, None);
    }
    let grants = of
        .iter()
        .filter(|consent| asked.concerns(consent) && consent.decision != Decision::Refusal);
    let coming = grants
        .map(|grant| grant.at_ns)
        .chain(implied_at_ns)
        .filter(|at_ns| *at_ns > now_ns && given(*at_ns))
        .min();
    (false, coming)
}

fn is_given(of: &[Consent], asked: &Asked, implied_at_ns: Option<i64>, now_ns: i64) -> bool {
    let mut speaks = Latest::default();
    let mut names = Latest::default();
    for consent in of.iter().filter(|consent| asked.concerns(consent)) {
        let refuses = consent.decision == Decision::Refusal;
        if !refuses && consent.at_ns > now_ns {
            continue;
        }
        speaks.see(consent.at_ns, refuses);
        if consent.recipient.is_some() {
            names.see(consent.at_ns, refuses);
        }
    }
    if let Some(at_ns) = implied_at_ns.filter(|at_ns| *at_ns <= now_ns) {
        speaks.see(at_ns, false);
    }
    speaks.grants() == Some(true) && names.grants() != Some(false)
}

impl Asked {
    /// Whether a record is about this, and does not count for nothing here.
    fn concerns(&self, consent: &Consent) -> bool {
        let enough = match consent.decision {
            Decision::Grant { written } => written || !self.explicit,
            Decision::Refusal => true,
        };
        let speaks = consent.recipient.is_none_or(|one| one == self.recipient);
        enough && speaks && consent.purpose == self.purpose
    }
}

/// The latest of some decisions: when, and whether it refuses; of two at one
/// time the refusal.
#[derive(Default)]
struct Latest(Option<(i64, bool)>);

impl Latest {
    fn see(&mut self, at_ns: i64, refuses: bool) {
        self.0 = self.0.max(Some((at_ns, refuses)));
    }

    /// None where there is no decision at all.
    fn grants(&self) -> Option<bool> {
        self.0.map(|(_, refuses)| !refuses)
    }
}

/// What is kept of an objection for special circumstances that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objection {
    /// A keyed hash of the `objection_id`: a later record with it replaces this.
    pub id: u64,
    /// None: against all.
    pub purpose: Option<u16>,
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

/// Reads what an objection record does from its fields. What is not dismissed in
/// so many words stands.
#[must_use]
pub fn objects(kind: Option<&str>, status: Option<&str>) -> Objects {
    match (kind, status) {
        (Some("direct_marketing"), _) => Objects::Marketing,
        (Some("special_circumstances"), Some("dismissed")) => Objects::No,
        (Some("special_circumstances"), _) => Objects::Stands,
        (_, _) => Objects::No,
    }
}

/// Whether an objection stands against `purpose`.
#[must_use]
pub fn objection(of: &[Objection], purpose: u16) -> bool {
    of.iter()
        .any(|objection| objection.purpose.is_none_or(|one| one == purpose))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
    fn kept(arrived: &[Arrived]) -> Vec<Consent> {
        let mut kept: Vec<Consent> = Vec::new();
        for record in arrived {
            kept.retain(|consent| consent.id != record.id);
            let at = record.at.map(instant);
            let read = decision(Some(record.decision), Some(record.manner), at.as_ref());
            kept.extend(read.map(|(decision, at_ns)| Consent {
                id: record.id,
                purpose: record.purpose,
                recipient: record.recipient,
                decision,
                at_ns,
            }));
        }
        kept
    }

    /// The rule once more, as plainly as RULES section 5 says it.
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
        let (given, coming) = consent(&kept(&arrived), &asked, implied.map(ns), ns(NOW));
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
    fn an_objection_stands_until_it_is_dismissed() {
        #[track_caller]
        fn check(kind: &str, status: &str, want: Objects) {
            let some = |text: &'static str| Some(text).filter(|text| !text.is_empty());
            let [kind, status] = [kind, status].map(|text| text.to_owned().leak() as &_);
            assert_eq!(objects(some(kind), some(status)), want, "{kind} {status}");
        }
        for status in ["lodged", "upheld", "pending", ""] {
            check("special_circumstances", status, Objects::Stands);
        }
        check("special_circumstances", "dismissed", Objects::No);
        for status in ["lodged", "upheld", "dismissed", "pending", ""] {
            check("direct_marketing", status, Objects::Marketing);
            check("other", status, Objects::No);
            check("", status, Objects::No);
        }
    }

    #[test]
    fn an_objection_is_against_its_purpose_or_all() {
        let against = |purpose| Objection { id: 1, purpose };
        assert!(!objection(&[], PURPOSE));
        assert!(!objection(&[against(Some(2))], PURPOSE));
        assert!(objection(
            &[against(Some(2)), against(Some(PURPOSE))],
            PURPOSE
        ));
        assert!(objection(&[against(None)], PURPOSE));
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
            let ours = consent(&kept(&records), &asked, implied.map(ns), ns(NOW));
            prop_assert_eq!(ours, (given, later.map(ns)));
        }

        /// What was kept in another order says the same.
        #[test]
        fn the_order_of_what_is_kept_does_not_matter(
            records in prop::collection::vec(arrived(), 0..6),
            explicit: bool,
        ) {
            let asked = Asked { purpose: PURPOSE, recipient: RECIPIENT, explicit };
            let mut kept = kept(&records);
            let before = consent(&kept, &asked, None, ns(NOW));
            kept.reverse();
            prop_assert_eq!(consent(&kept, &asked, None, ns(NOW)), before);
        }
    }
}
