//! One input file, line by line, in memory that does not grow with it.
//!
//! It knows bytes and line ends, and not what stands in a line.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::line::leading_key;
use crate::transport::continuity::Fingerprinter;
use crate::transport::file::Failure;

/// How much is read at a time, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// How much is read first where the file is entered anew: who looks for single
/// lines all over it needs no more.
const FIRST_BYTES: usize = 8 * 1024;

/// So much of a line is hashed, and its length: the hash of a line must not
/// depend on how long a line may be.
const HASHED_BYTES: usize = 16 * 1024;

/// Some editors put this before the first line of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file that is read from a position on.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    line_bytes_max: usize,
    file: Option<File>,
    /// The bytes at `unread` were read from the file, and not handed out.
    buffer: Vec<u8>,
    unread: Range<usize>,
    /// So many of them are known to hold no line end.
    searched: usize,
    /// Where in the file `unread` starts.
    offset: u64,
    /// So much is read next.
    ahead: usize,
    /// The line that is being skipped.
    long: Option<LongLine>,
    /// Lines are hashed with this.
    prints: Option<Fingerprinter>,
    /// The hash of the line that was found last.
    last_hash: u64,
}

/// A line that is longer than allowed: of it only this is kept.
#[derive(Clone, Debug)]
struct LongLine {
    offset: u64,
    key: Option<String>,
    /// The first bytes, which are hashed.
    head: Vec<u8>,
}

/// What [`Reader::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A line, to be looked at by [`Reader::bytes`].
    Line { offset: u64, bytes: Range<usize> },
    /// A line that is longer than allowed, and its key where that was read.
    TooLong { offset: u64, key: Option<String> },
    /// There is no whole line before the end.
    End,
}

impl Reader {
    pub(super) fn new(path: PathBuf, line_bytes_max: usize, offset: u64) -> Self {
        Self {
            path,
            line_bytes_max,
            file: None,
            buffer: Vec::new(),
            unread: 0..0,
            searched: 0,
            offset,
            ahead: FIRST_BYTES,
            long: None,
            prints: None,
            last_hash: 0,
        }
    }

    /// Hashes each line that is found.
    pub(super) fn hash_with(&mut self, prints: Fingerprinter) {
        self.prints = Some(prints);
    }

