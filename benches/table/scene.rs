//! The lane of the shipped policy, and invented patron records for it.

use std::path::Path;
use std::sync::Arc;

use zeef::engine::lane::{Lane, Options};
use zeef::policy::Loaded;
use zeef::policy::Policy;
use zeef::policy::pseudonym::{Key, Pseudonymiser};
use zeef::sample::{Library, Settings, Source};
use zeef::transport::{Input, Payload, SourceId};

/// The shipped policy.
pub(crate) fn policy() -> Loaded {
    Policy::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config")).unwrap()
}

/// All its recipients in one lane.
pub(crate) fn lane(loaded: &Loaded) -> Arc<Lane> {
    let key = Key::parse(&format!("bench:{}E", "A".repeat(42))).unwrap();
    let lane = Lane::compile(
        "main",
        &loaded.policy,
        |_| true,
        |_| Some(Pseudonymiser::new(&key)),
        Options::default(),
    );
    Arc::new(lane.unwrap())
}

pub(crate) fn patron_source(lane: &Lane) -> SourceId {
    SourceId(u16::try_from(lane.patron_source().unwrap()).unwrap())
}

/// A library of patron records only, in which nobody was erased; another seed
/// gives the same patrons with other values.
pub(crate) fn library(seed: u64, patrons: u64) -> Library {
    let mut settings = Settings::new(seed, patrons, jiff::civil::date(2026, 1, 15));
    settings.tricky = false;
    for mean in [
        &mut settings.loans_per_patron,
        &mut settings.reservations_per_patron,
        &mut settings.ill_requests_per_patron,
        &mut settings.debts_per_patron,
        &mut settings.consents_per_patron,
        &mut settings.objections_per_patron,
    ] {
        *mean = 0.0;
    }
    Library::new(settings)
}

/// The patron records of a library, in two buffers, so that they do not stir
/// the memory that is measured.
pub(crate) struct Records {
    text: String,
    /// Where key and value of each end.
    ends: Vec<(usize, usize)>,
}

impl Records {
    pub(crate) fn of(library: &Library) -> Records {
        let mut records = Records {
            text: String::new(),
            ends: Vec::new(),
        };
        for message in library.source(Source::Patron) {
            records.text.push_str(&message.key);
            let key_end = records.text.len();
            let value = message.value.expect("nobody is erased");
            records.text.push_str(&value);
            records.ends.push((key_end, records.text.len()));
        }
        records
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The mean bytes of a value.
    pub(crate) fn value_bytes(&self) -> f64 {
        let values: usize = self.ends.iter().map(|(key, end)| end - key).sum();
        values as f64 / self.len() as f64
    }

    pub(crate) fn key(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before].1);
        &self.text[start..self.ends[at].0]
    }

    pub(crate) fn value(&self, at: usize) -> &[u8] {
        let (key_end, end) = self.ends[at];
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
            appended: None,
            key: Some(self.key(at).as_bytes()),
            payload: Payload::Bytes(self.value(at)),
        }
    }
}
