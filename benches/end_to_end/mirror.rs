//! The bare mirror: reads the source and writes as many messages for each record
//! as zeef does, with the settings of zeef's own clients. It parses nothing and decides
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
use zeef::transport::kafka::tuning::{self, TunedProperty};

const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// With zeef's own queue it would be slower by a tenth: it has many times the
/// memory.
const QUEUE_KBYTES: (&str, &str) = ("queue.buffering.max.kbytes", "262144");
/// How long a poll waits: as zeef's.
const POLL_TIMEOUT: Duration = Duration::from_millis(20);
const DRAIN_POLL_TIMEOUT: Duration = Duration::from_millis(10);
/// After how many records delivery reports are fetched.
const POLL_PRODUCER_EVERY: u64 = 1_000;

/// One output: key and value.
pub type MirrorMessage = (Vec<u8>, Vec<u8>);

/// The first argument of a child that is to be a mirror.
pub const MIRROR_WORD: &str = "mirror";

/// What a mirror needs to know, as it stands on its command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorArgs {
    pub brokers: String,
    pub source: String,
    /// The topics that each record is written to, separated by commas.
    pub outputs: Vec<String>,
    pub group: String,
    pub workers: usize,
    pub transactions: bool,
    /// Whether messages have headers, as outputs for recipients do.
    pub headers: bool,
    /// It ends after so many records.
    pub records: u64,
    /// A file of outputs to be written, by turns.
    pub sample: String,
    pub properties: Vec<(String, String)>,
}

impl MirrorArgs {
    /// The order as arguments of a child.
    pub fn to_arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            MIRROR_WORD.to_owned(),
            self.brokers.clone(),
            self.source.clone(),
            self.outputs.join(","),
            self.group.clone(),
            self.workers.to_string(),
            self.transactions.to_string(),
            self.headers.to_string(),
            self.records.to_string(),
            self.sample.clone(),
        ];
        let properties = self.properties.iter();
        arguments.extend(properties.map(|(name, value)| format!("{name}={value}")));
        arguments
    }

    /// Reads the words behind [`MIRROR_WORD`].
    pub fn from_words(mut words: impl Iterator<Item = String>) -> Option<Self> {
        Some(Self {
            brokers: words.next()?,
            source: words.next()?,
            outputs: words.next()?.split(',').map(str::to_owned).collect(),
            group: words.next()?,
            workers: words.next()?.parse().ok()?,
            transactions: words.next()?.parse().ok()?,
            headers: words.next()?.parse().ok()?,
            records: words.next()?.parse().ok()?,
            sample: words.next()?,
            properties: words.filter_map(|word| parse_property(&word)).collect(),
        })
    }
}

/// Reads `NAME=VALUE`.
pub fn parse_property(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    Some((name.to_owned(), value.to_owned()))
}

/// Writes outputs to a file for [`run_mirror`].
pub fn save_sample(path: &std::path::Path, outputs: &[MirrorMessage]) {
    let mut bytes = Vec::new();
    for part in outputs.iter().flat_map(|(key, value)| [key, value]) {
        bytes.extend_from_slice(&u32::try_from(part.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(part);
    }
    std::fs::write(path, bytes).expect("the sample can be written");
}

fn load_sample(path: &str) -> Vec<MirrorMessage> {
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
pub fn run_mirror(args: &MirrorArgs) {
    let sample = load_sample(&args.sample);
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for number in 0..args.workers {
            let (sample, done) = (&sample, &done);
            scope.spawn(move || Mirror::new(args, number).run_worker(sample, done, args.records));
        }
    });
}

struct Mirror<'a> {
    args: &'a MirrorArgs,
    consumer: Arc<BaseConsumer>,
    producer: BaseProducer,
    headers: OwnedHeaders,
    bounds: BatchBounds,
    transaction: OpenTransaction,
}

/// The open transaction.
#[derive(Default)]
struct OpenTransaction {
    started: Option<Instant>,
    records: u64,
    /// The next offset of each partition.
    next_offsets: Vec<(i32, i64)>,
}

