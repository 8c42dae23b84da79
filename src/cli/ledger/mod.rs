//! `zeef ledger`: who received what, and whether that is as zeef wrote it.
//!
//! Reads what is committed, even while a run is going on. Shows names of fields and keyed
//! references, never a value of a record.

mod audit;
pub(super) mod breach;
mod erase;
mod export;
mod follow;
mod forget;
mod patron;
mod read;
mod recipient;
pub(super) mod retractions;
pub(super) mod rights;
mod serve;
mod template;
mod texts;
mod timestamp;
mod values;
mod verify;

use std::io::Write as _;

use serde_json::json;

use super::arguments::{LedgerArguments, LedgerCommand, LedgerStatsArguments};
use super::exit::{Exit, pluralise};
use super::screen::Screen;
use super::table::{TableCell, TextTable};
use crate::ledger::Operation;
use crate::ledger::answer::LedgerStats;
use read::LedgerReader;
use strum::VariantArray as _;

/// Answers a question to the ledger.
///
/// # Errors
///
/// A wrong config, a missing key, or a ledger that cannot be read.
pub(super) fn run(arguments: &LedgerArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    match &arguments.command {
        LedgerCommand::Verify(arguments) => verify::run(arguments, screen),
        LedgerCommand::Patron(arguments) => patron::run(arguments, screen),
        LedgerCommand::Recipient(arguments) => recipient::run(arguments, screen),
        LedgerCommand::Stats(arguments) => write_stats(arguments, screen),
        LedgerCommand::Export(arguments) => export::run(arguments),
        LedgerCommand::Audit(arguments) => audit::run(arguments, screen),
        LedgerCommand::Timestamp(arguments) => timestamp::run(arguments, screen),
        LedgerCommand::Forget(arguments) => forget::run(arguments, screen),
        LedgerCommand::Serve(arguments) => serve::run(arguments, screen),
    }
}

fn write_stats(arguments: &LedgerStatsArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let is_json = arguments.source.json;
    LedgerReader::with_reader(&arguments.source, |reader| {
        let register = reader.read_register()?.0;
        let mut stats = LedgerStats::default();
        let chains = reader.verify_each_block(&register, &mut |block, length| {
            stats.add_block(&block, length);
        })?;
        let blocks: u64 = chains.chains.values().map(|chain| chain.blocks).sum();
        let lines: u64 = chains.chains.values().map(|chain| chain.lines).sum();
        if is_json {
            let by_recipient = &stats.by_recipient;
            let answer = json!({
                "chains": chains.chains.len(), "blocks": blocks, "lines": lines,
                "bytes": stats.bytes, "years": stats.by_year, "recipients": by_recipient,
            });
            serde_json::to_writer_pretty(&mut *screen, &answer)?;
            writeln!(screen)?;
            return Ok(Exit::Success);
        }
        let bytes = stats.bytes.checked_div(lines).unwrap_or(0);
        writeln!(
            screen,
            "{}, {blocks} blocks, {lines} lines, {} bytes ({bytes} a line)",
            pluralise(chains.chains.len(), "chain"),
            stats.bytes
        )?;
        for (year, lines) in &stats.by_year {
            writeln!(screen, "{year}  {lines} lines")?;
        }
        write_counts(&stats, screen)?;
        Ok(Exit::Success)
    })
}

fn write_counts(stats: &LedgerStats, screen: &mut Screen) -> anyhow::Result<()> {
    let mut table =
        TextTable::new(&["RECIPIENT", "RELEASE", "CORRECT", "RETRACT", "FORGET", "REFUSE"]);
    for (recipient, counts) in &stats.by_recipient {
        let count = |operation: &Operation| {
            TableCell::number(counts.get(operation).copied().unwrap_or_default())
        };
        let cells = Operation::VARIANTS.iter().map(count);
        table.add_row(std::iter::once(recipient.as_str().into()).chain(cells));
    }
    let width = screen.width();
    table.write(screen, width)?;
    Ok(())
}
