//! `zeef ledger recipient`: what a recipient received in a time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::read::{LedgerReader, require_whole};
use super::texts::Texts;
use crate::cli::arguments::LedgerRecipientArguments;
use crate::cli::audit::AuditedAction;
use crate::cli::exit::{CliFailure, Exit};
use crate::cli::screen::Screen;
use crate::cli::table::{TableCell, TextTable};
use crate::ledger::answer::{RecipientQuestion, RecipientSummary};
use crate::ledger::keys::{YearKey, utc_year};

/// The words of the command that tells numbers alone, which is no look-up.
const NUMBERS_ONLY: &str = "ledger recipient";

pub(super) fn run(
    arguments: &LedgerRecipientArguments,
    screen: &mut Screen,
) -> anyhow::Result<Exit> {
    let words = match arguments.patrons {
        true => "ledger recipient --patrons",
        false => NUMBERS_ONLY,
    };
    with_summary(arguments, words, |reader, question, summary| {
        let named = match arguments.patrons {
            true => Some(NamedPatrons::find(reader, question, summary)?),
            false => None,
        };
        match arguments.source.json {
            true => write_json(question, (summary, named.as_ref()), screen),
            false => {
                let texts = Texts(arguments.lang.into());
                write_text(summary, texts, screen)?;
                named.map_or(Ok(()), |named| named.write_text(texts, screen))
            }
        }
    })
}

/// The patrons behind references of the ledger.
struct NamedPatrons {
    /// Those that the patron source has.
    ids: Vec<String>,
    /// How many references are of none of them.
    unnamed: usize,
}

impl NamedPatrons {
    /// Tries the references of each patron that the source has.
    fn find(
        reader: &LedgerReader<'_>,
        question: RecipientQuestion<'_>,
        summary: &RecipientSummary,
    ) -> anyhow::Result<NamedPatrons> {
        let (state, keys) = (reader.state_keys()?, reader.ledger_keys()?);
        let this_year = utc_year(jiff::Timestamp::now().as_second());
        let first = utc_year(question.from).max(keys.first_year());
        let last = utc_year(question.until - 1).min(this_year);
        let keys: Vec<YearKey> = (first..=last).map(|year| keys.of_year(year)).collect();
        let mut found = BTreeMap::<String, bool>::new();
        let mut references = BTreeSet::new();
        reader.for_each_patron(&mut |id, has_record| {
            let hash = state.patron_hash(id).0;
            let of_patron = keys.iter().map(|key| key.patron_reference(hash));
            let given: Vec<String> =
                of_patron.filter(|reference| summary.patrons.contains(reference)).collect();
            if !given.is_empty() {
                found.insert(id.to_owned(), has_record);
                references.extend(given);
            }
        })?;
        let unnamed = summary.patrons.len().saturating_sub(references.len());
        let erased = found.values().filter(|has_record| !**has_record).count();
        let ids = found.into_iter().filter_map(|(id, has_record)| has_record.then_some(id));
        Ok(NamedPatrons { ids: ids.collect(), unnamed: unnamed + erased })
    }

    fn write_text(&self, texts: Texts, screen: &mut Screen) -> anyhow::Result<()> {
        let [heading, unnamed] = texts.named_patrons();
        writeln!(screen, "\n{heading}")?;
        for id in &self.ids {
            writeln!(screen, "{id}")?;
        }
        if self.unnamed > 0 {
            writeln!(screen, "{} {unnamed}", self.unnamed)?;
        }
        Ok(())
    }
}

/// Sums up what a recipient received, and does `work` with it. `words` are those of the command:
/// with names of patrons, or as a breach, it is an audit line.
///
/// # Errors
///
/// A wrong time, those of [`LedgerReader::with_reader`] and of `work`, and a broken chain.
pub(super) fn with_summary(
    arguments: &LedgerRecipientArguments,
    words: &str,
    work: impl FnOnce(&LedgerReader<'_>, RecipientQuestion<'_>, &RecipientSummary) -> anyhow::Result<()>,
) -> anyhow::Result<Exit> {
    let question = RecipientQuestion {
        recipient: &arguments.recipient,
        from: day_start(arguments.from)?,
        until: day_start(arguments.until)?,
        field: arguments.field.as_deref(),
    };
    if question.until <= question.from {
        let text = "--until is the day after the last one: it has to be later than --from";
        return Err(CliFailure::Usage(text.to_owned()).into());
    }
    LedgerReader::with_reader(&arguments.source, |reader| {
        if words != NUMBERS_ONLY {
            let subject = Some(question.recipient);
            reader.record_audit(AuditedAction { words, subject, patron: None })?;
        }
        let register = reader.read_register()?.0;
        let mut summary = RecipientSummary::default();
        let chains = reader.verify_each_block(&register, &mut |block, _| {
            summary.add_block(question, &block, &register);
        })?;
        work(reader, question, &summary)?;
        require_whole(&chains, "the answer")?;
        Ok(Exit::Success)
    })
}

/// The start of a day in UTC, in Unix seconds.
pub(super) fn day_start(day: Date) -> anyhow::Result<i64> {
    Ok(day.to_zoned(TimeZone::UTC)?.timestamp().as_second())
}

fn write_text(summary: &RecipientSummary, texts: Texts, screen: &mut Screen) -> anyhow::Result<()> {
    let [patrons, records, without_patron, lines, fields] = texts.recipient_summary();
    writeln!(screen, "{} {patrons}", summary.patrons.len())?;
    writeln!(screen, "{} {records}", summary.outputs.len())?;
    if summary.without_patron > 0 {
        writeln!(screen, "{} {without_patron}", summary.without_patron)?;
    }
    for (heading, rows) in [(lines, operation_rows(summary, texts)), (fields, field_rows(summary))]
    {
        writeln!(screen)?;
        let mut table = TextTable::new(&[heading, ""]);
        for (name, count) in rows {
            table.add_row([name.into(), TableCell::number(count)]);
        }
        let width = screen.width();
        table.write(screen, width)?;
    }
    Ok(())
}

fn operation_rows(summary: &RecipientSummary, texts: Texts) -> Vec<(String, u64)> {
    let row = |((operation, reason), count): (&(_, String), &u64)| {
        let what = texts.operation(*operation);
        match reason.is_empty() {
            true => (what.to_owned(), *count),
            false => (format!("{what}: {}", texts.reason(reason)), *count),
        }
    };
    summary.operations.iter().map(row).collect()
}

fn field_rows(summary: &RecipientSummary) -> Vec<(String, u64)> {
    summary.fields.iter().map(|(field, count)| (field.clone(), *count)).collect()
}

fn write_json(
    question: RecipientQuestion<'_>,
    (summary, named): (&RecipientSummary, Option<&NamedPatrons>),
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let operations: Vec<Value> = summary
        .operations
        .iter()
        .map(|((operation, reason), lines)| {
            json!({ "operation": operation, "reason": reason, "lines": lines })
        })
        .collect();
    let mut answer = json!({
        "recipient": question.recipient,
        "patrons": summary.patrons.len(),
        "records": summary.outputs.len(),
        "records_without_patron": summary.without_patron,
        "operations": operations,
        "fields": summary.fields,
        "activities": summary.activities,
    });
    if let Some(named) = named {
        answer["patron_ids"] = json!(named.ids);
        answer["patrons_not_named"] = json!(named.unnamed);
    }
    serde_json::to_writer_pretty(&mut *screen, &answer)?;
    writeln!(screen)?;
    Ok(())
}
