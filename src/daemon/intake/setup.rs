//! From the config to what the workers of an intake need.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::config::{LoadedConfig, Mistake};
use crate::daemon::topics::plan_topics;
use crate::engine::lane::DEAD_LETTERS_TOPIC;
use crate::intake::{self, Intake, RecordVersions};
use crate::message::continuity::SourceRetention;
use crate::message::{
    Fault, IntakePlan, LanePlan, OutputId, OutputPlan, OutputRole, SourcePlan, ZEEF_OWNER,
};
use crate::policy::catalogue::Role;
use crate::policy::pseudonym::HmacKey;
use crate::schemas::{RegistryError, SchemaRegistry};
use crate::transport::kafka::KafkaSettings;

/// What stands before the name of an intake in that of its state, which has the versions that
/// were written last.
const STATE_TOPIC_PREFIX: &str = "zeef.intake-state.";

/// A kind of record that an intake writes.
#[derive(Clone, Debug)]
pub struct IntakeKind {
    pub name: String,
    /// Without prefix.
    pub topic: String,
    pub role: Role,
}

/// An enabled intake.
#[derive(Clone, Debug)]
pub struct IntakeSetup {
    pub intake: Arc<Intake>,
    /// Where the schemas of its messages are found.
    pub schemas: Arc<SchemaRegistry>,
    /// Those that some recipient's lane reads, each once. Others are not read at all: nobody
    /// needs what they hold.
    pub kinds: Vec<IntakeKind>,
    pub workers: usize,
    pub policy_version: String,
    /// A larger record is refused.
    pub output_bytes_max: usize,
    /// The key of the state's hashes. Needed to run an intake that compares versions.
    pub state_key: Option<HmacKey>,
    /// The names on Kafka of the topics that zeef has itself, which are never raw ones.
    own_topics: BTreeSet<String>,
}

/// Why the intakes of a config cannot run.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("a mapping has mistakes")]
    Mistakes(Vec<Mistake>),
    #[error(
        "intake/{intake}.toml: topic `{topic}`, which zeef itself has: expected those of a library system"
    )]
    OwnTopic { intake: String, topic: String },
    #[error("intake/{intake}.toml: {cause}")]
    Schemas { intake: String, cause: RegistryError },
}

impl IntakeSetup {
    /// Loads the mapping of each enabled intake from `folder`, that of the config.
    ///
    /// # Errors
    ///
    /// A mapping has mistakes, names a topic of zeef, or needs schemas that are nowhere.
    pub fn load_enabled(
        folder: &Path,
        loaded: &LoadedConfig,
        topic_prefix: &str,
    ) -> Result<Vec<IntakeSetup>, SetupError> {
        let settings = &loaded.daemon.intakes;
        let mut setups = Vec::new();
        let mut mistakes = Vec::new();
        for name in &settings.enabled {
            let path = folder.join("intake").join(format!("{name}.toml"));
            match intake::load_file(&path, &loaded.policy.record_kinds) {
                Ok(intake) => {
                    setups.push(IntakeSetup::new(intake, loaded, topic_prefix));
                }
                Err(more) => mistakes.extend(more),
            }
        }
        if !mistakes.is_empty() {
            return Err(SetupError::Mistakes(mistakes));
        }
        let schemas = Arc::new(SchemaRegistry::new(loaded.daemon.schema_registry.as_ref()));
        for setup in &mut setups {
            setup.check_topics()?;
            let needed = schemas.require_for(&setup.intake);
            let intake = setup.intake.name().to_owned();
            needed.map_err(|cause| SetupError::Schemas { intake, cause })?;
            setup.schemas = Arc::clone(&schemas);
        }
        Ok(setups)
    }

    /// Returns the setup of one intake, without schemas.
    #[must_use]
    pub fn new(intake: Intake, loaded: &LoadedConfig, topic_prefix: &str) -> IntakeSetup {
        let written: BTreeSet<&str> = intake.kinds().collect();
        let kinds = loaded.policy.record_kinds.iter();
        let settings =
            KafkaSettings { topic_prefix: topic_prefix.to_owned(), ..KafkaSettings::default() };
        let planned: BTreeSet<String> =
            plan_topics(loaded).into_iter().map(|planned| planned.name).collect();
        let kinds = kinds.filter(|kind| {
            written.contains(kind.name.as_str()) && planned.contains(kind.topic.as_str())
        });
        let kinds = kinds.map(|kind| IntakeKind {
            name: kind.name.clone(),
            topic: kind.topic.clone(),
            role: kind.role,
        });
        let mut setup = IntakeSetup {
            kinds: kinds.collect(),
            intake: Arc::new(intake),
            schemas: Arc::default(),
            workers: loaded.daemon.intakes.workers,
            policy_version: loaded.policy.version.clone(),
            output_bytes_max: loaded.daemon.limits.lane.output_bytes_max,
            state_key: None,
            own_topics: planned.iter().map(|name| settings.topic_name(name)).collect(),
        };
        setup.own_topics.extend(setup.state_topic().map(|topic| settings.topic_name(&topic)));
        setup
    }

    fn check_topics(&self) -> Result<(), SetupError> {
        let named = self.record_topics().into_iter().chain(self.intake.lookup_topics());
        for topic in named {
            if self.own_topics.contains(&topic) {
                let intake = self.intake.name().to_owned();
                return Err(SetupError::OwnTopic { intake, topic });
            }
        }
        Ok(())
    }

    /// The name in groups, logs and metrics. No lane of recipients has a dot in its name.
    #[must_use]
    pub fn lane_name(&self) -> String {
        format!("intake.{}", self.intake.name())
    }

