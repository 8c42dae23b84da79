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
use zeef::daemon::run::LaneRun;
use zeef::daemon::worker::{Ended, Worker};
use zeef::engine::lane::DEAD_LETTERS_TOPIC;
use zeef::engine::pipeline::Pipeline;
use zeef::engine::tally::Tally;
use zeef::policy::reason::Reason;
use zeef::sample::{Library, Source};
use zeef::transport::continuity::{Finding, Mark, Position};
use zeef::transport::kafka::KafkaTransport;
use zeef::transport::{
    Coordinates, Fault, Flow, Input, Lag, Misplaced, Outbox, Output, OutputId, Polled, Rebuilt,
    SourceId, Stop, Transport,
};

use crate::harness::{
    Broker, Ends, Expected, HOLDS, Letter, Options, Partitioner, Record, Scene, Tweaks, Writer,
    Zeef, eventually, library, until_ready,
};

const WAIT: Duration = Duration::from_secs(180);
/// Small batches, so that many of them begin and end in a short time.
const SMALL: &str = "[batch]\nrecords = 200\n";
const LOADED: [&str; 2] = ["out.service-message", "out.statistics"];

#[test]
fn every_recipient_gets_what_it_may_see_in_a_run_to_the_end() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let sections = "[lanes.main]\n[lanes.finance]\nrecipients = [\"deurwaarder\"]\n";
    let tweaks = Tweaks {
        sections,
        ..Tweaks::default()
    };
    let scene = Scene::new(broker, "until-end", tweaks);
    let library = library(1, 300);
    scene.write_library(&library);
    scene.run_to_end(&[]);
    let expected = scene.check();
    assert!(expected.released() > 500, "found {}", expected.released());
    assert_eq!(expected.tallies.len(), 2);
    check_left(&scene);

    // Nothing is new: nothing comes of it.
    scene.run_to_end(&[]);
    scene.write(Source::Loan.as_str(), &version(&library, 1));
    scene.run_to_end(&["--instance", "b"]);
    scene.check();
    check_left(&scene);
}

/// All is committed, and nobody is in a group any more.
#[track_caller]
fn check_left(scene: &Scene<'_>) {
    scene.wait_done();
    assert!(scene.no_open_transaction());
    for lane in scene.lanes() {
        let group = scene.group(&lane.lane.name);
        assert_eq!(scene.broker.group_members(&group), 0, "{group}");
    }
}

#[test]
fn poison_becomes_dead_letters_and_the_stream_goes_on() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let scene = Scene::new(broker, "refused", Tweaks::default());
    let library = library(3, 200);
    let poison: Vec<_> = library.poison().collect();
    scene.write_gates(&library);
    scene.write_source(&library, Source::Loan);
    let mut zeef = scene.ready(&[]);
    scene.write_poison(&poison);
    for source in [Source::Reservation, Source::IllRequest, Source::Debt] {
        scene.write_source(&library, source);
    }
    scene.write(Source::Loan.as_str(), &version(&library, 1));
    scene.wait_done();

    let expected = scene.check();
    check_letters(&scene, &expected);
    let refused = poison
        .iter()
        .filter(|one| one.reason != Reason::PatronUnknown);
    for one in refused {
        let (source, reason) = (one.source, one.reason.as_str());
        let mut letters = expected.letters.iter();
        assert!(
            letters.any(|letter| letter.topic == source && letter.reason == reason),
            "{source}: {}",
            one.about
        );
    }
    for (lane, tally) in &expected.tallies {
        check_metrics(&zeef, lane, tally);
    }
    zeef.signal(Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT), 0);
    for said in [zeef.stdout(), zeef.stderr()] {
        assert!(!said.contains("poison-"), "{said}");
    }
}

/// Dead letters have these words and no others, so that no value is in them.
#[track_caller]
fn check_letters(scene: &Scene<'_>, expected: &Expected) {
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
    let rows = scene.topics.committed(DEAD_LETTERS_TOPIC);
    assert_eq!(rows.len(), expected.letters.len());
    for row in &rows {
        assert_eq!(row.key, None);
        let names: Vec<&str> = row.headers.iter().map(|header| header.0.as_str()).collect();
        assert_eq!(names, ["content-type", "zeef-policy-version"]);
        let text = row.text().unwrap();
        let Value::Object(json) = serde_json::from_str(text).unwrap() else {
            panic!("expected an object, found {text}");
        };
        assert!(json.keys().all(|name| words.contains(&**name)), "{text}");
        assert!(!text.contains("poison"), "{text}");
        let letter = Letter::read(text.as_bytes());
        let source = letter.topic;
        let partition = i32::try_from(letter.partition).unwrap();
        let (first, end) =
            scene
                .broker
                .watermarks(&source, partition, crate::harness::Isolation::Uncommitted);
        assert!((first..end).contains(&letter.offset), "{text}");
    }
}

