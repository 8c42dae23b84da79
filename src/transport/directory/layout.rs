//! The names of the files of a directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::transport::file::{Failure, Mode};

/// How the name of a file ends that is to take the place of another.
const REWRITTEN: &str = ".ndjson.new";
/// How the names of files of lines end.
const LINES: &str = "ndjson";
/// The file of commands, without its ending.
const COMMANDS: &str = "commands";

/// The names of the files.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    root: PathBuf,
    pub(super) input: PathBuf,
    pub(super) output: PathBuf,
    pub(super) own: PathBuf,
    /// The group may read outputs.
    group_read: bool,
}

impl Layout {
    pub(super) fn new(root: &Path, group_read: bool) -> Self {
        Self {
            root: root.to_owned(),
            input: root.join("in"),
            output: root.join("out"),
            own: root.join(".zeef"),
            group_read,
        }
    }

    pub(super) fn source(&self, topic: &str) -> PathBuf {
        self.input.join(format!("{topic}.{LINES}"))
    }

    /// The file of an output `OWNER/TOPIC`, or of a lane's state `TOPIC`.
    pub(super) fn written(&self, name: &str, state: bool) -> PathBuf {
        self.folder(state).join(format!("{name}.{LINES}"))
    }

    /// Where an output was before each owner had a folder.
    pub(super) fn older_output(&self, topic: &str) -> PathBuf {
        self.output.join(format!("{topic}.{LINES}"))
    }

    /// What is to take the place of such a file, in the same folder.
    pub(super) fn rewritten(&self, name: &str, state: bool) -> PathBuf {
        let (owner, topic) = match name.rsplit_once('/') {
            Some((owner, topic)) => (owner, topic),
            None => ("", name),
        };
        let folder = self.folder(state).join(owner);
        folder.join(format!(".{topic}{REWRITTEN}"))
    }

    pub(super) fn folder(&self, state: bool) -> &Path {
        if state { &self.own } else { &self.output }
    }

    pub(super) fn file_mode(&self, state: bool) -> Mode {
        Mode::file(self.group_read && !state)
    }

    pub(super) fn folder_mode(&self, state: bool) -> Mode {
        Mode::folder(self.group_read && !state)
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.own.join("lock")
    }

    pub(super) fn committed(&self) -> PathBuf {
        self.own.join("committed.json")
    }

    pub(super) fn committed_new(&self) -> PathBuf {
        self.own.join("committed.json.new")
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.own.join("journal")
    }

    pub(super) fn journal_new(&self) -> PathBuf {
        self.own.join("journal.new")
    }

    /// How far the sources went in each run.
    pub(super) fn runs(&self) -> PathBuf {
        self.own.join("runs")
    }

    /// Where acceptances of findings lie, a file for each.
    pub(super) fn accepted(&self) -> PathBuf {
        self.own.join("accepted")
    }

    /// What operators ask of lanes, a line for each.
    pub(super) fn commands(&self) -> PathBuf {
        self.own.join(format!("{COMMANDS}.{LINES}"))
    }

    /// Returns a path as it is shown: from the directory on.
    pub(super) fn shown(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        below.display().to_string()
    }

    /// Lists the files of lines in the folders of all owners, as `OWNER/TOPIC`,
    /// or of all states, as `TOPIC`; with their lengths.
    pub(super) fn files(&self, state: bool) -> Result<Vec<(String, u64)>, Failure> {
        let mut found = Vec::new();
        if state {
            lines_in(&self.own, "", &mut found)?;
            found.retain(|(name, _)| name != COMMANDS);
            return Ok(found);
        }
        for (name, path) in entries(&self.output)? {
            if path.is_dir() {
                lines_in(&path, &format!("{name}/"), &mut found)?;
            }
        }
        Ok(found)
    }

    /// Lists the outputs that lie in `out` itself, as the version before wrote
    /// them; with their lengths.
    pub(super) fn older_files(&self) -> Result<Vec<(String, u64)>, Failure> {
        let mut found = Vec::new();
        lines_in(&self.output, "", &mut found)?;
        Ok(found)
    }

    /// Lists what a compaction that broke off left.
    pub(super) fn leftovers(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut folders = vec![self.own.clone(), self.output.clone()];
        let owners = entries(&self.output)?.into_iter().map(|(_, path)| path);
        folders.extend(owners.filter(|path| path.is_dir()));
        let mut found = Vec::new();
        for folder in folders {
            let left = entries(&folder)?.into_iter();
            let left = left.filter(|(name, _)| name.starts_with('.') && name.ends_with(REWRITTEN));
            found.extend(left.map(|(_, path)| path));
        }
        Ok(found)
    }
}

/// Appends the files of lines in a folder, with `before` before their names.
fn lines_in(folder: &Path, before: &str, found: &mut Vec<(String, u64)>) -> Result<(), Failure> {
    for (name, path) in entries(folder)? {
        let topic = name
            .strip_suffix(LINES)
            .and_then(|name| name.strip_suffix('.'));
        if let Some(topic) = topic.filter(|topic| !topic.starts_with('.')) {
            found.push((format!("{before}{topic}"), length_of(&path)?));
        }
    }
    Ok(())
}

/// Lists a folder, by name; one that is not there is empty.
pub(super) fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let list = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        list => list.map_err(Failure::to("list", folder))?,
    };
    let mut found = Vec::new();
    for entry in list {
        let entry = entry.map_err(Failure::to("list", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push((name, entry.path()));
    }
    found.sort();
    Ok(found)
}

/// The length of a file in bytes; one that is not there has none.
pub(super) fn length_of(path: &Path) -> Result<u64, Failure> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Failure::to("look at", path)(error)),
    }
}
