//! Lines `{"source":...,"key":...,"value":...}`: a message of any source.
//!
//! Keeps the value as it stands, byte for byte, also where it is no JSON: what
//! is wrong with a record is the engine's to say.

use std::io::{self, BufRead, IsTerminal as _};

use serde_json::value::RawValue;

use super::screen::{self, Tone};
use crate::json::members::{self, Members, after, leading_string};
use crate::policy::reason::Reason;
use crate::transport::Payload;

/// Some editors put this before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One line that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) source: String,
    pub(super) key: Option<String>,
    pub(super) value: Value,
}

/// The value of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Bytes(Vec<u8>),
    Refused(Reason),
}

impl Message {
    /// The value, as a transport hands it out.
    pub(super) fn payload(&self) -> Payload<'_> {
        match &self.value {
            Value::Null => Payload::Null,
            Value::Bytes(bytes) => Payload::Bytes(bytes),
            Value::Refused(reason) => Payload::Refused(*reason),
        }
    }
}

/// What stands in some lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) messages: Vec<Message>,
    /// Numbers of lines whose source cannot be read.
    pub(super) unreadable: Vec<usize>,
}

impl Lines {
    /// Reads all lines of stdin; where somebody types them, says that it waits.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(super) fn of_stdin() -> io::Result<Lines> {
        let stdin = io::stdin().lock();
        if stdin.is_terminal() {
            screen::note(Tone::Plain, "reading lines from here; Ctrl-D ends them");
        }
        Lines::read(stdin)
    }

    /// Reads all lines; empty ones count for nothing but their number.
    ///
    /// # Errors
    ///
    /// Only those of the reader: a line that is no message is no error.
    pub(super) fn read(mut reader: impl BufRead) -> io::Result<Lines> {
        let mut lines = Lines::default();
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
            match message(line) {
                Some((source, key, value)) => lines.messages.push(Message {
                    line: number,
                    source,
                    key,
                    value,
                }),
                None => lines.unreadable.push(number),
            }
        }
        Ok(lines)
    }
}

type Parts = (String, Option<String>, Value);

/// Reads one line; `None` where it does not even say of which source it is.
fn message(line: &[u8]) -> Option<Parts> {
    let whole = std::str::from_utf8(line)
        .ok()
        .and_then(|text| members::read(text, ["source", "key", "value"]));
    match whole {
        Some(members) => whole_line(members),
        None => broken_line(line),
    }
}

fn whole_line(members: Members<'_, 3>) -> Option<Parts> {
    let [source, key, value] = members.found;
    let source = serde_json::from_str(source?.get()).ok()?;
    let key = key.map(RawValue::get);
    let key = key.and_then(|raw| serde_json::from_str(raw).ok());
    let value = match value.map(RawValue::get) {
        Some(_) | None if members.twins => Value::Refused(Reason::NotAMessage),
        None => Value::Refused(Reason::NotAMessage),
        Some("null") => Value::Null,
        Some(text) => Value::Bytes(text.as_bytes().to_vec()),
    };
    Some((source, key, value))
}

/// A line that is no JSON, often because its value is none: where source and
/// key come first, the rest is the value.
fn broken_line(line: &[u8]) -> Option<Parts> {
    let mut rest = after(line, b"{")?;
    let mut source = None;
    let mut key = None;
    while let Some((name, written)) = leading_string(rest) {
        let written = after(written, b":")?;
        match (name.as_str(), leading_string(written)) {
            ("value", _) => {
                let inner = written.trim_ascii().strip_suffix(b"}");
                let value = match inner {
                    Some(bytes) => Value::Bytes(bytes.trim_ascii().to_vec()),
                    None => Value::Refused(Reason::NotAMessage),
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
        let Some(next) = after(rest, b",") else {
            break;
        };
        rest = next;
    }
    Some((source?, key, Value::Refused(Reason::NotAMessage)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: impl AsRef<[u8]>, want: &str) {
        let lines = Lines::read(line.as_ref()).unwrap();
        let found: Vec<_> = lines.messages.iter().map(shown).collect();
        let lost = lines.unreadable.iter().map(|line| format!("{line}: lost"));
        let found: Vec<_> = found.into_iter().chain(lost).collect();
        assert_eq!(found.join("; "), want);
    }

    fn shown(message: &Message) -> String {
        let value = match &message.value {
            Value::Null => "null".to_owned(),
            Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Value::Refused(reason) => format!("refused {reason}"),
        };
        let key = message.key.as_deref().unwrap_or("-");
        format!("{}: {} {key} {value}", message.line, message.source)
    }

    #[test]
    fn a_value_is_kept_as_it_stands() {
        check(
            r#"{"source":"loan","key":"p1","value":{"a": 1.50, "a":"\u0041"}}"#,
            r#"1: loan p1 {"a": 1.50, "a":"\u0041"}"#,
        );
        check(
            "\n {\"value\":[1] , \"key\":\"p\\u0031\",\"source\":\"loan\"}\r\n\n{\"source\":\"patron\",\"key\":\"p\",\"value\":null}",
            "2: loan p1 [1]; 4: patron p null",
        );
        check(r#"{"source":"loan","value":1}"#, "1: loan - 1");
        let marked = "\u{feff}{\"source\":\"loan\",\"value\":1}\n";
        check(marked.repeat(2), "1: loan - 1; 2: lost");
        check(r#"{"source":"loan","key":null,"value":1}"#, "1: loan - 1");
    }

    #[test]
    fn what_is_no_json_keeps_its_source() {
        check(
            r#"{"source":"loan","key":"p1","value":{"a":}}"#,
            r#"1: loan p1 {"a":}"#,
        );
        check(
            b"{\"source\":\"loan\",\"key\":\"p1\",\"value\":\"\xff\"}",
            "1: loan p1 \"\u{fffd}\"",
        );
        check(
            r#"{"source":"loan","key":"p1","value":{"a":1"#,
            "1: loan p1 refused not_a_message",
        );
        check(
            r#"{"source":"loan","key":"p1"}"#,
            "1: loan p1 refused not_a_message",
        );
        check(
            r#"{"source":"loan","key":"p1","value":1,"value":2}"#,
            "1: loan p1 refused not_a_message",
        );
        check(r#"{"source":"loan""#, "1: loan - refused not_a_message");
    }

    #[test]
    fn what_has_no_source_is_lost() {
        check(
            "nonsense\n[1]\n{}\n{\"source\":7}\n",
            "1: lost; 2: lost; 3: lost; 4: lost",
        );
    }
}
