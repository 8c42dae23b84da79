//! The journal's bytes: one batch, whole, with a checksum.
//!
//! A line of JSON, then what is appended to each file, then four bytes of
//! CRC-32 over all of it. Pure: reading and writing files is the store's.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::committed::{Committed, FORMAT};

/// What a batch adds to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Append<'a> {
    pub(super) topic: Cow<'a, str>,
    /// It is the state of a lane, and no output.
    pub(super) state: bool,
    /// The file's length before, in bytes.
    pub(super) before: u64,
    pub(super) bytes: &'a [u8],
}

impl Append<'_> {
    /// The file's length after, in bytes.
    pub(super) fn after(&self) -> u64 {
        self.before + self.bytes.len() as u64
    }
}

/// One batch: what it appends, and what is committed once that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Journal<'a> {
    pub(super) appends: Vec<Append<'a>>,
    pub(super) committed: Committed,
}

#[derive(Serialize, Deserialize)]
struct Head<'a> {
    format: u32,
    #[serde(borrow)]
    appends: Vec<AppendHead<'a>>,
    committed: Committed,
}

#[derive(Serialize, Deserialize)]
struct AppendHead<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    state: bool,
    before: u64,
    length: usize,
}

impl<'a> Journal<'a> {
    /// Makes a batch of `appends` whose lengths follow into `committed`.
    pub(super) fn new(appends: Vec<Append<'a>>, mut committed: Committed) -> Self {
        for append in &appends {
            let lengths = committed.lengths_mut(append.state);
            lengths.insert(append.topic.to_string(), append.after());
        }
        Self { appends, committed }
    }

    /// Hands the bytes to `write`, piece by piece and in order.
    pub(super) fn encode<E>(&self, mut write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut checksum = crc32fast::Hasher::new();
        let mut piece = |bytes: &[u8]| {
            checksum.update(bytes);
            write(bytes)
        };
        piece(self.head().as_bytes())?;
        for append in &self.appends {
            piece(append.bytes)?;
        }
        write(&checksum.finalize().to_le_bytes())
    }

    fn head(&self) -> String {
        let appends = self.appends.iter().map(|append| AppendHead {
            topic: Cow::Borrowed(append.topic.as_ref()),
            state: append.state,
            before: append.before,
            length: append.bytes.len(),
        });
        let head = Head {
            format: FORMAT,
            appends: appends.collect(),
            committed: self.committed.clone(),
        };
        // Strings and numbers always serialise; an empty head would be refused
        // when read, so nothing could be lost silently.
        let mut text = serde_json::to_string(&head).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` is anything else.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (body, checksum) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let head_end = memchr::memchr(b'\n', body)?;
        let head: Head<'a> = serde_json::from_slice(&body[..head_end]).ok()?;
        let mut rest = &body[head_end + 1..];
        let mut appends = Vec::with_capacity(head.appends.len());
        for AppendHead {
            topic,
            state,
            before,
            length,
        } in head.appends
        {
            let (bytes, others) = rest.split_at_checked(length)?;
            rest = others;
            appends.push(Append {
                topic,
                state,
                before,
                bytes,
            });
        }
        let whole = rest.is_empty() && head.format == FORMAT;
        whole.then(|| Self::new(appends, head.committed))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(journal: &Journal<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let done = journal.encode(|piece| {
            bytes.extend_from_slice(piece);
            Ok::<_, ()>(())
        });
        assert_eq!(done, Ok(()));
        bytes
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            files in prop::collection::vec((".{0,9}", any::<bool>(), 0_u64..1_000_000, prop::collection::vec(any::<u8>(), 0..50)), 0..4),
            flip: prop::sample::Index,
        ) {
            let appends = files.iter().map(|(topic, state, before, bytes)| Append {
                topic: Cow::Borrowed(topic),
                state: *state,
                before: *before,
                bytes,
            });
            let journal = Journal::new(appends.collect(), Committed::default());
            let mut bytes = encoded(&journal);
            prop_assert_eq!(Journal::decode(&bytes), Some(journal.clone()));
            let cut = flip.index(bytes.len());
            prop_assert_eq!(Journal::decode(&bytes[..cut]), None);
            bytes[cut] ^= 0x10;
            prop_assert_eq!(Journal::decode(&bytes), None);
        }
    }
}
