//! What a recipient has now, by the files of a directory.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::committed::damaged_fault;
use super::layout::Layout;
use super::line_reader::{LineReader, NextLine};
use super::source_line::SourceLine;
use super::{check_file_name, read_committed, to_fault};
use crate::message::{Fault, Payload};
use crate::transport::OutputsByKey;

/// A compaction replaces a file shortly before its committed length.
const MAX_ATTEMPTS: usize = 5;
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Returns the last committed value of each key of an output below `root`, without those that
/// were taken back, or `None` if no run has written it. The directory may be in use meanwhile.
///
/// # Errors
///
/// [`Fault::Stop`] if the output cannot be read, or is shorter than its committed length.
pub fn read_current_outputs(
    root: &Path,
    owner: &str,
    topic: &str,
) -> Result<Option<OutputsByKey>, Fault> {
    check_file_name(owner)?;
    check_file_name(topic)?;
    let layout = Layout::new(root, false);
    let name = format!("{owner}/{topic}");
    let mut read = read_once(&layout, &name);
    for _ in 1..MAX_ATTEMPTS {
        if read.is_ok() {
            break;
        }
        thread::sleep(RETRY_PAUSE);
        read = read_once(&layout, &name);
    }
    read
}

fn read_once(layout: &Layout, name: &str) -> Result<Option<OutputsByKey>, Fault> {
    let committed = read_committed(layout)?;
    let Some(&end) = committed.outputs.get(name) else {
        return Ok(None);
    };
    let mut reader = LineReader::new(layout.written_path(name, false), usize::MAX, 0);
    reader.open().map_err(to_fault)?;
    let mut outputs = BTreeMap::new();
    while let NextLine::Line { bytes, .. } = reader.next_line(end).map_err(to_fault)? {
        let line = SourceLine::parse(reader.line_bytes(&bytes), false);
        let key = line.key.ok_or_else(|| damaged_fault(reader.path()))?.as_bytes().to_vec();
        match line.payload {
            Payload::Null => outputs.remove(&key),
            Payload::Bytes(value) => outputs.insert(key, value.to_vec()),
            Payload::Refused(_) | Payload::RefusedBytes(..) => {
                return Err(damaged_fault(reader.path()));
            }
        };
    }
    match reader.position() == end {
        true => Ok(Some(outputs)),
        false => Err(damaged_fault(reader.path())),
    }
}
