//! A block: the lines of one transaction of one partition, as one line of JSON.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Operation;
use crate::message::ForeignOperation;
use crate::message::continuity::LedgerHead;

/// The format version of blocks.
pub const FORMAT: u32 = 1;
/// What the first block of a chain names as the digest of the one before it.
pub const NO_PREVIOUS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The most bytes of lines in a block; a transaction with more has several.
pub const BLOCK_LINES_MAX_BYTES: usize = 900_000;

/// The lines of a transaction, or of a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block<'a> {
    pub format: u32,
    /// See [`ChainName`].
    #[serde(borrow)]
    pub chain: Cow<'a, str>,
    /// Counts the blocks of the chain, from 1.
    pub sequence: u64,
    /// SHA-256 of the exact bytes of the block before it in lower-case hex, or [`NO_PREVIOUS`].
    #[serde(borrow)]
    pub previous: Cow<'a, str>,
    /// The number of the mark that the transaction wrote into the state.
    pub transaction: u64,
    /// The number of this part, from 1, and how many there are; `None` if it is the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<(u32, u32)>,
    /// When the lines were decided, in Unix seconds.
    pub time: i64,
    /// The version of the policy: a key of the register.
    #[serde(borrow)]
    pub policy: Cow<'a, str>,
    /// The activities of the lines: keys of the register.
    #[serde(borrow)]
    pub activities: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    pub lines: Vec<Line<'a>>,
}

/// One operation for one recipient and one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line<'a> {
    /// Lines of one decision of one record share it: 32 hex digits.
    #[serde(borrow)]
    pub trace: Cow<'a, str>,
    /// 16 hex digits.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// The id of the line of this operation about the record's own patron; `None` if this is that
    /// line, and not one about another person.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Cow<'a, str>>,
    /// The patron, under the key of the year; `None` if the record has none.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub patron: Option<Cow<'a, str>>,
    /// An index of [`Block::activities`].
    pub activity: u16,
    pub operation: Operation,
    /// Why it was taken back or refused.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
    /// Which fields went out: bit i is the i-th leaf of the activity, in lower-case hex.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub fields: Option<Cow<'a, str>>,
    /// The output's topic and key, hashed under the key of the year.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub key: Option<Cow<'a, str>>,
    /// The upstream's operation that sent the record; `None` if it names none, or if something
    /// else decided the record again.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub foreign_operation: Option<ForeignReference<'a>>,
}

/// An operation of another program, as W3C Trace Context names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForeignReference<'a> {
    /// 32 hex digits.
    #[serde(borrow)]
    pub trace: Cow<'a, str>,
    /// 16 hex digits.
    #[serde(borrow)]
    pub operation: Cow<'a, str>,
}

impl From<ForeignOperation> for ForeignReference<'static> {
    fn from(of: ForeignOperation) -> Self {
        ForeignReference {
            trace: Cow::Owned(format!("{:032x}", of.trace)),
            operation: Cow::Owned(format!("{:016x}", of.operation)),
        }
    }
}

impl ForeignReference<'_> {
    /// Returns its numbers; `None` if they are none.
    #[must_use]
    pub fn parse(&self) -> Option<ForeignOperation> {
        Some(ForeignOperation {
            trace: u128::from_str_radix(&self.trace, 16).ok()?,
            operation: u64::from_str_radix(&self.operation, 16).ok()?,
        })
    }
}

impl Block<'_> {
    /// The activity of a line, as a key of the register; empty if the block lacks it.
    #[must_use]
    pub fn activity_of(&self, line: &Line<'_>) -> &str {
        self.activities.get(usize::from(line.activity)).map_or("", Cow::as_ref)
    }
}

impl Line<'_> {
    /// Whether the recipient was given something.
    #[must_use]
    pub fn is_given(&self) -> bool {
        matches!(self.operation, Operation::Release | Operation::Correct)
    }

    /// The fields that went out, by bits.
    #[must_use]
    pub fn field_bits(&self) -> u128 {
        let hex = self.fields.as_deref();
        hex.and_then(|hex| u128::from_str_radix(hex, 16).ok()).unwrap_or(0)
    }
}

/// The name of a chain: `LANE/PARTITION/BORN`, the time of its first block in Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainName {
    pub lane: String,
    pub partition: i32,
    pub born: i64,
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.lane, self.partition, self.born)
    }
}

impl ChainName {
    /// Parses what [`Display`](fmt::Display) writes; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<ChainName> {
        let mut parts = text.rsplitn(3, '/');
        let (born, partition) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let name = ChainName { lane: parts.next()?.to_owned(), partition, born };
        (name.to_string() == text).then_some(name)
    }
}

/// What the blocks of one transaction share.
#[derive(Clone, Copy, Debug)]
pub struct Transaction<'a> {
    pub lane: &'a str,
    pub partition: i32,
    pub number: u64,
    pub time: i64,
    pub policy: &'a str,
}

