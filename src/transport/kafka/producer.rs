//! Outputs and offsets in one transaction at a time.
//!
//! Never fetches group metadata: it is given that of the assignment.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, NoCustomPartitioner, Producer, ProducerContext,
};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::connect::Connection;
use super::fault::{self, ErrorAction, TransactionAge};
use super::idle_compaction::{IDLE_NULL_KEY, IdleCompaction, OutputPartition};
use super::log;
use super::partitioner::KeyPlacement;
use crate::message::headers;
use crate::message::{
    Cause, Fault, LanePlan, Outbox, Output, OutputEncoding, OutputId, OutputPlan, OutputRole,
};
use crate::policy::recipient::ValueFormat;
use crate::policy::term::DAY_MS;
use crate::transport::StopSignal;

/// How long one call may take before it is repeated, and continues where it was.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// Warn about repeated calls after this time.
const WARN_AFTER: Duration = Duration::from_secs(5);
/// How long one abort may take: it ends only once its failed deliveries are polled, between
/// the calls.
const ABORT_CALL_TIMEOUT: Duration = Duration::from_millis(250);
/// How long to repeat a call before the producer is given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
/// The same once a stop is requested: the next start decides an uncommitted batch again.
const STOP_GIVE_UP_AFTER: Duration = Duration::from_secs(5);
/// How long to poll while waiting for something other than deliveries; shorter polls cost
/// twice the processor time.
const DRAIN_POLL_TIMEOUT: Duration = Duration::from_millis(10);
/// How long to wait for room in the queue at a time.
pub(super) const QUEUE_FULL_POLL_TIMEOUT: Duration = Duration::from_millis(10);
/// Pause between two polls while draining or while the queue is full. A poll that waits
/// spins through its last millisecond; `flush` waits 100 ms with nothing to wait for.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// How long outputs may take to arrive before their transaction is aborted.
const ABORT_DELIVERY_TIMEOUT: Duration = Duration::from_secs(1);
/// Minimum slack after a segment should have rolled.
const SEGMENT_SLACK_MIN: Duration = Duration::from_secs(1);

/// Sends one record. Returns it if librdkafka's queue was full, after waiting for room.
pub(super) fn try_send<'a>(
    producer: &BaseProducer<DeliveryFailures>,
    record: BaseRecord<'a, [u8], [u8]>,
) -> KafkaResult<Option<BaseRecord<'a, [u8], [u8]>>> {
    match producer.send(record) {
        Ok(()) => {
            producer.poll(Duration::ZERO);
            Ok(None)
        }
        Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
            producer.poll(QUEUE_FULL_POLL_TIMEOUT);
            Ok(Some(back))
        }
        Err((error, _)) => Err(error),
    }
}

/// Keeps the first failed delivery of a transaction; successes are not reported, see
/// `delivery.report.only.error`.
#[derive(Default)]
pub(super) struct DeliveryFailures {
    first_failure: Mutex<Option<(String, RDKafkaErrorCode)>>,
}

impl DeliveryFailures {
    pub(super) fn take_first_failure(&self) -> Option<(String, RDKafkaErrorCode)> {
        self.first_failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for DeliveryFailures {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log::log_line("producer", level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log::log_error("producer", &error, reason);
    }
}

impl ProducerContext for DeliveryFailures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, message)) = result else {
            return;
        };
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        self.first_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| (message.topic().to_owned(), code));
    }
}

struct OutputTopic {
    name: String,
    /// The name without prefix, which ids of retractions are made of.
    plain_name: String,
    has_day_timestamps: bool,
    /// Not sent with zeef's own topics, whose values carry their format.
    headers: OwnedHeaders,
    role: OutputRole,
    /// How many partitions a canonical topic had when the producer was opened.
    canonical_partitions: Option<i32>,
    /// Where the keys of a canonical topic belong; `None` for one partition.
    key_placement: Option<KeyPlacement>,
    encoding: Option<OutputEncoding>,
    /// Whether the open transaction writes to it.
    is_written: bool,
}

impl OutputTopic {
    fn is_restorable(&self) -> bool {
        matches!(self.role, OutputRole::State | OutputRole::Patrons)
    }

    /// Whether its messages carry headers: not those that only lanes read.
    fn has_headers(&self) -> bool {
        !self.is_restorable() && self.role != OutputRole::Canonical
    }

    fn partition_of(&self, output: &Output<'_>) -> Option<i32> {
        output.partition.or_else(|| Some(self.key_placement?.home_partition(output.key?)))
    }

