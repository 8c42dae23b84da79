//! The test that plays the partner, on a real Kafka: who reads the topics of
//! service-message, with the names, and of statistics, with their offsets, commit
//! markers, headers and timestamps, pairs no more rows than by chance.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use zeef::daemon::worker::WorkerExit;
use zeef::engine::lane::Lane;
use zeef::transport::StopSignal;
use zeef::transport::kafka::KafkaTransport;

use crate::harness::{
    Broker, ConsumedMessage, ProducerPartitioner, ProducerRecord, TestProducer, TestTopics,
};
use zeef_test_kit::deployment::{DeploymentSetup, new_worker};
use zeef_test_kit::library_fixture::{LibraryFixture, SERVICE_MESSAGE, STATISTICS, compile_lanes};
use zeef_test_kit::linkage_attack::{Observation, count_adjacent_pairs, join_outputs};

const DAY_MS: i64 = 86_400_000;
/// The clock of the town is another one than the broker's.
const ANY_TIMESTAMP_SETTINGS: [(&str, &str); 2] =
    [("message.timestamp.after.max.ms", "9223372036854775807"), ("retention.ms", "-1")];
const LOG_APPEND_TIME_SETTING: (&str, &str) = ("message.timestamp.type", "LogAppendTime");

fn create_lane_topics(topics: &TestTopics<'_>, lanes: &[Arc<Lane>]) {
    let mut made = std::collections::BTreeSet::new();
    for lane in lanes {
        let plan = lane.transport_plan();
        for source in plan.sources.iter().map(|source| source.topic.clone()) {
            if made.insert(source.clone()) {
                topics.create(
                    &source,
                    1,
                    &[&ANY_TIMESTAMP_SETTINGS[..], &[LOG_APPEND_TIME_SETTING]].concat(),
                );
            }
        }
        for output in plan.outputs.iter().map(|output| output.topic.clone()) {
            if made.insert(output.clone()) {
                topics.create(&output, 1, &ANY_TIMESTAMP_SETTINGS);
            }
        }
    }
}

/// One run to the end, as a nightly process makes it, at the clock's time.
fn run_nightly(topics: &TestTopics<'_>, lane: &Arc<Lane>, clock: &Arc<AtomicI64>) {
    let mut plan = lane.transport_plan();
    plan.fingerprinter = Some(zeef_test_kit::worker::state_keys().fingerprinter());
    let settings = topics.kafka_settings();
    let transport = KafkaTransport::open(settings, plan, 0, StopSignal::default()).unwrap();
    let ended = new_worker(lane, transport, DeploymentSetup::DEFAULT, clock).run();
    assert_eq!(ended, Ok(WorkerExit::EndOfInput));
}

/// What a reader of a topic sees, in the order of offsets. Between two transactions
/// lies a commit marker, which takes an offset.
fn to_observations(library: &LibraryFixture, rows: &[ConsumedMessage]) -> Vec<Observation> {
    let first = library.run_time_ms(0).div_euclid(DAY_MS);
    let mut next = 0;
    let mut of_night = BTreeMap::<usize, u64>::new();
    let mut seen = Vec::new();
    for row in rows {
        let day = row.timestamp_ms.unwrap().div_euclid(DAY_MS) - first;
        let night = usize::try_from(day).unwrap();
        let transaction = of_night.entry(night).or_default();
        *transaction += u64::from(row.offset != next);
        next = row.offset + 1;
        seen.push(Observation {
            key: row.key_text().to_owned(),
            value: row.value_text().map(|text| serde_json::from_str(text).unwrap()),
            day: night,
            transaction: night as u64 * 1_000 + *transaction,
        });
    }
    seen
}

#[test]
fn s08_partner_joins_no_more_outputs_than_by_chance() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topics = TestTopics::new(broker, "joins");
    let lanes = compile_lanes(false);
    create_lane_topics(&topics, &lanes);
    let writer = TestProducer::new(broker, ProducerPartitioner::Murmur2);
    let clock = Arc::new(AtomicI64::new(0));
    // February begins on the 4th night.
    let library = LibraryFixture::new(400, jiff::civil::date(2026, 1, 28), 6);
    for (day, events) in library.events_by_day.iter().enumerate() {
        let mut by_source = BTreeMap::<&str, Vec<ProducerRecord>>::new();
        for event in events {
            let records = by_source.entry(event.source).or_default();
            records.push(ProducerRecord::new(&event.key, &event.value));
        }
        for source in ["patron", "loan"] {
            let records = by_source.remove(source).unwrap_or_default();
            writer.write_records(&topics.full_name(source), &records);
        }
        clock.store(library.run_time_ms(day), Ordering::Relaxed);
        for lane in &lanes {
            run_nightly(&topics, lane, &clock);
        }
    }
    let read = |recipient: &str| topics.read_committed(&format!("out.{recipient}"));
    let (messages, statistics) = (read(SERVICE_MESSAGE), read(STATISTICS));
    let (messages, published) =
        (to_observations(&library, &messages), to_observations(&library, &statistics));
    // In the first run of a month, in one transaction each, and in no other run.
    let runs = published.chunk_by(|one, next| one.transaction == next.transaction);
    let runs: Vec<&[Observation]> = runs.collect();
    let nights: Vec<usize> = runs.iter().map(|run| run[0].day).collect();
    assert_eq!(nights, [4]);
    for run in runs {
        assert!(run.len() > 40, "{}", run.len());
        assert!(run.is_sorted_by_key(|one| &one.key));
    }
    // Neither time of day nor header differs from row to row; what is taken back has the day and
    // an id beside that.
    for row in &statistics {
        assert_eq!(row.timestamp_ms.unwrap() % DAY_MS, 0);
        let (common, own) = row.headers.split_at(3);
        assert_eq!(common, &statistics[0].headers[..3]);
        let names: Vec<&str> = own.iter().map(|(name, _)| name.as_str()).collect();
        match row.value {
            Some(_) => assert!(names.is_empty(), "{names:?}"),
            None => {
                let want = ["zeef-retraction-reason", "zeef-retraction-time", "zeef-retraction-id"];
                assert_eq!(names, want);
                assert_eq!(own[0].1.as_deref(), Some(&b"ended"[..]));
            }
        }
    }
    for (way, score) in join_outputs(&library, (&messages, &published)) {
        eprintln!("by {way}: {score:?}");
        assert!(score.is_no_better_than_chance(), "by {way}: {score:?}");
    }
    let (follow, all) = count_adjacent_pairs(&library, (&messages, &published));
    eprintln!("neighbours: {follow} of {all}");
    assert!(follow <= 10 && all > 30, "{follow} of {all}");
}
