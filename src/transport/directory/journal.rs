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
    pub(super) name: Cow<'a, str>,
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

/// A file in whose place one is put that was written beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Replace<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    /// It is the state of a lane, and no output.
    pub(super) state: bool,
}

/// An output of the version before, which comes into its owner's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Move {
    pub(super) topic: String,
    pub(super) name: String,
}

/// One batch: what it appends, or which files it replaces or moves, and what is
/// committed once that is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Journal<'a> {
    pub(super) appends: Vec<Append<'a>>,
    pub(super) replaces: Vec<Replace<'a>>,
    pub(super) moves: Vec<Move>,
    pub(super) committed: Committed,
}

/// Why bytes are no journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DecodeError {
    Damaged,
    /// Of another version: its format, and the number of its commit.
    Other {
        format: u32,
        commit: u64,
    },
}

#[derive(Deserialize)]
struct Version {
    format: u32,
    committed: VersionCommit,
}

#[derive(Deserialize)]
struct VersionCommit {
    commit: u64,
}

#[derive(Serialize, Deserialize)]
struct Head<'a> {
    format: u32,
    #[serde(borrow)]
    appends: Vec<AppendHead<'a>>,
    replaces: Vec<Replace<'a>>,
    moves: Vec<Move>,
    committed: Committed,
}

#[derive(Serialize, Deserialize)]
struct AppendHead<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    state: bool,
    before: u64,
    length: usize,
}

impl<'a> Journal<'a> {
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
            name: Cow::Borrowed(append.name.as_ref()),
            state: append.state,
            before: append.before,
            length: append.bytes.len(),
        });
        let head = Head {
            format: FORMAT,
            appends: appends.collect(),
            replaces: self.replaces.clone(),
            moves: self.moves.clone(),
            committed: self.committed.clone(),
        };
        // Strings and numbers always serialise; an empty head would be refused
        // when read, so nothing could be lost silently.
        let mut text = serde_json::to_string(&head).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], where it is anything else.
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (head, rest) = whole(bytes).ok_or(DecodeError::Damaged)?;
        match serde_json::from_slice::<Version>(head) {
            Ok(found) if found.format != FORMAT => Err(DecodeError::Other {
                format: found.format,
                commit: found.committed.commit,
            }),
            _ => Self::parse(head, rest).ok_or(DecodeError::Damaged),
        }
    }

    fn parse(head: &'a [u8], mut rest: &'a [u8]) -> Option<Self> {
        let head: Head<'a> = serde_json::from_slice(head).ok()?;
        let mut appends = Vec::with_capacity(head.appends.len());
        for append in head.appends {
            let (bytes, others) = rest.split_at_checked(append.length)?;
            rest = others;
            appends.push(Append {
                name: append.name,
                state: append.state,
                before: append.before,
                bytes,
            });
        }
        rest.is_empty().then_some(Self {
            appends,
            replaces: head.replaces,
            moves: head.moves,
            committed: head.committed,
        })
    }
}

/// Splits a journal whose checksum is right into its head and what is appended.
fn whole(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (body, checksum) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let head_end = memchr::memchr(b'\n', body)?;
    Some((&body[..head_end], &body[head_end + 1..]))
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
            let appends = files.iter().map(|(name, state, before, bytes)| Append {
                name: Cow::Borrowed(name),
                state: *state,
                before: *before,
                bytes,
            });
            let replaces = files.iter().map(|(name, state, _, _)| Replace {
                name: Cow::Borrowed(name),
                state: *state,
            });
            let moves = files.iter().map(|(name, ..)| Move {
                topic: name.clone(),
                name: format!("a/{name}"),
            });
            let journal = Journal {
                appends: appends.collect(),
                replaces: replaces.collect(),
                moves: moves.collect(),
                committed: Committed::default(),
            };
            let mut bytes = encoded(&journal);
            prop_assert_eq!(Journal::decode(&bytes), Ok(journal.clone()));
            let cut = flip.index(bytes.len());
            prop_assert_eq!(Journal::decode(&bytes[..cut]), Err(DecodeError::Damaged));
            bytes[cut] ^= 0x10;
            prop_assert_eq!(Journal::decode(&bytes), Err(DecodeError::Damaged));
        }
    }
}
