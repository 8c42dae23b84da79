//! `zeef intake columns`, `check` and `explain`: what a mapping reads, fills, and makes of a message.

use std::io::Write as _;

use serde_json::json;

use super::raw_line::RawLine;
use super::{
    ConversionSummary, MessageReader, convert_inputs, load_intake, open_inputs, open_schemas,
    read_lookups,
};
use crate::cli::arguments::{IntakeCheckArguments, IntakeColumnsArguments, IntakeExplainArguments};
use crate::cli::config::load;
use crate::cli::describe::escape_invisible;
use crate::cli::exit::{CliFailure, Exit, pluralise};
use crate::cli::listing::{write_heading, write_json, write_paragraph, write_table};
use crate::cli::screen::{FAINT, Screen};
use crate::cli::table::{TableCell, TextTable};
use crate::intake::{ExplainedField, ExplainedRow, FieldOutcome, Intake};
use crate::policy::catalogue::RecordKind;

/// Shows the columns that a mapping reads, by topic.
pub(super) fn columns(
    arguments: &IntakeColumnsArguments,
    screen: &mut Screen,
) -> anyhow::Result<Exit> {
    let loaded = load(&arguments.config.config)?;
    let intake = load_intake(&arguments.intake, &loaded.policy.record_kinds)?;
    let topics = intake.columns();
    if arguments.json {
        let topic = |one: &crate::intake::TopicColumns| json!({ "topic": one.topic, "readers": one.readers, "columns": one.columns });
        write_json(&topics.iter().map(topic).collect(), screen)?;
        return Ok(Exit::Success);
    }
    for (at, one) in topics.iter().enumerate() {
        if at > 0 {
            writeln!(screen)?;
        }
        write_heading(screen, &one.topic, &format!("for {}", one.readers.join(", ")))?;
        let columns: Vec<&str> = one.columns.iter().map(String::as_str).collect();
        write_paragraph(screen, &columns.join(", "))?;
    }
    Ok(Exit::Success)
}

/// Checks a mapping, shows which fields it fills, and reads messages without writing anything.
pub(super) fn check(arguments: &IntakeCheckArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = load(&arguments.config.config)?;
    let kinds = &loaded.policy.record_kinds;
    let intake = load_intake(&arguments.intake, kinds)?;
    write_filled_fields(&intake, kinds, screen)?;
    screen.flush()?;
    if arguments.files.is_empty() {
        return Ok(Exit::Success);
    }
    let schemas = open_schemas(&intake, &loaded)?;
    let reader = MessageReader { intake: &intake, schemas: &schemas };
    let inputs = open_inputs(&arguments.files, &intake)?;
    let mut summary = ConversionSummary::new(&inputs);
    let lookups = convert_inputs(reader, &inputs, &mut summary, |_, _| Ok(()))?;
    summary.report(&intake, &lookups);
    Ok(if summary.has_refusals() { Exit::Failed } else { Exit::Success })
}

/// Members that every record of a mapping has.
const IDENTIFYING: &[&str] = &["patron_id", "library"];

fn write_filled_fields(
    intake: &Intake,
    kinds: &[RecordKind],
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let mut table = TextTable::new(&["KIND", "FIELDS", "NOT FILLED"]);
    for (name, filled) in intake.filled_fields() {
        let Some(kind) = kinds.iter().find(|kind| kind.name == name) else {
            continue;
        };
        let is_own = |path: &str| path == kind.id_path || IDENTIFYING.contains(&path);
        let gone = kind.gone_path.as_deref();
        let fields = kind.fields.iter().map(|field| field.path.as_str());
        let empty: Vec<&str> = fields
            .filter(|path| !filled.contains(*path) && !is_own(path) && Some(*path) != gone)
            .collect();
        table.add_row([
            name.into(),
            format!("{} of {}", filled.len(), filled.len() + empty.len()).into(),
            empty.join(", ").into(),
        ]);
    }
    write_table(screen, &table)?;
    for (kind, paths) in intake.version_rules() {
        let paths = paths.join(", ");
        write_paragraph(screen, &format!("{kind}: older versions are dropped, by {paths}"))?;
    }
    Ok(())
}

/// Explains what a mapping makes of some messages.
pub(super) fn explain(
    arguments: &IntakeExplainArguments,
    screen: &mut Screen,
) -> anyhow::Result<Exit> {
    let loaded = load(&arguments.config.config)?;
    let intake = load_intake(&arguments.intake, &loaded.policy.record_kinds)?;
    let schemas = open_schemas(&intake, &loaded)?;
    let reader = MessageReader { intake: &intake, schemas: &schemas };
    let inputs = open_inputs(std::slice::from_ref(&arguments.file), &intake)?;
    let lookups = read_lookups(reader, &inputs, &mut ConversionSummary::new(&inputs))?;
    let mut explained = 0_usize;
    for input in &inputs {
        input.for_each_line(|number, line| {
            if arguments.line.is_some_and(|wanted| wanted != number) {
                return Ok(());
            }
            let raw = RawLine::parse(line);
            let rows = match &raw {
                Ok(raw) => reader.read(raw, |intake, message| intake.explain(message, &lookups))?,
                Err(refusal) => Err(*refusal),
            };
            let topic = raw.as_ref().map_or("", |raw| raw.topic.as_str());
            match rows {
                Ok(rows) if rows.is_empty() => {}
                Ok(rows) => {
                    explained += 1;
                    for row in &rows {
                        write_row(row, (number, topic), arguments.values, screen)?;
                    }
                }
                Err(refusal) => {
                    explained += 1;
                    let name = format!("line {number}");
                    let text = format!("refused as {refusal}: {}", refusal.meaning());
                    write_heading(screen, &name, &text)?;
                }
            }
            Ok(())
        })?;
    }
    if explained == 0 {
        let text = match arguments.line {
            Some(line) => format!("line {line} is of no topic that the mapping has a kind for"),
            None => "no line is of a topic that the mapping has a kind for".to_owned(),
        };
        return Err(CliFailure::Usage(text).into());
    }
    if !arguments.values {
        let lines = pluralise(explained, "message");
        write_paragraph(screen, &format!("{lines}; with --values the values are shown"))?;
    }
    Ok(Exit::Success)
}

fn write_row(
    row: &ExplainedRow,
    (line, topic): (usize, &str),
    has_values: bool,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let side = if row.is_old { "the deleted row" } else { "the row" };
    write_heading(screen, &format!("line {line}"), &format!("{topic}: {side} as {}", row.kind))?;
    let mut table = TextTable::new(&["FIELD", "FROM", "IS", "BY", "BECOMES"]).indented(4);
    for field in &row.fields {
        table.add_row([
            field.field.as_str().into(),
            field.from.as_str().into(),
            field.found_type.unwrap_or("").into(),
            field.steps.join(", ").into(),
            outcome_cell(field, has_values),
        ]);
    }
    write_table(screen, &table)?;
    writeln!(screen)?;
    Ok(())
}

fn outcome_cell(field: &ExplainedField, has_values: bool) -> TableCell {
    match &field.outcome {
        FieldOutcome::Value(value) if has_values => escape_invisible(value).into(),
        FieldOutcome::Value(_) => "a value".into(),
        FieldOutcome::Missing => TableCell::styled(FAINT, "(nothing)"),
        FieldOutcome::Refused(refusal) => format!("refused as {refusal}").into(),
    }
}
