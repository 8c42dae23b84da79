//! Files and folders that zeef writes: for its user alone, or readable by the group.
//!
//! Nothing is written through a link, and each error names its file.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

/// A failed step on a file. Its text includes the cause.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} {}: {cause}", path.display())]
pub(crate) struct FileError {
    pub(crate) action: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) cause: io::Error,
}

impl FileError {
    /// Returns a closure that adds action and path to an error.
    pub(crate) fn wrap(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self {
            action,
            path,
            cause: match source.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
                true => link_error(),
                false => source,
            },
        }
    }
}

/// Permissions, as in `chmod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileMode(u32);

impl FileMode {
    pub(crate) fn for_file(group_read: bool) -> FileMode {
        FileMode(if group_read { 0o640 } else { 0o600 })
    }

    pub(crate) fn for_folder(group_read: bool) -> FileMode {
        FileMode(if group_read { 0o750 } else { 0o700 })
    }
}

/// A file open for writing, with its path for messages.
#[derive(Debug)]
pub(crate) struct NamedFile {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
}

impl NamedFile {
    /// Returns the length in bytes.
    pub(crate) fn length(&self) -> Result<u64, FileError> {
        let metadata = self.file.metadata();
        let metadata = metadata.map_err(FileError::wrap("look at", &self.path))?;
        Ok(metadata.len())
    }
}

/// Opens a file for writing, and creates a missing one. Sets its permissions in any case.
///
/// # Errors
///
/// Also for a link, or something that is no file.
pub(crate) fn open_file(
    path: &Path,
    mode: FileMode,
    truncate: bool,
) -> Result<NamedFile, FileError> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let options = options.mode(mode.0).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    let file = options.open(path).map_err(FileError::wrap("open", path))?;
    let metadata = file.metadata().map_err(FileError::wrap("look at", path))?;
    if !metadata.is_file() {
        let error = io::Error::other("it is no file");
        return Err(FileError::wrap("open", path)(error));
    }
    if metadata.mode() & 0o777 != mode.0 {
        let done = file.set_permissions(Permissions::from_mode(mode.0));
        done.map_err(FileError::wrap("set the permissions of", path))?;
    }
    if truncate && metadata.len() > 0 {
        file.set_len(0).map_err(FileError::wrap("cut", path))?;
    }
    Ok(NamedFile { file, path: path.to_owned() })
}

/// Creates a missing folder. Sets its permissions in any case.
///
/// # Errors
///
/// Also for a link, or something that is no folder.
pub(crate) fn ensure_folder(path: &Path, mode: FileMode) -> Result<(), FileError> {
    match create_folder(path, mode) {
        Err(failure) if failure.cause.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failure);
        }
        _ => {}
    }
    let metadata = fs::symlink_metadata(path).map_err(FileError::wrap("look at", path))?;
    if metadata.is_symlink() {
        return Err(FileError::wrap("use", path)(link_error()));
    }
    if !metadata.is_dir() {
        let error = io::Error::other("it is no folder");
        return Err(FileError::wrap("use", path)(error));
    }
    if metadata.mode() & 0o777 != mode.0 {
        let done = fs::set_permissions(path, Permissions::from_mode(mode.0));
        done.map_err(FileError::wrap("set the permissions of", path))?;
    }
    Ok(())
}

/// Creates a new file.
///
/// # Errors
///
/// Also if something has the name already, even a link.
pub(crate) fn create_file(path: &Path, mode: FileMode) -> Result<NamedFile, FileError> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(mode.0);
    let file = options.open(path).map_err(FileError::wrap("create", path))?;
    Ok(NamedFile { file, path: path.to_owned() })
}

/// Writes a file whole or not at all, and puts it in the place of an existing one: the content
/// lies beside it first, under a name with `.new`.
///
/// # Errors
///
/// Also if the path is a link or no file.
pub(crate) fn replace_file(path: &Path, mode: FileMode, content: &[u8]) -> Result<(), FileError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => {
            return Err(FileError::wrap("replace", path)(link_error()));
        }
        Ok(found) if !found.is_file() => {
            let error = io::Error::other("it is no file");
            return Err(FileError::wrap("replace", path)(error));
        }
        _ => {}
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    // What an interrupted attempt left; of a link, the link itself.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(FileError::wrap("remove", &new)(error));
        }
        _ => {}
    }
    let file = create_file(&new, mode)?;
    let written = (&file.file).write_all(content).and_then(|()| file.file.sync_all());
    written.map_err(FileError::wrap("write", &new))?;
    fs::rename(&new, path).map_err(FileError::wrap("replace", path))?;
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => sync_folder(folder),
        None => sync_folder(Path::new(".")),
    }
}

/// Creates a new folder.
///
/// # Errors
///
/// Also if something has the name already.
pub(crate) fn create_folder(path: &Path, mode: FileMode) -> Result<(), FileError> {
    let made = DirBuilder::new().mode(mode.0).create(path);
    made.map_err(FileError::wrap("create", path))
}

/// Creates a folder and its missing parents. An existing one stays as it is.
///
/// # Errors
///
/// Also if the path is a link or no folder.
pub(crate) fn create_folder_all(path: &Path, mode: FileMode) -> Result<(), FileError> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
        return Err(FileError::wrap("use", path)(link_error()));
    }
    let made = DirBuilder::new().recursive(true).mode(mode.0).create(path);
    made.map_err(FileError::wrap("create", path))
}

/// Returns what lies at a path, `None` if nothing does. Follows links.
///
/// # Errors
///
/// It cannot be looked at, as without a right: that is no absence.
pub(crate) fn find_metadata(path: &Path) -> Result<Option<Metadata>, FileError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some).map_err(FileError::wrap("look at", path)),
    }
}

