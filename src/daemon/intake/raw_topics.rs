//! The topics that enabled intakes read, as found. They are another program's: zeef creates
//! none of them and changes nothing about them.

use std::collections::{BTreeMap, BTreeSet};

use super::setup::IntakeSetup;
use crate::daemon::topics::{PlannedTopic, plan_intake_state};
use crate::intake::matches_topic;
use crate::policy::term::DAY_MS;
use crate::transport::kafka::topics::{self, ExistingTopic, TopicError};
use crate::transport::kafka::{self, KafkaSettings};

const CLEANUP_POLICY: &str = "cleanup.policy";
const RETENTION_MS: &str = "retention.ms";
const SEGMENT_MS: &str = "segment.ms";

/// A topic that an intake reads.
#[derive(Clone, Debug)]
pub struct RawTopic {
    pub intake: String,
    /// The name on Kafka; a pattern if no topic matches it.
    pub name: String,
    pub is_record: bool,
    pub is_lookup: bool,
    /// After how many days the versions of its removed records are forgotten; `None` if they
    /// never are, or none are compared.
    pub forgotten_after_days: Option<i32>,
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

    /// Its name with its number of partitions, if it exists.
    fn partitions(&self) -> Option<(&str, i32)> {
        Some((&self.name, self.found.as_ref()?.partition_count))
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.found.as_ref()?.configs.get(name).map(String::as_str)
    }

    fn cleanup_policy(&self) -> Option<&str> {
        self.setting(CLEANUP_POLICY)
    }

    /// For how long the topic may have a message, in milliseconds; `None` if for ever.
    fn kept_ms(&self) -> Option<i64> {
        let of = |name| self.setting(name).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
        // A segment goes as a whole, once its newest message is due.
        let retention = of(RETENTION_MS);
        (retention >= 0).then(|| retention.saturating_add(of(SEGMENT_MS)))
    }

