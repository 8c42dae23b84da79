//! Outputs and offsets in one transaction, one transaction at a time.
//!
//! It never fetches group metadata: it is given that of the assignment.

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

use super::fault::{self, Opened, Step};
use super::log;
use super::settings::KafkaSettings;
use super::sweep::{SWEEP_KEY, Spot, Sweep};
use crate::transport::{Fault, LanePlan, Outbox, Output, OutputId, OutputRole, Stop};

/// How long one call may take before it is repeated: a call goes on where it was.
const CALL: Duration = Duration::from_secs(1);
/// After how long a call that is repeated is told of.
const TELL: Duration = Duration::from_secs(5);
/// How long one abort may take: it ends only once its failed deliveries are
/// polled, which happens between the calls.
const ABORT_CALL: Duration = Duration::from_millis(250);
/// How long a call is repeated before the producer is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same where a stop was asked, from then on: a batch that is not committed by then
/// is done again by the next start.
const LAST: Duration = Duration::from_secs(5);
/// One poll of a producer that waits for something else than its deliveries:
/// shorter ones cost twice the processor.
const DRAIN: Duration = Duration::from_millis(10);
/// How long it is waited for room in the queue at a time.
pub(super) const ROOM: Duration = Duration::from_millis(10);
/// How long a producer that drains, or whose queue is full, is left alone between
/// two looks. A poll that waits spins through its last millisecond; `flush` waits
/// for 100 ms where there is nothing to wait for.
const NAP: Duration = Duration::from_millis(2);
/// How long outputs may take to arrive before their transaction is aborted.
const SETTLE: Duration = Duration::from_secs(1);
const DAY_MS: i64 = 86_400_000;
/// How much longer than a segment is rolled after it is waited, at least.
const SLACK_MIN: Duration = Duration::from_secs(1);

/// Hands one record over. Yields it back where librdkafka's queue was full, once it
/// was waited for room.
pub(super) fn offer<'a>(
    producer: &BaseProducer<Deliveries>,
    record: BaseRecord<'a, [u8], [u8]>,
) -> KafkaResult<Option<BaseRecord<'a, [u8], [u8]>>> {
    match producer.send(record) {
        Ok(()) => {
            producer.poll(Duration::ZERO);
            Ok(None)
        }
        Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
            producer.poll(ROOM);
            Ok(Some(back))
        }
        Err((error, _)) => Err(error),
    }
}

/// Keeps the first failed delivery of a transaction. Of others nothing is heard:
/// see `delivery.report.only.error`.
#[derive(Default)]
pub(super) struct Deliveries {
    failed: Mutex<Option<(String, RDKafkaErrorCode)>>,
}

impl Deliveries {
    pub(super) fn take(&self) -> Option<(String, RDKafkaErrorCode)> {
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log::line("producer", level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log::error("producer", &error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, message)) = result else {
            return;
        };
        let code = error
            .rdkafka_error_code()
            .unwrap_or(RDKafkaErrorCode::Unknown);
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| (message.topic().to_owned(), code));
    }
}

struct Topic {
    name: String,
    day_only: bool,
    /// What is zeef's own says its format itself, and has none.
    headers: OwnedHeaders,
    role: OutputRole,
    /// The open transaction writes to it.
    written: bool,
}

impl Topic {
    fn is_restored(&self) -> bool {
        matches!(self.role, OutputRole::State | OutputRole::Patrons)
    }
}

/// The transactional producer of one worker.
pub(super) struct Outlet {
    producer: BaseProducer<Deliveries>,
    topics: Vec<Topic>,
    timeout: Duration,
    stop: Stop,
    /// When the open transaction began.
    opened: Option<Instant>,
    /// The time of the last batch that was published.
    now_ms: i64,
    pub sweep: Sweep,
}

impl Outlet {
    /// Connects, fences whoever had the transactional id before, and ends what
    /// that one left open.
    pub(super) fn open(
        settings: &KafkaSettings,
        plan: &LanePlan,
        worker: usize,
        stop: &Stop,
    ) -> Result<Self, Fault> {
        let producer: BaseProducer<Deliveries, NoCustomPartitioner> =
            BaseProducer::from_config_and_context(
                &settings.producer(plan, worker),
                Deliveries::default(),
            )
            .map_err(|error| Fault::Stop(format!("producer: {error}")))?;
        // A segment's age counts from its first message: another worker's, or a
        // marker, which may be of a later time than what this batch takes back.
        let rolled = settings.segment + (settings.segment / 10).max(SLACK_MIN);
        let outlet = Self {
            producer,
            topics: plan
                .outputs
                .iter()
                .map(|output| Topic {
                    name: settings.topic(&output.topic),
                    day_only: output.day_only,
                    headers: headers(output.version.as_ref().unwrap_or(&plan.policy_version)),
                    role: output.role,
                    written: false,
                })
                .collect(),
            timeout: settings.transaction_timeout,
            stop: stop.clone(),
            opened: None,
            now_ms: 0,
            sweep: Sweep::new(i64::try_from(rolled.as_millis()).unwrap_or(i64::MAX)),
        };
        outlet.repeat("start transactions", Some(stop), |producer| {
            producer.init_transactions(CALL)
        })?;
        Ok(outlet)
    }

