//! Where the quotes of a text stand: found for the whole of it at once, sixteen
//! bytes at a time, so that who walks over it need not look for the end of a
//! string before the next one is begun.

use wide::u8x16;

/// So many bytes have their bits in one word.
const BLOCK_LEN: usize = u64::BITS as usize;
const VECTOR_LEN: usize = 16;

/// A bit for each byte of a text that is a quote.
#[derive(Clone, Debug, Default)]
pub struct Quotes {
    /// Of nothing but zeros behind the text; none before one was read.
    words: Vec<u64>,
    has_only_plain: bool,
}

impl Quotes {
    /// Forgets the text.
    pub fn clear(&mut self) {
        self.words.clear();
    }

    /// Finds the quotes of `text`, unless it was read before.
    #[inline]
    pub fn index_text(&mut self, text: &str) {
        if self.words.is_empty() {
            self.index_bytes(text.as_bytes());
        }
    }

    #[inline(never)]
    fn index_bytes(&mut self, bytes: &[u8]) {
        let (blocks, rest) = bytes.as_chunks::<BLOCK_LEN>();
        let mut last = [b' '; BLOCK_LEN];
        last[..rest.len()].copy_from_slice(rest);
        let mut special = u8x16::splat(0);
        let mut quotes = |block: &[u8; BLOCK_LEN]| {
            let mut word = 0;
            let (pieces, _) = block.as_chunks::<VECTOR_LEN>();
            for (place, piece) in pieces.iter().enumerate() {
                let piece = u8x16::new(*piece);
                let is = |byte| piece.simd_eq(u8x16::splat(byte));
                special |= is(b'\\') | piece.min(u8x16::splat(0x1f)).simd_eq(piece);
                word |= u64::from(is(b'"').to_bitmask()) << (VECTOR_LEN * place);
            }
            word
        };
        self.words.extend(blocks.iter().map(&mut quotes));
        let last = quotes(&last);
        self.words.extend([last, 0]);
        self.has_only_plain = special.to_bitmask() == 0;
    }

    /// Whether the text has no backslash and no control character: what stands
    /// between two of its quotes is then a string without escapes, or no string.
    #[inline]
    #[must_use]
    pub fn has_only_plain_strings(&self) -> bool {
        self.has_only_plain
    }

    /// The quotes among the 64 bytes from `at` on: a bit for each, its lowest for
    /// the first.
    #[inline(always)]
    #[must_use]
    pub fn bits_from(&self, at: usize) -> u64 {
        let words = self.words.get(at / BLOCK_LEN..).and_then(<[u64]>::first_chunk);
        let &[low, high] = words.unwrap_or(&[0, 0]);
        let shift = at % BLOCK_LEN;
        low >> shift | high << 1 << (BLOCK_LEN - 1 - shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn quotes_mark_exactly_the_quote_bytes(
            text in "([\"a]{0,3}|[a-z:, ]{0,90}|[é\"]{0,4}){0,6}",
            odd in proptest::option::of((0usize..300, "[\\\\\u{1}\n]")),
        ) {
            let mut text = text;
            if let Some((at, special)) = &odd && text.is_char_boundary((*at).min(text.len())) {
                text.insert_str((*at).min(text.len()), special);
            }
            let mut quotes = Quotes::default();
            // What was read before leaves nothing behind.
            quotes.index_text(&"\"\\".repeat(200));
            quotes.clear();
            quotes.index_text(&text);
            let special = |byte: u8| byte < 0x20 || byte == b'\\';
            prop_assert_eq!(quotes.has_only_plain_strings(), !text.bytes().any(special));
            let is_quote = |at: usize| text.as_bytes().get(at) == Some(&b'"');
            for at in 0..text.len() + 70 {
                for place in 0..64 {
                    prop_assert_eq!(quotes.bits_from(at) >> place & 1 == 1, is_quote(at + place));
                }
            }
        }
    }
}
