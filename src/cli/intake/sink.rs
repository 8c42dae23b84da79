//! Where canonical records go: lines on stdout, or files of a directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::cli::screen::StdoutLines;
use crate::intake::{CanonicalRecord, Intake};
use crate::json::write;
use crate::policy::catalogue::RecordKind;
use crate::transport::file::{FileError, FileMode, create_folder_all, open_file};

pub(super) enum RecordSink {
    /// Lines that say their source, as `zeef project` reads them.
    Stdout { out: StdoutLines, line: Vec<u8> },
    /// A file for each kind, as the directory transport reads them.
    Directory { files: BTreeMap<String, SourceFile>, line: Vec<u8> },
}

pub(super) struct SourceFile {
    path: PathBuf,
    out: BufWriter<File>,
}

impl RecordSink {
    pub(super) fn stdout() -> RecordSink {
        RecordSink::Stdout { out: StdoutLines::stdout(), line: Vec::new() }
    }

    /// Opens a file for each kind of the mapping, to append to it.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub(super) fn directory(
        directory: &Path,
        intake: &Intake,
        kinds: &[RecordKind],
    ) -> anyhow::Result<RecordSink> {
        let names: Vec<&str> = intake.kinds().collect();
        RecordSink::folder(&directory.join("in"), &names, kinds, false)
    }

    /// Opens a file for each kind of the mapping in the directory's snapshot, anew.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub(super) fn snapshot(
        directory: &Path,
        intake: &Intake,
        kinds: &[RecordKind],
    ) -> anyhow::Result<RecordSink> {
        let names: Vec<&str> = intake.kinds().collect();
        RecordSink::folder(&directory.join("snapshot"), &names, kinds, true)
    }

    /// Opens a file for each of the named kinds in a folder: anew, or to append to it.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub(super) fn folder(
        folder: &Path,
        names: &[&str],
        kinds: &[RecordKind],
        is_new: bool,
    ) -> anyhow::Result<RecordSink> {
        create_folder_all(folder, FileMode::for_folder(false))?;
        let mut files = BTreeMap::new();
        for &name in names {
            let Some(kind) = kinds.iter().find(|kind| kind.name == name) else {
                continue;
            };
            let path = folder.join(format!("{}.ndjson", kind.topic));
            let mut file = open_file(&path, FileMode::for_file(false), is_new)?.file;
            file.seek(SeekFrom::End(0)).map_err(FileError::wrap("write", &path))?;
            files.insert(name.to_owned(), SourceFile { path, out: BufWriter::new(file) });
        }
        Ok(RecordSink::Directory { files, line: Vec::new() })
    }

    /// The files that are written.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        match self {
            RecordSink::Stdout { .. } => Vec::new(),
            RecordSink::Directory { files, .. } => {
                files.values().map(|file| file.path.clone()).collect()
            }
        }
    }

    /// # Errors
    ///
    /// Stdout or the file cannot be written.
    pub(super) fn write(&mut self, record: &CanonicalRecord) -> anyhow::Result<()> {
        match self {
            RecordSink::Stdout { out, line } => {
                line.clear();
                line.extend_from_slice(b"{\"source\":");
                write::string(line, &record.kind);
                line.push(b',');
                push_message(line, record);
                out.write_all(line)?;
            }
            RecordSink::Directory { files, line } => {
                line.clear();
                line.push(b'{');
                push_message(line, record);
                if let Some(SourceFile { path, out }) = files.get_mut(record.kind.as_ref()) {
                    out.write_all(line).map_err(FileError::wrap("write", path))?;
                }
            }
        }
        Ok(())
    }

    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        match self {
            RecordSink::Stdout { out, .. } => out.flush()?,
            RecordSink::Directory { files, .. } => {
                for SourceFile { path, out } in files.values_mut() {
                    let written = out.flush().and_then(|()| out.get_ref().sync_all());
                    written.map_err(FileError::wrap("write", path))?;
                }
            }
        }
        Ok(())
    }
}

/// Appends `"key":...,"value":...}` and a line end.
fn push_message(line: &mut Vec<u8>, record: &CanonicalRecord) {
    line.extend_from_slice(b"\"key\":");
    write::string(line, &record.key);
    line.extend_from_slice(b",\"value\":");
    line.extend_from_slice(record.value.as_deref().unwrap_or(b"null"));
    line.extend_from_slice(b"}\n");
}
