//! Compares the topics that should exist with those that do.
//!
//! A source that forgets too early, or an output that never forgets, breaks what zeef
//! promises: a run is refused, with the topic's name.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use crate::config::LoadedConfig;
use crate::engine::lane::{DEAD_LETTERS_TOPIC, PATRONS_TOPIC, STATE_TOPIC_PREFIX};
use crate::ledger::audit::AUDIT_TOPIC;
use crate::ledger::checkpoint::CHECKPOINTS_TOPIC;
use crate::ledger::timestamp::TIMESTAMPS_TOPIC;
use crate::ledger::{LEDGER_TOPIC, REGISTER_TOPIC};
use crate::message::commands::COMMANDS_TOPIC;
use crate::policy::Policy;
use crate::policy::catalogue::{RecordKind, Role};
use crate::policy::recipient::Recipient;
use crate::policy::term::{DAY_MS, Term};
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::describe_changed_partitions;
use crate::transport::kafka::key_sample::{KeySampling, sample_keys};
use crate::transport::kafka::partitioner::{
    JoinedTopicKeys, check_co_partitioned, check_partitioner_setting,
};
use crate::transport::kafka::repaired_records::RepairedRecords;
use crate::transport::kafka::topics::{self, ExistingTopic, TopicError, WantedTopic};

/// Minimum retention of patrons' nulls: a lane that publishes once a month rebuilds then.
const MIN_PATRON_TOMBSTONE_RETENTION_MS: i64 = 30 * DAY_MS;
/// Kafka's value for unlimited.
pub const FOREVER: i64 = -1;
/// Output topics roll every hour, so that retracted values are compacted; the transport
/// appends to idle partitions after this time.
const MAX_OUTPUT_SEGMENT_MS: i64 = 3_600_000;
/// How many keys of each joined source to sample.
const KEYS_PER_SAMPLE: usize = 2_000;

/// A rule for a topic setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigRule {
    Equals(&'static str),
    AtMost(i64),
    /// [`FOREVER`] is more than any number.
    AtLeast(i64),
}

impl ConfigRule {
    fn is_met_by(&self, found: &str) -> bool {
        let number = found.parse::<i64>();
        match self {
            ConfigRule::Equals(wanted) => found == *wanted,
            ConfigRule::AtMost(most) => number.is_ok_and(|n| n != FOREVER && n <= *most),
            ConfigRule::AtLeast(FOREVER) => number == Ok(FOREVER),
            ConfigRule::AtLeast(least) => number.is_ok_and(|n| n == FOREVER || n >= *least),
        }
    }

    /// Returns the value for a new topic.
    fn initial_value(&self) -> String {
        match self {
            ConfigRule::Equals(wanted) => (*wanted).to_owned(),
            ConfigRule::AtMost(number) | ConfigRule::AtLeast(number) => number.to_string(),
        }
    }

    /// Returns what the rule asks of the setting `name`, in words.
    #[must_use]
    pub fn describe(&self, name: &str) -> String {
        match self {
            ConfigRule::Equals(wanted) => (*wanted).to_owned(),
            ConfigRule::AtMost(most) => {
                format!("at most {}", format_setting(name, &most.to_string()))
            }
            ConfigRule::AtLeast(FOREVER) => "-1 (for ever)".to_owned(),
            ConfigRule::AtLeast(least) => {
                format!("at least {}", format_setting(name, &least.to_string()))
            }
        }
    }
}

/// Formats a setting's value; milliseconds also as days or a shorter unit.
#[must_use]
pub fn format_setting(name: &str, value: &str) -> String {
    let ms = value.parse::<i64>().ok();
    match ms.filter(|ms| *ms > 0 && name.ends_with(".ms")) {
        Some(ms) => format!("{value} ({})", format_duration(ms)),
        None => value.to_owned(),
    }
}

