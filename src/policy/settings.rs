//! `zeef.toml`: how the daemon runs. Nothing here decides what is released,
//! but for the defaults of masks.
//!
//! Everything has a default, every number has bounds. Secrets are named by
//! file or environment; they are read when they are needed, and never shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::document::{At, Mistake, Table, Value, kind_of, near};
use super::former::{Former, WHATS};
use super::mask::ArgValue;
use super::name::{ENVIRONMENT, ISIL, KEBAB, NameForm, Secret, TOPIC};
use super::pseudonym::{STATE_KEY, key_file};
use super::secret_file;
use super::term::{TERM_MAX, Term};

/// The lane of every recipient that no lane names.
pub const MAIN_LANE: &str = "main";

/// How the daemon runs: plain data, valid as it stands.
#[derive(Clone, Debug, Default)]
pub struct DaemonSettings {
    pub kafka: KafkaSection,
    /// Every enabled recipient is in one of them.
    /// One without a recipient only where there are former recipients.
    pub lanes: Vec<Lane>,
    /// Recipients that are no longer served, and may still have something.
    pub former: Vec<Former>,
    /// By recipient.
    pub rates: BTreeMap<String, Rate>,
    pub limits: Limits,
    /// By kind of record.
    pub sources: BTreeMap<String, SourceSettings>,
    pub batch: Batch,
    pub admin: Admin,
    pub log: Log,
    pub topics: TopicSettings,
    pub holds: Holds,
    pub state: StateSettings,
    pub directory: DirectorySection,
    pub keys: KeySettings,
    pub masks: MaskDefaults,
}

/// How to reach Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSection {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// Stands before every topic, group and transactional id; may be empty.
    pub topic_prefix: String,
    /// Names the process; the host's name where it is `None`.
    pub instance: Option<String>,
    pub transaction_timeout_ms: u64,
    pub session_timeout_ms: u64,
    /// How the sources' producers choose a partition for a key.
    pub partitioner: Partitioner,
    /// librdkafka's own properties, by their names.
    pub properties: BTreeMap<String, Property>,
    /// Where each of them stands, as `config/zeef.toml:12`.
    pub places: BTreeMap<String, String>,
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
            places: BTreeMap::new(),
        }
    }
}

/// A function from a record's key to its partition that producers use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Partitioner {
    /// Java clients.
    #[default]
    Murmur2,
    /// librdkafka, unless it is told otherwise.
    Crc32,
    /// Sarama, unless it is told otherwise.
    Fnv1a,
}

impl Partitioner {
    pub const ALL: [Partitioner; 3] =
        [Partitioner::Murmur2, Partitioner::Crc32, Partitioner::Fnv1a];

    /// The words that the setting takes; beside them librdkafka's own names for
    /// the same functions, which differ only where a record has no key.
    const WORDS: &[(&str, Partitioner)] = &[
        ("murmur2", Partitioner::Murmur2),
        ("crc32", Partitioner::Crc32),
        ("fnv1a", Partitioner::Fnv1a),
        ("murmur2_random", Partitioner::Murmur2),
        ("consistent", Partitioner::Crc32),
        ("consistent_random", Partitioner::Crc32),
        ("fnv1a_random", Partitioner::Fnv1a),
    ];

    /// Returns the word that the setting has for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Partitioner::Murmur2 => "murmur2",
            Partitioner::Crc32 => "crc32",
            Partitioner::Fnv1a => "fnv1a",
        }
    }
}

/// A property of librdkafka.
#[derive(Clone, PartialEq, Eq)]
pub enum Property {
    Plain(String),
    Secret(SecretSource),
}

impl Property {
    /// The property's value: read now, where it is a secret.
    ///
    /// # Errors
    ///
    /// The secret cannot be read.
    pub fn resolve(&self) -> Result<Secret, SecretError> {
        match self {
            Property::Plain(text) => Ok(Secret::new(text.clone().into_bytes())),
            Property::Secret(source) => source.read(),
        }
    }

    /// Returns what an operator should know of a secret, as a file that others may read.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        match self {
            Property::Plain(_) => None,
            Property::Secret(source) => source.note(),
        }
    }
}

/// Shows no value: a plain one may hold a secret that was put there by mistake.
impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Property::Plain(_) => f.write_str("Plain(..)"),
            Property::Secret(source) => write!(f, "Secret({source})"),
        }
    }
}

/// Where a secret lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    Environment(String),
    File(PathBuf),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::Environment(name) => write!(f, "environment variable {name}"),
            SecretSource::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

/// Why a secret cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("environment variable {0} is not set")]
    Unset(String),
    #[error("environment variable {0} is no UTF-8 text")]
    Encoding(String),
    #[error("file {path} cannot be read: {reason}", path = .0.display(), reason = .1)]
    File(PathBuf, std::io::Error),
    #[error("{0} is empty")]
    Empty(SecretSource),
}

