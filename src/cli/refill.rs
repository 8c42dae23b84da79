//! `zeef refill`: all that a recipient has is sent again, to a topic or file that
//! was made anew.

use std::io::Write as _;

use super::arguments::RefillArguments;
use super::ask::Place;
use super::config;
use super::exit::Exit;
use super::screen::Screen;
use crate::transport::commands::Command;

/// Asks every process to send again what the recipient has.
///
/// # Errors
///
/// A recipient that does not exist, or a Kafka or a directory that does not take
/// it.
pub(super) fn run(arguments: &RefillArguments, screen: &mut Screen) -> anyhow::Result<Exit> {
    let loaded = config::load(&arguments.config.config)?;
    let recipient = &arguments.recipient;
    config::check_recipient(&loaded.policy, recipient)?;
    let directory = arguments.directory.as_deref();
    let (config, brokers) = (&arguments.config, &arguments.brokers);
    let command = Command::Refill {
        recipient: recipient.clone(),
    };
    Place::with(&loaded, config, brokers, directory, |place| {
        place.give(vec![command], &arguments.reason)
    })?;
    writeln!(
        screen,
        "{recipient}: the next start sends again all that it has, as far as the sources still have \
         the records, before it goes on"
    )?;
    Ok(Exit::Fine)
}
