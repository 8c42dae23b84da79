//! Classifies sixteen bytes at a time.
//!
//! A mask has all ones in the bytes of its class. Positions are bits, the lowest for the first
//! byte.

use wide::u8x16;

/// Inclusive.
#[inline(always)]
pub(super) fn range_mask(chunk: u8x16, first: u8, last: u8) -> u8x16 {
    let above = chunk - u8x16::splat(first);
    above.min(u8x16::splat(last - first)).simd_eq(above)
}

#[inline(always)]
pub(crate) fn byte_mask(chunk: u8x16, byte: u8) -> u8x16 {
    chunk.simd_eq(u8x16::splat(byte))
}

#[inline(always)]
pub(crate) fn digit_mask(chunk: u8x16) -> u8x16 {
    range_mask(chunk, b'0', b'9')
}

#[inline(always)]
pub(super) fn letter_mask(chunk: u8x16) -> u8x16 {
    range_mask(chunk | u8x16::splat(0x20), b'a', b'z')
}

#[inline(always)]
pub(super) fn is_all_set(class: u8x16) -> bool {
    class.to_bitmask() == 0xffff
}

/// Returns the first and last eight bytes of a text of 8 to 16 bytes; they may overlap.
#[inline(always)]
pub(super) fn first_and_last_8(text: &[u8]) -> Option<u8x16> {
    let (first, last) = (text.first_chunk::<8>()?, text.last_chunk::<8>()?);
    let mut both = [0; 16];
    both[..8].copy_from_slice(first);
    both[8..].copy_from_slice(last);
    (text.len() <= 16).then(|| u8x16::new(both))
}

/// Returns the positions of a mask of [`first_and_last_8`] in a text of `length` bytes.
#[inline(always)]
pub(super) fn positions_from_8s(class: u8x16, length: usize) -> u32 {
    let places = class.to_bitmask();
    (places & 0xff) | (places >> 8 << (length - 8))
}

/// Returns the first and last sixteen bytes of a text of 16 to 32 bytes; they may overlap.
#[inline(always)]
pub(super) fn first_and_last_16(text: &[u8]) -> Option<[u8x16; 2]> {
    let (first, last) = (text.first_chunk::<16>()?, text.last_chunk::<16>()?);
    (text.len() <= 32).then(|| [u8x16::new(*first), u8x16::new(*last)])
}

/// Returns the positions of masks of [`first_and_last_16`] in a text of `length` bytes.
#[inline(always)]
pub(super) fn positions_from_16s([first, last]: [u8x16; 2], length: usize) -> u32 {
    first.to_bitmask() | (last.to_bitmask() << (length - 16))
}

/// Returns the position of the first byte of a class from `at` on, or the length of the text.
#[inline]
pub(crate) fn find_byte_in_class(
    text: &[u8],
    mut at: usize,
    class: impl Fn(u8x16) -> u8x16,
) -> usize {
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

/// Digits beyond ASCII begin with this byte or one above it.
const NON_ASCII_DIGIT_LEAD_MIN: u8 = 0xd9;

/// The bytes with which a decimal digit of any script may begin.
#[inline(always)]
fn digit_lead_mask(chunk: u8x16) -> u8x16 {
    digit_mask(chunk) | range_mask(chunk, NON_ASCII_DIGIT_LEAD_MIN, 0xff)
}

/// Returns whether a text may hold this many decimal digits, of any script.
#[inline]
pub(crate) fn may_have_min_digits(text: &[u8], min_count: usize) -> bool {
    text.len() >= min_count && digit_leads(text) >= min_count
}

#[inline(never)]
fn digit_leads(text: &[u8]) -> usize {
    // The last sixteen bytes are looked at whole: what overlaps is counted once.
    let pieces = text.chunks(64).map(|piece| match piece.len() {
        length @ 8..=16 => first_and_last_8(piece)
            .map_or(0, |both| positions_from_8s(digit_lead_mask(both), length).count_ones()),
        length @ 17.. => {
            let positions =
                |chunk: &[u8; 16]| u64::from(digit_lead_mask(u8x16::new(*chunk)).to_bitmask());
            let mut all = piece.last_chunk().map_or(0, |last| positions(last) << (length - 16));
            for (index, chunk) in piece.as_chunks().0.iter().enumerate() {
                all |= positions(chunk) << (16 * index);
            }
            all.count_ones()
        }
        _ => {
            let is_lead = |byte: &u8| byte.is_ascii_digit() || *byte >= NON_ASCII_DIGIT_LEAD_MIN;
            piece.iter().map(|byte| u32::from(is_lead(byte))).sum()
        }
    });
    pieces.sum::<u32>() as usize
}

/// A value of 1 to 32 bytes, in the 32 bytes of a text around it.
#[derive(Clone, Copy)]
pub(crate) struct ShortSpan<'a> {
    pub(crate) bytes: &'a [u8; 32],
    /// A bit for each byte of the value.
    positions: u32,
}

