//! A directory for commands that only read it, even while a run is going on.
//!
//! Takes no lock, and writes nothing.

use std::path::Path;

use super::committed::DirectoryCommit;
use super::layout::{Layout, file_length};
use super::line_reader::LineReader;
use super::run_log::RunLog;
use super::source::LineMapping;
use super::{now_ms, read_commands, read_committed, to_fault};
use crate::message::commands::CommandLog;
use crate::message::{Fault, Input, SourceId};
use crate::transport::PollFlow;
use crate::transport::file::is_there;

/// A directory as it was when it was opened.
pub struct DirectoryView {
    layout: Layout,
    committed: DirectoryCommit,
    run_log: Box<RunLog>,
    max_line_bytes: usize,
}

impl DirectoryView {
    /// Opens a directory that a run may be working in. Lines longer than `max_line_bytes`
    /// are refused, as in a run.
    ///
    /// # Errors
    ///
    /// [`Fault::Io`] if it is no directory of zeef, or the system refuses to read it;
    /// [`Fault::Stop`] for what is damaged.
    pub fn open(root: &Path, max_line_bytes: usize) -> Result<Self, Fault> {
        let layout = Layout::new(root, false);
        layout.require_input_folder()?;
        let run_log = RunLog::open_read_only(&layout.run_log_path(), now_ms());
        Ok(Self {
            committed: read_committed(&layout)?,
            run_log: Box::new(run_log.map_err(to_fault)?),
            layout,
            max_line_bytes,
        })
    }

    /// Hands out each line of a source as a run of `lane` does; the source is always 0.
    /// Returns false if there is no such file.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if it cannot be read.
    pub fn read_source(
        &self,
        (lane, topic): (&str, &str),
        gate: bool,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<bool, Fault> {
        let path = self.layout.source_path(topic);
        if !is_there(&path).map_err(to_fault)? {
            return Ok(false);
        }
        let end = file_length(&path).map_err(to_fault)?;
        let mut reader = LineReader::new(path, self.max_line_bytes, 0);
        reader.open().map_err(to_fault)?;
        let progress = self.committed.lanes.get(lane);
        let start = progress.and_then(|progress| Some(progress.get(topic)?.start));
        let handing = LineMapping {
            source: SourceId(0),
            is_gate: gate,
            reads_trace_parents: false,
            start_offset: start.unwrap_or_default(),
        };
        let times = self.run_log.arrival_times(topic);
        let mut more = |input: Input<'_>| {
            take(input);
            PollFlow::Continue
        };
        loop {
            let found = reader.next_line(end).map_err(to_fault)?;
            let handed = handing.deliver_line((&reader, &times), &found, &mut more);
            if handed.is_none() {
                return Ok(true);
            }
        }
    }

    /// Reads all commands and accepted findings.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if they cannot be read.
    pub fn read_commands(&self) -> Result<CommandLog, Fault> {
        read_commands(&self.layout)
    }
}
