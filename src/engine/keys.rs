//! The keys of one object's place in records: found fast, and the next one
//! guessed.
//!
//! Systems write the members of an object in much the same order every time, and
//! with the same spaces. So all that stands between two values is first compared,
//! byte for byte, with what stood there the last time. A guess is never taken on
//! trust: the whole text is compared, and what does not match is looked up.
//! Nothing here changes what a record means.

use super::shape::{Node, Target};
use crate::json::scan::{PIECE, equal_bytes, special_bytes};
use crate::policy::catalogue::Type;

/// A key with its quotes has fewer bytes than this to be known, and so has
/// what stands between two values.
const TEXT_MAX: usize = PIECE;
/// The keys that are known, listed ones and others; of more nothing is learned.
const KNOWN_MAX: usize = 192;
/// Places of the table of hashes: a power of two, never more than half full.
const PLACES: usize = 512;

/// Places of keys by their first bytes and their length.
const SPOTS: usize = 256;

/// The place of a key in [`Keys`]: any number is one.
pub(super) type KeyId = u8;

/// What stands before the first key.
pub(super) const START: KeyId = 0;
/// A key that is not known.
pub(super) const NONE: KeyId = KeyId::MAX;
/// As a member: the node has no such member.
const NO_MEMBER: u8 = u8::MAX;

/// The keys of one node of a shape.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    known: Box<[Known; KeyId::MAX as usize + 1]>,
    /// The keys with their quotes, of as many as are known.
    texts: Vec<Text>,
    places: Box<[KeyId; PLACES]>,
    /// The key that was noted last of those that a glance cannot tell apart and
    /// that stand right behind a comma.
    behind_commas: Box<[KeyId; SPOTS]>,
    /// How many bytes lay between the last key that was noted so and a bare
    /// value: its quote, a colon, spaces.
    colon: u8,
}

/// What is known of a key: no more than a line of the processor's cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Known {
    /// All that stood between the value before and this one, the last time: a
    /// comma, the key, a colon, white space, and the quote of a string. The
    /// object's brace counts as a comma.
    gap: [u8; TEXT_MAX],
    /// A bit for each byte of the gap.
    bits: u32,
    gap_length: u8,
    /// What came behind it the last time.
    pub(super) next: KeyId,
    /// The member of the node; [`NO_MEMBER`] where it has no such member.
    member: u8,
    /// The value is a string: a quote is the gap's last byte.
    pub(super) is_string: bool,
    pub(super) wanted: Wanted,
}

/// What is to be done with the value behind a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Nothing,
    /// A string is kept.
    Slot(u16),
    /// It ought to be a number, or true or false.
    Bare(u16, Type),
    /// It is (a part of) an object or a list.
    Other,
}

impl Wanted {
    /// What is to be done with the value of a member of the record's own.
    pub(super) fn of(target: Target) -> Wanted {
        match target {
            Target::Scalar { slot, kind } if kind.takes_any_text() => Wanted::Slot(slot),
            Target::Scalar { slot, kind } => Wanted::Bare(slot, kind),
            Target::Object { .. } | Target::List { .. } => Wanted::Other,
        }
    }
}

/// `TEXT_MAX` bytes, compared as two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Text {
    low: u128,
    high: u128,
}

impl Text {
    #[inline]
    fn new(bytes: &[u8; TEXT_MAX]) -> Text {
        let (low, high) = bytes.split_at(16);
        let number = |half: &[u8]| {
            half.first_chunk()
                .map_or(0, |half| u128::from_le_bytes(*half))
        };
        Text {
            low: number(low),
            high: number(high),
        }
    }

    /// The first `length` bytes, and zeros.
    #[inline]
    fn masked(self, mask: Text) -> Text {
        Text {
            low: self.low & mask.low,
            high: self.high & mask.high,
        }
    }

    /// Ones in the first `length` bytes.
    #[inline]
    fn mask(length: usize) -> Text {
        let ones = |bytes: usize| match bytes {
            16.. => u128::MAX,
            _ => (1 << (8 * bytes)) - 1,
        };
        Text {
            low: ones(length),
            high: ones(length.saturating_sub(16)),
        }
    }

    #[inline]
    fn place(self) -> usize {
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let folded = self.low ^ self.high.rotate_left(41);
        let folded = (folded as u64) ^ ((folded >> 64) as u64).rotate_left(23);
        (folded.wrapping_mul(SPREAD) >> 55) as usize % PLACES
    }
}

impl Keys {
    pub(super) fn new(node: &Node) -> Keys {
        let unknown = Known::new(NO_MEMBER, Wanted::Nothing);
        let mut keys = Keys {
            known: Box::new([unknown; KeyId::MAX as usize + 1]),
            // What stands before the first key is no key.
            texts: vec![Text { low: 1, high: 0 }],
            places: Box::new([NONE; PLACES]),
            behind_commas: Box::new([NONE; SPOTS]),
            colon: 2,
        };
        for (place, member) in node.members.iter().enumerate() {
            // Those of a list's element are not the record's own.
            let wanted = match node.in_element {
                true => Wanted::Other,
                false => Wanted::of(member.target),
            };
            if let Some(text) = quoted(member.name.as_bytes()) {
                let member = u8::try_from(place).unwrap_or(NO_MEMBER);
                keys.learn(Text::new(&text), Known::new(member, wanted));
            }
        }
        keys
    }

    /// What is known of a key.
    #[inline(always)]
    pub(super) fn known(&self, key: KeyId) -> &Known {
        &self.known[usize::from(key)]
    }