/// The counters of one process that did all the work.
#[track_caller]
fn check_metrics(zeef: &Zeef, lane: &LaneRun, tally: &Tally) {
    let name = lane.lane.name.as_str();
    let check = |metric: &str, labels: &[(&str, &str)], want: u64| {
        let found = zeef.metric(metric, labels).unwrap_or_default();
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
        check("zeef_records_applied_total", &labels, tally.applied);
        by_reason("zeef_records_refused_total", topic, &tally.refused);
    }
    for (program, tally) in lane.lane.recipients.iter().zip(&tally.recipients) {
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
fn workers_and_processes_share_the_work_while_they_come_and_go() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let sections = format!("{SMALL}[lanes.main]\nworkers = 2\n");
    let tweaks = Tweaks {
        kafka: "session_timeout_ms = 6000",
        sections: &sections,
        ..Tweaks::default()
    };
    let scene = Scene::new(broker, "share", tweaks);
    let library = library(4, 200);
    scene.write_gates(&library);
    let mut first = scene.ready(&[]);
    under_load(&scene, &library, || {
        wait_owned(&first, 4);
        for signal in [Signal::TERM, Signal::KILL] {
            let mut second = scene.ready(&["--instance", "b"]);
            wait_owned(&second, 2);
            wait_owned(&first, 2);
            wait_consumed(&mut second, 500);
            wait_consumed_more(&mut first, 500);
            second.signal(signal);
            let code = second.wait_exit(WAIT);
            assert_eq!(code, if signal == Signal::TERM { 0 } else { 137 });
            wait_owned(&first, 4);
            wait_consumed_more(&mut first, 500);
        }
    });
    scene.wait_done();
    first.signal(Signal::TERM);
    assert_eq!(first.wait_exit(WAIT), 0);
    scene.check();
}

#[test]
fn a_process_may_be_killed_at_any_time() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let tweaks = Tweaks {
        sections: SMALL,
        ..Tweaks::default()
    };
    let scene = Scene::new(broker, "killed", tweaks);
    let library = library(5, 200);
    scene.write_gates(&library);
    let loaded = Loaded::new(&scene);
    under_load(&scene, &library, || {
        for round in 0..20 {
            let mut zeef = scene.run(&[]);
            wait_consumed(&mut zeef, 50 + round * 61 % 200);
            if round % 2 == 0 {
                loaded.stop(&zeef, true);
            }
            zeef.signal(Signal::KILL);
            assert_eq!(zeef.wait_exit(WAIT), 137);
        }
    });
    scene.run_to_end(&[]);
    scene.check();
    assert!(scene.no_open_transaction());
    let aborted: usize = LOADED.iter().map(|topic| aborted(&scene, topic)).sum();
    assert!(aborted > 0, "ten kills were in the middle of a transaction");
}

/// How many outputs lie in `topic` that nobody may see.
fn aborted(scene: &Scene<'_>, topic: &str) -> usize {
    scene.topics.uncommitted(topic).len() - scene.topics.committed(topic).len()
}

#[test]
fn a_process_that_is_asked_to_stop_finishes_and_has_its_partitions_back_at_once() {
    const SESSION: Duration = Duration::from_secs(60);
    let Some(broker) = Broker::shared() else {
        return;
    };
    let tweaks = Tweaks {
        kafka: "session_timeout_ms = 60000",
        sections: SMALL,
        ..Tweaks::default()
    };
    let scene = Scene::new(broker, "asked", tweaks);
    let library = library(6, 200);
    scene.write_gates(&library);
    under_load(&scene, &library, || {
        let mut zeef = scene.ready(&[]);
        for signal in [Signal::TERM, Signal::INT, Signal::KILL, Signal::TERM] {
            wait_consumed(&mut zeef, 500);
            zeef.signal(signal);
            let start = Instant::now();
            let code = zeef.wait_exit(Duration::from_secs(10));
            if signal == Signal::KILL {
                assert_eq!(code, 137);
            } else {
                assert_eq!(code, 0, "{}", zeef.stderr());
                assert!(scene.no_open_transaction());
            }
            zeef = scene.ready(&[]);
            wait_owned(&zeef, 4);
            let away = start.elapsed();
            assert!(
                away < SESSION / 2,
                "the session is {SESSION:?}, found {away:?}"
            );
        }
        zeef.signal(Signal::TERM);
        assert_eq!(zeef.wait_exit(WAIT), 0);
    });
    scene.run_to_end(&[]);
    scene.check();
}

