//! The test that plays the partner, on a real Kafka: who reads the topics of
//! service-message, with the names, and of statistics, with their offsets, commit
//! markers, headers and timestamps, pairs no more rows than by chance.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use zeef::daemon::worker::Ended;
use zeef::engine::lane::Lane;
use zeef::transport::Stop;
use zeef::transport::kafka::KafkaTransport;

use crate::attack::{Sighting, join, neighbours};
use crate::harness::{Broker, Partitioner, Record, Row, Topics, Writer};
use crate::site::{self, Setup, worker};
use crate::town::{MESSAGES, STATISTICS, Town, lanes};

const DAY_MS: i64 = 86_400_000;
/// The clock of the town is another one than the broker's.
const ANY_TIME: [(&str, &str); 2] = [
    ("message.timestamp.after.max.ms", "9223372036854775807"),
    ("retention.ms", "-1"),
];
const BROKERS_TIME: (&str, &str) = ("message.timestamp.type", "LogAppendTime");

fn create(topics: &Topics<'_>, lanes: &[Arc<Lane>]) {
    let mut made = std::collections::BTreeSet::new();
    for lane in lanes {
        let plan = lane.plan();
        for source in plan.sources.iter().map(|source| source.topic.clone()) {
            if made.insert(source.clone()) {
                topics.create(&source, 1, &[&ANY_TIME[..], &[BROKERS_TIME]].concat());
            }
        }
        for output in plan.outputs.iter().map(|output| output.topic.clone()) {
            if made.insert(output.clone()) {
                topics.create(&output, 1, &ANY_TIME);
            }
        }
    }
}

/// One run to the end, as a nightly process makes it, at the clock's time.
fn night(topics: &Topics<'_>, lane: &Arc<Lane>, clock: &Arc<AtomicI64>) {
    let mut plan = lane.plan();
    plan.prints = Some(site::namer().fingerprinter());
    let settings = topics.worker_settings();
    let transport = KafkaTransport::open(settings, plan, 0, Stop::default()).unwrap();
    let ended = worker(lane, transport, Setup::PLAIN, clock).run();
    assert_eq!(ended, Ok(Ended::AtEnd));
}

/// What a reader of a topic sees, in the order of offsets. Between two transactions
/// lies a commit marker, which takes an offset.
fn seen(town: &Town, rows: &[Row]) -> Vec<Sighting> {
    let first = town.night_ms(0).div_euclid(DAY_MS);
    let mut next = 0;
    let mut of_night = BTreeMap::<usize, u64>::new();
    let mut seen = Vec::new();
    for row in rows {
        let day = row.timestamp_ms.unwrap().div_euclid(DAY_MS) - first;
        let night = usize::try_from(day).unwrap();
        let transaction = of_night.entry(night).or_default();
        *transaction += u64::from(row.offset != next);
        next = row.offset + 1;
        seen.push(Sighting {
            key: row.key_text().to_owned(),
            value: row.text().map(|text| serde_json::from_str(text).unwrap()),
            night,
            transaction: night as u64 * 1_000 + *transaction,
        });
    }
    seen
}

#[test]
fn a_partner_joins_no_more_rows_than_by_chance() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let topics = Topics::new(broker, "joins");
    let lanes = lanes(false);
    create(&topics, &lanes);
    let writer = Writer::new(broker, Partitioner::Murmur2);
    let clock = Arc::new(AtomicI64::new(0));
    // February begins on the 4th night.
    let town = Town::new(400, jiff::civil::date(2026, 1, 28), 6);
    for (day, events) in town.days.iter().enumerate() {
        let mut by_source = BTreeMap::<&str, Vec<Record>>::new();
        for event in events {
            let records = by_source.entry(event.source).or_default();
            records.push(Record::new(&event.key, &event.value));
        }
        for source in ["patron", "loan"] {
            let records = by_source.remove(source).unwrap_or_default();
            writer.write(&topics.name(source), &records);
        }
        clock.store(town.night_ms(day), Ordering::Relaxed);
        for lane in &lanes {
            night(&topics, lane, &clock);
        }
    }
    let read = |recipient: &str| topics.committed(&format!("out.{recipient}"));
    let (messages, statistics) = (read(MESSAGES), read(STATISTICS));
    let (messages, published) = (seen(&town, &messages), seen(&town, &statistics));
    // In the first run of a month, in one transaction each, and in no other run.
    let runs = published.chunk_by(|one, next| one.transaction == next.transaction);
    let runs: Vec<&[Sighting]> = runs.collect();
    let nights: Vec<usize> = runs.iter().map(|run| run[0].night).collect();
    assert_eq!(nights, [4]);
    for run in runs {
        assert!(run.len() > 40, "{}", run.len());
        assert!(run.is_sorted_by_key(|one| &one.key));
    }
    // Neither time of day nor header differs from row to row.
    for row in &statistics {
        assert_eq!(row.timestamp_ms.unwrap() % DAY_MS, 0);
        assert_eq!(row.headers, statistics[0].headers);
    }
    for (way, score) in join(&town, (&messages, &published)) {
        eprintln!("by {way}: {score:?}");
        assert!(score.is_chance(), "by {way}: {score:?}");
    }
    let (follow, all) = neighbours(&town, (&messages, &published));
    eprintln!("neighbours: {follow} of {all}");
    assert!(follow <= 10 && all > 30, "{follow} of {all}");
}
