//! `zeef run --directory DIR --snapshot`: the files of `DIR/snapshot` are a whole export.
//!
//! Compares each with what `DIR/in` says last, and appends what is new, what changed, and what
//! is no longer there: a patron as erased, a record as gone, a consent as withdrawn. What follows is
//! an ordinary run. Nothing is appended if a file is missing or cannot be read, or if too
//! much would be taken back: half an export must not erase half a library.

pub(super) mod known_records;
pub(super) mod removal;

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, ErrorKind, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use self::known_records::{KnownRecords, LineChange, RecordIdentity, RecordLine};
use super::exit::CliFailure;
use super::screen::{self, NoteKind};
use super::table::format_thousands;
use crate::message::Fault;
use crate::policy::Policy;
use crate::policy::catalogue::{RecordKind, Role};
use crate::transport::directory::{SOURCE_FILE_SUFFIX, unknown_file_text};
use crate::transport::file::{FileError, FileMode, is_there, open_file};

/// Below this number of removed records no share of them is looked at, unless they are all.
const REMOVED_FLOOR: usize = 20;
/// From this number of records on, a source that loses all of them counts as an empty export.
const ALL_REMOVED_FLOOR: usize = 5;

const SNAPSHOT_FOLDER: &str = "snapshot";
const INPUT_FOLDER: &str = "in";

/// Appends to the sources of `root` what its snapshot says. The caller holds the directory.
///
/// # Errors
///
/// [`CliFailure::Config`] for a file that is missing or is no source; [`Fault::Stop`] if a line
/// cannot be read, or more than `max_removed_percent` of a source would be taken back.
pub(super) fn apply(root: &Path, policy: &Policy, max_removed_percent: u32) -> anyhow::Result<()> {
    check_files(root, policy)?;
    let mut kinds: Vec<&RecordKind> = policy.record_kinds.iter().collect();
    // What stops or erases is there before what it is about, should this be interrupted.
    kinds.sort_by_key(|kind| match kind.role {
        Role::Gate => 0,
        Role::Patron => 1,
        Role::Record => 2,
    });
    let mut changes = Vec::new();
    let mut missing = Vec::new();
    for kind in kinds {
        let log = SourceLog::open(&source_path(root, INPUT_FOLDER, kind))?;
        let known = KnownRecords::read(kind, &log)?;
        let snapshot = source_path(root, SNAPSHOT_FOLDER, kind);
        if is_there(&snapshot)? {
            changes.push(SourceChanges::find(kind, known, log, snapshot)?);
        } else if known.has_live_records() {
            missing.push(format!(
                "{SNAPSHOT_FOLDER}/{}{SOURCE_FILE_SUFFIX} is missing, and there were such records \
                 until now: where there are none left, put an empty file there",
                kind.topic
            ));
        }
    }
    if !missing.is_empty() {
        return Err(CliFailure::Config(missing.join("\n")).into());
    }
    let removals: Vec<SourceRemovals<'_>> = changes.iter().map(SourceChanges::removals).collect();
    refuse_large_removals(&removals, max_removed_percent)?;
    for one in &changes {
        one.append()?;
        screen::print_note(NoteKind::Plain, &one.summary());
    }
    Ok(())
}

fn source_path(root: &Path, folder: &str, kind: &RecordKind) -> PathBuf {
    root.join(folder).join(format!("{}{SOURCE_FILE_SUFFIX}", kind.topic))
}

