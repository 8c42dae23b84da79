//! The lane of the shipped policy, and invented patron records for it.

use std::path::Path;
use std::sync::Arc;

use zeef::config::LoadedConfig;
use zeef::engine::lane::{CompileOptions, Lane};
use zeef::message::{Input, Payload, SourceId};
use zeef::policy::Policy;
use zeef::policy::pseudonym::{HmacKey, Pseudonymiser};
use zeef::sample::{SampleLibrary, SampleSettings, SampleSource};

/// The shipped policy.
pub(crate) fn load_shipped_policy() -> LoadedConfig {
    Policy::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config")).unwrap()
}

/// All its recipients in one lane.
pub(crate) fn compile_lane(loaded: &LoadedConfig) -> Arc<Lane> {
    let key = HmacKey::parse(&format!("bench:{}E", "A".repeat(42))).unwrap();
    let lane = Lane::compile(
        "main",
        &loaded.policy,
        |_| true,
        |_| Some(Pseudonymiser::new(&key)),
        CompileOptions::default(),
    );
    Arc::new(lane.unwrap())
}

pub(crate) fn source_id(lane: &Lane, kind: &str) -> SourceId {
    let index = lane.sources.iter().position(|source| source.kind.name == kind);
    SourceId(u16::try_from(index.unwrap()).unwrap())
}

/// A library of patron records only, in which nobody was erased; another seed
/// gives the same patrons with other values.
pub(crate) fn patron_library(seed: u64, patrons: u64) -> SampleLibrary {
    SampleLibrary::new(patron_settings(seed, patrons))
}

pub(crate) fn patron_settings(seed: u64, patrons: u64) -> SampleSettings {
    let mut settings = SampleSettings::new(seed, patrons, jiff::civil::date(2026, 1, 15));
    settings.has_tricky_records = false;
    for mean in [
        &mut settings.loans_per_patron,
        &mut settings.reservations_per_patron,
        &mut settings.ill_requests_per_patron,
        &mut settings.debts_per_patron,
        &mut settings.consents_per_patron,
        &mut settings.objections_per_patron,
        &mut settings.demands_per_patron,
        &mut settings.referrals_per_patron,
        &mut settings.participations_per_patron,
        &mut settings.questions_per_patron,
    ] {
        *mean = 0.0;
    }
    settings
}

/// The records of one source of a library, in two buffers, so that they do not stir
/// the memory that is measured.
pub(crate) struct SourceRecords {
    text: String,
    /// Where key and value of each end.
    key_and_value_ends: Vec<(usize, usize)>,
}

impl SourceRecords {
    pub(crate) fn from_library(library: &SampleLibrary, source: SampleSource) -> SourceRecords {
        let mut records = SourceRecords { text: String::new(), key_and_value_ends: Vec::new() };
        for message in library.messages_of_source(source) {
            records.text.push_str(&message.key.expect("its key is the patron's id"));
            let key_end = records.text.len();
            let value = message.value.expect("nobody is erased");
            records.text.push_str(&value);
            records.key_and_value_ends.push((key_end, records.text.len()));
        }
        records
    }

    pub(crate) fn len(&self) -> usize {
        self.key_and_value_ends.len()
    }

    /// The mean bytes of a value.
    pub(crate) fn mean_value_bytes(&self) -> f64 {
        let values: usize = self.key_and_value_ends.iter().map(|(key, end)| end - key).sum();
        values as f64 / self.len() as f64
    }

    pub(crate) fn key(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(0, |before| self.key_and_value_ends[before].1);
        &self.text[start..self.key_and_value_ends[at].0]
    }

    pub(crate) fn value(&self, at: usize) -> &[u8] {
        let (key_end, end) = self.key_and_value_ends[at];
        &self.text.as_bytes()[key_end..end]
    }

    pub(crate) fn input(
        &self,
        at: usize,
        source: SourceId,
        partition: i32,
        offset: i64,
    ) -> Input<'_> {
        Input {
            source,
            partition,
            offset,
            timestamp_ms: None,
            append_time: None,
            trace_parent: None,
            key: Some(self.key(at).as_bytes()),
            payload: Payload::Bytes(self.value(at)),
        }
    }
}
