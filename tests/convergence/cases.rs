//! Stories by hand: each was found to fail once, or is feared to.

use std::sync::Arc;

use zeef::engine::holding::Holds;
use zeef::engine::pipeline::Pipeline;
use zeef::transport::Fault;
use zeef::transport::continuity::{self, FindingKind, MARK_KEY, Mark};

use crate::play::play;
use crate::site::{Layout, Setup, Site, compiled, namer};
use crate::story::{START_MS, Step};

const DAY_MS: i64 = 86_400_000;

fn push(source: &'static str, fields: &str) -> Step {
    let value = format!(r#"{{"patron_id":"p1","library":"NL-AmrBKW",{fields}}}"#);
    Step::Push {
        source,
        key: Some("p1".to_owned()),
        value: Some(value),
        came_ms: 0,
    }
}

/// The same steps, each message a millisecond after the one before.
fn timed(steps: &[Step]) -> Vec<Step> {
    let mut now_ms = START_MS;
    let mut steps = steps.to_vec();
    for step in &mut steps {
        match step {
            Step::Clock(clock_ms) => now_ms = *clock_ms,
            Step::Push { came_ms, .. } => {
                now_ms += 1;
                *came_ms = now_ms;
            }
            _ => {}
        }
    }
    steps
}

fn member(rest: &str) -> Step {
    let fields = r#""kind":"person","surname":"Berg","membership":{"id":"M","status":"active"}"#;
    push("patron", &format!("{fields}{rest}"))
}

fn after_days(days: i64) -> Step {
    Step::Clock(START_MS + days * DAY_MS)
}

/// Plays a story, all recipients in one lane and each in its own.
#[track_caller]
fn check(steps: &[Step]) {
    for layout in [Layout::One, Layout::Each] {
        for fail_every in [None, Some(2)] {
            let setup = Setup {
                layout,
                fail_every,
                ..Setup::PLAIN
            };
            if let Err(difference) = play(&timed(steps), setup) {
                panic!("{setup:?}: {difference}");
            }
        }
    }
}

/// What repeats a number is corrected when the number becomes known, and again when
/// it goes.
#[test]
fn a_national_number_that_becomes_known_is_taken_out_of_outputs() {
    let loan = |title: &str| {
        let fields = r#""loan_id":"l","status":"open","due_on":"2026-02-01""#;
        push("loan", &format!(r#"{fields},"item":{{"title":"{title}"}}"#))
    };
    for (known, title) in [
        (
            r#","rijksregisternummer":"85.07.30-033.28""#,
            "Boek 85073003328",
        ),
        (r#","bsn":"111222333""#, "111 boeken, 222 delen, 333"),
    ] {
        let first = [member(""), loan(title), Step::Run];
        let then = [member(known), Step::Run];
        check(&[&first[..], &then].concat());
        check(&[&first[..], &then, &[member(""), Step::Run]].concat());
        check(&[&then[..], &[loan(title), Step::Run]].concat());
    }
}

#[test]
fn a_grant_that_lies_ahead_counts_when_it_is_reached() {
    let grant = |purpose: &str| {
        let said = r#""decision":"granted","manner":"written","at":"2026-02-01T00:00:00Z""#;
        push(
            "consent",
            &format!(r#""consent_id":"c","purpose":"{purpose}",{said}"#),
        )
    };
    check(&[
        member(""),
        Step::Run,
        grant("own-written"),
        Step::Run,
        after_days(10),
        Step::Run,
        after_days(20),
        Step::Run,
    ]);
    check(&[
        member(""),
        push(
            "loan",
            r#""loan_id":"l","status":"open","due_on":"2026-02-01""#,
        ),
        Step::Run,
        grant("own-circle"),
        Step::Run,
        after_days(20),
        Step::Run,
    ]);
    check(&[
        member(""),
        Step::Run,
        grant("online-library"),
        Step::Run,
        after_days(20),
        Step::Run,
    ]);
}

#[test]
fn what_cannot_be_read_stops_a_consent_that_the_record_implies() {
    let account = r#","online_account":{"created_at":"2025-06-01T00:00:00Z"}"#;
    let unreadable = push("consent", r#""consent_id":"c","purpose":[1]"#);
    let other = push("consent", r#""consent_id":"d","purpose":"other""#);
    check(&[
        member(account),
        Step::Run,
        unreadable.clone(),
        Step::Run,
        other.clone(),
        Step::Run,
    ]);
    check(&[unreadable, member(account), Step::Run, other, Step::Run]);
}

#[test]
fn an_account_that_lies_ahead_implies_nothing_yet() {
    check(&[
        member(r#","online_account":{"created_at":"2026-02-01T00:00:00Z"}"#),
        Step::Run,
        after_days(16),
        Step::Run,
        after_days(17),
        Step::Run,
    ]);
}

#[test]
fn an_end_of_membership_that_is_moved_moves_the_end_of_the_term() {
    let patron = |ends_on: &str| {
        let membership = format!(r#""membership":{{"status":"ended","ends_on":"{ends_on}"}}"#);
        push("patron", &membership)
    };
    let loan = r#""loan_id":"l","status":"open","due_on":"2026-02-01""#;
    let before = [patron("2026-01-01"), push("loan", loan), Step::Run];
    let after = [
        patron("2024-02-01"),
        Step::Run,
        after_days(16),
        Step::Run,
        after_days(17),
        Step::Run,
    ];
    check(&[&before[..], &after].concat());
    check(&[&before[..], &[Step::Cut("loan")], &after].concat());
}

#[test]
fn an_erasure_that_nobody_saw_takes_back_what_was_forgotten() {
    let loan = |rest: &str| {
        let fields = r#""loan_id":"l","loaned_at":"2024-02-01T00:00:00Z","status":"open""#;
        push("loan", &format!("{fields}{rest}"))
    };
    let patron = |value: Option<&str>| Step::Push {
        source: "patron",
        key: Some("p1".to_owned()),
        value: value.map(str::to_owned),
        came_ms: 0,
    };
    let forgotten = [member(""), loan(""), Step::Run, after_days(20), Step::Run];
    let seen = [patron(None), Step::Vanish, Step::Run];
    check(&[&forgotten[..], &seen].concat());
    // Beside it, others wait for the patron's return.
    let waits = [
        patron(Some("[]")),
        loan(r#","due_on":"2026-03-01""#),
        Step::Run,
    ];
    check(&[&forgotten[..], &waits, &seen].concat());
}

#[test]
fn a_paper_that_lapsed_shuts_no_patron_up() {
    let email = r#","email":"p1@example.org""#;
    let patron = || member(email);
    let slip = r#""reservation_id":"r","status":"placed","expires_on":"2027-12-01""#;
    let kept = [
        after_days(20),
        patron(),
        push("reservation", slip),
        Step::Run,
        after_days(400),
        Step::Run,
    ];
    let objection = |rest: &str| push("objection", &format!(r#""objection_id":"o",{rest}"#));
    let circumstances = r#""kind":"special_circumstances","purpose":"own-keeper""#;
    for said in [
        objection(circumstances),
        objection(r#""kind":1"#),
        push("patron", r#""kind":"person""#),
        push("reservation", &slip.replace("placed", "collected")),
    ] {
        check(&[&kept[..], &[said.clone(), Step::Run]].concat());
        check(&[&kept[..], &[Step::Cut("reservation"), said, Step::Run]].concat());
    }
    let dismissed = objection(&format!(r#"{circumstances},"status":"dismissed""#));
    let back = [objection(circumstances), Step::Run, dismissed, Step::Run];
    check(&[&kept[..], &back].concat());
}

#[test]
fn an_agreement_that_is_renewed_lets_go_on() {
    let patron = |mail: &str| member(&format!(r#","email":"{mail}@example.org""#));
    let slip = r#""reservation_id":"r","status":"placed","expires_on":"2027-12-01""#;
    check(&[
        after_days(20),
        patron("p1"),
        push("reservation", slip),
        Step::Run,
        after_days(400),
        Step::Run,
        patron("new"),
        Step::Run,
        Step::Policy(true),
        Step::Run,
        Step::Policy(false),
        Step::Run,
        patron("newer"),
        Step::Run,
    ]);
}

/// By a mark alone, or where rows have none.
#[test]
fn a_partition_is_outdated_that_another_policy_decided() {
    let lanes = [false, true].map(|changed| &compiled(Layout::One, changed)[0]);
    let prints = namer().fingerprinter();
    let marks = lanes.map(|lane| {
        let recipients = lane.recipients.iter();
        let mark = Mark {
            format: continuity::FORMAT,
            policy: lane.policy_version.clone(),
            recipients: recipients.map(|one| one.name.clone()).collect(),
            ..Mark::default()
        };
        mark.write(&prints)
    });
    let key = MARK_KEY;
    let holds = Holds {
        records: 1,
        term_ms: i64::MAX,
    };
    let mut pipeline = Pipeline::with_state(Arc::clone(lanes[0]), namer(), holds);
    let mut take = |partition, key: &[u8], value: &[u8]| {
        let holding = pipeline.holding_mut().expect("what recipients have");
        let taken = holding.restore(lanes[0], partition, Some(key), Some(value));
        taken.map(|()| pipeline.is_outdated(partition))
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
    assert!(!pipeline.is_outdated(3));
    // A batch that is aborted leaves the old one.
    pipeline.finish_policy(1);
    assert!(!pipeline.is_outdated(1));
    pipeline.abandon();
    assert!(pipeline.is_outdated(1));
    pipeline.drop_partition(1);
    assert!(!pipeline.is_outdated(1));
}

/// A run whose clock was years ahead took back what had lapsed by it.
#[test]
fn continuity_clock_that_ran_ahead_stops_until_it_is_accepted() {
    const YEARS_MS: i64 = 10 * 365 * DAY_MS;
    let lane = &compiled(Layout::One, false)[0];
    let holds = Holds {
        records: 1,
        term_ms: i64::MAX,
    };
    let recipients = lane.recipients.iter();
    let mark = Mark {
        format: continuity::FORMAT,
        policy: lane.policy_version.clone(),
        recipients: recipients.map(|one| one.name.clone()).collect(),
        time_ms: START_MS + YEARS_MS,
        ..Mark::default()
    };
    let mark = mark.write(&namer().fingerprinter());
    let mut pipeline = Pipeline::with_state(Arc::clone(lane), namer(), holds);
    let holding = pipeline.holding_mut().expect("what recipients have");
    holding
        .restore(lane, 0, Some(MARK_KEY), Some(&mark))
        .expect("a mark");
    let mut kinds = |now_ms| -> Vec<FindingKind> {
        let found = holding.verify(lane, 0, now_ms).expect("the lane's own");
        let kinds = found.iter().map(|finding| finding.kind).collect();
        holding.accept(&found, now_ms);
        kinds
    };
    assert_eq!(kinds(START_MS + YEARS_MS), []);
    assert_eq!(kinds(START_MS), [FindingKind::OtherClock]);
    assert_eq!(kinds(START_MS), [], "it is decided anew from here on");
    assert!(pipeline.is_outdated(0));
    let holding = pipeline.holding().expect("what recipients have");
    assert_eq!(holding.latest_ms(), START_MS);
}

/// What was final under the old policy has no row.
#[test]
fn a_policy_that_asks_less_reaches_what_was_final() {
    let loan = |id: &str, status: &str| {
        let fields = format!(r#""loan_id":"{id}","status":"{status}","due_on":"2026-06-01""#);
        push("loan", &fields)
    };
    let ends = r#""membership":{"id":"M","status":"ended","ends_on":"2026-06-01"}"#;
    let patron = push("patron", ends);
    let loans = [loan("l", "lost"), loan("m", "returned"), loan("m", "lost")];
    let policy = |changed| [Step::Policy(changed), Step::Run];
    let told = [&[patron][..], &loans, &[Step::Run]].concat();
    check(&[&told[..], &policy(true), &policy(false), &policy(true)].concat());
    let cut = [Step::Cut("loan")];
    check(&[&told[..], &cut, &policy(true)].concat());
    check(
        &[
            &told[..],
            &policy(true),
            &cut,
            &policy(false),
            &policy(true),
        ]
        .concat(),
    );
    // What comes with the policy is decided by it at once.
    let more = [Step::Policy(true), loan("l", "open"), Step::Run];
    check(&[&told[..], &more, &policy(false)].concat());
}

/// More than are decided anew at a time, where every second batch is aborted.
#[test]
fn a_policy_that_asks_less_reaches_very_many() {
    const LOANS: usize = 20_500;
    let setup = Setup {
        fail_every: Some(2),
        ..Setup::PLAIN
    };
    let mut site = Site::new(setup, START_MS);
    let patron = br#"{"patron_id":"p1","library":"NL-A","kind":"person"}"#;
    site.push("patron", 0, Some(b"p1"), Some(patron));
    for number in 0..LOANS {
        let loan = format!(
            r#"{{"loan_id":"{number}","patron_id":"p1","library":"NL-A","status":"lost","due_on":"2026-06-01"}}"#
        );
        site.push("loan", 0, Some(b"p1"), Some(loan.as_bytes()));
    }
    site.run().expect("a run to the end");
    assert!(!site.values().contains_key("visitor"));
    site.changed = true;
    site.restart();
    site.run().expect("a run to the end");
    assert_eq!(site.values()["visitor"].len(), LOANS);
    site.check_state().expect("the state as the topics");
    site.check_silence(|_| false).expect("each once");
}

/// What nobody could have did not wait for its patron.
#[test]
fn a_policy_that_asks_less_holds_what_has_no_patron() {
    let loan = push(
        "loan",
        r#""loan_id":"l","status":"lost","due_on":"2026-06-01""#,
    );
    check(&[
        loan,
        Step::Run,
        Step::Policy(true),
        Step::Run,
        member(""),
        Step::Run,
        Step::Policy(false),
        Step::Run,
    ]);
}

#[test]
fn nothing_is_sent_of_a_patron_who_is_known_to_be_erased() {
    let mut site = Site::new(Setup::PLAIN, START_MS);
    let patron = br#"{"patron_id":"p1","library":"NL-A","kind":"person","surname":"zqx"}"#;
    site.push("patron", 0, Some(b"p1"), Some(patron));
    site.push("patron", 0, Some(b"p1"), None);
    site.run().expect("a run to the end");
    assert_eq!(site.sent("zqx"), 0);
}

/// Without a date the term runs from when the record was first decided, for as
/// long as its recipient had it or was owed it: however long others have it.
#[test]
fn a_term_without_its_date_begins_anew_with_what_ended() {
    let loan = |status: &str| {
        let fields = format!(r#""loan_id":"l","status":"{status}","item":{{"title":"T"}}"#);
        push("loan", &fields)
    };
    let step = |days: i64, status: &str| [after_days(days), loan(status), Step::Run];
    let told = [
        &[member(r#","email":"p1@example.org""#)][..],
        &step(1, "open"),
        &step(100, "lost"),
        &step(200, "open"),
        &[Step::Restart],
        &step(300, "overdue"),
    ]
    .concat();
    for (days, has) in [(564, 1), (566, 0)] {
        for layout in [Layout::One, Layout::Two, Layout::Each] {
            let setup = Setup {
                layout,
                ..Setup::PLAIN
            };
            let steps = [&told[..], &[after_days(days), Step::Run]].concat();
            let played = play(&steps, setup).expect("what may be");
            let values = played.values.get("service-message");
            assert_eq!(
                values.map_or(0, |values| values.len()),
                has,
                "{days} {layout:?}"
            );
        }
    }
}
