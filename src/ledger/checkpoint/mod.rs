//! Checkpoints: what all chains ended with, signed, each behind all before it.
//!
//! The leaves of an append-only tree are the successive lists of the heads of all chains. A
//! checkpoint is the signed root of the tree at a size. Whoever keeps one outside can tell later
//! whether ledger, states and checkpoints still lead there, even if all of them were rolled back
//! or written anew together.

pub mod note;
pub mod tree;
pub mod verify;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use self::note::{Checkpoint, CheckpointSigner, CheckpointVerifierKey, NoteError, open_note};
use self::tree::{NodeHash, TreeFrontier};
use super::block::{FORMAT, hex};
use crate::message::continuity::{ChainStart, LedgerHead};

/// The topic of the checkpoints, without any prefix.
pub const CHECKPOINTS_TOPIC: &str = "zeef.checkpoints";

/// The end of a chain in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedHead {
    pub sequence: u64,
    /// SHA-256 of the last block in lower-case hex.
    pub hash: String,
    /// Where the chain begins since years were forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<ChainStart>,
}

impl From<&LedgerHead> for ListedHead {
    fn from(head: &LedgerHead) -> ListedHead {
        let LedgerHead { sequence, hash, start, .. } = head;
        ListedHead { sequence: *sequence, hash: hash.clone(), start: start.clone() }
    }
}

/// The ends of all chains by name.
pub type HeadList = BTreeMap<String, ListedHead>;

/// The digests that blocks have to have, by chain and sequence.
pub type ListedDigests = BTreeMap<String, BTreeMap<u64, String>>;

/// A leaf of the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    pub format: u32,
    /// In Unix seconds.
    pub time: i64,
    pub heads: HeadList,
}

/// A checkpoint as the topic has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointMessage {
    pub format: u32,
    /// The exact text of the leaf.
    pub leaf: String,
    /// The roots of the whole subtrees of the tree before this leaf, in hex, the largest first.
    pub frontier: Vec<String>,
    /// The signed note.
    pub checkpoint: String,
}

/// Why there is no checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    #[error("the last checkpoint cannot be read")]
    Unreadable,
    #[error("the last checkpoint: {0}")]
    Note(#[from] NoteError),
    #[error("the last checkpoint is not the root of its own tree")]
    OtherRoot,
    #[error(
        "chain {chain} ends with block {found}, and the last checkpoint has block {listed}: it was \
         rolled back or written anew"
    )]
    RolledBack { chain: String, found: u64, listed: u64 },
}

/// A message that was read and is what its signature says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCheckpoint {
    pub leaf: Leaf,
    pub checkpoint: Checkpoint,
    /// SHA-256 of the signed note.
    pub note_digest: [u8; 32],
    /// The tree before this leaf, and with it.
    pub tree_before: TreeFrontier,
    pub tree: TreeFrontier,
}

impl OpenCheckpoint {
    /// Reads a message, once one of `keys` has signed it.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn read(
        bytes: &[u8],
        origin: &str,
        keys: &[CheckpointVerifierKey],
    ) -> Result<OpenCheckpoint, CheckpointError> {
        let message: CheckpointMessage =
            serde_json::from_slice(bytes).map_err(|_| CheckpointError::Unreadable)?;
        let leaf: Leaf =
            serde_json::from_str(&message.leaf).map_err(|_| CheckpointError::Unreadable)?;
        // Nothing signs the message itself: it has to be written as zeef writes it.
        let is_exact = serde_json::to_vec(&message).is_ok_and(|written| written == bytes);
        if message.format != FORMAT || leaf.format != FORMAT || !is_exact {
            return Err(CheckpointError::Unreadable);
        }
        let checkpoint = open_note(&message.checkpoint, origin, keys)?;
        let hashes: Option<Vec<NodeHash>> =
            message.frontier.iter().map(|text| parse_hash(text)).collect();
        let size_before = checkpoint.size.checked_sub(1).ok_or(CheckpointError::Unreadable)?;
        let tree_before = hashes.and_then(|hashes| TreeFrontier::from_parts(size_before, hashes));
        let tree_before = tree_before.ok_or(CheckpointError::Unreadable)?;
        let mut tree = tree_before.clone();
        tree.append(message.leaf.as_bytes());
        if tree.root() != checkpoint.root {
            return Err(CheckpointError::OtherRoot);
        }
        let note_digest = Sha256::digest(message.checkpoint.as_bytes()).into();
        Ok(OpenCheckpoint { leaf, checkpoint, note_digest, tree_before, tree })
    }

    /// Finds a chain that ends before what is listed, or at the same block with another digest.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::RolledBack`]
    pub fn compare(&self, heads: &HeadList) -> Result<(), CheckpointError> {
        for (name, listed) in &self.leaf.heads {
            let Some(found) = heads.get(name) else {
                continue;
            };
            let is_other = found.sequence == listed.sequence && found.hash != listed.hash;
            if found.sequence < listed.sequence || is_other {
                return Err(CheckpointError::RolledBack {
                    chain: name.clone(),
                    found: found.sequence,
                    listed: listed.sequence,
                });
            }
        }
        Ok(())
    }
}

