//! The engine behind the same question as the plain model: what becomes of a
//! message? One pipeline and one outbox for the whole sequence.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeef::engine::lane::{CompileError, Lane, Options};
use zeef::engine::pipeline::{BatchTime, Pipeline};
use zeef::engine::record::Limits;
use zeef::json::scan;
use zeef::policy::Policy;
use zeef::policy::pseudonym::{Key, Pseudonymiser};
use zeef::policy::reason::Reason;
use zeef::transport::{Input, Outbox, Payload, SourceId};

use crate::plain::{Bounds, Message, dead_letter, secret};

pub struct Engine {
    lane: Arc<Lane>,
    pipeline: Pipeline,
    outbox: Outbox,
    /// The last message says that the lane must stop.
    pub stopped: bool,
}

/// Compiles all recipients of a policy into one lane.
pub fn lane(policy: &Policy, bounds: Bounds) -> Result<Arc<Lane>, CompileError> {
    let key = |name: &str| {
        let line = format!("test:{}", URL_SAFE_NO_PAD.encode(secret(name)));
        Some(Pseudonymiser::new(&Key::parse(&line).unwrap()))
    };
    let options = Options {
        limits: Limits {
            bytes: bounds.record_bytes,
            bounds: scan::Bounds {
                depth: bounds.depth,
                keys: bounds.keys,
            },
        },
        output_bytes_max: bounds.output_bytes,
    };
    Lane::compile("main", policy, |_| true, key, options).map(Arc::new)
}

impl Engine {
    pub fn new(lane: &Arc<Lane>, now_ms: i64) -> Self {
        let mut pipeline = Pipeline::new(Arc::clone(lane));
        pipeline.begin(BatchTime::from_ms(now_ms));
        Engine {
            lane: Arc::clone(lane),
            pipeline,
            outbox: Outbox::default(),
            stopped: false,
        }
    }

    /// Whether the lane reads records of this kind at all.
    pub fn reads(&self, kind: &str) -> bool {
        self.place(kind).is_some()
    }

    fn place(&self, kind: &str) -> Option<usize> {
        let mut sources = self.lane.sources.iter();
        sources.position(|source| source.kind.name == kind)
    }

    /// Decides one message; a line for everything that comes of it, sorted.
    pub fn offer(&mut self, message: &Message) -> Vec<String> {
        let at = self.place(&message.kind).unwrap();
        self.outbox.clear();
        let input = Input {
            source: SourceId(u16::try_from(at).unwrap()),
            partition: message.partition,
            offset: message.offset,
            timestamp_ms: None,
            appended: None,
            key: message.key.as_deref(),
            payload: message
                .value
                .as_deref()
                .map_or(Payload::Null, Payload::Bytes),
        };
        self.pipeline.decide(&input, &mut self.outbox);
        let mut said = self.counted(at);
        said.extend(self.published());
        self.explain(at, &input);
        self.pipeline.merge();
        self.stopped = self.pipeline.take_stop().is_some();
        said.sort();
        said
    }

    /// Asks for each recipient why, and holds it against what was decided.
    fn explain(&mut self, at: usize, input: &Input<'_>) {
        let tally = self.pipeline.tally().clone();
        let refused = named(&tally.sources[at].refused);
        for &index in &self.lane.sources[at].recipients {
            let counts = &tally.recipients[index];
            let held = (counts.held > 0).then_some(Reason::PatronUnknown);
            let decided = refused.or(held).or(named(&counts.withheld));
            let explained = self.pipeline.explain(input, index).unwrap().verdict;
            assert_eq!(explained, decided, "{}", self.lane.recipients[index].name);
        }
    }

    /// What the numbers say; released outputs are told by themselves.
    fn counted(&self, at: usize) -> Vec<String> {
        let tally = self.pipeline.tally();
        let source = &tally.sources[at];
        assert_eq!(source.consumed, 1);
        self.check_foreseen(at);
        let mut said = Vec::new();
        for (reason, &count) in Reason::ALL.iter().zip(&source.refused) {
            said.extend((0..count).map(|_| format!("refused {reason}")));
        }
        said.extend((0..source.applied).map(|_| "applied".to_owned()));
        for (index, program) in self.lane.recipients.iter().enumerate() {
            let tally = &tally.recipients[index];
            let mut outcomes = tally.released + tally.refused + tally.held;
            said.extend((0..tally.held).map(|_| format!("{} held", program.name)));
            for (reason, &count) in Reason::ALL.iter().zip(&tally.withheld) {
                outcomes += count;
                said.extend((0..count).map(|_| format!("{} withheld {reason}", program.name)));
            }
            let offered = self.lane.sources[at].recipients.contains(&index);
            assert_eq!(outcomes, u64::from(offered), "{}", program.name);
        }
        said
    }

    /// Each reason that was given is one of those that may be.
    fn check_foreseen(&self, at: usize) {
        let (source, tally) = (&self.lane.sources[at], self.pipeline.tally());
        let foreseen: Vec<Reason> = source.dead_letter_reasons().collect();
        let letter = named(&tally.sources[at].dead_letters);
        assert!(
            letter.is_none_or(|reason| foreseen.contains(&reason)),
            "{letter:?}"
        );
        for &index in &source.recipients {
            let program = &self.lane.recipients[index];
            let foreseen: Vec<Reason> = program.withheld_reasons(source).collect();
            let withheld = named(&tally.recipients[index].withheld);
            let is_foreseen = withheld.is_none_or(|reason| foreseen.contains(&reason));
            assert!(is_foreseen, "{}: {withheld:?}", program.name);
        }
    }

    fn published(&self) -> Vec<String> {
        let outputs = self.outbox.iter();
        let said = outputs.map(|output| {
            let value = String::from_utf8_lossy(output.value.unwrap());
            if output.output == self.lane.dead_letters {
                let letter: serde_json::Value = serde_json::from_str(&value).unwrap();
                let recipient = letter.get("recipient").and_then(|name| name.as_str());
                return dead_letter(letter["reason"].as_str().unwrap(), recipient);
            }
            let topic = &self.lane.outputs[usize::from(output.output.0)].topic;
            let key = String::from_utf8_lossy(output.key.unwrap());
            format!("released {topic} {key} {value}")
        });
        said.collect()
    }
}

/// The one reason that was counted.
fn named(counts: &[u64]) -> Option<Reason> {
    let place = counts.iter().position(|count| *count > 0)?;
    Some(Reason::ALL[place])
}
