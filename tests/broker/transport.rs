//! What the Kafka transport does by itself: records are read again, state is
//! read back, and outputs are swept.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use zeef::message::{
    Coordinates, Fault, Input, LanePlan, Outbox, OutputId, OutputPlan, OutputRole, Payload,
    SourceId, SourcePlan,
};
use zeef::transport::kafka::partitioner::{KeyPlacement, Partitioner};
use zeef::transport::kafka::{IDLE_NULL_KEY, KafkaSettings, KafkaTransport};
use zeef::transport::{
    AssignedPartition, PollFlow, PollOutcome, ReadOutcome, StopSignal, Transport as _,
};

use crate::harness::{Broker, BrokerOptions, ProducerRecord, TestProducer, TestTopics, eventually};

const WAIT_TIMEOUT: Duration = Duration::from_secs(180);
const LOAN: SourceId = SourceId(0);
const PATRON: SourceId = SourceId(1);
const OUTPUT: OutputId = OutputId(0);
const STATE: OutputId = OutputId(1);

/// Two sources, an output and a state.
struct TransportFixture<'a> {
    topics: TestTopics<'a>,
    segment_max_age: Duration,
    stop: StopSignal,
}

impl<'a> TransportFixture<'a> {
    fn new(broker: &'a Broker, test: &str, partitions: i32) -> Self {
        let topics = TestTopics::new(broker, test);
        for topic in ["loan", "patron", "state"] {
            topics.create(topic, partitions, &[]);
        }
        topics.create("out", 1, &[]);
        Self {
            topics,
            segment_max_age: KafkaSettings::default().segment_max_age,
            stop: StopSignal::default(),
        }
    }

    fn open_transport(&self) -> Result<KafkaTransport, Fault> {
        let settings =
            KafkaSettings { segment_max_age: self.segment_max_age, ..self.topics.kafka_settings() };
        KafkaTransport::open(settings, lane_plan(), 0, self.stop.clone())
    }

    /// A transport that has all partitions and reads.
    fn open_running(&self) -> KafkaTransport {
        let mut transport = self.open_transport().unwrap();
        eventually("partitions are assigned", WAIT_TIMEOUT, || {
            let polled = transport.poll(Duration::from_millis(100), &mut |_| PollFlow::Continue);
            matches!(polled.unwrap(), PollOutcome::Assigned(_)).then_some(())
        });
        transport.resume().unwrap();
        transport
    }
}

fn lane_plan() -> LanePlan {
    let source = |topic: &str, gate: bool| SourcePlan {
        topic: topic.to_owned(),
        gate_rank: gate.then_some(0),
        is_rebuilt: gate,
        is_joined: true,
        retention: zeef::message::continuity::SourceRetention::Limited,
    };
    let output = |topic: &str, role| OutputPlan {
        topic: topic.to_owned(),
        owner: topic.to_owned(),
        has_day_timestamps: false,
        version_override: None,
        contract_version: None,
        encoding: None,
        role,
    };
    LanePlan {
        name: "main".to_owned(),
        sources: vec![source("loan", false), source("patron", true)],
        outputs: vec![output("out", OutputRole::Recipient), output("state", OutputRole::State)],
        policy_version: "1".to_owned(),
        fingerprinter: None,
        forget_offset_totals: Vec::new(),
        known_former_topics: BTreeSet::new(),
        configured_topics: None,
        intake: None,
    }
}

fn coordinates_at(source: SourceId, partition: i32, offset: i64) -> Coordinates {
    Coordinates { source, partition, offset }
}

/// A key that belongs in `partition`, of two.
fn key_for_partition(partition: i32) -> String {
    let placement = KeyPlacement::new(Partitioner::Murmur2, 2).unwrap();
    let mut keys = (0..).map(|number| format!("k{number}"));
    keys.find(|key| placement.home_partition(key.as_bytes()) == partition).unwrap()
}

/// A record in its place.
fn record_in_partition(partition: i32, value: &str) -> ProducerRecord {
    ProducerRecord::new(key_for_partition(partition), value).in_partition(partition)
}

fn payload_text(input: Option<Input<'_>>) -> String {
    match input.map(|input| input.payload) {
        None => "-".to_owned(),
        Some(Payload::Bytes(value)) => String::from_utf8(value.to_vec()).unwrap(),
        Some(Payload::Null) => "null".to_owned(),
        Some(Payload::Refused(reason) | Payload::RefusedBytes(reason, _)) => reason.to_string(),
    }
}

