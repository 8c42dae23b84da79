//! An input message and its coordinates.

use super::plan::SourceId;
use super::trace_parent::TraceParent;
use crate::policy::reason::Reason;

/// Where a record lies in its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Coordinates {
    pub source: SourceId,
    pub partition: i32,
    pub offset: i64,
}

/// When a message arrived at its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendTime {
    /// Unix milliseconds.
    pub ms: i64,
    /// Whether it is the broker's or a run's time, not a producer's.
    pub is_exact: bool,
}

impl AppendTime {
    /// Returns a time at or after both.
    #[must_use]
    pub fn latest(self, other: AppendTime) -> AppendTime {
        AppendTime { ms: self.ms.max(other.ms), is_exact: self.is_exact && other.is_exact }
    }

    /// How wrong the clock of a producer may be.
    pub const PRODUCER_SKEW_MS: i64 = 3_600_000;

    /// Returns whether this certainly arrived after `other`.
    #[must_use]
    pub fn is_certainly_after(self, other: AppendTime) -> bool {
        let margin_ms = match self.is_exact && other.is_exact {
            true => 0,
            false => AppendTime::PRODUCER_SKEW_MS,
        };
        self.ms > other.ms.saturating_add(margin_ms)
    }
}

/// A record of a gate source in another partition than its key belongs in. It was handed
/// out as [`Reason::Misplaced`], and nobody has repaired it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MisplacedRecord {
    pub coordinates: Coordinates,
    /// The topic name on Kafka.
    pub topic: String,
    pub key: Vec<u8>,
    /// The partition that the key belongs in.
    pub home_partition: i32,
}

/// An input message, borrowed from its transport.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub source: SourceId,
    pub partition: i32,
    pub offset: i64,
    /// When it was written, in Unix milliseconds, if known.
    pub timestamp_ms: Option<i64>,
    /// When it came to its source, where anything tells.
    pub append_time: Option<AppendTime>,
    /// `None` if there is none, or nobody asks for it: only the ledger does.
    pub trace_parent: Option<TraceParent>,
    pub key: Option<&'a [u8]>,
    pub payload: Payload<'a>,
}

#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// Kafka's null, or a directory line whose value is `null`.
    Null,
    Bytes(&'a [u8]),
    /// The transport itself could not read it: a torn line, or one over the limit.
    Refused(Reason),
    /// As [`Refused`](Self::Refused), with the bytes of the whole line.
    RefusedBytes(Reason, &'a [u8]),
}

impl<'a> Payload<'a> {
    /// Returns the bytes; `None` for a null, or what could not be read.
    #[must_use]
    pub fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Payload::Bytes(bytes) | Payload::RefusedBytes(_, bytes) => Some(bytes),
            Payload::Null | Payload::Refused(_) => None,
        }
    }
}
