//! What a recipient acknowledges in a directory: `ack/RECIPIENT.ndjson`, which only the recipient
//! writes.

use std::path::Path;

use super::layout::{Layout, file_length};
use super::line_reader::{LineReader, NextLine};
use super::source_line::SourceLine;
use super::{check_file_name, to_fault};
use crate::message::{Fault, Payload};
use crate::transport::file::{FileError, is_file};

/// The longest line that is read.
const LINE_BYTES_MAX: usize = 4_096;

/// A line of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcknowledgementLine<'a> {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Key and value, as JSON; `None` for a line that has not both.
    pub parts: Option<(&'a str, &'a [u8])>,
}

/// Hands out each whole line of a recipient's file, in order; none if there is no file.
///
/// # Errors
///
/// [`Fault::Stop`] if it is there and cannot be read.
pub fn read_acknowledgement_lines(
    root: &Path,
    recipient: &str,
    take: &mut dyn FnMut(AcknowledgementLine<'_>),
) -> Result<(), Fault> {
    check_file_name(recipient)?;
    read_lines(Layout::new(root, false).acknowledgement_path(recipient).as_path(), take)
        .map_err(to_fault)
}

fn read_lines(path: &Path, take: &mut dyn FnMut(AcknowledgementLine<'_>)) -> Result<(), FileError> {
    // Anything but a file could make the reader wait for ever.
    if !is_file(path)? {
        return Ok(());
    }
    let end = file_length(path)?;
    let mut reader = LineReader::new(path.to_owned(), LINE_BYTES_MAX, 0);
    reader.open()?;
    loop {
        match reader.next_line(end)? {
            NextLine::End => return Ok(()),
            NextLine::TooLong { offset, .. } => take(AcknowledgementLine { offset, parts: None }),
            NextLine::Line { offset, bytes } => {
                let line = SourceLine::parse(reader.line_bytes(&bytes), false);
                let parts = match (&line.key, line.payload) {
                    (Some(key), Payload::Bytes(value)) => Some((key.as_ref(), value)),
                    _ => None,
                };
                take(AcknowledgementLine { offset, parts });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgement_file_is_read_line_by_line_up_to_its_last_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        let read = || {
            let mut lines = Vec::new();
            read_acknowledgement_lines(folder.path(), "slip", &mut |line| {
                let parts = line.parts.map(|(key, value)| {
                    (key.to_owned(), String::from_utf8(value.to_vec()).unwrap())
                });
                lines.push((line.offset, parts));
            })
            .unwrap();
            lines
        };
        assert_eq!(read(), []);
        std::fs::create_dir(folder.path().join("ack")).unwrap();
        let long = format!("{{\"key\":\"{}\",\"value\":\"t\"}}", "k".repeat(LINE_BYTES_MAX));
        let text = format!(
            "{{\"key\":\"a\",\"value\":\"t\"}}\nnot json\n{{\"key\":\"a\"}}\n{long}\n{{\"key\":\"b\""
        );
        std::fs::write(folder.path().join("ack/slip.ndjson"), &text).unwrap();
        let at = |part: &str| text.find(part).unwrap() as u64;
        let whole = Some(("a".to_owned(), "\"t\"".to_owned()));
        let want =
            [(0, whole), (at("not"), None), (at("{\"key\":\"a\"}"), None), (at(&long), None)];
        assert_eq!(read(), want);
    }
}
