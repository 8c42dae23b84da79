//! `zeef check --against`: what is wrong with the records of a file, as a run would find.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use super::compile_lane::compile_lane;
use super::config::unknown_name_text;
use super::exit::{CliFailure, Exit, pluralise};
use super::key_lookup::FoundKeys;
use super::message_lines::{LineMessage, LineValue, MessageLines};
use super::project::{
    DecisionOrder, OfflineRun, batch_time, kind_of_source, recipient_names, require_known_sources,
};
use super::screen::{self, NoteKind, Screen};
use crate::config::LoadedConfig;
use crate::contract::{RecordFinding, RecordProblem, check_record};
use crate::policy::Policy;
use crate::policy::pseudonym::HmacKey;
use crate::policy::reason::Reason;

/// What is wrong with one line.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LineFinding {
    line: usize,
    pointer: String,
    word: &'static str,
    text: String,
}

/// Checks every line of `file`.
///
/// # Errors
///
/// No such kind, or a file that cannot be read.
pub(super) fn run(
    loaded: &LoadedConfig,
    file: &Path,
    source: Option<&str>,
    screen: &mut Screen,
) -> anyhow::Result<Exit> {
    let policy = &loaded.policy;
    if let Some(name) = source.filter(|name| kind_of_source(policy, name).is_none()) {
        let names: Vec<&str> = policy.record_kinds.iter().map(|kind| kind.name.as_str()).collect();
        return Err(CliFailure::Usage(unknown_name_text("kind of record", name, names)).into());
    }
    let failed = || format!("cannot read {}", file.display());
    let opened = File::open(file).with_context(failed)?;
    let lines = MessageLines::read_of_source(BufReader::new(opened), source);
    let lines = lines.with_context(failed)?;
    require_known_sources(policy, &lines.messages)?;
    let mut findings = find_by_catalogue(policy, &lines.messages);
    add_dead_letters(loaded, &lines.messages, &mut findings)?;
    for line in &lines.unreadable_lines {
        findings.insert(LineFinding {
            line: *line,
            pointer: String::new(),
            word: Reason::NotAMessage.as_str(),
            text: "expected {\"key\":...,\"value\":...}, and a source or --source".to_owned(),
        });
    }
    for found in &findings {
        let LineFinding { line, pointer, word, text } = found;
        let pointer = if pointer.is_empty() { "(record)" } else { pointer };
        writeln!(screen, "{}:{line}: {pointer}: {word}: {text}", file.display())?;
    }
    report_count(&lines, &findings);
    Ok(if findings.is_empty() { Exit::Success } else { Exit::Failed })
}

fn report_count(lines: &MessageLines, findings: &BTreeSet<LineFinding>) {
    let count = lines.messages.len() + lines.unreadable_lines.len();
    let wrong: BTreeSet<usize> = findings.iter().map(|found| found.line).collect();
    let text = match wrong.len() {
        0 => format!("{}: nothing is wrong", pluralise(count, "record")),
        wrong => format!("{wrong} of {} wrong", pluralise(count, "record")),
    };
    screen::print_note(NoteKind::Plain, &text);
}

fn find_by_catalogue(policy: &Policy, messages: &[LineMessage]) -> BTreeSet<LineFinding> {
    let mut findings = BTreeSet::new();
    for message in messages {
        let Some(kind) = kind_of_source(policy, &message.source) else {
            continue;
        };
        let found = match &message.value {
            LineValue::Null => check_record(kind, message.key.as_deref(), None),
            LineValue::Bytes(value) => check_record(kind, message.key.as_deref(), Some(value)),
            LineValue::Refused(reason) => vec![RecordFinding {
                pointer: String::new(),
                problem: RecordProblem::Refused(*reason),
                expected: "{\"key\":...,\"value\":...}".to_owned(),
            }],
        };
        findings.extend(found.into_iter().map(|one| LineFinding {
            line: message.line,
            pointer: one.pointer,
            word: one.problem.as_str(),
            text: format!("expected {}", one.expected),
        }));
    }
    findings
}

/// Adds what a run makes dead letters of, where nothing is said of the line yet.
fn add_dead_letters(
    loaded: &LoadedConfig,
    messages: &[LineMessage],
    findings: &mut BTreeSet<LineFinding>,
) -> anyhow::Result<()> {
    let names: Vec<&str> = recipient_names(&loaded.policy).collect();
    let keys = FoundKeys::find_keys(&loaded.daemon.keys, &names);
    // What pseudonyms are made with says nothing of a record.
    let keys = keys.ring_with_throwaways(&names, HmacKey::generate("throwaway")?)?;
    let lane = Arc::new(compile_lane("check", loaded, |_| true, &keys)?);
    let mut run = OfflineRun::new(&lane, loaded, batch_time(None));
    run.decide_all(messages, DecisionOrder::LineByLine, |_, _| Ok(()))?;
    let known: BTreeSet<usize> = findings.iter().map(|found| found.line).collect();
    for (line, word) in run.dead_letters().filter(|(line, _)| !known.contains(line)) {
        let meaning = Reason::from_name(word).map_or("", Reason::meaning);
        findings.insert(LineFinding {
            line,
            pointer: String::new(),
            word,
            text: meaning.to_owned(),
        });
    }
    Ok(())
}
