//! From the config and the command line to the settings of a Kafka client.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::exit::Failure;
use super::screen::{self, Tone};
use crate::policy::Loaded;
use crate::policy::settings::Property;
use crate::transport::Fault;
use crate::transport::kafka::reach::{Reach, look};
use crate::transport::kafka::{KafkaSettings, SettingsMistake};

/// How long a broker may take to answer before that is told of.
const ANSWER: Duration = Duration::from_secs(2);
/// How often a broker at which nobody listens is looked for.
const LOOK: Duration = Duration::from_millis(500);
/// What names the brokers beside the command line and zeef.toml.
const VARIABLE: &str = "ZEEF_BROKERS";

/// The Kafka that a command works with.
pub(super) struct Connection<'a> {
    pub(super) loaded: &'a Loaded,
    /// The folder with zeef.toml.
    pub(super) config: &'a Path,
    /// What the command line or the environment says.
    pub(super) brokers: Option<&'a str>,
    pub(super) instance: Option<&'a str>,
    /// How long a broker at which nobody listens may take to come up.
    pub(super) patience: Duration,
}

impl<'a> Connection<'a> {
    /// That of a command that does not wait for a broker.
    pub(super) fn new(
        loaded: &'a Loaded,
        config: &'a Path,
        brokers: Option<&'a str>,
    ) -> Connection<'a> {
        Connection {
            loaded,
            config,
            brokers,
            instance: None,
            patience: Duration::ZERO,
        }
    }

    /// Does `work` with the settings of this Kafka. What Kafka fails with names the
    /// brokers, and where they are set.
    ///
    /// # Errors
    ///
    /// Wrong settings, nobody who listens at the brokers' addresses, or what `work`
    /// fails with.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(KafkaSettings) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let settings = settings(self.loaded, self.brokers, self.instance)?;
        for property in self.loaded.daemon.kafka.properties.values() {
            if let Some(note) = property.note() {
                warn(&note);
            }
        }
        let origin = self.origin();
        tracing::info!("connecting to {} ({origin})", settings.brokers);
        self.wait_for_brokers(&settings.brokers, &origin)?;
        let brokers = settings.brokers.clone();
        work(settings).map_err(|error| match is_told_of_elsewhere(&error) {
            true => error,
            false => error.context(format!("kafka at {brokers} ({origin})")),
        })
    }

    /// Where the brokers are set.
    fn origin(&self) -> String {
        match self.brokers {
            None => self.config.join("zeef.toml").display().to_string(),
            Some(brokers) if std::env::var(VARIABLE).as_deref() == Ok(brokers) => {
                VARIABLE.to_owned()
            }
            Some(_) => "--brokers".to_owned(),
        }
    }

    /// Waits until somebody listens at one of the addresses, for as long as that may
    /// take.
    fn wait_for_brokers(&self, brokers: &str, origin: &str) -> anyhow::Result<()> {
        let until = Instant::now() + self.patience;
        let mut told = false;
        loop {
            let why = match look(brokers, ANSWER) {
                Reach::Reached => return Ok(()),
                Reach::Unknown => {
                    warn(&format!("no answer yet from {brokers} ({origin})"));
                    return Ok(());
                }
                Reach::Nobody(why) => why,
            };
            let why: Vec<String> = why.iter().map(ToString::to_string).collect();
            let why = format!("{} ({origin})", why.join(", "));
            if Instant::now() >= until {
                anyhow::bail!(why);
            }
            if !std::mem::replace(&mut told, true) {
                let seconds = self.patience.as_secs();
                tracing::warn!("{why}; trying again for {seconds} s");
            }
            thread::sleep(LOOK);
        }
    }
}

/// Warns in the log, or on stderr where a command has none.
fn warn(text: &str) {
    if tracing::enabled!(tracing::Level::WARN) {
        tracing::warn!("{text}");
    } else {
        screen::note(Tone::Warning, text);
    }
}

/// Whether an error is about the config or a lane, or already says where Kafka is.
fn is_told_of_elsewhere(error: &anyhow::Error) -> bool {
    error.is::<Failure>() || error.is::<Fault>()
}

/// Resolves secrets, and checks what librdkafka would only find later.
///
/// # Errors
///
/// [`Failure::Config`] with every mistake; none quotes a value.
pub(super) fn settings(
    loaded: &Loaded,
    brokers: Option<&str>,
    instance: Option<&str>,
) -> Result<KafkaSettings, Failure> {
    let section = &loaded.daemon.kafka;
    let place = |name: &str| {
        let place = section.places.get(name);
        place.map_or_else(String::new, |place| format!("{place}: "))
    };
    let mut mistakes = Vec::new();
    let mut properties = BTreeMap::new();
    for (name, property) in &section.properties {
        match resolve(property) {
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
        instance: instance
            .or(section.instance.as_deref())
            .map_or_else(host_name, str::to_owned),
        transaction_timeout: Duration::from_millis(section.transaction_timeout_ms),
        session_timeout: Duration::from_millis(section.session_timeout_ms),
        partitioner: section.partitioner,
        ..KafkaSettings::default()
    };
    let told = |found: &SettingsMistake| {
        let place = found.property.as_deref().map(place).unwrap_or_default();
        format!("{place}{found}")
    };
    // What lacks a secret would be told of twice.
    let whole = mistakes.is_empty();
    let wrong = settings.check().err().unwrap_or_default();
    mistakes.extend(wrong.iter().map(told));
    if whole && mistakes.is_empty() {
        let wrong = settings.probe().err().unwrap_or_default();
        mistakes.extend(wrong.iter().map(told));
    }
    if mistakes.is_empty() {
        Ok(settings)
    } else {
        Err(Failure::Config(mistakes.join("\n")))
    }
}

fn resolve(property: &Property) -> Result<String, String> {
    let secret = property.resolve().map_err(|error| error.to_string())?;
    secret
        .expose_text()
        .map(str::to_owned)
        .ok_or_else(|| "expected text".to_owned())
}

fn host_name() -> String {
    hostname::get()
        .ok()
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "zeef".to_owned())
}
