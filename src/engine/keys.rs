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

use super::shape::{Node, Target};
use crate::json::scan::{PIECE, equal_bytes};
use crate::policy::catalogue::Type;

/// What stands between two values has fewer bytes than this to be known.
const TEXT_MAX: usize = PIECE;
/// The keys that are known, listed ones and others; of more nothing is learned.
const KNOWN_MAX: usize = 192;
/// Places of keys by a glance at them.
const SPOTS: usize = 1 << SPOT_BITS;
const SPOT_BITS: u32 = 10;
/// Odd, and without a pattern.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
/// So many ways to spread keys over the spots are tried at most.
const SPREADS_MAX: u32 = 500;

/// The place of a key in [`Keys`]: any number is one.
pub(super) type KeyId = u8;

/// A key that is not known.
pub(super) const NONE: KeyId = KeyId::MAX;
/// As a member: the node has no such member.
const NO_MEMBER: u8 = u8::MAX;

/// The keys of one node of a shape.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    known: Box<[Known; KeyId::MAX as usize + 1]>,
    /// By the key as it stands between its quotes, and zeros behind it.
    names: HashMap<[u8; TEXT_MAX], KeyId, FixedState>,
    /// The key that was noted last of those that a glance cannot tell apart.
    spots: Box<[KeyId; SPOTS]>,
    /// What spreads keys over the spots, and how many others may be tried.
    spread: u64,
    spreads_left: u32,
    /// How far it was from the end of the key that was noted last to its value.
    colon: usize,
    /// Where strings are kept that nobody wants.
    unlisted: u16,
}

/// What is known of a key: no more than a line of the processor's cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Known {
    /// All that stood between the value before and this one, the last time: a
    /// comma, the key, a colon, white space. The object's brace counts as a comma.
    gap: [u8; TEXT_MAX],
    /// A bit for each byte of the gap.
    bits: u32,
    gap_length: u8,
    /// The member of the node; [`NO_MEMBER`] where it has no such member.
    member: u8,
    /// Its string is kept as it is.
    pub(super) is_kept: bool,
    /// Where that is; of one that nobody wants, beside the wanted ones.
    pub(super) slot: u16,
    pub(super) wanted: Wanted,
}

const _: () = assert!(size_of::<Known>() == 64);

/// What is to be done with the value behind a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    Nothing,
    /// A string is kept.
    Slot(u16),
    /// It ought to be a number, or true or false.
    Bare(u16, Type),
    /// It is (a part of) an object or a list.
    Member(Target),
}

impl Wanted {
    /// What is to be done with the value of a member of the record's own.
    pub(super) fn of(target: Target) -> Wanted {
        match target {
            Target::Scalar { slot, kind } if kind.takes_any_text() => Wanted::Slot(slot),
            Target::Scalar { slot, kind } => Wanted::Bare(slot, kind),
            Target::Object { .. } | Target::List { .. } => Wanted::Member(target),
        }
    }
}

impl Keys {
    pub(super) fn new(node: &Node, unlisted: u16) -> Keys {
        let unknown = Known::new(NO_MEMBER, Wanted::Nothing, unlisted);
        let mut keys = Keys {
            known: Box::new([unknown; KeyId::MAX as usize + 1]),
            names: HashMap::default(),
            spots: Box::new([NONE; SPOTS]),
            spread: SPREAD,
            spreads_left: SPREADS_MAX,
            colon: 0,
            unlisted,
        };
        for (place, member) in node.members.iter().enumerate() {
            // Those of a list's element are not the record's own.
            let wanted = match node.in_element {
                true => Wanted::Member(member.target),
                false => Wanted::of(member.target),
            };
            if let Some(name) = padded(member.name.as_bytes()) {
                let member = u8::try_from(place).unwrap_or(NO_MEMBER);
                keys.learn(name, Known::new(member, wanted, unlisted));
            }
        }
        keys
    }

    /// How far it is from the end of a key to its value.
    #[inline(always)]
    pub(super) fn colon(&self) -> usize {
        self.colon
    }

