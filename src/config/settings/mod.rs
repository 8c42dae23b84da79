//! `zeef.toml`: how the daemon runs. Only the defaults of masks decide what is released.
//!
//! Everything has a default, and every number a range. Secrets are named by file or environment
//! variable, read when needed, and never shown.

mod export;
mod http_server;
mod intakes;
mod kafka;
mod lanes;
mod ledger;
mod limits;
mod schema_registry;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use export::{ExportSettings, SepaCreditor};
pub use http_server::{ServerLogin, ServerSettings, ServerUrl};
pub use intakes::IntakeSettings;
pub use kafka::{KafkaSection, Partitioner, RdkafkaProperty};
pub(crate) use lanes::RecipientNames;
pub use lanes::{LaneSettings, MAIN_LANE};
pub use ledger::{CheckpointSettings, LedgerSettings, is_operator_name};
pub use limits::{BatchBounds, CompileOptions, HoldBounds, LimitSettings, Rate, RecordLimits};
pub use schema_registry::{SchemaPlace, SchemaRegistrySettings};

use super::document::{
    Located, Mistake, TomlTable, TomlValue, describe_type, join_quoted, nearest_name,
};
use super::secret::{EXPECTED_SECRET_SOURCE, folder_permission_warning, read_secret_source};
pub use super::secret::{SecretError, SecretSource};
use crate::config::keyring::{CHECKPOINT_KEY_NAME, LEDGER_KEY_NAME, STATE_KEY_NAME, key_file};
use crate::policy::catalogue::{RecordKind, Role};
use crate::policy::former_recipient::FormerDeclaration;
use crate::policy::mask::ArgValue;
use crate::policy::name::{ISIL_CODE, KEBAB_CASE_NAME};
use crate::policy::term::{TERM_MAX, Term};

/// How the daemon runs: plain, valid data.
#[derive(Clone, Debug, Default)]
pub struct DaemonSettings {
    pub kafka: KafkaSection,
    /// Every enabled recipient is in exactly one; none is empty unless there are former recipients.
    pub lanes: Vec<LaneSettings>,
    /// Recipients that are no longer served but may still hold records.
    pub former_recipients: Vec<FormerDeclaration>,
    /// By recipient.
    pub rates: BTreeMap<String, Rate>,
    pub limits: LimitSettings,
    /// By kind of record.
    pub sources: BTreeMap<String, SourceSettings>,
    pub batch: BatchBounds,
    pub admin: AdminSettings,
    pub log: LogSettings,
    pub topics: TopicSettings,
    pub holds: HoldBounds,
    pub state: StateSettings,
    pub directory: DirectorySection,
    pub keys: KeySettings,
    pub masks: MaskDefaults,
    pub export: ExportSettings,
    pub ledger: LedgerSettings,
    pub intakes: IntakeSettings,
    /// `None` if no value is framed.
    pub schema_registry: Option<SchemaRegistrySettings>,
}

/// What is expected of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceSettings {
    /// A record arrives at least this often; `None` if unknown.
    pub expect_within: Option<Term>,
}

/// Where metrics and health are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// `None` for nowhere.
    pub listen: Option<SocketAddr>,
}

impl Default for AdminSettings {
    fn default() -> Self {
        AdminSettings { listen: Some(SocketAddr::from(([127, 0, 0, 1], 9464))) }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// What is logged at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// Returns the word in the config and in log filters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into_str()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    pub format: LogFormat,
    pub level: LogLevel,
}

/// What `zeef topics` plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// Of new topics.
    pub partitions: u32,
    /// `None` for the broker's default.
    pub replication: Option<u16>,
    /// `None` for the broker's default.
    pub min_insync_replicas: Option<u16>,
    /// How long a partner may be away and still see tombstones (`delete.retention.ms`).
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

/// How what recipients have is looked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateSettings {
    /// How often rows are checked for terms that are over.
    pub sweep_interval: Duration,
    /// How often sources and outputs are compared with what was read of them.
    pub check_interval: Duration,
}

impl Default for StateSettings {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        StateSettings { sweep_interval: minute, check_interval: minute }
    }
}

/// How `zeef run --directory` writes its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectorySection {
    /// The group of the process can read outputs, too.
    pub group_read: bool,
    /// How much of a source a snapshot may take back.
    pub snapshot_max_removed_percent: u32,
}

impl Default for DirectorySection {
    fn default() -> DirectorySection {
        DirectorySection { group_read: false, snapshot_max_removed_percent: 10 }
    }
}

