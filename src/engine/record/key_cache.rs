//! The keys of one object's place in records, found by a glance.
//!
//! Systems write a member in much the same way every time, and with the same
//! spaces, even where the order changes. So a key is found by its length and some
//! of its bytes, and then all that stands between two values is compared, byte
//! for byte, with what stood there the last time. A glance is never taken on
//! trust: the whole text is compared, and what does not match is looked up.
//! Nothing here changes what a record means.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::shape::{MemberTarget, ShapeNode};
use crate::json::scan::{CHUNK_LEN, equal_byte_mask};
use crate::policy::catalogue::FieldType;

/// What stands between two values has fewer bytes than this to be known.
const GAP_LEN_MAX: usize = CHUNK_LEN;
/// The keys that are known, listed ones and others; of more nothing is learned.
const CACHED_KEYS_MAX: usize = 192;
/// Places of keys by a glance at them.
const SLOT_COUNT: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 10;
/// Odd, and without a pattern.
const SEED_MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
/// So many ways to spread keys over the spots are tried at most.
const SEEDS_MAX: u32 = 500;

/// The place of a key in [`KeyCache`]: any number is one.
pub(in crate::engine) type CachedKeyId = u8;

/// A key that is not known.
pub(in crate::engine) const NO_KEY: CachedKeyId = CachedKeyId::MAX;
/// In no JSON text.
const ABSENT_BYTE: u8 = 0xff;
/// As a member: the node has no such member.
const NO_MEMBER: u8 = u8::MAX;

/// The keys of one node of a shape.
#[derive(Clone, Debug)]
pub(in crate::engine) struct KeyCache {
    cached_keys: Box<[CachedKey; CachedKeyId::MAX as usize + 1]>,
    /// By the key as it stands between its quotes, and zeros behind it.
    ids_by_name: HashMap<[u8; GAP_LEN_MAX], CachedKeyId, FixedState>,
    /// The key that was noted last of those that a glance cannot tell apart.
    slots: Box<[CachedKeyId; SLOT_COUNT]>,
    /// What spreads keys over the spots, and how many others may be tried.
    seed: u64,
    seeds_left: u32,
    /// How far it was from the end of the key that was noted last to its value.
    key_to_value_len: usize,
    /// Where strings are kept that nobody wants.
    discard_slot: u16,
}

/// What is known of a key: no more than a line of the processor's cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(in crate::engine) struct CachedKey {
    /// All that stood between the value before and this one, the last time: a
    /// comma, the key, a colon, white space. The object's brace counts as a comma.
    gap: [u8; GAP_LEN_MAX],
    /// A bit for each byte of the gap.
    gap_mask: u32,
    gap_length: u8,
    /// The member of the node; [`NO_MEMBER`] where it has no such member.
    member_index: u8,
    /// Its string is kept as it is.
    pub(in crate::engine) keeps_string: bool,
    /// Where that is; of one that nobody wants, beside the wanted ones.
    pub(in crate::engine) slot: u16,
    pub(in crate::engine) action: MemberAction,
}

const _: () = assert!(size_of::<CachedKey>() == 64);

/// What is to be done with the value behind a key.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum MemberAction {
    Discard,
    /// A string is kept.
    KeepString(u16),
    /// It ought to be a number, or true or false.
    ReadUnquoted(u16, FieldType),
    /// It is (a part of) an object or a list.
    ReadTarget(MemberTarget),
}

impl MemberAction {
    /// What is to be done with the value of a member of the record's own.
    pub(in crate::engine) fn for_target(target: MemberTarget) -> MemberAction {
        match target {
            MemberTarget::Scalar { slot, kind } if kind.accepts_any_text() => {
                MemberAction::KeepString(slot)
            }
            MemberTarget::Scalar { slot, kind } => MemberAction::ReadUnquoted(slot, kind),
            MemberTarget::Object { .. } | MemberTarget::List { .. } => {
                MemberAction::ReadTarget(target)
            }
        }
    }
}

impl KeyCache {
    pub(in crate::engine) fn new(node: &ShapeNode, unlisted: u16) -> KeyCache {
        let unknown = CachedKey::new(NO_MEMBER, MemberAction::Discard, unlisted);
        let mut keys = KeyCache {
            cached_keys: Box::new([unknown; CachedKeyId::MAX as usize + 1]),
            ids_by_name: HashMap::default(),
            slots: Box::new([NO_KEY; SLOT_COUNT]),
            seed: SEED_MULTIPLIER,
            seeds_left: SEEDS_MAX,
            key_to_value_len: 0,
            discard_slot: unlisted,
        };
        for (place, member) in node.members.iter().enumerate() {
            // Those of a list's element are not the record's own.
            let wanted = match node.in_element {
                true => MemberAction::ReadTarget(member.target),
                false => MemberAction::for_target(member.target),
            };
            if let Some(name) = pad_name(member.name.as_bytes()) {
                let member = u8::try_from(place).unwrap_or(NO_MEMBER);
                keys.add_key(name, CachedKey::new(member, wanted, unlisted));
            }
        }
        keys
    }

