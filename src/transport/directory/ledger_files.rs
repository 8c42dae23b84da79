//! The files of the ledger: blocks by year, and the register that they point to.
//!
//! A line is a block or an entry of the register, byte for byte, and nothing else. They are
//! committed like the rows of a state, and never compacted.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::committed::DirectoryCommit;
use super::layout::{Layout, file_length};
use super::{read_committed, to_fault};
use crate::ledger::keys::utc_year;
use crate::message::Fault;
use crate::transport::file::FileError;

/// The folder below `.zeef`, with what separates it from a file's name.
const FOLDER_PREFIX: &str = "ledger/";
const REGISTER: &str = "policy";

/// Returns the name of the blocks' file at a time in milliseconds.
pub(super) fn blocks_file_name(now_ms: i64) -> String {
    format!("{FOLDER_PREFIX}{}", utc_year(now_ms.div_euclid(1_000)))
}

/// Returns the year of a file of blocks; `None` for any other file.
pub(super) fn blocks_file_year(name: &str) -> Option<i16> {
    name.strip_prefix(FOLDER_PREFIX)?.parse().ok()
}

pub(super) fn register_file_name() -> String {
    format!("{FOLDER_PREFIX}{REGISTER}")
}

/// Whether a file of zeef's own, by its name below `.zeef`, is of the ledger.
pub(super) fn is_ledger_file(name: &str) -> bool {
    name.starts_with(FOLDER_PREFIX)
}

/// Which files of the ledger to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerPart {
    Blocks,
    Register,
}

/// Takes a line with its file and its number.
pub type TakeLedgerLine<'a> = dyn FnMut((&str, u64), &[u8]) + 'a;

/// A file of the ledger that is longer or shorter than zeef left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerFileDifference {
    pub file: String,
    /// In bytes.
    pub length: u64,
    pub committed_length: u64,
}

/// Up to where the files of a part of the ledger were read, by their names.
#[derive(Clone, Debug, Default)]
pub struct LedgerPosition(BTreeMap<String, FilePosition>);

/// Up to where a file was read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FilePosition {
    bytes: u64,
    lines: u64,
}

/// Hands out the committed lines of a part of the ledger below `root`, each with its file and
/// its number from 1; the directory may be in use meanwhile. Returns the files that are not as
/// long as they should be.
///
/// # Errors
///
/// [`Fault::Stop`] if a file cannot be read.
pub fn read_ledger(
    root: &Path,
    part: LedgerPart,
    take: &mut TakeLedgerLine<'_>,
) -> Result<Vec<LedgerFileDifference>, Fault> {
    read_ledger_from(root, part, &mut LedgerPosition::default(), take)
}

/// The same behind a position, which it moves.
///
/// # Errors
///
/// As [`read_ledger`], and [`Fault::Stop`] if a file is shorter than what was read of it.
pub fn read_ledger_from(
    root: &Path,
    part: LedgerPart,
    position: &mut LedgerPosition,
    take: &mut TakeLedgerLine<'_>,
) -> Result<Vec<LedgerFileDifference>, Fault> {
    let layout = Layout::new(root, false);
    // Read first: what a run adds meanwhile lies behind it.
    let committed = read_committed(&layout)?;
    let names = file_names(&layout, &committed, part).map_err(to_fault)?;
    let mut differences = Vec::new();
    for name in names {
        let committed_length = committed.state.get(&name).map_or(0, |file| file.length);
        let path = layout.written_path(&name, true);
        let file = layout.display_path(&path);
        let from = position.0.entry(name).or_default();
        if committed_length < from.bytes {
            return Err(Fault::stop(format!(
                "{file} is shorter than what was read of it: start this command again"
            )));
        }
        let range = (from, committed_length);
        read_lines_from(&path, range, &mut |number, line| take((&file, number), line))
            .map_err(to_fault)?;
        let length = file_length(&path).map_err(to_fault)?;
        let is_grown = read_committed(&layout)?.commit != committed.commit;
        if length < committed_length || (length > committed_length && !is_grown) {
            differences.push(LedgerFileDifference { file, length, committed_length });
        }
    }
    Ok(differences)
}

/// The names of the committed files and of others that lie beside them, by year.
fn file_names(
    layout: &Layout,
    committed: &DirectoryCommit,
    part: LedgerPart,
) -> Result<Vec<String>, FileError> {
    let on_disk = layout.list_files(true)?.into_iter().map(|(name, _)| name);
    let mut names: Vec<String> = committed.state.keys().cloned().chain(on_disk).collect();
    let register = register_file_name();
    names.retain(|name| {
        is_ledger_file(name) && (*name == register) == (part == LedgerPart::Register)
    });
    names.sort();
    names.dedup();
    Ok(names)
}

pub(super) fn read_lines(
    path: &Path,
    length: u64,
    take: &mut dyn FnMut(u64, &[u8]),
) -> Result<(), FileError> {
    read_lines_from(path, (&mut FilePosition::default(), length), take)
}

/// Hands out the lines between a position and a length, and moves the position behind each.
fn read_lines_from(
    path: &Path,
    (position, length): (&mut FilePosition, u64),
    take: &mut dyn FnMut(u64, &[u8]),
) -> Result<(), FileError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(FileError::wrap("open", path)(error)),
    };
    file.seek(SeekFrom::Start(position.bytes)).map_err(FileError::wrap("read", path))?;
    let rest = file.take(length.saturating_sub(position.bytes));
    let mut reader = BufReader::with_capacity(1 << 20, rest);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).map_err(FileError::wrap("read", path))?;
        if read == 0 {
            return Ok(());
        }
        position.bytes += read as u64;
        position.lines += 1;
        take(position.lines, line.strip_suffix(b"\n").unwrap_or(&line));
    }
}