    fn headers_of(&self, output: &Output<'_>, time_ms: i64) -> OwnedHeaders {
        let common = self.headers.clone();
        let (Some(reason), Some(key)) = (output.retraction, output.key) else {
            return common;
        };
        let told = reason.told_to(self.has_day_timestamps);
        let all = headers::retraction_headers(told, (self.plain_name.as_str(), key), time_ms);
        all.iter().fold(common, |headers, (name, value)| {
            headers.insert(Header { key: name, value: Some(value.as_str()) })
        })
    }
}

pub(super) struct TransactionalProducer {
    producer: BaseProducer<DeliveryFailures>,
    topics: Vec<OutputTopic>,
    transaction_timeout: Duration,
    stop: StopSignal,
    transaction_began: Option<Instant>,
    /// The time of the last published batch.
    published_ms: i64,
    pub idle_compaction: IdleCompaction,
}

impl TransactionalProducer {
    /// Connects, fences the former owner of the transactional id, and aborts what it left
    /// open.
    pub(super) fn open(
        connection: &Connection<'_>,
        plan: &LanePlan,
        worker: usize,
    ) -> Result<Self, Fault> {
        let Connection { settings, stop, .. } = *connection;
        let canonical_partitions = connection.fetch_canonical_partitions(plan)?;
        let producer: BaseProducer<DeliveryFailures, NoCustomPartitioner> =
            BaseProducer::from_config_and_context(
                &settings.producer_config(plan, worker),
                DeliveryFailures::default(),
            )
            .map_err(|error| Fault::stop(Cause::at_step("producer", error)))?;
        // A segment's age counts from its first message: another worker's, or a marker,
        // which may be later than what this batch retracts.
        let roll_after =
            settings.segment_max_age + (settings.segment_max_age / 10).max(SEGMENT_SLACK_MIN);
        let producer_handle = Self {
            producer,
            topics: plan
                .outputs
                .iter()
                .zip(canonical_partitions)
                .map(|(output, canonical_partitions)| OutputTopic {
                    name: settings.topic_name(&output.topic),
                    has_day_timestamps: output.has_day_timestamps,
                    headers: output_headers(
                        output.version_override.as_ref().unwrap_or(&plan.policy_version),
                        output,
                    ),
                    plain_name: output.topic.clone(),
                    role: output.role,
                    canonical_partitions,
                    key_placement: canonical_partitions
                        .and_then(|count| KeyPlacement::new(settings.partitioner, count)),
                    encoding: output.encoding.clone(),
                    is_written: false,
                })
                .collect(),
            transaction_timeout: settings.transaction_timeout,
            stop: stop.clone(),
            transaction_began: None,
            published_ms: 0,
            idle_compaction: IdleCompaction::new(
                i64::try_from(roll_after.as_millis()).unwrap_or(i64::MAX),
            ),
        };
        producer_handle.retry_call("start transactions", Some(stop), |producer| {
            producer.init_transactions(CALL_TIMEOUT)
        })?;
        Ok(producer_handle)
    }

    /// Returns the topic of an output that is read back.
    pub(super) fn restored_topic(&self, output: OutputId) -> Option<&str> {
        let topic = self.topics.get(usize::from(output.0));
        topic.filter(|topic| topic.is_restorable()).map(|topic| &*topic.name)
    }

    /// Returns the topics that are read back, each with what it is.
    pub(super) fn restored_topics(&self) -> impl Iterator<Item = (OutputRole, &str)> {
        let topics = self.topics.iter().filter(|topic| topic.is_restorable());
        topics.map(|topic| (topic.role, &*topic.name))
    }

    pub(super) fn has_open_transaction(&self) -> bool {
        self.transaction_began.is_some()
    }

    /// Produces each output; begins a transaction if none is open.
    pub(super) fn publish(&mut self, outbox: &Outbox, now_ms: i64) -> Result<(), Fault> {
        if outbox.is_empty() {
            return Ok(());
        }
        self.ensure_transaction()?;
        self.published_ms = now_ms;
        for output in outbox.iter() {
            self.produce(&output, now_ms)?;
            if let Some(topic) = self.topics.get_mut(usize::from(output.output.0)) {
                topic.is_written = true;
            }
        }
        self.producer.poll(Duration::ZERO);
        Ok(())
    }