    /// The key that stands behind the comma at the start of `bytes`, between
    /// quotes at these places, if all before its value is the same as the last
    /// time. The bytes that `ignored` has a bit for may be any.
    #[inline(always)]
    pub(super) fn stands_in(
        &self,
        bytes: &[u8; TEXT_MAX],
        quotes: (usize, usize),
        ignored: u32,
    ) -> Option<&Known> {
        let key = self.spots[self.spot(glance(bytes, quotes)?)];
        let known = &self.known[usize::from(key)];
        let differ = !equal_bytes(bytes, &known.gap) & known.bits & !ignored;
        (differ == 0).then_some(known)
    }

    /// Looks up a key without escapes, as it stands between its quotes.
    pub(super) fn look_up(&mut self, name: &[u8]) -> Lookup {
        let Some(name) = padded(name) else {
            return Lookup::TooLong;
        };
        let key = match self.names.get(&name) {
            Some(&known) => known,
            None => self.learn(name, Known::new(NO_MEMBER, Wanted::Nothing, self.unlisted)),
        };
        match self.known[usize::from(key)].member() {
            Some(member) => Lookup::Member(key, member),
            None => Lookup::Unlisted(key),
        }
    }

    /// Notes what stood before the value of `key`: the first `length` of
    /// `bytes`.
    pub(super) fn note(&mut self, key: KeyId, bytes: &[u8; TEXT_MAX], length: usize) {
        // A gap begins with the comma or the brace, or it is not noted.
        if key == NONE || !matches!(bytes[0], b',' | b'{') || length >= TEXT_MAX {
            return;
        }
        let known = &mut self.known[usize::from(key)];
        known.gap = *bytes;
        known.gap[0] = b',';
        known.gap_length = length as u8;
        known.bits = u32::MAX >> (TEXT_MAX - length);
        if let Some((_, close)) = known.quotes() {
            self.colon = length - close;
        }
        if let Some(spot) = self.spot_of(key) {
            let there = std::mem::replace(&mut self.spots[spot], key);
            if there != key && there != NONE {
                self.spread_out();
            }
        }
    }

    #[inline(always)]
    fn spot(&self, glance: u64) -> usize {
        (glance.wrapping_mul(self.spread) >> (u64::BITS - SPOT_BITS)) as usize % SPOTS
    }

    /// The spot of a key, if it was noted how it stands.
    fn spot_of(&self, key: KeyId) -> Option<usize> {
        let known = &self.known[usize::from(key)];
        glance(&known.gap, known.quotes()?).map(|glance| self.spot(glance))
    }

    /// Looks for a spread that gives each key a spot of its own.
    #[cold]
    fn spread_out(&mut self) {
        while self.spreads_left > 0 {
            self.spreads_left -= 1;
            self.spread = self.spread.wrapping_mul(SPREAD);
            self.spots.fill(NONE);
            let mut each_alone = true;
            for key in 0..self.names.len() as KeyId {
                if let Some(spot) = self.spot_of(key) {
                    each_alone &= self.spots[spot] == NONE;
                    self.spots[spot] = key;
                }
            }
            if each_alone {
                return;
            }
        }
    }

    fn learn(&mut self, name: [u8; TEXT_MAX], known: Known) -> KeyId {
        if self.names.len() >= KNOWN_MAX {
            return NONE;
        }
        let key = self.names.len() as KeyId;
        self.names.insert(name, key);
        self.known[usize::from(key)] = known;
        key
    }
}

/// What came of looking up a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lookup {
    Member(KeyId, usize),
    /// The node has no such member.
    Unlisted(KeyId),
    /// Too long to be known, member or not.
    TooLong,
}

impl Known {
    fn new(member: u8, wanted: Wanted, unlisted: u16) -> Known {
        Known {
            // No byte of JSON: it stands nowhere until it is noted.
            gap: [0xff; TEXT_MAX],
            bits: u32::MAX,
            gap_length: 0,
            member,
            is_kept: matches!(wanted, Wanted::Nothing | Wanted::Slot(_)),
            slot: match wanted {
                Wanted::Slot(slot) => slot,
                _ => unlisted,
            },
            wanted,
        }
    }