    /// The topic of its state, without prefix; `None` if it compares no versions.
    #[must_use]
    pub fn state_topic(&self) -> Option<String> {
        let mut kinds = self.versioned_kinds();
        kinds.next().map(|_| format!("{STATE_TOPIC_PREFIX}{}", self.intake.name()))
    }

    fn versioned_kinds(&self) -> impl Iterator<Item = &str> {
        let kinds = self.intake.version_rules().map(|(kind, _)| kind.as_ref());
        kinds.filter(|kind| self.find_kind(kind).is_some())
    }

    /// The topics of each kind whose versions are compared: names, and patterns with `*`.
    pub fn versioned_topics(&self) -> impl Iterator<Item = BTreeSet<String>> {
        self.versioned_kinds().map(|kind| self.intake.record_topics(|one| one == kind))
    }

    /// The memory of the versions that were written, without any; `None` if none are compared.
    ///
    /// # Errors
    ///
    /// There is no key of the state.
    pub fn empty_versions(&self) -> Result<Option<RecordVersions>, Fault> {
        if self.state_topic().is_none() {
            return Ok(None);
        }
        match &self.state_key {
            Some(key) => Ok(self.intake.empty_versions(key)),
            None => Err(Fault::stop("the key of the state is missing")),
        }
    }

    /// The topics of its kinds: names, and patterns with `*`.
    #[must_use]
    pub fn record_topics(&self) -> BTreeSet<String> {
        self.intake.record_topics(|kind| self.find_kind(kind).is_some())
    }

    /// Whether the intake reads `topic`, by its name on Kafka.
    #[must_use]
    pub fn reads_topic(&self, topic: &str) -> bool {
        let mut records = self.record_topics().into_iter();
        let is_read = records.any(|pattern| intake::matches_topic(&pattern, topic))
            || self.intake.reads_as_lookup(topic);
        is_read && !self.own_topics.contains(topic)
    }

    /// Returns what the workers read and write, where `existing` are the topics on Kafka.
    ///
    /// # Errors
    ///
    /// No topic matches a pattern of the mapping.
    pub fn plan(&self, existing: &BTreeSet<String>) -> Result<LanePlan, Fault> {
        let sources = self.resolve_topics(&self.record_topics(), existing)?;
        let lookups = self.resolve_topics(&self.intake.lookup_topics(), existing)?;
        let versioned = self.versioned_topics().map(|named| {
            Ok(self.resolve_topics(&named, existing)?.into_iter().collect::<BTreeSet<String>>())
        });
        let versioned_sources = versioned.collect::<Result<Vec<_>, Fault>>()?;
        Ok(LanePlan {
            name: self.lane_name(),
            sources: sources
                .into_iter()
                .map(|topic| SourcePlan {
                    topic,
                    gate_rank: None,
                    is_rebuilt: false,
                    is_joined: false,
                    retention: SourceRetention::Limited,
                })
                .collect(),
            outputs: self.output_plans(),
            policy_version: self.policy_version.clone(),
            fingerprinter: None,
            forget_offset_totals: Vec::new(),
            known_former_topics: BTreeSet::new(),
            configured_topics: None,
            intake: Some(IntakePlan {
                lookups,
                has_schema_headers: self.intake.is_framed(),
                versioned_sources,
            }),
        })
    }

    /// Replaces each pattern by the existing topics that match it. A topic without a star is
    /// kept: the transport says if it does not exist.
    fn resolve_topics(
        &self,
        named: &BTreeSet<String>,
        existing: &BTreeSet<String>,
    ) -> Result<Vec<String>, Fault> {
        let mut topics = BTreeSet::new();
        for name in named {
            if !name.contains('*') {
                topics.insert(name.clone());
                continue;
            }
            let others = existing.iter().filter(|topic| !self.own_topics.contains(*topic));
            let mut matching = others.filter(|topic| intake::matches_topic(name, topic)).peekable();
            if matching.peek().is_none() {
                return Err(Fault::stop(format!(
                    "intake `{}`: no topic matches `{name}`",
                    self.intake.name()
                )));
            }
            topics.extend(matching.cloned());
        }
        Ok(topics.into_iter().collect())
    }

    /// The kinds in their order, then the dead letters, then the state if there is one.
    fn output_plans(&self) -> Vec<OutputPlan> {
        let plan = |topic: &str, role| OutputPlan {
            topic: topic.to_owned(),
            owner: ZEEF_OWNER.to_owned(),
            has_day_timestamps: false,
            version_override: None,
            contract_version: None,
            encoding: None,
            role,
        };
        let kinds = self.kinds.iter().map(|kind| plan(&kind.topic, OutputRole::Canonical));
        let others = [plan(DEAD_LETTERS_TOPIC, OutputRole::DeadLetters)];
        let state = self.state_topic().map(|topic| plan(&topic, OutputRole::State));
        kinds.chain(others).chain(state).collect()
    }

    pub(super) fn find_kind(&self, name: &str) -> Option<(OutputId, &IntakeKind)> {
        let index = self.kinds.iter().position(|kind| kind.name == name)?;
        Some((OutputId(u16::try_from(index).ok()?), self.kinds.get(index)?))
    }

    pub(super) fn dead_letter_output(&self) -> OutputId {
        OutputId(u16::try_from(self.kinds.len()).unwrap_or(u16::MAX))
    }

    /// Exists only with a [`state_topic`](Self::state_topic).
    pub(super) fn state_output(&self) -> OutputId {
        OutputId(self.dead_letter_output().0.saturating_add(1))
    }
}