#[track_caller]
fn check_read_wanted(transport: &mut KafkaTransport, wanted: &[(Coordinates, &str)]) {
    let coordinates: Vec<Coordinates> = wanted.iter().map(|(at, _)| *at).collect();
    let mut found = Vec::new();
    let read = transport.reread_records(&coordinates, &mut |place, input| {
        assert_eq!(place, found.len());
        found.push(payload_text(input));
    });
    assert_eq!(read, Ok(ReadOutcome::Done));
    let want: Vec<&str> = wanted.iter().map(|(_, text)| *text).collect();
    assert_eq!(found, want);
}

#[test]
fn read_wanted_yields_committed_records_and_none_for_missing() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let fixture = TransportFixture::new(broker, "again", 2);
    let topic = fixture.topics.full_name("loan");
    let writer = TestProducer::transactional(broker, &fixture.topics.full_name("id"), WAIT_TIMEOUT);
    let write = |values: &[&str], kept: bool| {
        writer.begin_transaction();
        let records = values.iter().map(|value| record_in_partition(0, value));
        writer.write_records(&topic, &records.collect::<Vec<_>>());
        if kept { writer.commit_transaction() } else { writer.abort_transaction() }
    };
    write(&["0", "1", "2"], true);
    write(&["4", "5"], false);
    write(&["7"], true);
    write(&["9", "10"], false);
    let mut one = vec![
        record_in_partition(1, "a"),
        ProducerRecord::tombstone(key_for_partition(1)).in_partition(1),
    ];
    fixture.topics.write_records("loan", &one);
    one.truncate(1);
    fixture.topics.write_records("patron", &one);
    let mut transport = fixture.open_running();
    let loan = |offset| coordinates_at(LOAN, 0, offset);
    let all = [
        (loan(0), "0"),
        (loan(2), "2"),
        (loan(3), "-"),
        (loan(4), "-"),
        (loan(7), "7"),
        (loan(9), "-"),
        (loan(11), "-"),
        (coordinates_at(LOAN, 1, 0), "a"),
        (coordinates_at(LOAN, 1, 1), "null"),
        (coordinates_at(PATRON, 1, 0), "a"),
    ];
    check_read_wanted(&mut transport, &all);
    check_read_wanted(&mut transport, &all[9..]);
    check_read_wanted(&mut transport, &all[5..7]);
    check_read_wanted(&mut transport, &[]);
    assert!(!transport.has_uncommitted());

    fixture.topics.delete_records_before("loan", 0, 2);
    let cut = [(loan(0), "-"), (loan(1), "-"), (loan(2), "2"), (loan(7), "7")];
    check_read_wanted(&mut transport, &cut);
    check_read_wanted(&mut transport, &cut[..2]);

    let nowhere = transport.reread_records(&[coordinates_at(SourceId(9), 0, 0)], &mut |_, _| ());
    assert!(matches!(nowhere, Err(Fault::Stop(_))), "{nowhere:?}");
    fixture.stop.request();
    let stopped = transport.reread_records(&[loan(7)], &mut |_, _| ());
    assert_eq!(stopped, Ok(ReadOutcome::Interrupted));
    transport.close(true).unwrap();
}

#[test]
fn read_wanted_works_for_dense_and_sparse_offsets() {
    const RECORDS: i64 = 100_000;
    let Some(broker) = Broker::shared() else {
        return;
    };
    let fixture = TransportFixture::new(broker, "again-many", 1);
    let value = |number: i64| format!("{number} {}", "x".repeat(300));
    let records: Vec<ProducerRecord> =
        (0..RECORDS).map(|number| ProducerRecord::new("k", value(number))).collect();
    fixture.topics.write_records("loan", &records);
    let mut transport = fixture.open_running();
    for step in [1, 50, 7_000, 30_000, 10] {
        let wanted: Vec<Coordinates> = (0..RECORDS)
            .step_by(usize::try_from(step).unwrap())
            .map(|offset| coordinates_at(LOAN, 0, offset))
            .collect();
        let started = Instant::now();
        let mut next = 0;
        let read = transport.reread_records(&wanted, &mut |_, input| {
            assert_eq!(payload_text(input), value(next));
            next += step;
        });
        assert_eq!(read, Ok(ReadOutcome::Done));
        assert!(next >= RECORDS);
        eprintln!("{} records read again in {:?}", wanted.len(), started.elapsed());
    }
    transport.close(true).unwrap();
}

