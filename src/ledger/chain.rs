//! Verifies chains: that no block was changed, dropped, swapped or invented.
//!
//! A chain proves each block but its last; that one is proved by the head in the state's
//! mark, which the same transaction wrote.

use std::collections::BTreeMap;

use super::audit::{AuditLine, is_audit_chain};
use super::block::{Block, ChainName, FORMAT, NO_PREVIOUS, digest_hex};
use super::checkpoint::{HeadList, ListedDigests};
use super::register::Register;
use crate::config::settings::is_operator_name;
use crate::message::continuity::{ChainStart, LedgerHead};

/// Something that is not as zeef wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainProblem {
    /// Where it was found.
    pub place: String,
    pub text: String,
}

/// What is known of one chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainSummary {
    /// The number of the last block, and how many were read.
    pub sequence: u64,
    pub blocks: u64,
    pub lines: u64,
    /// The times of its first and its last block in Unix seconds.
    pub first_time: i64,
    pub last_time: i64,
    /// SHA-256 of the last block.
    pub hash: String,
    /// The part of a transaction that has to follow.
    next_part: Option<(u32, u32, u64)>,
}

/// Verifies the blocks of all chains, each in its order.
#[derive(Debug, Default)]
pub struct ChainVerifier {
    /// Where chains begin of which years were forgotten. What lies before is good as well, if it
    /// leads there.
    pub starts: BTreeMap<String, ChainStart>,
    /// The digests that checkpoints list.
    pub listed: ListedDigests,
    pub chains: BTreeMap<String, ChainSummary>,
    pub problems: Vec<ChainProblem>,
}

impl ChainVerifier {
    /// Adds the next block. `place` says where it lies. Returns it if it can be read at all.
    pub fn add_block<'a>(
        &mut self,
        place: &dyn Fn() -> String,
        bytes: &'a [u8],
        register: &Register,
    ) -> Option<Block<'a>> {
        let block = self.parse_block(place, bytes)?;
        self.add_parsed_block(place, (&block, bytes), register);
        Some(block)
    }

    /// Reads the next block. `None` if it cannot be read at all, which is a problem.
    pub fn parse_block<'a>(
        &mut self,
        place: &dyn Fn() -> String,
        bytes: &'a [u8],
    ) -> Option<Block<'a>> {
        let block = serde_json::from_slice::<Block<'a>>(bytes).ok();
        if block.is_none() {
            self.add_problem(place(), "it is no block of a ledger".to_owned());
        }
        block
    }

    /// Adds the next block with its exact bytes.
    pub fn add_parsed_block(
        &mut self,
        place: &dyn Fn() -> String,
        (block, bytes): (&Block<'_>, &[u8]),
        register: &Register,
    ) {
        let mut found = Vec::new();
        if is_audit_chain(&block.chain) {
            found.push("this is the name of the audit's chain".to_owned());
        }
        let link = Link {
            chain: &block.chain,
            sequence: block.sequence,
            previous: &block.previous,
            time: block.time,
            part: block.part,
            transaction: block.transaction,
        };
        self.add_link(link, bytes, &mut found).lines += block.lines.len() as u64;
        check_content(block, register, &mut found);
        for text in found {
            self.add_problem(place(), format!("chain {}: {text}", block.chain));
        }
    }

    /// Adds the next line of the audit. `place` says where it lies. Returns it if it can be read
    /// at all.
    pub fn add_audit_line<'a>(
        &mut self,
        place: &dyn Fn() -> String,
        bytes: &'a [u8],
    ) -> Option<AuditLine<'a>> {
        let Ok(line) = serde_json::from_slice::<AuditLine<'a>>(bytes) else {
            self.add_problem(place(), "it is no line of the audit".to_owned());
            return None;
        };
        let mut found = Vec::new();
        let is_other = |name: &&String| is_audit_chain(name) && **name != *line.chain;
        if let Some(other) = self.chains.keys().find(is_other) {
            found.push(format!("the audit has the chain {other} already"));
        }
        if !is_audit_chain(&line.chain) {
            found.push("this is no name of the audit's chain".to_owned());
        }
        let link = Link {
            chain: &line.chain,
            sequence: line.sequence,
            previous: &line.previous,
            time: line.time,
            part: None,
            transaction: 0,
        };
        self.add_link(link, bytes, &mut found).lines += 1;
        if line.format != FORMAT {
            let (sequence, format) = (line.sequence, line.format);
            found.push(format!("line {sequence} has format {format}, known is {FORMAT}"));
        }
        if line.action.is_empty() || !is_operator_name(&line.operator) {
            found.push(format!("line {} does not say who did what", line.sequence));
        }
        for text in found {
            self.add_problem(place(), format!("chain {}: {text}", line.chain));
        }
        Some(line)
    }

    /// Checks that a block or line is the next one of its chain, and adds it.
    fn add_link(
        &mut self,
        link: Link<'_>,
        bytes: &[u8],
        found: &mut Vec<String>,
    ) -> &mut ChainSummary {
        let start = self.starts.get(link.chain);
        let chain = self.chains.entry(link.chain.to_owned()).or_default();
        check_place_in_chain(link, (chain, start), found);
        chain.hash = digest_hex(bytes);
        chain.sequence = link.sequence;
        let listed = self.listed.get(link.chain).and_then(|chain| chain.get(&link.sequence));
        if listed.is_some_and(|listed| *listed != chain.hash) {
            found.push(format!("block {} is another one than a checkpoint lists", link.sequence));
        }
        if chain.blocks == 0 {
            chain.first_time = link.time;
        }
        chain.last_time = link.time;
        chain.blocks += 1;
        chain.next_part = link.part.and_then(|(part, count)| {
            (part < count).then_some((part + 1, count, link.transaction))
        });
        chain
    }

    pub fn add_problem(&mut self, place: String, text: String) {
        self.problems.push(ChainProblem { place, text });
    }

    /// Compares the ends of the chains with what the last checkpoint lists: they may go on.
    pub fn compare_with_checkpoint(&mut self, listed: &HeadList) {
        for (name, head) in listed {
            let found = self.chains.get(name).map_or(0, |chain| chain.sequence);
            let is_forgotten =
                self.starts.get(name).is_some_and(|start| head.sequence < start.sequence);
            if found < head.sequence && !is_forgotten {
                let place = "the last checkpoint".to_owned();
                let text = format!(
                    "chain {name}: it ends with block {found}, and the checkpoint lists {}",
                    head.sequence
                );
                self.problems.push(ChainProblem { place, text });
            }
        }
    }

    /// Compares the ends of the chains with the heads in the state's marks, by chain.
    pub fn compare_with_heads(&mut self, heads: &BTreeMap<String, LedgerHead>) {
        let mut problems = Vec::new();
        for (name, head) in heads {
            let found = self.chains.get(name);
            let text = match found {
                None if head.is_forgotten() => continue,
                None => format!("it is missing; its head is block {}", head.sequence),
                Some(found) if found.sequence != head.sequence => {
                    format!(
                        "it ends with block {}, and its head is {}",
                        found.sequence, head.sequence
                    )
                }
                Some(found) if found.hash != head.hash => {
                    format!("its last block {} was changed", head.sequence)
                }
                Some(_) => continue,
            };
            problems.push(ChainProblem {
                place: "the state's mark".to_owned(),
                text: format!("chain {name}: {text}"),
            });
        }
        // No state has the head of the audit.
        let of_states = self.chains.keys().filter(|name| !is_audit_chain(name));
        for name in of_states.filter(|name| !heads.contains_key(*name)) {
            let text = format!("chain {name}: no state has its head");
            problems.push(ChainProblem { place: "the state's mark".to_owned(), text });
        }
        self.problems.extend(problems);
    }
}

