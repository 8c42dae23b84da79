//! `zeef generate`: records of a library that does not exist.
//!
//! Decides where they go; the room `sample` generates them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use crate::config::LoadedConfig;
use crate::daemon::topics::plan_topics;
use crate::json::write;
use crate::sample::{SampleLibrary, SampleSettings, SampleSource};
use crate::transport::file::{self, FileMode, create_folder_all, open_file};
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::publish::{PublishError, Publisher};

use super::arguments::GenerateArguments;
use super::config;
use super::exit::{CliFailure, Exit};
use super::kafka;
use super::screen::{self, NoteKind};
use super::table::format_thousands;

/// Where generated messages go.
pub(super) trait MessageSink {
    /// Writes one message; a value of `None` is a null.
    fn write_message(
        &mut self,
        source: &'static str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> anyhow::Result<()>;

    /// Makes sure that everything arrived. Returns where, for people.
    fn finish(&mut self) -> anyhow::Result<String>;
}

pub(super) fn run(arguments: &GenerateArguments) -> anyhow::Result<Exit> {
    let library = SampleLibrary::new(SampleSettings::new(
        arguments.seed,
        arguments.patrons,
        arguments.today.unwrap_or_else(today),
    ));
    let Some(brokers) = arguments.brokers.as_deref() else {
        return generate_records(arguments, &library, open_sink(arguments)?.as_mut());
    };
    let loaded = config::load(&arguments.config)?;
    kafka::KafkaConnection::new(&loaded, &arguments.config, Some(brokers)).with_settings(
        |settings| {
            let mut sink = KafkaSink::open(&loaded, settings)?;
            generate_records(arguments, &library, &mut sink)
        },
    )
}

fn generate_records(
    arguments: &GenerateArguments,
    library: &SampleLibrary,
    sink: &mut dyn MessageSink,
) -> anyhow::Result<Exit> {
    let count = write_library(library, arguments.poison, sink)?;
    let place = sink.finish()?;
    let people = format_thousands(arguments.patrons);
    let text = format!("{} records of {people} invented patrons {place}", format_thousands(count));
    screen::print_note(NoteKind::Plain, &text);
    Ok(Exit::Success)
}

/// Returns today's local date.
pub(super) fn today() -> jiff::civil::Date {
    jiff::Zoned::now().date()
}

/// Opens the sink of the command line, if that is not Kafka.
fn open_sink(arguments: &GenerateArguments) -> anyhow::Result<Box<dyn MessageSink>> {
    Ok(match &arguments.directory {
        Some(directory) => {
            let existing = match (arguments.append, arguments.force) {
                (true, _) => ExistingFiles::Append,
                (_, true) => ExistingFiles::Replace,
                _ => ExistingFiles::Refuse,
            };
            Box::new(DirectorySink::open(directory, existing)?)
        }
        None => Box::new(StdoutSink { out: screen::StdoutLines::stdout(), line: Vec::new() }),
    })
}

/// Writes all messages of a library to a sink. Returns how many.
///
/// # Errors
///
/// Those of the sink.
pub(super) fn write_library(
    library: &SampleLibrary,
    with_invalid: bool,
    sink: &mut (impl MessageSink + ?Sized),
) -> anyhow::Result<u64> {
    let bar = progress_bar(library.approximate_message_count());
    let mut count = 0;
    for message in library.messages() {
        let value = message.value.as_deref().map(str::as_bytes);
        let key = message.key.as_deref().map(str::as_bytes);
        sink.write_message(message.source, key, value)?;
        count += 1;
        bar.set_position(count);
    }
    if with_invalid {
        for message in library.invalid_records() {
            sink.write_message(message.source, message.key.as_deref(), message.value.as_deref())?;
            count += 1;
        }
    }
    bar.finish_and_clear();
    Ok(count)
}

/// Returns a bar on stderr, if that is a terminal.
fn progress_bar(estimated_total: u64) -> ProgressBar {
    let bar = ProgressBar::new(estimated_total);
    let template = "{bar:40} {human_pos} records, {per_sec}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// What to do with existing files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExistingFiles {
    Refuse,
    Append,
    Replace,
}

/// Files `DIR/in/SOURCE.ndjson` for the directory transport: for this user alone, and never
/// through a link.
pub(super) struct DirectorySink {
    folder: PathBuf,
    files: BTreeMap<&'static str, (PathBuf, BufWriter<File>)>,
    line: Vec<u8>,
}

impl DirectorySink {
    /// Opens a file for every source.
    ///
    /// # Errors
    ///
    /// A file exists that must not be touched, or cannot be written.
    pub(super) fn open(directory: &Path, existing: ExistingFiles) -> anyhow::Result<DirectorySink> {
        let folder = directory.join("in");
        let path = |source: &SampleSource| folder.join(format!("{}.ndjson", source.as_str()));
        for taken in SampleSource::ALL.iter().map(path) {
            if existing == ExistingFiles::Refuse && file::is_there(&taken)? {
                let text = format!(
                    "{} exists already: append to it with --append, or replace it with --force",
                    taken.display()
                );
                return Err(CliFailure::Usage(text).into());
            }
        }
        create_folder_all(&folder, FileMode::for_folder(false))?;
        let mut files = BTreeMap::new();
        for source in SampleSource::ALL {
            let path = path(source);
            let mut file =
                open_file(&path, FileMode::for_file(false), existing == ExistingFiles::Replace)?
                    .file;
            let end = file.seek(SeekFrom::End(0));
            end.map_err(file::FileError::wrap("write", &path))?;
            files.insert(source.as_str(), (path, BufWriter::new(file)));
        }
        Ok(DirectorySink { folder, files, line: Vec::new() })
    }
}

impl MessageSink for DirectorySink {
    fn write_message(
        &mut self,
        source: &'static str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> anyhow::Result<()> {
        self.line.clear();
        self.line.push(b'{');
        push_message(&mut self.line, key, value);
        let file = self.files.get_mut(source);
        let (path, out) = file.with_context(|| format!("there is no file for {source}"))?;
        let written = out.write_all(&self.line);
        Ok(written.map_err(file::FileError::wrap("write", path))?)
    }

