//! Decides messages by the engine and by the model, and once more by a worker that is
//! restarted between them.

use std::sync::{Arc, LazyLock};

use zeef::daemon::worker::{Worker, WorkerExit};
use zeef::engine::lane::{Lane, PATRONS_TOPIC};
use zeef::message::Payload;
use zeef::policy::Policy;
use zeef::policy::recipient::{Recipient, RetentionAction};
use zeef::transport::memory::MemoryTransport;
use zeef_test_kit::adversarial::id_field;
use zeef_test_kit::config::{PolicyFile, load_files, load_shipped_config};
use zeef_test_kit::deployment::cached_policy;
use zeef_test_kit::engine::{EngineRunner, compile_lane, key_by_name, source_id};
use zeef_test_kit::golden::NOW_MS;
use zeef_test_kit::model::json;
use zeef_test_kit::model::{ModelLimits, PolicyModel, SourceMessage};
use zeef_test_kit::worker::{WorkerSetup, new_worker};

pub struct RulePolicy {
    policy: Policy,
    lane: Arc<Lane>,
}

impl RulePolicy {
    fn new(policy: Policy) -> Self {
        let lane = compile_lane(&policy, key_by_name, ModelLimits::DEFAULT).unwrap();
        RulePolicy { policy, lane }
    }

    pub fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    pub fn from_files(files: &[PolicyFile]) -> Self {
        RulePolicy::new(load_files(files).unwrap())
    }
}

/// The shipped policy, with every recipient switched on.
pub static SHIPPED: LazyLock<RulePolicy> =
    LazyLock::new(|| RulePolicy::new(load_shipped_config().policy));

/// The shipped policy, and the tests' own recipients for gates that no shipped one has.
pub static EXTENDED: LazyLock<RulePolicy> =
    LazyLock::new(|| RulePolicy::new(cached_policy(false).clone()));

/// A message: its kind, key and value.
pub type Message<'a> = (&'a str, Option<&'a [u8]>, Option<&'a [u8]>);

