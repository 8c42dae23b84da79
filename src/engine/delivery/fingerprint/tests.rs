//! A gate is held by what it decides: its recipients here are compared before and after each
//! change that the gate may read.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::engine::batch::PatronFacts;
use crate::engine::decide::admit::admit;
use crate::engine::decide::check_term;
use crate::engine::delivery::HoldBounds;
use crate::engine::lane::gates::GATES;
use crate::engine::lane::{CompileOptions, Facts, LaneSource};
use crate::engine::memory::consents::{
    Consent, ConsentTable, GateEvent, GateStatement, GateTopic, StatementTiming,
};
use crate::engine::memory::deliveries::StateKeys;
use crate::engine::memory::patrons::{PatronRowWriter, SensitiveValues};
use crate::engine::record::value::ValueSlot;
use crate::engine::record::{Record, RecordLimits};
use crate::policy::Policy;
use crate::policy::canonical::recipient_version;
use crate::policy::condition::{RelativeTime, TimeRange};
use crate::policy::consent::{ConsentDecision, UnreadableScope};
use crate::policy::consent_events::{ConsentScope, WILDCARD};
use crate::policy::detect::WordList;
use crate::policy::influence::collect_influences;
use crate::policy::paper::Notice;
use crate::policy::pseudonym::{HmacKey, Pseudonymiser};
use crate::policy::recipient::{
    Agreement, Authorisation, Channel, ChannelRule, ConditionTest, ConsentEventRule, ConsentRule,
    ExpiryAction, FieldCondition, FieldProjection, FieldRef, Medium, OutputField, OutputValue,
    PublicationPeriod, Recipient, RecordSummary, SpecialWordsRule, SummaryFunction, ThinningRule,
};
use crate::policy::term::Term;

const PATRON_ID: &str = "p1";
/// Around these days something happens to everything.
const DAYS: &[&str] = &["2020-02-29", "2024-12-31", "2026-06-15", "2026-07-31", "2027-01-01"];
const INSTANTS: &[&str] = &["2024-12-31T00:00:00Z", "2026-06-15T12:00:00Z", "2030-01-01T00:00:00Z"];
const NOW_MS: [i64; 5] =
    [1_700_000_000_000, 1_781_520_000_000, 1_785_500_000_000, 1_798_800_000_000, 1_900_000_000_000];

fn of_record(path: &str) -> FieldRef {
    FieldRef { is_joined: false, path: path.to_owned() }
}

fn of_patron(path: &str) -> FieldRef {
    FieldRef { is_joined: true, path: path.to_owned() }
}

fn agreement(after: ExpiryAction) -> Option<Agreement> {
    Some(Agreement {
        reference: String::new(),
        clauses: Vec::new(),
        from: "2026-06-15".to_owned(),
        until: "2026-07-31".to_owned(),
        after,
    })
}

fn consent(implied_by: Option<FieldRef>, is_explicit: bool) -> Option<ConsentRule> {
    let purpose = "online-library".to_owned();
    let implied_by = implied_by.map(|at| ConsentEventRule { at, giver: None });
    Some(ConsentRule {
        purpose,
        implied_by,
        is_explicit,
        needs_guardian_for_minors: false,
        named_patrons: None,
    })
}

fn time_condition(
    field: FieldRef,
    not_before: Option<&str>,
    before: Option<&str>,
) -> FieldCondition {
    let time = |text: &str| RelativeTime::parse(text).unwrap();
    let range = TimeRange { not_before: not_before.map(time), before: before.map(time) };
    FieldCondition {
        field,
        test: ConditionTest::TimeRange(range),
        refusal_reason: Reason::Condition,
        or_no_patron: false,
    }
}

/// A rule with a term of a month from a field, if there is one.
fn thinning(from: Option<FieldRef>) -> ThinningRule {
    let month = Term { years: 0, months: 1, days: 0 };
    ThinningRule {
        dropped_fields: Vec::new(),
        when_gone: from.is_some(),
        when_history_off: false,
        after: from.map(|from| (month, from)),
    }
}

