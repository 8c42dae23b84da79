//! Checks what recipients acknowledge beside the kinds, the other recipients and the ledger.

use super::recipient::RecipientDraft;
use crate::config::document::Mistake;
use crate::config::lint::RESERVED_TOPIC_PREFIX;
use crate::policy::acknowledgement::AcknowledgementRule;
use crate::policy::catalogue::RecordKind;
use crate::policy::recipient::OutputTopics;

/// Reports enabled recipients that acknowledge, where nothing says which retractions there are.
pub(super) fn check_ledger_of_acknowledgements(drafts: &[RecipientDraft]) -> Vec<Mistake> {
    let asked = drafts.iter().filter(|draft| draft.recipient.acknowledgement.is_some());
    let mistake = |draft: &RecipientDraft| {
        let expected = "`enabled = true` in [ledger] of zeef.toml, which says what was retracted";
        Mistake::new(&draft.file, draft.lines.ack, "`ack` without the ledger", expected)
    };
    asked.filter(|draft| draft.is_enabled).map(mistake).collect()
}

/// Reports recipients that cannot acknowledge on their topic: it is something else too, or nobody
/// knows whose it is.
pub(super) fn check_acknowledgement_topics(
    kinds: &[RecordKind],
    drafts: &[RecipientDraft],
) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for draft in drafts {
        let Some(rule) = &draft.recipient.acknowledgement else {
            continue;
        };
        let mut report = |found: String, expected: &str| {
            mistakes.push(Mistake::new(&draft.file, draft.lines.ack, found, expected));
        };
        if let Some(other) = other_use(&rule.topic, kinds, (draft, drafts)) {
            let found = format!("the topic `{}` in `ack`, which is {other}", rule.topic);
            report(found, "a topic of its own");
        }
        if let OutputTopics::PerParty { .. } = draft.recipient.topics {
            let found = "`ack` of a recipient with a topic for each party".to_owned();
            report(found, "none, or a recipient of its own for the party that acknowledges");
        }
    }
    mistakes
}

/// Says what else a topic is.
fn other_use(
    topic: &str,
    kinds: &[RecordKind],
    (own, drafts): (&RecipientDraft, &[RecipientDraft]),
) -> Option<String> {
    if topic.starts_with(RESERVED_TOPIC_PREFIX) {
        return Some(format!("zeef's own, as it begins with `{RESERVED_TOPIC_PREFIX}`"));
    }
    if let Some(kind) = kinds.iter().find(|kind| kind.topic == topic) {
        return Some(format!("the source of `{}`", kind.name));
    }
    let mut all = drafts.iter().map(|draft| &draft.recipient);
    if let Some(other) = all.find(|other| other.topics.names().any(|name| name == topic)) {
        return Some(format!("an output of `{}`", other.name));
    }
    let mut others = drafts.iter().map(|draft| &draft.recipient);
    let is_taken = |rule: &AcknowledgementRule| rule.topic == topic;
    let other = others.find(|other| {
        other.name != own.recipient.name && other.acknowledgement.as_ref().is_some_and(is_taken)
    });
    other.map(|other| format!("in `ack` of `{}`, too", other.name))
}
