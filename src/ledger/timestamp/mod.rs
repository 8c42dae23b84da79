//! Timestamps (RFC 3161): that somebody else had the digest of a checkpoint, and when.
//!
//! A request is made over SHA-256 of the newest checkpoint's signed note, and its answer is kept
//! beside the checkpoints. Whoever trusts the authority's certificates can tell later that all
//! that the checkpoint counts was there at that time, whoever has zeef's keys.

pub mod answer;
mod elements;
pub mod request;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use self::answer::{Authorities, Timestamp, TimestampError, read_answer};
use self::request::TimestampRequest;
use super::block::FORMAT;
use super::chain::ChainProblem;

/// The topic of the timestamps, without any prefix.
pub const TIMESTAMPS_TOPIC: &str = "zeef.timestamps";

/// SHA-256 of a checkpoint's signed note.
pub type NoteDigest = [u8; 32];

/// A request that was made, or its answer, as the topic has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TimestampMessage {
    format: u32,
    /// The number of the checkpoint.
    checkpoint: u64,
    /// The request's DER in base64.
    request: String,
    /// The answer's DER in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
}

/// A request that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRequest {
    /// The number of the checkpoint.
    pub checkpoint: u64,
    pub request: TimestampRequest,
}

impl KeptRequest {
    /// Returns the message that keeps it, and its answer, if there is one.
    #[must_use]
    pub fn to_message(&self, answer: Option<&[u8]>) -> Vec<u8> {
        let message = TimestampMessage {
            format: FORMAT,
            checkpoint: self.checkpoint,
            request: STANDARD.encode(self.request.to_der()),
            answer: answer.map(|answer| STANDARD.encode(answer)),
        };
        // Texts and numbers always serialize.
        serde_json::to_vec(&message).unwrap_or_default()
    }

    /// Reads a message; `None` if it is none.
    #[must_use]
    pub fn read_message(bytes: &[u8]) -> Option<(KeptRequest, Option<Vec<u8>>)> {
        let message: TimestampMessage = serde_json::from_slice(bytes).ok()?;
        let request = TimestampRequest::parse(&STANDARD.decode(message.request).ok()?)?;
        let answer = message.answer.map(|answer| STANDARD.decode(answer)).transpose().ok()?;
        let kept = KeptRequest { checkpoint: message.checkpoint, request };
        (message.format == FORMAT).then_some((kept, answer))
    }
}

/// A timestamp that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptTimestamp {
    /// The number of the checkpoint.
    pub checkpoint: u64,
    pub timestamp: Timestamp,
    /// The answer's DER.
    pub answer: Vec<u8>,
}

/// Verifies the timestamps of a ledger.
pub struct TimestampVerifier<'a> {
    /// The digests of all checkpoints' notes by number.
    notes: &'a BTreeMap<u64, NoteDigest>,
    authorities: &'a Authorities,
    /// In the order in which they were kept.
    pub timestamps: Vec<KeptTimestamp>,
    /// Requests without an answer that holds.
    pub open: Vec<KeptRequest>,
    pub problems: Vec<ChainProblem>,
    seen: BTreeSet<Vec<u8>>,
}

impl<'a> TimestampVerifier<'a> {
    #[must_use]
    pub fn new(
        notes: &'a BTreeMap<u64, NoteDigest>,
        authorities: &'a Authorities,
    ) -> TimestampVerifier<'a> {
        TimestampVerifier {
            notes,
            authorities,
            timestamps: Vec::new(),
            open: Vec::new(),
            problems: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Adds the next message. `place` says where it lies.
    pub fn add_message(&mut self, place: &dyn Fn() -> String, bytes: &[u8]) {
        let Some((kept, answer)) = KeptRequest::read_message(bytes) else {
            let text = "it is neither a request of a timestamp nor an answer".to_owned();
            self.problems.push(ChainProblem { place: place(), text });
            return;
        };
        let Some(answer) = answer else {
            self.open.push(kept);
            return;
        };
        match self.verify(&kept, &answer) {
            Ok(timestamp) => {
                self.open.retain(|one| one.request != kept.request);
                // Kept twice, it proves no more.
                if self.seen.insert(answer.clone()) {
                    let checkpoint = kept.checkpoint;
                    self.timestamps.push(KeptTimestamp { checkpoint, timestamp, answer });
                }
            }
            Err(error) => {
                let text = format!("timestamp of checkpoint {}: {error}", kept.checkpoint);
                self.problems.push(ChainProblem { place: place(), text });
            }
        }
    }

    /// Verifies an answer to a request.
    ///
    /// # Errors
    ///
    /// [`TimestampError`]
    pub fn verify(&self, kept: &KeptRequest, answer: &[u8]) -> Result<Timestamp, TimestampError> {
        let timestamp = read_answer(answer, &kept.request, self.authorities)?;
        match self.notes.get(&kept.checkpoint) {
            Some(digest) if *digest == kept.request.digest => Ok(timestamp),
            Some(_) => Err(TimestampError::OtherCheckpoint),
            None => Err(TimestampError::NoCheckpoint),
        }
    }

    /// Returns the timestamp that proves most: of the newest checkpoint, the oldest one.
    #[must_use]
    pub fn newest(&self) -> Option<&KeptTimestamp> {
        let order = |one: &&KeptTimestamp| (one.checkpoint, std::cmp::Reverse(one.timestamp.time));
        self.timestamps.iter().max_by_key(order)
    }
}
