//! `zeef list matrix`: which field goes to whom, and behind which mask.

use std::io::Write as _;

use serde_json::{Map, Value, json};
use unicode_width::UnicodeWidthStr as _;

use super::arguments::MatrixFormat;
use super::config::unknown_name_text;
use super::exit::CliFailure;
use super::listing::{write_json, write_table};
use super::screen::{FAINT, NAME, Screen};
use super::table::{TableCell, TextTable};
use crate::contract::{FieldMatrix, MatrixColumn, markdown_cell};
use crate::policy::Policy;

/// Lists the matrix, or the column of one recipient.
///
/// # Errors
///
/// No such recipient, or the screen cannot be written.
pub(super) fn list(
    policy: &Policy,
    name: Option<&str>,
    format: MatrixFormat,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let matrix = FieldMatrix::of_policy(policy, |one| name.is_none_or(|name| one.name == name));
    if matrix.columns.is_empty() {
        let names: Vec<&str> = policy.all_recipients().map(|one| one.name.as_str()).collect();
        let text = unknown_name_text("recipient", name.unwrap_or_default(), names);
        return Err(CliFailure::Usage(text).into());
    }
    match format {
        MatrixFormat::Text => write_text(&matrix, screen),
        MatrixFormat::Csv => write_csv(&matrix, screen),
        MatrixFormat::Markdown => write_markdown(&matrix, screen),
        MatrixFormat::Json => write_json(&matrix_json(&matrix), screen),
    }
}

/// Returns a column's heading; one that is switched off says so.
fn heading(column: &MatrixColumn) -> String {
    match column.is_enabled {
        true => column.recipient.clone(),
        false => format!("{} (off)", column.recipient),
    }
}

/// Writes tables of as many recipients as fit beside each other.
fn write_text(matrix: &FieldMatrix, screen: &mut Screen) -> anyhow::Result<()> {
    let width_of = |text: &str| text.width() + 2;
    let fields = matrix.rows.iter().map(|row| width_of(&row.field)).max().unwrap_or_default();
    let room = screen.width().unwrap_or(usize::MAX).saturating_sub(fields);
    let widths = matrix.columns.iter().enumerate().map(|(at, column)| {
        let cells = matrix.rows.iter().filter_map(|row| row.cells.get(at)?.as_deref());
        cells.map(width_of).max().unwrap_or_default().max(width_of(&heading(column)))
    });
    let mut parts: Vec<Vec<usize>> = Vec::new();
    let mut used = 0;
    for (at, width) in widths.enumerate() {
        used += width;
        match parts.last_mut().filter(|_| used <= room) {
            Some(part) => part.push(at),
            None => {
                parts.push(vec![at]);
                used = width;
            }
        }
    }
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            writeln!(screen)?;
        }
        write_part(matrix, part, screen)?;
    }
    Ok(())
}

/// Writes the table of some columns: the fields that one of them has.
fn write_part(matrix: &FieldMatrix, part: &[usize], screen: &mut Screen) -> anyhow::Result<()> {
    let mut table = TextTable::new(&[]);
    let headings = part.iter().filter_map(|at| matrix.columns.get(*at)).map(heading);
    let headings = headings.map(|text| TableCell::styled(NAME, text));
    table.add_row(std::iter::once(TableCell::from("")).chain(headings));
    for row in &matrix.rows {
        let cells: Vec<&str> = part
            .iter()
            .map(|at| row.cells.get(*at).and_then(Option::as_deref).unwrap_or_default())
            .collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            let cells = cells.into_iter().map(TableCell::from);
            let field = TableCell::styled(FAINT, row.field.clone());
            table.add_row(std::iter::once(field).chain(cells));
        }
    }
    write_table(screen, &table)
}

/// Returns the rows as texts, the headings first.
fn text_rows(matrix: &FieldMatrix) -> Vec<Vec<String>> {
    let first = ["field", "class"].map(str::to_owned).into_iter();
    let mut rows = vec![first.chain(matrix.columns.iter().map(heading)).collect()];
    for row in &matrix.rows {
        let first = [row.field.clone(), row.class.to_owned()].into_iter();
        let cells = row.cells.iter().map(|cell| cell.clone().unwrap_or_default());
        rows.push(first.chain(cells).collect());
    }
    rows
}

fn write_csv(matrix: &FieldMatrix, screen: &mut Screen) -> anyhow::Result<()> {
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(&mut *screen);
    for row in text_rows(matrix) {
        writer.write_record(&row)?;
    }
    Ok(writer.flush()?)
}

fn write_markdown(matrix: &FieldMatrix, screen: &mut Screen) -> anyhow::Result<()> {
    for (at, row) in text_rows(matrix).iter().enumerate() {
        let cells: Vec<String> = row.iter().map(|cell| markdown_cell(cell)).collect();
        writeln!(screen, "| {} |", cells.join(" | "))?;
        if at == 0 {
            writeln!(screen, "|{}", "---|".repeat(row.len()))?;
        }
    }
    Ok(())
}

fn matrix_json(matrix: &FieldMatrix) -> Value {
    let columns = matrix.columns.iter();
    let recipients: Vec<Value> =
        columns.map(|one| json!({ "name": one.recipient, "enabled": one.is_enabled })).collect();
    let fields: Vec<Value> = matrix
        .rows
        .iter()
        .map(|row| {
            let cells = matrix.columns.iter().zip(&row.cells);
            let shown: Map<String, Value> = cells
                .filter_map(|(column, cell)| {
                    Some((column.recipient.clone(), Value::from(cell.clone()?)))
                })
                .collect();
            json!({ "field": row.field, "class": row.class, "recipients": shown })
        })
        .collect();
    json!({ "recipients": recipients, "fields": fields })
}
