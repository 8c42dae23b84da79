//! Secrets: keys and passwords in files or environment variables.
//!
//! Whoever may write to a secret file, or replace it, chooses the secret: that is refused. Read
//! access of others only gives a warning, as some platforms mount secrets so. Never shows a secret.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::document::TomlTable;
use crate::policy::name::{ENVIRONMENT_VARIABLE, Secret};

/// Write permission of group and others.
const OTHERS_WRITE_MODE: u32 = 0o022;
/// Read permission of group and others.
const OTHERS_READ_MODE: u32 = 0o044;
/// Any permission to list a folder or to put files into it, of group and others.
const OTHERS_FOLDER_MODE: u32 = OTHERS_READ_MODE | OTHERS_WRITE_MODE;
/// Write permission of those who are not of the group either.
const ANYBODY_WRITE_MODE: u32 = 0o002;
/// Nobody can replace another user's file in such a folder.
const STICKY_BIT: u32 = 0o1000;

/// Where a secret lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    Environment(String),
    File(PathBuf),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::Environment(name) => write!(f, "environment variable {name}"),
            SecretSource::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

/// Why a secret cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("environment variable {0} is not set")]
    NotSet(String),
    #[error("environment variable {0} is no UTF-8 text")]
    NotUtf8(String),
    #[error("file {path} cannot be read: {reason}", path = .0.display(), reason = .1)]
    Unreadable(PathBuf, std::io::Error),
    #[error("{0} is empty")]
    Empty(SecretSource),
}

impl SecretSource {
    /// Reads the secret, without a trailing newline.
    ///
    /// # Errors
    ///
    /// It is not there, cannot be read, is empty, or is a file that others may write.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let mut bytes = match self {
            SecretSource::Environment(name) => read_environment(name)?,
            SecretSource::File(path) => {
                read_secret(path).map_err(|error| SecretError::Unreadable(path.clone(), error))?
            }
        };
        while bytes.last().is_some_and(|last| b"\r\n".contains(last)) {
            bytes.pop();
        }
        if bytes.is_empty() {
            return Err(SecretError::Empty(self.clone()));
        }
        Ok(Secret::new(bytes))
    }

    /// Returns a warning if the secret is a file that others may read.
    #[must_use]
    pub fn permission_warning(&self) -> Option<String> {
        match self {
            SecretSource::Environment(_) => None,
            SecretSource::File(path) => permission_warning(path),
        }
    }
}

fn read_environment(name: &str) -> Result<Vec<u8>, SecretError> {
    match std::env::var(name) {
        Ok(text) => Ok(text.into_bytes()),
        Err(std::env::VarError::NotPresent) => Err(SecretError::NotSet(name.to_owned())),
        Err(std::env::VarError::NotUnicode(_)) => Err(SecretError::NotUtf8(name.to_owned())),
    }
}

pub(crate) const EXPECTED_SECRET_SOURCE: &str = "{ env = \"NAME\" } or { file = \"PATH\" }";

/// Reads `{ env = "NAME" }` or `{ file = "PATH" }`, the path relative to the config folder.
pub(super) fn read_secret_source(
    table: &TomlTable<'_>,
    name: &str,
    folder: &Path,
) -> Option<SecretSource> {
    let environment = read_environment_name(table);
    let file = table.string("file", "the path of a file that holds the secret");
    let both = table.contains_key("env") && table.contains_key("file");
    let neither = !table.contains_key("env") && !table.contains_key("file");
    table.finish();
    if both || neither {
        let count = if both { "both `env` and `file`" } else { "neither `env` nor `file`" };
        table.report_mistake(table.line(), format!("{count} for `{name}`"), EXPECTED_SECRET_SOURCE);
        return None;
    }
    environment
        .map(SecretSource::Environment)
        .or_else(|| file.map(|path| SecretSource::File(folder.join(path.value))))
}

/// Never quotes the value: it may be the secret itself.
fn read_environment_name(table: &TomlTable<'_>) -> Option<String> {
    let name = table.string("env", ENVIRONMENT_VARIABLE.description)?;
    if (ENVIRONMENT_VARIABLE.is_valid)(&name.value) {
        return Some(name.value);
    }
    table.report_mistake(name.line, "`env` names no variable", ENVIRONMENT_VARIABLE.description);
    None
}

