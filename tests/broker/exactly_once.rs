//! Nothing twice and nothing missing, whatever happens to the process, its
//! group or the broker.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError::Timeout};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use zeef::daemon::metrics::Metrics;
use zeef::daemon::run::LaneSetup;
use zeef::daemon::worker::{Worker, WorkerExit};
use zeef::engine::lane::DEAD_LETTERS_TOPIC;
use zeef::engine::pipeline::Pipeline;
use zeef::engine::tally::Tally;
use zeef::message::continuity::{ContinuityFinding, ContinuityMark, MarkPositions};
use zeef::message::{
    AbortReason, Coordinates, Fault, Input, MisplacedRecord, Outbox, Output, OutputId, SourceId,
};
use zeef::policy::reason::Reason;
use zeef::sample::{SampleLibrary, SampleSource};
use zeef::transport::kafka::KafkaTransport;
use zeef::transport::{
    LateGate, PartitionLag, PollFlow, PollOutcome, ReadOutcome, StopSignal, Transport,
};

use crate::harness::{
    Broker, BrokerOptions, ConfigTweaks, DeadLetterPointer, Deployment, ExpectedResult,
    HOLD_LIMITS, ProducerPartitioner, ProducerRecord, TestProducer, TransactionEnds, ZeefProcess,
    eventually, sample_library, wait_until_ready,
};

const WAIT_TIMEOUT: Duration = Duration::from_secs(180);
/// Small batches, so that many of them begin and end in a short time.
const SMALL_BATCHES: &str = "[batch]\nrecords = 200\n";
const LOAN_OUTPUT_TOPICS: [&str; 2] = ["out.service-message", "out.statistics"];

#[test]
fn until_end_run_gives_each_recipient_exactly_its_outputs() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let sections = "[lanes.main]\n[lanes.finance]\nrecipients = [\"deurwaarder\"]\n";
    let tweaks = ConfigTweaks { sections, ..ConfigTweaks::default() };
    let deployment = Deployment::new(broker, "until-end", tweaks);
    let library = sample_library(1, 300);
    deployment.write_library(&library);
    deployment.run_to_end(&[]);
    let expected = deployment.check_results();
    assert!(expected.count_outputs() > 500, "found {}", expected.count_outputs());
    assert_eq!(expected.tallies.len(), 2);
    check_committed_and_left(&deployment);

    // Nothing is new: nothing comes of it.
    deployment.run_to_end(&[]);
    deployment.write_records(SampleSource::Loan.as_str(), &renewed_loans(&library, 1));
    deployment.run_to_end(&["--instance", "b"]);
    deployment.check_results();
    check_committed_and_left(&deployment);
}

/// All is committed, and nobody is in a group any more.
#[track_caller]
fn check_committed_and_left(deployment: &Deployment<'_>) {
    deployment.wait_all_committed();
    assert!(deployment.has_no_open_transaction());
    for lane in deployment.lanes() {
        let group = deployment.group_id(&lane.lane.name);
        assert_eq!(deployment.broker.count_group_members(&group), 0, "{group}");
    }
}

#[test]
fn invalid_records_become_dead_letters_and_the_stream_continues() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let deployment = Deployment::new(broker, "refused", ConfigTweaks::default());
    let library = sample_library(3, 200);
    let invalid_records: Vec<_> = library.invalid_records().collect();
    deployment.write_gates(&library);
    deployment.write_source(&library, SampleSource::Loan);
    let mut zeef = deployment.start_and_wait_ready(&[]);
    deployment.write_invalid_records(&invalid_records);
    for source in [SampleSource::Reservation, SampleSource::IllRequest, SampleSource::Debt] {
        deployment.write_source(&library, source);
    }
    deployment.write_records(SampleSource::Loan.as_str(), &renewed_loans(&library, 1));
    deployment.wait_all_committed();

    let expected = deployment.check_results();
    check_dead_letters(&deployment, &expected);
    let refused = invalid_records.iter().filter(|one| one.reason != Reason::PatronUnknown);
    for one in refused {
        let (source, reason) = (one.source, one.reason.as_str());
        let mut letters = expected.dead_letters.iter();
        assert!(
            letters.any(|letter| letter.topic == source && letter.reason == reason),
            "{source}: {}",
            one.description
        );
    }
    for (lane, tally) in &expected.tallies {
        check_metrics(&zeef, lane, tally);
    }
    zeef.send_signal(Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0);
    for said in [zeef.stdout(), zeef.stderr()] {
        assert!(!said.contains("poison-"), "{said}");
    }
}

