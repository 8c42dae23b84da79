//! Continuity: what a state partition depends on, and whether that still exists.
//!
//! Every transaction writes a [`ContinuityMark`] into each state partition that it acts on.
//! At every start, before anything is decided, and once a minute while running, the mark is
//! compared with what is there now. Each difference is a [`ContinuityFinding`]: the lane
//! stops, says what is lost, and continues only once an operator has accepted that very
//! finding.
//!
//! Pure: nothing here connects, and no value of a record is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use highway::{HighwayHash, HighwayHasher, Key as HashKey};
use serde::{Deserialize, Serialize};

use crate::json::members::UniqueMembers;

/// Key of the mark's row: plain, so that it is found whatever the state key is. Other rows
/// have keys of 22 characters.
pub const MARK_ROW_KEY: &[u8] = b"mark";
/// The format version of marks.
pub const FORMAT: u32 = 1;
/// How many records of each source a mark remembers.
const ANCHORS_MAX: usize = 8;
/// How many times further back each next anchor lies.
const ANCHOR_SPACING_FACTOR: i64 = 16;
/// How far two clocks may be apart.
pub const CLOCK_TOLERANCE_MS: i64 = 600_000;
/// How long after its first start a lane may find partitions without a mark: not every
/// worker starts at once.
pub const FIRST_START_GRACE_MS: i64 = 600_000;

/// A keyed hash of records: without the key nobody can guess values.
#[derive(Clone, Copy)]
pub struct Fingerprinter([u64; 4]);

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprinter")
    }
}

impl Fingerprinter {
    #[must_use]
    pub fn new(key: [u64; 4]) -> Self {
        Fingerprinter(key)
    }

    /// Returns the hash of a message: its key, its value, and their lengths.
    #[must_use]
    pub fn hash_record(&self, key: Option<&[u8]>, value: Option<&[u8]>) -> u64 {
        self.hash_chained(0, key, value)
    }

    /// Returns the hash of all messages up to this one; `hash_before` is that of the
    /// earlier ones.
    #[must_use]
    pub fn hash_chained(&self, hash_before: u64, key: Option<&[u8]>, value: Option<&[u8]>) -> u64 {
        let mut hasher = HighwayHasher::new(HashKey(self.0));
        hasher.append(&hash_before.to_le_bytes());
        for part in [key, value] {
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            hasher.append(&length.to_le_bytes());
            hasher.append(part.unwrap_or_default());
        }
        hasher.finalize64()
    }

    #[must_use]
    pub fn hash_text(&self, text: &[u8]) -> u64 {
        HighwayHasher::new(HashKey(self.0)).hash64(text)
    }
}

/// A record that was read, by which a source is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceAnchor {
    pub offset: i64,
    #[serde(with = "hex")]
    pub hash: u64,
}

/// How far one partition of a source was read, and how to recognise it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceProgress {
    /// The offset of the next record to read.
    pub next: i64,
    /// The first offset that the source had when it was last compared.
    #[serde(default)]
    pub start: i64,
    /// The newest record first, then records ever further back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anchors: Vec<SourceAnchor>,
    /// For a gate log, which is kept whole: the hash of everything read.
    #[serde(default, with = "hex_option", skip_serializing_if = "Option::is_none")]
    pub log: Option<u64>,
    /// Of a gate, what it decides over, as [`ConfiguredTopics`] has it; `None` in a mark of an
    /// older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// How many partitions the source had; 0 in a mark of an older version, and in a directory.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub partition_count: i32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

fn is_zero(count: &i32) -> bool {
    *count == 0
}

impl SourceProgress {
    /// Adds the record that was read last. Of earlier ones, one is kept at about 1, 16,
    /// 256, ... records' distance each.
    pub fn add_anchor(&mut self, anchor: SourceAnchor) {
        if self.anchors.first().is_some_and(|first| first.offset >= anchor.offset) {
            return;
        }
        self.anchors.insert(0, anchor);
        let bucket = |old: &SourceAnchor| {
            let distance = anchor.offset.saturating_sub(old.offset).max(1);
            distance.ilog(ANCHOR_SPACING_FACTOR)
        };
        // The oldest of each distance stays, and the newest of all.
        let mut place = 1;
        while place + 1 < self.anchors.len() {
            if bucket(&self.anchors[place]) == bucket(&self.anchors[place + 1]) {
                self.anchors.remove(place);
            } else {
                place += 1;
            }
        }
        self.anchors.truncate(ANCHORS_MAX);
    }
}

/// A key in use: its id and a fingerprint that reveals nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFingerprint {
    pub id: String,
    pub print: String,
}

/// A checksum of the live rows of a state partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChecksum {
    pub count: u64,
    /// The sum of their MACs.
    #[serde(with = "hex")]
    pub sum: u64,
}

impl RowChecksum {
    pub fn add(&mut self, mac: u64) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(mac);
    }

    pub fn remove(&mut self, mac: u64) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(mac);
    }
}

