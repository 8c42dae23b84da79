//! The rows of lanes' states: all of them, or the newest mark.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::committed::damaged_fault;
use super::layout::Layout;
use super::ledger_files::is_ledger_file;
use super::line_reader::{LineReader, NextLine};
use super::source_line::SourceLine;
use super::{ONLY_PARTITION, check_file_name, read_committed, to_fault};
use crate::message::continuity::MARK_ROW_KEY;
use crate::message::{Fault, Output, OutputId, Payload};
use crate::transport::ReadOutcome;
use crate::transport::file::FileError;

/// The committed rows of a lane's state.
pub(super) struct StateRows {
    pub(super) reader: LineReader,
    /// The committed length in bytes.
    pub(super) end: u64,
}

impl StateRows {
    /// Hands out each row; asks `should_continue` before each.
    pub(super) fn for_each_row(
        &mut self,
        output: OutputId,
        should_continue: &dyn Fn() -> bool,
        take: &mut dyn FnMut(Output<'_>),
    ) -> Result<ReadOutcome, Fault> {
        let Self { reader, end } = self;
        while should_continue() {
            let NextLine::Line { bytes, .. } = reader.next_line(*end).map_err(to_fault)? else {
                return match reader.position() == *end {
                    true => Ok(ReadOutcome::Done),
                    false => Err(damaged_fault(reader.path())),
                };
            };
            let row = SourceLine::parse(reader.line_bytes(&bytes), false);
            let value = match row.payload {
                Payload::Null => None,
                Payload::Bytes(value) => Some(value),
                Payload::Refused(_) | Payload::RefusedBytes(..) => {
                    return Err(damaged_fault(reader.path()));
                }
            };
            let key = row.key.ok_or_else(|| damaged_fault(reader.path()))?;
            let (partition, key) = (Some(ONLY_PARTITION), Some(key.as_bytes()));
            take(Output { output, partition, key, value, retraction: None });
        }
        Ok(ReadOutcome::Interrupted)
    }
}

/// Returns the topics of the committed states below `root`.
///
/// # Errors
///
/// [`Fault::Stop`] if it cannot be read.
pub fn list_states(root: &Path) -> Result<Vec<String>, Fault> {
    let committed = read_committed(&Layout::new(root, false))?;
    Ok(committed.state.into_keys().filter(|name| !is_ledger_file(name)).collect())
}

/// Hands out the committed rows of a lane's state below `root`, in order, some of them twice.
/// The directory may be in use meanwhile.
///
/// # Errors
///
/// [`Fault::Stop`] if the state cannot be read, or is shorter than its committed length.
pub fn read_state(root: &Path, topic: &str, take: &mut dyn FnMut(Output<'_>)) -> Result<(), Fault> {
    /// A compaction replaces the file shortly before its committed length.
    const MAX_ATTEMPTS: usize = 5;
    const RETRY_PAUSE: Duration = Duration::from_millis(200);
    check_file_name(topic)?;
    let layout = Layout::new(root, false);
    let mut read = Ok(());
    for attempt in 0..MAX_ATTEMPTS {
        if attempt > 0 {
            thread::sleep(RETRY_PAUSE);
        }
        read = read_state_once(&layout, topic, take);
        if read.is_ok() {
            break;
        }
    }
    read
}

fn read_state_once(
    layout: &Layout,
    topic: &str,
    take: &mut dyn FnMut(Output<'_>),
) -> Result<(), Fault> {
    let committed = read_committed(layout)?;
    let end = committed.state.get(topic).map_or(0, |file| file.length);
    let mut reader = LineReader::new(layout.written_path(topic, true), usize::MAX, 0);
    reader.open().map_err(to_fault)?;
    StateRows { reader, end }.for_each_row(OutputId(0), &|| true, take)?;
    Ok(())
}

/// Returns the last mark among the last rows of a state of `length` bytes.
pub(super) fn read_last_mark(path: &Path, length: u64) -> Result<Option<Vec<u8>>, FileError> {
    /// More than a mark takes.
    const TAIL_BYTES: u64 = 256 << 10;
    if length == 0 {
        return Ok(None);
    }
    let start = length.saturating_sub(TAIL_BYTES);
    let mut tail = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(start))?;
        file.take(length - start).read_to_end(&mut tail)
    });
    read.map_err(FileError::wrap("read", path))?;
    let mut lines = tail.split(|byte| *byte == b'\n').skip(usize::from(start > 0));
    let mark = |line: &[u8]| {
        let row = SourceLine::parse(line, false);
        let is_mark = row.key.as_ref().is_some_and(|key| key.as_bytes() == MARK_ROW_KEY);
        row.payload.bytes().filter(|_| is_mark).map(<[u8]>::to_vec)
    };
    Ok(lines.by_ref().filter_map(mark).last())
}
