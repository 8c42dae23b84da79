//! `zeef intake convert`: raw messages in, canonical records out.
//!
//! Reads the inputs twice where the mapping has lookups: these need their last rows
//! before the first record. What is refused is shown by its line, never by its value.

mod csv_rows;
mod inspect;
pub(super) mod raw_folder;
pub(super) mod raw_follower;
mod raw_line;
mod resync;
mod sink;
mod summary;
mod version_file;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::arguments::{
    IntakeArguments, IntakeCommand, IntakeConvertArguments, IntakeResyncCommand,
};
use super::config::load;
use super::exit::{CliFailure, Exit};
use super::message_lines::{LineMessage, LineValue, MessageLines};
use super::screen::{self, NoteKind, Screen};
use crate::config::LoadedConfig;
use crate::intake::{
    self, Conversion, CsvFiles, Intake, LookupTables, RawMessage, RecordVersions, RefusedRecord,
};
use crate::policy::catalogue::RecordKind;
use crate::policy::pseudonym::HmacKey;
use crate::schemas::SchemaRegistry;
use crate::transport::file::is_file;
use raw_line::RawLine;
use sink::RecordSink;
use summary::ConversionSummary;

pub(super) fn run(arguments: &IntakeArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    match &arguments.command {
        IntakeCommand::Convert(arguments) => convert(arguments),
        IntakeCommand::Check(arguments) => inspect::check(arguments, screen),
        IntakeCommand::Columns(arguments) => inspect::columns(arguments, screen),
        IntakeCommand::Explain(arguments) => inspect::explain(arguments, screen),
        IntakeCommand::Resync(arguments) => match &arguments.command {
            IntakeResyncCommand::Begin(arguments) => resync::begin(arguments),
            IntakeResyncCommand::End(arguments) => resync::end(arguments),
        },
    }
}

/// # Errors
///
/// There is no such file, or it has mistakes.
fn load_intake(path: &Path, kinds: &[RecordKind]) -> anyhow::Result<Intake> {
    if !is_file(path)? {
        let text = format!("there is no mapping {}", path.display());
        return Err(CliFailure::Usage(text).into());
    }
    Ok(intake::load_file(path, kinds).map_err(CliFailure::Mistakes)?)
}

/// # Errors
///
/// `intake` needs schemas, and the config does not say where they are.
fn open_schemas(intake: &Intake, loaded: &LoadedConfig) -> anyhow::Result<SchemaRegistry> {
    let schemas = SchemaRegistry::new(loaded.daemon.schema_registry.as_ref());
    let needed = schemas.require_for(intake);
    needed.map_err(|error| CliFailure::Config(error.to_string()))?;
    Ok(schemas)
}

/// A mapping, and where the schemas of its messages are.
#[derive(Clone, Copy)]
struct MessageReader<'a> {
    intake: &'a Intake,
    schemas: &'a SchemaRegistry,
}

impl MessageReader<'_> {
    /// Hands a message to `take`, with the schema that it names.
    ///
    /// # Errors
    ///
    /// The schema cannot be found out.
    fn read<T>(
        self,
        raw: &RawLine<'_>,
        take: impl FnOnce(&Intake, &RawMessage<'_>) -> T,
    ) -> anyhow::Result<T> {
        let schema = self.schemas.schema_of(self.intake, raw.value())?;
        let message =
            RawMessage { topic: &raw.topic, value: raw.value(), schema: schema.as_deref() };
        Ok(take(self.intake, &message))
    }
}

fn convert(arguments: &IntakeConvertArguments) -> anyhow::Result<Exit> {
    let loaded = load(&arguments.config.config)?;
    let kinds = &loaded.policy.record_kinds;
    let intake = load_intake(&arguments.intake, kinds)?;
    let schemas = open_schemas(&intake, &loaded)?;
    let reader = MessageReader { intake: &intake, schemas: &schemas };
    let inputs = open_inputs(&arguments.files, &intake)?;
    let mut sink = match &arguments.directory {
        Some(directory) if arguments.snapshot => RecordSink::snapshot(directory, &intake, kinds)?,
        Some(directory) => RecordSink::directory(directory, &intake, kinds)?,
        None => RecordSink::stdout(),
    };
    let mut summary = ConversionSummary::new(&inputs);
    let lookups = convert_inputs(reader, &inputs, &mut summary, |_, conversion| {
        conversion.records.iter().try_for_each(|record| sink.write(record))
    })?;
    sink.finish()?;
    if !arguments.quiet {
        summary.report(&intake, &lookups);
    }
    Ok(if summary.has_refusals() { Exit::Failed } else { Exit::Success })
}

