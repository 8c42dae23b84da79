//! What the Kafka transport does by itself: records are read again, state is
//! read back, and outputs are swept.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use zeef::transport::kafka::partitioner::{Partitioner, Placement};
use zeef::transport::kafka::{KafkaSettings, KafkaTransport, SWEEP_KEY};
use zeef::transport::{
    Assigned, Coordinates, Fault, Flow, Input, LanePlan, Outbox, OutputId, OutputPlan, OutputRole,
    Payload, Polled, Rebuilt, SourceId, SourcePlan, Stop, Transport as _,
};

use crate::harness::{Broker, Options, Record, Topics, Writer, eventually};

const WAIT: Duration = Duration::from_secs(180);
const LOAN: SourceId = SourceId(0);
const PATRON: SourceId = SourceId(1);
const OUT: OutputId = OutputId(0);
const STATE: OutputId = OutputId(1);

/// Two sources, an output and a state.
struct World<'a> {
    topics: Topics<'a>,
    segment: Duration,
    stop: Stop,
}

impl<'a> World<'a> {
    fn new(broker: &'a Broker, test: &str, partitions: i32) -> Self {
        let topics = Topics::new(broker, test);
        for topic in ["loan", "patron", "state"] {
            topics.create(topic, partitions, &[]);
        }
        topics.create("out", 1, &[]);
        Self {
            topics,
            segment: KafkaSettings::default().segment,
            stop: Stop::default(),
        }
    }

    fn open(&self) -> Result<KafkaTransport, Fault> {
        let settings = KafkaSettings {
            segment: self.segment,
            ..self.topics.worker_settings()
        };
        KafkaTransport::open(settings, plan(), 0, self.stop.clone())
    }

    /// A transport that has all partitions and reads.
    fn running(&self) -> KafkaTransport {
        let mut transport = self.open().unwrap();
        eventually("partitions are assigned", WAIT, || {
            let polled = transport.poll(Duration::from_millis(100), &mut |_| Flow::More);
            matches!(polled.unwrap(), Polled::Assigned(_)).then_some(())
        });
        transport.resume().unwrap();
        transport
    }
}

fn plan() -> LanePlan {
    let source = |topic: &str, gate| SourcePlan {
        topic: topic.to_owned(),
        gate,
        rebuilt: gate,
        joined: true,
        kept: zeef::transport::continuity::Kept::ForATime,
    };
    let output = |topic: &str, role| OutputPlan {
        topic: topic.to_owned(),
        owner: topic.to_owned(),
        day_only: false,
        version: None,
        role,
    };
    LanePlan {
        name: "main".to_owned(),
        sources: vec![source("loan", false), source("patron", true)],
        outputs: vec![
            output("out", OutputRole::Recipient),
            output("state", OutputRole::State),
        ],
        policy_version: "1".to_owned(),
        prints: None,
        forgotten: Vec::new(),
    }
}

fn at(source: SourceId, partition: i32, offset: i64) -> Coordinates {
    Coordinates {
        source,
        partition,
        offset,
    }
}

/// A key that belongs in `partition`, of two.
fn key(partition: i32) -> String {
    let placement = Placement::new(Partitioner::Murmur2, 2).unwrap();
    let mut keys = (0..).map(|number| format!("k{number}"));
    keys.find(|key| placement.partition_of(key.as_bytes()) == partition)
        .unwrap()
}

/// A record in its place.
fn keyed(partition: i32, value: &str) -> Record {
    Record::new(key(partition), value).to(partition)
}

fn show(input: Option<Input<'_>>) -> String {
    match input.map(|input| input.payload) {
        None => "-".to_owned(),
        Some(Payload::Bytes(value)) => String::from_utf8(value.to_vec()).unwrap(),
        Some(Payload::Null) => "null".to_owned(),
        Some(Payload::Refused(reason) | Payload::Unread(reason, _)) => reason.to_string(),
    }
}