#[test]
fn a_broker_may_crash_and_restart_under_load() {
    let Some(broker) = Broker::own(Options::default()) else {
        return;
    };
    let tweaks = Tweaks {
        sections: SMALL,
        ..Tweaks::default()
    };
    let scene = Scene::new(&broker, "broker", tweaks);
    let library = library(7, 200);
    scene.write_gates(&library);
    let mut zeef = scene.ready(&[]);
    under_load(&scene, &library, || {
        wait_consumed(&mut zeef, 500);
        broker.kill();
        broker.start();
        wait_consumed_more(&mut zeef, 500);
        broker.restart();
        wait_consumed_more(&mut zeef, 500);
    });
    scene.wait_done();
    until_ready(&mut zeef);
    zeef.signal(Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT), 0);
    scene.check();
}

#[test]
fn of_two_processes_with_one_name_exactly_one_goes_on() {
    const WATCHED: Duration = Duration::from_secs(6);
    let Some(broker) = Broker::shared() else {
        return;
    };
    let tweaks = Tweaks {
        sections: SMALL,
        ..Tweaks::default()
    };
    let scene = Scene::new(broker, "twins", tweaks);
    let library = library(8, 200);
    scene.write_gates(&library);
    let mut twins = vec![scene.ready(&[])];
    under_load(&scene, &library, || {
        wait_consumed(&mut twins[0], 500);
        twins.push(scene.run(&[]));
        let (at, code) = eventually("one of the twins ends", WAIT, || {
            let mut ends = twins.iter_mut().map(Zeef::exited).enumerate();
            ends.find_map(|(at, code)| Some((at, code?)))
        });
        let ended = twins.remove(at);
        assert_eq!(code, 75, "{}", ended.stderr());
        assert!(
            ended.stderr().contains("another instance"),
            "{}",
            ended.stderr()
        );
        until_ready(&mut twins[0]);
        wait_consumed(&mut twins[0], 500);
        let start = Instant::now();
        eventually("the other one stays", WAIT, || {
            assert_eq!(twins[0].exited(), None, "{}", twins[0].stderr());
            assert!(twins[0].ready(), "{}", twins[0].stderr());
            (start.elapsed() > WATCHED).then_some(())
        });
    });
    scene.wait_done();
    twins[0].signal(Signal::TERM);
    assert_eq!(twins[0].wait_exit(WAIT), 0);
    scene.check();
}

#[test]
fn a_process_that_was_stopped_for_too_long_recovers_by_itself() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let tweaks = Tweaks {
        kafka: "transaction_timeout_ms = 1500\nsession_timeout_ms = 6000",
        sections: SMALL,
        ..Tweaks::default()
    };
    let scene = Scene::new(broker, "stopped", tweaks);
    let library = library(9, 200);
    let loaded = Loaded::new(&scene);
    scene.write_gates(&library);
    let mut zeef = scene.ready(&[]);
    under_load(&scene, &library, || {
        for in_transaction in [true, false] {
            wait_consumed_more(&mut zeef, 300);
            loaded.stop(&zeef, in_transaction);
            eventually("Kafka gives it up", WAIT, || {
                let members = broker.group_members(&scene.group("main"));
                (members == 0 && !loaded.is_open()).then_some(())
            });
            zeef.signal(Signal::CONT);
            wait_consumed_more(&mut zeef, 300);
            until_ready(&mut zeef);
        }
    });
    scene.wait_done();
    zeef.signal(Signal::TERM);
    assert_eq!(zeef.wait_exit(WAIT), 0);
    scene.check();
}

