//! `zeef compact`: no value stays above the null that took it back.

use std::io::Write as _;

use anyhow::Context as _;

use super::arguments::CompactArguments;
use super::directory;
use super::exit::Exit;
use super::screen::Screen;
use super::table::{Cell, Table};
use crate::transport::directory::Compacted;

/// Compacts every output and state of a directory.
///
/// # Errors
///
/// A folder that is no directory of zeef, is in use, or cannot be written.
pub(super) fn run(arguments: &CompactArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let root = &arguments.directory;
    let settings = directory::settings(root, &arguments.config.config)?;
    let directory = directory::open(settings)?;
    let files = directory
        .compact()
        .with_context(|| format!("failed to compact {}", root.display()))?;
    if files.is_empty() {
        writeln!(screen, "every file has one line for each key already")?;
    } else {
        show(screen, &files)?;
    }
    Ok(Exit::Fine)
}

fn show(screen: &mut Screen, files: &[Compacted]) -> anyhow::Result<()> {
    let headings = ["file", "lines before", "after", "bytes before", "after"];
    let mut table = Table::new(&headings);
    for file in files {
        let folder = if file.state { ".zeef" } else { "out" };
        table.row(vec![
            Cell::from(format!("{folder}/{}.ndjson", file.name)),
            Cell::number(file.lines_before),
            Cell::number(file.lines_after),
            Cell::number(file.bytes_before),
            Cell::number(file.bytes_after),
        ]);
    }
    let width = screen.width();
    table.write(screen, width)?;
    Ok(())
}
