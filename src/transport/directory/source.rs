//! One source of a lane: how far it is read, and that it is still the file it
//! was.

use std::io::ErrorKind;
use std::path::Path;

use super::committed::Position;
use super::disk::Failure;
use super::line::Line;
use super::reader::{Found, Reader};
use super::runs::Times;
use super::store::length_of;
use super::{PARTITION, stop};
use crate::policy::reason::Reason;
use crate::transport::{Coordinates, Fault, Flow, Input, SourceId, SourcePlan};

/// One source of a lane.
pub(super) struct Source {
    pub(super) id: SourceId,
    pub(super) topic: String,
    pub(super) gate: bool,
    pub(super) committed: Position,
    reader: Reader,
    /// So far it is read, as it was found; what is appended later waits.
    pub(super) end: u64,
    /// When its lines came.
    pub(super) times: Times,
    /// No whole line is left before `end`.
    pub(super) done: bool,
}

impl Source {
    /// Makes a source that goes on at `committed`.
    pub(super) fn new(
        id: SourceId,
        plan: &SourcePlan,
        reader: Reader,
        committed: Position,
    ) -> Self {
        Self {
            id,
            topic: plan.topic.clone(),
            gate: plan.gate,
            committed,
            reader,
            end: 0,
            times: Times::default(),
            done: false,
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.reader.path()
    }

    /// The present position, as it is committed.
    pub(super) fn mark(&mut self) -> Result<Position, Fault> {
        let position = self.reader.mark();
        position.map_err(|failure| self.fault(failure))
    }

    /// How many bytes are not committed.
    pub(super) fn behind(&self) -> u64 {
        let length = length_of(self.path()).unwrap_or(self.end);
        length.saturating_sub(self.committed.offset)
    }

    /// Notes how far the file goes now, and that it still is the same file.
    pub(super) fn look(&mut self) -> Result<(), Fault> {
        let length = length_of(self.reader.path()).map_err(stop)?;
        if length < self.reader.position().max(self.committed.offset) {
            return Err(self.replaced(&format!("{length} bytes long")));
        }
        if length == self.end && (self.reader.is_open() || length == 0) {
            return Ok(());
        }
        self.reader.open().map_err(stop)?;
        let tail = self.reader.tail(self.committed.offset).map_err(stop)?;
        if tail != Some(self.committed.tail) && self.committed.offset > 0 {
            return Err(self.replaced("another file"));
        }
        self.end = length;
        self.done = false;
        Ok(())
    }

    fn replaced(&self, found: &str) -> Fault {
        let path = self.reader.path().display();
        let read = self.reader.position().max(self.committed.offset);
        Fault::Stop(format!(
            "{path} was read up to byte {read}, and now it is {found}: an input may only grow. \
             Put the file back as it was and append to it; or, to read all input again from its \
             beginning, stop zeef, move the out folder away and remove the .zeef folder beside it"
        ))
    }

    /// Opens the source anew with `reader`, to read lines of it again.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] where it is shorter than it was: a line that is gone with
    /// it must not pass for one that is no longer there.
    pub(super) fn again(&self, mut reader: Reader, times: Times) -> Result<Again, Fault> {
        let end = length_of(self.path()).map_err(stop)?;
        if end < self.committed.offset {
            return Err(self.replaced(&format!("{end} bytes long")));
        }
        reader.open().map_err(stop)?;
        Ok(Again { reader, end, times })
    }

    /// Hands out the next line; [`Flow::Full`] also where there is none.
    pub(super) fn read_one(
        &mut self,
        take: &mut dyn FnMut(Input<'_>) -> Flow,
    ) -> Result<Flow, Fault> {
        let found = self.reader.next(self.end);
        let found = found.map_err(|failure| self.fault(failure))?;
        let of = (self.id, &self.times);
        let flow = hand_over(of, &self.reader, &found, take);
        self.done = flow.is_none();
        Ok(flow.unwrap_or(Flow::Full))
    }

    fn fault(&self, failure: Failure) -> Fault {
        match failure.source.kind() {
            ErrorKind::UnexpectedEof => self.replaced("shorter"),
            _ => stop(failure),
        }
    }

    /// Whether the position is another than the committed one.
    pub(super) fn moved(&self) -> bool {
        self.reader.position() != self.committed.offset
    }

    /// Goes back to the committed position.
    pub(super) fn rewind(&mut self) -> Result<(), Fault> {
        if !self.moved() {
            return Ok(());
        }
        self.done = false;
        self.reader.seek(self.committed.offset).map_err(stop)
    }
}

/// Lines of a source that are read again.
pub(super) struct Again {
    reader: Reader,
    end: u64,
    times: Times,
}

impl Again {
    /// Hands `take` the line at these coordinates, where there still is one.
    pub(super) fn read(
        &mut self,
        at: Coordinates,
        take: &mut dyn FnMut(Option<Input<'_>>),
    ) -> Result<(), Fault> {
        let found = match u64::try_from(at.offset) {
            Ok(offset) => self.reader.line_at(offset, self.end).map_err(stop)?,
            Err(_) => Found::End,
        };
        let mut given = |input: Input<'_>| {
            take(Some(input));
            Flow::More
        };
        let of = (at.source, &self.times);
        if hand_over(of, &self.reader, &found, &mut given).is_none() {
            take(None);
        }
        Ok(())
    }
}

/// Hands `take` what a reader found; `None` where that is nothing.
pub(super) fn hand_over(
    (source, times): (SourceId, &Times),
    reader: &Reader,
    found: &Found,
    take: &mut dyn FnMut(Input<'_>) -> Flow,
) -> Option<Flow> {
    let (offset, line) = match found {
        Found::End => return None,
        Found::Line { offset, bytes } => (*offset, Line::read(reader.bytes(bytes))),
        Found::TooLong { offset, key } => {
            let key = key.as_deref().map(Into::into);
            (*offset, Line::refused(Reason::TooLarge, key))
        }
    };
    Some(take(Input {
        source,
        partition: PARTITION,
        offset: i64::try_from(offset).unwrap_or(i64::MAX),
        timestamp_ms: None,
        appended: Some(times.of(offset)),
        key: line.key.as_deref().map(str::as_bytes),
        payload: line.payload,
    }))
}
