//! The topics that enabled intakes read, as found. They are another program's: zeef creates
//! none of them and changes nothing about them.

use std::collections::{BTreeMap, BTreeSet};

use super::setup::IntakeSetup;
use crate::intake::matches_topic;
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::topics::{self, ExistingTopic, TopicError};

const CLEANUP_POLICY: &str = "cleanup.policy";

/// A topic that an intake reads.
#[derive(Clone, Debug)]
pub struct RawTopic {
    pub intake: String,
    /// The name on Kafka; a pattern if no topic matches it.
    pub name: String,
    pub is_record: bool,
    pub is_lookup: bool,
    pub found: Option<ExistingTopic>,
}

impl RawTopic {
    /// Its purpose in a few words.
    #[must_use]
    pub fn role(&self) -> &'static str {
        match (self.is_record, self.is_lookup) {
            (true, true) => "raw, lookup",
            (true, false) => "raw",
            (false, _) => "lookup",
        }
    }

    fn cleanup_policy(&self) -> Option<&str> {
        self.found.as_ref()?.configs.get(CLEANUP_POLICY).map(String::as_str)
    }

    /// Returns what is wrong with the topic.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let RawTopic { intake, name, .. } = self;
        let role = self.role();
        if self.found.is_none() {
            return Some(match name.contains('*') {
                true => format!("no topic matches `{name}` ({role} of intake {intake})"),
                false => format!(
                    "topic `{name}` ({role} of intake {intake}) does not exist: its connector \
                     creates it with the first row; for a table without rows, create it by hand"
                ),
            });
        }
        let is_compacted = self.cleanup_policy().is_some_and(|policy| policy.contains("compact"));
        (self.is_record && is_compacted).then(|| {
            format!(
                "topic `{name}` ({role} of intake {intake}): `{CLEANUP_POLICY}` is compact, \
                 expected delete: of a deleted row only the null would be left, which says nothing"
            )
        })
    }

    /// Returns what could be better about the topic; a run works without it.
    #[must_use]
    pub fn recommendation(&self) -> Option<String> {
        let RawTopic { intake, name, .. } = self;
        let policy = self.cleanup_policy().filter(|policy| *policy != "compact")?;
        (self.is_lookup && !self.is_record).then(|| {
            format!(
                "topic `{name}` (lookup of intake {intake}): `{CLEANUP_POLICY}` is {policy}, better \
                 compact: a start reads it from its beginning, and needs every row"
            )
        })
    }
}

/// Finds the topics that the intakes read.
///
/// # Errors
///
/// Kafka does not answer.
pub fn fetch_raw_topics(
    settings: &KafkaSettings,
    setups: &[IntakeSetup],
) -> Result<Vec<RawTopic>, TopicError> {
    if setups.is_empty() {
        return Ok(Vec::new());
    }
    let existing = topics::list_names(settings)?;
    let mut raw = Vec::new();
    for setup in setups {
        let records = expand(&setup.record_topics(), &existing);
        let lookups = expand(&setup.intake.lookup_topics(), &existing);
        for name in records.union(&lookups) {
            raw.push(RawTopic {
                intake: setup.intake.name().to_owned(),
                name: name.clone(),
                is_record: records.contains(name),
                is_lookup: lookups.contains(name),
                found: None,
            });
        }
    }
    let unprefixed = KafkaSettings { topic_prefix: String::new(), ..settings.clone() };
    let names: BTreeSet<&str> = raw.iter().map(|topic| topic.name.as_str()).collect();
    let names: Vec<&str> = names.into_iter().filter(|name| existing.contains(*name)).collect();
    let mut found: BTreeMap<String, Option<ExistingTopic>> =
        topics::describe_topics(&unprefixed, &names)?;
    for topic in &mut raw {
        topic.found = found.get_mut(&topic.name).and_then(|found| found.clone());
    }
    Ok(raw)
}

/// Replaces patterns by the topics that match; one that none matches stays.
fn expand(named: &BTreeSet<String>, existing: &BTreeSet<String>) -> BTreeSet<String> {
    let mut topics = BTreeSet::new();
    for name in named {
        let before = topics.len();
        if name.contains('*') {
            topics.extend(existing.iter().filter(|topic| matches_topic(name, topic)).cloned());
        }
        if topics.len() == before {
            topics.insert(name.clone());
        }
    }
    topics
}
