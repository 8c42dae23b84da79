//! `zeef compact`: removes values above the nulls that took them back.

use std::io::Write as _;

use anyhow::Context as _;

use super::arguments::CompactArguments;
use super::directory;
use super::exit::Exit;
use super::screen::Screen;
use super::table::{TableCell, TextTable};
use crate::transport::directory::CompactedFile;

/// Compacts every output and state of a directory.
///
/// # Errors
///
/// A folder that is no directory of zeef, is in use, or cannot be written.
pub(super) fn run(arguments: &CompactArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let root = &arguments.directory;
    let settings = directory::settings_with_state_key(root, &arguments.config.config)?;
    let directory = directory::open_directory(settings)?;
    let files =
        directory.compact().with_context(|| format!("failed to compact {}", root.display()))?;
    if files.is_empty() {
        writeln!(screen, "every file already has one line per key")?;
    } else {
        write_compacted_files(screen, &files)?;
    }
    Ok(Exit::Success)
}

fn write_compacted_files(screen: &mut Screen, files: &[CompactedFile]) -> anyhow::Result<()> {
    let headings = ["file", "lines before", "after", "bytes before", "after"];
    let mut table = TextTable::new(&headings);
    for file in files {
        let folder = if file.is_state { ".zeef" } else { "out" };
        table.add_row(vec![
            TableCell::from(format!("{folder}/{}.ndjson", file.name)),
            TableCell::number(file.lines_before),
            TableCell::number(file.lines_after),
            TableCell::number(file.bytes_before),
            TableCell::number(file.bytes_after),
        ]);
    }
    let width = screen.width();
    table.write(screen, width)?;
    Ok(())
}
