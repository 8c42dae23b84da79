//! How long a record takes until a partner can read what came of it, at a
//! steady pace: from its producer to a read_committed consumer of one output.
//!
//! Through zeef the time of a record is one of its fields, through a mirror
//! the timestamp of the message.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::child_process::MeasuredChild;
use crate::kafka_fixture::KafkaFixture;
use crate::patron_source::{self, PatronGenerator};
use crate::run::{self, Competitor};

/// The output that holds the time of the record's last change.
const WATCHED_TOPIC_SUFFIX: &str = ".programming";
const UPDATED_AT_PREFIX: &[u8] = b"\"updated_at\":\"";
const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the last outputs may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// Milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

/// Runs `way` at `rate` records a second for so many seconds.
pub fn measure_latency(
    fixture: &KafkaFixture,
    competitor: Competitor,
    workers: usize,
    rate: f64,
    seconds: u64,
) -> Latency {
    let run = fixture.new_run(None, workers, competitor == Competitor::SecondBuild);
    fixture.create_topics(&run, 1, false);
    let mut command = run::child_command(fixture, competitor, &run, workers, u64::MAX);
    if competitor.is_zeef() {
        command.args(["--admin", "none"]);
    }
    let child = MeasuredChild::spawn(&mut command);
    let watched = run.outputs.iter().find(|name| name.ends_with(WATCHED_TOPIC_SUFFIX));
    let consumer = partner_consumer(fixture, watched.expect("the output is there"));
    let topic = format!("{}patron", run.prefix);
    // One record after the other, until the first comes through.
    let producer = fixture.source_producer("1");
    let mut patrons = PatronGenerator::new(usize::MAX);
    let started = Instant::now();
    let mut sent = 0;
    while consumer.poll(Duration::from_millis(500)).is_none() {
        assert!(started.elapsed() < STARTUP_TIMEOUT, "{} begins to work", competitor.name());
        patron_source::send_record(
            &producer,
            &topic,
            patrons.patron_changed_at(sent, &now_rfc3339()),
        );
        producer.poll(Duration::ZERO);
        sent += 1;
    }
    let run_time = Duration::from_secs(seconds.max(1));
    // The first fifth is for getting into the pace.
    let from_ms = now_ms() + i64::try_from(run_time.as_millis() / 5).unwrap();
    let mut latencies_ms = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (begun, before) = (Instant::now(), sent);
            while begun.elapsed() < run_time {
                let due = before + (begun.elapsed().as_secs_f64() * rate) as u64;
                let time = now_rfc3339();
                for number in sent..due {
                    patron_source::send_record(
                        &producer,
                        &topic,
                        patrons.patron_changed_at(number, &time),
                    );
                }
                sent = sent.max(due);
                producer.poll(Duration::ZERO);
                std::thread::sleep(Duration::from_millis(1));
            }
            patron_source::flush(&producer);
        });
        let mut latencies_ms = Vec::new();
        let mut last = Instant::now();
        while !writer.is_finished() || last.elapsed() < Duration::from_millis(700) {
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else {
                continue;
            };
            let (created_ms, seen_ms) = (record_created_ms(competitor, &message), now_ms());
            if created_ms >= from_ms {
                latencies_ms.push(seen_ms - created_ms);
            }
            last = Instant::now();
            assert!(started.elapsed() < STARTUP_TIMEOUT + run_time + DRAIN_TIMEOUT, "outputs come");
        }
        latencies_ms
    });
    drop(child);
    latencies_ms.sort_unstable();
    assert!(!latencies_ms.is_empty(), "{} writes outputs", competitor.name());
    let at = |share: f64| latencies_ms[((latencies_ms.len() - 1) as f64 * share) as usize] as f64;
    Latency { p50: at(0.5), p99: at(0.99), max: at(1.0) }
}

/// A consumer of one output, as a partner has one.
fn partner_consumer(fixture: &KafkaFixture, topic: &str) -> BaseConsumer {
    let consumer: BaseConsumer = fixture
        .client_config()
        .set("group.id", format!("partner.{topic}"))
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).expect("a partition");
    consumer.assign(&list).expect("assigns");
    consumer
}

fn record_created_ms(competitor: Competitor, message: &BorrowedMessage<'_>) -> i64 {
    if !competitor.is_zeef() {
        return message.timestamp().to_millis().expect("a timestamp");
    }
    let value = message.payload().expect("a value");
    let place = value.windows(UPDATED_AT_PREFIX.len()).rposition(|w| w == UPDATED_AT_PREFIX);
    let text = &value[place.expect("the field is there") + UPDATED_AT_PREFIX.len()..];
    let text = text.split(|&byte| byte == b'"').next().expect("a text");
    let text = std::str::from_utf8(text).expect("UTF-8");
    let time: jiff::Timestamp = text.parse().expect("an instant");
    time.as_millisecond()
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn now_rfc3339() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}