/// Returns whether something lies at a path.
///
/// # Errors
///
/// As [`find_metadata`].
pub(crate) fn is_there(path: &Path) -> Result<bool, FileError> {
    Ok(find_metadata(path)?.is_some())
}

/// Returns whether a folder lies at a path.
///
/// # Errors
///
/// As [`find_metadata`].
pub(crate) fn is_folder(path: &Path) -> Result<bool, FileError> {
    Ok(find_metadata(path)?.is_some_and(|found| found.is_dir()))
}

/// Returns whether a file lies at a path.
///
/// # Errors
///
/// As [`find_metadata`].
pub(crate) fn is_file(path: &Path) -> Result<bool, FileError> {
    Ok(find_metadata(path)?.is_some_and(|found| found.is_file()))
}

/// Syncs a folder, so that created, renamed and removed entries are on the disk.
pub(crate) fn sync_folder(path: &Path) -> Result<(), FileError> {
    let done = File::open(path).and_then(|folder| folder.sync_all());
    done.map_err(FileError::wrap("sync", path))
}

fn link_error() -> io::Error {
    io::Error::other("it is a link, and nothing is written through one")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode_bits(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn file_and_folder_modes_are_private_or_group_even_if_existing() {
        let root = tempfile::tempdir().unwrap();
        for (group, file, folder) in [(false, 0o600, 0o700), (true, 0o640, 0o750)] {
            let below = root.path().join(format!("{group}/a/b"));
            create_folder_all(&below, FileMode::for_folder(group)).unwrap();
            assert_eq!(mode_bits(&below), folder);
            assert_eq!(mode_bits(below.parent().unwrap()), folder);
            for before in [None, Some(0o666), Some(0o400)] {
                let [path, made] = ["file", "folder"].map(|name| below.join(name));
                if let Some(before) = before {
                    fs::set_permissions(&path, Permissions::from_mode(before | 0o200)).unwrap();
                    fs::set_permissions(&made, Permissions::from_mode(before | 0o700)).unwrap();
                }
                open_file(&path, FileMode::for_file(group), false).unwrap();
                ensure_folder(&made, FileMode::for_folder(group)).unwrap();
                assert_eq!((mode_bits(&path), mode_bits(&made)), (file, folder));
            }
            let new = below.join("new");
            create_file(&new, FileMode::for_file(group)).unwrap();
            assert_eq!(mode_bits(&new), file);
        }
    }

    #[test]
    fn replaced_file_is_whole_private_and_leaves_nothing_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        let kept = root.path().join("kept");
        fs::write(&kept, "kept").unwrap();
        for content in [&b"first, and long"[..], b"second"] {
            // What an interrupted attempt may have left, or somebody put there.
            symlink(&kept, root.path().join("file.new")).unwrap();
            replace_file(&path, FileMode::for_file(false), content).unwrap();
            assert_eq!(fs::read(&path).unwrap(), content);
            assert_eq!(mode_bits(&path), 0o600);
            assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
            fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        }
        assert_eq!(fs::read_to_string(&kept).unwrap(), "kept");
        let folder = root.path().join("folder");
        fs::create_dir(&folder).unwrap();
        replace_file(&folder, FileMode::for_file(false), b"x").unwrap_err();
        assert!(folder.is_dir());
    }

    /// Whoever runs the tests: neither below a file nor in a circle of links is anything absent.
    #[test]
    fn path_that_cannot_be_looked_at_is_an_error_that_names_it() {
        let root = tempfile::tempdir().unwrap();
        let circle = root.path().join("circle");
        symlink(&circle, &circle).unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [circle.clone(), circle.join("below"), file.join("below")] {
            for found in [is_there(&path), is_folder(&path), is_file(&path)] {
                let text = found.unwrap_err().to_string();
                assert!(text.contains(&path.display().to_string()), "{text}");
            }
        }
        let kinds = |path: &Path| [is_there, is_folder, is_file].map(|is| is(path).unwrap());
        assert_eq!(kinds(&file), [true, false, true]);
        assert_eq!(kinds(root.path()), [true, true, false]);
        assert_eq!(kinds(&root.path().join("absent")), [false, false, false]);
    }

    #[test]
    fn file_writes_refuse_links_and_errors_name_the_file() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("target");
        fs::write(&target, "kept").unwrap();
        let [file, folder, nowhere] =
            ["file", "folder", "nowhere"].map(|name| root.path().join(name));
        symlink(&target, &file).unwrap();
        symlink(root.path(), &folder).unwrap();
        symlink(root.path().join("absent"), &nowhere).unwrap();
        let private = FileMode::for_file(false);
        let failures = [
            (open_file(&file, private, true).map(drop), &file),
            (open_file(&nowhere, private, true).map(drop), &nowhere),
            (create_file(&file, private).map(drop), &file),
            (create_file(&nowhere, private).map(drop), &nowhere),
            (replace_file(&file, private, b"x"), &file),
            (replace_file(&nowhere, private, b"x"), &nowhere),
            (replace_file(&folder, private, b"x"), &folder),
            (ensure_folder(&folder, FileMode::for_folder(false)), &folder),
            (create_folder(&folder, FileMode::for_folder(false)), &folder),
            (create_folder_all(&folder, FileMode::for_folder(false)), &folder),
        ];
        for (done, path) in failures {
            let text = done.unwrap_err().to_string();
            assert!(text.contains(&path.display().to_string()), "{text}");
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
        assert!(!root.path().join("absent").exists());
    }
}
