//! What recipients have in the end, for any policy: what the plain reading of the
//! rules makes of the last state of the sources, however the way there was cut.

use std::sync::Arc;

use zeef::daemon::worker::{Worker, WorkerExit};
use zeef::engine::lane::PATRONS_TOPIC;
use zeef::message::commands::{CommandLog, CommandRecord, OperatorCommand};
use zeef::message::{Fault, Payload};
use zeef::policy::recipient::{Recipient, RetentionAction};
use zeef::transport::memory::MemoryTransport;
use zeef_test_kit::engine::source_id;
use zeef_test_kit::worker::{self, WorkerSetup};

use crate::generated_policies::{CompiledPolicy, generate_policies};
use zeef_test_kit::model::{PolicyModel, SourceMessage};
use zeef_test_kit::rng::TestRng;

fn new_worker(
    compiled: &CompiledPolicy,
    transport: MemoryTransport,
    batch_records: u64,
) -> Worker<MemoryTransport> {
    let now_ms = compiled.now_ms;
    let setup = WorkerSetup { batch_records, ..WorkerSetup::DEFAULT };
    worker::new_worker(&compiled.lane, transport, setup, move || now_ms)
}

/// Whether what the recipient has is decided by the last state alone, each record
/// under a key of its own.
fn is_decided_by_last_state(compiled: &CompiledPolicy, recipient: &Recipient) -> bool {
    let source = &compiled.policy.record_kinds[recipient.source_kind_index];
    let retracts = recipient.retention.after == RetentionAction::Retract;
    source.is_keyed_by_patron && retracts && recipient.output_key_field.path == source.id_path
}

fn outputs_of(worker: &Worker<MemoryTransport>, recipient: &Recipient) -> Vec<String> {
    let mut all = Vec::new();
    for topic in recipient.topics.names() {
        for (key, value) in worker.transport.latest_values(topic) {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            all.push(format!("{topic} {} {}", text(key), text(value)));
        }
    }
    all.sort();
    all
}

