//! `[kafka]`: how to reach Kafka, and librdkafka's own properties.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use strum::VariantArray as _;
use toml::de::DeValue;

use super::{Number, read_section, set_integer};
use crate::config::document::{Located, TomlTable, TomlValue, describe_type};
use crate::config::secret::{
    EXPECTED_SECRET_SOURCE, SecretError, SecretSource, read_secret_source,
};
use crate::policy::name::{NameFormat, Secret, TOPIC_NAME};

/// How to reach Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSection {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// Prefix of every topic, group and transactional id; may be empty.
    pub topic_prefix: String,
    /// The name of the process; `None` for the host's name.
    pub instance: Option<String>,
    pub transaction_timeout_ms: u64,
    pub session_timeout_ms: u64,
    /// How the producers of the sources choose a partition for a key.
    pub partitioner: Partitioner,
    /// librdkafka's own properties, by name.
    pub properties: BTreeMap<String, RdkafkaProperty>,
    /// Where each property is set, as `config/zeef.toml:12`.
    pub property_locations: BTreeMap<String, String>,
}

impl Default for KafkaSection {
    fn default() -> Self {
        KafkaSection {
            brokers: "127.0.0.1:9092".to_owned(),
            topic_prefix: String::new(),
            instance: None,
            transaction_timeout_ms: 10_000,
            session_timeout_ms: 10_000,
            partitioner: Partitioner::default(),
            properties: BTreeMap::new(),
            property_locations: BTreeMap::new(),
        }
    }
}

/// How a producer maps a record's key to a partition.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Partitioner {
    /// Default of Java clients.
    #[default]
    Murmur2,
    /// Default of librdkafka.
    Crc32,
    /// Default of Sarama.
    Fnv1a,
}

impl Partitioner {
    pub const ALL: [Partitioner; 3] =
        [Partitioner::Murmur2, Partitioner::Crc32, Partitioner::Fnv1a];

    /// librdkafka's names for the same functions, which differ only for records without a key.
    const ALIASES: [(&str, Partitioner); 4] = [
        ("murmur2_random", Partitioner::Murmur2),
        ("consistent", Partitioner::Crc32),
        ("consistent_random", Partitioner::Crc32),
        ("fnv1a_random", Partitioner::Fnv1a),
    ];

    /// Returns the word of the setting.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// A property of librdkafka.
#[derive(Clone, PartialEq, Eq)]
pub enum RdkafkaProperty {
    Plain(String),
    Secret(SecretSource),
}

impl RdkafkaProperty {
    /// Returns the value; a secret is read now.
    ///
    /// # Errors
    ///
    /// The secret cannot be read.
    pub fn resolve(&self) -> Result<Secret, SecretError> {
        match self {
            RdkafkaProperty::Plain(text) => Ok(Secret::new(text.clone().into_bytes())),
            RdkafkaProperty::Secret(source) => source.read(),
        }
    }

    /// Returns a warning if the property is a secret file that others may read.
    #[must_use]
    pub fn permission_warning(&self) -> Option<String> {
        match self {
            RdkafkaProperty::Plain(_) => None,
            RdkafkaProperty::Secret(source) => source.permission_warning(),
        }
    }
}

/// Never shows a value: a plain one may be a secret by mistake.
impl fmt::Debug for RdkafkaProperty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RdkafkaProperty::Plain(_) => f.write_str("Plain(..)"),
            RdkafkaProperty::Secret(source) => write!(f, "Secret({source})"),
        }
    }
}

pub(super) fn read_kafka(root: &TomlTable<'_>, folder: &Path) -> KafkaSection {
    read_section(root, "kafka", "how to reach Kafka", |table, kafka: &mut KafkaSection| {
        RdkafkaProperties { folder, kafka }.read(table);
        if let Some(brokers) = table.string("brokers", "`host:port`, several separated by commas") {
            kafka.brokers = brokers.value;
        }
        kafka.topic_prefix = read_topic_prefix(table);
        kafka.instance = read_name(table, "instance", INSTANCE_NAME);
        set_integer(
            table,
            Number("transaction_timeout_ms", 1_000..=900_000, "how long a transaction may be open"),
            &mut kafka.transaction_timeout_ms,
        );
        const SESSION: &str = "how long a silent process keeps its partitions";
        set_integer(
            table,
            Number("session_timeout_ms", 6_000..=1_800_000, SESSION),
            &mut kafka.session_timeout_ms,
        );
        let names = Partitioner::VARIANTS.iter().map(|&one| (one.into_str(), one));
        let names: Vec<_> = names.chain(Partitioner::ALIASES).collect();
        const PARTITIONER: &str = "how the sources' producers choose a partition for a key";
        if let Some(partitioner) = table.choice("partitioner", &names, PARTITIONER) {
            kafka.partitioner = partitioner.value;
        }
    })
}