    /// How far it is from the end of a key to its value.
    #[inline(always)]
    pub(in crate::engine) fn key_to_value_len(&self) -> usize {
        self.key_to_value_len
    }

    /// The key that stands behind the comma at the start of `bytes`, between
    /// quotes at these places, if all before its value is the same as the last
    /// time. The bytes that `ignored` has a bit for may be any.
    #[inline(always)]
    pub(in crate::engine) fn find_in_gap(
        &self,
        bytes: &[u8; GAP_LEN_MAX],
        quotes: (usize, usize),
        ignored: u32,
    ) -> Option<&CachedKey> {
        let key = self.slots[self.slot(fingerprint(bytes, quotes)?)];
        let known = &self.cached_keys[usize::from(key)];
        let differ = !equal_byte_mask(bytes, &known.gap) & known.gap_mask & !ignored;
        (differ == 0).then_some(known)
    }

    /// Looks up a key without escapes, as it stands between its quotes.
    pub(in crate::engine) fn look_up(&mut self, name: &[u8]) -> MemberLookup {
        let Some(name) = pad_name(name) else {
            return MemberLookup::TooLong;
        };
        let key = match self.ids_by_name.get(&name) {
            Some(&known) => known,
            None => self
                .add_key(name, CachedKey::new(NO_MEMBER, MemberAction::Discard, self.discard_slot)),
        };
        match self.cached_keys[usize::from(key)].member_index() {
            Some(member) => MemberLookup::Member(key, member),
            None => MemberLookup::Unlisted(key),
        }
    }

    /// Notes what stood before the value of `key`: the first `length` of
    /// `bytes`.
    pub(in crate::engine) fn remember_gap(
        &mut self,
        key: CachedKeyId,
        bytes: &[u8; GAP_LEN_MAX],
        length: usize,
    ) {
        // A gap begins with the comma or the brace, or it is not noted.
        if key == NO_KEY || !matches!(bytes[0], b',' | b'{') || length >= GAP_LEN_MAX {
            return;
        }
        let known = &mut self.cached_keys[usize::from(key)];
        known.gap = *bytes;
        known.gap[0] = b',';
        // Behind the gap is a value, which must not stay.
        known.gap[length..].fill(ABSENT_BYTE);
        known.gap_length = length as u8;
        known.gap_mask = u32::MAX >> (GAP_LEN_MAX - length);
        if let Some((_, close)) = known.quote_positions() {
            self.key_to_value_len = length - close;
        }
        if let Some(spot) = self.slot_of(key) {
            let there = std::mem::replace(&mut self.slots[spot], key);
            if there != key && there != NO_KEY {
                self.find_collision_free_seed();
            }
        }
    }

    #[inline(always)]
    fn slot(&self, fingerprint: u64) -> usize {
        (fingerprint.wrapping_mul(self.seed) >> (u64::BITS - SLOT_BITS)) as usize % SLOT_COUNT
    }

    /// The spot of a key, if it was noted how it stands.
    fn slot_of(&self, key: CachedKeyId) -> Option<usize> {
        let known = &self.cached_keys[usize::from(key)];
        fingerprint(&known.gap, known.quote_positions()?).map(|hash| self.slot(hash))
    }

    /// Looks for a spread that gives each key a spot of its own.
    #[cold]
    fn find_collision_free_seed(&mut self) {
        while self.seeds_left > 0 {
            self.seeds_left -= 1;
            self.seed = self.seed.wrapping_mul(SEED_MULTIPLIER);
            self.slots.fill(NO_KEY);
            let mut each_alone = true;
            for key in 0..self.ids_by_name.len() as CachedKeyId {
                if let Some(spot) = self.slot_of(key) {
                    each_alone &= self.slots[spot] == NO_KEY;
                    self.slots[spot] = key;
                }
            }
            if each_alone {
                return;
            }
        }
    }

    fn add_key(&mut self, name: [u8; GAP_LEN_MAX], known: CachedKey) -> CachedKeyId {
        if self.ids_by_name.len() >= CACHED_KEYS_MAX {
            return NO_KEY;
        }
        let key = self.ids_by_name.len() as CachedKeyId;
        self.ids_by_name.insert(name, key);
        self.cached_keys[usize::from(key)] = known;
        key
    }
}

/// What came of looking up a key.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum MemberLookup {
    Member(CachedKeyId, usize),
    /// The node has no such member.
    Unlisted(CachedKeyId),
    /// Too long to be known, member or not.
    TooLong,
}

