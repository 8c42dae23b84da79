//! librdkafka's own messages, as lines of the process's log.
//!
//! librdkafka logs topics, offsets and brokers; no record's key or value.

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::member::end_offset;

/// Logs one line of librdkafka.
pub(super) fn line(client: &'static str, level: RDKafkaLogLevel, facility: &str, text: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => tracing::error!(client, facility, "librdkafka: {text}"),
        RDKafkaLogLevel::Warning => tracing::warn!(client, facility, "librdkafka: {text}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(client, facility, "librdkafka: {text}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(client, facility, "librdkafka: {text}"),
    }
}

/// Logs an error that librdkafka reports beside its calls. What it also logs by
/// itself, each lost connection, is said once.
pub(super) fn error(client: &'static str, error: &KafkaError, reason: &str) {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::PartitionEOF) => {}
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::Resolve,
        ) => tracing::debug!(client, error = %error, "kafka: {reason}"),
        _ => tracing::warn!(client, error = %error, "kafka: {reason}"),
    }
}

/// The context of clients that need nothing but a log.
pub(super) struct Logged {
    client: &'static str,
    unauthenticated: Mutex<Option<String>>,
    end: Mutex<Option<i64>>,
}

impl Logged {
    pub(super) fn new(client: &'static str) -> Self {
        Self {
            client,
            unauthenticated: Mutex::new(None),
            end: Mutex::new(None),
        }
    }

    /// The offset of the partition's end that was met last.
    pub(super) fn take_end(&self) -> Option<i64> {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.take()
    }

    /// Why Kafka refused the login, where it did.
    pub(super) fn unauthenticated(&self) -> Option<String> {
        self.unauthenticated
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl ClientContext for Logged {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        line(self.client, level, facility, text);
    }

    fn error(&self, reported: KafkaError, reason: &str) {
        if reported.rdkafka_error_code() == Some(RDKafkaErrorCode::Authentication) {
            self.unauthenticated
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert_with(|| reason.to_owned());
        }
        if reported.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
            *end = end_offset(reason);
        }
        error(self.client, &reported, reason);
    }
}

impl rdkafka::consumer::ConsumerContext for Logged {
    /// Answers a reader's own unassignment while it closes.
    fn rebalance(
        &self,
        consumer: &rdkafka::consumer::BaseConsumer<Self>,
        _: rdkafka::types::RDKafkaRespErr,
        _: &mut rdkafka::TopicPartitionList,
    ) {
        if let Err(error) = rdkafka::consumer::Consumer::unassign(consumer) {
            tracing::warn!(client = self.client, error = %error, "kafka: unassign");
        }
    }
}
