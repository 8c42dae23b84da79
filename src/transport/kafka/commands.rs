//! `zeef.commands`: what operators ask of every process, read whole at a start.

use super::publish::{PublishError, Publisher};
use super::settings::KafkaSettings;
use super::topics::TopicError;
use super::whole::read_placed;
use crate::transport::commands::{COMMANDS_TOPIC, CommandError, CommandText, Commands};

/// How the keys of commands begin; other rows of the topic are none.
const KEY: &str = "command:";

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
        let is_command = message
            .key
            .is_some_and(|key| key.starts_with(KEY.as_bytes()));
        let Some(value) = message.value.filter(|_| is_command) else {
            return;
        };
        if let Err(source) = commands.add(offset, value) {
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
    for (number, text) in texts.iter().enumerate() {
        // One of its own: compaction takes no command.
        let key = format!("{KEY}{}:{number}", text.time);
        publisher.send(COMMANDS_TOPIC, Some(key.as_bytes()), Some(&text.write()))?;
    }
    publisher.finish()
}
