//! `zeef export`: what a recipient has now, as a file.
//!
//! Reads outputs and writes files; the room `export` turns the ones into the others.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::arguments::{ExportArguments, ExportFormat};
use super::audit::{AuditedAction, Auditor};
use super::command_target::{DataLocation, TargetArguments};
use super::config::{load, require_recipient};
use super::exit::{CliFailure, Exit, pluralise};
use super::generate::today;
use super::screen::{self, NoteKind};
use crate::config::LoadedConfig;
use crate::config::settings::SepaCreditor;
use crate::export::pain008::{DebitFields, OrderHead, write_pain008};
use crate::export::pdf::{PdfHeading, render_pdf};
use crate::export::table::CsvDialect;
use crate::export::{
    ExportError, ExportProfile, ExportRecord, LibrarySelection, describe_legal_basis,
    export_profile, json, read_record, select_library, slips, table, xml, xsd,
};
use crate::message::Fault;
use crate::policy::recipient::{Recipient, ServedLibraries};
use crate::schemas::SchemaRegistry;
use crate::transport::OutputsByKey;
use crate::transport::directory;
use crate::transport::file::{FileMode, replace_file};
use crate::transport::kafka::read_topic;

/// Writes the export.
///
/// # Errors
///
/// No such recipient or export, outputs that cannot be read, or a file that cannot be written.
pub(super) fn run(arguments: &ExportArguments) -> anyhow::Result<Exit> {
    check_options(arguments)?;
    let loaded = load(&arguments.config.config)?;
    let name = arguments.recipient.as_str();
    require_recipient(&loaded.policy, name)?;
    let recipient = loaded.policy.recipient(name).context("no such recipient")?;
    let export = Export::new(arguments, &loaded, recipient)?;
    let outputs = export.read_outputs()?;
    let content = export.render(&outputs)?;
    if let Some(path) = &arguments.xsd {
        let mut schema = Vec::new();
        xsd::write_xsd(&export.profile, &mut schema)?;
        write_private_file(path, &schema)?;
    }
    match &arguments.out {
        Some(path) => {
            write_private_file(path, &content.bytes)?;
            let count = pluralise(content.count, "output");
            screen::print_note(NoteKind::Plain, &format!("{count} in {}", path.display()));
        }
        None => {
            let mut out = screen::StdoutLines::stdout();
            out.write_all(&content.bytes)?;
            out.flush()?;
        }
    }
    Ok(Exit::Success)
}

/// Refuses options that have no meaning for the format.
fn check_options(arguments: &ExportArguments) -> Result<(), CliFailure> {
    let refuse = |text: &str| Err(CliFailure::Usage(text.to_owned()));
    if arguments.excel && arguments.format != ExportFormat::Csv {
        return refuse("--excel is for csv: leave it out, or choose `--as csv`");
    }
    if arguments.xsd.is_some() && arguments.format != ExportFormat::Xml {
        return refuse("--xsd is for xml: leave it out, or choose `--as xml`");
    }
    let is_pdf = arguments.format == ExportFormat::Pdf;
    if is_pdf && arguments.out.is_none() && std::io::stdout().is_terminal() {
        return refuse("a PDF is not for a terminal: say --out FILE");
    }
    if arguments.xsd.is_some() && arguments.xsd == arguments.out {
        return refuse("--out and --xsd are the same file");
    }
    Ok(())
}

/// Returns who collects.
///
/// # Errors
///
/// zeef.toml does not say it.
fn require_creditor(loaded: &LoadedConfig) -> Result<&SepaCreditor, CliFailure> {
    loaded.daemon.export.sepa.as_ref().ok_or_else(|| {
        let text = "who collects is not said: zeef.toml has no [export.sepa]";
        CliFailure::Config(text.to_owned())
    })
}

/// Reports a fault of reading, without saying that a lane stops.
fn read_failure(fault: Fault) -> anyhow::Error {
    match fault {
        Fault::Stop(cause) => anyhow::Error::msg(cause),
        other => anyhow::Error::new(other),
    }
}

/// Writes a file that only its owner may read.
pub(super) fn write_private_file(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    Ok(replace_file(path, FileMode::for_file(false), content)?)
}

/// The bytes of an export, and how many outputs are in it.
struct ExportContent {
    bytes: Vec<u8>,
    count: usize,
}

/// What is exported, and how.
struct Export<'a> {
    arguments: &'a ExportArguments,
    loaded: &'a LoadedConfig,
    recipient: &'a Recipient,
    profile: ExportProfile,
    /// `None` for all libraries.
    selection: Option<LibrarySelection>,
    bar: ProgressBar,
}

