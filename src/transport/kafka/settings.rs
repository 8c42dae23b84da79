//! What an operator sets, and what is fixed because correctness rests on it.
//!
//! Nothing here connects to anything.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;

use super::log::Logged;
use super::partitioner::{Partitioner, producer_setting};
use super::properties::PROPERTIES;
use super::tuning::{MEMBER, PRODUCER, PUBLISHER, READER, Tuned};
use crate::policy::near;
use crate::transport::LanePlan;

/// How often librdkafka reports stable ends and its state in the group: the
/// measure of how old a lag may be.
const STATISTICS_MS: &str = "200";

/// How to reach Kafka, and as whom.
#[derive(Clone)]
pub struct KafkaSettings {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// librdkafka's own properties, secrets already resolved.
    pub properties: BTreeMap<String, String>,
    /// Stands before every topic name, group id and transactional id.
    pub topic_prefix: String,
    /// Names the process in group and transactions: stable across restarts.
    pub instance: String,
    pub transaction_timeout: Duration,
    pub session_timeout: Duration,
    /// After this time the next append to an output rolls a segment of it: not
    /// before is a tombstone compacted.
    pub segment: Duration,
    /// How the sources' producers choose a partition for a key.
    pub partitioner: Partitioner,
    /// The run ends at the end that its sources have at its start.
    pub until_end: bool,
}

/// Shows no property's value: some are secrets.
impl std::fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("brokers", &self.brokers)
            .field("properties", &self.properties.keys())
            .field("topic_prefix", &self.topic_prefix)
            .field("instance", &self.instance)
            .field("transaction_timeout", &self.transaction_timeout)
            .field("session_timeout", &self.session_timeout)
            .field("segment", &self.segment)
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
            segment: Duration::from_secs(3600),
            partitioner: Partitioner::default(),
            until_end: false,
        }
    }
}

/// One thing that is wrong with the settings; never quotes a property's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsMistake {
    /// The property that it is about, if it is about one.
    pub property: Option<String>,
    text: String,
}

impl SettingsMistake {
    fn general(text: String) -> SettingsMistake {
        SettingsMistake {
            property: None,
            text,
        }
    }

    fn of(property: &str, text: String) -> SettingsMistake {
        SettingsMistake {
            property: Some(property.to_owned()),
            text,
        }
    }
}

impl std::fmt::Display for SettingsMistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// All of them on one line.
pub(super) fn joined(mistakes: &[SettingsMistake]) -> String {
    let texts: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// Whether `broker`, a `host:port`, is on the same machine.
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
    (
        "auto.offset.reset",
        "a missing offset is an error, never a guess",
    ),
    (
        "bootstrap.servers",
        "set the brokers in their own setting or with --brokers",
    ),
    ("consume.callback.max.messages", "no callbacks are used"),
    (
        "delivery.report.only.error",
        "what arrived is counted down by librdkafka itself",
    ),
    ("enable.auto.commit", "offsets go with the transaction"),
    (
        "enable.auto.offset.store",
        "offsets go with the transaction",
    ),
    (
        "enable.gapless.guarantee",
        "the transaction already guarantees it",
    ),
    (
        "enable.idempotence",
        "a transactional producer is idempotent",
    ),
    (
        "enable.partition.eof",
        "ends are found by the transport itself",
    ),
    ("group.id", "it is made of the prefix and the lane"),
    (
        "group.instance.id",
        "it is made of lane, instance and worker",
    ),
    (
        "group.protocol",
        "assignment is by range, by the classic protocol",
    ),
    (
        "group.protocol.type",
        "assignment is by range, by the classic protocol",
    ),
    ("group.remote.assignor", "assignment is by range"),
    ("isolation.level", "aborted records must stay unseen"),
    (
        "log.queue",
        "librdkafka's messages go to the process's own log",
    ),
    (
        "metadata.broker.list",
        "set the brokers in their own setting or with --brokers",
    ),
    (
        "partition.assignment.strategy",
        "joined sources need the range assignment",
    ),
    (
        "partitioner",
        "outputs are spread as Java clients do: murmur2; that of the sources is `partitioner` itself",
    ),
    (
        "plugin.library.paths",
        "no foreign code is loaded into the process",
    ),
    ("queuing.strategy", "the order per key would be lost"),
    (
        "request.required.acks",
        "outputs count only when all replicas have them",
    ),
    ("session.timeout.ms", "it is a setting of its own"),
    (
        "statistics.interval.ms",
        "ends and lag come from the statistics",
    ),
    (
        "test.mock.num.brokers",
        "a mocked broker stores no transactions",
    ),
    ("transaction.timeout.ms", "it is a setting of its own"),
    (
        "transactional.id",
        "it is made of group, instance and worker",
    ),
];

