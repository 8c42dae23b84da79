//! `zeef contract`: what a partner may rely on, and what an upstream has to write.

use std::io::Write as _;
use std::path::Path;

use serde_json::Value;

use super::arguments::{ContractArguments, ContractFormat, LanguageArgument};
use super::config::{load, unknown_name_text};
use super::exit::{CliFailure, Exit};
use super::screen::{self, NoteKind};
use crate::config::LoadedConfig;
use crate::contract::{
    ContractView, Language, asyncapi_document, contract_page, odcs_document, output_schema,
    source_schema,
};
use crate::policy::Policy;
use crate::transport::file::{FileMode, create_folder_all, replace_file};

/// Writes the contract.
///
/// # Errors
///
/// No such recipient or kind, or a file that cannot be written.
pub(super) fn run(arguments: &ContractArguments) -> anyhow::Result<Exit> {
    let loaded = load(&arguments.config.config)?;
    let documents = match (&arguments.recipient, &arguments.source) {
        (Some(name), None) => contract_of(arguments, &loaded, name)?,
        (None, Some(kind)) => vec![schema_of_source(&loaded.policy, kind, arguments.lang)?],
        _ => {
            let text = "say one of RECIPIENT and --source KIND".to_owned();
            return Err(CliFailure::Usage(text).into());
        }
    };
    match &arguments.out {
        Some(folder) => write_files(folder, &documents)?,
        None => {
            let mut out = screen::StdoutLines::stdout();
            for document in &documents {
                out.write_all(document.text.as_bytes())?;
            }
            out.flush()?;
        }
    }
    Ok(Exit::Success)
}

/// A document and the name of its file.
struct Document {
    file_name: String,
    text: String,
}

impl From<LanguageArgument> for Language {
    fn from(argument: LanguageArgument) -> Language {
        match argument {
            LanguageArgument::En => Language::English,
            LanguageArgument::Nl => Language::Dutch,
        }
    }
}

/// Returns the documents of a recipient: the asked one, or with a folder every one.
fn contract_of(
    arguments: &ContractArguments,
    loaded: &LoadedConfig,
    name: &str,
) -> anyhow::Result<Vec<Document>> {
    let policy = &loaded.policy;
    let Some(view) = ContractView::of_recipient(policy, name) else {
        let names: Vec<&str> = policy.all_recipients().map(|one| one.name.as_str()).collect();
        return Err(CliFailure::Usage(unknown_name_text("recipient", name, names)).into());
    };
    let kafka = &loaded.daemon.kafka;
    let view = ContractView {
        topic_prefix: &kafka.topic_prefix,
        brokers: &kafka.brokers,
        language: arguments.lang.into(),
        ..view
    };
    let formats = match (arguments.odcs, arguments.format, &arguments.out) {
        (true, ..) => vec![ContractFormat::Odcs],
        (false, Some(format), _) => vec![format],
        (false, None, None) => vec![ContractFormat::Markdown],
        (false, None, Some(_)) if view.avro.is_some() => {
            [ContractFormat::ALL.as_slice(), &[ContractFormat::Avro]].concat()
        }
        (false, None, Some(_)) => ContractFormat::ALL.to_vec(),
    };
    let documents = formats.into_iter().map(|format| render(&view, format));
    documents.collect()
}

fn render(view: &ContractView<'_>, format: ContractFormat) -> anyhow::Result<Document> {
    let name = &view.recipient.name;
    let (ending, text) = match format {
        ContractFormat::JsonSchema => ("schema.json", pretty(&output_schema(view))?),
        ContractFormat::Asyncapi => ("asyncapi.json", pretty(&asyncapi_document(view))?),
        ContractFormat::Odcs => ("odcs.yaml", pretty(&odcs_document(view))?),
        ContractFormat::Avro => ("avsc", avro_schema(view)?),
        ContractFormat::Markdown => (view.language.pick("en.md", "nl.md"), contract_page(view)),
    };
    Ok(Document { file_name: format!("{name}.{ending}"), text })
}

/// # Errors
///
/// Its outputs are JSON.
fn avro_schema(view: &ContractView<'_>) -> anyhow::Result<String> {
    let Some(avro) = &view.avro else {
        let name = &view.recipient.name;
        let text = format!("outputs of {name} are JSON: its file has no `format = \"avro\"`");
        return Err(CliFailure::Usage(text).into());
    };
    pretty(&serde_json::from_str(avro.schema())?)
}

fn schema_of_source(
    policy: &Policy,
    name: &str,
    language: LanguageArgument,
) -> anyhow::Result<Document> {
    let Some(kind) = policy.record_kind(name) else {
        let names: Vec<&str> = policy.record_kinds.iter().map(|one| one.name.as_str()).collect();
        return Err(CliFailure::Usage(unknown_name_text("kind of record", name, names)).into());
    };
    let text = pretty(&source_schema(kind, language.into()))?;
    Ok(Document { file_name: format!("{name}.source.schema.json"), text })
}

fn pretty(document: &Value) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(document)? + "\n")
}

fn write_files(folder: &Path, documents: &[Document]) -> anyhow::Result<()> {
    create_folder_all(folder, FileMode::for_folder(false))?;
    for document in documents {
        let path = folder.join(&document.file_name);
        replace_file(&path, FileMode::for_file(false), document.text.as_bytes())?;
        screen::print_note(NoteKind::Plain, &path.display().to_string());
    }
    Ok(())
}