impl<'a> Mirror<'a> {
    fn new(args: &'a MirrorArgs, number: usize) -> Self {
        let mut member = client_config(args, tuning::MEMBER);
        let auto = if args.transactions { "false" } else { "true" };
        member
            .set("group.id", &args.group)
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", auto)
            .set("partition.assignment.strategy", "range");
        let consumer: BaseConsumer = member.create().expect("a consumer");
        consumer.subscribe(&[&args.source]).expect("subscribes");
        let mut outlet = client_config(args, tuning::PRODUCER);
        outlet
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random");
        if args.transactions {
            outlet.set("transactional.id", format!("{}-{number}", args.group));
        }
        let producer: BaseProducer = outlet.create().expect("a producer");
        if args.transactions {
            producer.init_transactions(CALL_TIMEOUT).expect("transactions");
        }
        let headers =
            [("content-type", "application/json"), ("zeef-policy-version", "0123456789abcdef")]
                .into_iter()
                .fold(OwnedHeaders::new_with_capacity(2), |headers, (key, value)| {
                    let value = Some(value);
                    headers.insert(Header { key, value })
                });
        Self {
            args,
            consumer: Arc::new(consumer),
            producer,
            headers,
            bounds: BatchBounds::default(),
            transaction: OpenTransaction::default(),
        }
    }

    fn run_worker(&mut self, sample: &[MirrorMessage], done: &AtomicU64, records: u64) {
        let mut sets = sample.chunks_exact(self.args.outputs.len()).cycle();
        let consumer = Arc::clone(&self.consumer);
        while done.load(Ordering::Relaxed) < records {
            match consumer.poll(POLL_TIMEOUT) {
                None => {}
                Some(Err(error)) => eprintln!("mirror: {error}"),
                Some(Ok(message)) => {
                    self.begin();
                    let time = message.timestamp().to_millis();
                    let set = sets.next().expect("there is a sample");
                    for (topic, (key, value)) in self.args.outputs.iter().zip(set) {
                        let mut record = BaseRecord::to(topic).key(&key[..]).payload(&value[..]);
                        if self.args.headers {
                            record = record.headers(self.headers.clone());
                        }
                        record.timestamp = time;
                        self.send(record);
                    }
                    self.transaction.records += 1;
                    advance_offset(
                        &mut self.transaction.next_offsets,
                        message.partition(),
                        message.offset(),
                    );
                    if done.fetch_add(1, Ordering::Relaxed).is_multiple_of(POLL_PRODUCER_EVERY) {
                        self.producer.poll(Duration::ZERO);
                    }
                }
            }
            if self.is_commit_due() {
                self.commit();
            }
        }
        self.commit();
        self.await_deliveries();
    }

    fn send(&self, record: BaseRecord<'_, [u8], [u8]>) {
        let mut record = record;
        while let Err((error, back)) = self.producer.send(record) {
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            assert!(full, "an output is taken: {error}");
            record = back;
            self.producer.poll(DRAIN_POLL_TIMEOUT);
        }
    }

    fn begin(&mut self) {
        if self.args.transactions && self.transaction.started.is_none() {
            self.transaction.started = Some(Instant::now());
            self.producer.begin_transaction().expect("begins");
        }
    }

    fn is_commit_due(&self) -> bool {
        self.transaction.started.is_some_and(|since| {
            self.transaction.records >= self.bounds.records
                || since.elapsed() >= self.bounds.max_wait
        })
    }

    fn commit(&mut self) {
        if self.transaction.started.is_none() {
            return;
        }
        self.await_deliveries();
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in &self.transaction.next_offsets {
            offsets
                .add_partition_offset(&self.args.source, *partition, Offset::Offset(*offset))
                .expect("an offset");
        }
        let group = self.consumer.group_metadata().expect("a group");
        self.producer
            .send_offsets_to_transaction(&offsets, &group, CALL_TIMEOUT)
            .expect("offsets are sent");
        self.producer.commit_transaction(CALL_TIMEOUT).expect("commits");
        self.transaction = OpenTransaction::default();
    }

    fn await_deliveries(&self) {
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(DRAIN_POLL_TIMEOUT);
        }
    }
}

fn advance_offset(positions: &mut Vec<(i32, i64)>, partition: i32, offset: i64) {
    match positions.iter_mut().find(|(known, _)| *known == partition) {
        Some((_, position)) => *position = offset + 1,
        None => positions.push((partition, offset + 1)),
    }
}

fn client_config(args: &MirrorArgs, tuned: &[TunedProperty]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &args.brokers);
    for TunedProperty { name, value, .. } in tuned {
        config.set(*name, *value);
    }
    if tuned.iter().any(|tuned| tuned.name == QUEUE_KBYTES.0) {
        config.set(QUEUE_KBYTES.0, QUEUE_KBYTES.1);
    }
    for (name, value) in &args.properties {
        config.set(name, value);
    }
    config
}
