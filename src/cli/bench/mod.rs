//! `zeef bench`: what a policy costs on the machine at hand.
//!
//! Shows figures and names, never a value of a record; writes no file.

mod measure;
mod parts;
mod records;
mod show;

use std::path::Path;

use crate::daemon::clock;
use crate::engine::pipeline::BatchTime;
use crate::policy::Policy;
use crate::policy::catalogue::Kind;
use crate::policy::reason::Reason;

use super::arguments::BenchArguments;
use super::config::{load, unknown};
use super::exit::{Exit, Failure, counted};
use super::key::Keys;
use super::project::{kind_of, names};
use super::screen::{Screen, Tone, note};
use measure::{Figures, Scene};
use records::Work;

pub(super) fn run(arguments: &BenchArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = load(&arguments.config.config)?;
    let kind = source(&loaded.policy, arguments.source.as_deref())?;
    let work = match arguments.records.as_deref() {
        Some(file) => Work::read(&loaded.policy, kind, file)?,
        None => Work::make_up(kind, arguments.count as usize)?,
    };
    let names: Vec<&str> = names(&loaded.policy).collect();
    let keys = Keys::find(&loaded.daemon.keys, &names).or_throwaway(&names)?;
    tell_unreadable(&work, arguments.records.as_deref());
    if cfg!(debug_assertions) {
        let text = "this zeef is built for debugging: its figures say nothing of a release";
        note(Tone::Warning, text);
    }
    let scene = Scene {
        loaded: &loaded,
        keys: &keys,
        work: &work,
        kind,
        now: BatchTime::from_ms(clock::now_ms()),
        rounds: arguments.rounds,
    };
    let figures = scene.measure(!arguments.no_shares)?;
    tell_refused(&figures);
    match arguments.json {
        true => show::json(screen, &figures)?,
        false => show::tables(screen, &figures)?,
    }
    Ok(Exit::Fine)
}

/// The kind whose records are decided: one that some recipient reads.
fn source<'a>(policy: &'a Policy, asked: Option<&str>) -> Result<&'a Kind, Failure> {
    let is_read = |kind: &Kind| {
        let mut recipients = policy.recipients.iter();
        recipients.any(|recipient| policy.kinds[recipient.source].name == kind.name)
    };
    let read: Vec<&Kind> = policy.kinds.iter().filter(|kind| is_read(kind)).collect();
    let read_names = || read.iter().map(|kind| kind.name.as_str());
    let Some(asked) = asked else {
        let patron = policy.patron().filter(|kind| is_read(kind));
        return patron.or_else(|| read.first().copied()).ok_or_else(|| {
            Failure::Config("no recipient is enabled: there is nothing to measure".to_owned())
        });
    };
    match kind_of(policy, asked) {
        Some(kind) if is_read(kind) => Ok(kind),
        Some(kind) => {
            let names: Vec<_> = read_names().map(|name| format!("`{name}`")).collect();
            Err(Failure::Usage(format!(
                "no recipient reads `{}`: expected one of {}",
                kind.name,
                names.join(", ")
            )))
        }
        None => Err(Failure::Usage(unknown("source", asked, read_names()))),
    }
}

fn tell_unreadable(work: &Work, file: Option<&Path>) {
    let Some((first, file)) = work.unreadable.first().zip(file) else {
        return;
    };
    let lines = counted(work.unreadable.len(), "line");
    let text = format!(
        "{}: {lines} left out that are no {{\"source\":...,\"key\":...,\"value\":...}}, the first is line {first}",
        file.display()
    );
    note(Tone::Warning, &text);
}

/// A record that is refused, or waits, costs less than one that is decided.
fn tell_refused(figures: &Figures) {
    if figures.held > 0 {
        let records = counted(
            usize::try_from(figures.held).unwrap_or(usize::MAX),
            "record",
        );
        let text = format!("{records} held: the patron is not among the lines");
        note(Tone::Warning, &text);
    }
    for reason in Reason::ALL {
        let count = figures.refused[*reason as usize];
        if count > 0 {
            let records = counted(usize::try_from(count).unwrap_or(usize::MAX), "record");
            let (word, meaning) = (reason.as_str(), reason.meaning());
            note(
                Tone::Warning,
                &format!("{records} refused as {word} ({meaning})"),
            );
        }
    }
}