    fn produce(&self, output: &Output<'_>, now_ms: i64) -> Result<(), Fault> {
        let Some(topic) = self.topics.get(usize::from(output.output.0)) else {
            return Err(Fault::stop("an output has no topic in the plan"));
        };
        let day_ms = now_ms - now_ms.rem_euclid(DAY_MS);
        let time_ms = if topic.has_day_timestamps { day_ms } else { now_ms };
        let mut record = BaseRecord::<[u8], [u8]>::to(&topic.name).timestamp(time_ms);
        if topic.has_headers() {
            record = record.headers(topic.headers_of(output, time_ms));
        }
        record.partition = topic.partition_of(output);
        record.key = output.key;
        let (Some(encoding), Some(value)) = (&topic.encoding, output.value) else {
            record.payload = output.value;
            return self.send(record);
        };
        let mut encoded = Vec::new();
        encoding.encode(value, &mut encoded)?;
        record.payload = Some(&encoded);
        self.send(record)
    }

    /// Publishes a null under a key that no output has.
    pub(super) fn publish_idle_null(
        &mut self,
        output_partition: OutputPartition,
        now_ms: i64,
    ) -> Result<(), Fault> {
        self.ensure_transaction()?;
        let null = Output {
            output: OutputId(u16::try_from(output_partition.0).unwrap_or(u16::MAX)),
            partition: Some(output_partition.1),
            key: Some(IDLE_NULL_KEY),
            value: None,
            retraction: None,
        };
        self.produce(&null, now_ms)?;
        self.idle_compaction.add_open_null(output_partition);
        Ok(())
    }

    /// Returns the canonical topics with the partitions they had when this was opened.
    pub(super) fn canonical_topics(&self) -> impl Iterator<Item = (&str, i32)> {
        let topics = self.topics.iter();
        topics.filter_map(|topic| Some((&*topic.name, topic.canonical_partitions?)))
    }

    /// Returns the recipients' topics with their indexes in the plan.
    pub(super) fn recipient_topics(&self) -> impl Iterator<Item = (usize, &str)> {
        let topics = self.topics.iter().enumerate();
        topics
            .filter(|(_, topic)| topic.role == OutputRole::Recipient)
            .map(|(place, topic)| (place, &*topic.name))
    }

    fn note_committed_writes(&mut self) {
        for (place, topic) in self.topics.iter_mut().enumerate() {
            let written = std::mem::take(&mut topic.is_written);
            if written && topic.role == OutputRole::Recipient {
                self.idle_compaction.note_write(place, self.published_ms);
            }
        }
    }

    /// Sends one record; waits while librdkafka's queue is full.
    fn send(&self, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), Fault> {
        let mut since = None;
        loop {
            let (error, back) = match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            record = back;
            match self.classify_error(&format!("produce to `{}`", record.topic), &error) {
                ErrorAction::Retry(cause) => {
                    let since = *since.get_or_insert_with(Instant::now);
                    if self.has_timed_out(since) {
                        return Err(Fault::Unanswered(cause));
                    }
                    self.producer.poll(Duration::ZERO);
                    std::thread::sleep(POLL_INTERVAL);
                }
                ErrorAction::Fail(fault) => return Err(fault),
            }
        }
    }

    /// Commits what was published together with `offsets`. A commit of unknown outcome is
    /// repeated, never assumed.
    pub(super) fn commit(
        &mut self,
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
    ) -> Result<(), Fault> {
        self.ensure_transaction()?;
        self.retry_call("send offsets to the transaction", None, |producer| {
            producer.send_offsets_to_transaction(offsets, group, CALL_TIMEOUT)
        })?;
        self.drain_deliveries()?;
        self.retry_call("commit", None, |producer| producer.commit_transaction(CALL_TIMEOUT))?;
        self.transaction_began = None;
        self.idle_compaction.on_commit();
        self.note_committed_writes();
        Ok(())
    }

    pub(super) fn abort(&mut self) -> Result<(), Fault> {
        if self.transaction_began.is_none() {
            return Ok(());
        }
        self.idle_compaction.on_abort();
        self.await_deliveries();
        self.retry_call("abort", None, |producer| producer.abort_transaction(ABORT_CALL_TIMEOUT))?;
        self.producer.poll(Duration::ZERO);
        self.reset_transaction();
        self.transaction_began = None;
        Ok(())
    }

    /// Lets what is under way arrive: a broker refuses to end a transaction it has seen
    /// nothing of. What does not arrive soon is purged.
    fn await_deliveries(&self) {
        let deadline = Instant::now() + ABORT_DELIVERY_TIMEOUT;
        while self.producer.in_flight_count() > 0
            && Instant::now() < deadline
            && self.producer.client().fatal_error().is_none()
        {
            self.producer.poll(DRAIN_POLL_TIMEOUT);
        }
    }

    /// Serves librdkafka's events without waiting.
    pub(super) fn serve_events(&self) {
        self.producer.poll(Duration::ZERO);
    }

