//! Publishes records to sources for `zeef generate`: without transactions, in the given
//! order, partitioned by `[kafka] partitioner`.
//!
//! Never part of a run: outputs go through the worker's transaction.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer};

use super::fault;
use super::producer::{DeliveryFailures, try_send};
use super::settings::KafkaSettings;
use super::topics::{self, TopicError};

/// How long the last records may take to arrive.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// Why records could not be published. Never contains a key.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error("topics that do not exist: {0}; `zeef topics --apply` creates them")]
    Absent(String),
    #[error("a record is larger than a producer may send")]
    TooLarge,
    #[error("failed to publish to `{topic}`: {code}")]
    Refused { topic: String, code: RDKafkaErrorCode },
    #[error("failed to {doing}: {why}")]
    Kafka { doing: &'static str, why: String },
    #[error("failed to publish: {0} records did not arrive in time")]
    TimedOut(i32),
}

/// An idempotent producer.
pub struct Publisher {
    producer: BaseProducer<DeliveryFailures>,
    settings: KafkaSettings,
}

impl Publisher {
    /// Connects, and checks that `topics`, without prefix, exist.
    ///
    /// # Errors
    ///
    /// A topic does not exist, or Kafka does not answer.
    pub fn open(settings: KafkaSettings, topics: &BTreeSet<&str>) -> Result<Self, PublishError> {
        let names: Vec<&str> = topics.iter().copied().collect();
        let found = topics::describe_topics(&settings, &names)?;
        let absent: Vec<String> = found
            .iter()
            .filter(|(_, found)| found.is_none())
            .map(|(name, _)| format!("`{}`", settings.topic_name(name)))
            .collect();
        if !absent.is_empty() {
            return Err(PublishError::Absent(absent.join(", ")));
        }
        let producer: BaseProducer<DeliveryFailures, NoCustomPartitioner> =
            BaseProducer::from_config_and_context(
                &settings.publisher_config(),
                DeliveryFailures::default(),
            )
            .map_err(publish_error("build a producer"))?;
        Ok(Self { producer, settings })
    }

    /// Sends one record; waits while librdkafka's queue is full.
    ///
    /// # Errors
    ///
    /// [`PublishError::TooLarge`] for this record, which is left out; otherwise the first
    /// earlier record that Kafka refused.
    pub fn send(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), PublishError> {
        let topic = self.settings.topic_name(topic);
        let mut record = BaseRecord::to(&topic);
        record.key = key;
        record.payload = value;
        self.send_record(record)
    }

    /// Sends a tombstone to a given partition.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_tombstone(
        &self,
        topic: &str,
        partition: i32,
        key: &[u8],
    ) -> Result<(), PublishError> {
        let topic = self.settings.topic_name(topic);
        self.send_record(BaseRecord::to(&topic).partition(partition).key(key))
    }

    fn send_record(&self, record: BaseRecord<'_, [u8], [u8]>) -> Result<(), PublishError> {
        let mut waiting = Some(record);
        while let Some(record) = waiting {
            check_delivered(&self.producer)?;
            waiting = try_send(&self.producer, record).map_err(send_error)?;
        }
        Ok(())
    }

    /// Waits until Kafka has all records.
    ///
    /// # Errors
    ///
    /// The first record that did not arrive.
    pub fn flush(&self) -> Result<(), PublishError> {
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        while self.producer.in_flight_count() > 0 {
            check_delivered(&self.producer)?;
            if Instant::now() >= deadline {
                return Err(PublishError::TimedOut(self.producer.in_flight_count()));
            }
            let _ = self.producer.flush(Duration::from_millis(200));
        }
        check_delivered(&self.producer)
    }
}

/// Fails with the first record that the broker refused since the last call.
pub(super) fn check_delivered(
    producer: &BaseProducer<DeliveryFailures>,
) -> Result<(), PublishError> {
    match producer.context().take_first_failure() {
        Some((topic, code)) => Err(PublishError::Refused { topic, code }),
        None => Ok(()),
    }
}

pub(super) fn send_error(error: KafkaError) -> PublishError {
    match error {
        KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge) => {
            PublishError::TooLarge
        }
        source => publish_error("publish")(source),
    }
}

pub(super) fn publish_error(doing: &'static str) -> impl FnOnce(KafkaError) -> PublishError {
    move |error| PublishError::Kafka { doing, why: fault::describe_error(&error) }
}
