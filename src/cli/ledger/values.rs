//! `zeef ledger patron --values`: the values that recipients have of a patron now.
//!
//! The state says under which keys a recipient has something of the patron. Nothing else of a topic
//! is kept while it is read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::read::LedgerReader;
use super::texts::Texts;
use crate::cli::command_target::DataLocation;
use crate::cli::exit::CliFailure;
use crate::cli::screen::{HEADING, Screen, styled};
use crate::engine::memory::deliveries::given::GivenOutput;
use crate::policy::former_recipient::recipient_of_state_name;
use crate::transport::OutputsByKey;
use crate::transport::directory::read_current_outputs;
use crate::transport::kafka::read_topic::read_rows;

/// What recipients have of a patron now.
pub(super) struct PatronValues {
    values: Vec<CurrentValue>,
    /// How many outputs recipients have that their topics do not.
    missing: u64,
}

/// The value of one output.
#[derive(Serialize)]
struct CurrentValue {
    recipient: String,
    topic: String,
    /// As it stands on the topic.
    value: Box<RawValue>,
}

/// An answer with values.
#[derive(Serialize)]
struct AnswerWithValues<'a> {
    identity_checked: &'a str,
    #[serde(flatten)]
    answer: Value,
    values: &'a [CurrentValue],
    values_missing: u64,
}

impl PatronValues {
    /// Reads the values of `given` that are outputs of the patron itself. Those of others that are
    /// about it, too, have values of others. Who asks is in the audit
    /// already.
    ///
    /// # Errors
    ///
    /// [`CliFailure::Config`] without a ledger, and so without an audit; or a topic cannot be read.
    pub(super) fn read(
        reader: &LedgerReader<'_>,
        given: &[GivenOutput],
    ) -> anyhow::Result<PatronValues> {
        if !reader.loaded.daemon.ledger.is_enabled {
            let text = "--values has to be in the audit: it needs `enabled = true` in [ledger] of \
                        zeef.toml";
            return Err(CliFailure::Config(text.to_owned()).into());
        }
        let mut by_topic = BTreeMap::<(&str, &str), BTreeSet<&[u8]>>::new();
        for output in given.iter().filter(|output| !output.is_of_other_patron) {
            let owner = recipient_of_state_name(&output.recipient);
            by_topic.entry((owner, &output.topic)).or_default().insert(output.key.as_bytes());
        }
        let mut found = PatronValues { values: Vec::new(), missing: 0 };
        for ((recipient, topic), keys) in by_topic {
            let outputs = read_outputs(reader, (recipient, topic), &keys)?;
            found.missing += (keys.len() - outputs.len()) as u64;
            for value in outputs.into_values() {
                let text = String::from_utf8(value).ok();
                let value = text.and_then(|text| RawValue::from_string(text).ok());
                let value =
                    value.with_context(|| format!("`{topic}` has a value that is no JSON"))?;
                let (recipient, topic) = (recipient.to_owned(), topic.to_owned());
                found.values.push(CurrentValue { recipient, topic, value });
            }
        }
        Ok(found)
    }

    pub(super) fn write_json(
        &self,
        answer: Value,
        identity_checked: &str,
        screen: &mut Screen,
    ) -> anyhow::Result<()> {
        let (values, values_missing) = (self.values.as_slice(), self.missing);
        let answer = AnswerWithValues { identity_checked, answer, values, values_missing };
        serde_json::to_writer_pretty(&mut *screen, &answer)?;
        writeln!(screen)?;
        Ok(())
    }

    pub(super) fn write_text(
        &self,
        identity_checked: &str,
        texts: Texts,
        screen: &mut Screen,
    ) -> anyhow::Result<()> {
        let [heading, checked, missing] = texts.values_labels();
        writeln!(screen)?;
        writeln!(screen, "{}", styled(HEADING, heading))?;
        writeln!(screen, "{checked}: {identity_checked}")?;
        for CurrentValue { recipient, value, .. } in &self.values {
            writeln!(screen, "{recipient}: {value}")?;
        }
        if self.missing > 0 {
            writeln!(screen, "{} {missing}", self.missing)?;
        }
        Ok(())
    }
}

/// Returns what a topic has under some keys.
fn read_outputs(
    reader: &LedgerReader<'_>,
    (recipient, topic): (&str, &str),
    keys: &BTreeSet<&[u8]>,
) -> anyhow::Result<OutputsByKey> {
    match reader.location {
        DataLocation::Directory(root) => {
            let outputs = read_current_outputs(root, recipient, topic)?;
            let mut outputs = outputs.unwrap_or_default();
            outputs.retain(|key, _| keys.contains(key.as_slice()));
            Ok(outputs)
        }
        DataLocation::Kafka(settings) => {
            let mut outputs = OutputsByKey::new();
            read_rows(settings, topic, &mut |row| {
                let key = row.key.unwrap_or_default();
                match row.value {
                    _ if !keys.contains(key) => {}
                    Some(value) => drop(outputs.insert(key.to_vec(), value.to_vec())),
                    None => drop(outputs.remove(key)),
                }
            })?;
            Ok(outputs)
        }
    }
}