impl SecretSource {
    /// Reads the secret, without the newline at its end.
    ///
    /// # Errors
    ///
    /// It is not there, cannot be read, is empty, or is a file that others may write.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let mut bytes = match self {
            SecretSource::Environment(name) => from_environment(name)?,
            SecretSource::File(path) => {
                secret_file::read(path).map_err(|error| SecretError::File(path.clone(), error))?
            }
        };
        while bytes.last().is_some_and(|last| b"\r\n".contains(last)) {
            bytes.pop();
        }
        if bytes.is_empty() {
            return Err(SecretError::Empty(self.clone()));
        }
        Ok(Secret::new(bytes))
    }

    /// Returns what an operator should know of it, as a file that others may read.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        match self {
            SecretSource::Environment(_) => None,
            SecretSource::File(path) => secret_file::note(path),
        }
    }
}

fn from_environment(name: &str) -> Result<Vec<u8>, SecretError> {
    match std::env::var(name) {
        Ok(text) => Ok(text.into_bytes()),
        Err(std::env::VarError::NotPresent) => Err(SecretError::Unset(name.to_owned())),
        Err(std::env::VarError::NotUnicode(_)) => Err(SecretError::Encoding(name.to_owned())),
    }
}

/// Recipients that move together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    pub name: String,
    /// Enabled recipients, by name, sorted.
    pub recipients: Vec<String>,
    pub workers: usize,
}

/// How fast a recipient may be given records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub records_per_s: u32,
    /// How many at once after a pause.
    pub burst: u32,
}

/// What a record may be at most, and where a lane stops or says that it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub record_bytes: usize,
    pub depth: usize,
    pub keys: usize,
    pub output_bytes: usize,
    /// How long a gate source may hold back the others before the process says
    /// that it is not ready.
    pub gate_wait_seconds: u64,
    /// How much may be taken back from one recipient within an hour, beside what
    /// terms, papers and the config itself take back; 0: no more than half.
    pub retractions_per_hour: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            record_bytes: 1 << 20,
            depth: 64,
            keys: 4096,
            output_bytes: 1_000_000,
            gate_wait_seconds: 30,
            retractions_per_hour: 0,
        }
    }
}

/// What is expected of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceSettings {
    /// Something new comes at least this often; `None`: nobody knows.
    pub expect_within: Option<Term>,
}

/// When a batch closes: at the first of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    pub records: usize,
    pub bytes: usize,
    pub wait_ms: u64,
}

impl Default for Batch {
    fn default() -> Self {
        Batch {
            records: 50_000,
            bytes: 128 << 20,
            wait_ms: 50,
        }
    }
}

/// Where metrics and health are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admin {
    /// `None`: nowhere.
    pub listen: Option<SocketAddr>,
}

impl Default for Admin {
    fn default() -> Self {
        Admin {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 9464))),
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// What is logged at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    const ALL: &[(&str, LogLevel)] = &[
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];

    /// The word in the config and in log filters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
    pub level: LogLevel,
}

/// What `zeef topics` plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// Of a topic that does not exist yet.
    pub partitions: u32,
    /// `None`: as the broker has it by default.
    pub replication: Option<u16>,
    /// `None`: as the broker has it by default.
    pub min_insync_replicas: Option<u16>,
    /// The longest time for which a partner may be away and still see what
    /// was taken back (`delete.retention.ms`).
    pub outage_days: u32,
    /// How long dead letters are kept.
    pub dead_letter_days: u32,
}

impl Default for TopicSettings {
    fn default() -> Self {
        TopicSettings {
            partitions: 4,
            replication: None,
            min_insync_replicas: None,
            outage_days: 30,
            dead_letter_days: 90,
        }
    }
}

/// How many records may wait for a patron that is not known yet, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holds {
    /// Of one partition; one more becomes a dead letter.
    pub records: usize,
    /// After them a record becomes a dead letter.
    pub days: u32,
}

impl Default for Holds {
    fn default() -> Self {
        Holds {
            records: 100_000,
            days: 30,
        }
    }
}

/// How what recipients have is looked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateSettings {
    /// How often what lapses with time alone is looked for.
    pub sweep_seconds: u64,
    /// How often sources and outputs are compared with what was read of them.
    pub check_seconds: u64,
}

impl Default for StateSettings {
    fn default() -> Self {
        StateSettings {
            sweep_seconds: 60,
            check_seconds: 60,
        }
    }
}

/// How `zeef run --directory` writes its files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectorySection {
    /// Outputs can be read by the group of the process, too.
    pub group_read: bool,
}

