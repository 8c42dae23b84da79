//! First contact with Kafka: what must exist before a worker joins its group.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;

use super::fault;
use super::log::LoggingContext;
use super::partitioner::KeyPlacement;
use super::settings::KafkaSettings;
use super::source::KafkaSource;
use crate::message::continuity::SourceRetention;
use crate::message::{Cause, Fault, IntakePlan, LanePlan, OutputPlan, OutputRole, SourceId};
use crate::transport::StopSignal;

/// How long the first contact may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a topic's leaders are asked for before a read begins without them.
const LEADERS_TIMEOUT: Duration = Duration::from_secs(1);
/// After how long they are asked for again: librdkafka forgets topics that it does not read.
const LEADERS_MAX_AGE: Duration = Duration::from_secs(60);
const RETRY_PAUSE: Duration = Duration::from_millis(200);

pub(super) fn metadata_client(
    settings: &KafkaSettings,
    is_read_committed: bool,
) -> Result<BaseConsumer<LoggingContext>, Fault> {
    let config = settings.metadata_client_config(is_read_committed);
    BaseConsumer::from_config_and_context(&config, LoggingContext::new("observer"))
        .map_err(|error| Fault::stop(Cause::at_step("client", error)))
}

/// What Kafka says of a topic.
pub(super) enum TopicLookup {
    Partitions(i32),
    Absent,
    AccessRefused(String),
    NoAnswer(String),
}

pub(super) fn look_up_topic(client: &BaseConsumer<LoggingContext>, topic: &str) -> TopicLookup {
    let metadata = match client.fetch_metadata(Some(topic), CALL_TIMEOUT) {
        Ok(metadata) => metadata,
        Err(error) => return TopicLookup::NoAnswer(fault::describe_error(&error)),
    };
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return TopicLookup::Absent;
    };
    match found.error().map(RDKafkaErrorCode::from) {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            TopicLookup::Absent
        }
        Some(code @ RDKafkaErrorCode::TopicAuthorizationFailed) => {
            TopicLookup::AccessRefused(code.to_string())
        }
        Some(code) => TopicLookup::NoAnswer(code.to_string()),
        None => {
            TopicLookup::Partitions(i32::try_from(found.partitions().len()).unwrap_or(i32::MAX))
        }
    }
}

pub(super) fn topic_absent_fault(topic: &str) -> Fault {
    Fault::stop(format!("topic `{topic}` does not exist: `zeef topics --apply` creates it"))
}

/// As [`topic_absent_fault`], for a topic of another program.
pub(super) fn raw_topic_absent_fault(topic: &str) -> Fault {
    Fault::stop(format!(
        "topic `{topic}` does not exist: its connector creates it with the first row; for a table \
         without rows, create it by hand"
    ))
}

/// What a worker connects with.
pub(super) struct Connection<'a> {
    pub settings: &'a KafkaSettings,
    /// Sees the ends beyond open transactions.
    pub client: &'a Arc<BaseConsumer<LoggingContext>>,
    pub stop: &'a StopSignal,
}

