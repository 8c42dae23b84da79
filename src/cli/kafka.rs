//! From the config and the command line to the settings of a Kafka client.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::exit::CliFailure;
use super::screen::{self, NoteKind};
use crate::config::LoadedConfig;
use crate::config::settings::RdkafkaProperty;
use crate::message::Fault;
use crate::transport::kafka::reachability::{Reachability, probe_brokers};
use crate::transport::kafka::{KafkaSettings, SettingsMistake};

/// Report a broker that has not answered after this time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How often to try brokers at which nothing listens.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// The environment variable that names the brokers.
const BROKERS_VARIABLE: &str = "ZEEF_BROKERS";

/// The Kafka that a command works with.
pub(super) struct KafkaConnection<'a> {
    pub(super) loaded: &'a LoadedConfig,
    /// The folder with zeef.toml.
    pub(super) config: &'a Path,
    /// From the command line or the environment.
    pub(super) brokers: Option<&'a str>,
    pub(super) instance: Option<&'a str>,
    /// How long to wait for brokers at which nothing listens.
    pub(super) give_up_after: Duration,
}

impl<'a> KafkaConnection<'a> {
    /// Returns the connection of a command that does not wait for brokers.
    pub(super) fn new(
        loaded: &'a LoadedConfig,
        config: &'a Path,
        brokers: Option<&'a str>,
    ) -> KafkaConnection<'a> {
        KafkaConnection { loaded, config, brokers, instance: None, give_up_after: Duration::ZERO }
    }

    /// Does `work` with the settings of this Kafka. Errors of Kafka name the brokers and
    /// where they are set.
    ///
    /// # Errors
    ///
    /// Wrong settings, nothing that listens at the brokers' addresses, or those of `work`.
    pub(super) fn with_settings<T>(
        &self,
        work: impl FnOnce(KafkaSettings) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let settings = kafka_settings(self.loaded, self.brokers, self.instance)?;
        for note in self.loaded.daemon.secret_warnings() {
            warn_operator(&note);
        }
        let origin = self.brokers_origin();
        tracing::info!("connecting to {} ({origin})", settings.brokers);
        self.wait_for_brokers(&settings.brokers, &origin)?;
        let brokers = settings.brokers.clone();
        work(settings).map_err(|error| match is_explained_without_brokers(&error) {
            true => error,
            false => error.context(format!("kafka at {brokers} ({origin})")),
        })
    }

    /// Returns where the brokers are set.
    fn brokers_origin(&self) -> String {
        match self.brokers {
            None => self.config.join("zeef.toml").display().to_string(),
            Some(brokers) if std::env::var(BROKERS_VARIABLE).as_deref() == Ok(brokers) => {
                BROKERS_VARIABLE.to_owned()
            }
            Some(_) => "--brokers".to_owned(),
        }
    }

    /// Waits until something listens at one of the addresses, for `give_up_after` at most.
    fn wait_for_brokers(&self, brokers: &str, origin: &str) -> anyhow::Result<()> {
        let until = Instant::now() + self.give_up_after;
        let mut told = false;
        loop {
            let why = match probe_brokers(brokers, ANSWER_TIMEOUT) {
                Reachability::Reached => return Ok(()),
                Reachability::Unknown => {
                    warn_operator(&format!("no answer yet from {brokers} ({origin})"));
                    return Ok(());
                }
                Reachability::NobodyListens(why) => why,
            };
            let why: Vec<String> = why.iter().map(ToString::to_string).collect();
            let why = format!("{} ({origin})", why.join(", "));
            if Instant::now() >= until {
                anyhow::bail!(why);
            }
            if !std::mem::replace(&mut told, true) {
                let seconds = self.give_up_after.as_secs();
                tracing::warn!("{why}; trying again for {seconds} s");
            }
            thread::sleep(RETRY_INTERVAL);
        }
    }
}

/// Warns in the log, or on stderr for a command without one.
fn warn_operator(text: &str) {
    if tracing::enabled!(tracing::Level::WARN) {
        tracing::warn!("{text}");
    } else {
        screen::print_note(NoteKind::Warning, text);
    }
}

/// Returns whether an error is about the config or a lane, or already names the brokers.
fn is_explained_without_brokers(error: &anyhow::Error) -> bool {
    error.is::<CliFailure>() || error.is::<Fault>()
}

/// Resolves secrets, and checks what librdkafka would find only later.
///
/// # Errors
///
/// [`CliFailure::Config`] with every mistake; none quotes a value.
pub(super) fn kafka_settings(
    loaded: &LoadedConfig,
    brokers: Option<&str>,
    instance: Option<&str>,
) -> Result<KafkaSettings, CliFailure> {
    let section = &loaded.daemon.kafka;
    let place = |name: &str| {
        let place = section.property_locations.get(name);
        place.map_or_else(String::new, |place| format!("{place}: "))
    };
    let mut mistakes = Vec::new();
    let mut properties = BTreeMap::new();
    for (name, property) in &section.properties {
        match resolve_property(property) {
            Ok(value) => {
                properties.insert(name.clone(), value);
            }
            Err(why) => mistakes.push(format!("{}property `{name}`: {why}", place(name))),
        }
    }
    let settings = KafkaSettings {
        brokers: brokers.unwrap_or(&section.brokers).to_owned(),
        properties,
        topic_prefix: section.topic_prefix.clone(),
        instance: instance.or(section.instance.as_deref()).map_or_else(host_name, str::to_owned),
        transaction_timeout: Duration::from_millis(section.transaction_timeout_ms),
        session_timeout: Duration::from_millis(section.session_timeout_ms),
        partitioner: section.partitioner,
        ..KafkaSettings::default()
    };
    let told = |found: &SettingsMistake| {
        let place = found.property.as_deref().map(place).unwrap_or_default();
        format!("{place}{found}")
    };
    // A missing secret would be reported twice.
    let whole = mistakes.is_empty();
    let wrong = settings.check().err().unwrap_or_default();
    mistakes.extend(wrong.iter().map(told));
    if whole && mistakes.is_empty() {
        let wrong = settings.check_client_creation().err().unwrap_or_default();
        mistakes.extend(wrong.iter().map(told));
    }
    if mistakes.is_empty() { Ok(settings) } else { Err(CliFailure::Config(mistakes.join("\n"))) }
}

fn resolve_property(property: &RdkafkaProperty) -> Result<String, String> {
    let secret = property.resolve().map_err(|error| error.to_string())?;
    secret.expose_text().map(str::to_owned).ok_or_else(|| "expected text".to_owned())
}

fn host_name() -> String {
    hostname::get()
        .ok()
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "zeef".to_owned())
}