/// What one state partition depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContinuityMark {
    pub format: u32,
    /// Counts the transactions that acted on the partition. Also committed with the group's
    /// offsets.
    pub number: u64,
    /// The batch's time.
    pub time_ms: i64,
    /// The time of the partition's first mark that has one, or 0.
    pub born_ms: i64,
    /// The version of the policy under which records were decided.
    pub policy: String,
    /// Counts the policies: a process with an older one must not decide.
    pub generation: u64,
    /// The lane's recipients by name.
    pub recipients: Vec<String>,
    /// By `state`, or the recipient's name.
    pub keys: BTreeMap<String, KeyFingerprint>,
    pub rows: RowChecksum,
    /// Outputs of each recipient, by recipient and topic.
    pub has: BTreeMap<String, BTreeMap<String, u64>>,
    /// Outputs by recipient and kind of record; empty in a mark of an older version.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: BTreeMap<String, BTreeMap<String, u64>>,
    /// The id of the cluster; empty without one.
    #[serde(default)]
    pub cluster: String,
    /// By topic without prefix.
    #[serde(default)]
    pub sources: BTreeMap<String, SourceProgress>,
    /// The end of each output partition when it was last fetched.
    #[serde(default)]
    pub outputs: BTreeMap<String, Vec<i64>>,
    /// The next offset of `zeef.commands`: commands below it are done.
    #[serde(default)]
    pub commands: i64,
    /// How often recipients were moved between lanes: a process that read the marks before the last
    /// move must not decide.
    #[serde(default, skip_serializing_if = "is_none")]
    pub lane_moves: u64,
    /// The month of the last periodic publication, as `YYYY-MM`: no restart publishes again
    /// in it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub published: String,
    /// The day of the last retraction in a lane with a period, as `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub taken_back: String,
    /// What was retracted within the last hour, as far as too much of it stops the lane.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub retractions: RecentRetractions,
    /// The end of the partition's chain in the ledger; `None` if it never had a block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerHead>,
    /// The same partition of `zeef.patrons`, which all lanes write; `None` in a mark of an older
    /// version, in a lane without patrons, and in a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patrons: Option<SourceProgress>,
}

/// How many outputs were retracted, by recipient, by the last minute (since 1970) of a span of
/// time, and by the name of the cause.
pub type RecentRetractions = BTreeMap<String, BTreeMap<i64, BTreeMap<String, u64>>>;

/// The end of a chain of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerHead {
    /// The time of the chain's first block in Unix seconds, which is part of its name.
    pub born: i64,
    /// The number of the last block, from 1.
    pub sequence: u64,
    /// SHA-256 of the last block's exact bytes in lower-case hex.
    pub hash: String,
    /// The UTC year of the last block, and what may be shown of its key.
    pub year: i16,
    pub key: String,
    /// The digest of the register as it was written last.
    pub register: String,
    /// Where the chain begins since years were forgotten; `None` if it begins with block 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<ChainStart>,
}

/// The first block of a chain that has to be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainStart {
    pub sequence: u64,
    /// SHA-256 of the block before it in lower-case hex.
    pub previous: String,
}

impl LedgerHead {
    /// Whether every block of the chain was forgotten with its year.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        let is_behind =
            |start: &ChainStart| start.sequence == self.sequence + 1 && start.previous == self.hash;
        self.start.as_ref().is_some_and(is_behind)
    }

    /// The finding that the ledger lacks the last block of a chain.
    #[must_use]
    pub fn missing_finding(&self, topic: &str, partition: i32) -> ContinuityFinding {
        ContinuityFinding {
            subject: topic.to_owned(),
            partition,
            kind: FindingKind::LedgerTruncated,
            detail: format!("it lacks block {} of its chain", self.sequence),
        }
    }
}

/// What a transport adds to a mark, and the worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarkPositions {
    pub cluster_id: String,
    pub sources: BTreeMap<String, SourceProgress>,
    pub outputs: BTreeMap<String, Vec<i64>>,
    pub patrons: Option<SourceProgress>,
    /// Of the worker.
    pub retractions: RecentRetractions,
}

impl ContinuityMark {
    /// Decodes the value of a mark's row.
    ///
    /// # Errors
    ///
    /// A [`MarkError`]: the lane cannot continue without its mark.
    pub fn decode(
        fingerprinter: &Fingerprinter,
        value: &[u8],
    ) -> Result<ContinuityMark, MarkError> {
        #[derive(Deserialize)]
        struct MarkHeader {
            format: u32,
        }
        let head: MarkHeader = serde_json::from_slice(value).map_err(|_| MarkError::Damaged)?;
        if head.format > FORMAT {
            return Err(MarkError::NewerFormat);
        }
        // Of two members of one name, a map would take the last.
        serde_json::from_slice::<UniqueMembers>(value).map_err(|_| MarkError::Damaged)?;
        let text = open_sealed_object(fingerprinter, value).ok_or(MarkError::Damaged)?;
        serde_json::from_slice(&text).map_err(|_| MarkError::Damaged)
    }

    /// Returns the row's value: the mark with its MAC.
    #[must_use]
    pub fn encode(&self, fingerprinter: &Fingerprinter) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).unwrap_or_default();
        seal_object(fingerprinter, &mut text);
        text
    }
}

