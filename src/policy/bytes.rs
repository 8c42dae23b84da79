//! Sixteen bytes at a time: what each of them is.
//!
//! A class is a chunk in which a byte is all ones where it belongs to the class.
//! Places are bits, the lowest for the first byte.

use wide::u8x16;

/// The bytes from `first` to `last`, which count too.
#[inline(always)]
pub(super) fn between(chunk: u8x16, first: u8, last: u8) -> u8x16 {
    let above = chunk - u8x16::splat(first);
    above.min(u8x16::splat(last - first)).simd_eq(above)
}

/// The bytes that are `byte`.
#[inline(always)]
pub(super) fn only(chunk: u8x16, byte: u8) -> u8x16 {
    chunk.simd_eq(u8x16::splat(byte))
}

/// ASCII digits.
#[inline(always)]
pub(super) fn digits(chunk: u8x16) -> u8x16 {
    between(chunk, b'0', b'9')
}

/// ASCII letters.
#[inline(always)]
pub(super) fn letters(chunk: u8x16) -> u8x16 {
    between(chunk | u8x16::splat(0x20), b'a', b'z')
}

/// Tells whether every byte belongs to a class.
#[inline(always)]
pub(super) fn all(class: u8x16) -> bool {
    class.to_bitmask() == 0xffff
}

/// The first eight bytes of a text and its last eight, if it has 8 to 16; what
/// stands in its middle is there twice.
#[inline(always)]
pub(super) fn halves(text: &[u8]) -> Option<u8x16> {
    let (first, last) = (text.first_chunk::<8>()?, text.last_chunk::<8>()?);
    let mut both = [0; 16];
    both[..8].copy_from_slice(first);
    both[8..].copy_from_slice(last);
    (text.len() <= 16).then(|| u8x16::new(both))
}

/// The places of a class in the text of `length` bytes that the halves are of.
#[inline(always)]
pub(super) fn places_in_halves(class: u8x16, length: usize) -> u32 {
    let places = class.to_bitmask();
    (places & 0xff) | (places >> 8 << (length - 8))
}

/// The first sixteen bytes of a text and its last sixteen, if it has 16 to 32.
#[inline(always)]
pub(super) fn pair(text: &[u8]) -> Option<[u8x16; 2]> {
    let (first, last) = (text.first_chunk::<16>()?, text.last_chunk::<16>()?);
    (text.len() <= 32).then(|| [u8x16::new(*first), u8x16::new(*last)])
}

/// The places of a class in the text of `length` bytes that the pair is of.
#[inline(always)]
pub(super) fn places_in_pair([first, last]: [u8x16; 2], length: usize) -> u32 {
    first.to_bitmask() | (last.to_bitmask() << (length - 16))
}

/// Finds the first byte of a class from `at` on, or the end of the text.
#[inline]
pub(super) fn find(text: &[u8], mut at: usize, class: impl Fn(u8x16) -> u8x16) -> usize {
    while let Some(chunk) = text.get(at..).and_then(<[u8]>::first_chunk) {
        let places = class(u8x16::new(*chunk)).to_bitmask();
        if places != 0 {
            return at + places.trailing_zeros() as usize;
        }
        at += 16;
    }
    let rest = text.get(at..).unwrap_or_default();
    let mut chunk = [0; 16];
    chunk[..rest.len()].copy_from_slice(rest);
    let places = class(u8x16::new(chunk)).to_bitmask();
    text.len().min(at + places.trailing_zeros() as usize)
}

/// Whether a text may hold so many decimal digits: every digit beyond ASCII
/// begins with a byte of this range or above it.
#[inline]
pub(crate) fn may_have_digits(text: &[u8], least: usize) -> bool {
    const FIRST_LEAD: u8 = 0xd9;
    let class = |chunk| digits(chunk) | between(chunk, FIRST_LEAD, 0xff);
    let places = match text.len() {
        length if length < least => return false,
        length @ 8..=16 => halves(text).map(|both| places_in_halves(class(both), length)),
        length @ 17..=32 => pair(text).map(|both| places_in_pair(both.map(class), length)),
        _ => None,
    };
    let count = match places {
        Some(places) => places.count_ones() as usize,
        None => {
            let is_one = |byte: &&u8| byte.is_ascii_digit() || **byte >= FIRST_LEAD;
            text.iter().filter(is_one).count()
        }
    };
    count >= least
}

/// Whether both are the same. A short one is compared in two pieces that may
/// overlap, as a comparison of any length is a call.
#[inline]
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    match one.len() {
        4..=8 => ends::<4>(one) == ends::<4>(other),
        9..=16 => ends::<8>(one) == ends::<8>(other),
        _ => one == other,
    }
}

#[inline(always)]
fn ends<const N: usize>(text: &[u8]) -> (Option<&[u8; N]>, Option<&[u8; N]>) {
    (text.first_chunk(), text.last_chunk())
}
