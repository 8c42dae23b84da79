//! The versions that an intake wrote last, in a directory: a file of `.zeef` for each intake with
//! `newer_by`.
//!
//! It is replaced as a whole in the commit that appends the records, and `raw.json` has its hash:
//! without it, or with another one, nothing is appended, as an older version would count as a new
//! one.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ONE_PARTITION;
use crate::intake::RecordVersions;
use crate::message::{Cause, Fault};
use crate::transport::file::FileError;

#[derive(Deserialize)]
struct VersionLine<'a> {
    key: &'a str,
    #[serde(borrow)]
    value: &'a RawValue,
}

/// Reads a file into `versions`; `check` is told its bytes first, or that there is none.
///
/// # Errors
///
/// Those of `check`; the file cannot be read, was written under another key, or needs more memory
/// than it may have.
pub(super) fn read_versions(
    path: &Path,
    versions: &mut RecordVersions,
    check: impl FnOnce(Option<&[u8]>) -> Result<(), Fault>,
) -> anyhow::Result<()> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(check(None)?),
        Err(error) => return Err(FileError::wrap("read", path)(error).into()),
    };
    check(Some(&bytes))?;
    let shown = path.display();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let row: VersionLine<'_> =
            serde_json::from_slice(line).map_err(|_| Fault::stop(format!("{shown} is damaged")))?;
        let value = row.value.get().as_bytes();
        let restored = versions.restore_row(ONE_PARTITION, row.key.as_bytes(), Some(value));
        restored.map_err(|error| Fault::stop(Cause::at_step(shown.to_string(), error)))?;
    }
    versions.check_memory().map_err(|full| Fault::stop(full.to_string()))?;
    Ok(())
}

/// Returns the text of a file with all versions, and its number of lines.
pub(super) fn write_versions(versions: &RecordVersions) -> (Vec<u8>, usize) {
    let mut text = Vec::new();
    let mut lines = 0;
    versions.for_each_committed(|_, key, value| {
        text.extend_from_slice(b"{\"key\":\"");
        text.extend_from_slice(key);
        text.extend_from_slice(b"\",\"value\":");
        text.extend_from_slice(value);
        text.extend_from_slice(b"}\n");
        lines += 1;
    });
    (text, lines)
}
