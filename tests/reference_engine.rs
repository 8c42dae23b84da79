//! The engine against the independent model, on nasty streams of records.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as expected"
)]
#![allow(unreachable_pub, reason = "modules of one test binary")]

mod common;
mod reference;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use reference::{Model, Outcome, Verdict, golden, nasty};
use zeef::engine::lane::{Lane, Options};
use zeef::engine::pipeline::{BatchTime, Pipeline};
use zeef::policy::Policy;
use zeef::policy::pseudonym::{Key, Pseudonymiser};
use zeef::policy::reason::Reason;
use zeef::transport::{Input, Outbox, Payload, SourceId};

fn lane() -> Arc<Lane> {
    let folder = tempfile::tempdir().unwrap();
    common::copy_folder(Path::new("config"), folder.path());
    common::switch_on(folder.path());
    let policy = Policy::load(folder.path()).unwrap().policy;
    let line = format!("golden:{}", base64_url(golden::KEY));
    let key = Key::parse(&line).unwrap();
    let pseudonymiser = |_: &str| Some(Pseudonymiser::new(&key));
    Arc::new(Lane::compile("main", &policy, |_| true, pseudonymiser, Options::default()).unwrap())
}

fn base64_url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// What the engine says of one message, in the words of the model.
struct Engine {
    lane: Arc<Lane>,
    pipeline: Pipeline,
    outbox: Outbox,
    offset: i64,
}

impl Engine {
    fn new(lane: Arc<Lane>) -> Self {
        let mut pipeline = Pipeline::new(Arc::clone(&lane));
        pipeline.begin(BatchTime::from_ms(golden::NOW_MS));
        Engine {
            lane,
            pipeline,
            outbox: Outbox::default(),
            offset: 0,
        }
    }

    fn offer(&mut self, source: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> Vec<String> {
        let at = self
            .lane
            .sources
            .iter()
            .position(|known| known.kind.name == source)
            .unwrap();
        self.outbox.clear();
        let input = Input {
            source: SourceId(u16::try_from(at).unwrap()),
            partition: 0,
            offset: self.offset,
            timestamp_ms: None,
            appended: None,
            key,
            payload: value.map_or(Payload::Null, Payload::Bytes),
        };
        self.offset += 1;
        self.pipeline.decide(&input, &mut self.outbox);
        let said = self.verdicts(at);
        self.pipeline.merge();
        said
    }

    fn verdicts(&self, at: usize) -> Vec<String> {
        let tally = self.pipeline.tally();
        let mut said = Vec::new();
        let source = &tally.sources[at];
        assert_eq!(source.consumed, 1);
        for (reason, &count) in Reason::ALL.iter().zip(&source.refused) {
            if count > 0 {
                said.push(format!("refused {reason}"));
            }
        }
        if source.applied > 0 {
            said.push("applied".to_owned());
        }
        for output in self.outbox.iter() {
            if output.output == self.lane.dead_letters {
                continue;
            }
            let name = &self.lane.recipients[usize::from(output.output.0)].name;
            let key = String::from_utf8_lossy(output.key.unwrap()).into_owned();
            let value = String::from_utf8_lossy(output.value.unwrap()).into_owned();
            said.push(format!("{name} released {key} {value}"));
        }
        for (program, tally) in self.lane.recipients.iter().zip(&tally.recipients) {
            let mut outcomes = tally.released + tally.refused + tally.held;
            if tally.held > 0 {
                said.push(format!("{} held", program.name));
            }
            for (reason, &count) in Reason::ALL.iter().zip(&tally.withheld) {
                outcomes += count;
                if count > 0 {
                    said.push(format!("{} withheld {reason}", program.name));
                }
            }
            let offered = self.lane.sources[at]
                .recipients
                .iter()
                .any(|&index| self.lane.recipients[index].name == program.name);
            assert_eq!(outcomes, u64::from(offered), "{}", program.name);
        }
        said.sort();
        said
    }
}

fn model_says(verdicts: &[Verdict]) -> Vec<String> {
    let mut said: Vec<String> = verdicts
        .iter()
        .map(|verdict| {
            let who = verdict
                .recipient
                .map_or(String::new(), |name| format!("{name} "));
            match &verdict.outcome {
                Outcome::Released { key, value } => {
                    format!("{who}released {key} {}", String::from_utf8_lossy(value))
                }
                Outcome::Withheld(reason) => format!("{who}withheld {reason}"),
                Outcome::Refused(reason) => format!("{who}refused {reason}"),
                Outcome::Held => format!("{who}held"),
                Outcome::Applied => format!("{who}applied"),
            }
        })
        .collect();
    said.sort();
    said
}

fn agree(messages: &[nasty::Message]) {
    thread_local! { static LANE: Arc<Lane> = lane(); }
    let mut model = Model::with_key(golden::KEY, golden::NOW_MS);
    let mut engine = Engine::new(LANE.with(Arc::clone));
    let mut patrons: BTreeMap<Vec<u8>, String> = BTreeMap::new();
    for message in messages {
        let (key, value) = (message.key.as_deref(), message.value.as_deref());
        let wanted = model_says(&model.offer(message.source, key, value));
        let found = engine.offer(message.source, key, value);
        assert_eq!(
            found,
            wanted,
            "left is the engine, right the model, on {} {:?} {} of {:?}",
            message.source,
            key.map(String::from_utf8_lossy),
            value.map_or("(null)".into(), String::from_utf8_lossy),
            patrons.get(key.unwrap_or_default())
        );
        if message.source == "patron" {
            let text = value.map_or(String::new(), |value| String::from_utf8_lossy(value).into());
            patrons.insert(key.unwrap_or_default().to_vec(), text);
        }
    }
}

#[test]
fn the_engine_says_what_the_model_says() {
    for seed in 0..40 {
        agree(&nasty::stream(seed, 500));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn the_engine_says_what_the_model_says_of_any_stream(messages in nasty::streams(60)) {
        agree(&messages);
    }
}

/// A million mutated records; minutes long, so for people.
#[test]
#[ignore = "a million records take minutes: cargo test --release -- --ignored"]
fn a_million_records() {
    for seed in 0..2_000 {
        agree(&nasty::stream(1_000_000 + seed, 500));
    }
}
