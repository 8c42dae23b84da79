//! What topics there should be, against what there is.
//!
//! A source that forgets too early, or an output that never forgets, breaks
//! what zeef promises: such a topic is refused at the start, by name.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use crate::engine::lane::{DEAD_LETTERS_TOPIC, PATRONS_TOPIC, STATE_TOPIC};
use crate::policy::catalogue::{Kind, Role};
use crate::policy::recipient::Recipient;
use crate::policy::term::Term;
use crate::policy::{Loaded, Policy};
use crate::transport::commands::COMMANDS_TOPIC;
use crate::transport::kafka::KafkaSettings;
use crate::transport::kafka::partitioner::{JoinedTopic, co_partitioned, wrong_setting};
use crate::transport::kafka::repaired::Repaired;
use crate::transport::kafka::topics::{self, Sample, TopicError, TopicFound, TopicWish};
use crate::transport::kafka::widened;

const DAY_MS: i64 = 86_400_000;
/// How long nulls of patrons stay at least: a lane that is published once a month
/// rebuilds then.
const PATRON_NULLS_MS: i64 = 30 * DAY_MS;
/// Kafka's word for no bound.
pub const FOREVER: i64 = -1;
/// A topic of outputs is rolled every hour, so that what is taken back goes: the
/// transport appends to idle partitions after this time.
const SEGMENT_MS: i64 = 3_600_000;
/// How many keys of each joined source are looked at.
const SAMPLE: usize = 2_000;

/// What a setting of a topic must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    Is(&'static str),
    AtMost(i64),
    /// [`FOREVER`] is more than any number.
    AtLeast(i64),
}

impl Rule {
    fn holds(&self, found: &str) -> bool {
        let number = found.parse::<i64>();
        match self {
            Rule::Is(wanted) => found == *wanted,
            Rule::AtMost(most) => number.is_ok_and(|n| n != FOREVER && n <= *most),
            Rule::AtLeast(FOREVER) => number == Ok(FOREVER),
            Rule::AtLeast(least) => number.is_ok_and(|n| n == FOREVER || n >= *least),
        }
    }

    /// The value that a new topic gets.
    fn value(&self) -> String {
        match self {
            Rule::Is(wanted) => (*wanted).to_owned(),
            Rule::AtMost(number) | Rule::AtLeast(number) => number.to_string(),
        }
    }

    /// What it asks of the setting `name`, in words.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        match self {
            Rule::Is(wanted) => (*wanted).to_owned(),
            Rule::AtMost(most) => format!("at most {}", shown(name, &most.to_string())),
            Rule::AtLeast(FOREVER) => "-1 (for ever)".to_owned(),
            Rule::AtLeast(least) => format!("at least {}", shown(name, &least.to_string())),
        }
    }
}

/// The value of a topic's setting; one in milliseconds also in days, or what is
/// shorter than one.
#[must_use]
pub fn shown(name: &str, value: &str) -> String {
    let ms = value.parse::<i64>().ok();
    match ms.filter(|ms| *ms > 0 && name.ends_with(".ms")) {
        Some(ms) => format!("{value} ({})", span(ms)),
        None => value.to_owned(),
    }
}

/// Milliseconds in the largest unit that they are a whole number of; in days,
/// rounded, where they are many.
fn span(ms: i64) -> String {
    let units = [
        (DAY_MS, "day"),
        (3_600_000, "hour"),
        (60_000, "minute"),
        (1_000, "second"),
    ];
    let whole = units.iter().find(|(unit, _)| ms % unit == 0);
    match whole {
        Some(&(unit, name)) if ms < 100 * DAY_MS || unit == DAY_MS => counted(ms / unit, name),
        _ if ms >= DAY_MS => format!(
            "about {}",
            counted(ms / DAY_MS + i64::from(ms % DAY_MS >= DAY_MS / 2), "day")
        ),
        _ => counted(ms, "millisecond"),
    }
}

fn counted(number: i64, unit: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{ending}")
}

/// One topic as it should be.
#[derive(Clone, Debug)]
pub struct Planned {
    pub name: String,
    /// What it is for, in a few words.
    pub role: &'static str,
    /// The keys are patron ids: it needs as many partitions as the others.
    pub joined: bool,
    /// For a state, the sources of its lane: they need the same number of
    /// partitions, and it no fewer.
    pub follows: Vec<String>,
    /// Settings without which a run is refused, and why.
    pub rules: Vec<(&'static str, Rule, &'static str)>,
    /// Settings that a new topic gets, and that a run can do without.
    pub wishes: Vec<(&'static str, Rule, &'static str)>,
}

