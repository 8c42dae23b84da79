//! A recipient's contract as its partner reads it: JSON Schema, AsyncAPI, Open Data Contract
//! Standard, and a page for people; and the schema that an upstream tests its records by.
//!
//! Pure: a policy in, text out.

mod asyncapi;
mod check;
mod fields;
mod headers;
mod json_schema;
mod matrix;
mod odcs;
mod page;
mod words;

use std::sync::Arc;

use crate::policy::Policy;
use crate::policy::avro_output::AvroOutput;
use crate::policy::contract::OutputContract;
use crate::policy::recipient::Recipient;

pub use asyncapi::asyncapi_document;
pub use check::{RecordFinding, RecordProblem, check_record};
pub use fields::{describe_field, describe_field_in_short, describe_shown};
pub use headers::{ContractHeader, contract_headers};
pub use json_schema::{output_schema, source_schema};
pub use matrix::{FieldMatrix, MatrixColumn, MatrixRow};
pub use odcs::odcs_document;
pub use page::contract_page;
pub use words::{describe_term, field_meaning, markdown_cell};

/// The language of texts for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    #[default]
    English,
    Dutch,
}

impl Language {
    /// Returns one of two texts.
    #[must_use]
    pub fn pick<T>(self, english: T, dutch: T) -> T {
        match self {
            Language::English => english,
            Language::Dutch => dutch,
        }
    }
}

/// A recipient with its contract, and what the documents say beside the policy.
#[derive(Clone, Debug)]
pub struct ContractView<'a> {
    pub recipient: &'a Recipient,
    pub contract: OutputContract,
    /// Where outputs are in Avro.
    pub avro: Option<Arc<AvroOutput>>,
    /// The kind of record that outputs are made of.
    pub source: &'a str,
    /// Stands before every topic on Kafka.
    pub topic_prefix: &'a str,
    /// Kafka's brokers, as `host:port,host:port`.
    pub brokers: &'a str,
    pub is_enabled: bool,
    pub language: Language,
}

impl<'a> ContractView<'a> {
    /// Returns the view of an enabled or disabled recipient; `None` if there is none of that name.
    #[must_use]
    pub fn of_recipient(policy: &'a Policy, name: &str) -> Option<ContractView<'a>> {
        let (recipient, is_enabled) =
            policy.all_with_enabled().find(|(one, _)| one.name == name)?;
        let kind = policy.record_kinds.get(recipient.source_kind_index);
        Some(ContractView {
            recipient,
            contract: OutputContract::of_recipient(recipient, policy),
            avro: (!recipient.value_format.is_json())
                .then(|| Arc::new(AvroOutput::of_recipient(recipient, policy))),
            source: kind.map_or("", |kind| kind.name.as_str()),
            topic_prefix: "",
            brokers: "",
            is_enabled,
            language: Language::English,
        })
    }

    /// Returns the names of its topics on Kafka.
    fn topic_names(&self) -> Vec<String> {
        let topics = self.contract.topics.iter();
        topics.map(|topic| format!("{}{}", self.topic_prefix, topic.name)).collect()
    }

    /// Returns the name of the topic on which it acknowledges retractions on Kafka.
    fn acknowledgement_topic(&self) -> Option<String> {
        let rule = self.contract.acknowledgement.as_ref()?;
        Some(format!("{}{}", self.topic_prefix, rule.topic))
    }
}