#[test]
fn batches_that_are_aborted_leave_no_trace() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let scene = Scene::new(broker, "aborted-batches", Tweaks::default());
    let library = library(10, 200);
    scene.write_library(&library);
    scene.write_poison(&library.poison().collect::<Vec<_>>());
    let [lane] = <[LaneRun; 1]>::try_from(scene.lanes()).expect("one lane");
    let stop = Stop::default();
    let opened = KafkaTransport::open(
        scene.topics.worker_settings(),
        lane.plan.clone(),
        0,
        stop.clone(),
    );
    let transport = Aborting::new(opened.unwrap());
    let metrics = Metrics::new(&lane.plan.policy_version).unwrap();
    let pipeline = Pipeline::with_state(lane.lane.clone(), lane.namer.clone(), HOLDS);
    let mut worker = Worker::new(pipeline, transport, metrics.worker(&lane.lane, 0));
    worker.bounds.records = 100;
    worker.stop = stop.clone();
    let (ended, wait_for_end) = mpsc::channel::<()>();
    let deadline = thread::spawn(move || {
        if wait_for_end.recv_timeout(WAIT) == Err(Timeout) {
            stop.ask();
        }
    });
    assert_eq!(worker.run(), Ok(Ended::AtEnd), "within {WAIT:?}");
    drop(ended);
    deadline.join().unwrap();
    assert!(
        worker.transport.aborted >= 3,
        "{}",
        worker.transport.aborted
    );

    let expected = scene.check();
    let (_, tally) = &expected.tallies[0];
    assert_eq!(worker.totals.sources, tally.sources);
    assert_eq!(worker.totals.recipients, tally.recipients);
    assert_eq!(worker.totals.dead_letters, tally.dead_letters);
    let mut topics = scene.output_topics().into_iter();
    assert!(topics.any(|topic| aborted(&scene, &topic) > 0));
}

/// Kafka, but for every third batch: it is published, and then aborted.
pub(crate) struct Aborting {
    inner: KafkaTransport,
    commits: u32,
    aborted: u32,
}

impl Aborting {
    pub(crate) fn new(inner: KafkaTransport) -> Self {
        Aborting {
            inner,
            commits: 0,
            aborted: 0,
        }
    }
}

impl Transport for Aborting {
    fn poll(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Input<'_>) -> Flow,
    ) -> Result<Polled, Fault> {
        self.inner.poll(wait, take)
    }