/// Recipients of loans: a plain one, one with each gate, and some with several.
fn recipients(plain: &Recipient) -> Vec<Recipient> {
    type Change = fn(&mut Recipient);
    const CHANGES: &[Change] = &[
        |_| {},
        |one| one.outlives_membership = Some(String::new()),
        |one| one.retention.start_field = of_patron("membership.ends_on"),
        |one| one.agreement = agreement(ExpiryAction::Retract),
        |one| one.agreement = agreement(ExpiryAction::Keep),
        |one| {
            one.authorisation = Some(Authorisation {
                reference: String::new(),
                approved_by: String::new(),
                approved_on: "2026-06-15".to_owned(),
                from: "2026-06-15".to_owned(),
                until: "2026-07-31".to_owned(),
                jurisdiction: String::new(),
                after: ExpiryAction::Keep,
            });
            let from = Some(of_patron("rijksregisternummer"));
            let value = OutputValue::Scalar(FieldProjection { from, mask: None, detect: None });
            one.output_fields.push(OutputField { name: "number".to_owned(), value });
        },
        |one| one.consent = consent(None, true),
        |one| one.consent = consent(Some(of_patron("online_account.created_at")), false),
        |one| one.consent = consent(Some(of_record("loaned_at")), false),
        |one| one.is_marketing = true,
        |one| one.stops_on_objection = true,
        |one| one.stages = vec![of_patron("membership.starts_on"), of_record("due_on")],
        |one| one.is_loan_history = true,
        |one| {
            let on = "2026-06-15".to_owned();
            one.papers.notice = Some(Notice { on, place: String::new() });
        },
        |one| {
            let channel = |medium, from: &str, field: &str| Channel {
                medium,
                from: of_patron(from),
                present_by: vec![of_patron(field)],
            };
            let channels = vec![
                channel(Medium::Email, "email", "email"),
                channel(Medium::Post, "address", "address.street"),
            ];
            one.channel = Some(ChannelRule { channels, is_required: true });
        },
        |one| {
            let value = OutputValue::Summary(RecordSummary {
                kind_index: one.source_kind_index,
                kind_name: "loan".to_owned(),
                conditions: Vec::new(),
                function: SummaryFunction::Count,
            });
            one.output_fields.push(OutputField { name: "loans".to_owned(), value });
        },
        |one| one.period = Some(PublicationPeriod { month_field: of_record("loaned_at") }),
        |one| {
            let month_field = of_patron("membership.starts_on");
            one.period = Some(PublicationPeriod { month_field });
        },
        |one| {
            one.agreement = agreement(ExpiryAction::Keep);
            one.consent = consent(Some(of_record("loaned_at")), false);
            one.is_marketing = true;
            one.is_loan_history = true;
        },
        |one| {
            one.consent = consent(Some(of_record("loaned_at")), false);
            one.consent.as_mut().unwrap().needs_guardian_for_minors = true;
            one.is_marketing = true;
        },
        |one| {
            one.conditions = vec![
                time_condition(of_record("loaned_at"), None, Some("now-P1Y")),
                time_condition(of_record("due_on"), Some("now-P1M"), None),
            ];
        },
        |one| {
            let ends_on = of_patron("membership.ends_on");
            one.conditions = vec![time_condition(ends_on, Some("now"), Some("now+P1Y"))];
        },
        |one| {
            one.is_loan_history = true;
            one.thinned = Some(ThinningRule { when_history_off: true, ..thinning(None) });
        },
        |one| one.thinned = Some(thinning(Some(of_patron("membership.starts_on")))),
        |one| {
            let words = WordList::new("words", ["ziek"]);
            one.special_words = Some(SpecialWordsRule { field: of_record("note"), words });
        },
    ];
    let name = |number: usize| format!("recipient-{number:02}");
    (0..)
        .zip(CHANGES)
        .map(|(number, change)| {
            let mut recipient = Recipient {
                name: name(number),
                conditions: Vec::new(),
                output_fields: Vec::new(),
                ..plain.clone()
            };
            change(&mut recipient);
            recipient
        })
        .collect()
}

fn policy() -> Policy {
    let policy = Policy::load(Path::new("config")).unwrap().policy;
    let recipients = recipients(policy.recipient("service-message").unwrap());
    let mut policy = Policy { recipients, ..policy };
    // Settlements of loans.
    let kinds = policy.record_kinds.iter_mut();
    for kind in kinds.filter(|kind| kind.settles.is_some()) {
        kind.settles = Some("loan".to_owned());
        let named = kind.fields.iter_mut().find(|field| field.path == "debt_id");
        named.unwrap().path = "loan_id".to_owned();
    }
    policy
}

fn lane_and_tracker() -> (Lane, DeliveryTracker) {
    let policy = policy();
    let key = HmacKey::generate("k").unwrap();
    let pseudonymiser = |_: &str| Some(Pseudonymiser::new(&key));
    let options = CompileOptions::default();
    let lane = Lane::compile("main", &policy, |_| true, pseudonymiser, options).unwrap();
    let holds = HoldBounds { records_max: 1, wait_max_ms: 1 };
    let tracker = DeliveryTracker::new(&lane, StateKeys::new(&key), holds);
    (lane, tracker)
}

static LANE_AND_TRACKER: std::sync::LazyLock<(Lane, DeliveryTracker)> =
    std::sync::LazyLock::new(lane_and_tracker);

fn source<'a>(lane: &'a Lane, kind: &str) -> &'a LaneSource {
    lane.sources.iter().find(|source| source.kind.name == kind).unwrap()
}