/// The rows of one partition of the state.
fn restored_rows(transport: &mut KafkaTransport, partition: i32) -> Vec<String> {
    let mut rows = Vec::new();
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or(b"-").to_vec()).unwrap();
    let restored = transport.restore(STATE, partition, &mut |row| {
        rows.push(format!("{} {}", text(row.key), text(row.value)));
    });
    assert_eq!(restored, Ok(ReadOutcome::Done));
    rows
}

#[test]
fn restore_yields_committed_state_rows_only() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let fixture = TransportFixture::new(broker, "again-state", 2);
    let mut transport = fixture.open_running();
    assert!(restored_rows(&mut transport, 0).is_empty());
    let mut outbox = Outbox::default();
    outbox.push(STATE, Some(1), Some(b"a"), |bytes| bytes.extend(b"1"));
    outbox.push(STATE, Some(0), Some(b"b"), |bytes| bytes.extend(b"2"));
    outbox.push(OUTPUT, None, Some(b"o"), |bytes| bytes.extend(b"3"));
    outbox.push_tombstone(STATE, Some(1), b"a");
    transport.publish(&outbox, 0).unwrap();
    transport.rewind().unwrap();
    assert!(restored_rows(&mut transport, 1).is_empty());
    transport.publish(&outbox, 0).unwrap();
    transport.commit().unwrap();
    assert_eq!(restored_rows(&mut transport, 1), ["a 1", "a -"]);
    assert_eq!(restored_rows(&mut transport, 0), ["b 2"]);
    let no_state = transport.restore(OUTPUT, 0, &mut |_| ());
    assert!(matches!(no_state, Err(Fault::Stop(_))), "{no_state:?}");
    transport.close(true).unwrap();
    drop(transport);

    fixture.topics.add_partitions("loan", 3);
    let refused =
        eventually("the new partition is seen", WAIT_TIMEOUT, || fixture.open_transport().err());
    let text = refused.to_string();
    assert!(text.contains("state` has 2 partitions, expected at least 3"), "{text}");
}

/// Commits where each partition begins, as a worker does with its marks.
fn commit_marks(transport: &mut KafkaTransport, partitions: &[AssignedPartition]) {
    let mut outbox = Outbox::default();
    for one in partitions {
        transport.mark_positions(one.partition, 1);
        outbox.push(STATE, Some(one.partition), Some(b"mark"), |mark| {
            mark.extend(b"{}");
        });
    }
    transport.publish(&outbox, 0).unwrap();
    transport.commit().unwrap();
}

