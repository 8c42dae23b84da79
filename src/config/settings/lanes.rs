//! `[lanes]` and `[former]`: which recipients move together, and what becomes of those that do not
//! any more.

use std::collections::BTreeSet;

use super::{Number, set_integer};
use crate::config::document::{Located, Mistake, TomlTable, describe_type, nearest_name};
use crate::policy::former_recipient::FormerDeclaration;
use crate::policy::name::{KEBAB_CASE_NAME, TOPIC_NAME};

/// The lane of every recipient that no lane names.
pub const MAIN_LANE: &str = "main";

/// Recipients that move together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneSettings {
    pub name: String,
    /// Enabled recipients, by name, sorted.
    pub recipients: Vec<String>,
    pub workers: usize,
}

/// The recipients that settings may name.
pub(crate) struct RecipientNames<'a> {
    pub(crate) enabled: &'a [String],
    /// Disabled, or in a file with mistakes: known, but in no lane.
    pub(crate) unserved: &'a [String],
}

impl RecipientNames<'_> {
    fn contains(&self, name: &str) -> bool {
        self.enabled.iter().any(|other| other == name) || self.is_unserved(name)
    }

    fn is_unserved(&self, name: &str) -> bool {
        self.unserved.iter().any(|other| other == name)
    }

    /// Returns whether `name` is known, and reports it at `line` if not.
    pub(super) fn check_known(&self, table: &TomlTable<'_>, name: &str, line: usize) -> bool {
        if self.contains(name) {
            return true;
        }
        let suggestion =
            nearest_name(name, self.enabled.iter().chain(self.unserved).map(String::as_str));
        let found = format!("unknown recipient `{name}`");
        let expected = match suggestion {
            Some(_) => "",
            None => "the name of a file in `recipients`",
        };
        table.push_mistake(
            Mistake::new(table.file(), line, found, expected).with_suggestion(suggestion),
        );
        false
    }
}

pub(super) fn read_former_recipients(root: &TomlTable<'_>) -> Vec<FormerDeclaration> {
    let mut former = Vec::new();
    let Some(table) = root.table("former", "former recipients by name") else {
        return former;
    };
    for (name, value) in table.entries() {
        if !(KEBAB_CASE_NAME.is_valid)(&name.value) {
            let found = format!("former recipient `{}`", name.value);
            table.report_mistake(name.line, found, KEBAB_CASE_NAME.description);
        }
        match table.as_table(value, name.line) {
            Some(inner) => former.extend(read_former_recipient(name.value, &inner)),
            None => {
                let found = format!("`{}` is {}", name.value, describe_type(value.get_ref()));
                table.report_mistake(name.line, found, "a table: `topics` and `what`");
            }
        }
    }
    former
}

fn read_former_recipient(recipient: String, table: &TomlTable<'_>) -> Option<FormerDeclaration> {
    let expected = "the topics on which it has something";
    let what_expected = "what becomes of what it has";
    table.require_key("topics", expected, None);
    table.require_key("what", what_expected, None);
    let topics = table.strings("topics", expected);
    let what = table.word("what", what_expected);
    for topic in topics.iter().flat_map(|topics| &topics.value) {
        if !(TOPIC_NAME.is_valid)(&topic.value) {
            let found = format!("topic `{}`", topic.value);
            table.report_mistake(topic.line, found, TOPIC_NAME.description);
        }
    }
    table.finish();
    let topics = topics?.value.into_iter().map(|topic| topic.value);
    Some(FormerDeclaration { recipient, topics: topics.collect(), action: what?.value })
}

pub(super) fn read_lanes(
    root: &TomlTable<'_>,
    recipients: &RecipientNames<'_>,
    has_former_recipients: bool,
) -> Vec<LaneSettings> {
    let mut lanes = Vec::new();
    let mut assigned = BTreeSet::new();
    if let Some(table) = root.table("lanes", "lanes by name") {
        for (name, value) in table.entries() {
            if !(KEBAB_CASE_NAME.is_valid)(&name.value) {
                let found = format!("lane `{}`", name.value);
                table.report_mistake(name.line, found, KEBAB_CASE_NAME.description);
            }
            match table.as_table(value, name.line) {
                Some(inner) => lanes.push(read_lane(name, &inner, recipients, &mut assigned)),
                None => {
                    let found =
                        format!("lane `{}` is {}", name.value, describe_type(value.get_ref()));
                    table.report_mistake(name.line, found, "a table: `recipients` and `workers`");
                }
            }
        }
    }
    complete_lanes(lanes, recipients, has_former_recipients)
}

fn read_lane(
    name: Located<String>,
    table: &TomlTable<'_>,
    recipients: &RecipientNames<'_>,
    assigned: &mut BTreeSet<String>,
) -> LaneSettings {
    let expected = "names of recipients";
    if name.value != MAIN_LANE {
        table.require_key("recipients", expected, None);
    }
    let mut names = Vec::new();
    for at in table.strings("recipients", expected).map_or(Vec::new(), |at| at.value) {
        if !recipients.check_known(table, &at.value, at.line) {
            continue;
        }
        if !assigned.insert(at.value.clone()) {
            let found = format!("recipient `{}` in two lanes", at.value);
            table.report_mistake(at.line, found, "it in one");
        } else if !recipients.is_unserved(&at.value) {
            names.push(at.value);
        }
    }
    let mut workers = 1;
    set_integer(table, Number("workers", 1..=256, "how many threads"), &mut workers);
    table.finish();
    LaneSettings { name: name.value, recipients: names, workers }
}

/// Puts every unassigned recipient into the main lane, and drops empty lanes; with former
/// recipients the named lanes stay, and at least one.
pub(super) fn complete_lanes(
    mut lanes: Vec<LaneSettings>,
    recipients: &RecipientNames<'_>,
    has_former_recipients: bool,
) -> Vec<LaneSettings> {
    let unassigned: Vec<String> = recipients
        .enabled
        .iter()
        .filter(|name| lanes.iter().all(|lane| !lane.recipients.contains(*name)))
        .cloned()
        .collect();
    let has_named_lanes = !lanes.is_empty();
    match lanes.iter_mut().find(|lane| lane.name == MAIN_LANE) {
        Some(main) => main.recipients.extend(unassigned),
        None if has_former_recipients && unassigned.is_empty() && has_named_lanes => {}
        None => lanes.push(LaneSettings {
            name: MAIN_LANE.to_owned(),
            recipients: unassigned,
            workers: 1,
        }),
    }
    lanes.retain(|lane| has_former_recipients || !lane.recipients.is_empty());
    for lane in &mut lanes {
        lane.recipients.sort();
    }
    lanes.sort_by(|a, b| a.name.cmp(&b.name));
    lanes
}
