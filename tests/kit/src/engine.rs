//! The engine behind the model's question: what becomes of a message?

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeef::engine::lane::{CompileError, CompileOptions, Lane};
use zeef::engine::pipeline::{BatchTime, Pipeline};
use zeef::engine::record::RecordLimits;
use zeef::json::scan;
use zeef::message::{Input, Outbox, Payload, SourceId};
use zeef::policy::Policy;
use zeef::policy::pseudonym::{HmacKey, Pseudonymiser};
use zeef::policy::reason::Reason;

use crate::model::{KeyOf, ModelLimits, SourceMessage, dead_letter_line};

/// A key of this name and secret.
pub fn new_key(name: &str, secret: &[u8]) -> HmacKey {
    HmacKey::parse(&format!("{name}:{}", URL_SAFE_NO_PAD.encode(secret))).unwrap()
}

/// The secret of a recipient, different for each.
pub fn key_by_name(recipient: &str) -> Vec<u8> {
    format!("{recipient:~<40}").into_bytes()
}

/// The place of a kind among the sources of a lane.
pub fn source_id(lane: &Lane, kind: &str) -> Option<SourceId> {
    let mut sources = lane.sources.iter();
    let place = sources.position(|source| source.kind.name == kind)?;
    Some(SourceId(u16::try_from(place).unwrap()))
}

fn message_input(source: SourceId, message: &SourceMessage) -> Input<'_> {
    Input {
        source,
        partition: message.partition,
        offset: message.offset,
        timestamp_ms: None,
        append_time: None,
        trace_parent: None,
        key: message.key.as_deref(),
        payload: message.value.as_deref().map_or(Payload::Null, Payload::Bytes),
    }
}

pub struct EngineRunner {
    lane: Arc<Lane>,
    pipeline: Pipeline,
    outbox: Outbox,
    /// The records of patrons, which may be read again.
    patron_messages: Vec<SourceMessage>,
    /// Whether the last message stops the lane.
    pub must_stop: bool,
}

/// Compiles all recipients of a policy into one lane.
pub fn compile_lane(
    policy: &Policy,
    key_of: KeyOf,
    limits: ModelLimits,
) -> Result<Arc<Lane>, CompileError> {
    let key = |name: &str| Some(Pseudonymiser::new(&new_key("test", &key_of(name))));
    let options = CompileOptions {
        limits: RecordLimits {
            max_bytes: limits.max_record_bytes,
            scan_limits: scan::ScanLimits {
                max_depth: limits.json.max_depth,
                max_keys: limits.json.max_members,
            },
        },
        output_bytes_max: limits.max_output_bytes,
    };
    Lane::compile("main", policy, |_| true, key, options).map(Arc::new)
}

impl EngineRunner {
    pub fn new(lane: &Arc<Lane>, now_ms: i64) -> Self {
        let mut pipeline = Pipeline::new(Arc::clone(lane));
        pipeline.begin_batch(BatchTime::from_ms(now_ms));
        EngineRunner {
            lane: Arc::clone(lane),
            pipeline,
            outbox: Outbox::default(),
            patron_messages: Vec::new(),
            must_stop: false,
        }
    }

    /// Whether the lane reads records of this kind at all.
    pub fn reads_kind(&self, kind: &str) -> bool {
        source_id(&self.lane, kind).is_some()
    }

    /// Decides one message; returns a line for each outcome, sorted.
    pub fn decide_message(&mut self, message: &SourceMessage) -> Vec<String> {
        let source = source_id(&self.lane, &message.kind).unwrap();
        let at = usize::from(source.0);
        self.outbox.clear();
        if self.lane.is_patron_source(source.0) {
            self.patron_messages.push(message.clone());
        }
        let input = message_input(source, message);
        self.pipeline.decide(&input, &mut self.outbox);
        while self.pipeline.pending_rechecks() > 0 {
            for wanted in self.pipeline.next_rechecks(&mut self.outbox) {
                let found = self
                    .patron_messages
                    .iter()
                    .find(|one| (one.partition, one.offset) == (wanted.partition, wanted.offset));
                let found = found.map(|one| message_input(wanted.source, one));
                self.pipeline.decide_recheck(wanted, found, &mut self.outbox);
            }
        }
        let mut lines = self.counted_outcomes(at);
        lines.extend(self.published_outcomes());
        self.check_explanations(at, &input);
        self.pipeline.commit();
        self.must_stop = self.pipeline.take_stop_message().is_some();
        lines.sort();
        lines
    }

