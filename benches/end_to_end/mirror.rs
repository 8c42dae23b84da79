//! The bare mirror: reads the source and writes as many messages for each record
//! as zeef does, four outputs and a row of the state, with the settings of zeef's own clients. It parses nothing and decides
//! nothing; what it writes are outputs of zeef, taken from a file by turns, so
//! that they are the same number of the same bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use zeef::daemon::worker::BatchBounds;
use zeef::transport::kafka::tuning::{self, Tuned};

use crate::options::MirrorOrder;

const CALL: Duration = Duration::from_secs(60);
/// With zeef's own queue it would be slower by a tenth: it has many times the
/// memory.
const QUEUE: (&str, &str) = ("queue.buffering.max.kbytes", "262144");
/// How long a poll waits: as zeef's.
const WAIT: Duration = Duration::from_millis(20);
const DRAIN: Duration = Duration::from_millis(10);
/// After how many records delivery reports are fetched.
const SERVE: u64 = 1_000;

/// One output: key and value.
pub type Output = (Vec<u8>, Vec<u8>);

/// Writes outputs to a file for [`run`].
pub fn save(path: &std::path::Path, outputs: &[Output]) {
    let mut bytes = Vec::new();
    for part in outputs.iter().flat_map(|(key, value)| [key, value]) {
        bytes.extend_from_slice(&u32::try_from(part.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(part);
    }
    std::fs::write(path, bytes).expect("the sample can be written");
}

fn load(path: &str) -> Vec<Output> {
    let bytes = std::fs::read(path).expect("the sample can be read");
    let mut rest = &bytes[..];
    let mut take = || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (part, after) = after.split_at_checked(length)?;
        rest = after;
        Some(part.to_vec())
    };
    std::iter::from_fn(|| Some((take()?, take()?))).collect()
}

/// Mirrors until all workers together have read the records of the order.
pub fn run(order: &MirrorOrder) {
    let sample = load(&order.sample);
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for number in 0..order.workers {
            let (sample, done) = (&sample, &done);
            scope.spawn(move || Mirror::new(order, number).work(sample, done, order.records));
        }
    });
}

struct Mirror<'a> {
    order: &'a MirrorOrder,
    consumer: Arc<BaseConsumer>,
    producer: BaseProducer,
    headers: OwnedHeaders,
    bounds: BatchBounds,
    batch: Batch,
}

/// The open transaction.
#[derive(Default)]
struct Batch {
    since: Option<Instant>,
    records: u64,
    /// The next offset of each partition.
    positions: Vec<(i32, i64)>,
}

impl<'a> Mirror<'a> {
    fn new(order: &'a MirrorOrder, number: usize) -> Self {
        let mut member = client(order, tuning::MEMBER);
        let auto = if order.transactions { "false" } else { "true" };
        member
            .set("group.id", &order.group)
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", auto)
            .set("partition.assignment.strategy", "range");
        let consumer: BaseConsumer = member.create().expect("a consumer");
        consumer.subscribe(&[&order.source]).expect("subscribes");
        let mut outlet = client(order, tuning::PRODUCER);
        outlet
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random");
        if order.transactions {
            outlet.set("transactional.id", format!("{}-{number}", order.group));
        }
        let producer: BaseProducer = outlet.create().expect("a producer");
        if order.transactions {
            producer.init_transactions(CALL).expect("transactions");
        }
        let headers = [
            ("content-type", "application/json"),
            ("zeef-policy-version", "0123456789abcdef"),
        ]
        .into_iter()
        .fold(
            OwnedHeaders::new_with_capacity(2),
            |headers, (key, value)| {
                let value = Some(value);
                headers.insert(Header { key, value })
            },
        );
        Self {
            order,
            consumer: Arc::new(consumer),
            producer,
            headers,
            bounds: BatchBounds::default(),
            batch: Batch::default(),
        }
    }

    fn work(&mut self, sample: &[Output], done: &AtomicU64, records: u64) {
        let mut sets = sample.chunks_exact(self.order.outputs.len()).cycle();
        let consumer = Arc::clone(&self.consumer);
        while done.load(Ordering::Relaxed) < records {
            match consumer.poll(WAIT) {
                None => {}
                Some(Err(error)) => eprintln!("mirror: {error}"),
                Some(Ok(message)) => {
                    self.begin();
                    let time = message.timestamp().to_millis();
                    let set = sets.next().expect("there is a sample");
                    for (topic, (key, value)) in self.order.outputs.iter().zip(set) {
                        let mut record = BaseRecord::to(topic)
                            .key(&key[..])
                            .payload(&value[..])
                            .headers(self.headers.clone());
                        record.timestamp = time;
                        self.send(record);
                    }
                    self.batch.records += 1;
                    note(
                        &mut self.batch.positions,
                        message.partition(),
                        message.offset(),
                    );
                    if done.fetch_add(1, Ordering::Relaxed).is_multiple_of(SERVE) {
                        self.producer.poll(Duration::ZERO);
                    }
                }
            }
            if self.due() {
                self.commit();
            }
        }
        self.commit();
        self.drain();
    }

    fn send(&self, record: BaseRecord<'_, [u8], [u8]>) {
        let mut record = record;
        while let Err((error, back)) = self.producer.send(record) {
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            assert!(full, "an output is taken: {error}");
            record = back;
            self.producer.poll(DRAIN);
        }
    }

    fn begin(&mut self) {
        if self.order.transactions && self.batch.since.is_none() {
            self.batch.since = Some(Instant::now());
            self.producer.begin_transaction().expect("begins");
        }
    }

    fn due(&self) -> bool {
        self.batch.since.is_some_and(|since| {
            self.batch.records >= self.bounds.records || since.elapsed() >= self.bounds.wait
        })
    }

    fn commit(&mut self) {
        if self.batch.since.is_none() {
            return;
        }
        self.drain();
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in &self.batch.positions {
            offsets
                .add_partition_offset(&self.order.source, *partition, Offset::Offset(*offset))
                .expect("an offset");
        }
        let group = self.consumer.group_metadata().expect("a group");
        self.producer
            .send_offsets_to_transaction(&offsets, &group, CALL)
            .expect("offsets are sent");
        self.producer.commit_transaction(CALL).expect("commits");
        self.batch = Batch::default();
    }

    fn drain(&self) {
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(DRAIN);
        }
    }
}

fn note(positions: &mut Vec<(i32, i64)>, partition: i32, offset: i64) {
    match positions.iter_mut().find(|(known, _)| *known == partition) {
        Some((_, position)) => *position = offset + 1,
        None => positions.push((partition, offset + 1)),
    }
}

fn client(order: &MirrorOrder, tuned: &[Tuned]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &order.brokers);
    for Tuned { name, value, .. } in tuned {
        config.set(*name, *value);
    }
    if tuned.iter().any(|tuned| tuned.name == QUEUE.0) {
        config.set(QUEUE.0, QUEUE.1);
    }
    for (name, value) in &order.properties {
        config.set(name, value);
    }
    config
}