/// Where the keys of pseudonyms lie, and that of the state.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct KeySettings {
    /// Already joined with the config folder.
    pub directory: PathBuf,
    /// Those that do not lie in the directory, by recipient.
    pub recipients: BTreeMap<String, SecretSource>,
    /// The state's, where it does not lie in the directory.
    pub state: Option<SecretSource>,
}

impl KeySettings {
    /// Returns whether the settings say in so many words where the key of this name
    /// lies.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        match name {
            STATE_KEY => self.state.is_some(),
            recipient => self.recipients.contains_key(recipient),
        }
    }

    /// Where the key of this name lies, of a recipient or [`STATE_KEY`]:
    /// `NAME.key` in the directory, where nothing else is said.
    #[must_use]
    pub fn source(&self, name: &str) -> SecretSource {
        let said = match name {
            STATE_KEY => self.state.as_ref(),
            recipient => self.recipients.get(recipient),
        };
        match said {
            Some(source) => source.clone(),
            None => SecretSource::File(key_file(&self.directory, name)),
        }
    }
}

/// What masks do where a field does not say it; part of the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaskDefaults(BTreeMap<String, ArgValue>);

impl MaskDefaults {
    /// The default of a mask's argument.
    #[must_use]
    pub fn argument(&self, name: &str) -> Option<&ArgValue> {
        self.0.get(name)
    }
}

/// The recipients that settings may name.
pub(super) struct Recipients<'a> {
    pub(super) enabled: &'a [String],
    /// Switched off, or in a file with mistakes: known, but in no lane.
    pub(super) others: &'a [String],
}

impl Recipients<'_> {
    fn knows(&self, name: &str) -> bool {
        self.enabled.iter().any(|other| other == name) || self.is_off(name)
    }

    fn is_off(&self, name: &str) -> bool {
        self.others.iter().any(|other| other == name)
    }

    /// Whether `name` is one; a mistake at `line` where it is not.
    fn check(&self, table: &Table<'_>, name: &str, line: usize) -> bool {
        if self.knows(name) {
            return true;
        }
        let close = near(
            name,
            self.enabled.iter().chain(self.others).map(String::as_str),
        );
        let found = format!("unknown recipient `{name}`");
        let expected = match close {
            Some(_) => "",
            None => "the name of a file in `recipients`",
        };
        table.push(Mistake::new(table.file(), line, found, expected).near(close));
        false
    }
}

/// The defaults of masks: read first, as recipients are compiled with them.
pub(super) fn mask_defaults(root: &Table<'_>) -> MaskDefaults {
    let mut defaults = BTreeMap::new();
    let Some(table) = root.table("masks", "defaults of masks") else {
        return MaskDefaults::default();
    };
    let keys = [
        ("kernwoord", "kernwoord"),
        ("full", "full"),
        ("default", "default"),
    ];
    let key = table.choice("surname_key", &keys, "which part of a surname counts");
    let ij = [("IJ", "IJ"), ("I", "I")];
    let initial = table.choice("ij_initial", &ij, "what the initial of a name with IJ is");
    for (name, choice) in [("surname_key", key), ("ij_initial", initial)] {
        if let Some(word) = choice {
            defaults.insert(name.to_owned(), ArgValue::Text(word.value.to_owned()));
        }
    }
    let hidden = "digits that stay hidden at least";
    if let Some(number) = table.integer("min_hidden", 1..=20, hidden) {
        defaults.insert("min_hidden".to_owned(), ArgValue::Integer(number.value));
    }
    table.finish();
    MaskDefaults(defaults)
}

/// How long data of a patron is released after the membership ended (R01).
const PATRON_TERM: Term = Term {
    years: 2,
    months: 0,
    days: 0,
};

/// What `zeef.toml` says that is part of the policy: read first.
pub(super) struct Law {
    pub(super) patron_term: Term,
    /// What consents and objections may be for, beside what recipients are.
    pub(super) other_purposes: Vec<String>,
    /// The libraries before each one.
    pub(super) successor_of: BTreeMap<String, Vec<String>>,
}

impl Default for Law {
    fn default() -> Self {
        Law {
            patron_term: PATRON_TERM,
            other_purposes: Vec::new(),
            successor_of: BTreeMap::new(),
        }
    }
}

/// Reads the settings that are part of the policy, but for the defaults of masks.
pub(super) fn law(root: &Table<'_>) -> Law {
    Law {
        patron_term: patron_term(root),
        other_purposes: other_purposes(root),
        successor_of: successor_of(root),
    }
}