impl KafkaSettings {
    /// Finds all that is wrong with the settings, without connecting.
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
        check_duration(
            "transaction timeout",
            self.transaction_timeout,
            &mut mistakes,
        );
        check_duration("session timeout", self.session_timeout, &mut mistakes);
        let general = mistakes.into_iter().map(SettingsMistake::general);
        let of_properties = self.properties.iter().filter_map(|(name, value)| {
            property_mistake(name, value).map(|text| SettingsMistake::of(name, text))
        });
        let mut all: Vec<_> = general.chain(of_properties).collect();
        if all.is_empty() {
            let native = self.base("check").create_native_config();
            if let Err(KafkaError::ClientConfig(_, _, name, _)) = native {
                let text = format!("property `{name}` is not accepted by librdkafka");
                all.push(SettingsMistake::of(&name, text));
            }
        }
        if all.is_empty() { Ok(()) } else { Err(all) }
    }

    /// Makes a client that reaches nobody, as librdkafka looks at some properties
    /// only then: whether it knows the login's mechanism, and reads certificates.
    ///
    /// # Errors
    ///
    /// Why no client can be made.
    pub fn probe(&self) -> Result<(), Vec<SettingsMistake>> {
        let mut config = self.observer(true);
        config.remove("bootstrap.servers");
        let made: Result<BaseConsumer<Logged>, _> =
            BaseConsumer::from_config_and_context(&config, Logged::new("check"));
        made.map(drop).map_err(|error| {
            let why = match error {
                KafkaError::ClientCreation(why) => why,
                other => other.to_string(),
            };
            let text = format!("librdkafka can make no client: {why}");
            vec![SettingsMistake::general(text)]
        })
    }

    /// Returns what an operator should know of the way to the brokers: that it is
    /// not encrypted, or that nobody looks whose certificate it is.
    #[must_use]
    pub fn security_notes(&self) -> Vec<String> {
        let property = |name: &str| self.properties.get(name).map(|value| value.to_lowercase());
        let protocol = property("security.protocol").unwrap_or_else(|| "plaintext".to_owned());
        let encrypted = protocol.ends_with("ssl");
        let hosts = self.brokers.split(',').map(str::trim);
        let far: Vec<_> = hosts.filter(|broker| !is_loopback(broker)).collect();
        let mut notes = Vec::new();
        if !encrypted && !far.is_empty() {
            notes.push(format!(
                "{}: not encrypted: patrons' data can be read on the way; set `security.protocol` \
                 to `SSL` or `SASL_SSL`",
                far.join(", ")
            ));
        }
        let unverified = property("enable.ssl.certificate.verification");
        if encrypted && unverified.is_some_and(|value| ["false", "f", "0"].contains(&&*value)) {
            notes.push(
                "`enable.ssl.certificate.verification` is false: anybody can pretend to be a broker"
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

    /// The topic's name on Kafka.
    #[must_use]
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.topic_prefix)
    }

    /// The consumer group of a lane.
    #[must_use]
    pub fn group(&self, lane: &str) -> String {
        format!("{}zeef.{lane}", self.topic_prefix)
    }

    /// The transactional id of a worker of a lane.
    #[must_use]
    pub fn transactional_id(&self, lane: &str, worker: usize) -> String {
        format!("{}-{}-{worker}", self.group(lane), self.instance)
    }

    /// The name of a worker of a lane in its group, which no two members may have.
    #[must_use]
    pub fn instance_id(&self, lane: &str, worker: usize) -> String {
        format!("{lane}-{}-{worker}", self.instance)
    }

    /// What all clients have in common.
    pub(super) fn base(&self, role: &str) -> ClientConfig {
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
        config
            .set("bootstrap.servers", &self.brokers)
            .set_log_level(RDKafkaLogLevel::Info);
        config
    }

    /// A member of the lane's group.
    pub(super) fn member(&self, plan: &LanePlan, worker: usize) -> ClientConfig {
        let mut config = self.base(&format!("{}-{worker}", plan.name));
        self.unless_set(&mut config, MEMBER);
        config
            .set("group.id", self.group(&plan.name))
            .set("group.instance.id", self.instance_id(&plan.name, worker))
            .set("group.protocol", "classic")
            .set(
                "session.timeout.ms",
                self.session_timeout.as_millis().to_string(),
            )
            .set("partition.assignment.strategy", "range")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("allow.auto.create.topics", "false")
            .set("statistics.interval.ms", STATISTICS_MS);
        config
    }

    /// A reader that joins no group. It carries the lane's group id only
    /// because librdkafka assigns nothing without one.
    pub(super) fn reader(&self, group: &str) -> ClientConfig {
        let mut config = self.base("reader");
        self.unless_set(&mut config, READER);
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

    /// A client that only asks: for metadata, and for the ends that are stable,
    /// or those beyond open transactions. It never fetches: an answer on a
    /// connection comes after that to a fetch that waits for records.
    pub(super) fn observer(&self, stable: bool) -> ClientConfig {
        let mut config = self.base("observer");
        let isolation = if stable {
            "read_committed"
        } else {
            "read_uncommitted"
        };
        config
            .set("isolation.level", isolation)
            .set("allow.auto.create.topics", "false")
            .set("statistics.interval.ms", "0");
        config
    }

    /// The transactional producer of a worker.
    pub(super) fn producer(&self, plan: &LanePlan, worker: usize) -> ClientConfig {
        let mut config = self.base(&format!("{}-{worker}", plan.name));
        self.unless_set(&mut config, PRODUCER);
        config
            // A report of each output costs its worker more than its row does.
            .set("delivery.report.only.error", "true")
            .set(
                "transactional.id",
                self.transactional_id(&plan.name, worker),
            )
            .set(
                "transaction.timeout.ms",
                self.transaction_timeout.as_millis().to_string(),
            )
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random")
            .set("statistics.interval.ms", "0");
        config
    }

    /// A transactional producer that writes records of sources to partitions that
    /// it is told: one in a deployment, as a second one fences the first.
    pub(super) fn repairer(&self) -> ClientConfig {
        let mut config = self.base("repair");
        self.unless_set(&mut config, PUBLISHER);
        config
            .set("transactional.id", self.group("repair"))
            .set("transaction.timeout.ms", "60000")
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("statistics.interval.ms", "0");
        config
    }

    /// A producer without transactions, for records of sources.
    pub(super) fn publisher(&self) -> ClientConfig {
        let mut config = self.base("publisher");
        self.unless_set(&mut config, PUBLISHER);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", producer_setting(self.partitioner))
            .set("statistics.interval.ms", "0");
        config
    }

    /// Sets what the operator left open; librdkafka's aliases count as set.
    fn unless_set(&self, config: &mut ClientConfig, defaults: &[Tuned]) {
        for Tuned { name, value, .. } in defaults {
            let alias = ALIASES
                .iter()
                .find_map(|(one, other)| (one == name).then_some(*other));
            let set = self.properties.contains_key(*name)
                || alias.is_some_and(|alias| self.properties.contains_key(alias));
            if !set {
                config.set(*name, *value);
            }
        }
    }
}

/// Second names of the properties that have a default here.
const ALIASES: &[(&str, &str)] = &[
    ("compression.type", "compression.codec"),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("linger.ms", "queue.buffering.max.ms"),
];

fn check_name(what: &str, name: &str, may_be_empty: bool, mistakes: &mut Vec<String>) {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() && !may_be_empty {
        mistakes.push(format!(
            "no {what}: expected letters, digits, `.`, `_`, `-`"
        ));
    } else if !name.bytes().all(fits) || name.len() > 100 {
        mistakes.push(format!(
            "{what} `{name}`: expected at most 100 letters, digits, `.`, `_`, `-`"
        ));
    }
}

fn check_duration(what: &str, value: Duration, mistakes: &mut Vec<String>) {
    if value < Duration::from_secs(1) || value > Duration::from_secs(900) {
        mistakes.push(format!(
            "{what} of {} s: expected 1 to 900 s",
            value.as_secs_f32()
        ));
    }
}

/// What is wrong with one property; the value is never quoted.
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
            return Some(format!(
                "property `{name}` names what cannot be read: {error}"
            ));
        }
    }
    let mut config = ClientConfig::new();
    config.set(name, value);
    match config.create_native_config() {
        Ok(_) => None,
        Err(KafkaError::ClientConfig(code, ..)) => Some(match code {
            rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN => {
                match near(name, PROPERTIES.iter().copied()) {
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
    fn check(name: &str, value: &str, want: Option<&str>) {
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
    fn properties() {
        check("security.protocol", "sasl_ssl", None);
        check("sasl.password", "s3cret", None);
        check("linger.ms", "20", None);
        check("compression.type", "zstd", None);
        check("isolation.level", "read_uncommitted", Some("cannot be set"));
        check("transactional.id", "mine", Some("cannot be set"));
        check("group.id", "mine", Some("cannot be set"));
        check(
            "sasl.pasword",
            "s3cret",
            Some("is unknown to librdkafka: did you mean `sasl.password`?"),
        );
        check("xyzzy", "s3cret", Some("`xyzzy` is unknown to librdkafka"));
        let absent = "ssl.ca.location";
        check(absent, "/nowhere/ca.pem", Some("cannot be read"));
        check(absent, "/", None);
        check(absent, "probe", None);
        check("linger.ms", "s3cret", Some("does not accept"));
    }

    #[test]
    fn a_login_that_librdkafka_cannot_make_is_found_without_a_broker() {
        let with = |properties: &[(&str, &str)]| {
            let mut settings = settings();
            let owned = properties.iter();
            let owned = owned.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            settings.properties = owned.collect();
            settings.check().unwrap();
            settings.probe().map_err(|mistakes| joined(&mistakes))
        };
        assert_eq!(with(&[]), Ok(()));
        let ssl = ("security.protocol", "sasl_ssl");
        let login = [("sasl.username", "zeef"), ("sasl.password", "s3cret")];
        let plain = [ssl, ("sasl.mechanism", "PLAIN"), login[0], login[1]];
        assert_eq!(with(&plain), Ok(()));
        let text = with(&[ssl, ("sasl.mechanism", "NONSENSE"), login[0], login[1]]).unwrap_err();
        assert!(
            text.contains("NONSENSE") && !text.contains("s3cret"),
            "{text}"
        );
    }

    #[test]
    fn an_open_way_to_the_brokers_is_noted() {
        #[track_caller]
        fn check(brokers: &str, properties: &[(&str, &str)], want: &[&str]) {
            let owned = properties.iter();
            let owned = owned.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let settings = KafkaSettings {
                brokers: brokers.to_owned(),
                properties: owned.collect(),
                ..settings()
            };
            let notes = settings.security_notes();
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
        check(
            "10.0.0.1",
            &[("security.protocol", "sasl_plaintext")],
            &["10.0.0.1: not"],
        );
        check(far, &[ssl], &[]);
        let unverified = ("enable.ssl.certificate.verification", "false");
        let unnamed = ("ssl.endpoint.identification.algorithm", "none");
        check(
            far,
            &[ssl, unverified, unnamed],
            &["certificate.verification", "algorithm"],
        );
        check(far, &[unverified, unnamed], &["not encrypted"]);
    }

    #[test]
    fn every_fixed_property_is_refused() {
        for (name, reason) in FIXED {
            check(name, "s3cret", Some(reason));
        }
    }

    #[test]
    fn all_mistakes_at_once() {
        let mut settings = settings();
        settings.brokers.clear();
        settings.instance = "a b".into();
        settings.session_timeout = Duration::ZERO;
        settings.properties.insert("nonsense".into(), "1".into());
        assert_eq!(settings.check().map_err(|m| m.len()), Err(4));
    }

    #[test]
    fn names() {
        let mut settings = settings();
        settings.topic_prefix = "test-".into();
        assert_eq!(settings.topic("patron"), "test-patron");
        assert_eq!(settings.group("main"), "test-zeef.main");
        assert_eq!(settings.transactional_id("main", 2), "test-zeef.main-one-2");
    }

    #[test]
    fn no_secret_is_shown() {
        let mut settings = settings();
        settings
            .properties
            .insert("sasl.password".into(), "s3cret".into());
        assert!(!format!("{settings:?}").contains("s3cret"));
    }
}