    /// The key that is expected, if what stands in `bytes`, behind a value or
    /// from the object's brace on, is the same as the last time. The bytes that
    /// `ignored` has a bit for may be any.
    #[inline(always)]
    pub(super) fn guess(
        &self,
        expected: KeyId,
        bytes: &[u8; TEXT_MAX],
        ignored: u32,
    ) -> Option<KeyId> {
        self.known(expected)
            .stands_in(bytes, ignored)
            .then_some(expected)
    }

    /// The key that stands behind the comma at the start of `bytes`, if it is
    /// known and all before its value is the same as the last time.
    #[inline(never)]
    pub(super) fn stands_in(
        &self,
        bytes: &[u8; 2 * TEXT_MAX],
        ignored: u32,
    ) -> Option<(KeyId, usize)> {
        let inside = bytes.get(2..)?.first_chunk()?;
        let length = special_bytes(inside).trailing_zeros() as usize;
        // Where the value starts is read off the text: what follows need not wait
        // for the key.
        let bare = length + 2 + usize::from(self.colon);
        let start = bare + usize::from(*bytes.get(bare)? == b'"');
        let key = self.behind_commas[spot(inside.first_chunk()?, length)];
        let known = self.known(key);
        let stands = known.stands_in(bytes.first_chunk()?, ignored);
        (stands & (known.gap_length() == start)).then_some((key, start))
    }

    /// Notes that `key` came behind `before`.
    pub(super) fn follow(&mut self, before: KeyId, key: KeyId) {
        self.known[usize::from(before)].next = key;
    }

    /// Looks up a key of `inside` bytes without escapes, whose quote stands at
    /// the start of `bytes`. Notes that it came behind `before`.
    pub(super) fn look_up(
        &mut self,
        before: KeyId,
        bytes: &[u8; TEXT_MAX],
        inside: usize,
    ) -> Lookup {
        let length = inside + 2;
        if length > TEXT_MAX {
            return Lookup::TooLong;
        }
        let text = Text::new(bytes).masked(Text::mask(length));
        let key = match self.find(text) {
            NONE => self.learn(text, Known::new(NO_MEMBER, Wanted::Nothing)),
            known => known,
        };
        self.follow(before, key);
        match self.known(key).member() {
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
        if let [_, b'"', inside @ ..] = bytes
            && let Some(end) = inside.iter().position(|&byte| byte == b'"')
            && let Some(start) = inside.first_chunk()
        {
            self.behind_commas[spot(start, end)] = key;
            let bare = length - usize::from(bytes[length - 1] == b'"');
            self.colon = bare.saturating_sub(2 + end) as u8;
        }
        let known = &mut self.known[usize::from(key)];
        known.gap = *bytes;
        known.gap[0] = b',';
        known.gap_length = length as u8;
        known.bits = u32::MAX >> (TEXT_MAX - length);
        known.is_string = length > 0 && bytes[length - 1] == b'"';
    }

    fn find(&self, text: Text) -> KeyId {
        let mut place = text.place();
        loop {
            let key = self.places[place];
            match self.texts.get(usize::from(key)) {
                Some(known) if *known != text => place = (place + 1) % PLACES,
                _ => return key,
            }
        }
    }

    fn learn(&mut self, text: Text, known: Known) -> KeyId {
        if self.texts.len() > KNOWN_MAX {
            return NONE;
        }
        let key = self.texts.len() as KeyId;
        self.texts.push(text);
        self.known[usize::from(key)] = known;
        let mut place = text.place();
        while self.places[place] != NONE {
            place = (place + 1) % PLACES;
        }
        self.places[place] = key;
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
    fn new(member: u8, wanted: Wanted) -> Known {
        Known {
            // No byte of JSON: it stands nowhere until it is noted.
            gap: [0xff; TEXT_MAX],
            bits: u32::MAX,
            gap_length: 0,
            next: NONE,
            member,
            is_string: false,
            wanted,
        }
    }

    /// Its place among the node's members, if it is one of them.
    #[inline(always)]
    pub(super) fn member(&self) -> Option<usize> {
        (self.member != NO_MEMBER).then_some(usize::from(self.member))
    }

    /// The same, of a key whose value is wanted.
    #[inline(always)]
    pub(super) fn place(&self) -> usize {
        usize::from(self.member)
    }

    /// How long the gap before its value is: less than [`PIECE`].
    #[inline(always)]
    pub(super) fn gap_length(&self) -> usize {
        usize::from(self.gap_length) % TEXT_MAX
    }

    #[inline(always)]
    fn stands_in(&self, bytes: &[u8; TEXT_MAX], ignored: u32) -> bool {
        !equal_bytes(bytes, &self.gap) & self.bits & !ignored == 0
    }
}

/// Where a key of `length` bytes is found by a glance at its first ones.
#[inline(always)]
fn spot(start: &[u8; 8], length: usize) -> usize {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let beyond = 8 * (8 - length.min(8)) as u32;
    let start = u64::from_le_bytes(*start).checked_shl(beyond).unwrap_or(0);
    ((start ^ length as u64).wrapping_mul(SPREAD) >> 56) as usize % SPOTS
}

/// A key as it stands in a record; none where it is too long, or would need an
/// escape.
fn quoted(name: &[u8]) -> Option<[u8; TEXT_MAX]> {
    let mut text = [0; TEXT_MAX];
    let (start, rest) = text.split_first_mut()?;
    *start = b'"';
    rest.get_mut(..name.len())?.copy_from_slice(name);
    *rest.get_mut(name.len())? = b'"';
    let plain = |byte: &u8| *byte >= 0x20 && !b"\"\\".contains(byte);
    name.iter().all(plain).then_some(text)
}
