//! One source of a lane: its position, and whether it is still the same file.

use std::io::ErrorKind;
use std::path::Path;

use super::layout::file_length;
use super::line_reader::{LineReader, NextLine};
use super::run_log::ArrivalTimes;
use super::source_line::SourceLine;
use super::{ONLY_PARTITION, to_fault};
use crate::message::continuity::{Fingerprinter, SourceAnchor, SourceProgress};
use crate::message::{Coordinates, Fault, Input, SourceId, SourcePlan};
use crate::policy::reason::Reason;
use crate::transport::PollFlow;
use crate::transport::file::FileError;

pub(super) struct DirectorySource {
    pub(super) id: SourceId,
    pub(super) topic: String,
    pub(super) is_gate: bool,
    reads_trace_parents: bool,
    committed_progress: SourceProgress,
    progress: SourceProgress,
    reader: LineReader,
    fingerprinter: Fingerprinter,
    /// The known end; what is appended later waits.
    pub(super) known_end: u64,
    /// When its lines arrived.
    pub(super) arrival_times: ArrivalTimes,
    /// No whole line is left before `known_end`.
    pub(super) is_exhausted: bool,
}

impl DirectorySource {
    /// Creates a source at `committed`.
    pub(super) fn new(
        id: SourceId,
        (plan, reads_trace_parents): (&SourcePlan, bool),
        (mut reader, fingerprinter): (LineReader, Fingerprinter),
        mut committed: SourceProgress,
    ) -> Self {
        reader.set_fingerprinter(fingerprinter);
        if plan.is_gate() && committed.next == committed.start {
            committed.log.get_or_insert(0);
        }
        Self {
            id,
            topic: plan.topic.clone(),
            is_gate: plan.is_gate(),
            reads_trace_parents,
            progress: committed.clone(),
            committed_progress: committed,
            reader,
            fingerprinter,
            known_end: 0,
            arrival_times: ArrivalTimes::default(),
            is_exhausted: false,
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.reader.path()
    }

    /// Returns the current position, as it is committed.
    pub(super) fn current_progress(&self) -> SourceProgress {
        SourceProgress {
            next: self.progress.start + to_offset(self.reader.position()),
            ..self.progress.clone()
        }
    }

    pub(super) fn set_committed(&mut self, position: SourceProgress) {
        self.progress = position.clone();
        self.committed_progress = position;
    }

    /// Returns how many bytes of the file are committed.
    pub(super) fn committed_bytes(&self) -> u64 {
        consumed_bytes(&self.committed_progress)
    }

    /// Returns how many bytes are not committed.
    pub(super) fn lag_bytes(&self) -> u64 {
        let length = file_length(self.path()).unwrap_or(self.known_end);
        length.saturating_sub(self.committed_bytes())
    }

    /// Rejects a torn last line.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] with the file and the offset of that line.
    pub(super) fn check_last_line(&self) -> Result<(), Fault> {
        let Some(at) = self.reader.find_torn_line(self.known_end).map_err(to_fault)? else {
            return Ok(());
        };
        let path = self.path().display();
        Err(Fault::stop(format!(
            "{path}: the last line, at byte {at}, has no line end: it is not whole, or somebody is \
             still writing it. Nothing of it was decided; end the line, or wait, and run again"
        )))
    }

    /// Updates the known end, and checks that it still is the same file.
    pub(super) fn update_end(&mut self) -> Result<(), Fault> {
        let length = file_length(self.reader.path()).map_err(to_fault)?;
        if length < self.reader.position().max(self.committed_bytes()) {
            return Err(self.replaced_fault(&format!("{length} bytes long")));
        }
        if length == self.known_end && (self.reader.is_open() || length == 0) {
            return Ok(());
        }
        self.reader.open().map_err(to_fault)?;
        if self.reader.is_utf16().map_err(to_fault)? {
            let path = self.path().display();
            return Err(Fault::stop(format!(
                "{path} begins at byte 0 as a text in UTF-16, expected UTF-8"
            )));
        }
        let mut reader = LineReader::new(self.path().to_owned(), usize::MAX, 0);
        if !has_anchors(&mut reader, &self.committed_progress, &self.fingerprinter)
            .map_err(to_fault)?
        {
            return Err(self.replaced_fault("another file"));
        }
        self.known_end = length;
        self.is_exhausted = false;
        Ok(())
    }

    fn replaced_fault(&self, found: &str) -> Fault {
        let path = self.reader.path().display();
        let read = self.reader.position().max(self.committed_bytes());
        Fault::stop(format!(
            "{path} was read up to byte {read}, and now it is {found}: an input may only grow. \
             Put the file back as it was and append to it; the next start says what else may be done"
        ))
    }

    /// Opens the source with `reader`, to read lines of it again.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] if it is shorter than before: a lost line must not pass for one that
    /// no longer exists.
    pub(super) fn open_for_reread(
        &self,
        mut reader: LineReader,
        times: ArrivalTimes,
    ) -> Result<SourceRereader, Fault> {
        let end = file_length(self.path()).map_err(to_fault)?;
        if end < self.committed_bytes() {
            return Err(self.replaced_fault(&format!("{end} bytes long")));
        }
        reader.open().map_err(to_fault)?;
        Ok(SourceRereader {
            reader,
            known_end: end,
            line_mapping: self.line_mapping(),
            arrival_times: times,
        })
    }

    /// Hands out the next line. Returns [`PollFlow::BatchFull`] also if there is none.
    pub(super) fn deliver_next_line(
        &mut self,
        take: &mut dyn FnMut(Input<'_>) -> PollFlow,
    ) -> Result<PollFlow, Fault> {
        let found = self.reader.next_line(self.known_end);
        let found = found.map_err(|failure| self.read_fault(failure))?;
        self.is_exhausted = found == NextLine::End;
        if let NextLine::Line { offset, .. } | NextLine::TooLong { offset, .. } = &found {
            add_line_to_progress(&mut self.progress, *offset, &self.reader, &self.fingerprinter);
        }
        let flow =
            self.line_mapping().deliver_line((&self.reader, &self.arrival_times), &found, take);
        Ok(flow.unwrap_or(PollFlow::BatchFull))
    }

    pub(super) fn line_mapping(&self) -> LineMapping {
        let DirectorySource { id: source, is_gate, reads_trace_parents, .. } = *self;
        LineMapping { source, is_gate, reads_trace_parents, start_offset: self.progress.start }
    }

    fn read_fault(&self, failure: FileError) -> Fault {
        match failure.cause.kind() {
            ErrorKind::UnexpectedEof => self.replaced_fault("shorter"),
            _ => to_fault(failure),
        }
    }

    /// Returns whether the position differs from the committed one.
    pub(super) fn has_moved(&self) -> bool {
        self.reader.position() != self.committed_bytes()
    }

    /// Goes back to the committed position.
    pub(super) fn rewind(&mut self) -> Result<(), Fault> {
        if !self.has_moved() {
            return Ok(());
        }
        self.is_exhausted = false;
        self.progress = self.committed_progress.clone();
        self.reader.seek(self.committed_bytes()).map_err(to_fault)
    }
}

/// Reads lines of a source again.
pub(super) struct SourceRereader {
    reader: LineReader,
    known_end: u64,
    line_mapping: LineMapping,
    arrival_times: ArrivalTimes,
}

impl SourceRereader {
    /// Hands out the line at these coordinates, if it still exists.
    pub(super) fn read_at(
        &mut self,
        at: Coordinates,
        take: &mut dyn FnMut(Option<Input<'_>>),
    ) -> Result<(), Fault> {
        let found = match u64::try_from(at.offset - self.line_mapping.start_offset) {
            Ok(offset) => self.reader.line_at(offset, self.known_end).map_err(to_fault)?,
            Err(_) => NextLine::End,
        };
        let mut given = |input: Input<'_>| {
            take(Some(input));
            PollFlow::Continue
        };
        let handed =
            self.line_mapping.deliver_line((&self.reader, &self.arrival_times), &found, &mut given);
        if handed.is_none() {
            take(None);
        }
        Ok(())
    }
}

/// How lines become messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineMapping {
    pub(super) source: SourceId,
    pub(super) is_gate: bool,
    /// Whether the `traceparent` of a line is handed out.
    pub(super) reads_trace_parents: bool,
    /// The offset of the file's first byte.
    pub(super) start_offset: i64,
}

impl LineMapping {
    /// Hands out what a reader found; returns `None` if that is nothing.
    ///
    /// A refused line of a gate source may name more than one patron, such as two objects
    /// on one line: it is handed out for each of them, with the offset of its key.
    pub(super) fn deliver_line(
        self,
        (reader, times): (&LineReader, &ArrivalTimes),
        found: &NextLine,
        take: &mut dyn FnMut(Input<'_>) -> PollFlow,
    ) -> Option<PollFlow> {
        let (offset, line) = match found {
            NextLine::End => return None,
            NextLine::Line { offset, bytes } => {
                (*offset, SourceLine::parse(reader.line_bytes(bytes), self.is_gate))
            }
            NextLine::TooLong { offset, key } => {
                let key = key.as_deref().map(Into::into);
                (*offset, SourceLine::refused(Reason::TooLarge, key))
            }
        };
        let appended = Some(times.append_time(offset));
        let offset = self.start_offset.saturating_add(to_offset(offset));
        let trace_parent = line.trace_parent.filter(|_| self.reads_trace_parents);
        let mut flow = take(Input {
            source: self.source,
            partition: ONLY_PARTITION,
            offset,
            timestamp_ms: None,
            append_time: appended,
            trace_parent,
            key: line.key.as_deref().map(str::as_bytes),
            payload: line.payload,
        });
        for (at, key) in &line.other_keys {
            let next = take(Input {
                source: self.source,
                partition: ONLY_PARTITION,
                offset: offset.saturating_add(to_offset(*at as u64)),
                timestamp_ms: None,
                append_time: appended,
                trace_parent,
                key: Some(key.as_bytes()),
                payload: line.payload,
            });
            if next == PollFlow::BatchFull {
                flow = PollFlow::BatchFull;
            }
        }
        Some(flow)
    }
}

/// Returns how many bytes of its file a position has passed.
pub(super) fn consumed_bytes(progress: &SourceProgress) -> u64 {
    u64::try_from(progress.next - progress.start).unwrap_or(0)
}

fn to_offset(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Adds the line found at the byte `offset`.
fn add_line_to_progress(
    progress: &mut SourceProgress,
    offset: u64,
    reader: &LineReader,
    fingerprinter: &Fingerprinter,
) {
    let hash = reader.last_hash();
    progress.add_anchor(SourceAnchor { offset: progress.start + to_offset(offset), hash });
    if let Some(log) = &mut progress.log {
        *log = fingerprinter.hash_chained(*log, Some(&hash.to_le_bytes()), None);
    }
}

/// Reads a file from its beginning to the byte `end` for its progress; for a gate with the
/// hash of all of it.
pub(super) fn read_progress(
    reader: &mut LineReader,
    gate: bool,
    end: u64,
    fingerprinter: &Fingerprinter,
) -> Result<SourceProgress, FileError> {
    reader.set_fingerprinter(*fingerprinter);
    let mut progress = SourceProgress { log: gate.then_some(0), ..SourceProgress::default() };
    loop {
        match reader.next_line(end)? {
            NextLine::End => break,
            NextLine::Line { offset, .. } | NextLine::TooLong { offset, .. } => {
                add_line_to_progress(&mut progress, offset, reader, fingerprinter);
            }
        }
    }
    progress.next = to_offset(end);
    Ok(progress)
}

/// Returns whether the anchors are still where they were.
pub(super) fn has_anchors(
    reader: &mut LineReader,
    progress: &SourceProgress,
    fingerprinter: &Fingerprinter,
) -> Result<bool, FileError> {
    reader.set_fingerprinter(*fingerprinter);
    reader.open()?;
    for anchor in progress.anchors.iter().rev() {
        let Ok(offset) = u64::try_from(anchor.offset - progress.start) else {
            continue;
        };
        let found = reader.line_at(offset, consumed_bytes(progress))?;
        if found == NextLine::End || reader.last_hash() != anchor.hash {
            return Ok(false);
        }
    }
    Ok(true)
}