/// The setting by which a broker says itself when a record came.
const TIMESTAMP_TYPE: &str = "message.timestamp.type";
/// The setting of how long compaction leaves a null.
const TOMBSTONE_RETENTION: &str = "delete.retention.ms";
const BROKERS_TIME: Rule = Rule::Is("LogAppendTime");

/// The topics of a config, sources first.
#[must_use]
pub fn plan(loaded: &Loaded) -> Vec<Planned> {
    let policy = &loaded.policy;
    let outage_ms = i64::from(loaded.daemon.topics.outage_days) * DAY_MS;
    let fed = |kind: &Kind| -> Vec<&Recipient> {
        policy
            .recipients
            .iter()
            .filter(|recipient| policy.kinds[recipient.source].name == kind.name)
            .collect()
    };
    let keyed = policy
        .recipients
        .iter()
        .any(|recipient| policy.kinds[recipient.source].keyed);
    let mut planned: Vec<Planned> = policy
        .kinds
        .iter()
        .filter(|kind| !fed(kind).is_empty() || (keyed && kind.role != Role::Record))
        .map(|kind| source(kind, &fed(kind), outage_ms))
        .collect();
    let outputs = policy
        .recipients
        .iter()
        .flat_map(|recipient| recipient.topics.names());
    let former = policy.former.iter().flat_map(|former| &former.topics);
    let outputs: BTreeSet<&str> = outputs.chain(former.map(String::as_str)).collect();
    planned.extend(outputs.into_iter().map(|topic| {
        Planned {
            name: topic.to_owned(),
            role: "output",
            joined: false,
            follows: Vec::new(),
            wishes: Vec::new(),
            rules: [
                &compacted("what is taken back has to go")[..],
                &[(
                    TOMBSTONE_RETENTION,
                    Rule::AtLeast(outage_ms),
                    "a partner that was away has to see what was taken back",
                )],
            ]
            .concat(),
        }
    }));
    planned.extend(loaded.daemon.lanes.iter().map(|lane| state(policy, lane)));
    planned.extend(keyed.then(|| patrons(policy)));
    let kept_ms = i64::from(loaded.daemon.topics.dead_letter_days) * DAY_MS;
    planned.push(Planned {
        name: DEAD_LETTERS_TOPIC.to_owned(),
        role: "dead letters",
        joined: false,
        follows: Vec::new(),
        wishes: Vec::new(),
        rules: vec![
            (
                "cleanup.policy",
                Rule::Is("delete"),
                "dead letters have no keys",
            ),
            (
                "retention.ms",
                Rule::AtLeast(kept_ms),
                "somebody has to look at them",
            ),
        ],
    });
    planned.push(commands());
    planned
}

fn source(kind: &Kind, fed: &[&Recipient], outage_ms: i64) -> Planned {
    let forever = Rule::AtLeast(FOREVER);
    let (role, rules) = match kind.role {
        Role::Patron => (
            "source: patrons",
            vec![(
                "cleanup.policy",
                Rule::Is("compact"),
                "the last record of every patron is needed, and no more",
            )],
        ),
        Role::Gate => (
            "source: gate",
            vec![
                (
                    "cleanup.policy",
                    Rule::Is("delete"),
                    "compaction would keep only the last one",
                ),
                (
                    "retention.ms",
                    forever.clone(),
                    "what was granted or refused is never forgotten",
                ),
                (
                    "retention.bytes",
                    forever,
                    "what was granted or refused is never forgotten",
                ),
            ],
        ),
        Role::Record => {
            let longest = fed.iter().map(|r| term_ms(r.retention.term)).max();
            let why =
                "a correction is decided again from the source, as long as a partner holds it";
            (
                "source",
                vec![
                    (
                        "cleanup.policy",
                        Rule::Is("delete"),
                        "the key is the patron's, not the record's",
                    ),
                    ("retention.ms", Rule::AtLeast(longest.unwrap_or(0)), why),
                    ("retention.bytes", forever, why),
                ],
            )
        }
    };
    let mut wishes = vec![(
        TIMESTAMP_TYPE,
        BROKERS_TIME,
        "by a producer's clock, what came within an hour after an erasure counts as before it",
    )];
    if kind.role == Role::Patron {
        wishes.push((
            TOMBSTONE_RETENTION,
            Rule::AtLeast(outage_ms.max(PATRON_NULLS_MS)),
            "a lane that was stopped for so long still reads who was erased",
        ));
    }
    Planned {
        name: kind.topic.clone(),
        role,
        joined: kind.keyed,
        follows: Vec::new(),
        rules,
        wishes,
    }
}

