//! Kafka or a directory: where operator commands go, which take effect at the next start, and
//! where the data of a run is read.

use std::path::Path;

use super::arguments::{BrokerArguments, ConfigArguments, LogArguments};
use super::directory;
use super::kafka;
use super::logging;
use crate::config::LoadedConfig;
use crate::message::commands::{CommandRecord, OperatorCommand};
use crate::transport::directory::Directory;
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::commands;

/// Kafka or a directory, as the command line says.
pub(super) struct TargetArguments<'a> {
    pub config: &'a ConfigArguments,
    pub brokers: &'a BrokerArguments,
    pub directory: Option<&'a Path>,
}

/// Where the data of a run lies, to be read.
pub(super) enum DataLocation<'a> {
    Kafka(KafkaSettings),
    Directory(&'a Path),
}

impl DataLocation<'_> {
    /// Connects to Kafka, or without it finds the directory, and does `work` with it.
    ///
    /// # Errors
    ///
    /// No such directory, an unavailable Kafka, or those of `work`.
    pub(super) fn with_location<T>(
        loaded: &LoadedConfig,
        target: &TargetArguments<'_>,
        log: LogArguments,
        work: impl FnOnce(&DataLocation<'_>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        match target.directory {
            Some(root) => {
                directory::require_folder(root, "")?;
                work(&DataLocation::Directory(root))
            }
            None => {
                logging::start(loaded.daemon.log, log);
                let TargetArguments { config, brokers, .. } = *target;
                let brokers = brokers.brokers.as_deref();
                let kafka = kafka::KafkaConnection::new(loaded, &config.config, brokers);
                kafka.with_settings(|settings| work(&DataLocation::Kafka(settings)))
            }
        }
    }
}

pub(super) enum CommandTarget {
    Kafka(KafkaSettings),
    Directory(Directory),
}

impl CommandTarget {
    /// Opens the directory, or connects to Kafka without one, and does `work` with it.
    ///
    /// # Errors
    ///
    /// A wrong config, an unavailable Kafka or directory, or those of `work`.
    pub(super) fn with_target<T>(
        loaded: &LoadedConfig,
        target: &TargetArguments<'_>,
        work: impl FnOnce(&CommandTarget) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let TargetArguments { config, brokers, directory } = *target;
        if let Some(root) = directory {
            let settings = directory::settings_with_state_key(root, &config.config)?;
            return work(&CommandTarget::Directory(directory::open_directory(settings)?));
        }
        let kafka = kafka::KafkaConnection::new(loaded, &config.config, brokers.brokers.as_deref());
        kafka.with_settings(|settings| work(&CommandTarget::Kafka(settings)))
    }

    /// Where its audit lies.
    pub(super) fn location(&self) -> DataLocation<'_> {
        match self {
            CommandTarget::Kafka(settings) => DataLocation::Kafka(settings.clone()),
            CommandTarget::Directory(directory) => DataLocation::Directory(directory.root()),
        }
    }

    /// Sends commands with the same reason.
    ///
    /// # Errors
    ///
    /// Kafka or the disk refuses them.
    pub(super) fn send_commands(
        &self,
        commands: Vec<OperatorCommand>,
        reason: &str,
    ) -> anyhow::Result<()> {
        let time = jiff::Timestamp::now().to_string();
        let text = |command| CommandRecord::new(command, reason.trim().to_owned(), time.clone());
        let texts: Vec<CommandRecord> = commands.into_iter().map(text).collect();
        match self {
            CommandTarget::Kafka(settings) => commands::write_commands(settings, &texts)?,
            CommandTarget::Directory(directory) => directory.append_commands(&texts)?,
        }
        Ok(())
    }
}