/// Dead letters have these words and no others, so that no value is in them.
#[track_caller]
fn check_dead_letters(deployment: &Deployment<'_>, expected: &ExpectedResult) {
    let words = BTreeSet::from([
        "format",
        "lane",
        "topic",
        "partition",
        "offset",
        "reason",
        "recipient",
        "policy_version",
        "time",
    ]);
    let rows = deployment.topics.read_committed(DEAD_LETTERS_TOPIC);
    assert_eq!(rows.len(), expected.dead_letters.len());
    for row in &rows {
        assert_eq!(row.key, None);
        let names: Vec<&str> = row.headers.iter().map(|header| header.0.as_str()).collect();
        assert_eq!(names, ["content-type", "zeef-policy-version"]);
        let text = row.value_text().unwrap();
        let Value::Object(json) = serde_json::from_str(text).unwrap() else {
            panic!("expected an object, found {text}");
        };
        assert!(json.keys().all(|name| words.contains(&**name)), "{text}");
        assert!(!text.contains("poison"), "{text}");
        let letter = DeadLetterPointer::read(text.as_bytes());
        let source = letter.topic;
        let partition = i32::try_from(letter.partition).unwrap();
        let (first, end) = deployment.broker.watermarks(
            &source,
            partition,
            crate::harness::Isolation::Uncommitted,
        );
        assert!((first..end).contains(&letter.offset), "{text}");
    }
}

/// The counters of one process that did all the work.
#[track_caller]
fn check_metrics(zeef: &ZeefProcess, lane: &LaneSetup, tally: &Tally) {
    let name = lane.lane.name.as_str();
    let check = |metric: &str, labels: &[(&str, &str)], want: u64| {
        let found = zeef.fetch_metric_sum(metric, labels).unwrap_or_default();
        assert_eq!(found, want as f64, "{metric} {labels:?}");
    };
    let by_reason = |metric: &str, label: (&str, &str), counts: &[u64]| {
        for (reason, count) in Reason::ALL.iter().zip(counts) {
            check(metric, &[label, ("reason", reason.as_str())], *count);
        }
    };
    for (source, tally) in lane.plan.sources.iter().zip(&tally.sources) {
        let topic = ("topic", source.topic.as_str());
        let labels = [("lane", name), topic];
        check("zeef_records_consumed_total", &labels, tally.consumed);
        check("zeef_consumed_bytes_total", &labels, tally.bytes);
        check("zeef_records_applied_total", &labels, tally.gate_records);
        by_reason("zeef_records_refused_total", topic, &tally.refused);
    }
    for (program, tally) in lane.lane.recipients.iter().zip(&tally.recipients) {
        // How often sums are corrected depends on the order in which topics are read.
        if program.summaries.iter().next().is_some() {
            continue;
        }
        let recipient = ("recipient", program.name.as_str());
        check("zeef_records_released_total", &[recipient], tally.released);
        check("zeef_released_bytes_total", &[recipient], tally.bytes);
        let refused = "zeef_recipient_records_refused_total";
        check(refused, &[recipient], tally.refused);
        by_reason("zeef_records_withheld_total", recipient, &tally.withheld);
    }
    for (reason, count) in Reason::ALL.iter().zip(&tally.dead_letters) {
        let reason = ("reason", reason.as_str());
        check("zeef_dead_letters_total", &[reason], *count);
    }
    check("zeef_batches_aborted_total", &[("lane", name)], 0);
}