/// What operators ask of lanes: one order, so one partition.
fn commands() -> Planned {
    Planned {
        name: COMMANDS_TOPIC.to_owned(),
        role: "commands",
        joined: false,
        follows: Vec::new(),
        rules: vec![(
            "cleanup.policy",
            Rule::Is("compact"),
            "what an operator accepted or asked for counts for every later start",
        )],
        wishes: Vec::new(),
    }
}

/// The state of a lane: a row lies in the partition of its record's number.
fn state(policy: &Policy, lane: &crate::policy::settings::Lane) -> Planned {
    let fed: Vec<&Kind> = policy
        .recipients
        .iter()
        .filter(|recipient| lane.recipients.contains(&recipient.name))
        .map(|recipient| &policy.kinds[recipient.source])
        .collect();
    let keyed = fed.iter().any(|kind| kind.keyed);
    let read = policy.kinds.iter().filter(|kind| {
        let gate = keyed && kind.role != Role::Record;
        gate || fed.iter().any(|fed| fed.name == kind.name)
    });
    Planned {
        name: format!("{STATE_TOPIC}{}", lane.name),
        role: "state",
        joined: false,
        follows: read.map(|kind| kind.topic.clone()).collect(),
        rules: [
            &compacted("a row counts only as it was written last")[..],
            &[(
                TIMESTAMP_TYPE,
                BROKERS_TIME,
                "the broker's clock is the second witness of the time",
            )],
        ]
        .concat(),
        wishes: Vec::new(),
    }
}

/// What all lanes keep of patrons: a row lies in the partition of its patron.
fn patrons(policy: &Policy) -> Planned {
    let patron = policy.kinds.iter().filter(|kind| kind.role == Role::Patron);
    Planned {
        name: PATRONS_TOPIC.to_owned(),
        role: "erasures",
        joined: false,
        follows: patron.map(|kind| kind.topic.clone()).collect(),
        rules: vec![
            (
                "cleanup.policy",
                Rule::Is("compact"),
                "who was erased is never forgotten",
            ),
            (
                TIMESTAMP_TYPE,
                BROKERS_TIME,
                "the broker's clock is the second witness of the time",
            ),
        ],
        wishes: Vec::new(),
    }
}

type Rules<const N: usize> = [(&'static str, Rule, &'static str); N];

/// Only the last value of each key is kept, and what it replaced soon goes.
fn compacted(why: &'static str) -> Rules<3> {
    [
        ("cleanup.policy", Rule::Is("compact"), why),
        (
            "segment.ms",
            Rule::AtMost(SEGMENT_MS),
            "an old segment is not compacted",
        ),
        (
            "max.compaction.lag.ms",
            Rule::AtMost(DAY_MS),
            "what is taken back goes within a day",
        ),
    ]
}

/// A term at its longest, in milliseconds.
fn term_ms(term: Term) -> i64 {
    let days = i64::from(term.years) * 366 + i64::from(term.months) * 31 + i64::from(term.days);
    days * DAY_MS
}

impl Planned {
    /// What has to be created where the topic is missing.
    #[must_use]
    pub fn wish(&self, loaded: &Loaded, partitions: i32) -> TopicWish {
        let settings = loaded.daemon.topics;
        let mut configs: BTreeMap<String, String> = self
            .rules
            .iter()
            .chain(&self.wishes)
            .map(|(name, rule, _)| ((*name).to_owned(), rule.value()))
            .collect();
        if let Some(replicas) = settings.min_insync_replicas {
            configs.insert("min.insync.replicas".to_owned(), replicas.to_string());
        }
        TopicWish {
            name: self.name.clone(),
            partitions,
            replication: settings.replication.map(i32::from),
            configs,
        }
    }

    /// What could be better about the topic as it was found; a run does without.
    #[must_use]
    pub fn notes(&self, found: &TopicFound) -> Vec<String> {
        let wishes = self.wishes.iter();
        let notes = wishes.filter_map(|(name, rule, why)| {
            let value = found.configs.get(*name).map_or("unset", String::as_str);
            (!rule.holds(value)).then(|| {
                let (is, wanted) = (shown(name, value), rule.text(name));
                format!("`{name}` is {is}, better {wanted}: {why}")
            })
        });
        notes.collect()
    }