/// Reads all there is, and commits it; yields what was read.
fn consume_to_end(transport: &mut KafkaTransport) -> Vec<String> {
    let mut read = Vec::new();
    eventually("the end is reached", WAIT_TIMEOUT, || {
        let polled = transport.poll(Duration::from_millis(100), &mut |input| {
            read.push(format!("{} {}", input.partition, payload_text(Some(input))));
            PollFlow::Continue
        });
        match polled.unwrap() {
            PollOutcome::End => return Some(()),
            PollOutcome::Assigned(partitions) => {
                commit_marks(transport, &partitions);
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
fn replay_ends_at_the_committed_position() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let fixture = TransportFixture::new(broker, "replay", 2);
    let replay = |transport: &mut KafkaTransport, source, partition| {
        let mut read = Vec::new();
        let take = &mut |input: Input<'_>| read.push(payload_text(Some(input)));
        assert_eq!(transport.replay(source, partition, take), Ok(ReadOutcome::Done));
        read.join(" ")
    };
    let write = |topic: &str, values: &[&str]| {
        let records = values.iter().map(|value| record_in_partition(0, value));
        fixture.topics.write_records(topic, &records.collect::<Vec<_>>());
    };
    write("loan", &["a", "b"]);
    write("patron", &["c"]);
    let mut transport = fixture.open_transport().unwrap();
    assert_eq!(consume_to_end(&mut transport), ["0 a", "0 b", "0 c"]);
    // What lies behind the position is not handed out yet.
    write("loan", &["d"]);
    assert_eq!(replay(&mut transport, LOAN, 0), "a b");
    assert_eq!(replay(&mut transport, LOAN, 1), "");
    assert_eq!(replay(&mut transport, PATRON, 0), "c");
    transport.close(true).unwrap();

    let mut transport = fixture.open_running();
    assert_eq!(replay(&mut transport, LOAN, 0), "a b");
    fixture.topics.delete_records_before("loan", 0, 1);
    assert_eq!(replay(&mut transport, LOAN, 0), "b");
    let nowhere = transport.replay(LOAN, 7, &mut |_| ());
    assert!(matches!(nowhere, Err(Fault::Stop(_))), "{nowhere:?}");
    fixture.stop.request();
    let stopped = transport.replay(LOAN, 0, &mut |_| ());
    assert_eq!(stopped, Ok(ReadOutcome::Interrupted));
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// Waits until an idle output is swept.
#[track_caller]
fn wait_idle_null(transport: &mut KafkaTransport) {
    eventually("the output is swept", WAIT_TIMEOUT, || {
        transport.poll(Duration::ZERO, &mut |_| PollFlow::Continue).unwrap();
        transport.maintain(now_ms()).unwrap().then_some(())
    });
}

#[test]
fn idle_output_is_compacted_after_retraction_and_correction() {
    let options = BrokerOptions { fast_cleaner: true, ..BrokerOptions::default() };
    let Some(broker) = Broker::start_own(options) else {
        return;
    };
    let mut fixture = TransportFixture::new(&broker, "sweep", 1);
    fixture.segment_max_age = Duration::from_secs(2);
    fixture.topics.alter_settings(
        "out",
        &[("cleanup.policy", "compact"), ("segment.ms", "2000"), ("max.compaction.lag.ms", "2000")],
    );
    let mut transport = fixture.open_running();
    assert_eq!(transport.maintain(now_ms()), Ok(false));
    let mut outbox = Outbox::default();
    outbox.push(OUTPUT, None, Some(b"k1"), |bytes| bytes.extend(b"1"));
    outbox.push(OUTPUT, None, Some(b"k2"), |bytes| bytes.extend(b"2"));
    outbox.push_tombstone(OUTPUT, None, b"k1");
    transport.publish(&outbox, now_ms()).unwrap();
    transport.commit().unwrap();
    wait_idle_null(&mut transport);
    transport.commit().unwrap();
    eventually("what was taken back is compacted", WAIT_TIMEOUT, || {
        let rows = fixture.topics.read_uncommitted("out");
        rows.iter().all(|row| row.value_text() != Some("1")).then_some(())
    });
    let rows = fixture.topics.read_committed("out");
    let last = rows.last().unwrap();
    assert_eq!((last.key.as_deref(), last.value_text()), (Some(IDLE_NULL_KEY), None));
    assert!(rows.iter().any(|row| row.value_text() == Some("2")));

    // What was corrected goes as well.
    outbox.clear();
    outbox.push(OUTPUT, None, Some(b"k2"), |bytes| bytes.extend(b"4"));
    transport.publish(&outbox, now_ms()).unwrap();
    transport.commit().unwrap();
    wait_idle_null(&mut transport);
    transport.commit().unwrap();
    eventually("what was corrected is compacted", WAIT_TIMEOUT, || {
        let rows = fixture.topics.read_uncommitted("out");
        rows.iter().all(|row| row.value_text() != Some("2")).then_some(())
    });

    // What was never committed goes as well.
    outbox.clear();
    outbox.push(OUTPUT, None, Some(b"k3"), |bytes| bytes.extend(b"3"));
    let is_there = || {
        let rows = fixture.topics.read_uncommitted("out");
        rows.iter().any(|row| row.value_text() == Some("3"))
    };
    transport.publish(&outbox, now_ms()).unwrap();
    eventually("it arrives", WAIT_TIMEOUT, || is_there().then_some(()));
    transport.rewind().unwrap();
    wait_idle_null(&mut transport);
    transport.commit().unwrap();
    eventually("what was aborted is compacted", WAIT_TIMEOUT, || (!is_there()).then_some(()));
    transport.close(false).unwrap();
    drop(transport);

    // What another run took back is swept too.
    outbox.clear();
    outbox.push_tombstone(OUTPUT, None, b"k2");
    let mut second = fixture.open_running();
    second.publish(&outbox, now_ms()).unwrap();
    second.commit().unwrap();
    second.close(false).unwrap();
    drop(second);
    let mut third = fixture.open_running();
    wait_idle_null(&mut third);
    third.commit().unwrap();
    eventually("all is compacted", WAIT_TIMEOUT, || {
        let rows = fixture.topics.read_uncommitted("out");
        rows.iter().all(|row| row.value_text().is_none()).then_some(())
    });
    third.close(true).unwrap();
}
