//! Continuity: what a partition of a state depends on, and whether it is still
//! there.
//!
//! Every transaction writes a [`Mark`] into each partition of the state that it
//! acts on. At every start, before anything is decided, and once a minute while
//! running, the mark is compared with what is there now. What is not as the
//! mark left it is a [`Finding`]: the lane stops, says what is lost, and goes
//! on only once an operator has accepted that very finding.
//!
//! Pure: nothing here connects to anything, and no value of a record is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use highway::{HighwayHash, HighwayHasher, Key as HashKey};
use serde::{Deserialize, Serialize};

/// The key of the mark's row in its partition: plain, so that it is found
/// whatever the state key is. Other rows have keys of 22 characters.
pub const MARK_KEY: &[u8] = b"mark";
/// The format version of marks.
pub const FORMAT: u32 = 1;
/// How many records of each source a mark remembers.
const ANCHORS_MAX: usize = 8;
/// How many times further back each next anchor lies.
const ANCHOR_FACTOR: i64 = 16;
/// How far two clocks may be apart.
pub const CLOCK_TOLERANCE_MS: i64 = 600_000;
/// For how long after its first start a lane may still meet partitions without
/// a mark: not every worker starts at once.
pub const FIRST_START_MS: i64 = 600_000;

/// A keyed hash of records: without the key nobody can try values out.
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

    /// Returns the hash of a message: its key, its value, and where each ends.
    #[must_use]
    pub fn record(&self, key: Option<&[u8]>, value: Option<&[u8]>) -> u64 {
        self.chained(0, key, value)
    }

    /// Returns the hash of all messages up to this one, `before` being that of
    /// those before it.
    #[must_use]
    pub fn chained(&self, before: u64, key: Option<&[u8]>, value: Option<&[u8]>) -> u64 {
        let mut hasher = HighwayHasher::new(HashKey(self.0));
        hasher.append(&before.to_le_bytes());
        for part in [key, value] {
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            hasher.append(&length.to_le_bytes());
            hasher.append(part.unwrap_or_default());
        }
        hasher.finalize64()
    }

    /// Returns the hash of one text.
    #[must_use]
    pub fn text(&self, text: &[u8]) -> u64 {
        HighwayHasher::new(HashKey(self.0)).hash64(text)
    }
}

/// One record of a source that was read, by which the source is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    pub offset: i64,
    #[serde(with = "hex")]
    pub hash: u64,
}

/// How far one partition of a source was read, and how it is known again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trail {
    /// The offset of the next record to be read.
    pub next: i64,
    /// The first offset that the source had when it was last looked at.
    #[serde(default)]
    pub start: i64,
    /// The newest record read first, then records ever further back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anchors: Vec<Anchor>,
    /// Of a gate log, which is kept whole: the hash of all that was read.
    #[serde(default, with = "hex_option", skip_serializing_if = "Option::is_none")]
    pub log: Option<u64>,
}

impl Trail {
    /// Adds the record that was read last. Of those before it one is kept at
    /// some 1, 16, 256, ... records' distance each.
    pub fn passed(&mut self, anchor: Anchor) {
        if self
            .anchors
            .first()
            .is_some_and(|first| first.offset >= anchor.offset)
        {
            return;
        }
        self.anchors.insert(0, anchor);
        let bucket = |old: &Anchor| {
            let distance = anchor.offset.saturating_sub(old.offset).max(1);
            distance.ilog(ANCHOR_FACTOR)
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

/// A key in use: its id, and a fingerprint that shows nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPrint {
    pub id: String,
    pub print: String,
}

/// The living rows of a partition of a state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowSum {
    pub count: u64,
    /// The sum of their MACs.
    #[serde(with = "hex")]
    pub sum: u64,
}

impl RowSum {
    pub fn add(&mut self, mac: u64) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(mac);
    }

    pub fn take(&mut self, mac: u64) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(mac);
    }
}