    fn finish(&mut self) -> anyhow::Result<String> {
        for (path, out) in self.files.values_mut() {
            let written = out.flush().and_then(|()| out.get_ref().sync_all());
            written.map_err(file::FileError::wrap("write", path))?;
        }
        Ok(format!("in {}", self.folder.display()))
    }
}

/// The topics of the sources on Kafka.
struct KafkaSink {
    publisher: Publisher,
    topics: BTreeMap<&'static str, String>,
    brokers: String,
    /// Invalid records that are too large for Kafka itself.
    too_large_count: u64,
    /// Records of kinds that no enabled recipient reads: there is no topic for them.
    unread_count: u64,
}

impl KafkaSink {
    /// Connects; every source that the config reads must have its topic.
    fn open(loaded: &LoadedConfig, settings: KafkaSettings) -> anyhow::Result<KafkaSink> {
        let brokers = settings.brokers.clone();
        let planned = plan_topics(loaded);
        let is_planned = |topic: &str| planned.iter().any(|one| one.name == topic);
        let sources = SampleSource::ALL.iter().map(|source| source.as_str());
        let topics: BTreeMap<&'static str, String> = sources
            .filter_map(|name| {
                let kind = loaded.policy.record_kind(name)?;
                is_planned(&kind.topic).then(|| (name, kind.topic.clone()))
            })
            .collect();
        let names = topics.values().map(String::as_str).collect();
        Ok(KafkaSink {
            publisher: Publisher::open(settings, &names)?,
            topics,
            brokers,
            too_large_count: 0,
            unread_count: 0,
        })
    }
}

impl MessageSink for KafkaSink {
    fn write_message(
        &mut self,
        source: &'static str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> anyhow::Result<()> {
        let Some(topic) = self.topics.get(source) else {
            self.unread_count += 1;
            return Ok(());
        };
        match self.publisher.send(topic, key, value) {
            Err(PublishError::TooLarge) => self.too_large_count += 1,
            sent => sent?,
        }
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<String> {
        self.publisher.flush()?;
        let mut left_out = Vec::new();
        if self.too_large_count > 0 {
            let count = self.too_large_count;
            left_out.push(format!("{count} that Kafka takes from no producer: too large"));
        }
        if self.unread_count > 0 {
            left_out.push(format!("{} of kinds that no recipient reads", self.unread_count));
        }
        Ok(match left_out.is_empty() {
            true => format!("on {}", self.brokers),
            false => format!("on {}, but for {}", self.brokers, left_out.join(", and ")),
        })
    }
}

/// Lines `{"source":...,"key":...,"value":...}` for `zeef project`.
struct StdoutSink {
    out: screen::StdoutLines,
    line: Vec<u8>,
}

impl MessageSink for StdoutSink {
    fn write_message(
        &mut self,
        source: &'static str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> anyhow::Result<()> {
        self.line.clear();
        self.line.extend_from_slice(b"{\"source\":");
        write::string(&mut self.line, source);
        self.line.push(b',');
        push_message(&mut self.line, key, value);
        Ok(self.out.write_all(&self.line)?)
    }

    fn finish(&mut self) -> anyhow::Result<String> {
        self.out.flush()?;
        Ok("on stdout".to_owned())
    }
}

/// Appends `"key":...,"value":...}` and a line end. A key that is no text is written as it
/// is, which makes the line unreadable.
fn push_message(line: &mut Vec<u8>, key: Option<&[u8]>, value: Option<&[u8]>) {
    line.extend_from_slice(b"\"key\":");
    match key.map(std::str::from_utf8) {
        Some(Ok(key)) => write::string(line, key),
        Some(Err(_)) => {
            line.push(b'"');
            line.extend_from_slice(key.unwrap_or_default());
            line.push(b'"');
        }
        None => line.extend_from_slice(b"null"),
    }
    line.extend_from_slice(b",\"value\":");
    line.extend_from_slice(value.unwrap_or(b"null"));
    line.extend_from_slice(b"}\n");
}