/// Where the keys of pseudonyms, of the state and of the ledger are.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct KeySettings {
    /// Already joined with the config folder.
    pub directory: PathBuf,
    /// Keys that are not in the directory, by recipient.
    pub recipients: BTreeMap<String, SecretSource>,
    /// The state's key, if it is not in the directory.
    pub state: Option<SecretSource>,
    /// The ledger's key, if it is not in the directory.
    pub ledger: Option<SecretSource>,
    /// The key that signs checkpoints, if it is not in the directory.
    pub checkpoints: Option<SecretSource>,
}

impl DaemonSettings {
    /// Returns a warning for each file with a secret, keys apart, that others may read.
    #[must_use]
    pub fn secret_warnings(&self) -> Vec<String> {
        let properties = self.kafka.properties.values();
        let of_kafka = properties.filter_map(RdkafkaProperty::permission_warning);
        let registry = self.schema_registry.as_ref();
        let of_registry = registry.and_then(SchemaRegistrySettings::permission_warning);
        of_kafka.chain(of_registry).collect()
    }
}

impl KeySettings {
    fn explicit_source(&self, name: &str) -> Option<&SecretSource> {
        match name {
            STATE_KEY_NAME => self.state.as_ref(),
            LEDGER_KEY_NAME => self.ledger.as_ref(),
            CHECKPOINT_KEY_NAME => self.checkpoints.as_ref(),
            recipient => self.recipients.get(recipient),
        }
    }

    /// Returns whether the settings say where the key of this name is.
    #[must_use]
    pub fn has_explicit_source(&self, name: &str) -> bool {
        self.explicit_source(name).is_some()
    }

    /// Returns a warning if others may list the directory or add to it, and one of these keys is
    /// there.
    pub(super) fn folder_warning<'a>(
        &self,
        names: impl IntoIterator<Item = &'a String>,
    ) -> Option<String> {
        let mut names = names.into_iter();
        let is_used = names.any(|name| self.explicit_source(name).is_none());
        is_used.then(|| folder_permission_warning(&self.directory)).flatten()
    }

    /// Returns where the key of a recipient or [`STATE_KEY_NAME`] is: `NAME.key` in the directory
    /// unless the settings say otherwise.
    #[must_use]
    pub fn source_of(&self, name: &str) -> SecretSource {
        let default = || SecretSource::File(key_file(&self.directory, name));
        self.explicit_source(name).cloned().unwrap_or_else(default)
    }
}

/// The arguments of masks that a field does not set; part of the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaskDefaults(BTreeMap<String, ArgValue>);

impl MaskDefaults {
    #[must_use]
    pub fn argument(&self, name: &str) -> Option<&ArgValue> {
        self.0.get(name)
    }
}

