//! A directory in place of Kafka: how commands open it, and what must lie in it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;

use super::config;
use super::exit::Failure;
use super::key;
use crate::daemon::run::{LaneRun, directory_settings};
use crate::policy::pseudonym::{KeyRing, STATE_KEY};
use crate::policy::{Loaded, Policy};
use crate::transport::directory::{Directory, DirectorySettings};

/// How the names of sources end.
const LINES: &str = ".ndjson";

/// Returns the settings of a directory for a command that decides nothing: it
/// needs the state's key alone.
///
/// # Errors
///
/// A wrong config, or no key of the state.
pub(super) fn settings(root: &Path, config: &Path) -> anyhow::Result<DirectorySettings> {
    let loaded = config::load(config)?;
    let keys = key::load(&loaded.daemon.keys, [STATE_KEY])?;
    with_keys(root, &loaded, &keys)
}

/// Returns the settings of a directory for a run.
///
/// # Errors
///
/// No key of the state.
pub(super) fn with_keys(
    root: &Path,
    loaded: &Loaded,
    keys: &KeyRing,
) -> anyhow::Result<DirectorySettings> {
    let settings = directory_settings(root, loaded, keys);
    Ok(settings.ok_or_else(|| Failure::Config("there is no key of the state".to_owned()))?)
}

/// Opens a directory.
///
/// # Errors
///
/// A folder that is not there; else see [`Directory::open`].
pub(super) fn open(settings: DirectorySettings) -> anyhow::Result<Directory> {
    check_folder(&settings.root, "")?;
    check_folder(
        &settings.root.join("in"),
        ": expected it to hold one SOURCE.ndjson for each source",
    )?;
    let root = settings.root.display().to_string();
    Directory::open(settings).with_context(|| format!("failed to open {root}"))
}

/// Refuses a path that is no folder.
fn check_folder(path: &Path, expected: &str) -> anyhow::Result<()> {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Failure::Config(format!("{shown} is no folder{expected}")).into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Failure::Config(format!("there is no folder {shown}{expected}")).into())
        }
        Err(error) => Err(error).with_context(|| format!("failed to look at {shown}")),
    }
}

/// Opens a directory at a time of day, in milliseconds since 1970.
///
/// # Errors
///
/// See [`Directory::open_at`].
pub(super) fn open_at(settings: DirectorySettings, now_ms: i64) -> anyhow::Result<Directory> {
    let root = settings.root.display().to_string();
    Directory::open_at(settings, now_ms).with_context(|| format!("failed to open {root}"))
}

/// Makes sure that each source of `lanes` has its file, and that no file is one
/// that nobody reads. Returns the sources whose files are to be made.
///
/// # Errors
///
/// [`Failure::Config`] with every file that is missing or is no source: what
/// stands in a misspelt file would count for nothing.
pub(super) fn check_sources(
    directory: &Directory,
    policy: &Policy,
    lanes: &[LaneRun],
) -> anyhow::Result<Vec<String>> {
    let files = directory.inputs()?;
    let topics: Vec<&str> = policy
        .kinds
        .iter()
        .map(|kind| kind.topic.as_str())
        .collect();
    let plans = lanes.iter().flat_map(|lane| &lane.plan.sources);
    let wanted: BTreeSet<String> = plans.map(|source| source.topic.clone()).collect();
    let mut read = directory.sources_read();
    if read.is_empty() && directory.has_written() {
        // Nobody knows any more what was read.
        read.clone_from(&wanted);
    }
    let mut mistakes = Vec::new();
    let mut strays = Vec::new();
    for file in &files {
        match file.strip_suffix(LINES) {
            // Of a kind that the config no longer has, a lane still knows records.
            Some(topic) if topics.contains(&topic) || read.contains(topic) => {}
            Some(topic) => mistakes.push(unknown(file, topic, &topics)),
            None => strays.push(file.as_str()),
        }
    }
    let there = |topic: &str| {
        files
            .iter()
            .any(|file| file.strip_suffix(LINES) == Some(topic))
    };
    for topic in read.iter().filter(|topic| !there(topic)) {
        mistakes.push(format!(
            "in/{topic}{LINES} is missing, and a run has read it: put it back as it was"
        ));
    }
    let new: Vec<&str> = wanted
        .iter()
        .map(String::as_str)
        .filter(|topic| !there(topic) && !read.contains(*topic))
        .collect();
    for stray in strays {
        let stem = stray.split('.').next().unwrap_or(stray);
        if let Some(topic) = near(stem, &new) {
            mistakes.push(format!(
                "in/{stray} is no source: did you mean in/{topic}{LINES}?"
            ));
        }
    }
    if !mistakes.is_empty() {
        return Err(Failure::Config(mistakes.join("\n")).into());
    }
    Ok(new.into_iter().map(str::to_owned).collect())
}

fn unknown(file: &str, topic: &str, topics: &[&str]) -> String {
    match near(topic, topics) {
        Some(meant) => format!("in/{file} is no source: did you mean in/{meant}{LINES}?"),
        None => format!(
            "in/{file} is no source: expected one of {}, each with {LINES} behind it; move away what \
             zeef is not to read",
            topics.join(", ")
        ),
    }
}

/// The topic that is meant by a mistyped one, in any case of letters.
fn near<'a>(word: &str, topics: &[&'a str]) -> Option<&'a str> {
    config::near(&word.to_lowercase(), topics.iter().copied())
}
