//! File names in a directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::to_fault;
use crate::message::Fault;
use crate::transport::file::{FileError, FileMode, find_metadata, is_folder};

/// Suffix of a file that is to replace another.
const REWRITTEN_SUFFIX: &str = ".ndjson.new";
const LINES_EXTENSION: &str = "ndjson";
const COMMANDS_STEM: &str = "commands";

#[derive(Clone, Debug)]
pub(super) struct Layout {
    root: PathBuf,
    pub(super) input_folder: PathBuf,
    pub(super) output_folder: PathBuf,
    pub(super) internal_folder: PathBuf,
    /// Whether the group may read outputs.
    group_read: bool,
}

impl Layout {
    /// Checks that the folder of inputs is there.
    ///
    /// # Errors
    ///
    /// [`Fault::Io`]: neither what is not there nor a missing right is a loss to stop for.
    pub(super) fn require_input_folder(&self) -> Result<(), Fault> {
        let input = &self.input_folder;
        let found = fs::metadata(input).map_err(FileError::wrap("look at", input));
        if found.map_err(to_fault)?.is_dir() {
            return Ok(());
        }
        let input = input.display();
        let expected = "expected it to hold one SOURCE.ndjson for each source";
        Err(Fault::Io(format!("{input} is no folder: {expected}").into()))
    }

    pub(super) fn new(root: &Path, group_read: bool) -> Self {
        Self {
            root: root.to_owned(),
            input_folder: root.join("in"),
            output_folder: root.join("out"),
            internal_folder: root.join(".zeef"),
            group_read,
        }
    }

    pub(super) fn source_path(&self, topic: &str) -> PathBuf {
        self.input_folder.join(format!("{topic}.{LINES_EXTENSION}"))
    }

    /// Returns the file in which a recipient acknowledges retractions.
    pub(super) fn acknowledgement_path(&self, recipient: &str) -> PathBuf {
        self.root.join("ack").join(format!("{recipient}.{LINES_EXTENSION}"))
    }

    /// Returns the file of an output `OWNER/TOPIC`, or of a lane's state `TOPIC`.
    pub(super) fn written_path(&self, name: &str, is_state: bool) -> PathBuf {
        self.folder(is_state).join(format!("{name}.{LINES_EXTENSION}"))
    }

    /// Returns the path of an output in the previous format.
    pub(super) fn previous_output_path(&self, topic: &str) -> PathBuf {
        self.output_folder.join(format!("{topic}.{LINES_EXTENSION}"))
    }

    /// Returns the path of a file that is to replace another, in the same folder.
    pub(super) fn rewritten_path(&self, name: &str, is_state: bool) -> PathBuf {
        let (owner, topic) = match name.rsplit_once('/') {
            Some((owner, topic)) => (owner, topic),
            None => ("", name),
        };
        let folder = self.folder(is_state).join(owner);
        folder.join(format!(".{topic}{REWRITTEN_SUFFIX}"))
    }

    pub(super) fn folder(&self, is_state: bool) -> &Path {
        if is_state { &self.internal_folder } else { &self.output_folder }
    }

    pub(super) fn file_mode(&self, is_state: bool) -> FileMode {
        FileMode::for_file(self.group_read && !is_state)
    }

    pub(super) fn folder_mode(&self, is_state: bool) -> FileMode {
        FileMode::for_folder(self.group_read && !is_state)
    }

    pub(super) fn lock_path(&self) -> PathBuf {
        self.internal_folder.join("lock")
    }

    pub(super) fn committed_path(&self) -> PathBuf {
        self.internal_folder.join("committed.json")
    }

    pub(super) fn committed_new_path(&self) -> PathBuf {
        self.internal_folder.join("committed.json.new")
    }

    pub(super) fn journal_path(&self) -> PathBuf {
        self.internal_folder.join("journal")
    }

    pub(super) fn journal_new_path(&self) -> PathBuf {
        self.internal_folder.join("journal.new")
    }

    pub(super) fn run_log_path(&self) -> PathBuf {
        self.internal_folder.join("runs")
    }

    pub(super) fn accepted_folder(&self) -> PathBuf {
        self.internal_folder.join("accepted")
    }

    pub(super) fn commands_path(&self) -> PathBuf {
        self.internal_folder.join(format!("{COMMANDS_STEM}.{LINES_EXTENSION}"))
    }

    /// Returns a path relative to the directory.
    pub(super) fn display_path(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        below.display().to_string()
    }

    /// Lists all outputs as `OWNER/TOPIC`, or all states as `TOPIC` and the files of the ledger,
    /// with their lengths.
    pub(super) fn list_files(&self, is_state: bool) -> Result<Vec<(String, u64)>, FileError> {
        let mut found = Vec::new();
        if is_state {
            add_line_files(&self.internal_folder, "", &mut found)?;
            add_line_files(&self.internal_folder.join("ledger"), "ledger/", &mut found)?;
            found.retain(|(name, _)| name != COMMANDS_STEM);
            return Ok(found);
        }
        for (name, path) in list_folder(&self.output_folder)? {
            if is_folder(&path)? {
                add_line_files(&path, &format!("{name}/"), &mut found)?;
            }
        }
        Ok(found)
    }

    /// Lists the outputs of the previous format with their lengths.
    pub(super) fn list_previous_outputs(&self) -> Result<Vec<(String, u64)>, FileError> {
        let mut found = Vec::new();
        add_line_files(&self.output_folder, "", &mut found)?;
        Ok(found)
    }

    /// Lists what an interrupted compaction left.
    pub(super) fn list_leftovers(&self) -> Result<Vec<PathBuf>, FileError> {
        let mut folders = vec![self.internal_folder.clone(), self.output_folder.clone()];
        for (_, path) in list_folder(&self.output_folder)? {
            if is_folder(&path)? {
                folders.push(path);
            }
        }
        let mut found = Vec::new();
        for folder in folders {
            let left = list_folder(&folder)?.into_iter();
            let left =
                left.filter(|(name, _)| name.starts_with('.') && name.ends_with(REWRITTEN_SUFFIX));
            found.extend(left.map(|(_, path)| path));
        }
        Ok(found)
    }
}

/// Appends the line files of a folder, with `prefix` before their names.
fn add_line_files(
    folder: &Path,
    name_prefix: &str,
    found: &mut Vec<(String, u64)>,
) -> Result<(), FileError> {
    for (name, path) in list_folder(folder)? {
        let topic = name.strip_suffix(LINES_EXTENSION).and_then(|name| name.strip_suffix('.'));
        if let Some(topic) = topic.filter(|topic| !topic.starts_with('.')) {
            found.push((format!("{name_prefix}{topic}"), file_length(&path)?));
        }
    }
    Ok(())
}

/// Lists a folder by name; a missing one is empty.
pub(super) fn list_folder(folder: &Path) -> Result<Vec<(String, PathBuf)>, FileError> {
    let list = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        list => list.map_err(FileError::wrap("list", folder))?,
    };
    let mut found = Vec::new();
    for entry in list {
        let entry = entry.map_err(FileError::wrap("list", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push((name, entry.path()));
    }
    found.sort();
    Ok(found)
}

/// Returns the length of a file in bytes, 0 if it does not exist.
pub(super) fn file_length(path: &Path) -> Result<u64, FileError> {
    Ok(find_metadata(path)?.map_or(0, |found| found.len()))
}
