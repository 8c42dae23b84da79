//! Stories of patrons over years, on a real Kafka: what recipients have in the
//! end is what the plain model says, whatever aborts, workers and starts there
//! were on the way.
//!
//! Each run to the end is a process of its own: it joins the group, rebuilds,
//! reconciles, works off what came, and leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use zeef::daemon::worker::Ended;
use zeef::transport::Stop;
use zeef::transport::kafka::KafkaTransport;

use crate::exactly_once::Aborting;
use crate::harness::{Broker, Partitioner, Record, Topics, Writer};
use crate::play::hold;
use crate::reference::golden;
use crate::site::{self, Layout, Setup, by_recipient, check_state, compiled, worker};
use crate::story::{self, Step};
use crate::world::World;

const STORIES: u64 = 20;
/// How many stories are told at a time.
const TELLERS: u64 = 8;
const PARTITIONS: i32 = 2;
/// The clock of a story is another one than the broker's, and goes on for years.
const ANY_TIME: [(&str, &str); 2] = [
    ("message.timestamp.after.max.ms", "9223372036854775807"),
    ("retention.ms", "-1"),
];
/// When a message came is told by the broker; when a state was committed is not,
/// since it would say that the clock of the story is wrong.
const BROKERS_TIME: (&str, &str) = ("message.timestamp.type", "LogAppendTime");

#[test]
fn twenty_stories_end_as_the_rules_say() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    thread::scope(|scope| {
        for teller in 0..TELLERS {
            scope.spawn(move || {
                for seed in (teller..STORIES).step_by(TELLERS as usize) {
                    Stage::new(broker, seed).play(&story::story(seed, 16));
                }
            });
        }
    });
}

struct Stage<'a> {
    seed: u64,
    broker: &'a Broker,
    topics: Topics<'a>,
    writer: Writer,
    clock: Arc<AtomicI64>,
    world: World,
    /// Whether the policy is the changed one.
    changed: bool,
    /// When the last message was written.
    written_ms: i64,
}

/// The time of day, which is that of the broker too.
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

impl<'a> Stage<'a> {
    fn new(broker: &'a Broker, seed: u64) -> Self {
        let topics = Topics::new(broker, &format!("story-{seed}"));
        // That of the changed policy has every topic.
        for lane in compiled(Layout::One, true) {
            let plan = lane.plan();
            for source in &plan.sources {
                let configs = [&ANY_TIME[..], &[BROKERS_TIME]].concat();
                topics.create(&source.topic, PARTITIONS, &configs);
            }
            for output in &plan.outputs {
                topics.create(&output.topic, PARTITIONS, &ANY_TIME);
            }
        }
        Stage {
            seed,
            broker,
            topics,
            writer: Writer::new(broker, Partitioner::Murmur2),
            clock: Arc::new(AtomicI64::new(story::START_MS)),
            world: World::new(crate::recipients(false), golden::KEY, (story::START_MS, 1)),
            changed: false,
            written_ms: 0,
        }
    }

    /// A time of day that is later than when the last message was written.
    fn next_ms(&self) -> i64 {
        loop {
            let now_ms = now_ms();
            if now_ms > self.written_ms {
                return now_ms;
            }
            thread::yield_now();
        }
    }

    fn play(mut self, steps: &[Step]) {
        for (number, step) in steps.iter().enumerate() {
            match step {
                // Where such a record lies only chance knows, or the partitioner.
                Step::Push {
                    source, key, value, ..
                } if names_another(source, key, value) => {}
                Step::Push {
                    source, key, value, ..
                } => {
                    let came_ms = self.next_ms();
                    let record = match (key, value) {
                        (Some(key), Some(value)) => Record::new(key, value),
                        (Some(key), None) => Record::tombstone(key),
                        (None, value) => Record::keyless(value.as_deref().unwrap_or_default()),
                    };
                    self.writer.write(&self.topics.name(source), &[record]);
                    self.written_ms = now_ms();
                    let key = key.as_deref().map(str::as_bytes);
                    let value = value.as_deref().map(str::as_bytes);
                    self.world.push(source, 0, (key, value), came_ms);
                }
                Step::Clock(now_ms) => {
                    self.clock.store(*now_ms, Ordering::Relaxed);
                    self.world.set_clock(*now_ms);
                }
                Step::Run => {
                    self.run();
                    let seed = self.seed;
                    let held = self.check();
                    held.unwrap_or_else(|difference| {
                        panic!("story {seed} at step {number}: {difference}")
                    });
                }
                Step::Policy(changed) => {
                    self.changed = *changed;
                    self.world.set_policy(*changed, crate::recipients(*changed));
                }
                // A broker does not lose records here, and each run starts anew.
                _ => {}
            }
        }
    }

    /// All workers, to the end of what there is: two of them in every second
    /// story, and every third batch aborted in every third one.
    fn run(&self) {
        let workers = 1 + usize::from(self.seed % 2 == 1);
        let aborts = self.seed.is_multiple_of(3);
        thread::scope(|scope| {
            for place in 0..workers {
                scope.spawn(move || self.work(place, aborts));
            }
        });
    }

    fn work(&self, place: usize, aborts: bool) {
        let setup = Setup {
            batch: 8,
            ..Setup::PLAIN
        };
        for lane in compiled(Layout::One, self.changed) {
            let mut plan = lane.plan();
            plan.prints = Some(site::namer().fingerprinter());
            let opened =
                KafkaTransport::open(self.topics.worker_settings(), plan, place, Stop::default());
            let transport = opened.expect("a transport");
            let ended = if aborts {
                worker(lane, Aborting::new(transport), setup, &self.clock).run()
            } else {
                worker(lane, transport, setup, &self.clock).run()
            };
            assert_eq!(ended, Ok(Ended::AtEnd), "story {}", self.seed);
        }
    }

    fn check(&mut self) -> Result<(), String> {
        let mut topics = site::Topics::new();
        for lane in compiled(Layout::One, true) {
            let plan = lane.plan();
            let names: Vec<String> = plan
                .outputs
                .iter()
                .map(|output| self.topics.name(&output.topic))
                .collect();
            let mut found = self.broker.committed_of(&names);
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
        check_state(&topics, compiled(Layout::One, self.changed))?;
        hold(&mut self.world, by_recipient(topics).collect())?;
        Ok(())
    }
}

/// Whether a consent or an objection has another key than the patron that its
/// value names: what is said of that one may be of another partition.
fn names_another(source: &str, key: &Option<String>, value: &Option<String>) -> bool {
    let value = value.as_deref().unwrap_or_default();
    let named = value.split("\"patron_id\":\"").nth(1);
    let named = named.and_then(|rest| rest.split('"').next());
    let is_said = matches!(source, "consent" | "objection");
    is_said && named.is_some_and(|named| key.as_deref() != Some(named))
}