#[track_caller]
fn check(transport: &mut KafkaTransport, wanted: &[(Coordinates, &str)]) {
    let coordinates: Vec<Coordinates> = wanted.iter().map(|(at, _)| *at).collect();
    let mut found = Vec::new();
    let read = transport.read_again(&coordinates, &mut |place, input| {
        assert_eq!(place, found.len());
        found.push(show(input));
    });
    assert_eq!(read, Ok(Rebuilt::Done));
    let want: Vec<&str> = wanted.iter().map(|(_, text)| *text).collect();
    assert_eq!(found, want);
}

#[test]
fn read_again_what_is_there() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let world = World::new(broker, "again", 2);
    let topic = world.topics.name("loan");
    let writer = Writer::transactional(broker, &world.topics.name("id"), WAIT);
    let write = |values: &[&str], kept: bool| {
        writer.begin();
        let records = values.iter().map(|value| keyed(0, value));
        writer.write(&topic, &records.collect::<Vec<_>>());
        if kept {
            writer.commit()
        } else {
            writer.abort()
        }
    };
    write(&["0", "1", "2"], true);
    write(&["4", "5"], false);
    write(&["7"], true);
    write(&["9", "10"], false);
    let mut one = vec![keyed(1, "a"), Record::tombstone(key(1)).to(1)];
    world.topics.write("loan", &one);
    one.truncate(1);
    world.topics.write("patron", &one);
    let mut transport = world.running();
    let loan = |offset| at(LOAN, 0, offset);
    let all = [
        (loan(0), "0"),
        (loan(2), "2"),
        (loan(3), "-"),
        (loan(4), "-"),
        (loan(7), "7"),
        (loan(9), "-"),
        (loan(11), "-"),
        (at(LOAN, 1, 0), "a"),
        (at(LOAN, 1, 1), "null"),
        (at(PATRON, 1, 0), "a"),
    ];
    check(&mut transport, &all);
    check(&mut transport, &all[9..]);
    check(&mut transport, &all[5..7]);
    check(&mut transport, &[]);
    assert!(!transport.uncommitted());

    world.topics.cut("loan", 0, 2);
    let cut = [
        (loan(0), "-"),
        (loan(1), "-"),
        (loan(2), "2"),
        (loan(7), "7"),
    ];
    check(&mut transport, &cut);
    check(&mut transport, &cut[..2]);

    let nowhere = transport.read_again(&[at(SourceId(9), 0, 0)], &mut |_, _| ());
    assert!(matches!(nowhere, Err(Fault::Stop(_))), "{nowhere:?}");
    world.stop.ask();
    let stopped = transport.read_again(&[loan(7)], &mut |_, _| ());
    assert_eq!(stopped, Ok(Rebuilt::Interrupted));
    transport.close(true).unwrap();
}

#[test]
fn read_again_dense_and_sparse() {
    const RECORDS: i64 = 100_000;
    let Some(broker) = Broker::shared() else {
        return;
    };
    let world = World::new(broker, "again-many", 1);
    let value = |number: i64| format!("{number} {}", "x".repeat(300));
    let records: Vec<Record> = (0..RECORDS)
        .map(|number| Record::new("k", value(number)))
        .collect();
    world.topics.write("loan", &records);
    let mut transport = world.running();
    for step in [1, 50, 7_000, 30_000, 10] {
        let wanted: Vec<Coordinates> = (0..RECORDS)
            .step_by(usize::try_from(step).unwrap())
            .map(|offset| at(LOAN, 0, offset))
            .collect();
        let started = Instant::now();
        let mut next = 0;
        let read = transport.read_again(&wanted, &mut |_, input| {
            assert_eq!(show(input), value(next));
            next += step;
        });
        assert_eq!(read, Ok(Rebuilt::Done));
        assert!(next >= RECORDS);
        eprintln!(
            "{} records read again in {:?}",
            wanted.len(),
            started.elapsed()
        );
    }
    transport.close(true).unwrap();
}

/// The rows of one partition of the state.
fn rows(transport: &mut KafkaTransport, partition: i32) -> Vec<String> {
    let mut rows = Vec::new();
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or(b"-").to_vec()).unwrap();
    let restored = transport.restore(STATE, partition, &mut |row| {
        rows.push(format!("{} {}", text(row.key), text(row.value)));
    });
    assert_eq!(restored, Ok(Rebuilt::Done));
    rows
}

