//! The register: what the lines of the ledger point to, so that they need not say it.
//!
//! A key of the register contains the digest of its text: `POLICY` is the digest itself, an
//! activity is `RECIPIENT/DIGEST`, of which the first 12 digits are given.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::block::{Block, Line, digest_hex};
use super::fields::leaf_names;
use crate::policy::Policy;
use crate::policy::canonical::{TOLD_UNLESS, recipient_text};
use crate::policy::confidentiality::Confidentiality;
use crate::policy::contract::OutputContract;
use crate::policy::former_recipient::recipient_of_state_name;
use crate::policy::recipient::Recipient;

/// The format version of the register's messages.
const FORMAT: u32 = 1;
/// How many digits of its digest an activity's key has.
const DIGEST_DIGITS: usize = 12;
/// Starts a line of an activity's text that names a leaf.
const LEAF_PREFIX: &str = "  leaf ";

/// What is done with records for one recipient, as long as nothing of it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Its key in the register.
    pub id: String,
    pub title: String,
    /// The recipient's canonical text, and the leaves of its outputs.
    pub text: String,
    pub leaves: Vec<String>,
}

impl Activity {
    /// The activity of a recipient, switched on or off.
    #[must_use]
    pub fn of_recipient(policy: &Policy, recipient: &Recipient) -> Activity {
        let leaves = OutputContract::of_recipient(recipient, policy).leaves();
        let leaves = leaves.into_iter().map(|leaf| leaf.path).collect();
        let text = recipient_text(policy, recipient);
        Activity::new((&recipient.name, &recipient.title), &text, leaves)
    }

    /// What a recipient that is kept from patrons does with records of which its patron is told;
    /// `None` if there are none.
    #[must_use]
    pub fn told_of_recipient(policy: &Policy, recipient: &Recipient) -> Option<Activity> {
        recipient.told_unless.as_ref()?;
        let told = Recipient { confidentiality: None, ..recipient.clone() };
        Some(Activity::of_recipient(policy, &told))
    }

    /// The same by a name in the state.
    #[must_use]
    pub fn told_of_state_name(policy: &Policy, name: &str) -> Option<Activity> {
        let name = recipient_of_state_name(name);
        let recipient = policy.all_recipients().find(|one| one.name == name)?;
        Activity::told_of_recipient(policy, recipient)
    }

    /// The activity of the recipient of a name in the state. Where the policy has no such recipient,
    /// nothing but its name is known.
    #[must_use]
    pub fn of_state_name(policy: &Policy, name: &str) -> Activity {
        let name = recipient_of_state_name(name);
        if let Some(recipient) = policy.all_recipients().find(|one| one.name == name) {
            return Activity::of_recipient(policy, recipient);
        }
        let text = format!("zeef former recipient 1\nrecipient {name}\n");
        Activity::new((name, name), &text, Vec::new())
    }

    fn new(
        (recipient, title): (&str, &str),
        canonical_text: &str,
        leaves: Vec<String>,
    ) -> Activity {
        let mut text = canonical_text.to_owned();
        for leaf in &leaves {
            text.push_str(LEAF_PREFIX);
            text.push_str(leaf);
            text.push('\n');
        }
        Activity { id: activity_id(recipient, &text), title: title.to_owned(), text, leaves }
    }

    /// Returns the URI that everything outside zeef knows it by.
    #[must_use]
    pub fn uri(&self, base_uri: &str) -> String {
        format!("{}/{}", base_uri.trim_end_matches('/'), self.id)
    }
}

fn activity_id(recipient: &str, text: &str) -> String {
    let digest = digest_hex(text.as_bytes());
    format!("{recipient}/{}", digest.get(..DIGEST_DIGITS).unwrap_or_default())
}

/// A message of the register: exactly one of `policy` and `activity` is there.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterMessage<'a> {
    format: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activity: Option<&'a str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    text: String,
}

/// The texts of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegisterEntries {
    /// Keys and values of the messages.
    messages: Vec<(String, Vec<u8>)>,
    digest: String,
}

impl RegisterEntries {
    /// `base_uri` precedes the ids of activities in their URIs. One activity has one message.
    #[must_use]
    pub fn new<'a>(
        (policy, canonical_text): (&str, &str),
        activities: impl Iterator<Item = &'a Activity>,
        base_uri: &str,
    ) -> RegisterEntries {
        let empty = || RegisterMessage {
            format: FORMAT,
            policy: None,
            activity: None,
            uri: None,
            title: None,
            text: String::new(),
        };
        let of_policy =
            RegisterMessage { policy: Some(policy), text: canonical_text.to_owned(), ..empty() };
        let mut messages = vec![(policy.to_owned(), to_json(&of_policy))];
        for one in activities {
            if messages.iter().any(|(key, _)| *key == one.id) {
                continue;
            }
            let message = RegisterMessage {
                activity: Some(&one.id),
                uri: Some(one.uri(base_uri)),
                title: Some(one.title.clone()),
                text: one.text.clone(),
                ..empty()
            };
            messages.push((one.id.clone(), to_json(&message)));
        }
        let all: Vec<u8> = messages.iter().flat_map(|(_, value)| value).copied().collect();
        RegisterEntries { messages, digest: digest_hex(&all) }
    }

    /// Tells these entries from others.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Keys and values of the messages.
    pub fn messages(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.messages.iter().map(|(key, value)| (key.as_str(), value.as_slice()))
    }
}

