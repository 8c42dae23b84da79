//! `zeef ledger audit`: who looked patrons up, exported, and gave commands that change something.

use std::collections::BTreeSet;
use std::io::Write as _;

use serde_json::json;

use super::patron::format_time;
use super::read::LedgerReader;
use super::recipient::day_start;
use crate::cli::arguments::LedgerAuditArguments;
use crate::cli::audit::AuditedAction;
use crate::cli::exit::Exit;
use crate::cli::screen::{BAD, Screen, styled};
use crate::cli::table::TextTable;
use crate::ledger::audit::AuditLine;
use crate::ledger::chain::{ChainProblem, ChainVerifier};
use crate::ledger::keys::utc_year;

pub(super) fn run(arguments: &LedgerAuditArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let from = arguments.from.map(day_start).transpose()?.unwrap_or(i64::MIN);
    let until = arguments.until.map(day_start).transpose()?.unwrap_or(i64::MAX);
    LedgerReader::with_reader(&arguments.source, |reader| {
        let patron = arguments.patron.as_deref();
        let references = patron.map(|id| look_up(reader, id)).transpose()?;
        let is_asked = |line: &AuditLine<'_>| {
            let is_of_patron = |references: &BTreeSet<String>| {
                line.patron.as_deref().is_some_and(|patron| references.contains(patron))
            };
            (from..until).contains(&line.time) && references.as_ref().is_none_or(is_of_patron)
        };
        let mut verifier = ChainVerifier::default();
        let mut rows = Vec::new();
        reader.for_each_audit_line(&mut |place, bytes| {
            let line = verifier.add_audit_line(place, bytes);
            rows.extend(line.filter(|line| is_asked(line)).map(|line| AuditRow::of(&line)));
        })?;
        match arguments.source.json {
            true => write_json(&rows, screen)?,
            false => write_table(rows, screen)?,
        }
        for ChainProblem { place, text } in &verifier.problems {
            match arguments.source.json {
                true => writeln!(screen, "{}", json!({ "place": place, "problem": text }))?,
                false => writeln!(screen, "{} {place}: {text}", styled(BAD, "broken"))?,
            }
        }
        Ok(if verifier.problems.is_empty() { Exit::Success } else { Exit::Failed })
    })
}

/// Writes a look-up of a patron down, and returns its references of all years.
fn look_up(reader: &LedgerReader<'_>, id: &str) -> anyhow::Result<BTreeSet<String>> {
    let keys = reader.ledger_keys()?;
    let hash = reader.state_keys()?.patron_hash(id).0;
    let patron = Some((hash, &keys));
    reader.record_audit(AuditedAction { words: "ledger audit --patron", subject: None, patron })?;
    let this_year = utc_year(jiff::Timestamp::now().as_second());
    let years = keys.first_year()..=this_year.max(keys.first_year());
    Ok(years.map(|year| keys.of_year(year).patron_reference(hash)).collect())
}

/// A line as it is shown: time, operator, action, subject and patron.
struct AuditRow {
    time: i64,
    texts: [String; 4],
}

impl AuditRow {
    fn of(line: &AuditLine<'_>) -> AuditRow {
        let optional = |text: &Option<_>| -> String {
            text.as_ref()
                .map(|text: &std::borrow::Cow<'_, str>| text.to_string())
                .unwrap_or_default()
        };
        let texts = [
            line.operator.to_string(),
            line.action.to_string(),
            optional(&line.subject),
            optional(&line.patron),
        ];
        AuditRow { time: line.time, texts }
    }
}

fn write_table(rows: Vec<AuditRow>, screen: &mut Screen) -> anyhow::Result<()> {
    let mut table = TextTable::new(&["WHEN (UTC)", "WHO", "WHAT", "OF WHAT", "PATRON"]);
    for AuditRow { time, texts: [operator, action, subject, patron] } in rows {
        table.add_row([
            format_time(time, "%Y-%m-%d %H:%M:%S").into(),
            operator.into(),
            action.into(),
            subject.into(),
            patron.into(),
        ]);
    }
    let width = screen.width();
    table.write(screen, width)?;
    Ok(())
}

fn write_json(rows: &[AuditRow], screen: &mut Screen) -> anyhow::Result<()> {
    for AuditRow { time, texts: [operator, action, subject, patron] } in rows {
        let time = format_time(*time, "%Y-%m-%dT%H:%M:%SZ");
        let is_there = |text: &String| (!text.is_empty()).then(|| text.clone());
        let line = json!({
            "time": time,
            "operator": operator,
            "action": action,
            "subject": is_there(subject),
            "patron": is_there(patron),
        });
        serde_json::to_writer(&mut *screen, &line)?;
        writeln!(screen)?;
    }
    Ok(())
}