/// Converts the raw messages on stdin; counts, and what was refused, go to stderr.
///
/// # Errors
///
/// The mapping has mistakes, or stdin cannot be read.
pub(super) fn read_stdin(mapping: &Path, loaded: &LoadedConfig) -> anyhow::Result<MessageLines> {
    let intake = load_intake(mapping, &loaded.policy.record_kinds)?;
    let schemas = open_schemas(&intake, loaded)?;
    let reader = MessageReader { intake: &intake, schemas: &schemas };
    let inputs = open_inputs(&[PathBuf::from("-")], &intake)?;
    let mut summary = ConversionSummary::new(&inputs);
    let mut lines = MessageLines::default();
    let lookups = convert_inputs(reader, &inputs, &mut summary, |line, conversion| {
        lines.messages.extend(conversion.records.into_iter().map(|record| LineMessage {
            line,
            source: record.kind.to_string(),
            key: Some(record.key),
            value: record.value.map_or(LineValue::Null, LineValue::Bytes),
        }));
        Ok(())
    })?;
    summary.report(&intake, &lookups);
    Ok(lines)
}

/// Converts each message, after all lookups were read, and hands out what became of it with
/// the number of its line. Returns the lookups. Versions are those of these inputs alone.
///
/// # Errors
///
/// An input cannot be read, the schema of a message cannot be found out, or lookups or versions
/// need more memory than they may have.
fn convert_inputs(
    reader: MessageReader<'_>,
    inputs: &[RawInput],
    summary: &mut ConversionSummary,
    take: impl FnMut(usize, Conversion) -> anyhow::Result<()>,
) -> anyhow::Result<LookupTables> {
    let mut versions = reader.intake.empty_versions(&HmacKey::generate("throwaway")?);
    convert_newer_inputs(reader, (inputs, versions.as_mut()), summary, take)
}

/// As [`convert_inputs`], where `versions` were written before.
fn convert_newer_inputs(
    reader: MessageReader<'_>,
    (inputs, mut versions): (&[RawInput], Option<&mut RecordVersions>),
    summary: &mut ConversionSummary,
    mut take: impl FnMut(usize, Conversion) -> anyhow::Result<()>,
) -> anyhow::Result<LookupTables> {
    let lookups = read_lookups(reader, inputs, summary)?;
    for (at, input) in inputs.iter().enumerate() {
        input.for_each_line(|number, line| {
            if !input.lines.contains(&number) {
                return Ok(());
            }
            match RawLine::parse(line) {
                Ok(raw) => {
                    summary.add_message(reader.intake, &raw.topic);
                    let mut conversion =
                        reader.read(&raw, |intake, message| intake.convert(message, &lookups))?;
                    if let Some(versions) = versions.as_deref_mut() {
                        versions.take_out_older(ONE_PARTITION, &mut conversion)?;
                    }
                    summary.add_conversion((at, number), &conversion);
                    summary.note_stop(reader.intake.require_rows(&raw.topic, &conversion));
                    take(number, conversion)
                }
                Err(refusal) => {
                    summary.add_unreadable((at, number), refusal);
                    Ok(())
                }
            }
        })?;
    }
    Ok(lookups)
}

/// Reads the rows of all lookups to their end.
fn read_lookups(
    reader: MessageReader<'_>,
    inputs: &[RawInput],
    summary: &mut ConversionSummary,
) -> anyhow::Result<LookupTables> {
    let mut tables = reader.intake.empty_lookups();
    if reader.intake.lookup_names().next().is_none() {
        return Ok(tables);
    }
    for (at, input) in inputs.iter().enumerate() {
        input.for_each_line(|number, line| {
            // What cannot be read is told of when records are.
            let Ok(raw) = RawLine::parse(line) else {
                return Ok(());
            };
            let refused: Vec<RefusedRecord> = reader
                .read(&raw, |intake, message| intake.apply_to_lookups(message, &mut tables))??;
            summary.add_refused((at, number), &refused);
            Ok(())
        })?;
    }
    Ok(tables)
}

