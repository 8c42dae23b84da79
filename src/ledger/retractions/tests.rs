//! Which acknowledgements close which retractions.

use std::borrow::Cow;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::policy::form::Date;
use crate::policy::former_recipient::{FormerAction, FormerDeclaration, state_name_at_topic};
use crate::policy::pseudonym::HmacKey;
use crate::policy::term::Term;

const SECRET: &str = "y2026:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
/// 2026-12-01T10:00:00Z.
const TIME: i64 = 1_796_119_200;
const DAY: i64 = DAY_SECONDS;

fn keys() -> LedgerKeys {
    LedgerKeys::new(&HmacKey::parse(SECRET).unwrap()).unwrap()
}

/// A topic on which the recipient of slips had outputs before.
const FORMER_TOPIC: &str = "out.slip";

/// Follows the shipped policy, in which one named and one pseudonymised recipient acknowledge.
fn tracker() -> RetractionTracker {
    let mut policy = Policy::load(Path::new("config")).unwrap().policy;
    for (name, topic) in [("reservation-slip", "ack.slip"), ("statistics", "ack.statistics")] {
        let mut all = policy.recipients.iter_mut();
        let recipient = all.find(|one| one.name == name).unwrap();
        recipient.acknowledgement = Some(AcknowledgementRule {
            topic: topic.to_owned(),
            within: Term::parse("P7D").unwrap(),
            since: Date::parse("2026-12-01").unwrap(),
        });
    }
    policy.former_recipients.push(FormerDeclaration {
        recipient: "reservation-slip".to_owned(),
        topics: vec![FORMER_TOPIC.to_owned()],
        action: FormerAction::Retract,
    });
    RetractionTracker::of_policy(&policy, keys()).unwrap()
}

fn block<'a>(time: i64, recipient: &str, lines: Vec<Line<'a>>) -> Block<'a> {
    Block {
        format: 1,
        chain: Cow::Borrowed("main/0/1"),
        sequence: 1,
        previous: Cow::Borrowed(""),
        transaction: 1,
        part: None,
        time,
        policy: Cow::Borrowed(""),
        activities: vec![Cow::Owned(format!("{recipient}/0123456789ab"))],
        lines,
    }
}