/// Checks that every file of the snapshot is a source.
fn check_files(root: &Path, policy: &Policy) -> anyhow::Result<()> {
    let folder = root.join(SNAPSHOT_FOLDER);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let text = format!(
                "there is no folder {}: expected it to hold one SOURCE{SOURCE_FILE_SUFFIX} for \
                 each source, each a whole export",
                folder.display()
            );
            return Err(CliFailure::Config(text).into());
        }
        Err(error) => return Err(FileError::wrap("read", &folder)(error).into()),
    };
    let topics: Vec<&str> = policy.record_kinds.iter().map(|kind| kind.topic.as_str()).collect();
    let mut mistakes = Vec::new();
    for entry in entries {
        let entry = entry.map_err(FileError::wrap("read", &folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(topic) = name.strip_suffix(SOURCE_FILE_SUFFIX).filter(|_| !name.starts_with('.'))
        else {
            continue;
        };
        if !topics.contains(&topic) {
            mistakes.push(unknown_file_text((SNAPSHOT_FOLDER, &name), topic, &topics));
        }
    }
    mistakes.sort();
    match mistakes.is_empty() {
        true => Ok(()),
        false => Err(CliFailure::Config(mistakes.join("\n")).into()),
    }
}

/// How many records of a source would be taken back.
pub(super) struct SourceRemovals<'a> {
    pub(super) topic: &'a str,
    pub(super) removed: usize,
    pub(super) known: usize,
}

/// # Errors
///
/// [`Fault::Stop`] with the numbers, if more than `max_percent` of a source would be, and so many
/// records that it is no ordinary day.
pub(super) fn refuse_large_removals(
    sources: &[SourceRemovals<'_>],
    max_percent: u32,
) -> anyhow::Result<()> {
    let mut text = String::new();
    let mut largest = 0;
    for &SourceRemovals { topic, removed, known } in sources {
        let percent = (removed * 100).div_ceil(known.max(1));
        let is_large = removed > REMOVED_FLOOR || (removed == known && known >= ALL_REMOVED_FLOOR);
        if is_large && percent > max_percent as usize {
            largest = largest.max(percent);
            let (removed, known) =
                (format_thousands(removed as u64), format_thousands(known as u64));
            // Writing to a string cannot fail.
            let _ = write!(text, "\n  {topic}: {removed} of {known} are not in it ({percent} %)");
        }
    }
    match text.is_empty() {
        true => Ok(()),
        false => Err(Fault::stop(format!(
            "the snapshot would take back more than {max_percent} % of a source; nothing of it was \
             read:{text}\nhalf an export looks like that; if it is right, run once with \
             --max-removed {largest}"
        ))
        .into()),
    }
}

/// A source as it was left, up to the end of its last whole line.
struct SourceLog {
    path: PathBuf,
    whole_length: u64,
}

impl SourceLog {
    fn open(path: &Path) -> anyhow::Result<SourceLog> {
        let mut whole_length = 0;
        for_each_line(path, &mut |line, offset| {
            if line.ends_with(b"\n") {
                whole_length = offset + line.len() as u64;
            }
            Ok(())
        })?;
        Ok(SourceLog { path: path.to_owned(), whole_length })
    }

    /// Reads the whole line that begins at `offset`.
    fn read_line_at(&self, offset: u64) -> anyhow::Result<Vec<u8>> {
        let read = || {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut line = Vec::new();
            BufReader::new(file).read_until(b'\n', &mut line)?;
            Ok(line)
        };
        Ok(read().map_err(FileError::wrap("read", &self.path))?)
    }
}

/// Calls `take` with each line of a file and its offset, its end included; a file that is
/// not there has none.
fn for_each_line(
    path: &Path,
    take: &mut dyn FnMut(&[u8], u64) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(FileError::wrap("read", path)(error).into()),
    };
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut line = Vec::new();
    let mut offset = 0;
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).map_err(FileError::wrap("read", path))?;
        if read == 0 {
            return Ok(());
        }
        take(&line, offset)?;
        offset += read as u64;
    }
}

/// What a snapshot changes of one source.
struct SourceChanges<'a> {
    kind: &'a RecordKind,
    log: SourceLog,
    snapshot: PathBuf,
    /// How many records the source had.
    known_count: usize,
    new_count: usize,
    changed_count: usize,
    /// Where the lines to append begin in the snapshot.
    written: HashSet<u64>,
    /// Lines that say that a record is no longer there.
    removed: Vec<Vec<u8>>,
    /// Records that are not in the snapshot and stay all the same.
    kept_count: usize,
}