/// Purposes that no recipient has, and that records name all the same.
fn other_purposes(root: &Table<'_>) -> Vec<String> {
    const EXPECTED: &str = "purposes that consents and objections may name and no recipient has";
    let Some(table) = root.table("purposes", EXPECTED) else {
        return Vec::new();
    };
    let others = table.texts("others", EXPECTED);
    table.finish();
    let others = others.map_or_else(Vec::new, |at| at.value);
    for other in others.iter().filter(|other| !(KEBAB.fits)(&other.value)) {
        let found = format!("the purpose \"{}\"", other.value);
        table.mistake(other.line, found, KEBAB.expected);
    }
    others.into_iter().map(|other| other.value).collect()
}

/// Whose grants count for patrons of a library that took over from others.
fn successor_of(root: &Table<'_>) -> BTreeMap<String, Vec<String>> {
    const EXPECTED: &str =
        "a library, and those that it took over from: { \"NL-New\" = [\"NL-Old\"] }";
    let mut all = BTreeMap::new();
    let Some(table) = root.table("libraries", "what libraries are to each other") else {
        return all;
    };
    if let Some(inner) = table.table("successor_of", EXPECTED) {
        for (library, _) in inner.entries() {
            let before = inner.texts(&library.value, EXPECTED);
            let before = before.map_or_else(Vec::new, |at| at.value);
            let named = before.iter().map(|one| (&one.value, one.line));
            for (name, line) in named.chain([(&library.value, library.line)]) {
                if !(ISIL.fits)(name) {
                    inner.mistake(line, format!("library \"{name}\""), ISIL.expected);
                }
            }
            let before = before.into_iter().map(|one| one.value).collect();
            all.insert(library.value, before);
        }
    }
    table.finish();
    all
}

/// The patron's term.
fn patron_term(root: &Table<'_>) -> Term {
    let Some(table) = root.table("retention", "how long data of patrons is released") else {
        return PATRON_TERM;
    };
    const EXPECTED: &str = "an ISO 8601 period of at most five years, as P2Y";
    let term = period(&table, "patron", EXPECTED);
    table.finish();
    term.unwrap_or(PATRON_TERM)
}

/// Reads the whole of `zeef.toml` but for the defaults of masks, the patron's
/// term and the sources.
pub(super) fn read(root: &Table<'_>, folder: &Path, recipients: &Recipients<'_>) -> DaemonSettings {
    let former = former(root);
    DaemonSettings {
        kafka: kafka(root, folder),
        lanes: lanes(root, recipients, !former.is_empty()),
        former,
        rates: rates(root, recipients),
        limits: limits(root),
        sources: BTreeMap::new(),
        batch: batch(root),
        admin: admin(root),
        log: log(root),
        topics: topics(root),
        holds: holds(root),
        state: state(root),
        directory: directory(root),
        keys: keys(root, folder, recipients),
        masks: MaskDefaults::default(),
    }
}

/// The settings of a folder without `zeef.toml`.
pub(super) fn defaults(folder: &Path, recipients: &Recipients<'_>) -> DaemonSettings {
    DaemonSettings {
        lanes: spread(Vec::new(), recipients, false),
        keys: KeySettings {
            directory: folder.join("keys"),
            ..KeySettings::default()
        },
        ..DaemonSettings::default()
    }
}

/// A number within bounds, or the default.
fn number<T: TryFrom<i64>>(
    table: &Table<'_>,
    key: &str,
    bounds: RangeInclusive<i64>,
    default: T,
    expected: &str,
) -> T {
    table
        .integer(key, bounds, expected)
        .and_then(|at| T::try_from(at.value).ok())
        .unwrap_or(default)
}

fn kafka(root: &Table<'_>, folder: &Path) -> KafkaSection {
    let base = KafkaSection::default();
    let Some(table) = root.table("kafka", "how to reach Kafka") else {
        return base;
    };
    let brokers = "`host:port`, several separated by commas";
    let Properties { all, places } = properties(&table, folder);
    let section = KafkaSection {
        brokers: table
            .text("brokers", brokers)
            .map_or(base.brokers, |at| at.value),
        topic_prefix: prefix(&table),
        instance: named(&table, "instance", INSTANCE),
        transaction_timeout_ms: number(
            &table,
            "transaction_timeout_ms",
            1_000..=900_000,
            base.transaction_timeout_ms,
            "how long a transaction may be open",
        ),
        session_timeout_ms: number(
            &table,
            "session_timeout_ms",
            6_000..=1_800_000,
            base.session_timeout_ms,
            "how long a silent process keeps its partitions",
        ),
        partitioner: table
            .choice(
                "partitioner",
                Partitioner::WORDS,
                "how the sources' producers choose a partition for a key",
            )
            .map_or(base.partitioner, |at| at.value),
        properties: all,
        places,
    };
    table.finish();
    section
}

const INSTANCE: NameForm = NameForm {
    expected: "letters, digits, `.`, `_` and `-`, 100 at most",
    fits: |name| name.len() <= 100 && (super::name::TOPIC.fits)(name),
};

