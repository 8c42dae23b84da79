//! From a row in a library system's database to what a recipient has: MariaDB and PostgreSQL,
//! Debezium in a Kafka Connect with the shipped connectors, the intake's lane, the recipients'
//! lanes.
//!
//! All tests of a system read one database, each by a zeef of its own, and each has people and
//! loans of its own there.

mod comparison;
mod folio;
mod koha;
mod koha_crash;
mod koha_formats;
mod koha_snapshot;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::ops::Deref;

use serde_json::Value;
use zeef::engine::lane::DEAD_LETTERS_TOPIC;

use crate::harness::{ConfigTweaks, ConsumedMessage, Deployment, LibrarySystem, Upstream};

/// The canonical topics and outputs that tests look at.
const TOPICS: [&str; 11] = [
    "patron",
    "loan",
    "reservation",
    "debt",
    "out.service-message",
    "out.statistics",
    "out.kb-recognition",
    "out.self-service",
    "out.ill-library",
    "out.reservation-slip",
    DEAD_LETTERS_TOPIC,
];

/// A zeef whose intake reads the topics of a library system.
struct UpstreamSite {
    upstream: &'static Upstream,
    /// What the names of the topics begin with that it reads.
    topic_start: &'static str,
    deployment: Deployment<'static>,
}

impl Deref for UpstreamSite {
    type Target = Upstream;

    fn deref(&self) -> &Upstream {
        self.upstream
    }
}

impl UpstreamSite {
    /// The system, with the first rows of all tests, or `None` where it cannot be had.
    fn shared_upstream(system: LibrarySystem) -> Option<&'static Upstream> {
        match system {
            LibrarySystem::Koha | LibrarySystem::KohaAtLeastOnce => {
                Upstream::shared(system, &koha_snapshot::first_rows())
            }
            LibrarySystem::Folio => Upstream::shared(system, folio::FIRST_ROWS),
        }
    }

    /// A deployment with the shipped mapping, or `None` where the system cannot be had.
    fn new(system: LibrarySystem, test: &str, sections: &str) -> Option<Self> {
        let upstream = Self::shared_upstream(system)?;
        let mapping = match system {
            LibrarySystem::Koha | LibrarySystem::KohaAtLeastOnce => "koha-debezium",
            LibrarySystem::Folio => "folio-debezium",
        };
        let sections = format!("{sections}\n[intakes]\nenabled = [\"{mapping}\"]\n");
        let tweaks = ConfigTweaks { sections: &sections, ..ConfigTweaks::default() };
        let deployment = Deployment::new(upstream.broker(), test, tweaks);
        Some(Self { upstream, topic_start: system.topic_start(), deployment })
    }

    /// Runs zeef on all that the database has committed, to the end.
    #[track_caller]
    fn run(&self) -> Published {
        self.wait_delivered(self.topic_start);
        self.deployment.run_to_end(&[]);
        self.read()
    }

    /// Runs statements, then zeef.
    #[track_caller]
    fn run_after(&self, statements: impl fmt::Display) -> Published {
        self.run_sql(statements);
        self.run()
    }

    /// What zeef has written.
    fn read(&self) -> Published {
        let topics = self.deployment.read_topics(TOPICS.map(str::to_owned).to_vec());
        let letters = self.read_intake_letters(&topics[DEAD_LETTERS_TOPIC]);
        Published { topics, letters }
    }

    /// The dead letters of the intake, each with the message that it points to.
    fn read_intake_letters(&self, letters: &[ConsumedMessage]) -> Vec<IntakeLetter> {
        let letters = letters.iter().map(|row| parse(row.value_text().unwrap()));
        let of_intake = letters
            .filter(|letter| letter["lane"].as_str().is_some_and(|at| at.starts_with("intake.")));
        let word = |letter: &Value, name: &str| letter[name].as_str().unwrap_or("").to_owned();
        let mut raw = BTreeMap::new();
        let mut found = Vec::new();
        for letter in of_intake {
            let topic = word(&letter, "topic");
            let rows =
                raw.entry(topic.clone()).or_insert_with(|| self.broker().read_committed(&topic));
            let at = (letter["partition"].as_i64(), letter["offset"].as_i64());
            let row = rows
                .iter()
                .find(|row| (Some(i64::from(row.partition)), Some(row.offset)) == at)
                .unwrap();
            found.push(IntakeLetter {
                reason: word(&letter, "reason"),
                kind: word(&letter, "kind"),
                message: row.value_text().unwrap_or("").to_owned(),
            });
        }
        found
    }

    /// Changes a file of the config.
    fn edit_config(&self, path: &str, edit: impl FnOnce(String) -> String) {
        let path = self.deployment.config_path().join(path);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, edit(text)).unwrap();
    }
}

