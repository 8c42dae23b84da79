//! From the config and the command line to the settings of a Kafka client.

use std::collections::BTreeMap;
use std::time::Duration;

use super::exit::Failure;
use crate::policy::Loaded;
use crate::policy::settings::Property;
use crate::transport::kafka::{KafkaSettings, SettingsMistake};

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