const PREFIX: NameForm = NameForm {
    expected: "letters, digits, `.`, `_` and `-`, 40 at most",
    fits: |name| name.len() <= 40 && (super::name::TOPIC.fits)(name),
};

/// The prefix may be empty: that is its default.
fn prefix(table: &Table<'_>) -> String {
    let empty = table
        .value("topic_prefix")
        .is_some_and(|at| at.value.get_ref().as_str() == Some(""));
    if empty {
        return String::new();
    }
    named(table, "topic_prefix", PREFIX).unwrap_or_default()
}

/// A string of the form `form`.
fn named(table: &Table<'_>, key: &str, form: NameForm) -> Option<String> {
    let text = table.text(key, form.expected)?;
    if (form.fits)(&text.value) {
        return Some(text.value);
    }
    let found = format!("`{key}` is \"{}\"", text.value);
    table.mistake(text.line, found, form.expected);
    None
}

const PROPERTY: &str =
    "a string, a number, true or false, { env = \"NAME\" } or { file = \"PATH\" }";
const BY_NAME: &str = "{ env = \"NAME\" } or { file = \"PATH\" }";

/// Properties that are secrets: never inline.
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

/// The properties, and where each of them stands.
#[derive(Default)]
struct Properties {
    all: BTreeMap<String, Property>,
    places: BTreeMap<String, String>,
}

fn properties(kafka: &Table<'_>, folder: &Path) -> Properties {
    let mut properties = Properties::default();
    if let Some(table) = kafka.table("properties", "properties of librdkafka") {
        flatten("", &table, folder, &mut properties);
    }
    properties
}

/// Reads `a.b = 1` with and without quotes alike: TOML makes tables of the one.
fn flatten(above: &str, table: &Table<'_>, folder: &Path, found: &mut Properties) {
    for (key, value) in table.entries() {
        let name = format!("{above}{}", key.value);
        match table.as_table(value, key.line) {
            Some(inner) if !names_a_secret(&inner) => {
                flatten(&format!("{name}."), &inner, folder, found);
            }
            _ => {
                let Some(property) = property(&name, table, &key, value, folder) else {
                    continue;
                };
                let place = format!("{}:{}", table.file(), key.line);
                found.places.insert(name.clone(), place);
                if found.all.insert(name.clone(), property).is_some() {
                    table.mistake(key.line, format!("property `{name}` twice"), "it once");
                }
            }
        }
    }
}

fn names_a_secret(table: &Table<'_>) -> bool {
    let entries = table.entries();
    matches!(entries.as_slice(), [(key, _)] if ["env", "file"].contains(&key.value.as_str()))
}

fn property(
    name: &str,
    table: &Table<'_>,
    key: &At<String>,
    value: &Value<'_>,
    folder: &Path,
) -> Option<Property> {
    use toml::de::DeValue;
    if let Some(source) = table.as_table(value, key.line) {
        return secret_source(&source, name, folder).map(Property::Secret);
    }
    if SECRET_PROPERTIES.contains(&name) {
        table.mistake(
            key.line,
            format!("the secret `{name}` in the file itself"),
            BY_NAME,
        );
        return None;
    }
    match value.get_ref() {
        DeValue::String(text) => Some(Property::Plain(text.to_string())),
        DeValue::Integer(number) => Some(Property::Plain(number.to_string())),
        DeValue::Float(number) => Some(Property::Plain(number.to_string())),
        DeValue::Boolean(value) => Some(Property::Plain(value.to_string())),
        other => {
            let found = format!("property `{name}` is {}", kind_of(other));
            table.mistake(key.line, found, PROPERTY);
            None
        }
    }
}

/// `{ env = "NAME" }` or `{ file = "PATH" }`, the path beside the config.
fn secret_source(table: &Table<'_>, name: &str, folder: &Path) -> Option<SecretSource> {
    let environment = environment_name(table);
    let file = table.text("file", "the path of a file that holds the secret");
    let both = table.has("env") && table.has("file");
    let neither = !table.has("env") && !table.has("file");
    table.finish();
    if both || neither {
        let count = if both {
            "both `env` and `file`"
        } else {
            "neither `env` nor `file`"
        };
        table.mistake(table.line(), format!("{count} for `{name}`"), BY_NAME);
        return None;
    }
    environment
        .map(SecretSource::Environment)
        .or_else(|| file.map(|path| SecretSource::File(folder.join(path.value))))
}

/// Never quotes what stands there: it may be the secret itself.
fn environment_name(table: &Table<'_>) -> Option<String> {
    let name = table.text("env", ENVIRONMENT.expected)?;
    if (ENVIRONMENT.fits)(&name.value) {
        return Some(name.value);
    }
    table.mistake(name.line, "`env` names no variable", ENVIRONMENT.expected);
    None
}

