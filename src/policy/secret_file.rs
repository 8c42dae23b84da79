//! Files that hold a secret: a key, a password of Kafka.
//!
//! Who may write to such a file, or put another one in its place, chooses the secret:
//! that is refused. Who else may read it is only told of, as some platforms mount
//! secrets so. Nothing here shows what stands in a file.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Write permission of others than the owner.
const OTHERS_WRITE: u32 = 0o022;
/// Read permission of others than the owner.
const OTHERS_READ: u32 = 0o044;
/// In such a folder nobody replaces another user's file.
const STICKY: u32 = 0o1000;

/// Reads a file.
///
/// # Errors
///
/// It cannot be read, or others than its owner may write to it or to its folder; the
/// text says what ends that.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    refuse_writable(&file.metadata()?, path)?;
    for folder in folders(path)? {
        let metadata = fs::metadata(&folder)?;
        if mode(&metadata) & STICKY == 0 {
            refuse_writable(&metadata, &folder)?;
        }
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns what is to be told of a file that others than its owner may read.
pub(super) fn note(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let is_open = mode(&metadata) & OTHERS_READ != 0;
    is_open.then(|| {
        let path = path.display();
        format!("{path}: others than its owner may read this secret; `chmod 600 {path}` ends that")
    })
}

/// Refuses to put a secret into a folder whose files others may replace.
///
/// # Errors
///
/// Others than its owner may write to the folder.
pub(crate) fn check_folder(folder: &Path) -> io::Result<()> {
    let metadata = fs::metadata(folder)?;
    match mode(&metadata) & STICKY {
        0 => refuse_writable(&metadata, folder),
        _ => Ok(()),
    }
}

/// The folder that a file's name stands in, and that in which the file itself lies,
/// where the name is a link.
fn folders(path: &Path) -> io::Result<Vec<PathBuf>> {
    let named = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let real = fs::canonicalize(path)?;
    let real = real.parent().map(Path::to_owned);
    Ok([Some(named), real].into_iter().flatten().collect())
}

fn refuse_writable(metadata: &Metadata, path: &Path) -> io::Result<()> {
    if mode(metadata) & OTHERS_WRITE == 0 {
        return Ok(());
    }
    let path = path.display();
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!(
            "others than its owner may write to {path}, and so choose the secret; `chmod go-w \
             {path}` ends that"
        ),
    ))
}

fn mode(metadata: &Metadata) -> u32 {
    metadata.permissions().mode()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::symlink;

    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// Whoever may write to file or folder, nothing else decides.
    #[test]
    fn a_secret_that_others_may_write_is_refused_and_one_they_may_read_is_noted() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("keys");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("secret");
        fs::write(&path, "x").unwrap();
        for of_folder in [0o700, 0o750, 0o755, 0o770, 0o702, 0o777, 0o1777] {
            for of_file in [0o400, 0o600, 0o640, 0o604, 0o644, 0o660, 0o602, 0o666] {
                set(&folder, of_folder);
                set(&path, of_file);
                let replaced = of_folder & 0o022 != 0 && of_folder & 0o1000 == 0;
                let refused = replaced || of_file & 0o022 != 0;
                let read = read(&path);
                assert_eq!(read.is_err(), refused, "{of_folder:o} {of_file:o}");
                if let Err(error) = read {
                    let named = if of_file & 0o022 != 0 { &path } else { &folder };
                    let advice = format!("`chmod go-w {}`", named.display());
                    assert!(error.to_string().contains(&advice), "{error}");
                }
                assert_eq!(note(&path).is_some(), of_file & 0o044 != 0, "{of_file:o}");
                assert_eq!(check_folder(&folder).is_err(), replaced, "{of_folder:o}");
            }
        }
    }

    #[test]
    fn a_link_is_judged_by_where_it_leads() {
        let root = tempfile::tempdir().unwrap();
        let [open, closed] = ["open", "closed"].map(|name| root.path().join(name));
        for folder in [&open, &closed] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("secret"), "x").unwrap();
            set(&folder.join("secret"), 0o600);
        }
        symlink(open.join("secret"), closed.join("link")).unwrap();
        symlink(closed.join("secret"), open.join("link")).unwrap();
        set(&closed, 0o700);
        set(&open, 0o777);
        assert!(read(&closed.join("secret")).is_ok());
        assert!(read(&closed.join("link")).is_err());
        assert!(read(&open.join("link")).is_err());
    }
}
