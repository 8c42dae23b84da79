//! `zeef forget`: makes a lane start over without knowing what its recipients have.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use serde_json::Value;

use super::arguments::ForgetArguments;
use super::audit::{AuditedAction, Auditor};
use super::command_target::{CommandTarget, DataLocation};
use super::config;
use super::directory;
use super::exit::{CliFailure, Exit, pluralise};
use super::kafka;
use super::screen::Screen;
use crate::config::LoadedConfig;
use crate::engine::lane::STATE_TOPIC_PREFIX;
use crate::message::commands::OperatorCommand;
use crate::transport::directory::{forget_lane as directory_forget, read_state};
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::forget;

/// Makes a lane start over, and says what can never be taken back.
///
/// # Errors
///
/// A lane that the config does not have or that runs, or Kafka or a directory that cannot
/// be written.
pub(super) fn run(arguments: &ForgetArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let lane = &arguments.lane;
    let loaded = config::load(&arguments.config.config)?;
    let lanes = loaded.daemon.lanes.iter().map(|lane| lane.name.as_str());
    if !lanes.clone().any(|known| known == lane) {
        return Err(CliFailure::Usage(config::unknown_name_text("lane", lane, lanes)).into());
    }
    match &arguments.directory {
        Some(root) => forget_in_directory(arguments, (root, &loaded), screen),
        None => {
            let brokers = arguments.brokers.brokers.as_deref();
            let connection =
                kafka::KafkaConnection::new(&loaded, &arguments.config.config, brokers);
            connection.with_settings(|settings| on_kafka(arguments, &loaded, settings, screen))
        }
    }
}

fn on_kafka(
    arguments: &ForgetArguments,
    loaded: &LoadedConfig,
    settings: KafkaSettings,
    screen: &mut Screen,
) -> anyhow::Result<Exit> {
    let lane = &arguments.lane;
    let state = format!("{STATE_TOPIC_PREFIX}{lane}");
    let outputs = output_topics(loaded, lane);
    let known = forget::inspect_lane(&settings, lane, &state, &outputs)?;
    let has = known.outputs_by_recipient.iter();
    let has: BTreeMap<String, usize> = has
        .map(|(recipient, count)| {
            (recipient.clone(), usize::try_from(*count).unwrap_or(usize::MAX))
        })
        .collect();
    report_forgotten(lane, &has, arguments.dry_run, screen)?;
    if known.unmarked_partitions > 0 {
        writeln!(
            screen,
            "  {} have no readable mark: what recipients have of them is unknown",
            pluralise(known.unmarked_partitions, "partition")
        )?;
    }
    if arguments.dry_run {
        return Ok(Exit::Success);
    }
    record_audit(arguments, loaded, &DataLocation::Kafka(settings.clone()))?;
    forget::forget_lane(&settings, lane, &state, &known)?;
    let command = OperatorCommand::Forget { lane: lane.clone(), offsets: known.output_end_total };
    CommandTarget::Kafka(settings)
        .send_commands(vec![command], arguments.reason.as_deref().unwrap_or_default())?;
    writeln!(
        screen,
        "{} of its state and its group's offsets were removed",
        pluralise(known.row_count(), "row")
    )?;
    Ok(Exit::Success)
}

fn record_audit(
    arguments: &ForgetArguments,
    loaded: &LoadedConfig,
    location: &DataLocation<'_>,
) -> anyhow::Result<()> {
    let subject = Some(arguments.lane.as_str());
    let action = AuditedAction { words: "forget", subject, patron: None };
    Auditor::new(loaded, &arguments.operator)?.record(location, action)
}

/// Returns the topics of a lane's recipients.
fn output_topics(loaded: &LoadedConfig, lane: &str) -> Vec<String> {
    let lanes = loaded.daemon.lanes.iter().filter(|one| one.name == lane);
    let names: Vec<&String> = lanes.flat_map(|lane| &lane.recipients).collect();
    let recipients = loaded.policy.recipients.iter();
    recipients
        .filter(|recipient| names.contains(&&recipient.name))
        .flat_map(|recipient| recipient.topics.names().map(str::to_owned))
        .collect()
}

fn forget_in_directory(
    arguments: &ForgetArguments,
    (root, loaded): (&Path, &LoadedConfig),
    screen: &mut Screen,
) -> anyhow::Result<Exit> {
    let lane = &arguments.lane;
    let settings = directory::settings_with_state_key(root, &arguments.config.config)?;
    let state = format!("{STATE_TOPIC_PREFIX}{lane}");
    let has = count_outputs_in_state(root, &state);
    if let Some(has) = &has {
        report_forgotten(lane, has, arguments.dry_run, screen)?;
    }
    if arguments.dry_run {
        return Ok(Exit::Success);
    }
    record_audit(arguments, loaded, &DataLocation::Directory(root))?;
    let forgotten = directory_forget(settings, lane, &state)?;
    if has.is_none() {
        writeln!(
            screen,
            "lane {lane} begins anew. Its state cannot be read ({} bytes): what recipients have is \
             not known, and zeef never takes it back",
            forgotten.state_bytes
        )?;
    }
    if forgotten.is_mark_reset {
        writeln!(
            screen,
            "the mark itself could not be used: every other lane begins anew too, with the rows of \
             its state that you accept, or after `zeef forget` for it"
        )?;
    }
    Ok(Exit::Success)
}

fn report_forgotten(
    lane: &str,
    output_counts: &BTreeMap<String, usize>,
    dry_run: bool,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    if output_counts.is_empty() {
        writeln!(screen, "lane {lane}: no recipient had anything")?;
        return Ok(());
    }
    let begins = if dry_run { "would begin" } else { "begins" };
    writeln!(
        screen,
        "lane {lane} {begins} anew. The next run sends again what recipients may have; zeef can \
         never take back what it does not send again of what they have now:"
    )?;
    for (recipient, count) in output_counts {
        writeln!(screen, "  {recipient}: {}", pluralise(*count, "output"))?;
    }
    Ok(())
}

/// Returns the outputs of each recipient in a lane's state, or `None` if it cannot be read.
fn count_outputs_in_state(root: &Path, state: &str) -> Option<BTreeMap<String, usize>> {
    let mut rows: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
    let mut readable = true;
    let read = read_state(root, state, &mut |row| {
        let key = row.key.unwrap_or_default().to_vec();
        match row.value.map(recipients_with_output) {
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

/// Returns the recipients that have an output in a row.
fn recipients_with_output(row: &[u8]) -> Option<Vec<String>> {
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