impl<'a> ShortSpan<'a> {
    /// `None` if the value is longer, or the text is shorter.
    #[inline(always)]
    pub(crate) fn new(text: &'a [u8], start: usize, length: usize) -> Option<ShortSpan<'a>> {
        if length.wrapping_sub(1) >= 32 {
            return None;
        }
        let positions = u32::MAX >> (32 - length);
        match text.get(start..start.wrapping_add(32)) {
            Some(bytes) => Some(ShortSpan { bytes: bytes.first_chunk()?, positions }),
            None => ShortSpan::at_end(text, start, positions),
        }
    }

    #[cold]
    #[inline(never)]
    fn at_end(text: &'a [u8], start: usize, positions: u32) -> Option<ShortSpan<'a>> {
        let bytes = text.last_chunk()?;
        let before = u32::try_from(start.checked_sub(text.len() - 32)?).ok()?;
        Some(ShortSpan { bytes, positions: positions.checked_shl(before)? })
    }

    #[inline(always)]
    fn positions_of(self, class: impl Fn(u8x16) -> u8x16) -> u32 {
        let (chunks, _) = self.bytes.as_chunks();
        let positions = |index: usize| class(u8x16::new(chunks[index])).to_bitmask();
        (positions(0) | positions(1) << 16) & self.positions
    }

    #[inline(always)]
    pub(crate) fn digits(self) -> u32 {
        self.positions_of(digit_mask)
    }

    #[inline(always)]
    pub(crate) fn is_ascii(self) -> bool {
        self.positions_of(|chunk| chunk) == 0
    }

    /// Returns whether `first` and `last` are in the value, `length` bytes from end to
    /// end or more. A byte beyond ASCII may be either.
    #[inline(always)]
    pub(crate) fn may_contain(self, first: u8, last: u8, length: usize) -> bool {
        // The highest bit of a byte beyond ASCII is set.
        let positions = |byte| self.positions_of(|chunk| byte_mask(chunk, byte) | chunk);
        let start = positions(first).trailing_zeros() as usize;
        let behind_end = 32 - positions(last).leading_zeros() as usize;
        start + length <= behind_end
    }

    /// The value itself.
    pub(crate) fn value(self) -> &'a [u8] {
        let start = self.positions.trailing_zeros() as usize;
        let length = self.positions.count_ones() as usize;
        self.bytes.get(start..start + length).unwrap_or_default()
    }
}

/// Returns the values of 8 to 16 ASCII digits, four bits each; `None` if the text is
/// anything else.
#[inline(always)]
pub(crate) fn pack_digits(text: &[u8]) -> Option<u64> {
    const ASCII_ZEROS: u64 = u64::from_ne_bytes([b'0'; 8]);
    const ABOVE_NINE: u64 = u64::from_ne_bytes([0x7f - 9; 8]);
    const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);
    let pack = |eight: &[u8; 8]| {
        let digits = u64::from_be_bytes(*eight) ^ ASCII_ZEROS;
        if (digits.wrapping_add(ABOVE_NINE) | digits) & HIGH_BITS != 0 {
            return None;
        }
        let pairs = (digits | digits >> 4) & 0x00ff_00ff_00ff_00ff;
        let fours = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
        Some((fours | fours >> 16) & 0xffff_ffff)
    };
    let before_last = text.len().checked_sub(8).filter(|&before| before <= 8)?;
    let (first, last) = (pack(text.first_chunk()?)?, pack(text.last_chunk()?)?);
    // Digits that are in both are the same.
    Some(first << (4 * before_last) | last)
}

/// Returns whether both are equal. Short ones are compared in two pieces that may
/// overlap, without a call to `memcmp`.
#[inline]
pub(crate) fn bytes_equal(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    match one.len() {
        4..=8 => first_and_last::<4>(one) == first_and_last::<4>(other),
        9..=16 => first_and_last::<8>(one) == first_and_last::<8>(other),
        _ => one == other,
    }
}

#[inline(always)]
fn first_and_last<const N: usize>(text: &[u8]) -> (Option<&[u8; N]>, Option<&[u8; N]>) {
    (text.first_chunk(), text.last_chunk())
}
