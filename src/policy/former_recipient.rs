//! Recipients that are no longer served, or no longer on a topic, but may still hold outputs.

/// Separates recipient and topic in the state's name for outputs on a former topic.
pub const TOPIC_SEPARATOR: char = '@';

/// What happens to the outputs of a former recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum FormerAction {
    Retract,
    /// Kept until the patron is erased.
    Keep,
}

/// A former recipient and the topics with its outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormerDeclaration {
    pub recipient: String,
    pub topics: Vec<String>,
    pub action: FormerAction,
}

/// Returns the recipient of a name in the state, with or without a topic.
#[must_use]
pub fn recipient_of_state_name(name: &str) -> &str {
    name.split(TOPIC_SEPARATOR).next().unwrap_or(name)
}

/// Returns the state's name for a recipient's outputs on a former topic.
#[must_use]
pub fn state_name_at_topic(recipient: &str, topic: &str) -> String {
    format!("{recipient}{TOPIC_SEPARATOR}{topic}")
}

/// Returns the lines for `zeef.toml` that declare a former recipient.
#[must_use]
pub fn config_snippet<'a>(recipient: &str, topics: impl Iterator<Item = &'a str>) -> String {
    let topics: Vec<String> = topics.map(|topic| format!("{topic:?}")).collect();
    format!(
        "[former.{recipient}]\ntopics = [{}]\nwhat = \"retract\" # or \"keep\"",
        topics.join(", ")
    )
}