    /// What is wrong with the topic as it was found.
    #[must_use]
    pub fn differences(&self, loaded: &Loaded, found: &TopicFound) -> Vec<String> {
        let settings = loaded.daemon.topics;
        let mut differences: Vec<String> = self
            .rules
            .iter()
            .filter_map(|(name, rule, why)| {
                let value = found.configs.get(*name).map_or("unset", String::as_str);
                (!rule.holds(value)).then(|| {
                    let (is, wanted) = (shown(name, value), rule.text(name));
                    format!("`{name}` is {is}, expected {wanted}: {why}")
                })
            })
            .collect();
        if let Some(wanted) = settings.replication.map(i32::from)
            && found.replication < wanted
        {
            differences.push(format!(
                "it has {} replicas, expected {wanted}",
                found.replication
            ));
        }
        if let Some(wanted) = settings.min_insync_replicas.map(i64::from) {
            let value = found.configs.get("min.insync.replicas");
            let value = value
                .and_then(|value| value.parse::<i64>().ok())
                .unwrap_or(1);
            if value < wanted {
                differences.push(format!(
                    "`min.insync.replicas` is {value}, expected at least {wanted}"
                ));
            }
        }
        differences
    }
}

/// The topics of a config, as they are found.
#[derive(Debug)]
pub struct Survey {
    pub topics: Vec<(Planned, Option<TopicFound>)>,
}

impl Survey {
    /// Looks up every topic of the config.
    ///
    /// # Errors
    ///
    /// Where Kafka does not answer.
    pub fn look(settings: &KafkaSettings, loaded: &Loaded) -> Result<Survey, TopicError> {
        let planned = plan(loaded);
        let names: Vec<&str> = planned.iter().map(|topic| topic.name.as_str()).collect();
        let mut found = topics::describe(settings, &names)?;
        let topics = planned
            .into_iter()
            .map(|topic| {
                let found = found.remove(&topic.name).flatten();
                (topic, found)
            })
            .collect();
        Ok(Survey { topics })
    }

    /// What has to be created.
    #[must_use]
    pub fn missing(&self, loaded: &Loaded) -> Vec<TopicWish> {
        let joined = self.partitions();
        self.topics
            .iter()
            .filter(|(_, found)| found.is_none())
            .map(|(planned, _)| {
                let default = i32::try_from(loaded.daemon.topics.partitions).unwrap_or(1);
                let partitions = if planned.role.starts_with("source") {
                    joined.unwrap_or(default)
                } else if planned.role == "commands" {
                    1
                } else {
                    let followed = self.followed(planned);
                    followed.map(|(_, count)| count).max().unwrap_or(default)
                };
                planned.wish(loaded, partitions)
            })
            .collect()
    }

    /// The sources that a state follows, with their numbers of partitions, as far
    /// as they exist.
    fn followed(&self, planned: &Planned) -> impl Iterator<Item = (&str, i32)> {
        self.topics
            .iter()
            .filter(|(source, _)| planned.follows.contains(&source.name))
            .filter_map(|(source, found)| Some((source.name.as_str(), found.as_ref()?.partitions)))
    }

    /// What is wrong with the partitions of a state and its sources.
    fn misfit(
        &self,
        settings: &KafkaSettings,
        planned: &Planned,
        partitions: i32,
    ) -> Option<String> {
        let (most, most_count) = self.followed(planned).max_by_key(|(_, count)| *count)?;
        let (least, least_count) = self.followed(planned).min_by_key(|(_, count)| *count)?;
        let (most, least) = (settings.topic(most), settings.topic(least));
        if most_count != least_count {
            return Some(format!(
                "topic `{least}` has {least_count} partitions, and `{most}` {most_count}: the \
                 sources of one lane need the same number, as its state lies by them"
            ));
        }
        let name = settings.topic(&planned.name);
        (partitions < most_count).then(|| {
            format!(
                "topic `{name}` ({}) has {partitions} partitions, expected at least {most_count}. \
                 Where its sources had as many before: {}",
                planned.role,
                widened(&most, most_count, partitions)
            )
        })
    }