fn parse_hash(text: &str) -> Option<NodeHash> {
    let mut hash = [0; 32];
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() != 64 || !is_hex {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

/// Makes and reads checkpoints of one ledger.
pub struct CheckpointMaker {
    pub signer: CheckpointSigner,
    /// Its own and former ones.
    pub keys: Vec<CheckpointVerifierKey>,
}

impl CheckpointMaker {
    /// Makes the message that follows `last`; `None` if no chain went on since. A chain that no
    /// state names any more stays listed, as its blocks are still there.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]: nothing may be signed then.
    pub fn make_next(
        &self,
        last: Option<&[u8]>,
        heads: &HeadList,
        now: i64,
    ) -> Result<Option<Vec<u8>>, CheckpointError> {
        let origin = self.signer.origin();
        let last = last.map(|last| OpenCheckpoint::read(last, origin, &self.keys)).transpose()?;
        let (mut tree, mut listed) = (TreeFrontier::default(), HeadList::new());
        if let Some(last) = &last {
            last.compare(heads)?;
            (tree, listed) = (last.tree.clone(), last.leaf.heads.clone());
        }
        listed.extend(heads.iter().map(|(name, head)| (name.clone(), head.clone())));
        if last.as_ref().is_some_and(|last| last.leaf.heads == listed) || listed.is_empty() {
            return Ok(None);
        }
        let time = last.map_or(now, |last| last.leaf.time.max(now));
        let leaf = Leaf { format: FORMAT, time, heads: listed };
        // Texts and numbers always serialize.
        let leaf = serde_json::to_string(&leaf).unwrap_or_default();
        let frontier = tree.hashes().iter().map(|hash| hex(hash)).collect();
        tree.append(leaf.as_bytes());
        let checkpoint =
            Checkpoint { origin: origin.to_owned(), size: tree.size(), root: tree.root() };
        let message = CheckpointMessage {
            format: FORMAT,
            leaf,
            frontier,
            checkpoint: self.signer.sign(&checkpoint),
        };
        Ok(Some(serde_json::to_vec(&message).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::pseudonym::HmacKey;

    fn maker(byte: u8) -> CheckpointMaker {
        let key = HmacKey::from_secret("k1", (0..32).map(|one| one ^ byte).collect()).unwrap();
        let signer = CheckpointSigner::new("example.org/zeef", &key).unwrap();
        CheckpointMaker { keys: vec![signer.verifier()], signer }
    }

    fn heads(list: &[(&str, u64)]) -> HeadList {
        let head = |(name, sequence): &(&str, u64)| {
            let hash = format!("{sequence:064x}");
            ((*name).to_owned(), ListedHead { sequence: *sequence, hash, start: None })
        };
        list.iter().map(head).collect()
    }

    #[test]
    fn checkpoint_follows_the_last_one_and_refuses_what_was_rolled_back() {
        let maker = maker(1);
        let first = maker.make_next(None, &heads(&[("main/0/1", 3)]), 10).unwrap().unwrap();
        let read = |bytes: &[u8]| OpenCheckpoint::read(bytes, "example.org/zeef", &maker.keys);
        assert_eq!(read(&first).unwrap().checkpoint.size, 1);
        assert_eq!(maker.make_next(Some(&first), &heads(&[("main/0/1", 3)]), 11), Ok(None));
        assert_eq!(maker.make_next(None, &HeadList::new(), 11), Ok(None));
        // A chain without a state stays listed.
        let second = maker.make_next(Some(&first), &heads(&[("main/1/1", 1)]), 9).unwrap().unwrap();
        let second = read(&second).unwrap();
        assert_eq!(second.leaf.heads, heads(&[("main/0/1", 3), ("main/1/1", 1)]));
        assert_eq!((second.leaf.time, second.checkpoint.size), (10, 2));
        let rolled_back = maker.make_next(Some(&first), &heads(&[("main/0/1", 2)]), 12);
        assert!(matches!(rolled_back, Err(CheckpointError::RolledBack { .. })), "{rolled_back:?}");
        let mut other = heads(&[("main/0/1", 3)]);
        other.values_mut().for_each(|head| head.hash = "0".repeat(64));
        assert!(maker.make_next(Some(&first), &other, 12).is_err());
    }

    /// Whoever cannot sign makes no last checkpoint that zeef would go on from.
    #[test]
    fn checkpoint_of_another_key_or_with_a_changed_byte_is_not_followed() {
        let own = maker(1);
        let foreign = maker(2).make_next(None, &heads(&[("main/0/1", 3)]), 10).unwrap().unwrap();
        let next = heads(&[("main/0/1", 4)]);
        let refused = own.make_next(Some(&foreign), &next, 11);
        assert_eq!(refused, Err(CheckpointError::Note(NoteError::NotSigned)));
        let with_former =
            CheckpointMaker { keys: [maker(2).keys, maker(1).keys].concat(), ..maker(1) };
        assert!(with_former.make_next(Some(&foreign), &next, 11).unwrap().is_some());
        let good = own.make_next(None, &heads(&[("main/0/1", 3)]), 10).unwrap().unwrap();
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 1;
            let read = OpenCheckpoint::read(&changed, "example.org/zeef", &own.keys);
            assert!(read.is_err(), "byte {at}");
        }
    }
}
