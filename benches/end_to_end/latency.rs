//! How long a record takes until a partner can read what came of it, at a
//! steady pace: from its producer to a read_committed consumer of one output.
//!
//! Through zeef the time of a record is one of its fields, through a mirror
//! the timestamp of the message.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::child::Guarded;
use crate::run::{self, Way};
use crate::scene::Scene;
use crate::source::{self, Patrons};

/// The output that holds the time of the record's last change.
const WATCHED: &str = ".programming";
const FIELD: &[u8] = b"\"updated_at\":\"";
const START: Duration = Duration::from_secs(60);
/// How long the last outputs may take.
const LATE: Duration = Duration::from_secs(20);

/// Milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

/// Runs `way` at `rate` records a second for so many seconds.
pub fn measure(scene: &Scene, way: Way, workers: usize, rate: f64, seconds: u64) -> Latency {
    let run = scene.run(None, workers, way == Way::Beside);
    scene.create(&run, 1, false);
    let mut command = run::command(scene, way, &run, workers, u64::MAX);
    if way.is_zeef() {
        command.args(["--admin", "none"]);
    }
    let child = Guarded::spawn(&mut command);
    let watched = run.outputs.iter().find(|name| name.ends_with(WATCHED));
    let consumer = partner(scene, watched.expect("the output is there"));
    let topic = format!("{}patron", run.prefix);
    // One record after the other, until the first comes through.
    let producer = scene.producer("1");
    let mut patrons = Patrons::new(usize::MAX);
    let started = Instant::now();
    let mut sent = 0;
    while consumer.poll(Duration::from_millis(500)).is_none() {
        assert!(started.elapsed() < START, "{} begins to work", way.name());
        source::send(&producer, &topic, patrons.changed(sent, &now()));
        producer.poll(Duration::ZERO);
        sent += 1;
    }
    let whole = Duration::from_secs(seconds.max(1));
    // The first fifth is for getting into the pace.
    let from_ms = now_ms() + i64::try_from(whole.as_millis() / 5).unwrap();
    let mut found = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (begun, before) = (Instant::now(), sent);
            while begun.elapsed() < whole {
                let due = before + (begun.elapsed().as_secs_f64() * rate) as u64;
                let time = now();
                for number in sent..due {
                    source::send(&producer, &topic, patrons.changed(number, &time));
                }
                sent = sent.max(due);
                producer.poll(Duration::ZERO);
                std::thread::sleep(Duration::from_millis(1));
            }
            source::finish(&producer);
        });
        let mut found = Vec::new();
        let mut last = Instant::now();
        while !writer.is_finished() || last.elapsed() < Duration::from_millis(700) {
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else {
                continue;
            };
            let (created_ms, seen_ms) = (created_ms(way, &message), now_ms());
            if created_ms >= from_ms {
                found.push(seen_ms - created_ms);
            }
            last = Instant::now();
            assert!(started.elapsed() < START + whole + LATE, "outputs come");
        }
        found
    });
    drop(child);
    found.sort_unstable();
    assert!(!found.is_empty(), "{} writes outputs", way.name());
    let at = |share: f64| found[((found.len() - 1) as f64 * share) as usize] as f64;
    Latency {
        p50: at(0.5),
        p99: at(0.99),
        max: at(1.0),
    }
}

/// A consumer of one output, as a partner has one.
fn partner(scene: &Scene, topic: &str) -> BaseConsumer {
    let consumer: BaseConsumer = scene
        .client()
        .set("group.id", format!("partner.{topic}"))
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning)
        .expect("a partition");
    consumer.assign(&list).expect("assigns");
    consumer
}

fn created_ms(way: Way, message: &BorrowedMessage<'_>) -> i64 {
    if !way.is_zeef() {
        return message.timestamp().to_millis().expect("a timestamp");
    }
    let value = message.payload().expect("a value");
    let place = value.windows(FIELD.len()).rposition(|w| w == FIELD);
    let text = &value[place.expect("the field is there") + FIELD.len()..];
    let text = text.split(|&byte| byte == b'"').next().expect("a text");
    let text = std::str::from_utf8(text).expect("UTF-8");
    let time: jiff::Timestamp = text.parse().expect("an instant");
    time.as_millisecond()
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}