    /// Says that the topic has messages for longer than versions of removed records are known.
    fn retention_refusal(&self) -> Option<String> {
        let days = self.forgotten_after_days?;
        let RawTopic { intake, name, .. } = self;
        let kept_ms = self.kept_ms();
        if kept_ms.is_some_and(|kept| kept <= i64::from(days) * DAY_MS) {
            return None;
        }
        let kept = kept_ms.map_or("for ever".to_owned(), |kept| {
            format!("for up to {} days", (kept + DAY_MS - 1) / DAY_MS)
        });
        Some(format!(
            "topic `{name}` (raw of intake {intake}) has its messages {kept} (`{RETENTION_MS}` and \
             `{SEGMENT_MS}`), and the versions of removed records are known for {days} days: read \
             again, it would bring them back; set a shorter retention, or a larger \
             `keep_removed_days` in intake/{intake}.toml"
        ))
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
        if self.is_record && is_compacted {
            return Some(format!(
                "topic `{name}` ({role} of intake {intake}): `{CLEANUP_POLICY}` is compact, \
                 expected delete: of a deleted row only the null would be left, which says nothing"
            ));
        }
        self.retention_refusal()
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
        let compared: Vec<BTreeSet<String>> = setup.versioned_topics().collect();
        let is_compared =
            |name: &str| compared.iter().flatten().any(|pattern| matches_topic(pattern, name));
        for name in records.union(&lookups) {
            raw.push(RawTopic {
                intake: setup.intake.name().to_owned(),
                name: name.clone(),
                is_record: records.contains(name),
                is_lookup: lookups.contains(name),
                forgotten_after_days: setup
                    .intake
                    .keep_removed_days()
                    .filter(|_| is_compared(name)),
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

/// Plans the states of the intakes that compare versions, by the raw topics as found.
#[must_use]
pub fn plan_intake_states(setups: &[IntakeSetup], raw_topics: &[RawTopic]) -> Vec<PlannedTopic> {
    let plan = |setup: &IntakeSetup| {
        let own = raw_topics.iter().filter(|raw| raw.intake == setup.intake.name());
        let counts = own.filter(|raw| raw.is_record).filter_map(RawTopic::partitions);
        let most = counts.map(|(_, count)| count).max();
        Some(plan_intake_state(setup.state_topic()?, most.unwrap_or(1)))
    };
    setups.iter().filter_map(plan).collect()
}

/// Returns, for each kind whose versions are compared, that its raw topics have different numbers
/// of partitions, if they have.
#[must_use]
pub fn find_unequal_partitions(setups: &[IntakeSetup], raw_topics: &[RawTopic]) -> Vec<String> {
    let mut found = Vec::new();
    for setup in setups {
        for patterns in setup.versioned_topics() {
            let own = raw_topics.iter().filter(|raw| {
                raw.intake == setup.intake.name()
                    && patterns.iter().any(|pattern| matches_topic(pattern, &raw.name))
            });
            found.extend(kafka::find_unequal_partitions(own.filter_map(RawTopic::partitions)));
        }
    }
    found
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::policy::Policy;

    fn raw_topic(name: &str, partition_count: i32) -> RawTopic {
        let found =
            ExistingTopic { partition_count, replication_factor: 1, configs: BTreeMap::new() };
        RawTopic {
            intake: "versions".to_owned(),
            name: name.to_owned(),
            is_record: true,
            is_lookup: false,
            forgotten_after_days: None,
            found: Some(found),
        }
    }

    /// What a raw topic still has never comes behind the versions of what it removed.
    #[test]
    fn compared_topic_has_no_message_for_longer_than_versions_of_removed_records() {
        let day = |days: i64| (days * DAY_MS).to_string();
        let refusal = |retention_ms: &str, segment_ms: &str, days: Option<i32>| {
            let mut topic = raw_topic("loans", 3);
            topic.forgotten_after_days = days;
            let settings = [(RETENTION_MS, retention_ms), (SEGMENT_MS, segment_ms)];
            topic.found.as_mut().unwrap().configs =
                settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            topic.refusal()
        };
        assert_eq!(refusal(&day(7), &day(7), Some(90)), None);
        assert_eq!(refusal(&day(83), &day(7), Some(90)), None);
        let text = refusal(&day(84), &day(7), Some(90)).unwrap();
        assert!(text.contains("for up to 91 days") && text.contains("for 90 days"), "{text}");
        let text = refusal("-1", &day(7), Some(90)).unwrap();
        assert!(text.contains("for ever") && text.contains("intake/versions.toml"), "{text}");
        for retention in [day(3_650), "-1".to_owned()] {
            assert_eq!(refusal(&retention, &day(7), None), None, "nothing is forgotten");
        }
    }

    /// One worker compares all versions of a record, so the topics of its kind are as wide; the
    /// state has a partition for each number.
    #[test]
    fn topics_of_a_compared_kind_need_as_many_partitions() {
        let loaded = Policy::load(Path::new("config")).unwrap();
        let path = Path::new("tests/intake/mappings/versions.toml");
        let intake = crate::intake::load_file(path, &loaded.policy.record_kinds).unwrap();
        let setups = [IntakeSetup::new(intake, &loaded, "")];
        let topics = |holds: i32, old_holds: i32| {
            [raw_topic("loans", 9), raw_topic("holds", holds), raw_topic("old_holds", old_holds)]
        };
        assert_eq!(find_unequal_partitions(&setups, &topics(3, 3)), Vec::<String>::new());
        let found = find_unequal_partitions(&setups, &topics(3, 4));
        let want = "topic `holds` has 3 partitions, and `old_holds` 4: the topics of a kind";
        assert!(found.len() == 1 && found[0].starts_with(want), "{found:?}");
        let planned = plan_intake_states(&setups, &topics(3, 4));
        let planned: Vec<(&str, i32)> =
            planned.iter().map(|topic| (topic.name.as_str(), topic.min_partitions)).collect();
        assert_eq!(planned, [("zeef.intake-state.versions", 9)]);
    }
}
