//! Writes outputs: many short pieces, one behind the other, into one buffer.
//!
//! Where the next piece goes is in the caller's hands, so that it stays in a
//! register; and a short piece is copied as thirty-two bytes, of which those
//! that are too many are written over by the next one. Nothing here looks at
//! what it writes, but for escapes.

use super::scan::{PIECE, Scanner};
use super::write;

/// A buffer that is written at places; what lies behind the last is of no
/// meaning.
#[derive(Debug, Default)]
pub struct Page {
    bytes: Vec<u8>,
}

/// By how much a page grows, at least.
const GROWTH: usize = 4_096;

/// What stands before a member's value: a comma, its name, a colon.
///
/// The first member of an object has the comma too, until [`Page::close_object`]
/// puts a brace in its place: so no member needs to know whether it is the
/// first.
#[derive(Clone, Debug)]
pub struct Label {
    text: Box<[u8]>,
    /// The text, where it is shorter than a piece, followed by zeros.
    piece: [u8; PIECE],
    /// Of the text, where it is shorter than a piece; else 0.
    length: usize,
}

impl Label {
    #[must_use]
    pub fn new(name: &str) -> Label {
        let mut text = vec![b','];
        write::string(&mut text, name);
        text.push(b':');
        let mut piece = [0; PIECE];
        let mut length = 0;
        if text.len() < PIECE {
            length = text.len();
            piece[..length].copy_from_slice(&text);
        }
        Label {
            text: text.into(),
            piece,
            length,
        }
    }

    /// The member's name, as JSON writes it between quotes.
    #[must_use]
    pub fn name(&self) -> &str {
        let name = self.text.get(2..self.text.len().saturating_sub(2));
        name.and_then(|name| std::str::from_utf8(name).ok())
            .unwrap_or_default()
    }

    /// What stands in `member` behind this label.
    #[must_use]
    pub fn after<'a>(&self, member: &'a [u8]) -> Option<&'a [u8]> {
        member.strip_prefix(&*self.text)
    }
}

