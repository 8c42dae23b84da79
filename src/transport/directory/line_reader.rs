//! Reads an input file line by line, in memory that does not grow with it.
//!
//! Knows bytes and line ends, not what a line contains.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::source_line::leading_key;
use crate::message::continuity::Fingerprinter;
use crate::transport::file::FileError;

const READ_CHUNK_BYTES: usize = 256 * 1024;

/// The first read after a seek: single lines need no more.
const FIRST_READ_BYTES: usize = 8 * 1024;

/// How much of a line is hashed, besides its length: the hash must not depend on the line
/// limit.
const MAX_HASHED_BYTES: usize = 16 * 1024;

/// Some editors put this before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file read from a position on.
#[derive(Debug)]
pub(super) struct LineReader {
    path: PathBuf,
    max_line_bytes: usize,
    file: Option<File>,
    /// The bytes from `unread` on were not handed out.
    buffer: Vec<u8>,
    unread: Range<usize>,
    /// How many of them contain no line end.
    searched_bytes: usize,
    /// The offset of `unread` in the file.
    offset: u64,
    next_read_bytes: usize,
    /// The line that is being skipped.
    skipped_line: Option<LongLine>,
    fingerprinter: Option<Fingerprinter>,
    last_hash: u64,
}

/// What is kept of a line over the limit.
#[derive(Clone, Debug)]
struct LongLine {
    offset: u64,
    key: Option<String>,
    /// The first bytes, which are hashed.
    hashed_bytes: Vec<u8>,
}

/// What [`LineReader::next_line`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextLine {
    /// A line, for [`LineReader::line_bytes`].
    Line { offset: u64, bytes: Range<usize> },
    /// A line over the limit, with its key if that was read.
    TooLong { offset: u64, key: Option<String> },
    /// There is no whole line before the end.
    End,
}

impl LineReader {
    pub(super) fn new(path: PathBuf, max_line_bytes: usize, offset: u64) -> Self {
        Self {
            path,
            max_line_bytes,
            file: None,
            buffer: Vec::new(),
            unread: 0..0,
            searched_bytes: 0,
            offset,
            next_read_bytes: FIRST_READ_BYTES,
            skipped_line: None,
            fingerprinter: None,
            last_hash: 0,
        }
    }

    pub(super) fn set_fingerprinter(&mut self, fingerprinter: Fingerprinter) {
        self.fingerprinter = Some(fingerprinter);
    }