impl<'a> Export<'a> {
    fn new(
        arguments: &'a ExportArguments,
        loaded: &'a LoadedConfig,
        recipient: &'a Recipient,
    ) -> Result<Export<'a>, CliFailure> {
        let library = arguments.library.as_deref();
        let selection = library.map(|isil| select_library(recipient, &loaded.policy, isil));
        match (&selection, library) {
            (Some(LibrarySelection::NotServed), Some(isil)) => {
                let text = format!("{} does not serve library `{isil}`", recipient.name);
                return Err(CliFailure::Usage(text));
            }
            (Some(LibrarySelection::Unknown), _) => {
                return Err(CliFailure::Usage(format!(
                    "the outputs of {} do not say of which library they are: leave --library \
                     out, or add the field `library` to its file",
                    recipient.name
                )));
            }
            _ => {}
        }
        let profile = export_profile(recipient, &loaded.policy);
        let usage = |error: ExportError| CliFailure::Usage(error.to_string());
        match arguments.format {
            ExportFormat::Slips => drop(slips::slip_field(&profile).map_err(usage)?),
            ExportFormat::Pain008 => {
                DebitFields::find(&profile).map_err(usage)?;
                require_creditor(loaded)?;
            }
            _ => {}
        }
        let bar = progress_bar();
        Ok(Export { arguments, loaded, recipient, profile, selection, bar })
    }

    /// Reads what the recipient has on all its topics, or on that of the library.
    fn read_outputs(&self) -> anyhow::Result<OutputsByKey> {
        let target = TargetArguments {
            config: &self.arguments.config,
            brokers: &self.arguments.brokers,
            directory: self.arguments.directory.as_deref(),
        };
        let auditor = Auditor::new(self.loaded, &self.arguments.operator)?;
        let subject = Some(self.recipient.name.as_str());
        let action = AuditedAction { words: "export", subject, patron: None };
        DataLocation::with_location(self.loaded, &target, self.arguments.log, |location| {
            auditor.record(location, action)?;
            self.collect_topics(|topic| match location {
                DataLocation::Directory(root) => {
                    let owner = &self.recipient.name;
                    directory::read_current_outputs(root, owner, topic).map_err(read_failure)
                }
                DataLocation::Kafka(settings) => {
                    let outputs = read_topic::read_current_outputs(settings, topic)?;
                    let name = settings.topic_name(topic);
                    let outputs = outputs.map(|all| self.read_as_json(all)).transpose()?;
                    outputs.map(Some).with_context(|| format!("there is no topic {name}"))
                }
            })
        })
    }

    /// Reads outputs that are in Avro; JSON stays as it is.
    fn read_as_json(&self, outputs: OutputsByKey) -> anyhow::Result<OutputsByKey> {
        let schemas = SchemaRegistry::new(self.loaded.daemon.schema_registry.as_ref());
        let read = |(key, value)| Ok((key, schemas.read_as_json(value)?));
        outputs.into_iter().map(read).collect()
    }

    fn collect_topics(
        &self,
        mut read: impl FnMut(&str) -> anyhow::Result<Option<OutputsByKey>>,
    ) -> anyhow::Result<OutputsByKey> {
        self.bar.set_message("reading");
        let mut all = OutputsByKey::new();
        let topics = match &self.selection {
            Some(LibrarySelection::Topic(topic)) => vec![topic.as_str()],
            _ => self.recipient.topics.names().collect(),
        };
        for topic in topics {
            // Of which nothing was written yet, the recipient has nothing.
            all.extend(read(topic)?.unwrap_or_default());
        }
        Ok(all)
    }

    /// Returns the export of `outputs`, in the order of their keys, which says nothing.
    fn render(&self, outputs: &OutputsByKey) -> anyhow::Result<ExportContent> {
        self.bar.set_length(outputs.len().try_into()?);
        self.bar.set_message("outputs");
        let mut selected = Vec::new();
        for (index, output) in outputs.values().enumerate() {
            self.bar.inc(1);
            let record = read_record(&self.profile, index + 1, output)?;
            if self.is_selected(&record) {
                selected.push((output.as_slice(), record));
            }
        }
        let mut bytes = Vec::new();
        let raw = selected.iter().map(|(output, _)| *output);
        let records = selected.iter().map(|(_, record)| record);
        let profile = &self.profile;
        match self.arguments.format {
            ExportFormat::Csv => {
                let dialect = match self.arguments.excel {
                    true => CsvDialect::DutchExcel,
                    false => CsvDialect::Standard,
                };
                table::write_csv(profile, records, dialect, &mut bytes)?;
            }
            ExportFormat::Json => json::write_array(raw, &mut bytes)?,
            ExportFormat::Ndjson => json::write_lines(raw, &mut bytes)?,
            ExportFormat::Xml => xml::write_xml(profile, records, &mut bytes)?,
            ExportFormat::Pdf => bytes = self.render_pdf(&records.collect::<Vec<_>>())?,
            ExportFormat::Pain008 => {
                let creditor = require_creditor(self.loaded)?;
                let now = jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S").to_string();
                let head = OrderHead { creditor, created: &now };
                write_pain008(DebitFields::find(profile)?, records, head, &mut bytes)?;
            }
            ExportFormat::Slips => {
                slips::write_slips(slips::slip_field(profile)?, records, &mut bytes)?;
            }
        }
        self.bar.finish_and_clear();
        Ok(ExportContent { bytes, count: selected.len() })
    }

    fn render_pdf(&self, records: &[&ExportRecord]) -> anyhow::Result<Vec<u8>> {
        let recipient = self.recipient;
        let heading = PdfHeading {
            title: recipient.title.clone(),
            library: self.heading_library(),
            date: today().to_string(),
            legal_basis: describe_legal_basis(recipient.legal_basis).to_owned(),
            purpose: recipient.purpose_text.clone(),
            controller: recipient.controller.clone(),
        };
        self.bar.set_position(0);
        self.bar.set_length(records.len().try_into()?);
        self.bar.set_message("rows");
        Ok(render_pdf(&self.profile, &heading, records, &mut || self.bar.inc(1))?)
    }

    /// Returns the library asked for, or those that the recipient serves; `None` for all.
    fn heading_library(&self) -> Option<String> {
        match (&self.arguments.library, &self.recipient.libraries) {
            (Some(library), _) => Some(library.clone()),
            (None, ServedLibraries::Only(served)) => Some(served.join(", ")),
            (None, ServedLibraries::All) => None,
        }
    }

    fn is_selected(&self, record: &ExportRecord) -> bool {
        match &self.selection {
            Some(LibrarySelection::Field(index)) => {
                record.single(*index) == self.arguments.library.as_deref()
            }
            _ => true,
        }
    }
}

/// Returns a bar on stderr, if that is a terminal.
fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {human_pos} {msg}") {
        bar.set_style(style);
    }
    bar
}
