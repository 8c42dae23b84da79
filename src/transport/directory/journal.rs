//! The journal: one batch with a checksum.
//!
//! A line of JSON, then what is appended to each file, then four bytes of CRC-32 over all
//! of it. Pure: the store reads and writes files.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::committed::{DirectoryCommit, FORMAT, OLDEST_SEALED_FORMAT};

/// What a batch appends to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileAppend<'a> {
    pub(super) name: Cow<'a, str>,
    /// Whether it is the state of a lane.
    pub(super) is_state: bool,
    /// In bytes.
    pub(super) length_before: u64,
    pub(super) bytes: &'a [u8],
}

impl FileAppend<'_> {
    /// Returns the length after the append, in bytes.
    pub(super) fn length_after(&self) -> u64 {
        self.length_before + self.bytes.len() as u64
    }
}

/// A file to be replaced by the one written beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileReplacement<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    /// Whether it is the state of a lane.
    pub(super) state: bool,
}

/// An output in the previous format, to be moved into its owner's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OutputMove {
    pub(super) topic: String,
    pub(super) name: String,
}

/// One batch: the files it appends to, replaces or moves, and what is committed after that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Journal<'a> {
    pub(super) appends: Vec<FileAppend<'a>>,
    pub(super) replacements: Vec<FileReplacement<'a>>,
    pub(super) moves: Vec<OutputMove>,
    pub(super) committed: DirectoryCommit,
}

/// Why bytes are no journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JournalError {
    Damaged,
    /// Another format, and the number of its commit.
    OtherVersion {
        format: u32,
        commit: u64,
    },
}

#[derive(Deserialize)]
struct VersionHeader {
    format: u32,
    committed: CommitHeader,
}

#[derive(Deserialize)]
struct CommitHeader {
    commit: u64,
}

#[derive(Serialize, Deserialize)]
struct JournalHeader<'a> {
    format: u32,
    #[serde(borrow)]
    appends: Vec<AppendHeader<'a>>,
    replaces: Vec<FileReplacement<'a>>,
    moves: Vec<OutputMove>,
    committed: DirectoryCommit,
}

#[derive(Serialize, Deserialize)]
struct AppendHeader<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    state: bool,
    before: u64,
    length: usize,
}

impl<'a> Journal<'a> {
    /// Hands the bytes to `write`, in order.
    pub(super) fn encode<E>(&self, mut write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut checksum = crc32fast::Hasher::new();
        let mut piece = |bytes: &[u8]| {
            checksum.update(bytes);
            write(bytes)
        };
        piece(self.encode_header().as_bytes())?;
        for append in &self.appends {
            piece(append.bytes)?;
        }
        write(&checksum.finalize().to_le_bytes())
    }

    fn encode_header(&self) -> String {
        let appends = self.appends.iter().map(|append| AppendHeader {
            name: Cow::Borrowed(append.name.as_ref()),
            state: append.is_state,
            before: append.length_before,
            length: append.bytes.len(),
        });
        let head = JournalHeader {
            format: FORMAT,
            appends: appends.collect(),
            replaces: self.replacements.clone(),
            moves: self.moves.clone(),
            committed: self.committed.clone(),
        };
        // Strings and numbers always serialize; an empty head would be rejected when read.
        let mut text = serde_json::to_string(&head).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Decodes what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// [`JournalError`] for anything else.
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, JournalError> {
        let (head, rest) = split_checked(bytes).ok_or(JournalError::Damaged)?;
        match serde_json::from_slice::<VersionHeader>(head) {
            Ok(found) if !(OLDEST_SEALED_FORMAT..=FORMAT).contains(&found.format) => {
                Err(JournalError::OtherVersion {
                    format: found.format,
                    commit: found.committed.commit,
                })
            }
            _ => Self::parse(head, rest).ok_or(JournalError::Damaged),
        }
    }

    fn parse(head: &'a [u8], mut rest: &'a [u8]) -> Option<Self> {
        let head: JournalHeader<'a> = serde_json::from_slice(head).ok()?;
        let mut appends = Vec::with_capacity(head.appends.len());
        for append in head.appends {
            let (bytes, others) = rest.split_at_checked(append.length)?;
            rest = others;
            appends.push(FileAppend {
                name: append.name,
                is_state: append.state,
                length_before: append.before,
                bytes,
            });
        }
        rest.is_empty().then_some(Self {
            appends,
            replacements: head.replaces,
            moves: head.moves,
            committed: head.committed,
        })
    }
}

/// Verifies the checksum, and splits a journal into its head and what is appended.
fn split_checked(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
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

    fn encode_to_vec(journal: &Journal<'_>) -> Vec<u8> {
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
        fn journal_round_trips_and_detects_damage(
            files in prop::collection::vec((".{0,9}", any::<bool>(), 0_u64..1_000_000, prop::collection::vec(any::<u8>(), 0..50)), 0..4),
            flip: prop::sample::Index,
        ) {
            let appends = files.iter().map(|(name, state, before, bytes)| FileAppend {
                name: Cow::Borrowed(name),
                is_state: *state,
                length_before: *before,
                bytes,
            });
            let replaces = files.iter().map(|(name, state, _, _)| FileReplacement {
                name: Cow::Borrowed(name),
                state: *state,
            });
            let moves = files.iter().map(|(name, ..)| OutputMove {
                topic: name.clone(),
                name: format!("a/{name}"),
            });
            let journal = Journal {
                appends: appends.collect(),
                replacements: replaces.collect(),
                moves: moves.collect(),
                committed: DirectoryCommit::default(),
            };
            let mut bytes = encode_to_vec(&journal);
            prop_assert_eq!(Journal::decode(&bytes), Ok(journal.clone()));
            let cut = flip.index(bytes.len());
            prop_assert_eq!(Journal::decode(&bytes[..cut]), Err(JournalError::Damaged));
            bytes[cut] ^= 0x10;
            prop_assert_eq!(Journal::decode(&bytes), Err(JournalError::Damaged));
        }
    }
}