    pub(super) fn last_hash(&self) -> u64 {
        self.last_hash
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Returns the offset of the next line to hand out.
    pub(super) fn position(&self) -> u64 {
        self.skipped_line.as_ref().map_or(self.offset, |long| long.offset)
    }

    /// Opens the file that has the name now, if any, at the same position.
    pub(super) fn open(&mut self) -> Result<(), FileError> {
        self.file = match File::open(&self.path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(FileError::wrap("open", &self.path)(error)),
        };
        self.seek(self.position())
    }

    /// Moves to `offset`, the start of a line.
    pub(super) fn seek(&mut self, offset: u64) -> Result<(), FileError> {
        self.unread = 0..0;
        self.searched_bytes = 0;
        self.skipped_line = None;
        self.offset = offset;
        self.next_read_bytes = FIRST_READ_BYTES;
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let done = file.seek(SeekFrom::Start(offset));
        done.map_err(FileError::wrap("read", &self.path))?;
        Ok(())
    }

    /// Moves to `offset`, within the buffer if possible.
    fn skip_to(&mut self, offset: u64) -> Result<(), FileError> {
        let ahead = offset.checked_sub(self.offset);
        let ahead = ahead.and_then(|ahead| usize::try_from(ahead).ok());
        match ahead.filter(|ahead| self.skipped_line.is_none() && *ahead <= self.unread.len()) {
            Some(ahead) => {
                self.unread.start += ahead;
                self.searched_bytes = self.searched_bytes.saturating_sub(ahead);
                self.offset = offset;
                Ok(())
            }
            None => self.seek(offset),
        }
    }

    /// Returns the line that starts at `offset` and ends before `end`, or [`NextLine::End`]
    /// if there is none or it is blank.
    pub(super) fn line_at(&mut self, offset: u64, end: u64) -> Result<NextLine, FileError> {
        if offset >= end {
            return Ok(NextLine::End);
        }
        if self.position() != offset {
            // From the byte before: if it ends no line, no line starts here.
            self.skip_to(offset.saturating_sub(1))?;
        }
        match self.next_line(end)? {
            NextLine::Line { offset: at, bytes } if at == offset => {
                Ok(NextLine::Line { offset, bytes })
            }
            NextLine::TooLong { offset: at, key } if at == offset => {
                Ok(NextLine::TooLong { offset, key })
            }
            _ => Ok(NextLine::End),
        }
    }

    /// Returns where the last line before `end` begins, if it is torn and not blank. `None`
    /// also if there is nothing new before `end`.
    pub(super) fn find_torn_line(&self, end: u64) -> Result<Option<u64>, FileError> {
        let Some(file) = self.file.as_ref().filter(|_| self.position() < end) else {
            return Ok(None);
        };
        let (mut from, mut blank) = (end, true);
        let mut bytes = vec![0; READ_CHUNK_BYTES];
        while from > self.position() {
            let length = (from - self.position()).min(READ_CHUNK_BYTES as u64);
            from -= length;
            let piece = &mut bytes[..usize::try_from(length).unwrap_or(READ_CHUNK_BYTES)];
            let read = file.read_exact_at(piece, from);
            read.map_err(FileError::wrap("read", &self.path))?;
            let line_end = memchr::memrchr(b'\n', piece);
            let rest = &piece[line_end.map_or(0, |at| at + 1)..];
            blank &= rest.trim_ascii().is_empty();
            if let Some(at) = line_end {
                from += at as u64 + 1;
                break;
            }
        }
        Ok((!blank).then_some(from))
    }

    /// Returns whether the file begins like text in UTF-16.
    pub(super) fn is_utf16(&self) -> Result<bool, FileError> {
        let mut head = [0; 2];
        let Some(file) = &self.file else {
            return Ok(false);
        };
        let read = file.read_at(&mut head, 0);
        let length = read.map_err(FileError::wrap("read", &self.path))?;
        Ok(length == 2 && matches!(head, [0xff, 0xfe] | [0xfe, 0xff]))
    }

    /// Returns the next line that is not blank and ends before `end`.
    ///
    /// A torn line is returned once it has its end.
    pub(super) fn next_line(&mut self, end: u64) -> Result<NextLine, FileError> {
        loop {
            let from = self.unread.start + self.searched_bytes;
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[from..self.unread.end]) {
                match self.take_line(self.searched_bytes + at) {
                    NextLine::Line { bytes, .. }
                        if self.line_bytes(&bytes).trim_ascii().is_empty() => {}
                    found => return Ok(found),
                }
            } else {
                self.searched_bytes = self.unread.len();
                self.skip_long_line();
                if !self.fill_buffer(end)? {
                    return Ok(NextLine::End);
                }
            }
        }
    }

