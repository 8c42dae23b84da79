//! What the commands that list something share: one row by name, headings, tables.

use std::io::Write as _;

use serde_json::Value;

use super::config::unknown_name_text;
use super::exit::CliFailure;
use super::screen::{NAME, Screen, styled};
use super::table::{TextTable, wrap_text};

/// Returns all of them, or the one with that name.
///
/// # Errors
///
/// [`CliFailure::Usage`] if there is none with that name.
pub(super) fn select_by_name<'a, T>(
    what: &str,
    name: Option<&str>,
    all: &'a [T],
    name_of: impl Fn(&'a T) -> &'a str,
) -> Result<Vec<&'a T>, CliFailure> {
    let Some(name) = name else {
        return Ok(all.iter().collect());
    };
    match all.iter().find(|one| name_of(one) == name) {
        Some(one) => Ok(vec![one]),
        None => {
            let names: Vec<&str> = all.iter().map(name_of).collect();
            Err(CliFailure::Usage(unknown_name_text(what, name, names)))
        }
    }
}

pub(super) fn write_json(value: &Value, screen: &mut Screen) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *screen, value)?;
    Ok(writeln!(screen)?)
}

pub(super) fn write_heading(screen: &mut Screen, name: &str, text: &str) -> anyhow::Result<()> {
    writeln!(screen, "{}", styled(NAME.bold(), name))?;
    write_paragraph(screen, text)
}

pub(super) fn write_paragraph(screen: &mut Screen, text: &str) -> anyhow::Result<()> {
    for line in wrap_text(text, screen.text_width() - 2) {
        writeln!(screen, "  {line}")?;
    }
    Ok(())
}

pub(super) fn write_table(screen: &mut Screen, table: &TextTable) -> anyhow::Result<()> {
    let width = screen.width();
    Ok(table.write(screen, width)?)
}
