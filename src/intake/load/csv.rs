//! Reads `[csv]`: how files with rows are written.

use encoding_rs::{Encoding, UTF_8};

use super::super::csv::CsvFiles;
use super::super::envelope::Envelope;
use super::super::topic::TopicPattern;
use crate::config::document::{TomlTable, describe_type};

const FILES: &str = "file names with their topics, as { \"loans*.csv\" = \"loans\" }";
const DELIMITER: &str = "the one character between two values, as \",\", \";\" or \"\\t\"";
const ENCODING: &str = "the encoding of the files, as \"utf-8\" or \"windows-1252\"";

pub(super) fn read_csv_files(table: &TomlTable<'_>, envelope: Envelope) -> Option<CsvFiles> {
    let inner = table.table("csv", FILES)?;
    if envelope != Envelope::Row {
        let found = "`csv` beside another envelope than `row`";
        inner.report_mistake(inner.line(), found, "a row of a file has nothing around it");
    }
    let delimiter = inner.string("delimiter", DELIMITER);
    let delimiter = delimiter.map_or(Some(b','), |at| match *at.value.as_bytes() {
        [byte] if byte != b'"' && !byte.is_ascii_alphanumeric() => Some(byte),
        _ => {
            let found = format!("`delimiter` is \"{}\"", at.value);
            inner.report_mistake(at.line, found, DELIMITER);
            None
        }
    });
    let encoding = inner.string("encoding", ENCODING);
    let encoding = encoding.map_or(Some(UTF_8), |at| {
        let found = Encoding::for_label(at.value.as_bytes());
        if found.is_none() {
            let text = format!("unknown encoding \"{}\"", at.value);
            inner.report_mistake(at.line, text, ENCODING);
        }
        found
    });
    inner.require_key("files", FILES, None);
    let topics = inner.table("files", FILES).map(|files| read_topics(&files));
    inner.finish();
    Some(CsvFiles { delimiter: delimiter?, encoding: encoding?, topics: topics? })
}

fn read_topics(files: &TomlTable<'_>) -> Vec<(TopicPattern, String)> {
    let mut topics = Vec::new();
    for (name, value) in files.entries() {
        let topic = value.get_ref().as_str();
        if topic.is_none() {
            let found = format!("`{}` is {}", name.value, describe_type(value.get_ref()));
            files.report_mistake(name.line, found, "the name of a topic");
        }
        let pattern = TopicPattern::parse(&name.value);
        if pattern.is_none() {
            let found = format!("the file name `{}`", name.value);
            let expected = "letters, digits, dots, underscores, hyphens and stars, and no folder";
            files.report_mistake(name.line, found, expected);
        }
        topics.extend(pattern.zip(topic.map(str::to_owned)));
    }
    topics
}