    /// Checks that the explanation for each recipient is what was decided.
    fn check_explanations(&mut self, at: usize, input: &Input<'_>) {
        let tally = self.pipeline.tally().clone();
        let refused = single_reason(&tally.sources[at].refused);
        let id = input.key.and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
        let offset = self.pipeline.table().patron_offset(input.partition, id);
        let mut patrons = self.patron_messages.iter();
        let patron =
            patrons.find(|one| (one.partition, Some(one.offset)) == (input.partition, offset));
        let patron_source = self.lane.patron_source_index().unwrap_or_default();
        let patron_source = SourceId(u16::try_from(patron_source).unwrap());
        let patron = patron.map(|one| message_input(patron_source, one));
        for &index in &self.lane.sources[at].recipient_indices {
            let counts = &tally.recipients[index];
            let held = (counts.held > 0).then_some(Reason::PatronUnknown);
            let decided = refused.or(held).or(single_reason(&counts.withheld));
            let explained =
                self.pipeline.explain(input, patron.as_ref(), index).unwrap().withheld_reason;
            assert_eq!(explained, decided, "{}", self.lane.recipients[index].name);
        }
        for index in self.lane.sources[at].named_patron_recipients.clone() {
            self.check_named_patrons(input, index);
        }
    }

    /// Checks that the explanations for the patrons that grants name are what was published.
    fn check_named_patrons(&mut self, input: &Input<'_>, index: usize) {
        let mut explained = BTreeSet::new();
        for named in self.pipeline.named_patrons(input, index) {
            let one = self.pipeline.explain_for_named_patron(input, index, &named).unwrap();
            explained.extend(one.output_key.filter(|_| one.withheld_reason.is_none()));
        }
        let route = &self.lane.recipients[index].route;
        let own = self.outbox.iter().filter(|output| route.includes_output(output.output));
        let key = |output: zeef::message::Output<'_>| {
            String::from_utf8_lossy(output.key.unwrap()).into_owned()
        };
        let published: BTreeSet<String> = own.map(key).collect();
        assert_eq!(explained, published, "{}", self.lane.recipients[index].name);
    }

    /// The outcomes by the counters, but for released outputs.
    fn counted_outcomes(&self, at: usize) -> Vec<String> {
        let tally = self.pipeline.tally();
        let source = &tally.sources[at];
        assert_eq!(source.consumed, 1);
        self.check_reasons_are_declared(at);
        let mut lines = Vec::new();
        for (reason, &count) in Reason::ALL.iter().zip(&source.refused) {
            lines.extend((0..count).map(|_| format!("refused {reason}")));
        }
        lines.extend((0..source.gate_records).map(|_| "applied".to_owned()));
        for (index, program) in self.lane.recipients.iter().enumerate() {
            let tally = &tally.recipients[index];
            let mut outcomes = tally.released + tally.refused + tally.held;
            lines.extend((0..tally.held).map(|_| format!("{} held", program.name)));
            for (reason, &count) in Reason::ALL.iter().zip(&tally.withheld) {
                outcomes += count;
                lines.extend((0..count).map(|_| format!("{} withheld {reason}", program.name)));
            }
            let offered = self.lane.sources[at].recipient_indices.contains(&index);
            assert_eq!(outcomes, u64::from(offered), "{}", program.name);
        }
        lines
    }

    /// Checks that each reason is one that the lane declares.
    fn check_reasons_are_declared(&self, at: usize) {
        let (source, tally) = (&self.lane.sources[at], self.pipeline.tally());
        let foreseen: Vec<Reason> = source.dead_letter_reasons().collect();
        let dead_letter = single_reason(&tally.sources[at].dead_letters);
        assert!(dead_letter.is_none_or(|reason| foreseen.contains(&reason)), "{dead_letter:?}");
        for &index in &source.recipient_indices {
            let program = &self.lane.recipients[index];
            let foreseen: Vec<Reason> = program.withheld_reasons(source).collect();
            let withheld = single_reason(&tally.recipients[index].withheld);
            let is_foreseen = withheld.is_none_or(|reason| foreseen.contains(&reason));
            assert!(is_foreseen, "{}: {withheld:?}", program.name);
        }
    }

    fn published_outcomes(&self) -> Vec<String> {
        let outputs = self.outbox.iter();
        let lines = outputs.map(|output| {
            let value = String::from_utf8_lossy(output.value.unwrap());
            if output.output == self.lane.dead_letter_output {
                let dead_letter: serde_json::Value = serde_json::from_str(&value).unwrap();
                let recipient = dead_letter.get("recipient").and_then(|name| name.as_str());
                return dead_letter_line(dead_letter["reason"].as_str().unwrap(), recipient);
            }
            let topic = &self.lane.outputs[usize::from(output.output.0)].topic;
            let key = String::from_utf8_lossy(output.key.unwrap());
            format!("released {topic} {key} {value}")
        });
        lines.collect()
    }
}

/// The one reason that was counted.
fn single_reason(counts: &[u64]) -> Option<Reason> {
    let place = counts.iter().position(|count| *count > 0)?;
    Some(Reason::ALL[place])
}

/// A released line without its key, which is a pseudonym.
pub fn without_output_key(line: &str) -> String {
    let parts: Vec<&str> = line.splitn(4, ' ').collect();
    match parts[..] {
        ["released", topic, _, value] => format!("{topic} {value}"),
        _ => line.to_owned(),
    }
}
