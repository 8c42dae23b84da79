//! Writing to Kafka as the systems around zeef do, with and without
//! transactions, and as badly as they sometimes do.

use std::sync::Mutex;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::Broker;

const WAIT: Duration = Duration::from_secs(30);
/// What the broker takes is for the topic to say.
pub(crate) const LARGE_BYTES: usize = 4 << 20;

/// A message to be written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    partition: Option<i32>,
    timestamp_ms: Option<i64>,
    headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    pub(crate) fn new(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        Self {
            key: Some(key.as_ref().to_owned()),
            value: Some(value.as_ref().to_owned()),
            ..Self::default()
        }
    }

    pub(crate) fn tombstone(key: impl AsRef<[u8]>) -> Self {
        Self {
            key: Some(key.as_ref().to_owned()),
            ..Self::default()
        }
    }

    pub(crate) fn keyless(value: impl AsRef<[u8]>) -> Self {
        Self {
            value: Some(value.as_ref().to_owned()),
            ..Self::default()
        }
    }

    /// Names the partition, which is otherwise left to the key.
    pub(crate) fn to(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    pub(crate) fn at(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_owned(), value.as_ref().to_owned()));
        self
    }
}

/// How a key leads to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Partitioner {
    /// As Java clients do.
    Murmur2,
    /// As librdkafka does by default.
    Crc32,
}

impl Partitioner {
    fn property(self) -> &'static str {
        match self {
            Self::Murmur2 => "murmur2_random",
            Self::Crc32 => "consistent_random",
        }
    }
}

/// A producer that keeps what could not be delivered.
pub(crate) struct Writer(BaseProducer<Failures>);

/// The first failed delivery since it was last looked at.
#[derive(Default)]
pub(crate) struct Failures(Mutex<Option<KafkaError>>);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.0.lock().unwrap().get_or_insert(error.clone());
        }
    }
}

impl Writer {
    pub(crate) fn new(broker: &Broker, partitioner: Partitioner) -> Self {
        Self::with(broker, &[("partitioner", partitioner.property())])
    }

    /// A producer with transactions, which has just taken over `id`: whoever
    /// had it is fenced, and its open transaction is aborted.
    pub(crate) fn transactional(broker: &Broker, id: &str, timeout: Duration) -> Self {
        let timeout_ms = timeout.as_millis().to_string();
        let writer = Self::with(
            broker,
            &[
                ("partitioner", Partitioner::Murmur2.property()),
                ("transactional.id", id),
                ("transaction.timeout.ms", &timeout_ms),
                ("message.timeout.ms", &timeout_ms),
            ],
        );
        writer.producer().init_transactions(WAIT).unwrap();
        writer
    }

    fn with(broker: &Broker, properties: &[(&str, &str)]) -> Self {
        let mut config = broker.client();
        config
            .set("linger.ms", "1")
            // A broker that was killed is found again at once.
            .set("reconnect.backoff.max.ms", "500")
            .set("message.max.bytes", LARGE_BYTES.to_string());
        for (name, value) in properties {
            config.set(*name, *value);
        }
        Self(BaseProducer::from_config_and_context(&config, Failures::default()).unwrap())
    }

    pub(crate) fn producer(&self) -> &BaseProducer<Failures> {
        &self.0
    }

    #[track_caller]
    pub(crate) fn begin(&self) {
        self.0.begin_transaction().unwrap();
    }

    /// Writes `records`; when this returns the broker has them.
    #[track_caller]
    pub(crate) fn write(&self, topic: &str, records: &[Record]) {
        self.try_write(topic, records).unwrap();
    }

    /// As [`write`](Self::write), where refusal is what a test expects.
    pub(crate) fn try_write(&self, topic: &str, records: &[Record]) -> KafkaResult<()> {
        self.write_within(WAIT, topic, records)
    }

    /// As [`try_write`](Self::try_write), with a deadline of its own.
    pub(crate) fn write_within(
        &self,
        deadline: Duration,
        topic: &str,
        records: &[Record],
    ) -> KafkaResult<()> {
        for record in records {
            self.send(topic, record)?;
        }
        self.0.flush(deadline)?;
        match self.0.context().0.lock().unwrap().take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn send(&self, topic: &str, record: &Record) -> KafkaResult<()> {
        let mut message: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
        message.key = record.key.as_deref();
        message.payload = record.value.as_deref();
        message.partition = record.partition;
        message.timestamp = record.timestamp_ms;
        if !record.headers.is_empty() {
            message.headers = Some(headers(&record.headers));
        }
        loop {
            match self.0.send(message) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    message = back;
                    self.0.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    #[track_caller]
    pub(crate) fn commit(&self) {
        self.0.commit_transaction(WAIT).unwrap();
    }

    #[track_caller]
    pub(crate) fn abort(&self) {
        self.0.abort_transaction(WAIT).unwrap();
    }

    /// Goes away as a crashed process does: what is open stays open.
    pub(crate) fn die(self) {
        drop(self);
    }
}

fn headers(list: &[(String, Vec<u8>)]) -> OwnedHeaders {
    list.iter()
        .fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header {
                key,
                value: Some(value),
            })
        })
}