    /// Returns the hash of the line that was found last.
    pub(super) fn last_hash(&self) -> u64 {
        self.last_hash
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Where the next line starts that was not handed out.
    pub(super) fn position(&self) -> u64 {
        self.long.as_ref().map_or(self.offset, |long| long.offset)
    }

    /// Opens the file that has the name now, if there is one, to go on at the
    /// same position.
    pub(super) fn open(&mut self) -> Result<(), Failure> {
        self.file = match File::open(&self.path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(Failure::to("open", &self.path)(error)),
        };
        self.seek(self.position())
    }

    /// Goes to `offset`, the start of a line.
    pub(super) fn seek(&mut self, offset: u64) -> Result<(), Failure> {
        self.unread = 0..0;
        self.searched = 0;
        self.long = None;
        self.offset = offset;
        self.ahead = FIRST_BYTES;
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let done = file.seek(SeekFrom::Start(offset));
        done.map_err(Failure::to("read", &self.path))?;
        Ok(())
    }

    /// Goes on to `offset`, through what is read already where it lies there.
    fn skip_to(&mut self, offset: u64) -> Result<(), Failure> {
        let ahead = offset.checked_sub(self.offset);
        let ahead = ahead.and_then(|ahead| usize::try_from(ahead).ok());
        match ahead.filter(|ahead| self.long.is_none() && *ahead <= self.unread.len()) {
            Some(ahead) => {
                self.unread.start += ahead;
                self.searched = self.searched.saturating_sub(ahead);
                self.offset = offset;
                Ok(())
            }
            None => self.seek(offset),
        }
    }

    /// Finds the line that starts at `offset` and ends before the byte `end`;
    /// [`Found::End`] also where no line starts there, or a blank one.
    pub(super) fn line_at(&mut self, offset: u64, end: u64) -> Result<Found, Failure> {
        if offset >= end {
            return Ok(Found::End);
        }
        if self.position() != offset {
            // From the byte before, which ends a line, or this starts none.
            self.skip_to(offset.saturating_sub(1))?;
        }
        match self.next(end)? {
            Found::Line { offset: at, bytes } if at == offset => Ok(Found::Line { offset, bytes }),
            Found::TooLong { offset: at, key } if at == offset => {
                Ok(Found::TooLong { offset, key })
            }
            _ => Ok(Found::End),
        }
    }

    /// Returns where the last line before the byte `end` begins, if it has no line
    /// end and is not blank. `None` also where there is nothing new before `end`.
    pub(super) fn torn_line(&self, end: u64) -> Result<Option<u64>, Failure> {
        let Some(file) = self.file.as_ref().filter(|_| self.position() < end) else {
            return Ok(None);
        };
        let (mut from, mut blank) = (end, true);
        let mut bytes = vec![0; CHUNK_BYTES];
        while from > self.position() {
            let length = (from - self.position()).min(CHUNK_BYTES as u64);
            from -= length;
            let piece = &mut bytes[..usize::try_from(length).unwrap_or(CHUNK_BYTES)];
            let read = file.read_exact_at(piece, from);
            read.map_err(Failure::to("read", &self.path))?;
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

    /// Whether the file begins as a text in UTF-16 does.
    pub(super) fn is_utf16(&self) -> Result<bool, Failure> {
        let mut head = [0; 2];
        let Some(file) = &self.file else {
            return Ok(false);
        };
        let read = file.read_at(&mut head, 0);
        let length = read.map_err(Failure::to("read", &self.path))?;
        Ok(length == 2 && matches!(head, [0xff, 0xfe] | [0xfe, 0xff]))
    }

    /// Finds the next line that is not blank and ends before the byte `end`.
    ///
    /// A line without its end waits, and is found once it has one.
    pub(super) fn next(&mut self, end: u64) -> Result<Found, Failure> {
        loop {
            let from = self.unread.start + self.searched;
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[from..self.unread.end]) {
                match self.take_line(self.searched + at) {
                    Found::Line { bytes, .. } if self.bytes(&bytes).trim_ascii().is_empty() => {}
                    found => return Ok(found),
                }
            } else {
                self.searched = self.unread.len();
                self.skip_when_long();
                if !self.fill(end)? {
                    return Ok(Found::End);
                }
            }
        }
    }

    /// The bytes of a line that was just found, without its end.
    pub(super) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.buffer[range.clone()]
    }

    /// Takes the line whose end stands after `length` unread bytes.
    fn take_line(&mut self, length: usize) -> Found {
        let offset = self.offset;
        let mut bytes = self.unread.start..self.unread.start + length;
        self.unread.start = bytes.end + 1;
        self.offset += length as u64 + 1;
        self.searched = 0;
        if let Some(LongLine { offset, key, head }) = self.long.take() {
            self.hash(&head, self.offset - offset);
            return Found::TooLong { offset, key };
        }
        if self.prints.is_some() {
            let hashed = bytes.start..bytes.end.min(bytes.start + HASHED_BYTES);
            self.last_hash = self.hash_of(&self.buffer[hashed], length as u64 + 1);
        }
        if offset == 0 && self.bytes(&bytes).starts_with(BYTE_ORDER_MARK) {
            bytes.start += BYTE_ORDER_MARK.len();
        }
        if length > self.line_bytes_max {
            let key = key_of(self.bytes(&bytes));
            return Found::TooLong { offset, key };
        }
        Found::Line { offset, bytes }
    }

    /// Notes the hash of a line of this length, with its end, by its first bytes.
    fn hash(&mut self, head: &[u8], length: u64) {
        self.last_hash = self.hash_of(head, length);
    }

    fn hash_of(&self, head: &[u8], length: u64) -> u64 {
        let length = length.to_le_bytes();
        let prints = self.prints.as_ref();
        prints.map_or(0, |prints| prints.record(Some(head), Some(&length)))
    }

    /// Drops what is unread where it is more than a line may hold.
    fn skip_when_long(&mut self) {
        if self.long.is_none() {
            if self.unread.len() <= self.line_bytes_max.max(HASHED_BYTES) {
                return;
            }
            let bytes = &self.buffer[self.unread.clone()];
            let head = bytes[..bytes.len().min(HASHED_BYTES)].to_vec();
            let bytes = match self.offset {
                0 => bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes),
                _ => bytes,
            };
            self.long = Some(LongLine {
                offset: self.offset,
                key: key_of(bytes),
                head,
            });
        }
        self.offset += self.unread.len() as u64;
        self.unread = 0..0;
        self.searched = 0;
    }

