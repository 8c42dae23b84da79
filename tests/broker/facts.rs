//! What the Kafka transport relies on, each fact shown on a real broker.
//!
//! No code of zeef runs here: where one of these fails, Kafka or librdkafka
//! has changed, and the transport must follow.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;
use rdkafka::{Offset, TopicPartitionList};

use crate::harness::{
    Broker, BrokerOptions, ConsumedMessage, Isolation, ProducerPartitioner, ProducerRecord,
    TestProducer, TestTopics, eventually,
};

const WAIT: Duration = Duration::from_secs(30);
/// Longer than any test, so that no transaction ends by itself.
const LONG: Duration = Duration::from_secs(300);

fn texts(rows: &[ConsumedMessage]) -> Vec<&str> {
    rows.iter().filter_map(ConsumedMessage::value_text).collect()
}

fn end(broker: &Broker, topic: &str, isolation: Isolation) -> i64 {
    broker.watermarks(topic, 0, isolation).1
}

/// Whether `error` ends the producer because another one has its id.
#[track_caller]
fn check_fenced(error: &KafkaError) {
    let KafkaError::Transaction(cause) = error else {
        panic!("expected a transaction error, found {error:?}");
    };
    assert!(cause.is_fatal(), "expected a fatal error, found {error:?}");
    assert_eq!(cause.code(), RDKafkaErrorCode::Fenced, "{error:?}");
}

#[test]
fn aborted_records_are_seen_by_uncommitted_readers_only() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topics = TestTopics::new(broker, "aborted");
    let topic = topics.create("out", 1, &[]);
    let writer = TestProducer::transactional(broker, &topics.full_name("id"), LONG);
    for (value, kept) in [("first", true), ("aborted", false), ("last", true)] {
        writer.begin_transaction();
        writer.write_records(&topic, &[ProducerRecord::new("k", value)]);
        if kept {
            writer.commit_transaction();
        } else {
            writer.abort_transaction();
        }
    }

    assert_eq!(texts(&topics.read_committed("out")), ["first", "last"]);
    assert_eq!(texts(&topics.read_uncommitted("out")), ["first", "aborted", "last"]);

    let outside = broker.run_tool(
        "console-consumer",
        &[
            "--topic",
            &topic,
            "--from-beginning",
            "--isolation-level",
            "read_committed",
            "--max-messages",
            "2",
        ],
    );
    assert_eq!(outside.lines().collect::<Vec<_>>(), ["first", "last"]);
    let args = ["-C", "-q", "-e", "-t", &topic, "-X", "isolation.level=read_committed"];
    if let Some(outside) = broker.run_kcat(&args) {
        assert_eq!(outside.lines().collect::<Vec<_>>(), ["first", "last"]);
    }
}

#[test]
fn a_second_producer_with_the_same_id_fences_the_first() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topics = TestTopics::new(broker, "fenced");
    let topic = topics.create("out", 1, &[]);
    let id = topics.full_name("id");
    let first = TestProducer::transactional(broker, &id, LONG);
    first.begin_transaction();
    first.write_records(&topic, &[ProducerRecord::new("k", "of the first")]);

    let second = TestProducer::transactional(broker, &id, LONG);
    let refused = first.base_producer().commit_transaction(WAIT).unwrap_err();
    check_fenced(&refused);

    second.begin_transaction();
    second.write_records(&topic, &[ProducerRecord::new("k", "of the second")]);
    second.commit_transaction();
    assert_eq!(texts(&topics.read_committed("out")), ["of the second"]);
}

/// A process that was stopped for too long cannot tell this from a twin.
#[test]
fn a_transaction_that_timed_out_gives_the_same_error_as_a_twin() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topics = TestTopics::new(broker, "timed-out");
    let topic = topics.create("out", 1, &[]);
    let writer =
        TestProducer::transactional(broker, &topics.full_name("id"), Duration::from_secs(2));
    writer.begin_transaction();
    writer.write_records(&topic, &[ProducerRecord::new("k", "too late")]);
    // The broker's abort shows as one more offset: the marker's.
    eventually("the broker aborts", WAIT, || {
        (end(broker, &topic, Isolation::Committed) == 2).then_some(())
    });

    let refused = writer.base_producer().commit_transaction(WAIT).unwrap_err();
    check_fenced(&refused);
    assert!(topics.read_committed("out").is_empty());
}

