//! Verifies checkpoints: each follows the one before it, is signed, and lists no chain that went
//! back.

use std::collections::BTreeMap;

use super::note::{Checkpoint, CheckpointVerifierKey};
use super::tree::TreeFrontier;
use super::{CheckpointError, HeadList, ListedDigests, OpenCheckpoint};
use crate::ledger::chain::ChainProblem;

/// Verifies the checkpoints of a ledger, in their order.
pub struct CheckpointVerifier<'a> {
    origin: &'a str,
    keys: &'a [CheckpointVerifierKey],
    /// One that was kept outside.
    outside: Option<&'a Checkpoint>,
    tree: TreeFrontier,
    /// What the last one lists.
    pub heads: HeadList,
    pub listed: ListedDigests,
    /// SHA-256 of the signed note of each by number.
    pub notes: BTreeMap<u64, [u8; 32]>,
    pub problems: Vec<ChainProblem>,
}

impl<'a> CheckpointVerifier<'a> {
    #[must_use]
    pub fn new(
        origin: &'a str,
        keys: &'a [CheckpointVerifierKey],
        outside: Option<&'a Checkpoint>,
    ) -> CheckpointVerifier<'a> {
        CheckpointVerifier {
            origin,
            keys,
            outside,
            tree: TreeFrontier::default(),
            heads: HeadList::new(),
            listed: ListedDigests::new(),
            notes: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    /// How many checkpoints there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Adds the next one. `place` says where it lies.
    pub fn add_message(&mut self, place: &dyn Fn() -> String, bytes: &[u8]) {
        match OpenCheckpoint::read(bytes, self.origin, self.keys) {
            Ok(next) => self.add(place, next),
            Err(CheckpointError::Note(error)) => {
                self.add_problem(place(), format!("checkpoint: {error}"));
            }
            Err(CheckpointError::OtherRoot) => {
                self.add_problem(place(), "checkpoint: its list is not under its root".to_owned());
            }
            Err(_) => self.add_problem(place(), "it is no checkpoint of a ledger".to_owned()),
        }
    }

    fn add(&mut self, place: &dyn Fn() -> String, next: OpenCheckpoint) {
        let size = next.checkpoint.size;
        if next.tree_before != self.tree {
            let text = format!("checkpoint {size} does not follow the one before it");
            self.add_problem(place(), text);
        }
        for (name, before) in &self.heads {
            let is_kept = next.leaf.heads.get(name).is_some_and(|head| {
                let is_same = head.sequence != before.sequence || head.hash == before.hash;
                head.sequence >= before.sequence && is_same
            });
            if !is_kept {
                let text = format!("checkpoint {size}: chain {name} went back");
                self.problems.push(ChainProblem { place: place(), text });
            }
        }
        for (name, head) in &next.leaf.heads {
            let of_chain = self.listed.entry(name.clone()).or_default();
            of_chain.insert(head.sequence, head.hash.clone());
        }
        if self.outside.is_some_and(|one| one.size == size && one.root != next.checkpoint.root) {
            let text = format!("checkpoint {size} is another one than that kept outside");
            self.add_problem(place(), text);
        }
        self.notes.insert(size, next.note_digest);
        (self.tree, self.heads) = (next.tree, next.leaf.heads);
    }

    /// Checks that all of what was kept outside is there.
    pub fn finish(&mut self) {
        if let Some(outside) = self.outside.filter(|outside| outside.size > self.tree.size()) {
            let (kept, found) = (outside.size, self.tree.size());
            let text = format!(
                "the one kept outside is number {kept}, and {found} are there: they were rolled back"
            );
            self.add_problem("the checkpoints".to_owned(), text);
        }
    }

    fn add_problem(&mut self, place: String, text: String) {
        self.problems.push(ChainProblem { place, text });
    }
}
