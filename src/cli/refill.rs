//! `zeef refill`: sends everything that a recipient has again, to a topic or file that was
//! recreated.

use std::io::Write as _;

use super::arguments::RefillArguments;
use super::audit::{AuditedAction, Auditor};
use super::command_target::{CommandTarget, TargetArguments};
use super::config;
use super::exit::Exit;
use super::screen::Screen;
use crate::message::commands::OperatorCommand;

/// Requests a refill from every process.
///
/// # Errors
///
/// A recipient that does not exist, or Kafka or a directory that refuses the command.
pub(super) fn run(arguments: &RefillArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = config::load(&arguments.config.config)?;
    let recipient = &arguments.recipient;
    config::require_recipient(&loaded.policy, recipient)?;
    let target = TargetArguments {
        config: &arguments.config,
        brokers: &arguments.brokers,
        directory: arguments.directory.as_deref(),
    };
    let command = OperatorCommand::Refill { recipient: recipient.clone() };
    let auditor = Auditor::new(&loaded, &arguments.operator)?;
    let action = AuditedAction { words: "refill", subject: Some(recipient), patron: None };
    CommandTarget::with_target(&loaded, &target, |target| {
        auditor.record(&target.location(), action)?;
        target.send_commands(vec![command], &arguments.reason)
    })?;
    writeln!(
        screen,
        "{recipient}: before it continues, the next start sends everything that it has again, as \
         far as the sources still have the records"
    )?;
    Ok(Exit::Success)
}