#[test]
fn commit_markers_take_offsets() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topics = TestTopics::new(broker, "markers");
    let topic = topics.create("out", 1, &[]);
    let writer = TestProducer::transactional(broker, &topics.full_name("id"), LONG);
    for value in ["a", "b", "c"] {
        writer.begin_transaction();
        writer.write_records(&topic, &[ProducerRecord::new("k", value)]);
        writer.commit_transaction();
    }
    let offsets: Vec<i64> = topics.read_committed("out").iter().map(|row| row.offset).collect();
    assert_eq!(offsets, [0, 2, 4]);
    let end = eventually("the last marker", WAIT, || {
        let end = end(broker, &topic, Isolation::Committed);
        (end == 6).then_some(end)
    });
    assert_ne!(end, offsets[2] + 1, "counting messages never gets there");
}

#[test]
fn rows_behind_a_dead_writers_transaction_are_hidden_until_it_times_out() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topics = TestTopics::new(broker, "hidden");
    let topic = topics.create("state", 1, &[]);
    let dead =
        TestProducer::transactional(broker, &topics.full_name("dead"), Duration::from_secs(10));
    dead.begin_transaction();
    dead.write_records(&topic, &[ProducerRecord::new("k", "open")]);
    dead.crash();

    let writer = TestProducer::transactional(broker, &topics.full_name("alive"), LONG);
    writer.begin_transaction();
    writer.write_records(&topic, &[ProducerRecord::new("k", "committed")]);
    writer.commit_transaction();

    // The committed row lies at offset 1, its marker at 2.
    eventually("the high watermark shows it", WAIT, || {
        (end(broker, &topic, Isolation::Uncommitted) == 3).then_some(())
    });
    assert_eq!(end(broker, &topic, Isolation::Committed), 0);
    assert!(topics.read_visible("state").is_empty());

    eventually("the broker aborts what is open", WAIT, || {
        (end(broker, &topic, Isolation::Committed) == 4).then_some(())
    });
    assert_eq!(texts(&topics.read_committed("state")), ["committed"]);
}

/// A restart need not wait for that: the same id ends it at once.
#[test]
fn a_restart_with_the_same_id_aborts_what_hung() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topics = TestTopics::new(broker, "restarted");
    let topic = topics.create("state", 1, &[]);
    let id = topics.full_name("id");
    let dead = TestProducer::transactional(broker, &id, LONG);
    dead.begin_transaction();
    dead.write_records(&topic, &[ProducerRecord::new("k", "open")]);
    dead.crash();

    let _heir = TestProducer::transactional(broker, &id, LONG);
    eventually("what hung is aborted", WAIT, || {
        (end(broker, &topic, Isolation::Committed) == 2).then_some(())
    });
    assert!(topics.read_committed("state").is_empty());
}

fn member(broker: &Broker, group: &str, instance: Option<&str>, topic: &str) -> BaseConsumer {
    let mut config = broker.client_config();
    config
        .set("group.id", group)
        .set("partition.assignment.strategy", "range")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("heartbeat.interval.ms", "300")
        .set("session.timeout.ms", "25000");
    if let Some(instance) = instance {
        config.set("group.instance.id", instance);
    }
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&[topic]).unwrap();
    consumer
}

/// Polls `members` until each owns as many partitions as `want` says.
#[track_caller]
fn poll_until_assigned(members: &[&BaseConsumer], want: usize) {
    eventually("partitions are shared out", WAIT, || {
        for member in members {
            if let Some(Err(error)) = member.poll(Duration::from_millis(20)) {
                panic!("failed to poll: {error}");
            }
        }
        members.iter().all(|member| member.assignment().unwrap().count() == want).then_some(())
    });
}