fn former(root: &Table<'_>) -> Vec<Former> {
    let mut former = Vec::new();
    let Some(table) = root.table("former", "former recipients by name") else {
        return former;
    };
    for (name, value) in table.entries() {
        if !(KEBAB.fits)(&name.value) {
            let found = format!("former recipient `{}`", name.value);
            table.mistake(name.line, found, KEBAB.expected);
        }
        match table.as_table(value, name.line) {
            Some(inner) => former.extend(former_recipient(name.value, &inner)),
            None => {
                let found = format!("`{}` is {}", name.value, kind_of(value.get_ref()));
                table.mistake(name.line, found, "a table: `topics` and `what`");
            }
        }
    }
    former
}

fn former_recipient(recipient: String, table: &Table<'_>) -> Option<Former> {
    let expected = "the topics on which it has something";
    let what_expected = "what becomes of what it has";
    table.need("topics", expected, None);
    table.need("what", what_expected, None);
    let topics = table.texts("topics", expected);
    let what = table.choice("what", &WHATS, what_expected);
    for topic in topics.iter().flat_map(|topics| &topics.value) {
        if !(TOPIC.fits)(&topic.value) {
            let found = format!("topic `{}`", topic.value);
            table.mistake(topic.line, found, TOPIC.expected);
        }
    }
    table.finish();
    let topics = topics?.value.into_iter().map(|topic| topic.value);
    Some(Former {
        recipient,
        topics: topics.collect(),
        what: what?.value,
    })
}

fn lanes(root: &Table<'_>, recipients: &Recipients<'_>, former: bool) -> Vec<Lane> {
    let mut lanes = Vec::new();
    let mut taken = BTreeSet::new();
    if let Some(table) = root.table("lanes", "lanes by name") {
        for (name, value) in table.entries() {
            if !(KEBAB.fits)(&name.value) {
                let found = format!("lane `{}`", name.value);
                table.mistake(name.line, found, KEBAB.expected);
            }
            match table.as_table(value, name.line) {
                Some(inner) => lanes.push(lane(name, &inner, recipients, &mut taken)),
                None => {
                    let found = format!("lane `{}` is {}", name.value, kind_of(value.get_ref()));
                    table.mistake(name.line, found, "a table: `recipients` and `workers`");
                }
            }
        }
    }
    spread(lanes, recipients, former)
}

fn lane(
    name: At<String>,
    table: &Table<'_>,
    recipients: &Recipients<'_>,
    taken: &mut BTreeSet<String>,
) -> Lane {
    let expected = "names of recipients";
    if name.value != MAIN_LANE {
        table.need("recipients", expected, None);
    }
    let mut own = Vec::new();
    for at in table
        .texts("recipients", expected)
        .map_or(Vec::new(), |at| at.value)
    {
        if !recipients.check(table, &at.value, at.line) {
            continue;
        }
        if !taken.insert(at.value.clone()) {
            let found = format!("recipient `{}` in two lanes", at.value);
            table.mistake(at.line, found, "it in one");
        } else if !recipients.is_off(&at.value) {
            own.push(at.value);
        }
    }
    let workers = number(table, "workers", 1..=256, 1, "how many threads");
    table.finish();
    Lane {
        name: name.value,
        recipients: own,
        workers,
    }
}

/// Puts every recipient that no lane names into the main lane, and drops lanes
/// without any; with `former` recipients those that are named stay, and one lane
/// at least.
fn spread(mut lanes: Vec<Lane>, recipients: &Recipients<'_>, former: bool) -> Vec<Lane> {
    let rest: Vec<String> = recipients
        .enabled
        .iter()
        .filter(|name| lanes.iter().all(|lane| !lane.recipients.contains(*name)))
        .cloned()
        .collect();
    let named = !lanes.is_empty();
    match lanes.iter_mut().find(|lane| lane.name == MAIN_LANE) {
        Some(main) => main.recipients.extend(rest),
        None if former && rest.is_empty() && named => {}
        None => lanes.push(Lane {
            name: MAIN_LANE.to_owned(),
            recipients: rest,
            workers: 1,
        }),
    }
    lanes.retain(|lane| former || !lane.recipients.is_empty());
    for lane in &mut lanes {
        lane.recipients.sort();
    }
    lanes.sort_by(|a, b| a.name.cmp(&b.name));
    lanes
}

