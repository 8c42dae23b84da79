//! Reads how a recipient acknowledges retractions, and which consumer group it reads with.

use super::kind::require_name;
use super::term::{read_day, read_term};
use crate::config::document::{Located, Mistake, TomlTable};
use crate::policy::acknowledgement::AcknowledgementRule;
use crate::policy::name::TOPIC_NAME;

/// Reads `ack`.
pub(super) fn read_acknowledgement(table: &TomlTable<'_>) -> Option<AcknowledgementRule> {
    const EXPECTED: &str = "{ topic = \"ack.NAME\", within = \"P7D\", since = \"2026-12-01\" }: where it \
         acknowledges retractions, in what term, and those of which days";
    const SINCE: &str = "the first day of whose retractions it acknowledges, as \"2026-12-01\"";
    let inner = table.table("ack", EXPECTED)?;
    let topic = require_name(&inner, "topic", TOPIC_NAME, "the topic on which it acknowledges");
    let within = read_term(&inner, "within");
    let since = read_day(&inner, "since", SINCE);
    inner.finish();
    Some(AcknowledgementRule { topic: topic?.value, within: within?, since: since? })
}

/// Reads `group`. A recipient may use the groups that begin with its name and a dot.
pub(super) fn read_consumer_group(table: &TomlTable<'_>, recipient: &str) -> Option<String> {
    const EXPECTED: &str = "the consumer group that it reads its topic with";
    let at = table.string("group", EXPECTED)?;
    let rest = at.value.strip_prefix(recipient).and_then(|rest| rest.strip_prefix('.'));
    if rest.is_some_and(|rest| (TOPIC_NAME.is_valid)(rest)) {
        return Some(at.value);
    }
    let found = format!("`group` is \"{}\"", at.value);
    let expected = format!(
        "a name that begins with `{recipient}.`: it has a right to no other group; letters, \
         digits, dots, underscores and hyphens"
    );
    let mistake = Mistake::new(table.file(), at.line, found, expected);
    table.push_mistake(mistake.with_suggestion(suggested_group(&at, recipient).as_deref()));
    None
}

/// Returns the group with the right beginning, if it has one at all.
fn suggested_group(at: &Located<String>, recipient: &str) -> Option<String> {
    let (_, rest) = at.value.split_once('.')?;
    (TOPIC_NAME.is_valid)(rest).then(|| format!("{recipient}.{rest}"))
}
