//! The messages of an open batch, copied: they are converted once it is closed, after the
//! lookups were read to their ends.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::message::{Coordinates, Input, Payload};

#[derive(Debug, Default)]
pub(super) struct RawBatch {
    bytes: Vec<u8>,
    messages: Vec<(Coordinates, RawSpan)>,
    newest_ms: BTreeMap<i32, i64>,
}

#[derive(Clone, Debug)]
enum RawSpan {
    Null,
    Bytes(Range<usize>),
    Refused,
}

/// The value of a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum RawValue<'a> {
    Null,
    Bytes(&'a [u8]),
    /// The transport could not read it.
    Refused,
}

impl RawBatch {
    pub(super) fn push(&mut self, input: &Input<'_>) {
        let span = match input.payload {
            Payload::Null => RawSpan::Null,
            Payload::Bytes(bytes) => {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(bytes);
                RawSpan::Bytes(start..self.bytes.len())
            }
            Payload::Refused(_) | Payload::RefusedBytes(..) => RawSpan::Refused,
        };
        let Input { source, partition, offset, append_time, .. } = *input;
        if let Some(time) = append_time {
            let newest = self.newest_ms.entry(partition).or_insert(time.ms);
            *newest = time.ms.max(*newest);
        }
        self.messages.push((Coordinates { source, partition, offset }, span));
    }

    /// Iterates over the messages, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Coordinates, RawValue<'_>)> {
        self.messages.iter().map(|(coordinates, span)| {
            let value = match span {
                RawSpan::Null => RawValue::Null,
                RawSpan::Bytes(range) => {
                    RawValue::Bytes(self.bytes.get(range.clone()).unwrap_or_default())
                }
                RawSpan::Refused => RawValue::Refused,
            };
            (*coordinates, value)
        })
    }

    /// By partition the time of its newest message, in milliseconds since 1970, as the log has it.
    pub(super) fn newest_ms(&self) -> &BTreeMap<i32, i64> {
        &self.newest_ms
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.messages.clear();
        self.newest_ms.clear();
    }
}
