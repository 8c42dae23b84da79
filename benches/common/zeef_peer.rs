//! The work as zeef does it: the pipeline of a lane, from bytes to the outbox.

use std::path::Path;
use std::sync::Arc;

use zeef::engine::lane::{CompileOptions, Lane};
use zeef::engine::pipeline::{BatchTime, Pipeline};
use zeef::message::{Input, Outbox, Payload, SourceId};
use zeef::policy::Policy;
use zeef::policy::pseudonym::{HmacKey, Pseudonymiser};

use super::workload::SourceRecord;

/// Batches of this many records.
const BATCH_RECORDS: usize = 1_000;

/// The partners, in the order in which zeef writes their outputs.
pub const RECIPIENTS: [&str; 4] = ["desk", "letters", "membership", "programming"];

/// The key of a partner: its secret is no secret, but its own.
pub fn key_bytes(recipient: &str) -> Vec<u8> {
    let mut secret = recipient.as_bytes().to_vec();
    secret.resize(32, b'.');
    secret
}

pub fn pseudonymiser(recipient: &str) -> Option<Pseudonymiser> {
    use base64::Engine as _;
    let secret = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key_bytes(recipient));
    Some(Pseudonymiser::new(&HmacKey::parse(&format!("bench:{secret}")).ok()?))
}

/// A lane of the benches' own policy, or of another one.
pub fn compile_lane(config: &Path, wanted: impl Fn(&str) -> bool) -> Arc<Lane> {
    let policy = Policy::load(config).expect("the policy is fine").policy;
    let wanted = |recipient: &zeef::policy::recipient::Recipient| wanted(&recipient.name);
    let lane = Lane::compile("bench", &policy, wanted, pseudonymiser, CompileOptions::default());
    Arc::new(lane.expect("the policy compiles"))
}

/// The folder of the benches' own policy.
pub fn bench_policy_dir() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/policy"))
}

pub struct ZeefPeer {
    pipeline: Pipeline,
    outbox: Outbox,
    source_id: SourceId,
}

impl ZeefPeer {
    pub fn new(lane: Arc<Lane>, source: &str) -> Self {
        let mut sources = lane.sources.iter();
        let at = sources.position(|one| one.kind.name == source);
        let at = u16::try_from(at.expect("the lane has the source")).unwrap_or(0);
        let mut pipeline = Pipeline::new(lane);
        pipeline.begin_batch(BatchTime::from_ms(1_767_225_600_000));
        ZeefPeer { pipeline, outbox: Outbox::default(), source_id: SourceId(at) }
    }

    /// Fills the table with patrons, as at the start of a run.
    pub fn load_patrons(&mut self, patrons: &[SourceRecord]) {
        for (offset, patron) in patrons.iter().enumerate() {
            let input = to_input(SourceId(0), offset, patron);
            self.pipeline.restore_gate_record(&input);
        }
    }

    /// Decides all records; says how many bytes came of them.
    pub fn run(&mut self, records: &[SourceRecord]) -> usize {
        self.run_batches(records, Pipeline::rollback)
    }

    /// The same, where each batch ends with `end`. The outbox is used again for
    /// every record, as the buffers of the other ways are.
    pub fn run_batches(&mut self, records: &[SourceRecord], end: impl Fn(&mut Pipeline)) -> usize {
        let mut bytes = 0;
        for batch in records.chunks(BATCH_RECORDS) {
            for (offset, record) in batch.iter().enumerate() {
                self.outbox.clear();
                let input = to_input(self.source_id, offset, record);
                self.pipeline.decide(&input, &mut self.outbox);
                bytes += self.outbox.byte_len();
            }
            end(&mut self.pipeline);
        }
        bytes
    }

    /// What comes of one record: values only, in the order of the partners.
    pub fn outputs(&mut self, record: &SourceRecord) -> Vec<Vec<u8>> {
        self.outbox.clear();
        self.pipeline.decide(&to_input(self.source_id, 0, record), &mut self.outbox);
        self.pipeline.rollback();
        let values = self.outbox.iter().filter_map(|output| output.value);
        values.map(<[u8]>::to_vec).collect()
    }
}

fn to_input(source: SourceId, offset: usize, record: &SourceRecord) -> Input<'_> {
    Input {
        source,
        partition: 0,
        offset: offset as i64,
        timestamp_ms: None,
        append_time: None,
        trace_parent: None,
        key: Some(&record.key),
        payload: Payload::Bytes(&record.value),
    }
}