#[test]
fn read_again_the_state() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let world = World::new(broker, "again-state", 2);
    let mut transport = world.running();
    assert!(rows(&mut transport, 0).is_empty());
    let mut outbox = Outbox::default();
    outbox.push(STATE, Some(1), Some(b"a"), |bytes| bytes.extend(b"1"));
    outbox.push(STATE, Some(0), Some(b"b"), |bytes| bytes.extend(b"2"));
    outbox.push(OUT, None, Some(b"o"), |bytes| bytes.extend(b"3"));
    outbox.push_null(STATE, Some(1), b"a");
    transport.publish(&outbox, 0).unwrap();
    transport.rewind().unwrap();
    assert!(rows(&mut transport, 1).is_empty());
    transport.publish(&outbox, 0).unwrap();
    transport.commit().unwrap();
    assert_eq!(rows(&mut transport, 1), ["a 1", "a -"]);
    assert_eq!(rows(&mut transport, 0), ["b 2"]);
    let no_state = transport.restore(OUT, 0, &mut |_| ());
    assert!(matches!(no_state, Err(Fault::Stop(_))), "{no_state:?}");
    transport.close(true).unwrap();
    drop(transport);

    world.topics.add_partitions("loan", 3);
    let refused = eventually("the new partition is seen", WAIT, || world.open().err());
    let text = refused.to_string();
    assert!(
        text.contains("state` has 2 partitions, expected at least 3"),
        "{text}"
    );
}

/// Commits where each partition begins, as a worker does with its marks.
fn begin(transport: &mut KafkaTransport, partitions: &[Assigned]) {
    let mut outbox = Outbox::default();
    for one in partitions {
        transport.position(one.partition, 1);
        outbox.push(STATE, Some(one.partition), Some(b"mark"), |mark| {
            mark.extend(b"{}");
        });
    }
    transport.publish(&outbox, 0).unwrap();
    transport.commit().unwrap();
}

/// Reads all there is, and commits it; yields what was read.
fn consume(transport: &mut KafkaTransport) -> Vec<String> {
    let mut read = Vec::new();
    eventually("the end is reached", WAIT, || {
        let polled = transport.poll(Duration::from_millis(100), &mut |input| {
            read.push(format!("{} {}", input.partition, show(Some(input))));
            Flow::More
        });
        match polled.unwrap() {
            Polled::End => return Some(()),
            Polled::Assigned(partitions) => {
                begin(transport, &partitions);
                transport.resume().unwrap();
            }
            _ => transport.commit().unwrap(),
        }
        None
    });
    read.sort();
    read
}

#[test]
fn a_replay_ends_where_the_worker_goes_on() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let world = World::new(broker, "replay", 2);
    let replay = |transport: &mut KafkaTransport, source, partition| {
        let mut read = Vec::new();
        let take = &mut |input: Input<'_>| read.push(show(Some(input)));
        assert_eq!(transport.replay(source, partition, take), Ok(Rebuilt::Done));
        read.join(" ")
    };
    let write = |topic: &str, values: &[&str]| {
        let records = values.iter().map(|value| keyed(0, value));
        world.topics.write(topic, &records.collect::<Vec<_>>());
    };
    write("loan", &["a", "b"]);
    write("patron", &["c"]);
    let mut transport = world.open().unwrap();
    assert_eq!(consume(&mut transport), ["0 a", "0 b", "0 c"]);
    // What lies behind the position is not handed out yet.
    write("loan", &["d"]);
    assert_eq!(replay(&mut transport, LOAN, 0), "a b");
    assert_eq!(replay(&mut transport, LOAN, 1), "");
    assert_eq!(replay(&mut transport, PATRON, 0), "c");
    transport.close(true).unwrap();

    let mut transport = world.running();
    assert_eq!(replay(&mut transport, LOAN, 0), "a b");
    world.topics.cut("loan", 0, 1);
    assert_eq!(replay(&mut transport, LOAN, 0), "b");
    let nowhere = transport.replay(LOAN, 7, &mut |_| ());
    assert!(matches!(nowhere, Err(Fault::Stop(_))), "{nowhere:?}");
    world.stop.ask();
    let stopped = transport.replay(LOAN, 0, &mut |_| ());
    assert_eq!(stopped, Ok(Rebuilt::Interrupted));
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// Waits until an idle output is swept.
#[track_caller]
fn wait_swept(transport: &mut KafkaTransport) {
    eventually("the output is swept", WAIT, || {
        transport.poll(Duration::ZERO, &mut |_| Flow::More).unwrap();
        transport.tidy(now_ms()).unwrap().then_some(())
    });
}

