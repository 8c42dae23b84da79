//! `zeef bench`: what a policy costs on this machine.
//!
//! Shows figures and names, never a value of a record; writes no file.

mod ablation;
mod measure;
mod show;
mod workload;

use std::path::Path;

use crate::daemon::clock;
use crate::engine::pipeline::BatchTime;
use crate::policy::Policy;
use crate::policy::catalogue::RecordKind;
use crate::policy::reason::Reason;

use super::arguments::BenchArguments;
use super::config::{load, unknown_name_text};
use super::exit::{CliFailure, Exit, pluralise};
use super::key_lookup::FoundKeys;
use super::project::{kind_of_source, recipient_names};
use super::screen::{NoteKind, Screen, print_note};
use measure::{BenchFigures, BenchSetup};
use workload::Workload;

pub(super) fn run(arguments: &BenchArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = load(&arguments.config.config)?;
    let kind = select_kind(&loaded.policy, arguments.source.as_deref())?;
    let work = match arguments.records.as_deref() {
        Some(file) => Workload::read_file(&loaded.policy, kind, file)?,
        None => Workload::generate(kind, arguments.count as usize)?,
    };
    let names: Vec<&str> = recipient_names(&loaded.policy).collect();
    let keys =
        FoundKeys::find_keys(&loaded.daemon.keys, &names).into_ring_with_throwaways(&names)?;
    warn_of_unreadable_lines(&work, arguments.records.as_deref());
    if cfg!(debug_assertions) {
        let text = "this zeef is built for debugging: its figures say nothing of a release";
        print_note(NoteKind::Warning, text);
    }
    let setup = BenchSetup {
        loaded: &loaded,
        keys: &keys,
        workload: &work,
        kind,
        now: BatchTime::from_ms(clock::now_ms()),
        rounds: arguments.rounds,
    };
    let figures = setup.measure(!arguments.no_shares)?;
    warn_of_refused_records(&figures);
    match arguments.json {
        true => show::write_json(screen, &figures)?,
        false => show::write_tables(screen, &figures)?,
    }
    Ok(Exit::Success)
}

/// Returns the kind whose records are decided: one that some recipient reads.
fn select_kind<'a>(policy: &'a Policy, asked: Option<&str>) -> Result<&'a RecordKind, CliFailure> {
    let is_read = |kind: &RecordKind| {
        let mut recipients = policy.recipients.iter();
        recipients
            .any(|recipient| policy.record_kinds[recipient.source_kind_index].name == kind.name)
    };
    let read: Vec<&RecordKind> = policy.record_kinds.iter().filter(|kind| is_read(kind)).collect();
    let read_names = || read.iter().map(|kind| kind.name.as_str());
    let Some(asked) = asked else {
        let patron = policy.patron_kind().filter(|kind| is_read(kind));
        return patron.or_else(|| read.first().copied()).ok_or_else(|| {
            CliFailure::Config("no recipient is enabled: there is nothing to measure".to_owned())
        });
    };
    match kind_of_source(policy, asked) {
        Some(kind) if is_read(kind) => Ok(kind),
        Some(kind) => {
            let names: Vec<_> = read_names().map(|name| format!("`{name}`")).collect();
            Err(CliFailure::Usage(format!(
                "no recipient reads `{}`: expected one of {}",
                kind.name,
                names.join(", ")
            )))
        }
        None => Err(CliFailure::Usage(unknown_name_text("source", asked, read_names()))),
    }
}

fn warn_of_unreadable_lines(work: &Workload, file: Option<&Path>) {
    let Some((first, file)) = work.unreadable_lines.first().zip(file) else {
        return;
    };
    let lines = pluralise(work.unreadable_lines.len(), "line");
    let text = format!(
        "{}: {lines} left out that are no {{\"source\":...,\"key\":...,\"value\":...}}, the first is line {first}",
        file.display()
    );
    print_note(NoteKind::Warning, &text);
}

/// Warns that records that are refused, or wait, cost less than decided ones.
fn warn_of_refused_records(figures: &BenchFigures) {
    if figures.held > 0 {
        let records = pluralise(usize::try_from(figures.held).unwrap_or(usize::MAX), "record");
        let text = format!("{records} held: the patron is not among the lines");
        print_note(NoteKind::Warning, &text);
    }
    for reason in Reason::ALL {
        let count = figures.refused[*reason as usize];
        if count > 0 {
            let records = pluralise(usize::try_from(count).unwrap_or(usize::MAX), "record");
            let (word, meaning) = (reason.as_str(), reason.meaning());
            print_note(NoteKind::Warning, &format!("{records} refused as {word} ({meaning})"));
        }
    }
}