/// What one partition of a state depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub format: u32,
    /// Counts the transactions that acted on the partition. Also the metadata of
    /// the group's offsets.
    pub number: u64,
    /// The batch's time.
    pub time_ms: i64,
    /// When the first mark of the partition was written that has a time; 0 before
    /// that.
    pub born_ms: i64,
    /// The version of the policy that the records were decided under.
    pub policy: String,
    /// Counts the policies: a process with an older one does not decide.
    pub generation: u64,
    /// The recipients of the lane, by name.
    pub recipients: Vec<String>,
    /// By `state`, or the recipient's name.
    pub keys: BTreeMap<String, KeyPrint>,
    pub rows: RowSum,
    /// How many outputs recipients have, by recipient and topic.
    pub has: BTreeMap<String, BTreeMap<String, u64>>,
    /// The same by recipient and kind of record; empty where a version before
    /// wrote the mark.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: BTreeMap<String, BTreeMap<String, u64>>,
    /// The id of the cluster; empty where there is none.
    #[serde(default)]
    pub cluster: String,
    /// By topic, without any prefix.
    #[serde(default)]
    pub sources: BTreeMap<String, Trail>,
    /// The end of each partition of the outputs, as it was last looked at.
    #[serde(default)]
    pub outputs: BTreeMap<String, Vec<i64>>,
    /// The next offset of `zeef.commands`: commands below it are carried out.
    #[serde(default)]
    pub commands: i64,
    /// The month in which outputs of a lane with a period were published last, as
    /// `YYYY-MM`: no restart publishes again in it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub published: String,
    /// The day on which something was taken back in such a lane last, as
    /// `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub taken_back: String,
}

/// What a transport adds to a mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub cluster: String,
    pub sources: BTreeMap<String, Trail>,
    pub outputs: BTreeMap<String, Vec<i64>>,
}

impl Mark {
    /// Returns the mark of a row.
    ///
    /// # Errors
    ///
    /// [`MarkError`]: the lane cannot go on without it.
    pub fn read(prints: &Fingerprinter, value: &[u8]) -> Result<Mark, MarkError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = serde_json::from_slice(value).map_err(|_| MarkError::Damaged)?;
        if head.format > FORMAT {
            return Err(MarkError::Newer);
        }
        let text = sealed(prints, value).ok_or(MarkError::Damaged)?;
        serde_json::from_slice(&text).map_err(|_| MarkError::Damaged)
    }

    /// Returns the row's value: the mark with its MAC.
    #[must_use]
    pub fn write(&self, prints: &Fingerprinter) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).unwrap_or_default();
        seal(prints, &mut text);
        text
    }
}

/// Why a mark cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarkError {
    #[error("the mark has a newer format than {FORMAT}: run a newer zeef")]
    Newer,
    #[error("the mark is damaged, or was written under another state key")]
    Damaged,
}

/// What the MAC of a row begins with; 16 hexadecimal digits and `"}` follow.
const MAC: &[u8] = b",\"mac\":\"";
/// The length of the member with its MAC and the end of the object.
pub const MAC_LENGTH: usize = MAC.len() + 16 + 2;

/// Appends the MAC to an object's text, as its last member. Returns it.
pub fn seal(prints: &Fingerprinter, text: &mut Vec<u8>) -> u64 {
    let mac = prints.text(text);
    if text.pop().is_some() {
        append_mac(text, mac);
    }
    mac
}

/// Appends the member of a MAC and the end of its object.
pub fn append_mac(out: &mut Vec<u8>, mac: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(MAC);
    for place in 0..16 {
        out.push(DIGITS[(mac >> (60 - 4 * place)) as usize & 0xf]);
    }
    out.extend_from_slice(b"\"}");
}

/// Splits an object's text into what its MAC is of, without the closing brace,
/// and the MAC; `None` where it has none.
#[must_use]
pub fn split_mac(text: &[u8]) -> Option<(&[u8], u64)> {
    let at = text.len().checked_sub(MAC_LENGTH)?;
    let (body, tail) = text.split_at(at);
    let digits = tail.strip_prefix(MAC)?.strip_suffix(b"\"}")?;
    let digits = std::str::from_utf8(digits).ok()?;
    Some((body, u64::from_str_radix(digits, 16).ok()?))
}

/// Returns the text that was sealed; `None` where its MAC is another one.
fn sealed(prints: &Fingerprinter, text: &[u8]) -> Option<Vec<u8>> {
    let (body, mac) = split_mac(text)?;
    let mut body = body.to_vec();
    body.push(b'}');
    (prints.text(&body) == mac).then_some(body)
}