/// What a gate may read beside the record.
#[derive(Clone, Debug)]
struct PatronState {
    /// Members of the patron's record, each with its values or none.
    members: Vec<Option<serde_json::Value>>,
    events: Vec<GateEvent>,
}

const MEMBER_PATHS: [&str; 8] = [
    "/library",
    "/membership/status",
    "/membership/starts_on",
    "/membership/ends_on",
    "/online_account/created_at",
    "/loan_history",
    "/birth_date",
    "/loan_history_since",
];

impl PatronState {
    fn row(&self, lane: &Lane) -> PatronRow {
        let mut json = serde_json::json!({
            "patron_id": PATRON_ID, "library": "NL-AmrBKW", "membership": {}, "online_account": {},
        });
        for (path, value) in MEMBER_PATHS.iter().zip(&self.members) {
            let (parent, name) = path.rsplit_once('/').unwrap();
            if let Some(value) = value {
                json.pointer_mut(parent).unwrap()[name] = value.clone();
            }
        }
        let mut record = Record::new(&source(lane, "patron").shape);
        let bytes = json.to_string();
        let text = record.read(bytes.as_bytes(), &RecordLimits::default()).unwrap();
        let sensitive =
            SensitiveValues { dropped_slots: &[], national_slots: &[], national_numbers: None };
        let view = record.view(text);
        PatronRowWriter::default().build_row(&lane.row_layout, view, &sensitive, PATRON_ID, 1)
    }

    fn consents(&self) -> ConsentTable {
        let mut table = ConsentTable::default();
        for (offset, event) in (1..).zip(&self.events) {
            table.restore(GateStatement {
                partition: 0,
                offset,
                patron_id: PATRON_ID,
                event: event.clone(),
                timing: StatementTiming::default(),
            });
        }
        table
    }
}

fn any_member(place: usize) -> BoxedStrategy<Option<serde_json::Value>> {
    let text = |texts: &'static [&'static str]| {
        prop::option::weighted(0.9, select(texts).prop_map(serde_json::Value::from)).boxed()
    };
    match place {
        0 => text(&["NL-AmrBKW", "BE-GtB01"]),
        1 => text(&["active", "ended"]),
        4 | 7 => text(INSTANTS),
        5 => prop::option::of(any::<bool>().prop_map(serde_json::Value::from)).boxed(),
        6 => text(&["1980-01-01", "2010-06-15", "2008-06-15", "2013-06-15", "2016-02-29"]),
        _ => text(DAYS),
    }
}

fn any_event() -> impl Strategy<Value = GateEvent> {
    let known = &LANE_AND_TRACKER.0.statement_names.known;
    let number = |names: &[String], name: &str| {
        u16::try_from(names.iter().position(|one| one == name).unwrap()).unwrap()
    };
    let purposes = ["online-library", "service-message"].map(|one| number(&known.purposes, one));
    let recipients =
        ["recipient-08", "recipient-15", "recipient-16"].map(|one| number(&known.recipients, one));
    let or_wildcard = |known: &[u16]| select([known, &[WILDCARD]].concat());
    let decisions = select(vec![
        ConsentDecision::Refusal,
        ConsentDecision::DigitalGrant,
        ConsentDecision::WrittenGrant,
        ConsentDecision::GuardianWrittenGrant,
        ConsentDecision::SignedGrant,
    ]);
    let event = (
        0..9_u8,
        0..3_u64,
        or_wildcard(&purposes),
        or_wildcard(&recipients),
        decisions,
        select(&NOW_MS[..]),
    );
    event.prop_map(|(sort, id, purpose, recipient, decision, at_ms)| {
        let about = ConsentScope::for_purpose(purpose).for_recipient(recipient);
        let scope = UnreadableScope { purpose, recipient };
        let at_ns = at_ms * 1_000_000;
        match sort {
            0..=3 => {
                let (library, named_patron) = ("NL-AmrBKW".into(), None);
                let consent = Consent { about, decision, at_ns, library, named_patron };
                GateEvent::Consent(id, Some(consent))
            }
            4 => GateEvent::Objection(id, Some(ConsentScope::for_purpose(purpose))),
            5 => GateEvent::MarketingObjection(id, at_ns),
            6 => GateEvent::Unreadable(GateTopic::Consent, Some(id), scope),
            7 => GateEvent::Settlement(id, (purpose > 0).then(|| "l1".into())),
            _ => GateEvent::Unreadable(GateTopic::Objection, Some(id), scope),
        }
    })
}

/// A patron, and the same patron after one change.
fn any_states() -> impl Strategy<Value = [PatronState; 2]> {
    let members = (0..MEMBER_PATHS.len()).map(any_member).collect::<Vec<_>>();
    let events = prop::collection::vec(any_event(), 0..4);
    let change = (0..=MEMBER_PATHS.len())
        .prop_flat_map(|place| (Just(place), any_member(place), any_event()));
    (members, events, change).prop_map(|(members, events, (place, member, event))| {
        let first = PatronState { members, events };
        let mut second = first.clone();
        match second.members.get_mut(place) {
            Some(known) => *known = member,
            None => second.events.push(event),
        }
        [first, second]
    })
}