fn rates(root: &Table<'_>, recipients: &Recipients<'_>) -> BTreeMap<String, Rate> {
    let mut rates = BTreeMap::new();
    let Some(table) = root.table("rates", "rates by recipient") else {
        return rates;
    };
    for (name, value) in table.entries() {
        recipients.check(&table, &name.value, name.line);
        let Some(inner) = table.as_table(value, name.line) else {
            let found = format!("`{}` is {}", name.value, kind_of(value.get_ref()));
            table.mistake(name.line, found, "a table: { records_per_s = 100 }");
            continue;
        };
        inner.need("records_per_s", "how many records a second", None);
        let bounds = 1..=1_000_000;
        let speed = number(
            &inner,
            "records_per_s",
            bounds.clone(),
            1,
            "how many records a second",
        );
        let burst = number(&inner, "burst", bounds, speed, "how many records at once");
        inner.finish();
        let rate = Rate {
            records_per_s: speed,
            burst,
        };
        rates.insert(name.value, rate);
    }
    rates
}

const BYTES: RangeInclusive<i64> = 1_024..=67_108_864;

fn limits(root: &Table<'_>) -> Limits {
    let base = Limits::default();
    let Some(table) = root.table("limits", "what a record may be at most") else {
        return base;
    };
    let limits = Limits {
        record_bytes: number(
            &table,
            "record_bytes",
            BYTES,
            base.record_bytes,
            "bytes of a record",
        ),
        depth: number(
            &table,
            "depth",
            1..=512,
            base.depth,
            "objects and lists in each other",
        ),
        keys: number(
            &table,
            "keys",
            1..=1_000_000,
            base.keys,
            "keys of a record in all",
        ),
        output_bytes: number(
            &table,
            "output_bytes",
            BYTES,
            base.output_bytes,
            "bytes of an output",
        ),
        gate_wait_seconds: number(
            &table,
            "gate_wait_seconds",
            1..=86_400,
            base.gate_wait_seconds,
            "seconds that a gate source may hold back others",
        ),
        retractions_per_hour: number(
            &table,
            "retractions_per_hour",
            0..=1_000_000_000,
            base.retractions_per_hour,
            "outputs taken back from a recipient within an hour, 0 for no bound",
        ),
    };
    table.finish();
    limits
}

/// What is expected of sources, by the names of their kinds: read by itself, as
/// it needs to know these.
pub(super) fn sources(root: &Table<'_>, kinds: &[String]) -> BTreeMap<String, SourceSettings> {
    let mut sources = BTreeMap::new();
    let Some(table) = root.table("sources", "what is expected of sources, by name") else {
        return sources;
    };
    for (name, value) in table.entries() {
        if !kinds.contains(&name.value) {
            let close = near(&name.value, kinds.iter().map(String::as_str));
            let found = format!("unknown source `{}`", name.value);
            let expected = match close {
                Some(_) => "",
                None => "the name of a file in `records`",
            };
            table.push(Mistake::new(table.file(), name.line, found, expected).near(close));
        }
        let Some(inner) = table.as_table(value, name.line) else {
            let found = format!("`{}` is {}", name.value, kind_of(value.get_ref()));
            table.mistake(name.line, found, "a table: { expect_within = \"P7D\" }");
            continue;
        };
        const EXPECTED: &str = "an ISO 8601 period of at most five years, as P7D";
        let expect_within = period(&inner, "expect_within", EXPECTED);
        inner.finish();
        sources.insert(name.value, SourceSettings { expect_within });
    }
    sources
}

/// A period of the calendar.
fn period(table: &Table<'_>, key: &str, expected: &str) -> Option<Term> {
    let at = table.text(key, expected)?;
    let term = Term::parse(&at.value).filter(|term| term.fits_in(TERM_MAX));
    if term.is_none() {
        table.mistake(at.line, format!("`{key}` is \"{}\"", at.value), expected);
    }
    term
}

fn batch(root: &Table<'_>) -> Batch {
    let base = Batch::default();
    let Some(table) = root.table("batch", "when a batch closes") else {
        return base;
    };
    let bytes = 1_024..=1_073_741_824;
    let batch = Batch {
        records: number(
            &table,
            "records",
            1..=1_000_000,
            base.records,
            "records of a batch",
        ),
        bytes: number(&table, "bytes", bytes, base.bytes, "bytes of a batch"),
        wait_ms: number(
            &table,
            "wait_ms",
            1..=60_000,
            base.wait_ms,
            "milliseconds of a batch",
        ),
    };
    table.finish();
    batch
}

fn admin(root: &Table<'_>) -> Admin {
    let base = Admin::default();
    let Some(table) = root.table("admin", "where metrics and health are served") else {
        return base;
    };
    let expected = "an address and port, as \"127.0.0.1:9464\", or \"none\"";
    let listen = match table.text("listen", expected) {
        None => base.listen,
        Some(at) if at.value == "none" => None,
        Some(at) => at.value.parse().ok().or_else(|| {
            let found = format!("`listen` is \"{}\"", at.value);
            table.mistake(at.line, found, expected);
            base.listen
        }),
    };
    table.finish();
    Admin { listen }
}