/// How the records of a source are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All of them, for ever: a gate log.
    Whole,
    /// The last of each key.
    Compacted,
    /// For some time.
    ForATime,
}

/// What is committed for one partition of a source by the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupOffset {
    pub offset: i64,
    /// The mark's number that went with it; `None` where somebody else set it.
    pub number: Option<u64>,
}

/// What lies at an anchor's offset now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtAnchor {
    /// A record with this hash.
    Record(u64),
    /// No record.
    Nothing,
}

/// One partition of a source as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub start: i64,
    pub end: i64,
    pub group: Option<GroupOffset>,
    /// The group has offsets of other sources of the same partition number.
    pub group_has_others: bool,
    /// By the anchors' offsets: those that are not below the start.
    pub anchors: BTreeMap<i64, AtAnchor>,
    /// Of a gate log: the hash of what lies below the trail's next offset, where
    /// it was read.
    pub log: Option<u64>,
}

/// Something that is not as the mark left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The topic, file, key or lane that it is about.
    pub subject: String,
    pub partition: i32,
    pub kind: FindingKind,
    /// What was found, for an operator; never a value of a record.
    pub detail: String,
}

/// What kind of loss or change a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FindingKind {
    /// The source is another one: made anew, or rewritten.
    Replaced,
    /// Records that were not read yet are gone.
    LostUnread,
    /// A gate log lost records from its beginning.
    GateCut,
    /// The source ends before what was read of it.
    Shorter,
    /// The group's offset was moved forward by hand.
    MovedAhead,
    /// The group has no offset of a source, and has those of others.
    OffsetMissing,
    /// The state is older than the group's offsets.
    StateOlder,
    /// Offsets or outputs, and no mark.
    StateMissing,
    /// The rows are not those that the mark counts.
    RowsDiffer,
    /// An output is shorter than it was.
    OutputShorter,
    /// The cluster is another one.
    OtherCluster,
    /// The clock differs from the broker's.
    OtherClock,
    /// More would be taken back than may be.
    TakesBackTooMuch,
    /// A gate record that cannot be read, and names no patron, or one of another
    /// partition.
    NamesNobody,
}

impl FindingKind {
    /// Returns the word that stands in messages and in codes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            FindingKind::Replaced => "replaced",
            FindingKind::LostUnread => "lost unread records",
            FindingKind::GateCut => "gate log cut",
            FindingKind::Shorter => "shorter than what was read",
            FindingKind::MovedAhead => "offset moved ahead",
            FindingKind::OffsetMissing => "offset missing",
            FindingKind::StateOlder => "state older than the offsets",
            FindingKind::StateMissing => "state missing",
            FindingKind::RowsDiffer => "rows differ",
            FindingKind::OutputShorter => "output shorter than it was",
            FindingKind::OtherCluster => "another cluster",
            FindingKind::OtherClock => "another clock",
            FindingKind::TakesBackTooMuch => "takes back too much",
            FindingKind::NamesNobody => "cannot be read",
        }
    }

    /// Returns what follows if an operator accepts it.
    #[must_use]
    pub const fn consequence(self) -> &'static str {
        match self {
            FindingKind::Replaced | FindingKind::Shorter => {
                "restore the topic; accepted, it is read from its beginning, and what recipients \
                 have of records or patrons that it no longer names is taken back or stays as it is"
            }
            FindingKind::LostUnread => {
                "restore the topic; accepted, the lost records are never decided"
            }
            FindingKind::GateCut => {
                "restore the topic; accepted, what the lost records said (an objection, a \
                 withdrawal) counts for nothing from now on"
            }
            FindingKind::MovedAhead => {
                "set the group's offset back; accepted, the records in between are never decided"
            }
            FindingKind::OffsetMissing => {
                "look whether the topic was deleted and made anew; accepted, the state's own \
                 position counts"
            }
            FindingKind::StateOlder => {
                "restore the newer state; accepted, what was sent after the older one is unknown: it \
                 may be sent twice, and what was taken back since may be missed"
            }
            FindingKind::StateMissing => {
                "restore the state topic; `zeef topics --apply` makes an empty one, which does not \
                 help: what recipients have is then unknown and can never be taken back \
                 (`zeef forget LANE` begins so on purpose)"
            }
            FindingKind::RowsDiffer => {
                "restore the state topic; accepted, what the missing rows said is unknown: what \
                 recipients have of those records can never be taken back"
            }
            FindingKind::OutputShorter => {
                "restore the topic, or `zeef refill RECIPIENT`, which sends all again; accepted, the \
                 recipient lacks what the topic lost"
            }
            FindingKind::OtherCluster => {
                "point zeef at the cluster it was on; accepted, this one counts from now on"
            }
            FindingKind::OtherClock => {
                "set the clock right; accepted, terms run by the clock of this machine"
            }
            FindingKind::TakesBackTooMuch => {
                "look whether a source lost its records; accepted, it is taken back"
            }
            FindingKind::NamesNobody => {
                "find out whose record it is and send it again under its key; accepted, it counts \
                 for nothing"
            }
        }
    }
}

