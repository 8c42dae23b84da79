//! librdkafka's messages as lines of the process's log.
//!
//! librdkafka logs topics, offsets and brokers, and no record's key or value.

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::group_member::parse_end_offset;

pub(super) fn log_line(client: &'static str, level: RDKafkaLogLevel, facility: &str, text: &str) {
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

/// Logs an error that librdkafka reports outside its calls, except lost connections, which
/// it also logs itself.
pub(super) fn log_error(client: &'static str, error: &KafkaError, reason: &str) {
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

/// The context of clients that need only a log.
pub(super) struct LoggingContext {
    client_name: &'static str,
    login_refusal: Mutex<Option<String>>,
    last_end: Mutex<Option<i64>>,
}

impl LoggingContext {
    pub(super) fn new(client: &'static str) -> Self {
        Self { client_name: client, login_refusal: Mutex::new(None), last_end: Mutex::new(None) }
    }

    /// Returns the offset of the last partition end.
    pub(super) fn take_last_end(&self) -> Option<i64> {
        let mut end = self.last_end.lock().unwrap_or_else(PoisonError::into_inner);
        end.take()
    }

    /// Returns why Kafka refused the login, if it did.
    pub(super) fn login_refusal(&self) -> Option<String> {
        self.login_refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for LoggingContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log_line(self.client_name, level, facility, text);
    }

    fn error(&self, reported: KafkaError, reason: &str) {
        if reported.rdkafka_error_code() == Some(RDKafkaErrorCode::Authentication) {
            self.login_refusal
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert_with(|| reason.to_owned());
        }
        if reported.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            let mut end = self.last_end.lock().unwrap_or_else(PoisonError::into_inner);
            *end = parse_end_offset(reason);
        }
        log_error(self.client_name, &reported, reason);
    }
}

impl rdkafka::consumer::ConsumerContext for LoggingContext {
    /// Answers a reader's own unassignment while it closes.
    fn rebalance(
        &self,
        consumer: &rdkafka::consumer::BaseConsumer<Self>,
        _: rdkafka::types::RDKafkaRespErr,
        _: &mut rdkafka::TopicPartitionList,
    ) {
        if let Err(error) = rdkafka::consumer::Consumer::unassign(consumer) {
            tracing::warn!(client = self.client_name, error = %error, "kafka: unassign");
        }
    }
}
