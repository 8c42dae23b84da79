//! The steps by which a commit reaches the disk, one system call each.
//!
//! They stand behind a trait so that a test can die between any two of them.
//! Nothing here knows what is written. Nothing is written through a link.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

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
            source: match source.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
                true => io::Error::other("it is a link, and nothing is written through one"),
                false => source,
            },
        }
    }
}

/// Who may use a file or folder, as in `chmod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mode(u32);

impl Mode {
    /// A file for this user alone, or for the group to read.
    pub(super) fn file(group_read: bool) -> Mode {
        Mode(if group_read { 0o640 } else { 0o600 })
    }

    /// A folder for this user alone, or for the group to read.
    pub(super) fn folder(group_read: bool) -> Mode {
        Mode(if group_read { 0o750 } else { 0o700 })
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

/// Opens a file for writing, and makes it where it is missing. A file that is
/// there gets the mode too.
///
/// # Errors
///
/// A [`Failure`], also for a link and for what is no file.
pub(super) fn open_file(path: &Path, mode: Mode, empty: bool) -> Result<OpenFile, Failure> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let options = options
        .mode(mode.0)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    let file = options.open(path).map_err(Failure::to("open", path))?;
    let metadata = file.metadata().map_err(Failure::to("look at", path))?;
    if !metadata.is_file() {
        let error = io::Error::other("it is no file");
        return Err(Failure::to("open", path)(error));
    }
    if metadata.mode() & 0o777 != mode.0 {
        let done = file.set_permissions(Permissions::from_mode(mode.0));
        done.map_err(Failure::to("set the permissions of", path))?;
    }
    if empty && metadata.len() > 0 {
        file.set_len(0).map_err(Failure::to("cut", path))?;
    }
    Ok(OpenFile {
        file,
        path: path.to_owned(),
    })
}

/// Makes a folder where it is missing. One that is there gets the mode too.
///
/// # Errors
///
/// A [`Failure`], also for a link and for what is no folder.
pub(super) fn make_folder(path: &Path, mode: Mode) -> Result<(), Failure> {
    match DirBuilder::new().mode(mode.0).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Failure::to("create", path)(error));
        }
        _ => {}
    }
    let metadata = fs::symlink_metadata(path).map_err(Failure::to("look at", path))?;
    if metadata.is_symlink() {
        let error = io::Error::other("it is a link, and nothing is written through one");
        return Err(Failure::to("use", path)(error));
    }
    if !metadata.is_dir() {
        let error = io::Error::other("it is no folder");
        return Err(Failure::to("use", path)(error));
    }
    if metadata.mode() & 0o777 != mode.0 {
        let done = fs::set_permissions(path, Permissions::from_mode(mode.0));
        done.map_err(Failure::to("set the permissions of", path))?;
    }
    Ok(())
}

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