    /// Returns the bytes of the last line, without its end.
    pub(super) fn line_bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.buffer[range.clone()]
    }

    /// Takes the line that ends after `length` unread bytes.
    fn take_line(&mut self, length: usize) -> NextLine {
        let offset = self.offset;
        let mut bytes = self.unread.start..self.unread.start + length;
        self.unread.start = bytes.end + 1;
        self.offset += length as u64 + 1;
        self.searched_bytes = 0;
        if let Some(LongLine { offset, key, hashed_bytes: head }) = self.skipped_line.take() {
            self.set_last_hash(&head, self.offset - offset);
            return NextLine::TooLong { offset, key };
        }
        if self.fingerprinter.is_some() {
            let hashed = bytes.start..bytes.end.min(bytes.start + MAX_HASHED_BYTES);
            self.last_hash = self.hash_line(&self.buffer[hashed], length as u64 + 1);
        }
        if offset == 0 && self.line_bytes(&bytes).starts_with(BYTE_ORDER_MARK) {
            bytes.start += BYTE_ORDER_MARK.len();
        }
        if length > self.max_line_bytes {
            let key = owned_leading_key(self.line_bytes(&bytes));
            return NextLine::TooLong { offset, key };
        }
        NextLine::Line { offset, bytes }
    }

    /// Hashes a line of this length, with its end, by its first bytes.
    fn set_last_hash(&mut self, head: &[u8], length: u64) {
        self.last_hash = self.hash_line(head, length);
    }

    fn hash_line(&self, head: &[u8], length: u64) -> u64 {
        let length = length.to_le_bytes();
        let fingerprinter = self.fingerprinter.as_ref();
        fingerprinter
            .map_or(0, |fingerprinter| fingerprinter.hash_record(Some(head), Some(&length)))
    }

    /// Drops the unread bytes if they exceed the line limit.
    fn skip_long_line(&mut self) {
        if self.skipped_line.is_none() {
            if self.unread.len() <= self.max_line_bytes.max(MAX_HASHED_BYTES) {
                return;
            }
            let bytes = &self.buffer[self.unread.clone()];
            let head = bytes[..bytes.len().min(MAX_HASHED_BYTES)].to_vec();
            let bytes = match self.offset {
                0 => bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes),
                _ => bytes,
            };
            self.skipped_line = Some(LongLine {
                offset: self.offset,
                key: owned_leading_key(bytes),
                hashed_bytes: head,
            });
        }
        self.offset += self.unread.len() as u64;
        self.unread = 0..0;
        self.searched_bytes = 0;
    }

    /// Reads on, up to `end`. Returns false if nothing is left before it.
    fn fill_buffer(&mut self, end: u64) -> Result<bool, FileError> {
        let next = self.offset + self.unread.len() as u64;
        let Some(file) = self.file.as_mut().filter(|_| next < end) else {
            return Ok(false);
        };
        if self.unread.start > 0 {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        if self.unread.end == self.buffer.len() {
            let most = self.max_line_bytes.saturating_add(READ_CHUNK_BYTES);
            let length = (self.buffer.len() * 2).clamp(READ_CHUNK_BYTES, most);
            self.buffer.resize(length, 0);
        }
        let room = &mut self.buffer[self.unread.end..];
        let most = room.len().min(self.next_read_bytes);
        let room = &mut room[..most];
        self.next_read_bytes = (self.next_read_bytes * 2).min(READ_CHUNK_BYTES);
        let wanted = usize::try_from(end - next).map_or(room.len(), |left| left.min(room.len()));
        match read_uninterrupted(file, &mut room[..wanted]) {
            Ok(0) => Err(self.too_short_error()),
            Ok(length) => {
                self.unread.end += length;
                Ok(true)
            }
            Err(error) => Err(FileError::wrap("read", &self.path)(error)),
        }
    }

    /// Returns the error for a file that is shorter than its known end.
    fn too_short_error(&self) -> FileError {
        FileError::wrap("read", &self.path)(ErrorKind::UnexpectedEof.into())
    }
}

fn owned_leading_key(bytes: &[u8]) -> Option<String> {
    leading_key(bytes).map(std::borrow::Cow::into_owned)
}