    fn rebuild(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<Rebuilt, Fault> {
        self.inner.rebuild(source, partition, take)
    }

    fn replay(
        &mut self,
        source: SourceId,
        partition: i32,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<Rebuilt, Fault> {
        self.inner.replay(source, partition, take)
    }

    fn read_again(
        &mut self,
        wanted: &[Coordinates],
        take: &mut dyn FnMut(usize, Option<Input<'_>>),
    ) -> Result<Rebuilt, Fault> {
        self.inner.read_again(wanted, take)
    }

    fn restore(
        &mut self,
        output: OutputId,
        partition: i32,
        take: &mut dyn FnMut(Output<'_>),
    ) -> Result<Rebuilt, Fault> {
        self.inner.restore(output, partition, take)
    }

    fn tidy(&mut self, now_ms: i64) -> Result<bool, Fault> {
        self.inner.tidy(now_ms)
    }

    fn recall(&mut self, partition: i32, mark: Option<&Mark>) -> Result<(), Fault> {
        self.inner.recall(partition, mark)
    }

    fn verify(&mut self, partition: i32, before: bool) -> Result<Vec<Finding>, Fault> {
        self.inner.verify(partition, before)
    }

    fn accept(&mut self, findings: &[Finding]) -> Result<(), Fault> {
        self.inner.accept(findings)
    }

    fn check(&mut self) -> Result<Vec<Finding>, Fault> {
        self.inner.check()
    }

    fn acting(&self) -> BTreeSet<i32> {
        self.inner.acting()
    }

    fn position(&mut self, partition: i32, number: u64) -> Position {
        self.inner.position(partition, number)
    }

    fn clock_ahead_ms(
        &mut self,
        output: OutputId,
        partition: i32,
        written_ms: i64,
    ) -> Result<Option<i64>, Fault> {
        self.inner.clock_ahead_ms(output, partition, written_ms)
    }

    fn begins_with_mark(&self) -> bool {
        self.inner.begins_with_mark()
    }

    fn misplaced(&mut self) -> Result<Vec<Misplaced>, Fault> {
        self.inner.misplaced()
    }

    fn lies_elsewhere(&self, at: Coordinates, key: &[u8]) -> bool {
        self.inner.lies_elsewhere(at, key)
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
        self.commits += 1;
        if !self.commits.is_multiple_of(3) {
            return self.inner.commit();
        }
        self.aborted += 1;
        // What was published is on its way, or there.
        self.inner.pause(Duration::from_millis(20))?;
        Err(Fault::Abort("on purpose".to_owned()))
    }

    fn uncommitted(&self) -> bool {
        self.inner.uncommitted()
    }

    fn rewind(&mut self) -> Result<(), Fault> {
        self.inner.rewind()
    }

    fn pause(&mut self, wait: Duration) -> Result<(), Fault> {
        self.inner.pause(wait)
    }

    fn lag(&mut self) -> Vec<Lag> {
        self.inner.lag()
    }

    fn close(&mut self, leave: bool) -> Result<(), Fault> {
        self.inner.close(leave)
    }
}

/// The outputs that are made of loans.
struct Loaded {
    ends: Ends,
    topics: [String; 2],
}

impl Loaded {
    fn new(scene: &Scene<'_>) -> Self {
        Self {
            ends: Ends::new(scene.broker),
            topics: LOADED.map(|topic| scene.topics.name(topic)),
        }
    }

    /// Whether a transaction is open, while the process is stopped.
    fn is_open(&self) -> bool {
        self.topics.iter().any(|topic| self.ends.is_open(topic))
    }

    /// Stops `zeef` with a transaction open, or with none.
    #[track_caller]
    fn stop(&self, zeef: &Zeef, open: bool) {
        eventually("it is stopped where it shall be", WAIT, || {
            zeef.signal(Signal::STOP);
            if self.is_open() == open {
                return Some(());
            }
            zeef.signal(Signal::CONT);
            None
        });
    }
}

/// Acts while loans are written, version after version of the same ones.
fn under_load<T>(scene: &Scene<'_>, library: &Library, act: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // Also where `act` panics: the scope waits for its threads.
        let _end = Done(&done);
        scope.spawn(|| write_until(scene, library, &done));
        act()
    })
}

struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Writes about a thousand loans a second.
fn write_until(scene: &Scene<'_>, library: &Library, done: &AtomicBool) {
    const RECORDS: usize = 40;
    const PACE: Duration = Duration::from_millis(20);
    // A client that was in the middle of a request may hang long after its
    // broker is back: a new one writes the same again.
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut writer = Writer::new(scene.broker, Partitioner::Murmur2);
    let topic = scene.topics.name(Source::Loan.as_str());
    for number in 0.. {
        for records in version(library, number).chunks(RECORDS) {
            if done.load(Ordering::Acquire) {
                return;
            }
            while writer.write_within(PATIENCE, &topic, records).is_err() {
                if done.load(Ordering::Acquire) {
                    return;
                }
                writer = Writer::new(scene.broker, Partitioner::Murmur2);
            }
            thread::sleep(PACE);
        }
    }
}

/// The library's loans, each renewed so many times.
fn version(library: &Library, renewals: u32) -> Vec<Record> {
    library
        .source(Source::Loan)
        .filter_map(|message| {
            let mut value: Value = serde_json::from_str(&message.value?).ok()?;
            value["renewals"] = renewals.into();
            Some(Record::new(message.key, value.to_string()))
        })
        .collect()
}

/// Waits until `zeef` has committed `count` loans.
#[track_caller]
fn wait_consumed(zeef: &mut Zeef, count: u32) {
    let start = Instant::now();
    while consumed(zeef) < f64::from(count) {
        if let Some(code) = zeef.exited() {
            panic!("zeef ended with {code}: {}", zeef.stderr());
        }
        assert!(
            start.elapsed() < WAIT,
            "expected {count} loans: {}",
            zeef.stderr()
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until `zeef` has committed `count` loans more than now.
#[track_caller]
fn wait_consumed_more(zeef: &mut Zeef, count: u32) {
    let before = consumed(zeef);
    wait_consumed(zeef, before as u32 + count);
}

fn consumed(zeef: &Zeef) -> f64 {
    let loans = [("topic", Source::Loan.as_str())];
    let found = zeef.metric("zeef_records_consumed_total", &loans);
    found.unwrap_or_default()
}

/// Waits until `zeef` owns so many partitions of the loans.
#[track_caller]
fn wait_owned(zeef: &Zeef, count: usize) {
    eventually(&format!("{count} partitions"), WAIT, || {
        let text = zeef.metrics()?;
        let lags = text
            .lines()
            .filter(|line| line.starts_with("zeef_consumer_lag{"));
        let owned = lags.filter(|line| line.contains("topic=\"loan\"")).count();
        (owned == count).then_some(())
    });
}
