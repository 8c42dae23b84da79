//! Callbacks of the group member, which only record.
//!
//! The worker's loop acts on what was recorded; no callback assigns, unassigns or commits.
//! Only after the loop gave up closing in time does a callback unassign, since nobody else
//! would answer librdkafka.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use serde::Deserialize;

use super::log;

/// The facility under which librdkafka logs that its session timed out.
const SESSION_TIMEOUT_FACILITY: &str = "SESSTMOUT";

/// What the group coordinator said, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RebalanceEvent {
    /// Topic names on Kafka, and partitions.
    Assigned(Vec<(String, i32)>),
    Revoked,
    Lost,
}

/// The statistics of librdkafka that are used.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ClientStatistics {
    #[serde(default)]
    pub topics: HashMap<String, TopicStatistics>,
    #[serde(default)]
    pub cgrp: Option<GroupStatistics>,
}

#[derive(Debug, Deserialize)]
pub(super) struct TopicStatistics {
    #[serde(default)]
    pub partitions: HashMap<i32, PartitionStatistics>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct PartitionStatistics {
    /// The end, open transactions included.
    #[serde(default = "unknown")]
    pub hi_offset: i64,
}

fn unknown() -> i64 {
    -1
}

#[derive(Debug, Deserialize)]
pub(super) struct GroupStatistics {
    pub join_state: String,
}

/// What the callbacks recorded.
#[derive(Debug, Default)]
pub(super) struct CallbackRecord {
    pub events: VecDeque<RebalanceEvent>,
    pub statistics: ClientStatistics,
    /// How many statistics arrived.
    pub statistics_count: u64,
    /// How many callbacks ran: while it grows, the queue has events.
    pub callback_count: u64,
    /// librdkafka's own session timed out, and nothing has been assigned since.
    pub has_session_lapsed: bool,
    /// The offset of the partition end that is about to come out of the polled queue.
    pub partition_end: Option<i64>,
}

#[derive(Default)]
pub(super) struct GroupMemberContext {
    record: Mutex<CallbackRecord>,
    has_given_up: AtomicBool,
}

impl GroupMemberContext {
    pub(super) fn lock_record(&self) -> MutexGuard<'_, CallbackRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the callbacks that the loop acts on no further event.
    pub(super) fn give_up(&self) {
        self.has_given_up.store(true, Ordering::Release);
    }
}

impl ClientContext for GroupMemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        let mut recorded = self.lock_record();
        recorded.callback_count += 1;
        recorded.has_session_lapsed |= facility == SESSION_TIMEOUT_FACILITY;
        drop(recorded);
        log::log_line("consumer", level, facility, text);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        match serde_json::from_slice(statistics) {
            Ok(parsed) => {
                let mut recorded = self.lock_record();
                recorded.statistics = parsed;
                recorded.statistics_count += 1;
                recorded.callback_count += 1;
            }
            Err(error) => tracing::warn!(%error, "kafka: unreadable statistics"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            let end = parse_end_offset(reason);
            if end.is_none() {
                tracing::error!(
                    "kafka: librdkafka reports the end of a partition in an unknown form"
                );
            }
            self.lock_record().partition_end = end;
            return;
        }
        self.lock_record().callback_count += 1;
        log::log_error("consumer", &error, reason);
    }
}

impl ConsumerContext for GroupMemberContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        if self.has_given_up.load(Ordering::Acquire) {
            if let Err(error) = consumer.unassign() {
                tracing::debug!(error = %error, "kafka: while closing");
            }
            return;
        }
        let event = if kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            RebalanceEvent::Assigned(
                partitions
                    .elements()
                    .iter()
                    .map(|element| (element.topic().to_owned(), element.partition()))
                    .collect(),
            )
        } else if consumer.assignment_lost() {
            RebalanceEvent::Lost
        } else {
            RebalanceEvent::Revoked
        };
        let mut recorded = self.lock_record();
        recorded.callback_count += 1;
        recorded.has_session_lapsed &= !matches!(event, RebalanceEvent::Assigned(_));
        recorded.events.push_back(event);
    }
}

/// Parses the offset in librdkafka's text of a partition end.
///
/// rdkafka passes on only the text of the event. If the text ever changes, no offsets are
/// skipped and a bounded run does not end; the broker tests cover it.
pub(super) fn parse_end_offset(reason: &str) -> Option<i64> {
    let (_, rest) = reason.split_once("at offset ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Wakes the worker when one of many queues is no longer empty.
#[derive(Default)]
pub(super) struct Wakeup {
    is_notified: Mutex<bool>,
    condvar: Condvar,
}

impl Wakeup {
    pub(super) fn notify(&self) {
        *self.is_notified.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.condvar.notify_one();
    }

    /// Waits for a notification, at most `wait`.
    pub(super) fn wait(&self, wait: Duration) {
        let rung = self.is_notified.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut rung, _) = self
            .condvar
            .wait_timeout_while(rung, wait, |rung| !*rung)
            .unwrap_or_else(PoisonError::into_inner);
        *rung = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_read_as_librdkafka_writes_them() {
        let text = r#"{ "name": "x", "brokers": {}, "topics": { "t": { "topic": "t",
            "partitions": { "0": { "partition": 0, "next_offset": 7, "eof_offset": 7,
            "lo_offset": 0, "hi_offset": 9, "ls_offset": 8 }, "-1": { "partition": -1,
            "next_offset": 0, "ls_offset": -1001 } } } }, "cgrp": { "join_state": "steady" } }"#;
        let member = GroupMemberContext::default();
        member.stats_raw(text.as_bytes());
        member.stats_raw(b"{ torn");
        let recorded = member.lock_record();
        assert_eq!(recorded.statistics_count, 1);
        let partition = recorded.statistics.topics["t"].partitions[&0];
        assert_eq!(partition.hi_offset, 9);
        assert_eq!(recorded.statistics.cgrp.as_ref().map(|g| &*g.join_state), Some("steady"));
    }

    #[test]
    fn end_offset_is_parsed_from_librdkafka_text() {
        let text =
            "Fetch from broker 1 reached end of partition at offset 1582 (HighwaterMark 1590)";
        assert_eq!(parse_end_offset(text), Some(1582));
        assert_eq!(parse_end_offset("reached end of partition"), None);
        assert_eq!(parse_end_offset("at offset INVALID"), None);
    }

    #[test]
    fn wakeup_notified_before_the_wait_is_not_missed() {
        let wakeup = Wakeup::default();
        wakeup.notify();
        wakeup.wait(Duration::from_secs(3600));
    }
}