    /// The topic of an output that is read back.
    pub(super) fn state(&self, output: OutputId) -> Option<&str> {
        let topic = self.topics.get(usize::from(output.0));
        topic
            .filter(|topic| topic.is_restored())
            .map(|topic| &*topic.name)
    }

    pub(super) fn is_open(&self) -> bool {
        self.opened.is_some()
    }

    /// Produces each output; begins a transaction where none is open.
    pub(super) fn publish(&mut self, outbox: &Outbox, now_ms: i64) -> Result<(), Fault> {
        if outbox.is_empty() {
            return Ok(());
        }
        self.begin()?;
        self.now_ms = now_ms;
        for output in outbox.iter() {
            self.produce(&output, now_ms)?;
            if let Some(topic) = self.topics.get_mut(usize::from(output.output.0)) {
                topic.written = true;
            }
        }
        self.producer.poll(Duration::ZERO);
        Ok(())
    }

    fn produce(&self, output: &Output<'_>, now_ms: i64) -> Result<(), Fault> {
        let Some(topic) = self.topics.get(usize::from(output.output.0)) else {
            return Err(Fault::Stop("an output has no topic in the plan".to_owned()));
        };
        let day_ms = now_ms - now_ms.rem_euclid(DAY_MS);
        let mut record = BaseRecord::<[u8], [u8]>::to(&topic.name).timestamp(if topic.day_only {
            day_ms
        } else {
            now_ms
        });
        if !topic.is_restored() {
            record = record.headers(topic.headers.clone());
        }
        record.partition = output.partition;
        record.key = output.key;
        record.payload = output.value;
        self.send(record)
    }

    /// Publishes a null under a key that no output has.
    pub(super) fn publish_sweep(&mut self, spot: Spot, now_ms: i64) -> Result<(), Fault> {
        self.begin()?;
        let null = Output {
            output: OutputId(u16::try_from(spot.0).unwrap_or(u16::MAX)),
            partition: Some(spot.1),
            key: Some(SWEEP_KEY),
            value: None,
        };
        self.produce(&null, now_ms)?;
        self.sweep.published(spot);
        Ok(())
    }

    /// The topics that recipients read, by their places in the plan.
    pub(super) fn outputs(&self) -> impl Iterator<Item = (usize, &str)> {
        let topics = self.topics.iter().enumerate();
        topics
            .filter(|(_, topic)| topic.role == OutputRole::Recipient)
            .map(|(place, topic)| (place, &*topic.name))
    }

    /// Notes where the committed transaction wrote.
    fn note_written(&mut self) {
        for (place, topic) in self.topics.iter_mut().enumerate() {
            let written = std::mem::take(&mut topic.written);
            if written && topic.role == OutputRole::Recipient {
                self.sweep.wrote(place, self.now_ms);
            }
        }
    }

    /// Hands one record to librdkafka; waits while its queue is full.
    fn send(&self, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), Fault> {
        let mut since = None;
        loop {
            let (error, back) = match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            record = back;
            match self.judge(&format!("produce to `{}`", record.topic), &error) {
                Step::Retry(text) => {
                    let since = *since.get_or_insert_with(Instant::now);
                    if self.is_over(since) {
                        return Err(Fault::Unanswered(text));
                    }
                    self.producer.poll(Duration::ZERO);
                    std::thread::sleep(NAP);
                }
                Step::Fail(fault) => return Err(fault),
            }
        }
    }

    /// Commits what was published, and `offsets`, together. A commit of
    /// unknown outcome is repeated, never taken for done.
    pub(super) fn commit(
        &mut self,
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
    ) -> Result<(), Fault> {
        self.begin()?;
        self.repeat("send offsets to the transaction", None, |producer| {
            producer.send_offsets_to_transaction(offsets, group, CALL)
        })?;
        self.drain()?;
        self.repeat("commit", None, |producer| producer.commit_transaction(CALL))?;
        self.opened = None;
        self.sweep.committed();
        self.note_written();
        Ok(())
    }