impl fmt::Display for Finding {
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

impl Finding {
    /// Returns the code that accepts this finding, and no other: another state of
    /// the mark, another partition or another loss has another code.
    #[must_use]
    pub fn code(&self, prints: &Fingerprinter, lane: &str, number: u64) -> String {
        let text = format!(
            "accept\0{lane}\0{number}\0{}\0{}\0{}\0{}",
            self.partition,
            self.kind.as_str(),
            self.subject,
            self.detail
        );
        code_of(prints.text(text.as_bytes()))
    }
}

/// Returns 12 characters without any that are easily mistaken for another.
#[must_use]
pub fn code_of(hash: u64) -> String {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let letter = |place: u32| char::from(LETTERS[(hash >> (5 * place)) as usize & 31]);
    (0..12).map(letter).collect()
}

/// Compares one partition of a source with its trail.
///
/// What it finds is in no case ordinary: a source that lost what was read (by
/// its retention, or by compaction) is not among it.
#[must_use]
pub fn compare_source(
    (topic, partition): (&str, i32),
    (trail, kept): (&Trail, Kept),
    number: u64,
    seen: &Seen,
) -> Vec<Finding> {
    let mut found = BTreeSet::new();
    let mut details = BTreeMap::new();
    let mut find = |kind: FindingKind, detail: String| {
        if found.insert(kind) {
            details.insert(kind, detail);
        }
    };
    let (next, start, end) = (trail.next, seen.start, seen.end);
    if end < next {
        find(
            FindingKind::Shorter,
            format!("it ends at {end}, and was read up to {next}"),
        );
    } else if start > next {
        find(
            FindingKind::LostUnread,
            format!("it starts at {start}, and was read up to {next}"),
        );
    }
    match kept {
        Kept::Whole if start > trail.start => find(
            FindingKind::GateCut,
            format!("it starts at {start}, and started at {}", trail.start),
        ),
        Kept::Compacted if start > trail.start => find(
            FindingKind::Replaced,
            format!(
                "it is compacted and starts at {start}, and started at {}",
                trail.start
            ),
        ),
        _ => {}
    }
    for anchor in &trail.anchors {
        let differs = match seen.anchors.get(&anchor.offset) {
            Some(AtAnchor::Record(hash)) => *hash != anchor.hash,
            Some(AtAnchor::Nothing) => kept != Kept::Compacted && anchor.offset < end,
            None => false,
        };
        if differs {
            find(
                FindingKind::Replaced,
                format!("at offset {} lies another record", anchor.offset),
            );
        }
    }
    if let (Some(log), Some(now)) = (trail.log, seen.log)
        && log != now
    {
        find(
            FindingKind::Replaced,
            format!("what lies before offset {next} is not what was read"),
        );
    }
    match seen.group {
        Some(group) => match group.number {
            Some(of_group) if of_group > number => find(
                FindingKind::StateOlder,
                format!("the group's offset is of transaction {of_group}, the state of {number}"),
            ),
            None if group.offset > next => find(
                FindingKind::MovedAhead,
                format!(
                    "the group's offset is {}, and it was read up to {next}",
                    group.offset
                ),
            ),
            _ => {}
        },
        None if seen.group_has_others => find(
            FindingKind::OffsetMissing,
            "the group has no offset of it, and has those of other sources".to_owned(),
        ),
        None => {}
    }
    details
        .into_iter()
        .map(|(kind, detail)| Finding {
            subject: topic.to_owned(),
            partition,
            kind,
            detail,
        })
        .collect()
}

/// Whether the group's offset was set back by hand: the mark's own counts then.
#[must_use]
pub fn moved_back(trail: &Trail, group: Option<GroupOffset>) -> bool {
    group.is_some_and(|group| group.number.is_none() && group.offset < trail.next)
}

/// Returns where a lane goes on that takes over from another: of each source from
/// where the one is that is further behind.
#[must_use]
pub fn behind(
    one: &BTreeMap<String, Trail>,
    other: &BTreeMap<String, Trail>,
) -> BTreeMap<String, Trail> {
    let mut all = one.clone();
    for (topic, trail) in other {
        match all.get(topic) {
            Some(known) if known.next <= trail.next => {}
            _ => drop(all.insert(topic.clone(), trail.clone())),
        }
    }
    all
}

/// 16 hexadecimal digits.
pub(super) mod hex {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::transport) fn serialize<S: Serializer>(
        value: &u64,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{value:016x}"))
    }