fn log(root: &Table<'_>) -> Log {
    let Some(table) = root.table("log", "how the log looks") else {
        return Log::default();
    };
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let format = table.choice("format", &formats, "how a log line looks");
    let level = table.choice("level", LogLevel::ALL, "what is logged at least");
    table.finish();
    Log {
        format: format.map_or_else(LogFormat::default, |at| at.value),
        level: level.map_or_else(LogLevel::default, |at| at.value),
    }
}

fn topics(root: &Table<'_>) -> TopicSettings {
    let base = TopicSettings::default();
    let Some(table) = root.table("topics", "what `zeef topics` plans") else {
        return base;
    };
    let copies = |key, expected| {
        let at = table.integer(key, 1..=32, expected)?;
        Some((u16::try_from(at.value).ok()?, at.line))
    };
    let replication = copies("replication", "copies of each partition");
    let insync = copies("min_insync_replicas", "copies that must have a record");
    if let (Some((all, _)), Some((least, line))) = (replication, insync)
        && least > all
    {
        let found = format!("`min_insync_replicas` is {least}");
        table.mistake(
            line,
            found,
            format!("no more than `replication`, which is {all}"),
        );
    }
    let days = 1..=3_650;
    let settings = TopicSettings {
        partitions: number(
            &table,
            "partitions",
            1..=10_000,
            base.partitions,
            "partitions of a new topic",
        ),
        replication: replication.map(|(count, _)| count),
        min_insync_replicas: insync.map(|(count, _)| count),
        outage_days: number(
            &table,
            "outage_days",
            days.clone(),
            base.outage_days,
            "days a partner may be away",
        ),
        dead_letter_days: number(
            &table,
            "dead_letter_days",
            days,
            base.dead_letter_days,
            "days a dead letter is kept",
        ),
    };
    table.finish();
    settings
}

fn holds(root: &Table<'_>) -> Holds {
    let base = Holds::default();
    let Some(table) = root.table("holds", "what may wait for its patron") else {
        return base;
    };
    let holds = Holds {
        records: number(
            &table,
            "records",
            1..=10_000_000,
            base.records,
            "records of a partition that wait",
        ),
        days: number(
            &table,
            "days",
            1..=3_650,
            base.days,
            "days that a record waits",
        ),
    };
    table.finish();
    holds
}

fn state(root: &Table<'_>) -> StateSettings {
    let base = StateSettings::default();
    let Some(table) = root.table("state", "how what recipients have is looked after") else {
        return base;
    };
    let state = StateSettings {
        sweep_seconds: number(
            &table,
            "sweep_seconds",
            1..=86_400,
            base.sweep_seconds,
            "how often what lapses with time is looked for",
        ),
        check_seconds: number(
            &table,
            "check_seconds",
            1..=3_600,
            base.check_seconds,
            "how often sources and outputs are compared with what was read of them",
        ),
    };
    table.finish();
    state
}

fn directory(root: &Table<'_>) -> DirectorySection {
    let Some(table) = root.table("directory", "how files are written") else {
        return DirectorySection::default();
    };
    let group_read = table.boolean("group_read", "whether the group may read the outputs");
    table.finish();
    DirectorySection {
        group_read: group_read.is_some_and(|group_read| group_read.value),
    }
}

fn keys(root: &Table<'_>, folder: &Path, recipients: &Recipients<'_>) -> KeySettings {
    let mut keys = KeySettings {
        directory: folder.join("keys"),
        ..KeySettings::default()
    };
    let Some(table) = root.table("keys", "where the keys lie") else {
        return keys;
    };
    if let Some(at) = table.text("directory", "a folder, from the config folder") {
        keys.directory = folder.join(at.value);
    }
    if let Some(inner) = table.table("recipients", "keys by recipient") {
        for (name, value) in inner.entries() {
            recipients.check(&inner, &name.value, name.line);
            let source = key_source(
                &inner,
                &name.value,
                At {
                    value,
                    line: name.line,
                },
                folder,
            );
            keys.recipients
                .extend(source.map(|source| (name.value, source)));
        }
    }
    if let Some(at) = table.value("state") {
        keys.state = key_source(&table, STATE_KEY, at, folder);
    }
    table.finish();
    keys
}

/// Where one key lies; never the key itself.
fn key_source<'a>(
    table: &Table<'a>,
    name: &str,
    at: At<&'a Value<'a>>,
    folder: &Path,
) -> Option<SecretSource> {
    match table.as_table(at.value, at.line) {
        Some(source) => secret_source(&source, name, folder),
        None => {
            let found = format!("the key of `{name}` in the file itself");
            table.mistake(at.line, found, BY_NAME);
            None
        }
    }
}