/// Reads a secret file.
///
/// # Errors
///
/// It cannot be read, or others than its owner may write to it or its folder; the text names the
/// remedy.
pub(crate) fn read_secret(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    refuse_if_writable_by_others(&file.metadata()?, path)?;
    for folder in containing_folders(path)? {
        let metadata = fs::metadata(&folder)?;
        if permission_bits(&metadata) & STICKY_BIT == 0 {
            refuse_if_writable_by_others(&metadata, &folder)?;
        }
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns a warning if others than its owner may read a file.
pub(crate) fn permission_warning(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let is_open = permission_bits(&metadata) & OTHERS_READ_MODE != 0;
    is_open.then(|| {
        let path = path.display();
        format!("{path}: others than its owner may read this secret; `chmod 600 {path}` ends that")
    })
}

/// Returns a warning if others than its owner may list a folder of keys, or add to it.
pub(crate) fn folder_permission_warning(folder: &Path) -> Option<String> {
    let metadata = fs::metadata(folder).ok()?;
    let is_open = permission_bits(&metadata) & OTHERS_FOLDER_MODE != 0;
    is_open.then(|| {
        let folder = folder.display();
        format!(
            "{folder}: others than its owner may list this folder of keys or add to it; `chmod 700 \
             {folder}` ends that"
        )
    })
}

/// Returns a warning if anybody may write to a file or folder of the config. A sticky folder is
/// none of them: its files are judged each.
pub(crate) fn config_permission_warning(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let bits = permission_bits(&metadata);
    let is_sticky = metadata.is_dir() && bits & STICKY_BIT != 0;
    let is_open = bits & ANYBODY_WRITE_MODE != 0 && !is_sticky;
    is_open.then(|| {
        let path = path.display();
        format!(
            "{path}: anybody may write to it, and so decide what is released; `chmod o-w {path}` \
             ends that"
        )
    })
}

/// Checks that only its owner can replace the files of a folder.
///
/// # Errors
///
/// Others than its owner may write to the folder.
pub(crate) fn ensure_folder_protected(folder: &Path) -> io::Result<()> {
    let metadata = fs::metadata(folder)?;
    match permission_bits(&metadata) & STICKY_BIT {
        0 => refuse_if_writable_by_others(&metadata, folder),
        _ => Ok(()),
    }
}

/// Returns the folder of a path, and that of the file that it links to.
fn containing_folders(path: &Path) -> io::Result<Vec<PathBuf>> {
    let named = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let real = fs::canonicalize(path)?;
    let real = real.parent().map(Path::to_owned);
    Ok([Some(named), real].into_iter().flatten().collect())
}

fn refuse_if_writable_by_others(metadata: &Metadata, path: &Path) -> io::Result<()> {
    if permission_bits(metadata) & OTHERS_WRITE_MODE == 0 {
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

fn permission_bits(metadata: &Metadata) -> u32 {
    metadata.permissions().mode()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::symlink;

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// Whoever may write to file or folder, nothing else decides.
    #[test]
    fn secret_file_writable_by_others_is_refused_and_readable_is_noted() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("keys");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("secret");
        fs::write(&path, "x").unwrap();
        for of_folder in [0o700, 0o750, 0o755, 0o770, 0o702, 0o777, 0o1777] {
            for of_file in [0o400, 0o600, 0o640, 0o604, 0o644, 0o660, 0o602, 0o666] {
                set_mode(&folder, of_folder);
                set_mode(&path, of_file);
                let replaced = of_folder & 0o022 != 0 && of_folder & 0o1000 == 0;
                let refused = replaced || of_file & 0o022 != 0;
                let read = read_secret(&path);
                assert_eq!(read.is_err(), refused, "{of_folder:o} {of_file:o}");
                if let Err(error) = read {
                    let named = if of_file & 0o022 != 0 { &path } else { &folder };
                    let advice = format!("`chmod go-w {}`", named.display());
                    assert!(error.to_string().contains(&advice), "{error}");
                }
                assert_eq!(
                    permission_warning(&path).is_some(),
                    of_file & 0o044 != 0,
                    "{of_file:o}"
                );
                assert_eq!(ensure_folder_protected(&folder).is_err(), replaced, "{of_folder:o}");
                assert_eq!(
                    folder_permission_warning(&folder).is_some(),
                    of_folder & 0o066 != 0,
                    "{of_folder:o}"
                );
                let is_open = |mode: u32| mode & 0o002 != 0 && mode & 0o1000 == 0;
                for (path, mode) in [(&path, of_file), (&folder, of_folder)] {
                    let warning = config_permission_warning(path);
                    assert_eq!(warning.is_some(), is_open(mode), "{mode:o}");
                }
            }
        }
    }

    #[test]
    fn secret_file_symlink_is_judged_by_link_and_target_folder() {
        let root = tempfile::tempdir().unwrap();
        let [open, closed] = ["open", "closed"].map(|name| root.path().join(name));
        for folder in [&open, &closed] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("secret"), "x").unwrap();
            set_mode(&folder.join("secret"), 0o600);
        }
        symlink(open.join("secret"), closed.join("link")).unwrap();
        symlink(closed.join("secret"), open.join("link")).unwrap();
        set_mode(&closed, 0o700);
        set_mode(&open, 0o777);
        assert!(read_secret(&closed.join("secret")).is_ok());
        assert!(read_secret(&closed.join("link")).is_err());
        assert!(read_secret(&open.join("link")).is_err());
    }
}