#[test]
fn rebalance_under_load_loses_and_repeats_nothing() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let sections = format!("{SMALL_BATCHES}[lanes.main]\nworkers = 2\n");
    let tweaks = ConfigTweaks {
        kafka_lines: "session_timeout_ms = 6000",
        sections: &sections,
        ..ConfigTweaks::default()
    };
    let deployment = Deployment::new(broker, "share", tweaks);
    let library = sample_library(4, 200);
    deployment.write_gates(&library);
    let mut first = deployment.start_and_wait_ready(&[]);
    run_under_load(&deployment, &library, || {
        wait_owned_partitions(&first, 4);
        for signal in [Signal::TERM, Signal::KILL] {
            let mut second = deployment.start_and_wait_ready(&["--instance", "b"]);
            wait_owned_partitions(&second, 2);
            wait_owned_partitions(&first, 2);
            wait_consumed(&mut second, 500);
            wait_consumed_more(&mut first, 500);
            second.send_signal(signal);
            let code = second.wait_exit(WAIT_TIMEOUT);
            assert_eq!(code, if signal == Signal::TERM { 0 } else { 137 });
            wait_owned_partitions(&first, 4);
            wait_consumed_more(&mut first, 500);
        }
    });
    deployment.wait_all_committed();
    first.send_signal(Signal::TERM);
    assert_eq!(first.wait_exit(WAIT_TIMEOUT), 0);
    deployment.check_results();
}

#[test]
fn process_kill_at_any_time_loses_and_repeats_nothing() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let tweaks = ConfigTweaks { sections: SMALL_BATCHES, ..ConfigTweaks::default() };
    let deployment = Deployment::new(broker, "killed", tweaks);
    let library = sample_library(5, 200);
    deployment.write_gates(&library);
    let loaded = LoanOutputs::new(&deployment);
    run_under_load(&deployment, &library, || {
        for round in 0..20 {
            let mut zeef = deployment.start_run(&[]);
            wait_consumed(&mut zeef, 50 + round * 61 % 200);
            if round % 2 == 0 {
                loaded.suspend_process(&zeef, true);
            }
            zeef.send_signal(Signal::KILL);
            assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 137);
        }
    });
    deployment.run_to_end(&[]);
    deployment.check_results();
    assert!(deployment.has_no_open_transaction());
    let aborted: usize =
        LOAN_OUTPUT_TOPICS.iter().map(|topic| count_aborted_outputs(&deployment, topic)).sum();
    assert!(aborted > 0, "ten kills were in the middle of a transaction");
}

/// How many outputs lie in `topic` that nobody may see.
fn count_aborted_outputs(deployment: &Deployment<'_>, topic: &str) -> usize {
    deployment.topics.read_uncommitted(topic).len() - deployment.topics.read_committed(topic).len()
}

#[test]
fn process_stop_commits_its_batch_and_restart_regains_partitions() {
    const SESSION: Duration = Duration::from_secs(60);
    let Some(broker) = Broker::shared() else {
        return;
    };
    let tweaks = ConfigTweaks {
        kafka_lines: "session_timeout_ms = 60000",
        sections: SMALL_BATCHES,
        ..ConfigTweaks::default()
    };
    let deployment = Deployment::new(broker, "asked", tweaks);
    let library = sample_library(6, 200);
    deployment.write_gates(&library);
    run_under_load(&deployment, &library, || {
        let mut zeef = deployment.start_and_wait_ready(&[]);
        for signal in [Signal::TERM, Signal::INT, Signal::KILL, Signal::TERM] {
            wait_consumed(&mut zeef, 500);
            zeef.send_signal(signal);
            let start = Instant::now();
            let code = zeef.wait_exit(Duration::from_secs(10));
            if signal == Signal::KILL {
                assert_eq!(code, 137);
            } else {
                assert_eq!(code, 0, "{}", zeef.stderr());
                assert!(deployment.has_no_open_transaction());
            }
            zeef = deployment.start_and_wait_ready(&[]);
            wait_owned_partitions(&zeef, 4);
            let away = start.elapsed();
            assert!(away < SESSION / 2, "the session is {SESSION:?}, found {away:?}");
        }
        zeef.send_signal(Signal::TERM);
        assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0);
    });
    deployment.run_to_end(&[]);
    deployment.check_results();
}

