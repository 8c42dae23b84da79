//! The shipped config, embedded in the binary so that the demo needs nothing beside it.

use std::io::Write as _;
use std::path::Path;

use include_dir::{Dir, include_dir};

use crate::transport::file::{FileError, FileMode, create_file, create_folder_all};

const SETTINGS_FILE: (&str, &[u8]) = ("zeef.toml", include_bytes!("../../../config/zeef.toml"));

/// Embedded one by one: a developer's `config/keys` must never get into a binary.
const FOLDERS: [(&str, Dir<'_>); 3] = [
    ("detectors", include_dir!("$CARGO_MANIFEST_DIR/config/detectors")),
    ("records", include_dir!("$CARGO_MANIFEST_DIR/config/records")),
    ("recipients", include_dir!("$CARGO_MANIFEST_DIR/config/recipients")),
];

/// Writes the shipped config into a folder.
///
/// # Errors
///
/// A file or folder cannot be written.
pub(super) fn write_config(folder: &Path) -> Result<(), FileError> {
    write_file(&folder.join(SETTINGS_FILE.0), SETTINGS_FILE.1)?;
    for (name, embedded) in &FOLDERS {
        for file in embedded.files() {
            write_file(&folder.join(name).join(file.path()), file.contents())?;
        }
    }
    Ok(())
}

fn write_file(path: &Path, contents: &[u8]) -> Result<(), FileError> {
    if let Some(parent) = path.parent() {
        create_folder_all(parent, FileMode::for_folder(false))?;
    }
    let mut file = create_file(path, FileMode::for_file(false))?.file;
    file.write_all(contents).map_err(FileError::wrap("write", path))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// `build.rs` has a new file noticed.
    #[test]
    fn shipped_config_has_every_file_of_the_config_folder() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
        for (name, embedded) in &FOLDERS {
            let found = fs::read_dir(root.join(name)).unwrap();
            let found: Vec<_> = found.map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(embedded.files().count(), found.len());
            assert!(found.iter().all(|file| embedded.contains(file)), "{found:?}");
        }
    }
}