    /// Aborts the open transaction, if there is one.
    pub(super) fn abort(&mut self) -> Result<(), Fault> {
        if self.opened.is_none() {
            return Ok(());
        }
        self.sweep.aborted();
        self.settle();
        self.repeat("abort", None, |producer| {
            producer.abort_transaction(ABORT_CALL)
        })?;
        self.producer.poll(Duration::ZERO);
        self.forget();
        self.opened = None;
        Ok(())
    }

    /// Lets what is on its way arrive: a broker refuses to end a transaction of
    /// which it has seen nothing. What does not arrive soon is purged.
    fn settle(&self) {
        let deadline = Instant::now() + SETTLE;
        while self.producer.in_flight_count() > 0
            && Instant::now() < deadline
            && self.producer.client().fatal_error().is_none()
        {
            self.producer.poll(DRAIN);
        }
    }

    /// Serves librdkafka's events, without waiting.
    pub(super) fn serve(&self) {
        self.producer.poll(Duration::ZERO);
    }

    fn begin(&mut self) -> Result<(), Fault> {
        if self.opened.is_some() {
            return Ok(());
        }
        self.forget();
        self.repeat("begin", None, Producer::begin_transaction)?;
        self.opened = Some(Instant::now());
        Ok(())
    }

    fn forget(&mut self) {
        self.producer.context().take();
        for topic in &mut self.topics {
            topic.written = false;
        }
    }

    /// Waits until all that was produced is acknowledged: a commit is fast only
    /// on a drained producer.
    fn drain(&self) -> Result<(), Fault> {
        let since = Instant::now();
        while self.producer.in_flight_count() > 0 {
            if let Some(fatal) = self.producer.client().fatal_error() {
                let error = KafkaError::Flush(RDKafkaErrorCode::Fatal);
                return Err(self.fail("drain", &error, Some(fatal)));
            }
            if self.is_over(since) {
                return Err(Fault::Rebuild("drain: outputs got no answer".to_owned()));
            }
            // Failed deliveries count until they are taken.
            self.producer.poll(Duration::ZERO);
            std::thread::sleep(NAP);
        }
        match self.producer.context().take() {
            None => Ok(()),
            Some((topic, RDKafkaErrorCode::MessageSizeTooLarge)) => Err(Fault::Stop(format!(
                "topic `{topic}` takes no message of this size: raise its `max.message.bytes` or \
                 lower the size limit of outputs"
            ))),
            Some((topic, code)) => {
                let error = KafkaError::MessageProduction(code);
                let fatal = self.producer.client().fatal_error();
                Err(self.fail(&format!("deliver to `{topic}`"), &error, fatal))
            }
        }
    }

    fn fail(
        &self,
        doing: &str,
        error: &KafkaError,
        fatal: Option<(RDKafkaErrorCode, String)>,
    ) -> Fault {
        match fault::of_producer(doing, error, fatal, self.since()) {
            Step::Retry(text) => Fault::Unanswered(text),
            Step::Fail(fault) => fault,
        }
    }

    /// Whether what was begun `since` then has been tried for long enough.
    fn is_over(&self, since: Instant) -> bool {
        let stopping = self.stop.asked_for();
        since.elapsed() >= PATIENCE || stopping.is_some_and(|asked| asked >= LAST)
    }

    fn since(&self) -> Opened {
        Opened {
            since: self.opened.map(|opened| opened.elapsed()),
            timeout: self.timeout,
        }
    }

    fn judge(&self, doing: &str, error: &KafkaError) -> Step {
        let fatal = self.producer.client().fatal_error();
        fault::of_producer(doing, error, fatal, self.since())
    }

    /// Repeats one call until it succeeds, fails for good, or takes too long.
    fn repeat(
        &self,
        doing: &str,
        stop: Option<&Stop>,
        call: impl Fn(&BaseProducer<Deliveries>) -> KafkaResult<()>,
    ) -> Result<(), Fault> {
        let start = Instant::now();
        loop {
            let Err(error) = call(&self.producer) else {
                return Ok(());
            };
            match self.judge(doing, &error) {
                Step::Fail(fault) => return Err(fault),
                Step::Retry(text) => {
                    let stopped = stop.is_some_and(Stop::asked);
                    if stopped || self.is_over(start) {
                        return Err(Fault::Rebuild(text));
                    }
                    if start.elapsed() >= TELL {
                        tracing::warn!(step = doing, error = %error, "kafka: trying again");
                    }
                    self.producer.poll(DRAIN);
                }
            }
        }
    }
}

fn headers(policy_version: &str) -> OwnedHeaders {
    OwnedHeaders::new_with_capacity(2)
        .insert(Header {
            key: "content-type",
            value: Some("application/json"),
        })
        .insert(Header {
            key: "zeef-policy-version",
            value: Some(policy_version),
        })
}