impl Page {
    /// What was written between two places.
    #[inline]
    #[must_use]
    pub fn written(&self, start: usize, end: usize) -> &[u8] {
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// Writes so many bytes of `from` from `start` on; fastest where 32 bytes
    /// follow `start`.
    #[inline(always)]
    pub fn span(&mut self, at: usize, from: &[u8], (start, length): (usize, usize)) -> usize {
        let source = from.get(start..).and_then(<[u8]>::first_chunk::<PIECE>);
        let place = self.bytes.get_mut(at..);
        let place = place.and_then(<[u8]>::first_chunk_mut::<PIECE>);
        match (source, place) {
            (Some(source), Some(place)) if length <= PIECE => {
                *place = *source;
                at + length
            }
            _ => self.bytes(at, part(from, (start, length))),
        }
    }

    /// Writes what stands before a member's value.
    #[inline]
    pub fn label(&mut self, at: usize, label: &Label) -> usize {
        match label.length {
            0 => self.bytes(at, &label.text),
            length => self.span(at, &label.piece, (0, length)),
        }
    }

    /// Writes a member with a value that is so many bytes of `from` from `start`
    /// on; none where it takes a longer way.
    #[inline(always)]
    pub fn short_member(
        &mut self,
        at: usize,
        label: &Label,
        from: &[u8],
        (start, length): (usize, usize),
    ) -> Option<usize> {
        let before = label.length % PIECE;
        let source = from.get(start..start.wrapping_add(PIECE));
        let place = self.bytes.get_mut(at..at.wrapping_add(2 * PIECE));
        if let (Some(source), Some(place)) = (source, place)
            && length.wrapping_sub(1) < PIECE
            && before > 0
        {
            place[..PIECE].copy_from_slice(&label.piece);
            place[before..before + PIECE].copy_from_slice(source);
            return Some(at + before + length);
        }
        None
    }

    /// Writes a member whose value is all the bytes of some words, of each the
    /// lowest first.
    #[inline(always)]
    pub fn member_words(&mut self, at: usize, label: &Label, words: [u64; 3]) -> usize {
        let before = label.length % PIECE;
        if let Some(place) = self.bytes.get_mut(at..at.wrapping_add(2 * PIECE))
            && before > 0
        {
            place[..PIECE].copy_from_slice(&label.piece);
            let value = &mut place[before..before + 24];
            for (place, word) in value.chunks_exact_mut(8).zip(words) {
                place.copy_from_slice(&word.to_le_bytes());
            }
            return at + before + 24;
        }
        self.long_member_words(at, label, words)
    }

    #[cold]
    #[inline(never)]
    fn long_member_words(&mut self, at: usize, label: &Label, words: [u64; 3]) -> usize {
        let at = self.label(at, label);
        self.words(at, words, 24)
    }

    /// Writes the first `length` bytes of some words, of each the lowest first.
    #[inline(always)]
    pub fn words(&mut self, at: usize, words: [u64; 3], length: usize) -> usize {
        self.room(at + 24);
        if let Some(place) = self.bytes.get_mut(at..at + 24) {
            for (place, word) in place.chunks_exact_mut(8).zip(words) {
                place.copy_from_slice(&word.to_le_bytes());
            }
        }
        at + length
    }

    /// Writes bytes as they are.
    #[inline]
    pub fn bytes(&mut self, at: usize, bytes: &[u8]) -> usize {
        let end = at + bytes.len();
        self.room(end);
        if let Some(place) = self.bytes.get_mut(at..end) {
            copy(place, bytes);
        }
        end
    }

    #[inline]
    pub fn byte(&mut self, at: usize, byte: u8) -> usize {
        match self.bytes.get_mut(at) {
            Some(place) => *place = byte,
            None => {
                self.bytes(at, &[byte]);
            }
        }
        at + 1
    }

    /// Writes `text` as a JSON string.
    pub fn string(&mut self, at: usize, text: &str) -> usize {
        self.joined_string(at, &[text])
    }

    /// Writes `parts`, one behind the other, as one JSON string.
    pub fn joined_string(&mut self, at: usize, parts: &[&str]) -> usize {
        let mut at = self.byte(at, b'"');
        for part in parts {
            at = match Scanner::is_plain(part) {
                true => self.bytes(at, part.as_bytes()),
                false => self.append(at, |out| write::escaped(out, part)),
            };
        }
        self.byte(at, b'"')
    }

    /// Writes `text`, which holds nothing that needs an escape, as a JSON string.
    #[inline]
    pub fn plain_string(&mut self, at: usize, text: &str) -> usize {
        let at = self.byte(at, b'"');
        let at = self.bytes(at, text.as_bytes());
        self.byte(at, b'"')
    }

    /// Has `write` append to a buffer that ends at `at`.
    pub fn append(&mut self, at: usize, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        self.room(at);
        self.bytes.truncate(at);
        write(&mut self.bytes);
        self.bytes.len()
    }

    /// Ends the object whose members were written from `start` on, each behind
    /// its comma. None where there is no member: then nothing stands there.
    #[inline]
    pub fn close_object(&mut self, start: usize, at: usize) -> Option<usize> {
        self.close(start, at, b'{', b'}')
    }

    /// Ends the list whose elements were written from `start` on, each behind a
    /// comma. None where there is no element: then nothing stands there.
    #[inline]
    pub fn close_list(&mut self, start: usize, at: usize) -> Option<usize> {
        self.close(start, at, b'[', b']')
    }

    #[inline]
    fn close(&mut self, start: usize, at: usize, open: u8, close: u8) -> Option<usize> {
        if at == start {
            return None;
        }
        *self.bytes.get_mut(start)? = open;
        Some(self.byte(at, close))
    }

    /// Makes sure that there is something up to `end`.
    #[inline]
    fn room(&mut self, end: usize) {
        if end > self.bytes.len() {
            self.grow(end);
        }
    }

    #[cold]
    fn grow(&mut self, end: usize) {
        self.bytes.resize(end + GROWTH, 0);
    }
}

/// Copies bytes to a place of their length. Some go in two pieces that may
/// overlap, as a copy of any length is a call.
#[inline(always)]
pub fn copy(place: &mut [u8], bytes: &[u8]) {
    let _ = match bytes.len() {
        8..=16 => ends::<8>(place, bytes),
        17..=32 => ends::<16>(place, bytes),
        _ => {
            place.copy_from_slice(bytes);
            Some(())
        }
    };
}

#[inline(always)]
fn ends<const N: usize>(place: &mut [u8], bytes: &[u8]) -> Option<()> {
    *place.first_chunk_mut::<N>()? = *bytes.first_chunk()?;
    *place.last_chunk_mut::<N>()? = *bytes.last_chunk()?;
    Some(())
}

fn part(from: &[u8], (start, length): (usize, usize)) -> &[u8] {
    from.get(start..start + length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_object_is_closed_around_its_members() {
        let mut page = Page::default();
        let at = page.bytes(0, b"key");
        let end = page.label(at, &Label::new("a"));
        let end = page.plain_string(end, "b");
        let end = page.label(end, &Label::new("a \"long\" name of more than a piece"));
        let end = page.byte(end, b'1');
        let end = page.close_object(at, end).unwrap();
        let want: &[u8] = br#"{"a":"b","a \"long\" name of more than a piece":1}"#;
        assert_eq!(page.written(at, end), want);
        assert_eq!(page.close_object(end, end), None);
        assert_eq!(page.close_list(end, end), None);
    }

    proptest! {
        #[test]
        fn writes_what_appending_would(pieces in proptest::collection::vec(("(?s).{0,80}", 0usize..3), 0..200)) {
            let mut page = Page::default();
            let (mut at, mut want) = (0, Vec::new());
            for (text, how) in &pieces {
                match how {
                    0 => {
                        at = page.string(at, text);
                        write::string(&mut want, text);
                    }
                    1 => {
                        let half = text.len() / 2;
                        at = page.span(at, text.as_bytes(), (0, half));
                        want.extend_from_slice(&text.as_bytes()[..half]);
                    }
                    _ => {
                        at = page.joined_string(at, &[text, text]);
                        write::string(&mut want, &text.repeat(2));
                    }
                }
            }
            prop_assert_eq!(page.written(0, at), &want[..]);
        }
    }
}
