//! The rows of a CSV file, as lines with raw messages.

use std::path::Path;

use anyhow::{Context as _, anyhow};

use crate::cli::exit::CliFailure;
use crate::intake::CsvFiles;
use crate::json::write;

/// Hands each row of a file to `take` as a line `{"topic":...,"value":{...}}`, with the number of the
/// line where it begins. An empty value is a null. A row with another number of values than the
/// header has is handed out as a line that is no message.
///
/// # Errors
///
/// The file cannot be read, is in another encoding, or has a header with a name twice or without
/// a name; and those of `take`.
pub(super) fn for_each_row(
    path: &Path,
    (files, topic): (&CsvFiles, &str),
    mut take: impl FnMut(usize, &[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let shown = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("failed to read {shown}"))?;
    let (text, encoding, has_errors) = files.encoding.decode(&bytes);
    if has_errors {
        let name = encoding.name();
        return Err(anyhow!("{shown} is not in {name}: set `encoding` of `[csv]` in the mapping"));
    }
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(files.delimiter)
        .flexible(true)
        .from_reader(text.as_bytes());
    let names: Vec<String> = reader
        .headers()
        .with_context(|| format!("failed to read the header of {shown}"))?
        .iter()
        .map(|name| name.trim().to_owned())
        .collect();
    check_names(&names).map_err(|wrong| CliFailure::Usage(format!("{shown}: {wrong}")))?;
    let mut line = Vec::new();
    for row in reader.records() {
        let row = row.with_context(|| format!("failed to read {shown}"))?;
        let number = row.position().map_or(0, csv::Position::line);
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        if row.len() != names.len() {
            take(number, NO_MESSAGE)?;
            continue;
        }
        line.clear();
        line.extend_from_slice(b"{\"topic\":");
        write::string(&mut line, topic);
        line.extend_from_slice(b",\"value\":");
        for (at, (name, value)) in names.iter().zip(&row).enumerate() {
            line.push(if at == 0 { b'{' } else { b',' });
            write::string(&mut line, name);
            line.push(b':');
            match value.is_empty() {
                true => line.extend_from_slice(b"null"),
                false => write::string(&mut line, value),
            }
        }
        line.extend_from_slice(b"}}");
        take(number, &line)?;
    }
    Ok(())
}

/// A line that is refused as no message.
const NO_MESSAGE: &[u8] = b"[]";

fn check_names(names: &[String]) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    for (at, name) in names.iter().enumerate() {
        if name.is_empty() {
            return Err(format!("column {} of the header has no name", at + 1));
        }
        if !seen.insert(name) {
            return Err(format!("the header has `{name}` twice"));
        }
    }
    Ok(())
}
