//! What operators ask of lanes, given on Kafka or in a directory: it counts from
//! the next start on.

use std::path::Path;

use super::arguments::{BrokerArguments, ConfigArguments};
use super::directory;
use super::kafka;
use crate::policy::Loaded;
use crate::transport::commands::{Command, CommandText};
use crate::transport::directory::Directory;
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::commands;

/// Where commands go.
pub(super) enum Place {
    Kafka(KafkaSettings),
    Directory(Directory),
}

impl Place {
    /// Opens a directory, or finds the settings of Kafka where there is none.
    ///
    /// # Errors
    ///
    /// A wrong config, or a directory that cannot be opened.
    pub(super) fn find(
        loaded: &Loaded,
        config: &ConfigArguments,
        brokers: &BrokerArguments,
        directory: Option<&Path>,
    ) -> anyhow::Result<Place> {
        match directory {
            Some(root) => {
                let settings = directory::settings(root, &config.config)?;
                Ok(Place::Directory(directory::open(settings)?))
            }
            None => {
                let settings = kafka::settings(loaded, brokers.brokers.as_deref(), None)?;
                Ok(Place::Kafka(settings))
            }
        }
    }

    /// Gives commands, each with the same reason.
    ///
    /// # Errors
    ///
    /// Kafka or the disk does not take them.
    pub(super) fn give(&self, given: Vec<Command>, reason: &str) -> anyhow::Result<()> {
        let time = jiff::Timestamp::now().to_string();
        let text = |command| CommandText::new(command, reason.trim().to_owned(), time.clone());
        let texts: Vec<CommandText> = given.into_iter().map(text).collect();
        match self {
            Place::Kafka(settings) => commands::write(settings, &texts)?,
            Place::Directory(directory) => directory.give(&texts)?,
        }
        Ok(())
    }
}