impl CachedKey {
    fn new(member: u8, wanted: MemberAction, unlisted: u16) -> CachedKey {
        CachedKey {
            // It stands nowhere until it is noted.
            gap: [ABSENT_BYTE; GAP_LEN_MAX],
            gap_mask: u32::MAX,
            gap_length: 0,
            member_index: member,
            keeps_string: matches!(wanted, MemberAction::Discard | MemberAction::KeepString(_)),
            slot: match wanted {
                MemberAction::KeepString(slot) => slot,
                _ => unlisted,
            },
            action: wanted,
        }
    }

    /// Its place among the node's members, if it is one of them.
    #[inline(always)]
    pub(in crate::engine) fn member_index(&self) -> Option<usize> {
        (self.member_index != NO_MEMBER).then_some(usize::from(self.member_index))
    }

    /// How long the gap before its value is: less than [`CHUNK_LEN`].
    #[inline(always)]
    pub(in crate::engine) fn gap_length(&self) -> usize {
        usize::from(self.gap_length) % GAP_LEN_MAX
    }

    /// Where in the gap the key's quotes are.
    fn quote_positions(&self) -> Option<(usize, usize)> {
        let mut quotes = (0..self.gap_length()).filter(|&place| self.gap[place] == b'"');
        Some((quotes.next()?, quotes.next()?))
    }
}

/// A number for the key between these quotes: of its length, its first bytes and
/// its last ones.
#[inline(always)]
fn fingerprint(bytes: &[u8; GAP_LEN_MAX], (open, close): (usize, usize)) -> Option<u64> {
    let start = open + 1;
    let length = close.wrapping_sub(start);
    let beyond = 8 * (8 - length.min(8)) as u32;
    let part = |at: usize| {
        let part = bytes.get(at..)?.first_chunk()?;
        // Of an empty key nothing is left: what stands behind it is a value.
        Some(u64::from_le_bytes(*part).checked_shl(beyond).unwrap_or(0))
    };
    let last = part(close.saturating_sub(8).max(start))?;
    Some(part(start)? ^ last.rotate_left(29) ^ length as u64)
}

/// A key and zeros; none where it is too long for that, or would need an escape.
fn pad_name(name: &[u8]) -> Option<[u8; GAP_LEN_MAX]> {
    let mut text = [0; GAP_LEN_MAX];
    text.get_mut(..name.len())?.copy_from_slice(name);
    let plain = |byte: &u8| *byte >= 0x20 && !b"\"\\".contains(byte);
    name.iter().all(plain).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap_of(name: &str) -> ([u8; GAP_LEN_MAX], usize) {
        let text = format!(",\"{name}\":");
        let mut bytes = [b'x'; GAP_LEN_MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        (bytes, text.len())
    }

    #[test]
    fn key_cache_gives_each_key_a_slot_of_its_own() {
        let names = (0..40)
            .map(|number| format!("field_{}", number * number))
            .chain((0..20).map(|number| format!("a_rather_long_{}_key", (b'a' + number) as char)))
            .chain(["a", "b", "ab", ""].map(str::to_owned));
        let names: Vec<String> = names.collect();
        let mut keys = KeyCache::new(&ShapeNode::default(), 0);
        for name in &names {
            let MemberLookup::Unlisted(key) = keys.look_up(name.as_bytes()) else {
                panic!("{name} is listed");
            };
            let (bytes, length) = gap_of(name);
            keys.remember_gap(key, &bytes, length);
        }
        // At once, without being noted again: in any order.
        for name in &names {
            let (bytes, length) = gap_of(name);
            let known = keys.find_in_gap(&bytes, (1, name.len() + 2), 0);
            assert_eq!(known.map(CachedKey::gap_length), Some(length), "{name}");
            // A key that begins and ends as another does is not that one.
            let (other, _) = gap_of(&name.replacen("_rather", "_rathe_", 1));
            let known = keys.find_in_gap(&other, (1, name.len() + 2), 0);
            assert_eq!(known.is_some(), other == bytes, "{name}");
        }
        // What stood behind the gaps is not kept.
        let noted = keys.cached_keys.iter().filter(|known| known.gap_length > 0);
        assert!(noted.clone().all(|known| {
            known.gap[known.gap_length()..].iter().all(|byte| *byte == ABSENT_BYTE)
        }));
        assert_eq!(noted.count(), names.len());
    }

    #[test]
    fn key_cache_when_full_falls_back_to_lookup() {
        let mut keys = KeyCache::new(&ShapeNode::default(), 0);
        for number in 0..2 * CACHED_KEYS_MAX {
            let name = format!("k{number}");
            let MemberLookup::Unlisted(key) = keys.look_up(name.as_bytes()) else {
                panic!("{name} is listed");
            };
            let (bytes, length) = gap_of(&name);
            keys.remember_gap(key, &bytes, length);
            let known = keys.find_in_gap(&bytes, (1, length - 2), 0);
            assert_eq!(known.is_some(), number < CACHED_KEYS_MAX, "{name}");
        }
        assert_eq!(keys.ids_by_name.len(), CACHED_KEYS_MAX);
    }
}
