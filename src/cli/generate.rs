//! `zeef generate`: records of a library that does not exist.
//!
//! Decides what goes where; the records themselves are made in the room
//! `sample`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use crate::json::write;
use crate::policy::Loaded;
use crate::sample::{Library, Settings, Source};
use crate::transport::file::{self, Mode, create_folders, open_file};
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::publish::{PublishError, Publisher};

use super::arguments::GenerateArguments;
use super::config;
use super::exit::{Exit, Failure};
use super::kafka;
use super::screen::{self, Tone};
use super::table::grouped;

/// Where generated messages go.
pub(super) trait Sink {
    /// Takes one message; a value of `None` is a null.
    fn put(
        &mut self,
        source: &'static str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> anyhow::Result<()>;

    /// Makes sure that everything arrived; says where, for people.
    fn finish(&mut self) -> anyhow::Result<String>;
}

pub(super) fn run(arguments: &GenerateArguments) -> anyhow::Result<Exit> {
    let library = Library::new(Settings::new(
        arguments.seed,
        arguments.patrons,
        arguments.today.unwrap_or_else(today),
    ));
    let Some(brokers) = arguments.brokers.as_deref() else {
        return generate(arguments, &library, sink(arguments)?.as_mut());
    };
    let loaded = config::load(&arguments.config)?;
    kafka::Connection::new(&loaded, &arguments.config, Some(brokers)).with(|settings| {
        let mut sink = KafkaSink::open(&loaded, settings)?;
        generate(arguments, &library, &mut sink)
    })
}

fn generate(
    arguments: &GenerateArguments,
    library: &Library,
    sink: &mut dyn Sink,
) -> anyhow::Result<Exit> {
    let count = fill(library, arguments.poison, sink)?;
    let place = sink.finish()?;
    let people = grouped(arguments.patrons);
    let text = format!(
        "{} records of {people} invented patrons {place}",
        grouped(count)
    );
    screen::note(Tone::Plain, &text);
    Ok(Exit::Fine)
}

/// The day that it is here.
pub(super) fn today() -> jiff::civil::Date {
    jiff::Zoned::now().date()
}

/// The sink that the command line asks for, where that is not Kafka.
fn sink(arguments: &GenerateArguments) -> anyhow::Result<Box<dyn Sink>> {
    Ok(match &arguments.directory {
        Some(directory) => {
            let existing = match (arguments.append, arguments.force) {
                (true, _) => Existing::Append,
                (_, true) => Existing::Replace,
                _ => Existing::Refuse,
            };
            Box::new(DirectorySink::open(directory, existing)?)
        }
        None => Box::new(LineSink {
            out: screen::Lines::stdout(),
            line: Vec::new(),
        }),
    })
}

/// Puts all messages of a library into a sink; says how many there were.
///
/// # Errors
///
/// Those of the sink.
pub(super) fn fill(
    library: &Library,
    poison: bool,
    sink: &mut (impl Sink + ?Sized),
) -> anyhow::Result<u64> {
    let bar = progress(library.messages_about());
    let mut count = 0;
    for message in library.messages() {
        let value = message.value.as_deref().map(str::as_bytes);
        sink.put(message.source, Some(message.key.as_bytes()), value)?;
        count += 1;
        bar.set_position(count);
    }
    if poison {
        for message in library.poison() {
            sink.put(
                message.source,
                message.key.as_deref(),
                message.value.as_deref(),
            )?;
            count += 1;
        }
    }
    bar.finish_and_clear();
    Ok(count)
}

/// A bar on stderr, where that is a terminal.
fn progress(about: u64) -> ProgressBar {
    let bar = ProgressBar::new(about);
    let template = "{bar:40} {human_pos} records, {per_sec}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// What becomes of files that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Refuse,
    Append,
    Replace,
}

/// Files `DIR/in/SOURCE.ndjson`, as the directory transport reads them: for this
/// user alone, and never through a link.
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
    /// A file is there that may not be touched, or cannot be written.
    pub(super) fn open(directory: &Path, existing: Existing) -> anyhow::Result<DirectorySink> {
        let folder = directory.join("in");
        let path = |source: &Source| folder.join(format!("{}.ndjson", source.as_str()));
        let taken = Source::ALL.iter().map(path).find(|path| path.exists());
        if let Some(taken) = taken.filter(|_| existing == Existing::Refuse) {
            let text = format!(
                "{} is there already: add to what is there with --append, or replace it with --force",
                taken.display()
            );
            return Err(Failure::Usage(text).into());
        }
        create_folders(&folder, Mode::folder(false))?;
        let mut files = BTreeMap::new();
        for source in Source::ALL {
            let path = path(source);
            let mut file = open_file(&path, Mode::file(false), existing == Existing::Replace)?.file;
            let end = file.seek(SeekFrom::End(0));
            end.map_err(file::Failure::to("write", &path))?;
            files.insert(source.as_str(), (path, BufWriter::new(file)));
        }
        Ok(DirectorySink {
            folder,
            files,
            line: Vec::new(),
        })
    }
}

impl Sink for DirectorySink {
    fn put(
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
        Ok(written.map_err(file::Failure::to("write", path))?)
    }

    fn finish(&mut self) -> anyhow::Result<String> {
        for (path, out) in self.files.values_mut() {
            let written = out.flush().and_then(|()| out.get_ref().sync_all());
            written.map_err(file::Failure::to("write", path))?;
        }
        Ok(format!("in {}", self.folder.display()))
    }
}

/// The topics of the sources, by the names that the config gives them.
struct KafkaSink {
    publisher: Publisher,
    topics: BTreeMap<&'static str, String>,
    brokers: String,
    /// Poison that is too large for Kafka itself.
    left_out: u64,
}

impl KafkaSink {
    /// Connects; every source that the config knows must have its topic.
    fn open(loaded: &Loaded, settings: KafkaSettings) -> anyhow::Result<KafkaSink> {
        let brokers = settings.brokers.clone();
        let sources = Source::ALL.iter().map(|source| source.as_str());
        let topics: BTreeMap<&'static str, String> = sources
            .filter_map(|name| {
                let kinds = &loaded.policy.kinds;
                let kind = kinds.iter().find(|kind| kind.name == name)?;
                Some((name, kind.topic.clone()))
            })
            .collect();
        let names = topics.values().map(String::as_str).collect();
        Ok(KafkaSink {
            publisher: Publisher::open(settings, &names)?,
            topics,
            brokers,
            left_out: 0,
        })
    }
}

impl Sink for KafkaSink {
    fn put(
        &mut self,
        source: &'static str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> anyhow::Result<()> {
        let topic = self.topics.get(source);
        let topic = topic.with_context(|| format!("the config has no kind `{source}`"))?;
        match self.publisher.send(topic, key, value) {
            Err(PublishError::TooLarge) => self.left_out += 1,
            sent => sent?,
        }
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<String> {
        self.publisher.finish()?;
        Ok(match self.left_out {
            0 => format!("on {}", self.brokers),
            more => format!(
                "on {}, but for {more} that Kafka takes from no producer: too large",
                self.brokers
            ),
        })
    }
}

/// Lines `{"source":...,"key":...,"value":...}`, as `zeef project` reads them.
struct LineSink {
    out: screen::Lines,
    line: Vec<u8>,
}

impl Sink for LineSink {
    fn put(
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

/// Appends `"key":...,"value":...}` and a line end; a key that is no text
/// stands there as it is, and makes the line one that cannot be read.
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
