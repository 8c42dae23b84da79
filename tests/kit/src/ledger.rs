//! Compares a ledger with what was sent, however it was sent.

use std::collections::BTreeMap;

use zeef::ledger::Operation;
use zeef::ledger::block::Block;
use zeef::ledger::chain::ChainVerifier;
use zeef::ledger::keys::utc_year;
use zeef::ledger::register::Register;
use zeef::message::continuity::LedgerHead;

use crate::deployment::ledger_keys;

/// A message on a recipient's topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SentMessage {
    pub topic: String,
    pub key: Vec<u8>,
    pub is_tombstone: bool,
}

/// Checks that chains are whole up to their heads, and that their lines are as many values and
/// tombstones of each output as were sent.
pub fn check_ledger(
    register: &[Vec<u8>],
    blocks: &[Vec<u8>],
    heads: &BTreeMap<String, LedgerHead>,
    sent: &[SentMessage],
) -> Result<(), String> {
    let mut entries = Register::default();
    for entry in register {
        entries.add_message(entry).map_err(str::to_owned)?;
    }
    let mut verifier = ChainVerifier::default();
    let mut told = BTreeMap::<(String, bool), usize>::new();
    let mut years = std::collections::BTreeSet::new();
    for (number, bytes) in blocks.iter().enumerate() {
        let block = verifier.add_block(&|| format!("block {number}"), bytes, &entries);
        let block: Block<'_> = block.ok_or("no block")?;
        years.insert(utc_year(block.time));
        for line in &block.lines {
            let is_tombstone = match line.operation {
                Operation::Release | Operation::Correct => false,
                Operation::Retract => true,
                Operation::Forget | Operation::Refuse => continue,
            };
            let key = line.key.as_deref().ok_or("a line without a key")?.to_owned();
            *told.entry((key, is_tombstone)).or_default() += 1;
        }
    }
    verifier.compare_with_heads(heads);
    if let Some(problem) = verifier.problems.first() {
        return Err(format!("{problem:?}"));
    }
    let keys: Vec<_> = years.into_iter().map(|year| ledger_keys().of_year(year)).collect();
    let mut counts = BTreeMap::<&SentMessage, usize>::new();
    for message in sent {
        *counts.entry(message).or_default() += 1;
    }
    for (message, count) in counts {
        let SentMessage { topic, key, is_tombstone } = message;
        let hashes = keys.iter().map(|of_year| of_year.output_hash(topic, key));
        let found: usize =
            hashes.map(|hash| told.remove(&(hash, *is_tombstone)).unwrap_or_default()).sum();
        if found != count {
            return Err(format!("{message:?} was sent {count} times, the ledger has {found}"));
        }
    }
    match told.len() {
        0 => Ok(()),
        count => Err(format!("the ledger has {count} outputs that were not sent")),
    }
}
