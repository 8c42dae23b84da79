//! Records to sources, for `zeef generate`: without transactions, in the order
//! given, each where `[kafka] partitioner` puts its key.
//!
//! Never part of a run: outputs go through the worker's transaction.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer};

use super::fault;
use super::producer::{Deliveries, offer};
use super::settings::KafkaSettings;
use super::topics::{self, TopicError};

/// How long the last records may take to arrive.
const FLUSH: Duration = Duration::from_secs(60);

/// Why records could not be published. Never carries a key.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error("topics that do not exist: {0}; `zeef topics --apply` creates them")]
    Absent(String),
    #[error("a record is larger than a producer may send")]
    TooLarge,
    #[error("failed to publish to `{topic}`: {code}")]
    Refused {
        topic: String,
        code: RDKafkaErrorCode,
    },
    #[error("failed to {doing}: {why}")]
    Kafka { doing: &'static str, why: String },
    #[error("failed to publish: {0} records did not arrive in time")]
    Late(i32),
}

/// An idempotent producer.
pub struct Publisher {
    producer: BaseProducer<Deliveries>,
    settings: KafkaSettings,
}

impl Publisher {
    /// Connects, and makes sure that `topics` exist; their names have no prefix.
    ///
    /// # Errors
    ///
    /// A topic that does not exist, or a Kafka that does not answer.
    pub fn open(settings: KafkaSettings, topics: &BTreeSet<&str>) -> Result<Self, PublishError> {
        let names: Vec<&str> = topics.iter().copied().collect();
        let found = topics::describe(&settings, &names)?;
        let absent: Vec<String> = found
            .iter()
            .filter(|(_, found)| found.is_none())
            .map(|(name, _)| format!("`{}`", settings.topic(name)))
            .collect();
        if !absent.is_empty() {
            return Err(PublishError::Absent(absent.join(", ")));
        }
        let producer: BaseProducer<Deliveries, NoCustomPartitioner> =
            BaseProducer::from_config_and_context(&settings.publisher(), Deliveries::default())
                .map_err(failed("build a producer"))?;
        Ok(Self { producer, settings })
    }

    /// Hands one record over; waits while librdkafka's queue is full.
    ///
    /// # Errors
    ///
    /// [`PublishError::TooLarge`] for this record, which is then left out; else
    /// the first record, of those before, that Kafka did not take.
    pub fn send(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), PublishError> {
        self.send_to(topic, None, key, value)
    }

    /// The same, to a partition that is not left to the key.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_to(
        &self,
        topic: &str,
        partition: Option<i32>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), PublishError> {
        let topic = self.settings.topic(topic);
        let mut record = BaseRecord::<[u8], [u8]>::to(&topic);
        record.partition = partition;
        record.key = key;
        record.payload = value;
        let mut waiting = Some(record);
        while let Some(record) = waiting {
            delivered(&self.producer)?;
            waiting = offer(&self.producer, record).map_err(not_taken)?;
        }
        Ok(())
    }

    /// Waits until Kafka has all records.
    ///
    /// # Errors
    ///
    /// The first record that did not arrive.
    pub fn finish(&self) -> Result<(), PublishError> {
        let deadline = Instant::now() + FLUSH;
        while self.producer.in_flight_count() > 0 {
            delivered(&self.producer)?;
            if Instant::now() >= deadline {
                return Err(PublishError::Late(self.producer.in_flight_count()));
            }
            let _ = self.producer.flush(Duration::from_millis(200));
        }
        delivered(&self.producer)
    }
}

/// The first record that the broker refused, if any since this was asked last.
pub(super) fn delivered(producer: &BaseProducer<Deliveries>) -> Result<(), PublishError> {
    match producer.context().take() {
        Some((topic, code)) => Err(PublishError::Refused { topic, code }),
        None => Ok(()),
    }
}

/// Why a record was not handed over.
pub(super) fn not_taken(error: KafkaError) -> PublishError {
    match error {
        KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge) => {
            PublishError::TooLarge
        }
        source => failed("publish")(source),
    }
}

pub(super) fn failed(doing: &'static str) -> impl FnOnce(KafkaError) -> PublishError {
    move |error| PublishError::Kafka {
        doing,
        why: fault::plain(&error),
    }
}
