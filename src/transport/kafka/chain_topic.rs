//! Topics of one partition that are a chain: each message is made from the one before it.
//!
//! There is one writer at a time. It takes the transactional id of the topic, which aborts what
//! another one left open; then it reads the last message, and writes the next one in a
//! transaction. A writer that lost the id meanwhile cannot commit, and starts over.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer};

use super::fault::is_fenced;
use super::producer::{DeliveryFailures, try_send};
use super::read_topic::{read_messages_from, read_watermarks};
use super::settings::KafkaSettings;
use super::topics::{TopicError, topic_error};
use crate::transport::MakeNext;

const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How often to start over behind other writers.
const ATTEMPTS_MAX: usize = 10;
/// How many messages before the end to look through first, and how many times more then.
const FIRST_TAIL: i64 = 64;
const TAIL_FACTOR: i64 = 64;
const ONLY_PARTITION: i32 = 0;

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
pub enum ChainTopicError {
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error("topic `{0}` does not exist: `zeef topics --apply` creates it")]
    Absent(String),
    #[error("topic `{0}`: others write there all the time")]
    Contended(String),
}

/// Appends one message, which `make` makes from the last one, if it makes any. `name` has no
/// prefix.
///
/// # Errors
///
/// The topic does not exist, or Kafka does not answer or refuses; only after a lost connection the
/// message may be there all the same.
pub fn append_to_chain(
    settings: &KafkaSettings,
    name: &str,
    make: &mut MakeNext<'_>,
) -> Result<(), ChainTopicError> {
    for _ in 0..ATTEMPTS_MAX {
        let writer = ChainWriter::open(settings, name)?;
        let last = read_last_message(settings, name)?;
        let Some(message) = make(last.as_deref()) else {
            return Ok(());
        };
        if writer.write(&message)? {
            return Ok(());
        }
    }
    Err(ChainTopicError::Contended(settings.topic_name(name)))
}

/// Returns the last committed message; `None` if there is none.
///
/// # Errors
///
/// The topic does not exist, or Kafka does not answer.
pub fn read_last_message(
    settings: &KafkaSettings,
    name: &str,
) -> Result<Option<Vec<u8>>, ChainTopicError> {
    let absent = || ChainTopicError::Absent(settings.topic_name(name));
    let (low, high) = read_watermarks(settings, name, ONLY_PARTITION)?.ok_or_else(absent)?;
    let mut tail = FIRST_TAIL;
    loop {
        let start = low.max(high.saturating_sub(tail));
        let mut last = None;
        let from = BTreeMap::from([(ONLY_PARTITION, start)]);
        read_messages_from(settings, name, &from, &mut |message| {
            if message.partition() == ONLY_PARTITION {
                last = message.payload().map(<[u8]>::to_vec);
            }
        })?;
        if last.is_some() || start == low {
            return Ok(last);
        }
        tail = tail.saturating_mul(TAIL_FACTOR);
    }
}

/// Has the transactional id of a topic.
struct ChainWriter {
    producer: BaseProducer<DeliveryFailures>,
    topic: String,
}

impl ChainWriter {
    fn open(settings: &KafkaSettings, name: &str) -> Result<ChainWriter, TopicError> {
        let topic = settings.topic_name(name);
        let mut config = settings.publisher_config();
        config.set("transactional.id", &topic).set("message.timeout.ms", "30000");
        let producer: BaseProducer<DeliveryFailures, NoCustomPartitioner> =
            BaseProducer::from_config_and_context(&config, DeliveryFailures::default())
                .map_err(topic_error("build a producer"))?;
        producer.init_transactions(CALL_TIMEOUT).map_err(topic_error("begin transactions"))?;
        Ok(ChainWriter { producer, topic })
    }

    /// Writes a message. Returns false if another writer took the id, and nothing was written.
    fn write(&self, message: &[u8]) -> Result<bool, TopicError> {
        match self.write_in_transaction(message) {
            Ok(()) => Ok(true),
            Err(error) if self.is_fenced(&error) => Ok(false),
            Err(error) => {
                let _ = self.producer.abort_transaction(CALL_TIMEOUT);
                Err(topic_error(format!("write to `{}`", self.topic))(error))
            }
        }
    }

    fn write_in_transaction(&self, message: &[u8]) -> Result<(), KafkaError> {
        self.producer.begin_transaction()?;
        let record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(&self.topic).partition(ONLY_PARTITION).payload(message);
        let mut waiting = Some(record);
        while let Some(record) = waiting {
            waiting = try_send(&self.producer, record)?;
        }
        self.producer.flush(CALL_TIMEOUT)?;
        if let Some((_, code)) = self.producer.context().take_first_failure() {
            return Err(KafkaError::MessageProduction(code));
        }
        self.producer.commit_transaction(CALL_TIMEOUT)
    }

    fn is_fenced(&self, error: &KafkaError) -> bool {
        let fatal = self.producer.client().fatal_error().map(|(code, _)| code);
        error.rdkafka_error_code().into_iter().chain(fatal).any(is_fenced)
    }
}
