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

const WAIT_TIMEOUT: Duration = Duration::from_secs(90);
/// What the broker takes is for the topic to say.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// A message to be written.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProducerRecord {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    partition: Option<i32>,
    timestamp_ms: Option<i64>,
    headers: Vec<(String, Vec<u8>)>,
}

impl ProducerRecord {
    pub(crate) fn new(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        Self {
            key: Some(key.as_ref().to_owned()),
            value: Some(value.as_ref().to_owned()),
            ..Self::default()
        }
    }

    pub(crate) fn tombstone(key: impl AsRef<[u8]>) -> Self {
        Self { key: Some(key.as_ref().to_owned()), ..Self::default() }
    }

    pub(crate) fn without_key(value: impl AsRef<[u8]>) -> Self {
        Self { value: Some(value.as_ref().to_owned()), ..Self::default() }
    }

    /// Names the partition, which is otherwise left to the key.
    pub(crate) fn in_partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    pub(crate) fn at_timestamp(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }

    /// Writes another value in place of the one that is there.
    pub(crate) fn map_value(mut self, change: impl FnOnce(&[u8]) -> Vec<u8>) -> Self {
        self.value = self.value.as_deref().map(change);
        self
    }

    pub(crate) fn with_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }
}

/// How a key leads to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProducerPartitioner {
    /// As Java clients do.
    Murmur2,
    /// As librdkafka does by default.
    Crc32,
}

impl ProducerPartitioner {
    fn librdkafka_name(self) -> &'static str {
        match self {
            Self::Murmur2 => "murmur2_random",
            Self::Crc32 => "consistent_random",
        }
    }
}

/// A producer that keeps what could not be delivered.
pub(crate) struct TestProducer(BaseProducer<FirstFailedDelivery>);

/// The first failed delivery since it was last looked at.
#[derive(Default)]
pub(crate) struct FirstFailedDelivery(Mutex<Option<KafkaError>>);

impl ClientContext for FirstFailedDelivery {}

impl ProducerContext for FirstFailedDelivery {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.0.lock().unwrap().get_or_insert(error.clone());
        }
    }
}

impl TestProducer {
    pub(crate) fn new(broker: &Broker, partitioner: ProducerPartitioner) -> Self {
        Self::with_properties(broker, &[("partitioner", partitioner.librdkafka_name())])
    }

    /// A producer with transactions, which has just taken over `id`: whoever
    /// had it is fenced, and its open transaction is aborted.
    pub(crate) fn transactional(broker: &Broker, id: &str, timeout: Duration) -> Self {
        let timeout_ms = timeout.as_millis().to_string();
        let writer = Self::with_properties(
            broker,
            &[
                ("partitioner", ProducerPartitioner::Murmur2.librdkafka_name()),
                ("transactional.id", id),
                ("transaction.timeout.ms", &timeout_ms),
                ("message.timeout.ms", &timeout_ms),
            ],
        );
        writer.base_producer().init_transactions(WAIT_TIMEOUT).unwrap();
        writer
    }

    fn with_properties(broker: &Broker, properties: &[(&str, &str)]) -> Self {
        let mut config = broker.client_config();
        config
            .set("linger.ms", "1")
            // What is sent again after a slow answer is there once, and in order.
            .set("enable.idempotence", "true")
            // A broker that was killed is found again at once.
            .set("reconnect.backoff.max.ms", "500")
            .set("message.max.bytes", MESSAGE_BYTES_MAX.to_string());
        for (name, value) in properties {
            config.set(*name, *value);
        }
        Self(
            BaseProducer::from_config_and_context(&config, FirstFailedDelivery::default()).unwrap(),
        )
    }

    pub(crate) fn base_producer(&self) -> &BaseProducer<FirstFailedDelivery> {
        &self.0
    }

    #[track_caller]
    pub(crate) fn begin_transaction(&self) {
        self.0.begin_transaction().unwrap();
    }

    /// Writes `records`; when this returns the broker has them.
    #[track_caller]
    pub(crate) fn write_records(&self, topic: &str, records: &[ProducerRecord]) {
        self.try_write_records(topic, records).unwrap();
    }

    /// As [`write_records`](Self::write_records), where refusal is what a test expects.
    pub(crate) fn try_write_records(
        &self,
        topic: &str,
        records: &[ProducerRecord],
    ) -> KafkaResult<()> {
        self.write_records_within(WAIT_TIMEOUT, topic, records)
    }

    /// As [`try_write_records`](Self::try_write_records), with a deadline of its own.
    pub(crate) fn write_records_within(
        &self,
        deadline: Duration,
        topic: &str,
        records: &[ProducerRecord],
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

    fn send(&self, topic: &str, record: &ProducerRecord) -> KafkaResult<()> {
        let mut message: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
        message.key = record.key.as_deref();
        message.payload = record.value.as_deref();
        message.partition = record.partition;
        message.timestamp = record.timestamp_ms;
        if !record.headers.is_empty() {
            message.headers = Some(to_headers(&record.headers));
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
    pub(crate) fn commit_transaction(&self) {
        self.0.commit_transaction(WAIT_TIMEOUT).unwrap();
    }

    #[track_caller]
    pub(crate) fn abort_transaction(&self) {
        self.0.abort_transaction(WAIT_TIMEOUT).unwrap();
    }

    /// Goes away as a crashed process does: what is open stays open.
    pub(crate) fn crash(self) {
        drop(self);
    }
}

fn to_headers(list: &[(String, Vec<u8>)]) -> OwnedHeaders {
    list.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    })
}