/// The members of a record of patron `p1` of a Dutch library.
pub fn p1_record(kind: &str, members: &str) -> String {
    let id = id_field(kind);
    let mut text = r#"{"patron_id":"p1""#.to_owned();
    for (name, value) in [("library", "NL-AmrBKW"), (id, "r1")] {
        // A member of the record itself, not of an object in it.
        let given = format!("{{{members}}}");
        let given = json::raw_members(&given).unwrap_or_default();
        if name != "patron_id" && !given.iter().any(|(given, _)| given == name) {
            text.push_str(&format!(r#","{name}":"{value}""#));
        }
    }
    let comma = if members.is_empty() { "" } else { "," };
    format!("{text}{comma}{members}}}")
}

/// Checks what `recipient` is told of the last of some records of patron `p1`: `released`,
/// `held`, `applied`, a reason, or the value that is released.
#[track_caller]
pub fn check_records(policy: &RulePolicy, recipient: &str, records: &[(&str, &str)], want: &str) {
    let values = records.iter().map(|(kind, members)| (*kind, p1_record(kind, members)));
    let values: Vec<(&str, String)> = values.collect();
    let messages =
        values.iter().map(|(kind, value)| (*kind, Some(b"p1".as_slice()), Some(value.as_bytes())));
    check(policy, &messages.collect::<Vec<_>>(), &[(recipient, want)]);
}

/// Checks what recipients are told of the last message; returns all outcomes of it.
#[track_caller]
pub fn check(policy: &RulePolicy, messages: &[Message<'_>], want: &[(&str, &str)]) -> Vec<String> {
    let mut engine = EngineRunner::new(&policy.lane, NOW_MS);
    let limits = ModelLimits::DEFAULT;
    let mut model = PolicyModel::new(&policy.policy, key_by_name, limits, NOW_MS);
    let mut outcomes = Vec::new();
    for (offset, (kind, key, value)) in (0..).zip(messages) {
        let message = SourceMessage {
            kind: (*kind).to_owned(),
            partition: 0,
            offset,
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
        };
        outcomes = engine.decide_message(&message);
        assert_eq!(outcomes, model.decide_message(&message), "left the engine, right the model");
    }
    for (recipient, want) in want {
        let found = outcome_of(policy, &outcomes, recipient);
        let is_released = *want == "released" && found.starts_with('{');
        assert!(
            is_released || found == *want,
            "{recipient}: {found}, not {want}: {}",
            shown(messages)
        );
    }
    // A lane that must stop has no state to compare.
    if !model.must_stop {
        check_with_restarts(policy, messages, &model);
    }
    outcomes
}

fn shown(messages: &[Message<'_>]) -> String {
    let lines = messages.iter().map(|(kind, _, value)| {
        format!("\n  {kind} {:.300}", String::from_utf8_lossy(value.unwrap_or(b"(null)")))
    });
    lines.collect()
}

/// The outcome of a recipient, or of the whole record, as a word or the released value.
fn outcome_of(policy: &RulePolicy, outcomes: &[String], recipient: &str) -> String {
    let topics: Vec<&str> = policy.policy.recipient(recipient).unwrap().topics.names().collect();
    let found = outcomes.iter().find_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
        ["released", topic, ..] if topics.contains(&topic) => line.splitn(4, ' ').nth(3),
        ["refused", reason] => Some(reason),
        ["applied"] => Some("applied"),
        [name, "withheld", reason] if name == recipient => Some(reason),
        [name, "held"] if name == recipient => Some("held"),
        _ => None,
    });
    found.unwrap_or("nothing").to_owned()
}

type MemoryWorker = Worker<MemoryTransport>;

fn run_after_restart(policy: &RulePolicy, mut transport: MemoryTransport) -> MemoryWorker {
    transport.restart();
    run(policy, transport)
}

fn run(policy: &RulePolicy, transport: MemoryTransport) -> MemoryWorker {
    let mut worker = new_worker(&policy.lane, transport, WorkerSetup::DEFAULT, || NOW_MS);
    assert_eq!(worker.run(), Ok(WorkerExit::EndOfInput));
    worker
}

/// What lies on a topic once the messages were read under one policy and a process was started
/// under each: how much under the first, and how much under the second.
pub fn count_outputs_under_both(
    (before, after): (&RulePolicy, &RulePolicy),
    topic: &str,
    messages: &[Message<'_>],
) -> (usize, usize) {
    let mut worker = run(before, MemoryTransport::new(&before.lane.transport_plan()));
    for (kind, key, value) in messages {
        let source = source_id(&before.lane, kind).unwrap();
        worker.transport.push(source, 0, *key, value.map_or(Payload::Null, Payload::Bytes));
    }
    let worker = run_after_restart(before, worker.transport.clone());
    let count = |worker: &MemoryWorker| worker.transport.latest_values(topic).len();
    let under_before = count(&worker);
    (under_before, count(&run_after_restart(after, worker.transport.clone())))
}

/// Reads message by message, each by a process of its own, and compares what recipients
/// have in the end.
#[track_caller]
fn check_with_restarts(policy: &RulePolicy, messages: &[Message<'_>], model: &PolicyModel<'_>) {
    let mut worker = run(policy, MemoryTransport::new(&policy.lane.transport_plan()));
    for (kind, key, value) in messages {
        let source = source_id(&policy.lane, kind).unwrap();
        let payload = value.map_or(Payload::Null, Payload::Bytes);
        worker.transport.push(source, 0, *key, payload);
        worker = run_after_restart(policy, worker.transport.clone());
    }
    compare_outputs(policy, &worker, model, |recipient| recipient.period.is_none());
    // A first start publishes what recipients with a period get in the course of a month.
    let mut transport = worker.transport.clone();
    transport.reset_as_new_lane(PATRONS_TOPIC);
    let worker = run(policy, transport);
    compare_outputs(policy, &worker, model, |recipient| recipient.period.is_some());
}

#[track_caller]
fn compare_outputs(
    policy: &RulePolicy,
    worker: &MemoryWorker,
    model: &PolicyModel<'_>,
    wanted: fn(&Recipient) -> bool,
) {
    let retracts = |one: &&Recipient| one.retention.after == RetentionAction::Retract;
    let recipients = policy.policy.recipients.iter().filter(|one| wanted(one));
    for recipient in recipients.filter(|one| one.period.is_some() || retracts(one)) {
        let mut found = Vec::new();
        for topic in recipient.topics.names() {
            for (key, value) in worker.transport.latest_values(topic) {
                let [key, value] = [key, value].map(String::from_utf8_lossy);
                found.push(format!("{topic} {key} {value}"));
            }
        }
        found.sort();
        let want = model.outputs_of(&recipient.name);
        assert_eq!(found, want, "{}: left it has, right it should have", recipient.name);
    }
}

/// Checks one field of what a recipient gets of a record of patron `p1`: a text, or a
/// number as written.
#[track_caller]
pub fn check_field(
    recipient: &str,
    patron: &str,
    (kind, record): (&str, &str),
    (field, want): (&str, Option<&str>),
) {
    let values = [p1_record("patron", patron), p1_record(kind, record)];
    let key = Some(b"p1".as_slice());
    let messages =
        [("patron", key, Some(values[0].as_bytes())), (kind, key, Some(values[1].as_bytes()))];
    let outcomes = check(&SHIPPED, &messages, &[(recipient, "released")]);
    let released = outcome_of(&SHIPPED, &outcomes, recipient);
    let members = json::raw_members(&released).unwrap_or_default();
    let found = members.iter().find(|(name, _)| name == field).map(|(_, raw)| *raw);
    let quoted = want.map(json::quote);
    assert!(
        found == want || found == quoted.as_deref(),
        "{field}: {found:?}, not {want:?}: {}",
        shown(&messages)
    );
}
