//! The steps by which a commit reaches the disk, one system call each.
//!
//! They stand behind a trait so that a test can die between any two of them.
//! Nothing here knows what is written.

use std::fs;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use crate::transport::file::{Failure, Mode, OpenFile, make_folder, open_file, sync_folder};

/// Everything that changes the disk; each method is one step.
pub(super) trait Disk: Send {
    /// Opens an empty file, whatever stood there.
    fn create(&mut self, path: &Path, mode: Mode) -> Result<OpenFile, Failure> {
        open_file(path, mode, true)
    }

    /// Opens a file as it is, or an empty one.
    fn open(&mut self, path: &Path, mode: Mode) -> Result<OpenFile, Failure> {
        open_file(path, mode, false)
    }

    /// Makes a folder, where it is missing.
    fn make_folder(&mut self, path: &Path, mode: Mode) -> Result<(), Failure> {
        make_folder(path, mode)
    }

    /// Writes `bytes` at `offset`, over what may stand there.
    fn write(&mut self, file: &mut OpenFile, offset: u64, bytes: &[u8]) -> Result<(), Failure> {
        file.file
            .seek(SeekFrom::Start(offset))
            .and_then(|_| file.file.write_all(bytes))
            .map_err(Failure::to("write", &file.path))
    }

    fn set_length(&mut self, file: &OpenFile, length: u64) -> Result<(), Failure> {
        let done = file.file.set_len(length);
        done.map_err(Failure::to("cut", &file.path))
    }

    fn sync(&mut self, file: &OpenFile) -> Result<(), Failure> {
        let done = file.file.sync_all();
        done.map_err(Failure::to("sync", &file.path))
    }

    fn sync_folder(&mut self, path: &Path) -> Result<(), Failure> {
        sync_folder(path)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), Failure> {
        fs::rename(from, to).map_err(Failure::to("rename", from))
    }

    /// Removes a file; one that is not there is removed already.
    fn remove(&mut self, path: &Path) -> Result<(), Failure> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Failure::to("remove", path)(error))
            }
            _ => Ok(()),
        }
    }
}

/// The machine's own disk.
#[derive(Debug)]
pub(super) struct RealDisk;

impl Disk for RealDisk {}