/// A file, or all that stood on stdin.
struct RawInput {
    name: String,
    from: InputBytes,
    /// The numbers of the lines to convert. Rows of lookups are read from all of them.
    lines: Range<usize>,
}

/// Files have no partitions.
const ONE_PARTITION: i32 = 0;
/// From the first line on.
const ALL_LINES: Range<usize> = 1..usize::MAX;

enum InputBytes {
    File(PathBuf),
    /// A file of rows, how it is written, and their topic.
    Csv(PathBuf, CsvFiles, String),
    Stdin(Vec<u8>),
}

/// Finds every input before anything is written.
fn open_inputs(files: &[PathBuf], intake: &Intake) -> anyhow::Result<Vec<RawInput>> {
    let mut inputs = Vec::new();
    for path in files {
        let input = if path == Path::new("-") {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).context("failed to read stdin")?;
            let from = InputBytes::Stdin(bytes);
            RawInput { name: "stdin".to_owned(), from, lines: ALL_LINES }
        } else if is_file(path)? {
            let from = match path.extension().is_some_and(|ending| ending == "csv") {
                true => open_csv(path, intake)?,
                false => InputBytes::File(path.clone()),
            };
            RawInput { name: path.display().to_string(), from, lines: ALL_LINES }
        } else {
            return Err(CliFailure::Usage(format!("there is no file {}", path.display())).into());
        };
        inputs.push(input);
    }
    if inputs
        .iter()
        .all(|input| matches!(&input.from, InputBytes::Stdin(bytes) if bytes.is_empty()))
    {
        screen::print_note(NoteKind::Warning, "there is nothing on stdin");
    }
    Ok(inputs)
}

/// # Errors
///
/// The mapping has no such file.
fn open_csv(path: &Path, intake: &Intake) -> anyhow::Result<InputBytes> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let files = intake.csv_files();
    let known = files.and_then(|files| Some((files, files.topic_of_file(&name)?)));
    let Some((files, topic)) = known else {
        let names: Vec<String> = files.into_iter().flat_map(CsvFiles::file_names).collect();
        let text = match names.is_empty() {
            true => format!("{}: the mapping has no `[csv]`", path.display()),
            false => format!(
                "{}: no file of `[csv]` in the mapping, which has {}",
                path.display(),
                names.join(", ")
            ),
        };
        return Err(CliFailure::Usage(text).into());
    };
    Ok(InputBytes::Csv(path.to_owned(), files.clone(), topic.to_owned()))
}

impl RawInput {
    fn is_csv(&self) -> bool {
        matches!(self.from, InputBytes::Csv(..))
    }

    /// Leaves out all but the lines behind the first `lines.start`, up to `lines.end`.
    fn convert_lines(&mut self, lines: Range<usize>) {
        self.lines = lines.start + 1..lines.end + 1;
    }

    fn convert_nothing(&mut self) {
        self.lines = 0..0;
    }

    /// Hands each line that is not blank to `take`, with its number.
    fn for_each_line(
        &self,
        mut take: impl FnMut(usize, &[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut reader: Box<dyn BufRead + '_> = match &self.from {
            InputBytes::Csv(path, files, topic) => {
                return csv_rows::for_each_row(path, (files, topic), take);
            }
            InputBytes::Stdin(bytes) => Box::new(Cursor::new(bytes)),
            InputBytes::File(path) => {
                let file = File::open(path);
                let file = file.with_context(|| format!("failed to open {}", self.name))?;
                Box::new(BufReader::with_capacity(1 << 18, file))
            }
        };
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let read = reader.read_until(b'\n', &mut line);
            if read.with_context(|| format!("failed to read {}", self.name))? == 0 {
                break;
            }
            let text = line.trim_ascii();
            if !text.is_empty() {
                take(number, text)?;
            }
        }
        Ok(())
    }
}