/// Why a mark cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarkError {
    #[error("the mark has a newer format than {FORMAT}: run a newer zeef")]
    NewerFormat,
    #[error("the mark is damaged, or was written under another state key")]
    Damaged,
}

/// Start of the MAC member; 16 hexadecimal digits and `"}` follow.
const MAC_MEMBER_PREFIX: &[u8] = b",\"mac\":\"";
/// The length of the MAC member and the end of the object.
pub const MAC_MEMBER_LENGTH: usize = MAC_MEMBER_PREFIX.len() + 16 + 2;

/// Appends the MAC to an object's text as its last member. Returns it.
pub fn seal_object(fingerprinter: &Fingerprinter, text: &mut Vec<u8>) -> u64 {
    let mac = fingerprinter.hash_text(text);
    if text.pop().is_some() {
        append_mac_member(text, mac);
    }
    mac
}

/// Appends the MAC member and the end of its object.
pub fn append_mac_member(out: &mut Vec<u8>, mac: u64) {
    const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(MAC_MEMBER_PREFIX);
    for place in 0..16 {
        out.push(HEX_DIGITS[(mac >> (60 - 4 * place)) as usize & 0xf]);
    }
    out.extend_from_slice(b"\"}");
}

/// Splits an object's text into what its MAC covers, without the closing brace, and the
/// MAC. `None` without a MAC.
#[must_use]
pub fn split_mac(text: &[u8]) -> Option<(&[u8], u64)> {
    let at = text.len().checked_sub(MAC_MEMBER_LENGTH)?;
    let (body, tail) = text.split_at(at);
    let digits = tail.strip_prefix(MAC_MEMBER_PREFIX)?.strip_suffix(b"\"}")?;
    let digits = std::str::from_utf8(digits).ok()?;
    Some((body, u64::from_str_radix(digits, 16).ok()?))
}

/// Returns the sealed text, or `None` if its MAC does not match.
fn open_sealed_object(fingerprinter: &Fingerprinter, text: &[u8]) -> Option<Vec<u8>> {
    let (body, mac) = split_mac(text)?;
    let mut body = body.to_vec();
    body.push(b'}');
    (fingerprinter.hash_text(&body) == mac).then_some(body)
}

/// How the records of a source are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceRetention {
    /// All of them: a gate log.
    Forever,
    /// The last of each key.
    Compacted,
    /// For some time.
    Limited,
}

/// The group's offset in one partition of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupOffset {
    pub offset: i64,
    /// The mark's number committed with it; `None` if zeef did not set it.
    pub mark_number: Option<u64>,
}

/// What lies at an anchor's offset now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnchorContent {
    /// A record with this hash.
    Record(u64),
    NoRecord,
}

/// One partition of a source as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceSnapshot {
    pub start_offset: i64,
    pub end_offset: i64,
    pub group_offset: Option<GroupOffset>,
    /// The group has offsets of other sources with the same partition number.
    pub has_other_group_offsets: bool,
    /// By offset, for anchors that are not below the start.
    pub anchor_contents: BTreeMap<i64, AnchorContent>,
    /// For a gate log: the hash of what lies below the mark's next offset, if it was read.
    pub log_hash: Option<u64>,
}

/// A difference from the mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContinuityFinding {
    /// The topic, file, key or lane it is about.
    pub subject: String,
    pub partition: i32,
    pub kind: FindingKind,
    /// What was found, for an operator; never a value of a record.
    pub detail: String,
}

/// The sources that a config has, whichever of them a lane reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfiguredTopics {
    /// By topic, with what each decides over: `consent`, `settlement of debt`.
    pub gates: BTreeMap<String, String>,
    pub others: BTreeSet<String>,
}

/// A gate of a mark that the config no longer reads as that gate.
#[derive(Clone, Copy, Debug)]
pub struct UnreadGate<'a> {
    pub topic: &'a str,
    pub progress: &'a SourceProgress,
    /// As what it is read now, if it is a gate.
    now: Option<&'a str>,
}

impl UnreadGate<'_> {
    /// Returns what was found; `end` is how far the gate was read.
    #[must_use]
    pub fn describe(&self, end: &str) -> String {
        let before = match &self.progress.gate {
            Some(gate) => format!("it was read as the gate `{gate}` up to {end}"),
            None => format!("it was read as a gate up to {end}"),
        };
        match self.now {
            Some(now) => format!("{before}, and is read as `{now}` now"),
            None => format!("{before}, and no kind of record is read from it as one any more"),
        }
    }
}

/// Returns the sources of a mark that stopped something as gates, and that the config no longer
/// reads as the same gates: renamed, exchanged, or without their kind. `has_new_gate`: the lane
/// reads a gate that the mark does not have.
///
/// In a mark of an older version a compacted gate cannot be told from another source; a topic that
/// no kind has counts as one if a gate is new.
pub fn unread_gates<'a>(
    sources: &'a BTreeMap<String, SourceProgress>,
    configured: &'a ConfiguredTopics,
    has_new_gate: bool,
) -> impl Iterator<Item = UnreadGate<'a>> {
    sources.iter().filter_map(move |(topic, progress)| {
        let may_be_gate = has_new_gate && !configured.others.contains(topic);
        let was_gate = match progress.log {
            Some(hash) => hash != 0,
            None => progress.next > 0 && (progress.gate.is_some() || may_be_gate),
        };
        let now = configured.gates.get(topic).map(String::as_str);
        let is_same = now.is_some_and(|now| progress.gate.as_deref().is_none_or(|was| was == now));
        (was_gate && !is_same).then_some(UnreadGate { topic, progress, now })
    })
}

