//! A directory instead of Kafka: how commands open it, and what must lie in it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;

use super::config;
use super::exit::CliFailure;
use super::key_lookup;
use crate::config::LoadedConfig;
use crate::config::keyring::{KeyRing, STATE_KEY_NAME};
use crate::daemon::run::{LaneSetup, directory_settings};
use crate::policy::Policy;
use crate::transport::directory::{Directory, DirectorySettings, InputFiles, SOURCE_FILE_SUFFIX};

/// Returns the directory settings of a command that decides nothing and needs only the
/// state's key.
///
/// # Errors
///
/// A wrong config, or no key of the state.
pub(super) fn settings_with_state_key(
    root: &Path,
    config: &Path,
) -> anyhow::Result<DirectorySettings> {
    let loaded = config::load(config)?;
    let keys = key_lookup::load_keys(&loaded.daemon.keys, [STATE_KEY_NAME])?;
    settings_with_keys(root, &loaded, &keys)
}

/// Returns the directory settings of a run.
///
/// # Errors
///
/// No key of the state.
pub(super) fn settings_with_keys(
    root: &Path,
    loaded: &LoadedConfig,
    keys: &KeyRing,
) -> anyhow::Result<DirectorySettings> {
    let settings = directory_settings(root, loaded, keys);
    Ok(settings.ok_or_else(|| CliFailure::Config("the key of the state is missing".to_owned()))?)
}

/// Opens a directory.
///
/// # Errors
///
/// The folder does not exist; otherwise see [`Directory::open`].
pub(super) fn open_directory(settings: DirectorySettings) -> anyhow::Result<Directory> {
    require_directory(&settings.root)?;
    let root = settings.root.display().to_string();
    Directory::open(settings).with_context(|| format!("failed to open {root}"))
}

/// Checks that a directory and its folder of inputs are there.
///
/// # Errors
///
/// [`CliFailure::Config`] if one is not there; another error if the system refuses to look.
pub(super) fn require_directory(root: &Path) -> anyhow::Result<()> {
    require_folder(root, "")?;
    require_folder(&root.join("in"), ": expected it to hold one SOURCE.ndjson for each source")
}

/// As [`require_directory`], for any folder; `expected` follows the text.
pub(super) fn require_folder(path: &Path, expected: &str) -> anyhow::Result<()> {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(CliFailure::Config(format!("{shown} is no folder{expected}")).into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(CliFailure::Config(format!("there is no folder {shown}{expected}")).into())
        }
        Err(error) => Err(error).with_context(|| format!("failed to look at {shown}")),
    }
}

/// Opens a directory at a given time in Unix milliseconds.
///
/// # Errors
///
/// See [`Directory::open_at`].
pub(super) fn open_directory_at(
    settings: DirectorySettings,
    now_ms: i64,
) -> anyhow::Result<Directory> {
    let root = settings.root.display().to_string();
    Directory::open_at(settings, now_ms).with_context(|| format!("failed to open {root}"))
}

/// Checks that each source of `lanes` has its file, and that no file is unread. Returns the
/// sources whose files are to be created.
///
/// # Errors
///
/// [`CliFailure::Config`] with every file that is missing or is no source: the lines of a
/// misspelt file would not count.
pub(super) fn check_source_files(
    directory: &Directory,
    policy: &Policy,
    lanes: &[LaneSetup],
) -> anyhow::Result<Vec<String>> {
    let files = directory.list_inputs()?;
    let topics: Vec<&str> = policy.record_kinds.iter().map(|kind| kind.topic.as_str()).collect();
    let plans = lanes.iter().flat_map(|lane| &lane.plan.sources);
    let wanted: BTreeSet<String> = plans.map(|source| source.topic.clone()).collect();
    let mut read = directory.sources_read();
    if read.is_empty() && directory.has_committed_files() {
        // What was read is no longer known.
        read.clone_from(&wanted);
    }
    let inputs = InputFiles { files: &files, topics: &topics, read: &read };
    let new: Vec<&str> = wanted
        .iter()
        .map(String::as_str)
        .filter(|topic| !inputs.has_file(topic) && !read.contains(*topic))
        .collect();
    let mistakes = inputs.mistakes(&new);
    if !mistakes.is_empty() {
        return Err(CliFailure::Config(mistakes.join("\n")).into());
    }
    for topic in read.iter().filter(|topic| !topics.contains(&topic.as_str())) {
        tracing::warn!("no kind of record is read from in/{topic}{SOURCE_FILE_SUFFIX} any more");
    }
    Ok(new.into_iter().map(str::to_owned).collect())
}