/// A dead letter of the intake.
#[derive(Debug)]
struct IntakeLetter {
    reason: String,
    kind: String,
    /// The text of the message that it points to.
    message: String,
}

/// What zeef had written at some time.
struct Published {
    topics: BTreeMap<String, Vec<ConsumedMessage>>,
    letters: Vec<IntakeLetter>,
}

/// Canonical records that are there: of each patron and id the last version, unless it is gone.
type LiveRecords = BTreeMap<(String, String), Value>;

impl Published {
    /// The last value of each patron's record; `None` is an erasure.
    fn patrons(&self) -> BTreeMap<String, Option<Value>> {
        let rows = self.topics["patron"].iter();
        rows.map(|row| (row.key_text().to_owned(), row.value_text().map(parse))).collect()
    }

    /// Canonical records of a topic, by patron and by the value of `id`, but for those of patrons
    /// who are not there (any more): nobody has anything of them.
    fn live(&self, topic: &str, id: &str) -> LiveRecords {
        let mut live = LiveRecords::new();
        for row in &self.topics[topic] {
            let value = parse(row.value_text().unwrap());
            let key = (row.key_text().to_owned(), value[id].as_str().unwrap().to_owned());
            match value["gone"] == true {
                true => live.remove(&key),
                false => live.insert(key, value),
            };
        }
        let patrons = self.patrons();
        live.retain(|(patron, _), _| patrons.get(patron).is_some_and(Option::is_some));
        live
    }

    /// What a recipient has.
    fn outputs(&self, topic: &str) -> Vec<Value> {
        let mut last = BTreeMap::new();
        for row in &self.topics[topic] {
            last.insert(row.key.clone(), row.value_text().map(parse));
        }
        last.into_values().flatten().collect()
    }

    /// What a recipient has in which `field` is `value`.
    fn outputs_with(&self, topic: &str, field: &str, value: &str) -> Vec<Value> {
        let mut outputs = self.outputs(topic);
        outputs.retain(|output| output[field] == value);
        outputs
    }

    /// The rows of statistics of a branch: how many point at a person, how many at nobody.
    fn statistics(&self, branch: &str) -> (usize, usize) {
        const POINTING: [&str; 4] = ["loan_ref", "patron_ref", "age_band", "postcode_area"];
        let rows = self.outputs_with("out.statistics", "branch", branch);
        let named = rows.iter().filter(|row| row.get("patron_ref").is_some()).count();
        let thinned = rows.iter().filter(|row| POINTING.iter().all(|name| row.get(name).is_none()));
        let counts = (named, thinned.count());
        assert_eq!(counts.0 + counts.1, rows.len(), "{rows:?}");
        counts
    }

    /// Reason and kind, a word each, of the intake's dead letters whose message has one of
    /// `texts`; sorted.
    fn letters_about(&self, texts: &[String]) -> Vec<String> {
        let is_about =
            |letter: &&IntakeLetter| texts.iter().any(|text| letter.message.contains(text));
        let letters = self.letters.iter().filter(is_about);
        let mut words: Vec<String> =
            letters.map(|letter| format!("{} {}", letter.reason, letter.kind)).collect();
        words.sort();
        words
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}