/// Makes the blocks of a transaction, and moves `head` to the last of them. `lines` name their
/// activities by their indices in `activities`. Returns the exact bytes of each block.
#[must_use]
pub fn make_blocks(
    transaction: Transaction<'_>,
    activities: &[Cow<'_, str>],
    lines: Vec<Line<'_>>,
    head: &mut LedgerHead,
) -> Vec<Vec<u8>> {
    let Transaction { lane, partition, number, time, policy } = transaction;
    if head.sequence == 0 {
        head.born = time;
        NO_PREVIOUS.clone_into(&mut head.hash);
    }
    let chain = ChainName { lane: lane.to_owned(), partition, born: head.born }.to_string();
    let parts = split_lines(lines);
    let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    let mut blocks = Vec::with_capacity(parts.len());
    for (index, lines) in (1..).zip(parts) {
        let block = Block {
            format: FORMAT,
            chain: Cow::Borrowed(&chain),
            sequence: head.sequence + 1,
            previous: Cow::Borrowed(&head.hash),
            transaction: number,
            part: (count > 1).then_some((index, count)),
            time,
            policy: Cow::Borrowed(policy),
            activities: activities.to_vec(),
            lines,
        };
        // Texts and numbers always serialize.
        let bytes = serde_json::to_vec(&block).unwrap_or_default();
        head.hash = digest_hex(&bytes);
        head.sequence += 1;
        blocks.push(bytes);
    }
    blocks
}

/// Splits lines so that no part is longer than [`BLOCK_LINES_MAX_BYTES`].
fn split_lines(lines: Vec<Line<'_>>) -> Vec<Vec<Line<'_>>> {
    let mut parts = Vec::new();
    let (mut part, mut bytes) = (Vec::new(), 0);
    for line in lines {
        let length = line_length(&line);
        if bytes + length > BLOCK_LINES_MAX_BYTES && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += length;
        part.push(line);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// The most bytes that a line takes.
fn line_length(line: &Line<'_>) -> usize {
    const NAMES: usize = 120;
    const FOREIGN: usize = 100;
    let optional = [&line.parent, &line.patron, &line.reason, &line.fields, &line.key];
    let texts = optional.into_iter().flatten().chain([&line.trace, &line.id]);
    let foreign = line.foreign_operation.as_ref().map_or(0, |_| FOREIGN);
    texts.map(|text| text.len()).sum::<usize>() + NAMES + foreign
}

/// SHA-256 in lower-case hex.
#[must_use]
pub fn digest_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 0xf)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOREIGN: ForeignOperation = ForeignOperation { trace: 7, operation: 8 };

    fn line(id: usize) -> Line<'static> {
        Line {
            trace: Cow::Owned(format!("{id:032x}")),
            id: Cow::Owned(format!("{id:016x}")),
            parent: None,
            patron: Some(Cow::Borrowed("AAAAAAAAAAAAAAAAAAAAAA")),
            activity: 0,
            operation: Operation::Release,
            reason: None,
            fields: Some(Cow::Borrowed("1f")),
            key: Some(Cow::Borrowed("BBBBBBBBBBBBBBBBBBBBBB")),
            foreign_operation: Some(ForeignReference::from(FOREIGN)),
        }
    }

    const TRANSACTION: Transaction<'_> =
        Transaction { lane: "main", partition: 3, number: 7, time: 1_767_225_600, policy: "p" };

    #[test]
    fn blocks_are_chained_and_split_by_size() {
        let mut head = LedgerHead::default();
        let activities = [Cow::Borrowed("slip/0123456789ab")];
        let lines = (0..12_000).map(line).collect();
        let blocks = make_blocks(TRANSACTION, &activities, lines, &mut head);
        assert!(blocks.len() > 1 && blocks.iter().all(|block| block.len() < 1_000_000));
        let (mut previous, mut lines) = (NO_PREVIOUS.to_owned(), 0);
        for (sequence, bytes) in (1..).zip(&blocks) {
            let block: Block<'_> = serde_json::from_slice(bytes).unwrap();
            assert_eq!((block.sequence, &*block.previous), (sequence, previous.as_str()));
            assert_eq!(&*block.chain, "main/3/1767225600");
            let count = u32::try_from(blocks.len()).unwrap();
            assert_eq!(block.part, Some((u32::try_from(sequence).unwrap(), count)));
            previous = digest_hex(bytes);
            lines += block.lines.len();
        }
        assert_eq!(lines, 12_000);
        assert_eq!((head.sequence, head.hash), (blocks.len() as u64, previous));
    }

    #[test]
    fn chain_name_is_read_as_it_is_written() {
        for name in ["main/0/1767225600", "a/b/12/-5"] {
            assert_eq!(ChainName::parse(name).unwrap().to_string(), name);
        }
        for other in ["main/0", "main/00/1", "main/x/1", ""] {
            assert_eq!(ChainName::parse(other), None, "{other}");
        }
    }
}
