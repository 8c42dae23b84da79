//! What a lane reads and writes: all that a transport knows of a policy.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::continuity::{ConfiguredTopics, Fingerprinter, SourceRetention};
use super::fault::Fault;
use crate::policy::avro_output::AvroOutput;

/// The index of a source in [`LanePlan::sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub u16);

/// The index of an output topic in [`LanePlan::outputs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutputId(pub u16);

#[derive(Clone, Debug)]
pub struct LanePlan {
    pub name: String,
    pub sources: Vec<SourcePlan>,
    pub outputs: Vec<OutputPlan>,
    /// The policy version in the headers of outputs.
    pub policy_version: String,
    /// Hashes records for marks; without it no marks are kept.
    pub fingerprinter: Option<Fingerprinter>,
    /// The sums of output offsets with which the lane was told to start over.
    pub forget_offset_totals: Vec<i64>,
    /// Topics of former recipients that the state of some lane knows of: without a state of
    /// its own, the lane has never written to them.
    pub known_former_topics: BTreeSet<String>,
    /// The topics of all kinds of records, to find gates that no kind is read from any more; `None`
    /// if nothing is compared.
    pub configured_topics: Option<ConfiguredTopics>,
    /// What an intake reads beside its sources; `None` for a lane of recipients.
    pub intake: Option<IntakePlan>,
}

/// What makes a lane an intake. Its sources and lookups are topics of another program: their
/// names have no prefix, and zeef neither creates nor changes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntakePlan {
    /// The topics of lookups, which every worker reads whole.
    pub lookups: Vec<String>,
    /// Whether the header [`SCHEMA_ID`](super::headers::SCHEMA_ID) of a message, where it has one,
    /// is handed out in front of its value. No other header ever is.
    pub has_schema_headers: bool,
    /// By kind of record whose versions are compared, the sources that it comes from. A row of the
    /// state is that of a record in one partition number, which has one worker in all of them: so
    /// they need as many partitions.
    pub versioned_sources: Vec<BTreeSet<String>>,
}

impl LanePlan {
    /// Returns whether the lane writes a ledger.
    #[must_use]
    pub fn has_ledger(&self) -> bool {
        self.outputs.iter().any(|output| output.role == OutputRole::Ledger)
    }
}

#[derive(Clone, Debug)]
pub struct SourcePlan {
    /// The topic's name without prefix, and the file's in a directory.
    pub topic: String,
    /// A gate source is read to its known end before other sources continue. On Kafka it waits
    /// itself for the gates with a lower rank: those that can only stop have the lowest one.
    /// `None` for other sources.
    pub gate_rank: Option<u8>,
    /// The source is read whole into the table when a partition is assigned.
    pub is_rebuilt: bool,
    /// The source's key is the patron id: it must have as many partitions as the other
    /// joined sources, and the same partitioner.
    pub is_joined: bool,
    pub retention: SourceRetention,
}

impl SourcePlan {
    #[must_use]
    pub const fn is_gate(&self) -> bool {
        self.gate_rank.is_some()
    }
}

#[derive(Clone, Debug)]
pub struct OutputPlan {
    pub topic: String,
    /// The recipient's name, or [`ZEEF_OWNER`].
    pub owner: String,
    /// Timestamps are truncated to the UTC day, for a pseudonymised recipient.
    pub has_day_timestamps: bool,
    /// Replaces the policy version in the headers of its outputs, since that changes with
    /// every recipient's file.
    pub version_override: Option<String>,
    /// The version of its recipient's contract in the headers of its outputs; `None` for others.
    pub contract_version: Option<String>,
    /// How values are written that are not sent as they are; the engine makes JSON.
    pub encoding: Option<OutputEncoding>,
    pub role: OutputRole,
}

/// Writes outputs in Avro, framed with the id of their schema.
#[derive(Clone, Debug)]
pub struct OutputEncoding {
    pub avro: Arc<AvroOutput>,
    /// What the registry gave; nothing can be written before.
    pub schema_id: Option<u32>,
}

impl OutputEncoding {
    /// Appends `value`, which is JSON, to `out`.
    ///
    /// # Errors
    ///
    /// The schema has no id yet, or the value is none of it, which the engine has refused.
    pub fn encode(&self, value: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let Some(id) = self.schema_id else {
            return Err(Fault::stop("the schema of an output is not registered"));
        };
        out.push(0);
        out.extend_from_slice(&id.to_be_bytes());
        self.avro.encode(value, out).map_err(|error| Fault::stop(error.to_string()))
    }
}

/// The owner of outputs that are for no recipient.
pub const ZEEF_OWNER: &str = "zeef";

/// Whom an output topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputRole {
    /// A recipient: compacted, and read by key.
    Recipient,
    /// Those who can fix unreadable records.
    DeadLetters,
    /// The lane alone, which reads it back with `Transport::restore`.
    State,
    /// All lanes: what is known of patrons and their source may lose. Read back like a
    /// state.
    Patrons,
    /// All lanes: who received what. Appended to, and never compacted.
    Ledger,
    /// All lanes: what the lines of the ledger point to, by key.
    Register,
    /// All lanes of recipients, as a source: each record in the partition that the sources'
    /// partitioner gives its key.
    Canonical,
}

impl OutputPlan {
    #[must_use]
    pub fn is_state(&self) -> bool {
        self.role == OutputRole::State
    }

    /// Returns whether the committed rows can be read back.
    #[must_use]
    pub fn is_restorable(&self) -> bool {
        matches!(self.role, OutputRole::State | OutputRole::Patrons)
    }

    /// Returns whether it is the ledger, or what that points to.
    #[must_use]
    pub fn is_of_ledger(&self) -> bool {
        matches!(self.role, OutputRole::Ledger | OutputRole::Register)
    }
}
