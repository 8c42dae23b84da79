//! What recipients have in the end, for any policy: what the plain reading of the
//! rules makes of the last state of the sources, however the way there was cut.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeef::daemon::metrics::Metrics;
use zeef::daemon::worker::{BatchBounds, Ended, Worker};
use zeef::engine::holding::Holds;
use zeef::engine::lane::PATRONS_TOPIC;
use zeef::engine::pipeline::Pipeline;
use zeef::engine::state::Namer;
use zeef::policy::pseudonym::Key;
use zeef::policy::recipient::{After, Recipient};
use zeef::transport::commands::{Command, CommandText, Commands};
use zeef::transport::memory::MemoryTransport;
use zeef::transport::{Fault, Payload, SourceId};

use crate::dice::Dice;
use crate::generated::{World, worlds};
use crate::plain::{Message, Model, secret};

/// A worker with its state, over sources in memory.
fn worker(world: &World, transport: MemoryTransport, records: u64) -> Worker<MemoryTransport> {
    let line = format!("state:{}", URL_SAFE_NO_PAD.encode(secret("state")));
    let namer = Namer::new(&Key::parse(&line).unwrap());
    let holds = Holds {
        records: 100_000,
        term_ms: i64::MAX,
    };
    let pipeline = Pipeline::with_state(Arc::clone(&world.lane), namer, holds);
    let metrics = Metrics::new("test").unwrap().worker(&world.lane, 0);
    let mut worker = Worker::new(pipeline, transport, metrics);
    let now_ms = world.now_ms;
    worker.clock = Box::new(move || now_ms);
    worker.bounds = BatchBounds {
        records,
        bytes: 1 << 20,
        wait: Duration::from_secs(5),
    };
    worker
}

/// Whether what the recipient has is decided by the last state alone, each record
/// under a key of its own.
fn is_told(world: &World, recipient: &Recipient) -> bool {
    let source = &world.policy.kinds[recipient.source];
    let retracts = recipient.retention.after == After::Retract;
    source.keyed && retracts && recipient.key.path == source.id
}

