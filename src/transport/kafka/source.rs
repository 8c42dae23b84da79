//! The sources of a plan on Kafka, and their messages.

use rdkafka::{Message, Timestamp};

use super::headers::find_headers;
use super::partitioner::KeyPlacement;
use crate::message::continuity::{SourceProgress, SourceRetention};
use crate::message::headers::SCHEMA_ID;
use crate::message::{AppendTime, Fault, Input, Payload, SourceId};

pub(super) type SourcePartition = (SourceId, i32);

#[derive(Clone, Debug)]
pub(super) struct KafkaSource {
    pub id: SourceId,
    /// The name in the plan, without the prefix.
    pub unprefixed_name: String,
    pub topic: String,
    /// As [`SourcePlan::gate_rank`](crate::message::SourcePlan::gate_rank).
    pub gate_rank: Option<u8>,
    /// As [`ConfiguredTopics::gates`](crate::message::continuity::ConfiguredTopics::gates).
    pub gate: Option<String>,
    pub retention: SourceRetention,
    /// Whether the worker owns the same partitions of it as of the other joined sources.
    pub is_joined: bool,
    /// `false` if it has one partition, as nothing says in which one a record belongs.
    pub has_keys: bool,
    /// Whether it is a topic of another program, which an intake reads.
    pub is_raw: bool,
    /// Whether a header with the id of a message's schema is handed out in front of its value.
    pub has_schema_headers: bool,
    /// Whether the header `traceparent` of a message is handed out.
    pub reads_trace_parents: bool,
    /// How many partitions it had when the transport was opened.
    pub partition_count: i32,
    /// `None` if its keys are no patron ids, or it has one partition only.
    pub key_placement: Option<KeyPlacement>,
}

impl KafkaSource {
    pub(super) const fn is_gate(&self) -> bool {
        self.gate_rank.is_some()
    }

    /// Returns the progress of a partition that begins at `start`.
    pub(super) fn new_progress(&self, start: i64) -> SourceProgress {
        SourceProgress {
            next: start,
            start,
            anchors: Vec::new(),
            log: (self.retention == SourceRetention::Forever).then_some(0),
            gate: self.gate.clone(),
            partition_count: self.partition_count,
        }
    }
}

/// Stops if a source has more partitions than at the start. What an intake reads may get more:
/// it is opened anew.
pub(super) fn check_partition_count(source: &KafkaSource, partitions: i32) -> Result<(), Fault> {
    if partitions <= source.partition_count {
        return Ok(());
    }
    if source.is_raw {
        let topic = &source.topic;
        return Err(Fault::transport_lost(format!("topic `{topic}` has more partitions")));
    }
    Err(Fault::stop(describe_changed_partitions(&source.topic, partitions, source.partition_count)))
}

/// Says that a source has other partitions than were read of it.
#[must_use]
pub fn describe_changed_partitions(topic: &str, partitions: i32, before: i32) -> String {
    let consequence = match partitions > before {
        true => {
            "where they were added, one patron's records would lie in two of them, and what was \
             refused or objected to would not count in the other one"
        }
        false => "what recipients have is kept by the former ones",
    };
    format!(
        "topic `{topic}` has {partitions} partitions, had {before}: {consequence}. Stop all \
         processes, have all sources written anew, to new topics with as many partitions as are \
         wanted, and carry the states to them with `zeef lanes apply --repartition`"
    )
}

/// The value of a message behind the header with its schema's id; `None` if it has no such header,
/// or its headers cannot be read.
pub(super) fn schema_header_and_value(message: &impl Message) -> Option<Vec<u8>> {
    let value = message.payload()?;
    // The last one counts, as for Kafka's own clients.
    let header = find_headers(message, SCHEMA_ID).ok()?.last?;
    Some([header, value].concat())
}

pub(super) fn message_to_input<M: Message>(
    source_partition: SourcePartition,
    message: &M,
) -> Input<'_> {
    Input {
        source: source_partition.0,
        partition: source_partition.1,
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        append_time: append_time(message.timestamp()),
        trace_parent: None,
        key: message.key(),
        payload: message.payload().map_or(Payload::Null, Payload::Bytes),
    }
}

/// Returns when a message was appended, by the broker's clock or its producer's.
fn append_time(timestamp: Timestamp) -> Option<AppendTime> {
    match timestamp {
        Timestamp::NotAvailable => None,
        Timestamp::CreateTime(ms) => Some(AppendTime { ms, is_exact: false }),
        Timestamp::LogAppendTime(ms) => Some(AppendTime { ms, is_exact: true }),
    }
}