impl Connection<'_> {
    /// Returns the sources of the plan with their numbers of partitions.
    pub(super) fn resolve_sources(&self, plan: &LanePlan) -> Result<Vec<KafkaSource>, Fault> {
        if let Some(intake) = &plan.intake {
            let topics = plan.sources.iter().map(|source| source.topic.as_str());
            return self.resolve_raw_topics(topics, (intake, false));
        }
        // State rows are partitioned like the sources, so every source is joined.
        let has_state = plan.outputs.iter().any(|output| output.is_state());
        let gates = plan.configured_topics.as_ref().map(|topics| &topics.gates);
        let mut sources = Vec::new();
        for (index, source) in plan.sources.iter().enumerate() {
            let topic = self.settings.topic_name(&source.topic);
            let partition_count = self.fetch_partition_count(&topic)?;
            let Ok(index) = u16::try_from(index) else {
                return Err(Fault::stop("a lane has too many sources"));
            };
            if has_state && !source.is_joined && partition_count != 1 {
                return Err(Fault::stop(format!(
                    "topic `{topic}` has {partition_count} partitions, expected 1: its records \
                     have no keys, so that versions of one could lie in several partitions"
                )));
            }
            sources.push(KafkaSource {
                id: SourceId(index),
                unprefixed_name: source.topic.clone(),
                topic,
                gate_rank: source.gate_rank,
                gate: gates.and_then(|gates| gates.get(&source.topic)).cloned(),
                retention: source.retention,
                is_joined: source.is_joined || has_state,
                has_keys: source.is_joined,
                is_raw: false,
                has_schema_headers: false,
                reads_trace_parents: plan.has_ledger(),
                partition_count,
                key_placement: KeyPlacement::new(self.settings.partitioner, partition_count)
                    .filter(|_| source.is_joined),
            });
        }
        Ok(sources)
    }

    /// Returns topics of another program with their numbers of partitions. `is_gate`: they are
    /// read to their ends before anything else, as lookups are.
    pub(super) fn resolve_raw_topics<'t>(
        &self,
        topics: impl Iterator<Item = &'t str>,
        (intake, is_gate): (&IntakePlan, bool),
    ) -> Result<Vec<KafkaSource>, Fault> {
        let mut sources = Vec::new();
        for (index, topic) in topics.enumerate() {
            let Ok(index) = u16::try_from(index) else {
                return Err(Fault::stop("an intake reads too many topics"));
            };
            sources.push(KafkaSource {
                id: SourceId(index),
                unprefixed_name: topic.to_owned(),
                topic: topic.to_owned(),
                gate_rank: is_gate.then_some(0),
                gate: None,
                retention: SourceRetention::Limited,
                is_joined: false,
                has_keys: true,
                is_raw: true,
                has_schema_headers: intake.has_schema_headers,
                reads_trace_parents: false,
                partition_count: self.fetch_partition_count_or(topic, raw_topic_absent_fault)?,
                key_placement: None,
            });
        }
        Ok(sources)
    }

    /// Returns the number of partitions of each canonical output; `None` for other outputs.
    pub(super) fn fetch_canonical_partitions(
        &self,
        plan: &LanePlan,
    ) -> Result<Vec<Option<i32>>, Fault> {
        let count = |output: &OutputPlan| match output.role {
            OutputRole::Canonical => {
                self.fetch_partition_count(&self.settings.topic_name(&output.topic)).map(Some)
            }
            _ => Ok(None),
        };
        plan.outputs.iter().map(count).collect()
    }

    /// Stops if a state topic has fewer partitions than the largest source: a row lies in
    /// the partition of its record, so that it has one writer.
    pub(super) fn check_state_partitions(
        &self,
        plan: &LanePlan,
        sources: &[KafkaSource],
    ) -> Result<(), Fault> {
        let wanted = sources.iter().map(|source| source.partition_count).max().unwrap_or(1);
        for output in plan.outputs.iter().filter(|output| output.is_restorable()) {
            let topic = self.settings.topic_name(&output.topic);
            let partitions = self.fetch_partition_count(&topic)?;
            if partitions < wanted {
                // A row of an intake stays in the partition of its message: more may be added.
                let advice = match plan.intake {
                    Some(_) => "add partitions to it",
                    None => {
                        "where the sources had fewer before, see `zeef lanes apply --repartition`"
                    }
                };
                return Err(Fault::stop(format!(
                    "topic `{topic}` has {partitions} partitions, expected at least {wanted}, as \
                     the largest source has; {advice}"
                )));
            }
        }
        Ok(())
    }

    fn fetch_partition_count(&self, topic: &str) -> Result<i32, Fault> {
        self.fetch_partition_count_or(topic, topic_absent_fault)
    }

    fn fetch_partition_count_or(
        &self,
        topic: &str,
        absent_fault: fn(&str) -> Fault,
    ) -> Result<i32, Fault> {
        let found = self.retry_until_connected(|| match look_up_topic(self.client, topic) {
            TopicLookup::NoAnswer(text) => Err(text),
            known => Ok(known),
        })?;
        match found {
            TopicLookup::Partitions(partitions) => Ok(partitions),
            TopicLookup::AccessRefused(text) => {
                Err(Fault::stop(format!("topic `{topic}`: {text}")))
            }
            TopicLookup::Absent | TopicLookup::NoAnswer(_) => Err(absent_fault(topic)),
        }
    }

    /// Asks until Kafka answers, for [`CONNECT_TIMEOUT`] at most.
    pub(super) fn retry_until_connected<T>(
        &self,
        mut ask: impl FnMut() -> Result<T, String>,
    ) -> Result<T, Fault> {
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        loop {
            let text = match ask() {
                Ok(answer) => return Ok(answer),
                Err(text) => text,
            };
            // Serves the client's log and errors.
            let _ = self.client.poll(Duration::ZERO);
            if let Some(reason) = self.client.context().login_refusal() {
                return Err(Fault::stop(format!("kafka refuses the login: {reason}")));
            }
            if self.stop.is_requested() || Instant::now() >= deadline {
                return Err(Fault::transport_lost(format!("no answer from kafka: {text}")));
            }
            tracing::warn!("kafka: no answer yet: {text}");
            let _ = self.client.poll(RETRY_PAUSE);
        }
    }
}

/// Has librdkafka know the leaders of a topic that is about to be assigned: by itself it asks for
/// those of a new topic on a timer of a second. Returns false if there was no answer.
pub(super) fn learn_leaders<C: ConsumerContext>(consumer: &BaseConsumer<C>, topic: &str) -> bool {
    consumer.fetch_metadata(Some(topic), LEADERS_TIMEOUT).is_ok()
}

/// When a consumer was asked to look up the leaders of each topic.
#[derive(Debug, Default)]
pub(super) struct LeaderLookups(RefCell<HashMap<String, Instant>>);

impl LeaderLookups {
    /// Learns the leaders of a topic, unless that was done lately.
    pub(super) fn learn(&self, consumer: &BaseConsumer<LoggingContext>, topic: &str) {
        let mut times = self.0.borrow_mut();
        let is_recent = |asked: &Instant| asked.elapsed() < LEADERS_MAX_AGE;
        if !times.get(topic).is_some_and(is_recent) && learn_leaders(consumer, topic) {
            times.insert(topic.to_owned(), Instant::now());
        }
    }
}
