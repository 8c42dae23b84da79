//! The steps by which a commit reaches the disk, one system call each.
//!
//! A trait, so that a test can die between any two of them.

use std::fs;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use crate::transport::file::{
    FileError, FileMode, NamedFile, ensure_folder, open_file, sync_folder,
};

/// Everything that changes the disk; each method is one step.
pub(super) trait Disk: Send {
    /// Opens an empty file, replacing what was there.
    fn create(&mut self, path: &Path, mode: FileMode) -> Result<NamedFile, FileError> {
        open_file(path, mode, true)
    }

    /// Opens a file as it is, or creates an empty one.
    fn open(&mut self, path: &Path, mode: FileMode) -> Result<NamedFile, FileError> {
        open_file(path, mode, false)
    }

    /// Creates a missing folder.
    fn ensure_folder(&mut self, path: &Path, mode: FileMode) -> Result<(), FileError> {
        ensure_folder(path, mode)
    }

    /// Writes `bytes` at `offset`, over what may be there.
    fn write_at(
        &mut self,
        file: &mut NamedFile,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), FileError> {
        file.file
            .seek(SeekFrom::Start(offset))
            .and_then(|_| file.file.write_all(bytes))
            .map_err(FileError::wrap("write", &file.path))
    }

    fn set_length(&mut self, file: &NamedFile, length: u64) -> Result<(), FileError> {
        let done = file.file.set_len(length);
        done.map_err(FileError::wrap("cut", &file.path))
    }

    fn sync(&mut self, file: &NamedFile) -> Result<(), FileError> {
        let done = file.file.sync_all();
        done.map_err(FileError::wrap("sync", &file.path))
    }

    fn sync_folder(&mut self, path: &Path) -> Result<(), FileError> {
        sync_folder(path)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), FileError> {
        fs::rename(from, to).map_err(FileError::wrap("rename", from))
    }

    /// Removes a file, if it exists.
    fn remove(&mut self, path: &Path) -> Result<(), FileError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(FileError::wrap("remove", path)(error))
            }
            _ => Ok(()),
        }
    }
}

#[derive(Debug)]
pub(super) struct RealDisk;

impl Disk for RealDisk {}