    pub(in crate::transport) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<u64, D::Error> {
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
    use proptest::prelude::*;

    fn prints() -> Fingerprinter {
        Fingerprinter::new([1, 2, 3, 4])
    }

    fn trail(offsets: &[i64]) -> Trail {
        let mut trail = Trail::default();
        for &offset in offsets {
            trail.passed(Anchor {
                offset,
                hash: offset.unsigned_abs(),
            });
            trail.next = offset + 1;
        }
        trail
    }

    /// The source as the trail left it.
    fn same(trail: &Trail) -> Seen {
        let anchors = trail.anchors.iter();
        Seen {
            start: trail.start,
            end: trail.next,
            group: Some(GroupOffset {
                offset: trail.next,
                number: Some(7),
            }),
            group_has_others: true,
            anchors: anchors
                .map(|anchor| (anchor.offset, AtAnchor::Record(anchor.hash)))
                .collect(),
            log: trail.log,
        }
    }

    #[track_caller]
    fn check(kept: Kept, change: impl FnOnce(&mut Trail, &mut Seen), want: &[FindingKind]) {
        let mut trail = trail(&(0..1_000).collect::<Vec<_>>());
        trail.log = (kept == Kept::Whole).then_some(9);
        let mut seen = same(&trail);
        change(&mut trail, &mut seen);
        let found = compare_source(("loan", 3), (&trail, kept), 7, &seen);
        let kinds: Vec<FindingKind> = found.iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, want, "{found:?}");
    }

    const ALL: [Kept; 3] = [Kept::Whole, Kept::Compacted, Kept::ForATime];

    #[test]
    fn what_is_as_it_was_is_no_finding() {
        for kept in ALL {
            check(kept, |_, _| {}, &[]);
            check(kept, |_, seen| seen.end += 5, &[]);
            check(
                kept,
                |_, seen| seen.group = None,
                &[FindingKind::OffsetMissing],
            );
            let expired = |_: &mut Trail, seen: &mut Seen| {
                seen.group = None;
                seen.group_has_others = false;
            };
            check(kept, expired, &[]);
        }
    }

    #[test]
    fn retention_and_compaction_of_what_was_read_are_ordinary() {
        let cut = |_: &mut Trail, seen: &mut Seen| {
            seen.start = 1_000;
            seen.anchors.clear();
        };
        check(Kept::ForATime, cut, &[]);
        check(Kept::Whole, cut, &[FindingKind::GateCut]);
        check(Kept::Compacted, cut, &[FindingKind::Replaced]);
        let compacted = |_: &mut Trail, seen: &mut Seen| {
            seen.anchors.insert(999, AtAnchor::Nothing);
        };
        check(Kept::Compacted, compacted, &[]);
        check(Kept::ForATime, compacted, &[FindingKind::Replaced]);
        check(Kept::Whole, compacted, &[FindingKind::Replaced]);
    }

