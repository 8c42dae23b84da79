//! The law as data: what is known of records, and who may receive which parts.
//!
//! Reads no record, clock or network.

pub mod acknowledgement;
pub mod avro_output;
pub mod canonical;
pub mod catalogue;
pub mod condition;
pub mod confidentiality;
pub mod consent;
pub mod consent_events;
pub mod contract;
pub mod detect;
pub mod field_name;
pub mod flow;
pub mod form;
pub mod former_recipient;
pub mod influence;
pub mod known_names;
pub mod mask;
pub mod name;
pub mod paper;
pub mod pseudonym;
pub mod reason;
pub mod recipient;
pub mod refusal_class;
pub mod retraction;
pub mod term;
pub mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use catalogue::{RecordKind, Role};
use detect::CustomDetectors;
use former_recipient::FormerDeclaration;
use known_names::KnownNames;
use recipient::Recipient;
use term::Term;

/// What is released to whom: resolved and valid.
#[derive(Clone, Debug)]
pub struct Policy {
    /// SHA-256 of [`Policy::canonical_text`] in lower-case hex.
    pub version: String,
    /// Everything that decides what is released.
    pub canonical_text: String,
    /// Sorted by name.
    pub record_kinds: Vec<RecordKind>,
    /// How long data of a patron is released after the membership ended.
    pub patron_retention: Term,
    /// Enabled recipients, sorted by name.
    pub recipients: Vec<Recipient>,
    /// Disabled recipients, sorted by name: checked, but not served.
    pub disabled_recipients: Vec<Recipient>,
    /// Purposes that consents and objections may name besides the recipients'.
    pub other_purposes: Vec<String>,
    /// The predecessors, by ISIL, whose grants count for a library's patrons.
    pub predecessor_libraries: Arc<BTreeMap<String, Vec<String>>>,
    /// Detectors that the config adds, sorted by name.
    pub custom_detectors: CustomDetectors,
    /// Not part of the version, as they decide no record.
    pub former_recipients: Vec<FormerDeclaration>,
}

impl Policy {
    #[must_use]
    pub fn record_kind(&self, name: &str) -> Option<&RecordKind> {
        self.record_kinds.iter().find(|kind| kind.name == name)
    }

    /// The kind with the role [`Role::Patron`].
    #[must_use]
    pub fn patron_kind(&self) -> Option<&RecordKind> {
        self.record_kinds.iter().find(|kind| kind.role == Role::Patron)
    }

    /// The kind whose records settle those of `kind`.
    #[must_use]
    pub fn settlement_kind(&self, kind: &RecordKind) -> Option<&RecordKind> {
        self.record_kinds.iter().find(|one| one.settles.as_ref() == Some(&kind.name))
    }

    /// Returns the names that consents and objections may carry, from every recipient's file,
    /// enabled or not.
    #[must_use]
    pub fn known_names(&self) -> KnownNames {
        let purposes = self.all_recipients().flat_map(|one| {
            let consent_purposes = one.consent.iter().map(|gate| &gate.purpose);
            consent_purposes.chain([&one.purpose])
        });
        let sorted = |names: BTreeSet<&String>| names.into_iter().cloned().collect();
        let named = || self.all_recipients().filter(|one| one.is_for_named_patrons());
        let named_purposes = named().filter_map(|one| Some(one.consent.as_ref()?.purpose.clone()));
        KnownNames {
            purposes: sorted(purposes.chain(&self.other_purposes).collect()),
            recipients: sorted(self.all_recipients().map(|one| &one.name).collect()),
            named_patron_purposes: named_purposes.collect(),
            named_patron_recipients: named().map(|one| one.name.clone()).collect(),
        }
    }

    /// Returns whether a recipient requires consent for `purpose`.
    #[must_use]
    pub fn requires_consent_for(&self, purpose: &str) -> bool {
        let gates = self.recipients.iter().filter_map(|one| one.consent.as_ref());
        gates.into_iter().any(|gate| gate.purpose == purpose)
    }

    /// Returns every recipient, the disabled ones behind the others.
    pub fn all_recipients(&self) -> impl Iterator<Item = &Recipient> {
        self.recipients.iter().chain(&self.disabled_recipients)
    }

    /// Returns the same, each with whether it is enabled.
    pub fn all_with_enabled(&self) -> impl Iterator<Item = (&Recipient, bool)> {
        let enabled = self.recipients.iter().map(|one| (one, true));
        enabled.chain(self.disabled_recipients.iter().map(|one| (one, false)))
    }

    /// Returns an enabled recipient by name.
    #[must_use]
    pub fn recipient(&self, name: &str) -> Option<&Recipient> {
        self.recipients.iter().find(|recipient| recipient.name == name)
    }

    /// Returns the enabled recipient of a topic.
    #[must_use]
    pub fn recipient_on_topic(&self, topic: &str) -> Option<&Recipient> {
        let serves = |one: &&Recipient| one.topics.names().any(|name| name == topic);
        self.recipients.iter().find(serves)
    }

    /// Returns the topics that the config declares as a former recipient's.
    pub fn former_topics(&self, recipient: &str) -> impl Iterator<Item = &str> {
        let former = self.former_recipients.iter();
        let declared = former.filter(move |one| one.recipient == recipient);
        declared.flat_map(|one| one.topics.iter().map(String::as_str))
    }
}
