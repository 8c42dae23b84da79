//! Stories of patrons over years, on a real Kafka: what recipients have in the
//! end is what the plain model says, whatever aborts, workers and starts there
//! were on the way.
//!
//! Each run to the end is a process of its own: it joins the group, rebuilds,
//! reconciles, works off what came, and leaves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use zeef::daemon::worker::{Worker, WorkerExit};
use zeef::engine::lane::Lane;
use zeef::ledger::block::ChainName;
use zeef::message::continuity::{ContinuityMark, MARK_ROW_KEY};
use zeef::message::{Fault, OutputRole};
use zeef::transport::kafka::KafkaTransport;
use zeef::transport::{StopSignal, Transport};

use crate::exactly_once::AbortingTransport;
use crate::harness::{Broker, ProducerPartitioner, ProducerRecord, TestProducer, TestTopics};
use zeef_test_kit::convergence_model::ConvergenceModel;
use zeef_test_kit::deployment::{
    self, DeploymentSetup, LaneLayout, SOME_RECIPIENTS, cached_lanes, cached_ledger_lanes,
    check_state, new_worker, recipient_topics,
};
use zeef_test_kit::ledger::{SentMessage, check_ledger};
use zeef_test_kit::scenario::{self, ScenarioStep};
use zeef_test_kit::scenario_runner::compare_recipients_with_model;
use zeef_test_kit::worker::state_keys;

const SCENARIO_COUNT: u64 = 20;
/// How many stories are told at a time.
const PARALLEL_SCENARIOS: u64 = 2;
const PARTITION_COUNT: i32 = 2;
/// How long the last batch of a run waits for more records.
const LAST_BATCH_WAIT: Duration = Duration::from_millis(200);
/// The clock of a story is another one than the broker's, and goes on for years.
const ANY_TIMESTAMP_SETTINGS: [(&str, &str); 2] =
    [("message.timestamp.after.max.ms", "9223372036854775807"), ("retention.ms", "-1")];
/// When a message came is told by the broker; when a state was committed is not,
/// since it would say that the clock of the story is wrong.
const LOG_APPEND_TIME_SETTING: (&str, &str) = ("message.timestamp.type", "LogAppendTime");

/// `STORY=9` plays that one alone.
#[test]
fn convergence_of_twenty_scenarios_on_kafka_matches_the_model() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    thread::scope(|scope| {
        for thread_number in 0..PARALLEL_SCENARIOS {
            scope.spawn(move || {
                for seed in (thread_number..SCENARIO_COUNT).step_by(PARALLEL_SCENARIOS as usize) {
                    if std::env::var("STORY").is_ok_and(|only| only != seed.to_string()) {
                        continue;
                    }
                    KafkaScenario::new(broker, seed, false)
                        .run_steps(&scenario::generate_scenario(seed, 16));
                }
            });
        }
    });
}

/// Two workers in every second story, and aborts in every third one.
#[test]
fn ledger_on_kafka_equals_outputs_key_for_key() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    for seed in [30, 31, 33] {
        let scenario = KafkaScenario::new(broker, seed, true);
        scenario.run_steps(&scenario::generate_scenario(seed, 16));
    }
}

struct KafkaScenario<'a> {
    seed: u64,
    has_ledger: bool,
    broker: &'a Broker,
    topics: TestTopics<'a>,
    writer: TestProducer,
    clock: Arc<AtomicI64>,
    model: ConvergenceModel,
    /// Whether the policy is the changed one.
    is_policy_changed: bool,
    /// When the last message was written.
    last_written_ms: i64,
}

/// The time of day, which is that of the broker too.
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