/// What a block or a line of the audit says of its place in its chain.
#[derive(Clone, Copy)]
struct Link<'a> {
    chain: &'a str,
    sequence: u64,
    previous: &'a str,
    time: i64,
    part: Option<(u32, u32)>,
    transaction: u64,
}

fn check_place_in_chain(
    link: Link<'_>,
    (chain, start): (&ChainSummary, Option<&ChainStart>),
    found: &mut Vec<String>,
) {
    let Link { sequence, previous, part, transaction, .. } = link;
    if ChainName::parse(link.chain).is_none() {
        found.push("this is no name of a chain".to_owned());
    }
    // The first one may be any up to the start; what it follows is known of the start alone.
    let start = start.filter(|start| sequence <= start.sequence);
    let is_within_forgotten = chain.blocks == 0 && sequence > 1 && start.is_some();
    let expected = if is_within_forgotten { sequence } else { chain.sequence + 1 };
    if sequence != expected {
        found.push(format!("block {sequence} stands where block {expected} belongs"));
    }
    let before = if chain.blocks == 0 { NO_PREVIOUS } else { &chain.hash };
    let is_start = start.is_some_and(|start| sequence == start.sequence);
    let follows = match start {
        Some(start) if is_start => previous == start.previous,
        _ => is_within_forgotten || previous == before,
    };
    if !follows || (is_start && chain.blocks > 0 && previous != before) {
        found.push(format!("block {sequence} does not follow the block before it"));
    }
    if link.time < chain.last_time && chain.blocks > 0 {
        found.push(format!("block {sequence} is older than the block before it"));
    }
    let is_part_expected = match (chain.next_part, part) {
        // The parts before it may have been forgotten.
        (None, Some((number, count))) if is_within_forgotten => (1..=count).contains(&number),
        (Some((number, count, of)), Some(part)) => (number, count) == part && of == transaction,
        (Some(_), None) => false,
        (None, Some((number, count))) => number == 1 && count > 1,
        (None, None) => true,
    };
    if !is_part_expected {
        found.push(format!("block {sequence} is another part of its transaction than the next"));
    }
}

fn check_content(block: &Block<'_>, register: &Register, found: &mut Vec<String>) {
    let sequence = block.sequence;
    if block.format != FORMAT {
        found.push(format!("block {sequence} has format {}, known is {FORMAT}", block.format));
    }
    if block.lines.is_empty() {
        found.push(format!("block {sequence} has no lines"));
    }
    if !register.policies.contains_key(&*block.policy) {
        found.push(format!("block {sequence}: the register lacks policy {}", block.policy));
    }
    for activity in &block.activities {
        if !register.activities.contains_key(&**activity) {
            found.push(format!("block {sequence}: the register lacks activity {activity}"));
        }
    }
    let is_known = |activity: u16| usize::from(activity) < block.activities.len();
    if block.lines.iter().any(|line| !is_known(line.activity)) {
        found.push(format!("block {sequence}: a line has no activity"));
    }
}