/// A consent that cannot be read and names nobody may be anybody's: nothing is
/// decided behind it, also after a restart, until somebody accepted that place.
#[test]
fn consent_unreadable_without_patron_stops_the_lane() {
    let compiled = &*crate::consents::CONSENT_POLICY;
    let place = |kind: &str| source_id(&compiled.lane, kind).unwrap();
    let record = |more: &str| format!(r#"{{"patron_id":"p1","library":"NL-A"{more}}}"#);
    let (patron, visit) = (record(""), record(r#","visit_id":"v""#));
    let (consent, key) = (place("consent"), Some(&b"p1"[..]));
    for unreadable in [
        (None, Payload::Bytes(b"{")),
        (None, Payload::Null),
        (Some(&b"{\"borrower\":42}"[..]), Payload::Bytes(b"[]")),
    ] {
        let mut transport = MemoryTransport::new(&compiled.lane.transport_plan());
        transport.push(place("patron"), 0, key, Payload::Bytes(patron.as_bytes()));
        transport.push(place("visit"), 0, key, Payload::Bytes(visit.as_bytes()));
        transport.push(consent, 0, unreadable.0, unreadable.1);
        let mut stopped = new_worker(compiled, transport, 1_000);
        let mut codes = Vec::new();
        for _ in 0..2 {
            let Err(Fault::Stop(cause)) = stopped.run() else {
                panic!("it goes on");
            };
            let text = cause.to_string();
            assert!(text.starts_with("consent partition 0 offset 0: "), "{text}");
            assert!(!text.contains("borrower"), "{text}");
            let code = text.split("zeef accept ").nth(1).unwrap();
            codes.push(code.split(' ').next().unwrap().to_owned());
            let mut transport = stopped.transport.clone();
            assert!(transport.latest_values("e").is_empty());
            transport.restart();
            stopped = new_worker(compiled, transport, 1_000);
        }
        assert_eq!(codes[0], codes[1], "a code for one finding");
        let command = OperatorCommand::Accept { code: codes.swap_remove(0) };
        let text = CommandRecord::new(command, "looked at".to_owned(), String::new());
        let mut commands = CommandLog::default();
        commands.add_message(0, &text.encode()).unwrap();
        let holding = stopped.pipeline.deliveries_mut().unwrap();
        holding.continuity.commands = Arc::new(commands);
        assert!(matches!(stopped.run(), Ok(WorkerExit::EndOfInput)));
        assert_eq!(stopped.transport.latest_values("e").len(), 1);
    }
}

/// Plays the messages, in batches and pieces by chance; returns how many outputs
/// were compared.
pub fn play_messages(
    compiled: &CompiledPolicy,
    name: &str,
    messages: &[SourceMessage],
    rng: &mut TestRng,
) -> usize {
    let transport = MemoryTransport::new(&compiled.lane.transport_plan())
        .with_max_poll_records(*rng.pick(&[usize::MAX, 1, 7]))
        .with_abort_every(*rng.pick(&[None, Some(3)]));
    let records = *rng.pick(&[1, 10, 1_000]);
    let mut worker = new_worker(compiled, transport, records);
    let mut model = compiled.new_model();
    let mut compared = 0;
    for (offset, message) in (0..).zip(messages) {
        let mut message = message.clone();
        (message.partition, message.offset) = (0, offset);
        model.decide_message(&message);
        if std::mem::take(&mut model.must_stop) {
            // Nothing is read behind it: it is told of apart.
            continue;
        }
        let source = source_id(&compiled.lane, &message.kind).unwrap();
        let payload = message.value.as_deref();
        let payload = payload.map_or(Payload::Null, Payload::Bytes);
        worker.transport.push(source, 0, message.key.as_deref(), payload);
        if rng.one_in(4) {
            compared += run_and_compare(compiled, name, &mut worker, &model);
        }
        if rng.one_in(40) {
            let mut transport = worker.transport.clone();
            transport.restart();
            worker = self::new_worker(compiled, transport, records);
        }
    }
    compared += run_and_compare(compiled, name, &mut worker, &model);
    // A first start publishes what others get in the course of a month.
    let mut transport = worker.transport.clone();
    transport.reset_as_new_lane(PATRONS_TOPIC);
    let mut worker = self::new_worker(compiled, transport, records);
    compared
        + run_and_compare_where(compiled, name, (&mut worker, &model), |one| one.period.is_some())
}

/// Reads all there is, and compares what each recipient has then.
fn run_and_compare(
    compiled: &CompiledPolicy,
    name: &str,
    worker: &mut Worker<MemoryTransport>,
    model: &PolicyModel<'_>,
) -> usize {
    run_and_compare_where(compiled, name, (worker, model), |one| one.period.is_none())
}

fn run_and_compare_where(
    compiled: &CompiledPolicy,
    name: &str,
    (worker, model): (&mut Worker<MemoryTransport>, &PolicyModel<'_>),
    which: impl Fn(&Recipient) -> bool,
) -> usize {
    assert!(matches!(worker.run(), Ok(WorkerExit::EndOfInput)), "{name}");
    let mut compared = 0;
    for recipient in &compiled.policy.recipients {
        if !is_decided_by_last_state(compiled, recipient) || !which(recipient) {
            continue;
        }
        let (found, wanted) = (outputs_of(worker, recipient), model.outputs_of(&recipient.name));
        assert_eq!(
            found, wanted,
            "{name}, {}: left it has, right it should have\n{}",
            recipient.name, compiled.policy.canonical_text
        );
        compared += found.len();
    }
    compared
}

fn run_policies(seeds: std::ops::Range<u64>, records: usize) -> usize {
    let (worlds, _) = generate_policies(seeds);
    let mut compared = 0;
    for (seed, compiled) in &worlds {
        let mut stream = compiled.message_stream(*seed);
        let mut messages = stream.first_messages();
        messages.extend((0..records).map(|_| stream.next_message()));
        let name = format!("policy {seed}");
        compared += play_messages(compiled, &name, &messages, &mut TestRng::new(*seed));
    }
    compared
}

#[test]
fn any_policy_converges_to_model() {
    let compared = run_policies(0..60, 90);
    eprintln!("{compared} outputs compared");
    assert!(compared > 200, "{compared} outputs compared");
}

/// Minutes long, so for people.
#[test]
#[ignore = "a quarter of a million records: cargo test --release --test equivalence -- --ignored"]
fn any_policy_converges_to_model_long() {
    run_policies(700_000..701_000, 250);
}
