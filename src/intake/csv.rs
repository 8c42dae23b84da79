//! How the CSV files of a library system are written, and of which topic their rows are.

use encoding_rs::Encoding;

use super::Intake;
use super::topic::TopicPattern;

/// The `[csv]` section of a mapping.
#[derive(Clone, Debug)]
pub struct CsvFiles {
    pub delimiter: u8,
    pub encoding: &'static Encoding,
    /// Names of files, in which `*` stands for any characters but a dot, each with its topic.
    pub(super) topics: Vec<(TopicPattern, String)>,
}

impl CsvFiles {
    /// Returns the topic that the rows of a file are of.
    #[must_use]
    pub fn topic_of_file(&self, file_name: &str) -> Option<&str> {
        let mut topics = self.topics.iter();
        let found = topics.find(|(pattern, _)| pattern.matches_file_name(file_name));
        found.map(|(_, topic)| topic.as_str())
    }

    /// Returns the names of files that the mapping knows.
    pub fn file_names(&self) -> impl Iterator<Item = String> {
        self.topics.iter().map(|(pattern, _)| pattern.written())
    }
}

impl Intake {
    /// How CSV files are written; `None` if the mapping reads none.
    #[must_use]
    pub fn csv_files(&self) -> Option<&CsvFiles> {
        self.csv.as_ref()
    }
}
