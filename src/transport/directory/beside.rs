//! What lies in a directory, for commands that only look: beside whatever runs.
//!
//! Takes no lock, and writes nothing.

use std::path::Path;

use super::committed::Committed;
use super::layout::{Layout, length_of};
use super::reader::Reader;
use super::runs::Runs;
use super::source::Handing;
use super::{commands_of, now_ms, read_committed, stop};
use crate::transport::commands::Commands;
use crate::transport::{Fault, Flow, Input, SourceId};

/// A directory as it is when it is opened.
pub struct Beside {
    layout: Layout,
    committed: Committed,
    runs: Runs,
    line_bytes_max: usize,
}

impl Beside {
    /// Opens a directory that a run may be working in. A longer line than
    /// `line_bytes_max` is refused, as a run does.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where it is no directory of zeef, or cannot be read.
    pub fn open(root: &Path, line_bytes_max: usize) -> Result<Self, Fault> {
        let layout = Layout::new(root, false);
        if !layout.input.is_dir() {
            let input = layout.input.display();
            return Err(Fault::Stop(format!("{input} is no folder")));
        }
        Ok(Self {
            committed: read_committed(&layout)?,
            runs: Runs::look(&layout.runs(), now_ms()).map_err(stop)?,
            layout,
            line_bytes_max,
        })
    }

    /// Hands each line of a source to `take`, as a run of `lane` does; `gate` says
    /// whether it is one. All are said to be of source 0. False where there is no such
    /// file.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where it cannot be read.
    pub fn read_source(
        &self,
        (lane, topic): (&str, &str),
        gate: bool,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Result<bool, Fault> {
        let path = self.layout.source(topic);
        if !path.exists() {
            return Ok(false);
        }
        let end = length_of(&path).map_err(stop)?;
        let mut reader = Reader::new(path, self.line_bytes_max, 0);
        reader.open().map_err(stop)?;
        let trail = self.committed.lanes.get(lane);
        let start = trail.and_then(|trail| Some(trail.get(topic)?.start));
        let handing = Handing {
            source: SourceId(0),
            gate,
            start: start.unwrap_or_default(),
        };
        let times = self.runs.times(topic);
        let mut more = |input: Input<'_>| {
            take(input);
            Flow::More
        };
        loop {
            let found = reader.next(end).map_err(stop)?;
            let handed = handing.hand_over((&reader, &times), &found, &mut more);
            if handed.is_none() {
                return Ok(true);
            }
        }
    }

    /// Reads all commands that were given, and the findings that were accepted.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where they cannot be read.
    pub fn commands(&self) -> Result<Commands, Fault> {
        commands_of(&self.layout)
    }
}