/// The kind of loss or change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FindingKind {
    /// The source is another one: recreated or rewritten.
    SourceReplaced,
    /// Records that were not read yet are gone.
    UnreadRecordsLost,
    /// A gate log lost records from its beginning.
    GateLogTruncated,
    /// The source ends before what was read of it.
    SourceTruncated,
    /// The group's offset was moved forward by hand.
    OffsetMovedAhead,
    /// The group has no offset of a source, but has those of others.
    OffsetMissing,
    /// The state is older than the group's offsets.
    StateOutdated,
    /// There are offsets or outputs, but no mark.
    StateMissing,
    /// The rows do not match the mark's checksum.
    RowsMismatch,
    /// An output is shorter than before.
    OutputTruncated,
    /// The cluster is another one.
    ClusterChanged,
    /// The clock differs from the broker's.
    ClockSkew,
    /// More would be retracted than is allowed.
    TooManyRetractions,
    /// A gate record is unreadable and names no patron, or one of another partition.
    UnreadableGateRecord,
    /// The ledger lacks the last block of a chain.
    LedgerTruncated,
    /// `zeef.patrons` lost rows, or is another topic.
    ErasuresLost,
    /// No kind of record is read from a gate that was read.
    GateNotRead,
}

impl FindingKind {
    /// Returns the word for messages and codes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            FindingKind::SourceReplaced => "replaced",
            FindingKind::UnreadRecordsLost => "lost unread records",
            FindingKind::GateLogTruncated => "gate log cut",
            FindingKind::SourceTruncated => "shorter than what was read",
            FindingKind::OffsetMovedAhead => "offset moved ahead",
            FindingKind::OffsetMissing => "offset missing",
            FindingKind::StateOutdated => "state older than the offsets",
            FindingKind::StateMissing => "state missing",
            FindingKind::RowsMismatch => "rows differ",
            FindingKind::OutputTruncated => "output shorter than it was",
            FindingKind::ClusterChanged => "another cluster",
            FindingKind::ClockSkew => "another clock",
            FindingKind::TooManyRetractions => "takes back too much",
            FindingKind::UnreadableGateRecord => "cannot be read",
            FindingKind::LedgerTruncated => "ledger shorter than it was",
            FindingKind::ErasuresLost => "erasures lost",
            FindingKind::GateNotRead => "read no more",
        }
    }

    /// Returns what follows if an operator accepts it.
    #[must_use]
    pub const fn consequence(self) -> &'static str {
        match self {
            FindingKind::SourceReplaced | FindingKind::SourceTruncated => {
                "restore the topic; accepted, it is read from its beginning, and what recipients \
                 have of records or patrons that it no longer names is taken back or stays as it is"
            }
            FindingKind::UnreadRecordsLost => {
                "restore the topic; accepted, the lost records are never decided"
            }
            FindingKind::GateLogTruncated => {
                "restore the topic; accepted, what the lost records said (an objection, a \
                 withdrawal) counts for nothing from now on"
            }
            FindingKind::OffsetMovedAhead => {
                "set the group's offset back; accepted, the records in between are never decided"
            }
            FindingKind::OffsetMissing => {
                "check whether the topic was deleted and recreated; accepted, the state's own \
                 position counts"
            }
            FindingKind::StateOutdated => {
                "restore the newer state; accepted, what was sent after the older one is unknown: it \
                 may be sent twice, and what was taken back since may be missed"
            }
            FindingKind::StateMissing => {
                "restore the state topic; `zeef topics --apply` makes an empty one, which does not \
                 help: what recipients have is then unknown and can never be taken back \
                 (`zeef forget LANE` begins so on purpose)"
            }
            FindingKind::RowsMismatch => {
                "restore the state topic; accepted, what the missing rows said is unknown: what \
                 recipients have of those records can never be taken back"
            }
            FindingKind::OutputTruncated => {
                "restore the topic, or `zeef refill RECIPIENT`, which sends everything again; accepted, the \
                 recipient lacks what the topic lost"
            }
            FindingKind::ClusterChanged => {
                "point zeef at the cluster it was on; accepted, this one counts from now on"
            }
            FindingKind::ClockSkew => {
                "set the clock right; accepted, terms run by the clock of this machine"
            }
            FindingKind::TooManyRetractions => {
                "check whether a source lost its records; accepted, it is taken back"
            }
            FindingKind::UnreadableGateRecord => {
                "find out whose record it is and send it again under its key; accepted, it counts \
                 for nothing"
            }
            FindingKind::LedgerTruncated => {
                "restore the ledger; accepted, its chain goes on with a gap, which `zeef ledger \
                 verify` names from then on"
            }
            FindingKind::ErasuresLost => {
                "stop all processes, write the topic's rows back from a copy, each to its partition, \
                 and then accept; accepted without its rows, what a patron said before an erasure \
                 counts for whoever has the id now, and gate records that could not be read stop \
                 nothing"
            }
            FindingKind::GateNotRead => {
                "give its kind of record that topic and role again; accepted, whatever it said (an \
                 erasure, an objection, a withdrawal, a payment) counts for nothing from now on"
            }
        }
    }
}

