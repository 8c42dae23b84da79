//! What an operator sets, and what is fixed because correctness depends on it.
//!
//! Nothing here connects.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;

use super::log::LoggingContext;
use super::partitioner::{Partitioner, librdkafka_partitioner};
use super::properties::KNOWN_PROPERTIES;
use super::tuning::{MEMBER, PRODUCER, PUBLISHER, READER, TunedProperty};
use crate::config::nearest_name;
use crate::message::LanePlan;

/// How often librdkafka reports stable ends and its state in the group, which bounds the
/// age of a lag.
const STATISTICS_INTERVAL_MS: &str = "200";

/// How to reach Kafka, and as whom.
#[derive(Clone)]
pub struct KafkaSettings {
    /// `host:port`, comma-separated.
    pub brokers: String,
    /// librdkafka's own properties, with secrets resolved.
    pub properties: BTreeMap<String, String>,
    /// Prefix of every topic name, group id and transactional id.
    pub topic_prefix: String,
    /// The process's name in group and transactions, stable across restarts.
    pub instance: String,
    pub transaction_timeout: Duration,
    pub session_timeout: Duration,
    /// An append after this time rolls a segment; only then are its tombstones compacted.
    pub segment_max_age: Duration,
    /// How the sources' producers choose a partition for a key.
    pub partitioner: Partitioner,
    /// The run ends at the ends that its sources have at its start.
    pub until_end: bool,
}

/// Hides the properties' values: some are secrets.
impl std::fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("brokers", &self.brokers)
            .field("properties", &self.properties.keys())
            .field("topic_prefix", &self.topic_prefix)
            .field("instance", &self.instance)
            .field("transaction_timeout", &self.transaction_timeout)
            .field("session_timeout", &self.session_timeout)
            .field("segment", &self.segment_max_age)
            .field("partitioner", &self.partitioner)
            .field("until_end", &self.until_end)
            .finish()
    }
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            brokers: String::new(),
            properties: BTreeMap::new(),
            topic_prefix: String::new(),
            instance: String::new(),
            transaction_timeout: Duration::from_secs(10),
            session_timeout: Duration::from_secs(10),
            segment_max_age: Duration::from_secs(3600),
            partitioner: Partitioner::default(),
            until_end: false,
        }
    }
}

/// A mistake in the settings; never quotes a property's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsMistake {
    /// The property it is about, if any.
    pub property: Option<String>,
    text: String,
}

impl SettingsMistake {
    fn general(text: String) -> SettingsMistake {
        SettingsMistake { property: None, text }
    }

    fn of_property(property: &str, text: String) -> SettingsMistake {
        SettingsMistake { property: Some(property.to_owned()), text }
    }
}

impl std::fmt::Display for SettingsMistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