fn any_loan() -> impl Strategy<Value = String> {
    let status = select(&["open", "returned"][..]);
    let times = (select(INSTANTS), select(INSTANTS));
    (status, times, select(DAYS)).prop_map(|(status, (loaned_at, returned_at), due_on)| {
        serde_json::json!({
            "loan_id": "l1", "patron_id": PATRON_ID, "library": "NL-AmrBKW", "status": status,
            "loaned_at": loaned_at, "returned_at": returned_at, "due_on": due_on,
        })
        .to_string()
    })
}

#[test]
fn test_recipients_have_every_gate() {
    let (lane, _) = &*LANE_AND_TRACKER;
    for gate in GATES {
        let mut programs = lane.recipients.iter();
        assert!(programs.any(|program| program.gates.has(gate.id)), "{}", gate.name);
    }
}

#[test]
fn every_gate_is_in_the_canonical_form() {
    let policy = policy();
    let name = String::new();
    let versions = policy.recipients.iter().map(|recipient| {
        recipient_version(&policy, &Recipient { name: name.clone(), ..recipient.clone() })
    });
    let distinct: BTreeSet<String> = versions.collect();
    assert_eq!(distinct.len(), policy.recipients.len());
}

#[test]
fn every_field_of_a_gate_is_an_influence() {
    let policy = policy();
    let (lane, _) = &*LANE_AND_TRACKER;
    for (program, recipient) in lane.recipients.iter().zip(&policy.recipients) {
        let influences = collect_influences(recipient, &policy.record_kinds);
        for (_, field) in &program.field_paths {
            let mut known = influences.iter();
            assert!(known.any(|one| one.field_ref == *field), "{}: {field}", program.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever beside the record changes an answer changes the fingerprint, or is a time that
    /// was foreseen.
    #[test]
    fn every_gate_is_in_the_fingerprint(
        states in any_states(), loan in any_loan(), now_ms in select(&NOW_MS[..]),
        later_ms in select(&NOW_MS[..]),
    ) {
        let (lane, tracker) = &*LANE_AND_TRACKER;
        let source = source(lane, "loan");
        let mut record = Record::new(&source.shape);
        let text = record.read(loan.as_bytes(), &RecordLimits::default()).unwrap();
        for fact in &source.word_facts {
            record.set_derived(fact.fact_slot, ValueSlot::boolean(true));
        }
        let decided = states.each_ref().map(|state| {
            let (row, table) = (state.row(lane), state.consents());
            let consents = table.find(0, PATRON_ID);
            let facts = Facts {
                lane,
                record: record.view(text),
                patron_row: Some(&row),
                patron_consents: consents,
                patron_records: None,
                now_ms,
                shared_test_results: &[],
                is_active_member: false,
                national_numbers: None,
                has_suspect_copies: false,
                hidden_slot: None,
                patron_record: None,
                named_patron: None,
            }
            .with_membership(source);
lane.recipients.iter().map(|program| {
                let answer_at = |now_ms| {
                    let facts = Facts { now_ms, ..facts };
                    let status = Some(row.status());
                    let inputs = PatronFacts { status, consents, records: None };
                    let (print, mut due_ms) =
                        tracker.fingerprint((lane, program), inputs, now_ms);
                    let thinning = program.gates.thinning.as_ref();
                    let thinned_from_ms = thinning.map_or(i64::MAX, |thinning| {
                        thinning.start_ms(&facts.gate_input(program), false)
                    });
                    if thinned_from_ms > now_ms {
                        due_ms = due_ms.min(thinned_from_ms);
                    }
                    let answer = admit(&facts, source, program, &mut due_ms)
                        .and_then(|()| check_term(&facts, program, 0, &mut due_ms))
                        .map(|end_ms| (end_ms, thinned_from_ms));
                    (print, answer, due_ms)
                };
                let (print, answer, due_ms) = answer_at(now_ms);
                if (now_ms..due_ms).contains(&later_ms) {
                    let reason = |answer: Result<(i64, i64), Refusal>| {
                        answer.map_err(|one| (one.reason, one.override_reason))
                    };
                    let later = answer_at(later_ms).1;
                    assert_eq!(reason(later), reason(answer), "{} at {later_ms}", program.name);
                }
                (print, answer)
            }).collect::<Vec<_>>()
        });
        for ((program, one), other) in lane.recipients.iter().zip(&decided[0]).zip(&decided[1]) {
            if one.0 == other.0 {
                prop_assert_eq!(one.1, other.1, "{}", program.name);
            }
        }
    }
}
