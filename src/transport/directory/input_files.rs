//! Whether each source has its file, and each file among the inputs is a source.

use std::collections::BTreeSet;

use super::layout::{self, Layout};
use super::store::Store;
use super::to_fault;
use crate::config::nearest_spelling;
use crate::message::Fault;
use crate::transport::file::is_folder;

/// What stands behind a source in the name of its file.
pub const SOURCE_FILE_SUFFIX: &str = ".ndjson";

/// The files among the inputs, and the sources that should be there.
pub struct InputFiles<'a> {
    pub files: &'a [String],
    /// Those of all kinds of records.
    pub topics: &'a [&'a str],
    /// Those that some run has read.
    pub read: &'a BTreeSet<String>,
}

impl InputFiles<'_> {
    #[must_use]
    pub fn has_file(&self, topic: &str) -> bool {
        self.files.iter().any(|file| file.strip_suffix(SOURCE_FILE_SUFFIX) == Some(topic))
    }

    /// Describes each file that is missing or is no source. `new` are the sources that no run has
    /// read, and that have no file.
    #[must_use]
    pub fn mistakes(&self, new: &[&str]) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut strays = Vec::new();
        for file in self.files {
            match file.strip_suffix(SOURCE_FILE_SUFFIX) {
                // A lane still knows records of a kind that the config no longer has.
                Some(topic) if self.topics.contains(&topic) || self.read.contains(topic) => {}
                Some(topic) => mistakes.push(unknown_file_text(("in", file), topic, self.topics)),
                None => strays.push(file.as_str()),
            }
        }
        for topic in self.read.iter().filter(|topic| !self.has_file(topic)) {
            mistakes.push(format!(
                "in/{topic}{SOURCE_FILE_SUFFIX} is missing, and a run has read it: put it back as it was"
            ));
        }
        for stray in strays {
            let stem = stray.split('.').next().unwrap_or(stray);
            if let Some(topic) = nearest_topic(stem, new) {
                mistakes.push(format!(
                    "in/{stray} is no source: did you mean in/{topic}{SOURCE_FILE_SUFFIX}?"
                ));
            }
        }
        mistakes
    }
}

/// Describes a file of a folder that is no source.
#[must_use]
pub fn unknown_file_text((folder, file): (&str, &str), topic: &str, topics: &[&str]) -> String {
    match nearest_topic(topic, topics) {
        Some(meant) => {
            format!(
                "{folder}/{file} is no source: did you mean {folder}/{meant}{SOURCE_FILE_SUFFIX}?"
            )
        }
        None => format!(
            "{folder}/{file} is no source: expected one of {}, each with {SOURCE_FILE_SUFFIX} behind it; move away what \
             zeef is not to read",
            topics.join(", ")
        ),
    }
}

/// Returns the topic that a mistyped one is near to, ignoring case.
fn nearest_topic<'a>(word: &str, topics: &[&'a str]) -> Option<&'a str> {
    nearest_spelling(word, topics.iter().copied())
}

/// Lists the input files by name, without hidden ones.
pub(super) fn list_input_files(layout: &Layout) -> Result<Vec<String>, Fault> {
    let found = layout::list_folder(&layout.input_folder).map_err(to_fault)?;
    let mut names = Vec::new();
    for (name, path) in found {
        if !name.starts_with('.') && !is_folder(&path).map_err(to_fault)? {
            names.push(name);
        }
    }
    Ok(names)
}

impl Store {
    /// Stops for a file among the inputs that a start would refuse: its lines do not count.
    ///
    /// # Errors
    ///
    /// [`Fault::Stop`] with each file that is missing or is no source.
    pub(super) fn require_input_files(&self) -> Result<(), Fault> {
        let Some(configured) = &self.settings.configured_topics else {
            return Ok(());
        };
        let topics = configured.gates.keys().chain(&configured.others);
        let mut topics: Vec<&str> = topics.map(String::as_str).collect();
        topics.sort_unstable();
        let lanes = self.committed.lanes.values();
        let read: BTreeSet<String> = lanes.flat_map(|lane| lane.keys().cloned()).collect();
        let files = list_input_files(&self.layout)?;
        let inputs = InputFiles { files: &files, topics: &topics, read: &read };
        match inputs.mistakes(&[]) {
            mistakes if mistakes.is_empty() => Ok(()),
            mistakes => Err(Fault::stop(mistakes.join("\n"))),
        }
    }
}
