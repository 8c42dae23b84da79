//! Files and folders that zeef writes: for its user alone, or for the group to read.
//!
//! Nothing is written through a link, and each failure names its file.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

/// A step that failed: what was tried, on which file.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} {}: {source}", path.display())]
pub(crate) struct Failure {
    pub(crate) action: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

impl Failure {
    /// Makes the closure that adds action and path to an error.
    pub(crate) fn to(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self {
            action,
            path,
            source: match source.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
                true => a_link(),
                false => source,
            },
        }
    }
}

/// Who may use a file or folder, as in `chmod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode(u32);

impl Mode {
    /// A file for this user alone, or for the group to read.
    pub(crate) fn file(group_read: bool) -> Mode {
        Mode(if group_read { 0o640 } else { 0o600 })
    }

    /// A folder for this user alone, or for the group to read.
    pub(crate) fn folder(group_read: bool) -> Mode {
        Mode(if group_read { 0o750 } else { 0o700 })
    }
}

/// A file open for writing, with its name for messages.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
}

impl OpenFile {
    /// The length of the file in bytes.
    ///
    /// # Errors
    ///
    /// A [`Failure`] where the system does not say.
    pub(crate) fn length(&self) -> Result<u64, Failure> {
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
pub(crate) fn open_file(path: &Path, mode: Mode, empty: bool) -> Result<OpenFile, Failure> {
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
pub(crate) fn make_folder(path: &Path, mode: Mode) -> Result<(), Failure> {
    match create_folder(path, mode) {
        Err(failure) if failure.source.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failure);
        }
        _ => {}
    }
    let metadata = fs::symlink_metadata(path).map_err(Failure::to("look at", path))?;
    if metadata.is_symlink() {
        return Err(Failure::to("use", path)(a_link()));
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

/// Creates a file that is not there yet.
///
/// # Errors
///
/// A [`Failure`], also where something has the name already, a link too.
pub(crate) fn create_file(path: &Path, mode: Mode) -> Result<OpenFile, Failure> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(mode.0);
    let file = options.open(path).map_err(Failure::to("create", path))?;
    Ok(OpenFile {
        file,
        path: path.to_owned(),
    })
}

/// Creates a folder that is not there yet.
///
/// # Errors
///
/// A [`Failure`], also where something has the name already.
pub(crate) fn create_folder(path: &Path, mode: Mode) -> Result<(), Failure> {
    let made = DirBuilder::new().mode(mode.0).create(path);
    made.map_err(Failure::to("create", path))
}

/// Creates a folder, and those that it lies in, where they are missing. One that is
/// there stays as it is.
///
/// # Errors
///
/// A [`Failure`], also where the path is a link or no folder.
pub(crate) fn create_folders(path: &Path, mode: Mode) -> Result<(), Failure> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
        return Err(Failure::to("use", path)(a_link()));
    }
    let made = DirBuilder::new().recursive(true).mode(mode.0).create(path);
    made.map_err(Failure::to("create", path))
}

/// Makes sure that what was created, renamed or removed in a folder is on the disk.
///
/// # Errors
///
/// A [`Failure`].
pub(crate) fn sync_folder(path: &Path) -> Result<(), Failure> {
    let done = File::open(path).and_then(|folder| folder.sync_all());
    done.map_err(Failure::to("sync", path))
}

fn a_link() -> io::Error {
    io::Error::other("it is a link, and nothing is written through one")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn files_and_folders_are_for_their_user_or_its_group_whatever_lay_there() {
        let root = tempfile::tempdir().unwrap();
        for (group, file, folder) in [(false, 0o600, 0o700), (true, 0o640, 0o750)] {
            let below = root.path().join(format!("{group}/a/b"));
            create_folders(&below, Mode::folder(group)).unwrap();
            assert_eq!(mode_of(&below), folder);
            assert_eq!(mode_of(below.parent().unwrap()), folder);
            for before in [None, Some(0o666), Some(0o400)] {
                let [path, made] = ["file", "folder"].map(|name| below.join(name));
                if let Some(before) = before {
                    fs::set_permissions(&path, Permissions::from_mode(before | 0o200)).unwrap();
                    fs::set_permissions(&made, Permissions::from_mode(before | 0o700)).unwrap();
                }
                open_file(&path, Mode::file(group), false).unwrap();
                make_folder(&made, Mode::folder(group)).unwrap();
                assert_eq!((mode_of(&path), mode_of(&made)), (file, folder));
            }
            let new = below.join("new");
            create_file(&new, Mode::file(group)).unwrap();
            assert_eq!(mode_of(&new), file);
        }
    }

    #[test]
    fn nothing_is_written_through_a_link_and_a_failure_names_its_file() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("target");
        fs::write(&target, "kept").unwrap();
        let [file, folder, nowhere] =
            ["file", "folder", "nowhere"].map(|name| root.path().join(name));
        symlink(&target, &file).unwrap();
        symlink(root.path(), &folder).unwrap();
        symlink(root.path().join("absent"), &nowhere).unwrap();
        let private = Mode::file(false);
        let failures = [
            (open_file(&file, private, true).map(drop), &file),
            (open_file(&nowhere, private, true).map(drop), &nowhere),
            (create_file(&file, private).map(drop), &file),
            (create_file(&nowhere, private).map(drop), &nowhere),
            (make_folder(&folder, Mode::folder(false)), &folder),
            (create_folder(&folder, Mode::folder(false)), &folder),
            (create_folders(&folder, Mode::folder(false)), &folder),
        ];
        for (done, path) in failures {
            let text = done.unwrap_err().to_string();
            assert!(text.contains(&path.display().to_string()), "{text}");
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
        assert!(!root.path().join("absent").exists());
    }
}
