//! Stories by hand: each was found to fail once, or is feared to.

use std::sync::Arc;

use zeef::engine::delivery::HoldBounds;
use zeef::engine::lane::Lane;
use zeef::engine::pipeline::Pipeline;
use zeef::message::Fault;
use zeef::message::continuity::{
    self, CLOCK_TOLERANCE_MS, ContinuityMark, FindingKind, MARK_ROW_KEY,
};

use zeef_test_kit::deployment::{DeploymentSetup, InMemoryDeployment, LaneLayout, cached_lanes};
use zeef_test_kit::scenario::{START_MS, ScenarioStep};
use zeef_test_kit::scenario_runner::run_scenario;
use zeef_test_kit::worker::state_keys;

const DAY_MS: i64 = 86_400_000;

fn push_step(source: &'static str, fields: &str) -> ScenarioStep {
    let value = format!(r#"{{"patron_id":"p1","library":"NL-AmrBKW",{fields}}}"#);
    ScenarioStep::PushMessage {
        source,
        key: Some("p1".to_owned()),
        value: Some(value),
        arrived_ms: 0,
    }
}

/// The same steps, each message a millisecond after the one before.
fn with_arrival_times(steps: &[ScenarioStep]) -> Vec<ScenarioStep> {
    let mut now_ms = START_MS;
    let mut steps = steps.to_vec();
    for step in &mut steps {
        match step {
            ScenarioStep::SetClock(clock_ms) => now_ms = *clock_ms,
            ScenarioStep::PushMessage { arrived_ms, .. } => {
                now_ms += 1;
                *arrived_ms = now_ms;
            }
            _ => {}
        }
    }
    steps
}

fn member_step(rest: &str) -> ScenarioStep {
    let fields = r#""kind":"person","surname":"Berg","birth_date":"1985-07-30","membership":{"id":"M","status":"active"}"#;
    push_step("patron", &format!("{fields}{rest}"))
}

fn clock_step(days: i64) -> ScenarioStep {
    ScenarioStep::SetClock(START_MS + days * DAY_MS)
}

/// Plays a story, all recipients in one lane and each in its own.
#[track_caller]
fn check_scenario(steps: &[ScenarioStep]) {
    for layout in [LaneLayout::OneLane, LaneLayout::LanePerRecipient] {
        for fail_every in [None, Some(2)] {
            let setup = DeploymentSetup { layout, fail_every, ..DeploymentSetup::DEFAULT };
            if let Err(difference) = run_scenario(&with_arrival_times(steps), setup) {
                panic!("{setup:?}: {difference}");
            }
        }
    }
}

/// What repeats a number is corrected when the number becomes known, and again when
/// it goes.
#[test]
fn s01_national_number_learned_later_is_removed_from_outputs() {
    let loan = |title: &str| {
        let fields = r#""loan_id":"l","status":"open","due_on":"2026-02-01""#;
        push_step("loan", &format!(r#"{fields},"item":{{"title":"{title}"}}"#))
    };
    for (known, title) in [
        (r#","rijksregisternummer":"85.07.30-033.28""#, "Boek 85073003328"),
        (r#","bsn":"111222333""#, "111 boeken, 222 delen, 333"),
    ] {
        let first = [member_step(""), loan(title), ScenarioStep::RunToEnd];
        let then = [member_step(known), ScenarioStep::RunToEnd];
        check_scenario(&[&first[..], &then].concat());
        check_scenario(&[&first[..], &then, &[member_step(""), ScenarioStep::RunToEnd]].concat());
        check_scenario(&[&then[..], &[loan(title), ScenarioStep::RunToEnd]].concat());
    }
}

/// The patron's term ends while an output is kept that is without an agreement in force.
#[test]
fn r01_kept_output_is_taken_back_when_the_patron_term_ends() {
    let membership = r#""membership":{"id":"M","status":"ended","ends_on":"2025-02-10"}"#;
    check_scenario(&[
        push_step("patron", &format!(r#""kind":"person",{membership}"#)),
        push_step(
            "reservation",
            r#""reservation_id":"r","status":"ready_for_pickup","expires_on":"2027-03-01""#,
        ),
        clock_step(370),
        ScenarioStep::RunToEnd,
        clock_step(386),
        ScenarioStep::RunToEnd,
        clock_step(393),
        ScenarioStep::RunToEnd,
    ]);
}

/// A condition on time begins to hold, and ends, while nothing arrives; its record may be gone.
#[test]
fn conditions_on_time_are_decided_again_when_the_time_comes() {
    let membership = r#""membership":{"id":"M","status":"active","ends_on":"2026-03-01"}"#;
    let records = [
        push_step("patron", &format!(r#""kind":"person",{membership}"#)),
        push_step(
            "loan",
            r#""loan_id":"l","status":"open","loaned_at":"2026-01-01T10:00:00Z","due_on":"2026-02-10""#,
        ),
        ScenarioStep::RunToEnd,
    ];
    let run_at = |days: &[i64]| -> Vec<ScenarioStep> {
        days.iter().flat_map(|day| [clock_step(*day), ScenarioStep::RunToEnd]).collect()
    };
    check_scenario(&[&records[..], &run_at(&[10, 17, 40, 42])].concat());
    check_scenario(&[&records[..], &run_at(&[17, 50])].concat());
    let cut = [ScenarioStep::TruncateSource("loan"), ScenarioStep::RunToEnd];
    check_scenario(&[&records[..], &run_at(&[17]), &cut, &run_at(&[40, 42, 50])].concat());
    // The loan comes before its patron, and is no longer in time when the patron comes.
    let unknown = [&records[1..2], &run_at(&[17, 42]), &records[..1], &run_at(&[43])];
    check_scenario(&unknown.concat());
}

/// What a patron owes is corrected whatever changes it, before a restart or after it.
#[test]
fn f16_sums_are_corrected_when_their_records_change() {
    let card = r#""card_number":"20013004567890","surname":"Berg""#;
    let member = push_step("patron", &format!(r#"{card},"membership":{{"status":"active"}}"#));
    let debt = |amount: &str| {
        let fields = r#""debt_id":"d","status":"open","currency":"EUR""#;
        push_step("debt", &format!("{fields}{amount}"))
    };
    let owed = || debt(r#","amount_cents":250"#);
    let hold = push_step("reservation", r#""reservation_id":"r","status":"ready_for_pickup""#);
    let erasure = ScenarioStep::PushMessage {
        source: "patron",
        key: Some("p1".to_owned()),
        value: None,
        arrived_ms: 0,
    };
    let first = [owed(), hold, member.clone(), ScenarioStep::RunToEnd];
    for change in [
        debt(r#","amount_cents":300,"stage":"collection""#),
        debt(""),
        push_step("debt", r#""debt_id":"d","gone":true"#),
        push_step("settlement", r#""settlement_id":"s","debt_id":"d""#),
        ScenarioStep::TruncateSource("debt"),
        erasure,
    ] {
        let restart = [ScenarioStep::Restart, ScenarioStep::RunToEnd];
        let back = [member.clone(), ScenarioStep::RunToEnd, owed(), ScenarioStep::RunToEnd];
        let steps = [&first[..], std::slice::from_ref(&change), &[ScenarioStep::RunToEnd]].concat();
        check_scenario(&[&steps[..], &restart, &back].concat());
        check_scenario(&[&first[..], &[change], &restart, &back].concat());
    }
}

/// A birthday changes whose consent counts.
#[test]
fn minors_birthdays_are_decided_again_when_they_come() {
    let member = |birth_date: &str| {
        let membership = r#""membership":{"id":"M","status":"active"}"#;
        let fields = format!(r#""kind":"person","birth_date":"{birth_date}",{membership}"#);
        push_step("patron", &fields)
    };
    let grant = |purpose: &str, giver: &str| {
        let said = r#""decision":"granted","manner":"written","at":"2026-01-01T00:00:00Z""#;
        let rest = format!(r#""given_by":"{giver}","employee":"E1""#);
        push_step("consent", &format!(r#""consent_id":"c","purpose":"{purpose}",{said},{rest}"#))
    };
    for purpose in ["own-circle", "online-library"] {
        for giver in ["patron", "guardian"] {
            for birth_date in ["2010-01-20", "2008-01-20", "2008-02-29"] {
                check_scenario(&[
                    grant(purpose, giver),
                    member(birth_date),
                    push_step("loan", r#""loan_id":"l","status":"open","due_on":"2026-05-01""#),
                    ScenarioStep::RunToEnd,
                    clock_step(4),
                    ScenarioStep::RunToEnd,
                    clock_step(5),
                    ScenarioStep::RunToEnd,
                    clock_step(45),
                    ScenarioStep::RunToEnd,
                ]);
            }
        }
    }
}

#[test]
fn consent_future_grant_counts_from_its_date() {
    let grant = |purpose: &str| {
        let said = r#""decision":"granted","manner":"written","at":"2026-02-01T00:00:00Z""#;
        push_step("consent", &format!(r#""consent_id":"c","purpose":"{purpose}",{said}"#))
    };
    check_scenario(&[
        member_step(""),
        ScenarioStep::RunToEnd,
        grant("own-written"),
        ScenarioStep::RunToEnd,
        clock_step(10),
        ScenarioStep::RunToEnd,
        clock_step(20),
        ScenarioStep::RunToEnd,
    ]);
    check_scenario(&[
        member_step(""),
        push_step("loan", r#""loan_id":"l","status":"open","due_on":"2026-02-01""#),
        ScenarioStep::RunToEnd,
        grant("own-circle"),
        ScenarioStep::RunToEnd,
        clock_step(20),
        ScenarioStep::RunToEnd,
    ]);
    check_scenario(&[
        member_step(""),
        ScenarioStep::RunToEnd,
        grant("online-library"),
        ScenarioStep::RunToEnd,
        clock_step(20),
        ScenarioStep::RunToEnd,
    ]);
}

#[test]
fn consent_unreadable_record_stops_implied_consent() {
    let account = r#","online_account":{"created_at":"2025-06-01T00:00:00Z"}"#;
    let unreadable = push_step("consent", r#""consent_id":"c","purpose":[1]"#);
    let other = push_step("consent", r#""consent_id":"d","purpose":"other""#);
    check_scenario(&[
        member_step(account),
        ScenarioStep::RunToEnd,
        unreadable.clone(),
        ScenarioStep::RunToEnd,
        other.clone(),
        ScenarioStep::RunToEnd,
    ]);
    check_scenario(&[
        unreadable,
        member_step(account),
        ScenarioStep::RunToEnd,
        other,
        ScenarioStep::RunToEnd,
    ]);
}

#[test]
fn consent_future_account_implies_no_consent_yet() {
    check_scenario(&[
        member_step(r#","online_account":{"created_at":"2026-02-01T00:00:00Z"}"#),
        ScenarioStep::RunToEnd,
        clock_step(16),
        ScenarioStep::RunToEnd,
        clock_step(17),
        ScenarioStep::RunToEnd,
    ]);
}

#[test]
fn r01_moved_membership_end_moves_end_of_term() {
    let patron = |ends_on: &str| {
        let membership = format!(r#""membership":{{"status":"ended","ends_on":"{ends_on}"}}"#);
        push_step("patron", &membership)
    };
    let loan = r#""loan_id":"l","status":"open","due_on":"2026-02-01""#;
    let before = [patron("2026-01-01"), push_step("loan", loan), ScenarioStep::RunToEnd];
    let after = [
        patron("2024-02-01"),
        ScenarioStep::RunToEnd,
        clock_step(16),
        ScenarioStep::RunToEnd,
        clock_step(17),
        ScenarioStep::RunToEnd,
    ];
    check_scenario(&[&before[..], &after].concat());
    check_scenario(&[&before[..], &[ScenarioStep::TruncateSource("loan")], &after].concat());
}

#[test]
fn erasure_during_downtime_retracts_forgotten_outputs() {
    let loan = |rest: &str| {
        let fields = r#""loan_id":"l","loaned_at":"2024-02-01T00:00:00Z","status":"open""#;
        push_step("loan", &format!("{fields}{rest}"))
    };
    let patron = |value: Option<&str>| ScenarioStep::PushMessage {
        source: "patron",
        key: Some("p1".to_owned()),
        value: value.map(str::to_owned),
        arrived_ms: 0,
    };
    let forgotten =
        [member_step(""), loan(""), ScenarioStep::RunToEnd, clock_step(20), ScenarioStep::RunToEnd];
    let seen = [patron(None), ScenarioStep::DropPatronNulls, ScenarioStep::RunToEnd];
    check_scenario(&[&forgotten[..], &seen].concat());
    // Beside it, others wait for the patron's return.
    let waits = [patron(Some("[]")), loan(r#","due_on":"2026-03-01""#), ScenarioStep::RunToEnd];
    check_scenario(&[&forgotten[..], &waits, &seen].concat());
}

#[test]
fn lapsed_paper_does_not_block_what_patron_takes_back() {
    let email = r#","email":"p1@example.org""#;
    let patron = || member_step(email);
    let slip = r#""reservation_id":"r","status":"placed","expires_on":"2027-12-01""#;
    let kept = [
        clock_step(20),
        patron(),
        push_step("reservation", slip),
        ScenarioStep::RunToEnd,
        clock_step(400),
        ScenarioStep::RunToEnd,
    ];
    let objection = |rest: &str| push_step("objection", &format!(r#""objection_id":"o",{rest}"#));
    let circumstances = r#""kind":"special_circumstances","purpose":"own-keeper""#;
    for said in [
        objection(circumstances),
        objection(r#""kind":1"#),
        push_step("patron", r#""kind":"person""#),
        push_step("reservation", &slip.replace("placed", "collected")),
    ] {
        check_scenario(&[&kept[..], &[said.clone(), ScenarioStep::RunToEnd]].concat());
        check_scenario(
            &[
                &kept[..],
                &[ScenarioStep::TruncateSource("reservation"), said, ScenarioStep::RunToEnd],
            ]
            .concat(),
        );
    }
    let dismissed = objection(&format!(r#"{circumstances},"status":"dismissed""#));
    let back =
        [objection(circumstances), ScenarioStep::RunToEnd, dismissed, ScenarioStep::RunToEnd];
    check_scenario(&[&kept[..], &back].concat());
}

#[test]
fn renewed_agreement_resumes_release() {
    let patron = |mail: &str| member_step(&format!(r#","email":"{mail}@example.org""#));
    let slip = r#""reservation_id":"r","status":"placed","expires_on":"2027-12-01""#;
    check_scenario(&[
        clock_step(20),
        patron("p1"),
        push_step("reservation", slip),
        ScenarioStep::RunToEnd,
        clock_step(400),
        ScenarioStep::RunToEnd,
        patron("new"),
        ScenarioStep::RunToEnd,
        ScenarioStep::SwitchPolicy(true),
        ScenarioStep::RunToEnd,
        ScenarioStep::SwitchPolicy(false),
        ScenarioStep::RunToEnd,
        patron("newer"),
        ScenarioStep::RunToEnd,
    ]);
}

/// By a mark alone, or where rows have none.
#[test]
fn policy_change_outdates_partition_by_its_mark() {
    let lanes = [false, true].map(|changed| &cached_lanes(LaneLayout::OneLane, changed)[0]);
    let prints = state_keys().fingerprinter();
    let marks = lanes.map(|lane| {
        let recipients = lane.recipients.iter();
        let mark = ContinuityMark {
            format: continuity::FORMAT,
            policy: lane.policy_version.clone(),
            recipients: recipients.map(|one| one.name.clone()).collect(),
            ..ContinuityMark::default()
        };
        mark.encode(&prints)
    });
    let key = MARK_ROW_KEY;
    let holds = HoldBounds { records_max: 1, wait_max_ms: i64::MAX };
    let mut pipeline = Pipeline::with_state(Arc::clone(lanes[0]), state_keys(), holds);
    let mut take = |partition, key: &[u8], value: &[u8]| {
        let holding = pipeline.deliveries_mut().expect("what recipients have");
        let taken = holding.restore_state_message(lanes[0], partition, Some(key), Some(value));
        taken.map(|()| pipeline.needs_reevaluation(partition))
    };
    let row = br#"{"format":1,"patron":"AAAAAAAAAAAAAAAAAAAAAA","source":"loan","partition":0,"offset":1,"first_ms":1,"facts":"0","to":{}}"#;
    let other = b"AAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(take(0, key, &marks[0]), Ok(false));
    assert_eq!(take(1, key, &marks[1]), Ok(true));
    // A row of the format before: its outputs have other keys.
    assert_eq!(take(2, other, row), Ok(true));
    let stops = |taken: Result<bool, Fault>| matches!(taken, Err(Fault::Stop(_)));
    assert!(stops(take(3, key, br#"{"format":2,"policy":7}"#)));
    assert!(stops(take(3, key, b"{")));
    let changed = String::from_utf8(marks[0].clone()).unwrap();
    let changed = changed.replace("\"number\":0", "\"number\":1");
    assert!(stops(take(3, key, changed.as_bytes())));
    let unsealed = String::from_utf8_lossy(row).replace("\"format\":1", "\"format\":2");
    assert!(stops(take(3, other, unsealed.as_bytes())));
    assert!(!pipeline.needs_reevaluation(3));
    // A batch that is aborted leaves the old one.
    pipeline.finish_reevaluation(1);
    assert!(!pipeline.needs_reevaluation(1));
    pipeline.rollback();
    assert!(pipeline.needs_reevaluation(1));
    pipeline.drop_partition(1);
    assert!(!pipeline.needs_reevaluation(1));
}

/// Makes a worker whose last mark was written at a time.
fn pipeline_with_mark(lane: &Arc<Lane>, time_ms: i64) -> Pipeline {
    pipeline_with_changed_mark(lane, time_ms, |_| {})
}

fn pipeline_with_changed_mark(
    lane: &Arc<Lane>,
    time_ms: i64,
    change: impl FnOnce(&mut ContinuityMark),
) -> Pipeline {
    let holds = HoldBounds { records_max: 1, wait_max_ms: i64::MAX };
    let recipients = lane.recipients.iter();
    let mut mark = ContinuityMark {
        format: continuity::FORMAT,
        policy: lane.policy_version.clone(),
        recipients: recipients.map(|one| one.name.clone()).collect(),
        time_ms,
        ..ContinuityMark::default()
    };
    change(&mut mark);
    let mark = mark.encode(&state_keys().fingerprinter());
    let mut pipeline = Pipeline::with_state(Arc::clone(lane), state_keys(), holds);
    let holding = pipeline.deliveries_mut().expect("what recipients have");
    holding.restore_state_message(lane, 0, Some(MARK_ROW_KEY), Some(&mark)).expect("a mark");
    pipeline
}

/// Recipients were moved between the start of a process and its assignment.
#[test]
fn lane_moves_after_the_start_of_a_process_stop_it() {
    let lane = &cached_lanes(LaneLayout::OneLane, false)[0];
    let verify = |in_mark: u64, at_start: Option<u64>| {
        let change = |mark: &mut ContinuityMark| mark.lane_moves = in_mark;
        let mut pipeline = pipeline_with_changed_mark(lane, START_MS, change);
        let holding = pipeline.deliveries_mut().expect("what recipients have");
        holding.continuity.lane_moves = at_start;
        holding.verify_mark(lane, 0, START_MS).map(|findings| findings.len())
    };
    for (in_mark, at_start) in [(0, Some(0)), (3, Some(3)), (2, Some(3)), (3, None)] {
        assert_eq!(verify(in_mark, at_start).ok(), Some(0), "{in_mark} {at_start:?}");
    }
    for (in_mark, at_start) in [(1, Some(0)), (4, Some(3))] {
        let stopped = verify(in_mark, at_start);
        assert!(matches!(stopped, Err(Fault::Stop(_))), "{in_mark} {at_start:?}: {stopped:?}");
    }
}

/// A run whose clock was years ahead took back what had lapsed by it.
#[test]
fn continuity_clock_ahead_stops_until_accepted() {
    const YEARS_MS: i64 = 10 * 365 * DAY_MS;
    let lane = &cached_lanes(LaneLayout::OneLane, false)[0];
    let mut pipeline = pipeline_with_mark(lane, START_MS + YEARS_MS);
    let holding = pipeline.deliveries_mut().expect("what recipients have");
    let mut kinds = |now_ms| -> Vec<FindingKind> {
        let found = holding.verify_mark(lane, 0, now_ms).expect("the lane's own");
        let kinds = found.iter().map(|finding| finding.kind).collect();
        holding.apply_acceptance(&found, now_ms);
        kinds
    };
    assert_eq!(kinds(START_MS + YEARS_MS), []);
    assert_eq!(kinds(START_MS), [FindingKind::ClockSkew]);
    assert_eq!(kinds(START_MS), [], "it is decided anew from here on");
    assert!(pipeline.needs_reevaluation(0));
    let holding = pipeline.deliveries().expect("what recipients have");
    assert_eq!(holding.latest_mark_ms(), START_MS);
}

/// Two machines take turns in a lane; the second one's clock is compared with the first one's mark.
#[test]
fn continuity_clock_of_another_machine_may_differ_by_minutes_not_by_an_hour() {
    let lane = &cached_lanes(LaneLayout::OneLane, false)[0];
    let at = |text: &str| text.parse::<jiff::Timestamp>().expect("a time").as_millisecond();
    let check = |marked_ms: i64, now_ms: i64, want: &[FindingKind]| {
        let mut pipeline = pipeline_with_mark(lane, marked_ms);
        let holding = pipeline.deliveries_mut().expect("what recipients have");
        let found = holding.verify_mark(lane, 0, now_ms).expect("the lane's own");
        let kinds: Vec<FindingKind> = found.iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, want, "{marked_ms} {now_ms}");
    };
    for behind_ms in [-60_000, 0, 60_000, CLOCK_TOLERANCE_MS] {
        check(START_MS, START_MS - behind_ms, &[]);
    }
    check(START_MS, START_MS - CLOCK_TOLERANCE_MS - 1, &[FindingKind::ClockSkew]);
    // A lane without input for 13 months.
    check(START_MS, START_MS + 396 * DAY_MS, &[]);
    // The hour that comes twice when daylight saving ends is no other time; a clock that was set
    // back by hand is.
    let before = at("2026-10-25T02:59:59+02:00");
    check(before, at("2026-10-25T02:00:00+01:00"), &[]);
    check(before, at("2026-10-25T02:00:00+02:00"), &[FindingKind::ClockSkew]);
    // And the hour that is left out when it begins.
    check(at("2026-03-29T01:59:59+01:00"), at("2026-03-29T03:00:00+02:00"), &[]);
}

/// What was final under the old policy has no row.
#[test]
fn relaxed_policy_reaches_final_records() {
    let loan = |id: &str, status: &str| {
        let fields = format!(r#""loan_id":"{id}","status":"{status}","due_on":"2026-06-01""#);
        push_step("loan", &fields)
    };
    let ends = r#""membership":{"id":"M","status":"ended","ends_on":"2026-06-01"}"#;
    let patron = push_step("patron", ends);
    let loans = [loan("l", "lost"), loan("m", "returned"), loan("m", "lost")];
    let policy = |changed| [ScenarioStep::SwitchPolicy(changed), ScenarioStep::RunToEnd];
    let steps_before = [&[patron][..], &loans, &[ScenarioStep::RunToEnd]].concat();
    check_scenario(&[&steps_before[..], &policy(true), &policy(false), &policy(true)].concat());
    let cut = [ScenarioStep::TruncateSource("loan")];
    check_scenario(&[&steps_before[..], &cut, &policy(true)].concat());
    check_scenario(
        &[&steps_before[..], &policy(true), &cut, &policy(false), &policy(true)].concat(),
    );
    // What comes with the policy is decided by it at once.
    let more = [ScenarioStep::SwitchPolicy(true), loan("l", "open"), ScenarioStep::RunToEnd];
    check_scenario(&[&steps_before[..], &more, &policy(false)].concat());
}

/// More than are decided anew at a time, where every second batch is aborted.
#[test]
fn relaxed_policy_reaches_more_records_than_one_batch() {
    const LOANS: usize = 20_500;
    let setup = DeploymentSetup { fail_every: Some(2), ..DeploymentSetup::DEFAULT };
    let mut deployment = InMemoryDeployment::new(setup, START_MS);
    let patron = br#"{"patron_id":"p1","library":"NL-A","kind":"person"}"#;
    deployment.push_message("patron", 0, Some(b"p1"), Some(patron));
    for number in 0..LOANS {
        let loan = format!(
            r#"{{"loan_id":"{number}","patron_id":"p1","library":"NL-A","status":"lost","due_on":"2026-06-01"}}"#
        );
        deployment.push_message("loan", 0, Some(b"p1"), Some(loan.as_bytes()));
    }
    deployment.run_to_end().expect("a run to the end");
    assert!(!deployment.outputs_by_recipient().contains_key("visitor"));
    deployment.uses_changed_policy = true;
    deployment.restart();
    deployment.run_to_end().expect("a run to the end");
    assert_eq!(deployment.outputs_by_recipient()["visitor"].len(), LOANS);
    deployment.check_state().expect("the state as the topics");
    deployment.check_nothing_sent_twice(|_| false).expect("each once");
}

/// What nobody could have did not wait for its patron.
#[test]
fn relaxed_policy_holds_records_without_patron() {
    let loan = push_step("loan", r#""loan_id":"l","status":"lost","due_on":"2026-06-01""#);
    check_scenario(&[
        loan,
        ScenarioStep::RunToEnd,
        ScenarioStep::SwitchPolicy(true),
        ScenarioStep::RunToEnd,
        member_step(""),
        ScenarioStep::RunToEnd,
        ScenarioStep::SwitchPolicy(false),
        ScenarioStep::RunToEnd,
    ]);
}

#[test]
fn erasure_known_before_release_sends_nothing() {
    let mut deployment = InMemoryDeployment::new(DeploymentSetup::DEFAULT, START_MS);
    let patron = br#"{"patron_id":"p1","library":"NL-A","kind":"person","surname":"zqx"}"#;
    deployment.push_message("patron", 0, Some(b"p1"), Some(patron));
    deployment.push_message("patron", 0, Some(b"p1"), None);
    deployment.run_to_end().expect("a run to the end");
    assert_eq!(deployment.count_sent_containing("zqx"), 0);
}

/// Without a date the term runs from when the record was first decided, for as
/// long as its recipient had it or was owed it: however long others have it.
#[test]
fn retention_term_without_date_restarts_after_its_end() {
    let loan = |status: &str| {
        let fields = format!(r#""loan_id":"l","status":"{status}","item":{{"title":"T"}}"#);
        push_step("loan", &fields)
    };
    let step = |days: i64, status: &str| [clock_step(days), loan(status), ScenarioStep::RunToEnd];
    let steps_before = [
        &[member_step(r#","email":"p1@example.org""#)][..],
        &step(1, "open"),
        &step(100, "lost"),
        &step(200, "open"),
        &[ScenarioStep::Restart],
        &step(300, "overdue"),
    ]
    .concat();
    for (days, has) in [(564, 1), (566, 0)] {
        for layout in [LaneLayout::OneLane, LaneLayout::TwoLanes, LaneLayout::LanePerRecipient] {
            let setup = DeploymentSetup { layout, ..DeploymentSetup::DEFAULT };
            let steps = [&steps_before[..], &[clock_step(days), ScenarioStep::RunToEnd]].concat();
            let played = run_scenario(&steps, setup).expect("what may be");
            let values = played.values.get("service-message");
            assert_eq!(values.map_or(0, |values| values.len()), has, "{days} {layout:?}");
        }
    }
}