#[track_caller]
fn check_stale_batch(test: &str, instances: [Option<&str>; 2]) {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topics = TestTopics::new(broker, test);
    let source = topics.create("in", 2, &[]);
    let group = topics.full_name("group");
    topics.write_records(
        "in",
        &[
            ProducerRecord::new("k", "v").in_partition(0),
            ProducerRecord::new("k", "v").in_partition(1),
        ],
    );

    let stale = member(broker, &group, instances[0], &source);
    poll_until_assigned(&[&stale], 2);
    let taken_at_assignment = stale.group_metadata().unwrap();
    let heir = member(broker, &group, instances[1], &source);
    poll_until_assigned(&[&stale, &heir], 1);
    let lost = heir.assignment().unwrap().elements()[0].partition();
    let fetched_at_commit = stale.group_metadata().unwrap();

    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&source, lost, Offset::Offset(1)).unwrap();
    let writer = TestProducer::transactional(broker, &topics.full_name("id"), LONG);
    writer.begin_transaction();
    let refused = writer
        .base_producer()
        .send_offsets_to_transaction(&offsets, &taken_at_assignment, WAIT)
        .unwrap_err();
    let KafkaError::Transaction(cause) = &refused else {
        panic!("expected a transaction error, found {refused:?}");
    };
    assert_eq!(cause.code(), RDKafkaErrorCode::IllegalGeneration);
    assert!(cause.txn_requires_abort() && !cause.is_fatal());
    writer.abort_transaction();
    assert!(broker.group_offsets(&group, &source).iter().all(|(_, offset)| offset.is_none()));

    // This is the trap: the partition is another member's, and still it works.
    writer.begin_transaction();
    writer.base_producer().send_offsets_to_transaction(&offsets, &fetched_at_commit, WAIT).unwrap();
    writer.commit_transaction();
    eventually("the stale offset is accepted", WAIT, || {
        broker.group_offsets(&group, &source).contains(&(lost, Some(1))).then_some(())
    });
}

#[test]
fn metadata_of_the_assignment_refuses_a_stale_batch() {
    check_stale_batch("stale", [None, None]);
}

#[test]
fn metadata_of_the_assignment_refuses_a_stale_batch_of_a_static_member() {
    check_stale_batch("stale-static", [Some("one"), Some("two")]);
}

#[test]
fn a_static_member_is_back_at_once_and_leaves_only_when_it_unsubscribes() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topics = TestTopics::new(broker, "static");
    let source = topics.create("in", 2, &[]);
    let group = topics.full_name("group");
    let first = member(broker, &group, Some("one"), &source);
    poll_until_assigned(&[&first], 2);
    drop(first);
    assert_eq!(broker.count_group_members(&group), 1);

    let start = Instant::now();
    let again = member(broker, &group, Some("one"), &source);
    poll_until_assigned(&[&again], 2);
    let away = start.elapsed();
    assert!(away < Duration::from_secs(12), "less than half a session, found {away:?}");

    again.unsubscribe();
    eventually("the group is left", WAIT, || {
        again.poll(Duration::from_millis(20));
        (broker.count_group_members(&group) == 0).then_some(())
    });
}

/// Keeps the codes of what a client reports beside its calls.
#[derive(Default)]
struct Reports(Mutex<Vec<RDKafkaErrorCode>>);

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, _reason: &str) {
        self.0.lock().unwrap().extend(error.rdkafka_error_code());
    }
}

impl ConsumerContext for Reports {}

/// Connects with `changed` properties until a report of `code`.
#[track_caller]
fn check_refused(broker: &Broker, changed: (&str, &str), code: RDKafkaErrorCode) {
    let mut config = broker.client_config();
    config.set("group.id", "refused").set(changed.0, changed.1);
    config.remove("log_level");
    let consumer: BaseConsumer<Reports> = config.create_with_context(Reports::default()).unwrap();
    // A busy machine may need a few handshakes, each later than the one before.
    let start = Instant::now();
    loop {
        let metadata = consumer.fetch_metadata(None, Duration::from_millis(300));
        assert!(metadata.is_err(), "{} must not connect", changed.0);
        // Every report that waits.
        while consumer.poll(Duration::from_millis(20)).is_some() {}
        let reports = consumer.context().0.lock().unwrap();
        if reports.contains(&code) {
            return;
        }
        assert!(start.elapsed() < LONG, "expected {code:?} within {LONG:?}, got {reports:?}");
    }
}

#[test]
fn tls_and_sasl_take_the_right_password_only() {
    let Some(broker) =
        Broker::start_own(BrokerOptions { sasl_ssl: true, ..BrokerOptions::default() })
    else {
        return;
    };
    let topics = TestTopics::new(&broker, "sasl");
    topics.create("out", 1, &[]);
    topics.write_records("out", &[ProducerRecord::new("k", "v")]);
    assert_eq!(texts(&topics.read_committed("out")), ["v"]);
    assert!(broker.run_tool("topics", &["--list"]).contains(topics.prefix()));

    check_refused(&broker, ("sasl.password", "wrong"), RDKafkaErrorCode::Authentication);
    // The system's own certificates do not vouch for this broker.
    check_refused(&broker, ("ssl.ca.location", "probe"), RDKafkaErrorCode::SSL);
}

