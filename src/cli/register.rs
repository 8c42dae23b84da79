//! `zeef register`: the record of processing (GDPR art. 30).

use std::io::Write as _;

use serde_json::{Map, Value, json};

use super::arguments::{RegisterArguments, RegisterFormat};
use super::config::load;
use super::exit::{CliFailure, Exit, pluralise};
use super::screen::{self, NoteKind};
use crate::policy::Policy;
use crate::register::{
    NATIONAL_NUMBER_COLUMNS, Register, RegisterEntry, RegisterFiles, RegisterTable, load_folder,
    national_number_rows, render_csv, render_html, render_markdown,
};
use crate::transport::file::{FileMode, replace_file};

/// Writes the register, or where the national number goes.
///
/// # Errors
///
/// A mistake in the config, or a file that cannot be written.
pub(super) fn run(arguments: &RegisterArguments) -> anyhow::Result<Exit> {
    let folder = &arguments.config.config;
    let loaded = load(folder)?;
    let files = load_folder(&folder.join("register")).map_err(CliFailure::Mistakes)?;
    let (text, missing) = match arguments.rrn {
        true => (render_national_numbers(&loaded.policy, &files, arguments.format)?, Vec::new()),
        false => {
            let register =
                Register::new(&loaded.policy, &files, &loaded.daemon.ledger.register_uri);
            (render(&register, arguments.format)?, register.missing())
        }
    };
    match &arguments.out {
        Some(path) => replace_file(path, FileMode::for_file(false), text.as_bytes())?,
        None => {
            let mut out = screen::StdoutLines::stdout();
            out.write_all(text.as_bytes())?;
            out.flush()?;
        }
    }
    if missing.is_empty() {
        return Ok(Exit::Success);
    }
    for one in &missing {
        screen::print_note(NoteKind::Plain, one);
    }
    let text = format!("the register is not complete: {}", pluralise(missing.len(), "text"));
    screen::print_note(NoteKind::Warning, &text);
    Ok(Exit::Failed)
}

fn render(register: &Register, format: RegisterFormat) -> anyhow::Result<String> {
    Ok(match format {
        RegisterFormat::Markdown => render_markdown(register),
        RegisterFormat::Csv => render_csv(register)?,
        RegisterFormat::Html => render_html(register),
        RegisterFormat::Json => pretty(&register_json(register))?,
    })
}

fn render_national_numbers(
    policy: &Policy,
    files: &RegisterFiles,
    format: RegisterFormat,
) -> anyhow::Result<String> {
    let rows: Vec<Vec<String>> =
        national_number_rows(policy, files).into_iter().map(Vec::from).collect();
    let table = RegisterTable {
        title: "Waar nationale nummers liggen en heen gaan",
        columns: &NATIONAL_NUMBER_COLUMNS,
        rows: &rows,
    };
    Ok(match format {
        RegisterFormat::Markdown => table.to_markdown(),
        RegisterFormat::Csv => table.to_csv()?,
        RegisterFormat::Html => table.to_html(),
        RegisterFormat::Json => {
            let row = |row: &Vec<String>| -> Value {
                let cells = NATIONAL_NUMBER_COLUMNS.iter().zip(row);
                cells.map(|(column, cell)| ((*column).to_owned(), json!(cell))).collect()
            };
            pretty(&rows.iter().map(row).collect())?
        }
    })
}

fn pretty(value: &Value) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn register_json(register: &Register) -> Value {
    let controller = &register.controller;
    json!({
        "controller": {
            "name": controller.name,
            "address": controller.address,
            "contact": controller.contact,
            "officer": controller.officer,
            "officer_contact": controller.officer_contact,
        },
        "processing": register.entries.iter().map(entry_json).collect::<Vec<_>>(),
        "missing": register.missing(),
    })
}

fn entry_json(entry: &RegisterEntry) -> Value {
    let mut members: Map<String, Value> =
        entry.cells.iter().map(|cell| (cell.key.to_owned(), json!(cell.texts))).collect();
    members.insert("name".to_owned(), json!(entry.id));
    members.insert("title".to_owned(), json!(entry.title));
    Value::Object(members)
}