    /// Reads on, not beyond `end`. `false`: there is nothing before it.
    fn fill(&mut self, end: u64) -> Result<bool, Failure> {
        let next = self.offset + self.unread.len() as u64;
        let Some(file) = self.file.as_mut().filter(|_| next < end) else {
            return Ok(false);
        };
        if self.unread.start > 0 {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        if self.unread.end == self.buffer.len() {
            let most = self.line_bytes_max.saturating_add(CHUNK_BYTES);
            let length = (self.buffer.len() * 2).clamp(CHUNK_BYTES, most);
            self.buffer.resize(length, 0);
        }
        let room = &mut self.buffer[self.unread.end..];
        let most = room.len().min(self.ahead);
        let room = &mut room[..most];
        self.ahead = (self.ahead * 2).min(CHUNK_BYTES);
        let wanted = usize::try_from(end - next).map_or(room.len(), |left| left.min(room.len()));
        match read_some(file, &mut room[..wanted]) {
            Ok(0) => Err(self.too_short()),
            Ok(length) => {
                self.unread.end += length;
                Ok(true)
            }
            Err(error) => Err(Failure::to("read", &self.path)(error)),
        }
    }

    /// The failure of a file that ends before its known end.
    fn too_short(&self) -> Failure {
        Failure::to("read", &self.path)(ErrorKind::UnexpectedEof.into())
    }
}

fn key_of(bytes: &[u8]) -> Option<String> {
    leading_key(bytes).map(std::borrow::Cow::into_owned)
}

fn read_some(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
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

    /// Reads all lines up to `end` with a limit on their length: offset, and
    /// the text or the key of a long one.
    fn lines(text: &[u8], max: usize, ends: &[u64]) -> (Vec<(u64, String)>, u64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ndjson");
        std::fs::write(&path, text).unwrap();
        let mut reader = Reader::new(path, max, 0);
        reader.open().unwrap();
        let mut found = Vec::new();
        for end in ends {
            loop {
                match reader.next(*end).unwrap() {
                    Found::Line { offset, bytes } => {
                        let bytes = reader.bytes(&bytes);
                        found.push((offset, String::from_utf8_lossy(bytes).into_owned()));
                    }
                    Found::TooLong { offset, key } => found.push((offset, format!("long {key:?}"))),
                    Found::End => break,
                }
            }
        }
        (found, reader.position())
    }

    #[track_caller]
    fn check(text: &[u8], max: usize, want: &[(u64, &str)], position: u64) {
        let found = lines(text, max, &[text.len() as u64]);
        let want = want.iter().map(|(at, text)| (*at, (*text).to_owned()));
        assert_eq!(found, (want.collect(), position));
    }

    #[test]
    fn lines_and_their_ends() {
        check(b"", 9, &[], 0);
        check(b"a\nbc\n", 9, &[(0, "a"), (2, "bc")], 5);
        check(b"a\nbc", 9, &[(0, "a")], 2);
        check(b"a\r\n\r\n \t\n\nb\n", 9, &[(0, "a\r"), (9, "b")], 11);
        check(b"\n\n", 9, &[], 2);
        check(
            b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n",
            9,
            &[(0, "a"), (5, "\u{feff}b")],
            10,
        );
    }

    #[test]
    fn long_lines() {
        check(
            b"1234\n12345\n1\n",
            4,
            &[(0, "1234"), (5, "long None"), (11, "1")],
            13,
        );
        check(b"1\n12345", 4, &[(0, "1")], 2);
        let long = format!(
            "{{\"key\":\"p1\",\"value\":\"{}\"}}\nx\n",
            "a".repeat(3 * CHUNK_BYTES)
        );
        let next = long.len() as u64 - 2;
        check(
            long.as_bytes(),
            50,
            &[(0, "long Some(\"p1\")"), (next, "x")],
            next + 2,
        );
        check(
            long.as_bytes(),
            CHUNK_BYTES,
            &[(0, "long Some(\"p1\")"), (next, "x")],
            next + 2,
        );
        check(
            long.as_bytes(),
            4 * CHUNK_BYTES,
            &[(0, long.trim_end_matches("\nx\n")), (next, "x")],
            next + 2,
        );
    }

    #[test]
    fn a_long_line_that_has_no_end_yet_waits_in_bounded_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ndjson");
        let text = vec![b'x'; 9 * CHUNK_BYTES];
        std::fs::write(&path, &text).unwrap();
        let mut reader = Reader::new(path.clone(), 10, 0);
        reader.open().unwrap();
        assert_eq!(reader.next(text.len() as u64).unwrap(), Found::End);
        assert_eq!(reader.position(), 0);
        assert!(reader.buffer.len() <= 2 * CHUNK_BYTES);
        let text = [text, b"\nab\n".to_vec()].concat();
        std::fs::write(&path, &text).unwrap();
        let long = Found::TooLong {
            offset: 0,
            key: None,
        };
        assert_eq!(reader.next(text.len() as u64).unwrap(), long);
        assert_eq!(reader.position(), 9 * CHUNK_BYTES as u64 + 1);
    }

    #[test]
    fn single_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ndjson");
        let text = format!("a\nbc\n\n{}\nd\nlong line\ne", "x".repeat(3 * FIRST_BYTES));
        std::fs::write(&path, &text).unwrap();
        let mut reader = Reader::new(path, 4 * FIRST_BYTES, 0);
        reader.open().unwrap();
        let mut show = |offset: u64| match reader.line_at(offset, text.len() as u64).unwrap() {
            Found::Line { bytes, .. } => String::from_utf8_lossy(reader.bytes(&bytes)).into(),
            Found::TooLong { .. } => "long".to_owned(),
            Found::End => "-".to_owned(),
        };
        let d = 6 + 3 * FIRST_BYTES as u64 + 1;
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
        assert_eq!(show(6).len(), 3 * FIRST_BYTES);
    }

    proptest! {
        #[test]
        fn any_ends_find_the_same_lines(
            text in prop::collection::vec(prop::sample::select(b"ab\n\r ".to_vec()), 0..200),
            ends in prop::collection::vec(0_u64..200, 0..5),
            max in 1_usize..8,
        ) {
            let whole = text.len() as u64;
            let mut ends: Vec<u64> = ends.into_iter().map(|end| end.min(whole)).collect();
            ends.push(whole);
            ends.sort_unstable();
            prop_assert_eq!(lines(&text, max, &ends), lines(&text, max, &[whole]));
        }
    }
}