impl<'a> SourceChanges<'a> {
    fn find(
        kind: &'a RecordKind,
        mut known: KnownRecords,
        log: SourceLog,
        snapshot: PathBuf,
    ) -> anyhow::Result<SourceChanges<'a>> {
        let known_count = known.live_count();
        let mut number = 0_usize;
        let shown = format!("{SNAPSHOT_FOLDER}/{}{SOURCE_FILE_SUFFIX}", kind.topic);
        // The last line of a record counts, should it be there twice.
        let mut changes: HashMap<RecordIdentity, (u64, LineChange)> = HashMap::new();
        for_each_line(&snapshot, &mut |line, offset| {
            number += 1;
            if !line.ends_with(b"\n") {
                let text = format!("{shown} line {number} does not end: the export broke off");
                return Err(Fault::stop(text).into());
            }
            let line = without_byte_order_mark(line, offset).trim_ascii();
            if line.is_empty() {
                return Ok(());
            }
            let Some(read) = RecordLine::parse(kind, line) else {
                let text =
                    format!("{shown} line {number} is no message with a key that can be read");
                return Err(Fault::stop(text).into());
            };
            changes.insert(read.identity, (offset, known.note_in_snapshot(&read)));
            Ok(())
        })?;
        let count_of =
            |wanted: LineChange| changes.values().filter(|(_, is)| *is == wanted).count();
        let (new_count, changed_count) = (count_of(LineChange::New), count_of(LineChange::Changed));
        let is_written = |(offset, change): &(u64, LineChange)| {
            (*change != LineChange::Unchanged).then_some(*offset)
        };
        let written = changes.values().filter_map(is_written).collect();
        let mut removed = Vec::new();
        let mut kept_count = 0;
        for offset in known.unseen_offsets() {
            let line = log.read_line_at(offset)?;
            match removal::removal_line(kind, &known, &line) {
                Some(line) => removed.push(line),
                None => kept_count += 1,
            }
        }
        Ok(SourceChanges {
            kind,
            log,
            snapshot,
            known_count,
            new_count,
            changed_count,
            written,
            removed,
            kept_count,
        })
    }

    fn removals(&self) -> SourceRemovals<'_> {
        SourceRemovals {
            topic: &self.kind.topic,
            removed: self.removed.len(),
            known: self.known_count,
        }
    }

    /// Appends what changed, and syncs it.
    fn append(&self) -> anyhow::Result<()> {
        let path = &self.log.path;
        let mut opened = open_file(path, FileMode::for_file(false), false)?.file;
        let wrap = || FileError::wrap("write", path);
        // What an interrupted append left of a line was read by nobody.
        opened.set_len(self.log.whole_length).map_err(wrap())?;
        opened.seek(SeekFrom::End(0)).map_err(wrap())?;
        let mut out = BufWriter::with_capacity(1 << 16, &opened);
        for line in &self.removed {
            out.write_all(line).map_err(wrap())?;
        }
        for_each_line(&self.snapshot, &mut |line, offset| {
            if self.written.contains(&offset) {
                let line = without_byte_order_mark(line, offset).trim_ascii();
                out.write_all(line).and_then(|()| out.write_all(b"\n")).map_err(wrap())?;
            }
            Ok(())
        })?;
        out.flush().map_err(wrap())?;
        drop(out);
        opened.sync_all().map_err(wrap())?;
        Ok(())
    }

    fn summary(&self) -> String {
        let count = |number: usize| format_thousands(number as u64);
        let mut text = format!(
            "snapshot: {}: {} new, {} changed, {} no longer there",
            self.kind.topic,
            count(self.new_count),
            count(self.changed_count),
            count(self.removed.len())
        );
        if self.kept_count > 0 {
            let _ = write!(text, ", {} not in it that stay", count(self.kept_count));
        }
        text
    }
}

fn without_byte_order_mark(line: &[u8], offset: u64) -> &[u8] {
    match offset {
        0 => line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line),
        _ => line,
    }
}