/// Formats milliseconds in the largest unit that divides them; long times in rounded days.
fn format_duration(ms: i64) -> String {
    let units = [(DAY_MS, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second")];
    let whole = units.iter().find(|(unit, _)| ms % unit == 0);
    match whole {
        Some(&(unit, name)) if ms < 100 * DAY_MS || unit == DAY_MS => pluralise(ms / unit, name),
        _ if ms >= DAY_MS => format!(
            "about {}",
            pluralise(ms / DAY_MS + i64::from(ms % DAY_MS >= DAY_MS / 2), "day")
        ),
        _ => pluralise(ms, "millisecond"),
    }
}

fn pluralise(number: i64, unit: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{ending}")
}

/// The role of the topic of the timestamps of checkpoints, which commands write, and no run.
pub(super) const TIMESTAMPS_ROLE: &str = "timestamps";
/// The role of a topic on which a recipient acknowledges retractions.
pub const ACKNOWLEDGEMENTS_ROLE: &str = "acknowledgements";

/// A topic as it should be.
#[derive(Clone, Debug)]
pub struct PlannedTopic {
    pub name: String,
    /// Its purpose in a few words.
    pub role: &'static str,
    /// Keys are patron ids: it needs as many partitions as the others.
    pub is_joined: bool,
    /// For a state, the sources of its lane: they need equal numbers of partitions, and it
    /// at least as many.
    pub followed_sources: Vec<String>,
    /// For the state of an intake, the partitions of its largest raw topic; else 0.
    pub min_partitions: i32,
    /// Settings without which a run is refused, and why.
    pub required: Vec<(&'static str, ConfigRule, &'static str)>,
    /// Settings for new topics, without which a run still works.
    pub recommended: Vec<(&'static str, ConfigRule, &'static str)>,
}

impl PlannedTopic {
    /// A topic of its own, which needs no number of partitions and no settings.
    fn new(name: impl Into<String>, role: &'static str) -> PlannedTopic {
        PlannedTopic {
            name: name.into(),
            role,
            is_joined: false,
            followed_sources: Vec::new(),
            min_partitions: 0,
            required: Vec::new(),
            recommended: Vec::new(),
        }
    }
}

/// The setting that makes the broker timestamp records.
const TIMESTAMP_TYPE: &str = "message.timestamp.type";
/// The setting of how long compaction keeps a null.
const TOMBSTONE_RETENTION: &str = "delete.retention.ms";
const LOG_APPEND_TIME: ConfigRule = ConfigRule::Equals("LogAppendTime");

/// Returns the topics of a config, sources first.
#[must_use]
pub fn plan_topics(loaded: &LoadedConfig) -> Vec<PlannedTopic> {
    let policy = &loaded.policy;
    let outage_ms = i64::from(loaded.daemon.topics.outage_days) * DAY_MS;
    let fed = |kind: &RecordKind| -> Vec<&Recipient> {
        policy
            .recipients
            .iter()
            .filter(|recipient| {
                let index = policy.record_kinds.iter().position(|one| one.name == kind.name);
                index.is_some_and(|index| recipient.reads_kind(index))
            })
            .collect()
    };
    let keyed = policy
        .recipients
        .iter()
        .any(|recipient| policy.record_kinds[recipient.source_kind_index].is_keyed_by_patron);
    let mut planned: Vec<PlannedTopic> = policy
        .record_kinds
        .iter()
        .filter(|kind| !fed(kind).is_empty() || (keyed && kind.role != Role::Record))
        .map(|kind| plan_source(kind, &fed(kind), outage_ms))
        .collect();
    let outputs = policy.recipients.iter().flat_map(|recipient| recipient.topics.names());
    let former = policy.former_recipients.iter().flat_map(|former| &former.topics);
    let outputs: BTreeSet<&str> = outputs.chain(former.map(String::as_str)).collect();
    planned.extend(outputs.into_iter().map(|topic| {
        PlannedTopic {
            required: [
                &compaction_rules("what is taken back has to go")[..],
                &[(
                    TOMBSTONE_RETENTION,
                    ConfigRule::AtLeast(outage_ms),
                    "a partner that was offline has to see what was taken back",
                )],
            ]
            .concat(),
            ..PlannedTopic::new(topic, "output")
        }
    }));
    planned.extend(loaded.daemon.lanes.iter().map(|lane| plan_state(policy, lane)));
    planned.extend(keyed.then(|| plan_patrons(policy)));
    if loaded.daemon.ledger.is_enabled {
        planned.extend([plan_ledger(policy), plan_register(), plan_chain(AUDIT_TOPIC, "audit")]);
        let signs = loaded.daemon.ledger.checkpoints.is_enabled;
        let signed = [(CHECKPOINTS_TOPIC, "checkpoints"), (TIMESTAMPS_TOPIC, TIMESTAMPS_ROLE)];
        let signed = signed.into_iter().filter(|_| signs);
        planned.extend(signed.map(|(name, role)| plan_chain(name, role)));
    }
    let rules = policy.recipients.iter().filter_map(|one| one.acknowledgement.as_ref());
    planned.extend(rules.map(|rule| plan_acknowledgements(&rule.topic)));
    let kept_ms = i64::from(loaded.daemon.topics.dead_letter_days) * DAY_MS;
    planned.push(PlannedTopic {
        required: vec![
            ("cleanup.policy", ConfigRule::Equals("delete"), "dead letters have no keys"),
            ("retention.ms", ConfigRule::AtLeast(kept_ms), "somebody has to look at them"),
        ],
        ..PlannedTopic::new(DEAD_LETTERS_TOPIC, "dead letters")
    });
    planned.push(plan_commands());
    planned
}

fn plan_source(kind: &RecordKind, recipients: &[&Recipient], outage_ms: i64) -> PlannedTopic {
    let forever = ConfigRule::AtLeast(FOREVER);
    let (role, rules) = match kind.role {
        Role::Patron => (
            "source: patrons",
            vec![(
                "cleanup.policy",
                ConfigRule::Equals("compact"),
                "only the last record of every patron is needed",
            )],
        ),
        Role::Gate => (
            "source: gate",
            unlimited_retention_rules(
                "compaction would keep only the last one",
                "what was granted or refused is never forgotten",
            )
            .to_vec(),
        ),
        Role::Record => {
            let longest = recipients.iter().map(|r| max_term_ms(r.retention.term)).max();
            let why =
                "a correction is decided again from the source, as long as a partner holds it";
            (
                "source",
                vec![
                    (
                        "cleanup.policy",
                        ConfigRule::Equals("delete"),
                        "the key is the patron's, not the record's",
                    ),
                    ("retention.ms", ConfigRule::AtLeast(longest.unwrap_or(0)), why),
                    ("retention.bytes", forever, why),
                ],
            )
        }
    };
    let mut wishes = vec![(
        TIMESTAMP_TYPE,
        LOG_APPEND_TIME,
        "by a producer's clock, what arrives within an hour after an erasure counts as before it",
    )];
    if kind.role == Role::Patron {
        wishes.push((
            TOMBSTONE_RETENTION,
            ConfigRule::AtLeast(outage_ms.max(MIN_PATRON_TOMBSTONE_RETENTION_MS)),
            "a lane that was stopped for so long still reads who was erased",
        ));
    }
    PlannedTopic {
        is_joined: kind.is_keyed_by_patron,
        required: rules,
        recommended: wishes,
        ..PlannedTopic::new(kind.topic.clone(), role)
    }
}

/// Plans the commands topic: one order, so one partition.
fn plan_commands() -> PlannedTopic {
    PlannedTopic {
        required: vec![(
            "cleanup.policy",
            ConfigRule::Equals("compact"),
            "what an operator accepted or requested applies to every later start",
        )],
        ..PlannedTopic::new(COMMANDS_TOPIC, "commands")
    }
}

/// Plans the state of a lane, which is partitioned like its records.
fn plan_state(policy: &Policy, lane: &crate::config::settings::LaneSettings) -> PlannedTopic {
    let served: Vec<&Recipient> = policy
        .recipients
        .iter()
        .filter(|recipient| lane.recipients.contains(&recipient.name))
        .collect();
    let is_fed = |(index, _): &(usize, &RecordKind)| {
        served.iter().any(|recipient| recipient.reads_kind(*index))
    };
    let fed: Vec<&RecordKind> =
        policy.record_kinds.iter().enumerate().filter(is_fed).map(|(_, kind)| kind).collect();
    let keyed = fed.iter().any(|kind| kind.is_keyed_by_patron);
    let read = policy.record_kinds.iter().filter(|kind| {
        let gate = keyed && kind.role != Role::Record;
        gate || fed.iter().any(|fed| fed.name == kind.name)
    });
    PlannedTopic {
        followed_sources: read.map(|kind| kind.topic.clone()).collect(),
        required: [
            &compaction_rules("a row counts only as it was written last")[..],
            &[(
                TIMESTAMP_TYPE,
                LOG_APPEND_TIME,
                "the broker's clock is the second witness of the time",
            )],
        ]
        .concat(),
        ..PlannedTopic::new(format!("{STATE_TOPIC_PREFIX}{}", lane.name), "state")
    }
}

/// Plans the state of an intake that compares versions, which is partitioned like its largest
/// raw topic.
#[must_use]
pub fn plan_intake_state(name: String, raw_partitions: i32) -> PlannedTopic {
    PlannedTopic {
        name,
        role: "intake state",
        is_joined: false,
        followed_sources: Vec::new(),
        min_partitions: raw_partitions,
        required: compaction_rules("a row counts only as it was written last").to_vec(),
        recommended: Vec::new(),
    }
}

/// Plans the ledger: a block lies in the partition of its records.
fn plan_ledger(policy: &Policy) -> PlannedTopic {
    let why = "who received what is never forgotten by itself";
    let patron = policy.record_kinds.iter().filter(|kind| kind.role == Role::Patron);
    PlannedTopic {
        followed_sources: patron.map(|kind| kind.topic.clone()).collect(),
        required: unlimited_retention_rules("its blocks have no keys", why).to_vec(),
        recommended: vec![(
            "compression.type",
            ConfigRule::Equals("zstd"),
            "its lines are alike, and take half the room",
        )],
        ..PlannedTopic::new(LEDGER_TOPIC, "ledger")
    }
}

/// Plans a topic that is one chain, so it has one partition.
fn plan_chain(name: &str, role: &'static str) -> PlannedTopic {
    let why = "a chain without its beginning proves nothing";
    PlannedTopic {
        required: unlimited_retention_rules("its messages have no keys", why).to_vec(),
        ..PlannedTopic::new(name, role)
    }
}

/// Plans the topic on which a recipient acknowledges retractions.
fn plan_acknowledgements(name: &str) -> PlannedTopic {
    let why = "what was acknowledged is proof for as long as the ledger is";
    PlannedTopic {
        required: unlimited_retention_rules(
            "compaction would keep only the last one of a key",
            why,
        )
        .to_vec(),
        recommended: vec![(
            TIMESTAMP_TYPE,
            LOG_APPEND_TIME,
            "the time of an acknowledgement is then the broker's, not the partner's",
        )],
        ..PlannedTopic::new(name, ACKNOWLEDGEMENTS_ROLE)
    }
}

/// Plans what the lines of the ledger point to.
fn plan_register() -> PlannedTopic {
    PlannedTopic {
        required: vec![(
            "cleanup.policy",
            ConfigRule::Equals("compact"),
            "a text stays readable for as long as lines point to it",
        )],
        ..PlannedTopic::new(REGISTER_TOPIC, "register")
    }
}

/// Plans what all lanes keep of patrons, partitioned by patron.
fn plan_patrons(policy: &Policy) -> PlannedTopic {
    let patron = policy.record_kinds.iter().filter(|kind| kind.role == Role::Patron);
    PlannedTopic {
        followed_sources: patron.map(|kind| kind.topic.clone()).collect(),
        required: vec![
            ("cleanup.policy", ConfigRule::Equals("compact"), "who was erased is never forgotten"),
            (
                TIMESTAMP_TYPE,
                LOG_APPEND_TIME,
                "the broker's clock is the second witness of the time",
            ),
        ],
        ..PlannedTopic::new(PATRONS_TOPIC, "erasures")
    }
}

type ConfigRules<const N: usize> = [(&'static str, ConfigRule, &'static str); N];

/// Keeps every message, by neither time nor size.
fn unlimited_retention_rules(why_delete: &'static str, why: &'static str) -> ConfigRules<3> {
    [
        ("cleanup.policy", ConfigRule::Equals("delete"), why_delete),
        ("retention.ms", ConfigRule::AtLeast(FOREVER), why),
        ("retention.bytes", ConfigRule::AtLeast(FOREVER), why),
    ]
}

/// Keeps only the last value of each key, and compacts the others soon.
fn compaction_rules(why: &'static str) -> ConfigRules<3> {
    [
        ("cleanup.policy", ConfigRule::Equals("compact"), why),
        (
            "segment.ms",
            ConfigRule::AtMost(MAX_OUTPUT_SEGMENT_MS),
            "an old segment is not compacted",
        ),
        (
            "max.compaction.lag.ms",
            ConfigRule::AtMost(DAY_MS),
            "what is taken back is gone within a day",
        ),
    ]
}

/// Returns an upper bound of a term in milliseconds.
fn max_term_ms(term: Term) -> i64 {
    let days = i64::from(term.years) * 366 + i64::from(term.months) * 31 + i64::from(term.days);
    days * DAY_MS
}

impl PlannedTopic {
    /// Whether nothing says in which partition a message belongs: it may have one only.
    fn has_single_partition(&self) -> bool {
        matches!(self.role, "commands" | "audit" | "checkpoints" | TIMESTAMPS_ROLE)
            || (self.role.starts_with("source") && !self.is_joined)
    }

    /// Returns what to create if the topic is missing.
    #[must_use]
    pub fn to_create(&self, loaded: &LoadedConfig, partitions: i32) -> WantedTopic {
        let settings = loaded.daemon.topics;
        let mut configs: BTreeMap<String, String> = self
            .required
            .iter()
            .chain(&self.recommended)
            .map(|(name, rule, _)| ((*name).to_owned(), rule.initial_value()))
            .collect();
        if let Some(replicas) = settings.min_insync_replicas {
            configs.insert("min.insync.replicas".to_owned(), replicas.to_string());
        }
        WantedTopic {
            name: self.name.clone(),
            partition_count: partitions,
            replication_factor: settings.replication.map(i32::from),
            configs,
        }
    }

    /// Returns what could be better about the topic as found; a run works without it.
    #[must_use]
    pub fn recommendations(&self, found: &ExistingTopic) -> Vec<String> {
        let wishes = self.recommended.iter();
        let notes = wishes.filter_map(|(name, rule, why)| {
            let value = found.configs.get(*name).map_or("unset", String::as_str);
            (!rule.is_met_by(value)).then(|| {
                let (is, wanted) = (format_setting(name, value), rule.describe(name));
                format!("`{name}` is {is}, better {wanted}: {why}")
            })
        });
        notes.collect()
    }

    /// Returns what is wrong with the topic as found.
    #[must_use]
    pub fn differences(&self, loaded: &LoadedConfig, found: &ExistingTopic) -> Vec<String> {
        let settings = loaded.daemon.topics;
        let mut differences: Vec<String> = self
            .required
            .iter()
            .filter_map(|(name, rule, why)| {
                let value = found.configs.get(*name).map_or("unset", String::as_str);
                (!rule.is_met_by(value)).then(|| {
                    let (is, wanted) = (format_setting(name, value), rule.describe(name));
                    format!("`{name}` is {is}, expected {wanted}: {why}")
                })
            })
            .collect();
        if let Some(wanted) = settings.replication.map(i32::from)
            && found.replication_factor < wanted
        {
            differences
                .push(format!("it has {} replicas, expected {wanted}", found.replication_factor));
        }
        if let Some(wanted) = settings.min_insync_replicas.map(i64::from) {
            let value = found.configs.get("min.insync.replicas");
            let value = value.and_then(|value| value.parse::<i64>().ok()).unwrap_or(1);
            if value < wanted {
                differences
                    .push(format!("`min.insync.replicas` is {value}, expected at least {wanted}"));
            }
        }
        differences
    }
}

/// The topics of a config as found.
#[derive(Debug)]
pub struct TopicReport {
    pub topics: Vec<(PlannedTopic, Option<ExistingTopic>)>,
}

impl TopicReport {
    /// Fetches every topic of the config.
    ///
    /// # Errors
    ///
    /// Kafka does not answer.
    pub fn fetch(
        settings: &KafkaSettings,
        loaded: &LoadedConfig,
    ) -> Result<TopicReport, TopicError> {
        let mut report = TopicReport { topics: Vec::new() };
        report.add_topics(settings, plan_topics(loaded))?;
        Ok(report)
    }

    /// Adds topics as found.
    ///
    /// # Errors
    ///
    /// Kafka does not answer.
    pub fn add_topics(
        &mut self,
        settings: &KafkaSettings,
        planned: Vec<PlannedTopic>,
    ) -> Result<(), TopicError> {
        if planned.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = planned.iter().map(|topic| topic.name.as_str()).collect();
        let mut found = topics::describe_topics(settings, &names)?;
        self.topics.extend(planned.into_iter().map(|topic| {
            let found = found.remove(&topic.name).flatten();
            (topic, found)
        }));
        Ok(())
    }

    /// Leaves out the states of lanes that are not to be run.
    pub fn remove_states_of(&mut self, lanes: &BTreeSet<String>) {
        let is_one = |name: &str| {
            name.strip_prefix(STATE_TOPIC_PREFIX).is_some_and(|lane| lanes.contains(lane))
        };
        self.topics.retain(|(planned, _)| !is_one(&planned.name));
    }

    /// Returns what to create.
    #[must_use]
    pub fn missing_topics(&self, loaded: &LoadedConfig) -> Vec<WantedTopic> {
        let joined = self.joined_partition_count();
        self.topics
            .iter()
            .filter(|(_, found)| found.is_none())
            .map(|(planned, _)| {
                let default = i32::try_from(loaded.daemon.topics.partitions).unwrap_or(1);
                let partitions = if planned.has_single_partition() {
                    1
                } else if planned.role.starts_with("source") {
                    joined.unwrap_or(default)
                } else {
                    let followed = self.existing_followed_sources(planned);
                    let most = followed.map(|(_, count)| count).max().unwrap_or(default);
                    most.max(planned.min_partitions)
                };
                planned.to_create(loaded, partitions)
            })
            .collect()
    }

    /// Returns the existing sources that a state follows, with their numbers of partitions.
    fn existing_followed_sources(
        &self,
        planned: &PlannedTopic,
    ) -> impl Iterator<Item = (&str, i32)> {
        self.topics
            .iter()
            .filter(|(source, _)| planned.followed_sources.contains(&source.name))
            .filter_map(|(source, found)| {
                Some((source.name.as_str(), found.as_ref()?.partition_count))
            })
    }

    /// Returns what is wrong with the partitions of a state and its sources.
    fn partition_count_mismatch(
        &self,
        settings: &KafkaSettings,
        planned: &PlannedTopic,
        partitions: i32,
    ) -> Option<String> {
        let (most, most_count) =
            self.existing_followed_sources(planned).max_by_key(|(_, count)| *count)?;
        let joined = self.existing_followed_sources(planned).filter(|(name, _)| {
            let is_joined = |source: &PlannedTopic| source.name == *name && source.is_joined;
            self.topics.iter().any(|(source, _)| is_joined(source))
        });
        let (least, least_count) =
            joined.min_by_key(|(_, count)| *count).unwrap_or((most, most_count));
        let (most, least) = (settings.topic_name(most), settings.topic_name(least));
        if most_count != least_count {
            return Some(format!(
                "topic `{least}` has {least_count} partitions, and `{most}` {most_count}: the \
                 sources of one lane need the same number, as its state lies by them"
            ));
        }
        let name = settings.topic_name(&planned.name);
        (partitions < most_count).then(|| {
            format!(
                "topic `{name}` ({}) has {partitions} partitions, expected at least {most_count}. \
                 Where its sources had as many before: {}",
                planned.role,
                describe_changed_partitions(&most, most_count, partitions)
            )
        })
    }

    /// Returns the partition count of the existing joined sources.
    #[must_use]
    pub fn joined_partition_count(&self) -> Option<i32> {
        self.topics
            .iter()
            .filter(|(planned, _)| planned.is_joined)
            .filter_map(|(_, found)| found.as_ref().map(|found| found.partition_count))
            .max()
    }

    /// Returns the longest time until an append rolls a segment of an output, or `None` if
    /// no output says.
    #[must_use]
    pub fn max_segment_duration(&self) -> Option<Duration> {
        let outputs = self.topics.iter().filter(|(planned, _)| planned.role == "output");
        let found = outputs.filter_map(|(_, found)| found.as_ref());
        let longest = found.filter_map(|found| {
            // Kafka rolls at whichever is shorter.
            ["segment.ms", "max.compaction.lag.ms"]
                .iter()
                .filter_map(|name| found.configs.get(*name)?.parse::<u64>().ok())
                .min()
        });
        longest.max().map(Duration::from_millis)
    }

    /// Returns what could be better about the existing topics, one line each.
    #[must_use]
    pub fn recommendations(&self, settings: &KafkaSettings) -> Vec<String> {
        let mut notes = Vec::new();
        for (planned, found) in &self.topics {
            let name = settings.topic_name(&planned.name);
            let found = found.iter().flat_map(|found| planned.recommendations(found));
            notes.extend(found.map(|note| format!("topic `{name}` ({}): {note}", planned.role)));
        }
        notes
    }

    /// Returns every reason to refuse a run: missing topics, settings that lose or keep too
    /// much, and sources that cannot be joined.
    ///
    /// # Errors
    ///
    /// Kafka does not answer.
    pub fn start_refusals(
        &self,
        settings: &KafkaSettings,
        loaded: &LoadedConfig,
    ) -> Result<Vec<String>, TopicError> {
        let mut refusals = Vec::new();
        let mut joined = Vec::new();
        for (planned, found) in &self.topics {
            let name = settings.topic_name(&planned.name);
            let Some(found) = found else {
                refusals.push(format!(
                    "topic `{name}` ({}) does not exist: create it, or run `zeef topics --apply`",
                    planned.role
                ));
                continue;
            };
            let differences = planned.differences(loaded, found);
            refusals.extend(
                differences
                    .into_iter()
                    .map(|difference| format!("topic `{name}` ({}): {difference}", planned.role)),
            );
            refusals.extend(self.partition_count_mismatch(
                settings,
                planned,
                found.partition_count,
            ));
            if planned.has_single_partition() && found.partition_count != 1 {
                let why = match planned.role {
                    "commands" => "commands have one order",
                    _ => "without keys, versions of a record could lie in several",
                };
                refusals.push(format!(
                    "topic `{name}` ({}) has {} partitions, expected 1: {why}",
                    planned.role, found.partition_count
                ));
            }
            if found.partition_count < planned.min_partitions {
                refusals.push(format!(
                    "topic `{name}` ({}) has {} partitions, expected at least {}, as the largest \
                     raw topic of its intake has: add partitions to it",
                    planned.role, found.partition_count, planned.min_partitions
                ));
            }
            if planned.is_joined {
                joined.push((planned.name.as_str(), found.partition_count));
            }
        }
        let fit = |joined: &[JoinedTopicKeys]| check_co_partitioned(joined, settings.partitioner);
        refusals.extend(find_key_mismatch(settings, &joined, fit)?);
        Ok(refusals)
    }

    /// Returns which partitioner fits the keys of all joined sources, if that is not the
    /// configured one: then the setting is wrong, and no record is misplaced. Also reports
    /// differing numbers of partitions.
    ///
    /// # Errors
    ///
    /// Kafka does not answer.
    pub fn find_wrong_partitioner(
        &self,
        settings: &KafkaSettings,
    ) -> Result<Option<String>, TopicError> {
        let joined: Vec<(&str, i32)> = self
            .topics
            .iter()
            .filter(|(planned, _)| planned.is_joined)
            .filter_map(|(planned, found)| Some((&*planned.name, found.as_ref()?.partition_count)))
            .collect();
        find_key_mismatch(settings, &joined, |joined| {
            check_partitioner_setting(joined, settings.partitioner)
        })
    }

    /// Returns the number of partitions of a topic; 0 if it does not exist.
    #[must_use]
    pub fn partition_count(&self, name: &str) -> i32 {
        let mut topics = self.topics.iter();
        let topic = topics.find(|(planned, _)| planned.name == name);
        let found = topic.and_then(|(_, found)| found.as_ref());
        found.map_or(0, |found| found.partition_count)
    }

    /// Returns the existing sources of a lane with their numbers of partitions.
    fn existing_sources_of(&self, lane: &str) -> Vec<(&str, i32)> {
        let state = format!("{STATE_TOPIC_PREFIX}{lane}");
        let mut planned = self.topics.iter().map(|(planned, _)| planned);
        let state = planned.find(|planned| planned.name == state);
        state.map_or_else(Vec::new, |state| self.existing_followed_sources(state).collect())
    }

    /// Returns what each lane has read before: the partitions of each source for which its
    /// group has offsets.
    ///
    /// # Errors
    ///
    /// Kafka does not answer.
    pub fn fetch_group_offsets(
        &self,
        settings: &KafkaSettings,
        loaded: &LoadedConfig,
    ) -> Result<GroupOffsetReport, TopicError> {
        let mut offsets = GroupOffsetReport::default();
        for lane in &loaded.daemon.lanes {
            let sources = self.existing_sources_of(&lane.name);
            let found = topics::fetch_group_offsets(settings, &lane.name, &sources)?;
            offsets.has_any |= !found.is_empty();
            for (source, partitions) in sources {
                let Some(of_source) = found.get(source) else {
                    continue;
                };
                offsets.add_source(source, &of_source.offsets);
                let known = of_source.known_partition_count();
                if known < partitions {
                    let topic = settings.topic_name(source);
                    let text = describe_changed_partitions(&topic, partitions, known);
                    offsets.widened_topics.push(text);
                }
            }
        }
        offsets.widened_topics.sort();
        offsets.widened_topics.dedup();
        Ok(offsets)
    }

    /// Returns whether no lane has written to its state yet.
    ///
    /// # Errors
    ///
    /// Kafka does not answer.
    pub fn has_no_state_rows(&self, settings: &KafkaSettings) -> Result<bool, TopicError> {
        for (planned, found) in &self.topics {
            if planned.role == "state"
                && let Some(found) = found
                && topics::has_been_written(settings, &planned.name, found.partition_count)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What the lanes' groups say of earlier runs.
#[derive(Debug, Default)]
pub struct GroupOffsetReport {
    /// Some lane has read something before.
    pub has_any: bool,
    /// What is wrong with sources that got more partitions since.
    pub widened_topics: Vec<String>,
    /// The position up to which every lane that reads a source has read it.
    pub lowest_offsets: BTreeMap<String, BTreeMap<i32, i64>>,
}

impl GroupOffsetReport {
    fn add_source(&mut self, source: &str, offsets: &BTreeMap<i32, i64>) {
        let read = self.lowest_offsets.entry(source.to_owned()).or_default();
        for (partition, offset) in offsets {
            let lowest = read.entry(*partition).or_insert(*offset);
            *lowest = (*lowest).min(*offset);
        }
    }
}

/// Returns what `check` says against the keys of the joined sources. Loads repaired records
/// only if it says something.
fn find_key_mismatch(
    settings: &KafkaSettings,
    joined: &[(&str, i32)],
    check: impl Fn(&[JoinedTopicKeys]) -> Result<(), String>,
) -> Result<Option<String>, TopicError> {
    let first = check(&sample_joined_keys(settings, joined, &RepairedRecords::default())?).err();
    if first.is_none() {
        return Ok(None);
    }
    let repaired = RepairedRecords::load(settings)?;
    if repaired.is_empty() {
        return Ok(first);
    }
    Ok(check(&sample_joined_keys(settings, joined, &repaired)?).err())
}

/// Samples the keys of all joined sources in parallel: sampling mostly waits, and a restart
/// has to be quick.
fn sample_joined_keys(
    settings: &KafkaSettings,
    joined: &[(&str, i32)],
    repaired: &RepairedRecords,
) -> Result<Vec<JoinedTopicKeys>, TopicError> {
    thread::scope(|scope| {
        let looks: Vec<_> = joined
            .iter()
            .map(|&(topic, partitions)| {
                let sample = KeySampling { keys_max: KEYS_PER_SAMPLE, repaired_records: repaired };
                let look = move || sample_keys(settings, topic, partitions, sample);
                (topic, partitions, scope.spawn(look))
            })
            .collect();
        looks
            .into_iter()
            .map(|(topic, partitions, look)| {
                let keys = look.join().unwrap_or_else(|cause| resume_unwind(cause))?;
                Ok(JoinedTopicKeys {
                    name: settings.topic_name(topic),
                    partition_count: partitions,
                    message_keys: keys,
                })
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[track_caller]
    fn check_rule(rule: &ConfigRule, found: &str, is_met: bool) {
        assert_eq!(rule.is_met_by(found), is_met, "{rule:?} of {found}");
    }

    #[test]
    fn config_rule_is_met_by_allowed_values_only() {
        check_rule(&ConfigRule::Equals("compact"), "compact", true);
        check_rule(&ConfigRule::Equals("compact"), "compact,delete", false);
        check_rule(&ConfigRule::AtLeast(FOREVER), "-1", true);
        check_rule(&ConfigRule::AtLeast(FOREVER), "604800000", false);
        check_rule(&ConfigRule::AtLeast(5), "-1", true);
        check_rule(&ConfigRule::AtLeast(5), "4", false);
        check_rule(&ConfigRule::AtMost(5), "5", true);
        check_rule(&ConfigRule::AtMost(5), "6", false);
        check_rule(&ConfigRule::AtMost(5), "-1", false);
        check_rule(&ConfigRule::AtMost(5), "unset", false);
    }

    #[test]
    fn setting_in_milliseconds_shows_its_duration() {
        for (value, want) in [
            ("158112000000", "158112000000 (1830 days)"),
            ("604800000", "604800000 (7 days)"),
            ("86400000", "86400000 (1 day)"),
            ("3600000", "3600000 (1 hour)"),
            ("90000", "90000 (90 seconds)"),
            ("1500", "1500 (1500 milliseconds)"),
            ("172800001", "172800001 (about 2 days)"),
            ("9223372036854775807", "9223372036854775807 (about 106751991167 days)"),
            ("-1", "-1"),
            ("unset", "unset"),
        ] {
            assert_eq!(format_setting("retention.ms", value), want);
            assert_eq!(format_setting("retention.bytes", value), value);
        }
        let rule = ConfigRule::AtLeast(5 * 366 * DAY_MS);
        assert_eq!(rule.describe("retention.ms"), "at least 158112000000 (1830 days)");
    }

    #[test]
    fn plan_has_every_topic_of_the_shipped_config() {
        let loaded = Policy::load(Path::new("config")).unwrap();
        let planned = plan_topics(&loaded);
        let names: Vec<&str> = planned.iter().map(|topic| topic.name.as_str()).collect();
        for name in [
            "patron",
            "loan",
            "consent",
            "out.statistics",
            "zeef.dead-letters",
            "zeef.state.main",
            "zeef.patrons",
            "zeef.commands",
        ] {
            assert!(names.contains(&name), "{names:?}");
        }
        let topic = |name: &str| planned.iter().find(|topic| topic.name == name).unwrap();
        let followed = &topic("zeef.state.main").followed_sources;
        assert!(followed.contains(&"patron".to_owned()) && followed.contains(&"loan".to_owned()));
        let kept = |name: &str| {
            let wishes = &topic(name).recommended;
            let found = wishes.iter().find(|(key, ..)| *key == TOMBSTONE_RETENTION);
            found.map(|(_, rule, _)| rule.clone())
        };
        assert_eq!(kept("patron"), Some(ConfigRule::AtLeast(30 * DAY_MS)));
        assert_eq!(kept("loan"), None);
        let retention = |name: &str| {
            topic(name).required.iter().find(|(key, ..)| *key == "retention.ms").unwrap().1.clone()
        };
        assert_eq!(topic("zeef.patrons").followed_sources, ["patron"]);
        // A run works without it for a source, but not for zeef's own topics.
        let asks = |rules: &[(&str, ConfigRule, &str)]| {
            rules.iter().any(|(key, ..)| *key == TIMESTAMP_TYPE)
        };
        for name in ["patron", "loan", "consent", "objection"] {
            assert!(asks(&topic(name).recommended) && !asks(&topic(name).required), "{name}");
        }
        for name in ["zeef.state.main", "zeef.patrons"] {
            assert!(asks(&topic(name).required), "{name}");
        }
        let wish = topic("loan").to_create(&loaded, 1);
        assert_eq!(wish.configs[TIMESTAMP_TYPE], "LogAppendTime");
        let found = |value: &str| ExistingTopic {
            partition_count: 1,
            replication_factor: 1,
            configs: BTreeMap::from([(TIMESTAMP_TYPE.to_owned(), value.to_owned())]),
        };
        assert!(topic("loan").recommendations(&found("LogAppendTime")).is_empty());
        let notes = topic("loan").recommendations(&found("CreateTime"));
        assert!(notes[0].contains("is CreateTime, better LogAppendTime"), "{notes:?}");
        assert_eq!(retention("debt"), ConfigRule::AtLeast(5 * 366 * DAY_MS));
        assert_eq!(retention("consent"), ConfigRule::AtLeast(FOREVER));
    }

    #[test]
    fn max_segment_duration_is_that_of_the_slowest_output() {
        let loaded = Policy::load(Path::new("config")).unwrap();
        let segment = |settings: &[(&str, &[(&str, &str)])]| {
            let topics = plan_topics(&loaded).into_iter().map(|topic| {
                let found = settings.iter().find(|(name, _)| topic.name == *name);
                let found = found.map(|(_, configs)| ExistingTopic {
                    partition_count: 1,
                    replication_factor: 1,
                    configs: configs
                        .iter()
                        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                        .collect(),
                });
                (topic, found)
            });
            let topics = topics.collect();
            TopicReport { topics }.max_segment_duration()
        };
        assert_eq!(segment(&[]), None);
        let slow = [("segment.ms", "5000"), ("max.compaction.lag.ms", "9000")];
        let quick = [("segment.ms", "5000"), ("max.compaction.lag.ms", "4000")];
        let found = segment(&[("out.statistics", &slow), ("out.deurwaarder", &quick)]);
        assert_eq!(found, Some(Duration::from_secs(5)));
        let found = segment(&[("zeef.state.main", &slow), ("out.deurwaarder", &quick)]);
        assert_eq!(found, Some(Duration::from_secs(4)));
    }

    #[test]
    fn state_topic_has_as_many_partitions_as_its_sources() {
        let loaded = Policy::load(Path::new("config")).unwrap();
        let survey = |loans: i32| {
            let topics = plan_topics(&loaded).into_iter().map(|topic| {
                let found = ExistingTopic {
                    partition_count: if topic.name == "loan" { loans } else { 6 },
                    replication_factor: 1,
                    configs: BTreeMap::new(),
                };
                let found = Some(found).filter(|_| !topic.name.starts_with("zeef."));
                (topic, found)
            });
            TopicReport { topics: topics.collect() }
        };
        let missing = survey(6).missing_topics(&loaded);
        let missing: Vec<_> = missing.iter().map(|w| (&*w.name, w.partition_count)).collect();
        let partitions = i32::try_from(loaded.daemon.topics.partitions).unwrap();
        let own = [
            ("zeef.state.main", 6),
            ("zeef.state.statistics", 6),
            ("zeef.patrons", 6),
            ("zeef.dead-letters", partitions),
            ("zeef.commands", 1),
        ];
        assert_eq!(missing, own);
        let settings = KafkaSettings::default();
        let misfit = |loans, partitions| {
            let survey = survey(loans);
            let mut states = survey.topics.iter().filter(|(t, _)| t.role == "state");
            let (state, _) = states.next().unwrap();
            survey.partition_count_mismatch(&settings, state, partitions)
        };
        assert_eq!(misfit(6, 6), None);
        assert_eq!(misfit(6, 8), None);
        assert!(misfit(6, 4).unwrap().contains("has 4 partitions, expected at least 6"));
        assert!(misfit(12, 12).unwrap().contains("need the same number"));
    }
}
