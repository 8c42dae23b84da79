//! The keys of one object's place in records: found fast, and the next one
//! guessed.
//!
//! Systems write the members of an object in much the same order every time, and
//! with the same spaces. So all that stands between two values is first compared,
//! byte for byte, with what stood there the last time. A guess is never taken on
//! trust: the whole text is compared, and what does not match is looked up.
//! Nothing here changes what a record means.

use wide::u8x16;

use super::shape::{Node, Target};
use crate::policy::catalogue::Type;
use crate::policy::form::Form;

/// A key with its quotes has at most this many bytes to be known, and so has
/// what stands between two values.
pub(super) const TEXT_MAX: usize = 32;
/// The keys that are known, listed ones and others; of more nothing is learned.
const KNOWN_MAX: usize = 192;
/// Places of the table of hashes: a power of two, never more than half full.
const PLACES: usize = 512;

/// The place of a key in [`Keys`].
pub(super) type KeyId = u16;

/// What stands before the first key.
pub(super) const START: KeyId = 0;
/// A key that is not known.
pub(super) const NONE: KeyId = KeyId::MAX;

/// The keys of one node of a shape.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    known: Vec<Known>,
    places: Box<[KeyId; PLACES]>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// All that stood between the value before and this one, the last time: a
    /// comma, the key, a colon, white space, and the quote of a string.
    gap: [u8; TEXT_MAX],
    /// A bit for each byte of the gap.
    bits: u32,
    pub(super) gap_length: u8,
    /// The gap begins with the object's brace: it stands nowhere else.
    is_first: bool,
    /// A quote is the gap's last byte.
    pub(super) is_string: bool,
    pub(super) wanted: Wanted,
    /// The member of the node; [`NONE`] where it has no such member.
    member: u16,
    /// What came behind it the last time.
    next: KeyId,
    text: Text,
}

/// What is to be done with a string behind a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Nothing,
    /// It is kept as it stands.
    Slot(u16),
    /// It is kept where it fits its form.
    Form(u16, Form),
    /// It has a type of its own.
    Other,
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
        let mut keys = Keys {
            known: vec![Known::new(Text { low: 1, high: 0 }, NONE, Wanted::Nothing)],
            places: Box::new([NONE; PLACES]),
        };
        for (place, member) in node.members.iter().enumerate() {
            let wanted = match member.target {
                Target::Scalar { slot, kind } if !node.in_element && kind.takes_any_text() => {
                    Wanted::Slot(slot)
                }
                Target::Scalar {
                    slot,
                    kind: Type::Text(Some(form)),
                } if !node.in_element => Wanted::Form(slot, form),
                _ => Wanted::Other,
            };
            if let Some(text) = quoted(member.name.as_bytes()) {
                let member = u16::try_from(place).unwrap_or(NONE);
                keys.learn(Text::new(&text), member, wanted);
            }
        }
        keys
    }

    /// The key that is expected behind `before`, if what stands in `bytes`,
    /// behind a value, is the same as the last time.
    #[inline(always)]
    pub(super) fn guess(&self, before: KeyId, bytes: &[u8; TEXT_MAX]) -> Option<(KeyId, &Known)> {
        let first = self.known.get(usize::from(before))?.next;
        let known = self.known.get(usize::from(first))?;
        let is_first = before == START;
        if known.stands_in(bytes) && known.is_first == is_first {
            return Some((first, known));
        }
        let second = known.next;
        let known = self.known.get(usize::from(second))?;
        let stands = known.stands_in(bytes) && known.is_first == is_first;
        stands.then_some((second, known))
    }

    /// Looks up a key of `inside` bytes without escapes, whose quote stands at
    /// the start of `bytes`. Notes that it came behind `before`.
    ///
    /// None where it is too long to be known.
    pub(super) fn look_up(
        &mut self,
        before: KeyId,
        bytes: &[u8; TEXT_MAX],
        inside: usize,
    ) -> Option<(KeyId, Option<usize>)> {
        let length = inside + 2;
        if length > TEXT_MAX {
            return None;
        }
        let text = Text::new(bytes).masked(Text::mask(length));
        let key = match self.find(text) {
            NONE => self.learn(text, NONE, Wanted::Nothing),
            known => known,
        };
        if let Some(known) = self.known.get_mut(usize::from(before)) {
            known.next = key;
        }
        let known = self.known.get(usize::from(key));
        Some((key, known.and_then(Known::member)))
    }

    /// Notes what stood before the value of `key`: the first `length` of
    /// `bytes`.
    pub(super) fn note(&mut self, key: KeyId, bytes: &[u8; TEXT_MAX], length: usize) {
        let Some(known) = self.known.get_mut(usize::from(key)) else {
            return;
        };
        let Some(&last) = length.checked_sub(1).and_then(|last| bytes.get(last)) else {
            return;
        };
        known.gap = *bytes;
        known.gap_length = length as u8;
        known.bits = u32::MAX >> (TEXT_MAX - length);
        known.is_first = bytes[0] == b'{';
        known.is_string = last == b'"';
    }

    fn find(&self, text: Text) -> KeyId {
        let mut place = text.place();
        loop {
            let key = self.places[place];
            match self.known.get(usize::from(key)) {
                Some(known) if known.text != text => place = (place + 1) % PLACES,
                _ => return key,
            }
        }
    }

    fn learn(&mut self, text: Text, member: u16, wanted: Wanted) -> KeyId {
        if self.known.len() > KNOWN_MAX {
            return NONE;
        }
        let key = u16::try_from(self.known.len()).unwrap_or(NONE);
        self.known.push(Known::new(text, member, wanted));
        let mut place = text.place();
        while self.places[place] != NONE {
            place = (place + 1) % PLACES;
        }
        self.places[place] = key;
        key
    }
}

impl Known {
    fn new(text: Text, member: u16, wanted: Wanted) -> Known {
        Known {
            // No byte of JSON: it stands nowhere until it is noted.
            gap: [0xff; TEXT_MAX],
            bits: u32::MAX,
            gap_length: 0,
            is_first: false,
            is_string: false,
            wanted,
            member,
            next: NONE,
            text,
        }
    }

    /// Its place among the node's members, if it is one of them.
    #[inline(always)]
    pub(super) fn member(&self) -> Option<usize> {
        (self.member != NONE).then_some(usize::from(self.member))
    }

    #[inline(always)]
    fn stands_in(&self, bytes: &[u8; TEXT_MAX]) -> bool {
        let half = |bytes: &[u8; TEXT_MAX], from: usize| {
            let half = bytes.get(from..).and_then(<[u8]>::first_chunk::<16>);
            u8x16::new(half.copied().unwrap_or_default())
        };
        let same = |from| {
            half(bytes, from)
                .simd_eq(half(&self.gap, from))
                .to_bitmask()
        };
        let same = same(0) | (same(16) << 16);
        same & self.bits == self.bits
    }
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