/// Texts always serialize.
fn to_json(message: &RegisterMessage<'_>) -> Vec<u8> {
    serde_json::to_vec(message).unwrap_or_default()
}

/// An activity as the register tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegisteredActivity {
    pub title: String,
    pub uri: String,
    pub purpose: String,
    pub legal_basis: String,
    pub leaves: Vec<String>,
    /// How long patrons are not told of it, if so.
    pub confidentiality: Option<Confidentiality>,
    /// It is of the records of which patrons are told, of a recipient that keeps others from them.
    pub is_told: bool,
}

/// The register as it was read.
#[derive(Clone, Debug, Default)]
pub struct Register {
    pub activities: BTreeMap<String, RegisteredActivity>,
    /// The texts of policies, by version.
    pub policies: BTreeMap<String, String>,
}

impl Register {
    /// Whether it has all that a block points to.
    #[must_use]
    pub fn has_all_of(&self, block: &Block<'_>) -> bool {
        self.policies.contains_key(&*block.policy)
            && block.activities.iter().all(|id| self.activities.contains_key(&**id))
    }

    /// Names the leaves that a line of an activity gave; none where the register lacks it.
    pub fn given_leaves(&self, activity: &str, line: &Line<'_>) -> impl Iterator<Item = &str> {
        let found = self.activities.get(activity);
        leaf_names(found.map_or(&[][..], |found| &found.leaves), line.field_bits())
    }

    /// The title of an activity, or else the name of its recipient.
    #[must_use]
    pub fn title_of<'a>(&'a self, activity: &'a str) -> &'a str {
        let title = self.activities.get(activity).map(|found| found.title.as_str());
        let title = title.filter(|title| !title.is_empty());
        title.unwrap_or_else(|| recipient_of_activity(activity))
    }

    /// Adds a message, once its text has the digest that its key names.
    ///
    /// # Errors
    ///
    /// Why it is no message of a register.
    pub fn add_message(&mut self, value: &[u8]) -> Result<(), &'static str> {
        let message: RegisterMessage<'_> =
            serde_json::from_slice(value).map_err(|_| "it is no entry of the register")?;
        if message.format != FORMAT {
            return Err("its format is another one");
        }
        let text = &message.text;
        match (message.policy, message.activity) {
            (Some(version), None) if version == digest_hex(text.as_bytes()) => {
                self.policies.insert(version.to_owned(), message.text);
            }
            (None, Some(id)) if activity_id(recipient_of_activity(id), text) == id => {
                let line = |name: &str| {
                    let mut lines = text.lines();
                    lines.find_map(|line| line.strip_prefix(name)).unwrap_or_default()
                };
                let purpose = line("  purpose ");
                let told_unless = format!("  {TOLD_UNLESS} ");
                let confidentiality = text.lines().find_map(Confidentiality::from_canonical);
                let leaves = text.lines().filter_map(|line| line.strip_prefix(LEAF_PREFIX));
                let activity = RegisteredActivity {
                    title: message.title.unwrap_or_default(),
                    uri: message.uri.unwrap_or_default(),
                    purpose: serde_json::from_str(purpose).unwrap_or_default(),
                    legal_basis: line("  legal_basis ").to_owned(),
                    leaves: leaves.map(str::to_owned).collect(),
                    confidentiality,
                    is_told: confidentiality.is_none() && !line(&told_unless).is_empty(),
                };
                self.activities.insert(id.to_owned(), activity);
            }
            (Some(_), None) | (None, Some(_)) => {
                return Err("its text has another digest than its key names");
            }
            _ => return Err("it is of neither a policy nor an activity"),
        }
        Ok(())
    }
}

/// Returns the recipient that an activity's id names.
#[must_use]
pub fn recipient_of_activity(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(recipient, _)| recipient)
}

#[cfg(test)]
mod tests {
    use std::iter::once;

    use super::*;

    const TEXT: &str =
        "zeef policy 4\nrecipient slip\n  purpose \"pickup\"\n  legal_basis contract\n";

    #[test]
    fn register_reads_what_it_wrote_and_finds_changed_texts() {
        let leaves = vec!["shelf_mark".to_owned(), "lines[]".to_owned()];
        let activity = Activity::new(("slip", "Bon"), TEXT, leaves.clone());
        let policy = digest_hex(b"text");
        let entries =
            RegisterEntries::new((&policy, "text"), once(&activity), "https://example.org/r/");
        let mut register = Register::default();
        for (_, value) in entries.messages() {
            register.add_message(value).unwrap();
        }
        let found = &register.activities[&activity.id];
        assert_eq!((found.purpose.as_str(), found.legal_basis.as_str()), ("pickup", "contract"));
        assert_eq!(found.leaves, leaves);
        assert_eq!(found.uri, format!("https://example.org/r/{}", activity.id));
        assert!(register.policies.contains_key(&policy));
        for (_, value) in entries.messages() {
            let text = String::from_utf8(value.to_vec()).unwrap();
            let changed = text.replace("\"text\":\"", "\"text\":\"x");
            assert!(register.add_message(changed.as_bytes()).is_err(), "{changed}");
        }
    }
}