impl<'a> KafkaScenario<'a> {
    fn new(broker: &'a Broker, seed: u64, has_ledger: bool) -> Self {
        let topics = TestTopics::new(broker, &format!("story-{seed}"));
        // That of the changed policy has every topic.
        for lane in lanes(has_ledger, true) {
            let plan = lane.transport_plan();
            for source in &plan.sources {
                let configs = [&ANY_TIMESTAMP_SETTINGS[..], &[LOG_APPEND_TIME_SETTING]].concat();
                // Versions of a record without a key must lie in one partition.
                let count = if source.is_joined { PARTITION_COUNT } else { 1 };
                topics.create(&source.topic, count, &configs);
            }
            for output in &plan.outputs {
                topics.create(&output.topic, PARTITION_COUNT, &ANY_TIMESTAMP_SETTINGS);
            }
        }
        KafkaScenario {
            seed,
            has_ledger,
            broker,
            topics,
            writer: TestProducer::new(broker, ProducerPartitioner::Murmur2),
            clock: Arc::new(AtomicI64::new(scenario::START_MS)),
            model: ConvergenceModel::new(scenario::START_MS),
            is_policy_changed: false,
            last_written_ms: 0,
        }
    }

    /// A time of day that is later than when the last message was written.
    fn next_append_ms(&self) -> i64 {
        loop {
            let now_ms = now_ms();
            if now_ms > self.last_written_ms {
                return now_ms;
            }
            thread::yield_now();
        }
    }

    fn run_steps(mut self, steps: &[ScenarioStep]) {
        for (number, step) in steps.iter().enumerate() {
            match step {
                // Where such a record lies only chance knows, or the partitioner.
                ScenarioStep::PushMessage { source, key, value, .. }
                    if names_another_patron(source, key, value) => {}
                ScenarioStep::PushMessage { source, key, value, .. } => {
                    let came_ms = self.next_append_ms();
                    let record = match (key, value) {
                        (Some(key), Some(value)) => ProducerRecord::new(key, value),
                        (Some(key), None) => ProducerRecord::tombstone(key),
                        (None, value) => {
                            ProducerRecord::without_key(value.as_deref().unwrap_or_default())
                        }
                    };
                    self.writer.write_records(&self.topics.full_name(source), &[record]);
                    self.last_written_ms = now_ms();
                    let key = key.as_deref().map(str::as_bytes);
                    let value = value.as_deref().map(str::as_bytes);
                    self.model.push_message(source, 0, (key, value), came_ms);
                }
                ScenarioStep::SetClock(now_ms) => {
                    self.clock.store(*now_ms, Ordering::Relaxed);
                    self.model.set_clock(*now_ms);
                }
                ScenarioStep::RunToEnd => {
                    self.run_workers();
                    let seed = self.seed;
                    let held = self.check_against_model();
                    held.unwrap_or_else(|difference| {
                        panic!("story {seed} at step {number}: {difference}")
                    });
                }
                ScenarioStep::SwitchPolicy(changed) => {
                    self.is_policy_changed = *changed;
                    self.model.set_policy(*changed);
                }
                // A broker does not lose records here, and each run starts anew.
                _ => {}
            }
        }
    }

    /// All workers, to the end of what there is: two of them in every second
    /// story, and every third batch aborted in every third one.
    fn run_workers(&self) {
        let workers = 1 + usize::from(self.seed % 2 == 1);
        let aborts = self.seed.is_multiple_of(3);
        thread::scope(|scope| {
            for place in 0..workers {
                scope.spawn(move || self.run_worker(place, aborts));
            }
        });
    }

    fn run_worker(&self, worker_index: usize, aborts: bool) {
        let setup = DeploymentSetup { batch_records: 8, ..DeploymentSetup::DEFAULT };
        for lane in lanes(self.has_ledger, self.is_policy_changed) {
            let mut plan = lane.transport_plan();
            plan.fingerprinter = Some(state_keys().fingerprinter());
            let opened = KafkaTransport::open(
                self.topics.kafka_settings(),
                plan,
                worker_index,
                StopSignal::default(),
            );
            let transport = opened.expect("a transport");
            let ended = if aborts {
                let transport = AbortingTransport::new(transport);
                run_to_end(new_worker(lane, transport, setup, &self.clock))
            } else {
                run_to_end(new_worker(lane, transport, setup, &self.clock))
            };
            assert_eq!(ended, Ok(WorkerExit::EndOfInput), "story {}", self.seed);
        }
    }

