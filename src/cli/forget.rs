//! `zeef forget`: a lane begins anew, and what its recipients have is forgotten.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use serde_json::Value;

use super::arguments::ForgetArguments;
use super::ask::Place;
use super::config;
use super::directory;
use super::exit::{Exit, Failure, counted};
use super::kafka;
use super::screen::Screen;
use crate::engine::lane::STATE_TOPIC;
use crate::policy::Loaded;
use crate::transport::commands::Command;
use crate::transport::directory::{forget as directory_forget, read_state};
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::forget::{self, ForgetError};

/// Makes a lane begin anew, and says what can never be taken back.
///
/// # Errors
///
/// A lane that the config does not have, one that runs, or a Kafka or a directory
/// that cannot be written.
pub(super) fn run(arguments: &ForgetArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let lane = &arguments.lane;
    let loaded = config::load(&arguments.config.config)?;
    let lanes = loaded.daemon.lanes.iter().map(|lane| lane.name.as_str());
    if !lanes.clone().any(|known| known == lane) {
        return Err(Failure::Usage(config::unknown("lane", lane, lanes)).into());
    }
    match &arguments.directory {
        Some(root) => in_directory(arguments, root, screen),
        None => {
            let brokers = arguments.brokers.brokers.as_deref();
            let connection = kafka::Connection::new(&loaded, &arguments.config.config, brokers);
            connection.with(|settings| on_kafka(arguments, &loaded, settings, screen))
        }
    }
}

fn on_kafka(
    arguments: &ForgetArguments,
    loaded: &Loaded,
    settings: KafkaSettings,
    screen: &mut Screen,
) -> anyhow::Result<Exit> {
    let lane = &arguments.lane;
    let state = format!("{STATE_TOPIC}{lane}");
    let outputs = outputs_of(loaded, lane);
    let known = match forget::look(&settings, lane, &state, &outputs) {
        Err(ForgetError::Runs { group, members }) => {
            let text = ForgetError::Runs { group, members }.to_string();
            return Err(Failure::InUse(text).into());
        }
        known => known?,
    };
    let has = known.has.iter();
    let has: BTreeMap<String, usize> = has
        .map(|(recipient, count)| {
            (
                recipient.clone(),
                usize::try_from(*count).unwrap_or(usize::MAX),
            )
        })
        .collect();
    tell(lane, &has, arguments.dry_run, screen)?;
    if known.unmarked > 0 {
        writeln!(
            screen,
            "  {} have no mark that can be read: what recipients have of them is not known",
            counted(known.unmarked, "partition")
        )?;
    }
    if arguments.dry_run {
        return Ok(Exit::Fine);
    }
    forget::forget(&settings, lane, &state, &known)?;
    let command = Command::Forget {
        lane: lane.clone(),
        offsets: known.offsets,
    };
    Place::Kafka(settings).give(
        vec![command],
        arguments.reason.as_deref().unwrap_or_default(),
    )?;
    writeln!(
        screen,
        "{} of its state and its group's offsets were removed",
        counted(known.rows(), "row")
    )?;
    Ok(Exit::Fine)
}

/// The topics of a lane's recipients.
fn outputs_of(loaded: &Loaded, lane: &str) -> Vec<String> {
    let lanes = loaded.daemon.lanes.iter().filter(|one| one.name == lane);
    let names: Vec<&String> = lanes.flat_map(|lane| &lane.recipients).collect();
    let recipients = loaded.policy.recipients.iter();
    recipients
        .filter(|recipient| names.contains(&&recipient.name))
        .flat_map(|recipient| recipient.topics.names().map(str::to_owned))
        .collect()
}

fn in_directory(
    arguments: &ForgetArguments,
    root: &Path,
    screen: &mut Screen,
) -> anyhow::Result<Exit> {
    let lane = &arguments.lane;
    let settings = directory::settings(root, &arguments.config.config)?;
    let state = format!("{STATE_TOPIC}{lane}");
    let has = what_recipients_have(root, &state);
    if let Some(has) = &has {
        tell(lane, has, arguments.dry_run, screen)?;
    }
    if arguments.dry_run {
        return Ok(Exit::Fine);
    }
    let forgotten = directory_forget(settings, lane, &state)?;
    if has.is_none() {
        writeln!(
            screen,
            "lane {lane} begins anew. Its state cannot be read ({} bytes): what recipients have is \
             not known, and zeef never takes it back",
            forgotten.state_bytes
        )?;
    }
    if forgotten.mark {
        writeln!(
            screen,
            "the mark itself could not be used: every other lane begins anew too, with the rows of \
             its state that you accept, or after `zeef forget` for it"
        )?;
    }
    Ok(Exit::Fine)
}

/// Says what is forgotten.
fn tell(
    lane: &str,
    has: &BTreeMap<String, usize>,
    dry_run: bool,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    if has.is_empty() {
        writeln!(screen, "lane {lane}: no recipient had anything")?;
        return Ok(());
    }
    let begins = if dry_run { "would begin" } else { "begins" };
    writeln!(
        screen,
        "lane {lane} {begins} anew. The next run sends again what recipients may have; zeef can \
         never take back what it does not send again of what they have now:"
    )?;
    for (recipient, count) in has {
        writeln!(screen, "  {recipient}: {}", counted(*count, "output"))?;
    }
    Ok(())
}

/// How many outputs each recipient has by a lane's state; `None` where it cannot
/// be read.
fn what_recipients_have(root: &Path, state: &str) -> Option<BTreeMap<String, usize>> {
    let mut rows: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
    let mut readable = true;
    let read = read_state(root, state, &mut |row| {
        let key = row.key.unwrap_or_default().to_vec();
        match row.value.map(recipients_of) {
            Some(Some(recipients)) => drop(rows.insert(key, recipients)),
            Some(None) => readable = false,
            None => drop(rows.remove(&key)),
        }
    });
    if read.is_err() || !readable {
        return None;
    }
    let mut has = BTreeMap::new();
    for recipient in rows.into_values().flatten() {
        *has.entry(recipient).or_insert(0) += 1;
    }
    Some(has)
}

/// The recipients that have an output of a row.
fn recipients_of(row: &[u8]) -> Option<Vec<String>> {
    let row: Value = serde_json::from_slice(row).ok()?;
    let Some(entries) = row.get("to").and_then(Value::as_object) else {
        return Some(Vec::new());
    };
    let has = |entry: &Value| {
        let outcome = entry.get("outcome").and_then(Value::as_str);
        matches!(outcome, Some("released" | "forgotten"))
    };
    let having = entries.iter().filter(|(_, entry)| has(entry));
    Some(having.map(|(recipient, _)| recipient.clone()).collect())
}