#[test]
fn a_broker_that_crashed_comes_back_with_what_was_committed() {
    let Some(broker) = Broker::start_own(BrokerOptions::default()) else {
        return;
    };
    let topics = TestTopics::new(&broker, "crash");
    let topic = topics.create("out", 1, &[]);
    let writer = TestProducer::transactional(&broker, &topics.full_name("id"), LONG);
    writer.begin_transaction();
    writer.write_records(&topic, &[ProducerRecord::new("k", "before")]);
    writer.commit_transaction();
    writer.begin_transaction();
    writer.write_records(&topic, &[ProducerRecord::new("k", "open")]);

    broker.kill();
    broker.start();
    eventually("the producer goes on", WAIT, || {
        writer.base_producer().commit_transaction(Duration::from_secs(5)).ok()
    });
    broker.restart();
    assert_eq!(texts(&topics.read_committed("out")), ["before", "open"]);
}

/// A key lies where Java clients look for it, or where librdkafka does.
#[test]
fn two_partitioners_put_keys_in_different_partitions() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topics = TestTopics::new(broker, "keys");
    let keys: Vec<String> = (0..32).map(|number| format!("patron-{number}")).collect();
    let records: Vec<ProducerRecord> =
        keys.iter().map(|key| ProducerRecord::new(key, "v")).collect();
    let placed = |topic, partitioner| {
        topics.create(topic, 4, &[]);
        topics.write_with_partitioner(partitioner, topic, &records);
        let mut placed: Vec<(String, i32)> = topics
            .read_committed(topic)
            .iter()
            .map(|row| (row.key_text().to_owned(), row.partition))
            .collect();
        placed.sort();
        placed
    };
    let java = placed("java", ProducerPartitioner::Murmur2);
    assert_eq!(java, placed("java-again", ProducerPartitioner::Murmur2));
    assert_ne!(java, placed("librdkafka", ProducerPartitioner::Crc32));
}

#[test]
fn topics_are_changed_while_they_are_read() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topics = TestTopics::new(broker, "changed");
    let topic = topics.create("in", 1, &[("retention.ms", "-1")]);
    topics.write_records(
        "in",
        &[
            ProducerRecord::new("a", "1").at_timestamp(1_000).with_header("kind", "test"),
            ProducerRecord::tombstone("a"),
            ProducerRecord::without_key("2"),
        ],
    );
    let rows = topics.read_committed("in");
    assert_eq!(rows[0].headers, [("kind".to_owned(), Some(b"test".to_vec()))]);
    assert_eq!(rows[0].timestamp_ms, Some(1_000));
    assert_eq!((rows[1].key_text(), rows[1].value_text()), ("a", None));
    assert_eq!((rows[2].key.as_deref(), rows[2].value_text()), (None, Some("2")));

    // Before the change: a compacted topic cannot be cut.
    topics.delete_records_before("in", 0, 2);
    assert_eq!(broker.watermarks(&topic, 0, Isolation::Uncommitted), (2, 3));

    topics.alter_settings("in", &[("cleanup.policy", "compact")]);
    let settings = eventually("settings change", WAIT, || {
        let mut settings = topics.topic_settings("in");
        settings.sort();
        (settings.len() == 2).then_some(settings)
    });
    assert_eq!(settings[0].0, "cleanup.policy");
    assert_eq!(settings[1], ("retention.ms".to_owned(), "-1".to_owned()));

    topics.add_partitions("in", 3);
    eventually("partitions appear", WAIT, || (broker.partitions(&topic).len() == 3).then_some(()));
    topics.delete("in");
}

#[test]
fn two_tests_share_no_topic() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let names: Vec<String> = thread::scope(|scope| {
        let tasks: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| TestTopics::new(broker, "same").full_name("out")))
            .collect();
        tasks.into_iter().map(|task| task.join().unwrap()).collect()
    });
    for (index, name) in names.iter().enumerate() {
        assert!(!names[..index].contains(name));
    }
}