fn has(worker: &Worker<MemoryTransport>, recipient: &Recipient) -> Vec<String> {
    let mut all = Vec::new();
    for topic in recipient.topics.names() {
        for (key, value) in worker.transport.last_values(topic) {
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
fn a_record_that_names_nobody_stops_the_lane() {
    let world = &*crate::said::WORLD;
    let place = |kind: &str| {
        let mut sources = world.lane.sources.iter();
        let place = sources.position(|source| source.kind.name == kind);
        SourceId(u16::try_from(place.unwrap()).unwrap())
    };
    let record = |more: &str| format!(r#"{{"patron_id":"p1","library":"NL-A"{more}}}"#);
    let (patron, visit) = (record(""), record(r#","visit_id":"v""#));
    let (consent, key) = (place("consent"), Some(&b"p1"[..]));
    for unreadable in [
        (None, Payload::Bytes(b"{")),
        (None, Payload::Null),
        (Some(&b"{\"borrower\":42}"[..]), Payload::Bytes(b"[]")),
    ] {
        let mut transport = MemoryTransport::new(&world.lane.plan());
        transport.push(place("patron"), 0, key, Payload::Bytes(patron.as_bytes()));
        transport.push(place("visit"), 0, key, Payload::Bytes(visit.as_bytes()));
        transport.push(consent, 0, unreadable.0, unreadable.1);
        let mut stopped = worker(world, transport, 1_000);
        let mut codes = Vec::new();
        for _ in 0..2 {
            let Err(Fault::Stop(text)) = stopped.run() else {
                panic!("it goes on");
            };
            assert!(text.starts_with("consent partition 0 offset 0: "), "{text}");
            assert!(!text.contains("borrower"), "{text}");
            let code = text.split("zeef accept ").nth(1).unwrap();
            codes.push(code.split(' ').next().unwrap().to_owned());
            let mut transport = stopped.transport.clone();
            assert!(transport.last_values("e").is_empty());
            transport.restart();
            stopped = worker(world, transport, 1_000);
        }
        assert_eq!(codes[0], codes[1], "a code for one finding");
        let command = Command::Accept {
            code: codes.swap_remove(0),
        };
        let text = CommandText::new(command, "looked at".to_owned(), String::new());
        let mut commands = Commands::default();
        commands.add(0, &text.write()).unwrap();
        let holding = stopped.pipeline.holding_mut().unwrap();
        holding.continuity.commands = Arc::new(commands);
        assert!(matches!(stopped.run(), Ok(Ended::AtEnd)));
        assert_eq!(stopped.transport.last_values("e").len(), 1);
    }
}

/// Plays the messages, in batches and pieces by chance; returns how many outputs
/// were compared.
pub fn play(world: &World, name: &str, messages: &[Message], dice: &mut Dice) -> usize {
    let transport = MemoryTransport::new(&world.lane.plan())
        .with_chunk(*dice.pick(&[usize::MAX, 1, 7]))
        .with_fail_every(*dice.pick(&[None, Some(3)]));
    let records = *dice.pick(&[1, 10, 1_000]);
    let mut worker = worker(world, transport, records);
    let mut model = Model::new(&world.policy, world.bounds, world.now_ms);
    let mut compared = 0;
    for (offset, message) in (0..).zip(messages) {
        let mut message = message.clone();
        (message.partition, message.offset) = (0, offset);
        model.offer(&message);
        if std::mem::take(&mut model.stopped) {
            // Nothing is read behind it: it is told of apart.
            continue;
        }
        let mut sources = world.lane.sources.iter();
        let place = sources.position(|source| source.kind.name == message.kind);
        let source = SourceId(u16::try_from(place.unwrap()).unwrap());
        let payload = message.value.as_deref();
        let payload = payload.map_or(Payload::Null, Payload::Bytes);
        worker
            .transport
            .push(source, 0, message.key.as_deref(), payload);
        if dice.once_in(4) {
            compared += compare(world, name, &mut worker, &model);
        }
        if dice.once_in(40) {
            let mut transport = worker.transport.clone();
            transport.restart();
            worker = self::worker(world, transport, records);
        }
    }
    compared += compare(world, name, &mut worker, &model);
    // A first start publishes what others get in the course of a month.
    let mut transport = worker.transport.clone();
    transport.begin_anew(PATRONS_TOPIC);
    let mut worker = self::worker(world, transport, records);
    compared
        + compare_those(world, name, (&mut worker, &model), |one| {
            one.period.is_some()
        })
}

/// Reads all there is, and compares what each recipient has then.
fn compare(
    world: &World,
    name: &str,
    worker: &mut Worker<MemoryTransport>,
    model: &Model<'_>,
) -> usize {
    compare_those(world, name, (worker, model), |one| one.period.is_none())
}

fn compare_those(
    world: &World,
    name: &str,
    (worker, model): (&mut Worker<MemoryTransport>, &Model<'_>),
    which: impl Fn(&Recipient) -> bool,
) -> usize {
    assert!(matches!(worker.run(), Ok(Ended::AtEnd)), "{name}");
    let mut compared = 0;
    for recipient in &world.policy.recipients {
        if !is_told(world, recipient) || !which(recipient) {
            continue;
        }
        let (found, wanted) = (has(worker, recipient), model.has(&recipient.name));
        assert_eq!(
            found, wanted,
            "{name}, {}: left it has, right it should have\n{}",
            recipient.name, world.policy.canonical
        );
        compared += found.len();
    }
    compared
}

fn run(seeds: std::ops::Range<u64>, records: usize) -> usize {
    let (worlds, _) = worlds(seeds);
    let mut compared = 0;
    for (seed, world) in &worlds {
        let mut stream = world.stream(*seed);
        let mut messages = stream.patrons();
        messages.extend((0..records).map(|_| stream.message()));
        let name = format!("policy {seed}");
        compared += play(world, &name, &messages, &mut Dice::new(*seed));
    }
    compared
}

#[test]
fn any_policy_ends_with_what_it_says() {
    let compared = run(0..40, 90);
    eprintln!("{compared} outputs compared");
    assert!(compared > 200, "{compared} outputs compared");
}

/// Minutes long, so for people.
#[test]
#[ignore = "a quarter of a million records: cargo test --release --test equivalence -- --ignored"]
fn any_policy_ends_with_what_it_says_many_times() {
    run(700_000..701_000, 250);
}
