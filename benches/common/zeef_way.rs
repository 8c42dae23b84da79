//! The work as zeef does it: the pipeline of a lane, from bytes to the outbox.

use std::path::Path;
use std::sync::Arc;

use zeef::engine::lane::{Lane, Options};
use zeef::engine::pipeline::{BatchTime, Pipeline};
use zeef::policy::Policy;
use zeef::policy::pseudonym::{Key, Pseudonymiser};
use zeef::transport::{Input, Outbox, Payload, SourceId};

use super::workload::Record;

/// Batches of this many records.
const BATCH: usize = 1_000;

/// The partners, in the order in which zeef writes their outputs.
pub const RECIPIENTS: [&str; 4] = ["desk", "letters", "membership", "programming"];

/// The key of a partner: its secret is no secret, but its own.
pub fn secret(recipient: &str) -> Vec<u8> {
    let mut secret = recipient.as_bytes().to_vec();
    secret.resize(32, b'.');
    secret
}

pub fn pseudonymiser(recipient: &str) -> Option<Pseudonymiser> {
    use base64::Engine as _;
    let secret = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(secret(recipient));
    Some(Pseudonymiser::new(
        &Key::parse(&format!("bench:{secret}")).ok()?,
    ))
}

/// A lane of the benches' own policy, or of another one.
pub fn lane(config: &Path, wanted: impl Fn(&str) -> bool) -> Arc<Lane> {
    let policy = Policy::load(config).expect("the policy is fine").policy;
    let wanted = |recipient: &zeef::policy::recipient::Recipient| wanted(&recipient.name);
    let lane = Lane::compile("bench", &policy, wanted, pseudonymiser, Options::default());
    Arc::new(lane.expect("the policy compiles"))
}

/// The folder of the benches' own policy.
pub fn own_policy() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/policy"))
}

pub struct Zeef {
    pipeline: Pipeline,
    outbox: Outbox,
    source: SourceId,
}

impl Zeef {
    pub fn new(lane: Arc<Lane>, source: &str) -> Self {
        let mut sources = lane.sources.iter();
        let at = sources.position(|one| one.kind.name == source);
        let at = u16::try_from(at.expect("the lane has the source")).unwrap_or(0);
        let mut pipeline = Pipeline::new(lane);
        pipeline.begin(BatchTime::from_ms(1_767_225_600_000));
        Zeef {
            pipeline,
            outbox: Outbox::default(),
            source: SourceId(at),
        }
    }

    /// Fills the table with patrons, as at the start of a run.
    pub fn restore(&mut self, patrons: &[Record]) {
        for (offset, patron) in patrons.iter().enumerate() {
            let input = input(SourceId(0), offset, patron);
            self.pipeline.restore(&input);
        }
    }

    /// Decides all records; says how many bytes came of them.
    pub fn run(&mut self, records: &[Record]) -> usize {
        self.batches(records, Pipeline::abandon)
    }

    /// The same, where each batch ends with `end`. The outbox is used again for
    /// every record, as the buffers of the other ways are.
    pub fn batches(&mut self, records: &[Record], end: impl Fn(&mut Pipeline)) -> usize {
        let mut bytes = 0;
        for batch in records.chunks(BATCH) {
            for (offset, record) in batch.iter().enumerate() {
                self.outbox.clear();
                let input = input(self.source, offset, record);
                self.pipeline.decide(&input, &mut self.outbox);
                bytes += self.outbox.bytes_len();
            }
            end(&mut self.pipeline);
        }
        bytes
    }

    /// What comes of one record: values only, in the order of the partners.
    pub fn outputs(&mut self, record: &Record) -> Vec<Vec<u8>> {
        self.outbox.clear();
        self.pipeline
            .decide(&input(self.source, 0, record), &mut self.outbox);
        self.pipeline.abandon();
        let values = self.outbox.iter().filter_map(|output| output.value);
        values.map(<[u8]>::to_vec).collect()
    }
}

fn input(source: SourceId, offset: usize, record: &Record) -> Input<'_> {
    Input {
        source,
        partition: 0,
        offset: offset as i64,
        timestamp_ms: None,
        appended: None,
        key: Some(&record.key),
        payload: Payload::Bytes(&record.value),
    }
}
