//! The steps by which a commit reaches the disk, one system call each.
//!
//! They stand behind a trait so that a test can die between any two of them.
//! Nothing here knows what is written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A step that failed: what was tried, on which file.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} {}: {source}", path.display())]
pub(super) struct Failure {
    pub(super) action: &'static str,
    pub(super) path: PathBuf,
    pub(super) source: io::Error,
}

impl Failure {
    /// Makes the closure that adds action and path to an error.
    pub(super) fn to(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self {
            action,
            path,
            source,
        }
    }
}

/// A file open for writing, with its name for messages.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) file: File,
    pub(super) path: PathBuf,
}

impl OpenFile {
    /// The length of the file in bytes.
    pub(super) fn length(&self) -> Result<u64, Failure> {
        let metadata = self.file.metadata();
        let metadata = metadata.map_err(Failure::to("look at", &self.path))?;
        Ok(metadata.len())
    }
}

/// Everything that changes the disk; each method is one step.
pub(super) trait Disk: Send {
    /// Opens an empty file, whatever stood there.
    fn create(&mut self, path: &Path) -> Result<OpenFile, Failure> {
        let file = File::create(path).map_err(Failure::to("create", path))?;
        Ok(OpenFile {
            file,
            path: path.to_owned(),
        })
    }

    /// Opens a file as it is, or an empty one.
    fn open(&mut self, path: &Path) -> Result<OpenFile, Failure> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path).map_err(Failure::to("open", path))?;
        Ok(OpenFile {
            file,
            path: path.to_owned(),
        })
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
        let done = File::open(path).and_then(|folder| folder.sync_all());
        done.map_err(Failure::to("sync", path))
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