    fn check_against_model(&mut self) -> Result<(), String> {
        if self.has_ledger {
            self.check_ledger()?;
        }
        let mut topics = deployment::ValuesByTopic::new();
        for lane in cached_lanes(LaneLayout::SomeRecipients, true) {
            let plan = lane.transport_plan();
            let names: Vec<String> =
                plan.outputs.iter().map(|output| self.topics.full_name(&output.topic)).collect();
            let mut found = self.broker.read_committed_topics(&names);
            for (output, name) in plan.outputs.iter().zip(&names) {
                let values = topics.entry(output.topic.clone()).or_default();
                for row in found.remove(name).unwrap_or_default() {
                    let key = row.key.as_deref().map(String::from_utf8_lossy);
                    let key = key.unwrap_or_default().into_owned();
                    // Rows of the transport's own are none of the state's.
                    match row.value.filter(|_| !key.starts_with("next:")) {
                        Some(value) => values.insert(key, value),
                        None => values.remove(&key),
                    };
                }
            }
        }
        check_state(&topics, cached_lanes(LaneLayout::SomeRecipients, self.is_policy_changed))?;
        let is_there = |name: &str| SOME_RECIPIENTS.contains(&name);
        compare_recipients_with_model(&mut self.model, recipient_topics(topics), is_there)?;
        Ok(())
    }
}

/// Runs a worker whose batches are closed by their size, but for the last one.
fn run_to_end(mut worker: Worker<impl Transport>) -> Result<WorkerExit, Fault> {
    worker.bounds.max_wait = LAST_BATCH_WAIT;
    worker.run()
}

/// The lanes, with or without a ledger.
fn lanes(has_ledger: bool, is_policy_changed: bool) -> &'static [Arc<Lane>] {
    match has_ledger {
        true => cached_ledger_lanes(LaneLayout::SomeRecipients, is_policy_changed),
        false => cached_lanes(LaneLayout::SomeRecipients, is_policy_changed),
    }
}

impl KafkaScenario<'_> {
    /// Compares what a partner and a verifier may read, all of it committed.
    fn check_ledger(&self) -> Result<(), String> {
        let (mut register, mut blocks, mut sent) = (Vec::new(), Vec::new(), Vec::new());
        let mut heads = BTreeMap::new();
        for lane in lanes(true, true) {
            let plan = lane.transport_plan();
            let names: Vec<String> =
                plan.outputs.iter().map(|output| self.topics.full_name(&output.topic)).collect();
            let mut found = self.broker.read_committed_topics(&names);
            for (output, name) in plan.outputs.iter().zip(&names) {
                for row in found.remove(name).unwrap_or_default() {
                    let is_mark = row.key.as_deref() == Some(MARK_ROW_KEY);
                    match (output.role, row.key, row.value) {
                        (OutputRole::Ledger, _, Some(block)) => blocks.push(block),
                        (OutputRole::Register, _, Some(entry)) => register.push(entry),
                        (OutputRole::State, _, Some(mark)) if is_mark => {
                            let prints = state_keys().fingerprinter();
                            let mark = ContinuityMark::decode(&prints, &mark);
                            let mark = mark.map_err(|error| error.to_string())?;
                            if let Some(head) = mark.ledger {
                                let (lane, born) = (lane.name.clone(), head.born);
                                let partition = row.partition;
                                let chain = ChainName { lane, partition, born };
                                heads.insert(chain.to_string(), head);
                            }
                        }
                        // A null under a key that no output has only rolls the topic.
                        (OutputRole::Recipient, Some(key), value)
                            if *key != *b"AAAAAAAAAAAAAAAAAAAAAA" =>
                        {
                            let (topic, is_tombstone) = (output.topic.clone(), value.is_none());
                            sent.push(SentMessage { topic, key, is_tombstone });
                        }
                        _ => {}
                    }
                }
            }
        }
        check_ledger(&register, &blocks, &heads, &sent)
    }
}

/// Whether a consent or an objection has another key than the patron that its
/// value names: what is said of that one may be of another partition.
fn names_another_patron(source: &str, key: &Option<String>, value: &Option<String>) -> bool {
    let value = value.as_deref().unwrap_or_default();
    let named = value.split("\"patron_id\":\"").nth(1);
    let named = named.and_then(|rest| rest.split('"').next());
    let is_said = matches!(source, "consent" | "objection");
    is_said && named.is_some_and(|named| key.as_deref() != Some(named))
}
