//! `zeef forget`: a lane begins anew, and what its recipients have is forgotten.

use std::collections::BTreeMap;
use std::io::Write as _;

use serde_json::Value;

use super::arguments::ForgetArguments;
use super::config;
use super::directory;
use super::exit::{Exit, Failure, counted};
use super::screen::Screen;
use crate::engine::lane::STATE_TOPIC;
use crate::transport::directory::{forget, read_state};

/// Makes a lane of a directory begin anew, and says what can never be taken back.
///
/// # Errors
///
/// A lane that the config does not have, or a directory that cannot be written.
pub(super) fn run(arguments: &ForgetArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let lane = &arguments.lane;
    let loaded = config::load(&arguments.config.config)?;
    let lanes = loaded.daemon.lanes.iter().map(|lane| lane.name.as_str());
    if !lanes.clone().any(|known| known == lane) {
        return Err(Failure::Usage(config::unknown("lane", lane, lanes)).into());
    }
    let settings = directory::settings(&arguments.directory, &arguments.config.config)?;
    let state = format!("{STATE_TOPIC}{lane}");
    let has = what_recipients_have(arguments, &state);
    let forgotten = forget(settings, lane, &state)?;
    match has {
        Some(has) if has.is_empty() => writeln!(screen, "lane {lane}: no recipient had anything")?,
        Some(has) => {
            writeln!(
                screen,
                "lane {lane} begins anew. The next run sends again what recipients may have; zeef can \
                 never take back what it does not send again of what they have now:"
            )?;
            for (recipient, count) in has {
                writeln!(screen, "  {recipient}: {}", counted(count, "output"))?;
            }
        }
        None => writeln!(
            screen,
            "lane {lane} begins anew. Its state cannot be read ({} bytes): what recipients have is \
             not known, and zeef never takes it back",
            forgotten.state_bytes
        )?,
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

/// How many outputs each recipient has by a lane's state; `None` where it cannot
/// be read.
fn what_recipients_have(
    arguments: &ForgetArguments,
    state: &str,
) -> Option<BTreeMap<String, usize>> {
    let mut rows: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
    let mut readable = true;
    let read = read_state(&arguments.directory, state, &mut |row| {
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
