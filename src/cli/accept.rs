//! `zeef accept`: a start goes on in spite of findings.

use std::io::Write as _;

use super::arguments::AcceptArguments;
use super::ask::Place;
use super::config;
use super::exit::{Exit, Failure};
use super::screen::Screen;
use crate::transport::commands::{Command, is_code};
use crate::transport::directory::Directory;

/// Accepts the findings that have these codes, from the next start on.
///
/// # Errors
///
/// What is no code, or a Kafka or a directory that does not take it.
pub(super) fn run(arguments: &AcceptArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let codes: Vec<String> = arguments
        .codes
        .iter()
        .map(|code| code.trim().to_lowercase())
        .collect();
    if let Some(code) = codes.iter().find(|code| !is_code(code)) {
        return Err(Failure::Usage(format!(
            "`{code}` is no code: expected 10 or 12 digits and letters, as the message of a run has them"
        ))
        .into());
    }
    let loaded = config::load(&arguments.config.config)?;
    let directory = arguments.directory.as_deref();
    let (config, brokers) = (&arguments.config, &arguments.brokers);
    let left = Place::with(&loaded, config, brokers, directory, |place| {
        let left = match place {
            Place::Directory(directory) => {
                in_directory(directory, (&codes, &arguments.reason), screen)?
            }
            Place::Kafka(_) => codes.clone(),
        };
        let commands = left.iter().cloned().map(|code| Command::Accept { code });
        place.give(commands.collect(), &arguments.reason)?;
        Ok(left)
    })?;
    for code in &left {
        writeln!(
            screen,
            "{code}: written down; the next start goes on if that is what it finds, and stops at \
             anything else"
        )?;
    }
    Ok(Exit::Fine)
}

/// Accepts what the files themselves show. Returns the other codes: those of
/// findings that only a run makes.
fn in_directory(
    directory: &Directory,
    (codes, reason): (&[String], &str),
    screen: &mut Screen,
) -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    for code in codes {
        match directory.accept(code, reason.trim())? {
            Some(finding) => writeln!(screen, "accepted: {}", finding.text)?,
            None => left.push(code.clone()),
        }
    }
    Ok(left)
}
