//! One source of a lane: how far it is read, and that it is still the file it
//! was.

use std::io::ErrorKind;
use std::path::Path;

use super::layout::length_of;
use super::line::Line;
use super::reader::{Found, Reader};
use super::runs::Times;
use super::{PARTITION, stop};
use crate::policy::reason::Reason;
use crate::transport::continuity::{Anchor, Fingerprinter, Trail};
use crate::transport::file::Failure;
use crate::transport::{Coordinates, Fault, Flow, Input, SourceId, SourcePlan};

/// One source of a lane.
pub(super) struct Source {
    pub(super) id: SourceId,
    pub(super) topic: String,
    pub(super) gate: bool,
    committed: Trail,
    /// As far as it is read.
    trail: Trail,
    reader: Reader,
    prints: Fingerprinter,
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
        (mut reader, prints): (Reader, Fingerprinter),
        committed: Option<Trail>,
    ) -> Self {
        reader.hash_with(prints);
        let mut committed = committed.unwrap_or_default();
        if plan.gate && committed.next == committed.start {
            committed.log.get_or_insert(0);
        }
        Self {
            id,
            topic: plan.topic.clone(),
            gate: plan.gate,
            trail: committed.clone(),
            committed,
            reader,
            prints,
            end: 0,
            times: Times::default(),
            done: false,
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.reader.path()
    }

    /// The present position, as it is committed.
    pub(super) fn position(&self) -> Trail {
        Trail {
            next: self.trail.start + offset_of(self.reader.position()),
            ..self.trail.clone()
        }
    }

    /// Notes what was committed.
    pub(super) fn commit(&mut self, position: Trail) {
        self.trail = position.clone();
        self.committed = position;
    }

    /// How many bytes of the file are committed.
    pub(super) fn bytes_committed(&self) -> u64 {
        bytes_read(&self.committed)
    }

    /// How many bytes are not committed.
    pub(super) fn behind(&self) -> u64 {
        let length = length_of(self.path()).unwrap_or(self.end);
        length.saturating_sub(self.bytes_committed())
    }

    /// Refuses a last line without its end.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`], with the file and the byte where that line begins.
    pub(super) fn check_last_line(&self) -> Result<(), Fault> {
        let Some(at) = self.reader.torn_line(self.end).map_err(stop)? else {
            return Ok(());
        };
        let path = self.path().display();
        Err(Fault::Stop(format!(
            "{path}: the last line, at byte {at}, has no line end: it is not whole, or somebody is \
             still writing it. Nothing of it was decided; end the line, or wait, and run again"
        )))
    }

    /// Notes how far the file goes now, and that it still is the same file.
    pub(super) fn look(&mut self) -> Result<(), Fault> {
        let length = length_of(self.reader.path()).map_err(stop)?;
        if length < self.reader.position().max(self.bytes_committed()) {
            return Err(self.replaced(&format!("{length} bytes long")));
        }
        if length == self.end && (self.reader.is_open() || length == 0) {
            return Ok(());
        }
        self.reader.open().map_err(stop)?;
        if self.reader.is_utf16().map_err(stop)? {
            let path = self.path().display();
            return Err(Fault::Stop(format!(
                "{path} begins at byte 0 as a text in UTF-16, expected UTF-8"
            )));
        }
        let mut reader = Reader::new(self.path().to_owned(), usize::MAX, 0);
        if !has_anchors(&mut reader, &self.committed, &self.prints).map_err(stop)? {
            return Err(self.replaced("another file"));
        }
        self.end = length;
        self.done = false;
        Ok(())
    }

    fn replaced(&self, found: &str) -> Fault {
        let path = self.reader.path().display();
        let read = self.reader.position().max(self.bytes_committed());
        Fault::Stop(format!(
            "{path} was read up to byte {read}, and now it is {found}: an input may only grow. \
             Put the file back as it was and append to it; the next start says what else may be done"
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
        if end < self.bytes_committed() {
            return Err(self.replaced(&format!("{end} bytes long")));
        }
        reader.open().map_err(stop)?;
        Ok(Again {
            reader,
            end,
            handing: self.handing(),
            times,
        })
    }

    /// Hands out the next line; [`Flow::Full`] also where there is none.
    pub(super) fn read_one(
        &mut self,
        take: &mut dyn FnMut(Input<'_>) -> Flow,
    ) -> Result<Flow, Fault> {
        let found = self.reader.next(self.end);
        let found = found.map_err(|failure| self.fault(failure))?;
        self.done = found == Found::End;
        if let Found::Line { offset, .. } | Found::TooLong { offset, .. } = &found {
            pass(&mut self.trail, *offset, &self.reader, &self.prints);
        }
        let flow = self
            .handing()
            .hand_over((&self.reader, &self.times), &found, take);
        Ok(flow.unwrap_or(Flow::Full))
    }

    pub(super) fn handing(&self) -> Handing {
        Handing {
            source: self.id,
            gate: self.gate,
            start: self.trail.start,
        }
    }

    fn fault(&self, failure: Failure) -> Fault {
        match failure.source.kind() {
            ErrorKind::UnexpectedEof => self.replaced("shorter"),
            _ => stop(failure),
        }
    }

    /// Whether the position is another than the committed one.
    pub(super) fn moved(&self) -> bool {
        self.reader.position() != self.bytes_committed()
    }

    /// Goes back to the committed position.
    pub(super) fn rewind(&mut self) -> Result<(), Fault> {
        if !self.moved() {
            return Ok(());
        }
        self.done = false;
        self.trail = self.committed.clone();
        self.reader.seek(self.bytes_committed()).map_err(stop)
    }
}

/// Lines of a source that are read again.
pub(super) struct Again {
    reader: Reader,
    end: u64,
    handing: Handing,
    times: Times,
}

impl Again {
    /// Hands `take` the line at these coordinates, where there still is one.
    pub(super) fn read(
        &mut self,
        at: Coordinates,
        take: &mut dyn FnMut(Option<Input<'_>>),
    ) -> Result<(), Fault> {
        let found = match u64::try_from(at.offset - self.handing.start) {
            Ok(offset) => self.reader.line_at(offset, self.end).map_err(stop)?,
            Err(_) => Found::End,
        };
        let mut given = |input: Input<'_>| {
            take(Some(input));
            Flow::More
        };
        let handed = self
            .handing
            .hand_over((&self.reader, &self.times), &found, &mut given);
        if handed.is_none() {
            take(None);
        }
        Ok(())
    }
}

/// How lines become messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handing {
    pub(super) source: SourceId,
    pub(super) gate: bool,
    /// The offset of the file's first byte.
    pub(super) start: i64,
}

impl Handing {
    /// Hands `take` what a reader found; `None` where that is nothing.
    ///
    /// A line of a gate source that is refused may name more than one patron, as
    /// two objects on one line do: it is handed out for each of them, under the
    /// offset at which its key stands.
    pub(super) fn hand_over(
        self,
        (reader, times): (&Reader, &Times),
        found: &Found,
        take: &mut dyn FnMut(Input<'_>) -> Flow,
    ) -> Option<Flow> {
        let (offset, line) = match found {
            Found::End => return None,
            Found::Line { offset, bytes } => (*offset, Line::read(reader.bytes(bytes), self.gate)),
            Found::TooLong { offset, key } => {
                let key = key.as_deref().map(Into::into);
                (*offset, Line::refused(Reason::TooLarge, key))
            }
        };
        let appended = Some(times.of(offset));
        let offset = self.start.saturating_add(offset_of(offset));
        let mut flow = take(Input {
            source: self.source,
            partition: PARTITION,
            offset,
            timestamp_ms: None,
            appended,
            key: line.key.as_deref().map(str::as_bytes),
            payload: line.payload,
        });
        for (at, key) in &line.others {
            let next = take(Input {
                source: self.source,
                partition: PARTITION,
                offset: offset.saturating_add(offset_of(*at as u64)),
                timestamp_ms: None,
                appended,
                key: Some(key.as_bytes()),
                payload: line.payload,
            });
            if next == Flow::Full {
                flow = Flow::Full;
            }
        }
        Some(flow)
    }
}

/// Returns how many bytes of its file a trail has passed.
pub(super) fn bytes_read(trail: &Trail) -> u64 {
    u64::try_from(trail.next - trail.start).unwrap_or(0)
}

fn offset_of(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Adds to a trail the line that was found at the byte `offset`.
fn pass(trail: &mut Trail, offset: u64, reader: &Reader, prints: &Fingerprinter) {
    let hash = reader.last_hash();
    trail.passed(Anchor {
        offset: trail.start + offset_of(offset),
        hash,
    });
    if let Some(log) = &mut trail.log {
        *log = prints.chained(*log, Some(&hash.to_le_bytes()), None);
    }
}

/// Reads a file from its beginning to the byte `end`, for its trail; of a gate
/// with the hash of all of it.
pub(super) fn read_trail(
    reader: &mut Reader,
    gate: bool,
    end: u64,
    prints: &Fingerprinter,
) -> Result<Trail, Failure> {
    reader.hash_with(*prints);
    let mut trail = Trail {
        log: gate.then_some(0),
        ..Trail::default()
    };
    loop {
        match reader.next(end)? {
            Found::End => break,
            Found::Line { offset, .. } | Found::TooLong { offset, .. } => {
                pass(&mut trail, offset, reader, prints);
            }
        }
    }
    trail.next = offset_of(end);
    Ok(trail)
}

/// Whether the lines that a trail remembers are still where they were.
pub(super) fn has_anchors(
    reader: &mut Reader,
    trail: &Trail,
    prints: &Fingerprinter,
) -> Result<bool, Failure> {
    reader.hash_with(*prints);
    reader.open()?;
    for anchor in trail.anchors.iter().rev() {
        let Ok(offset) = u64::try_from(anchor.offset - trail.start) else {
            continue;
        };
        let found = reader.line_at(offset, bytes_read(trail))?;
        if found == Found::End || reader.last_hash() != anchor.hash {
            return Ok(false);
        }
    }
    Ok(true)
}