/// Reads the defaults of masks; first, as recipients are compiled with them.
pub(crate) fn read_mask_defaults(root: &TomlTable<'_>) -> MaskDefaults {
    let mut defaults = BTreeMap::new();
    let Some(table) = root.table("masks", "defaults of masks") else {
        return MaskDefaults::default();
    };
    let keys = [("kernwoord", "kernwoord"), ("full", "full"), ("default", "default")];
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
const DEFAULT_PATRON_TERM: Term = Term { years: 2, months: 0, days: 0 };

/// The settings that are part of the policy; read first.
pub(crate) struct PolicySettings {
    pub(crate) patron_term: Term,
    /// Purposes of consents and objections that no recipient has.
    pub(crate) other_purposes: Vec<String>,
    /// Its predecessors, by library.
    pub(crate) successor_of: BTreeMap<String, Vec<String>>,
}

impl Default for PolicySettings {
    fn default() -> Self {
        PolicySettings {
            patron_term: DEFAULT_PATRON_TERM,
            other_purposes: Vec::new(),
            successor_of: BTreeMap::new(),
        }
    }
}

/// Reads the settings that are part of the policy, except the defaults of masks.
pub(crate) fn read_policy_settings(root: &TomlTable<'_>) -> PolicySettings {
    PolicySettings {
        patron_term: read_patron_term(root),
        other_purposes: read_other_purposes(root),
        successor_of: read_successors(root),
    }
}

fn read_other_purposes(root: &TomlTable<'_>) -> Vec<String> {
    const EXPECTED: &str = "purposes that consents and objections may name and no recipient has";
    let Some(table) = root.table("purposes", EXPECTED) else {
        return Vec::new();
    };
    let others = table.strings("others", EXPECTED);
    table.finish();
    let others = others.map_or_else(Vec::new, |at| at.value);
    for other in others.iter().filter(|other| !(KEBAB_CASE_NAME.is_valid)(&other.value)) {
        let found = format!("the purpose \"{}\"", other.value);
        table.report_mistake(other.line, found, KEBAB_CASE_NAME.description);
    }
    others.into_iter().map(|other| other.value).collect()
}

/// Reads which kinds may be of another library than their patron's, and allows it in `kinds`.
pub(crate) fn read_other_library(root: &TomlTable<'_>, kinds: &mut [RecordKind]) {
    const EXPECTED: &str = "kinds whose records may be of another library than their patron's, and \
                            why: { kinds = [\"loan\"], reason = \"...\" }";
    let Some(table) = root.table("other_library", EXPECTED) else {
        return;
    };
    table.require_key("kinds", EXPECTED, None);
    let named = table.strings("kinds", EXPECTED).map_or_else(Vec::new, |at| at.value);
    if table.contains_key("kinds") && named.is_empty() {
        table.report_mistake(table.line_of_key("kinds"), "no kind in `kinds`", EXPECTED);
    }
    table.require_string("reason", "why, for whoever asks");
    table.finish();
    let can_join = |kind: &RecordKind| kind.is_keyed_by_patron && kind.role == Role::Record;
    let names: Vec<String> =
        kinds.iter().filter(|kind| can_join(kind)).map(|kind| kind.name.clone()).collect();
    for at in named {
        match kinds.iter_mut().find(|kind| kind.name == at.value && can_join(kind)) {
            Some(kind) if kind.allows_other_library => {
                let found = format!("`{}`, which is said already", at.value);
                table.report_mistake(at.line, found, "each kind once, here or in its file");
            }
            Some(kind) => kind.allows_other_library = true,
            None => {
                let suggestion = nearest_name(&at.value, names.iter().map(String::as_str));
                let found = format!("no kind of record `{}` that is joined with patrons", at.value);
                let expected = format!("one of {}", join_quoted(&names));
                let mistake = Mistake::new(table.file(), at.line, found, expected);
                table.push_mistake(mistake.with_suggestion(suggestion));
            }
        }
    }
}

/// Reads whose grants count for patrons of a library that took over from others.
fn read_successors(root: &TomlTable<'_>) -> BTreeMap<String, Vec<String>> {
    const EXPECTED: &str =
        "a library, and those that it took over from: { \"NL-New\" = [\"NL-Old\"] }";
    let mut all = BTreeMap::new();
    let Some(table) = root.table("libraries", "what libraries are to each other") else {
        return all;
    };
    if let Some(inner) = table.table("successor_of", EXPECTED) {
        for (library, _) in inner.entries() {
            let predecessors = inner.strings(&library.value, EXPECTED);
            let predecessors = predecessors.map_or_else(Vec::new, |at| at.value);
            let named = predecessors.iter().map(|one| (&one.value, one.line));
            for (name, line) in named.chain([(&library.value, library.line)]) {
                if !(ISIL_CODE.is_valid)(name) {
                    inner.report_mistake(
                        line,
                        format!("library \"{name}\""),
                        ISIL_CODE.description,
                    );
                }
            }
            let predecessors = predecessors.into_iter().map(|one| one.value).collect();
            all.insert(library.value, predecessors);
        }
    }
    table.finish();
    all
}

fn read_patron_term(root: &TomlTable<'_>) -> Term {
    let Some(table) = root.table("retention", "how long data of patrons is released") else {
        return DEFAULT_PATRON_TERM;
    };
    const EXPECTED: &str = "an ISO 8601 period of at most five years, as P2Y";
    let term = read_calendar_term(&table, "patron", EXPECTED);
    table.finish();
    term.unwrap_or(DEFAULT_PATRON_TERM)
}

/// Reads `zeef.toml`, except the defaults of masks, the patron's term and the sources.
pub(crate) fn read_daemon_settings(
    root: &TomlTable<'_>,
    folder: &Path,
    recipients: &RecipientNames<'_>,
) -> DaemonSettings {
    let former = lanes::read_former_recipients(root);
    DaemonSettings {
        kafka: kafka::read_kafka(root, folder),
        lanes: lanes::read_lanes(root, recipients, !former.is_empty()),
        former_recipients: former,
        rates: limits::read_rates(root, recipients),
        limits: limits::read_limits(root),
        sources: BTreeMap::new(),
        batch: limits::read_batch(root),
        admin: read_admin(root),
        log: read_log(root),
        topics: read_topics(root),
        holds: limits::read_holds(root),
        state: read_state(root),
        directory: read_directory(root),
        keys: read_keys(root, folder, recipients),
        masks: MaskDefaults::default(),
        export: export::read_export(root),
        ledger: ledger::read_ledger(root, folder),
        intakes: intakes::read_intakes(root, folder),
        schema_registry: schema_registry::read_schema_registry(root, folder),
    }
}

/// Returns the settings of a folder without `zeef.toml`.
pub(crate) fn default_daemon_settings(
    folder: &Path,
    recipients: &RecipientNames<'_>,
) -> DaemonSettings {
    DaemonSettings {
        lanes: lanes::complete_lanes(Vec::new(), recipients, false),
        keys: KeySettings { directory: folder.join("keys"), ..KeySettings::default() },
        ..DaemonSettings::default()
    }
}

/// A whole number of a table: its key, range and meaning.
struct Number(&'static str, RangeInclusive<i64>, &'static str);

/// Reads a table whose keys all have defaults.
fn read_section<T: Default>(
    root: &TomlTable<'_>,
    key: &str,
    expected: &str,
    read: impl FnOnce(&TomlTable<'_>, &mut T),
) -> T {
    let mut section = T::default();
    if let Some(table) = root.table(key, expected) {
        read(&table, &mut section);
        table.finish();
    }
    section
}

/// Reads where the secret of `key` lies; `None` if it is missing or wrong.
fn read_secret_of_key(table: &TomlTable<'_>, key: &str, folder: &Path) -> Option<SecretSource> {
    read_secret_value(table, (key, &format!("the secret `{key}`")), table.value(key)?, folder)
}

/// Replaces `value` by the table's, unless that is missing or invalid.
fn set_integer<T: TryFrom<i64>>(table: &TomlTable<'_>, number: Number, value: &mut T) {
    let Number(key, range, expected) = number;
    if let Some(given) = table.integer(key, range, expected)
        && let Ok(given) = T::try_from(given.value)
    {
        *value = given;
    }
}

/// Like [`set_integer`], for a number of seconds or milliseconds.
fn set_duration(
    table: &TomlTable<'_>,
    number: Number,
    unit: fn(u64) -> Duration,
    value: &mut Duration,
) {
    let mut given = 0;
    set_integer(table, number, &mut given);
    if given > 0 {
        *value = unit(given);
    }
}

/// Reads what is expected of sources, by the names of their kinds, which must be known.
pub(crate) fn read_sources(
    root: &TomlTable<'_>,
    kinds: &[String],
) -> BTreeMap<String, SourceSettings> {
    let mut sources = BTreeMap::new();
    let Some(table) = root.table("sources", "what is expected of sources, by name") else {
        return sources;
    };
    for (name, value) in table.entries() {
        if !kinds.contains(&name.value) {
            let suggestion = nearest_name(&name.value, kinds.iter().map(String::as_str));
            let found = format!("unknown source `{}`", name.value);
            let expected = match suggestion {
                Some(_) => "",
                None => "the name of a file in `records`",
            };
            table.push_mistake(
                Mistake::new(table.file(), name.line, found, expected).with_suggestion(suggestion),
            );
        }
        let Some(inner) = table.as_table(value, name.line) else {
            let found = format!("`{}` is {}", name.value, describe_type(value.get_ref()));
            table.report_mistake(name.line, found, "a table: { expect_within = \"P7D\" }");
            continue;
        };
        const EXPECTED: &str = "an ISO 8601 period of at most five years, as P7D";
        let expect_within = read_calendar_term(&inner, "expect_within", EXPECTED);
        inner.finish();
        sources.insert(name.value, SourceSettings { expect_within });
    }
    sources
}

fn read_calendar_term(table: &TomlTable<'_>, key: &str, expected: &str) -> Option<Term> {
    let at = table.string(key, expected)?;
    let term = Term::parse(&at.value).filter(|term| term.is_never_longer_than(TERM_MAX));
    if term.is_none() {
        table.report_mistake(at.line, format!("`{key}` is \"{}\"", at.value), expected);
    }
    term
}

fn read_admin(root: &TomlTable<'_>) -> AdminSettings {
    const TITLE: &str = "where metrics and health are served";
    const EXPECTED: &str = "an address and port, as \"127.0.0.1:9464\", or \"none\"";
    read_section(root, "admin", TITLE, |table, admin: &mut AdminSettings| {
        match table.string("listen", EXPECTED) {
            None => {}
            Some(at) if at.value == "none" => admin.listen = None,
            Some(at) => match at.value.parse() {
                Ok(address) => admin.listen = Some(address),
                Err(_) => {
                    let found = format!("`listen` is \"{}\"", at.value);
                    table.report_mistake(at.line, found, EXPECTED);
                }
            },
        }
    })
}

fn read_log(root: &TomlTable<'_>) -> LogSettings {
    read_section(root, "log", "how the log looks", |table, log: &mut LogSettings| {
        let format = table.word("format", "how a log line looks");
        let level = table.word("level", "what is logged at least");
        log.format = format.map_or(log.format, |at| at.value);
        log.level = level.map_or(log.level, |at| at.value);
    })
}

fn read_topics(root: &TomlTable<'_>) -> TopicSettings {
    read_section(root, "topics", "what `zeef topics` plans", |table, topics: &mut TopicSettings| {
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
            let expected = format!("no more than `replication`, which is {all}");
            table.report_mistake(line, found, expected);
        }
        topics.replication = replication.map(|(count, _)| count);
        topics.min_insync_replicas = insync.map(|(count, _)| count);
        let number = Number("partitions", 1..=10_000, "partitions of a new topic");
        set_integer(table, number, &mut topics.partitions);
        let number = Number("outage_days", 1..=3_650, "days a partner may be away");
        set_integer(table, number, &mut topics.outage_days);
        let number = Number("dead_letter_days", 1..=3_650, "days a dead letter is kept");
        set_integer(table, number, &mut topics.dead_letter_days);
    })
}

fn read_state(root: &TomlTable<'_>) -> StateSettings {
    const TITLE: &str = "how what recipients have is looked after";
    const SWEEP: &str = "how often what lapses with time is looked for";
    const CHECK: &str = "how often sources and outputs are compared with what was read of them";
    read_section(root, "state", TITLE, |table, state: &mut StateSettings| {
        let number = Number("sweep_seconds", 1..=86_400, SWEEP);
        set_duration(table, number, Duration::from_secs, &mut state.sweep_interval);
        let number = Number("check_seconds", 1..=3_600, CHECK);
        set_duration(table, number, Duration::from_secs, &mut state.check_interval);
    })
}

fn read_directory(root: &TomlTable<'_>) -> DirectorySection {
    const TITLE: &str = "how files are written";
    read_section(root, "directory", TITLE, |table, directory: &mut DirectorySection| {
        const EXPECTED: &str = "whether the group may read the outputs";
        directory.group_read = table.boolean_or("group_read", false, EXPECTED);
        const REMOVED: &str = "how many percent of a source a snapshot may take back";
        if let Some(at) = table.integer("snapshot_max_removed_percent", 0..=100, REMOVED) {
            directory.snapshot_max_removed_percent = u32::try_from(at.value).unwrap_or(10);
        }
    })
}

fn read_keys(root: &TomlTable<'_>, folder: &Path, recipients: &RecipientNames<'_>) -> KeySettings {
    let mut keys = KeySettings { directory: folder.join("keys"), ..KeySettings::default() };
    let Some(table) = root.table("keys", "where the keys lie") else {
        return keys;
    };
    if let Some(at) = table.string("directory", "a folder, from the config folder") {
        keys.directory = folder.join(at.value);
    }
    if let Some(inner) = table.table("recipients", "keys by recipient") {
        for (name, value) in inner.entries() {
            recipients.check_known(&inner, &name.value, name.line);
            let source =
                read_key_source(&inner, &name.value, Located { value, line: name.line }, folder);
            keys.recipients.extend(source.map(|source| (name.value, source)));
        }
    }
    if let Some(at) = table.value("state") {
        keys.state = read_key_source(&table, STATE_KEY_NAME, at, folder);
    }
    if let Some(at) = table.value("ledger") {
        keys.ledger = read_key_source(&table, LEDGER_KEY_NAME, at, folder);
    }
    if let Some(at) = table.value("checkpoints") {
        keys.checkpoints = read_key_source(&table, CHECKPOINT_KEY_NAME, at, folder);
    }
    table.finish();
    keys
}

/// Reads where one key is; never the key itself.
fn read_key_source<'a>(
    table: &TomlTable<'a>,
    name: &str,
    at: Located<&'a TomlValue<'a>>,
    folder: &Path,
) -> Option<SecretSource> {
    read_secret_value(table, (name, &format!("the key of `{name}`")), at, folder)
}

/// Reads where a secret lies; `what` is said of one that stands in the file itself.
fn read_secret_value<'a>(
    table: &TomlTable<'a>,
    (name, what): (&str, &str),
    at: Located<&'a TomlValue<'a>>,
    folder: &Path,
) -> Option<SecretSource> {
    match table.as_table(at.value, at.line) {
        Some(source) => read_secret_source(&source, name, folder),
        None => {
            let found = format!("{what} in the file itself");
            table.report_mistake(at.line, found, EXPECTED_SECRET_SOURCE);
            None
        }
    }
}
