//! Files that are a chain, of the audit and of the checkpoints: each line is made from the one
//! before it. One with timestamps lies beside the checkpoints, and is appended to in the same way.
//!
//! A run may have the directory meanwhile, so each file has a lock of its own.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::layout::{Layout, file_length};
use super::ledger_files::{TakeLedgerLine, read_lines};
use super::to_fault;
use crate::message::Fault;
use crate::transport::MakeNext;
use crate::transport::file::{FileError, FileMode, ensure_folder, open_file, sync_folder};

/// How many bytes before the end to look through for the last line first, and how many times more
/// then.
const FIRST_TAIL_BYTES: u64 = 1 << 16;
const TAIL_FACTOR: u64 = 16;

/// A file that is a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ChainFile {
    Audit,
    Checkpoints,
    /// Of checkpoints; a line is not made from the one before it.
    Timestamps,
}

impl ChainFile {
    fn path(self, layout: &Layout) -> PathBuf {
        let name: &str = self.into();
        let folder: &str = match self {
            ChainFile::Timestamps => ChainFile::Checkpoints.into(),
            ChainFile::Audit | ChainFile::Checkpoints => name,
        };
        layout.internal_folder.join(folder).join(format!("{name}.ndjson"))
    }
}

/// Appends one line, which `make` makes from the last one, if it makes any. What an interrupted
/// attempt left behind the last whole line is removed.
///
/// # Errors
///
/// [`Fault::Stop`] or [`Fault::Io`] if the disk refuses.
pub fn append_to_chain_file(
    root: &Path,
    file: ChainFile,
    make: &mut MakeNext<'_>,
) -> Result<(), Fault> {
    append(&Layout::new(root, false), file, make).map_err(to_fault)
}

fn append(layout: &Layout, file: ChainFile, make: &mut MakeNext<'_>) -> Result<(), FileError> {
    let path = file.path(layout);
    let folder = path.parent().unwrap_or(&path);
    ensure_folder(&layout.internal_folder, layout.folder_mode(true))?;
    ensure_folder(folder, FileMode::for_folder(false))?;
    let mut file = open_file(&path, FileMode::for_file(false), false)?.file;
    file.lock().map_err(FileError::wrap("lock", &path))?;
    let (end, last) = read_last_line(&mut file).map_err(FileError::wrap("read", &path))?;
    let Some(mut line) = make(last.as_deref()) else {
        return Ok(());
    };
    line.push(b'\n');
    let written = file
        .set_len(end)
        .and_then(|()| file.seek(SeekFrom::Start(end)))
        .and_then(|_| file.write_all(&line))
        .and_then(|()| file.sync_all());
    written.map_err(FileError::wrap("write", &path))?;
    sync_folder(folder)
}

/// Returns where the last whole line ends, and that line.
fn read_last_line(file: &mut File) -> std::io::Result<(u64, Option<Vec<u8>>)> {
    let length = file.metadata()?.len();
    let mut tail_bytes = FIRST_TAIL_BYTES;
    loop {
        let start = length.saturating_sub(tail_bytes);
        file.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        let end = tail.iter().rposition(|byte| *byte == b'\n');
        let before = end.and_then(|end| tail[..end].iter().rposition(|byte| *byte == b'\n'));
        match (end, before) {
            (Some(end), Some(before)) => {
                return Ok((start + end as u64 + 1, Some(tail[before + 1..end].to_vec())));
            }
            (Some(end), None) if start == 0 => {
                return Ok((end as u64 + 1, Some(tail[..end].to_vec())));
            }
            (None, _) if start == 0 => return Ok((0, None)),
            _ => tail_bytes = tail_bytes.saturating_mul(TAIL_FACTOR),
        }
    }
}

/// Hands out the lines of a chain below `root`, each with its file and its number from 1.
///
/// # Errors
///
/// [`Fault::Stop`] or [`Fault::Io`] if the file cannot be read.
pub fn read_chain_file(
    root: &Path,
    file: ChainFile,
    take: &mut TakeLedgerLine<'_>,
) -> Result<(), Fault> {
    let layout = Layout::new(root, false);
    let path = file.path(&layout);
    let file = layout.display_path(&path);
    let length = file_length(&path).map_err(to_fault)?;
    read_lines(&path, length, &mut |number, line| take((&file, number), line)).map_err(to_fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append_one(root: &Path, text: &str) -> Option<Vec<u8>> {
        let mut before = None;
        append_to_chain_file(root, ChainFile::Audit, &mut |last| {
            before = last.map(<[u8]>::to_vec);
            Some(text.as_bytes().to_vec())
        })
        .unwrap();
        before
    }

    #[test]
    fn audit_line_follows_the_last_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert_eq!(append_one(root, "first"), None);
        assert_eq!(append_one(root, "second").as_deref(), Some(&b"first"[..]));
        let path = root.join(".zeef/audit/audit.ndjson");
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(b"thi");
        std::fs::write(&path, text).unwrap();
        assert_eq!(append_one(root, "third").as_deref(), Some(&b"second"[..]));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first\nsecond\nthird\n");
        let mut lines = Vec::new();
        read_chain_file(root, ChainFile::Audit, &mut |(file, number), line| {
            lines.push(format!("{file} {number} {}", String::from_utf8_lossy(line)));
        })
        .unwrap();
        assert_eq!(lines[2], ".zeef/audit/audit.ndjson 3 third");
        let long = "x".repeat(3 << 16);
        append_one(root, &long);
        assert_eq!(append_one(root, "last"), Some(long.into_bytes()));
    }

    /// Writers of several processes never lose or mix a line.
    #[test]
    fn audit_file_takes_lines_of_several_writers_whole() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                scope.spawn(move || {
                    for number in 0..20 {
                        append_to_chain_file(root, ChainFile::Audit, &mut |last| {
                            let count = last.map_or(0, |last| {
                                let text = String::from_utf8_lossy(last);
                                text.split(' ').next().unwrap().parse::<u32>().unwrap()
                            });
                            Some(format!("{} {writer} {number}", count + 1).into_bytes())
                        })
                        .unwrap();
                    }
                });
            }
        });
        let text = std::fs::read_to_string(root.join(".zeef/audit/audit.ndjson")).unwrap();
        for (number, line) in (1..).zip(text.lines()) {
            assert_eq!(line.split(' ').next(), Some(&*format!("{number}")), "{line}");
        }
        assert_eq!(text.lines().count(), 80);
    }
}
