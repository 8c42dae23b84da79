//! The law as data: what is known of records, and who may have which of it.
//!
//! Nothing here reads a record, a clock or a network.

pub(crate) mod bytes;
pub mod canonical;
pub mod catalogue;
pub mod detect;
mod document;
pub mod field_name;
pub mod form;
pub mod former;
pub mod gate;
pub mod influence;
pub mod known;
pub mod lint;
mod load;
pub mod mask;
pub mod name;
pub mod pseudonym;
pub mod reason;
pub mod recipient;
pub(crate) mod secret_file;
pub mod settings;
pub mod statements;
pub mod term;
pub mod text;

pub use document::{Mistake, near};
pub use load::Loaded;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use catalogue::{Kind, Role};
use former::Former;
use known::KnownNames;
use recipient::Recipient;
use term::Term;

/// What is released to whom: compiled, and valid as it stands.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The SHA-256 of [`Policy::canonical`], in lower-case hex.
    pub version: String,
    /// All that decides what is released, as one text.
    pub canonical: String,
    /// By name.
    pub kinds: Vec<Kind>,
    /// How long data of a patron is released after the membership ended.
    pub patron_term: Term,
    /// Those that are enabled, by name.
    pub recipients: Vec<Recipient>,
    /// Those that are switched off, by name: checked, and never served.
    pub disabled: Vec<Recipient>,
    /// Purposes that consents and objections may name beside the recipients' own.
    pub other_purposes: Vec<String>,
    /// By the ISIL of a library, those before it whose grants count for its
    /// patrons.
    pub successor_of: Arc<BTreeMap<String, Vec<String>>>,
    /// Those that are no longer served, and may still have something. No part of
    /// the version: they decide no record.
    pub former: Vec<Former>,
}

impl Policy {
    /// The kind of this name.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<&Kind> {
        self.kinds.iter().find(|kind| kind.name == name)
    }

    /// The kind that fills the table.
    #[must_use]
    pub fn patron(&self) -> Option<&Kind> {
        self.kinds.iter().find(|kind| kind.role == Role::Patron)
    }

    /// The names that consents and objections may carry: of every recipient's
    /// file, switched on or off.
    #[must_use]
    pub fn known_names(&self) -> KnownNames {
        let all = || self.recipients.iter().chain(&self.disabled);
        let purposes = all().flat_map(|one| {
            let asked = one.consent.iter().map(|gate| &gate.purpose);
            asked.chain([&one.purpose])
        });
        let sorted = |names: BTreeSet<&String>| names.into_iter().cloned().collect();
        KnownNames {
            purposes: sorted(purposes.chain(&self.other_purposes).collect()),
            recipients: sorted(all().map(|one| &one.name).collect()),
        }
    }

    /// Whether some recipient asks for consent for `purpose`.
    #[must_use]
    pub fn asks_consent_for(&self, purpose: &str) -> bool {
        let gates = self
            .recipients
            .iter()
            .filter_map(|one| one.consent.as_ref());
        gates.into_iter().any(|gate| gate.purpose == purpose)
    }

    /// The enabled recipient of this name.
    #[must_use]
    pub fn recipient(&self, name: &str) -> Option<&Recipient> {
        self.recipients
            .iter()
            .find(|recipient| recipient.name == name)
    }
}