const INSTANCE_NAME: NameFormat = NameFormat {
    description: "letters, digits, `.`, `_` and `-`, 100 at most",
    is_valid: |name| name.len() <= 100 && (TOPIC_NAME.is_valid)(name),
};

const TOPIC_PREFIX: NameFormat = NameFormat {
    description: "letters, digits, `.`, `_` and `-`, 40 at most",
    is_valid: |name| name.len() <= 40 && (TOPIC_NAME.is_valid)(name),
};

/// Accepts an empty string, the default.
fn read_topic_prefix(table: &TomlTable<'_>) -> String {
    let empty =
        table.value("topic_prefix").is_some_and(|at| at.value.get_ref().as_str() == Some(""));
    if empty {
        return String::new();
    }
    read_name(table, "topic_prefix", TOPIC_PREFIX).unwrap_or_default()
}

fn read_name(table: &TomlTable<'_>, key: &str, form: NameFormat) -> Option<String> {
    let text = table.string(key, form.description)?;
    if (form.is_valid)(&text.value) {
        return Some(text.value);
    }
    let found = format!("`{key}` is \"{}\"", text.value);
    table.report_mistake(text.line, found, form.description);
    None
}

const EXPECTED_PROPERTY: &str =
    "a string, a number, true or false, { env = \"NAME\" } or { file = \"PATH\" }";

/// Secrets, which must not stand in the file itself.
const SECRET_PROPERTIES: &[&str] = &[
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.password",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
];

/// Reads `[kafka.properties]`.
struct RdkafkaProperties<'a> {
    /// Secret files are relative to it.
    folder: &'a Path,
    kafka: &'a mut KafkaSection,
}

impl RdkafkaProperties<'_> {
    fn read(mut self, kafka: &TomlTable<'_>) {
        if let Some(table) = kafka.table("properties", "properties of librdkafka") {
            self.read_nested("", &table);
        }
    }

    /// Reads `a.b = 1` like `"a.b" = 1`: TOML makes tables of the former.
    fn read_nested(&mut self, prefix: &str, table: &TomlTable<'_>) {
        for (key, value) in table.entries() {
            let name = format!("{prefix}{}", key.value);
            match table.as_table(value, key.line) {
                Some(inner) if !is_secret_source(&inner) => {
                    self.read_nested(&format!("{name}."), &inner);
                }
                _ => {
                    let value = Located { value, line: key.line };
                    let Some(property) = self.read_property(&name, table, value) else {
                        continue;
                    };
                    let location = format!("{}:{}", table.file(), key.line);
                    self.kafka.property_locations.insert(name.clone(), location);
                    if self.kafka.properties.insert(name.clone(), property).is_some() {
                        let found = format!("property `{name}` twice");
                        table.report_mistake(key.line, found, "it once");
                    }
                }
            }
        }
    }

    fn read_property<'t>(
        &self,
        name: &str,
        table: &TomlTable<'t>,
        at: Located<&'t TomlValue<'t>>,
    ) -> Option<RdkafkaProperty> {
        if let Some(source) = table.as_table(at.value, at.line) {
            return read_secret_source(&source, name, self.folder).map(RdkafkaProperty::Secret);
        }
        if SECRET_PROPERTIES.contains(&name) {
            let found = format!("the secret `{name}` in the file itself");
            table.report_mistake(at.line, found, EXPECTED_SECRET_SOURCE);
            return None;
        }
        match at.value.get_ref() {
            DeValue::String(text) => Some(RdkafkaProperty::Plain(text.to_string())),
            DeValue::Integer(number) => Some(RdkafkaProperty::Plain(number.to_string())),
            DeValue::Float(number) => Some(RdkafkaProperty::Plain(number.to_string())),
            DeValue::Boolean(value) => Some(RdkafkaProperty::Plain(value.to_string())),
            other => {
                let found = format!("property `{name}` is {}", describe_type(other));
                table.report_mistake(at.line, found, EXPECTED_PROPERTY);
                None
            }
        }
    }
}

fn is_secret_source(table: &TomlTable<'_>) -> bool {
    let entries = table.entries();
    matches!(entries.as_slice(), [(key, _)] if ["env", "file"].contains(&key.value.as_str()))
}