#[test]
fn broker_crash_under_load_loses_and_repeats_nothing() {
    let Some(broker) = Broker::start_own(BrokerOptions::default()) else {
        return;
    };
    let tweaks = ConfigTweaks { sections: SMALL_BATCHES, ..ConfigTweaks::default() };
    let deployment = Deployment::new(&broker, "broker", tweaks);
    let library = sample_library(7, 200);
    deployment.write_gates(&library);
    let mut zeef = deployment.start_and_wait_ready(&[]);
    run_under_load(&deployment, &library, || {
        wait_consumed(&mut zeef, 500);
        broker.kill();
        broker.start();
        wait_consumed_more(&mut zeef, 500);
        broker.restart();
        wait_consumed_more(&mut zeef, 500);
    });
    deployment.wait_all_committed();
    wait_until_ready(&mut zeef);
    zeef.send_signal(Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0);
    deployment.check_results();
}

#[test]
fn fencing_leaves_one_of_two_processes_with_the_same_instance() {
    const OBSERVATION_PERIOD: Duration = Duration::from_secs(6);
    let Some(broker) = Broker::shared() else {
        return;
    };
    let tweaks = ConfigTweaks { sections: SMALL_BATCHES, ..ConfigTweaks::default() };
    let deployment = Deployment::new(broker, "twins", tweaks);
    let library = sample_library(8, 200);
    deployment.write_gates(&library);
    let mut processes = vec![deployment.start_and_wait_ready(&[])];
    run_under_load(&deployment, &library, || {
        wait_consumed(&mut processes[0], 500);
        processes.push(deployment.start_run(&[]));
        let (at, code) = eventually("one of the twins ends", WAIT_TIMEOUT, || {
            let mut ends = processes.iter_mut().map(ZeefProcess::exit_code).enumerate();
            ends.find_map(|(at, code)| Some((at, code?)))
        });
        let ended = processes.remove(at);
        assert_eq!(code, 75, "{}", ended.stderr());
        assert!(ended.stderr().contains("another instance"), "{}", ended.stderr());
        wait_until_ready(&mut processes[0]);
        wait_consumed(&mut processes[0], 500);
        let start = Instant::now();
        eventually("the other one stays", WAIT_TIMEOUT, || {
            assert_eq!(processes[0].exit_code(), None, "{}", processes[0].stderr());
            assert!(processes[0].is_ready(), "{}", processes[0].stderr());
            (start.elapsed() > OBSERVATION_PERIOD).then_some(())
        });
    });
    deployment.wait_all_committed();
    processes[0].send_signal(Signal::TERM);
    assert_eq!(processes[0].wait_exit(WAIT_TIMEOUT), 0);
    deployment.check_results();
}

