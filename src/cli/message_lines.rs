//! Lines `{"source":...,"key":...,"value":...}`: a message of any source.
//!
//! Keeps the value as it stands, byte for byte, even if it is no JSON: the engine judges
//! records.

use std::io::{self, BufRead, IsTerminal as _};

use serde_json::value::RawValue;

use super::screen::{self, NoteKind};
use crate::json::members::{self, Members, split_leading_string, strip_token};
use crate::message::Payload;
use crate::policy::reason::Reason;

/// Some editors put this before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LineMessage {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) source: String,
    pub(super) key: Option<String>,
    pub(super) value: LineValue,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LineValue {
    Null,
    Bytes(Vec<u8>),
    Refused(Reason),
}

impl LineMessage {
    /// Returns the value as a transport hands it out.
    pub(super) fn payload(&self) -> Payload<'_> {
        match &self.value {
            LineValue::Null => Payload::Null,
            LineValue::Bytes(bytes) => Payload::Bytes(bytes),
            LineValue::Refused(reason) => Payload::Refused(*reason),
        }
    }
}

/// The messages of some lines.
#[derive(Debug, Default)]
pub(super) struct MessageLines {
    pub(super) messages: Vec<LineMessage>,
    /// Numbers of lines whose source is unreadable.
    pub(super) unreadable_lines: Vec<usize>,
}

impl MessageLines {
    /// Reads all lines of stdin; on a terminal says that it waits.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(super) fn read_stdin() -> io::Result<MessageLines> {
        let stdin = io::stdin().lock();
        if stdin.is_terminal() {
            screen::print_note(NoteKind::Plain, "reading lines from stdin; end with Ctrl-D");
        }
        MessageLines::read(stdin)
    }

    /// Reads all lines; empty ones only count as lines.
    ///
    /// # Errors
    ///
    /// Only those of the reader: a line that is no message is no error.
    pub(super) fn read(reader: impl BufRead) -> io::Result<MessageLines> {
        MessageLines::read_of_source(reader, None)
    }

    /// Reads all lines; those without a source are of `source`.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(super) fn read_of_source(
        mut reader: impl BufRead,
        source: Option<&str>,
    ) -> io::Result<MessageLines> {
        let mut lines = MessageLines::default();
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            if reader.read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            let mut line = bytes.as_slice();
            if number == 1 {
                line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
            }
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            match parse_line(line, source) {
                Some((source, key, value)) => {
                    lines.messages.push(LineMessage { line: number, source, key, value })
                }
                None => lines.unreadable_lines.push(number),
            }
        }
        Ok(lines)
    }
}

type LineFields = (String, Option<String>, LineValue);

/// Parses one line, or returns `None` if it does not name a source.
fn parse_line(line: &[u8], default: Option<&str>) -> Option<LineFields> {
    let whole = std::str::from_utf8(line)
        .ok()
        .and_then(|text| members::read(text, ["source", "key", "value"]));
    match whole {
        Some(members) => fields_of_members(members, default),
        None => parse_broken_line(line, default),
    }
}

fn fields_of_members(members: Members<'_, 3>, default: Option<&str>) -> Option<LineFields> {
    let [source, key, value] = members.found;
    let source = match source {
        Some(source) => serde_json::from_str(source.get()).ok()?,
        None => default?.to_owned(),
    };
    let key = key.map(RawValue::get);
    let key = key.and_then(|raw| serde_json::from_str(raw).ok());
    let value = match value.map(RawValue::get) {
        Some(_) | None if members.has_duplicates() => LineValue::Refused(Reason::NotAMessage),
        None => LineValue::Refused(Reason::NotAMessage),
        Some("null") => LineValue::Null,
        Some(text) => LineValue::Bytes(text.as_bytes().to_vec()),
    };
    Some((source, key, value))
}