    /// How many partitions the joined sources have that exist.
    #[must_use]
    pub fn partitions(&self) -> Option<i32> {
        self.topics
            .iter()
            .filter(|(planned, _)| planned.joined)
            .filter_map(|(_, found)| found.as_ref().map(|found| found.partitions))
            .max()
    }

    /// How long it takes at most until the next append to an output rolls a
    /// segment of it; `None` where no output tells.
    #[must_use]
    pub fn segment(&self) -> Option<Duration> {
        let outputs = self
            .topics
            .iter()
            .filter(|(planned, _)| planned.role == "output");
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

    /// What could be better about the topics that exist, one line each.
    #[must_use]
    pub fn notes(&self, settings: &KafkaSettings) -> Vec<String> {
        let mut notes = Vec::new();
        for (planned, found) in &self.topics {
            let name = settings.topic(&planned.name);
            let found = found.iter().flat_map(|found| planned.notes(found));
            notes.extend(found.map(|note| format!("topic `{name}` ({}): {note}", planned.role)));
        }
        notes
    }

    /// Everything for which a run is refused: missing topics, settings that
    /// would lose or keep too much, and sources that cannot be joined.
    ///
    /// # Errors
    ///
    /// Where Kafka does not answer.
    pub fn refusals(
        &self,
        settings: &KafkaSettings,
        loaded: &Loaded,
    ) -> Result<Vec<String>, TopicError> {
        let mut refusals = Vec::new();
        let mut joined = Vec::new();
        for (planned, found) in &self.topics {
            let name = settings.topic(&planned.name);
            let Some(found) = found else {
                refusals.push(format!(
                    "topic `{name}` ({}) does not exist: create it, or let `zeef topics --apply` do it",
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
            refusals.extend(self.misfit(settings, planned, found.partitions));
            if planned.role == "commands" && found.partitions != 1 {
                refusals.push(format!(
                    "topic `{name}` ({}) has {} partitions, expected 1: commands have one order",
                    planned.role, found.partitions
                ));
            }
            if planned.joined {
                joined.push((planned.name.as_str(), found.partitions));
            }
        }
        let fit = |joined: &[JoinedTopic]| co_partitioned(joined, settings.partitioner);
        refusals.extend(misfit(settings, &joined, fit)?);
        Ok(refusals)
    }

    /// Says which partitioner the keys of all joined sources fit, where that is
    /// another one than the setting: what is misplaced then is the setting's
    /// mistake, and no record's. Numbers of partitions that differ are told, too.
    ///
    /// # Errors
    ///
    /// Where Kafka does not answer.
    pub fn wrong_partitioner(
        &self,
        settings: &KafkaSettings,
    ) -> Result<Option<String>, TopicError> {
        let joined: Vec<(&str, i32)> = self
            .topics
            .iter()
            .filter(|(planned, _)| planned.joined)
            .filter_map(|(planned, found)| Some((&*planned.name, found.as_ref()?.partitions)))
            .collect();
        misfit(settings, &joined, |joined| {
            wrong_setting(joined, settings.partitioner)
        })
    }

    /// How many partitions a topic has; 0 where it does not exist.
    #[must_use]
    pub fn partitions_of(&self, name: &str) -> i32 {
        let mut topics = self.topics.iter();
        let topic = topics.find(|(planned, _)| planned.name == name);
        let found = topic.and_then(|(_, found)| found.as_ref());
        found.map_or(0, |found| found.partitions)
    }

    /// The sources of a lane that exist, with their numbers of partitions.
    fn sources_of(&self, lane: &str) -> Vec<(&str, i32)> {
        let state = format!("{STATE_TOPIC}{lane}");
        let mut planned = self.topics.iter().map(|(planned, _)| planned);
        let state = planned.find(|planned| planned.name == state);
        state.map_or_else(Vec::new, |state| self.followed(state).collect())
    }

    /// What each lane has read before: by lane, the partitions of each source of
    /// which its group has offsets.
    ///
    /// # Errors
    ///
    /// Where Kafka does not answer.
    pub fn offsets(
        &self,
        settings: &KafkaSettings,
        loaded: &Loaded,
    ) -> Result<Offsets, TopicError> {
        let mut offsets = Offsets::default();
        for lane in &loaded.daemon.lanes {
            let sources = self.sources_of(&lane.name);
            let found = topics::group_offsets(settings, &lane.name, &sources)?;
            offsets.any |= !found.is_empty();
            for (source, partitions) in sources {
                let Some(of_source) = found.get(source) else {
                    continue;
                };
                offsets.note(source, of_source);
                let last = of_source.keys().next_back().copied().unwrap_or_default();
                if last + 1 < partitions {
                    let text = widened(&settings.topic(source), partitions, last + 1);
                    offsets.widened.push(text);
                }
            }
        }
        offsets.widened.sort();
        offsets.widened.dedup();
        Ok(offsets)
    }

    /// Whether no lane has written anything to its state yet.
    ///
    /// # Errors
    ///
    /// Where Kafka does not answer.
    pub fn is_stateless(&self, settings: &KafkaSettings) -> Result<bool, TopicError> {
        for (planned, found) in &self.topics {
            if planned.role == "state"
                && let Some(found) = found
                && topics::is_written(settings, &planned.name, found.partitions)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What the groups of the lanes say of earlier runs.
#[derive(Debug, Default)]
pub struct Offsets {
    /// Some lane has read something before.
    pub any: bool,
    /// What is wrong with sources that were given partitions since.
    pub widened: Vec<String>,
    /// Up to where every lane that reads a source has read it.
    pub read: BTreeMap<String, BTreeMap<i32, i64>>,
}

impl Offsets {
    fn note(&mut self, source: &str, offsets: &BTreeMap<i32, i64>) {
        let read = self.read.entry(source.to_owned()).or_default();
        for (partition, offset) in offsets {
            let lowest = read.entry(*partition).or_insert(*offset);
            *lowest = (*lowest).min(*offset);
        }
    }
}

/// What `check` says against the keys of the joined sources. Which records were
/// repaired is asked only where it says something.
fn misfit(
    settings: &KafkaSettings,
    joined: &[(&str, i32)],
    check: impl Fn(&[JoinedTopic]) -> Result<(), String>,
) -> Result<Option<String>, TopicError> {
    let first = check(&sample(settings, joined, &Repaired::default())?).err();
    if first.is_none() {
        return Ok(None);
    }
    let repaired = Repaired::load(settings)?;
    if repaired.is_empty() {
        return Ok(first);
    }
    Ok(check(&sample(settings, joined, &repaired)?).err())
}

/// Looks at the keys of all joined sources side by side: a look waits more
/// than it works, and a restart has to be quick.
fn sample(
    settings: &KafkaSettings,
    joined: &[(&str, i32)],
    repaired: &Repaired,
) -> Result<Vec<JoinedTopic>, TopicError> {
    thread::scope(|scope| {
        let looks: Vec<_> = joined
            .iter()
            .map(|&(topic, partitions)| {
                let sample = Sample {
                    how_many: SAMPLE,
                    repaired,
                };
                let look = move || topics::sample_keys(settings, topic, partitions, sample);
                (topic, partitions, scope.spawn(look))
            })
            .collect();
        looks
            .into_iter()
            .map(|(topic, partitions, look)| {
                let keys = look.join().unwrap_or_else(|cause| resume_unwind(cause))?;
                Ok(JoinedTopic {
                    name: settings.topic(topic),
                    partitions,
                    keys,
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
    fn check(rule: &Rule, found: &str, holds: bool) {
        assert_eq!(rule.holds(found), holds, "{rule:?} of {found}");
    }

    #[test]
    fn a_rule_holds_or_does_not() {
        check(&Rule::Is("compact"), "compact", true);
        check(&Rule::Is("compact"), "compact,delete", false);
        check(&Rule::AtLeast(FOREVER), "-1", true);
        check(&Rule::AtLeast(FOREVER), "604800000", false);
        check(&Rule::AtLeast(5), "-1", true);
        check(&Rule::AtLeast(5), "4", false);
        check(&Rule::AtMost(5), "5", true);
        check(&Rule::AtMost(5), "6", false);
        check(&Rule::AtMost(5), "-1", false);
        check(&Rule::AtMost(5), "unset", false);
    }

    #[test]
    fn milliseconds_are_shown_in_days_too() {
        for (value, want) in [
            ("158112000000", "158112000000 (1830 days)"),
            ("604800000", "604800000 (7 days)"),
            ("86400000", "86400000 (1 day)"),
            ("3600000", "3600000 (1 hour)"),
            ("90000", "90000 (90 seconds)"),
            ("1500", "1500 (1500 milliseconds)"),
            ("172800001", "172800001 (about 2 days)"),
            (
                "9223372036854775807",
                "9223372036854775807 (about 106751991167 days)",
            ),
            ("-1", "-1"),
            ("unset", "unset"),
        ] {
            assert_eq!(shown("retention.ms", value), want);
            assert_eq!(shown("retention.bytes", value), value);
        }
        let rule = Rule::AtLeast(5 * 366 * DAY_MS);
        assert_eq!(
            rule.text("retention.ms"),
            "at least 158112000000 (1830 days)"
        );
    }

    #[test]
    fn the_shipped_config_plans_every_topic() {
        let loaded = Policy::load(Path::new("config")).unwrap();
        let planned = plan(&loaded);
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
        let followed = &topic("zeef.state.main").follows;
        assert!(followed.contains(&"patron".to_owned()) && followed.contains(&"loan".to_owned()));
        let kept = |name: &str| {
            let wishes = &topic(name).wishes;
            let found = wishes.iter().find(|(key, ..)| *key == TOMBSTONE_RETENTION);
            found.map(|(_, rule, _)| rule.clone())
        };
        assert_eq!(kept("patron"), Some(Rule::AtLeast(30 * DAY_MS)));
        assert_eq!(kept("loan"), None);
        let retention = |name: &str| {
            topic(name)
                .rules
                .iter()
                .find(|(key, ..)| *key == "retention.ms")
                .unwrap()
                .1
                .clone()
        };
        assert_eq!(topic("zeef.patrons").follows, ["patron"]);
        // A run does without for a source, and not for what is zeef's own.
        let asks =
            |rules: &[(&str, Rule, &str)]| rules.iter().any(|(key, ..)| *key == TIMESTAMP_TYPE);
        for name in ["patron", "loan", "consent", "objection"] {
            assert!(
                asks(&topic(name).wishes) && !asks(&topic(name).rules),
                "{name}"
            );
        }
        for name in ["zeef.state.main", "zeef.patrons"] {
            assert!(asks(&topic(name).rules), "{name}");
        }
        let wish = topic("loan").wish(&loaded, 1);
        assert_eq!(wish.configs[TIMESTAMP_TYPE], "LogAppendTime");
        let found = |value: &str| TopicFound {
            partitions: 1,
            replication: 1,
            configs: BTreeMap::from([(TIMESTAMP_TYPE.to_owned(), value.to_owned())]),
        };
        assert!(topic("loan").notes(&found("LogAppendTime")).is_empty());
        let notes = topic("loan").notes(&found("CreateTime"));
        assert!(
            notes[0].contains("is CreateTime, better LogAppendTime"),
            "{notes:?}"
        );
        assert_eq!(retention("debt"), Rule::AtLeast(5 * 366 * DAY_MS));
        assert_eq!(retention("consent"), Rule::AtLeast(FOREVER));
    }

    #[test]
    fn a_segment_is_rolled_as_the_slowest_output_has_it() {
        let loaded = Policy::load(Path::new("config")).unwrap();
        let segment = |settings: &[(&str, &[(&str, &str)])]| {
            let topics = plan(&loaded).into_iter().map(|topic| {
                let found = settings.iter().find(|(name, _)| topic.name == *name);
                let found = found.map(|(_, configs)| TopicFound {
                    partitions: 1,
                    replication: 1,
                    configs: configs
                        .iter()
                        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                        .collect(),
                });
                (topic, found)
            });
            let topics = topics.collect();
            Survey { topics }.segment()
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
    fn a_state_has_as_many_partitions_as_its_sources() {
        let loaded = Policy::load(Path::new("config")).unwrap();
        let survey = |loans: i32| {
            let topics = plan(&loaded).into_iter().map(|topic| {
                let found = TopicFound {
                    partitions: if topic.name == "loan" { loans } else { 6 },
                    replication: 1,
                    configs: BTreeMap::new(),
                };
                let found = Some(found).filter(|_| !topic.name.starts_with("zeef."));
                (topic, found)
            });
            Survey {
                topics: topics.collect(),
            }
        };
        let missing = survey(6).missing(&loaded);
        let missing: Vec<_> = missing.iter().map(|w| (&*w.name, w.partitions)).collect();
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
            survey.misfit(&settings, state, partitions)
        };
        assert_eq!(misfit(6, 6), None);
        assert_eq!(misfit(6, 8), None);
        assert!(
            misfit(6, 4)
                .unwrap()
                .contains("has 4 partitions, expected at least 6")
        );
        assert!(misfit(12, 12).unwrap().contains("need the same number"));
    }
}