    fn ensure_transaction(&mut self) -> Result<(), Fault> {
        if self.transaction_began.is_some() {
            return Ok(());
        }
        self.reset_transaction();
        self.retry_call("begin", None, Producer::begin_transaction)?;
        self.transaction_began = Some(Instant::now());
        Ok(())
    }

    fn reset_transaction(&mut self) {
        self.producer.context().take_first_failure();
        for topic in &mut self.topics {
            topic.is_written = false;
        }
    }

    /// Waits until everything produced is acknowledged: a commit is fast only on a drained
    /// producer.
    fn drain_deliveries(&self) -> Result<(), Fault> {
        let since = Instant::now();
        while self.producer.in_flight_count() > 0 {
            if let Some(fatal) = self.producer.client().fatal_error() {
                let error = KafkaError::Flush(RDKafkaErrorCode::Fatal);
                return Err(self.fault_of_error("drain", &error, Some(fatal)));
            }
            if self.has_timed_out(since) {
                return Err(Fault::transport_lost("drain: outputs got no answer"));
            }
            // Failed deliveries count until they are taken.
            self.producer.poll(Duration::ZERO);
            std::thread::sleep(POLL_INTERVAL);
        }
        match self.producer.context().take_first_failure() {
            None => Ok(()),
            Some((topic, RDKafkaErrorCode::MessageSizeTooLarge)) => Err(Fault::stop(format!(
                "topic `{topic}` takes no message of this size: raise its `max.message.bytes` or \
                 lower the size limit of outputs"
            ))),
            Some((topic, code)) => {
                let error = KafkaError::MessageProduction(code);
                let fatal = self.producer.client().fatal_error();
                Err(self.fault_of_error(&format!("deliver to `{topic}`"), &error, fatal))
            }
        }
    }

    fn fault_of_error(
        &self,
        attempted_step: &str,
        error: &KafkaError,
        fatal: Option<(RDKafkaErrorCode, String)>,
    ) -> Fault {
        match fault::classify_producer_error(attempted_step, error, fatal, self.transaction_age()) {
            ErrorAction::Retry(cause) => Fault::Unanswered(cause),
            ErrorAction::Fail(fault) => fault,
        }
    }

    fn has_timed_out(&self, since: Instant) -> bool {
        let stopping = self.stop.time_since_request();
        since.elapsed() >= GIVE_UP_AFTER
            || stopping.is_some_and(|asked| asked >= STOP_GIVE_UP_AFTER)
    }

    fn transaction_age(&self) -> TransactionAge {
        TransactionAge {
            open_for: self.transaction_began.map(|opened| opened.elapsed()),
            timeout: self.transaction_timeout,
        }
    }

    fn classify_error(&self, attempted_step: &str, error: &KafkaError) -> ErrorAction {
        let fatal = self.producer.client().fatal_error();
        fault::classify_producer_error(attempted_step, error, fatal, self.transaction_age())
    }

    /// Repeats a call until it succeeds, fails for good, or takes too long.
    fn retry_call(
        &self,
        doing: &str,
        stop: Option<&StopSignal>,
        call: impl Fn(&BaseProducer<DeliveryFailures>) -> KafkaResult<()>,
    ) -> Result<(), Fault> {
        let start = Instant::now();
        loop {
            let Err(error) = call(&self.producer) else {
                return Ok(());
            };
            match self.classify_error(doing, &error) {
                ErrorAction::Fail(fault) => return Err(fault),
                ErrorAction::Retry(cause) => {
                    let stopped = stop.is_some_and(StopSignal::is_requested);
                    if stopped || self.has_timed_out(start) {
                        return Err(Fault::TransportLost(cause));
                    }
                    if start.elapsed() >= WARN_AFTER {
                        tracing::warn!(step = doing, error = %error, "kafka: retrying");
                    }
                    self.producer.poll(DRAIN_POLL_TIMEOUT);
                }
            }
        }
    }
}

fn output_headers(policy_version: &str, output: &OutputPlan) -> OwnedHeaders {
    let format = match output.encoding {
        Some(_) => ValueFormat::Avro,
        None => ValueFormat::Json,
    };
    let plain = OwnedHeaders::new_with_capacity(6)
        .insert(Header { key: headers::CONTENT_TYPE, value: Some(format.media_type()) })
        .insert(Header { key: headers::POLICY_VERSION, value: Some(policy_version) });
    match output.contract_version.as_deref() {
        Some(version) => {
            plain.insert(Header { key: headers::CONTRACT_VERSION, value: Some(version) })
        }
        None => plain,
    }
}