    #[test]
    fn what_is_lost_or_another_is_found() {
        for kept in ALL {
            let other = |_: &mut Trail, seen: &mut Seen| {
                let oldest = *seen.anchors.keys().next().unwrap();
                seen.anchors.insert(oldest, AtAnchor::Record(u64::MAX));
            };
            check(kept, other, &[FindingKind::Replaced]);
            check(kept, |_, seen| seen.end = 12, &[FindingKind::Shorter]);
        }
        let unread = |_: &mut Trail, seen: &mut Seen| {
            seen.start = 1_001;
            seen.end = 2_000;
            seen.anchors.clear();
        };
        check(Kept::ForATime, unread, &[FindingKind::LostUnread]);
        check(
            Kept::Whole,
            |_, seen| seen.log = Some(10),
            &[FindingKind::Replaced],
        );
    }

    #[test]
    fn an_offset_that_was_moved_is_found() {
        let to = |offset, number| {
            move |_: &mut Trail, seen: &mut Seen| {
                seen.group = Some(GroupOffset { offset, number });
            }
        };
        for kept in ALL {
            check(kept, to(1_004, None), &[FindingKind::MovedAhead]);
            check(kept, to(17, None), &[]);
            check(kept, to(1_000, Some(8)), &[FindingKind::StateOlder]);
            check(kept, to(990, Some(6)), &[]);
        }
        let trail = trail(&[0, 1, 2]);
        let back = GroupOffset {
            offset: 1,
            number: None,
        };
        assert!(moved_back(&trail, Some(back)));
        assert!(!moved_back(&trail, None));
    }

    #[test]
    fn a_code_is_for_one_finding() {
        let finding = |partition, detail: &str| Finding {
            subject: "loan".to_owned(),
            partition,
            kind: FindingKind::Replaced,
            detail: detail.to_owned(),
        };
        let code = finding(0, "a").code(&prints(), "main", 1);
        assert_eq!(code.len(), 12);
        assert_eq!(code, finding(0, "a").code(&prints(), "main", 1));
        for other in [
            finding(1, "a").code(&prints(), "main", 1),
            finding(0, "b").code(&prints(), "main", 1),
            finding(0, "a").code(&prints(), "finance", 1),
            finding(0, "a").code(&prints(), "main", 2),
        ] {
            assert_ne!(code, other);
        }
    }

    #[test]
    fn a_mark_that_was_changed_is_damaged() {
        let mark = Mark {
            format: FORMAT,
            number: 3,
            sources: BTreeMap::from([("loan".to_owned(), trail(&[1, 2]))]),
            ..Mark::default()
        };
        let text = mark.write(&prints());
        assert_eq!(Mark::read(&prints(), &text), Ok(mark));
        for place in 0..text.len() {
            let mut other = text.clone();
            other[place] ^= 1;
            assert_ne!(
                Mark::read(&prints(), &other),
                Mark::read(&prints(), &text),
                "{place}"
            );
        }
        let other = Fingerprinter::new([0; 4]);
        assert_eq!(Mark::read(&other, &text), Err(MarkError::Damaged));
        let newer = Mark {
            format: FORMAT + 1,
            ..Mark::default()
        };
        let read = Mark::read(&prints(), &newer.write(&prints()));
        assert_eq!(read, Err(MarkError::Newer));
    }

    proptest! {
        /// Few anchors, the newest among them, and one far back: a topic that was
        /// made anew differs in one of them.
        #[test]
        fn anchors_are_few_and_reach_far_back(steps in prop::collection::vec(1_i64..400, 1..3_000)) {
            let mut trail = Trail::default();
            let mut offset = 0;
            for step in &steps {
                offset += step;
                trail.passed(Anchor { offset, hash: 0 });
            }
            prop_assert!(trail.anchors.len() <= ANCHORS_MAX);
            prop_assert_eq!(trail.anchors[0].offset, offset);
            prop_assert!(trail.anchors.windows(2).all(|two| two[0].offset > two[1].offset));
            let reached = offset - trail.anchors.last().map_or(0, |last| last.offset);
            prop_assert!(steps.len() < 2 || reached * ANCHOR_FACTOR * ANCHOR_FACTOR >= offset - steps[0]);
        }
    }
}
