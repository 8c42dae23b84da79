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
    /// Opens a directory, or connects to Kafka where none is named, and does `work`
    /// with it.
    ///
    /// # Errors
    ///
    /// A wrong config, a Kafka or a directory that cannot be had, or what `work` fails
    /// with.
    pub(super) fn with<T>(
        loaded: &Loaded,
        config: &ConfigArguments,
        brokers: &BrokerArguments,
        directory: Option<&Path>,
        work: impl FnOnce(&Place) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        if let Some(root) = directory {
            let settings = directory::settings(root, &config.config)?;
            return work(&Place::Directory(directory::open(settings)?));
        }
        let kafka = kafka::Connection::new(loaded, &config.config, brokers.brokers.as_deref());
        kafka.with(|settings| work(&Place::Kafka(settings)))
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