#[test]
fn process_suspended_past_its_session_recovers() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let tweaks = ConfigTweaks {
        kafka_lines: "transaction_timeout_ms = 1500\nsession_timeout_ms = 6000",
        sections: SMALL_BATCHES,
        ..ConfigTweaks::default()
    };
    let deployment = Deployment::new(broker, "stopped", tweaks);
    let library = sample_library(9, 200);
    let loaded = LoanOutputs::new(&deployment);
    deployment.write_gates(&library);
    let mut zeef = deployment.start_and_wait_ready(&[]);
    run_under_load(&deployment, &library, || {
        for in_transaction in [true, false] {
            wait_consumed_more(&mut zeef, 300);
            loaded.suspend_process(&zeef, in_transaction);
            eventually("Kafka gives it up", WAIT_TIMEOUT, || {
                let members = broker.count_group_members(&deployment.group_id("main"));
                (members == 0 && !loaded.has_open_transaction()).then_some(())
            });
            zeef.send_signal(Signal::CONT);
            wait_consumed_more(&mut zeef, 300);
            wait_until_ready(&mut zeef);
        }
    });
    deployment.wait_all_committed();
    zeef.send_signal(Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT_TIMEOUT), 0);
    deployment.check_results();
}

#[test]
fn aborted_batches_leave_no_trace_in_outputs_and_counters() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let deployment = Deployment::new(broker, "aborted-batches", ConfigTweaks::default());
    let library = sample_library(10, 200);
    deployment.write_library(&library);
    deployment.write_invalid_records(&library.invalid_records().collect::<Vec<_>>());
    let [lane] = <[LaneSetup; 1]>::try_from(deployment.lanes()).expect("one lane");
    let stop = StopSignal::default();
    let opened = KafkaTransport::open(
        deployment.topics.kafka_settings(),
        lane.plan.clone(),
        0,
        stop.clone(),
    );
    let transport = AbortingTransport::new(opened.unwrap());
    let metrics = Metrics::new(&lane.plan.policy_version).unwrap();
    let pipeline = Pipeline::with_state(lane.lane.clone(), lane.state_keys.clone(), HOLD_LIMITS);
    let mut worker = Worker::new(pipeline, transport, metrics.worker_metrics(&lane.lane, 0));
    worker.bounds.records = 100;
    worker.stop = stop.clone();
    let (ended, wait_for_end) = mpsc::channel::<()>();
    let deadline = thread::spawn(move || {
        if wait_for_end.recv_timeout(WAIT_TIMEOUT) == Err(Timeout) {
            stop.request();
        }
    });
    assert_eq!(worker.run(), Ok(WorkerExit::EndOfInput), "within {WAIT_TIMEOUT:?}");
    drop(ended);
    deadline.join().unwrap();
    assert!(worker.transport.aborted_count >= 3, "{}", worker.transport.aborted_count);

    let expected = deployment.check_results();
    let (_, tally) = &expected.tallies[0];
    assert_eq!(worker.totals.sources, tally.sources);
    assert_eq!(worker.totals.recipients, tally.recipients);
    assert_eq!(worker.totals.dead_letters, tally.dead_letters);
    let mut topics = deployment.output_topics().into_iter();
    assert!(topics.any(|topic| count_aborted_outputs(&deployment, &topic) > 0));
}

/// Kafka, but for every third batch: it is published, and then aborted.
pub(crate) struct AbortingTransport {
    inner: KafkaTransport,
    commit_count: u32,
    aborted_count: u32,
}

impl AbortingTransport {
    pub(crate) fn new(inner: KafkaTransport) -> Self {
        AbortingTransport { inner, commit_count: 0, aborted_count: 0 }
    }
}

impl Transport for AbortingTransport {
    fn poll(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Input<'_>) -> PollFlow,
    ) -> Result<PollOutcome, Fault> {
        self.inner.poll(wait, take)
    }

