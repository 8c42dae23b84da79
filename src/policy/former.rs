//! Recipients that are no longer served, or no longer on a topic, and may still
//! have something: what becomes of that.

/// Stands between a recipient and a topic in the name of what it has on a topic
/// that is no longer its own.
pub const AT: char = '@';

/// What becomes of what a former recipient has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// All of it is taken back.
    Retract,
    /// It stays; an erasure of the patron takes it back all the same.
    Keep,
}

/// The words of [`What`].
pub const WHATS: [(&str, What); 2] = [("retract", What::Retract), ("keep", What::Keep)];

/// One line of the config: a recipient, and topics on which it has something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    pub recipient: String,
    pub topics: Vec<String>,
    pub what: What,
}

/// Returns the recipient of a name in a state, with or without a topic behind it.
#[must_use]
pub fn recipient_of(name: &str) -> &str {
    name.split(AT).next().unwrap_or(name)
}

/// Returns the name of what a recipient has on a topic that is no longer its own.
#[must_use]
pub fn name_at(recipient: &str, topic: &str) -> String {
    format!("{recipient}{AT}{topic}")
}

/// Returns what is to be added to `zeef.toml` for a recipient.
#[must_use]
pub fn lines<'a>(recipient: &str, topics: impl Iterator<Item = &'a str>) -> String {
    let topics: Vec<String> = topics.map(|topic| format!("{topic:?}")).collect();
    format!(
        "[former.{recipient}]\ntopics = [{}]\nwhat = \"retract\" # or \"keep\"",
        topics.join(", ")
    )
}