impl fmt::Display for ContinuityFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` partition {}: {}: {}; {}",
            self.subject,
            self.partition,
            self.kind.as_str(),
            self.detail,
            self.kind.consequence()
        )
    }
}

impl ContinuityFinding {
    /// Returns the code that accepts this finding and no other: another mark, partition or
    /// loss has another code.
    #[must_use]
    pub fn acceptance_code(
        &self,
        fingerprinter: &Fingerprinter,
        lane: &str,
        mark_number: u64,
    ) -> String {
        let text = format!(
            "accept\0{lane}\0{mark_number}\0{}\0{}\0{}\0{}",
            self.partition,
            self.kind.as_str(),
            self.subject,
            self.detail
        );
        format_code(fingerprinter.hash_text(text.as_bytes()))
    }
}

/// Returns 12 characters, none of which is easily mistaken for another.
#[must_use]
pub fn format_code(hash: u64) -> String {
    const CODE_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let letter = |place: u32| char::from(CODE_ALPHABET[(hash >> (5 * place)) as usize & 31]);
    (0..12).map(letter).collect()
}

/// What a mark says of one partition of a source.
#[derive(Clone, Copy, Debug)]
pub struct MarkedSource<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub progress: &'a SourceProgress,
    pub retention: SourceRetention,
    pub mark_number: u64,
}

/// Compares one partition of a source with its mark; at most one finding of each kind.
///
/// A source that lost what was read, by retention or compaction, is no finding.
#[must_use]
pub fn compare_source(
    marked: &MarkedSource<'_>,
    snapshot: &SourceSnapshot,
) -> Vec<ContinuityFinding> {
    let mut details = BTreeMap::new();
    let bounds = compare_bounds(marked, snapshot);
    let contents = compare_contents(marked, snapshot);
    let group = snapshot.group_offset.map_or_else(
        || {
            snapshot.has_other_group_offsets.then(|| {
                let detail = "the group has no offset of it, and has those of other sources";
                (FindingKind::OffsetMissing, detail.to_owned())
            })
        },
        |group| compare_group_offset(marked, group),
    );
    for (kind, detail) in bounds.into_iter().chain(contents).chain(group) {
        details.entry(kind).or_insert(detail);
    }
    details
        .into_iter()
        .map(|(kind, detail)| ContinuityFinding {
            subject: marked.topic.to_owned(),
            partition: marked.partition,
            kind,
            detail,
        })
        .collect()
}

fn compare_bounds(
    marked: &MarkedSource<'_>,
    snapshot: &SourceSnapshot,
) -> Vec<(FindingKind, String)> {
    let mut found = Vec::new();
    let (next, first) = (marked.progress.next, marked.progress.start);
    let (start, end) = (snapshot.start_offset, snapshot.end_offset);
    if end < next {
        let detail = format!("it ends at {end}, and was read up to {next}");
        found.push((FindingKind::SourceTruncated, detail));
    } else if start > next {
        let detail = format!("it starts at {start}, and was read up to {next}");
        found.push((FindingKind::UnreadRecordsLost, detail));
    }
    match marked.retention {
        SourceRetention::Forever if start > first => {
            let detail = format!("it starts at {start}, and started at {first}");
            found.push((FindingKind::GateLogTruncated, detail));
        }
        SourceRetention::Compacted if start > first => {
            let detail = format!("it is compacted and starts at {start}, and started at {first}");
            found.push((FindingKind::SourceReplaced, detail));
        }
        _ => {}
    }
    found
}

fn compare_contents(
    marked: &MarkedSource<'_>,
    snapshot: &SourceSnapshot,
) -> Option<(FindingKind, String)> {
    let MarkedSource { progress, retention, .. } = marked;
    let differs = |anchor: &&SourceAnchor| match snapshot.anchor_contents.get(&anchor.offset) {
        Some(AnchorContent::Record(hash)) => *hash != anchor.hash,
        Some(AnchorContent::NoRecord) => {
            *retention != SourceRetention::Compacted && anchor.offset < snapshot.end_offset
        }
        None => false,
    };
    let detail = if let Some(anchor) = progress.anchors.iter().find(differs) {
        format!("at offset {} lies another record", anchor.offset)
    } else if progress.log.zip(snapshot.log_hash).is_some_and(|(log, now)| log != now) {
        format!("what lies before offset {} is not what was read", progress.next)
    } else {
        return None;
    };
    Some((FindingKind::SourceReplaced, detail))
}

fn compare_group_offset(
    marked: &MarkedSource<'_>,
    group: GroupOffset,
) -> Option<(FindingKind, String)> {
    let next = marked.progress.next;
    match group.mark_number {
        Some(number) if number > marked.mark_number => {
            let of_state = marked.mark_number;
            let detail =
                format!("the group's offset is of transaction {number}, the state of {of_state}");
            Some((FindingKind::StateOutdated, detail))
        }
        None if group.offset > next => {
            let detail =
                format!("the group's offset is {}, and it was read up to {next}", group.offset);
            Some((FindingKind::OffsetMovedAhead, detail))
        }
        _ => None,
    }
}

/// Returns whether the group's offset was set back by hand: then the mark's own counts.
#[must_use]
pub fn is_moved_back(progress: &SourceProgress, group: Option<GroupOffset>) -> bool {
    group.is_some_and(|group| group.mark_number.is_none() && group.offset < progress.next)
}

/// Returns where a lane continues that takes over from another: in each source at the
/// position that is further behind.
#[must_use]
pub fn merge_earliest(
    one: &BTreeMap<String, SourceProgress>,
    other: &BTreeMap<String, SourceProgress>,
) -> BTreeMap<String, SourceProgress> {
    let mut all = one.clone();
    for (topic, progress) in other {
        match all.get(topic) {
            Some(known) if known.next <= progress.next => {}
            _ => drop(all.insert(topic.clone(), progress.clone())),
        }
    }
    all
}

/// 16 hexadecimal digits.
pub(crate) mod hex {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{value:016x}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        u64::from_str_radix(&text, 16)
            .map_err(|_| serde::de::Error::custom("expected 16 hexadecimal digits"))
    }
}

mod hex_option {
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::hex::serialize(value, to),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
        super::hex::deserialize(from).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::members::texts_with_a_repeated_member;
    use proptest::prelude::*;

    fn fingerprinter() -> Fingerprinter {
        Fingerprinter::new([1, 2, 3, 4])
    }

    #[test]
    fn gate_without_a_kind_is_found_in_a_mark() {
        let source =
            |next: i64, log: Option<u64>| SourceProgress { next, log, ..Default::default() };
        let found = |topic: &str, source: SourceProgress, has_new_gate: bool| {
            let gates = ["objection", "patron"].map(|name| (name.to_owned(), name.to_owned()));
            let configured = ConfiguredTopics {
                gates: BTreeMap::from(gates),
                others: BTreeSet::from(["loan".to_owned()]),
            };
            let sources = BTreeMap::from([(topic.to_owned(), source)]);
            unread_gates(&sources, &configured, has_new_gate).count() > 0
        };
        let gate = |next: i64, log: Option<u64>, gate: &str| SourceProgress {
            gate: Some(gate.to_owned()),
            ..source(next, log)
        };
        for has_new_gate in [false, true] {
            // Renamed, without its kind, or of a kind that is a gate no more.
            assert!(found("objections", source(5, Some(7)), has_new_gate));
            assert!(found("loan", source(5, Some(7)), has_new_gate));
            // Still a gate; never had a record; another source, and one without its kind.
            assert!(!found("objection", source(5, Some(7)), has_new_gate));
            assert!(!found("objections", source(0, Some(0)), has_new_gate));
            assert!(!found("loan", source(5, None), has_new_gate));
            assert!(!found("members", source(0, None), has_new_gate));
            // A compacted gate has no hash: it may be the one that has another name now.
            assert_eq!(found("members", source(5, None), has_new_gate), has_new_gate);
            // A newer mark says what it was.
            assert!(found("members", gate(5, None, "patron"), has_new_gate));
            assert!(found("loan", gate(5, None, "patron"), has_new_gate));
            assert!(!found("members", gate(0, None, "patron"), has_new_gate));
            assert!(!found("patron", gate(5, None, "patron"), has_new_gate));
            assert!(!found("objection", gate(5, Some(7), "objection"), has_new_gate));
            // Exchanged with another gate.
            assert!(found("objection", gate(5, Some(7), "consent"), has_new_gate));
            assert!(found("objection", gate(5, None, "patron"), has_new_gate));
            assert!(!found("objection", gate(0, Some(0), "consent"), has_new_gate));
        }
    }

    fn progress_through(offsets: &[i64]) -> SourceProgress {
        let mut progress = SourceProgress::default();
        for &offset in offsets {
            progress.add_anchor(SourceAnchor { offset, hash: offset.unsigned_abs() });
            progress.next = offset + 1;
        }
        progress
    }

    /// Returns the source as the mark left it.
    fn unchanged_snapshot(progress: &SourceProgress) -> SourceSnapshot {
        let anchors = progress.anchors.iter();
        SourceSnapshot {
            start_offset: progress.start,
            end_offset: progress.next,
            group_offset: Some(GroupOffset { offset: progress.next, mark_number: Some(7) }),
            has_other_group_offsets: true,
            anchor_contents: anchors
                .map(|anchor| (anchor.offset, AnchorContent::Record(anchor.hash)))
                .collect(),
            log_hash: progress.log,
        }
    }

    #[track_caller]
    fn check_kinds(
        retention: SourceRetention,
        change: impl FnOnce(&mut SourceProgress, &mut SourceSnapshot),
        want: &[FindingKind],
    ) {
        let mut progress = progress_through(&(0..1_000).collect::<Vec<_>>());
        progress.log = (retention == SourceRetention::Forever).then_some(9);
        let mut snapshot = unchanged_snapshot(&progress);
        change(&mut progress, &mut snapshot);
        let (topic, partition, progress) = ("loan", 3, &progress);
        let marked = MarkedSource { topic, partition, progress, retention, mark_number: 7 };
        let found = compare_source(&marked, &snapshot);
        let kinds: Vec<FindingKind> = found.iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, want, "{found:?}");
    }

    const ALL_RETENTIONS: [SourceRetention; 3] =
        [SourceRetention::Forever, SourceRetention::Compacted, SourceRetention::Limited];

    #[test]
    fn compare_source_finds_nothing_in_unchanged_source() {
        for retention in ALL_RETENTIONS {
            check_kinds(retention, |_, _| {}, &[]);
            check_kinds(retention, |_, snapshot| snapshot.end_offset += 5, &[]);
            check_kinds(
                retention,
                |_, snapshot| snapshot.group_offset = None,
                &[FindingKind::OffsetMissing],
            );
            let expired = |_: &mut SourceProgress, snapshot: &mut SourceSnapshot| {
                snapshot.group_offset = None;
                snapshot.has_other_group_offsets = false;
            };
            check_kinds(retention, expired, &[]);
        }
    }

    #[test]
    fn compare_source_allows_retention_and_compaction_of_read_records() {
        let cut = |_: &mut SourceProgress, snapshot: &mut SourceSnapshot| {
            snapshot.start_offset = 1_000;
            snapshot.anchor_contents.clear();
        };
        check_kinds(SourceRetention::Limited, cut, &[]);
        check_kinds(SourceRetention::Forever, cut, &[FindingKind::GateLogTruncated]);
        check_kinds(SourceRetention::Compacted, cut, &[FindingKind::SourceReplaced]);
        let compacted = |_: &mut SourceProgress, snapshot: &mut SourceSnapshot| {
            snapshot.anchor_contents.insert(999, AnchorContent::NoRecord);
        };
        check_kinds(SourceRetention::Compacted, compacted, &[]);
        check_kinds(SourceRetention::Limited, compacted, &[FindingKind::SourceReplaced]);
        check_kinds(SourceRetention::Forever, compacted, &[FindingKind::SourceReplaced]);
    }

    /// Kafka forgets the offsets of a group without members; the mark has its own.
    #[test]
    fn lane_without_input_for_thirteen_months_is_compared_by_its_mark_alone() {
        fn forget_group(snapshot: &mut SourceSnapshot) {
            snapshot.group_offset = None;
            snapshot.has_other_group_offsets = false;
        }
        let expired = |_: &mut SourceProgress, snapshot: &mut SourceSnapshot| {
            forget_group(snapshot);
            snapshot.start_offset = snapshot.end_offset;
            snapshot.anchor_contents.clear();
        };
        check_kinds(SourceRetention::Limited, expired, &[]);
        check_kinds(SourceRetention::Forever, expired, &[FindingKind::GateLogTruncated]);
        let compacted = |_: &mut SourceProgress, snapshot: &mut SourceSnapshot| {
            forget_group(snapshot);
            for content in snapshot.anchor_contents.values_mut() {
                *content = AnchorContent::NoRecord;
            }
        };
        check_kinds(SourceRetention::Compacted, compacted, &[]);
        check_kinds(SourceRetention::Forever, |_, snapshot| forget_group(snapshot), &[]);
        let recreated = |_: &mut SourceProgress, snapshot: &mut SourceSnapshot| {
            forget_group(snapshot);
            snapshot.end_offset = 0;
            snapshot.anchor_contents.clear();
        };
        for retention in ALL_RETENTIONS {
            check_kinds(retention, recreated, &[FindingKind::SourceTruncated]);
        }
    }

    #[test]
    fn compare_source_finds_lost_and_replaced_records() {
        for retention in ALL_RETENTIONS {
            let other = |_: &mut SourceProgress, snapshot: &mut SourceSnapshot| {
                let oldest = *snapshot.anchor_contents.keys().next().unwrap();
                snapshot.anchor_contents.insert(oldest, AnchorContent::Record(u64::MAX));
            };
            check_kinds(retention, other, &[FindingKind::SourceReplaced]);
            check_kinds(
                retention,
                |_, snapshot| snapshot.end_offset = 12,
                &[FindingKind::SourceTruncated],
            );
        }
        let unread = |_: &mut SourceProgress, snapshot: &mut SourceSnapshot| {
            snapshot.start_offset = 1_001;
            snapshot.end_offset = 2_000;
            snapshot.anchor_contents.clear();
        };
        check_kinds(SourceRetention::Limited, unread, &[FindingKind::UnreadRecordsLost]);
        check_kinds(
            SourceRetention::Forever,
            |_, snapshot| snapshot.log_hash = Some(10),
            &[FindingKind::SourceReplaced],
        );
    }

    #[test]
    fn compare_source_finds_moved_group_offset() {
        let to = |offset, number| {
            move |_: &mut SourceProgress, snapshot: &mut SourceSnapshot| {
                snapshot.group_offset = Some(GroupOffset { offset, mark_number: number });
            }
        };
        for retention in ALL_RETENTIONS {
            check_kinds(retention, to(1_004, None), &[FindingKind::OffsetMovedAhead]);
            check_kinds(retention, to(17, None), &[]);
            check_kinds(retention, to(1_000, Some(8)), &[FindingKind::StateOutdated]);
            check_kinds(retention, to(990, Some(6)), &[]);
        }
        let progress = progress_through(&[0, 1, 2]);
        let back = GroupOffset { offset: 1, mark_number: None };
        assert!(is_moved_back(&progress, Some(back)));
        assert!(!is_moved_back(&progress, None));
    }

    #[test]
    fn finding_code_differs_by_finding_lane_and_mark() {
        let finding = |partition, detail: &str| ContinuityFinding {
            subject: "loan".to_owned(),
            partition,
            kind: FindingKind::SourceReplaced,
            detail: detail.to_owned(),
        };
        let code = finding(0, "a").acceptance_code(&fingerprinter(), "main", 1);
        assert_eq!(code.len(), 12);
        assert_eq!(code, finding(0, "a").acceptance_code(&fingerprinter(), "main", 1));
        for other in [
            finding(1, "a").acceptance_code(&fingerprinter(), "main", 1),
            finding(0, "b").acceptance_code(&fingerprinter(), "main", 1),
            finding(0, "a").acceptance_code(&fingerprinter(), "finance", 1),
            finding(0, "a").acceptance_code(&fingerprinter(), "main", 2),
        ] {
            assert_ne!(code, other);
        }
    }

    #[test]
    fn mark_with_a_repeated_member_in_any_object_is_damaged() {
        let counts = |name: &str| BTreeMap::from([(name.to_owned(), 2)]);
        let of_one = |name: &str| BTreeMap::from([("a".to_owned(), counts(name))]);
        let mark = ContinuityMark {
            format: FORMAT,
            recipients: vec!["a".to_owned()],
            keys: BTreeMap::from([(
                "a".to_owned(),
                KeyFingerprint { id: "k".to_owned(), print: "p".to_owned() },
            )]),
            has: of_one("out.a"),
            kinds: of_one("loan"),
            sources: BTreeMap::from([("loan".to_owned(), progress_through(&[1, 2]))]),
            outputs: BTreeMap::from([("out.a".to_owned(), vec![1, 2])]),
            ..ContinuityMark::default()
        };
        let seal = |text: &str| {
            let mut sealed = text.as_bytes().to_vec();
            seal_object(&fingerprinter(), &mut sealed);
            ContinuityMark::decode(&fingerprinter(), &sealed)
        };
        let value = serde_json::to_value(&mark).unwrap();
        assert_eq!(seal(&value.to_string()), Ok(mark));
        let repeated = texts_with_a_repeated_member(&value);
        assert!(repeated.len() > 25, "{}", repeated.len());
        for text in repeated {
            assert_eq!(seal(&text), Err(MarkError::Damaged), "{text}");
        }
    }

    #[test]
    fn mark_decode_rejects_any_changed_byte() {
        let mark = ContinuityMark {
            format: FORMAT,
            number: 3,
            sources: BTreeMap::from([("loan".to_owned(), progress_through(&[1, 2]))]),
            ..ContinuityMark::default()
        };
        let text = mark.encode(&fingerprinter());
        assert_eq!(ContinuityMark::decode(&fingerprinter(), &text), Ok(mark));
        for place in 0..text.len() {
            let mut other = text.clone();
            other[place] ^= 1;
            assert_ne!(
                ContinuityMark::decode(&fingerprinter(), &other),
                ContinuityMark::decode(&fingerprinter(), &text),
                "{place}"
            );
        }
        let other = Fingerprinter::new([0; 4]);
        assert_eq!(ContinuityMark::decode(&other, &text), Err(MarkError::Damaged));
        let newer = ContinuityMark { format: FORMAT + 1, ..ContinuityMark::default() };
        let read = ContinuityMark::decode(&fingerprinter(), &newer.encode(&fingerprinter()));
        assert_eq!(read, Err(MarkError::NewerFormat));
    }

    proptest! {
        /// Few anchors, the newest among them, and one far back: a recreated topic differs
        /// in one of them.
        #[test]
        fn add_anchor_keeps_few_anchors_reaching_far_back(steps in prop::collection::vec(1_i64..400, 1..3_000)) {
            let mut progress = SourceProgress::default();
            let mut offset = 0;
            for step in &steps {
                offset += step;
                progress.add_anchor(SourceAnchor { offset, hash: 0 });
            }
            prop_assert!(progress.anchors.len() <= ANCHORS_MAX);
            prop_assert_eq!(progress.anchors[0].offset, offset);
            prop_assert!(progress.anchors.windows(2).all(|two| two[0].offset > two[1].offset));
            let reached = offset - progress.anchors.last().map_or(0, |last| last.offset);
            prop_assert!(steps.len() < 2 || reached * ANCHOR_SPACING_FACTOR * ANCHOR_SPACING_FACTOR >= offset - steps[0]);
        }
    }
}