/// Parses a line that is no JSON, often because its value is none: if source and key come
/// first, the rest is the value.
fn parse_broken_line(line: &[u8], default: Option<&str>) -> Option<LineFields> {
    let mut rest = strip_token(line, b"{")?;
    let mut source = default.map(str::to_owned);
    let mut key = None;
    while let Some((name, written)) = split_leading_string(rest) {
        let written = strip_token(written, b":")?;
        match (name.as_str(), split_leading_string(written)) {
            ("value", _) => {
                let inner = written.trim_ascii().strip_suffix(b"}");
                let value = match inner {
                    Some(bytes) => LineValue::Bytes(bytes.trim_ascii().to_vec()),
                    None => LineValue::Refused(Reason::NotAMessage),
                };
                return Some((source?, key, value));
            }
            ("source", Some((found, next))) => {
                source = Some(found);
                rest = next;
            }
            ("key", Some((found, next))) => {
                key = Some(found);
                rest = next;
            }
            _ => break,
        }
        let Some(next) = strip_token(rest, b",") else {
            break;
        };
        rest = next;
    }
    Some((source?, key, LineValue::Refused(Reason::NotAMessage)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_lines(line: impl AsRef<[u8]>, want: &str) {
        let lines = MessageLines::read(line.as_ref()).unwrap();
        let found: Vec<_> = lines.messages.iter().map(format_message).collect();
        let lost = lines.unreadable_lines.iter().map(|line| format!("{line}: lost"));
        let found: Vec<_> = found.into_iter().chain(lost).collect();
        assert_eq!(found.join("; "), want);
    }

    fn format_message(message: &LineMessage) -> String {
        let value = match &message.value {
            LineValue::Null => "null".to_owned(),
            LineValue::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            LineValue::Refused(reason) => format!("refused {reason}"),
        };
        let key = message.key.as_deref().unwrap_or("-");
        format!("{}: {} {key} {value}", message.line, message.source)
    }

    #[test]
    fn message_line_keeps_its_value_byte_for_byte() {
        check_lines(
            r#"{"source":"loan","key":"p1","value":{"a": 1.50, "a":"\u0041"}}"#,
            r#"1: loan p1 {"a": 1.50, "a":"\u0041"}"#,
        );
        check_lines(
            "\n {\"value\":[1] , \"key\":\"p\\u0031\",\"source\":\"loan\"}\r\n\n{\"source\":\"patron\",\"key\":\"p\",\"value\":null}",
            "2: loan p1 [1]; 4: patron p null",
        );
        check_lines(r#"{"source":"loan","value":1}"#, "1: loan - 1");
        let marked = "\u{feff}{\"source\":\"loan\",\"value\":1}\n";
        check_lines(marked.repeat(2), "1: loan - 1; 2: lost");
        check_lines(r#"{"source":"loan","key":null,"value":1}"#, "1: loan - 1");
    }

    #[test]
    fn broken_message_line_keeps_its_source() {
        check_lines(r#"{"source":"loan","key":"p1","value":{"a":}}"#, r#"1: loan p1 {"a":}"#);
        check_lines(
            b"{\"source\":\"loan\",\"key\":\"p1\",\"value\":\"\xff\"}",
            "1: loan p1 \"\u{fffd}\"",
        );
        check_lines(
            r#"{"source":"loan","key":"p1","value":{"a":1"#,
            "1: loan p1 refused not_a_message",
        );
        check_lines(r#"{"source":"loan","key":"p1"}"#, "1: loan p1 refused not_a_message");
        check_lines(
            r#"{"source":"loan","key":"p1","value":1,"value":2}"#,
            "1: loan p1 refused not_a_message",
        );
        check_lines(r#"{"source":"loan""#, "1: loan - refused not_a_message");
    }

    #[test]
    fn message_line_without_source_is_unreadable() {
        check_lines("nonsense\n[1]\n{}\n{\"source\":7}\n", "1: lost; 2: lost; 3: lost; 4: lost");
    }
}
