//! `zeef.commands`: what operators ask of every process, read whole at a start.

use super::publish::{PublishError, Publisher};
use super::settings::KafkaSettings;
use super::topics::TopicError;
use super::whole::read_placed;
use crate::transport::commands::{COMMANDS_TOPIC, CommandError, CommandText, Commands};

/// Why commands cannot be read. Never quotes one.
#[derive(Debug, thiserror::Error)]
pub enum CommandsError {
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error("topic `{0}` does not exist: `zeef topics --apply` creates it")]
    Absent(String),
    #[error("topic `{topic}` offset {offset}: {source}")]
    Unreadable {
        topic: String,
        offset: i64,
        #[source]
        source: CommandError,
    },
}

/// Reads all commands that were given.
///
/// # Errors
///
/// No such topic, no answer from Kafka, or a message that is no command of a
/// known format.
pub fn read(settings: &KafkaSettings) -> Result<Commands, CommandsError> {
    let topic = || settings.topic(COMMANDS_TOPIC);
    let mut commands = Commands::default();
    let mut unreadable = None;
    let found = read_placed(settings, COMMANDS_TOPIC, &mut |offset, message| {
        // With a key it says what was repaired, or that there was a census.
        if message.key.is_some() {
            return;
        }
        let added = commands.add(offset, message.value.unwrap_or_default());
        if let Err(source) = added {
            unreadable.get_or_insert((offset, source));
        }
    })?;
    match unreadable {
        Some((offset, source)) => Err(CommandsError::Unreadable {
            topic: topic(),
            offset,
            source,
        }),
        None if !found => Err(CommandsError::Absent(topic())),
        None => Ok(commands),
    }
}

/// Gives commands, in their order; they count from the next start on.
///
/// # Errors
///
/// No such topic, or a Kafka that does not take them.
pub fn write(settings: &KafkaSettings, texts: &[CommandText]) -> Result<(), PublishError> {
    let publisher = Publisher::open(settings.clone(), &[COMMANDS_TOPIC].into())?;
    for text in texts {
        publisher.send(COMMANDS_TOPIC, None, Some(&text.write()))?;
    }
    publisher.finish()
}
