//! The callbacks of the group's member: they record, and do nothing else.
//!
//! The worker's loop acts on what was recorded; no callback assigns, unassigns
//! or commits. Only once the loop has given up closing in time does a callback
//! unassign: nobody else would answer librdkafka then.

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
const SESSION_TIMEOUT: &str = "SESSTMOUT";

/// What the group coordinator said, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Topic names as on Kafka, and partitions.
    Assigned(Vec<(String, i32)>),
    Revoked,
    Lost,
}

/// librdkafka's statistics, as far as they are used.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Statistics {
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
    /// The end, that of open transactions too.
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
pub(super) struct Recorded {
    pub events: VecDeque<Event>,
    pub statistics: Statistics,
    /// How many statistics have come so far.
    pub received: u64,
    /// How many callbacks ran: while there are more, the queue has events.
    pub calls: u64,
    /// librdkafka gave its own session up, and has not been assigned anew.
    pub lapsed: bool,
    /// The offset of the partition's end that is about to come out of the
    /// queue that is being polled.
    pub end: Option<i64>,
}

/// The context of the group's member.
#[derive(Default)]
pub(super) struct Member {
    recorded: Mutex<Recorded>,
    given_up: AtomicBool,
}

impl Member {
    pub(super) fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop will act on no event any more.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        let mut recorded = self.recorded();
        recorded.calls += 1;
        recorded.lapsed |= facility == SESSION_TIMEOUT;
        drop(recorded);
        log::line("consumer", level, facility, text);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        match serde_json::from_slice(statistics) {
            Ok(parsed) => {
                let mut recorded = self.recorded();
                recorded.statistics = parsed;
                recorded.received += 1;
                recorded.calls += 1;
            }
            Err(error) => tracing::warn!(%error, "kafka: unreadable statistics"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            let end = end_offset(reason);
            if end.is_none() {
                tracing::error!("kafka: librdkafka tells the end of a partition in another way");
            }
            self.recorded().end = end;
            return;
        }
        self.recorded().calls += 1;
        log::error("consumer", &error, reason);
    }
}

impl ConsumerContext for Member {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        if self.given_up.load(Ordering::Acquire) {
            if let Err(error) = consumer.unassign() {
                tracing::debug!(error = %error, "kafka: while closing");
            }
            return;
        }
        let event = if kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            Event::Assigned(
                partitions
                    .elements()
                    .iter()
                    .map(|element| (element.topic().to_owned(), element.partition()))
                    .collect(),
            )
        } else if consumer.assignment_lost() {
            Event::Lost
        } else {
            Event::Revoked
        };
        let mut recorded = self.recorded();
        recorded.calls += 1;
        recorded.lapsed &= !matches!(event, Event::Assigned(_));
        recorded.events.push_back(event);
    }
}

/// Reads the offset in librdkafka's text of a partition's end.
///
/// librdkafka's event carries the offset; rdkafka hands on no more than the
/// text. Where the text changes no offset is skipped, and a run that is to end
/// does not: the broker tests hold it.
pub(super) fn end_offset(reason: &str) -> Option<i64> {
    let (_, rest) = reason.split_once("at offset ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Wakes the worker when one of many queues is no longer empty.
#[derive(Default)]
pub(super) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    pub(super) fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    /// Waits until the bell rings, at most `wait`.
    pub(super) fn wait(&self, wait: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut rung, _) = self
            .changed
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
        let member = Member::default();
        member.stats_raw(text.as_bytes());
        member.stats_raw(b"{ torn");
        let recorded = member.recorded();
        assert_eq!(recorded.received, 1);
        let partition = recorded.statistics.topics["t"].partitions[&0];
        assert_eq!(partition.hi_offset, 9);
        assert_eq!(
            recorded.statistics.cgrp.as_ref().map(|g| &*g.join_state),
            Some("steady")
        );
    }

    #[test]
    fn the_end_is_read_from_the_text() {
        let text =
            "Fetch from broker 1 reached end of partition at offset 1582 (HighwaterMark 1590)";
        assert_eq!(end_offset(text), Some(1582));
        assert_eq!(end_offset("reached end of partition"), None);
        assert_eq!(end_offset("at offset INVALID"), None);
    }

    #[test]
    fn a_ring_before_the_wait_is_not_missed() {
        let bell = Bell::default();
        bell.ring();
        bell.wait(Duration::from_secs(3600));
    }
}