/// A line of patron 7.
fn line(time: i64, (topic, key): (&str, &str), reason: &'static str) -> Line<'static> {
    let year = keys().at(time);
    Line {
        trace: Cow::Borrowed(""),
        parent: None,
        id: Cow::Borrowed(""),
        patron: Some(Cow::Owned(year.patron_reference(7))),
        activity: 0,
        operation: Operation::Retract,
        reason: Some(Cow::Borrowed(reason)),
        fields: None,
        key: Some(Cow::Owned(year.output_hash(topic, key.as_bytes()))),
        foreign_operation: None,
    }
}

fn retract(tracker: &mut RetractionTracker, time: i64, key: &str) {
    let line = line(time, ("out.reservation-slip", key), "objection");
    tracker.add_block(&block(time, "reservation-slip", vec![line]));
}

fn slip_id(key: &str, time: i64) -> String {
    retraction_id("out.reservation-slip", key.as_bytes(), time)
}

#[test]
fn acknowledgement_closes_the_retraction_of_its_key_and_id_alone() {
    let mut tracker = tracker();
    retract(&mut tracker, TIME, "a");
    retract(&mut tracker, TIME + 60, "a");
    retract(&mut tracker, TIME, "b");
    let (first, later) = (slip_id("a", TIME), slip_id("a", TIME + 60));
    let mut close = |recipient: &str, key: &str, id: &str| {
        tracker.acknowledge(recipient, key.as_bytes(), Acknowledged::Id(id))
    };
    for (recipient, key, id) in [
        ("reservation-slip", "b", first.as_str()),
        ("reservation-slip", "c", &first),
        ("statistics", "a", &first),
        ("nobody", "a", &first),
    ] {
        assert_eq!(close(recipient, key, id), 0, "{recipient} {key}");
    }
    assert_eq!(close("reservation-slip", "a", &later), 1);
    // Given again, it is of nothing that is open.
    assert_eq!(close("reservation-slip", "a", &later), 0);
    let asked = &tracker.recipients()["reservation-slip"];
    let mut open: Vec<i64> = asked.open().map(|(_, one)| one.time).collect();
    open.sort_unstable();
    assert_eq!((open, asked.asked), (vec![TIME, TIME], 3));
    assert!(asked.open().all(|(_, one)| one.reason == RetractionReason::Erase));
    assert_eq!(
        tracker.acknowledge("reservation-slip", b"a", Acknowledged::Id(&first)),
        1,
        "the earlier one stays open until it is acknowledged, too"
    );
}

#[test]
fn acknowledgement_until_a_time_closes_what_was_retracted_by_then() {
    let mut tracker = tracker();
    retract(&mut tracker, TIME, "a");
    retract(&mut tracker, TIME + 60, "a");
    assert_eq!(tracker.acknowledge("reservation-slip", b"a", Acknowledged::Until(TIME - 1)), 0);
    assert_eq!(tracker.acknowledge("reservation-slip", b"a", Acknowledged::Until(TIME)), 1);
    assert_eq!(tracker.acknowledge("reservation-slip", b"a", Acknowledged::Until(TIME + 60)), 1);
}

#[test]
fn retractions_count_from_the_first_day_and_are_overdue_after_their_term() {
    let mut tracker = tracker();
    let midnight = TIME - TIME.rem_euclid(DAY);
    retract(&mut tracker, midnight - 1, "before");
    retract(&mut tracker, midnight, "a");
    retract(&mut tracker, midnight + 10, "b");
    let asked = &tracker.recipients()["reservation-slip"];
    let counts = |now: i64| {
        let OpenCounts { open, overdue, oldest } = asked.count_open(now);
        (open, overdue, oldest)
    };
    assert_eq!(counts(midnight + 7 * DAY - 1), (2, 0, Some(midnight)));
    assert_eq!(counts(midnight + 7 * DAY), (2, 1, Some(midnight)));
    assert_eq!(counts(midnight + 8 * DAY), (2, 2, Some(midnight)));
}

/// What a pseudonymised recipient was told names the day, and no reason but one.
#[test]
fn acknowledgement_of_a_pseudonymised_recipient_is_by_the_day() {
    let mut tracker = tracker();
    let line = line(TIME, ("out.statistics", "k"), "objection");
    tracker.add_block(&block(TIME, "statistics", vec![line]));
    let asked = &tracker.recipients()["statistics"];
    assert!(asked.open().all(|(_, one)| one.reason == RetractionReason::Ended));
    let id = |time| retraction_id("out.statistics", b"k", time);
    let mut close = |id: &str| tracker.acknowledge("statistics", b"k", Acknowledged::Id(id));
    assert_eq!(close(&id(TIME)), 0);
    assert_eq!(close(&id(TIME - TIME.rem_euclid(DAY))), 1);
}

#[test]
fn retraction_on_a_former_topic_is_acknowledged_like_any_other() {
    let mut tracker = tracker();
    let line = line(TIME, (FORMER_TOPIC, "a"), "recipient_removed");
    let former = state_name_at_topic("reservation-slip", FORMER_TOPIC);
    tracker.add_block(&block(TIME, &former, vec![line]));
    assert_eq!(tracker.recipients()["reservation-slip"].asked, 1);
    let id = retraction_id(FORMER_TOPIC, b"a", TIME);
    assert_eq!(tracker.acknowledge("reservation-slip", b"a", Acknowledged::Id(&id)), 1);
}

#[test]
fn retraction_is_acknowledged_in_a_later_year() {
    let mut tracker = tracker();
    retract(&mut tracker, TIME, "a");
    let later = TIME + 40 * DAY;
    retract(&mut tracker, later, "a");
    for time in [TIME, later] {
        let id = slip_id("a", time);
        assert_eq!(tracker.acknowledge("reservation-slip", b"a", Acknowledged::Id(&id)), 1);
    }
}

#[test]
fn tracker_of_one_patron_and_lines_of_other_operations_count_nothing_else() {
    let mut tracker = tracker().with_only_patron(7);
    let slip = ("out.reservation-slip", "a");
    let other = Line {
        patron: Some(Cow::Owned(keys().at(TIME).patron_reference(8))),
        ..line(TIME, ("out.reservation-slip", "b"), "objection")
    };
    let release = Line { operation: Operation::Release, ..line(TIME, slip, "objection") };
    let lines = vec![line(TIME, slip, "term"), other, release];
    tracker.add_block(&block(TIME, "reservation-slip", lines));
    assert_eq!(tracker.recipients()["reservation-slip"].asked, 1);
    tracker.clear();
    assert_eq!(tracker.recipients()["reservation-slip"].count_open(TIME), OpenCounts::default());
}

#[test]
fn acknowledgement_is_read_from_header_value_or_line() {
    const ID: &str = "0123456789abcdef0123456789abcdef";
    let quoted = format!("\"{ID}\"");
    let id = Some(Acknowledged::Id(ID));
    assert_eq!(Acknowledged::from_message(Some(ID.as_bytes()), None), id);
    assert_eq!(Acknowledged::from_message(None, Some(ID.as_bytes())), id);
    assert_eq!(Acknowledged::from_message(None, Some(quoted.as_bytes())), id);
    assert_eq!(Acknowledged::from_message(Some(ID.as_bytes()), Some(b"x")), id);
    for damaged in ["", "0123", &ID.to_uppercase(), &format!("{ID}0"), "\"", "{}", "\u{e9}"] {
        assert_eq!(Acknowledged::from_message(None, Some(damaged.as_bytes())), None, "{damaged}");
    }
    assert_eq!(Acknowledged::from_message(None, None), None);
    let line = |text: &str| Acknowledged::from_line(text.as_bytes(), TIME);
    assert_eq!(line("\"2026-12-01T10:00:00Z\""), Some(Acknowledged::Until(TIME)));
    assert_eq!(line("\"2026-12-01T11:00:00+01:00\""), Some(Acknowledged::Until(TIME)));
    for damaged in ["\"2026-12-01T10:00:01Z\"", "\"2026-12-01\"", "null", "1", "\"\"", "{}"] {
        assert_eq!(line(damaged), None, "{damaged}");
    }
}

static TRACKER: LazyLock<RetractionTracker> = LazyLock::new(tracker);

proptest! {
    /// Retractions and acknowledgements in any order: open is what was retracted and not
    /// acknowledged after that, by its own key and time.
    #[test]
    fn open_retractions_are_those_that_were_not_acknowledged_since(
        steps in prop::collection::vec((any::<bool>(), 0..3_usize, 0..4_i64), 0..40),
    ) {
        const KEYS: [&str; 3] = ["a", "b", "c"];
        let mut tracker = TRACKER.clone();
        let mut open = BTreeMap::<(usize, i64), usize>::new();
        for (is_retraction, key, minute) in steps {
            // Also in another year, under whose key the hash of an output is another one.
            let time = TIME + minute * 11 * DAY;
            if is_retraction {
                retract(&mut tracker, time, KEYS[key]);
                *open.entry((key, time)).or_default() += 1;
                continue;
            }
            let id = slip_id(KEYS[key], time);
            let what = Acknowledged::Id(&id);
            let closed = tracker.acknowledge("reservation-slip", KEYS[key].as_bytes(), what);
            prop_assert_eq!(closed, open.remove(&(key, time)).unwrap_or_default());
        }
        let asked = &tracker.recipients()["reservation-slip"];
        let mut times: Vec<i64> = asked.open().map(|(_, one)| one.time).collect();
        times.sort_unstable();
        let mut want: Vec<i64> =
            open.iter().flat_map(|((_, time), count)| vec![*time; *count]).collect();
        want.sort_unstable();
        prop_assert_eq!(times, want);
    }
}