    /// Its place among the node's members, if it is one of them.
    #[inline(always)]
    pub(super) fn member(&self) -> Option<usize> {
        (self.member != NO_MEMBER).then_some(usize::from(self.member))
    }

    /// How long the gap before its value is: less than [`PIECE`].
    #[inline(always)]
    pub(super) fn gap_length(&self) -> usize {
        usize::from(self.gap_length) % TEXT_MAX
    }

    /// Where in the gap the key's quotes are.
    fn quotes(&self) -> Option<(usize, usize)> {
        let mut quotes = (0..self.gap_length()).filter(|&place| self.gap[place] == b'"');
        Some((quotes.next()?, quotes.next()?))
    }
}

/// A number for the key between these quotes: of its length, its first bytes and
/// its last ones.
#[inline(always)]
fn glance(bytes: &[u8; TEXT_MAX], (open, close): (usize, usize)) -> Option<u64> {
    let start = open + 1;
    let length = close.wrapping_sub(start);
    let beyond = 8 * (8 - length.min(8)) as u32;
    let part = |at: usize| {
        let part = bytes.get(at..)?.first_chunk()?;
        Some(u64::from_le_bytes(*part).wrapping_shl(beyond))
    };
    let last = part(close.saturating_sub(8).max(start))?;
    Some(part(start)? ^ last.rotate_left(29) ^ length as u64)
}

/// A key and zeros; none where it is too long for that, or would need an escape.
fn padded(name: &[u8]) -> Option<[u8; TEXT_MAX]> {
    let mut text = [0; TEXT_MAX];
    text.get_mut(..name.len())?.copy_from_slice(name);
    let plain = |byte: &u8| *byte >= 0x20 && !b"\"\\".contains(byte);
    name.iter().all(plain).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(name: &str) -> ([u8; TEXT_MAX], usize) {
        let text = format!(",\"{name}\":");
        let mut bytes = [b'x'; TEXT_MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        (bytes, text.len())
    }

    #[test]
    fn each_key_gets_a_spot_of_its_own() {
        let names = (0..40)
            .map(|number| format!("field_{}", number * number))
            .chain((0..20).map(|number| format!("a_rather_long_{}_key", (b'a' + number) as char)))
            .chain(["a", "b", "ab", ""].map(str::to_owned));
        let names: Vec<String> = names.collect();
        let mut keys = Keys::new(&Node::default(), 0);
        for name in &names {
            let Lookup::Unlisted(key) = keys.look_up(name.as_bytes()) else {
                panic!("{name} is listed");
            };
            let (bytes, length) = gap(name);
            keys.note(key, &bytes, length);
        }
        // At once, without being noted again: in any order.
        for name in &names {
            let (bytes, length) = gap(name);
            let known = keys.stands_in(&bytes, (1, name.len() + 2), 0);
            assert_eq!(known.map(Known::gap_length), Some(length), "{name}");
            // A key that begins and ends as another does is not that one.
            let (other, _) = gap(&name.replacen("_rather", "_rathe_", 1));
            let known = keys.stands_in(&other, (1, name.len() + 2), 0);
            assert_eq!(known.is_some(), other == bytes, "{name}");
        }
    }

    #[test]
    fn more_keys_than_can_be_known_are_looked_up() {
        let mut keys = Keys::new(&Node::default(), 0);
        for number in 0..2 * KNOWN_MAX {
            let name = format!("k{number}");
            let Lookup::Unlisted(key) = keys.look_up(name.as_bytes()) else {
                panic!("{name} is listed");
            };
            let (bytes, length) = gap(&name);
            keys.note(key, &bytes, length);
            let known = keys.stands_in(&bytes, (1, length - 2), 0);
            assert_eq!(known.is_some(), number < KNOWN_MAX, "{name}");
        }
        assert_eq!(keys.names.len(), KNOWN_MAX);
    }
}
