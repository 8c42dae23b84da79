//! The ledger: who received which fields of whom, when, and on what ground.
//!
//! Its lines come in blocks. A block holds the lines of one transaction of one partition of
//! a lane; all blocks of that partition are a chain, as each names the digest of the one
//! before it. No line holds a value, an output's key or the id of a patron: what names them
//! are keyed hashes, under a key that changes with each UTC year. `docs/ledger.md` describes
//! the format for those who verify it without zeef.
//!
//! Pure: texts, digests and keys. No clock, no file, no Kafka.

pub mod answer;
pub mod audit;
pub mod block;
pub mod chain;
pub mod checkpoint;
pub mod confidential;
pub mod fields;
pub mod forget;
pub mod keys;
pub mod line_index;
pub mod read_api;
pub mod register;
pub mod retractions;
pub mod timestamp;

/// The topic of the blocks, without any prefix.
pub const LEDGER_TOPIC: &str = "zeef.ledger";
/// The topic of the texts that blocks point to, without any prefix.
pub const REGISTER_TOPIC: &str = "zeef.policy";

/// What was done for one recipient and one record.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Operation {
    /// It got an output, and had none of the record.
    Release,
    /// It got another output of the record.
    Correct,
    /// Its output was taken back.
    Retract,
    /// Its term ended: it keeps the output lawfully, and zeef forgets it.
    Forget,
    /// A gate said no.
    Refuse,
}