    fn rebuild(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<ReadOutcome, Fault> {
        self.inner.rebuild(source, partition, take)
    }

    fn replay(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<ReadOutcome, Fault> {
        self.inner.replay(source, partition, take)
    }

    fn reread_records(
        &mut self,
        wanted: &[Coordinates],
        take: &mut dyn FnMut(usize, Option<Input<'_>>),
    ) -> Result<ReadOutcome, Fault> {
        self.inner.reread_records(wanted, take)
    }

    fn restore(
        &mut self,
        output: OutputId,
        partition: i32,
        take: &mut dyn FnMut(Output<'_>),
    ) -> Result<ReadOutcome, Fault> {
        self.inner.restore(output, partition, take)
    }

    fn maintain(&mut self, now_ms: i64) -> Result<bool, Fault> {
        self.inner.maintain(now_ms)
    }

    fn load_mark(&mut self, partition: i32, mark: Option<&ContinuityMark>) -> Result<(), Fault> {
        self.inner.load_mark(partition, mark)
    }

    fn compare_with_mark(
        &mut self,
        partition: i32,
        before: bool,
    ) -> Result<Vec<ContinuityFinding>, Fault> {
        self.inner.compare_with_mark(partition, before)
    }

    fn apply_accepted(&mut self, findings: &[ContinuityFinding]) -> Result<(), Fault> {
        self.inner.apply_accepted(findings)
    }

    fn find_changes(&mut self) -> Result<Vec<ContinuityFinding>, Fault> {
        self.inner.find_changes()
    }

    fn batch_partitions(&self) -> BTreeSet<i32> {
        self.inner.batch_partitions()
    }

    fn mark_positions(&mut self, partition: i32, number: u64) -> MarkPositions {
        self.inner.mark_positions(partition, number)
    }

    fn clock_ahead_ms(
        &mut self,
        output: OutputId,
        partition: i32,
        written_ms: i64,
    ) -> Result<Option<i64>, Fault> {
        self.inner.clock_ahead_ms(output, partition, written_ms)
    }

    fn needs_initial_mark(&self) -> bool {
        self.inner.needs_initial_mark()
    }

    fn take_misplaced(&mut self) -> Result<Vec<MisplacedRecord>, Fault> {
        self.inner.take_misplaced()
    }

    fn is_misplaced(&self, at: Coordinates, key: &[u8]) -> bool {
        self.inner.is_misplaced(at, key)
    }

    fn resume(&mut self) -> Result<(), Fault> {
        self.inner.resume()
    }

    fn release(&mut self) -> Result<(), Fault> {
        self.inner.release()
    }

    fn publish(&mut self, outbox: &Outbox, now_ms: i64) -> Result<(), Fault> {
        self.inner.publish(outbox, now_ms)
    }

    fn commit(&mut self) -> Result<(), Fault> {
        self.commit_count += 1;
        if !self.commit_count.is_multiple_of(3) {
            return self.inner.commit();
        }
        self.aborted_count += 1;
        // What was published is on its way, or there.
        self.inner.pause(Duration::from_millis(20))?;
        let reason = AbortReason::CallFailed { step: "commit", code: None };
        Err(Fault::abort(reason, "on purpose"))
    }

    fn has_uncommitted(&self) -> bool {
        self.inner.has_uncommitted()
    }

    fn rewind(&mut self) -> Result<(), Fault> {
        self.inner.rewind()
    }

    fn pause(&mut self, wait: Duration) -> Result<(), Fault> {
        self.inner.pause(wait)
    }

    fn lag(&mut self) -> Vec<PartitionLag> {
        self.inner.lag()
    }

    fn is_caught_up(&mut self) -> Result<bool, Fault> {
        self.inner.is_caught_up()
    }

    fn late_gate(&self) -> Option<LateGate> {
        self.inner.late_gate()
    }

    fn close(&mut self, leave: bool) -> Result<(), Fault> {
        self.inner.close(leave)
    }
}

/// The outputs that are made of loans.
struct LoanOutputs {
    transaction_ends: TransactionEnds,
    topics: [String; 2],
}

impl LoanOutputs {
    fn new(deployment: &Deployment<'_>) -> Self {
        Self {
            transaction_ends: TransactionEnds::new(deployment.broker),
            topics: LOAN_OUTPUT_TOPICS.map(|topic| deployment.topics.full_name(topic)),
        }
    }

    /// Whether a transaction is open, while the process is stopped.
    fn has_open_transaction(&self) -> bool {
        self.topics.iter().any(|topic| self.transaction_ends.has_open_transaction(topic))
    }

    /// Stops `zeef` with a transaction open, or with none.
    #[track_caller]
    fn suspend_process(&self, zeef: &ZeefProcess, open: bool) {
        eventually("it is stopped where it shall be", WAIT_TIMEOUT, || {
            zeef.send_signal(Signal::STOP);
            if self.has_open_transaction() == open {
                return Some(());
            }
            zeef.send_signal(Signal::CONT);
            None
        });
    }
}

/// Acts while loans are written, version after version of the same ones.
fn run_under_load<T>(
    deployment: &Deployment<'_>,
    library: &SampleLibrary,
    act: impl FnOnce() -> T,
) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // Also where `act` panics: the scope waits for its threads.
        let _end = SetOnDrop(&done);
        scope.spawn(|| write_loans_until(deployment, library, &done));
        act()
    })
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Writes about a thousand loans a second.
fn write_loans_until(deployment: &Deployment<'_>, library: &SampleLibrary, done: &AtomicBool) {
    const RECORDS: usize = 40;
    const WRITE_INTERVAL: Duration = Duration::from_millis(20);
    // A client that was in the middle of a request may hang long after its
    // broker is back: a new one writes the same again.
    const GIVE_UP_AFTER: Duration = Duration::from_secs(5);
    let mut writer = TestProducer::new(deployment.broker, ProducerPartitioner::Murmur2);
    let topic = deployment.topics.full_name(SampleSource::Loan.as_str());
    for number in 0.. {
        for records in renewed_loans(library, number).chunks(RECORDS) {
            if done.load(Ordering::Acquire) {
                return;
            }
            while writer.write_records_within(GIVE_UP_AFTER, &topic, records).is_err() {
                if done.load(Ordering::Acquire) {
                    return;
                }
                writer = TestProducer::new(deployment.broker, ProducerPartitioner::Murmur2);
            }
            thread::sleep(WRITE_INTERVAL);
        }
    }
}

/// The library's loans, each renewed so many times.
fn renewed_loans(library: &SampleLibrary, renewals: u32) -> Vec<ProducerRecord> {
    library
        .messages_of_source(SampleSource::Loan)
        .filter_map(|message| {
            let mut value: Value = serde_json::from_str(&message.value?).ok()?;
            value["renewals"] = renewals.into();
            Some(ProducerRecord::new(message.key?, value.to_string()))
        })
        .collect()
}

/// Waits until `zeef` has committed `count` loans.
#[track_caller]
fn wait_consumed(zeef: &mut ZeefProcess, count: u32) {
    eventually(&format!("{count} loans"), WAIT_TIMEOUT, || {
        if let Some(code) = zeef.exit_code() {
            panic!("zeef ended with {code}: {}", zeef.stderr());
        }
        (consumed_loans(zeef) >= f64::from(count)).then_some(())
    });
}

/// Waits until `zeef` has committed `count` loans more than now.
#[track_caller]
fn wait_consumed_more(zeef: &mut ZeefProcess, count: u32) {
    let before = consumed_loans(zeef);
    wait_consumed(zeef, before as u32 + count);
}

fn consumed_loans(zeef: &ZeefProcess) -> f64 {
    let loans = [("topic", SampleSource::Loan.as_str())];
    let found = zeef.fetch_metric_sum("zeef_records_consumed_total", &loans);
    found.unwrap_or_default()
}

/// Waits until `zeef` owns so many partitions of the loans.
#[track_caller]
fn wait_owned_partitions(zeef: &ZeefProcess, count: usize) {
    eventually(&format!("{count} partitions"), WAIT_TIMEOUT, || {
        let text = zeef.fetch_metrics()?;
        let lags = text.lines().filter(|line| line.starts_with("zeef_consumer_lag{"));
        let owned = lags.filter(|line| line.contains("topic=\"loan\"")).count();
        (owned == count).then_some(())
    });
}
