//! `zeef accept`: lets the next start continue despite findings.

use std::io::Write as _;

use super::arguments::AcceptArguments;
use super::audit::{AuditedAction, Auditor};
use super::command_target::{CommandTarget, TargetArguments};
use super::config;
use super::exit::{CliFailure, Exit};
use super::screen::Screen;
use crate::message::commands::{OperatorCommand, is_finding_code};
use crate::transport::directory::Directory;

/// Accepts the findings with these codes for the next start.
///
/// # Errors
///
/// An invalid code, or Kafka or a directory that refuses it.
pub(super) fn run(arguments: &AcceptArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let codes: Vec<String> =
        arguments.codes.iter().map(|code| code.trim().to_lowercase()).collect();
    if let Some(code) = codes.iter().find(|code| !is_finding_code(code)) {
        return Err(CliFailure::Usage(format!(
            "`{code}` is no code: expected 10 or 12 digits and letters, as shown in the message of a run"
        ))
        .into());
    }
    let loaded = config::load(&arguments.config.config)?;
    let target = TargetArguments {
        config: &arguments.config,
        brokers: &arguments.brokers,
        directory: arguments.directory.as_deref(),
    };
    let auditor = Auditor::new(&loaded, &arguments.operator)?;
    let subject = codes.join(" ");
    let action = AuditedAction { words: "accept", subject: Some(&subject), patron: None };
    let unresolved = CommandTarget::with_target(&loaded, &target, |target| {
        auditor.record(&target.location(), action)?;
        let unresolved = match target {
            CommandTarget::Directory(directory) => {
                accept_in_directory(directory, (&codes, &arguments.reason), screen)?
            }
            CommandTarget::Kafka(_) => codes.clone(),
        };
        let commands = unresolved.iter().cloned().map(|code| OperatorCommand::Accept { code });
        target.send_commands(commands.collect(), &arguments.reason)?;
        Ok(unresolved)
    })?;
    for code in &unresolved {
        writeln!(
            screen,
            "{code}: written down; the next start continues if it finds exactly that, and stops at \
             anything else"
        )?;
    }
    Ok(Exit::Success)
}

/// Accepts what the files themselves show. Returns the other codes, whose findings only a
/// run can make.
fn accept_in_directory(
    directory: &Directory,
    (codes, reason): (&[String], &str),
    screen: &mut Screen,
) -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    for code in codes {
        match directory.accept_finding(code, reason.trim())? {
            Some(finding) => writeln!(screen, "accepted: {}", finding.text)?,
            None => left.push(code.clone()),
        }
    }
    Ok(left)
}
