//! Writes outputs: many short pieces, one behind the other, into one buffer.
//!
//! Where the next piece goes is in the caller's hands, so that it stays in a
//! register; and a short piece is copied as thirty-two bytes, of which those
//! that are too many are written over by the next one. Nothing here looks at
//! what it writes, but for escapes.

use super::scan::{CHUNK_LEN, Scanner};
use super::write;

/// A buffer that is written at places; what lies behind the last is of no
/// meaning.
#[derive(Debug, Default)]
pub struct OutputBuffer {
    bytes: Vec<u8>,
}

/// By how much a page grows, at least.
const GROWTH_BYTES: usize = 4_096;

/// What stands before a member's value: a comma, its name, a colon.
///
/// The first member of an object has the comma too, until [`OutputBuffer::close_object`]
/// puts a brace in its place: so no member needs to know whether it is the
/// first.
#[derive(Clone, Debug)]
pub struct MemberPrefix {
    text: Box<[u8]>,
    /// The text, where it is shorter than a piece, followed by zeros.
    padded_text: [u8; CHUNK_LEN],
    /// Of the text, where it is shorter than a piece; else 0.
    short_length: usize,
}

impl MemberPrefix {
    #[must_use]
    pub fn new(name: &str) -> MemberPrefix {
        let mut text = vec![b','];
        write::string(&mut text, name);
        text.push(b':');
        let mut piece = [0; CHUNK_LEN];
        let mut length = 0;
        if text.len() < CHUNK_LEN {
            length = text.len();
            piece[..length].copy_from_slice(&text);
        }
        MemberPrefix { text: text.into(), padded_text: piece, short_length: length }
    }

    /// The member's name, as JSON writes it between quotes.
    #[must_use]
    pub fn name(&self) -> &str {
        let name = self.text.get(2..self.text.len().saturating_sub(2));
        name.and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default()
    }

    /// What stands in `member` behind this label.
    #[must_use]
    pub fn strip_from<'a>(&self, member: &'a [u8]) -> Option<&'a [u8]> {
        member.strip_prefix(&*self.text)
    }
}