pub(super) fn join_mistakes(mistakes: &[SettingsMistake]) -> String {
    let texts: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

fn is_loopback(broker: &str) -> bool {
    let host = broker.rsplit_once("://").map_or(broker, |(_, rest)| rest);
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// Properties that an operator may not set, each with the reason.
pub const FIXED: &[(&str, &str)] = &[
    ("acks", "outputs count only when all replicas have them"),
    ("allow.auto.create.topics", "topics come from `zeef topics`"),
    ("auto.commit.enable", "offsets go with the transaction"),
    ("auto.commit.interval.ms", "offsets go with the transaction"),
    ("auto.offset.reset", "a missing offset is an error, never a guess"),
    ("bootstrap.servers", "set the brokers in their own setting or with --brokers"),
    ("consume.callback.max.messages", "no callbacks are used"),
    ("delivery.report.only.error", "what arrived is counted down by librdkafka itself"),
    ("enable.auto.commit", "offsets go with the transaction"),
    ("enable.auto.offset.store", "offsets go with the transaction"),
    ("enable.gapless.guarantee", "the transaction already guarantees it"),
    ("enable.idempotence", "a transactional producer is idempotent"),
    ("enable.partition.eof", "ends are found by the transport itself"),
    ("group.id", "it is made of the prefix and the lane"),
    ("group.instance.id", "it is made of lane, instance and worker"),
    ("group.protocol", "assignment is by range, by the classic protocol"),
    ("group.protocol.type", "assignment is by range, by the classic protocol"),
    ("group.remote.assignor", "assignment is by range"),
    ("isolation.level", "aborted records must stay unseen"),
    ("log.queue", "librdkafka's messages go to the process's own log"),
    ("metadata.broker.list", "set the brokers in their own setting or with --brokers"),
    ("partition.assignment.strategy", "joined sources need the range assignment"),
    (
        "partitioner",
        "outputs are spread as Java clients do: murmur2; that of the sources is `partitioner` itself",
    ),
    ("plugin.library.paths", "no foreign code is loaded into the process"),
    ("queuing.strategy", "the order per key would be lost"),
    ("request.required.acks", "outputs count only when all replicas have them"),
    ("session.timeout.ms", "it is a setting of its own"),
    ("statistics.interval.ms", "ends and lag come from the statistics"),
    ("test.mock.num.brokers", "a mocked broker stores no transactions"),
    ("transaction.timeout.ms", "it is a setting of its own"),
    ("transactional.id", "it is made of group, instance and worker"),
];

impl KafkaSettings {
    /// Finds all mistakes in the settings without connecting.
    ///
    /// # Errors
    ///
    /// Every mistake; none quotes a property's value.
    pub fn check(&self) -> Result<(), Vec<SettingsMistake>> {
        let mut mistakes = Vec::new();
        if self.brokers.trim().is_empty() {
            let text = "no brokers: expected host:port, several separated by commas";
            mistakes.push(text.to_owned());
        }
        check_name("instance", &self.instance, false, &mut mistakes);
        check_name("topic prefix", &self.topic_prefix, true, &mut mistakes);
        check_duration("transaction timeout", self.transaction_timeout, &mut mistakes);
        check_duration("session timeout", self.session_timeout, &mut mistakes);
        let general = mistakes.into_iter().map(SettingsMistake::general);
        let of_properties = self.properties.iter().filter_map(|(name, value)| {
            property_mistake(name, value).map(|text| SettingsMistake::of_property(name, text))
        });
        let mut all: Vec<_> = general.chain(of_properties).collect();
        if all.is_empty() {
            let native = self.base_config("check").create_native_config();
            if let Err(KafkaError::ClientConfig(_, _, name, _)) = native {
                let text = format!("property `{name}` is not accepted by librdkafka");
                all.push(SettingsMistake::of_property(&name, text));
            }
        }
        if all.is_empty() { Ok(()) } else { Err(all) }
    }

    /// Creates a client that connects to nobody: only then does librdkafka check some
    /// properties, such as login mechanism and certificates.
    ///
    /// # Errors
    ///
    /// Why no client can be created.
    pub fn check_client_creation(&self) -> Result<(), Vec<SettingsMistake>> {
        let mut config = self.metadata_client_config(true);
        config.remove("bootstrap.servers");
        let made: Result<BaseConsumer<LoggingContext>, _> =
            BaseConsumer::from_config_and_context(&config, LoggingContext::new("check"));
        made.map(drop).map_err(|error| {
            let why = match error {
                KafkaError::ClientCreation(why) => why,
                other => other.to_string(),
            };
            let text = format!("librdkafka cannot create a client: {why}");
            vec![SettingsMistake::general(text)]
        })
    }

    /// Returns warnings about the way to the brokers: no encryption, or no check of
    /// certificates.
    #[must_use]
    pub fn security_warnings(&self) -> Vec<String> {
        let property = |name: &str| self.properties.get(name).map(|value| value.to_lowercase());
        let protocol = property("security.protocol").unwrap_or_else(|| "plaintext".to_owned());
        let encrypted = protocol.ends_with("ssl");
        let hosts = self.brokers.split(',').map(str::trim);
        let far: Vec<_> = hosts.filter(|broker| !is_loopback(broker)).collect();
        let mut notes = Vec::new();
        if !encrypted && !far.is_empty() {
            notes.push(format!(
                "{}: not encrypted: patrons' data can be read in transit; set `security.protocol` \
                 to `SSL` or `SASL_SSL`",
                far.join(", ")
            ));
        }
        let unverified = property("enable.ssl.certificate.verification");
        if encrypted && unverified.is_some_and(|value| ["false", "f", "0"].contains(&&*value)) {
            notes.push(
                "`enable.ssl.certificate.verification` is false: anybody can impersonate a broker"
                    .to_owned(),
            );
        }
        let unnamed = property("ssl.endpoint.identification.algorithm");
        if encrypted && unnamed.is_some_and(|value| value == "none") {
            notes.push(
                "`ssl.endpoint.identification.algorithm` is none: whoever has any certificate of \
                 the same authority can pretend to be a broker"
                    .to_owned(),
            );
        }
        notes
    }

    #[must_use]
    pub fn topic_name(&self, name: &str) -> String {
        format!("{}{name}", self.topic_prefix)
    }

    #[must_use]
    pub fn group_id(&self, lane: &str) -> String {
        format!("{}zeef.{lane}", self.topic_prefix)
    }

    #[must_use]
    pub fn transactional_id(&self, lane: &str, worker: usize) -> String {
        format!("{}-{}-{worker}", self.group_id(lane), self.instance)
    }

    /// Returns the unique name of a worker in its group.
    #[must_use]
    pub fn group_instance_id(&self, lane: &str, worker: usize) -> String {
        format!("{lane}-{}-{worker}", self.instance)
    }

    /// Returns what all clients have in common.
    pub(super) fn base_config(&self, role: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("client.id", format!("zeef-{}-{role}", self.instance))
            .set("log.connection.close", "false")
            .set("reconnect.backoff.max.ms", "2000")
            .set("socket.keepalive.enable", "true")
            .set("topic.metadata.refresh.interval.ms", "5000");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.brokers).set_log_level(RDKafkaLogLevel::Info);
        config
    }

    pub(super) fn group_member_config(&self, plan: &LanePlan, worker: usize) -> ClientConfig {
        let mut config = self.base_config(&format!("{}-{worker}", plan.name));
        self.set_defaults(&mut config, MEMBER);
        config
            .set("group.id", self.group_id(&plan.name))
            .set("group.instance.id", self.group_instance_id(&plan.name, worker))
            .set("group.protocol", "classic")
            .set("session.timeout.ms", self.session_timeout.as_millis().to_string())
            .set("partition.assignment.strategy", "range")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("allow.auto.create.topics", "false")
            .set("statistics.interval.ms", STATISTICS_INTERVAL_MS);
        config
    }

    /// Configures a reader that joins no group. It has the lane's group id only because
    /// librdkafka assigns nothing without one.
    pub(super) fn reader_config(&self, group: &str) -> ClientConfig {
        let mut config = self.base_config("reader");
        self.set_defaults(&mut config, READER);
        config
            .set("group.id", group)
            .set("group.protocol", "classic")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("allow.auto.create.topics", "false")
            .set("statistics.interval.ms", "0");
        config
    }

    /// Configures a client for metadata, and for stable ends or those beyond open
    /// transactions. It never fetches: an answer would have to wait for that of a pending
    /// fetch.
    pub(super) fn metadata_client_config(&self, is_read_committed: bool) -> ClientConfig {
        let mut config = self.base_config("observer");
        let isolation = if is_read_committed { "read_committed" } else { "read_uncommitted" };
        config
            .set("isolation.level", isolation)
            .set("allow.auto.create.topics", "false")
            .set("statistics.interval.ms", "0");
        config
    }

    pub(super) fn producer_config(&self, plan: &LanePlan, worker: usize) -> ClientConfig {
        let mut config = self.base_config(&format!("{}-{worker}", plan.name));
        self.set_defaults(&mut config, PRODUCER);
        config
            // A report of each output costs a worker more than its row does.
            .set("delivery.report.only.error", "true")
            .set("transactional.id", self.transactional_id(&plan.name, worker))
            .set("transaction.timeout.ms", self.transaction_timeout.as_millis().to_string())
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random")
            .set("statistics.interval.ms", "0");
        config
    }

    /// Configures the repairing producer, which writes to given partitions. There is one
    /// per deployment: a second one fences the first.
    pub(super) fn repairer_config(&self) -> ClientConfig {
        let mut config = self.base_config("repair");
        self.set_defaults(&mut config, PUBLISHER);
        config
            .set("transactional.id", self.group_id("repair"))
            .set("transaction.timeout.ms", "60000")
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("statistics.interval.ms", "0");
        config
    }

    /// Configures a producer without transactions.
    pub(super) fn publisher_config(&self) -> ClientConfig {
        let mut config = self.base_config("publisher");
        self.set_defaults(&mut config, PUBLISHER);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", librdkafka_partitioner(self.partitioner))
            .set("statistics.interval.ms", "0");
        config
    }

    /// Sets what the operator left open; librdkafka's aliases count as set.
    fn set_defaults(&self, config: &mut ClientConfig, defaults: &[TunedProperty]) {
        for TunedProperty { name, value, .. } in defaults {
            let alias =
                PROPERTY_ALIASES.iter().find_map(|(one, other)| (one == name).then_some(*other));
            let set = self.properties.contains_key(*name)
                || alias.is_some_and(|alias| self.properties.contains_key(alias));
            if !set {
                config.set(*name, *value);
            }
        }
    }
}

/// Second names of the properties that have a default here.
const PROPERTY_ALIASES: &[(&str, &str)] = &[
    ("compression.type", "compression.codec"),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("linger.ms", "queue.buffering.max.ms"),
];

fn check_name(what: &str, name: &str, may_be_empty: bool, mistakes: &mut Vec<String>) {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() && !may_be_empty {
        mistakes.push(format!("no {what}: expected letters, digits, `.`, `_`, `-`"));
    } else if !name.bytes().all(is_allowed) || name.len() > 100 {
        mistakes
            .push(format!("{what} `{name}`: expected at most 100 letters, digits, `.`, `_`, `-`"));
    }
}

fn check_duration(what: &str, value: Duration, mistakes: &mut Vec<String>) {
    if value < Duration::from_secs(1) || value > Duration::from_secs(900) {
        mistakes.push(format!("{what} of {} s: expected 1 to 900 s", value.as_secs_f32()));
    }
}

/// Returns what is wrong with one property, without quoting the value.
fn property_mistake(name: &str, value: &str) -> Option<String> {
    if let Some((_, reason)) = FIXED.iter().find(|(fixed, _)| *fixed == name) {
        return Some(format!("property `{name}` cannot be set: {reason}"));
    }
    if name.ends_with(".location") && value != "probe" {
        let found = std::fs::metadata(value);
        let unread = found.and_then(|found| match found.is_file() {
            true => std::fs::File::open(value).map(drop),
            false => std::fs::read_dir(value).map(drop),
        });
        if let Err(error) = unread {
            return Some(format!("property `{name}` refers to an unreadable file: {error}"));
        }
    }
    let mut config = ClientConfig::new();
    config.set(name, value);
    match config.create_native_config() {
        Ok(_) => None,
        Err(KafkaError::ClientConfig(code, ..)) => Some(match code {
            rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN => {
                match nearest_name(name, KNOWN_PROPERTIES.iter().copied()) {
                    Some(close) => format!(
                        "property `{name}` is unknown to librdkafka: did you mean `{close}`?"
                    ),
                    None => format!("property `{name}` is unknown to librdkafka"),
                }
            }
            _ => format!("property `{name}` has a value that librdkafka does not accept"),
        }),
        Err(_) => Some(format!("property `{name}` is not accepted by librdkafka")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> KafkaSettings {
        KafkaSettings {
            brokers: "127.0.0.1:9092".into(),
            instance: "one".into(),
            ..KafkaSettings::default()
        }
    }

    #[track_caller]
    fn check_property(name: &str, value: &str, want: Option<&str>) {
        let mut settings = settings();
        settings.properties.insert(name.into(), value.into());
        match (settings.check(), want) {
            (Ok(()), None) => {}
            (Err(mistakes), Some(part)) => {
                assert_eq!(mistakes.len(), 1, "{mistakes:?}");
                let text = mistakes[0].to_string();
                assert!(text.contains(part), "{text}");
                assert!(!text.contains("s3cret"), "{text}");
                assert_eq!(mistakes[0].property.as_deref(), Some(name));
            }
            (found, want) => panic!("{name}: {found:?}, expected {want:?}"),
        }
    }

    #[test]
    fn librdkafka_properties_are_accepted_or_refused_with_a_reason() {
        check_property("security.protocol", "sasl_ssl", None);
        check_property("sasl.password", "s3cret", None);
        check_property("linger.ms", "20", None);
        check_property("compression.type", "zstd", None);
        check_property("isolation.level", "read_uncommitted", Some("cannot be set"));
        check_property("transactional.id", "mine", Some("cannot be set"));
        check_property("group.id", "mine", Some("cannot be set"));
        check_property(
            "sasl.pasword",
            "s3cret",
            Some("is unknown to librdkafka: did you mean `sasl.password`?"),
        );
        check_property("xyzzy", "s3cret", Some("`xyzzy` is unknown to librdkafka"));
        let absent = "ssl.ca.location";
        check_property(absent, "/nowhere/ca.pem", Some("unreadable file"));
        check_property(absent, "/", None);
        check_property(absent, "probe", None);
        check_property("linger.ms", "s3cret", Some("does not accept"));
    }

    #[test]
    fn login_mechanism_unknown_to_librdkafka_is_found_without_a_broker() {
        let with = |properties: &[(&str, &str)]| {
            let mut settings = settings();
            let owned = properties.iter();
            let owned = owned.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            settings.properties = owned.collect();
            settings.check().unwrap();
            settings.check_client_creation().map_err(|mistakes| join_mistakes(&mistakes))
        };
        assert_eq!(with(&[]), Ok(()));
        let ssl = ("security.protocol", "sasl_ssl");
        let login = [("sasl.username", "zeef"), ("sasl.password", "s3cret")];
        let plain = [ssl, ("sasl.mechanism", "PLAIN"), login[0], login[1]];
        assert_eq!(with(&plain), Ok(()));
        let text = with(&[ssl, ("sasl.mechanism", "NONSENSE"), login[0], login[1]]).unwrap_err();
        assert!(text.contains("NONSENSE") && !text.contains("s3cret"), "{text}");
    }

    #[test]
    fn security_warnings_name_unencrypted_and_unverified_brokers() {
        #[track_caller]
        fn check(brokers: &str, properties: &[(&str, &str)], want: &[&str]) {
            let owned = properties.iter();
            let owned = owned.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let settings = KafkaSettings {
                brokers: brokers.to_owned(),
                properties: owned.collect(),
                ..settings()
            };
            let notes = settings.security_warnings();
            assert_eq!(notes.len(), want.len(), "{notes:?}");
            for (note, want) in notes.iter().zip(want) {
                assert!(note.contains(want), "{note}");
            }
        }
        let ssl = ("security.protocol", "SASL_SSL");
        for near in ["127.0.0.1:9092", "localhost:9092,[::1]:9092", "127.3.2.1:9"] {
            check(near, &[], &[]);
        }
        let far = "localhost:9092, kafka.example.org:9092";
        check(far, &[], &["kafka.example.org:9092: not encrypted"]);
        check("10.0.0.1", &[("security.protocol", "sasl_plaintext")], &["10.0.0.1: not"]);
        check(far, &[ssl], &[]);
        let unverified = ("enable.ssl.certificate.verification", "false");
        let unnamed = ("ssl.endpoint.identification.algorithm", "none");
        check(far, &[ssl, unverified, unnamed], &["certificate.verification", "algorithm"]);
        check(far, &[unverified, unnamed], &["not encrypted"]);
    }

    #[test]
    fn fixed_properties_are_each_refused_with_their_reason() {
        for (name, reason) in FIXED {
            check_property(name, "s3cret", Some(reason));
        }
    }

    #[test]
    fn settings_mistakes_are_reported_all_at_once() {
        let mut settings = settings();
        settings.brokers.clear();
        settings.instance = "a b".into();
        settings.session_timeout = Duration::ZERO;
        settings.properties.insert("nonsense".into(), "1".into());
        assert_eq!(settings.check().map_err(|m| m.len()), Err(4));
    }

    #[test]
    fn topic_group_and_transactional_id_carry_the_prefix() {
        let mut settings = settings();
        settings.topic_prefix = "test-".into();
        assert_eq!(settings.topic_name("patron"), "test-patron");
        assert_eq!(settings.group_id("main"), "test-zeef.main");
        assert_eq!(settings.transactional_id("main", 2), "test-zeef.main-one-2");
    }

    #[test]
    fn settings_debug_output_shows_no_secret() {
        let mut settings = settings();
        settings.properties.insert("sasl.password".into(), "s3cret".into());
        assert!(!format!("{settings:?}").contains("s3cret"));
    }
}