fn read_uninterrupted(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads all lines up to `end` with a length limit: offset, and the text, or the key of
    /// a long one.
    fn read_lines(text: &[u8], max: usize, ends: &[u64]) -> (Vec<(u64, String)>, u64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ndjson");
        std::fs::write(&path, text).unwrap();
        let mut reader = LineReader::new(path, max, 0);
        reader.open().unwrap();
        let mut found = Vec::new();
        for end in ends {
            loop {
                match reader.next_line(*end).unwrap() {
                    NextLine::Line { offset, bytes } => {
                        let bytes = reader.line_bytes(&bytes);
                        found.push((offset, String::from_utf8_lossy(bytes).into_owned()));
                    }
                    NextLine::TooLong { offset, key } => {
                        found.push((offset, format!("long {key:?}")))
                    }
                    NextLine::End => break,
                }
            }
        }
        (found, reader.position())
    }

    #[track_caller]
    fn check_lines(text: &[u8], max: usize, want: &[(u64, &str)], position: u64) {
        let found = read_lines(text, max, &[text.len() as u64]);
        let want = want.iter().map(|(at, text)| (*at, (*text).to_owned()));
        assert_eq!(found, (want.collect(), position));
    }

    #[test]
    fn line_reader_splits_lines_and_skips_blanks() {
        check_lines(b"", 9, &[], 0);
        check_lines(b"a\nbc\n", 9, &[(0, "a"), (2, "bc")], 5);
        check_lines(b"a\nbc", 9, &[(0, "a")], 2);
        check_lines(b"a\r\n\r\n \t\n\nb\n", 9, &[(0, "a\r"), (9, "b")], 11);
        check_lines(b"\n\n", 9, &[], 2);
        check_lines(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", 9, &[(0, "a"), (5, "\u{feff}b")], 10);
    }

    #[test]
    fn line_reader_reports_long_lines_with_their_key() {
        check_lines(b"1234\n12345\n1\n", 4, &[(0, "1234"), (5, "long None"), (11, "1")], 13);
        check_lines(b"1\n12345", 4, &[(0, "1")], 2);
        let long =
            format!("{{\"key\":\"p1\",\"value\":\"{}\"}}\nx\n", "a".repeat(3 * READ_CHUNK_BYTES));
        let next = long.len() as u64 - 2;
        check_lines(long.as_bytes(), 50, &[(0, "long Some(\"p1\")"), (next, "x")], next + 2);
        check_lines(
            long.as_bytes(),
            READ_CHUNK_BYTES,
            &[(0, "long Some(\"p1\")"), (next, "x")],
            next + 2,
        );
        check_lines(
            long.as_bytes(),
            4 * READ_CHUNK_BYTES,
            &[(0, long.trim_end_matches("\nx\n")), (next, "x")],
            next + 2,
        );
    }

    #[test]
    fn line_reader_unterminated_long_line_waits_in_bounded_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ndjson");
        let text = vec![b'x'; 9 * READ_CHUNK_BYTES];
        std::fs::write(&path, &text).unwrap();
        let mut reader = LineReader::new(path.clone(), 10, 0);
        reader.open().unwrap();
        assert_eq!(reader.next_line(text.len() as u64).unwrap(), NextLine::End);
        assert_eq!(reader.position(), 0);
        assert!(reader.buffer.len() <= 2 * READ_CHUNK_BYTES);
        let text = [text, b"\nab\n".to_vec()].concat();
        std::fs::write(&path, &text).unwrap();
        let long = NextLine::TooLong { offset: 0, key: None };
        assert_eq!(reader.next_line(text.len() as u64).unwrap(), long);
        assert_eq!(reader.position(), 9 * READ_CHUNK_BYTES as u64 + 1);
    }

    #[test]
    fn line_reader_line_at_finds_only_line_starts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ndjson");
        let text = format!("a\nbc\n\n{}\nd\nlong line\ne", "x".repeat(3 * FIRST_READ_BYTES));
        std::fs::write(&path, &text).unwrap();
        let mut reader = LineReader::new(path, 4 * FIRST_READ_BYTES, 0);
        reader.open().unwrap();
        let mut show = |offset: u64| match reader.line_at(offset, text.len() as u64).unwrap() {
            NextLine::Line { bytes, .. } => {
                String::from_utf8_lossy(reader.line_bytes(&bytes)).into()
            }
            NextLine::TooLong { .. } => "long".to_owned(),
            NextLine::End => "-".to_owned(),
        };
        let d = 6 + 3 * FIRST_READ_BYTES as u64 + 1;
        for (offset, want) in [
            (0, "a"),
            (1, "-"),
            (2, "bc"),
            (3, "-"),
            (5, "-"),
            (7, "-"),
            (d, "d"),
            (d + 2, "long line"),
            (d + 12, "-"),
            (d + 99, "-"),
            (2, "bc"),
            (0, "a"),
        ] {
            assert_eq!(show(offset), want, "{offset}");
        }
        assert_eq!(show(6).len(), 3 * FIRST_READ_BYTES);
    }

    proptest! {
        #[test]
        fn line_reader_finds_same_lines_for_any_ends(
            text in prop::collection::vec(prop::sample::select(b"ab\n\r ".to_vec()), 0..200),
            ends in prop::collection::vec(0_u64..200, 0..5),
            max in 1_usize..8,
        ) {
            let whole = text.len() as u64;
            let mut ends: Vec<u64> = ends.into_iter().map(|end| end.min(whole)).collect();
            ends.push(whole);
            ends.sort_unstable();
            prop_assert_eq!(read_lines(&text, max, &ends), read_lines(&text, max, &[whole]));
        }
    }
}