#[test]
fn what_was_taken_back_or_corrected_goes_from_an_idle_output() {
    let options = Options {
        fast_cleaner: true,
        ..Options::default()
    };
    let Some(broker) = Broker::own(options) else {
        return;
    };
    let mut world = World::new(&broker, "sweep", 1);
    world.segment = Duration::from_secs(2);
    world.topics.alter(
        "out",
        &[
            ("cleanup.policy", "compact"),
            ("segment.ms", "2000"),
            ("max.compaction.lag.ms", "2000"),
        ],
    );
    let mut transport = world.running();
    assert_eq!(transport.tidy(now_ms()), Ok(false));
    let mut outbox = Outbox::default();
    outbox.push(OUT, None, Some(b"k1"), |bytes| bytes.extend(b"1"));
    outbox.push(OUT, None, Some(b"k2"), |bytes| bytes.extend(b"2"));
    outbox.push_null(OUT, None, b"k1");
    transport.publish(&outbox, now_ms()).unwrap();
    transport.commit().unwrap();
    wait_swept(&mut transport);
    transport.commit().unwrap();
    eventually("what was taken back is compacted", WAIT, || {
        let rows = world.topics.uncommitted("out");
        rows.iter().all(|row| row.text() != Some("1")).then_some(())
    });
    let rows = world.topics.committed("out");
    let last = rows.last().unwrap();
    assert_eq!((last.key.as_deref(), last.text()), (Some(SWEEP_KEY), None));
    assert!(rows.iter().any(|row| row.text() == Some("2")));

    // What was corrected goes as well.
    outbox.clear();
    outbox.push(OUT, None, Some(b"k2"), |bytes| bytes.extend(b"4"));
    transport.publish(&outbox, now_ms()).unwrap();
    transport.commit().unwrap();
    wait_swept(&mut transport);
    transport.commit().unwrap();
    eventually("what was corrected is compacted", WAIT, || {
        let rows = world.topics.uncommitted("out");
        rows.iter().all(|row| row.text() != Some("2")).then_some(())
    });

    // What was never committed goes as well.
    outbox.clear();
    outbox.push(OUT, None, Some(b"k3"), |bytes| bytes.extend(b"3"));
    let is_there = || {
        let rows = world.topics.uncommitted("out");
        rows.iter().any(|row| row.text() == Some("3"))
    };
    transport.publish(&outbox, now_ms()).unwrap();
    eventually("it arrives", WAIT, || is_there().then_some(()));
    transport.rewind().unwrap();
    wait_swept(&mut transport);
    transport.commit().unwrap();
    eventually("what was aborted is compacted", WAIT, || {
        (!is_there()).then_some(())
    });
    transport.close(false).unwrap();
    drop(transport);

    // What another run took back is swept too.
    outbox.clear();
    outbox.push_null(OUT, None, b"k2");
    let mut second = world.running();
    second.publish(&outbox, now_ms()).unwrap();
    second.commit().unwrap();
    second.close(false).unwrap();
    drop(second);
    let mut third = world.running();
    wait_swept(&mut third);
    third.commit().unwrap();
    eventually("all is compacted", WAIT, || {
        let rows = world.topics.uncommitted("out");
        rows.iter().all(|row| row.text().is_none()).then_some(())
    });
    third.close(true).unwrap();
}
