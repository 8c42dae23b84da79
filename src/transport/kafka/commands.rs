//! Operator commands in `zeef.commands`, which every process reads whole at its start.

use super::publish::{PublishError, Publisher};
use super::read_topic::read_rows_with_offsets;
use super::settings::KafkaSettings;
use super::topics::TopicError;
use crate::message::commands::{COMMANDS_TOPIC, CommandError, CommandLog, CommandRecord};

/// Prefix of the message keys of commands; the topic has other rows too.
const COMMAND_KEY_PREFIX: &str = "command:";

/// Why commands cannot be read. Never quotes one.
#[derive(Debug, thiserror::Error)]
pub enum CommandsError {
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error("topic `{0}` does not exist: `zeef topics --apply` creates it")]
    Absent(String),
    #[error("topic `{topic}` offset {offset}: {cause}")]
    Unreadable { topic: String, offset: i64, cause: CommandError },
}

/// Reads all commands.
///
/// # Errors
///
/// The topic does not exist, Kafka does not answer, or a message is no command of a known
/// format.
pub fn read_commands(settings: &KafkaSettings) -> Result<CommandLog, CommandsError> {
    let topic = || settings.topic_name(COMMANDS_TOPIC);
    let mut commands = CommandLog::default();
    let mut unreadable = None;
    let found = read_rows_with_offsets(settings, COMMANDS_TOPIC, &mut |offset, message| {
        let is_command =
            message.key.is_some_and(|key| key.starts_with(COMMAND_KEY_PREFIX.as_bytes()));
        let Some(value) = message.value.filter(|_| is_command) else {
            return;
        };
        if let Err(cause) = commands.add_message(offset, value) {
            unreadable.get_or_insert((offset, cause));
        }
    })?;
    match unreadable {
        Some((offset, cause)) => Err(CommandsError::Unreadable { topic: topic(), offset, cause }),
        None if !found => Err(CommandsError::Absent(topic())),
        None => Ok(commands),
    }
}

/// Writes commands in order; they take effect at the next start.
///
/// # Errors
///
/// The topic does not exist, or Kafka refuses them.
pub fn write_commands(
    settings: &KafkaSettings,
    texts: &[CommandRecord],
) -> Result<(), PublishError> {
    let publisher = Publisher::open(settings.clone(), &[COMMANDS_TOPIC].into())?;
    for (number, text) in texts.iter().enumerate() {
        // A unique key: compaction must not remove a command.
        let key = format!("{COMMAND_KEY_PREFIX}{}:{number}", text.time);
        publisher.send(COMMANDS_TOPIC, Some(key.as_bytes()), Some(&text.encode()))?;
    }
    publisher.flush()
}