impl OutputBuffer {
    /// What was written between two places.
    #[inline]
    #[must_use]
    pub fn written_between(&self, start: usize, end: usize) -> &[u8] {
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// Writes so many bytes of `from` from `start` on; fastest where 32 bytes
    /// follow `start`.
    #[inline(always)]
    pub fn write_span(&mut self, at: usize, from: &[u8], (start, length): (usize, usize)) -> usize {
        let source = from.get(start..).and_then(<[u8]>::first_chunk::<CHUNK_LEN>);
        let place = self.bytes.get_mut(at..);
        let place = place.and_then(<[u8]>::first_chunk_mut::<CHUNK_LEN>);
        match (source, place) {
            (Some(source), Some(place)) if length <= CHUNK_LEN => {
                *place = *source;
                at + length
            }
            _ => self.write_bytes(at, subslice(from, (start, length))),
        }
    }

    /// Writes what stands before a member's value.
    #[inline]
    pub fn write_prefix(&mut self, at: usize, prefix: &MemberPrefix) -> usize {
        match prefix.short_length {
            0 => self.write_bytes(at, &prefix.text),
            length => self.write_span(at, &prefix.padded_text, (0, length)),
        }
    }

    /// Writes a member with a value that is so many bytes of `from` from `start`
    /// on; none where it takes a longer way.
    #[inline(always)]
    pub fn try_write_short_member(
        &mut self,
        at: usize,
        prefix: &MemberPrefix,
        from: &[u8],
        (start, length): (usize, usize),
    ) -> Option<usize> {
        let before = prefix.short_length % CHUNK_LEN;
        let source = from.get(start..start.wrapping_add(CHUNK_LEN));
        let place = self.bytes.get_mut(at..at.wrapping_add(2 * CHUNK_LEN));
        if let (Some(source), Some(place)) = (source, place)
            && length.wrapping_sub(1) < CHUNK_LEN
            && before > 0
        {
            place[..CHUNK_LEN].copy_from_slice(&prefix.padded_text);
            place[before..before + CHUNK_LEN].copy_from_slice(source);
            return Some(at + before + length);
        }
        None
    }

    /// Writes a member whose value is all the bytes of some words, of each the
    /// lowest first.
    #[inline(always)]
    pub fn write_member_words(
        &mut self,
        at: usize,
        prefix: &MemberPrefix,
        words: [u64; 3],
    ) -> usize {
        let before = prefix.short_length % CHUNK_LEN;
        if let Some(place) = self.bytes.get_mut(at..at.wrapping_add(2 * CHUNK_LEN))
            && before > 0
        {
            place[..CHUNK_LEN].copy_from_slice(&prefix.padded_text);
            let value = &mut place[before..before + 24];
            for (place, word) in value.chunks_exact_mut(8).zip(words) {
                place.copy_from_slice(&word.to_le_bytes());
            }
            return at + before + 24;
        }
        self.write_long_member_words(at, prefix, words)
    }

    #[cold]
    #[inline(never)]
    fn write_long_member_words(
        &mut self,
        at: usize,
        prefix: &MemberPrefix,
        words: [u64; 3],
    ) -> usize {
        let at = self.write_prefix(at, prefix);
        self.write_words(at, words, 24)
    }

    /// Writes the first `length` bytes of some words, of each the lowest first.
    #[inline(always)]
    pub fn write_words(&mut self, at: usize, words: [u64; 3], length: usize) -> usize {
        self.ensure_len(at + 24);
        if let Some(place) = self.bytes.get_mut(at..at + 24) {
            for (place, word) in place.chunks_exact_mut(8).zip(words) {
                place.copy_from_slice(&word.to_le_bytes());
            }
        }
        at + length
    }

    /// Writes bytes as they are.
    #[inline]
    pub fn write_bytes(&mut self, at: usize, bytes: &[u8]) -> usize {
        let end = at + bytes.len();
        self.ensure_len(end);
        if let Some(place) = self.bytes.get_mut(at..end) {
            copy_bytes(place, bytes);
        }
        end
    }

    #[inline]
    pub fn write_byte(&mut self, at: usize, byte: u8) -> usize {
        match self.bytes.get_mut(at) {
            Some(place) => *place = byte,
            None => {
                self.write_bytes(at, &[byte]);
            }
        }
        at + 1
    }

    /// Writes `text` as a JSON string.
    pub fn write_string(&mut self, at: usize, text: &str) -> usize {
        self.write_joined_string(at, &[text])
    }

    /// Writes `parts`, one behind the other, as one JSON string.
    pub fn write_joined_string(&mut self, at: usize, parts: &[&str]) -> usize {
        let mut at = self.write_byte(at, b'"');
        for part in parts {
            at = match Scanner::is_plain(part) {
                true => self.write_bytes(at, part.as_bytes()),
                false => self.append_with(at, |out| write::string_content(out, part)),
            };
        }
        self.write_byte(at, b'"')
    }

    /// Writes `text`, which holds nothing that needs an escape, as a JSON string.
    #[inline]
    pub fn write_plain_string(&mut self, at: usize, text: &str) -> usize {
        let at = self.write_byte(at, b'"');
        let at = self.write_bytes(at, text.as_bytes());
        self.write_byte(at, b'"')
    }

    /// Has `write` append to a buffer that ends at `at`.
    pub fn append_with(&mut self, at: usize, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        self.ensure_len(at);
        self.bytes.truncate(at);
        write(&mut self.bytes);
        self.bytes.len()
    }

    /// Ends the object whose members were written from `start` on, each behind
    /// its comma. None where there is no member: then nothing stands there.
    #[inline]
    pub fn close_object(&mut self, start: usize, at: usize) -> Option<usize> {
        self.close_container(start, at, b'{', b'}')
    }

    /// Ends the list whose elements were written from `start` on, each behind a
    /// comma. None where there is no element: then nothing stands there.
    #[inline]
    pub fn close_list(&mut self, start: usize, at: usize) -> Option<usize> {
        self.close_container(start, at, b'[', b']')
    }

    #[inline]
    fn close_container(&mut self, start: usize, at: usize, open: u8, close: u8) -> Option<usize> {
        if at == start {
            return None;
        }
        *self.bytes.get_mut(start)? = open;
        Some(self.write_byte(at, close))
    }

    /// Makes sure that there is something up to `end`.
    #[inline]
    fn ensure_len(&mut self, end: usize) {
        if end > self.bytes.len() {
            self.grow(end);
        }
    }

    #[cold]
    fn grow(&mut self, end: usize) {
        self.bytes.resize(end + GROWTH_BYTES, 0);
    }
}

/// Copies bytes to a place of their length. Some go in two pieces that may
/// overlap, as a copy of any length is a call.
#[inline(always)]
pub fn copy_bytes(place: &mut [u8], bytes: &[u8]) {
    let _ = match bytes.len() {
        8..=16 => copy_both_ends::<8>(place, bytes),
        17..=32 => copy_both_ends::<16>(place, bytes),
        _ => {
            place.copy_from_slice(bytes);
            Some(())
        }
    };
}

#[inline(always)]
fn copy_both_ends<const N: usize>(place: &mut [u8], bytes: &[u8]) -> Option<()> {
    *place.first_chunk_mut::<N>()? = *bytes.first_chunk()?;
    *place.last_chunk_mut::<N>()? = *bytes.last_chunk()?;
    Some(())
}

fn subslice(from: &[u8], (start, length): (usize, usize)) -> &[u8] {
    from.get(start..start + length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn output_buffer_close_object_wraps_its_members() {
        let mut page = OutputBuffer::default();
        let at = page.write_bytes(0, b"key");
        let end = page.write_prefix(at, &MemberPrefix::new("a"));
        let end = page.write_plain_string(end, "b");
        let end =
            page.write_prefix(end, &MemberPrefix::new("a \"long\" name of more than a piece"));
        let end = page.write_byte(end, b'1');
        let end = page.close_object(at, end).unwrap();
        let want: &[u8] = br#"{"a":"b","a \"long\" name of more than a piece":1}"#;
        assert_eq!(page.written_between(at, end), want);
        assert_eq!(page.close_object(end, end), None);
        assert_eq!(page.close_list(end, end), None);
    }

    proptest! {
        #[test]
        fn output_buffer_writes_what_appending_would(pieces in proptest::collection::vec(("(?s).{0,80}", 0usize..3), 0..200)) {
            let mut page = OutputBuffer::default();
            let (mut at, mut want) = (0, Vec::new());
            for (text, how) in &pieces {
                match how {
                    0 => {
                        at = page.write_string(at, text);
                        write::string(&mut want, text);
                    }
                    1 => {
                        let half = text.len() / 2;
                        at = page.write_span(at, text.as_bytes(), (0, half));
                        want.extend_from_slice(&text.as_bytes()[..half]);
                    }
                    _ => {
                        at = page.write_joined_string(at, &[text, text]);
                        write::string(&mut want, &text.repeat(2));
                    }
                }
            }
            prop_assert_eq!(page.written_between(0, at), &want[..]);
        }
    }
}
